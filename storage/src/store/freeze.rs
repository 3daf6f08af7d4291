//! From the active memtable to a generation on disk: freezing, finishing, and the memory that takes.

use std::sync::Arc;
use std::sync::atomic::Ordering;

use super::generation::{Frozen, GenerationDone, GenerationJob, Retired};
use super::store::{Store, StoreMemory};
use crate::Result;

impl Store {
    /// Counts the command that was run since [`Store::set_on_miss`], if it has changed anything.
    pub fn count_change(&mut self) {
        self.layers.active_changes += u64::from(self.misses.is_changed);
    }

    /// Returns the number of commands that have changed rows that are not on disk.
    pub fn unsaved_changes(&self) -> u64 {
        self.layers.active_changes + self.layers.frozen_changes
    }

    /// Returns the number of generations that have reached the disk since the store was opened.
    pub fn generations_written(&self) -> u64 {
        self.generations_written
    }

    /// Returns whether the active memtable has reached its budget. If [`Store::freeze`] gives nothing then, since the frozen
    /// generation is not written yet, the shard should slow its clients down.
    pub fn is_full(&self) -> bool {
        self.layers.active.bytes() >= self.options.memtable_bytes
    }

    /// Freezes what was applied and returns the job that writes it out; or, after a failed job, returns one that tries the same
    /// generation again. `None` if a job is under way, if an entry is half applied, or if there is nothing that is not on disk.
    ///
    /// Called between two log entries: the generation holds whole entries.
    pub fn freeze(&mut self) -> Option<GenerationJob> {
        // What is frozen already is whole.
        if self.is_writing || (self.is_mid_entry && self.layers.frozen.is_none()) {
            return None;
        }
        if self.layers.frozen.is_none() {
            if self.layers.active.is_empty() && self.applied == self.durable {
                return None;
            }
            self.layers.frozen_changes = std::mem::take(&mut self.layers.active_changes);
            self.layers.frozen = Some(Arc::new(Frozen {
                table: std::mem::take(&mut self.layers.active),
                applied: self.applied.clone(),
                counters: self.counters.clone(),
            }));
        }
        let frozen = self.layers.frozen.clone()?;
        self.is_writing = true;
        let (database, incoming) = (self.database.clone(), self.directory.incoming_path());
        Some(GenerationJob { frozen, replaced: self.layers.take_written(), database, incoming })
    }

    /// Takes back what became of a generation: if it is on disk, its memory goes when the next one is frozen.
    ///
    /// # Errors
    /// The job's error. The generation then stays in memory and the next [`Store::freeze`] tries it again; nothing is lost,
    /// since the log still has it. After `Error::DiskFull` wait for space; `Error::Corruption` is final.
    pub fn finish(&mut self, done: GenerationDone) -> Result<Retired> {
        let GenerationDone { frozen, database_number, outcome } = done;
        if database_number != self.database.number() {
            // A snapshot was installed meanwhile; the generation belonged to the rows that it replaced.
            return Ok(Retired { _frozen: [Some(frozen), None], ..Retired::default() });
        }
        assert!(self.is_writing, "no generation is being written");
        self.is_writing = false;
        outcome?;
        self.durable = frozen.applied.clone();
        self.layers.frozen_changes = 0;
        self.generations_written += 1;
        // Nothing to do for the row cache: it holds no key of the generation, see its module's docs.
        self.epoch.0 += 1;
        self.disk_is_empty &= frozen.table.is_empty();
        let written = self.layers.frozen.take();
        if self.is_full() {
            // The next one is frozen in a moment, and memory is short.
            return Ok(Retired { _frozen: [Some(frozen), written], ..Retired::default() });
        }
        self.layers.written = written;
        Ok(Retired { _frozen: [Some(frozen), None], ..Retired::default() })
    }

    /// Sets how much memory the active memtable and the cache of rows may take from now on. What is more is given back when the
    /// memtable is written out, and by [`Store::give_back_memory`].
    pub fn set_memory(&mut self, memtable_bytes: usize, row_cache_bytes: usize) {
        self.options.memtable_bytes = memtable_bytes;
        self.options.row_cache_bytes = row_cache_bytes;
        self.row_cache.set_bytes_max(row_cache_bytes);
    }

    /// Gives back a little of what the cache of rows has beyond its bound, for which its core is held no longer than a moment.
    pub fn give_back_memory(&mut self) {
        self.row_cache.shrink();
    }

    /// Memory in use.
    pub fn memory(&self) -> StoreMemory {
        StoreMemory {
            active_bytes: self.layers.active.bytes(),
            frozen_bytes: self.layers.frozen_bytes(),
            written_bytes: self.layers.written_bytes(),
            view_bytes: self.view_bytes.load(Ordering::Relaxed),
            memtable_bytes: self.options.memtable_bytes,
            row_cache_bytes: self.row_cache.bytes(),
        }
    }
}
