//! Writers that are faster than the disk are slowed down to its pace, and not stopped.

use std::sync::atomic::{AtomicU64, Ordering};
use std::thread;
use std::time::{Duration, Instant};

use basalt_tests::{Client, Node, NodeOptions, Reply};

/// What a figure of the one shard is.
fn figure(client: &mut Client, name: &str) -> u64 {
    let info = client.ask("INFO shards").text();
    let line = info.lines().find(|line| line.starts_with("shard_0:")).unwrap_or_else(|| panic!("no shard in {info}"));
    let found = line.split([',', ':']).find_map(|field| field.strip_prefix(name)?.strip_prefix('='));
    found.and_then(|value| value.parse().ok()).unwrap_or_else(|| panic!("no {name} in {line}"))
}

/// Writes new rows in pipelines until `end`, and counts those that were acknowledged.
fn write(node: &Node, writer: usize, value: &str, done: &AtomicU64, end: Instant) {
    let mut client = node.client();
    for round in 0.. {
        if Instant::now() >= end {
            return;
        }
        let commands = (0..32).map(|number| ["SET".to_owned(), format!("{writer}:{round}:{number}"), value.to_owned()]);
        for reply in client.pipeline(commands) {
            assert_eq!(reply, Reply::ok());
            done.fetch_add(1, Ordering::Relaxed);
        }
    }
}

#[test]
fn writers_faster_than_the_disk_go_on_in_each_quarter_of_a_second() {
    const WRITERS: usize = 16;
    const LENGTH: Duration = Duration::from_secs(6);
    /// Shared machines stop whole processes for a while.
    const WINDOW: Duration = Duration::from_millis(250);
    const MEMTABLE_BYTES: u64 = 256 << 10;
    let temporary = tempfile::tempdir().expect("a temporary directory");
    let node = NodeOptions::new(temporary.path().join("data"))
        .set("--shards", "1")
        .set("--cores", "1")
        .set("--memtable-bytes", "256kb")
        // Nothing but the disk's pace with generations holds the writers back.
        .set("--durability", "none")
        .start();
    let done = AtomicU64::new(0);
    let value = "v".repeat(4000);
    let end = Instant::now() + LENGTH;
    let (windows, slowest, memtables_max) = thread::scope(|scope| {
        for writer in 0..WRITERS {
            let (node, value, done) = (&node, &value, &done);
            scope.spawn(move || write(node, writer, value, done, end));
        }
        let mut client = node.client();
        let (mut windows, mut slowest, mut memtables_max) = (Vec::new(), 0, 0);
        let mut before = 0;
        while Instant::now() + WINDOW < end {
            thread::sleep(WINDOW);
            let now = done.load(Ordering::Relaxed);
            windows.push(now - before);
            before = now;
            slowest = slowest.max(figure(&mut client, "slow_down_us"));
            memtables_max = memtables_max.max(figure(&mut client, "memtable_bytes"));
        }
        (windows, slowest, memtables_max)
    });
    let mut client = node.client();
    let delayed = figure(&mut client, "writes_delayed");
    let delayed_us = figure(&mut client, "write_delay_us");
    println!(
        "writes in each {WINDOW:?}: {windows:?}; {delayed} were delayed, their batches for {delayed_us} us, seen: {slowest} us a \
         batch; {memtables_max} bytes of memtables; {} stops",
        figure(&mut client, "write_stops")
    );
    assert!(windows.iter().all(|count| *count > 0), "{windows:?}");
    assert!(delayed > 0 && delayed_us > 0 && slowest > 0, "nobody was slowed down");
    assert!(client.ask("INFO storage").text().contains(&format!("writes_delayed:{delayed}\r\n")));
    // Memtables so small make files faster than compaction merges them, and have room for 64 of these values: the bound is met
    // for moments, which is why stops are printed and not bounded. Two memtables of twice their budget, and what was on its way.
    assert!(memtables_max < 8 * MEMTABLE_BYTES, "{memtables_max}");
}
