//! The log of a lane: one RocksDB and one write-ahead file for the groups that share it, and so one write and one sync for all of
//! them.
//!
//! A group stays in its lane for life, and a lane belongs to one core at a time. A core has about as many groups as there are
//! replicas of each; if each had write-ahead files of its own, a turn would end in as many syncs.
//!
//! # The lane's and the group's
//! - The *lane's*: the database with its write-ahead files (recycled and prewritten ones too), the segments, the sequence numbers,
//!   whether the disk was full. A segment ends for all groups at once, so no idle group keeps an old write-ahead file.
//! - The *group's*: a column family with its records, which are tables of their own after a flush; and a directory with `STATE`
//!   (promises and durable mark) and `SKIPS`. So purging a group drops tables of that group alone, and a group whose records or
//!   state are damaged is refused while those beside it open.
//!
//! # The proof of a lost tail
//! A sync of the lane is one of all its groups, and each of them that asked for it writes its own mark: index and term of its last
//! record, read before the sync began. RocksDB recovers a prefix of the write-ahead files, whosever records they are; each group
//! then looks for the record of its own mark in its own column family. Sequence numbers are counted for the whole lane, so a group
//! remembers at which of them its records end ([`super::sequence_index`]).
//!
//! # A lane of one
//! A log that is opened alone is a lane of its own: its records are in the default column family, and database and `STATE` share a
//! directory. What a newcomer would get wrong: the default column family of a lane of several groups holds nobody's records.

use std::io;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, AtomicU64, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, PoisonError, RwLock};
use std::thread;
use std::time::{Duration, Instant};

use rocksdb::properties::{BACKGROUND_ERRORS, CUR_SIZE_ALL_MEM_TABLES, NUM_IMMUTABLE_MEM_TABLE};
use rocksdb::{ColumnFamily, DB, FlushOptions};

use super::LogOptions;
use super::database::{DEFAULT_FAMILY, create_family, families_of, open_database, refusal};
use super::disk_space::DiskSpace;
use super::limits::WEDGE_PATIENCE;
use super::prewrite::{OpeningClaim, opening_bytes, prewrite};
use super::raft_log::RaftLog;
use super::recovery::{KeptFiles, exists, recover_group, sync_name};
use super::shared_log::{lock, sync_files};
use super::skips::Skips;
use super::syncer::{LogSyncer, SyncError};
use crate::{Error, Result};

/// Part of RocksDB's message if the sync itself failed.
const SYNC_CALL: &str = "sync";

/// The log of a lane, to open the logs of its groups in.
///
/// Open while it or one of them is.
#[derive(Debug)]
pub struct Lane {
    shared: Arc<SharedLane>,
    space: DiskSpace,
    opening: Mutex<Option<Opening>>,
}

/// Precautions that end when all groups are open.
#[derive(Debug)]
struct Opening {
    kept: KeptFiles,
    /// The space for the first write-ahead file and the prewritten ones, if it is there.
    claim: Option<OpeningClaim>,
}

impl Lane {
    /// Opens the lane in `directory`, or creates it. Of `options`, those of the group mean nothing.
    ///
    /// # Errors
    /// [`Error::Missing`] if there is none and none is to be made; [`Error::Corruption`], [`Error::Io`].
    pub fn open(directory: &Path, options: &LogOptions) -> Result<Lane> {
        let has_database = exists(&directory.join("CURRENT"))?;
        if !has_database && !options.create {
            return Err(Error::Missing { path: directory.to_owned() });
        }
        std::fs::create_dir_all(directory).map_err(|source| Error::Io { path: directory.to_owned(), source })?;
        if !has_database {
            sync_name(directory).map_err(|source| Error::Io { path: directory.to_owned(), source })?;
        }
        let families = if has_database { families_of(directory)? } else { vec![DEFAULT_FAMILY.to_owned()] };
        Self::open_families(directory, options, families, true)
    }

    /// Opens the lane of a log that is alone in `directory`.
    pub(super) fn open_alone(directory: &Path, options: &LogOptions) -> Result<Lane> {
        Self::open_families(directory, options, vec![DEFAULT_FAMILY.to_owned()], false)
    }

    fn open_families(directory: &Path, options: &LogOptions, families: Vec<String>, is_shared: bool) -> Result<Lane> {
        let kept = KeptFiles::keep(directory);
        let space = DiskSpace::new(directory, options.reserve_bytes);
        let claim = OpeningClaim::new(opening_bytes(options));
        let claim = space.check(claim.all_bytes).is_ok().then_some(claim);
        let database = open_database(directory, options, &families, is_shared, claim.is_some())?;
        sync_files(directory).map_err(|source| Error::Io { path: directory.to_owned(), source })?;
        let shared = Arc::new(SharedLane {
            directory: directory.to_owned(),
            options: options.clone(),
            is_shared,
            is_wedged: AtomicBool::new(false),
            opens: AtomicU64::new(0),
            segment_bytes: AtomicUsize::new(0),
            durable_sequence: AtomicU64::new(database.latest_sequence_number()),
            database: RwLock::new(Some(Open { database, families })),
            users: AtomicUsize::new(1),
        });
        Ok(Lane { shared, space, opening: Mutex::new(Some(Opening { kept, claim })) })
    }

    /// Opens the log of group `group`, whose state is in `directory`, or creates it.
    ///
    /// # Errors
    /// As [`RaftLog::open`]; those of other groups are not concerned.
    pub fn open_log(&self, group: u64, directory: &Path, options: &LogOptions, syncer: &LogSyncer) -> Result<RaftLog> {
        let family = format!("group-{group}");
        let skips = Skips::open(directory, options.identity)?;
        // An earlier handle of the log may have left appends that are not durable.
        self.shared.sync().map_err(|error| {
            syncer.queue().fail(error.clone());
            Error::Io { path: self.shared.directory.clone(), source: io::Error::other(error) }
        })?;
        let recovered = recover_group(&self.shared, &family, directory, options)?;
        Ok(RaftLog::new(recovered, skips, options, syncer))
    }

    /// Notes that all groups are open: what they were recovered from is not kept any longer, and write-ahead files are written in
    /// full.
    ///
    /// # Errors
    /// [`Error::Io`], [`Error::DiskFull`].
    pub fn finish_opening(&self) -> Result<()> {
        let Some(Opening { kept, claim }) = lock(&self.opening).take() else { return Ok(()) };
        kept.forget()?;
        // Prewriting also writes what was recovered as tables. Where there is no room for that, all stays where it is.
        let table = OpeningClaim::new(self.shared.unwritten_bytes()?);
        if claim.is_some() && self.space.check(table.all_bytes).is_ok() {
            self.shared.with_open(|open| {
                prewrite(&self.shared.directory, &open.database, &open.handles(), &self.shared.options)
            })??;
        }
        Ok(())
    }

    pub(super) fn shared(&self) -> &Arc<SharedLane> {
        &self.shared
    }
}

impl Drop for Lane {
    fn drop(&mut self) {
        self.shared.leave();
    }
}

/// A lane as its logs and the threads that sync and tidy them see it.
#[derive(Debug)]
pub(super) struct SharedLane {
    directory: PathBuf,
    options: LogOptions,
    /// Set if its groups have column families of their own.
    is_shared: bool,
    /// Gone when all logs are closed, and while it is opened again after the disk was full.
    database: RwLock<Option<Open>>,
    /// Set when RocksDB has seen the disk full, and takes no writes until it is opened again.
    is_wedged: AtomicBool,
    /// Number of times that it was opened again.
    opens: AtomicU64,
    /// Bytes in the current write-ahead file.
    segment_bytes: AtomicUsize,
    durable_sequence: AtomicU64,
    /// Open logs, and the handle.
    users: AtomicUsize,
}

/// The open database and the names of its column families.
struct Open {
    database: DB,
    families: Vec<String>,
}

impl Open {
    fn handles(&self) -> Vec<&ColumnFamily> {
        self.families.iter().filter_map(|family| self.database.cf_handle(family)).collect()
    }
}

impl std::fmt::Debug for Open {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        formatter.debug_struct("Open").field("families", &self.families).finish_non_exhaustive()
    }
}

/// Outcome of the attempt to begin a new segment.
pub(super) enum Begun {
    Now,
    /// Too many wait.
    Later,
    /// Too many wait, and RocksDB has stopped writing tables: it does after an error such as a full disk, even where it
    /// goes on taking writes.
    Never,
}

impl SharedLane {
    /// Directory of the database.
    pub(super) fn directory(&self) -> &Path {
        &self.directory
    }

    /// Counts a log that is open from now on.
    pub(super) fn enter(&self) {
        self.users.fetch_add(1, Ordering::AcqRel);
    }

    /// Closes the database with the last one who uses it, so that it can be opened again by another; waits for calls in flight.
    ///
    /// Syncs still asked for are done on the files.
    pub(super) fn leave(&self) {
        if self.users.fetch_sub(1, Ordering::AcqRel) == 1 {
            drop(self.database.write().unwrap_or_else(PoisonError::into_inner).take());
        }
    }

    fn with_open<T>(&self, body: impl FnOnce(&Open) -> T) -> Result<T> {
        let open = self.database.read().unwrap_or_else(PoisonError::into_inner);
        let open = open.as_ref().ok_or_else(|| Error::DiskFull { path: self.directory.clone() })?;
        Ok(body(open))
    }

    /// Lends the database to `body`.
    ///
    /// # Errors
    /// [`Error::DiskFull`] if it was closed because of that and could not be opened again yet; or all logs are closed, but then
    /// nobody sees it.
    pub(super) fn with_database<T>(&self, body: impl FnOnce(&DB) -> T) -> Result<T> {
        self.with_open(|open| body(&open.database))
    }

    /// Lends the database and one of its column families to `body`.
    ///
    /// # Errors
    /// As [`SharedLane::with_database`].
    pub(super) fn with_family<T>(&self, family: &str, body: impl FnOnce(&DB, &ColumnFamily) -> T) -> Result<T> {
        self.with_database(|database| match database.cf_handle(family) {
            Some(handle) => Ok(body(database, handle)),
            None => {
                let detail = format!("column family {family} is not there");
                Err(Error::Corruption { path: self.directory.clone(), detail })
            }
        })?
    }

    /// True if there are records of this column family, or may be.
    pub(super) fn has_family(&self, family: &str) -> Result<bool> {
        self.with_open(|open| open.families.iter().any(|name| name == family))
    }

    /// Creates a column family.
    pub(super) fn create_family(&self, family: &str) -> Result<()> {
        let mut open = self.database.write().unwrap_or_else(PoisonError::into_inner);
        let open = open.as_mut().ok_or_else(|| Error::DiskFull { path: self.directory.clone() })?;
        create_family(&mut open.database, &self.directory, family, &self.options)?;
        open.families.push(family.to_owned());
        Ok(())
    }

    /// Notes that RocksDB takes no more writes since the disk was full.
    pub(super) fn wedge(&self) {
        self.is_wedged.store(true, Ordering::Release);
    }

    pub(super) fn is_wedged(&self) -> bool {
        self.is_wedged.load(Ordering::Acquire)
    }

    /// Number of times that the database was opened again. A log that has not looked for its records since must do so before it
    /// goes on: another log of the lane may have been the one to open it.
    pub(super) fn opens(&self) -> u64 {
        self.opens.load(Ordering::Acquire)
    }

    /// Closes the database and opens it again, when there is space again. Waits for calls in flight.
    pub(super) fn reopen(&self) -> Result<()> {
        let mut database = self.database.write().unwrap_or_else(PoisonError::into_inner);
        let families = match database.take() {
            Some(open) => open.families,
            // The last attempt has failed.
            None if self.is_shared => families_of(&self.directory)?,
            None => vec![DEFAULT_FAMILY.to_owned()],
        };
        let opened = open_database(&self.directory, &self.options, &families, self.is_shared, true)?;
        sync_files(&self.directory).map_err(|source| Error::Io { path: self.directory.clone(), source })?;
        self.durable_sequence.store(opened.latest_sequence_number(), Ordering::Release);
        *database = Some(Open { database: opened, families });
        self.segment_bytes.store(0, Ordering::Relaxed);
        self.opens.fetch_add(1, Ordering::AcqRel);
        self.is_wedged.store(false, Ordering::Release);
        Ok(())
    }

    /// RocksDB's number of the newest write known to be durable.
    pub(super) fn durable_sequence(&self) -> u64 {
        self.durable_sequence.load(Ordering::Acquire)
    }

    /// Bytes in the current write-ahead file.
    pub(super) fn segment_bytes(&self) -> usize {
        self.segment_bytes.load(Ordering::Relaxed)
    }

    /// Counts bytes written to the current write-ahead file. Only the lane's core writes.
    pub(super) fn note_written(&self, bytes: usize) {
        self.segment_bytes.fetch_add(bytes, Ordering::Relaxed);
    }

    /// Bytes of records that are in no table yet.
    fn unwritten_bytes(&self) -> Result<u64> {
        self.with_open(|open| {
            let bytes_of = |handle: &ColumnFamily| open.database.property_int_value_cf(handle, CUR_SIZE_ALL_MEM_TABLES);
            open.handles().into_iter().map(|handle| bytes_of(handle).ok().flatten().unwrap_or(0)).sum()
        })
    }

    /// Full segments that wait to be written as tables: a segment waits until those of all groups are.
    pub(super) fn segments_waiting(&self) -> Result<Result<u64, rocksdb::Error>> {
        self.with_open(|open| {
            let mut waiting = 0;
            for handle in open.handles() {
                let of_group = open.database.property_int_value_cf(handle, NUM_IMMUTABLE_MEM_TABLE)?;
                waiting = of_group.unwrap_or(0).max(waiting);
            }
            Ok(waiting)
        })
    }

    /// Begins a new write-ahead file; the records of the old one are written as tables in the background.
    pub(super) fn begin_segment(&self) -> Result<Result<Begun, rocksdb::Error>> {
        let waiting = match self.segments_waiting()? {
            Ok(waiting) => waiting,
            Err(error) => return Ok(Err(error)),
        };
        let begun = self.with_open(|open| {
            if waiting >= self.options.segments_waiting_max as u64 {
                let errors = open.database.property_int_value(BACKGROUND_ERRORS)?.unwrap_or(0);
                return Ok(if errors > 0 { Begun::Never } else { Begun::Later });
            }
            let mut flush = FlushOptions::default();
            flush.set_wait(false);
            open.database.flush_cfs_opt(&open.handles(), &flush)?;
            Ok(Begun::Now)
        })?;
        if matches!(begun, Ok(Begun::Now)) {
            self.segment_bytes.store(0, Ordering::Relaxed);
        }
        Ok(begun)
    }

    /// Makes everything written so far durable.
    pub(super) fn sync(&self) -> Result<(), SyncError> {
        let synced = self.with_database(|database| (database.latest_sequence_number(), database.flush_wal(true)));
        match synced {
            Ok((sequence, outcome)) => {
                outcome.or_else(|error| self.sync_wedged(&error))?;
                self.durable_sequence.fetch_max(sequence, Ordering::AcqRel);
                Ok(())
            }
            // Nothing was written since it was closed.
            Err(_) => sync_files(&self.directory).map_err(|error| SyncError::new(&self.directory, error)),
        }
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

    /// Turns an error of the database into what it means.
    pub(super) fn refusal(&self, error: &rocksdb::Error) -> Error {
        refusal(&self.directory, error)
    }
}
