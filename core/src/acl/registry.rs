//! The users of a running node: who changes them, and how every core hears of it.

use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, RwLock};

use super::UserTable;
use super::log::AccessLog;

/// The users as they are, and what was denied to them. Cores look at the version each turn, and take the new table when it has
/// changed.
#[derive(Debug)]
pub struct Users {
    table: RwLock<Arc<UserTable>>,
    /// Held by whoever makes the next table: nobody who only reads waits for that.
    changing: Mutex<()>,
    /// Held by whoever reads or writes the file of users: what is written last is the newest.
    file: Mutex<()>,
    version: AtomicU64,
    log: Mutex<AccessLog>,
}

impl Users {
    /// The users that the node starts with.
    pub fn new(table: UserTable) -> Users {
        Users {
            table: RwLock::new(Arc::new(table)),
            changing: Mutex::default(),
            file: Mutex::default(),
            version: AtomicU64::new(0),
            log: Mutex::default(),
        }
    }

    /// The users as they are now.
    pub fn now(&self) -> Arc<UserTable> {
        self.table.read().unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// A number that changes with every change.
    pub fn version(&self) -> u64 {
        self.version.load(Ordering::Acquire)
    }

    /// Has `change` change a copy of the table, for the client with the id `by`; the copy is put in force unless that fails.
    ///
    /// # Errors
    /// Those of `change`.
    pub fn change<T, E>(&self, by: u64, change: impl FnOnce(&mut UserTable) -> Result<T, E>) -> Result<T, E> {
        let _changing = self.changing.lock().unwrap_or_else(PoisonError::into_inner);
        let mut copy = UserTable::clone(&self.now());
        copy.changed_by = by;
        let outcome = change(&mut copy)?;
        *self.table.write().unwrap_or_else(PoisonError::into_inner) = Arc::new(copy);
        self.version.fetch_add(1, Ordering::Release);
        Ok(outcome)
    }

    /// The right to read or write the file of users. Blocks: for threads that are no cores.
    pub fn file(&self) -> MutexGuard<'_, ()> {
        self.file.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// The list of what was denied.
    pub fn log(&self) -> MutexGuard<'_, AccessLog> {
        self.log.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_change_is_whole_or_not_at_all() {
        let users = Users::new(UserTable::plain());
        let before = users.now();
        let words: [&[u8]; 2] = [b"on", b"nonsense"];
        assert!(users.change(7, |table| table.set(b"bob", &words, false)).is_err());
        assert!(users.version() == 0 && users.now().user(b"bob").is_none());
        users.change(7, |table| table.set(b"bob", &words[..1], false)).unwrap();
        assert_eq!((users.version(), users.now().changed_by()), (1, 7));
        assert!(users.now().user(b"bob").is_some() && before.user(b"bob").is_none());
        assert!(users.change(7, |table| if table.remove(b"default") { Ok(()) } else { Err(()) }).is_err());
    }
}
