//! The age of what a replica shows, for reads that ask nobody.
//!
//! A message of the leader says up to where it has committed. Once that is applied here, the replica has all that the leader had
//! committed when it sent the message: it is as old as that message, and not older. So a replica that has just been made, that
//! waits for a snapshot or that does not keep up is no fresh one, however often it hears its leader. A leader knows what is
//! committed once an entry of its own term is: what it says before is what it happens to have heard of, and counts for nothing.
//!
//! A learner is never fresh: who leads without a majority goes on sending now and then, and a learner cannot elect another one. Of
//! five voters or more, a second one may hear it as well, for as long as it hears nobody else.
//!
//! What a newcomer would get wrong: this is no lease. Another leader may have committed more since, of which nobody here has heard;
//! who must see that asks for a read barrier.

use std::cell::Cell;
use std::time::Duration;

use openraft::async_runtime::watch::WatchReceiver;

use super::Group;
use crate::disk::Disk;
use crate::source::Instant;

/// The newest of a leader's messages up to which a replica has applied everything.
#[derive(Default)]
pub(super) struct Freshness {
    /// The oldest message up to which it has not: the index that was committed then, and when it came.
    awaited: Cell<Option<(u64, Instant)>>,
    fresh_at: Cell<Option<Instant>>,
}

impl Freshness {
    /// Notes a message that came `at` from a leader that had committed up to `committed`, an entry of its own term.
    pub(super) fn hear(&self, committed: u64, applied: Option<u64>, at: Instant) {
        self.take_applied(applied);
        if applied >= Some(committed) {
            self.fresh_at.set(Some(at));
        } else if self.awaited.get().is_none() {
            // Of several the oldest is reached first.
            self.awaited.set(Some((committed, at)));
        }
    }

    /// The time when the replica is known to have had all that its leader had committed, given what it has applied by now.
    pub(super) fn at(&self, applied: Option<u64>) -> Option<Instant> {
        self.take_applied(applied);
        self.fresh_at.get()
    }

    fn take_applied(&self, applied: Option<u64>) {
        if let Some((_, at)) = self.awaited.get().filter(|(index, _)| applied >= Some(*index)) {
            self.awaited.set(None);
            self.fresh_at.set(Some(at));
        }
    }
}

impl<D: Disk> Group<D> {
    /// Returns true if this replica has all that its leader had committed at some moment within the last `longest`, as far as it
    /// was told; of a leader: if a quorum has answered it since, and all of the terms before its own is applied. Reads of such a
    /// one show what was committed and nothing else, but maybe not the newest.
    pub fn is_fresh(&self, longest: Duration) -> bool {
        let inner = &*self.0;
        if inner.fatal.borrow().is_some() || inner.is_stopping.get() {
            return false;
        }
        let applied = self.applied();
        if inner.is_leader.get() {
            let is_caught_up = applied.is_some_and(|applied| Some(applied.term) == self.leads_in());
            let is_heard = || {
                let acked = inner.raft.data_metrics().borrow_watched().last_quorum_acked;
                acked.is_some_and(|at| at.elapsed() < longest)
            };
            if is_caught_up && (inner.alone_since.get().is_some() || is_heard()) {
                return true;
            }
        }
        // Of a new leader: as a follower.
        inner.freshness.at(applied.map(|applied| applied.index)).is_some_and(|at| at.elapsed() < longest)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_replica_is_as_old_as_the_newest_message_whose_commits_it_has_applied() {
        let freshness = Freshness::default();
        let start = Instant::now();
        let at = |seconds: u64| start + Duration::from_secs(seconds);
        assert_eq!(freshness.at(None), None, "it has heard of nobody");
        // It has just been made: what the leader has is far ahead.
        freshness.hear(100, None, at(1));
        freshness.hear(120, Some(50), at(2));
        assert_eq!(freshness.at(Some(99)), None);
        // The first message counts, whose commits it has; not the second.
        assert_eq!(freshness.at(Some(110)), Some(at(1)));
        freshness.hear(130, Some(130), at(3));
        assert_eq!(freshness.at(Some(130)), Some(at(3)));
        // It falls behind, and stays as old as it was.
        freshness.hear(140, Some(130), at(4));
        freshness.hear(150, Some(135), at(5));
        assert_eq!(freshness.at(Some(139)), Some(at(3)));
        assert_eq!(freshness.at(Some(140)), Some(at(4)));
        // Having more than the leader tells of is having all of it.
        freshness.hear(150, Some(160), at(6));
        assert_eq!(freshness.at(Some(160)), Some(at(6)));
    }
}
