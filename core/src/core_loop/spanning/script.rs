//! Scripts whose keys are in several shards: all keys are held, and the script runs on this core, call by call.
//!
//! What a newcomer would get wrong: keys that a script meets are held beside the others only if nobody is in the way. Else it lets
//! go of all others before it holds those too, so that shards are asked in ascending order, and nobody waits for it while it waits.

use basalt_net::resp::Protocol;

use super::Spanning;
use super::Task;
use super::coordinator::{Stage, TOO_MUCH, error_reply};
use crate::clients::{Connection, Expects, ReplyMode};
use crate::commands::{Args, Command, Kind, table};
use crate::core_loop::core::Core;
use crate::entry::spanning::{HoldOrder, SpanningOrder};
use crate::ids::ShardId;
use crate::limits;
use crate::multi_shard::spanning::{KnownReply, PlannedCall, ScriptRun, SpanningScript, Turn};

impl Core {
    /// Starts a script whose keys are in several shards, or may be. What its connection has sent before is answered.
    pub(in crate::core_loop) fn span_script(
        &mut self,
        connection: &mut Connection,
        command: &'static Command,
        args: Args<'_>,
        script: SpanningScript,
    ) {
        let silent = connection.session.reply_mode != ReplyMode::On;
        let is_write = matches!(command.kind, Kind::Write(_));
        let place = connection.open_place(Expects::of(command, args), is_write, silent);
        self.span_script_in(connection, place, (script.protocol, command.id), script);
    }

    /// The same for a reply in a place that there is.
    pub(in crate::core_loop) fn span_script_in(
        &mut self,
        connection: &mut Connection,
        place: u64,
        (protocol, asked): (Protocol, u16),
        script: SpanningScript,
    ) {
        let string_bytes_max = self.live.resp_limits.bulk_bytes_max;
        let run = Box::new(ScriptRun::new(script, string_bytes_max, self.server.reply_bounds()));
        self.span_run_in(connection, place, (protocol, asked), run, None);
    }

    /// The same of a transaction that has scripts; with the watch of its connection, and the shards of that.
    pub(in crate::core_loop) fn span_run_in(
        &mut self,
        connection: &mut Connection,
        place: u64,
        (protocol, asked): (Protocol, u16),
        run: Box<ScriptRun>,
        watch: Option<(u64, Vec<ShardId>)>,
    ) {
        let bytes = run.bytes();
        let sides = run.sides(&self.routing.router);
        let planned: super::plan::Planned = (sides, Box::new(KnownReply { reply: Vec::new(), bytes }));
        if let Err(error) = self.check_room(&planned) {
            if let Some((watch, shards)) = watch {
                shards.into_iter().for_each(|shard| self.end_watch(limits::SPANNING_CLIENTS, shard, watch));
            }
            let failed = table::by_id(asked).map(|command| command.id);
            failed.into_iter().for_each(|id| self.stats().by_command[usize::from(id)].failed.add(1));
            let reply = error_reply(&error.to_string());
            return self.fill_or_advance(connection, place, &reply);
        }
        // Nothing that follows may overtake it in a shard.
        connection.barrier = true;
        let ticket = self.ticket(connection, place, 0);
        self.begin_spanning(
            Spanning::new((ticket, protocol, asked), planned, watch).called_by(connection).running(run),
        );
    }

    /// Has a script go on in its turn. All keys are held that it is known to need, and all that it has asked for is answered.
    pub(super) fn let_script_go_on(&mut self, index: u32, mut spanning: Box<Spanning>) {
        (spanning.stage, spanning.awaited) = (Stage::Running, 0);
        self.tasks.put(index, Task::Spanning(spanning));
        self.tasks.ready.push_back(index);
    }

    /// Has scripts go on until they have used the turn up, and one however much others have. Returns how many have.
    pub(in crate::core_loop) fn run_ready_scripts(&mut self) -> usize {
        let mut count = 0;
        while let Some(index) = self.tasks.ready.pop_front() {
            let Some(Task::Spanning(spanning)) = self.tasks.take(index) else {
                unreachable!("a script that is to go on is there until it has")
            };
            self.run_script_on(index, spanning);
            count += 1;
            if self.clock.is_used_up {
                break;
            }
        }
        count
    }

    /// Returns whether a script is to go on.
    pub(in crate::core_loop) fn has_ready_scripts(&self) -> bool {
        !self.tasks.ready.is_empty()
    }

    /// Runs a script up to its next call that asks shards, or to its end.
    fn run_script_on(&mut self, index: u32, mut spanning: Box<Spanning>) {
        let mut run = spanning.script.take().expect("it runs a script");
        self.tasks.machine_bytes -= std::mem::take(&mut spanning.machine_bytes);
        let turn = match spanning.error.take() {
            // It is forgotten, and begins with what is known by then.
            Some(_) if run.is_learning() => Turn::HoldOthers,
            Some(error) if !run.passes_over(&error) => Turn::Undone(error),
            _ => run.go_on(spanning.id, self.clock.now_ms, &|call: &PlannedCall<'_>| self.plan_script_call(call)),
        };
        if self.tasks.machine_bytes + run.machine_bytes() > limits::WAITING_MACHINES_BYTES_MAX {
            run.drop_machine();
        }
        spanning.machine_bytes = run.machine_bytes();
        self.tasks.machine_bytes += spanning.machine_bytes;
        spanning.script = Some(run);
        self.take_turn(index, spanning, turn);
    }

    fn take_turn(&mut self, index: u32, mut spanning: Box<Spanning>, turn: Turn) {
        self.note_script();
        match turn {
            Turn::Try(trials) => {
                let is_learning = spanning.script.as_ref().is_some_and(|run| run.is_learning());
                // What serves to learn is forgotten, so nothing need be held for it.
                let transaction = (!is_learning).then_some(spanning.id);
                (spanning.stage, spanning.awaited) = (Stage::Running, trials.len());
                self.tasks.put(index, Task::Spanning(spanning));
                for (shard, bytes) in trials {
                    self.order(index, shard.index(), shard, SpanningOrder::Read(transaction, bytes));
                }
            }
            Turn::HoldMore(keys) => {
                (spanning.stage, spanning.awaited, spanning.is_refused) = (Stage::HoldingMore, keys.len(), false);
                keys.iter().for_each(|(shard, _)| spanning.add_side(*shard));
                let (transaction, deaf_client) = (spanning.id, spanning.deaf_client);
                self.tasks.put(index, Task::Spanning(spanning));
                for (shard, keys) in keys {
                    let (watch, keeps_time, is_more) = (None, true, true);
                    let order = HoldOrder { transaction, keys, watch, keeps_time, deaf_client, is_more };
                    self.order(index, shard.index(), shard, SpanningOrder::Hold(Box::new(order)));
                }
            }
            Turn::HoldOthers => self.hold_others(index, spanning),
            Turn::Kept(reply) => {
                let mut run = spanning.script.take().expect("it runs a script");
                run.give_writes(&mut spanning.sides);
                spanning.work = Box::new(KnownReply { reply, bytes: 0 });
                // Where nothing but a watch is held it is asked whether that is so still.
                self.read_sides(index, spanning);
            }
            Turn::Undone(reply) => self.end_spanning(index, spanning, reply),
        }
    }

    /// Lets go of what a script holds, and begins with what it has learnt to need.
    fn hold_others(&mut self, index: u32, mut spanning: Box<Spanning>) {
        let (before, id) = (spanning.id, self.tasks.next_id(self.id.0));
        let run = spanning.script.as_mut().expect("it runs a script");
        run.begin_anew();
        let sides = run.sides(&self.routing.router);
        for shard in spanning.begin_anew(id, sides) {
            self.tell(shard, SpanningOrder::Release(before));
        }
        self.hold_next(index, spanning, 0);
    }

    /// Takes a shard's answer to the wish to hold more keys.
    pub(super) fn more_answered(&mut self, index: u32, mut spanning: Box<Spanning>, reply: &[u8]) {
        if reply.starts_with(b"-") {
            spanning.fail(reply);
        }
        spanning.is_refused |= !reply.starts_with(b"+");
        spanning.awaited -= 1;
        if spanning.awaited > 0 {
            return self.tasks.put(index, Task::Spanning(spanning));
        }
        let are_held = !spanning.is_refused;
        spanning.script.as_mut().expect("it runs a script").note_held_more(are_held);
        self.let_script_go_on(index, spanning);
    }

    /// Takes a shard's answer to a trial of a script.
    pub(super) fn script_answered(&mut self, index: u32, mut spanning: Box<Spanning>, shard: ShardId, reply: &[u8]) {
        let mut run = spanning.script.take().expect("it runs a script");
        match run.answered(shard, reply) {
            Ok(bytes) if self.carry(&mut spanning, bytes) => {}
            Ok(_) => spanning.fail(&error_reply(TOO_MUCH)),
            Err(reply) => spanning.fail(&reply),
        }
        spanning.script = Some(run);
        spanning.awaited -= 1;
        match spanning.awaited {
            0 => self.let_script_go_on(index, spanning),
            _ => self.tasks.put(index, Task::Spanning(spanning)),
        }
    }
}
