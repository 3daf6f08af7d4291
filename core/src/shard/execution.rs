//! Running commands on the shard's rows: those of committed entries, and reads.

use std::cell::Cell;
use std::collections::HashMap;
use std::rc::Rc;
use std::sync::Arc;
use std::time::Instant;

use basalt_net::resp::{Protocol, Reply};
use basalt_raft::{EntryId, Executed, Later, Machine, MachineError, Replies};
use basalt_storage::keyspace::{EventClasses, Keyspace, Packing, Scratch, Type, VersionSource};
use basalt_storage::{Applied, ColdRead, Error as StorageError, Fetched, OnMiss, Rows, Store, Trial};

use super::cold::{ColdProgress, Deferral, EntryBell, NamesLooked, Views, changes_at_once, look_for_named};
use super::kept_trials::KeptTrials;
use super::open_batch::InFlight;
use super::parts::part_of;
use super::script_work::work_of;
use super::timing::{begin, end, figures_of};
use crate::commands::scripts::{ELSEWHERE, messages_before, trial_bytes_max};
use crate::commands::{
    Args, Command, CommandError, Context, Kind, Random, ReplyBounds, Run, TOO_MUCH_TO_READ, TOO_MUCH_TO_REPLY,
    is_known_step, once, table,
};
use crate::entry::batch::Batch;
use crate::entry::request::{self, ArgList, RequestHeader};
use crate::entry::script_trial::SENT_BACK;
use crate::entry::tracking::reader_id;
use crate::ids::{CoreId, Origin};
use crate::limits;
use crate::node::{CoreStats, Server};

/// The reply to a read that needs more from disk than is kept for one command.
pub(crate) const TOO_MUCH_TO_KEEP: &[u8] =
    b"-ERR The read needs too much from disk at once, ask for less at a time\r\n";

/// The text for who wants all or nothing of too much.
pub(super) const TOO_MUCH_FOR_TRIAL: &str =
    "ERR the script was stopped and undone: it reads and writes more than a script may at once";

/// The way a command is tried.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum TrialRun {
    /// It changes rows as it goes.
    Never,
    /// On trial, or as it goes if it needs too much for that.
    OrNot,
    /// On trial always: it is undone if it needs too much, or wants to be.
    OrUndone,
}

/// The outcome of a read that is run at once.
#[derive(Debug)]
pub enum ReadOutcome {
    /// The reply is written.
    Done,
    /// Nothing is written; the rows named must come from the disk first.
    Cold(ColdRead),
    /// Nothing is written; the reply is to be read in pieces.
    Piecemeal,
}

/// Runs commands against the shard's rows.
pub struct ShardMachine {
    pub(super) store: Store,
    pub(super) scratch: Scratch,
    pub(super) random: Random,
    pub(super) in_flight: InFlight,
    /// The latest moment that a read was shown or an entry was proposed for.
    time_ms: u64,
    /// The entry that waits for rows.
    pub(super) paused: Option<EntryPosition>,
    /// Reads that other threads execute; none before the shard serves anybody.
    pub(super) views: Option<Views>,
    /// Times that an entry has waited for them.
    pub(super) pauses: u64,
    /// Writes of scripts over several shards, as far as they are kept on trial.
    pub(super) kept_trials: KeptTrials,
    /// Told after each turn of the core: an entry of scripts waits for one now and then.
    pub(super) turns: Rc<EntryBell>,
    /// True while the core takes turns.
    pub(super) takes_turns: bool,
    /// Snapshots that have taken the place of all rows.
    pub(super) installs: u64,
    /// Size that replies may reach.
    pub(super) bounds: ReplyBounds,
    /// Bytes of replies of batches that were applied, which nobody has taken yet.
    pub(super) untaken_bytes: usize,
    /// The clients of transactions over several shards that do not want to hear of what they change, by the transactions' numbers.
    /// A number is used again once all is answered that was asked for under it.
    pub(super) deaf_writers: HashMap<(CoreId, u32), u32>,
    /// The core whose figures count what is run; none before the shard serves anybody.
    pub(super) core: Option<(Arc<Server>, CoreId)>,
    /// The last entry that the log had when it was opened: what it and those before it do has been told in an earlier run.
    pub(super) told_until: u64,
    /// True while commands of an entry are executed, and for good if that ended in an error or a panic: the rows may hold half of
    /// what one writes.
    is_executing: bool,
}

/// The place in an entry up to which it is applied.
pub(super) struct EntryPosition {
    entry: EntryId,
    /// Bytes of the commands that were not executed.
    bytes_left: usize,
    /// Operations of the batch that were executed.
    pub(super) operations: usize,
    time_ms: u64,
    versions: VersionSource,
    random: Random,
    replies: Replies,
    /// The point that the command has come to whose turn it is.
    progress: ColdProgress,
}

impl EntryPosition {
    /// The beginning of `entry`, up to whose predecessor the rows are `applied`. A leader that has just been elected may have
    /// closed its first batches before it had applied those of another, whose clock was ahead: time stands still then, on all
    /// replicas alike.
    fn new(entry: EntryId, batch: &Batch<'_>, applied: &Applied) -> EntryPosition {
        EntryPosition {
            entry,
            bytes_left: batch.bytes_left(),
            operations: 0,
            time_ms: batch.time_ms.max(applied.time_ms),
            versions: VersionSource::entry(applied.version_base + entry.index).with_packing(batch.packing),
            random: Random::new(batch.seed),
            replies: Replies::default(),
            progress: ColdProgress::new(),
        }
    }
}

/// The reason that an entry waits between two commands.
enum Pause {
    Cold(ColdRead),
    /// A thread that executes a read, or a turn of the core.
    Later(Later),
}

/// The reason that a command gave no reply.
pub(super) enum Failure {
    Cold(ColdRead),
    /// Rows could not be read while an entry was applied.
    Storage(StorageError),
    Undecodable,
    /// The reply is to be read in pieces.
    Piecemeal,
    /// The script of a transaction with this place accesses keys of other shards.
    Elsewhere(usize),
}

/// Commands being run on a shard's rows at one moment.
pub(super) struct Execution<'a> {
    pub(super) store: &'a mut Store,
    pub(super) scratch: &'a mut Scratch,
    pub(super) kept_trials: &'a mut KeptTrials,
    pub(super) random: &'a mut Random,
    pub(super) versions: VersionSource,
    pub(super) now_ms: u64,
    /// Length that a write may give a string.
    pub(super) string_bytes_max: usize,
    /// True if an entry is being applied: rows that cannot be read are no reply then, since replicas must agree.
    pub(super) applying: bool,
    /// True if commands that may read after they have changed something are executed on trial: they could not be run again.
    pub(super) tries: bool,
    /// Size that replies may reach.
    pub(super) bounds: ReplyBounds,
    /// True if there is no room for any reply that is large.
    pub(super) only_small: bool,
    /// The figures of the core that runs them.
    pub(super) stats: Option<&'a CoreStats>,
    /// The term of the entry being applied; 0 if none is.
    pub(super) term: u64,
}

impl Execution<'_> {
    /// Runs one encoded command and writes its reply, or its error, to `out`. One that has very many names goes on looking at them
    /// where `names` stands, before it is called.
    pub(super) fn run(&mut self, bytes: &[u8], names: &mut NamesLooked, out: &mut Vec<u8>) -> Result<(), Failure> {
        if names.is_under_way()
            && let Some(cold) = self.look_on(bytes, names)
        {
            return Err(Failure::Cold(cold));
        }
        let mut args = ArgList::new();
        args.push(b"");
        let header = request::decode(bytes, &mut args).ok_or(Failure::Undecodable)?;
        let command = table::by_id(header.command).ok_or(Failure::Undecodable)?;
        args[0] = command.name().as_bytes();
        let (Kind::Read(handler) | Kind::Write(handler)) = command.kind else {
            return self.run_step(command, bytes, out);
        };
        if !is_known_step(command, &args) {
            return Err(Failure::Undecodable);
        }
        let is_tried = self.tries && matches!(command.kind, Kind::Write(_)) && {
            let keyspace = Keyspace::new(self.store, self.scratch, self.versions, header.db, self.now_ms);
            !changes_at_once(&keyspace, command, &args)
        };
        let trial = match (command.is_undoable, is_tried) {
            (true, _) => TrialRun::OrUndone,
            (false, true) => TrialRun::OrNot,
            (false, false) => TrialRun::Never,
        };
        let is_sweep = command.id == table::DELETE_EXPIRED_FIELDS;
        if is_sweep {
            self.store.watched_mut().set_sweeping(true);
        }
        let outcome = self.call(handler, header, &args, trial, out);
        if is_sweep {
            self.store.watched_mut().set_sweeping(false);
        }
        match outcome {
            // What it names is fetched all at once.
            Err(Failure::Cold(met)) => {
                Err(Failure::Cold(self.named_cold(command, header, &args, bytes, names).unwrap_or(met)))
            }
            Err(Failure::Piecemeal) => {
                Reply::new(out, header.protocol).error_display(&CommandError::Piecemeal);
                Ok(())
            }
            outcome => outcome,
        }
    }

    /// Goes on looking at the names of an encoded command; gives what is to be fetched before more are looked at.
    fn look_on(&mut self, bytes: &[u8], names: &mut NamesLooked) -> Option<ColdRead> {
        let (header, _) = request::decode_part(bytes, 0, bytes.len(), 0, &mut ArgList::new())?;
        let before = self.scratch.mark();
        let keyspace = Keyspace::new(self.store, self.scratch, self.versions, header.db, self.now_ms);
        let looked = names.look_on(&keyspace, bytes);
        self.scratch.rewind(before);
        match looked {
            Err(StorageError::Cold(read)) => Some(read),
            _ => None,
        }
    }

    /// Rows that the arguments of an encoded command name and that are not in memory. If they are very many, `names` stands where
    /// to go on.
    fn named_cold(
        &mut self,
        command: &Command,
        header: RequestHeader,
        args: Args<'_>,
        bytes: &[u8],
        names: &mut NamesLooked,
    ) -> Option<ColdRead> {
        if let Some(begun) = NamesLooked::begin(command, args, bytes) {
            *names = begun.after_meeting();
            // Where no name that was looked at is cold, what was met is fetched, and the look goes on from there.
            let is_of_nothing = |read: &ColdRead| matches!(read, ColdRead::Keys(rows) if rows.is_empty());
            return self.look_on(bytes, names).filter(|read| !is_of_nothing(read));
        }
        let before = self.scratch.mark();
        let keyspace = Keyspace::new(self.store, self.scratch, self.versions, header.db, self.now_ms);
        let looked = look_for_named(&keyspace, command, args, header.seed);
        self.scratch.rewind(before);
        match looked {
            Err(StorageError::Cold(read)) => Some(read),
            _ => None,
        }
    }

    /// The keys of a database.
    pub(super) fn keyspace(&mut self, db: u8) -> Keyspace<'_> {
        Keyspace::new(self.store, self.scratch, self.versions, db, self.now_ms)
    }

    /// Returns the length of the strings at `keys` together; `None` if one holds a collection or is not in memory.
    pub(super) fn string_bytes(&mut self, db: u8, keys: &[&[u8]]) -> Option<usize> {
        let keyspace = Keyspace::new(self.store, self.scratch, self.versions, db, self.now_ms);
        let mut sum = 0;
        for key in keys {
            if let Some(record) = keyspace.lookup(key).ok()?.record {
                sum += if record.kind() == Type::String { record.body().len() } else { return None };
            }
        }
        Some(sum)
    }

    /// Looks whether the rows that an encoded command needs are in memory, of those that it names from where `names` stands on. The
    /// store must not wait for the disk.
    ///
    /// # Errors
    /// [`StorageError::Cold`] with rows that are not; other errors as the command itself.
    pub(super) fn look_ahead(&mut self, bytes: &[u8], names: &mut NamesLooked) -> Result<(), CommandError> {
        // Looked up by nobody yet.
        let before = self.scratch.mark();
        let looked = self.look_at_all(bytes, names);
        self.scratch.rewind(before);
        looked
    }

    fn look_at_all(&mut self, bytes: &[u8], names: &mut NamesLooked) -> Result<(), CommandError> {
        if names.is_under_way()
            && let Some(cold) = self.look_on(bytes, names)
        {
            return Err(StorageError::Cold(cold).into());
        }
        if names.is_done() && !names.and_others() {
            return Ok(());
        }
        let mut args = ArgList::new();
        args.push(b"");
        let Some(header) = request::decode(bytes, &mut args) else { return Ok(()) };
        let Some(command) = table::by_id(header.command) else { return Ok(()) };
        args[0] = command.name().as_bytes();
        let (Kind::Read(handler) | Kind::Write(handler)) = command.kind else {
            return match (command.kind, part_of(bytes)) {
                (Kind::Transaction, _) => self.look_at_transaction(bytes),
                (Kind::Part, Some(part)) => self.look_at_transaction(part),
                (Kind::Part, None) => self.look_at_commit(bytes),
                _ => Ok(()),
            };
        };
        if !names.is_done()
            && let Some(begun) = NamesLooked::begin(command, &args, bytes)
        {
            *names = begun;
            if let Some(cold) = self.look_on(bytes, names) {
                return Err(StorageError::Cold(cold).into());
            }
        }
        let mut and_others = names.and_others();
        if !names.is_done() {
            let keyspace = Keyspace::new(self.store, self.scratch, self.versions, header.db, self.now_ms);
            and_others = look_for_named(&keyspace, command, &args, header.seed)?;
        }
        if and_others {
            let call =
                Call { handler, header, args: &args, now_ms: self.now_ms, string_bytes_max: self.string_bytes_max };
            let mut trial = Trial::new(self.store, limits::TRIAL_BYTES_MAX);
            // Entry 0 holds no commands: no row has its versions.
            let (mut versions, mut random, mut out) = (VersionSource::entry(0), Random::new(0), Vec::new());
            // Nobody reads it.
            let reply = &mut Reply::strictly_bounded(&mut out, header.protocol, limits::SMALL_REPLY_BYTES_MAX);
            call.run(&mut trial, self.scratch, &mut versions, &mut random, reply)?;
        }
        Ok(())
    }

    /// Calls a handler and writes its reply, or its error, to `out`. If that is on `trial`, rows are changed once it has come to
    /// its end.
    fn call(
        &mut self,
        handler: Run,
        header: RequestHeader,
        args: Args<'_>,
        trial: TrialRun,
        out: &mut Vec<u8>,
    ) -> Result<(), Failure> {
        let mut reply = match self.only_small {
            true => Reply::strictly_bounded(out, header.protocol, limits::SMALL_REPLY_BYTES_MAX),
            false => self.bounds.reply(out, header.protocol),
        };
        let mark = reply.mark();
        let (before, earliest_deadline_ms) = (self.scratch.mark(), self.scratch.earliest_deadline_ms());
        let (core, stats) = figures_of(self.stats, header.asked);
        let started = begin(core, stats);
        let call = Call { handler, header, args, now_ms: self.now_ms, string_bytes_max: self.string_bytes_max };
        let tried = match trial {
            TrialRun::Never => None,
            TrialRun::OrNot => self.try_out(&call, limits::TRIAL_BYTES_MAX, &mut reply),
            TrialRun::OrUndone => {
                let tried = self.try_out(&call, trial_bytes_max(args), &mut reply);
                Some(tried.unwrap_or(Err(CommandError::Undone(TOO_MUCH_FOR_TRIAL.into()))))
            }
        };
        if matches!(tried, Some(Err(CommandError::Undone(_)))) {
            // Nothing has expired, and no key has got a deadline.
            self.scratch.rewind(before);
            self.scratch.set_earliest_deadline_ms(earliest_deadline_ms);
        }
        let outcome = tried.unwrap_or_else(|| {
            reply.truncate(mark);
            self.scratch.rewind(before);
            call.run(self.store, self.scratch, &mut self.versions, self.random, &mut reply)
        });
        end((core, stats), started, header, args);
        match outcome {
            Ok(()) if reply.is_over() => {
                // What a script has published is done, as all that it did.
                reply.truncate(mark + messages_before(reply.written_since(mark)));
                match (self.only_small, self.applying) {
                    (false, is_write) => reply.error(self.bounds.too_large(is_write)),
                    (true, true) => reply.error(TOO_MUCH_TO_REPLY),
                    (true, false) => reply.error(TOO_MUCH_TO_READ),
                }
                Ok(())
            }
            Ok(()) => Ok(()),
            Err(CommandError::Storage(StorageError::Cold(read))) => {
                reply.truncate(mark);
                // It is run again, and counted then.
                self.scratch.rewind(before);
                Err(Failure::Cold(read))
            }
            Err(CommandError::Storage(error)) if self.applying => {
                reply.truncate(mark);
                self.scratch.rewind(before);
                Err(Failure::Storage(error))
            }
            Err(CommandError::Piecemeal) => {
                reply.truncate(mark);
                self.scratch.rewind(before);
                Err(Failure::Piecemeal)
            }
            Err(error) if is_elsewhere(&error) => {
                reply.truncate(mark);
                send_back(header, args, out);
                Ok(())
            }
            Err(error) => {
                reply.truncate(mark);
                reply.error_display(&error);
                // Whoever puts steps together knows whether the whole has failed.
                if let Some(stats) = stats.filter(|_| table::is_whole(header.asked, header.command)) {
                    stats.failed.add(1);
                }
                Ok(())
            }
        }
    }

    /// Calls a handler on rows that are changed once it has come to its end. `None` if it reads and writes too much for that, and
    /// nothing is changed.
    fn try_out(
        &mut self,
        call: &Call<'_>,
        bytes_max: usize,
        reply: &mut Reply<'_>,
    ) -> Option<Result<(), CommandError>> {
        let (mut versions, mut random) = (self.versions, self.random.clone());
        let packs = *versions.packing() != Packing::NONE;
        let mut trial = Trial::new(self.store, bytes_max).counting_kept(packs);
        let outcome = call.run(&mut trial, self.scratch, &mut versions, &mut random, reply);
        // A script that has met the disk may have read anything after that.
        if is_cold(&outcome) {
            return Some(outcome);
        }
        let changes = trial.into_changes()?;
        // Other errors are replies; what was changed before them is changed everywhere.
        if self.applying && !matches!(outcome, Err(CommandError::Storage(_) | CommandError::Undone(_))) {
            self.store.commit(&changes);
            (self.versions, *self.random) = (versions, random);
        }
        Some(outcome)
    }
}

/// Returns whether a script was stopped since it accesses keys of other shards.
pub(super) fn is_elsewhere(error: &CommandError) -> bool {
    matches!(error, CommandError::Undone(text) if text == ELSEWHERE)
}

/// Replies a request as it came: whoever has sent it runs it over several shards.
pub(super) fn send_back(header: RequestHeader, args: Args<'_>, out: &mut Vec<u8>) {
    out.extend_from_slice(SENT_BACK);
    request::encode(out, header, args[1..].iter().copied());
}

fn is_cold(outcome: &Result<(), CommandError>) -> bool {
    matches!(outcome, Err(CommandError::Storage(StorageError::Cold(_))))
}

/// A handler, and what it is called with beside rows.
pub(super) struct Call<'a> {
    pub(super) handler: Run,
    pub(super) header: RequestHeader,
    pub(super) args: Args<'a>,
    pub(super) now_ms: u64,
    pub(super) string_bytes_max: usize,
}

impl Call<'_> {
    /// The time, and the length that a string may have: its own, or those of its entry.
    fn moment(&self) -> (u64, usize) {
        match self.header.moment {
            Some(moment) => (moment.time_ms, usize::try_from(moment.string_bytes_max).unwrap_or(usize::MAX)),
            None => (self.now_ms, self.string_bytes_max),
        }
    }

    pub(super) fn run(
        &self,
        rows: &mut dyn Rows,
        scratch: &mut Scratch,
        versions: &mut VersionSource,
        random: &mut Random,
        reply: &mut Reply<'_>,
    ) -> Result<(), CommandError> {
        let (now_ms, string_bytes_max) = self.moment();
        let tells_misses = scratch.told().has(EventClasses::MISS);
        let mut keyspace = Keyspace::new(rows, scratch, *versions, self.header.db, now_ms);
        keyspace.note_accesses(true);
        if tells_misses {
            let called = table::by_id(self.header.command);
            let executed = called.map(|command| once::inner(command, self.args).map_or(command, |(inner, _)| inner));
            keyspace.tell_misses(executed.is_some_and(Command::tells_misses));
        }
        let mut own_random = self.header.seed.map(Random::new);
        let random = own_random.as_mut().unwrap_or(random);
        let work_left = Cell::new(u64::MAX);
        let mut context = Context { keyspace, random, string_bytes_max, work_left };
        let outcome = (self.handler)(&mut context, self.args, reply);
        *versions = context.keyspace.versions();
        outcome
    }

    /// As [`Call::run`]; rows are changed once the handler has come to its end, and not at all if that wants to be undone.
    pub(super) fn run_or_undo(
        &self,
        rows: &mut dyn Rows,
        scratch: &mut Scratch,
        versions: &mut VersionSource,
        random: &mut Random,
        reply: &mut Reply<'_>,
    ) -> Result<(), CommandError> {
        let (mut own_versions, mut own_random) = (*versions, random.clone());
        let (before, earliest_deadline_ms) = (scratch.mark(), scratch.earliest_deadline_ms());
        let packs = *versions.packing() != Packing::NONE;
        let mut trial = Trial::new(&*rows, trial_bytes_max(self.args)).counting_kept(packs);
        let mut outcome = self.run(&mut trial, scratch, &mut own_versions, &mut own_random, reply);
        if is_cold(&outcome) {
            return outcome;
        }
        let changes = trial.into_changes();
        if changes.is_none() {
            outcome = Err(CommandError::Undone(TOO_MUCH_FOR_TRIAL.into()));
        }
        match (&outcome, changes) {
            (Err(CommandError::Storage(_) | CommandError::Undone(_)), _) | (_, None) => {
                scratch.rewind(before);
                scratch.set_earliest_deadline_ms(earliest_deadline_ms);
            }
            (_, Some(changes)) => {
                changes.make_on(rows);
                (*versions, *random) = (own_versions, own_random);
            }
        }
        outcome
    }
}

impl ShardMachine {
    /// A machine over `store`.
    pub fn new(store: Store) -> ShardMachine {
        let random = Random::new(rand::random());
        ShardMachine {
            store,
            scratch: Scratch::default(),
            random,
            in_flight: InFlight::default(),
            time_ms: 0,
            paused: None,
            views: None,
            pauses: 0,
            kept_trials: KeptTrials::default(),
            turns: Rc::default(),
            takes_turns: false,
            installs: 0,
            bounds: ReplyBounds::of(limits::MEMORY_BYTES_MIN, 1),
            untaken_bytes: 0,
            deaf_writers: HashMap::new(),
            core: None,
            told_until: 0,
            is_executing: false,
        }
    }

    /// Has times of accesses to keys kept from `now_ms` on, a Unix time in milliseconds.
    pub fn keep_access_times(&mut self, now_ms: u64) {
        self.scratch.keep_access_times(now_ms);
    }

    /// Notes whose commands are executed from here on; nobody's, of those that no client here waits for.
    #[inline]
    pub(super) fn serve(&self, client: Option<Origin>) {
        if let Some((server, core)) = &self.core {
            server.cores[core.index()].slow.serve(client);
        }
    }

    /// Has the core tell its clients of events, if there are some: nobody may wait for the entry that they are of.
    fn ring_for_events(&self) {
        if let Some((server, core)) = &self.core
            && self.scratch.has_events()
        {
            server.mailboxes.bell(*core).ring_urgently();
        }
    }

    /// Notes whose command may change keys from here on.
    #[cold]
    fn note_writer(&mut self, origin: Option<Origin>) {
        let client = |origin: Origin| match self.deaf_writers.get(&(origin.core, origin.client)) {
            Some(client) => reader_id(origin.core, *client),
            None => reader_id(origin.core, origin.client),
        };
        let writer = origin.map(client);
        self.store.tracked_mut().set_writer(writer);
    }

    /// Notes that what is executed from here on is an entry: other tasks of the core may have run before it.
    fn watch_entry(&self) {
        if let Some((server, core)) = &self.core {
            server.cores[core.index()].slow.mark();
        }
    }

    /// Returns whether the rows may hold half of what a command writes. To be asked between two entries, or where one waits.
    pub fn is_broken(&self) -> bool {
        self.is_executing
    }

    /// The moment that the rows show: `now_ms`, unless they have shown a later one, or an entry has. Clocks are set back, and those
    /// of nodes differ; but a key that was gone stays gone, for reads and for writes, in this run of the node and in the next.
    pub fn advance_time(&mut self, now_ms: u64) -> u64 {
        self.time_ms = self.time_ms().max(now_ms);
        self.time_ms
    }

    /// The latest moment that the rows have shown.
    pub fn time_ms(&self) -> u64 {
        self.time_ms.max(self.store.applied().time_ms)
    }

    /// Bytes of rows that may be kept for one command; no bound before anybody is served.
    pub(super) fn kept_bytes_max(&self) -> usize {
        self.core.as_ref().map_or(usize::MAX, |(server, _)| server.kept_bytes_max())
    }

    /// Bytes of replies of batches and views that nobody has taken yet.
    pub(super) fn reply_bytes(&self) -> usize {
        let of_views = self.views.as_ref().map_or(0, Views::reply_bytes);
        let paused = self.paused.as_ref().map_or(0, |position| position.replies.bytes.capacity());
        self.untaken_bytes + of_views + paused
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
        // What only reads is tried as well if it may be undone: a trial bounds what it reads.
        let is_undoable = table::by_id(header.command).is_some_and(|command| command.is_undoable);
        let trial = if is_undoable { TrialRun::OrUndone } else { TrialRun::Never };
        match self.reading(now_ms, |execution| execution.call(handler, header, args, trial, out)) {
            Err(Failure::Cold(read)) => ReadOutcome::Cold(read),
            Err(Failure::Piecemeal) => ReadOutcome::Piecemeal,
            _ => ReadOutcome::Done,
        }
    }

    /// Reads at `now_ms`, without waiting for the disk.
    pub(super) fn reading<R>(&mut self, now_ms: u64, read: impl FnOnce(&mut Execution<'_>) -> R) -> R {
        self.reading_on(OnMiss::Cold, now_ms, read)
    }

    /// Reads at `now_ms` what could not be fetched, to learn why.
    pub(super) fn reading_waiting<R>(&mut self, now_ms: u64, read: impl FnOnce(&mut Execution<'_>) -> R) -> R {
        self.reading_on(OnMiss::Wait, now_ms, read)
    }

    fn reading_on<R>(&mut self, on_miss: OnMiss, now_ms: u64, read: impl FnOnce(&mut Execution<'_>) -> R) -> R {
        let now_ms = self.advance_time(now_ms);
        self.store.set_on_miss(on_miss);
        let outcome = read(&mut Execution {
            store: &mut self.store,
            scratch: &mut self.scratch,
            kept_trials: &mut self.kept_trials,
            random: &mut self.random,
            versions: VersionSource::none(),
            now_ms,
            // Reads make no strings longer, and commands that do are not tried here.
            string_bytes_max: 0,
            applying: false,
            tries: false,
            bounds: self.bounds,
            only_small: false,
            stats: self.core.as_ref().map(|(server, core)| &server.cores[core.index()]),
            term: 0,
        });
        self.store.set_on_miss(OnMiss::Wait);
        outcome
    }
}

impl ShardMachine {
    /// Applies an entry from where it stands, to its end or up to a command that needs what is not in memory.
    fn resume(
        &mut self,
        position: &mut EntryPosition,
        batch: Batch<'_>,
        number: Option<u64>,
    ) -> Result<Option<Pause>, MachineError> {
        let in_flight = self.in_flight.clone();
        let mut in_flight = in_flight.borrow_mut();
        // Not simply the oldest: proposals before it may be lost, which their outcomes tell later.
        let mut pending = number.map(|number| {
            let pending = in_flight.iter_mut().find(|pending| pending.number == number);
            pending.expect("a batch is in flight until its outcome is taken, and that comes after it is applied")
        });
        let mut commands = batch;
        commands.skip_to(position.bytes_left);
        let Some(pending) = pending.take_if(|pending| pending.abandoned.is_none()) else {
            let pause = self.resume_unanswered(position, &batch, commands)?;
            if let Some(abandoned) = pending.filter(|_| pause.is_none()) {
                abandoned.applied = true;
            }
            return Ok(pause);
        };
        assert!(!pending.applied, "a batch is applied once");
        let began = Instant::now();
        self.watch_entry();
        // Reads join it while it waits for rows.
        while let Some(operation) = pending.operations.get_mut(position.operations) {
            self.serve(operation.origin);
            if self.store.tracked().is_noting() {
                self.note_writer(operation.origin);
            }
            let mut command: &[u8] = &[];
            let cold = match &operation.read {
                Some(_) if self.untaken_bytes + position.replies.bytes.len() >= self.bounds.shard_bytes_max => {
                    let mut reply = Reply::new(&mut position.replies.bytes, Protocol::Resp2);
                    reply.error(TOO_MUCH_TO_READ);
                    position.replies.ends.push(position.replies.bytes.len());
                    None
                }
                Some(range) => {
                    let bytes = &pending.reads[range.clone()];
                    match self.step(position, &batch, bytes, true)? {
                        Some(read) if position.progress.is_long(&read) => {
                            self.view(position, &mut operation.origin, bytes, read)
                        }
                        cold => cold.map(Pause::Cold),
                    }
                }
                None => {
                    let write = commands.next().expect("every write of a batch stands in its entry");
                    command = write.map_err(MachineError::Batch)?;
                    let cold = self.step(position, &batch, command, false)?;
                    if cold.is_none() {
                        position.bytes_left = commands.bytes_left();
                    }
                    cold.map(Pause::Cold)
                }
            };
            if cold.is_some() {
                return Ok(cold);
            }
            let bytes = operation.read.as_ref().map_or(command, |range| &pending.reads[range.clone()]);
            position.operations += 1;
            if let Some(turn) = self.turn_behind(bytes, began) {
                return Ok(Some(turn));
            }
        }
        assert!(commands.next().is_none(), "every command of an entry proposed here belongs to an operation");
        // Only now: until then, reads that must see its writes join it.
        pending.applied = true;
        pending.replied_bytes = position.replies.bytes.len();
        self.untaken_bytes += pending.replied_bytes;
        Ok(None)
    }

    /// Goes on with an entry whose replies nobody waits for: another leader's, or one of a batch that was abandoned.
    fn resume_unanswered(
        &mut self,
        position: &mut EntryPosition,
        batch: &Batch<'_>,
        mut commands: Batch<'_>,
    ) -> Result<Option<Pause>, MachineError> {
        if position.operations > 0 || !position.replies.ends.is_empty() {
            // It was abandoned on the way. The rows that were fetched may be those of a read that is not run any more.
            (position.operations, position.progress) = (0, ColdProgress::new());
            position.replies = Replies::default();
        }
        let began = Instant::now();
        self.watch_entry();
        self.serve(None);
        self.store.tracked_mut().set_writer(None);
        while let Some(command) = commands.next() {
            let command = command.map_err(MachineError::Batch)?;
            if let Some(read) = self.step(position, batch, command, false)? {
                return Ok(Some(Pause::Cold(read)));
            }
            position.bytes_left = commands.bytes_left();
            position.replies.bytes.clear();
            position.replies.ends.clear();
            if let Some(turn) = self.turn_behind(command, began) {
                return Ok(Some(turn));
            }
        }
        Ok(None)
    }

    /// The wait for a turn of the core, behind a command that has run a script, if that and those before it have taken long.
    fn turn_behind(&self, bytes: &[u8], began: Instant) -> Option<Pause> {
        let is_long = || began.elapsed() >= limits::SCRIPTS_TURN;
        if !self.takes_turns || work_of(bytes) == 0 || !is_long() {
            return None;
        }
        // It must not sleep meanwhile.
        if let Some((server, core)) = &self.core {
            server.mailboxes.bell(*core).ring_urgently();
        }
        Some(Pause::Later(self.turns.wait()))
    }

    /// Has a read that stands between the writes of an entry executed on another thread; or says what to fetch until one is ready.
    fn view(
        &mut self,
        position: &mut EntryPosition,
        origin: &mut Option<Origin>,
        bytes: &[u8],
        read: ColdRead,
    ) -> Option<Pause> {
        match self.defer(*origin, bytes, position.time_ms) {
            Deferral::Deferred => {
                // The batch answers it no more.
                *origin = None;
                position.replies.ends.push(position.replies.bytes.len());
                position.progress = ColdProgress::new();
                None
            }
            Deferral::Soon(later) => {
                position.progress = ColdProgress::for_view();
                Some(Pause::Later(later))
            }
            Deferral::Never => {
                position.progress.take_no_view();
                Some(Pause::Cold(read))
            }
        }
    }

    /// Executes one command of an entry, or a read that stands between them; or says what it needs that is not in memory, and
    /// leaves everything as it was.
    fn step(
        &mut self,
        position: &mut EntryPosition,
        batch: &Batch<'_>,
        bytes: &[u8],
        is_read: bool,
    ) -> Result<Option<ColdRead>, MachineError> {
        let is_too_large = position.progress.has_begun() && position.progress.is_too_large(self.kept_bytes_max());
        // What the log holds at a start is executed before this shard serves anybody. It waits for the disk, and its core with it.
        let is_long_script = position.progress.is_long_script() && work_of(bytes) > 0;
        let may_wait =
            self.core.is_none() || position.progress.has_failed() || is_long_script || (is_too_large && !is_read);
        if may_wait {
            // It looks for nothing any more.
            position.progress.names = NamesLooked::default();
        }
        position.progress.lend_to(&mut self.store);
        self.store.set_on_miss(if may_wait { OnMiss::Wait } else { OnMiss::ColdUntilChanged });
        let tries = !may_wait && self.store.has_rows_on_disk();
        // Replies of views have a budget of their own: one that is over it must not cost a write its reply.
        let made_bytes = self.untaken_bytes;
        // Reads draw from the core's own random numbers: how many there are is no business of the replicas.
        let random_before = position.random.clone();
        let random = if is_read { &mut self.random } else { &mut position.random };
        // Reads, too, see the moment of their entry, though the shard may have shown a later one meanwhile: a key that was gone
        // for another client can be there again for as long as the entry was on its way. With the later moment it would be gone
        // for a read and there again for the next write of the same entry, which must not depend on any replica's clock.
        let mut execution = Execution {
            store: &mut self.store,
            scratch: &mut self.scratch,
            kept_trials: &mut self.kept_trials,
            random,
            versions: if is_read { VersionSource::none() } else { position.versions },
            now_ms: position.time_ms,
            string_bytes_max: batch.string_bytes_max,
            applying: !is_read,
            tries,
            bounds: self.bounds,
            only_small: made_bytes + position.replies.bytes.len() >= self.bounds.shard_bytes_max,
            stats: self.core.as_ref().map(|(server, core)| &server.cores[core.index()]),
            term: position.entry.term,
        };
        let outcome = execution.run(bytes, &mut position.progress.names, &mut position.replies.bytes);
        let versions = execution.versions;
        position.progress.take_back(&mut self.store);
        match outcome {
            Err(Failure::Cold(_)) if is_read && is_too_large => {
                position.replies.bytes.extend_from_slice(TOO_MUCH_TO_KEEP);
                position.replies.ends.push(position.replies.bytes.len());
                position.progress = ColdProgress::new();
                Ok(None)
            }
            Ok(()) => {
                if !is_read {
                    position.versions = versions;
                    self.store.count_change();
                }
                position.replies.ends.push(position.replies.bytes.len());
                if position.progress.has_begun() {
                    position.progress = ColdProgress::new();
                }
                Ok(None)
            }
            Err(Failure::Cold(mut read)) => {
                position.random = random_before;
                position.progress.note_miss(&mut read);
                Ok(Some(read))
            }
            // Not as a text: whether it passes is told by what it is.
            Err(Failure::Storage(error)) => Err(MachineError::Storage(error)),
            Err(Failure::Piecemeal | Failure::Elsewhere(_)) => unreachable!("what is encoded has it as its reply"),
            Err(Failure::Undecodable) => Err(MachineError::Batch(
                "it holds a command this version does not know; start the version that wrote it".into(),
            )),
        }
    }
}

impl Machine for ShardMachine {
    fn apply(&mut self, entry: EntryId, bytes: &[u8], number: Option<u64>) -> Result<Executed, MachineError> {
        let batch = Batch::read(bytes).map_err(MachineError::Batch)?;
        let mut position =
            self.paused.take().unwrap_or_else(|| EntryPosition::new(entry, &batch, self.store.applied()));
        self.advance_time(position.time_ms);
        assert_eq!(position.entry, entry, "entries are applied one after the other");
        self.is_executing = true;
        let told = self.scratch.told();
        if entry.index <= self.told_until {
            self.scratch.tell(EventClasses::NONE);
        }
        let outcome = self.resume(&mut position, batch, number);
        self.scratch.tell(told);
        if told != EventClasses::NONE {
            self.ring_for_events();
        }
        self.store.set_on_miss(OnMiss::Wait);
        let outcome = outcome?;
        self.is_executing = false;
        if self.store.tracked().has_changed()
            && let Some((server, core)) = &self.core
        {
            // Nobody here may wait for what a follower applies.
            server.mailboxes.bell(*core).ring_urgently();
        }
        match outcome {
            None => {
                self.store.set_time(position.time_ms);
                Ok(Executed::Whole(position.replies))
            }
            Some(pause) => {
                let pins = position.progress.should_pin();
                self.paused = Some(position);
                self.pauses += 1;
                Ok(match pause {
                    Pause::Cold(read) => Executed::Cold { read, pins },
                    Pause::Later(later) => Executed::Later(later),
                })
            }
        }
    }

    fn skip(&mut self, shard: u32, batch: &[u8]) -> Result<(), MachineError> {
        Ok(self.skip_commits(shard, batch)?)
    }

    fn take_fetched(&mut self, mut rows: Fetched) {
        if let Some(position) = &mut self.paused {
            position.progress.take_fetched(rows.take_pinned());
        }
        self.store.take_fetched(&rows);
    }

    fn installed(&mut self) {
        assert!(self.paused.is_none(), "no snapshot is installed in the middle of an entry");
        // Rows of the database that is gone.
        drop(self.store.take_pinned());
        self.store.watched_mut().note_all();
        self.store.tracked_mut().note_all();
        self.scratch.note_functions_changed();
        self.installs += 1;
    }

    fn store(&mut self) -> &mut Store {
        &mut self.store
    }
}
