//! A script over several shards: it runs where its client is, and what it calls runs on trial where the keys are.
//!
//! A call that asks other shards leaves the script. When they have answered, it begins anew with the answers that it has had so
//! far, and comes to the same call, since a script is a function of those. So nothing of the machine is kept in between, wherever
//! in the script the call was.
//!
//! What a newcomer would get wrong: keys that a script has not declared are not held. When it has met one, all that follows serves
//! to learn which others it needs, and is forgotten; then those are held too, and the script begins from its very start.

use std::cell::Cell;
use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use basalt_lua::{Called, Host, Outcome, Script, Stop};
use basalt_net::resp::{Protocol, Reply, value};

use super::sides::{Side, Sides};
use super::{Next, Work};
use crate::cluster::Router;
use crate::commands::rights::CallerRights;
use crate::commands::scripts::{
    Admission, Gate, Messages, TOO_LARGE, Terms, as_one_page, call_without_keys, log_line, publish, run_by,
    undone_text, why_not_to_block, write_value,
};
use crate::commands::table::{STEP_SCAN_ALL, STEP_TRY};
use crate::commands::{
    Args, Command, CommandError, Kind, MultiShard, ReplyBounds, Run, Scatter, TOO_MUCH_WORK, names_other_keys,
    run_on_nothing, table,
};
use crate::entry::request::{self, Moment};
use crate::entry::script_trial::{self, TrialTerms};
use crate::entry::spanning::HeldKeys;
use crate::ids::ShardId;
use crate::limits;

/// A script of another version of the program.
const OTHER_VERSION: &str = "ERR the script is of another version";
/// A script that has not called the same commands in each of its beginnings.
const OTHER_CALL: &str = "ERR the script was stopped and undone: it did not come to the same call again";

/// The way to plan a call of a script.
pub type Planner<'a> = &'a dyn Fn(&PlannedCall<'_>) -> Result<(Vec<Side>, Box<dyn Work>), CommandError>;

/// A call that is to be planned.
#[derive(Clone, Copy)]
pub struct PlannedCall<'a> {
    /// The protocol of its reply.
    pub protocol: Protocol,
    /// The database that the script has selected.
    pub db: u8,
    /// The time, in Unix milliseconds.
    pub now_ms: u64,
    /// The command.
    pub command: &'static Command,
    /// Its handler.
    pub run: Run,
    /// Its words.
    pub args: Args<'a>,
}

/// A script, and what it is called with.
#[derive(Debug)]
pub struct SpanningScript {
    /// Its text.
    pub text: Arc<[u8]>,
    /// `KEYS`.
    pub keys: Vec<Vec<u8>>,
    /// `ARGV`.
    pub args: Vec<Vec<u8>>,
    /// The terms on which it runs.
    pub terms: Terms,
    /// The protocol of its reply.
    pub protocol: Protocol,
    /// The database that its client has selected.
    pub db: u8,
    /// The beginning of its random numbers.
    pub seed: u64,
}

impl SpanningScript {
    /// Bytes of memory that it takes.
    pub fn bytes(&self) -> usize {
        let args = self.keys.iter().chain(&self.args);
        self.text.len() + args.map(|arg| arg.len() + size_of::<Vec<u8>>()).sum::<usize>()
    }
}

/// The answer to a call, and the work that it was.
#[derive(Debug)]
struct Answer {
    /// The command that was called.
    command: u16,
    reply: Vec<u8>,
    work: u64,
}

/// The writes of a script in one shard, and the time at which they are executed there; 0 if nothing was asked of it yet.
#[derive(Debug, Default)]
struct ShardPart {
    time_ms: u64,
    writes: Vec<Vec<u8>>,
}

/// A call that waits for shards.
struct Calling {
    command: u16,
    sides: Vec<Side>,
    work: Box<dyn Work>,
    protocol: Protocol,
    bytes_max: usize,
    work_max: u64,
    work_left: u64,
    /// Work that each of the trials under way may be.
    work_given: u64,
    /// True once the sides have what to write.
    is_decided: bool,
    read: Vec<Vec<u8>>,
    written: Vec<Vec<u8>>,
}

/// The next step of a script.
pub enum Turn {
    /// These trials are to be run, each in a shard.
    Try(Vec<(ShardId, Vec<u8>)>),
    /// It is to hold other keys, and to begin from its start.
    HoldOthers,
    /// It has come to its end, and what it has written stays.
    Kept(Vec<u8>),
    /// It has come to its end, and nothing of it stays.
    Undone(Vec<u8>),
}

/// A script under way.
pub struct ScriptRun {
    script: SpanningScript,
    now_ms: u64,
    string_bytes_max: usize,
    bounds: ReplyBounds,
    answers: Vec<Answer>,
    parts: BTreeMap<u16, ShardPart>,
    calling: Option<Calling>,
    /// Work of all its beginnings together.
    spent: u64,
    held: BTreeSet<(u8, Vec<u8>)>,
    holds_all: bool,
    /// Keys that it has met and does not hold.
    wanted: BTreeSet<(u8, Vec<u8>)>,
    wants_all: bool,
    /// Times that it has begun from its start.
    starts: u32,
}

fn error_reply(error: impl std::fmt::Display) -> Vec<u8> {
    let mut bytes = Vec::new();
    Reply::new(&mut bytes, Protocol::Resp2).error_display(error);
    bytes
}

impl ScriptRun {
    /// A script that has not begun. It holds the keys that it declares.
    pub fn new(script: SpanningScript, string_bytes_max: usize, bounds: ReplyBounds) -> ScriptRun {
        let held = script.keys.iter().map(|key| (script.db, key.clone())).collect();
        ScriptRun {
            script,
            now_ms: 0,
            string_bytes_max,
            bounds,
            answers: Vec::new(),
            parts: BTreeMap::new(),
            calling: None,
            spent: 0,
            held,
            holds_all: false,
            wanted: BTreeSet::new(),
            wants_all: false,
            starts: 0,
        }
    }

    /// Returns whether it only learns which keys it needs.
    pub fn is_learning(&self) -> bool {
        self.wants_all || !self.wanted.is_empty()
    }

    /// The shards with the keys that are to be held.
    pub fn sides(&self, router: &Router) -> Vec<Side> {
        let (mut sides, is_exclusive) = (Sides::default(), !self.script.terms.is_read_only);
        if self.holds_all {
            router.shards().for_each(|shard| sides.of(shard).keys.add_all(is_exclusive));
        }
        for (db, key) in self.held.iter().filter(|_| !self.holds_all) {
            sides.of(router.shard_of(key)).keys.add(*db, key, is_exclusive);
        }
        // One that declares none begins all the same, and learns.
        if self.held.is_empty()
            && let Some(first) = router.first_shard()
        {
            sides.of(first);
        }
        sides.settled()
    }

    /// Begins from the start, with all keys held that it has met. Keys by name, unless that was in vain too often.
    pub fn begin_anew(&mut self) {
        self.starts += 1;
        self.holds_all = self.wants_all || self.starts >= limits::SCRIPT_STARTS_BY_KEY;
        self.held.append(&mut self.wanted);
        (self.wants_all, self.calling) = (false, None);
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

    /// Runs it up to the next call that asks other shards, or to its end, as of `now_ms` if it begins from its start. All trials
    /// of its last call are answered.
    pub fn go_on(&mut self, now_ms: u64, planner: Planner<'_>) -> Turn {
        if let Some(turn) = self.end_trials() {
            return turn;
        }
        if self.answers.is_empty() {
            self.now_ms = now_ms;
        }
        loop {
            let rights = self.script.terms.rights.as_deref().map(CallerRights::decode);
            let Ok(rights) = rights.map(|rights| rights.ok_or(())).transpose() else {
                return Turn::Undone(error_reply(OTHER_VERSION));
            };
            let (keys, args): (Vec<&[u8]>, Vec<&[u8]>) = (
                self.script.keys.iter().map(Vec::as_slice).collect(),
                self.script.args.iter().map(Vec::as_slice).collect(),
            );
            let script = Script {
                text: &self.script.text,
                keys: &keys,
                args: &args,
                seed: self.script.seed,
                work: self.script.terms.work,
            };
            let mut host = NodeHost {
                run: &*self,
                planner,
                rights,
                db: self.script.db,
                next: 0,
                refused: Vec::new(),
                calling: None,
                stopped: None,
                work_left: script.work,
                messages: Messages::default(),
            };
            let outcome = run_by(&script, &mut host);
            let NodeHost { mut refused, calling, stopped, work_left, messages, .. } = host;
            self.answers.append(&mut refused);
            self.spent += self.script.terms.work - work_left.min(self.script.terms.work);
            match (outcome, calling) {
                (Outcome::Stopped(Stop::Host), Some(calling)) => {
                    if self.spent > limits::SPANNING_SCRIPT_WORK_MAX {
                        return Turn::Undone(error_reply(TOO_MUCH_WORK));
                    }
                    self.note_keys(&calling.sides);
                    if self.wants_all {
                        return Turn::HoldOthers;
                    }
                    self.calling = Some(calling);
                    match self.trials() {
                        Some(turn) => return turn,
                        None => continue,
                    }
                }
                (outcome, _) => return self.end(outcome, stopped, &messages),
            }
        }
    }

    /// The end of a script that has published `messages`.
    fn end(&self, outcome: Outcome, stopped: Option<CommandError>, messages: &Messages) -> Turn {
        if self.is_learning() {
            return Turn::HoldOthers;
        }
        let mut bytes = Vec::new();
        let mut reply = self.bounds.reply(&mut bytes, self.script.protocol);
        match outcome {
            Outcome::Returned(value) => write_value(&value, &mut reply),
            Outcome::Failed(error) => reply.error(error),
            Outcome::Stopped(stop) => {
                let error = stopped.unwrap_or_else(|| CommandError::Undone(undone_text(stop).into()));
                return Turn::Undone(error_reply(error));
            }
        }
        if reply.is_over() {
            reply.truncate(0);
            reply.error(self.bounds.too_large(!self.script.terms.is_read_only));
        }
        messages.put_before(&mut reply, 0);
        Turn::Kept(bytes)
    }

    /// Notes of the keys of a call which of them are not held.
    fn note_keys(&mut self, sides: &[Side]) {
        if self.holds_all {
            return;
        }
        for HeldKeys { keys, whole } in sides.iter().map(|side| &side.keys) {
            self.wants_all |= whole.is_some();
            for key in keys {
                let key = (key.db, key.key.to_vec());
                if !self.held.contains(&key) {
                    self.wanted.insert(key);
                }
            }
        }
        self.wants_all |= self.wanted.len() > limits::SCRIPT_KEYS_LEARNT_MAX;
    }

    /// The trials of the call that is under way; none if it asks nobody, and is answered.
    fn trials(&mut self) -> Option<Turn> {
        loop {
            let calling = self.calling.as_mut().expect("a call is under way");
            calling.work_given = calling.work_left;
            let mut trials = Vec::new();
            for side in &calling.sides {
                let commands = if calling.is_decided { &side.writes } else { &side.reads };
                if commands.is_empty() {
                    continue;
                }
                let part = self.parts.entry(side.shard).or_default();
                let terms = TrialTerms {
                    time_ms: part.time_ms,
                    string_bytes_max: self.string_bytes_max as u64,
                    work: calling.work_left,
                    reply_bytes_max: calling.bytes_max as u64,
                    before: part.writes.len() as u32,
                };
                let commands = part.writes.iter().chain(commands).map(Vec::as_slice);
                trials.push((side.shard(), script_trial::encode(STEP_TRY, terms, commands)));
            }
            if !trials.is_empty() {
                return Some(Turn::Try(trials));
            }
            match self.decide() {
                Ok(true) => return None,
                Ok(false) => {}
                Err(turn) => return Some(turn),
            }
        }
    }

    /// Takes a shard's answer to a trial. Returns the bytes of memory that it takes.
    ///
    /// # Errors
    /// The reply that the script ends with.
    pub fn answered(&mut self, shard: ShardId, reply: &[u8]) -> Result<usize, Vec<u8>> {
        if value::is_error(reply) {
            return Err(reply.to_vec());
        }
        let calling = self.calling.as_mut().expect("a call is under way");
        let place = super::sides::place_of(&calling.sides, shard);
        let (of_shape, misshapen) = (super::sides::elements(reply), || error_reply(super::MISSHAPEN));
        let [time, work, replies] = of_shape[..] else { return Err(misshapen()) };
        let number = |bytes| value::read_integer(bytes).and_then(|number| u64::try_from(number).ok());
        let (Some(time_ms), Some(left)) = (number(time), number(work)) else { return Err(misshapen()) };
        self.parts.entry(shard.0).or_default().time_ms = time_ms;
        // Each might do as much as all of them may together.
        let done = calling.work_given.saturating_sub(left);
        let work_left = calling.work_left.checked_sub(done).ok_or_else(|| error_reply(TOO_MUCH_WORK))?;
        calling.work_left = work_left;
        let answers = if calling.is_decided { &mut calling.written } else { &mut calling.read };
        answers[place] = replies.to_vec();
        Ok(replies.len() + calling.sides[place].writes.iter().map(Vec::len).sum::<usize>())
    }

    /// Goes on with the call whose trials are answered, if there is one. The next step, unless that is up to the script.
    fn end_trials(&mut self) -> Option<Turn> {
        self.calling.as_ref()?;
        match self.decide() {
            Ok(true) => None,
            Ok(false) => self.trials(),
            Err(turn) => Some(turn),
        }
    }

    /// Returns whether the call is over and its answer noted; else the sides have what to write.
    fn decide(&mut self) -> Result<bool, Turn> {
        let mut calling = self.calling.take().expect("a call is under way");
        let (mut bytes, protocol) = (Vec::new(), calling.protocol);
        let mut reply = Reply::new(&mut bytes, protocol);
        if !calling.is_decided {
            calling.is_decided = true;
            let Calling { work, work_left, sides, read, .. } = &mut calling;
            let next = match work.decide_within(work_left, sides, read, &mut reply) {
                Ok(next) => next,
                // Of what serves to learn nothing is held: it may be less by then.
                Err(_) if self.is_learning() => return Err(Turn::HoldOthers),
                Err(error) => return Err(Turn::Undone(error_reply(error))),
            };
            if next == Next::Execute && calling.sides.iter().any(|side| !side.writes.is_empty()) {
                self.calling = Some(calling);
                return Ok(false);
            }
            if next == Next::Execute {
                calling.work.finish(&calling.sides, &calling.read, &calling.written, &mut reply);
            }
        } else {
            calling.work.finish(&calling.sides, &calling.read, &calling.written, &mut reply);
            self.keep_writes(&mut calling.sides);
        }
        if bytes.len() > calling.bytes_max {
            return Err(if self.is_learning() { Turn::HoldOthers } else { Turn::Undone(error_reply(TOO_LARGE)) });
        }
        let work = calling.work_max - calling.work_left;
        self.answers.push(Answer { command: calling.command, reply: bytes, work });
        Ok(true)
    }

    /// Takes what a call has written to what the script has.
    fn keep_writes(&mut self, sides: &mut [Side]) {
        for side in sides {
            let part = self.parts.entry(side.shard).or_default();
            let moment = Moment { time_ms: part.time_ms, string_bytes_max: self.string_bytes_max as u64 };
            for mut bytes in std::mem::take(&mut side.writes) {
                let command = request::command_id(&bytes).and_then(table::by_id);
                if command.is_some_and(|command| matches!(command.kind, Kind::Write(_))) {
                    request::set_moment(&mut bytes, moment);
                    part.writes.push(bytes);
                }
            }
        }
    }
}

/// The node as a script sees it that runs over several shards.
struct NodeHost<'a> {
    run: &'a ScriptRun,
    planner: Planner<'a>,
    rights: Option<CallerRights>,
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
        let terms = &self.run.script.terms;
        Gate { terms, rights: self.rights.as_ref(), work_left, db: self.db, may_walk: true }
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
        if let Some(error) = why_not_to_block(&self.run.script.terms, command, args) {
            *reply = error_reply(error);
            return Called::Replied;
        }
        if command.publishes && self.run.script.terms.is_wide {
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
            let place = (self.run.now_ms, false, self.run.script.terms.is_read_only);
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
            Ok((sides, work)) => {
                let (count, work_max) = (sides.len(), work_left.get());
                self.calling = Some(Calling {
                    command: command.id,
                    sides,
                    work,
                    protocol,
                    bytes_max,
                    work_max,
                    work_left: work_max,
                    work_given: work_max,
                    is_decided: false,
                    read: vec![Vec::new(); count],
                    written: vec![Vec::new(); count],
                });
                Called::Stop
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
        let bytes_max = bytes_max.min(limits::SCRIPT_REPLY_BYTES_MAX);
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

/// The end of a script that is executed.
#[derive(Debug)]
pub struct ScriptReply {
    /// Its reply.
    pub reply: Vec<u8>,
    /// Bytes of memory that the script takes until then.
    pub bytes: usize,
}

impl Work for ScriptReply {
    fn bytes(&self) -> usize {
        self.bytes
    }

    fn decide(&mut self, _sides: &mut [Side], _read: &[Vec<u8>], _out: &mut Reply<'_>) -> Next {
        Next::Execute
    }

    fn finish(&mut self, _sides: &[Side], _read: &[Vec<u8>], _written: &[Vec<u8>], out: &mut Reply<'_>) {
        out.raw(&self.reply);
    }
}
