//! The keyspace against a plain map of keys and their deadlines: whatever is done, the counters and the index of deadlines follow.

use std::collections::{BTreeMap, BTreeSet};
use std::ops::{Bound, ControlFlow};

use proptest::prelude::*;

use super::key::{self, KeyRow};
use super::{Keyspace, Meta, Scratch, Type, VersionSource};
use crate::rows::{Rows, Visit};
use crate::spaces::Space;
use crate::{Counters, Direction, MemoryRows};

#[derive(Debug, Clone)]
enum Step {
    Set(u8, u8, Option<u64>),
    Append(u8, u8),
    Collection(u8, u8, u64),
    Deadline(u8, u8, Option<u64>),
    Delete(u8, u8),
    Flush(u8),
    FlushAll,
    Swap(u8, u8),
    Wait(u64),
    Expire(usize),
}

fn step() -> impl Strategy<Value = Step> {
    let (db, key) = (0u8..3, 0u8..6);
    let deadline = prop::option::of(prop_oneof![4 => 1000u64..1100, 1 => 1u64..1000]);
    prop_oneof![
        6 => (db.clone(), key.clone(), deadline.clone()).prop_map(|(db, key, at)| Step::Set(db, key, at)),
        2 => (db.clone(), key.clone()).prop_map(|(db, key)| Step::Append(db, key)),
        3 => (db.clone(), key.clone(), 0u64..3).prop_map(|(db, key, size)| Step::Collection(db, key, size)),
        4 => (db.clone(), key.clone(), deadline).prop_map(|(db, key, at)| Step::Deadline(db, key, at)),
        3 => (db.clone(), key).prop_map(|(db, key)| Step::Delete(db, key)),
        1 => db.clone().prop_map(Step::Flush),
        1 => Just(Step::FlushAll),
        2 => (db.clone(), db.clone()).prop_map(|(first, second)| Step::Swap(first, second)),
        3 => (1u64..20).prop_map(Step::Wait),
        2 => (0usize..4).prop_map(Step::Expire),
    ]
}

/// Live keys with their deadlines, by database and key.
type Model = BTreeMap<(u8, u8), Option<u64>>;

/// Puts a key with this deadline into the model, unless that is not after now.
fn put(model: &mut Model, key: (u8, u8), deadline_ms: Option<u64>, now_ms: u64) {
    let is_last_ms = deadline_ms == Some(now_ms) && model.get(&key) == Some(&deadline_ms);
    if is_last_ms || deadline_ms.is_none_or(|deadline_ms| deadline_ms > now_ms) {
        model.insert(key, deadline_ms);
    } else {
        model.remove(&key);
    }
}

/// Does one step in the keyspace and in the model, and compares what they say.
fn take(keyspace: &mut Keyspace<'_>, model: &mut Model, step: &Step) {
    match *step {
        Step::Set(db, key, deadline_ms) => {
            keyspace.select(db);
            keyspace.set_string(&[key], b"v", deadline_ms).unwrap();
            put(model, (db, key), deadline_ms, keyspace.now_ms());
        }
        Step::Append(db, key) => {
            keyspace.select(db);
            // a collection refuses it, which leaves its deadline alone as well
            let is_new = keyspace.edit_string(&[key], |string| string.append(b"x")).is_ok_and(|length| length == 1);
            assert!(!is_new || !model.contains_key(&(db, key)));
            model.entry((db, key)).or_insert(None);
        }
        Step::Collection(db, key, size) => {
            keyspace.select(db);
            let mut collection = keyspace.replacement(&[key], Type::Set).unwrap();
            collection.size = size;
            keyspace.save(&mut collection);
            model.remove(&(db, key));
            if size > 0 {
                model.insert((db, key), None);
            }
        }
        Step::Deadline(db, key, deadline_ms) => {
            keyspace.select(db);
            let existed = keyspace.set_deadline(&[key], deadline_ms).unwrap();
            assert_eq!(existed, model.contains_key(&(db, key)));
            if existed {
                put(model, (db, key), deadline_ms, keyspace.now_ms());
            }
        }
        Step::Delete(db, key) => {
            keyspace.select(db);
            assert_eq!(keyspace.delete(&[key]).unwrap(), model.remove(&(db, key)).is_some());
        }
        Step::Flush(db) => {
            keyspace.select(db);
            keyspace.flush().unwrap();
            model.retain(|(of, _), _| *of != db);
        }
        Step::FlushAll => {
            keyspace.flush_all();
            model.clear();
        }
        Step::Swap(first, second) => {
            keyspace.swap_databases(first, second);
            let swapped = |db: u8| {
                if db == first {
                    second
                } else if db == second {
                    first
                } else {
                    db
                }
            };
            *model = std::mem::take(model).into_iter().map(|((db, key), at)| ((swapped(db), key), at)).collect();
        }
        Step::Wait(_) => {}
        Step::Expire(count) => assert!(keyspace.delete_expired(count, 0).unwrap() <= count),
    }
}

/// Counts the rows and compares them with the counters and the deadline index.
fn check_rows(rows: &MemoryRows) {
    let (mut deadlines, mut indexed) = (BTreeSet::new(), BTreeSet::new());
    let spaces = rows.counters().spaces.clone();
    let mut counters = Counters { spaces: spaces.clone(), ..Counters::default() };
    let everything: Visit<'_> = &mut |row, value| {
        if let Some((deadline_ms, space, key)) = key::read_deadline_key(key::Due::Keys, row) {
            indexed.insert((deadline_ms, space, key.to_vec()));
        } else if let Some(KeyRow::Meta(_, key)) = KeyRow::read(row) {
            let meta = Meta::read(value).unwrap();
            let space = Space::read(row[0]).unwrap();
            let db = usize::from(spaces.database_at(space));
            counters.keys[db] += 1;
            if let Some(deadline_ms) = meta.deadline_ms {
                counters.deadlines[db] += 1;
                counters.deadline_sums[db] += u128::from(deadline_ms);
                deadlines.insert((deadline_ms, space, key.to_vec()));
            }
        }
        ControlFlow::Continue(())
    };
    rows.scan(Bound::Unbounded, Bound::Unbounded, Direction::Forward, everything).unwrap();
    assert_eq!(&counters, rows.counters());
    assert_eq!(deadlines, indexed);
}

proptest! {
    #[test]
    fn counters_and_deadline_index_follow_the_keys(steps in prop::collection::vec(step(), 1..60)) {
        let (mut rows, mut scratch, mut model) = (MemoryRows::default(), Scratch::default(), Model::new());
        let mut now_ms = 1000;
        for (index, step) in steps.iter().enumerate() {
            if let Step::Wait(milliseconds) = step {
                now_ms += milliseconds;
            }
            model.retain(|_, deadline_ms| deadline_ms.is_none_or(|deadline_ms| now_ms <= deadline_ms));
            let versions = VersionSource::entry(index as u64);
            let mut keyspace = Keyspace::new(&mut rows, &mut scratch, versions, 0, now_ms);
            take(&mut keyspace, &mut model, step);
            model.retain(|_, deadline_ms| deadline_ms.is_none_or(|deadline_ms| now_ms <= deadline_ms));
            for db in 0..3 {
                keyspace.select(db);
                for key in 0..6 {
                    let found = keyspace.record(&[key]).unwrap().map(|record| record.deadline_ms());
                    prop_assert_eq!(found, model.get(&(db, key)).copied(), "{} {}", db, key);
                }
            }
            check_rows(&rows);
            let earliest_ms = scratch.take_earliest_deadline_ms();
            prop_assert!(earliest_ms.is_none_or(|deadline_ms| deadline_ms > now_ms), "{:?} was stored", earliest_ms);
        }
    }
}
