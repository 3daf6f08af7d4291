//! The index at which the log ended after each of RocksDB's writes.

use std::collections::VecDeque;

use super::limits::RUNS_MAX;

/// Maps RocksDB's sequence numbers to the log's last index.
///
/// A record takes one sequence number, so while records are only appended the two differ by a constant: one run serves for
/// all of them, and a truncation begins another.
#[derive(Debug, Default)]
pub(super) struct SequenceIndex {
    runs: VecDeque<Run>,
}

#[derive(Debug, Clone, Copy)]
struct Run {
    /// The first sequence number it speaks of.
    sequence: u64,
    /// The log's last index then.
    start: Option<u64>,
    /// The log's last index at the run's end.
    end: Option<u64>,
}

impl SequenceIndex {
    /// Notes that the log ends at `last` after write `sequence`; writes up to `durable` are on disk.
    pub(super) fn note(&mut self, sequence: u64, last: Option<u64>, durable: u64) {
        match self.runs.back_mut() {
            Some(run) if run.index_at(sequence) == last && last.is_some() => run.end = last,
            _ => self.runs.push_back(Run { sequence, start: last, end: last }),
        }
        while self.runs.get(1).is_some_and(|run| run.sequence <= durable) || self.runs.len() > RUNS_MAX {
            self.runs.pop_front();
        }
    }

    /// The log's last index after write `sequence`, as far as it was not cut later.
    pub(super) fn index_at(&self, sequence: u64) -> Option<u64> {
        let run = self.runs.iter().rev().find(|run| run.sequence <= sequence)?;
        run.index_at(sequence).min(run.end)
    }

    /// Notes that the records after `last` are gone, whenever they were written.
    pub(super) fn cut(&mut self, last: Option<u64>) {
        for run in &mut self.runs {
            run.start = run.start.min(last);
            run.end = run.end.min(last);
        }
    }
}

impl Run {
    /// The last index after write `sequence` if nothing but appends came since the run began.
    fn index_at(&self, sequence: u64) -> Option<u64> {
        Some(self.start? + (sequence - self.sequence))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn appends_advance_the_durable_index_with_the_writes() {
        let mut runs = SequenceIndex::default();
        runs.note(10, None, 10);
        runs.note(13, Some(2), 10);
        runs.note(20, Some(9), 10);
        assert_eq!(runs.index_at(10), None);
        assert_eq!(runs.index_at(13), Some(2));
        assert_eq!(runs.index_at(17), Some(6));
        assert_eq!(runs.index_at(20), Some(9));
        assert_eq!(runs.runs.len(), 2, "one run for all appends");
    }

    #[test]
    fn what_was_cut_is_not_durable_however_old() {
        let mut runs = SequenceIndex::default();
        runs.note(100, Some(50), 100);
        runs.note(110, Some(60), 100);
        runs.cut(Some(55));
        runs.note(111, Some(55), 100);
        runs.note(114, Some(58), 100);
        assert_eq!(runs.index_at(104), Some(54));
        assert_eq!(runs.index_at(110), Some(55));
        assert_eq!(runs.index_at(112), Some(56));
        assert_eq!(runs.index_at(114), Some(58));
        runs.cut(None);
        assert_eq!(runs.index_at(114), None);
    }
}
