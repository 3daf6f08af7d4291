//! Routing, and a hop to another core and back through the mailboxes: to a core that runs, and to one that sleeps in its ring.
//!
//! Two threads play the cores, each pinned and in an executor of its own, as in a node. What is measured is the way there and
//! back, seen by the asking core: post, ring the bell, and the other's replies. A core that is parked in glommio is farther away
//! by an eventfd; it has then been idle for longer than a request takes.
//!
//! A running core does not sleep between its turns, so this needs two processors that nobody else uses: on a busy machine it shows
//! the kernel's time slices (milliseconds) instead.

use std::hint::black_box;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Barrier, OnceLock};
use std::thread::JoinHandle;
use std::time::Duration;

use basalt_bench::requests::{Keys, value};
use basalt_core::internals::cluster::Router;
use basalt_core::internals::commands::table;
use basalt_core::internals::core_loop::Outbox;
use basalt_core::internals::entry::request::{self, Mode, RequestHeader};
use basalt_core::internals::ids::{CoreId, Origin, ShardId, Ticket};
use basalt_core::internals::limits;
use basalt_core::internals::mail::{Doorbell, Mailboxes, Message, Sleep};
use basalt_net::resp::Protocol;
use basalt_net::ring::{Park, Ring, RingOptions};
use criterion::{Criterion, Throughput, criterion_group, criterion_main};
use glommio::{LocalExecutorBuilder, Placement};

/// The core that asks: this thread.
const ASKING: CoreId = CoreId(0);
/// The core that answers.
const ANSWERING: CoreId = CoreId(1);

/// State that both cores share.
struct Pair {
    mailboxes: OnceLock<Arc<Mailboxes>>,
    /// True if the answering core may sleep when nothing is there.
    may_sleep: AtomicBool,
    stop: AtomicBool,
    bells: std::sync::Mutex<Vec<(CoreId, Doorbell)>>,
    ready: Barrier,
}

impl Pair {
    fn new() -> Pair {
        Pair {
            mailboxes: OnceLock::new(),
            may_sleep: AtomicBool::new(false),
            stop: AtomicBool::new(false),
            bells: std::sync::Mutex::new(Vec::new()),
            ready: Barrier::new(2),
        }
    }

    /// Meets the other core, each with its bell; on an executor.
    fn meet(&self, core: CoreId, ring: &mut Ring) -> &Arc<Mailboxes> {
        let park = Park::new(ring).expect("a new ring has no park");
        let bell = Doorbell::new(ring.waker(), park.signal());
        self.bells.lock().expect("no holder panics").push((core, bell));
        self.ready.wait();
        self.mailboxes.get_or_init(|| {
            let mut bells = std::mem::take(&mut *self.bells.lock().expect("no holder panics"));
            bells.sort_by_key(|(core, _)| *core);
            Arc::new(Mailboxes::new(bells.into_iter().map(|(_, bell)| bell).collect()))
        })
    }
}

fn ring() -> Ring {
    Ring::new(&RingOptions::default()).expect("this machine can run a node, see `basalt --help`")
}

/// One turn of a core: its ring, with a bounded sleep if `may_sleep` and nothing waits.
fn turn(core: CoreId, ring: &mut Ring, mailboxes: &Mailboxes, may_sleep: bool) {
    let bell = mailboxes.bell(core);
    let wait = (may_sleep && bell.prepare_sleep(Sleep::Blocked)).then_some(limits::BLOCK);
    ring.turn(wait).expect("the ring works");
    while let Some(event) = ring.next_event() {
        black_box(event);
    }
    bell.answer();
}

/// Answers requests until told to stop.
fn answer(pair: &Pair) {
    let mut ring = ring();
    let mailboxes = pair.meet(ANSWERING, &mut ring);
    let mut outbox = Outbox::new(ANSWERING, mailboxes.clone());
    while !pair.stop.load(Ordering::Relaxed) {
        let mut idle = true;
        while let Some(Message::Batch(batch)) = mailboxes.next_request(ASKING, ANSWERING) {
            idle = false;
            for head in &batch.heads {
                outbox.reply_to(ASKING, head.ticket, b"+OK\r\n");
            }
        }
        outbox.flush();
        turn(ANSWERING, &mut ring, mailboxes, idle && pair.may_sleep.load(Ordering::Relaxed));
    }
}

fn spawn_answering(pair: Arc<Pair>) -> JoinHandle<()> {
    let body = move || {
        let executor = LocalExecutorBuilder::new(placement(ANSWERING)).make().expect("an executor can be made");
        executor.run(async { answer(&pair) });
    };
    std::thread::Builder::new().name("answering".into()).spawn(body).expect("a thread can be started")
}

/// Each core has a processor of its own, where there are two.
fn placement(core: CoreId) -> Placement {
    match std::thread::available_parallelism() {
        Ok(count) if count.get() >= 2 => Placement::Fixed(core.index()),
        _ => Placement::Unbound,
    }
}

/// Asks `count` requests in one batch and waits for all replies.
fn round_trip(count: u32, args: &[Vec<u8>; 2], ring: &mut Ring, mailboxes: &Mailboxes, outbox: &mut Outbox) {
    let set = table::lookup(b"set").expect("SET is a command").id;
    let header = RequestHeader::new(Protocol::Resp2, 0, set);
    for ticket in 0..count {
        let origin = Origin { core: ASKING, client: ticket, ticket: Ticket(ticket) };
        let encode = |out: &mut Vec<u8>| request::encode(out, header, args.iter().map(Vec::as_slice));
        outbox.request(ANSWERING, origin, ShardId(1), Mode::Write, encode);
    }
    outbox.flush();
    let mut answered = 0;
    while answered < count {
        while let Some(replies) = mailboxes.next_replies(ANSWERING, ASKING) {
            answered += replies.heads.len() as u32;
        }
        if answered < count {
            turn(ASKING, ring, mailboxes, false);
        }
    }
}

fn route(criterion: &mut Criterion) {
    let router = Router::new(2, 2);
    let mut keys = Keys::new(1_000_000);
    let drawn: Vec<Vec<u8>> = (0..64).map(|_| keys.key("key")).collect();
    let mut group = criterion.benchmark_group("route");
    group.throughput(Throughput::Elements(drawn.len() as u64));
    group.bench_function("key to shard and core", |bench| {
        bench.iter(|| {
            drawn
                .iter()
                .map(|key| router.core_of(router.shard_of(black_box(key))).map_or(0, |core| core.index()))
                .sum::<usize>()
        });
    });
    group.bench_function("name to command", |bench| {
        let names: [&[u8]; 8] = [b"SET", b"get", b"INCR", b"LPUSH", b"MSET", b"HSET", b"zadd", b"PING"];
        bench.iter(|| (0..8).flat_map(|_| names).filter_map(|name| table::lookup(black_box(name))).count());
    });
    group.finish();
}

fn hop(criterion: &mut Criterion) {
    let executor = LocalExecutorBuilder::new(placement(ASKING)).make().expect("an executor can be made");
    executor.run(async {
        let pair = Arc::new(Pair::new());
        let answering = spawn_answering(pair.clone());
        let mut ring = ring();
        let mailboxes = pair.meet(ASKING, &mut ring);
        let mut outbox = Outbox::new(ASKING, mailboxes.clone());
        let args = [Keys::new(1_000_000).key("key"), value()];
        let mut group = criterion.benchmark_group("hop there and back");
        for (name, count, may_sleep) in [
            ("1 request, running core", 1, false),
            ("64 requests, running core", 64, false),
            ("1 request, sleeping core", 1, true),
            ("64 requests, sleeping core", 64, true),
        ] {
            pair.may_sleep.store(may_sleep, Ordering::Relaxed);
            group.throughput(Throughput::Elements(u64::from(count)));
            group.bench_function(name, |bench| {
                bench.iter(|| round_trip(count, &args, &mut ring, mailboxes, &mut outbox));
            });
        }
        group.finish();
        pair.stop.store(true, Ordering::Relaxed);
        mailboxes.bell(ANSWERING).ring();
        answering.join().expect("the answering core ends when told to");
    });
}

criterion_group! {
    name = benches;
    config = Criterion::default()
        .sample_size(30)
        .warm_up_time(Duration::from_millis(500))
        .measurement_time(Duration::from_secs(2));
    targets = route, hop
}
criterion_main!(benches);
