//! The memtable: a generation's rows, ordered, in memory, owned by one thread until it is frozen.
//!
//! An absent key is not a deleted one: what the memtable does not know, the layers below answer. So a deletion is a row
//! too (`None`), and a deleted range is kept beside the rows.
//!
//! The rows are in a B+tree of its own kind, since looking for a key costs what it misses in the processor's caches, and the
//! standard library's tree follows a pointer for every key that it compares. Here a node has up to 64 keys and, side by side,
//! four bytes of each, taken after what all of them have in common ([`heads`]): a search reads those, and then one key in the
//! leaf. A leaf's rows are in one piece of memory ([`leaf`]): a row has no allocation of its own, a scan reads memory in
//! order, and a million rows that go are a few ten thousand pieces to free. No step is longer than a copy of one leaf, so no
//! insert has to wait for others (a hash table that grows would).
//!
//! `bench/RESULTS.md` has the figures, beside those of other structures. What a newcomer would get wrong: rows move when others are
//! written, so nothing may hold on to a row's place; and `row_bytes` has to follow every change of a node, since it says when a
//! memtable is full.

mod cursor;
mod heads;
mod inner;
mod leaf;
#[cfg(test)]
mod model_test;
mod node;
mod range_tombstones;
mod row;

use std::ops::Bound;

pub(crate) use cursor::Cursor;
use inner::Inner;
use node::Node;

use crate::cold_read::Direction;
use range_tombstones::RangeTombstones;

/// A memtable's answer for a key.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Found<'a> {
    /// Its value.
    Value(&'a [u8]),
    /// That it is deleted: lower layers must not be asked.
    Deleted,
    /// Nothing: ask the next layer.
    Unknown,
}

/// Rows and deleted ranges newer than the layers below.
#[derive(Debug, Default)]
pub(crate) struct Memtable {
    /// `None` without rows.
    root: Option<Node>,
    tombstones: RangeTombstones,
    row_bytes: usize,
}

impl Memtable {
    /// Looks `key` up.
    pub(crate) fn find(&self, key: &[u8]) -> Found<'_> {
        match self.row(key) {
            Some(Some(value)) => Found::Value(value),
            Some(None) => Found::Deleted,
            None if self.tombstones.covering(key).is_some() => Found::Deleted,
            None => Found::Unknown,
        }
    }

    /// Sets `key` to `value`. A row whose value keeps its length is overwritten in place.
    pub(crate) fn put(&mut self, key: &[u8], value: &[u8]) {
        self.set(key, Some(value));
    }

    /// Deletes `key`. `hides_lower`: whether a layer below may know the key, so that its absence must be remembered.
    pub(crate) fn delete(&mut self, key: &[u8], hides_lower: bool) {
        if hides_lower {
            self.set(key, None);
        } else if let Some(root) = &mut self.root {
            root.remove(key, &mut self.row_bytes);
            self.shrink();
        }
    }

    /// Deletes every row in `from..to`; `hides_lower` as in [`Memtable::delete`].
    pub(crate) fn delete_range(&mut self, from: &[u8], to: &[u8], hides_lower: bool) {
        if from >= to {
            return;
        }
        if let Some(root) = &mut self.root {
            root.remove_range(from, to, &mut self.row_bytes);
            self.shrink();
        }
        if hides_lower {
            self.tombstones.insert(from, to);
        }
    }

    /// The memory held, in bytes: the rows' as it is asked of the allocator, the deleted ranges' by estimate.
    pub(crate) fn bytes(&self) -> usize {
        self.row_bytes + self.tombstones.bytes()
    }

    /// Returns whether nothing is known of any key.
    pub(crate) fn is_empty(&self) -> bool {
        self.root.is_none() && self.tombstones.is_empty()
    }

    /// All rows in ascending order, deleted ones as `None`.
    pub(crate) fn rows(&self) -> impl Iterator<Item = (&[u8], Option<&[u8]>)> {
        let mut cursor = self.cursor(Bound::Unbounded, Bound::Unbounded, Direction::Forward);
        std::iter::from_fn(move || {
            let row = cursor.head();
            cursor.advance();
            row
        })
    }

    /// The ranges that hide what lies below.
    pub(crate) fn tombstones(&self) -> &RangeTombstones {
        &self.tombstones
    }

    /// A cursor over the rows between two bounds; it stands on the first of them in `direction`.
    pub(crate) fn cursor<'a, 'b>(
        &'a self,
        lower: Bound<&'b [u8]>,
        upper: Bound<&'b [u8]>,
        direction: Direction,
    ) -> Cursor<'a, 'b> {
        Cursor::new(self.root.as_ref(), lower, upper, direction)
    }

    /// The row of `key`: its value, or that it is deleted.
    fn row(&self, key: &[u8]) -> Option<Option<&[u8]>> {
        let mut node = self.root.as_ref()?;
        loop {
            match node {
                Node::Inner(inner) => node = &inner.children()[inner.child_of(key)],
                Node::Leaf(leaf) => return leaf.find(key).map(|index| leaf.row(index).1),
            }
        }
    }

    fn set(&mut self, key: &[u8], value: Option<&[u8]>) {
        let memory = &mut self.row_bytes;
        match &mut self.root {
            None => self.root = Some(Node::with_row(key, value, memory)),
            Some(root) => {
                if let Some(split) = root.put(key, value, memory) {
                    let left = self.root.take().expect("it was just there");
                    self.root = Some(Node::Inner(Box::new(Inner::above(left, split, memory))));
                }
            }
        }
    }

    /// After rows went: a root without rows goes too, and one with a single child leaves its place to it.
    fn shrink(&mut self) {
        while let Some(root) = &mut self.root {
            match root {
                Node::Inner(inner) if inner.children().len() == 1 => {
                    let child = inner.only_child().expect("there is one");
                    self.row_bytes -= root.bytes();
                    self.root = Some(child);
                }
                root if root.is_empty() => {
                    self.row_bytes -= root.bytes();
                    self.root = None;
                }
                _ => return,
            }
        }
    }
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
        assert!(table.bytes() > 2 * 3);
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

    const VALUE: [u8; 72] = [7; 72];

    fn filled(numbers: impl Iterator<Item = u64>) -> Memtable {
        let mut table = Memtable::default();
        for number in numbers {
            table.put(&[&b"the list's name"[..], &number.to_be_bytes()].concat(), &VALUE);
        }
        table
    }

    #[test]
    fn rows_that_come_in_order_fill_their_leaves() {
        const ROWS: u64 = 20_000;
        for table in [filled(0..ROWS), filled((0..ROWS).rev())] {
            let overhead = table.bytes() as f64 / ROWS as f64 - (15 + 8 + VALUE.len()) as f64;
            // A leaf's own bytes through 64 rows, a row's header, and what the allocator rounds up.
            assert!(overhead < 28.0, "{overhead} bytes a row: leaves that are half full need 33");
        }
    }

    #[test]
    fn memory_of_deleted_rows_comes_back() {
        const ROWS: u64 = 20_000;
        let mut table = filled(0..ROWS);
        let full_bytes = table.bytes();
        for number in (0..ROWS).filter(|number| !number.is_multiple_of(50)) {
            table.delete(&[&b"the list's name"[..], &number.to_be_bytes()].concat(), false);
        }
        assert_eq!(table.rows().count(), 400);
        assert!(table.bytes() < full_bytes / 25, "{} bytes are left of {full_bytes}", table.bytes());
    }

    #[test]
    fn a_value_of_any_size_comes_back() {
        let mut table = Memtable::default();
        // Around the sizes at which a row is kept elsewhere, and back.
        for length in (0..2000).step_by(7).chain([70_000, 3, 1 << 20, 0]) {
            for number in 0..40u8 {
                table.put(&[number], &vec![number; length]);
            }
            assert!((0..40).all(|number| table.find(&[number]) == Found::Value(&vec![number; length])), "{length}");
        }
    }
}
