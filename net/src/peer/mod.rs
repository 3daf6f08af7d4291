//! The protocol between nodes, as bytes: frames, messages and the greeting, without sockets and without Raft.
//!
//! `net/PEER.md` draws every byte. A connection is made in three steps:
//!
//! 1. [`Greeter`] greets: each side tells who it is and whom it wants, and proves that it knows the cluster's secret. It ends in a
//!    [`Session`], or in a refusal by name.
//! 2. [`Decoder`] takes what is received and gives [`Frame`]s, each of which is a [`Message`] as a whole: pieces are joined in it.
//! 3. [`Outbox`] takes messages and gives frames, as many bytes as the connection can take.
//!
//! [`Link`] is all three for one connection.
//!
//! All memory is bounded, by what this node named in its greeting and by the queue's own bound. Every error is a [`PeerError`],
//! ends the connection and is counted by its name ([`ErrorCounts`]). Time is the caller's: a greeting that takes too long, a peer
//! that is silent, an answer that does not come.
//!
//! What a newcomer would get wrong: a connection is not encrypted, and the proof is of its beginning alone. It keeps nodes of other
//! clusters and strangers out; against somebody who can change packets on the way there has to be a tunnel.

mod bounds;
mod decoder;
mod error;
mod fields;
mod frame;
mod greeting;
mod ids;
mod kind;
mod link;
mod messages;
mod outbox;
mod push_error;

pub use bounds::Bounds;
pub use decoder::Decoder;
pub use error::{ErrorCounts, PeerError};
pub use frame::Frame;
pub use greeting::{Acquaintance, Greeter, Nonce, Own, Route, Secret, Session, Versions, Wanted};
pub use ids::{GroupNumber, LogId, NodeNumber, RequestId, Vote};
pub use kind::{Kind, Lane};
pub use link::{Heard, Link};
pub use messages::{
    AppendAnswer, AppendEntries, Heartbeat, HeartbeatAnswer, Message, PublishedMessage, ReadIndexAnswer, Recipient,
    Record, Refusal, RefusalReason, Replica, ReplicaAnswer, SnapshotBegin, SnapshotFile, SnapshotPiece,
    SnapshotPosition, TransferAnswer, TransferLeader, Unable, UnableReason, VoteAnswer, VoteRequest,
};
pub use outbox::Outbox;
pub use push_error::PushError;

#[cfg(test)]
mod samples;
#[cfg(test)]
mod stream_tests;
