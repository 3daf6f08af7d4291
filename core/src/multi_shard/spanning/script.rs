//! A script over several shards, or a transaction that has some: it runs where its client is, and what it calls runs on trial where
//! the keys are.
//!
//! A call that asks other shards leaves the script, whose machine waits for the answer. Where it cannot wait, in a call through
//! `pcall` and the like, or there is no room for it, the script begins anew with the answers that it has had so far, and comes
//! to the same call, since a script is a function of those.
//!
//! What a newcomer would get wrong: keys that a script has not declared are not held before it meets them. If somebody else has one
//! then, nobody waits for it while he holds others: all that follows serves to learn which keys it needs, and is forgotten; then
//! those are held too, and the script begins from its very start.

use std::borrow::Cow;
use std::cell::Cell;
use std::collections::{BTreeMap, BTreeSet};

use basalt_lua::{Called, Host, Outcome, Progress, Script, Stop, Suspended};
use basalt_net::resp::{Protocol, Reply};
use basalt_storage::keyspace::prepared::TransactionId;

use super::script_calls::{Answer, Calling, ShardPart};
use super::script_item::{Item, PlannedCall, Planner, SpanningScript};
use super::sides::{Side, Sides};
use crate::cluster::Router;
use crate::commands::functions::LoadedFunction;
use crate::commands::rights::CallerRights;
use crate::commands::scripts::{
    Admission, Gate, Messages, Terms, as_one_page, call_without_keys, go_on_by, lift, log_line, publish, put_lifted,
    reply_bytes_of, start_by, undone_text, why_not_to_block, write_value,
};
use crate::commands::table::{STEP_LIBRARY, STEP_SCAN_ALL};
use crate::commands::{
    Args, CommandError, Kind, MultiShard, ReplyBounds, Scatter, TOO_MUCH_WORK, names_other_keys, run_on_nothing, table,
};
use crate::entry::request::{self, ArgList};
use crate::entry::spanning::HeldKeys;
use crate::ids::ShardId;
use crate::limits;

/// A script of another version of the program.
const OTHER_VERSION: &str = "ERR the script is of another version";
/// The beginning of the errors of scripts of which nothing stays.
const UNDONE: &[u8] = b"-ERR the script was stopped and undone";
/// A script that has not called the same commands in each of its beginnings.
const OTHER_CALL: &str = "ERR the script was stopped and undone: it did not come to the same call again";

/// The next step of a script.
pub enum Turn {
    /// These trials are to be run, each in a shard.
    Try(Vec<(ShardId, Vec<u8>)>),
    /// These keys are to be held beside those that are, each in a shard, if nobody is in the way.
    HoldMore(Vec<(ShardId, HeldKeys)>),
    /// It is to hold other keys, and to begin from its start.
    HoldOthers,
    /// It has come to its end, and what it has written stays.
    Kept(Vec<u8>),
    /// It has come to its end, and nothing of it stays.
    Undone(Vec<u8>),
}

/// The script that runs, beside what it was called with.
struct Running {
    /// The terms by now: a function may say that it only reads.
    terms: Terms,
    rights: Option<CallerRights>,
    /// None of a script by its text.
    function: Option<LoadedFunction>,
    /// The database that it has selected, while it waits.
    db: u8,
    /// The machine, while it waits; none if it is begun anew.
    machine: Option<Suspended>,
    /// The messages that it has published, while it waits.
    messages: Messages,
}

/// The step that an item has come to.
enum Step {
    /// It asks shards for something.
    Asks(Calling),
    /// Its end, and its reply.
    Over(Vec<u8>),
    Ends(Turn),
}

/// A script under way, or a transaction that has some.
pub struct ScriptRun {
    items: Vec<Item>,
    /// The item that runs.
    at: usize,
    is_transaction: bool,
    protocol: Protocol,
    /// Replies of the items that are over.
    replies: Vec<u8>,
    /// Messages that their scripts have published.
    messages: Vec<u8>,
    now_ms: u64,
    pub(super) string_bytes_max: usize,
    bounds: ReplyBounds,
    running: Option<Running>,
    /// Answers to the calls of the item that runs.
    pub(super) answers: Vec<Answer>,
    pub(super) parts: BTreeMap<u16, ShardPart>,
    pub(super) calling: Option<Calling>,
    /// Work of all its beginnings together.
    spent: u64,
    /// The number of the transaction whose keys are held.
    pub(super) transaction: TransactionId,
    held: BTreeSet<(u8, Vec<u8>)>,
    holds_all: bool,
    /// Keys that it has met and does not hold.
    wanted: BTreeSet<(u8, Vec<u8>)>,
    wants_all: bool,
    /// Times that it has begun from its start.
    starts: u32,
    /// Writes that shards were to run again since then, for calls behind them.
    pub(super) repeated: u64,
}

pub(super) fn error_reply(error: impl std::fmt::Display) -> Vec<u8> {
    let mut bytes = Vec::new();
    Reply::new(&mut bytes, Protocol::Resp2).error_display(error);
    bytes
}

fn as_slices(words: &[Vec<u8>]) -> Vec<&[u8]> {
    words.iter().map(Vec::as_slice).collect()
}

impl ScriptRun {
    /// A script that has not begun. It holds the keys that it declares.
    pub fn new(script: SpanningScript, string_bytes_max: usize, bounds: ReplyBounds) -> ScriptRun {
        let protocol = script.protocol;
        ScriptRun {
            is_transaction: false,
            ..ScriptRun::of(vec![Item::Script(script)], protocol, string_bytes_max, bounds)
        }
    }

    /// A transaction that has not begun. It holds the keys that its commands name, and its scripts declare.
    pub fn of(items: Vec<Item>, protocol: Protocol, string_bytes_max: usize, bounds: ReplyBounds) -> ScriptRun {
        let mut held = HeldKeys::default();
        items.iter().for_each(|item| item.hold(&mut held));
        let holds_all = held.whole.is_some();
        ScriptRun {
            items,
            at: 0,
            is_transaction: true,
            protocol,
            replies: Vec::new(),
            messages: Vec::new(),
            now_ms: 0,
            string_bytes_max,
            bounds,
            running: None,
            answers: Vec::new(),
            parts: BTreeMap::new(),
            calling: None,
            spent: 0,
            transaction: 0,
            held: held.keys.into_iter().map(|held| (held.db, held.key.into_vec())).collect(),
            holds_all,
            wanted: BTreeSet::new(),
            wants_all: false,
            starts: 0,
            repeated: 0,
        }
    }

    /// Bytes of memory that it takes before it has begun.
    pub fn bytes(&self) -> usize {
        self.items.iter().map(Item::bytes).sum()
    }

    /// Bytes that the machine takes which waits for an answer.
    pub fn machine_bytes(&self) -> usize {
        let machine = self.running.as_ref().and_then(|running| running.machine.as_ref());
        machine.map_or(0, Suspended::bytes)
    }

    /// Gives the machine up which waits for an answer: the script begins anew then, with the answers that it has had.
    pub fn drop_machine(&mut self) {
        if let Some(running) = &mut self.running {
            running.machine = None;
        }
    }

    /// Returns whether it only learns which keys it needs.
    pub fn is_learning(&self) -> bool {
        self.wants_all || !self.wanted.is_empty()
    }

    /// Has it learn no more: it begins from its start with all keys of the node held.
    pub(super) fn learn_no_more(&mut self) -> Turn {
        self.wants_all = true;
        Turn::HoldOthers
    }

    fn is_exclusive(&self) -> bool {
        !self.items.iter().all(Item::only_reads)
    }

    /// The shards with the keys that are to be held.
    pub fn sides(&self, router: &Router) -> Vec<Side> {
        let (mut sides, is_exclusive) = (Sides::default(), self.is_exclusive());
        if self.holds_all {
            router.shards().for_each(|shard| sides.of(shard).keys.add_all(is_exclusive));
        }
        for (db, key) in self.held.iter().filter(|_| !self.holds_all) {
            sides.of(router.shard_of(key)).keys.add(*db, key, is_exclusive);
        }
        // A script that declares none begins all the same, and learns; and commands without keys are run there.
        if (self.held.is_empty() || self.is_transaction)
            && let Some(first) = router.first_shard()
        {
            sides.of(first);
        }
        sides.settled()
    }

    /// Has it hold all keys of the node, so that it never has to let go of them.
    pub fn hold_all(&mut self) {
        self.holds_all = true;
    }

    /// The commands that stand beside its scripts, encoded.
    pub fn commands(&self) -> impl Iterator<Item = &[u8]> {
        self.items.iter().filter_map(|item| match item {
            Item::Command(bytes) => Some(&bytes[..]),
            Item::Script(_) => None,
        })
    }

    /// Begins from the start, with all keys held that it has met. Keys by name, unless that was in vain too often.
    pub fn begin_anew(&mut self) {
        self.starts += 1;
        self.holds_all |= self.wants_all || self.starts >= limits::SCRIPT_STARTS_BY_KEY;
        self.held.append(&mut self.wanted);
        (self.wants_all, self.calling, self.running, self.at) = (false, None, None, 0);
        self.repeated = 0;
        self.replies.clear();
        self.messages.clear();
        self.answers.clear();
        self.parts.clear();
    }

    /// Has the sides execute what the script has written in them.
    pub fn give_writes(&mut self, sides: &mut [Side]) {
        for (shard, part) in std::mem::take(&mut self.parts) {
            if !part.writes.is_empty() {
                sides[super::sides::place_of(sides, ShardId(shard))].writes = part.writes;
            }
        }
    }

    /// Takes note of whether the keys are held that the last turn wanted held beside the others; else what follows serves to learn.
    pub fn note_held_more(&mut self, are_held: bool) {
        if are_held {
            self.held.append(&mut self.wanted);
        }
    }

    /// Returns whether `error`, the answer of a shard, is that of a script of a transaction, which goes on behind that.
    pub fn passes_over(&mut self, error: &[u8]) -> bool {
        let passes = self.is_transaction && error.starts_with(UNDONE);
        if passes {
            self.undo_item(error.to_vec());
        }
        passes
    }

    /// Runs it up to the next call that asks other shards, or to its end, as of `now_ms` if it begins from its start. All that its
    /// last call has asked for is answered. `transaction` is the number by which its keys are held.
    pub fn go_on(&mut self, transaction: TransactionId, now_ms: u64, planner: Planner<'_>) -> Turn {
        self.transaction = transaction;
        if self.at == 0 && self.answers.is_empty() && self.calling.is_none() {
            self.now_ms = now_ms;
        }
        let mut turn = self.end_trials();
        loop {
            match turn {
                // As on one shard: its error is its reply, and those behind it are run.
                Some(Turn::Undone(reply)) if self.is_transaction => self.undo_item(reply),
                Some(turn) => return turn,
                None => {}
            }
            if self.at == self.items.len() {
                return self.end();
            }
            turn = match self.run_item(planner) {
                Step::Asks(calling) => self.ask(calling),
                Step::Over(reply) => {
                    self.end_item(reply);
                    None
                }
                Step::Ends(turn) => Some(turn),
            };
        }
    }

    fn end(&mut self) -> Turn {
        if self.is_learning() {
            return Turn::HoldOthers;
        }
        let mut bytes = Vec::new();
        if self.is_transaction {
            Reply::new(&mut bytes, self.protocol).array(self.items.len());
        }
        bytes.append(&mut self.replies);
        put_lifted(&mut bytes, 0, &self.messages);
        Turn::Kept(bytes)
    }

    /// Goes on behind an item that has come to its end.
    fn end_item(&mut self, mut reply: Vec<u8>) {
        lift(&mut reply, 0, &mut self.messages);
        if self.replies.is_empty() || self.replies.len() + reply.len() <= self.bounds.one_bytes_max {
            self.replies.extend_from_slice(&reply);
        } else {
            self.replies.extend_from_slice(&error_reply(self.bounds.too_large(true)));
        }
        self.at += 1;
        (self.running, self.calling) = (None, None);
        self.answers.clear();
        self.parts.values_mut().for_each(|part| part.mark = part.writes.len());
    }

    /// Goes on behind an item of which nothing stays but its error.
    fn undo_item(&mut self, reply: Vec<u8>) {
        for part in self.parts.values_mut().filter(|part| part.writes.len() > part.mark) {
            part.writes.truncate(part.mark);
            // The shard may have them on its trial.
            part.kept = 0;
        }
        self.end_item(reply);
    }

    fn run_item(&mut self, planner: Planner<'_>) -> Step {
        match &self.items[self.at] {
            Item::Command(_) => self.run_command(planner),
            Item::Script(_) => self.run_script(planner),
        }
    }

    fn run_command(&mut self, planner: Planner<'_>) -> Step {
        if let Some(answer) = self.answers.pop() {
            return Step::Over(answer.reply);
        }
        let Item::Command(bytes) = &self.items[self.at] else { unreachable!("a command runs") };
        let mut args = ArgList::new();
        args.push(b"");
        let header = request::decode(bytes, &mut args).expect("it was encoded by this process");
        let command = table::by_id(header.command).expect("it was found in the table");
        args[0] = command.name().as_bytes();
        let (Kind::Read(run) | Kind::Write(run)) = command.kind else { unreachable!("it runs on a shard") };
        let call =
            PlannedCall { protocol: header.protocol, db: header.db, now_ms: self.now_ms, command, run, args: &args };
        // What a client calls may do as much as it takes.
        let work = limits::SPANNING_SCRIPT_WORK_MAX;
        match planner(&call) {
            Ok(planned) => Step::Asks(Calling::new(&call, planned, self.bounds.one_bytes_max, work)),
            Err(error) => Step::Over(error_reply(error)),
        }
    }

    /// Makes ready what the script runs with. None once that is; else the step that comes first.
    fn begin_script(&mut self, planner: Planner<'_>) -> Option<Step> {
        if self.running.is_some() {
            return None;
        }
        let Item::Script(script) = &self.items[self.at] else { unreachable!("a script runs") };
        let mut terms = script.terms.clone();
        let rights = terms.rights.as_deref().map(CallerRights::decode);
        let Ok(rights) = rights.map(|rights| rights.ok_or(())).transpose() else {
            return Some(Step::Over(error_reply(OTHER_VERSION)));
        };
        let mut function = None;
        if script.is_function {
            let Some(answer) = self.answers.pop() else { return Some(self.read_library(planner)) };
            match LoadedFunction::read(&answer.reply, &script.text, &mut terms) {
                Ok(loaded) => function = Some(loaded),
                Err(error) => return Some(Step::Over(error)),
            }
        }
        let messages = Messages::default();
        self.running = Some(Running { terms, rights, function, db: script.db, machine: None, messages });
        None
    }

    /// Asks for a function's library, in a shard of which something is held.
    fn read_library(&self, planner: Planner<'_>) -> Step {
        let Item::Script(script) = &self.items[self.at] else { unreachable!("a script runs") };
        let command = table::by_id(STEP_LIBRARY).expect("the step is in the table");
        let Kind::Read(run) = command.kind else { unreachable!("it reads") };
        let (db, key) = self.held.first().map_or((script.db, &script.text[..]), |(db, key)| (*db, &key[..]));
        let args: [&[u8]; 3] = [command.name().as_bytes(), key, &script.text];
        let call = PlannedCall { protocol: Protocol::Resp2, db, now_ms: self.now_ms, command, run, args: &args };
        match planner(&call) {
            Ok(planned) => Step::Asks(Calling::new(&call, planned, usize::MAX, script.terms.work)),
            Err(error) => Step::Over(error_reply(error)),
        }
    }

    /// Runs the script of the item: from its start, or behind the call that is answered.
    fn run_script(&mut self, planner: Planner<'_>) -> Step {
        if let Some(step) = self.begin_script(planner) {
            return step;
        }
        let running = self.running.as_mut().expect("it was made ready");
        let (machine, messages) = (running.machine.take(), std::mem::take(&mut running.messages));
        // One that begins anew publishes them anew.
        let messages = if machine.is_some() { messages } else { Messages::default() };
        let running = self.running.as_ref().expect("it was made ready");
        let Item::Script(script) = &self.items[self.at] else { unreachable!("a script runs") };
        let (keys, args) = (as_slices(&script.keys), as_slices(&script.args));
        let work = running.function.as_ref().map_or(running.terms.work, |function| function.work);
        let work_left = machine.as_ref().map_or(work, Suspended::work_left);
        let mut host = NodeHost {
            run: &*self,
            running,
            planner,
            db: if machine.is_some() { running.db } else { script.db },
            next: if machine.is_some() { self.answers.len() } else { 0 },
            refused: Vec::new(),
            calling: None,
            stopped: None,
            work_left,
            messages,
        };
        let progress = match (machine, &running.function) {
            (Some(machine), function) => {
                let answer = self.answers.last().expect("what it waits for is answered");
                let mut reply = Cow::Borrowed(&answer.reply);
                if answer.command == STEP_SCAN_ALL {
                    as_one_page(reply.to_mut());
                }
                let name = (&script.text[..], function.is_some());
                go_on_by(machine, (&reply[..], answer.work), name, &mut host)
            }
            (None, Some(function)) => function.start((&keys[..], &args[..]), script.seed, &mut host),
            (None, None) => {
                let script = Script { text: &script.text, keys: &keys, args: &args, seed: script.seed, work };
                start_by(&script, &mut host)
            }
        };
        let NodeHost { mut refused, calling, stopped, work_left: left, db, messages, .. } = host;
        self.answers.append(&mut refused);
        self.spent += work_left - left.min(work_left);
        let running = self.running.as_mut().expect("it runs");
        match (progress, calling) {
            (Progress::Waits(machine), Some(calling)) => {
                (running.machine, running.db, running.messages) = (Some(machine), db, messages);
                Step::Asks(calling)
            }
            (Progress::Over(Outcome::Stopped(Stop::Host)), Some(calling)) => Step::Asks(calling),
            (Progress::Over(outcome), _) => self.end_script(outcome, stopped, &messages),
            (Progress::Waits(_), None) => unreachable!("it waits for what it has called"),
        }
    }

    /// The end of a script that has published `messages`.
    fn end_script(&mut self, outcome: Outcome, stopped: Option<CommandError>, messages: &Messages) -> Step {
        let running = self.running.as_ref().expect("it runs");
        let Item::Script(script) = &self.items[self.at] else { unreachable!("a script runs") };
        let mut bytes = Vec::new();
        let mut reply = self.bounds.reply(&mut bytes, script.protocol);
        match outcome {
            Outcome::Returned(value) => write_value(&value, &mut reply),
            Outcome::Failed(error) => reply.error(error),
            Outcome::Stopped(_) if self.is_learning() && !self.is_transaction => return Step::Ends(Turn::HoldOthers),
            Outcome::Stopped(stop) => {
                let error = stopped.unwrap_or_else(|| CommandError::Undone(undone_text(stop).into()));
                return Step::Ends(Turn::Undone(error_reply(error)));
            }
        }
        if reply.is_over() {
            reply.truncate(0);
            reply.error(self.bounds.too_large(!running.terms.is_read_only));
        }
        messages.put_before(&mut reply, 0);
        Step::Over(bytes)
    }

    /// Asks the shards of a call, once its keys are held.
    fn ask(&mut self, calling: Calling) -> Option<Turn> {
        if self.spent > limits::SPANNING_SCRIPT_WORK_MAX {
            return Some(Turn::Undone(error_reply(TOO_MUCH_WORK)));
        }
        let was_learning = self.is_learning();
        let more = self.note_keys(&calling.sides);
        if self.wants_all {
            return Some(Turn::HoldOthers);
        }
        self.calling = Some(calling);
        if !was_learning && !more.is_empty() {
            return Some(Turn::HoldMore(more));
        }
        self.trials()
    }

    /// Notes of the keys of a call which of them are not held. Gives those.
    fn note_keys(&mut self, sides: &[Side]) -> Vec<(ShardId, HeldKeys)> {
        let (mut more, is_exclusive) = (Vec::new(), self.is_exclusive());
        if self.holds_all {
            return more;
        }
        for (shard, HeldKeys { keys, whole }) in sides.iter().map(|side| (side.shard(), &side.keys)) {
            self.wants_all |= whole.is_some();
            let mut not_held = HeldKeys::default();
            for key in keys {
                let name = (key.db, key.key.to_vec());
                if !self.held.contains(&name) && self.wanted.insert(name) {
                    not_held.add(key.db, &key.key, is_exclusive);
                }
            }
            if !not_held.keys.is_empty() {
                not_held.settle();
                more.push((shard, not_held));
            }
        }
        self.wants_all |= self.wanted.len() + self.held.len() > limits::SCRIPT_KEYS_LEARNT_MAX;
        more
    }
}

/// The node as a script sees it that runs over several shards.
struct NodeHost<'a> {
    run: &'a ScriptRun,
    running: &'a Running,
    planner: Planner<'a>,
    db: u8,
    /// The answer to the next call.
    next: usize,
    /// Answers to calls that no shard was asked for, since they cannot be planned; they follow those of the run.
    refused: Vec<Answer>,
    calling: Option<Calling>,
    stopped: Option<CommandError>,
    /// Work that the script may still do, as of its last call.
    work_left: u64,
    /// The messages that it has published, since it began.
    messages: Messages,
}

impl NodeHost<'_> {
    fn stop(&mut self, error: CommandError) -> Called {
        self.stopped = Some(error);
        Called::Stop
    }

    fn gate<'g>(&'g self, work_left: &'g Cell<u64>) -> Gate<'g> {
        let Running { terms, rights, .. } = self.running;
        Gate { terms, rights: rights.as_ref(), work_left, db: self.db, may_walk: true }
    }

    fn call_command(
        &mut self,
        args: Args<'_>,
        (protocol, bytes_max): (Protocol, usize),
        work_left: &Cell<u64>,
        reply: &mut Vec<u8>,
    ) -> Called {
        let command = match self.gate(work_left).admit(args) {
            Admission::Run(command) => command,
            Admission::Refused(reason) => return Called::Refused(reason.to_owned()),
            Admission::Elsewhere => unreachable!("all keys of the node are within its reach"),
            Admission::NoWorkLeft => return self.stop(CommandError::Undone(TOO_MUCH_WORK.into())),
        };
        let shard_of = |key: &[u8]| basalt_storage::keyspace::Slot::of(key);
        let is_here = |key: &[u8]| args.get(1).is_some_and(|first| shard_of(key) == shard_of(first));
        if let Some(error) = self.gate(work_left).why_not_by_patterns(command, args, Some(&is_here)) {
            *reply = error_reply(error);
            return Called::Replied;
        }
        if let Some(error) = why_not_to_block(&self.running.terms, command, args) {
            *reply = error_reply(error);
            return Called::Replied;
        }
        if command.publishes && self.running.terms.is_wide {
            if let Err(error) = publish(&mut self.messages, work_left, command, args) {
                return self.stop(error);
            }
            reply.clear();
            Reply::new(reply, protocol).integer(0);
            return Called::Replied;
        }
        let is_scan = matches!(command.scatter, Scatter::MultiShard(MultiShard::Scan));
        // One page for each shard would need a cursor for all.
        let command = match is_scan {
            true => table::by_id(STEP_SCAN_ALL).expect("the step is in the table"),
            false => command.for_call(args),
        };
        let (Kind::Read(run) | Kind::Write(run)) = command.kind else {
            let place = (self.run.now_ms, false, self.running.terms.is_read_only);
            let (called, db) = call_without_keys(command, args, place, protocol, reply);
            self.db = db.unwrap_or(self.db);
            return called;
        };
        reply.clear();
        let has_keys = command.keys(args).next().is_some() || names_other_keys(command, args);
        if !has_keys && !command.concerns_all_shards() {
            // Its arguments make no sense, and it says so, each time that the script comes to it: that is no answer of a shard's.
            let mut out = Reply::strictly_bounded(reply, protocol, bytes_max);
            if let Err(error) = run_on_nothing(run, args, &mut out) {
                out.truncate(0);
                out.error_display(error);
            }
            return Called::Replied;
        }
        if let Some(answer) = self.run.answers.get(self.next) {
            self.next += 1;
            if answer.command != command.id {
                return self.stop(CommandError::Undone(OTHER_CALL.into()));
            }
            let Some(left) = work_left.get().checked_sub(answer.work) else {
                return self.stop(CommandError::Undone(TOO_MUCH_WORK.into()));
            };
            work_left.set(left);
            reply.extend_from_slice(&answer.reply);
            if is_scan {
                as_one_page(reply);
            }
            return Called::Replied;
        }
        let call = PlannedCall { protocol, db: self.db, now_ms: self.run.now_ms, command, run, args };
        match (self.planner)(&call) {
            Ok(planned) => {
                self.calling = Some(Calling::new(&call, planned, bytes_max, work_left.get()));
                Called::Waits
            }
            Err(error) => {
                *reply = error_reply(error);
                self.refused.push(Answer { command: command.id, reply: reply.clone(), work: 0 });
                self.next += 1;
                Called::Replied
            }
        }
    }
}

impl Host for NodeHost<'_> {
    fn call(
        &mut self,
        args: &[&[u8]],
        is_resp3: bool,
        bytes_max: usize,
        work: &mut u64,
        reply: &mut Vec<u8>,
    ) -> Called {
        let protocol = if is_resp3 { Protocol::Resp3 } else { Protocol::Resp2 };
        let work_left = Cell::new(*work);
        let bytes_max = bytes_max.min(reply_bytes_of(self.running.terms.work));
        let called = self.call_command(args, (protocol, bytes_max), &work_left, reply);
        (*work, self.work_left) = (work_left.get(), work_left.get());
        called
    }

    fn may_call(&mut self, args: &[&[u8]], work: &mut u64) -> Option<bool> {
        let work_left = Cell::new(*work);
        let may_call = self.gate(&work_left).may_call(args);
        *work = work_left.get();
        may_call
    }

    fn log(&mut self, level: u8, text: &[u8]) {
        // What comes before was said when the script came there first.
        if self.next >= self.run.answers.len() && !self.run.is_learning() {
            log_line(level, text);
        }
    }
}
