//! Relays that are lost, and what becomes of the requests that were sent over them.

use std::time::Duration;

use basalt_net::ring::ConnId;

use super::exec::null_of;
use super::relay::Relay;
use super::request::Forwarded;
use crate::clients::Connection;
use crate::core_loop::core::Core;
use crate::core_loop::pending::NOBODY;
use crate::limits::relays as limits;

/// The reply to a read that was on its way together with a write of which nobody knows.
const BESIDE_UNCERTAIN: &[u8] =
    b"-TRYAGAIN The connection to the node that leads the key's group was lost, and on it a write of this \
client whose outcome is not known: read again\r\n";

/// The reply to a request that was refused in front of a write of which nobody knows.
const BEFORE_UNCERTAIN: &[u8] =
    b"-TRYAGAIN The key's group was changing its leader, nothing was executed, but what this connection \
has sent behind it may have been\r\n";

impl Core {
    /// Ends a relay that the other node has ended, or that is of no use any more.
    pub(super) fn lose_relay(&mut self, id: ConnId, why: &str) {
        let Some(relay) = self.relays.take(id) else { return };
        self.forget_relay(&relay);
        self.ring.close(id, false);
        if !relay.is_idle() {
            tracing::debug!(node = %relay.node, why, requests = relay.sent.len(), "a relay to another node is lost");
        }
        let Some(mut connection) = self.take_connection(relay.owner) else { return };
        self.settle_lost(&mut connection, *relay, why);
        self.put_answered(connection);
    }

    /// Answers what a lost relay had on its way, or has it sent again if that is safe.
    pub(super) fn settle_lost(&mut self, connection: &mut Connection, relay: Relay, why: &str) {
        if relay.is_passing_on {
            // It cannot be told anything in the middle of a reply.
            return self.relays.cut.push(connection.ring);
        }
        if !relay.was_answered && !relay.is_idle() {
            self.relays.unreached.note(relay.node, why, self.clock.now);
        }
        let is_open = relay.greeter.is_none() && !relay.was_turned_away;
        let is_uncertain = |writes: bool| is_open && writes;
        let written: Vec<_> =
            relay.sent.iter().filter(|sent| is_uncertain(sent.nature.writes)).map(|sent| sent.group).collect();
        let uncertain = format!(
            "-UNCERTAIN The connection to the node that leads the key's group was lost ({}): the command may have been executed, or \
             may be later\r\n",
            why.replace(['\r', '\n'], " ")
        );
        let mut again = Vec::new();
        for refused in relay.refused {
            if written.contains(&refused.group) {
                self.answer_relayed(connection, &refused, BEFORE_UNCERTAIN);
            } else {
                again.push(refused);
            }
        }
        for sent in relay.sent {
            if sent.place == NOBODY {
                // UNWATCH: another relay watches nothing.
                self.answer_relayed(connection, &sent, b"");
            } else if is_uncertain(sent.nature.writes) {
                self.stats().relayed_uncertain.add(1);
                self.answer_relayed(connection, &sent, uncertain.as_bytes());
            } else if written.contains(&sent.group) {
                self.answer_relayed(connection, &sent, BESIDE_UNCERTAIN);
            } else if sent.is_guarded {
                // Nobody watches for it any more.
                self.answer_relayed(connection, &sent, null_of(relay.protocol));
            } else {
                self.stats().relayed_again.add(1);
                // It may have waited long for a node that stood still. Not so where none was there at all.
                let begins_anew = is_open && relay.was_answered && sent.losses < limits::LOSSES_MAX;
                let anew = self.clock.now.checked_sub(limits::WAIT_MAX / 2).filter(|_| begins_anew);
                let since = anew.map_or(sent.since, |anew| sent.since.max(anew));
                again.push(Forwarded { since, losses: sent.losses + 1, ..sent });
            }
        }
        self.have_wait(connection, again);
    }

    /// Ends all relays, since those nodes are others' now.
    pub(in crate::core_loop) fn lose_all_relays(&mut self, why: &str) {
        let all: Vec<ConnId> = self.relays.by_index.iter().flatten().map(|relay| relay.id).collect();
        for id in all {
            self.lose_relay(id, why);
        }
        self.close_cut();
    }

    /// Closes clients that were cut off in the middle of a reply.
    pub(super) fn close_cut(&mut self) {
        for id in std::mem::take(&mut self.relays.cut) {
            self.close(id, false);
        }
    }

    /// Ends relays to nodes that do not answer, and those that nobody has used for long. To be called with each tick.
    pub(in crate::core_loop) fn look_after_relays(&mut self) {
        if self.relays.is_empty() {
            return;
        }
        let lost: Vec<(ConnId, &'static str)> = self
            .relays
            .by_index
            .iter()
            .flatten()
            .filter_map(|relay| Some((relay.id, self.why_to_end(relay)?)))
            .collect();
        for (id, why) in lost {
            self.lose_relay(id, why);
        }
        self.close_cut();
        self.try_all_waiting(true);
        self.relays
            .owners
            .retain(|_, owner| !owner.relays.is_empty() || !owner.waiting.is_empty() || owner.has_lost_watch);
    }

    /// The reason to end a relay, if there is one.
    fn why_to_end(&self, relay: &Relay) -> Option<&'static str> {
        let now = self.clock.now;
        let since = |moment| now.saturating_duration_since(moment);
        if relay.greeter.is_some() {
            return (since(relay.begun) > limits::GREETING_WAIT).then_some("it does not greet");
        }
        let Some(first) = relay.sent.front() else {
            let is_watching =
                self.relays.owners.get(&relay.owner).is_some_and(|owner| owner.watching == Some(relay.id));
            let is_unused = relay.is_idle() && !is_watching && since(relay.used) > limits::IDLE_MAX;
            return is_unused.then_some("it is not used");
        };
        // Its client does not read, or waits for others.
        if relay.is_paused {
            return None;
        }
        let age = since(first.sent_at.max(relay.heard));
        let is_silent = self.routing.cluster.as_ref().is_some_and(|cluster| cluster.silent.contains(&relay.node));
        if is_silent && age > limits::SILENT_WAIT {
            return Some("the node does not answer");
        }
        let longest = self.live.write_timeout.unwrap_or(Duration::MAX).saturating_add(limits::ANSWER_MARGIN);
        (!first.nature.blocks && age > longest).then_some("the reply does not come")
    }
}
