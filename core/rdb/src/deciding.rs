//! The constants that decide which payloads are written and read.

use crate::limits::{
    CONSUMER_BYTES, DEADLINE_BYTES, DEADLINE_MS_MAX, ENTRY_BYTES, GROUP_BYTES, INFLATED_PER_BYTE_MAX, INFLATED_SHARE,
    PENDING_BYTES, SCORE_BYTES, STRING_OVERHEAD, VERSION_NEWEST, VERSION_NEWEST_BEFORE,
};
use crate::value::{Stream, StreamId, Value};
use crate::write;

/// Constants, each with its name, that decide which payloads are read, and the checksums of some that are written: replicas that
/// had others would part.
pub fn deciding_constants() -> Vec<(&'static str, u64)> {
    let id = |ms| StreamId { ms, sequence: 1 };
    let stream = Stream {
        entries: vec![(id(1), 2), (id(2), 2)],
        strings: ["f", "v", "f", "w"].iter().collect(),
        last: id(2),
        first: id(1),
        entries_added: 2,
        ..Stream::default()
    };
    let with_deadlines = Value::HashWithDeadlines(["f", "v", "g", "w"].iter().collect(), vec![0, 1000]);
    let sorted_set = Value::SortedSet(["a", "b"].iter().collect(), vec![1.5, f64::INFINITY]);
    vec![
        ("bytes of a string of a payload", STRING_OVERHEAD as u64),
        ("bytes of a score of a payload", SCORE_BYTES as u64),
        ("bytes of an entry of a payload", ENTRY_BYTES as u64),
        ("bytes of a group of a payload", GROUP_BYTES as u64),
        ("bytes of a consumer of a payload", CONSUMER_BYTES as u64),
        ("bytes of a pending entry of a payload", PENDING_BYTES as u64),
        ("bytes that a compressed byte becomes", INFLATED_PER_BYTE_MAX as u64),
        ("times that pieces are as large as their collection", INFLATED_SHARE as u64),
        ("newest version of a payload", VERSION_NEWEST_BEFORE.into()),
        ("newest version of a payload that may have deadlines of fields", VERSION_NEWEST.into()),
        ("bytes of a deadline of a payload", DEADLINE_BYTES as u64),
        ("latest deadline of a payload", DEADLINE_MS_MAX),
        // It is compressed.
        ("payload of a string", checksum(&Value::String(vec![b'x'; 1000]))),
        ("payload of a list", checksum(&Value::List(["a", "1", &"l".repeat(300)].iter().collect()))),
        ("payload of a set", checksum(&Value::Set(["a"].iter().collect()))),
        ("payload of a hash", checksum(&Value::Hash(["field", "value"].iter().collect()))),
        ("payload of a hash with deadlines", checksum(&with_deadlines)),
        ("payload of a sorted set", checksum(&sorted_set)),
        ("payload of a stream", checksum(&Value::Stream(stream))),
    ]
}

/// The checksum of a value's payload, with which it ends.
fn checksum(value: &Value) -> u64 {
    u64::from_le_bytes(*write(value).last_chunk().expect("a payload ends with its checksum"))
}
