//! Values that redis-server makes, with the commands that make them, so that each encoding and each way to write a string is there.

use crate::value::{Consumer, Group, Pending, Stream, StreamId, Strings, Value};

/// A value, and how redis-server comes to it at the key `k`.
pub(super) struct Case {
    pub(super) name: &'static str,
    pub(super) commands: Vec<Vec<Vec<u8>>>,
    pub(super) value: Value,
    /// True if there is one way only to write it: neither its elements are in any order, nor what was deleted is seen.
    pub(super) is_determined: bool,
}

/// The words of a line, which spaces separate.
fn line(line: &str) -> Vec<Vec<u8>> {
    line.split(' ').map(|word| word.as_bytes().to_vec()).collect()
}

/// A command with `words` behind the line.
fn command<S: AsRef<[u8]>>(start: &str, words: impl IntoIterator<Item = S>) -> Vec<Vec<u8>> {
    line(start).into_iter().chain(words.into_iter().map(|word| word.as_ref().to_vec())).collect()
}

/// Bytes that do not repeat themselves.
pub(super) fn noise(length: usize) -> Vec<u8> {
    let mut seed = 7u64;
    let mut next = || {
        seed = seed.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        (seed >> 56) as u8
    };
    (0..length).map(|_| next()).collect()
}

fn of_string(name: &'static str, string: &[u8]) -> Case {
    let commands = vec![command("SET k", [string])];
    Case { name, commands, value: Value::String(string.to_vec()), is_determined: true }
}

fn of_list(name: &'static str, elements: &[Vec<u8>]) -> Case {
    // One by one: a node is full by what is in it, not by what comes.
    let commands = elements.chunks(100).map(|some| command("RPUSH k", some)).collect();
    Case { name, commands, value: Value::List(elements.iter().collect()), is_determined: true }
}

fn of_set(name: &'static str, members: &[Vec<u8>], is_determined: bool) -> Case {
    Case {
        name,
        commands: vec![command("SADD k", members)],
        value: Value::Set(members.iter().collect()),
        is_determined,
    }
}

fn of_hash(name: &'static str, pairs: &[Vec<u8>], is_determined: bool) -> Case {
    Case { name, commands: vec![command("HSET k", pairs)], value: Value::Hash(pairs.iter().collect()), is_determined }
}

fn of_sorted_set(name: &'static str, pairs: &[(&str, f64)]) -> Case {
    let words = pairs.iter().flat_map(|(member, score)| [score.to_string(), (*member).to_owned()]);
    let value =
        Value::SortedSet(pairs.iter().map(|(member, _)| *member).collect(), pairs.iter().map(|pair| pair.1).collect());
    Case { name, commands: vec![command("ZADD k", words)], value, is_determined: true }
}

fn id(ms: u64, sequence: u64) -> StreamId {
    StreamId { ms, sequence }
}

/// A stream of entries with the same or other fields.
fn of_entries(name: &'static str, entries: &[(StreamId, Vec<Vec<u8>>)]) -> Case {
    let mut stream = Stream::default();
    let mut commands = Vec::new();
    for (id, strings) in entries {
        commands.push(command(&format!("XADD k {}-{}", id.ms, id.sequence), strings));
        stream.entries.push((*id, strings.len()));
        strings.iter().for_each(|string| stream.strings.push(string));
    }
    stream.first = entries.first().map_or(id(0, 0), |entry| entry.0);
    stream.last = entries.last().map_or(id(0, 0), |entry| entry.0);
    stream.entries_added = entries.len() as u64;
    Case { name, commands, value: Value::Stream(stream), is_determined: true }
}

fn numbers(range: std::ops::Range<i64>) -> Vec<Vec<u8>> {
    range.map(|number| number.to_string().into_bytes()).collect()
}

fn texts(count: usize, length: usize) -> Vec<Vec<u8>> {
    (0..count).map(|index| format!("{index:0>length$}x").into_bytes()).collect()
}

/// A stream with two consumer groups, and entries that are gone.
fn with_groups() -> Case {
    let mut commands: Vec<_> = (1..=5).map(|ms| line(&format!("XADD k {ms}-1 f {ms}"))).collect();
    commands.extend(
        [
            "XGROUP CREATE k early 0",
            "XGROUP CREATE k late 4-1 ENTRIESREAD 4",
            "XGROUP CREATECONSUMER k late idle",
            "XCLAIM k early alice 0 1-1 3-1 TIME 1700000000000 RETRYCOUNT 3 FORCE JUSTID",
            "XCLAIM k early bob 0 2-1 TIME 1700000000001 RETRYCOUNT 70000 FORCE JUSTID",
            "XCLAIM k late idle 0 2-1 TIME 1700000000002 RETRYCOUNT 1 FORCE JUSTID LASTID 4-1",
            "XDEL k 3-1",
            "XADD k 9-9 other 1 more 2",
        ]
        .map(line),
    );
    let present = [(id(1, 1), "1"), (id(2, 1), "2"), (id(4, 1), "4"), (id(5, 1), "5")];
    let mut strings: Strings = present.iter().flat_map(|(_, value)| ["f", value]).collect();
    ["other", "1", "more", "2"].iter().for_each(|string| strings.push(string.as_bytes()));
    let consumer = |name: &str| Consumer { name: name.into(), seen_ms: 0 };
    let pending = |ms, delivered: u64, deliveries, consumer| Pending {
        id: id(ms, 1),
        delivered_ms: 1_700_000_000_000 + delivered,
        deliveries,
        consumer,
    };
    let early = Group {
        name: b"early".to_vec(),
        entries_read: None,
        pending: vec![pending(1, 0, 3, 0), pending(2, 1, 70_000, 1), pending(3, 0, 3, 0)],
        consumers: vec![consumer("alice"), consumer("bob")],
        ..Group::default()
    };
    let late = Group {
        name: b"late".to_vec(),
        last_delivered: id(4, 1),
        entries_read: Some(4),
        pending: vec![pending(2, 2, 1, 0)],
        consumers: vec![consumer("idle")],
    };
    let value = Value::Stream(Stream {
        entries: present.iter().map(|(id, _)| (*id, 2)).chain([(id(9, 9), 4)]).collect(),
        strings,
        last: id(9, 9),
        first: id(1, 1),
        greatest_deleted: id(3, 1),
        entries_added: 6,
        groups: vec![early, late],
    });
    // The entry that was deleted is still in its node.
    Case { name: "stream-with-groups", commands, value, is_determined: false }
}

/// All cases.
pub(super) fn cases() -> Vec<Case> {
    let words = |words: &[&str]| words.iter().map(|word| word.as_bytes().to_vec()).collect::<Vec<_>>();
    let pairs = |count: usize| -> Vec<Vec<u8>> {
        (0..count).flat_map(|index| [format!("field{index}"), index.to_string()]).map(String::into_bytes).collect()
    };
    let mut cases = vec![
        of_string("string-empty", b""),
        of_string("string-i8", b"-128"),
        of_string("string-i16", b"32767"),
        of_string("string-i32", b"-2147483648"),
        of_string("string-i64", b"9223372036854775807"),
        of_string("string-zeros", b"007"),
        of_string("string-short", b"twenty bytes of text"),
        of_string("string-no-repetition", &noise(100)),
        of_string("string-lzf", &b"abcabcabc, and so on, ".repeat(20)),
        of_string("string-lzf-one-byte", &[b'x'; 1000]),
        of_string("string-lzf-19", &[&noise(40)[..], &noise(40)[5..24]].concat()),
        of_string("string-long", &[noise(20_000), noise(10_000)].concat()),
        of_list("list-one", &words(&["a"])),
        of_list(
            "list-mixed",
            &words(&["a", "1", "-1", "127", "128", "4095", "-4096", "32768", "8388608", "-2147483649", "", "01"]),
        ),
        of_list("list-lengths", &[63, 64, 127, 128, 4095, 4096].map(noise)),
        of_list("list-nodes", &texts(2000, 30)),
        of_list("list-of-numbers", &numbers(-3000..3000)),
        of_list("list-large-elements", &[10, 8170, 8190, 10, 20_000, 10, 10].map(noise)),
        of_set("set-intset-16", &numbers(-5..5), true),
        of_set("set-intset-32", &words(&["-70000", "1", "70000"]), true),
        of_set("set-intset-64", &words(&["-9223372036854775808", "0", "9223372036854775807"]), true),
        of_set("set-intset-full", &numbers(0..512), true),
        of_set("set-one", &words(&["a"]), true),
        of_set("set-words", &words(&["a", "b", "1", "-70000", &"long ".repeat(20)]), false),
        of_set("set-of-numbers", &numbers(0..513), false),
        of_hash("hash-one", &words(&["field", "value"]), true),
        of_hash("hash-listpack", &pairs(512), true),
        of_hash("hash-large", &pairs(513), false),
        of_hash("hash-long-value", &[b"f".to_vec(), noise(65)], true),
        of_sorted_set(
            "zset-scores",
            &[
                ("min", f64::NEG_INFINITY),
                ("a", -1.5),
                ("b", 0.0),
                ("c", 0.1),
                ("d", 1.0),
                ("e", 1.0),
                ("f", 3e9),
                ("17", 1e17),
                ("20", 1e20),
                ("max", f64::INFINITY),
            ],
        ),
        of_sorted_set(
            "zset-small-scores",
            &[("a", 5e-324), ("b", 1e-7), ("c", 0.001), ("d", 4_611_686_018_427_387_904.0)],
        ),
        of_sorted_set("zset-long-member", &[("short", 1.25), (&"x".repeat(65), 2.5), ("z", f64::INFINITY)]),
        with_groups(),
    ];
    let many: Vec<String> = (0..129).map(|index| format!("m{index:03}")).collect();
    let scores: Vec<(&str, f64)> =
        many.iter().zip(0..).map(|(member, score)| (&**member, f64::from(score) / 8.0)).collect();
    cases.push(of_sorted_set("zset-skiplist", &scores));
    let entry = |index: u64| {
        (id(1000 + index / 3, index % 3 + 1), words(&["name", &format!("value{index}"), "n", &index.to_string()]))
    };
    cases.push(of_entries("stream-nodes", &(0..450).map(entry).collect::<Vec<_>>()));
    cases.push(of_entries(
        "stream-fields",
        &[
            (id(0, 1), words(&["a", "1"])),
            (id(0, 2), words(&["a", "2", "b", "3"])),
            (id(5, 0), words(&["b", "1"])),
            (id(u64::MAX, 0), words(&["a", &"long ".repeat(700)])),
            (id(u64::MAX, 7), vec![b"a".to_vec(), noise(600)]),
            (id(u64::MAX, u64::MAX), words(&["a", ""])),
        ],
    ));
    let empty = Stream {
        groups: vec![Group { name: b"g".to_vec(), entries_read: None, ..Group::default() }],
        ..Stream::default()
    };
    cases.push(Case {
        name: "stream-empty",
        commands: vec![line("XGROUP CREATE k g 0 MKSTREAM")],
        value: Value::Stream(empty),
        is_determined: true,
    });
    cases
}
