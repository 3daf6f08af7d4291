//! Hashes: one row per field, ordered by the field's hash.
//!
//! ```text
//! fields    [removed u32 BE]                         see `renewal.rs`
//! element   [0x00][name_hash(field) u32 BE][field …] → value
//! ```
//!
//! See `hashed_names.rs` for the hash, which HSCAN's cursor and HRANDFIELD's draw rest on. Kind 0x01 is reserved for the deadlines
//! of fields (`[0x01][name_hash(field)][field …] → deadline`), to be announced by further bytes in the metadata's fields,
//! so that hashes without them never look.

use super::Keyspace;
use super::collection::Collection;
use super::hashed_names::{each_name, name_element};
use super::keyspace::damaged;
use super::meta::Type;
use super::renewal::Removed;
use crate::{Result, Row};

/// Row kind of a hash's fields.
const FIELD: u8 = 0x00;

/// A hash, opened for one command. Changes to its size take effect with [`Hash::save`].
#[derive(Debug)]
pub struct Hash {
    collection: Collection,
    removed: Removed,
}

impl Keyspace<'_> {
    /// The hash at `key`, unless the key is absent or expired.
    ///
    /// # Errors
    /// [`Error::WrongType`](crate::Error::WrongType) if the key holds another type.
    pub fn hash(&self, key: &[u8]) -> Result<Option<Hash>> {
        self.collection(key, Type::Hash)?.map(Hash::read).transpose()
    }

    /// The hash at `key`, or a new empty one.
    ///
    /// # Errors
    /// [`Error::WrongType`](crate::Error::WrongType) if the key holds another type.
    pub fn hash_or_new(&mut self, key: &[u8]) -> Result<Hash> {
        let collection = self.collection_or_new(key, Type::Hash)?;
        if collection.is_new() { Ok(Hash { collection, removed: Removed::default() }) } else { Hash::read(collection) }
    }

    /// A new empty hash that replaces whatever `key` holds once it is saved; saved empty, it deletes the key.
    ///
    /// # Errors
    /// As the look-up of the key.
    pub fn hash_replacing(&mut self, key: &[u8]) -> Result<Hash> {
        Ok(Hash { collection: self.replacement(key, Type::Hash)?, removed: Removed::default() })
    }
}

impl Hash {
    fn read(collection: Collection) -> Result<Hash> {
        match Removed::read(collection.fields()) {
            Some((removed, [])) => Ok(Hash { collection, removed }),
            _ => Err(damaged(collection.key())),
        }
    }

    /// Returns the number of fields.
    pub fn len(&self) -> u64 {
        self.collection.size
    }

    /// Returns whether there are none.
    pub fn is_empty(&self) -> bool {
        self.collection.size == 0
    }

    /// The value of `field`.
    pub fn get<'k>(&self, keyspace: &'k Keyspace<'_>, field: &[u8]) -> Result<Option<Row<'k>>> {
        keyspace.element(&self.collection, &name_element(FIELD, field))
    }

    /// Visits all fields with their values.
    pub fn each(&self, keyspace: &Keyspace<'_>, visit: &mut dyn FnMut(&[u8], &[u8])) -> Result<()> {
        each_name(keyspace, &self.collection, FIELD, visit)
    }

    /// Sets `field` to `value` and says whether the field is new.
    pub fn insert(&mut self, keyspace: &mut Keyspace<'_>, field: &[u8], value: &[u8]) -> Result<bool> {
        let element = name_element(FIELD, field);
        // A hash that does not exist yet has no rows to look for.
        let is_new = self.is_empty() || !keyspace.has_element(&self.collection, &element)?;
        keyspace.put_element(&self.collection, &element, value);
        self.collection.size += u64::from(is_new);
        Ok(is_new)
    }

    /// Removes `field` and says whether it was there.
    pub fn remove(&mut self, keyspace: &mut Keyspace<'_>, field: &[u8]) -> Result<bool> {
        let element = name_element(FIELD, field);
        if !keyspace.has_element(&self.collection, &element)? {
            return Ok(false);
        }
        keyspace.delete_element(&self.collection, &element);
        self.collection.size -= 1;
        self.removed.count(1);
        Ok(true)
    }

    /// Stores the hash's size, or deletes the key if the hash is empty.
    pub fn save(&mut self, keyspace: &mut Keyspace<'_>) -> Result<()> {
        self.removed.renew(keyspace, &mut self.collection)?;
        self.collection.set_fields(&self.removed.bytes());
        keyspace.save(&mut self.collection);
        Ok(())
    }
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
