//! The cost of ranks and counts, in rows.

use std::ops::ControlFlow;

use super::support::CountedRows;
use super::{Keyspace, LexBound, Packing, ScoreEnd, ScoreRange, Scratch, VersionSource};
use crate::{Direction, Result};

/// Commands on one sorted set, each an entry of its own.
struct Priced {
    rows: CountedRows,
    scratch: Scratch,
    entries: u64,
    packing: &'static Packing,
}

/// Rows that were read and changed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Price {
    reads: u64,
    changes: u64,
}

impl Priced {
    fn new(packing: &'static Packing) -> Priced {
        Priced { rows: CountedRows::default(), scratch: Scratch::default(), entries: 0, packing }
    }

    fn run<T>(&mut self, command: impl FnOnce(&mut Keyspace<'_>) -> Result<T>) -> (T, Price) {
        self.entries += 1;
        self.rows.reads.set(0);
        self.rows.changes = 0;
        let versions = VersionSource::entry(self.entries).with_packing(self.packing);
        let done = command(&mut Keyspace::new(&mut self.rows, &mut self.scratch, versions, 0, 1000)).unwrap();
        (done, Price { reads: self.rows.reads.get(), changes: self.rows.changes })
    }

    fn add(&mut self, member: &[u8], score: f64) -> Price {
        self.run(|keyspace| {
            let mut sorted_set = keyspace.sorted_set_or_new(b"z")?;
            let old = sorted_set.score(keyspace, member)?;
            sorted_set.insert(keyspace, member, old, score)?;
            sorted_set.save(keyspace)
        })
        .1
    }

    fn pop(&mut self, end: ScoreEnd) -> Price {
        self.run(|keyspace| {
            let mut sorted_set = keyspace.sorted_set_or_new(b"z")?;
            sorted_set.pop(keyspace, end, 1, &mut |_, _| ())?;
            sorted_set.save(keyspace)
        })
        .1
    }
}

/// A permutation of the numbers below `count`, which is not a multiple of 7919.
fn scattered(count: u64) -> impl Iterator<Item = u64> {
    (0..count).map(move |number| number * 7919 % count)
}

fn member(number: u64) -> Vec<u8> {
    format!("member:{number:08}").into_bytes()
}

/// The cost of so many commands together, and of the dearest one.
fn sum(prices: impl Iterator<Item = Price>) -> (Price, Price) {
    let none = Price { reads: 0, changes: 0 };
    prices.fold((none, none), |(all, most), price| {
        let all = Price { reads: all.reads + price.reads, changes: all.changes + price.changes };
        (all, Price { reads: most.reads.max(price.reads), changes: most.changes.max(price.changes) })
    })
}

#[test]
fn ranks_counts_and_ranges_in_the_middle_of_many_members_read_some_dozen_rows() {
    const COUNT: u64 = 100_000;
    let mut priced = Priced::new(&Packing::STANDARD);
    let mut by_name = Priced::new(&Packing::STANDARD);
    for number in scattered(COUNT) {
        priced.add(&member(number), number as f64);
        by_name.add(&member(number), 5.0);
    }
    for number in (1..COUNT - 100).step_by(4999).chain([COUNT / 2, COUNT / 2 + 1]) {
        for set in [&mut priced, &mut by_name] {
            let rank = |keyspace: &mut Keyspace<'_>, way| {
                let sorted_set = keyspace.sorted_set(b"z")?.expect("it is there");
                sorted_set.rank(keyspace, &member(number), way)
            };
            let (found, price) = set.run(|keyspace| rank(keyspace, Direction::Forward));
            assert_eq!(found, Some(number));
            assert!(price.reads <= 75, "rank {number}: {price:?}");
            let (found, price) = set.run(|keyspace| rank(keyspace, Direction::Backward));
            assert_eq!(found, Some(COUNT - 1 - number));
            assert!(price.reads <= 75, "rank {number} from the end: {price:?}");

            for way in [Direction::Forward, Direction::Backward] {
                let mut read = Vec::new();
                let ((), price) = set.run(|keyspace| {
                    let sorted_set = keyspace.sorted_set(b"z")?.expect("it is there");
                    sorted_set.each_rank(keyspace, number..number + 3, way, &mut |member, _| read.push(member.to_vec()))
                });
                let place = |rank| if way == Direction::Forward { rank } else { COUNT - 1 - rank };
                assert_eq!(read, [number, number + 1, number + 2].map(|rank| member(place(rank))));
                assert!(price.reads <= 45, "range at {number}: {price:?}");
            }
        }
        let scores = ScoreRange { min: number as f64, min_exclusive: false, max: f64::INFINITY, max_exclusive: false };
        let (count, price) =
            priced.run(|keyspace| keyspace.sorted_set(b"z")?.expect("it is there").count_scores(keyspace, &scores));
        assert_eq!(count, COUNT - number);
        assert!(price.reads <= 75, "count from {number}: {price:?}");
        let below = ScoreRange { min: 10.0, max: number as f64, ..scores };
        let (count, price) =
            priced.run(|keyspace| keyspace.sorted_set(b"z")?.expect("it is there").count_scores(keyspace, &below));
        assert_eq!(count, (number + 1).saturating_sub(10));
        assert!(price.reads <= 145, "count between 10 and {number}: {price:?}");
        let mut read = Vec::new();
        let ((), price) = priced.run(|keyspace| {
            let sorted_set = keyspace.sorted_set(b"z")?.expect("it is there");
            sorted_set.each_score(keyspace, &scores, Direction::Backward, number, &mut |member, _| {
                read.push(member.to_vec());
                ControlFlow::Break(())
            })
        });
        assert_eq!(read.first(), (number * 2 < COUNT).then(|| member(COUNT - 1 - number)).as_ref());
        assert!(price.reads <= 75, "offset {number}: {price:?}");
        let (count, price) = by_name.run(|keyspace| {
            let sorted_set = keyspace.sorted_set(b"z")?.expect("it is there");
            sorted_set.count_lex(keyspace, LexBound::Excluded(&member(number)), LexBound::Highest)
        });
        assert_eq!(count, COUNT - 1 - number);
        assert!(price.reads <= 75, "names from {number}: {price:?}");
    }
}

#[test]
fn a_write_of_a_small_set_costs_nothing_more() {
    let mut priced = [&Packing::STANDARD, &Packing::UNCOUNTED].map(Priced::new);
    for number in scattered(1000) {
        let [with, without] = priced.each_mut().map(|set| set.add(&member(number), number as f64));
        assert_eq!(with, without, "member {number}");
    }
    for number in scattered(1000) {
        let [with, without] = priced.each_mut().map(|set| set.add(&member(number), (number * 3 % 1000) as f64));
        assert_eq!(with, without, "member {number} with another score");
    }
    let [with, without] = priced.each_mut().map(|set| set.pop(ScoreEnd::Lowest));
    assert_eq!(with, without);
}

#[test]
fn a_write_of_a_large_set_changes_one_row_more() {
    const COUNT: u64 = 100_000;
    const MORE: u64 = 10_000;
    let mut priced = [&Packing::STANDARD, &Packing::UNCOUNTED].map(Priced::new);
    for number in scattered(COUNT) {
        for set in &mut priced {
            set.add(&member(number), number as f64);
        }
    }
    type Write = fn(&mut Priced, u64) -> Price;
    let writes: [(&str, Write); 5] = [
        ("scattered members", |set, number| set.add(&member(COUNT + number), (number * 7919 % COUNT) as f64 + 0.5)),
        ("other scores", |set, number| set.add(&member(number * 7), (number * 3 % COUNT) as f64 + 0.25)),
        ("a series", |set, number| set.add(&member(2 * COUNT + number), (COUNT + number) as f64)),
        ("a queue's end", |set, _| set.pop(ScoreEnd::Lowest)),
        ("the other end", |set, _| set.pop(ScoreEnd::Highest)),
    ];
    for (what, write) in writes {
        let [(with, most), (without, _)] = priced.each_mut().map(|set| sum((0..MORE).map(|number| write(set, number))));
        let more = (with.changes - without.changes) as f64 / MORE as f64;
        // Another score takes a row out of one block and puts it into another one, mostly of another node.
        let expected = if what == "other scores" { 2.1 } else { 1.2 };
        assert!(more <= expected, "{what}: {more} rows more are changed, {with:?} and {without:?}");
        let more = (with.reads - without.reads) as f64 / MORE as f64;
        assert!(more <= 14.0, "{what}: {more} rows more are read, {with:?} and {without:?}");
        assert!(most.changes <= 16 && most.reads <= 200, "{what}: {most:?}");
    }
}

#[test]
fn a_large_set_of_before_gets_its_tree_with_few_rows_a_write() {
    const COUNT: u64 = 50_000;
    let mut priced = Priced::new(&Packing::UNCOUNTED);
    for number in scattered(COUNT) {
        priced.add(&member(number), number as f64);
    }
    priced.packing = &Packing::STANDARD;
    let rank = |priced: &mut Priced| {
        let (found, price) = priced.run(|keyspace| {
            let sorted_set = keyspace.sorted_set(b"z")?.expect("it is there");
            sorted_set.rank(keyspace, &member(COUNT / 2), Direction::Forward)
        });
        assert_eq!(found, Some(COUNT / 2));
        price.reads
    };
    assert!(rank(&mut priced) > COUNT / 3);
    let (_, most) = sum((0..COUNT / 300).map(|number| priced.add(&member(number), number as f64 - 0.5)));
    assert!(most.reads <= 500 && most.changes <= 12, "{most:?}");
    assert!(rank(&mut priced) <= 75);
}

#[test]
fn what_is_near_an_end_of_rows_that_nobody_has_counted_is_found_from_there() {
    const COUNT: u64 = 50_000;
    let mut priced = Priced::new(&Packing::UNCOUNTED);
    for number in scattered(COUNT) {
        priced.add(&member(number), number as f64);
    }
    // Begins a tree, of which nearly all is one block.
    priced.packing = &Packing::STANDARD;
    priced.add(&member(7), 7.5);
    for (number, way) in [(9, Direction::Forward), (COUNT - 10, Direction::Backward)] {
        for way in [way, opposite(way)] {
            let (rank, price) = priced
                .run(|keyspace| keyspace.sorted_set(b"z")?.expect("it is there").rank(keyspace, &member(number), way));
            assert_eq!(rank, Some(if way == Direction::Forward { number } else { COUNT - 1 - number }));
            assert!(price.reads <= 1500, "rank of {number}, {way:?}: {price:?}");
        }
    }
    let scores = |min, max| ScoreRange { min, min_exclusive: false, max, max_exclusive: false };
    let count = |priced: &mut Priced, scores: ScoreRange| {
        let count = |keyspace: &mut Keyspace<'_>| {
            keyspace.sorted_set(b"z")?.expect("it is there").count_scores(keyspace, &scores)
        };
        priced.run(count)
    };
    let (found, price) = count(&mut priced, scores((COUNT - 10) as f64, f64::INFINITY));
    assert!(found == 10 && price.reads <= 1500, "{found} near the end: {price:?}");
    let (found, price) = count(&mut priced, scores(f64::NEG_INFINITY, 20_000.0));
    assert!(found == 20_001 && price.reads <= 2 * COUNT, "{found} up to the middle: {price:?}");
    for way in [Direction::Forward, Direction::Backward] {
        let mut read = Vec::new();
        let scores = if way == Direction::Forward { scores(25_000.0, f64::INFINITY) } else { scores(0.0, 25_000.0) };
        let ((), price) = priced.run(|keyspace| {
            let sorted_set = keyspace.sorted_set(b"z")?.expect("it is there");
            sorted_set.each_score(keyspace, &scores, way, 100, &mut |member, _| {
                read.push(member.to_vec());
                ControlFlow::Break(())
            })
        });
        assert_eq!(read, [member(if way == Direction::Forward { 25_100 } else { 24_900 })]);
        assert!(price.reads <= 200, "an offset of 100, {way:?}: {price:?}");
    }
}

fn opposite(way: Direction) -> Direction {
    match way {
        Direction::Forward => Direction::Backward,
        Direction::Backward => Direction::Forward,
    }
}
