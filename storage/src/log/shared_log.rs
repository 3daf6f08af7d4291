//! One log, as its core and the threads that sync and tidy it see it.

use std::fs::File;
use std::io;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, AtomicU32, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, RwLock};
use std::thread;
use std::time::{Duration, Instant};

use rocksdb::DB;

use super::LogOptions;
use super::database::{open_database, refusal};
use super::limits::{MARK_SYNC_EVERY, WEDGE_PATIENCE};
use super::record::key_of;
use super::state_file::{Mark, MarkSlots, OpenFile, PromiseSlots, Promises, StateFile};
use super::syncer::SyncError;
use super::tidy::Tidy;
use crate::failpoint::{failpoint, fault};
use crate::{Error, Result};

/// Part of RocksDB's message if the sync itself failed.
const SYNC_CALL: &str = "sync";

/// State of one log that its core and the threads share.
#[derive(Debug)]
pub(super) struct SharedLog {
    pub(super) directory: PathBuf,
    /// Gone when the log is closed, and while it is opened again after the disk was full.
    database: RwLock<Option<DB>>,
    /// Set when RocksDB has seen the disk full, and takes no writes until it is opened again.
    wedged: AtomicBool,
    wanted: Mutex<Wanted>,
    promises: Mutex<PromiseSlots>,
    /// Version of the promises on disk. Written with the slots held, after they are synced.
    promises_durable: AtomicU64,
    marks: Mutex<MarkSlots>,
    state_file: Arc<OpenFile>,
    durable_sequence: AtomicU64,
    pub(super) completed: AtomicU64,
    pub(super) dirty: AtomicBool,
    pub(super) purge_queued: AtomicBool,
    /// Times that the newest purge has left tables.
    pub(super) purges_again: AtomicU32,
    pub(super) mark_queued: AtomicBool,
    mark_synced: Mutex<Instant>,
}

/// State that the state file should have.
#[derive(Debug, Default)]
pub(super) struct Wanted {
    promises: Promises,
    /// Number of changes of the promises. They are on disk when this number is known to be, never because somebody is about to
    /// write them.
    promises_version: u64,
    /// The version that brought what was promised last that a sync has to wait for: all but purges of part of the log.
    awaited_version: u64,
    pub(super) committed: Option<Vec<u8>>,
    /// Index and term of the last record written.
    pub(super) last: Option<(u64, u64)>,
    /// Number of truncations; a mark from before must not be written after.
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

    /// Number of syncs that have run their callbacks.
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
    pub(super) fn sync(&self, tidy: &Tidy) -> Result<(), SyncError> {
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
    /// yet would leave a hole after a crash. Returns true if some of those tables are left that will be dropped later.
    pub(super) fn drop_purged(&self, noted: &Promises) -> Result<bool> {
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

    pub(super) fn sync_mark(&self) -> io::Result<()> {
        *lock(&self.mark_synced) = Instant::now();
        self.state_file.sync("mark synced")
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

pub(super) fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

#[cfg(test)]
mod tests {
    use super::*;
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
}
