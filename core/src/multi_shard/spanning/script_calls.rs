//! Calls of a script over several shards: what each asks of which shard, and what is made of the answers.

use basalt_net::resp::{Protocol, Reply, value};

use super::script::{ScriptRun, Turn, error_reply};
use super::script_item::PlannedCall;
use super::sides::{Side, elements, place_of};
use super::{MISSHAPEN, Next, Work};
use crate::commands::scripts::TOO_LARGE;
use crate::commands::table::STEP_TRY;
use crate::commands::{Kind, TOO_MUCH_WORK, table};
use crate::entry::request::{self, Moment};
use crate::entry::script_trial::{self, NOT_KEPT, TrialTerms};
use crate::ids::ShardId;
use crate::limits;

/// The answer to a call, and the work that it was.
#[derive(Debug)]
pub(super) struct Answer {
    /// The command that was called.
    pub(super) command: u16,
    pub(super) reply: Vec<u8>,
    pub(super) work: u64,
}

/// The writes of a script in one shard, and the time at which they are executed there; 0 if nothing was asked of it yet.
#[derive(Debug, Default)]
pub(super) struct ShardPart {
    pub(super) time_ms: u64,
    pub(super) writes: Vec<Vec<u8>>,
    /// Those of the items of a transaction that are over.
    pub(super) mark: usize,
    /// Those that the shard has on its trial.
    pub(super) kept: usize,
}

/// A call that waits for shards.
pub(super) struct Calling {
    command: u16,
    pub(super) sides: Vec<Side>,
    work: Box<dyn Work>,
    protocol: Protocol,
    bytes_max: usize,
    work_max: u64,
    work_left: u64,
    /// Work that each of the trials under way may be.
    work_given: u64,
    /// True once its keys are held, or not to be.
    is_tried: bool,
    /// True once the sides have what to write.
    is_decided: bool,
    /// True if a shard has not kept what it was taken to have.
    is_to_repeat: bool,
    read: Vec<Vec<u8>>,
    written: Vec<Vec<u8>>,
}

impl Calling {
    /// A call that was planned, whose reply may have `bytes_max`, and which may be so much work.
    pub(super) fn new(
        call: &PlannedCall<'_>,
        (sides, work): (Vec<Side>, Box<dyn Work>),
        bytes_max: usize,
        work_max: u64,
    ) -> Calling {
        let count = sides.len();
        Calling {
            command: call.command.id,
            sides,
            work,
            protocol: call.protocol,
            bytes_max,
            work_max,
            work_left: work_max,
            work_given: work_max,
            is_tried: false,
            is_decided: false,
            is_to_repeat: false,
            read: vec![Vec::new(); count],
            written: vec![Vec::new(); count],
        }
    }
}

impl ScriptRun {
    /// The trials of the call that is under way; none if it asks nobody, and is answered.
    pub(super) fn trials(&mut self) -> Option<Turn> {
        let is_learning = self.is_learning();
        // Nothing need be held for what serves to learn, nor is it kept.
        let transaction = if is_learning { 0 } else { self.transaction };
        loop {
            let calling = self.calling.as_mut().expect("a call is under way");
            (calling.is_tried, calling.work_given) = (true, calling.work_left);
            let mut trials = Vec::new();
            for side in &calling.sides {
                let commands = if calling.is_decided { &side.writes } else { &side.reads };
                if commands.is_empty() {
                    continue;
                }
                let part = self.parts.entry(side.shard).or_default();
                let kept = if transaction == 0 { 0 } else { part.kept };
                if is_learning {
                    self.repeated += (part.writes.len() - kept) as u64;
                }
                let terms = TrialTerms {
                    transaction,
                    time_ms: part.time_ms,
                    string_bytes_max: self.string_bytes_max as u64,
                    work: calling.work_left,
                    reply_bytes_max: calling.bytes_max as u64,
                    before: part.writes.len() as u32,
                    kept: kept as u32,
                };
                let commands = part.writes[kept..].iter().chain(commands).map(Vec::as_slice);
                trials.push((side.shard(), script_trial::encode(STEP_TRY, terms, commands)));
            }
            if is_learning && self.repeated > limits::SCRIPT_LEARNING_REPEATS_MAX {
                // Each call behind very many writes would run them all again.
                return Some(self.learn_no_more());
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
        let part = self.parts.entry(shard.0).or_default();
        let calling = self.calling.as_mut().expect("a call is under way");
        if reply == NOT_KEPT {
            (part.kept, calling.is_to_repeat) = (0, true);
            return Ok(0);
        }
        if value::is_error(reply) {
            return Err(reply.to_vec());
        }
        let place = place_of(&calling.sides, shard);
        let (of_shape, misshapen) = (elements(reply), || error_reply(MISSHAPEN));
        let [time, work, kept, replies] = of_shape[..] else { return Err(misshapen()) };
        let number = |bytes| value::read_integer(bytes).and_then(|number| u64::try_from(number).ok());
        let (Some(time_ms), Some(left), Some(kept)) = (number(time), number(work), number(kept)) else {
            return Err(misshapen());
        };
        (part.time_ms, part.kept) = (time_ms, (kept as usize).min(part.writes.len()));
        // Each might do as much as all of them may together.
        let done = calling.work_given.saturating_sub(left);
        let work_left = calling.work_left.checked_sub(done).ok_or_else(|| error_reply(TOO_MUCH_WORK))?;
        calling.work_left = work_left;
        let answers = if calling.is_decided { &mut calling.written } else { &mut calling.read };
        answers[place] = replies.to_vec();
        Ok(replies.len() + calling.sides[place].writes.iter().map(Vec::len).sum::<usize>())
    }

    /// Goes on with the call that is under way, if there is one: all that it has asked for is answered. The next step, unless that
    /// is up to the script.
    pub(super) fn end_trials(&mut self) -> Option<Turn> {
        let calling = self.calling.as_mut()?;
        if calling.is_to_repeat {
            (calling.is_to_repeat, calling.work_left) = (false, calling.work_given);
            return self.trials();
        }
        if !calling.is_tried {
            return self.trials();
        }
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

#[cfg(test)]
mod tests {
    use super::super::{Members, SpanningScript};
    use super::*;
    use crate::cluster::Router;
    use crate::commands::scripts::{Reach, Terms};
    use crate::commands::{CommandError, ReplyBounds};
    use crate::entry::request::RequestHeader;
    use crate::entry::script_trial::ScriptTrial;

    fn writing(text: &str) -> ScriptRun {
        let terms = Terms {
            is_read_only: false,
            in_cluster: false,
            reach: Reach::All,
            stops_elsewhere: false,
            is_wide: true,
            work: limits::SCRIPT_WORK_DEFAULT,
            rights: None,
        };
        let script = SpanningScript {
            text: text.as_bytes().into(),
            is_function: false,
            keys: Vec::new(),
            args: Vec::new(),
            terms,
            protocol: Protocol::Resp2,
            db: 0,
            seed: 0,
        };
        let bounds = ReplyBounds { one_bytes_max: usize::MAX, shard_bytes_max: usize::MAX };
        ScriptRun::new(script, 1 << 20, bounds)
    }

    #[test]
    fn a_script_that_learns_has_so_many_writes_run_again_and_then_holds_all_keys() {
        let router = Router::new(2, 1);
        let plan = |call: &PlannedCall<'_>| {
            let (mut bytes, header) = (Vec::new(), RequestHeader::new(call.protocol, call.db, call.command.id));
            request::encode(&mut bytes, header, call.args[1..].iter().copied());
            let (sides, members) = Members::plan([&bytes[..]].into_iter(), &router, false).expect("it has one key");
            Ok::<_, CommandError>((sides, Box::new(members) as Box<dyn Work>))
        };
        let mut run = writing("for i = 1, 5000 do redis.call('set', 'key' .. i, i) end");
        let mut repeated = 0;
        loop {
            let trials = match run.go_on(1, 1, &plan) {
                Turn::HoldMore(_) => {
                    // Somebody is in the way.
                    run.note_held_more(false);
                    continue;
                }
                Turn::Try(trials) => trials,
                Turn::HoldOthers => break,
                Turn::Kept(_) | Turn::Undone(_) => panic!("it ends though it does not hold its keys"),
            };
            for (shard, bytes) in trials {
                let TrialTerms { before, kept, work, .. } = ScriptTrial::read(&bytes).expect("a trial").terms;
                repeated += u64::from(before - kept);
                let reply = format!("*4\r\n:1\r\n:{work}\r\n:0\r\n*1\r\n+OK\r\n");
                run.answered(shard, reply.as_bytes()).expect("it is one reply");
            }
        }
        assert!(repeated <= limits::SCRIPT_LEARNING_REPEATS_MAX, "{repeated} writes were run again");
        run.begin_anew();
        assert!(run.sides(&router).iter().all(|side| side.keys.whole == Some(true)));
    }
}
