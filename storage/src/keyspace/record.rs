//! The record that looking a key up gives.

use super::meta::{Prior, Type};
use crate::Row;

/// The metadata of a live key, with the row that holds it.
pub struct Record<'a> {
    pub(super) row: Row<'a>,
    pub(super) kind: Type,
    pub(super) deadline_ms: Option<u64>,
    pub(super) fields_due_ms: Option<u64>,
    pub(super) is_packed: bool,
    pub(super) body_start: usize,
}

impl Record<'_> {
    /// The key's type.
    pub fn kind(&self) -> Type {
        self.kind
    }

    /// The key's deadline in Unix milliseconds: after it, the key does not exist.
    pub fn deadline_ms(&self) -> Option<u64> {
        self.deadline_ms
    }

    /// The earliest deadline of a hash's fields in Unix milliseconds; it may have passed.
    pub fn fields_due_ms(&self) -> Option<u64> {
        self.fields_due_ms
    }

    /// Returns whether the row is all of a collection.
    pub fn is_packed(&self) -> bool {
        self.is_packed
    }

    /// A string's value, a collection's version, size and own fields, or a packed collection.
    pub fn body(&self) -> &[u8] {
        &self.row[self.body_start..]
    }
}

/// The outcome of looking a key up for writing.
pub struct Lookup<'a> {
    /// The key's metadata, if it is live.
    pub record: Option<Record<'a>>,
    /// The row that a write has to undo.
    pub prior: Prior,
}
