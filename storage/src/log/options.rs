//! Options of a log.

use std::time::Duration;

use crate::Identity;

/// The moment at which an acknowledged append is on disk.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Durability {
    /// Before it is acknowledged.
    Always,
    /// At most this long after it was acknowledged; a crash of the machine loses what came since the last sync.
    Interval(Duration),
    /// As soon as the operating system writes it back; a crash of the machine may lose half a minute.
    None,
}

/// Part of a log that waits to be written as tables.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Backlog {
    /// Full segments that wait.
    pub segments_waiting: usize,
    /// [`LogOptions::segments_waiting_max`].
    pub segments_waiting_max: usize,
    /// Bytes of a full segment.
    pub segment_bytes: usize,
    /// Bytes of the one that is written to.
    pub newest_bytes: usize,
}

/// Owner of a log, and the sizes of its parts.
#[derive(Debug, Clone)]
pub struct LogOptions {
    /// Owner of the log. Written into a new one; an existing one of another's is refused.
    pub identity: Identity,
    /// Makes a log that is not there. Without, it is refused: then it was there once.
    pub create: bool,
    /// The number of the node's start that this open belongs to; counted from 1, noted in the log. A log that was not there in
    /// the start before this one is an old copy, and refused. 0: not counted.
    pub start: u64,
    /// Bytes of records after which a new write-ahead file is begun and the old one's records are written as a table.
    pub segment_bytes: usize,
    /// Full segments that may wait to be written as tables; beyond, new work gives [`crate::Error::WriteStall`].
    pub segments_waiting_max: usize,
    /// Bytes of the newest records kept in memory, so that applying and replicating them reads no disk.
    pub tail_bytes: usize,
    /// New work is refused with [`crate::Error::DiskFull`] while the file system has less than this free, and an append while
    /// it has less than half of it.
    pub reserve_bytes: u64,
    /// Tables that RocksDB keeps open, at most.
    pub open_files_max: i32,
    /// Write-ahead files written in full when the log is opened, so that syncs are fast from the first one on: a sync
    /// into a file that must grow also commits the file system's journal. 0: none.
    pub warm_files: usize,
}

impl Default for LogOptions {
    fn default() -> Self {
        Self {
            identity: Identity::default(),
            create: true,
            start: 0,
            segment_bytes: 16 << 20,
            segments_waiting_max: 3,
            tail_bytes: 8 << 20,
            reserve_bytes: 64 << 20,
            open_files_max: 512,
            warm_files: 2,
        }
    }
}
