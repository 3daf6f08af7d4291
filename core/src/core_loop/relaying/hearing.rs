//! Replies of other nodes, on their way to the clients that wait for them.

use std::collections::VecDeque;

use basalt_net::peer::NodeNumber;
use basalt_net::ring::{CloseReason, ConnId, Event};

use super::exec::null_of;
use super::relay::Relay;
use super::request::{CLOSED, Forwarded, moved_to, refusal};
use crate::clients::Connection;
use crate::core_loop::core::Core;
use crate::core_loop::pending::NOBODY;
use crate::limits::relays as limits;

/// The reply to a request that was refused, while a later one for the same group was not.
pub(super) const OVERTAKEN: &[u8] =
    b"-TRYAGAIN The key's group was changing its leader, nothing was executed, but what this connection has sent \
behind it may have been\r\n";

/// A request with its reply.
struct Taken {
    request: Forwarded,
    /// Requests before it that were refused and may not be sent again, since it was executed.
    overtaken: Vec<Forwarded>,
    /// The reply in the place of what has come.
    instead: Option<&'static [u8]>,
}

impl Core {
    /// Takes an event that concerns a relay; gives back all others.
    #[inline]
    pub(in crate::core_loop) fn take_relay_event(&mut self, event: Event) -> Option<Event> {
        if self.relays.is_empty() { Some(event) } else { self.hear_event(event) }
    }

    #[cold]
    fn hear_event(&mut self, event: Event) -> Option<Event> {
        match event {
            Event::Received(id, input) if self.relays.has(id) => self.hear(id, &input),
            Event::Closed(id, reason) if self.relays.has(id) => {
                let why = match reason {
                    CloseReason::Eof => "it has closed the connection",
                    CloseReason::Reset => "it has reset the connection",
                    CloseReason::OutputLimit => "it does not read",
                    CloseReason::Error(_) => "it cannot be reached",
                };
                self.lose_relay(id, why);
            }
            Event::Connected(id) | Event::Writable(id) if self.relays.has(id) => {}
            other => return Some(other),
        }
        self.close_cut();
        None
    }

    /// Takes bytes that another node has sent.
    fn hear(&mut self, id: ConnId, input: &[u8]) {
        let Some(mut relay) = self.relays.take(id) else { return };
        (relay.used, relay.heard) = (self.clock.now, self.clock.now);
        let mut input = input;
        if let Some(greeter) = &mut relay.greeter {
            let Some(surroundings) = self.peers.as_ref().map(|peers| peers.surroundings()) else { return };
            let mut said = Vec::new();
            let met = greeter.feed(&mut input, |node| surroundings.acquaintance(node), &mut said);
            match met {
                Ok(Some(session)) => {
                    surroundings.met(NodeNumber(session.node.0), session.incarnation);
                    self.relays.note_greeted(relay.node);
                    self.relays.look_again();
                    relay.open(self.clock.now, &mut said);
                }
                Ok(None) => {}
                Err(error) => {
                    self.relays.put(relay);
                    return self.lose_relay(id, &error.to_string());
                }
            }
            if let Some(out) = self.ring.output(id) {
                out.extend_from_slice(&said);
            }
        }
        relay.input.extend_from_slice(input);
        let owner = relay.owner;
        self.relays.put(relay);
        match self.take_connection(owner) {
            Some(mut connection) => {
                self.take_replies(&mut connection, id);
                self.put_answered(connection);
            }
            None => self.drop_relay(id),
        }
    }

    /// Goes on with replies whose client had to take others first.
    #[cold]
    pub(in crate::core_loop) fn take_more_replies(&mut self, connection: &mut Connection) {
        connection.has_paused_relays = false;
        for id in self.relays.of(connection.ring) {
            if self.relays.get(id).is_some_and(|relay| relay.is_paused) {
                self.take_replies(connection, id);
            }
        }
    }

    /// Gives replies that have come to their places, as far as the client takes them.
    fn take_replies(&mut self, connection: &mut Connection, id: ConnId) {
        let Some(relay) = self.relays.get_mut(id) else { return };
        let (mut input, mut start) = (std::mem::take(&mut relay.input), 0);
        let outcome = loop {
            // It is in its place while a reply is given: what follows from that may be sent by it.
            let Some(mut relay) = self.relays.take(id) else { return };
            let rest = &input[start..];
            let heard = match (rest.is_empty(), relay.sent.is_empty()) {
                (true, _) => Ok(None),
                (false, _) if !relay.was_answered && rest.starts_with(CLOSED) => {
                    relay.was_turned_away = true;
                    Err("it takes no more commands of other nodes")
                }
                (false, _) if !relay.was_answered && CLOSED.starts_with(rest) => Ok(None),
                (false, true) => Err("it has replied to nothing"),
                (false, false) => relay.scanner.advance(rest).map_err(|_| "its reply is none"),
            };
            if let Ok(Some(end)) = heard {
                start += end;
                if !std::mem::replace(&mut relay.was_answered, true) {
                    self.relays.unreached.reached(relay.node);
                }
                let taken = self.take_reply(connection, &mut relay, &rest[..end]);
                self.relays.put(relay);
                if let Some(taken) = taken {
                    self.give_reply(connection, id, &taken, &rest[..end]);
                }
                continue;
            }
            if heard.is_ok() && !rest.is_empty() && !relay.sent.is_empty() {
                start += self.pass_beginning_on(connection, &mut relay, rest);
            }
            self.relays.put(relay);
            break heard.map(drop);
        };
        let Some(mut relay) = self.relays.take(id) else { return };
        if start == input.len() && input.capacity() > limits::INPUT_BYTES_KEPT {
            input = Vec::new();
        } else {
            input.drain(..start);
        }
        relay.input = input;
        if let Err(why) = outcome {
            tracing::warn!(node = %relay.node, why, "the relay to a node is ended");
            self.forget_relay(&relay);
            self.ring.close(id, false);
            return self.settle_lost(connection, *relay, why);
        }
        self.pause_or_resume(connection, &mut relay);
        // Nothing that was sent behind them can be executed any more.
        let refused = if relay.sent.is_empty() { std::mem::take(&mut relay.refused) } else { Vec::new() };
        self.relays.put(relay);
        if !refused.is_empty() {
            self.have_wait(connection, refused);
            self.try_waiting(connection, false);
        }
    }

    /// Gives the beginning of a long reply to a client whose turn it is; returns how much was taken.
    fn pass_beginning_on(&mut self, connection: &mut Connection, relay: &mut Relay, rest: &[u8]) -> usize {
        let front = &relay.sent[0];
        let is_of_values = relay.is_passing_on || matches!(rest[0], b'$' | b'*' | b'=' | b'~' | b'%');
        let may_be = is_of_values && front.part.is_none() && front.replies == 1;
        let is_long = relay.is_passing_on || rest.len() >= limits::PASSED_ON_BYTES_MIN;
        let is_wanted = match connection.is_first(front.place) {
            Some(is_wanted) if may_be && is_long && (!is_wanted || self.takes_replies(connection)) => is_wanted,
            _ => return 0,
        };
        let seen = relay.scanner.seen().min(rest.len());
        if let Some(out) = self.ring.output(connection.ring).filter(|_| is_wanted) {
            out.extend_from_slice(&rest[..seen]);
            self.clients.handed_over_bytes += seen;
        }
        relay.scanner.forget(seen);
        relay.is_passing_on = true;
        seen
    }

    /// Takes no more of a long reply until its client may have it.
    fn pause_or_resume(&mut self, connection: &mut Connection, relay: &mut Relay) {
        let is_held = relay.input.len() >= limits::INPUT_BYTES_MAX
            && relay.sent.front().is_some_and(|front| front.part.is_none() && front.replies == 1)
            && connection
                .is_first(relay.sent[0].place)
                .is_none_or(|is_wanted| is_wanted && !self.takes_replies(connection));
        connection.has_paused_relays |= is_held;
        if is_held != relay.is_paused {
            relay.is_paused = is_held;
            if is_held { self.ring.pause(relay.id) } else { self.ring.resume(relay.id) }
        }
    }

    /// Finds whose reply it is; `None` if it is nobody's, or says that the request was refused.
    fn take_reply(&mut self, connection: &mut Connection, relay: &mut Relay, reply: &[u8]) -> Option<Taken> {
        let front = relay.sent.front_mut()?;
        let refused = refusal(reply, &relay.token, front).map(str::to_owned);
        if front.replies > 1 {
            front.replies -= 1;
            front.is_spoiled |= refused.is_some();
            return None;
        }
        let mut request = relay.sent.pop_front()?;
        let is_end = std::mem::take(&mut relay.is_passing_on);
        let Some(text) = refused.filter(|_| !is_end) else {
            // What was sent to this group before and was refused would come behind it now.
            let (overtaken, still) = std::mem::take(&mut relay.refused)
                .into_iter()
                .partition(|refused: &Forwarded| refused.group == request.group);
            relay.refused = still;
            return Some(Taken { request, overtaken, instead: None });
        };
        if request.is_guarded {
            // What it has watched is known to nobody else.
            return Some(Taken { request, overtaken: Vec::new(), instead: Some(null_of(relay.protocol)) });
        }
        self.stats().relayed_again.add(1);
        request.refusals += 1;
        request.refused_by = Some(relay.node);
        request.moved_to = moved_to(&text).and_then(|(host, port)| self.node_at(host, port));
        connection.barrier = true;
        relay.refused.push(request);
        None
    }

    /// Gives a reply to its request.
    fn give_reply(&mut self, connection: &mut Connection, relay: ConnId, taken: &Taken, reply: &[u8]) {
        for overtaken in &taken.overtaken {
            self.answer_relayed(connection, overtaken, OVERTAKEN);
        }
        if taken.request.nature.watches && reply == b"+OK\r\n" {
            self.note_watching(connection, relay);
        }
        self.answer_relayed(connection, &taken.request, taken.instead.unwrap_or(reply));
    }

    /// Gives a reply to the place that waits for it.
    pub(super) fn answer_relayed(&mut self, connection: &mut Connection, request: &Forwarded, reply: &[u8]) {
        connection.relayed_bytes = connection.relayed_bytes.saturating_sub(request.length);
        connection.is_relayed_wait &= !request.nature.blocks;
        match request.part {
            _ if request.place == NOBODY => {}
            Some(part) => self.advance(connection, request.place, part as usize, reply),
            None => self.fill(connection, request.place, reply),
        }
    }

    /// Has requests wait for a leader, among those that do: in the order in which their client has sent them.
    pub(super) fn have_wait(&mut self, connection: &mut Connection, requests: impl IntoIterator<Item = Forwarded>) {
        connection.has_relays = true;
        let owner = self.relays.owners.entry(connection.ring).or_default();
        for request in requests {
            owner.have_wait(request);
            // Nothing of the connection overtakes them.
            connection.barrier = true;
        }
    }

    pub(super) fn waiting_of(&mut self, connection: &Connection) -> VecDeque<Forwarded> {
        let owner = self.relays.owners.get_mut(&connection.ring);
        owner.map(|owner| std::mem::take(&mut owner.waiting)).unwrap_or_default()
    }
}
