//! A value is written as redis-server 7.0 does: its encoding, its pieces, what of it is compressed. A hash with deadlines of
//! fields, which that does not have, is written as 7.4 does.

use crate::limits::{
    HASH_LISTPACK_ENTRIES_MAX, INTSET_ENTRIES_MAX, LIST_ELEMENT_OVERHEAD, LIST_NODE_BYTES_MAX, LIST_PLAIN_BYTES_MIN,
    LISTPACK_VALUE_BYTES_MAX, NUMBER_BYTES_MAX, SORTED_SET_LISTPACK_ENTRIES_MAX, UNCOMPRESSED_BYTES_MAX,
    VERSION_WITH_DEADLINES, VERSION_WRITTEN,
};
use crate::listpack::Builder;
use crate::lzf::Compressor;
use crate::number::{integer, integer_score, score_text};
use crate::value::{Strings, Value};
use crate::write_stream::write_stream;
use crate::{footer, intset, kind};

/// The way in which Redis keeps a collection.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Encoding {
    /// One array of integers.
    Intset,
    /// One piece of memory.
    Listpack,
    /// As large ones of its type.
    Large,
}

/// The way in which Redis keeps a set, hash or sorted set by default if it has never been larger than `value`.
pub fn encoding(value: &Value) -> Encoding {
    let is_short = |strings: &Strings| strings.iter().all(|string| string.len() <= LISTPACK_VALUE_BYTES_MAX);
    let (is_small, small) = match value {
        Value::Set(members) => {
            let are_integers = || members.iter().all(|member| integer(member).is_some());
            (members.len() <= INTSET_ENTRIES_MAX && are_integers(), Encoding::Intset)
        }
        Value::Hash(pairs) => (pairs.len() <= 2 * HASH_LISTPACK_ENTRIES_MAX && is_short(pairs), Encoding::Listpack),
        Value::SortedSet(members, _) => {
            (members.len() <= SORTED_SET_LISTPACK_ENTRIES_MAX && is_short(members), Encoding::Listpack)
        }
        Value::String(_) | Value::List(_) | Value::HashWithDeadlines(..) | Value::Stream(_) => (false, Encoding::Large),
    };
    if is_small { small } else { Encoding::Large }
}

/// The payload of `value`: what RESTORE takes, of this server and of redis-server 7.0; that of a hash with deadlines, of 7.4.
///
/// # Panics
/// If a sorted set has not as many scores as members, or one that is NaN, or a hash not as many deadlines as fields.
pub fn write(value: &Value) -> Vec<u8> {
    let mut out = Writer::default();
    match (value, encoding(value)) {
        (Value::String(string), _) => {
            out.bytes.push(kind::STRING);
            out.string(string);
        }
        (Value::List(elements), _) => write_list(&mut out, elements),
        (Value::Set(members), Encoding::Intset) => {
            let mut integers: Vec<i64> = members.iter().filter_map(integer).collect();
            integers.sort_unstable();
            out.bytes.push(kind::SET_INTSET);
            out.string(&intset::make(&integers));
        }
        (Value::Set(members), _) => {
            out.bytes.push(kind::SET);
            out.length(members.len() as u64);
            members.iter().for_each(|member| out.string(member));
        }
        (Value::Hash(pairs), Encoding::Listpack) => {
            let mut listpack = Builder::new();
            pairs.iter().for_each(|string| listpack.push(string));
            out.bytes.push(kind::HASH_LISTPACK);
            out.string(&listpack.finish());
        }
        (Value::Hash(pairs), _) => {
            out.bytes.push(kind::HASH);
            out.length(pairs.len() as u64 / 2);
            pairs.iter().for_each(|string| out.string(string));
        }
        (Value::HashWithDeadlines(pairs, deadlines), _) => {
            write_hash_with_deadlines(&mut out, pairs, deadlines);
            return footer::seal(out.bytes, VERSION_WITH_DEADLINES);
        }
        (Value::SortedSet(members, scores), encoding) => write_sorted_set(&mut out, members, scores, encoding),
        (Value::Stream(stream), _) => {
            out.bytes.push(kind::STREAM_LISTPACKS_2);
            write_stream(&mut out, stream);
        }
    }
    footer::seal(out.bytes, VERSION_WRITTEN)
}

/// Writes the earliest deadline, and each field with its value behind one more than what its deadline is later by, or 0. Redis does
/// so with large hashes, and reads it whatever their size.
fn write_hash_with_deadlines(out: &mut Writer, pairs: &Strings, deadlines: &[u64]) {
    assert!(pairs.len() == 2 * deadlines.len(), "every field has a value, and a deadline or none");
    let earliest_ms = deadlines.iter().copied().filter(|deadline_ms| *deadline_ms > 0).min().unwrap_or(0);
    out.bytes.push(kind::HASH_METADATA);
    out.bytes.extend_from_slice(&earliest_ms.to_le_bytes());
    out.length(deadlines.len() as u64);
    for (index, deadline_ms) in deadlines.iter().enumerate() {
        out.length(if *deadline_ms == 0 { 0 } else { deadline_ms - earliest_ms + 1 });
        out.string(pairs.get(2 * index));
        out.string(pairs.get(2 * index + 1));
    }
}

/// Writes nodes as a list gets them to whose end one element after the other is added.
fn write_list(out: &mut Writer, elements: &Strings) {
    const PLAIN: u64 = 1;
    const PACKED: u64 = 2;
    out.bytes.push(kind::LIST_QUICKLIST_2);
    out.counted(|out| {
        let (mut count, mut node) = (0, Builder::new());
        for element in elements.iter() {
            let is_plain = element.len() >= LIST_PLAIN_BYTES_MIN;
            let has_room = node.byte_count() + element.len() + LIST_ELEMENT_OVERHEAD <= LIST_NODE_BYTES_MAX;
            if node.len() > 0 && (is_plain || !has_room) {
                out.length(PACKED);
                out.string(&std::mem::replace(&mut node, Builder::new()).finish());
                count += 1;
            }
            if is_plain {
                out.length(PLAIN);
                out.string(element);
                count += 1;
            } else {
                node.push(element);
            }
        }
        if node.len() > 0 {
            out.length(PACKED);
            out.string(&node.finish());
            count += 1;
        }
        count
    });
}

fn write_sorted_set(out: &mut Writer, members: &Strings, scores: &[f64], encoding: Encoding) {
    assert!(members.len() == scores.len(), "every member has a score");
    assert!(scores.iter().all(|score| !score.is_nan()), "a score is a number");
    if encoding == Encoding::Listpack {
        let mut listpack = Builder::new();
        for (member, &score) in members.iter().zip(scores) {
            listpack.push(member);
            match integer_score(score) {
                Some(score) => listpack.push_integer(score),
                None => listpack.push(score_text(score).as_bytes()),
            }
        }
        out.bytes.push(kind::ZSET_LISTPACK);
        return out.string(&listpack.finish());
    }
    out.bytes.push(kind::ZSET_2);
    out.length(members.len() as u64);
    // Redis begins with the highest score.
    for (index, score) in scores.iter().enumerate().rev() {
        out.string(members.get(index));
        out.bytes.extend_from_slice(&score.to_le_bytes());
    }
}

/// A payload that is being written; see [`Reader`](crate::reader::Reader) for how.
#[derive(Default)]
pub(crate) struct Writer {
    pub(crate) bytes: Vec<u8>,
    compressor: Compressor,
}

impl Writer {
    /// Writes what `write` writes, behind the number that it returns.
    pub(crate) fn counted(&mut self, write: impl FnOnce(&mut Writer) -> u64) {
        let before = std::mem::take(&mut self.bytes);
        let count = write(self);
        let behind = std::mem::replace(&mut self.bytes, before);
        self.length(count);
        self.bytes.extend_from_slice(&behind);
    }

    /// Writes a length.
    pub(crate) fn length(&mut self, length: u64) {
        match length {
            0..64 => self.bytes.push(length as u8),
            64..16_384 => self.bytes.extend_from_slice(&[0x40 | (length >> 8) as u8, length as u8]),
            16_384..=0xFFFF_FFFF => {
                self.bytes.push(0x80);
                self.bytes.extend_from_slice(&(length as u32).to_be_bytes());
            }
            _ => {
                self.bytes.push(0x81);
                self.bytes.extend_from_slice(&length.to_be_bytes());
            }
        }
    }

    /// Writes a string: as a number or compressed, if it becomes shorter.
    pub(crate) fn string(&mut self, string: &[u8]) {
        if string.len() <= NUMBER_BYTES_MAX {
            let number = integer(string).and_then(|number| i32::try_from(number).ok());
            if let Some(number) = number {
                return self.number(number);
            }
        }
        let is_long = string.len() > UNCOMPRESSED_BYTES_MAX;
        // Without the lengths it would be no shorter.
        let compressed = is_long.then(|| self.compressor.compress(string, string.len() - 4)).flatten();
        match compressed {
            Some(compressed) => {
                self.bytes.push(0xC3);
                self.length(compressed.len() as u64);
                self.length(string.len() as u64);
                self.bytes.extend_from_slice(&compressed);
            }
            None => {
                self.length(string.len() as u64);
                self.bytes.extend_from_slice(string);
            }
        }
    }

    fn number(&mut self, number: i32) {
        let bytes = number.to_le_bytes();
        let (encoding, width) = match number {
            -128..=127 => (0xC0, 1),
            -32_768..=32_767 => (0xC1, 2),
            _ => (0xC2, 4),
        };
        self.bytes.push(encoding);
        self.bytes.extend_from_slice(&bytes[..width]);
    }
}
