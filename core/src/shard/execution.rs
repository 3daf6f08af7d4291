//! Running commands on the shard's rows: those of committed entries, and reads.

use std::sync::Arc;

use basalt_net::resp::Reply;
use basalt_raft::{EntryId, Machine, MachineError, Replies};
use basalt_storage::keyspace::{Keyspace, Scratch, VersionSource};
use basalt_storage::{ColdRead, Error as StorageError, Rehearsal, Store};

use super::open_batch::InFlight;
use crate::batch::Batch;
use crate::commands::table;
use crate::commands::{Args, Command, CommandError, Context, Kind, Random, Run};
use crate::ids::CoreId;
use crate::limits;
use crate::probe::look_for_named;
use crate::request::{self, ArgList, RequestHeader};
use crate::server::Server;
use crate::stats::CoreStats;

/// What a read is told that would have to be kept with too many large replies.
const TOO_MUCH_TO_READ: &[u8] =
    b"-BUSY The replies to reads that wait behind the same writes are too large to be made at once, ask for fewer at a time\r\n";

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
    pub(super) store: Store,
    pub(super) scratch: Scratch,
    pub(super) random: Random,
    pub(super) in_flight: InFlight,
    /// Whose figures count what is run.
    pub(super) core: Option<(Arc<Server>, CoreId)>,
}

/// Why a command gave no reply.
pub(super) enum Failure {
    Cold(ColdRead),
    /// Rows could not be read while an entry was applied.
    Storage(StorageError),
    Undecodable,
}

/// Commands being run on a shard's rows at one moment.
pub(super) struct Execution<'a> {
    pub(super) store: &'a mut Store,
    pub(super) scratch: &'a mut Scratch,
    pub(super) random: &'a mut Random,
    pub(super) versions: VersionSource,
    pub(super) now_ms: u64,
    /// How long a write may make a string.
    pub(super) string_bytes_max: usize,
    /// Whether an entry is being applied: rows that cannot be read are no reply then, since replicas must agree.
    pub(super) applying: bool,
    /// The figures of the core that runs them.
    pub(super) stats: Option<&'a CoreStats>,
}

impl Execution<'_> {
    /// Runs one encoded command and writes its reply, or its error, to `out`.
    pub(super) fn run(&mut self, bytes: &[u8], out: &mut Vec<u8>) -> Result<(), Failure> {
        let mut args = ArgList::new();
        args.push(b"");
        let header = request::decode(bytes, &mut args).ok_or(Failure::Undecodable)?;
        let command = table::by_id(header.command).ok_or(Failure::Undecodable)?;
        args[0] = command.name().as_bytes();
        let (Kind::Read(handler) | Kind::Write(handler)) = command.kind else { return Err(Failure::Undecodable) };
        self.call(handler, header, &args, out)
    }

    /// Looks whether the rows that a command needs are in memory. The store must not wait for the disk.
    ///
    /// # Errors
    /// [`StorageError::Cold`] with rows that are not; other errors as the command itself.
    pub(super) fn look_ahead(
        &mut self,
        command: &Command,
        header: RequestHeader,
        args: Args<'_>,
    ) -> Result<(), CommandError> {
        let (Kind::Read(handler) | Kind::Write(handler)) = command.kind else { return Ok(()) };
        // Looked up by nobody yet.
        let counts = self.scratch.counts();
        let keyspace = Keyspace::new(self.store, self.scratch, self.versions, header.db, self.now_ms);
        let mut looked = look_for_named(&keyspace, command, args, header.seed).map_err(CommandError::from);
        if let Ok(true) = looked {
            let mut rows = Rehearsal::new(self.store, limits::REHEARSED_BYTES_MAX);
            // Entry 0 holds no commands: no row has its versions.
            let versions = VersionSource::entry(0);
            let keyspace = Keyspace::new(&mut rows, self.scratch, versions, header.db, self.now_ms);
            let random = &mut Random::new(header.seed.unwrap_or(0));
            let mut context = Context { keyspace, random, string_bytes_max: self.string_bytes_max };
            let mut out = Vec::new();
            looked = handler(&mut context, args, &mut Reply::new(&mut out, header.protocol)).map(|()| false);
        }
        self.scratch.set_counts(counts);
        looked.map(drop)
    }

    /// Calls a handler and writes its reply, or its error, to `out`.
    fn call(&mut self, handler: Run, header: RequestHeader, args: Args<'_>, out: &mut Vec<u8>) -> Result<(), Failure> {
        let mut reply = Reply::new(out, header.protocol);
        let mark = reply.mark();
        let counts = self.scratch.counts();
        let stats = self.stats.and_then(|stats| stats.by_command.get(usize::from(header.asked)));
        let started = stats.and_then(|stats| stats.time.start());
        let keyspace = Keyspace::new(self.store, self.scratch, self.versions, header.db, self.now_ms);
        let mut own_random = header.seed.map(Random::new);
        let random = own_random.as_mut().unwrap_or(self.random);
        let mut context = Context { keyspace, random, string_bytes_max: self.string_bytes_max };
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
    pub(super) fn reading<R>(
        &mut self,
        now_ms: u64,
        wait_for_disk: bool,
        read: impl FnOnce(&mut Execution<'_>) -> R,
    ) -> R {
        self.store.set_wait_for_disk(wait_for_disk);
        let outcome = read(&mut Execution {
            store: &mut self.store,
            scratch: &mut self.scratch,
            random: &mut self.random,
            versions: VersionSource::none(),
            now_ms,
            // Reads make no strings longer, and commands that do are not rehearsed.
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
