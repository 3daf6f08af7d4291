//! The newest records of a log, in memory.

use std::collections::VecDeque;

use super::LogRecord;

/// The newest records, contiguous, ending with the log's last one. Bounded by bytes, but never without the last append.
#[derive(Debug)]
pub(super) struct Tail {
    records: VecDeque<LogRecord>,
    bytes: usize,
    bytes_max: usize,
}

impl Tail {
    /// An empty tail that keeps about `bytes_max`.
    pub(super) fn new(bytes_max: usize) -> Self {
        Self { records: VecDeque::new(), bytes: 0, bytes_max }
    }

    /// Adds the records that follow, and forgets the oldest beyond the bound.
    pub(super) fn extend(&mut self, records: &[LogRecord]) {
        for record in records {
            let follows = self.records.back().is_none_or(|last| last.index + 1 == record.index);
            assert!(follows, "the tail mirrors the log, which has no holes");
            self.bytes += record.row_bytes();
            self.records.push_back(record.clone());
        }
        self.keep_at_least(records.len());
    }

    /// Keeps about `bytes_max` from now on.
    pub(super) fn set_bytes_max(&mut self, bytes_max: usize) {
        self.bytes_max = bytes_max;
        self.keep_at_least(1);
    }

    /// Forgets the oldest records beyond the bound, but for the last `count`.
    fn keep_at_least(&mut self, count: usize) {
        while self.bytes > self.bytes_max && self.records.len() > count {
            self.pop_front();
        }
    }

    /// Bytes of its records.
    pub(super) fn bytes(&self) -> usize {
        self.bytes
    }

    /// The index of its first record.
    pub(super) fn first_index(&self) -> Option<u64> {
        self.records.front().map(|record| record.index)
    }

    /// The record at `index`, if it is here.
    pub(super) fn get(&self, index: u64) -> Option<&LogRecord> {
        let offset = index.checked_sub(self.first_index()?)?;
        self.records.get(usize::try_from(offset).ok()?)
    }

    /// The last record.
    pub(super) fn last(&self) -> Option<&LogRecord> {
        self.records.back()
    }

    /// Forgets the records with an index of `from` and above.
    pub(super) fn truncate(&mut self, from: u64) {
        while self.records.back().is_some_and(|record| record.index >= from) {
            if let Some(record) = self.records.pop_back() {
                self.bytes -= record.row_bytes();
            }
        }
    }

    /// Forgets the records with an index up to `upto`.
    pub(super) fn purge(&mut self, upto: u64) {
        while self.records.front().is_some_and(|record| record.index <= upto) {
            self.pop_front();
        }
    }

    fn pop_front(&mut self) {
        if let Some(record) = self.records.pop_front() {
            self.bytes -= record.row_bytes();
        }
    }
}

#[cfg(test)]
mod tests {
    use bytes::Bytes;

    use super::*;

    fn records(indexes: std::ops::Range<u64>) -> Vec<LogRecord> {
        indexes.map(|index| LogRecord { index, term: 1, body: Bytes::from(vec![0; 100]) }).collect()
    }

    #[test]
    fn the_oldest_records_go_first_and_the_last_append_never() {
        let row = records(0..1)[0].row_bytes();
        let mut tail = Tail::new(10 * row);
        tail.extend(&records(0..10));
        assert_eq!(tail.first_index(), Some(0));
        tail.extend(&records(10..13));
        assert_eq!(tail.first_index(), Some(3));
        tail.extend(&records(13..113));
        assert_eq!(tail.first_index(), Some(13), "one append larger than the bound stays whole");
        assert_eq!(tail.get(12), None);
        assert_eq!(tail.get(50).map(|record| record.index), Some(50));
        assert_eq!(tail.get(113), None);
    }

    #[test]
    fn cutting_either_end_keeps_the_byte_count() {
        let mut tail = Tail::new(1 << 20);
        tail.extend(&records(0..10));
        tail.truncate(8);
        tail.purge(2);
        assert_eq!((tail.first_index(), tail.last().map(|record| record.index)), (Some(3), Some(7)));
        assert_eq!(tail.bytes, 5 * records(0..1)[0].row_bytes());
        tail.purge(100);
        assert_eq!((tail.first_index(), tail.bytes), (None, 0));
    }
}
