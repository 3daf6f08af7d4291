//! Elements that go to another shard for a client that waits for them (BLMOVE, BRPOPLPUSH): a command over shards, run by this core
//! whenever the shard of the source says that there is one.
//!
//! What a newcomer would get wrong: while something is being moved the wait does not end, whatever asks for that. The end is noted,
//! and told to the shard when the move is over: it takes what there is, or nothing.

use basalt_net::resp::Protocol;

use super::core::Core;
use super::spanning::Spanning;
use crate::clients::{Connection, Wait, WaitEnd, WaitStage};
use crate::commands::{CommandError, is_nothing};
use crate::ids::{Origin, ShardId, Ticket};
use crate::mail::Message;
use crate::multi_shard::spanning::{MoveElement, MovedFor};

/// The number of the part of a wait that is the move.
pub(super) const PART_OF_MOVE: usize = 1;

impl Core {
    /// Takes the news that there is an element for the client behind `ticket`; or that its source is no list, which the client is
    /// to be told. Its request stays open.
    pub(super) fn found_to_move(&mut self, ticket: Ticket, is_list: bool) {
        let Some(request) = self.pending.get(ticket).copied() else { return };
        let Some(mut connection) = self.take_connection(request.connection) else { return };
        // Also if its time is over by now: it was not when the shard looked for the first time, or that look came late.
        let is_wanted = |wait: &Wait| wait.place == request.place && !wait.claim.gets_nothing() && !wait.is_moving;
        if let Some(wait) = connection.wait.take_if(|wait| is_wanted(wait) && wait.stage == WaitStage::Waiting) {
            self.begin_move(&mut connection, *wait, is_list);
        }
        self.put_connection(connection);
    }

    fn begin_move(&mut self, connection: &mut Connection, mut wait: Wait, is_list: bool) {
        wait.is_moving = true;
        match self.plan_move(&wait, is_list) {
            Ok(planned) => {
                let (protocol, command): (Protocol, u16) = (wait.pop.protocol, wait.pop.command);
                let ticket = self.ticket(connection, wait.place, PART_OF_MOVE as u32);
                connection.wait = Some(Box::new(wait));
                self.begin_spanning(Spanning::new((ticket, protocol, command), planned, None));
            }
            Err(error) => self.moved(connection, wait, format!("-{error}\r\n").as_bytes()),
        }
    }

    fn plan_move(&self, wait: &Wait, is_list: bool) -> Result<super::spanning::Planned, CommandError> {
        if self.routing.cluster.is_some() {
            // The node has become one of a cluster meanwhile.
            return Err(CommandError::CROSS_SHARD);
        }
        let words = wait.moves.as_deref().expect("it waits for what its core moves");
        let args: Vec<&[u8]> = words.iter().map(|word| &**word).collect();
        let moved_for = MovedFor { claim: wait.claim.clone(), ignores_other_types: is_list };
        let at = (wait.pop.protocol, wait.pop.db);
        let (sides, work) = MoveElement::plan(&self.routing.router, at, &args);
        let planned: super::spanning::Planned = (sides, Box::new(work.for_waiter(moved_for)));
        self.check_room(&planned)?;
        Ok(planned)
    }

    /// Takes what has come of a move. The wait goes on if that is nothing.
    pub(super) fn moved(&mut self, connection: &mut Connection, mut wait: Wait, reply: &[u8]) {
        wait.is_moving = false;
        // Nothing was executed, for a reason that passes.
        let is_busy = reply.starts_with(b"-BUSY ");
        if !is_busy && !is_nothing(reply) {
            wait.take_reply(reply);
        }
        if wait.is_answered() {
            return self.finish_wait(connection, wait);
        }
        if wait.reply.is_some() || wait.ending.is_some() {
            self.tell_of_end(connection.ring, &mut wait, WaitEnd::Ended);
        } else {
            let client = super::dispatch::client_number(connection.ring);
            let open = wait.parts.iter().filter_map(|part| Some((part.shard, part.ticket?)));
            for (shard, ticket) in open.collect::<Vec<_>>() {
                self.ask_shard_to_wait_on(shard, Origin { core: self.id, client, ticket }, is_busy);
            }
        }
        connection.wait = Some(Box::new(wait));
    }

    fn ask_shard_to_wait_on(&mut self, shard: ShardId, origin: Origin, for_later: bool) {
        if self.seat(shard).is_some() {
            self.wait_on_in_shard(shard, origin, for_later);
        } else if let Some(core) = self.routing.router.core_of(shard).filter(|core| *core != self.id) {
            self.outbox.control(core, Message::WaitOn(origin, shard, for_later));
        }
    }

    /// Has a client wait on in a shard of this core. One that is gone has told it.
    pub(super) fn wait_on_in_shard(&mut self, shard: ShardId, origin: Origin, for_later: bool) {
        if let Some(local) = self.shards.get_mut(shard.index()).and_then(Option::as_mut) {
            local.wait_on_to_move(origin, for_later, self.clock.now_ms, &mut self.outbox);
        }
    }
}
