//! One log, as its core and the threads that sync and tidy it see it.

use std::fs::File;
use std::io;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, AtomicU32, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Instant;

use rocksdb::{ColumnFamily, DB};

use super::lane::SharedLane;
use super::limits::MARK_SYNC_EVERY;
use super::record::key_of;
use super::state_file::{Mark, MarkSlots, OpenFile, PromiseSlots, Promises, StateFile};
use super::syncer::SyncError;
use super::tidy::Tidy;
use crate::failpoint::{failpoint, fault};
use crate::{Error, Result};

/// State of one log that its core and the threads share.
#[derive(Debug)]
pub(super) struct SharedLog {
    /// Directory of the group's state.
    pub(super) directory: PathBuf,
    /// The database of its records, with those of other groups.
    pub(super) lane: Arc<SharedLane>,
    /// The column family of its records.
    family: String,
    wanted: Mutex<Wanted>,
    promises: Mutex<PromiseSlots>,
    /// Version of the promises on disk. Written with the slots held, after they are synced.
    promises_durable: AtomicU64,
    marks: Mutex<MarkSlots>,
    state_file: Arc<OpenFile>,
    pub(super) completed: AtomicU64,
    pub(super) dirty: AtomicBool,
    pub(super) purge_queued: AtomicBool,
    /// Times that the newest purge has left tables.
    pub(super) purges_again: AtomicU32,
    pub(super) mark_queued: AtomicBool,
    mark_synced: Mutex<Instant>,
}

/// Mark and promises to be written when the sync that is under way is over.
#[derive(Debug)]
pub(super) struct Due {
    mark: Mark,
    truncations: u64,
    awaited_version: u64,
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
    pub(super) fn new(
        directory: &Path,
        lane: &Arc<SharedLane>,
        family: &str,
        state: StateFile,
        promises: Promises,
        mark: Mark,
    ) -> Self {
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
            lane: Arc::clone(lane),
            family: family.to_owned(),
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

    /// Lends the database and the column family of the records to `body`.
    ///
    /// # Errors
    /// As [`SharedLane::with_database`].
    pub(super) fn with_rows<T>(&self, body: impl FnOnce(&DB, &ColumnFamily) -> T) -> Result<T> {
        self.lane.with_family(&self.family, body)
    }

    /// The column family of its records.
    pub(super) fn family(&self) -> &str {
        &self.family
    }

    pub(super) fn wanted(&self) -> MutexGuard<'_, Wanted> {
        lock(&self.wanted)
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

    /// Takes what is to be said of the log once a sync that begins now is over.
    pub(super) fn begin_sync(&self) -> Due {
        self.dirty.store(false, Ordering::Release);
        let wanted = self.wanted();
        let committed = wanted.committed.as_deref().map(Box::from);
        Due {
            mark: Mark { last: wanted.last, committed },
            truncations: wanted.truncations,
            awaited_version: wanted.awaited_version,
        }
    }

    /// Writes promises and mark after the sync of the records.
    pub(super) fn end_sync(&self, due: &Due, tidy: &Tidy) -> Result<(), SyncError> {
        let failed = |error: io::Error| SyncError::new(&self.directory, error);
        if self.promises_durable() < due.awaited_version {
            self.write_promises().map_err(failed)?;
        }
        self.write_mark(&due.mark, due.truncations).map_err(failed)?;
        if lock(&self.mark_synced).elapsed() > MARK_SYNC_EVERY && !self.mark_queued.swap(true, Ordering::AcqRel) {
            tidy.wake();
        }
        Ok(())
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
        let left = self.with_rows(|database, family| {
            database.delete_file_in_range_cf(family, key_of(0), end)?;
            let is_purged = |key: &Option<Vec<u8>>| key.as_deref().is_some_and(|key| key <= end.as_slice());
            let files = database.live_files()?;
            let own = files.iter().filter(|file| file.column_family_name == self.family);
            // A single one may stay at level 0 until there are others.
            Ok(own.filter(|file| is_purged(&file.end_key)).count() > 1)
        });
        failpoint("purge done");
        match left {
            Ok(left) => left.map_err(|error| self.lane.refusal(&error)),
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
    use crate::log::LogOptions;
    use crate::log::recovery::recover;

    #[test]
    fn a_mark_from_before_a_truncation_is_not_written_after_it() {
        let directory = tempfile::tempdir().expect("a temporary directory");
        let options = LogOptions { warm_files: 0, ..LogOptions::default() };
        let log = recover(directory.path(), &options).expect("opens").1.shared;
        let taken = Mark { last: Some((100, 1)), committed: None };
        log.write_mark(&taken, 0).expect("written");
        log.lower_mark(Some((50, 1))).expect("written");
        log.write_mark(&taken, 0).expect("left out");
        let (_, _, mark) = StateFile::open(directory.path(), crate::Identity::default()).expect("opens");
        assert_eq!(mark.last, Some((50, 1)));
    }
}
