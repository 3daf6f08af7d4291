//! Replies come in the order of the requests, and a request sees what those before it on the same connection have written, whatever
//! shards and cores they went to.
//!
//! Connections send random pipelines of commands on keys of their own, cut into random pieces, and compare every reply with a
//! model. One key is shared: what a connection has seen of its counter never goes back.

use std::collections::BTreeMap;
use std::env;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;
use std::time::{Duration, Instant};

use basalt_tests::{Client, Node, NodeOptions, Reply};
use rand::rngs::SmallRng;
use rand::{Rng, RngExt as _, SeedableRng as _};
use tempfile::TempDir;

use crate::model::Model;

const CONNECTIONS: u64 = 8;

/// The size of the test.
#[derive(Clone, Copy)]
struct Size {
    /// Commands of one connection.
    commands: usize,
    /// Keys of one connection.
    keys: u32,
    /// Length of a long value; one in four is.
    value_bytes: usize,
}

const SMALL: Size = Size { commands: 6_000, keys: 40, value_bytes: 200 };

fn compare(options: NodeOptions, size: Size) {
    let seed = env::var("ORDER_SEED").map_or_else(|_| rand::rng().next_u64(), |text| text.parse().expect("a number"));
    let node = options.start();
    let outcomes: Vec<Result<usize, String>> = thread::scope(|scope| {
        let run = |id| converse(&node, id, SmallRng::seed_from_u64(seed ^ id), size);
        let threads: Vec<_> = (0..CONNECTIONS).map(|id| scope.spawn(move || run(id))).collect();
        threads.into_iter().map(|thread| thread.join().unwrap_or_else(|_| Err("a client failed".into()))).collect()
    });
    let mut count = 0;
    for outcome in outcomes {
        count += outcome.unwrap_or_else(|reason| panic!("ORDER_SEED={seed}: {reason}"));
    }
    println!("{count} replies as expected, {options:?}, ORDER_SEED={seed}");
}

/// One connection, from its first to its last pipeline.
fn converse(node: &Node, id: u64, mut random: SmallRng, size: Size) -> Result<usize, String> {
    let mut client = node.client();
    let mut model = Model::new(format!("c{id}"), size.keys, size.value_bytes);
    // What was last seen of the shared counter, by database.
    let (mut done, mut seen) = (0, BTreeMap::new());
    while done < size.commands {
        let longest = [1, 10, 300][random.random_range(0..3)];
        let depth = random.random_range(1..=longest);
        let mut bytes = Vec::new();
        let mut expected = Vec::new();
        for _ in 0..depth {
            let (words, reply) = match random.random_range(0..20) {
                0 => (vec![b"INCR".to_vec(), b"shared".to_vec()], None),
                1 => (vec![b"GET".to_vec(), b"shared".to_vec()], None),
                _ => {
                    let (words, reply) = model.next(&mut random);
                    (words, Some(reply))
                }
            };
            Client::encode(&mut bytes, &words);
            expected.push((words, reply, model.db()));
        }
        send_in_pieces(&mut client, &bytes, &mut random);
        for (words, expected, db) in expected {
            let reply = client.read().map_err(|error| format!("no reply to {words:?}: {error}"))?;
            let right = match &expected {
                Some(expected) => reply == *expected,
                None => {
                    let now = if reply == Reply::Null { 0 } else { number(&reply) };
                    let before = seen.insert(db, now).unwrap_or(0);
                    now > before || (words[0] == b"GET" && now == before)
                }
            };
            if !right {
                let words: Vec<_> =
                    words.iter().map(|word| word[..word.len().min(60)].escape_ascii().to_string()).collect();
                return Err(format!(
                    "connection {id}, after {done}: {words:?} gave {reply:?}, not {expected:?} ({seen:?})"
                ));
            }
            done += 1;
        }
    }
    Ok(done)
}

fn number(reply: &Reply) -> i64 {
    match reply {
        Reply::Integer(number) => *number,
        other => other.text().parse().expect("a counter holds a number"),
    }
}

fn send_in_pieces(client: &mut Client, mut bytes: &[u8], random: &mut SmallRng) {
    while !bytes.is_empty() {
        let longest = [10, 1_000, 100_000][random.random_range(0..3)];
        let piece = random.random_range(1..=longest).min(bytes.len());
        client.send(&bytes[..piece]).expect("the node reads");
        bytes = &bytes[piece..];
    }
}

/// A node with its data in `temporary` and so many cores, however few processors there are. Cores that are counted are
/// not pinned anyway; that it is said allows more of them than processors.
fn options(temporary: &TempDir, cores: &str, shards: &str) -> NodeOptions {
    let options = NodeOptions::new(temporary.path().join("data"));
    options.set("--cores", cores).set("--pin", "no").set("--shards", shards)
}

fn compare_with(cores: &str, shards: &str) {
    let temporary = tempfile::tempdir().expect("a temporary directory");
    compare(options(&temporary, cores, shards), SMALL);
}

#[test]
fn replies_are_right_and_in_order_on_one_core() {
    compare_with("1", "1");
}

#[test]
fn replies_are_right_and_in_order_on_one_core_with_four_shards() {
    compare_with("1", "4");
}

#[test]
fn replies_are_right_and_in_order_on_two_cores() {
    compare_with("2", "2");
}

#[test]
fn replies_are_right_and_in_order_on_two_cores_with_four_shards() {
    compare_with("2", "4");
}

#[test]
fn replies_are_right_and_in_order_on_four_cores() {
    compare_with("4", "4");
}

#[test]
fn replies_are_right_and_in_order_while_reads_wait_for_the_disk() {
    let temporary = tempfile::tempdir().expect("a temporary directory");
    let options = NodeOptions::new(temporary.path().join("data"))
        .set("--shards", "2")
        // Small enough to be written out again and again. Smaller ones are full while a disk stands still, and writes are refused.
        .set("--memtable-bytes", "1mb")
        .set("--memory", "64mb");
    compare(options, Size { commands: 2_500, keys: 400, value_bytes: 20_000 });
}

/// Two keys in different shards of two.
const COUNTER: &str = "a";
const OTHER: &str = "b";

/// Counts up, many at a time, so that there is always a write of the counter that is not applied.
fn count_up(node: &Node, end: &AtomicBool) {
    let mut client = node.client();
    while !end.load(Ordering::Relaxed) {
        let replies = client.pipeline((0..20).map(|_| ["INCR", COUNTER]));
        assert!(replies.iter().all(|reply| number(reply) > 0));
    }
}

/// Reads the counter behind a write to another shard, which is answered before or after it, and again right away.
fn read_on(node: &Node, mut random: SmallRng, end: Instant) -> Result<usize, String> {
    let (mut client, mut seen, mut count) = (node.client(), 0, 0);
    let get = format!("GET {COUNTER}\r\n");
    while Instant::now() < end {
        let mut sent = 1;
        client.send(format!("SET {OTHER} value\r\n{get}")).expect("the node reads");
        while sent < 6 {
            let since = Instant::now();
            let pause = Duration::from_micros(random.random_range(0..400));
            while since.elapsed() < pause {
                std::hint::spin_loop();
            }
            client.send(&get).expect("the node reads");
            sent += 1;
        }
        assert_eq!(client.read().expect("the node answers"), Reply::ok());
        for place in 0..sent {
            let reply = client.read().expect("the node answers");
            let now = if reply == Reply::Null { 0 } else { number(&reply) };
            if now < seen {
                return Err(format!("read {place} behind the write saw {now} after {seen}"));
            }
            (seen, count) = (now, count + 1);
        }
    }
    Ok(count)
}

fn never_go_back(cores: &str) {
    let seed = env::var("ORDER_SEED").map_or_else(|_| rand::rng().next_u64(), |text| text.parse().expect("a number"));
    let temporary = tempfile::tempdir().expect("a temporary directory");
    let node = options(&temporary, cores, "2").start();
    let end = Instant::now() + Duration::from_secs(3);
    let stop = AtomicBool::new(false);
    let outcomes: Vec<_> = thread::scope(|scope| {
        let (node, stop) = (&node, &stop);
        (0..3).for_each(|_| drop(scope.spawn(move || count_up(node, stop))));
        let readers: Vec<_> =
            (0..6).map(|id| scope.spawn(move || read_on(node, SmallRng::seed_from_u64(seed ^ id), end))).collect();
        let outcomes =
            readers.into_iter().map(|reader| reader.join().unwrap_or_else(|_| Err("a client failed".into()))).collect();
        stop.store(true, Ordering::Relaxed);
        outcomes
    });
    let mut count = 0;
    for outcome in outcomes {
        count += outcome.unwrap_or_else(|reason| panic!("ORDER_SEED={seed}: {reason}"));
    }
    println!("{count} reads on {cores} cores, none of which went back in time");
}

#[test]
fn reads_never_go_back_in_time_on_one_core() {
    never_go_back("1");
}

#[test]
fn reads_never_go_back_in_time_on_two_cores() {
    never_go_back("2");
}

/// Two of them have no shard: all that their clients ask for is asked of others.
#[test]
fn reads_never_go_back_in_time_on_four_cores() {
    never_go_back("4");
}
