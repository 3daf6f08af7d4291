//! Newtypes for the numbers that must not be mixed up.

use std::fmt;

/// A core of this node: an index into the list of cores the node runs on, not a CPU number.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct CoreId(pub u16);

/// A shard: one Raft group's replica on this node.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct ShardId(pub u16);

/// The number under which the core that has the connection remembers where a reply goes.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct Ticket(pub u32);

/// The client that waits for a reply of the shard, and the ticket of that reply.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct Origin {
    /// The core that has the connection.
    pub core: CoreId,
    /// The connection on that core.
    pub client: u32,
    /// The request on that core.
    pub ticket: Ticket,
}

impl CoreId {
    /// The core as an index.
    pub fn index(self) -> usize {
        self.0 as usize
    }
}

impl ShardId {
    /// The shard as an index.
    pub fn index(self) -> usize {
        self.0 as usize
    }
}

impl fmt::Display for CoreId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

impl fmt::Display for ShardId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}
