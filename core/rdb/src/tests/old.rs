//! Payloads in encodings that redis-server 7.0 reads and no longer writes, and in those of 7.2.

use crate::footer::seal;
use crate::kind;
use crate::limits::VERSION_WRITTEN;
use crate::listpack::Builder;
use crate::value::{Stream, StreamId, Strings, Value};
use crate::write::Writer;

fn ziplist(elements: &[&[u8]]) -> Vec<u8> {
    let (mut bytes, mut before, mut last) = (vec![0; 10], 0usize, 10);
    for element in elements {
        let start = bytes.len();
        match u8::try_from(before) {
            Ok(length) if length < 254 => bytes.push(length),
            _ => {
                bytes.push(0xFE);
                bytes.extend_from_slice(&(before as u32).to_le_bytes());
            }
        }
        match crate::number::integer(element) {
            Some(number @ 0..=12) => bytes.push(0xF1 + number as u8),
            Some(number) => {
                let (encoding, width) = match number {
                    -128..=127 => (0xFE, 1),
                    -32_768..=32_767 => (0xC0, 2),
                    -8_388_608..=8_388_607 => (0xF0, 3),
                    -2_147_483_648..=2_147_483_647 => (0xD0, 4),
                    _ => (0xE0, 8),
                };
                bytes.push(encoding);
                bytes.extend_from_slice(&number.to_le_bytes()[..width]);
            }
            None => {
                match element.len() {
                    length @ 0..64 => bytes.push(length as u8),
                    length @ 64..16_384 => bytes.extend_from_slice(&[0x40 | (length >> 8) as u8, length as u8]),
                    length => {
                        bytes.push(0x80);
                        bytes.extend_from_slice(&(length as u32).to_be_bytes());
                    }
                }
                bytes.extend_from_slice(element);
            }
        }
        (before, last) = (bytes.len() - start, start);
    }
    bytes.push(0xFF);
    let total = bytes.len() as u32;
    bytes[..4].copy_from_slice(&total.to_le_bytes());
    bytes[4..8].copy_from_slice(&(last as u32).to_le_bytes());
    bytes[8..10].copy_from_slice(&(elements.len() as u16).to_le_bytes());
    bytes
}

fn zipmap(pairs: &[&[u8]]) -> Vec<u8> {
    let mut bytes = vec![(pairs.len() / 2) as u8];
    let length = |bytes: &mut Vec<u8>, string: &[u8]| match string.len() {
        length @ 0..254 => bytes.push(length as u8),
        length => {
            bytes.push(0xFE);
            bytes.extend_from_slice(&(length as u32).to_le_bytes());
        }
    };
    for pair in pairs.chunks(2) {
        length(&mut bytes, pair[0]);
        bytes.extend_from_slice(pair[0]);
        length(&mut bytes, pair[1]);
        bytes.push(2);
        bytes.extend_from_slice(pair[1]);
        bytes.extend_from_slice(b"\0\0");
    }
    bytes.push(0xFF);
    bytes
}

fn listpack(elements: &[&[u8]]) -> Vec<u8> {
    let mut builder = Builder::new();
    elements.iter().for_each(|element| builder.push(element));
    builder.finish()
}

fn start(kind: u8) -> Writer {
    let mut out = Writer::default();
    out.bytes.push(kind);
    out
}

fn of_pieces(kind: u8, pieces: &[Vec<u8>]) -> Vec<u8> {
    let mut out = start(kind);
    if kind == kind::LIST_QUICKLIST {
        out.length(pieces.len() as u64);
    }
    pieces.iter().for_each(|piece| out.string(piece));
    seal(out.bytes, VERSION_WRITTEN)
}

fn of_strings(kind: u8, count: usize, strings: &[&[u8]]) -> Vec<u8> {
    let mut out = start(kind);
    out.length(count as u64);
    strings.iter().for_each(|string| out.string(string));
    seal(out.bytes, VERSION_WRITTEN)
}

/// A stream with one group, in the first or the third version.
fn stream(kind: u8) -> Vec<u8> {
    let id = |ms: u64| StreamId { ms, sequence: 1 }.bytes();
    let mut out = start(kind);
    out.length(1);
    out.string(&id(5));
    // Two entries of one field, the second one is deleted, then one of another field.
    let node: &[&[u8]] = &[b"2", b"1", b"1", b"f", b"0"];
    let entries: &[&[u8]] =
        &[b"2", b"0", b"0", b"v", b"4", b"3", b"1", b"0", b"w", b"4", b"0", b"2", b"7", b"1", b"g", b"x", b"6"];
    out.string(&listpack(&[node, entries].concat()));
    let numbers: &[u64] = if kind == kind::STREAM_LISTPACKS { &[2, 9, 0] } else { &[2, 9, 0, 5, 1, 6, 1, 3] };
    numbers.iter().for_each(|&number| out.length(number));
    out.length(1);
    out.string(b"group");
    [5, 1].iter().for_each(|&number| out.length(number));
    if kind != kind::STREAM_LISTPACKS {
        out.length(1);
    }
    out.length(1);
    out.bytes.extend_from_slice(&id(5));
    out.bytes.extend_from_slice(&1_700_000_000_000u64.to_le_bytes());
    out.length(2);
    out.length(1);
    out.string(b"consumer");
    out.bytes.extend_from_slice(&1_700_000_000_001u64.to_le_bytes());
    if kind == kind::STREAM_LISTPACKS_3 {
        out.bytes.extend_from_slice(&(-1i64).to_le_bytes());
    }
    out.length(1);
    out.bytes.extend_from_slice(&id(5));
    seal(out.bytes, VERSION_WRITTEN)
}

fn stream_value(kind: u8) -> Value {
    let id = |ms, sequence| StreamId { ms, sequence };
    let has_past = kind != kind::STREAM_LISTPACKS;
    Value::Stream(Stream {
        entries: vec![(id(5, 1), 2), (id(7, 8), 2)],
        strings: ["f", "v", "g", "x"].into_iter().collect(),
        last: id(9, 0),
        first: id(5, 1),
        greatest_deleted: if has_past { id(6, 1) } else { id(0, 0) },
        entries_added: if has_past { 3 } else { 2 },
        groups: vec![crate::Group {
            name: b"group".to_vec(),
            last_delivered: id(5, 1),
            entries_read: Some(1),
            pending: vec![crate::Pending { id: id(5, 1), delivered_ms: 1_700_000_000_000, deliveries: 2, consumer: 0 }],
            consumers: vec![crate::Consumer { name: b"consumer".to_vec(), seen_ms: 1_700_000_000_001 }],
        }],
    })
}

/// A payload of an encoding, what it holds, and whether redis-server 7.0 reads it.
pub(super) struct Old {
    pub(super) name: &'static str,
    pub(super) payload: Vec<u8>,
    pub(super) value: Value,
    pub(super) is_of_7_0: bool,
}

pub(super) fn payloads() -> Vec<Old> {
    let long = [b'y'; 300];
    let longer = super::cases::noise(20_000);
    let elements: &[&[u8]] = &[
        b"a",
        b"12",
        b"13",
        b"-1",
        b"-128",
        b"300",
        b"-40000",
        b"70000",
        b"9000000",
        b"-3000000000",
        b"",
        &long,
        b"after",
        &longer,
        b"z",
    ];
    let pairs: &[&[u8]] = &[b"f", b"1", b"g", b"two", b"h", &long];
    let scored: &[&[u8]] = &[b"a", b"-1", b"b", b"1.5", b"c", b"inf"];
    let strings = |strings: &[&[u8]]| strings.iter().collect::<Strings>();
    let sorted = || Value::SortedSet(strings(&[b"a", b"b", b"c"]), vec![-1.0, 1.5, f64::INFINITY]);
    let mut texts = vec![kind::ZSET, 3, 1, b'a', 2, b'-', b'1', 1, b'b', 3, b'1', b'.', b'5', 1, b'c', 254];
    texts = seal(texts, VERSION_WRITTEN);
    let old = |name, payload, value| Old { name, payload, value, is_of_7_0: true };
    let new = |name, payload, value| Old { name, payload, value, is_of_7_0: false };
    vec![
        old("list", of_strings(kind::LIST, 3, &[b"a", b"-1", &long]), Value::List(strings(&[b"a", b"-1", &long]))),
        old("list of a ziplist", of_pieces(kind::LIST_ZIPLIST, &[ziplist(elements)]), Value::List(strings(elements))),
        old(
            "list of ziplists",
            of_pieces(kind::LIST_QUICKLIST, &[ziplist(&elements[..5]), ziplist(&[]), ziplist(&elements[5..])]),
            Value::List(strings(elements)),
        ),
        old("hash of a zipmap", of_pieces(kind::HASH_ZIPMAP, &[zipmap(pairs)]), Value::Hash(strings(pairs))),
        old("hash of a ziplist", of_pieces(kind::HASH_ZIPLIST, &[ziplist(pairs)]), Value::Hash(strings(pairs))),
        old("hash", of_strings(kind::HASH, 3, pairs), Value::Hash(strings(pairs))),
        old("sorted set of a ziplist", of_pieces(kind::ZSET_ZIPLIST, &[ziplist(scored)]), sorted()),
        old("sorted set with texts", texts, sorted()),
        old("first version of a stream", stream(kind::STREAM_LISTPACKS), stream_value(kind::STREAM_LISTPACKS)),
        old("second version of a stream", stream(kind::STREAM_LISTPACKS_2), stream_value(kind::STREAM_LISTPACKS_2)),
        new("third version of a stream", stream(kind::STREAM_LISTPACKS_3), stream_value(kind::STREAM_LISTPACKS_3)),
        new(
            "set of a listpack",
            of_pieces(kind::SET_LISTPACK, &[listpack(&[b"a", b"1", b"b"])]),
            Value::Set(strings(&[b"a", b"1", b"b"])),
        ),
    ]
}
