//! Sorted sets with trees of counts against a plain sorted list. Blocks and nodes are tiny, so that every level is split and
//! joined.

use std::collections::{BTreeMap, BTreeSet};
use std::ops::ControlFlow;

use proptest::prelude::*;

use super::meta::Type;
use super::rank_tree::NODES;
use super::sorted_rows::{ORDER, SortedRows};
use super::sorted_sets::{is_before, is_past};
use super::support::Shard;
use super::{Counting, LexBound, Packing, ScoreEnd, ScoreRange, Serialized};
use crate::Direction;

const SMALL: Counting = Counting {
    members_min: 5,
    block_rows_max: 4,
    children_max: 4,
    bounds_bytes_max: 100,
    root_bytes_max: 4,
    separator_bytes_max: 32,
    sparse_share: 2,
    blocks_cut_max: 2,
    block_rows_cut: 2,
};

/// Blocks of two rows and nodes of two or three children.
static SMALLEST: Packing = Packing {
    counting: Counting { members_min: 2, block_rows_max: 2, children_max: 3, root_bytes_max: 3, ..SMALL },
    ..Packing::NONE
};
/// Wider nodes, and few bytes for bounds.
static NARROW: Packing =
    Packing { counting: Counting { children_max: 9, bounds_bytes_max: 40, ..SMALL }, ..Packing::NONE };
/// Separators so short that many blocks cannot be cut.
static UNCUTTABLE: Packing = Packing { counting: Counting { separator_bytes_max: 9, ..SMALL }, ..Packing::NONE };
/// Small sets are in one row.
static PACKED: Packing = Packing {
    sorted_set_members_max: 3,
    string_bytes_max: 64,
    counting: Counting { block_rows_max: 3, ..SMALL },
    ..Packing::NONE
};
static KINDS: [&Packing; 4] = [&SMALLEST, &NARROW, &UNCUTTABLE, &PACKED];
/// Entries that make no trees, with the bounds of each kind for those that there are.
static WITHOUT: [Packing; 4] = {
    const fn without(counting: Counting, sorted_set_members_max: usize) -> Packing {
        let counting = Counting { members_min: u64::MAX, ..counting };
        Packing { sorted_set_members_max, string_bytes_max: 64, counting, ..Packing::NONE }
    }
    [
        without(Counting { block_rows_max: 2, children_max: 3, root_bytes_max: 3, ..SMALL }, 0),
        without(Counting { children_max: 9, bounds_bytes_max: 40, ..SMALL }, 0),
        without(Counting { separator_bytes_max: 9, ..SMALL }, 0),
        without(Counting { block_rows_max: 3, ..SMALL }, 3),
    ]
};

#[derive(Debug, Clone)]
enum Step {
    Insert(Vec<(Vec<u8>, f64)>),
    /// So many members with scores that go on from the highest one, or the lowest one.
    Series(u8, bool),
    Remove(Vec<Vec<u8>>),
    RemoveAt(Vec<prop::sample::Index>),
    Pop(ScoreEnd, u64),
    Ranks(u64, u64, Direction),
    Scores(ScoreRange, Direction, u64),
    Lex(Bound, Bound, Direction, u64),
    Rank(prop::sample::Index),
    RemoveRanks(u64, u64),
    RemoveScores(ScoreRange),
    RemoveLex(Bound, Bound),
    Copy,
    Carry,
    Rename,
    Delete,
    /// True if entries make trees from here on.
    Count(bool),
}

type Bound = (u8, Vec<u8>);

fn bound((kind, member): &Bound) -> LexBound<'_> {
    match kind {
        0 => LexBound::Lowest,
        1 => LexBound::Highest,
        2 => LexBound::Included(member),
        _ => LexBound::Excluded(member),
    }
}

fn step(scores: i16) -> impl Strategy<Value = Step> {
    let score = move || prop_oneof![9 => (-scores..scores + 1).prop_map(f64::from), 1 => Just(f64::INFINITY)];
    let member = || (0..200u8).prop_map(|number| [b"member:", &[number / 16, number % 16][..]].concat());
    let direction = || prop_oneof![Just(Direction::Forward), Just(Direction::Backward)];
    let end = prop_oneof![Just(ScoreEnd::Lowest), Just(ScoreEnd::Highest)];
    let range = move || {
        (score(), any::<bool>(), score(), any::<bool>())
            .prop_map(|(min, min_exclusive, max, max_exclusive)| ScoreRange { min, min_exclusive, max, max_exclusive })
    };
    let bound = move || (0..4u8, member());
    let pairs = proptest::collection::vec((member(), score()), 1..20);
    prop_oneof![
        8 => pairs.prop_map(Step::Insert),
        4 => (1..30u8, any::<bool>()).prop_map(|(count, up)| Step::Series(count, up)),
        2 => proptest::collection::vec(member(), 1..9).prop_map(Step::Remove),
        3 => proptest::collection::vec(any::<prop::sample::Index>(), 1..30).prop_map(Step::RemoveAt),
        3 => (end, 0..12u64).prop_map(|(end, count)| Step::Pop(end, count)),
        3 => (0..150u64, 0..20u64, direction()).prop_map(|(from, count, way)| Step::Ranks(from, count, way)),
        3 => (range(), direction(), 0..40u64).prop_map(|(range, way, skip)| Step::Scores(range, way, skip)),
        3 => (bound(), bound(), direction(), 0..20u64).prop_map(|(min, max, way, skip)| Step::Lex(min, max, way, skip)),
        3 => any::<prop::sample::Index>().prop_map(Step::Rank),
        2 => (0..150u64, 0..20u64).prop_map(|(from, count)| Step::RemoveRanks(from, count)),
        1 => range().prop_map(Step::RemoveScores),
        1 => (bound(), bound()).prop_map(|(min, max)| Step::RemoveLex(min, max)),
        1 => Just(Step::Copy),
        1 => Just(Step::Carry),
        1 => Just(Step::Rename),
        1 => (0..4u8).prop_map(|number| if number == 0 { Step::Delete } else { Step::Copy }),
        1 => any::<bool>().prop_map(Step::Count),
    ]
}

type Members = Vec<(f64, Vec<u8>)>;

/// Members in their order.
#[derive(Default)]
struct Model {
    scores: BTreeMap<Vec<u8>, f64>,
}

impl Model {
    fn ordered(&self, direction: Direction) -> Members {
        let mut members: Members = self.scores.iter().map(|(member, score)| (*score, member.clone())).collect();
        members.sort_by(|a, b| a.partial_cmp(b).unwrap());
        if direction == Direction::Backward {
            members.reverse();
        }
        members
    }

    fn keep(&mut self, keep: impl Fn(f64, &[u8]) -> bool) -> u64 {
        let before = self.scores.len();
        self.scores.retain(|member, score| keep(*score, member));
        (before - self.scores.len()) as u64
    }

    /// The members that a range by lex has where scores differ too: the run from the first one past the near bound to the first one
    /// past the far bound.
    fn lex(&self, min: LexBound<'_>, max: LexBound<'_>, direction: Direction) -> Members {
        let members = self.ordered(direction);
        let is_near =
            |member: &[u8]| if direction == Direction::Forward { is_past(member, min) } else { is_before(member, max) };
        let is_inside =
            |member: &[u8]| if direction == Direction::Forward { is_before(member, max) } else { is_past(member, min) };
        let begin = members.iter().position(|(_, member)| is_near(member)).unwrap_or(members.len());
        members[begin..].iter().take_while(|(_, member)| is_inside(member)).cloned().collect()
    }
}

fn is_in(range: &ScoreRange, score: f64) -> bool {
    let past_min = if range.min_exclusive { score > range.min } else { score >= range.min };
    past_min && if range.max_exclusive { score < range.max } else { score <= range.max }
}

fn take(shard: &mut Shard, model: &mut Model, step: Step, kind: usize) {
    if let Step::Count(counts) = step {
        return shard.set_packing(if counts { KINDS[kind] } else { &WITHOUT[kind] });
    }
    let mut keyspace = shard.keyspace();
    let mut sorted_set = keyspace.sorted_set_or_new(b"k").unwrap();
    let length = sorted_set.len();
    let mut read = Members::new();
    let mut visit = |member: &[u8], score: f64| {
        read.push((score, member.to_vec()));
        ControlFlow::Continue(())
    };
    match step {
        Step::Insert(pairs) => {
            for (member, score) in pairs {
                let old = sorted_set.score(&keyspace, &member).unwrap();
                sorted_set.insert(&mut keyspace, &member, old, score).unwrap();
                model.scores.insert(member, score);
            }
        }
        Step::Series(count, up) => {
            for number in 0..count {
                let way = if up { Direction::Backward } else { Direction::Forward };
                let end = model.ordered(way).into_iter().find(|(score, _)| score.is_finite()).map_or(0.0, |end| end.0);
                let (score, member) = (if up { end + 1.0 } else { end - 1.0 }, vec![b'~', number, u8::from(up)]);
                let old = sorted_set.score(&keyspace, &member).unwrap();
                sorted_set.insert(&mut keyspace, &member, old, score).unwrap();
                model.scores.insert(member, score);
            }
        }
        Step::Remove(members) => {
            for member in members {
                let existed = sorted_set.remove(&mut keyspace, &member).unwrap();
                assert_eq!(existed, model.scores.remove(&member).is_some());
            }
        }
        Step::RemoveAt(places) => {
            for place in places.iter().take(model.scores.len()) {
                let members = model.ordered(Direction::Forward);
                let (_, member) = &members[place.index(members.len())];
                assert!(sorted_set.remove(&mut keyspace, member).unwrap());
                model.scores.remove(member);
            }
        }
        Step::Pop(end, count) => {
            sorted_set
                .pop(&mut keyspace, end, count, &mut |member, score| {
                    let _ = visit(member, score);
                })
                .unwrap();
            let way = if end == ScoreEnd::Lowest { Direction::Forward } else { Direction::Backward };
            let mut expected = model.ordered(way);
            expected.truncate(count as usize);
            model.keep(|_, member| !expected.iter().any(|(_, popped)| popped == member));
            assert_eq!(read, expected);
        }
        Step::Ranks(from, count, way) => {
            let (from, to) = (from.min(length), (from + count).min(length));
            sorted_set
                .each_rank(&keyspace, from..to, way, &mut |member, score| {
                    let _ = visit(member, score);
                })
                .unwrap();
            assert_eq!(read[..], model.ordered(way)[from as usize..to as usize]);
        }
        Step::Scores(range, way, skip) => {
            sorted_set.each_score(&keyspace, &range, way, skip, &mut visit).unwrap();
            let mut expected = model.ordered(way);
            expected.retain(|(score, _)| is_in(&range, *score));
            assert_eq!(sorted_set.count_scores(&keyspace, &range).unwrap(), expected.len() as u64);
            assert_eq!(read, expected.into_iter().skip(skip as usize).collect::<Members>());
        }
        Step::Lex(min, max, way, skip) => {
            let (min, max) = (bound(&min), bound(&max));
            sorted_set.each_lex(&keyspace, (min, max), way, skip, &mut visit).unwrap();
            assert_eq!(read, model.lex(min, max, way).into_iter().skip(skip as usize).collect::<Members>());
            let count = sorted_set.count_lex(&keyspace, min, max).unwrap();
            assert_eq!(count, model.lex(min, max, Direction::Forward).len() as u64);
        }
        Step::Rank(place) if length > 0 => {
            for way in [Direction::Forward, Direction::Backward] {
                let members = model.ordered(way);
                let rank = place.index(members.len());
                assert_eq!(sorted_set.rank(&keyspace, &members[rank].1, way).unwrap(), Some(rank as u64));
            }
            assert_eq!(sorted_set.rank(&keyspace, b"none", Direction::Forward).unwrap(), None);
        }
        Step::Rank(_) => {}
        Step::RemoveRanks(from, count) => {
            let from = from % (length + 1);
            let to = (from + count).min(length);
            let gone = model.ordered(Direction::Forward)[from as usize..to as usize].to_vec();
            assert_eq!(sorted_set.remove_ranks(&mut keyspace, from..to).unwrap(), to - from);
            model.keep(|_, member| !gone.iter().any(|(_, other)| other == member));
        }
        Step::RemoveScores(range) => {
            let removed = sorted_set.remove_scores(&mut keyspace, &range).unwrap();
            assert_eq!(removed, model.keep(|score, _| !is_in(&range, score)));
        }
        Step::RemoveLex(min, max) => {
            let (min, max) = (bound(&min), bound(&max));
            let gone = model.lex(min, max, Direction::Forward);
            assert_eq!(sorted_set.remove_lex(&mut keyspace, min, max).unwrap(), gone.len() as u64);
            model.keep(|_, member| !gone.iter().any(|(_, other)| other == member));
        }
        Step::Copy => {
            assert_eq!(keyspace.copy_key(b"k", 0, b"copy").unwrap(), length > 0);
            return;
        }
        Step::Carry => {
            if let Serialized::Bytes(bytes) = keyspace.serialize(b"k", usize::MAX).unwrap() {
                assert!(keyspace.restore(b"copy", &bytes).unwrap());
            }
            return;
        }
        Step::Rename => {
            // Away and back: its rows are other ones then.
            assert_eq!(keyspace.rename(b"k", b"copy").unwrap(), length > 0);
            assert_eq!(keyspace.rename(b"copy", b"k").unwrap(), length > 0);
            return;
        }
        Step::Delete => {
            assert_eq!(keyspace.delete(b"k").unwrap(), length > 0);
            model.scores.clear();
            return;
        }
        Step::Count(_) => {}
    }
    sorted_set.save(&mut keyspace).unwrap();
}

/// Checks a sorted set's rows, and returns the height of its tree; 0 if it has none.
fn check(shard: &mut Shard, key: &[u8], model: &Model, counting: &Counting) -> u8 {
    let members = model.ordered(Direction::Forward);
    let keyspace = shard.keyspace();
    let Some(record) = keyspace.record(key).unwrap() else {
        assert!(members.is_empty());
        return 0;
    };
    let mut read = Members::new();
    let sorted_set = keyspace.sorted_set(key).unwrap().unwrap();
    let visit = &mut |member: &[u8], score: f64| read.push((score, member.to_vec()));
    sorted_set.each_rank(&keyspace, 0..sorted_set.len(), Direction::Forward, visit).unwrap();
    assert_eq!(read, members);
    if record.is_packed() {
        return 0;
    }
    let rows = SortedRows::read(keyspace.collection(key, Type::SortedSet).unwrap().unwrap()).unwrap();
    let (mut height, mut expected) = (0, BTreeSet::new());
    if let Some(tree) = &rows.ranks {
        height = tree.height;
        let (blocks, nodes) = tree.laid_out(&keyspace, &rows.collection, counting);
        let mut orders = Vec::new();
        rows.scan_order(&keyspace, rows.order_start(), rows.order_end(), Direction::Forward, &mut |order, _, _| {
            orders.push(order.to_vec());
            ControlFlow::Continue(())
        })
        .unwrap();
        assert!(blocks[0].0.is_empty() && blocks.is_sorted_by(|left, right| left.0 < right.0), "{blocks:?}");
        for (index, (lower, count)) in blocks.iter().enumerate() {
            let upper = blocks.get(index + 1).map(|(lower, _)| lower);
            let is_in = |order: &&Vec<u8>| order[1..] >= lower[..] && upper.is_none_or(|upper| order[1..] < upper[..]);
            assert_eq!(orders.iter().filter(is_in).count() as u64, *count, "block {index} of {blocks:?}");
            assert!(*count > 0 || blocks.len() == 1, "block {index} of {blocks:?} is empty");
        }
        for node in nodes {
            let element = |part| [&[NODES], &node.to_be_bytes()[..], &[part]].concat();
            expected.insert(element(1));
            if node > 0 {
                expected.insert(element(0));
            }
        }
    }
    let version = rows.collection.version;
    drop(record);
    let of_kind_2 = |rows: Vec<(Vec<u8>, u64, Vec<u8>)>| -> BTreeSet<Vec<u8>> {
        let live = rows.into_iter().filter(|row| row.0 == key && row.1 == version && row.2[0] > ORDER);
        live.map(|row| row.2).collect()
    };
    assert_eq!(of_kind_2(shard.element_rows()), expected, "the rows of the nodes, and no others");
    height
}

/// No row of a node outlives the members of its version.
fn check_orphans(shard: &mut Shard) {
    let mut versions: BTreeMap<(Vec<u8>, u64), [usize; 2]> = BTreeMap::new();
    for (key, version, element) in shard.element_rows() {
        versions.entry((key, version)).or_default()[usize::from(element[0] > ORDER)] += 1;
    }
    for (version, [of_members, of_nodes]) in versions {
        assert!(of_members > 0 || of_nodes == 0, "{version:?} has {of_nodes} rows of nodes and no members");
    }
}

fn run(steps: Vec<Step>, kind: usize, counts: bool) -> u8 {
    let mut shard = Shard::packing(if counts { KINDS[kind] } else { &WITHOUT[kind] });
    let (mut model, mut height) = (Model::default(), 0);
    for step in steps {
        let is_copied = matches!(step, Step::Copy | Step::Carry) && !model.scores.is_empty();
        take(&mut shard, &mut model, step, kind);
        height = height.max(check(&mut shard, b"k", &model, &KINDS[kind].counting));
        if is_copied {
            check(&mut shard, b"copy", &model, &KINDS[kind].counting);
            shard.keyspace().delete(b"copy").unwrap();
        }
        check_orphans(&mut shard);
    }
    height
}

proptest! {
    #[test]
    fn a_sorted_set_with_a_tree_is_a_sorted_list(
        steps in proptest::collection::vec(step(40), 1..60),
        kind in 0..KINDS.len(),
        counts: bool,
    ) {
        run(steps, kind, counts);
    }

    #[test]
    fn members_of_one_score_are_counted_by_their_bytes(
        steps in proptest::collection::vec(step(0), 1..60),
        kind in 0..KINDS.len(),
    ) {
        // No other score: no series, and none that is infinite.
        let steps = steps.into_iter().filter(|step| !matches!(step, Step::Series(..))).map(|step| match step {
            Step::Insert(pairs) => Step::Insert(pairs.into_iter().map(|(member, _)| (member, 0.0)).collect()),
            step => step,
        });
        run(steps.collect(), kind, true);
    }

    #[test]
    fn a_large_one_that_nobody_has_counted_is_right_while_it_gets_its_tree(
        members in proptest::collection::btree_map(0..500u16, -40..40i8, 0..120),
        steps in proptest::collection::vec(step(40), 1..40),
        kind in 0..KINDS.len(),
    ) {
        let pairs = members.into_iter().map(|(member, score)| (member.to_be_bytes().to_vec(), f64::from(score)));
        let before = [Step::Count(false), Step::Insert(pairs.collect()), Step::Count(true)];
        run(before.into_iter().chain(steps).collect(), kind, false);
    }
}

#[test]
fn trees_rise_and_fall_by_levels() {
    for (kind, expected) in [(0, 6), (1, 3), (3, 4)] {
        let member = |number: u32| (number as u16).to_be_bytes().to_vec();
        let mut shard = Shard::packing(KINDS[kind]);
        let (mut model, mut heights) = (Model::default(), BTreeSet::new());
        let mut go = |step: Step| {
            take(&mut shard, &mut model, step, kind);
            let height = check(&mut shard, b"k", &model, &KINDS[kind].counting);
            check_orphans(&mut shard);
            heights.insert(height);
            (model.scores.len(), height)
        };
        for number in 0..9 {
            go(Step::Insert(vec![(member(number * 7919 % 601), f64::from(number * 7919 % 601 % 251))]));
        }
        for first in 0..50u32 {
            let numbers = (0..12).map(|number| (first * 12 + number) * 7919 % 601);
            go(Step::Insert(numbers.map(|number| (member(number), f64::from(number % 251))).collect()));
        }
        // From the front, from the back, and from in between.
        let mut length = usize::MAX;
        while length > 12 {
            for step in [Step::Pop(ScoreEnd::Lowest, 7), Step::Pop(ScoreEnd::Highest, 5)] {
                (length, _) = go(step);
            }
            let members = (0..8).map(|number| member(number * 37 + length as u32)).collect();
            (length, _) = go(Step::Remove(members));
        }
        while length > 0 {
            (length, _) = go(Step::Pop(ScoreEnd::Lowest, 1));
        }
        assert!(heights.last().is_some_and(|height| *height >= expected), "{kind}: {heights:?}");
        assert_eq!(heights.first(), Some(&0));
        assert!((1..expected).all(|height| heights.contains(&height)), "{kind}: {heights:?}");
    }
}

/// Order rows of the largest block of the sorted set at `k`, which has a tree.
fn largest_block(shard: &mut Shard, counting: &Counting) -> u64 {
    let keyspace = shard.keyspace();
    let rows = SortedRows::read(keyspace.collection(b"k", Type::SortedSet).unwrap().unwrap()).unwrap();
    let (blocks, _) = rows.ranks.as_ref().unwrap().laid_out(&keyspace, &rows.collection, counting);
    blocks.iter().map(|(_, count)| *count).max().unwrap()
}

#[test]
fn commands_of_many_members_build_as_fast_as_they_add() {
    let counting = &Packing::STANDARD.counting;
    for ascending in [true, false] {
        let mut shard = Shard::packing(&Packing::STANDARD);
        let mut model = Model::default();
        let pair = |number: u32| {
            let number = if ascending { number } else { 1_000_000 - number };
            (number.to_be_bytes().to_vec(), f64::from(number))
        };
        for first in 0..30u32 {
            let pairs = (first * 1000..(first + 1) * 1000).map(pair);
            take(&mut shard, &mut model, Step::Insert(pairs.collect()), 0);
        }
        check(&mut shard, b"k", &model, counting);
        assert!(largest_block(&mut shard, counting) <= 1500, "ascending {ascending}");
        for number in 30_000..30_008u32 {
            take(&mut shard, &mut model, Step::Insert(vec![pair(number)]), 0);
        }
        check(&mut shard, b"k", &model, counting);
        assert!(largest_block(&mut shard, counting) <= counting.block_rows_max, "ascending {ascending}");
    }
}

#[test]
fn a_queue_and_a_series_keep_their_trees_small() {
    for (kind, packing) in KINDS.iter().enumerate() {
        let mut shard = Shard::packing(packing);
        let mut model = Model::default();
        for number in 0..600u16 {
            let pair = (number.to_be_bytes().to_vec(), f64::from(number));
            take(&mut shard, &mut model, Step::Insert(vec![pair]), kind);
            if number >= 60 {
                take(&mut shard, &mut model, Step::Pop(ScoreEnd::Lowest, 1), kind);
            }
            let height = check(&mut shard, b"k", &model, &packing.counting);
            assert!(height <= 6, "{kind}: {height} levels for {} members", model.scores.len());
        }
        take(&mut shard, &mut model, Step::RemoveRanks(0, 59), kind);
        check(&mut shard, b"k", &model, &packing.counting);
    }
}
