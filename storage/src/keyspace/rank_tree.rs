//! The tree that counts the order rows of a large sorted set, so that ranks are found in logarithmic time.
//!
//! ```text
//! fields    [height u8, with 0x80 while it is being built][next node u32 BE][counts of node 0, the root …]
//! counts    [0x02][node u32 BE][0x00]      → counts of a node but the root, see `rank_counts.rs`
//! bounds    [0x02][node u32 BE][0x01]      → bounds of a node, see `rank_bounds.rs`
//! ```
//!
//! The children of the lowest nodes are *blocks*: runs of order rows that follow each other, of which nothing is stored but where
//! each begins and how many rows it has. So a block is split or joined with another one without touching an order row, and every
//! order row is in one block by its place alone. `height` is 1 if the root's children are blocks. Nodes are numbered as they are
//! made, and no number is used twice under one version of the key.
//!
//! The root's counts lie in the metadata, which each write puts in any case. So a write puts no row more while the root's children
//! are blocks, and one more, the counts of one node, up to about a million members.
//!
//! What a newcomer would get wrong: what is changed is kept here until [`RankTree::save`]. So a command reads all that it needs
//! before it changes the first row, and one that changes a hundred members writes each node once.

use std::collections::BTreeMap;
use std::ops::Deref;

use smallvec::SmallVec;

use super::Keyspace;
use super::collection::Collection;
use super::key::RowKey;
use super::keyspace::damaged;
use super::packing::Counting;
use super::rank_bounds::{BoundsView, Parts};
use super::rank_counts::{Counts, CountsView};
use crate::limits::ROOT_COUNTS_BYTES_MAX;
use crate::{ColdRead, Error, Result, Row};

/// Row kind of the nodes.
pub(super) const NODES: u8 = 0x02;
/// The node that all others are below.
pub(super) const ROOT: u32 = 0;
/// Part of a node: its counts.
const COUNTS: u8 = 0x00;
/// Part of a node: its bounds.
const BOUNDS: u8 = 0x01;
/// Bit of the height while the last block is still to be cut.
const BUILDING: u8 = 0x80;

/// The tree of one sorted set. Changes take effect with [`RankTree::save`].
#[derive(Debug)]
pub(super) struct RankTree {
    pub(super) height: u8,
    pub(super) is_building: bool,
    next: u32,
    pub(super) root: Counts,
    /// Nodes that were changed, or are about to be.
    nodes: BTreeMap<u32, Node>,
    gone: Vec<u32>,
}

/// The parts of a node that are in hand. The root's counts are not here.
#[derive(Debug, Default)]
struct Node {
    counts: Option<Counts>,
    bounds: Option<Vec<u8>>,
}

/// A step down the tree: a node, and which of its children.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Step {
    pub(super) node: u32,
    pub(super) index: usize,
    pub(super) is_last: bool,
}

/// The way from the root to a block.
#[derive(Debug, Default)]
pub(super) struct Descent {
    pub(super) steps: SmallVec<[Step; 4]>,
    /// Order rows before the block.
    pub(super) before: u64,
    /// Order rows in it.
    pub(super) count: u64,
    /// The place where it begins; empty for the first one.
    pub(super) lower: RowKey,
    /// The place where the next one begins.
    pub(super) upper: Option<RowKey>,
}

impl Descent {
    /// Returns whether the block is the first one.
    pub(super) fn is_first(&self) -> bool {
        self.steps.iter().all(|step| step.index == 0)
    }

    /// Returns whether the block is the last one.
    pub(super) fn is_last(&self) -> bool {
        self.steps.iter().all(|step| step.is_last)
    }
}

/// The place that is looked for in a tree.
#[derive(Debug, Clone, Copy)]
pub(super) enum Target<'a> {
    /// The block of an order row at this place.
    Place(&'a [u8]),
    /// The block of the row with so many before it.
    Rank(u64),
    /// The last block.
    End,
}

/// A block that becomes two.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Cut {
    /// The place where the right one begins.
    pub(super) separator: RowKey,
    /// Order rows of the left one.
    pub(super) left: u64,
}

/// Bytes of a node, in hand or in a row.
pub(super) enum Bytes<'a> {
    Kept(&'a [u8]),
    Row(Row<'a>),
}

impl Deref for Bytes<'_> {
    type Target = [u8];

    fn deref(&self) -> &[u8] {
        match self {
            Bytes::Kept(bytes) => bytes,
            Bytes::Row(row) => row,
        }
    }
}

impl RankTree {
    /// The tree of a set of `size` members, of which nothing is known yet: all are in one block.
    pub(super) fn new(size: u64) -> RankTree {
        let root = Node { counts: None, bounds: Some(Parts::default().bytes()) };
        RankTree {
            height: 1,
            is_building: true,
            next: ROOT + 1,
            root: Counts::new(&[size]),
            nodes: BTreeMap::from([(ROOT, root)]),
            gone: Vec::new(),
        }
    }

    /// Reads what of the tree is in the fields; `None` if they are damaged.
    pub(super) fn read(fields: &[u8]) -> Option<RankTree> {
        let (&height, rest) = fields.split_first()?;
        let (next, counts) = rest.split_first_chunk::<4>()?;
        let (is_building, height) = (height & BUILDING != 0, height & !BUILDING);
        let (root, next) = (Counts::read(counts)?, u32::from_be_bytes(*next));
        let is_root = root.view().len() <= 2 || counts.len() <= ROOT_COUNTS_BYTES_MAX;
        (is_root && height > 0 && next > ROOT).then_some(RankTree {
            height,
            is_building,
            next,
            root,
            nodes: BTreeMap::new(),
            gone: Vec::new(),
        })
    }

    /// Appends what of the tree is in the fields.
    pub(super) fn write_fields(&self, fields: &mut Vec<u8>) {
        fields.push(self.height | if self.is_building { BUILDING } else { 0 });
        fields.extend_from_slice(&self.next.to_be_bytes());
        fields.extend_from_slice(self.root.bytes());
    }

    /// Puts the rows of all nodes that were changed, and deletes those of nodes that are gone.
    pub(super) fn save(&mut self, keyspace: &mut Keyspace<'_>, collection: &Collection) {
        for (node, Node { counts, bounds }) in std::mem::take(&mut self.nodes) {
            if let Some(counts) = counts {
                keyspace.put_element(collection, &element(node, COUNTS), counts.bytes());
            }
            if let Some(bounds) = bounds {
                keyspace.put_element(collection, &element(node, BOUNDS), &bounds);
            }
        }
        for node in std::mem::take(&mut self.gone) {
            keyspace.delete_element(collection, &element(node, COUNTS));
            keyspace.delete_element(collection, &element(node, BOUNDS));
        }
    }

    /// Deletes the rows of a tree whose last member has been removed.
    pub(super) fn delete(&mut self, keyspace: &mut Keyspace<'_>, collection: &Collection) {
        self.gone.extend(std::mem::take(&mut self.nodes).into_keys().filter(|node| *node != ROOT));
        self.save(keyspace, collection);
        keyspace.delete_element(collection, &element(ROOT, BOUNDS));
    }

    // ---- finding ----

    /// The way to the block of `target`.
    ///
    /// # Errors
    /// As the reads; [`Error::Corruption`] for a rank that no row has.
    pub(super) fn descend(
        &self,
        keyspace: &Keyspace<'_>,
        collection: &Collection,
        target: Target<'_>,
    ) -> Result<Descent> {
        let mut found = Descent::default();
        let mut node = ROOT;
        for level in (1..=self.height).rev() {
            let (counts, bounds) = self.node(keyspace, collection, node)?;
            let (counts, bounds) = read_node(&counts, &bounds, level).ok_or_else(|| damaged(collection.key()))?;
            let index = match target {
                Target::Place(place) => Some(bounds.find(place)),
                Target::Rank(rank) => counts.find(rank.saturating_sub(found.before)),
                Target::End => Some(bounds.len() - 1),
            };
            let index = index.ok_or_else(|| damaged(collection.key()))?;
            let is_last = index + 1 == bounds.len();
            found.before = found.before.saturating_add(counts.sum(0..index));
            found.count = counts.get(index);
            if index > 0 {
                found.lower = RowKey::from_slice(bounds.separator(index - 1));
            }
            if !is_last {
                found.upper = Some(RowKey::from_slice(bounds.separator(index)));
            }
            found.steps.push(Step { node, index, is_last });
            node = bounds.child(index).unwrap_or_default();
        }
        Ok(found)
    }

    /// Counts and bounds of a node; both are said to be cold at once.
    fn node<'n>(
        &'n self,
        keyspace: &'n Keyspace<'_>,
        collection: &Collection,
        node: u32,
    ) -> Result<(Bytes<'n>, Bytes<'n>)> {
        match (self.counts(keyspace, collection, node), self.bounds(keyspace, collection, node)) {
            (Err(Error::Cold(ColdRead::Key(counts))), Err(Error::Cold(ColdRead::Key(bounds)))) => {
                Err(Error::Cold(ColdRead::Keys(vec![counts, bounds])))
            }
            (counts, bounds) => Ok((counts?, bounds?)),
        }
    }

    pub(super) fn counts<'n>(
        &'n self,
        keyspace: &'n Keyspace<'_>,
        collection: &Collection,
        node: u32,
    ) -> Result<Bytes<'n>> {
        if node == ROOT {
            return Ok(Bytes::Kept(self.root.bytes()));
        }
        match self.nodes.get(&node).and_then(|node| node.counts.as_ref()) {
            Some(counts) => Ok(Bytes::Kept(counts.bytes())),
            None => read_part(keyspace, collection, node, COUNTS),
        }
    }

    pub(super) fn bounds<'n>(
        &'n self,
        keyspace: &'n Keyspace<'_>,
        collection: &Collection,
        node: u32,
    ) -> Result<Bytes<'n>> {
        match self.nodes.get(&node).and_then(|node| node.bounds.as_ref()) {
            Some(bounds) => Ok(Bytes::Kept(bounds)),
            None => read_part(keyspace, collection, node, BOUNDS),
        }
    }

    // ---- changing ----

    /// Adds `change` to the counts on the way down `steps`.
    ///
    /// # Errors
    /// As the reads; [`Error::Corruption`] if a count would be negative. Nothing is to be saved then.
    pub(super) fn add(
        &mut self,
        keyspace: &Keyspace<'_>,
        collection: &Collection,
        steps: &[Step],
        change: i64,
        counting: &Counting,
    ) -> Result<()> {
        for step in steps {
            let counts = self.counts_mut(keyspace, collection, step.node)?;
            let count = counts.view().get(step.index).checked_add_signed(change);
            counts.set(step.index, count.ok_or_else(|| damaged(collection.key()))?);
        }
        // A count that needs more bytes has made all of them wider.
        self.grow_if_wide(keyspace, collection, counting)
    }

    /// Children of a node, and order rows below it.
    pub(super) fn measure(&self, keyspace: &Keyspace<'_>, collection: &Collection, node: u32) -> Result<(usize, u64)> {
        let counts = self.counts(keyspace, collection, node)?;
        let counts = CountsView::read(&counts).ok_or_else(|| damaged(collection.key()))?;
        Ok((counts.len(), counts.total()))
    }

    pub(super) fn view<T>(
        &self,
        keyspace: &Keyspace<'_>,
        collection: &Collection,
        node: u32,
        level: u8,
        look: impl FnOnce(BoundsView<'_>) -> T,
    ) -> Result<T> {
        let bounds = self.bounds(keyspace, collection, node)?;
        let bounds = BoundsView::read(&bounds, level > 1).ok_or_else(|| damaged(collection.key()))?;
        Ok(look(bounds))
    }

    pub(super) fn parts(
        &self,
        keyspace: &Keyspace<'_>,
        collection: &Collection,
        node: u32,
        level: u8,
    ) -> Result<Parts> {
        self.view(keyspace, collection, node, level, |bounds| bounds.to_parts())
    }

    pub(super) fn counts_mut(
        &mut self,
        keyspace: &Keyspace<'_>,
        collection: &Collection,
        node: u32,
    ) -> Result<&mut Counts> {
        if node == ROOT {
            return Ok(&mut self.root);
        }
        let kept = &mut self.nodes.entry(node).or_default().counts;
        if kept.is_none() {
            let row = read_part(keyspace, collection, node, COUNTS)?;
            *kept = Some(Counts::read(&row).ok_or_else(|| damaged(collection.key()))?);
        }
        Ok(kept.as_mut().expect("it was read a moment ago"))
    }

    pub(super) fn set_bounds(&mut self, node: u32, bounds: Vec<u8>) {
        self.nodes.entry(node).or_default().bounds = Some(bounds);
    }

    pub(super) fn put(&mut self, node: u32, counts: Counts, bounds: Vec<u8>) {
        self.set_bounds(node, bounds);
        match node {
            ROOT => self.root = counts,
            _ => self.nodes.entry(node).or_default().counts = Some(counts),
        }
    }

    pub(super) fn let_go(&mut self, node: u32) {
        self.nodes.remove(&node);
        self.gone.push(node);
    }

    /// The number of a new node. Four billion take a million million writes: there are no more.
    pub(super) fn number(&mut self, collection: &Collection) -> Result<u32> {
        let number = self.next;
        self.next = number.checked_add(1).ok_or_else(|| damaged(collection.key()))?;
        Ok(number)
    }
}

/// The element bytes of a part of a node.
fn element(node: u32, part: u8) -> [u8; 6] {
    let [a, b, c, d] = node.to_be_bytes();
    [NODES, a, b, c, d, part]
}

fn read_part<'k>(keyspace: &'k Keyspace<'_>, collection: &Collection, node: u32, part: u8) -> Result<Bytes<'k>> {
    match keyspace.element(collection, &element(node, part))? {
        Some(row) => Ok(Bytes::Row(row)),
        None => Err(damaged(collection.key())),
    }
}

fn read_node<'n>(counts: &'n [u8], bounds: &'n [u8], level: u8) -> Option<(CountsView<'n>, BoundsView<'n>)> {
    let (counts, bounds) = (CountsView::read(counts)?, BoundsView::read(bounds, level > 1)?);
    (counts.len() == bounds.len()).then_some((counts, bounds))
}

#[cfg(test)]
impl RankTree {
    /// The blocks, by where they begin and how many rows they have, and the nodes.
    ///
    /// # Panics
    /// If a count of a node is not that of its children, or a node has too many of them.
    pub(super) fn laid_out(
        &self,
        keyspace: &Keyspace<'_>,
        collection: &Collection,
        counting: &Counting,
    ) -> (Vec<(Vec<u8>, u64)>, Vec<u32>) {
        let (mut blocks, mut nodes) = (Vec::new(), Vec::new());
        assert!(self.root.view().len() <= 2 || self.root.bytes().len() <= counting.root_bytes_max, "a wide root");
        let mut todo = vec![(ROOT, self.height, Vec::new(), self.root.view().total())];
        while let Some((node, level, lower, count)) = todo.pop() {
            nodes.push(node);
            let (counts, bounds) = self.node(keyspace, collection, node).unwrap();
            let (counts, bounds) = read_node(&counts, &bounds, level).unwrap();
            assert_eq!(counts.total(), count, "node {node} of level {level}");
            assert!(node == ROOT || counts.len() <= counting.children_max, "node {node} of level {level}");
            let lowers = (0..counts.len()).map(|index| match index {
                0 => lower.clone(),
                _ => bounds.separator(index - 1).to_vec(),
            });
            let children = lowers.zip(counts.each());
            if level == 1 {
                blocks.extend(children);
            } else {
                let below: Vec<_> = children
                    .enumerate()
                    .map(|(index, (lower, count))| (bounds.child(index).unwrap(), level - 1, lower, count))
                    .collect();
                todo.extend(below.into_iter().rev());
            }
        }
        (blocks, nodes)
    }
}
