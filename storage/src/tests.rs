//! Crashes between any two steps of a generation, with the log that the rows come from: a child process (this test binary, run
//! again) appends entries to a log, syncs it, applies them, writes generations and purges the log, and dies at a failpoint; the
//! parent opens log and rows as it left them, applies what the log has beyond the rows, and compares.
//!
//! Each entry adds one to a counter (as INCR) and appends to texts (as APPEND): one lost or applied twice shows. Failpoints exist
//! only in the tests of this crate, so that no binary can be made to die by a variable; the price is that the order of
//! the steps, which is `basalt-raft`'s, is written down here once more.

use std::io::{BufRead, BufReader};
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::sync::mpsc::channel;
use std::time::Duration;

use bytes::Bytes;

use crate::failpoint::{self, failpoint};
use crate::keyspace::ROW_RULES;
use crate::log::{Durability, Lane, LogOptions, LogRecord, LogSyncer, RaftLog};
use crate::rows::{MemoryRows, Rows};
use crate::{BlockCache, Error, Store, StoreOptions};

const ENTRY_COUNT: u64 = 400;
const TERM: u64 = 1;
/// Text that the child prints before the number of each entry that it has synced and applied.
const ACKNOWLEDGED: &str = "acknowledged entry ";
const CHILD_DIR: &str = "BASALT_REPLAY_CRASH_TEST_DIR";
/// Other groups in the lane of the log; the first one goes on, the second is idle but for its first entry.
const NEIGHBOURS: u64 = 2;

/// A log and the rows that come from it.
struct Shard {
    log: RaftLog,
    /// Of the other groups of its lane, if it shares one.
    neighbours: Vec<RaftLog>,
    store: Store,
    _lane: Option<Lane>,
    _syncer: LogSyncer,
}

impl Shard {
    /// Opens both, and applies what the log has beyond the rows. Returns how many entries those were as well.
    ///
    /// A directory named `lane` in `dir` makes the log one of three in a lane.
    fn open(dir: &Path) -> (Shard, u64) {
        // Small segments, so that purging removes files.
        let options = LogOptions { segment_bytes: 8192, warm_files: 0, reserve_bytes: 0, ..LogOptions::default() };
        let syncer = LogSyncer::start(0, Durability::Always).unwrap();
        let lane = dir.join("lane").is_dir().then(|| Lane::open(&dir.join("lane"), &options).unwrap());
        let open_in = |lane: &Lane, group: u64| {
            lane.open_log(group, &dir.join(format!("log-{group}")), &options, &syncer).unwrap()
        };
        let neighbours = lane.iter().flat_map(|lane| (1..=NEIGHBOURS).map(|group| open_in(lane, group))).collect();
        let log = match &lane {
            Some(lane) => open_in(lane, 0),
            None => RaftLog::open(&dir.join("log"), &options, &syncer).unwrap(),
        };
        if let Some(lane) = &lane {
            lane.finish_opening().unwrap();
        }
        let options = StoreOptions::new(ROW_RULES, 4096, BlockCache::new(1024 * 1024));
        let mut store = Store::open(&dir.join("data"), &options).unwrap();
        let (applied, last) = (store.applied().index, log.last_index());
        let purged = log.purged().map_or(0, |(index, _)| index);
        assert!(purged <= applied, "the log is purged up to {purged}, the rows end at {applied}");
        assert!(last.unwrap_or(purged) >= applied, "the rows have entry {applied}, the log ends at {last:?}");
        let mut next = applied + 1;
        while last.is_some_and(|last| next <= last) {
            for record in log.read(next, u64::MAX, usize::MAX).unwrap() {
                assert_eq!((record.index, record.body), (next, body(next)));
                apply_entry(&mut store, next);
                next += 1;
            }
        }
        (Shard { log, neighbours, store, _lane: lane, _syncer: syncer }, next - 1 - applied)
    }

    fn append(&mut self, index: u64) {
        let record = LogRecord { index, term: TERM, body: body(index) };
        let append = |log: &mut RaftLog| {
            while let Err(error) = log.append(std::slice::from_ref(&record)) {
                assert!(matches!(error, Error::WriteStall), "{error}");
                std::thread::sleep(Duration::from_millis(1));
            }
        };
        for neighbour in self.goes_on(index) {
            // What it appended before a crash is there: see `assert_neighbours`.
            if neighbour.last_index().is_none_or(|last| last < index) {
                append(neighbour);
            }
        }
        append(&mut self.log);
        failpoint("entry appended");
        let (done, synced) = channel();
        self.log.sync(Box::new(move |result| done.send(result).unwrap()));
        synced.recv().unwrap().unwrap();
        failpoint("entry synced");
    }

    /// The neighbours that have entry `index`, too.
    fn goes_on(&mut self, index: u64) -> &mut [RaftLog] {
        let count = if index == 1 { self.neighbours.len() } else { self.neighbours.len().min(1) };
        &mut self.neighbours[..count]
    }

    /// Checks that the neighbours have their entries up to `index`, and none but those: the sync of one is a sync of all.
    fn assert_neighbours(&mut self, index: u64) {
        for (number, neighbour) in self.neighbours.iter().enumerate() {
            let last = if number == 0 { index } else { index.min(1) };
            let found = neighbour.read(neighbour.range().start, u64::MAX, usize::MAX).unwrap();
            let found: Vec<_> = found.into_iter().map(|record| (record.index, record.body)).collect();
            let expected: Vec<_> = (1..=last).map(|index| (index, body(index))).collect();
            assert!(found.starts_with(&expected) && found.len() <= expected.len() + 1, "{} of {last}", found.len());
        }
    }

    /// Takes back a generation, and purges the log up to it.
    fn finish(&mut self, done: crate::GenerationDone) {
        drop(self.store.finish(done).unwrap());
        failpoint("generation finished");
        let index = self.store.durable_applied();
        self.log.purge(index, &index.to_be_bytes()).unwrap();
        failpoint("purge asked for");
    }
}

fn body(index: u64) -> Bytes {
    Bytes::from(format!("{index:0100}"))
}

/// Applies entry `index`.
fn apply_commands(rows: &mut dyn Rows, index: u64) {
    let row = |rows: &dyn Rows, key: &[u8]| rows.get(key).unwrap().map(|row| row.to_vec()).unwrap_or_default();
    let counter = row(rows, b"\0counter");
    let count: u64 = if counter.is_empty() { 0 } else { String::from_utf8(counter).unwrap().parse().unwrap() };
    rows.put(b"\0counter", (count + 1).to_string().as_bytes());
    for step in 0..3 {
        let key = format!("\0text:{}", (index * 7 + step * 13) % 200);
        let mut text = row(rows, key.as_bytes());
        text.extend_from_slice(format!("{index};").as_bytes());
        rows.put(key.as_bytes(), &text);
    }
    rows.delete(format!("\0text:{}", index % 200).as_bytes());
}

fn apply_entry(store: &mut Store, index: u64) {
    apply_commands(store, index);
    store.set_applied(index, &index.to_be_bytes(), None);
}

fn all(rows: &dyn Rows) -> Vec<(Vec<u8>, Vec<u8>)> {
    let mut found = Vec::new();
    rows.scan(std::ops::Bound::Unbounded, std::ops::Bound::Unbounded, crate::Direction::Forward, &mut |key, value| {
        found.push((key.to_vec(), value.to_vec()));
        std::ops::ControlFlow::Continue(())
    })
    .unwrap();
    found
}

fn assert_state(store: &Store, index: u64) {
    let mut model = MemoryRows::default();
    (1..=index).for_each(|index| apply_commands(&mut model, index));
    let text = |rows: Vec<(Vec<u8>, Vec<u8>)>| -> Vec<_> {
        let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
        rows.iter().map(|(key, value)| (text(key), text(value))).collect()
    };
    assert_eq!(text(all(store)), text(all(&model)), "the rows are not those of entry {index}");
}

/// Runs as the child process: every entry that is not in the log yet, with every generation written on another thread.
#[test]
#[ignore = "a child process of the crash test: cargo test -p basalt-storage a_crash_at_any_step"]
fn replay_child() {
    let Some(dir) = std::env::var_os(CHILD_DIR).map(PathBuf::from) else { return };
    let (mut shard, _) = Shard::open(&dir);
    let mut running: Option<std::thread::JoinHandle<_>> = None;
    for index in shard.store.applied().index + 1..=ENTRY_COUNT {
        shard.append(index);
        apply_entry(&mut shard.store, index);
        failpoint("entry applied");
        println!("\n{ACKNOWLEDGED}{index}");
        if shard.store.is_full()
            && let Some(job) = running.take()
        {
            shard.finish(job.join().unwrap());
        }
        if shard.store.is_full()
            && let Some(job) = shard.store.freeze()
        {
            let (done, synced) = channel();
            shard.log.sync_to_disk(Box::new(move |result| done.send(result).unwrap()));
            synced.recv().unwrap().unwrap();
            failpoint("log synced for a generation");
            running = Some(std::thread::spawn(move || job.run()));
        }
    }
    // A purge is done by the log's own thread: it comes by its failpoints in a moment, and the process ends there.
    std::thread::sleep(Duration::from_secs(30));
}

/// Runs the child until it dies at `armed`, and returns the last entry that it acknowledged.
fn crash(dir: &Path, armed: &str) -> u64 {
    let mut child = Command::new(std::env::current_exe().unwrap())
        .args(["--exact", "tests::replay_child", "--ignored", "--nocapture"])
        .env(CHILD_DIR, dir)
        .env(failpoint::VARIABLE, armed)
        .stdout(Stdio::piped())
        .stderr(Stdio::null())
        .spawn()
        .unwrap();
    let lines = BufReader::new(child.stdout.take().unwrap()).lines().map_while(Result::ok);
    let acknowledged = lines.filter_map(|line| line.strip_prefix(ACKNOWLEDGED)?.parse().ok()).last();
    assert!(!child.wait().unwrap().success(), "{armed} was never reached");
    acknowledged.unwrap_or(0)
}

#[test]
fn a_crash_at_any_step_from_the_log_to_the_purge_loses_no_entry_and_applies_none_twice() {
    let mut replayed_in_all = 0;
    for (step, hits) in [
        ("entry appended", [1, 150]),
        ("entry synced", [2, 151]),
        ("entry applied", [3, 152]),
        ("log synced for a generation", [1, 3]),
        ("generation frozen", [1, 3]),
        ("generation half written", [1, 3]),
        ("generation written", [1, 3]),
        ("generation ingested", [1, 3]),
        ("generation finished", [1, 3]),
        ("purge asked for", [1, 3]),
        ("purge begun", [1, 2]),
        ("purge noted", [1, 2]),
        ("purge done", [1, 2]),
    ] {
        for (hits, has_neighbours) in [(hits[0], false), (hits[1], false), (hits[1], true)] {
            let home = tempfile::tempdir().unwrap();
            if has_neighbours {
                std::fs::create_dir(home.path().join("lane")).unwrap();
            }
            let armed = format!("{hits}:{step}");
            let acknowledged = crash(home.path(), &armed);
            let (mut shard, replayed) = Shard::open(home.path());
            let recovered = shard.store.applied().index;
            // The entry under way may be there: nobody was told.
            assert!(
                (acknowledged..=acknowledged + 1).contains(&recovered),
                "{armed}: {acknowledged} entries were acknowledged, {recovered} are there"
            );
            assert_state(&shard.store, recovered);
            shard.assert_neighbours(acknowledged);
            if step == "purge noted" || step == "purge done" {
                assert!(shard.log.purged().is_some(), "{armed}: the purge is remembered");
            }
            replayed_in_all += replayed;
            drop(shard);
            // A second start finds the same.
            let (shard, _) = Shard::open(home.path());
            assert_state(&shard.store, recovered);
        }
    }
    assert!(replayed_in_all > 0, "no log was ever replayed");
}
