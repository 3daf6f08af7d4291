//! Ranks of members of sorted sets, and ranges that are removed.
//!
//! What a newcomer would get wrong: a range that begins at an end of the order leaves its tombstones there, as pops do, so it moves
//! that end's bound as well. Who trims a window of time again and again would otherwise walk over all that was ever in it.

use std::ops::{ControlFlow, Range};

use super::Keyspace;
use super::key::RowKey;
use super::sorted_rows::{SortedRows, after, order_element};
use super::sorted_sets::{LexBound, ScoreEnd, ScoreRange};
use crate::{Direction, Result};

impl SortedRows {
    /// The number of members before `member` in `direction`; `None` if it is not there. Walks over all of them if the set has no
    /// tree of counts.
    ///
    /// # Errors
    /// As the reads.
    pub fn rank(&self, keyspace: &Keyspace<'_>, member: &[u8], direction: Direction) -> Result<Option<u64>> {
        let Some(score) = self.score(keyspace, member)? else { return Ok(None) };
        let order = order_element(score, member);
        if self.ranks.is_some() {
            let before = self.rows_before(keyspace, &order)?;
            return Ok(Some(match direction {
                Direction::Forward => before,
                Direction::Backward => self.len().saturating_sub(before + 1),
            }));
        }
        let (from, to) = match direction {
            Direction::Forward => (self.order_start(), order),
            Direction::Backward => (after(order), self.order_end()),
        };
        let mut rank = 0;
        self.scan_order(keyspace, from, to, direction, &mut |_, _, _| {
            rank += 1;
            ControlFlow::Continue(())
        })?;
        Ok(Some(rank))
    }

    /// Removes the members of these ranks, which count from the lowest score, and returns how many they were.
    ///
    /// # Errors
    /// As the reads; nothing is removed then.
    pub fn remove_ranks(&mut self, keyspace: &mut Keyspace<'_>, ranks: Range<u64>) -> Result<u64> {
        let mut orders = Vec::new();
        if ranks != (0..self.len()) || self.len() == 1 {
            self.each_rank(keyspace, ranks, Direction::Forward, &mut |member, score| {
                orders.push(order_element(score, member));
            })?;
            return self.remove_orders(keyspace, &orders);
        }
        Ok(self.remove_all())
    }

    /// Removes the members whose scores are in `range`, and returns how many they were.
    ///
    /// # Errors
    /// As the reads; nothing is removed then.
    pub fn remove_scores(&mut self, keyspace: &mut Keyspace<'_>, range: &ScoreRange) -> Result<u64> {
        let mut orders = Vec::new();
        self.each_score(keyspace, range, Direction::Forward, 0, &mut |member, score| {
            orders.push(order_element(score, member));
            ControlFlow::Continue(())
        })?;
        self.remove_orders(keyspace, &orders)
    }

    /// Removes the members between `min` and `max`, as [`SortedRows::each_lex`] visits them, and returns how many they were.
    ///
    /// # Errors
    /// As the reads; nothing is removed then.
    pub fn remove_lex(&mut self, keyspace: &mut Keyspace<'_>, min: LexBound<'_>, max: LexBound<'_>) -> Result<u64> {
        let mut orders = Vec::new();
        self.each_lex(keyspace, (min, max), Direction::Forward, 0, &mut |member, score| {
            orders.push(order_element(score, member));
            ControlFlow::Continue(())
        })?;
        self.remove_orders(keyspace, &orders)
    }

    /// Removes these order rows, which follow each other, and their members.
    fn remove_orders(&mut self, keyspace: &mut Keyspace<'_>, orders: &[RowKey]) -> Result<u64> {
        let ([first, ..], [.., last]) = (orders, orders) else { return Ok(0) };
        // A whole sorted set goes with its metadata; only a single member is removed by hand (see `List::remove`).
        if orders.len() as u64 == self.len() && orders.len() > 1 {
            return Ok(self.remove_all());
        }
        let is_lowest = self.end(keyspace, Direction::Forward)?.as_ref() == Some(first);
        let is_highest = self.end(keyspace, Direction::Backward)?.as_ref() == Some(last);
        self.take_out(keyspace, orders)?;
        if is_lowest {
            self.narrow(ScoreEnd::Lowest, &last[1..]);
        }
        if is_highest {
            self.narrow(ScoreEnd::Highest, &first[1..]);
        }
        Ok(orders.len() as u64)
    }

    /// The first order row in `direction`.
    fn end(&self, keyspace: &Keyspace<'_>, direction: Direction) -> Result<Option<RowKey>> {
        let mut end = None;
        self.scan_order(keyspace, self.order_start(), self.order_end(), direction, &mut |element, _, _| {
            end = Some(RowKey::from_slice(element));
            ControlFlow::Break(())
        })?;
        Ok(end)
    }

    /// Removes all members at once: [`SortedRows::save`] then deletes the key, which orphans their rows.
    fn remove_all(&mut self) -> u64 {
        std::mem::take(&mut self.collection.size)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::keyspace::meta::Type;
    use crate::keyspace::support::Shard;

    #[test]
    fn trimming_an_end_moves_its_bound_so_that_its_tombstones_are_walked_over_once() {
        let mut shard = Shard::default();
        let mut keyspace = shard.keyspace();
        let mut sorted_set = SortedRows::new(keyspace.collection_or_new(b"k", Type::SortedSet).unwrap());
        for score in 0..10u8 {
            sorted_set.insert(&mut keyspace, &[score], None, f64::from(score)).unwrap();
        }
        let range = ScoreRange { min: f64::NEG_INFINITY, min_exclusive: false, max: 3.0, max_exclusive: false };
        assert_eq!(sorted_set.remove_scores(&mut keyspace, &range).unwrap(), 4);
        assert_eq!(sorted_set.order_start(), order_element(3.0, &[3]));
        assert_eq!(sorted_set.remove_ranks(&mut keyspace, 4..6).unwrap(), 2);
        assert_eq!(sorted_set.order_end(), after(order_element(8.0, &[8])));
        // In the middle nothing moves.
        assert_eq!(sorted_set.remove_ranks(&mut keyspace, 1..2).unwrap(), 1);
        assert_eq!(sorted_set.order_start(), order_element(3.0, &[3]));
        assert_eq!(sorted_set.len(), 3);
    }
}
