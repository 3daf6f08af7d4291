//! Keys that transactions hold: how many hold each, and how, and who waits for it.
//!
//! Who waits has a place, a number that grows. Nobody is passed by somebody who comes later and wants the same.

use std::collections::{BTreeSet, HashMap};

use smallvec::SmallVec;

use crate::entry::spanning::{HeldKey, HeldKeys};

/// A database and a key in it, as one.
type Name = SmallVec<[u8; 64]>;

fn name(db: u8, key: &[u8]) -> Name {
    let mut name = Name::with_capacity(1 + key.len());
    name.push(db);
    name.extend_from_slice(key);
    name
}

/// Those who hold one thing.
#[derive(Debug, Default, Clone, Copy, PartialEq, Eq)]
struct Holders {
    shared: u32,
    exclusive: u32,
}

impl Holders {
    fn count(&mut self, is_exclusive: bool) -> &mut u32 {
        if is_exclusive { &mut self.exclusive } else { &mut self.shared }
    }

    /// Returns whether somebody else cannot have it, exclusively or not.
    fn bars(self, is_exclusive: bool) -> bool {
        self.exclusive > 0 || (is_exclusive && self.shared > 0)
    }
}

/// The places in the queue of those who wait for one thing.
#[derive(Debug, Default)]
struct Waiting {
    shared: BTreeSet<u64>,
    exclusive: BTreeSet<u64>,
}

impl Waiting {
    fn of(&mut self, is_exclusive: bool) -> &mut BTreeSet<u64> {
        if is_exclusive { &mut self.exclusive } else { &mut self.shared }
    }

    fn is_empty(&self) -> bool {
        self.shared.is_empty() && self.exclusive.is_empty()
    }

    /// Returns whether somebody waits before `place` whom nobody passes that wants it, exclusively or not.
    fn bars(&self, is_exclusive: bool, place: u64) -> bool {
        let is_before = |places: &BTreeSet<u64>| places.first().is_some_and(|first| *first < place);
        is_before(&self.exclusive) || (is_exclusive && is_before(&self.shared))
    }

    /// The places of those who wait behind nobody.
    fn next(&self) -> impl Iterator<Item = u64> {
        let first = self.exclusive.first().copied();
        let exclusive = first.filter(|first| self.shared.first().is_none_or(|shared| first < shared));
        self.shared.range(..first.unwrap_or(u64::MAX)).copied().chain(exclusive)
    }
}

/// Those who hold one thing, and those who wait for it.
#[derive(Debug, Default)]
struct Claims {
    holders: Holders,
    waiting: Waiting,
}

impl Claims {
    fn is_empty(&self) -> bool {
        self.holders == Holders::default() && self.waiting.is_empty()
    }
}

/// Keys of a shard, and all of them as a whole, with those who hold them and those who wait for them.
#[derive(Debug, Default)]
pub(super) struct KeyTable {
    keys: HashMap<Name, Claims>,
    whole: Claims,
    /// Those of single keys, over all keys.
    single: Claims,
}

/// Returns whether one of the keys is to be held exclusively; `None` if there are none.
fn way_of_keys(held: &HeldKeys) -> Option<bool> {
    (!held.keys.is_empty()).then(|| held.keys.iter().any(|key| key.is_exclusive))
}

impl KeyTable {
    /// Returns whether nobody holds anything, or waits for it.
    pub(super) fn is_empty(&self) -> bool {
        self.keys.is_empty() && self.whole.is_empty()
    }

    /// Returns whether somebody holds something exclusively.
    pub(super) fn has_exclusive(&self) -> bool {
        self.single.holders.exclusive > 0 || self.whole.holders.exclusive > 0
    }

    /// Adds a holder of `held`, whose keys are settled.
    pub(super) fn add(&mut self, held: &HeldKeys) {
        for key in &held.keys {
            let claims = self.keys.entry(name(key.db, &key.key)).or_default();
            *claims.holders.count(key.is_exclusive) += 1;
            *self.single.holders.count(key.is_exclusive) += 1;
        }
        if let Some(is_exclusive) = held.whole {
            *self.whole.holders.count(is_exclusive) += 1;
        }
    }

    /// Takes out a holder that was added with the same keys.
    pub(super) fn remove(&mut self, held: &HeldKeys) {
        for key in &held.keys {
            self.change(key, |claims| *claims.holders.count(key.is_exclusive) -= 1);
            *self.single.holders.count(key.is_exclusive) -= 1;
        }
        if let Some(is_exclusive) = held.whole {
            *self.whole.holders.count(is_exclusive) -= 1;
        }
    }

    fn change(&mut self, key: &HeldKey, change: impl FnOnce(&mut Claims)) {
        let name = name(key.db, &key.key);
        let claims = self.keys.get_mut(&name).expect("what is taken out was added");
        change(claims);
        if claims.is_empty() {
            self.keys.remove(&name);
        }
    }

    /// Adds somebody who waits for `held` in this place.
    pub(super) fn wait(&mut self, held: &HeldKeys, place: u64) {
        for key in &held.keys {
            let claims = self.keys.entry(name(key.db, &key.key)).or_default();
            claims.waiting.of(key.is_exclusive).insert(place);
        }
        if let Some(is_exclusive) = way_of_keys(held) {
            self.single.waiting.of(is_exclusive).insert(place);
        }
        if let Some(is_exclusive) = held.whole {
            self.whole.waiting.of(is_exclusive).insert(place);
        }
    }

    /// Takes out who was added with the same keys and place.
    pub(super) fn wait_no_more(&mut self, held: &HeldKeys, place: u64) {
        for key in &held.keys {
            self.change(key, |claims| {
                claims.waiting.of(key.is_exclusive).remove(&place);
            });
        }
        if let Some(is_exclusive) = way_of_keys(held) {
            self.single.waiting.of(is_exclusive).remove(&place);
        }
        if let Some(is_exclusive) = held.whole {
            self.whole.waiting.of(is_exclusive).remove(&place);
        }
    }

    /// Returns whether somebody holds a key that cannot be had beside, exclusively or not.
    pub(super) fn bars(&self, db: u8, key: &[u8], is_exclusive: bool) -> bool {
        let is_held = |claims: &Claims| claims.holders.bars(is_exclusive);
        is_held(&self.whole) || self.keys.get(&name(db, key)).is_some_and(is_held)
    }

    /// Returns whether somebody holds anything that all keys of the shard cannot be had beside, exclusively or not.
    pub(super) fn bars_whole(&self, is_exclusive: bool) -> bool {
        self.whole.holders.bars(is_exclusive) || self.single.holders.bars(is_exclusive)
    }

    /// Returns whether somebody holds all keys of the shard exclusively.
    pub(super) fn is_held_whole(&self) -> bool {
        self.whole.holders.exclusive > 0
    }

    /// Returns whether somebody holds anything that `held` cannot be had beside.
    pub(super) fn bars_any(&self, held: &HeldKeys) -> bool {
        held.whole.is_some_and(|is_exclusive| self.bars_whole(is_exclusive))
            || held.keys.iter().any(|key| self.bars(key.db, &key.key, key.is_exclusive))
    }

    /// The same, and whether somebody waits for anything like that before this place.
    pub(super) fn bars_at(&self, held: &HeldKeys, place: u64) -> bool {
        let is_waited_for = |claims: &Claims, is_exclusive| claims.waiting.bars(is_exclusive, place);
        let bars_whole =
            |is_exclusive| is_waited_for(&self.whole, is_exclusive) || is_waited_for(&self.single, is_exclusive);
        let bars_key = |key: &HeldKey| {
            let claims = self.keys.get(&name(key.db, &key.key));
            is_waited_for(&self.whole, key.is_exclusive)
                || claims.is_some_and(|claims| is_waited_for(claims, key.is_exclusive))
        };
        self.bars_any(held) || held.whole.is_some_and(bars_whole) || held.keys.iter().any(bars_key)
    }

    /// Adds to `places` those who may have come to their turn, now that somebody holds `held` no more, or waits for it no more.
    pub(super) fn add_next(&self, held: &HeldKeys, places: &mut BTreeSet<u64>) {
        for key in &held.keys {
            let claims = self.keys.get(&name(key.db, &key.key));
            places.extend(claims.into_iter().flat_map(|claims| claims.waiting.next()));
        }
        places.extend(self.whole.waiting.next());
        if held.whole.is_some() {
            // Up to the next one that nobody passes.
            let last = self.whole.waiting.exclusive.first().copied().unwrap_or(u64::MAX);
            let waiting = [&self.single.waiting, &self.whole.waiting].into_iter();
            let all = waiting.flat_map(|waiting| [&waiting.shared, &waiting.exclusive]);
            places.extend(all.flat_map(|of_way| of_way.range(..=last).copied()));
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn held(keys: &[(&[u8], bool)], whole: Option<bool>) -> HeldKeys {
        let mut held = HeldKeys { whole, ..HeldKeys::default() };
        keys.iter().for_each(|(key, is_exclusive)| held.add(0, key, *is_exclusive));
        held
    }

    #[test]
    fn readers_share_and_writers_do_not() {
        let mut table = KeyTable::default();
        let (reader, writer) = (held(&[(b"a", false)], None), held(&[(b"b", true)], None));
        table.add(&reader);
        table.add(&reader);
        table.add(&writer);
        assert!(!table.bars(0, b"a", false) && table.bars(0, b"a", true));
        assert!(table.bars(0, b"b", false) && table.bars(0, b"b", true));
        assert!(!table.bars(1, b"b", true) && !table.bars(0, b"c", true));
        assert!(table.bars_whole(false) && table.has_exclusive());
        table.remove(&writer);
        assert!(!table.bars_whole(false) && table.bars_whole(true) && !table.has_exclusive());
        table.remove(&reader);
        assert!(table.bars(0, b"a", true));
        table.remove(&reader);
        assert!(table.is_empty() && !table.bars_whole(true));
    }

    #[test]
    fn the_whole_shard_is_held_with_all_its_keys() {
        let mut table = KeyTable::default();
        table.add(&held(&[], Some(false)));
        assert!(!table.bars(0, b"a", false) && table.bars(0, b"a", true) && table.bars_whole(true));
        assert!(!table.bars_any(&held(&[(b"a", false)], Some(false))));
        table.add(&held(&[], Some(true)));
        assert!(table.bars(3, b"a", false) && table.bars_any(&held(&[(b"a", false)], None)));
        table.remove(&held(&[], Some(true)));
        table.remove(&held(&[], Some(false)));
        assert!(table.is_empty());
    }

    #[test]
    fn who_waits_is_passed_by_nobody_who_wants_the_same() {
        let mut table = KeyTable::default();
        let next = |table: &KeyTable, of: &HeldKeys| {
            let mut places = BTreeSet::new();
            table.add_next(of, &mut places);
            places.into_iter().collect::<Vec<_>>()
        };
        let (reader, writer, whole) =
            (held(&[(b"a", false)], None), held(&[(b"a", true)], None), held(&[], Some(true)));
        table.add(&reader);
        table.wait(&writer, 5);
        assert!(!table.bars(0, b"a", false) && table.bars_at(&reader, 6) && !table.bars_at(&reader, 5));
        table.wait(&reader, 6);
        table.wait(&whole, 7);
        table.wait(&reader, 8);
        assert!(table.bars_at(&held(&[(b"b", false)], None), 8) && !table.bars_at(&held(&[(b"b", false)], None), 7));
        assert_eq!(next(&table, &reader), [5, 7], "the first of each, and no more");
        table.wait_no_more(&writer, 5);
        assert_eq!(next(&table, &writer), [6, 7, 8]);
        table.wait_no_more(&reader, 6);
        table.wait_no_more(&whole, 7);
        table.wait(&whole, 9);
        table.wait(&whole, 10);
        assert_eq!(next(&table, &whole), [8, 9], "nobody beyond the next that wants all");
        for place in [9, 10] {
            table.wait_no_more(&whole, place);
        }
        table.wait_no_more(&reader, 8);
        table.remove(&reader);
        assert!(table.is_empty());
    }
}
