//! Reads that the replica of this node answers as it is, whoever leads: of connections that have said READONLY, and with
//! `read-consistency = local` of all.
//!
//! They may show what is a little old, never what was not committed. A replica that is not sure of that has them sent to the node
//! that leads, as all others are: one that is being opened or filled, has failed, or has not heard for
//! [`LOCAL_READ_AGE_MAX`](crate::limits::LOCAL_READ_AGE_MAX) what is new.
//!
//! What a newcomer would get wrong: READONLY changes nothing where this node leads, as in Redis: such a read goes the way of all
//! reads, by a barrier. With `read-consistency = local` it does not; but a connection sees what it has written itself, and so a
//! read behind unanswered writes goes that way, too.

use basalt_storage::keyspace::Slot;

use super::core::Core;
use super::dispatch::is_bound;
use crate::clients::{Connection, ReplyMode, Session, Started};
use crate::commands::{Args, Command, Kind, Merge, Run, Scatter};
use crate::config::ReadConsistency;
use crate::entry::request::Mode;
use crate::ids::ShardId;
use crate::node::GroupState;

impl Core {
    /// Returns whether reads of a connection are answered by the replicas of this node, as they are.
    #[inline]
    pub(super) fn reads_locally(&self, session: &Session) -> bool {
        let is_wanted = session.is_readonly || self.server.config.read_consistency == ReadConsistency::Local;
        is_wanted && self.routing.cluster.is_some()
    }

    /// The shard of this node that has `slot`, whoever leads its group, if it may be asked.
    pub(super) fn replica_of(&self, slot: Slot) -> Option<ShardId> {
        let shard = self.routing.replica_of_slot(slot)?;
        let state = self.server.shards.get(shard)?.state.get();
        matches!(state, GroupState::Leader | GroupState::Follower | GroupState::Leaderless).then_some(shard)
    }

    /// The shard that answers a command of a connection as it is, and the function for that; `None` if the command goes the way of
    /// all others.
    pub(super) fn local_read(
        &self,
        connection: &Connection,
        command: &Command,
        args: Args<'_>,
    ) -> Option<(ShardId, Run)> {
        if !self.reads_locally(&connection.session) || is_bound(&connection.session, command) {
            return None;
        }
        let Kind::Read(run) = command.kind else { return None };
        if self.why_not_by_patterns(connection, command, args).is_some() {
            return None;
        }
        let is_of_keys = matches!(command.scatter, Scatter::Keys | Scatter::Split { .. }) && command.waits.is_none();
        let mut slots = command.keys(args).map(|key| Slot::of(args[key]));
        let slot = slots.next().filter(|_| is_of_keys)?;
        if slots.any(|other| other != slot) {
            return None;
        }
        let is_led_here = self.routing.router.shard_of_slot(slot).is_some();
        let is_asked =
            self.server.config.read_consistency != ReadConsistency::Local || connection.ordered_unanswered > 0;
        if is_led_here && is_asked { None } else { Some((self.replica_of(slot)?, run)) }
    }

    /// Starts such a command, or says why it must wait.
    pub(super) fn start_local_read(
        &mut self,
        connection: &mut Connection,
        command: &'static Command,
        (shard, run): (ShardId, Run),
        args: Args<'_>,
    ) -> Started {
        if self.some_shard_is_full() && !self.shard_has_room(shard, Mode::Local) {
            return Started::WaitsForShard(shard, Mode::Local);
        }
        if self.fanout.is_monitored() && !self.may_publish() {
            return Started::WaitsForFanout;
        }
        self.count_command(connection);
        self.monitor(connection, command, args);
        connection.session.last_command = Some(command.id);
        self.stats().by_command[usize::from(command.id)].calls.add(1);
        if connection.session.tracking.is_some() {
            self.track_reads(connection, command, args, Some(shard));
        }
        if command.runs_script {
            self.run_script_locally(connection, command, shard, args);
        } else if matches!(command.scatter, Scatter::Split { merge: Merge::ArrayInOrder, .. }) && args.len() > 2 {
            self.mget(connection, command, run, (Mode::Local, Some(shard)), args);
        } else {
            self.run_on(connection, shard, command, run, Mode::Local, args);
        }
        Core::end_choice(connection, Some(command));
        if connection.session.reply_mode == ReplyMode::Skip {
            connection.session.reply_mode = ReplyMode::On;
        }
        Started::Yes
    }
}
