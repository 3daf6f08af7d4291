//! Hashes whose fields have deadlines against plain lists of their fields, with bounds so small that packed ones become rows all
//! the time: whatever is done, no field is seen that is past its deadline, and each deadline has its rows and each row its
//! deadline.

use std::collections::{BTreeMap, BTreeSet};
use std::ops::{Bound, ControlFlow};

use proptest::prelude::*;

use super::key::{self, Due, ElementKey, KeyRow};
use super::packed::Packed;
use super::{Keyspace, Meta, Packing, ROW_RULES, Scratch, Serialized, Type, VersionSource};
use crate::rows::Rows;
use crate::spaces::Space;
use crate::{DATABASE_COUNT, Direction, MemoryRows};

const TINY: Packing = Packing { hash_fields_max: 4, string_bytes_max: 6, ..Packing::STANDARD };

type Text = &'static [u8];

#[derive(Debug, Clone)]
enum Step {
    Set(u8, Vec<(Text, Text)>),
    Update(u8, Text, Text),
    Remove(u8, Vec<Text>),
    Deadlines(u8, Vec<(Text, Option<u64>)>),
    Wait(u64),
    Sweep(usize),
    Delete(u8),
    KeyDeadline(u8, Option<u64>),
    Overwrite(u8),
    Rename(u8, u8),
    Copy(u8, u8, u8),
    Carry(u8, u8),
    Select(u8),
    Swap(u8, u8),
    Flush,
    FlushAll,
}

#[derive(Debug, Clone, Default, PartialEq, Eq)]
struct Entry {
    fields: BTreeMap<Text, (Text, Option<u64>)>,
    deadline_ms: Option<u64>,
}

type Model = BTreeMap<(u8, u8), Entry>;

const TEXTS: [Text; 8] = [b"", b"a", b"b", b"c", b"d", b"e", b"12", b"longer than"];

fn text() -> impl Strategy<Value = Text> {
    prop::sample::select(&TEXTS[..])
}

fn step() -> impl Strategy<Value = Step> {
    let key = || 0..3u8;
    let later = || prop::option::weighted(0.8, 1..40u64);
    prop_oneof![
        6 => (key(), prop::collection::vec((text(), text()), 1..5)).prop_map(|(key, pairs)| Step::Set(key, pairs)),
        2 => (key(), text(), text()).prop_map(|(key, field, value)| Step::Update(key, field, value)),
        3 => (key(), prop::collection::vec(text(), 1..4)).prop_map(|(key, fields)| Step::Remove(key, fields)),
        8 => (key(), prop::collection::vec((text(), later()), 1..5)).prop_map(|(key, all)| Step::Deadlines(key, all)),
        4 => (1..20u64).prop_map(Step::Wait),
        3 => (0..4usize).prop_map(Step::Sweep),
        1 => key().prop_map(Step::Delete),
        1 => (key(), later()).prop_map(|(key, at)| Step::KeyDeadline(key, at)),
        1 => key().prop_map(Step::Overwrite),
        1 => (key(), key()).prop_map(|(key, to)| Step::Rename(key, to)),
        1 => (key(), 0..2u8, key()).prop_map(|(key, db, to)| Step::Copy(key, db, to)),
        1 => (key(), key()).prop_map(|(key, to)| Step::Carry(key, to)),
        1 => (0..2u8).prop_map(Step::Select),
        1 => (0..2u8, 0..3u8).prop_map(|(first, second)| Step::Swap(first, second)),
        1 => Just(Step::Flush),
        1 => Just(Step::FlushAll),
    ]
}

/// Forgets what time has taken: fields past their deadline, and keys.
fn age(model: &mut Model, now_ms: u64) {
    let lives = |deadline_ms: &Option<u64>| deadline_ms.is_none_or(|deadline_ms| now_ms <= deadline_ms);
    model.retain(|_, entry| {
        entry.fields.retain(|_, (_, deadline_ms)| lives(deadline_ms));
        lives(&entry.deadline_ms) && !entry.fields.is_empty()
    });
}

/// The entry of a hash that a command writes. Its key may still be there, with its deadline, though all its fields are gone.
fn entry<'m>(keyspace: &Keyspace<'_>, model: &'m mut Model, key: u8) -> &'m mut Entry {
    let deadline_ms = keyspace.record(&[key]).unwrap().and_then(|record| record.deadline_ms());
    model.entry((keyspace.db(), key)).or_insert_with(|| Entry { deadline_ms, ..Entry::default() })
}

/// Does one step in the keyspace and in the model.
fn take(keyspace: &mut Keyspace<'_>, model: &mut Model, step: &Step) {
    let (now_ms, db) = (keyspace.now_ms(), keyspace.db());
    match step {
        Step::Set(key, pairs) => {
            let mut hash = keyspace.hash_or_new(&[*key]).unwrap();
            let entry = entry(keyspace, model, *key);
            for (field, value) in pairs {
                let is_new = entry.fields.insert(field, (value, None)).is_none();
                assert_eq!(hash.insert(keyspace, field, value).unwrap(), is_new);
            }
            hash.save(keyspace).unwrap();
        }
        Step::Update(key, field, value) => {
            let mut hash = keyspace.hash_or_new(&[*key]).unwrap();
            let entry = entry(keyspace, model, *key);
            let deadline_ms = entry.fields.get(field).and_then(|(_, deadline_ms)| *deadline_ms);
            let is_new = entry.fields.insert(field, (value, deadline_ms)).is_none();
            assert_eq!(hash.update(keyspace, field, value).unwrap(), is_new);
            hash.save(keyspace).unwrap();
        }
        Step::Remove(key, fields) => {
            let Some(mut hash) = keyspace.hash(&[*key]).unwrap() else { return };
            let entry = entry(keyspace, model, *key);
            for field in fields {
                assert_eq!(hash.remove(keyspace, field).unwrap(), entry.fields.remove(field).is_some());
            }
            hash.save(keyspace).unwrap();
        }
        Step::Deadlines(key, deadlines) => {
            let Some(mut hash) = keyspace.hash(&[*key]).unwrap() else { return };
            let entry = entry(keyspace, model, *key);
            for (field, later_ms) in deadlines {
                let deadline_ms = later_ms.map(|later_ms| now_ms + later_ms);
                if let Some((_, deadline)) = entry.fields.get_mut(field) {
                    assert_eq!(hash.field_deadline_ms(keyspace, field).unwrap(), *deadline);
                    hash.set_field_deadline(keyspace, field, deadline_ms).unwrap();
                    *deadline = deadline_ms;
                }
            }
            hash.save(keyspace).unwrap();
        }
        Step::Wait(_) => {}
        Step::Sweep(count) => {
            let removed = keyspace.delete_expired_fields(*count, 0).unwrap();
            // Of a packed hash all fields go at once.
            assert!(removed <= count.saturating_sub(1) + TEXTS.len(), "{removed} of {count}");
            if removed < *count {
                assert!(keyspace.next_field_deadline_ms(0).unwrap().is_none_or(|next_ms| next_ms >= now_ms));
            }
        }
        Step::Delete(key) => {
            keyspace.delete(&[*key]).unwrap();
            model.remove(&(db, *key));
        }
        Step::KeyDeadline(key, later_ms) => {
            let deadline_ms = later_ms.map(|later_ms| now_ms + later_ms);
            keyspace.set_deadline(&[*key], deadline_ms).unwrap();
            if let Some(entry) = model.get_mut(&(db, *key)) {
                entry.deadline_ms = deadline_ms;
            }
        }
        Step::Overwrite(key) => {
            keyspace.set_string(&[*key], b"text", None).unwrap();
            assert!(keyspace.delete(&[*key]).unwrap());
            model.remove(&(db, *key));
        }
        Step::Rename(key, to) => {
            let replaced_ms = deadline_of(keyspace, db, *to);
            let exists = keyspace.rename(&[*key], &[*to]).unwrap();
            if exists && key != to {
                move_model(model, (db, *key), (db, *to), now_ms, replaced_ms);
                model.remove(&(db, *key));
            }
        }
        Step::Copy(key, to_db, to) => {
            let replaced_ms = deadline_of(keyspace, *to_db, *to);
            if (db, key) != (*to_db, to) && keyspace.copy_key(&[*key], *to_db, &[*to]).unwrap() {
                move_model(model, (db, *key), (*to_db, *to), now_ms, replaced_ms);
            }
        }
        Step::Carry(key, to) => {
            if let Serialized::Bytes(bytes) = keyspace.serialize(&[*key], usize::MAX).unwrap() {
                let replaced_ms = deadline_of(keyspace, db, *to);
                assert!(keyspace.restore(&[*to], &bytes).unwrap());
                move_model(model, (db, *key), (db, *to), now_ms, replaced_ms);
            }
        }
        Step::Select(db) => keyspace.select(*db),
        Step::Swap(first, second) => {
            keyspace.swap_databases(*first, *second);
            let (of_first, of_second) = (*first, *second);
            let swapped = |db: u8| match db {
                db if db == of_first => of_second,
                db if db == of_second => of_first,
                db => db,
            };
            *model = std::mem::take(model).into_iter().map(|((db, key), entry)| ((swapped(db), key), entry)).collect();
        }
        Step::Flush => {
            keyspace.flush().unwrap();
            model.retain(|(of, _), _| *of != db);
        }
        Step::FlushAll => {
            keyspace.flush_all();
            model.clear();
        }
    }
}

/// The deadline of a key, whether it has fields or not.
fn deadline_of(keyspace: &mut Keyspace<'_>, db: u8, key: u8) -> Option<u64> {
    let selected = keyspace.db();
    keyspace.select(db);
    let deadline_ms = keyspace.record(&[key]).unwrap().and_then(|record| record.deadline_ms());
    keyspace.select(selected);
    deadline_ms
}

/// Puts an entry in the place of another with the deadline `replaced_ms`. In its last millisecond a key is not put elsewhere any
/// more: a deadline that is not after now deletes, unless the key has it already.
fn move_model(model: &mut Model, from: (u8, u8), to: (u8, u8), now_ms: u64, replaced_ms: Option<u64>) {
    match model.get(&from).cloned() {
        Some(entry) if entry.deadline_ms == Some(now_ms) && replaced_ms != entry.deadline_ms => {
            drop(model.remove(&to));
        }
        Some(entry) => drop(model.insert(to, entry)),
        // Its key is there, its fields are gone.
        None => drop(model.remove(&to)),
    }
}

/// Compares all that can be seen of a hash with the model.
fn check_seen(keyspace: &Keyspace<'_>, key: u8, entry: Option<&Entry>) {
    let expected = entry.map(|entry| entry.fields.clone()).unwrap_or_default();
    let Some(hash) = keyspace.hash(&[key]).unwrap() else {
        assert!(expected.is_empty(), "key {key} is gone with {expected:?}");
        return;
    };
    if let Some(entry) = entry {
        assert_eq!(keyspace.record(&[key]).unwrap().unwrap().deadline_ms(), entry.deadline_ms);
    }
    let live = expected.len() as u64;
    assert_eq!(hash.live_len(keyspace).unwrap(), live);
    assert!(if hash.is_packed() { hash.len() == live } else { hash.len() >= live });
    for text in TEXTS {
        let (value, deadline_ms) = (hash.get(keyspace, text).unwrap(), hash.field_deadline_ms(keyspace, text).unwrap());
        let found = value.as_deref().map(|value| (value.to_vec(), deadline_ms));
        assert_eq!(found, expected.get(text).map(|(value, deadline_ms)| (value.to_vec(), *deadline_ms)));
    }
    let mut seen = BTreeMap::new();
    hash.each(keyspace, &mut |field, value| assert!(seen.insert(field.to_vec(), value.to_vec()).is_none())).unwrap();
    let pairs: BTreeMap<Vec<u8>, Vec<u8>> =
        expected.iter().map(|(field, (value, _))| (field.to_vec(), value.to_vec())).collect();
    assert_eq!(seen, pairs);
    let mut with_deadlines = BTreeMap::new();
    hash.each_with_deadline(keyspace, &mut |field, value, deadline_ms| {
        with_deadlines.insert(field.to_vec(), (value.to_vec(), deadline_ms));
        Ok(ControlFlow::Continue(()))
    })
    .unwrap();
    let all: BTreeMap<Vec<u8>, (Vec<u8>, Option<u64>)> =
        expected.iter().map(|(field, (value, at))| (field.to_vec(), (value.to_vec(), *at))).collect();
    assert_eq!(with_deadlines, all);
    check_names(keyspace, key, &pairs);
}

fn check_names(keyspace: &Keyspace<'_>, key: u8, pairs: &BTreeMap<Vec<u8>, Vec<u8>>) {
    let names = keyspace.names(&[key], Type::Hash).unwrap().unwrap();
    assert_eq!((names.len(), names.is_empty()), (pairs.len() as u64, pairs.is_empty()));
    let (mut seen, mut from) = (BTreeMap::new(), Some(0));
    while let Some(hash) = from {
        from = names
            .page(keyspace, hash, &mut |name, value| {
                assert!(seen.insert(name.to_vec(), value.to_vec()).is_none(), "twice");
                Ok(ControlFlow::Break(()))
            })
            .unwrap();
    }
    assert_eq!(&seen, pairs, "by pages");
    let mut number = 0u64;
    let mut random = || {
        number = number.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        number
    };
    let mut sampled = BTreeMap::new();
    names
        .sample(keyspace, 3, &mut random, &mut |name, value| {
            sampled.insert(name.to_vec(), value.to_vec());
            Ok(ControlFlow::Continue(()))
        })
        .unwrap();
    assert_eq!(sampled.len(), pairs.len().min(3));
    let mut drawn = 0;
    let mut check = |name: &[u8], value: &[u8]| {
        assert_eq!(pairs.get(name).map(Vec::as_slice), Some(value));
        drawn += 1;
        Ok(ControlFlow::Continue(()))
    };
    names.draw(keyspace, 1, &mut random, &mut check).unwrap();
    names.draw(keyspace, 5, &mut random, &mut check).unwrap();
    assert_eq!(drawn, if pairs.is_empty() { 0 } else { 6 });
    assert!(sampled.iter().all(|pair| pairs.get_key_value(pair.0) == Some(pair)));
}

/// The element rows of a collection by their kinds.
#[derive(Default)]
struct Elements {
    fields: BTreeSet<Vec<u8>>,
    deadlines: BTreeSet<(u64, Vec<u8>)>,
    order: BTreeSet<(u64, Vec<u8>)>,
}

/// Compares the rows with each other: deadlines of fields with their order, the earliest with the metadata and the index.
fn check_rows(rows: &MemoryRows) {
    let (mut index, mut due, mut hashes) = (BTreeSet::new(), BTreeSet::new(), Vec::new());
    let mut elements: BTreeMap<Vec<u8>, Elements> = BTreeMap::new();
    let number = |bytes: &[u8]| u64::from_be_bytes(bytes.try_into().unwrap());
    rows.scan(Bound::Unbounded, Bound::Unbounded, Direction::Forward, &mut |row, value| {
        if let Some((deadline_ms, space, key)) = key::read_deadline_key(Due::Fields, row) {
            index.insert((deadline_ms, space, key.to_vec()));
        } else if usize::from(row[0]) >= DATABASE_COUNT {
            // The index of keys' deadlines.
        } else if let Some(element) = ElementKey::read(row) {
            let prefix = row[..(ROW_RULES.element_prefix)(row).unwrap()].to_vec();
            let of_hash = elements.entry(prefix).or_default();
            match element.element[0] {
                0 => assert!(of_hash.fields.insert(element.element[5..].to_vec())),
                1 => assert!(of_hash.deadlines.insert((number(value), element.element[5..].to_vec()))),
                2 => assert!(of_hash.order.insert((number(&element.element[1..9]), element.element[9..].to_vec()))),
                kind => panic!("a row of kind {kind}"),
            }
        } else if let Some(KeyRow::Meta(_, key)) = KeyRow::read(row) {
            let (space, meta) = (Space::read(row[0]).unwrap(), Meta::read(value).unwrap());
            due.extend(meta.fields_due_ms.map(|due_ms| (due_ms, space, key.to_vec())));
            assert!(!meta.is_packed || Packed::is_whole(value), "{value:?}");
            if let Some(version) = meta.version() {
                let prefix = ElementKey::prefix(space, key::Slot::of(key), key, version).to_vec();
                hashes.push((prefix, number(&meta.body[8..16]), meta.fields_due_ms));
            }
        }
        ControlFlow::Continue(())
    })
    .unwrap();
    assert_eq!(index, due, "the index of hashes with deadlines of fields");
    let mut counts = [0; DATABASE_COUNT];
    index.iter().for_each(|(_, space, _)| counts[usize::from(rows.counters().spaces.database_at(*space))] += 1);
    assert_eq!(rows.counters().field_deadlines, counts);
    for (prefix, size, due_ms) in hashes {
        let Elements { fields, deadlines, order } = elements.remove(&prefix).unwrap_or_default();
        assert_eq!(fields.len() as u64, size);
        assert_eq!(deadlines, order);
        assert_eq!(order.first().map(|(deadline_ms, _)| *deadline_ms), due_ms, "the earliest of {order:?}");
        assert!(deadlines.iter().all(|(_, field)| fields.contains(field)), "{deadlines:?} of {fields:?}");
    }
}

/// Does all steps, and checks after each; returns the rows.
fn run(steps: &[Step], packing: &'static Packing) -> MemoryRows {
    let (mut rows, mut scratch, mut model) = (MemoryRows::default(), Scratch::default(), Model::new());
    let (mut now_ms, mut db) = (1000, 0);
    for (index, step) in steps.iter().enumerate() {
        if let Step::Wait(milliseconds) = step {
            now_ms += milliseconds;
        }
        age(&mut model, now_ms);
        let versions = VersionSource::entry(index as u64 + 1).with_packing(packing);
        let mut keyspace = Keyspace::new(&mut rows, &mut scratch, versions, db, now_ms);
        take(&mut keyspace, &mut model, step);
        age(&mut model, now_ms);
        db = keyspace.db();
        for of in 0..3 {
            keyspace.select(of);
            for key in 0..3 {
                check_seen(&keyspace, key, model.get(&(of, key)));
            }
        }
        check_rows(&rows);
        let earliest_ms = scratch.take_earliest_deadline_ms();
        assert!(earliest_ms.is_none_or(|deadline_ms| deadline_ms > 1000), "{earliest_ms:?} was stored");
    }
    // What is left goes with its time, and leaves nothing.
    let versions = VersionSource::entry(steps.len() as u64 + 1).with_packing(packing);
    let mut keyspace = Keyspace::new(&mut rows, &mut scratch, versions, 0, now_ms + 1000);
    while keyspace.delete_expired_fields(2, 0).unwrap() > 0 {}
    assert_eq!(keyspace.next_field_deadline_ms(0).unwrap(), None);
    check_rows(&rows);
    rows
}

fn content(rows: &MemoryRows) -> Vec<(Vec<u8>, Vec<u8>)> {
    let mut all = Vec::new();
    rows.scan(Bound::Unbounded, Bound::Unbounded, Direction::Forward, &mut |row, value| {
        all.push((row.to_vec(), value.to_vec()));
        ControlFlow::Continue(())
    })
    .unwrap();
    all
}

#[test]
fn a_key_is_put_nowhere_else_in_its_last_millisecond() {
    for moved in [Step::Rename(0, 1), Step::Copy(0, 1, 1), Step::Carry(0, 1)] {
        for (later_ms, is_moved) in [(36, false), (37, true)] {
            let set = Step::Set(0, vec![(b"a", b"1")]);
            let steps = [set, Step::KeyDeadline(0, Some(later_ms)), Step::Wait(36), moved.clone()];
            for packing in [&TINY, &Packing::STANDARD, &Packing::NONE] {
                let rows = run(&steps, packing);
                let is_there = rows.counters().keys.iter().sum::<u64>() > u64::from(!matches!(moved, Step::Rename(..)));
                assert_eq!(is_there, is_moved, "{steps:?}");
            }
        }
    }
}

proptest! {
    #[test]
    fn no_field_is_seen_after_its_deadline_and_each_deadline_has_its_rows(
        steps in prop::collection::vec(step(), 1..60),
    ) {
        for packing in [&TINY, &Packing::STANDARD, &Packing::NONE] {
            let (rows, again) = (run(&steps, packing), run(&steps, packing));
            prop_assert_eq!(content(&rows), content(&again), "a replay comes to the same rows");
        }
    }
}
