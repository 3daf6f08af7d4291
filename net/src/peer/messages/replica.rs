//! Replicas: the numbers that they have, and the end of those that are no members any more.

use bytes::BufMut;

use crate::peer::error::PeerError;
use crate::peer::fields::Fields;
use crate::peer::ids::NodeNumber;

/// A question on a group's replicas.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Replica {
    /// The node that asks.
    pub node: NodeNumber,
    /// The number of that node's own replica, which wants to know if it is a member; 0 where it does not.
    pub number: u64,
}

/// The answer of a node that has a replica of the group.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct ReplicaAnswer {
    /// The number of the replica that answers.
    pub number: u64,
    /// Set if it is certain that the replica which was asked about is no member, and that nobody wants it to be one: the one that
    /// answers leads, and its map does not have the asker among the group's nodes.
    pub is_out: bool,
}

impl Replica {
    pub(super) fn put(self, into: &mut Vec<u8>) {
        into.put_u64_le(self.node.0);
        into.put_u64_le(self.number);
    }

    pub(super) fn read(fields: &mut Fields<'_>) -> Result<Replica, PeerError> {
        Ok(Replica { node: NodeNumber(fields.u64()?), number: fields.u64()? })
    }
}

impl ReplicaAnswer {
    pub(super) fn put(self, into: &mut Vec<u8>) {
        into.put_u64_le(self.number);
        into.put_u8(u8::from(self.is_out));
    }

    pub(super) fn read(fields: &mut Fields<'_>) -> Result<ReplicaAnswer, PeerError> {
        Ok(ReplicaAnswer { number: fields.u64()?, is_out: fields.flag()? })
    }
}
