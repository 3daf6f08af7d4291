//! Payloads that redis-server wrote, payloads that it reads, and damaged ones.

mod cases;
mod old;

use std::collections::BTreeMap;

use basalt_tests::{Client, RedisServer, Reply};
use proptest::prelude::*;

use crate::footer::seal;
use crate::limits::VERSION_WRITTEN;
use crate::value::Value;
use crate::{Bounds, Error, read, size, write};

const BOUNDS: Bounds = Bounds { string_bytes: 1 << 20, collection_bytes: 1 << 20 };

/// Bytes of a payload that is recorded. Longer ones are compared with those of the server that is there.
const RECORDED_BYTES_MAX: usize = 1200;

/// DUMP of the cases as redis-server 7.0.15 replies it, a name and hexadecimal digits a line. Written by
/// `RECORD_PAYLOADS=core/rdb/src/tests/payloads.txt cargo test --release -p basalt-rdb payloads_are_recorded -- --ignored`.
const PAYLOADS: &str = include_str!("payloads.txt");

fn recorded() -> BTreeMap<&'static str, Vec<u8>> {
    let payload = |digits: &str| {
        let byte = |at| u8::from_str_radix(&digits[at..at + 2], 16).expect("hexadecimal digits");
        (0..digits.len()).step_by(2).map(byte).collect()
    };
    PAYLOADS.lines().filter_map(|line| line.split_once(' ')).map(|(name, digits)| (name, payload(digits))).collect()
}

/// The value in an order of its own, and without the times that redis-server takes from its clock.
fn normal(value: &Value) -> Value {
    let sorted = |strings: &crate::Strings, parts: usize| {
        let strings: Vec<&[u8]> = strings.iter().collect();
        let mut groups: Vec<&[&[u8]]> = strings.chunks(parts).collect();
        groups.sort();
        groups.concat().into_iter().collect()
    };
    match value {
        Value::Set(members) => Value::Set(sorted(members, 1)),
        Value::Hash(pairs) => Value::Hash(sorted(pairs, 2)),
        Value::SortedSet(members, scores) => {
            let mut pairs: Vec<(f64, &[u8])> = scores.iter().copied().zip(members.iter()).collect();
            pairs.sort_by(|one, other| one.partial_cmp(other).expect("a score is a number"));
            Value::SortedSet(pairs.iter().map(|pair| pair.1).collect(), pairs.iter().map(|pair| pair.0).collect())
        }
        Value::Stream(stream) => {
            let mut stream = stream.clone();
            stream.groups.sort_by(|one, other| one.name.cmp(&other.name));
            stream.groups.iter_mut().flat_map(|group| &mut group.consumers).for_each(|consumer| consumer.seen_ms = 0);
            Value::Stream(stream)
        }
        other => other.clone(),
    }
}

fn dump(redis: &mut Client, key: &str) -> Vec<u8> {
    match redis.call(["DUMP", key]) {
        Reply::Bulk(payload) => payload,
        other => panic!("{other:?}"),
    }
}

fn restore(redis: &mut Client, payload: &[u8]) -> Reply {
    redis.call([b"RESTORE", &b"r"[..], b"0", payload, b"REPLACE"])
}

fn made_by_redis(redis: &mut Client, case: &cases::Case) -> Vec<u8> {
    redis.ask("FLUSHALL");
    for command in &case.commands {
        let reply = redis.call(command);
        assert!(!matches!(reply, Reply::Error(_)), "{}: {reply:?}", case.name);
    }
    dump(redis, "k")
}

#[test]
#[ignore = "records payloads: RECORD_PAYLOADS=FILE cargo test -p basalt-rdb payloads_are_recorded -- --ignored"]
fn payloads_are_recorded() {
    let server = RedisServer::start();
    let mut redis = Client::connect(server.address()).unwrap();
    let mut lines = String::new();
    for case in cases::cases() {
        let payload = made_by_redis(&mut redis, &case);
        if payload.len() > RECORDED_BYTES_MAX {
            continue;
        }
        let digits: String = payload.iter().map(|byte| format!("{byte:02x}")).collect();
        lines.push_str(&format!("{} {digits}\n", case.name));
    }
    std::fs::write(std::env::var("RECORD_PAYLOADS").expect("RECORD_PAYLOADS names the file"), lines).unwrap();
}

#[test]
fn what_redis_wrote_is_read_and_written_as_it_was() {
    let server = RedisServer::start();
    let mut redis = Client::connect(server.address()).unwrap();
    let recorded = recorded();
    assert!(recorded.len() > 25, "only {} payloads are recorded", recorded.len());
    for case in cases::cases() {
        let made = || made_by_redis(&mut redis, &case);
        let payload = &recorded.get(case.name).cloned().unwrap_or_else(made);
        let value = read(payload, BOUNDS).unwrap_or_else(|error| panic!("{}: {error}", case.name));
        assert_eq!(normal(&value), normal(&case.value), "{}", case.name);
        // Sorted sets come with the highest score first, or with the lowest.
        let value = if matches!(value, Value::SortedSet(..)) { normal(&value) } else { value };
        let written = write(&value);
        if case.is_determined {
            let at = written.iter().zip(payload).position(|(one, other)| one != other).unwrap_or(written.len());
            let [here, there] = [&written, payload].map(|bytes| bytes[at..].escape_ascii().to_string());
            assert_eq!(here, there, "{} from {at} on", case.name);
        }
        assert_eq!(read(&written, BOUNDS).as_ref().map(normal), Ok(normal(&value)), "{}", case.name);
    }
}

#[test]
fn redis_reads_what_is_written_and_the_reverse() {
    let server = RedisServer::start();
    let mut redis = Client::connect(server.address()).unwrap();
    for case in cases::cases() {
        let payload = made_by_redis(&mut redis, &case);
        let value = read(&payload, BOUNDS).unwrap();
        assert_eq!(normal(&value), normal(&case.value), "{}", case.name);
        assert_eq!(restore(&mut redis, &write(&value)), Reply::ok(), "{}", case.name);
        let restored = read(&dump(&mut redis, "r"), BOUNDS).unwrap();
        assert_eq!(normal(&restored), normal(&value), "{}", case.name);
    }
}

#[test]
fn encodings_of_other_versions_are_read_as_redis_reads_them() {
    let server = RedisServer::start();
    let mut redis = Client::connect(server.address()).unwrap();
    redis.ask("CONFIG SET sanitize-dump-payload yes");
    for old in old::payloads() {
        let value = read(&old.payload, BOUNDS).unwrap_or_else(|error| panic!("{}: {error}", old.name));
        assert_eq!(value, old.value, "{}", old.name);
        if old.is_of_7_0 {
            assert_eq!(restore(&mut redis, &old.payload), Reply::ok(), "{}", old.name);
            let restored = read(&dump(&mut redis, "r"), BOUNDS).unwrap();
            assert_eq!(normal(&restored), normal(&old.value), "{}", old.name);
        }
    }
}

/// All payloads that there are, without their ends.
fn values() -> Vec<(String, Vec<u8>)> {
    let recorded = recorded().into_iter().map(|(name, payload)| (name.to_owned(), payload));
    let old = old::payloads().into_iter().map(|old| (old.name.to_owned(), old.payload));
    recorded.chain(old).map(|(name, payload)| (name, payload[..payload.len() - 10].to_vec())).collect()
}

/// Reads a payload and writes what it is, if it is something: that is the same again.
fn check(name: &str, payload: &[u8]) -> bool {
    size(payload, BOUNDS.collection_bytes);
    match read(payload, BOUNDS) {
        Ok(value) => {
            let again = read(&write(&value), BOUNDS);
            // What has just fitted may be written a little larger.
            let is_same = again == Err(Error::TooLarge) || again.as_ref().map(normal) == Ok(normal(&value));
            assert!(is_same, "{name}: {value:?} became {again:?}");
            true
        }
        Err(Error::Malformed | Error::TooLarge) => false,
        Err(other) => panic!("{name}: {other}"),
    }
}

#[test]
fn damaged_payloads_are_refused_or_read() {
    for (name, value) in values() {
        assert!(check(&name, &seal(value.clone(), VERSION_WRITTEN)), "{name}");
        let step = value.len().div_ceil(400);
        let (mut refused, mut tried) = (0, 0);
        for at in (0..value.len()).step_by(step) {
            for byte in [value[at] ^ 1, value[at] ^ 0x80, value[at].wrapping_add(1), 0, 0x7F, 0x81, 0xFE, 0xFF] {
                let mut damaged = value.clone();
                damaged[at] = byte;
                refused += usize::from(!check(&name, &seal(damaged, VERSION_WRITTEN)));
                tried += 1;
            }
            refused += usize::from(!check(&name, &seal(value[..at].to_vec(), VERSION_WRITTEN)));
            tried += 1;
        }
        assert!(refused * 20 > tried, "{name}: {refused} of {tried} were refused");
    }
}

#[test]
fn a_byte_that_has_changed_on_its_way_is_seen() {
    for (name, payload) in recorded() {
        for at in (0..payload.len()).step_by(payload.len().div_ceil(500)) {
            let mut damaged = payload.clone();
            damaged[at] ^= 0x10;
            assert_eq!(read(&damaged, BOUNDS), Err(Error::Footer), "{name} at {at}");
        }
    }
}

#[test]
fn what_redis_takes_of_damaged_payloads_is_the_same_here() {
    let server = RedisServer::start();
    let mut redis = Client::connect(server.address()).unwrap();
    redis.ask("CONFIG SET sanitize-dump-payload yes");
    let mut taken_by_both = 0;
    for (name, value) in values() {
        for at in (0..value.len()).step_by(value.len().div_ceil(150)) {
            for byte in [value[at] ^ 1, value[at].wrapping_sub(1), 0xFF] {
                let mut damaged = value.clone();
                damaged[at] = byte;
                let payload = seal(damaged, VERSION_WRITTEN);
                let Ok(here) = read(&payload, BOUNDS) else { continue };
                if restore(&mut redis, &payload) != Reply::ok() {
                    continue;
                }
                let there = read(&dump(&mut redis, "r"), BOUNDS).unwrap();
                assert_eq!(normal(&there), normal(&here), "{name} at {at}: {byte}");
                taken_by_both += 1;
            }
        }
    }
    assert!(taken_by_both > 100, "only {taken_by_both} were taken by both");
}

#[test]
fn what_is_larger_than_the_bounds_is_refused_before_it_takes_memory() {
    let bounds = Bounds { string_bytes: 100, collection_bytes: 100 };
    let long = write(&Value::String(vec![b'x'; 101]));
    assert_eq!(read(&long, bounds), Err(Error::TooLarge));
    let list = write(&Value::List((0..12).map(|_| b"x").collect()));
    assert_eq!(read(&list, bounds), Err(Error::TooLarge));
    assert!(read(&write(&Value::List((0..11).map(|_| b"x").collect())), bounds).is_ok());
    // A string, a list and a stream that say how large they are, and are not.
    for bytes in [
        &b"\0\x81\x7f\xff\xff\xff\xff\xff\xff\xff"[..],
        b"\0\xc3\x05\x80\xff\xff\xff\xffabcde",
        b"\x01\x81\x7f\xff\xff\xff\xff\xff\xff\xff",
        b"\x12\x80\xff\xff\xff\xff\x02",
        b"\x13\x80\xff\xff\xff\xff",
        b"\x05\x80\xff\xff\xff\xff\x01a",
    ] {
        assert_eq!(
            read(&seal(bytes.to_vec(), VERSION_WRITTEN), BOUNDS),
            Err(Error::Malformed),
            "{}",
            bytes.escape_ascii()
        );
    }
}

#[test]
fn the_size_of_what_is_compressed_is_told_before_it_is_read() {
    for case in cases::cases() {
        let payload = write(&case.value);
        let total = size(&payload, BOUNDS.collection_bytes).inflated_bytes;
        let bytes = match &case.value {
            Value::String(string) if string.len() > 1000 => string.len(),
            Value::List(elements) if case.name == "list-nodes" => elements.byte_count(),
            _ => continue,
        };
        assert!(total + payload.len() > bytes, "{}: {total}", case.name);
    }
    let of_string = size(&write(&Value::String(vec![b'x'; 5000])), BOUNDS.collection_bytes);
    assert_eq!(of_string, crate::Size { inflated_bytes: 5000, ..crate::Size::default() });
    assert_eq!(size(b"", BOUNDS.collection_bytes), crate::Size::default());
}

proptest! {
    #[test]
    fn any_value_is_read_as_it_was_written(
        strings in proptest::collection::btree_set(proptest::collection::vec(any::<u8>(), 0..80), 2..60),
        seed in any::<u64>(),
    ) {
        let strings: crate::Strings = strings.iter().take(strings.len() / 2 * 2).collect();
        let scores = (0..strings.len()).map(|index| (seed as i64) as f64 / (index as f64 + 1.5)).collect();
        for value in [
            Value::List(strings.clone()),
            Value::Set(strings.clone()),
            Value::Hash(strings.clone()),
            Value::SortedSet(strings.clone(), scores),
            Value::String(strings.iter().collect::<Vec<_>>().concat()),
        ] {
            let again = read(&write(&value), BOUNDS);
            prop_assert_eq!(again.as_ref().map(normal), Ok(normal(&value)));
        }
    }

    #[test]
    fn any_bytes_are_a_value_or_refused(bytes in proptest::collection::vec(any::<u8>(), 0..200), encoding in 0..22u8) {
        check("any bytes", &seal([&[encoding], &bytes[..]].concat(), VERSION_WRITTEN));
    }
}
