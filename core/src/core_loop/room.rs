//! Room for what a command may cause: in a connection, in the outbox, in the shards.

use super::core::Core;
use crate::clients::Connection;
use crate::entry::request::Mode;
use crate::ids::{CoreId, ShardId};
use crate::limits;
use crate::node::CoreStats;
use crate::shard::Shard;

impl Core {
    /// Returns whether another command of this connection may be started.
    pub(super) fn may_decode(&self, connection: &Connection) -> bool {
        self.has_room(connection)
            && self.stopping.is_none()
            && !self.outbox.is_backlogged()
            && !self.clock.is_used_up
            && !self.has_handed_over_much()
    }

    /// Returns whether another message may be published.
    pub(super) fn may_publish(&self) -> bool {
        self.fanout.may_publish() && !self.outbox.has_much_published()
    }

    /// Returns whether clients were given so much that it must be looked at first what they all hold.
    pub(super) fn has_handed_over_much(&self) -> bool {
        // However little they may hold, who was given less is not closed for it.
        let much = (self.live.client_bytes_max / limits::CLIENT_LOOKS).max(limits::EVICTED_BYTES_MIN);
        self.clients.handed_over_bytes as u64 >= much
    }

    /// Returns whether a connection has taken enough of its replies to be sent more.
    pub(super) fn takes_replies(&self, connection: &Connection) -> bool {
        self.ring.output_bytes(connection.ring) <= limits::OUTPUT_BYTES_STALLED
    }

    /// Returns whether the connection itself is not full of what it has not been answered or not taken.
    pub(super) fn has_room(&self, connection: &Connection) -> bool {
        let barred = connection.barrier && !connection.is_caught_up();
        !barred
            && connection.may_send()
            && self.ring.output_bytes(connection.ring) + connection.ready_bytes() <= limits::OUTPUT_BYTES_STALLED
    }

    /// Returns whether a connection that was stalled should go on now that it has been answered something.
    pub(super) fn try_resume(&mut self, connection: &mut Connection) -> bool {
        if let Some(waits_for) = connection.waits_for {
            // The read that waits for a place among the writes of its shard may need none any more.
            if !(waits_for.is_read_in_order() && connection.ordered_unanswered == 0) {
                return false;
            }
            self.clients.stalled.leave(waits_for);
            connection.waits_for = None;
        }
        self.has_room_again(connection)
    }

    /// Returns whether a connection that was full has so much room again that it is worth while to go on.
    fn has_room_again(&self, connection: &Connection) -> bool {
        self.has_room(connection) && connection.may_send_again()
    }

    /// Returns whether some shard may have no room for what a command asks of it.
    pub(super) fn some_shard_is_full(&self) -> bool {
        self.shards.iter().flatten().any(Shard::is_backlogged) || self.server.some_shard_is_full()
    }

    /// Returns whether a request of `mode` may be sent to `shard`, of this core or another.
    pub(super) fn shard_has_room(&self, shard: ShardId, mode: Mode) -> bool {
        match self.seat(shard) {
            // One that has failed has room for refusals.
            Some(local) => local.takes_nothing() || local.has_room_for(mode),
            None => self.server.shard_takes(shard, mode),
        }
    }

    /// Returns the bytes that a connection may have sent and that are not decoded. Whoever has not read its replies may be about to
    /// send all of its requests first: they are taken, as far as there is memory for them, or neither side would ever go on.
    pub(super) fn input_bytes_max(&self, connection: &Connection) -> usize {
        // One that was full is decoded again only then: until then its client may wait for its requests to be taken. Of one that
        // waits for elements or followers it must be heard when it hangs up, which comes behind all that it has sent.
        let takes_replies = self.ring.output_bytes(connection.ring) < limits::OUTPUT_BYTES_TAKEN;
        if takes_replies && !connection.is_waiting() {
            return limits::INPUT_BYTES_STALLED;
        }
        let all: u64 = self.server.cores.iter().map(CoreStats::client_bytes).sum();
        let has_memory = all + self.clients.handed_over_bytes as u64 <= self.live.client_bytes_max / 4 * 3;
        if has_memory { self.live.query_bytes_max } else { limits::INPUT_BYTES_STALLED }
    }

    /// Returns whether requests of `from` are taken now: there is room for their replies, and to set them aside if need be.
    pub(super) fn takes_requests_of(&self, from: CoreId) -> bool {
        !self.clock.is_used_up && !self.inbox.set_aside.is_full() && self.outbox.has_room_for_replies(from)
    }
}
