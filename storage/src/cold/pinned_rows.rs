//! Rows from disk that are pinned for one command, where the caches drop them faster than it reads them.
//!
//! They are of one [`Epoch`]: once a generation is finished or a snapshot installed they may be of the past, and go.
//!
//! A reader thread puts them together and the core only takes them: there may be a million of them. So the rows of a scan stay
//! the piece that they were read as, in few allocations.

use std::collections::BTreeMap;
use std::ops::Bound;

use super::epoch::Epoch;
use crate::cold_read::Direction;

/// Bytes that a single row, or a piece, counts for beside its own: its place in a tree.
const OVERHEAD_BYTES: usize = 64;

/// Rows of a store's RocksDB, and ranges of keys of which all rows are here.
#[derive(Debug, Default)]
pub struct PinnedRows {
    pub(crate) epoch: Epoch,
    /// `None` for keys without a row.
    single: BTreeMap<Box<[u8]>, Option<Box<[u8]>>>,
    /// By where each begins. None is within another, so where they end ascends as well.
    pieces: BTreeMap<Box<[u8]>, Piece>,
    bytes: usize,
}

/// All rows of a range of keys.
#[derive(Debug, Default)]
pub(crate) struct Piece {
    /// End of the range; no row at it.
    to: Box<[u8]>,
    /// Keys and values, one after the other.
    bytes: Vec<u8>,
    /// Their places among the bytes, by ascending keys.
    rows: Vec<Place>,
}

/// A row's place among the bytes of its piece.
#[derive(Debug, Clone, Copy)]
struct Place {
    key: usize,
    value: usize,
    end: usize,
}

impl Piece {
    /// Adds the next row in the direction of the scan.
    pub(crate) fn push(&mut self, key: &[u8], value: &[u8]) {
        let start = self.bytes.len();
        self.bytes.extend_from_slice(key);
        self.bytes.extend_from_slice(value);
        self.rows.push(Place { key: start, value: start + key.len(), end: self.bytes.len() });
    }

    /// The key that was added last.
    pub(crate) fn last_key(&self) -> Option<&[u8]> {
        self.rows.last().map(|place| self.key(place))
    }

    fn key(&self, place: &Place) -> &[u8] {
        &self.bytes[place.key..place.value]
    }

    fn row(&self, index: usize) -> Option<(&[u8], &[u8])> {
        self.rows.get(index).map(|place| (self.key(place), &self.bytes[place.value..place.end]))
    }

    /// Returns the number of rows before `key`.
    fn count_before(&self, key: &[u8]) -> usize {
        self.rows.partition_point(|place| self.key(place) < key)
    }

    fn memory(&self) -> usize {
        OVERHEAD_BYTES + self.to.len() + self.bytes.capacity() + self.rows.capacity() * size_of::<Place>()
    }
}

/// The answer of the pinned rows for a key.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Pinned<'a> {
    Row(&'a [u8]),
    Absent,
    Unknown,
}

/// The next step of a scan.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Next<'a> {
    /// At this row.
    Row(&'a [u8], &'a [u8]),
    /// To the end of a range: there is no row before.
    End(&'a [u8]),
    /// Nobody knows.
    Unknown,
}

impl PinnedRows {
    pub(crate) fn new(epoch: Epoch) -> PinnedRows {
        PinnedRows { epoch, ..PinnedRows::default() }
    }

    /// Memory they take, about.
    pub fn bytes(&self) -> usize {
        self.bytes
    }

    /// Adds the row of a key, or that there is none.
    pub(crate) fn put(&mut self, key: &[u8], value: Option<&[u8]>) {
        self.put_owned(key.into(), value.map(Box::from));
    }

    fn put_owned(&mut self, key: Box<[u8]>, value: Option<Box<[u8]>>) {
        let bytes = OVERHEAD_BYTES + key.len() + value.as_ref().map_or(0, |value| value.len());
        // Of one epoch a key has one value.
        if self.single.insert(key, value).is_none() {
            self.bytes += bytes;
        }
    }

    /// Adds all rows in `from..to`, which were read in `direction`.
    pub(crate) fn add(&mut self, from: &[u8], to: &[u8], direction: Direction, mut piece: Piece) {
        if direction == Direction::Backward {
            piece.rows.reverse();
        }
        piece.to = to.into();
        self.add_piece(from.into(), piece);
    }

    fn add_piece(&mut self, from: Box<[u8]>, piece: Piece) {
        let known = self.pieces.range::<[u8], _>((Bound::Unbounded, Bound::Included(from.as_ref()))).next_back();
        if known.is_some_and(|(_, known)| known.to >= piece.to) {
            return;
        }
        let begins_within = (Bound::Included(from.as_ref()), Bound::Excluded(piece.to.as_ref()));
        let within = self.pieces.range::<[u8], _>(begins_within).filter(|(_, known)| known.to <= piece.to);
        for needless in within.map(|(from, _)| from.clone()).collect::<Vec<_>>() {
            let gone = self.pieces.remove(&needless);
            self.bytes -= gone.map_or(0, |piece| needless.len() + piece.memory());
        }
        self.bytes += from.len() + piece.memory();
        self.pieces.insert(from, piece);
    }

    /// Adds what is in `newer`. Says whether both are of the same epoch: rows of different ones do not go together, and the newer
    /// ones stay.
    pub fn merge(&mut self, newer: PinnedRows) -> bool {
        if self.epoch != newer.epoch {
            *self = newer;
            return false;
        }
        newer.single.into_iter().for_each(|(key, value)| self.put_owned(key, value));
        newer.pieces.into_iter().for_each(|(from, piece)| self.add_piece(from, piece));
        true
    }

    pub(crate) fn find(&self, key: &[u8]) -> Pinned<'_> {
        match self.single.get(key) {
            Some(Some(value)) => return Pinned::Row(value),
            Some(None) => return Pinned::Absent,
            None => {}
        }
        let Some((_, piece)) = self.piece_of(key) else { return Pinned::Unknown };
        match piece.row(piece.count_before(key)) {
            Some((found, value)) if found == key => Pinned::Row(value),
            _ => Pinned::Absent,
        }
    }

    /// A piece whose range holds `key`: of those that begin before it, the last one ends last.
    fn piece_of(&self, key: &[u8]) -> Option<(&[u8], &Piece)> {
        let (from, piece) = self.pieces.range::<[u8], _>((Bound::Unbounded, Bound::Included(key))).next_back()?;
        (key < piece.to.as_ref()).then_some((from.as_ref(), piece))
    }

    /// A piece whose range holds what is right before `key`.
    fn piece_before(&self, key: &[u8]) -> Option<(&[u8], &Piece)> {
        let (from, piece) = self.pieces.range::<[u8], _>((Bound::Unbounded, Bound::Excluded(key))).next_back()?;
        (key <= piece.to.as_ref()).then_some((from.as_ref(), piece))
    }

    /// The next row of a scan that stands at `position`, or behind it if it `has_passed`.
    pub(crate) fn next(&self, position: &[u8], has_passed: bool, direction: Direction) -> Next<'_> {
        let piece = match direction {
            Direction::Backward if has_passed => self.piece_before(position),
            Direction::Forward | Direction::Backward => self.piece_of(position),
        };
        let Some((from, piece)) = piece else { return Next::Unknown };
        let before = piece.count_before(position);
        let is_there = piece.row(before).is_some_and(|(key, _)| key == position);
        let (row, end) = match direction {
            Direction::Forward => (piece.row(before + usize::from(has_passed && is_there)), piece.to.as_ref()),
            Direction::Backward if is_there && !has_passed => (piece.row(before), from),
            Direction::Backward => (before.checked_sub(1).and_then(|last| piece.row(last)), from),
        };
        row.map_or(Next::End(end), |(key, value)| Next::Row(key, value))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn piece(rows: &[(&[u8], &[u8])]) -> Piece {
        let mut piece = Piece::default();
        rows.iter().for_each(|(key, value)| piece.push(key, value));
        piece
    }

    fn pinned() -> PinnedRows {
        let mut pinned = PinnedRows::new(Epoch(1));
        pinned.add(b"b", b"d", Direction::Backward, piece(&[(b"c", b"2"), (b"b", b"1")]));
        pinned.put(b"x", None);
        pinned.put(b"y", Some(b"3"));
        pinned
    }

    #[test]
    fn rows_and_absences_are_known_and_nothing_else() {
        let pinned = pinned();
        assert_eq!(pinned.find(b"b"), Pinned::Row(b"1"));
        assert_eq!(pinned.find(b"c"), Pinned::Row(b"2"));
        assert_eq!(pinned.find(b"bb"), Pinned::Absent);
        assert_eq!(pinned.find(b"x"), Pinned::Absent);
        assert_eq!(pinned.find(b"y"), Pinned::Row(b"3"));
        for key in [b"a", b"d", b"z"] {
            assert_eq!(pinned.find(key), Pinned::Unknown);
        }
    }

    #[test]
    fn a_scan_goes_from_row_to_row_and_to_the_end_of_the_range() {
        let pinned = pinned();
        let next = |position: &'static [u8], has_passed, direction| pinned.next(position, has_passed, direction);
        assert_eq!(next(b"b", false, Direction::Forward), Next::Row(b"b", b"1"));
        assert_eq!(next(b"b", true, Direction::Forward), Next::Row(b"c", b"2"));
        assert_eq!(next(b"bb", true, Direction::Forward), Next::Row(b"c", b"2"));
        assert_eq!(next(b"c", true, Direction::Forward), Next::End(b"d"));
        assert_eq!(next(b"d", false, Direction::Forward), Next::Unknown);
        assert_eq!(next(b"a", false, Direction::Forward), Next::Unknown);
        assert_eq!(next(b"y", false, Direction::Forward), Next::Unknown, "a row is no range");
        assert_eq!(next(b"d", true, Direction::Backward), Next::Row(b"c", b"2"));
        assert_eq!(next(b"d", false, Direction::Backward), Next::Unknown);
        assert_eq!(next(b"c", false, Direction::Backward), Next::Row(b"c", b"2"));
        assert_eq!(next(b"c", true, Direction::Backward), Next::Row(b"b", b"1"));
        assert_eq!(next(b"b", true, Direction::Backward), Next::Unknown);
        assert_eq!(next(b"bb", false, Direction::Backward), Next::Row(b"b", b"1"));
    }

    #[test]
    fn a_scan_goes_on_from_one_piece_to_the_next() {
        let mut pinned = pinned();
        pinned.add(b"d", b"f", Direction::Forward, piece(&[(b"e", b"5")]));
        pinned.add(b"a", b"b", Direction::Forward, piece(&[]));
        assert_eq!(pinned.next(b"d", false, Direction::Forward), Next::Row(b"e", b"5"));
        assert_eq!(pinned.next(b"f", true, Direction::Backward), Next::Row(b"e", b"5"));
        assert_eq!(pinned.next(b"e", true, Direction::Backward), Next::End(b"d"));
        assert_eq!(pinned.next(b"b", true, Direction::Backward), Next::End(b"a"));
        // One that lies within another says nothing new, and one that others lie within says it all.
        let bytes = pinned.bytes();
        pinned.add(b"dd", b"e", Direction::Forward, piece(&[]));
        assert_eq!((pinned.find(b"e"), pinned.bytes()), (Pinned::Row(b"5"), bytes));
        pinned.add(b"ab", b"z", Direction::Forward, piece(&[(b"b", b"1"), (b"c", b"2"), (b"e", b"5"), (b"f", b"6")]));
        assert_eq!(pinned.pieces.len(), 2);
        assert_eq!(pinned.next(b"e", true, Direction::Forward), Next::Row(b"f", b"6"));
        assert_eq!(pinned.next(b"z", true, Direction::Backward), Next::Row(b"f", b"6"));
    }

    #[test]
    fn rows_of_another_epoch_replace_all() {
        let mut pinned = pinned();
        let mut more = PinnedRows::new(Epoch(1));
        more.add(b"d", b"e", Direction::Forward, Piece::default());
        assert!(pinned.merge(more));
        assert_eq!(pinned.next(b"d", false, Direction::Forward), Next::End(b"e"));
        assert!(!pinned.merge(PinnedRows::new(Epoch(2))));
        assert_eq!((pinned.find(b"b"), pinned.bytes()), (Pinned::Unknown, 0));
    }
}
