//! A node killed under load: everything it acknowledged is there afterwards, and nothing is half there.
//!
//! kill -9 keeps the page cache of the kernel: it is the crash of a process. `power_failure` is about the crash of a machine.

use std::sync::atomic::{AtomicUsize, Ordering};
use std::thread;
use std::time::Duration;

use basalt_tests::{Client, DEADLINE, NodeOptions, Reply, eventually};
use rand::rngs::SmallRng;
use rand::{RngExt as _, SeedableRng as _};

use crate::lane::Lane;
use crate::load::{Load, cycles};

/// Bytes of one value of [`fill`].
const FILLER_BYTES: usize = 10_000;

/// Writes values until the node is gone, and counts their bytes: the load's own are small and few beside a memtable, which would
/// never be frozen.
fn fill(mut client: Client, filled: &AtomicUsize) {
    let value = "v".repeat(FILLER_BYTES);
    for round in 0.. {
        let set = |number| ["SET".to_owned(), format!("filler:{}", (16 * round + number) % 1000), value.clone()];
        let Ok(replies) = client.try_pipeline((0..16).map(set)) else { return };
        let taken = replies.iter().filter(|reply| **reply == Reply::ok()).count();
        filled.fetch_add(taken * FILLER_BYTES, Ordering::Relaxed);
    }
}

/// Kills a node again and again, some of the time while it starts, and never before it has acknowledged `life_bytes` of large
/// values: what these are to fill is full then, however slow the disk is.
fn kill_again_and_again(name: &str, options: &NodeOptions, life_bytes: usize) {
    let cycles = cycles();
    let mut load = Load::new();
    let mut slowest_start = Duration::ZERO;
    for cycle in 0..cycles {
        if cycle % 4 == 3 {
            let mut early = options.launch();
            // A moment of its start, which is all that is wanted of it.
            thread::sleep(Duration::from_millis(load.random.random_range(1..400)));
            early.kill_9();
        }
        let mut node = options.start();
        slowest_start = slowest_start.max(node.start_time());
        load.check(&node);
        let commands = load.random.random_range(500..15_000);
        // Before the load: it may be over before a thread has started.
        let (filler, filled) = (node.client(), AtomicUsize::new(0));
        thread::scope(|scope| {
            scope.spawn(|| fill(filler, &filled));
            load.run(&node, commands, |node| {
                eventually("large values are taken", DEADLINE, || match filled.load(Ordering::Relaxed) {
                    bytes if bytes < life_bytes => Err(bytes),
                    _ => Ok(()),
                });
                node.kill();
            });
        });
        node.kill_9();
    }
    load.check(&options.start());
    println!("{name}: {cycles} kills, slowest start {} ms, {load}", slowest_start.as_millis());
}

#[test]
fn acknowledged_writes_survive_kill_9() {
    let temporary = tempfile::tempdir().expect("a temporary directory");
    let options = NodeOptions::new(temporary.path().join("data"));

    kill_again_and_again("killed", &options, 0);
}

#[test]
fn acknowledged_writes_survive_kill_9_while_generations_freeze_all_the_time() {
    let temporary = tempfile::tempdir().expect("a temporary directory");
    let options = NodeOptions::new(temporary.path().join("data")).set("--memtable-bytes", "256kb").set("--shards", "4");

    kill_again_and_again("killed, with small memtables", &options, 2 << 20);

    assert_generations_were_written(&options);
}

#[test]
fn acknowledged_writes_survive_kill_9_with_a_memtable_of_one_megabyte() {
    let temporary = tempfile::tempdir().expect("a temporary directory");
    let options = NodeOptions::new(temporary.path().join("data")).set("--memtable-bytes", "1mb").set("--shards", "1");

    kill_again_and_again("killed, with a memtable of 1 MB", &options, 2 << 20);

    assert_generations_were_written(&options);
}

/// That the lives before wrote rows out, in every shard.
fn assert_generations_were_written(options: &NodeOptions) {
    let node = options.start();
    // The figures are published a moment after the start.
    let written = eventually("generations were written", DEADLINE, || {
        let info = node.client().ask("INFO raft").text();
        let written = durable(&info);
        if written.is_empty() || written.contains(&0) { Err(info) } else { Ok(written) }
    });
    println!("rows are on disk up to the entries {written:?}");
}

/// Up to which entry the rows of each shard are on disk.
fn durable(info: &str) -> Vec<u64> {
    let fields = info.split(',').filter_map(|field| field.strip_prefix("durable_applied="));
    fields.map(|number| number.parse().unwrap_or_else(|_| panic!("no number in {info}"))).collect()
}

#[test]
fn a_write_lost_doubled_or_halved_is_noticed() {
    let temporary = tempfile::tempdir().expect("a temporary directory");
    let node = NodeOptions::new(temporary.path().join("data")).start();
    let mut client = node.client();
    let damages = [
        "INCR {t}:counter",
        "APPEND {t}:text 7;",
        "RPOP {t}:list",
        "SET {t}:a 0",
        "HSET {t}:hash 1 0",
        "DEL {t}:stream",
    ];
    for damage in damages {
        let mut random = SmallRng::seed_from_u64(1);
        let mut lane = Lane::new("t".to_owned());
        let mut bytes = Vec::new();
        (0..50).for_each(|_| lane.send(&mut random, &mut bytes));
        client.send(&bytes).expect("the node reads");
        for _ in 0..50 {
            lane.acknowledge(&client.read().expect("the node answers")).expect("the replies are right");
        }
        assert!(lane.check(&mut client).expect("the node answers").is_ok());

        client.call_patiently(damage.split(' '));

        assert!(lane.check(&mut client).expect("the node answers").is_err(), "{damage}");
        client.call_patiently(["FLUSHALL"]);
    }
}
