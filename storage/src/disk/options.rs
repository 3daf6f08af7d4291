//! Options with which a store is opened.

use super::block_cache::BlockCache;
use crate::Identity;
use crate::rows::RowRules;

/// Options for opening a store.
#[derive(Debug, Clone)]
pub struct StoreOptions {
    /// The store's owner. Written into a new one; an existing one of another's is refused.
    pub identity: Identity,
    /// Rules of its rows' layout: with those of others, compaction would drop what it must not.
    pub rules: RowRules,
    /// Set if a store that is not there is made. Without, it is refused: then it was there once.
    pub create: bool,
    /// Bytes of the active memtable at which it wants to be frozen. While a frozen one is being written, both are in memory.
    pub memtable_bytes: usize,
    /// Bytes of the cache of single rows on disk; 0 for none.
    pub row_cache_bytes: usize,
    /// The node's block cache.
    pub block_cache: BlockCache,
    /// Files that RocksDB keeps open, at most.
    pub open_files_max: i32,
    /// Compactions that run at once, at most. RocksDB's threads are shared by all stores of the process.
    pub background_jobs_max: i32,
    /// Free bytes of the file system below which no compaction begins; a generation is written while half of it stays free.
    pub reserve_bytes: u64,
}

impl StoreOptions {
    /// The usual options with this memtable budget and block cache, and a row cache of a mebibyte, for a store of rows laid out by
    /// `rules` that is nobody's and made if it is not there.
    pub fn new(rules: RowRules, memtable_bytes: usize, block_cache: BlockCache) -> StoreOptions {
        StoreOptions {
            identity: Identity::default(),
            rules,
            create: true,
            memtable_bytes,
            row_cache_bytes: 1 << 20,
            block_cache,
            open_files_max: 1024,
            background_jobs_max: 2,
            reserve_bytes: 0,
        }
    }
}
