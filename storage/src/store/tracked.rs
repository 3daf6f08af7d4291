//! Keys that clients have read and keep copies of: who is to hear that one was changed.
//!
//! What a newcomer would get wrong: a key is here without its database, as in Redis: clients are told names. And a key leaves the
//! table with the first change of it. A client that is told drops its copy, and is here again once it has read the key again.

use std::collections::{HashMap, HashSet};
use std::mem::size_of;
use std::sync::Arc;

use smallvec::SmallVec;

use crate::limits::{TRACKED_CHANGES_BYTES_MAX, TRACKED_SWEEP_KEYS};

/// A client, by a number that its node gives it.
pub type ReaderId = u64;

/// A client that has read a key.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Reader {
    /// The client.
    pub id: ReaderId,
    /// True if it does not want to hear of what it changes itself: it stays in the table then.
    pub is_deaf_to_itself: bool,
}

/// A key that was changed, or that the table had no more room for.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ChangedKey {
    /// The key.
    pub key: Arc<[u8]>,
    /// The clients that have read it, and are in the table no more.
    pub readers: SmallVec<[ReaderId; 2]>,
    /// The client that has changed it, if it was one and one alone.
    pub writer: Option<ReaderId>,
    /// True if it was changed, so that those are to hear of it who want to hear of every change.
    pub is_written: bool,
}

/// All that has changed since somebody has asked.
#[derive(Debug, Default, PartialEq, Eq)]
pub struct Changed {
    /// The keys, in the order of the first change of each.
    pub keys: Vec<ChangedKey>,
    /// True if whoever keeps a copy of anything is to drop it.
    pub is_all: bool,
}

/// The keys of one store that clients have read.
#[derive(Debug)]
pub struct TrackedKeys {
    places: HashMap<Arc<[u8]>, u32>,
    keys: Vec<TrackedKey>,
    /// Clients of all keys.
    item_count: usize,
    key_bytes: usize,
    keys_max: usize,
    bytes_max: usize,
    /// True if every change of a key is noted, whoever has read it.
    notes_all: bool,
    /// True if something is to be noted at all.
    is_noting: bool,
    /// The client whose command is executed.
    writer: Option<ReaderId>,
    changed: Vec<ChangedKey>,
    /// The places in `changed` of keys that were written, while all are noted.
    noted: HashMap<Arc<[u8]>, usize>,
    changed_bytes: usize,
    is_all_changed: bool,
    /// Clients that are gone, and have keys here still: those that keys are looked through for, and those that went meanwhile.
    gone: [HashSet<ReaderId>; 2],
    /// Keys in front of this place are to be looked through for the first ones.
    sweep: usize,
    /// The state of a generator of numbers: which key has to go, no replica need agree on.
    random: u64,
}

#[derive(Debug)]
struct TrackedKey {
    key: Arc<[u8]>,
    readers: SmallVec<[Reader; 2]>,
}

/// Bytes of memory that a key takes beside its name: its entry, its place, and room to spare in both tables.
const KEY_OVERHEAD_BYTES: usize = 2 * (size_of::<TrackedKey>() + size_of::<(Arc<[u8]>, u32)>()) + 16;

impl Default for TrackedKeys {
    fn default() -> TrackedKeys {
        TrackedKeys {
            places: HashMap::new(),
            keys: Vec::new(),
            item_count: 0,
            key_bytes: 0,
            keys_max: usize::MAX,
            bytes_max: usize::MAX,
            notes_all: false,
            is_noting: false,
            writer: None,
            changed: Vec::new(),
            noted: HashMap::new(),
            changed_bytes: 0,
            is_all_changed: false,
            gone: Default::default(),
            sweep: 0,
            random: 0x9E37_79B9_7F4A_7C15,
        }
    }
}

impl TrackedKeys {
    /// Sets the most keys that the table has, and the most bytes of memory. Where there are many more, they go with the next ones
    /// that come, and with [`TrackedKeys::sweep`].
    pub fn set_bounds(&mut self, keys_max: usize, bytes_max: usize) {
        (self.keys_max, self.bytes_max) = (keys_max, bytes_max);
        self.make_room();
    }

    /// Has every change of a key noted from now on, or only those of keys that somebody has read.
    pub fn set_notes_all(&mut self, notes_all: bool) {
        self.notes_all = notes_all;
        self.look_if_noting();
    }

    /// Returns whether changes of keys are to be noted.
    #[inline]
    pub fn is_noting(&self) -> bool {
        self.is_noting
    }

    /// Notes whose command is executed from now on, if it is a client's.
    pub fn set_writer(&mut self, writer: Option<ReaderId>) {
        self.writer = writer;
    }

    /// Enters `reader` for `key`. Another key goes if there is no room, and is told as if it were changed.
    pub fn track(&mut self, reader: Reader, key: &[u8]) {
        // It is one of them again.
        for gone in &mut self.gone {
            gone.remove(&reader.id);
        }
        let place = match self.places.get(key) {
            Some(place) => *place as usize,
            None => {
                let name: Arc<[u8]> = key.into();
                self.key_bytes += key.len();
                self.places.insert(name.clone(), self.keys.len() as u32);
                self.keys.push(TrackedKey { key: name, readers: SmallVec::new() });
                self.keys.len() - 1
            }
        };
        let readers = &mut self.keys[place].readers;
        match readers.iter_mut().find(|there| there.id == reader.id) {
            Some(there) => *there = reader,
            None => {
                readers.push(reader);
                self.item_count += 1;
            }
        }
        self.make_room();
        self.look_if_noting();
    }

    /// Notes that a row of `key` was set or deleted.
    #[cold]
    pub(super) fn note(&mut self, key: &[u8]) {
        let place = self.places.get(key).copied();
        if place.is_none() && !self.notes_all {
            return;
        }
        let readers = match place {
            Some(place) => self.take_readers(place as usize, self.writer),
            None => SmallVec::new(),
        };
        if let Some(index) = self.noted.get(key) {
            let changed = &mut self.changed[*index];
            changed.writer = changed.writer.filter(|writer| self.writer == Some(*writer));
            changed.readers.extend(readers);
            return;
        }
        if readers.is_empty() && !self.notes_all {
            return;
        }
        let key: Arc<[u8]> = key.into();
        if self.notes_all {
            self.noted.insert(key.clone(), self.changed.len());
        }
        self.push(ChangedKey { key, readers, writer: self.writer, is_written: true });
    }

    /// Takes note that all rows from `from` on were deleted up to another: if those of whole databases, nobody looks which keys
    /// there were.
    pub(super) fn note_range(&mut self, from: &[u8]) {
        if from.first().is_some_and(|db| usize::from(*db) < crate::DATABASE_COUNT) {
            self.note_all();
        }
    }

    /// Takes note that anything may have changed, or may change from now on without being noted here.
    pub fn note_all(&mut self) {
        self.forget_all();
        self.is_all_changed = true;
    }

    /// Returns whether something has changed since [`TrackedKeys::take_changed`].
    #[inline]
    pub fn has_changed(&self) -> bool {
        self.is_all_changed || !self.changed.is_empty()
    }

    /// All that has changed since this was asked last.
    pub fn take_changed(&mut self) -> Changed {
        self.changed_bytes = 0;
        self.noted.clear();
        Changed { keys: std::mem::take(&mut self.changed), is_all: std::mem::take(&mut self.is_all_changed) }
    }

    /// Takes note that a client is gone: [`TrackedKeys::sweep`] finds its keys.
    pub fn note_gone(&mut self, reader: ReaderId) {
        if !self.keys.is_empty() {
            self.gone[1].insert(reader);
        }
    }

    /// Looks through some keys for clients that are gone, and makes room. Returns whether there are more to look through.
    pub fn sweep(&mut self) -> bool {
        self.make_room();
        if self.gone[0].is_empty() {
            self.gone.swap(0, 1);
            self.sweep = self.keys.len();
        }
        if self.gone[0].is_empty() {
            return false;
        }
        // Others may have removed some since.
        self.sweep = self.sweep.min(self.keys.len());
        for _ in 0..TRACKED_SWEEP_KEYS.min(self.sweep) {
            // From the end on: in the place of a key that goes comes the last one, which was looked at.
            self.sweep -= 1;
            let place = self.sweep;
            let (readers, gone) = (&mut self.keys[place].readers, &self.gone[0]);
            let before = readers.len();
            readers.retain(|reader| !gone.contains(&reader.id));
            self.item_count -= before - readers.len();
            if readers.is_empty() {
                self.remove(place);
            }
        }
        if self.sweep == 0 {
            self.gone[0] = HashSet::new();
        }
        self.look_if_noting();
        self.gone.iter().any(|gone| !gone.is_empty())
    }

    /// The number of keys.
    pub fn key_count(&self) -> usize {
        self.keys.len()
    }

    /// The number of clients of all keys together.
    pub fn item_count(&self) -> usize {
        self.item_count
    }

    /// Bytes of memory that the table takes, and what nobody has asked for yet, about.
    pub fn bytes(&self) -> usize {
        self.table_bytes()
            + self.changed_bytes
            + self.gone.iter().map(HashSet::len).sum::<usize>() * 2 * size_of::<ReaderId>()
    }

    fn table_bytes(&self) -> usize {
        self.key_bytes + self.keys.len() * KEY_OVERHEAD_BYTES + self.item_count * size_of::<Reader>()
    }

    fn look_if_noting(&mut self) {
        self.is_noting = self.notes_all || !self.keys.is_empty();
    }

    /// Takes the readers of a key out of the table, but for the one that changes it and does not want to hear of that.
    fn take_readers(&mut self, place: usize, writer: Option<ReaderId>) -> SmallVec<[ReaderId; 2]> {
        let stays = |reader: &Reader| reader.is_deaf_to_itself && writer == Some(reader.id);
        let (staying, told): (SmallVec<[Reader; 2]>, SmallVec<[Reader; 2]>) =
            self.keys[place].readers.iter().copied().partition(stays);
        self.item_count -= told.len();
        self.keys[place].readers = staying;
        if self.keys[place].readers.is_empty() {
            self.remove(place);
            self.look_if_noting();
        }
        told.iter().map(|reader| reader.id).collect()
    }

    /// Removes the key in `place`, whose readers were counted out.
    fn remove(&mut self, place: usize) {
        let removed = self.keys.swap_remove(place);
        self.places.remove(&removed.key);
        self.key_bytes -= removed.key.len();
        if let Some(moved) = self.keys.get(place) {
            *self.places.get_mut(&moved.key).expect("each key has its place") = place as u32;
        }
    }

    fn make_room(&mut self) {
        for _ in 0..TRACKED_SWEEP_KEYS {
            let is_full = self.keys.len() > self.keys_max || self.table_bytes() > self.bytes_max;
            if !is_full || self.keys.is_empty() {
                return;
            }
            self.random ^= self.random << 13;
            self.random ^= self.random >> 7;
            self.random ^= self.random << 17;
            let place = (self.random % self.keys.len() as u64) as usize;
            let key = self.keys[place].key.clone();
            let readers = self.take_readers(place, None);
            self.push(ChangedKey { key, readers, writer: None, is_written: false });
        }
    }

    /// Adds what is to be told. What is too much of it is told as one: that everything is to be dropped.
    fn push(&mut self, changed: ChangedKey) {
        let readers = changed.readers.len() * size_of::<ReaderId>();
        self.changed_bytes += changed.key.len() + readers + 2 * size_of::<ChangedKey>();
        self.changed.push(changed);
        if self.changed_bytes > TRACKED_CHANGES_BYTES_MAX {
            self.note_all();
        }
    }

    fn forget_all(&mut self) {
        (self.places, self.keys) = (HashMap::new(), Vec::new());
        (self.item_count, self.key_bytes, self.changed_bytes) = (0, 0, 0);
        (self.changed, self.noted) = (Vec::new(), HashMap::new());
        (self.gone, self.sweep) = (Default::default(), 0);
        self.look_if_noting();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn reader(id: ReaderId) -> Reader {
        Reader { id, is_deaf_to_itself: false }
    }

    /// The keys that have changed, each with those who are told.
    fn told(tracked: &mut TrackedKeys) -> Vec<(String, Vec<ReaderId>)> {
        let changed = tracked.take_changed();
        assert!(!changed.is_all);
        let text = |key: &ChangedKey| String::from_utf8(key.key.to_vec()).unwrap();
        changed.keys.iter().map(|key| (text(key), key.readers.to_vec())).collect()
    }

    #[test]
    fn a_change_is_told_once_to_each_who_has_read_the_key() {
        let mut tracked = TrackedKeys::default();
        tracked.note(b"a");
        assert!(!tracked.is_noting() && !tracked.has_changed());
        for (id, key) in [(1, b"a"), (2, b"a"), (1, b"a"), (1, b"b")] {
            tracked.track(reader(id), key);
        }
        assert_eq!((tracked.key_count(), tracked.item_count(), tracked.is_noting()), (2, 3, true));
        for key in [b"a", b"a", b"c"] {
            tracked.note(key);
        }
        assert_eq!(told(&mut tracked), [("a".into(), vec![1, 2])]);
        tracked.note(b"a");
        assert!(!tracked.has_changed(), "nobody has read it since");
        tracked.note(b"b");
        assert_eq!(told(&mut tracked), [("b".into(), vec![1])]);
        assert_eq!((tracked.key_count(), tracked.item_count(), tracked.bytes()), (0, 0, 0));
        assert!(!tracked.is_noting());
    }

    #[test]
    fn who_is_deaf_to_itself_is_told_of_what_others_change() {
        let mut tracked = TrackedKeys::default();
        for id in [1, 2] {
            tracked.track(Reader { id, is_deaf_to_itself: true }, b"a");
        }
        tracked.set_writer(Some(1));
        tracked.note(b"a");
        assert_eq!(told(&mut tracked), [("a".into(), vec![2])]);
        assert_eq!(tracked.item_count(), 1);
        tracked.set_writer(Some(3));
        tracked.note(b"a");
        assert_eq!(told(&mut tracked), [("a".into(), vec![1])]);
        assert_eq!(tracked.key_count(), 0);
    }

    #[test]
    fn every_change_is_noted_once_with_its_only_writer() {
        let mut tracked = TrackedKeys::default();
        tracked.set_notes_all(true);
        for (writer, key) in [(1, b"a"), (1, b"a"), (1, b"b"), (2, b"b"), (1, b"b")] {
            tracked.set_writer(Some(writer));
            tracked.note(key);
        }
        let changed = tracked.take_changed();
        let writers: Vec<_> = changed.keys.iter().map(|key| (key.writer, key.is_written)).collect();
        assert_eq!(writers, [(Some(1), true), (None, true)]);
        tracked.note(b"a");
        assert_eq!(tracked.take_changed().keys.len(), 1);
        tracked.set_notes_all(false);
        tracked.note(b"a");
        assert!(!tracked.has_changed() && !tracked.is_noting());
    }

    #[test]
    fn what_finds_no_room_is_told() {
        let mut tracked = TrackedKeys::default();
        tracked.set_bounds(2, usize::MAX);
        for key in [b"a", b"b", b"c", b"d"] {
            tracked.track(reader(1), key);
            assert!(tracked.key_count() <= 2);
        }
        let gone = tracked.take_changed();
        assert_eq!(gone.keys.len(), 2);
        assert!(gone.keys.iter().all(|key| key.readers[..] == [1] && !key.is_written), "{gone:?}");
        tracked.set_bounds(usize::MAX, 1);
        assert_eq!((told(&mut tracked).len(), tracked.key_count()), (2, 0));
    }

    #[test]
    fn what_is_too_much_to_tell_is_told_as_all() {
        let mut tracked = TrackedKeys::default();
        tracked.set_notes_all(true);
        tracked.track(reader(1), b"a");
        let key = vec![b'k'; 1 << 20];
        for number in 0..(TRACKED_CHANGES_BYTES_MAX >> 20) as u8 {
            tracked.note(&[&[number], &key[..]].concat());
        }
        assert_eq!(tracked.take_changed(), Changed { keys: Vec::new(), is_all: true });
        assert_eq!((tracked.key_count(), tracked.bytes(), tracked.is_noting()), (0, 0, true));
    }

    #[test]
    fn clients_that_are_gone_are_swept_out_and_those_that_come_again_stay() {
        let mut tracked = TrackedKeys::default();
        let count = 3 * TRACKED_SWEEP_KEYS;
        let key = |number: usize| number.to_string().into_bytes();
        for number in 0..count {
            tracked.track(reader(1), &key(number));
            if number % 3 == 0 {
                tracked.track(reader(2), &key(number));
            }
        }
        tracked.note_gone(1);
        while tracked.sweep() {}
        assert_eq!((tracked.key_count(), tracked.item_count()), (TRACKED_SWEEP_KEYS, TRACKED_SWEEP_KEYS));
        assert!((0..count).all(|number| tracked.places.contains_key(&key(number)[..]) == (number % 3 == 0)));
        tracked.note_gone(2);
        tracked.track(reader(2), b"again");
        while tracked.sweep() {}
        assert_eq!(tracked.key_count(), TRACKED_SWEEP_KEYS + 1);
        tracked.note_gone(2);
        while tracked.sweep() {}
        assert_eq!((tracked.key_count(), tracked.bytes(), tracked.is_noting()), (0, 0, false));
    }

    #[test]
    fn whole_databases_go() {
        let mut tracked = TrackedKeys::default();
        tracked.track(reader(1), b"a");
        tracked.note_range(&[0xFD]);
        assert!(!tracked.has_changed());
        tracked.note_range(&[3]);
        assert_eq!(tracked.take_changed(), Changed { keys: Vec::new(), is_all: true });
        assert!(!tracked.is_noting());
    }
}
