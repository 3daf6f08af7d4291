//! Durable storage of one shard: the Raft log and the applied keyspace, each in a RocksDB of its own.
//!
//! The crate knows no network, no Raft protocol and no async: every call either answers from memory or says that it
//! would have to touch the disk ([`Error::Cold`]); what blocks is handed out as a job for another thread.

mod cold;
mod cold_read;
mod disk;
mod error;
mod failpoint;
mod free_space;
mod identity;
pub mod keyspace;
mod limits;
pub mod log;
mod memtable;
mod open_path;
mod rocksdb_error;
mod rows;
mod spaces;
mod store;
#[cfg(test)]
mod support;
#[cfg(test)]
mod tests;
mod versions;

pub use cold::{Changes, ColdReader, Fetched, PinnedRows, Trial};
pub use cold_read::{ColdRead, Direction};
pub use disk::{Applied, BlockCache, StoreOptions, applied_in_checkpoint};
pub use error::{Error, Result};
pub use free_space::free_bytes;
pub use identity::{CLUSTER_ID_BYTES, Identity, NODE_ID_BYTES};
pub use limits::COLD_SCAN_BYTES;
pub use log::{Durability, LogOptions, LogRecord, LogSyncer, RaftLog, SyncDone, SyncError};
pub use rows::{Counters, MemoryRows, Row, RowRange, RowRules, Rows, Visit};
pub use spaces::{DATABASE_COUNT, Space, Spaces};
pub use store::{
    Changed, ChangedKey, CheckpointDone, CheckpointJob, GenerationDone, GenerationJob, InstallDone, InstallJob, OnMiss,
    Reader, ReaderId, Retired, RowCacheCounts, Store, StoreMemory, TrackedKeys, View, ViewAnswer, WatchState,
    WatchedKeys,
};
pub use versions::Versions;
