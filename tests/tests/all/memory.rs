//! The node keeps to its memory budget under load: what it takes beyond an idle node's is `memory` and a tenth at most.
//!
//! `make memory` runs it with two million keys; here it is short.

use std::env;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;
use std::time::{Duration, Instant};

use basalt_tests::{Client, Node, Reply};

use crate::alone::Alone;

const MEMORY: u64 = 256 << 20;
const WRITERS: u64 = 8;
const CLIENTS: u64 = 200;
const PIPELINE: u64 = 20;

fn key(number: u64) -> String {
    format!("key:{number:010}")
}

/// 64 to 4096 bytes, always the same for one key.
fn value_bytes(number: u64) -> usize {
    64 + (number.wrapping_mul(0x9E37_79B9_7F4A_7C15) >> 40) as usize % 4033
}

fn write(node: &Node, writer: u64, key_count: u64, value: &str) {
    let mut client = node.client();
    for first in (writer * PIPELINE..key_count).step_by((WRITERS * PIPELINE) as usize) {
        let numbers = first..(first + PIPELINE).min(key_count);
        let set = |number| ["SET".to_owned(), key(number), value[..value_bytes(number)].to_owned()];
        let replies = client.pipeline_patiently(numbers.map(set));
        assert!(replies.iter().all(|reply| *reply == Reply::ok()), "{replies:?}");
    }
}

/// Nine reads to a write, small numbers more often than large ones.
fn mix(node: &Node, id: u64, key_count: u64, value: &str, until: Instant) {
    let (mut client, mut seed) = (node.client(), id + 1);
    while Instant::now() < until {
        let mut bytes = Vec::new();
        for turn in 0..PIPELINE {
            seed = seed.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
            let share = (seed >> 33) as f64 / (1u64 << 31) as f64;
            let number = (share.powi(3) * key_count as f64) as u64;
            if turn % 10 == 0 {
                Client::encode(&mut bytes, ["SET", &key(number), &value[..value_bytes(number)]]);
            } else {
                Client::encode(&mut bytes, ["GET", &key(number)]);
            }
        }
        client.send(&bytes).expect("the node reads");
        (0..PIPELINE).for_each(|_| drop(client.read().expect("the node answers")));
    }
}

/// The greatest resident memory until `stop`.
fn watch(node: &Node, stop: &AtomicBool) -> u64 {
    let mut most = 0;
    while !stop.load(Ordering::Relaxed) {
        most = most.max(node.resident_bytes());
        thread::sleep(Duration::from_millis(20));
    }
    most
}

/// The parts of the budget: what each uses and may use.
fn parts(info: &str) -> Vec<(&str, u64, u64)> {
    let fields: Vec<(&str, u64)> = info
        .lines()
        .filter_map(|line| line.trim_end().split_once(':'))
        .filter_map(|(name, value)| Some((name, value.parse().ok()?)))
        .collect();
    let value = |name: &str| fields.iter().find(|field| field.0 == name).map(|field| field.1);
    let bounded = fields.iter().filter_map(|(name, most)| Some((name.strip_suffix("_max")?, *most)));
    bounded.filter_map(|(name, most)| Some((name, value(name)?, most))).collect()
}

#[test]
fn a_loaded_node_keeps_to_its_memory() {
    let number = |name: &str, default| env::var(name).map_or(default, |text| text.parse().expect("a number"));
    let (key_count, seconds) = (number("MEMORY_KEYS", 60_000), number("MEMORY_SECONDS", 4));
    let alone = Alone::new(|options| options.set("--shards", "2").set("--memory", MEMORY.to_string()));
    let (node, value, stop) = (&alone.node, "v".repeat(4096), AtomicBool::new(false));
    assert_eq!(node.client().ask("PING"), Reply::Simple("PONG".into()));
    let idle = node.resident_bytes();

    let most = thread::scope(|scope| {
        let (value, stop) = (value.as_str(), &stop);
        let watcher = scope.spawn(move || watch(node, stop));
        let writers: Vec<_> =
            (0..WRITERS).map(|writer| scope.spawn(move || write(node, writer, key_count, value))).collect();
        writers.into_iter().for_each(|writer| writer.join().expect("every write is acknowledged"));
        let until = Instant::now() + Duration::from_secs(seconds);
        let clients: Vec<_> =
            (0..CLIENTS).map(|id| scope.spawn(move || mix(node, id, key_count, value, until))).collect();
        clients.into_iter().for_each(|client| client.join().expect("every request is answered"));
        stop.store(true, Ordering::Relaxed);
        watcher.join().expect("the node runs")
    });

    let info = node.client().ask("INFO memory").text();
    let parts = parts(&info);
    let mib = |bytes: u64| bytes as f64 / f64::from(1 << 20);
    for (name, used, most) in &parts {
        println!("{name}: {:.1} of {:.1} MiB", mib(*used), mib(*most));
    }
    let grown = most - idle;
    println!("idle {:.1} MiB, {:.1} MiB more under load, of {:.1}", mib(idle), mib(grown), mib(MEMORY));
    assert!(parts.len() >= 5, "{info}");
    assert!(parts.iter().all(|(_, used, most)| *used <= *most + most / 10), "a part is over its bound: {parts:?}");
    assert!(grown <= MEMORY + MEMORY / 10, "{grown} bytes of {MEMORY}");
}
