//! The Raft log as its core sees it.

use std::io;
use std::ops::Range;
use std::path::Path;
use std::sync::Arc;

use rocksdb::{WriteBatch, WriteOptions};

use super::database::write_options;
use super::disk_reader::{DiskReader, read_disk};
use super::disk_space::DiskSpace;
use super::lane::Begun;
use super::limits::SEGMENT_STRETCH;
use super::record::{LogRecord, key_of};
use super::recovery::{Recovered, recover, scan};
use super::sequence_index::SequenceIndex;
use super::shared_log::SharedLog;
use super::sizes::Sizes;
use super::skips::Skips;
use super::state_file::Promises;
use super::sync_queue::SyncQueue;
use super::syncer::{LogSyncer, SyncDone, SyncError};
use super::tail::Tail;
use super::{Backlog, Durability, LogOptions, OPAQUE_BYTES_MAX};
use crate::{Error, Result};

/// Bytes that RocksDB adds to a batch in the write-ahead file: its own header and the record's.
const BATCH_OVERHEAD_BYTES: usize = 32;

/// Memory of a log, in bytes.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct LogMemory {
    /// The newest records.
    pub tail_bytes: u64,
    /// Records that RocksDB has not written as tables yet.
    pub segments_bytes: u64,
}

/// One shard's Raft log. Used by one thread; see the module for how.
pub struct RaftLog {
    shared: Arc<SharedLog>,
    /// Number of times that the lane had been opened again when the records were looked for.
    opened: u64,
    queue: Arc<SyncQueue>,
    options: LogOptions,
    write_options: WriteOptions,
    space: DiskSpace,
    tail: Tail,
    sizes: Sizes,
    first: u64,
    next: u64,
    /// Set when `next` says where the next record must go; only an empty, never purged log has no start.
    has_start: bool,
    vote: Option<Vec<u8>>,
    /// Set when something was promised for which the next sync must be a real one.
    has_promised: bool,
    /// The version of the promises that must be on disk before the next record is: that of the purge which replaced the log.
    start_version: u64,
    committed: Option<Vec<u8>>,
    purged: Option<(u64, Vec<u8>)>,
    /// Syncs asked for.
    requested: u64,
    sequences: SequenceIndex,
    skips: Skips,
    scratch: Vec<u8>,
}

impl RaftLog {
    /// Opens the log in `directory`, or creates it. Everything found is durable when this returns.
    ///
    /// A tail that was never synced is cut where it is torn.
    ///
    /// # Errors
    /// [`Error::Corruption`] naming file or directory if records that were once durable are missing, if there is a hole, or if any
    /// record is damaged; [`Error::Missing`] if there is none and none is to be made; [`Error::Foreign`] for another shard's;
    /// [`Error::Misfit`] for an old copy; [`Error::UnknownFormat`]; [`Error::Io`].
    pub fn open(directory: &Path, options: &LogOptions, syncer: &LogSyncer) -> Result<RaftLog> {
        let skips = Skips::open(directory, options.identity)?;
        let (lane, recovered) = recover(directory, options)?;
        lane.finish_opening()?;
        Ok(Self::new(recovered, skips, options, syncer))
    }

    /// A log as it was found, from now on known to the syncer.
    pub(super) fn new(recovered: Recovered, mut skips: Skips, options: &LogOptions, syncer: &LogSyncer) -> RaftLog {
        let Recovered { shared, promises, mark, records } = recovered;
        let shared = Arc::new(shared);
        shared.lane.enter(&shared);
        let queue = syncer.queue();
        queue.register(&shared);
        let purged = promises.purged.map(|(index, id)| (index, id.into_vec()));
        if let Some((purged, _)) = &purged {
            // They hurt nobody: a full disk is no reason not to start.
            if let Err(error) = skips.forget_purged(*purged) {
                tracing::warn!(%error, "skipped entries that are purged stay noted until the next start");
            }
        }
        let has_start = purged.is_some() || records.first < records.next;
        let mut sequences = SequenceIndex::default();
        let last = if has_start { records.next.checked_sub(1) } else { None };
        let (durable, opened) = (shared.lane.durable_sequence(), shared.lane.opens());
        sequences.note(durable, last, durable);
        let directory = shared.lane.directory().to_owned();
        let log = RaftLog {
            shared,
            opened,
            queue,
            options: options.clone(),
            write_options: write_options(),
            space: DiskSpace::new(&directory, options.reserve_bytes),
            tail: records.tail,
            sizes: records.sizes,
            first: records.first,
            next: records.next,
            has_start,
            vote: promises.vote.map(Vec::from),
            has_promised: false,
            start_version: 0,
            committed: mark.committed.map(Vec::from),
            purged,
            requested: 0,
            sequences,
            skips,
            scratch: Vec::new(),
        };
        // Opening has synced all that was recovered. The mark may be older: it is written after a sync, and not synced itself.
        if let Some(last) = log.last_index().zip(log.last_term()) {
            log.shared.wanted().last = Some(last);
        }
        log
    }

    /// Returns when an acknowledged append is on disk.
    pub fn durability(&self) -> Durability {
        self.queue.durability()
    }

    /// The log's directory.
    pub fn directory(&self) -> &Path {
        &self.shared.directory
    }

    /// True if there are no records (all may have been purged).
    pub fn is_empty(&self) -> bool {
        self.first == self.next
    }

    /// Index of the first record that is not purged.
    pub fn first_index(&self) -> Option<u64> {
        (!self.is_empty()).then_some(self.first)
    }

    /// Index of the last record; `None` if there are none, even if some were purged.
    pub fn last_index(&self) -> Option<u64> {
        (!self.is_empty()).then(|| self.next - 1)
    }

    /// The records that are not to be executed, and the one that has stopped the shard.
    pub fn skips(&self) -> &Skips {
        &self.skips
    }

    /// Has the record at `index`, which has stopped the shard, skipped from now on: an operator's order. To be called before the
    /// log is executed. Waits for one small synced write.
    ///
    /// # Errors
    /// [`Error::NoSkip`] for another record; [`Error::Io`].
    pub fn skip_entry(&mut self, index: u64) -> Result<()> {
        let is_purged = self.purged.as_ref().is_some_and(|(purged, _)| index <= *purged);
        // An order that was given once more: it has been carried out.
        if is_purged { Ok(()) } else { self.skips.skip(index) }
    }

    /// Indexes of the records that are there. It begins behind what was purged, even if no record is left.
    pub fn range(&self) -> Range<u64> {
        self.first..self.next
    }

    /// Term of the last record; `None` if there are none.
    pub fn last_term(&self) -> Option<u64> {
        self.tail.last().map(|record| record.term)
    }

    /// The last record, from memory.
    pub fn last(&self) -> Option<&LogRecord> {
        self.tail.last()
    }

    /// Index and opaque id of the last purged record.
    pub fn purged(&self) -> Option<(u64, &[u8])> {
        self.purged.as_ref().map(|(index, id)| (*index, id.as_slice()))
    }

    /// Memory of the log. Takes RocksDB's lock for a moment.
    pub fn memory(&self) -> LogMemory {
        let name = rocksdb::properties::SIZE_ALL_MEM_TABLES;
        let segments = self.shared.with_rows(|database, rows| database.property_int_value_cf(rows, name));
        // A log without space has no database open, and one without figures is shown as nothing.
        let segments_bytes = segments.ok().and_then(Result::ok).flatten().unwrap_or(0);
        LogMemory { tail_bytes: self.tail.bytes() as u64, segments_bytes }
    }

    /// Sets how many bytes of the newest records are kept in memory from now on, but for the last one, which always is.
    pub fn set_tail_bytes(&mut self, bytes: usize) {
        self.tail.set_bytes_max(bytes);
    }

    /// Bytes of the records that are not purged, to within 64 KiB.
    pub fn bytes(&self) -> u64 {
        self.sizes.bytes()
    }

    /// Bytes of the records from `from` to before `to_exclusive`, to within 64 KiB at either end.
    pub fn bytes_between(&self, from: u64, to_exclusive: u64) -> u64 {
        self.sizes.between(from, to_exclusive)
    }

    /// Index of the last record that is on disk for certain, whatever the [`Durability`].
    pub fn durable_index(&self) -> Option<u64> {
        self.sequences.index_at(self.shared.lane.durable_sequence())
    }

    /// Asks the log for room for about `bytes` more: what is turned away here costs nothing, while an append that fails may have
    /// consequences for its caller. An append may use half of the disk's reserve and more segments than this
    /// allows, so what was let in does not fail when its turn comes.
    ///
    /// # Errors
    /// [`Error::DiskFull`] below the reserve, [`Error::WriteStall`] while too many segments wait to be written as tables;
    /// final ones as [`RaftLog::append`].
    pub fn admit(&mut self, bytes: usize) -> Result<()> {
        self.check_alive()?;
        self.space.admit(bytes)?;
        self.reopen_if_wedged()?;
        let has_room =
            self.shared.lane.segment_bytes() + bytes <= self.options.segment_bytes || self.begin_segment()?;
        if has_room { Ok(()) } else { Err(Error::WriteStall) }
    }

    /// Segments that wait to be written as tables. Takes RocksDB's lock for a moment: not for every write.
    pub fn backlog(&self) -> Backlog {
        // Who cannot be asked says what is wrong when it is written to.
        let segments_waiting = self.shared.lane.segments_waiting().ok().and_then(Result::ok).unwrap_or(0) as usize;
        let LogOptions { segment_bytes, segments_waiting_max, .. } = self.options;
        Backlog {
            segments_waiting,
            segments_waiting_max,
            segment_bytes,
            newest_bytes: self.shared.lane.segment_bytes(),
        }
    }

    /// Appends `records` in one write. They can be read at once, and are durable once a later [`RaftLog::sync`] completes.
    ///
    /// # Errors
    /// [`Error::WriteStall`] and [`Error::DiskFull`] leave the log unchanged: the caller may try the same records again later.
    /// [`Error::Io`] and [`Error::Corruption`] are final.
    ///
    /// # Panics
    /// If the records do not follow each other and the log's last one, or a purge that replaced the log is not durable.
    pub fn append(&mut self, records: &[LogRecord]) -> Result<()> {
        let Some(first) = records.first() else { return Ok(()) };
        assert!(!self.has_start || first.index == self.next, "a hole in the log can never be filled");
        assert!(
            self.start_version <= self.shared.promises_durable(),
            "nobody would remember after a crash where the log begins"
        );
        assert!(records.windows(2).all(|pair| pair[0].index + 1 == pair[1].index), "records are contiguous");
        let bytes = records.iter().map(LogRecord::row_bytes).sum::<usize>();
        self.space.take(bytes)?;
        self.prepare_write(bytes)?;
        let value = &mut self.scratch;
        let batch = self.shared.with_rows(|_, rows| {
            let mut batch = WriteBatch::with_capacity_bytes(bytes + records.len() * BATCH_OVERHEAD_BYTES);
            for record in records {
                record.encode(value);
                batch.put_cf(rows, key_of(record.index), &*value);
            }
            batch
        })?;
        self.write(batch)?;
        if !self.has_start {
            self.first = first.index;
            self.next = first.index;
            self.has_start = true;
        }
        for record in records {
            self.sizes.push(record.index, record.row_bytes());
        }
        self.next += records.len() as u64;
        self.tail.extend(records);
        self.note_end()
    }

    /// Asks for everything written and promised so far to be made durable; `done` then runs on the syncer's thread.
    ///
    /// Callbacks run in the order of the calls. With [`Durability::Interval`] and [`Durability::None`] `done` usually runs before
    /// this returns: see the module.
    pub fn sync(&mut self, done: SyncDone) {
        let is_real = self.queue.durability() == Durability::Always
            || self.has_promised
            || self.shared.completed() < self.requested;
        if is_real {
            self.sync_to_disk(done);
        } else {
            done(self.queue.failed().map_or(Ok(()), Err));
        }
    }

    /// As [`RaftLog::sync`], but really syncs whatever the [`Durability`].
    pub fn sync_to_disk(&mut self, done: SyncDone) {
        self.has_promised = false;
        self.requested += 1;
        self.queue.push(&self.shared, done);
    }

    /// Records from `from` to before `to_exclusive`, as many as fit in `bytes_max` but at least one if there is one.
    ///
    /// Records in memory are shared, not copied. Older ones are read from disk.
    ///
    /// # Errors
    /// [`Error::Purged`] if those at the beginning are; [`Error::Corruption`] if a record is damaged or missing.
    pub fn read(&self, from: u64, to_exclusive: u64, bytes_max: usize) -> Result<Vec<LogRecord>> {
        let to = to_exclusive.min(self.next);
        self.check_purged(from, to)?;
        let mut next = from;
        let mut out = Vec::new();
        let mut bytes = 0;
        let tail_start = self.tail.first_index().unwrap_or(self.next);
        if next < tail_start.min(to) {
            bytes = read_disk(&self.shared, next, tail_start.min(to), bytes_max, &mut out)?;
            next += out.len() as u64;
            if next < tail_start {
                return Ok(out);
            }
        }
        while next < to {
            let Some(record) = self.tail.get(next) else { break };
            bytes += record.row_bytes();
            if bytes > bytes_max && !out.is_empty() {
                break;
            }
            out.push(record.clone());
            next += 1;
        }
        Ok(out)
    }

    /// As [`RaftLog::read`], but `None` if those at the beginning must be read from disk: [`RaftLog::disk_reader`] does, elsewhere.
    ///
    /// # Errors
    /// As [`RaftLog::read`].
    pub fn read_memory(&self, from: u64, to_exclusive: u64, bytes_max: usize) -> Result<Option<Vec<LogRecord>>> {
        let to = to_exclusive.min(self.next);
        self.check_purged(from, to)?;
        let tail_start = self.tail.first_index().unwrap_or(self.next);
        if from < tail_start.min(to) { Ok(None) } else { self.read(from, to, bytes_max).map(Some) }
    }

    /// Returns what reads older records on other threads.
    pub fn disk_reader(&self) -> DiskReader {
        DiskReader::new(&self.shared, self.tail.first_index().unwrap_or(self.next))
    }

    fn check_purged(&self, from: u64, to: u64) -> Result<()> {
        if from >= self.first.min(to) {
            return Ok(());
        }
        Err(Error::Purged { path: self.shared.directory.clone(), index: from, first: self.first })
    }

    /// The record at `index`; `None` if it is purged or does not exist yet.
    ///
    /// # Errors
    /// As [`RaftLog::read`].
    pub fn get(&self, index: u64) -> Result<Option<LogRecord>> {
        if index < self.first {
            return Ok(None);
        }
        Ok(self.read(index, index.saturating_add(1), 0)?.pop())
    }

    /// Removes the records after `index`, or all for `None`. Durable with the next sync.
    ///
    /// Waits for one small synced write: only a follower truncates, records that were never committed, after a change of
    /// leader.
    ///
    /// # Errors
    /// As [`RaftLog::append`].
    pub fn truncate_after(&mut self, index: Option<u64>) -> Result<()> {
        let from = index.map_or(self.first, |index| index + 1).max(self.first);
        if from >= self.next {
            return Ok(());
        }
        self.prepare_write(BATCH_OVERHEAD_BYTES)?;
        let last = if from > self.first { self.get(from - 1)? } else { None };
        // First, or a crash after the truncation would leave a mark of records that are rightly gone.
        // What is not synced yet is no mark: after a power failure it would be missed. The next sync writes one again.
        let marked = match self.durable_index().map(|durable| durable.min(from.saturating_sub(1))) {
            Some(index) if from > self.first && index >= self.first => self.get(index)?,
            _ => None,
        };
        let lowered = self.shared.lower_mark(marked.map(|record| (record.index, record.term)));
        lowered.map_err(|source| self.fail_io(source))?;
        self.delete_records(from, self.next)?;
        self.next = from;
        self.tail.truncate(from);
        self.sizes.truncate(from);
        if let (None, Some(last)) = (self.tail.last(), last) {
            self.tail.extend(&[last]);
        }
        self.has_start = self.purged.is_some() || !self.is_empty();
        self.sequences.cut(self.last_or_purged());
        self.note_end()
    }

    /// Forgets the records up to `upto`, whose opaque id is `log_id`. Disk space comes back in the background.
    ///
    /// `upto` may be beyond the last record, when a snapshot takes the place of the log. Nothing may be appended then before a
    /// [`RaftLog::sync`] that comes after has completed; whether it is so is returned.
    ///
    /// # Errors
    /// As [`RaftLog::append`].
    pub fn purge(&mut self, upto: u64, log_id: &[u8]) -> Result<bool> {
        if self.purged.as_ref().is_some_and(|(purged, _)| *purged >= upto) {
            return Ok(false);
        }
        assert!(log_id.len() <= OPAQUE_BYTES_MAX, "log ids are bounded");
        let replaces_log = !self.has_start || upto >= self.next;
        self.purged = Some((upto, log_id.to_vec()));
        let change = |promises: &mut Promises| promises.purged = Some((upto, log_id.into()));
        if replaces_log {
            // Otherwise a crash could leave records that follow a purge nobody remembers: a hole.
            self.has_promised = true;
            self.start_version = self.shared.wanted().change_awaited(change);
        } else {
            self.shared.wanted().change_promises(change);
        }
        self.first = upto + 1;
        self.has_start = true;
        self.tail.purge(upto);
        self.sizes.purge(upto);
        if replaces_log {
            self.next = upto + 1;
            self.sizes.clear();
            self.note_end()?;
        }
        self.queue.purge(&self.shared);
        Ok(replaces_log)
    }

    /// Notes that a snapshot up to `index` is about to take the place of the rows, which it may only when a later
    /// [`RaftLog::sync`] has completed. Until the log is purged up to there, rows applied up to `index` are no sign of a log that
    /// has lost its end.
    pub fn expect_snapshot(&mut self, index: u64) {
        self.has_promised = true;
        self.shared.wanted().change_awaited(|promises| promises.snapshot = Some(index));
    }

    /// The newest index given to [`RaftLog::expect_snapshot`].
    pub fn expected_snapshot(&self) -> Option<u64> {
        self.shared.wanted().promises().snapshot
    }

    /// Sets the vote, durable once a later [`RaftLog::sync`] completes.
    ///
    /// # Panics
    /// If it is longer than [`OPAQUE_BYTES_MAX`].
    pub fn set_vote(&mut self, vote: &[u8]) {
        assert!(vote.len() <= OPAQUE_BYTES_MAX, "votes are bounded");
        self.vote = Some(vote.to_vec());
        self.has_promised = true;
        self.shared.wanted().change_awaited(|promises| promises.vote = Some(vote.into()));
    }

    /// The vote.
    pub fn vote(&self) -> Option<&[u8]> {
        self.vote.as_deref()
    }

    /// Notes the newest committed id, to be written with the next sync. It may be older after a crash, never newer than the log.
    ///
    /// # Panics
    /// If it is longer than [`OPAQUE_BYTES_MAX`].
    pub fn set_committed(&mut self, committed: &[u8]) {
        assert!(committed.len() <= OPAQUE_BYTES_MAX, "committed ids are bounded");
        replace(&mut self.committed, committed);
        replace(&mut self.shared.wanted().committed, committed);
    }

    /// The newest committed id.
    pub fn committed(&self) -> Option<&[u8]> {
        self.committed.as_deref()
    }

    /// Makes sure that `bytes` can be written.
    fn prepare_write(&mut self, bytes: usize) -> Result<()> {
        self.check_alive()?;
        self.reopen_if_wedged()?;
        let written_bytes = self.shared.lane.segment_bytes();
        if written_bytes + bytes <= self.options.segment_bytes || self.begin_segment()? {
            return Ok(());
        }
        // A longer segment costs slower syncs, since its file has to grow.
        let bytes_max = self.options.segment_bytes * (SEGMENT_STRETCH - 1);
        if written_bytes <= bytes_max { Ok(()) } else { Err(Error::WriteStall) }
    }

    /// Refuses everything once a sync has failed.
    fn check_alive(&self) -> Result<()> {
        let Some(failed) = self.queue.failed() else { return Ok(()) };
        Err(Error::Io { path: self.shared.directory.clone(), source: io::Error::other(failed) })
    }

    /// Opens the lane again if the disk was full; and looks for the records if this or another log has opened it again.
    fn reopen_if_wedged(&mut self) -> Result<()> {
        if self.shared.lane.is_wedged() {
            self.reopen()?;
        }
        if self.opened == self.shared.lane.opens() { Ok(()) } else { self.find_records() }
    }

    /// Begins a new write-ahead file; `false` if too many segments wait already.
    fn begin_segment(&mut self) -> Result<bool> {
        let begun = self.shared.lane.begin_segment()?;
        match self.judge(begun)? {
            Begun::Now => Ok(true),
            Begun::Later => Ok(false),
            Begun::Never => {
                // It tells why to who writes: a sync that has failed in the background is final.
                let lane = &self.shared.lane;
                let told =
                    lane.with_database(|database| database.write_opt(WriteBatch::default(), &self.write_options))?;
                match self.judge(told) {
                    Ok(()) | Err(Error::DiskFull { .. }) => self.shared.lane.wedge(),
                    Err(error) => return Err(error),
                }
                self.reopen_if_wedged()?;
                Ok(true)
            }
        }
    }

    /// Deletes the records from `from` to before `to`.
    fn delete_records(&mut self, from: u64, to: u64) -> Result<()> {
        let batch = self.shared.with_rows(|_, rows| {
            let mut batch = WriteBatch::default();
            batch.delete_range_cf(rows, key_of(from), key_of(to));
            batch
        })?;
        self.write(batch)
    }

    fn write(&mut self, batch: WriteBatch) -> Result<()> {
        let bytes = batch.size_in_bytes();
        let lane = &self.shared.lane;
        let written = lane.with_database(|database| database.write_opt(batch, &self.write_options))?;
        self.judge(written)?;
        lane.note_written(bytes + BATCH_OVERHEAD_BYTES);
        Ok(())
    }

    /// Tells what passes (a stall, a full disk) from what is final.
    fn judge<T>(&self, outcome: Result<T, rocksdb::Error>) -> Result<T> {
        outcome.map_err(|error| {
            let error = self.shared.lane.refusal(&error);
            match &error {
                Error::DiskFull { .. } => self.shared.lane.wedge(),
                Error::WriteStall => {}
                // RocksDB may recover from a failed write by itself, without what was to be written.
                _ => self.end_unless_full(&error),
            }
            error
        })
    }

    /// Ends the log with an error that will not pass.
    fn end_unless_full(&self, error: &Error) {
        if !matches!(error, Error::DiskFull { .. }) {
            self.queue.fail(SyncError::new(&self.shared.directory, error));
        }
    }

    /// Opens the database again after the disk was full: RocksDB takes no writes after one that failed.
    fn reopen(&mut self) -> Result<()> {
        // What waits is written as tables soon after: without room for it, this would only come again.
        let waiting_bytes = self.options.segment_bytes * (self.options.segments_waiting_max + 2);
        self.space.check(waiting_bytes as u64)?;
        let lane = &self.shared.lane;
        lane.reopen().inspect_err(|error| self.end_unless_full(error))?;
        tracing::info!(directory = %lane.directory().display(), "the disk has room again, the log takes writes");
        Ok(())
    }

    /// Looks for the records in a database that was opened again, and removes what an append has left that was refused.
    fn find_records(&mut self) -> Result<()> {
        let opened = self.shared.lane.opens();
        let directory = self.shared.lane.directory();
        let purged = self.purged.as_ref().map(|(index, _)| *index);
        let found =
            self.shared.with_rows(|database, rows| scan(directory, database, rows, purged, &self.options))??;
        let (start, is_whole) = match self.has_start {
            true => (self.next, found.next >= self.next),
            false => (found.first, true),
        };
        if !is_whole {
            let detail =
                format!("after the disk was full, the log ends before record {} instead of {start}", found.next);
            return Err(Error::Corruption { path: directory.to_owned(), detail });
        }
        self.sequences = SequenceIndex::default();
        if found.next > start {
            // The append that failed is there after all, but was refused: its place is another's.
            self.delete_records(start, found.next)?;
        }
        self.opened = opened;
        self.note_end()
    }

    /// Notes where the log ends after the newest write.
    fn note_end(&mut self) -> Result<()> {
        let lane = &self.shared.lane;
        let sequence = lane.with_database(|database| database.latest_sequence_number())?;
        self.sequences.note(sequence, self.last_or_purged(), lane.durable_sequence());
        self.shared.wanted().last = self.last_id();
        self.queue.note_written(&self.shared);
        Ok(())
    }

    /// Index and term of the last record.
    fn last_id(&self) -> Option<(u64, u64)> {
        self.tail.last().map(|record| (record.index, record.term))
    }

    fn last_or_purged(&self) -> Option<u64> {
        if self.has_start { self.next.checked_sub(1) } else { None }
    }

    /// A failed write of the state file, which is final.
    fn fail_io(&self, source: io::Error) -> Error {
        let path = self.shared.directory.clone();
        self.queue.fail(SyncError::new(&path, &source));
        Error::Io { path, source }
    }
}

impl Drop for RaftLog {
    fn drop(&mut self) {
        self.shared.lane.forget(&self.shared);
        self.shared.lane.leave();
    }
}

impl std::fmt::Debug for RaftLog {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let mut debug = formatter.debug_struct("RaftLog");
        debug.field("directory", &self.shared.directory).field("first", &self.first).field("next", &self.next);
        debug.finish_non_exhaustive()
    }
}

fn replace(slot: &mut Option<Vec<u8>>, bytes: &[u8]) {
    let slot = slot.get_or_insert_default();
    slot.clear();
    slot.extend_from_slice(bytes);
}
