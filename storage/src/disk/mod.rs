//! A shard's rows on disk: its directory, the RocksDB instance in it, and what compaction may drop.
//!
//! Nothing here knows of memtables or of waiting: a call answers, blocks, or is told by its options not to touch the disk. What a
//! newcomer would get wrong: rows come into RocksDB as whole files only, never by a write of one row.

mod applied;
mod block_cache;
mod database;
mod directory;
mod options;
mod orphan_filter;

pub use applied::Applied;
pub(crate) use applied::encode as encode_applied;
pub use block_cache::BlockCache;
pub use database::applied_in_checkpoint;
pub(crate) use database::{Database, Opened, read_options};
pub(crate) use directory::{Directory, io, sync_dir};
pub use options::StoreOptions;
