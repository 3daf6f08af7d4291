//! Sorted sets that are too large for one row: two rows per member, one to find its score and one to keep the order.
//!
//! ```text
//! fields    [removed u32 BE]                         see `renewal.rs`
//!           [lowest length u8][lowest …]             no order row sorts before these bytes (kind left out)
//!           [highest length u8][highest …]           no order row sorts after or at these bytes; length 0 = unknown
//!           [tree …]                                 only if the set has a tree of counts, see `rank_tree.rs`
//! element   [0x00][name_hash(member) u32 BE][member …] → score, 8 bytes
//!           [0x01][score, 8 bytes][member …]           → empty
//!           [0x02 …]                                   nodes of the tree of counts, see `rank_tree.rs`
//! score     the IEEE 754 bits as u64 BE, sign bit flipped if positive, all bits flipped if negative: sorts as numbers do.
//!           Minus zero is stored as zero; NaN never.
//! ```
//!
//! Ranges by score are ordered scans over the order rows, ranges by lex too (all scores are equal there, so the first one's
//! score leads to the place). The member rows are for ZSCORE, ZSCAN and ZRANDMEMBER.
//!
//! The two bounds are for queues: ZPOPMIN leaves tombstones at the low end, and a scan from the very start would walk over
//! all of them each time. A pop moves the bound up to what it took, an insertion beyond it moves it back. They are
//! hints, cut to 28 bytes; both empty until something is popped.
//!
//! Ranks: a set that a write finds with a thousand members or more gets a tree that counts its order rows, and keeps it
//! (`sorted_ranks.rs`); so rank and index are found in O(log n). One that was large before it had a tree gets its own piece by
//! piece, a few hundred rows with each write, and is right meanwhile: what is not counted yet is one block, over which a look-up
//! walks from its nearer end. So it does over all of a set without a tree. A program that does not know trees refuses the fields.

use std::ops::{Bound, ControlFlow, Range};

use super::Keyspace;
use super::collection::Collection;
use super::hashed_names::name_element;
use super::key::{RowKey, after_prefix};
use super::keyspace::damaged;
use super::rank_tree::{NODES, RankTree};
use super::renewal::Removed;
use super::sorted_sets::{Inserted, LexBound, LexRun, ScoreEnd, ScoreRange};
use crate::limits::ORDER_BOUND_BYTES_MAX;
use crate::{Direction, Result};

/// Row kind that leads from a member to its score.
const MEMBER: u8 = 0x00;

/// Row kind that keeps members in order.
pub(super) const ORDER: u8 = 0x01;

/// Bytes before the member in an order row.
const ORDER_MEMBER_START: usize = 9;

/// A sorted set with two rows for each member. Changes to its size take effect with [`SortedRows::save`].
#[derive(Debug)]
pub(super) struct SortedRows {
    pub(super) collection: Collection,
    pub(super) removed: Removed,
    pub(super) lowest: Vec<u8>,
    pub(super) highest: Vec<u8>,
    /// The tree of counts, if there is one.
    pub(super) ranks: Option<RankTree>,
    /// Changes since the command last built some of the tree; `None` before the first time.
    pub(super) untended: Option<u64>,
}

/// Visits order rows until it breaks: the element's bytes, the member and the score.
pub(super) type VisitOrder<'v> = &'v mut dyn FnMut(&[u8], &[u8], f64) -> ControlFlow<()>;

impl SortedRows {
    /// An empty sorted set in `collection`, which is new.
    pub(super) fn new(collection: Collection) -> SortedRows {
        let (lowest, highest) = (Vec::new(), Vec::new());
        SortedRows { collection, removed: Removed::default(), lowest, highest, ranks: None, untended: None }
    }

    pub(super) fn read(collection: Collection) -> Result<SortedRows> {
        let fields = read_fields(collection.fields()).and_then(|(removed, [lowest, highest], tree)| {
            let ranks = if tree.is_empty() { None } else { Some(RankTree::read(tree)?) };
            Some((removed, lowest.to_vec(), highest.to_vec(), ranks))
        });
        match fields {
            Some((removed, lowest, highest, ranks)) => {
                Ok(SortedRows { collection, removed, lowest, highest, ranks, untended: None })
            }
            None => Err(damaged(collection.key())),
        }
    }

    /// Returns the number of members.
    pub fn len(&self) -> u64 {
        self.collection.size
    }

    /// Returns whether there are none.
    pub fn is_empty(&self) -> bool {
        self.collection.size == 0
    }

    /// The score of `member`.
    pub fn score(&self, keyspace: &Keyspace<'_>, member: &[u8]) -> Result<Option<f64>> {
        // A sorted set that does not exist yet has no rows to look for.
        if self.is_empty() {
            return Ok(None);
        }
        let Some(row) = keyspace.element(&self.collection, &name_element(MEMBER, member))? else { return Ok(None) };
        match row.first_chunk().and_then(|bytes| read_score(*bytes)) {
            Some(score) => Ok(Some(score)),
            None => Err(damaged(self.collection.key())),
        }
    }

    /// Gives `member` the score `score`, which is not NaN. `old` is its present score, from [`SortedRows::score`].
    ///
    /// # Errors
    /// As the reads; nothing is to be saved then.
    pub fn insert(
        &mut self,
        keyspace: &mut Keyspace<'_>,
        member: &[u8],
        old: Option<f64>,
        score: f64,
    ) -> Result<Inserted> {
        assert!(!score.is_nan(), "a score is a number");
        if old == Some(score) {
            return Ok(Inserted::Same);
        }
        let (order, old) = (order_element(score, member), old.map(|old| order_element(old, member)));
        self.tend_ranks(keyspace)?;
        match &old {
            Some(old) => self.count_moved(keyspace, old, &order)?,
            None => self.count_in(keyspace, &order[1..])?,
        }
        if let Some(old) = &old {
            keyspace.delete_element(&self.collection, old);
            self.removed.count(1);
        } else {
            self.collection.size += 1;
        }
        self.widen(&order[1..]);
        keyspace.put_element(&self.collection, &name_element(MEMBER, member), &write_score(score));
        keyspace.put_element(&self.collection, &order, &[]);
        Ok(if old.is_some() { Inserted::Changed } else { Inserted::Added })
    }

    /// Removes `member` and says whether it was there.
    pub fn remove(&mut self, keyspace: &mut Keyspace<'_>, member: &[u8]) -> Result<bool> {
        let Some(score) = self.score(keyspace, member)? else { return Ok(false) };
        self.take_out(keyspace, &[order_element(score, member)])?;
        Ok(true)
    }

    /// Removes up to `count` members from `end` and visits them, with their scores, in the order of removal.
    pub fn pop(
        &mut self,
        keyspace: &mut Keyspace<'_>,
        end: ScoreEnd,
        count: u64,
        visit: &mut dyn FnMut(&[u8], f64),
    ) -> Result<()> {
        let count = count.min(self.len());
        if count == 0 {
            return Ok(());
        }
        let all = count == self.len();
        let direction = if end == ScoreEnd::Lowest { Direction::Forward } else { Direction::Backward };
        let mut missing = count;
        let mut popped: Vec<RowKey> = Vec::new();
        self.scan_order(keyspace, self.order_start(), self.order_end(), direction, &mut |element, member, score| {
            visit(member, score);
            // A whole sorted set goes with its metadata; only a single member is removed by hand (see `List::remove`).
            if !all || count == 1 {
                popped.push(RowKey::from_slice(element));
            }
            missing -= 1;
            if missing > 0 { ControlFlow::Continue(()) } else { ControlFlow::Break(()) }
        })?;
        if missing > 0 {
            return Err(damaged(self.collection.key()));
        }
        self.take_out(keyspace, &popped)?;
        if all {
            self.collection.size = 0;
        } else if let Some(last) = popped.last() {
            self.narrow(end, &last[1..]);
        }
        Ok(())
    }

    /// Visits the members of the given ranks with their scores; ranks count along `direction`, as the visits go.
    pub fn each_rank(
        &self,
        keyspace: &Keyspace<'_>,
        ranks: Range<u64>,
        direction: Direction,
        visit: &mut dyn FnMut(&[u8], f64),
    ) -> Result<()> {
        if ranks.is_empty() {
            return Ok(());
        }
        let (mut skip, mut missing) = (ranks.start, ranks.end - ranks.start);
        let (mut from, mut to) = (self.order_start(), self.order_end());
        // The first row wanted is found from the nearer end, or by the tree.
        let behind = self.len().saturating_sub(ranks.start + 1);
        if behind < skip || self.is_far(keyspace, skip) {
            let rank = if direction == Direction::Forward { skip } else { behind };
            let first = self.row_of_rank(keyspace, rank)?;
            skip = 0;
            match direction {
                Direction::Forward => from = first,
                Direction::Backward => to = after(first),
            }
        }
        self.scan_some(keyspace, (from, to), direction, skip + missing, &mut |_, member, score| {
            if skip > 0 {
                skip -= 1;
                return ControlFlow::Continue(());
            }
            visit(member, score);
            missing -= 1;
            if missing > 0 { ControlFlow::Continue(()) } else { ControlFlow::Break(()) }
        })?;
        // The reply's header has already said how many there are.
        if missing == 0 { Ok(()) } else { Err(damaged(self.collection.key())) }
    }

    /// Visits the members whose scores are in `range` behind the first `skip` of them, in `direction`, until `visit` breaks.
    pub fn each_score(
        &self,
        keyspace: &Keyspace<'_>,
        range: &ScoreRange,
        direction: Direction,
        mut skip: u64,
        visit: &mut dyn FnMut(&[u8], f64) -> ControlFlow<()>,
    ) -> Result<()> {
        let (mut from, mut to) = self.score_bounds(range);
        if self.is_far(keyspace, skip) {
            let Some(left) = self.skipping(keyspace, from, to, direction, skip)? else { return Ok(()) };
            ((from, to), skip) = left;
        }
        self.scan_order(keyspace, from, to, direction, &mut |_, member, score| match skip {
            0 => visit(member, score),
            _ => {
                skip -= 1;
                ControlFlow::Continue(())
            }
        })
    }

    /// The number of members whose scores are in `range`.
    pub fn count_scores(&self, keyspace: &Keyspace<'_>, range: &ScoreRange) -> Result<u64> {
        let (from, to) = self.score_bounds(range);
        self.rows_between(keyspace, &from, &to)
    }

    fn score_bounds(&self, range: &ScoreRange) -> (RowKey, RowKey) {
        let (start, end) = (self.order_start(), self.order_end());
        // What is open to an end has all rows there, which needs no counting.
        let is_open = |score: f64, is_exclusive: bool| score.is_infinite() && !is_exclusive;
        let from = match range.min {
            min if is_open(min, range.min_exclusive) && min < 0.0 => start,
            min => score_bound(min, range.min_exclusive).max(start),
        };
        let to = match range.max {
            max if is_open(max, range.max_exclusive) && max > 0.0 => end,
            max => score_bound(max, !range.max_exclusive).min(end),
        };
        (from, to)
    }

    /// Visits the members between `min` and `max` behind the first `skip` of them, in `direction`, until `visit` breaks.
    ///
    /// As in Redis this is meant for members of equal scores. Where scores differ, it visits the run of members from the
    /// first one (in the order of scores) past one bound to the first one past the other.
    pub fn each_lex(
        &self,
        keyspace: &Keyspace<'_>,
        (min, max): (LexBound<'_>, LexBound<'_>),
        direction: Direction,
        mut skip: u64,
        visit: &mut dyn FnMut(&[u8], f64) -> ControlFlow<()>,
    ) -> Result<()> {
        let (mut from, mut to) = (self.order_start(), self.order_end());
        if let Some(score) = self.common_score(keyspace)? {
            let Some(bounds) = self.lex_bounds(score, min, max) else { return Ok(()) };
            (from, to) = bounds;
            if self.is_far(keyspace, skip) {
                let Some(left) = self.skipping(keyspace, from, to, direction, skip)? else { return Ok(()) };
                ((from, to), skip) = left;
            }
        }
        let mut run = LexRun::new(min, max, direction);
        self.scan_order(keyspace, from, to, direction, &mut |_, member, score| {
            run.meet(member, || match skip {
                0 => visit(member, score),
                _ => {
                    skip -= 1;
                    ControlFlow::Continue(())
                }
            })
        })
    }

    /// The number of members between `min` and `max`, as [`SortedRows::each_lex`] visits them.
    pub fn count_lex(&self, keyspace: &Keyspace<'_>, min: LexBound<'_>, max: LexBound<'_>) -> Result<u64> {
        if self.ranks.is_some()
            && let Some(score) = self.common_score(keyspace)?
        {
            return match self.lex_bounds(score, min, max) {
                Some((from, to)) => self.rows_between(keyspace, &from, &to),
                None => Ok(0),
            };
        }
        let mut count = 0;
        self.each_lex(keyspace, (min, max), Direction::Forward, 0, &mut |_, _| {
            count += 1;
            ControlFlow::Continue(())
        })?;
        Ok(count)
    }

    /// The range of the order rows between `min` and `max`, if all members have this score; `None` if there are none.
    fn lex_bounds(&self, score: f64, min: LexBound<'_>, max: LexBound<'_>) -> Option<(RowKey, RowKey)> {
        let (mut from, mut to) = (self.order_start(), self.order_end());
        let order = |member: &[u8]| order_element(score, member);
        match min {
            LexBound::Lowest => {}
            LexBound::Highest => return None,
            LexBound::Included(member) => from = from.max(order(member)),
            LexBound::Excluded(member) => from = from.max(after(order(member))),
        }
        match max {
            LexBound::Highest => {}
            LexBound::Lowest => return None,
            LexBound::Included(member) => to = to.min(after(order(member))),
            LexBound::Excluded(member) => to = to.min(order(member)),
        }
        Some((from, to))
    }

    /// Stores the sorted set's size, or deletes the key if it is empty.
    pub fn save(&mut self, keyspace: &mut Keyspace<'_>) -> Result<()> {
        // What is renewed is small: it gets a tree when it has grown again.
        if self.removed.renew_below(keyspace, &mut self.collection, &[NODES])? {
            (self.lowest, self.highest, self.ranks) = (Vec::new(), Vec::new(), None);
        }
        match &mut self.ranks {
            Some(tree) if self.collection.size == 0 => tree.delete(keyspace, &self.collection),
            Some(tree) => tree.save(keyspace, &self.collection),
            None => {}
        }
        let mut fields = self.removed.bytes().to_vec();
        for bound in [&self.lowest, &self.highest] {
            fields.push(bound.len() as u8);
            fields.extend_from_slice(bound);
        }
        if let Some(tree) = &self.ranks {
            tree.write_fields(&mut fields);
        }
        self.collection.set_fields(&fields);
        keyspace.save(&mut self.collection);
        Ok(())
    }

    /// The score that all members have; `None` if they differ.
    fn common_score(&self, keyspace: &Keyspace<'_>) -> Result<Option<f64>> {
        let mut ends = [None, None];
        for (end, direction) in ends.iter_mut().zip([Direction::Forward, Direction::Backward]) {
            self.scan_order(keyspace, self.order_start(), self.order_end(), direction, &mut |_, _, score| {
                *end = Some(score);
                ControlFlow::Break(())
            })?;
        }
        Ok(if ends[0] == ends[1] { ends[0] } else { None })
    }

    /// Visits order rows in `from..to`.
    pub(super) fn scan_order(
        &self,
        keyspace: &Keyspace<'_>,
        from: RowKey,
        to: RowKey,
        direction: Direction,
        visit: VisitOrder<'_>,
    ) -> Result<()> {
        if from >= to {
            return Ok(());
        }
        let mut is_damaged = false;
        keyspace.scan_elements(
            &self.collection,
            Bound::Included(&from),
            Bound::Excluded(&to),
            direction,
            &mut |element, _| match read_order(element) {
                Some((score, member)) => visit(element, member, score),
                None => {
                    is_damaged = true;
                    ControlFlow::Break(())
                }
            },
        )?;
        if is_damaged { Err(damaged(self.collection.key())) } else { Ok(()) }
    }

    /// Removes these order rows, which ascend, or descend, and their members.
    pub(super) fn take_out(&mut self, keyspace: &mut Keyspace<'_>, orders: &[RowKey]) -> Result<()> {
        if orders.is_empty() {
            return Ok(());
        }
        self.tend_ranks(keyspace)?;
        self.count_out(keyspace, orders)?;
        for order in orders {
            keyspace.delete_element(&self.collection, order);
            keyspace.delete_element(&self.collection, &name_element(MEMBER, &order[ORDER_MEMBER_START..]));
            self.collection.size -= 1;
            self.removed.count(2);
        }
        Ok(())
    }

    /// Returns the lower bound for a scan of all order rows.
    pub(super) fn order_start(&self) -> RowKey {
        let mut from = RowKey::from_slice(&[ORDER]);
        from.extend_from_slice(&self.lowest);
        from
    }

    /// Returns the upper bound for a scan of all order rows.
    pub(super) fn order_end(&self) -> RowKey {
        if self.highest.is_empty() {
            return RowKey::from_slice(&[ORDER + 1]);
        }
        let mut to = RowKey::from_slice(&[ORDER]);
        to.extend_from_slice(&self.highest);
        to
    }

    /// Moves the bounds back so that `order` (kind left out) lies between them.
    fn widen(&mut self, order: &[u8]) {
        if order < &self.lowest[..] {
            self.lowest = order[..order.len().min(ORDER_BOUND_BYTES_MAX)].to_vec();
        }
        if !self.highest.is_empty() && order >= &self.highest[..] {
            self.highest = bound_above(order);
        }
    }

    /// Moves the bound of `end` to `order` (kind left out), the last row popped there.
    pub(super) fn narrow(&mut self, end: ScoreEnd, order: &[u8]) {
        match end {
            ScoreEnd::Lowest => self.lowest = order[..order.len().min(ORDER_BOUND_BYTES_MAX)].to_vec(),
            ScoreEnd::Highest => self.highest = bound_above(order),
        }
    }
}

/// The shortest useful bytes of bounded length that sort after `order`.
fn bound_above(order: &[u8]) -> Vec<u8> {
    if order.len() < ORDER_BOUND_BYTES_MAX {
        let mut bound = order.to_vec();
        bound.push(0);
        return bound;
    }
    // A score's first byte is never 0xFF (that would be NaN), so there is always a successor.
    after_prefix(&order[..ORDER_BOUND_BYTES_MAX]).to_vec()
}

/// The fields' parts: the rows removed, the two bounds, and the tree, of which nothing is there if there is none.
type FieldParts<'a> = (Removed, [&'a [u8]; 2], &'a [u8]);

fn read_fields(fields: &[u8]) -> Option<FieldParts<'_>> {
    let (removed, rest) = Removed::read(fields)?;
    let (lowest, rest) = read_bound(rest)?;
    let (highest, tree) = read_bound(rest)?;
    Some((removed, [lowest, highest], tree))
}

/// Returns whether the fields of a sorted set of rows are those of one with a tree of counts.
pub(super) fn has_tree(fields: &[u8]) -> bool {
    read_fields(fields).is_some_and(|(_, _, tree)| !tree.is_empty())
}

fn read_bound(fields: &[u8]) -> Option<(&[u8], &[u8])> {
    let (&length, rest) = fields.split_first()?;
    if length as usize > ORDER_BOUND_BYTES_MAX { None } else { rest.split_at_checked(length as usize) }
}

/// `score` as eight bytes that sort as numbers do.
pub(super) fn write_score(score: f64) -> [u8; 8] {
    let bits = (score + 0.0).to_bits();
    let sorted = if bits >> 63 == 0 { bits | (1 << 63) } else { !bits };
    sorted.to_be_bytes()
}

/// The score that [`write_score`] wrote; `None` for NaN, which it never writes.
pub(super) fn read_score(bytes: [u8; 8]) -> Option<f64> {
    let sorted = u64::from_be_bytes(bytes);
    let score = f64::from_bits(if sorted >> 63 == 1 { sorted & !(1 << 63) } else { !sorted });
    (!score.is_nan()).then_some(score)
}

/// The element bytes that keep `member` in its place.
pub(super) fn order_element(score: f64, member: &[u8]) -> RowKey {
    let mut element = RowKey::with_capacity(ORDER_MEMBER_START + member.len());
    element.push(ORDER);
    element.extend_from_slice(&write_score(score));
    element.extend_from_slice(member);
    element
}

fn read_order(element: &[u8]) -> Option<(f64, &[u8])> {
    let (score, member) = element.get(1..)?.split_first_chunk::<8>()?;
    Some((read_score(*score)?, member))
}

/// Returns the lower bound of the order rows of `score`, or of those after it.
fn score_bound(score: f64, is_after: bool) -> RowKey {
    let sorted = u64::from_be_bytes(write_score(score)) + u64::from(is_after);
    let mut element = RowKey::from_slice(&[ORDER]);
    element.extend_from_slice(&sorted.to_be_bytes());
    element
}

/// The first bytes after `element`.
pub(super) fn after(mut element: RowKey) -> RowKey {
    element.push(0);
    element
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::keyspace::meta::Type;
    use crate::keyspace::support::Shard;

    fn score() -> impl Strategy<Value = f64> {
        prop_oneof![
            4 => (-3..4i8).prop_map(f64::from),
            1 => any::<f64>().prop_filter("a score is a number", |score| !score.is_nan()),
            1 => Just(f64::INFINITY),
            1 => Just(-0.0),
        ]
    }

    proptest! {
        #[test]
        fn scores_sort_as_bytes(a in score(), b in score()) {
            prop_assert_eq!(write_score(a).cmp(&write_score(b)), a.partial_cmp(&b).unwrap());
            prop_assert_eq!(read_score(write_score(a)), Some(a));
        }
    }

    #[test]
    fn pops_move_the_bounds_and_insertions_move_them_back() {
        let mut shard = Shard::default();
        let mut keyspace = shard.keyspace();
        let mut sorted_set = SortedRows::new(keyspace.collection_or_new(b"k", Type::SortedSet).unwrap());
        for member in [b"a", b"b", b"c", b"d"] {
            sorted_set.insert(&mut keyspace, member, None, 1.0).unwrap();
        }
        sorted_set.pop(&mut keyspace, ScoreEnd::Lowest, 1, &mut |_, _| {}).unwrap();
        sorted_set.pop(&mut keyspace, ScoreEnd::Highest, 1, &mut |_, _| {}).unwrap();
        sorted_set.save(&mut keyspace).unwrap();
        let collection = keyspace.collection(b"k", Type::SortedSet).unwrap().unwrap();
        let mut sorted_set = SortedRows::read(collection).unwrap();
        assert_eq!(sorted_set.order_start(), order_element(1.0, b"a"));
        assert_eq!(sorted_set.order_end(), after(order_element(1.0, b"d")));
        sorted_set.insert(&mut keyspace, b"A", None, 1.0).unwrap();
        sorted_set.insert(&mut keyspace, b"z", None, 1.0).unwrap();
        let mut members: Vec<u8> = Vec::new();
        sorted_set.each_rank(&keyspace, 0..4, Direction::Forward, &mut |member, _| members.extend(member)).unwrap();
        assert_eq!(members, b"Abcz");
    }
}
