//! Ranks of members of sorted sets, and ranges that are removed.
//!
//! What a newcomer would get wrong: a range that begins at an end of the order leaves its tombstones there, as pops do, so it moves
//! that end's bound as well. Who trims a window of time again and again would otherwise walk over all that was ever in it.

use std::ops::{ControlFlow, Range};

use super::Keyspace;
use super::key::RowKey;
use super::meta::Type;
use super::renewal::Removed;
use super::sorted_sets::{LexBound, ScoreEnd, ScoreRange, SortedSet, after, order_element};
use crate::{Direction, Result};

impl Keyspace<'_> {
    /// A new empty sorted set that replaces whatever `key` holds once it is saved; saved empty, it deletes the key.
    ///
    /// # Errors
    /// As the look-up of the key.
    pub fn sorted_set_replacing(&mut self, key: &[u8]) -> Result<SortedSet> {
        let collection = self.replacement(key, Type::SortedSet)?;
        Ok(SortedSet { collection, removed: Removed::default(), lowest: Vec::new(), highest: Vec::new() })
    }
}

impl SortedSet {
    /// The number of members before `member` in `direction`; `None` if it is not there. Walks over all of them.
    ///
    /// # Errors
    /// As the reads.
    pub fn rank(&self, keyspace: &Keyspace<'_>, member: &[u8], direction: Direction) -> Result<Option<u64>> {
        let Some(score) = self.score(keyspace, member)? else { return Ok(None) };
        let order = order_element(score, member);
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
        self.each_score(keyspace, range, Direction::Forward, &mut |member, score| {
            orders.push(order_element(score, member));
            ControlFlow::Continue(())
        })?;
        self.remove_orders(keyspace, &orders)
    }

    /// Removes the members between `min` and `max`, as [`SortedSet::each_lex`] visits them, and returns how many they were.
    ///
    /// # Errors
    /// As the reads; nothing is removed then.
    pub fn remove_lex(&mut self, keyspace: &mut Keyspace<'_>, min: LexBound<'_>, max: LexBound<'_>) -> Result<u64> {
        let mut orders = Vec::new();
        self.each_lex(keyspace, min, max, Direction::Forward, &mut |member, score| {
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
        orders.iter().for_each(|order| self.remove_order(keyspace, order));
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

    /// Removes all members at once: [`SortedSet::save`] then deletes the key, which orphans their rows.
    fn remove_all(&mut self) -> u64 {
        std::mem::take(&mut self.collection.size)
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use proptest::prelude::*;

    use super::*;
    use crate::keyspace::support::Shard;

    type Model = BTreeSet<(i8, Vec<u8>)>;

    #[derive(Debug, Clone)]
    enum Step {
        Insert(Vec<u8>, i8),
        Ranks(u64, u64),
        Scores(i8, bool, i8, bool),
        Rank(Vec<u8>, bool),
    }

    fn step() -> impl Strategy<Value = Step> {
        let member = || (0..4u8, 0..3u8).prop_map(|(a, b)| [vec![0xFF; 18 + a as usize], vec![b]].concat());
        let score = || -3..4i8;
        prop_oneof![
            6 => (member(), score()).prop_map(|(member, score)| Step::Insert(member, score)),
            2 => (0..8u64, 0..4u64).prop_map(|(from, count)| Step::Ranks(from, count)),
            2 => (score(), any::<bool>(), score(), any::<bool>())
                .prop_map(|(min, above, max, below)| Step::Scores(min, above, max, below)),
            2 => (member(), any::<bool>()).prop_map(|(member, backward)| Step::Rank(member, backward)),
        ]
    }

    fn members(keyspace: &Keyspace<'_>) -> Model {
        let mut members = Model::new();
        if let Some(sorted_set) = keyspace.sorted_set(b"k").unwrap() {
            let all = 0..sorted_set.len();
            let visit = &mut |member: &[u8], score| {
                members.insert((score as i8, member.to_vec()));
            };
            sorted_set.each_rank(keyspace, all, Direction::Forward, visit).unwrap();
        }
        members
    }

    proptest! {
        #[test]
        fn ranges_go_and_ranks_are_places_in_the_order(steps in proptest::collection::vec(step(), 1..80)) {
            let (mut shard, mut model) = (Shard::default(), Model::new());
            for step in steps {
                let mut keyspace = shard.keyspace();
                let mut sorted_set = keyspace.sorted_set_or_new(b"k").unwrap();
                let mut removed: Model = Model::new();
                let mut count = 0;
                match step {
                    Step::Insert(member, score) => {
                        let old = sorted_set.score(&keyspace, &member).unwrap();
                        sorted_set.insert(&mut keyspace, &member, old, f64::from(score));
                        model.retain(|(_, other)| *other != member);
                        model.insert((score, member));
                    }
                    Step::Ranks(from, length) => {
                        let (from, to) = (from.min(sorted_set.len()), (from + length).min(sorted_set.len()));
                        removed = model.iter().skip(from as usize).take((to - from) as usize).cloned().collect();
                        count = sorted_set.remove_ranks(&mut keyspace, from..to).unwrap();
                    }
                    Step::Scores(min, above, max, below) => {
                        let is_in = |score: i8| {
                            (if above { score > min } else { score >= min }) && (if below { score < max } else { score <= max })
                        };
                        removed = model.iter().filter(|(score, _)| is_in(*score)).cloned().collect();
                        let range = ScoreRange {
                            min: f64::from(min), min_exclusive: above, max: f64::from(max), max_exclusive: below,
                        };
                        count = sorted_set.remove_scores(&mut keyspace, &range).unwrap();
                    }
                    Step::Rank(member, backward) => {
                        let place = model.iter().position(|(_, other)| *other == member);
                        let (expected, way) = match backward {
                            false => (place, Direction::Forward),
                            true => (place.map(|place| model.len() - 1 - place), Direction::Backward),
                        };
                        let rank = sorted_set.rank(&keyspace, &member, way).unwrap();
                        prop_assert_eq!(rank, expected.map(|rank| rank as u64));
                    }
                }
                prop_assert_eq!(count, removed.len() as u64);
                model.retain(|entry| !removed.contains(entry));
                sorted_set.save(&mut keyspace).unwrap();
                prop_assert_eq!(&members(&keyspace), &model);
                prop_assert_eq!(shard.element_count(b"k"), 2 * model.len());
            }
        }

        #[test]
        fn ranges_by_lex_go(
            members_there in proptest::collection::btree_set(proptest::collection::vec(0..3u8, 0..3), 1..12),
            min in proptest::collection::vec(0..3u8, 0..3),
            max in proptest::collection::vec(0..3u8, 0..3),
        ) {
            let mut shard = Shard::default();
            let mut keyspace = shard.keyspace();
            let mut sorted_set = keyspace.sorted_set_or_new(b"k").unwrap();
            for member in &members_there {
                sorted_set.insert(&mut keyspace, member, None, 5.0);
            }
            sorted_set.save(&mut keyspace).unwrap();
            let bounds = (LexBound::Excluded(&min), LexBound::Included(&max));
            let count = sorted_set.remove_lex(&mut keyspace, bounds.0, bounds.1).unwrap();
            sorted_set.save(&mut keyspace).unwrap();
            let left: Model = members_there.iter().filter(|member| !(**member > min && **member <= max)).map(|member| (5, member.clone())).collect();
            prop_assert_eq!(count as usize, members_there.len() - left.len());
            prop_assert_eq!(members(&keyspace), left);
        }
    }

    #[test]
    fn trimming_an_end_moves_its_bound_so_that_its_tombstones_are_walked_over_once() {
        let mut shard = Shard::default();
        let mut keyspace = shard.keyspace();
        let mut sorted_set = keyspace.sorted_set_or_new(b"k").unwrap();
        for score in 0..10u8 {
            sorted_set.insert(&mut keyspace, &[score], None, f64::from(score));
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
