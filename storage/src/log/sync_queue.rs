//! Group commit: the syncs that are asked for, and the thread that does them.
//!
//! One sync is in flight at a time; whatever was appended meanwhile rides the next one. Purging, which rewrites RocksDB's
//! manifest, and syncing the durable mark happen on a second thread, so that no sync waits for them ([`super::tidy`]).

use std::path::Path;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::time::Instant;

use super::Durability;
use super::lane::SharedLane;
use super::shared_log::{SharedLog, lock};
use super::syncer::{SyncDone, SyncError};
use super::tidy::Tidy;

/// Syncs asked for and not yet done.
#[derive(Debug)]
pub(super) struct SyncQueue {
    durability: Durability,
    /// Set with `waiting.failed`, to ask without the lock.
    has_failed: AtomicBool,
    waiting: Mutex<Waiting>,
    arrived: Condvar,
    pub(super) tidy: Tidy,
}

#[derive(Default)]
struct Waiting {
    requests: Vec<SyncRequest>,
    /// Requests that are about to come, for which those that are here wait.
    expected: usize,
    /// True if the thread was woken for those that are here: they wait for no others any more.
    is_kicked: bool,
    dirty: bool,
    asleep: bool,
    stopping: bool,
    failed: Option<SyncError>,
}

impl std::fmt::Debug for Waiting {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        formatter.debug_struct("Waiting").field("requests", &self.requests.len()).field("failed", &self.failed).finish()
    }
}

struct SyncRequest {
    log: Arc<SharedLog>,
    done: SyncDone,
}

impl SyncQueue {
    pub(super) fn new(durability: Durability) -> Self {
        Self {
            durability,
            has_failed: AtomicBool::new(false),
            waiting: Mutex::default(),
            arrived: Condvar::new(),
            tidy: Tidy::default(),
        }
    }

    pub(super) fn durability(&self) -> Durability {
        self.durability
    }

    /// Makes the log known to the threads.
    pub(super) fn register(&self, log: &Arc<SharedLog>) {
        self.tidy.register(log);
    }

    /// Asks for a sync of `log` that covers everything written so far.
    pub(super) fn push(&self, log: &Arc<SharedLog>, done: SyncDone) {
        let mut waiting = lock(&self.waiting);
        if let Some(failed) = waiting.failed.clone() {
            drop(waiting);
            return done(Err(failed));
        }
        if waiting.stopping {
            drop(waiting);
            return done(Err(SyncError::new(&log.directory, "the syncer has stopped")));
        }
        waiting.requests.push(SyncRequest { log: Arc::clone(log), done });
        waiting.expected = waiting.expected.saturating_sub(1);
        if waiting.expected == 0 {
            waiting.is_kicked = true;
            self.wake(waiting);
        }
    }

    /// Has syncs begin when so many more are asked for; with 0, those that are asked for begin now.
    pub(super) fn expect(&self, count: usize) {
        let mut waiting = lock(&self.waiting);
        waiting.expected = count;
        if count == 0 && !waiting.requests.is_empty() {
            waiting.is_kicked = true;
            self.wake(waiting);
        }
    }

    /// Notes that `log` was written to: in interval mode it will be synced.
    pub(super) fn note_written(&self, log: &SharedLog) {
        if matches!(self.durability, Durability::Interval(_)) && !log.dirty.swap(true, Ordering::AcqRel) {
            let mut waiting = lock(&self.waiting);
            waiting.dirty = true;
            self.wake(waiting);
        }
    }

    /// The sync error that ended this core's logs, if one did.
    pub(super) fn failed(&self) -> Option<SyncError> {
        if self.has_failed.load(Ordering::Acquire) { lock(&self.waiting).failed.clone() } else { None }
    }

    /// Ends this core's logs: nothing that is asked for from now on can succeed.
    pub(super) fn fail(&self, error: SyncError) {
        tracing::error!(%error, "the log can no longer be made durable");
        lock(&self.waiting).failed.get_or_insert(error);
        self.has_failed.store(true, Ordering::Release);
    }

    /// Asks for the tables of `log` that hold only purged records to be dropped.
    pub(super) fn purge(&self, log: &SharedLog) {
        log.purges_again.store(0, Ordering::Relaxed);
        if !log.purge_queued.swap(true, Ordering::AcqRel) {
            self.tidy.wake();
        }
    }

    fn wake(&self, mut waiting: MutexGuard<'_, Waiting>) {
        if std::mem::take(&mut waiting.asleep) {
            drop(waiting);
            self.arrived.notify_one();
        }
    }

    /// Ends the thread once it has done what it was asked for.
    pub(super) fn stop(&self) {
        lock(&self.waiting).stopping = true;
        self.arrived.notify_all();
    }

    /// Does the syncs that are asked for until stopped.
    pub(super) fn run(&self, prepare: impl FnOnce()) {
        let _guard = FailWhenGone(self);
        prepare();
        let mut batch = Vec::new();
        let mut next_interval = Instant::now();
        while let Some(due) = self.take(&mut batch, next_interval) {
            while let Some(lane) = batch.first().map(|request: &SyncRequest| Arc::clone(&request.log.lane)) {
                let (done, rest): (Vec<_>, Vec<_>) =
                    batch.drain(..).partition(|request| Arc::ptr_eq(&request.log.lane, &lane));
                batch = rest;
                let mut logs: Vec<Arc<SharedLog>> = Vec::new();
                for request in &done {
                    if !logs.iter().any(|log| Arc::ptr_eq(log, &request.log)) {
                        logs.push(Arc::clone(&request.log));
                    }
                }
                let outcome = self.sync(&lane, &logs);
                for SyncRequest { log, done } in done {
                    done(outcome.clone());
                    log.completed.fetch_add(1, Ordering::AcqRel);
                }
            }
            if let (true, Durability::Interval(interval)) = (due, self.durability) {
                self.sync_dirty();
                next_interval = Instant::now() + interval;
            }
        }
        self.sync_dirty();
    }

    fn sync_dirty(&self) {
        let mut logs = self.tidy.logs();
        logs.retain(|log| log.dirty.load(Ordering::Acquire));
        while let Some(lane) = logs.first().map(|log| Arc::clone(&log.lane)) {
            let (of_lane, rest): (Vec<_>, Vec<_>) = logs.into_iter().partition(|log| Arc::ptr_eq(&log.lane, &lane));
            logs = rest;
            if self.sync(&lane, &of_lane).is_err() {
                return;
            }
        }
    }

    /// Syncs a lane, and notes so for `logs` of it; unless an earlier sync failed.
    fn sync(&self, lane: &SharedLane, logs: &[Arc<SharedLog>]) -> Result<(), SyncError> {
        if let Some(failed) = self.failed() {
            return Err(failed);
        }
        self.sync_and_note(lane, logs).inspect_err(|error| self.fail(error.clone()))
    }

    fn sync_and_note(&self, lane: &SharedLane, logs: &[Arc<SharedLog>]) -> Result<(), SyncError> {
        // Before the sync: what is appended meanwhile may not be covered.
        let due: Vec<_> = logs.iter().map(|log| log.begin_sync()).collect();
        lane.sync()?;
        logs.iter().zip(&due).try_for_each(|(log, due)| log.end_sync(due, &self.tidy))
    }

    /// Waits for requests, or for written logs whose interval has passed (then `true`); `None` when stopped and done.
    fn take(&self, batch: &mut Vec<SyncRequest>, next_interval: Instant) -> Option<bool> {
        let mut waiting = lock(&self.waiting);
        loop {
            let due = waiting.dirty && Instant::now() >= next_interval;
            if due {
                waiting.dirty = false;
            }
            let is_complete = waiting.expected == 0 || waiting.is_kicked || waiting.stopping;
            if due || (is_complete && !waiting.requests.is_empty()) {
                std::mem::swap(batch, &mut waiting.requests);
                waiting.is_kicked = false;
                return Some(due);
            }
            if waiting.stopping {
                return None;
            }
            waiting.asleep = true;
            waiting = if waiting.dirty {
                let pause = next_interval.saturating_duration_since(Instant::now());
                self.arrived.wait_timeout(waiting, pause).unwrap_or_else(PoisonError::into_inner).0
            } else {
                self.arrived.wait(waiting).unwrap_or_else(PoisonError::into_inner)
            };
            waiting.asleep = false;
        }
    }
}

/// Lets nobody wait for a sync thread that is gone, and ends the tidying one.
struct FailWhenGone<'a>(&'a SyncQueue);

impl Drop for FailWhenGone<'_> {
    fn drop(&mut self) {
        let (requests, failed) = {
            let mut waiting = lock(&self.0.waiting);
            let gone = || SyncError::new(Path::new("log"), "the sync thread has ended");
            let failed = waiting.failed.get_or_insert_with(gone).clone();
            (std::mem::take(&mut waiting.requests), failed)
        };
        self.0.has_failed.store(true, Ordering::Release);
        for request in requests {
            (request.done)(Err(failed.clone()));
        }
        self.0.tidy.stop();
    }
}

#[cfg(test)]
mod tests {
    use std::io;
    use std::sync::mpsc::{Receiver, Sender, channel};
    use std::thread;
    use std::time::Duration;

    use super::*;
    use crate::failpoint::{Armed, arm};
    use crate::log::record::key_of;
    use crate::log::recovery::recover;
    use crate::log::state_file::StateFile;
    use crate::log::{LogOptions, LogRecord, LogSyncer, RaftLog};

    const PATIENCE: Duration = Duration::from_secs(60);

    fn options() -> LogOptions {
        LogOptions { warm_files: 0, ..LogOptions::default() }
    }

    fn is_on(thread_name: &str) -> bool {
        thread::current().name().is_some_and(|name| name.starts_with(thread_name))
    }

    /// Has the tidying thread wait at `point` each time it comes by: it is received from the first, and goes on with a word to the
    /// second.
    fn hold_tidy(point: &'static str, directory: &Path) -> (Armed, Receiver<()>, Sender<()>) {
        let (tell, told) = channel();
        let (let_go, wait) = channel();
        let (tell, wait) = (Mutex::new(tell), Mutex::new(wait));
        let armed = arm(point, directory, move || {
            if is_on("log-tidy") {
                let _ = lock(&tell).send(());
                // An error is the end of the test.
                let _ = lock(&wait).recv();
            }
            Ok(())
        });
        (armed, told, let_go)
    }

    /// Has syncs and writes that come by `point` on the tidying thread fail; who has come by is received.
    fn fail_tidy(point: &'static str, directory: &Path) -> (Armed, Receiver<()>) {
        let (tell, told) = channel();
        let tell = Mutex::new(tell);
        let armed = arm(point, directory, move || {
            if !is_on("log-tidy") {
                return Ok(());
            }
            let _ = lock(&tell).send(());
            Err(io::Error::from_raw_os_error(libc::EIO))
        });
        (armed, told)
    }

    #[test]
    fn the_syncs_of_a_turn_begin_when_the_last_of_its_logs_is_appended_to_or_the_turn_ends() {
        let directory = tempfile::tempdir().expect("a temporary directory");
        let syncer = LogSyncer::start(0, Durability::Always).expect("threads");
        let open = |name| RaftLog::open(&directory.path().join(name), &options(), &syncer).expect("opens");
        let mut logs = ["one", "two", "three"].map(open);
        let (tell, told) = channel();
        let mut ask = |number: usize| {
            let next = logs[number].range().end;
            append(&mut logs[number], next..=next);
            let tell = tell.clone();
            logs[number].sync(Box::new(move |outcome| tell.send((number, outcome)).expect("somebody waits")));
        };
        let queue = syncer.queue();
        let asleep = || {
            let deadline = Instant::now() + PATIENCE;
            while !lock(&queue.waiting).asleep {
                assert!(Instant::now() < deadline, "the thread waits at last");
                thread::sleep(Duration::from_millis(1));
            }
        };
        let heard = |count: usize| {
            (0..count).map(|_| told.recv_timeout(PATIENCE).expect("a callback")).for_each(|(_, outcome)| {
                outcome.expect("synced");
            });
        };
        let gate = syncer.gate();
        asleep();
        let gathering = gate.gather(3);
        ask(0);
        ask(1);
        // Woken for another reason, it does not begin either.
        queue.arrived.notify_all();
        asleep();
        assert!(told.try_recv().is_err() && lock(&queue.waiting).requests.len() == 2, "they wait for the third");
        ask(2);
        heard(3);
        ask(0);
        heard(1);
        drop(gathering);

        asleep();
        let gathering = gate.gather(3);
        ask(1);
        drop(gathering);
        heard(1);
        let _gathering = gate.gather(3);
        ask(2);
        queue.stop();
        heard(1);
    }

    fn append(log: &mut RaftLog, indexes: std::ops::RangeInclusive<u64>) {
        let record = |index| LogRecord { index, term: 1, body: b"entry"[..].into() };
        log.append(&indexes.map(record).collect::<Vec<_>>()).expect("appended");
    }

    /// Syncs `log` and waits for it.
    fn sync(log: &mut RaftLog) -> Result<(), SyncError> {
        let (tell, told) = channel();
        log.sync(Box::new(move |outcome| tell.send(outcome).expect("somebody waits")));
        told.recv_timeout(PATIENCE).expect("a callback")
    }

    /// The files of `log` as they are now: what a crash leaves of them.
    fn copy_of(log: &Path) -> tempfile::TempDir {
        let copy = tempfile::tempdir().expect("a temporary directory");
        for file in std::fs::read_dir(log).expect("there") {
            let file = file.expect("readable");
            if file.file_type().expect("readable").is_file() && file.file_name() != "LOCK" {
                std::fs::copy(file.path(), copy.path().join(file.file_name())).expect("copied");
            }
        }
        copy
    }

    #[test]
    fn a_vote_is_on_disk_when_its_sync_reports_though_a_purge_has_begun_to_write_it() {
        let directory = tempfile::tempdir().expect("a temporary directory");
        let syncer = LogSyncer::start(0, Durability::Always).expect("threads");
        let mut log = RaftLog::open(directory.path(), &options(), &syncer).expect("opens");
        append(&mut log, 0..=2);
        sync(&mut log).expect("synced");
        let (_held, is_held, let_go) = hold_tidy("promises begun", directory.path());
        log.set_vote(b"vote 7");
        log.purge(0, b"id of 0").expect("purged");
        is_held.recv_timeout(PATIENCE).expect("the purge writes the vote");

        // Either the syncer gets to the promises, where it has to wait, or it reports without them.
        let (tell, told) = channel();
        let at_callback = directory.path().to_owned();
        let (of_syncer, of_callback) = (Mutex::new(tell.clone()), tell);
        let _seen = arm("promises wanted", directory.path(), move || {
            if is_on("log-sync") {
                let _ = lock(&of_syncer).send(None);
            }
            Ok(())
        });
        log.sync(Box::new(move |outcome| {
            outcome.expect("synced");
            let _ = of_callback.send(Some(copy_of(&at_callback)));
        }));
        let mut copy = told.recv_timeout(PATIENCE).expect("the syncer does something");
        let_go.send(()).expect("the purge waits");
        if copy.is_none() {
            copy = told.recv_timeout(PATIENCE).expect("the sync reports");
        }

        let copy = copy.expect("the syncer wants the promises once");
        let (_, promises, _) = StateFile::open(copy.path(), crate::Identity::default()).expect("opens");
        assert_eq!(promises.vote.as_deref(), Some(b"vote 7".as_slice()), "what was on disk when the vote was reported");
        let other = LogSyncer::start(1, Durability::Always).expect("threads");
        let log = RaftLog::open(copy.path(), &options(), &other).expect("opens");
        assert_eq!(log.vote(), Some(b"vote 7".as_slice()));
    }

    #[test]
    fn a_purge_that_is_asked_for_while_another_is_under_way_drops_nothing_before_it_is_written_down() {
        let directory = tempfile::tempdir().expect("a temporary directory");
        let syncer = LogSyncer::start(0, Durability::Always).expect("threads");
        let mut log = RaftLog::open(directory.path(), &options(), &syncer).expect("opens");
        let shared = syncer.queue().tidy.logs().pop().expect("it is registered");
        // Two tables that RocksDB may drop, and records after them.
        for indexes in [0..=5, 6..=15] {
            append(&mut log, indexes.clone());
            let compacted = shared.lane.with_database(|database| {
                database.flush()?;
                database.compact_range(Some(key_of(*indexes.start())), Some(key_of(*indexes.end())));
                database.live_files()
            });
            let files = compacted.expect("it is open").expect("listed");
            assert!(files.iter().all(|file| file.level > 0), "{files:?}");
        }
        append(&mut log, 16..=17);
        sync(&mut log).expect("synced");
        let (held, is_held, let_go) = hold_tidy("purge noted", directory.path());
        log.purge(5, b"id of 5").expect("purged");
        is_held.recv_timeout(PATIENCE).expect("the first purge is written down");
        log.purge(15, b"id of 15").expect("purged");
        let (_held_again, is_held_again, let_go_again) = hold_tidy("promises begun", directory.path());

        drop(held);
        let_go.send(()).expect("the first purge waits");
        is_held_again.recv_timeout(PATIENCE).expect("the second purge is about to be written down");

        let copy = copy_of(directory.path());
        let other = LogSyncer::start(1, Durability::Always).expect("threads");
        let copied = RaftLog::open(copy.path(), &options(), &other).expect("it has no hole");
        assert_eq!((copied.first_index(), copied.last_index()), (Some(6), Some(17)));
        let_go_again.send(()).expect("the second purge waits");
    }

    #[test]
    fn a_mark_that_cannot_be_synced_ends_the_log_before_a_later_vote_is_believed() {
        let directory = tempfile::tempdir().expect("a temporary directory");
        let syncer = LogSyncer::start(0, Durability::Always).expect("threads");
        let mut log = RaftLog::open(directory.path(), &options(), &syncer).expect("opens");
        append(&mut log, 0..=2);
        sync(&mut log).expect("synced");
        let shared = syncer.queue().tidy.logs().pop().expect("it is registered");
        let (failing, has_failed) = fail_tidy("mark synced", directory.path());
        shared.mark_queued.store(true, Ordering::Release);
        syncer.queue().tidy.wake();
        has_failed.recv_timeout(PATIENCE).expect("the mark is synced");
        drop(failing);

        log.set_vote(b"vote 7");
        let refused = sync(&mut log).expect_err("the system may have told the mark's sync of the vote's loss");
        assert!(refused.to_string().contains("syncing the log in"), "{refused}");
    }

    #[test]
    fn a_purge_that_cannot_be_written_down_ends_the_log() {
        for point in ["promises begun", "promises written"] {
            let directory = tempfile::tempdir().expect("a temporary directory");
            let syncer = LogSyncer::start(0, Durability::Always).expect("threads");
            let mut log = RaftLog::open(directory.path(), &options(), &syncer).expect("opens");
            append(&mut log, 0..=2);
            sync(&mut log).expect("synced");
            let (_failing, has_failed) = fail_tidy(point, directory.path());
            log.purge(0, b"id of 0").expect("it is done in the background");
            has_failed.recv_timeout(PATIENCE).expect("the purge is written down");
            let deadline = Instant::now() + PATIENCE;
            while syncer.queue().failed().is_none() {
                assert!(Instant::now() < deadline, "{point}: the log goes on");
                thread::sleep(Duration::from_millis(1));
            }
            let refused = sync(&mut log).expect_err("nothing is acknowledged any more");
            assert!(refused.to_string().contains("Input/output error"), "{point}: {refused}");
        }
    }

    #[test]
    fn a_purge_that_replaces_the_log_is_remembered_when_the_next_sync_reports() {
        let directory = tempfile::tempdir().expect("a temporary directory");
        let syncer = LogSyncer::start(0, Durability::Always).expect("threads");
        syncer.queue().tidy.stop();
        let options = LogOptions { warm_files: 0, ..LogOptions::default() };
        let mut log = RaftLog::open(directory.path(), &options, &syncer).expect("opens");
        log.purge(99, b"id of 99").expect("purged");
        sync(&mut log).expect("synced");
        let (_, promises, _) = StateFile::open(directory.path(), crate::Identity::default()).expect("opens");
        assert_eq!(promises.purged, Some((99, b"id of 99".as_slice().into())));
    }

    #[test]
    fn tables_that_could_not_be_dropped_are_dropped_later() {
        let directory = tempfile::tempdir().expect("a temporary directory");
        let syncer = LogSyncer::start(0, Durability::Always).expect("threads");
        let options = LogOptions { warm_files: 0, segment_bytes: 64 << 10, ..LogOptions::default() };
        let mut log = RaftLog::open(directory.path(), &options, &syncer).expect("opens");
        let shared = syncer.queue().tidy.logs().pop().expect("it is registered");
        let tables =
            || shared.lane.with_database(|database| database.live_files().expect("listed").len()).expect("it is open");
        let compact = |stops: &str| {
            let set =
                shared.lane.with_database(|database| database.set_options(&[("disable_auto_compactions", stops)]));
            set.expect("it is open").expect("set");
        };
        let eventually = |what: &str, done: &dyn Fn() -> bool| {
            let deadline = Instant::now() + Duration::from_secs(30);
            while !done() {
                assert!(Instant::now() < deadline, "{what}: {} tables", tables());
                thread::sleep(Duration::from_millis(5));
            }
        };
        // All tables stay at level 0, from which RocksDB drops none.
        compact("true");
        for index in 0..20 {
            let body = bytes::Bytes::from(vec![7; 60 << 10]);
            while log.append(&[LogRecord { index, term: 1, body: body.clone() }]).is_err() {
                thread::sleep(Duration::from_millis(1));
            }
        }
        eventually("tables are written", &|| tables() > 2);
        log.purge(19, b"id of 19").expect("purged");
        eventually("the purge has been tried", &|| shared.purges_again.load(Ordering::Relaxed) > 0);
        assert!(tables() > 2, "{} tables", tables());

        compact("false");

        eventually("they are dropped without another purge", &|| tables() <= 1);
    }

    #[test]
    fn a_failed_sync_is_final_for_all_of_the_core() {
        let syncer = LogSyncer::start(0, Durability::Always).expect("threads");
        let directory = tempfile::tempdir().expect("a temporary directory");
        let options = LogOptions { warm_files: 0, ..LogOptions::default() };
        let log = Arc::new(recover(directory.path(), &options).expect("opens").1.shared);
        syncer.queue().fail(SyncError::new(directory.path(), "the disk is gone"));
        for _ in 0..2 {
            let (sender, receiver) = channel();
            syncer.queue().push(&log, Box::new(move |outcome| sender.send(outcome).expect("somebody waits")));
            let error = receiver.recv_timeout(Duration::from_secs(30)).expect("a callback").expect_err("failed before");
            assert!(error.to_string().contains("the disk is gone"), "{error}");
        }
    }
}
