//! A node killed under load: everything it acknowledged is there afterwards, and nothing is half there.
//!
//! kill -9 keeps the page cache of the kernel: it is the crash of a process. `power_failure` is about the crash of a machine.

use std::thread;
use std::time::Duration;

use basalt_tests::{Client, DEADLINE, Node, NodeOptions, eventually};
use rand::rngs::SmallRng;
use rand::{RngExt as _, SeedableRng as _};

use crate::lane::Lane;
use crate::load::{Load, cycles};

/// Writes values until the node is gone: the load's own are small and few beside a memtable, which would never be frozen.
fn fill(mut client: Client) {
    let value = "v".repeat(10_000);
    for number in 0.. {
        if client.try_call(["SET", &format!("filler:{}", number % 1000), &value]).is_err() {
            return;
        }
    }
}

/// Kills a node again and again, some of the time while it starts.
fn kill_again_and_again(name: &str, options: &NodeOptions) {
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
        let filler = node.client();
        thread::scope(|scope| {
            scope.spawn(|| fill(filler));
            load.run(&node, commands, Node::kill);
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

    kill_again_and_again("killed", &options);
}

#[test]
fn acknowledged_writes_survive_kill_9_while_generations_freeze_all_the_time() {
    let temporary = tempfile::tempdir().expect("a temporary directory");
    let options = NodeOptions::new(temporary.path().join("data")).set("--memtable-bytes", "256kb").set("--shards", "4");

    kill_again_and_again("killed, with small memtables", &options);
}

#[test]
fn acknowledged_writes_survive_kill_9_with_a_memtable_of_one_megabyte() {
    let temporary = tempfile::tempdir().expect("a temporary directory");
    let options = NodeOptions::new(temporary.path().join("data")).set("--memtable-bytes", "1mb").set("--shards", "1");

    kill_again_and_again("killed, with a memtable of 1 MB", &options);

    let node = options.start();
    // The figure is published a moment after the start.
    let written = eventually("generations were written", DEADLINE, || match durable(&node) {
        0 => Err(node.client().ask("INFO raft").text()),
        index => Ok(index),
    });
    println!("rows are on disk up to entry {written}");
}

/// Up to which entry the rows of the one shard are on disk.
fn durable(node: &Node) -> u64 {
    let info = node.client().ask("INFO raft").text();
    let number = info.split_once(",durable_applied=").and_then(|(_, rest)| rest.split(',').next()?.parse().ok());
    number.unwrap_or_else(|| panic!("no durable_applied in {info}"))
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

        client.ask(damage);

        assert!(lane.check(&mut client).expect("the node answers").is_err(), "{damage}");
        client.ask("FLUSHALL");
    }
}
