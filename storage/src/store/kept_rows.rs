//! Rows from disk that are kept for one command, where the caches drop them faster than it reads them.
//!
//! They are of one [`Epoch`]: once a generation is finished or a snapshot installed they may be of the past, and go.

use std::collections::BTreeMap;
use std::ops::Bound;

use super::row_cache::Epoch;
use crate::rows::{Direction, range_is_empty};

/// What a row counts for beside its bytes: its place in the tree.
const ROW_OVERHEAD_BYTES: usize = 64;

/// Rows of a store's RocksDB, and ranges of keys of which all rows are here.
#[derive(Debug, Default)]
pub struct KeptRows {
    pub(super) epoch: Epoch,
    /// `None` for keys without a row.
    rows: BTreeMap<Box<[u8]>, Option<Box<[u8]>>>,
    /// Where each range begins, and where it ends; none touches another.
    ranges: BTreeMap<Box<[u8]>, Box<[u8]>>,
    bytes: usize,
}

/// What the kept rows know of a key.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Kept<'a> {
    Row(&'a [u8]),
    Absent,
    Unknown,
}

/// Where a scan goes on.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Next<'a> {
    /// At this row.
    Row(&'a [u8], &'a [u8]),
    /// Where the range ends: there is no row before.
    End(&'a [u8]),
    /// Nobody knows.
    Unknown,
}

impl KeptRows {
    pub(super) fn new(epoch: Epoch) -> KeptRows {
        KeptRows { epoch, ..KeptRows::default() }
    }

    /// Memory they take, about.
    pub fn bytes(&self) -> usize {
        self.bytes
    }

    pub(super) fn put(&mut self, key: &[u8], value: Option<&[u8]>) {
        if self.rows.insert(key.into(), value.map(Box::from)).is_none() {
            self.bytes += ROW_OVERHEAD_BYTES + key.len() + value.map_or(0, <[u8]>::len);
        }
    }

    /// Says that all rows in `from..to` are here.
    pub(super) fn cover(&mut self, from: &[u8], to: &[u8]) {
        let (mut from, mut to) = (Box::<[u8]>::from(from), Box::<[u8]>::from(to));
        // All that begin before the end, the last one first, as far as they reach to the beginning.
        while let Some((first, end)) = self.ranges.range(..=to.clone()).next_back().filter(|(_, end)| **end >= from) {
            let first = first.clone();
            to = to.max(end.clone());
            self.ranges.remove(&first);
            from = from.min(first);
        }
        self.ranges.insert(from, to);
    }

    /// Adds what is in `newer`. Rows of different epochs do not go together: the newer ones stay.
    pub fn merge(&mut self, newer: KeptRows) {
        if self.epoch != newer.epoch {
            *self = newer;
            return;
        }
        for (key, value) in newer.rows {
            self.put(&key, value.as_deref());
        }
        for (from, to) in newer.ranges {
            self.cover(&from, &to);
        }
    }

    pub(super) fn find(&self, key: &[u8]) -> Kept<'_> {
        match self.rows.get(key) {
            Some(Some(value)) => Kept::Row(value),
            Some(None) => Kept::Absent,
            None if self.range_of(key).is_some() => Kept::Absent,
            None => Kept::Unknown,
        }
    }

    /// The range that holds `key`.
    fn range_of(&self, key: &[u8]) -> Option<(&[u8], &[u8])> {
        let (from, to) = self.ranges.range::<[u8], _>((Bound::Unbounded, Bound::Included(key))).next_back()?;
        (key < to.as_ref()).then_some((from.as_ref(), to.as_ref()))
    }

    /// The range that holds what is right before `key`.
    fn range_before(&self, key: &[u8]) -> Option<(&[u8], &[u8])> {
        let (from, to) = self.ranges.range::<[u8], _>((Bound::Unbounded, Bound::Excluded(key))).next_back()?;
        (key <= to.as_ref()).then_some((from.as_ref(), to.as_ref()))
    }

    /// The next row of a scan that stands at `position`, or behind it if it `has_passed`.
    pub(super) fn next(&self, position: &[u8], has_passed: bool, direction: Direction) -> Next<'_> {
        let range = match direction {
            Direction::Backward if has_passed => self.range_before(position),
            Direction::Forward | Direction::Backward => self.range_of(position),
        };
        let Some((from, to)) = range else { return Next::Unknown };
        let at = if has_passed { Bound::Excluded(position) } else { Bound::Included(position) };
        let (bounds, end) = match direction {
            Direction::Forward => ((at, Bound::Excluded(to)), to),
            Direction::Backward => ((Bound::Included(from), at), from),
        };
        if range_is_empty(bounds.0, bounds.1) {
            return Next::End(end);
        }
        let mut rows = self.rows.range::<[u8], _>(bounds);
        let row = match direction {
            Direction::Forward => rows.find(|(_, value)| value.is_some()),
            Direction::Backward => rows.rfind(|(_, value)| value.is_some()),
        };
        match row {
            Some((key, Some(value))) => Next::Row(key, value),
            _ => Next::End(end),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn kept() -> KeptRows {
        let mut kept = KeptRows::new(Epoch(1));
        kept.put(b"b", Some(b"1"));
        kept.put(b"c", Some(b"2"));
        kept.cover(b"b", b"d");
        kept.put(b"x", None);
        kept.put(b"y", Some(b"3"));
        kept
    }

    #[test]
    fn rows_and_absences_are_known_and_nothing_else() {
        let kept = kept();
        assert_eq!(kept.find(b"b"), Kept::Row(b"1"));
        assert_eq!(kept.find(b"bb"), Kept::Absent);
        assert_eq!(kept.find(b"x"), Kept::Absent);
        assert_eq!(kept.find(b"y"), Kept::Row(b"3"));
        for key in [b"a", b"d", b"z"] {
            assert_eq!(kept.find(key), Kept::Unknown);
        }
    }

    #[test]
    fn a_scan_goes_from_row_to_row_and_to_the_end_of_the_range() {
        let kept = kept();
        let next = |position: &'static [u8], has_passed, direction| kept.next(position, has_passed, direction);
        assert_eq!(next(b"b", false, Direction::Forward), Next::Row(b"b", b"1"));
        assert_eq!(next(b"b", true, Direction::Forward), Next::Row(b"c", b"2"));
        assert_eq!(next(b"c", true, Direction::Forward), Next::End(b"d"));
        assert_eq!(next(b"d", false, Direction::Forward), Next::Unknown);
        assert_eq!(next(b"a", false, Direction::Forward), Next::Unknown);
        assert_eq!(next(b"y", false, Direction::Forward), Next::Unknown, "a row is no range");
        assert_eq!(next(b"d", true, Direction::Backward), Next::Row(b"c", b"2"));
        assert_eq!(next(b"d", false, Direction::Backward), Next::Unknown);
        assert_eq!(next(b"c", true, Direction::Backward), Next::Row(b"b", b"1"));
        assert_eq!(next(b"b", true, Direction::Backward), Next::Unknown);
        assert_eq!(next(b"bb", true, Direction::Backward), Next::Row(b"b", b"1"));
    }

    #[test]
    fn ranges_that_touch_become_one_and_others_do_not() {
        let mut kept = KeptRows::new(Epoch(1));
        for (from, to) in [(b"d", b"e"), (b"a", b"b"), (b"g", b"h"), (b"b", b"c")] {
            kept.cover(from, to);
        }
        assert_eq!(kept.next(b"a", false, Direction::Forward), Next::End(b"c"));
        assert_eq!(kept.find(b"c"), Kept::Unknown);
        kept.cover(b"bb", b"f");
        assert_eq!(kept.next(b"a", false, Direction::Forward), Next::End(b"f"));
        assert_eq!(kept.next(b"f", true, Direction::Backward), Next::End(b"a"));
        kept.cover(b"0", b"z");
        assert_eq!(kept.ranges.len(), 1);
    }

    #[test]
    fn rows_of_another_epoch_replace_all() {
        let mut kept = kept();
        let mut more = KeptRows::new(Epoch(1));
        more.cover(b"d", b"e");
        kept.merge(more);
        assert_eq!(kept.next(b"c", true, Direction::Forward), Next::End(b"e"));
        kept.merge(KeptRows::new(Epoch(2)));
        assert_eq!((kept.find(b"b"), kept.bytes()), (Kept::Unknown, 0));
    }
}
