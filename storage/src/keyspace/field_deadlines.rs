//! Deadlines of the fields of a hash: what reads them, what moves them, and what removes the fields that are past them.
//!
//! ```text
//! fields due  [0xF9][earliest deadline_ms u64 BE][space u8][key …] → empty       one for each hash with deadlines of fields
//! element     [0x01][name_hash(field) u32 BE][field …]             → [deadline_ms u64 BE]
//!             [0x02][deadline_ms u64 BE][field …]                  → empty
//! ```
//!
//! The elements are those of a hash of rows, two for each field with a deadline, beside the field's own; a packed hash has a table,
//! see `packed_deadlines.rs`. The earliest deadline stands in the metadata of either, so that what deletes or replaces the key
//! knows the one row of the index that goes with it, and a read knows whether any field may be past its deadline.
//!
//! What a newcomer would get wrong: as with keys, a field lives through the millisecond of its deadline. From then on no command
//! sees it; its rows go when [`Keyspace::delete_expired_fields`] comes to them, through the log.

use std::collections::VecDeque;
use std::ops::{Bound, ControlFlow};

use super::Keyspace;
use super::collection::Collection;
use super::hashed_names::{element_name, name_element};
use super::hashes::{FIELD, Hash};
use super::held::Held;
use super::key::{Due, RowKey};
use super::key_events::EventClasses;
use super::keyspace::damaged;
use super::meta::Type;
use super::record::Lookup;
use crate::limits::DEADLINES_AT_ONCE;
use crate::{Direction, Result};

/// Row kind of the deadlines of fields.
const DEADLINE: u8 = 0x01;
/// Row kind of the fields with deadlines in the order of time.
const ORDER: u8 = 0x02;
/// Rows of a field's deadline.
pub(super) const DEADLINE_ROWS: u32 = 2;

/// Visits a field with its value and its deadline, until it breaks or fails.
pub type VisitField<'v> = &'v mut dyn FnMut(&[u8], &[u8], Option<u64>) -> Result<ControlFlow<()>>;

/// Returns whether a hash of rows may have fields that are past their deadline.
#[inline]
pub(super) fn has_expired(keyspace: &Keyspace<'_>, collection: &Collection) -> bool {
    collection.fields_due_ms.is_some_and(|due_ms| due_ms < keyspace.now_ms)
}

fn order_element(deadline_ms: u64, field: &[u8]) -> RowKey {
    let mut element = RowKey::with_capacity(1 + size_of::<u64>() + field.len());
    element.push(ORDER);
    element.extend_from_slice(&deadline_ms.to_be_bytes());
    element.extend_from_slice(field);
    element
}

/// Takes the bytes that [`order_element`] made apart.
fn read_order(element: &[u8]) -> Option<(u64, &[u8])> {
    let (deadline, field) = element.strip_prefix(&[ORDER])?.split_first_chunk::<8>()?;
    Some((u64::from_be_bytes(*deadline), field))
}

fn read_deadline(value: &[u8]) -> Option<u64> {
    value.try_into().ok().map(u64::from_be_bytes)
}

/// Puts the rows of a field's deadline; the earliest one is the caller's to note.
pub(super) fn put_deadline_rows(keyspace: &mut Keyspace<'_>, collection: &Collection, field: &[u8], deadline_ms: u64) {
    keyspace.put_element(collection, &name_element(DEADLINE, field), &deadline_ms.to_be_bytes());
    keyspace.put_element(collection, &order_element(deadline_ms, field), &[]);
}

/// The deadline of a field in a hash of rows.
#[derive(Debug, Clone, Copy)]
pub(super) struct Deadline {
    /// The deadline.
    pub(super) at_ms: u64,
    /// The earliest one of the hash without it.
    due_without_ms: Option<u64>,
}

impl Deadline {
    /// Looks for the deadline of `field`, and for all that is needed to take it off: that reads nothing more.
    pub(super) fn read(keyspace: &Keyspace<'_>, collection: &Collection, field: &[u8]) -> Result<Option<Deadline>> {
        let Some(due_ms) = collection.fields_due_ms else { return Ok(None) };
        let Some(at_ms) = deadline_of_row(keyspace, collection, field)? else { return Ok(None) };
        let mut due_without_ms = None;
        if at_ms != due_ms {
            due_without_ms = Some(due_ms);
        } else {
            scan_order(keyspace, collection, due_ms, u64::MAX, &mut |deadline_ms, other| {
                if other == field {
                    return ControlFlow::Continue(());
                }
                due_without_ms = Some(deadline_ms);
                ControlFlow::Break(())
            })?;
        }
        Ok(Some(Deadline { at_ms, due_without_ms }))
    }

    /// Deletes the rows of the deadline, which is that of `field`.
    pub(super) fn take_off(self, keyspace: &mut Keyspace<'_>, collection: &mut Collection, field: &[u8]) {
        keyspace.delete_element(collection, &name_element(DEADLINE, field));
        keyspace.delete_element(collection, &order_element(self.at_ms, field));
        collection.fields_due_ms = self.due_without_ms;
    }
}

fn deadline_of_row(keyspace: &Keyspace<'_>, collection: &Collection, field: &[u8]) -> Result<Option<u64>> {
    match keyspace.element(collection, &name_element(DEADLINE, field))? {
        None => Ok(None),
        Some(value) => read_deadline(&value).map(Some).ok_or_else(|| damaged(collection.key())),
    }
}

/// Visits the fields of a hash of rows with deadlines from `from_ms` on and before `before_ms`, in the order of time, until `visit`
/// breaks.
fn scan_order(
    keyspace: &Keyspace<'_>,
    collection: &Collection,
    from_ms: u64,
    before_ms: u64,
    visit: &mut dyn FnMut(u64, &[u8]) -> ControlFlow<()>,
) -> Result<()> {
    let (from, to) = (order_element(from_ms, &[]), order_element(before_ms, &[]));
    let (lower, upper) = (Bound::Included(&from[..]), Bound::Excluded(&to[..]));
    let mut is_damaged = false;
    keyspace.scan_elements(
        collection,
        lower,
        upper,
        Direction::Forward,
        &mut |element, _| match read_order(element) {
            Some((deadline_ms, field)) => visit(deadline_ms, field),
            None => {
                is_damaged = true;
                ControlFlow::Break(())
            }
        },
    )?;
    if is_damaged { Err(damaged(collection.key())) } else { Ok(()) }
}

/// The earliest deadline of a field among the rows of a collection, which are in their order.
pub(super) fn earliest_of_rows<'r>(kind: Type, mut rows: impl Iterator<Item = (&'r [u8], &'r [u8])>) -> Option<u64> {
    if kind != Type::Hash {
        return None;
    }
    rows.find_map(|(element, _)| read_order(element)).map(|(deadline_ms, _)| deadline_ms)
}

/// Returns how many fields of a hash of rows are past their deadline.
pub(super) fn expired_count(keyspace: &Keyspace<'_>, collection: &Collection) -> Result<u64> {
    let Some(due_ms) = collection.fields_due_ms.filter(|_| has_expired(keyspace, collection)) else { return Ok(0) };
    let mut count = 0;
    scan_order(keyspace, collection, due_ms, keyspace.now_ms, &mut |_, _| {
        count += 1;
        ControlFlow::Continue(())
    })?;
    Ok(count)
}

/// Looks at the first `count_max` fields of a hash of rows that are past their deadline, and at the one behind them.
pub(super) fn look_for_expired(keyspace: &Keyspace<'_>, collection: &Collection, count_max: usize) -> Result<usize> {
    let Some(due_ms) = collection.fields_due_ms else { return Ok(0) };
    let mut left = count_max;
    scan_order(keyspace, collection, due_ms, u64::MAX, &mut |deadline_ms, _| {
        let goes_on = deadline_ms < keyspace.now_ms && left > 0;
        left = left.saturating_sub(1);
        if goes_on { ControlFlow::Continue(()) } else { ControlFlow::Break(()) }
    })?;
    Ok(count_max - left)
}

/// Finds the deadlines of fields that are asked for in the order of their rows: so many at once, and each once.
pub(super) struct DeadlinesInOrder<'c> {
    collection: &'c Collection,
    /// Element bytes of fields with deadlines, without the kind, and the deadlines.
    window: VecDeque<(RowKey, u64)>,
    /// The last field that was in the window, if there are more behind it.
    looked_to: Option<RowKey>,
    has_all: bool,
}

impl<'c> DeadlinesInOrder<'c> {
    /// Those of the fields of `collection`, a hash of rows.
    pub(super) fn new(collection: &'c Collection) -> DeadlinesInOrder<'c> {
        let has_all = collection.fields_due_ms.is_none();
        DeadlinesInOrder { collection, window: VecDeque::new(), looked_to: None, has_all }
    }

    /// The deadline of the field with the row `element`, which is behind all that were asked for before.
    pub(super) fn get(&mut self, keyspace: &Keyspace<'_>, element: &[u8]) -> Result<Option<u64>> {
        let field = &element[1..];
        let is_behind = self.looked_to.as_ref().is_none_or(|looked_to| field > &looked_to[..]);
        if is_behind && !self.has_all {
            self.look_from(keyspace, field)?;
        }
        while let Some((next, deadline_ms)) = self.window.front() {
            if &next[..] > field {
                break;
            }
            let found = (&next[..] == field).then_some(*deadline_ms);
            self.window.pop_front();
            if found.is_some() {
                return Ok(found);
            }
        }
        Ok(None)
    }

    fn look_from(&mut self, keyspace: &Keyspace<'_>, field: &[u8]) -> Result<()> {
        let mut from = RowKey::from_slice(&[DEADLINE]);
        from.extend_from_slice(field);
        let behind = [DEADLINE + 1];
        let (lower, upper) = (Bound::Included(&from[..]), Bound::Excluded(&behind[..]));
        self.window.clear();
        let mut is_damaged = false;
        keyspace.scan_elements(self.collection, lower, upper, Direction::Forward, &mut |element, value| {
            match read_deadline(value) {
                Some(deadline_ms) => self.window.push_back((RowKey::from_slice(&element[1..]), deadline_ms)),
                None => is_damaged = true,
            }
            let goes_on = !is_damaged && self.window.len() < DEADLINES_AT_ONCE;
            if goes_on { ControlFlow::Continue(()) } else { ControlFlow::Break(()) }
        })?;
        if is_damaged {
            return Err(damaged(self.collection.key()));
        }
        self.has_all = self.window.len() < DEADLINES_AT_ONCE;
        self.looked_to = self.window.back().map(|(field, _)| field.clone());
        Ok(())
    }
}

impl Hash {
    /// Returns the number of fields without those past their deadline. Of a hash of rows that has some, all of these are walked
    /// over.
    pub fn live_len(&self, keyspace: &Keyspace<'_>) -> Result<u64> {
        match &self.held {
            Held::Packed(packed) => Ok(packed.len()),
            Held::Rows(collection) => Ok(collection.size.saturating_sub(expired_count(keyspace, collection)?)),
        }
    }

    /// Returns whether a field has a deadline.
    pub fn has_field_deadlines(&self) -> bool {
        match &self.held {
            Held::Packed(packed) => !packed.deadlines.is_empty(),
            Held::Rows(collection) => collection.fields_due_ms.is_some(),
        }
    }

    /// The deadline of `field` in Unix milliseconds, whether or not it has passed; `None` if it has none, or is not there.
    pub fn field_deadline_ms(&self, keyspace: &Keyspace<'_>, field: &[u8]) -> Result<Option<u64>> {
        match &self.held {
            Held::Packed(packed) if packed.deadlines.is_empty() => Ok(None),
            Held::Packed(packed) => Ok(packed.find(field).and_then(|place| packed.deadline_of(place))),
            Held::Rows(collection) if collection.fields_due_ms.is_none() => Ok(None),
            Held::Rows(collection) => deadline_of_row(keyspace, collection, field),
        }
    }

    /// Returns whether `field` has a deadline that has passed.
    pub(super) fn is_expired(&self, keyspace: &Keyspace<'_>, field: &[u8]) -> Result<bool> {
        let deadline_ms = self.field_deadline_ms(keyspace, field)?;
        Ok(deadline_ms.is_some_and(|deadline_ms| deadline_ms < keyspace.now_ms))
    }

    /// Gives `field`, which is there and not past its deadline, another deadline, or none.
    pub fn set_field_deadline(
        &mut self,
        keyspace: &mut Keyspace<'_>,
        field: &[u8],
        deadline_ms: Option<u64>,
    ) -> Result<()> {
        let collection = match &mut self.held {
            Held::Packed(packed) => {
                if let Some(place) = packed.find(field) {
                    packed.set_deadline_of(place, deadline_ms);
                }
                return Ok(());
            }
            Held::Rows(collection) => collection,
        };
        if let Some(old) = Deadline::read(keyspace, collection, field)? {
            if Some(old.at_ms) == deadline_ms {
                return Ok(());
            }
            old.take_off(keyspace, collection, field);
            self.removed.count(DEADLINE_ROWS);
            (self.is_resized, self.may_renew) = (true, true);
        }
        if let Some(deadline_ms) = deadline_ms {
            put_deadline_rows(keyspace, collection, field, deadline_ms);
            let due_ms = collection.fields_due_ms.map_or(deadline_ms, |due_ms| due_ms.min(deadline_ms));
            collection.fields_due_ms = Some(due_ms);
        }
        Ok(())
    }

    /// Visits all fields that are not past their deadline, each with its value and its deadline, until `visit` breaks.
    ///
    /// # Errors
    /// As the reads, and those of `visit`.
    pub fn each_with_deadline(&self, keyspace: &Keyspace<'_>, visit: VisitField<'_>) -> Result<()> {
        let collection = match &self.held {
            Held::Packed(packed) => {
                for (field, value, deadline_ms) in packed.fields() {
                    if visit(field, value, deadline_ms)?.is_break() {
                        break;
                    }
                }
                return Ok(());
            }
            Held::Rows(collection) => collection,
        };
        let (mut deadlines, mut failed) = (DeadlinesInOrder::new(collection), Ok(()));
        let (from, to) = ([FIELD], [FIELD + 1]);
        let (lower, upper) = (Bound::Included(&from[..]), Bound::Excluded(&to[..]));
        keyspace.scan_elements(collection, lower, upper, Direction::Forward, &mut |element, value| {
            let flow = deadlines.get(keyspace, element).and_then(|deadline_ms| {
                if deadline_ms.is_some_and(|deadline_ms| deadline_ms < keyspace.now_ms) {
                    return Ok(ControlFlow::Continue(()));
                }
                visit(element_name(element), value, deadline_ms)
            });
            flow.unwrap_or_else(|error| {
                failed = Err(error);
                ControlFlow::Break(())
            })
        })?;
        failed
    }
}

impl Keyspace<'_> {
    /// Returns whether a field of a hash of any database has a deadline from `from_ms` on that has passed.
    pub fn has_due_fields(&self, from_ms: u64) -> Result<bool> {
        self.is_any_due(Due::Fields, from_ms)
    }

    /// The earliest deadline of a field, of a hash of any database, that lies at `from_ms` or later, in Unix milliseconds. It walks
    /// over the traces of all before it that were moved or deleted.
    pub fn next_field_deadline_ms(&self, from_ms: u64) -> Result<Option<u64>> {
        let mut next_ms = None;
        self.scan_deadlines(Due::Fields, from_ms, u64::MAX, &mut |deadline_ms, _, _| {
            next_ms = Some(deadline_ms);
            ControlFlow::Break(())
        })?;
        Ok(next_ms)
    }

    /// The earliest deadline that has not passed among those of the fields of the key that was `found`, in Unix milliseconds;
    /// `None` if there is none.
    ///
    /// # Errors
    /// As the reads.
    pub fn live_field_deadline_ms(&self, key: &[u8], found: &Lookup<'_>) -> Result<Option<u64>> {
        let Some(record) = &found.record else { return Ok(None) };
        if record.fields_due_ms.is_none_or(|due_ms| due_ms >= self.now_ms) {
            return Ok(record.fields_due_ms);
        }
        let collection = match Held::read(self, key, found, record)? {
            // Without those that have passed.
            Held::Packed(packed) => return Ok(packed.deadlines.earliest_ms()),
            Held::Rows(collection) => collection,
        };
        let mut next_ms = None;
        scan_order(self, &collection, self.now_ms, u64::MAX, &mut |deadline_ms, _| {
            next_ms = Some(deadline_ms);
            ControlFlow::Break(())
        })?;
        Ok(next_ms)
    }

    /// Removes up to `count_max` fields that are past their deadline, of hashes of all databases whose earliest one lies at
    /// `from_ms` or later; of a packed hash all of them. Returns how many were removed, and one for each hash that was past its own
    /// deadline and is deleted. A hash goes with its last field.
    pub fn delete_expired_fields(&mut self, count_max: usize, from_ms: u64) -> Result<usize> {
        let (selected, mut count) = (self.db, 0);
        for (space, key) in self.due(Due::Fields, count_max, from_ms)? {
            if count >= count_max {
                break;
            }
            self.select_at(space);
            let removed = self.delete_expired_of(&key, count_max - count);
            self.select(selected);
            count += removed?;
        }
        Ok(count)
    }

    /// The same of the hash at `key`, which the index names.
    fn delete_expired_of(&mut self, key: &[u8], count_max: usize) -> Result<usize> {
        let lookup = self.lookup(key)?;
        let prior = lookup.prior;
        let held = lookup.record.as_ref().map(|record| Held::read(self, key, &lookup, record)).transpose()?;
        drop(lookup);
        let Some(held) = held else {
            if !prior.stored {
                return Err(damaged(key));
            }
            self.remove_row(key, prior);
            return Ok(1);
        };
        let mut hash = Hash::read(held)?;
        let count = match &mut hash.held {
            Held::Packed(packed) => {
                packed.touch();
                packed.expired_count
            }
            Held::Rows(_) => self.delete_expired_rows(&mut hash, count_max)?,
        };
        if count == 0 {
            // The index named it for a field that it does not have.
            return Err(damaged(key));
        }
        hash.save(self)?;
        if hash.is_empty() {
            self.notify(EventClasses::GENERIC, "del", key);
        }
        Ok(count)
    }

    fn delete_expired_rows(&mut self, hash: &mut Hash, count_max: usize) -> Result<usize> {
        let Held::Rows(collection) = &mut hash.held else { return Ok(0) };
        let (mut expired, mut next_ms) = (Vec::new(), None);
        let from_ms = collection.fields_due_ms.unwrap_or(u64::MAX);
        scan_order(self, collection, from_ms, u64::MAX, &mut |deadline_ms, field| {
            if deadline_ms < self.now_ms && expired.len() < count_max {
                expired.push((deadline_ms, RowKey::from_slice(field)));
                return ControlFlow::Continue(());
            }
            next_ms = Some(deadline_ms);
            ControlFlow::Break(())
        })?;
        for (deadline_ms, field) in &expired {
            self.delete_element(collection, &name_element(FIELD, field));
            self.delete_element(collection, &name_element(DEADLINE, field));
            self.delete_element(collection, &order_element(*deadline_ms, field));
        }
        collection.size = collection.size.checked_sub(expired.len() as u64).ok_or_else(|| damaged(collection.key()))?;
        collection.fields_due_ms = next_ms;
        hash.removed.count((1 + DEADLINE_ROWS) * expired.len() as u32);
        (hash.is_resized, hash.may_renew) = (true, true);
        if !expired.is_empty() {
            self.notify(EventClasses::HASH, "hexpired", collection.key());
        }
        Ok(expired.len())
    }
}
