//! Clients of this core that wait for elements of keys (BLPOP and the like).
//!
//! A client that waits has a place in the order of its connection's replies, and nothing of its connection is run behind it. It
//! waits in the shards of its keys ([`crate::shard::Shard::wait`]), each of which has one request of it open and answers that
//! once. The first reply with something ends the wait in the others; the client is answered when all have let go of it.
//!
//! What a newcomer would get wrong: of several shards the first key that is there is wanted, in the order in which the client has
//! named them. So they are all asked before the client waits in any.

use std::collections::BTreeMap;
use std::time::{Duration, Instant};

use basalt_net::resp::{Protocol, Reply, value};
use basalt_net::ring::ConnId;

use super::core::Core;
use super::wait_moves::PART_OF_MOVE;
use crate::clients::{Connection, Expects, ReplyMode, Wait, WaitEnd, WaitPart, WaitStage};
use crate::commands::table::{STEP_LOOK, STEP_MOVE};
use crate::commands::{Args, Command, CommandError, Run, WaitCall, Waits, is_nothing, run_on_nothing};
use crate::entry::request::{self, Mode, RequestHeader};
use crate::entry::waiting::{Pop, WaitOrder, Wanted};
use crate::ids::{Origin, ShardId, Ticket};
use crate::limits;
use crate::mail::{Message, Unblocking};

/// The reply to clients that wait when the node stops, in the words that Redis has for the loss of a master.
const STOPPING: &[u8] =
    b"-UNBLOCKED force unblock from blocking operation, instance state changed (master -> replica?)\r\n";

const BY_COMMAND: &[u8] = b"-UNBLOCKED client unblocked via CLIENT UNBLOCK\r\n";

/// The moments at which waits end.
#[derive(Debug, Default)]
pub(super) struct WaitDeadlines {
    /// With numbers that make them different.
    by_time: BTreeMap<(Instant, u64), ConnId>,
    next: u64,
}

impl WaitDeadlines {
    pub(super) fn add(&mut self, at: Instant, connection: ConnId) -> (Instant, u64) {
        let deadline = (at, self.next);
        self.next += 1;
        self.by_time.insert(deadline, connection);
        deadline
    }

    pub(super) fn remove(&mut self, deadline: (Instant, u64)) {
        self.by_time.remove(&deadline);
    }

    fn pop_due(&mut self, now: Instant) -> Option<ConnId> {
        let first = self.by_time.first_entry().filter(|first| first.key().0 <= now)?;
        Some(first.remove())
    }

    /// The time until the next one, if there is one.
    pub(super) fn next_in(&self, now: Instant) -> Option<Duration> {
        let (&(at, _), _) = self.by_time.first_key_value()?;
        Some(at.saturating_duration_since(now).max(limits::WAIT_SLEEP_MIN))
    }
}

/// Checks the number of keys for which a command is to wait: `most` are the most.
pub(super) fn check_key_count(count: usize, most: usize) -> Result<(), CommandError> {
    match count > most {
        true => Err(CommandError::owned(format!("ERR a command may wait for {most} keys at most, not for {count}"))),
        false => Ok(()),
    }
}

/// The reply to a client whose time is over.
fn over(protocol: Protocol) -> Vec<u8> {
    let mut bytes = Vec::new();
    Reply::new(&mut bytes, protocol).null_array();
    bytes
}

impl Core {
    /// Starts a command that waits if its keys have nothing for it.
    pub(super) fn begin_wait(
        &mut self,
        connection: &mut Connection,
        command: &'static Command,
        waits: Waits,
        run: Run,
        args: Args<'_>,
    ) {
        let (call, moves) = match self.check_wait(connection, command, waits, run, args) {
            Ok(checked) => checked,
            Err(error) => return self.fail(connection, command.id, &error),
        };
        if moves && connection.ended {
            // Whoever sends nothing more gets what there is.
            return self.span_call(connection, command, run, args);
        }
        let keys = &args[call.keys.clone()];
        let parts = self.wait_parts(keys);
        let copied = |args: Args<'_>| args.iter().map(|&arg| Box::from(arg)).collect::<Vec<Box<[u8]>>>();
        // The number of keys is that of a call.
        let before_end = call.keys.start - usize::from(call.is_counted);
        let pop = Pop {
            command: command.id,
            call: if waits.has_destination() { STEP_MOVE } else { command.id },
            protocol: connection.session.protocol,
            db: connection.session.db,
            kind: waits.kind,
            has_destination: waits.has_destination() && !moves,
            is_counted: call.is_counted,
            before: copied(&args[1..before_end]),
            after: copied(&args[call.keys.end..]),
        };
        let silent = connection.session.reply_mode != ReplyMode::On;
        let place = connection.open_place(Expects::of(command, args), true, silent);
        let wanted = if moves { Wanted::ElementsToMove } else { Wanted::Elements };
        let mut wait = Wait::new(place, pop, keys, wanted, parts);
        wait.moves = moves.then(|| copied(args).into());
        self.open_wait(connection, &mut wait, call.timeout);
        if wait.parts.len() > 1 {
            self.look_first(connection, wait);
        } else {
            self.wait_in_shards(connection, wait);
        }
    }

    /// The shards of keys, each with the positions of its own.
    pub(super) fn wait_parts(&self, keys: Args<'_>) -> Vec<WaitPart> {
        let mut parts: Vec<WaitPart> = Vec::new();
        for (index, key) in keys.iter().enumerate() {
            let shard = self.routing.router.shard_of(key);
            let at = parts.iter().position(|part| part.shard == shard).unwrap_or_else(|| {
                parts.push(WaitPart::new(shard));
                parts.len() - 1
            });
            parts[at].keys.push(index);
        }
        parts
    }

    /// Begins a wait of `timeout` at most: nothing of its connection is run behind it.
    pub(super) fn open_wait(&mut self, connection: &mut Connection, wait: &mut Wait, timeout: Option<Duration>) {
        // Whoever sends nothing more gets what there is, and is not waited for.
        let timeout = if connection.ended { Some(Duration::ZERO) } else { timeout };
        let deadline = timeout.and_then(|timeout| Instant::now().checked_add(timeout));
        wait.deadline = deadline.map(|at| self.clients.waits.add(at, connection.ring));
        let with_deadline = &self.stats().waits_with_deadline;
        with_deadline.set(with_deadline.get() + u64::from(wait.deadline.is_some()));
        connection.session.claim = Some(wait.claim.clone());
        connection.barrier = true;
    }

    /// Reads a call, and says what is wrong with it. True if it has to move elements to another shard.
    fn check_wait(
        &self,
        connection: &Connection,
        command: &Command,
        waits: Waits,
        run: Run,
        args: Args<'_>,
    ) -> Result<(WaitCall, bool), CommandError> {
        let mut nothing = Vec::new();
        run_on_nothing(run, args, &mut Reply::new(&mut nothing, connection.session.protocol))?;
        let call = waits.read(args)?;
        check_key_count(call.keys.len(), limits::WAITED_KEYS_MAX)?;
        let router = &self.routing.router;
        let mut shards = command.keys(args).map(|key| router.shard_of(args[key]));
        let first = shards.next();
        let moves = waits.has_destination() && shards.any(|shard| Some(shard) != first);
        if moves && self.routing.cluster.is_some() {
            return Err(CommandError::CROSS_SHARD);
        }
        Ok((call, moves))
    }

    /// Asks all shards which of the keys are there.
    fn look_first(&mut self, connection: &mut Connection, mut wait: Wait) {
        wait.stage = WaitStage::Looking;
        wait.asked = wait.parts.len();
        let Pop { protocol, db, command, .. } = wait.pop;
        let header = RequestHeader { asked: command, ..RequestHeader::new(protocol, db, STEP_LOOK) };
        for (number, part) in (0..).zip(&wait.parts) {
            let encode = |out: &mut Vec<u8>| {
                request::encode(out, header, part.keys.iter().map(|&index| &*wait.keys[index]));
            };
            self.send(connection, wait.place, number, part.shard, Mode::Read, None, encode);
        }
        connection.wait = Some(Box::new(wait));
    }

    /// Has the first key that is there asked for something.
    fn try_first(&mut self, connection: &mut Connection, mut wait: Wait, first: usize) {
        wait.stage = WaitStage::Trying;
        wait.asked = 1;
        let of_first = |part: &&WaitPart| part.keys.contains(&first);
        let shard = wait.parts.iter().find(of_first).expect("every key is one of a part").shard;
        let encode = |out: &mut Vec<u8>| wait.pop.encode(out, [&*wait.keys[first]].into_iter(), &Wanted::Elements);
        self.send(connection, wait.place, 0, shard, Mode::Write, None, encode);
        connection.wait = Some(Box::new(wait));
    }

    /// Has the client wait in the shards of its keys.
    pub(super) fn wait_in_shards(&mut self, connection: &mut Connection, mut wait: Wait) {
        wait.stage = WaitStage::Waiting;
        for index in 0..wait.parts.len() {
            let ticket = self.ticket(connection, wait.place, index as u32);
            wait.parts[index].ticket = Some(ticket);
        }
        let client = super::dispatch::client_number(connection.ring);
        for part in &wait.parts {
            connection.note_written(part.shard);
            let keys = part.keys.iter().map(|&key| wait.keys[key].clone()).collect();
            let wanted = wait.wanted.of_keys(&part.keys);
            let order = WaitOrder { pop: wait.pop.clone(), keys, wanted, claim: wait.claim.clone() };
            let ticket = part.ticket.expect("it was given above");
            self.ask_shard_to_wait(part.shard, Origin { core: self.id, client, ticket }, order);
        }
        // The shards have them now.
        wait.wanted = Wanted::Elements;
        if !wait.is_tracked {
            wait.keys = Vec::new();
        }
        wait.parts.iter_mut().for_each(|part| part.keys = Vec::new());
        connection.wait = Some(Box::new(wait));
        if let Some(out) = self.ring.output(connection.ring) {
            connection.release_behind_wait(out);
        }
    }

    fn ask_shard_to_wait(&mut self, shard: ShardId, origin: Origin, order: WaitOrder) {
        match self.routing.router.core_of(shard) {
            Some(core) if self.seat(shard).is_none() && core != self.id => {
                self.stats().forwarded.add(1);
                self.outbox.control(core, Message::Wait(origin, shard, Box::new(order)));
            }
            _ => self.wait_in_shard(shard, origin, order),
        }
    }

    /// Has a client, of this core or another, wait in a shard of this core.
    pub(super) fn wait_in_shard(&mut self, shard: ShardId, origin: Origin, order: WaitOrder) {
        match self.shards.get_mut(shard.index()).and_then(Option::as_mut) {
            Some(local) if !local.takes_nothing() => local.wait(origin, order, self.clock.now_ms, &mut self.outbox),
            _ => self.refuse_away(shard, origin),
        }
    }

    /// Has a client wait in a shard of this core no more.
    pub(super) fn end_wait_in_shard(&mut self, shard: ShardId, origin: Origin) {
        if let Some(local) = self.shards.get_mut(shard.index()).and_then(Option::as_mut) {
            local.end_wait(origin, &mut self.outbox);
        }
    }

    /// Takes a shard's reply to a part of a connection's wait.
    pub(super) fn wait_answered(&mut self, connection: &mut Connection, part: usize, reply: &[u8]) {
        let Some(mut wait) = connection.wait.take().map(|wait| *wait) else { return };
        match wait.stage {
            WaitStage::Looking => {
                wait.asked -= 1;
                match value::read_integer(reply) {
                    Some(index) => {
                        let here = usize::try_from(index).ok().and_then(|index| wait.parts[part].keys.get(index));
                        wait.first = wait.first.into_iter().chain(here.copied()).min();
                    }
                    None => wait.take_reply(reply),
                }
                match wait.first {
                    _ if wait.asked > 0 => connection.wait = Some(Box::new(wait)),
                    _ if wait.reply.is_some() => self.finish_wait(connection, wait),
                    // Also if its time was over before the shards had said so: it gets what is there, and only waits no more.
                    Some(first) => self.try_first(connection, wait, first),
                    None if wait.ending.is_some() => self.finish_wait(connection, wait),
                    None => self.wait_in_shards(connection, wait),
                }
            }
            WaitStage::Reading => self.entries_answered(connection, wait, part, reply),
            WaitStage::Trying => {
                if !is_nothing(reply) {
                    wait.take_reply(reply);
                }
                if wait.reply.is_some() || wait.ending.is_some() {
                    self.finish_wait(connection, wait);
                } else {
                    self.wait_in_shards(connection, wait);
                }
            }
            WaitStage::Waiting if part == PART_OF_MOVE && wait.moves.is_some() => self.moved(connection, wait, reply),
            WaitStage::Waiting => {
                wait.parts[part].ticket = None;
                wait.take_reply(reply);
                if wait.is_answered() {
                    return self.finish_wait(connection, wait);
                }
                if (wait.reply.is_some() || wait.ending.is_some()) && !wait.is_moving {
                    // Who got something gets nothing more; else whoever ended the wait has said how.
                    let how = if wait.reply.is_some() { WaitEnd::Ended } else { WaitEnd::Overdue };
                    self.tell_of_end(connection.ring, &mut wait, how);
                }
                connection.wait = Some(Box::new(wait));
            }
        }
    }

    /// Answers a client that waits no more.
    pub(super) fn finish_wait(&mut self, connection: &mut Connection, mut wait: Wait) {
        self.close_wait(&mut wait);
        connection.session.claim = None;
        let ending = wait.ending.unwrap_or_else(|| over(wait.pop.protocol));
        self.fill(connection, wait.place, &wait.reply.unwrap_or(ending));
        if wait.is_tracked && wait.stage == WaitStage::Waiting {
            self.tell_of_waited(connection, wait.keys);
        }
    }

    /// Ends a connection's wait with `ending`, unless something is being taken for its client. False if it does not wait.
    pub(super) fn end_wait(
        &mut self,
        connection: &mut Connection,
        how: WaitEnd,
        ending: impl FnOnce(Protocol) -> Vec<u8>,
    ) -> bool {
        let Some(mut wait) = connection.wait.take() else { return false };
        let protocol = wait.pop.protocol;
        wait.ending.get_or_insert_with(|| ending(protocol));
        if wait.stage == WaitStage::Waiting && !wait.is_moving {
            self.tell_of_end(connection.ring, &mut wait, how);
        }
        connection.wait = Some(wait);
        true
    }

    /// Ends the wait of a connection that is gone.
    pub(super) fn forget_wait(&mut self, connection: &mut Connection) {
        if let Some(mut wait) = connection.wait.take() {
            self.tell_of_end(connection.ring, &mut wait, WaitEnd::Ended);
            self.close_wait(&mut wait);
        }
    }

    /// Has nobody take anything for a wait any more, but at the first look if it is only overdue, and tells the shards that have
    /// not answered.
    pub(super) fn tell_of_end(&mut self, connection: ConnId, wait: &mut Wait, how: WaitEnd) {
        if wait.told >= Some(how) {
            return;
        }
        wait.told = Some(how);
        self.end_claim(wait, how);
        let client = super::dispatch::client_number(connection);
        let unanswered = |part: &WaitPart| part.ticket.map(|ticket: Ticket| (part.shard, ticket));
        let unanswered: Vec<(ShardId, Ticket)> = wait.parts.iter().filter_map(unanswered).collect();
        for (shard, ticket) in unanswered {
            let origin = Origin { core: self.id, client, ticket };
            if self.seat(shard).is_some() {
                self.end_wait_in_shard(shard, origin);
            } else if let Some(core) = self.routing.router.core_of(shard).filter(|core| *core != self.id) {
                self.outbox.control(core, Message::EndWait(origin, shard));
            }
        }
    }

    fn end_claim(&self, wait: &Wait, how: WaitEnd) {
        let was_waiting = match how {
            WaitEnd::Overdue => wait.claim.run_out(),
            WaitEnd::Ended => wait.claim.end(),
        };
        if was_waiting {
            let ended = &self.stats().waits_ended;
            ended.set(ended.get() + 1);
        }
    }

    /// Lets go of what a wait has beside its parts.
    fn close_wait(&mut self, wait: &mut Wait) {
        self.end_claim(wait, WaitEnd::Ended);
        if let Some(deadline) = wait.deadline.take() {
            self.clients.waits.remove(deadline);
            let with_deadline = &self.stats().waits_with_deadline;
            with_deadline.set(with_deadline.get() - 1);
        }
    }

    /// Ends the waits whose time is over; returns how many there were.
    pub(super) fn end_overdue_waits(&mut self) -> usize {
        let mut count = 0;
        while let Some(id) = self.clients.waits.pop_due(self.clock.now) {
            count += 1;
            let Some(mut connection) = self.take_connection(id) else { continue };
            if !self.end_replica_wait(&mut connection, None) {
                self.end_wait(&mut connection, WaitEnd::Overdue, over);
            }
            self.put_connection(connection);
        }
        count
    }

    /// Ends all waits, since the node stops.
    pub(super) fn end_all_waits(&mut self) {
        for index in 0..self.clients.connections.len() {
            let waits = |connection: &mut Box<Connection>| connection.is_waiting();
            let Some(mut connection) = self.clients.connections[index].take_if(waits) else { continue };
            if !self.end_replica_wait(&mut connection, Some(STOPPING)) {
                self.end_wait(&mut connection, WaitEnd::Ended, |_| STOPPING.to_vec());
            }
            self.put_connection(connection);
        }
    }

    /// Ends the wait of the client `id`, if it waits and is one of this core. Returns whether it was.
    pub(super) fn unblock(&mut self, id: u64, how: Unblocking) -> bool {
        let is_told = |connection: &Connection| connection.replica_wait.as_ref().is_some_and(|wait| wait.is_told);
        let is_meant = |connection: &Connection| {
            connection.session.id == id && connection.session.is_blocked() && !is_told(connection)
        };
        let mut connections = self.clients.connections.iter().flatten();
        let Some(found) = connections.find(|connection| is_meant(connection)).map(|found| found.ring) else {
            return false;
        };
        let Some(mut connection) = self.take_connection(found) else { return false };
        let instead = (how == Unblocking::Error).then_some(BY_COMMAND);
        let has_ended = self.end_replica_wait(&mut connection, instead);
        let has_ended = has_ended
            || self.end_wait(&mut connection, WaitEnd::Ended, |protocol| match how {
                Unblocking::Timeout => over(protocol),
                Unblocking::Error => BY_COMMAND.to_vec(),
            });
        self.put_connection(connection);
        has_ended
    }
}
