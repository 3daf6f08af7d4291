//! One database of a shard as commands see it: live keys, their types, and their elements.
//!
//! What a newcomer would get wrong: a key past its deadline still has its rows. Reads treat it as absent; writes must
//! account for it, since its metadata row is counted and its deadline is indexed. [`Prior`] carries that from the lookup
//! to the write, so no write looks a key up twice.

use std::ops::Bound;

use super::collection::Collection;
use super::key::{self, ElementKey, RowKey, SLOT_COUNT, Slot};
use super::key_events::EventClasses;
use super::meta::{Meta, Prior, Type};
use super::packing::Packing;
use super::record::{Lookup, Record};
use super::scratch::{KeyCounts, Scratch};
use super::string_edit::StringEdit;
use super::version::VersionSource;
use crate::limits::FIELDS_BYTES_MAX;
use crate::rows::Visit;
use crate::spaces::Space;
use crate::{Counters, DATABASE_COUNT, Direction, Error, Result, Row, Rows};

/// One database of a shard, at one moment.
///
/// Handlers never read clocks: "now" is the leader's time in the log entry for writes, the core's time for reads.
pub struct Keyspace<'a> {
    pub(super) rows: &'a mut dyn Rows,
    pub(super) scratch: &'a mut Scratch,
    pub(super) versions: VersionSource,
    pub(super) now_ms: u64,
    /// The database by the number that clients know, which is what is told of it.
    pub(super) db: u8,
    /// The space of its rows, which are made of this alone.
    pub(super) space: Space,
    /// True if keys that are looked up and not there are told.
    tells_misses: bool,
    /// True if the next key that is put is told to be new though it may take the place of another.
    puts_anew: bool,
    /// True if keys that are found or put count as used.
    pub(super) notes_accesses: bool,
}

impl<'a> Keyspace<'a> {
    /// The keys of database `db` in `rows` as of `now_ms` (Unix milliseconds).
    ///
    /// # Panics
    /// If `db` is not below [`DATABASE_COUNT`].
    pub fn new(
        rows: &'a mut dyn Rows,
        scratch: &'a mut Scratch,
        versions: VersionSource,
        db: u8,
        now_ms: u64,
    ) -> Keyspace<'a> {
        assert!((db as usize) < DATABASE_COUNT, "database {db} does not exist");
        let space = rows.counters().spaces.of(db);
        let [tells_misses, puts_anew, notes_accesses] = [false; 3];
        Keyspace { rows, scratch, versions, now_ms, db, space, tells_misses, puts_anew, notes_accesses }
    }

    /// The moment this keyspace shows, in Unix milliseconds.
    pub fn now_ms(&self) -> u64 {
        self.now_ms
    }

    /// The work that its rows have been so far, see [`Rows::work`].
    pub fn work(&self) -> u64 {
        self.rows.work()
    }

    /// The source of versions as it stands, to go on with in the next keyspace of the same log entry.
    pub fn versions(&self) -> VersionSource {
        self.versions
    }

    /// The bounds up to which collections are packed.
    pub(super) fn packing(&self) -> &'static Packing {
        self.versions.packing()
    }

    /// The shard's key counts. As in Redis, they include expired keys that are not deleted yet.
    pub fn counters(&self) -> &Counters {
        self.rows.counters()
    }

    // ---- telling what becomes of keys ----

    /// Tells those who want to hear of `class` that `event` has become of `key`.
    #[inline]
    pub fn notify(&self, class: EventClasses, event: &str, key: &[u8]) {
        if self.scratch.told().has(class) {
            self.scratch.note_event(class, self.db, event.as_bytes(), key);
        }
    }

    /// The same of a command that has taken something away from `key`, which is gone if nothing is left.
    #[inline]
    pub fn notify_taken(&self, class: EventClasses, event: &str, key: &[u8], is_gone: bool) {
        self.notify(class, event, key);
        if is_gone {
            self.notify(EventClasses::GENERIC, "del", key);
        }
    }

    /// Tells that `key` was looked for and is not there.
    #[inline]
    pub fn notify_miss(&self, key: &[u8]) {
        self.notify(EventClasses::MISS, "keymiss", key);
    }

    /// Counts events of keys for which there was no room where they were made.
    pub fn note_dropped_events(&self, count: u64) {
        self.scratch.note_dropped_events(count);
    }

    /// Says whether keys that are looked up from here on and are not there are told: of commands that only read.
    pub fn tell_misses(&mut self, tells_misses: bool) {
        self.tells_misses = tells_misses;
    }

    /// Says that the key which is put next takes the place of one that is deleted, so that it is told to be new, as in Redis.
    pub fn put_anew(&mut self) {
        self.puts_anew = true;
    }

    /// Has events of these classes told from here on, and of no others; returns those that were told before.
    pub fn tell(&mut self, classes: EventClasses) -> EventClasses {
        let before = self.scratch.told();
        self.scratch.tell(classes);
        before
    }

    // ---- looking keys up ----

    /// Looks `key` up for a write.
    pub fn lookup(&self, key: &[u8]) -> Result<Lookup<'_>> {
        self.lookup_in_space(self.space, key)
    }

    /// Looks `key` of the database in `space` up.
    pub(super) fn lookup_in_space(&self, space: Space, key: &[u8]) -> Result<Lookup<'_>> {
        let slot = Slot::of(key);
        let row_key = key::meta_key(space, slot, key);
        let Some(row) = self.rows.get(&row_key)? else {
            return Ok(Lookup { record: None, prior: Prior::absent(slot) });
        };
        let meta = Meta::read(&row).ok_or_else(|| damaged(key))?;
        let Meta { deadline_ms, fields_due_ms, .. } = meta;
        let prior = Prior { slot, stored: true, deadline_ms, fields_due_ms };
        if meta.is_expired(self.now_ms) {
            return Ok(Lookup { record: None, prior });
        }
        self.note_access(&row_key);
        let Meta { kind, is_packed, body, .. } = meta;
        let body_start = row.len() - body.len();
        Ok(Lookup { record: Some(Record { row, kind, deadline_ms, fields_due_ms, is_packed, body_start }), prior })
    }

    /// The metadata of `key`, unless it is absent or expired.
    pub fn record(&self, key: &[u8]) -> Result<Option<Record<'_>>> {
        let record = self.lookup(key)?.record;
        self.count_lookup(key, record.is_some());
        Ok(record)
    }

    pub(super) fn count_lookup(&self, key: &[u8], found: bool) {
        self.scratch.count_lookup(found);
        if !found && self.tells_misses {
            self.notify_miss(key);
        }
    }

    /// Returns whether `key` exists.
    pub fn exists(&self, key: &[u8]) -> Result<bool> {
        Ok(self.record(key)?.is_some())
    }

    /// The string at `key` ([`Record::body`] is its value).
    ///
    /// # Errors
    /// [`Error::WrongType`] if the key holds a collection.
    pub fn string(&self, key: &[u8]) -> Result<Option<Record<'_>>> {
        match self.record(key)? {
            Some(record) if record.kind != Type::String => Err(Error::WrongType),
            record => Ok(record),
        }
    }

    /// The collection at `key`, unless it is absent or expired; of a type that is never packed.
    ///
    /// # Errors
    /// [`Error::WrongType`] if the key holds another type than `kind`.
    pub fn collection(&self, key: &[u8], kind: Type) -> Result<Option<Collection>> {
        let lookup = self.lookup(key)?;
        self.count_lookup(key, lookup.record.is_some());
        let Some(record) = lookup.record else { return Ok(None) };
        if record.kind != kind {
            return Err(Error::WrongType);
        }
        self.open(key, &record, lookup.prior).map(Some)
    }

    /// The collection at `key`, or a new empty one that exists from [`Keyspace::save`] on.
    ///
    /// # Errors
    /// [`Error::WrongType`] if the key holds another type than `kind`.
    pub fn collection_or_new(&mut self, key: &[u8], kind: Type) -> Result<Collection> {
        let Lookup { record, prior } = self.lookup(key)?;
        if let Some(record) = record {
            if record.kind != kind {
                return Err(Error::WrongType);
            }
            return self.open(key, &record, prior);
        }
        drop(record);
        let version = self.versions.next();
        Ok(Collection::new(self.space, key, kind, version, prior))
    }

    /// A new empty collection that replaces whatever `key` holds once it is saved; saved empty, it deletes the key.
    pub fn replacement(&mut self, key: &[u8], kind: Type) -> Result<Collection> {
        let Lookup { record, prior } = self.lookup(key)?;
        let replaces = record.is_some();
        drop(record);
        let version = self.versions.next();
        let mut collection = Collection::new(self.space, key, kind, version, prior);
        collection.replaces = replaces;
        Ok(collection)
    }

    /// Whatever collection is at `key`, in rows of its own: for commands that work on every type.
    pub(super) fn open(&self, key: &[u8], record: &Record<'_>, prior: Prior) -> Result<Collection> {
        if record.is_packed {
            return Err(damaged(key));
        }
        Collection::read(self.space, key, record.kind, record.body(), prior).ok_or_else(|| damaged(key))
    }

    // ---- writing metadata ----

    /// Sets `key` to a string, whatever it held before. A deadline that is not after now deletes it.
    pub fn set_string(&mut self, key: &[u8], value: &[u8], deadline_ms: Option<u64>) -> Result<()> {
        let prior = self.lookup(key)?.prior;
        self.put_string(key, prior, value, deadline_ms);
        Ok(())
    }

    /// Sets each key of `pairs` to a string, whatever it held before; all are looked up before the first is set.
    ///
    /// # Errors
    /// As the look-ups: nothing is set then.
    pub fn set_strings<'p>(&mut self, pairs: impl Iterator<Item = (&'p [u8], &'p [u8])> + Clone) -> Result<()> {
        let priors: Vec<Prior> = pairs.clone().map(|(key, _)| Ok(self.lookup(key)?.prior)).collect::<Result<_>>()?;
        let mut seen = [0u64; SLOT_COUNT as usize / u64::BITS as usize];
        for ((key, value), prior) in pairs.zip(priors) {
            let slot = usize::from(prior.slot.index());
            let (word, bit) = (&mut seen[slot / u64::BITS as usize], 1 << (slot % u64::BITS as usize));
            // It may be a key that was set a moment ago.
            let prior = if *word & bit == 0 { prior } else { self.lookup(key)?.prior };
            *word |= bit;
            self.put_string(key, prior, value, None);
            self.notify(EventClasses::STRING, "set", key);
        }
        Ok(())
    }

    /// Sets `key`, looked up before as `prior`, to a string. A deadline that is not after now deletes it.
    pub fn put_string(&mut self, key: &[u8], prior: Prior, value: &[u8], deadline_ms: Option<u64>) {
        let mut row = self.scratch.take();
        Meta::write_header(&mut row, Type::String, false, deadline_ms);
        row.extend_from_slice(value);
        self.put_row(key, prior, deadline_ms, &row);
        self.scratch.give_back(row);
    }

    /// Sets `key` to a string that `edit` makes out of the old one (empty if the key is absent); a deadline stays.
    /// Returns the new length.
    ///
    /// # Errors
    /// [`Error::WrongType`] if the key holds a collection.
    pub fn edit_string(&mut self, key: &[u8], edit: impl FnOnce(&mut StringEdit<'_>)) -> Result<usize> {
        let mut row = self.scratch.take();
        let Lookup { record, prior } = self.lookup(key)?;
        let deadline_ms = record.as_ref().and_then(|record| record.deadline_ms);
        Meta::write_header(&mut row, Type::String, false, deadline_ms);
        let header_bytes = row.len();
        if let Some(record) = &record {
            if record.kind != Type::String {
                return Err(Error::WrongType);
            }
            row.extend_from_slice(record.body());
        }
        drop(record);
        edit(&mut StringEdit { row: &mut row, header_bytes });
        let length = row.len() - header_bytes;
        self.put_row(key, prior, deadline_ms, &row);
        self.scratch.give_back(row);
        Ok(length)
    }

    /// Stores `collection`'s size and fields after its elements were changed. An empty collection is deleted, unless
    /// it is a stream: those live on for their last id.
    pub fn save(&mut self, collection: &mut Collection) {
        let prior = collection.prior;
        if collection.size == 0 && collection.kind != Type::Stream {
            let key = RowKey::from_slice(collection.key());
            self.remove_row(&key, prior);
            collection.prior = Prior::absent(prior.slot);
            collection.is_new = true;
            if std::mem::take(&mut collection.replaces) {
                self.notify(EventClasses::GENERIC, "del", &key);
            }
            return;
        }
        let mut row = self.scratch.take();
        let Collection { kind, deadline_ms, fields_due_ms, .. } = *collection;
        Meta::write_header_with_fields(&mut row, (kind, false), deadline_ms, fields_due_ms);
        row.extend_from_slice(&collection.version.to_be_bytes());
        row.extend_from_slice(&collection.size.to_be_bytes());
        row.extend_from_slice(collection.fields());
        debug_assert!(collection.fields().len() <= FIELDS_BYTES_MAX, "a collection's own fields are bounded");
        let stored = self.put_row(collection.key(), prior, deadline_ms, &row);
        self.scratch.give_back(row);
        let slot = prior.slot;
        collection.prior =
            if stored { Prior { slot, stored, deadline_ms, fields_due_ms } } else { Prior::absent(slot) };
        collection.is_new = !stored;
    }

    /// Gives `collection` a new version: all its element rows are orphans, and the caller writes those that stay.
    pub(super) fn renew(&mut self, collection: &mut Collection) {
        collection.version = self.versions.next();
        collection.prefix = ElementKey::prefix(self.space, collection.slot(), collection.key(), collection.version);
    }

    /// Deletes `key` and says whether it existed. A collection's elements become orphans: one row is touched.
    pub fn delete(&mut self, key: &[u8]) -> Result<bool> {
        let Lookup { record, prior } = self.lookup(key)?;
        let existed = record.is_some();
        drop(record);
        self.remove_row(key, prior);
        Ok(existed)
    }

    /// Gives `key` another deadline or none; one that is not after now deletes it. Says whether the key existed.
    pub fn set_deadline(&mut self, key: &[u8], deadline_ms: Option<u64>) -> Result<bool> {
        let mut row = self.scratch.take();
        let Lookup { record, prior } = self.lookup(key)?;
        match &record {
            None => return Ok(false),
            Some(record) => {
                let what = (record.kind, record.is_packed);
                Meta::write_header_with_fields(&mut row, what, deadline_ms, record.fields_due_ms);
                row.extend_from_slice(record.body());
            }
        }
        drop(record);
        self.put_row(key, prior, deadline_ms, &row);
        self.scratch.give_back(row);
        Ok(true)
    }

    /// Puts `key`'s metadata row and keeps counters and the deadline index in step. A deadline that is not after now deletes the
    /// key instead, as in Redis, whatever command set it: nobody could read it. Says whether the row was put.
    pub(super) fn put_row(&mut self, key: &[u8], prior: Prior, deadline_ms: Option<u64>, row: &[u8]) -> bool {
        let is_anew = std::mem::take(&mut self.puts_anew);
        self.tell_put(key, prior, is_anew);
        // A key whose last millisecond this is still lives, and may be changed.
        let is_last_ms = deadline_ms == Some(self.now_ms) && prior.deadline_ms == deadline_ms;
        if deadline_ms.is_some_and(|deadline_ms| deadline_ms <= self.now_ms) && !is_last_ms {
            self.remove_told_row(key, prior);
            return false;
        }
        let row_key = key::meta_key(self.space, prior.slot, key);
        self.note_access(&row_key);
        self.rows.put(&row_key, row);
        self.count_expired(prior);
        if !prior.stored {
            self.rows.counters_mut().keys[self.db as usize] += 1;
        }
        if prior.deadline_ms != deadline_ms {
            self.move_deadline(key, prior.deadline_ms, deadline_ms);
        }
        let fields_due_ms = Meta::fields_due_of(row);
        if prior.fields_due_ms != fields_due_ms {
            self.move_fields_due(key, prior.fields_due_ms, fields_due_ms);
        }
        self.scratch.note_written(self.db, key);
        true
    }

    /// Removes `key`'s metadata row, if there is one, and keeps counters and the deadline index in step.
    pub(super) fn remove_row(&mut self, key: &[u8], prior: Prior) {
        self.tell_expired(key, prior);
        self.remove_told_row(key, prior);
    }

    fn remove_told_row(&mut self, key: &[u8], prior: Prior) {
        if !prior.stored {
            return;
        }
        self.rows.delete(&key::meta_key(self.space, prior.slot, key));
        self.count_expired(prior);
        let keys = &mut self.rows.counters_mut().keys[self.db as usize];
        *keys = keys.checked_sub(1).expect("a stored key is counted");
        if prior.deadline_ms.is_some() {
            self.move_deadline(key, prior.deadline_ms, None);
        }
        if prior.fields_due_ms.is_some() {
            self.move_fields_due(key, prior.fields_due_ms, None);
        }
        self.scratch.note_written(self.db, key);
    }

    /// Returns whether a key's deadline had passed when it was looked up.
    fn has_expired(&self, prior: Prior) -> bool {
        prior.stored && prior.deadline_ms.is_some_and(|deadline_ms| deadline_ms < self.now_ms)
    }

    /// Tells that `key` is about to be put, if it is new.
    #[inline]
    fn tell_put(&self, key: &[u8], prior: Prior, is_anew: bool) {
        if self.scratch.told() != EventClasses::NONE {
            self.tell_expired(key, prior);
            if is_anew || !prior.stored || self.has_expired(prior) {
                self.notify(EventClasses::NEW, "new", key);
            }
        }
    }

    /// Tells of a key whose deadline had passed, when its row is about to be overwritten or deleted.
    fn tell_expired(&self, key: &[u8], prior: Prior) {
        if self.has_expired(prior) {
            self.notify(EventClasses::EXPIRED, "expired", key);
        }
    }

    /// Counts a key whose deadline had passed when its row was overwritten or deleted.
    fn count_expired(&self, prior: Prior) {
        if self.has_expired(prior) {
            let counts = self.scratch.counts();
            self.scratch.set_counts(KeyCounts { expired: counts.expired + 1, ..counts });
        }
    }

    // ---- elements ----

    /// The value of one element.
    pub fn element(&self, collection: &Collection, element: &[u8]) -> Result<Option<Row<'_>>> {
        let row = collection.row_key(element);
        // Its version was never used before.
        if collection.is_new() { Ok(self.rows.get_of_this_entry(&row)) } else { self.rows.get(&row) }
    }

    /// Returns whether the collection has the element row `element`.
    pub fn has_element(&self, collection: &Collection, element: &[u8]) -> Result<bool> {
        Ok(self.element(collection, element)?.is_some())
    }

    /// Sets one element row. `collection.size` is the caller's to change, and [`Keyspace::save`] to call at the end.
    pub fn put_element(&mut self, collection: &Collection, element: &[u8], value: &[u8]) {
        self.rows.put(&collection.row_key(element), value);
    }

    /// Deletes one element row. `collection.size` is the caller's to change, and [`Keyspace::save`] to call at the end.
    pub fn delete_element(&mut self, collection: &Collection, element: &[u8]) {
        self.rows.delete(&collection.row_key(element));
    }

    /// Visits the collection's element rows between two bounds in order of their bytes, until `visit` breaks.
    ///
    /// The keyspace can be read inside `visit`, so a scan of one collection may look into another.
    pub fn scan_elements(
        &self,
        collection: &Collection,
        lower: Bound<&[u8]>,
        upper: Bound<&[u8]>,
        direction: Direction,
        visit: Visit<'_>,
    ) -> Result<()> {
        let prefix_bytes = collection.prefix.len();
        let from = lower.map(|element| collection.row_key(element));
        let from = match &from {
            Bound::Included(row) => Bound::Included(&row[..]),
            Bound::Excluded(row) => Bound::Excluded(&row[..]),
            Bound::Unbounded => Bound::Included(&collection.prefix[..]),
        };
        let to = upper.map(|element| collection.row_key(element));
        let end = key::after_prefix(&collection.prefix);
        let to = match &to {
            Bound::Included(row) => Bound::Included(&row[..]),
            Bound::Excluded(row) => Bound::Excluded(&row[..]),
            Bound::Unbounded => Bound::Excluded(&end[..]),
        };
        self.rows.scan(from, to, direction, &mut |row, value| visit(&row[prefix_bytes..], value))
    }
}

/// The error for a row that is not what the keyspace writes.
pub(super) fn damaged(key: &[u8]) -> Error {
    Error::Corruption {
        path: std::path::PathBuf::from("data"),
        detail: format!("the row of key '{}' is not readable", key[..key.len().min(128)].escape_ascii()),
    }
}

#[cfg(test)]
mod tests {
    use std::ops::ControlFlow;

    use super::*;
    use crate::MemoryRows;

    #[test]
    fn an_expired_key_is_absent_and_its_successor_counted_once() {
        let (mut rows, mut scratch) = (MemoryRows::default(), Scratch::default());
        let mut keyspace = Keyspace::new(&mut rows, &mut scratch, VersionSource::entry(1), 0, 998);
        keyspace.set_string(b"k", b"old", Some(999)).unwrap();
        let mut keyspace = Keyspace::new(&mut rows, &mut scratch, VersionSource::entry(2), 0, 1000);
        assert!(keyspace.record(b"k").unwrap().is_none());
        assert!(keyspace.collection(b"k", Type::Set).unwrap().is_none());
        let mut set = keyspace.collection_or_new(b"k", Type::Set).unwrap();
        assert!(set.is_new());
        keyspace.put_element(&set, b"e", b"");
        set.size = 1;
        keyspace.save(&mut set);
        assert!(!set.is_new());
        assert_eq!((keyspace.counters().keys[0], keyspace.counters().deadlines[0]), (1, 0));
        assert!(!keyspace.has_due(0).unwrap());
        assert_eq!(keyspace.collection(b"k", Type::Set).unwrap().unwrap().size, 1);
    }

    #[test]
    fn a_collection_saved_with_a_deadline_that_has_passed_is_deleted_and_may_be_saved_again() {
        let (mut rows, mut scratch) = (MemoryRows::default(), Scratch::default());
        let mut keyspace = Keyspace::new(&mut rows, &mut scratch, VersionSource::entry(1), 0, 1000);
        keyspace.set_string(b"k", b"old", None).unwrap();
        let mut set = keyspace.replacement(b"k", Type::Set).unwrap();
        keyspace.put_element(&set, b"e", b"");
        (set.size, set.deadline_ms) = (1, Some(1000));
        keyspace.save(&mut set);
        assert!(!keyspace.exists(b"k").unwrap());
        assert_eq!(*keyspace.counters(), Counters::default());
        set.deadline_ms = Some(1001);
        keyspace.save(&mut set);
        assert!(keyspace.exists(b"k").unwrap());
        assert!(keyspace.has_element(&set, b"e").unwrap());
        assert_eq!((keyspace.counters().keys[0], keyspace.counters().deadlines[0]), (1, 1));
    }

    #[test]
    fn an_emptied_collection_is_deleted_and_a_stream_is_not() {
        let (mut rows, mut scratch) = (MemoryRows::default(), Scratch::default());
        let mut keyspace = Keyspace::new(&mut rows, &mut scratch, VersionSource::entry(1), 0, 1000);
        for (kind, stays) in [(Type::List, false), (Type::Hash, false), (Type::Stream, true)] {
            let mut collection = keyspace.collection_or_new(b"k", kind).unwrap();
            collection.size = 1;
            keyspace.save(&mut collection);
            collection.size = 0;
            keyspace.save(&mut collection);
            assert_eq!(keyspace.exists(b"k").unwrap(), stays, "{kind:?}");
        }
    }

    #[test]
    fn a_recreated_collection_sees_none_of_its_old_elements() {
        let (mut rows, mut scratch) = (MemoryRows::default(), Scratch::default());
        let mut keyspace = Keyspace::new(&mut rows, &mut scratch, VersionSource::entry(1), 0, 1000);
        let mut old = keyspace.collection_or_new(b"k", Type::Hash).unwrap();
        keyspace.put_element(&old, b"f", b"old");
        old.size = 1;
        keyspace.save(&mut old);
        keyspace.delete(b"k").unwrap();
        let mut new = keyspace.collection_or_new(b"k", Type::Hash).unwrap();
        new.size = 1;
        keyspace.save(&mut new);
        assert!(!keyspace.has_element(&new, b"f").unwrap());
    }

    #[test]
    fn another_type_is_refused_and_nothing_changes() {
        let (mut rows, mut scratch) = (MemoryRows::default(), Scratch::default());
        let mut keyspace = Keyspace::new(&mut rows, &mut scratch, VersionSource::entry(1), 0, 1000);
        let mut list = keyspace.collection_or_new(b"l", Type::List).unwrap();
        list.size = 1;
        keyspace.save(&mut list);
        assert!(matches!(keyspace.string(b"l"), Err(Error::WrongType)));
        assert!(matches!(keyspace.edit_string(b"l", |string| string.append(b"x")), Err(Error::WrongType)));
        assert!(matches!(keyspace.collection_or_new(b"l", Type::Set), Err(Error::WrongType)));
        assert_eq!(keyspace.record(b"l").unwrap().unwrap().kind(), Type::List);
    }

    #[test]
    fn scans_of_elements_stay_within_their_collection() {
        let (mut rows, mut scratch) = (MemoryRows::default(), Scratch::default());
        let mut keyspace = Keyspace::new(&mut rows, &mut scratch, VersionSource::entry(1), 0, 1000);
        // versions that follow each other: their rows do too
        let [before, mine, after] = [(); 3].map(|()| keyspace.replacement(b"k", Type::Set).unwrap());
        for collection in [&before, &mine, &after] {
            for element in [&b""[..], b"a", b"b", b"\xFF\xFF"] {
                keyspace.put_element(collection, element, b"v");
            }
        }
        let scan = |lower, upper, direction| {
            let mut seen = Vec::new();
            let visit: Visit<'_> = &mut |element, _| {
                seen.push(element.to_vec());
                ControlFlow::Continue(())
            };
            keyspace.scan_elements(&mine, lower, upper, direction, visit).unwrap();
            seen
        };
        let all = scan(Bound::Unbounded, Bound::Unbounded, Direction::Forward);
        assert_eq!(all, [&b""[..], b"a", b"b", b"\xFF\xFF"]);
        let all = scan(Bound::Unbounded, Bound::Unbounded, Direction::Backward);
        assert_eq!(all, [&b"\xFF\xFF"[..], b"b", b"a", b""]);
        let some = scan(Bound::Excluded(b"a"), Bound::Included(b"b"), Direction::Forward);
        assert_eq!(some, [b"b"]);
    }
}
