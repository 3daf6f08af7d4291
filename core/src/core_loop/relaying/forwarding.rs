//! From a command to the relay that takes it.

use std::os::fd::AsFd;
use std::sync::Arc;
use std::sync::atomic::Ordering;

use basalt_net::peer::{Greeter, Lane, NodeNumber, Nonce, Route, Wanted};
use basalt_net::resp::Protocol;
use basalt_net::ring::ConnId;
use basalt_net::socket;
use basalt_raft::NodeId;
use smallvec::SmallVec;

use super::relay::Relay;
use super::request::{Aim, Forwarded, Nature, encode};
use super::routes::Way;
use crate::clients::{Connection, Expects, ReplyMode};
use crate::commands::scripts;
use crate::commands::{Args, Command, CommandError, Kind};
use crate::core_loop::access::is_open;
use crate::core_loop::core::Core;
use crate::limits::{peers as peer_limits, relays as limits};

/// The words of a command that is sent.
pub(super) type Words<'a> = SmallVec<[&'a [u8]; 8]>;

/// A command with its script, in the place of one with a digest.
type NamedText = (&'static str, Arc<[u8]>);

impl Core {
    /// True if a connection's next command must wait until all before it are answered: because of what it is, or since keys have
    /// another place than those had that are on their way, or since too much is.
    pub(in crate::core_loop) fn waits_to_pass_on(
        &mut self,
        connection: &mut Connection,
        is_passed_on: bool,
        stands_alone: bool,
    ) -> bool {
        if connection.is_caught_up() {
            connection.sent_under = self.routing_version;
            return false;
        }
        if connection.sent_under != self.routing_version || (is_passed_on && stands_alone) {
            return true;
        }
        let has_much = || {
            let unsent = |id: &ConnId| self.ring.output_bytes(*id) > limits::UNSENT_BYTES_MAX;
            let other_protocol =
                |id: &ConnId| self.relays.get(*id).is_some_and(|relay| relay.protocol != connection.session.protocol);
            let relays = self.relays.of(connection.ring);
            connection.relayed_bytes > limits::OUTSTANDING_BYTES_MAX
                || relays.iter().any(unsent)
                || relays.iter().any(other_protocol)
        };
        is_passed_on && has_much()
    }

    /// Passes a command on that was checked.
    pub(in crate::core_loop) fn pass_on_command(
        &mut self,
        connection: &mut Connection,
        command: &'static Command,
        args: Args<'_>,
        aim: Aim,
    ) {
        let mut nature = Nature {
            writes: !command.watches && !matches!(command.for_call(args).kind, Kind::Read(_)),
            blocks: command.waits.is_some() || (command.waits_for_entries && command.is_after_replies(args)),
            runs_script: command.runs_script,
            watches: command.watches,
        };
        // One that only reads may have taken what it replies with.
        nature.writes |= command.waits.is_some();
        if let Some(error) = self.why_not_by_patterns(connection, command, args) {
            return self.fail(connection, command.id, &error);
        }
        if command.watches
            && let Err(error) = self.may_watch_by(connection, aim)
        {
            return self.fail(connection, command.id, &error);
        }
        let text = match self.script_to_pass_on(command, args) {
            Ok(text) => text,
            Err(error) => return self.fail(connection, command.id, &error),
        };
        let mut words: Words<'_> = args.iter().copied().collect();
        if let Some((name, text)) = &text {
            (words[0], words[1]) = (name.as_bytes(), text);
        }
        let mut bytes = Vec::with_capacity(words.iter().map(|word| word.len() + 16).sum::<usize>() + 16);
        encode(&mut bytes, words.into_iter());
        let silent = connection.session.reply_mode != ReplyMode::On;
        let place = connection.open_place(Expects::of(command, args), nature.writes, silent);
        if nature.blocks || nature.watches {
            connection.barrier = true;
        }
        connection.is_relayed_wait = nature.blocks;
        let mut request = Forwarded::new(place, aim, nature, bytes, self.clock.now);
        if nature.runs_script && !is_open(connection) {
            request.rights = Some(connection.session.user.rights());
        }
        self.stats().relayed.add(1);
        self.pass_on(connection, request);
    }

    /// The command and the text in the place of a digest, which the other node may not know; `None` for what is sent as it is.
    fn script_to_pass_on(&mut self, command: &Command, args: Args<'_>) -> Result<Option<NamedText>, CommandError> {
        if !command.runs_script || command.calls_function {
            return Ok(None);
        }
        if !command.name().starts_with("evalsha") {
            // Its client may call it by its digest from now on.
            self.learn_script(args[1])?;
            return Ok(None);
        }
        let digest = scripts::read_digest(args[1]).ok_or(scripts::NO_SCRIPT)?;
        let text = self.server.scripts.get(&digest).ok_or(scripts::NO_SCRIPT)?;
        Ok(Some((if command.name().ends_with("_ro") { "eval_ro" } else { "eval" }, text)))
    }

    /// Sends a request on its way, behind those that wait.
    pub(super) fn pass_on(&mut self, connection: &mut Connection, request: Forwarded) {
        connection.has_relays = true;
        connection.has_relayed_writes |= request.nature.writes;
        connection.relayed_bytes += request.bytes.len();
        self.clients.handed_over_bytes += request.bytes.len();
        let request = if self.relays.has_waiting(connection.ring) {
            request
        } else {
            match self.way_to(request.aim) {
                Way::Node(node) => match self.send_to(connection, node, request) {
                    None => return,
                    Some(request) => request,
                },
                Way::Here(_) | Way::Unknown => request,
            }
        };
        self.have_wait(connection, [request]);
    }

    /// Sends a request to a node. Gives it back if that cannot take it now.
    pub(super) fn send_to(
        &mut self,
        connection: &mut Connection,
        node: NodeId,
        mut request: Forwarded,
    ) -> Option<Forwarded> {
        let protocol = connection.session.protocol;
        let open = self.relays.of(connection.ring);
        let open = open.into_iter().find(|id| self.relays.get(*id).is_some_and(|relay| relay.node == node));
        let open = match open.and_then(|id| self.relays.get(id)) {
            Some(relay) if relay.protocol != protocol && relay.is_idle() => {
                let id = relay.id;
                self.drop_relay(id);
                None
            }
            Some(relay) if relay.protocol != protocol || !relay.refused.is_empty() => return Some(request),
            relay => relay.map(|relay| relay.id),
        };
        let id = match open {
            Some(id) => id,
            None => match self.dial_relay(connection.ring, node, protocol) {
                Some(id) => id,
                None => return Some(request),
            },
        };
        request.group = self.group_of(request.aim);
        let Some(mut relay) = self.relays.take(id) else { return Some(request) };
        let mut nowhere = Vec::new();
        let out = self.ring.output(id).unwrap_or(&mut nowhere);
        relay.send(request, self.clock.now, out);
        self.relays.put(relay);
        None
    }

    /// Begins to make a relay to a node; `None` if that cannot be.
    fn dial_relay(&mut self, owner: ConnId, node: NodeId, protocol: Protocol) -> Option<ConnId> {
        let all = self.server.dialed_relays.load(Ordering::Relaxed);
        let has_room = self.relays.count() < limits::RELAYS_MAX && all < self.live.clients_max;
        let has_room = has_room && self.relays.may_dial(node, self.clock.now);
        if !has_room || self.stopping.as_ref().is_some_and(|stopping| stopping.quiet) {
            return None;
        }
        let surroundings = self.peers.as_ref()?.surroundings();
        let node_number = NodeNumber(node.0);
        let (address, own) = (surroundings.address(node_number)?, surroundings.own());
        let id = self
            .ring
            .connect(address)
            .inspect_err(|error| tracing::debug!(%error, %address, "no socket for a relay"))
            .ok()?;
        if let Some(socket) = self.ring.socket(id)
            && let Err(error) =
                socket::configure_peer(socket.as_fd(), peer_limits::KEEPALIVE_S, peer_limits::SILENCE_MAX)
        {
            tracing::debug!(%error, "socket options of a relay could not be set");
        }
        // Whichever core of that node: it has the next one take it.
        let route = Route { lane: Lane::Clients, dialing_core: self.id.0, accepting_core: 0 };
        let mut hello = Vec::new();
        let greeter = Greeter::dial(own, Wanted { node: node_number, route }, Nonce(rand::random()), &mut hello);
        if let Some(out) = self.ring.output(id) {
            out.extend_from_slice(&hello);
        }
        self.server.dialed_relays.fetch_add(1, Ordering::Relaxed);
        self.relays.add(Box::new(Relay::new((id, owner), node, protocol, greeter, self.clock.now)));
        Some(id)
    }

    /// Closes a relay on which nothing is awaited.
    pub(super) fn drop_relay(&mut self, id: ConnId) {
        if let Some(relay) = self.relays.take(id) {
            self.forget_relay(&relay);
        }
        self.ring.close(id, false);
    }

    /// Forgets a relay that was taken.
    pub(super) fn forget_relay(&mut self, relay: &Relay) {
        self.relays.forget(relay);
        self.server.dialed_relays.fetch_sub(1, Ordering::Relaxed);
    }

    /// Closes the relays of a client that is gone: what they have on their way is executed or not, and nobody is told.
    pub(in crate::core_loop) fn forget_relays(&mut self, owner: ConnId) {
        for id in self.relays.of(owner) {
            self.drop_relay(id);
        }
        self.relays.owners.remove(&owner);
    }
}
