//! Calls and transactions whose keys are in several shards, and the way they are executed.

use basalt_net::resp::{Protocol, Reply};

use super::Spanning;
use crate::clients::{Connection, Expects, ReplyMode, Transaction};
use crate::commands::facts::Flags;
use crate::commands::{
    Args, Command, CommandError, Kind, Merge, MultiShard, OverShards, Run, Scatter, parse_usize, run_on_nothing, table,
};
use crate::core_loop::core::Core;
use crate::entry::request::{self, ArgList, RequestHeader};
use crate::ids::{ShardId, Ticket};
use crate::multi_shard::spanning::{
    Carried, Members, MoveElement, MoveMember, MustBeCarried, PlannedCall, PopFirst, SetIfNone, Side, Surroundings,
    Work,
};

/// The shards of a command or transaction, and what is made of their replies.
pub(in crate::core_loop) type Planned = (Vec<Side>, Box<dyn Work>);

/// Returns whether calls of a command may have keys in several shards, and are executed as one then.
fn may_span(command: &Command) -> bool {
    let (first, last, _) = command.facts.keys;
    let has_many = first != last || command.facts.flags.contains(Flags::MOVABLEKEYS);
    match command.scatter {
        Scatter::Keys => has_many && command.over_shards != OverShards::Refused && command.waits.is_none(),
        Scatter::Split { merge: Merge::Ok, .. } | Scatter::MultiShard(MultiShard::Rename | MultiShard::Copy) => true,
        _ => false,
    }
}

impl Core {
    /// Returns whether a call has keys in several shards, or concerns all of them, and is executed as one.
    pub(in crate::core_loop) fn spans(&self, command: &Command, args: Args<'_>) -> bool {
        let router = &self.routing.router;
        if router.is_whole() || self.routing.cluster.is_some() {
            return false;
        }
        // Seen in all shards or in none: a database that is emptied while it is swapped is the one or the other.
        let is_flush = matches!(command.scatter, Scatter::AllShards { merge: Merge::Ok });
        if command.changes_functions.is_some() || command.swaps_databases || is_flush {
            return router.first_shard().is_some();
        }
        if !may_span(command) {
            return false;
        }
        let mut shards = command.keys(args).map(|key| router.shard_of(args[key]));
        let first = shards.next();
        first.is_some() && router.first_shard().is_some() && shards.any(|shard| Some(shard) != first)
    }

    /// Starts a call whose keys are in several shards. What its connection has sent before is answered.
    pub(in crate::core_loop) fn span_call(
        &mut self,
        connection: &mut Connection,
        command: &'static Command,
        run: Run,
        args: Args<'_>,
    ) {
        let (protocol, db) = (connection.session.protocol, connection.session.db);
        let planned = self.plan_call(&PlannedCall { protocol, db, now_ms: self.clock.now_ms, command, run, args });
        self.span_planned(connection, command, planned, args);
    }

    /// Starts a call that was planned, unless there is a reason not to.
    pub(in crate::core_loop) fn span_planned(
        &mut self,
        connection: &mut Connection,
        command: &'static Command,
        planned: Result<Planned, CommandError>,
        args: Args<'_>,
    ) {
        let planned = match planned.and_then(|planned| self.check_room(&planned).map(|()| planned)) {
            Ok(planned) => planned,
            Err(error) => return self.fail(connection, command.id, &error),
        };
        let silent = connection.session.reply_mode != ReplyMode::On;
        let is_write = matches!(command.kind, Kind::Write(_));
        let place = connection.open_place(Expects::of(command, args), is_write, silent);
        // Nothing that follows may overtake it in a shard.
        connection.barrier = true;
        let (ticket, protocol) = (self.ticket(connection, place, 0), connection.session.protocol);
        self.begin_spanning(Spanning::new((ticket, protocol, command.id), planned, None).called_by(connection));
    }

    /// Plans a call of a script, whose keys may be in one shard.
    pub(super) fn plan_script_call(&self, call: &PlannedCall<'_>) -> Result<Planned, CommandError> {
        let PlannedCall { protocol, db, command, args, .. } = *call;
        let mut shards = command.keys(args).map(|key| self.routing.router.shard_of(args[key]));
        let first = shards.next();
        if shards.any(|shard| Some(shard) != first) {
            return self.plan_call(call);
        }
        let mut bytes = Vec::new();
        let header = RequestHeader { seed: command.seed(), ..RequestHeader::new(protocol, db, command.id) };
        request::encode(&mut bytes, header, args[1..].iter().copied());
        self.plan_members([bytes].iter().map(Vec::as_slice), (protocol, call.now_ms), false)
    }

    /// Plans a call whose keys are in several shards.
    fn plan_call(&self, call: &PlannedCall<'_>) -> Result<Planned, CommandError> {
        let PlannedCall { protocol, db, now_ms, command, run, args } = *call;
        let (router, at) = (&self.routing.router, (protocol, db));
        let encode = || {
            let mut bytes = Vec::new();
            let header = RequestHeader { seed: command.seed(), ..RequestHeader::new(at.0, at.1, command.id) };
            request::encode(&mut bytes, header, args[1..].iter().copied());
            bytes
        };
        let has_pairs = command.facts.keys.2 == 2;
        if has_pairs && args.len().is_multiple_of(2) {
            return Err(CommandError::wrong_argument_count(command.name()));
        }
        if matches!(command.scatter, Scatter::AllShards { .. }) {
            run_on_nothing(run, args, &mut Reply::new(&mut Vec::new(), at.0))?;
        }
        if matches!(command.scatter, Scatter::Split { .. } | Scatter::AllShards { .. }) {
            return self.plan_members([encode()].iter().map(Vec::as_slice), (at.0, now_ms), false);
        }
        if !matches!(command.over_shards, OverShards::Carried | OverShards::IfNone) {
            run_on_nothing(run, args, &mut Reply::new(&mut Vec::new(), at.0))?;
        }
        Ok(match command.over_shards {
            OverShards::IfNone => boxed(SetIfNone::plan(router, at.0, at.1, args)),
            OverShards::MoveMember => boxed(MoveMember::plan(router, at, args)),
            OverShards::MoveElement => boxed(MoveElement::plan(router, at, args)),
            OverShards::PopFirst(count) => {
                let end = 2 + parse_usize(args[1])?;
                boxed(PopFirst::plan(router, at, args, end, (command.name().as_bytes(), count.as_bytes())))
            }
            OverShards::Carried | OverShards::Refused => {
                boxed(Carried::plan(vec![encode()], router, false, self.surroundings(at.0, now_ms))?)
            }
        })
    }

    /// Checks that a command which stands beside scripts can be executed over several shards.
    ///
    /// # Errors
    /// That it is not, and its transaction with it; other errors are replies.
    pub(in crate::core_loop) fn check_over_shards(&self, bytes: &[u8]) -> Result<(), CommandError> {
        let mut args = ArgList::new();
        args.push(b"");
        let header = request::decode(bytes, &mut args).expect("it was encoded by this core");
        let command = table::by_id(header.command).expect("it was found in the table");
        args[0] = command.name().as_bytes();
        let (Kind::Read(run) | Kind::Write(run)) = command.kind else { unreachable!("it runs on a shard") };
        let (protocol, db, now_ms) = (header.protocol, header.db, self.clock.now_ms);
        match self.plan_script_call(&PlannedCall { protocol, db, now_ms, command, run, args: &args }) {
            Err(error) if error.to_string().starts_with("CROSSSLOT") => Err(error),
            _ => Ok(()),
        }
    }

    fn surroundings(&self, protocol: Protocol, now_ms: u64) -> Surroundings {
        Surroundings {
            protocol,
            now_ms,
            string_bytes_max: self.live.resp_limits.bulk_bytes_max,
            bounds: self.server.reply_bounds(),
            told: self.live.key_events.classes(),
        }
    }

    pub(in crate::core_loop) fn plan_members<'c>(
        &self,
        commands: impl Iterator<Item = &'c [u8]> + Clone,
        (protocol, now_ms): (Protocol, u64),
        is_transaction: bool,
    ) -> Result<Planned, CommandError> {
        let router = &self.routing.router;
        match Members::plan(commands.clone(), router, is_transaction) {
            Ok(planned) => Ok(boxed(planned)),
            Err(MustBeCarried::Yes) => {
                let commands = commands.map(<[u8]>::to_vec).collect();
                Ok(boxed(Carried::plan(commands, router, is_transaction, self.surroundings(protocol, now_ms))?))
            }
            Err(MustBeCarried::Refused(error)) => Err(error),
        }
    }

    /// Plans a transaction whose commands have keys in several shards.
    ///
    /// # Errors
    /// That it cannot be executed.
    pub(in crate::core_loop) fn plan_spanning(
        &self,
        protocol: Protocol,
        transaction: &Transaction,
    ) -> Result<Planned, CommandError> {
        let keyed = (0..transaction.len()).filter(|index| transaction.is_keyed(*index));
        let commands = keyed.map(|index| transaction.command(index));
        let planned = self.plan_members(commands, (protocol, self.clock.now_ms), true)?;
        self.check_room(&planned)?;
        Ok(planned)
    }

    /// Starts a transaction that was planned, for a reply in `place`; with the watch of its connection, and the shards of that.
    pub(in crate::core_loop) fn span_transaction(
        &mut self,
        connection: &mut Connection,
        place: u64,
        asked: u16,
        planned: Planned,
        watch: Option<(u64, Vec<ShardId>)>,
    ) {
        let (ticket, protocol): (Ticket, Protocol) = (self.ticket(connection, place, 0), connection.session.protocol);
        self.begin_spanning(Spanning::new((ticket, protocol, asked), planned, watch).called_by(connection));
    }
}

fn boxed<W: Work + 'static>((sides, work): (Vec<Side>, W)) -> Planned {
    (sides, Box::new(work))
}
