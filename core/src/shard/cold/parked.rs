//! Requests that wait in a shard beside its open batch.

use std::collections::{HashMap, VecDeque};
use std::time::{Duration, Instant};

use basalt_storage::ColdRead;

use super::progress::ColdProgress;
use crate::entry::request::Mode;
use crate::ids::{CoreId, Origin};
use crate::limits;

/// The requests of a shard that wait for rows.
#[derive(Default)]
pub(in crate::shard) struct Parking {
    /// By the connection that they came from.
    pub(in crate::shard) parked: HashMap<(CoreId, u32), Parked>,
    /// The sum of those requests.
    pub(in crate::shard) waiting: Waiting,
    /// The one client whose parked request may pin rows.
    pub(in crate::shard) pin_holder: Option<(CoreId, u32)>,
    /// Clients queued for that, each with the cold read it stopped at.
    pub(in crate::shard) pin_queue: VecDeque<((CoreId, u32), ColdRead)>,
}

/// A request that waits for a reader thread, and what came behind it from the same connection.
#[derive(Default)]
pub(in crate::shard) struct Parked {
    pub(in crate::shard) requests: VecDeque<ParkedRequest>,
    /// Number of the first requests that are reads of refused batches, which came before all else that is parked.
    pub(in crate::shard) refused: usize,
    /// Index of the request that a thread fetches rows for, or executes.
    pub(in crate::shard) fetches_for: usize,
    /// The place in the queue for held keys at which all of them wait, if they do.
    pub(in crate::shard) waits_at: Option<u64>,
}

impl Parked {
    /// Takes the request out that a thread has worked for.
    pub(in crate::shard) fn take_fetched(&mut self) -> Option<ParkedRequest> {
        let index = std::mem::take(&mut self.fetches_for);
        self.refused -= usize::from(index < self.refused);
        self.requests.remove(index)
    }
}

/// Requests that wait in a shard beside its open batch, and their bytes.
#[derive(Debug, Default, Clone, Copy, PartialEq, Eq)]
pub(in crate::shard) struct Waiting {
    pub(in crate::shard) count: usize,
    pub(in crate::shard) bytes: usize,
    /// Work that the scripts among them may do, where that is counted.
    pub(in crate::shard) script_work: u64,
}

impl Waiting {
    pub(in crate::shard) fn add(&mut self, bytes: usize) {
        self.count += 1;
        self.bytes += bytes;
    }

    pub(in crate::shard) fn remove(&mut self, bytes: usize) {
        self.count -= 1;
        self.bytes -= bytes;
    }

    pub(in crate::shard) fn is_full(&self) -> bool {
        self.count >= limits::WAITING_REQUESTS_MAX || self.bytes >= limits::WAITING_BYTES_MAX
    }
}

/// A request that waits for rows, or behind one of its connection that does.
pub(in crate::shard) struct ParkedRequest {
    pub(in crate::shard) origin: Origin,
    pub(in crate::shard) mode: Mode,
    pub(in crate::shard) bytes: Vec<u8>,
    pub(in crate::shard) progress: ColdProgress,
    /// Its turn among those who wait for held keys, once it has met one.
    pub(in crate::shard) turn: Option<Turn>,
    /// The moment at which it came, and the time that the core had been away by then, if one of its connection before it waited
    /// for held keys.
    pub(in crate::shard) since: Option<(Instant, Duration)>,
}

/// The turn of a request among those who wait for held keys, and the time from when on it waits.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(in crate::shard) struct Turn {
    pub(in crate::shard) place: u64,
    pub(in crate::shard) since: Instant,
    /// Time that the core had been away by then.
    pub(in crate::shard) away: Duration,
}
