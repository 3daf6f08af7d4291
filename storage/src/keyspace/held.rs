//! A collection as its key holds it: in one row, or in rows of its own.

use super::Keyspace;
use super::collection::Collection;
use super::keyspace::damaged;
use super::meta::Type;
use super::packed::Packed;
use super::record::{Lookup, Record};
use crate::{Error, Result};

/// A collection in the form in which its key holds it. Each type has both; what is packed becomes rows when it outgrows the bounds
/// of [`Packing`](super::Packing), and never comes back.
#[derive(Debug)]
pub(super) enum Held {
    /// All of it in the metadata row.
    Packed(Packed),
    /// A row for each element.
    Rows(Collection),
}

impl Held {
    pub(super) fn read(keyspace: &Keyspace<'_>, key: &[u8], lookup: &Lookup<'_>, record: &Record<'_>) -> Result<Held> {
        if record.is_packed {
            let mut packed = Packed::read(key, record, lookup.prior).ok_or_else(|| damaged(key))?;
            if record.fields_due_ms.is_some() {
                packed.expired_count = packed.drop_expired(keyspace.now_ms)?;
            }
            return Ok(Held::Packed(packed));
        }
        keyspace.open(key, record, lookup.prior).map(Held::Rows)
    }

    /// Returns the number of elements, as the type counts them.
    pub(super) fn len(&self) -> u64 {
        match self {
            Held::Packed(packed) => packed.len(),
            Held::Rows(collection) => collection.size,
        }
    }

    /// Returns whether there are no elements.
    pub(super) fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// The key.
    pub(super) fn key(&self) -> &[u8] {
        match self {
            Held::Packed(packed) => packed.key(),
            Held::Rows(collection) => collection.key(),
        }
    }
}

impl Keyspace<'_> {
    /// The collection at `key`, unless it is absent or expired.
    ///
    /// # Errors
    /// [`Error::WrongType`] if the key holds another type than `kind`.
    pub(super) fn held(&self, key: &[u8], kind: Type) -> Result<Option<Held>> {
        let lookup = self.lookup(key)?;
        self.count_lookup(key, lookup.record.is_some());
        match &lookup.record {
            None => Ok(None),
            Some(record) if record.kind != kind => Err(Error::WrongType),
            Some(record) => Held::read(self, key, &lookup, record).map(Some),
        }
    }

    /// The collection at `key`, or a new empty one that exists once it is saved: a packed one, if the entry packs this type.
    ///
    /// # Errors
    /// [`Error::WrongType`] if the key holds another type than `kind`.
    pub(super) fn held_or_new(&mut self, key: &[u8], kind: Type) -> Result<Held> {
        let lookup = self.lookup(key)?;
        match &lookup.record {
            Some(record) if record.kind != kind => return Err(Error::WrongType),
            Some(record) => return Held::read(self, key, &lookup, record),
            None => {}
        }
        let prior = lookup.prior;
        drop(lookup);
        if self.packing().packs(kind) {
            return Ok(Held::Packed(Packed::new(key, kind, prior)));
        }
        let version = self.versions.next();
        Ok(Held::Rows(Collection::new(self.space, key, kind, version, prior)))
    }

    /// A new empty collection that replaces whatever `key` holds once it is saved; saved empty, it deletes the key.
    pub(super) fn held_replacing(&mut self, key: &[u8], kind: Type) -> Result<Held> {
        if !self.packing().packs(kind) {
            return self.replacement(key, kind).map(Held::Rows);
        }
        let lookup = self.lookup(key)?;
        let mut packed = Packed::new(key, kind, lookup.prior);
        packed.replace(lookup.record.is_some());
        Ok(Held::Packed(packed))
    }

    /// The collection that takes the place of `packed`, with no elements yet: the caller puts all of them, sets size and fields,
    /// and saves it in the same command.
    pub(super) fn unpacked(&mut self, packed: &Packed) -> Collection {
        let version = self.versions.next();
        let mut collection = Collection::new(self.space, packed.key(), packed.kind(), version, packed.prior());
        collection.deadline_ms = packed.deadline_ms();
        collection.replaces = packed.replaces();
        collection.fields_due_ms = packed.deadlines.earliest_ms();
        collection
    }
}
