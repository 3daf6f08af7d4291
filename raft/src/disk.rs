//! The seam below a group: the log and the store that it works on, and what it asks of them.
//!
//! [`Rocks`] is what serves: [`RaftLog`] and [`Store`], whose functions these traits repeat, to be inlined. The twins that
//! simulations use keep the same promises in memory, and no more than them in a crash. All above this seam is the same for both.

use std::fs;
use std::io;
use std::ops::Range;
use std::path::{Path, PathBuf};

use basalt_storage::log::{Backlog, DiskReader, Durability, LogMemory, LogRecord, RaftLog, Skips, SyncDone};
use basalt_storage::{
    Applied, CheckpointDone, CheckpointJob, ColdRead, Fetched, GenerationDone, GenerationJob, InstallDone, InstallJob,
    Result, Retired, Store, StoreMemory,
};

use crate::completions::Background;

/// A kind of log and store that belong together.
pub trait Disk: 'static {
    /// The log.
    type Log: GroupLog;
    /// The store.
    type Store: GroupStore;
}

/// Logs and stores on RocksDB.
#[derive(Debug)]
pub struct Rocks;

impl Disk for Rocks {
    type Log = RaftLog;
    type Store = Store;
}

/// Reads records that a log has in memory no more, on any thread.
pub trait ReadRecords: Send + 'static {
    /// As [`DiskReader::read`].
    ///
    /// # Errors
    /// As [`DiskReader::read`].
    fn read(&self, from: u64, to_exclusive: u64, bytes_max: usize) -> Result<Vec<LogRecord>>;
}

impl ReadRecords for DiskReader {
    fn read(&self, from: u64, to_exclusive: u64, bytes_max: usize) -> Result<Vec<LogRecord>> {
        DiskReader::read(self, from, to_exclusive, bytes_max)
    }
}

/// A group's log: the functions of [`RaftLog`], with its promises, errors and panics.
#[expect(clippy::missing_errors_doc, reason = "they are those of `RaftLog`")]
pub trait GroupLog: Sized + 'static {
    /// Reads older records on other threads.
    type Reader: ReadRecords;

    /// The entries that are not to be executed, where there can be any.
    fn skips(&self) -> Option<Skips>;
    /// As [`RaftLog::disk_reader`].
    fn disk_reader(&self) -> Self::Reader;
    /// As [`RaftLog::directory`].
    fn directory(&self) -> &Path;
    /// As [`RaftLog::durability`].
    fn durability(&self) -> Durability;
    /// As [`RaftLog::range`].
    fn range(&self) -> Range<u64>;
    /// As [`RaftLog::last_index`].
    fn last_index(&self) -> Option<u64>;
    /// As [`RaftLog::last_term`].
    fn last_term(&self) -> Option<u64>;
    /// As [`RaftLog::purged`].
    fn purged(&self) -> Option<(u64, &[u8])>;
    /// As [`RaftLog::vote`].
    fn vote(&self) -> Option<&[u8]>;
    /// As [`RaftLog::committed`].
    fn committed(&self) -> Option<&[u8]>;
    /// As [`RaftLog::expected_snapshot`].
    fn expected_snapshot(&self) -> Option<u64>;
    /// As [`RaftLog::memory`].
    fn memory(&self) -> LogMemory;
    /// As [`RaftLog::bytes`].
    fn bytes(&self) -> u64;
    /// As [`RaftLog::bytes_between`].
    fn bytes_between(&self, from: u64, to_exclusive: u64) -> u64;
    /// As [`RaftLog::backlog`].
    fn backlog(&self) -> Backlog;
    /// As [`RaftLog::get`].
    fn get(&self, index: u64) -> Result<Option<LogRecord>>;
    /// As [`RaftLog::read_memory`].
    fn read_memory(&self, from: u64, to_exclusive: u64, bytes_max: usize) -> Result<Option<Vec<LogRecord>>>;
    /// As [`RaftLog::admit`].
    fn admit(&mut self, bytes: usize) -> Result<()>;
    /// As [`RaftLog::append`].
    fn append(&mut self, records: &[LogRecord]) -> Result<()>;
    /// As [`RaftLog::truncate_after`].
    fn truncate_after(&mut self, index: Option<u64>) -> Result<()>;
    /// As [`RaftLog::purge`].
    fn purge(&mut self, upto: u64, log_id: &[u8]) -> Result<bool>;
    /// As [`RaftLog::set_vote`].
    fn set_vote(&mut self, vote: &[u8]);
    /// As [`RaftLog::set_committed`].
    fn set_committed(&mut self, committed: &[u8]);
    /// As [`RaftLog::expect_snapshot`].
    fn expect_snapshot(&mut self, index: u64);
    /// As [`RaftLog::sync`].
    fn sync(&mut self, done: SyncDone);
    /// As [`RaftLog::sync_to_disk`].
    fn sync_to_disk(&mut self, done: SyncDone);
    /// As [`RaftLog::set_tail_bytes`]; nothing where all is in memory.
    fn set_tail_bytes(&mut self, _bytes: usize) {}
    /// Closes it, on another thread if that may block.
    fn close(self, _background: &dyn Background) {}
}

impl GroupLog for RaftLog {
    type Reader = DiskReader;

    fn skips(&self) -> Option<Skips> {
        Some(RaftLog::skips(self).clone())
    }

    #[inline]
    fn disk_reader(&self) -> DiskReader {
        RaftLog::disk_reader(self)
    }

    #[inline]
    fn directory(&self) -> &Path {
        RaftLog::directory(self)
    }

    #[inline]
    fn durability(&self) -> Durability {
        RaftLog::durability(self)
    }

    #[inline]
    fn range(&self) -> Range<u64> {
        RaftLog::range(self)
    }

    #[inline]
    fn last_index(&self) -> Option<u64> {
        RaftLog::last_index(self)
    }

    #[inline]
    fn last_term(&self) -> Option<u64> {
        RaftLog::last_term(self)
    }

    #[inline]
    fn purged(&self) -> Option<(u64, &[u8])> {
        RaftLog::purged(self)
    }

    #[inline]
    fn vote(&self) -> Option<&[u8]> {
        RaftLog::vote(self)
    }

    #[inline]
    fn committed(&self) -> Option<&[u8]> {
        RaftLog::committed(self)
    }

    #[inline]
    fn expected_snapshot(&self) -> Option<u64> {
        RaftLog::expected_snapshot(self)
    }

    #[inline]
    fn memory(&self) -> LogMemory {
        RaftLog::memory(self)
    }

    #[inline]
    fn bytes(&self) -> u64 {
        RaftLog::bytes(self)
    }

    #[inline]
    fn bytes_between(&self, from: u64, to_exclusive: u64) -> u64 {
        RaftLog::bytes_between(self, from, to_exclusive)
    }

    #[inline]
    fn backlog(&self) -> Backlog {
        RaftLog::backlog(self)
    }

    #[inline]
    fn get(&self, index: u64) -> Result<Option<LogRecord>> {
        RaftLog::get(self, index)
    }

    #[inline]
    fn read_memory(&self, from: u64, to_exclusive: u64, bytes_max: usize) -> Result<Option<Vec<LogRecord>>> {
        RaftLog::read_memory(self, from, to_exclusive, bytes_max)
    }

    #[inline]
    fn admit(&mut self, bytes: usize) -> Result<()> {
        RaftLog::admit(self, bytes)
    }

    #[inline]
    fn append(&mut self, records: &[LogRecord]) -> Result<()> {
        RaftLog::append(self, records)
    }

    #[inline]
    fn truncate_after(&mut self, index: Option<u64>) -> Result<()> {
        RaftLog::truncate_after(self, index)
    }

    #[inline]
    fn purge(&mut self, upto: u64, log_id: &[u8]) -> Result<bool> {
        RaftLog::purge(self, upto, log_id)
    }

    #[inline]
    fn set_vote(&mut self, vote: &[u8]) {
        RaftLog::set_vote(self, vote)
    }

    #[inline]
    fn set_committed(&mut self, committed: &[u8]) {
        RaftLog::set_committed(self, committed)
    }

    #[inline]
    fn expect_snapshot(&mut self, index: u64) {
        RaftLog::expect_snapshot(self, index)
    }

    #[inline]
    fn sync(&mut self, done: SyncDone) {
        RaftLog::sync(self, done)
    }

    #[inline]
    fn sync_to_disk(&mut self, done: SyncDone) {
        RaftLog::sync_to_disk(self, done)
    }

    fn set_tail_bytes(&mut self, bytes: usize) {
        RaftLog::set_tail_bytes(self, bytes);
    }

    fn close(self, background: &dyn Background) {
        background.run(Box::new(move || drop(self)));
    }
}

/// A group's store: the functions of [`Store`] that need not know of rows, with its promises, errors and panics.
#[expect(clippy::missing_errors_doc, reason = "they are those of `Store`")]
pub trait GroupStore: Sized + 'static {
    /// As [`GenerationJob`].
    type Generation: Send + 'static;
    /// As [`GenerationDone`].
    type GenerationDone: Send + 'static;
    /// As [`CheckpointJob`].
    type Checkpoint: Send + 'static;
    /// As [`CheckpointDone`].
    type CheckpointDone: Send + 'static;
    /// As [`InstallJob`].
    type Install: Send + 'static;
    /// As [`InstallDone`].
    type InstallDone: Send + 'static;
    /// As [`Retired`].
    type Retired: Send + 'static;

    /// As [`Store::directory`].
    fn directory(&self) -> &Path;
    /// As [`Store::applied`].
    fn applied(&self) -> &Applied;
    /// As [`Store::set_applied`].
    fn set_applied(&mut self, index: u64, log_id: &[u8], membership: Option<&[u8]>);
    /// As [`Store::durable_applied`].
    fn durable_applied(&self) -> u64;
    /// As [`Store::begin_entry`].
    fn begin_entry(&mut self);
    /// As [`Store::is_mid_entry`].
    fn is_mid_entry(&self) -> bool;
    /// As [`Store::is_full`].
    fn is_full(&self) -> bool;
    /// As [`Store::memory`].
    fn memory(&self) -> StoreMemory;
    /// As [`Store::freeze`].
    fn freeze(&mut self) -> Option<Self::Generation>;
    /// As [`Store::finish`].
    fn finish(&mut self, done: Self::GenerationDone) -> Result<Self::Retired>;
    /// As [`Store::checkpoint`].
    fn checkpoint(&mut self, into: &Path) -> Self::Checkpoint;
    /// As [`Store::finish_checkpoint`].
    fn finish_checkpoint(&mut self, done: Self::CheckpointDone) -> Result<(Applied, Self::Retired)>;
    /// As [`Store::install_job`].
    fn install_job(&self, from: &Path) -> Self::Install;
    /// As [`Store::finish_install`].
    fn finish_install(&mut self, done: Self::InstallDone) -> Result<Self::Retired>;

    /// As [`GenerationJob::take_replaced`].
    fn take_replaced(job: &mut Self::Generation) -> Self::Retired;
    /// As [`GenerationJob::applied_index`].
    fn applied_index(job: &Self::Generation) -> u64;
    /// As [`GenerationJob::run`].
    fn write_generation(job: Self::Generation) -> Self::GenerationDone;
    /// As [`CheckpointJob::run`].
    fn make_checkpoint(job: Self::Checkpoint) -> Self::CheckpointDone;
    /// As [`InstallJob::run`].
    fn install(job: Self::Install) -> Self::InstallDone;
    /// Work that fetches rows, or has them stay in memory for a command, on another thread.
    fn cold_read(&self, read: ColdRead, pins: bool) -> impl FnOnce() -> Result<Fetched> + Send + 'static + use<Self>;

    /// As [`basalt_storage::applied_in_checkpoint`].
    fn applied_in_checkpoint(directory: &Path) -> Result<Applied>;
    /// The checkpoints in `directory`, which need not be there.
    fn checkpoints(directory: &Path) -> io::Result<Vec<PathBuf>>;
    /// Makes the directory that checkpoints are made in.
    fn make_directory(directory: &Path) -> io::Result<()>;
    /// Removes a checkpoint. Blocks.
    fn remove_checkpoint(directory: &Path) -> io::Result<()>;
}

impl GroupStore for Store {
    type Generation = GenerationJob;
    type GenerationDone = GenerationDone;
    type Checkpoint = CheckpointJob;
    type CheckpointDone = CheckpointDone;
    type Install = InstallJob;
    type InstallDone = InstallDone;
    type Retired = Retired;

    #[inline]
    fn directory(&self) -> &Path {
        Store::directory(self)
    }

    #[inline]
    fn applied(&self) -> &Applied {
        Store::applied(self)
    }

    #[inline]
    fn set_applied(&mut self, index: u64, log_id: &[u8], membership: Option<&[u8]>) {
        Store::set_applied(self, index, log_id, membership)
    }

    #[inline]
    fn durable_applied(&self) -> u64 {
        Store::durable_applied(self)
    }

    #[inline]
    fn begin_entry(&mut self) {
        Store::begin_entry(self)
    }

    #[inline]
    fn is_mid_entry(&self) -> bool {
        Store::is_mid_entry(self)
    }

    #[inline]
    fn is_full(&self) -> bool {
        Store::is_full(self)
    }

    #[inline]
    fn memory(&self) -> StoreMemory {
        Store::memory(self)
    }

    #[inline]
    fn freeze(&mut self) -> Option<GenerationJob> {
        Store::freeze(self)
    }

    #[inline]
    fn finish(&mut self, done: GenerationDone) -> Result<Retired> {
        Store::finish(self, done)
    }

    #[inline]
    fn checkpoint(&mut self, into: &Path) -> CheckpointJob {
        Store::checkpoint(self, into)
    }

    #[inline]
    fn finish_checkpoint(&mut self, done: CheckpointDone) -> Result<(Applied, Retired)> {
        Store::finish_checkpoint(self, done)
    }

    #[inline]
    fn install_job(&self, from: &Path) -> InstallJob {
        Store::install_job(self, from)
    }

    #[inline]
    fn finish_install(&mut self, done: InstallDone) -> Result<Retired> {
        Store::finish_install(self, done)
    }

    fn take_replaced(job: &mut GenerationJob) -> Retired {
        job.take_replaced()
    }

    fn applied_index(job: &GenerationJob) -> u64 {
        job.applied_index()
    }

    fn write_generation(job: GenerationJob) -> GenerationDone {
        job.run()
    }

    fn make_checkpoint(job: CheckpointJob) -> CheckpointDone {
        job.run()
    }

    fn install(job: InstallJob) -> InstallDone {
        job.run()
    }

    fn cold_read(&self, read: ColdRead, pins: bool) -> impl FnOnce() -> Result<Fetched> + Send + 'static + use<> {
        let reader = self.cold_reader();
        move || if pins { reader.pin(&read) } else { reader.fetch(&read) }
    }

    fn applied_in_checkpoint(directory: &Path) -> Result<Applied> {
        basalt_storage::applied_in_checkpoint(directory)
    }

    fn checkpoints(directory: &Path) -> io::Result<Vec<PathBuf>> {
        match fs::read_dir(directory) {
            Ok(left) => left.map(|left| Ok(left?.path())).collect(),
            Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(Vec::new()),
            Err(error) => Err(error),
        }
    }

    fn make_directory(directory: &Path) -> io::Result<()> {
        fs::create_dir_all(directory)
    }

    fn remove_checkpoint(directory: &Path) -> io::Result<()> {
        fs::remove_dir_all(directory)
    }
}
