//! A shard with a real log and real rows, on an executor of its own, and the core around it made up.

mod batches;
mod cold;
mod entries;
mod held_queue;
mod held_waiters;
mod holding;
mod key_events;
mod left;
mod moves;
mod overdue;
mod reading;
mod replies;
mod scripts;
mod transactions;
mod waiting;

use std::collections::VecDeque;
use std::path::Path;
use std::time::{Duration, Instant};

use basalt_net::resp::Protocol;
use basalt_net::ring::{Park, Ring, RingOptions};
use basalt_raft::{EntryId, Executed, GroupOptions, Machine, NodeId, ProposeError, Replies};
use basalt_storage::keyspace::ROW_RULES;
use basalt_storage::log::{Durability, LogOptions, LogSyncer};
use basalt_storage::{BlockCache, ColdRead, Direction, Fetched, Store, StoreOptions};

use super::cold::{NamesLooked, Parked, Waiting};
use super::open_batch::{Abandoned, Hold, PendingBatch};
use super::own_entries::Place;
use super::*;
use crate::boot::{OpenFiles, StopRequest};
use crate::cluster::Router;
use crate::commands::random_commands::RandomCommands;
use crate::commands::{Kind, ReplyBounds, TOO_MUCH_TO_REPLY, table};
use crate::config::{Config, MemoryBudget};
use crate::entry::request::{self, Mode};
use crate::entry::transaction::{self, Guard};
use crate::ids::Ticket;
use crate::mail::{Doorbell, Mailboxes};
use crate::node::Routes;
use crate::start::make_server;

pub(super) const CORE: CoreId = CoreId(0);
const PATIENCE_S: u64 = 60;

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
    server_with_bells(shards, (0..cores).map(bell).collect())
}

/// A server of as many cores as there are bells.
pub(crate) fn server_with_bells(shards: u16, bells: Vec<Doorbell>) -> Arc<Server> {
    let cores = bells.len() as u16;
    let cache = BlockCache::new(1 << 20);
    let config = Config::default();
    let budget = MemoryBudget::new(&config, shards, shards);
    Arc::new(make_server(
        config,
        OpenFiles::wanted(10_000, usize::from(cores), shards),
        (Routes::alone(Router::new(shards, cores)), budget),
        Mailboxes::new(bells),
        cache,
        StopRequest::default(),
        crate::node::Orders::new(drop),
    ))
}

/// A server of one core, for tests without an executor.
fn server_alone() -> Arc<Server> {
    glommio::LocalExecutorBuilder::default().make().unwrap().run(async { server(1) })
}

pub(super) fn store(directory: &Path) -> Store {
    store_with_cache(directory, 64 << 20)
}

/// Opens files that another thread may be about to close.
fn when_free<T>(open: impl Fn() -> Result<T, basalt_storage::Error>) -> T {
    let deadline = Instant::now() + Duration::from_secs(PATIENCE_S);
    let is_in_use = |error: &basalt_storage::Error| matches!(error, basalt_storage::Error::InUse { .. });
    loop {
        match open() {
            Err(error) if is_in_use(&error) && Instant::now() < deadline => {
                std::thread::sleep(Duration::from_millis(1));
            }
            opened => return opened.unwrap(),
        }
    }
}

fn store_with_cache(directory: &Path, bytes: usize) -> Store {
    try_store_with_cache(directory, bytes).unwrap()
}

fn try_store_with_cache(directory: &Path, bytes: usize) -> Result<Store, basalt_storage::Error> {
    let options =
        StoreOptions { row_cache_bytes: bytes / 64, ..StoreOptions::new(ROW_RULES, 1 << 20, BlockCache::new(bytes)) };
    Store::open(&directory.join("data"), &options)
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
    with_shards_in(directory.path(), shards, cores, options, test);
}

/// The same, each shard in the directory of its number below `directory`.
pub(crate) fn with_shards_in<F: Future<Output = ()>>(
    directory: &Path,
    shards: u16,
    cores: u16,
    options: LogOptions,
    test: impl FnOnce(Arc<Server>, Vec<Shard>) -> F,
) {
    let executor = glommio::LocalExecutorBuilder::default().make().unwrap();
    executor.run(async {
        let syncer = LogSyncer::start(0, Durability::Always).unwrap();
        let (server, mut opened) = (server_of_shards(shards, cores), Vec::new());
        // The other cores' groups are taken for ready.
        let routing = server.routes.now();
        let is_elsewhere = |id: &ShardId| routing.router.core_of(*id) != Some(CORE);
        routing.router.shards().filter(is_elsewhere).for_each(|id| server.note_state(id, GroupState::Leader));
        for id in routing.router.shards_of(CORE) {
            let directory = directory.join(id.to_string());
            std::fs::create_dir(&directory).unwrap();
            opened.push(open(id, &directory, &options, &server, &syncer, None).await.unwrap());
        }
        test(server, opened).await;
    });
}

/// Opens one more shard of a server in `directory`; its log has a sync thread of its own.
pub(crate) async fn open_another(id: ShardId, directory: &Path, server: &Arc<Server>) -> (Shard, LogSyncer) {
    let syncer = LogSyncer::start(0, Durability::Always).unwrap();
    (open(id, directory, &log_options(), server, &syncer, None).await.unwrap(), syncer)
}

/// Opens a shard in `directory` again, without an entry if need be; its log has a sync thread of its own.
pub(crate) async fn open_again(
    id: ShardId,
    directory: &Path,
    server: &Arc<Server>,
    skip: Option<u64>,
) -> Result<(Shard, LogSyncer), basalt_raft::Error> {
    let syncer = LogSyncer::start(0, Durability::Always).unwrap();
    Ok((open(id, directory, &log_options(), server, &syncer, skip).await?, syncer))
}

/// Opens the shard in `directory`.
async fn open(
    id: ShardId,
    directory: &Path,
    options: &LogOptions,
    server: &Arc<Server>,
    syncer: &LogSyncer,
    skip: Option<u64>,
) -> Result<Shard, basalt_raft::Error> {
    let mut log = when_free(|| RaftLog::open(&directory.join("log"), options, syncer));
    if let Some(index) = skip {
        log.skip_entry(index).unwrap();
    }
    // Whatever is read from disk is evicted at once.
    let store = when_free(|| try_store_with_cache(directory, 4096));
    let machine = Rc::new(RefCell::new(ShardMachine::new(store)));
    let threads = Threads {
        background: Background::start("test", 1, 8).unwrap(),
        readers: Background::start("test", 1, 8).unwrap(),
        entry_readers: Background::start("test", 1, 8).unwrap(),
        viewers: Background::start("test", 1, 8).unwrap(),
        entry_viewers: Background::start("test", 1, 8).unwrap(),
    };
    let options = GroupOptions::alone(0, NodeId(1), directory.join("snapshots"));
    Shard::open(id, options, log, machine, (server, CORE), &threads, Ties::default()).await
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
    let command = table::called(&words.iter().map(|word| word.as_bytes()).collect::<Vec<_>>()).unwrap();
    // Of what draws random numbers, each time the same ones.
    let seed = command.seed().map(|_| words.len() as u64);
    let header = RequestHeader { seed, ..RequestHeader::new(Protocol::Resp2, 0, command.id) };
    let mut bytes = Vec::new();
    request::encode(&mut bytes, header, words[1..].iter().map(|word| word.as_bytes()));
    bytes
}

/// A transaction of these commands, which are encoded.
fn transaction(guard: Option<Guard>, commands: &[Vec<u8>]) -> Vec<u8> {
    let mut bytes = Vec::new();
    let header = RequestHeader::new(Protocol::Resp2, 0, table::STEP_EXEC);
    transaction::encode(&mut bytes, header, guard, commands.iter().map(Vec::as_slice));
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
        away: Duration::ZERO,
        write_count: write_count as usize,
        bytes: 100,
        copied_bytes: 0,
        member_count: 0,
        script_work: 0,
        applied: false,
        abandoned: None,
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
    let ShardMachine { store: written, core, scratch, .. } = machine;
    drop(written);
    let mut machine = ShardMachine::new(store_with_cache(directory, cache_bytes));
    machine.core = core;
    machine.scratch.tell(scratch.told());
    machine
}

/// Makes keys and some of the elements so long that few share a block.
fn spread(line: Vec<String>) -> Vec<String> {
    let args: Vec<&[u8]> = line.iter().map(String::as_bytes).collect();
    let keys: Vec<usize> = table::called(&args).unwrap().keys(&args).collect();
    let is_element = |word: &str| matches!(word.as_bytes(), [b'a'..=b'g']);
    let words = line.iter().enumerate();
    words
        .map(|(at, word)| if keys.contains(&at) || is_element(word) { word.repeat(1000) } else { word.clone() })
        .collect()
}

/// Executes random entries on a store whose rows are read from disk, and on one whose are not; says how often rows were kept.
fn compare(mut commands: RandomCommands, entries: u64, cache_bytes: usize) -> usize {
    let (plain_directory, directory) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
    let mut plain = ShardMachine::new(store(plain_directory.path()));
    let mut machine = ShardMachine::new(store(directory.path()));
    machine.core = Some((server_alone(), CORE));
    // What becomes of keys is told once, however often a command begins anew.
    for machine in [&mut plain, &mut machine] {
        machine.scratch.tell(EventClasses::of_bits(u16::MAX));
    }
    let (mut pauses, mut kept, mut waits) = (0, 0, Vec::new());
    for index in 1..=entries {
        let id = EntryId { term: 1, index };
        let lines: Vec<Vec<String>> = (0..1 + index % 8).map(|_| spread(commands.draw())).collect();
        let mut bytes = Vec::new();
        batch::begin(&mut bytes);
        let mut operations = Vec::new();
        let mut reads = Vec::new();
        // Some of them behind each other as one.
        let mut rest = &lines[..];
        while let Some((line, others)) = rest.split_first() {
            let words = |line: &Vec<String>| command(&line.iter().map(String::as_str).collect::<Vec<_>>());
            let is_whole = commands.one_in(4) && !others.is_empty();
            let mut command = words(line);
            if is_whole {
                command = transaction(None, &rest.iter().map(words).collect::<Vec<_>>());
            }
            rest = if is_whole { &[] } else { others };
            let names: Vec<&[u8]> = line.iter().map(String::as_bytes).collect();
            let is_read = matches!(table::called(&names).unwrap().kind, Kind::Read(_)) && !is_whole;
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
                    if pins {
                        println!("rows are kept for {index}: {read:?} of {lines:?}");
                    }
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
        assert_eq!(key_events::events(&machine), key_events::events(&plain), "{index}: {lines:?}");
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
