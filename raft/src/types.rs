//! The vocabulary shared with openraft: which types stand for nodes, entries, votes and replies.
//!
//! [`TypeConfig`] uses standard Raft leader ids (one leader per term), so a log id is a term and an index and an entry's
//! log id fits in [`basalt_storage::log::LogRecord`] without a leader's node id beside it.

use openraft::OptionalSend;
use openraft::alias::{
    CommittedLeaderIdOf, EntryOf, EntryPayloadOf, LogIdOf, SnapshotMetaOf, StoredMembershipOf, VoteOf,
};
use openraft::impls::leader_id_std;
use openraft::vote::RaftLeaderId;

use crate::batch::Batch;
use crate::ids::{EntryId, NodeId, PeerAddress, Replies};
use crate::outcomes::OutcomeResponder;
use crate::runtime::GlommioRuntime;

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

pub(crate) type Entry = EntryOf<TypeConfig>;
pub(crate) type EntryPayload = EntryPayloadOf<TypeConfig>;
pub(crate) type EntryResponder = openraft::storage::EntryResponder<TypeConfig>;
pub(crate) type IoFlushed = openraft::storage::IOFlushed<TypeConfig>;
pub(crate) type LogId = LogIdOf<TypeConfig>;
pub(crate) type LogState = openraft::storage::LogState<TypeConfig>;
pub(crate) type Membership = openraft::Membership<NodeId, PeerAddress>;
pub(crate) type ServerMetrics = openraft::metrics::RaftServerMetrics<TypeConfig>;
pub(crate) type SnapshotMeta = SnapshotMetaOf<TypeConfig>;
pub(crate) type StoredMembership = StoredMembershipOf<TypeConfig>;
pub(crate) type Vote = VoteOf<TypeConfig>;
pub(crate) type VoteResponse = openraft::raft::VoteResponse<TypeConfig>;

/// The log id of term and index.
pub(crate) fn log_id(term: u64, index: u64) -> LogId {
    LogId::new(CommittedLeaderIdOf::<TypeConfig>::new(term), index)
}

/// An openraft log id as term and index.
pub(crate) fn entry_id(log_id: &LogId) -> EntryId {
    EntryId { term: **log_id.committed_leader_id(), index: log_id.index() }
}
