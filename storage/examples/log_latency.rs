//! Latency of a new log's syncs, second by second, with and without warm write-ahead files:
//! `cargo run --release -p basalt-storage --example log_latency -- DIR [seconds]`. DIR is emptied.

#![allow(clippy::unwrap_used)]

use std::path::{Path, PathBuf};
use std::sync::mpsc;
use std::time::{Duration, Instant};

use basalt_storage::log::{Durability, LogOptions, LogRecord, LogSyncer, RaftLog};
use bytes::Bytes;
use nix::sys::resource::{UsageWho, getrusage};
use nix::sys::time::TimeVal;

/// Bytes of one record's body.
const BODY_BYTES: usize = 2048;

fn main() {
    let mut arguments = std::env::args().skip(1);
    let directory = PathBuf::from(arguments.next().expect("usage: log_latency DIR [seconds]"));
    let seconds = arguments.next().map_or(5, |seconds| seconds.parse().expect("a number of seconds"));
    for (warm_files, window) in [(0, 1), (2, 1), (0, 8), (2, 8)] {
        let _ = std::fs::remove_dir_all(&directory);
        measure(&directory, Duration::from_secs(seconds), warm_files, window);
    }
}

/// Appends and syncs single records for `duration`, `window` of them at a time.
fn measure(directory: &Path, duration: Duration, warm_files: usize, window: u64) {
    let (sender, receiver) = mpsc::channel();
    let syncer = LogSyncer::start(0, Durability::Always).unwrap();
    let options = LogOptions { warm_files, ..LogOptions::default() };
    let opening = Instant::now();
    let mut log = RaftLog::open(directory, &options, &syncer).unwrap();
    let opened = opening.elapsed();
    let body = Bytes::from(vec![7; BODY_BYTES]);
    let mut seconds: Vec<Vec<u64>> = Vec::new();
    let (start, all_cpu, core_cpu) = (Instant::now(), cpu_us(UsageWho::RUSAGE_SELF), cpu_us(UsageWho::RUSAGE_THREAD));
    let (mut index, mut done) = (0, 0);
    while start.elapsed() < duration {
        while index - done < window {
            let begun = Instant::now();
            log.append(&[LogRecord { index, term: 1, body: body.clone() }]).unwrap();
            let sender = sender.clone();
            log.sync(Box::new(move |outcome| {
                let _ = sender.send((begun, outcome));
            }));
            index += 1;
        }
        let (begun, outcome) = receiver.recv().unwrap();
        outcome.unwrap();
        done += 1;
        let second = start.elapsed().as_secs() as usize;
        seconds.resize_with(seconds.len().max(second + 1), Vec::new);
        seconds[second].push(begun.elapsed().as_micros() as u64);
        if index % 20_000 == 0 {
            log.purge(index - 10_000, b"id").unwrap();
        }
    }
    println!(
        "{warm_files} warm files, {window} at a time: opened in {opened:?}, {:.0} appends/s, CPU us per append: {:.2} in all, {:.2} on the core",
        index as f64 / start.elapsed().as_secs_f64(),
        (cpu_us(UsageWho::RUSAGE_SELF) - all_cpu) / index as f64,
        (cpu_us(UsageWho::RUSAGE_THREAD) - core_cpu) / index as f64,
    );
    for (second, latencies) in seconds.iter_mut().enumerate() {
        latencies.sort_unstable();
        let at = |share: f64| latencies[((latencies.len() - 1) as f64 * share) as usize];
        println!(
            "  second {second}: {} syncs, p50 {} us, p99 {} us, p99.9 {} us, max {} us",
            latencies.len(),
            at(0.5),
            at(0.99),
            at(0.999),
            at(1.0)
        );
    }
}

fn cpu_us(who: UsageWho) -> f64 {
    let usage = getrusage(who).unwrap();
    let us = |time: TimeVal| time.tv_sec() as f64 * 1e6 + time.tv_usec() as f64;
    us(usage.user_time()) + us(usage.system_time())
}
