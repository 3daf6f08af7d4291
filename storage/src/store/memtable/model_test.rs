//! The memtable against the standard library's ordered map: random histories over keys of many shapes.

use std::collections::BTreeMap;
use std::ops::Bound;

use super::{Found, Memtable};
use crate::rows::{Direction, range_is_empty};
use crate::store::test_random::Random;

type Model = BTreeMap<Vec<u8>, Option<Vec<u8>>>;

/// Makes a key; `step` counts the operations of the history.
type Shape = fn(&mut Random, step: u64) -> Vec<u8>;

/// As metadata rows are: eight bytes that differ, then a name.
fn metadata(random: &mut Random, _: u64) -> Vec<u8> {
    let number = random.below(6000);
    let mixed = number.wrapping_mul(0x9E37_79B9_7F4A_7C15).to_be_bytes();
    [&[0, mixed[0] & 0x3f, mixed[1], 0], &mixed[2..6], format!("key:{number:07}").as_bytes()].concat()
}

/// As a list that grows at both ends, beside others.
fn ends(random: &mut Random, step: u64) -> Vec<u8> {
    let list = random.below(3) as u8;
    let at = if random.chance(4) {
        random.below(1 << 33)
    } else if random.chance(2) {
        (1 << 32) + step
    } else {
        (1 << 32) - step
    };
    [&b"the long beginning that all lists have "[..], &[list, 0, 0, 0, 0, 0, 0, 7], &at.to_be_bytes()].concat()
}

/// Few bytes of few kinds: many keys are beginnings of others, and one is empty.
fn short(random: &mut Random, _: u64) -> Vec<u8> {
    (0..random.below(9)).map(|_| [0, 1, 0x7f, 0x80, 0xff][random.below(5) as usize]).collect()
}

/// Long beginnings, equal in the first bytes; some keys are too long for a leaf.
fn long(random: &mut Random, _: u64) -> Vec<u8> {
    let mut key = b"the same".to_vec();
    let (byte, count) = [(b'a', 5), (b'a', 40), (b'b', 40), (b'b', 900), (b'c', 3000)][random.below(5) as usize];
    key.resize(8 + count, byte);
    key.extend_from_slice(&random.below(3000).to_le_bytes()[..2]);
    key
}

const SHAPES: [(&str, Shape); 4] = [("metadata", metadata), ("ends", ends), ("short", short), ("long", long)];

fn value(random: &mut Random) -> Vec<u8> {
    let length = match random.below(100) {
        0 => 0,
        1..=60 => 72,
        61..=94 => random.below(150),
        95..=97 => 700 + random.below(100),
        _ => random.below(5000),
    };
    vec![random.next() as u8; length as usize]
}

fn bound<'a>(random: &mut Random, key: &'a [u8]) -> Bound<&'a [u8]> {
    match random.below(5) {
        0 => Bound::Unbounded,
        1 | 2 => Bound::Excluded(key),
        _ => Bound::Included(key),
    }
}

/// Goes through both at once, at most `limit` rows.
fn check_cursor(
    table: &Memtable,
    model: &Model,
    (lower, upper): (Bound<&[u8]>, Bound<&[u8]>),
    direction: Direction,
    limit: usize,
) {
    let mut cursor = table.cursor(lower, upper, direction);
    let mut range = if range_is_empty(lower, upper) {
        std::collections::btree_map::Range::default()
    } else {
        model.range::<[u8], _>((lower, upper))
    };
    for _ in 0..limit {
        let next = if direction == Direction::Forward { range.next() } else { range.next_back() };
        let expected = next.map(|(key, value)| (&key[..], value.as_deref()));
        assert!(cursor.head() == expected, "{:?} is not {expected:?}: {lower:?} {upper:?}", cursor.head());
        cursor.advance();
        if expected.is_none() {
            return;
        }
    }
}

/// Skips `from..to` as soon as the cursor is in it, as a merge of layers does with deleted ranges.
fn check_skip(table: &Memtable, model: &Model, from: &[u8], to: &[u8], direction: Direction) {
    let mut found = Vec::new();
    let mut cursor = table.cursor(Bound::Unbounded, Bound::Unbounded, direction);
    while let Some((key, _)) = cursor.head() {
        if from <= key && key < to {
            cursor.skip(from, to);
        } else {
            found.push(key.to_vec());
            cursor.advance();
        }
    }
    let mut expected: Vec<_> = model.keys().filter(|key| &key[..] < from || &key[..] >= to).cloned().collect();
    if direction == Direction::Backward {
        expected.reverse();
    }
    assert!(found == expected, "{} rows are not {}", found.len(), expected.len());
}

fn check(table: &Memtable, model: &Model, shape: Shape, random: &mut Random, step: u64) {
    if let Some(root) = &table.root {
        root.assert_sound(Bound::Unbounded, Bound::Unbounded);
    }
    assert_eq!(table.row_bytes, table.root.as_ref().map_or(0, |root| root.bytes()), "memory is counted as it is");
    assert!(table.rows().eq(model.iter().map(|(key, value)| (&key[..], value.as_deref()))), "all rows, in order");
    for direction in [Direction::Forward, Direction::Backward] {
        check_cursor(table, model, (Bound::Unbounded, Bound::Unbounded), direction, usize::MAX);
        for _ in 0..20 {
            let (a, b) = (shape(random, step), shape(random, step));
            let bounds = (bound(random, &a), bound(random, &b));
            check_cursor(table, model, bounds, direction, 200);
        }
        let (a, b) = (shape(random, step), shape(random, step));
        check_skip(table, model, a.as_slice().min(&b), a.as_slice().max(&b), direction);
    }
    let known = |key: &[u8]| match model.get(key) {
        Some(Some(value)) => Found::Value(value),
        Some(None) => Found::Deleted,
        None => Found::Unknown,
    };
    for key in model.keys() {
        assert_eq!(table.find(key), known(key), "{key:?}");
    }
    for _ in 0..100 {
        let mut key = shape(random, step);
        assert_eq!(table.find(&key), known(&key), "{key:?}");
        key.pop();
        assert_eq!(table.find(&key), known(&key), "{key:?}");
    }
}

fn history(name: &str, shape: Shape, seed: u64, steps: u64) {
    println!("{name}, seed {seed}");
    let mut random = Random(seed.wrapping_mul(0x9E37_79B9_7F4A_7C15) | 1);
    let (mut table, mut model) = (Memtable::default(), Model::default());
    for step in 0..steps {
        // The table grows, shrinks, and grows again.
        let (deletions, ranges) = if (step / (steps / 5)).is_multiple_of(2) { (10, 400) } else { (70, 60) };
        let key = shape(&mut random, step);
        if random.chance(ranges) {
            let other = shape(&mut random, step);
            let (from, mut to) = (key.clone().min(other.clone()), key.max(other));
            if !random.chance(20) {
                // Most ranges are short.
                to = model.range(from.clone()..).nth(random.below(300) as usize).map_or(to, |(key, _)| key.clone());
            }
            table.delete_range(&from, &to, false);
            if from < to {
                model.retain(|key, _| *key < from || *key >= to);
            }
        } else if random.below(100) < deletions {
            let hides_lower = random.chance(3);
            table.delete(&key, hides_lower);
            if hides_lower {
                model.insert(key, None);
            } else {
                model.remove(&key);
            }
        } else {
            let value = value(&mut random);
            table.put(&key, &value);
            model.insert(key, Some(value));
        }
        if random.chance(steps / 20) {
            check(&table, &model, shape, &mut random, step);
        }
    }
    check(&table, &model, shape, &mut random, steps);
    table.delete_range(b"", &[0xff; 10], false);
    assert_eq!((table.row_bytes, table.is_empty()), (0, true));
}

#[test]
fn random_histories_agree_with_an_ordered_map() {
    for (name, shape) in SHAPES {
        for seed in 1..=3 {
            history(name, shape, seed, 30_000);
        }
    }
}
