//! Ranks of order rows, by the tree of counts where a sorted set has one (`rank_tree.rs`), and what keeps that tree right.
//!
//! What a newcomer would get wrong: all that is read for the tree is read before a command changes its first row, since a command
//! that meets the disk is run again from its beginning. So a block is split before the row that is too much for it is put.

use std::ops::ControlFlow;

use super::Keyspace;
use super::key::RowKey;
use super::keyspace::damaged;
use super::rank_tree::{Cut, Descent, RankTree, Target};
use super::sorted_rows::{ORDER, SortedRows, VisitOrder, after};
use crate::limits::{COLD_SCAN_ROW_BYTES_MIN, CUT_BYTES_MAX, LARGE_BLOCKS, UNCUT_BYTES_MAX};
use crate::{ColdRead, Direction, Error, Result};

impl SortedRows {
    // ---- finding ----

    /// The number of order rows that sort before `bound`.
    ///
    /// # Errors
    /// As the reads.
    pub(super) fn rows_before(&self, keyspace: &Keyspace<'_>, bound: &RowKey) -> Result<u64> {
        self.rows_between(keyspace, &self.order_start(), bound)
    }

    /// The number of order rows from `from` on that sort before `to`.
    ///
    /// # Errors
    /// As the reads.
    pub(super) fn rows_between(&self, keyspace: &Keyspace<'_>, from: &RowKey, to: &RowKey) -> Result<u64> {
        let Some(tree) = &self.ranks else { return self.walk(keyspace, from.clone(), to.clone(), None) };
        if from >= to {
            return Ok(0);
        }
        let (is_start, is_end) = (*from <= self.order_start(), *to >= self.order_end());
        let descend = |bound: &RowKey| tree.descend(keyspace, &self.collection, Target::Place(&bound[1..]));
        let first = if is_start { None } else { Some(descend(from)?) };
        let last = if is_end { None } else { Some(descend(to)?) };
        if let (Some(first), Some(last)) = (&first, &last)
            && first.steps == last.steps
        {
            return self.walk(keyspace, from.clone(), to.clone(), Some(first.count));
        }
        let before = |found: Option<Descent>, bound: &RowKey| {
            found.map(|found| Ok(found.before.saturating_add(self.rows_of_block_before(keyspace, &found, bound)?)))
        };
        let first = before(first, from).transpose()?.unwrap_or(0);
        let last = before(last, to).transpose()?.unwrap_or(self.len());
        Ok(last.saturating_sub(first))
    }

    /// The number of order rows of a block that sort before `bound`, which is in it. A block that is large, since it is still to be
    /// cut, is walked over from whichever end is nearer.
    fn rows_of_block_before(&self, keyspace: &Keyspace<'_>, found: &Descent, bound: &RowKey) -> Result<u64> {
        let (from, to) = self.block(found);
        if !self.is_large(keyspace, found) {
            return self.walk(keyspace, from, bound.clone(), Some(found.count));
        }
        // Which end is nearer shows only on the way: a few rows from either one, then more.
        let mut rows_max = LARGE_BLOCKS * keyspace.packing().counting.block_rows_max;
        loop {
            if let Some(rows) = self.walk_some(keyspace, (&from, bound), Direction::Forward, rows_max)? {
                return Ok(rows);
            }
            if let Some(rows) = self.walk_some(keyspace, (bound, &to), Direction::Backward, rows_max)? {
                return Ok(found.count.saturating_sub(rows));
            }
            rows_max = rows_max.saturating_mul(4);
        }
    }

    /// Returns whether a block has far more rows than one that is cut when it is full.
    fn is_large(&self, keyspace: &Keyspace<'_>, found: &Descent) -> bool {
        found.count > LARGE_BLOCKS * keyspace.packing().counting.block_rows_max
    }

    /// The number of order rows between two bounds, walked over in `direction`; `None` if there are more than `rows_max`.
    fn walk_some(
        &self,
        keyspace: &Keyspace<'_>,
        (from, to): (&RowKey, &RowKey),
        direction: Direction,
        rows_max: u64,
    ) -> Result<Option<u64>> {
        let mut count = 0;
        self.scan_some(keyspace, (from.clone(), to.clone()), direction, rows_max, &mut |_, _, _| {
            count += 1;
            if count <= rows_max { ControlFlow::Continue(()) } else { ControlFlow::Break(()) }
        })?;
        Ok((count <= rows_max).then_some(count))
    }

    /// The order row with `rank` others before it. Walks from the nearer end if it is near, or if there is no tree.
    ///
    /// # Errors
    /// As the reads; [`Error::Corruption`] if there is none.
    pub(super) fn row_of_rank(&self, keyspace: &Keyspace<'_>, rank: u64) -> Result<RowKey> {
        let (mut from, mut to, mut skip, mut behind) =
            (self.order_start(), self.order_end(), rank, self.len().saturating_sub(rank + 1));
        if let Some(tree) = self.ranks.as_ref().filter(|_| self.is_far(keyspace, skip.min(behind))) {
            let found = tree.descend(keyspace, &self.collection, Target::Rank(rank))?;
            skip = rank.saturating_sub(found.before);
            behind = found.count.saturating_sub(skip + 1);
            (from, to) = self.block(&found);
        }
        let direction = if skip <= behind { Direction::Forward } else { Direction::Backward };
        let (mut steps, mut row) = (skip.min(behind), None);
        self.scan_some(keyspace, (from, to), direction, steps + 1, &mut |element, _, _| {
            if steps > 0 {
                steps -= 1;
                return ControlFlow::Continue(());
            }
            row = Some(RowKey::from_slice(element));
            ControlFlow::Break(())
        })?;
        row.ok_or_else(|| damaged(self.collection.key()))
    }

    /// Returns whether so many order rows are better counted by the tree than walked over.
    pub(super) fn is_far(&self, keyspace: &Keyspace<'_>, rows: u64) -> bool {
        self.ranks.is_some() && rows > keyspace.packing().counting.block_rows_max
    }

    /// The rest of `from..to` behind the first `skip` order rows in `direction`, and how many of them are still to be skipped
    /// there; `None` if nothing is.
    ///
    /// # Errors
    /// As the reads.
    pub(super) fn skipping(
        &self,
        keyspace: &Keyspace<'_>,
        from: RowKey,
        to: RowKey,
        direction: Direction,
        skip: u64,
    ) -> Result<Option<((RowKey, RowKey), u64)>> {
        let Some(tree) = &self.ranks else { return Ok(Some(((from, to), skip))) };
        let target = match direction {
            Direction::Forward => Target::Place(&from[1..]),
            Direction::Backward if to >= self.order_end() => Target::End,
            Direction::Backward => Target::Place(&to[1..]),
        };
        let found = tree.descend(keyspace, &self.collection, target)?;
        // To learn where the first one is in a block that is still to be cut would take longer than to skip them.
        if self.is_large(keyspace, &found) && found.count > skip {
            return Ok(Some(((from, to), skip)));
        }
        let first = match direction {
            Direction::Forward => self.rows_before(keyspace, &from)?.checked_add(skip),
            Direction::Backward => self.rows_before(keyspace, &to)?.checked_sub(skip + 1),
        };
        let Some(first) = first.filter(|first| *first < self.len()) else { return Ok(None) };
        let row = self.row_of_rank(keyspace, first)?;
        Ok(match direction {
            Direction::Forward => (row < to).then_some(((row, to), 0)),
            Direction::Backward => (row >= from).then(|| ((from, after(row)), 0)),
        })
    }

    /// The range of order rows of a block.
    fn block(&self, found: &Descent) -> (RowKey, RowKey) {
        let place = |bound: &[u8]| {
            let mut row = RowKey::from_slice(&[ORDER]);
            row.extend_from_slice(bound);
            row
        };
        let (start, end) = (self.order_start(), self.order_end());
        let from = place(&found.lower).max(start);
        let to = found.upper.as_ref().map_or_else(|| end.clone(), |upper| place(upper).min(end.clone()));
        (from, to)
    }

    /// Counts the order rows in `from..to`, one by one; there are up to `rows_max` of them, if that is known.
    fn walk(&self, keyspace: &Keyspace<'_>, from: RowKey, to: RowKey, rows_max: Option<u64>) -> Result<u64> {
        let mut count = 0;
        self.scan_some(keyspace, (from, to), Direction::Forward, rows_max.unwrap_or(u64::MAX), &mut |_, _, _| {
            count += 1;
            ControlFlow::Continue(())
        })?;
        Ok(count)
    }

    /// Visits order rows, of which up to `rows` are wanted: if they are on disk, about so many are fetched.
    pub(super) fn scan_some(
        &self,
        keyspace: &Keyspace<'_>,
        (from, to): (RowKey, RowKey),
        direction: Direction,
        rows: u64,
        visit: VisitOrder<'_>,
    ) -> Result<()> {
        self.scan_order(keyspace, from, to, direction, visit).map_err(|error| match error {
            Error::Cold(ColdRead::Scan { from, direction, bytes }) => {
                let row_bytes = COLD_SCAN_ROW_BYTES_MIN.max(from.len());
                let wanted = usize::try_from(rows.saturating_add(1)).unwrap_or(usize::MAX).saturating_mul(row_bytes);
                Error::Cold(ColdRead::Scan { from, direction, bytes: bytes.min(wanted) })
            }
            error => error,
        })
    }

    // ---- keeping the tree ----

    /// Begins a tree, if the set has become large enough for one, and goes on with one that is being built.
    ///
    /// # Errors
    /// As the reads; nothing is to be saved then.
    pub(super) fn tend_ranks(&mut self, keyspace: &Keyspace<'_>) -> Result<()> {
        let counting = &keyspace.packing().counting;
        if self.ranks.is_none() && self.len() >= counting.members_min {
            self.ranks = Some(RankTree::new(self.len()));
        }
        // A command with many members builds as it goes, twice as fast as it may add to what is still to be cut.
        let rows_max = counting.block_rows_cut * counting.blocks_cut_max as u64 / 2;
        match &mut self.untended {
            Some(rows) if *rows < rows_max && !self.collection.is_new() => {
                *rows += 1;
                return Ok(());
            }
            untended => *untended = Some(0),
        }
        let Some(mut tree) = self.ranks.take_if(|tree| tree.is_building) else { return Ok(()) };
        let found = tree.descend(keyspace, &self.collection, Target::End)?;
        let cuts = if found.count > counting.block_rows_max { self.plan_cuts(keyspace, &found)? } else { Vec::new() };
        tree.is_building = !cuts.is_empty();
        for cut in cuts {
            let last = tree.descend(keyspace, &self.collection, Target::End)?;
            tree.split(keyspace, &self.collection, &last.steps, &cut, counting)?;
        }
        self.ranks = Some(tree);
        Ok(())
    }

    /// Counts the order row that is about to be put at `place` (kind left out).
    ///
    /// # Errors
    /// As the reads; nothing is to be saved then.
    pub(super) fn count_in(&mut self, keyspace: &Keyspace<'_>, place: &[u8]) -> Result<()> {
        let Some(mut tree) = self.ranks.take() else { return Ok(()) };
        let counting = &keyspace.packing().counting;
        let mut found = tree.descend(keyspace, &self.collection, Target::Place(place))?;
        if let Some(cut) = self.plan_split(keyspace, &tree, &found, place)? {
            tree.split(keyspace, &self.collection, &found.steps, &cut, counting)?;
            found = tree.descend(keyspace, &self.collection, Target::Place(place))?;
        }
        tree.add(keyspace, &self.collection, &found.steps, 1, counting)?;
        self.ranks = Some(tree);
        Ok(())
    }

    /// Takes order rows out of the counts that are about to be deleted; they ascend, or descend.
    ///
    /// # Errors
    /// As the reads; nothing is to be saved then.
    pub(super) fn count_out(&mut self, keyspace: &Keyspace<'_>, orders: &[RowKey]) -> Result<()> {
        let Some(mut tree) = self.ranks.take() else { return Ok(()) };
        let counting = &keyspace.packing().counting;
        let ascending: Vec<RowKey>;
        let mut rest = orders;
        if orders.first() > orders.last() {
            ascending = orders.iter().rev().cloned().collect();
            rest = &ascending;
        }
        while let Some(first) = rest.first() {
            let found = tree.descend(keyspace, &self.collection, Target::Place(&first[1..]))?;
            let count = match &found.upper {
                Some(upper) => rest.partition_point(|order| order[1..] < upper[..]),
                None => rest.len(),
            };
            tree.add(keyspace, &self.collection, &found.steps, -(count as i64), counting)?;
            tree.join(keyspace, &self.collection, &found.steps, counting)?;
            rest = &rest[count..];
        }
        self.ranks = Some(tree);
        Ok(())
    }

    /// Has the order row `old` counted at `new` from now on (kinds left in).
    ///
    /// # Errors
    /// As the reads; nothing is to be saved then.
    pub(super) fn count_moved(&mut self, keyspace: &Keyspace<'_>, old: &RowKey, new: &RowKey) -> Result<()> {
        let Some(tree) = &self.ranks else { return Ok(()) };
        // Most scores change by little.
        let from = tree.descend(keyspace, &self.collection, Target::Place(&old[1..]))?;
        let is_inside = new[1..] >= from.lower[..] && from.upper.as_ref().is_none_or(|upper| new[1..] < upper[..]);
        if is_inside {
            return Ok(());
        }
        // In this order: a split counts rows, and the old row is still there.
        self.count_in(keyspace, &new[1..])?;
        self.count_out(keyspace, std::slice::from_ref(old))
    }

    /// Returns whether a write changes counts: there is a tree, or one is about to be begun.
    pub(super) fn is_counted(&self, keyspace: &Keyspace<'_>) -> bool {
        self.ranks.is_some() || self.len() >= keyspace.packing().counting.members_min
    }

    /// Looks for what a write of a member will read of the tree. `old` is the place of its order row, `new` where that goes to.
    ///
    /// # Errors
    /// As the reads: [`Error::Cold`] with what is not in memory.
    pub(super) fn look_at_ranks(
        &self,
        keyspace: &Keyspace<'_>,
        old: Option<&RowKey>,
        new: Option<&RowKey>,
    ) -> Result<()> {
        let Some(tree) = &self.ranks else { return Ok(()) };
        if let Some(old) = old {
            tree.descend(keyspace, &self.collection, Target::Place(&old[1..]))?;
        }
        if let Some(new) = new {
            let found = tree.descend(keyspace, &self.collection, Target::Place(&new[1..]))?;
            self.plan_split(keyspace, tree, &found, &new[1..])?;
        }
        Ok(())
    }

    /// Looks for what a write will read to build the tree, as [`SortedRows::tend_ranks`] does.
    ///
    /// # Errors
    /// As the reads: [`Error::Cold`] with what is not in memory.
    pub(super) fn look_at_building(&self, keyspace: &Keyspace<'_>) -> Result<()> {
        let counting = &keyspace.packing().counting;
        let found = match &self.ranks {
            Some(tree) if tree.is_building => tree.descend(keyspace, &self.collection, Target::End)?,
            None if self.len() >= counting.members_min => Descent { count: self.len(), ..Descent::default() },
            _ => return Ok(()),
        };
        if found.count > counting.block_rows_max { self.plan_cuts(keyspace, &found).map(drop) } else { Ok(()) }
    }

    /// The cut by which a block becomes two before a row is put at `place`; `None` if it has room, or no place to be cut at.
    fn plan_split(
        &self,
        keyspace: &Keyspace<'_>,
        tree: &RankTree,
        found: &Descent,
        place: &[u8],
    ) -> Result<Option<Cut>> {
        let counting = &keyspace.packing().counting;
        let (rows_max, bytes_max) = (counting.block_rows_max, counting.separator_bytes_max);
        // One that cannot be cut is looked at again when it has grown by as many rows.
        if found.count < rows_max || !found.count.is_multiple_of(rows_max) {
            return Ok(None);
        }
        // What is being built is cut from the front on, so it stays the last block.
        if tree.is_building && found.is_last() {
            return Ok(None);
        }
        // One that could not be cut is not walked over to its middle.
        let ((from, to), middle) = (self.block(found), (found.count / 2).min(rows_max));
        // Who adds at an end goes on there: the rows behind stay together.
        if found.is_last() {
            let last = self.row_at(keyspace, (&from, &to), Direction::Backward)?;
            if last.as_ref().is_some_and(|last| last[1..] < *place) {
                let separator = last.and_then(|last| separator(&last[1..], place, bytes_max));
                return Ok(separator.map(|separator| Cut { separator, left: found.count }));
            }
        }
        if found.is_first() {
            let first = self.row_at(keyspace, (&from, &to), Direction::Forward)?;
            if first.as_ref().is_some_and(|first| *place < first[1..]) {
                let separator = first.and_then(|first| separator(place, &first[1..], bytes_max));
                return Ok(separator.map(|separator| Cut { separator, left: 0 }));
            }
        }
        let (mut cut, mut before, mut passed, mut bytes) = (None::<Cut>, None::<RowKey>, 0, 0);
        self.scan_some(keyspace, (from, to), Direction::Forward, middle + 2, &mut |element, _, _| {
            let row = &element[1..];
            let separator = before.as_ref().and_then(|before| separator(before, row, bytes_max));
            let is_nearer =
                cut.as_ref().is_none_or(|cut| passed <= middle || passed - middle < middle.saturating_sub(cut.left));
            if let Some(separator) = separator
                && is_nearer
            {
                cut = Some(Cut { separator, left: passed });
            }
            before = Some(RowKey::from_slice(row));
            (passed, bytes) = (passed + 1, bytes + row.len());
            let is_done = match &cut {
                Some(_) if bytes > CUT_BYTES_MAX => true,
                Some(cut) => passed > middle && (cut.left >= middle || passed - middle >= middle - cut.left),
                None => passed > 2 * rows_max || bytes > UNCUT_BYTES_MAX,
            };
            if is_done { ControlFlow::Break(()) } else { ControlFlow::Continue(()) }
        })?;
        Ok(cut)
    }

    /// The first blocks that are cut from the last one, which has not been counted row by row yet: each with what is behind it.
    fn plan_cuts(&self, keyspace: &Keyspace<'_>, found: &Descent) -> Result<Vec<Cut>> {
        let counting = &keyspace.packing().counting;
        let block_rows = counting.block_rows_cut;
        let visits_max = block_rows * (counting.blocks_cut_max as u64 + 1);
        let (mut cuts, mut before, mut passed, mut visited, mut bytes) = (Vec::new(), None::<RowKey>, 0, 0, 0);
        self.scan_some(keyspace, self.block(found), Direction::Forward, visits_max, &mut |element, _, _| {
            let row = &element[1..];
            let separator = match &before {
                Some(before) if passed >= block_rows || bytes > CUT_BYTES_MAX => {
                    separator(before, row, counting.separator_bytes_max)
                }
                _ => None,
            };
            if let Some(separator) = separator {
                cuts.push(Cut { separator, left: passed });
                (passed, bytes) = (0, 0);
            }
            before = Some(RowKey::from_slice(row));
            (passed, visited, bytes) = (passed + 1, visited + 1, bytes + row.len());
            let is_done = cuts.len() == counting.blocks_cut_max || visited == visits_max || bytes > UNCUT_BYTES_MAX;
            if is_done { ControlFlow::Break(()) } else { ControlFlow::Continue(()) }
        })?;
        Ok(cuts)
    }

    /// The first order row in `direction` between two bounds.
    pub(super) fn row_at(
        &self,
        keyspace: &Keyspace<'_>,
        (from, to): (&RowKey, &RowKey),
        direction: Direction,
    ) -> Result<Option<RowKey>> {
        let mut row = None;
        self.scan_some(keyspace, (from.clone(), to.clone()), direction, 1, &mut |element, _, _| {
            row = Some(RowKey::from_slice(element));
            ControlFlow::Break(())
        })?;
        Ok(row)
    }
}

/// The fewest first bytes of `right` that sort after `left`, which is before it; `None` if they are more than `bytes_max`.
fn separator(left: &[u8], right: &[u8], bytes_max: usize) -> Option<RowKey> {
    let same = left.iter().zip(right).take_while(|(left, right)| left == right).count();
    (same < right.len().min(bytes_max)).then(|| RowKey::from_slice(&right[..=same]))
}
