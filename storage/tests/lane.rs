//! Three groups in the log of one lane, against what each of them promises alone, and against each other's damage.
//!
//! A crash of the process is a copy of all directories taken between two calls, as in `raft_log.rs`.

#![allow(clippy::unwrap_used)]

use std::collections::BTreeMap;
use std::fs;
use std::io::Write;
use std::path::{Path, PathBuf};
use std::sync::mpsc::{self, Receiver};
use std::time::{Duration, Instant, SystemTime};

use basalt_storage::Error;
use basalt_storage::log::{Durability, Lane, LogOptions, LogRecord, LogSyncer, RaftLog, SyncError};
use bytes::Bytes;

const PATIENCE: Duration = Duration::from_secs(60);
const GROUPS: usize = 3;

fn options() -> LogOptions {
    LogOptions {
        segment_bytes: 256 << 10,
        tail_bytes: 64 << 10,
        reserve_bytes: 1 << 20,
        warm_files: 0,
        ..LogOptions::default()
    }
}

fn state_of(root: &Path, group: usize) -> PathBuf {
    root.join(format!("group-{group}"))
}

fn open_lane(root: &Path, options: &LogOptions) -> Lane {
    Lane::open(&root.join("lane"), options).unwrap()
}

fn open_log(lane: &Lane, root: &Path, group: usize, options: &LogOptions, syncer: &LogSyncer) -> RaftLog {
    lane.open_log(group as u64, &state_of(root, group), options, syncer).unwrap()
}

/// Opens the lane and all groups, or creates them.
fn open_all(root: &Path, options: &LogOptions, syncer: &LogSyncer) -> (Lane, Vec<RaftLog>) {
    let lane = open_lane(root, options);
    let logs = (0..GROUPS).map(|group| open_log(&lane, root, group, options, syncer)).collect();
    lane.finish_opening().unwrap();
    (lane, logs)
}

fn syncer() -> LogSyncer {
    LogSyncer::start(0, Durability::Always).unwrap()
}

fn record(group: usize, index: u64, term: u64) -> LogRecord {
    let body = format!("entry {index} of term {term} in group {group} ").repeat(index as usize % 7 + 1);
    LogRecord { index, term, body: Bytes::from(body) }
}

fn records(group: usize, indexes: std::ops::Range<u64>, term: u64) -> Vec<LogRecord> {
    indexes.map(|index| record(group, index, term)).collect()
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

fn append_patiently(log: &mut RaftLog, records: &[LogRecord]) {
    let deadline = Instant::now() + PATIENCE;
    while let Err(error) = log.append(records) {
        assert!(matches!(error, Error::WriteStall) && Instant::now() < deadline, "{error}");
        std::thread::sleep(Duration::from_millis(1));
    }
}

fn directories(root: &Path) -> Vec<PathBuf> {
    (0..GROUPS).map(|group| state_of(root, group)).chain([root.join("lane")]).collect()
}

/// Copies lane and groups as of one moment: again, until nothing changed meanwhile (RocksDB works in the background).
fn copy(from: &Path, to: &Path) {
    for _ in 0..1000 {
        let before = listing(from);
        let _ = fs::remove_dir_all(to);
        for directory in directories(to) {
            fs::create_dir_all(directory).unwrap();
        }
        let copied = before.keys().all(|path| {
            path.file_name().is_some_and(|name| name == "LOCK")
                || fs::copy(path, to.join(path.strip_prefix(from).unwrap())).is_ok()
        });
        if copied && listing(from) == before {
            return;
        }
    }
    panic!("the directories never stand still");
}

fn listing(root: &Path) -> BTreeMap<PathBuf, (u64, SystemTime)> {
    let entries = directories(root).into_iter().flat_map(|path| fs::read_dir(path).unwrap().flatten());
    let files = entries.filter_map(|entry| {
        let metadata = entry.metadata().ok()?;
        metadata.is_file().then(|| (entry.path(), (metadata.len(), metadata.modified().unwrap())))
    });
    files.collect()
}

fn files(directory: &Path, extension: &str) -> Vec<PathBuf> {
    let paths = fs::read_dir(directory).unwrap().map(|entry| entry.unwrap().path());
    let mut files: Vec<_> = paths.filter(|path| path.extension().is_some_and(|found| found == extension)).collect();
    files.sort();
    files
}

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

/// A group as it should be.
#[derive(Clone, Default)]
struct Model {
    written: BTreeMap<u64, LogRecord>,
    synced: BTreeMap<u64, LogRecord>,
    /// The vote of the newest sync, and those since: a purge writes down what is promised by then, too.
    votes: Vec<Vec<u8>>,
    is_vote_synced: bool,
    first: u64,
    next: u64,
    term: u64,
}

impl Model {
    fn note_synced(&mut self) {
        self.synced = self.written.clone();
        self.votes.drain(..self.votes.len().saturating_sub(1));
        self.is_vote_synced = !self.votes.is_empty();
    }
}

struct Crash {
    root: tempfile::TempDir,
    models: Vec<Model>,
}

/// Runs three groups through random calls, and copies their directories at random moments.
fn crashes(seed: u64, count: usize) -> Vec<Crash> {
    let mut random = Random(seed);
    let root = tempfile::tempdir().unwrap();
    let syncer = syncer();
    let (_lane, mut logs) = open_all(root.path(), &options(), &syncer);
    let mut models = vec![Model { term: 1, ..Model::default() }; GROUPS];
    let mut crashes = Vec::new();
    while crashes.len() < count {
        // The last one is idle most of the time.
        let group = if random.below(20) == 0 { GROUPS - 1 } else { random.below(GROUPS as u64 - 1) as usize };
        let (log, model) = (&mut logs[group], &mut models[group]);
        match random.below(24) {
            0..13 => {
                let batch = records(group, model.next..model.next + 1 + random.below(150), model.term);
                append_patiently(log, &batch);
                model.next += batch.len() as u64;
                model.written.extend(batch.into_iter().map(|record| (record.index, record)));
            }
            13..16 => {
                sync(log);
                model.note_synced();
            }
            16..18 => {
                // As a turn does: one after the other, without waiting between them.
                let asked: Vec<_> = logs.iter_mut().map(ask).collect();
                for sync in asked {
                    sync.recv_timeout(PATIENCE).expect("the callback runs").expect("the sync succeeds");
                }
                models.iter_mut().for_each(Model::note_synced);
                for (log, model) in logs.iter().zip(&models) {
                    assert_eq!(log.durable_index(), model.next.checked_sub(1), "seed {seed}");
                }
            }
            18 => {
                model.term += 1;
                let keep =
                    (model.first + random.below(model.next - model.first + 1)).max(model.next.saturating_sub(300));
                log.truncate_after(keep.checked_sub(1)).unwrap();
                model.next = keep.max(model.first).min(model.next);
                model.written.split_off(&model.next);
                model.synced.split_off(&model.next);
            }
            19 if model.next > model.first + 1000 => {
                let upto = model.first + random.below(700);
                log.purge(upto, b"id").unwrap();
                model.first = upto + 1;
                model.written = model.written.split_off(&model.first);
                model.synced = model.synced.split_off(&model.first);
            }
            20 => {
                let vote = format!("vote {} of {group}", random.below(1 << 40)).into_bytes();
                log.set_vote(&vote);
                model.votes.push(vote);
            }
            _ => {
                let copied = tempfile::tempdir().unwrap();
                copy(root.path(), copied.path());
                crashes.push(Crash { root: copied, models: models.clone() });
            }
        }
        assert!(logs.iter().zip(&models).all(|(log, model)| log.durable_index() < Some(model.next)), "seed {seed}");
    }
    crashes
}

/// Opens what a crash has left: of each group that opens, everything synced must be there. Returns how many were refused.
fn check(crash: &Crash, what: &str) -> usize {
    let syncer = syncer();
    let root = crash.root.path();
    let lane = match Lane::open(&root.join("lane"), &options()) {
        Ok(lane) => lane,
        Err(error @ Error::Corruption { .. }) => {
            println!("{what}: the lane: {error}");
            return GROUPS;
        }
        Err(error) => panic!("{what}: {error}"),
    };
    let mut refused = 0;
    for (group, model) in crash.models.iter().enumerate() {
        let log = match lane.open_log(group as u64, &state_of(root, group), &options(), &syncer) {
            Ok(log) => log,
            Err(error @ Error::Corruption { .. }) => {
                println!("{what}: group {group}: {error}");
                refused += 1;
                continue;
            }
            Err(error) => panic!("{what}: {error}"),
        };
        let found: BTreeMap<u64, LogRecord> = all(&log).into_iter().map(|record| (record.index, record)).collect();
        for (index, record) in model.synced.range(log.range().start..) {
            assert_eq!(
                found.get(index),
                Some(record),
                "{what}: a synced record of group {group} is lost without a word"
            );
        }
        assert!(log.range().start <= model.first, "{what}: group {group} begins too late");
        let may_lack = !model.is_vote_synced;
        let is_known = log.vote().map_or(may_lack, |vote| model.votes.iter().any(|voted| voted == vote));
        assert!(is_known, "{what}: the vote of group {group} is none since its newest sync");
    }
    refused
}

#[test]
fn a_crash_of_the_process_loses_nothing_of_any_group() {
    let seed = seed(0x5eed_0011);
    for (number, crash) in crashes(seed, 25).iter().enumerate() {
        let what = format!("seed {seed}, crash {number}");
        assert_eq!(check(crash, &what), 0, "{what}: refused without damage");
        let syncer = syncer();
        let (lane, mut logs) = open_all(crash.root.path(), &options(), &syncer);
        for (group, (log, model)) in logs.iter_mut().zip(&crash.models).enumerate() {
            let found: BTreeMap<u64, LogRecord> = all(log).into_iter().map(|record| (record.index, record)).collect();
            let found = found.into_iter().filter(|(index, _)| *index >= model.first).collect::<BTreeMap<_, _>>();
            assert_eq!(found, model.written, "{what}: group {group}");
            let next = log.range().end;
            append_patiently(log, &records(group, next..next + 100, 99));
        }
        logs.iter_mut().for_each(sync);
        // What was recovered stands in the files of two runs now, and must be found by a third.
        let again = tempfile::tempdir().unwrap();
        copy(crash.root.path(), again.path());
        let (_third, of_third) = open_all(again.path(), &options(), &syncer);
        for (third, log) in of_third.iter().zip(&logs) {
            assert_eq!(all(third), all(log), "{what}: after a second crash");
        }
        drop((logs, lane));
        let (_lane, reopened) = open_all(crash.root.path(), &options(), &syncer);
        for (log, third) in reopened.iter().zip(&of_third) {
            assert_eq!(all(log), all(third), "{what}: after a stop");
        }
    }
}

#[test]
fn damage_to_the_write_ahead_files_is_survived_or_refused_by_each_group_that_has_lost_something() {
    let seed = seed(0x5eed_0012);
    let mut random = Random(seed);
    let (mut none, mut some, mut every) = (0, 0, 0);
    for (number, crash) in crashes(seed, 80).iter().enumerate() {
        let logs = files(&crash.root.path().join("lane"), "log");
        let victim = &logs[random.below(logs.len() as u64) as usize];
        let mut bytes = fs::read(victim).unwrap();
        let at = random.below(bytes.len() as u64) as usize;
        let how = random.below(3);
        match how {
            0 => bytes.truncate(at),
            1 => bytes[at..].fill(0),
            _ => bytes.iter_mut().skip(at).take(1).for_each(|byte| *byte ^= 0x10),
        }
        fs::write(victim, &bytes).unwrap();
        match check(crash, &format!("seed {seed}, crash {number}: {} damaged ({how}) at {at}", victim.display())) {
            0 => none += 1,
            GROUPS => every += 1,
            _ => some += 1,
        }
    }
    println!("refused: no group {none} times, some {some} times, all {every} times");
    assert!(none > 0 && some + every > 0, "both must happen");
}

#[test]
fn a_group_whose_state_is_damaged_is_refused_and_the_others_open() {
    let root = tempfile::tempdir().unwrap();
    let syncer = syncer();
    let (lane, mut logs) = open_all(root.path(), &options(), &syncer);
    for (group, log) in logs.iter_mut().enumerate() {
        log.append(&records(group, 0..100, 1)).unwrap();
        sync(log);
    }
    drop((logs, lane));
    fs::write(state_of(root.path(), 1).join("STATE"), b"nothing of what it was").unwrap();
    let lane = open_lane(root.path(), &options());
    for group in [0, 2] {
        let mut log = open_log(&lane, root.path(), group, &options(), &syncer);
        assert_eq!(all(&log), records(group, 0..100, 1));
        log.append(&records(group, 100..110, 1)).unwrap();
        sync(&mut log);
    }
    let refused = lane.open_log(1, &state_of(root.path(), 1), &options(), &syncer).expect_err("refused");
    assert!(matches!(refused, Error::Corruption { .. }), "{refused}");
}

#[test]
fn the_groups_of_a_turn_are_durable_with_one_sync() {
    let root = tempfile::tempdir().unwrap();
    let (let_go, wait) = mpsc::channel::<()>();
    let hold = move || {
        let _ = wait.recv();
    };
    let syncer = LogSyncer::start_with(0, Durability::Always, hold).unwrap();
    let (_lane, mut logs) = open_all(root.path(), &options(), &syncer);
    let (sender, receiver) = mpsc::channel();
    for round in 0..20 {
        for (group, log) in logs.iter_mut().enumerate() {
            log.append(&[record(group, round, 1)]).unwrap();
            let sender = sender.clone();
            log.sync(Box::new(move |outcome| sender.send((group, round, outcome)).unwrap()));
        }
    }
    assert!(logs.iter().all(|log| log.durable_index().is_none()), "no sync has begun");
    let_go.send(()).unwrap();
    for round in 0..20 {
        for group in 0..GROUPS {
            let (of, found, outcome) = receiver.recv_timeout(PATIENCE).expect("a callback");
            assert_eq!((of, found), (group, round), "in the order of the calls, also over groups");
            outcome.expect("synced");
            // That of the first covers the others.
            assert!(logs.iter().all(|log| log.durable_index() == Some(19)));
        }
    }
}

#[test]
fn purging_gives_the_disk_back_beside_a_group_that_is_idle_and_one_that_keeps_all() {
    let root = tempfile::tempdir().unwrap();
    let syncer = syncer();
    let (_lane, mut logs) = open_all(root.path(), &options(), &syncer);
    for group in [1, 2] {
        logs[group].append(&records(group, 0..10, 1)).unwrap();
        sync(&mut logs[group]);
    }
    let body = Bytes::from(vec![9; 4096]);
    for index in 0..8000 {
        append_patiently(&mut logs[0], &[LogRecord { index, term: 1, body: body.clone() }]);
        if index % 100 == 99 {
            sync(&mut logs[0]);
            logs[0].purge(index - 50, b"id").unwrap();
            // It keeps everything.
            let next = logs[1].range().end;
            append_patiently(&mut logs[1], &records(1, next..next + 2, 1));
        }
    }
    let bytes = |path: &PathBuf| fs::metadata(path).map_or(0, |metadata| metadata.len());
    let of_kind = |kind| files(&root.path().join("lane"), kind).iter().map(bytes).sum::<u64>();
    let deadline = Instant::now() + PATIENCE;
    while of_kind("sst") >= 5 << 20 || of_kind("log") >= 6 << 20 {
        assert!(
            Instant::now() < deadline,
            "of 32 MiB that were purged, {} bytes of tables and {} of write-ahead files are still on disk",
            of_kind("sst"),
            of_kind("log")
        );
        std::thread::sleep(Duration::from_millis(20));
    }
    assert_eq!(all(&logs[1]), records(1, 0..170, 1), "a purge is none of another group's");
    assert_eq!(all(&logs[2]), records(2, 0..10, 1));
}

/// A small file system of its own, if this process may mount one.
struct SmallDisk(tempfile::TempDir);

impl SmallDisk {
    fn mount(size: &str) -> Option<Self> {
        let (directory, options) = (tempfile::tempdir().unwrap(), format!("size={size}"));
        let flags = nix::mount::MsFlags::empty();
        match nix::mount::mount(Some("tmpfs"), directory.path(), Some("tmpfs"), flags, Some(&*options)) {
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

#[test]
fn a_full_disk_refuses_appends_of_all_groups_until_there_is_room() {
    let Some(disk) = SmallDisk::mount("32m") else {
        eprintln!("skipped: mounting a small disk needs root");
        return;
    };
    let root = disk.0.path();
    let (ballast, rest) = (root.join("ballast"), root.join("rest"));
    fs::write(&ballast, vec![0; 12 << 20]).unwrap();
    let options = LogOptions { reserve_bytes: 0, ..options() };
    let syncer = syncer();
    let (lane, mut logs) = open_all(root, &options, &syncer);
    let mut written = vec![Vec::new(); GROUPS];
    let mut syncs = Vec::new();
    let deadline = Instant::now() + PATIENCE;
    'full: for round in 0.. {
        for (group, log) in logs.iter_mut().enumerate() {
            let record = LogRecord { index: round, term: 1, body: Bytes::from(vec![group as u8; 10_000]) };
            loop {
                assert!(Instant::now() < deadline, "a small disk fills");
                match log.append(std::slice::from_ref(&record)) {
                    Ok(()) => break,
                    Err(Error::DiskFull { .. }) => break 'full,
                    Err(Error::WriteStall) => std::thread::sleep(Duration::from_millis(1)),
                    Err(error) => panic!("{error}"),
                }
            }
            written[group].push(record);
        }
        if round % 8 == 0 {
            syncs.extend(logs.iter_mut().map(ask));
        }
    }
    for sync in syncs {
        sync.recv_timeout(PATIENCE).expect("the callback runs").expect("what was written can be synced");
    }
    logs.iter_mut().for_each(sync);
    let after =
        |written: &[LogRecord]| LogRecord { index: written.len() as u64, term: 2, body: Bytes::from_static(b"after") };
    let mut file = fs::File::create(&rest).unwrap();
    while file.write_all(&[0; 4096]).is_ok() {}
    for (log, written) in logs.iter_mut().zip(&written) {
        assert!(matches!(log.append(&[after(written)]), Err(Error::DiskFull { .. })));
        assert_eq!(&all(log), written, "reads go on");
    }
    drop(file);
    fs::remove_file(&ballast).unwrap();
    fs::remove_file(&rest).unwrap();
    for (log, written) in logs.iter_mut().zip(&mut written) {
        let more = after(written);
        log.append(std::slice::from_ref(&more)).expect("there is room again");
        written.push(more);
    }
    logs.iter_mut().for_each(sync);
    for (log, written) in logs.iter().zip(&written) {
        assert_eq!(&all(log), written);
        assert_eq!(log.durable_index(), log.last_index());
    }
    drop((logs, lane));
    let (_lane, logs) = open_all(root, &options, &syncer);
    for (log, written) in logs.iter().zip(&written) {
        assert_eq!(&all(log), written);
    }
}

#[test]
fn a_group_is_created_and_opened_again_beside_others_that_run() {
    let root = tempfile::tempdir().unwrap();
    let syncer = syncer();
    let lane = open_lane(root.path(), &options());
    let mut first = open_log(&lane, root.path(), 0, &options(), &syncer);
    lane.finish_opening().unwrap();
    first.append(&records(0, 0..10, 1)).unwrap();
    let mut second = open_log(&lane, root.path(), 1, &options(), &syncer);
    second.append(&records(1, 0..20, 1)).unwrap();
    drop(second);
    first.append(&records(0, 10..20, 1)).unwrap();
    let second = open_log(&lane, root.path(), 1, &options(), &syncer);
    assert_eq!((all(&second), second.durable_index()), (records(1, 0..20, 1), Some(19)));
    sync(&mut first);
    drop((lane, first, second));
    let not_made = LogOptions { create: false, ..options() };
    let lane = open_lane(root.path(), &not_made);
    assert_eq!(all(&open_log(&lane, root.path(), 0, &not_made, &syncer)), records(0, 0..20, 1));
    assert_eq!(all(&open_log(&lane, root.path(), 1, &not_made, &syncer)), records(1, 0..20, 1));
    let missing = lane.open_log(2, &state_of(root.path(), 2), &not_made, &syncer).expect_err("refused");
    assert!(matches!(missing, Error::Missing { .. }), "{missing}");
    fs::remove_dir_all(state_of(root.path(), 1)).unwrap();
    let lost = lane.open_log(1, &state_of(root.path(), 1), &not_made, &syncer).expect_err("refused");
    assert!(matches!(lost, Error::Corruption { .. }), "{lost}");
}

#[test]
fn a_group_that_is_removed_is_gone_after_a_crash_too_and_the_others_lose_nothing() {
    let (temporary, crashed) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
    let (root, syncer) = (temporary.path(), syncer());
    let (lane, mut logs) = open_all(root, &options(), &syncer);
    // Over several segments, of which some are tables by now.
    for round in 0..60 {
        for (group, log) in logs.iter_mut().enumerate() {
            append_patiently(log, &records(group, round * 20..(round + 1) * 20, 1));
            sync(log);
        }
    }
    assert!(matches!(lane.remove_log(1), Err(Error::InUse { .. })), "it is open");
    drop(logs.remove(1));
    fs::remove_dir_all(state_of(root, 1)).unwrap();
    fs::create_dir(state_of(root, 1)).unwrap();
    lane.remove_log(1).unwrap();
    lane.remove_log(1).unwrap();
    // The others go on, and their segments are counted as before.
    for round in 60..120 {
        for (group, log) in [0, 2].into_iter().zip(&mut logs) {
            append_patiently(log, &records(group, round * 20..(round + 1) * 20, 1));
            sync(log);
            let _ = log.backlog();
        }
    }
    copy(root, crashed.path());
    {
        let root = crashed.path();
        let lane = open_lane(root, &options());
        for group in [0, 2] {
            let log = open_log(&lane, root, group, &options(), &syncer);
            assert_eq!(all(&log).last(), records(group, 2399..2400, 1).last(), "group {group}");
            assert_eq!(log.range().end, 2400);
        }
        let empty = open_log(&lane, root, 1, &options(), &syncer);
        assert_eq!((empty.range(), empty.last_index()), (0..0, None), "nothing of the old one is found");
        lane.finish_opening().unwrap();
    }
    drop((logs, lane));
    let (_lane, logs) = open_all(root, &options(), &syncer);
    assert_eq!(logs.iter().map(|log| log.range().end).collect::<Vec<_>>(), [2400, 0, 2400]);
}
