//! A small collection that lies whole in the metadata row of its key.
//!
//! ```text
//! body      [form u8][count u16 BE][elements …]
//! form 0    strings: ([length][bytes …])*, one for an element of a list or a set, two for a field and its value
//! form 1    strings of a hash, behind deadlines of its fields: see `packed_deadlines.rs`
//! form 2    integers of a set: [i16 BE]*, ascending; forms 4 and 8 the same of i32 and i64, see `packed_integers.rs`
//! length    [u8] below 0x80, else [0x80 | length >> 8][length & 0xFF], below 0x8000
//! count     elements as the type counts them, never 0
//! ```
//!
//! What a newcomer would get wrong: this is a copy of the row. Nothing that is changed in it is there for others before
//! [`Keyspace::save_packed`].

use std::ops::Range;

use super::Keyspace;
use super::key::RowKey;
use super::key_events::EventClasses;
use super::keyspace::damaged;
use super::meta::{Meta, Prior, Type};
use super::names::VisitName;
use super::packed_deadlines::{DeadlineTable, WITH_DEADLINES};
use super::packed_integers::read_integer;
use super::record::Record;
use crate::Result;
use crate::limits::PACKED_SPARE_BYTES;
use crate::rows::Visit;

/// Bytes of form and count.
const HEAD_BYTES: usize = 3;
/// Length of a string from which on its length takes two bytes.
const LONG_STRING_BYTES: usize = 0x80;
/// The form of strings.
pub(super) const STRINGS: u8 = 0;

/// A collection that lies in one row, taken out of it.
#[derive(Debug, Clone)]
pub(super) struct Packed {
    key: RowKey,
    kind: Type,
    prior: Prior,
    deadline_ms: Option<u64>,
    /// The whole row; form and count in it are those that were read.
    row: Vec<u8>,
    /// The place in the row where elements begin.
    start: usize,
    pub(super) form: u8,
    pub(super) count: usize,
    is_changed: bool,
    /// Deadlines of a hash's fields, by the fields' places.
    pub(super) deadlines: DeadlineTable,
    /// Fields that were past their deadline when it was read. They are in the row still.
    pub(super) expired_count: usize,
    /// True if it takes the place of a key that was there, which is told to be gone if it is saved empty.
    replaces: bool,
}

/// The place of an element of strings, in bytes from where elements begin.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Place {
    /// The element's first byte.
    pub(super) start: usize,
    /// Behind its first string: where its value begins, if it has one.
    pub(super) value: usize,
    /// Behind its last byte.
    pub(super) end: usize,
}

impl Packed {
    /// A new one for `key`, looked up before as `prior`, that has no elements yet.
    pub(super) fn new(key: &[u8], kind: Type, prior: Prior) -> Packed {
        let mut row = Vec::with_capacity(HEAD_BYTES + 1 + PACKED_SPARE_BYTES);
        Meta::write_header(&mut row, kind, true, None);
        row.extend_from_slice(&[0; HEAD_BYTES]);
        let start = row.len();
        let (deadline_ms, form, is_changed) = (None, STRINGS, false);
        let (key, deadlines, replaces) = (RowKey::from_slice(key), DeadlineTable::default(), false);
        let (count, expired_count) = (0, 0);
        Packed {
            key,
            kind,
            prior,
            deadline_ms,
            row,
            start,
            form,
            count,
            is_changed,
            deadlines,
            expired_count,
            replaces,
        }
    }

    /// Returns whether `row` is a packed collection that can be read to its end.
    pub(super) fn is_whole(row: &[u8]) -> bool {
        let Some(meta) = Meta::read(row).filter(|meta| meta.is_packed) else { return false };
        let Some(Body { form, count, deadlines, elements }) = split(meta.kind, meta.body) else { return false };
        let has_values = has_values(meta.kind);
        let mut strings = Strings { elements, at: 0, has_values };
        deadlines.earliest_ms() == meta.fields_due_ms
            && (form != STRINGS || (strings.by_ref().count() == count && strings.at == elements.len()))
    }

    /// Copies the packed collection of `key` out of its row; `None` if that is not one.
    pub(super) fn read(key: &[u8], record: &Record<'_>, prior: Prior) -> Option<Packed> {
        let Body { form, count, deadlines, elements } =
            split(record.kind, record.body()).filter(|_| record.is_packed)?;
        let mut row = Vec::with_capacity(record.row.len() + PACKED_SPARE_BYTES);
        let (kind, deadline_ms) = (record.kind, record.deadline_ms);
        let mut start = record.body_start + HEAD_BYTES;
        if deadlines.is_empty() {
            row.extend_from_slice(&record.row);
        } else {
            Meta::write_header(&mut row, kind, true, deadline_ms);
            row.extend_from_slice(&[0; HEAD_BYTES]);
            start = row.len();
            row.extend_from_slice(elements);
        }
        Some(Packed {
            key: RowKey::from_slice(key),
            kind,
            prior,
            deadline_ms,
            row,
            start,
            form,
            count,
            is_changed: false,
            deadlines,
            expired_count: 0,
            replaces: false,
        })
    }

    /// The key.
    pub(super) fn key(&self) -> &[u8] {
        &self.key
    }

    /// The collection's type.
    pub(super) fn kind(&self) -> Type {
        self.kind
    }

    /// The row that a write of the key has to undo.
    pub(super) fn prior(&self) -> Prior {
        self.prior
    }

    /// The key's deadline in Unix milliseconds.
    pub(super) fn deadline_ms(&self) -> Option<u64> {
        self.deadline_ms
    }

    /// Returns the number of elements, as the type counts them.
    pub(super) fn len(&self) -> u64 {
        self.count as u64
    }

    /// Returns whether there are none.
    pub(super) fn is_empty(&self) -> bool {
        self.count == 0
    }

    /// Has [`Keyspace::save_packed`] replace what the key holds whatever was changed; `replaces` says whether that is anything.
    pub(super) fn replace(&mut self, replaces: bool) {
        (self.is_changed, self.replaces) = (true, replaces);
    }

    /// Has [`Keyspace::save_packed`] write it though nothing was changed.
    pub(super) fn touch(&mut self) {
        self.is_changed = true;
    }

    /// Returns whether it takes the place of a key that was there.
    pub(super) fn replaces(&self) -> bool {
        self.replaces
    }

    /// The bytes of all elements.
    pub(super) fn elements(&self) -> &[u8] {
        &self.row[self.start..]
    }

    // ---- elements of strings ----

    /// The element whose first string is `name`.
    pub(super) fn find(&self, name: &[u8]) -> Option<Place> {
        let (elements, has_values) = (self.elements(), has_values(self.kind));
        let mut start = 0;
        while start < elements.len() {
            let (found, value) = read_string(elements, start)?;
            let end = if has_values { skip_string(elements, value)? } else { value };
            if found == name {
                return (end <= elements.len()).then_some(Place { start, value, end });
            }
            start = end;
        }
        None
    }

    /// The element with so many before it.
    pub(super) fn place(&self, index: u64) -> Option<Place> {
        let (elements, has_values) = (self.elements(), has_values(self.kind));
        let mut place = Place { start: 0, value: 0, end: 0 };
        for _ in 0..=index {
            let value = skip_string(elements, place.end)?;
            let end = if has_values { skip_string(elements, value)? } else { value };
            place = Place { start: place.end, value, end };
        }
        (place.end <= elements.len()).then_some(place)
    }

    /// The first string of the element at `place`.
    pub(super) fn name(&self, place: Place) -> &[u8] {
        read_string(self.elements(), place.start).map_or(&[], |(name, _)| name)
    }

    /// The second string of the element at `place`; empty if it has none.
    pub(super) fn value(&self, place: Place) -> &[u8] {
        if place.value == place.end {
            return &[];
        }
        read_string(self.elements(), place.value).map_or(&[], |(value, _)| value)
    }

    /// The elements in their order, each with its second string, or none.
    ///
    /// # Panics
    /// If they are integers.
    pub(super) fn strings(&self) -> Strings<'_> {
        assert_eq!(self.form, STRINGS, "integers are no strings");
        Strings { elements: self.elements(), at: 0, has_values: has_values(self.kind) }
    }

    /// Appends an element.
    pub(super) fn push(&mut self, strings: &[&[u8]]) {
        let end = self.row.len() - self.start;
        self.insert(end, strings);
    }

    /// Inserts an element at the byte `at`.
    pub(super) fn insert(&mut self, at: usize, strings: &[&[u8]]) {
        debug_assert_eq!(strings.len(), 1 + usize::from(has_values(self.kind)), "the strings of one element");
        self.splice(at..at, strings);
        self.count += 1;
    }

    /// Removes the element at `place`.
    pub(super) fn remove(&mut self, place: Place) {
        if !self.deadlines.is_empty() {
            self.forget_deadline_of(place);
        }
        self.splice(place.start..place.end, &[]);
        self.count -= 1;
    }

    /// Replaces the second string of the element at `place`.
    pub(super) fn set_value(&mut self, place: Place, value: &[u8]) {
        self.splice(place.value..place.end, &[value]);
    }

    /// Removes all elements.
    pub(super) fn clear(&mut self) {
        self.row.truncate(self.start);
        self.deadlines.clear();
        (self.form, self.count, self.is_changed) = (STRINGS, 0, true);
    }

    /// Replaces all elements, and leaves it to who changes something that the row is written. The count is the caller's to change.
    pub(super) fn set_elements(&mut self, elements: &[u8]) {
        self.row.truncate(self.start);
        self.row.extend_from_slice(elements);
    }

    /// Replaces bytes of elements by strings with their lengths. The count is the caller's to change.
    pub(super) fn splice(&mut self, bytes: Range<usize>, strings: &[&[u8]]) {
        let length = strings.iter().map(|string| encoded_bytes(string)).sum();
        let mut at = self.make_room(bytes, length);
        for string in strings {
            at = write_string(&mut self.row, at, string);
        }
    }

    /// Makes these bytes of elements so many; returns where in the row they begin.
    fn make_room(&mut self, bytes: Range<usize>, length: usize) -> usize {
        let (from, to, end) = (self.start + bytes.start, self.start + bytes.end, self.row.len());
        let new_end = end + length - (to - from);
        if new_end > end {
            self.row.resize(new_end, 0);
        }
        if new_end != end {
            self.row.copy_within(to..end, from + length);
            self.row.truncate(new_end);
        }
        self.is_changed = true;
        from
    }

    /// Replaces bytes of elements by others. Form and count are the caller's to change.
    pub(super) fn splice_bytes(&mut self, bytes: Range<usize>, by: &[u8]) {
        let at = self.make_room(bytes, by.len());
        self.row[at..at + by.len()].copy_from_slice(by);
    }

    // ---- names, whatever the form ----

    /// Visits the names in their order, each with its value, or none, until `visit` breaks.
    ///
    /// # Errors
    /// [`Error::Corruption`](crate::Error::Corruption) if they are not as many as they should be.
    pub(super) fn each(&self, visit: Visit<'_>) -> Result<()> {
        if self.form != STRINGS {
            self.each_integer(visit);
            return Ok(());
        }
        let mut missing = self.count;
        for (name, value) in self.strings() {
            missing = missing.wrapping_sub(1);
            if visit(name, value).is_break() {
                return Ok(());
            }
        }
        if missing == 0 { Ok(()) } else { Err(damaged(&self.key)) }
    }
}

impl Packed {
    /// The value of `name`, whatever the form; empty if names have none.
    pub(super) fn value_of(&self, name: &[u8]) -> Option<&[u8]> {
        if self.form == STRINGS {
            return self.find(name).map(|place| self.value(place));
        }
        let value = read_integer(name)?;
        self.search_integer(value).ok().map(|_| &[][..])
    }

    /// Visits `count` names, each that of an index which `next` gives, until `visit` breaks or fails.
    ///
    /// # Errors
    /// Those of `visit`; [`Error::Corruption`](crate::Error::Corruption) if there are fewer elements than there should be.
    pub(super) fn draw(&self, count: u64, next: &mut dyn FnMut() -> u64, visit: VisitName<'_>) -> Result<()> {
        // Each of many would have to be walked to.
        let all: Vec<(&[u8], &[u8])> =
            if self.form == STRINGS && count > 1 { self.strings().collect() } else { Vec::new() };
        for _ in 0..count {
            let index = next();
            let flow = if self.form != STRINGS {
                self.visit_integer(index as usize, visit)
            } else {
                let one = if count > 1 { all.get(index as usize).copied() } else { self.strings().nth(index as usize) };
                let (name, value) = one.ok_or_else(|| damaged(&self.key))?;
                visit(name, value)
            };
            if flow?.is_break() {
                break;
            }
        }
        Ok(())
    }
}

/// The body of a packed collection, taken apart.
struct Body<'a> {
    /// The form, but that of strings if it has deadlines.
    form: u8,
    count: usize,
    deadlines: DeadlineTable,
    elements: &'a [u8],
}

/// Takes the body of a packed collection apart; `None` if it is none.
fn split(kind: Type, body: &[u8]) -> Option<Body<'_>> {
    let (&[form, high, low], mut elements) = body.split_first_chunk::<HEAD_BYTES>()?;
    let count = usize::from(u16::from_be_bytes([high, low]));
    let (mut form, mut deadlines) = (form, DeadlineTable::default());
    if form == WITH_DEADLINES && kind == Type::Hash {
        (deadlines, elements) = DeadlineTable::read(elements, count)?;
        form = STRINGS;
    }
    let is_whole = match form {
        STRINGS => elements.len() >= count,
        2 | 4 | 8 => kind == Type::Set && elements.len() == count * usize::from(form),
        _ => false,
    };
    (is_whole && count > 0).then_some(Body { form, count, deadlines, elements })
}

/// Returns whether an element has two strings.
fn has_values(kind: Type) -> bool {
    matches!(kind, Type::Hash | Type::SortedSet)
}

/// The elements of a packed collection in their order.
pub(super) struct Strings<'a> {
    elements: &'a [u8],
    at: usize,
    has_values: bool,
}

impl<'a> Iterator for Strings<'a> {
    type Item = (&'a [u8], &'a [u8]);

    fn next(&mut self) -> Option<(&'a [u8], &'a [u8])> {
        let (name, at) = read_string(self.elements, self.at)?;
        let (value, at) = if self.has_values { read_string(self.elements, at)? } else { (&name[..0], at) };
        self.at = at;
        Some((name, value))
    }
}

/// The string at `at`, and where the next one begins.
pub(super) fn read_string(bytes: &[u8], at: usize) -> Option<(&[u8], usize)> {
    let (start, end) = string_at(bytes, at)?;
    Some((bytes.get(start..end)?, end))
}

pub(super) fn skip_string(bytes: &[u8], at: usize) -> Option<usize> {
    string_at(bytes, at).map(|(_, end)| end)
}

/// The ends of the bytes of the string at `at`.
fn string_at(bytes: &[u8], at: usize) -> Option<(usize, usize)> {
    let first = usize::from(*bytes.get(at)?);
    if first < LONG_STRING_BYTES {
        return Some((at + 1, at + 1 + first));
    }
    let second = usize::from(*bytes.get(at + 1)?);
    Some((at + 2, at + 2 + ((first - LONG_STRING_BYTES) << 8 | second)))
}

/// Bytes of a string with its length.
pub(super) fn encoded_bytes(string: &[u8]) -> usize {
    string.len() + if string.len() < LONG_STRING_BYTES { 1 } else { 2 }
}

/// Writes a string with its length; returns where it ends.
fn write_string(row: &mut [u8], at: usize, string: &[u8]) -> usize {
    let length = string.len();
    assert!(length < LONG_STRING_BYTES << 8, "strings of packed collections are short");
    let start = if length < LONG_STRING_BYTES {
        row[at] = length as u8;
        at + 1
    } else {
        row[at..at + 2].copy_from_slice(&[(LONG_STRING_BYTES + (length >> 8)) as u8, length as u8]);
        at + 2
    };
    row[start..start + length].copy_from_slice(string);
    start + length
}

impl Keyspace<'_> {
    /// Stores `packed` if it was changed; one without elements is deleted.
    pub(super) fn save_packed(&mut self, packed: &mut Packed) {
        if !std::mem::take(&mut packed.is_changed) {
            return;
        }
        let prior = packed.prior;
        if std::mem::take(&mut packed.expired_count) > 0 {
            self.notify(EventClasses::HASH, "hexpired", &packed.key);
        }
        if packed.is_empty() {
            self.remove_row(&packed.key, prior);
            packed.prior = Prior::absent(prior.slot);
            if std::mem::take(&mut packed.replaces) {
                self.notify(EventClasses::GENERIC, "del", &packed.key);
            }
            return;
        }
        let count = u16::try_from(packed.count).expect("packed collections are small");
        let [high, low] = count.to_be_bytes();
        let (slot, deadline_ms) = (prior.slot, packed.deadline_ms);
        let fields_due_ms = packed.deadlines.earliest_ms();
        let stored = if packed.deadlines.is_empty() {
            packed.row[packed.start - HEAD_BYTES..packed.start].copy_from_slice(&[packed.form, high, low]);
            self.put_row(&packed.key, prior, deadline_ms, &packed.row)
        } else {
            let mut row = self.scratch.take();
            Meta::write_header_with_fields(&mut row, (packed.kind, true), deadline_ms, fields_due_ms);
            row.extend_from_slice(&[WITH_DEADLINES, high, low]);
            packed.deadlines.write(&mut row);
            row.extend_from_slice(packed.elements());
            let stored = self.put_row(&packed.key, prior, deadline_ms, &row);
            self.scratch.give_back(row);
            stored
        };
        packed.prior = if stored { Prior { slot, stored, deadline_ms, fields_due_ms } } else { Prior::absent(slot) };
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::keyspace::key::Slot;

    fn packed(kind: Type) -> Packed {
        Packed::new(b"k", kind, Prior::absent(Slot::of(b"k")))
    }

    #[test]
    fn the_layout_is_the_documented_one() {
        let mut hash = packed(Type::Hash);
        hash.push(&[b"f", b"value"]);
        hash.push(&[b"", &[b'x'; 0x181]]);
        assert_eq!(hash.elements(), [&b"\x01f\x05value\0\x81\x81"[..], &[b'x'; 0x181]].concat());
        assert_eq!(hash.strings().count(), 2);
    }

    #[test]
    fn strings_that_are_cut_short_are_not_read() {
        for bytes in [&b"\x02a"[..], b"\x81", b"\x80\x02a"] {
            assert_eq!(read_string(bytes, 0), None, "{bytes:?}");
        }
        assert_eq!(read_string(b"", 0), None);
    }

    proptest! {
        #[test]
        fn elements_are_found_and_changed_where_they_are(
            steps in proptest::collection::vec((0..3u8, 0..8usize, 0..200usize), 1..40),
        ) {
            let (mut hash, mut model) = (packed(Type::Hash), Vec::<(Vec<u8>, Vec<u8>)>::new());
            for (number, (step, index, length)) in steps.into_iter().enumerate() {
                let place = hash.place(index as u64);
                prop_assert_eq!(place.is_some(), index < model.len());
                match (step, place) {
                    (0, _) | (_, None) => {
                        let at = place.map_or(hash.elements().len(), |place| place.start);
                        let (name, value) = (number.to_string().into_bytes(), vec![b'v'; length]);
                        hash.insert(at, &[&name, &value]);
                        model.insert(index.min(model.len()), (name, value));
                    }
                    (1, Some(place)) => {
                        hash.set_value(place, &vec![b'w'; length]);
                        model[index].1 = vec![b'w'; length];
                    }
                    (_, Some(place)) => {
                        hash.remove(place);
                        model.remove(index);
                    }
                }
                let found: Vec<(Vec<u8>, Vec<u8>)> =
                    hash.strings().map(|(name, value)| (name.to_vec(), value.to_vec())).collect();
                prop_assert_eq!(&found, &model);
                prop_assert_eq!(hash.len(), model.len() as u64);
                for (name, value) in &model {
                    let place = hash.find(name).unwrap();
                    prop_assert_eq!((hash.name(place), hash.value(place)), (&name[..], &value[..]));
                }
                prop_assert!(hash.find(b"none").is_none());
            }
        }
    }
}
