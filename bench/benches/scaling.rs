//! Cost of a key that is another core's: in-process load, without sockets and log, on one core and on two, none, half or all
//! of whose requests are for the other one. The throughput shown is that of each core.
//!
//! Each core is a thread with an executor, a ring and a shard of its own, as in a node, and has clients that send sixteen requests
//! at once, and sixteen more as soon as those are answered. A request goes a node's whole way from the received bytes to the reply:
//! decoded, looked up, routed, run by its shard's core (a write in that turn's entry), its reply copied to where its client's
//! output is. Those for the other core go through the mailboxes there and back. Not in it is what a connection keeps of its
//! requests' order, nor the way between client and server, and no core sleeps.
//!
//! It needs processors 0 and 1 for itself.

mod shard;

use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::mpsc::{Receiver, Sender, channel};
use std::sync::{Arc, Barrier, Mutex, OnceLock};
use std::time::{Duration, Instant};

use basalt_bench::requests::{Keys, command, value};
use basalt_core::internals::cluster::Router;
use basalt_core::internals::commands::{Args, Kind, table};
use basalt_core::internals::core_loop::{Outbox, PendingRequest, PendingRequests};
use basalt_core::internals::entry::batch;
use basalt_core::internals::entry::request::{self, ArgList, Mode, RequestHeader};
use basalt_core::internals::ids::{CoreId, Origin, ShardId};
use basalt_core::internals::limits;
use basalt_core::internals::mail::{Doorbell, Mailboxes, Message, ReplyBatch};
use basalt_net::resp::{Argv, Decoded, Decoder, Limits, Protocol};
use basalt_net::ring::{ConnId, Park, Ring, RingOptions};
use criterion::{Criterion, Throughput, criterion_group, criterion_main};
use glommio::{LocalExecutorBuilder, Placement};
use shard::{BenchShard, NOW_MS};

#[global_allocator]
static ALLOCATOR: tikv_jemallocator::Jemalloc = tikv_jemallocator::Jemalloc;

const CORES: usize = 2;
/// Keys that are drawn from, of both cores together.
const KEY_COUNT: u64 = 100_000;
/// Requests of each kind, for each core, that are made beforehand and run again and again.
const REQUESTS: usize = 20_000;
/// Clients of each core.
const CLIENTS: [u64; 4] = [1, 5, 16, 50];
/// Requests that a client sends at once; it sends as many again when all of them are answered.
const PIPELINE: u64 = 16;
/// Arguments of the commands here, their names included.
const ARGS_MAX: usize = 3;

/// One measurement.
#[derive(Clone, Copy)]
struct Load {
    /// Requests of each core that takes part.
    count: u64,
    cores: usize,
    remote_percent: u64,
    is_write: bool,
    /// Clients of each core.
    clients: u64,
}

/// State that both cores share.
struct Node {
    mailboxes: OnceLock<Arc<Mailboxes>>,
    bells: Mutex<Vec<(CoreId, Doorbell)>>,
    meeting: Barrier,
    /// Cores whose requests of this measurement are all answered.
    done: AtomicUsize,
}

/// One core's side.
struct Core<'a> {
    id: CoreId,
    node: &'a Node,
    mailboxes: &'a Mailboxes,
    ring: Ring,
    router: Router,
    shard: BenchShard,
    decoder: Decoder,
    argv: Argv,
    resp_limits: Limits,
    pending: PendingRequests,
    outbox: Outbox,
    /// This turn's entry, and where the replies of its writes go.
    entry: Vec<u8>,
    origins: Vec<Origin>,
    /// Unanswered requests of each client.
    unanswered: Vec<u64>,
    /// Clients without any.
    ready: Vec<u64>,
    /// The clients' output.
    output: Vec<u8>,
    reply: Vec<u8>,
    /// Encoded requests by whether they write and by the core of their key.
    requests: [[Vec<Vec<u8>>; CORES]; 2],
    next: usize,
    remote_credit: u64,
}

impl<'a> Core<'a> {
    /// Meets the other core; on an executor.
    fn new(id: CoreId, node: &'a Node) -> Core<'a> {
        let mut ring = Ring::new(&RingOptions::default()).expect("this machine can run a node, see `basalt --help`");
        let park = Park::new(&mut ring).expect("a new ring has no park");
        node.bells.lock().expect("no holder panics").push((id, Doorbell::new(ring.waker(), park.signal())));
        node.meeting.wait();
        let mailboxes = node.mailboxes.get_or_init(|| {
            let mut bells = std::mem::take(&mut *node.bells.lock().expect("no holder panics"));
            bells.sort_by_key(|(core, _)| *core);
            Arc::new(Mailboxes::new(bells.into_iter().map(|(_, bell)| bell).collect()))
        });
        let router = Router::new(CORES as u16, CORES as u16);
        let mut entry = Vec::new();
        batch::begin(&mut entry);
        let mut core = Core {
            id,
            node,
            mailboxes,
            ring,
            requests: make_requests(&router),
            router,
            shard: BenchShard::new(),
            decoder: Decoder::new(),
            argv: Argv::new(),
            resp_limits: Limits::default(),
            pending: PendingRequests::default(),
            outbox: Outbox::new(id, mailboxes.clone()),
            entry,
            origins: Vec::new(),
            unanswered: Vec::new(),
            ready: Vec::new(),
            output: Vec::new(),
            reply: Vec::new(),
            next: 0,
            remote_credit: 0,
        };
        // Every key that is read is there.
        let (count, clients) = (REQUESTS as u64, CLIENTS[0]);
        core.take_part(Load { count, cores: CORES, remote_percent: 0, is_write: true, clients });
        core
    }

    /// Sends this core's requests and answers those of the other one until all are answered.
    fn take_part(&mut self, load: Load) {
        let mut left = load.count;
        let mut is_done = false;
        self.unanswered.clear();
        self.unanswered.resize(load.clients as usize, 0);
        self.ready.clear();
        self.ready.extend(0..load.clients);
        let mut sending = Vec::new();
        while self.node.done.load(Ordering::Acquire) < load.cores {
            std::mem::swap(&mut sending, &mut self.ready);
            for client in sending.drain(..) {
                let count = left.min(PIPELINE);
                left -= count;
                self.unanswered[client as usize] = count;
                for _ in 0..count {
                    self.start(load, client);
                }
            }
            self.outbox.flush_requests();
            self.take_replies();
            self.answer_other();
            self.end_turn();
            if !is_done && left == 0 && self.pending.is_empty() {
                is_done = true;
                self.node.done.fetch_add(1, Ordering::AcqRel);
            }
        }
        assert!(self.pending.is_empty() && self.outbox.is_empty(), "everything is answered");
    }

    /// Notes that a request of `client` is answered.
    fn note_answer(&mut self, client: u64) {
        let unanswered = &mut self.unanswered[client as usize];
        *unanswered -= 1;
        if *unanswered == 0 {
            self.ready.push(client);
        }
    }

    /// The next request, from its bytes on.
    fn start(&mut self, load: Load, client: u64) {
        self.remote_credit += load.remote_percent;
        let is_remote = self.remote_credit >= 100;
        self.remote_credit -= if is_remote { 100 } else { 0 };
        let of_core = if is_remote { CORES - 1 - self.id.index() } else { self.id.index() };
        let requests = &self.requests[usize::from(load.is_write)][of_core];
        self.next = (self.next + 1) % requests.len();
        let input = requests[self.next].as_slice();
        let decoded = self.decoder.decode(input, &self.resp_limits, &mut self.argv);
        assert!(matches!(decoded, Ok(Decoded::Command { .. })), "requests here are whole");
        let mut places: [&[u8]; ARGS_MAX] = [b""; ARGS_MAX];
        for (place, arg) in places.iter_mut().zip(self.argv.iter(input)) {
            *place = arg;
        }
        let args: Args<'_> = &places[..self.argv.len()];
        let command = table::find(args).expect("requests here are right");
        let shard = command.keys(args).next().map_or(ShardId(0), |key| self.router.shard_of(args[key]));
        let to = self.router.core_of(shard).expect("it is one of the router's");
        let header = RequestHeader::new(Protocol::Resp2, 0, command.id);
        let mode = match command.kind {
            Kind::Read(run) if to == self.id => {
                self.shard.machine.read_now(run, header, args, NOW_MS, &mut self.output);
                self.note_answer(client);
                return;
            }
            Kind::Read(_) => Mode::Read,
            _ => Mode::Write,
        };
        let ordered = mode == Mode::Write;
        let connection = ConnId::default();
        let ticket = self.pending.insert(PendingRequest { connection, place: client, part: 0, ordered });
        let origin = Origin { core: self.id, client: client as u32, ticket };
        let encode = |out: &mut Vec<u8>| request::encode(out, header, args[1..].iter().copied());
        if to == self.id {
            batch::push(&mut self.entry, encode);
            self.origins.push(origin);
        } else {
            self.outbox.request(to, origin, shard, mode, encode);
        }
    }

    /// Takes the replies that the other core has left.
    fn take_replies(&mut self) {
        let from = CoreId((CORES - 1 - self.id.index()) as u16);
        while let Some(replies) = self.mailboxes.next_replies(from, self.id) {
            self.deliver(&replies);
            self.outbox.recycle_replies(replies);
        }
    }

    /// Runs what the other core has asked for.
    fn answer_other(&mut self) {
        let from = CoreId((CORES - 1 - self.id.index()) as u16);
        let mut taken = 0;
        while taken < limits::REQUESTS_PER_TURN
            && let Some(Message::Batch(requests)) = self.mailboxes.next_request(from, self.id)
        {
            taken += requests.heads.len();
            let mut start = 0;
            for head in &requests.heads {
                let bytes = &requests.bytes[start..head.end];
                start = head.end;
                if head.mode == Mode::Write {
                    batch::push(&mut self.entry, |out| out.extend_from_slice(bytes));
                    self.origins.push(Origin { core: from, client: head.client, ticket: head.ticket });
                    continue;
                }
                let mut args = ArgList::new();
                args.push(b"");
                let header = request::decode(bytes, &mut args).expect("it was encoded here");
                let command = table::by_id(header.command).expect("it was encoded here");
                args[0] = command.name().as_bytes();
                let Kind::Read(run) = command.kind else { unreachable!("writes are in entries") };
                self.reply.clear();
                self.shard.machine.read_now(run, header, &args, NOW_MS, &mut self.reply);
                self.outbox.reply_to(from, head.ticket, &self.reply);
            }
            self.outbox.recycle_requests(requests);
        }
    }

    /// Applies the turn's entry, hands over what is for the other core.
    fn end_turn(&mut self) {
        if !self.origins.is_empty() {
            batch::seal(&mut self.entry, NOW_MS, 1, 512 << 20);
            self.shard.make_room();
            self.shard.apply(&self.entry);
            // A machine makes replies only for batches that a shard has on their way: here they are all the same.
            for origin in self.origins.drain(..) {
                self.outbox.reply_to(origin.core, origin.ticket, b"+OK\r\n");
            }
            batch::begin(&mut self.entry);
        }
        if let Some(replies) = self.outbox.take_local_replies() {
            self.deliver(&replies);
            self.outbox.recycle_local_replies(replies);
        }
        self.outbox.flush();
        self.output.clear();
        self.ring.turn(None).expect("the ring works");
        while self.ring.next_event().is_some() {}
        self.mailboxes.bell(self.id).answer();
    }

    fn deliver(&mut self, replies: &ReplyBatch) {
        let mut start = 0;
        for &(ticket, end) in &replies.heads {
            let request = self.pending.take(ticket);
            self.note_answer(request.place);
            self.output.extend_from_slice(&replies.bytes[start..end]);
            start = end;
        }
    }
}

/// GETs and SETs of random keys, by the core of their key.
fn make_requests(router: &Router) -> [[Vec<Vec<u8>>; CORES]; 2] {
    let mut keys = Keys::new(KEY_COUNT);
    let mut requests: [[Vec<Vec<u8>>; CORES]; 2] = Default::default();
    let [gets, sets] = &mut requests;
    while gets.iter().any(|gets| gets.len() < REQUESTS) {
        let key = keys.key("key");
        let core = router.core_of(router.shard_of(&key)).expect("every key has a shard").index();
        if gets[core].len() < REQUESTS {
            gets[core].push(command(&[b"GET".as_slice(), &key]));
            sets[core].push(command(&[b"SET".as_slice(), &key, &value()]));
        }
    }
    requests
}

/// Ends the process if its thread panics: the other core would wait for it for ever.
struct AbortOnPanic;

impl Drop for AbortOnPanic {
    fn drop(&mut self) {
        if std::thread::panicking() {
            std::process::abort();
        }
    }
}

/// The other core: takes part in what it is sent.
fn run_other(node: &Node, loads: &Receiver<Load>) {
    let _guard = AbortOnPanic;
    let mut core = Core::new(CoreId(1), node);
    node.meeting.wait();
    for load in loads {
        node.meeting.wait();
        if load.cores == CORES {
            core.take_part(load);
        }
        node.meeting.wait();
    }
}

/// The time that one measurement takes.
fn measure(core: &mut Core<'_>, other: &Sender<Load>, load: Load) -> Duration {
    core.node.done.store(0, Ordering::Release);
    other.send(load).expect("the other core runs");
    core.node.meeting.wait();
    let begun = Instant::now();
    core.take_part(load);
    let time = begun.elapsed();
    core.node.meeting.wait();
    time
}

fn executor(core: usize) -> glommio::LocalExecutor {
    let placement = match std::thread::available_parallelism() {
        Ok(count) if count.get() >= CORES => Placement::Fixed(core),
        _ => Placement::Unbound,
    };
    LocalExecutorBuilder::new(placement).make().expect("an executor can be made")
}

fn scaling(criterion: &mut Criterion) {
    let node = Arc::new(Node {
        mailboxes: OnceLock::new(),
        bells: Mutex::new(Vec::new()),
        meeting: Barrier::new(CORES),
        done: AtomicUsize::new(0),
    });
    let (loads, to_come) = channel();
    let other = {
        let node = node.clone();
        let run = move || executor(1).run(async { run_other(&node, &to_come) });
        std::thread::Builder::new().name("other core".into()).spawn(run).expect("a thread can be started")
    };
    executor(0).run(async {
        let mut core = Core::new(CoreId(0), &node);
        node.meeting.wait();
        let mut group = criterion.benchmark_group("scaling");
        group.throughput(Throughput::Elements(1));
        for (command, is_write) in [("GET", false), ("SET", true)] {
            for clients in CLIENTS {
                for (cores, remote_percent) in [(1, 0), (2, 0), (2, 50), (2, 100)] {
                    let name = format!("{command}, {clients} clients a core, {cores} cores, {remote_percent} % remote");
                    group.bench_function(name, |bench| {
                        bench.iter_custom(|count| {
                            let load = Load { count, cores, remote_percent, is_write, clients };
                            measure(&mut core, &loads, load)
                        });
                    });
                }
            }
        }
        group.finish();
    });
    drop(loads);
    other.join().expect("the other core ends when there is nothing to come");
}

criterion_group! {
    name = benches;
    config = Criterion::default()
        .sample_size(20)
        .warm_up_time(Duration::from_millis(500))
        .measurement_time(Duration::from_secs(2));
    targets = scaling
}
criterion_main!(benches);
