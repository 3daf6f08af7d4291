//! The followers of a shard's group, as its leader knows them.

use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use basalt_raft::NodeId;

/// Another member of the group.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Follower {
    /// Its node.
    pub node: NodeId,
    /// The entries of the log that it does not have on disk.
    pub behind: u64,
    /// The time since the sending of the newest message that it has answered; `None` if it has answered none.
    pub silent: Option<Duration>,
}

/// The followers of one group, as its core published them last: none where another replica leads.
#[derive(Debug, Default)]
pub struct Followers(Mutex<(u64, Vec<Follower>)>);

impl Followers {
    /// Tells of `followers` of a log with so many entries.
    pub fn set(&self, entries: u64, followers: Vec<Follower>) {
        *self.0.lock().unwrap_or_else(PoisonError::into_inner) = (entries, followers);
    }

    /// The number of the log's entries, and the followers.
    pub fn get(&self) -> (u64, Vec<Follower>) {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }
}
