//! Messages, and their layouts in a payload; `PEER.md` draws them.
//!
//! Nothing here copies an entry or a piece of a snapshot: they are slices of the payload that came, and are handed over as they are
//! to what is sent.

mod append;
mod elections;
mod heartbeats;
mod published;
mod read_index;
mod reasons;
mod recipient;
mod replica;
mod snapshots;

use bytes::{BufMut, Bytes};

use super::error::PeerError;
use super::fields::Fields;
use super::frame::Payload;
use super::ids::{NodeNumber, Vote};
use super::kind::Kind;
use super::push_error::PushError;

pub use append::{AppendAnswer, AppendEntries, Record};
pub use elections::{TransferAnswer, TransferLeader, VoteAnswer, VoteRequest};
pub use heartbeats::{Heartbeat, HeartbeatAnswer};
pub use published::PublishedMessage;
pub use read_index::ReadIndexAnswer;
pub use reasons::{Refusal, RefusalReason, Unable, UnableReason};
pub use recipient::Recipient;
pub use replica::{Replica, ReplicaAnswer};
pub use snapshots::{SnapshotBegin, SnapshotFile, SnapshotPiece, SnapshotPosition};

/// A message between nodes that have greeted each other.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub enum Message {
    /// The sender ends the connection.
    Refusal(Refusal),
    /// The request with this number gets no other answer, or the snapshot is not wanted.
    Unable(Unable),
    /// Log entries of a leader.
    AppendEntries(AppendEntries),
    /// The same for the member with this number.
    AppendEntriesTo(NodeNumber, AppendEntries),
    /// The answer to them.
    AppendAnswer(AppendAnswer),
    /// A candidate asks for a vote.
    Vote(VoteRequest),
    /// The same of the member with this number.
    VoteTo(NodeNumber, VoteRequest),
    /// The answer to it.
    VoteAnswer(VoteAnswer),
    /// A node asks whether it would get a vote. Changes nothing.
    PreVote(VoteRequest),
    /// The same of the member with this number.
    PreVoteTo(NodeNumber, VoteRequest),
    /// The answer to it.
    PreVoteAnswer(VoteAnswer),
    /// A leader asks a follower to take over.
    TransferLeader(TransferLeader),
    /// The answer to it.
    TransferAnswer(TransferAnswer),
    /// Heartbeats of the groups that two cores share, [`Heartbeat::COUNT_MAX`] at most.
    Heartbeats(Vec<Heartbeat>),
    /// The same, each for the member with its number.
    HeartbeatsTo(Vec<(NodeNumber, Heartbeat)>),
    /// Answers to some heartbeats of the message with the same number; the others follow in messages of their own.
    HeartbeatAnswers(Vec<HeartbeatAnswer>),
    /// A follower asks its leader up to where it has to apply before it reads.
    ReadIndex,
    /// The answer to it.
    ReadIndexAnswer(ReadIndexAnswer),
    /// A node asks for the number of a replica, and if its own one is a member.
    Replica(Replica),
    /// The answer to it.
    ReplicaAnswer(ReplicaAnswer),
    /// A node asks who leads the group if it goes on without the node with this number.
    GoesOn(NodeNumber),
    /// The answer to it: true if the one that answers leads, as a quorum has just said, and of the voters so many others answer it,
    /// and not that node, that it is not needed.
    GoesOnAnswer(bool),
    /// A snapshot's description. All messages of one snapshot have the number of this one.
    SnapshotBegin(SnapshotBegin),
    /// The same for the member with this number.
    SnapshotBeginTo(NodeNumber, SnapshotBegin),
    /// The receiver wants the bytes from here on: after [`SnapshotBegin`], and when it finds that a file is damaged.
    SnapshotResume(SnapshotPosition),
    /// Bytes of a file.
    SnapshotPiece(SnapshotPiece),
    /// All before this position is written.
    SnapshotAck(SnapshotPosition),
    /// All has been sent.
    SnapshotEnd,
    /// The receiver's vote: it has installed the snapshot, unless its vote is higher than the sender's.
    SnapshotAnswer(Vote),
    /// Messages that clients of a node have published, for the subscribers of another, [`PublishedMessage::COUNT_MAX`] at most.
    Publish(Vec<PublishedMessage>),
    /// The answer to it: true once the subscribers are given all of them, false if none is taken since too many wait.
    PublishAnswer(bool),
}

/// A message as it goes into frames.
#[derive(Debug)]
pub(super) struct Encoded {
    pub(super) kind: Kind,
    /// The payload's beginning.
    pub(super) head: Vec<u8>,
    /// The rest of it, not copied.
    pub(super) bodies: Vec<Bytes>,
}

impl Encoded {
    fn new(kind: Kind, head: Vec<u8>) -> Encoded {
        Encoded { kind, head, bodies: Vec::new() }
    }
}

impl Message {
    /// The kind of its frames.
    pub fn kind(&self) -> Kind {
        match self {
            Message::Refusal(_) => Kind::Refusal,
            Message::Unable(_) => Kind::Unable,
            Message::AppendEntries(_) => Kind::AppendEntries,
            Message::AppendEntriesTo(..) => Kind::AppendEntriesTo,
            Message::AppendAnswer(_) => Kind::AppendAnswer,
            Message::Vote(_) => Kind::Vote,
            Message::VoteTo(..) => Kind::VoteTo,
            Message::VoteAnswer(_) => Kind::VoteAnswer,
            Message::PreVote(_) => Kind::PreVote,
            Message::PreVoteTo(..) => Kind::PreVoteTo,
            Message::PreVoteAnswer(_) => Kind::PreVoteAnswer,
            Message::TransferLeader(_) => Kind::TransferLeader,
            Message::TransferAnswer(_) => Kind::TransferAnswer,
            Message::Heartbeats(_) => Kind::Heartbeats,
            Message::HeartbeatsTo(_) => Kind::HeartbeatsTo,
            Message::HeartbeatAnswers(_) => Kind::HeartbeatAnswers,
            Message::ReadIndex => Kind::ReadIndex,
            Message::ReadIndexAnswer(_) => Kind::ReadIndexAnswer,
            Message::Replica(_) => Kind::Replica,
            Message::ReplicaAnswer(_) => Kind::ReplicaAnswer,
            Message::GoesOn(_) => Kind::GoesOn,
            Message::GoesOnAnswer(_) => Kind::GoesOnAnswer,
            Message::SnapshotBegin(_) => Kind::SnapshotBegin,
            Message::SnapshotBeginTo(..) => Kind::SnapshotBeginTo,
            Message::SnapshotResume(_) => Kind::SnapshotResume,
            Message::SnapshotPiece(_) => Kind::SnapshotPiece,
            Message::SnapshotAck(_) => Kind::SnapshotAck,
            Message::SnapshotEnd => Kind::SnapshotEnd,
            Message::SnapshotAnswer(_) => Kind::SnapshotAnswer,
            Message::Publish(_) => Kind::Publish,
            Message::PublishAnswer(_) => Kind::PublishAnswer,
        }
    }

    /// Lays the message out, and checks what every receiver would refuse.
    pub(super) fn encode(self) -> Result<Encoded, PushError> {
        let (kind, mut head) = (self.kind(), Vec::new());
        match self {
            Message::Refusal(refusal) => refusal.put(&mut head),
            Message::Unable(unable) => unable.put(&mut head),
            Message::AppendEntries(append) => return append.encode(kind, head),
            Message::AppendEntriesTo(to, append) => {
                head.put_u64_le(to.0);
                return append.encode(kind, head);
            }
            Message::AppendAnswer(answer) => answer.put(&mut head),
            Message::Vote(request) | Message::PreVote(request) => request.put(&mut head),
            Message::VoteTo(to, request) | Message::PreVoteTo(to, request) => {
                head.put_u64_le(to.0);
                request.put(&mut head);
            }
            Message::VoteAnswer(answer) | Message::PreVoteAnswer(answer) => answer.put(&mut head),
            Message::TransferLeader(transfer) => transfer.put(&mut head),
            Message::TransferAnswer(answer) => answer.put(&mut head),
            Message::Heartbeats(heartbeats) => heartbeats::put_heartbeats(&heartbeats, &mut head)?,
            Message::HeartbeatsTo(heartbeats) => heartbeats::put_heartbeats_to(&heartbeats, &mut head)?,
            Message::HeartbeatAnswers(answers) => heartbeats::put_answers(&answers, &mut head)?,
            Message::ReadIndex | Message::SnapshotEnd => {}
            Message::ReadIndexAnswer(answer) => answer.put(&mut head),
            Message::Replica(question) => question.put(&mut head),
            Message::ReplicaAnswer(answer) => answer.put(&mut head),
            Message::GoesOn(without) => head.put_u64_le(without.0),
            Message::GoesOnAnswer(goes_on) => head.put_u8(u8::from(goes_on)),
            Message::SnapshotBegin(begin) => begin.put(&mut head)?,
            Message::SnapshotBeginTo(to, begin) => {
                head.put_u64_le(to.0);
                begin.put(&mut head)?;
            }
            Message::SnapshotResume(position) | Message::SnapshotAck(position) => position.put(&mut head),
            Message::SnapshotPiece(piece) => return piece.encode(),
            Message::SnapshotAnswer(vote) => vote.put(&mut head),
            Message::Publish(messages) => return published::encode(messages),
            Message::PublishAnswer(are_taken) => head.put_u8(u8::from(are_taken)),
        }
        Ok(Encoded::new(kind, head))
    }

    /// Reads the payload of a frame of `kind`.
    pub(super) fn decode(kind: Kind, payload: Payload<'_>) -> Result<Message, PeerError> {
        // These are kept in part: they get the payload itself.
        match kind {
            Kind::AppendEntries => {
                return AppendEntries::decode(kind, payload.into_bytes()).map(Message::AppendEntries);
            }
            Kind::AppendEntriesTo => {
                let (to, append) = AppendEntries::decode_to(payload.into_bytes())?;
                return Ok(Message::AppendEntriesTo(to, append));
            }
            Kind::SnapshotPiece => return SnapshotPiece::decode(payload.into_bytes()).map(Message::SnapshotPiece),
            Kind::Publish => return published::decode(payload.into_bytes()).map(Message::Publish),
            _ => {}
        }
        let fields = &mut Fields::new(kind, payload.as_slice());
        let message = match kind {
            Kind::Refusal => return Refusal::read(fields).map(Message::Refusal),
            Kind::Unable => Message::Unable(Unable::read(fields)?),
            Kind::AppendAnswer => Message::AppendAnswer(AppendAnswer::read(fields)?),
            Kind::Vote => Message::Vote(VoteRequest::read(fields)?),
            Kind::VoteTo => Message::VoteTo(NodeNumber(fields.u64()?), VoteRequest::read(fields)?),
            Kind::VoteAnswer => Message::VoteAnswer(VoteAnswer::read(fields)?),
            Kind::PreVote => Message::PreVote(VoteRequest::read(fields)?),
            Kind::PreVoteTo => Message::PreVoteTo(NodeNumber(fields.u64()?), VoteRequest::read(fields)?),
            Kind::PreVoteAnswer => Message::PreVoteAnswer(VoteAnswer::read(fields)?),
            Kind::TransferLeader => Message::TransferLeader(TransferLeader::read(fields)?),
            Kind::TransferAnswer => Message::TransferAnswer(TransferAnswer::read(fields)?),
            Kind::Heartbeats => Message::Heartbeats(heartbeats::read_heartbeats(fields)?),
            Kind::HeartbeatsTo => Message::HeartbeatsTo(heartbeats::read_heartbeats_to(fields)?),
            Kind::HeartbeatAnswers => Message::HeartbeatAnswers(heartbeats::read_answers(fields)?),
            Kind::ReadIndex => Message::ReadIndex,
            Kind::ReadIndexAnswer => Message::ReadIndexAnswer(ReadIndexAnswer::read(fields)?),
            Kind::Replica => Message::Replica(Replica::read(fields)?),
            Kind::ReplicaAnswer => Message::ReplicaAnswer(ReplicaAnswer::read(fields)?),
            Kind::GoesOn => Message::GoesOn(NodeNumber(fields.u64()?)),
            Kind::GoesOnAnswer => Message::GoesOnAnswer(fields.flag()?),
            Kind::SnapshotBegin => Message::SnapshotBegin(SnapshotBegin::read(fields)?),
            Kind::SnapshotBeginTo => Message::SnapshotBeginTo(NodeNumber(fields.u64()?), SnapshotBegin::read(fields)?),
            Kind::SnapshotResume => Message::SnapshotResume(SnapshotPosition::read(fields)?),
            Kind::SnapshotAck => Message::SnapshotAck(SnapshotPosition::read(fields)?),
            Kind::SnapshotEnd => Message::SnapshotEnd,
            Kind::SnapshotAnswer => Message::SnapshotAnswer(fields.vote()?),
            Kind::PublishAnswer => Message::PublishAnswer(fields.flag()?),
            Kind::Greeting
            | Kind::Proof
            | Kind::AppendEntries
            | Kind::AppendEntriesTo
            | Kind::SnapshotPiece
            | Kind::Publish => {
                return Err(fields.malformed("it is no message by itself"));
            }
        };
        fields.end()?;
        Ok(message)
    }
}

#[cfg(test)]
mod layout_tests;
#[cfg(test)]
mod payload_tests;
