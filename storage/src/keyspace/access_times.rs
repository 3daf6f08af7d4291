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
use std::cell::Cell;

use super::Keyspace;
use super::key;
use crate::limits::ACCESS_PLACES;
use crate::spaces::Space;

/// Milliseconds that times are counted in: a place of 32 bits has room for eight years.
const UNIT_MS: u64 = 1 << UNIT_BITS;
const UNIT_BITS: u32 = 6;

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

    /// Notes that the key with the metadata row key `row` was used at `now_ms`.
    #[inline]
    pub(super) fn note(&self, row: &[u8], now_ms: u64) {
        let time = self.time(now_ms);
        for place in self.places(row) {
            // The time of an entry may be one before that of a read which was answered already.
            if place.get() < time {
                place.set(time);
            }
        }
    }

    /// The milliseconds since the last access to that key, or fewer; by less than [`UNIT_MS`] more.
    fn idle_ms(&self, row: &[u8], now_ms: u64) -> u64 {
        let [first, second] = self.places(row).map(Cell::get);
        let last_ms = self.since_ms + (u64::from(first.min(second)) << UNIT_BITS);
        now_ms.saturating_sub(last_ms)
    }

    #[inline]
    fn time(&self, now_ms: u64) -> u32 {
        u32::try_from(now_ms.saturating_sub(self.since_ms) >> UNIT_BITS).unwrap_or(u32::MAX)
    }

    #[inline]
    fn places(&self, row: &[u8]) -> [&Cell<u32>; 2] {
        let (space, hash) = key::space_and_hash(row);
        // Keys of one name in two databases are two keys.
        let hash = hash ^ u32::from(space).wrapping_mul(0x9E37_79B9);
        let [first, second] = &self.tables;
        let index = |bits: u32| bits as usize % ACCESS_PLACES;
        [&first[index(hash)], &second[index(hash >> SECOND_SHIFT)]]
    }
}

impl Keyspace<'_> {
    /// Says whether keys that are looked up or put from here on count as used: not if a command only tells something about them, as
    /// in Redis.
    pub fn note_accesses(&mut self, notes_accesses: bool) {
        self.notes_accesses = notes_accesses;
    }

    /// Notes that `key` was used last so many milliseconds ago, unless it was used since.
    pub fn note_used_before(&self, key: &[u8], ago_ms: u64) {
        if let Some(accesses) = self.scratch.access_times() {
            accesses.note(&self.meta_row(key), self.now_ms.saturating_sub(ago_ms));
        }
    }

    /// The milliseconds since `key` was used last, as far as this replica knows: never many more than that. In an entry none, since
    /// what every replica executes must not depend on what one of them has seen.
    pub fn idle_ms(&self, key: &[u8]) -> u64 {
        match self.scratch.access_times() {
            Some(accesses) if self.versions.is_none() => accesses.idle_ms(&self.meta_row(key), self.now_ms),
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
    use crate::keyspace::{Scratch, VersionSource};
    use crate::{MemoryRows, Rows};

    const START_MS: u64 = 1_700_000_000_000;

    fn row(number: u32) -> key::RowKey {
        let name = format!("key:{number}");
        key::meta_key(Space::FIRST, key::Slot::of(name.as_bytes()), name.as_bytes())
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
                accesses.note(&row(number), now_ms);
                last.insert(number, now_ms);
            }
            now_ms += 100_000;
            let idle = |number: u32| (accesses.idle_ms(&row(number), now_ms), now_ms - last[&number]);
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
}
