//! Point reads of rows on disk, all of them in memory: from the row cache, and without one from RocksDB's block cache. Of keys that
//! are there and of keys that are not; and what taking a row in costs.

use std::hint::black_box;
use std::path::Path;

use basalt_bench::requests::Keys;
use basalt_storage::keyspace::ROW_RULES;
use basalt_storage::{BlockCache, OnMiss, Rows, Store, StoreOptions};
use criterion::{Criterion, Throughput, criterion_group, criterion_main};

#[global_allocator]
static ALLOCATOR: tikv_jemallocator::Jemalloc = tikv_jemallocator::Jemalloc;

const ROW_COUNT: u64 = 200_000;
/// Several files at level 0, as between two compactions.
const GENERATIONS: u64 = 4;
const VALUE: [u8; 72] = [7; 72];

fn key(prefix: &str, number: u64) -> Vec<u8> {
    format!("\0\0\0{prefix}:{number:012}").into_bytes()
}

fn open(directory: &Path, row_cache_bytes: usize) -> Store {
    let usual = StoreOptions::new(ROW_RULES, 256 << 20, BlockCache::new(256 << 20));
    let mut store = Store::open(directory, &StoreOptions { row_cache_bytes, ..usual }).expect("the store opens");
    for generation in 0..GENERATIONS {
        (0..ROW_COUNT).filter(|number| number % GENERATIONS == generation).for_each(|number| {
            store.put(&key("key", number), &VALUE);
        });
        store.set_applied(generation + 1, b"id", None);
        let job = store.freeze().expect("there are rows to write");
        drop(store.finish(job.run()).expect("the generation is written"));
    }
    // Every block comes into the block cache, and every answer into the row cache if there is one.
    for read in 0..2 * ROW_COUNT {
        black_box(store.get(&key("key", read % ROW_COUNT)).expect("the disk is read"));
    }
    store.set_on_miss(OnMiss::Cold);
    for prefix in ["key", "none"] {
        (0..ROW_COUNT).for_each(|number| drop(black_box(store.get(&key(prefix, number)))));
    }
    store
}

fn reads(criterion: &mut Criterion) {
    let directory = tempfile::tempdir().expect("a directory");
    let mut group = criterion.benchmark_group("cold GET");
    group.throughput(Throughput::Elements(1));
    for (name, row_cache_bytes) in [("row cache", 512 << 20), ("block cache", 0), ("row cache too small", 1 << 20)] {
        let store = open(&directory.path().join(name), row_cache_bytes);
        for prefix in ["key", "none"] {
            let mut keys = Keys::new(ROW_COUNT);
            group.bench_function(format!("{name}/{}", if prefix == "key" { "row" } else { "no row" }), |bencher| {
                bencher.iter_batched(
                    || key(prefix, keys.number()),
                    |key| store.get(&key).expect("all is in memory").map(|row| row.len()),
                    criterion::BatchSize::NumIterations(1000),
                );
            });
        }
        let counts = store.row_cache_counts();
        println!("{name}: {} of {} reads were answered by the row cache", counts.hits, counts.hits + counts.misses);
    }
    group.finish();
}

criterion_group!(benches, reads);
criterion_main!(benches);
