//! The size that a payload comes to, before anybody reads it.

use crate::limits::{ELEMENT_BYTES_MIN, INFLATED_PER_BYTE_MAX, STREAM_ENTRY_BYTES_MIN, STRING_OVERHEAD};
use crate::reader::{Length, Reader};
use crate::{Bounds, Error, Result, kind};

/// The size of a payload that can be read; nobody has looked at its checksum, nor at what its pieces hold.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Size {
    /// Bytes that its compressed pieces say they have uncompressed, beside those of the payload itself.
    pub inflated_bytes: usize,
    /// Bytes that it becomes at most beside those, since they stand once and are kept many times: the fields of a stream's node
    /// with each of its entries, the name of a consumer with each of its pending entries.
    pub repeated_bytes: usize,
    /// Rows that are made of its elements, entries, consumers and pending entries at most.
    pub rows: usize,
}

/// The size of `payload` as far as it can be read, whatever is wrong with it, and up to as many strings as no collection of
/// `collection_bytes` has. Takes time for each string that is no element of a piece, not for each byte.
pub fn size(payload: &[u8], collection_bytes: usize) -> Size {
    let reader = Reader::new(payload, Bounds { string_bytes: 0, collection_bytes: 0 });
    let mut counter = Counter { reader, steps_left: collection_bytes / STRING_OVERHEAD, size: Size::default() };
    // What ends it early is found by who reads it.
    let _ = counter.count();
    counter.size
}

struct Counter<'a> {
    reader: Reader<'a>,
    /// Strings and pending entries that are still looked at.
    steps_left: usize,
    size: Size,
}

/// A string that was skipped.
struct Skipped {
    /// Bytes that it has uncompressed.
    bytes: usize,
    /// The number of elements in the header that it has if it is a listpack.
    listpack_elements: Option<u16>,
}

impl Counter<'_> {
    fn count(&mut self) -> Result<()> {
        /// A node that is one element.
        const PLAIN: u64 = 1;
        let encoding = self.reader.byte()?;
        match encoding {
            kind::STRING => self.skip_string().map(drop),
            kind::LIST | kind::SET | kind::HASH => {
                let parts = if encoding == kind::HASH { 2 } else { 1 };
                self.repeat(|counter| {
                    counter.size.rows += 1;
                    (0..parts).try_for_each(|_| counter.skip_string().map(drop))
                })
            }
            kind::HASH_METADATA | kind::HASH_METADATA_UNRELEASED => {
                self.skip_earliest(encoding)?;
                self.repeat(|counter| {
                    // With its deadline a field has three.
                    counter.size.rows += 3;
                    counter.reader.length()?;
                    (0..2).try_for_each(|_| counter.skip_string().map(drop))
                })
            }
            kind::HASH_LISTPACK_EX | kind::HASH_LISTPACK_EX_UNRELEASED => {
                self.skip_earliest(encoding)?;
                self.skip_piece(true)
            }
            kind::ZSET | kind::ZSET_2 => self.repeat(|counter| {
                // By its name and by its score.
                counter.size.rows += 2;
                counter.skip_string()?;
                let score_bytes = if encoding == kind::ZSET_2 { 8 } else { counter.reader.byte()? };
                // The lengths above are scores by themselves.
                counter.reader.take(if score_bytes < 253 { score_bytes.into() } else { 0 }).map(drop)
            }),
            kind::LIST_QUICKLIST => self.repeat(|counter| counter.skip_piece(false)),
            kind::LIST_QUICKLIST_2 => self.repeat(|counter| match counter.reader.length()? {
                PLAIN => {
                    counter.size.rows += 1;
                    counter.skip_string().map(drop)
                }
                _ => counter.skip_piece(true),
            }),
            kind::STREAM_LISTPACKS | kind::STREAM_LISTPACKS_2 | kind::STREAM_LISTPACKS_3 => self.skip_stream(encoding),
            kind::SET_LISTPACK | kind::HASH_LISTPACK | kind::ZSET_LISTPACK => self.skip_piece(true),
            _ => self.skip_piece(false),
        }
    }

    /// Skips the earliest deadline of a hash, which those of Redis 7.4 have.
    fn skip_earliest(&mut self, encoding: u8) -> Result<()> {
        let has_earliest = matches!(encoding, kind::HASH_METADATA | kind::HASH_LISTPACK_EX);
        self.reader.take(if has_earliest { 8 } else { 0 }).map(drop)
    }

    /// Skips as often as a number says that comes next.
    fn repeat(&mut self, mut skip: impl FnMut(&mut Self) -> Result<()>) -> Result<()> {
        (0..self.reader.length()?).try_for_each(|_| skip(self))
    }

    fn step(&mut self) -> Result<()> {
        self.steps_left = self.steps_left.checked_sub(1).ok_or(Error::TooLarge)?;
        Ok(())
    }

    fn skip_string(&mut self) -> Result<Skipped> {
        self.step()?;
        let reader = &mut self.reader;
        let (head, bytes) = match reader.length_or_encoding()? {
            Length::Plain(length) => {
                let string = reader.take(usize::try_from(length).unwrap_or(usize::MAX))?;
                (string, string.len())
            }
            Length::Encoded(encoding @ 0..=2) => (reader.take(1 << encoding)?, 0),
            Length::Encoded(_) => {
                let (compressed, length) = (reader.length()?, reader.length()?);
                let compressed = reader.take(usize::try_from(compressed).unwrap_or(usize::MAX))?;
                // What says that it becomes more is refused.
                let most = compressed.len().saturating_mul(INFLATED_PER_BYTE_MAX);
                let bytes = usize::try_from(length).unwrap_or(usize::MAX).min(most);
                self.size.inflated_bytes = self.size.inflated_bytes.saturating_add(bytes);
                // It begins with bytes as they are, behind their number less one.
                let literal = compressed.split_first().filter(|(number, _)| **number < 32);
                (literal.map_or(&[][..], |(number, rest)| rest.get(..=usize::from(*number)).unwrap_or(&[])), bytes)
            }
        };
        let listpack_elements = head.get(4..6).map(|count| u16::from_le_bytes([count[0], count[1]]));
        Ok(Skipped { bytes, listpack_elements })
    }

    /// Skips a piece with elements in it, whose number is known of listpacks.
    fn skip_piece(&mut self, is_listpack: bool) -> Result<()> {
        let piece = self.skip_string()?;
        let most = piece.bytes / ELEMENT_BYTES_MIN;
        let known = piece.listpack_elements.filter(|&count| is_listpack && count < u16::MAX);
        self.size.rows += known.map_or(most, |count| most.min(count.into()));
        Ok(())
    }

    fn skip_stream(&mut self, encoding: u8) -> Result<()> {
        self.repeat(|counter| {
            counter.skip_string()?;
            let bytes = counter.skip_string()?.bytes;
            counter.size.rows += bytes / STREAM_ENTRY_BYTES_MIN;
            // They are most if its fields are one half of it, and its entries the other one.
            counter.repeated(bytes / 2, bytes / 2 / STREAM_ENTRY_BYTES_MIN);
            Ok(())
        })?;
        self.reader.length()?;
        let (ids, numbers) = if encoding == kind::STREAM_LISTPACKS { (1, 0) } else { (3, 1) };
        (0..ids).try_for_each(|_| self.reader.id().map(drop))?;
        (0..numbers).try_for_each(|_| self.reader.length().map(drop))?;
        self.repeat(|counter| counter.skip_group(encoding))
    }

    fn skip_group(&mut self, encoding: u8) -> Result<()> {
        self.skip_string()?;
        self.reader.id()?;
        if encoding != kind::STREAM_LISTPACKS {
            self.reader.length()?;
        }
        self.repeat(|counter| {
            counter.step()?;
            // The id and the time.
            counter.reader.take(16 + 8)?;
            counter.reader.length().map(drop)
        })?;
        let time_bytes = if encoding == kind::STREAM_LISTPACKS_3 { 16 } else { 8 };
        self.repeat(|counter| {
            let name = counter.skip_string()?;
            counter.reader.take(time_bytes)?;
            let pending = usize::try_from(counter.reader.length()?).unwrap_or(usize::MAX);
            counter.reader.take(pending.saturating_mul(16))?;
            // A row with the name, and one that finds it.
            counter.size.rows += 1 + 2 * pending;
            counter.repeated(name.bytes, pending);
            Ok(())
        })
    }

    fn repeated(&mut self, bytes: usize, times: usize) {
        self.size.repeated_bytes = self.size.repeated_bytes.saturating_add(bytes.saturating_mul(times));
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::value::{Consumer, Group, Pending, Stream, StreamId, Strings, Value};
    use crate::write;

    const COLLECTION_BYTES: usize = 32 << 20;

    fn id(ms: u64) -> StreamId {
        StreamId { ms, sequence: 0 }
    }

    #[test]
    fn what_says_that_it_becomes_more_than_it_can_is_not_believed() {
        let claim = b"\0\xc3\x05\x81\x3f\xff\xff\xff\xff\xff\xff\xffabcde";
        assert_eq!(size(claim, COLLECTION_BYTES).inflated_bytes, 5 * INFLATED_PER_BYTE_MAX);
    }

    #[test]
    fn no_more_strings_are_counted_than_a_collection_has() {
        // A set of empty strings.
        let payload = [&b"\x02\x80\x00\x01\x00\x00"[..], &[0; 1 << 16]].concat();
        assert_eq!(size(&payload, COLLECTION_BYTES).rows, 1 << 16);
        assert_eq!(size(&payload, 800).rows, 101, "the last one is not looked at");
    }

    #[test]
    fn rows_of_pieces_are_counted() {
        let strings: Strings = (0..100_000).map(|number: u32| number.to_string()).collect();
        let few: Strings = strings.iter().take(100).collect();
        let scores = || (0..100_000).map(f64::from);
        for (value, rows) in [
            (Value::List(strings.clone()), 100_000),
            (Value::Set(strings.clone()), 100_000),
            (Value::Hash(strings.clone()), 50_000),
            (Value::SortedSet(strings.clone(), scores().collect()), 200_000),
            (Value::SortedSet(few.clone(), scores().take(100).collect()), 200),
            (Value::Hash(few.clone()), 100),
            (Value::List((0..100_000).map(|_| b"").collect()), 100_000),
            (Value::String(vec![b'x'; 5000]), 0),
        ] {
            assert_eq!(size(&write(&value), COLLECTION_BYTES).rows, rows);
        }
    }

    #[test]
    fn what_stands_once_and_is_kept_many_times_is_counted() {
        // One field of 1 KB, which all entries of the node have.
        let field = vec![b'f'; 1000];
        let mut stream = Stream { last: id(100), entries_added: 100, ..Stream::default() };
        for ms in 1..=100 {
            stream.entries.push((id(ms), 2));
            stream.strings.push(&field);
            stream.strings.push(b"");
        }
        stream.first = id(1);
        let kept = stream.strings.byte_count();
        let found = size(&write(&Value::Stream(stream)), COLLECTION_BYTES);
        assert!(found.inflated_bytes + found.repeated_bytes > kept, "{found:?} of {kept}");
        assert!(found.rows >= 100, "{found:?}");

        // A name of 1 MB, of whom a thousand are pending.
        let name = vec![b'x'; 1 << 20];
        let pending = |ms| Pending { id: id(ms), delivered_ms: 1, deliveries: 1, consumer: 0 };
        let consumers = vec![Consumer { name: name.clone(), seen_ms: 1 }];
        let group = Group { pending: (1..=1000).map(pending).collect(), consumers, ..Group::default() };
        let stream = Stream { last: id(1000), entries_added: 1000, groups: vec![group], ..Stream::default() };
        let found = size(&write(&Value::Stream(stream)), COLLECTION_BYTES);
        assert_eq!(found.repeated_bytes, 1000 * name.len());
        assert_eq!(found.inflated_bytes, name.len());
        assert_eq!(found.rows, 2001);
    }
}
