//! A shard with a real log and real rows, on an executor of its own, and the core around it made up.

use std::path::Path;
use std::time::Instant;

use basalt_net::resp::Protocol;
use basalt_net::ring::{Park, Ring, RingOptions};
use basalt_raft::{EntryId, Machine};
use basalt_storage::log::{Durability, LogOptions, LogSyncer};
use basalt_storage::{BlockCache, Store, StoreOptions};

use super::open_batch::PendingBatch;
use super::*;
use crate::boot::StopRequest;
use crate::commands::table;
use crate::config::Config;
use crate::mailbox::{Doorbell, Mailboxes, Mode};
use crate::node::make_server;
use crate::request;
use crate::router::Router;

const CORE: CoreId = CoreId(0);
const PATIENCE_S: u64 = 20;

/// Notes what a shard asks of its core.
#[derive(Default)]
struct Host {
    replies: Vec<(u32, String)>,
    warms: usize,
}

impl ShardHost for Host {
    fn reply(&mut self, origin: Origin, reply: &[u8]) {
        self.replies.push((origin.ticket.0, String::from_utf8_lossy(reply).into_owned()));
    }

    fn warm(&mut self, _shard: ShardId, _client: (CoreId, u32), _read: ColdRead) {
        self.warms += 1;
    }
}

/// A server of one shard and so many cores, none of which runs.
fn server(cores: u16) -> Arc<Server> {
    let bell = |_| {
        let mut ring = Ring::new(&RingOptions::default()).unwrap();
        let park = Park::new(&mut ring).unwrap();
        Doorbell::new(ring.waker(), park.signal())
    };
    let bells = (0..cores).map(bell).collect();
    let cache = BlockCache::new(1 << 20);
    Arc::new(make_server(
        Config::default(),
        Router::new(1, cores),
        Mailboxes::new(bells),
        cache,
        StopRequest::default(),
    ))
}

fn store(directory: &Path) -> Store {
    Store::open(&directory.join("data"), &StoreOptions::new(1 << 20, BlockCache::new(1 << 20))).unwrap()
}

/// Opens a shard and lets `test` have it.
fn with_shard<F: Future<Output = ()>>(options: LogOptions, test: impl FnOnce(Shard) -> F) {
    with_server(1, options, |_, shard| test(shard));
}

/// Opens a shard of a server of so many cores, and lets `test` have both.
pub(crate) fn with_server<F: Future<Output = ()>>(
    cores: u16,
    options: LogOptions,
    test: impl FnOnce(Arc<Server>, Shard) -> F,
) {
    let directory = tempfile::tempdir().unwrap();
    let executor = glommio::LocalExecutorBuilder::default().make().unwrap();
    executor.run(async {
        let syncer = LogSyncer::start(0, Durability::Always).unwrap();
        let log = RaftLog::open(&directory.path().join("log"), &options, &syncer).unwrap();
        let machine = Rc::new(RefCell::new(ShardMachine::new(store(directory.path()))));
        let background = Background::start("test", 1, 8).unwrap();
        let (snapshots, server) = (directory.path().join("snapshots"), server(cores));
        let shard = Shard::open(ShardId(0), log, machine, snapshots, &server, CORE, &background).await.unwrap();
        test(server, shard).await;
    });
}

pub(crate) fn log_options() -> LogOptions {
    LogOptions { warm_files: 0, reserve_bytes: 0, ..LogOptions::default() }
}

/// `proto-max-bulk-len` of the tests.
const STRING_BYTES_MAX: usize = 64 << 20;

fn origin(ticket: u32) -> Origin {
    Origin { core: CORE, client: 7, ticket: Ticket(ticket) }
}

pub(crate) fn command(words: &[&str]) -> Vec<u8> {
    let header = RequestHeader::new(Protocol::Resp2, 0, table::lookup(words[0].as_bytes()).unwrap().id);
    let mut bytes = Vec::new();
    request::encode(&mut bytes, header, words[1..].iter().map(|word| word.as_bytes()));
    bytes
}

fn entry(commands: &[&[&str]]) -> Vec<u8> {
    let mut bytes = Vec::new();
    batch::begin(&mut bytes);
    for words in commands {
        batch::push(&mut bytes, |out| out.extend_from_slice(&command(words)));
    }
    batch::seal(&mut bytes, 1, 1, STRING_BYTES_MAX);
    bytes
}

fn pending(ticket: u64, write_count: u32) -> PendingBatch {
    let operations = (0..write_count).map(|number| Operation { origin: Some(origin(number)), read: None });
    PendingBatch {
        ticket,
        since: Instant::now(),
        write_count: write_count as usize,
        bytes: 100,
        applied: false,
        operations: operations.collect(),
        reads: Vec::new(),
    }
}

/// Batches that nothing moves on, as many as may be in flight.
fn stuck() -> VecDeque<PendingBatch> {
    (0..limits::BATCHES_IN_FLIGHT as u64).map(|ticket| pending(ticket, 1)).collect()
}

#[test]
fn an_entry_answers_the_batch_it_was_proposed_with_and_no_other() {
    let directory = tempfile::tempdir().unwrap();
    let mut machine = ShardMachine::new(store(directory.path()));
    // The first is lost with the leadership, which its outcome tells later.
    machine.in_flight.borrow_mut().extend([pending(4, 3), pending(5, 1), pending(6, 2)]);
    let mut apply = |index, commands: &[&[&str]], ticket| {
        let replies = machine.apply(EntryId { term: 1, index }, &entry(commands), ticket).unwrap();
        let applied: Vec<bool> = machine.in_flight.borrow().iter().map(|batch| batch.applied).collect();
        (String::from_utf8(replies.bytes).unwrap(), applied)
    };

    let others = apply(1, &[&["SET", "a", "1"], &["SET", "b", "2"]], None);
    let own = apply(2, &[&["INCR", "a"]], Some(5));
    let after = apply(3, &[&["INCR", "b"], &["INCR", "a"]], Some(6));

    assert_eq!(others, (String::new(), vec![false, false, false]), "an entry of another leader");
    assert_eq!(own, (":2\r\n".to_owned(), vec![false, true, false]));
    assert_eq!(after, (":3\r\n:3\r\n".to_owned(), vec![false, true, true]));
}

#[test]
fn reads_behind_one_write_are_refused_when_their_replies_would_fill_the_memory() {
    let directory = tempfile::tempdir().unwrap();
    let mut machine = ShardMachine::new(store(directory.path()));
    let value = "v".repeat(limits::BATCH_REPLY_BYTES_MAX / 4);
    let mut batch = pending(0, 1);
    batch.reads = command(&["GET", "key"]);
    batch
        .operations
        .extend((1..8).map(|number| Operation { origin: Some(origin(number)), read: Some(0..batch.reads.len()) }));
    machine.in_flight.borrow_mut().push_back(batch);

    let replies = machine.apply(EntryId { term: 1, index: 1 }, &entry(&[&["SET", "key", &value]]), Some(0)).unwrap();

    let mut start = 0;
    let kinds: Vec<u8> = replies.ends.iter().map(|&end| replies.bytes[std::mem::replace(&mut start, end)]).collect();
    assert_eq!(kinds, b"+$$$$---");
}

#[test]
fn writes_are_refused_and_reads_go_on_when_the_disk_is_full_and_no_more_batches_may_be_in_flight() {
    let free = nix::sys::statvfs::statvfs(&std::env::temp_dir()).unwrap();
    let free_bytes = free.blocks_available() as u64 * free.fragment_size() as u64;
    // What is in the log already may use half of the reserve.
    let options = LogOptions { reserve_bytes: free_bytes / 2 * 3, ..log_options() };
    with_shard(options, |mut shard| async move {
        let mut host = Host::default();
        *shard.in_flight.borrow_mut() = stuck();
        shard.submit(origin(1), Mode::Write, &command(&["SET", "key", "value"]), 1, &mut host);
        shard.propose(Instant::now(), 1, STRING_BYTES_MAX, &mut host);
        shard.submit(origin(2), Mode::Read, &command(&["GET", "key"]), 1, &mut host);

        assert!(host.replies[0].1.starts_with("-MISCONF"), "{:?}", host.replies);
        assert_eq!(host.replies[1..], [(2, "$-1\r\n".to_owned())]);
        assert_eq!((shard.open.write_count, shard.in_flight.borrow().len()), (0, limits::BATCHES_IN_FLIGHT));
    });
}

#[test]
fn a_batch_waits_for_a_log_that_cannot_take_it_right_now_but_not_for_ever() {
    // A log that never begins a second segment.
    let options = LogOptions { segment_bytes: 4096, segments_waiting_max: 0, ..log_options() };
    with_shard(options, |mut shard| async move {
        let (mut host, start_ms) = (Host::default(), 1_000_000);
        let value = "v".repeat(8192);
        shard.submit(origin(1), Mode::Write, &command(&["SET", "key", &value]), start_ms, &mut host);
        shard.propose(Instant::now(), start_ms, STRING_BYTES_MAX, &mut host);
        assert_eq!((host.replies.len(), shard.is_held()), (0, true), "refused at once: {:?}", host.replies);
        shard.submit(origin(2), Mode::Write, &command(&["DEL", "key"]), start_ms, &mut host);
        shard.propose(Instant::now(), start_ms + limits::MEMTABLE_WAIT_MS - 1, STRING_BYTES_MAX, &mut host);
        assert_eq!((host.replies.len(), shard.open.write_count), (0, 2));

        shard.propose(Instant::now(), start_ms + limits::MEMTABLE_WAIT_MS, STRING_BYTES_MAX, &mut host);

        let refused: Vec<_> =
            host.replies.iter().map(|(ticket, reply)| (*ticket, reply.starts_with("-BUSY"))).collect();
        assert_eq!(refused, [(1, true), (2, true)]);
        assert!(!shard.is_held(), "nothing waits any more");
    });
}

#[test]
fn a_stall_of_the_log_that_passes_refuses_nothing() {
    const WRITES: u32 = 200;
    // Every batch needs a new segment, and only one may wait to be written.
    let options = LogOptions { segment_bytes: 4096, segments_waiting_max: 1, ..log_options() };
    with_shard(options, |mut shard| async move {
        let (mut host, mut held) = (Host::default(), 0);
        let value = "v".repeat(8192);
        let deadline = Instant::now() + std::time::Duration::from_secs(PATIENCE_S);
        for number in 0..WRITES {
            shard.submit(origin(number), Mode::Write, &command(&["APPEND", "key", &value]), 1, &mut host);
            while shard.open.write_count > 0 {
                shard.propose(Instant::now(), 1, STRING_BYTES_MAX, &mut host);
                held += u32::from(shard.is_held());
                shard.group.drain_completions();
                glommio::timer::sleep(limits::HELD_RETRY).await;
                shard.take_outcomes(1, &mut host);
                assert!(Instant::now() < deadline, "after {number} writes");
            }
        }
        while host.replies.len() < WRITES as usize {
            shard.group.drain_completions();
            glommio::timer::sleep(limits::HELD_RETRY).await;
            shard.take_outcomes(1, &mut host);
            assert!(Instant::now() < deadline, "{} replies", host.replies.len());
        }
        let expected: Vec<_> = (0..WRITES).map(|number| (number, format!(":{}\r\n", (number + 1) * 8192))).collect();
        assert_eq!(host.replies, expected);
        assert!(held > 0, "the log never stalled");
    });
}

#[test]
fn a_stall_long_ago_does_not_count() {
    let mut hold = Hold { since_ms: 1000, seen_ms: 1000 };
    assert!(hold.is_bearable(1000 + limits::MEMTABLE_WAIT_MS - 1));
    assert!(!hold.is_bearable(1000 + limits::MEMTABLE_WAIT_MS));
    assert!(!hold.is_bearable(1500 + limits::MEMTABLE_WAIT_MS), "it lasts");
    assert!(hold.is_bearable(1500 + 2 * limits::MEMTABLE_WAIT_MS), "nobody knows whether it lasted");
}

#[test]
fn requests_behind_a_cold_read_are_bounded_by_count_and_by_bytes() {
    for (count, value_bytes) in [(limits::WAITING_REQUESTS_MAX, 1), (4, limits::WAITING_BYTES_MAX / 4)] {
        with_shard(log_options(), |mut shard| async move {
            let (mut host, client) = (Host::default(), (CORE, 7));
            shard.parked.insert(client, Parked { requests: VecDeque::new() });
            let get = command(&["SET", "key", &"v".repeat(value_bytes)]);
            for number in 0..count as u32 {
                assert!(!shard.is_backlogged(), "after {number} of {count}");
                shard.submit(origin(number), Mode::Write, &get, 1, &mut host);
            }
            assert!(shard.is_backlogged(), "{count} requests of {value_bytes} bytes");

            shard.warmed(client, 1, &mut host);

            assert_eq!((shard.parked_waiting, shard.open.write_count), (Waiting::default(), count));
        });
    }
}

#[test]
fn reads_that_join_a_batch_in_flight_are_bounded_until_it_is_answered() {
    with_shard(log_options(), |mut shard| async move {
        let mut host = Host::default();
        *shard.in_flight.borrow_mut() = stuck();
        let get = command(&["GET", "key"]);
        for number in 0..limits::WAITING_REQUESTS_MAX as u32 {
            assert!(!shard.is_backlogged(), "after {number}");
            shard.submit(origin(number), Mode::ReadInOrder, &get, 1, &mut host);
        }
        assert!(shard.is_backlogged());

        for ticket in 0..limits::BATCHES_IN_FLIGHT as u64 {
            assert!(shard.is_backlogged(), "before the outcome of {ticket}");
            shard.answer(ticket, Err(ProposeError::Unknown { leader: None }), &mut host);
        }

        assert!(!shard.is_backlogged());
        let answered = host.replies.iter().filter(|(_, reply)| reply == "$-1\r\n").count();
        assert_eq!(answered, limits::WAITING_REQUESTS_MAX, "reads run when what they waited for is lost");
    });
}

#[test]
fn entries_of_another_version_stop_the_shard_and_say_what_they_are() {
    let dir = tempfile::tempdir().unwrap();
    let store = Store::open(dir.path(), &StoreOptions::new(1 << 20, BlockCache::new(1 << 20))).unwrap();
    let mut machine = ShardMachine::new(store);
    let mut batch = Vec::new();
    batch::begin(&mut batch);
    batch[0] = 9;
    let mut unknown = Vec::new();
    batch::begin(&mut unknown);
    let header = RequestHeader::new(Protocol::Resp2, 0, 1000);
    batch::push(&mut unknown, |out| request::encode(out, header, [b"key".as_slice()].into_iter()));
    for (bytes, expected) in [
        (&batch, "log entry 7 cannot be applied: the entry is a batch of version 9, this program reads version 2"),
        (&unknown, "log entry 7 cannot be applied: it holds a command this version does not know"),
    ] {
        let refusal = machine.apply(EntryId { term: 1, index: 7 }, bytes, None).unwrap_err().to_string();
        assert!(refusal.contains(expected), "{refusal}");
    }
}
