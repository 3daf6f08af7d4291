//! The batch being collected, and those on their way through the log.

use std::cell::RefCell;
use std::collections::VecDeque;
use std::ops::Range;
use std::rc::Rc;
use std::time::Instant;

use crate::ids::Origin;

/// One operation of a batch, in the order the shard took them.
pub(super) struct Operation {
    /// Who waits for the reply; `None` for the shard's own housekeeping, and for a read that another thread executes.
    pub(super) origin: Option<Origin>,
    /// Where a read's bytes stand in [`PendingBatch::reads`]; `None` for a write, whose bytes are in the entry.
    pub(super) read: Option<Range<usize>>,
    /// Whether the reply may have values in it.
    pub(super) returns_values: bool,
}

/// What a batch in the log needs to be answered.
pub(super) struct PendingBatch {
    pub(super) ticket: u64,
    /// When it was closed.
    pub(super) since: Instant,
    pub(super) write_count: usize,
    /// Bytes of its entry.
    pub(super) bytes: usize,
    pub(super) applied: bool,
    /// What the replies were expected to have when the operations joined.
    pub(super) expected_bytes: usize,
    /// What they have, once it is applied.
    pub(super) replied_bytes: usize,
    pub(super) operations: Vec<Operation>,
    pub(super) reads: Vec<u8>,
}

/// The batch being collected.
#[derive(Default)]
pub(super) struct OpenBatch {
    pub(super) bytes: Vec<u8>,
    pub(super) write_count: usize,
    pub(super) operations: Vec<Operation>,
    pub(super) reads: Vec<u8>,
    /// What the replies are expected to have, as far as they may be large.
    pub(super) expected_bytes: usize,
}

/// Batches that are proposed and not answered, oldest first. The machine looks at one while it applies its entry.
pub(super) type InFlight = Rc<RefCell<VecDeque<PendingBatch>>>;
