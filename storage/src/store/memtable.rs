//! The memtable: a generation's rows, ordered, in memory, owned by one thread until it is frozen.
//!
//! An absent key is not a deleted one: what the memtable does not know, the layers below answer. So a deletion is a row
//! too (`None`), and a deleted range is kept beside the rows.

use std::collections::BTreeMap;
use std::collections::btree_map::{Entry, Range};
use std::ops::Bound;

use super::range_tombstones::RangeTombstones;
use crate::rows::{Direction, range_is_empty};

type Key = Box<[u8]>;
/// A row's value; `None` where the row is deleted.
type Value = Option<Box<[u8]>>;

/// Memory of one row beside its key's and value's bytes: 32 bytes in a B-tree leaf that is two thirds full, its share of
/// the inner nodes, and the allocator's rounding of two allocations.
const ROW_OVERHEAD_BYTES: usize = 72;

/// What a memtable knows of a key.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Found<'a> {
    /// Its value.
    Value(&'a [u8]),
    /// That it is deleted: lower layers must not be asked.
    Deleted,
    /// Nothing: ask the next layer.
    Unknown,
}

/// Rows and deleted ranges newer than the layers below.
#[derive(Debug, Default)]
pub(super) struct Memtable {
    rows: BTreeMap<Key, Value>,
    tombstones: RangeTombstones,
    row_bytes: usize,
}

impl Memtable {
    /// What is known of `key`.
    pub(super) fn find(&self, key: &[u8]) -> Found<'_> {
        match self.rows.get(key) {
            Some(Some(value)) => Found::Value(value),
            Some(None) => Found::Deleted,
            None if self.tombstones.covering(key).is_some() => Found::Deleted,
            None => Found::Unknown,
        }
    }

    /// Sets `key` to `value`. A row whose value keeps its length is overwritten in place.
    pub(super) fn put(&mut self, key: &[u8], value: &[u8]) {
        match self.rows.entry(key.into()) {
            Entry::Vacant(vacant) => {
                self.row_bytes += ROW_OVERHEAD_BYTES + key.len() + value.len();
                vacant.insert(Some(value.into()));
            }
            Entry::Occupied(mut occupied) => {
                let old = occupied.get_mut();
                self.row_bytes += value.len();
                self.row_bytes -= value_bytes(old);
                match old {
                    Some(bytes) if bytes.len() == value.len() => bytes.copy_from_slice(value),
                    _ => *old = Some(value.into()),
                }
            }
        }
    }

    /// Deletes `key`. `hides_lower`: whether a layer below may know the key, so that its absence must be remembered.
    pub(super) fn delete(&mut self, key: &[u8], hides_lower: bool) {
        if !hides_lower {
            if let Some((key, value)) = self.rows.remove_entry(key) {
                self.row_bytes -= ROW_OVERHEAD_BYTES + key.len() + value_bytes(&value);
            }
            return;
        }
        match self.rows.entry(key.into()) {
            Entry::Vacant(vacant) => {
                self.row_bytes += ROW_OVERHEAD_BYTES + key.len();
                vacant.insert(None);
            }
            Entry::Occupied(mut occupied) => self.row_bytes -= value_bytes(&occupied.insert(None)),
        }
    }

    /// Deletes every row in `from..to`; `hides_lower` as in [`Memtable::delete`].
    pub(super) fn delete_range(&mut self, from: &[u8], to: &[u8], hides_lower: bool) {
        if from >= to {
            return;
        }
        let mut freed_bytes = 0;
        self.rows
            .extract_if(Key::from(from)..Key::from(to), |_, _| true)
            .for_each(|(key, value)| freed_bytes += ROW_OVERHEAD_BYTES + key.len() + value_bytes(&value));
        self.row_bytes -= freed_bytes;
        if hides_lower {
            self.tombstones.insert(from, to);
        }
    }

    /// The memory held, in bytes: keys and values exactly, what surrounds them by estimate.
    pub(super) fn bytes(&self) -> usize {
        self.row_bytes + self.tombstones.bytes()
    }

    /// Whether nothing is known of any key.
    pub(super) fn is_empty(&self) -> bool {
        self.rows.is_empty() && self.tombstones.is_empty()
    }

    /// All rows in ascending order, deleted ones as `None`.
    pub(super) fn rows(&self) -> impl Iterator<Item = (&[u8], Option<&[u8]>)> {
        self.rows.iter().map(|(key, value)| (&**key, value.as_deref()))
    }

    /// The ranges that hide what lies below.
    pub(super) fn tombstones(&self) -> &RangeTombstones {
        &self.tombstones
    }

    /// A cursor over the rows between two bounds; it stands on the first of them in `direction`.
    pub(super) fn cursor<'a, 'b>(
        &'a self,
        lower: Bound<&'b [u8]>,
        upper: Bound<&'b [u8]>,
        direction: Direction,
    ) -> Cursor<'a, 'b> {
        let mut cursor = Cursor { rows: &self.rows, range: Range::default(), lower, upper, direction, head: None };
        cursor.enter(lower, upper);
        cursor
    }
}

/// A position in a memtable's rows.
pub(super) struct Cursor<'a, 'b> {
    rows: &'a BTreeMap<Key, Value>,
    range: Range<'a, Key, Value>,
    lower: Bound<&'b [u8]>,
    upper: Bound<&'b [u8]>,
    direction: Direction,
    head: Option<(&'a [u8], Option<&'a [u8]>)>,
}

impl<'a> Cursor<'a, '_> {
    /// The row the cursor stands on, with `None` as the value of a deleted one; `None` past the last.
    pub(super) fn head(&self) -> Option<(&'a [u8], Option<&'a [u8]>)> {
        self.head
    }

    /// Goes to the next row in the cursor's direction.
    pub(super) fn advance(&mut self) {
        let next = match self.direction {
            Direction::Forward => self.range.next(),
            Direction::Backward => self.range.next_back(),
        };
        self.head = next.map(|(key, value)| (&**key, value.as_deref()));
    }

    /// Goes past the rows in `from..to`, one of which it stands on.
    pub(super) fn skip(&mut self, from: &[u8], to: &[u8]) {
        match self.direction {
            Direction::Forward => self.enter(Bound::Included(to), self.upper),
            Direction::Backward => self.enter(self.lower, Bound::Excluded(from)),
        }
    }

    fn enter(&mut self, lower: Bound<&[u8]>, upper: Bound<&[u8]>) {
        let is_empty = range_is_empty(lower, upper);
        self.range = if is_empty { Range::default() } else { self.rows.range::<[u8], _>((lower, upper)) };
        self.advance();
    }
}

fn value_bytes(value: &Value) -> usize {
    value.as_ref().map_or(0, |bytes| bytes.len())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_unknown_key_is_not_a_deleted_one() {
        let mut table = Memtable::default();
        table.put(b"b", b"1");
        table.delete(b"c", true);
        table.delete_range(b"x", b"z", true);
        assert_eq!(table.find(b"a"), Found::Unknown);
        assert_eq!(table.find(b"b"), Found::Value(b"1"));
        assert_eq!(table.find(b"c"), Found::Deleted);
        assert_eq!(table.find(b"y"), Found::Deleted);
        assert_eq!(table.find(b"z"), Found::Unknown, "the end of a range does not belong to it");
    }

    #[test]
    fn a_row_put_into_a_deleted_range_is_seen() {
        let mut table = Memtable::default();
        table.put(b"a1", b"old");
        table.delete_range(b"a", b"b", true);
        table.put(b"a2", b"new");
        assert_eq!(table.find(b"a1"), Found::Deleted);
        assert_eq!(table.find(b"a2"), Found::Value(b"new"));
    }

    #[test]
    fn bytes_return_to_zero_when_everything_is_gone() {
        let mut table = Memtable::default();
        for value in ["", "1", "another length", "same length...", "x"] {
            table.put(b"key", value.as_bytes());
            table.put(b"kez", value.as_bytes());
        }
        table.delete(b"key", true);
        table.delete(b"nothing", true);
        assert!(table.bytes() > 2 * ROW_OVERHEAD_BYTES);
        table.delete(b"kez", false);
        table.delete_range(b"", b"z", false);
        assert_eq!(table.bytes(), 0);
        assert!(table.is_empty());
    }

    #[test]
    fn overwriting_with_the_same_length_reuses_the_allocation() {
        let mut table = Memtable::default();
        table.put(b"key", b"12345");
        let Found::Value(before) = table.find(b"key") else { panic!("the row was just written") };
        let before = before.as_ptr();
        table.put(b"key", b"67890");
        assert!(matches!(table.find(b"key"), Found::Value(after) if after.as_ptr() == before && after == b"67890"));
    }
}
