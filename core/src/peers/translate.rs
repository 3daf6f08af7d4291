//! Raft's messages as those of the protocol between nodes, and back: the same parts under other names.

use basalt_net::peer;
use basalt_raft::{
    Append, AppendAnswer, EntryId, Handover, HandoverAnswer, NodeId, VoteAnswer, VoteParts, VoteQuestion,
};
use basalt_storage::log::LogRecord;

pub(crate) fn to_vote(vote: VoteParts) -> peer::Vote {
    peer::Vote { term: vote.term, node: peer::NodeNumber(vote.node.0), is_committed: vote.is_committed }
}

pub(crate) fn vote_of(vote: peer::Vote) -> VoteParts {
    VoteParts { term: vote.term, node: NodeId(vote.node.0), is_committed: vote.is_committed }
}

pub(super) fn to_id(id: Option<EntryId>) -> Option<peer::LogId> {
    id.map(|EntryId { term, index }| peer::LogId { term, index })
}

fn id_of(id: Option<peer::LogId>) -> Option<EntryId> {
    id.map(|peer::LogId { term, index }| EntryId { term, index })
}

pub(super) fn to_append(append: Append) -> peer::AppendEntries {
    let record = |LogRecord { index, term, body }| peer::Record { index, term, body };
    peer::AppendEntries {
        vote: to_vote(append.vote),
        previous: to_id(append.previous),
        committed: to_id(append.committed),
        entries: append.records.into_iter().map(record).collect(),
    }
}

pub(super) fn append_of(append: peer::AppendEntries) -> Append {
    let record = |peer::Record { index, term, body }| LogRecord { index, term, body };
    Append {
        vote: vote_of(append.vote),
        previous: id_of(append.previous),
        committed: id_of(append.committed),
        records: append.entries.into_iter().map(record).collect(),
    }
}

/// The heartbeat of a group; `append` brings no entries.
pub(super) fn to_heartbeat(group: peer::GroupNumber, append: &Append) -> peer::Heartbeat {
    peer::Heartbeat {
        group,
        vote: to_vote(append.vote),
        matching: to_id(append.previous),
        committed: to_id(append.committed),
    }
}

pub(super) fn heartbeat_of(heartbeat: peer::Heartbeat) -> Append {
    Append {
        vote: vote_of(heartbeat.vote),
        previous: id_of(heartbeat.matching),
        committed: id_of(heartbeat.committed),
        records: Vec::new(),
    }
}

pub(super) fn to_append_answer(answer: AppendAnswer) -> peer::AppendAnswer {
    match answer {
        AppendAnswer::Success => peer::AppendAnswer::Success,
        AppendAnswer::PartialSuccess(last) => peer::AppendAnswer::PartialSuccess(to_id(last)),
        AppendAnswer::Conflict => peer::AppendAnswer::Conflict,
        AppendAnswer::HigherVote(vote) => peer::AppendAnswer::HigherVote(to_vote(vote)),
    }
}

pub(super) fn append_answer_of(answer: peer::AppendAnswer) -> AppendAnswer {
    match answer {
        peer::AppendAnswer::Success => AppendAnswer::Success,
        peer::AppendAnswer::PartialSuccess(last) => AppendAnswer::PartialSuccess(id_of(last)),
        peer::AppendAnswer::Conflict => AppendAnswer::Conflict,
        peer::AppendAnswer::HigherVote(vote) => AppendAnswer::HigherVote(vote_of(vote)),
    }
}

pub(super) fn to_vote_question(question: VoteQuestion) -> peer::VoteRequest {
    let VoteQuestion { vote, last, is_transfer } = question;
    peer::VoteRequest { vote: to_vote(vote), last: to_id(last), is_transfer }
}

pub(super) fn vote_question_of(question: peer::VoteRequest) -> VoteQuestion {
    let peer::VoteRequest { vote, last, is_transfer } = question;
    VoteQuestion { vote: vote_of(vote), last: id_of(last), is_transfer }
}

pub(super) fn to_vote_answer(answer: VoteAnswer) -> peer::VoteAnswer {
    let VoteAnswer { vote, is_granted, last } = answer;
    peer::VoteAnswer { vote: to_vote(vote), is_granted, last: to_id(last) }
}

pub(super) fn vote_answer_of(answer: peer::VoteAnswer) -> VoteAnswer {
    let peer::VoteAnswer { vote, is_granted, last } = answer;
    VoteAnswer { vote: vote_of(vote), is_granted, last: id_of(last) }
}

pub(super) fn to_handover(handover: Handover) -> peer::TransferLeader {
    let Handover { from, to, last } = handover;
    peer::TransferLeader { from: to_vote(from), to: peer::NodeNumber(to.0), last: to_id(last) }
}

pub(super) fn handover_of(transfer: peer::TransferLeader) -> Handover {
    let peer::TransferLeader { from, to, last } = transfer;
    Handover { from: vote_of(from), to: NodeId(to.0), last: id_of(last) }
}

pub(super) fn to_handover_answer(answer: HandoverAnswer) -> peer::TransferAnswer {
    match answer {
        HandoverAnswer::Accepted => peer::TransferAnswer::Accepted,
        HandoverAnswer::VoteChanged(vote) => peer::TransferAnswer::VoteChanged(to_vote(vote)),
        HandoverAnswer::NotFlushed(last) => peer::TransferAnswer::NotFlushed(to_id(last)),
    }
}

pub(super) fn handover_answer_of(answer: peer::TransferAnswer) -> HandoverAnswer {
    match answer {
        peer::TransferAnswer::Accepted => HandoverAnswer::Accepted,
        peer::TransferAnswer::VoteChanged(vote) => HandoverAnswer::VoteChanged(vote_of(vote)),
        peer::TransferAnswer::NotFlushed(last) => HandoverAnswer::NotFlushed(id_of(last)),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const VOTE: VoteParts = VoteParts { term: 7, node: NodeId(3), is_committed: true };
    const ID: Option<EntryId> = Some(EntryId { term: 5, index: 9 });

    #[test]
    fn each_message_comes_back_as_it_was() {
        for answer in [
            AppendAnswer::Success,
            AppendAnswer::PartialSuccess(ID),
            AppendAnswer::PartialSuccess(None),
            AppendAnswer::Conflict,
            AppendAnswer::HigherVote(VOTE),
        ] {
            assert_eq!(append_answer_of(to_append_answer(answer)), answer);
        }
        for answer in [HandoverAnswer::Accepted, HandoverAnswer::VoteChanged(VOTE), HandoverAnswer::NotFlushed(ID)] {
            assert_eq!(handover_answer_of(to_handover_answer(answer)), answer);
        }
        let question = VoteQuestion { vote: VOTE, last: ID, is_transfer: true };
        assert_eq!(vote_question_of(to_vote_question(question)), question);
        let answer = VoteAnswer { vote: VOTE, is_granted: true, last: ID };
        assert_eq!(vote_answer_of(to_vote_answer(answer)), answer);
        let handover = Handover { from: VOTE, to: NodeId(8), last: ID };
        assert_eq!(handover_of(to_handover(handover)), handover);
        let record = |index| LogRecord { index, term: 6, body: vec![index as u8; 4].into() };
        let other = Some(EntryId { term: 4, index: 2 });
        let append = Append { vote: VOTE, previous: ID, committed: other, records: vec![record(10), record(11)] };
        assert_eq!(append_of(to_append(append.clone())), append);
        let heartbeat = Append { records: Vec::new(), ..append };
        let group = peer::GroupNumber(4);
        assert_eq!(to_heartbeat(group, &heartbeat).group, group);
        assert_eq!(heartbeat_of(to_heartbeat(group, &heartbeat)), heartbeat);
    }
}
