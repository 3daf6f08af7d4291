//! The way of each message from openraft's types to plain values and back, with a check of what comes.

use basalt_storage::log::LogRecord;
use openraft::raft::{
    AppendEntriesRequest, AppendEntriesResponse, TransferLeaderError, TransferLeaderRequest, TransferLeaderResponse,
    VoteRequest, VoteResponse,
};

use super::{Append, AppendAnswer, Handover, HandoverAnswer, VoteAnswer, VoteParts, VoteQuestion};
use crate::entry::{decode_entry, decode_snapshot_meta, encode_entry};
use crate::error::MessageError;
use crate::ids::EntryId;
use crate::types::{LogId, SnapshotMeta, TypeConfig, Vote, entry_id, log_id};

/// Terms and indexes are below this, so that they can be counted on.
const COUNT_END: u64 = 1 << 63;

fn check_count(what: &'static str, value: u64) -> Result<(), MessageError> {
    if value < COUNT_END { Ok(()) } else { Err(MessageError::TooLarge { what, value }) }
}

fn plain(id: Option<LogId>) -> Option<EntryId> {
    id.as_ref().map(entry_id)
}

fn checked(id: Option<EntryId>) -> Result<Option<LogId>, MessageError> {
    let Some(EntryId { term, index }) = id else { return Ok(None) };
    check_count("term", term)?;
    check_count("index", index)?;
    Ok(Some(log_id(term, index)))
}

impl VoteParts {
    pub(crate) fn of(vote: &Vote) -> VoteParts {
        let leader = vote.leader_id();
        VoteParts { term: leader.term, node: leader.voted_for, is_committed: vote.is_committed() }
    }

    pub(crate) fn vote(self) -> Result<Vote, MessageError> {
        let VoteParts { term, node, is_committed } = self;
        check_count("term", term)?;
        Ok(if is_committed { Vote::new_committed(term, node) } else { Vote::new(term, node) })
    }

    fn wrong(self, from: &'static str) -> MessageError {
        MessageError::WrongVote { node: self.node, term: self.term, from }
    }

    /// The vote of a leader.
    pub(crate) fn leader_vote(self) -> Result<Vote, MessageError> {
        if self.is_committed { self.vote() } else { Err(self.wrong("a leader")) }
    }

    /// The vote of a candidate.
    fn candidate_vote(self) -> Result<Vote, MessageError> {
        if self.is_committed { Err(self.wrong("a candidate")) } else { self.vote() }
    }
}

impl Append {
    pub(crate) fn of(request: AppendEntriesRequest<TypeConfig>) -> Append {
        Append {
            vote: VoteParts::of(&request.vote),
            previous: plain(request.prev_log_id),
            committed: plain(request.leader_commit),
            records: request.entries.iter().map(encode_entry).collect(),
        }
    }

    /// Checks the message and gives it to openraft's types.
    pub(crate) fn into_request(self) -> Result<AppendEntriesRequest<TypeConfig>, MessageError> {
        let vote = self.vote.leader_vote()?;
        let (prev_log_id, leader_commit) = (checked(self.previous)?, checked(self.committed)?);
        let mut entries = Vec::with_capacity(self.records.len());
        let mut before = self.previous;
        for record in self.records {
            before = Some(check_place(&record, before, self.vote.term)?);
            entries.push(decode_entry(record)?);
        }
        Ok(AppendEntriesRequest { vote, prev_log_id, entries, leader_commit })
    }
}

/// Checks that an entry can stand behind `before` in the log of the leader of `term`.
fn check_place(record: &LogRecord, before: Option<EntryId>, term: u64) -> Result<EntryId, MessageError> {
    let entry = EntryId { term: record.term, index: record.index };
    check_count("index", entry.index)?;
    let wrong = |problem| Err(MessageError::WrongEntry { entry, problem });
    if before.map_or(0, |before| before.index + 1) != entry.index {
        return wrong("it does not follow on the entry before it");
    }
    if before.is_some_and(|before| entry.term < before.term) {
        return wrong("its term is below that of the entry before it");
    }
    if entry.term > term {
        return wrong("its term is above that of its leader");
    }
    Ok(entry)
}

impl AppendAnswer {
    pub(crate) fn of(response: AppendEntriesResponse<TypeConfig>) -> AppendAnswer {
        match response {
            AppendEntriesResponse::Success => AppendAnswer::Success,
            AppendEntriesResponse::PartialSuccess(last) => AppendAnswer::PartialSuccess(plain(last)),
            AppendEntriesResponse::Conflict => AppendAnswer::Conflict,
            AppendEntriesResponse::HigherVote(vote) => AppendAnswer::HigherVote(VoteParts::of(&vote)),
        }
    }

    /// Checks that there can be this answer to entries behind `previous`, up to `last`, and gives it to openraft's types.
    pub(crate) fn into_response(
        self,
        previous: Option<EntryId>,
        last: Option<EntryId>,
    ) -> Result<AppendEntriesResponse<TypeConfig>, MessageError> {
        Ok(match self {
            AppendAnswer::Success => AppendEntriesResponse::Success,
            AppendAnswer::PartialSuccess(upto) if previous <= upto && upto <= last => {
                AppendEntriesResponse::PartialSuccess(checked(upto)?)
            }
            AppendAnswer::PartialSuccess(_) => {
                return Err(MessageError::WrongAnswer("an entry that was not among them"));
            }
            AppendAnswer::Conflict if previous.is_some() => AppendEntriesResponse::Conflict,
            AppendAnswer::Conflict => return Err(MessageError::WrongAnswer("a conflict before the first entry")),
            AppendAnswer::HigherVote(vote) => AppendEntriesResponse::HigherVote(vote.vote()?),
        })
    }
}

impl VoteQuestion {
    pub(crate) fn of(request: &VoteRequest<TypeConfig>) -> VoteQuestion {
        VoteQuestion {
            vote: VoteParts::of(&request.vote),
            last: plain(request.last_log_id),
            is_transfer: request.leadership_transfer,
        }
    }

    /// Checks the message and gives it to openraft's types.
    pub(crate) fn into_request(self) -> Result<VoteRequest<TypeConfig>, MessageError> {
        let mut request = VoteRequest::new(self.vote.candidate_vote()?, checked(self.last)?);
        request.leadership_transfer = self.is_transfer;
        Ok(request)
    }
}

impl VoteAnswer {
    pub(crate) fn of(response: &VoteResponse<TypeConfig>) -> VoteAnswer {
        VoteAnswer {
            vote: VoteParts::of(&response.vote),
            is_granted: response.vote_granted,
            last: plain(response.last_log_id),
        }
    }

    /// Checks the answer and gives it to openraft's types.
    pub(crate) fn into_response(self) -> Result<VoteResponse<TypeConfig>, MessageError> {
        Ok(VoteResponse::new(self.vote.vote()?, checked(self.last)?, self.is_granted))
    }
}

impl Handover {
    pub(crate) fn of(request: &TransferLeaderRequest<TypeConfig>) -> Handover {
        Handover {
            from: VoteParts::of(request.from_leader()),
            to: *request.to_node_id(),
            last: request.last_log_id().map(entry_id),
        }
    }

    /// Checks the message and gives it to openraft's types.
    pub(crate) fn into_request(self) -> Result<TransferLeaderRequest<TypeConfig>, MessageError> {
        Ok(TransferLeaderRequest::new(self.from.leader_vote()?, self.to, checked(self.last)?))
    }
}

impl HandoverAnswer {
    pub(crate) fn of(response: TransferLeaderResponse<TypeConfig>) -> HandoverAnswer {
        match response {
            Ok(()) => HandoverAnswer::Accepted,
            Err(TransferLeaderError::VoteChanged { actual, .. }) => HandoverAnswer::VoteChanged(VoteParts::of(&actual)),
            Err(TransferLeaderError::LogNotFlushed { actual, .. }) => HandoverAnswer::NotFlushed(plain(actual)),
        }
    }

    /// Checks the answer to `sent` and gives it to openraft's types.
    pub(crate) fn into_response(self, sent: &Handover) -> Result<TransferLeaderResponse<TypeConfig>, MessageError> {
        Ok(match self {
            HandoverAnswer::Accepted => Ok(()),
            HandoverAnswer::VoteChanged(actual) => {
                Err(TransferLeaderError::VoteChanged { expected: sent.from.vote()?, actual: actual.vote()? })
            }
            HandoverAnswer::NotFlushed(actual) => {
                Err(TransferLeaderError::LogNotFlushed { expected: checked(sent.last)?, actual: checked(actual)? })
            }
        })
    }
}

/// Checks what comes with a snapshot before its rows do: the vote and meta of a [`SentSnapshot`](crate::SentSnapshot). All that
/// this refuses, [`Group::receive_snapshot`](crate::Group::receive_snapshot) refuses as well, after gigabytes have come.
///
/// # Errors
/// [`MessageError`] if no leader can have sent that.
pub fn check_snapshot(vote: VoteParts, meta: &[u8]) -> Result<(), MessageError> {
    snapshot_point(vote, meta).map(drop)
}

/// Gives the vote and meta of a snapshot to openraft's types, as far as that needs no look at its rows.
pub(crate) fn snapshot_point(vote: VoteParts, meta: &[u8]) -> Result<(Vote, SnapshotMeta), MessageError> {
    let leader = vote.leader_vote()?;
    let (last, last_membership) = decode_snapshot_meta(meta)?;
    let entry = entry_id(&last);
    if entry.term > vote.term {
        return Err(MessageError::WrongEntry { entry, problem: "its term is above that of its leader" });
    }
    Ok((leader, SnapshotMeta { last_log_id: Some(last), last_membership }))
}
