//! Every bound, wait and retry of this crate. What the core decides comes in [`GroupOptions`](crate::GroupOptions).

use std::time::Duration;

// The log.

/// Bytes of entries read from the log at once, for applying or replicating: one frame to a peer, and little beside a memtable.
pub(crate) const READ_BYTES: usize = 1 << 20;
/// Wait before a log that has a write stall is asked again. A stall ends with the table that is being written, within some
/// milliseconds.
pub(crate) const STALL_RETRY: Duration = Duration::from_millis(1);
/// Wait before a log on a full disk is asked again. Somebody has to make room: nobody sees 50 ms of that.
pub(crate) const LOG_DISK_FULL_RETRY: Duration = Duration::from_millis(50);

// Applying.

/// Time for which entries are applied before other tasks of the core get a turn: the core's budget for one task's run.
pub(crate) const APPLY_SLICE: Duration = Duration::from_micros(500);

// Generations.

/// Wait before a generation that found no room on the disk is tried again: it writes a whole memtable, so not as often as the log.
pub(crate) const GENERATION_DISK_FULL_RETRY: Duration = Duration::from_millis(500);

// The group.

/// Time between two looks of a group for finished syncs and jobs while nobody else looks: when it is opened and shut down. One
/// sync takes about as long.
pub(crate) const DRIVE_EVERY: Duration = Duration::from_micros(100);
/// Time after which openraft is told again what is on disk if it does not say that it knows: it drops such a question while it is
/// busy with another, and a log that is purged 50 ms later costs nothing.
pub(crate) const REPORT_AGAIN: Duration = Duration::from_millis(50);
/// The longest wait of a shutdown for the group's tasks to let go of log and store. They end within a turn; who does not after
/// seconds never will.
pub(crate) const SHUTDOWN_WAIT: Duration = Duration::from_secs(5);
/// Messages to openraft that have room in its queue beside all proposals: questions for snapshots and leaders, of which each kind
/// has one on its way.
pub(crate) const MESSAGES_MAX: u64 = 1024;

// What is decoded.

/// Members that a membership may name, voters and learners. Far above any real cluster; bounds what a damaged count asks for.
pub(crate) const MEMBERS_MAX: usize = 1024;
