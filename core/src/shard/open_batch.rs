//! The batch being collected, and those on their way through the log.

use std::cell::RefCell;
use std::collections::VecDeque;
use std::ops::Range;
use std::rc::Rc;
use std::time::{Duration, Instant};

use crate::entry::batch;
use crate::ids::Origin;
use crate::limits;

/// One operation of a batch, in the order the shard took them.
pub(super) struct Operation {
    /// The client that waits for the reply; `None` for the shard's own housekeeping, and for a read that another thread executes.
    pub(super) origin: Option<Origin>,
    /// Range of a read's bytes in [`PendingBatch::reads`]; `None` for a write, whose bytes are in the entry.
    pub(super) read: Option<Range<usize>>,
    /// True if the reply may have values in it.
    pub(super) returns_values: bool,
}

impl Operation {
    /// Returns whether it is the shard's own: nobody waits for it, here or elsewhere.
    pub(super) fn is_housekeeping(&self) -> bool {
        self.origin.is_none() && self.read.is_none()
    }
}

/// Everything that a batch in the log needs to be answered.
pub(super) struct PendingBatch {
    /// Its number among the batches of the shard.
    pub(super) number: u64,
    /// The moment at which it was closed.
    pub(super) since: Instant,
    /// The time that the core had been away by then.
    pub(super) away: Duration,
    /// Writes whose clients wait for it.
    pub(super) write_count: usize,
    /// Bytes of its entry.
    pub(super) bytes: usize,
    /// Bytes of rows that its commands copy, about.
    pub(super) copied_bytes: usize,
    /// Commands in its transactions.
    pub(super) member_count: usize,
    /// Work that its scripts may do, but for reads that have joined it on its way.
    pub(super) script_work: u64,
    pub(super) applied: bool,
    /// Set once its clients were told that nobody knows what becomes of it: its outcome has nobody to answer any more.
    pub(super) abandoned: Option<Abandoned>,
    /// Bytes that the replies were expected to have when the operations joined.
    pub(super) expected_bytes: usize,
    /// Bytes that they have, once it is applied.
    pub(super) replied_bytes: usize,
    pub(super) operations: Vec<Operation>,
    pub(super) reads: Vec<u8>,
}

/// The rest of a batch whose clients do not wait for it any more.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Abandoned {
    /// True if the shard's own deletion of due keys is in it.
    pub(super) deletes_expired: bool,
}

/// The batch being collected.
#[derive(Default)]
pub(super) struct OpenBatch {
    pub(super) bytes: Vec<u8>,
    /// True if there is a transaction in it that watches keys, in front of which nothing may be put.
    pub(super) has_guarded: bool,
    pub(super) write_count: usize,
    pub(super) operations: Vec<Operation>,
    pub(super) reads: Vec<u8>,
    /// Bytes that the replies are expected to have, as far as they may be large.
    pub(super) expected_bytes: usize,
    /// Bytes of rows that its commands copy, about.
    pub(super) copied_bytes: usize,
    /// Commands in its transactions.
    pub(super) member_count: usize,
    /// Work that its scripts may do.
    pub(super) script_work: u64,
}

impl OpenBatch {
    /// One that has nothing yet.
    pub(super) fn begun() -> OpenBatch {
        let mut open = OpenBatch::default();
        batch::begin(&mut open.bytes);
        open
    }
}

/// Batches that are proposed and not answered, oldest first. The machine looks at one while it applies its entry.
pub(super) type InFlight = Rc<RefCell<VecDeque<PendingBatch>>>;

/// Time that batches have been held up.
#[derive(Debug, Clone, Copy)]
pub(super) struct Hold {
    pub(super) since: Instant,
    /// The moment at which it was last looked at.
    pub(super) seen: Instant,
}

impl Hold {
    /// Returns whether a batch may wait on at `now`. What nobody has looked at for long may have been over meanwhile.
    pub(super) fn bears(&mut self, now: Instant) -> bool {
        if now.saturating_duration_since(self.seen) >= limits::MEMTABLE_WAIT {
            self.since = now;
        }
        self.seen = now;
        now.saturating_duration_since(self.since) < limits::MEMTABLE_WAIT
    }
}
