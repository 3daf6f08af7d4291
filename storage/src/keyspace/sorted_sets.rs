//! Sorted sets: in one row while they are small (`packed_sorted_set.rs`), with two rows for each member from then on
//! (`sorted_rows.rs`).
//!
//! What a newcomer would get wrong: a sorted set that has outgrown its row never goes back to it, however small it becomes, as in
//! Redis: one that grows and shrinks around the bound is written anew once.

use std::ops::{ControlFlow, Range};

use super::Keyspace;
use super::held::Held;
use super::meta::Type;
use super::packed_sorted_set::{self, PackedSortedSet, read_packed_score};
use super::sorted_rows::SortedRows;
use crate::{Direction, Result};

/// An end of a sorted set.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ScoreEnd {
    /// The lowest score.
    Lowest,
    /// The highest score.
    Highest,
}

/// Scores between two bounds, each of them exclusive or not.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct ScoreRange {
    /// The lower bound.
    pub min: f64,
    /// Set if `min` itself is left out.
    pub min_exclusive: bool,
    /// The upper bound.
    pub max: f64,
    /// Set if `max` itself is left out.
    pub max_exclusive: bool,
}

/// A bound of a range of members.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum LexBound<'a> {
    /// `-`: before every member.
    Lowest,
    /// `+`: after every member.
    Highest,
    /// `[member`.
    Included(&'a [u8]),
    /// `(member`.
    Excluded(&'a [u8]),
}

/// The outcome of [`SortedSet::insert`].
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Inserted {
    /// The member is new.
    Added,
    /// The member had another score.
    Changed,
    /// The member had this score.
    Same,
}

/// A member that was looked for by [`SortedSet::seek`].
#[derive(Debug)]
pub struct Sought {
    old: Option<f64>,
    /// The place that it has, or gets, in one row.
    packed: Option<packed_sorted_set::Sought>,
}

impl Sought {
    /// The score that it has; `None` if it is not there.
    pub fn old(&self) -> Option<f64> {
        self.old
    }
}

/// A sorted set, opened for one command. Changes to its size take effect with [`SortedSet::save`].
#[derive(Debug)]
pub struct SortedSet {
    form: Form,
}

#[derive(Debug)]
enum Form {
    Packed(PackedSortedSet),
    Rows(SortedRows),
}

impl Keyspace<'_> {
    /// The sorted set at `key`, unless the key is absent or expired.
    ///
    /// # Errors
    /// [`Error::WrongType`](crate::Error::WrongType) if the key holds another type.
    pub fn sorted_set(&self, key: &[u8]) -> Result<Option<SortedSet>> {
        self.held(key, Type::SortedSet)?.map(SortedSet::read).transpose()
    }

    /// The sorted set at `key`, or a new empty one.
    ///
    /// # Errors
    /// [`Error::WrongType`](crate::Error::WrongType) if the key holds another type.
    pub fn sorted_set_or_new(&mut self, key: &[u8]) -> Result<SortedSet> {
        self.held_or_new(key, Type::SortedSet).and_then(SortedSet::read)
    }

    /// A new empty sorted set that replaces whatever `key` holds once it is saved; saved empty, it deletes the key.
    ///
    /// # Errors
    /// As the look-up of the key.
    pub fn sorted_set_replacing(&mut self, key: &[u8]) -> Result<SortedSet> {
        self.held_replacing(key, Type::SortedSet).and_then(SortedSet::read)
    }
}

impl SortedSet {
    fn read(held: Held) -> Result<SortedSet> {
        let form = match held {
            Held::Packed(packed) => Form::Packed(PackedSortedSet { packed }),
            Held::Rows(collection) if collection.is_new() => Form::Rows(SortedRows::new(collection)),
            Held::Rows(collection) => Form::Rows(SortedRows::read(collection)?),
        };
        Ok(SortedSet { form })
    }

    /// The score beside a member, as [`Names`](super::Names) visit them; `None` if there is none.
    pub fn read_score(value: &[u8]) -> Option<f64> {
        read_packed_score(value)
    }

    /// Returns the number of members.
    pub fn len(&self) -> u64 {
        match &self.form {
            Form::Packed(packed) => packed.len(),
            Form::Rows(rows) => rows.len(),
        }
    }

    /// Returns whether there are none.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// Returns whether the sorted set is all in one row.
    pub fn is_packed(&self) -> bool {
        matches!(self.form, Form::Packed(_))
    }

    /// The score of `member`.
    ///
    /// # Errors
    /// As the reads.
    pub fn score(&self, keyspace: &Keyspace<'_>, member: &[u8]) -> Result<Option<f64>> {
        match &self.form {
            Form::Packed(packed) => packed.score(member),
            Form::Rows(rows) => rows.score(keyspace, member),
        }
    }

    /// Looks for `member`, which is to get the score `score`, or another one that follows from what it has: [`SortedSet::put`]
    /// finds its place then, without walking over the members of one row once more.
    ///
    /// # Errors
    /// As the reads.
    pub fn seek(&self, keyspace: &Keyspace<'_>, member: &[u8], score: f64) -> Result<Sought> {
        match &self.form {
            Form::Packed(packed) => {
                let sought = packed.seek(member, score)?;
                Ok(Sought { old: sought.old(), packed: Some(sought) })
            }
            Form::Rows(rows) => Ok(Sought { old: rows.score(keyspace, member)?, packed: None }),
        }
    }

    /// Gives `member`, which was `sought` and not changed since, the score `score`, which is not NaN.
    ///
    /// # Errors
    /// As the reads; nothing is to be saved then.
    pub fn put(&mut self, keyspace: &mut Keyspace<'_>, member: &[u8], sought: Sought, score: f64) -> Result<Inserted> {
        assert!(!score.is_nan(), "a score is a number");
        if sought.old.is_none() {
            self.make_room(keyspace, member)?;
        }
        match (&mut self.form, sought.packed) {
            (Form::Packed(packed), Some(place)) => packed.put(member, place, score),
            (Form::Packed(packed), None) => packed.insert(member, sought.old, score),
            // It may have got rows a moment ago.
            (Form::Rows(rows), _) => rows.insert(keyspace, member, sought.old, score),
        }
    }

    /// Gives `member` the score `score`, which is not NaN. `old` is its present score, from [`SortedSet::score`].
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
        if old.is_none() {
            self.make_room(keyspace, member)?;
        }
        match &mut self.form {
            Form::Packed(packed) => packed.insert(member, old, score),
            Form::Rows(rows) => rows.insert(keyspace, member, old, score),
        }
    }

    /// Removes `member` and says whether it was there.
    ///
    /// # Errors
    /// As the reads; nothing is to be saved then.
    pub fn remove(&mut self, keyspace: &mut Keyspace<'_>, member: &[u8]) -> Result<bool> {
        match &mut self.form {
            Form::Packed(packed) => packed.remove(member),
            Form::Rows(rows) => rows.remove(keyspace, member),
        }
    }

    /// Removes up to `count` members from `end` and visits them, with their scores, in the order of removal.
    ///
    /// # Errors
    /// As the reads; nothing is to be saved then.
    pub fn pop(
        &mut self,
        keyspace: &mut Keyspace<'_>,
        end: ScoreEnd,
        count: u64,
        visit: &mut dyn FnMut(&[u8], f64),
    ) -> Result<()> {
        match &mut self.form {
            Form::Packed(packed) => packed.pop(end, count, visit),
            Form::Rows(rows) => rows.pop(keyspace, end, count, visit),
        }
    }

    /// Visits the members of the given ranks with their scores; ranks count along `direction`, as the visits go.
    ///
    /// # Errors
    /// As the reads.
    pub fn each_rank(
        &self,
        keyspace: &Keyspace<'_>,
        ranks: Range<u64>,
        direction: Direction,
        visit: &mut dyn FnMut(&[u8], f64),
    ) -> Result<()> {
        match &self.form {
            Form::Packed(packed) => packed.each_rank(ranks, direction, visit),
            Form::Rows(rows) => rows.each_rank(keyspace, ranks, direction, visit),
        }
    }

    /// Visits the members whose scores are in `range` behind the first `skip` of them, in `direction`, until `visit` breaks.
    ///
    /// # Errors
    /// As the reads.
    pub fn each_score(
        &self,
        keyspace: &Keyspace<'_>,
        range: &ScoreRange,
        direction: Direction,
        skip: u64,
        visit: &mut dyn FnMut(&[u8], f64) -> ControlFlow<()>,
    ) -> Result<()> {
        match &self.form {
            Form::Packed(packed) => packed.each_score(range, direction, &mut skipping(skip, visit)),
            Form::Rows(rows) => rows.each_score(keyspace, range, direction, skip, visit),
        }
    }

    /// The number of members whose scores are in `range`. Walks over them if they are in one row, or not counted yet.
    ///
    /// # Errors
    /// As the reads.
    pub fn count_scores(&self, keyspace: &Keyspace<'_>, range: &ScoreRange) -> Result<u64> {
        match &self.form {
            Form::Packed(packed) => {
                let mut count = 0;
                packed.each_score(range, Direction::Forward, &mut |_, _| {
                    count += 1;
                    ControlFlow::Continue(())
                })?;
                Ok(count)
            }
            Form::Rows(rows) => rows.count_scores(keyspace, range),
        }
    }

    /// Visits the members between two bounds behind the first `skip` of them, in `direction`, until `visit` breaks.
    ///
    /// As in Redis this is meant for members of equal scores. Where scores differ, it visits the run of members from the
    /// first one (in the order of scores) past one bound to the first one past the other.
    ///
    /// # Errors
    /// As the reads.
    pub fn each_lex(
        &self,
        keyspace: &Keyspace<'_>,
        (min, max): (LexBound<'_>, LexBound<'_>),
        direction: Direction,
        skip: u64,
        visit: &mut dyn FnMut(&[u8], f64) -> ControlFlow<()>,
    ) -> Result<()> {
        match &self.form {
            Form::Packed(packed) => packed.each_lex(min, max, direction, &mut skipping(skip, visit)),
            Form::Rows(rows) => rows.each_lex(keyspace, (min, max), direction, skip, visit),
        }
    }

    /// The number of members between `min` and `max`, as [`SortedSet::each_lex`] visits them.
    ///
    /// # Errors
    /// As the reads.
    pub fn count_lex(&self, keyspace: &Keyspace<'_>, min: LexBound<'_>, max: LexBound<'_>) -> Result<u64> {
        match &self.form {
            Form::Packed(packed) => {
                let mut count = 0;
                packed.each_lex(min, max, Direction::Forward, &mut |_, _| {
                    count += 1;
                    ControlFlow::Continue(())
                })?;
                Ok(count)
            }
            Form::Rows(rows) => rows.count_lex(keyspace, min, max),
        }
    }

    /// The number of members before `member` in `direction`; `None` if it is not there. Walks over them if they are not counted
    /// yet.
    ///
    /// # Errors
    /// As the reads.
    pub fn rank(&self, keyspace: &Keyspace<'_>, member: &[u8], direction: Direction) -> Result<Option<u64>> {
        match &self.form {
            Form::Packed(packed) => packed.rank(member, direction),
            Form::Rows(rows) => rows.rank(keyspace, member, direction),
        }
    }

    /// Removes the members of these ranks, which count from the lowest score, and returns how many they were.
    ///
    /// # Errors
    /// As the reads; nothing is removed then.
    pub fn remove_ranks(&mut self, keyspace: &mut Keyspace<'_>, ranks: Range<u64>) -> Result<u64> {
        match &mut self.form {
            Form::Packed(packed) => packed.remove_ranks(ranks),
            Form::Rows(rows) => rows.remove_ranks(keyspace, ranks),
        }
    }

    /// Removes the members whose scores are in `range`, and returns how many they were.
    ///
    /// # Errors
    /// As the reads; nothing is removed then.
    pub fn remove_scores(&mut self, keyspace: &mut Keyspace<'_>, range: &ScoreRange) -> Result<u64> {
        match &mut self.form {
            Form::Packed(packed) => packed.remove_scores(range),
            Form::Rows(rows) => rows.remove_scores(keyspace, range),
        }
    }

    /// Removes the members between `min` and `max`, as [`SortedSet::each_lex`] visits them, and returns how many they were.
    ///
    /// # Errors
    /// As the reads; nothing is removed then.
    pub fn remove_lex(&mut self, keyspace: &mut Keyspace<'_>, min: LexBound<'_>, max: LexBound<'_>) -> Result<u64> {
        match &mut self.form {
            Form::Packed(packed) => packed.remove_lex(min, max),
            Form::Rows(rows) => rows.remove_lex(keyspace, min, max),
        }
    }

    /// Stores the sorted set's size, or deletes the key if it is empty.
    ///
    /// # Errors
    /// As the reads: what has become small is written anew (see `renewal.rs`).
    pub fn save(&mut self, keyspace: &mut Keyspace<'_>) -> Result<()> {
        match &mut self.form {
            Form::Packed(packed) => {
                keyspace.save_packed(&mut packed.packed);
                Ok(())
            }
            Form::Rows(rows) => rows.save(keyspace),
        }
    }

    /// Gives the sorted set rows of its own, if it has none and `member`, which is new, is too much for one.
    fn make_room(&mut self, keyspace: &mut Keyspace<'_>, member: &[u8]) -> Result<()> {
        let Form::Packed(sorted_set) = &self.form else { return Ok(()) };
        let packing = keyspace.packing();
        let has_room = sorted_set.len() < packing.sorted_set_members_max as u64;
        if has_room && member.len() <= packing.string_bytes_max {
            return Ok(());
        }
        let mut rows = SortedRows::new(keyspace.unpacked(&sorted_set.packed));
        let mut done = Ok(());
        sorted_set.each_rank(0..sorted_set.len(), Direction::Forward, &mut |member, score| {
            if done.is_ok() {
                done = rows.insert(keyspace, member, None, score).map(drop);
            }
        })?;
        self.form = Form::Rows(rows);
        done
    }
}

/// Visits none of the first `skip` members.
fn skipping(
    mut skip: u64,
    visit: &mut dyn FnMut(&[u8], f64) -> ControlFlow<()>,
) -> impl FnMut(&[u8], f64) -> ControlFlow<()> {
    move |member, score| match skip {
        0 => visit(member, score),
        _ => {
            skip -= 1;
            ControlFlow::Continue(())
        }
    }
}

/// A range of members by their bytes, met one by one in the order of a sorted set, or against it.
///
/// If scores differ, members are not in the order of their bytes: then it is the run from the first one past the near bound to
/// the first one past the far bound.
pub(super) struct LexRun<'a> {
    min: LexBound<'a>,
    max: LexBound<'a>,
    direction: Direction,
    has_begun: bool,
}

impl<'a> LexRun<'a> {
    pub(super) fn new(min: LexBound<'a>, max: LexBound<'a>, direction: Direction) -> LexRun<'a> {
        LexRun { min, max, direction, has_begun: false }
    }

    /// Meets the next member, and visits it if it is in the range; breaks behind the range.
    pub(super) fn meet(&mut self, member: &[u8], visit: impl FnOnce() -> ControlFlow<()>) -> ControlFlow<()> {
        let (past_min, past_max) = (is_past(member, self.min), !is_before(member, self.max));
        let (past_near, past_far) = match self.direction {
            Direction::Forward => (past_min, past_max),
            Direction::Backward => (!past_max, !past_min),
        };
        self.has_begun |= past_near;
        match (self.has_begun, past_far) {
            (false, _) => ControlFlow::Continue(()),
            (true, true) => ControlFlow::Break(()),
            (true, false) => visit(),
        }
    }
}

/// Returns whether `member` satisfies the lower bound `min`.
pub(super) fn is_past(member: &[u8], min: LexBound<'_>) -> bool {
    match min {
        LexBound::Lowest => true,
        LexBound::Highest => false,
        LexBound::Included(bound) => member >= bound,
        LexBound::Excluded(bound) => member > bound,
    }
}

/// Returns whether `member` satisfies the upper bound `max`.
pub(super) fn is_before(member: &[u8], max: LexBound<'_>) -> bool {
    match max {
        LexBound::Lowest => false,
        LexBound::Highest => true,
        LexBound::Included(bound) => member <= bound,
        LexBound::Excluded(bound) => member < bound,
    }
}
