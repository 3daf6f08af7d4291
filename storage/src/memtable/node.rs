//! Nodes of the tree, and how a change of one changes those above it.
//!
//! `memory` is everywhere the tree's count of its bytes: whoever changes a node changes it too.

use super::heads::node_len_max;
use super::inner::Inner;
use super::leaf::Leaf;

/// A node, with all below it.
#[derive(Debug)]
pub(super) enum Node {
    Leaf(Box<Leaf>),
    Inner(Box<Inner>),
}

/// The right part of a node that was split.
#[derive(Debug)]
pub(super) struct Split {
    /// Greater than all keys that stayed, and not greater than any of the right part.
    pub(super) separator: Box<[u8]>,
    pub(super) right: Node,
}

impl Node {
    /// A leaf with one row.
    pub(super) fn with_row(key: &[u8], value: Option<&[u8]>, memory: &mut usize) -> Node {
        let mut leaf = Box::new(Leaf::new());
        let split = leaf.put(key, value);
        assert!(split.is_none(), "an empty leaf has room for any row");
        *memory += leaf.bytes();
        Node::Leaf(leaf)
    }

    /// The memory of this node and of all below it, in bytes.
    pub(super) fn bytes(&self) -> usize {
        match self {
            Node::Leaf(leaf) => leaf.bytes(),
            Node::Inner(inner) => inner.bytes(),
        }
    }

    /// Returns whether there is nothing below.
    pub(super) fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// Returns whether so little is left that a neighbour may have room for it.
    pub(super) fn is_small(&self) -> bool {
        self.len() <= node_len_max() / 4
    }

    /// Sets `key` to `value`, or to deleted. Returns the right part of this node if it had to be split.
    pub(super) fn put(&mut self, key: &[u8], value: Option<&[u8]>, memory: &mut usize) -> Option<Split> {
        match self {
            Node::Inner(inner) => inner.put(key, value, memory),
            Node::Leaf(leaf) => {
                let before = leaf.bytes();
                let split = leaf.put(key, value);
                let right_bytes = split.as_ref().map_or(0, |(_, right)| right.bytes());
                *memory = *memory + leaf.bytes() + right_bytes - before;
                split.map(|(separator, right)| Split { separator, right: Node::Leaf(right) })
            }
        }
    }

    /// Removes `key`. The node may be empty then: whoever holds it has to see to that.
    pub(super) fn remove(&mut self, key: &[u8], memory: &mut usize) {
        match self {
            Node::Inner(inner) => inner.remove(key, memory),
            Node::Leaf(leaf) => {
                if let Some(index) = leaf.find(key) {
                    let before = leaf.bytes();
                    leaf.remove(index..index + 1);
                    *memory = *memory + leaf.bytes() - before;
                }
            }
        }
    }

    /// Removes the rows in `from..to`, as [`Node::remove`].
    pub(super) fn remove_range(&mut self, from: &[u8], to: &[u8], memory: &mut usize) {
        match self {
            Node::Inner(inner) => inner.remove_range(from, to, memory),
            Node::Leaf(leaf) => {
                let place = |key| leaf.search(key).unwrap_or_else(|place| place);
                let range = place(from)..place(to);
                let before = leaf.bytes();
                leaf.remove(range);
                *memory = *memory + leaf.bytes() - before;
            }
        }
    }

    /// Takes what is in `right`, the next node behind `separator`, if both are small; returns whether it did.
    pub(super) fn absorb(&mut self, separator: &[u8], right: &mut Node, memory: &mut usize) -> bool {
        match (self, right) {
            (Node::Leaf(left), Node::Leaf(right)) => {
                let before = left.bytes() + right.bytes();
                let is_absorbed = left.absorb(right);
                *memory = if is_absorbed { *memory + left.bytes() - before } else { *memory };
                is_absorbed
            }
            (Node::Inner(left), Node::Inner(right)) => left.absorb(separator, right, memory),
            _ => unreachable!("all leaves are equally deep"),
        }
    }

    /// Checks what the nodes rely on.
    #[cfg(test)]
    pub(super) fn assert_sound(&self, lower: std::ops::Bound<&[u8]>, upper: std::ops::Bound<&[u8]>) {
        match self {
            Node::Leaf(leaf) => leaf.assert_sound(lower, upper),
            Node::Inner(inner) => inner.assert_sound(lower, upper),
        }
    }

    /// Rows of a leaf, children of an inner node.
    fn len(&self) -> usize {
        match self {
            Node::Leaf(leaf) => leaf.len(),
            Node::Inner(inner) => inner.children().len(),
        }
    }
}
