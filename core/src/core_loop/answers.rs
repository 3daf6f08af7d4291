//! Replies of shards, from the batches and from other cores, to the connections that wait for them.

use super::core::Core;
use super::pending::NOBODY;
use super::spanning::is_of_task;
use crate::clients::Connection;
use crate::entry::script_trial::SENT_BACK;
use crate::ids::Ticket;
use crate::mail::ReplyBatch;
use crate::shard::{FOUND, NO_LIST};

impl Core {
    /// Takes the outcomes of this core's batches, and gives the replies that are due to its own connections. Scripts over several
    /// shards go on with theirs.
    pub fn take_outcomes(&mut self) -> usize {
        let mut count = 0;
        for shard in self.shards.iter_mut().flatten() {
            count += shard.take_outcomes(self.clock.now_ms, &mut self.outbox);
        }
        // Only once a turn: the steps of a long walk take turns with everything else.
        if let Some(replies) = self.outbox.take_local_replies() {
            count += replies.heads.len();
            self.deliver(&replies);
            self.outbox.recycle_local_replies(replies);
        }
        count + self.run_ready_scripts()
    }

    /// Gives replies to the connections that wait for them.
    pub(super) fn deliver(&mut self, replies: &ReplyBatch) {
        let mut start = 0;
        for &(ticket, end) in &replies.heads {
            self.answer(ticket, &replies.bytes[start..end]);
            start = end;
        }
    }

    pub(super) fn answer(&mut self, ticket: Ticket, reply: &[u8]) {
        let reply = match reply {
            FOUND | NO_LIST => return self.found_to_move(ticket, reply == FOUND),
            [0, ..] => self.publish_before(reply),
            _ => reply,
        };
        let request = self.pending.take(ticket);
        if request.place == NOBODY {
            return;
        }
        if is_of_task(request.place) {
            return self.task_answered(request, reply);
        }
        let index = request.connection.index();
        let Some(mut connection) = self.clients.connections.get_mut(index).and_then(Option::take) else { return };
        if connection.ring != request.connection {
            self.clients.connections[index] = Some(connection);
            return;
        }
        connection.ordered_unanswered -= u32::from(request.ordered);
        if connection.wait.as_ref().is_some_and(|wait| wait.place == request.place) {
            self.wait_answered(&mut connection, request.part as usize, reply);
        } else if let Some(step) = reply.strip_prefix(SENT_BACK) {
            self.take_sent_back(&mut connection, request.place, step);
        } else if connection.coordinator(request.place).is_some() {
            self.note_replicated(&mut connection, request.place, request.part as usize, reply);
            self.advance(&mut connection, request.place, request.part as usize, reply);
        } else {
            self.fill(&mut connection, request.place, reply);
        }
        self.put_answered(connection);
    }

    /// Puts a connection back to which replies were given.
    pub(super) fn put_answered(&mut self, mut connection: Box<Connection>) {
        let index = connection.ring.index();
        if connection.has_piece() {
            self.send_pieces(&mut connection);
        }
        if connection.has_paused_relays {
            self.take_more_replies(&mut connection);
        }
        self.run_sent_back(&mut connection);
        let waits_for_client = connection.paused && !self.takes_replies(&connection);
        let try_resume = connection.stalled && (waits_for_client || self.try_resume(&mut connection));
        let unread = self.ring.output_bytes(connection.ring) + connection.ready_bytes();
        let is_over =
            self.live.output_is_newly_over(connection.session.is_listening(), unread, connection.output_over_since);
        if try_resume || is_over || (connection.session.closing && connection.is_caught_up()) {
            self.clients.stalled.push(connection.ring);
        }
        self.clients.connections[index] = Some(connection);
    }
}
