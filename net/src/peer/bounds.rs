//! The bounds of a node on what its peers send.

use super::kind::Kind;
use crate::limits::{CONTROL_BYTES_MAX, JOINED_BYTES_MAX, MESSAGE_BYTES_LEAST, MESSAGE_BYTES_MAX};

/// The bounds that a node names in its greeting, and that its peer keeps to.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Bounds {
    /// The longest message in bytes, 4 MiB at least (68 MiB).
    pub message_bytes_max: u32,
    /// Bytes of the messages that are joined of their pieces at a time, on one connection; at least one message (136 MiB).
    pub joined_bytes_max: u32,
}

impl Default for Bounds {
    fn default() -> Bounds {
        Bounds { message_bytes_max: MESSAGE_BYTES_MAX, joined_bytes_max: JOINED_BYTES_MAX }
    }
}

impl Bounds {
    /// False for bounds with which nothing would move.
    pub(super) fn are_usable(&self) -> bool {
        MESSAGE_BYTES_LEAST <= self.message_bytes_max && self.message_bytes_max <= self.joined_bytes_max
    }

    /// The longest message of a kind.
    pub(super) fn bytes_max(&self, kind: Kind) -> u32 {
        match kind {
            Kind::AppendEntries | Kind::AppendEntriesTo | Kind::Publish => self.message_bytes_max,
            _ => self.message_bytes_max.min(CONTROL_BYTES_MAX),
        }
    }
}
