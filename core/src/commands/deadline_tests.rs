//! A deadline that is not after now deletes the key, whatever command sets it and whatever type the key is of.

use basalt_storage::{Counters, Rows};

use super::table;
use super::testing::Shard;

/// A key `k` of each type.
const KEYS: [&str; 6] = ["SET k v", "RPUSH k a b", "SADD k a b", "ZADD k 1 a 2 b", "HSET k f v g w", "XADD k 1-1 f v"];

/// Commands that set a deadline on a key of any type that has passed, or passes now, each with its reply.
const ON_ANY_TYPE: [(&str, &str); 14] = [
    ("SET k w PXAT 1", "+OK"),
    ("SET k w EXAT 1", "+OK"),
    ("SET k w PXAT 1700000000000", "+OK"),
    ("SET k w EXAT 1700000000", "+OK"),
    ("SET k w XX PXAT 1699999999999", "+OK"),
    ("EXPIRE k 0", ":1"),
    ("EXPIRE k -1", ":1"),
    ("EXPIRE k -1 NX", ":1"),
    ("PEXPIRE k 0", ":1"),
    ("PEXPIRE k -1 LT", ":1"),
    ("EXPIREAT k 1", ":1"),
    ("EXPIREAT k 1700000000", ":1"),
    ("PEXPIREAT k 1", ":1"),
    ("PEXPIREAT k 1700000000000", ":1"),
];

/// Commands that set one on a string.
const ON_STRINGS: [(&str, &str); 4] = [
    ("SET k w GET PXAT 1", "$1 v"),
    ("GETEX k PXAT 1", "$1 v"),
    ("GETEX k EXAT 1", "$1 v"),
    ("GETEX k PXAT 1700000000000", "$1 v"),
];

/// Commands that set one on a key that is not there.
const ON_NOTHING: [(&str, &str); 3] =
    [("SET k w PXAT 1", "+OK"), ("SET k w NX EXAT 1", "+OK"), ("SET k w GET NX PXAT 1", "$-1")];

/// Checks that nothing is left, not even to be swept.
fn assert_empty(shard: &mut Shard, what: &str) {
    assert_eq!(shard.line("EXISTS k other"), ":0", "{what}");
    assert_eq!(shard.line("DBSIZE"), ":0", "{what}");
    assert_eq!(*shard.rows.counters(), Counters::default(), "{what}");
    shard.now_ms += 1_000_000;
    assert_eq!(shard.step(table::DELETE_EXPIRED, &[b"100", b"0"]), ":0", "{what}");
}

#[test]
fn a_deadline_that_has_passed_deletes_the_key_whatever_sets_it() {
    let on_strings = ON_STRINGS.iter().map(|set| (Some(KEYS[0]), set));
    let on_any_type = KEYS.iter().flat_map(|key| ON_ANY_TYPE.iter().map(|set| (Some(*key), set)));
    let on_nothing = ON_NOTHING.iter().map(|set| (None, set));
    for (key, (line, expected)) in on_strings.chain(on_any_type).chain(on_nothing) {
        for has_deadline in [false, true] {
            let mut shard = Shard::new();
            if let Some(key) = key {
                shard.line(key);
            }
            if has_deadline && !line.ends_with("NX") {
                shard.line("EXPIRE k 100");
            }
            assert_eq!(shard.line(line), *expected, "{line} after {key:?}");
            assert_empty(&mut shard, &format!("{line} after {key:?}"));
        }
    }
}

#[test]
fn a_key_that_comes_from_another_shard_after_its_deadline_replaces_what_is_there_and_is_gone() {
    for key in KEYS {
        for over in ["", "SET k old", "RPUSH k old", "SET k old EX 100"] {
            let (mut here, mut there) = (Shard::new(), Shard::new());
            here.line(key);
            here.line("PEXPIRE k 10");
            let reply = here.step_bytes(table::STEP_READ, &[b"k"]);
            let start = reply.iter().position(|&byte| byte == b'\n').unwrap() + 1;
            let bytes = &reply[start..reply.len() - 2];
            if !over.is_empty() {
                there.line(over);
            }
            there.now_ms = here.now_ms + 11;
            assert_eq!(there.step(table::STEP_WRITE, &[b"k", bytes, b"replace"]), ":1", "{key} over {over}");
            assert_empty(&mut there, &format!("{key} over {over}"));
        }
    }
}

#[test]
fn a_key_that_is_renamed_or_copied_in_its_last_millisecond_leaves_nothing() {
    for key in KEYS {
        for (line, expected) in
            [("RENAME k other", "+OK"), ("RENAMENX k other", ":1"), ("COPY k other", ":1"), ("COPY k other DB 3", ":1")]
        {
            let mut shard = Shard::new();
            shard.line(key);
            shard.line("PEXPIRE k 10");
            shard.now_ms += 10;
            assert_eq!(shard.line(line), expected, "{line} after {key}");
            shard.now_ms += 1;
            shard.step(table::DELETE_EXPIRED, &[b"100", b"0"]);
            assert_empty(&mut shard, &format!("{line} after {key}"));
        }
    }
}

#[test]
fn a_key_in_its_last_millisecond_may_still_be_changed() {
    let mut shard = Shard::new();
    for line in ["SET s 5 PX 10", "RPUSH l a", "PEXPIRE l 10"] {
        shard.line(line);
    }
    shard.now_ms += 10;
    for (line, expected) in
        [("INCR s", ":6"), ("APPEND s 1", ":2"), ("GET s", "$2 61"), ("RPUSH l b", ":2"), ("LLEN l", ":2")]
    {
        assert_eq!(shard.line(line), expected, "{line}");
    }
    shard.now_ms += 1;
    assert_eq!(shard.line("EXISTS s l"), ":0");
}
