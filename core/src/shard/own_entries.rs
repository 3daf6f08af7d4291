//! Steps of transactions over several shards that stand in no entry beside others: the commit of a part whose entry was skipped
//! once, and those for which the batch being collected has not enough versions left.
//!
//! They wait beside the open batch and are proposed behind it, at a turn's end. What cannot be proposed then takes turns with open
//! batches from then on, in front of the next one: where there is room for one batch at a time, there is always a next one. What
//! has waited for too long is refused: it is in no log.
//!
//! What a newcomer would get wrong: nothing depends on their place among other writes. All that they concern is held until they are
//! answered. But who waits for the open batch knows it by its number. So batches being collected have every other number, and one
//! number in front of each is kept for such steps.

use std::collections::VecDeque;
use std::ops::Range;
use std::time::{Duration, Instant};

use basalt_raft::ProposeError;

use super::open_batch::OpenBatch;
use super::parts::part_of;
use super::proposing::refusal;
use super::{Shard, ShardHost};
use crate::commands::table::{STEP_COMMIT, STEP_DECIDE, STEP_EXEC, STEP_PREPARE};
use crate::entry::batch;
use crate::entry::request;
use crate::entry::transaction::Transaction;
use crate::ids::Origin;
use crate::limits;

/// A step that waits for an entry.
pub(super) struct Step {
    origin: Origin,
    bytes: Vec<u8>,
    /// Commands that it executes.
    command_count: usize,
    /// True if nothing else may stand in its entry.
    is_alone: bool,
    since: Instant,
    away: Duration,
}

/// Steps that wait for an entry.
#[derive(Default)]
pub(super) struct OwnEntries {
    /// In the order in which they came.
    steps: VecDeque<Step>,
    /// True if some have waited for a turn already: they go in front of the open batch.
    are_next: bool,
    /// The number of the last batch of them that went in front of the open one.
    last_number: Option<u64>,
}

impl OwnEntries {
    pub(super) fn is_empty(&self) -> bool {
        self.steps.is_empty()
    }

    #[cfg(test)]
    pub(super) fn len(&self) -> usize {
        self.steps.len()
    }
}

/// The place of a batch among the others.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Place {
    /// It is the one being collected.
    Open,
    /// In front of that.
    Ahead,
}

impl Shard {
    /// Commands of transactions that a write executes whose bytes lie in the open batch. Of one that brings a part to be prepared,
    /// notes how many it has.
    pub(super) fn commands_in(&mut self, at: Range<usize>) -> usize {
        let bytes = &self.batches.open.bytes[at];
        let of_transaction = |bytes| Transaction::read(bytes).map_or(0, |transaction| transaction.count);
        match request::command_id(bytes) {
            Some(STEP_EXEC) => of_transaction(bytes),
            Some(STEP_DECIDE) => part_of(bytes).map_or(0, of_transaction),
            Some(step @ (STEP_COMMIT | STEP_PREPARE)) => self.holding.commands_of_part(step, bytes),
            _ => 0,
        }
    }

    /// Takes a coordinator's step out of the open batch again that may not stand there; `at` is where its bytes are, which joined
    /// last. False if it may.
    pub(super) fn takes_own_entry(&mut self, origin: Origin, at: Range<usize>, command_count: usize) -> bool {
        if command_count == 0 || !super::holding::is_coordinators(origin.client) {
            return false;
        }
        let is_alone = self.holding.was_skipped(&self.batches.open.bytes[at.clone()]);
        if !is_alone && self.has_versions_for(command_count) {
            return false;
        }
        let bytes = batch::pop(&mut self.batches.open.bytes, at);
        let (since, away) = (Instant::now(), self.batches.presence.away());
        self.batches.own_entries.steps.push_back(Step { origin, bytes, command_count, is_alone, since, away });
        true
    }

    /// Returns whether so many more commands of transactions find versions in the entry of the open batch.
    fn has_versions_for(&self, command_count: usize) -> bool {
        let before = self.batches.open.member_count;
        before == 0 || before + command_count <= limits::TRANSACTION_COMMANDS_MAX
    }

    /// Proposes steps that have waited for a turn in front of the open batch, if that has something, and none were before the same
    /// one; returns the bytes that were proposed.
    pub(super) fn propose_ahead(
        &mut self,
        now: Instant,
        now_ms: u64,
        string_bytes_max: usize,
        host: &mut impl ShardHost,
    ) -> usize {
        let own = &self.batches.own_entries;
        let number = self.batches.next_number.checked_sub(1);
        if !own.are_next || own.is_empty() || self.batches.open.write_count == 0 || number <= own.last_number {
            return 0;
        }
        let open = std::mem::replace(&mut self.batches.open, OpenBatch::begun());
        let (proposed, is_gone) = self.propose_steps(now, now_ms, string_bytes_max, Place::Ahead, host);
        if is_gone {
            self.batches.own_entries.last_number = number;
        }
        self.batches.open = open;
        proposed
    }

    /// Proposes steps that wait for an entry, if nothing else was left for one; returns the bytes that were proposed.
    pub(super) fn propose_own_entries(
        &mut self,
        now: Instant,
        now_ms: u64,
        string_bytes_max: usize,
        host: &mut impl ShardHost,
    ) -> usize {
        let mut proposed = 0;
        while self.batches.open.write_count == 0 && !self.batches.own_entries.is_empty() {
            let (bytes, is_gone) = self.propose_steps(now, now_ms, string_bytes_max, Place::Open, host);
            proposed += bytes;
            if !is_gone {
                break;
            }
        }
        self.batches.own_entries.are_next = !self.batches.own_entries.is_empty();
        proposed
    }

    /// Proposes as many steps as may stand in one entry, as the open batch, which is empty. Returns the bytes that were proposed,
    /// and false if they wait on.
    fn propose_steps(
        &mut self,
        now: Instant,
        now_ms: u64,
        string_bytes_max: usize,
        place: Place,
        host: &mut impl ShardHost,
    ) -> (usize, bool) {
        let joined = self.join_own_entries(now_ms);
        let proposed = self.propose_collected(now, now_ms, string_bytes_max, (place, true), host);
        let is_gone = self.batches.open.write_count == 0;
        if !is_gone {
            self.take_back(joined);
        }
        (proposed, is_gone)
    }

    /// Refuses steps that have waited for an entry for `timeout`. To be called now and then.
    pub(super) fn refuse_overdue_steps(&mut self, now: Instant, timeout: Option<Duration>, host: &mut impl ShardHost) {
        let (presence, Some(timeout)) = (self.batches.presence, timeout) else { return };
        let is_overdue = |step: &mut Step| presence.age(step.since, step.away, now) >= timeout;
        while let Some(step) = self.batches.own_entries.steps.pop_front_if(is_overdue) {
            host.reply(step.origin, format!("-{}\r\n", refusal(&ProposeError::Backlog)).as_bytes());
            if self.batches.open.write_count == 0 {
                self.batches.pressure.cancel();
            }
        }
    }

    /// Has as many steps join the empty open batch as may stand in one entry.
    fn join_own_entries(&mut self, now_ms: u64) -> Vec<(Step, Range<usize>)> {
        let mut joined = Vec::new();
        while let Some(next) = self.batches.own_entries.steps.front() {
            let may_join = joined.is_empty() || (!next.is_alone && self.has_versions_for(next.command_count));
            let Some(mut step) = self.batches.own_entries.steps.pop_front_if(|_| may_join) else { break };
            let at = batch::push(&mut self.batches.open.bytes, |out| out.append(&mut step.bytes));
            self.count_in(step.origin, at.clone(), step.command_count, now_ms);
            let is_alone = step.is_alone;
            joined.push((step, at));
            if is_alone {
                break;
            }
        }
        joined
    }

    /// Takes steps out of the open batch again, which has nothing else, in front of those that wait.
    fn take_back(&mut self, joined: Vec<(Step, Range<usize>)>) {
        let open = &mut self.batches.open;
        assert_eq!(open.operations.len(), joined.len(), "nothing has joined them");
        for (mut step, at) in joined.into_iter().rev() {
            step.bytes = batch::pop(&mut open.bytes, at);
            self.batches.own_entries.steps.push_front(step);
        }
        open.operations.clear();
        (open.write_count, open.member_count, open.has_guarded) = (0, 0, false);
        (open.expected_bytes, open.copied_bytes, open.script_work) = (0, 0, 0);
    }
}
