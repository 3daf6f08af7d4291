//! The database that a keyspace shows, and two that exchange their keys.
//!
//! What a newcomer would get wrong: rows are made of the database's [`Space`], and everything that is told or counted has its
//! number, which is the client's. This is where one becomes the other, for all commands; a keyspace looks at most once for each
//! database that it shows, since nothing but itself can swap databases while it is there.

use super::Keyspace;
use crate::DATABASE_COUNT;
use crate::spaces::Space;

impl Keyspace<'_> {
    /// The database.
    pub fn db(&self) -> u8 {
        self.db
    }

    /// Switches to database `db`: one keyspace serves a whole log entry.
    ///
    /// # Panics
    /// If `db` is not below [`DATABASE_COUNT`].
    pub fn select(&mut self, db: u8) {
        assert!((db as usize) < DATABASE_COUNT, "database {db} does not exist");
        (self.db, self.space) = (db, self.rows.counters().spaces.of(db));
    }

    /// Switches to the database whose rows are in `space`.
    pub(super) fn select_at(&mut self, space: Space) {
        (self.db, self.space) = (self.rows.counters().spaces.database_at(space), space);
    }

    /// Has two databases exchange all of their keys, however many these are: no row but the applied one changes. Whoever waits for
    /// keys of them is to look again.
    ///
    /// # Panics
    /// If one of them is not below [`DATABASE_COUNT`].
    pub fn swap_databases(&mut self, first: u8, second: u8) {
        assert!([first, second].iter().all(|db| usize::from(*db) < DATABASE_COUNT), "both databases exist");
        if first == second {
            return;
        }
        let mut spaces = self.rows.counters().spaces.clone();
        spaces.swap(first, second);
        self.rows.put_databases(&spaces);
        self.rows.counters_mut().swap(first, second);
        self.select(self.db);
        [first, second].into_iter().for_each(|db| self.scratch.note_all_written(db));
    }
}

#[cfg(test)]
mod tests {
    use std::path::Path;
    use std::sync::Arc;

    use super::*;
    use crate::keyspace::{EventClasses, Packing, ROW_RULES, Scratch, VersionSource};
    use crate::{BlockCache, MemoryRows, Rows, Store, StoreOptions, Trial};

    fn keyspace<'a>(rows: &'a mut dyn Rows, scratch: &'a mut Scratch, db: u8) -> Keyspace<'a> {
        Keyspace::new(rows, scratch, VersionSource::entry(1), db, 1000)
    }

    fn value(rows: &mut dyn Rows, db: u8, key: &[u8]) -> Option<Vec<u8>> {
        let mut scratch = Scratch::default();
        let keyspace = keyspace(rows, &mut scratch, db);
        let record = keyspace.string(key).unwrap();
        record.map(|record| record.body().to_vec())
    }

    fn open(dir: &Path) -> Store {
        Store::open(dir, &StoreOptions::new(ROW_RULES, 1 << 20, BlockCache::new(1 << 20))).unwrap()
    }

    fn write_out(store: &mut Store) {
        let next = store.applied().index + 1;
        store.set_applied(next, &next.to_be_bytes(), None);
        let done = store.freeze().unwrap().run();
        drop(store.finish(done).unwrap());
    }

    #[test]
    fn what_becomes_of_keys_is_told_of_the_database_that_clients_know() {
        let (mut rows, mut scratch) = (MemoryRows::default(), Scratch::default());
        scratch.tell(EventClasses::of_bits(EventClasses::EXPIRED.bits() | EventClasses::NEW.bits()));
        let name: Arc<[u8]> = Arc::from(&b"k"[..]);
        scratch.watch(3, &name);
        let mut keyspace = keyspace(&mut rows, &mut scratch, 0);
        keyspace.set_string(b"k", b"v", Some(1001)).unwrap();
        keyspace.swap_databases(0, 3);
        assert!(keyspace.counters().keys[3] == 1 && !keyspace.exists(b"k").unwrap());
        keyspace.set_string(b"other", b"v", None).unwrap();
        let mut later = Keyspace::new(&mut rows, &mut scratch, VersionSource::entry(2), 5, 1002);
        assert_eq!((later.delete_expired(9, 0).unwrap(), later.db()), (1, 5));
        let mut events = Vec::new();
        while scratch.take_event(&mut |event| events.push((event.db, event.event.to_vec(), event.key.to_vec()))) {}
        let expected = [(0, "new", "k"), (0, "new", "other"), (3, "expired", "k")];
        assert_eq!(events, expected.map(|(db, event, key)| (db, event.into(), key.into())));
        assert_eq!(scratch.take_written(), [(3, name)], "who waits for it there is to look");
    }

    #[test]
    fn a_flush_leaves_what_has_come_from_its_space() {
        let (mut rows, mut scratch) = (MemoryRows::default(), Scratch::default());
        let mut keyspace = keyspace(&mut rows, &mut scratch, 0);
        keyspace.set_string(b"k", b"of 0", Some(5000)).unwrap();
        keyspace.select(1);
        keyspace.set_string(b"k", b"of 1", Some(6000)).unwrap();
        keyspace.swap_databases(0, 1);
        keyspace.flush().unwrap();
        assert_eq!(keyspace.counters().deadline_sums[..2], [6000, 0]);
        assert!(!keyspace.exists(b"k").unwrap());
        keyspace.flush_all();
        keyspace.set_string(b"k", b"new", None).unwrap();
        assert_eq!(value(&mut rows, 1, b"k").as_deref(), Some(&b"new"[..]));
        assert_eq!(value(&mut rows, 0, b"k"), None);
    }

    /// Gives a hash a field that has a deadline and one that has none.
    fn put_fields(keyspace: &mut Keyspace<'_>, key: &[u8], deadline_ms: u64) {
        let mut hash = keyspace.hash_or_new(key).unwrap();
        hash.insert(keyspace, b"stays", b"v").unwrap();
        hash.insert(keyspace, b"goes", b"v").unwrap();
        hash.set_field_deadline(keyspace, b"goes", Some(deadline_ms)).unwrap();
        hash.save(keyspace).unwrap();
    }

    #[test]
    fn fields_go_at_their_deadline_from_where_they_are_then() {
        for packing in [&Packing::STANDARD, &Packing::NONE] {
            let (mut rows, mut scratch) = (MemoryRows::default(), Scratch::default());
            scratch.tell(EventClasses::HASH);
            let versions = |entry| VersionSource::entry(entry).with_packing(packing);
            let mut keyspace = Keyspace::new(&mut rows, &mut scratch, versions(1), 0, 1000);
            put_fields(&mut keyspace, b"early", 2000);
            keyspace.swap_databases(0, 3);
            put_fields(&mut keyspace, b"late", 3000);
            put_fields(&mut keyspace, b"flushed", 1500);
            keyspace.select(5);
            put_fields(&mut keyspace, b"late", 3000);
            keyspace.swap_databases(5, 0);
            // This is the database that had them all in the beginning, and what is in it now came from another.
            keyspace.select(5);
            keyspace.flush().unwrap();
            let mut later = Keyspace::new(&mut rows, &mut scratch, versions(2), 0, 2001);
            assert_eq!(later.next_field_deadline_ms(0).unwrap(), Some(2000), "those of the flushed database are gone");
            assert_eq!((later.delete_expired_fields(9, 0).unwrap(), later.db()), (1, 0));
            assert_eq!(later.next_field_deadline_ms(0).unwrap(), Some(3000));
            later.select(3);
            assert_eq!(later.hash(b"early").unwrap().unwrap().len(), 1);
            later.select(0);
            assert_eq!(later.hash(b"late").unwrap().unwrap().len(), 2);
            assert_eq!(later.counters().keys[..6], [1, 0, 0, 1, 0, 0]);
            let mut events = Vec::new();
            while scratch.take_event(&mut |event| events.push((event.db, event.event.to_vec(), event.key.to_vec()))) {}
            assert_eq!(events, [(3, b"hexpired".to_vec(), b"early".to_vec())]);
        }
    }

    #[test]
    fn a_flush_of_one_database_leaves_the_deadlines_of_fields_of_others() {
        let (mut rows, mut scratch) = (MemoryRows::default(), Scratch::default());
        let mut keyspace = keyspace(&mut rows, &mut scratch, 0);
        put_fields(&mut keyspace, b"h", 2000);
        keyspace.select(3);
        keyspace.set_string(b"k", b"v", None).unwrap();
        keyspace.flush().unwrap();
        assert_eq!(keyspace.counters().field_deadlines[..4], [1, 0, 0, 0]);
        put_fields(&mut keyspace, b"h", 1500);
        put_fields(&mut keyspace, b"i", 1600);
        assert_eq!(keyspace.counters().field_deadlines[..4], [1, 0, 0, 2]);
        keyspace.flush().unwrap();
        assert_eq!(keyspace.next_field_deadline_ms(0).unwrap(), Some(2000));
        keyspace.select(0);
        keyspace.flush().unwrap();
        assert_eq!(keyspace.next_field_deadline_ms(0).unwrap(), None);
        assert_eq!(*keyspace.counters(), crate::Counters::default());
    }

    #[test]
    fn databases_are_where_they_were_after_a_start_and_in_a_copy_of_the_rows() {
        let home = tempfile::tempdir().unwrap();
        let (first, second) = (home.path().join("first"), home.path().join("second"));
        let mut scratch = Scratch::default();
        let mut store = open(&first);
        keyspace(&mut store, &mut scratch, 0).set_string(b"k", b"of 0", None).unwrap();
        write_out(&mut store);
        keyspace(&mut store, &mut scratch, 0).swap_databases(0, 7);
        write_out(&mut store);
        drop(store);
        let mut store = open(&first);
        assert_eq!((value(&mut store, 7, b"k").as_deref(), value(&mut store, 0, b"k")), (Some(&b"of 0"[..]), None));
        let copy = home.path().join("copy");
        let done = store.checkpoint(&copy).run();
        drop(store.finish_checkpoint(done).unwrap());
        let mut replica = open(&second);
        replica.install(&copy).unwrap();
        assert_eq!(replica.counters(), store.counters());
        assert_eq!(value(&mut replica, 7, b"k").as_deref(), Some(&b"of 0"[..]));
    }

    #[test]
    fn a_swap_on_trial_is_forgotten_or_taken_over_with_all_else() {
        let home = tempfile::tempdir().unwrap();
        let (mut store, mut scratch) = (open(home.path()), Scratch::default());
        keyspace(&mut store, &mut scratch, 0).set_string(b"k", b"of 0", None).unwrap();
        for is_taken in [false, true] {
            let mut trial = Trial::new(&store, usize::MAX);
            let mut on_trial = keyspace(&mut trial, &mut scratch, 1);
            on_trial.swap_databases(0, 1);
            on_trial.set_string(b"other", b"of 1", None).unwrap();
            assert!(on_trial.exists(b"k").unwrap());
            let changes = trial.into_changes().unwrap();
            if is_taken {
                store.commit(&changes);
            }
            assert_eq!([0, 1].map(|db| value(&mut store, db, b"k").is_some()), [!is_taken, is_taken]);
            assert_eq!(store.counters().keys[..2], if is_taken { [0, 2] } else { [1, 0] });
        }
    }

    #[test]
    fn watched_keys_have_changed_if_they_were_or_are_there() {
        for is_on_disk in [false, true] {
            let home = tempfile::tempdir().unwrap();
            let (mut store, mut scratch) = (open(home.path()), Scratch::default());
            let mut of_first = keyspace(&mut store, &mut scratch, 0);
            of_first.set_string(b"first", b"v", None).unwrap();
            of_first.select(1);
            of_first.set_string(b"second", b"v", None).unwrap();
            if is_on_disk {
                write_out(&mut store);
            }
            let mut watch = |number: u64, db: u8, key: &[u8], is_there: bool| {
                store.watched_mut().watch(number, db, key, is_there.then_some(u64::MAX));
            };
            watch(1, 0, b"first", true);
            watch(2, 1, b"first", false);
            watch(3, 0, b"second", false);
            watch(4, 0, b"none", false);
            watch(5, 2, b"first", false);
            keyspace(&mut store, &mut scratch, 9).swap_databases(0, 1);
            let is_changed = |store: &Store, watch| store.watched().state(watch).unwrap().is_changed;
            assert_eq!([1, 2, 3, 5].map(|watch| is_changed(&store, watch)), [true, true, true, false]);
            assert!(store.tracked().has_changed(), "copies of keys may be of another database now");
            if is_on_disk {
                // What the disk alone could tell is taken to be there.
                continue;
            }
            // It is watched where it is now.
            assert!(!is_changed(&store, 4));
            keyspace(&mut store, &mut scratch, 1).set_string(b"none", b"v", None).unwrap();
            assert!(!is_changed(&store, 4));
            keyspace(&mut store, &mut scratch, 0).set_string(b"none", b"v", None).unwrap();
            assert!(is_changed(&store, 4));
            store.watched_mut().watch(6, 0, b"none", Some(u64::MAX));
            keyspace(&mut store, &mut scratch, 1).flush().unwrap();
            assert!(!is_changed(&store, 6));
            keyspace(&mut store, &mut scratch, 0).flush().unwrap();
            assert!(is_changed(&store, 6));
        }
    }

    #[test]
    fn very_many_watched_keys_are_not_all_looked_for() {
        let home = tempfile::tempdir().unwrap();
        let (mut store, mut scratch) = (open(home.path()), Scratch::default());
        let count = 2 * crate::limits::WATCHED_LOOKS_MAX as u64;
        (0..count).for_each(|watch| store.watched_mut().watch(watch, 0, &watch.to_be_bytes(), None));
        keyspace(&mut store, &mut scratch, 0).swap_databases(0, 1);
        let changed =
            |store: &Store| (0..count).filter(|watch| store.watched().state(*watch).unwrap().is_changed).count();
        assert_eq!(changed(&store), crate::limits::WATCHED_LOOKS_MAX);
        // Nor by the next swap of the same entry, but by the next entry.
        store.set_applied(1, b"1", None);
        keyspace(&mut store, &mut scratch, 0).swap_databases(0, 1);
        assert_eq!(changed(&store), crate::limits::WATCHED_LOOKS_MAX);
        keyspace(&mut store, &mut scratch, 0).swap_databases(0, 1);
        assert_eq!(changed(&store) as u64, count);
    }
}
