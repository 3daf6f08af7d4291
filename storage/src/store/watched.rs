//! Keys that somebody watches: whether their rows were changed since, and by which entries they still may be.
//!
//! What a newcomer would get wrong: this is memory of one replica and no part of its rows. What is decided by it must be decided
//! before an entry is made, and stand in the entry.

use std::cell::Cell;
use std::collections::{HashMap, HashSet};
use std::mem::size_of;

use smallvec::SmallVec;

use crate::limits::WATCHED_LOOKS_MAX;
use crate::spaces::Spaces;

/// The keys of one store that are watched, by watch. A watch is a number that is never used twice.
#[derive(Debug, Default)]
pub struct WatchedKeys {
    by_key: HashMap<Box<[u8]>, SmallVec<[Watcher; 1]>>,
    watches: HashMap<u64, Watch>,
    /// The number of the batch that is being collected, and whether it has a write.
    open_batch: u64,
    open_has_writes: Cell<bool>,
    /// Keys that were looked for by the entry that is being applied.
    looks: usize,
    /// True while what is past its deadline is removed: nothing changes by that which has not changed by time.
    is_sweeping: bool,
}

/// A watch of one key in one database.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Watcher {
    watch: u64,
    db: u8,
    /// False if there was no such key, or an expired one: that its rows go changes nothing.
    exists: bool,
}

/// The state of a watch.
#[derive(Debug)]
struct Watch {
    keys: HashSet<(u8, Box<[u8]>)>,
    state: WatchState,
}

/// All that is known of a watch's keys.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct WatchState {
    /// True if one of the keys was changed.
    pub is_changed: bool,
    /// The last moment, in Unix milliseconds, at which none has expired that had not when it was watched.
    pub deadline_ms: u64,
    /// Batches below this number may change one.
    pub batches_below: u64,
}

impl WatchedKeys {
    /// Returns whether no key is watched.
    #[inline]
    pub fn is_empty(&self) -> bool {
        self.watches.is_empty()
    }

    /// Has `watch` watch `key` of database `db`, unless it does already. `deadline_ms` is the first deadline of the key, or of a
    /// field that it has now, [`u64::MAX`] if there is none; `None` if there is no such key.
    pub fn watch(&mut self, watch: u64, db: u8, key: &[u8], deadline_ms: Option<u64>) {
        let fresh = || Watch {
            keys: HashSet::new(),
            state: WatchState { is_changed: false, deadline_ms: u64::MAX, batches_below: 0 },
        };
        let batches_below = self.open_batch + u64::from(self.open_has_writes.get());
        let of_watch = self.watches.entry(watch).or_insert_with(fresh);
        // Batches that were closed before may change it, too.
        of_watch.state.batches_below = batches_below;
        // Of one that was changed already nothing more can be learned.
        if of_watch.state.is_changed || !of_watch.keys.insert((db, key.into())) {
            return;
        }
        of_watch.state.deadline_ms = of_watch.state.deadline_ms.min(deadline_ms.unwrap_or(u64::MAX));
        let watcher = Watcher { watch, db, exists: deadline_ms.is_some() };
        self.by_key.entry(key.into()).or_default().push(watcher);
    }

    /// Takes note that the batch `number` is being collected from now on.
    pub fn open_batch(&mut self, number: u64, has_writes: bool) {
        self.open_batch = number;
        self.open_has_writes.set(has_writes);
    }

    /// Says whether what is put and deleted from here on removes what is past its deadline and nothing else. Whoever watches a key
    /// has seen it without that already, or learns from [`WatchState::deadline_ms`] that the time has come.
    pub fn set_sweeping(&mut self, is_sweeping: bool) {
        self.is_sweeping = is_sweeping;
    }

    /// Takes note that a write has joined the batch being collected.
    #[inline]
    pub fn note_write(&self) {
        self.open_has_writes.set(true);
    }

    /// Ends a watch.
    pub fn forget(&mut self, watch: u64) {
        if let Some(ended) = self.watches.remove(&watch) {
            self.let_go(watch, ended.keys);
        }
    }

    /// The state of a watch; `None` if there is none.
    pub fn state(&self, watch: u64) -> Option<WatchState> {
        self.watches.get(&watch).map(|watch| watch.state)
    }

    /// The keys of a watch of which none was changed, each with its database.
    pub fn keys(&self, watch: u64) -> impl Iterator<Item = (u8, &[u8])> {
        self.watches.get(&watch).into_iter().flat_map(|watch| watch.keys.iter().map(|(db, key)| (*db, &**key)))
    }

    /// Takes note that the batch being collected may change `key`, in whatever database.
    pub fn expect_change(&mut self, key: &[u8]) {
        for watcher in self.by_key.get(key).into_iter().flatten() {
            if let Some(watch) = self.watches.get_mut(&watcher.watch) {
                watch.state.batches_below = self.open_batch + 1;
            }
        }
    }

    /// Takes note that the batch being collected may change any key.
    pub fn expect_changes(&mut self) {
        self.watches.values_mut().for_each(|watch| watch.state.batches_below = self.open_batch + 1);
    }

    /// Takes note that other rows have taken the place of all.
    pub fn note_all(&mut self) {
        self.watches.values_mut().for_each(|watch| {
            watch.state.is_changed = true;
            watch.keys = HashSet::new();
        });
        self.by_key.clear();
    }

    /// Takes note that a row of `key` was set, or deleted if it `goes`.
    pub(super) fn note(&mut self, db: u8, key: &[u8], goes: bool) {
        if self.is_sweeping {
            return;
        }
        let is_changed = |watcher: &&Watcher| watcher.db == db && (watcher.exists || !goes);
        let watchers = self.by_key.get(key).into_iter().flatten();
        let changed: SmallVec<[u64; 4]> = watchers.filter(is_changed).map(|watcher| watcher.watch).collect();
        changed.into_iter().for_each(|watch| self.note_change(watch));
    }

    /// Takes note that all rows from `from` up to `to` were deleted, of databases that are in `spaces`: those of whole ones.
    pub(super) fn note_range(&mut self, spaces: &Spaces, from: &[u8], to: &[u8]) {
        let of = |bound: &[u8]| bound.first().copied().unwrap_or(0);
        let is_in = |space: u8| of(from) <= space && (space < of(to) || (space == of(to) && to.len() > 1));
        let is_gone = |watcher: &&Watcher| watcher.exists && is_in(spaces.of(watcher.db).byte());
        let watchers = self.by_key.values().flatten().filter(is_gone);
        let changed: Vec<u64> = watchers.map(|watcher| watcher.watch).collect();
        changed.into_iter().for_each(|watch| self.note_change(watch));
    }

    /// Takes note that an entry ends.
    pub(super) fn end_entry(&mut self) {
        self.looks = 0;
    }

    /// Takes note that the databases of which `is_other` says so have the keys of others now. A key that was there has changed, and
    /// so has one that was not if it `may_be` there now: that is asked for some in an entry, and taken for granted of more.
    pub(super) fn note_exchange(&mut self, is_other: impl Fn(u8) -> bool, may_be: impl Fn(u8, &[u8]) -> bool) {
        let mut changed: Vec<u64> = Vec::new();
        for (key, watchers) in &self.by_key {
            for watcher in watchers.iter().filter(|watcher| is_other(watcher.db)) {
                let is_looked_for = !watcher.exists && self.looks < WATCHED_LOOKS_MAX;
                self.looks += usize::from(is_looked_for);
                if !is_looked_for || may_be(watcher.db, key) {
                    changed.push(watcher.watch);
                }
            }
        }
        changed.into_iter().for_each(|watch| self.note_change(watch));
    }

    /// Takes note that a key of `watch` was changed. Its keys are watched no more: a second change costs nothing.
    fn note_change(&mut self, watch: u64) {
        let Some(changed) = self.watches.get_mut(&watch) else { return };
        changed.state.is_changed = true;
        let keys = std::mem::take(&mut changed.keys);
        self.let_go(watch, keys);
    }

    fn let_go(&mut self, watch: u64, keys: HashSet<(u8, Box<[u8]>)>) {
        for (_, key) in keys {
            if let Some(watchers) = self.by_key.get_mut(&key) {
                watchers.retain(|watcher| watcher.watch != watch);
                if watchers.is_empty() {
                    self.by_key.remove(&key);
                }
            }
        }
    }

    /// Bytes of memory that the watches take, about.
    pub fn bytes(&self) -> usize {
        let of_keys = |watch: &Watch| {
            let key_bytes = watch.keys.iter().map(|(_, key)| WatchedKeys::bytes_of(key)).sum::<usize>();
            size_of::<(u64, Watch)>() + key_bytes
        };
        self.watches.values().map(of_keys).sum()
    }

    /// Bytes of memory that watching `key` takes, about.
    pub fn bytes_of(key: &[u8]) -> usize {
        // It is in two tables, each of which has some room to spare.
        2 * (key.len() + 2 * size_of::<(Box<[u8]>, Watcher)>())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn is_changed(keys: &WatchedKeys, watch: u64) -> bool {
        keys.state(watch).expect("it is there").is_changed
    }

    #[test]
    fn a_change_is_seen_by_those_who_watch_the_key_in_its_database() {
        let mut keys = WatchedKeys::default();
        keys.watch(1, 0, b"a", Some(u64::MAX));
        keys.watch(2, 3, b"a", Some(u64::MAX));
        keys.watch(3, 0, b"b", Some(u64::MAX));
        keys.note(0, b"a", false);
        assert_eq!([1, 2, 3].map(|watch| is_changed(&keys, watch)), [true, false, false]);
        keys.note(3, b"a", true);
        keys.note(0, b"nobody", true);
        assert_eq!([1, 2, 3].map(|watch| is_changed(&keys, watch)), [true, true, false]);
        keys.note_all();
        assert!(is_changed(&keys, 3));
        for watch in [1, 2, 3] {
            keys.forget(watch);
        }
        assert!(keys.is_empty() && keys.by_key.is_empty() && keys.bytes() == 0);
        assert_eq!(keys.state(1), None);
    }

    #[test]
    fn a_change_ends_the_watching_and_not_the_watch() {
        let mut keys = WatchedKeys::default();
        for watch in 1..=1000 {
            keys.watch(watch, 0, b"a", Some(u64::MAX));
            keys.watch(watch, 0, b"b", Some(u64::MAX));
        }
        keys.note(0, b"a", false);
        assert!(keys.by_key.is_empty() && !keys.is_empty());
        keys.watch(1, 0, b"c", Some(u64::MAX));
        assert!(keys.by_key.is_empty() && (1..=1000).all(|watch| is_changed(&keys, watch)));
        keys.watch(1001, 0, b"a", Some(u64::MAX));
        assert!(!is_changed(&keys, 1001));
        (1..=1001).for_each(|watch| keys.forget(watch));
        assert!(keys.is_empty() && keys.by_key.is_empty());
    }

    #[test]
    fn a_key_that_is_not_there_does_not_go() {
        let mut keys = WatchedKeys::default();
        keys.watch(1, 0, b"a", None);
        keys.note(0, b"a", true);
        keys.note_range(&Spaces::default(), &[0], &[16]);
        assert!(!is_changed(&keys, 1));
        keys.note(0, b"a", false);
        assert!(is_changed(&keys, 1));
    }

    #[test]
    fn whole_databases_go() {
        let mut keys = WatchedKeys::default();
        for db in 0..4 {
            keys.watch(db.into(), db, b"a", Some(5));
        }
        keys.note_range(&Spaces::default(), &[1], &[2]);
        assert_eq!([0, 1, 2, 3].map(|watch| is_changed(&keys, watch)), [false, true, false, false]);
        keys.note_range(&Spaces::default(), &[0xFD], &[0xFE]);
        assert!(!is_changed(&keys, 3));
        keys.note_range(&Spaces::default(), &[0], &[16]);
        assert!([0, 2, 3].iter().all(|watch| is_changed(&keys, *watch)));
    }

    #[test]
    fn the_earliest_deadline_and_the_newest_batch_count() {
        let mut keys = WatchedKeys::default();
        keys.open_batch(7, false);
        keys.watch(1, 0, b"a", Some(90));
        keys.watch(1, 0, b"b", Some(u64::MAX));
        keys.watch(1, 0, b"c", Some(50));
        keys.watch(1, 0, b"c", Some(20));
        let state = WatchState { is_changed: false, deadline_ms: 50, batches_below: 7 };
        assert_eq!(keys.state(1), Some(state), "what is watched already stays as it is");
        keys.note_write();
        keys.expect_change(b"nobody");
        assert_eq!(keys.state(1), Some(state), "that is of another key");
        keys.watch(2, 0, b"a", None);
        assert_eq!(keys.state(2).unwrap().batches_below, 8, "its key may be written to by one before");
        keys.open_batch(8, false);
        keys.expect_change(b"b");
        assert_eq!(keys.state(1), Some(WatchState { batches_below: 9, ..state }));
        keys.open_batch(9, false);
        keys.expect_changes();
        assert_eq!(keys.state(1), Some(WatchState { batches_below: 10, ..state }));
    }
}
