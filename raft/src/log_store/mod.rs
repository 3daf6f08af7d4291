//! The Raft log as openraft sees it: [`basalt_storage::RaftLog`] with entries encoded into its records.
//!
//! What a newcomer would get wrong: an error of `append` is final for openraft, and so for the process. A log that only
//! cannot take more *right now* (a write stall, a full disk) is therefore no error here: [`LogStore::admit`] turns new
//! proposals away before they enter Raft, and an append that is caught half-way waits and tries again.

mod reader;
mod silence;
#[cfg(test)]
mod tests;
mod writer;

use std::cell::{Cell, RefCell};
use std::collections::VecDeque;
use std::future::poll_fn;
use std::io;
use std::ops::Range;
use std::rc::Rc;
use std::sync::Arc;
use std::sync::atomic::AtomicBool;
use std::task::{Context, Poll};
use std::time::Duration;

use basalt_storage::log::{Backlog, Durability, LogMemory, RaftLog, Skips, SyncDone};

use crate::channels::Waiters;
use crate::completions::{Background, Syncs, Wake};
use crate::disk::GroupLog;
use crate::error::{Error, Fault, ProposeError, Reach};
use crate::runtime::OnPanic;
use crate::source::Instant;
use crate::types::IoFlushed;

use silence::Silence;

/// A handle of one group's log. Clones share the log.
pub(crate) struct LogStore<L = RaftLog>(Rc<Shared<L>>);

impl<L> Clone for LogStore<L> {
    fn clone(&self) -> Self {
        LogStore(self.0.clone())
    }
}

struct Shared<L> {
    log: RefCell<L>,
    syncs: Arc<Syncs>,
    /// For entries that are in memory no more.
    readers: Rc<dyn Background>,
    wake: Wake,
    /// Set while another thread reads entries.
    is_reading: Arc<AtomicBool>,
    /// Number of times that entries were truncated, so that a read from before is not taken for what is there.
    truncations: Cell<u64>,
    syncs_started: Cell<u64>,
    silence: Silence,
    flushing: RefCell<VecDeque<Flushing>>,
    /// The newest entry whose flush was reported: what may be applied.
    flushed: Cell<Option<u64>>,
    flushed_waiters: Waiters,
    /// No read from disk begins before this: the last one met a full disk.
    read_again: Cell<Option<Instant>>,
    /// The newest entry that openraft has told to be committed, since the log was opened.
    committed: Cell<Option<u64>>,
    /// The reason that an append waits right now.
    stalled: Cell<Option<Stall>>,
    /// The next writes that a test wants to find the log stalled.
    #[cfg(test)]
    stalls: Cell<u32>,
    /// The reason that the log, or what depends on it, failed.
    fault: RefCell<Option<Fault>>,
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

impl<L: GroupLog> LogStore<L> {
    pub(crate) fn new(log: L, readers: Rc<dyn Background>, wake: Wake) -> LogStore<L> {
        let flushed = Cell::new(log.last_index());
        LogStore(Rc::new(Shared {
            log: RefCell::new(log),
            syncs: Syncs::new(wake.clone()),
            readers,
            wake,
            is_reading: Arc::default(),
            truncations: Cell::new(0),
            syncs_started: Cell::new(0),
            silence: Silence::default(),
            flushing: RefCell::new(VecDeque::new()),
            flushed,
            flushed_waiters: Waiters::default(),
            read_again: Cell::new(None),
            committed: Cell::new(None),
            stalled: Cell::new(None),
            #[cfg(test)]
            stalls: Cell::new(0),
            fault: RefCell::new(None),
        }))
    }

    /// Takes one of the stalls that a test wants.
    #[cfg(test)]
    fn take_stall(&self) -> bool {
        let left = self.0.stalls.get();
        self.0.stalls.set(left.saturating_sub(1));
        left > 0
    }

    #[cfg(not(test))]
    fn take_stall(&self) -> bool {
        false
    }

    /// Lets entries be applied that were never appended.
    #[cfg(test)]
    pub(crate) fn assume_flushed(&self) {
        self.0.flushed.set(Some(u64::MAX));
    }

    /// Refuses a batch of `bytes` that may not be proposed now.
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

    /// The reason that the log failed, if it did.
    pub(crate) fn fault(&self) -> Option<Fault> {
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

    /// The log, if this is its only handle.
    pub(crate) fn into_log(self) -> Option<L> {
        Rc::into_inner(self.0).map(|shared| shared.log.into_inner())
    }

    /// Counts the handles of the log.
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

    /// Returns whether a sync that was asked for is not over.
    pub(crate) fn awaits_disk(&self) -> bool {
        self.0.syncs_started.get() > self.0.syncs.finished()
    }

    /// Looks for how long the disk has ended no sync although one is asked for.
    pub(crate) fn look_at_silence(&self) -> Duration {
        self.0.silence.look(self.0.syncs_started.get(), self.0.syncs.finished(), Instant::now())
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

    /// Refuses a group of so many members if this node acknowledges entries before it has them on disk: a quorum that counts on it
    /// loses what it had acknowledged with the next failure of power, and elects a leader that has never heard of it.
    pub(crate) fn check_member_count(&self, count: usize) -> Result<(), Error> {
        let value = match self.0.log.borrow().durability() {
            Durability::Always => return Ok(()),
            Durability::Interval(_) => "interval",
            Durability::None => "none",
        };
        if count <= 1 {
            return Ok(());
        }
        let problem = "is for groups of one member only, since the others count on what this node acknowledges: start it with \
                       durability = always";
        Err(Error::Option { option: "durability", value: value.to_owned(), problem })
    }

    /// Returns the entries that are not to be executed.
    pub(crate) fn skips(&self) -> Option<Skips> {
        self.0.log.borrow().skips()
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

    /// Returns true once the sync with this number has succeeded.
    pub(crate) fn is_synced(&self, number: u64) -> bool {
        self.0.syncs.finished() >= number
    }

    /// Makes all appends durable, whatever the durability mode, and waits for it.
    pub(crate) async fn sync_to_disk(&self) -> io::Result<()> {
        let number = self.start_sync_to_disk();
        self.synced(number).await
    }

    /// Sets how many bytes of the newest entries are kept in memory.
    pub(crate) fn set_tail_bytes(&self, bytes: usize) {
        self.0.log.borrow_mut().set_tail_bytes(bytes);
    }

    /// Returns where the log's memory is.
    pub(crate) fn memory(&self) -> LogMemory {
        self.0.log.borrow().memory()
    }

    /// Bytes of the entries in the log.
    pub(crate) fn bytes(&self) -> u64 {
        self.0.log.borrow().bytes()
    }

    /// Bytes of the committed entries behind `applied`, which wait to be applied.
    pub(crate) fn unapplied_bytes(&self, applied: Option<u64>) -> u64 {
        let end = self.0.committed.get().map_or(0, |committed| committed + 1);
        self.0.log.borrow().bytes_between(applied.map_or(0, |applied| applied + 1), end)
    }

    /// Bytes of the entries from one index to below another.
    pub(crate) fn bytes_between(&self, from: u64, to_exclusive: u64) -> u64 {
        self.0.log.borrow().bytes_between(from, to_exclusive)
    }

    /// The index behind the last entry.
    pub(crate) fn end(&self) -> u64 {
        self.0.log.borrow().range().end
    }

    /// The index from which on the entries take at most so many bytes together; the end if one alone takes more.
    pub(crate) fn newest(&self, bytes: u64) -> u64 {
        let log = self.0.log.borrow();
        let Range { start: mut least, end } = log.range();
        let mut first = end;
        while least < first {
            let middle = least.midpoint(first);
            if log.bytes_between(middle, end) <= bytes { first = middle } else { least = middle + 1 }
        }
        first
    }

    /// Segments that wait to be written as tables.
    pub(crate) fn backlog(&self) -> Backlog {
        self.0.log.borrow().backlog()
    }

    /// Notes why the log, or what depends on it, failed. The first reason stays, but for one that concerns the group alone behind
    /// which comes one that does not.
    pub(crate) fn note_fault(&self, fault: impl Into<Fault>) {
        let (fault, mut noted) = (fault.into(), self.0.fault.borrow_mut());
        if noted.as_ref().is_none_or(|noted| noted.reach == Reach::Group && fault.reach == Reach::Node) {
            *noted = Some(fault);
        }
    }

    /// Turns an error into openraft's, and keeps its words.
    fn fault_of(&self, error: impl std::error::Error) -> io::Error {
        self.note_fault(error.to_string());
        io::Error::other(error.to_string())
    }
}
