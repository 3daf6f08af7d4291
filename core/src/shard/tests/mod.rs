//! A shard with a real log and real rows, on an executor of its own, and the core around it made up.

use std::collections::VecDeque;
use std::path::Path;
use std::time::{Duration, Instant};

use basalt_net::resp::Protocol;
use basalt_net::ring::{Park, Ring, RingOptions};
use basalt_raft::{EntryId, Executed, Machine, ProposeError, Replies};
use basalt_storage::keyspace::ROW_RULES;
use basalt_storage::log::{Durability, LogOptions, LogSyncer};
use basalt_storage::{BlockCache, ColdRead, Direction, Fetched, Store, StoreOptions};

use super::cold::{NamesLooked, Parked, Waiting};
use super::open_batch::{Hold, PendingBatch};
use super::*;
use crate::boot::{OpenFiles, StopRequest};
use crate::cluster::Router;
use crate::commands::random_commands::RandomCommands;
use crate::commands::{Kind, TOO_MUCH_TO_REPLY, table};
use crate::config::Config;
use crate::entry::request::{self, Mode};
use crate::ids::Ticket;
use crate::mail::{Doorbell, Mailboxes};
use crate::start::make_server;

pub(super) const CORE: CoreId = CoreId(0);
const PATIENCE_S: u64 = 20;

/// Notes what a shard asks of its core.
#[derive(Default)]
pub(super) struct Host {
    pub(super) replies: Vec<(u32, String)>,
    /// True if it takes no replies that can wait.
    is_full: bool,
    warms: Vec<((CoreId, u32), ColdRead, bool)>,
}

impl ShardHost for Host {
    fn reply(&mut self, origin: Origin, reply: &[u8]) {
        self.replies.push((origin.ticket.0, String::from_utf8_lossy(reply).into_owned()));
    }

    fn has_room_for_replies(&self, _core: CoreId) -> bool {
        !self.is_full
    }

    fn warm(&mut self, _shard: ShardId, client: (CoreId, u32), read: ColdRead, pins: bool) {
        self.warms.push((client, read, pins));
    }
}

/// A server of one shard and so many cores, none of which runs.
pub(crate) fn server(cores: u16) -> Arc<Server> {
    server_of_shards(1, cores)
}

fn server_of_shards(shards: u16, cores: u16) -> Arc<Server> {
    let bell = |_| {
        let mut ring = Ring::new(&RingOptions::default()).unwrap();
        let park = Park::new(&mut ring).unwrap();
        Doorbell::new(ring.waker(), park.signal())
    };
    let bells = (0..cores).map(bell).collect();
    let cache = BlockCache::new(1 << 20);
    Arc::new(make_server(
        Config::default(),
        OpenFiles::wanted(10_000, usize::from(cores), shards),
        Router::new(shards, cores),
        Mailboxes::new(bells),
        cache,
        StopRequest::default(),
    ))
}

/// A server of one core, for tests without an executor.
fn server_alone() -> Arc<Server> {
    glommio::LocalExecutorBuilder::default().make().unwrap().run(async { server(1) })
}

pub(super) fn store(directory: &Path) -> Store {
    store_with_cache(directory, 64 << 20)
}

fn store_with_cache(directory: &Path, bytes: usize) -> Store {
    let options =
        StoreOptions { row_cache_bytes: bytes / 64, ..StoreOptions::new(ROW_RULES, 1 << 20, BlockCache::new(bytes)) };
    Store::open(&directory.join("data"), &options).unwrap()
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
    with_shards(1, cores, options, |server, shards| {
        let [shard] = shards.try_into().ok().expect("one was asked for");
        test(server, shard)
    });
}

/// Opens those of so many shards that the first of so many cores runs, and lets `test` have them and the server.
pub(crate) fn with_shards<F: Future<Output = ()>>(
    shards: u16,
    cores: u16,
    options: LogOptions,
    test: impl FnOnce(Arc<Server>, Vec<Shard>) -> F,
) {
    let directory = tempfile::tempdir().unwrap();
    let executor = glommio::LocalExecutorBuilder::default().make().unwrap();
    executor.run(async {
        let syncer = LogSyncer::start(0, Durability::Always).unwrap();
        let (server, mut opened) = (server_of_shards(shards, cores), Vec::new());
        // The other cores' groups are taken for ready.
        server.router.shards().filter(|id| server.router.core_of(*id) != CORE).for_each(|id| server.note_ready(id));
        for id in server.router.shards_of(CORE) {
            let directory = directory.path().join(id.to_string());
            std::fs::create_dir(&directory).unwrap();
            opened.push(open(id, &directory, &options, &server, &syncer).await);
        }
        test(server, opened).await;
    });
}

/// Opens the shard in `directory`.
async fn open(id: ShardId, directory: &Path, options: &LogOptions, server: &Arc<Server>, syncer: &LogSyncer) -> Shard {
    let log = RaftLog::open(&directory.join("log"), options, syncer).unwrap();
    // Whatever is read from disk is evicted at once.
    let store = store_with_cache(directory, 4096);
    let machine = Rc::new(RefCell::new(ShardMachine::new(store)));
    let threads = Threads {
        background: Background::start("test", 1, 8).unwrap(),
        readers: Background::start("test", 1, 8).unwrap(),
        entry_readers: Background::start("test", 1, 8).unwrap(),
        viewers: Background::start("test", 1, 8).unwrap(),
        entry_viewers: Background::start("test", 1, 8).unwrap(),
    };
    Shard::open(id, log, machine, directory.join("snapshots"), server, CORE, &threads).await.unwrap()
}

impl Shard {
    /// Has as many batches in flight as may be, and nothing moves them on: the shard proposes nothing more.
    pub(crate) fn get_stuck(&mut self) {
        assert!(self.batches.in_flight.borrow().is_empty(), "a shard gets stuck when it has nothing to do");
        *self.batches.in_flight.borrow_mut() = stuck();
        self.batches.in_flight.borrow_mut().iter_mut().for_each(|batch| batch.operations.clear());
    }

    /// Ends that: the shard goes on.
    pub(crate) fn get_free(&mut self, host: &mut impl ShardHost) {
        for ticket in 0..limits::BATCHES_IN_FLIGHT as u64 {
            self.begin_to_answer(ticket, Err(ProposeError::Unknown { leader: None }), host);
            assert!(self.resume_answering(host), "no reply of it waits for room");
        }
    }
}

pub(crate) fn log_options() -> LogOptions {
    LogOptions { warm_files: 0, reserve_bytes: 0, ..LogOptions::default() }
}

/// `proto-max-bulk-len` of the tests.
pub(super) const STRING_BYTES_MAX: usize = 64 << 20;

pub(super) fn origin(ticket: u32) -> Origin {
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

fn pending(number: u64, write_count: u32) -> PendingBatch {
    let operations =
        (0..write_count).map(|number| Operation { origin: Some(origin(number)), read: None, returns_values: false });
    PendingBatch {
        number,
        since: Instant::now(),
        write_count: write_count as usize,
        bytes: 100,
        copied_bytes: 0,
        applied: false,
        expected_bytes: 0,
        replied_bytes: 0,
        operations: operations.collect(),
        reads: Vec::new(),
    }
}

fn whole(executed: Executed) -> Replies {
    match executed {
        Executed::Whole(replies) => replies,
        Executed::Cold { read, .. } => panic!("{read:?} is not in memory"),
        Executed::Later(_) => panic!("there are no views"),
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
        let replies = whole(machine.apply(EntryId { term: 1, index }, &entry(commands), ticket).unwrap());
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
fn commands_that_change_rows_are_unsaved_until_their_generation_is_written() {
    let directory = tempfile::tempdir().unwrap();
    let mut machine = ShardMachine::new(store(directory.path()));
    let apply = |machine: &mut ShardMachine, index, commands: &[&[&str]]| {
        whole(machine.apply(EntryId { term: 1, index }, &entry(commands), None).unwrap());
        machine.store.set_applied(index, b"id", None);
    };
    apply(&mut machine, 1, &[&["SET", "a", "1"], &["INCR", "a"], &["RPUSH", "list", "x", "y"]]);
    // These change nothing.
    apply(&mut machine, 2, &[&["DEL", "none"], &["SETNX", "a", "1"], &["INCR", "list"]]);
    assert_eq!((machine.store.unsaved_changes(), machine.store.generations_written()), (3, 0));

    let job = machine.store.freeze().expect("there is something to write");
    apply(&mut machine, 3, &[&["SET", "b", "1"]]);
    assert_eq!(machine.store.unsaved_changes(), 4, "it is not on disk yet");
    drop(machine.store.finish(job.run()).unwrap());
    assert_eq!((machine.store.unsaved_changes(), machine.store.generations_written()), (1, 1));
}

/// Has the rows fetched that `read` asks for, as a group does between two attempts to apply an entry.
fn fetch(machine: &mut ShardMachine, read: &ColdRead, pins: bool) {
    machine.store.begin_entry();
    let reader = machine.store.cold_reader();
    let rows = if pins { reader.pin(read) } else { reader.fetch(read) };
    machine.take_fetched(rows.unwrap());
}

/// Writes out what was applied up to `index`, and opens the store again, with nothing in memory.
fn reopen(mut machine: ShardMachine, directory: &Path, index: u64, cache_bytes: usize) -> ShardMachine {
    // Opening reads what is last, and its block with it.
    machine.store.put(&[0xfe], &[0; 100_000]);
    machine.store.set_applied(index, b"id", None);
    let done = machine.store.freeze().expect("there is something to write").run();
    drop(machine.store.finish(done).unwrap());
    let ShardMachine { store: written, core, .. } = machine;
    drop(written);
    let mut machine = ShardMachine::new(store_with_cache(directory, cache_bytes));
    machine.core = core;
    machine
}

#[test]
fn an_entry_waits_for_rows_and_goes_on_where_it_stood() {
    let directory = tempfile::tempdir().unwrap();
    let mut machine = ShardMachine::new(store(directory.path()));
    let value = "v".repeat(10_000);
    // Opening reads what is first and what is last, and their blocks with them.
    let fillers: Vec<String> = (0..100).map(|number| format!("filler:{number}")).collect();
    let mut fill: Vec<Vec<&str>> = fillers.iter().map(|key| vec!["SET", key, &value]).collect();
    fill.extend([vec!["RPUSH", "list", &value, "b"], vec!["SET", "text", "1"], vec!["SADD", "set", "a", "b"]]);
    let fill = entry(&fill.iter().map(Vec::as_slice).collect::<Vec<_>>());
    whole(machine.apply(EntryId { term: 1, index: 1 }, &fill, None).unwrap());
    machine.core = Some((server_alone(), CORE));
    let mut machine = reopen(machine, directory.path(), 1, 64 << 20);
    let mut batch = pending(0, 4);
    batch.reads = command(&["GET", "text"]);
    let read = 0..batch.reads.len();
    machine.in_flight.borrow_mut().push_back(batch);
    let bytes = entry(&[&["INCR", "counter"], &["LPOP", "list"], &["INCR", "counter"], &["SPOP", "set", "5"]]);
    let (id, mut pauses, mut counters) = (EntryId { term: 1, index: 2 }, 0, Vec::new());

    let replies = loop {
        match machine.apply(id, &bytes, Some(0)).unwrap() {
            Executed::Whole(replies) => break replies,
            Executed::Cold { read, pins } => fetch(&mut machine, &read, pins),
            Executed::Later(_) => panic!("there are no views"),
        }
        assert!(machine.store.freeze().is_none(), "half an entry may be frozen");
        assert!(!machine.in_flight.borrow()[0].applied, "reads behind it must wait");
        let mut counter = Vec::new();
        machine.reading(1, |execution| {
            execution.run(&command(&["GET", "counter"]), &mut NamesLooked::default(), &mut counter).is_ok()
        });
        counters.push(String::from_utf8(counter).unwrap());
        if pauses == 0 {
            // It came while the entry waited.
            let operation = Operation { origin: Some(origin(4)), read: Some(read.clone()), returns_values: true };
            machine.in_flight.borrow_mut()[0].operations.push(operation);
        }
        pauses += 1;
    };

    let text = String::from_utf8(replies.bytes).unwrap();
    assert_eq!(text, format!(":1\r\n$10000\r\n{value}\r\n:2\r\n*2\r\n$1\r\na\r\n$1\r\nb\r\n$1\r\n1\r\n"));
    assert_eq!(replies.ends.len(), 5);
    assert!(counters.contains(&"$1\r\n1\r\n".to_owned()), "it never stood between its commands: {counters:?}");
    assert_eq!((machine.pauses, machine.store.disk_waits()), (pauses, 0));
    assert!(machine.in_flight.borrow()[0].applied);
}

/// Makes keys and some of the elements so long that few share a block.
fn spread(line: Vec<String>) -> Vec<String> {
    let args: Vec<&[u8]> = line.iter().map(String::as_bytes).collect();
    let keys: Vec<usize> = table::lookup(args[0]).unwrap().keys(&args).collect();
    let is_element = |word: &str| matches!(word.as_bytes(), [b'a'..=b'g']);
    let words = line.iter().enumerate();
    words
        .map(|(at, word)| if keys.contains(&at) || is_element(word) { word.repeat(1000) } else { word.clone() })
        .collect()
}

#[test]
fn entries_that_wait_for_rows_come_to_the_same_as_those_that_find_them_in_memory() {
    assert_eq!(compare(3000, 64 << 20), 0, "nothing is evicted");
}

#[test]
fn entries_whose_rows_no_cache_holds_come_to_the_same_as_those_that_find_them_in_memory() {
    let pins = compare(1500, 1 << 20);
    assert!(pins > 100, "rows were kept {pins} times");
}

/// Executes random entries on a store whose rows are read from disk, and on one whose are not; says how often rows were kept.
fn compare(entries: u64, cache_bytes: usize) -> usize {
    let (plain_directory, directory) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
    let mut plain = ShardMachine::new(store(plain_directory.path()));
    let mut machine = ShardMachine::new(store(directory.path()));
    machine.core = Some((server_alone(), CORE));
    let (mut commands, mut pauses, mut kept, mut waits) = (RandomCommands::new(11), 0, 0, Vec::new());
    for index in 1..=entries {
        let id = EntryId { term: 1, index };
        let lines: Vec<Vec<String>> = (0..1 + index % 8).map(|_| spread(commands.draw())).collect();
        let mut bytes = Vec::new();
        batch::begin(&mut bytes);
        let mut operations = Vec::new();
        let mut reads = Vec::new();
        for line in &lines {
            let command = command(&line.iter().map(String::as_str).collect::<Vec<_>>());
            let is_read = matches!(table::lookup(line[0].as_bytes()).unwrap().kind, Kind::Read(_));
            let start = reads.len();
            let out = if is_read { &mut reads } else { &mut bytes };
            if is_read {
                out.extend_from_slice(&command);
            } else {
                batch::push(out, |out| out.extend_from_slice(&command));
            }
            operations.push(is_read.then_some(start..reads.len()));
        }
        batch::seal(&mut bytes, 1, index, STRING_BYTES_MAX);
        let batch = || PendingBatch {
            operations: operations
                .iter()
                .map(|read| Operation { origin: None, read: read.clone(), returns_values: false })
                .collect(),
            reads: reads.clone(),
            ..pending(index, 0)
        };
        plain.in_flight.borrow_mut().push_back(batch());
        machine.in_flight.borrow_mut().push_back(batch());
        let expected = whole(plain.apply(id, &bytes, Some(index)).unwrap());
        let waits_before = machine.store.disk_waits();
        let replies = loop {
            match machine.apply(id, &bytes, Some(index)).unwrap() {
                Executed::Whole(replies) => break replies,
                Executed::Cold { read, pins } => {
                    kept += usize::from(pins);
                    fetch(&mut machine, &read, pins);
                }
                Executed::Later(_) => panic!("there are no views"),
            }
            pauses += 1;
        };
        if machine.store.disk_waits() > waits_before {
            let short = |word: &String| word.chars().take(8).collect::<String>();
            waits.push(
                lines.iter().map(|line| line.iter().map(short).collect::<Vec<_>>().join(" ")).collect::<Vec<_>>(),
            );
        }
        let text = |replies: &Replies| replies.bytes.escape_ascii().to_string();
        assert_eq!((text(&replies), &replies.ends), (text(&expected), &expected.ends), "{index}: {lines:?}");
        machine.store.set_applied(index, b"id", None);
        plain.store.set_applied(index, b"id", None);
        if commands.one_in(15) {
            machine = reopen(machine, directory.path(), index, cache_bytes);
        }
    }
    let rows = |machine: &ShardMachine| {
        let (mut rows, all) = (Vec::new(), std::ops::Bound::Unbounded);
        let scanned = machine.store.scan(all, all, Direction::Forward, &mut |key, value| {
            rows.push((key.to_vec(), value.to_vec()));
            std::ops::ControlFlow::Continue(())
        });
        scanned.unwrap();
        rows
    };
    let (mut found, expected) = (rows(&machine), rows(&plain));
    found.retain(|(key, _)| key[0] != 0xfe);
    assert!(found == expected, "{} rows, {} expected", found.len(), expected.len());
    assert!(pauses > entries / 10, "rows were in memory: {pauses} pauses");
    assert!(waits.is_empty(), "the core waited for the disk {} times: {waits:#?}", waits.len());
    kept
}

#[test]
fn reads_behind_one_write_are_refused_when_their_replies_would_fill_the_memory() {
    let directory = tempfile::tempdir().unwrap();
    let mut machine = ShardMachine::new(store(directory.path()));
    let value = "v".repeat(machine.bounds.shard_bytes_max / 4);
    let mut batch = pending(0, 1);
    batch.reads = command(&["GET", "key"]);
    batch.operations.extend((1..8).map(|number| Operation {
        origin: Some(origin(number)),
        read: Some(0..batch.reads.len()),
        returns_values: true,
    }));
    machine.in_flight.borrow_mut().push_back(batch);

    let entry = entry(&[&["SET", "key", &value]]);
    let replies = whole(machine.apply(EntryId { term: 1, index: 1 }, &entry, Some(0)).unwrap());

    let mut start = 0;
    let kinds: Vec<u8> = replies.ends.iter().map(|&end| replies.bytes[std::mem::replace(&mut start, end)]).collect();
    assert_eq!(kinds, b"+$$$$---");
}

#[test]
fn a_write_is_executed_though_its_reply_is_dropped_and_the_client_is_told_so() {
    let directory = tempfile::tempdir().unwrap();
    let mut machine = ShardMachine::new(store(directory.path()));
    let value = "v".repeat(machine.bounds.shard_bytes_max / 2);
    machine.in_flight.borrow_mut().extend([pending(0, 7), pending(1, 2)]);
    let set = ["SET", "key", &value];
    let set_get = ["SET", "key", &value, "GET"];
    let commands: [&[&str]; 7] = [
        &set,
        &["GETEX", "key"],
        &set_get,
        &["GETEX", "key"],
        &["SET", "other", "1"],
        &["GETDEL", "key"],
        &["EXPIRE", "other", "100"],
    ];

    let replies = whole(machine.apply(EntryId { term: 1, index: 1 }, &entry(&commands), Some(0)).unwrap());
    let next = whole(
        machine.apply(EntryId { term: 1, index: 2 }, &entry(&[&["GETDEL", "other"], &set_get]), Some(1)).unwrap(),
    );

    let split = |replies: &Replies| -> Vec<String> {
        let mut start = 0;
        let pieces = replies.ends.iter().map(|&end| &replies.bytes[std::mem::replace(&mut start, end)..end]);
        pieces.map(|reply| String::from_utf8_lossy(&reply[..reply.len().min(30)]).trim_end().to_owned()).collect()
    };
    let (first, second) = (split(&replies), split(&next));
    let dropped = &format!("-{TOO_MUCH_TO_REPLY}")[..30];
    assert_eq!(first[0], "+OK");
    assert!(first[1].starts_with('$') && first[2].starts_with('$'), "{first:?}");
    assert_eq!(first[3..], [dropped, "+OK", dropped, ":1"], "what is small comes all the same");
    // Nobody has taken them yet.
    assert_eq!(second, ["$1\r\n1", "$-1"]);
    assert_eq!(machine.untaken_bytes, replies.bytes.len() + next.bytes.len());
    assert!(replies.bytes.len() <= machine.bounds.shard_bytes_max + 1000);
}

/// Proposes what a shard has and lets its group run until nothing is in flight; the host is given the replies.
async fn settle(shard: &mut Shard, host: &mut Host) {
    let deadline = Instant::now() + Duration::from_secs(PATIENCE_S);
    while shard.is_busy() {
        shard.propose(Instant::now(), 1, STRING_BYTES_MAX, host);
        assert!(Instant::now() < deadline, "{} batches have no outcome", shard.batches.in_flight.borrow().len());
        shard.group.drain_completions();
        glommio::timer::sleep(std::time::Duration::from_millis(1)).await;
        shard.take_outcomes(1, host);
    }
}

#[test]
fn writes_with_large_replies_wait_for_the_next_batch_and_are_all_answered_in_full() {
    const READS: u32 = 12;
    with_shard(log_options(), |mut shard| async move {
        shard.batches.replies.bytes_max = 40_000;
        let (mut host, value) = (Host::default(), "v".repeat(10_000));
        shard.submit(origin(0), Mode::Write, &command(&["SET", "key", &value]), 1, &mut host);
        settle(&mut shard, &mut host).await;
        let mut batches = 0;
        for number in 1..=READS {
            assert!(!shard.is_backlogged());
            shard.submit(origin(number), Mode::Write, &command(&["GETEX", "key"]), 1, &mut host);
            if shard.is_backlogged() || number == READS {
                batches += 1;
                settle(&mut shard, &mut host).await;
            }
        }
        assert_eq!(batches, 3);
        let whole = host.replies.iter().filter(|(_, reply)| reply.starts_with('$')).count();
        assert_eq!(whole, READS as usize, "none was dropped");
    });
}

#[test]
fn replies_wait_in_the_shard_while_the_core_takes_none() {
    with_shard(log_options(), |mut shard| async move {
        let mut host = Host { is_full: true, ..Host::default() };
        for number in 0..3 {
            shard.submit(origin(number), Mode::Write, &command(&["INCR", "key"]), 1, &mut host);
            shard.propose(Instant::now(), 1, STRING_BYTES_MAX, &mut host);
        }
        let deadline = Instant::now() + Duration::from_secs(PATIENCE_S);
        while shard.batches.outcomes.borrow().len() + usize::from(shard.batches.replies.answering.is_some()) < 3 {
            assert!(Instant::now() < deadline, "no outcome");
            shard.group.drain_completions();
            glommio::timer::sleep(std::time::Duration::from_millis(1)).await;
            shard.take_outcomes(1, &mut host);
        }
        assert_eq!((host.replies.len(), shard.has_replies(), shard.is_busy()), (0, true, true));

        host.is_full = false;
        shard.take_outcomes(1, &mut host);

        let replies: Vec<_> = host.replies.iter().map(|(ticket, reply)| (*ticket, reply.as_str())).collect();
        assert_eq!(replies, [(0, ":1\r\n"), (1, ":2\r\n"), (2, ":3\r\n")]);
        assert_eq!((shard.has_replies(), shard.machine.borrow().untaken_bytes), (false, 0));
    });
}

#[test]
fn writes_are_refused_and_reads_go_on_when_the_disk_is_full_and_no_more_batches_may_be_in_flight() {
    let free = nix::sys::statvfs::statvfs(&std::env::temp_dir()).unwrap();
    let free_bytes = free.blocks_available() as u64 * free.fragment_size() as u64;
    // What is in the log already may use half of the reserve.
    let options = LogOptions { reserve_bytes: free_bytes / 2 * 3, ..log_options() };
    with_shard(options, |mut shard| async move {
        let mut host = Host::default();
        *shard.batches.in_flight.borrow_mut() = stuck();
        shard.submit(origin(1), Mode::Write, &command(&["SET", "key", "value"]), 1, &mut host);
        shard.propose(Instant::now(), 1, STRING_BYTES_MAX, &mut host);
        shard.submit(origin(2), Mode::Read, &command(&["GET", "key"]), 1, &mut host);

        assert!(host.replies[0].1.starts_with("-MISCONF"), "{:?}", host.replies);
        assert_eq!(host.replies[1..], [(2, "$-1\r\n".to_owned())]);
        assert_eq!(
            (shard.batches.open.write_count, shard.batches.in_flight.borrow().len()),
            (0, limits::BATCHES_IN_FLIGHT)
        );
    });
}

#[test]
fn a_batch_waits_for_a_log_that_cannot_take_it_right_now_but_not_for_ever() {
    // A log that never begins a second segment.
    let options = LogOptions { segment_bytes: 4096, segments_waiting_max: 0, ..log_options() };
    with_shard(options, |mut shard| async move {
        let (mut host, start, start_ms) = (Host::default(), Instant::now(), 1_000_000_000);
        // Meanwhile the clock is set back by an hour: how long a batch waits is no business of the clock's.
        let back_ms = start_ms - 3_600_000;
        let value = "v".repeat(8192);
        shard.submit(origin(1), Mode::Write, &command(&["SET", "key", &value]), start_ms, &mut host);
        shard.propose(start, start_ms, STRING_BYTES_MAX, &mut host);
        assert_eq!((host.replies.len(), shard.is_held()), (0, true), "refused at once: {:?}", host.replies);
        shard.submit(origin(2), Mode::Write, &command(&["DEL", "key"]), back_ms, &mut host);
        let almost = start + limits::MEMTABLE_WAIT - Duration::from_millis(1);
        shard.propose(almost, back_ms, STRING_BYTES_MAX, &mut host);
        assert_eq!((host.replies.len(), shard.batches.open.write_count), (0, 2));

        shard.propose(start + limits::MEMTABLE_WAIT, back_ms, STRING_BYTES_MAX, &mut host);

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
        let deadline = Instant::now() + Duration::from_secs(PATIENCE_S);
        for number in 0..WRITES {
            shard.submit(origin(number), Mode::Write, &command(&["APPEND", "key", &value]), 1, &mut host);
            while shard.batches.open.write_count > 0 {
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
    let (since, wait) = (Instant::now(), limits::MEMTABLE_WAIT);
    let (mut hold, some) = (Hold { since, seen: since }, Duration::from_millis(500));
    assert!(hold.bears(since + wait - Duration::from_millis(1)));
    assert!(!hold.bears(since + wait));
    assert!(!hold.bears(since + wait + some), "it lasts");
    assert!(hold.bears(since + 2 * wait + some), "nobody knows whether it lasted");
}

#[test]
fn requests_behind_a_cold_read_are_bounded_by_count_and_by_bytes() {
    for (count, value_bytes) in [(limits::WAITING_REQUESTS_MAX, 1), (4, limits::WAITING_BYTES_MAX / 4)] {
        with_shard(log_options(), |mut shard| async move {
            let (mut host, client) = (Host::default(), (CORE, 7));
            shard.parking.parked.insert(client, Parked::default());
            let get = command(&["SET", "key", &"v".repeat(value_bytes)]);
            for number in 0..count as u32 {
                assert!(!shard.is_backlogged(), "after {number} of {count}");
                shard.submit(origin(number), Mode::Write, &get, 1, &mut host);
            }
            assert!(shard.is_backlogged(), "{count} requests of {value_bytes} bytes");

            shard.warmed(client, Fetched::default(), 1, &mut host);

            assert_eq!((shard.parking.waiting, shard.batches.open.write_count), (Waiting::default(), count));
        });
    }
}

/// Has commands applied and what they wrote on disk, and not in the memtable.
async fn put_on_disk(shard: &mut Shard, commands: &[&[&str]]) {
    let mut host = Host::default();
    for words in commands {
        shard.submit(origin(1), Mode::Write, &command(words), 1, &mut host);
    }
    run_until_replied(shard, &mut host, commands.len()).await;
    let deadline = Instant::now() + Duration::from_secs(PATIENCE_S);
    // The generation that was written last stays in memory.
    for number in 0..2 {
        shard.machine.borrow_mut().store.put(&[0xfe], &[number]);
        let job = loop {
            // The group may be writing one.
            let job = shard.machine.borrow_mut().store.freeze();
            if let Some(job) = job {
                break job;
            }
            shard.group.drain_completions();
            glommio::timer::sleep(limits::HELD_RETRY).await;
            assert!(Instant::now() < deadline, "no generation can be frozen");
        };
        let done = job.run();
        drop(shard.machine.borrow_mut().store.finish(done).unwrap());
    }
}

#[test]
fn rows_are_kept_for_one_write_at_a_time_and_each_has_its_turn() {
    with_shard(log_options(), |mut shard| async move {
        let mut host = Host::default();
        // More than the block cache holds.
        let value = "v".repeat(20_000);
        put_on_disk(&mut shard, &[&["SET", "a", &value], &["SET", "b", &value], &["SET", "c", &value]]).await;
        let clients = [1, 2, 3].map(|client| (CORE, client));
        for (client, name) in clients.into_iter().zip(["a", "b", "c"]) {
            let origin = Origin { core: CORE, client: client.1, ticket: Ticket(client.1) };
            shard.submit(origin, Mode::Write, &command(&["APPEND", name, "!"]), 1, &mut host);
            // Whatever is fetched is evicted before it is read.
            for _ in 0..limits::COLD_READ_ATTEMPTS {
                assert!(host.warms.iter().any(|warm| warm.0 == client), "{:?}", host.warms);
                host.warms.retain(|warm| warm.2);
                shard.warmed(client, Fetched::default(), 1, &mut host);
            }
        }
        let turn = |host: &mut Host, of: (CoreId, u32)| {
            let warms = std::mem::take(&mut host.warms);
            let [(client, read, true)] = &warms[..] else { panic!("{warms:?}") };
            assert_eq!(*client, of);
            read.clone()
        };

        let read = turn(&mut host, clients[0]);
        let rows = shard.cold_reader().pin(&read).unwrap();
        shard.warmed(clients[0], rows, 1, &mut host);
        assert_eq!(shard.batches.open.write_count, 1);

        // What cannot be fetched ends its turn too: the entry meets the error, if there is one.
        turn(&mut host, clients[1]);
        shard.warmed(clients[1], Fetched::default(), 1, &mut host);
        assert_eq!(shard.batches.open.write_count, 2);

        let read = turn(&mut host, clients[2]);
        let rows = shard.cold_reader().pin(&read).unwrap();
        shard.warmed(clients[2], rows, 1, &mut host);
        assert_eq!(
            (shard.batches.open.write_count, shard.parking.pin_holder, shard.parking.waiting),
            (3, None, Waiting::default())
        );
        assert_eq!(shard.machine.borrow().store.disk_waits(), 0);
    });
}

/// Has rows fetched as a core does.
fn fetch_all(shard: &mut Shard, host: &mut Host) {
    for (client, read, pins) in std::mem::take(&mut host.warms) {
        let reader = shard.cold_reader();
        let rows = if pins { reader.pin(&read) } else { reader.fetch(&read) };
        shard.warmed(client, rows.unwrap(), 1, host);
    }
}

/// Lets a shard run, with its reads from disk, until it has given so many replies.
async fn run_until_replied(shard: &mut Shard, host: &mut Host, count: usize) {
    let deadline = Instant::now() + Duration::from_secs(PATIENCE_S);
    while host.replies.len() < count {
        fetch_all(shard, host);
        shard.propose(Instant::now(), 1, STRING_BYTES_MAX, host);
        shard.group.drain_completions();
        glommio::timer::sleep(limits::HELD_RETRY).await;
        shard.take_outcomes(1, host);
        assert!(Instant::now() < deadline, "{:?}", host.replies.len());
    }
}

/// Fields of a hash of which no cache holds more than a part.
const FIELDS: usize = 10_000;

/// Puts such a hash and as many strings on disk.
async fn put_much_on_disk(shard: &mut Shard) -> Vec<String> {
    let names: Vec<String> = (0..FIELDS).map(|number| format!("name:{number}")).collect();
    let value = "v".repeat(300);
    let hash: Vec<&str> = ["HSET", "hash"].into_iter().chain(names.iter().flat_map(|name| [name, &*value])).collect();
    let strings: Vec<&str> = ["MSET"].into_iter().chain(names.iter().flat_map(|name| [name, &*value])).collect();
    put_on_disk(shard, &[&hash, &strings]).await;
    names
}

#[test]
fn reads_of_much_that_is_on_disk_read_each_row_about_once() {
    with_shard(log_options(), |mut shard| async move {
        let names = put_much_on_disk(&mut shard).await;
        let with_names = |command: &'static str| -> Vec<String> {
            [command.to_owned()].into_iter().chain(names.iter().cloned()).collect()
        };
        let of_hash = |command: &str| [command, "hash"].map(str::to_owned).to_vec();
        let (exists, strings) = (format!(":{FIELDS}\r\n"), format!("*{FIELDS}\r\n$300\r\n"));
        let rows_of_hash = format!("*{}\r\n", 2 * FIELDS);
        for mode in [Mode::Read, Mode::ReadInOrder] {
            for (words, expected) in [
                (with_names("EXISTS"), &exists),
                (with_names("TOUCH"), &exists),
                (with_names("MGET"), &strings),
                (of_hash("HGETALL"), &rows_of_hash),
                (of_hash("HKEYS"), &format!("*{FIELDS}\r\n")),
            ] {
                let mut host = Host::default();
                let before = shard.machine.borrow().store.cold_rows_read();
                let words: Vec<&str> = words.iter().map(String::as_str).collect();
                if mode == Mode::ReadInOrder {
                    shard.submit(origin(1), Mode::Write, &command(&["SET", "other", "value"]), 1, &mut host);
                }
                shard.submit(origin(2), mode, &command(&words), 1, &mut host);
                let count = if mode == Mode::ReadInOrder { 2 } else { 1 };
                run_until_replied(&mut shard, &mut host, count).await;

                let (_, reply) = host.replies.iter().find(|(ticket, _)| *ticket == 2).unwrap();
                assert!(reply.starts_with(expected.as_str()), "{}: {:.80}", words[0], reply);
                assert!(host.replies.iter().all(|(_, reply)| !reply.starts_with('-')), "the write was taken");
                let read = shard.machine.borrow().store.cold_rows_read() - before;
                // A scan brings its first rows into a cache before it turns out to be long; a command that waits for a thread may
                // do so again.
                let rows = FIELDS as u64..=2 * FIELDS as u64;
                assert!(rows.contains(&read), "{} {mode:?} read {read} rows of {FIELDS}", words[0]);
            }
        }
        assert_eq!(shard.machine.borrow().store.disk_waits(), 0, "of the core itself");
        assert!(!shard.is_busy());
    });
}

/// Has rows on disk changed by a command that names so many, and says how many rows were looked for meanwhile.
async fn look_ups_of(shard: &mut Shard, fill: &[&str], change: &[&str], expected: &str) -> u64 {
    put_on_disk(shard, &[fill]).await;
    let look_ups = |shard: &Shard| {
        let counts = shard.machine.borrow().store.row_cache_counts();
        counts.hits + counts.misses
    };
    let (mut host, before) = (Host::default(), look_ups(shard));
    shard.submit(origin(1), Mode::Write, &command(change), 1, &mut host);
    run_until_replied(shard, &mut host, 1).await;
    assert_eq!(host.replies[0].1, expected, "{}", change[0]);
    look_ups(shard) - before
}

#[test]
fn writes_that_name_very_many_rows_on_disk_look_for_each_a_few_times() {
    const NAMES: usize = 30 * limits::NAMES_AT_ONCE;
    let names: Vec<String> = (0..NAMES).map(|number| format!("name:{number}")).collect();
    let pairs = || names.iter().flat_map(|name| [name.as_str(), "value"]);
    let with_pairs = |words: &[&'static str]| words.iter().copied().chain(pairs()).collect::<Vec<&str>>();
    let with_names =
        |words: &[&'static str]| words.iter().copied().chain(names.iter().map(String::as_str)).collect::<Vec<&str>>();
    let (strings, hash, all) = (with_pairs(&["MSET"]), with_pairs(&["HSET", "hash"]), format!(":{NAMES}\r\n"));
    for (fill, change, expected) in [
        (&strings, with_names(&["DEL"]), &*all),
        (&strings, strings.clone(), "+OK\r\n"),
        (&hash, hash.clone(), ":0\r\n"),
        (&hash, with_names(&["HDEL", "hash"]), &*all),
    ] {
        with_shard(log_options(), |mut shard| async move {
            let count = look_ups_of(&mut shard, fill, &change, expected).await;
            // Before it joins a batch, and then, since no cache holds its rows: when its entry meets the first that was evicted, up
            // to where rows are kept, for that, on trial, and for good.
            assert!(count < 20 * NAMES as u64, "{} looked for {count} rows of {NAMES}", change[0]);
            assert_eq!(shard.machine.borrow().store.disk_waits(), 0, "of the core itself");
            println!("{} looked for {} rows of {NAMES}", change[0], count / NAMES as u64);
        });
    }
}

#[test]
fn a_read_on_a_view_shows_its_moment_and_what_follows_on_its_connection_comes_behind_it() {
    with_shard(log_options(), |mut shard| async move {
        let (mut host, names) = (Host::default(), put_much_on_disk(&mut shard).await);
        let mget: Vec<&str> = ["MGET"].into_iter().chain(names.iter().map(String::as_str)).collect();
        let mset = |value: &'static str| -> Vec<String> {
            ["MSET".to_owned()].into_iter().chain(names.iter().flat_map(|name| [name.clone(), value.into()])).collect()
        };
        let submit = |shard: &mut Shard, ticket: u32, mode: Mode, words: &[String], host: &mut Host| {
            let words: Vec<&str> = words.iter().map(String::as_str).collect();
            shard.submit(origin(ticket), mode, &command(&words), 1, host);
        };
        submit(&mut shard, 1, Mode::Write, &["SET", "name:0", "first"].map(str::to_owned), &mut host);
        shard.submit(origin(2), Mode::ReadInOrder, &command(&mget), 1, &mut host);
        submit(&mut shard, 3, Mode::Write, &mset("later"), &mut host);
        shard.submit(origin(4), Mode::ReadInOrder, &command(&mget), 1, &mut host);
        run_until_replied(&mut shard, &mut host, 4).await;

        let reply = |ticket| &host.replies.iter().find(|(of, _)| *of == ticket).unwrap().1;
        assert_eq!((reply(1).as_str(), reply(3).as_str()), ("+OK\r\n", "+OK\r\n"));
        let (old, later) = (format!("$300\r\n{}\r\n", "v".repeat(300)), "$5\r\nlater\r\n");
        let expected = format!("*{FIELDS}\r\n$5\r\nfirst\r\n{}", old.repeat(FIELDS - 1));
        assert!(*reply(2) == expected, "{:.80}", reply(2));
        assert!(*reply(4) == format!("*{FIELDS}\r\n{}", later.repeat(FIELDS)), "{:.80}", reply(4));
    });
}

#[test]
fn replies_of_views_are_counted_and_wait_while_the_core_takes_none() {
    with_shard(log_options(), |mut shard| async move {
        let names = put_much_on_disk(&mut shard).await;
        let mget: Vec<&str> = ["MGET"].into_iter().chain(names.iter().map(String::as_str)).collect();
        let mut host = Host { is_full: true, ..Host::default() };
        shard.submit(origin(1), Mode::Read, &command(&mget), 1, &mut host);
        shard.submit(origin(2), Mode::Write, &command(&["SET", "other", "value"]), 1, &mut host);
        let reply_bytes = |shard: &Shard| shard.machine.borrow().reply_bytes();
        let deadline = Instant::now() + Duration::from_secs(PATIENCE_S);
        loop {
            assert!(Instant::now() < deadline, "{} bytes", reply_bytes(&shard));
            glommio::timer::sleep(limits::HELD_RETRY).await;
            shard.take_outcomes(1, &mut host);
            assert_eq!(host.replies.len(), 0, "there is no room for it");
            if shard.has_replies() && reply_bytes(&shard) >= 300 * FIELDS {
                break;
            }
        }

        host.is_full = false;
        run_until_replied(&mut shard, &mut host, 2).await;

        let replies: Vec<_> = host.replies.iter().map(|(ticket, reply)| (*ticket, &reply[..2])).collect();
        assert_eq!(replies, [(1, "*1"), (2, "+O")]);
        assert_eq!((reply_bytes(&shard), shard.has_replies()), (0, false));
    });
}

#[test]
fn a_reply_of_a_view_is_of_the_request_it_was_for_though_another_one_came_before_it() {
    with_shard(log_options(), |mut shard| async move {
        let (mut host, names) = (Host::default(), put_much_on_disk(&mut shard).await);
        let mget: Vec<&str> = ["MGET"].into_iter().chain(names.iter().map(String::as_str)).collect();
        shard.submit(origin(1), Mode::Read, &command(&mget), 1, &mut host);
        let deadline = Instant::now() + Duration::from_secs(PATIENCE_S);
        let is_given = |shard: &Shard| shard.machine.borrow().views.as_ref().is_some_and(Views::has_given);
        while !is_given(&shard) {
            assert!(Instant::now() < deadline, "no thread is ready");
            glommio::timer::sleep(limits::HELD_RETRY).await;
            shard.take_outcomes(1, &mut host);
        }
        // A read of a refused batch, which stands before all that is parked.
        shard.run_refused_read(origin(2), &command(&["GET", "name:0"]), &mut host);
        run_until_replied(&mut shard, &mut host, 2).await;

        for (ticket, reply) in &host.replies {
            let expected = if *ticket == 1 { format!("*{FIELDS}\r\n") } else { "$300\r\n".to_owned() };
            assert!(reply.starts_with(&expected), "{ticket}: {reply:.80}");
        }
        assert_eq!(shard.parking.waiting, Waiting::default());
    });
}

#[test]
fn an_entry_that_waits_for_a_thread_is_not_executed_again_meanwhile_and_holds_up_no_stop() {
    with_shard(log_options(), |mut shard| async move {
        let (mut host, names) = (Host::default(), put_much_on_disk(&mut shard).await);
        let mget: Vec<&str> = ["MGET"].into_iter().chain(names.iter().map(String::as_str)).collect();
        let (go, wait_go) = std::sync::mpsc::channel::<()>();
        let threads = shard.machine.borrow().views.as_ref().unwrap().entry_threads().clone();
        threads.submit(Box::new(move || wait_go.recv().unwrap_or_default())).map_err(drop).unwrap();
        shard.submit(origin(1), Mode::Write, &command(&["SET", "other", "value"]), 1, &mut host);
        shard.submit(origin(2), Mode::ReadInOrder, &command(&mget), 1, &mut host);
        let deadline = Instant::now() + Duration::from_secs(PATIENCE_S);
        let pauses = |shard: &Shard| shard.machine.borrow().pauses;
        let mut turn = async |shard: &mut Shard| {
            fetch_all(shard, &mut host);
            shard.propose(Instant::now(), 1, STRING_BYTES_MAX, &mut host);
            shard.group.drain_completions();
            glommio::timer::sleep(limits::HELD_RETRY).await;
            shard.take_outcomes(1, &mut host);
        };
        while pauses(&shard) == 0 {
            assert!(Instant::now() < deadline, "it does not wait");
            turn(&mut shard).await;
        }
        for _ in 0..100 {
            turn(&mut shard).await;
        }
        assert_eq!(pauses(&shard), 1, "it was executed again, though no thread was ready");

        // Nobody turns any more, and no thread will be ready.
        shard.close(false).await.unwrap();

        assert_eq!(shard.machine.borrow().store.disk_waits(), 0);
        drop(go);
    });
}

#[test]
fn copies_of_what_is_large_fill_a_batch_as_if_it_stood_there() {
    // All of it together fits into the memtable.
    const VALUE_BYTES: usize = 100_000;
    with_shard(log_options(), |mut shard| async move {
        let (mut host, value) = (Host::default(), "v".repeat(VALUE_BYTES));
        let half = &value[..VALUE_BYTES / 20];
        let elements: Vec<String> = (0..20).map(|number| format!("{number}{half}")).collect();
        let set: Vec<&str> = ["SADD", "set"].into_iter().chain(elements.iter().map(String::as_str)).collect();
        for words in [&["SET", "string", &value][..], &set] {
            shard.submit(origin(1), Mode::Write, &command(words), 1, &mut host);
            settle(&mut shard, &mut host).await;
        }
        let batch_bytes_max = shard.batches.pressure.slow_down().batch_bytes_max();
        for words in [["COPY", "string", "to", "REPLACE"], ["COPY", "set", "to", "REPLACE"]] {
            let mut taken = 0;
            while !shard.is_backlogged() && taken < 1000 {
                shard.submit(origin(1), Mode::Write, &command(&words), 1, &mut host);
                taken += 1;
            }
            assert!(taken <= batch_bytes_max / VALUE_BYTES + 2, "{taken} times {words:?}");
            settle(&mut shard, &mut host).await;
            assert!(host.replies.iter().all(|(_, reply)| !reply.starts_with('-')), "they are executed");
        }
    });
}

#[test]
fn reads_that_join_a_batch_in_flight_are_bounded_until_it_is_answered() {
    with_shard(log_options(), |mut shard| async move {
        let mut host = Host::default();
        *shard.batches.in_flight.borrow_mut() = stuck();
        let get = command(&["GET", "key"]);
        for number in 0..limits::WAITING_REQUESTS_MAX as u32 {
            assert!(!shard.is_backlogged(), "after {number}");
            shard.submit(origin(number), Mode::ReadInOrder, &get, 1, &mut host);
        }
        assert!(shard.is_backlogged());

        for ticket in 0..limits::BATCHES_IN_FLIGHT as u64 {
            assert!(shard.is_backlogged(), "before the outcome of {ticket}");
            shard.begin_to_answer(ticket, Err(ProposeError::Unknown { leader: None }), &mut host);
        }

        assert!(!shard.is_backlogged());
        let answered = host.replies.iter().filter(|(_, reply)| reply == "$-1\r\n").count();
        assert_eq!(answered, limits::WAITING_REQUESTS_MAX, "reads run when what they waited for is lost");
    });
}

#[test]
fn reads_of_a_refused_batch_see_no_later_write_of_their_connection() {
    with_shard(log_options(), |mut shard| async move {
        let (mut host, client) = (Host::default(), (CORE, 7));
        shard.submit(origin(1), Mode::Write, &command(&["SET", "key", "1"]), 1, &mut host);
        shard.submit(origin(2), Mode::ReadInOrder, &command(&["GET", "key"]), 1, &mut host);
        // The next one waits for rows.
        shard.parking.parked.insert(client, Parked::default());
        shard.submit(origin(3), Mode::Write, &command(&["SET", "key", "2"]), 1, &mut host);

        let batch = shard.take_open_batch(1, STRING_BYTES_MAX).0;
        shard.refuse(&batch, &ProposeError::WriteStall, &mut host);

        assert!(host.replies.first().is_some_and(|(ticket, reply)| *ticket == 1 && reply.starts_with("-BUSY")));
        assert_eq!(host.replies[1..], [(2, "$-1\r\n".to_owned())]);
        shard.warmed(client, Fetched::default(), 1, &mut host);
        assert_eq!((shard.batches.open.write_count, shard.parking.parked.len(), host.replies.len()), (1, 0, 2));
    });
}

#[test]
fn cold_reads_of_a_refused_batch_go_before_what_their_connection_has_parked_and_keep_their_order() {
    with_shard(log_options(), |mut shard| async move {
        let (mut host, client) = (Host::default(), (CORE, 7));
        let value = "v".repeat(20_000);
        put_on_disk(&mut shard, &[&["HSET", "a", "field", &value], &["HSET", "b", "field", &value]]).await;
        shard.submit(origin(1), Mode::Write, &command(&["SET", "key", "1"]), 1, &mut host);
        // When they came, their rows were in memory.
        for (ticket, line) in [(2, ["HGETALL", "a"]), (3, ["HGETALL", "b"]), (4, ["HGETALL", "c"])] {
            let (start, bytes) = (shard.batches.open.reads.len(), command(&line));
            shard.batches.open.reads.extend_from_slice(&bytes);
            let read = Some(start..start + bytes.len());
            shard.batches.open.operations.push(Operation { origin: Some(origin(ticket)), read, returns_values: true });
        }
        shard.parking.parked.insert(client, Parked::default());
        shard.submit(origin(5), Mode::Write, &command(&["DEL", "a", "b"]), 1, &mut host);

        let batch = shard.take_open_batch(1, STRING_BYTES_MAX).0;
        shard.refuse(&batch, &ProposeError::WriteStall, &mut host);
        assert_eq!((host.replies.len(), shard.parking.waiting.count), (1, 4));
        let deadline = Instant::now() + Duration::from_secs(PATIENCE_S);
        shard.warmed(client, Fetched::default(), 1, &mut host);
        while !shard.parking.parked.is_empty() {
            assert!(Instant::now() < deadline, "{} replies", host.replies.len());
            let Some((_, read, pins)) = host.warms.pop() else {
                // It has a view.
                shard.take_outcomes(1, &mut host);
                glommio::timer::sleep(limits::HELD_RETRY).await;
                continue;
            };
            let reader = shard.cold_reader();
            let fetched = if pins { reader.pin(&read) } else { reader.fetch(&read) }.unwrap();
            shard.warmed(client, fetched, 1, &mut host);
        }

        let hash = format!("*2\r\n$5\r\nfield\r\n$20000\r\n{value}\r\n");
        let replies: Vec<_> = host.replies[1..].iter().map(|(ticket, reply)| (*ticket, reply.as_str())).collect();
        assert!(replies == [(2, &*hash), (3, &*hash), (4, "*0\r\n")], "{} replies", replies.len());
        assert_eq!((shard.batches.open.write_count, shard.parking.waiting), (1, Waiting::default()));
    });
}

#[test]
fn entries_of_another_version_stop_the_shard_and_say_what_they_are() {
    let dir = tempfile::tempdir().unwrap();
    let store = Store::open(dir.path(), &StoreOptions::new(ROW_RULES, 1 << 20, BlockCache::new(1 << 20))).unwrap();
    let mut machine = ShardMachine::new(store);
    let mut batch = Vec::new();
    batch::begin(&mut batch);
    batch[0] = 9;
    let mut unknown = Vec::new();
    batch::begin(&mut unknown);
    let header = RequestHeader::new(Protocol::Resp2, 0, 1000);
    batch::push(&mut unknown, |out| request::encode(out, header, [b"key".as_slice()].into_iter()));
    for (bytes, expected) in [
        (&batch, "the entry is a batch of version 9, this program reads version 2"),
        (&unknown, "it holds a command this version does not know"),
    ] {
        let refusal = machine.apply(EntryId { term: 1, index: 7 }, bytes, None).unwrap_err().to_string();
        assert!(refusal.contains(expected), "{refusal}");
    }
}
