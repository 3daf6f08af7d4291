//! Measures a new log from its first sync on: `cargo run --release -p basalt-storage --example log_latency -- DIR [seconds]`.
use std::path::PathBuf;
use std::sync::mpsc;
use std::time::{Duration, Instant};

use basalt_storage::log::{Durability, LogOptions, LogRecord, LogSyncer, RaftLog};
use bytes::Bytes;

fn cpu_us() -> f64 {
    let usage = nix::sys::resource::getrusage(nix::sys::resource::UsageWho::RUSAGE_SELF).expect("readable");
    let us = |time: nix::sys::time::TimeVal| time.tv_sec() as f64 * 1e6 + time.tv_usec() as f64;
    us(usage.user_time()) + us(usage.system_time())
}
fn thread_cpu_us() -> f64 {
    let usage = nix::sys::resource::getrusage(nix::sys::resource::UsageWho::RUSAGE_THREAD).expect("readable");
    let us = |time: nix::sys::time::TimeVal| time.tv_sec() as f64 * 1e6 + time.tv_usec() as f64;
    us(usage.user_time()) + us(usage.system_time())
}

fn main() {
    let mut arguments = std::env::args().skip(1);
    let directory = PathBuf::from(arguments.next().expect("a directory"));
    let seconds = arguments.next().map_or(5, |seconds| seconds.parse().expect("seconds"));
    for (warm_files, body_bytes, window) in [(0, 2048, 1), (2, 2048, 1), (0, 2048, 8), (2, 2048, 8)] {
        let _ = std::fs::remove_dir_all(&directory);
        let (sender, receiver) = mpsc::channel();
        let syncer = LogSyncer::start(0, Durability::Always).expect("threads");
        let options = LogOptions { warm_files, ..LogOptions::default() };
        let opened = Instant::now();
        let mut log = RaftLog::open(&directory, &options, &syncer).expect("opens");
        let opened = opened.elapsed();
        let body = Bytes::from(vec![7; body_bytes]);
        let mut latencies: Vec<Vec<u64>> = Vec::new();
        let (start, cpu, thread_cpu) = (Instant::now(), cpu_us(), thread_cpu_us());
        let (mut index, mut done, mut append_us, mut sync_us) = (0u64, 0u64, 0.0, 0.0);
        while start.elapsed() < Duration::from_secs(seconds) {
            while index - done < window {
                let begun = Instant::now();
                log.append(&[LogRecord { index, term: 1, body: body.clone() }]).expect("appended");
                append_us += begun.elapsed().as_nanos() as f64 / 1e3;
                let sender = sender.clone();
                let asked = Instant::now();
                log.sync(Box::new(move |outcome| sender.send((begun, outcome)).expect("the receiver waits")));
                sync_us += asked.elapsed().as_nanos() as f64 / 1e3;
                index += 1;
            }
            let (begun, outcome) = receiver.recv().expect("a callback");
            outcome.expect("synced");
            done += 1;
            let second = start.elapsed().as_secs() as usize;
            latencies.resize_with(latencies.len().max(second + 1), Vec::new);
            latencies[second].push(begun.elapsed().as_micros() as u64);
            if index % 20_000 == 0 {
                log.purge(index - 10_000, b"id").expect("purged");
            }
        }
        let per = |total: f64| total / index as f64;
        println!(
            "warm_files {warm_files} window {window}: open {opened:?}; {:.0} appends/s; wall us: append {:.2}, sync call {:.2}; CPU us: all {:.2}, core thread {:.2}",
            index as f64 / start.elapsed().as_secs_f64(),
            per(append_us),
            per(sync_us),
            per(cpu_us() - cpu),
            per(thread_cpu_us() - thread_cpu),
        );
        for (second, latencies) in latencies.iter_mut().enumerate() {
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
}
