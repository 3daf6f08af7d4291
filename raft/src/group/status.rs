//! The state of a group, as openraft's metrics tell it.

use openraft::{RaftMetrics, ServerState};

use crate::ids::NodeId;
use crate::types::TypeConfig;

/// The part that a node plays in a group.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub enum Role {
    /// Proposes entries.
    Leader,
    /// Takes entries from the leader and votes.
    Follower,
    /// Asks for votes.
    Candidate,
    /// Takes entries and has no vote.
    Learner,
    /// The group has stopped.
    Stopped,
}

/// The state of a group.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct GroupStatus {
    /// The part of this node.
    pub role: Role,
    /// The newest term it knows.
    pub term: u64,
    /// The leader, if known.
    pub leader: Option<NodeId>,
    /// The number of voters.
    pub voter_count: usize,
    /// Index of the last entry in the log, whether or not it is durable.
    pub last_log: Option<u64>,
    /// Index of the last entry known to be committed.
    pub committed: Option<u64>,
    /// Index of the last entry executed.
    pub applied: Option<u64>,
    /// Index of the last entry whose rows are on disk in the store; the log is purged at most up to it.
    pub durable_applied: Option<u64>,
    /// Index of the last entry purged from the log.
    pub purged: Option<u64>,
    /// Bytes of the entries in the log.
    pub log_bytes: u64,
    /// Batches proposed here that have no outcome yet.
    pub in_flight_count: usize,
}

pub(super) fn role(metrics: &RaftMetrics<TypeConfig>) -> Role {
    match metrics.state {
        ServerState::Leader => Role::Leader,
        ServerState::Follower => Role::Follower,
        ServerState::Candidate => Role::Candidate,
        ServerState::Learner => Role::Learner,
        ServerState::Shutdown => Role::Stopped,
    }
}
