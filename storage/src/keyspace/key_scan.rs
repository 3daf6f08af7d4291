//! Walking over a database's keys in bounded steps.
//!
//! The order is that of [`KeyPosition`]: a step visits whole places only, so the place where it stops is all that the
//! next step has to know.

use std::ops::{Bound, ControlFlow};

use super::Keyspace;
use super::key::{KeyPosition, KeyRow, RowKey, SLOT_COUNT, Slot};
use super::keyspace::damaged;
use super::meta::{Meta, Type};
use crate::limits::{RANDOM_KEY_STEPS_MAX, RANDOM_KEY_WINDOW};
use crate::{Direction, Error, Result};

/// Reasons for which a walk over rows stopped.
enum Stop {
    /// No rows are left.
    End,
    /// At rows that are no metadata: the slot has no more keys.
    SlotEnd(KeyPosition),
    /// Enough rows were seen; this is the place to go on from.
    Enough(KeyPosition),
    /// A row is not readable.
    Damage(Error),
}

impl Keyspace<'_> {
    /// Visits the live keys of about `count` places of this database from `from` on, each with its type. Returns where to go on, or
    /// `None` at the end.
    ///
    /// Expired keys, and slots that hold nothing but left-over elements, count as well: a step's work is bounded. A step that meets
    /// the disk ends there, unless it has just begun: what is on disk is fetched for the next one, and nothing is read twice.
    ///
    /// # Errors
    /// As the reads: [`Error::Cold`] only if there is nothing before what it names.
    pub fn scan_keys(
        &self,
        from: KeyPosition,
        count: usize,
        visit: &mut dyn FnMut(&[u8], Type),
    ) -> Result<Option<KeyPosition>> {
        let (_, end) = self.space.rows();
        let mut lower = from.row_key(self.space);
        let mut seen = 0;
        let mut last = None;
        // Keys of the last place: they are visited once it is known that they are all.
        let mut held: Vec<(RowKey, Type)> = Vec::new();
        loop {
            let mut stop = Stop::End;
            let scanned = self.rows.scan(
                Bound::Included(&lower),
                Bound::Excluded(&end),
                Direction::Forward,
                &mut |row, value| {
                    stop = match (KeyRow::read(row), Meta::read(value)) {
                        (Some(KeyRow::Other(slot)), _) => Stop::SlotEnd(slot),
                        (Some(KeyRow::Meta(position, _)), _) if seen >= count && last != Some(position) => {
                            Stop::Enough(position)
                        }
                        (Some(KeyRow::Meta(position, key)), Some(meta)) => {
                            if last != Some(position) {
                                held.drain(..).for_each(|(key, kind)| visit(&key, kind));
                            }
                            seen += 1;
                            last = Some(position);
                            if !meta.is_expired(self.now_ms) {
                                held.push((RowKey::from_slice(key), meta.kind));
                            }
                            return ControlFlow::Continue(());
                        }
                        _ => Stop::Damage(damaged(row)),
                    };
                    ControlFlow::Break(())
                },
            );
            match (scanned, last) {
                (Err(Error::Cold(_)), Some(last)) if last > from => return Ok(Some(last)),
                (scanned, _) => scanned?,
            }
            held.drain(..).for_each(|(key, kind)| visit(&key, kind));
            match stop {
                Stop::End => return Ok(None),
                Stop::Enough(position) => return Ok(Some(position)),
                Stop::Damage(error) => return Err(error),
                Stop::SlotEnd(slot) => {
                    let Some(next) = slot.next_slot() else { return Ok(None) };
                    seen += 1;
                    if seen >= count {
                        return Ok(Some(next));
                    }
                    lower = next.row_key(self.space);
                    last = Some(next);
                }
            }
        }
    }

    /// A live key of this database drawn with the help of the random numbers `next` gives, or `None` if there is none, or
    /// if far more keys than live ones are expired.
    ///
    /// In a small database every key has the same chance. In a large one it is one of the few that follow a random place:
    /// places are hashes, so every key has about the same chance.
    pub fn random_key(&self, next: &mut dyn FnMut() -> u64) -> Result<Option<RowKey>> {
        let is_small = self.counters().keys[self.db as usize] <= RANDOM_KEY_WINDOW as u64;
        let mut from = if is_small { KeyPosition::START } else { self.random_place(next)? };
        let mut keys: Vec<RowKey> = Vec::new();
        for _ in 0..RANDOM_KEY_STEPS_MAX {
            let end = self.scan_keys(from, RANDOM_KEY_WINDOW, &mut |key, _| keys.push(RowKey::from_slice(key)))?;
            // From the end on to the start, unless that is where it began: otherwise the first keys were hardly ever drawn.
            if keys.len() >= RANDOM_KEY_WINDOW || is_small && end.is_none() {
                break;
            }
            from = end.unwrap_or(KeyPosition::START);
        }
        Ok(match keys.len() as u64 {
            0 => None,
            count => Some(keys.swap_remove((next() % count) as usize)),
        })
    }

    /// A random place between the first and the last slot in use.
    fn random_place(&self, next: &mut dyn FnMut() -> u64) -> Result<KeyPosition> {
        let (Some(first), Some(last)) = (self.end_slot(Direction::Forward)?, self.end_slot(Direction::Backward)?)
        else {
            return Ok(KeyPosition::START);
        };
        let slot = u64::from(first.index()) + next() % (u64::from(last.index() - first.index()) + 1);
        Ok(KeyPosition::from_bits(slot << 32 | next() >> 32).expect("a slot and a hash"))
    }

    /// The slot of this database's first or last row.
    fn end_slot(&self, direction: Direction) -> Result<Option<Slot>> {
        let (start, end) = self.space.rows();
        let mut slot = None;
        self.rows.scan(Bound::Included(&start), Bound::Excluded(&end), direction, &mut |row, _| {
            slot = row.get(1..3).map(|bytes| u16::from_be_bytes([bytes[0], bytes[1]]));
            ControlFlow::Break(())
        })?;
        Ok(slot.filter(|slot| *slot < SLOT_COUNT).map(Slot::new))
    }
}

#[cfg(test)]
mod tests {
    use std::collections::{BTreeMap, BTreeSet};

    use proptest::prelude::*;

    use super::super::support::Shard;
    use super::super::{Scratch, VersionSource};
    use super::*;
    use crate::keyspace::ROW_RULES;
    use crate::{BlockCache, OnMiss, Store, StoreOptions};

    fn collect(keyspace: &Keyspace<'_>, from: KeyPosition, count: usize) -> (Vec<Vec<u8>>, Option<KeyPosition>) {
        let mut keys = Vec::new();
        let next = keyspace.scan_keys(from, count, &mut |key, _| keys.push(key.to_vec())).unwrap();
        (keys, next)
    }

    #[test]
    fn a_scan_skips_elements_and_expired_keys() {
        let mut shard = Shard::default();
        let mut keyspace = shard.keyspace();
        for number in 0..50 {
            let mut set = keyspace.collection_or_new(format!("set{number}").as_bytes(), Type::Set).unwrap();
            for element in 0..20u8 {
                keyspace.put_element(&set, &[element], b"");
            }
            set.size = 20;
            keyspace.save(&mut set);
            let deadline_ms = (number % 2 == 0).then_some(1999);
            keyspace.set_string(format!("text{number}").as_bytes(), b"x", deadline_ms).unwrap();
        }
        let keyspace = shard.keyspace_at(2000);
        let (mut keys, mut from, mut steps) = (Vec::new(), KeyPosition::START, 0);
        loop {
            let (more, next) = collect(&keyspace, from, 7);
            assert!(more.len() <= 7);
            keys.extend(more);
            steps += 1;
            let Some(next) = next else { break };
            assert!(next > from, "each step gets on");
            from = next;
        }
        assert!(steps >= 100 / 7);
        assert_eq!(keys.len(), 75);
        assert_eq!(keys.iter().collect::<BTreeSet<_>>().len(), 75);
    }

    #[test]
    fn a_scan_of_more_keys_than_the_caches_hold_reads_each_about_once() {
        const KEYS: u64 = 10_000;
        let home = tempfile::tempdir().unwrap();
        let options = StoreOptions::new(ROW_RULES, 1 << 20, BlockCache::new(4 << 20));
        let mut store = Store::open(home.path(), &options).unwrap();
        let mut scratch = Scratch::default();
        let mut keyspace = Keyspace::new(&mut store, &mut scratch, VersionSource::entry(1), 0, 1000);
        for number in 0..KEYS {
            keyspace.set_string(&number.to_be_bytes(), &[7; 1000], None).unwrap();
        }
        store.set_applied(1, b"1", None);
        let done = store.freeze().unwrap().run();
        drop(store.finish(done).unwrap());
        drop(store);
        let mut store = Store::open(home.path(), &options).unwrap();
        store.set_on_miss(OnMiss::Cold);
        let (mut seen, mut from) = (BTreeSet::new(), Some(KeyPosition::START));
        while let Some(position) = from {
            let reader = store.cold_reader();
            let keyspace = Keyspace::new(&mut store, &mut scratch, VersionSource::none(), 0, 1000);
            // A scan from its beginning would need all of them at once.
            match keyspace.scan_keys(position, KEYS as usize, &mut |key, _| assert!(seen.insert(key.to_vec()))) {
                Ok(next) => from = next,
                Err(Error::Cold(read)) => drop(reader.fetch(&read).unwrap()),
                Err(error) => panic!("{error}"),
            }
        }
        assert_eq!(seen.len() as u64, KEYS);
        let read = store.cold_rows_read();
        assert!((KEYS / 2..=2 * KEYS).contains(&read), "{read} rows read");
    }

    #[test]
    fn keys_of_one_place_are_visited_together() {
        let mut names = BTreeMap::new();
        // names that differ in all their bytes: a CRC tells those that differ in few of them apart
        let twins = (0..1_000_000u64).find_map(|number| {
            let name = format!("{{tag}}{:016x}", number.wrapping_mul(0x9E37_79B9_7F4A_7C15));
            let twin = names.insert(KeyPosition::of(name.as_bytes()), name.clone());
            twin.map(|twin| [twin, name])
        });
        let twins = twins.expect("a million names in one slot share some of the 2^32 hashes");
        let mut shard = Shard::default();
        let mut keyspace = shard.keyspace();
        for name in &twins {
            keyspace.set_string(name.as_bytes(), b"x", None).unwrap();
        }
        let (keys, next) = collect(&keyspace, KeyPosition::START, 1);
        assert_eq!(keys.len(), 2, "{twins:?}");
        assert_eq!(next, None);
    }

    #[test]
    fn a_lone_key_among_expired_ones_is_drawn() {
        let mut shard = Shard::default();
        let mut keyspace = shard.keyspace();
        for number in 0..1000 {
            keyspace.set_string(format!("dead{number}").as_bytes(), b"x", Some(1999)).unwrap();
        }
        keyspace.set_string(b"alive", b"x", None).unwrap();
        let keyspace = shard.keyspace_at(2000);
        let mut number = 0;
        let key = keyspace.random_key(&mut || {
            number += 1;
            number << 40
        });
        assert_eq!(key.unwrap().unwrap().as_slice(), b"alive");
    }

    #[test]
    fn random_keys_reach_every_key() {
        let mut shard = Shard::default();
        let mut keyspace = shard.keyspace();
        assert_eq!(keyspace.random_key(&mut || 1).unwrap(), None);
        for number in 0..200u8 {
            keyspace.set_string(&[b'k', number], b"x", None).unwrap();
        }
        let (mut seed, mut seen) = (1u64, BTreeSet::new());
        for _ in 0..20_000 {
            let key = keyspace.random_key(&mut || {
                seed = seed.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
                seed ^ seed >> 31
            });
            seen.insert(key.unwrap().unwrap());
        }
        assert_eq!(seen.len(), 200);
    }

    proptest! {
        /// Keys come and go between the steps of a scan. Those that were there throughout are all visited; those that were
        /// never there are not; and a place is never visited twice.
        #[test]
        fn a_scan_misses_no_key_that_was_there_throughout(
            present in prop::collection::btree_set(0u16..400, 0..120),
            changes in prop::collection::vec((0u16..400, any::<bool>()), 0..400),
            count in 1usize..12,
            tagged in any::<bool>(),
        ) {
            let name = |number: u16| if tagged { format!("{{tag}}{number}") } else { format!("key{number}") };
            let mut shard = Shard::default();
            let mut keyspace = shard.keyspace();
            let (mut there, mut ever) = (present.clone(), present.clone());
            let mut throughout = present.clone();
            for &number in &present {
                keyspace.set_string(name(number).as_bytes(), b"x", None).unwrap();
            }
            let mut visits: BTreeMap<Vec<u8>, usize> = BTreeMap::new();
            let mut changes = changes.chunks(3);
            let mut from = Some(KeyPosition::START);
            while let Some(position) = from {
                let (keys, next) = collect(&keyspace, position, count);
                for key in keys {
                    *visits.entry(key).or_default() += 1;
                }
                from = next;
                for &(number, put) in changes.next().unwrap_or_default() {
                    if put {
                        keyspace.set_string(name(number).as_bytes(), b"x", None).unwrap();
                        there.insert(number);
                        ever.insert(number);
                    } else {
                        keyspace.delete(name(number).as_bytes()).unwrap();
                        there.remove(&number);
                        throughout.remove(&number);
                    }
                }
            }
            for number in &throughout {
                prop_assert_eq!(visits.get(name(*number).as_bytes()), Some(&1), "{}", number);
            }
            let ever: BTreeSet<Vec<u8>> = ever.iter().map(|number| name(*number).into_bytes()).collect();
            for (key, count) in &visits {
                prop_assert!(ever.contains(key));
                prop_assert_eq!(*count, 1, "no place is visited twice");
            }
        }
    }
}
