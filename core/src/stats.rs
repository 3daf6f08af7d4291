//! Counters that `INFO` reads: each written by one core, read by any, never locked.

use std::sync::atomic::{AtomicU64, Ordering};

/// A figure that one core writes and any core reads.
#[derive(Debug, Default)]
pub struct Figure(AtomicU64);

impl Figure {
    /// Adds `amount`. Only the core that owns the figure may call this: it is a load and a store, not an atomic addition.
    pub fn add(&self, amount: u64) {
        self.0.store(self.0.load(Ordering::Relaxed).wrapping_add(amount), Ordering::Relaxed);
    }

    /// Sets the figure.
    pub fn set(&self, value: u64) {
        self.0.store(value, Ordering::Relaxed);
    }

    /// The figure.
    pub fn get(&self) -> u64 {
        self.0.load(Ordering::Relaxed)
    }
}

/// Calls and time of one command on one core.
#[derive(Debug, Default)]
pub struct CommandStats {
    /// Times it was called.
    pub calls: Figure,
    /// Times it was refused before it ran (arity, unknown option and the like come after).
    pub rejected: Figure,
}

/// One core's counters.
#[derive(Debug)]
#[repr(align(128))]
pub struct CoreStats {
    /// Commands taken from clients.
    pub commands: Figure,
    /// Connections taken.
    pub connections: Figure,
    /// Connections refused because of `maxclients`.
    pub rejected_connections: Figure,
    /// Connections there are.
    pub clients: Figure,
    /// Bytes received.
    pub bytes_in: Figure,
    /// Bytes sent.
    pub bytes_out: Figure,
    /// Requests sent to other cores.
    pub forwarded: Figure,
    /// Turns of the core loop.
    pub turns: Figure,
    /// `io_uring_enter` calls.
    pub enters: Figure,
    /// Times the core slept.
    pub parks: Figure,
    /// Stalls: turns that held the core longer than the budget.
    pub stalls: Figure,
    /// The longest turn, in microseconds.
    pub stall_us_max: Figure,
    /// Connections closed because their output grew over the limit.
    pub output_limit_closed: Figure,
    /// Bytes queued for clients.
    pub output_bytes: Figure,
    /// Bytes received and not decoded yet.
    pub input_bytes: Figure,
    /// Error replies sent before a command reached a shard.
    pub errors: Figure,
    /// Per command, by its place in the table.
    pub by_command: Box<[CommandStats]>,
}

impl CoreStats {
    /// Counters for a table of `command_count` commands.
    pub fn new(command_count: usize) -> CoreStats {
        CoreStats {
            commands: Figure::default(),
            connections: Figure::default(),
            rejected_connections: Figure::default(),
            clients: Figure::default(),
            bytes_in: Figure::default(),
            bytes_out: Figure::default(),
            forwarded: Figure::default(),
            turns: Figure::default(),
            enters: Figure::default(),
            parks: Figure::default(),
            stalls: Figure::default(),
            stall_us_max: Figure::default(),
            output_limit_closed: Figure::default(),
            output_bytes: Figure::default(),
            input_bytes: Figure::default(),
            errors: Figure::default(),
            by_command: (0..command_count).map(|_| CommandStats::default()).collect(),
        }
    }
}

/// One shard's figures, as its core last published them.
#[derive(Debug, Default)]
#[repr(align(128))]
pub struct ShardStats {
    /// Keys, by database.
    pub keys: [Figure; basalt_storage::DATABASE_COUNT],
    /// Keys with a deadline, by database.
    pub deadlines: [Figure; basalt_storage::DATABASE_COUNT],
    /// Raft term.
    pub term: Figure,
    /// Whether this replica leads, 0 or 1.
    pub leads: Figure,
    /// Index of the last entry in the log.
    pub last_log: Figure,
    /// Index of the last committed entry.
    pub committed: Figure,
    /// Index of the last applied entry.
    pub applied: Figure,
    /// Index up to which the log is purged.
    pub purged: Figure,
    /// Index up to which the rows are on disk without the log.
    pub durable_applied: Figure,
    /// Bytes of the log.
    pub log_bytes: Figure,
    /// Bytes of the active and frozen memtables.
    pub memtable_bytes: Figure,
    /// Bytes of the rows on disk.
    pub disk_bytes: Figure,
    /// Entries proposed.
    pub batches: Figure,
    /// Writes proposed, in all entries.
    pub writes: Figure,
    /// Keys deleted because their deadline passed.
    pub expired_keys: Figure,
    /// Keyspace hits.
    pub hits: Figure,
    /// Keyspace misses.
    pub misses: Figure,
    /// Reads that waited for a reader thread.
    pub cold_reads: Figure,
    /// Unix seconds of the last generation written to disk.
    pub last_save_unix_s: Figure,
}
