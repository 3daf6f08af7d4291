//! The Raft log as openraft sees it: [`basalt_storage::RaftLog`] with entries encoded into its records.
//!
//! What a newcomer would get wrong: an error of `append` is final for openraft, and so for the process. A log that only
//! cannot take more *right now* (a write stall, a full disk) is therefore no error here: [`LogStore::admit`] turns new
//! proposals away before they enter Raft, and an append that is caught half-way waits and tries again.

use std::cell::{Cell, RefCell};
use std::collections::VecDeque;
use std::fmt::Debug;
use std::future::poll_fn;
use std::io;
use std::ops::{Bound, RangeBounds};
use std::pin::Pin;
use std::rc::Rc;
use std::sync::Arc;
use std::task::{Context, Poll};
use std::time::Duration;

use basalt_storage::log::{Backlog, LogMemory, LogRecord, RaftLog, Skips, SyncDone};
use futures_util::Stream;
use openraft::storage::RaftLogStorage;
use openraft::{AsyncRuntime, OptionalSend, RaftLogReader};

use crate::channels::Waiters;
use crate::completions::{Syncs, Wake};
use crate::entry::{decode_entry, decode_log_id, decode_vote, encode_entry, encode_log_id, encode_vote};
use crate::error::ProposeError;
use crate::runtime::{GlommioRuntime, OnPanic};
use crate::types::{Entry, IoFlushed, LogId, LogState, TypeConfig, Vote, log_id};

/// Bytes of entries read at once for applying or replicating.
const READ_BYTES: usize = 1 << 20;
/// How long an append waits before it asks a log again that cannot take more right now.
const STALL_RETRY: Duration = Duration::from_millis(1);
/// How long an append waits before it asks a full disk again.
const DISK_FULL_RETRY: Duration = Duration::from_millis(50);

/// A handle of one group's log. Clones share the log.
#[derive(Clone)]
pub(crate) struct LogStore(Rc<Shared>);

struct Shared {
    log: RefCell<RaftLog>,
    syncs: Arc<Syncs>,
    syncs_started: Cell<u64>,
    flushing: RefCell<VecDeque<Flushing>>,
    /// The newest entry whose flush was reported: what may be applied.
    flushed: Cell<Option<u64>>,
    flushed_waiters: Waiters,
    /// What the append that waits right now waits for.
    stalled: Cell<Option<Stall>>,
    /// Why the log failed, in words for an operator.
    fault: RefCell<Option<String>>,
}

/// An append on its way to the disk.
struct Flushing {
    sync: u64,
    /// Its last entry, as far as it was not truncated since.
    last: Option<u64>,
    done: IoFlushed,
}

#[derive(Clone, Copy)]
enum Stall {
    WriteStall,
    DiskFull,
}

impl LogStore {
    pub(crate) fn new(log: RaftLog, wake: Wake) -> LogStore {
        let flushed = Cell::new(log.last_index());
        LogStore(Rc::new(Shared {
            log: RefCell::new(log),
            syncs: Syncs::new(wake),
            syncs_started: Cell::new(0),
            flushing: RefCell::new(VecDeque::new()),
            flushed,
            flushed_waiters: Waiters::default(),
            stalled: Cell::new(None),
            fault: RefCell::new(None),
        }))
    }

    /// Lets entries be applied that were never appended.
    #[cfg(test)]
    pub(crate) fn assume_flushed(&self) {
        self.0.flushed.set(Some(u64::MAX));
    }

    /// Whether a batch of `bytes` may be proposed now.
    pub(crate) fn admit(&self, bytes: usize) -> Result<(), ProposeError> {
        match self.0.stalled.get() {
            Some(Stall::WriteStall) => return Err(ProposeError::WriteStall),
            Some(Stall::DiskFull) => return Err(ProposeError::DiskFull),
            None => {}
        }
        match self.0.log.borrow_mut().admit(bytes) {
            Ok(()) => Ok(()),
            Err(basalt_storage::Error::WriteStall) => Err(ProposeError::WriteStall),
            Err(basalt_storage::Error::DiskFull { .. }) => Err(ProposeError::DiskFull),
            Err(error) => {
                self.note_fault(error.to_string());
                Err(ProposeError::Fatal(error.to_string()))
            }
        }
    }

    /// Takes the syncs that finished since the last call, and reports them to openraft.
    pub(crate) fn drain(&self) {
        let finished = self.0.syncs.finished();
        loop {
            let flushing = {
                let mut queue = self.0.flushing.borrow_mut();
                if queue.front().is_none_or(|flushing| flushing.sync > finished) {
                    break;
                }
                queue.pop_front()
            };
            let Some(flushing) = flushing else { break };
            self.0.flushed.set(self.0.flushed.get().max(flushing.last));
            flushing.done.io_completed(Ok(()));
        }
        if let Some(failure) = self.0.syncs.failure() {
            self.fail_syncs(failure);
        }
        self.0.flushed_waiters.wake_all();
    }

    fn fail_syncs(&self, failure: &str) {
        self.note_fault(failure.to_owned());
        let queue = std::mem::take(&mut *self.0.flushing.borrow_mut());
        for flushing in queue {
            flushing.done.io_completed(Err(io::Error::other(failure.to_owned())));
        }
    }

    /// Why the log failed, if it did.
    pub(crate) fn fault(&self) -> Option<String> {
        self.0.fault.borrow().clone()
    }

    /// Notes panics of the group's tasks as faults, and calls `wake` for each. No handle of the log.
    pub(crate) fn on_panic(&self, wake: Wake) -> OnPanic {
        let shared = Rc::downgrade(&self.0);
        Rc::new(move |text| {
            let Some(shared) = shared.upgrade() else { return };
            LogStore(shared).note_fault(format!("a task of the group panicked: {text}"));
            wake();
        })
    }

    /// How many handles of the log there are.
    pub(crate) fn handle_count(&self) -> usize {
        Rc::strong_count(&self.0)
    }

    /// Waits until the flush of entry `index` has been reported.
    pub(crate) async fn flushed(&self, index: u64) -> io::Result<()> {
        if self.0.flushed.get() >= Some(index) {
            return Ok(());
        }
        poll_fn(|context| {
            if self.0.flushed.get() >= Some(index) {
                return Poll::Ready(Ok(()));
            }
            self.poll_failure(context)
        })
        .await
    }

    fn poll_failure(&self, context: &Context<'_>) -> Poll<io::Result<()>> {
        if let Some(failure) = self.0.syncs.failure() {
            return Poll::Ready(Err(io::Error::other(failure.to_owned())));
        }
        self.0.flushed_waiters.add(context);
        Poll::Pending
    }

    fn next_sync(&self) -> (u64, SyncDone) {
        let number = self.0.syncs_started.get() + 1;
        self.0.syncs_started.set(number);
        let syncs = self.0.syncs.clone();
        (number, Box::new(move |result| syncs.finish(number, result)))
    }

    async fn synced(&self, number: u64) -> io::Result<()> {
        poll_fn(|context| {
            if self.0.syncs.finished() >= number {
                return Poll::Ready(Ok(()));
            }
            self.poll_failure(context)
        })
        .await
    }

    /// Which entries are not to be executed.
    pub(crate) fn skips(&self) -> Skips {
        self.0.log.borrow().skips().clone()
    }

    /// Notes that a snapshot up to `index` is about to take the place of the rows, and waits until that is durable.
    pub(crate) async fn expect_snapshot(&self, index: u64) -> io::Result<()> {
        self.0.log.borrow_mut().expect_snapshot(index);
        self.sync_to_disk().await
    }

    /// Begins to make all appends durable, whatever the durability mode; [`LogStore::is_synced`] tells when they are.
    pub(crate) fn start_sync_to_disk(&self) -> u64 {
        let (number, done) = self.next_sync();
        self.0.log.borrow_mut().sync_to_disk(done);
        number
    }

    /// Whether the sync with this number has succeeded.
    pub(crate) fn is_synced(&self, number: u64) -> bool {
        self.0.syncs.finished() >= number
    }

    /// Makes all appends durable, whatever the durability mode, and waits for it.
    pub(crate) async fn sync_to_disk(&self) -> io::Result<()> {
        let number = self.start_sync_to_disk();
        self.synced(number).await
    }

    /// Where the log's memory is.
    pub(crate) fn memory(&self) -> LogMemory {
        self.0.log.borrow().memory()
    }

    /// Bytes of the entries in the log.
    pub(crate) fn bytes(&self) -> u64 {
        self.0.log.borrow().bytes()
    }

    /// Segments that wait to be written as tables.
    pub(crate) fn backlog(&self) -> Backlog {
        self.0.log.borrow().backlog()
    }

    /// Notes why the log, or what depends on it, failed. The first reason stays.
    pub(crate) fn note_fault(&self, text: String) {
        self.0.fault.borrow_mut().get_or_insert(text);
    }

    /// Turns an error into openraft's, and keeps its words.
    fn fault_of(&self, error: impl std::error::Error) -> io::Error {
        self.note_fault(error.to_string());
        io::Error::other(error.to_string())
    }

    fn read(&self, from: u64, to: u64, bytes_max: usize) -> io::Result<Vec<Entry>> {
        let records = self.0.log.borrow().read(from, to, bytes_max).map_err(|error| match error {
            // The log is as it should be, who asks is late.
            error @ basalt_storage::Error::Purged { .. } => io::Error::new(io::ErrorKind::NotFound, error.to_string()),
            error => self.fault_of(error),
        })?;
        records.into_iter().map(|record| decode_entry(record).map_err(|error| self.fault_of(error))).collect()
    }

    /// The bounds of `range`, cut at the log's end. Not at its beginning: an answer that silently starts later than asked would
    /// be taken for a log with a hole.
    fn bounds(&self, range: &impl RangeBounds<u64>) -> (u64, u64) {
        let from = match range.start_bound() {
            Bound::Included(index) => *index,
            Bound::Excluded(index) => index + 1,
            Bound::Unbounded => 0,
        };
        let to = match range.end_bound() {
            Bound::Included(index) => index + 1,
            Bound::Excluded(index) => *index,
            Bound::Unbounded => u64::MAX,
        };
        (from, to.min(self.0.log.borrow().range().end))
    }

    /// Appends `records`, waiting out what is only temporary.
    async fn append_records(&self, records: &[LogRecord]) -> io::Result<()> {
        loop {
            let appended = self.0.log.borrow_mut().append(records);
            let (stall, wait) = match appended {
                Ok(()) => {
                    if let Some(Stall::DiskFull) = self.0.stalled.take() {
                        tracing::info!("the log's disk has space again");
                    }
                    return Ok(());
                }
                Err(basalt_storage::Error::WriteStall) => (Stall::WriteStall, STALL_RETRY),
                Err(basalt_storage::Error::DiskFull { .. }) => (Stall::DiskFull, DISK_FULL_RETRY),
                Err(error) => return Err(self.fault_of(error)),
            };
            if self.0.stalled.replace(Some(stall)).is_none() && matches!(stall, Stall::DiskFull) {
                tracing::warn!("the log's disk is full: an entry waits for space, and no more are taken");
            }
            GlommioRuntime::sleep(wait).await;
        }
    }
}

/// Reads a range of entries piece by piece.
pub(crate) struct EntryStream {
    log: LogStore,
    next: u64,
    end: u64,
    piece: std::vec::IntoIter<Entry>,
}

impl Stream for EntryStream {
    type Item = io::Result<Entry>;

    fn poll_next(mut self: Pin<&mut Self>, _context: &mut Context<'_>) -> Poll<Option<Self::Item>> {
        if let Some(entry) = self.piece.next() {
            return Poll::Ready(Some(Ok(entry)));
        }
        if self.next >= self.end {
            return Poll::Ready(None);
        }
        match self.log.read(self.next, self.end, READ_BYTES) {
            Ok(entries) => {
                self.next += entries.len() as u64;
                if entries.is_empty() {
                    self.end = self.next;
                }
                self.piece = entries.into_iter();
                Poll::Ready(self.piece.next().map(Ok))
            }
            Err(error) => {
                self.end = self.next;
                Poll::Ready(Some(Err(error)))
            }
        }
    }
}

impl RaftLogReader<TypeConfig> for LogStore {
    async fn try_get_log_entries<RB: RangeBounds<u64> + Clone + Debug + OptionalSend>(
        &mut self,
        range: RB,
    ) -> io::Result<Vec<Entry>> {
        let (from, to) = self.bounds(&range);
        // Here openraft wants what there is.
        let from = from.max(self.0.log.borrow().range().start);
        if from >= to {
            return Ok(Vec::new());
        }
        self.read(from, to, usize::MAX)
    }

    async fn entries_stream<RB>(&mut self, range: RB) -> impl Stream<Item = io::Result<Entry>> + OptionalSend
    where
        RB: RangeBounds<u64> + Clone + Debug + OptionalSend,
    {
        let (next, end) = self.bounds(&range);
        EntryStream { log: self.clone(), next, end, piece: Vec::new().into_iter() }
    }

    async fn limited_get_log_entries(&mut self, start: u64, end: u64) -> io::Result<Vec<Entry>> {
        let (from, to) = self.bounds(&(start..end));
        if from >= to {
            return Ok(Vec::new());
        }
        self.read(from, to, READ_BYTES)
    }

    async fn read_vote(&mut self) -> io::Result<Option<Vote>> {
        let log = self.0.log.borrow();
        log.vote().map(decode_vote).transpose().map_err(|error| self.fault_of(error))
    }
}

impl RaftLogStorage<TypeConfig> for LogStore {
    type LogReader = LogStore;

    async fn get_log_state(&mut self) -> io::Result<LogState> {
        let log = self.0.log.borrow();
        let purged = log.purged().map(|(_, id)| decode_log_id(id)).transpose().map_err(|error| self.fault_of(error))?;
        let last = log.last_index().zip(log.last_term()).map(|(index, term)| log_id(term, index));
        Ok(LogState { last_purged_log_id: purged, last_log_id: last.or(purged) })
    }

    async fn get_log_reader(&mut self) -> LogStore {
        self.clone()
    }

    async fn save_vote(&mut self, vote: &Vote) -> io::Result<()> {
        let number = {
            let mut log = self.0.log.borrow_mut();
            log.set_vote(&encode_vote(vote));
            let (number, done) = self.next_sync();
            log.sync(done);
            number
        };
        self.synced(number).await
    }

    async fn save_committed(&mut self, committed: Option<LogId>) -> io::Result<()> {
        if let Some(committed) = committed {
            self.0.log.borrow_mut().set_committed(&encode_log_id(&committed));
        }
        Ok(())
    }

    async fn read_committed(&mut self) -> io::Result<Option<LogId>> {
        let log = self.0.log.borrow();
        log.committed().map(decode_log_id).transpose().map_err(|error| self.fault_of(error))
    }

    async fn append<I>(&mut self, entries: I, callback: IoFlushed) -> io::Result<()>
    where
        I: IntoIterator<Item = Entry> + OptionalSend,
        I::IntoIter: OptionalSend,
    {
        let records: Vec<LogRecord> = entries.into_iter().map(|entry| encode_entry(&entry)).collect();
        let Some(last) = records.last().map(|record| record.index) else {
            callback.io_completed(Ok(()));
            return Ok(());
        };
        self.append_records(&records).await?;
        let (sync, done) = self.next_sync();
        self.0.flushing.borrow_mut().push_back(Flushing { sync, last: Some(last), done: callback });
        self.0.log.borrow_mut().sync(done);
        // Without durability the sync is already over.
        if self.0.syncs.finished() >= sync {
            self.drain();
        }
        Ok(())
    }

    async fn truncate_after(&mut self, last: Option<LogId>) -> io::Result<()> {
        let number = {
            let mut log = self.0.log.borrow_mut();
            let index = last.map(|id| id.index());
            log.truncate_after(index).map_err(|error| self.fault_of(error))?;
            self.0.flushed.set(self.0.flushed.get().min(index));
            // Their syncs are not those of the entries that will take the place of the truncated ones.
            for flushing in self.0.flushing.borrow_mut().iter_mut() {
                flushing.last = flushing.last.min(index);
            }
            let (number, done) = self.next_sync();
            log.sync(done);
            number
        };
        self.synced(number).await
    }

    async fn purge(&mut self, upto: LogId) -> io::Result<()> {
        let purged = self.0.log.borrow_mut().purge(upto.index(), &encode_log_id(&upto));
        let replaces_log = purged.map_err(|error| self.fault_of(error))?;
        // Before anything is appended.
        if replaces_log { self.sync_to_disk().await } else { Ok(()) }
    }
}

#[cfg(test)]
mod tests;
