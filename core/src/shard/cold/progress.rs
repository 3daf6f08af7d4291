//! Commands that are run again and again until all they need is in memory: how far they have come.

use basalt_storage::{COLD_SCAN_BYTES, ColdRead, Direction, PinnedRows, Store};

use super::names::NamesLooked;
use crate::limits;

/// The progress of a request that is run again each time a reader thread has fetched something for it.
#[derive(Debug)]
pub(in crate::shard) struct ColdProgress {
    /// Times that it has met the disk.
    rounds: u32,
    /// Times that it has done so without having come farther.
    attempts: u32,
    /// The single rows that it met last.
    rows: Vec<Box<[u8]>>,
    /// Those that it met before them: a cache may hold either, and not both.
    rows_before: Vec<Box<[u8]>>,
    /// The point that its scans have come to, forward and backward.
    scanned: [Option<Box<[u8]>>; 2],
    scan_bytes: usize,
    /// Times that it has met the disk in a scan.
    scans: u32,
    /// True if it waits for a view; `None` if there is none of what it reads.
    wants_view: Option<bool>,
    /// Rows that were fetched to be kept.
    kept: Option<PinnedRows>,
    kept_rounds: u32,
    /// Times that what was kept was of the past, since a generation had reached the disk.
    losses: u32,
    /// True if something could not be fetched.
    has_failed: bool,
    /// The place up to which very many names have been looked at.
    pub(in crate::shard) names: NamesLooked,
    /// The same when it met the disk last.
    names_before: NamesLooked,
    /// Times that all of them were fetched in vain.
    sweeps: u32,
}

impl ColdProgress {
    pub(in crate::shard) fn new() -> ColdProgress {
        let (rows, scanned) = (Vec::new(), [None, None]);
        ColdProgress {
            rounds: 0,
            attempts: 0,
            rows,
            rows_before: Vec::new(),
            scanned,
            scan_bytes: COLD_SCAN_BYTES,
            scans: 0,
            wants_view: Some(false),
            kept: None,
            kept_rounds: 0,
            losses: 0,
            has_failed: false,
            names: NamesLooked::default(),
            names_before: NamesLooked::default(),
            sweeps: 0,
        }
    }

    /// Returns whether it has met the disk.
    pub(in crate::shard) fn has_begun(&self) -> bool {
        self.rounds > 0 || self.names_before != NamesLooked::default()
    }

    /// Returns whether rows are to be pinned for it: the caches may drop them faster than it reads them.
    pub(in crate::shard) fn should_pin(&self) -> bool {
        self.attempts >= limits::COLD_READ_ATTEMPTS || self.names.has_met()
    }

    /// The progress of a read that waits for a view.
    pub(in crate::shard) fn for_view() -> ColdProgress {
        ColdProgress { wants_view: Some(true), ..ColdProgress::new() }
    }

    /// Takes note that there is no view of what it reads.
    pub(in crate::shard) fn take_no_view(&mut self) {
        self.wants_view = None;
    }

    /// Returns whether so much is missing in memory that a read, which has just met `cold`, is to be executed where the disk is.
    pub(in crate::shard) fn is_long(&self, cold: &ColdRead) -> bool {
        let rows = match cold {
            ColdRead::Key(_) | ColdRead::Scan { .. } => 1,
            ColdRead::Keys(rows) | ColdRead::Places(rows) => rows.len(),
        };
        let is_long = rows > limits::COLD_ROWS_FETCHED || self.rounds > limits::COLD_ROUNDS || self.scans > 1;
        self.wants_view.is_some_and(|wants_view| wants_view || is_long || self.attempts > 0)
    }

    /// Returns whether the disk gave an error, which the request is to meet itself.
    pub(in crate::shard) fn has_failed(&self) -> bool {
        self.has_failed
    }

    /// Returns whether it has met the disk although there is already as much kept for it as may be, which is `bytes_max`, or all
    /// that it names was fetched often enough.
    pub(in crate::shard) fn is_too_large(&self, bytes_max: usize) -> bool {
        self.sweeps > limits::NAME_SWEEPS_MAX
            || self.kept_rounds > limits::PINNED_ROUNDS_MAX
            || self.kept.as_ref().is_some_and(|kept| kept.bytes() > bytes_max)
    }

    /// Returns whether a script has begun anew so often that it is to wait for what else is not in memory.
    pub(in crate::shard) fn is_long_script(&self) -> bool {
        self.rounds > limits::SCRIPT_COLD_ROUNDS_MAX
    }

    /// Returns whether generations reach the disk faster than it reads: it should do so as a part of an entry, during which none
    /// begins.
    pub(in crate::shard) fn is_overtaken(&self) -> bool {
        self.losses > limits::PINNED_LOSSES_MAX
    }

    /// Gives `store` the rows that are kept for it, until [`ColdProgress::take_back`].
    pub(in crate::shard) fn lend_to(&mut self, store: &mut Store) {
        if let Some(kept) = self.kept.take() {
            self.losses += u32::from(!store.set_pinned(kept));
        }
    }

    /// Takes them back.
    pub(in crate::shard) fn take_back(&mut self, store: &mut Store) {
        self.kept = store.take_pinned();
    }

    /// Keeps the rows that were fetched for it; none, if that failed.
    pub(in crate::shard) fn take_fetched(&mut self, rows: Option<PinnedRows>) {
        if !self.should_pin() {
            return;
        }
        self.kept_rounds += 1;
        match (rows, &mut self.kept) {
            (Some(rows), Some(kept)) => self.losses += u32::from(!kept.merge(rows)),
            (Some(rows), None) => self.kept = Some(rows),
            (None, _) => self.has_failed = true,
        }
    }

    /// Takes note of what the request has met, and says how much of it to fetch.
    pub(in crate::shard) fn note_miss(&mut self, cold: &mut ColdRead) {
        let before = std::mem::replace(&mut self.names_before, self.names);
        if self.names.is_behind(&before) {
            // Farther among its names, of which there is an end.
            return;
        }
        self.rounds += 1;
        if before.is_behind(&self.names) {
            // They were all fetched, and have to be once more: what was in a cache then was not kept.
            self.attempts = self.attempts.saturating_add(1);
            self.sweeps += 1;
            return;
        }
        let bytes_max = if self.should_pin() { limits::PINNED_SCAN_BYTES_MAX } else { limits::COLD_SCAN_BYTES_MAX };
        let is_farther = match cold {
            ColdRead::Key(row) => self.note_rows(std::slice::from_ref(row)),
            ColdRead::Keys(rows) | ColdRead::Places(rows) => self.note_rows(rows),
            // Who knows to need few rows asks for few bytes, here and there, unless there is no end of it.
            ColdRead::Scan { from, bytes, .. } if *bytes < COLD_SCAN_BYTES && self.scans < limits::SMALL_SCANS_MAX => {
                self.scans += 1;
                self.note_rows(std::slice::from_ref(from))
            }
            ColdRead::Scan { from, direction, bytes } => {
                self.scans += 1;
                let last = &mut self.scanned[usize::from(*direction == Direction::Backward)];
                let is_first = last.is_none();
                let is_farther = last.as_ref().is_none_or(|last| match direction {
                    Direction::Forward => *from > *last,
                    Direction::Backward => *from < *last,
                });
                if is_farther {
                    *last = Some(from.clone());
                }
                if is_farther && !is_first {
                    self.scan_bytes = (2 * self.scan_bytes).min(bytes_max);
                }
                *bytes = self.scan_bytes;
                is_farther
            }
        };
        if !is_farther || self.rounds > limits::COLD_READ_ROUNDS_MAX {
            self.attempts = self.attempts.saturating_add(1);
            if self.attempts == limits::COLD_READ_ATTEMPTS && self.names.is_done() {
                // From now on they are kept, all of them.
                (self.names, self.names_before) = Default::default();
            }
        }
    }

    /// Returns whether the first of `rows` is none of those of the last two times: one that is was evicted.
    fn note_rows(&mut self, rows: &[Box<[u8]>]) -> bool {
        let is_farther =
            rows.first().is_none_or(|first| !self.rows.contains(first) && !self.rows_before.contains(first));
        self.rows_before = std::mem::replace(&mut self.rows, rows.to_vec());
        is_farther
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn attempts(met: impl IntoIterator<Item = ColdRead>) -> u32 {
        let mut progress = ColdProgress::new();
        met.into_iter().for_each(|mut cold| progress.note_miss(&mut cold));
        progress.attempts
    }

    fn key(number: u32) -> Box<[u8]> {
        Box::from(number.to_be_bytes())
    }

    fn scan(number: u32, direction: Direction) -> ColdRead {
        ColdRead::Scan { from: key(number), direction, bytes: COLD_SCAN_BYTES }
    }

    fn small_scan(number: u32) -> ColdRead {
        ColdRead::Scan { from: key(number), direction: Direction::Forward, bytes: 4096 }
    }

    #[test]
    fn coming_farther_is_no_attempt() {
        assert_eq!(attempts((0..100).map(|number| ColdRead::Key(key(number)))), 0);
        assert_eq!(attempts((0..100).map(|number| scan(number, Direction::Forward))), 0);
        assert_eq!(attempts((0..100).rev().map(|number| scan(number, Direction::Backward))), 0);
        assert_eq!(attempts((0..9).map(|number| ColdRead::Keys(vec![key(number), key(number + 10)]))), 0);
    }

    #[test]
    fn what_was_fetched_and_is_cold_again_is_an_attempt() {
        assert_eq!(attempts([ColdRead::Key(key(1)), ColdRead::Key(key(1))]), 1);
        assert_eq!(attempts([ColdRead::Keys(vec![key(1), key(2)]), ColdRead::Keys(vec![key(2), key(3)])]), 1);
        // Each half drives the other one out.
        let halves = [0, 10].map(|first| ColdRead::Keys(vec![key(first), key(first + 1)]));
        assert_eq!(attempts([&halves[..], &halves, &halves].concat()), 4);
        assert_eq!(attempts([5, 6, 4, 6].map(|number| scan(number, Direction::Forward))), 2);
        let turns = [(5, Direction::Forward), (5, Direction::Backward), (5, Direction::Forward)];
        assert_eq!(attempts(turns.map(|(number, direction)| scan(number, direction))), 1);
    }

    #[test]
    fn scans_for_few_rows_fetch_few_until_they_are_many() {
        let mut progress = ColdProgress::new();
        let mut fetched = |number| {
            let mut cold = small_scan(number);
            progress.note_miss(&mut cold);
            let ColdRead::Scan { bytes, .. } = cold else { unreachable!("it is a scan") };
            (bytes, progress.attempts)
        };
        // They may go to and fro: each is of another place.
        let places = (0..limits::SMALL_SCANS_MAX).map(|number| number * 7 % limits::SMALL_SCANS_MAX);
        assert!(places.into_iter().all(|number| fetched(number) == (4096, 0)));
        assert_eq!(fetched(100), (COLD_SCAN_BYTES, 0));
        assert_eq!(fetched(101), (2 * COLD_SCAN_BYTES, 0));
        assert_eq!(attempts([5, 6, 4, 4].map(small_scan)), 1);
    }

    #[test]
    fn rounds_are_bounded() {
        let turns = (0..2 * limits::COLD_READ_ROUNDS_MAX).map(|number| ColdRead::Key(key(number % 2)));
        assert!(attempts(turns) > limits::COLD_READ_ATTEMPTS);
    }
}
