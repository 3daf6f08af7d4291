//! Requests that certainly were not executed, and wait for a leader that takes them.

use std::collections::VecDeque;

use basalt_net::resp::{Argv, Decoded, Decoder, Limits};
use basalt_net::ring::ConnId;
use basalt_storage::keyspace::Slot;
use smallvec::SmallVec;

use super::exec::null_of;
use super::groups::group_call;
use super::request::{Aim, Forwarded};
use super::routes::Way;
use crate::clients::{Connection, Kept};
use crate::commands::{Args, Command, Kind, Scatter, table};
use crate::core_loop::core::Core;
use crate::entry::request::{self, Mode, RequestHeader};
use crate::ids::ShardId;
use crate::limits::relays as limits;

/// The reply to a request that came to this node's own shards while it waited, and cannot be run there from here.
const CAME_HERE: &[u8] =
    b"-TRYAGAIN The lead of the key's group has come to this node meanwhile, nothing was executed: try again\r\n";

/// The reply to a request that is too long to be kept until it is answered, and was refused.
pub(super) const NOT_KEPT: &[u8] =
    b"-TRYAGAIN The key's group was changing its leader, nothing was executed, and the command is not kept: try again\r\n";

impl Core {
    /// Sends what waits on its way again, as far as there is one. Not to the node that has refused it, unless time has passed.
    pub(super) fn try_waiting(&mut self, connection: &mut Connection, after_a_while: bool) {
        // Whatever is on its way may be refused, too, and comes behind.
        let is_under_way = |id: &ConnId| self.relays.get(*id).is_some_and(|relay| !relay.is_idle());
        if connection.ordered_unanswered > 0 || !connection.kept.is_empty() {
            return;
        }
        if !self.relays.has_waiting(connection.ring) || self.relays.of(connection.ring).iter().any(is_under_way) {
            return;
        }
        let now = self.clock.now;
        let mut waiting = self.waiting_of(connection);
        let mut still = VecDeque::new();
        // All requests for one group go the same way, or none.
        let mut ways: SmallVec<[(Aim, Way); 4]> = SmallVec::new();
        while let Some(mut request) = waiting.pop_front() {
            if request.is_guarded {
                // The relay that has watched for it has not taken it, and no other one knows of that.
                let null = null_of(connection.session.protocol);
                self.answer_relayed(connection, &request, null);
                continue;
            }
            if !request.is_kept() {
                self.answer_relayed(connection, &request, NOT_KEPT);
                continue;
            }
            if now.saturating_duration_since(request.since) > limits::WAIT_MAX {
                let why = match self.way_to(request.aim) {
                    Way::Node(node) => self.relays.unreached.why(node),
                    Way::Here(_) | Way::Unknown => None,
                };
                let text = too_late(why);
                self.answer_relayed(connection, &request, text.as_bytes());
                continue;
            }
            let aim = self.group_of(request.aim).map_or(request.aim, Aim::Group);
            let known = ways.iter().find(|(other, _)| *other == aim).map(|(_, way)| *way);
            let way = known.unwrap_or_else(|| {
                let way = match request.moved_to.take().map(Way::Node).unwrap_or_else(|| self.way_to(request.aim)) {
                    Way::Node(node)
                        if !after_a_while
                            && (Some(node) == request.refused_by || request.refusals > limits::HOPS_MAX) =>
                    {
                        Way::Unknown
                    }
                    way => way,
                };
                ways.push((aim, way));
                way
            });
            let kept = match way {
                Way::Unknown => Some(request),
                Way::Here(shard) => {
                    self.run_relayed_here(connection, shard, &request);
                    None
                }
                Way::Node(node) if self.is_own(node) => Some(request),
                Way::Node(node) => self.send_to(connection, node, request),
            };
            if let Some(request) = kept {
                ways.retain(|(other, _)| *other != aim);
                ways.push((aim, Way::Unknown));
                still.push_back(request);
            }
        }
        still.append(&mut self.waiting_of(connection));
        self.have_wait(connection, still);
    }

    fn is_own(&self, node: basalt_raft::NodeId) -> bool {
        self.routing.cluster.as_ref().is_some_and(|cluster| cluster.myself == node)
    }

    /// Does so for all clients.
    pub(super) fn try_all_waiting(&mut self, after_a_while: bool) {
        let waiting = self.relays.owners.iter().filter(|(_, owner)| !owner.waiting.is_empty());
        let owners: Vec<ConnId> = waiting.map(|(owner, _)| *owner).collect();
        for owner in owners {
            let Some(mut connection) = self.take_connection(owner) else { continue };
            self.try_waiting(&mut connection, after_a_while);
            self.put_answered(connection);
        }
    }

    /// Does so at once where the places of keys have changed.
    pub(in crate::core_loop) fn try_waiting_anew(&mut self) {
        if std::mem::take(&mut self.relays.looks_again) && !self.relays.is_empty() {
            self.try_all_waiting(false);
            self.close_cut();
        }
    }

    /// Runs a request on a shard of this node, which has come to lead its group.
    fn run_relayed_here(&mut self, connection: &mut Connection, shard: ShardId, request: &Forwarded) {
        let mut argv = Argv::new();
        let limits = Limits { args_max: i32::MAX as usize, ..Limits::default() };
        let decoded = Decoder::default().decode(&request.bytes, &limits, &mut argv);
        let is_whole = matches!(decoded, Ok(Decoded::Command { consumed }) if consumed == request.bytes.len());
        let args: SmallVec<[&[u8]; 8]> = if is_whole { argv.iter(&request.bytes).collect() } else { SmallVec::new() };
        let plain = match request.aim {
            Aim::Group(_) => group_call(&args).map(|(_, command)| (command, &args[2..])),
            Aim::Slot(_) => plain_call(&args).map(|command| (command, &args[..])),
        };
        let Some((command, args)) = plain.filter(|_| request.nature.is_plain()) else {
            return self.answer_relayed(connection, request, CAME_HERE);
        };
        self.send_here(connection, shard, (command, args), request);
    }

    fn send_here(
        &mut self,
        connection: &mut Connection,
        shard: ShardId,
        (command, args): (&'static Command, Args<'_>),
        request: &Forwarded,
    ) {
        let asked = command.id;
        let command = command.for_call(args);
        let mode = if matches!(command.kind, Kind::Write(_)) { Mode::Write } else { Mode::Read };
        let header = RequestHeader {
            seed: command.seed(),
            asked,
            ..RequestHeader::new(connection.session.protocol, connection.session.db, command.id)
        };
        connection.relayed_bytes = connection.relayed_bytes.saturating_sub(request.length);
        if request.part.is_none()
            && let Some(slot) = command.keys(args).next().map(|key| Slot::of(args[key]))
        {
            let writes = mode == Mode::Write;
            connection.keep(Kept { place: request.place, slot, writes, bytes: request.bytes.clone() });
        }
        let encode = |out: &mut Vec<u8>| request::encode(out, header, args[1..].iter().copied());
        self.send(connection, request.place, request.part.unwrap_or(0), shard, mode, None, encode);
    }
}

impl super::request::Nature {
    /// True if it is executed as it is, by one shard and at once.
    fn is_plain(self) -> bool {
        !self.blocks && !self.runs_script && !self.watches
    }
}

/// The command of a request that one shard executes as it is.
fn plain_call(args: Args<'_>) -> Option<&'static Command> {
    let command = if args.is_empty() { None } else { table::find(args).ok() }?;
    let is_of_keys = matches!(command.scatter, Scatter::Keys | Scatter::Split { .. } | Scatter::None);
    (is_of_keys && matches!(command.kind, Kind::Read(_) | Kind::Write(_))).then_some(command)
}

/// The reply to a request that has waited too long.
fn too_late(why: Option<&str>) -> String {
    let why = why.map(|why| format!(" (that node: {why})")).unwrap_or_default();
    let seconds = limits::WAIT_MAX.as_secs();
    format!(
        "-CLUSTERDOWN No node has taken the command for {seconds} s as the leader of its group{why}, nothing was executed: try \
         again\r\n"
    )
}
