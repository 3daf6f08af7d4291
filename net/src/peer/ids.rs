//! Names of nodes, groups and entries as frames carry them.
//!
//! These are the wire's own: this crate knows no Raft. A newcomer would take 0 for "no group": it is the meta group, and
//! [`GroupNumber::NONE`] stands for none.

use std::fmt;

use bytes::BufMut;

/// A node's number, or that of a group's member: 64 random bits that no other node or member ever has, but that a member may have
/// its node's. 0 is nobody's.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct NodeNumber(pub u64);

impl NodeNumber {
    /// Bytes of one in a message.
    pub(super) const BYTES: usize = 8;
}

impl fmt::Display for NodeNumber {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(formatter, "{:016x}", self.0)
    }
}

/// A group's number in its cluster, below 2^63; 0 is the meta group.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct GroupNumber(pub u64);

impl GroupNumber {
    /// The number in frames that belong to no single group.
    pub const NONE: GroupNumber = GroupNumber(u64::MAX);

    /// True if a group can have this number.
    pub const fn is_a_group(self) -> bool {
        self.0 < 1 << 63
    }
}

impl fmt::Display for GroupNumber {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        if *self == GroupNumber::NONE { formatter.write_str("none") } else { self.0.fmt(formatter) }
    }
}

/// The number that a request and its answer share; who asks draws it, for each connection from 1 on.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct RequestId(pub u64);

impl fmt::Display for RequestId {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(formatter)
    }
}

/// A vote of Raft: who leads or wants to lead in a term.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Vote {
    /// The term; below 2^63.
    pub term: u64,
    /// The node that leads in it or wants to.
    pub node: NodeNumber,
    /// Set once a quorum has granted it.
    pub is_committed: bool,
}

impl Vote {
    /// Bytes of a vote in a payload: term, node, 0 or 1.
    pub(super) const BYTES: usize = 17;

    pub(super) fn put(&self, into: &mut Vec<u8>) {
        into.put_u64_le(self.term);
        into.put_u64_le(self.node.0);
        into.put_u8(u8::from(self.is_committed));
    }
}

/// The place of an entry in the log of its group.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct LogId {
    /// The term of the leader that proposed the entry; below 2^63.
    pub term: u64,
    /// Its index, from 0 on; below 2^63.
    pub index: u64,
}

impl LogId {
    /// Bytes of a log id that may be missing in a payload: 0 or 1, term, index; zeros if it is missing.
    pub(super) const OPTION_BYTES: usize = 17;

    pub(super) fn put_option(id: Option<LogId>, into: &mut Vec<u8>) {
        into.put_u8(u8::from(id.is_some()));
        let id = id.unwrap_or(LogId { term: 0, index: 0 });
        into.put_u64_le(id.term);
        into.put_u64_le(id.index);
    }
}

impl fmt::Display for LogId {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(formatter, "{}.{}", self.term, self.index)
    }
}
