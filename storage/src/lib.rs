//! Durable storage of one shard: the Raft log and the applied keyspace, each in a RocksDB of its own.
//!
//! The crate knows no network, no Raft protocol and no async: every call either answers from memory or says that it
//! would have to touch the disk ([`Error::Cold`]); what blocks is handed out as a job for another thread.

mod cold_read;
#[cfg(test)]
mod crash_test;
mod error;
mod failpoint;
mod free_space;
mod identity;
pub mod keyspace;
pub mod log;
mod rocksdb_error;
mod rows;
mod store;

pub use cold_read::{COLD_SCAN_BYTES, ColdRead, Direction};
pub use error::{Error, Result};
pub use identity::{Identity, NODE_ID_BYTES};
pub use log::{Durability, LogOptions, LogRecord, LogSyncer, RaftLog, SyncDone, SyncError};
pub use rows::{Counters, DATABASE_COUNT, MemoryRows, Row, RowRange, Rows, Visit};
pub use store::{
    Applied, BlockCache, Changes, CheckpointDone, CheckpointJob, ColdReader, GenerationDone, GenerationJob,
    InstallDone, InstallJob, KeptRows, OnMiss, Retired, RowCacheCounts, Store, StoreMemory, StoreOptions, Trial, View,
    ViewAnswer, Warmed,
};
