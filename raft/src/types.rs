//! The vocabulary shared with openraft: which types stand for nodes, entries, votes and replies.
//!
//! [`TypeConfig`] uses standard Raft leader ids (one leader per term), so a log id is a term and an index and an entry's
//! log id fits in [`basalt_storage::log::LogRecord`] without a leader's node id beside it.

use std::fmt;

use bytes::Bytes;
use openraft::OptionalSend;
use openraft::alias::{
    CommittedLeaderIdOf, EntryOf, EntryPayloadOf, LogIdOf, SnapshotMetaOf, SnapshotOf, StoredMembershipOf, VoteOf,
};
use openraft::impls::leader_id_std;
use openraft::vote::RaftLeaderId;

use crate::outcomes::OutcomeResponder;
use crate::runtime::GlommioRuntime;
use crate::snapshot::SnapshotData;
use crate::state_machine::StateMachine;

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

/// Where a node's peers reach it, as `host:port`.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct PeerAddress(pub String);

impl fmt::Display for PeerAddress {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(formatter)
    }
}

/// Where an entry stands in the log: the leader's term and the index.
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

/// What applying one batch answered: the replies of its commands, one after the other.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Replies {
    /// All replies, encoded for the clients.
    pub bytes: Vec<u8>,
    /// Where each reply ends in `bytes`, in the order of the batch's commands.
    pub ends: Vec<usize>,
}

/// The batch of commands in one entry, opaque here.
#[derive(Clone, PartialEq, Eq)]
pub struct Batch(pub(crate) Bytes);

impl fmt::Debug for Batch {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(formatter, "batch of {} bytes", self.0.len())
    }
}

impl fmt::Display for Batch {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Debug::fmt(self, formatter)
    }
}

/// The types openraft is instantiated with.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, PartialOrd, Ord)]
pub struct TypeConfig;

impl openraft::RaftTypeConfig for TypeConfig {
    type D = Batch;
    type R = Replies;
    type NodeId = NodeId;
    type Node = PeerAddress;
    type Term = u64;
    type LeaderId = leader_id_std::LeaderId<u64, NodeId>;
    type Vote = openraft::Vote<Self::LeaderId>;
    type Payload = openraft::EntryPayload<Batch, NodeId, PeerAddress>;
    type Entry = openraft::Entry<<Self::LeaderId as RaftLeaderId>::Committed, Self::Payload>;
    type AsyncRuntime = GlommioRuntime;
    type Responder<T>
        = OutcomeResponder<T>
    where
        T: OptionalSend + 'static;
    type Batch<T>
        = openraft::impls::InlineBatch<T>
    where
        T: OptionalSend + 'static;
    type ErrorSource = openraft::AnyError;
}

pub(crate) type Raft = openraft::Raft<TypeConfig, StateMachine>;
pub(crate) type Entry = EntryOf<TypeConfig>;
pub(crate) type EntryPayload = EntryPayloadOf<TypeConfig>;
pub(crate) type EntryResponder = openraft::storage::EntryResponder<TypeConfig>;
pub(crate) type IoFlushed = openraft::storage::IOFlushed<TypeConfig>;
pub(crate) type LogId = LogIdOf<TypeConfig>;
pub(crate) type LogState = openraft::storage::LogState<TypeConfig>;
pub(crate) type Membership = openraft::Membership<NodeId, PeerAddress>;
pub(crate) type Snapshot = SnapshotOf<TypeConfig, SnapshotData>;
pub(crate) type SnapshotMeta = SnapshotMetaOf<TypeConfig>;
pub(crate) type StoredMembership = StoredMembershipOf<TypeConfig>;
pub(crate) type Vote = VoteOf<TypeConfig>;

/// The log id of term and index.
pub(crate) fn log_id(term: u64, index: u64) -> LogId {
    LogId::new(CommittedLeaderIdOf::<TypeConfig>::new(term), index)
}

/// An openraft log id as term and index.
pub(crate) fn entry_id(log_id: &LogId) -> EntryId {
    EntryId { term: **log_id.committed_leader_id(), index: log_id.index() }
}
