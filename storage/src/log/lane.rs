//! The log of a lane: one RocksDB and one write-ahead file for the groups that share it, and so one write and one sync for all of
//! them.
//!
//! A group stays in its lane for life, and a lane belongs to one core at a time. A core has about as many groups as there are
//! replicas of each; if each had write-ahead files of its own, a turn would end in as many syncs.
//!
//! # The lane's and the group's
//! - The *lane's*: the database with its write-ahead files (recycled and prewritten ones too), the segments, the sequence numbers,
//!   whether the disk was full, and `LANE`, which says whose it is. A segment ends for all groups at once, so no idle group keeps
//!   an old write-ahead file.
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
use std::sync::{Arc, Mutex, PoisonError, RwLock, Weak};
use std::thread;
use std::time::{Duration, Instant};

use rocksdb::properties::{
    BACKGROUND_ERRORS, CUR_SIZE_ALL_MEM_TABLES, NUM_ENTRIES_ACTIVE_MEM_TABLE, NUM_IMMUTABLE_MEM_TABLE,
};
use rocksdb::{ColumnFamily, DB, FlushOptions};

use super::LogOptions;
use super::database::{DEFAULT_FAMILY, create_family, families_of, open_database, refusal};
use super::disk_space::DiskSpace;
use super::lane_marker::{LANE_FILE, check_marker, write_marker};
use super::limits::{REOPEN_AGAIN, WEDGE_PATIENCE};
use super::prewrite::{OpeningClaim, opening_bytes, prewrite};
use super::raft_log::RaftLog;
use super::recovery::{KeptFiles, check_end, exists, recover_group, sync_name};
use super::segments::Segments;
use super::shared_log::{SharedLog, lock, sync_files};
use super::skips::Skips;
use super::syncer::{LogSyncer, SyncError};
use crate::open_path::OpenPath;
use crate::rocksdb_error::failed_syncs;
use crate::{Error, Result};

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
    /// Opens the lane in `directory`, or creates it. In `options`, the identity's group is the number of the lane; those that only
    /// concern a group mean nothing.
    ///
    /// # Errors
    /// [`Error::Missing`] if there is none and none is to be made; [`Error::Misfit`] for another lane's or another node's;
    /// [`Error::UnknownFormat`]; [`Error::Corruption`], [`Error::Io`].
    pub fn open(directory: &Path, options: &LogOptions) -> Result<Lane> {
        let has_database = exists(&directory.join("CURRENT"))?;
        if !has_database && !options.create {
            return Err(Error::Missing { path: directory.to_owned() });
        }
        std::fs::create_dir_all(directory).map_err(|source| Error::Io { path: directory.to_owned(), source })?;
        if !has_database {
            sync_name(directory).map_err(|source| Error::Io { path: directory.to_owned(), source })?;
        }
        if has_database || exists(&directory.join(LANE_FILE))? {
            check_marker(directory, &options.identity)?;
        } else {
            write_marker(directory, &options.identity)?;
        }
        let families = if has_database { families_of(directory)? } else { vec![DEFAULT_FAMILY.to_owned()] };
        Self::open_families(directory, options, families, true)
    }

    /// Opens the lane of a log that is alone in `directory`.
    pub(super) fn open_alone(directory: &Path, options: &LogOptions) -> Result<Lane> {
        Self::open_families(directory, options, vec![DEFAULT_FAMILY.to_owned()], false)
    }

    fn open_families(directory: &Path, options: &LogOptions, families: Vec<String>, is_shared: bool) -> Result<Lane> {
        let path = OpenPath::claim(directory)?;
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
            has_failed: AtomicBool::new(false),
            reopen_at: Mutex::default(),
            opens: AtomicU64::new(0),
            segment_bytes: AtomicUsize::new(0),
            durable_sequence: AtomicU64::new(database.latest_sequence_number()),
            database: RwLock::new(Some(Open { database, families, path })),
            segments: Mutex::default(),
            logs: Mutex::default(),
            users: AtomicUsize::new(1),
        });
        Ok(Lane { shared, space, opening: Mutex::new(Some(Opening { kept, claim })) })
    }

    /// Opens the log of group `group`, whose state is in `directory`, or creates it.
    ///
    /// # Errors
    /// As [`RaftLog::open`]; those of other groups are not concerned. [`Error::InUse`] while the same log is open.
    pub fn open_log(&self, group: u64, directory: &Path, options: &LogOptions, syncer: &LogSyncer) -> Result<RaftLog> {
        let family = format!("group-{group}");
        if self.shared.has_open(&family) {
            return Err(Error::InUse { path: directory.to_owned() });
        }
        let skips = Skips::open(directory, options.identity)?;
        // An earlier handle of the log may have left appends that are not durable.
        self.shared.sync().map_err(|error| {
            syncer.queue().fail(error.clone());
            Error::Io { path: self.shared.directory.clone(), source: io::Error::other(error) }
        })?;
        let recovered = recover_group(&self.shared, &family, directory, options)?;
        Ok(RaftLog::new(recovered, skips, options, syncer))
    }

    /// Removes the records of group `group`, which is no more; nothing happens if there are none. A crash before it is over leaves
    /// records that nobody asks for.
    ///
    /// # Errors
    /// [`Error::InUse`] while the log is open; [`Error::DiskFull`], [`Error::Io`].
    pub fn remove_log(&self, group: u64) -> Result<()> {
        let family = format!("group-{group}");
        if self.shared.has_open(&family) {
            return Err(Error::InUse { path: self.shared.directory.clone() });
        }
        self.shared.remove_family(&family)
    }

    /// Removes the records of all groups but these: those of groups that are no more, whose removal was cut short.
    ///
    /// # Errors
    /// As [`Lane::remove_log`].
    pub fn keep_logs(&self, groups: &[u64]) -> Result<()> {
        let kept: Vec<String> = groups.iter().map(|group| format!("group-{group}")).collect();
        let left: Vec<String> = self.shared.with_open(|open| {
            let is_left = |family: &&String| *family != DEFAULT_FAMILY && !kept.contains(*family);
            open.families.iter().filter(is_left).cloned().collect()
        })?;
        left.iter().try_for_each(|family| self.shared.remove_family(family))
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
    /// Set when it could not be opened again for another reason than the full disk: nothing of it becomes durable any more.
    has_failed: AtomicBool,
    /// It is not opened again before this: the last attempt found the disk full.
    reopen_at: Mutex<Option<Instant>>,
    /// Number of times that it was opened again.
    opens: AtomicU64,
    /// Bytes in the current write-ahead file.
    segment_bytes: AtomicUsize,
    durable_sequence: AtomicU64,
    segments: Mutex<Segments>,
    /// The logs that were opened in it, and may be gone.
    logs: Mutex<Vec<Weak<SharedLog>>>,
    /// Open logs, and the handle.
    users: AtomicUsize,
}

/// The open database and the names of its column families.
struct Open {
    database: DB,
    families: Vec<String>,
    /// Given back behind the database.
    path: OpenPath,
}

impl Open {
    fn handles(&self) -> Vec<&ColumnFamily> {
        self.families.iter().filter_map(|family| self.database.cf_handle(family)).collect()
    }

    /// A property of each column family that is a number.
    fn of_families(&self, property: &rocksdb::properties::PropName) -> Result<Vec<u64>, rocksdb::Error> {
        let of_family = |handle| self.database.property_int_value_cf(handle, property).map(|value| value.unwrap_or(0));
        self.handles().into_iter().map(of_family).collect()
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
    pub(super) fn enter(&self, log: &Arc<SharedLog>) {
        self.users.fetch_add(1, Ordering::AcqRel);
        let mut logs = lock(&self.logs);
        logs.retain(|log| log.strong_count() > 0);
        logs.push(Arc::downgrade(log));
    }

    /// Returns true if the log of this column family is open.
    fn has_open(&self, family: &str) -> bool {
        lock(&self.logs).iter().any(|log| log.upgrade().is_some_and(|log| log.family() == family))
    }

    /// Forgets a log that is closed, though a thread may still have it.
    pub(super) fn forget(&self, log: &Arc<SharedLog>) {
        lock(&self.logs).retain(|other| !std::ptr::eq(other.as_ptr(), Arc::as_ptr(log)));
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
        // RocksDB may have made it when it fails to write down its options: then it is there once the lane is opened again.
        create_family(&mut open.database, &self.directory, family, &self.options).inspect_err(|error| {
            if matches!(error, Error::DiskFull { .. }) {
                self.wedge();
            }
        })?;
        open.families.push(family.to_owned());
        Ok(())
    }

    /// Removes a column family with all that is in it.
    fn remove_family(&self, family: &str) -> Result<()> {
        let mut open = self.database.write().unwrap_or_else(PoisonError::into_inner);
        let open = open.as_mut().ok_or_else(|| Error::DiskFull { path: self.directory.clone() })?;
        let Some(place) = open.families.iter().position(|name| name == family) else { return Ok(()) };
        // Where it fails, RocksDB may have it and the handle is gone: what is there is known once the lane is opened again.
        open.database
            .drop_cf(family)
            .map_err(|error| refusal(&self.directory, &error))
            .inspect_err(|_| self.wedge())?;
        open.families.remove(place);
        lock(&self.segments).forget_group(place);
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
    ///
    /// # Errors
    /// [`Error::DiskFull`], [`Error::Io`]; [`Error::Corruption`] if a log of the lane has lost its last record, whoever asks: all
    /// of them are told what is durable as soon as this is over.
    pub(super) fn reopen(&self) -> Result<()> {
        let mut reopen_at = lock(&self.reopen_at);
        if reopen_at.is_some_and(|at| Instant::now() < at) {
            // All write-ahead files are read again each time, and any group of the lane may ask.
            return Err(Error::DiskFull { path: self.directory.clone() });
        }
        *reopen_at = None;
        let mut database = self.database.write().unwrap_or_else(PoisonError::into_inner);
        self.open_again(&mut database).inspect_err(|error| match error {
            Error::DiskFull { .. } => *reopen_at = Some(Instant::now() + REOPEN_AGAIN),
            // While the lane is locked: the system tells once of a write that has failed, and who waits to sync must hear of it.
            _ => self.has_failed.store(true, Ordering::Release),
        })
    }

    fn open_again(&self, database: &mut Option<Open>) -> Result<()> {
        let path = database.take().map_or_else(|| OpenPath::claim(&self.directory), |open| Ok(open.path))?;
        // Those that are there, and not those that are known: one may have been made though its creation has failed.
        let families = if self.is_shared { families_of(&self.directory)? } else { vec![DEFAULT_FAMILY.to_owned()] };
        let opened = open_database(&self.directory, &self.options, &families, self.is_shared, true)?;
        sync_files(&self.directory).map_err(|source| Error::Io { path: self.directory.clone(), source })?;
        let logs: Vec<_> = lock(&self.logs).iter().filter_map(Weak::upgrade).collect();
        logs.iter().try_for_each(|log| check_end(&self.directory, &opened, log))?;
        lock(&self.segments).clear();
        self.durable_sequence.store(opened.latest_sequence_number(), Ordering::Release);
        *database = Some(Open { database: opened, families, path });
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
            // Held meanwhile: a segment that ended after RocksDB was asked would be taken for one that is written.
            let mut segments = lock(&self.segments);
            Ok(segments.count_waiting(&open.of_families(NUM_IMMUTABLE_MEM_TABLE)?))
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
            let mut segments = lock(&self.segments);
            let has_records = open.of_families(NUM_ENTRIES_ACTIVE_MEM_TABLE)?.iter().map(|count| *count > 0).collect();
            open.database.flush_cfs_opt(&open.handles(), &flush)?;
            segments.end(has_records);
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
            Err(_) => self.sync_past(),
        }
    }

    /// Syncs the write-ahead files, whatever RocksDB says; not while it is opened again, nor after that has failed.
    fn sync_past(&self) -> Result<(), SyncError> {
        let _in_flight = self.database.read().unwrap_or_else(PoisonError::into_inner);
        if self.has_failed.load(Ordering::Acquire) {
            return Err(SyncError::new(&self.directory, "it could not be opened again"));
        }
        sync_files(&self.directory).map_err(|error| SyncError::new(&self.directory, error))
    }

    /// Syncs the write-ahead files past a RocksDB that has stopped because the disk was full.
    ///
    /// It refuses to sync since a *write* failed, for an append that got an error. What was written before is in the files
    /// and still has to be synced, for the first time. A sync that failed itself is final.
    fn sync_wedged(&self, error: &rocksdb::Error) -> Result<(), SyncError> {
        let message = error.to_string();
        let patience = Instant::now() + WEDGE_PATIENCE;
        // The core learns of the failed write at the same moment as this thread.
        let has_failed = failed_syncs(&message).next().is_some();
        while !self.is_wedged() && Instant::now() < patience && !has_failed {
            thread::sleep(Duration::from_millis(1));
        }
        if !self.is_wedged() || has_failed {
            return Err(SyncError::new(&self.directory, message));
        }
        self.sync_past()
    }

    /// Turns an error of the database into what it means.
    pub(super) fn refusal(&self, error: &rocksdb::Error) -> Error {
        refusal(&self.directory, error)
    }
}

#[cfg(test)]
mod tests {
    use std::fs;
    use std::sync::mpsc::channel;

    use super::*;
    use crate::Identity;
    use crate::log::state_file::StateFile;
    use crate::log::{Durability, LogRecord};

    const PATIENCE: Duration = Duration::from_secs(60);

    fn options() -> LogOptions {
        LogOptions { warm_files: 0, reserve_bytes: 0, segment_bytes: 256 << 10, ..LogOptions::default() }
    }

    fn append(log: &mut RaftLog, count: u64) {
        let next = log.range().end;
        let record = |index| LogRecord { index, term: 1, body: vec![7; 100].into() };
        log.append(&(next..next + count).map(record).collect::<Vec<_>>()).expect("appended");
    }

    fn sync(log: &mut RaftLog) -> Result<(), SyncError> {
        let (tell, told) = channel();
        log.sync(Box::new(move |outcome| tell.send(outcome).expect("somebody waits")));
        told.recv_timeout(PATIENCE).expect("a callback")
    }

    /// A lane with groups 0 to 2, which have 10 records each.
    fn lane_of_three(root: &Path, syncer: &LogSyncer) -> (Lane, Vec<RaftLog>) {
        let lane = Lane::open(&root.join("lane"), &options()).expect("opens");
        let open =
            |group| lane.open_log(group, &root.join(format!("group-{group}")), &options(), syncer).expect("opens");
        let mut logs: Vec<_> = (0..3).map(open).collect();
        lane.finish_opening().expect("opened");
        for log in &mut logs {
            append(log, 10);
            sync(log).expect("synced");
        }
        (lane, logs)
    }

    fn cut_write_ahead_files(root: &Path, bytes: u64) {
        for file in fs::read_dir(root.join("lane")).expect("there").flatten() {
            let (path, length) = (file.path(), file.metadata().expect("readable").len());
            if path.extension().is_some_and(|extension| extension == "log") && length > bytes {
                let file = fs::OpenOptions::new().write(true).open(path).expect("there");
                file.set_len(length - bytes).expect("cut");
            }
        }
    }

    #[test]
    fn a_lane_knows_what_an_idle_group_had_when_it_was_opened_though_no_mark_says_so() {
        let root = tempfile::tempdir().expect("a temporary directory");
        let syncer = LogSyncer::start(0, Durability::Always).expect("threads");
        let (lane, mut logs) = lane_of_three(root.path(), &syncer);
        append(&mut logs[2], 5);
        drop((lane, logs));
        let lane = Lane::open(&root.path().join("lane"), &options()).expect("opens");
        let open = |group| {
            lane.open_log(group, &root.path().join(format!("group-{group}")), &options(), &syncer).expect("opens")
        };
        let mut logs: Vec<_> = (0..3).map(open).collect();
        assert_eq!(logs[2].range(), 0..15);
        cut_write_ahead_files(root.path(), 5 * 100);
        lane.shared.wedge();

        let refused = logs[0].admit(1).expect_err("another group has lost what it had");

        assert!(matches!(refused, Error::Corruption { .. }) && refused.to_string().contains("group-2"), "{refused}");
    }

    #[test]
    fn a_lane_that_has_found_the_disk_full_is_not_opened_again_for_each_write() {
        let root = tempfile::tempdir().expect("a temporary directory");
        let syncer = LogSyncer::start(0, Durability::Always).expect("threads");
        let (lane, mut logs) = lane_of_three(root.path(), &syncer);
        lane.shared.wedge();
        *lock(&lane.shared.reopen_at) = Some(Instant::now() + PATIENCE);
        let refused = logs[0].admit(1).expect_err("it is too early");
        assert!(matches!(refused, Error::DiskFull { .. }) && lane.shared.opens() == 0, "{refused}");
        *lock(&lane.shared.reopen_at) = Some(Instant::now());
        logs[0].admit(1).expect("it is opened again");
        assert_eq!(lane.shared.opens(), 1);
        append(&mut logs[1], 1);
        sync(&mut logs[1]).expect("synced");
    }

    #[test]
    fn a_lane_that_is_opened_again_without_the_records_of_an_idle_group_says_so_before_anything_is_durable() {
        let root = tempfile::tempdir().expect("a temporary directory");
        let syncer = LogSyncer::start(0, Durability::Always).expect("threads");
        let (lane, mut logs) = lane_of_three(root.path(), &syncer);
        // Those of the last group are cut off; the first one's are whole.
        cut_write_ahead_files(root.path(), 10 * 100);
        lane.shared.wedge();

        let refused = logs[0].admit(1).expect_err("another group has lost what it had");

        assert!(matches!(refused, Error::Corruption { .. }) && refused.to_string().contains("group-2"), "{refused}");
        lane.shared.sync().expect_err("files that are synced once more say nothing of what was lost");
        sync(&mut logs[2]).expect_err("nothing is durable any more");
        logs[1].append(&[LogRecord { index: 10, term: 1, body: vec![7].into() }]).expect_err("nothing is taken either");
    }

    #[test]
    fn a_family_that_was_made_though_its_creation_failed_is_there_when_the_lane_is_opened_again() {
        let root = tempfile::tempdir().expect("a temporary directory");
        let syncer = LogSyncer::start(0, Durability::Always).expect("threads");
        let (lane, mut logs) = lane_of_three(root.path(), &syncer);
        // As when RocksDB cannot write down its options for want of space.
        let directory = root.path().join("group-3");
        fs::create_dir(&directory).expect("made");
        StateFile::create(&directory, Identity::default()).expect("made before the family is");
        let mut open = lane.shared.database.write().expect("nobody panicked");
        let database = &mut open.as_mut().expect("open").database;
        create_family(database, &root.path().join("lane"), "group-3", &options()).expect("created");
        drop(open);
        lane.shared.wedge();

        logs[0].admit(1).expect("it is opened again");

        append(&mut logs[0], 1);
        let mut created = lane.open_log(3, &directory, &options(), &syncer).expect("opens");
        append(&mut created, 1);
        sync(&mut created).expect("synced");
    }

    #[test]
    fn a_segment_becomes_tables_of_all_groups_at_once_and_a_group_takes_little_memory_ahead() {
        let root = tempfile::tempdir().expect("a temporary directory");
        let syncer = LogSyncer::start(0, Durability::Always).expect("threads");
        let (_lane, logs) = lane_of_three(root.path(), &syncer);
        let files = fs::read_dir(root.path().join("lane")).expect("there").flatten().map(|file| file.path());
        let written = files.filter(|path| path.to_string_lossy().contains("OPTIONS-")).max().expect("RocksDB has them");
        let text = fs::read_to_string(written).expect("readable");
        assert!(text.contains("atomic_flush=true"), "{text}");
        for log in &logs {
            let bytes = log.memory().segments_bytes;
            assert!(bytes < 64 << 10, "{bytes} bytes for ten small records");
        }
    }

    #[test]
    fn segments_that_groups_fill_in_turns_are_counted_until_they_are_tables() {
        let root = tempfile::tempdir().expect("a temporary directory");
        let syncer = LogSyncer::start(0, Durability::Always).expect("threads");
        let (lane, mut logs) = lane_of_three(root.path(), &syncer);
        for (ended, log) in logs.iter_mut().enumerate() {
            let waiting = lane.shared.segments_waiting().expect("open").expect("counted");
            assert!(waiting <= ended as u64, "{waiting} of {ended}");
            append(log, 1);
            assert!(matches!(lane.shared.begin_segment().expect("open"), Ok(Begun::Now)));
        }
        let deadline = Instant::now() + PATIENCE;
        while lane.shared.segments_waiting().expect("open").expect("counted") > 0 {
            assert!(Instant::now() < deadline, "the tables are written");
            thread::sleep(Duration::from_millis(1));
        }
    }

    #[test]
    fn a_log_is_open_once_and_may_be_opened_again_when_it_is_closed() {
        let root = tempfile::tempdir().expect("a temporary directory");
        let syncer = LogSyncer::start(0, Durability::Always).expect("threads");
        let (lane, mut logs) = lane_of_three(root.path(), &syncer);
        let open = |group: u64| lane.open_log(group, &root.path().join(format!("group-{group}")), &options(), &syncer);
        let refused = open(2).expect_err("it is open");
        assert!(matches!(refused, Error::InUse { .. }), "{refused}");
        drop(logs.pop());
        let mut again = open(2).expect("it was closed, and the others are open");
        assert_eq!(again.last_index(), Some(9));
        append(&mut again, 1);
        sync(&mut again).expect("synced");
    }

    #[test]
    fn the_lane_of_another_is_refused() {
        let root = tempfile::tempdir().expect("a temporary directory");
        let owner = Identity { node: 7, group: 1, ..Identity::default() };
        let of = |identity| Lane::open(root.path(), &LogOptions { identity, ..options() });
        drop(of(owner).expect("created"));
        drop(of(owner).expect("its own"));
        let refused = of(Identity { node: 8, ..owner }).expect_err("another node's");
        assert!(matches!(refused, Error::Misfit { .. }), "{refused}");
        fs::remove_file(root.path().join("LANE")).expect("removable");
        let refused = of(owner).expect_err("nobody knows whose it is");
        assert!(matches!(refused, Error::Corruption { .. }), "{refused}");
    }
}
