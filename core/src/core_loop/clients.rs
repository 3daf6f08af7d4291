//! The clients of a core: how they come, how they go, and who is closed.

use std::net::TcpListener;
use std::os::fd::{AsFd, AsRawFd, OwnedFd};
use std::sync::atomic::Ordering;
use std::time::Instant;

use basalt_net::resp::{Protocol, Reply, value};
use basalt_net::ring::{CloseReason, ConnId};
use basalt_net::socket;

use super::core::Core;
use crate::clients::{ClientFilter, Connection, Session};
use crate::ids::CoreId;
use crate::limits;
use crate::mail::{Control, Message};
use crate::node::CoreStats;
use crate::session_commands::{ClientBuffers, client_line};

impl Core {
    /// Takes connections from `listener`, for all cores.
    pub fn listen(&mut self, listener: TcpListener) {
        self.ring.listen(listener);
    }

    /// Deals an accepted connection to the next core.
    pub(super) fn deal(&mut self, socket: OwnedFd) {
        let to = CoreId(self.clients.next_core);
        self.clients.next_core = (self.clients.next_core + 1) % self.server.mailboxes.core_count() as u16;
        // Here and not where it is adopted: a core that is behind must not be dealt more than there may be.
        let count = self.server.client_count.fetch_add(1, Ordering::Relaxed) + 1;
        if count > self.live.clients_max {
            self.server.client_count.fetch_sub(1, Ordering::Relaxed);
            self.stats().rejected_connections.add(1);
            return self.turn_away(socket, b"-ERR max number of clients reached\r\n");
        }
        if to == self.id { self.adopt(socket) } else { self.outbox.control(to, Message::Connection(socket)) }
    }

    /// Tells a client why it is not served, and closes its connection.
    pub(super) fn turn_away(&mut self, socket: OwnedFd, why: &[u8]) {
        self.stats().connections.add(1);
        let id = self.ring.add(socket);
        if let Some(out) = self.ring.output(id) {
            out.extend_from_slice(why);
        }
        self.ring.close(id, true);
    }

    /// Makes a connection, which was counted when it was dealt, this core's own.
    pub(super) fn adopt(&mut self, socket: OwnedFd) {
        if let Err(error) = socket::configure_client(socket.as_fd(), self.live.keepalive_s) {
            tracing::debug!(%error, "socket options of a connection could not be set");
        }
        let peer = socket::peer_address(socket.as_fd()).ok().flatten();
        let local = socket::local_address(socket.as_fd()).ok().flatten();
        let fd = socket.as_raw_fd();
        let client_id = self.server.next_client_id.fetch_add(1, Ordering::Relaxed);
        let mut session = Session { fd, ..Session::new(client_id, peer, local, self.clock.now) };
        session.admit(&self.users);
        if self.is_protected_from(&session) {
            self.server.client_count.fetch_sub(1, Ordering::Relaxed);
            return self.refuse_others(socket);
        }
        let id = self.ring.add(socket);
        self.seat_connection(Connection::new(id, session));
    }

    /// Enters a connection, whose socket is in the ring, among those of this core.
    pub(super) fn seat_connection(&mut self, connection: Connection) {
        self.stats().connections.add(1);
        self.server.client_places.add(self.id, connection.session.id, connection.ring);
        let (id, connection) = (connection.ring, Box::new(connection));
        if self.clients.connections.len() <= id.index() {
            self.clients.connections.resize_with(id.index() + 1, || None);
        }
        self.clients.connections[id.index()] = Some(connection);
        let clients = &self.stats().clients;
        clients.set(clients.get() + 1);
    }

    pub(super) fn take_connection(&mut self, id: ConnId) -> Option<Box<Connection>> {
        let place = self.clients.connections.get_mut(id.index())?;
        if place.as_ref().is_some_and(|connection| connection.ring == id) { place.take() } else { None }
    }

    /// Puts a connection back after a change, or closes it if that is due.
    pub(super) fn put_connection(&mut self, mut connection: Box<Connection>) {
        let id = connection.ring;
        self.run_sent_back(&mut connection);
        if connection.session.closing && connection.is_caught_up() {
            self.forget(connection);
            self.ring.close(id, true);
            return;
        }
        let output = self.ring.output_bytes(id) + connection.ready_bytes();
        let was_over = connection.output_over_since.is_some();
        if self.live.output_is_over(
            connection.session.is_listening(),
            output,
            &mut connection.output_over_since,
            self.clock.now,
        ) {
            self.clients.connections[id.index()] = Some(connection);
            return self.close_over_limit(id, output);
        }
        if connection.output_over_since.is_some() && !was_over {
            self.clients.unread.push(id);
        }
        let pause = connection.stalled && connection.input.len() >= self.input_bytes_max(&connection);
        if pause != connection.paused {
            connection.paused = pause;
            if pause { self.ring.pause(id) } else { self.ring.resume(id) }
        }
        self.clients.connections[id.index()] = Some(connection);
    }

    fn forget(&mut self, mut connection: Box<Connection>) {
        if connection.has_relays {
            connection.has_relays = false;
            self.forget_relays(connection.ring);
        }
        let is_relay = connection.session.forwarded.is_some();
        self.accepted_relays -= usize::from(is_relay);
        if connection.session.is_listening() {
            self.end_subscriptions(&mut connection);
        }
        self.unwatch(&mut connection);
        self.forget_tracking(&mut connection);
        if let Some(waits_for) = connection.waits_for {
            self.clients.stalled.leave(waits_for);
        }
        self.pause.leave(connection.ring);
        self.forget_wait(&mut connection);
        self.forget_replica_wait(&mut connection);
        drop(connection);
        let count = if is_relay { &self.server.accepted_relays } else { &self.server.client_count };
        count.fetch_sub(1, Ordering::Relaxed);
        let clients = &self.stats().clients;
        clients.set(clients.get() - 1);
    }

    /// The peer has closed its end.
    pub(super) fn closed(&mut self, id: ConnId, reason: CloseReason) {
        tracing::trace!(?reason, "connection closed by the peer");
        let Some(mut connection) = self.take_connection(id) else { return self.ring.close(id, false) };
        // A command that a pause bars is dropped with its client, as in Redis: nobody waits for it, maybe it was sent again, and
        // the pause may be a long one.
        if reason == CloseReason::Eof && !connection.is_waiting() && !self.pause.is_barring(id) {
            // The peer sends no more but may still read: what it has sent is run, and it gets the replies it waits for.
            connection.ended = true;
            connection.session.closing |= !connection.stalled;
            self.put_connection(connection);
        } else {
            self.forget(connection);
            self.ring.close(id, false);
        }
    }

    /// Closes a connection, after what is queued for it if `after_flush`.
    pub(super) fn close(&mut self, id: ConnId, after_flush: bool) {
        if let Some(connection) = self.take_connection(id) {
            self.forget(connection);
        }
        self.ring.close(id, after_flush);
    }

    pub(super) fn close_idle(&mut self) {
        let Some(timeout) = self.live.idle_max else { return };
        let idle: Vec<ConnId> = self
            .clients
            .connections
            .iter()
            .flatten()
            .filter(|connection| {
                connection.is_caught_up()
                    && connection.session.forwarded.is_none()
                    && connection.waits_for.is_none()
                    && !connection.stalled
                    && !connection.session.is_listening()
                    && self.clock.now.duration_since(connection.session.active) > timeout
            })
            .map(|connection| connection.ring)
            .collect();
        for id in idle {
            self.close(id, true);
        }
    }

    /// Closes clients that have left too much unread for too long: nothing else may happen to them.
    pub(super) fn close_unread(&mut self) {
        for id in std::mem::take(&mut self.clients.unread) {
            let Some(connection) = self.take_connection(id) else { continue };
            self.put_connection(connection);
            let put = self.clients.connections[id.index()].as_ref();
            if put.is_some_and(|connection| connection.ring == id && connection.output_over_since.is_some()) {
                self.clients.unread.push(id);
            }
        }
    }

    /// Closes half-closed clients that take no replies any more. The ring has told of their end already and tells nothing twice.
    pub(super) fn close_broken(&mut self) {
        for index in 0..self.clients.connections.len() {
            let Some(connection) = &self.clients.connections[index] else { continue };
            let id = connection.ring;
            if connection.ended && self.ring.output(id).is_none() {
                self.close(id, false);
            } else if connection.paused && !self.takes_replies(connection) {
                // There may be memory for more of its requests by now.
                self.clients.stalled.push(id);
            }
        }
    }

    /// Closes this core's largest clients while all clients of the node hold more than they may, and none of another core's is
    /// larger. The others' figures are those of their last tick.
    pub(super) fn evict_clients(&mut self) {
        let all: u64 = self.server.cores.iter().map(CoreStats::client_bytes).sum();
        let Some(mut excess) = all.checked_sub(self.live.client_bytes_max).filter(|&excess| excess > 0) else {
            return self.stats().largest_client_bytes.set(0);
        };
        let mut clients: Vec<(u64, ConnId, u64)> =
            self.clients.connections.iter().flatten().filter_map(|c| self.evictable(c)).collect();
        clients.sort_unstable_by_key(|&(bytes, ..)| std::cmp::Reverse(bytes));
        let others = self.server.cores.iter().enumerate().filter(|(index, _)| *index != self.id.index());
        let others_largest = others.map(|(_, core)| core.largest_client_bytes.get()).max().unwrap_or(0);
        let largest = &self.stats().largest_client_bytes;
        let is_first_look = largest.get() == 0;
        largest.set(clients.first().map_or(0, |&(bytes, ..)| bytes));
        if is_first_look {
            // The other cores have yet to say what theirs hold.
            return self.server.ring_all();
        }
        for (bytes, id, client) in clients {
            if excess == 0 || bytes < others_largest {
                return;
            }
            tracing::warn!(
                client,
                bytes,
                all,
                most = self.live.client_bytes_max,
                "client closed: all clients together hold more than maxmemory-clients, and this one holds most"
            );
            self.stats().evicted_clients.add(1);
            self.cut_off(
                id,
                "the connection is closed: all clients hold more than maxmemory-clients, and this one held most",
            );
            excess = excess.saturating_sub(bytes);
        }
    }

    /// The bytes that a client holds, its connection and its id, if it may be closed for that and is worth it.
    fn evictable(&self, connection: &Connection) -> Option<(u64, ConnId, u64)> {
        let bytes = (connection.held_bytes() + self.ring.output_capacity(connection.ring)) as u64;
        let bytes = bytes + connection.input.capacity() as u64;
        let may_be = !connection.session.no_evict && bytes >= limits::EVICTED_BYTES_MIN;
        may_be.then_some((bytes, connection.ring, connection.session.id))
    }

    /// Closes a client that holds too much, and tells it why, unless it has got the beginning of a long reply. The relay of another
    /// node is told nothing: that would be the reply to a command which may be executed.
    fn cut_off(&mut self, id: ConnId, why: &str) {
        if let Some(connection) = self.take_connection(id) {
            let is_relay = connection.session.forwarded.is_some();
            self.forget(connection);
            if is_relay {
                return self.ring.close(id, false);
            }
        }
        self.ring.cut(id, format!("-ERR {why}\r\n").as_bytes(), end_of_reply);
    }

    fn close_over_limit(&mut self, id: ConnId, bytes: usize) {
        let client = self.clients.connections[id.index()].as_ref().map(|connection| connection.session.id);
        tracing::warn!(client, bytes, "client closed: its output buffer is over the limit");
        self.stats().output_limit_closed.add(1);
        self.cut_off(id, "the connection is closed: more was left unread than client-output-buffer-limit allows");
    }
}

/// Runs `control` on `core` and gives the reply.
pub(super) fn run_control(core: &mut Core, control: &Control) -> Vec<u8> {
    let mut bytes = Vec::new();
    let mut reply = Reply::new(&mut bytes, Protocol::Resp2);
    match control {
        Control::ListClients(filter) => {
            let mut text = Vec::new();
            for connection in chosen(core, filter) {
                let buffers = ClientBuffers {
                    input_bytes: connection.input.len(),
                    input_capacity: connection.input.capacity(),
                    output_bytes: core.ring.output_bytes(connection.ring),
                    output_capacity: core.ring.output_capacity(connection.ring),
                };
                client_line(&mut text, &connection.session, buffers, 0, Instant::now());
                text.push(b'\n');
            }
            reply.bulk(&text);
        }
        Control::KillClients(filter) => {
            let victims: Vec<_> = chosen(core, filter).map(|connection| connection.ring).collect();
            for &id in &victims {
                match &mut core.clients.connections[id.index()] {
                    // Who closes itself still gets the reply.
                    Some(connection) if filter.is_asker(&connection.session) => connection.session.closing = true,
                    _ => core.close(id, true),
                }
            }
            reply.integer(victims.len() as i64);
        }
        Control::Unblock(id, how) => reply.integer(i64::from(core.unblock(*id, *how))),
        Control::Pause(until, is_of_all) => {
            core.pause.begin(*until, *is_of_all);
            reply.ok();
        }
        Control::Unpause => {
            core.end_pause();
            reply.ok();
        }
        Control::RaftStatus(group) => core.reply_raft_status(*group, &mut reply),
        Control::ListLinks => core.reply_links(&mut reply),
        Control::TakeUsers(told) => {
            core.refresh_users();
            match told {
                // Once is enough.
                Some(number) => reply.integer(if core.id == CoreId(0) { *number } else { 0 }),
                None => reply.ok(),
            }
        }
        Control::Subscriptions(told) => {
            core.take_over_subscriptions(told);
            reply.ok();
        }
    }
    bytes
}

fn chosen<'a>(core: &'a Core, filter: &'a ClientFilter) -> impl Iterator<Item = &'a Connection> {
    core.clients
        .connections
        .iter()
        .flatten()
        .map(|connection| &**connection)
        .filter(|connection| filter.matches(&connection.session))
}

/// The end in `output`, which begins with a reply, of the first one that ends at or behind `position`.
fn end_of_reply(output: &[u8], position: usize) -> Option<usize> {
    let mut end = 0;
    while end < position {
        end += value::skip_value(&output[end..])?;
    }
    Some(end)
}
