//! Clients that wait until followers have what they have written.
//!
//! Only the replica that leads knows how far its followers are. The clients are looked at when one of these has come farther, of
//! which a task tells as long as somebody waits, or when this replica leads no more.

use std::cell::Cell;
use std::rc::Rc;

use basalt_net::resp::{Protocol, Reply};

use super::waiting::UNBLOCKED;
use super::{Shard, ShardHost};
use crate::ids::Origin;

/// The clients that wait for followers of a shard.
#[derive(Debug, Default)]
pub(super) struct Replicated {
    waiters: Vec<ReplicaWaiter>,
    /// The ends of the followers' logs when the clients were looked at last.
    ends: Vec<u64>,
    /// The same for a look that is under way: kept for its memory.
    next_ends: Vec<u64>,
    /// True as long as somebody waits.
    is_awaited: Rc<Cell<bool>>,
    /// True as long as a task looks out for what followers say.
    is_watched: Rc<Cell<bool>>,
}

impl Replicated {
    /// Returns whether nobody waits.
    pub(super) fn is_empty(&self) -> bool {
        self.waiters.is_empty()
    }
}

/// A client that waits.
#[derive(Debug)]
struct ReplicaWaiter {
    origin: Origin,
    /// The end of the log when it came: all that it was acknowledged is below.
    end: u64,
    /// The number of followers that are to have it on disk.
    wanted: usize,
}

impl ReplicaWaiter {
    /// Answers the client, if it has nothing to wait for. `ends` are those of the followers' logs, if they are known.
    fn try_answer(&self, ends: Option<&[u64]>, host: &mut impl ShardHost) -> bool {
        let Some(ends) = ends else {
            // Who leads now knows nothing of what was written here.
            host.reply(self.origin, UNBLOCKED);
            return true;
        };
        let count = ends.iter().filter(|end| **end >= self.end).count();
        if count < self.wanted {
            return false;
        }
        let mut bytes = Vec::new();
        Reply::new(&mut bytes, Protocol::Resp2).integer(count as i64);
        host.reply(self.origin, &bytes);
        true
    }
}

impl Shard {
    /// Answers a client with the number of followers that have on disk what is in the log by now, once they are as many as it
    /// wants: it was acknowledged all that it has written. One client waits once at most, so that their number is that of the
    /// clients.
    pub fn await_replicas(&mut self, origin: Origin, wanted: usize, host: &mut impl ShardHost) {
        let waiter = ReplicaWaiter { origin, end: self.group.log_end(), wanted };
        if self.try_answer(&waiter, host) {
            return;
        }
        self.replicated.waiters.push(waiter);
        self.replicated.is_awaited.set(true);
        if self.replicated.is_watched.replace(true) {
            return;
        }
        let (is_awaited, is_watched) = (self.replicated.is_awaited.clone(), self.replicated.is_watched.clone());
        let wake = self.wake.clone();
        self.group.watch_followers(move || {
            if is_awaited.get() {
                wake();
            } else {
                is_watched.set(false);
            }
            is_watched.get()
        });
    }

    /// Answers a client that waits no more with the number of those that have it now.
    pub fn end_replica_wait(&mut self, origin: Origin, host: &mut impl ShardHost) {
        let waiters = &mut self.replicated.waiters;
        let place = waiters.iter().position(|waiter| waiter.origin == origin);
        if let Some(waiter) = place.map(|place| waiters.swap_remove(place)) {
            let is_answered = self.try_answer(&ReplicaWaiter { wanted: 0, ..waiter }, host);
            debug_assert!(is_answered, "none is as many as it wants");
        }
        self.replicated.is_awaited.set(!self.replicated.is_empty());
    }

    /// Returns whether somebody waits for followers.
    pub fn awaits_replicas(&self) -> bool {
        !self.replicated.is_empty()
    }

    /// Answers those for whom enough followers have come so far; returns how many there were.
    pub(super) fn take_replicated(&mut self, host: &mut impl ShardHost) -> usize {
        let mut ends = std::mem::take(&mut self.replicated.next_ends);
        let is_known = self.read_ends(&mut ends);
        if is_known && ends == self.replicated.ends {
            self.replicated.next_ends = ends;
            return 0;
        }
        let before = self.replicated.waiters.len();
        let known = is_known.then_some(&ends[..]);
        self.replicated.waiters.retain(|waiter| !waiter.try_answer(known, host));
        self.replicated.next_ends = std::mem::replace(&mut self.replicated.ends, ends);
        self.replicated.is_awaited.set(!self.replicated.is_empty());
        before - self.replicated.waiters.len()
    }

    fn try_answer(&mut self, waiter: &ReplicaWaiter, host: &mut impl ShardHost) -> bool {
        let mut ends = std::mem::take(&mut self.replicated.next_ends);
        let is_known = self.read_ends(&mut ends);
        let is_answered = waiter.try_answer(is_known.then_some(&ends[..]), host);
        self.replicated.next_ends = ends;
        is_answered
    }

    /// Reads the ends of the followers' logs. False if they are not known: another leads, or may without this one's knowledge,
    /// since it has heard of no majority for so long.
    fn read_ends(&self, ends: &mut Vec<u64>) -> bool {
        self.group.read_follower_ends(ends) && !self.takes_nothing() && self.why_not_lead().is_none()
    }
}
