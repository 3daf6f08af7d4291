//! The intake of what clients have sent: from the ring's events to commands that are started.

use basalt_net::resp::{Decoded, Limits};
use basalt_net::ring::{ConnId, Event};

use super::core::Core;
use crate::clients::{Connection, Gate, Started};
use crate::limits;

/// The limits of what a client sends that has not said who it is, as in Redis.
const UNKNOWN_CLIENT: Limits = Limits {
    inline_bytes_max: limits::INLINE_BYTES_MAX,
    args_max: limits::UNKNOWN_CLIENT_ARGS_MAX,
    bulk_bytes_max: limits::UNKNOWN_CLIENT_BULK_BYTES_MAX,
    request_bytes_max: limits::UNKNOWN_CLIENT_ARGS_MAX
        * (limits::UNKNOWN_CLIENT_BULK_BYTES_MAX + limits::INLINE_BYTES_MAX),
};

impl Core {
    /// Handles everything the ring has collected; returns how many events there were.
    pub fn take_ring_events(&mut self) -> usize {
        let mut count = 0;
        while let Some(event) = self.ring.next_event() {
            count += 1;
            let Some(event) = self.take_peer_event(event) else { continue };
            let Some(event) = self.take_relay_event(event) else {
                self.note_work();
                continue;
            };
            if !matches!(event, Event::Woken) {
                self.note_work();
            }
            match event {
                Event::Accepted(_, socket) => self.deal(socket),
                Event::AcceptFailed(_, errno) => {
                    let error = std::io::Error::from_raw_os_error(errno);
                    tracing::warn!(%error, "a connection could not be accepted; trying again");
                }
                Event::Received(connection, input) => self.received(connection, &input),
                Event::Closed(connection, reason) => self.closed(connection, reason),
                Event::Writable(connection) => self.clients.stalled.push(connection),
                // Nobody but the links makes connections, or gives them away.
                Event::Woken | Event::Connected(_) | Event::Released(..) => {}
            }
        }
        self.hand_over_peers();
        count
    }

    /// Decodes what a connection sent.
    pub(super) fn received(&mut self, id: ConnId, data: &[u8]) {
        self.stats().bytes_in.add(data.len() as u64);
        let Some(mut connection) = self.take_connection(id) else { return };
        connection.session.active = self.clock.now;
        self.traffic.heard(&mut connection.heard_in);
        if connection.session.closing {
            // What comes after QUIT or after bytes that made no sense is not looked at.
            self.clients.connections[id.index()] = Some(connection);
            return;
        }
        if connection.input.is_empty() && !connection.stalled {
            let consumed = self.decode(&mut connection, data);
            connection.input.push(&data[consumed..]);
        } else {
            self.clients.handed_over_bytes += data.len();
            connection.input.push(data);
            if !connection.stalled {
                self.decode_kept(&mut connection);
            }
        }
        self.put_connection(connection);
    }

    /// Decodes from a connection's own input buffer.
    pub(super) fn decode_kept(&mut self, connection: &mut Connection) {
        let mut input = std::mem::take(&mut connection.input);
        let consumed = self.decode(connection, input.unread());
        input.consume(consumed);
        connection.input = input;
    }

    /// Decodes and starts commands until `input` holds no whole one or there is no room for more; returns how many bytes
    /// were used.
    fn decode(&mut self, connection: &mut Connection, input: &[u8]) -> usize {
        let mut used = 0;
        let mut argv = std::mem::take(&mut self.argv);
        while used < input.len() && !connection.session.closing {
            connection.barrier &= !connection.is_caught_up();
            if !self.may_decode(connection) {
                connection.stalled = true;
                if self.has_room(connection) && self.stopping.is_none() {
                    // It is not this connection that is full: it goes on when the core has worked something off.
                    self.clients.stalled.push(connection.ring);
                }
                break;
            }
            let limits = if connection.session.gate == Gate::Locked { &UNKNOWN_CLIENT } else { &self.live.resp_limits };
            match connection.decoder.decode(&input[used..], limits, &mut argv) {
                Ok(Decoded::Incomplete { missing }) => {
                    let waiting = input.len() - used;
                    if waiting + missing > self.live.query_bytes_max {
                        tracing::warn!(
                            client = connection.session.id,
                            "client closed: its query buffer is over the limit"
                        );
                        connection.session.closing = true;
                        used = input.len();
                    }
                    break;
                }
                Ok(Decoded::Command { consumed }) => {
                    if argv.is_empty() {
                        used += consumed;
                        continue;
                    }
                    match self.command(connection, &argv, &input[used..]) {
                        Started::Yes => used += consumed,
                        // It is decoded again once all before it is answered.
                        Started::WaitsForReplies => connection.barrier = true,
                        // Or once there is room for it.
                        Started::WaitsForFanout => {
                            connection.stalled = true;
                            self.fanout.wait(connection.ring);
                            break;
                        }
                        // Its client is gone.
                        Started::WaitsForPause if connection.ended => {
                            connection.session.closing = true;
                            used = input.len();
                        }
                        Started::WaitsForPause => {
                            connection.stalled = true;
                            self.pause.wait(connection.ring);
                            break;
                        }
                        Started::WaitsForShard(shard, mode) => {
                            connection.stalled = true;
                            connection.waits_for = Some(self.clients.stalled.wait(connection.ring, shard, mode));
                            break;
                        }
                    }
                }
                Err(error) => {
                    self.stats().error_replies.count(b"ERR");
                    self.reply_with(connection, |reply| reply.protocol_error(&error));
                    connection.session.closing = true;
                    used = input.len();
                }
            }
        }
        self.argv = argv;
        connection.session.closing |= connection.ended && !connection.stalled;
        used
    }
}
