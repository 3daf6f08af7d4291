//! The shard as a script sees it: it runs commands on the rows that the script's own step runs on.

use std::collections::BTreeSet;

use basalt_lua::{Called, Host};
use basalt_net::resp::{Protocol, Reply};
use basalt_storage::{ColdRead, DATABASE_COUNT, Error as StorageError};

use super::Terms;
use crate::commands::facts::Flags;
use crate::commands::rights::{CallerRights, Denied};
use crate::commands::{
    Args, Command, CommandError, Context, CopyOptions, Kind, MultiShard, PatternKeys, Run, Scatter, TOO_MUCH_WORK,
    parse_i64, reply_help, table, why_not_by_patterns,
};
use crate::limits;

/// The reply to a script whose command replies more than the script may have, or can pay for.
const TOO_LARGE: &str = "ERR the script was stopped and undone: a command of it has a reply that is too large";
/// The reply to a script that came behind others in its batch which have made very many collections.
const NO_VERSIONS: &str =
    "BUSY the script was stopped and undone: too many collections are made by the scripts of one batch, try again";

/// Redis' word for commands that scripts may not run.
const NOT_ALLOWED: &str = "This Redis command is not allowed from script";
/// Redis' word for a key that is elsewhere.
const NOT_LOCAL: &str = "Script attempted to access a non local key in a cluster node";
/// Nor for this: there the replicas get what a script writes, and not the script.
const WALK_DIFFERS: &str =
    "SCAN and RANDOMKEY are for scripts that only read (EVAL_RO, or the flag no-writes), KEYS is for all";
/// There is no word of Redis for this: it has one shard.
const ALL_SHARDS: &str = "This command concerns the keys of all shards, and a script has those of one";

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
}

/// Returns whether a command walks over all keys, not over those that it names.
fn walks_over_keys(command: &Command) -> bool {
    use MultiShard::{Keys, RandomKey, Scan};
    matches!(command.scatter, Scatter::MultiShard(Scan | Keys | RandomKey))
}

impl ShardHost<'_, '_> {
    /// Has the script pay for the steps that `check` takes of those that are left.
    fn paid<T>(&self, check: impl FnOnce(&mut u64) -> T) -> T {
        let most = self.context.work_left.get().saturating_mul(limits::GLOB_STEPS_PER_WORK);
        let mut left = most;
        let outcome = check(&mut left);
        let work = (most - left).div_ceil(limits::GLOB_STEPS_PER_WORK);
        self.context.work_left.set(self.context.work_left.get().saturating_sub(work));
        outcome
    }

    /// Checks a command against the rights of the script's caller, in Redis' words, and pays for that. If the
    /// script cannot pay, no work is left for it.
    fn denied(&self, command: &Command, args: Args<'_>) -> Option<&'static str> {
        let rights = self.rights.as_ref()?;
        let outcome = self.paid(|left| rights.check(command, args, left));
        outcome.err().map(|denied| match denied {
            Denied::Command => "The user executing the script can't run this command or subcommand",
            Denied::Key(_) => {
                "The user executing the script can't access at least one of the keys mentioned in the command arguments"
            }
            Denied::Channel(_) => "The user executing the script can't publish to the channel mentioned in the command",
        })
    }

    /// The reason that a command is not run whose patterns name keys that are elsewhere, or that the script's caller may not read.
    fn why_not_by_patterns(&self, command: &Command, args: Args<'_>) -> Option<CommandError> {
        if !command.has_patterns {
            return None;
        }
        let is_here = |key: &[u8]| self.terms.reach.has(key);
        let rights = self.rights.as_ref();
        let keys = PatternKeys {
            in_cluster: self.terms.in_cluster,
            may_read_all: rights.is_none_or(|rights| self.paid(|left| rights.may_read_all(command, args, left))),
            is_here: if self.terms.reach == super::Reach::All { None } else { Some(&is_here) },
        };
        why_not_by_patterns(command, args, keys)
    }

    /// The reason that a command is not run, in Redis' order and words.
    fn why_not(&self, command: &Command, args: Args<'_>) -> Option<&'static str> {
        if command.facts.flags.contains(Flags::WRITE) && self.terms.is_read_only {
            return Some("Write commands are not allowed from read-only scripts.");
        }
        if command.keys(args).any(|key| !self.terms.reach.has(args[key])) {
            return Some(NOT_LOCAL);
        }
        let is_copy = matches!(command.scatter, Scatter::MultiShard(MultiShard::Copy));
        let db = self.context.keyspace.db();
        let leaves = |options: CopyOptions| options.db != db;
        if self.terms.in_cluster && is_copy && CopyOptions::read(args, db).is_ok_and(leaves) {
            return Some("Copying to another database is not allowed in cluster mode");
        }
        // Where a page of a walk ends, and which keys one is drawn from, depends on what else a replica has, and has in memory.
        let is_in_pages = matches!(command.scatter, Scatter::MultiShard(MultiShard::Scan | MultiShard::RandomKey));
        if is_in_pages && !self.terms.is_read_only {
            return Some(WALK_DIFFERS);
        }
        let is_of_all = matches!(command.scatter, Scatter::AllShards { .. }) || walks_over_keys(command);
        (is_of_all && self.terms.reach != super::Reach::All).then_some(ALL_SHARDS)
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

    /// Runs a command that needs neither keys nor a connection; the others of the connection and the node are none of a script's.
    fn run_without_keys(&mut self, name: &str, args: Args<'_>, protocol: Protocol, out: &mut Vec<u8>) -> Called {
        out.clear();
        let mut reply = Reply::new(out, protocol);
        match (name, args) {
            ("ping", [_]) => reply.simple("PONG"),
            ("ping", [_, text]) | ("echo", [_, text]) => reply.bulk(text),
            ("ping", _) => reply.error("ERR wrong number of arguments for 'ping' command"),
            // The time of the entry, as for every command of the script.
            ("time", _) => {
                let now_ms = self.context.keyspace.now_ms();
                reply.array(2);
                reply.bulk_display(now_ms / 1000);
                reply.bulk_display(now_ms % 1000 * 1000);
            }
            ("select", [_, db]) => match parse_i64(db) {
                Ok(1..) if self.terms.in_cluster => reply.error("ERR SELECT is not allowed in cluster mode"),
                Ok(db) if (0..DATABASE_COUNT as i64).contains(&db) => {
                    self.context.keyspace.select(db as u8);
                    reply.ok();
                }
                Ok(_) => reply.error("ERR DB index is out of range"),
                Err(error) => reply.error_display(&error),
            },
            _ => return Called::Refused(NOT_ALLOWED.to_owned()),
        }
        Called::Replied
    }
}

impl ShardHost<'_, '_> {
    fn call_command(&mut self, args: Args<'_>, is_resp3: bool, bytes_max: usize, reply: &mut Vec<u8>) -> Called {
        let protocol = if is_resp3 { Protocol::Resp3 } else { Protocol::Resp2 };
        let Some(command) = table::called(args) else {
            return Called::Refused("Unknown Redis command called from script".to_owned());
        };
        if command.check_arity(args).is_err() {
            return Called::Refused("Wrong number of args calling Redis command from script".to_owned());
        }
        if command.facts.flags.contains(Flags::NOSCRIPT) {
            return Called::Refused(NOT_ALLOWED.to_owned());
        }
        if let Some(reason) = self.denied(command, args) {
            if self.context.work_left.get() == 0 {
                return self.stop(CommandError::Undone(TOO_MUCH_WORK.into()));
            }
            return Called::Refused(reason.to_owned());
        }
        if let Some(reason) = self.why_not(command, args) {
            return Called::Refused(reason.to_owned());
        }
        if let Some(error) = self.why_not_by_patterns(command, args) {
            reply.clear();
            Reply::new(reply, protocol).error_display(&error);
            return Called::Replied;
        }
        self.is_writing = matches!(command.kind, Kind::Write(_));
        match command.kind {
            Kind::Write(_) if self.context.keyspace.versions().left() < limits::VERSIONS_BEHIND_SCRIPTS => {
                self.stop(CommandError::Undone(NO_VERSIONS.into()))
            }
            Kind::Read(run) | Kind::Write(run) => {
                self.run(run, args, (protocol, bytes_max.min(limits::SCRIPT_REPLY_BYTES_MAX)), reply)
            }
            Kind::Transaction | Kind::Part | Kind::Watch | Kind::Unwatch => Called::Refused(NOT_ALLOWED.to_owned()),
            Kind::Session => self.run_without_keys(command.name(), args, protocol, reply),
            Kind::Help(lines) => {
                reply.clear();
                reply_help(command, lines, &mut Reply::new(reply, protocol));
                Called::Replied
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
        let command = table::called(args)?;
        self.context.work_left.set(*work);
        // A script publishes nothing, so its caller's channels are not known here.
        let has_channels = self.rights.is_some() && !command.channels(args).positions.is_empty();
        let is_allowed = self.denied(command, args).is_none() && !has_channels;
        *work = self.context.work_left.get();
        Some(is_allowed)
    }

    fn log(&mut self, level: u8, text: &[u8]) {
        if !self.cold.is_empty() {
            return;
        }
        log_text(level, text);
    }
}

/// Logs what a script says.
pub(in crate::commands) fn log_text(level: u8, text: &[u8]) {
    let text = String::from_utf8_lossy(text);
    match level {
        0 => tracing::debug!(script = %text, "a script says"),
        1 | 2 => tracing::info!(script = %text, "a script says"),
        _ => tracing::warn!(script = %text, "a script says"),
    }
}
