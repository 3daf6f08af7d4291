//! The names of nodes, entries and replies, without openraft.

use std::fmt;

/// A node of the cluster. Never given to another node after its log is gone.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct NodeId(pub u64);

impl fmt::Display for NodeId {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(formatter)
    }
}

impl From<u64> for NodeId {
    fn from(id: u64) -> Self {
        NodeId(id)
    }
}

/// The address at which a node's peers reach it, as `host:port`.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct PeerAddress(pub String);

impl fmt::Display for PeerAddress {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(formatter)
    }
}

/// The place of an entry in the log: the leader's term and the index.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub struct EntryId {
    /// The term of the leader that proposed the entry.
    pub term: u64,
    /// The entry's index, without holes from 0 on.
    pub index: u64,
}

impl fmt::Display for EntryId {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(formatter, "{}.{}", self.term, self.index)
    }
}

/// The replies of one batch's commands, one after the other.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Replies {
    /// All replies, encoded for the clients.
    pub bytes: Vec<u8>,
    /// The end of each reply in `bytes`, in the order of the batch's commands.
    pub ends: Vec<usize>,
}
