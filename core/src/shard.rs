//! A shard on its core: the batch being collected, the batches on their way through the log, and the rows.
//!
//! Writes of a turn are collected into one Raft entry. Reads that must see a connection's own unanswered writes wait in the
//! same order among them and run while the entry is applied; all other reads run at once.

use std::cell::RefCell;
use std::collections::{HashMap, VecDeque};
use std::ops::Range;
use std::path::PathBuf;
use std::rc::Rc;
use std::sync::Arc;
use std::time::Instant;

use basalt_net::resp::{Protocol, Reply, value};
use basalt_raft::{
    EntryId, Group, GroupHooks, GroupOptions, Machine, MachineError, NodeId, ProposeError, Refused, Replies, Role,
};
use basalt_storage::keyspace::{ColdRows, KeyCounts, Keyspace, Scratch, VersionSource};
use basalt_storage::log::RaftLog;
use basalt_storage::{ColdRead, ColdReader, DATABASE_COUNT, Error as StorageError, Rows, Store, Warmed};
use bytes::Bytes;

use crate::background::Background;
use crate::batch::{self, Batch};
use crate::commands::table;
use crate::commands::{Args, CommandError, Context, Kind, Random, Run};
use crate::config::Durability;
use crate::group_commit::GroupCommit;
use crate::ids::{CoreId, ShardId};
use crate::limits;
use crate::mailbox::{Mode, Ticket};
use crate::probe::cold_rows;
use crate::request::{self, ArgList, RequestHeader};
use crate::server::{Server, unix_ms};
use crate::stats::CoreStats;

/// Who waits for a reply of the shard.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct Origin {
    /// The core that has the connection.
    pub core: CoreId,
    /// The connection on that core.
    pub client: u32,
    /// The request on that core.
    pub ticket: Ticket,
}

/// One operation of a batch, in the order the shard took them.
struct Operation {
    /// Who waits for the reply; `None` for the shard's own housekeeping.
    origin: Option<Origin>,
    /// Where a read's bytes stand in [`PendingBatch::reads`]; `None` for a write, whose bytes are in the entry.
    read: Option<Range<usize>>,
}

/// What a batch in the log needs to be answered.
struct PendingBatch {
    ticket: u64,
    /// When it was closed.
    since: Instant,
    write_count: usize,
    applied: bool,
    operations: Vec<Operation>,
    reads: Vec<u8>,
}

/// The batch being collected.
#[derive(Default)]
struct OpenBatch {
    bytes: Vec<u8>,
    write_count: usize,
    operations: Vec<Operation>,
    reads: Vec<u8>,
}

/// Batches that are proposed and not answered, oldest first. The machine looks at one while it applies its entry.
type InFlight = Rc<RefCell<VecDeque<PendingBatch>>>;

/// A read that waits for a reader thread, and what came behind it from the same connection.
struct Parked {
    requests: VecDeque<ParkedRequest>,
}

/// How much waits in a shard beside its open batch.
#[derive(Debug, Default, Clone, Copy, PartialEq, Eq)]
struct Waiting {
    count: usize,
    bytes: usize,
}

impl Waiting {
    fn add(&mut self, bytes: usize) {
        self.count += 1;
        self.bytes += bytes;
    }

    fn remove(&mut self, bytes: usize) {
        self.count -= 1;
        self.bytes -= bytes;
    }

    fn is_full(&self) -> bool {
        self.count >= limits::WAITING_REQUESTS_MAX || self.bytes >= limits::WAITING_BYTES_MAX
    }
}

/// How long batches have been held up.
#[derive(Debug, Clone, Copy)]
struct Hold {
    since_ms: u64,
    /// When it was last looked at.
    seen_ms: u64,
}

impl Hold {
    /// Whether a batch may wait on at `now_ms`. What nobody has looked at for long may have been over meanwhile.
    fn is_bearable(&mut self, now_ms: u64) -> bool {
        if now_ms.saturating_sub(self.seen_ms) >= limits::MEMTABLE_WAIT_MS {
            self.since_ms = now_ms;
        }
        self.seen_ms = now_ms;
        now_ms.saturating_sub(self.since_ms) < limits::MEMTABLE_WAIT_MS
    }
}

/// A request that waits behind a cold read of its connection.
struct ParkedRequest {
    origin: Origin,
    mode: Mode,
    bytes: Vec<u8>,
    attempts: u32,
}

/// What a read is told that would have to be kept with too many large replies.
const TOO_MUCH_TO_READ: &[u8] =
    b"-BUSY The replies to reads that wait behind the same writes are too large to be made at once, ask for fewer at a time\r\n";

/// Applies one command of an entry.
fn apply_command(
    execution: &mut Execution<'_>,
    command: Result<&[u8], String>,
    replies: &mut Replies,
) -> Result<(), String> {
    match execution.run(command?, &mut replies.bytes) {
        Ok(()) => {
            replies.ends.push(replies.bytes.len());
            Ok(())
        }
        Err(Failure::Cold(_)) => unreachable!("applying waits for the disk"),
        Err(Failure::Storage(error)) => Err(error.to_string()),
        Err(Failure::Undecodable) => {
            Err("it holds a command this version does not know; start the version that wrote it".into())
        }
    }
}

/// What a read run at once came to.
#[derive(Debug)]
pub enum ReadOutcome {
    /// The reply is written.
    Done,
    /// Nothing is written; the rows named must come from the disk first.
    Cold(ColdRead),
}

/// Runs commands against the shard's rows.
pub struct ShardMachine {
    store: Store,
    scratch: Scratch,
    random: Random,
    in_flight: InFlight,
    /// Whose figures count what is run.
    core: Option<(Arc<Server>, CoreId)>,
}

/// What the shard asks of the core after an operation.
pub trait ShardHost {
    /// Delivers a reply to whoever waits for it.
    fn reply(&mut self, origin: Origin, reply: &[u8]);
    /// Has a reader thread fetch `read`; `Shard::warmed` is called with `client` afterwards.
    fn warm(&mut self, shard: ShardId, client: (CoreId, u32), read: ColdRead);
}

/// A shard on its core.
pub struct Shard {
    id: ShardId,
    machine: Rc<RefCell<ShardMachine>>,
    group: Group,
    open: OpenBatch,
    in_flight: InFlight,
    next_ticket: u64,
    last_time_ms: u64,
    parked: HashMap<(CoreId, u32), Parked>,
    /// How much is parked.
    parked_waiting: Waiting,
    /// Reads that joined the newest batch in flight after it was proposed.
    reads_behind: Waiting,
    outcomes: Outcomes,
    expiry_in_flight: bool,
    /// Whether the last deletion of due keys took all it might: there may be more.
    expiry_goes_on: bool,
    /// Whether rows are being fetched that the look for due keys needs.
    expiry_is_warming: bool,
    /// How often that was so since the last tick.
    expiry_warmed: u32,
    /// No key that was due before this is left.
    expiry_floor_ms: u64,
    /// What batches wait for that cannot be proposed for a reason that passes.
    hold: Option<Hold>,
    /// Whether the batch that was collected waits for more.
    group_commit: GroupCommit,
    /// [`Store::disk_waits`] when it was last looked at.
    disk_waits: u64,
    /// Until when requests are probed before they join a batch.
    probe_until_ms: u64,
    /// When RocksDB was last asked for the size of its files.
    disk_measured_ms: u64,
    /// Whether anything was run that another core's connection may hear of before the next tick.
    counts_changed: bool,
    server: Arc<Server>,
}

/// Who waits for rows that the shard fetches for its own housekeeping: no core has such a number, no connection either.
const HOUSEKEEPING: (CoreId, u32) = (CoreId(u16::MAX), u32::MAX);

/// The id of this node in its groups. A node alone is the first.
const THIS_NODE: NodeId = NodeId(1);

/// Outcomes of batches, as the group gave them, until the core takes them.
type Outcomes = Rc<RefCell<VecDeque<(u64, Result<Replies, ProposeError>)>>>;

/// What the group calls: the outcomes are kept for the core's next turn, which has connections and outbox at hand.
fn hooks(id: ShardId, server: &Arc<Server>, core: CoreId, background: &Background, outcomes: Outcomes) -> GroupHooks {
    let (on_outcome, on_fatal, on_wake) = (server.clone(), server.clone(), server.clone());
    GroupHooks {
        on_outcome: Box::new(move |ticket, outcome| {
            outcomes.borrow_mut().push_back((ticket, outcome));
            // The group's tasks run on while the core's loop is parked: the outcome must not wait for its next tick.
            on_outcome.mailboxes.bell(core).ring_urgently();
        }),
        on_fatal: Box::new(move |reason| on_fatal.fail(format!("shard {id} cannot go on: {reason}"))),
        wake: Arc::new(move || on_wake.mailboxes.bell(core).ring_urgently()),
        background: Rc::new(background.clone()),
    }
}

/// Why a command gave no reply.
enum Failure {
    Cold(ColdRead),
    /// Rows could not be read while an entry was applied.
    Storage(StorageError),
    Undecodable,
}

/// Commands being run on a shard's rows at one moment.
struct Execution<'a> {
    store: &'a mut Store,
    scratch: &'a mut Scratch,
    random: &'a mut Random,
    versions: VersionSource,
    now_ms: u64,
    /// How long a write may make a string.
    string_bytes_max: usize,
    /// Whether an entry is being applied: rows that cannot be read are no reply then, since replicas must agree.
    applying: bool,
    /// The figures of the core that runs them.
    stats: Option<&'a CoreStats>,
}

impl Execution<'_> {
    /// Runs one encoded command and writes its reply, or its error, to `out`.
    fn run(&mut self, bytes: &[u8], out: &mut Vec<u8>) -> Result<(), Failure> {
        let mut args = ArgList::new();
        args.push(b"");
        let header = request::decode(bytes, &mut args).ok_or(Failure::Undecodable)?;
        let command = table::by_id(header.command).ok_or(Failure::Undecodable)?;
        args[0] = command.name().as_bytes();
        let (Kind::Read(handler) | Kind::Write(handler)) = command.kind else { return Err(Failure::Undecodable) };
        self.call(handler, header, &args, out)
    }

    /// Calls a handler and writes its reply, or its error, to `out`.
    fn call(&mut self, handler: Run, header: RequestHeader, args: Args<'_>, out: &mut Vec<u8>) -> Result<(), Failure> {
        let mut reply = Reply::new(out, header.protocol);
        let mark = reply.mark();
        let counts = self.scratch.counts();
        let stats = self.stats.and_then(|stats| stats.by_command.get(usize::from(header.asked)));
        let started = stats.and_then(|stats| stats.time.start());
        let keyspace = Keyspace::new(self.store, self.scratch, self.versions, header.db, self.now_ms);
        let mut context = Context { keyspace, random: self.random, string_bytes_max: self.string_bytes_max };
        let outcome = handler(&mut context, args, &mut reply);
        self.versions = context.keyspace.versions();
        if let (Some(stats), Some(started)) = (stats, started) {
            stats.time.stop(started);
        }
        match outcome {
            Ok(()) => Ok(()),
            Err(CommandError::Storage(StorageError::Cold(read))) => {
                reply.truncate(mark);
                // It is run again, and counted then.
                self.scratch.set_counts(counts);
                Err(Failure::Cold(read))
            }
            Err(CommandError::Storage(error)) if self.applying => {
                reply.truncate(mark);
                Err(Failure::Storage(error))
            }
            Err(error) => {
                reply.truncate(mark);
                reply.error_display(&error);
                // Whoever puts steps together knows whether the whole has failed.
                if let Some(stats) = stats.filter(|_| header.asked == header.command) {
                    stats.failed.add(1);
                }
                Ok(())
            }
        }
    }
}

impl ShardMachine {
    /// A machine over `store`.
    pub fn new(store: Store) -> ShardMachine {
        let random = Random::new(rand::random());
        ShardMachine { store, scratch: Scratch::default(), random, in_flight: InFlight::default(), core: None }
    }

    /// Runs a read at once and writes its reply, or its error, to `out`. Never blocks.
    pub fn read_now(
        &mut self,
        handler: Run,
        header: RequestHeader,
        args: Args<'_>,
        now_ms: u64,
        out: &mut Vec<u8>,
    ) -> ReadOutcome {
        match self.reading(now_ms, false, |execution| execution.call(handler, header, args, out)) {
            Err(Failure::Cold(read)) => ReadOutcome::Cold(read),
            _ => ReadOutcome::Done,
        }
    }

    /// Reads at `now_ms`; `wait_for_disk` says whether a read may block.
    fn reading<R>(&mut self, now_ms: u64, wait_for_disk: bool, read: impl FnOnce(&mut Execution<'_>) -> R) -> R {
        self.store.set_wait_for_disk(wait_for_disk);
        let outcome = read(&mut Execution {
            store: &mut self.store,
            scratch: &mut self.scratch,
            random: &mut self.random,
            versions: VersionSource::none(),
            now_ms,
            // Reads make no strings longer.
            string_bytes_max: 0,
            applying: false,
            stats: self.core.as_ref().map(|(server, core)| &server.cores[core.index()]),
        });
        self.store.set_wait_for_disk(true);
        outcome
    }
}

impl Machine for ShardMachine {
    fn apply(&mut self, entry: EntryId, bytes: &[u8], ticket: Option<u64>) -> Result<Replies, MachineError> {
        let unreadable =
            |reason: String| MachineError::Batch(format!("log entry {} cannot be applied: {reason}", entry.index));
        let batch = Batch::read(bytes).map_err(unreadable)?;
        let mut in_flight = self.in_flight.borrow_mut();
        // Not simply the oldest: proposals before it may be lost, which their outcomes tell later.
        let pending = ticket.map(|ticket| {
            let pending = in_flight.iter_mut().find(|pending| pending.ticket == ticket);
            pending.expect("a batch is in flight until its outcome is taken, and that comes after it is applied")
        });
        let mut replies = Replies::default();
        let mut execution = Execution {
            store: &mut self.store,
            scratch: &mut self.scratch,
            random: &mut Random::new(batch.seed),
            versions: VersionSource::entry(entry.index),
            now_ms: batch.time_ms,
            string_bytes_max: batch.string_bytes_max,
            applying: true,
            stats: self.core.as_ref().map(|(server, core)| &server.cores[core.index()]),
        };
        let Some(pending) = pending else {
            for command in batch {
                apply_command(&mut execution, command, &mut replies).map_err(unreadable)?;
                replies.bytes.clear();
            }
            return Ok(Replies::default());
        };
        assert!(!pending.applied, "a batch is applied once");
        pending.applied = true;
        let mut commands = batch;
        for operation in &pending.operations {
            match &operation.read {
                Some(_) if replies.bytes.len() >= limits::BATCH_REPLY_BYTES_MAX => {
                    replies.bytes.extend_from_slice(TOO_MUCH_TO_READ);
                    replies.ends.push(replies.bytes.len());
                }
                Some(range) => {
                    let read = &pending.reads[range.clone()];
                    // Reads draw from the core's own random numbers: how many there are is no business of the replicas.
                    let versions = std::mem::replace(&mut execution.versions, VersionSource::none());
                    let seeded = std::mem::replace(execution.random, Random::new(self.random.next_u64()));
                    execution.applying = false;
                    let outcome = execution.run(read, &mut replies.bytes);
                    execution.applying = true;
                    assert!(
                        outcome.is_ok(),
                        "a read that may wait for the disk is never cold, and it was encoded here"
                    );
                    (execution.versions, *execution.random) = (versions, seeded);
                    replies.ends.push(replies.bytes.len());
                }
                None => {
                    let command = commands.next().expect("every write of a batch stands in its entry");
                    apply_command(&mut execution, command, &mut replies).map_err(unreadable)?;
                }
            }
        }
        assert!(commands.next().is_none(), "every command of an entry proposed here belongs to an operation");
        Ok(replies)
    }

    fn store(&mut self) -> &mut Store {
        &mut self.store
    }
}

impl Shard {
    /// Opens the shard's group on its log and rows, and waits until it can take requests.
    ///
    /// # Errors
    /// What the group says when log and rows cannot be used.
    pub async fn open(
        id: ShardId,
        log: RaftLog,
        machine: Rc<RefCell<ShardMachine>>,
        snapshots: PathBuf,
        server: &Arc<Server>,
        core: CoreId,
        background: &Background,
    ) -> Result<Shard, basalt_raft::Error> {
        let outcomes = Outcomes::default();
        let hooks = hooks(id, server, core, background, outcomes.clone());
        let options = GroupOptions {
            in_flight_max: limits::BATCHES_IN_FLIGHT,
            log_bytes_max: server.config.snapshot_log_bytes(),
            ..GroupOptions::alone(u32::from(id.0), THIS_NODE, snapshots)
        };
        let group = Group::open(options, hooks, log, machine.clone()).await?;
        group.wait_ready().await?;
        // What was replayed happened in an earlier run.
        machine.borrow().scratch.set_counts(KeyCounts::default());
        machine.borrow_mut().core = Some((server.clone(), core));
        let in_flight = machine.borrow().in_flight.clone();
        let mut open = OpenBatch::default();
        batch::begin(&mut open.bytes);
        Ok(Shard {
            id,
            machine,
            group,
            open,
            in_flight,
            outcomes,
            next_ticket: 0,
            last_time_ms: 0,
            parked: HashMap::new(),
            parked_waiting: Waiting::default(),
            reads_behind: Waiting::default(),
            expiry_in_flight: false,
            expiry_goes_on: false,
            expiry_is_warming: false,
            expiry_warmed: 0,
            expiry_floor_ms: 0,
            hold: None,
            group_commit: GroupCommit::new(Instant::now()),
            disk_waits: 0,
            probe_until_ms: 0,
            disk_measured_ms: 0,
            counts_changed: false,
            server: server.clone(),
        })
    }

    /// The shard's number.
    pub fn id(&self) -> ShardId {
        self.id
    }

    /// A handle for reader threads.
    pub fn cold_reader(&self) -> ColdReader {
        self.machine.borrow().store.cold_reader()
    }

    /// Keeps rows that a reader thread has brought.
    pub fn take_rows(&mut self, rows: &Warmed) {
        self.machine.borrow().store.take_warmed(rows);
    }

    /// Answers whoever waits for batches that have come through the log; returns how many batches there were.
    pub fn take_outcomes(&mut self, now_ms: u64, host: &mut impl ShardHost) -> usize {
        let disk_waits = self.machine.borrow().store.disk_waits();
        if disk_waits != self.disk_waits {
            self.disk_waits = disk_waits;
            self.probe_until_ms = now_ms + limits::PROBE_MS;
        }
        let mut count = 0;
        loop {
            let next = self.outcomes.borrow_mut().pop_front();
            let Some((ticket, outcome)) = next else { break };
            self.answer(ticket, outcome, host);
            count += 1;
        }
        self.counts_changed |= count > 0;
        if std::mem::take(&mut self.expiry_goes_on) {
            self.delete_expired(now_ms, host);
        }
        count
    }

    /// What is due now and then: expired keys are deleted through the log, figures are published.
    pub fn tick(&mut self, now_ms: u64, host: &mut impl ShardHost) {
        self.expiry_warmed = 0;
        self.delete_expired(now_ms, host);
        self.publish();
        if now_ms.saturating_sub(self.disk_measured_ms) >= limits::DISK_MEASURE.as_millis() as u64 {
            self.disk_measured_ms = now_ms;
            self.publish_disk();
        }
    }

    /// Asking RocksDB takes its lock for a moment, so this is done less often than the rest.
    fn publish_disk(&self) {
        let (stats, log) = (&self.server.shards[self.id.index()], self.group.log_memory());
        stats.log_tail_bytes.set(log.tail_bytes);
        stats.log_segments_bytes.set(log.segments_bytes);
        match self.machine.borrow().store.disk_bytes() {
            Ok(bytes) => self.server.shards[self.id.index()].disk_bytes.set(bytes),
            Err(error) => tracing::debug!(shard = self.id.0, %error, "the size of the rows on disk is unknown"),
        }
    }

    /// Puts the deletion of due keys into the batch, if this replica leads and some are due. Never waits for the disk: what is not in
    /// memory is fetched, and looked at then.
    fn delete_expired(&mut self, now_ms: u64, host: &mut impl ShardHost) {
        let is_busy = self.expiry_in_flight || self.expiry_is_warming;
        if is_busy || self.is_backlogged() || self.group.status().role != Role::Leader {
            return;
        }
        self.expiry_floor_ms = self.expiry_floor_ms.min(now_ms.saturating_sub(limits::EXPIRY_OVERLAP_MS));
        let floor_ms = self.expiry_floor_ms;
        let is_probing = self.is_probing(now_ms);
        let due = self.machine.borrow_mut().reading(now_ms, false, |execution| {
            let keyspace = Keyspace::new(execution.store, execution.scratch, execution.versions, 0, now_ms);
            let mut cold = ColdRows::new();
            let is_due = keyspace.has_due(floor_ms)?;
            if is_due && is_probing {
                keyspace.cold_due(limits::EXPIRED_KEYS_PER_BATCH, floor_ms, &mut cold)?;
            }
            if cold.is_empty() { Ok(is_due) } else { Err(StorageError::Cold(ColdRead::Keys(cold))) }
        });
        let is_due = match due {
            Ok(is_due) => is_due,
            Err(StorageError::Cold(read)) => {
                if self.expiry_warmed < limits::EXPIRY_WARM_ATTEMPTS {
                    self.expiry_warmed += 1;
                    self.expiry_is_warming = true;
                    host.warm(self.id, HOUSEKEEPING, read);
                }
                return;
            }
            Err(error) => {
                tracing::debug!(shard = self.id.0, %error, "keys whose deadline has passed cannot be looked for");
                return;
            }
        };
        if !is_due {
            self.expiry_floor_ms = now_ms.saturating_sub(limits::EXPIRY_OVERLAP_MS);
        } else {
            let (count, floor) = (limits::EXPIRED_KEYS_PER_BATCH.to_string(), floor_ms.to_string());
            let header = RequestHeader::new(Protocol::Resp2, 0, table::DELETE_EXPIRED);
            self.expiry_in_flight = true;
            self.write(None, |out| request::encode(out, header, [count.as_bytes(), floor.as_bytes()].into_iter()));
        }
    }

    /// Publishes the counts that INFO tells, so that a client finds in them what it has been answered before.
    pub fn publish_counts(&mut self) {
        self.counts_changed = false;
        let (machine, stats) = (self.machine.borrow(), &self.server.shards[self.id.index()]);
        let counters = machine.store.counters();
        for db in 0..DATABASE_COUNT {
            stats.keys[db].set(counters.keys[db]);
            stats.deadlines[db].set(counters.deadlines[db]);
        }
        let happened = machine.scratch.counts();
        stats.hits.set(happened.hits);
        stats.misses.set(happened.misses);
        stats.expired_keys.set(happened.expired);
    }

    fn publish(&mut self) {
        self.publish_counts();
        let (status, stats) = (self.group.status(), &self.server.shards[self.id.index()]);
        let machine = self.machine.borrow();
        stats.term.set(status.term);
        stats.leads.set(u64::from(status.role == Role::Leader));
        stats.last_log.set(status.last_log.unwrap_or(0));
        stats.committed.set(status.committed.unwrap_or(0));
        stats.applied.set(status.applied.unwrap_or(0));
        stats.purged.set(status.purged.unwrap_or(0));
        let durable_applied = status.durable_applied.unwrap_or(0);
        if durable_applied != stats.durable_applied.get() {
            stats.durable_applied.set(durable_applied);
            stats.last_save_unix_s.set(unix_ms() / 1000);
        }
        stats.log_bytes.set(status.log_bytes);
        let (memory, row_cache) = (machine.store.memory(), machine.store.row_cache_counts());
        stats.memtable_bytes.set((memory.active_bytes + memory.frozen_bytes) as u64);
        stats.row_cache_bytes.set(memory.row_cache_bytes as u64);
        stats.row_cache_hits.set(row_cache.hits);
        stats.row_cache_misses.set(row_cache.misses);
    }

    /// Writes what is in memory to disk, so that the next start replays nothing.
    ///
    /// # Errors
    /// What could not be written.
    pub async fn close(&mut self, failed: bool) -> Result<(), basalt_raft::Error> {
        // After a failure an entry may be half applied: the log has it whole, and is what counts.
        let written = if failed { Ok(()) } else { self.group.write_out().await };
        written.and(self.group.shutdown().await)
    }

    /// The shard's Raft group.
    pub fn group(&self) -> &Group {
        &self.group
    }

    /// Whether so much waits in the shard, in the batch being collected or beside it, that nothing should be added.
    pub fn is_backlogged(&self) -> bool {
        self.open.bytes.len() + self.open.reads.len() >= limits::BATCH_BYTES_MAX
            || self.open.operations.len() >= limits::BATCH_OPERATIONS_MAX
            || self.parked_waiting.is_full()
            || self.reads_behind.is_full()
    }

    /// Whether a batch waits for a log or rows that cannot take more right now, and must be tried again soon.
    pub fn is_held(&self) -> bool {
        self.hold.is_some() && self.open.write_count > 0
    }

    /// Whether a batch has been on its way for so short a time at `now` that it is likely to be over in a moment.
    pub fn commits_soon(&self, now: Instant) -> bool {
        let in_flight = self.in_flight.borrow();
        in_flight.front().is_some_and(|batch| now.saturating_duration_since(batch.since) < limits::COMMITS_SOON)
    }

    /// Whether the batch that was collected waits for more.
    pub fn is_gathering(&self) -> bool {
        self.open.write_count > 0 && self.group_commit.is_holding()
    }

    /// Whether many clients write to this shard at `now`.
    pub fn expects_many_writes(&self, now: Instant) -> bool {
        self.group_commit.expects_many(now)
    }

    /// How many writes the batch that was collected still waits for, if it waits for nothing but the clients.
    pub fn missing_writes(&self) -> Option<usize> {
        self.group_commit.missing(self.open.write_count)
    }

    /// Whether the batch that was collected waits for nothing but the clients.
    pub fn waits_for_clients(&self) -> bool {
        self.group_commit.waits_for_clients()
    }

    /// Whether writes or parked reads wait for something.
    pub fn is_busy(&self) -> bool {
        self.open.write_count > 0 || !self.in_flight.borrow().is_empty() || !self.parked.is_empty()
    }

    /// Runs a read of this core's own connection without encoding it first. Nothing may be parked for the connection.
    pub fn read_now(
        &mut self,
        handler: Run,
        header: RequestHeader,
        args: Args<'_>,
        now_ms: u64,
        out: &mut Vec<u8>,
    ) -> ReadOutcome {
        self.machine.borrow_mut().read_now(handler, header, args, now_ms, out)
    }

    /// Whether any key has a deadline.
    pub fn has_deadlines(&self) -> bool {
        self.machine.borrow().store.counters().deadlines.iter().any(|&count| count > 0)
    }

    /// Whether requests of `client` wait behind a cold read, so that a new one must queue up.
    pub fn has_parked(&self, core: CoreId, client: u32) -> bool {
        !self.parked.is_empty() && self.parked.contains_key(&(core, client))
    }

    /// Adds a write to the batch; `encode` writes its bytes.
    pub fn write(&mut self, origin: Option<Origin>, encode: impl FnOnce(&mut Vec<u8>)) {
        batch::push(&mut self.open.bytes, encode);
        self.open.write_count += 1;
        self.open.operations.push(Operation { origin, read: None });
    }

    /// Takes an encoded request in its turn.
    pub fn submit(&mut self, origin: Origin, mode: Mode, bytes: &[u8], now_ms: u64, host: &mut impl ShardHost) {
        if !self.parked.is_empty()
            && let Some(parked) = self.parked.get_mut(&(origin.core, origin.client))
        {
            parked.requests.push_back(ParkedRequest { origin, mode, bytes: bytes.to_vec(), attempts: 0 });
            self.parked_waiting.add(bytes.len());
            return;
        }
        if let Err(cold) = self.run(origin, mode, bytes, now_ms, host) {
            self.park(origin, mode, bytes, cold, host);
        }
    }

    /// Parks a request of `origin` until `cold` is in memory, and everything that follows from the same connection.
    pub fn park(&mut self, origin: Origin, mode: Mode, bytes: &[u8], cold: ColdRead, host: &mut impl ShardHost) {
        self.server.shards[self.id.index()].cold_reads.add(1);
        let request = ParkedRequest { origin, mode, bytes: bytes.to_vec(), attempts: 1 };
        let client = (origin.core, origin.client);
        let previous = self.parked.insert(client, Parked { requests: VecDeque::from([request]) });
        assert!(previous.is_none(), "a request behind a parked one queues up, it is not parked again");
        self.parked_waiting.add(bytes.len());
        host.warm(self.id, client, cold);
    }

    /// Runs what waited for rows that a reader thread has fetched.
    pub fn warmed(&mut self, client: (CoreId, u32), now_ms: u64, host: &mut impl ShardHost) {
        if client == HOUSEKEEPING {
            self.expiry_is_warming = false;
            self.expiry_goes_on = true;
            return;
        }
        let Some(mut parked) = self.parked.remove(&client) else { return };
        while let Some(mut request) = parked.requests.pop_front() {
            let bytes = request.bytes.len();
            let patient = request.attempts >= limits::COLD_READ_ATTEMPTS;
            // Rows may be evicted faster than they are read: then wait for the disk rather than try for ever.
            let outcome = match request.mode {
                Mode::Write if patient => {
                    self.write(Some(request.origin), |out| out.extend_from_slice(&request.bytes));
                    Ok(())
                }
                Mode::ReadInOrder if patient && self.has_unapplied() => {
                    self.read_in_order(request.origin, &request.bytes);
                    Ok(())
                }
                Mode::Read | Mode::ReadInOrder if patient => {
                    self.run_patiently(request.origin, &request.bytes, now_ms, host);
                    Ok(())
                }
                mode => self.run(request.origin, mode, &request.bytes, now_ms, host),
            };
            if let Err(cold) = outcome {
                request.attempts += 1;
                parked.requests.push_front(request);
                self.parked.insert(client, parked);
                host.warm(self.id, client, cold);
                return;
            }
            self.parked_waiting.remove(bytes);
        }
    }

    /// Runs a read, or adds a request to the batch.
    fn run(
        &mut self,
        origin: Origin,
        mode: Mode,
        bytes: &[u8],
        now_ms: u64,
        host: &mut impl ShardHost,
    ) -> Result<(), ColdRead> {
        match mode {
            Mode::Write => {
                self.probe(bytes, now_ms)?;
                self.write(Some(origin), |out| out.extend_from_slice(bytes));
            }
            Mode::ReadInOrder if self.has_unapplied() => {
                self.probe(bytes, now_ms)?;
                self.read_in_order(origin, bytes);
            }
            Mode::Read | Mode::ReadInOrder => {
                self.counts_changed = true;
                let mut out = Vec::new();
                let outcome =
                    self.machine.borrow_mut().reading(now_ms, false, |execution| execution.run(bytes, &mut out));
                match outcome {
                    Ok(()) => host.reply(origin, &out),
                    Err(Failure::Cold(read)) => return Err(read),
                    Err(Failure::Storage(_)) => unreachable!("a read's errors are its reply"),
                    Err(Failure::Undecodable) => unreachable!("a request is decoded as this process encoded it"),
                }
            }
        }
        Ok(())
    }

    fn run_patiently(&mut self, origin: Origin, bytes: &[u8], now_ms: u64, host: &mut impl ShardHost) {
        self.counts_changed = true;
        let mut out = Vec::new();
        let outcome = self.machine.borrow_mut().reading(now_ms, true, |execution| execution.run(bytes, &mut out));
        assert!(outcome.is_ok(), "a read that may wait for the disk is never cold, and it was encoded here");
        host.reply(origin, &out);
    }

    /// Whether a write is not applied yet, behind which a read may have to wait.
    fn has_unapplied(&self) -> bool {
        self.open.write_count > 0 || self.in_flight.borrow().back().is_some_and(|last| !last.applied)
    }

    /// Whether rows are looked for in memory before the requests that need them join a batch.
    pub fn is_probing(&self, now_ms: u64) -> bool {
        now_ms < self.probe_until_ms
    }

    /// Looks whether the rows that a request needs are in memory, so that applying it does not wait for the disk. Only while
    /// applying had to wait lately: with all keys in memory it would be work for nothing.
    fn probe(&mut self, bytes: &[u8], now_ms: u64) -> Result<(), ColdRead> {
        if !self.is_probing(now_ms) {
            return Ok(());
        }
        let mut args = ArgList::new();
        args.push(b"");
        let Some(header) = request::decode(bytes, &mut args) else { return Ok(()) };
        let Some(command) = table::by_id(header.command) else { return Ok(()) };
        let mut machine = self.machine.borrow_mut();
        let counts = machine.scratch.counts();
        let cold = machine.reading(now_ms, false, |execution| {
            let keyspace =
                Keyspace::new(execution.store, execution.scratch, execution.versions, header.db, execution.now_ms);
            cold_rows(&keyspace, command, &args)
        });
        // Looked up by nobody yet.
        machine.scratch.set_counts(counts);
        match cold {
            Ok(rows) if rows.is_empty() => Ok(()),
            Ok(rows) => Err(ColdRead::Keys(rows)),
            Err(StorageError::Cold(read)) => Err(read),
            // Who runs the request meets the error, and says it.
            Err(_) => Ok(()),
        }
    }

    /// Puts a read behind the writes that are not applied yet.
    fn read_in_order(&mut self, origin: Origin, bytes: &[u8]) {
        let put = |operations: &mut Vec<Operation>, reads: &mut Vec<u8>| {
            let start = reads.len();
            reads.extend_from_slice(bytes);
            operations.push(Operation { origin: Some(origin), read: Some(start..reads.len()) });
        };
        if self.open.write_count > 0 {
            return put(&mut self.open.operations, &mut self.open.reads);
        }
        let mut in_flight = self.in_flight.borrow_mut();
        let last = in_flight.back_mut().expect("something is not applied, or the read would run at once");
        put(&mut last.operations, &mut last.reads);
        self.reads_behind.add(bytes.len());
    }

    /// Ends a turn: publishes what changed, before the replies leave, and proposes the batch that was collected. It waits while
    /// enough batches are on their way, and for a bounded time while the log or the rows in memory cannot take more.
    /// `string_bytes_max` is how long its commands may make a string. Returns the bytes that were proposed.
    pub fn propose(&mut self, now: Instant, now_ms: u64, string_bytes_max: usize, host: &mut impl ShardHost) -> usize {
        if self.counts_changed {
            self.publish_counts();
        }
        if self.open.write_count == 0 {
            return 0;
        }
        if self.in_flight.borrow().len() >= limits::BATCHES_IN_FLIGHT {
            // Outcomes make room. But a full disk may hold them up for as long as it is full.
            if let Err(error @ ProposeError::DiskFull) = self.group.check_room(self.open.bytes.len()) {
                let batch = self.take_open_batch(now_ms, string_bytes_max).0;
                self.refuse(&batch, &error, host);
            }
            return 0;
        }
        if self.gathers_more(now) {
            return 0;
        }
        let memory = self.machine.borrow().store.memory();
        if memory.active_bytes >= limits::MEMTABLE_OVERFLOW * memory.memtable_bytes {
            if !self.may_hold(now_ms) {
                let batch = self.take_open_batch(now_ms, string_bytes_max).0;
                self.refuse(&batch, &ProposeError::WriteStall, host);
            }
            return 0;
        }
        let write_count = self.open.write_count;
        let (batch, bytes) = self.take_open_batch(now_ms, string_bytes_max);
        let (ticket, byte_count) = (batch.ticket, bytes.len());
        self.in_flight.borrow_mut().push_back(batch);
        match self.group.propose(bytes, ticket) {
            Ok(()) => {
                self.hold = None;
                self.reads_behind = Waiting::default();
                let stats = &self.server.shards[self.id.index()];
                stats.batches.add(1);
                stats.writes.add(write_count as u64);
                byte_count
            }
            Err(Refused { reason, batch: bytes }) => {
                let batch = self.in_flight.borrow_mut().pop_back().expect("the batch was pushed above");
                if reason == ProposeError::WriteStall && self.may_hold(now_ms) {
                    self.reopen(batch, bytes);
                } else {
                    self.refuse(&batch, &reason, host);
                }
                0
            }
        }
    }

    /// Whether the batch that was collected should wait for writes that are about to come. Not if nothing waits for a sync
    /// anyway, nor if nothing can join it any more.
    fn gathers_more(&mut self, now: Instant) -> bool {
        if self.hold.is_some() || self.server.config.durability != Durability::Always {
            return false;
        }
        let flying = self.in_flight.borrow().iter().map(|batch| batch.write_count).sum();
        let is_full = self.is_backlogged();
        self.group_commit.holds(now, self.open.write_count, flying, is_full)
    }

    /// Whether a batch that cannot be proposed at `now_ms` for a reason that passes may wait on.
    fn may_hold(&mut self, now_ms: u64) -> bool {
        self.hold.get_or_insert(Hold { since_ms: now_ms, seen_ms: now_ms }).is_bearable(now_ms)
    }

    /// Makes a batch that was closed a moment ago the open one again.
    fn reopen(&mut self, batch: PendingBatch, bytes: Bytes) {
        assert!(self.open.operations.is_empty(), "nothing joins the next batch before this one is proposed");
        self.next_ticket = batch.ticket;
        // The group has let go of the bytes, so they are not copied.
        let write_count = batch.write_count;
        self.open = OpenBatch { bytes: bytes.into(), write_count, operations: batch.operations, reads: batch.reads };
    }

    /// Closes the batch that was collected and begins the next one.
    fn take_open_batch(&mut self, now_ms: u64, string_bytes_max: usize) -> (PendingBatch, Bytes) {
        self.last_time_ms = self.last_time_ms.max(now_ms);
        let seed = self.machine.borrow_mut().random.next_u64();
        let mut bytes = Vec::with_capacity(self.open.bytes.len().min(limits::BATCH_BYTES_MAX));
        batch::begin(&mut bytes);
        std::mem::swap(&mut bytes, &mut self.open.bytes);
        batch::seal(&mut bytes, self.last_time_ms, seed, string_bytes_max);
        let ticket = self.next_ticket;
        self.next_ticket += 1;
        let batch = PendingBatch {
            ticket,
            since: Instant::now(),
            write_count: std::mem::take(&mut self.open.write_count),
            applied: false,
            operations: std::mem::take(&mut self.open.operations),
            reads: std::mem::take(&mut self.open.reads),
        };
        (batch, Bytes::from(bytes))
    }

    /// Answers whoever waits for the batch `ticket`. Outcomes come in the order of the proposals.
    pub fn answer(&mut self, ticket: u64, outcome: Result<Replies, ProposeError>, host: &mut impl ShardHost) {
        let pending = self.in_flight.borrow_mut().pop_front().expect("every outcome belongs to a batch in flight");
        assert_eq!(pending.ticket, ticket, "outcomes come in the order of the proposals");
        if self.in_flight.borrow().is_empty() {
            self.reads_behind = Waiting::default();
        }
        let replies = match outcome {
            Ok(replies) => replies,
            Err(error) => return self.refuse(&pending, &error, host),
        };
        self.server.shards[self.id.index()].disk_is_full.set(0);
        assert_eq!(replies.ends.len(), pending.operations.len(), "every operation of a batch has one reply");
        let mut start = 0;
        for (operation, &end) in pending.operations.iter().zip(&replies.ends) {
            match operation.origin {
                Some(origin) => host.reply(origin, &replies.bytes[start..end]),
                None => {
                    self.expiry_in_flight = false;
                    let deleted = value::read_integer(&replies.bytes[start..end]);
                    self.expiry_goes_on = deleted == Some(limits::EXPIRED_KEYS_PER_BATCH as i64);
                }
            }
            start = end;
        }
    }

    /// Tells everybody in a batch that it was not taken.
    fn refuse(&mut self, batch: &PendingBatch, error: &ProposeError, host: &mut impl ShardHost) {
        if *error == ProposeError::DiskFull {
            self.server.shards[self.id.index()].disk_is_full.set(1);
        }
        let text = format!("-{}\r\n", refusal(error));
        for operation in &batch.operations {
            match (operation.origin, &operation.read) {
                // Reads go on: behind what is still in flight, or at once.
                (Some(origin), Some(range)) => {
                    self.submit(origin, Mode::ReadInOrder, &batch.reads[range.clone()], self.last_time_ms, host);
                }
                (Some(origin), None) => host.reply(origin, text.as_bytes()),
                (None, _) => self.expiry_in_flight = false,
            }
        }
    }
}

/// What a client is told when its write was not taken.
fn refusal(error: &ProposeError) -> String {
    match error {
        ProposeError::DiskFull => {
            "MISCONF The disk is full: writes are refused until there is space again, reads go on".to_owned()
        }
        ProposeError::WriteStall | ProposeError::Backlog => format!("BUSY {error}, try again"),
        ProposeError::NotLeader { .. } => format!("CLUSTERDOWN {error}, try again"),
        other => format!("ERR {other}"),
    }
}

#[cfg(test)]
#[path = "shard_tests.rs"]
pub(crate) mod tests;
