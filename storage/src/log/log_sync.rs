//! The threads that make a core's logs durable: group commit, and tidying up behind it.
//!
//! One sync is in flight at a time; whatever was appended meanwhile rides the next one. Purging, which rewrites RocksDB's
//! manifest, and syncing the durable mark happen on a second thread, so that no sync waits for them.

use std::fs::File;
use std::io;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, AtomicU32, AtomicU64, Ordering};
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError, RwLock, Weak};
use std::thread::{self, JoinHandle};
use std::time::{Duration, Instant};

use rocksdb::DB;

use super::database::{open_database, refusal};
use super::record::key_of;
use super::state_file::{Mark, MarkSlots, PromiseSlots, Promises, StateFile};
use super::{Durability, LogOptions};
use crate::store::failpoint::failpoint;
use crate::{Error, Result};

/// Longest time that the durable mark stays unsynced while syncs go on.
const MARK_SYNC_EVERY: Duration = Duration::from_secs(1);

/// When purged tables that could not be dropped yet are looked for again: RocksDB drops none of level 0, and none that a compaction
/// works on.
const PURGE_AGAIN: Duration = Duration::from_millis(250);
/// How often they are looked for before the next purge is waited for.
const PURGE_AGAIN_MAX: u32 = 120;

/// How long the syncer waits to hear from the core that a write found the disk full.
const WEDGE_PATIENCE: Duration = Duration::from_secs(1);
/// What RocksDB's message contains if the sync itself failed.
const SYNC_CALL: &str = "sync";

/// What a sync ends with. Runs on the syncer's thread (see the module for the exception); must be quick and must not panic.
pub type SyncDone = Box<dyn FnOnce(Result<(), SyncError>) + Send>;

/// A sync that failed. Final: what it covered may be lost, and no later sync can prove otherwise.
#[derive(Debug, Clone, thiserror::Error)]
#[error("syncing the log in {path} failed: {message}", path = path.display())]
pub struct SyncError {
    path: Arc<Path>,
    message: Arc<str>,
}

impl SyncError {
    pub(super) fn new(path: &Path, message: impl std::fmt::Display) -> Self {
        Self { path: path.into(), message: message.to_string().into() }
    }
}

/// The sync and tidy threads of one core, shared by its logs.
///
/// Dropping it completes the syncs asked for so far and stops the threads; logs that are still open get errors from then on.
#[derive(Debug)]
pub struct LogSyncer {
    queue: Arc<SyncQueue>,
    threads: Vec<JoinHandle<()>>,
}

impl LogSyncer {
    /// Starts the threads of core `core`; they inherit the caller's CPU affinity.
    ///
    /// # Errors
    /// [`Error::Io`] if a thread cannot be started.
    pub fn start(core: usize, durability: Durability) -> Result<LogSyncer> {
        Self::start_with(core, durability, || ())
    }

    /// As [`LogSyncer::start`]; the thread that syncs runs `prepare` first, to tell the system how it is to be scheduled.
    ///
    /// # Errors
    /// As [`LogSyncer::start`].
    pub fn start_with(
        core: usize,
        durability: Durability,
        prepare: impl FnOnce() + Send + 'static,
    ) -> Result<LogSyncer> {
        let queue = Arc::new(SyncQueue::new(durability));
        let mut syncer = LogSyncer { queue: Arc::clone(&queue), threads: Vec::new() };
        let sync_queue = Arc::clone(&queue);
        syncer.spawn(format!("log-sync-{core}"), move || sync_queue.run(prepare))?;
        syncer.spawn(format!("log-tidy-{core}"), move || queue.tidy.run())?;
        Ok(syncer)
    }

    /// When acknowledged appends are on disk.
    pub fn durability(&self) -> Durability {
        self.queue.durability
    }

    pub(super) fn queue(&self) -> Arc<SyncQueue> {
        Arc::clone(&self.queue)
    }

    fn spawn(&mut self, name: String, body: impl FnOnce() + Send + 'static) -> Result<()> {
        let started = thread::Builder::new().name(name.clone()).spawn(body);
        self.threads.push(started.map_err(|source| Error::Io { path: PathBuf::from(name), source })?);
        Ok(())
    }
}

impl Drop for LogSyncer {
    fn drop(&mut self) {
        self.queue.stop();
        for thread in self.threads.drain(..) {
            if thread.join().is_err() {
                tracing::error!("a log thread panicked");
            }
        }
    }
}

/// What one log's core and the threads share.
#[derive(Debug)]
pub(super) struct SharedLog {
    pub(super) directory: PathBuf,
    /// Gone when the log is closed, and while it is opened again after the disk was full.
    database: RwLock<Option<DB>>,
    /// Whether RocksDB has seen the disk full, and takes no writes until it is opened again.
    wedged: AtomicBool,
    wanted: Mutex<Wanted>,
    promises: Mutex<PromiseSlots>,
    marks: Mutex<MarkSlots>,
    state_file: Arc<File>,
    durable_sequence: AtomicU64,
    completed: AtomicU64,
    dirty: AtomicBool,
    purge_queued: AtomicBool,
    /// How often the newest purge has left tables.
    purges_again: AtomicU32,
    mark_queued: AtomicBool,
    mark_synced: Mutex<Instant>,
}

/// What the state file should say.
#[derive(Debug, Default)]
pub(super) struct Wanted {
    pub(super) promises: Promises,
    /// Whether the promises are not written yet.
    pub(super) promises_changed: bool,
    /// Whether the vote is among what changed, for which the next sync has to wait.
    pub(super) vote_changed: bool,
    pub(super) committed: Option<Vec<u8>>,
    /// Index and term of the last record written.
    pub(super) last: Option<(u64, u64)>,
    /// How often records were truncated; a mark from before must not be written after.
    pub(super) truncations: u64,
}

impl SharedLog {
    pub(super) fn new(directory: &Path, database: DB, state: StateFile, promises: Promises, mark: Mark) -> Self {
        let wanted = Wanted {
            promises,
            promises_changed: false,
            vote_changed: false,
            committed: mark.committed.map(Vec::from),
            last: mark.last,
            truncations: 0,
        };
        Self {
            directory: directory.to_owned(),
            durable_sequence: AtomicU64::new(database.latest_sequence_number()),
            database: RwLock::new(Some(database)),
            wedged: AtomicBool::new(false),
            wanted: Mutex::new(wanted),
            state_file: state.marks.file(),
            promises: Mutex::new(state.promises),
            marks: Mutex::new(state.marks),
            completed: AtomicU64::new(0),
            dirty: AtomicBool::new(false),
            purge_queued: AtomicBool::new(false),
            purges_again: AtomicU32::new(0),
            mark_queued: AtomicBool::new(false),
            mark_synced: Mutex::new(Instant::now()),
        }
    }

    /// Lends the database to `body`.
    ///
    /// # Errors
    /// [`Error::DiskFull`] if it was closed because of that and could not be opened again yet; or the log is closed, but then
    /// nobody sees it.
    pub(super) fn with_database<T>(&self, body: impl FnOnce(&DB) -> T) -> Result<T> {
        let database = self.database.read().unwrap_or_else(PoisonError::into_inner);
        let database = database.as_ref().ok_or_else(|| Error::DiskFull { path: self.directory.clone() })?;
        Ok(body(database))
    }

    /// Notes that RocksDB takes no more writes since the disk was full.
    pub(super) fn wedge(&self) {
        self.wedged.store(true, Ordering::Release);
    }

    pub(super) fn is_wedged(&self) -> bool {
        self.wedged.load(Ordering::Acquire)
    }

    /// Closes the database, so that it can be opened again by another; waits for calls in flight.
    ///
    /// Syncs still asked for are done on the files.
    pub(super) fn close(&self) {
        drop(self.database.write().unwrap_or_else(PoisonError::into_inner).take());
    }

    /// Closes the database and opens it again, when there is space again. Waits for calls in flight.
    pub(super) fn reopen(&self, options: &LogOptions) -> Result<()> {
        let mut database = self.database.write().unwrap_or_else(PoisonError::into_inner);
        drop(database.take());
        let opened = open_database(&self.directory, options, true)?;
        sync_files(&self.directory).map_err(|source| Error::Io { path: self.directory.clone(), source })?;
        self.durable_sequence.store(opened.latest_sequence_number(), Ordering::Release);
        *database = Some(opened);
        self.wedged.store(false, Ordering::Release);
        Ok(())
    }

    pub(super) fn wanted(&self) -> MutexGuard<'_, Wanted> {
        lock(&self.wanted)
    }

    /// RocksDB's number of the newest write known to be durable.
    pub(super) fn durable_sequence(&self) -> u64 {
        self.durable_sequence.load(Ordering::Acquire)
    }

    /// How many syncs have run their callbacks.
    pub(super) fn completed(&self) -> u64 {
        self.completed.load(Ordering::Acquire)
    }

    /// Writes changed promises to the state file, durable on return.
    pub(super) fn write_promises(&self) -> io::Result<()> {
        // Taken with the file held, so that two writers cannot overtake each other.
        let mut slots = lock(&self.promises);
        slots.check()?;
        let promises = {
            let mut wanted = self.wanted();
            wanted.vote_changed = false;
            if !std::mem::take(&mut wanted.promises_changed) {
                return Ok(());
            }
            wanted.promises.clone()
        };
        slots.write(&promises)
    }

    /// Makes everything written so far durable.
    fn sync(&self, tidy: &Tidy) -> Result<(), SyncError> {
        self.dirty.store(false, Ordering::Release);
        let failed = |error: &dyn std::fmt::Display| SyncError::new(&self.directory, error);
        let (mark, truncations, vote_changed) = {
            let wanted = self.wanted();
            let committed = wanted.committed.as_deref().map(Box::from);
            (Mark { last: wanted.last, committed }, wanted.truncations, wanted.vote_changed)
        };
        let synced = self.with_database(|database| (database.latest_sequence_number(), database.flush_wal(true)));
        match synced {
            Ok((sequence, Ok(()))) => {
                self.durable_sequence.fetch_max(sequence, Ordering::AcqRel);
            }
            Ok((sequence, Err(error))) => {
                self.sync_wedged(&error)?;
                self.durable_sequence.fetch_max(sequence, Ordering::AcqRel);
            }
            // Nothing was written since it was closed.
            Err(_) => sync_files(&self.directory).map_err(|error| failed(&error))?,
        }
        if vote_changed {
            self.write_promises().map_err(|error| failed(&error))?;
        }
        self.write_mark(&mark, truncations).map_err(|error| failed(&error))?;
        if lock(&self.mark_synced).elapsed() > MARK_SYNC_EVERY && !self.mark_queued.swap(true, Ordering::AcqRel) {
            tidy.wake();
        }
        Ok(())
    }

    /// Syncs the write-ahead files past a RocksDB that has stopped because the disk was full.
    ///
    /// It refuses to sync since a *write* failed, for an append that got an error. What was written before is in the files
    /// and still has to be synced, for the first time. A sync that failed itself is final.
    fn sync_wedged(&self, error: &rocksdb::Error) -> Result<(), SyncError> {
        let message = error.to_string();
        let patience = Instant::now() + WEDGE_PATIENCE;
        // The core learns of the failed write at the same moment as this thread.
        while !self.is_wedged() && Instant::now() < patience && !message.contains(SYNC_CALL) {
            thread::sleep(Duration::from_millis(1));
        }
        if !self.is_wedged() || message.contains(SYNC_CALL) {
            return Err(SyncError::new(&self.directory, message));
        }
        sync_files(&self.directory).map_err(|error| SyncError::new(&self.directory, error))
    }

    /// Writes `mark`, unless records were truncated since it was taken.
    fn write_mark(&self, mark: &Mark, truncations: u64) -> io::Result<()> {
        let mut marks = lock(&self.marks);
        if self.wanted().truncations != truncations {
            return Ok(());
        }
        match marks.write(mark) {
            // Only on file systems that copy on write; an older mark proves less, and nothing wrong.
            Err(error) if error.kind() == io::ErrorKind::StorageFull => Ok(()),
            written => written,
        }
    }

    /// Lowers the mark to `last` before the records after it are truncated; durable on return.
    pub(super) fn lower_mark(&self, last: Option<(u64, u64)>) -> io::Result<()> {
        let committed = {
            let mut wanted = self.wanted();
            wanted.truncations += 1;
            wanted.last = last;
            wanted.committed.as_deref().map(Box::from)
        };
        lock(&self.marks).replace(&Mark { last, committed })
    }

    /// Drops tables that hold only purged records; whether some of those are left that will be dropped later.
    fn purge(&self) -> Result<bool> {
        failpoint("purge begun");
        self.write_promises().map_err(|source| Error::Io { path: self.directory.clone(), source })?;
        let Some(upto) = self.wanted().promises.purged.as_ref().map(|(index, _)| *index) else { return Ok(false) };
        failpoint("purge noted");
        let end = key_of(upto);
        let left = self.with_database(|database| {
            database.delete_file_in_range(key_of(0), end)?;
            let is_purged = |key: &Option<Vec<u8>>| key.as_deref().is_some_and(|key| key <= end.as_slice());
            // A single one may stay at level 0 until there are others.
            Ok(database.live_files()?.iter().filter(|file| is_purged(&file.end_key)).count() > 1)
        });
        failpoint("purge done");
        match left {
            Ok(left) => left.map_err(|error| refusal(&self.directory, &error)),
            // The next purge makes up for it.
            Err(_) => Ok(false),
        }
    }

    fn sync_mark(&self) -> io::Result<()> {
        *lock(&self.mark_synced) = Instant::now();
        self.state_file.sync_data()
    }
}

/// Syncs asked for and not yet done.
#[derive(Debug)]
pub(super) struct SyncQueue {
    durability: Durability,
    /// Whether `waiting.failed` is set, to ask without the lock.
    has_failed: AtomicBool,
    waiting: Mutex<Waiting>,
    arrived: Condvar,
    tidy: Tidy,
}

#[derive(Default)]
struct Waiting {
    requests: Vec<Request>,
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

struct Request {
    log: Arc<SharedLog>,
    done: SyncDone,
}

impl SyncQueue {
    fn new(durability: Durability) -> Self {
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
        let mut tidying = lock(&self.tidy.state);
        tidying.logs.retain(|log| log.strong_count() > 0);
        tidying.logs.push(Arc::downgrade(log));
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
        waiting.requests.push(Request { log: Arc::clone(log), done });
        self.wake(waiting);
    }

    /// Notes that `log` was written to; in interval mode it will be synced.
    pub(super) fn touched(&self, log: &SharedLog) {
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

    fn stop(&self) {
        lock(&self.waiting).stopping = true;
        self.arrived.notify_all();
    }

    fn run(&self, prepare: impl FnOnce()) {
        let _guard = FailWhenGone(self);
        prepare();
        let mut batch = Vec::new();
        let mut next_interval = Instant::now();
        while let Some(due) = self.take(&mut batch, next_interval) {
            while let Some(log) = batch.first().map(|request: &Request| Arc::clone(&request.log)) {
                let outcome = self.sync(&log);
                let (done, rest) = batch.drain(..).partition(|request| Arc::ptr_eq(&request.log, &log));
                batch = rest;
                let done: Vec<Request> = done;
                for request in done {
                    (request.done)(outcome.clone());
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
        for log in self.tidy.logs() {
            if log.dirty.load(Ordering::Acquire) && self.sync(&log).is_err() {
                return;
            }
        }
    }

    /// Syncs one log, unless an earlier sync failed.
    fn sync(&self, log: &SharedLog) -> Result<(), SyncError> {
        if let Some(failed) = self.failed() {
            return Err(failed);
        }
        log.sync(&self.tidy).inspect_err(|error| self.fail(error.clone()))
    }

    /// Waits for requests, or for written logs whose interval has passed (then `true`); `None` when stopped and done.
    fn take(&self, batch: &mut Vec<Request>, next_interval: Instant) -> Option<bool> {
        let mut waiting = lock(&self.waiting);
        loop {
            let due = waiting.dirty && Instant::now() >= next_interval;
            if due {
                waiting.dirty = false;
            }
            if due || !waiting.requests.is_empty() {
                std::mem::swap(batch, &mut waiting.requests);
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

/// Work that no sync should wait for.
#[derive(Debug, Default)]
struct Tidy {
    state: Mutex<Tidying>,
    arrived: Condvar,
}

#[derive(Debug, Default)]
struct Tidying {
    logs: Vec<Weak<SharedLog>>,
    woken: bool,
    stopping: bool,
}

impl Tidy {
    fn wake(&self) {
        lock(&self.state).woken = true;
        self.arrived.notify_one();
    }

    fn stop(&self) {
        lock(&self.state).stopping = true;
        self.arrived.notify_one();
    }

    fn logs(&self) -> Vec<Arc<SharedLog>> {
        lock(&self.state).logs.iter().filter_map(Weak::upgrade).collect()
    }

    fn run(&self) {
        let mut comes_again = false;
        while self.wait(comes_again) {
            comes_again = false;
            for log in self.logs() {
                comes_again |= tidy_log(&log);
            }
        }
    }

    /// Waits until woken, or for a while if something `comes_again`; `false` once stopped.
    fn wait(&self, comes_again: bool) -> bool {
        let mut state = lock(&self.state);
        let deadline = Instant::now() + PURGE_AGAIN;
        while !state.woken && !state.stopping {
            if !comes_again {
                state = self.arrived.wait(state).unwrap_or_else(PoisonError::into_inner);
                continue;
            }
            let pause = deadline.saturating_duration_since(Instant::now());
            if pause.is_zero() {
                break;
            }
            state = self.arrived.wait_timeout(state, pause).unwrap_or_else(PoisonError::into_inner).0;
        }
        state.woken = false;
        !state.stopping
    }
}

/// Does what is due for a log; whether there will be more to do without being asked for.
fn tidy_log(log: &SharedLog) -> bool {
    if log.purge_queued.swap(false, Ordering::AcqRel) {
        match log.purge() {
            Ok(true) if log.purges_again.fetch_add(1, Ordering::Relaxed) < PURGE_AGAIN_MAX => {
                log.purge_queued.store(true, Ordering::Release);
            }
            Ok(_) => {}
            Err(error) => tracing::warn!(%error, "purged records stay on disk until the next purge"),
        }
    }
    if log.mark_queued.swap(false, Ordering::AcqRel)
        && let Err(error) = log.sync_mark()
    {
        tracing::warn!(directory = %log.directory.display(), %error, "the log's durable mark could not be synced");
    }
    log.purge_queued.load(Ordering::Acquire)
}

/// Syncs every write-ahead file in `directory`, and the directory.
pub(super) fn sync_files(directory: &Path) -> io::Result<()> {
    for entry in std::fs::read_dir(directory)? {
        let path = entry?.path();
        if path.extension().is_some_and(|extension| extension == "log") {
            File::open(path)?.sync_data()?;
        }
    }
    File::open(directory)?.sync_all()
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::log::RaftLog;
    use crate::log::recovery::recover;

    #[test]
    fn a_mark_from_before_a_truncation_is_not_written_after_it() {
        let directory = tempfile::tempdir().expect("a temporary directory");
        let options = LogOptions { warm_files: 0, ..LogOptions::default() };
        let log = recover(directory.path(), &options).expect("opens").shared;
        let taken = Mark { last: Some((100, 1)), committed: None };
        log.write_mark(&taken, 0).expect("written");
        log.lower_mark(Some((50, 1))).expect("written");
        log.write_mark(&taken, 0).expect("left out");
        let (_, _, mark) = StateFile::open(directory.path(), crate::Identity::default()).expect("opens");
        assert_eq!(mark.last, Some((50, 1)));
    }

    #[test]
    fn a_purge_that_replaces_the_log_is_remembered_when_it_returns() {
        let directory = tempfile::tempdir().expect("a temporary directory");
        let syncer = LogSyncer::start(0, Durability::Always).expect("threads");
        syncer.queue.tidy.stop();
        let options = LogOptions { warm_files: 0, ..LogOptions::default() };
        let mut log = RaftLog::open(directory.path(), &options, &syncer).expect("opens");
        log.purge(99, b"id of 99").expect("purged");
        let (_, promises, _) = StateFile::open(directory.path(), crate::Identity::default()).expect("opens");
        assert_eq!(promises.purged, Some((99, b"id of 99".as_slice().into())));
    }

    #[test]
    fn tables_that_could_not_be_dropped_are_dropped_later() {
        use crate::log::LogRecord;
        let directory = tempfile::tempdir().expect("a temporary directory");
        let syncer = LogSyncer::start(0, Durability::Always).expect("threads");
        let options = LogOptions { warm_files: 0, segment_bytes: 64 << 10, ..LogOptions::default() };
        let mut log = RaftLog::open(directory.path(), &options, &syncer).expect("opens");
        let shared = syncer.queue.tidy.logs().pop().expect("it is registered");
        let tables =
            || shared.with_database(|database| database.live_files().expect("listed").len()).expect("it is open");
        let compact = |stops: &str| {
            let set = shared.with_database(|database| database.set_options(&[("disable_auto_compactions", stops)]));
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
        let log = Arc::new(recover(directory.path(), &options).expect("opens").shared);
        syncer.queue.fail(SyncError::new(directory.path(), "the disk is gone"));
        for _ in 0..2 {
            let (sender, receiver) = std::sync::mpsc::channel();
            syncer.queue.push(&log, Box::new(move |outcome| sender.send(outcome).expect("somebody waits")));
            let error = receiver.recv_timeout(Duration::from_secs(30)).expect("a callback").expect_err("failed before");
            assert!(error.to_string().contains("the disk is gone"), "{error}");
        }
    }
}
