//! Bytes that the records take, without remembering each one's size.

use std::collections::VecDeque;

use super::limits::STEP_BYTES;

/// Bytes that the records from any index on take, to within 64 KiB and one record.
#[derive(Debug, Default)]
pub(super) struct Sizes {
    /// Index and bytes before it, every [`STEP_BYTES`].
    steps: VecDeque<(u64, u64)>,
    /// Bytes before the first record.
    start: u64,
    /// Bytes before the end.
    end: u64,
}

impl Sizes {
    pub(super) fn is_empty(&self) -> bool {
        self.steps.is_empty()
    }

    /// Bytes of all records.
    pub(super) fn bytes(&self) -> u64 {
        self.end - self.start
    }

    /// Bytes of the records from `from` to before `to`, to within a step at either end.
    pub(super) fn between(&self, from: u64, to: u64) -> u64 {
        let before = |index: u64| {
            let behind = self.steps.partition_point(|(step, _)| *step < index);
            self.steps.get(behind).map_or(self.end, |(_, before)| *before)
        };
        before(to).saturating_sub(before(from))
    }

    /// Adds the record at `index`.
    pub(super) fn push(&mut self, index: u64, bytes: usize) {
        if self.steps.back().is_none_or(|(_, before)| self.end - before >= STEP_BYTES) {
            self.steps.push_back((index, self.end));
        }
        self.end += bytes as u64;
    }

    /// Forgets the records up to `upto`.
    pub(super) fn purge(&mut self, upto: u64) {
        while self.steps.get(1).is_some_and(|(index, _)| *index <= upto + 1) {
            self.steps.pop_front();
        }
        self.start = self.steps.front().map_or(self.end, |(_, before)| *before);
    }

    /// Forgets the records from `from` on.
    pub(super) fn truncate(&mut self, from: u64) {
        while self.steps.back().is_some_and(|(index, _)| *index >= from) {
            if let Some((_, before)) = self.steps.pop_back() {
                self.end = before;
            }
        }
    }

    /// Forgets everything.
    pub(super) fn clear(&mut self) {
        *self = Self::default();
    }
}
