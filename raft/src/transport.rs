//! The way to a group's other members: the seam to the connections between nodes.
//!
//! A group gets its way from outside. A node alone has none, and says so: each call is answered with the peer's name, and no vote
//! is ever made up. Who receives a message hands it to the group: [`Group::receive_append`](crate::Group::receive_append) and its
//! like.

use std::future::{Future, ready};
use std::pin::Pin;

use crate::ids::{NodeId, PeerAddress};
use crate::messages::{
    Append, AppendAnswer, Handover, HandoverAnswer, SentSnapshot, VoteAnswer, VoteParts, VoteQuestion,
};

/// An answer on its way.
pub type Answering<T> = Pin<Box<dyn Future<Output = Result<T, Unreached>>>>;

/// The reason that there is no answer. Whether the peer has the message is not known.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum Unreached {
    /// There is no way to the peer now, or it takes nothing now ([`Error::Behind`](crate::Error::Behind)): it is asked less and
    /// less often.
    #[error("{0}")]
    Unreachable(String),
    /// The message or its answer was lost. It is sent again at once.
    #[error("{0}")]
    Lost(String),
}

/// Sends a group's messages to its other members. An answer that is dropped is one that nobody waits for any more; the group drops
/// those that come too late, and so no call need know of a deadline. Of a snapshot the sender alone knows if it gets
/// on, and notes that: see [`SentSnapshot::life`].
///
/// Messages may be lost, doubled, late and in another order than they were sent. They must not be changed, and must come from whom
/// they say.
pub trait Transport {
    /// Sends entries, or a heartbeat.
    fn append(&self, to: &Peer, message: Append) -> Answering<AppendAnswer>;

    /// Asks for a vote.
    fn vote(&self, to: &Peer, question: VoteQuestion) -> Answering<VoteAnswer>;

    /// Asks whether there would be a vote.
    fn pre_vote(&self, to: &Peer, question: VoteQuestion) -> Answering<VoteAnswer>;

    /// Says that another member is to lead.
    fn hand_over(&self, to: &Peer, message: Handover) -> Answering<HandoverAnswer>;

    /// Sends a snapshot, and returns the vote of who took it.
    fn snapshot(&self, to: &Peer, snapshot: SentSnapshot) -> Answering<VoteParts>;
}

/// A member of the group on another node.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Peer {
    /// The number of the member.
    pub node: NodeId,
    /// Its place, as the membership has it.
    pub address: PeerAddress,
}

impl Peer {
    /// The node that has it.
    pub fn host(&self) -> NodeId {
        self.address.node_of(self.node)
    }
}

/// The way of a node without peers.
#[derive(Debug)]
pub(crate) struct NoPeers;

impl NoPeers {
    fn refuse<T: 'static>(to: &Peer) -> Answering<T> {
        let text = format!("node {} at {}: this node has no connection to its peers", to.node, to.address);
        Box::pin(ready(Err(Unreached::Unreachable(text))))
    }
}

impl Transport for NoPeers {
    fn append(&self, to: &Peer, _: Append) -> Answering<AppendAnswer> {
        Self::refuse(to)
    }

    fn vote(&self, to: &Peer, _: VoteQuestion) -> Answering<VoteAnswer> {
        Self::refuse(to)
    }

    fn pre_vote(&self, to: &Peer, _: VoteQuestion) -> Answering<VoteAnswer> {
        Self::refuse(to)
    }

    fn hand_over(&self, to: &Peer, _: Handover) -> Answering<HandoverAnswer> {
        Self::refuse(to)
    }

    fn snapshot(&self, to: &Peer, _: SentSnapshot) -> Answering<VoteParts> {
        Self::refuse(to)
    }
}
