//! Hashes and sets against plain lists of their elements, with bounds so small that packed ones become rows all the time: whatever
//! is done, they hold what they should, in their order, in the form that they should have, and leave no rows behind.

use std::collections::BTreeMap;
use std::ops::{Bound, ControlFlow};

use proptest::prelude::*;

use super::key::ElementKey;
use super::{Counting, Keyspace, Packing, ROW_RULES, Scratch, Serialized, Type, VersionSource};
use crate::rows::Rows;
use crate::{Direction, MemoryRows, Trial};

const TINY: Packing = Packing {
    hash_fields_max: 3,
    set_members_max: 3,
    integers_max: 5,
    sorted_set_members_max: 3,
    list_bytes_max: 20,
    string_bytes_max: 6,
    counting: Counting::NONE,
};

type Text = &'static [u8];

#[derive(Debug, Clone)]
enum Step {
    SetFields(u8, Vec<(Text, Text)>),
    RemoveFields(u8, Vec<Text>),
    Add(u8, Vec<Text>),
    Remove(u8, Vec<Text>),
    Pop(u8, u64),
    Replace(u8, Vec<Text>),
    Delete(u8),
    Deadline(u8, Option<u64>),
    Rename(u8, u8),
    Copy(u8, u8),
    Carry(u8, u8),
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Form {
    Strings,
    Integers,
    Rows,
}

#[derive(Debug, Clone, PartialEq, Eq)]
struct Entry {
    kind: Type,
    form: Form,
    elements: Vec<(Text, Text)>,
    deadline_ms: Option<u64>,
}

type Model = BTreeMap<u8, Entry>;

const TEXTS: [Text; 11] = [b"", b"a", b"b", b"c", b"longer than", b"1", b"-7", b"70000", b"5000000000", b"12", b"01"];

fn texts() -> impl Strategy<Value = Text> {
    prop::sample::select(&TEXTS[..])
}

fn step() -> impl Strategy<Value = Step> {
    let key = || 0..4u8;
    let members = || prop::collection::vec(texts(), 1..4);
    prop_oneof![
        8 => (key(), prop::collection::vec((texts(), texts()), 1..4)).prop_map(|(key, pairs)| Step::SetFields(key, pairs)),
        4 => (key(), members()).prop_map(|(key, fields)| Step::RemoveFields(key, fields)),
        8 => (key(), members()).prop_map(|(key, members)| Step::Add(key, members)),
        4 => (key(), members()).prop_map(|(key, members)| Step::Remove(key, members)),
        2 => (key(), any::<u64>()).prop_map(|(key, random)| Step::Pop(key, random)),
        1 => (key(), members()).prop_map(|(key, members)| Step::Replace(key, members)),
        2 => key().prop_map(Step::Delete),
        2 => (key(), prop::option::of(900..1100u64)).prop_map(|(key, at)| Step::Deadline(key, at)),
        1 => (key(), key()).prop_map(|(key, to)| Step::Rename(key, to)),
        1 => (key(), key()).prop_map(|(key, to)| Step::Copy(key, to)),
        1 => (key(), key()).prop_map(|(key, to)| Step::Carry(key, to)),
    ]
}

fn integer(text: &[u8]) -> Option<i64> {
    std::str::from_utf8(text).ok()?.parse::<i64>().ok().filter(|value| value.to_string().as_bytes() == text)
}

impl Entry {
    fn new(kind: Type) -> Entry {
        Entry { kind, form: Form::Strings, elements: Vec::new(), deadline_ms: None }
    }

    fn position(&self, name: &[u8]) -> Option<usize> {
        self.elements.iter().position(|(found, _)| *found == name)
    }

    fn insert(&mut self, name: Text, value: Text) {
        if self.kind == Type::Set
            && (self.elements.is_empty() && self.form != Form::Rows || self.form == Form::Integers)
        {
            match (integer(name), self.form) {
                (Some(_), _) => self.form = Form::Integers,
                (None, Form::Integers) if self.elements.len() < 3 && name.len() <= 6 => self.form = Form::Strings,
                (None, Form::Integers) => self.form = Form::Rows,
                (None, _) => {}
            }
        }
        let (position, fits) = (self.position(name), name.len().max(value.len()) <= 6);
        let max = if self.form == Form::Integers { 5 } else { 3 };
        // Redis looks at the length of a field or value first, whatever is there, and at a member's only if it is new.
        let is_too_long = self.form == Form::Strings && !fits && (self.kind == Type::Hash || position.is_none());
        if is_too_long || (position.is_none() && self.elements.len() >= max) {
            self.form = Form::Rows;
        }
        match position {
            Some(position) => self.elements[position].1 = value,
            None => self.elements.push((name, value)),
        }
        if self.form == Form::Integers {
            self.elements.sort_by_key(|(name, _)| integer(name));
        }
    }

    fn remove(&mut self, name: &[u8]) {
        self.elements.retain(|(found, _)| *found != name);
    }
}

/// The entry of `key` if it is of that type, or a new one.
fn entry(model: &mut Model, key: u8, kind: Type) -> Option<&mut Entry> {
    Some(model.entry(key).or_insert_with(|| Entry::new(kind))).filter(|entry| entry.kind == kind)
}

/// Does one step in the keyspace and in the model. Handlers save once, at the end.
fn take(keyspace: &mut Keyspace<'_>, model: &mut Model, step: &Step) {
    let now_ms = keyspace.now_ms();
    match step {
        Step::SetFields(key, pairs) => match keyspace.hash_or_new(&[*key]) {
            Ok(mut hash) => {
                let entry = entry(model, *key, Type::Hash).expect("a hash");
                for (field, value) in pairs {
                    let is_new = entry.position(field).is_none();
                    assert_eq!(hash.insert(keyspace, field, value).unwrap(), is_new);
                    entry.insert(field, value);
                    assert_eq!(hash.get(keyspace, field).unwrap().as_deref(), Some(*value));
                }
                hash.save(keyspace).unwrap();
            }
            Err(_) => assert_eq!(model[key].kind, Type::Set),
        },
        Step::RemoveFields(key, fields) => {
            if let Ok(Some(mut hash)) = keyspace.hash(&[*key]) {
                let entry = entry(model, *key, Type::Hash).expect("a hash");
                for field in fields {
                    assert_eq!(hash.remove(keyspace, field).unwrap(), entry.position(field).is_some());
                    entry.remove(field);
                }
                hash.save(keyspace).unwrap();
            }
        }
        Step::Add(key, members) => match keyspace.set_or_new(&[*key]) {
            Ok(mut set) => {
                let entry = entry(model, *key, Type::Set).expect("a set");
                for member in members {
                    assert_eq!(set.insert(keyspace, member).unwrap(), entry.position(member).is_none());
                    entry.insert(member, b"");
                    assert!(set.contains(keyspace, member).unwrap());
                }
                set.save(keyspace).unwrap();
            }
            Err(_) => assert_eq!(model[key].kind, Type::Hash),
        },
        Step::Remove(key, members) => {
            if let Ok(Some(mut set)) = keyspace.set(&[*key]) {
                let entry = entry(model, *key, Type::Set).expect("a set");
                for member in members {
                    assert_eq!(set.remove(keyspace, member).unwrap(), entry.position(member).is_some());
                    entry.remove(member);
                }
                set.save(keyspace).unwrap();
            }
        }
        Step::Pop(key, random) => {
            if let Ok(Some(mut set)) = keyspace.set(&[*key]) {
                let entry = entry(model, *key, Type::Set).expect("a set");
                set.pop(keyspace, *random, &mut |member| {
                    let position = entry.position(member).expect("a member");
                    let drawn = (u128::from(*random) * entry.elements.len() as u128) >> 64;
                    assert!(entry.form == Form::Rows || position as u128 == drawn);
                    entry.elements.remove(position);
                })
                .unwrap();
                set.save(keyspace).unwrap();
            }
        }
        Step::Replace(key, members) => {
            let (mut set, mut entry) = (keyspace.set_replacing(&[*key]).unwrap(), Entry::new(Type::Set));
            for member in members.iter().skip(1) {
                set.insert(keyspace, member).unwrap();
                entry.insert(member, b"");
            }
            set.save(keyspace).unwrap();
            model.insert(*key, entry);
        }
        Step::Delete(key) => assert_eq!(keyspace.delete(&[*key]).unwrap(), model.remove(key).is_some()),
        Step::Deadline(key, deadline_ms) => {
            let existed = keyspace.set_deadline(&[*key], *deadline_ms).unwrap();
            assert_eq!(existed, model.contains_key(key));
            if let Some(entry) = model.get_mut(key) {
                let is_last_ms = *deadline_ms == Some(now_ms) && entry.deadline_ms == *deadline_ms;
                if deadline_ms.is_some_and(|deadline_ms| deadline_ms <= now_ms) && !is_last_ms {
                    model.remove(key);
                } else {
                    entry.deadline_ms = *deadline_ms;
                }
            }
        }
        Step::Rename(key, to) if key == to => {}
        Step::Rename(key, to) => {
            assert_eq!(keyspace.rename(&[*key], &[*to]).unwrap(), model.contains_key(key));
            if let Some(entry) = model.remove(key) {
                put_copy(model, *to, entry, now_ms);
            }
        }
        Step::Copy(key, to) if key == to => {}
        Step::Copy(key, to) => {
            assert_eq!(keyspace.copy_key(&[*key], 0, &[*to]).unwrap(), model.contains_key(key));
            if let Some(entry) = model.get(key).cloned() {
                put_copy(model, *to, entry, now_ms);
            }
        }
        Step::Carry(key, to) => {
            if let Serialized::Bytes(bytes) = keyspace.serialize(&[*key], usize::MAX).unwrap() {
                assert!(keyspace.restore(&[*to], &bytes).unwrap());
                let entry = model[key].clone();
                put_copy(model, *to, entry, now_ms);
            }
        }
    }
    model.retain(|_, entry| !entry.elements.is_empty());
}

/// Puts a key over another one; what it has a deadline for that is now is deleted, unless the other had the same.
fn put_copy(model: &mut Model, to: u8, entry: Entry, now_ms: u64) {
    let had = model.remove(&to).and_then(|entry| entry.deadline_ms);
    if entry.deadline_ms != Some(now_ms) || had == entry.deadline_ms {
        model.insert(to, entry);
    }
}

/// Compares all keys with the model, by all ways to read them.
fn check(keyspace: &Keyspace<'_>, model: &Model) {
    for key in 0..4u8 {
        let record = keyspace.record(&[key]).unwrap();
        let Some(entry) = model.get(&key) else {
            assert!(record.is_none(), "{key}");
            continue;
        };
        let record = record.unwrap_or_else(|| panic!("key {key} is missing"));
        assert_eq!((record.kind(), record.deadline_ms()), (entry.kind, entry.deadline_ms));
        assert_eq!(record.is_packed(), entry.form != Form::Rows, "{key}: {entry:?}");
        let mut found = Vec::new();
        if entry.kind == Type::Hash {
            let hash = keyspace.hash(&[key]).unwrap().unwrap();
            hash.each(keyspace, &mut |field, value| found.push((field.to_vec(), value.to_vec()))).unwrap();
        } else {
            let set = keyspace.set(&[key]).unwrap().unwrap();
            set.each(keyspace, &mut |member| found.push((member.to_vec(), Vec::new()))).unwrap();
            assert_eq!(set.is_of_integers(), entry.form == Form::Integers);
        }
        let mut expected: Vec<(Vec<u8>, Vec<u8>)> =
            entry.elements.iter().map(|(name, value)| (name.to_vec(), value.to_vec())).collect();
        let names = keyspace.names(&[key], entry.kind).unwrap().unwrap();
        assert_eq!(names.len(), expected.len() as u64);
        for (name, value) in &expected {
            assert_eq!(names.get(keyspace, name).unwrap().as_deref(), Some(&value[..]));
        }
        assert!(!names.contains(keyspace, b"none").unwrap());
        let mut paged = Vec::new();
        let next = names.page(keyspace, 0, &mut |name, value| {
            paged.push((name.to_vec(), value.to_vec()));
            Ok(ControlFlow::Continue(()))
        });
        assert_eq!((next.unwrap(), &paged), (None, &found));
        let (mut drawn, mut number) = (Vec::new(), 0u64);
        let mut random = || {
            number = number.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
            number
        };
        let visit = &mut |name: &[u8], value: &[u8]| {
            drawn.push((name.to_vec(), value.to_vec()));
            Ok(ControlFlow::Continue(()))
        };
        names.draw(keyspace, 1, &mut random, visit).unwrap();
        names.draw(keyspace, 3, &mut random, visit).unwrap();
        assert_eq!(drawn.len(), 4);
        assert!(drawn.iter().all(|pair| expected.contains(pair)), "{drawn:?}");
        let mut sampled = Vec::new();
        names
            .sample(keyspace, 2, &mut random, &mut |name, value| {
                sampled.push((name.to_vec(), value.to_vec()));
                Ok(ControlFlow::Continue(()))
            })
            .unwrap();
        sampled.sort();
        sampled.dedup();
        assert_eq!(sampled.len(), expected.len().min(2));
        if entry.form == Form::Rows {
            found.sort();
            expected.sort();
        }
        assert_eq!(found, expected, "{key}: {:?}", entry.form);
    }
}

/// Counts the element rows that are no orphans and compares them with the elements of collections in rows.
fn check_rows(rows: &MemoryRows, model: &Model, now_ms: u64) {
    let mut living = 0;
    rows.scan(Bound::Unbounded, Bound::Unbounded, Direction::Forward, &mut |row, _| {
        if let Some(prefix_bytes) = (ROW_RULES.element_prefix)(row) {
            assert!(ElementKey::read(row).is_some());
            let prefix = &row[..prefix_bytes];
            let deciding = rows.get(&(ROW_RULES.deciding_row)(prefix).unwrap()).unwrap();
            living += usize::from(!(ROW_RULES.is_orphan)(prefix, deciding.as_deref()).unwrap());
        }
        ControlFlow::Continue(())
    })
    .unwrap();
    let live = |entry: &&Entry| entry.deadline_ms.is_none_or(|deadline_ms| deadline_ms >= now_ms);
    let in_rows = model.values().filter(|entry| entry.form == Form::Rows);
    assert_eq!(living, in_rows.filter(live).map(|entry| entry.elements.len()).sum::<usize>());
}

proptest! {
    #[test]
    fn packed_collections_are_what_they_were_as_rows(
        steps in prop::collection::vec((step(), 0..10u8), 1..80),
    ) {
        let (mut rows, mut scratch, mut model) = (MemoryRows::default(), Scratch::default(), Model::new());
        for (index, (step, chance)) in steps.iter().enumerate() {
            let versions = VersionSource::entry(index as u64).with_packing(&TINY);
            if *chance == 0 {
                // Undone, whatever it did.
                let mut trial = Trial::new(&rows, usize::MAX);
                let mut keyspace = Keyspace::new(&mut trial, &mut scratch, versions, 0, 1000);
                let mut of_trial = model.clone();
                take(&mut keyspace, &mut of_trial, step);
                check(&keyspace, &of_trial);
            } else {
                let mut keyspace = Keyspace::new(&mut rows, &mut scratch, versions, 0, 1000);
                take(&mut keyspace, &mut model, step);
            }
            let keyspace = Keyspace::new(&mut rows, &mut scratch, VersionSource::none(), 0, 1000);
            check(&keyspace, &model);
            check_rows(&rows, &model, 1000);
        }
    }
}

#[test]
fn an_entry_that_packs_nothing_makes_rows_and_changes_what_is_packed_into_them() {
    let (mut rows, mut scratch) = (MemoryRows::default(), Scratch::default());
    let packing = |index, packing| VersionSource::entry(index).with_packing(packing);
    let mut keyspace = Keyspace::new(&mut rows, &mut scratch, packing(1, &Packing::NONE), 0, 1000);
    for key in [&b"hash"[..], b"other"] {
        let mut hash = keyspace.hash_or_new(key).unwrap();
        hash.insert(&mut keyspace, b"f", b"v").unwrap();
        hash.save(&mut keyspace).unwrap();
        assert!(!hash.is_packed());
    }
    let mut keyspace = Keyspace::new(&mut rows, &mut scratch, packing(2, &Packing::STANDARD), 0, 1000);
    let mut hash = keyspace.hash_or_new(b"hash").unwrap();
    hash.insert(&mut keyspace, b"g", b"w").unwrap();
    hash.save(&mut keyspace).unwrap();
    assert!(!hash.is_packed(), "it stays as it is until the key is made anew");
    keyspace.delete(b"hash").unwrap();
    let mut hash = keyspace.hash_or_new(b"hash").unwrap();
    hash.insert(&mut keyspace, b"g", b"w").unwrap();
    hash.save(&mut keyspace).unwrap();
    assert!(keyspace.hash(b"hash").unwrap().unwrap().is_packed());
    assert!(!keyspace.hash(b"other").unwrap().unwrap().is_packed());
    let mut keyspace = Keyspace::new(&mut rows, &mut scratch, packing(3, &Packing::NONE), 0, 1000);
    let mut hash = keyspace.hash_or_new(b"hash").unwrap();
    hash.insert(&mut keyspace, b"f", b"v").unwrap();
    hash.save(&mut keyspace).unwrap();
    let hash = keyspace.hash(b"hash").unwrap().unwrap();
    assert_eq!((hash.is_packed(), hash.len()), (false, 2));
}
