//! Replies on their way into a connection.

use basalt_net::resp::Reply;

use super::core::Core;
use crate::clients::Connection;

impl Core {
    /// Fills a place. The replies of a connection that takes none any more are dropped, but counted: it is closed once it has
    /// none to come.
    pub(super) fn fill(&mut self, connection: &mut Connection, place: u64, reply: &[u8]) {
        if !connection.kept.is_empty() && self.take_back(connection, place, reply) {
            return;
        }
        self.stats().note_reply(reply);
        self.clients.handed_over_bytes += reply.len();
        let mut nowhere = Vec::new();
        connection.fill(place, reply, self.ring.output(connection.ring).unwrap_or(&mut nowhere));
    }

    /// Adds a reply that is there at once, in its order.
    pub(super) fn reply_with(&mut self, connection: &mut Connection, write: impl FnOnce(&mut Reply<'_>)) {
        let protocol = connection.session.protocol;
        if connection.is_caught_up() {
            if let Some(out) = self.ring.output(connection.ring) {
                write(&mut Reply::new(out, protocol));
            }
        } else {
            let mut bytes = Vec::new();
            write(&mut Reply::new(&mut bytes, protocol));
            connection.push_ready(&bytes);
        }
    }
}
