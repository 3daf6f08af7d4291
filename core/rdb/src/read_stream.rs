//! Streams are read: of all versions of their encoding.
//!
//! ```text
//! stream    [nodes]{[first id, 16 bytes][listpack]}…[entries][last id]
//!           [first id][greatest deleted id][entries added]                                    not in the first version
//!           [groups]{[name][last delivered id]
//!             [entries read]                                                                  not in the first version
//!             [pending]{[id, 16 bytes][delivered u64 LE][deliveries]}…
//!             [consumers]{[name][seen u64 LE]
//!               [active u64 LE]                                                               in the third version
//!               [pending]{[id, 16 bytes]}…}…}…
//! node      [entries][deleted][fields]{field}…[0]{entry}…                                     elements of a listpack
//! entry     [flags][ms - first ms][sequence - first sequence][fields, if not the node's]
//!           {[field, if not the node's][value]}…[elements of this entry before this one]
//! ```

use std::collections::{BTreeMap, HashSet};

use crate::limits::{CONSUMER_BYTES, ENTRY_BYTES, GROUP_BYTES, PENDING_BYTES, STRING_OVERHEAD};
use crate::listpack::{Element, Elements};
use crate::reader::Reader;
use crate::value::{Consumer, Group, Pending, Stream, StreamId};
use crate::{Error, Result, kind};

/// Flag of an entry that was deleted.
pub(crate) const DELETED: i64 = 1;
/// Flag of an entry with the fields of its node.
pub(crate) const SAME_FIELDS: i64 = 2;

pub(crate) fn read_stream(encoding: u8, reader: &mut Reader<'_>) -> Result<Stream> {
    let mut stream = Stream::default();
    for _ in 0..reader.length()? {
        let id = reader.string()?;
        let id = StreamId::read((&*id).try_into().map_err(|_| Error::Malformed)?);
        let node = reader.piece()?;
        read_node(reader, &mut stream, id, &node)?;
    }
    let has_past = encoding != kind::STREAM_LISTPACKS;
    let count = reader.length()?;
    stream.last = reader.id()?;
    let (lowest, highest) = (stream.entries.first(), stream.entries.last());
    let is_ascending = stream.entries.is_sorted_by(|(before, _), (after, _)| before < after);
    let is_within =
        lowest.is_none_or(|(id, _)| *id > StreamId::default()) && highest.is_none_or(|(id, _)| *id <= stream.last);
    if count != stream.entries.len() as u64 || !is_ascending || !is_within {
        return Err(Error::Malformed);
    }
    stream.first = lowest.map_or(StreamId::default(), |(id, _)| *id);
    stream.entries_added = count;
    if has_past {
        // What is known of the first entry anyway.
        reader.id()?;
        stream.greatest_deleted = reader.id()?;
        stream.entries_added = counter(reader.length()?)?;
    }
    let (groups, mut names) = (reader.length()?, HashSet::new());
    for _ in 0..groups {
        let group = read_group(encoding, reader, &stream)?;
        if !names.insert(group.name.clone()) {
            return Err(Error::Malformed);
        }
        stream.groups.push(group);
    }
    Ok(stream)
}

/// A counter: nothing counts further than an `i64`.
fn counter(number: u64) -> Result<u64> {
    if i64::try_from(number).is_ok() { Ok(number) } else { Err(Error::Malformed) }
}

/// A number of elements behind this one in a node.
fn number_of(element: Element<'_>) -> Result<usize> {
    usize::try_from(element.integer()?).map_err(|_| Error::Malformed)
}

fn read_node(reader: &mut Reader<'_>, stream: &mut Stream, first: StreamId, node: &[u8]) -> Result<()> {
    let mut elements = Elements::of(node)?;
    let (count, mut deleted) = (number_of(elements.expect()?)?, number_of(elements.expect()?)?);
    let field_count = number_of(elements.expect()?)?;
    // They are looked at again for each entry that has them, and nowhere kept.
    let fields = (elements.clone(), field_count);
    for _ in 0..field_count {
        elements.expect()?;
    }
    if elements.expect()?.integer()? != 0 {
        return Err(Error::Malformed);
    }
    for _ in 0..count.checked_add(deleted).ok_or(Error::Malformed)? {
        let flags = elements.expect()?.integer()?;
        let is_deleted = flags & DELETED != 0;
        if is_deleted {
            deleted = deleted.checked_sub(1).ok_or(Error::Malformed)?;
        }
        let [ms, sequence] = [first.ms, first.sequence];
        let id = StreamId {
            ms: ms.wrapping_add_signed(elements.expect()?.integer()?),
            sequence: sequence.wrapping_add_signed(elements.expect()?.integer()?),
        };
        let elements_of_entry = read_entry(reader, stream, &mut elements, (flags, &fields, is_deleted))?;
        if elements.expect()?.integer()? != elements_of_entry {
            return Err(Error::Malformed);
        }
        if !is_deleted {
            let has_same_fields = flags & SAME_FIELDS != 0;
            let pairs = if has_same_fields { field_count as i64 } else { (elements_of_entry - 4) / 2 };
            reader.pay(ENTRY_BYTES)?;
            stream.entries.push((id, 2 * pairs as usize));
        }
    }
    if deleted != 0 || elements.next()?.is_some() { Err(Error::Malformed) } else { Ok(()) }
}

/// Reads the fields and values of an entry; returns how many elements it has but for the last one.
fn read_entry(
    reader: &mut Reader<'_>,
    stream: &mut Stream,
    elements: &mut Elements<'_>,
    (flags, (fields, field_count), is_deleted): (i64, &(Elements<'_>, usize), bool),
) -> Result<i64> {
    /// Flags and both parts of the id.
    const HEAD: i64 = 3;
    let mut keep = |element: Element<'_>| match is_deleted {
        true => reader.pay(STRING_OVERHEAD),
        false => reader.keep(&mut stream.strings, &element.text()),
    };
    if flags & SAME_FIELDS != 0 {
        let mut fields = fields.clone();
        for _ in 0..*field_count {
            keep(fields.expect()?)?;
            keep(elements.expect()?)?;
        }
        return Ok(HEAD + *field_count as i64);
    }
    let count = number_of(elements.expect()?)?;
    for _ in 0..count {
        keep(elements.expect()?)?;
        keep(elements.expect()?)?;
    }
    Ok(HEAD + 1 + 2 * count as i64)
}

fn read_group(encoding: u8, reader: &mut Reader<'_>, stream: &Stream) -> Result<Group> {
    let name = reader.string()?.into_owned();
    reader.pay(name.len() + GROUP_BYTES)?;
    let mut group = Group { name, last_delivered: reader.id()?, ..Group::default() };
    group.entries_read = match encoding {
        kind::STREAM_LISTPACKS => entries_read(stream, group.last_delivered),
        _ => match reader.length()? {
            u64::MAX => None,
            count => Some(counter(count)?),
        },
    };
    // The consumer of each is told behind.
    let mut pending: BTreeMap<StreamId, Pending> = BTreeMap::new();
    let mut owned = HashSet::new();
    for _ in 0..reader.length()? {
        let id = reader.raw_id()?;
        reader.pay(PENDING_BYTES)?;
        let entry = Pending { id, delivered_ms: reader.time()?, deliveries: counter(reader.length()?)?, consumer: 0 };
        if pending.insert(id, entry).is_some() {
            return Err(Error::Malformed);
        }
    }
    let (consumers, mut names) = (reader.length()?, HashSet::new());
    for index in 0..consumers {
        let name = reader.string()?.into_owned();
        reader.pay(name.len() + CONSUMER_BYTES)?;
        let seen_ms = reader.time()?;
        if encoding == kind::STREAM_LISTPACKS_3 {
            // It may say that there was no such time.
            reader.array::<8>()?;
        }
        for _ in 0..reader.length()? {
            let id = reader.raw_id()?;
            let entry = pending.get_mut(&id).filter(|_| owned.insert(id)).ok_or(Error::Malformed)?;
            // Whoever keeps it writes the name with each.
            reader.pay(name.len())?;
            entry.consumer = index as usize;
        }
        if !names.insert(name.clone()) {
            return Err(Error::Malformed);
        }
        group.consumers.push(Consumer { name, seen_ms });
    }
    if owned.len() != pending.len() {
        return Err(Error::Malformed);
    }
    group.pending = pending.into_values().collect();
    Ok(group)
}

/// The entries up to `id` that were ever added, as far as a stream tells that knows nothing of its past.
fn entries_read(stream: &Stream, id: StreamId) -> Option<u64> {
    let count = stream.entries_added;
    match stream.entries.first() {
        _ if count == 0 => Some(0),
        _ if id == stream.last => Some(count),
        _ if id > stream.last => None,
        Some((first, _)) if id < *first => Some(0),
        Some((first, _)) if id == *first => Some(1),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::value::Value;
    use crate::{Bounds, read, write};

    fn id(ms: u64) -> StreamId {
        StreamId { ms, sequence: 0 }
    }

    /// A group of one consumer with a name of `name_bytes`, for whom so many entries are pending.
    fn pending(name_bytes: usize, count: u64) -> Value {
        let consumers = vec![Consumer { name: vec![b'x'; name_bytes], seen_ms: 1 }];
        let pending = |ms| Pending { id: id(ms), delivered_ms: 1, deliveries: 1, consumer: 0 };
        let pending = (1..=count).map(pending).collect();
        let group = Group { name: b"g".to_vec(), pending, consumers, ..Group::default() };
        Value::Stream(Stream { last: id(count), entries_added: count, groups: vec![group], ..Stream::default() })
    }

    /// A stream of one node, each entry of which has the field of the first one.
    fn entries(field_bytes: usize, count: u64) -> Value {
        let mut stream = Stream { first: id(1), last: id(count), entries_added: count, ..Stream::default() };
        for ms in 1..=count {
            stream.entries.push((id(ms), 2));
            stream.strings.push(&vec![b'f'; field_bytes]);
            stream.strings.push(b"v");
        }
        Value::Stream(stream)
    }

    #[test]
    fn a_name_counts_with_each_entry_that_is_pending_for_it() {
        let bounds = Bounds { string_bytes: 0, collection_bytes: 32 << 20 };
        assert_eq!(read(&write(&pending(10 << 20, 20_000)), bounds), Err(Error::TooLarge));
        let three = pending(8 << 20, 3);
        assert_eq!(read(&write(&three), bounds).as_ref(), Err(&Error::TooLarge));
        let two = pending(8 << 20, 2);
        assert_eq!(read(&write(&two), bounds), Ok(two));
    }

    #[test]
    fn a_stream_fits_to_the_byte() {
        let counted = GROUP_BYTES + 1 + CONSUMER_BYTES + 300 + 5 * (PENDING_BYTES + 300);
        let of_entries = 50 * (ENTRY_BYTES + STRING_OVERHEAD + 20 + STRING_OVERHEAD + 1);
        for (value, bytes) in [(pending(300, 5), counted), (entries(20, 50), of_entries)] {
            let within = |collection_bytes| read(&write(&value), Bounds { string_bytes: 0, collection_bytes });
            assert_eq!(within(bytes).as_ref(), Ok(&value));
            assert_eq!(within(bytes - 1), Err(Error::TooLarge));
        }
    }
}
