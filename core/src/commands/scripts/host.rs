//! The shard as a script sees it: it runs commands on the rows that the script's own step runs on.

use std::collections::BTreeSet;

use basalt_lua::{Called, Host};
use basalt_net::resp::{Protocol, Reply};
use basalt_storage::{ColdRead, Error as StorageError};

use super::gate::{Admission, Gate, IsHere, call_without_keys, log_line, publish, walks_over_keys, why_not_to_block};
use super::terms::reply_bytes_of;
use super::{Messages, Reach, Terms};
use crate::commands::rights::CallerRights;
use crate::commands::{Args, Command, CommandError, Context, Kind, MultiShard, Run, Scatter, TOO_MUCH_WORK, table};
use crate::limits;

/// The reply to a script whose command replies more than the script may have, or can pay for.
pub const TOO_LARGE: &str = "ERR the script was stopped and undone: a command of it has a reply that is too large";
/// The reply to a script that came behind others in its batch which have made very many collections.
const NO_VERSIONS: &str =
    "BUSY the script was stopped and undone: too many collections are made by the scripts of one batch, try again";

/// The reason that a script is stopped which accesses a key of another shard. No client reads it.
pub const ELSEWHERE: &str = "ELSEWHERE the script accesses keys of several shards";

/// The handler of what a script gets that calls SCAN though it may write: all keys, in the order of KEYS. Where a page ends depends
/// on what else a replica has.
fn scan_of_all() -> Run {
    let step = table::by_id(table::STEP_SCAN_ALL).map(|command| command.kind);
    let Some(Kind::Read(run)) = step else { unreachable!("the step is in the table, and reads") };
    run
}

/// Makes of an array of keys the one page of a walk.
pub fn as_one_page(reply: &mut Vec<u8>) {
    if reply.starts_with(b"*") {
        reply.splice(0..0, *b"*2\r\n$1\r\n0\r\n");
    }
}

/// Runs a script's commands on one shard.
pub(super) struct ShardHost<'a, 'rows> {
    pub(super) context: &'a mut Context<'rows>,
    pub(super) terms: &'a Terms,
    /// The rights of its caller, unless that may do everything.
    pub(super) rights: Option<CallerRights>,
    /// The reason that the script was stopped.
    pub(super) stopped: Option<CommandError>,
    /// True while a command runs, and for good if it has panicked.
    pub(super) is_running: bool,
    /// True if that writes.
    pub(super) is_writing: bool,
    /// Rows that it has met on disk. It goes on as if they had a number in them, to learn which else it needs: all that it
    /// does is forgotten, and it begins anew when they are in memory.
    pub(super) cold: BTreeSet<Box<[u8]>>,
    /// The messages that it has published.
    pub(super) messages: Messages,
}

impl ShardHost<'_, '_> {
    fn gate(&self) -> Gate<'_> {
        Gate {
            terms: self.terms,
            rights: self.rights.as_ref(),
            work_left: &self.context.work_left,
            db: self.context.keyspace.db(),
            may_walk: self.terms.reach == Reach::All,
        }
    }

    /// The reason that a command is not run whose patterns name keys that are elsewhere, or that the script's caller may not read.
    fn why_not_by_patterns(&self, command: &Command, args: Args<'_>) -> Option<CommandError> {
        let is_here = |key: &[u8]| self.terms.reach.has(key);
        let is_here: IsHere<'_> = if self.terms.reach == Reach::All { None } else { Some(&is_here) };
        self.gate().why_not_by_patterns(command, args, is_here)
    }

    fn run(&mut self, run: Run, args: Args<'_>, shape: (Protocol, usize), out: &mut Vec<u8>) -> Called {
        let (protocol, bytes_max) = shape;
        out.clear();
        // A bound that does not follow from this node's memory: whether a script goes on must not.
        let mut reply = Reply::strictly_bounded(out, protocol, bytes_max);
        self.is_running = true;
        let outcome = run(self.context, args, &mut reply);
        self.is_running = false;
        match outcome {
            Ok(()) if reply.is_over() => self.stop(CommandError::Undone(TOO_LARGE.into())),
            Ok(()) => Called::Replied,
            Err(CommandError::Storage(StorageError::Cold(read))) if self.goes_on_without(&read) => {
                reply.truncate(0);
                reply.bulk(b"0");
                Called::Replied
            }
            Err(error @ (CommandError::Storage(_) | CommandError::Undone(_))) => self.stop(error),
            Err(CommandError::Piecemeal) => self.run_by_key(run, args, shape, out),
            Err(error) => {
                reply.truncate(0);
                reply.error_display(&error);
                Called::Replied
            }
        }
    }

    /// Runs an MGET whose reply is too large to be made in one go for a client: key by key, for the script is one moment.
    fn run_by_key(&mut self, run: Run, args: Args<'_>, shape: (Protocol, usize), out: &mut Vec<u8>) -> Called {
        let (protocol, bytes_max) = shape;
        let mut all = Vec::new();
        Reply::new(&mut all, protocol).array(args.len() - 1);
        for key in &args[1..] {
            if let stopped @ (Called::Stop | Called::Refused(_) | Called::TooLong) =
                self.run(run, &[args[0], key], shape, out)
            {
                return stopped;
            }
            all.extend_from_slice(out.strip_prefix(b"*1\r\n").unwrap_or(out));
            if all.len() > bytes_max {
                return self.stop(CommandError::Undone(TOO_LARGE.into()));
            }
        }
        *out = all;
        Called::Replied
    }

    /// Takes note of rows that are on disk. False if there are enough of them, or it is not known which they are.
    fn goes_on_without(&mut self, read: &ColdRead) -> bool {
        let rows = match read {
            ColdRead::Key(row) => std::slice::from_ref(row),
            ColdRead::Keys(rows) => rows,
            ColdRead::Places(_) | ColdRead::Scan { .. } => return false,
        };
        self.cold.extend(rows.iter().cloned());
        // A command that writes may have written half of what it does. No rows at all: it is tried again in a moment.
        !self.is_writing && !self.cold.is_empty() && self.cold.len() < limits::SCRIPT_COLD_ROWS_MAX
    }

    fn stop(&mut self, error: CommandError) -> Called {
        self.stopped = Some(error);
        Called::Stop
    }
}

impl ShardHost<'_, '_> {
    fn call_command(&mut self, args: Args<'_>, is_resp3: bool, bytes_max: usize, reply: &mut Vec<u8>) -> Called {
        let protocol = if is_resp3 { Protocol::Resp3 } else { Protocol::Resp2 };
        let command = match self.gate().admit(args) {
            Admission::Run(command) => command,
            Admission::Refused(reason) => return Called::Refused(reason.to_owned()),
            Admission::Elsewhere => return self.stop(CommandError::Undone(ELSEWHERE.into())),
            Admission::NoWorkLeft => return self.stop(CommandError::Undone(TOO_MUCH_WORK.into())),
        };
        if let Some(error) = self.why_not_by_patterns(command, args) {
            reply.clear();
            Reply::new(reply, protocol).error_display(&error);
            return Called::Replied;
        }
        if let Some(error) = why_not_to_block(self.terms, command, args) {
            reply.clear();
            Reply::new(reply, protocol).error_display(&error);
            return Called::Replied;
        }
        let bytes_max = bytes_max.min(limits::SCRIPT_REPLY_BYTES_MAX);
        let is_scan = matches!(command.scatter, Scatter::MultiShard(MultiShard::Scan));
        self.is_writing = matches!(command.kind, Kind::Write(_));
        self.context.keyspace.tell_misses(command.tells_misses());
        self.context.keyspace.note_accesses(true);
        match command.kind {
            _ if command.publishes && self.terms.is_wide => {
                match publish(&mut self.messages, &self.context.work_left, command, args) {
                    Ok(()) => {
                        reply.clear();
                        Reply::new(reply, protocol).integer(0);
                        Called::Replied
                    }
                    Err(error) => self.stop(error),
                }
            }
            Kind::Read(_) if is_scan && !self.terms.is_read_only => {
                let called = self.run(scan_of_all(), args, (protocol, bytes_max), reply);
                as_one_page(reply);
                called
            }
            Kind::Write(_) if self.context.keyspace.versions().left() < limits::VERSIONS_BEHIND_SCRIPTS => {
                self.stop(CommandError::Undone(NO_VERSIONS.into()))
            }
            Kind::Read(run) | Kind::Write(run) => {
                self.run(run, args, (protocol, bytes_max.min(reply_bytes_of(self.terms.work))), reply)
            }
            _ => {
                let place = (self.context.keyspace.now_ms(), self.terms.in_cluster, self.terms.is_read_only);
                let (called, db) = call_without_keys(command, args, place, protocol, reply);
                if let Some(db) = db {
                    self.context.keyspace.select(db);
                }
                called
            }
        }
    }
}

impl Host for ShardHost<'_, '_> {
    fn call(
        &mut self,
        args: &[&[u8]],
        is_resp3: bool,
        bytes_max: usize,
        work: &mut u64,
        reply: &mut Vec<u8>,
    ) -> Called {
        self.context.work_left.set(*work);
        let before = self.context.keyspace.work();
        let called = self.call_command(args, is_resp3, bytes_max, reply);
        // What its rows have been is known behind it: as much as the trial lets it read at most. A walk over keys pays by itself.
        let is_walk = table::called(args).is_some_and(walks_over_keys);
        let rows_work = if is_walk { 0 } else { self.context.keyspace.work().saturating_sub(before) };
        let left = self.context.work_left.get().checked_sub(rows_work);
        *work = left.unwrap_or(0);
        match (left, called) {
            (None, Called::Replied) => self.stop(CommandError::Undone(TOO_MUCH_WORK.into())),
            (_, called) => called,
        }
    }

    fn may_call(&mut self, args: &[&[u8]], work: &mut u64) -> Option<bool> {
        self.context.work_left.set(*work);
        let is_allowed = self.gate().may_call(args);
        *work = self.context.work_left.get();
        is_allowed
    }

    fn log(&mut self, level: u8, text: &[u8]) {
        if self.cold.is_empty() {
            log_line(level, text);
        }
    }
}
