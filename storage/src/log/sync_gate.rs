//! Several appends that one sync is to cover.
//!
//! A sync begins as soon as it is asked for and none is in flight: the first log of a turn would be synced alone, and those that
//! are appended to a few microseconds later would wait for a second sync.

use std::sync::Arc;

use super::sync_queue::SyncQueue;

/// Has a core's syncs begin when all logs of a turn are appended to. Clones are the same gate.
#[derive(Debug, Clone)]
pub struct SyncGate(Arc<SyncQueue>);

impl SyncGate {
    pub(super) fn new(queue: Arc<SyncQueue>) -> SyncGate {
        SyncGate(queue)
    }

    /// Says that so many syncs are about to be asked for. None begins before the last of them is, or what is returned is dropped.
    pub fn gather(&self, count: usize) -> Gathering {
        self.0.expect(count);
        Gathering(Arc::clone(&self.0))
    }
}

/// Syncs that wait for each other while this is held.
#[derive(Debug)]
#[must_use]
pub struct Gathering(Arc<SyncQueue>);

impl Drop for Gathering {
    fn drop(&mut self) {
        self.0.expect(0);
    }
}
