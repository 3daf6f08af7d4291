//! Keys whose writes somebody wants to hear of.
//!
//! What a newcomer would get wrong: a key that was written may be gone, be empty again, hold another type, or have been written on
//! a trial that was forgotten. Who hears of it looks at it.

use std::collections::HashMap;
use std::sync::Arc;

use crate::DATABASE_COUNT;

/// A key by its database and its name.
pub type WatchedKey = (u8, Arc<[u8]>);

/// The keys of a shard that are watched, and those of them that were written since somebody asked.
#[derive(Debug)]
pub struct KeyWatch {
    /// By database: each key, and true if it is among those that were written.
    keys: [HashMap<Arc<[u8]>, bool>; DATABASE_COUNT],
    count: usize,
    written: Vec<WatchedKey>,
}

impl KeyWatch {
    /// Watches nothing yet.
    pub(super) fn new() -> KeyWatch {
        KeyWatch { keys: std::array::from_fn(|_| HashMap::new()), count: 0, written: Vec::new() }
    }

    /// Watches `key` of database `db` from now on.
    pub(super) fn add(&mut self, db: u8, key: &Arc<[u8]>) {
        if self.keys[usize::from(db)].insert(key.clone(), false).is_none() {
            self.count += 1;
        }
    }

    /// Watches `key` no more.
    pub(super) fn remove(&mut self, db: u8, key: &[u8]) {
        if self.keys[usize::from(db)].remove(key).is_some() {
            self.count -= 1;
        }
    }

    /// Returns whether nothing is watched.
    pub(super) fn is_empty(&self) -> bool {
        self.count == 0
    }

    /// Returns whether `key` is watched.
    pub(super) fn has(&self, db: u8, key: &[u8]) -> bool {
        self.keys[usize::from(db)].contains_key(key)
    }

    /// Notes that `key` was written, if it is watched.
    pub(super) fn note(&mut self, db: u8, key: &[u8]) {
        let keys = &mut self.keys[usize::from(db)];
        let Some((name, _)) = keys.get_key_value(key) else { return };
        let name = name.clone();
        let is_noted = keys.get_mut(key).expect("it was found a moment ago");
        if !std::mem::replace(is_noted, true) {
            self.written.push((db, name));
        }
    }

    /// Notes that all keys of `db` were written that are watched.
    pub(super) fn note_all(&mut self, db: u8) {
        for (name, is_noted) in &mut self.keys[usize::from(db)] {
            if !std::mem::replace(is_noted, true) {
                self.written.push((db, name.clone()));
            }
        }
    }

    /// Returns whether some were written.
    pub(super) fn has_written(&self) -> bool {
        !self.written.is_empty()
    }

    /// Those that were written since this was asked last, in the order of their first write. Some may be watched no more.
    pub(super) fn take_written(&mut self) -> Vec<WatchedKey> {
        let written = std::mem::take(&mut self.written);
        for (db, key) in &written {
            if let Some(is_noted) = self.keys[usize::from(*db)].get_mut(&**key) {
                *is_noted = false;
            }
        }
        written
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::MemoryRows;
    use crate::keyspace::{End, Keyspace, Scratch, VersionSource};

    #[test]
    fn watched_keys_are_told_once_whatever_wrote_them() {
        let (mut rows, mut scratch) = (MemoryRows::default(), Scratch::default());
        let names: Vec<Arc<[u8]>> = [&b"a"[..], b"b", b"c"].into_iter().map(Arc::from).collect();
        let write = |rows: &mut MemoryRows, scratch: &mut Scratch, key: &[u8]| {
            let mut keyspace = Keyspace::new(rows, scratch, VersionSource::entry(1), 3, 0);
            let mut list = keyspace.list_or_new(key).unwrap();
            list.push(&mut keyspace, End::Head, b"v").unwrap();
            list.save(&mut keyspace);
        };
        write(&mut rows, &mut scratch, b"a");
        assert!(!scratch.is_watching() && !scratch.has_written(), "nobody asks");
        names.iter().for_each(|name| scratch.watch(3, name));
        scratch.watch(4, &names[0]);
        for key in [&b"b"[..], b"a", b"b", b"other"] {
            write(&mut rows, &mut scratch, key);
        }
        Keyspace::new(&mut rows, &mut scratch, VersionSource::entry(2), 3, 0).rename(b"other", b"c").unwrap();
        let written: Vec<WatchedKey> = [1, 0, 2].map(|at| (3, names[at].clone())).into();
        assert_eq!(scratch.take_written(), written);
        assert!(!scratch.has_written());
        write(&mut rows, &mut scratch, b"a");
        assert_eq!(scratch.take_written(), [(3, names[0].clone())]);
        assert!(Keyspace::new(&mut rows, &mut scratch, VersionSource::entry(3), 3, 0).delete(b"c").unwrap());
        assert_eq!(scratch.take_written(), [(3, names[2].clone())], "what is deleted is told, too");
        Keyspace::new(&mut rows, &mut scratch, VersionSource::entry(4), 3, 0).flush().unwrap();
        assert_eq!(scratch.take_written().len(), 3, "and what is flushed");
        Keyspace::new(&mut rows, &mut scratch, VersionSource::entry(4), 3, 0).flush_all();
        assert_eq!(scratch.take_written().len(), 4, "of all databases");
        names.iter().for_each(|name| scratch.unwatch(3, name));
        write(&mut rows, &mut scratch, b"a");
        assert!(scratch.is_watching() && !scratch.has_written());
        scratch.unwatch(4, b"a");
        assert!(!scratch.is_watching());
    }
}
