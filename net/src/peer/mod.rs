//! The protocol between nodes, as bytes: frames, messages and the greeting, without sockets and without Raft.
//!
//! `net/PEER.md` draws every byte. [`Decoder`] takes what is received and gives [`Frame`]s, each of which is a [`Message`] as a
//! whole: pieces are joined in it. [`Outbox`] takes messages and gives frames, as many bytes as the connection can take.
//!
//! All memory is bounded, by what this node named in its greeting and by the queue's own bound. Every error is a [`PeerError`],
//! ends the connection and is counted by its name ([`ErrorCounts`]).

mod bounds;
mod decoder;
mod error;
mod fields;
mod frame;
mod ids;
mod kind;
mod messages;
mod outbox;
mod push_error;

pub use bounds::Bounds;
pub use decoder::Decoder;
pub use error::{ErrorCounts, PeerError};
pub use frame::Frame;
pub use ids::{GroupNumber, LogId, NodeNumber, RequestId, Vote};
pub use kind::{Kind, Lane};
pub use messages::{
    AppendAnswer, AppendEntries, Heartbeat, HeartbeatAnswer, Message, ReadIndexAnswer, Record, Refusal, RefusalReason,
    SnapshotBegin, SnapshotFile, SnapshotPiece, SnapshotPosition, TransferAnswer, TransferLeader, Unable, UnableReason,
    VoteAnswer, VoteRequest,
};
pub use outbox::Outbox;
pub use push_error::PushError;

#[cfg(test)]
mod samples;
#[cfg(test)]
mod stream_tests;
