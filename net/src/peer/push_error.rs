//! Reasons for which a message cannot be queued.

use super::ids::GroupNumber;
use super::kind::{Kind, Lane};

/// A reason for which a message was not queued. Only [`PushError::Full`] says anything of the peer; the others are mistakes of this
/// node, or entries that the peer does not take.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum PushError {
    /// The queue is full: the peer does not read. It is to be cut off.
    #[error("{queued_bytes} bytes wait for a peer that does not read, {bytes_max} are the most")]
    Full {
        /// Bytes in the queue.
        queued_bytes: usize,
        /// The most.
        bytes_max: usize,
    },
    /// The message is longer than the peer takes.
    #[error("a {kind} of {bytes} bytes, {bytes_max} are the most that the peer takes")]
    TooLong {
        /// Its kind.
        kind: Kind,
        /// Its bytes.
        bytes: u64,
        /// The most.
        bytes_max: u64,
    },
    /// The message has more parts than one may have.
    #[error("a {kind} of {count} parts, {most} are the most")]
    TooMany {
        /// Its kind.
        kind: Kind,
        /// Its parts.
        count: usize,
        /// The most.
        most: usize,
    },
    /// The entries do not follow on each other: one is missing, or a term falls.
    #[error("the entry {term}.{index} does not follow on the one before it")]
    Hole {
        /// The entry's index.
        index: u64,
        /// Its term.
        term: u64,
    },
    /// A file of a snapshot that a receiver would refuse.
    #[error("{name} is no file of a snapshot: no plain name, not in its place, or without bytes")]
    WrongFile {
        /// Its name.
        name: String,
    },
    /// The message does not go by this connection's lane.
    #[error("a {kind} on the lane for {lane}")]
    WrongLane {
        /// Its kind.
        kind: Kind,
        /// The connection's lane.
        lane: Lane,
    },
    /// The message belongs to a group and got none, or the reverse.
    #[error("a {kind} for the group {group}")]
    WrongGroup {
        /// Its kind.
        kind: Kind,
        /// The group.
        group: GroupNumber,
    },
    /// The version agreed on does not have this kind of message.
    #[error("{kind} is unknown to version {version} of the protocol, which the peer speaks")]
    UnknownKind {
        /// Its kind.
        kind: Kind,
        /// The version agreed on.
        version: u16,
    },
}

impl PushError {
    /// Longer than any message may be.
    pub(super) fn too_long(kind: Kind, bytes: u64) -> PushError {
        PushError::TooLong { kind, bytes, bytes_max: u64::from(u32::MAX) }
    }
}
