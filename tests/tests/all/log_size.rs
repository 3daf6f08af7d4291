//! A shard's log keeps to its maximum while the same keys are written again and again.
//!
//! Rows that take the place of others do not fill the memory, so it is the log's own size that has them written out and
//! the oldest part of the log dropped.

use std::thread;
use std::time::Duration;

use basalt_tests::{Client, DEADLINE, Node, Reply, eventually};

use crate::alone::Alone;

const LOG_BYTES_MAX: u64 = 16 << 20;
const KEYS: u64 = 256;
const VALUE_BYTES: u64 = 4000;
const WRITERS: u64 = 2;
const PIPELINE: u64 = 32;
/// Pipelines of each writer: 60 MiB of values, which would be several times the maximum if nothing were dropped.
const ROUNDS: u64 = (60 << 20) / (WRITERS * PIPELINE * VALUE_BYTES);

/// Most bytes that were sent and not answered: each writer waits for the replies to one pipeline before it sends the next. A
/// command is its value and less than 100 bytes around it, in the log as in the request.
const IN_FLIGHT_BYTES: u64 = WRITERS * PIPELINE * (VALUE_BYTES + 100);

/// Most bytes that the log may come to. When the entries applied since the newest snapshot are a quarter of the maximum, their
/// rows are written out; what is applied meanwhile is to fit in the other three quarters. Entries that are not applied
/// yet are in the log and counted in neither. What is dropped is subtracted in steps of 64 KiB and of the entry that a
/// step ends in, which is no larger than what was in flight.
const BYTES_MAX: u64 = LOG_BYTES_MAX + 2 * IN_FLIGHT_BYTES + (64 << 10);

/// Pause between two INFOs; a busy core renews the figure ten times a second.
const BETWEEN_LOOKS: Duration = Duration::from_millis(10);

/// Bytes of the entries in the log.
fn log_bytes(client: &mut Client) -> u64 {
    let info = client.ask("INFO persistence").text();
    let figure = info.lines().find_map(|line| line.strip_prefix("aof_current_size:"));
    figure.and_then(|figure| figure.trim().parse().ok()).unwrap_or_else(|| panic!("no aof_current_size in {info}"))
}

fn write(node: &Node) {
    let (mut client, value) = (node.client(), "v".repeat(VALUE_BYTES as usize));
    for round in 0..ROUNDS {
        let key = |number: u64| format!("key:{}", (round * PIPELINE + number) % KEYS);
        let commands = (0..PIPELINE).map(|number| ["SET".to_owned(), key(number), value.clone()]);
        for reply in client.pipeline_patiently(commands) {
            assert_eq!(reply, Reply::ok());
        }
    }
}

#[test]
fn the_log_of_keys_that_are_written_again_and_again_keeps_to_its_maximum() {
    let alone = Alone::new(|options| {
        options.set("--shards", "1").set("--memory", "256mb").set("--raft-log-size-max", LOG_BYTES_MAX.to_string())
    });
    let node = &alone.node;
    let mut client = node.client();
    let mut seen = vec![log_bytes(&mut client)];
    thread::scope(|scope| {
        let writers: Vec<_> = (0..WRITERS).map(|_| scope.spawn(move || write(node))).collect();
        while !writers.iter().all(|writer| writer.is_finished()) {
            seen.push(log_bytes(&mut client));
            thread::sleep(BETWEEN_LOOKS);
        }
    });
    seen.dedup();

    let most = seen.iter().copied().max().expect("it was looked at");
    println!("the log had {most} bytes at most of {LOG_BYTES_MAX}: {seen:?}");
    assert!(most > 0, "no figure was published while it was written");
    assert!(most <= BYTES_MAX, "{most} bytes of {BYTES_MAX}: {seen:?}");
    // What is left when nothing is written out any more did not suffice for a snapshot.
    eventually("the log is cut", DEADLINE, || match log_bytes(&mut client) {
        bytes if bytes <= LOG_BYTES_MAX / 2 => Ok(()),
        bytes => Err(bytes),
    });
}
