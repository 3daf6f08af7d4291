//! Deleted ranges: disjoint, merged where they touch, so that one look-up tells whether a key is covered.

use std::collections::BTreeMap;
use std::ops::Bound;

/// Memory of one range beside its bounds' bytes, by estimate.
const RANGE_OVERHEAD_BYTES: usize = 72;

/// A set of half-open key ranges.
#[derive(Debug, Default)]
pub(crate) struct RangeTombstones {
    /// From each range's first key to the key after its last; no two touch.
    ranges: BTreeMap<Box<[u8]>, Box<[u8]>>,
    bytes: usize,
}

impl RangeTombstones {
    /// Adds `from..to`, which is not empty.
    pub(crate) fn insert(&mut self, from: &[u8], to: &[u8]) {
        debug_assert!(from < to, "an empty range deletes nothing");
        let (mut from, mut to): (Box<[u8]>, Box<[u8]>) = (from.into(), to.into());
        // Ranges are disjoint and ordered, so those that touch `from..to` are the last ones that begin at or before `to`.
        while let Some((first, end)) =
            self.ranges.range::<[u8], _>((Bound::Unbounded, Bound::Included(&*to))).next_back()
        {
            if **end < *from {
                break;
            }
            let first = first.clone();
            let end = self.ranges.remove(&first).expect("the range was just seen");
            self.bytes -= RANGE_OVERHEAD_BYTES + first.len() + end.len();
            from = from.min(first);
            to = to.max(end);
        }
        self.bytes += RANGE_OVERHEAD_BYTES + from.len() + to.len();
        self.ranges.insert(from, to);
    }

    /// The range that covers `key`, as its first key and the key after its last.
    pub(crate) fn covering(&self, key: &[u8]) -> Option<(&[u8], &[u8])> {
        if self.ranges.is_empty() {
            return None;
        }
        let (from, to) = self.ranges.range::<[u8], _>((Bound::Unbounded, Bound::Included(key))).next_back()?;
        (key < &**to).then_some((from, to))
    }

    /// All ranges in ascending order.
    pub(crate) fn iter(&self) -> impl Iterator<Item = (&[u8], &[u8])> {
        self.ranges.iter().map(|(from, to)| (&**from, &**to))
    }

    pub(crate) fn is_empty(&self) -> bool {
        self.ranges.is_empty()
    }

    /// The memory held, in bytes, by estimate.
    pub(crate) fn bytes(&self) -> usize {
        self.bytes
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn ranges(tombstones: &RangeTombstones) -> Vec<(&[u8], &[u8])> {
        tombstones.iter().collect()
    }

    #[test]
    fn ranges_that_touch_become_one() {
        let mut tombstones = RangeTombstones::default();
        tombstones.insert(b"b", b"c");
        tombstones.insert(b"e", b"f");
        tombstones.insert(b"h", b"i");
        tombstones.insert(b"c", b"e");
        assert_eq!(ranges(&tombstones), [(&b"b"[..], &b"f"[..]), (b"h", b"i")]);
        tombstones.insert(b"a", b"z");
        assert_eq!(ranges(&tombstones), [(&b"a"[..], &b"z"[..])]);
        tombstones.insert(b"m", b"n");
        assert_eq!(ranges(&tombstones), [(&b"a"[..], &b"z"[..])], "a range inside another adds nothing");
        assert_eq!(tombstones.bytes(), RANGE_OVERHEAD_BYTES + 2);
    }

    #[test]
    fn a_range_covers_its_first_key_and_not_its_end() {
        let mut tombstones = RangeTombstones::default();
        tombstones.insert(b"b", b"d");
        assert_eq!(tombstones.covering(b"a"), None);
        assert_eq!(tombstones.covering(b"b"), Some((&b"b"[..], &b"d"[..])));
        assert_eq!(tombstones.covering(b"c\xff"), Some((&b"b"[..], &b"d"[..])));
        assert_eq!(tombstones.covering(b"d"), None);
    }
}
