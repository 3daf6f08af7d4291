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
}

/// The commands that have parts for groups, beside the step of walks.
const OVER_GROUPS: [&str; 4] = ["dbsize", "flushall", "flushdb", "randomkey"];

/// The group and the command of a part that another node sends; `None` if it is none, or has too few or too many arguments.
pub(super) fn group_call(args: Args<'_>) -> Option<(GroupNumber, &'static Command)> {
    let number = |text: &[u8]| std::str::from_utf8(text).ok()?.parse::<u64>().ok();
    let [OF_GROUP, group, id, ..] = args else { return None };
    let command = table::by_id(u16::try_from(number(id)?).ok()?)?;
    let is_part = match command.id {
        // It has no arity of its own: a position, and the options of SCAN.
        STEP_SCAN => args.len() > 3,
        _ => OVER_GROUPS.contains(&command.name()) && command.check_arity(&args[2..]).is_ok(),
    };
    is_part.then_some((GroupNumber(number(group)?), command))
}

const _: () = assert!(limits::CURSOR_GROUP_MAX >> (u64::BITS - KeyPosition::BITS) == 0, "it fits into a cursor");

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn parts_of_other_nodes_are_those_of_a_few_commands_and_have_their_arguments() {
        let is_part = |id: u16, arguments: &[&[u8]]| {
            let id = id.to_string();
            let args = [&[OF_GROUP, b"7", id.as_bytes()][..], arguments].concat();
            group_call(&args).is_some_and(|(group, command)| group == GroupNumber(7) && command.id.to_string() == id)
        };
        let id = |name: &[u8]| table::lookup(name).expect("it is a command").id;
        assert!(is_part(STEP_SCAN, &[b"0"]) && is_part(STEP_SCAN, &[b"0", b"COUNT", b"10"]));
        assert!(is_part(id(b"dbsize"), &[]) && is_part(id(b"randomkey"), &[]));
        assert!(is_part(id(b"flushall"), &[]) && is_part(id(b"flushdb"), &[b"ASYNC"]));
        assert!(!is_part(STEP_SCAN, &[]) && !is_part(id(b"dbsize"), &[b"0"]));
        // No other command, with as many arguments as it may need or with none.
        for other in 0..u16::MAX {
            let Some(command) = table::by_id(other).filter(|command| command.id != STEP_SCAN) else { continue };
            for count in 0..4 {
                let is_known = OVER_GROUPS.contains(&command.name());
                assert!(is_known || !is_part(other, &[&b"0"[..]; 4][..count]), "{}", command.name());
            }
        }
        assert!(group_call(&[OF_GROUP]).or(group_call(&[OF_GROUP, b"7"])).is_none());
        assert!(group_call(&[OF_GROUP, b"-1", b"0"]).or(group_call(&[OF_GROUP, b"x", b"70000"])).is_none());
    }
}
