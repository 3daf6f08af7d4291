//! The memtable against the standard library's ordered map: random histories over keys of many shapes in nodes of the usual
//! size, and of all operations in tiny nodes, so that every level, split and merge occurs within a few dozen rows.

use std::collections::BTreeMap;
use std::ops::Bound;

use proptest::prelude::*;

use super::heads::with_node_len_max;
use super::node::Node;
use super::{Found, Memtable};
use crate::cold_read::Direction;
use crate::rows::range_is_empty;
use crate::support::Random;

/// The rows, and the ranges that hide what lies below.
#[derive(Default)]
struct Model {
    rows: BTreeMap<Vec<u8>, Option<Vec<u8>>>,
    hidden: Vec<(Vec<u8>, Vec<u8>)>,
}

impl Model {
    fn delete(&mut self, key: &[u8], hides_lower: bool) {
        if hides_lower {
            self.rows.insert(key.to_vec(), None);
        } else {
            self.rows.remove(key);
        }
    }

    fn delete_range(&mut self, from: &[u8], to: &[u8], hides_lower: bool) {
        if from < to {
            self.rows.retain(|key, _| &**key < from || &**key >= to);
            if hides_lower {
                self.hidden.push((from.to_vec(), to.to_vec()));
            }
        }
    }

    fn find(&self, key: &[u8]) -> Found<'_> {
        match self.rows.get(key) {
            Some(Some(value)) => Found::Value(value),
            Some(None) => Found::Deleted,
            None if self.hidden.iter().any(|(from, to)| &**from <= key && key < &**to) => Found::Deleted,
            None => Found::Unknown,
        }
    }
}

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
        model.rows.range::<[u8], _>((lower, upper))
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
    let mut expected: Vec<_> = model.rows.keys().filter(|key| &key[..] < from || &key[..] >= to).cloned().collect();
    if direction == Direction::Backward {
        expected.reverse();
    }
    assert!(found == expected, "{} rows are not {}", found.len(), expected.len());
}

/// Checks what the tree relies on, its count of memory, and that it has the model's rows.
fn check_tree(table: &Memtable, model: &Model) {
    if let Some(root) = &table.root {
        root.assert_sound(Bound::Unbounded, Bound::Unbounded);
    }
    assert_eq!(table.row_bytes, table.root.as_ref().map_or(0, |root| root.bytes()), "memory is counted as it is");
    assert!(table.rows().eq(model.rows.iter().map(|(key, value)| (&key[..], value.as_deref()))), "all rows, in order");
    assert_eq!(table.is_empty(), model.rows.is_empty() && model.hidden.is_empty());
}

fn check(table: &Memtable, model: &Model, shape: Shape, random: &mut Random, step: u64) {
    check_tree(table, model);
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
    for key in model.rows.keys() {
        assert_eq!(table.find(key), model.find(key), "{key:?}");
    }
    for _ in 0..100 {
        let mut key = shape(random, step);
        assert_eq!(table.find(&key), model.find(&key), "{key:?}");
        key.pop();
        assert_eq!(table.find(&key), model.find(&key), "{key:?}");
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
                to =
                    model.rows.range(from.clone()..).nth(random.below(300) as usize).map_or(to, |(key, _)| key.clone());
            }
            // Few hide what lies below: over a long history they would cover everything.
            let hides_lower = random.chance(20) && model.hidden.len() < 10;
            table.delete_range(&from, &to, hides_lower);
            model.delete_range(&from, &to, hides_lower);
        } else if random.below(100) < deletions {
            let hides_lower = random.chance(3);
            table.delete(&key, hides_lower);
            model.delete(&key, hides_lower);
        } else {
            let value = value(&mut random);
            table.put(&key, &value);
            model.rows.insert(key, Some(value));
        }
        if random.chance(steps / 20) {
            check(&table, &model, shape, &mut random, step);
        }
    }
    check(&table, &model, shape, &mut random, steps);
    table.delete_range(b"", &[0xff; 10], false);
    assert_eq!((table.row_bytes, table.rows().count()), (0, 0));
}

#[test]
fn random_histories_agree_with_an_ordered_map() {
    for (name, shape) in SHAPES {
        for seed in 1..=3 {
            history(name, shape, seed, 30_000);
        }
    }
}

/// Levels of the tree, leaves included.
fn levels(table: &Memtable) -> usize {
    std::iter::successors(table.root.as_ref(), |node| match node {
        Node::Inner(inner) => inner.children().first(),
        Node::Leaf(_) => None,
    })
    .count()
}

/// A memtable of `rows` rows in ascending order, every `stride`-th number from 0 on.
fn ascending(rows: u32, stride: u32) -> (Memtable, Model) {
    let (mut table, mut model) = (Memtable::default(), Model::default());
    for number in 0..rows {
        let key = (number * stride).to_be_bytes();
        table.put(&key, b"value");
        model.rows.insert(key.to_vec(), Some(b"value".to_vec()));
    }
    (table, model)
}

/// Deletes as FLUSHALL and FLUSHDB do: the first and the last node that a range touches lose most of what they have, or all of it.
#[test]
fn a_range_over_nearly_all_rows_of_a_deep_tree_leaves_the_others() {
    for (len_max, rows) in [(4, 64), (5, 130), (64, 4_500)] {
        with_node_len_max(len_max, || {
            let (tree, _) = ascending(rows, 2);
            assert!(levels(&tree) >= 3, "{} levels of {rows} rows", levels(&tree));
            let ends = (0..2 * len_max as u32).chain([rows / 4, rows / 2]);
            for (kept_before, kept_behind) in ends.clone().flat_map(|before| ends.clone().map(move |end| (before, end)))
            {
                if len_max == 64 && kept_before > 0 && kept_behind > 0 && (kept_before + kept_behind) % 64 != 0 {
                    continue; // Tiny nodes have tried those; here each costs a tree of thousands of rows.
                }
                let (mut table, mut model) = ascending(rows, 2);
                let from = (kept_before * 2).saturating_sub(1).to_be_bytes();
                let to = ((rows - kept_behind) * 2).saturating_sub(1).to_be_bytes();
                table.delete_range(&from, &to, false);
                model.delete_range(&from, &to, false);
                check_tree(&table, &model);
                // The tree that is left is one that can be written to.
                for number in 0..rows {
                    let key = (number * 2 + 1).to_be_bytes();
                    table.put(&key, b"again");
                    model.rows.insert(key.to_vec(), Some(b"again".to_vec()));
                }
                check_tree(&table, &model);
            }
        });
    }
}

/// One operation on a memtable. Keys are numbers below [`KEYS`], so that operations meet each other's rows.
#[derive(Debug, Clone)]
enum Step {
    Put(u16, usize),
    /// Puts rows in order, up or down, as a list that grows at one of its ends does.
    PutRun {
        from: u16,
        count: u16,
        is_ascending: bool,
    },
    Delete(u16, bool),
    DeleteRange {
        from: u16,
        to: u16,
        hides_lower: bool,
    },
    /// Goes through the rows between two bounds, forward and backward.
    Scan {
        lower: Bound<u16>,
        upper: Bound<u16>,
    },
    /// Goes through all rows, and skips some.
    Skip {
        from: u16,
        to: u16,
    },
}

/// Keys of the histories of tiny nodes: enough for four levels of them.
const KEYS: u16 = 300;

/// Bytes of a key: the first ones are the same in most keys, some keys are beginnings of others.
fn key_of(number: u16) -> Vec<u8> {
    match number % 7 {
        0 => format!("row {:03}", number).into_bytes(),
        1 => format!("row {:03} with a longer name", number).into_bytes(),
        2 => number.to_be_bytes().to_vec(),
        3 => [&b"row "[..], &vec![b'x'; usize::from(number % 3)]].concat(),
        4 => [&b"row 1"[..], &number.to_be_bytes(), &[0xff; 4]].concat(),
        _ => format!("row {number}").into_bytes(),
    }
}

fn step() -> impl Strategy<Value = Step> {
    let key = || 0..KEYS;
    let bound =
        || prop_oneof![key().prop_map(Bound::Included), key().prop_map(Bound::Excluded), Just(Bound::Unbounded)];
    let length = prop_oneof![4 => 0..20usize, 1 => Just(72), 1 => 700..900usize];
    prop_oneof![
        6 => (key(), length).prop_map(|(key, length)| Step::Put(key, length)),
        6 => (key(), 1..80u16, any::<bool>())
            .prop_map(|(from, count, is_ascending)| Step::PutRun { from, count, is_ascending }),
        6 => (key(), any::<bool>()).prop_map(|(key, hides_lower)| Step::Delete(key, hides_lower)),
        6 => (key(), key(), any::<bool>())
            .prop_map(|(from, to, hides_lower)| Step::DeleteRange { from, to, hides_lower }),
        // As FLUSHDB: from before the first row to shortly before the last, or from shortly behind the first.
        2 => (key(), any::<bool>()).prop_map(|(to, hides_lower)| Step::DeleteRange { from: 0, to, hides_lower }),
        1 => (bound(), bound()).prop_map(|(lower, upper)| Step::Scan { lower, upper }),
        1 => (key(), key()).prop_map(|(from, to)| Step::Skip { from, to }),
    ]
}

/// Does `step` to both, and checks what reads answer.
fn take(step: &Step, table: &mut Memtable, model: &mut Model) {
    match *step {
        Step::Put(key, length) => {
            let value = vec![key as u8; length];
            table.put(&key_of(key), &value);
            model.rows.insert(key_of(key), Some(value));
        }
        Step::PutRun { from, count, is_ascending } => {
            let end = (from + count).min(KEYS);
            for number in from..end {
                let key = key_of(if is_ascending { number } else { end - 1 - (number - from) });
                table.put(&key, b"of a run");
                model.rows.insert(key, Some(b"of a run".to_vec()));
            }
        }
        Step::Delete(key, hides_lower) => {
            table.delete(&key_of(key), hides_lower);
            model.delete(&key_of(key), hides_lower);
        }
        Step::DeleteRange { from, to, hides_lower } => {
            // The number 0 stands for what is before all keys, so that a range may begin there.
            let bytes = |number| if number == 0 { Vec::new() } else { key_of(number) };
            table.delete_range(&bytes(from), &bytes(to), hides_lower);
            model.delete_range(&bytes(from), &bytes(to), hides_lower);
        }
        Step::Scan { lower, upper } => {
            let (lower, upper) = (lower.map(key_of), upper.map(key_of));
            let bounds = (lower.as_ref().map(Vec::as_slice), upper.as_ref().map(Vec::as_slice));
            for direction in [Direction::Forward, Direction::Backward] {
                check_cursor(table, model, bounds, direction, usize::MAX);
            }
        }
        Step::Skip { from, to } => {
            let (from, to) = (key_of(from), key_of(to));
            for direction in [Direction::Forward, Direction::Backward] {
                check_skip(table, model, from.as_slice().min(&to), from.as_slice().max(&to), direction);
            }
        }
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(400))]

    #[test]
    fn tiny_nodes_agree_with_an_ordered_map(len_max in 3..9usize, steps in proptest::collection::vec(step(), 1..60)) {
        with_node_len_max(len_max, || {
            let (mut table, mut model) = (Memtable::default(), Model::default());
            for step in &steps {
                take(step, &mut table, &mut model);
                check_tree(&table, &model);
            }
            for number in 0..KEYS {
                let key = key_of(number);
                assert_eq!(table.find(&key), model.find(&key), "{key:?}");
            }
            table.delete_range(b"", &[0xff; 10], false);
            assert_eq!((table.row_bytes, table.rows().count()), (0, 0));
        });
    }
}
