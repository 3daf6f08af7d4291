//! Relays of other nodes: connections that bring commands of their clients.
//!
//! What a newcomer would get wrong: they are connections like those of clients, and go through the same code. They differ in three
//! words that nobody else may say, in that nothing of theirs is passed on to a third node, and in the mark of what is refused since
//! another node leads it.

use std::os::fd::{AsFd, AsRawFd};
use std::sync::atomic::Ordering;

use basalt_net::resp::Protocol;
use basalt_net::ring::ConnId;
use basalt_net::socket;
use basalt_raft::NodeId;

use super::groups::group_call;
use super::request::{Aim, CLOSED, OF_GROUP, OPENING, RIGHTS, VERSION};
use super::routes::Way;
use crate::clients::{Connection, Session, Started};
use crate::cluster::Elsewhere;
use crate::commands::{Args, CommandError, Kind};
use crate::core_loop::core::Core;
use crate::entry::request::Mode;
use crate::limits;
use crate::mail::HandedPeer;

impl Core {
    /// Takes a connection of another node for commands of a client there.
    pub(in crate::core_loop) fn adopt_relay(&mut self, peer: HandedPeer) {
        let HandedPeer { socket, session: greeted, received } = peer;
        let map = self.routing.cluster.as_ref().and_then(|cluster| cluster.map.as_deref());
        if map.is_none_or(|map| map.node(NodeId(greeted.node.0)).is_none()) {
            tracing::warn!(node = %greeted.node.0, "no commands are taken of it: it is no node of this cluster");
            return self.turn_away(socket, CLOSED);
        }
        let count = self.server.accepted_relays.fetch_add(1, Ordering::Relaxed) + 1;
        if self.stopping.is_some()
            || self.accepted_relays >= limits::relays::RELAYS_MAX
            || count > self.live.clients_max
        {
            self.server.accepted_relays.fetch_sub(1, Ordering::Relaxed);
            tracing::debug!(node = %greeted.node.0, count, "no more commands are taken of it: there are too many relays");
            return self.turn_away(socket, CLOSED);
        }
        if let Err(error) = socket::configure_client(socket.as_fd(), self.live.keepalive_s) {
            tracing::debug!(%error, "socket options of a relay could not be set");
        }
        let peer = socket::peer_address(socket.as_fd()).ok().flatten();
        let local = socket::local_address(socket.as_fd()).ok().flatten();
        let client_id = self.server.next_client_id.fetch_add(1, Ordering::Relaxed);
        let fd = socket.as_raw_fd();
        // Rights are checked where the client is.
        let mut session = Session { fd, ..Session::new(client_id, peer, local, self.clock.now) };
        session.forwarded = Some(Box::new(crate::clients::ForwardedFrom::of(greeted.node.0)));
        self.accepted_relays += 1;
        let id = self.ring.add(socket);
        self.seat_connection(Connection::new(id, session));
        if !received.is_empty() {
            self.received(id, &received);
        }
    }

    /// Takes a word that relays alone have: `None` if `args` are a command as any other.
    pub(in crate::core_loop) fn relay_word(&mut self, connection: &mut Connection, args: Args<'_>) -> Option<Started> {
        let has_begun = connection.session.forwarded.as_ref().is_some_and(|forwarded| !forwarded.token.is_empty());
        match args {
            [OPENING, VERSION, protocol, token] if !has_begun && !token.is_empty() => {
                connection.session.protocol = if *protocol == b"3" { Protocol::Resp3 } else { Protocol::Resp2 };
                if let Some(forwarded) = &mut connection.session.forwarded {
                    forwarded.token = String::from_utf8_lossy(token).into_owned();
                }
            }
            _ if !has_begun => {
                tracing::warn!(client = connection.session.id, "a relay of another node is ended: it begins otherwise");
                connection.session.closing = true;
            }
            [RIGHTS, rights] => {
                if let Some(forwarded) = &mut connection.session.forwarded {
                    forwarded.rights = (!rights.is_empty()).then(|| (*rights).into());
                }
            }
            [OF_GROUP, ..] => return Some(self.run_of_group(connection, args)),
            _ => return None,
        }
        Some(Started::Yes)
    }

    /// Runs a part of a command over all groups on the shard of its group.
    fn run_of_group(&mut self, connection: &mut Connection, args: Args<'_>) -> Started {
        let Some((group, command)) = group_call(args) else {
            self.count_command(connection);
            self.refuse(connection, &CommandError::text("ERR no such part of a command is known here"));
            return Started::Yes;
        };
        if self.pause.is_on() && self.is_paused(connection, &Ok(command), &args[2..]) {
            return Started::WaitsForPause;
        }
        let (run, mode) = match command.kind {
            Kind::Read(run) if connection.ordered_unanswered == 0 => (run, Mode::Read),
            Kind::Read(run) => (run, Mode::ReadInOrder),
            Kind::Write(run) => (run, Mode::Write),
            _ => {
                self.count_command(connection);
                self.refuse(connection, &CommandError::text("ERR no such part of a command is known here"));
                return Started::Yes;
            }
        };
        let shard = match self.way_to(Aim::Group(group)) {
            Way::Here(shard) => shard,
            Way::Node(_) | Way::Unknown => {
                self.count_command(connection);
                let error = self.marked(connection, CommandError::owned(Elsewhere::Down.to_string()));
                self.refuse(connection, &error);
                return Started::Yes;
            }
        };
        if self.some_shard_is_full() && !self.shard_has_room(shard, mode) {
            return Started::WaitsForShard(shard, mode);
        }
        self.count_command(connection);
        if let Some(error) = self.server.why_away(shard) {
            let error = self.marked(connection, error);
            self.refuse(connection, &error);
            return Started::Yes;
        }
        connection.session.last_command = Some(command.id);
        self.run_step_on(connection, shard, (command, command.id), run, mode, &args[2..]);
        Started::Yes
    }

    /// A refusal, with the mark that tells another node that nothing was executed.
    pub(in crate::core_loop) fn marked(&self, connection: &Connection, error: CommandError) -> CommandError {
        match &connection.session.forwarded {
            Some(forwarded) => CommandError::owned(format!("{} {error}", forwarded.token)),
            None => error,
        }
    }

    /// Closes the relays of nodes that are not of the cluster any more.
    pub(in crate::core_loop) fn close_relays_of_strangers(&mut self) {
        if self.accepted_relays == 0 {
            return;
        }
        let cluster = self.routing.cluster.as_ref();
        let Some(map) = cluster.and_then(|cluster| cluster.map.clone()) else { return };
        let is_stranger = |connection: &Connection| {
            let forwarded = connection.session.forwarded.as_ref();
            forwarded.is_some_and(|forwarded| map.node(NodeId(forwarded.node)).is_none())
        };
        let strangers: Vec<ConnId> = self
            .clients
            .connections
            .iter()
            .flatten()
            .filter(|connection| is_stranger(connection))
            .map(|connection| connection.ring)
            .collect();
        for id in strangers {
            self.close(id, false);
        }
    }
}
