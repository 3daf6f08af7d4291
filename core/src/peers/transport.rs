//! The way of a group's questions to its other members.

use basalt_net::peer::{GroupNumber, Kind, Lane, Message, NodeNumber};
use basalt_raft::{
    Answering, Append, AppendAnswer, Handover, HandoverAnswer, Peer, SentSnapshot, Transport, Unreached, VoteAnswer,
    VoteParts, VoteQuestion,
};

use super::Peers;
use super::translate;

/// The way of one group.
pub(super) struct GroupTransport {
    peers: Peers,
    group: GroupNumber,
}

impl GroupTransport {
    pub(super) fn new(peers: Peers, group: GroupNumber) -> GroupTransport {
        GroupTransport { peers, group }
    }

    /// Asks `to`, and no other member that its node may have now. Takes of the answer what `read` finds in it: a link lets only
    /// answers of the right kind through.
    fn ask<T: 'static>(
        &self,
        to: &Peer,
        lane: Lane,
        message: Message,
        expects: Kind,
        read: impl Fn(Message) -> Option<T> + 'static,
    ) -> Answering<T> {
        let node = NodeNumber(to.host().0);
        let message = if to.host() == to.node { message } else { message.for_member(NodeNumber(to.node.0)) };
        let asking = self.peers.clone().ask((node, self.group, lane), message, expects);
        Box::pin(async move {
            read(asking.await?).ok_or_else(|| Unreached::Lost(format!("node {node} answers something else")))
        })
    }
}

impl Transport for GroupTransport {
    fn append(&self, to: &Peer, message: Append) -> Answering<AppendAnswer> {
        let group = self.group;
        if message.is_heartbeat() {
            // By the other lane: it never stands behind a large entry.
            let message = Message::Heartbeats(vec![translate::to_heartbeat(group, &message)]);
            return self.ask(to, Lane::Votes, message, Kind::HeartbeatAnswers, move |answer| {
                let Message::HeartbeatAnswers(answers) = answer else { return None };
                let answer = answers.into_iter().find(|answer| answer.group == group)?;
                Some(translate::append_answer_of(answer.answer))
            });
        }
        let message = Message::AppendEntries(translate::to_append(message));
        self.ask(to, Lane::Entries, message, Kind::AppendAnswer, |answer| {
            let Message::AppendAnswer(answer) = answer else { return None };
            Some(translate::append_answer_of(answer))
        })
    }

    fn vote(&self, to: &Peer, question: VoteQuestion) -> Answering<VoteAnswer> {
        let message = Message::Vote(translate::to_vote_question(question));
        self.ask(to, Lane::Votes, message, Kind::VoteAnswer, |answer| {
            let Message::VoteAnswer(answer) = answer else { return None };
            Some(translate::vote_answer_of(answer))
        })
    }

    fn pre_vote(&self, to: &Peer, question: VoteQuestion) -> Answering<VoteAnswer> {
        let message = Message::PreVote(translate::to_vote_question(question));
        self.ask(to, Lane::Votes, message, Kind::PreVoteAnswer, |answer| {
            let Message::PreVoteAnswer(answer) = answer else { return None };
            Some(translate::vote_answer_of(answer))
        })
    }

    fn hand_over(&self, to: &Peer, message: Handover) -> Answering<HandoverAnswer> {
        let message = Message::TransferLeader(translate::to_handover(message));
        self.ask(to, Lane::Votes, message, Kind::TransferAnswer, |answer| {
            let Message::TransferAnswer(answer) = answer else { return None };
            Some(translate::handover_answer_of(answer))
        })
    }

    fn snapshot(&self, to: &Peer, snapshot: SentSnapshot) -> Answering<VoteParts> {
        (self.peers.0.hooks.send_snapshot)(to, self.group, snapshot)
    }
}
