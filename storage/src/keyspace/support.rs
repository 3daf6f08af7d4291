//! A shard in memory, for the tests of the types.

use std::cell::Cell;
use std::ops::{Bound, ControlFlow};

use super::key::{ElementKey, RowKey};
use super::{Keyspace, Packing, Scratch, VersionSource};
use crate::rows::Visit;
use crate::{Counters, Direction, MemoryRows, Result, Row, Rows};

/// Rows in memory, with what a keyspace over them needs.
#[derive(Default)]
pub(super) struct Shard {
    rows: MemoryRows,
    scratch: Scratch,
    entries: u64,
    packing: Option<&'static Packing>,
}

impl Shard {
    /// One whose entries pack collections up to these bounds. The default one's pack none.
    pub(super) fn packing(packing: &'static Packing) -> Shard {
        Shard { packing: Some(packing), ..Shard::default() }
    }

    /// The keyspace that the next log entry sees, at 1000 ms.
    pub(super) fn keyspace(&mut self) -> Keyspace<'_> {
        self.keyspace_at(1000)
    }

    /// The keyspace that the next log entry sees, at `now_ms`.
    pub(super) fn keyspace_at(&mut self, now_ms: u64) -> Keyspace<'_> {
        self.entries += 1;
        let versions = VersionSource::entry(self.entries).with_packing(self.packing.unwrap_or(&Packing::NONE));
        Keyspace::new(&mut self.rows, &mut self.scratch, versions, 0, now_ms)
    }

    /// Has the entries from here on pack and count up to these bounds.
    pub(super) fn set_packing(&mut self, packing: &'static Packing) {
        self.packing = Some(packing);
    }

    /// Each element row of this shard, live or not: its key, version and element.
    pub(super) fn element_rows(&mut self) -> Vec<(Vec<u8>, u64, Vec<u8>)> {
        let mut found = Vec::new();
        self.rows
            .scan(Bound::Unbounded, Bound::Unbounded, Direction::Forward, &mut |row, _| {
                if let Some(element) = ElementKey::read(row) {
                    found.push((element.key.to_vec(), element.version, element.element.to_vec()));
                }
                ControlFlow::Continue(())
            })
            .unwrap();
        found
    }

    /// The version of the collection at `key`.
    pub(super) fn version(&mut self, key: &[u8]) -> u64 {
        let keyspace = self.keyspace();
        let record = keyspace.record(key).unwrap().unwrap();
        u64::from_be_bytes(*record.body().first_chunk().unwrap())
    }

    /// Returns the number of element rows of the collection at `key`; 0 if there is none.
    pub(super) fn element_count(&mut self, key: &[u8]) -> usize {
        let keyspace = self.keyspace();
        let Some(record) = keyspace.record(key).unwrap() else { return 0 };
        if record.is_packed() {
            return 0;
        }
        let collection = keyspace.collection(key, record.kind()).unwrap().unwrap();
        let mut rows: Vec<RowKey> = Vec::new();
        keyspace
            .scan_elements(&collection, Bound::Unbounded, Bound::Unbounded, Direction::Forward, &mut |element, _| {
                rows.push(RowKey::from_slice(element));
                ControlFlow::Continue(())
            })
            .unwrap();
        rows.len()
    }
}

/// Rows in memory that count what is done to them.
#[derive(Default)]
pub(super) struct CountedRows {
    rows: MemoryRows,
    /// Rows that were looked for or visited.
    pub(super) reads: Cell<u64>,
    /// Rows that were put or deleted.
    pub(super) changes: u64,
}

impl Rows for CountedRows {
    fn get(&self, key: &[u8]) -> Result<Option<Row<'_>>> {
        self.reads.set(self.reads.get() + 1);
        self.rows.get(key)
    }

    fn get_of_this_entry(&self, key: &[u8]) -> Option<Row<'_>> {
        self.reads.set(self.reads.get() + 1);
        self.rows.get_of_this_entry(key)
    }

    fn put(&mut self, key: &[u8], value: &[u8]) {
        self.changes += 1;
        self.rows.put(key, value);
    }

    fn delete(&mut self, key: &[u8]) {
        self.changes += 1;
        self.rows.delete(key);
    }

    fn delete_range(&mut self, from: &[u8], to: &[u8]) {
        self.changes += 1;
        self.rows.delete_range(from, to);
    }

    fn scan(&self, lower: Bound<&[u8]>, upper: Bound<&[u8]>, direction: Direction, visit: Visit<'_>) -> Result<()> {
        self.rows.scan(lower, upper, direction, &mut |key, value| {
            self.reads.set(self.reads.get() + 1);
            visit(key, value)
        })
    }

    fn counters(&self) -> &Counters {
        self.rows.counters()
    }

    fn counters_mut(&mut self) -> &mut Counters {
        self.rows.counters_mut()
    }
}
