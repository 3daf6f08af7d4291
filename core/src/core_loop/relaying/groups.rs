//! Commands that concern all keys of the cluster: a part of them for each group, wherever that is led.

use basalt_storage::keyspace::KeyPosition;

use super::request::{Aim, Forwarded, Nature, OF_GROUP, encode};
use super::routes::Way;
use crate::clients::{Connection, Expects, ReplyMode};
use crate::cluster::map::GroupNumber;
use crate::commands::table::{self, STEP_SCAN};
use crate::commands::{Args, Command, CommandError, Kind, MultiShard, ScanCursor, Scatter};
use crate::core_loop::core::Core;
use crate::entry::request::{self, Mode, RequestHeader};
use crate::limits::relays as limits;
use crate::multi_shard::{Coordinator, Gather, GroupKeys, GroupPart, GroupRandomKey, GroupScan};

/// The parts that a command begins with, and what makes one reply of them.
type Begun = (Vec<GroupPart>, Box<dyn Coordinator>);

impl Core {
    /// Starts a command over all groups of the cluster. False if there are none: then it is one of this node.
    pub(in crate::core_loop) fn start_over_groups(
        &mut self,
        connection: &mut Connection,
        command: &'static Command,
        args: Args<'_>,
    ) -> bool {
        let map = self.routing.cluster.as_ref().and_then(|cluster| cluster.map.clone());
        let groups: Vec<GroupNumber> = map.iter().flat_map(|map| map.groups()).map(|group| group.number).collect();
        if groups.is_empty() {
            return false;
        }
        match self.begin_over_groups(groups, command, args) {
            Ok((parts, coordinator)) => {
                let silent = connection.session.reply_mode != ReplyMode::On;
                let is_write = matches!(command.kind, Kind::Write(_));
                let expects = if is_write { Expects::Word } else { Expects::Values };
                // Its parts go many ways: nothing of this connection may overtake them.
                connection.barrier = true;
                let place =
                    connection.open_coordinated(coordinator, parts.len(), command.id, expects, is_write, silent);
                self.send_to_groups(connection, place, 0, parts);
            }
            Err(error) => self.fail(connection, command.id, &error),
        }
        true
    }

    fn begin_over_groups(
        &mut self,
        groups: Vec<GroupNumber>,
        command: &'static Command,
        args: Args<'_>,
    ) -> Result<Begun, CommandError> {
        let bounds = self.server.reply_bounds();
        Ok(match command.scatter {
            Scatter::AllShards { merge } => {
                let args: Vec<Vec<u8>> = args[1..].iter().map(|arg| arg.to_vec()).collect();
                let part = |group| GroupPart { group, command: command.id, args: args.clone() };
                let parts: Vec<GroupPart> = groups.into_iter().map(part).collect();
                let is_write = matches!(command.kind, Kind::Write(_));
                let gather = Gather::new(merge, parts.len()).bounded(bounds.one_bytes_max).of_writes(is_write);
                (parts, Box::new(gather))
            }
            Scatter::MultiShard(MultiShard::Scan) => {
                let cursor = ScanCursor::read(args[1])?;
                if groups.last().is_some_and(|last| last.0 > limits::CURSOR_GROUP_MAX) {
                    return Err(CommandError::text(
                        "ERR the numbers of the cluster's groups are too large for a cursor",
                    ));
                }
                let (part, scan) = GroupScan::start(groups, cursor, &args[2..]);
                (vec![part], Box::new(scan))
            }
            Scatter::MultiShard(MultiShard::RandomKey) => {
                let mut groups = groups;
                let first = rand::random_range(0..groups.len());
                groups.rotate_left(first);
                let (part, random) = GroupRandomKey::start(groups, command.id);
                (vec![part], Box::new(random))
            }
            _ => {
                let (parts, keys) = GroupKeys::start(groups, args[1], bounds);
                (parts, Box::new(keys))
            }
        })
    }

    /// Sends parts of a command to the leaders of their groups.
    pub(in crate::core_loop) fn send_to_groups(
        &mut self,
        connection: &mut Connection,
        place: u64,
        first: usize,
        parts: Vec<GroupPart>,
    ) {
        for (number, part) in (first as u32..).zip(parts) {
            let Some(command) = table::by_id(part.command) else { continue };
            let is_write = matches!(command.kind, Kind::Write(_));
            if let Way::Here(shard) = self.way_to(Aim::Group(part.group)) {
                let header = RequestHeader {
                    seed: command.seed(),
                    ..RequestHeader::new(connection.session.protocol, connection.session.db, part.command)
                };
                let mode = if is_write { Mode::Write } else { Mode::Read };
                let encode = |out: &mut Vec<u8>| request::encode(out, header, part.args.iter().map(Vec::as_slice));
                self.send(connection, place, number, shard, mode, None, encode);
                continue;
            }
            let (group, id) = (part.group.0.to_string(), part.command.to_string());
            let words: Vec<&[u8]> = [OF_GROUP, group.as_bytes(), id.as_bytes()]
                .into_iter()
                .chain(part.args.iter().map(Vec::as_slice))
                .collect();
            let mut bytes = Vec::new();
            encode(&mut bytes, words.into_iter());
            let nature = Nature { writes: is_write, ..Nature::default() };
            let mut request = Forwarded::new(place, Aim::Group(part.group), nature, bytes, self.clock.now);
            request.part = Some(number);
            self.stats().relayed.add(1);
            self.pass_on(connection, request);
        }
    }

    /// The group and the command of a part that another node sends; `None` if it is none.
    pub(super) fn group_call(&self, args: Args<'_>) -> Option<(GroupNumber, &'static Command)> {
        let number = |text: &[u8]| std::str::from_utf8(text).ok()?.parse::<u64>().ok();
        let [OF_GROUP, group, id, ..] = args else { return None };
        let command = table::by_id(u16::try_from(number(id)?).ok()?)?;
        let is_part = command.id == STEP_SCAN
            || (command.concerns_all_shards() && command.changes_functions.is_none() && !command.is_of_functions);
        is_part.then_some((GroupNumber(number(group)?), command))
    }
}

const _: () = assert!(limits::CURSOR_GROUP_MAX >> (u64::BITS - KeyPosition::BITS) == 0, "it fits into a cursor");
