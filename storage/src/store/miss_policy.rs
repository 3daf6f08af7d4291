//! The way on for a read that memory cannot answer.

use crate::cold::PinnedRows;

/// Says what a read does that memory cannot answer.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum OnMiss {
    /// It waits for the disk.
    Wait,
    /// It gives [`Error::Cold`](crate::Error::Cold).
    Cold,
    /// It gives [`Error::Cold`](crate::Error::Cold) as long as nothing is changed: then its command may be tried again. From then
    /// on it waits.
    ColdUntilChanged,
}

/// The rule for the command being run, and what it has for its misses.
pub(super) struct MissPolicy {
    pub(super) on_miss: OnMiss,
    /// Rows from disk that are pinned for the command.
    pub(super) pinned: Option<PinnedRows>,
    /// Set by the first row that is changed since `on_miss` was set.
    pub(super) is_changed: bool,
}

impl MissPolicy {
    /// Reads wait: so a store begins.
    pub(super) fn waiting() -> MissPolicy {
        MissPolicy { on_miss: OnMiss::Wait, pinned: None, is_changed: false }
    }

    /// Returns whether a read that memory cannot answer may wait for the disk.
    #[inline]
    pub(super) fn may_wait(&self) -> bool {
        match self.on_miss {
            OnMiss::Wait => true,
            OnMiss::Cold => false,
            OnMiss::ColdUntilChanged => self.is_changed,
        }
    }
}
