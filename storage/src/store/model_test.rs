//! The store against a plain ordered map: random operations, with generations written, snapshots installed and the store
//! reopened in between, with answers of reader threads that come late, and with row caches of several sizes. Reopening loses
//! what was not written out, as a crash does, so the test keeps its own log of entries and applies it again from where the
//! store stands, as the node does.

use std::ops::{Bound, ControlFlow};
use std::path::Path;

use super::{OnMiss, Store};
use crate::cold_read::{ColdRead, Direction};
use crate::keyspace::ROW_RULES;
use crate::rows::{MemoryRows, Rows};
use crate::support::Random;
use crate::{BlockCache, Error, PinnedRows, Result, StoreOptions, Trial};

/// One row operation of a log entry.
#[derive(Debug, Clone)]
enum Operation {
    Put(Vec<u8>, Vec<u8>),
    Delete(Vec<u8>),
    DeleteRange(Vec<u8>, Vec<u8>),
    /// Appends to the row: applied twice, it shows.
    Append(Vec<u8>, u8),
}

impl Operation {
    /// One operation of twenty may be a deleted range, and is if `ranges_one_in` falls out.
    fn random(random: &mut Random, ranges_one_in: u64) -> Operation {
        match random.below(20) {
            0..=8 => {
                let length = random.below(40) as usize;
                Operation::Put(random_key(random), vec![random.next() as u8; length])
            }
            9..=12 => Operation::Delete(random_key(random)),
            13 if random.chance(ranges_one_in) => {
                let (a, b) = (random_key(random), random_key(random));
                Operation::DeleteRange(a.clone().min(b.clone()), a.max(b))
            }
            _ => Operation::Append(random_key(random), random.next() as u8),
        }
    }

    fn apply(&self, rows: &mut dyn Rows) -> Result<()> {
        match self {
            Operation::Put(key, value) => rows.put(key, value),
            Operation::Delete(key) => rows.delete(key),
            Operation::DeleteRange(from, to) => rows.delete_range(from, to),
            Operation::Append(key, byte) => {
                let mut value = rows.get(key)?.map(|row| row.to_vec()).unwrap_or_default();
                value.push(*byte);
                rows.put(key, &value);
                rows.counters_mut().keys[usize::from(*byte) % 16] += 1;
            }
        }
        Ok(())
    }
}

/// Keys collide often and share prefixes; some are prefixes of others.
fn random_key(random: &mut Random) -> Vec<u8> {
    let length = 1 + random.below(3) as usize;
    let mut key = vec![random.below(3) as u8];
    key.extend((0..length).map(|_| random.below(6) as u8 * 40));
    key
}

fn apply_entry(store: &mut Store, index: u64, operations: &[Operation]) {
    let apply = |rows: &mut dyn Rows| {
        for operation in operations {
            operation.apply(rows).expect("reads wait for the disk at first");
        }
    };
    if index.is_multiple_of(2) {
        apply(store);
    } else {
        let mut trial = Trial::new(store, usize::MAX);
        apply(&mut trial);
        let changes = trial.into_changes().expect("nothing is too much");
        store.commit(&changes);
    }
    let membership = index.is_multiple_of(7).then(|| index.to_le_bytes());
    store.set_applied(index, &index.to_be_bytes(), membership.as_ref().map(|bytes| &bytes[..]));
}

type Rowset = Vec<(Vec<u8>, Vec<u8>)>;

fn collect(
    rows: &dyn Rows,
    lower: Bound<&[u8]>,
    upper: Bound<&[u8]>,
    direction: Direction,
    limit: usize,
) -> Result<Rowset> {
    let mut out = Rowset::new();
    rows.scan(lower, upper, direction, &mut |key, value| {
        out.push((key.to_vec(), value.to_vec()));
        if out.len() < limit { ControlFlow::Continue(()) } else { ControlFlow::Break(()) }
    })?;
    Ok(out)
}

/// Tries `read` without waiting for the disk, fetching what is cold, as a core does.
fn retry_cold<T>(store: &mut Store, read: impl Fn(&Store) -> Result<T>) -> T {
    store.set_on_miss(OnMiss::Cold);
    let reader = store.cold_reader();
    let mut misses = 0;
    let answer = loop {
        match read(store) {
            Ok(answer) => break answer,
            Err(Error::Cold(cold)) => {
                misses += 1;
                assert!(misses < 1000, "{cold:?} stays cold");
                store.take_fetched(&reader.fetch(&cold).unwrap());
            }
            Err(error) => panic!("{error}"),
        }
    };
    store.set_on_miss(OnMiss::Wait);
    answer
}

/// Tries `read` without waiting for the disk, with rows that are pinned for it, as a core does whose caches are too small. A scan
/// has so many bytes fetched at once.
fn read_pinning<T>(
    store: &mut Store,
    pinned: &mut Option<PinnedRows>,
    scan_bytes: usize,
    read: impl Fn(&Store) -> Result<T>,
) -> T {
    store.set_on_miss(OnMiss::Cold);
    for _ in 0..10_000 {
        if let Some(pinned) = pinned.take() {
            store.set_pinned(pinned);
        }
        let outcome = read(store);
        *pinned = store.take_pinned();
        let mut cold = match outcome {
            Ok(answer) => {
                store.set_on_miss(OnMiss::Wait);
                return answer;
            }
            Err(Error::Cold(cold)) => cold,
            Err(error) => panic!("{error}"),
        };
        if let ColdRead::Scan { bytes, .. } = &mut cold {
            *bytes = scan_bytes;
        }
        let more = store.cold_reader().pin(&cold).unwrap().take_pinned().unwrap();
        match pinned {
            Some(pinned) => drop(pinned.merge(more)),
            None => *pinned = Some(more),
        }
    }
    panic!("it comes to no end");
}

fn check(store: &mut Store, model: &MemoryRows, random: &mut Random) {
    assert_eq!(store.counters(), model.counters());
    for direction in [Direction::Forward, Direction::Backward] {
        let all = (Bound::Unbounded, Bound::Unbounded);
        let expected = collect(model, all.0, all.1, direction, usize::MAX).unwrap();
        assert_eq!(retry_cold(store, |store| collect(store, all.0, all.1, direction, usize::MAX)), expected);
        for _ in 0..8 {
            let (a, b) = (random_key(random), random_key(random));
            let mut bound = |key| match random.below(5) {
                0 => Bound::Unbounded,
                1 | 2 => Bound::Excluded(key),
                _ => Bound::Included(key),
            };
            let (lower, upper) = (bound(&a[..]), bound(&b[..]));
            let limit = 1 + random.below(20) as usize;
            let expected = collect(model, lower, upper, direction, limit).unwrap();
            let found = retry_cold(store, |store| collect(store, lower, upper, direction, limit));
            assert_eq!(found, expected, "{lower:?} {upper:?} {direction:?}");
        }
    }
    check_rows(store, model, random, 20);
}

/// Reads single rows, as clients do, so that they come into the row cache.
fn check_rows(store: &mut Store, model: &MemoryRows, random: &mut Random, count: u64) {
    for _ in 0..count {
        let key = random_key(random);
        let expected = model.get(&key).unwrap().map(|row| row.to_vec());
        assert_eq!(retry_cold(store, |store| Ok(store.get(&key)?.map(|row| row.to_vec()))), expected, "{key:?}");
    }
}

fn options(row_cache_bytes: usize) -> StoreOptions {
    StoreOptions { row_cache_bytes, ..StoreOptions::new(ROW_RULES, 4096, BlockCache::new(1024 * 1024)) }
}

fn reopen(store: Store, dir: &Path, options: &StoreOptions, entries: &[Vec<Operation>]) -> Store {
    let durable = store.durable_applied();
    drop(store);
    let mut store = Store::open(dir, options).unwrap();
    assert_eq!(store.durable_applied(), store.applied().index);
    assert!(store.applied().index >= durable, "what was on disk stays there");
    for index in store.applied().index + 1..=entries.len() as u64 {
        apply_entry(&mut store, index, &entries[index as usize - 1]);
    }
    store
}

/// One random history of `entry_count` entries; the reads that the row cache answered.
fn history(seed: u64, entry_count: u64, row_cache_bytes: usize) -> u64 {
    // Each deleted range empties the row cache: where they are many, no row outlives a generation in it.
    let ranges_one_in = if seed.is_multiple_of(2) { 1 } else { 20 };
    println!("seed {seed}, {row_cache_bytes} bytes of row cache");
    let options = options(row_cache_bytes);
    let mut cache_hits = 0;
    let home = tempfile::tempdir().unwrap();
    let dir = home.path().join("data");
    let mut random = Random(seed.wrapping_mul(0x9E37_79B9_7F4A_7C15) | 1);
    let mut model = MemoryRows::default();
    let mut entries: Vec<Vec<Operation>> = Vec::new();
    let mut store = Store::open(&dir, &options).unwrap();
    let mut running = None;
    let mut ran = None;
    // What reader threads have read, and the core has not heard of.
    let mut answers = Vec::new();
    for index in 1..=entry_count {
        let operations: Vec<_> = (0..random.below(12)).map(|_| Operation::random(&mut random, ranges_one_in)).collect();
        for operation in &operations {
            operation.apply(&mut model).unwrap();
        }
        apply_entry(&mut store, index, &operations);
        entries.push(operations);
        // A generation stays frozen, and then ingested but not finished, for some entries.
        if random.chance(10) && running.is_none() && ran.is_none() {
            running = store.freeze();
        } else if random.chance(3) && running.is_some() {
            ran = running.take().map(|job| job.run());
        } else if random.chance(3)
            && let Some(done) = ran.take()
        {
            store.finish(done).unwrap();
        }
        if random.chance(2) {
            let keys = (0..1 + random.below(20)).map(|_| random_key(&mut random).into()).collect();
            answers.push(store.cold_reader().fetch(&ColdRead::Keys(keys)).unwrap());
        }
        if random.chance(4) {
            answers.drain(..).for_each(|answer| store.take_fetched(&answer));
        }
        check_rows(&mut store, &model, &mut random, 10);
        if random.chance(40) {
            (running, ran) = (None, None);
            answers.clear();
            cache_hits += store.row_cache_counts().hits;
            store = reopen(store, &dir, &options, &entries);
        }
        if random.chance(60) && running.is_none() && ran.is_none() {
            let into = home.path().join(format!("checkpoint-{index}"));
            let done = store.checkpoint(&into).run();
            let (at, _) = store.finish_checkpoint(done).unwrap();
            assert_eq!(&at, store.applied());
            if random.chance(2) {
                store.install(&into).unwrap();
            } else {
                // A snapshot of the past, then the log from there.
                let past = home.path().join("past");
                let _ = std::fs::remove_dir_all(&past);
                let mut other = Store::open(&past, &options).unwrap();
                other.install(&into).unwrap();
                assert_eq!(other.applied(), &at);
                check(&mut other, &model, &mut random);
            }
        }
        if random.chance(90) {
            store.database.db().compact_range(None::<&[u8]>, None::<&[u8]>);
        }
        if random.chance(6) {
            check(&mut store, &model, &mut random);
        }
    }
    (running, ran) = (None, None);
    assert!(running.is_none() && ran.is_none());
    cache_hits += store.row_cache_counts().hits;
    store = reopen(store, &dir, &options, &entries);
    check(&mut store, &model, &mut random);
    cache_hits
}

#[test]
fn random_histories_agree_with_a_plain_map() {
    for seed in 1..=4 {
        assert_eq!(history(seed, 400, 0), 0);
        // A dozen rows, so that there is always one that has to go; then more than there are.
        let (few, many) = (history(seed, 400, 2048), history(seed, 400, 1 << 20));
        assert!(few > 50 && many > few, "the row cache answered {few} and {many} reads");
    }
}

#[test]
fn scans_go_on_where_memory_ends_from_disk_or_with_what_is_kept_for_them() {
    let home = tempfile::tempdir().unwrap();
    let options =
        StoreOptions { row_cache_bytes: 0, ..StoreOptions::new(ROW_RULES, 1 << 20, BlockCache::new(16 << 10)) };
    let (mut store, mut model) = (Store::open(home.path(), &options).unwrap(), MemoryRows::default());
    let key = |number: u64| [0, (number / 40) as u8, (number % 40) as u8];
    for number in 0..1600 {
        let value = [number as u8; 300];
        store.put(&key(number), &value);
        model.put(&key(number), &value);
    }
    store.set_applied(1, b"1", None);
    let done = store.freeze().unwrap().run();
    drop(store.finish(done).unwrap());
    drop(store);
    let mut store = Store::open(home.path(), &options).unwrap();
    let mut random = Random(7);
    let (mut pinned, mut pinned_max) = (None, 0);
    for round in 0..1200 {
        let (a, b) = (key(random.below(1600)), key(random.below(1600)));
        if random.chance(20) {
            store.delete_range(&a, &b);
            model.delete_range(&a, &b);
        } else if random.chance(5) {
            store.put(&a, b"new");
            model.put(&a, b"new");
        }
        let mut bound = |key| if random.chance(2) { Bound::Included(key) } else { Bound::Excluded(key) };
        let (lower, upper) = (bound(&a[..]), bound(&b[..]));
        let direction = if random.chance(2) { Direction::Forward } else { Direction::Backward };
        let limit = 1 + random.below(400) as usize;
        let expected = collect(&model, lower, upper, direction, limit).unwrap();
        if random.chance(2) {
            let found = collect(&store, lower, upper, direction, limit).unwrap();
            assert_eq!(found, expected, "{round}: {lower:?} {upper:?}");
            continue;
        }
        // Sometimes those of the command before, which are of use as long as they are of the present.
        pinned = pinned.filter(|_| random.chance(2));
        let waits = store.disk_waits();
        let scan_bytes = 1 + random.below(8000) as usize;
        let found =
            read_pinning(&mut store, &mut pinned, scan_bytes, |store| collect(store, lower, upper, direction, limit));
        assert_eq!(found, expected, "{round}, pinned: {lower:?} {upper:?} {direction:?}");
        let single = key(random.below(1600));
        let row = read_pinning(&mut store, &mut pinned, 1, |store| Ok(store.get(&single)?.map(|row| row.to_vec())));
        assert_eq!(row, model.get(&single).unwrap().map(|row| row.to_vec()), "{round}: {single:?}");
        assert_eq!(store.disk_waits(), waits);
        pinned_max = pinned_max.max(pinned.as_ref().map_or(0, PinnedRows::bytes));
        if random.chance(15) {
            store.set_applied(store.applied().index + 1, b"1", None);
            let done = store.freeze().unwrap().run();
            drop(store.finish(done).unwrap());
        }
    }
    assert!(pinned_max > 100_000, "{pinned_max} bytes were pinned at most");
    assert!(store.disk_waits() > 100, "{} waits", store.disk_waits());
}

#[test]
fn a_cold_read_says_what_to_fetch() {
    let home = tempfile::tempdir().unwrap();
    let mut store = Store::open(home.path(), &options(0)).unwrap();
    // Opening reads the first row and the last, each with its block.
    for number in 0..100 {
        store.put(&[0, number], &[number; 1000]);
    }
    store.set_applied(1, b"1", None);
    let done = store.freeze().unwrap().run();
    store.finish(done).unwrap();
    drop(store);
    let mut store = Store::open(home.path(), &options(0)).unwrap();
    store.set_on_miss(OnMiss::Cold);
    let Err(Error::Cold(cold)) = store.get(&[0, 50]) else {
        panic!("nothing has read the row since the store was opened")
    };
    assert_eq!(cold, ColdRead::Key([0, 50].into()));
    store.cold_reader().fetch(&cold).unwrap();
    assert_eq!(store.get(&[0, 50]).unwrap().as_deref(), Some(&[50; 1000][..]));
}

#[test]
fn what_a_reader_thread_brings_is_kept_only_while_it_is_so() {
    let home = tempfile::tempdir().unwrap();
    let mut store = Store::open(home.path(), &options(1 << 20)).unwrap();
    let write_out = |store: &mut Store, value: &[u8]| {
        store.put(b"key", value);
        store.set_applied(store.applied().index + 1, b"id", None);
        let done = store.freeze().unwrap().run();
        drop(store.finish(done).unwrap());
    };
    let read = ColdRead::Keys(vec![b"key".as_slice().into(), b"none".as_slice().into()]);
    let hits = |store: &Store| {
        let before = store.row_cache_counts().hits;
        let rows = [b"key".as_slice(), b"none"].map(|key| store.get(key).unwrap().map(|row| row.to_vec()));
        (rows, store.row_cache_counts().hits - before)
    };
    write_out(&mut store, b"old");
    let old = store.cold_reader().fetch(&read).unwrap();
    let late = store.cold_reader();
    store.take_fetched(&old);
    assert_eq!(hits(&store), ([Some(b"old".to_vec()), None], 2));
    store.put(b"key", b"new");
    assert_eq!(hits(&store), ([Some(b"new".to_vec()), None], 1));
    store.take_fetched(&old);
    write_out(&mut store, b"new");
    assert_eq!(hits(&store), ([Some(b"new".to_vec()), None], 1), "taken in while a memtable knew the key");
    store.take_fetched(&old);
    assert_eq!(hits(&store), ([Some(b"new".to_vec()), None], 1), "taken in after the generation was finished");
    store.take_fetched(&late.fetch(&read).unwrap());
    assert_eq!(hits(&store), ([Some(b"new".to_vec()), None], 1), "handed out before that");
    store.delete_range(b"a", b"z");
    assert_eq!(hits(&store), ([None, None], 0));
    store.take_fetched(&store.cold_reader().fetch(&read).unwrap());
    write_out(&mut store, b"newest");
    store.delete_range(b"a", b"z");
    store.set_applied(store.applied().index + 1, b"id", None);
    let done = store.freeze().unwrap().run();
    drop(store.finish(done).unwrap());
    assert_eq!(hits(&store), ([None, None], 0));
}

#[test]
fn the_row_cache_does_not_outlive_the_rows_that_a_snapshot_replaces() {
    let home = tempfile::tempdir().unwrap();
    let written = |name: &str, value: &[u8]| {
        let mut store = Store::open(&home.path().join(name), &options(1 << 20)).unwrap();
        store.put(b"key", value);
        store.set_applied(1, b"id", None);
        let done = store.checkpoint(&home.path().join(String::from_utf8_lossy(value).as_ref())).run();
        drop(store.finish_checkpoint(done).unwrap());
        store
    };
    let mut store = written("mine", b"old");
    drop(written("theirs", b"new"));
    store.set_on_miss(OnMiss::Cold);
    let handed_out = store.cold_reader();
    let text =
        |store: &Store, key: &[u8]| store.get(key).unwrap().map(|row| String::from_utf8_lossy(&row).into_owned());
    let brought = handed_out.fetch(&ColdRead::Keys(vec![b"key".as_slice().into()])).unwrap();
    store.take_fetched(&brought);
    assert_eq!(text(&store, b"key").as_deref(), Some("old"));
    assert_eq!(store.row_cache_counts().hits, 1);
    store.install(&home.path().join("new")).unwrap();
    store.take_fetched(&brought);
    store.set_on_miss(OnMiss::Wait);
    assert_eq!(text(&store, b"key").as_deref(), Some("new"));
}
