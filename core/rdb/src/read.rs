//! A payload is read: every encoding that Redis up to 7.4 has written.
//!
//! What a newcomer would get wrong: what is behind the value is not looked at, as in Redis.

use std::collections::HashSet;

use crate::limits::{
    DEADLINE_BYTES, DEADLINE_MS_MAX, INFLATED_SHARE, SCORE_BYTES, VERSION_NEWEST, VERSION_NEWEST_BEFORE,
};
use crate::listpack::{self, Element};
use crate::read_stream::read_stream;
use crate::reader::Reader;
use crate::value::{Strings, Value};
use crate::{Error, Result, footer, intset, kind, number, ziplist, zipmap};

/// Bytes up to which a value is read.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Bounds {
    /// Bytes of a string.
    pub string_bytes: usize,
    /// Bytes of a collection: each of its strings counts for some more than it has, see
    /// [`STRING_OVERHEAD`](crate::limits::STRING_OVERHEAD).
    pub collection_bytes: usize,
}

/// The value that `payload` is. It takes memory for what is within `bounds` and for one compressed piece, however large it says
/// that it is.
///
/// # Errors
/// [`Error::TooLarge`] for a payload that is longer than any collection within `bounds`, and is no string; else [`Error::Footer`]
/// before anything is looked at, [`Error::Malformed`] for what is no value, and [`Error::TooLarge`] beyond `bounds`.
pub fn read(payload: &[u8], bounds: Bounds) -> Result<Value> {
    read_up_to(VERSION_NEWEST, payload, bounds)
}

/// The same as long as nothing of Redis 7.4 was read: later payloads are refused.
///
/// # Errors
/// As [`read`].
pub fn read_before(payload: &[u8], bounds: Bounds) -> Result<Value> {
    read_up_to(VERSION_NEWEST_BEFORE, payload, bounds)
}

fn read_up_to(version: u16, payload: &[u8], bounds: Bounds) -> Result<Value> {
    // The checksum alone would take long.
    let is_long = payload.len() > bounds.collection_bytes.saturating_mul(INFLATED_SHARE);
    if is_long && payload[0] != kind::STRING {
        return Err(Error::TooLarge);
    }
    let mut reader = Reader::new(footer::open(payload, version)?, bounds);
    let encoding = reader.byte()?;
    if kind::is_of_redis_7_4(encoding) && version < VERSION_NEWEST {
        return Err(Error::Malformed);
    }
    read_value(encoding, &mut reader)
}

fn read_value(encoding: u8, reader: &mut Reader<'_>) -> Result<Value> {
    Ok(match encoding {
        kind::STRING => Value::String(reader.value()?),
        kind::LIST => Value::List(strings(reader, 1)?),
        kind::LIST_ZIPLIST => Value::List(from_ziplist(reader)?),
        kind::LIST_QUICKLIST | kind::LIST_QUICKLIST_2 => Value::List(quicklist(encoding, reader)?),
        kind::SET => Value::Set(each_once(strings(reader, 1)?, 1)?),
        kind::SET_INTSET => Value::Set(from_intset(reader)?),
        kind::SET_LISTPACK => Value::Set(each_once(from_listpack(reader)?, 1)?),
        kind::HASH => Value::Hash(each_once(strings(reader, 2)?, 2)?),
        kind::HASH_ZIPMAP => Value::Hash(each_once(from_zipmap(reader)?, 2)?),
        kind::HASH_ZIPLIST => Value::Hash(each_once(from_ziplist(reader)?, 2)?),
        kind::HASH_LISTPACK => Value::Hash(each_once(from_listpack(reader)?, 2)?),
        kind::HASH_METADATA | kind::HASH_METADATA_UNRELEASED => hash_with_deadlines(encoding, reader)?,
        kind::HASH_LISTPACK_EX | kind::HASH_LISTPACK_EX_UNRELEASED => hash_of_threes(encoding, reader)?,
        kind::ZSET | kind::ZSET_2 => sorted_set(encoding, reader)?,
        kind::ZSET_ZIPLIST => sorted_pairs(from_ziplist(reader)?)?,
        kind::ZSET_LISTPACK => sorted_pairs(from_listpack(reader)?)?,
        kind::STREAM_LISTPACKS | kind::STREAM_LISTPACKS_2 | kind::STREAM_LISTPACKS_3 => {
            Value::Stream(read_stream(encoding, reader)?)
        }
        _ => return Err(Error::Malformed),
    })
}

/// Elements of `parts` strings each, behind their number.
fn strings(reader: &mut Reader<'_>, parts: usize) -> Result<Strings> {
    let (count, mut strings) = (reader.count()?, Strings::default());
    for _ in 0..count {
        for _ in 0..parts {
            reader.keep_next(&mut strings)?;
        }
    }
    Ok(strings)
}

/// `strings`, if there are some, in groups of `parts`, and no group begins as another one.
fn each_once(strings: Strings, parts: usize) -> Result<Strings> {
    let mut seen = HashSet::with_capacity(strings.len() / parts);
    let is_once = strings.iter().step_by(parts).all(|string| seen.insert(string));
    if is_once && !strings.is_empty() && strings.len().is_multiple_of(parts) {
        Ok(strings)
    } else {
        Err(Error::Malformed)
    }
}

fn from_listpack(reader: &mut Reader<'_>) -> Result<Strings> {
    let (piece, mut strings) = (reader.piece()?, Strings::default());
    keep_listpack(reader, &piece, &mut strings)?;
    some(strings)
}

fn keep_listpack(reader: &mut Reader<'_>, piece: &[u8], strings: &mut Strings) -> Result<()> {
    let mut elements = listpack::Elements::of(piece)?;
    while let Some(element) = elements.next()? {
        keep_element(reader, element, strings)?;
    }
    Ok(())
}

fn from_ziplist(reader: &mut Reader<'_>) -> Result<Strings> {
    let (piece, mut strings) = (reader.piece()?, Strings::default());
    keep_ziplist(reader, &piece, &mut strings)?;
    some(strings)
}

fn keep_ziplist(reader: &mut Reader<'_>, piece: &[u8], strings: &mut Strings) -> Result<()> {
    let mut elements = ziplist::Elements::of(piece)?;
    while let Some(element) = elements.next()? {
        keep_element(reader, element, strings)?;
    }
    Ok(())
}

fn keep_element(reader: &mut Reader<'_>, element: Element<'_>, strings: &mut Strings) -> Result<()> {
    reader.keep(strings, &element.text())
}

fn some(strings: Strings) -> Result<Strings> {
    if strings.is_empty() { Err(Error::Malformed) } else { Ok(strings) }
}

/// A list of pieces: ziplists, or listpacks and elements by themselves.
fn quicklist(encoding: u8, reader: &mut Reader<'_>) -> Result<Strings> {
    const PLAIN: u64 = 1;
    const PACKED: u64 = 2;
    let (count, mut strings) = (reader.count()?, Strings::default());
    for _ in 0..count {
        if encoding == kind::LIST_QUICKLIST {
            let piece = reader.piece()?;
            keep_ziplist(reader, &piece, &mut strings)?;
            continue;
        }
        match reader.length()? {
            PLAIN => reader.keep_next(&mut strings)?,
            PACKED => {
                let piece = reader.piece()?;
                keep_listpack(reader, &piece, &mut strings)?;
            }
            _ => return Err(Error::Malformed),
        }
    }
    some(strings)
}

fn from_intset(reader: &mut Reader<'_>) -> Result<Strings> {
    let (piece, mut strings) = (reader.piece()?, Strings::default());
    intset::each(&piece, &mut |member| keep_element(reader, Element::Integer(member), &mut strings))?;
    Ok(strings)
}

fn from_zipmap(reader: &mut Reader<'_>) -> Result<Strings> {
    let (piece, mut strings) = (reader.piece()?, Strings::default());
    zipmap::each(&piece, &mut |field, value| {
        reader.keep(&mut strings, field)?;
        reader.keep(&mut strings, value)
    })?;
    Ok(strings)
}

/// Fields with their values, each behind its deadline, which is 0 if it has none. Since Redis 7.4 it is one more than what is
/// between it and the earliest.
fn hash_with_deadlines(encoding: u8, reader: &mut Reader<'_>) -> Result<Value> {
    let earliest_ms = if encoding == kind::HASH_METADATA { reader.time()? } else { 1 };
    let (count, mut pairs, mut deadlines) = (reader.count()?, Strings::default(), Vec::new());
    for _ in 0..count {
        let deadline_ms = match reader.length()? {
            0 => 0,
            later_by => earliest_ms.checked_add(later_by - 1).ok_or(Error::Malformed)?,
        };
        reader.pay(DEADLINE_BYTES)?;
        deadlines.push(deadline_ms);
        reader.keep_next(&mut pairs)?;
        reader.keep_next(&mut pairs)?;
    }
    of_deadlines(each_once(pairs, 2)?, deadlines)
}

/// Fields, values and deadlines by turns, in one piece.
fn hash_of_threes(encoding: u8, reader: &mut Reader<'_>) -> Result<Value> {
    if encoding == kind::HASH_LISTPACK_EX {
        reader.time()?;
    }
    let piece = reader.piece()?;
    let (mut pairs, mut deadlines) = (Strings::default(), Vec::new());
    let mut elements = listpack::Elements::of(&piece)?;
    while let Some(field) = elements.next()? {
        keep_element(reader, field, &mut pairs)?;
        let value = elements.next()?.ok_or(Error::Malformed)?;
        keep_element(reader, value, &mut pairs)?;
        let Some(Element::Integer(deadline_ms)) = elements.next()? else { return Err(Error::Malformed) };
        reader.pay(DEADLINE_BYTES)?;
        deadlines.push(u64::try_from(deadline_ms).map_err(|_| Error::Malformed)?);
    }
    of_deadlines(each_once(pairs, 2)?, deadlines)
}

/// The hash of these fields and values; one without deadlines is as any other.
fn of_deadlines(pairs: Strings, deadlines: Vec<u64>) -> Result<Value> {
    match deadlines.iter().max() {
        Some(0) => Ok(Value::Hash(pairs)),
        Some(latest_ms) if *latest_ms <= DEADLINE_MS_MAX => Ok(Value::HashWithDeadlines(pairs, deadlines)),
        _ => Err(Error::Malformed),
    }
}

/// Members, each with its score behind.
fn sorted_set(encoding: u8, reader: &mut Reader<'_>) -> Result<Value> {
    let (count, mut members, mut scores) = (reader.count()?, Strings::default(), Vec::new());
    for _ in 0..count {
        reader.keep_next(&mut members)?;
        reader.pay(SCORE_BYTES)?;
        scores.push(if encoding == kind::ZSET { text_score(reader)? } else { f64::from_le_bytes(reader.array()?) });
    }
    if scores.iter().any(|score| score.is_nan()) {
        return Err(Error::Malformed);
    }
    Ok(Value::SortedSet(each_once(members, 1)?, scores))
}

/// A score as a text behind its length, some lengths of which are scores by themselves.
fn text_score(reader: &mut Reader<'_>) -> Result<f64> {
    match reader.byte()? {
        255 => Ok(f64::NEG_INFINITY),
        254 => Ok(f64::INFINITY),
        253 => Err(Error::Malformed),
        length => number::score(reader.take(length.into())?).ok_or(Error::Malformed),
    }
}

/// Members and scores by turns.
fn sorted_pairs(pairs: Strings) -> Result<Value> {
    let pairs = each_once(pairs, 2)?;
    let scores: Option<Vec<f64>> = pairs.iter().skip(1).step_by(2).map(number::score).collect();
    let members: Strings = pairs.iter().step_by(2).collect();
    Ok(Value::SortedSet(members, scores.ok_or(Error::Malformed)?))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_payload_longer_than_any_collection_is_refused_before_its_checksum() {
        let bounds = Bounds { string_bytes: 1 << 20, collection_bytes: 1000 };
        let payload = |encoding: u8, length: usize| [&[encoding][..], &vec![1; length - 1]].concat();
        let length_max = INFLATED_SHARE * bounds.collection_bytes;
        assert_eq!(read(&payload(kind::SET, length_max + 1), bounds), Err(Error::TooLarge));
        assert_eq!(read(&payload(kind::SET, length_max), bounds), Err(Error::Footer));
        assert_eq!(read(&payload(kind::STRING, length_max + 1), bounds), Err(Error::Footer));
        assert_eq!(read(b"", Bounds { string_bytes: 0, collection_bytes: 0 }), Err(Error::Footer));
    }
}
