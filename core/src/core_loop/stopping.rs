//! The end of a core.

use futures_util::future::join_all;

use super::core::{Core, Stopping};
use crate::limits;
use crate::node::GroupState;
use crate::shard::Shard;

impl Core {
    /// Moves a stop on. True once this core may end: every request is answered and no other core needs it.
    pub fn advance_stop(&mut self) -> bool {
        if self.stopping.is_none() {
            if !self.server.stop.is_requested() || self.leaves_leads() {
                return false;
            }
            self.ring.stop_listening();
            self.end_all_waits();
            self.refuse_migrations();
            self.stopping = Some(Stopping { since: self.clock.now, quiet: false });
        }
        let idle = self.pending.is_empty()
            && self.outbox.is_empty()
            && !self.relays.has_requests()
            && !self.fanout.has_some()
            && self.ring.memory().outputs == 0;
        let Some(stopping) = &mut self.stopping else { return false };
        let late = self.clock.now.duration_since(stopping.since) > limits::STOP_DRAIN_MAX;
        if !stopping.quiet && (idle || late) {
            stopping.quiet = true;
            self.server.stop.core_is_quiet();
            self.server.ring_all();
        }
        let quiet = self.server.stop.all_quiet(self.server.mailboxes.core_count());
        let failed = self.server.stop.failure().is_some();
        failed || (stopping.quiet && quiet && (late || !self.is_busy()))
    }

    /// Gives the lead of groups to other nodes before a wanted stop, so that their clients are told where to go on. Returns whether
    /// that is to be waited for.
    fn leaves_leads(&mut self) -> bool {
        if self.routing.cluster.is_none() || self.server.stop.failure().is_some() {
            return false;
        }
        let shards = self.shards.iter().flatten().filter(|shard| !shard.takes_nothing()).map(Shard::group);
        let meta = self.meta.as_ref().map(|meta| meta.group());
        self.members.leave_leads(shards.chain(meta), self.clock.now)
    }

    /// Returns whether some of the core's groups have something to answer.
    fn is_busy(&self) -> bool {
        self.shards.iter().flatten().any(Shard::is_busy) || self.meta.as_ref().is_some_and(|meta| meta.is_busy())
    }

    /// Ends the core's shards, after the loop. Unless the node has failed, what is in memory goes to disk, so that the next
    /// start replays nothing.
    ///
    /// # Errors
    /// The sentence that says what could not be written, of the first shard that failed; the others are ended all the same.
    pub async fn close_shards(&mut self) -> Result<(), String> {
        let failed = self.server.stop.failure().is_some();
        // What has come to take requests since the last turn.
        self.seat_opened();
        // All at once: what a shard waits for is mostly the disk.
        let server = &self.server;
        let closing = self.shards.iter_mut().flatten().map(|shard| async move {
            let id = shard.id();
            if !shard.has_failed() {
                server.note_state(id, GroupState::Closing);
            }
            shard.close(failed || shard.has_failed()).await.map_err(|error| format!("shard {id}: {error}"))
        });
        let closed: Result<(), String> = join_all(closing).await.into_iter().collect();
        match &mut self.meta {
            Some(meta) => closed.and(meta.close(failed).await.map_err(|error| format!("the cluster's map: {error}"))),
            None => closed,
        }
    }
}
