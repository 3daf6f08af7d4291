//! The numbers of order rows below each child of a node of a rank tree (`rank_tree.rs`).
//!
//! ```text
//! counts    [width u8, 1 to 8][count, width bytes BE]*     one for each child, all as wide as the widest once needed
//! ```
//!
//! What a newcomer would get wrong: they are kept apart from the node's bounds since a write of a member changes them and nothing
//! else of the node. So they are fixed in width, and a change of one moves no byte of the others.

use std::ops::Range;

/// The counts of a node, as they are stored.
#[derive(Debug, Clone, Copy)]
pub(super) struct CountsView<'a> {
    width: usize,
    counts: &'a [u8],
}

impl<'a> CountsView<'a> {
    /// Reads what is stored; `None` if it is no counts.
    pub(super) fn read(bytes: &'a [u8]) -> Option<CountsView<'a>> {
        let (&width, counts) = bytes.split_first()?;
        let width = usize::from(width);
        let is_whole = (1..=8).contains(&width) && !counts.is_empty() && counts.len().is_multiple_of(width);
        is_whole.then_some(CountsView { width, counts })
    }

    /// Returns the number of children.
    pub(super) fn len(self) -> usize {
        self.counts.len() / self.width
    }

    /// The count of the child `index`; none for one that is not there.
    pub(super) fn get(self, index: usize) -> u64 {
        let at = index * self.width;
        self.counts.get(at..at + self.width).map_or(0, read_number)
    }

    /// The counts of the children `range` together.
    pub(super) fn sum(self, range: Range<usize>) -> u64 {
        let counts = self.counts.get(range.start * self.width..range.end * self.width).unwrap_or_default();
        match self.width {
            1 => counts.iter().map(|count| u64::from(*count)).sum(),
            2 => counts.as_chunks::<2>().0.iter().map(|count| u64::from(u16::from_be_bytes(*count))).sum(),
            width => counts.chunks_exact(width).map(read_number).fold(0, u64::wrapping_add),
        }
    }

    /// The counts of all children together.
    pub(super) fn total(self) -> u64 {
        self.sum(0..self.len())
    }

    /// The child in which the row is that has `rank` others before it in the node; `None` if the node has no more.
    pub(super) fn find(self, rank: u64) -> Option<usize> {
        let mut before = 0u64;
        self.each().position(|count| {
            before = before.saturating_add(count);
            before > rank
        })
    }

    /// The counts, one by one.
    pub(super) fn each(self) -> impl Iterator<Item = u64> {
        self.counts.chunks_exact(self.width).map(read_number)
    }
}

/// The counts of a node, to be changed.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Counts {
    bytes: Vec<u8>,
}

impl Counts {
    /// These counts, each in as many bytes as the largest one needs.
    pub(super) fn new(counts: &[u64]) -> Counts {
        assert!(!counts.is_empty(), "a node has children");
        let width = width_of(counts.iter().fold(0, |all, count| all | count));
        let mut bytes = Vec::with_capacity(1 + counts.len() * width);
        bytes.push(width as u8);
        for count in counts {
            bytes.extend_from_slice(&count.to_be_bytes()[8 - width..]);
        }
        Counts { bytes }
    }

    /// Copies what is stored; `None` if it is no counts.
    pub(super) fn read(bytes: &[u8]) -> Option<Counts> {
        CountsView::read(bytes).map(|_| Counts { bytes: bytes.to_vec() })
    }

    /// As they are stored.
    pub(super) fn bytes(&self) -> &[u8] {
        &self.bytes
    }

    /// The counts, to be read.
    pub(super) fn view(&self) -> CountsView<'_> {
        CountsView { width: usize::from(self.bytes[0]), counts: &self.bytes[1..] }
    }

    /// Sets the count of the child `index`.
    pub(super) fn set(&mut self, index: usize, count: u64) {
        let width = usize::from(self.bytes[0]);
        if width_of(count) > width {
            return self.edit(|counts| counts[index] = count);
        }
        let at = 1 + index * width;
        self.bytes[at..at + width].copy_from_slice(&count.to_be_bytes()[8 - width..]);
    }

    /// Changes them, or how many they are.
    pub(super) fn edit<T>(&mut self, edit: impl FnOnce(&mut Vec<u64>) -> T) -> T {
        let mut counts: Vec<u64> = self.view().each().collect();
        let done = edit(&mut counts);
        *self = Counts::new(&counts);
        done
    }
}

fn read_number(bytes: &[u8]) -> u64 {
    bytes.iter().fold(0, |number, byte| number << 8 | u64::from(*byte))
}

/// Bytes that `count` needs, one at least.
fn width_of(count: u64) -> usize {
    (8 - count.leading_zeros() as usize / 8).max(1)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    proptest! {
        #[test]
        fn counts_are_a_list_of_numbers(
            counts in proptest::collection::vec(0..100_000u64, 1..30),
            changes in proptest::collection::vec((any::<prop::sample::Index>(), any::<u64>(), 0..60u32), 0..30),
        ) {
            let (mut model, mut found) = (counts.clone(), Counts::new(&counts));
            for (index, count, shift) in changes {
                let (index, count) = (index.index(model.len()), count >> shift >> 3);
                model[index] = count;
                found.set(index, count);
                let read = Counts::read(found.bytes()).unwrap();
                prop_assert_eq!(read.view().each().collect::<Vec<_>>(), model.clone());
                prop_assert_eq!(read.view().get(index), count);
                let sum = model[..index].iter().fold(0u64, |sum, count| sum.wrapping_add(*count));
                prop_assert_eq!(read.view().sum(0..index), sum);
            }
        }

        #[test]
        fn a_rank_is_in_the_child_that_reaches_beyond_it(counts in proptest::collection::vec(0..4u64, 1..20)) {
            let found = Counts::new(&counts);
            let rows: Vec<usize> =
                counts.iter().enumerate().flat_map(|(child, count)| (0..*count).map(move |_| child)).collect();
            for rank in 0..=rows.len() {
                prop_assert_eq!(found.view().find(rank as u64), rows.get(rank).copied());
            }
        }
    }

    #[test]
    fn the_layout_is_the_documented_one() {
        assert_eq!(Counts::new(&[0, 255]).bytes(), b"\x01\x00\xFF");
        assert_eq!(Counts::new(&[1, 256, 2]).bytes(), b"\x02\0\x01\x01\0\0\x02");
        assert_eq!(Counts::new(&[1 << 16]).bytes(), b"\x03\x01\0\0");
        assert_eq!(Counts::new(&[u64::MAX]).bytes(), b"\x08\xFF\xFF\xFF\xFF\xFF\xFF\xFF\xFF");
        let mut grown = Counts::new(&[1, 2]);
        grown.set(1, 300);
        assert_eq!(grown.bytes(), b"\x02\0\x01\x01\x2C");
        // What has become small keeps its width until children come or go.
        grown.set(1, 3);
        assert_eq!(grown.bytes(), b"\x02\0\x01\0\x03");
        grown.edit(|counts| counts.push(4));
        assert_eq!(grown.bytes(), b"\x01\x01\x03\x04");
    }

    #[test]
    fn what_is_no_counts_is_refused() {
        for bytes in [&b""[..], b"\x01", b"\x00\x01", b"\x09\0\0\0\0\0\0\0\0\0", b"\x02\x01"] {
            assert!(Counts::read(bytes).is_none(), "{bytes:?}");
        }
    }
}
