//! What can be set about a log, and its bounds.

use std::time::Duration;

/// Longest vote, committed id or purged id, in bytes. Openraft's take less than 64.
pub const OPAQUE_BYTES_MAX: usize = 1024;

/// When an acknowledged append is on disk.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Durability {
    /// Before it is acknowledged.
    Always,
    /// At most this long after it was acknowledged; a crash of the machine loses what came since the last sync.
    Interval(Duration),
    /// When the operating system writes it back; a crash of the machine may lose half a minute.
    None,
}

/// Sizes of one shard's log.
#[derive(Debug, Clone)]
pub struct LogOptions {
    /// Bytes of records after which a new write-ahead file is begun and the old one's records are written as a table.
    pub segment_bytes: usize,
    /// Full segments that may wait to be written as tables; beyond, new work gives [`crate::Error::WriteStall`].
    pub segments_waiting_max: usize,
    /// Bytes of the newest records kept in memory, so that applying and replicating them reads no disk.
    pub tail_bytes: usize,
    /// New work is refused with [`crate::Error::DiskFull`] while the file system has less than this free, and an append while
    /// it has less than half of it.
    pub reserve_bytes: u64,
    /// Write-ahead files written in full when the log is opened, so that syncs are fast from the first one on: a sync
    /// into a file that must grow also commits the file system's journal. 0: none.
    pub warm_files: usize,
}

impl Default for LogOptions {
    fn default() -> Self {
        Self {
            segment_bytes: 16 << 20,
            segments_waiting_max: 3,
            tail_bytes: 8 << 20,
            reserve_bytes: 64 << 20,
            warm_files: 2,
        }
    }
}
