//! Inner nodes: up to 64 children and the keys that separate them.
//!
//! A separator is the shortest key that does its work (suffix truncation: Bayer and Unterauer, Prefix B-Trees, 1977), so it need
//! not be the key of a row: it is greater than everything before it and not greater than anything behind it, and stays so
//! whatever is removed.

use std::cmp::Ordering;
#[cfg(test)]
use std::ops::Bound;
use std::ops::Range;

use super::heads::{CAPACITY, Heads, common_prefix, node_len_max};
use super::node::{Node, Split};

/// Children, and a separator between each two of them.
#[derive(Debug)]
pub(super) struct Inner {
    /// Of the separators.
    heads: Heads,
    separators: Vec<Box<[u8]>>,
    children: Vec<Node>,
}

impl Inner {
    /// A node above two others.
    pub(super) fn above(left: Node, split: Split, memory: &mut usize) -> Inner {
        let mut inner = Inner::without_children();
        *memory += inner.own_bytes();
        inner.children.push(left);
        inner.insert(0, split, memory);
        inner
    }

    fn without_children() -> Inner {
        Inner { heads: Heads::new(), separators: Vec::with_capacity(CAPACITY), children: Vec::with_capacity(CAPACITY) }
    }

    /// The memory of this node and of all below it, in bytes.
    pub(super) fn bytes(&self) -> usize {
        let separators: usize = self.separators.iter().map(|separator| separator.len()).sum();
        self.own_bytes() + separators + self.children.iter().map(Node::bytes).sum::<usize>()
    }

    pub(super) fn children(&self) -> &[Node] {
        &self.children
    }

    /// Takes the only child; the node is then of no use.
    pub(super) fn only_child(&mut self) -> Option<Node> {
        if self.children.len() == 1 { self.children.pop() } else { None }
    }

    /// The index of the child to which `key` belongs.
    pub(super) fn child_of(&self, key: &[u8]) -> usize {
        match self.heads.compare_prefix(key, || &self.separators[0]) {
            Ordering::Less => return 0,
            Ordering::Equal => {}
            Ordering::Greater => return self.separators.len(),
        }
        let Range { start, end } = self.heads.range(key);
        start + self.separators[start..end].partition_point(|separator| **separator <= *key)
    }

    /// Sets `key` to `value` below this node; see [`Node::put`].
    pub(super) fn put(&mut self, key: &[u8], value: Option<&[u8]>, memory: &mut usize) -> Option<Split> {
        let index = self.child_of(key);
        let split = self.children[index].put(key, value, memory)?;
        if self.children.len() < node_len_max() {
            self.insert(index, split, memory);
            return None;
        }
        let (separator, mut right) = self.split(memory);
        match index.checked_sub(self.children.len()) {
            Some(index) => right.insert(index, split, memory),
            None => self.insert(index, split, memory),
        }
        Some(Split { separator, right: Node::Inner(Box::new(right)) })
    }

    /// Removes `key` below this node.
    pub(super) fn remove(&mut self, key: &[u8], memory: &mut usize) {
        let index = self.child_of(key);
        self.children[index].remove(key, memory);
        self.tidy(index..index + 1, memory);
    }

    /// Removes the rows in `from..to` below this node. Children that lie in between go whole.
    pub(super) fn remove_range(&mut self, from: &[u8], to: &[u8], memory: &mut usize) {
        let (first, last) = (self.child_of(from), self.child_of(to));
        if first < last {
            *memory -= self.children.drain(first + 1..last).map(|child| child.bytes()).sum::<usize>();
            *memory -= self.separators.drain(first..last - 1).map(|separator| separator.len()).sum::<usize>();
            self.heads.remove(first..last - 1);
            self.children[first + 1].remove_range(from, to, memory);
        }
        self.children[first].remove_range(from, to, memory);
        let touched = if first < last { 2 } else { 1 };
        self.tidy(first..first + touched, memory);
    }

    /// Takes the children of `right`, which come after this node's, if both together have few; returns whether they had.
    pub(super) fn absorb(&mut self, separator: &[u8], right: &mut Inner, memory: &mut usize) -> bool {
        // The separator comes between a child and a child.
        assert!(!self.children.is_empty() && !right.children.is_empty(), "empty nodes are removed, not merged");
        if self.children.len() + right.children.len() > node_len_max() / 2 {
            return false;
        }
        *memory += separator.len();
        self.separators.push(separator.into());
        self.separators.append(&mut right.separators);
        self.children.append(&mut right.children);
        self.rebuild_heads();
        *memory -= right.own_bytes();
        true
    }

    /// Checks what a node relies on, and all below it.
    #[cfg(test)]
    pub(super) fn assert_sound(&self, lower: Bound<&[u8]>, upper: Bound<&[u8]>) {
        assert!((1..=node_len_max()).contains(&self.children.len()), "{} children", self.children.len());
        assert_eq!((self.separators.len(), self.heads.len()), (self.children.len() - 1, self.children.len() - 1));
        for (index, separator) in self.separators.iter().enumerate() {
            assert!(self.heads.range(separator).contains(&index), "each separator has its head");
            assert_eq!(self.child_of(separator), index + 1);
        }
        for (index, child) in self.children.iter().enumerate() {
            let lower = index.checked_sub(1).map_or(lower, |index| Bound::Included(&*self.separators[index]));
            let upper = self.separators.get(index).map_or(upper, |separator| Bound::Excluded(&**separator));
            child.assert_sound(lower, upper);
        }
        let depth = |node: &Node| {
            std::iter::successors(Some(node), |node| match node {
                Node::Inner(inner) => inner.children.first(),
                Node::Leaf(_) => None,
            })
            .count()
        };
        assert!(
            self.children.iter().all(|child| depth(child) == depth(&self.children[0])),
            "all leaves are equally deep"
        );
    }

    /// The memory of this node without its separators' bytes.
    fn own_bytes(&self) -> usize {
        size_of::<Inner>()
            + self.separators.capacity() * size_of::<Box<[u8]>>()
            + self.children.capacity() * size_of::<Node>()
    }

    /// Inserts what the child at `index` has become; there is room.
    fn insert(&mut self, index: usize, Split { separator, right }: Split, memory: &mut usize) {
        *memory += separator.len();
        self.separators.insert(index, separator);
        self.children.insert(index + 1, right);
        let separator = &self.separators[index];
        let neighbour = if index == 0 { self.separators.last() } else { self.separators.first() };
        // A single separator has no neighbour, and is all skipped until it gets one.
        let is_alike = self.heads.compare_prefix(separator, || neighbour.expect("there are others")).is_eq();
        if self.heads.len() > 0 && separator.len() >= self.heads.skip() && is_alike {
            self.heads.insert(index, separator);
        } else {
            self.rebuild_heads();
        }
    }

    /// Moves the right half of the children into a new node; returns it and the key that separates the two.
    fn split(&mut self, memory: &mut usize) -> (Box<[u8]>, Inner) {
        let middle = self.children.len() / 2;
        let mut right = Inner::without_children();
        right.children.extend(self.children.drain(middle..));
        right.separators.extend(self.separators.drain(middle..));
        let separator = self.separators.pop().expect("a full node has separators");
        self.rebuild_heads();
        right.rebuild_heads();
        *memory += right.own_bytes();
        *memory -= separator.len();
        (separator, right)
    }

    /// After rows went from the children in `touched`: removes those that are empty, and puts the others together with a
    /// neighbour where both are small.
    fn tidy(&mut self, touched: Range<usize>, memory: &mut usize) {
        // From behind, so that the places before stay; and all of them before anything is merged, since a node without children
        // has nothing for a separator to stand behind.
        for index in touched.clone().rev() {
            if self.children[index].is_empty() {
                *memory -= self.children.remove(index).bytes();
                self.remove_separator(index.saturating_sub(1), memory);
            }
        }
        // Where some went, others stand at their places; to look at those does no harm.
        for index in touched.rev() {
            let is_small = self.children.get(index).is_some_and(Node::is_small);
            if is_small && !self.merge(index, memory) && index > 0 {
                self.merge(index - 1, memory);
            }
        }
    }

    /// Puts the children at `index` and behind it together, if they are small; returns whether it did.
    fn merge(&mut self, index: usize, memory: &mut usize) -> bool {
        let Some(([.., left], [right, ..])) = self.children.split_at_mut_checked(index + 1) else { return false };
        if !left.absorb(&self.separators[index], right, memory) {
            return false;
        }
        self.children.remove(index + 1);
        self.remove_separator(index, memory);
        true
    }

    /// Removes a separator, if there is one: an only child has none.
    fn remove_separator(&mut self, index: usize, memory: &mut usize) {
        if index < self.separators.len() {
            *memory -= self.separators.remove(index).len();
            self.heads.remove(index..index + 1);
        }
    }

    fn rebuild_heads(&mut self) {
        self.heads = match (self.separators.first(), self.separators.last()) {
            (Some(first), Some(last)) => {
                Heads::of(common_prefix(first, last), first, self.separators.iter().map(|separator| &**separator))
            }
            _ => Heads::new(),
        };
    }
}
