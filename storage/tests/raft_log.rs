//! The Raft log against its contract, and against crashes and damage.
//!
//! A crash of the process is a copy of the directory taken between two calls: what the operating system was given is there,
//! what only memory held is not. Damage is done to such a copy.

#![allow(clippy::unwrap_used)]

use std::collections::BTreeMap;
use std::ffi::OsString;
use std::fs;
use std::io::Write;
use std::path::{Path, PathBuf};
use std::sync::mpsc::{self, Receiver};
use std::time::{Duration, SystemTime};

use basalt_storage::Error;
use basalt_storage::log::{Durability, LogOptions, LogRecord, LogSyncer, RaftLog, SyncError};
use bytes::Bytes;

const PATIENCE: Duration = Duration::from_secs(30);

fn options() -> LogOptions {
    LogOptions {
        segment_bytes: 256 << 10,
        tail_bytes: 64 << 10,
        reserve_bytes: 1 << 20,
        warm_files: 0,
        ..LogOptions::default()
    }
}

fn syncer(durability: Durability) -> LogSyncer {
    LogSyncer::start(0, durability).unwrap()
}

fn open(directory: &Path, syncer: &LogSyncer) -> RaftLog {
    RaftLog::open(directory, &options(), syncer).unwrap()
}

fn record(index: u64, term: u64) -> LogRecord {
    let body = format!("entry {index} of term {term} ").repeat(index as usize % 7 + 1);
    LogRecord { index, term, body: Bytes::from(body) }
}

fn records(indexes: std::ops::Range<u64>, term: u64) -> Vec<LogRecord> {
    indexes.map(|index| record(index, term)).collect()
}

fn ask(log: &mut RaftLog) -> Receiver<Result<(), SyncError>> {
    let (sender, receiver) = mpsc::channel();
    log.sync(Box::new(move |outcome| {
        let _ = sender.send(outcome);
    }));
    receiver
}

fn sync(log: &mut RaftLog) {
    ask(log).recv_timeout(PATIENCE).expect("the callback runs").expect("the sync succeeds");
}

fn all(log: &RaftLog) -> Vec<LogRecord> {
    log.read(log.range().start, u64::MAX, usize::MAX).unwrap()
}

/// Copies a log's directory as of one moment: again, until nothing changed meanwhile (RocksDB works in the background).
fn copy(from: &Path, to: &Path) {
    for _ in 0..1000 {
        let before = listing(from);
        let _ = fs::remove_dir_all(to);
        fs::create_dir_all(to).unwrap();
        let copied = before.keys().all(|name| name == "LOCK" || fs::copy(from.join(name), to.join(name)).is_ok());
        if copied && listing(from) == before {
            return;
        }
    }
    panic!("the directory never stands still");
}

/// Names, sizes and times of the files in a directory.
fn listing(directory: &Path) -> BTreeMap<OsString, (u64, SystemTime)> {
    let entries = fs::read_dir(directory).unwrap().map(|entry| entry.unwrap());
    let files = entries.filter_map(|entry| {
        let metadata = entry.metadata().ok()?;
        metadata.is_file().then(|| (entry.file_name(), (metadata.len(), metadata.modified().unwrap())))
    });
    files.collect()
}

fn files(directory: &Path, extension: &str) -> Vec<PathBuf> {
    let paths = fs::read_dir(directory).unwrap().map(|entry| entry.unwrap().path());
    let mut files: Vec<_> = paths.filter(|path| path.extension().is_some_and(|found| found == extension)).collect();
    files.sort();
    files
}

#[test]
fn an_append_can_be_read_at_once_from_memory_and_later_from_disk() {
    let directory = tempfile::tempdir().unwrap();
    let syncer = syncer(Durability::Always);
    let mut log = open(directory.path(), &syncer);
    assert!(log.is_empty() && log.first_index().is_none() && log.last_index().is_none());
    let written = records(0..5000, 3);
    for batch in written.chunks(7) {
        log.append(batch).unwrap();
        let first = batch[0].index;
        assert_eq!(log.read(first, u64::MAX, usize::MAX).unwrap(), batch);
    }
    assert_eq!((log.first_index(), log.last_index(), log.last_term()), (Some(0), Some(4999), Some(3)));
    assert_eq!(all(&log), written, "the tail holds 64 KiB of these, the rest is read from RocksDB");
    assert_eq!(log.read(10, 20, usize::MAX).unwrap(), written[10..20]);
    assert_eq!(log.read(10, 20, 0).unwrap(), written[10..11], "at least one");
    assert_eq!(log.read(4990, 4995, usize::MAX).unwrap(), written[4990..4995]);
    assert_eq!(log.get(17).unwrap().as_ref(), Some(&written[17]));
    assert_eq!(log.get(5000).unwrap(), None);
    let bytes: usize = written.iter().map(|record| record.body.len() + 22).sum();
    assert!(log.bytes().abs_diff(bytes as u64) < 128 << 10, "{} of {bytes}", log.bytes());
}

#[test]
fn callbacks_run_in_the_order_of_the_calls() {
    let directory = tempfile::tempdir().unwrap();
    let syncer = syncer(Durability::Always);
    let mut log = open(directory.path(), &syncer);
    let (sender, receiver) = mpsc::channel();
    for index in 0..500 {
        log.append(&[record(index, 1)]).unwrap();
        let sender = sender.clone();
        log.sync(Box::new(move |outcome| sender.send((index, outcome)).unwrap()));
    }
    for index in 0..500 {
        let (found, outcome) = receiver.recv_timeout(PATIENCE).expect("a callback");
        assert_eq!(found, index);
        outcome.expect("synced");
    }
    assert_eq!(log.durable_index(), Some(499));
}

#[test]
fn a_clean_reopen_finds_everything() {
    let directory = tempfile::tempdir().unwrap();
    let syncer = syncer(Durability::Always);
    let mut log = open(directory.path(), &syncer);
    log.append(&records(0..3000, 2)).unwrap();
    log.set_vote(b"vote for two");
    log.set_committed(b"committed 2500");
    log.purge(1000, b"id of 1000").unwrap();
    sync(&mut log);
    drop(log);
    let log = open(directory.path(), &syncer);
    assert_eq!(all(&log), records(1001..3000, 2));
    assert_eq!(log.vote(), Some(b"vote for two".as_slice()));
    assert_eq!(log.committed(), Some(b"committed 2500".as_slice()));
    assert_eq!(log.purged(), Some((1000, b"id of 1000".as_slice())));
    assert_eq!(log.durable_index(), Some(2999));
    assert_eq!(log.get(1000).unwrap(), None);
}

#[test]
fn a_truncated_log_goes_on_with_other_records() {
    let directory = tempfile::tempdir().unwrap();
    let syncer = syncer(Durability::Always);
    let mut log = open(directory.path(), &syncer);
    log.append(&records(0..2000, 1)).unwrap();
    sync(&mut log);
    log.truncate_after(Some(99)).unwrap();
    assert_eq!((log.last_index(), log.last_term(), log.durable_index()), (Some(99), Some(1), Some(99)));
    log.append(&records(100..150, 2)).unwrap();
    sync(&mut log);
    let expected = [records(0..100, 1), records(100..150, 2)].concat();
    assert_eq!(all(&log), expected);
    drop(log);
    let mut log = open(directory.path(), &syncer);
    assert_eq!(all(&log), expected);
    log.truncate_after(None).unwrap();
    assert!(log.is_empty() && all(&log).is_empty());
    log.append(&records(0..3, 5)).unwrap();
    sync(&mut log);
    drop(log);
    assert_eq!(all(&open(directory.path(), &syncer)), records(0..3, 5));
}

#[test]
fn a_truncation_marks_nothing_that_a_power_failure_may_take() {
    let (directory, target) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
    // In this order: the thread ends once it is let go.
    let (held, let_go) = {
        let (let_go, wait) = mpsc::channel::<()>();
        let hold = move || {
            let _ = wait.recv();
        };
        (LogSyncer::start_with(0, Durability::Always, hold).unwrap(), let_go)
    };
    let mut log = open(directory.path(), &held);
    log.append(&records(0..10, 1)).unwrap();
    log.truncate_after(Some(7)).unwrap();
    copy(directory.path(), target.path());
    for file in files(target.path(), "log") {
        fs::write(file, b"").unwrap();
    }

    let other = syncer(Durability::Always);
    let log = open(target.path(), &other);
    assert_eq!(log.last_index(), None, "nothing of it was acknowledged");
    drop(let_go);
}

#[test]
#[should_panic(expected = "nobody would remember after a crash where the log begins")]
fn nothing_is_appended_behind_a_snapshot_that_nobody_would_remember() {
    let directory = tempfile::tempdir().unwrap();
    let (let_go, wait) = mpsc::channel::<()>();
    let syncer = LogSyncer::start_with(0, Durability::None, move || {
        let _ = wait.recv();
    })
    .unwrap();
    let mut log = open(directory.path(), &syncer);
    log.append(&records(0..10, 1)).unwrap();
    assert!(log.purge(99, b"id of 99").unwrap());
    let outcome = ask(&mut log);
    assert!(outcome.try_recv().is_err(), "it is a real sync, and is held");
    // The syncer goes on when the test is over, or it could not be.
    let _let_go = let_go;
    log.append(&records(100..110, 4)).unwrap();
}

#[test]
fn a_snapshot_takes_the_place_of_the_log() {
    let (directory, copied) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
    let syncer = syncer(Durability::Always);
    let mut log = open(directory.path(), &syncer);
    log.append(&records(0..10, 1)).unwrap();
    assert!(log.purge(99, b"id of 99").unwrap(), "it must be synced first");
    assert!(log.is_empty());
    sync(&mut log);
    log.append(&records(100..110, 4)).unwrap();
    copy(directory.path(), copied.path());
    sync(&mut log);
    drop(log);
    for found in [directory.path(), copied.path()] {
        let log = open(found, &syncer);
        assert_eq!(all(&log), records(100..110, 4));
        assert_eq!(log.purged(), Some((99, b"id of 99".as_slice())));
    }
}

#[test]
fn votes_are_synced_in_every_mode_and_order_is_kept() {
    let directory = tempfile::tempdir().unwrap();
    let syncer = syncer(Durability::None);
    let mut log = open(directory.path(), &syncer);
    log.append(&records(0..10, 1)).unwrap();
    assert!(matches!(ask(&mut log).try_recv(), Ok(Ok(()))), "done before the call returns");
    log.set_vote(b"vote");
    sync(&mut log);
    assert_eq!(log.durable_index(), Some(9), "the vote's sync was a real one and covers the records");
}

#[test]
fn interval_mode_syncs_by_itself() {
    let directory = tempfile::tempdir().unwrap();
    let syncer = syncer(Durability::Interval(Duration::from_millis(5)));
    let mut log = open(directory.path(), &syncer);
    for round in 0..3 {
        log.append(&records(round * 10..round * 10 + 10, 1)).unwrap();
        sync(&mut log);
        let deadline = std::time::Instant::now() + PATIENCE;
        while log.durable_index() != log.last_index() {
            assert!(std::time::Instant::now() < deadline, "durable is {:?}", log.durable_index());
            std::thread::yield_now();
        }
    }
}

#[test]
fn purging_gives_the_disk_back() {
    // Once at the end, when RocksDB has tables in every state, and all along.
    for purge_every in [8000, 100] {
        let directory = tempfile::tempdir().unwrap();
        let syncer = syncer(Durability::Always);
        let mut log = open(directory.path(), &syncer);
        let body = Bytes::from(vec![9; 4096]);
        for index in 0..8000 {
            append_patiently(&mut log, &[LogRecord { index, term: 1, body: body.clone() }]);
            if (index + 1) % purge_every == 0 {
                sync(&mut log);
                log.purge(index - 50, b"id").unwrap();
            }
        }
        assert_eq!(log.first_index(), Some(7950));
        // Tables are dropped on another thread; nothing else happens to the log meanwhile. What stays are the last tables, three at
        // most, and the write-ahead files, four of them for reuse: each of several segments where writing was held up (1.8 MiB
        // and 0.8 MiB were seen beside twelve tests at once on two cores).
        let bytes = |path: &PathBuf| fs::metadata(path).map_or(0, |metadata| metadata.len());
        let of_kind = |kind| files(directory.path(), kind).iter().map(bytes).sum::<u64>();
        let deadline = std::time::Instant::now() + PATIENCE;
        while of_kind("sst") >= 5 << 20 || of_kind("log") >= 6 << 20 {
            assert!(
                std::time::Instant::now() < deadline,
                "of 32 MiB that were purged, {} bytes of tables and {} of write-ahead files are still on disk",
                of_kind("sst"),
                of_kind("log")
            );
            std::thread::sleep(Duration::from_millis(20));
        }
    }
}

#[test]
fn writes_are_refused_below_the_reserve_and_reads_go_on() {
    let directory = tempfile::tempdir().unwrap();
    let syncer = syncer(Durability::Always);
    let mut log = open(directory.path(), &syncer);
    log.append(&records(0..10, 1)).unwrap();
    sync(&mut log);
    drop(log);
    let greedy = LogOptions { reserve_bytes: u64::MAX / 2, ..options() };
    let mut log = RaftLog::open(directory.path(), &greedy, &syncer).unwrap();
    assert!(matches!(log.admit(1), Err(Error::DiskFull { .. })));
    let large = LogRecord { index: 10, term: 1, body: Bytes::from(vec![1; 2000]) };
    assert!(matches!(log.append(&[large]), Err(Error::DiskFull { .. })));
    assert_eq!(all(&log), records(0..10, 1));
    sync(&mut log);
    // What a new leader writes: without it, nothing could be read either.
    log.append(&records(10..11, 2)).unwrap();
    sync(&mut log);
}

/// Records that a copy of the log must at least hold, and may hold at most.
struct Crash {
    directory: tempfile::TempDir,
    synced: BTreeMap<u64, LogRecord>,
    written: BTreeMap<u64, LogRecord>,
    first: u64,
}

/// Appends, waiting while RocksDB has too many segments to write as tables.
fn append_patiently(log: &mut RaftLog, records: &[LogRecord]) {
    patiently(|| log.append(records));
}

/// Does what changes nothing as long as the log is stalled.
fn patiently<T>(mut change: impl FnMut() -> Result<T, Error>) -> T {
    for _ in 0..30_000 {
        match change() {
            Ok(done) => return done,
            Err(Error::WriteStall) => std::thread::sleep(Duration::from_millis(1)),
            Err(error) => panic!("{error}"),
        }
    }
    panic!("the log has been stalled for 30 s");
}

/// Runs a log through random calls, and copies its directory at random moments.
fn crashes(seed: u64, count: usize) -> Vec<Crash> {
    let mut random = Random(seed);
    let directory = tempfile::tempdir().unwrap();
    let syncer = syncer(Durability::Always);
    let mut log = open(directory.path(), &syncer);
    let (mut written, mut synced) = (BTreeMap::new(), BTreeMap::new());
    let (mut term, mut first, mut next) = (1, 0, 0);
    let mut crashes = Vec::new();
    while crashes.len() < count {
        match random.below(20) {
            0..12 => {
                let batch = records(next..next + 1 + random.below(200), term);
                append_patiently(&mut log, &batch);
                next += batch.len() as u64;
                written.extend(batch.into_iter().map(|record| (record.index, record)));
            }
            12..16 => {
                sync(&mut log);
                synced = written.clone();
            }
            16 => {
                term += 1;
                let keep = (first + random.below(next - first + 1)).max(next.saturating_sub(300));
                patiently(|| log.truncate_after(keep.checked_sub(1)));
                next = keep.max(first).min(next);
                written.split_off(&next);
                synced.split_off(&next);
            }
            17 if next > first + 2000 => {
                let upto = first + random.below(1000);
                patiently(|| log.purge(upto, b"id"));
                first = upto + 1;
                written = written.split_off(&first);
                synced = synced.split_off(&first);
            }
            _ => {
                let copied = tempfile::tempdir().unwrap();
                copy(directory.path(), copied.path());
                crashes.push(Crash { directory: copied, synced: synced.clone(), written: written.clone(), first });
            }
        }
    }
    crashes
}

/// The seed of a random test: `BASALT_SEED`, or else its own.
fn seed(own: u64) -> u64 {
    std::env::var("BASALT_SEED").map_or(own, |seed| seed.parse().expect("BASALT_SEED is a number"))
}

/// A xorshift generator: the tests print its seed.
struct Random(u64);

impl Random {
    fn below(&mut self, bound: u64) -> u64 {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        self.0 % bound.max(1)
    }
}

/// Opens a copy: everything synced must be there and nothing that was not written, or else the refusal names a file.
fn check(crash: &Crash, what: &str) -> bool {
    let syncer = syncer(Durability::Always);
    let path = crash.directory.path();
    let log = match RaftLog::open(path, &options(), &syncer) {
        Ok(log) => log,
        Err(error @ Error::Corruption { .. }) => {
            assert!(error.to_string().contains(path.to_str().unwrap()), "{what}: {error}");
            println!("{what}: {error}");
            return false;
        }
        Err(error) => panic!("{what}: {error}"),
    };
    let found: BTreeMap<u64, LogRecord> = all(&log).into_iter().map(|record| (record.index, record)).collect();
    for (index, record) in crash.synced.range(log.first_index().unwrap_or(0)..) {
        assert_eq!(found.get(index), Some(record), "{what}: a synced record is lost without a word");
    }
    if let Some(first) = crash.synced.keys().next() {
        assert!(log.first_index().is_some_and(|found| found <= *first), "{what}: synced records are lost");
    }
    true
}

#[test]
fn a_crash_of_the_process_loses_nothing() {
    let seed = seed(0x5eed_0001);
    for (number, crash) in crashes(seed, 25).iter().enumerate() {
        let what = format!("seed {seed}, crash {number}");
        assert!(check(crash, &what), "{what}: refused without damage");
        let syncer = syncer(Durability::Always);
        let log = open(crash.directory.path(), &syncer);
        let found: BTreeMap<u64, LogRecord> = all(&log).into_iter().map(|record| (record.index, record)).collect();
        // A purge is noted in the background: some of what was purged may still be there.
        let found = found.into_iter().filter(|(index, _)| *index >= crash.first).collect::<BTreeMap<_, _>>();
        assert_eq!(found, crash.written, "{what}");
        drop(log);
        let mut log = open(crash.directory.path(), &syncer);
        let next = log.last_index().or(log.purged().map(|(index, _)| index)).map_or(0, |index| index + 1);
        log.append(&records(next..next + 100, 99)).unwrap();
        sync(&mut log);
        // What was recovered stands in the files of two runs now, and must be found by a third.
        let again = tempfile::tempdir().unwrap();
        copy(crash.directory.path(), again.path());
        let third = open(again.path(), &syncer);
        assert_eq!(all(&third), all(&log), "{what}: after a second crash");
    }
}

#[test]
fn opening_a_log_after_a_crash_takes_no_space() {
    let directory = tempfile::tempdir().unwrap();
    let syncer = syncer(Durability::Always);
    let mut log = open(directory.path(), &syncer);
    let written = records(0..2000, 1);
    log.append(&written[..1000]).unwrap();
    log.append(&written[1000..]).unwrap();
    sync(&mut log);
    let copied = tempfile::tempdir().unwrap();
    copy(directory.path(), copied.path());
    let tables = files(copied.path(), "sst");
    for _ in 0..3 {
        let log = open(copied.path(), &syncer);
        assert_eq!(all(&log), written);
        assert_eq!(files(copied.path(), "sst"), tables, "what was recovered stays in memory");
        assert_eq!(log.durable_index(), Some(1999));
    }
}

#[test]
fn damage_to_write_ahead_files_is_survived_or_refused_by_name() {
    let seed = seed(0x5eed_0002);
    let mut random = Random(seed);
    let (mut survived, mut refused) = (0, 0);
    for (number, crash) in crashes(seed, 60).iter().enumerate() {
        let logs = files(crash.directory.path(), "log");
        let victim = &logs[random.below(logs.len() as u64) as usize];
        let bytes = fs::read(victim).unwrap();
        let at = random.below(bytes.len() as u64) as usize;
        let how = match random.below(4) {
            0 => {
                fs::write(victim, &bytes[..at]).unwrap();
                "cut"
            }
            1 => {
                fs::remove_file(victim).unwrap();
                "removed"
            }
            2 => {
                let mut damaged = bytes.clone();
                damaged[at..].fill(0);
                fs::write(victim, damaged).unwrap();
                "zeroed from"
            }
            _ => {
                let mut damaged = bytes.clone();
                if let Some(byte) = damaged.get_mut(at) {
                    *byte ^= 0x10;
                }
                fs::write(victim, damaged).unwrap();
                "flipped"
            }
        };
        let what = format!("seed {seed}, crash {number}: {} {how} at {at} of {}", victim.display(), bytes.len());
        if check(crash, &what) { survived += 1 } else { refused += 1 }
    }
    println!("{survived} survived, {refused} refused");
    assert!(survived > 0 && refused > 0, "both must happen: {survived} survived, {refused} refused");
}

#[test]
fn damage_to_tables_is_refused_by_name() {
    let seed = seed(0x5eed_0003);
    let mut random = Random(seed);
    let (mut survived, mut refused) = (0, 0);
    for (number, crash) in crashes(seed, 60).iter().enumerate() {
        // A table that was being written when the copy was taken may be empty still. Whether it has bytes or not, no manifest
        // names it yet and its records stand in a write-ahead file: damage to it is survived.
        let has_bytes = |path: &PathBuf| fs::metadata(path).unwrap().len() > 0;
        let tables: Vec<_> = files(crash.directory.path(), "sst").into_iter().filter(has_bytes).collect();
        if tables.is_empty() {
            continue;
        }
        let victim = &tables[random.below(tables.len() as u64) as usize];
        if number % 2 == 0 {
            fs::remove_file(victim).unwrap();
        } else {
            let mut bytes = fs::read(victim).unwrap();
            let at = random.below(bytes.len() as u64) as usize;
            bytes[at] ^= 1;
            fs::write(victim, bytes).unwrap();
        }
        let what = format!("seed {seed}, crash {number}, table {}", victim.display());
        if check(crash, &what) { survived += 1 } else { refused += 1 }
    }
    println!("{survived} survived, {refused} refused");
    // How many of the tables were in use depends on how far RocksDB was when the copies were taken; what survives has lost nothing.
    assert!(refused > 0, "damage to tables in use must be noticed: {survived} survived");
}

#[test]
fn a_missing_state_file_is_refused() {
    let directory = tempfile::tempdir().unwrap();
    let syncer = syncer(Durability::Always);
    let mut log = open(directory.path(), &syncer);
    log.append(&records(0..10, 1)).unwrap();
    sync(&mut log);
    drop(log);
    let state = directory.path().join("STATE");
    fs::rename(&state, directory.path().join("elsewhere")).unwrap();
    let refused = RaftLog::open(directory.path(), &options(), &syncer).expect_err("refused");
    assert!(matches!(&refused, Error::Corruption { path, .. } if *path == state), "{refused}");
}

/// A small file system of its own, if this process may mount one.
struct SmallDisk(tempfile::TempDir);

impl SmallDisk {
    fn mount(size: &str) -> Option<Self> {
        let directory = tempfile::tempdir().unwrap();
        let options = format!("size={size}");
        let mounted = nix::mount::mount(
            Some("tmpfs"),
            directory.path(),
            Some("tmpfs"),
            nix::mount::MsFlags::empty(),
            Some(&*options),
        );
        match mounted {
            Ok(()) => Some(Self(directory)),
            Err(nix::errno::Errno::EPERM) => None,
            Err(errno) => panic!("mounting a tmpfs: {errno}"),
        }
    }
}

impl Drop for SmallDisk {
    fn drop(&mut self) {
        let _ = nix::mount::umount2(self.0.path(), nix::mount::MntFlags::MNT_DETACH);
    }
}

/// Appends until the disk is full, with syncs asked for all along; returns what was appended and the syncs.
fn fill(log: &mut RaftLog) -> (Vec<LogRecord>, Vec<Receiver<Result<(), SyncError>>>) {
    let (mut written, mut syncs) = (Vec::new(), Vec::new());
    let mut stalls = 0;
    loop {
        let index = log.last_index().map_or(0, |index| index + 1);
        let record = LogRecord { index, term: 1, body: Bytes::from(vec![index as u8; 10_000]) };
        match log.append(std::slice::from_ref(&record)) {
            Ok(()) => written.push(record),
            Err(Error::DiskFull { .. }) => return (written, syncs),
            Err(Error::WriteStall) if stalls < 30_000 => {
                stalls += 1;
                std::thread::sleep(Duration::from_millis(1));
            }
            Err(error) => panic!("{error}"),
        }
        assert!(written.len() < 100_000, "a small disk fills");
        if index.is_multiple_of(16) {
            syncs.push(ask(log));
        }
    }
}

/// Fills what is left of the disk, on top of what was filled before.
fn top_up(path: &Path) {
    let mut file = fs::File::options().create(true).append(true).open(path).unwrap();
    let full = loop {
        if let Err(error) = file.write_all(&[0; 4096]) {
            break error;
        }
    };
    assert_eq!(full.kind(), std::io::ErrorKind::StorageFull, "{full}");
}

/// Fills a small disk without a reserve, so that RocksDB itself meets the end of it; then makes room.
fn meet_the_end_of_the_disk(size: &str, ballast_bytes: usize, options: &LogOptions) {
    let Some(disk) = SmallDisk::mount(size) else {
        eprintln!("skipped: mounting a small disk needs root");
        return;
    };
    let (ballast, rest) = (disk.0.path().join("ballast"), disk.0.path().join("rest"));
    fs::write(&ballast, vec![0; ballast_bytes]).unwrap();
    let directory = disk.0.path().join("log");
    let syncer = syncer(Durability::Always);
    let mut log = RaftLog::open(&directory, options, &syncer).unwrap();

    let (mut written, syncs) = fill(&mut log);
    assert!(written.len() > 200, "{} records", written.len());
    for sync in syncs {
        sync.recv_timeout(PATIENCE).expect("the callback runs").expect("what was written can be synced");
    }
    sync(&mut log);
    assert_eq!(log.durable_index(), log.last_index());
    let more = LogRecord { index: written.len() as u64, term: 2, body: Bytes::from_static(b"after") };
    for _ in 0..3 {
        // What RocksDB could not finish it deletes.
        top_up(&rest);
        assert!(matches!(log.append(std::slice::from_ref(&more)), Err(Error::DiskFull { .. })));
    }
    assert_eq!(all(&log), written, "reads go on");

    fs::remove_file(&ballast).unwrap();
    fs::remove_file(&rest).unwrap();
    log.append(std::slice::from_ref(&more)).expect("there is room again");
    sync(&mut log);
    written.push(more);
    assert_eq!(all(&log), written);
    drop(log);
    assert_eq!(all(&RaftLog::open(&directory, options, &syncer).unwrap()), written);
}

#[test]
fn a_disk_full_of_tables_refuses_appends_until_there_is_room() {
    meet_the_end_of_the_disk("24m", 8 << 20, &LogOptions { reserve_bytes: 0, ..options() });
}

#[test]
fn a_disk_that_fills_in_the_middle_of_a_segment_refuses_appends_until_there_is_room() {
    let segment_bytes = 16 << 20;
    let options = LogOptions { reserve_bytes: 0, segment_bytes, segments_waiting_max: 1, ..options() };
    meet_the_end_of_the_disk("80m", 70 << 20, &options);
}
