//! A shard in memory, for the tests of the types.

use std::ops::{Bound, ControlFlow};

use super::key::RowKey;
use super::{Keyspace, Packing, Scratch, VersionSource};
use crate::{Direction, MemoryRows};

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
