//! A small sorted set in one row: its members by score and, where scores are equal, by their bytes; see `packed.rs` for the row.
//!
//! ```text
//! element   [length][member …][length][score …]
//! score     a whole number up to 2^53 either way: its two's complement, big-endian, in as few bytes as it needs; zero in none
//!           any other: 8 bytes, as in the rows of `sorted_rows.rs`
//! ```
//!
//! What a newcomer would get wrong: each score has one form, so that replicas have the same bytes. Minus zero is stored as zero.

use std::ops::{ControlFlow, Range};

use smallvec::SmallVec;

use super::keyspace::damaged;
use super::packed::{Packed, encoded_bytes, read_string};
use super::sorted_rows::{read_score, write_score};
use super::sorted_sets::{Inserted, LexBound, LexRun, ScoreEnd, ScoreRange};
use crate::limits::PACKED_WHOLE_MAX;
use crate::{Direction, Result};

/// Bytes of a score that is no such number.
const SCORE_BYTES: usize = size_of::<f64>();

/// A sorted set that lies in one row.
#[derive(Debug)]
pub(super) struct PackedSortedSet {
    pub(super) packed: Packed,
}

/// One member, and where it lies among the bytes of elements.
#[derive(Debug, Clone, Copy)]
struct Entry<'a> {
    start: usize,
    end: usize,
    score: f64,
    member: &'a [u8],
}

/// A member that was looked for among the bytes of elements.
#[derive(Debug, Clone)]
pub(super) struct Sought {
    /// The bytes of the element that it has, and its score.
    former: Option<(Range<usize>, f64)>,
    /// The score that it is to get.
    score: f64,
    /// The byte at which it belongs with that.
    place: usize,
}

impl Sought {
    /// The score that it has.
    pub(super) fn old(&self) -> Option<f64> {
        self.former.as_ref().map(|(_, score)| *score)
    }
}

/// Members that follow each other, and are to go.
#[derive(Debug, Default)]
struct Run {
    at: Range<usize>,
    count: u64,
}

impl Run {
    /// Adds the next one, in either direction.
    fn add(&mut self, entry: &Entry<'_>) {
        self.at = match self.count {
            0 => entry.start..entry.end,
            _ => self.at.start.min(entry.start)..self.at.end.max(entry.end),
        };
        self.count += 1;
    }
}

impl PackedSortedSet {
    /// Returns the number of members.
    pub(super) fn len(&self) -> u64 {
        self.packed.len()
    }

    /// The score of `member`, if it is there.
    ///
    /// # Errors
    /// As all that follow: [`Error::Corruption`](crate::Error::Corruption) if members cannot be read.
    pub(super) fn score(&self, member: &[u8]) -> Result<Option<f64>> {
        let mut found = None;
        self.each(Direction::Forward, &mut |entry| {
            if entry.member != member {
                return ControlFlow::Continue(());
            }
            found = Some(entry.score);
            ControlFlow::Break(())
        })?;
        Ok(found)
    }

    /// Looks for `member`, and for its place with the score `score`, on one way through all members.
    pub(super) fn seek(&self, member: &[u8], score: f64) -> Result<Sought> {
        let elements = self.packed.elements();
        let (mut start, mut place, mut former) = (0, None, None);
        for _ in 0..self.packed.count {
            let entry = read_string(elements, start).and_then(|(name, value)| {
                let (value, end) = read_string(elements, value)?;
                Some((name, value, end))
            });
            let (name, value, end) = entry.ok_or_else(|| damaged(self.packed.key()))?;
            let is_it = former.is_none() && name == member;
            if is_it || place.is_none() {
                let other = read_packed_score(value).ok_or_else(|| damaged(self.packed.key()))?;
                if is_it {
                    former = Some((start..end, other));
                }
                if place.is_none() && (other > score || (other == score && name > member)) {
                    place = Some(start);
                }
                if place.is_some() && former.is_some() {
                    break;
                }
            }
            start = end;
        }
        Ok(Sought { former, score, place: place.unwrap_or(elements.len()) })
    }

    /// Gives `member`, which was looked for and not changed since, the score `score`.
    pub(super) fn put(&mut self, member: &[u8], sought: Sought, score: f64) -> Result<Inserted> {
        // The score that it is to get may follow from the one that it has.
        let Sought { former, mut place, .. } = if sought.score == score { sought } else { self.seek(member, score)? };
        match former {
            Some((_, old)) if old == score => Ok(Inserted::Same),
            Some((at, _)) => {
                if at.start < place {
                    place -= at.len();
                }
                self.take_out(Run { at, count: 1 });
                self.packed.insert(place, &[member, &packed_score(score)]);
                Ok(Inserted::Changed)
            }
            None => {
                self.packed.insert(place, &[member, &packed_score(score)]);
                Ok(Inserted::Added)
            }
        }
    }

    /// Gives `member` the score `score`; `old` is its present one. One that is said to be new is not looked for: a payload that has
    /// a member twice makes a set that has it twice.
    pub(super) fn insert(&mut self, member: &[u8], old: Option<f64>, score: f64) -> Result<Inserted> {
        if old == Some(score) {
            return Ok(Inserted::Same);
        }
        let (mut place, mut former) = (None, None);
        self.each(Direction::Forward, &mut |entry| {
            if place.is_none() && (entry.score > score || (entry.score == score && entry.member > member)) {
                place = Some(entry.start);
            }
            if old.is_some() && former.is_none() && entry.member == member {
                former = Some((entry.start..entry.end, entry.score));
            }
            let is_enough = place.is_some() && (old.is_none() || former.is_some());
            if is_enough { ControlFlow::Break(()) } else { ControlFlow::Continue(()) }
        })?;
        if old.is_some() && former.is_none() {
            return Err(damaged(self.packed.key()));
        }
        let place = place.unwrap_or(self.packed.elements().len());
        self.put(member, Sought { former, score, place }, score)
    }

    /// Removes `member` and says whether it was there.
    pub(super) fn remove(&mut self, member: &[u8]) -> Result<bool> {
        let mut run = Run::default();
        self.each(Direction::Forward, &mut |entry| {
            if entry.member != member {
                return ControlFlow::Continue(());
            }
            run.add(&entry);
            ControlFlow::Break(())
        })?;
        Ok(self.take_out(run) > 0)
    }

    /// Removes up to `count` members from `end` and visits them, with their scores, in the order of removal.
    pub(super) fn pop(&mut self, end: ScoreEnd, count: u64, visit: &mut dyn FnMut(&[u8], f64)) -> Result<()> {
        if count == 0 {
            return Ok(());
        }
        let mut run = Run::default();
        let direction = if end == ScoreEnd::Lowest { Direction::Forward } else { Direction::Backward };
        self.each(direction, &mut |entry| {
            visit(entry.member, entry.score);
            run.add(&entry);
            if run.count < count { ControlFlow::Continue(()) } else { ControlFlow::Break(()) }
        })?;
        self.take_out(run);
        Ok(())
    }

    /// Visits the members of the given ranks, which count along `direction`.
    pub(super) fn each_rank(
        &self,
        ranks: Range<u64>,
        direction: Direction,
        visit: &mut dyn FnMut(&[u8], f64),
    ) -> Result<()> {
        let mut rank = 0;
        if ranks.is_empty() {
            return Ok(());
        }
        self.each(direction, &mut |entry| {
            if rank >= ranks.start {
                visit(entry.member, entry.score);
            }
            rank += 1;
            if rank < ranks.end { ControlFlow::Continue(()) } else { ControlFlow::Break(()) }
        })?;
        if rank == ranks.end { Ok(()) } else { Err(damaged(self.packed.key())) }
    }

    /// Visits the members whose scores are in `range`, in `direction`, until `visit` breaks.
    pub(super) fn each_score(
        &self,
        range: &ScoreRange,
        direction: Direction,
        visit: &mut dyn FnMut(&[u8], f64) -> ControlFlow<()>,
    ) -> Result<()> {
        self.each_in_scores(range, direction, &mut |entry| visit(entry.member, entry.score))
    }

    /// Visits the members between `min` and `max`, in `direction`, until `visit` breaks.
    pub(super) fn each_lex(
        &self,
        min: LexBound<'_>,
        max: LexBound<'_>,
        direction: Direction,
        visit: &mut dyn FnMut(&[u8], f64) -> ControlFlow<()>,
    ) -> Result<()> {
        self.each_in_lex(min, max, direction, &mut |entry| visit(entry.member, entry.score))
    }

    /// The number of members before `member` in `direction`, if it is there.
    pub(super) fn rank(&self, member: &[u8], direction: Direction) -> Result<Option<u64>> {
        let (mut rank, mut is_there) = (0, false);
        self.each(Direction::Forward, &mut |entry| {
            is_there = entry.member == member;
            rank += u64::from(!is_there);
            if is_there { ControlFlow::Break(()) } else { ControlFlow::Continue(()) }
        })?;
        let rank = if direction == Direction::Forward || !is_there { rank } else { self.len() - 1 - rank };
        Ok(is_there.then_some(rank))
    }

    /// Removes the members of these ranks, and returns how many they were.
    pub(super) fn remove_ranks(&mut self, ranks: Range<u64>) -> Result<u64> {
        let (mut run, mut rank) = (Run::default(), 0);
        if ranks.is_empty() {
            return Ok(0);
        }
        self.each(Direction::Forward, &mut |entry| {
            if rank >= ranks.start {
                run.add(&entry);
            }
            rank += 1;
            if rank < ranks.end { ControlFlow::Continue(()) } else { ControlFlow::Break(()) }
        })?;
        if rank == ranks.end { Ok(self.take_out(run)) } else { Err(damaged(self.packed.key())) }
    }

    /// Removes the members whose scores are in `range`, and returns how many they were.
    pub(super) fn remove_scores(&mut self, range: &ScoreRange) -> Result<u64> {
        let mut run = Run::default();
        self.each_in_scores(range, Direction::Forward, &mut |entry| {
            run.add(&entry);
            ControlFlow::Continue(())
        })?;
        Ok(self.take_out(run))
    }

    /// Removes the members between `min` and `max`, and returns how many they were.
    pub(super) fn remove_lex(&mut self, min: LexBound<'_>, max: LexBound<'_>) -> Result<u64> {
        let mut run = Run::default();
        self.each_in_lex(min, max, Direction::Forward, &mut |entry| {
            run.add(&entry);
            ControlFlow::Continue(())
        })?;
        Ok(self.take_out(run))
    }

    /// Visits all members in `direction` until `visit` breaks.
    fn each(&self, direction: Direction, visit: &mut dyn FnMut(Entry<'_>) -> ControlFlow<()>) -> Result<()> {
        let mut end = 0;
        let mut entries = self.packed.strings().map_while(|(member, score)| {
            let start = end;
            end += encoded_bytes(member) + encoded_bytes(score);
            Some(Entry { start, end, score: read_packed_score(score)?, member })
        });
        if direction == Direction::Forward {
            for _ in 0..self.len() {
                if visit(entries.next().ok_or_else(|| damaged(self.packed.key()))?).is_break() {
                    break;
                }
            }
            return Ok(());
        }
        let entries: SmallVec<[Entry<'_>; 16]> = entries.collect();
        if entries.len() as u64 != self.len() {
            return Err(damaged(self.packed.key()));
        }
        let _ = entries.into_iter().rev().try_for_each(visit);
        Ok(())
    }

    fn each_in_scores(
        &self,
        range: &ScoreRange,
        direction: Direction,
        visit: &mut dyn FnMut(Entry<'_>) -> ControlFlow<()>,
    ) -> Result<()> {
        self.each(direction, &mut |entry| {
            let is_below = entry.score < range.min || (range.min_exclusive && entry.score == range.min);
            let is_above = entry.score > range.max || (range.max_exclusive && entry.score == range.max);
            let is_past = if direction == Direction::Forward { is_above } else { is_below };
            match is_below || is_above {
                true if is_past => ControlFlow::Break(()),
                true => ControlFlow::Continue(()),
                false => visit(entry),
            }
        })
    }

    fn each_in_lex(
        &self,
        min: LexBound<'_>,
        max: LexBound<'_>,
        direction: Direction,
        visit: &mut dyn FnMut(Entry<'_>) -> ControlFlow<()>,
    ) -> Result<()> {
        let mut run = LexRun::new(min, max, direction);
        self.each(direction, &mut |entry| run.meet(entry.member, || visit(entry)))
    }

    /// Removes `run`, and returns how many members it has.
    fn take_out(&mut self, run: Run) -> u64 {
        if run.count == 0 {
            return 0;
        }
        self.packed.splice(run.at, &[]);
        self.packed.count -= run.count as usize;
        run.count
    }
}

/// `score` as it lies in a row.
fn packed_score(score: f64) -> SmallVec<[u8; SCORE_BYTES]> {
    if score.trunc() != score || score.abs() > PACKED_WHOLE_MAX {
        return SmallVec::from_slice(&write_score(score));
    }
    let whole = score as i64;
    let bits = u64::BITS - (whole ^ (whole >> 63)).leading_zeros();
    let length = if whole == 0 { 0 } else { bits as usize / 8 + 1 };
    SmallVec::from_slice(&whole.to_be_bytes()[SCORE_BYTES - length..])
}

/// The score that lies in a row as `bytes`; `None` if it is none.
pub(super) fn read_packed_score(bytes: &[u8]) -> Option<f64> {
    match bytes {
        [] => Some(0.0),
        [first, ..] if bytes.len() < SCORE_BYTES => {
            let mut whole = if *first < 0x80 { [0; SCORE_BYTES] } else { [0xFF; SCORE_BYTES] };
            whole[SCORE_BYTES - bytes.len()..].copy_from_slice(bytes);
            Some(i64::from_be_bytes(whole) as f64)
        }
        _ => read_score(bytes.try_into().ok()?),
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::keyspace::key::Slot;
    use crate::keyspace::meta::{Prior, Type};

    fn sorted_set(count: usize, elements: &[u8]) -> PackedSortedSet {
        let prior = Prior::absent(Slot::of(b"k"));
        let mut packed = Packed::new(b"k", Type::SortedSet, prior);
        packed.splice_bytes(0..0, elements);
        packed.count = count;
        PackedSortedSet { packed }
    }

    fn filled(members: &[(&[u8], f64)]) -> PackedSortedSet {
        let mut sorted_set = sorted_set(0, b"");
        for (member, score) in members {
            assert_eq!(sorted_set.insert(member, None, *score).unwrap(), Inserted::Added);
        }
        sorted_set
    }

    proptest! {
        #[test]
        fn scores_are_read_as_they_were_written(score in any::<f64>(), whole in any::<i64>(), bits in 0..64u32) {
            for score in [score, (whole >> bits) as f64, (whole >> bits) as f64 / 2.0] {
                prop_assume!(!score.is_nan());
                let read = read_packed_score(&packed_score(score)).unwrap();
                prop_assert_eq!(read.to_bits(), (score + 0.0).to_bits());
            }
        }
    }

    #[test]
    fn scores_take_as_few_bytes_as_they_need() {
        let lengths = [
            0.0,
            -0.0,
            1.0,
            -1.0,
            127.0,
            -128.0,
            128.0,
            -129.0,
            32_767.0,
            32_768.0,
            PACKED_WHOLE_MAX,
            -PACKED_WHOLE_MAX,
        ];
        let lengths = lengths.map(|score| packed_score(score).len());
        assert_eq!(lengths, [0, 0, 1, 1, 1, 1, 2, 2, 2, 3, 7, 7]);
        assert_eq!([1.5, f64::INFINITY, PACKED_WHOLE_MAX * 2.0].map(|score| packed_score(score).len()), [8; 3]);
    }

    #[test]
    fn the_layout_is_the_documented_one() {
        let members: [(&[u8], f64); 6] =
            [(b"c", 1.0), (b"b", -1.0), (b"a", 1.0), (b"", 1.5), (b"z", -0.0), (b"y", 1000.0)];
        let expected = b"\x01b\x01\xFF\x01z\x00\x01a\x01\x01\x01c\x01\x01\x00\x08\xBF\xF8\0\0\0\0\0\0\x01y\x02\x03\xE8";
        assert_eq!(filled(&members).packed.elements(), expected);
    }

    #[test]
    fn the_ends_of_the_numbers_have_their_places() {
        let huge = PACKED_WHOLE_MAX * 2.0;
        let scores = [
            f64::NEG_INFINITY,
            f64::MIN,
            -huge,
            -PACKED_WHOLE_MAX,
            -1.5,
            0.0,
            5e-324,
            PACKED_WHOLE_MAX,
            huge,
            f64::INFINITY,
        ];
        let mut sorted_set = filled(&[]);
        for (index, score) in scores.iter().enumerate().rev() {
            sorted_set.insert(&[index as u8], None, *score).unwrap();
        }
        let mut found = Vec::new();
        sorted_set.each_rank(0..10, Direction::Forward, &mut |_, score| found.push(score)).unwrap();
        assert_eq!(found, scores);
    }

    #[test]
    fn what_cannot_be_read_is_said_to_be_so() {
        let nan = [b"\x01a\x08", &[0xFF; 8][..]].concat();
        for (count, elements) in
            [(2, &b"\x01a\x01\x02"[..]), (1, b"\x05a\x00"), (1, b"\x01a"), (1, b"\x01a\x02\x01"), (1, b""), (1, &nan)]
        {
            for way in [Direction::Forward, Direction::Backward] {
                let read = sorted_set(count, elements).each_rank(0..count as u64, way, &mut |_, _| ());
                assert!(read.is_err(), "{elements:?}");
            }
            assert!(sorted_set(count, elements).score(b"b").is_err());
            assert!(sorted_set(count, elements).rank(b"b", Direction::Forward).is_err());
            assert!(sorted_set(count, elements).insert(b"b", None, 5.0).is_err());
            assert!(sorted_set(count, elements).remove(b"b").is_err());
            assert!(sorted_set(count, elements).pop(ScoreEnd::Highest, 1, &mut |_, _| ()).is_err());
        }
        assert!(filled(&[(b"a", 1.0)]).insert(b"b", Some(2.0), 3.0).is_err(), "its old score is not there");
    }
}
