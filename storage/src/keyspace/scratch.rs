//! Buffers and figures of a core that outlive one command.

use std::cell::{Cell, RefCell};
use std::sync::Arc;

use super::access_times::AccessNotes;
use super::key_events::{EventClasses, EventsMark, KeyEvent, KeyEvents};
use super::key_watch::{KeyWatch, WatchedKey};
use crate::limits::SCRATCH_BYTES_MAX;

/// Buffers that outlive a command, so that writing a value allocates nothing. One per core, lent to each
/// [`Keyspace`](super::Keyspace).
#[derive(Debug, Default)]
pub struct Scratch {
    pub(super) value: Vec<u8>,
    counts: Cell<KeyCounts>,
    /// The earliest deadline that was stored, if any was.
    pub(super) earliest_deadline_ms: Option<u64>,
    /// The earliest one of a field among those.
    earliest_field_deadline_ms: Option<u64>,
    /// Keys whose writes somebody wants to hear of, if there are any.
    watch: Option<Box<KeyWatch>>,
    /// True if libraries of functions have come or gone.
    functions_changed: Cell<bool>,
    /// Classes of events that are noted.
    told: EventClasses,
    events: RefCell<KeyEvents>,
    /// The place where accesses to keys are noted.
    pub(super) accesses: AccessNotes,
}

/// The counts and the events as they stand before a command that may be run again, or undone.
#[derive(Debug, Clone, Copy)]
pub struct ScratchMark {
    counts: KeyCounts,
    events: EventsMark,
}

/// Counts of look-ups and expiries, for whoever publishes figures.
#[derive(Debug, Default, Clone, Copy, PartialEq, Eq)]
pub struct KeyCounts {
    /// Live keys found, other than by writes that look them up to replace them.
    pub hits: u64,
    /// Keys looked for and not found, or expired.
    pub misses: u64,
    /// Expired keys deleted or overwritten.
    pub expired: u64,
}

impl Scratch {
    /// Buffers of their own for commands on trial, which count as accesses to keys as others do.
    pub fn for_trial(&self) -> Scratch {
        Scratch { accesses: self.accesses.of_trial(), ..Scratch::default() }
    }

    /// Returns the counts since this was made, or since [`Scratch::set_counts`].
    pub fn counts(&self) -> KeyCounts {
        self.counts.get()
    }

    /// Sets the counts.
    pub fn set_counts(&self, counts: KeyCounts) {
        self.counts.set(counts);
    }

    /// The counts and the events as they stand.
    pub fn mark(&self) -> ScratchMark {
        ScratchMark { counts: self.counts.get(), events: self.events.borrow().mark() }
    }

    /// Goes back to what they were before a command that is run again, or undone.
    pub fn rewind(&self, mark: ScratchMark) {
        self.counts.set(mark.counts);
        self.events.borrow_mut().rewind(mark.events);
    }

    /// Has events of these classes noted, and of no others.
    pub fn tell(&mut self, classes: EventClasses) {
        self.told = classes;
    }

    /// The classes of events that are noted.
    #[inline]
    pub fn told(&self) -> EventClasses {
        self.told
    }

    /// Notes an event of a class that somebody wants to hear of.
    #[cold]
    pub(super) fn note_event(&self, class: EventClasses, db: u8, event: &[u8], key: &[u8]) {
        self.events.borrow_mut().push(class, db, event, key);
    }

    /// Counts events for which there was no room elsewhere.
    pub(super) fn note_dropped_events(&self, count: u64) {
        self.events.borrow_mut().note_dropped(count);
    }

    /// Notes that `key` was looked for elsewhere and is not there.
    pub fn note_miss(&self, db: u8, key: &[u8]) {
        if self.told.has(EventClasses::MISS) {
            self.note_event(EventClasses::MISS, db, b"keymiss", key);
        }
    }

    /// Returns whether events wait to be taken.
    #[inline]
    pub fn has_events(&self) -> bool {
        !self.events.borrow().is_empty()
    }

    /// Gives the first event to `take`, if there is one, and forgets it. Not to be called while a command runs.
    pub fn take_event(&self, take: &mut dyn FnMut(KeyEvent<'_>)) -> bool {
        self.events.borrow_mut().take(take)
    }

    /// Forgets all events that wait.
    pub fn forget_events(&self) {
        self.events.borrow_mut().forget();
    }

    /// Events for which there was no room, so far.
    pub fn dropped_events(&self) -> u64 {
        self.events.borrow().dropped()
    }

    /// Notes a deadline that was stored, of a key or of a field.
    pub(super) fn note_deadline(&mut self, deadline_ms: u64) {
        let earliest_ms = &mut self.earliest_deadline_ms;
        *earliest_ms = Some(earliest_ms.map_or(deadline_ms, |earliest_ms| earliest_ms.min(deadline_ms)));
    }

    /// Notes a deadline of a field that was stored.
    pub(super) fn note_field_deadline(&mut self, deadline_ms: u64) {
        self.note_deadline(deadline_ms);
        let earliest_ms = &mut self.earliest_field_deadline_ms;
        *earliest_ms = Some(earliest_ms.map_or(deadline_ms, |earliest_ms| earliest_ms.min(deadline_ms)));
    }

    /// Returns whether a field has got a deadline since [`Scratch::take_earliest_field_deadline_ms`].
    pub fn has_new_field_deadline(&self) -> bool {
        self.earliest_field_deadline_ms.is_some()
    }

    /// The earliest deadline that a field got since this was asked last, if any did. It may be one of a command that was undone.
    pub fn take_earliest_field_deadline_ms(&mut self) -> Option<u64> {
        self.earliest_field_deadline_ms.take()
    }

    /// The earliest deadline as it stands, for [`Scratch::set_earliest_deadline_ms`].
    pub fn earliest_deadline_ms(&self) -> Option<u64> {
        self.earliest_deadline_ms
    }

    /// Sets the earliest deadline: back to what it was before a command that is undone.
    pub fn set_earliest_deadline_ms(&mut self, deadline_ms: Option<u64>) {
        self.earliest_deadline_ms = deadline_ms;
    }

    /// The earliest deadline that a key or a field got since this was asked last, if any did: a sweep that is beyond it must go
    /// back.
    pub fn take_earliest_deadline_ms(&mut self) -> Option<u64> {
        self.earliest_deadline_ms.take()
    }

    /// Notes that libraries of functions have come or gone, or may have.
    pub fn note_functions_changed(&self) {
        self.functions_changed.set(true);
    }

    /// Returns whether that was noted since this was asked last, for whoever publishes figures.
    pub fn take_functions_changed(&self) -> bool {
        self.functions_changed.take()
    }

    /// Has writes of `key` of database `db` noted from now on.
    pub fn watch(&mut self, db: u8, key: &Arc<[u8]>) {
        self.watch.get_or_insert_with(|| Box::new(KeyWatch::new())).add(db, key);
    }

    /// Has writes of `key` noted no more.
    pub fn unwatch(&mut self, db: u8, key: &[u8]) {
        let Some(watch) = &mut self.watch else { return };
        watch.remove(db, key);
        if watch.is_empty() {
            self.watch = None;
        }
    }

    /// Returns whether writes of some key are noted.
    pub fn is_watching(&self) -> bool {
        self.watch.is_some()
    }

    /// Returns whether writes of `key` are noted.
    pub fn watches(&self, db: u8, key: &[u8]) -> bool {
        self.watch.as_ref().is_some_and(|watch| watch.has(db, key))
    }

    /// Notes that `key` was written or deleted, or is to be looked at as if it were.
    pub fn note_written(&mut self, db: u8, key: &[u8]) {
        if let Some(watch) = &mut self.watch {
            watch.note(db, key);
        }
    }

    /// Notes that all keys of database `db` are to be looked at: they are gone, or others are in their space.
    pub(super) fn note_all_written(&mut self, db: u8) {
        if let Some(watch) = &mut self.watch {
            watch.note_all(db);
        }
    }

    /// Returns whether watched keys were written since [`Scratch::take_written`].
    pub fn has_written(&self) -> bool {
        self.watch.as_ref().is_some_and(|watch| watch.has_written())
    }

    /// The watched keys that were written since this was asked last, in the order of their first write.
    pub fn take_written(&mut self) -> Vec<WatchedKey> {
        self.watch.as_mut().map(|watch| watch.take_written()).unwrap_or_default()
    }

    pub(super) fn count_lookup(&self, found: bool) {
        let mut counts = self.counts.get();
        if found {
            counts.hits += 1;
        } else {
            counts.misses += 1;
        }
        self.counts.set(counts);
    }

    /// The value buffer, empty.
    pub(super) fn take(&mut self) -> Vec<u8> {
        let mut value = std::mem::take(&mut self.value);
        value.clear();
        value
    }

    pub(super) fn give_back(&mut self, value: Vec<u8>) {
        if value.capacity() <= SCRATCH_BYTES_MAX {
            self.value = value;
        }
    }
}
