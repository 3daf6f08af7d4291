//! A position in a memtable's rows, which goes in one direction between two bounds.
//!
//! Leaves know no neighbours, so a cursor keeps the way from the root. Bounds are looked up once in each leaf; between them it
//! compares no keys.

use std::ops::{Bound, Range};

use smallvec::SmallVec;

use super::inner::Inner;
use super::leaf::Leaf;
use super::node::Node;
use crate::cold_read::Direction;
use crate::rows::range_is_empty;

/// Levels of inner nodes for which a cursor needs no memory of its own: enough for more rows than a memtable has.
const USUAL_LEVELS: usize = 5;

/// A position in a memtable's rows.
pub(crate) struct Cursor<'a, 'b> {
    root: Option<&'a Node>,
    /// The inner nodes above the leaf, each with the index of the child that the way goes through.
    path: SmallVec<[(&'a Inner, usize); USUAL_LEVELS]>,
    leaf: Option<&'a Leaf>,
    /// The rest of the leaf.
    range: Range<usize>,
    /// Set if the far bound is in the leaf, so that nothing comes after it.
    is_last: bool,
    lower: Bound<&'b [u8]>,
    upper: Bound<&'b [u8]>,
    direction: Direction,
    head: Option<(&'a [u8], Option<&'a [u8]>)>,
}

impl<'a, 'b> Cursor<'a, 'b> {
    pub(super) fn new(
        root: Option<&'a Node>,
        lower: Bound<&'b [u8]>,
        upper: Bound<&'b [u8]>,
        direction: Direction,
    ) -> Cursor<'a, 'b> {
        let (path, leaf, range) = (SmallVec::new(), None, 0..0);
        let mut cursor = Cursor { root, path, leaf, range, is_last: false, lower, upper, direction, head: None };
        cursor.enter(lower, upper);
        cursor
    }

    /// The row the cursor stands on, with `None` as the value of a deleted one; `None` past the last.
    pub(crate) fn head(&self) -> Option<(&'a [u8], Option<&'a [u8]>)> {
        self.head
    }

    /// Goes to the next row in the cursor's direction.
    pub(crate) fn advance(&mut self) {
        self.head = loop {
            let Some(leaf) = self.leaf else { break None };
            let next = match self.direction {
                Direction::Forward => self.range.next(),
                Direction::Backward => self.range.next_back(),
            };
            if let Some(index) = next {
                break Some(leaf.row(index));
            }
            self.leaf = None;
            if !self.is_last {
                self.enter_next_leaf();
            }
        };
    }

    /// Goes past the rows in `from..to`, one of which it stands on.
    pub(crate) fn skip(&mut self, from: &[u8], to: &[u8]) {
        match self.direction {
            Direction::Forward => self.enter(Bound::Included(to), self.upper),
            Direction::Backward => self.enter(self.lower, Bound::Excluded(from)),
        }
    }

    /// Stands on the first row between the bounds. Behind the first leaf only the far bound matters, and that never changes.
    fn enter(&mut self, lower: Bound<&[u8]>, upper: Bound<&[u8]>) {
        self.path.clear();
        self.leaf = None;
        if let Some(root) = self.root.filter(|_| !range_is_empty(lower, upper)) {
            let near = if self.direction == Direction::Forward { lower } else { upper };
            let leaf = self.descend(root, near);
            self.enter_leaf(leaf, lower, upper);
        }
        self.advance();
    }

    /// The leaf below `node` in which the rows within `bound` begin, or right before which they do.
    fn descend(&mut self, mut node: &'a Node, bound: Bound<&[u8]>) -> &'a Leaf {
        loop {
            let inner = match node {
                Node::Leaf(leaf) => return leaf,
                Node::Inner(inner) => inner,
            };
            let index = match (bound, self.direction) {
                (Bound::Included(key) | Bound::Excluded(key), _) => inner.child_of(key),
                (Bound::Unbounded, Direction::Forward) => 0,
                (Bound::Unbounded, Direction::Backward) => inner.children().len() - 1,
            };
            self.path.push((inner, index));
            node = &inner.children()[index];
        }
    }

    fn enter_next_leaf(&mut self) {
        while let Some((inner, index)) = self.path.pop() {
            let next = match self.direction {
                Direction::Forward => Some(index + 1).filter(|index| *index < inner.children().len()),
                Direction::Backward => index.checked_sub(1),
            };
            if let Some(index) = next {
                self.path.push((inner, index));
                let leaf = self.descend(&inner.children()[index], Bound::Unbounded);
                return match self.direction {
                    Direction::Forward => self.enter_leaf(leaf, Bound::Unbounded, self.upper),
                    Direction::Backward => self.enter_leaf(leaf, self.lower, Bound::Unbounded),
                };
            }
        }
    }

    fn enter_leaf(&mut self, leaf: &'a Leaf, lower: Bound<&[u8]>, upper: Bound<&[u8]>) {
        let start = match lower {
            Bound::Unbounded => 0,
            Bound::Included(key) => leaf.search(key).unwrap_or_else(|place| place),
            Bound::Excluded(key) => leaf.search(key).map_or_else(|place| place, |index| index + 1),
        };
        let end = match upper {
            Bound::Unbounded => leaf.len(),
            Bound::Included(key) => leaf.search(key).map_or_else(|place| place, |index| index + 1),
            Bound::Excluded(key) => leaf.search(key).unwrap_or_else(|place| place),
        };
        self.is_last = match self.direction {
            Direction::Forward => end < leaf.len(),
            Direction::Backward => start > 0,
        };
        self.leaf = Some(leaf);
        self.range = start..end;
    }
}

#[cfg(test)]
mod tests {
    use super::super::Memtable;
    use super::*;

    #[test]
    fn a_cursor_past_its_bound_looks_no_further() {
        let mut table = Memtable::default();
        for number in 0..10_000u16 {
            table.put(&number.to_be_bytes(), b"");
        }
        for direction in [Direction::Forward, Direction::Backward] {
            let bounds = (Bound::Included(&[1, 1][..]), Bound::Excluded(&[1, 9][..]));
            let mut cursor = table.cursor(bounds.0, bounds.1, direction);
            let way: Vec<usize> = cursor.path.iter().map(|(_, index)| *index).collect();
            let rows = std::iter::from_fn(|| cursor.head().inspect(|_| cursor.advance())).count();
            assert_eq!((rows, cursor.leaf.is_none()), (8, true));
            assert!(cursor.path.iter().map(|(_, index)| *index).eq(way), "the bound is in the first leaf");
        }
    }
}
