//! The Raft log of one shard: records, vote, committed and purged ids, in a RocksDB of its own or of its lane, with group commit.
//!
//! Reading order: [`LogRecord`] (what a record looks like on disk), [`RaftLog`] (what a core calls), [`LogSyncer`] (the
//! thread that makes appends durable), then `state_file` and `recovery` (how a lost tail is noticed). The byte layouts are
//! drawn in `storage/FORMAT.md`.
//!
//! The one thing a newcomer would get wrong: **an append is readable at once but durable only when a later
//! [`RaftLog::sync`] completes**, and a vote too. Nothing here ever retries a failed sync: the pages it could not write may
//! be gone, and a second sync would report success.
//!
//! # How it is used
//! - A core owns one [`LogSyncer`] and one [`RaftLog`] per shard. All calls on a `RaftLog` come from its core; callbacks
//!   of [`RaftLog::sync`] run on the syncer's thread.
//! - Indexes are contiguous. Into an empty log that was never purged, the first append may start anywhere; after that a
//!   record must follow its predecessor, which is asserted.
//! - A core whose turn appends to several logs says so ([`SyncGate::gather`]), so that one sync covers them all.
//! - The vote, the committed id and the purged id are opaque bytes of at most [`OPAQUE_BYTES_MAX`].
//! - [`RaftLog::set_vote`], [`RaftLog::expect_snapshot`] and a purge that replaces the log alone promise nothing: follow them with
//!   [`RaftLog::sync`] and wait. Such a sync is a real one in every [`Durability`], and covers all earlier appends.
//! - With [`Durability::Interval`] and [`Durability::None`], `sync` runs `done` before it returns, on the caller's
//!   thread, unless an earlier sync is still pending (order is kept). [`RaftLog::durable_index`] tells the truth in every
//!   mode, and [`RaftLog::sync_to_disk`] really syncs in every mode: use it before a generation of rows is ingested and
//!   when stopping.

mod database;
mod disk_reader;
mod disk_space;
mod lane;
mod lane_marker;
mod limits;
mod options;
mod prewrite;
mod raft_log;
mod record;
mod recovery;
mod segments;
mod sequence_index;
mod shared_log;
mod sizes;
mod skips;
mod state_file;
mod sync_gate;
mod sync_queue;
mod syncer;
mod tail;
mod tidy;

pub use database::shared_arena_bytes;
pub use disk_reader::DiskReader;
pub use lane::Lane;
pub use limits::OPAQUE_BYTES_MAX;
pub use options::{Backlog, Durability, LogOptions};
pub use raft_log::{LogMemory, RaftLog};
pub use record::LogRecord;
pub use skips::{Skips, Stopped};
pub use sync_gate::{Gathering, SyncGate};
pub use syncer::{LogSyncer, SyncDone, SyncError};
