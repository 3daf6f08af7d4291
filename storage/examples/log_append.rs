//! CPU of one append, without syncs: `cargo run --release -p basalt-storage --example log_append -- DIR [body bytes] [count]`.
use std::path::PathBuf;
use std::time::Instant;

use basalt_storage::Error;
use basalt_storage::log::{Durability, LogOptions, LogRecord, LogSyncer, RaftLog};
use bytes::Bytes;
use nix::sys::resource::{UsageWho, getrusage};

fn thread_cpu_us() -> f64 {
    let usage = getrusage(UsageWho::RUSAGE_THREAD).expect("readable");
    let us = |time: nix::sys::time::TimeVal| time.tv_sec() as f64 * 1e6 + time.tv_usec() as f64;
    us(usage.user_time()) + us(usage.system_time())
}

fn main() {
    let mut arguments = std::env::args().skip(1);
    let directory = PathBuf::from(arguments.next().expect("a directory"));
    let body_bytes = arguments.next().map_or(2048, |bytes| bytes.parse().expect("bytes"));
    let count: u64 = arguments.next().map_or(200_000, |count| count.parse().expect("a count"));
    let _ = std::fs::remove_dir_all(&directory);
    let syncer = LogSyncer::start(0, Durability::None).expect("threads");
    let mut log = RaftLog::open(&directory, &LogOptions::default(), &syncer).expect("opens");
    let body = Bytes::from(vec![7; body_bytes]);
    let (start, cpu) = (Instant::now(), thread_cpu_us());
    let (mut stalls, mut peak_bytes) = (0u64, 0);
    for index in 0..count {
        while let Err(error) = log.append(&[LogRecord { index, term: 1, body: body.clone() }]) {
            assert!(matches!(error, Error::WriteStall), "{error}");
            stalls += 1;
            std::thread::sleep(std::time::Duration::from_millis(1));
        }
        if index % 20_000 == 19_999 {
            log.purge(index - 10_000, b"id").expect("purged");
            peak_bytes = peak_bytes.max(disk_bytes(&directory));
        }
    }
    let per = |total: f64| total / count as f64;
    println!(
        "{count} appends of {body_bytes} bytes: wall {:.2} us, CPU of the thread {:.2} us, {stalls} ms stalled, at most {} MiB on disk",
        per(start.elapsed().as_micros() as f64),
        per(thread_cpu_us() - cpu),
        peak_bytes >> 20
    );
}

fn disk_bytes(directory: &std::path::Path) -> u64 {
    let entries = std::fs::read_dir(directory).expect("readable");
    entries.filter_map(|entry| entry.ok()?.metadata().ok()).map(|metadata| metadata.len()).sum()
}
