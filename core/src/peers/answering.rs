//! Questions of peers, each answered by its group in a task of its own.

use basalt_net::peer::{
    GroupNumber, HeartbeatAnswer, Message, NodeNumber, ReadIndexAnswer, Replica, ReplicaAnswer, Unable, UnableReason,
};
use basalt_raft::{Error, Group, NodeId};

use super::Peers;
use super::entry::{Answered, Asking};
use super::surroundings::Place;
use super::translate;

/// Begins to answer a question. Votes and heartbeats never wait for entries, so each question has its own task; how many there may
/// be is bounded where they come in, and how many entries wait by the group.
pub(super) fn begin(peers: &Peers, asking: Asking) {
    let Asking { connection, group: number, request, message } = asking;
    let place = peers.0.surroundings.place(number);
    let give = move |peers: &Peers, message: Message| {
        let group = if matches!(message, Message::HeartbeatAnswers(_)) { GroupNumber::NONE } else { number };
        peers.give(Answered { connection, group, request, message });
    };
    let unable = match place {
        Place::Here(group) => {
            if !is_meant(peers, &group, &message) {
                let text = "the replica of the group here is another member than the one that is meant";
                return give(peers, unable(UnableReason::NotHere, text));
            }
            let (peers, message) = (peers.clone(), message.without_member());
            let task = async move { give(&peers, answer(&peers, &group, number, message).await) };
            glommio::spawn_local(task).detach();
            return;
        }
        Place::Core(core) => Unable::other_core(core.0),
        Place::Opening => Unable::new(UnableReason::Opening, "the group is being opened"),
        Place::Closed => Unable::new(UnableReason::Closed, "the group is closed"),
        Place::Nowhere => Unable::new(UnableReason::NotHere, "this node does not have the group"),
    };
    give(peers, Message::Unable(unable));
}

/// Returns whether the group's replica here is the member that a message is for. Another one that the node had before may have
/// been in its place: whoever asks for that one knows of no other, and would take this one's answer for its.
fn is_meant(peers: &Peers, group: &Group, message: &Message) -> bool {
    message.recipient().is(NodeNumber(group.node().0), peers.0.surroundings.number())
}

/// The group's answer.
async fn answer(peers: &Peers, group: &Group, number: GroupNumber, message: Message) -> Message {
    let answer = match message {
        Message::AppendEntries(append) => {
            let answer = group.receive_append(translate::append_of(append)).await;
            answer.map(|answer| Message::AppendAnswer(translate::to_append_answer(answer)))
        }
        Message::Heartbeats(heartbeats) => {
            let [heartbeat] = heartbeats[..] else { return unable(UnableReason::Other, "one heartbeat at a time") };
            group.receive_append(translate::heartbeat_of(heartbeat)).await.map(|answer| {
                let answer = HeartbeatAnswer { group: number, answer: translate::to_append_answer(answer) };
                Message::HeartbeatAnswers(vec![answer])
            })
        }
        Message::Vote(question) => {
            let answer = group.receive_vote(translate::vote_question_of(question)).await;
            answer.map(|answer| Message::VoteAnswer(translate::to_vote_answer(answer)))
        }
        Message::PreVote(question) => {
            let answer = group.receive_pre_vote(translate::vote_question_of(question)).await;
            answer.map(|answer| Message::PreVoteAnswer(translate::to_vote_answer(answer)))
        }
        Message::TransferLeader(transfer) => {
            let answer = group.receive_handover(translate::handover_of(transfer)).await;
            answer.map(|answer| Message::TransferAnswer(translate::to_handover_answer(answer)))
        }
        Message::ReadIndex => match group.read_barrier().await {
            Ok(()) => Ok(Message::ReadIndexAnswer(ReadIndexAnswer::At(translate::to_id(group.applied())))),
            Err(Error::NotLeader { .. }) => {
                let leader = group.other_leader_host().filter(|_| !group.is_leader());
                let leader = leader.map(|leader| NodeNumber(leader.0));
                Ok(Message::ReadIndexAnswer(ReadIndexAnswer::NotLeader(leader)))
            }
            Err(error) => Err(error),
        },
        // Who asks for the number wants to give this node something: entries, or the lead.
        Message::Replica(Replica { number: 0, .. }) if !peers.0.surroundings.disk_is_well() => {
            return unable(UnableReason::Other, "the disk of the node has not answered well for a while");
        }
        Message::Replica(Replica { node, number: asked }) => {
            let is_asked = asked != 0 && group.is_leader();
            let is_out = is_asked && matches!(group.has_member(NodeId(asked)).await, Ok(false));
            // Looked at last: whoever adds it again has a map that wants it.
            let is_out = is_out && !peers.0.surroundings.may_have_place(number, node);
            Ok(Message::ReplicaAnswer(ReplicaAnswer { number: group.node().0, is_out }))
        }
        // After the barrier: a leader that others have left knows of no quorum.
        Message::GoesOn(without) => match group.read_barrier().await {
            Ok(()) => {
                let goes_on = group.is_leader() && peers.0.surroundings.goes_on_without(group, without);
                Ok(Message::GoesOnAnswer(goes_on))
            }
            Err(Error::NotLeader { .. }) => Ok(Message::GoesOnAnswer(false)),
            Err(error) => Err(error),
        },
        message => return unable(UnableReason::Other, &format!("no group answers a {}", message.kind())),
    };
    answer.unwrap_or_else(|error| {
        let reason = match error {
            Error::Behind => UnableReason::Overloaded,
            Error::Fatal(_) => UnableReason::Closed,
            _ => UnableReason::Other,
        };
        unable(reason, &error.to_string())
    })
}

fn unable(reason: UnableReason, text: &str) -> Message {
    Message::Unable(Unable::new(reason, text))
}
