//! Trials of a script over several shards: what it calls here is run on this shard's rows with its own writes so far, and nothing
//! of that stays. What it has written is executed once it has come to its end, as a part of a transaction.
//!
//! What a newcomer would get wrong: the writes so far are run for each trial, but for those whose outcome is kept for the next one
//! ([`super::kept_trials`]), which is let go of with the keys.

use std::cell::Cell;

use basalt_net::resp::{Protocol, Reply};
use basalt_storage::keyspace::{ColdRows, Keyspace, Scratch, VersionSource};
use basalt_storage::{ColdRead, Error as StorageError, Rows as _, Trial};

use super::cold::note_named;
use super::execution::{Execution, Failure, TOO_MUCH_FOR_TRIAL};
use super::kept_trials::KeptTrial;
use super::transaction::Member;
use crate::commands::scripts::{TOO_LARGE, trial_bytes_of};
use crate::commands::{CommandError, Context, Random, TOO_MUCH_WORK};
use crate::entry::script_trial::{NOT_KEPT, ScriptTrial, TrialTerms};
use crate::limits;

/// The reason that the replies of a trial are not told.
enum Refusal {
    Failure(Failure),
    /// The error that the script ends with.
    Undone(CommandError),
    /// It leaves out writes that are not kept here.
    NotKept,
}

fn undone(text: &'static str) -> Refusal {
    Refusal::Undone(CommandError::Undone(text.into()))
}

/// All rows that are not in memory of those that a command names, or `met`, the one that it has met, if it names none of them.
fn named_cold(keyspace: &Keyspace<'_>, member: &Member<'_>, met: ColdRead) -> ColdRead {
    let mut cold = ColdRows::new();
    match note_named(keyspace, member.command, &member.args, 0, member.header.seed, &mut cold) {
        Err(StorageError::Cold(read)) if cold.is_empty() => read,
        _ if cold.is_empty() => met,
        _ => ColdRead::Keys(cold),
    }
}

/// The outcome of a trial.
struct Tried {
    work_left: u64,
    /// Writes of the script that are kept here.
    kept: usize,
    count: usize,
    replies: Vec<u8>,
}

/// Everything that the commands of a trial run with, but for the rows.
struct Trying {
    time_ms: u64,
    string_bytes_max: usize,
    reply_bytes_max: usize,
    scratch: Scratch,
    versions: VersionSource,
    random: Random,
}

impl Trying {
    /// Runs a command on `rows`. `work` is what it may do; gives what is left of it.
    fn run(
        &mut self,
        rows: &mut Trial<'_>,
        bytes: Option<&[u8]>,
        work: Option<u64>,
        replies: &mut Vec<u8>,
    ) -> Result<u64, Refusal> {
        let member = bytes.and_then(Member::read).ok_or(Refusal::Failure(Failure::Undecodable))?;
        if self.versions.left() < limits::VERSIONS_PER_COMMAND {
            return Err(undone(TOO_MUCH_WORK));
        }
        let start = replies.len();
        let mut reply = Reply::strictly_bounded(replies, member.header.protocol, self.reply_bytes_max);
        let work_before = rows.work();
        let mut keyspace = Keyspace::new(rows, &mut self.scratch, self.versions, member.header.db, self.time_ms);
        keyspace.note_accesses(true);
        let mut own_random = member.header.seed.map(Random::new);
        let random = own_random.as_mut().unwrap_or(&mut self.random);
        let work_left = Cell::new(work.unwrap_or(u64::MAX));
        let mut context = Context { keyspace, random, string_bytes_max: self.string_bytes_max, work_left };
        let outcome = (member.run)(&mut context, &member.args, &mut reply);
        self.versions = context.keyspace.versions();
        let left = context.work_left.get();
        let is_over = reply.is_over();
        match outcome {
            Ok(()) if is_over && work.is_some() => return Err(undone(TOO_LARGE)),
            Ok(()) => {}
            Err(CommandError::Storage(StorageError::Cold(met))) => {
                // All at once: each time that it meets one, it is run anew.
                let keyspace = Keyspace::new(rows, &mut self.scratch, self.versions, member.header.db, self.time_ms);
                return Err(Refusal::Failure(Failure::Cold(named_cold(&keyspace, &member, met))));
            }
            Err(CommandError::Storage(StorageError::TrialTooLarge)) => return Err(undone(TOO_MUCH_FOR_TRIAL)),
            Err(error @ (CommandError::Storage(_) | CommandError::Undone(_))) => return Err(Refusal::Undone(error)),
            Err(CommandError::Piecemeal) => return Err(undone(TOO_LARGE)),
            Err(error) => {
                reply.truncate(start);
                reply.error_display(&error);
            }
        }
        if work.is_none() {
            replies.truncate(start);
            return Ok(u64::MAX);
        }
        left.checked_sub(rows.work().saturating_sub(work_before)).ok_or_else(|| undone(TOO_MUCH_WORK))
    }
}

impl Execution<'_> {
    /// Runs an encoded trial.
    pub(super) fn run_script_trial(&mut self, bytes: &[u8], out: &mut Vec<u8>) -> Result<(), Failure> {
        let trial = ScriptTrial::read(bytes).ok_or(Failure::Undecodable)?;
        let time_ms = if trial.terms.time_ms == 0 { self.now_ms } else { trial.terms.time_ms };
        match self.try_commands(trial, time_ms) {
            Ok(Tried { work_left, kept, count, replies }) => {
                let mut reply = Reply::new(out, Protocol::Resp2);
                reply.array(4);
                reply.integer(i64::try_from(time_ms).unwrap_or(i64::MAX));
                reply.integer(i64::try_from(work_left).unwrap_or(i64::MAX));
                reply.integer(kept as i64);
                reply.array(count);
                reply.raw(&replies);
                Ok(())
            }
            Err(Refusal::Failure(failure)) => Err(failure),
            Err(Refusal::NotKept) => {
                out.extend_from_slice(NOT_KEPT);
                Ok(())
            }
            Err(Refusal::Undone(error)) => {
                Reply::new(out, Protocol::Resp2).error_display(&error);
                Ok(())
            }
        }
    }

    /// Runs the commands of a trial: first what the script has written and is not kept, whose outcome is kept from then on, and
    /// then what it calls, of which nothing stays.
    fn try_commands(&mut self, trial: ScriptTrial<'_>, time_ms: u64) -> Result<Tried, Refusal> {
        let TrialTerms { transaction, string_bytes_max, reply_bytes_max, work, before, kept, .. } = trial.terms;
        let (before, sent_from) = (before as usize, kept as usize);
        let kept = self.kept_trials.take(transaction).filter(|kept| (sent_from..=before).contains(&kept.count));
        // Nobody is told of keys that are written here. Entry 0 holds no commands: no row has its versions.
        let (mut rows, mut count, versions) = match kept {
            Some(KeptTrial { changes, versions, count, bytes_left }) if sent_from > 0 => {
                (Trial::going_on(&*self.store, changes, bytes_left).counting_kept(true), count, versions)
            }
            _ if sent_from > 0 => return Err(Refusal::NotKept),
            _ => {
                let rows = Trial::new(&*self.store, trial_bytes_of(u64::MAX)).counting_kept(true);
                (rows, 0, VersionSource::entry(0))
            }
        };
        let mut trying = Trying {
            time_ms,
            string_bytes_max: usize::try_from(string_bytes_max).unwrap_or(usize::MAX),
            reply_bytes_max: usize::try_from(reply_bytes_max).unwrap_or(usize::MAX),
            scratch: self.scratch.for_trial(),
            versions,
            random: Random::new(0),
        };
        let (mut replies, mut commands) = (Vec::new(), trial.commands());
        for bytes in commands.by_ref().take(before.saturating_sub(sent_from)).skip(count - count.min(sent_from)) {
            trying.run(&mut rows, bytes, None, &mut replies)?;
            count += 1;
        }
        let (versions, bytes_left) = (trying.versions, rows.bytes_left());
        let mut called = 0;
        let outcome = {
            let mut on_top = Trial::new(&rows, bytes_left).counting_kept(true);
            let run_all = || {
                let mut work_left = work;
                for bytes in commands {
                    work_left = trying.run(&mut on_top, bytes, Some(work_left), &mut replies)?;
                    called += 1;
                }
                Ok(work_left)
            };
            run_all()
        };
        let kept = match rows.into_changes() {
            Some(changes) => self.kept_trials.put(transaction, KeptTrial { changes, versions, count, bytes_left }),
            None => 0,
        };
        outcome.map(|work_left| Tried { work_left, kept, count: called, replies })
    }
}
