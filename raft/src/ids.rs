//! The names of nodes, entries and replies, without openraft.

use std::fmt;

/// A node of the cluster, or a member of a group: the founding one has the number of its node, any later one a number of its own.
/// Never given to another after the log is gone.
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

/// The place of a member, as the membership has it: the node that has it, where that has another number. It is no address of the
/// network.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct PeerAddress(pub String);

/// Stands before a node's number, which follows in 16 hex digits.
const NODE_PREFIX: &str = "node:";

impl PeerAddress {
    /// The place of the member `number` on `node`: empty where both are the same, as with all members of former memberships.
    pub fn on(node: NodeId, number: NodeId) -> PeerAddress {
        if node == number { PeerAddress::default() } else { PeerAddress(format!("{NODE_PREFIX}{:016x}", node.0)) }
    }

    /// The node that has the member `number`, whose place this is.
    pub fn node_of(&self, number: NodeId) -> NodeId {
        let digits = self.0.strip_prefix(NODE_PREFIX).filter(|digits| digits.len() == 16);
        digits.and_then(|digits| u64::from_str_radix(digits, 16).ok()).map_or(number, NodeId)
    }
}

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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_place_tells_the_node_where_its_number_is_another() {
        let (node, number) = (NodeId(0x1f), NodeId(u64::MAX));
        assert_eq!(PeerAddress::on(node, number), PeerAddress("node:000000000000001f".to_owned()));
        assert_eq!(PeerAddress::on(node, number).node_of(number), node);
        assert_eq!(PeerAddress::on(node, node), PeerAddress::default());
        for text in ["", "node-3", "node:1f", "node:00000000000000zz", "10.0.0.1:7000"] {
            assert_eq!(PeerAddress(text.to_owned()).node_of(number), number, "{text}");
        }
    }
}
