//! The layout of a greeting.
//!
//! It comes before any version is agreed on, so it is the one thing that never changes but by growing: a later version puts more
//! behind what is here, and a reader passes over what it does not know.

use bytes::BufMut;

use super::session::Versions;
use crate::peer::bounds::Bounds;
use crate::peer::error::PeerError;
use crate::peer::fields::Fields;
use crate::peer::ids::NodeNumber;
use crate::peer::kind::Kind;

/// The first bytes of a greeting.
const MAGIC: &[u8; 8] = b"BasaltP\n";
/// The bit of a side that has a secret. Bits that are not known are ignored: they announce, and demand nothing.
const FLAG_SECRET: u16 = 1;
/// Bytes of a greeting of version 1.
const BYTES: usize = 108;
/// Random bytes of each side.
pub(super) const NONCE_BYTES: usize = 32;

/// The side of a connection.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Role {
    /// It has made the connection.
    Dials,
    /// It has accepted it.
    Accepts,
}

impl Role {
    pub(super) fn other(self) -> Role {
        match self {
            Role::Dials => Role::Accepts,
            Role::Accepts => Role::Dials,
        }
    }
}

/// The first word of a side.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Greeting {
    pub(super) versions: Versions,
    pub(super) role: Role,
    /// The lane's number; not every one is known.
    pub(super) lane: u8,
    pub(super) has_secret: bool,
    pub(super) cluster: [u8; 20],
    pub(super) from: NodeNumber,
    pub(super) to: NodeNumber,
    pub(super) incarnation: u64,
    /// The core on the dialing side.
    pub(super) dialing_core: u16,
    /// The core on the accepting side.
    pub(super) accepting_core: u16,
    /// Cores of the node that sends this.
    pub(super) core_count: u16,
    pub(super) bounds: Bounds,
    pub(super) nonce: [u8; NONCE_BYTES],
}

impl Greeting {
    pub(super) fn encode(&self) -> Vec<u8> {
        let mut bytes = Vec::with_capacity(BYTES);
        bytes.put_slice(MAGIC);
        bytes.put_u16_le(self.versions.oldest);
        bytes.put_u16_le(self.versions.newest);
        bytes.put_u8(match self.role {
            Role::Dials => 0,
            Role::Accepts => 1,
        });
        bytes.put_u8(self.lane);
        bytes.put_u16_le(if self.has_secret { FLAG_SECRET } else { 0 });
        bytes.put_slice(&self.cluster);
        bytes.put_u64_le(self.from.0);
        bytes.put_u64_le(self.to.0);
        bytes.put_u64_le(self.incarnation);
        bytes.put_u16_le(self.dialing_core);
        bytes.put_u16_le(self.accepting_core);
        bytes.put_u16_le(self.core_count);
        bytes.put_u16_le(0);
        bytes.put_u32_le(self.bounds.message_bytes_max);
        bytes.put_u32_le(self.bounds.joined_bytes_max);
        bytes.put_slice(&self.nonce);
        bytes
    }

    pub(super) fn decode(payload: &[u8]) -> Result<Greeting, PeerError> {
        let mut fields = Fields::new(Kind::Greeting, payload);
        if fields.array::<8>().ok().as_ref() != Some(MAGIC) {
            return Err(PeerError::NotAPeer);
        }
        let versions = Versions { oldest: fields.u16()?, newest: fields.u16()? };
        let role = if fields.flag()? { Role::Accepts } else { Role::Dials };
        let (lane, flags) = (fields.u8()?, fields.u16()?);
        let (cluster, from, to) = (fields.array()?, NodeNumber(fields.u64()?), NodeNumber(fields.u64()?));
        let incarnation = fields.u64()?;
        let (dialing_core, accepting_core, core_count) = (fields.u16()?, fields.u16()?, fields.u16()?);
        let _reserved = fields.u16()?;
        let bounds = Bounds { message_bytes_max: fields.u32()?, joined_bytes_max: fields.u32()? };
        let nonce = fields.array()?;
        Ok(Greeting {
            versions,
            role,
            lane,
            has_secret: flags & FLAG_SECRET != 0,
            cluster,
            from,
            to,
            incarnation,
            dialing_core,
            accepting_core,
            core_count,
            bounds,
            nonce,
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn greeting() -> Greeting {
        Greeting {
            versions: Versions { oldest: 1, newest: 2 },
            role: Role::Accepts,
            lane: 3,
            has_secret: true,
            cluster: [0xc1; 20],
            from: NodeNumber(0xa1a2_a3a4_a5a6_a7a8),
            to: NodeNumber(0xb1),
            incarnation: 7,
            dialing_core: 0x0102,
            accepting_core: 3,
            core_count: 8,
            bounds: Bounds { message_bytes_max: 0x0440_0000, joined_bytes_max: 0x0880_0000 },
            nonce: [0x4e; 32],
        }
    }

    #[test]
    fn the_layout_is_the_documented_one() {
        let bytes = greeting().encode();
        assert_eq!(bytes.len(), BYTES);
        assert_eq!(bytes[..16], *b"BasaltP\n\x01\0\x02\0\x01\x03\x01\0");
        assert_eq!(bytes[16..36], [0xc1; 20]);
        assert_eq!(bytes[36..60], *b"\xa8\xa7\xa6\xa5\xa4\xa3\xa2\xa1\xb1\0\0\0\0\0\0\0\x07\0\0\0\0\0\0\0");
        assert_eq!(bytes[60..76], *b"\x02\x01\x03\0\x08\0\0\0\0\0\x40\x04\0\0\x80\x08");
        assert_eq!(bytes[76..], [0x4e; 32]);
    }

    #[test]
    fn a_greeting_of_a_newer_version_is_read_as_far_as_it_is_known() {
        let mut bytes = greeting().encode();
        bytes.extend_from_slice(b"more");
        bytes[15] |= 0x80; // a flag of a later version
        assert_eq!(Greeting::decode(&bytes), Ok(greeting()));
        for end in 8..BYTES {
            let what = "it ends too early";
            assert_eq!(Greeting::decode(&bytes[..end]), Err(PeerError::Malformed { kind: Kind::Greeting, what }));
        }
    }

    #[test]
    fn other_first_bytes_are_no_peer() {
        for bytes in [b"BasaltP".as_slice(), b"", b"GET / HTTP/1.1\r\n"] {
            assert_eq!(Greeting::decode(bytes), Err(PeerError::NotAPeer));
        }
    }
}
