//! A whole request without network and disk: decode, look up, route, run. Writes are applied in entries of the size that a
//! turn gives: 1 when a client is alone, 50 when fifty clients ask at once.

mod shard;

use std::hint::black_box;
use std::time::Duration;

use basalt_bench::requests::{Keys, command, value};
use basalt_core::internals::cluster::Router;
use basalt_core::internals::commands::{Args, Kind, table};
use basalt_core::internals::entry::batch;
use basalt_core::internals::entry::request::{self, RequestHeader};
use basalt_net::resp::{Argv, Decoded, Decoder, Limits, Protocol};
use criterion::measurement::WallTime;
use criterion::{BenchmarkGroup, Criterion, Throughput, criterion_group, criterion_main};
use shard::{BenchShard, NOW_MS};

#[global_allocator]
static ALLOCATOR: tikv_jemallocator::Jemalloc = tikv_jemallocator::Jemalloc;

/// Keys that are drawn from.
const KEY_COUNT: u64 = 100_000;
/// Requests that are made beforehand and run again and again.
const REQUESTS: usize = 50_000;
/// Most arguments of a command here, its name included: MSET of ten.
const ARGS_MAX: usize = 21;

/// A core's way of a request, with a shard but without sockets and log.
struct Path {
    decoder: Decoder,
    argv: Argv,
    limits: Limits,
    router: Router,
    shard: BenchShard,
    entry: Vec<u8>,
    replies: Vec<u8>,
}

impl Path {
    fn new() -> Path {
        let mut entry = Vec::new();
        batch::begin(&mut entry);
        Path {
            decoder: Decoder::new(),
            argv: Argv::new(),
            limits: Limits::default(),
            router: Router::new(2, 2),
            shard: BenchShard::new(),
            entry,
            replies: Vec::new(),
        }
    }

    /// Runs one request: a read at once, a write into the entry.
    fn request(&mut self, input: &[u8]) {
        let decoded = self.decoder.decode(input, &self.limits, &mut self.argv);
        assert!(matches!(decoded, Ok(Decoded::Command { .. })), "requests here are whole");
        let mut places: [&[u8]; ARGS_MAX] = [b""; ARGS_MAX];
        for (place, arg) in places.iter_mut().zip(self.argv.iter(input)) {
            *place = arg;
        }
        let args: Args<'_> = &places[..self.argv.len()];
        let command = table::find(args).unwrap_or_else(|error| panic!("requests here are right: {error}"));
        for key in command.keys(args) {
            black_box(self.router.shard_of(args[key]));
        }
        match command.kind {
            Kind::Read(run) => {
                let header = RequestHeader::new(Protocol::Resp2, 0, command.id);
                let outcome = self.shard.machine.read_now(run, header, args, NOW_MS, &mut self.replies);
                black_box(outcome);
            }
            Kind::Write(_) => {
                let header = RequestHeader::new(Protocol::Resp2, 0, command.id);
                batch::push(&mut self.entry, |out| request::encode(out, header, args[1..].iter().copied()));
            }
            _ => unreachable!("requests here have keys, and are no transactions"),
        }
    }

    /// Ends a turn: applies its entry.
    fn end_turn(&mut self) {
        self.replies.clear();
        if self.entry.len() > batch::BATCH_HEADER_BYTES {
            batch::seal(&mut self.entry, NOW_MS, 1, 512 << 20);
            self.shard.make_room();
            self.shard.apply(&self.entry);
            batch::begin(&mut self.entry);
        }
    }
}

fn bench_requests(group: &mut BenchmarkGroup<'_, WallTime>, name: &str, per_turn: usize, requests: &[Vec<u8>]) {
    let mut path = Path::new();
    let set_up = requests.iter().map(|request| request.strip_prefix(b"*2\r\n$3\r\nGET".as_slice()));
    for rest in set_up.flatten() {
        let set = [b"*3\r\n$3\r\nSET".as_slice(), rest, b"$64\r\n", &value(), b"\r\n"].concat();
        path.request(&set);
        path.end_turn();
    }
    let mut next = requests.iter().cycle();
    group.throughput(Throughput::Elements(per_turn as u64));
    group.bench_function(name, |bench| {
        bench.iter(|| {
            for request in next.by_ref().take(per_turn) {
                path.request(black_box(request));
            }
            path.end_turn();
        });
    });
}

fn whole_request(criterion: &mut Criterion) {
    let mut keys = Keys::new(KEY_COUNT);
    let mut make = |parts: fn(&mut Keys) -> Vec<Vec<u8>>| -> Vec<Vec<u8>> {
        (0..REQUESTS).map(|_| command(&parts(&mut keys))).collect()
    };
    let sets = make(|keys| vec![b"SET".to_vec(), keys.key("key"), value()]);
    let gets = make(|keys| vec![b"GET".to_vec(), keys.key("key")]);
    let incrs = make(|keys| vec![b"INCR".to_vec(), keys.key("counter")]);
    let msets = make(|keys| {
        let pairs = (0..10).flat_map(|_| [keys.key("key"), value()]);
        std::iter::once(b"MSET".to_vec()).chain(pairs).collect()
    });
    let mut group = criterion.benchmark_group("request");
    bench_requests(&mut group, "GET", 1, &gets);
    bench_requests(&mut group, "SET, 1 a turn", 1, &sets);
    bench_requests(&mut group, "SET, 50 a turn", 50, &sets);
    bench_requests(&mut group, "INCR, 50 a turn", 50, &incrs);
    bench_requests(&mut group, "MSET of 10, 50 a turn", 50, &msets);
    group.finish();
}

criterion_group! {
    name = benches;
    config = Criterion::default()
        .sample_size(20)
        .warm_up_time(Duration::from_millis(500))
        .measurement_time(Duration::from_secs(2));
    targets = whole_request
}
criterion_main!(benches);
