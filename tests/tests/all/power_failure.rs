//! A machine that loses power: what a node acknowledged as durable is there afterwards, on a disk that forgets the rest.
//!
//! The disk is `basalt_tests::ForgetfulDisk`, which says why it is sound. That these tests can fail is a test too: a node that does
//! not sync fails them.

use std::thread;
use std::time::{Duration, Instant};

use basalt_tests::{Node, NodeOptions, Reply, Survivors, in_some_attempt};
use rand::rngs::SmallRng;
use rand::{RngExt as _, SeedableRng as _};

use crate::forgetful::Forgetful;
use crate::load::{Load, cycles};

const CAPACITY: usize = 4 << 30;

/// Cuts the power under load again and again.
fn cut_power_again_and_again(name: &str, configure: impl Fn(NodeOptions) -> NodeOptions) {
    let Some(mut forgetful) = Forgetful::new(CAPACITY) else { return };
    let options = configure(NodeOptions::new(forgetful.dir()));
    let mut load = Load::new();
    let (cycles, mut pages_lost) = (cycles(), 0);
    for cycle in 0..cycles {
        let survivors = if cycle % 2 == 0 { Survivors::None } else { Survivors::Some };
        // A moment of its start, which is all that is wanted of it; of the first one too, which creates everything.
        let mut early = options.launch();
        thread::sleep(Duration::from_millis(load.random.random_range(1..400)));
        early.kill_9();
        pages_lost += forgetful.disk.cut_power(survivors, &mut load.random);

        let mut node = options.start();
        load.check(&node);
        let commands = load.random.random_range(500..5_000);
        load.run(&node, commands, Node::kill);
        node.kill_9();
        pages_lost += forgetful.disk.cut_power(survivors, &mut load.random);
    }
    load.check(&options.start());
    println!("{name}: {cycles} power failures under load and {cycles} at starts, {pages_lost} pages forgotten, {load}");
    assert!(pages_lost > 0, "the disk had nothing to forget");
}

#[test]
fn acknowledged_writes_survive_a_power_failure() {
    cut_power_again_and_again("power failure", |options| options);
}

#[test]
fn acknowledged_writes_survive_a_power_failure_while_generations_freeze_all_the_time() {
    cut_power_again_and_again("power failure, with small memtables", |options| {
        options.set("--memtable-bytes", "256kb").set("--shards", "4")
    });
}

#[test]
fn a_node_that_does_not_sync_loses_acknowledged_writes_in_a_power_failure() {
    let Some(mut forgetful) = Forgetful::new(CAPACITY) else { return };
    let options = NodeOptions::new(forgetful.dir()).set("--durability", "none");
    let mut load = Load::new();
    let mut node = options.start();
    load.run(&node, 5_000, Node::kill);
    node.kill_9();
    forgetful.disk.cut_power(Survivors::None, &mut load.random);

    let node = options.start();

    let lost = load.try_check(&node).expect_err("what was not synced was forgotten, and that was noticed");
    assert!(lost.contains("commands were acknowledged"), "{lost}");
}

#[test]
fn durability_by_interval_loses_no_more_than_its_interval_allows() {
    /// Factor by which the interval may take longer on a busy machine.
    const PATIENCE: u32 = 10;
    const INTERVAL: Duration = Duration::from_millis(100);
    // Where the machine gives the node no turn for a while, its interval is longer.
    in_some_attempt("what is lost is younger than the interval", || {
        let Some(mut forgetful) = Forgetful::new(CAPACITY) else { return Ok(()) };
        let options = NodeOptions::new(forgetful.dir())
            .set("--durability", "interval")
            .set("--durability-interval", "100ms")
            .set("--shards", "1");
        let mut node = options.start();
        let mut client = node.client();
        let begun = Instant::now();
        let mut acknowledged = Vec::new();
        while begun.elapsed() < 3 * PATIENCE * INTERVAL / 2 {
            acknowledged.push((client.ask("INCR counter").integer(), Instant::now()));
        }
        let end = Instant::now();
        node.kill_9();
        forgetful.disk.cut_power(Survivors::None, &mut SmallRng::seed_from_u64(1));

        let node = options.start();

        let reply = node.client().ask("GET counter");
        let left: i64 = if reply == Reply::Null { 0 } else { reply.text().parse().expect("a number") };
        let (last, _) = *acknowledged.last().expect("some were");
        let oldest_lost = acknowledged.iter().find(|(number, _)| *number > left).map(|&(_, at)| end - at);
        println!(
            "of {last} writes {left} are left; the oldest that is lost was acknowledged {oldest_lost:?} before the end"
        );
        assert!(left <= last + 1, "{left} of {last}");
        if oldest_lost.is_none_or(|age| age < PATIENCE * INTERVAL) { Ok(()) } else { Err((left, last, oldest_lost)) }
    });
}
