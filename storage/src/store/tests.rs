//! Crashes between any two steps: a child process (this test binary, run again) applies a known log to a store and dies at
//! a failpoint or by SIGKILL; the parent opens what it left, which must be the log's state at some entry, exactly.
//!
//! The log's commands append to rows and add to counters, so an entry lost or applied twice shows.

use std::io::{BufRead, BufReader};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};

use super::Store;
use crate::failpoint;
use crate::keyspace::ROW_RULES;
use crate::rows::{MemoryRows, Rows};
use crate::{BlockCache, Error, StoreOptions};

const ENTRY_COUNT: u64 = 400;
/// Text that the child prints before the number of each entry it has applied.
const APPLIED: &str = "applied entry ";
const CHILD_DIR: &str = "BASALT_CRASH_TEST_DIR";
const CHILD_CHECKPOINT: &str = "BASALT_CRASH_TEST_CHECKPOINT";

fn options() -> StoreOptions {
    StoreOptions::new(ROW_RULES, 4096, BlockCache::new(1024 * 1024))
}

/// The commands of log entry `index`.
fn apply_commands(rows: &mut dyn Rows, index: u64) {
    let key = |number: u64| [vec![0], format!("key:{number:03}").into_bytes()].concat();
    for step in 0..5 {
        let key = key((index * 31 + step * 17) % 100);
        let mut value = rows.get(&key).unwrap().map(|row| row.to_vec()).unwrap_or_default();
        value.extend_from_slice(&index.to_be_bytes());
        rows.put(&key, &value);
    }
    rows.delete(&key(index % 100));
    if index.is_multiple_of(13) {
        rows.delete_range(&key(index % 90), &key(index % 90 + 7));
        rows.put(&key(index % 90 + 3), b"inside the deleted range");
    }
    rows.counters_mut().keys[0] += 1;
    if index.is_multiple_of(7) {
        let mut spaces = rows.counters().spaces.clone();
        spaces.swap((index % 5) as u8, (index % 11) as u8 + 5);
        rows.put_databases(&spaces);
    }
}

fn apply_entry(store: &mut Store, index: u64) {
    apply_commands(store, index);
    store.set_applied(index, &index.to_be_bytes(), None);
}

fn model(upto: u64) -> MemoryRows {
    let mut model = MemoryRows::default();
    (1..=upto).for_each(|index| apply_commands(&mut model, index));
    model
}

fn assert_state(store: &Store, index: u64) {
    let mut rows = MemoryRows::default();
    store
        .scan(std::ops::Bound::Unbounded, std::ops::Bound::Unbounded, crate::Direction::Forward, &mut |key, value| {
            rows.put(key, value);
            std::ops::ControlFlow::Continue(())
        })
        .unwrap();
    *rows.counters_mut() = store.counters().clone();
    assert_eq!(rows, model(index), "the rows are not those of entry {index}");
}

/// Opens what a crash left, checks it, and applies the rest of the log.
fn recover(dir: &Path) -> u64 {
    let mut store = Store::open(dir, &options()).unwrap();
    let recovered = store.applied().index;
    assert_eq!(store.durable_applied(), recovered);
    assert_state(&store, recovered);
    assert_eq!(std::fs::read_dir(dir.join("incoming")).unwrap().count(), 0, "unfinished generations are removed");
    for index in recovered + 1..=ENTRY_COUNT {
        apply_entry(&mut store, index);
        if store.is_full() {
            let done = store.freeze().unwrap().run();
            drop(store.finish(done).unwrap());
        }
    }
    assert_state(&store, ENTRY_COUNT);
    recovered
}

/// Whoever opens it again may come while it is being closed: its files are as they were then.
#[test]
fn a_store_that_is_open_is_refused_and_nothing_of_it_is_touched() {
    let home = tempfile::tempdir().unwrap();
    let names = || {
        let mut names: Vec<PathBuf> =
            std::fs::read_dir(home.path().join("db-1")).unwrap().map(|file| file.unwrap().path()).collect();
        names.sort();
        names
    };
    let store = Store::open(home.path(), &options()).unwrap();
    let before = names();
    for _ in 0..5 {
        let refused = Store::open(home.path(), &options()).map(drop).unwrap_err();
        assert!(matches!(&refused, Error::InUse { path } if path.ends_with("db-1")), "{refused}");
        assert_eq!(names(), before);
    }
    drop(store);
    assert_state(&Store::open(home.path(), &options()).unwrap(), 0);
}

/// Runs as the child process: the whole log, with every generation written on another thread, over and over.
#[test]
#[ignore = "a child process of the crash tests: cargo test -p basalt-storage store::tests"]
fn child() {
    let Some(dir) = std::env::var_os(CHILD_DIR).map(PathBuf::from) else { return };
    let mut store = Store::open(&dir, &options()).unwrap();
    if let Some(checkpoint) = std::env::var_os(CHILD_CHECKPOINT) {
        store.install(Path::new(&checkpoint)).unwrap();
        return;
    }
    let mut running: Option<std::thread::JoinHandle<_>> = None;
    for index in store.applied().index + 1..=ENTRY_COUNT {
        apply_entry(&mut store, index);
        println!("{APPLIED}{index}");
        // The next entries are applied while a generation is written; the one that fills the memtable waits for it.
        if store.is_full()
            && let Some(job) = running.take()
        {
            drop(store.finish(job.join().unwrap()).unwrap());
        }
        if store.is_full()
            && let Some(job) = store.freeze()
        {
            running = Some(std::thread::spawn(move || job.run()));
        }
    }
    if let Some(job) = running.take() {
        drop(store.finish(job.join().unwrap()).unwrap());
    }
}

fn spawn_child(dir: &Path, environment: &[(&str, &str)]) -> Child {
    Command::new(std::env::current_exe().unwrap())
        .args(["--exact", "store::tests::child", "--ignored", "--nocapture"])
        .env(CHILD_DIR, dir)
        .envs(environment.iter().copied())
        .stdout(Stdio::piped())
        .stderr(Stdio::null())
        .spawn()
        .unwrap()
}

#[test]
fn a_crash_at_any_step_of_a_generation_loses_nothing_and_repeats_nothing() {
    for step in ["generation frozen", "generation half written", "generation written", "generation ingested"] {
        for hits in 1..=3 {
            let home = tempfile::tempdir().unwrap();
            let armed = format!("{hits}:{step}");
            let status = spawn_child(home.path(), &[(failpoint::VARIABLE, &armed)]).wait().unwrap();
            assert!(!status.success(), "{armed} was never reached");
            let recovered = recover(home.path());
            let generations = if step == "generation ingested" { hits } else { hits - 1 };
            assert_eq!(recovered > 0, generations > 0, "{armed}: recovered at entry {recovered}");
        }
    }
}

#[test]
fn kills_at_any_moment_lose_nothing_and_repeat_nothing() {
    let home = tempfile::tempdir().unwrap();
    let mut recovered = vec![0];
    for kill_at in (25..ENTRY_COUNT).step_by(25) {
        let mut child = spawn_child(home.path(), &[]);
        let mut lines = BufReader::new(child.stdout.take().unwrap()).lines();
        let reached = format!("{APPLIED}{kill_at}");
        // The line follows libtest's own text where that has no line end.
        assert!(
            lines.any(|line| line.unwrap().ends_with(&reached)),
            "entry {kill_at} was never applied: {recovered:?}"
        );
        child.kill().unwrap();
        child.wait().unwrap();
        let store = Store::open(home.path(), &options()).unwrap();
        let index = store.applied().index;
        assert_state(&store, index);
        recovered.push(index);
        if index >= kill_at {
            // It came further than it was meant to, while the signal was on its way.
            break;
        }
    }
    println!("recovered at entries {recovered:?}");
    assert!(recovered.is_sorted(), "what was durable stays: {recovered:?}");
    assert!(recovered.last() > Some(&0), "no generation was ever written");
    recover(home.path());
}

#[test]
fn a_crash_while_installing_leaves_the_old_rows_or_the_new() {
    for step in ["install begun", "install moved", "install opened", "install current"] {
        let home = tempfile::tempdir().unwrap();
        let (old, new, checkpoint) = (home.path().join("old"), home.path().join("new"), home.path().join("checkpoint"));
        for (dir, upto) in [(&old, 30), (&new, 200)] {
            let mut store = Store::open(dir, &options()).unwrap();
            (1..=upto).for_each(|index| apply_entry(&mut store, index));
            let done = store.freeze().unwrap().run();
            drop(store.finish(done).unwrap());
            if dir == &new {
                let done = store.checkpoint(&checkpoint).run();
                store.finish_checkpoint(done).unwrap();
            }
        }
        let armed = format!("1:{step}");
        let environment = [(failpoint::VARIABLE, &*armed), (CHILD_CHECKPOINT, checkpoint.to_str().unwrap())];
        let status = spawn_child(&old, &environment).wait().unwrap();
        assert!(!status.success(), "{step} was never reached");
        let recovered = recover(&old);
        assert_eq!(recovered, if step == "install current" { 200 } else { 30 }, "{step}");
        let databases = std::fs::read_dir(&old).unwrap().flatten();
        let databases = databases.filter(|entry| entry.file_name().to_string_lossy().starts_with("db-"));
        assert_eq!(databases.count(), 1, "{step}: the other database is removed");
    }
}
