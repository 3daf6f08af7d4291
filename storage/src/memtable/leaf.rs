//! Leaves: up to 64 rows in key order, their bytes in one piece of memory.
//!
//! Rows lie in the *heap* in the order in which they came; `offsets` says where, in key order. A row that goes leaves a hole
//! (`garbage`), and the heap is written anew when it is full of them or has to grow. A heap is short, so all this is a copy of a
//! few kilobytes, and no row costs an allocation of its own, unless it is a large one.
//!
//! The thing to know: the order of rows is in three places (`heads`, `offsets`, `outside_bits`), which change together.

use std::cmp::Ordering;
use std::ops::Range;
#[cfg(test)]
use std::ops::{Bound, RangeBounds};

use super::heads::{CAPACITY, Heads, common_prefix, node_len_max};
use super::row::{self, OutsideRow};
use crate::limits::{LEAF_BYTES_MAX, LEAF_ROW_BYTES_MAX};

/// No insert yet: it is no place of a row, nor right before one.
const NOWHERE: u8 = u8::MAX - 1;

/// Rows in key order.
#[derive(Debug)]
#[repr(align(64))]
pub(super) struct Leaf {
    heads: Heads,
    /// Offset at which each row inside begins; of no meaning for one outside.
    offsets: [u16; CAPACITY],
    heap: Vec<u8>,
    /// Bytes of `heap` that no row has any more.
    garbage: usize,
    /// Rows that are outside: the least significant bit stands for the first one.
    outside_bits: u64,
    outside: Vec<OutsideRow>,
    outside_bytes: usize,
    /// Index of the last insert: tells ascending and descending ones from others.
    last_insert: u8,
}

impl Leaf {
    /// A leaf without rows; no tree has one.
    pub(super) fn new() -> Leaf {
        Leaf {
            heads: Heads::new(),
            offsets: [0; CAPACITY],
            heap: Vec::new(),
            garbage: 0,
            outside_bits: 0,
            outside: Vec::new(),
            outside_bytes: 0,
            last_insert: NOWHERE,
        }
    }

    /// Returns the number of rows.
    pub(super) fn len(&self) -> usize {
        self.heads.len()
    }

    /// The memory held, in bytes.
    pub(super) fn bytes(&self) -> usize {
        size_of::<Leaf>()
            + self.heap.capacity()
            + self.outside.capacity() * size_of::<OutsideRow>()
            + self.outside_bytes
    }

    /// The key and the value of a row; `None` if it is deleted.
    pub(super) fn row(&self, index: usize) -> (&[u8], Option<&[u8]>) {
        if !self.is_outside(index) {
            return self.row_inside(index);
        }
        let row = &self.outside[self.outside_before(index)];
        (&row.key, row.value.as_deref())
    }

    /// Returns the index of `key`.
    pub(super) fn find(&self, key: &[u8]) -> Option<usize> {
        self.search_by_head(key).ok()
    }

    /// Returns the index of `key`, or that at which it belongs.
    pub(super) fn search(&self, key: &[u8]) -> Result<usize, usize> {
        let found = self.search_by_head(key);
        if found.is_ok() {
            return found;
        }
        match self.heads.compare_prefix(key, || self.key(0)) {
            Ordering::Less => Err(0),
            Ordering::Equal => found,
            Ordering::Greater => Err(self.len()),
        }
    }

    /// Sets `key` to `value`, or to deleted. Where there is no room for another row, the leaf is split: returned are the right
    /// part and the key that separates them, the least of the right part or less.
    pub(super) fn put(&mut self, key: &[u8], value: Option<&[u8]>) -> Option<(Box<[u8]>, Box<Leaf>)> {
        let index = match self.search(key) {
            Ok(index) if self.overwrite(index, value) => return None,
            Ok(index) => {
                self.remove(index..index + 1);
                index
            }
            Err(index) => index,
        };
        let bytes = row::inside_bytes(key, value);
        let is_inside = bytes <= LEAF_ROW_BYTES_MAX;
        if self.len() >= node_len_max() || is_inside && self.live_bytes() + bytes > LEAF_BYTES_MAX {
            return Some(self.split(index, key, value));
        }
        self.insert(index, key, value);
        None
    }

    /// Removes the rows in `range`.
    pub(super) fn remove(&mut self, range: Range<usize>) {
        let count = self.len();
        let inside = range.clone().filter(|index| !self.is_outside(*index));
        self.garbage += inside.map(|index| self.inside_bytes(index)).sum::<usize>();
        let outside = self.outside_before(range.start)..self.outside_before(range.end);
        self.outside_bytes -= self.outside.drain(outside).map(|row| row.bytes()).sum::<usize>();
        let below = self.outside_bits & low_bits(range.start);
        let above = if range.end == CAPACITY { 0 } else { self.outside_bits >> range.end << range.start };
        self.outside_bits = below | above;
        self.offsets.copy_within(range.end..count, range.start);
        self.heads.remove(range);
        self.last_insert = NOWHERE;
        if self.garbage > self.heap.capacity() / 2 {
            self.compact(0);
        }
    }

    /// Takes the rows of `right`, which come after this leaf's, if both together are few; returns whether they were.
    pub(super) fn absorb(&mut self, right: &mut Leaf) -> bool {
        let bytes = self.live_bytes() + right.live_bytes();
        // Few enough that the next inserts do not split it again.
        if self.len() + right.len() > node_len_max() / 2 || bytes > LEAF_BYTES_MAX / 2 {
            return false;
        }
        let count = self.len();
        self.compact(right.live_bytes());
        for index in 0..right.len() {
            if right.is_outside(index) {
                self.outside_bits |= 1 << (count + index);
            } else {
                let (key, value) = right.row(index);
                self.offsets[count + index] = self.heap.len() as u16;
                row::append(&mut self.heap, key, value);
            }
        }
        self.outside.append(&mut right.outside);
        self.outside_bytes += right.outside_bytes;
        let total = count + right.len();
        // The rows are there; their heads follow from them.
        let skip = common_prefix(self.key(0), self.key(total - 1));
        self.rebuild_heads(skip, total);
        self.last_insert = NOWHERE;
        true
    }

    /// Checks what a leaf relies on, and that its keys are within the bounds.
    #[cfg(test)]
    pub(super) fn assert_sound(&self, lower: Bound<&[u8]>, upper: Bound<&[u8]>) {
        let count = self.len();
        assert!((1..=node_len_max()).contains(&count), "{count} rows");
        let keys = || (0..count).map(|index| self.key(index));
        assert!(keys().is_sorted_by(|left, right| left < right), "rows are in order");
        assert!(
            keys().all(|key| RangeBounds::<[u8]>::contains(&(lower, upper), key)),
            "keys are between the separators"
        );
        assert!(common_prefix(self.key(0), self.key(count - 1)) >= self.heads.skip(), "the heads skip what differs");
        assert!(keys().enumerate().all(|(index, key)| self.heads.range(key).contains(&index)), "each key has its head");
        let inside = (0..count).filter(|index| !self.is_outside(*index));
        assert_eq!(inside.map(|index| self.inside_bytes(index)).sum::<usize>(), self.live_bytes());
        assert_eq!(self.outside.iter().map(OutsideRow::bytes).sum::<usize>(), self.outside_bytes);
        assert_eq!(self.outside.len(), self.outside_bits.count_ones() as usize);
    }

    fn key(&self, index: usize) -> &[u8] {
        self.row(index).0
    }

    fn is_outside(&self, index: usize) -> bool {
        self.outside_bits >> index & 1 == 1
    }

    fn row_inside(&self, index: usize) -> (&[u8], Option<&[u8]>) {
        row::read(&self.heap[usize::from(self.offsets[index])..])
    }

    /// Bytes of a row that is inside.
    fn inside_bytes(&self, index: usize) -> usize {
        let (key, value) = self.row_inside(index);
        row::inside_bytes(key, value)
    }

    /// Bytes of the rows inside.
    fn live_bytes(&self) -> usize {
        self.heap.len() - self.garbage
    }

    /// Returns the number of rows before `index` that are outside.
    fn outside_before(&self, index: usize) -> usize {
        (self.outside_bits & low_bits(index)).count_ones() as usize
    }

    /// Returns the index of `key`; or that at which it belongs, if it begins with the bytes that the heads skip.
    fn search_by_head(&self, key: &[u8]) -> Result<usize, usize> {
        let Range { mut start, mut end } = self.heads.range(key);
        while start < end {
            let middle = (start + end) / 2;
            match self.key(middle).cmp(key) {
                Ordering::Less => start = middle + 1,
                Ordering::Equal => return Ok(middle),
                Ordering::Greater => end = middle,
            }
        }
        Err(start)
    }

    /// Writes `value` over that of a row if they have the same length; returns whether they had.
    fn overwrite(&mut self, index: usize, value: Option<&[u8]>) -> bool {
        let old = if !self.is_outside(index) {
            row::value_mut(&mut self.heap[usize::from(self.offsets[index])..])
        } else {
            let place = self.outside_before(index);
            self.outside[place].value.as_deref_mut()
        };
        match (old, value) {
            (Some(old), Some(new)) if old.len() == new.len() => old.copy_from_slice(new),
            (None, None) => {}
            _ => return false,
        }
        true
    }

    /// Inserts a row at `index`; there is room.
    fn insert(&mut self, index: usize, key: &[u8], value: Option<&[u8]>) {
        let count = self.len();
        if count == 0 {
            self.heads = Heads::of(key.len(), key, std::iter::empty());
        } else if key.len() < self.heads.skip() || self.heads.compare_prefix(key, || self.key(0)).is_ne() {
            self.rebuild_heads(common_prefix(key, self.key(0)), count);
        }
        self.heads.insert(index, key);
        self.offsets.copy_within(index..count, index + 1);
        let below = self.outside_bits & low_bits(index);
        let above = (self.outside_bits & !low_bits(index)) << 1;
        self.outside_bits = below | above;
        let bytes = row::inside_bytes(key, value);
        if bytes > LEAF_ROW_BYTES_MAX {
            let row = OutsideRow { key: key.into(), value: value.map(Into::into) };
            self.outside_bytes += row.bytes();
            self.outside.insert(below.count_ones() as usize, row);
            self.outside_bits |= 1 << index;
        } else {
            // The place of the new row is not its own yet: making room may move all rows but this one.
            self.make_room(bytes, index);
            self.offsets[index] = self.heap.len() as u16;
            row::append(&mut self.heap, key, value);
        }
        self.last_insert = index as u8;
    }

    /// Splits the leaf and inserts the row that belongs at `index`.
    fn split(&mut self, index: usize, key: &[u8], value: Option<&[u8]>) -> (Box<[u8]>, Box<Leaf>) {
        let count = self.len();
        let last = usize::from(self.last_insert);
        // Rows that come in order, up or down, leave full leaves behind; others halves. (InnoDB splits its pages like this.)
        let (is_ascending, is_descending) = (index == last + 1, index == last);
        let middle = if is_ascending || is_descending { index } else { count / 2 };
        let mut right = self.split_off(middle);
        let is_left = index < middle || index == middle && (index == 0 || is_ascending && index < count);
        if is_left {
            self.insert(index, key, value);
        } else {
            right.insert(index - middle, key, value);
        }
        (separator(self.key(self.len() - 1), right.key(0)), right)
    }

    /// Moves the rows from `index` on into a new leaf.
    fn split_off(&mut self, index: usize) -> Box<Leaf> {
        let mut right = Box::new(Leaf::new());
        let count = self.len();
        if index == 0 {
            std::mem::swap(self, &mut right);
            return right;
        }
        if index == count {
            return right;
        }
        let inside = (index..count).filter(|index| !self.is_outside(*index));
        right.heap = Vec::with_capacity(heap_capacity(inside.map(|index| self.inside_bytes(index)).sum()));
        right.outside = self.outside.split_off(self.outside_before(index));
        right.outside_bytes = right.outside.iter().map(OutsideRow::bytes).sum();
        right.outside_bits = self.outside_bits >> index;
        for (place, from) in (index..count).enumerate().filter(|(_, from)| !self.is_outside(*from)) {
            right.offsets[place] = right.heap.len() as u16;
            let (key, value) = self.row_inside(from);
            row::append(&mut right.heap, key, value);
        }
        right.heads = self.heads.split_off(index);
        self.outside_bits &= low_bits(index);
        self.outside_bytes -= right.outside_bytes;
        self.compact(0);
        self.last_insert = NOWHERE;
        self.deepen_heads();
        right.deepen_heads();
        right
    }

    /// Skips all that the keys have in common: each byte less makes it likelier that two of them have the same head. The keys
    /// have just been copied, so reading them costs little.
    fn deepen_heads(&mut self) {
        let count = self.len();
        let skip = common_prefix(self.key(0), self.key(count - 1));
        if skip > self.heads.skip() {
            self.rebuild_heads(skip, count);
        }
    }

    fn rebuild_heads(&mut self, skip: usize, count: usize) {
        self.heads = Heads::of(skip, self.key(0), (0..count).map(|index| self.key(index)));
    }

    /// Makes room for a row of `bytes` in the heap, for which there is a place at `index`.
    fn make_room(&mut self, bytes: usize, index: usize) {
        let needed = self.heap.len() + bytes;
        if needed <= self.heap.capacity() && needed <= usize::from(u16::MAX) {
            return;
        }
        if self.garbage >= self.heap.len() / 4 && self.garbage > 0 || needed > usize::from(u16::MAX) {
            self.rewrite(bytes, Some(index));
        } else {
            self.heap.reserve_exact(heap_capacity(needed) - self.heap.len());
        }
    }

    /// Writes the heap anew, without holes, with room for `spare_bytes`.
    fn compact(&mut self, spare_bytes: usize) {
        self.rewrite(spare_bytes, None);
    }

    /// Writes the heap anew, in key order; the row at `pending` is not there yet.
    fn rewrite(&mut self, spare_bytes: usize, pending: Option<usize>) {
        let inside_bits = !self.outside_bits;
        let inside = (0..self.len()).filter(|index| inside_bits >> index & 1 == 1 && Some(*index) != pending);
        let bytes: usize = inside.clone().map(|index| self.inside_bytes(index)).sum();
        let mut heap = Vec::with_capacity(heap_capacity(bytes + spare_bytes));
        for index in inside {
            let (key, value) = row::read(&self.heap[usize::from(self.offsets[index])..]);
            self.offsets[index] = heap.len() as u16;
            row::append(&mut heap, key, value);
        }
        self.heap = heap;
        self.garbage = 0;
    }
}

/// The shortest key that is greater than `left` and not greater than `right`.
fn separator(left: &[u8], right: &[u8]) -> Box<[u8]> {
    debug_assert!(left < right, "rows are in order");
    right[..common_prefix(left, right) + 1].into()
}

/// The `count` least significant bits.
fn low_bits(count: usize) -> u64 {
    1u64.checked_shl(count as u32).map_or(u64::MAX, |bit| bit - 1)
}

/// The capacity of a heap for `bytes`: the allocator has four sizes for each power of two, and what lies between them would be
/// lost in any case.
fn heap_capacity(bytes: usize) -> usize {
    match bytes {
        0 => 0,
        1..=64 => 64,
        _ => bytes.next_multiple_of((bytes - 1).next_power_of_two() / 8),
    }
}
