//! The Raft log on this machine's disk: appending alone, and appending with the sync that a write waits for.
//!
//! The log is in the build directory. Its write-ahead files are recycled from the start, as a node's are.

use std::path::Path;
use std::sync::mpsc::channel;
use std::time::{Duration, Instant};

use basalt_storage::log::{Durability, LogOptions, LogRecord, LogSyncer, RaftLog};
use bytes::Bytes;
use criterion::{Criterion, Throughput, criterion_group, criterion_main};

#[global_allocator]
static ALLOCATOR: tikv_jemallocator::Jemalloc = tikv_jemallocator::Jemalloc;

/// Bytes of an entry with one SET of 64 bytes.
const BODY_BYTES: usize = 128;
/// The log is shortened when it has grown by this much, as snapshots would do.
const PURGE_BYTES: u64 = 64 << 20;
/// Longest wait for a segment to be written as a table.
const STALL: Duration = Duration::from_millis(1);

/// A log that grows and is shortened.
struct Growing {
    log: RaftLog,
    // Ends its thread when dropped.
    _syncer: LogSyncer,
    next: u64,
    body: Bytes,
}

impl Growing {
    fn open(dir: &Path, durability: Durability) -> Growing {
        let syncer = LogSyncer::start(0, durability).expect("a syncer can be started");
        let log = RaftLog::open(dir, &LogOptions::default(), &syncer).expect("a log can be made");
        Growing { log, _syncer: syncer, next: 0, body: Bytes::from(vec![7; BODY_BYTES]) }
    }

    fn records(&mut self, count: u64) -> Vec<LogRecord> {
        let first = self.next;
        self.next += count;
        (first..self.next).map(|index| LogRecord { index, term: 1, body: self.body.clone() }).collect()
    }

    /// Makes room for records, outside of what is measured.
    fn make_room(&mut self, count: u64) {
        if self.log.bytes() > PURGE_BYTES {
            self.log.purge(self.next - 1, b"id").expect("the log can be shortened");
        }
        while let Err(error) = self.log.admit(count as usize * (BODY_BYTES + 64)) {
            assert!(matches!(error, basalt_storage::Error::WriteStall), "{error}");
            std::thread::sleep(STALL);
        }
    }

    /// Appends `count` records and, with `sync`, waits until they are durable; returns how long it took.
    fn append(&mut self, count: u64, sync: bool) -> Duration {
        self.make_room(count);
        let records = self.records(count);
        let begun = Instant::now();
        self.log.append(&records).expect("the log takes what it admitted");
        if sync {
            let (done, is_done) = channel();
            self.log.sync(Box::new(move |outcome| {
                // The receiver waits below.
                let _ = done.send(outcome);
            }));
            is_done.recv().expect("the syncer answers").expect("the disk can be synced");
        }
        begun.elapsed()
    }
}

fn bench_appends(criterion: &mut Criterion, name: &str, durability: Durability, sync: bool) {
    let dir = tempfile::tempdir_in(env!("CARGO_TARGET_TMPDIR")).expect("the build directory can be written to");
    let mut log = Growing::open(dir.path(), durability);
    let mut group = criterion.benchmark_group(name);
    for count in [1, 16, 256] {
        group.throughput(Throughput::Elements(count));
        group.bench_function(format!("{count} records"), |bench| {
            bench.iter_custom(|times| (0..times).map(|_| log.append(count, sync)).sum());
        });
    }
    group.finish();
}

fn group_commit(criterion: &mut Criterion) {
    bench_appends(criterion, "append", Durability::None, false);
    bench_appends(criterion, "append and sync", Durability::Always, true);
}

criterion_group! {
    name = benches;
    config = Criterion::default()
        .sample_size(20)
        .warm_up_time(Duration::from_secs(1))
        .measurement_time(Duration::from_secs(3));
    targets = group_commit
}
criterion_main!(benches);
