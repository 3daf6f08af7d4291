//! What waits in a shard beside its open batch.

use std::collections::VecDeque;

use super::progress::Progress;
use crate::entry::request::Mode;
use crate::ids::Origin;
use crate::limits;

/// A request that waits for a reader thread, and what came behind it from the same connection.
#[derive(Default)]
pub(super) struct Parked {
    pub(super) requests: VecDeque<ParkedRequest>,
    /// How many of the first are reads of refused batches, which came before all else that is parked.
    pub(super) refused: usize,
    /// Which of the requests the reader thread fetches rows for.
    pub(super) fetches_for: usize,
}

/// How much waits in a shard beside its open batch.
#[derive(Debug, Default, Clone, Copy, PartialEq, Eq)]
pub(super) struct Waiting {
    pub(super) count: usize,
    pub(super) bytes: usize,
}

impl Waiting {
    pub(super) fn add(&mut self, bytes: usize) {
        self.count += 1;
        self.bytes += bytes;
    }

    pub(super) fn remove(&mut self, bytes: usize) {
        self.count -= 1;
        self.bytes -= bytes;
    }

    pub(super) fn is_full(&self) -> bool {
        self.count >= limits::WAITING_REQUESTS_MAX || self.bytes >= limits::WAITING_BYTES_MAX
    }
}

/// A request that waits for rows, or behind one of its connection that does.
pub(super) struct ParkedRequest {
    pub(super) origin: Origin,
    pub(super) mode: Mode,
    pub(super) bytes: Vec<u8>,
    pub(super) progress: Progress,
}
