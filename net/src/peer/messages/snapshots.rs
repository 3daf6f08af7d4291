//! A snapshot on its way: its description, then its files one after the other, piece by piece.
//!
//! Names of files come from another node and become paths: only plain names are read, so none leads out of a directory.

use bytes::{BufMut, Bytes};

use super::Encoded;
use crate::limits::{FILE_NAME_BYTES_MAX, SNAPSHOT_FILES_MAX, SNAPSHOT_META_BYTES_MAX};
use crate::peer::error::PeerError;
use crate::peer::fields::Fields;
use crate::peer::ids::Vote;
use crate::peer::kind::Kind;
use crate::peer::push_error::PushError;

/// Bytes of a file in the list without its name: length of the name, size, checksum.
const FILE_FIXED_BYTES: usize = 1 + 8 + 4;
/// Bytes before those of a piece: file and offset.
const PIECE_HEAD_BYTES: usize = 12;

/// A file of a snapshot.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SnapshotFile {
    /// Its name: at most 64 letters, digits, `.`, `-` and `_`, and no `.` in front.
    pub name: String,
    /// Its size.
    pub bytes: u64,
    /// CRC-32C of all its bytes.
    pub crc32c: u32,
}

/// A snapshot that is about to be sent.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SnapshotBegin {
    /// The leader's vote.
    pub vote: Vote,
    /// A number drawn for this checkpoint: a receiver that has a part of the same one says from where to go on.
    pub checkpoint: u64,
    /// The snapshot's last entry and membership, opaque here; 64 KiB at most.
    pub meta: Bytes,
    /// Its files in the order of their names, each once; 40,000 at most. Their sizes together fit in 64 bits.
    pub files: Vec<SnapshotFile>,
}

impl SnapshotBegin {
    pub(super) fn put(&self, into: &mut Vec<u8>) -> Result<(), PushError> {
        if self.files.len() > SNAPSHOT_FILES_MAX {
            let count = self.files.len();
            return Err(PushError::TooMany { kind: Kind::SnapshotBegin, count, most: SNAPSHOT_FILES_MAX });
        }
        if self.meta.len() > SNAPSHOT_META_BYTES_MAX {
            return Err(PushError::too_long(Kind::SnapshotBegin, self.meta.len() as u64));
        }
        self.vote.put(into);
        into.put_u64_le(self.checkpoint);
        into.put_u32_le(self.meta.len() as u32);
        into.put_slice(&self.meta);
        into.put_u32_le(self.files.len() as u32);
        let mut listed = Listed::default();
        for file in &self.files {
            if !listed.may_follow(file.name.as_bytes(), file.bytes) {
                return Err(PushError::WrongFile { name: file.name.clone() });
            }
            into.put_u8(file.name.len() as u8);
            into.put_slice(file.name.as_bytes());
            into.put_u64_le(file.bytes);
            into.put_u32_le(file.crc32c);
        }
        Ok(())
    }

    pub(super) fn read(fields: &mut Fields<'_>) -> Result<SnapshotBegin, PeerError> {
        let (vote, checkpoint) = (fields.vote()?, fields.u64()?);
        let meta = fields.count(SNAPSHOT_META_BYTES_MAX, 1)?;
        let meta = Bytes::copy_from_slice(fields.take(meta)?);
        let count = fields.count(SNAPSHOT_FILES_MAX, FILE_FIXED_BYTES)?;
        let mut files: Vec<SnapshotFile> = Vec::with_capacity(count);
        let mut listed = Listed::default();
        for _ in 0..count {
            let name_bytes = usize::from(fields.u8()?);
            let name = fields.take(name_bytes)?;
            let (bytes, crc32c) = (fields.u64()?, fields.u32()?);
            if !listed.may_follow(name, bytes) {
                return Err(fields.malformed("a file's name or size is not one, or it is not in its place"));
            }
            let name = String::from_utf8(name.to_vec()).map_err(|_| fields.malformed("a file's name is not one"))?;
            files.push(SnapshotFile { name, bytes, crc32c });
        }
        Ok(SnapshotBegin { vote, checkpoint, meta, files })
    }
}

/// Files that have been listed.
#[derive(Default)]
struct Listed {
    last: Vec<u8>,
    bytes: u64,
}

impl Listed {
    /// Takes the next file; false if its name is no plain one or not behind the one before, or the sizes do not add up.
    fn may_follow(&mut self, name: &[u8], bytes: u64) -> bool {
        let is_plain = (1..=FILE_NAME_BYTES_MAX).contains(&name.len())
            && name[0] != b'.'
            && name.iter().all(|&byte| byte.is_ascii_alphanumeric() || b".-_".contains(&byte));
        let Some(sum) = self.bytes.checked_add(bytes).filter(|_| is_plain && name > self.last.as_slice()) else {
            return false;
        };
        self.bytes = sum;
        self.last.clear();
        self.last.extend_from_slice(name);
        true
    }
}

/// A place in a snapshot: all files before this one, and so many bytes of it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct SnapshotPosition {
    /// The file, by its place in the list; at the end, the number of files.
    pub file: u32,
    /// Bytes of it.
    pub offset: u64,
}

impl SnapshotPosition {
    pub(super) fn put(&self, into: &mut Vec<u8>) {
        into.put_u32_le(self.file);
        into.put_u64_le(self.offset);
    }

    pub(super) fn read(fields: &mut Fields<'_>) -> Result<SnapshotPosition, PeerError> {
        Ok(SnapshotPosition { file: fields.u32()?, offset: fields.u64()? })
    }
}

/// Bytes of a snapshot's file.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SnapshotPiece {
    /// Their place. Not checked against the list here: the receiver has that.
    pub position: SnapshotPosition,
    /// The bytes, one at least; their end is within 64 bits.
    pub bytes: Bytes,
}

impl SnapshotPiece {
    pub(super) fn encode(self) -> Result<Encoded, PushError> {
        if !self.is_sound() {
            return Err(PushError::WrongFile { name: format!("file {}", self.position.file) });
        }
        let mut head = Vec::with_capacity(PIECE_HEAD_BYTES);
        self.position.put(&mut head);
        Ok(Encoded { kind: Kind::SnapshotPiece, head, bodies: vec![self.bytes] })
    }

    pub(super) fn decode(payload: Bytes) -> Result<SnapshotPiece, PeerError> {
        let mut fields = Fields::new(Kind::SnapshotPiece, &payload);
        let piece =
            SnapshotPiece { position: SnapshotPosition::read(&mut fields)?, bytes: payload.slice(PIECE_HEAD_BYTES..) };
        if piece.is_sound() { Ok(piece) } else { Err(fields.malformed("it is empty or has no end")) }
    }

    fn is_sound(&self) -> bool {
        !self.bytes.is_empty() && self.position.offset.checked_add(self.bytes.len() as u64).is_some()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_plain_names_in_their_order_are_listed() {
        let is_listed = |names: &[&str]| {
            let mut listed = Listed::default();
            names.iter().all(|name| listed.may_follow(name.as_bytes(), 1))
        };
        assert!(is_listed(&["000012.sst", "CURRENT", "MANIFEST-000005", "STORE"]));
        for names in [["../x"], ["."], [".."], [".hidden"], ["a/b"], ["a\\b"], ["/etc"], [""], ["a\0b"], ["ä"]] {
            assert!(!is_listed(&names), "{names:?}");
        }
        assert!(!is_listed(&["b", "a"]) && !is_listed(&["a", "a"]));
        assert!(is_listed(&[&"a".repeat(64)]) && !is_listed(&[&"a".repeat(65)]));
    }

    #[test]
    fn sizes_that_do_not_add_up_are_refused() {
        let mut listed = Listed::default();
        assert!(listed.may_follow(b"a", u64::MAX) && listed.may_follow(b"b", 0) && !listed.may_follow(b"c", 1));
    }
}
