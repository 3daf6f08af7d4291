//! Sorted sets against a plain map, over the bounds up to which they are packed and back.

use std::collections::BTreeMap;
use std::ops::ControlFlow;

use proptest::prelude::*;

use super::sorted_sets::{is_before, is_past};
use super::support::Shard;
use super::{Inserted, LexBound, Packing, ScoreEnd, ScoreRange, Serialized, SortedSet, Type};
use crate::Direction;

/// Bounds that are soon reached.
static TINY: Packing = Packing { sorted_set_members_max: 4, string_bytes_max: 21, ..Packing::STANDARD };

#[derive(Debug, Clone)]
enum Step {
    Insert(Vec<(Vec<u8>, f64)>),
    Remove(Vec<u8>),
    Pop(ScoreEnd, u64),
    Ranks(u64, u64, Direction),
    Scores(ScoreRange, Direction, u64),
    Rank(Vec<u8>, Direction),
    RemoveRanks(u64, u64),
    RemoveScores(ScoreRange),
    Names,
    Copy,
    Carry,
}

fn score() -> impl Strategy<Value = f64> {
    prop_oneof![
        4 => (-3..4i8).prop_map(f64::from),
        1 => any::<f64>().prop_filter("a score is a number", |score| !score.is_nan()),
        1 => Just(f64::INFINITY),
        1 => Just(-0.0),
    ]
}

fn step() -> impl Strategy<Value = Step> {
    // Long members, so that the bounds of rows are cut, some of them too long to be packed.
    let member = || (0..4u8, 0..3u8).prop_map(|(a, b)| [vec![0xFF; 18 + a as usize], vec![b]].concat());
    let direction = || prop_oneof![Just(Direction::Forward), Just(Direction::Backward)];
    let end = prop_oneof![Just(ScoreEnd::Lowest), Just(ScoreEnd::Highest)];
    let range = || {
        (score(), any::<bool>(), score(), any::<bool>())
            .prop_map(|(min, min_exclusive, max, max_exclusive)| ScoreRange { min, min_exclusive, max, max_exclusive })
    };
    let pairs = || proptest::collection::vec((member(), score()), 1..3);
    prop_oneof![
        6 => pairs().prop_map(Step::Insert),
        2 => member().prop_map(Step::Remove),
        2 => (end, 0..4u64).prop_map(|(end, count)| Step::Pop(end, count)),
        2 => (0..6u64, 0..6u64, direction()).prop_map(|(from, count, way)| Step::Ranks(from, count, way)),
        2 => (range(), direction(), 1..5u64).prop_map(|(range, way, count)| Step::Scores(range, way, count)),
        2 => (member(), direction()).prop_map(|(member, way)| Step::Rank(member, way)),
        1 => (0..8u64, 0..4u64).prop_map(|(from, count)| Step::RemoveRanks(from, count)),
        1 => range().prop_map(Step::RemoveScores),
        1 => Just(Step::Names),
        1 => Just(Step::Copy),
        1 => Just(Step::Carry),
    ]
}

type Model = BTreeMap<Vec<u8>, f64>;
type Members = Vec<(f64, Vec<u8>)>;

/// The model's members in order, seen in `direction`.
fn ordered(model: &Model, direction: Direction) -> Members {
    let mut members: Members = model.iter().map(|(member, score)| (*score + 0.0, member.clone())).collect();
    members.sort_by(|a, b| a.partial_cmp(b).unwrap());
    if direction == Direction::Backward {
        members.reverse();
    }
    members
}

fn is_in(range: &ScoreRange, score: f64) -> bool {
    let past_min = if range.min_exclusive { score > range.min } else { score >= range.min };
    past_min && if range.max_exclusive { score < range.max } else { score <= range.max }
}

/// The members with their scores as bits, so that a minus zero shows.
fn read(shard: &mut Shard, key: &[u8]) -> Vec<(u64, Vec<u8>)> {
    let keyspace = shard.keyspace();
    let mut read = Vec::new();
    if let Some(sorted_set) = keyspace.sorted_set(key).unwrap() {
        let visit = &mut |member: &[u8], score: f64| read.push((score.to_bits(), member.to_vec()));
        sorted_set.each_rank(&keyspace, 0..sorted_set.len(), Direction::Forward, visit).unwrap();
    }
    read
}

/// Takes a step, and says whether the sorted set has got a member that is too much for one row.
fn take(shard: &mut Shard, model: &mut Model, step: Step, packing: &Packing) -> bool {
    let mut keyspace = shard.keyspace();
    let mut sorted_set: SortedSet = keyspace.sorted_set_or_new(b"k").unwrap();
    let (length, before) = (sorted_set.len(), model.len());
    assert_eq!(length, before as u64);
    let mut is_too_much = false;
    match step {
        Step::Insert(pairs) => {
            for (member, score) in pairs {
                let old = sorted_set.score(&keyspace, &member).unwrap();
                assert_eq!(old, model.get(&member).copied());
                let inserted = match member.len() % 3 {
                    0 => sorted_set.insert(&mut keyspace, &member, old, score).unwrap(),
                    // Its place is looked for with the score that it gets, or with another one.
                    rest => {
                        let sought = if rest == 1 { score } else { 0.5 };
                        let sought = sorted_set.seek(&keyspace, &member, sought).unwrap();
                        assert_eq!(sought.old(), old);
                        sorted_set.put(&mut keyspace, &member, sought, score).unwrap()
                    }
                };
                let is_long = member.len() > packing.string_bytes_max;
                let expected = match model.insert(member, score) {
                    None => Inserted::Added,
                    Some(old) if old == score => Inserted::Same,
                    Some(_) => Inserted::Changed,
                };
                assert_eq!(inserted, expected);
                is_too_much |= is_long || model.len() > packing.sorted_set_members_max;
            }
        }
        Step::Remove(member) => {
            let existed = sorted_set.remove(&mut keyspace, &member).unwrap();
            assert_eq!(existed, model.remove(&member).is_some());
        }
        Step::Pop(end, count) => {
            let mut popped = Members::new();
            let visit = &mut |member: &[u8], score: f64| popped.push((score, member.to_vec()));
            sorted_set.pop(&mut keyspace, end, count, visit).unwrap();
            let way = if end == ScoreEnd::Lowest { Direction::Forward } else { Direction::Backward };
            let mut expected = ordered(model, way);
            expected.truncate(count as usize);
            model.retain(|member, _| !expected.iter().any(|(_, popped)| popped == member));
            assert_eq!(popped, expected);
        }
        Step::Ranks(from, count, way) => {
            let (from, to) = (from.min(length), (from + count).min(length));
            let mut read = Members::new();
            let visit = &mut |member: &[u8], score: f64| read.push((score, member.to_vec()));
            sorted_set.each_rank(&keyspace, from..to, way, visit).unwrap();
            assert_eq!(read[..], ordered(model, way)[from as usize..to as usize]);
        }
        Step::Scores(range, way, count) => {
            let mut read = Members::new();
            let visit = &mut |member: &[u8], score: f64| {
                read.push((score, member.to_vec()));
                if read.len() < count as usize { ControlFlow::Continue(()) } else { ControlFlow::Break(()) }
            };
            sorted_set.each_score(&keyspace, &range, way, 0, visit).unwrap();
            let mut expected = ordered(model, way);
            expected.retain(|(score, _)| is_in(&range, *score));
            expected.truncate(count as usize);
            assert_eq!(read, expected);
        }
        Step::Rank(member, way) => {
            let expected = ordered(model, way).iter().position(|(_, other)| *other == member);
            let rank = sorted_set.rank(&keyspace, &member, way).unwrap();
            assert_eq!(rank, expected.map(|rank| rank as u64));
        }
        Step::RemoveRanks(from, count) => {
            let (from, to) = (from.min(length), (from + count).min(length));
            let gone = ordered(model, Direction::Forward)[from as usize..to as usize].to_vec();
            assert_eq!(sorted_set.remove_ranks(&mut keyspace, from..to).unwrap(), to - from);
            model.retain(|member, _| !gone.iter().any(|(_, other)| other == member));
        }
        Step::RemoveScores(range) => {
            model.retain(|_, score| !is_in(&range, *score));
            let removed = sorted_set.remove_scores(&mut keyspace, &range).unwrap();
            assert_eq!(removed as usize, before - model.len());
        }
        Step::Names => {
            let mut read = Model::new();
            if let Some(names) = keyspace.names(b"k", Type::SortedSet).unwrap() {
                let visit = &mut |name: &[u8], value: &[u8]| {
                    assert!(read.insert(name.to_vec(), SortedSet::read_score(value).unwrap()).is_none(), "twice");
                    Ok(ControlFlow::Continue(()))
                };
                assert_eq!(names.page(&keyspace, 0, visit).unwrap(), None);
            }
            assert_eq!(read, *model);
            return false;
        }
        Step::Copy => {
            assert_eq!(keyspace.copy_key(b"k", 0, b"copy").unwrap(), !model.is_empty());
            return false;
        }
        Step::Carry => {
            match keyspace.serialize(b"k", usize::MAX).unwrap() {
                Serialized::Bytes(bytes) => assert!(keyspace.restore(b"copy", &bytes).unwrap()),
                other => assert_eq!((other, model.len()), (Serialized::Absent, 0)),
            }
            return false;
        }
    }
    sorted_set.save(&mut keyspace).unwrap();
    is_too_much
}

proptest! {
    #[test]
    fn a_sorted_set_is_a_map_that_is_sorted_by_score_however_it_is_kept(
        steps in proptest::collection::vec(step(), 1..80),
        kept in 0..3usize,
    ) {
        let packing = [&Packing::NONE, &TINY, &Packing::STANDARD][kept];
        let (mut shard, mut model, mut is_packed) = (Shard::packing(packing), Model::new(), true);
        for step in steps {
            let is_copied = matches!(step, Step::Copy | Step::Carry) && !model.is_empty();
            is_packed &= !take(&mut shard, &mut model, step, packing);
            // Whatever has outgrown its row stays so until it is gone.
            is_packed |= model.is_empty();
            let rows = if is_packed && kept > 0 { 0 } else { 2 * model.len() };
            let expected: Vec<_> =
                ordered(&model, Direction::Forward).into_iter().map(|(score, member)| (score.to_bits(), member)).collect();
            for key in [&b"k"[..], b"copy"].iter().take(if is_copied { 2 } else { 1 }) {
                prop_assert_eq!(&read(&mut shard, key), &expected);
                prop_assert_eq!(shard.keyspace().exists(key).unwrap(), !model.is_empty());
                prop_assert_eq!(shard.element_count(key), rows);
            }
        }
    }

    #[test]
    fn members_of_equal_score_are_ranged_by_lex(
        members in proptest::collection::btree_set(proptest::collection::vec(0..3u8, 0..3), 0..12),
        bounds in any::<[(u8, [u8; 2]); 2]>(),
        kept in 0..3usize,
    ) {
        let mut shard = Shard::packing([&Packing::NONE, &TINY, &Packing::STANDARD][kept]);
        let mut keyspace = shard.keyspace();
        let mut sorted_set = keyspace.sorted_set_or_new(b"k").unwrap();
        for member in &members {
            sorted_set.insert(&mut keyspace, member, None, -1.5).unwrap();
        }
        let bounds = bounds.map(|(kind, bytes)| (kind % 4, bytes.map(|byte| byte % 3)));
        let [min, max] = [&bounds[0], &bounds[1]].map(|(kind, bytes)| match kind {
            0 => LexBound::Lowest,
            1 => LexBound::Highest,
            2 => LexBound::Included(&bytes[..]),
            _ => LexBound::Excluded(&bytes[..]),
        });
        let expected: Vec<_> =
            members.iter().filter(|member| is_past(member, min) && is_before(member, max)).cloned().collect();
        for way in [Direction::Forward, Direction::Backward] {
            let mut read: Vec<Vec<u8>> = Vec::new();
            sorted_set.each_lex(&keyspace, (min, max), way, 0, &mut |member, _| {
                read.push(member.to_vec());
                ControlFlow::Continue(())
            }).unwrap();
            if way == Direction::Backward {
                read.reverse();
            }
            prop_assert_eq!(&read, &expected);
        }
        prop_assert_eq!(sorted_set.remove_lex(&mut keyspace, min, max).unwrap() as usize, expected.len());
        sorted_set.save(&mut keyspace).unwrap();
        let left: Vec<Vec<u8>> = members.iter().filter(|member| !expected.contains(member)).cloned().collect();
        let found: Vec<Vec<u8>> = read(&mut shard, b"k").into_iter().map(|(_, member)| member).collect();
        prop_assert_eq!(found, left);
    }

    #[test]
    fn ranges_by_lex_of_other_scores_are_the_same_however_they_are_kept(
        members in proptest::collection::btree_map(proptest::collection::vec(0..3u8, 0..3), -2..3i8, 0..8),
        bounds in any::<[(bool, [u8; 2]); 2]>(),
    ) {
        let bounds = bounds.map(|(included, bytes)| (included, bytes.map(|byte| byte % 3)));
        let [min, max] = [&bounds[0], &bounds[1]].map(|(included, bytes)| {
            if *included { LexBound::Included(&bytes[..]) } else { LexBound::Excluded(&bytes[..]) }
        });
        for way in [Direction::Forward, Direction::Backward] {
            let [rows, packed] = [&Packing::NONE, &Packing::STANDARD].map(|packing| {
                let mut shard = Shard::packing(packing);
                let mut keyspace = shard.keyspace();
                let mut sorted_set = keyspace.sorted_set_or_new(b"k").unwrap();
                for (member, score) in &members {
                    sorted_set.insert(&mut keyspace, member, None, f64::from(*score)).unwrap();
                }
                let mut read: Vec<Vec<u8>> = Vec::new();
                let visit = &mut |member: &[u8], _| {
                    read.push(member.to_vec());
                    ControlFlow::Continue(())
                };
                sorted_set.each_lex(&keyspace, (min, max), way, 0, visit).unwrap();
                read
            });
            prop_assert_eq!(packed, rows);
        }
    }
}

#[test]
fn a_sorted_set_goes_to_rows_in_one_write_and_never_back() {
    let mut shard = Shard::packing(&Packing::STANDARD);
    let mut keyspace = shard.keyspace();
    let mut sorted_set = keyspace.sorted_set_or_new(b"k").unwrap();
    for number in 0..128u8 {
        sorted_set.insert(&mut keyspace, &[number; 64], None, f64::from(number)).unwrap();
    }
    sorted_set.save(&mut keyspace).unwrap();
    keyspace.set_deadline(b"k", Some(5000)).unwrap();
    assert_eq!(shard.element_count(b"k"), 0);
    for (member, elements) in [(&[1; 64][..], 0), (b"one more", 258)] {
        let mut keyspace = shard.keyspace();
        let mut sorted_set = keyspace.sorted_set(b"k").unwrap().unwrap();
        let old = sorted_set.score(&keyspace, member).unwrap();
        sorted_set.insert(&mut keyspace, member, old, 0.5).unwrap();
        sorted_set.save(&mut keyspace).unwrap();
        assert_eq!(shard.element_count(b"k"), elements);
    }
    let mut keyspace = shard.keyspace();
    assert_eq!(keyspace.record(b"k").unwrap().unwrap().deadline_ms(), Some(5000));
    let mut sorted_set = keyspace.sorted_set(b"k").unwrap().unwrap();
    assert_eq!(sorted_set.remove_ranks(&mut keyspace, 1..129).unwrap(), 128);
    sorted_set.save(&mut keyspace).unwrap();
    assert_eq!(shard.element_count(b"k"), 2);
}
