//! Steps of transactions over several shards that stand in no entry beside others: the commit of a part whose entry was skipped
//! once, and those for which the batch being collected has not enough versions left.
//!
//! They wait beside the open batch and are proposed behind it, at a turn's end. What cannot be proposed then waits on.
//!
//! What a newcomer would get wrong: nothing depends on their place among other writes. All that they concern is held until they are
//! answered.

use std::collections::VecDeque;
use std::ops::Range;
use std::time::Instant;

use super::parts::part_of;
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
}

/// Steps that wait for an entry, in the order in which they came.
pub(super) type OwnEntries = VecDeque<Step>;

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
        self.batches.own_entries.push_back(Step { origin, bytes, command_count, is_alone });
        true
    }

    /// Returns whether so many more commands of transactions find versions in the entry of the open batch.
    fn has_versions_for(&self, command_count: usize) -> bool {
        let before = self.batches.open.member_count;
        before == 0 || before + command_count <= limits::TRANSACTION_COMMANDS_MAX
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
            let joined = self.join_own_entries(now_ms);
            proposed += self.propose_open(now, now_ms, string_bytes_max, true, host);
            if self.batches.open.write_count > 0 {
                self.take_back(joined);
                break;
            }
        }
        proposed
    }

    /// Has as many steps join the empty open batch as may stand in one entry.
    fn join_own_entries(&mut self, now_ms: u64) -> Vec<(Step, Range<usize>)> {
        let mut joined = Vec::new();
        while let Some(next) = self.batches.own_entries.front() {
            let may_join = joined.is_empty() || (!next.is_alone && self.has_versions_for(next.command_count));
            let Some(mut step) = self.batches.own_entries.pop_front_if(|_| may_join) else { break };
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
            self.batches.own_entries.push_front(step);
        }
        open.operations.clear();
        (open.write_count, open.member_count, open.has_guarded) = (0, 0, false);
        (open.expected_bytes, open.copied_bytes, open.script_work) = (0, 0, 0);
    }
}
