//! Bounds of the log: lengths, waits and retries. Sizes that are set from outside are in [`LogOptions`](super::LogOptions).

use std::time::Duration;

/// Longest vote, committed id or purged id, in bytes. Openraft's take less than 64.
pub const OPAQUE_BYTES_MAX: usize = 1024;

/// Longest time that the durable mark stays unsynced while syncs go on.
pub(super) const MARK_SYNC_EVERY: Duration = Duration::from_secs(1);

/// Pause before purged tables that could not be dropped yet are looked for again: RocksDB drops none of level 0, and none that a
/// compaction works on.
pub(super) const PURGE_AGAIN: Duration = Duration::from_millis(250);
/// Times that they are looked for before the next purge is waited for.
pub(super) const PURGE_AGAIN_MAX: u32 = 120;

/// Time between two attempts to open a log again that has found the disk full.
pub(super) const REOPEN_AGAIN: Duration = Duration::from_millis(500);

/// Longest wait of the syncer to hear from the core that a write found the disk full.
pub(super) const WEDGE_PATIENCE: Duration = Duration::from_secs(1);

/// Write-ahead files kept for reuse: those of the segments that wait, and the one before.
pub(super) const RECYCLED_FILES: usize = 4;
/// Bytes of a table on their way to the disk at once: what a sync of the log may have to queue behind.
pub(super) const TABLE_PART_BYTES: u64 = 256 << 10;
/// Multiple of its length that a segment may reach when those before it are not written yet.
pub(super) const SEGMENT_STRETCH: usize = 4;
/// Bytes by which write-ahead files grow where space is short: so much of it each log that is opened takes ahead of its need.
pub(super) const SPARING_STEP_BYTES: u64 = 64 << 10;
/// Bytes of filler written at once.
pub(super) const FILLER_BYTES: usize = 1 << 20;

/// Bytes that may be written between two looks at the file system.
pub(super) const LOOK_EVERY_BYTES: usize = 1 << 20;
/// Longest time between two looks at the file system.
pub(super) const LOOK_EVERY: Duration = Duration::from_millis(50);
/// Largest append that may use up the reserve: what Raft itself writes when a leader begins, without which a node that is started
/// on a full disk would serve no reads either.
pub(super) const OWN_APPEND_BYTES_MAX: usize = 1024;

/// Most runs of sequence numbers remembered; forgetting older ones only makes a durable index look older.
pub(super) const RUNS_MAX: usize = 64;
/// Bytes of records between two positions whose size is remembered.
pub(super) const STEP_BYTES: u64 = 64 << 10;

/// Longest reason that is kept of why an entry stopped its shard, in bytes.
pub(super) const REASON_BYTES_MAX: usize = 4096;
/// Most entries of one shard that may be skipped: who needs more has another problem.
pub(super) const SKIPPED_MAX: usize = 1024;
