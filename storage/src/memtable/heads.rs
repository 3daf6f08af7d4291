//! The first bytes in which a node's keys differ, side by side, so that a search reads no key but the one it ends at.
//!
//! All keys of a node share their first `skip` bytes, or more; a key's *head* is the four bytes after them. The thing to know:
//! heads order and tell apart only keys that do begin with those bytes. So a search finds a key that is there by its head
//! alone, but whoever wants the place of a key that is not there has to compare the first `skip` bytes as well.

use std::cmp::Ordering;
use std::ops::Range;

/// Most keys that a node has room for: their heads fill four cache lines.
pub(super) const CAPACITY: usize = 64;

/// Rows of a leaf, or children of an inner node, at which it is split: as many as there is room for.
#[cfg(not(test))]
pub(super) const fn node_len_max() -> usize {
    CAPACITY
}

/// As above, or fewer in a test that wants a deep tree of few rows; see [`with_node_len_max`].
#[cfg(test)]
pub(super) fn node_len_max() -> usize {
    NODE_LEN_MAX.get()
}

#[cfg(test)]
thread_local! {
    static NODE_LEN_MAX: std::cell::Cell<usize> = const { std::cell::Cell::new(CAPACITY) };
}

/// Runs `test` with nodes of at most `len_max` rows or children, on this thread.
#[cfg(test)]
pub(super) fn with_node_len_max<R>(len_max: usize, test: impl FnOnce() -> R) -> R {
    /// Puts the usual number back also when `test` panics, since proptest goes on with smaller cases.
    struct Restore;
    impl Drop for Restore {
        fn drop(&mut self) {
            NODE_LEN_MAX.set(CAPACITY);
        }
    }
    assert!((2..=CAPACITY).contains(&len_max), "a node that is split leaves something on both sides");
    let _restore = Restore;
    NODE_LEN_MAX.set(len_max);
    test()
}

/// Bytes that are skipped, as far as they lie beside the heads: longer ones are read from a key.
const PREFIX_BYTES: usize = 24;

/// The heads of a node's keys, in the order of the keys.
#[derive(Debug)]
pub(super) struct Heads {
    /// Unused ones are `i32::MAX`, so that counting smaller ones needs no bound, which lets it be vectorized.
    values: [i32; CAPACITY],
    /// The bytes that are skipped, if they are few.
    prefix: [u8; PREFIX_BYTES],
    skip: u32,
    count: u8,
}

impl Heads {
    /// No heads.
    pub(super) fn new() -> Heads {
        Heads { values: [i32::MAX; CAPACITY], prefix: [0; PREFIX_BYTES], skip: 0, count: 0 }
    }

    /// Returns their number.
    pub(super) fn len(&self) -> usize {
        usize::from(self.count)
    }

    /// Bytes before the heads, the same in all keys.
    pub(super) fn skip(&self) -> usize {
        self.skip as usize
    }

    /// Compares `key` with the bytes that are skipped: it lies before all keys, among them, or behind them. `any_key` is asked for
    /// one of them where there is one.
    pub(super) fn compare_prefix<'a>(&self, key: &[u8], any_key: impl FnOnce() -> &'a [u8]) -> Ordering {
        let skip = self.skip();
        if skip == 0 || self.count == 0 {
            return Ordering::Equal;
        }
        let prefix = if skip <= PREFIX_BYTES { &self.prefix[..skip] } else { &any_key()[..skip] };
        key[..skip.min(key.len())].cmp(prefix)
    }

    /// The places whose heads are that of `key`: if it is here, then among them; if it is not, but begins with the bytes that
    /// are skipped, then it belongs among them or at their end.
    pub(super) fn range(&self, key: &[u8]) -> Range<usize> {
        let head = head(key, self.skip());
        let (mut less, mut less_or_equal) = (0u32, 0u32);
        for value in &self.values {
            less += u32::from(*value < head);
            less_or_equal += u32::from(*value <= head);
        }
        less as usize..(less_or_equal as usize).min(self.len())
    }

    /// Inserts the head of `key` at `index`; the key begins with the bytes that are skipped.
    pub(super) fn insert(&mut self, index: usize, key: &[u8]) {
        let count = self.len();
        assert!(count < CAPACITY && index <= count, "a full node is split before a key is inserted");
        self.values.copy_within(index..count, index + 1);
        self.values[index] = head(key, self.skip());
        self.count += 1;
    }

    /// Removes the heads in `range`.
    pub(super) fn remove(&mut self, range: Range<usize>) {
        let count = self.len();
        self.values.copy_within(range.end..count, range.start);
        let left = count - range.len();
        self.values[left..count].fill(i32::MAX);
        self.count = left as u8;
    }

    /// Moves the heads from `index` on into a new set, which skips as many bytes.
    pub(super) fn split_off(&mut self, index: usize) -> Heads {
        let count = self.len();
        let mut right = Heads { prefix: self.prefix, skip: self.skip, count: (count - index) as u8, ..Heads::new() };
        right.values[..count - index].copy_from_slice(&self.values[index..count]);
        self.remove(index..count);
        right
    }

    /// The heads of `keys`, which share their first `skip` bytes with `first`, one of them.
    pub(super) fn of<'a>(skip: usize, first: &[u8], keys: impl Iterator<Item = &'a [u8]>) -> Heads {
        let mut heads = Heads { skip: u32::try_from(skip).expect("keys are shorter than 4 GiB"), ..Heads::new() };
        if skip <= PREFIX_BYTES {
            heads.prefix[..skip].copy_from_slice(&first[..skip]);
        }
        for (value, key) in heads.values.iter_mut().zip(keys) {
            *value = head(key, skip);
            heads.count += 1;
        }
        heads
    }
}

/// Four bytes of `key` from `skip` on, as a number that is ordered as they are; missing ones count as 0.
fn head(key: &[u8], skip: usize) -> i32 {
    let rest = key.get(skip..).unwrap_or_default();
    let bytes = rest.first_chunk::<4>().copied().unwrap_or_else(|| {
        let mut bytes = [0; 4];
        bytes[..rest.len()].copy_from_slice(rest);
        bytes
    });
    // Signed, since the vector instructions that every x86-64 has compare nothing else.
    (u32::from_be_bytes(bytes) ^ 1 << 31) as i32
}

/// Returns the number of bytes that two keys have in common at their beginning.
pub(super) fn common_prefix(left: &[u8], right: &[u8]) -> usize {
    left.iter().zip(right).take_while(|(left, right)| left == right).count()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn heads_are_ordered_as_their_keys() {
        let keys: [&[u8]; 7] = [b"", b"\0\0\0\x01", b"\x7f", b"\x7f\xff\xff\xff", b"\x80", b"a very long one", b"\xff"];
        let mut sorted = keys;
        sorted.sort();
        assert!(sorted.is_sorted_by_key(|key| head(key, 0)), "{sorted:?}");
        assert_eq!(head(b"abcdef", 2), head(b"cdef", 0));
        assert_eq!(head(b"abc", 5), head(b"", 0));
    }

    #[test]
    fn the_greatest_head_is_not_taken_for_an_unused_one() {
        let mut heads = Heads::new();
        heads.insert(0, b"a");
        heads.insert(1, b"\xff\xff\xff\xff");
        assert_eq!(heads.range(b"\xff\xff\xff\xff\xff"), 1..2);
        assert_eq!(heads.range(b"b"), 1..1);
        heads.remove(0..1);
        assert_eq!((heads.len(), heads.range(b"\xff\xff\xff\xff")), (1, 0..1));
    }
}
