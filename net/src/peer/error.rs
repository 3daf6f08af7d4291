//! Errors of a peer's bytes. Each of them ends the connection: behind one there is no telling where the next frame begins, or the
//! peer is not one to talk to.

use super::kind::{Kind, Lane};
use super::messages::{Refusal, RefusalReason};

/// A reason to end a connection with a peer.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum PeerError {
    /// The first bytes of a connection are no greeting: a port scanner, or a client of something else.
    #[error("the first bytes are no greeting: this is no node of Basalt")]
    NotAPeer,
    /// This side does not take the other for a peer; it has been told so.
    #[error("refused: {0}")]
    Refused(Refusal),
    /// The other side ends the connection.
    #[error("refused by the peer: {0}")]
    RefusedByPeer(Refusal),
    /// A frame's length is more than a frame may have.
    #[error("a frame with a payload of {bytes} bytes, {bytes_max} are the most")]
    FrameTooLong {
        /// Its payload in bytes.
        bytes: usize,
        /// The most.
        bytes_max: usize,
    },
    /// A frame is too short for its kind of header.
    #[error("a piece of {kind} without bytes")]
    FrameTooShort {
        /// Its kind.
        kind: Kind,
    },
    /// A frame is not as it was sent.
    #[error("a frame of kind {kind} has the checksum {found:08x} instead of {stored:08x}")]
    Checksum {
        /// Its kind.
        kind: Kind,
        /// The checksum in its header.
        stored: u32,
        /// That of its bytes.
        found: u32,
    },
    /// A kind of frame that the version agreed on does not have.
    #[error("frame kind {code} is unknown to version {version} of the protocol")]
    UnknownKind {
        /// The kind's number.
        code: u8,
        /// The version agreed on, 0 before there is one.
        version: u16,
    },
    /// A header has bits that the version agreed on does not know.
    #[error("a frame of kind {kind} has the flags {flags:06x}, unknown to version {version} of the protocol")]
    UnknownFlags {
        /// Its kind.
        kind: Kind,
        /// Flags and the two bytes behind them, as one little-endian number.
        flags: u32,
        /// The version agreed on.
        version: u16,
    },
    /// A frame of another lane, or before the greeting is over.
    #[error("a frame of kind {kind} on {}", lane.map_or_else(|| "a connection before its greeting is over".to_owned(), |lane| format!("the lane for {lane}")))]
    WrongLane {
        /// Its kind.
        kind: Kind,
        /// The connection's lane; none before the greeting is over.
        lane: Option<Lane>,
    },
    /// No group has this number, or the kind of frame belongs to none.
    #[error("a frame of kind {kind} for the group {group}")]
    WrongGroup {
        /// Its kind.
        kind: Kind,
        /// The group's number in it.
        group: u64,
    },
    /// A piece of a kind that goes in one frame, or of a message that would fit into one.
    #[error("a piece of a {kind} of {bytes} bytes, which goes in one frame")]
    NeedlessPieces {
        /// Its kind.
        kind: Kind,
        /// The whole message in bytes.
        bytes: u32,
    },
    /// A piece is not the next of its message, or another frame of its group stands in its place.
    #[error("a frame of kind {kind} for group {group} where the piece at {expected} of its message was due")]
    PieceOutOfOrder {
        /// Its kind.
        kind: Kind,
        /// Its group.
        group: u64,
        /// Bytes of the message that have come.
        expected: u32,
    },
    /// A message is longer than this node takes.
    #[error("a {kind} of {bytes} bytes, {bytes_max} are the most")]
    MessageTooLong {
        /// Its kind.
        kind: Kind,
        /// The whole message in bytes.
        bytes: u32,
        /// The most.
        bytes_max: u32,
    },
    /// More is to be joined at a time than this node takes.
    #[error("messages of {bytes} bytes in pieces at a time, {bytes_max} are the most")]
    TooMuchInPieces {
        /// All of them in bytes.
        bytes: u64,
        /// The most.
        bytes_max: u32,
    },
    /// A payload is not as its kind lays down.
    #[error("a {kind} that is malformed: {what}")]
    Malformed {
        /// Its kind.
        kind: Kind,
        /// The part that is wrong.
        what: &'static str,
    },
}

impl PeerError {
    /// The name under which errors like this are counted; one of [`PeerError::NAMES`].
    pub fn name(&self) -> &'static str {
        match self {
            PeerError::NotAPeer => "not-a-peer",
            PeerError::Refused(refusal) => refusal.reason.name(),
            PeerError::RefusedByPeer(_) => "refused-by-peer",
            PeerError::FrameTooLong { .. } => "frame-too-long",
            PeerError::FrameTooShort { .. } => "frame-too-short",
            PeerError::Checksum { .. } => "checksum",
            PeerError::UnknownKind { .. } => "unknown-kind",
            PeerError::UnknownFlags { .. } => "unknown-flags",
            PeerError::WrongLane { .. } => "wrong-lane",
            PeerError::WrongGroup { .. } => "wrong-group",
            PeerError::NeedlessPieces { .. } => "needless-pieces",
            PeerError::PieceOutOfOrder { .. } => "piece-out-of-order",
            PeerError::MessageTooLong { .. } => "message-too-long",
            PeerError::TooMuchInPieces { .. } => "too-much-in-pieces",
            PeerError::Malformed { .. } => "malformed",
        }
    }

    /// The last word to the peer before the connection is closed; `None` where it would not be understood, or is not needed.
    pub fn refusal(&self) -> Option<Refusal> {
        match self {
            PeerError::NotAPeer | PeerError::RefusedByPeer(_) => None,
            PeerError::Refused(refusal) => Some(refusal.clone()),
            error => Some(Refusal::new(RefusalReason::Protocol, error.to_string())),
        }
    }

    /// All names of errors, those of refusals included.
    pub const NAMES: [&str; 31] = [
        "not-a-peer",
        "refused-by-peer",
        "frame-too-long",
        "frame-too-short",
        "checksum",
        "unknown-kind",
        "unknown-flags",
        "wrong-lane",
        "wrong-group",
        "needless-pieces",
        "piece-out-of-order",
        "message-too-long",
        "too-much-in-pieces",
        "malformed",
        "other",
        "other-cluster",
        "other-node",
        "old-incarnation",
        "own-number",
        "removed",
        "no-common-version",
        "secret-missing",
        "secret-unexpected",
        "wrong-proof",
        "unknown-lane",
        "unknown-core",
        "unusable-bounds",
        "unusable-identity",
        "protocol",
        "too-slow",
        "closing",
    ];
}

/// Counts of errors by name, for one core.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ErrorCounts([u64; PeerError::NAMES.len()]);

impl Default for ErrorCounts {
    fn default() -> ErrorCounts {
        ErrorCounts([0; PeerError::NAMES.len()])
    }
}

impl ErrorCounts {
    /// Counts `error`.
    pub fn add(&mut self, error: &PeerError) {
        let name = error.name();
        let at = PeerError::NAMES.iter().position(|&known| known == name);
        self.0[at.expect("every error's name is in the list")] += 1;
    }

    /// Names and counts, also of errors that have not occurred.
    pub fn iter(&self) -> impl Iterator<Item = (&'static str, u64)> {
        PeerError::NAMES.into_iter().zip(self.0)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn errors_are_counted_by_name() {
        let mut counts = ErrorCounts::default();
        let refusal = |reason| Refusal::new(reason, "no");
        for _ in 0..2 {
            counts.add(&PeerError::NotAPeer);
            counts.add(&PeerError::Refused(refusal(RefusalReason::OtherCluster)));
        }
        counts.add(&PeerError::RefusedByPeer(refusal(RefusalReason::OtherCluster)));
        let counted: Vec<(&str, u64)> = counts.iter().filter(|&(_, count)| count > 0).collect();
        assert_eq!(counted, [("not-a-peer", 2), ("refused-by-peer", 1), ("other-cluster", 2)]);
        let mut names = PeerError::NAMES.to_vec();
        names.sort_unstable();
        names.dedup();
        assert_eq!(names.len(), PeerError::NAMES.len());
    }

    #[test]
    fn every_error_has_a_name_that_is_counted() {
        let kind = Kind::Vote;
        let errors = [
            PeerError::NotAPeer,
            PeerError::RefusedByPeer(Refusal::new(RefusalReason::Closing, "")),
            PeerError::FrameTooLong { bytes: 1, bytes_max: 0 },
            PeerError::FrameTooShort { kind },
            PeerError::Checksum { kind, stored: 1, found: 2 },
            PeerError::UnknownKind { code: 0, version: 1 },
            PeerError::UnknownFlags { kind, flags: 2, version: 1 },
            PeerError::WrongLane { kind, lane: None },
            PeerError::WrongGroup { kind, group: 1 },
            PeerError::NeedlessPieces { kind, bytes: 1 },
            PeerError::PieceOutOfOrder { kind, group: 1, expected: 0 },
            PeerError::MessageTooLong { kind, bytes: 2, bytes_max: 1 },
            PeerError::TooMuchInPieces { bytes: 2, bytes_max: 1 },
            PeerError::Malformed { kind, what: "" },
        ];
        let refused = RefusalReason::ALL.iter().map(|&reason| PeerError::Refused(Refusal::new(reason, "")));
        let mut counts = ErrorCounts::default();
        errors.into_iter().chain(refused).for_each(|error| counts.add(&error));
        assert!(counts.iter().all(|(_, count)| count == 1), "{:?}", counts.iter().collect::<Vec<_>>());
    }
}
