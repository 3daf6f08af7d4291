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
use super::state_file::{Mark, MarkSlots, OpenFile, PromiseSlots, Promises, StateFile};
use super::{Durability, LogOptions};
use crate::failpoint::{failpoint, fault};
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
        syncer.spawn(format!("log-tidy-{core}"), move || queue.run_tidy())?;
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
    /// Version of the promises on disk. Written with the slots held, after they are synced.
    promises_durable: AtomicU64,
    marks: Mutex<MarkSlots>,
    state_file: Arc<OpenFile>,
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
    promises: Promises,
    /// How often the promises were changed. They are on disk when this number is known to be, never because somebody is about to
    /// write them.
    promises_version: u64,
    /// The version that brought what was promised last that a sync has to wait for: all but purges of part of the log.
    awaited_version: u64,
    pub(super) committed: Option<Vec<u8>>,
    /// Index and term of the last record written.
    pub(super) last: Option<(u64, u64)>,
    /// How often records were truncated; a mark from before must not be written after.
    pub(super) truncations: u64,
}

impl Wanted {
    pub(super) fn promises(&self) -> &Promises {
        &self.promises
    }

    /// Changes promises that may be written at any time.
    pub(super) fn change_promises(&mut self, change: impl FnOnce(&mut Promises)) {
        change(&mut self.promises);
        self.promises_version += 1;
    }

    /// Changes promises that are durable when the next sync is. Returns their version.
    pub(super) fn change_awaited(&mut self, change: impl FnOnce(&mut Promises)) -> u64 {
        self.change_promises(change);
        self.awaited_version = self.promises_version;
        self.awaited_version
    }
}

impl SharedLog {
    pub(super) fn new(directory: &Path, database: DB, state: StateFile, promises: Promises, mark: Mark) -> Self {
        let wanted = Wanted {
            promises,
            promises_version: 0,
            awaited_version: 0,
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
            promises_durable: AtomicU64::new(0),
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

    /// The version of the promises that are on disk.
    pub(super) fn promises_durable(&self) -> u64 {
        self.promises_durable.load(Ordering::Acquire)
    }

    /// How many syncs have run their callbacks.
    pub(super) fn completed(&self) -> u64 {
        self.completed.load(Ordering::Acquire)
    }

    /// Writes the promises to the state file if it has older ones; returns what is durable then.
    pub(super) fn write_promises(&self) -> io::Result<Promises> {
        fault("promises wanted", &self.directory)?;
        // Taken with the file held, so that two writers cannot overtake each other, and none believes what another has begun.
        let mut slots = lock(&self.promises);
        slots.check()?;
        let (promises, version) = {
            let wanted = self.wanted();
            (wanted.promises.clone(), wanted.promises_version)
        };
        if self.promises_durable() < version {
            slots.write(&promises)?;
            self.promises_durable.store(version, Ordering::Release);
        }
        Ok(promises)
    }

    /// Makes everything written so far durable.
    fn sync(&self, tidy: &Tidy) -> Result<(), SyncError> {
        self.dirty.store(false, Ordering::Release);
        let failed = |error: &dyn std::fmt::Display| SyncError::new(&self.directory, error);
        let (mark, truncations, awaited_version) = {
            let wanted = self.wanted();
            let committed = wanted.committed.as_deref().map(Box::from);
            (Mark { last: wanted.last, committed }, wanted.truncations, wanted.awaited_version)
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
        if self.promises_durable() < awaited_version {
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

    /// Drops tables that hold only records purged by the `noted` promises, which are durable: a purge that nobody has written down
    /// yet would leave a hole after a crash. Whether some of those tables are left that will be dropped later.
    fn drop_purged(&self, noted: &Promises) -> Result<bool> {
        let Some(upto) = noted.purged.as_ref().map(|(index, _)| *index) else { return Ok(false) };
        fault("purge noted", &self.directory).map_err(|source| Error::Io { path: self.directory.clone(), source })?;
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
        self.state_file.sync("mark synced")
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

    /// Purges logs and syncs marks until stopped.
    fn run_tidy(&self) {
        let mut comes_again = false;
        while self.tidy.wait(comes_again) {
            comes_again = false;
            for log in self.tidy.logs() {
                comes_again |= self.tidy_log(&log);
            }
        }
    }

    /// Does what is due for a log; whether there will be more to do without being asked for. What cannot be written to the state
    /// file ends the logs, as a failed sync of records does.
    fn tidy_log(&self, log: &SharedLog) -> bool {
        if log.purge_queued.swap(false, Ordering::AcqRel) {
            failpoint("purge begun");
            let noted = match log.write_promises() {
                Ok(noted) => noted,
                Err(error) => {
                    self.fail(SyncError::new(&log.directory, error));
                    return false;
                }
            };
            match log.drop_purged(&noted) {
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
            self.fail(SyncError::new(&log.directory, error));
        }
        log.purge_queued.load(Ordering::Acquire)
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

/// Syncs every write-ahead file in `directory`, and the directory.
pub(super) fn sync_files(directory: &Path) -> io::Result<()> {
    for entry in std::fs::read_dir(directory)? {
        let path = entry?.path();
        if path.extension().is_some_and(|extension| extension == "log") {
            match File::open(path) {
                // Removed or taken for another since: what it held is in a table, which was synced.
                Err(error) if error.kind() == io::ErrorKind::NotFound => {}
                file => file?.sync_data()?,
            }
        }
    }
    File::open(directory)?.sync_all()
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

#[cfg(test)]
mod tests {
    use std::sync::mpsc::{Receiver, Sender, channel};

    use super::*;
    use crate::failpoint::{Armed, arm};
    use crate::log::recovery::recover;
    use crate::log::{LogRecord, RaftLog};

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
        let shared = syncer.queue.tidy.logs().pop().expect("it is registered");
        // Two tables that RocksDB may drop, and records after them.
        for indexes in [0..=5, 6..=15] {
            append(&mut log, indexes.clone());
            let compacted = shared.with_database(|database| {
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
        let shared = syncer.queue.tidy.logs().pop().expect("it is registered");
        let (failing, has_failed) = fail_tidy("mark synced", directory.path());
        shared.mark_queued.store(true, Ordering::Release);
        syncer.queue.tidy.wake();
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
            while syncer.queue.failed().is_none() {
                assert!(Instant::now() < deadline, "{point}: the log goes on");
                thread::sleep(Duration::from_millis(1));
            }
            let refused = sync(&mut log).expect_err("nothing is acknowledged any more");
            assert!(refused.to_string().contains("Input/output error"), "{point}: {refused}");
        }
    }

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
    fn a_purge_that_replaces_the_log_is_remembered_when_the_next_sync_reports() {
        let directory = tempfile::tempdir().expect("a temporary directory");
        let syncer = LogSyncer::start(0, Durability::Always).expect("threads");
        syncer.queue.tidy.stop();
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
            let (sender, receiver) = channel();
            syncer.queue.push(&log, Box::new(move |outcome| sender.send(outcome).expect("somebody waits")));
            let error = receiver.recv_timeout(Duration::from_secs(30)).expect("a callback").expect_err("failed before");
            assert!(error.to_string().contains("the disk is gone"), "{error}");
        }
    }
}
