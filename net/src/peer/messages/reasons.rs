//! Reasons that a peer gives, as a number for programs and in words for an operator.
//!
//! The numbers are open: a newer node may give reasons that this one does not know, and reads them as "other".

use std::fmt;

use bytes::BufMut;

use crate::limits::REASON_BYTES_MAX;
use crate::peer::error::PeerError;
use crate::peer::fields::Fields;

/// Declares the reasons of a kind of message with their numbers and names.
macro_rules! reasons {
    ($(#[$meta:meta])* $name:ident { $($(#[$doc:meta])* $reason:ident = $code:literal, $text:literal;)+ }) => {
        $(#[$meta])*
        #[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
        #[repr(u16)]
        #[non_exhaustive]
        pub enum $name {
            /// A reason that this version does not know; the text has it.
            Other = 0,
            $($(#[$doc])* $reason = $code,)+
        }

        impl $name {
            /// All reasons.
            pub const ALL: &'static [$name] = &[$name::Other, $($name::$reason),+];

            /// The reason's name, for counters and logs.
            pub const fn name(self) -> &'static str {
                match self {
                    $name::Other => "other",
                    $($name::$reason => $text,)+
                }
            }

            fn of(code: u16) -> $name {
                match code {
                    $($code => $name::$reason,)+
                    _ => $name::Other,
                }
            }
        }
    };
}

reasons! {
    /// A reason to end a connection.
    RefusalReason {
        /// The nodes are of different clusters.
        OtherCluster = 1, "other-cluster";
        /// The node that was wanted is another one: its address was given to this one.
        OtherNode = 2, "other-node";
        /// The node was started more often than it says: an old copy of its directory.
        OldIncarnation = 3, "old-incarnation";
        /// The node has the number of the one it talks to: itself, or a copy of its directory.
        OwnNumber = 4, "own-number";
        /// The node was removed from the cluster.
        Removed = 5, "removed";
        /// There is no version of the protocol that both speak.
        NoCommonVersion = 6, "no-common-version";
        /// This node has a secret, the other has none.
        SecretMissing = 7, "secret-missing";
        /// The other node has a secret, this one has none.
        SecretUnexpected = 8, "secret-unexpected";
        /// The proof is not that of the cluster's secret.
        WrongProof = 9, "wrong-proof";
        /// The lane is unknown, or another one than was asked for.
        UnknownLane = 10, "unknown-lane";
        /// There is no such core, or it is another one than was asked for.
        UnknownCore = 11, "unknown-core";
        /// The bounds on messages are too small to work with.
        UnusableBounds = 12, "unusable-bounds";
        /// The number or the incarnation is 0.
        UnusableIdentity = 13, "unusable-identity";
        /// The peer's bytes are not the protocol.
        Protocol = 14, "protocol";
        /// The peer is too slow, in greeting or in reading.
        TooSlow = 15, "too-slow";
        /// The node or the core stops.
        Closing = 16, "closing";
    }
}

reasons! {
    /// A reason for which a request has no other answer.
    UnableReason {
        /// The node does not have the group.
        NotHere = 1, "not-here";
        /// The group is being opened.
        Opening = 2, "opening";
        /// The group is closed or closing.
        Closed = 3, "closed";
        /// There is too much to do already.
        Overloaded = 4, "overloaded";
        /// There is no space on disk.
        NoSpace = 5, "no-space";
        /// A file of the snapshot is not what it should be.
        Damaged = 6, "damaged";
        /// Another core of the node has the group: [`Unable::core`].
        OtherCore = 7, "other-core";
    }
}

/// The reason for which a side ends the connection.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Refusal {
    /// The reason.
    pub reason: RefusalReason,
    /// The same in words, with the values that were seen. At most 400 bytes of it are sent.
    pub text: String,
}

/// The reason for which a request has no other answer.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Unable {
    /// The reason.
    pub reason: UnableReason,
    /// The core of the node to ask, with [`UnableReason::OtherCore`]; 0 with all others.
    pub core: u16,
    /// The same in words. At most 400 bytes of it are sent.
    pub text: String,
}

impl Refusal {
    /// A refusal in words.
    pub fn new(reason: RefusalReason, text: impl Into<String>) -> Refusal {
        Refusal { reason, text: text.into() }
    }

    pub(in crate::peer) fn put(&self, into: &mut Vec<u8>) {
        put(self.reason as u16, &self.text, into);
    }

    /// Reads a refusal. Bytes behind it are of a newer version: every version must understand the refusal of every other.
    pub(in crate::peer) fn read(fields: &mut Fields<'_>) -> Result<Refusal, PeerError> {
        Ok(Refusal { reason: RefusalReason::of(fields.u16()?), text: read_text(fields)? })
    }
}

impl Unable {
    /// A reason that names no core, in words.
    pub fn new(reason: UnableReason, text: impl Into<String>) -> Unable {
        Unable { reason, core: 0, text: text.into() }
    }

    /// The core of this node that has the group.
    pub fn other_core(core: u16) -> Unable {
        let text = format!("core {core} of this node has the group");
        Unable { reason: UnableReason::OtherCore, core, text }
    }

    pub(super) fn put(&self, into: &mut Vec<u8>) {
        into.put_u16_le(self.core);
        put(self.reason as u16, &self.text, into);
    }

    pub(super) fn read(fields: &mut Fields<'_>) -> Result<Unable, PeerError> {
        let (core, reason) = (fields.u16()?, UnableReason::of(fields.u16()?));
        // One that this version does not know may name a core as well.
        if core > 0 && !matches!(reason, UnableReason::OtherCore | UnableReason::Other) {
            return Err(fields.malformed("it names a core, and its reason has none"));
        }
        Ok(Unable { reason, core, text: read_text(fields)? })
    }
}

impl fmt::Display for Unable {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(formatter, "{} ({})", self.text, self.reason.name())
    }
}

impl fmt::Display for Refusal {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(formatter, "{} ({})", self.text, self.reason.name())
    }
}

fn put(reason: u16, text: &str, into: &mut Vec<u8>) {
    let text = &text.as_bytes()[..text.floor_char_boundary(REASON_BYTES_MAX)];
    into.put_u16_le(reason);
    into.put_u16_le(text.len() as u16);
    into.put_slice(text);
}

/// Reads a text that goes into a log: whatever may look like more than a part of one line is replaced.
fn read_text(fields: &mut Fields<'_>) -> Result<String, PeerError> {
    let bytes = usize::from(fields.u16()?);
    if bytes > REASON_BYTES_MAX {
        return Err(fields.malformed("its text is too long"));
    }
    let text = String::from_utf8_lossy(fields.take(bytes)?);
    let is_shown = |char: char| (char.is_ascii() && !char.is_control()) || char.is_alphanumeric();
    Ok(text.chars().map(|char| if is_shown(char) { char } else { '\u{fffd}' }).collect())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::peer::kind::Kind;

    fn read(bytes: &[u8]) -> Result<Refusal, PeerError> {
        Refusal::read(&mut Fields::new(Kind::Refusal, bytes))
    }

    #[test]
    fn a_reason_of_a_newer_node_is_read_as_another_one_with_its_text() {
        let refusal = read(b"\xff\x7f\x02\x00no and more fields").unwrap();
        assert_eq!(refusal, Refusal::new(RefusalReason::Other, "no"));
    }

    #[test]
    fn a_text_cannot_write_lines_of_a_log_nor_be_endless() {
        let refusal = read(b"\x01\x00\x07\x00a\nb\x1b[\xffc").unwrap();
        assert_eq!(refusal.text, "a\u{fffd}b\u{fffd}[\u{fffd}c");
        let refusal = read("\x01\0\x0a\0ä\u{2028}\u{202e}ок".as_bytes()).unwrap();
        assert_eq!(refusal.text, "ä\u{fffd}\u{fffd}о");
        let mut long = Vec::new();
        Refusal::new(RefusalReason::Closing, "ä".repeat(400)).put(&mut long);
        assert_eq!(read(&long).unwrap().text, "ä".repeat(200));
        assert!(read(&[&[1, 0, 0x91, 1], [b'x'; 401].as_slice()].concat()).is_err());
    }

    #[test]
    fn a_core_is_named_where_another_one_has_the_group_and_nowhere_else() {
        let read = |bytes: &[u8]| Unable::read(&mut Fields::new(Kind::Unable, bytes));
        let mut bytes = Vec::new();
        Unable::other_core(3).put(&mut bytes);
        assert_eq!(read(&bytes), Ok(Unable::other_core(3)));
        let of = |reason: u8, core: u8| read(&[core, 0, reason, 0, 0, 0]);
        assert!(of(UnableReason::OtherCore as u8, 0).is_ok() && of(UnableReason::Opening as u8, 0).is_ok());
        assert!(of(UnableReason::Opening as u8, 1).is_err());
        assert_eq!(of(0x7f, 1).map(|unable| (unable.reason, unable.core)), Ok((UnableReason::Other, 1)));
    }

    #[test]
    fn reasons_have_their_own_numbers_and_names() {
        for (at, &reason) in RefusalReason::ALL.iter().enumerate() {
            assert_eq!((reason as usize, RefusalReason::of(at as u16)), (at, reason));
            assert!(PeerError::NAMES.contains(&reason.name()), "{} is not counted", reason.name());
        }
        for (at, &reason) in UnableReason::ALL.iter().enumerate() {
            assert_eq!((reason as usize, UnableReason::of(at as u16)), (at, reason));
        }
    }
}
