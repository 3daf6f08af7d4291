//! Lists against a plain vector, over the bound up to which they are packed and back.

use std::ops::ControlFlow;

use proptest::prelude::*;

use super::support::Shard;
use super::{End, Keyspace, List, Packing, ROW_RULES, Scratch, Serialized, VersionSource};
use crate::{BlockCache, Direction, Store, StoreOptions};

/// Bounds that are soon reached.
static TINY: Packing = Packing { list_bytes_max: 12, ..Packing::STANDARD };

#[derive(Debug, Clone)]
enum Step {
    Push(End, Vec<Vec<u8>>),
    Pop(End, u64),
    Remove(End, u64),
    Set(u64, Vec<u8>),
    Insert(u64, Vec<u8>),
    TakeOut(Vec<bool>),
    Read(u64, u64),
    Search(u64, u64, Direction),
    Deadline(Option<u64>),
    Copy,
    Carry,
}

fn step() -> impl Strategy<Value = Step> {
    let end = || prop_oneof![Just(End::Head), Just(End::Tail)];
    let value = || {
        let bytes = |length| proptest::collection::vec(any::<u8>(), length);
        prop_oneof![9 => bytes(0..4usize), 1 => bytes(100..200)]
    };
    let way = prop_oneof![Just(Direction::Forward), Just(Direction::Backward)];
    prop_oneof![
        3 => (end(), proptest::collection::vec(value(), 1..5)).prop_map(|(end, values)| Step::Push(end, values)),
        3 => (end(), 0..5u64).prop_map(|(end, count)| Step::Pop(end, count)),
        1 => (end(), 0..3u64).prop_map(|(end, count)| Step::Remove(end, count)),
        1 => (0..10u64, value()).prop_map(|(index, value)| Step::Set(index, value)),
        2 => (0..10u64, value()).prop_map(|(index, value)| Step::Insert(index, value)),
        1 => proptest::collection::vec(prop::bool::weighted(0.3), 0..12).prop_map(Step::TakeOut),
        2 => (0..10u64, 0..10u64).prop_map(|(from, count)| Step::Read(from, count)),
        1 => (0..9u64, 0..9u64, way).prop_map(|(from, count, way)| Step::Search(from, count, way)),
        1 => proptest::option::of(2000..3000u64).prop_map(Step::Deadline),
        1 => Just(Step::Copy),
        1 => Just(Step::Carry),
    ]
}

/// Bytes of the elements in one row.
fn packed_bytes(model: &[Vec<u8>]) -> usize {
    model.iter().map(|value| value.len() + if value.len() < 128 { 1 } else { 2 }).sum()
}

/// Reads all of it, and compares.
fn check(shard: &mut Shard, key: &[u8], model: &[Vec<u8>], is_packed: bool, deadline_ms: Option<u64>) {
    let keyspace = shard.keyspace();
    assert_eq!(keyspace.exists(key).unwrap(), !model.is_empty());
    let mut read: Vec<Vec<u8>> = Vec::new();
    if let Some(list) = keyspace.list(key).unwrap() {
        assert_eq!(list.len(), model.len() as u64);
        list.each(&keyspace, 0..list.len(), &mut |value| read.push(value.to_vec())).unwrap();
        assert_eq!(keyspace.record(key).unwrap().unwrap().deadline_ms(), deadline_ms);
        assert_eq!(list.is_packed(), is_packed, "{} bytes", packed_bytes(model));
    }
    assert_eq!(read, model);
    assert_eq!(shard.element_count(key), if is_packed { 0 } else { model.len() });
}

fn take(shard: &mut Shard, model: &mut Vec<Vec<u8>>, step: Step) {
    let mut keyspace = shard.keyspace();
    let mut list: List = keyspace.list_or_new(b"k").unwrap();
    let length = list.len();
    assert_eq!(length, model.len() as u64);
    match step {
        Step::Push(end, values) => {
            for value in values {
                list.push(&mut keyspace, end, &value).unwrap();
                model.insert(if end == End::Head { 0 } else { model.len() }, value);
            }
        }
        Step::Pop(end, count) => {
            let mut popped = Vec::new();
            list.pop(&mut keyspace, end, count, &mut |value| popped.push(value.to_vec())).unwrap();
            let count = (count as usize).min(model.len());
            let expected: Vec<_> = match end {
                End::Head => model.drain(..count).collect(),
                End::Tail => model.drain(model.len() - count..).rev().collect(),
            };
            assert_eq!(popped, expected);
        }
        Step::Remove(end, count) => {
            let count = count.min(length);
            list.remove(&mut keyspace, end, count).unwrap();
            match end {
                End::Head => drop(model.drain(..count as usize)),
                End::Tail => model.truncate((length - count) as usize),
            }
        }
        Step::Set(index, value) => {
            if index < length {
                list.set(&mut keyspace, index, &value).unwrap();
                model[index as usize] = value;
            }
            return;
        }
        Step::Insert(index, value) => {
            let index = index.min(length);
            list.insert(&mut keyspace, index, &value).unwrap();
            model.insert(index as usize, value);
        }
        Step::TakeOut(which) => {
            let goes = |index: u64| which.get(index as usize).copied().unwrap_or(false);
            let indexes: Vec<u64> = (0..length).filter(|index| goes(*index)).collect();
            if !indexes.is_empty() {
                list.take_out(&mut keyspace, &indexes).unwrap();
            }
            let mut index = 0..;
            model.retain(|_| index.next().is_some_and(|index| !goes(index)));
        }
        Step::Read(from, count) => {
            let row = list.get(&keyspace, from).unwrap();
            assert_eq!(row.as_deref(), model.get(from as usize).map(|value| &value[..]));
            let (from, to) = (from.min(length), (from + count).min(length));
            let mut read = Vec::new();
            list.each(&keyspace, from..to, &mut |value| read.push(value.to_vec())).unwrap();
            assert_eq!(read, model[from as usize..to as usize]);
        }
        Step::Search(from, count, way) => {
            let (from, to) = (from.min(length), (from + count).min(length));
            let mut expected: Vec<_> = (from..to).map(|index| (index, model[index as usize].clone())).collect();
            if way == Direction::Backward {
                expected.reverse();
            }
            expected.truncate(3);
            let mut found = Vec::new();
            let visit = &mut |index, value: &[u8]| {
                found.push((index, value.to_vec()));
                if found.len() < 3 { ControlFlow::Continue(()) } else { ControlFlow::Break(()) }
            };
            list.search(&keyspace, from..to, way, visit).unwrap();
            assert_eq!(found, expected);
        }
        Step::Deadline(deadline_ms) => {
            assert_eq!(keyspace.set_deadline(b"k", deadline_ms).unwrap(), !model.is_empty());
            return;
        }
        Step::Copy => {
            assert_eq!(keyspace.copy_key(b"k", 0, b"copy").unwrap(), !model.is_empty());
            return;
        }
        Step::Carry => {
            match keyspace.serialize(b"k", usize::MAX).unwrap() {
                Serialized::Bytes(bytes) => assert!(keyspace.restore(b"copy", &bytes).unwrap()),
                other => assert_eq!((other, model.len()), (Serialized::Absent, 0)),
            }
            return;
        }
    }
    list.save(&mut keyspace);
}

proptest! {
    #[test]
    fn a_list_is_a_vector_however_it_is_kept(steps in proptest::collection::vec(step(), 1..60), kept in 0..3usize) {
        let packing = [&Packing::NONE, &TINY, &Packing::STANDARD][kept];
        let (mut shard, mut model, mut deadline_ms) = (Shard::packing(packing), Vec::new(), None);
        let mut is_packed = true;
        for step in steps {
            let is_copied = matches!(step, Step::Copy | Step::Carry) && !model.is_empty();
            let (set, pushes) = (matches!(step, Step::Set(..)), matches!(step, Step::Push(..) | Step::Insert(..)));
            if let Step::Deadline(new_ms) = step {
                deadline_ms = new_ms;
            }
            let grown = match &step {
                Step::Set(index, value) if *index < model.len() as u64 => {
                    packed_bytes(&model) + packed_bytes(std::slice::from_ref(value))
                }
                _ => 0,
            };
            take(&mut shard, &mut model, step);
            // Whatever has outgrown its row stays so until it is gone.
            let outgrown = if pushes { packed_bytes(&model) } else if set { grown } else { 0 };
            is_packed &= outgrown <= packing.list_bytes_max;
            if model.is_empty() {
                (is_packed, deadline_ms) = (true, None);
            }
            check(&mut shard, b"k", &model, is_packed && kept > 0, deadline_ms);
            if is_copied {
                check(&mut shard, b"copy", &model, is_packed && kept > 0, deadline_ms);
            }
        }
    }
}

#[test]
fn a_list_goes_to_rows_in_one_write_and_never_back() {
    let mut shard = Shard::packing(&TINY);
    for number in 0..40u8 {
        let mut keyspace = shard.keyspace();
        let mut list = keyspace.list_or_new(b"k").unwrap();
        list.push(&mut keyspace, End::Tail, &[number]).unwrap();
        list.save(&mut keyspace);
        let elements = usize::from(number) + 1;
        assert_eq!(shard.element_count(b"k"), if elements <= 6 { 0 } else { elements });
    }
    let version = shard.version(b"k");
    for round in 0..50 {
        let mut keyspace = shard.keyspace();
        let mut list = keyspace.list(b"k").unwrap().unwrap();
        list.remove(&mut keyspace, End::Head, list.len() - 1).unwrap();
        list.save(&mut keyspace);
        let mut list = keyspace.list_or_new(b"k").unwrap();
        (0..10).for_each(|_| list.push(&mut keyspace, End::Tail, b"v").unwrap());
        list.save(&mut keyspace);
        assert_eq!((shard.element_count(b"k"), shard.version(b"k")), (11, version), "round {round}");
    }
}

#[test]
fn an_element_that_is_larger_than_a_row_of_elements_has_one_of_its_own() {
    let mut shard = Shard::packing(&Packing::STANDARD);
    let huge = vec![7; 16 << 20];
    let mut keyspace = shard.keyspace();
    let mut list = keyspace.list_or_new(b"k").unwrap();
    list.push(&mut keyspace, End::Tail, &huge).unwrap();
    list.save(&mut keyspace);
    assert_eq!(shard.element_count(b"k"), 1);
    let keyspace = shard.keyspace();
    let list = keyspace.list(b"k").unwrap().unwrap();
    assert_eq!(list.get(&keyspace, 0).unwrap().as_deref(), Some(&huge[..]));
}

#[test]
fn lists_of_either_form_are_read_again_from_disk() {
    let home = tempfile::tempdir().unwrap();
    let options = StoreOptions::new(ROW_RULES, 1 << 20, BlockCache::new(1 << 20));
    let mut store = Store::open(home.path(), &options).unwrap();
    let mut scratch = Scratch::default();
    let mut keyspace = Keyspace::new(&mut store, &mut scratch, VersionSource::entry(1), 0, 1000);
    // The last ones have more bytes than one row of elements may have.
    let value = |number: usize| vec![number as u8; 100];
    let lengths = [1, 2, 80, 81, 82, 200];
    for length in lengths {
        let mut list = keyspace.list_or_new(&[length]).unwrap();
        (0..length.into()).for_each(|number| list.push(&mut keyspace, End::Tail, &value(number)).unwrap());
        list.save(&mut keyspace);
        assert_eq!(list.is_packed(), length <= 81, "{length}");
    }
    store.set_applied(1, b"1", None);
    let done = store.freeze().unwrap().run();
    drop(store.finish(done).unwrap());
    drop(store);
    let mut store = Store::open(home.path(), &options).unwrap();
    let mut keyspace = Keyspace::new(&mut store, &mut scratch, VersionSource::entry(2), 0, 1000);
    for length in lengths {
        let mut list = keyspace.list(&[length]).unwrap().unwrap();
        let mut popped = Vec::new();
        list.pop(&mut keyspace, End::Tail, u64::MAX, &mut |value| popped.push(value.to_vec())).unwrap();
        assert_eq!(popped, (0..length.into()).rev().map(value).collect::<Vec<_>>());
        list.save(&mut keyspace);
        assert!(!keyspace.exists(&[length]).unwrap());
    }
}
