//! The cache of RocksDB blocks, one for the node.

/// A bounded cache of uncompressed RocksDB blocks, indexes and filters, shared by all shards of the node. Cloning shares it.
#[derive(Clone)]
pub struct BlockCache(rocksdb::Cache);

impl BlockCache {
    /// A cache of at most `capacity_bytes`. HyperClockCache, since its look-ups take no lock and shards on all cores share it
    /// (<https://github.com/facebook/rocksdb/wiki/Block-Cache#hyperclockcache>).
    pub fn new(capacity_bytes: usize) -> BlockCache {
        BlockCache(rocksdb::Cache::new_hyper_clock_cache(capacity_bytes, 0))
    }

    /// Bytes held now.
    pub fn bytes(&self) -> usize {
        self.0.get_usage()
    }

    pub(crate) fn handle(&self) -> &rocksdb::Cache {
        &self.0
    }
}

impl std::fmt::Debug for BlockCache {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "BlockCache({} bytes)", self.bytes())
    }
}
