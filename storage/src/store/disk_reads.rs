//! Reads that neither memtable answers: the row cache, RocksDB's block cache, rows that are pinned for the command, the disk.

use rocksdb::ErrorKind;

use super::miss_policy::OnMiss;
use super::row_cache::{Cached, RowCacheCounts};
use super::store::Store;
use crate::cold::{ColdReader, Fetched, Pinned, PinnedRows};
use crate::cold_read::ColdRead;
use crate::memtable::Found;
use crate::rows::Row;
use crate::{Error, Result};

impl Store {
    /// Says what reads do from now on that memory cannot answer. They wait at first.
    pub fn set_on_miss(&mut self, on_miss: OnMiss) {
        self.misses.on_miss = on_miss;
        self.misses.is_changed = false;
    }

    /// Gives the commands that are run next rows that were pinned for them, and says whether they are of use: those of the past are
    /// not.
    pub fn set_pinned(&mut self, pinned: PinnedRows) -> bool {
        self.misses.pinned = Some(pinned).filter(|pinned| pinned.epoch == self.epoch);
        self.misses.pinned.is_some()
    }

    /// Takes the pinned rows back.
    pub fn take_pinned(&mut self) -> Option<PinnedRows> {
        self.misses.pinned.take()
    }

    /// A reader for the threads that fetch cold rows. It follows the store through installed snapshots; what it brings back is
    /// worth keeping until the next generation is finished, so take a new one for each read.
    pub fn cold_reader(&self) -> ColdReader {
        ColdReader::new(self.cold_current.clone(), self.epoch, self.cold_rows_read.clone())
    }

    /// Keeps the rows that a [`ColdReader`] has brought, unless they may be of the past.
    pub fn take_fetched(&self, fetched: &Fetched) {
        if fetched.epoch != self.epoch {
            return;
        }
        // RocksDB is as it was when it answered; so the answer holds for every key that no memtable knows.
        for (key, value) in &fetched.rows {
            if matches!(self.layers.find(key), Found::Unknown) {
                self.row_cache.insert(key, value.as_deref());
            }
        }
    }

    /// The row of `key`, which neither the active nor the frozen memtable knows.
    pub(super) fn get_from_disk(&self, key: &[u8]) -> Result<Option<Row<'_>>> {
        match self.row_cache.find(key) {
            Cached::Row(row) => return Ok(Some(Row::Cached(row))),
            Cached::Absent => return Ok(None),
            Cached::Unknown => {}
        }
        match self.layers.written.as_ref().map(|written| written.table.find(key)) {
            Some(Found::Value(value)) => {
                // What is read only would be cold when the next generation comes.
                if self.misses.on_miss == OnMiss::Cold {
                    self.row_cache.insert(key, Some(value));
                }
                return Ok(Some(Row::Memory(value)));
            }
            Some(Found::Deleted) => return Ok(None),
            Some(Found::Unknown) | None => {}
        }
        // Never the disk: `cached_reads` end with `Incomplete` there.
        match self.database.get(key, &self.cached_reads) {
            Ok(row) => {
                // What an entry reads it mostly writes next, and then the cache must not have it.
                if self.misses.on_miss == OnMiss::Cold {
                    self.row_cache.insert(key, row.as_deref());
                }
                return Ok(row.map(Row::Pinned));
            }
            Err(error) if error.kind() != ErrorKind::Incomplete => return Err(self.database.error(error)),
            Err(_) => {}
        }
        match self.misses.pinned.as_ref().map_or(Pinned::Unknown, |pinned| pinned.find(key)) {
            Pinned::Row(value) => return Ok(Some(Row::Memory(value))),
            Pinned::Absent => return Ok(None),
            Pinned::Unknown if !self.misses.may_wait() => return Err(Error::Cold(ColdRead::Key(key.into()))),
            Pinned::Unknown => {}
        }
        self.disk_waits.set(self.disk_waits.get() + 1);
        let row = self.database.get(key, &self.waiting_reads).map_err(|error| self.database.error(error))?;
        Ok(row.map(Row::Pinned))
    }

    /// Returns whether there may be a row of `key`: there is one, or nobody knows without the disk.
    pub(super) fn may_have(&self, key: &[u8]) -> bool {
        match self.layers.find(key) {
            Found::Value(_) => return true,
            Found::Deleted => return false,
            Found::Unknown if self.disk_is_empty => return false,
            Found::Unknown => {}
        }
        !matches!(self.database.get(key, &self.cached_reads), Ok(None))
    }

    /// Returns the hits and misses of the cache of rows on disk.
    pub fn row_cache_counts(&self) -> RowCacheCounts {
        self.row_cache.counts()
    }

    /// Returns the number of reads that have waited for the disk since the store was opened.
    pub fn disk_waits(&self) -> u64 {
        self.disk_waits.get()
    }

    /// Counts them from now on: what was read before anybody was served has held nobody up.
    pub fn forget_disk_waits(&self) {
        self.disk_waits.set(0);
    }
}
