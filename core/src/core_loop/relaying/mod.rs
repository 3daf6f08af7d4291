//! Commands whose keys another node of the cluster leads, with `redirect = "proxy"`: they are passed on to that node, and its
//! replies to their clients.
//!
//! Each client has a connection of its own to each node that it needs, a *relay*, made when the first command goes there. It is
//! greeted as every connection between nodes ([`Greeter`](basalt_net::peer::Greeter)); behind the greeting come commands in RESP,
//! and the other node runs them as those of a client that may do everything: rights were checked here. So the order of a client's
//! commands, what it may have on its way, and what becomes of a client that does not read are a connection's own matters, and
//! nobody waits behind another client's reply.
//!
//! A request that the other node has certainly not executed waits here until the group has a leader that takes it
//! ([`waiting`]); nothing of its connection is begun meanwhile. One of which nobody knows is never sent again: its client hears
//! UNCERTAIN, and of a read it is asked once more.
//!
//! What a newcomer would get wrong: that a request was refused is no reason to send it elsewhere at once. What the client has sent
//! behind it, to the same group, may have been executed by then. So all of a relay's answers are awaited first ([`hearing`]).

mod accepted;
mod exec;
mod forwarding;
mod groups;
mod hearing;
mod lost;
mod own;
mod relay;
mod request;
mod routes;
mod unreached;
mod waiting;

pub(super) use routes::Course;

use std::collections::{HashMap, VecDeque};
use std::time::Instant;

use basalt_net::ring::ConnId;
use basalt_raft::NodeId;
use smallvec::SmallVec;

use relay::Relay;
use request::Forwarded;
use unreached::UnreachedNodes;

use crate::limits::relays as limits;

/// The relays of a core.
#[derive(Default)]
pub(super) struct Relays {
    /// By the ring's index of the connection.
    by_index: Vec<Option<Box<Relay>>>,
    count: usize,
    /// By the connection of the client.
    owners: HashMap<ConnId, Owner>,
    /// Clients that have got the beginning of a reply whose end will not come: they are to be closed.
    cut: Vec<ConnId>,
    /// True if the places of keys have changed, so that what waits may go on.
    looks_again: bool,
    /// Nodes that are not to be dialed at once.
    unreached: UnreachedNodes,
    /// Relays to each node that are not greeted yet, where there are some.
    greeting: HashMap<NodeId, usize>,
}

/// The relays of one client.
#[derive(Default)]
struct Owner {
    relays: SmallVec<[ConnId; 4]>,
    /// Requests that wait for a leader, in their order.
    waiting: VecDeque<Forwarded>,
    /// The relay by which it watches keys.
    watching: Option<ConnId>,
    /// True if it has watched keys by a relay that was lost.
    has_lost_watch: bool,
}

impl Owner {
    /// Has a request wait, at its place: one that was sent before others may be refused after these have begun to wait.
    fn have_wait(&mut self, request: Forwarded) {
        let order = |request: &Forwarded| (request.place, request.part);
        let at = self.waiting.partition_point(|other| order(other) <= order(&request));
        self.waiting.insert(at, request);
    }
}

impl Relays {
    /// True if there are none, and nobody waits for one.
    #[inline]
    pub(super) fn is_empty(&self) -> bool {
        self.owners.is_empty()
    }

    /// Number of relays.
    pub(super) fn count(&self) -> usize {
        self.count
    }

    fn has(&self, id: ConnId) -> bool {
        self.get(id).is_some()
    }

    fn get(&self, id: ConnId) -> Option<&Relay> {
        self.by_index.get(id.index())?.as_deref().filter(|relay| relay.id == id)
    }

    fn get_mut(&mut self, id: ConnId) -> Option<&mut Relay> {
        self.by_index.get_mut(id.index())?.as_deref_mut().filter(|relay| relay.id == id)
    }

    /// Takes a relay to work with; it is [`put`](Self::put) back, or [`forgotten`](Self::forget).
    fn take(&mut self, id: ConnId) -> Option<Box<Relay>> {
        self.by_index.get_mut(id.index())?.take_if(|relay| relay.id == id)
    }

    fn put(&mut self, relay: Box<Relay>) {
        let index = relay.id.index();
        if self.by_index.len() <= index {
            self.by_index.resize_with(index + 1, || None);
        }
        assert!(self.by_index[index].is_none(), "a ring has one connection in each place");
        self.by_index[index] = Some(relay);
    }

    fn add(&mut self, relay: Box<Relay>) {
        self.count += 1;
        *self.greeting.entry(relay.node).or_default() += 1;
        self.owners.entry(relay.owner).or_default().relays.push(relay.id);
        self.put(relay);
    }

    /// Forgets a relay that was taken.
    fn forget(&mut self, relay: &Relay) {
        self.count -= 1;
        if relay.greeter.is_some() {
            self.note_greeted(relay.node);
        }
        if let Some(owner) = self.owners.get_mut(&relay.owner) {
            owner.relays.retain(|id| *id != relay.id);
            if owner.watching == Some(relay.id) {
                (owner.watching, owner.has_lost_watch) = (None, true);
            }
        }
    }

    /// Notes that a relay to a node is greeted, or lost before. Others may be dialed now.
    fn note_greeted(&mut self, node: NodeId) {
        let Some(count) = self.greeting.get_mut(&node) else { return };
        *count -= 1;
        if *count == 0 {
            self.greeting.remove(&node);
        }
    }

    /// True if a node may be dialed.
    fn may_dial(&self, node: NodeId, now: Instant) -> bool {
        let greeting = self.greeting.get(&node).copied().unwrap_or(0);
        greeting < limits::GREETING_MAX && !self.unreached.is_barred(node, now)
    }

    /// True if requests of a client wait for a leader.
    fn has_waiting(&self, owner: ConnId) -> bool {
        self.owners.get(&owner).is_some_and(|owner| !owner.waiting.is_empty())
    }

    /// True if requests are on their way, or wait for a leader. Those that wait for others as long as their clients wish do not
    /// count.
    pub(super) fn has_requests(&self) -> bool {
        let counts = |request: &Forwarded| !request.nature.blocks;
        let mut relays = self.by_index.iter().flatten();
        self.owners.values().any(|owner| owner.waiting.iter().any(counts))
            || relays.any(|relay| relay.sent.iter().chain(&relay.refused).any(counts))
    }

    /// The relays of a client that it has.
    fn of(&self, owner: ConnId) -> SmallVec<[ConnId; 4]> {
        self.owners.get(&owner).map(|owner| owner.relays.clone()).unwrap_or_default()
    }

    /// Asks to look at what waits: the places of keys have changed.
    pub(super) fn look_again(&mut self) {
        self.looks_again = true;
    }
}

#[cfg(test)]
mod tests {
    use basalt_storage::keyspace::Slot;

    use super::request::{Aim, Nature};
    use super::*;

    #[test]
    fn requests_wait_in_the_order_in_which_they_were_sent() {
        let mut owner = Owner::default();
        for (place, part) in [(3, None), (7, Some(1)), (5, None), (7, Some(0)), (4, None), (9, None)] {
            let aim = Aim::Slot(Slot::new(7));
            let request = Forwarded::new(place, aim, Nature::default(), b"x".to_vec(), Instant::now());
            owner.have_wait(Forwarded { part, ..request });
        }
        let order: Vec<_> = owner.waiting.iter().map(|request| (request.place, request.part)).collect();
        assert_eq!(order, [(3, None), (4, None), (5, None), (7, Some(0)), (7, Some(1)), (9, None)]);
    }
}
