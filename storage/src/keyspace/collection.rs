//! A collection's metadata in the hands of a command, and the way to its element rows.

use smallvec::SmallVec;

use super::key::{ElementKey, RowKey, Slot};
use super::meta::{Prior, Type};
use crate::limits::{FIELDS_BYTES_INLINE, FIELDS_BYTES_MAX};
use crate::spaces::Space;

/// A list, set, hash, sorted set or stream: its metadata, and the prefix of its element rows.
///
/// Opened by [`Keyspace::collection`](super::Keyspace::collection) and its siblings. A command changes elements, sets
/// [`size`](Collection::size) and fields to match, and calls [`Keyspace::save`](super::Keyspace::save) once at the end.
#[derive(Debug, Clone)]
pub struct Collection {
    /// Number of elements, as the type counts them.
    pub size: u64,
    pub(super) kind: Type,
    pub(super) version: u64,
    pub(super) deadline_ms: Option<u64>,
    /// Of a hash: the earliest deadline of a field. None is earlier, and once it is saved one is no later.
    pub(super) fields_due_ms: Option<u64>,
    pub(super) prior: Prior,
    pub(super) prefix: RowKey,
    fields: SmallVec<[u8; FIELDS_BYTES_INLINE]>,
    pub(super) is_new: bool,
    /// True if it takes the place of a key that was there, which is told to be gone if it is saved empty.
    pub(super) replaces: bool,
}

impl Collection {
    pub(super) fn new(space: Space, key: &[u8], kind: Type, version: u64, prior: Prior) -> Collection {
        let prefix = ElementKey::prefix(space, prior.slot, key, version);
        let fields = SmallVec::new();
        let (deadline_ms, fields_due_ms) = (None, None);
        let (is_new, replaces) = (true, false);
        Collection { size: 0, kind, version, deadline_ms, fields_due_ms, prior, prefix, fields, is_new, replaces }
    }

    /// Reads the body of a collection's metadata row; `None` if the bytes are not one.
    pub(super) fn read(space: Space, key: &[u8], kind: Type, body: &[u8], prior: Prior) -> Option<Collection> {
        let (version, rest) = body.split_first_chunk::<8>()?;
        let (size, fields) = rest.split_first_chunk::<8>()?;
        if kind == Type::String || fields.len() > FIELDS_BYTES_MAX {
            return None;
        }
        let mut collection = Collection::new(space, key, kind, u64::from_be_bytes(*version), prior);
        collection.size = u64::from_be_bytes(*size);
        (collection.deadline_ms, collection.fields_due_ms) = (prior.deadline_ms, prior.fields_due_ms);
        collection.fields = SmallVec::from_slice(fields);
        collection.is_new = false;
        Some(collection)
    }

    /// The key.
    pub fn key(&self) -> &[u8] {
        ElementKey::key_of_prefix(&self.prefix)
    }

    /// The key's slot.
    pub fn slot(&self) -> Slot {
        self.prior.slot
    }

    /// The collection's type.
    pub fn kind(&self) -> Type {
        self.kind
    }

    /// The key's deadline in Unix milliseconds: after it, the key does not exist.
    pub fn deadline_ms(&self) -> Option<u64> {
        self.deadline_ms
    }

    /// Returns whether the key does not hold this collection yet: it was just made and never saved.
    pub fn is_new(&self) -> bool {
        self.is_new
    }

    /// The type's own fields, in its own encoding; empty for a new collection.
    pub fn fields(&self) -> &[u8] {
        &self.fields
    }

    /// Replaces the type's own fields.
    ///
    /// # Panics
    /// If they are longer than `FIELDS_BYTES_MAX`.
    pub fn set_fields(&mut self, fields: &[u8]) {
        assert!(fields.len() <= FIELDS_BYTES_MAX, "a collection's own fields are bounded");
        self.fields.clear();
        self.fields.extend_from_slice(fields);
    }

    /// The row key of `element`.
    pub(super) fn row_key(&self, element: &[u8]) -> RowKey {
        let mut row = RowKey::with_capacity(self.prefix.len() + element.len());
        row.extend_from_slice(&self.prefix);
        row.extend_from_slice(element);
        row
    }
}
