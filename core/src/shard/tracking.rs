//! The keys of a shard that clients keep copies of.

use basalt_storage::{Changed, Reader, ReaderId};

use super::Shard;
use crate::ids::Origin;

impl Shard {
    /// Enters a client for keys that it is about to read.
    pub fn track(&mut self, reader: Reader, keys: &[Box<[u8]>]) {
        let mut machine = self.machine.borrow_mut();
        let tracked = machine.store.tracked_mut();
        keys.iter().for_each(|key| tracked.track(reader, key));
        self.counts_changed = true;
    }

    /// Returns whether clients are to hear of changed keys.
    #[inline]
    pub fn has_changed_keys(&self) -> bool {
        self.machine.borrow().store.tracked().has_changed()
    }

    /// The keys that have changed since this was asked last, if some have.
    pub fn take_changed_keys(&mut self) -> Option<Changed> {
        self.has_changed_keys().then(|| self.machine.borrow_mut().store.tracked_mut().take_changed())
    }

    /// Has every change of a key told, or only those of keys that clients have read.
    pub fn tell_all_changes(&mut self, tells_all: bool) {
        self.machine.borrow_mut().store.tracked_mut().set_notes_all(tells_all);
    }

    /// Sets the most keys that clients are entered for, and the most bytes of memory for that.
    pub fn set_tracking_bounds(&mut self, keys_max: usize, bytes_max: usize) {
        self.machine.borrow_mut().store.tracked_mut().set_bounds(keys_max, bytes_max);
    }

    /// Notes that a client is gone, and looks for its keys in the next ticks.
    pub fn note_reader_gone(&mut self, reader: ReaderId) {
        self.machine.borrow_mut().store.tracked_mut().note_gone(reader);
    }

    /// Notes whose transaction it is that has this number from now on, if its client does not want to hear of what it changes.
    pub(super) fn note_deaf_writer(&mut self, transaction: Origin, client: Option<u32>) {
        let (mut machine, number) = (self.machine.borrow_mut(), (transaction.core, transaction.client));
        match client {
            Some(client) => drop(machine.deaf_writers.insert(number, client)),
            None if machine.deaf_writers.is_empty() => {}
            None => drop(machine.deaf_writers.remove(&number)),
        }
    }

    /// Looks through some keys for clients that are gone.
    pub(super) fn sweep_tracked(&mut self) {
        self.machine.borrow_mut().store.tracked_mut().sweep();
    }
}
