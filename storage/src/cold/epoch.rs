//! Of which moment an answer of a reader thread is.

/// In which order generations and snapshots have changed RocksDB: answers of reader threads are of one epoch.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(crate) struct Epoch(pub(crate) u64);
