//! A payload, field by field. All integers are little-endian; every length is checked against the bytes that are there before
//! anything is made of it.

use super::error::PeerError;
use super::ids::{LogId, NodeNumber, Vote};
use super::kind::Kind;

/// Reads the fields of a payload one after the other.
pub(super) struct Fields<'a> {
    kind: Kind,
    bytes: &'a [u8],
}

impl<'a> Fields<'a> {
    pub(super) fn new(kind: Kind, bytes: &'a [u8]) -> Fields<'a> {
        Fields { kind, bytes }
    }

    pub(super) fn malformed(&self, what: &'static str) -> PeerError {
        PeerError::Malformed { kind: self.kind, what }
    }

    /// Bytes that have not been read.
    pub(super) fn left(&self) -> usize {
        self.bytes.len()
    }

    pub(super) fn take(&mut self, bytes: usize) -> Result<&'a [u8], PeerError> {
        let (taken, rest) = self.bytes.split_at_checked(bytes).ok_or_else(|| self.malformed("it ends too early"))?;
        self.bytes = rest;
        Ok(taken)
    }

    pub(super) fn array<const N: usize>(&mut self) -> Result<[u8; N], PeerError> {
        let (taken, rest) = self.bytes.split_first_chunk().ok_or_else(|| self.malformed("it ends too early"))?;
        self.bytes = rest;
        Ok(*taken)
    }

    pub(super) fn u8(&mut self) -> Result<u8, PeerError> {
        Ok(u8::from_le_bytes(self.array()?))
    }

    pub(super) fn u16(&mut self) -> Result<u16, PeerError> {
        Ok(u16::from_le_bytes(self.array()?))
    }

    pub(super) fn u32(&mut self) -> Result<u32, PeerError> {
        Ok(u32::from_le_bytes(self.array()?))
    }

    pub(super) fn u64(&mut self) -> Result<u64, PeerError> {
        Ok(u64::from_le_bytes(self.array()?))
    }

    /// A byte that is 0 or 1.
    pub(super) fn flag(&mut self) -> Result<bool, PeerError> {
        match self.u8()? {
            0 => Ok(false),
            1 => Ok(true),
            _ => Err(self.malformed("a flag is neither 0 nor 1")),
        }
    }

    /// A count of things that have `bytes_each` bytes at least: no more of them than `most`, and than there are bytes for.
    pub(super) fn count(&mut self, most: usize, bytes_each: usize) -> Result<usize, PeerError> {
        let count = self.u32()? as usize;
        if count > most {
            return Err(self.malformed("a count is more than is allowed"));
        }
        if count > self.left() / bytes_each {
            return Err(self.malformed("a count is more than there are bytes for"));
        }
        Ok(count)
    }

    pub(super) fn vote(&mut self) -> Result<Vote, PeerError> {
        Ok(Vote { term: self.countable()?, node: NodeNumber(self.u64()?), is_committed: self.flag()? })
    }

    /// A term or an index. No log gets near to half of the numbers, and Raft adds to them without looking.
    pub(super) fn countable(&mut self) -> Result<u64, PeerError> {
        let number = self.u64()?;
        if number < 1 << 63 { Ok(number) } else { Err(self.malformed("a term or an index is not below 2^63")) }
    }

    pub(super) fn log_id_option(&mut self) -> Result<Option<LogId>, PeerError> {
        let (is_there, id) = (self.flag()?, LogId { term: self.countable()?, index: self.countable()? });
        if !is_there && id != (LogId { term: 0, index: 0 }) {
            return Err(self.malformed("a log id that is missing has a value"));
        }
        Ok(is_there.then_some(id))
    }

    /// Bytes that have to be 0.
    pub(super) fn zeros(&mut self, bytes: usize) -> Result<(), PeerError> {
        let are_zero = self.take(bytes)?.iter().all(|&byte| byte == 0);
        if are_zero { Ok(()) } else { Err(self.malformed("bytes without meaning are not 0")) }
    }

    /// The end of the payload.
    pub(super) fn end(&self) -> Result<(), PeerError> {
        if self.bytes.is_empty() { Ok(()) } else { Err(self.malformed("it goes on behind its end")) }
    }
}
