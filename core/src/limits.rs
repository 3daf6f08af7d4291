//! Every bound of a node: queues, buffers, batches, retries, waits. What is not here is a setting, see [`crate::config`].
//!
//! A bound is part of the design: what would exceed it waits, is slowed down or is refused; nothing grows instead.

use std::time::Duration;

// --- the node -----------------------------------------------------------------------------------------------------------------

/// Cores of one node. Mailboxes are per ordered pair of cores, so their number grows with the square of this.
pub const CORES_MAX: usize = 256;

/// Shards of one node: each has two RocksDB instances and a Raft group.
pub const SHARDS_MAX: usize = 1024;

/// Least memory for a node: below, RocksDB's own buffers leave nothing for data.
pub const MEMORY_BYTES_MIN: u64 = 64 << 20;

/// Least memory per shard: two memtables of [`MEMTABLE_BYTES_MIN`], the log's tail and RocksDB's tables of contents.
pub const SHARD_MEMORY_BYTES_MIN: u64 = 8 << 20;

/// Smallest memtable: small enough for tests to freeze all the time, large enough for a file per freeze to make sense.
pub const MEMTABLE_BYTES_MIN: u64 = 256 << 10;

/// Smallest bound of a shard's Raft log.
pub const RAFT_LOG_BYTES_MIN: u64 = 8 << 20;

// --- clients ------------------------------------------------------------------------------------------------------------------

/// Largest `maxclients`.
pub const CLIENTS_MAX: u32 = 1_000_000;

/// Smallest `proto-max-bulk-len`, as in Redis.
pub const BULK_BYTES_MIN: u64 = 1 << 20;

/// Largest `proto-max-bulk-len`: Redis' own default, and far below the 4 GiB that the decoder's 32-bit ranges reach.
pub const BULK_BYTES_MAX: u64 = 512 << 20;

/// Longest inline command (a line that is no RESP array), as in Redis.
pub const INLINE_BYTES_MAX: usize = 64 << 10;

/// Most arguments of one command, as in Redis.
pub const ARGS_MAX: usize = 1024 * 1024;

// --- start and stop -----------------------------------------------------------------------------------------------------------

/// Open files of a node beside its clients and shards: listeners, rings, pipes, the log, the configuration.
pub const OPEN_FILES_NODE: u64 = 64;

/// Open files per core: its rings, wake-up pipes and glommio's own.
pub const OPEN_FILES_PER_CORE: u64 = 32;

/// Open files per shard: at most 512 tables of its log and 1024 of its data, their write-ahead files, and those being written.
pub const OPEN_FILES_PER_SHARD: u64 = 1600;

/// Locked memory that glommio demands of the limit before it starts an executor.
pub const MEMLOCK_BYTES_MIN: u64 = 512 << 10;

/// How long a graceful stop may take. After it the process ends at once, which loses nothing acknowledged under
/// `durability = always`: a restart replays the log.
pub const STOP_MAX: Duration = Duration::from_secs(5);

/// Log lines waiting for the standard error to take them; more are dropped and counted.
pub const LOG_LINES_MAX: usize = 4096;

/// How long a stop waits for waiting log lines to be written.
pub const LOG_FLUSH_MAX: Duration = Duration::from_secs(1);

/// How long a start waits for the port of a predecessor that was killed a moment ago.
pub const LISTEN_RETRY_MAX: Duration = Duration::from_secs(1);

/// How often it tries meanwhile.
pub const LISTEN_RETRY: Duration = Duration::from_millis(20);
