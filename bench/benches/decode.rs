//! Decoding requests: one by one, sixteen pipelined, and a large one that comes in pieces.

use std::hint::black_box;
use std::time::Duration;

use basalt_bench::requests::{Keys, command, value};
use basalt_net::resp::{Argv, Decoded, Decoder, Limits};
use criterion::{BenchmarkGroup, Criterion, Throughput, criterion_group, criterion_main, measurement::WallTime};

/// Bytes of a receive buffer: a large command is seen in such steps.
const PIECE_BYTES: usize = 16 << 10;

/// Decodes all commands of `input`; returns how many there are.
fn decode_all(decoder: &mut Decoder, argv: &mut Argv, limits: &Limits, input: &[u8]) -> usize {
    let (mut used, mut count) = (0, 0);
    while used < input.len() {
        match decoder.decode(&input[used..], limits, argv) {
            Ok(Decoded::Command { consumed }) => {
                black_box(argv.get(&input[used..], argv.len() - 1));
                used += consumed;
                count += 1;
            }
            other => panic!("the input holds whole commands only: {other:?}"),
        }
    }
    count
}

fn bench_whole(group: &mut BenchmarkGroup<'_, WallTime>, name: &str, input: &[u8], count: usize) {
    let (mut decoder, mut argv, limits) = (Decoder::new(), Argv::new(), Limits::default());
    group.throughput(Throughput::Elements(count as u64));
    group.bench_function(name, |bench| {
        bench.iter(|| assert_eq!(decode_all(&mut decoder, &mut argv, &limits, black_box(input)), count));
    });
}

/// Decodes a command again each time another piece of it has come, as a core does.
fn decode_in_pieces(input: &[u8], decoder: &mut Decoder, argv: &mut Argv, limits: &Limits) {
    for end in (PIECE_BYTES..input.len()).step_by(PIECE_BYTES) {
        let decoded = decoder.decode(black_box(&input[..end]), limits, argv);
        assert!(matches!(decoded, Ok(Decoded::Incomplete { .. })), "the last piece is missing");
    }
    let decoded = decoder.decode(black_box(input), limits, argv);
    assert!(matches!(decoded, Ok(Decoded::Command { .. })), "all pieces are there");
}

fn decode(criterion: &mut Criterion) {
    let mut keys = Keys::new(1_000_000);
    let set = command(&[b"SET".to_vec(), keys.key("key"), value()]);
    let get = command(&[b"GET".to_vec(), keys.key("key")]);
    let pairs = |keys: &mut Keys, count| (0..count).flat_map(|_| [keys.key("key"), value()]).collect::<Vec<_>>();
    let mset = command(&[vec![b"MSET".to_vec()], pairs(&mut keys, 10)].concat());
    let huge = command(&[vec![b"MSET".to_vec()], pairs(&mut keys, 10_000)].concat());

    let mut group = criterion.benchmark_group("decode");
    bench_whole(&mut group, "SET", &set, 1);
    bench_whole(&mut group, "GET", &get, 1);
    bench_whole(&mut group, "GET inline", b"GET key:000000000001\r\n", 1);
    bench_whole(&mut group, "MSET of 10", &mset, 1);
    bench_whole(&mut group, "SET, 16 pipelined", &set.repeat(16), 16);
    let (mut decoder, mut argv, limits) = (Decoder::new(), Argv::new(), Limits::default());
    group.throughput(Throughput::Bytes(huge.len() as u64));
    group.bench_function("MSET of 10000 in pieces of 16 KiB", |bench| {
        bench.iter(|| decode_in_pieces(&huge, &mut decoder, &mut argv, &limits));
    });
    group.finish();
}

criterion_group! {
    name = benches;
    config = Criterion::default()
        .sample_size(30)
        .warm_up_time(Duration::from_millis(500))
        .measurement_time(Duration::from_secs(2));
    targets = decode
}
criterion_main!(benches);
