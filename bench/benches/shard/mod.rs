//! A shard without its log: the machine that applies entries, on a store of its own.

use std::path::Path;

use basalt_core::internals::shard::ShardMachine;
use basalt_raft::{EntryId, Machine};
use basalt_storage::keyspace::ROW_RULES;
use basalt_storage::{BlockCache, Store, StoreOptions};
use tempfile::TempDir;

/// The memtable of a shard of a node with 2 GiB for it; nothing here fills it but lists.
const MEMTABLE_BYTES: usize = 256 << 20;
/// The node's block cache.
const BLOCK_CACHE_BYTES: usize = 64 << 20;
/// The time of every entry and read, in Unix milliseconds.
pub const NOW_MS: u64 = 1_700_000_000_000;

/// A machine, and the index of the next entry.
pub struct BenchShard {
    /// The machine.
    pub machine: ShardMachine,
    next_index: u64,
    // Removed when the machine is gone: fields are dropped in their order.
    _dir: TempDir,
}

impl BenchShard {
    /// A machine without rows, its files in the build directory.
    pub fn new() -> BenchShard {
        let dir =
            tempfile::tempdir_in(Path::new(env!("CARGO_TARGET_TMPDIR"))).expect("the build directory is writable");
        let options = StoreOptions::new(ROW_RULES, MEMTABLE_BYTES, BlockCache::new(BLOCK_CACHE_BYTES));
        let store = Store::open(dir.path(), &options).expect("a store can be made");
        let mut machine = ShardMachine::new(store);
        machine.keep_access_times(NOW_MS - 3_600_000);
        BenchShard { machine, next_index: 1, _dir: dir }
    }

    /// Applies an entry, as its group does.
    pub fn apply(&mut self, entry: &[u8]) {
        let index = self.next_index;
        self.next_index += 1;
        self.machine.apply(EntryId { term: 1, index }, entry, None).expect("the entry was made by this program");
        self.machine.store().set_applied(index, &index.to_le_bytes(), None);
    }

    /// Writes a full memtable to disk, as a background thread does.
    pub fn make_room(&mut self) {
        let store = self.machine.store();
        if !store.is_full() {
            return;
        }
        if let Some(job) = store.freeze() {
            store.finish(job.run()).expect("the memtable can be written");
        }
    }
}
