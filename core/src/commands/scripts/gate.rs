//! The checks of what a script calls, wherever its keys are, and the commands that need none.

use std::cell::Cell;

use basalt_lua::Called;
use basalt_net::resp::{Protocol, Reply};
use basalt_storage::DATABASE_COUNT;

use super::{Message, Messages, Terms};
use crate::commands::facts::Flags;
use crate::commands::rights::{CallerRights, Denied};
use crate::commands::{
    Args, Command, CommandError, Kind, MultiShard, PatternKeys, Scatter, TOO_MUCH_WORK, parse_i64, reply_help, table,
    why_not_by_patterns, why_not_in_cluster,
};
use crate::limits;

/// Redis' word for commands that scripts may not run.
const NOT_ALLOWED: &str = "This Redis command is not allowed from script";
/// Redis' word for a key that is elsewhere.
const NOT_LOCAL: &str = "Script attempted to access a non local key in a cluster node";
/// Nor for this: there the replicas get what a script writes, and not the script.
const WALK_DIFFERS: &str =
    "SCAN and RANDOMKEY are for scripts that only read (EVAL_RO, or the flag no-writes), KEYS is for all";
/// The same for those that may call SCAN.
const DRAW_DIFFERS: &str =
    "RANDOMKEY is for scripts that only read (EVAL_RO, or the flag no-writes), KEYS and SCAN are for all";

/// The reply to a script that publishes more than one may.
const TOO_MANY_MESSAGES: &str =
    "ERR the script was stopped and undone: it publishes more messages than a script may, or more bytes of them";

/// Nor for this: there nobody is served while a script waits for another server.
const MIGRATES: &str = "MIGRATE waits for another server, and is not for scripts";

/// There is no word of Redis for this: it has one shard.
const ALL_SHARDS: &str = "This command concerns the keys of all shards, and a script has those of one";

/// Says which keys a pattern may lead to; nobody has to where all keys are in one shard.
pub type IsHere<'a> = Option<&'a dyn Fn(&[u8]) -> bool>;

/// The checks of the commands of a script.
pub struct Gate<'a> {
    /// The terms on which it runs.
    pub terms: &'a Terms,
    /// The rights of its caller, unless that may do everything.
    pub rights: Option<&'a CallerRights>,
    /// Work that it may still do.
    pub work_left: &'a Cell<u64>,
    /// The database that it has selected.
    pub db: u8,
    /// True if it may call commands on all keys.
    pub may_walk: bool,
}

/// The decision on a command.
pub enum Admission {
    /// It is run.
    Run(&'static Command),
    /// It is not, for this reason.
    Refused(&'static str),
    /// One of its keys is in another shard, where the script is to be run anew.
    Elsewhere,
    /// The script cannot pay for it.
    NoWorkLeft,
}

/// Returns whether a command walks over all keys, not over those that it names.
pub(super) fn walks_over_keys(command: &Command) -> bool {
    use MultiShard::{Keys, RandomKey, Scan};
    matches!(command.scatter, Scatter::MultiShard(Scan | Keys | RandomKey))
}

impl Gate<'_> {
    /// Has the script pay for the steps that `check` takes of those that are left.
    fn paid<T>(&self, check: impl FnOnce(&mut u64) -> T) -> T {
        let most = self.work_left.get().saturating_mul(limits::GLOB_STEPS_PER_WORK);
        let mut left = most;
        let outcome = check(&mut left);
        let work = (most - left).div_ceil(limits::GLOB_STEPS_PER_WORK);
        self.work_left.set(self.work_left.get().saturating_sub(work));
        outcome
    }

    /// Checks a command against the rights of the script's caller, in Redis' words, and pays for that. If the
    /// script cannot pay, no work is left for it.
    fn denied(&self, command: &Command, args: Args<'_>) -> Option<&'static str> {
        let rights = self.rights?;
        let outcome = self.paid(|left| rights.check(command, args, left));
        outcome.err().map(|denied| match denied {
            Denied::Command => "The user executing the script can't run this command or subcommand",
            Denied::Key(_) => {
                "The user executing the script can't access at least one of the keys mentioned in the command arguments"
            }
            Denied::Channel(_) => "The user executing the script can't publish to the channel mentioned in the command",
        })
    }

    /// The reason that a command is not run whose patterns name keys for which not `is_here`, or that the script's caller may not
    /// read.
    pub fn why_not_by_patterns(&self, command: &Command, args: Args<'_>, is_here: IsHere<'_>) -> Option<CommandError> {
        if !command.has_patterns {
            return None;
        }
        let keys = PatternKeys {
            in_cluster: self.terms.in_cluster,
            may_read_all: self.rights.is_none_or(|rights| self.paid(|left| rights.may_read_all(command, args, left))),
            is_here,
        };
        why_not_by_patterns(command, args, keys)
    }

    /// The reason that a command is not run, in Redis' order and words.
    fn why_not(&self, command: &Command, args: Args<'_>) -> Option<&'static str> {
        let publishes = command.publishes && self.terms.is_wide;
        // As in Redis, a message is something written.
        if (command.facts.flags.contains(Flags::WRITE) || publishes) && self.terms.is_read_only {
            return Some("Write commands are not allowed from read-only scripts.");
        }
        if command.migrates {
            return Some(MIGRATES);
        }
        // A shard channel has a slot, which matters in a cluster alone.
        let has_slots = self.terms.in_cluster || !publishes;
        if has_slots && command.keys(args).any(|key| !self.terms.reach.has(args[key])) {
            return Some(NOT_LOCAL);
        }
        if self.terms.in_cluster
            && let Some(reason) = why_not_in_cluster(command, args, self.db)
        {
            return Some(reason);
        }
        // Where a page of a walk ends, and which keys one is drawn from, depends on what else a replica has, and has in memory.
        let is_in_pages = matches!(command.scatter, Scatter::MultiShard(MultiShard::Scan | MultiShard::RandomKey));
        if is_in_pages && !self.terms.is_read_only {
            match command.scatter {
                _ if !self.terms.is_wide => return Some(WALK_DIFFERS),
                // In one page it gets all there are.
                Scatter::MultiShard(MultiShard::Scan) => {}
                _ => return Some(DRAW_DIFFERS),
            }
        }
        let is_of_all = matches!(command.scatter, Scatter::AllShards { .. }) || walks_over_keys(command);
        (is_of_all && !self.may_walk).then_some(ALL_SHARDS)
    }

    /// Decides on a call, in Redis' order and words.
    pub fn admit(&self, args: Args<'_>) -> Admission {
        let Some(command) = table::called(args) else {
            return Admission::Refused("Unknown Redis command called from script");
        };
        if command.check_arity(args).is_err() {
            return Admission::Refused("Wrong number of args calling Redis command from script");
        }
        if command.facts.flags.contains(Flags::NOSCRIPT) {
            return Admission::Refused(NOT_ALLOWED);
        }
        if let Some(reason) = self.denied(command, args) {
            return if self.work_left.get() == 0 { Admission::NoWorkLeft } else { Admission::Refused(reason) };
        }
        match self.why_not(command, args) {
            None => Admission::Run(command),
            Some(reason) if reason == NOT_LOCAL && self.terms.stops_elsewhere => Admission::Elsewhere,
            Some(reason) if reason == ALL_SHARDS && self.terms.stops_elsewhere && self.terms.is_wide => {
                Admission::Elsewhere
            }
            Some(reason) => Admission::Refused(reason),
        }
    }

    /// Returns whether the script's caller may call a command; `None` if there is no such command.
    pub fn may_call(&self, args: Args<'_>) -> Option<bool> {
        let command = table::called(args)?;
        // Of a script that publishes nothing, its caller's channels are not known here.
        let knows_none = self.rights.is_some() && !self.terms.is_wide;
        let has_channels = knows_none && !command.channels(args).positions.is_empty();
        Some(self.denied(command, args).is_none() && !has_channels)
    }
}

/// Takes a message that a script publishes, and has it pay for that. Its reply is 0: a replica knows of no subscribers.
///
/// # Errors
/// That it publishes more than it may, or can pay for: it is to be stopped.
pub fn publish(
    messages: &mut Messages,
    work_left: &Cell<u64>,
    command: &Command,
    args: Args<'_>,
) -> Result<(), CommandError> {
    let message = Message { is_sharded: command.is_by_slot, channel: args[1], message: args[2] };
    let work = limits::MESSAGE_WORK + (args[1].len() + args[2].len()) as u64 / limits::MESSAGE_BYTES_PER_WORK;
    let left = work_left.get().checked_sub(work).ok_or(CommandError::Undone(TOO_MUCH_WORK.into()))?;
    work_left.set(left);
    if messages.add(message) { Ok(()) } else { Err(CommandError::Undone(TOO_MANY_MESSAGES.into())) }
}

/// The error of a command that would wait for entries of streams, in Redis' words. Those that wait for elements find nothing
/// instead.
pub fn why_not_to_block(terms: &Terms, command: &Command, args: Args<'_>) -> Option<CommandError> {
    if !command.waits_for_entries || !terms.is_wide {
        return None;
    }
    let mut words = args[1..].iter();
    while let Some(word) = words.next() {
        match word.to_ascii_lowercase().as_slice() {
            b"block" => {
                let name = String::from_utf8_lossy(args[0]);
                let text = format!("ERR {name} command is not allowed with BLOCK option from scripts");
                return Some(CommandError::owned(text));
            }
            b"count" => drop(words.next()),
            b"group" => drop((words.next(), words.next())),
            b"noack" => {}
            _ => return None,
        }
    }
    None
}

/// Runs a command that needs neither keys nor a connection; the others of the connection and the node are none of a script's. Gives
/// the database that it selects, if it does. The script sees one moment, and may be in a cluster.
pub fn call_without_keys(
    command: &Command,
    args: Args<'_>,
    (now_ms, in_cluster, is_read_only): (u64, bool, bool),
    protocol: Protocol,
    out: &mut Vec<u8>,
) -> (Called, Option<u8>) {
    out.clear();
    let mut reply = Reply::new(out, protocol);
    let mut selected = None;
    match (command.kind, command.name(), args) {
        (Kind::Help(lines), ..) => reply_help(command, lines, &mut reply),
        (Kind::Session, "ping", [_]) => reply.simple("PONG"),
        // Another version of the program has others, and is no replica of what only reads.
        (Kind::Session, "command|count", _) if is_read_only => reply.integer(table::commands().count() as i64),
        (Kind::Session, "ping", [_, text]) | (Kind::Session, "echo", [_, text]) => reply.bulk(text),
        (Kind::Session, "ping", _) => reply.error("ERR wrong number of arguments for 'ping' command"),
        // The time of the entry, as for every command of the script.
        (Kind::Session, "time", _) => {
            reply.array(2);
            reply.bulk_display(now_ms / 1000);
            reply.bulk_display(now_ms % 1000 * 1000);
        }
        (Kind::Session, "select", [_, db]) => match parse_i64(db) {
            Ok(1..) if in_cluster => reply.error("ERR SELECT is not allowed in cluster mode"),
            Ok(db) if (0..DATABASE_COUNT as i64).contains(&db) => {
                selected = Some(db as u8);
                reply.ok();
            }
            Ok(_) => reply.error("ERR DB index is out of range"),
            Err(error) => reply.error_display(&error),
        },
        _ => return (Called::Refused(NOT_ALLOWED.to_owned()), None),
    }
    (Called::Replied, selected)
}

/// Writes a line of a script to the log.
pub fn log_line(level: u8, text: &[u8]) {
    let text = String::from_utf8_lossy(text);
    match level {
        0 => tracing::debug!(script = %text, "a script says"),
        1 | 2 => tracing::info!(script = %text, "a script says"),
        _ => tracing::warn!(script = %text, "a script says"),
    }
}
