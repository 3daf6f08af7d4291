//! Times of the last access to keys, as far as this replica has seen them: what `OBJECT IDLETIME` tells.
//!
//! A key has no room for such a time on disk, and reads write nothing. So a shard has two tables of times in memory, of one size
//! however many keys there are. A key has a place in each, by other bits of its hash, and an access is noted in both. The older of
//! the two times is told: another key may have been noted in one of the places since, and rarely in both. So no key is said to be
//! idle for longer than it is, by [`UNIT_MS`] or more; where very many keys have been used since, it is said to be idle for less.
//! An access before the shard was opened is not known, and taken to be of that moment.
//!
//! The one thing a newcomer would get wrong: the times are of this replica and this run of the node. No command that changes rows
//! may depend on them, so an entry, which every replica executes, is told nothing of them ([`Keyspace::idle_ms`]).

use std::array;
use std::cell::{Cell, RefCell};
use std::rc::Rc;

use super::Keyspace;
use super::key;
use super::scratch::Scratch;
use crate::limits::{ACCESS_PLACES, ACCESSES_MAX};

/// Bytes that the times of a shard take in memory.
pub const ACCESS_TIMES_BYTES: usize = 2 * ACCESS_PLACES * size_of::<u32>();

/// Milliseconds that times are counted in: a place of 32 bits has room for eight years.
const UNIT_MS: u64 = 64;

/// Bits of a hash by which the place in the second table is found: none of those of the first.
const SECOND_SHIFT: u32 = 16;

const _: () = assert!(ACCESS_PLACES.is_power_of_two() && ACCESS_PLACES <= 1 << SECOND_SHIFT);

/// A table of times.
type Places = Box<[Cell<u32>; ACCESS_PLACES]>;

/// Times of the last access to the keys of a shard; see the module's docs.
#[derive(Debug)]
pub(super) struct AccessTimes {
    /// The moment from which the times count, in Unix milliseconds.
    since_ms: u64,
    tables: [Places; 2],
}

impl AccessTimes {
    /// Takes all keys to have been used last at `since_ms`.
    pub(super) fn new(since_ms: u64) -> AccessTimes {
        let places = || -> Box<[Cell<u32>]> { (0..ACCESS_PLACES).map(|_| Cell::new(0)).collect() };
        let table = |_: usize| -> Places { places().try_into().expect("there are as many places as a table has") };
        AccessTimes { since_ms, tables: array::from_fn(table) }
    }

    /// Notes that a key of this hash was used at `now_ms`.
    #[inline]
    fn note(&self, hash: u32, now_ms: u64) {
        let time = self.time(now_ms);
        self.places(hash).into_iter().for_each(|place| raise(place, time));
    }

    /// Notes that any key may have been used at `now_ms`.
    fn note_all(&self, now_ms: u64) {
        let time = self.time(now_ms);
        self.tables.iter().flat_map(|table| table.iter()).for_each(|place| raise(place, time));
    }

    /// The milliseconds since the last access to a key of this hash, or fewer; by less than [`UNIT_MS`] more.
    fn idle_ms(&self, hash: u32, now_ms: u64) -> u64 {
        let [first, second] = self.places(hash).map(Cell::get);
        let last_ms = self.since_ms + u64::from(first.min(second)) * UNIT_MS;
        now_ms.saturating_sub(last_ms)
    }

    #[inline]
    fn time(&self, now_ms: u64) -> u32 {
        u32::try_from(now_ms.saturating_sub(self.since_ms) / UNIT_MS).unwrap_or(u32::MAX)
    }

    #[inline]
    fn places(&self, hash: u32) -> [&Cell<u32>; 2] {
        let [first, second] = &self.tables;
        let index = |bits: u32| bits as usize % ACCESS_PLACES;
        [&first[index(hash)], &second[index(hash >> SECOND_SHIFT)]]
    }
}

/// Notes a time in a place, unless it has a later one: that of an entry may be one before that of a read which was answered
/// already.
#[inline]
fn raise(place: &Cell<u32>, time: u32) {
    if place.get() < time {
        place.set(time);
    }
}

/// The hash of the key with the metadata row key `row`. Keys of one name in two databases are two keys.
#[inline]
fn hash_of(row: &[u8]) -> u32 {
    let (space, hash) = key::space_and_hash(row);
    hash ^ u32::from(space).wrapping_mul(0x9E37_79B9)
}

/// Accesses to keys on another thread than the shard's: they are noted there once that is done.
#[derive(Debug, Default)]
pub struct Accesses {
    at_ms: u64,
    /// Of the keys, some of them more than once.
    hashes: Vec<u32>,
    /// True if they were too many to be kept apart: any key may be among them.
    are_too_many: bool,
}

impl Accesses {
    fn add(&mut self, hash: u32) {
        if self.are_too_many {
            return;
        }
        self.hashes.push(hash);
        if self.hashes.len() >= ACCESSES_MAX {
            self.hashes.sort_unstable();
            self.hashes.dedup();
            // If they were nearly as many now, each access would come to sort them.
            if self.hashes.len() > ACCESSES_MAX / 2 {
                (self.are_too_many, self.hashes) = (true, Vec::new());
            }
        }
    }
}

/// A place where accesses to keys are noted.
#[derive(Debug, Default)]
pub(super) enum AccessNotes {
    /// They are not.
    #[default]
    Nowhere,
    /// The shard's tables.
    Here(Rc<AccessTimes>),
    /// The same, later.
    ForLater(RefCell<Accesses>),
}

impl AccessNotes {
    /// The same for commands on trial in the shard itself.
    pub(super) fn of_trial(&self) -> AccessNotes {
        match self {
            AccessNotes::Here(times) => AccessNotes::Here(times.clone()),
            AccessNotes::Nowhere | AccessNotes::ForLater(_) => AccessNotes::Nowhere,
        }
    }
}

impl Scratch {
    /// Has times of accesses to keys kept from `now_ms` on, a Unix time in milliseconds.
    pub fn keep_access_times(&mut self, now_ms: u64) {
        self.accesses = AccessNotes::Here(Rc::new(AccessTimes::new(now_ms)));
    }

    /// Has accesses to keys, all at `now_ms`, collected for [`Scratch::note_collected`] of another one.
    pub fn collect_accesses(&mut self, now_ms: u64) {
        self.accesses = AccessNotes::ForLater(RefCell::new(Accesses { at_ms: now_ms, ..Accesses::default() }));
    }

    /// The accesses that were collected so far.
    pub fn take_accesses(&mut self) -> Accesses {
        match std::mem::take(&mut self.accesses) {
            AccessNotes::ForLater(accesses) => accesses.into_inner(),
            _ => Accesses::default(),
        }
    }

    /// Notes accesses that were collected on another thread.
    pub fn note_collected(&self, accesses: &Accesses) {
        let AccessNotes::Here(times) = &self.accesses else { return };
        match accesses.are_too_many {
            true => times.note_all(accesses.at_ms),
            false => accesses.hashes.iter().for_each(|hash| times.note(*hash, accesses.at_ms)),
        }
    }

    /// Notes an access to the key with the metadata row key `row`.
    #[inline]
    fn note_access(&self, row: &[u8], now_ms: u64) {
        match &self.accesses {
            AccessNotes::Nowhere => {}
            AccessNotes::Here(times) => times.note(hash_of(row), now_ms),
            AccessNotes::ForLater(accesses) => accesses.borrow_mut().add(hash_of(row)),
        }
    }
}

impl Keyspace<'_> {
    /// Says whether keys that are looked up or put from here on count as used: not if a command only tells something about them, as
    /// in Redis.
    pub fn note_accesses(&mut self, notes_accesses: bool) {
        self.notes_accesses = notes_accesses;
    }

    /// Notes that the key of the metadata row key `row` is used now, if that counts.
    #[inline]
    pub(super) fn note_access(&self, row: &[u8]) {
        if self.notes_accesses {
            self.scratch.note_access(row, self.now_ms);
        }
    }

    /// Notes that `key` was used last so many milliseconds ago, unless it was used since.
    pub fn note_used_before(&self, key: &[u8], ago_ms: u64) {
        self.scratch.note_access(&self.meta_row(key), self.now_ms.saturating_sub(ago_ms));
    }

    /// The milliseconds since `key` was used last, as far as this replica knows: never many more than that. In an entry none, since
    /// what every replica executes must not depend on what one of them has seen.
    pub fn idle_ms(&self, key: &[u8]) -> u64 {
        match &self.scratch.accesses {
            AccessNotes::Here(times) if self.versions.is_none() => {
                times.idle_ms(hash_of(&self.meta_row(key)), self.now_ms)
            }
            _ => 0,
        }
    }

    fn meta_row(&self, key: &[u8]) -> key::RowKey {
        key::meta_key(self.space, key::Slot::of(key), key)
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use super::*;
    use crate::keyspace::VersionSource;
    use crate::spaces::Space;
    use crate::{MemoryRows, Rows};

    const START_MS: u64 = 1_700_000_000_000;

    fn hash(number: u32) -> u32 {
        let name = format!("key:{number}");
        hash_of(&key::meta_key(Space::FIRST, key::Slot::of(name.as_bytes()), name.as_bytes()))
    }

    #[test]
    fn few_keys_are_idle_for_as_long_as_they_are_and_many_for_no_longer() {
        for (count, exact_min) in [(200, 199), (100_000, 0)] {
            let (accesses, mut last, mut now_ms) = (AccessTimes::new(START_MS), BTreeMap::new(), START_MS);
            let mut seed = 7u32;
            for _ in 0..200_000 {
                seed = seed.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
                now_ms += u64::from(seed >> 28);
                let number = (seed >> 8) % count;
                accesses.note(hash(number), now_ms);
                last.insert(number, now_ms);
            }
            now_ms += 100_000;
            let idle = |number: u32| (accesses.idle_ms(hash(number), now_ms), now_ms - last[&number]);
            let exact = last.keys().filter(|number| {
                let (told_ms, true_ms) = idle(**number);
                assert!(told_ms < true_ms + UNIT_MS, "{number}: {told_ms} of {true_ms}");
                told_ms >= true_ms
            });
            assert!(exact.count() as u32 >= exact_min, "of {count}");
        }
    }

    fn keyspace<'a>(rows: &'a mut dyn Rows, scratch: &'a mut Scratch, entry: u64, now_ms: u64) -> Keyspace<'a> {
        let versions = if entry == 0 { VersionSource::none() } else { VersionSource::entry(entry) };
        Keyspace::new(rows, scratch, versions, 0, now_ms)
    }

    #[test]
    fn keys_are_used_when_they_are_read_or_written_by_who_says_so() {
        let (mut rows, mut scratch) = (MemoryRows::default(), Scratch::default());
        scratch.keep_access_times(START_MS);
        let mut write = keyspace(&mut rows, &mut scratch, 1, START_MS + 1_000);
        write.set_string(b"before", b"v", None).unwrap();
        write.note_accesses(true);
        write.set_string(b"k", b"v", None).unwrap();
        assert_eq!(write.idle_ms(b"before"), 0, "an entry knows nothing of it");
        let mut read = keyspace(&mut rows, &mut scratch, 0, START_MS + 10_000);
        assert!(read.exists(b"k").unwrap());
        assert_eq!([b"k", b"x"].map(|key| read.idle_ms(key) / 1000), [9, 10]);
        assert_eq!(read.idle_ms(b"before") / 1000, 10, "nobody has used it");
        read.note_accesses(true);
        assert!(read.exists(b"k").unwrap() && !read.exists(b"x").unwrap());
        assert_eq!([b"k", b"x"].map(|key| read.idle_ms(key) / 1000), [0, 10]);
        read.select(1);
        assert_eq!(read.idle_ms(b"k") / 1000, 10, "a key of another database");
    }

    #[test]
    fn a_time_that_is_given_counts_unless_the_key_was_used_since() {
        let (mut rows, mut scratch) = (MemoryRows::default(), Scratch::default());
        scratch.keep_access_times(START_MS);
        let read = keyspace(&mut rows, &mut scratch, 0, START_MS + 10_000);
        read.note_used_before(b"k", 4_000);
        assert_eq!(read.idle_ms(b"k") / 1000, 4);
        read.note_used_before(b"k", 6_000);
        assert_eq!(read.idle_ms(b"k") / 1000, 4);
        read.note_used_before(b"old", 60_000);
        assert_eq!(read.idle_ms(b"old") / 1000, 10, "from before the start nothing is known");
        let mut none = Scratch::default();
        let read = keyspace(&mut rows, &mut none, 0, START_MS + 10_000);
        assert_eq!(read.idle_ms(b"k"), 0, "nobody keeps any");
    }

    #[test]
    fn accesses_on_another_thread_are_noted_when_that_is_done() {
        let (mut rows, mut scratch) = (MemoryRows::default(), Scratch::default());
        scratch.keep_access_times(START_MS);
        let names: Vec<String> = (0..ACCESSES_MAX + 1).map(|number| number.to_string()).collect();
        let mut write = keyspace(&mut rows, &mut scratch, 1, START_MS);
        names.iter().for_each(|name| write.set_string(name.as_bytes(), b"v", None).unwrap());
        // Few keys often, and very many, among which any other may have been.
        for (used, other_idle_s) in [(100, 20), (names.len(), 10)] {
            let mut elsewhere = Scratch::default();
            elsewhere.collect_accesses(START_MS + 10_000);
            let mut read = keyspace(&mut rows, &mut elsewhere, 0, START_MS + 10_000);
            read.note_accesses(true);
            for name in names[..used].iter().cycle().take(3 * ACCESSES_MAX) {
                assert!(read.exists(name.as_bytes()).unwrap());
            }
            assert_eq!(read.idle_ms(b"0"), 0, "it is not known there");
            let accesses = elsewhere.take_accesses();
            assert_eq!((accesses.are_too_many, accesses.hashes.len() < ACCESSES_MAX), (used > 100, true));
            scratch.note_collected(&accesses);
            let read = keyspace(&mut rows, &mut scratch, 0, START_MS + 20_000);
            assert_eq!(names[..used].iter().map(|name| read.idle_ms(name.as_bytes()) / 1000).max(), Some(10));
            assert_eq!(read.idle_ms(b"nobody") / 1000, other_idle_s);
        }
    }
}
