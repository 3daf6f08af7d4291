//! The shape of a rank tree (`rank_tree.rs`): blocks and nodes are split when they are full, and joined when they are sparse.
//!
//! What a newcomer would get wrong: a node's children keep their numbers whatever node they come to, so nothing below a node is
//! written when it is split or joined.

use super::Keyspace;
use super::collection::Collection;
use super::keyspace::damaged;
use super::packing::Counting;
use super::rank_bounds::Parts;
use super::rank_counts::{Counts, CountsView};
use super::rank_tree::{Cut, ROOT, RankTree, Step};
use crate::{Error, Result};

impl RankTree {
    /// Makes two blocks of the one at the end of `steps`, and splits nodes that have too many children then.
    ///
    /// # Errors
    /// As the reads. Nothing is to be saved then.
    pub(super) fn split(
        &mut self,
        keyspace: &Keyspace<'_>,
        collection: &Collection,
        steps: &[Step],
        cut: &Cut,
        counting: &Counting,
    ) -> Result<()> {
        let (is_first, is_last) = (steps.iter().all(|step| step.index == 0), steps.iter().all(|step| step.is_last));
        let (mut separator, mut left, mut node) = (cut.separator.to_vec(), cut.left, None);
        for (depth, step) in steps.iter().enumerate().rev() {
            let level = self.height - depth as u8;
            let counts = self.counts_mut(keyspace, collection, step.node)?;
            counts.edit(|counts| {
                let right = counts[step.index].saturating_sub(left);
                counts[step.index] = left;
                counts.insert(step.index + 1, right);
            });
            let length = counts.view().len();
            let bounds = self.view(keyspace, collection, step.node, level, |bounds| {
                bounds.with_child(step.index, &separator, node)
            })?;
            let bounds_bytes = bounds.len();
            self.set_bounds(step.node, bounds);
            let is_full = match step.node {
                ROOT => self.root.bytes().len() > counting.root_bytes_max,
                _ => length > counting.children_max,
            };
            if !is_full && bounds_bytes <= counting.bounds_bytes_max {
                return Ok(());
            }
            // Who writes at an end leaves full nodes behind.
            let at = match (is_first, is_last) {
                (_, true) => length - 1,
                (true, _) => 1,
                _ => length / 2,
            };
            if step.node == ROOT {
                return self.grow(keyspace, collection, at);
            }
            let new = self.number(collection)?;
            let halves = self.halves(keyspace, collection, (step.node, level), (step.node, new), at)?;
            (separator, left, node) = (halves.0.into_vec(), halves.1, Some(new));
        }
        Ok(())
    }

    /// Gives the root two children, which have its own up to the child `at` and from there on.
    fn grow(&mut self, keyspace: &Keyspace<'_>, collection: &Collection, at: usize) -> Result<()> {
        let children = vec![self.number(collection)?, self.number(collection)?];
        let total = self.root.view().total();
        let halves = self.halves(keyspace, collection, (ROOT, self.height), (children[0], children[1]), at)?;
        let counts = Counts::new(&[halves.1, total.saturating_sub(halves.1)]);
        self.put(ROOT, counts, Parts { separators: vec![halves.0], children }.bytes());
        self.height += 1;
        Ok(())
    }

    /// Gives the root two children if its counts have become too wide for the metadata.
    ///
    /// # Errors
    /// As the reads. Nothing is to be saved then.
    pub(super) fn grow_if_wide(
        &mut self,
        keyspace: &Keyspace<'_>,
        collection: &Collection,
        counting: &Counting,
    ) -> Result<()> {
        match self.root.view().len() {
            // Two are as few as growing leaves.
            length @ 3.. if self.root.bytes().len() > counting.root_bytes_max => {
                self.grow(keyspace, collection, length / 2)
            }
            _ => Ok(()),
        }
    }

    /// Shares out the children of a node of this level between the nodes `to`, the second one's being those from `at` on. Returns
    /// what these begin at, and the rows of the first one.
    fn halves(
        &mut self,
        keyspace: &Keyspace<'_>,
        collection: &Collection,
        (node, level): (u32, u8),
        to: (u32, u32),
        at: usize,
    ) -> Result<(Box<[u8]>, u64)> {
        let mut counts = self.counts_mut(keyspace, collection, node)?.clone();
        let right = counts.edit(|counts| counts.split_off(at));
        let mut parts = self.parts(keyspace, collection, node, level)?;
        let (separator, right_parts) = parts.split_off(at);
        let total = counts.view().total();
        self.put(to.0, counts, parts.bytes());
        self.put(to.1, Counts::new(&right), right_parts.bytes());
        Ok((separator, total))
    }

    /// Joins the block at the end of `steps` with a neighbor if it has few rows, and nodes with theirs.
    ///
    /// # Errors
    /// As the reads. Nothing is to be saved then.
    pub(super) fn join(
        &mut self,
        keyspace: &Keyspace<'_>,
        collection: &Collection,
        steps: &[Step],
        counting: &Counting,
    ) -> Result<()> {
        let Some((lowest, above)) = steps.split_last() else { return Ok(()) };
        let (count, pair) = {
            let counts = self.counts(keyspace, collection, lowest.node)?;
            let counts = CountsView::read(&counts).ok_or_else(|| damaged(collection.key()))?;
            let count = counts.get(lowest.index);
            let is_sparse = count <= counting.block_rows_max / counting.sparse_share as u64;
            let fits = |other: usize| {
                let is_half = is_sparse && count + counts.get(other) <= counting.block_rows_max / 2;
                other < counts.len() && (count == 0 || is_half)
            };
            (count, left_of_pair(lowest.index, fits))
        };
        match pair {
            Some(at) => self.join_children(keyspace, collection, *lowest, 1, at)?,
            // The node's only block: what is above may let go of the node.
            None if count == 0 => {}
            None => return Ok(()),
        }
        for (depth, step) in above.iter().enumerate().rev() {
            let level = self.height - depth as u8;
            let Some(child) = self.view(keyspace, collection, step.node, level, |bounds| bounds.child(step.index))?
            else {
                return Err(damaged(collection.key()));
            };
            if !self.join_node(keyspace, collection, *step, level, child, counting)? {
                break;
            }
        }
        self.lower(keyspace, collection, counting)?;
        self.grow_if_wide(keyspace, collection, counting)
    }

    /// Joins the node `child`, below `step`, with a neighbor if it has few children, or lets go of it if it has no rows. Says
    /// whether the node above it has fewer children now, or no rows either.
    fn join_node(
        &mut self,
        keyspace: &Keyspace<'_>,
        collection: &Collection,
        step: Step,
        level: u8,
        child: u32,
        counting: &Counting,
    ) -> Result<bool> {
        let siblings = self.view(keyspace, collection, step.node, level, |bounds| bounds.len())?;
        let (length, total) = self.measure(keyspace, collection, child)?;
        if siblings == 1 {
            return Ok(total == 0);
        }
        if total == 0 {
            self.forget(keyspace, collection, child, level - 1)?;
            let counts = self.counts_mut(keyspace, collection, step.node)?;
            counts.edit(|counts| counts.remove(step.index));
            let mut parts = self.parts(keyspace, collection, step.node, level)?;
            parts.children.remove(step.index);
            parts.separators.remove(step.index.saturating_sub(1));
            self.set_bounds(step.node, parts.bytes());
            return Ok(true);
        }
        if length > counting.children_max / counting.sparse_share {
            return Ok(false);
        }
        let (mut pair, lengths_max) = (None, counting.children_max / 2);
        for at in [step.index.checked_sub(1), Some(step.index)].into_iter().flatten() {
            if at + 1 < siblings && pair.is_none() {
                let nodes = self.view(keyspace, collection, step.node, level, |bounds| {
                    bounds.child(at).zip(bounds.child(at + 1))
                })?;
                let (left, right) = nodes.ok_or_else(|| damaged(collection.key()))?;
                let lengths =
                    self.measure(keyspace, collection, left)?.0 + self.measure(keyspace, collection, right)?.0;
                if lengths > lengths_max {
                    continue;
                }
                let bytes = |node| Ok::<_, Error>(self.bounds(keyspace, collection, node)?.len());
                if bytes(left)? + bytes(right)? <= counting.bounds_bytes_max / 2 {
                    pair = Some((at, left, right));
                }
            }
        }
        let Some((at, left, right)) = pair else { return Ok(false) };
        let separator: Box<[u8]> =
            self.view(keyspace, collection, step.node, level, |bounds| bounds.separator(at).into())?;
        let others: Vec<u64> = self.counts_mut(keyspace, collection, right)?.view().each().collect();
        let mut parts = self.parts(keyspace, collection, left, level - 1)?;
        parts.append(&separator, self.parts(keyspace, collection, right, level - 1)?);
        self.counts_mut(keyspace, collection, left)?.edit(|counts| counts.extend(others));
        self.set_bounds(left, parts.bytes());
        self.let_go(right);
        self.join_children(keyspace, collection, step, level, at)?;
        Ok(true)
    }

    /// Makes one child of the children `at` and `at + 1` of a node.
    fn join_children(
        &mut self,
        keyspace: &Keyspace<'_>,
        collection: &Collection,
        step: Step,
        level: u8,
        at: usize,
    ) -> Result<()> {
        self.counts_mut(keyspace, collection, step.node)?.edit(|counts| {
            let right = counts.remove(at + 1);
            counts[at] = counts[at].saturating_add(right);
        });
        let bounds = self.view(keyspace, collection, step.node, level, |bounds| bounds.joining(at))?;
        self.set_bounds(step.node, bounds);
        Ok(())
    }

    /// Takes the root's only child into the root as long as it has one that fits with room to spare.
    fn lower(&mut self, keyspace: &Keyspace<'_>, collection: &Collection, counting: &Counting) -> Result<()> {
        while self.height > 1 && self.root.view().len() == 1 {
            let child = self.view(keyspace, collection, ROOT, self.height, |bounds| bounds.child(0))?;
            let child = child.ok_or_else(|| damaged(collection.key()))?;
            let counts = self.counts_mut(keyspace, collection, child)?.clone();
            let bounds = self.bounds(keyspace, collection, child)?.to_vec();
            if counts.bytes().len() > counting.root_bytes_max.div_ceil(2) {
                break;
            }
            self.let_go(child);
            self.put(ROOT, counts, bounds);
            self.height -= 1;
        }
        Ok(())
    }

    /// Lets go of a node of this level, which has no rows, and of all nodes below it.
    fn forget(&mut self, keyspace: &Keyspace<'_>, collection: &Collection, node: u32, level: u8) -> Result<()> {
        if level > 1 {
            let parts = self.parts(keyspace, collection, node, level)?;
            for child in parts.children {
                self.forget(keyspace, collection, child, level - 1)?;
            }
        }
        self.let_go(node);
        Ok(())
    }
}

/// The left one of a child and the neighbor that it is joined with, if one fits.
fn left_of_pair(index: usize, fits: impl Fn(usize) -> bool) -> Option<usize> {
    match index.checked_sub(1) {
        Some(left) if fits(left) => Some(left),
        _ => fits(index + 1).then_some(index),
    }
}
