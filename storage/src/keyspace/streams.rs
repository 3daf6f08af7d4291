//! Streams: one row per entry, ordered by id.
//!
//! ```text
//! fields    [last id][first id][greatest deleted id][entries added u64 BE]     56 bytes
//!           first id is 0-0 while the stream is empty; the stream lives on for its last id
//!           [groups u32 BE][next group u32 BE]                                 8 more while there are consumer groups
//! id        [milliseconds u64 BE][sequence u64 BE]
//! element   [0x00][id] → the entry: each field, then its value, as [length LEB128][bytes …]
//!           [0x01 …] to [0x04 …]: consumer groups, see `stream_groups.rs`
//! ```
//!
//! XADD writes one row and the metadata. XRANGE and XREAD are ordered scans; XTRIM deletes from the first id on, which
//! the metadata knows, so no scan walks over what was trimmed before.

use std::fmt;
use std::ops::{Bound, ControlFlow};

use super::Keyspace;
use super::collection::Collection;
use super::key::RowKey;
use super::keyspace::damaged;
use super::meta::Type;
use crate::limits::CHUNK_ROWS_MAX;
use crate::{Direction, Result};

/// Row kind of a stream's entries.
const ENTRY: u8 = 0x00;

/// Bytes of an id in rows.
pub(super) const ID_BYTES: usize = 16;

/// An entry's id: a time and a number within it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Default)]
pub struct StreamId {
    /// Unix milliseconds.
    pub ms: u64,
    /// Number within the millisecond.
    pub sequence: u64,
}

impl StreamId {
    /// The lowest id, which no entry has.
    pub const MIN: StreamId = StreamId { ms: 0, sequence: 0 };
    /// The highest id.
    pub const MAX: StreamId = StreamId { ms: u64::MAX, sequence: u64::MAX };

    /// The id after this one; `None` after the highest.
    pub fn next(self) -> Option<StreamId> {
        match self.sequence.checked_add(1) {
            Some(sequence) => Some(StreamId { ms: self.ms, sequence }),
            None => Some(StreamId { ms: self.ms.checked_add(1)?, sequence: 0 }),
        }
    }

    /// The id before this one; `None` before the lowest.
    pub fn previous(self) -> Option<StreamId> {
        match self.sequence.checked_sub(1) {
            Some(sequence) => Some(StreamId { ms: self.ms, sequence }),
            None => Some(StreamId { ms: self.ms.checked_sub(1)?, sequence: u64::MAX }),
        }
    }

    pub(super) fn bytes(self) -> [u8; ID_BYTES] {
        (u128::from(self.ms) << 64 | u128::from(self.sequence)).to_be_bytes()
    }

    pub(super) fn read(bytes: [u8; ID_BYTES]) -> StreamId {
        let id = u128::from_be_bytes(bytes);
        StreamId { ms: (id >> 64) as u64, sequence: id as u64 }
    }
}

impl fmt::Display for StreamId {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(out, "{}-{}", self.ms, self.sequence)
    }
}

/// Limits to which a stream is trimmed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Trim {
    /// Keep at most this many entries.
    Length(u64),
    /// Keep no entry before this id.
    Before(StreamId),
}

/// A stream, opened for one command. Changes take effect with [`Stream::save`].
#[derive(Debug)]
pub struct Stream {
    pub(super) collection: Collection,
    last: StreamId,
    first: StreamId,
    greatest_deleted: StreamId,
    entries_added: u64,
    pub(super) groups: u32,
    /// The number that the next consumer group gets.
    pub(super) next_group: u32,
}

/// The fields and values of one entry, in order: an even number of strings.
#[derive(Debug, Clone, Copy)]
pub struct StreamEntry<'a> {
    strings: &'a [u8],
}

impl<'a> StreamEntry<'a> {
    /// Checks that `row` is an entry.
    fn read(row: &'a [u8]) -> Option<StreamEntry<'a>> {
        let (mut rest, mut count) = (row, 0);
        while !rest.is_empty() {
            (_, rest) = split_string(rest)?;
            count += 1;
        }
        (count % 2 == 0).then_some(StreamEntry { strings: row })
    }

    /// Returns the number of strings: twice that of fields.
    pub fn count(self) -> usize {
        self.strings().count()
    }

    /// Each field, followed by its value.
    pub fn strings(self) -> impl Iterator<Item = &'a [u8]> {
        let mut rest = self.strings;
        std::iter::from_fn(move || {
            let (string, after) = split_string(rest)?;
            rest = after;
            Some(string)
        })
    }
}

impl Keyspace<'_> {
    /// The stream at `key`, unless the key is absent or expired.
    ///
    /// # Errors
    /// [`Error::WrongType`](crate::Error::WrongType) if the key holds another type.
    pub fn stream(&self, key: &[u8]) -> Result<Option<Stream>> {
        self.collection(key, Type::Stream)?.map(Stream::read).transpose()
    }

    /// The stream at `key`, or a new empty one.
    ///
    /// # Errors
    /// [`Error::WrongType`](crate::Error::WrongType) if the key holds another type.
    pub fn stream_or_new(&mut self, key: &[u8]) -> Result<Stream> {
        let collection = self.collection_or_new(key, Type::Stream)?;
        if !collection.is_new() {
            return Stream::read(collection);
        }
        Ok(Stream::new(collection))
    }

    /// A new empty stream that replaces whatever `key` holds once it is saved.
    ///
    /// # Errors
    /// As the look-up of the key.
    pub fn stream_replacing(&mut self, key: &[u8]) -> Result<Stream> {
        Ok(Stream::new(self.replacement(key, Type::Stream)?))
    }
}

impl Stream {
    fn new(collection: Collection) -> Stream {
        Stream {
            collection,
            last: StreamId::MIN,
            first: StreamId::MIN,
            greatest_deleted: StreamId::MIN,
            entries_added: 0,
            groups: 0,
            next_group: 0,
        }
    }

    fn read(collection: Collection) -> Result<Stream> {
        let fields: &[u8] = collection.fields();
        let parts = fields.split_first_chunk::<ID_BYTES>().and_then(|(last, rest)| {
            let (first, rest) = rest.split_first_chunk::<ID_BYTES>()?;
            let (greatest_deleted, rest) = rest.split_first_chunk::<ID_BYTES>()?;
            let (entries_added, rest) = split_u64(rest)?;
            let ids = [*last, *first, *greatest_deleted].map(StreamId::read);
            if rest.is_empty() {
                return Some((ids, entries_added, 0, 0));
            }
            let numbers = u64::from_be_bytes(rest.try_into().ok()?);
            Some((ids, entries_added, (numbers >> 32) as u32, numbers as u32))
        });
        match parts {
            Some(([last, first, greatest_deleted], entries_added, groups, next_group)) => {
                Ok(Stream { collection, last, first, greatest_deleted, entries_added, groups, next_group })
            }
            None => Err(damaged(collection.key())),
        }
    }

    /// The key.
    pub fn key(&self) -> &[u8] {
        self.collection.key()
    }

    /// Returns the number of entries.
    pub fn len(&self) -> u64 {
        self.collection.size
    }

    /// Returns whether there are none.
    pub fn is_empty(&self) -> bool {
        self.collection.size == 0
    }

    /// The highest id that was ever added.
    pub fn last_id(&self) -> StreamId {
        self.last
    }

    /// The id of the first entry; 0-0 if there is none.
    pub fn first_id(&self) -> StreamId {
        self.first
    }

    /// The highest id that was ever deleted by XDEL.
    pub fn greatest_deleted_id(&self) -> StreamId {
        self.greatest_deleted
    }

    /// Returns the number of entries that were ever added.
    pub fn entries_added(&self) -> u64 {
        self.entries_added
    }

    /// Returns the number of consumer groups.
    pub fn group_count(&self) -> u32 {
        self.groups
    }

    /// Says what was added and deleted so far, whatever the entries tell: the last id, and the other two if they are given.
    pub fn set_past(&mut self, last: StreamId, entries_added: Option<u64>, greatest_deleted: Option<StreamId>) {
        self.last = last;
        self.entries_added = entries_added.unwrap_or(self.entries_added);
        self.greatest_deleted = greatest_deleted.unwrap_or(self.greatest_deleted);
    }

    /// The id of the last entry that is there.
    pub fn last_present_id(&self, keyspace: &Keyspace<'_>) -> Result<Option<StreamId>> {
        let mut last = None;
        self.each(keyspace, self.first, self.last, Direction::Backward, &mut |id, _| {
            last = Some(id);
            ControlFlow::Break(())
        })?;
        Ok(last)
    }

    /// Adds an entry of the given fields and values.
    ///
    /// # Panics
    /// If `id` is not higher than [`Stream::last_id`], or there is an odd number of `strings`.
    pub fn add(&mut self, keyspace: &mut Keyspace<'_>, id: StreamId, strings: &[&[u8]]) {
        assert!(id > self.last, "ids only grow");
        assert!(strings.len().is_multiple_of(2), "every field has a value");
        let mut row = Vec::with_capacity(strings.iter().map(|string| string.len() + 4).sum());
        strings.iter().for_each(|string| write_string(&mut row, string));
        keyspace.put_element(&self.collection, &element(id), &row);
        self.last = id;
        if self.is_empty() {
            self.first = id;
        }
        self.collection.size += 1;
        self.entries_added += 1;
    }

    /// Visits the entries from `from` to `to`, both included, in `direction`, until `visit` breaks.
    pub fn each(
        &self,
        keyspace: &Keyspace<'_>,
        from: StreamId,
        to: StreamId,
        direction: Direction,
        visit: &mut dyn FnMut(StreamId, StreamEntry<'_>) -> ControlFlow<()>,
    ) -> Result<()> {
        let (from, to) = (from.max(self.first), to.min(self.last));
        if from > to {
            return Ok(());
        }
        let mut is_damaged = false;
        keyspace.scan_elements(
            &self.collection,
            Bound::Included(&element(from)),
            Bound::Included(&element(to)),
            direction,
            &mut |element, row| match (read_element(element), StreamEntry::read(row)) {
                (Some(id), Some(entry)) => visit(id, entry),
                _ => {
                    is_damaged = true;
                    ControlFlow::Break(())
                }
            },
        )?;
        if is_damaged { Err(damaged(self.collection.key())) } else { Ok(()) }
    }

    /// Shows `visit` the entry `id`, and says whether there is one.
    pub fn entry(&self, keyspace: &Keyspace<'_>, id: StreamId, visit: &mut dyn FnMut(StreamEntry<'_>)) -> Result<bool> {
        let Some(row) = keyspace.element(&self.collection, &element(id))? else { return Ok(false) };
        visit(StreamEntry::read(&row).ok_or_else(|| damaged(self.collection.key()))?);
        Ok(true)
    }

    /// Returns whether there is an entry `id`.
    pub fn contains(&self, keyspace: &Keyspace<'_>, id: StreamId) -> Result<bool> {
        keyspace.has_element(&self.collection, &element(id))
    }

    /// Deletes the entry `id` and says whether it was there.
    pub fn remove(&mut self, keyspace: &mut Keyspace<'_>, id: StreamId) -> Result<bool> {
        let element = element(id);
        if !keyspace.has_element(&self.collection, &element)? {
            return Ok(false);
        }
        keyspace.delete_element(&self.collection, &element);
        self.collection.size -= 1;
        self.greatest_deleted = self.greatest_deleted.max(id);
        if id == self.first {
            self.find_first(keyspace, id)?;
        }
        Ok(true)
    }

    /// Deletes the oldest entries down to `limit`, but at most `count_max`; returns how many.
    pub fn trim(&mut self, keyspace: &mut Keyspace<'_>, limit: Trim, count_max: u64) -> Result<u64> {
        let (wanted, before) = match limit {
            Trim::Length(length) => (self.len().saturating_sub(length), StreamId::MAX),
            Trim::Before(id) => match id.previous() {
                Some(before) => (self.len(), before),
                None => return Ok(0),
            },
        };
        let mut missing = wanted.min(count_max);
        let mut removed = 0;
        while missing > 0 {
            let mut ids: Vec<StreamId> = Vec::new();
            let chunk = missing.min(CHUNK_ROWS_MAX as u64) as usize;
            self.each(keyspace, self.first, before, Direction::Forward, &mut |id, _| {
                ids.push(id);
                if ids.len() < chunk { ControlFlow::Continue(()) } else { ControlFlow::Break(()) }
            })?;
            let Some(&last) = ids.last() else { break };
            ids.iter().for_each(|&id| keyspace.delete_element(&self.collection, &element(id)));
            self.collection.size -= ids.len() as u64;
            removed += ids.len() as u64;
            missing -= ids.len() as u64;
            self.find_first(keyspace, last)?;
        }
        Ok(removed)
    }

    /// Stores the stream's metadata; an empty stream stays a key.
    pub fn save(&mut self, keyspace: &mut Keyspace<'_>) {
        let mut fields = RowKey::new();
        for id in [self.last, self.first, self.greatest_deleted] {
            fields.extend_from_slice(&id.bytes());
        }
        fields.extend_from_slice(&self.entries_added.to_be_bytes());
        if self.groups > 0 {
            fields.extend_from_slice(&self.groups.to_be_bytes());
            fields.extend_from_slice(&self.next_group.to_be_bytes());
        }
        self.collection.set_fields(&fields);
        keyspace.save(&mut self.collection);
    }

    /// Finds the first id anew after everything up to `deleted` is gone.
    fn find_first(&mut self, keyspace: &Keyspace<'_>, deleted: StreamId) -> Result<()> {
        let mut first = None;
        if let (false, Some(from)) = (self.is_empty(), deleted.next()) {
            self.each(keyspace, from, StreamId::MAX, Direction::Forward, &mut |id, _| {
                first = Some(id);
                ControlFlow::Break(())
            })?;
        }
        if first.is_none() && !self.is_empty() {
            return Err(damaged(self.collection.key()));
        }
        self.first = first.unwrap_or(StreamId::MIN);
        Ok(())
    }
}

/// The element bytes of entry `id`.
fn element(id: StreamId) -> [u8; 1 + ID_BYTES] {
    let mut element = [ENTRY; 1 + ID_BYTES];
    element[1..].copy_from_slice(&id.bytes());
    element
}

/// Splits a number off; `None` if there are too few bytes.
pub(super) fn split_u64(bytes: &[u8]) -> Option<(u64, &[u8])> {
    bytes.split_first_chunk::<8>().map(|(number, rest)| (u64::from_be_bytes(*number), rest))
}

fn read_element(element: &[u8]) -> Option<StreamId> {
    element.strip_prefix(&[ENTRY])?.try_into().ok().map(StreamId::read)
}

/// Appends `[length LEB128][bytes]`.
fn write_string(out: &mut Vec<u8>, string: &[u8]) {
    let mut length = string.len();
    while length >= 0x80 {
        out.push(length as u8 | 0x80);
        length >>= 7;
    }
    out.push(length as u8);
    out.extend_from_slice(string);
}

/// Splits the first `[length LEB128][bytes]` off; `None` if `bytes` does not begin with one.
fn split_string(bytes: &[u8]) -> Option<(&[u8], &[u8])> {
    let mut length = 0usize;
    for (index, &byte) in bytes.iter().enumerate().take(5) {
        length |= usize::from(byte & 0x7F) << (7 * index);
        if byte & 0x80 == 0 {
            return bytes[index + 1..].split_at_checked(length);
        }
    }
    None
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use proptest::prelude::*;

    use super::*;
    use crate::keyspace::support::Shard;

    #[derive(Debug, Clone)]
    enum Step {
        Add(u64, u64, usize),
        Remove(u64, u64),
        Trim(Trim, u64),
        Read(StreamId, StreamId, Direction),
    }

    fn step() -> impl Strategy<Value = Step> {
        let id = || (0..12u64, 0..3u64).prop_map(|(ms, sequence)| StreamId { ms, sequence });
        let direction = prop_oneof![Just(Direction::Forward), Just(Direction::Backward)];
        let trim = prop_oneof![(0..6u64).prop_map(Trim::Length), id().prop_map(Trim::Before)];
        prop_oneof![
            5 => (0..2u64, 0..3u64, 1..3usize).prop_map(|(ms, sequence, pairs)| Step::Add(ms, sequence, pairs)),
            2 => (0..12u64, 0..3u64).prop_map(|(ms, sequence)| Step::Remove(ms, sequence)),
            1 => (trim, 0..5u64).prop_map(|(trim, count_max)| Step::Trim(trim, count_max)),
            2 => (id(), id(), direction).prop_map(|(from, to, direction)| Step::Read(from, to, direction)),
        ]
    }

    type Entries = Vec<(StreamId, Vec<Vec<u8>>)>;

    proptest! {
        #[test]
        fn a_stream_is_a_map_by_id(steps in proptest::collection::vec(step(), 1..80)) {
            let mut shard = Shard::default();
            let mut model: BTreeMap<StreamId, Vec<Vec<u8>>> = BTreeMap::new();
            let (mut last, mut added, mut greatest_deleted) = (StreamId::MIN, 0, StreamId::MIN);
            for step in steps {
                let mut keyspace = shard.keyspace();
                let mut stream = keyspace.stream_or_new(b"k").unwrap();
                prop_assert_eq!(stream.len(), model.len() as u64);
                prop_assert_eq!(stream.last_id(), last);
                prop_assert_eq!(stream.first_id(), model.keys().next().copied().unwrap_or_default());
                prop_assert_eq!(stream.entries_added(), added);
                prop_assert_eq!(stream.greatest_deleted_id(), greatest_deleted);
                match step {
                    Step::Add(ms, sequence, pairs) => {
                        let id = StreamId { ms: last.ms + ms, sequence: last.sequence + sequence };
                        if id > last {
                            let strings: Vec<_> = (0..2 * pairs).map(|index| vec![b'x'; index * 70]).collect();
                            let slices: Vec<_> = strings.iter().map(|string| &string[..]).collect();
                            stream.add(&mut keyspace, id, &slices);
                            model.insert(id, strings);
                            (last, added) = (id, added + 1);
                        }
                    }
                    Step::Remove(ms, sequence) => {
                        let id = StreamId { ms, sequence };
                        let existed = stream.remove(&mut keyspace, id).unwrap();
                        prop_assert_eq!(existed, model.remove(&id).is_some());
                        if existed {
                            greatest_deleted = greatest_deleted.max(id);
                        }
                    }
                    Step::Trim(limit, count_max) => {
                        let removed = stream.trim(&mut keyspace, limit, count_max).unwrap();
                        let mut expected = 0;
                        while let Some((&id, _)) = model.first_key_value() {
                            let stays = match limit {
                                Trim::Length(length) => model.len() as u64 <= length,
                                Trim::Before(before) => id >= before,
                            };
                            if stays || expected == count_max {
                                break;
                            }
                            model.remove(&id);
                            expected += 1;
                        }
                        prop_assert_eq!(removed, expected);
                    }
                    Step::Read(from, to, direction) => {
                        let mut read = Entries::new();
                        stream.each(&keyspace, from, to, direction, &mut |id, entry| {
                            assert_eq!(entry.count(), entry.strings().count());
                            read.push((id, entry.strings().map(<[u8]>::to_vec).collect()));
                            ControlFlow::Continue(())
                        }).unwrap();
                        let in_range = model.iter().filter(|(id, _)| (from..=to).contains(id));
                        let mut expected: Entries = in_range.map(|(&id, strings)| (id, strings.clone())).collect();
                        if direction == Direction::Backward {
                            expected.reverse();
                        }
                        prop_assert_eq!(read, expected);
                    }
                }
                stream.save(&mut keyspace);
                prop_assert!(keyspace.exists(b"k").unwrap(), "a stream lives on for its last id");
                prop_assert_eq!(shard.element_count(b"k"), model.len());
            }
        }

        #[test]
        fn any_bytes_read_as_an_entry_or_are_refused(row in proptest::collection::vec(any::<u8>(), 0..40)) {
            if let Some(entry) = StreamEntry::read(&row) {
                prop_assert_eq!(entry.count() % 2, 0);
            }
        }
    }

    #[test]
    fn ids_follow_each_other_over_the_millisecond() {
        let id = StreamId { ms: 5, sequence: u64::MAX };
        assert_eq!(id.next(), Some(StreamId { ms: 6, sequence: 0 }));
        assert_eq!(id.next().unwrap().previous(), Some(id));
        assert_eq!(StreamId::MAX.next(), None);
        assert_eq!(StreamId::MIN.previous(), None);
        assert_eq!(StreamId::read(id.bytes()), id);
        assert_eq!(id.to_string(), "5-18446744073709551615");
    }
}
