//! The moment at which a shard proposes the batch it has collected: at once, or together with what comes in a moment.
//!
//! A sync costs the same for one write as for a hundred, and so does an entry. While many clients write, those whose writes
//! one sync has acknowledged send their next ones soon after, one by one: a batch proposed for the first of them would make the
//! others wait for a whole sync more. So a batch waits while its predecessor is on its way, and then until half of the writes that
//! were outstanding lately are in it, for a bounded time. Where only few writes were, none waits for another.
//!
//! The shards of a core share its syncs. So what counts is what is outstanding in all of them together, and they decide alike: a
//! shard of several that went by its own writes alone would have a sync for a third of what one shard has it for.

use std::time::{Duration, Instant};

use crate::limits;

/// Number of writes outstanding lately, and time that the shard's batch has waited.
#[derive(Debug)]
pub struct GroupCommit {
    /// Most writes outstanding at once, in this window and the one before.
    outstanding_max: [usize; 2],
    window_since: Instant,
    held: Option<Held>,
    others: Outstanding,
}

/// Writes that are not answered yet.
#[derive(Debug, Clone, Copy, Default)]
pub struct Outstanding {
    /// Writes in batches that are collected.
    pub waiting: usize,
    /// Writes on their way through the log.
    pub flying: usize,
    /// True if a batch is so large that it waits for nothing: no other waits then either, since it has its sync.
    leaves: bool,
    /// The batch that has waited longest.
    held: Option<Held>,
}

impl Outstanding {
    /// Those of two shards.
    pub fn and(self, other: Outstanding) -> Outstanding {
        let held = [self.held, other.held].into_iter().flatten().min_by_key(|held| held.since);
        let leaves = self.leaves || other.leaves;
        Outstanding { waiting: self.waiting + other.waiting, flying: self.flying + other.flying, leaves, held }
    }

    /// Those that are left without the shard whose writes are `own`.
    pub fn without(self, own: Outstanding) -> Outstanding {
        Outstanding { waiting: self.waiting - own.waiting, flying: self.flying - own.flying, ..self }
    }
}

/// A batch that waits.
#[derive(Debug, Clone, Copy)]
struct Held {
    /// The moment at which it began to wait, for its predecessor or for clients.
    first: Instant,
    /// The moment at which it began to wait for that of the two that it waits for now.
    since: Instant,
    /// True if its predecessor is on its way.
    is_behind: bool,
}

impl GroupCommit {
    /// Nothing is outstanding.
    pub fn new(now: Instant) -> GroupCommit {
        GroupCommit { outstanding_max: [0; 2], window_since: now, held: None, others: Outstanding::default() }
    }

    /// The writes of this shard, given their numbers.
    pub fn outstanding(&self, waiting: usize, flying: usize) -> Outstanding {
        let leaves = waiting >= limits::HOLD_WRITES_MAX;
        Outstanding { waiting, flying, leaves, held: self.held.filter(|_| waiting > 0) }
    }

    /// Notes what is outstanding in the other shards of the core.
    pub fn note_others(&mut self, others: Outstanding) {
        self.others = others;
    }

    /// Returns whether a batch of `waiting` writes waits on at `now`, while `flying` writes are on their way through the log. A
    /// batch that `is_full` does not.
    pub fn hold_back(&mut self, now: Instant, waiting: usize, flying: usize, is_full: bool) -> bool {
        let window = now.saturating_duration_since(self.window_since);
        if window >= limits::OUTSTANDING_WINDOW {
            self.window_since = now;
            let is_old = window >= 2 * limits::OUTSTANDING_WINDOW;
            self.outstanding_max = [0, if is_old { 0 } else { self.outstanding_max[0] }];
        }
        let (all_waiting, all_flying) = (waiting + self.others.waiting, flying + self.others.flying);
        self.outstanding_max[0] = self.outstanding_max[0].max(all_waiting + all_flying);
        let expected = self.expected();
        let is_behind = all_flying > 0;
        let is_due = is_full
            || waiting >= limits::HOLD_WRITES_MAX
            || self.others.leaves
            || expected < limits::HOLD_OUTSTANDING_MIN
            || (!is_behind && 2 * all_waiting >= expected);
        if is_due || waiting == 0 {
            self.held = None;
            return false;
        }
        // With those of the others, or they would leave one after the other.
        let held = [self.held, self.others.held].into_iter().flatten().filter(|held| held.is_behind == is_behind);
        let first = self.held.map_or(now, |held| held.first);
        let since = held.map(|held| held.since).min().unwrap_or(now);
        let held = Held { first, since, is_behind };
        let held_max: Duration = if is_behind { limits::HOLD_BEHIND } else { limits::HOLD };
        // Predecessors of others may come and go meanwhile.
        let holds = now.saturating_duration_since(held.since) < held_max
            && now.saturating_duration_since(held.first) < limits::HOLD_BEHIND + limits::HOLD;
        self.held = holds.then_some(held);
        holds
    }

    fn expected(&self) -> usize {
        self.outstanding_max[0].max(self.outstanding_max[1])
    }

    /// Returns whether many clients write, or did a moment before `now`.
    pub fn expects_many(&self, now: Instant) -> bool {
        self.expected() >= limits::HOLD_OUTSTANDING_MIN
            && now.saturating_duration_since(self.window_since) < 2 * limits::OUTSTANDING_WINDOW
    }

    /// Returns the number of writes that the batch last asked about waits for, beside the `waiting` ones in it; `None` if it does
    /// not wait for clients.
    pub fn missing(&self, waiting: usize) -> Option<usize> {
        let enough = self.expected().div_ceil(2).min(limits::HOLD_WRITES_MAX);
        self.waits_for_clients().then(|| enough.saturating_sub(waiting + self.others.waiting).max(1))
    }

    /// Returns whether the batch last asked about waits.
    pub fn is_holding(&self) -> bool {
        self.held.is_some()
    }

    /// Returns whether a batch waits for nothing but the clients, so that it must be looked at again soon.
    pub fn waits_for_clients(&self) -> bool {
        self.held.is_some_and(|held| !held.is_behind)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn few_clients_never_wait() {
        let now = Instant::now();
        let mut commit = GroupCommit::new(now);
        for flying in 0..limits::HOLD_OUTSTANDING_MIN - 1 {
            assert!(!commit.hold_back(now, 1, flying, false), "{flying} on their way");
        }
    }

    #[test]
    fn a_batch_waits_for_its_predecessor_and_then_for_half_of_the_clients() {
        let now = Instant::now();
        let mut commit = GroupCommit::new(now);
        assert!(!commit.hold_back(now, 20, 0, false), "nothing else is known");
        assert!(commit.hold_back(now, 5, 15, false), "the predecessor is on its way");
        assert!(!commit.waits_for_clients());
        assert!(commit.hold_back(now, 9, 0, false));
        assert!(commit.waits_for_clients());
        assert_eq!(commit.missing(9), Some(1));
        assert!(!commit.hold_back(now, 10, 0, false));
        assert_eq!(commit.missing(10), None);
        assert!(!commit.waits_for_clients());
    }

    #[test]
    fn shards_that_share_syncs_wait_for_each_others_predecessors_and_clients_and_leave_together() {
        let now = Instant::now();
        let later = now + limits::HOLD / 2;
        let mut shards = [GroupCommit::new(now), GroupCommit::new(now)];
        let mut ask = |now, writes: [(usize, usize); 2]| {
            let own = [0, 1].map(|shard| shards[shard].outstanding(writes[shard].0, writes[shard].1));
            let all = own[0].and(own[1]);
            [0, 1].map(|shard| {
                shards[shard].note_others(all.without(own[shard]));
                shards[shard].hold_back(now, writes[shard].0, writes[shard].1, false)
            })
        };
        assert_eq!(ask(now, [(10, 0), (10, 0)]), [false, false], "nothing else is known");
        assert_eq!(ask(now, [(0, 10), (4, 0)]), [false, true], "the other's predecessor is on its way");
        assert_eq!(ask(now, [(4, 0), (0, 0)]), [true, false], "half of all are not there yet");
        assert_eq!(ask(now, [(5, 0), (5, 0)]), [false, false], "half of all, and none has half by itself");
        assert_eq!(ask(now, [(4, 0), (0, 0)]), [true, false]);
        assert_eq!(ask(later, [(4, 0), (1, 0)]), [true, true]);
        assert_eq!(ask(now + limits::HOLD, [(4, 0), (1, 0)]), [false, false], "both when the first has waited enough");
    }

    #[test]
    fn a_shard_with_few_writers_leaves_with_another_that_is_busy_and_soon_by_itself() {
        let now = Instant::now();
        let busy = |waiting, flying| {
            let mut shard = GroupCommit::new(now);
            shard.outstanding_max = [200, 200];
            shard.outstanding(waiting, flying)
        };
        let mut quiet = GroupCommit::new(now);
        quiet.note_others(busy(0, 100));
        assert!(quiet.hold_back(now, 1, 0, false) || quiet.expected() < limits::HOLD_OUTSTANDING_MIN);
        quiet.note_others(busy(limits::HOLD_WRITES_MAX, 0));
        assert!(!quiet.hold_back(now, 1, 0, false), "with the other");

        // Others' predecessors come and go, and never is half of all there.
        let mut waited = Duration::ZERO;
        for round in 0.. {
            quiet.note_others(if round % 2 == 0 { busy(0, 100) } else { busy(10, 0) });
            if !quiet.hold_back(now + waited, 1, 0, false) {
                break;
            }
            waited += Duration::from_micros(40);
            assert!(waited <= limits::HOLD_BEHIND + 2 * limits::HOLD, "it waits and waits");
        }
    }

    #[test]
    fn many_writers_are_expected_until_they_are_gone() {
        let now = Instant::now();
        let mut commit = GroupCommit::new(now);
        assert!(!commit.expects_many(now));
        commit.hold_back(now, limits::HOLD_OUTSTANDING_MIN, 0, false);
        assert!(commit.expects_many(now + limits::OUTSTANDING_WINDOW));
        assert!(!commit.expects_many(now + 2 * limits::OUTSTANDING_WINDOW), "they have been silent for long");
    }

    #[test]
    fn no_batch_waits_for_long() {
        let now = Instant::now();
        let mut commit = GroupCommit::new(now);
        assert!(!commit.hold_back(now, 40, 0, false));
        assert!(commit.hold_back(now, 1, 0, false));
        assert!(!commit.hold_back(now + limits::HOLD, 1, 0, false));
        assert!(commit.hold_back(now + limits::HOLD, 1, 40, false));
        assert!(!commit.hold_back(now + limits::HOLD + limits::HOLD_BEHIND, 1, 40, false));
    }

    #[test]
    fn large_batches_go_at_once_and_old_peaks_are_forgotten() {
        let now = Instant::now();
        let mut commit = GroupCommit::new(now);
        assert!(!commit.hold_back(now, limits::HOLD_WRITES_MAX, 1000, false));
        assert!(!commit.hold_back(now, 1, 1000, true), "nothing can join it");
        let later = now + limits::OUTSTANDING_WINDOW;
        assert!(commit.hold_back(later, 1, 0, false));
        assert!(
            !commit.hold_back(later + limits::OUTSTANDING_WINDOW, 1, 0, false),
            "a thousand were outstanding two windows ago"
        );
        assert!(!commit.hold_back(now, 1000, 0, false));
        assert!(
            !commit.hold_back(now + 5 * limits::OUTSTANDING_WINDOW, 1, 0, false),
            "a thousand were outstanding long ago"
        );
    }
}
