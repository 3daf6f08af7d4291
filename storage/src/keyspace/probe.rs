//! Which rows a write is going to read that are not in memory.
//!
//! While an entry is applied, reads wait for the disk, and the core with them. So rows are looked for before a write joins a batch,
//! and a reader thread fetches all that are missing at once. It is a guess: what is evicted again, or what a handler reads
//! beyond it, is waited for.
//!
//! To be called on rows that do not wait for the disk.

use super::Keyspace;
use super::key::RowKey;
use super::lists::End;
use super::meta::Type;
use super::names::name_element;
use crate::{ColdRead, Error, Result};

/// Row kind of names in every collection that has names.
const NAMES: u8 = 0x00;

/// Keys of rows that are not in memory.
pub type ColdRows = Vec<Box<[u8]>>;

/// The outcome of a read, unless its row is cold: that is noted.
fn note<T>(read: Result<T>, cold: &mut ColdRows) -> Result<Option<T>> {
    match read {
        Ok(found) => Ok(Some(found)),
        Err(Error::Cold(ColdRead::Key(row))) => {
            cold.push(row);
            Ok(None)
        }
        Err(error) => Err(error),
    }
}

impl Keyspace<'_> {
    /// Notes the metadata of `key`, if it is cold.
    ///
    /// # Errors
    /// As the read of it; [`Error::Cold`] only for rows that are no single ones.
    pub fn cold_key(&self, key: &[u8], cold: &mut ColdRows) -> Result<()> {
        note(self.lookup(key).map(drop), cold).map(drop)
    }

    /// Notes which of `names` in the hash, set or sorted set at `key` are cold, or else its metadata.
    ///
    /// # Errors
    /// As [`Keyspace::cold_key`]; [`Error::WrongType`].
    pub fn cold_names<'n>(
        &self,
        key: &[u8],
        kind: Type,
        names: impl Iterator<Item = &'n [u8]>,
        cold: &mut ColdRows,
    ) -> Result<()> {
        assert!(matches!(kind, Type::Hash | Type::Set | Type::SortedSet), "a {kind:?} has no names");
        let Some(Some(collection)) = note(self.collection(key, kind), cold)? else { return Ok(()) };
        for name in names {
            note(self.has_element(&collection, &name_element(NAMES, name)), cold)?;
        }
        Ok(())
    }

    /// Notes which of the `count` elements at `end` of the list at `key` are cold, or else its metadata.
    ///
    /// # Errors
    /// As [`Keyspace::cold_names`].
    pub fn cold_end(&self, key: &[u8], end: End, count: u64, cold: &mut ColdRows) -> Result<()> {
        let Some(Some(list)) = note(self.list(key), cold)? else { return Ok(()) };
        for place in 0..count.min(list.len()) {
            let index = match end {
                End::Head => place,
                End::Tail => list.len() - 1 - place,
            };
            note(list.get(self, index).map(drop), cold)?;
        }
        Ok(())
    }

    /// Notes the metadata of those of the first `count_max` keys with a passed deadline from `from_ms` on that is cold.
    ///
    /// # Errors
    /// As [`Keyspace::cold_key`]; [`Error::Cold`] if the deadlines themselves are cold.
    pub fn cold_due(&self, count_max: usize, from_ms: u64, cold: &mut ColdRows) -> Result<()> {
        let due: Vec<(u8, RowKey)> = self.due(count_max, from_ms)?;
        for (db, key) in &due {
            note(self.lookup_in(*db, key).map(drop), cold)?;
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::keyspace::{Scratch, VersionSource};
    use crate::{BlockCache, Store, StoreOptions};

    /// A store whose rows are all on disk, opened anew: a hash, a list and keys that are due.
    fn cold_store(home: &std::path::Path) -> Store {
        let options = StoreOptions::new(1 << 20, BlockCache::new(1 << 20));
        let mut store = Store::open(home, &options).unwrap();
        let mut scratch = Scratch::default();
        let mut keyspace = Keyspace::new(&mut store, &mut scratch, VersionSource::entry(1), 0, 1000);
        let mut hash = keyspace.hash_or_new(b"hash").unwrap();
        let value = vec![b'v'; 1000];
        for number in 0..1000u32 {
            hash.insert(&mut keyspace, &number.to_be_bytes(), &value).unwrap();
        }
        hash.save(&mut keyspace).unwrap();
        let mut list = keyspace.list_or_new(b"list").unwrap();
        for _ in 0..1000 {
            list.push(&mut keyspace, End::Tail, &value);
        }
        list.save(&mut keyspace);
        for number in 0..100u32 {
            keyspace.set_string(&number.to_be_bytes(), &value, Some(2000)).unwrap();
        }
        store.set_applied(1, b"1", None);
        let done = store.freeze().unwrap().run();
        drop(store.finish(done).unwrap());
        drop(store);
        let mut store = Store::open(home, &options).unwrap();
        store.set_wait_for_disk(false);
        store
    }

    /// Probes until nothing is cold; returns how many rows were fetched in each round.
    fn rounds(store: &mut Store, probe: impl Fn(&Keyspace<'_>, &mut ColdRows) -> Result<()>) -> Vec<usize> {
        let reader = store.cold_reader();
        let mut rounds = Vec::new();
        while rounds.len() < 10 {
            let (mut scratch, mut cold) = (Scratch::default(), ColdRows::new());
            let keyspace = Keyspace::new(store, &mut scratch, VersionSource::none(), 0, 5000);
            let read = match probe(&keyspace, &mut cold) {
                Ok(()) if cold.is_empty() => return rounds,
                Ok(()) => ColdRead::Keys(cold.clone()),
                Err(Error::Cold(read)) => read,
                Err(error) => panic!("{error}"),
            };
            rounds.push(cold.len());
            reader.warm(&read).unwrap();
        }
        panic!("still cold after {rounds:?}");
    }

    #[test]
    fn cold_rows_are_named_and_fetched_together() {
        let home = tempfile::tempdir().unwrap();
        let mut store = cold_store(home.path());
        let names: Vec<[u8; 4]> = (0..50u32).map(|number| (number * 20).to_be_bytes()).collect();
        let names = || names.iter().map(|name| name.as_slice());

        let of_hash = rounds(&mut store, |keyspace, cold| keyspace.cold_names(b"hash", Type::Hash, names(), cold));
        assert!(of_hash.iter().any(|count| *count > 10), "many names at once: {of_hash:?}");
        let of_list = rounds(&mut store, |keyspace, cold| keyspace.cold_end(b"list", End::Tail, 50, cold));
        assert!(!of_list.is_empty(), "{of_list:?}");
        let of_due = rounds(&mut store, |keyspace, cold| keyspace.cold_due(200, 0, cold));
        assert!(!of_due.is_empty(), "{of_due:?}");

        // Now the write finds everything in memory.
        let mut scratch = Scratch::default();
        let mut keyspace = Keyspace::new(&mut store, &mut scratch, VersionSource::entry(2), 0, 5000);
        let mut hash = keyspace.hash_or_new(b"hash").unwrap();
        for name in names() {
            assert!(!hash.insert(&mut keyspace, name, b"new").unwrap());
        }
        let list = keyspace.list(b"list").unwrap().unwrap();
        assert!((950..1000).all(|index| list.get(&keyspace, index).is_ok()));
        assert_eq!(keyspace.delete_expired(200, 0).unwrap(), 100);
    }

    #[test]
    fn another_type_is_no_reason_to_wait() {
        let home = tempfile::tempdir().unwrap();
        let mut store = cold_store(home.path());
        let reader = store.cold_reader();
        let (mut scratch, mut cold) = (Scratch::default(), ColdRows::new());
        let keyspace = Keyspace::new(&mut store, &mut scratch, VersionSource::none(), 0, 5000);
        keyspace.cold_key(b"list", &mut cold).unwrap();
        reader.warm(&ColdRead::Keys(cold.clone())).unwrap();
        let names = [b"name".as_slice()].into_iter();
        assert!(matches!(keyspace.cold_names(b"list", Type::Set, names, &mut cold), Err(Error::WrongType)));
    }
}
