//! Clients that wait until followers have what they have written.
//!
//! Only the replica that leads knows how far its followers are. It looks in each turn of its core: what a follower says comes to
//! the core's ring, which ends its sleep.

use basalt_net::resp::{Protocol, Reply};

use super::waiting::UNBLOCKED;
use super::{Shard, ShardHost};
use crate::ids::Origin;

/// A client that waits.
#[derive(Debug)]
pub(super) struct ReplicaWaiter {
    origin: Origin,
    /// The end of the log when it came: all that it was acknowledged is below.
    end: u64,
    /// The number of followers that are to have it on disk.
    wanted: usize,
}

impl Shard {
    /// Answers a client with the number of followers that have on disk what is in the log by now, once they are as many as it
    /// wants: it was acknowledged all that it has written. One client waits once at most, so that their number is that of the
    /// clients.
    pub fn await_replicas(&mut self, origin: Origin, wanted: usize, host: &mut impl ShardHost) {
        let waiter = ReplicaWaiter { origin, end: self.group.log_end(), wanted };
        if let Some(waiter) = self.try_answer(waiter, host) {
            self.replicated.push(waiter);
        }
    }

    /// Answers a client that waits no more with the number of those that have it now.
    pub fn end_replica_wait(&mut self, origin: Origin, host: &mut impl ShardHost) {
        let place = self.replicated.iter().position(|waiter| waiter.origin == origin);
        if let Some(waiter) = place.map(|place| self.replicated.swap_remove(place)) {
            let answered = self.try_answer(ReplicaWaiter { wanted: 0, ..waiter }, host);
            debug_assert!(answered.is_none(), "none is as many as it wants");
        }
    }

    /// Returns whether somebody waits for followers.
    pub fn awaits_replicas(&self) -> bool {
        !self.replicated.is_empty()
    }

    /// Answers those for whom enough followers have come so far; returns how many there were.
    pub(super) fn take_replicated(&mut self, host: &mut impl ShardHost) -> usize {
        let waiters = std::mem::take(&mut self.replicated);
        let before = waiters.len();
        for waiter in waiters {
            if let Some(waiter) = self.try_answer(waiter, host) {
                self.replicated.push(waiter);
            }
        }
        before - self.replicated.len()
    }

    /// Answers a client, or gives it back if it is to wait.
    fn try_answer(&self, waiter: ReplicaWaiter, host: &mut impl ShardHost) -> Option<ReplicaWaiter> {
        let holders = self.group.holders(waiter.end).filter(|_| !self.takes_nothing());
        match holders {
            Some(count) if count < waiter.wanted => return Some(waiter),
            Some(count) => {
                let mut bytes = Vec::new();
                Reply::new(&mut bytes, Protocol::Resp2).integer(count as i64);
                host.reply(waiter.origin, &bytes);
            }
            // Who leads now knows nothing of what was written here.
            None => host.reply(waiter.origin, UNBLOCKED),
        }
        None
    }
}
