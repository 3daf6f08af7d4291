//! Reads of much more than memory holds: each row is read from disk about once, whatever is written meanwhile, and none is refused.

use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;

use basalt_tests::{Client, DEADLINE, Node, NodeOptions, Reply, eventually};

/// Bytes that LZ4 makes no smaller, others for each number.
fn noise(number: usize, bytes: usize) -> String {
    let mut state = number as u64 + 1;
    let mut letter = || {
        state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        char::from(b'!' + (state >> 58) as u8)
    };
    (0..bytes).map(|_| letter()).collect()
}

fn small_node(dir: &tempfile::TempDir) -> NodeOptions {
    NodeOptions::new(dir.path().join("data")).set("--shards", "1").set("--memory", "64mb")
}

fn cold_rows_read(client: &mut Client) -> u64 {
    let text = client.ask("INFO stats").text();
    let value = text.lines().find_map(|line| line.strip_prefix("cold_rows_read:"));
    value.and_then(|value| value.parse().ok()).unwrap_or_else(|| panic!("no rows in {text}"))
}

fn with_keys(command: &str, prefix: &str, count: usize) -> Vec<String> {
    [command.to_owned()].into_iter().chain((0..count).map(|number| format!("{prefix}:{number}"))).collect()
}

const LARGE_KEYS: usize = 1_000;
const LARGE_BYTES: usize = 100 << 10;
const SMALL_KEYS: usize = 5_000;
/// Several times what the caches hold, all together.
const SMALL_BYTES: usize = 6_000;
const FIELDS: usize = 20_000;
const FIELD_BYTES: usize = 1_500;

/// Fills a node and starts it anew, with nothing in memory.
fn filled_node(options: &NodeOptions) -> Node {
    let mut node = options.start();
    let mut client = node.client();
    let mut send = |commands: Vec<Vec<String>>| {
        let replies = client.try_pipeline_patiently(commands).expect("the node answers");
        assert!(replies.iter().all(|reply| !matches!(reply, Reply::Error(_))), "{replies:?}");
    };
    let set =
        |prefix: &str, number: usize, bytes| vec!["SET".into(), format!("{prefix}:{number}"), noise(number, bytes)];
    for first in (0..LARGE_KEYS).step_by(20) {
        send((first..first + 20).map(|number| set("large", number, LARGE_BYTES)).collect());
    }
    for first in (0..SMALL_KEYS).step_by(500) {
        send((first..first + 500).map(|number| set("small", number, SMALL_BYTES)).collect());
    }
    for first in (0..FIELDS).step_by(1_000) {
        let fields = (first..first + 1_000).flat_map(|number| [format!("field:{number}"), noise(number, FIELD_BYTES)]);
        send(vec![["HSET", "hash"].map(str::to_owned).into_iter().chain(fields).collect()]);
    }
    drop(client);
    node.stop_written();
    options.start()
}

/// Number of elements of a reply, or the number that it is.
fn size(reply: &Reply) -> usize {
    match reply {
        Reply::Array(elements) => elements.len(),
        Reply::Integer(number) => *number as usize,
        other => panic!("{other:?}"),
    }
}

#[test]
fn reads_of_much_that_is_on_disk_read_each_row_about_once_and_are_not_refused() {
    let dir = tempfile::tempdir().expect("a temporary directory");
    let node = filled_node(&small_node(&dir));
    let mut client = node.client();
    let of_hash = |command: &str| vec![command.to_owned(), "hash".to_owned()];
    for is_behind_a_write in [false, true] {
        for (words, rows, expected) in [
            (with_keys("EXISTS", "small", SMALL_KEYS), SMALL_KEYS, SMALL_KEYS),
            (with_keys("TOUCH", "small", SMALL_KEYS), SMALL_KEYS, SMALL_KEYS),
            (with_keys("EXISTS", "large", LARGE_KEYS), LARGE_KEYS, LARGE_KEYS),
            (with_keys("MGET", "large", LARGE_KEYS), LARGE_KEYS, LARGE_KEYS),
            (of_hash("HGETALL"), FIELDS, 2 * FIELDS),
            (of_hash("HKEYS"), FIELDS, FIELDS),
        ] {
            let before = cold_rows_read(&mut client);
            let name = words[0].clone();
            let reply = if is_behind_a_write {
                client.pipeline([vec!["SET".to_owned(), "other".into(), "value".into()], words]).remove(1)
            } else {
                client.call(words)
            };
            assert_eq!(size(&reply), expected, "{name}");
            if let ("MGET", Reply::Array(values)) = (name.as_str(), &reply) {
                let are_right = values.iter().enumerate();
                let mut are_right = are_right.map(|(number, value)| *value == Reply::bulk(noise(number, LARGE_BYTES)));
                assert!(are_right.all(|is_right| is_right), "another value");
            }
            // Another core may publish what was read, ten times a second.
            let read =
                eventually("the rows were read from disk", DEADLINE, || match cold_rows_read(&mut client) - before {
                    read if read >= rows as u64 => Ok(read),
                    read => Err(read),
                });
            println!("{name} of {rows} rows, behind a write: {is_behind_a_write}, read {read}");
            assert!(read <= 2 * rows as u64, "{name} read {read} rows to see {rows}");
        }
    }
}

const GENERATIONS: usize = 12;
const KEYS: usize = 300;
const VALUE_BYTES: usize = 8_000;
const FILLERS: usize = 100;
const FILLER_BYTES: usize = 150_000;

/// The generation that all values of a reply are of.
fn generation(reply: &Reply) -> usize {
    let Reply::Array(values) = reply else { panic!("{reply:?} is no array") };
    assert_eq!(values.len(), KEYS);
    let number = |value: &Reply| value.text().split(':').next().and_then(|number| number.parse::<usize>().ok());
    let first = number(&values[0]).expect("values begin with their generation");
    let other = values.iter().position(|value| number(value) != Some(first));
    assert_eq!(other, None, "the first value is of {first}, this one is not");
    first
}

#[test]
fn what_is_written_while_reads_wait_for_the_disk_tears_none_of_them() {
    let dir = tempfile::tempdir().expect("a temporary directory");
    let node = small_node(&dir).start();
    let mut client = node.client();
    let write = |client: &mut Client, number: usize| {
        let value = |of: usize| format!("{number}:{}", noise(number * KEYS + of, VALUE_BYTES));
        let mset = (0..KEYS).flat_map(|of| [format!("key:{of}"), value(of)]);
        let hset = (0..KEYS).flat_map(|of| [format!("field:{of}"), value(of)]);
        let commands = vec![
            ["MSET".to_owned()].into_iter().chain(mset).collect::<Vec<_>>(),
            ["HSET", "hash"].map(str::to_owned).into_iter().chain(hset).collect(),
        ];
        let replies = client.try_pipeline_patiently(commands).expect("the node answers");
        assert!(replies.iter().all(|reply| !matches!(reply, Reply::Error(_))), "{replies:?}");
    };
    write(&mut client, 0);
    let is_over = AtomicBool::new(false);
    let read_on = |commands: &dyn Fn() -> Vec<Vec<String>>| {
        let (mut client, mut count, mut last) = (node.client(), 0, 0);
        while !is_over.load(Ordering::Relaxed) {
            let replies = client.pipeline(commands());
            let now = generation(replies.last().expect("a reply"));
            assert!(now >= last, "{now} after {last}");
            (last, count) = (now, count + 1);
        }
        count
    };
    let set = || vec!["SET".to_owned(), "other".into(), "value".into()];
    let hvals = || vec!["HVALS".to_owned(), "hash".into()];
    let counts = thread::scope(|scope| {
        let readers = [
            scope.spawn(|| read_on(&|| vec![with_keys("MGET", "key", KEYS)])),
            scope.spawn(|| read_on(&|| vec![hvals()])),
            scope.spawn(|| read_on(&|| vec![set(), with_keys("MGET", "key", KEYS)])),
            scope.spawn(|| read_on(&|| vec![set(), hvals()])),
        ];
        for number in 1..=GENERATIONS {
            write(&mut client, number);
            // Two memtables of others drive them out of memory.
            let fillers = (0..FILLERS).map(|of| vec!["SET".into(), format!("filler:{of}"), noise(of, FILLER_BYTES)]);
            let replies = client.try_pipeline_patiently(fillers.collect::<Vec<_>>()).expect("the node answers");
            assert!(replies.iter().all(|reply| *reply == Reply::ok()), "{replies:?}");
        }
        is_over.store(true, Ordering::Relaxed);
        readers.map(|reader| reader.join().expect("no reply is torn"))
    });
    let read = eventually("reads met the disk", DEADLINE, || match cold_rows_read(&mut client) {
        read if read > 3 * KEYS as u64 => Ok(read),
        read => Err(read),
    });
    println!("{counts:?} reads, {read} rows from disk");
    assert!(counts.iter().all(|&count| count > 0), "{counts:?}");
}
