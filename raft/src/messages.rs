//! The messages between a group's members, as the way between them carries them: openraft's own, which nobody else looks into.

use std::fmt;
use std::path::PathBuf;

use openraft::raft::{
    AppendEntriesRequest, AppendEntriesResponse, TransferLeaderRequest, TransferLeaderResponse, VoteRequest,
    VoteResponse,
};

use crate::types::{EntryPayload, TypeConfig};

/// Entries of a leader, or its heartbeat.
#[derive(Clone)]
pub struct Append(pub(crate) AppendEntriesRequest<TypeConfig>);

/// The answer to an [`Append`].
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct AppendAnswer(pub(crate) AppendEntriesResponse<TypeConfig>);

/// A candidate's question for a vote, or for whether there would be one.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct VoteQuestion(pub(crate) VoteRequest<TypeConfig>);

/// The answer to a [`VoteQuestion`].
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct VoteAnswer(pub(crate) VoteResponse<TypeConfig>);

/// A leader's notice that it gives the lead to another member.
#[derive(Debug, Clone)]
pub struct Handover(pub(crate) TransferLeaderRequest<TypeConfig>);

/// The answer to a [`Handover`].
#[derive(Debug, Clone)]
pub struct HandoverAnswer(pub(crate) TransferLeaderResponse<TypeConfig>);

/// A snapshot on its way to another node.
#[derive(Debug, Clone)]
pub struct SentSnapshot {
    /// The vote of the leader that sends it, encoded.
    pub vote: Vec<u8>,
    /// The id of the last entry that its rows include, encoded.
    pub log_id: Vec<u8>,
    /// The membership at that entry, encoded.
    pub membership: Vec<u8>,
    /// The rows, a checkpoint on this node. It is there until it is sent, or nobody waits for that any more.
    pub directory: PathBuf,
}

impl Append {
    /// Returns true if it brings no entries.
    pub fn is_heartbeat(&self) -> bool {
        self.0.entries.is_empty()
    }

    /// Bytes of the batches that it brings.
    pub fn batch_bytes(&self) -> usize {
        let bytes = |payload: &EntryPayload| match payload {
            EntryPayload::Normal(batch) => batch.0.len(),
            _ => 0,
        };
        self.0.entries.iter().map(|entry| bytes(&entry.payload)).sum()
    }
}

impl fmt::Debug for Append {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(formatter, "{}", self.0)
    }
}
