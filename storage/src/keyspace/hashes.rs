//! Hashes: packed into one row while they are small, then one row per field, ordered by the field's hash.
//!
//! ```text
//! packed    a field and its value, in the order in which fields were set first    see `packed.rs`
//! fields    [removed u32 BE]                         see `renewal.rs`
//! element   [0x00][name_hash(field) u32 BE][field …] → value
//! ```
//!
//! See `hashed_names.rs` for the hash, which HSCAN's cursor and HRANDFIELD's draw rest on, and `field_deadlines.rs` for hashes
//! whose fields have deadlines: a flag in the metadata's header announces them, so that others never look.
//!
//! What a newcomer would get wrong: a field that is past its deadline is not there, whoever asks, but in a hash of rows it still
//! has its rows, and counts in [`Hash::len`], until [`Keyspace::delete_expired_fields`] comes.

use std::ops::ControlFlow;

use super::Keyspace;
use super::collection::Collection;
use super::field_deadlines::{DEADLINE_ROWS, Deadline, has_expired, put_deadline_rows};
use super::hashed_names::{each_name, name_element};
use super::held::Held;
use super::key_events::EventClasses;
use super::meta::Type;
use super::packed::Packed;
use super::renewal::Removed;
use crate::{Result, Row};

/// Row kind of a hash's fields.
pub(super) const FIELD: u8 = 0x00;

/// A hash, opened for one command. What is changed takes effect with [`Hash::save`].
#[derive(Debug)]
pub struct Hash {
    pub(super) held: Held,
    pub(super) removed: Removed,
    /// True if rows have come or gone, or if an empty hash is to replace what its key holds.
    pub(super) is_resized: bool,
    /// True if it may be written anew for the rows that it has left behind, which reads all of it: the others who leave some
    /// behind, as those who overwrite a field, have nothing more to read by then.
    pub(super) may_renew: bool,
}

impl Keyspace<'_> {
    /// The hash at `key`, unless the key is absent or expired.
    ///
    /// # Errors
    /// [`Error::WrongType`](crate::Error::WrongType) if the key holds another type.
    pub fn hash(&self, key: &[u8]) -> Result<Option<Hash>> {
        self.held(key, Type::Hash)?.map(Hash::read).transpose()
    }

    /// The hash at `key`, or a new empty one.
    ///
    /// # Errors
    /// [`Error::WrongType`](crate::Error::WrongType) if the key holds another type.
    pub fn hash_or_new(&mut self, key: &[u8]) -> Result<Hash> {
        Hash::read(self.held_or_new(key, Type::Hash)?)
    }

    /// A new empty hash that replaces whatever `key` holds once it is saved; saved empty, it deletes the key.
    ///
    /// # Errors
    /// As the look-up of the key.
    pub fn hash_replacing(&mut self, key: &[u8]) -> Result<Hash> {
        let held = self.held_replacing(key, Type::Hash)?;
        Ok(Hash { held, removed: Removed::default(), is_resized: true, may_renew: false })
    }
}

impl Hash {
    pub(super) fn read(held: Held) -> Result<Hash> {
        let removed = Removed::of(&held)?;
        Ok(Hash { held, removed, is_resized: false, may_renew: false })
    }

    /// Returns the number of fields. Of a hash of rows, those past their deadline count as long as they are there, as in Redis.
    pub fn len(&self) -> u64 {
        self.held.len()
    }

    /// Returns whether there are none.
    pub fn is_empty(&self) -> bool {
        self.held.is_empty()
    }

    /// Returns whether the hash is kept in one row.
    pub fn is_packed(&self) -> bool {
        matches!(self.held, Held::Packed(_))
    }

    /// The value of `field`.
    pub fn get<'k>(&'k self, keyspace: &'k Keyspace<'_>, field: &[u8]) -> Result<Option<Row<'k>>> {
        match &self.held {
            Held::Packed(packed) => Ok(packed.find(field).map(|place| Row::Memory(packed.value(place)))),
            Held::Rows(collection) if has_expired(keyspace, collection) && self.is_expired(keyspace, field)? => {
                Ok(None)
            }
            Held::Rows(collection) => keyspace.element(collection, &name_element(FIELD, field)),
        }
    }

    /// Visits all fields with their values.
    pub fn each(&self, keyspace: &Keyspace<'_>, visit: &mut dyn FnMut(&[u8], &[u8])) -> Result<()> {
        match &self.held {
            Held::Packed(packed) => packed.each(&mut |field, value| {
                visit(field, value);
                ControlFlow::Continue(())
            }),
            Held::Rows(collection) if has_expired(keyspace, collection) => {
                self.each_with_deadline(keyspace, &mut |field, value, _| {
                    visit(field, value);
                    Ok(ControlFlow::Continue(()))
                })
            }
            Held::Rows(collection) => each_name(keyspace, collection, FIELD, visit),
        }
    }

    /// Sets `field` to `value`, without a deadline, and says whether the field is new.
    pub fn insert(&mut self, keyspace: &mut Keyspace<'_>, field: &[u8], value: &[u8]) -> Result<bool> {
        self.put(keyspace, field, value, false)
    }

    /// The same, but the field keeps the deadline that it has.
    pub fn update(&mut self, keyspace: &mut Keyspace<'_>, field: &[u8], value: &[u8]) -> Result<bool> {
        self.put(keyspace, field, value, true)
    }

    fn put(&mut self, keyspace: &mut Keyspace<'_>, field: &[u8], value: &[u8], keeps_deadline: bool) -> Result<bool> {
        if let Held::Packed(packed) = &mut self.held
            && let Some(is_new) = put_packed(packed, keyspace, field, value, keeps_deadline)
        {
            return Ok(is_new);
        }
        let collection = self.rows(keyspace);
        let element = name_element(FIELD, field);
        // A hash that does not exist yet has no rows to look for.
        let was_there = collection.size > 0 && keyspace.has_element(collection, &element)?;
        let deadline = if was_there { Deadline::read(keyspace, collection, field)? } else { None };
        let has_expired = deadline.is_some_and(|deadline| deadline.at_ms < keyspace.now_ms);
        keyspace.put_element(collection, &element, value);
        collection.size += u64::from(!was_there);
        if let Some(deadline) = deadline.filter(|_| has_expired || !keeps_deadline) {
            deadline.take_off(keyspace, collection, field);
            self.removed.count(DEADLINE_ROWS);
            self.is_resized = true;
        }
        self.is_resized |= !was_there;
        if has_expired {
            keyspace.notify(EventClasses::HASH, "hexpired", self.held.key());
        }
        Ok(!was_there || has_expired)
    }

    /// The rows of the hash, which it gets now if it was packed.
    fn rows(&mut self, keyspace: &mut Keyspace<'_>) -> &mut Collection {
        if let Held::Packed(packed) = &self.held {
            let mut collection = keyspace.unpacked(packed);
            for (field, value, deadline_ms) in packed.fields() {
                keyspace.put_element(&collection, &name_element(FIELD, field), value);
                if let Some(deadline_ms) = deadline_ms {
                    put_deadline_rows(keyspace, &collection, field, deadline_ms);
                }
            }
            collection.size = packed.len();
            if packed.expired_count > 0 {
                keyspace.notify(EventClasses::HASH, "hexpired", packed.key());
            }
            self.held = Held::Rows(collection);
            self.is_resized = true;
        }
        match &mut self.held {
            Held::Rows(collection) => collection,
            Held::Packed(_) => unreachable!("it has rows now"),
        }
    }

    /// Removes `field` and says whether it was there.
    pub fn remove(&mut self, keyspace: &mut Keyspace<'_>, field: &[u8]) -> Result<bool> {
        match &mut self.held {
            Held::Packed(packed) => {
                let place = packed.find(field);
                place.into_iter().for_each(|place| packed.remove(place));
                Ok(place.is_some())
            }
            Held::Rows(collection) => {
                let element = name_element(FIELD, field);
                if !keyspace.has_element(collection, &element)? {
                    return Ok(false);
                }
                let deadline = Deadline::read(keyspace, collection, field)?;
                if deadline.is_some_and(|deadline| deadline.at_ms < keyspace.now_ms) {
                    return Ok(false);
                }
                keyspace.delete_element(collection, &element);
                collection.size -= 1;
                self.removed.count(1);
                if let Some(deadline) = deadline {
                    deadline.take_off(keyspace, collection, field);
                    self.removed.count(DEADLINE_ROWS);
                }
                (self.is_resized, self.may_renew) = (true, true);
                Ok(true)
            }
        }
    }

    /// Stores what was changed, or deletes the key if the hash is empty.
    pub fn save(&mut self, keyspace: &mut Keyspace<'_>) -> Result<()> {
        match &mut self.held {
            Held::Packed(packed) => keyspace.save_packed(packed),
            Held::Rows(collection) => {
                let is_due_moved = collection.fields_due_ms != collection.prior.fields_due_ms;
                if std::mem::take(&mut self.is_resized) || is_due_moved {
                    if std::mem::take(&mut self.may_renew) {
                        self.removed.renew(keyspace, collection)?;
                    }
                    collection.set_fields(&self.removed.bytes());
                    keyspace.save(collection);
                }
            }
        }
        Ok(())
    }
}

/// Sets a field of a packed hash and says whether it is new; `None`, and nothing is done, if it needs rows.
fn put_packed(
    packed: &mut Packed,
    keyspace: &Keyspace<'_>,
    field: &[u8],
    value: &[u8],
    keeps_deadline: bool,
) -> Option<bool> {
    let packing = keyspace.packing();
    if field.len().max(value.len()) > packing.string_bytes_max {
        return None;
    }
    match packed.find(field) {
        Some(place) => {
            packed.set_value(place, value);
            if !keeps_deadline {
                packed.set_deadline_of(place, None);
            }
        }
        None if packed.count >= packing.hash_fields_max => return None,
        None => {
            packed.push(&[field, value]);
            return Some(true);
        }
    }
    Some(false)
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use proptest::prelude::*;

    use crate::keyspace::support::Shard;

    proptest! {
        #[test]
        fn a_hash_is_a_map(
            steps in proptest::collection::vec(
                (proptest::collection::vec(0..4u8, 0..3), proptest::option::weighted(0.7, any::<[u8; 2]>())),
                1..80,
            )
        ) {
            let mut shard = Shard::default();
            let mut model: BTreeMap<Vec<u8>, [u8; 2]> = BTreeMap::new();
            for (field, value) in steps {
                let mut keyspace = shard.keyspace();
                let mut hash = keyspace.hash_or_new(b"k").unwrap();
                prop_assert_eq!(hash.len(), model.len() as u64);
                let old = hash.get(&keyspace, &field).unwrap();
                prop_assert_eq!(old.as_deref(), model.get(&field).map(|value| &value[..]));
                drop(old);
                match value {
                    Some(value) => {
                        let is_new = hash.insert(&mut keyspace, &field, &value).unwrap();
                        prop_assert_eq!(is_new, model.insert(field, value).is_none());
                    }
                    None => {
                        let existed = hash.remove(&mut keyspace, &field).unwrap();
                        prop_assert_eq!(existed, model.remove(&field).is_some());
                    }
                }
                hash.save(&mut keyspace).unwrap();
                let mut read = BTreeMap::new();
                if let Some(hash) = keyspace.hash(b"k").unwrap() {
                    hash.each(&keyspace, &mut |field, value| {
                        read.insert(field.to_vec(), value.try_into().unwrap());
                    }).unwrap();
                }
                prop_assert_eq!(&read, &model);
                prop_assert_eq!(keyspace.exists(b"k").unwrap(), !model.is_empty());
                prop_assert_eq!(shard.element_count(b"k"), model.len());
            }
        }
    }

    #[test]
    fn a_key_of_another_type_is_refused() {
        let mut shard = Shard::default();
        let mut keyspace = shard.keyspace();
        keyspace.set_string(b"k", b"v", None).unwrap();
        assert!(matches!(keyspace.hash(b"k"), Err(crate::Error::WrongType)));
        assert!(matches!(keyspace.hash_or_new(b"k"), Err(crate::Error::WrongType)));
    }
}
