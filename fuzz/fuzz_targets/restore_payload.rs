//! A payload as RESTORE is given it: the input with the right end. A value that is read is written and read again, to the same.

#![no_main]

use basalt_rdb::{Bounds, Value, read, size, write};
use crc::{CRC_64_REDIS, Crc};
use libfuzzer_sys::fuzz_target;

const CHECKSUM: Crc<u64> = Crc::<u64>::new(&CRC_64_REDIS);

/// Small enough that what goes beyond it is seen.
const BOUNDS: Bounds = Bounds { string_bytes: 1 << 20, collection_bytes: 1 << 20 };

/// Large enough for whatever was written of such a value.
const TWICE: Bounds = Bounds { string_bytes: 1 << 21, collection_bytes: 1 << 23 };

fuzz_target!(|data: &[u8]| {
    size(data, BOUNDS.collection_bytes);
    let _ = read(data, BOUNDS);
    let mut payload = [data, &[10, 0]].concat();
    payload.extend_from_slice(&CHECKSUM.checksum(&payload).to_le_bytes());
    size(&payload, BOUNDS.collection_bytes);
    let Ok(value) = read(&payload, BOUNDS) else { return };
    let bytes = match &value {
        Value::String(string) => string.len(),
        Value::List(strings)
        | Value::Set(strings)
        | Value::Hash(strings)
        | Value::HashWithDeadlines(strings, _)
        | Value::SortedSet(strings, _) => {
            strings.byte_count() + 8 * strings.len()
        }
        Value::Stream(stream) => stream.strings.byte_count() + 8 * stream.strings.len(),
    };
    assert!(bytes <= 1 << 20, "no value is larger than the bounds");
    let again = read(&write(&value), TWICE).expect("what is written can be read");
    assert_eq!(normal(again), normal(value));
});

/// The value with its elements in an order of their own.
fn normal(value: Value) -> Value {
    let sorted = |strings: &basalt_rdb::Strings, parts: usize| {
        let strings: Vec<&[u8]> = strings.iter().collect();
        let mut groups: Vec<&[&[u8]]> = strings.chunks(parts).collect();
        groups.sort();
        groups.concat().into_iter().collect()
    };
    match value {
        Value::Set(members) => Value::Set(sorted(&members, 1)),
        Value::Hash(pairs) => Value::Hash(sorted(&pairs, 2)),
        Value::SortedSet(members, scores) => {
            let mut pairs: Vec<(&[u8], f64)> = members.iter().zip(scores).collect();
            pairs.sort_by(|one, other| one.0.cmp(other.0));
            Value::SortedSet(pairs.iter().map(|pair| pair.0).collect(), pairs.iter().map(|pair| pair.1).collect())
        }
        other => other,
    }
}
