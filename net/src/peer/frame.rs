//! The layout of a frame: a header, then a message or a piece of one.
//!
//! ```text
//!  0  length of what follows the header, u32      8  kind, u8          20  request, u64
//!  4  CRC-32C of all but itself, u32              9  flags, u8         28  of a piece: bytes of the message, u32
//!                                                10  0, u16            32  of a piece: its place in it, u32
//!                                                12  group, u64
//! ```
//!
//! Little-endian. The two fields of a piece count as payload in the length.

use bytes::{BufMut, Bytes};

use super::error::PeerError;
use super::ids::{GroupNumber, RequestId};
use super::kind::Kind;
use super::messages::Message;
use crate::limits::FRAME_BYTES_MAX;

/// Bytes before the payload.
pub(super) const HEADER_BYTES: usize = 28;
/// Bytes that a piece has in front of its data.
pub(super) const PIECE_BYTES: usize = 8;
/// Bytes of both.
pub(super) const PIECE_HEADER_BYTES: usize = HEADER_BYTES + PIECE_BYTES;
/// Bytes of the length, the first field.
pub(super) const LENGTH_BYTES: usize = 4;
/// The longest payload of a frame.
pub(super) const PAYLOAD_BYTES: usize = FRAME_BYTES_MAX - HEADER_BYTES;

/// The flag of a piece.
const FLAG_PIECE: u8 = 1;

/// A message that has come, not yet taken apart.
#[derive(Debug)]
pub struct Frame<'a> {
    /// Its kind.
    pub kind: Kind,
    /// The group that it belongs to, or none.
    pub group: GroupNumber,
    /// The request that it is, or that it answers.
    pub request: RequestId,
    pub(super) payload: Payload<'a>,
}

impl Frame<'_> {
    /// Bytes of the message.
    pub fn payload_bytes(&self) -> usize {
        self.payload.as_slice().len()
    }

    /// Takes the message apart.
    ///
    /// # Errors
    /// [`PeerError::Malformed`] if it is not as its kind lays down; the connection is to be closed.
    pub fn message(self) -> Result<Message, PeerError> {
        Message::decode(self.kind, self.payload)
    }
}

/// The payload of a message.
#[derive(Debug)]
pub(super) enum Payload<'a> {
    /// Within what was received.
    Borrowed(&'a [u8]),
    /// Joined of what was received.
    Owned(Bytes),
}

impl Payload<'_> {
    pub(super) fn as_slice(&self) -> &[u8] {
        match self {
            Payload::Borrowed(bytes) => bytes,
            Payload::Owned(bytes) => bytes,
        }
    }

    /// The payload to be kept: this copies it, unless joining it has.
    pub(super) fn into_bytes(self) -> Bytes {
        match self {
            Payload::Borrowed(bytes) => Bytes::copy_from_slice(bytes),
            Payload::Owned(bytes) => bytes,
        }
    }
}

/// The place of a piece.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Piece {
    /// Bytes of the whole message.
    pub(super) total: u32,
    /// Bytes of it before this piece.
    pub(super) offset: u32,
}

/// A frame's header.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Header {
    pub(super) kind: Kind,
    pub(super) group: GroupNumber,
    pub(super) request: RequestId,
    pub(super) piece: Option<Piece>,
    /// Bytes of the message in this frame.
    pub(super) data_bytes: usize,
    pub(super) checksum: u32,
}

impl Header {
    /// Payload bytes of the frame that begins with `bytes`.
    pub(super) fn length(bytes: &[u8; PIECE_HEADER_BYTES]) -> usize {
        u32_at(bytes, 0) as usize
    }

    /// True if the header that begins with the first [`HEADER_BYTES`] of `bytes` goes on with the place of a piece.
    pub(super) fn is_piece(bytes: &[u8; PIECE_HEADER_BYTES]) -> bool {
        bytes[9] & FLAG_PIECE != 0
    }

    /// Reads the kind and the flags, which have to be known to `version`.
    pub(super) fn read_kind(bytes: &[u8; PIECE_HEADER_BYTES], version: u16) -> Result<Kind, PeerError> {
        let kind = Kind::of(bytes[8], version).ok_or(PeerError::UnknownKind { code: bytes[8], version })?;
        let flags = u32::from_le_bytes([bytes[9], bytes[10], bytes[11], 0]);
        if flags & !u32::from(FLAG_PIECE) != 0 {
            return Err(PeerError::UnknownFlags { kind, flags, version });
        }
        Ok(kind)
    }

    /// Reads a whole header, the place of a piece included if it has one.
    pub(super) fn read(kind: Kind, bytes: &[u8; PIECE_HEADER_BYTES]) -> Result<Header, PeerError> {
        let is_piece = Header::is_piece(bytes);
        let before_data = if is_piece { PIECE_BYTES } else { 0 };
        // A piece without data would never bring its message to an end.
        let data_bytes = Header::length(bytes)
            .checked_sub(before_data)
            .filter(|&data_bytes| data_bytes > 0 || !is_piece)
            .ok_or(PeerError::FrameTooShort { kind })?;
        Ok(Header {
            kind,
            group: GroupNumber(u64_at(bytes, 12)),
            request: RequestId(u64_at(bytes, 20)),
            piece: is_piece.then(|| Piece { total: u32_at(bytes, 28), offset: u32_at(bytes, 32) }),
            data_bytes,
            checksum: u32_at(bytes, 4),
        })
    }

    /// The checksum of a header alone.
    pub(super) fn checksum(bytes: &[u8; PIECE_HEADER_BYTES]) -> u32 {
        let end = if Header::is_piece(bytes) { PIECE_HEADER_BYTES } else { HEADER_BYTES };
        crc32c::crc32c_append(crc32c::crc32c(&bytes[..4]), &bytes[8..end])
    }
}

/// Appends a frame; `put_data` appends its `data_bytes` bytes and returns the checksum, given that of what is before them.
pub(super) fn put_frame(header: &Header, into: &mut Vec<u8>, put_data: impl FnOnce(&mut Vec<u8>, u32) -> u32) {
    let begin = into.len();
    let before_data = if header.piece.is_some() { PIECE_BYTES } else { 0 };
    into.reserve(HEADER_BYTES + before_data + header.data_bytes);
    let length = u32::try_from(before_data + header.data_bytes).expect("a frame has FRAME_BYTES_MAX at most");
    into.put_u32_le(length);
    into.put_u32_le(0);
    into.put_u8(header.kind.code());
    into.put_u8(if header.piece.is_some() { FLAG_PIECE } else { 0 });
    into.put_u16_le(0);
    into.put_u64_le(header.group.0);
    into.put_u64_le(header.request.0);
    if let Some(piece) = header.piece {
        into.put_u32_le(piece.total);
        into.put_u32_le(piece.offset);
    }
    let of_header = crc32c::crc32c_append(crc32c::crc32c(&into[begin..begin + 4]), &into[begin + 8..]);
    let checksum = put_data(into, of_header);
    debug_assert_eq!(into.len() - begin, HEADER_BYTES + length as usize, "the data are as long as the header says");
    into[begin + 4..begin + 8].copy_from_slice(&checksum.to_le_bytes());
}

/// Appends a frame with a short payload that belongs to no group, as those of the greeting.
pub(super) fn put_short_frame(kind: Kind, payload: &[u8], into: &mut Vec<u8>) {
    let header = Header {
        kind,
        group: GroupNumber::NONE,
        request: RequestId(0),
        piece: None,
        data_bytes: payload.len(),
        checksum: 0,
    };
    put_frame(&header, into, |into, checksum| {
        into.put_slice(payload);
        crc32c::crc32c_append(checksum, payload)
    });
}

fn u32_at(bytes: &[u8; PIECE_HEADER_BYTES], at: usize) -> u32 {
    let mut word = [0; 4];
    word.copy_from_slice(&bytes[at..at + 4]);
    u32::from_le_bytes(word)
}

fn u64_at(bytes: &[u8; PIECE_HEADER_BYTES], at: usize) -> u64 {
    let mut word = [0; 8];
    word.copy_from_slice(&bytes[at..at + 8]);
    u64::from_le_bytes(word)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_layout_is_the_documented_one() {
        let mut bytes = Vec::new();
        let mut header = Header {
            kind: Kind::AppendEntries,
            group: GroupNumber(0x0102_0304_0506_0708),
            request: RequestId(9),
            piece: None,
            data_bytes: 3,
            checksum: 0,
        };
        let put_data = |into: &mut Vec<u8>, checksum| {
            into.put_slice(b"abc");
            crc32c::crc32c_append(checksum, b"abc")
        };
        put_frame(&header, &mut bytes, put_data);
        assert_eq!(bytes[..4], [3, 0, 0, 0]);
        assert_eq!(bytes[8..], *b"\x10\0\0\0\x08\x07\x06\x05\x04\x03\x02\x01\x09\0\0\0\0\0\0\0abc");
        let checksum = crc32c::crc32c(&[&bytes[..4], &bytes[8..]].concat());
        assert_eq!(bytes[4..8], checksum.to_le_bytes());
        // Pins that it is CRC-32C, whose check value this is, and not another CRC-32.
        assert_eq!(crc32c::crc32c(b"123456789"), 0xe306_9283);

        bytes.clear();
        header.piece = Some(Piece { total: 0x2000_0001, offset: 0xfff0 });
        put_frame(&header, &mut bytes, put_data);
        assert_eq!((bytes[..4].to_vec(), bytes[8..12].to_vec()), (vec![11, 0, 0, 0], vec![0x10, 1, 0, 0]));
        assert_eq!(bytes[28..], *b"\x01\0\0\x20\xf0\xff\0\0abc");
        let head = bytes[..PIECE_HEADER_BYTES].try_into().unwrap();
        let read = Header::read(Kind::AppendEntries, &head).unwrap();
        assert_eq!(Header { checksum: 0, ..read }, header);
        assert_eq!(crc32c::crc32c_append(Header::checksum(&head), b"abc"), read.checksum);
    }
}
