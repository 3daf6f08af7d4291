//! Rows that a request is going to read and that are not in memory.
//!
//! While an entry is applied, reads wait for the disk, and the core with them. So rows are looked for before a write joins a batch,
//! and a reader thread fetches all that are missing at once. What a handler reads beyond those, a
//! [`Trial`](crate::Trial) finds.
//!
//! To be called on rows that do not wait for the disk.

use std::ops::{Bound, ControlFlow};

use super::Keyspace;
use super::collection::Collection;
use super::field_deadlines::{self, Deadline};
use super::hashed_names::{name_element, random_name};
use super::held::Held;
use super::key::Due;
use super::keyspace::damaged;
use super::lists::End;
use super::meta::Type;
use super::record::{Lookup, Record};
use super::renewal::Removed;
use super::sorted_rows::{SortedRows, order_element};
use super::streams::StreamId;
use crate::limits::{COLD_KEY_BYTES_MAX, COLD_ROWS_MAX, COLD_SCAN_BYTES, EXACT_NAMES_MAX, WEIGHED_ELEMENTS_MIN};
use crate::{ColdRead, Direction, Error, Result};

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
        Err(Error::Cold(ColdRead::Keys(rows))) => {
            cold.extend(rows);
            Ok(None)
        }
        Err(error) => Err(error),
    }
}

/// Returns whether no more rows are looked for before these are fetched. Those of one collection are about as long as the last one.
pub fn is_enough_cold(cold: &ColdRows) -> bool {
    cold.len() >= COLD_ROWS_MAX || cold.last().is_some_and(|row| row.len() * cold.len() >= COLD_KEY_BYTES_MAX)
}

impl Keyspace<'_> {
    /// Notes the metadata of `key`, if it is cold.
    ///
    /// # Errors
    /// As the read of it; [`Error::Cold`] only for rows that are no single ones.
    pub fn cold_key(&self, key: &[u8], cold: &mut ColdRows) -> Result<()> {
        note(self.lookup(key).map(drop), cold).map(drop)
    }

    /// Notes which of `names` in the hash, set or sorted set at `key` are cold, up to [`COLD_ROWS_MAX`], or else its metadata. If
    /// the command removes rows, a small collection that has left many behind is written anew (see `Removed`): then looks for all
    /// of it. `removes` says how many names the command has in all, and up to how many bytes to look. Where they are all in memory,
    /// also notes what of the counts of a sorted set is cold that will change when they go. Says whether a write of the names
    /// changes such counts.
    ///
    /// # Errors
    /// As [`Keyspace::cold_key`]; [`Error::WrongType`]; [`Error::Cold`] with elements of what is written anew.
    pub fn cold_names<'n, N>(
        &self,
        key: &[u8],
        kind: Type,
        names: N,
        removes: Option<(u64, usize)>,
        cold: &mut ColdRows,
    ) -> Result<bool>
    where
        N: Iterator<Item = &'n [u8]> + Clone,
    {
        assert!(matches!(kind, Type::Hash | Type::Set | Type::SortedSet), "a {kind:?} has no names");
        let Some(Some(Held::Rows(collection))) = note(self.held(key, kind), cold)? else { return Ok(false) };
        if let (Some((count, bytes_max)), Some((removed, _))) = (removes, Removed::read(collection.fields()))
            && removed.may_renew(collection.size, count)
        {
            self.cold_elements(key, bytes_max)?;
        }
        let before = cold.len();
        for name in names.clone() {
            note(self.has_element(&collection, &name_element(NAMES, name)), cold)?;
            note(Deadline::read(self, &collection, name), cold)?;
            if is_enough_cold(cold) {
                break;
            }
        }
        if kind != Type::SortedSet || removes.is_none() {
            return Ok(false);
        }
        let sorted_set = SortedRows::read(collection)?;
        if !sorted_set.is_counted(self) {
            return Ok(false);
        }
        if cold.len() > before {
            return Ok(true);
        }
        for name in names {
            if let Some(score) = sorted_set.score(self, name)? {
                note(sorted_set.look_at_ranks(self, Some(&order_element(score, name)), None), cold)?;
            }
            if is_enough_cold(cold) {
                break;
            }
        }
        if cold.len() == before {
            sorted_set.look_at_building(self)?;
        }
        Ok(true)
    }

    /// Notes what of the counts of the sorted set at `key` is cold that will change when `members` get these scores, or else its
    /// metadata.
    ///
    /// # Errors
    /// As [`Keyspace::cold_names`]; [`Error::Cold`] with the rows of a block that has to be split.
    pub fn cold_places<'m>(
        &self,
        key: &[u8],
        members: impl Iterator<Item = (&'m [u8], f64)>,
        cold: &mut ColdRows,
    ) -> Result<()> {
        let Some(Some(Held::Rows(collection))) = note(self.held(key, Type::SortedSet), cold)? else { return Ok(()) };
        let sorted_set = SortedRows::read(collection)?;
        for (member, score) in members.filter(|(_, score)| !score.is_nan()) {
            note(sorted_set.look_at_ranks(self, None, Some(&order_element(score, member))), cold)?;
            if is_enough_cold(cold) {
                break;
            }
        }
        Ok(())
    }

    /// Returns whether a command that touches up to `count` elements of the collection at `key` may write it anew (see `Removed`),
    /// which reads all of it at the end.
    ///
    /// # Errors
    /// As the look-up of the collection.
    pub fn may_renew(&self, key: &[u8], kind: Type, count: u64) -> Result<bool> {
        let Lookup { record, prior } = self.lookup(key)?;
        let is_of_rows = |record: &Record<'_>| record.kind() == kind && !record.is_packed();
        let Some(record) = record.filter(is_of_rows) else { return Ok(false) };
        let collection = self.open(key, &record, prior)?;
        Ok(Removed::read(collection.fields()).is_some_and(|(removed, _)| removed.may_renew(collection.size, count)))
    }

    /// Notes which of the entries `ids` of the stream at `key` are cold, up to [`COLD_ROWS_MAX`], or else its metadata.
    ///
    /// # Errors
    /// As [`Keyspace::cold_key`]; [`Error::WrongType`].
    pub fn cold_entries(&self, key: &[u8], ids: impl Iterator<Item = StreamId>, cold: &mut ColdRows) -> Result<()> {
        let Some(Some(stream)) = note(self.stream(key), cold)? else { return Ok(()) };
        for id in ids {
            note(stream.contains(self, id), cold)?;
            if is_enough_cold(cold) {
                break;
            }
        }
        Ok(())
    }

    /// Notes the places from where on names in the collection at `key` are cold that `count` draws from `random` will meet, or else
    /// its metadata ([`ColdRead::Places`]). Looks no further than [`COLD_ROWS_MAX`] draws, and for none if all members are asked
    /// for or they are few: those come in a row.
    ///
    /// # Errors
    /// As [`Keyspace::cold_names`].
    pub fn cold_draws(
        &self,
        key: &[u8],
        kind: Type,
        count: u64,
        random: &mut dyn FnMut() -> u64,
        cold: &mut ColdRows,
    ) -> Result<()> {
        let Some(Some(Held::Rows(collection))) = note(self.held(key, kind), cold)? else { return Ok(()) };
        if count >= collection.size || collection.size <= EXACT_NAMES_MAX {
            return Ok(());
        }
        for _ in 0..count.min(COLD_ROWS_MAX as u64) {
            match random_name(self, &collection, NAMES, random()) {
                Err(Error::Cold(ColdRead::Scan { from, .. })) => cold.push(from),
                drawn => drop(drawn?),
            }
            if is_enough_cold(cold) {
                break;
            }
        }
        cold.sort_unstable();
        cold.dedup();
        Ok(())
    }

    /// Looks for the elements of whatever collection is at `key`, up to `bytes_max` of them.
    ///
    /// # Errors
    /// As the reads of it: [`Error::Cold`] with the first elements that are cold, or its metadata.
    pub fn cold_elements(&self, key: &[u8], bytes_max: usize) -> Result<()> {
        let Lookup { record, prior } = self.lookup(key)?;
        let is_of_rows = |record: &Record<'_>| record.kind() != Type::String && !record.is_packed();
        let Some(record) = record.filter(is_of_rows) else { return Ok(()) };
        let (collection, all, mut bytes_left) = (self.open(key, &record, prior)?, Bound::Unbounded, bytes_max);
        self.scan_elements(&collection, all, all, Direction::Forward, &mut |element, value| {
            bytes_left = bytes_left.saturating_sub(element.len() + value.len());
            if bytes_left > 0 { ControlFlow::Continue(()) } else { ControlFlow::Break(()) }
        })
    }

    /// Returns the bytes that the rows of `key` have, about. Of a collection, elements of `bytes_max` bytes are looked at, and the
    /// others are believed to be like them.
    ///
    /// # Errors
    /// As the reads of it.
    pub fn weigh(&self, key: &[u8], bytes_max: usize) -> Result<usize> {
        let Lookup { record, prior } = self.lookup(key)?;
        let Some(record) = record else { return Ok(0) };
        if record.kind() == Type::String || record.is_packed() {
            return Ok(record.body().len());
        }
        let (collection, all) = (self.open(key, &record, prior)?, Bound::Unbounded);
        let (mut bytes, mut count, mut largest) = (0, 0u64, 0);
        self.scan_elements(&collection, all, all, Direction::Forward, &mut |element, value| {
            let element_bytes = element.len() + value.len();
            (bytes, count, largest) = (bytes + element_bytes, count + 1, largest.max(element_bytes));
            // A single large one says nothing of the others.
            let goes_on = bytes < bytes_max || (count < WEIGHED_ELEMENTS_MIN && bytes - largest < bytes_max);
            if goes_on { ControlFlow::Continue(()) } else { ControlFlow::Break(()) }
        })?;
        let others = collection.size.saturating_sub(count);
        let mean = (bytes - largest) as u64 / count.saturating_sub(1).max(1);
        Ok(bytes.saturating_add(mean.saturating_mul(others) as usize))
    }

    /// Returns the bytes of the larger one of the two elements at the ends of the list at `key`; 0 if there is no list.
    ///
    /// # Errors
    /// As the reads of it.
    pub fn weigh_ends(&self, key: &[u8]) -> Result<usize> {
        let Some(record) = self.lookup(key)?.record.filter(|record| record.kind() == Type::List) else { return Ok(0) };
        if record.is_packed() {
            return Ok(record.body().len());
        }
        drop(record);
        let Some(list) = self.list(key)? else { return Ok(0) };
        let mut bytes = 0;
        for index in [0, list.len().saturating_sub(1)] {
            bytes = bytes.max(list.get(self, index)?.map_or(0, |element| element.len()));
        }
        Ok(bytes)
    }

    /// Looks for the element at `end` of the list at `key`.
    ///
    /// # Errors
    /// As the read of it: [`Error::Cold`] with a scan that begins there, since who takes one element mostly takes the next.
    pub fn cold_end(&self, key: &[u8], end: End) -> Result<()> {
        let Some(list) = self.list(key)? else { return Ok(()) };
        let (index, direction) = match end {
            End::Head => (0, Direction::Forward),
            End::Tail => (list.len() - 1, Direction::Backward),
        };
        match list.get(self, index) {
            Err(Error::Cold(ColdRead::Key(from))) => {
                Err(Error::Cold(ColdRead::Scan { from, direction, bytes: COLD_SCAN_BYTES }))
            }
            found => found.map(drop),
        }
    }

    /// Notes the metadata of those of the first `count_max` keys with a passed deadline from `from_ms` on that is cold.
    ///
    /// # Errors
    /// As [`Keyspace::cold_key`]; [`Error::Cold`] if the deadlines themselves are cold.
    pub fn cold_due(&self, count_max: usize, from_ms: u64, cold: &mut ColdRows) -> Result<()> {
        let due = self.due(Due::Keys, count_max, from_ms)?;
        for (space, key) in &due {
            note(self.lookup_in_space(*space, key).map(drop), cold)?;
        }
        Ok(())
    }

    /// The same of those of the first `count_max` hashes that have fields whose deadline has passed, from `from_ms` on; of one
    /// whose metadata is in memory, looks for these fields.
    ///
    /// # Errors
    /// As [`Keyspace::cold_due`]; [`Error::Cold`] if the fields are cold.
    pub fn cold_due_fields(&self, count_max: usize, from_ms: u64, cold: &mut ColdRows) -> Result<()> {
        let mut left = count_max;
        for (space, key) in self.due(Due::Fields, count_max, from_ms)? {
            if left == 0 {
                // As many as are removed at once.
                break;
            }
            let Some(Lookup { record, prior }) = note(self.lookup_in_space(space, &key), cold)? else { continue };
            let Some(record) = record.filter(|record| !record.is_packed()) else { continue };
            let collection = Collection::read(space, &key, record.kind(), record.body(), prior);
            left -= field_deadlines::look_for_expired(self, &collection.ok_or_else(|| damaged(&key))?, left)?;
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::keyspace::{Packing, ROW_RULES, Scratch, VersionSource};
    use crate::limits::{COLD_SCAN_ROW_BYTES_MIN, PINNED_BYTES_AT_ONCE};
    use crate::{BlockCache, OnMiss, Store, StoreOptions};

    /// A store whose rows are all on disk, opened anew: a hash, a set and keys that are due.
    fn cold_store(home: &std::path::Path) -> Store {
        let options = StoreOptions::new(ROW_RULES, 1 << 20, BlockCache::new(1 << 20));
        let mut store = Store::open(home, &options).unwrap();
        let mut scratch = Scratch::default();
        let mut keyspace = Keyspace::new(&mut store, &mut scratch, VersionSource::entry(1), 0, 1000);
        let mut hash = keyspace.hash_or_new(b"hash").unwrap();
        let value = vec![b'v'; 1000];
        for number in 0..1000u32 {
            hash.insert(&mut keyspace, &number.to_be_bytes(), &value).unwrap();
        }
        hash.save(&mut keyspace).unwrap();
        let mut set = keyspace.set_or_new(b"set").unwrap();
        for number in 0..1000u32 {
            set.insert(&mut keyspace, &[&number.to_be_bytes(), &value[..100]].concat()).unwrap();
        }
        set.save(&mut keyspace).unwrap();
        for number in 0..100u32 {
            keyspace.set_string(&number.to_be_bytes(), &value, Some(2000)).unwrap();
        }
        reopened(store, home, &options)
    }

    /// The store with all its rows on disk and none in memory.
    fn reopened(mut store: Store, home: &std::path::Path, options: &StoreOptions) -> Store {
        store.set_applied(1, b"1", None);
        let done = store.freeze().unwrap().run();
        drop(store.finish(done).unwrap());
        drop(store);
        let mut store = Store::open(home, options).unwrap();
        store.set_on_miss(OnMiss::Cold);
        store
    }

    /// Probes until nothing is cold; returns how many rows were fetched in each round.
    fn rounds(
        store: &mut Store,
        read: fn(ColdRows) -> ColdRead,
        probe: impl Fn(&Keyspace<'_>, &mut ColdRows) -> Result<()>,
    ) -> Vec<usize> {
        let reader = store.cold_reader();
        let mut rounds = Vec::new();
        while rounds.len() < 10 {
            let (mut scratch, mut cold) = (Scratch::default(), ColdRows::new());
            let keyspace = Keyspace::new(store, &mut scratch, VersionSource::none(), 0, 5000);
            let missing = match probe(&keyspace, &mut cold) {
                Ok(()) if cold.is_empty() => return rounds,
                Ok(()) => read(cold.clone()),
                Err(Error::Cold(missing)) => missing,
                Err(error) => panic!("{error}"),
            };
            rounds.push(cold.len());
            reader.fetch(&missing).unwrap();
        }
        panic!("still cold after {rounds:?}");
    }

    #[test]
    fn cold_rows_are_named_and_fetched_together() {
        let home = tempfile::tempdir().unwrap();
        let mut store = cold_store(home.path());
        let names: Vec<[u8; 4]> = (0..50u32).map(|number| (number * 20).to_be_bytes()).collect();
        let names = || names.iter().map(|name| name.as_slice());

        let of_hash = rounds(&mut store, ColdRead::Keys, |keyspace, cold| {
            keyspace.cold_names(b"hash", Type::Hash, names(), None, cold).map(drop)
        });
        assert!(of_hash.iter().any(|count| *count > 10), "many names at once: {of_hash:?}");
        let draws = || {
            let mut number = 0u64;
            move || {
                number += 1;
                number.wrapping_mul(0x9E37_79B9_7F4A_7C15)
            }
        };
        let of_set = rounds(&mut store, ColdRead::Places, |keyspace, cold| {
            keyspace.cold_draws(b"set", Type::Set, 50, &mut draws(), cold)
        });
        assert!(of_set.iter().any(|count| *count > 10), "many draws at once: {of_set:?}");
        let of_due = rounds(&mut store, ColdRead::Keys, |keyspace, cold| keyspace.cold_due(200, 0, cold));
        assert!(!of_due.is_empty(), "{of_due:?}");

        // Now the write finds everything in memory.
        let mut scratch = Scratch::default();
        let mut keyspace = Keyspace::new(&mut store, &mut scratch, VersionSource::entry(2), 0, 5000);
        let mut hash = keyspace.hash_or_new(b"hash").unwrap();
        for name in names() {
            assert!(!hash.insert(&mut keyspace, name, b"new").unwrap());
        }
        let (mut set, mut draws) = (keyspace.set(b"set").unwrap().unwrap(), draws());
        for _ in 0..50 {
            set.pop(&mut keyspace, draws(), &mut |_| ()).unwrap();
        }
        assert_eq!(keyspace.delete_expired(200, 0).unwrap(), 100);
    }

    #[test]
    fn rows_larger_than_what_is_fetched_at_once_are_fetched() {
        let home = tempfile::tempdir().unwrap();
        let options = StoreOptions::new(ROW_RULES, 64 << 20, BlockCache::new(64 << 20));
        let mut store = Store::open(home.path(), &options).unwrap();
        let mut scratch = Scratch::default();
        let mut keyspace = Keyspace::new(&mut store, &mut scratch, VersionSource::entry(1), 0, 1000);
        let mut set = keyspace.set_or_new(b"set").unwrap();
        for number in 0..200u32 {
            set.insert(&mut keyspace, &[&number.to_be_bytes()[..], &[0; 20_000]].concat()).unwrap();
        }
        set.save(&mut keyspace).unwrap();
        let mut list = keyspace.list_or_new(b"list").unwrap();
        for _ in 0..4 {
            list.push(&mut keyspace, End::Tail, &vec![0; 3 * COLD_SCAN_BYTES]).unwrap();
        }
        list.save(&mut keyspace);
        let options = StoreOptions { block_cache: BlockCache::new(64 << 20), ..options };
        let mut store = reopened(store, home.path(), &options);

        let seeds: Vec<u64> = (1..=20).map(|number| number << 56).collect();
        let of_set = rounds(&mut store, ColdRead::Places, |keyspace, cold| {
            let mut seeds = seeds.iter();
            keyspace.cold_draws(b"set", Type::Set, 20, &mut || *seeds.next().unwrap(), cold)
        });
        assert!(of_set.iter().any(|count| *count > 5), "{of_set:?}");
        let of_list = rounds(&mut store, ColdRead::Keys, |keyspace, _| keyspace.cold_elements(b"list", usize::MAX));
        assert!(of_list.len() > 2, "{of_list:?}");
    }

    #[test]
    fn rows_of_a_long_key_are_looked_for_a_few_at_a_time() {
        const KEY_BYTES: usize = COLD_KEY_BYTES_MAX / 4;
        let home = tempfile::tempdir().unwrap();
        let options = StoreOptions::new(ROW_RULES, 1 << 20, BlockCache::new(64 << 20));
        let mut store = Store::open(home.path(), &options).unwrap();
        let (key, names) = (vec![b'k'; KEY_BYTES], [b"a", b"b", b"c", b"d", b"e", b"f", b"g", b"h", b"i"]);
        let mut scratch = Scratch::default();
        let versions = VersionSource::entry(1).with_packing(&Packing::NONE);
        let mut keyspace = Keyspace::new(&mut store, &mut scratch, versions, 0, 1000);
        let mut set = keyspace.set_or_new(&key).unwrap();
        for name in names {
            set.insert(&mut keyspace, name).unwrap();
        }
        set.save(&mut keyspace).unwrap();
        let mut store = reopened(store, home.path(), &options);
        let met = rounds(&mut store, ColdRead::Keys, |keyspace, cold| {
            keyspace.cold_names(&key, Type::Set, names.iter().map(|name| name.as_slice()), None, cold).map(drop)
        });
        assert!(met.len() > 2 && met.iter().all(|count| *count <= 4), "{met:?}");
    }

    #[test]
    fn what_is_kept_at_once_is_bounded() {
        const COUNT: usize = 40;
        const VALUE_BYTES: usize = 1 << 20;
        let home = tempfile::tempdir().unwrap();
        let options = StoreOptions::new(ROW_RULES, 64 << 20, BlockCache::new(1 << 20));
        let mut store = Store::open(home.path(), &options).unwrap();
        let key = |number: usize| (number as u32).to_be_bytes();
        let mut scratch = Scratch::default();
        let mut keyspace = Keyspace::new(&mut store, &mut scratch, VersionSource::entry(1), 0, 1000);
        for number in 0..COUNT {
            keyspace.set_string(&key(number), &vec![0; VALUE_BYTES], None).unwrap();
        }
        let mut store = reopened(store, home.path(), &options);
        let reader = store.cold_reader();
        let mut looks = Vec::new();
        loop {
            let (mut scratch, mut cold) = (Scratch::default(), ColdRows::new());
            let keyspace = Keyspace::new(&mut store, &mut scratch, VersionSource::none(), 0, 1000);
            (0..COUNT).try_for_each(|number| keyspace.cold_key(&key(number), &mut cold)).unwrap();
            let Some(mut pinned) = reader.pin(&ColdRead::Keys(cold.clone())).unwrap().take_pinned() else {
                panic!("none")
            };
            assert!(pinned.bytes() < PINNED_BYTES_AT_ONCE + 2 * VALUE_BYTES, "{} bytes", pinned.bytes());
            looks.push(cold.len());
            if cold.is_empty() {
                break;
            }
            if let Some(before) = store.take_pinned() {
                assert!(pinned.merge(before), "nothing was ingested");
            }
            assert!(store.set_pinned(pinned));
        }
        assert!(looks.len() == 3 && looks[0] > looks[1] && looks[2] == 0, "all at once, or for ever: {looks:?}");
    }

    /// A store with a sorted set of so many members, all on disk.
    fn cold_sorted_set(home: &std::path::Path, count: u32, packing: &'static Packing) -> Store {
        let options = StoreOptions::new(ROW_RULES, 64 << 20, BlockCache::new(64 << 20));
        let mut store = Store::open(home, &options).unwrap();
        let mut scratch = Scratch::default();
        let versions = VersionSource::entry(1).with_packing(packing);
        let mut keyspace = Keyspace::new(&mut store, &mut scratch, versions, 0, 1000);
        let mut sorted_set = keyspace.sorted_set_or_new(b"z").unwrap();
        for number in 0..count {
            let number = number * 7919 % count;
            sorted_set.insert(&mut keyspace, &number.to_be_bytes(), None, f64::from(number)).unwrap();
        }
        sorted_set.save(&mut keyspace).unwrap();
        // Opening reads what is first and what is last, and their blocks with them.
        let value = vec![b'v'; 10_000];
        for number in 0..50 {
            keyspace.set_string(format!("string:{number}").as_bytes(), &value, None).unwrap();
            for prefix in ["a", "zz"] {
                let mut hash = keyspace.hash_or_new(format!("{prefix}:{number}").as_bytes()).unwrap();
                hash.insert(&mut keyspace, b"f", &value).unwrap();
                hash.save(&mut keyspace).unwrap();
            }
        }
        let options = StoreOptions { block_cache: BlockCache::new(64 << 20), ..options };
        reopened(store, home, &options)
    }

    #[test]
    fn a_rank_of_a_large_cold_sorted_set_fetches_some_dozen_rows() {
        const COUNT: u32 = 60_000;
        let home = tempfile::tempdir().unwrap();
        let mut store = cold_sorted_set(home.path(), COUNT, &Packing::STANDARD);
        let reader = store.cold_reader();
        for number in [COUNT / 2, COUNT / 3, 17] {
            let (mut fetched, mut rounds) = (0, 0);
            let rank = loop {
                let mut scratch = Scratch::default();
                let keyspace = Keyspace::new(&mut store, &mut scratch, VersionSource::none(), 0, 5000);
                let rank = keyspace.sorted_set(b"z").and_then(|sorted_set| {
                    sorted_set.unwrap().rank(&keyspace, &number.to_be_bytes(), Direction::Forward)
                });
                let missing = match rank {
                    Ok(rank) => break rank,
                    Err(Error::Cold(missing)) => missing,
                    Err(error) => panic!("{error}"),
                };
                fetched += match &missing {
                    ColdRead::Keys(rows) => rows.len(),
                    ColdRead::Scan { bytes, .. } => bytes / COLD_SCAN_ROW_BYTES_MIN,
                    _ => 1,
                };
                rounds += 1;
                reader.fetch(&missing).unwrap();
            };
            assert_eq!(rank, Some(number.into()));
            assert!(fetched <= 90 && rounds <= 12, "{fetched} rows in {rounds} rounds");
            assert!(fetched >= 3 && rounds >= 2, "it was not cold: {fetched} rows in {rounds} rounds");
        }
    }

    #[test]
    fn what_a_write_of_a_large_cold_sorted_set_counts_is_looked_for_before() {
        const COUNT: u32 = 20_000;
        for packing in [&Packing::STANDARD, &Packing::UNCOUNTED] {
            let home = tempfile::tempdir().unwrap();
            let mut store = cold_sorted_set(home.path(), COUNT, packing);
            // Enough members at one place for a block to be split, one whose score changes, and one that goes.
            let added: Vec<[u8; 5]> = (0..70).map(|number| [b'm', 0, 0, 0, number]).collect();
            let (changed, removed) = ((COUNT / 3).to_be_bytes(), (COUNT / 4).to_be_bytes());
            let score = f64::from(COUNT / 2) + 0.5;
            for (index, member) in added.iter().map(|member| &member[..]).chain([&changed[..], &removed]).enumerate() {
                let is_removed = *member == removed;
                let met = rounds(&mut store, ColdRead::Keys, |keyspace, cold| {
                    let names = [member].into_iter();
                    keyspace.cold_names(b"z", Type::SortedSet, names, Some((1, usize::MAX)), cold)?;
                    if is_removed {
                        return Ok(());
                    }
                    keyspace.cold_places(b"z", [(member, score)].into_iter(), cold)
                });
                assert!(index > 0 || met.len() > 1, "it was not cold: {met:?}");
                let (mut scratch, versions) = (Scratch::default(), VersionSource::entry(index as u64 + 2));
                let mut keyspace = Keyspace::new(&mut store, &mut scratch, versions, 0, 5000);
                // A cold row would be an error.
                let mut sorted_set = keyspace.sorted_set(b"z").unwrap().unwrap();
                if is_removed {
                    assert!(sorted_set.remove(&mut keyspace, member).unwrap());
                } else {
                    let old = sorted_set.score(&keyspace, member).unwrap();
                    sorted_set.insert(&mut keyspace, member, old, score).unwrap();
                }
                sorted_set.save(&mut keyspace).unwrap();
            }
        }
    }

    #[test]
    fn another_type_is_no_reason_to_wait() {
        let home = tempfile::tempdir().unwrap();
        let mut store = cold_store(home.path());
        let reader = store.cold_reader();
        let (mut scratch, mut cold) = (Scratch::default(), ColdRows::new());
        let keyspace = Keyspace::new(&mut store, &mut scratch, VersionSource::none(), 0, 5000);
        keyspace.cold_key(b"set", &mut cold).unwrap();
        reader.fetch(&ColdRead::Keys(cold.clone())).unwrap();
        let names = [b"name".as_slice()].into_iter();
        assert!(matches!(keyspace.cold_names(b"set", Type::Hash, names, None, &mut cold), Err(Error::WrongType)));
    }
}
