//! The places where the children of a node of a rank tree (`rank_tree.rs`) begin, and the nodes that they are.
//!
//! ```text
//! bounds    [separators u16][end u16]*[separator …]*[child u32]*
//! end       of a separator, among the bytes of all of them
//! child     the number of a child's node, one more than there are separators; only where the children are nodes
//! ```
//!
//! A separator is the beginning of an order row (kind left out), cut behind the first byte that differs from the row before it: the
//! child to the right of it has what sorts at or after it.

/// The bounds of a node, as they are stored.
#[derive(Debug, Clone, Copy)]
pub(super) struct BoundsView<'a> {
    ends: &'a [[u8; 2]],
    separators: &'a [u8],
    children: &'a [[u8; 4]],
}

impl<'a> BoundsView<'a> {
    /// Reads what is stored; `None` if it is no bounds of a node whose children are nodes, or are not.
    pub(super) fn read(bytes: &'a [u8], has_nodes: bool) -> Option<BoundsView<'a>> {
        let (count, rest) = bytes.split_first_chunk::<2>()?;
        let count = usize::from(u16::from_be_bytes(*count));
        let (ends, rest) = rest.split_at_checked(2 * count)?;
        let ends = ends.as_chunks::<2>().0;
        let end = ends.last().map_or(0, |end| usize::from(u16::from_be_bytes(*end)));
        // Half of what the numbers can say: so there is room for another separator, and for what is joined with it.
        if count.max(end) > usize::from(u16::MAX) / 2 {
            return None;
        }
        let (separators, children) = rest.split_at_checked(end)?;
        let (children, beyond) = children.as_chunks::<4>();
        let expected = if has_nodes { count + 1 } else { 0 };
        (children.len() == expected && beyond.is_empty()).then_some(BoundsView { ends, separators, children })
    }

    /// Returns the number of children.
    pub(super) fn len(self) -> usize {
        self.ends.len() + 1
    }

    /// The separator before the child `index + 1`.
    pub(super) fn separator(self, index: usize) -> &'a [u8] {
        let end = |index: usize| self.ends.get(index).map_or(0, |end| usize::from(u16::from_be_bytes(*end)));
        let start = index.checked_sub(1).map_or(0, end);
        self.separators.get(start..end(index)).unwrap_or_default()
    }

    /// The child that an order row at `place` belongs to.
    pub(super) fn find(self, place: &[u8]) -> usize {
        let (mut low, mut high) = (0, self.ends.len());
        while low < high {
            let middle = low + (high - low) / 2;
            if self.separator(middle) <= place {
                low = middle + 1;
            } else {
                high = middle;
            }
        }
        low
    }

    /// The number of the node that is the child `index`; `None` if the children are no nodes.
    pub(super) fn child(self, index: usize) -> Option<u32> {
        self.children.get(index).map(|child| u32::from_be_bytes(*child))
    }

    /// Its parts, to be changed.
    pub(super) fn to_parts(self) -> Parts {
        let separators = (0..self.ends.len()).map(|index| self.separator(index).into()).collect();
        Parts { separators, children: self.children.iter().map(|child| u32::from_be_bytes(*child)).collect() }
    }

    /// The bounds with a child more behind the child `at`, which begins at `separator`; with the number of its node, if it is one.
    pub(super) fn with_child(self, at: usize, separator: &[u8], node: Option<u32>) -> Vec<u8> {
        let before = (0..at).map(|index| self.separator(index));
        let behind = (at..self.ends.len()).map(|index| self.separator(index));
        let mut children: Vec<u32> = self.children.iter().map(|child| u32::from_be_bytes(*child)).collect();
        if let Some(node) = node {
            children.insert(at + 1, node);
        }
        write_bounds(before.chain([separator]).chain(behind), &children)
    }

    /// The bounds without the separator before the child `at + 1`, which becomes a part of the child before it.
    pub(super) fn joining(self, at: usize) -> Vec<u8> {
        let others = (0..self.ends.len()).filter(|index| *index != at).map(|index| self.separator(index));
        let children = self.children.iter().enumerate().filter(|(index, _)| *index != at + 1);
        let children: Vec<u32> = children.map(|(_, child)| u32::from_be_bytes(*child)).collect();
        write_bounds(others, &children)
    }
}

/// The bounds of a node, taken apart.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(super) struct Parts {
    pub(super) separators: Vec<Box<[u8]>>,
    pub(super) children: Vec<u32>,
}

impl Parts {
    /// As they are stored.
    pub(super) fn bytes(&self) -> Vec<u8> {
        write_bounds(self.separators.iter().map(|separator| &separator[..]), &self.children)
    }

    /// Takes the children from `at` on away; returns them and the separator between.
    ///
    /// # Panics
    /// If none stays, or none is taken.
    pub(super) fn split_off(&mut self, at: usize) -> (Box<[u8]>, Parts) {
        let separators = self.separators.split_off(at);
        let separator = self.separators.pop().expect("both have children");
        let children = self.children.split_off(at.min(self.children.len()));
        (separator, Parts { separators, children })
    }

    /// Appends the children of `right`, which begin at `separator`.
    pub(super) fn append(&mut self, separator: &[u8], right: Parts) {
        self.separators.push(separator.into());
        self.separators.extend(right.separators);
        self.children.extend(right.children);
    }
}

fn write_bounds<'s>(separators: impl Iterator<Item = &'s [u8]>, children: &[u32]) -> Vec<u8> {
    let (mut ends, mut bytes) = (vec![0, 0], Vec::new());
    let mut count = 0u16;
    for separator in separators {
        bytes.extend_from_slice(separator);
        let end = u16::try_from(bytes.len()).expect("a node is split long before its separators have 64 KiB");
        ends.extend_from_slice(&end.to_be_bytes());
        count += 1;
    }
    ends[..2].copy_from_slice(&count.to_be_bytes());
    ends.extend_from_slice(&bytes);
    children.iter().for_each(|child| ends.extend_from_slice(&child.to_be_bytes()));
    ends
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn the_layout_is_the_documented_one() {
        assert_eq!(Parts::default().bytes(), b"\0\0");
        let blocks = Parts { separators: vec![Box::from(&b"ab"[..]), Box::from(&b"c"[..])], children: Vec::new() };
        assert_eq!(blocks.bytes(), b"\0\x02\0\x02\0\x03abc");
        let nodes = Parts { separators: vec![Box::from(&b"ab"[..])], children: vec![7, 256] };
        assert_eq!(nodes.bytes(), b"\0\x01\0\x02ab\0\0\0\x07\0\0\x01\0");
    }

    #[test]
    fn what_is_no_bounds_is_refused() {
        let nodes = Parts { separators: vec![Box::from(&b"ab"[..])], children: vec![7, 8] }.bytes();
        assert!(BoundsView::read(&nodes, true).is_some());
        for length in 0..nodes.len() {
            assert!(BoundsView::read(&nodes[..length], true).is_none(), "{length}");
        }
        assert!(BoundsView::read(&nodes, false).is_none());
        assert!(BoundsView::read(&[&nodes[..], b"x"].concat(), true).is_none());
        // Ends that do not ascend: nothing is found there, and nothing breaks.
        let mixed = BoundsView::read(b"\0\x02\0\x05\0\x01a", false).unwrap();
        assert_eq!((mixed.separator(0), mixed.separator(1)), (&b""[..], &b""[..]));
        assert!(mixed.find(b"x") < 3);
    }

    proptest! {
        #[test]
        fn children_come_and_go(
            separators in proptest::collection::btree_set(proptest::collection::vec(0..3u8, 1..4), 0..12),
            place in proptest::collection::vec(0..3u8, 0..5),
            has_nodes: bool,
        ) {
            let separators: Vec<Box<[u8]>> = separators.into_iter().map(Box::from).collect();
            let children = if has_nodes { (0..=separators.len() as u32).collect() } else { Vec::new() };
            let parts = Parts { separators, children };
            let bytes = parts.bytes();
            let view = BoundsView::read(&bytes, has_nodes).unwrap();
            prop_assert_eq!(view.to_parts(), parts.clone());
            let at = view.find(&place);
            prop_assert_eq!(at, parts.separators.iter().filter(|separator| separator[..] <= place[..]).count());
            prop_assert_eq!(view.child(at), has_nodes.then_some(at as u32));
            let more = view.with_child(at, &place, has_nodes.then_some(99));
            let more = BoundsView::read(&more, has_nodes).unwrap();
            prop_assert_eq!((more.len(), more.separator(at)), (view.len() + 1, &place[..]));
            prop_assert_eq!(more.child(at + 1), has_nodes.then_some(99));
            prop_assert_eq!(more.joining(at), bytes.clone());
            let (mut left, all) = (more.to_parts(), more.to_parts());
            let (separator, right) = left.split_off(at + 1);
            prop_assert_eq!((&separator[..], right.separators.len()), (&place[..], view.len() - 1 - at));
            left.append(&separator, right);
            prop_assert_eq!(left, all);
        }
    }
}
