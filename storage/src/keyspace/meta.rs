//! The metadata record of a key.
//!
//! ```text
//! [header u8: low nibble = type, high nibble = flags][deadline_ms u64 BE, if flag 0x10][fields due u64 BE, if flag 0x40][body …]
//! string:      body = the value
//! collection:  body = [version u64 BE][size u64 BE][type's own fields …]
//! packed:      flag 0x20; body = all of a small collection, see `packed.rs`. It has no element rows, and so no version
//! fields due:  of a hash with deadlines of fields alone: the earliest of them, see `field_deadlines.rs`
//!   list       own fields = [head i64 BE][tail i64 BE]       elements are numbered head..tail
//!   stream     own fields = see `streams.rs`
//! ```

use super::key::Slot;
use crate::{Error, Result};

/// A key's metadata row as it was looked up: the next write of that key has to undo it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Prior {
    pub(super) slot: Slot,
    /// Set if there is a metadata row at all, be it expired.
    pub(super) stored: bool,
    pub(super) deadline_ms: Option<u64>,
    /// The earliest deadline of a hash's fields.
    pub(super) fields_due_ms: Option<u64>,
}

impl Prior {
    /// There is no row of a key in `slot`.
    pub(super) fn absent(slot: Slot) -> Prior {
        Prior { slot, stored: false, deadline_ms: None, fields_due_ms: None }
    }
}

/// A key's type.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
#[repr(u8)]
pub enum Type {
    /// A byte string.
    String = 0,
    /// A list.
    List = 1,
    /// A set.
    Set = 2,
    /// A sorted set.
    SortedSet = 3,
    /// A hash.
    Hash = 4,
    /// A stream.
    Stream = 5,
}

impl Type {
    /// The name `TYPE` answers.
    pub fn name(self) -> &'static str {
        match self {
            Type::String => "string",
            Type::List => "list",
            Type::Set => "set",
            Type::SortedSet => "zset",
            Type::Hash => "hash",
            Type::Stream => "stream",
        }
    }

    /// The type with that name, whatever its case.
    pub fn named(name: &[u8]) -> Option<Type> {
        [Type::String, Type::List, Type::Set, Type::SortedSet, Type::Hash, Type::Stream]
            .into_iter()
            .find(|kind| kind.name().as_bytes().eq_ignore_ascii_case(name))
    }

    pub(super) fn from_nibble(nibble: u8) -> Option<Type> {
        Some(match nibble {
            0 => Type::String,
            1 => Type::List,
            2 => Type::Set,
            3 => Type::SortedSet,
            4 => Type::Hash,
            5 => Type::Stream,
            _ => return None,
        })
    }
}

const FLAG_DEADLINE: u8 = 0x10;
const FLAG_PACKED: u8 = 0x20;
const FLAG_FIELDS_DUE: u8 = 0x40;
const DEADLINE_BYTES: usize = size_of::<u64>();

/// A key's metadata, borrowed from its row.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Meta<'a> {
    /// The key's type.
    pub kind: Type,
    /// The key's deadline in Unix milliseconds: after it, the key does not exist.
    pub deadline_ms: Option<u64>,
    /// The earliest deadline of a hash's fields; `None` if no field has one.
    pub fields_due_ms: Option<u64>,
    /// True if the body is all of a collection.
    pub is_packed: bool,
    /// A string's value, a collection's fields, or a packed collection.
    pub body: &'a [u8],
}

impl<'a> Meta<'a> {
    /// Reads a metadata row; `None` if the bytes are not one.
    pub fn read(row: &'a [u8]) -> Option<Meta<'a>> {
        let (&header, rest) = row.split_first()?;
        let kind = Type::from_nibble(header & 0x0F)?;
        let is_packed = header & FLAG_PACKED != 0;
        if is_packed && matches!(kind, Type::String | Type::Stream) {
            return None;
        }
        match header & 0xF0 & !FLAG_PACKED {
            0 => Some(Meta { kind, deadline_ms: None, fields_due_ms: None, is_packed, body: rest }),
            FLAG_DEADLINE => {
                let (deadline_ms, body) = split_deadline(rest)?;
                Some(Meta { kind, deadline_ms: Some(deadline_ms), fields_due_ms: None, is_packed, body })
            }
            flags if kind == Type::Hash && flags & !FLAG_DEADLINE == FLAG_FIELDS_DUE => {
                let has_deadline = flags & FLAG_DEADLINE != 0;
                let (deadline_ms, rest) = match has_deadline {
                    true => split_deadline(rest).map(|(deadline_ms, rest)| (Some(deadline_ms), rest))?,
                    false => (None, rest),
                };
                let (fields_due_ms, body) = split_deadline(rest)?;
                Some(Meta { kind, deadline_ms, fields_due_ms: Some(fields_due_ms), is_packed, body })
            }
            _ => None,
        }
    }

    /// The earliest deadline of a hash's fields in a metadata row that was written whole.
    #[inline]
    pub(super) fn fields_due_of(row: &[u8]) -> Option<u64> {
        if row[0] & FLAG_FIELDS_DUE == 0 { None } else { Meta::read(row)?.fields_due_ms }
    }

    /// Writes the row's header, up to the body, into `out`, which is cleared first.
    pub fn write_header(out: &mut Vec<u8>, kind: Type, is_packed: bool, deadline_ms: Option<u64>) {
        out.clear();
        let header = kind as u8 | if is_packed { FLAG_PACKED } else { 0 };
        match deadline_ms {
            None => out.push(header),
            Some(deadline) => {
                out.push(header | FLAG_DEADLINE);
                out.extend_from_slice(&deadline.to_be_bytes());
            }
        }
    }

    /// Writes the same of a hash whose earliest deadline of a field is `fields_due_ms`, if it has one.
    pub(super) fn write_header_with_fields(
        out: &mut Vec<u8>,
        (kind, is_packed): (Type, bool),
        deadline_ms: Option<u64>,
        fields_due_ms: Option<u64>,
    ) {
        Meta::write_header(out, kind, is_packed, deadline_ms);
        if let Some(fields_due_ms) = fields_due_ms {
            debug_assert_eq!(kind, Type::Hash, "only hashes have fields");
            out[0] |= FLAG_FIELDS_DUE;
            out.extend_from_slice(&fields_due_ms.to_be_bytes());
        }
    }

    /// Returns whether the key is past its deadline at `now_ms`. Redis counts a key as expired once now is after the deadline.
    pub fn is_expired(&self, now_ms: u64) -> bool {
        self.deadline_ms.is_some_and(|deadline| now_ms > deadline)
    }

    /// The version that a collection's element rows carry; `None` for a string, and for a packed collection, which has none.
    pub fn version(&self) -> Option<u64> {
        if self.kind == Type::String || self.is_packed {
            return None;
        }
        self.body.first_chunk::<8>().map(|version| u64::from_be_bytes(*version))
    }

    /// Checks that the key holds `kind`.
    ///
    /// # Errors
    /// [`Error::WrongType`] otherwise.
    pub fn expect(self, kind: Type) -> Result<Meta<'a>> {
        if self.kind == kind { Ok(self) } else { Err(Error::WrongType) }
    }
}

fn split_deadline(bytes: &[u8]) -> Option<(u64, &[u8])> {
    let (deadline, rest) = bytes.split_first_chunk::<DEADLINE_BYTES>()?;
    Some((u64::from_be_bytes(*deadline), rest))
}
