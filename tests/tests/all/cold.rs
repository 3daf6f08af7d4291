//! Data that is on disk and not in memory: reader threads fetch it, and no core waits for the disk.

use std::thread;
use std::time::Duration;

use basalt_tests::{Client, DEADLINE, NodeOptions, Reply, eventually};

const KEYS: usize = 12_000;
const VALUE_BYTES: usize = 4_000;
const BATCH: usize = 20;

fn info(client: &mut Client, field: &str) -> u64 {
    let text = client.ask("INFO stats").text();
    let value = text.lines().find_map(|line| line.strip_prefix(field)?.strip_prefix(':'));
    value.and_then(|value| value.parse().ok()).unwrap_or_else(|| panic!("no number {field} in {text}"))
}

fn set_all(client: &mut Client, value: &str) {
    for first in (0..KEYS).step_by(BATCH) {
        let sets = (first..first + BATCH).map(|number| ["SET".into(), format!("key:{number}"), value.into()]);
        assert!(client.pipeline_patiently(sets).iter().all(|reply| *reply == Reply::ok()));
    }
}

/// A value that LZ4 makes no smaller.
fn noise(bytes: usize) -> String {
    let mut state = 1u64;
    let mut letter = || {
        state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        char::from(b'!' + (state >> 58) as u8)
    };
    (0..bytes).map(|_| letter()).collect()
}

const COLLECTIONS: usize = 200;
const ELEMENTS: usize = 100;

/// Fills a list, a set, a hash, a sorted set and a stream of each number with elements of half a kilobyte.
fn fill_collections(client: &mut Client) {
    let noise = noise(400 + ELEMENTS);
    let element = |number: usize| format!("{number}:{}", &noise[number..number + 400]);
    let with = |words: &[&str], per_element: &dyn Fn(usize) -> Vec<String>| {
        let words = words.iter().map(|word| word.to_string());
        words.chain((0..ELEMENTS).flat_map(per_element)).collect::<Vec<String>>()
    };
    for number in 0..COLLECTIONS {
        let [list, set, hash, sorted] = ["list", "set", "hash", "zset"].map(|kind| format!("{kind}:{number}"));
        let mut commands = vec![
            with(&["RPUSH", &list], &|number| vec![element(number)]),
            with(&["RPUSH", &format!("list:moved:{number}")], &|number| vec![element(number)]),
            with(&["SADD", &set], &|number| vec![element(number)]),
            with(&["HSET", &hash], &|number| vec![number.to_string(), element(number)]),
            with(&["ZADD", &sorted], &|number| vec![number.to_string(), element(number)]),
        ];
        commands.extend((1..=ELEMENTS).map(|id| {
            let [stream, id] = [format!("stream:{number}"), format!("{id}-1")];
            vec!["XADD".into(), stream, id, "field".into(), element(0)]
        }));
        // A disk that stands still for some seconds has some of them refused, and they depend on each other's order.
        let keys: Vec<String> = commands.iter().map(|command| command[1].clone()).collect();
        eventually("a collection of each kind is taken", DEADLINE, || {
            let replies = client.pipeline(&commands);
            if !replies.iter().any(|reply| reply.is_error("BUSY ")) {
                assert!(replies.iter().all(|reply| !matches!(reply, Reply::Error(_))), "{replies:?}");
                return Ok(());
            }
            Err(client.call_patiently(["DEL".to_owned()].iter().chain(&keys)))
        });
    }
}

/// Has a command of words executed, also where the disk stands still meanwhile.
fn ask(client: &mut Client, command: &str) -> Reply {
    client.call_patiently(command.split(' '))
}

/// Number of elements of a reply.
fn length(reply: &Reply) -> usize {
    match reply {
        Reply::Array(elements) => elements.len(),
        other => panic!("{other:?} is no array"),
    }
}

#[test]
fn writes_that_take_what_they_find_in_collections_on_disk_hold_up_no_core() {
    let dir = tempfile::tempdir().expect("a temporary directory");
    let options = NodeOptions::new(dir.path().join("data")).set("--shards", "1").set("--memory", "64mb");
    let mut node = options.start();
    fill_collections(&mut node.client());
    node.stop_written();

    let node = options.start();
    let mut client = node.client();
    for number in 0..COLLECTIONS {
        let [list, set, hash, sorted, stream] =
            ["list", "set", "hash", "zset", "stream"].map(|kind| format!("{kind}:{number}"));
        for (command, taken) in [
            (format!("SPOP {set} 20"), 20),
            (format!("ZPOPMIN {sorted} 5"), 10),
            (format!("ZPOPMAX {sorted}"), 2),
            (format!("LPOP {list} 10"), 10),
        ] {
            assert_eq!(length(&ask(&mut client, &command)), taken, "{command}");
        }
        for (command, expected) in [
            (format!("SREM {set} none"), Reply::Integer(0)),
            (format!("HDEL {hash} 5 50 95 none"), Reply::Integer(3)),
            (format!("XDEL {stream} 35-1 70-1 200-1"), Reply::Integer(2)),
            (format!("XTRIM {stream} MAXLEN 50"), Reply::Integer(48)),
            (format!("LSET {list} 30 new"), Reply::ok()),
            (format!("LTRIM {list} 20 -20"), Reply::ok()),
            (format!("COPY {sorted} copy:{number}"), Reply::Integer(1)),
            (format!("MOVE list:moved:{number} 1"), Reply::Integer(1)),
            (format!("RENAME {hash} renamed:{number}"), Reply::ok()),
        ] {
            assert_eq!(ask(&mut client, &command), expected, "{command}");
        }
        assert!(matches!(ask(&mut client, &format!("SPOP {set}")), Reply::Bulk(_)));
        for key in [&list, &set, &sorted, &stream] {
            assert!(matches!(client.ask(&format!("DUMP {key}")), Reply::Bulk(_)), "{key}");
        }
        // Reads behind a write of the same connection run when its entry is applied.
        let behind = client.pipeline([
            vec!["SET".to_owned(), "key".to_owned(), "value".to_owned()],
            vec!["LRANGE".to_owned(), list, "0".to_owned(), "-1".to_owned()],
            vec!["SMEMBERS".to_owned(), set],
            vec!["HGETALL".to_owned(), format!("renamed:{number}")],
            vec!["ZRANGE".to_owned(), format!("copy:{number}"), "0".to_owned(), "-1".to_owned()],
            vec!["XRANGE".to_owned(), stream, "-".to_owned(), "+".to_owned()],
        ]);
        assert_eq!(behind[1..].iter().map(length).collect::<Vec<_>>(), [51, 79, 194, 94, 50]);
    }
    let cold_reads = info(&mut client, "cold_reads");
    assert!(cold_reads > 5 * COLLECTIONS as u64, "{cold_reads}: the rows are in memory, this shows nothing");
    // Figures are published ten times a second.
    thread::sleep(Duration::from_secs(1));
    let disk_waits = info(&mut client, "disk_waits");
    println!("{cold_reads} cold reads, {disk_waits} of the core itself");
    assert_eq!(disk_waits, 0, "times that the core waited for the disk");
}

#[test]
fn writes_to_keys_on_disk_and_long_reads_of_them_hold_up_no_core() {
    let dir = tempfile::tempdir().expect("a temporary directory");
    let options = NodeOptions::new(dir.path().join("data")).set("--shards", "1").set("--memory", "64mb");
    let mut node = options.start();
    let (mut client, value) = (node.client(), noise(VALUE_BYTES));
    set_all(&mut client, &value);
    // More than a reader thread fetches for a scan at once.
    let element = noise(1_000);
    for _ in 0..60 {
        let push = [vec!["RPUSH", "list"], vec![element.as_str(); 100]].concat();
        assert!(matches!(client.call_patiently(push), Reply::Integer(_)));
    }
    node.stop_written();

    let node = options.start();
    let mut client = node.client();
    let Reply::Array(elements) = client.ask("LRANGE list 0 -1") else { panic!("LRANGE gives an array") };
    assert!(elements.len() == 6_000 && elements.iter().all(|found| *found == Reply::bulk(&element)));
    for first in (0..KEYS).step_by(BATCH) {
        // 7919 is a prime: neighbours in time are none on disk.
        let keys = (first..first + BATCH).map(|number| format!("key:{}", number * 7919 % KEYS));
        let appends = keys.map(|key| ["APPEND".into(), key, "!".to_string()]);
        let lengths = client.pipeline_patiently(appends);
        assert!(lengths.iter().all(|reply| *reply == Reply::Integer(VALUE_BYTES as i64 + 1)), "{lengths:?}");
    }
    let cold_reads = info(&mut client, "cold_reads");
    thread::sleep(Duration::from_secs(1));
    let disk_waits = info(&mut client, "disk_waits");
    println!("{cold_reads} cold reads, {disk_waits} of the core itself");
    // Of those that a client sends at once the first waits, and the others behind it.
    let batches = (KEYS / BATCH) as u64;
    assert!(cold_reads > batches / 2, "{cold_reads}: the rows are in memory, this shows nothing");
    assert_eq!(disk_waits, 0, "times that the core waited for the disk");
}

/// Elements of each of the collections that are popped from, a kilobyte each.
const POPPED_FROM: usize = 10_000;
const POPS: usize = 100;

#[test]
fn elements_on_disk_that_only_earlier_pops_uncover_and_replies_larger_than_the_caches_hold_up_no_core() {
    let dir = tempfile::tempdir().expect("a temporary directory");
    let options = NodeOptions::new(dir.path().join("data")).set("--shards", "1").set("--memory", "64mb");
    let mut node = options.start();
    let (mut client, noise) = (node.client(), noise(POPPED_FROM + 1000));
    let element = |number: usize| format!("{number:06}{}", &noise[number..number + 1000]);
    for first in (0..POPPED_FROM).step_by(POPS) {
        let numbers = || first..first + POPS;
        let with = |command: &str, key: &str, words: &mut dyn Iterator<Item = String>| {
            [command, key].map(str::to_owned).into_iter().chain(words).collect::<Vec<String>>()
        };
        let replies = client.pipeline_patiently([
            with("RPUSH", "list", &mut numbers().map(element)),
            with("ZADD", "sorted", &mut numbers().flat_map(|number| [number.to_string(), element(number)])),
            with("HSET", "hash", &mut numbers().flat_map(|number| [number.to_string(), element(number)])),
        ]);
        assert!(replies.iter().all(|reply| matches!(reply, Reply::Integer(_))), "{replies:?}");
    }
    node.stop_written();

    let mut node = options.start();
    let mut client = node.client();
    for first in (0..POPPED_FROM / 2).step_by(POPS) {
        let pops = (0..POPS).flat_map(|_| [["LPOP", "list"], ["ZPOPMIN", "sorted"]]);
        for (number, replies) in (first..).zip(client.pipeline(pops).chunks(2)) {
            let member = [Reply::bulk(element(number)), Reply::bulk(number.to_string())];
            assert_eq!(replies, [Reply::bulk(element(number)), Reply::Array(member.into())]);
        }
    }
    let behind = client.pipeline([vec!["SET", "key", "value"], vec!["HVALS", "hash"]]);
    for reply in [client.ask("HVALS hash"), behind[1].clone()] {
        let Reply::Array(mut values) = reply else { panic!("{reply:?} is no array") };
        values.sort_by_key(|value| format!("{value:?}"));
        assert!(values == (0..POPPED_FROM).map(|number| Reply::bulk(element(number))).collect::<Vec<_>>());
    }
    let entry_waits = eventually("pops uncover what is on disk", DEADLINE, || match info(&mut client, "entry_waits") {
        0 => Err(()),
        waits => Ok(waits),
    });
    let disk_waits = info(&mut client, "disk_waits");
    println!("{entry_waits} waits of entries, {disk_waits} of the core itself");
    assert_eq!(disk_waits, 0, "times that the core waited for the disk");
    node.stop_written();
}

/// Keys that one DEL names, and how many rows may be looked for on behalf of each.
const NAMED: usize = 300_000;
const LOOK_UPS_EACH: u64 = 20;

#[test]
fn a_write_that_names_very_many_keys_on_disk_looks_for_each_a_few_times() {
    let dir = tempfile::tempdir().expect("a temporary directory");
    let options = NodeOptions::new(dir.path().join("data")).set("--shards", "1").set("--memory", "64mb");
    let mut node = options.start();
    let (mut client, noise) = (node.client(), noise(NAMED + 20));
    for first in (0..NAMED).step_by(NAMED / 10) {
        let value = |number: usize| noise[number..number + 20].to_owned();
        let pairs = (first..first + NAMED / 10).flat_map(|number| [format!("key:{number}"), value(number)]);
        assert_eq!(client.call_patiently(["MSET".to_owned()].into_iter().chain(pairs)), Reply::ok());
    }
    node.stop_written();

    let mut node = options.start();
    let mut client = node.client();
    let keys = (0..NAMED).map(|number| format!("key:{number}"));
    let del = ["DEL".to_owned()].into_iter().chain(keys);
    let deleted = client.try_pipeline_patiently([del]).expect("the node answers");
    assert_eq!(deleted, [Reply::Integer(NAMED as i64)]);
    assert_eq!(client.ask("DBSIZE"), Reply::Integer(0));
    assert!(info(&mut client, "cold_reads") > 0, "the rows are in memory, this shows nothing");
    // Figures are published ten times a second.
    let look_ups = eventually("the look-ups are published", DEADLINE, || {
        let text = client.ask("INFO shards").text();
        let count = |name: &str| {
            let (_, rest) = text.split_once(name).unwrap_or_else(|| panic!("no {name} in {text}"));
            rest.split([',', '\r']).next().and_then(|count| count.parse::<u64>().ok()).expect("a number")
        };
        match count("row_cache_hits=") + count("row_cache_misses=") {
            look_ups if look_ups >= NAMED as u64 => Ok(look_ups),
            look_ups => Err(look_ups),
        }
    });
    println!("{look_ups} look-ups for {NAMED} names, {} waits of the core itself", info(&mut client, "disk_waits"));
    assert!(look_ups <= LOOK_UPS_EACH * NAMED as u64, "{look_ups} look-ups for {NAMED} names");
    node.stop_written();
}
