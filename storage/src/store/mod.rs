//! The applied rows of one shard: a memtable of our own over RocksDB.
//!
//! Rows are applied to the *active* memtable, which only the shard's core touches. At its budget it is *frozen*, another thread
//! writes it into RocksDB as one file with the applied row inside. There is no WAL here: what RocksDB does not have yet is in the
//! Raft log, which is purged only up to [`Store::durable_applied`], and is applied again after a crash. Reads ask active, frozen,
//! the cache of rows on disk, RocksDB, in that order.
//!
//! A *written* generation stays in memory until the next one is frozen, in whose place it is: without it, every key that was
//! hot a moment ago would have to be read from the disk, all at once. It is no layer of its own but a copy of what RocksDB has.
//!
//! The one thing a newcomer would get wrong: [`Store::freeze`] belongs between two log entries, never into one.

mod disk_reads;
mod freeze;
mod generation;
mod install;
mod layers;
mod merge_scan;
mod miss_policy;
#[cfg(test)]
mod model_test;
mod row_cache;
mod snapshot;
#[allow(clippy::module_inception, reason = "the noun that the module is named for")]
mod store;
#[cfg(test)]
mod tests;
mod tracked;
mod view;
mod watched;

pub use generation::{GenerationDone, GenerationJob, Retired};
pub use miss_policy::OnMiss;
pub use row_cache::RowCacheCounts;
pub use snapshot::{CheckpointDone, CheckpointJob, InstallDone, InstallJob};
pub use store::{Store, StoreMemory};
pub use tracked::{Changed, ChangedKey, Reader, ReaderId, TrackedKeys};
pub use view::{View, ViewAnswer};
pub use watched::{WatchState, WatchedKeys};
