//! The memtables of a store: those that are asked before RocksDB, and the copy of its newest generation.

use std::sync::{Arc, Weak};

use super::generation::Frozen;
use crate::memtable::{Found, Memtable};

/// Rows in memory, from the newest to the oldest.
#[derive(Default)]
pub(super) struct Layers {
    /// The memtable that takes writes.
    pub(super) active: Memtable,
    /// Commands that changed what it holds.
    pub(super) active_changes: u64,
    /// The generation that is being written to disk, or is to be once more.
    pub(super) frozen: Option<Arc<Frozen>>,
    /// Commands that changed what that one holds.
    pub(super) frozen_changes: u64,
    /// The generation that was frozen last, once RocksDB has it. No layer of its own: a copy of a part of RocksDB.
    pub(super) written: Option<Arc<Frozen>>,
    /// The one before `written`, until another thread has freed it, and its bytes.
    replaced: (Weak<Frozen>, usize),
}

impl Layers {
    /// Returns what the memtables know of `key`.
    #[inline]
    pub(super) fn find(&self, key: &[u8]) -> Found<'_> {
        match (self.active.find(key), &self.frozen) {
            (Found::Unknown, Some(frozen)) => frozen.table.find(key),
            (found, _) => found,
        }
    }

    /// Takes the written generation out, whose memory another thread frees: until it has, it counts.
    pub(super) fn take_written(&mut self) -> Option<Arc<Frozen>> {
        let written = self.written.take();
        if let Some(written) = &written {
            self.replaced = (Arc::downgrade(written), written.table.bytes());
        }
        written
    }

    /// Takes all rows out. What another thread frees meanwhile still counts.
    pub(super) fn clear(&mut self) -> (Memtable, [Option<Arc<Frozen>>; 2]) {
        (self.active_changes, self.frozen_changes) = (0, 0);
        (std::mem::take(&mut self.active), [self.frozen.take(), self.written.take()])
    }

    /// Bytes of the generation that is being written.
    pub(super) fn frozen_bytes(&self) -> usize {
        self.frozen.as_ref().map_or(0, |frozen| frozen.table.bytes())
    }

    /// Bytes of the generation that is on disk and still in memory, and of the one before while it is being freed.
    pub(super) fn written_bytes(&self) -> usize {
        let (replaced, replaced_bytes) = &self.replaced;
        let written_bytes = self.written.as_ref().map_or(0, |written| written.table.bytes());
        written_bytes + if replaced.strong_count() > 0 { *replaced_bytes } else { 0 }
    }
}
