//! Execution of transactions: commands that run behind each other, as one operation of a batch or as one read.
//!
//! What a newcomer would get wrong: a transaction is executed as a whole or, for now, not at all. Where rows may be cold, its
//! commands run on one trial, whose changes are taken over behind the last one; a row that one of them misses ends the trial, and
//! the transaction begins anew when that is there. An error of one command is its reply, and the others run.

use basalt_net::resp::{Protocol, Reply};
use basalt_storage::keyspace::{ColdRows, Keyspace, Packing, Record, Scratch, VersionSource, is_enough_cold};
use basalt_storage::{ColdRead, Error as StorageError, Rows, Trial};

use super::cold::note_named;
use super::execution::{Call, Execution, Failure, is_elsewhere};
use super::timing::{begin, end, figures_of};
use crate::commands::scripts::{Terms, lift, messages_before, put_lifted};
use crate::commands::table::{
    STEP_EXEC, STEP_FUNCTION, STEP_FUNCTION_RO, STEP_SCRIPT, STEP_SCRIPT_RO, STEP_UNWATCH, STEP_WATCH,
};
use crate::commands::{
    Command, CommandError, Kind, Random, ReplyBounds, Run, TOO_MUCH_TO_READ, TOO_MUCH_TO_REPLY, is_known_step, table,
};
use crate::entry::request::{self, ArgList, RequestHeader};
use crate::entry::script_trial::SENT_BACK;
use crate::entry::transaction::{Guard, Transaction, encode as encode_transaction};
use crate::limits;
use crate::node::CoreStats;

/// The reply to a transaction that came behind so many others in its batch that its collections would find no versions.
const NO_VERSIONS: &str =
    "BUSY Too many commands are queued in the transactions of one batch, nothing of this one was executed: try again";

/// The reply to a script that accesses a key of another shard, in a transaction that reads and writes too much to be undone.
const NOT_HERE: &str = "ERR Script attempted to access a non local key in a cluster node";

/// A command of a transaction, taken apart.
pub(super) struct Member<'a> {
    pub(super) header: RequestHeader,
    pub(super) command: &'static Command,
    pub(super) run: Run,
    pub(super) args: ArgList<'a>,
}

impl<'a> Member<'a> {
    pub(super) fn read(bytes: &'a [u8]) -> Option<Member<'a>> {
        let mut args = ArgList::new();
        args.push(b"");
        let header = request::decode(bytes, &mut args)?;
        let command = table::by_id(header.command)?;
        args[0] = command.name().as_bytes();
        let (Kind::Read(run) | Kind::Write(run)) = command.kind else { return None };
        if !is_known_step(command, &args) {
            return None;
        }
        Some(Member { header, command, run, args })
    }
}

/// Everything that the members of a transaction run with, but for the rows.
struct Members<'a> {
    transaction: Transaction<'a>,
    now_ms: u64,
    string_bytes_max: usize,
    applying: bool,
    bounds: ReplyBounds,
    only_small: bool,
    stats: Option<&'a CoreStats>,
    /// True if all of it is undone where a script accesses a key of another shard; else that is its error.
    sends_back: bool,
}

/// Returns whether a transaction has scripts that are run over several shards where they access keys of those.
fn may_be_sent_back(transaction: Transaction<'_>) -> bool {
    transaction.commands().flatten().any(|bytes| {
        let is_script =
            matches!(request::command_id(bytes), Some(STEP_SCRIPT | STEP_SCRIPT_RO | STEP_FUNCTION | STEP_FUNCTION_RO));
        let mut args = ArgList::new();
        is_script
            && request::decode(bytes, &mut args).is_some()
            && args.first().and_then(|terms| Terms::decode(terms)).is_some_and(|terms| terms.stops_elsewhere)
    })
}

impl Members<'_> {
    /// Runs all of them on `rows`, and appends their replies to `out`. What scripts among them have published is put to `messages`.
    fn run(
        &self,
        rows: &mut dyn Rows,
        scratch: &mut Scratch,
        versions: &mut VersionSource,
        random: &mut Random,
        (out, messages): (&mut Vec<u8>, &mut Vec<u8>),
    ) -> Result<(), Failure> {
        let start = out.len();
        messages.clear();
        for (index, bytes) in self.transaction.commands().enumerate() {
            let member = bytes.and_then(Member::read).ok_or(Failure::Undecodable)?;
            // What those before have left. One value may be longer, as anywhere.
            let left = self.bounds.one_bytes_max.saturating_sub(out.len() - start);
            let is_small = self.only_small || left < limits::SMALL_REPLY_BYTES_MAX;
            let mut reply = match is_small {
                true => Reply::strictly_bounded(out, member.header.protocol, limits::SMALL_REPLY_BYTES_MAX),
                false => Reply::bounded(out, member.header.protocol, left),
            };
            let mark = reply.mark();
            let (core, stats) = figures_of(self.stats, member.header.asked);
            let started = begin(core, stats);
            let call = Call {
                handler: member.run,
                header: member.header,
                args: &member.args,
                now_ms: self.now_ms,
                string_bytes_max: self.string_bytes_max,
            };
            let outcome = match member.command.is_undoable {
                true => call.run_or_undo(rows, scratch, versions, random, &mut reply),
                false => call.run(rows, scratch, versions, random, &mut reply),
            };
            end((core, stats), started, member.header, &member.args);
            match outcome {
                Ok(()) if reply.is_over() => {
                    let is_write = matches!(member.command.kind, Kind::Write(_));
                    reply.truncate(mark + messages_before(reply.written_since(mark)));
                    match (self.only_small, is_write) {
                        (false, is_write) => reply.error(self.bounds.too_large(is_write)),
                        (true, true) => reply.error(TOO_MUCH_TO_REPLY),
                        (true, false) => reply.error(TOO_MUCH_TO_READ),
                    }
                }
                Ok(()) => {}
                Err(CommandError::Storage(StorageError::Cold(read))) => return Err(Failure::Cold(read)),
                Err(CommandError::Storage(error)) if self.applying || matches!(error, StorageError::TrialTooLarge) => {
                    return Err(Failure::Storage(error));
                }
                Err(error) if is_elsewhere(&error) && self.sends_back => return Err(Failure::Elsewhere(index)),
                Err(error) => {
                    reply.truncate(mark);
                    match is_elsewhere(&error) {
                        true => reply.error(NOT_HERE),
                        false => reply.error_display(&error),
                    }
                    if let Some(stats) = stats {
                        stats.failed.add(1);
                    }
                }
            }
            lift(out, mark, messages);
        }
        Ok(())
    }
}

impl Execution<'_> {
    /// Runs an encoded step that is no single command on keys.
    pub(super) fn run_step(&mut self, command: &Command, bytes: &[u8], out: &mut Vec<u8>) -> Result<(), Failure> {
        match command.kind {
            Kind::Transaction => {
                let transaction = Transaction::read(bytes).ok_or(Failure::Undecodable)?;
                self.run_transaction(transaction, out)
            }
            Kind::Part => self.run_part_step(command.id, bytes, out),
            Kind::Trial => self.run_script_trial(bytes, out),
            Kind::Watch => self.watch(bytes, out),
            Kind::Unwatch => {
                let watch = watch_of(bytes).ok_or(Failure::Undecodable)?;
                self.store.watched_mut().forget(watch);
                Reply::new(out, Protocol::Resp2).ok();
                Ok(())
            }
            _ => Err(Failure::Undecodable),
        }
    }

    pub(super) fn run_transaction(&mut self, transaction: Transaction<'_>, out: &mut Vec<u8>) -> Result<(), Failure> {
        let mark = out.len();
        let outcome = self.try_transaction(transaction, out);
        match (&outcome, transaction.guard) {
            (Err(_), _) => out.truncate(mark),
            // One that is applied was taken out of the table when it joined its batch.
            (Ok(()), Some(guard)) if !self.applying => self.store.watched_mut().forget(guard.watch),
            (Ok(()), _) => {}
        }
        match outcome {
            Err(Failure::Cold(met)) => Err(Failure::Cold(self.name_cold(transaction).err().unwrap_or(met))),
            outcome => outcome,
        }
    }

    fn try_transaction(&mut self, transaction: Transaction<'_>, out: &mut Vec<u8>) -> Result<(), Failure> {
        let protocol = transaction.header.protocol;
        if transaction.guard.is_some_and(|guard| !self.may_pass(guard)) {
            Reply::new(out, protocol).null_array();
            return Ok(());
        }
        let needed = transaction.count as u64 * limits::VERSIONS_PER_COMMAND + limits::VERSIONS_FOR_OTHERS;
        if self.applying && self.versions.left() < needed {
            Reply::new(out, protocol).error(NO_VERSIONS);
            return Ok(());
        }
        let (head, mut messages) = (out.len(), Vec::new());
        Reply::new(out, protocol).array(transaction.count);
        let (start, before) = (out.len(), self.scratch.mark());
        let earliest_deadline_ms = self.scratch.earliest_deadline_ms();
        let sends_back = may_be_sent_back(transaction);
        let mut members = Members {
            transaction,
            now_ms: self.now_ms,
            string_bytes_max: self.string_bytes_max,
            applying: self.applying,
            bounds: self.bounds,
            only_small: self.only_small,
            stats: self.stats,
            sends_back,
        };
        if self.tries || sends_back {
            let (mut versions, mut random) = (self.versions, self.random.clone());
            let packs = *versions.packing() != Packing::NONE;
            let mut trial = Trial::new(self.store, limits::TRIAL_BYTES_MAX).counting_kept(packs);
            let outcome = members.run(&mut trial, self.scratch, &mut versions, &mut random, (out, &mut messages));
            match (trial.into_changes(), outcome) {
                // It reads and writes too much for a trial.
                (None, _) => {
                    out.truncate(start);
                    self.scratch.rewind(before);
                }
                (Some(changes), Ok(())) => {
                    self.store.commit(&changes);
                    (self.versions, *self.random) = (versions, random);
                    put_lifted(out, head, &messages);
                    return Ok(());
                }
                (Some(_), Err(Failure::Elsewhere(index))) => {
                    self.scratch.rewind(before);
                    self.scratch.set_earliest_deadline_ms(earliest_deadline_ms);
                    out.truncate(head);
                    send_transaction_back(transaction, index, out);
                    return Ok(());
                }
                (Some(_), Err(failure)) => {
                    self.scratch.rewind(before);
                    return Err(failure);
                }
            }
        }
        members.sends_back = false;
        let outcome = members.run(self.store, self.scratch, &mut self.versions, self.random, (out, &mut messages));
        match outcome {
            Ok(()) => put_lifted(out, head, &messages),
            Err(_) => self.scratch.rewind(before),
        }
        outcome
    }

    /// Returns whether a transaction with this guard may be executed. In an entry, that says the entry alone.
    fn may_pass(&self, guard: Guard) -> bool {
        if self.applying {
            return self.term == guard.term && self.now_ms <= guard.deadline_ms;
        }
        let state = self.store.watched().state(guard.watch);
        state.is_some_and(|state| !state.is_changed && self.now_ms <= state.deadline_ms)
    }

    /// Looks for the rows that a transaction's commands name. Says whether one may read others, or which are not in memory.
    fn name_cold(&mut self, transaction: Transaction<'_>) -> Result<bool, ColdRead> {
        let (mut cold, mut and_others) = (ColdRows::new(), false);
        let before = self.scratch.mark();
        for member in transaction.commands().map_while(|bytes| bytes.and_then(Member::read)) {
            let Member { header, command, args, .. } = member;
            let keyspace = Keyspace::new(self.store, self.scratch, self.versions, header.db, self.now_ms);
            match note_named(&keyspace, command, &args, 0, header.seed, &mut cold) {
                Ok(others) => and_others |= others,
                Err(StorageError::Cold(read)) if cold.is_empty() => {
                    self.scratch.rewind(before);
                    return Err(read);
                }
                // What is noted is fetched first.
                Err(StorageError::Cold(_)) => break,
                // Who runs it meets the error, and says it.
                Err(_) => {}
            }
            if is_enough_cold(&cold) {
                break;
            }
        }
        self.scratch.rewind(before);
        if cold.is_empty() { Ok(and_others) } else { Err(ColdRead::Keys(cold)) }
    }

    /// Looks whether the rows that a transaction needs are in memory. The store must not wait for the disk.
    ///
    /// # Errors
    /// [`StorageError::Cold`] with rows that are not.
    pub(super) fn look_at_transaction(&mut self, bytes: &[u8]) -> Result<(), CommandError> {
        let Some(transaction) = Transaction::read(bytes) else { return Ok(()) };
        let cold = |read| CommandError::Storage(StorageError::Cold(read));
        if !self.name_cold(transaction).map_err(cold)? {
            return Ok(());
        }
        let members = Members {
            transaction,
            now_ms: self.now_ms,
            string_bytes_max: self.string_bytes_max,
            applying: true,
            bounds: self.bounds,
            // Nobody reads them.
            only_small: true,
            stats: None,
            sends_back: true,
        };
        let mut trial = Trial::new(self.store, limits::TRIAL_BYTES_MAX);
        // Entry 0 holds no commands: no row has its versions.
        let (mut versions, mut random, mut out) = (VersionSource::entry(0), Random::new(0), Vec::new());
        match members.run(&mut trial, self.scratch, &mut versions, &mut random, (&mut out, &mut Vec::new())) {
            Err(Failure::Cold(read)) => Err(cold(read)),
            _ => Ok(()),
        }
    }

    /// Has a watch watch keys: `watch key …`.
    fn watch(&mut self, bytes: &[u8], out: &mut Vec<u8>) -> Result<(), Failure> {
        let mut args = ArgList::new();
        let header = request::decode(bytes, &mut args).ok_or(Failure::Undecodable)?;
        let (watch, keys) = (watch_of(bytes).ok_or(Failure::Undecodable)?, args.get(1..).unwrap_or_default());
        let keyspace = Keyspace::new(self.store, self.scratch, self.versions, header.db, self.now_ms);
        let (mut cold, mut deadlines) = (ColdRows::new(), Vec::with_capacity(keys.len()));
        for key in keys {
            match unchanged_until_ms(&keyspace, key) {
                Ok(until_ms) => deadlines.push(until_ms),
                Err(StorageError::Cold(read)) => match keyspace.cold_key(key, &mut cold) {
                    Ok(()) if !cold.is_empty() => {}
                    _ => return Err(Failure::Cold(read)),
                },
                Err(error) => {
                    Reply::new(out, header.protocol).error_display(CommandError::from(error));
                    return Ok(());
                }
            }
            if is_enough_cold(&cold) {
                break;
            }
        }
        if !cold.is_empty() {
            return Err(Failure::Cold(ColdRead::Keys(cold)));
        }
        // All at one moment.
        for (key, deadline_ms) in keys.iter().zip(deadlines) {
            self.store.watched_mut().watch(watch, header.db, key, deadline_ms);
        }
        Reply::new(out, header.protocol).ok();
        Ok(())
    }
}

/// The last moment at which nothing has changed in a key by the passing of time alone: neither is it gone, nor a field of it that
/// is there now. Fields that are past their deadline and have their rows still are not: that these go changes nothing.
fn unchanged_until_ms(keyspace: &Keyspace<'_>, key: &[u8]) -> Result<Option<u64>, StorageError> {
    let found = keyspace.lookup(key)?;
    let fields_due_ms = keyspace.live_field_deadline_ms(key, &found)?;
    let until_ms = |record: Record<'_>| record.deadline_ms().into_iter().chain(fields_due_ms).min().unwrap_or(u64::MAX);
    Ok(found.record.map(until_ms))
}

/// Replies a transaction as it came, and the place of the script that has met a key of another shard: whoever has sent it runs it
/// over several.
fn send_transaction_back(transaction: Transaction<'_>, index: usize, out: &mut Vec<u8>) {
    out.extend_from_slice(SENT_BACK);
    let commands: Vec<&[u8]> = transaction.commands().flatten().collect();
    encode_transaction(out, transaction.header, transaction.guard, commands.into_iter());
    out.extend_from_slice(&(index as u32).to_le_bytes());
}

/// The watch that a request ends which begins or ends one, or the guard of a transaction has.
pub(super) fn watch_of(bytes: &[u8]) -> Option<u64> {
    match request::command_id(bytes)? {
        STEP_EXEC => Some(Transaction::read(bytes)?.guard?.watch),
        STEP_WATCH | STEP_UNWATCH => {
            let mut args = ArgList::new();
            request::decode(bytes, &mut args)?;
            Some(u64::from_le_bytes((*args.first()?).try_into().ok()?))
        }
        _ => None,
    }
}

/// The reply to a transaction whose watched keys were changed.
pub(super) fn null_reply(protocol: Protocol) -> Vec<u8> {
    let mut out = Vec::new();
    Reply::new(&mut out, protocol).null_array();
    out
}
