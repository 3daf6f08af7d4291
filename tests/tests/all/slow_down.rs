//! Writers that are faster than the disk are slowed down to its pace, and not stopped. The disk's pace is the test's own.

use std::sync::atomic::{AtomicU64, Ordering};
use std::thread;
use std::time::{Duration, Instant};

use basalt_tests::{Client, Node, NodeOptions, Pace, Reply};
use rand::rngs::SmallRng;
use rand::{RngExt as _, SeedableRng as _};

use crate::forgetful::Forgetful;

/// The figure `name` of the one shard.
fn figure(client: &mut Client, name: &str) -> u64 {
    let info = client.ask("INFO shards").text();
    let line = info.lines().find(|line| line.starts_with("shard_0:")).unwrap_or_else(|| panic!("no shard in {info}"));
    let found = line.split([',', ':']).find_map(|field| field.strip_prefix(name)?.strip_prefix('='));
    found.and_then(|value| value.parse().ok()).unwrap_or_else(|| panic!("no {name} in {line}"))
}

/// Writes new rows in pipelines until `end`, and counts those that were acknowledged and those that were refused.
fn write(node: &Node, writer: usize, text: &str, [done, refused]: [&AtomicU64; 2], end: Instant) {
    const PIPELINE: usize = 16;
    let mut client = node.client();
    let mut random = SmallRng::seed_from_u64(writer as u64);
    for round in 0.. {
        if Instant::now() >= end {
            return;
        }
        let commands: Vec<_> = (0..PIPELINE)
            .map(|number| {
                let from = random.random_range(0..text.len() - VALUE_BYTES);
                ["SET".to_owned(), format!("{writer}:{round}:{number}"), text[from..from + VALUE_BYTES].to_owned()]
            })
            .collect();
        for reply in client.pipeline(commands) {
            let count = if reply.is_error("BUSY ") { refused } else { done };
            count.fetch_add(1, Ordering::Relaxed);
            assert!(reply == Reply::ok() || reply.is_error("BUSY "), "{reply:?}");
        }
    }
}

/// Observations of writers that are faster than the disk.
#[derive(Debug)]
struct Seen {
    /// Writes acknowledged in each [`WINDOW`].
    windows: Vec<u64>,
    /// Writes whose batches were held back, and for how long those were.
    delayed: u64,
    delayed_us: u64,
    /// The longest that a batch was to be held back.
    slowest_us: u64,
    memtables_max: u64,
    /// Times that nothing was taken.
    stops: u64,
    /// Writes for which that took too long.
    refused: u64,
}

const VALUE_BYTES: usize = 4000;

/// Shared machines stop whole processes for a while.
const WINDOW: Duration = Duration::from_millis(250);

/// Writes with a memtable of `memtable_bytes`, whose generations a disk of `pace` takes, for as long as 24 windows.
fn write_faster_than_the_disk(memtable_bytes: u64, pace: Pace) -> Option<Seen> {
    const WRITERS: usize = 16;
    let forgetful = Forgetful::new(2 << 30)?;
    forgetful.disk.slow_syncs(".sst", pace);
    let node = NodeOptions::new(forgetful.dir())
        .set("--shards", "1")
        .set("--cores", "1")
        .set("--memtable-bytes", memtable_bytes.to_string())
        // Nothing but the disk's pace with generations holds the writers back.
        .set("--durability", "none")
        .start();
    let (done, refused) = (AtomicU64::new(0), AtomicU64::new(0));
    // Where values begin in it is by chance: what is compressed would be written faster.
    let mut random = SmallRng::seed_from_u64(1);
    let text: String = (0..1 << 20).map(|_| char::from(random.random_range(b' '..=b'~'))).collect();
    let end = Instant::now() + 24 * WINDOW;
    let (mut windows, mut slowest_us, mut memtables_max) = (Vec::new(), 0, 0);
    let mut client = node.client();
    thread::scope(|scope| {
        for writer in 0..WRITERS {
            let (node, text, counts) = (&node, &text, [&done, &refused]);
            scope.spawn(move || write(node, writer, text, counts, end));
        }
        let mut before = 0;
        while Instant::now() + WINDOW < end {
            thread::sleep(WINDOW);
            let now = done.load(Ordering::Relaxed);
            windows.push(now - before);
            before = now;
            slowest_us = slowest_us.max(figure(&mut client, "slow_down_us"));
            memtables_max = memtables_max.max(figure(&mut client, "memtable_bytes"));
        }
    });
    let delayed = figure(&mut client, "writes_delayed");
    assert!(client.ask("INFO storage").text().contains(&format!("writes_delayed:{delayed}\r\n")));
    let delayed_us = figure(&mut client, "write_delay_us");
    let stops = figure(&mut client, "write_stops");
    let refused = refused.into_inner();
    let seen = Seen { windows, delayed, delayed_us, slowest_us, memtables_max, stops, refused };
    println!("memtables of {memtable_bytes} bytes: {seen:?}");
    Some(seen)
}

/// That writers were slowed down, and not stopped, in one of a few attempts: shared machines stand still
/// for moments, and what stands still stops writers rightly. The unit tests of the server's `slow_down` have a disk whose pace is
/// known.
fn assert_slowed_down(memtable_bytes: u64, pace: Pace, bytes_max: u64, stops_max: u64) {
    const ATTEMPTS: usize = 4;
    let mut all = Vec::new();
    for _ in 0..ATTEMPTS {
        let Some(seen) = write_faster_than_the_disk(memtable_bytes, pace) else { return };
        // Whatever the disk does.
        assert!(seen.memtables_max < bytes_max, "{seen:?}");
        let is_slowed_down = seen.delayed > 0 && seen.delayed_us > 0 && seen.slowest_us > 0;
        let is_stopped = seen.stops > stops_max || seen.refused > 0;
        if is_slowed_down && !is_stopped && seen.windows.iter().all(|count| *count > 0) {
            return;
        }
        all.push(seen);
    }
    panic!("writers were stopped, or not slowed down, each time: {all:#?}");
}

#[test]
fn writers_faster_than_the_disk_go_on_in_each_quarter_of_a_second() {
    const MEMTABLE_BYTES: u64 = 256 << 10;
    // Memtables so small make files faster than compaction merges them, and have room for 64 of these values: the bound is met
    // for moments, and how often is not bounded here. Two memtables of twice their budget, and what was on its way.
    // Each memtable costs the same, so that compaction, of much at once, is faster than what comes.
    let pace = Pace { latency: Duration::from_millis(40), bytes_per_s: 1 << 30 };
    assert_slowed_down(MEMTABLE_BYTES, pace, 8 * MEMTABLE_BYTES, u64::MAX);
}

#[test]
fn writers_faster_than_the_disk_are_slowed_down_and_not_stopped() {
    const MEMTABLE_BYTES: u64 = 8 << 20;
    // Neither of two came to twice its budget.
    // Far less than writers bring on any machine that can build a node.
    let pace = Pace { latency: Duration::ZERO, bytes_per_s: 6 << 20 };
    assert_slowed_down(MEMTABLE_BYTES, pace, 4 * MEMTABLE_BYTES, 0);
}
