//! Applying entries of 64 commands to a shard's rows: what a command costs between commit and reply, and a GET on the same rows.

mod shard;

use std::hint::black_box;
use std::time::{Duration, Instant};

use basalt_bench::requests::{Keys, value};
use basalt_core::internals::commands::{Kind, table};
use basalt_core::internals::entry::batch;
use basalt_core::internals::entry::request::{self, RequestHeader};
use basalt_net::resp::Protocol;
use criterion::measurement::WallTime;
use criterion::{BenchmarkGroup, Criterion, Throughput, criterion_group, criterion_main};
use shard::{BenchShard, NOW_MS};

#[global_allocator]
static ALLOCATOR: tikv_jemallocator::Jemalloc = tikv_jemallocator::Jemalloc;

/// Commands of an entry: a turn's worth of a loaded core.
const COMMANDS_PER_ENTRY: usize = 64;
/// Entries that are made beforehand and applied again and again.
const ENTRIES: usize = 1024;
/// Keys of the shard: half of what redis-benchmark's `-r 200000` gives a shard of two.
const KEY_COUNT: u64 = 100_000;
/// Collections of the shard, and members of each.
const COLLECTION_COUNT: u64 = 100;
/// See [`COLLECTION_COUNT`].
const MEMBER_COUNT: u64 = 1_000;

/// Makes a command from random keys.
type Make = fn(&mut Keys) -> Vec<Vec<u8>>;

fn set(keys: &mut Keys) -> Vec<Vec<u8>> {
    vec![b"SET".to_vec(), keys.key("key"), value()]
}

fn incr(keys: &mut Keys) -> Vec<Vec<u8>> {
    vec![b"INCR".to_vec(), keys.key("counter")]
}

fn lpush(_: &mut Keys) -> Vec<Vec<u8>> {
    vec![b"LPUSH".to_vec(), b"mylist".to_vec(), value()]
}

/// A collection and a member of it, from one number.
fn in_collection(keys: &mut Keys) -> (Vec<u8>, Vec<u8>, u64) {
    let number = keys.number();
    let (collection, member) = (number % COLLECTION_COUNT, number / COLLECTION_COUNT % MEMBER_COUNT);
    (format!("collection:{collection:06}").into_bytes(), format!("element:{member:012}").into_bytes(), number)
}

fn hset(keys: &mut Keys) -> Vec<Vec<u8>> {
    let (key, field, _) = in_collection(keys);
    vec![b"HSET".to_vec(), key, field, value()]
}

fn zadd(keys: &mut Keys) -> Vec<Vec<u8>> {
    let (key, member, number) = in_collection(keys);
    vec![b"ZADD".to_vec(), key, (number * 7919 % 10_007).to_string().into_bytes(), member]
}

/// Returns an entry with these commands, each its name and its arguments.
fn entry(commands: &[Vec<Vec<u8>>]) -> Vec<u8> {
    let mut bytes = Vec::new();
    batch::begin(&mut bytes);
    for command in commands {
        let id = table::lookup(&command[0]).expect("benches use commands that exist").id;
        let header = RequestHeader::new(Protocol::Resp2, 0, id);
        batch::push(&mut bytes, |out| request::encode(out, header, command[1..].iter().map(Vec::as_slice)));
    }
    batch::seal(&mut bytes, NOW_MS, 1, 512 << 20);
    bytes
}

fn bench_writes(group: &mut BenchmarkGroup<'_, WallTime>, name: &str, make: Make) {
    let mut keys = Keys::new(KEY_COUNT);
    let commands = |keys: &mut Keys| (0..COMMANDS_PER_ENTRY).map(|_| make(keys)).collect::<Vec<_>>();
    let entries: Vec<Vec<u8>> = (0..ENTRIES).map(|_| entry(&commands(&mut keys))).collect();
    let mut shard = BenchShard::new();
    // The rows are there, as in a node that has run for a while.
    entries.iter().for_each(|entry| shard.apply(entry));
    let mut next = entries.iter().cycle();
    group.throughput(Throughput::Elements(COMMANDS_PER_ENTRY as u64));
    group.bench_function(name, |bench| {
        bench.iter_custom(|times| {
            let mut taken = Duration::ZERO;
            for entry in next.by_ref().take(times as usize) {
                shard.make_room();
                let begun = Instant::now();
                shard.apply(black_box(entry));
                taken += begun.elapsed();
            }
            taken
        });
    });
}

fn bench_get(group: &mut BenchmarkGroup<'_, WallTime>) {
    let mut keys = Keys::new(KEY_COUNT);
    let mut shard = BenchShard::new();
    let drawn: Vec<Vec<u8>> = (0..ENTRIES * COMMANDS_PER_ENTRY).map(|_| keys.key("key")).collect();
    for some in drawn.chunks(COMMANDS_PER_ENTRY) {
        let sets: Vec<_> = some.iter().map(|key| vec![b"SET".to_vec(), key.clone(), value()]).collect();
        shard.apply(&entry(&sets));
    }
    let command = table::lookup(b"get").expect("GET is a command");
    let Kind::Read(get) = command.kind else { panic!("GET is a read") };
    let header = RequestHeader::new(Protocol::Resp2, 0, command.id);
    let mut next = drawn.iter().cycle();
    let mut out = Vec::new();
    group.throughput(Throughput::Elements(COMMANDS_PER_ENTRY as u64));
    group.bench_function("GET", |bench| {
        bench.iter(|| {
            out.clear();
            for key in next.by_ref().take(COMMANDS_PER_ENTRY) {
                let _ = shard.machine.read_now(get, header, &[b"GET", key], NOW_MS, &mut out);
            }
            out.len()
        });
    });
}

fn apply(criterion: &mut Criterion) {
    let mut group = criterion.benchmark_group("apply 64");
    bench_get(&mut group);
    let writes: [(&str, Make); 5] = [("SET", set), ("INCR", incr), ("LPUSH", lpush), ("HSET", hset), ("ZADD", zadd)];
    for (name, make) in writes {
        bench_writes(&mut group, name, make);
    }
    group.finish();
}

criterion_group! {
    name = benches;
    config = Criterion::default()
        .sample_size(20)
        .warm_up_time(Duration::from_millis(500))
        .measurement_time(Duration::from_secs(2));
    targets = apply
}
criterion_main!(benches);
