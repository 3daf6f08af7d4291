//! Trials of a script over several shards: what it calls here is run on this shard's rows with its own writes so far, and nothing
//! of that stays. What it has written is executed once it has come to its end, as a part of a transaction.
//!
//! What a newcomer would get wrong: the writes are run anew with each trial. Nothing of a script is remembered here between two of
//! its calls, so nothing is left of one whose coordinator is gone.

use std::cell::Cell;

use basalt_net::resp::{Protocol, Reply};
use basalt_storage::keyspace::{ColdRows, Keyspace, Scratch, VersionSource};
use basalt_storage::{ColdRead, Error as StorageError, Rows as _, Trial};

use super::cold::note_named;
use super::execution::{Execution, Failure, TOO_MUCH_FOR_TRIAL};
use super::transaction::Member;
use crate::commands::scripts::TOO_LARGE;
use crate::commands::{CommandError, Context, Random, TOO_MUCH_WORK};
use crate::entry::script_trial::ScriptTrial;
use crate::limits;

/// The reason that the replies of a trial are not told.
enum Refusal {
    Failure(Failure),
    /// The error that the script ends with.
    Undone(CommandError),
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

impl Execution<'_> {
    /// Runs an encoded trial.
    pub(super) fn run_script_trial(&mut self, bytes: &[u8], out: &mut Vec<u8>) -> Result<(), Failure> {
        let trial = ScriptTrial::read(bytes).ok_or(Failure::Undecodable)?;
        let time_ms = if trial.terms.time_ms == 0 { self.now_ms } else { trial.terms.time_ms };
        match self.try_commands(trial, time_ms) {
            Ok((work_left, count, replies)) => {
                let mut reply = Reply::new(out, Protocol::Resp2);
                reply.array(3);
                reply.integer(i64::try_from(time_ms).unwrap_or(i64::MAX));
                reply.integer(i64::try_from(work_left).unwrap_or(i64::MAX));
                reply.array(count);
                reply.raw(&replies);
                Ok(())
            }
            Err(Refusal::Failure(failure)) => Err(failure),
            Err(Refusal::Undone(error)) => {
                Reply::new(out, Protocol::Resp2).error_display(&error);
                Ok(())
            }
        }
    }

    /// Runs the commands of a trial: the work that is left, and the number and bytes of the replies.
    fn try_commands(&self, trial: ScriptTrial<'_>, time_ms: u64) -> Result<(u64, usize, Vec<u8>), Refusal> {
        let terms = trial.terms;
        let string_bytes_max = usize::try_from(terms.string_bytes_max).unwrap_or(usize::MAX);
        let bytes_max = usize::try_from(terms.reply_bytes_max).unwrap_or(usize::MAX);
        let mut rows = Trial::new(&*self.store, limits::SCRIPT_TRIAL_BYTES_MAX).counting_kept(true);
        // Nobody is told of keys that are written here. Entry 0 holds no commands: no row has its versions.
        let (mut scratch, mut versions, mut random) = (Scratch::default(), VersionSource::entry(0), Random::new(0));
        let (mut work_left, mut count, mut replies) = (terms.work, 0, Vec::new());
        for (number, bytes) in trial.commands().enumerate() {
            let member = bytes.and_then(Member::read).ok_or(Refusal::Failure(Failure::Undecodable))?;
            let is_before = number < terms.before as usize;
            if versions.left() < limits::VERSIONS_PER_COMMAND {
                return Err(undone(TOO_MUCH_WORK));
            }
            let start = replies.len();
            let mut reply = Reply::strictly_bounded(&mut replies, member.header.protocol, bytes_max);
            let work_before = rows.work();
            let keyspace = Keyspace::new(&mut rows, &mut scratch, versions, member.header.db, time_ms);
            let mut own_random = member.header.seed.map(Random::new);
            let random = own_random.as_mut().unwrap_or(&mut random);
            let work = Cell::new(if is_before { u64::MAX } else { work_left });
            let mut context = Context { keyspace, random, string_bytes_max, work_left: work };
            let outcome = (member.run)(&mut context, &member.args, &mut reply);
            versions = context.keyspace.versions();
            let left = context.work_left.get();
            let is_over = reply.is_over();
            match outcome {
                Ok(()) if is_over && !is_before => return Err(undone(TOO_LARGE)),
                Ok(()) => {}
                Err(CommandError::Storage(StorageError::Cold(met))) => {
                    // All at once: each time that it meets one, all that is before it is run anew.
                    let keyspace = Keyspace::new(&mut rows, &mut scratch, versions, member.header.db, time_ms);
                    return Err(Refusal::Failure(Failure::Cold(named_cold(&keyspace, &member, met))));
                }
                Err(CommandError::Storage(StorageError::TrialTooLarge)) => return Err(undone(TOO_MUCH_FOR_TRIAL)),
                Err(error @ (CommandError::Storage(_) | CommandError::Undone(_))) => {
                    return Err(Refusal::Undone(error));
                }
                Err(CommandError::Piecemeal) => return Err(undone(TOO_LARGE)),
                Err(error) => {
                    reply.truncate(start);
                    reply.error_display(&error);
                }
            }
            if is_before {
                replies.truncate(start);
                continue;
            }
            count += 1;
            let row_work = rows.work().saturating_sub(work_before);
            work_left = left.checked_sub(row_work).ok_or_else(|| undone(TOO_MUCH_WORK))?;
        }
        Ok((work_left, count, replies))
    }
}
