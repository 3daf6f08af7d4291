//! Clients of this core that wait until replicas have what they have written (WAIT, WAITAOF).
//!
//! A connection remembers which shards it has written to; each of those is asked how many followers have all of it
//! ([`crate::shard::Shard::await_replicas`]), and the least count is the reply. All that comes before on the connection is answered
//! by then, and so is in the logs.
//!
//! What a newcomer would get wrong: a shard answers once. When the time is over it is told so, and its answer is the count by then.

use std::any::Any;
use std::time::{Duration, Instant};

use basalt_net::resp::{Reply, value};

use super::core::Core;
use super::dispatch::client_number;
use crate::clients::{Connection, Expects, ReplicaWait, ReplyMode};
use crate::commands::CommandError;
use crate::ids::{Origin, ShardId};
use crate::mail::Message;
use crate::multi_shard::{Coordinator, Progress};
use crate::session_commands::ReplicaCall;

/// Redis' words for who leads nothing.
const LEADS_NOTHING: CommandError = CommandError::text(
    "ERR WAIT cannot be used with replica instances. Please also note that since Redis 4.0 if a replica is configured to be writable \
     (which is not the default) writes to replicas are just local and are not propagated.",
);

/// The words for who has written to a group that is led elsewhere, as they are said when its lead goes away.
const LOST: CommandError =
    CommandError::text("UNBLOCKED force unblock from blocking operation, instance state changed (master -> replica?)");

/// The reply to WAIT of a connection whose writes were passed on: this node does not see their followers.
const WRITTEN_ELSEWHERE: CommandError = CommandError::text(
    "ERR 'wait' is not forwarded, and this connection has written keys that other nodes lead: a majority of replicas has each write \
     that was acknowledged; for more, write and wait at the node that leads the key",
);

/// The reply to WAIT: the least of the counts of all groups.
pub(super) struct Replicated {
    left: usize,
    least: i64,
    local: Option<i64>,
    /// The reply in place of the counts, if there is one.
    instead: Option<Vec<u8>>,
}

impl Replicated {
    pub(super) fn new(shard_count: usize, local: Option<i64>) -> Replicated {
        Replicated { left: shard_count, least: i64::MAX, local, instead: None }
    }
}

impl Coordinator for Replicated {
    fn answered(&mut self, _part: usize, reply: &[u8], out: &mut Reply<'_>) -> Progress {
        match value::read_integer(reply) {
            Some(count) => self.least = self.least.min(count),
            None => drop(self.instead.get_or_insert_with(|| reply.to_vec())),
        }
        self.left -= 1;
        if self.left > 0 {
            return Progress::Wait;
        }
        match (&self.instead, self.local) {
            (Some(instead), _) => out.raw(instead),
            (None, None) => out.integer(self.least),
            (None, Some(local)) => {
                out.array(2);
                out.integer(local);
                out.integer(self.least);
            }
        }
        Progress::Done
    }

    fn as_any(&mut self) -> Option<&mut dyn Any> {
        Some(self)
    }
}

impl Core {
    /// The shards whose followers count for a connection: those that it has written to, or all that are led here if it has written
    /// nothing.
    pub(super) fn counted_shards(&self, connection: &Connection) -> Result<Vec<ShardId>, CommandError> {
        if connection.has_relayed_writes {
            return Err(WRITTEN_ELSEWHERE);
        }
        if connection.has_lost_writes {
            return Err(LOST);
        }
        let written = connection.written.clone();
        let shards = if written.is_empty() { self.routing.router.shards().collect() } else { written };
        if shards.is_empty() { Err(LEADS_NOTHING) } else { Ok(shards) }
    }

    /// Has a connection wait until enough followers have what it has written.
    pub(super) fn await_replicas(&mut self, connection: &mut Connection, asked: u16, call: ReplicaCall) {
        let shards = match self.counted_shards(connection) {
            Ok(shards) => shards,
            Err(error) => return self.fail(connection, asked, &error),
        };
        let silent = connection.session.reply_mode != ReplyMode::On;
        let coordinator = Box::new(Replicated::new(shards.len(), call.local));
        let place = connection.open_coordinated(coordinator, shards.len(), asked, Expects::Word, false, silent);
        connection.barrier = true;
        let mut parts = Vec::new();
        for (part, shard) in (0..).zip(shards) {
            parts.push((shard, Some(self.ticket(connection, place, part))));
        }
        // Whoever sends nothing more gets what there is, and is not waited for; nor is anybody at a stop.
        let timeout = if connection.ended || self.stopping.is_some() { Some(Duration::ZERO) } else { call.timeout };
        let deadline = timeout.and_then(|timeout| Instant::now().checked_add(timeout));
        let deadline = deadline.map(|at| self.clients.waits.add(at, connection.ring));
        let stats = self.stats();
        stats.replica_waits.set(stats.replica_waits.get() + 1);
        stats.waits_with_deadline.set(stats.waits_with_deadline.get() + u64::from(deadline.is_some()));
        connection.session.awaits_replicas = true;
        let asked: Vec<_> = parts.iter().filter_map(|(shard, ticket)| Some((*shard, (*ticket)?))).collect();
        connection.replica_wait = Some(Box::new(ReplicaWait { place, parts, deadline, is_told: false }));
        let client = client_number(connection.ring);
        for (shard, ticket) in asked {
            self.ask_for_replicas(shard, Origin { core: self.id, client, ticket }, call.wanted);
        }
    }

    /// Asks a shard for the number of its followers that have all that is in its log, once they are as many as are wanted.
    pub(super) fn ask_for_replicas(&mut self, shard: ShardId, origin: Origin, wanted: usize) {
        match self.routing.router.core_of(shard) {
            Some(core) if self.seat(shard).is_none() && core != self.id => {
                self.outbox.control(core, Message::AwaitReplicas(origin, shard, wanted));
            }
            _ => self.await_replicas_of(shard, origin, wanted),
        }
    }

    /// The same, of a client of this core or another, for a shard of this core.
    pub(super) fn await_replicas_of(&mut self, shard: ShardId, origin: Origin, wanted: usize) {
        match self.shards.get_mut(shard.index()).and_then(Option::as_mut) {
            Some(local) => local.await_replicas(origin, wanted, &mut self.outbox),
            None => self.refuse_away(shard, origin),
        }
    }

    /// Has a client wait for the followers of a shard of this core no more.
    pub(super) fn end_replica_wait_of(&mut self, shard: ShardId, origin: Origin) {
        if let Some(local) = self.shards.get_mut(shard.index()).and_then(Option::as_mut) {
            local.end_replica_wait(origin, &mut self.outbox);
        }
    }

    /// Notes that a shard has answered a part of a connection's wait, before its coordinator takes the reply.
    pub(super) fn note_replicated(&mut self, connection: &mut Connection, place: u64, part: usize, reply: &[u8]) {
        let Some(wait) = connection.replica_wait.as_mut().filter(|wait| wait.place == place) else { return };
        let shard = wait.parts.get(part).map(|(shard, _)| *shard);
        let is_last = wait.note_answer(part);
        if reply.starts_with(b"-") {
            // Nobody knows, which is said again until it writes anew: that may be counted.
            let before = connection.written.len();
            connection.written.retain(|written| Some(*written) != shard);
            connection.has_lost_writes |= connection.written.len() < before;
        }
        if is_last {
            self.close_replica_wait(connection);
        } else if reply.starts_with(b"-") {
            // There will be no count, so nobody has to wait for the others.
            self.tell_of_replica_wait(connection);
        }
    }

    /// Ends a connection's wait for replicas: with the counts by now, or with `instead`. False if it does not wait for any.
    pub(super) fn end_replica_wait(&mut self, connection: &mut Connection, instead: Option<&[u8]>) -> bool {
        let Some(place) = connection.replica_wait.as_ref().map(|wait| wait.place) else { return false };
        let coordinator = connection.coordinator(place).and_then(|(coordinator, _)| coordinator.as_any());
        if let (Some(instead), Some(replicated)) =
            (instead, coordinator.and_then(|any| any.downcast_mut::<Replicated>()))
        {
            replicated.instead.get_or_insert_with(|| instead.to_vec());
        }
        self.tell_of_replica_wait(connection);
        true
    }

    /// Ends the wait of a connection that is gone.
    pub(super) fn forget_replica_wait(&mut self, connection: &mut Connection) {
        if connection.replica_wait.is_some() {
            self.tell_of_replica_wait(connection);
            self.close_replica_wait(connection);
        }
    }

    /// Tells the shards that have not answered that nobody waits any more.
    fn tell_of_replica_wait(&mut self, connection: &mut Connection) {
        let client = client_number(connection.ring);
        let Some(wait) = connection.replica_wait.as_mut().filter(|wait| !wait.is_told) else { return };
        wait.is_told = true;
        let open: Vec<_> = wait.parts.iter().filter_map(|(shard, ticket)| Some((*shard, (*ticket)?))).collect();
        for (shard, ticket) in open {
            let origin = Origin { core: self.id, client, ticket };
            match self.routing.router.core_of(shard) {
                Some(core) if self.seat(shard).is_none() && core != self.id => {
                    self.outbox.control(core, Message::EndReplicaWait(origin, shard));
                }
                _ => self.end_replica_wait_of(shard, origin),
            }
        }
    }

    /// Lets go of what a wait has beside its place.
    fn close_replica_wait(&mut self, connection: &mut Connection) {
        let Some(wait) = connection.replica_wait.take() else { return };
        connection.session.awaits_replicas = false;
        let stats = self.stats();
        stats.replica_waits.set(stats.replica_waits.get() - 1);
        if wait.deadline.is_some() {
            stats.waits_with_deadline.set(stats.waits_with_deadline.get() - 1);
        }
        if let Some(deadline) = wait.deadline {
            self.clients.waits.remove(deadline);
        }
    }
}
