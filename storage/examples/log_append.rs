//! CPU of one append without syncs, disk use with purging, and the time to open what is left:
//! `cargo run --release -p basalt-storage --example log_append -- DIR [body bytes] [count] [kept records]`. DIR is emptied.

#![allow(clippy::unwrap_used)]

use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use basalt_storage::Error;
use basalt_storage::log::{Durability, LogOptions, LogRecord, LogSyncer, RaftLog};
use bytes::Bytes;
use nix::sys::resource::{UsageWho, getrusage};
use nix::sys::time::TimeVal;

fn main() {
    let mut arguments = std::env::args().skip(1);
    let directory = PathBuf::from(arguments.next().expect("usage: log_append DIR [body bytes] [count] [kept records]"));
    let mut number = |default: u64| arguments.next().map_or(default, |argument| argument.parse().expect("a number"));
    let (body_bytes, count, kept) = (number(2048), number(200_000), number(10_000));
    let _ = std::fs::remove_dir_all(&directory);
    let syncer = LogSyncer::start(0, Durability::None).unwrap();
    let mut log = RaftLog::open(&directory, &LogOptions::default(), &syncer).unwrap();
    let body = Bytes::from(vec![7; body_bytes as usize]);
    let (start, cpu) = (Instant::now(), cpu_us());
    let (mut stalled_ms, mut peak_bytes, mut waits_us) = (0, 0, Vec::new());
    for index in 0..count {
        let begun = Instant::now();
        while let Err(error) = log.admit(body.len()) {
            assert!(matches!(error, Error::WriteStall), "{error}");
            stalled_ms += 1;
            std::thread::sleep(Duration::from_millis(1));
        }
        log.append(&[LogRecord { index, term: 1, body: body.clone() }]).unwrap();
        waits_us.push(begun.elapsed().as_micros() as u64);
        if index % 20_000 == 19_999 && index > kept {
            log.purge(index - kept, b"id").unwrap();
            peak_bytes = peak_bytes.max(disk_bytes(&directory));
        }
    }
    println!(
        "{count} appends of {body_bytes} bytes: wall {:.2} us, CPU {:.2} us, {stalled_ms} ms stalled, at most {} MiB on disk",
        start.elapsed().as_micros() as f64 / count as f64,
        (cpu_us() - cpu) / count as f64,
        peak_bytes >> 20
    );
    waits_us.sort_unstable();
    let slowest: Vec<_> = waits_us.iter().rev().take(10).collect();
    println!("slowest appends: {slowest:?} us");
    let bytes = log.bytes();
    drop(log);
    let opening = Instant::now();
    let log = RaftLog::open(&directory, &LogOptions { warm_files: 0, ..LogOptions::default() }, &syncer).unwrap();
    println!("opening {} MiB from {:?} on: {:?}", bytes >> 20, log.first_index(), opening.elapsed());
}

fn cpu_us() -> f64 {
    let usage = getrusage(UsageWho::RUSAGE_THREAD).unwrap();
    let us = |time: TimeVal| time.tv_sec() as f64 * 1e6 + time.tv_usec() as f64;
    us(usage.user_time()) + us(usage.system_time())
}

fn disk_bytes(directory: &Path) -> u64 {
    let entries = std::fs::read_dir(directory).unwrap();
    entries.filter_map(|entry| entry.ok()?.metadata().ok()).map(|metadata| metadata.len()).sum()
}
