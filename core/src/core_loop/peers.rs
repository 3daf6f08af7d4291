//! The part of a turn that concerns other nodes. A core without peers has nothing in here but a branch.

use std::net::TcpListener;
use std::sync::Arc;

use basalt_net::peer::Lane;
use basalt_net::ring::Event;

use super::core::Core;
use crate::ids::CoreId;
use crate::mail::{HandedPeer, Message};
use crate::node::Server;
use crate::peers::Peers;

/// Ends the sleep of a core outside its ring, on its own thread: one of its tasks has something for its peers. While the core is
/// awake it looks by itself, when its tasks have run.
pub fn wake_for_peers(server: Arc<Server>, core: CoreId) -> impl Fn() {
    move || {
        let bell = server.mailboxes.bell(core);
        if bell.is_parked() {
            bell.ring();
        }
    }
}

impl Core {
    /// Gives the core its links with other nodes, before the loop runs it.
    pub fn join_peers(&mut self, peers: Peers) {
        self.peers = Some(peers);
    }

    /// Takes connections of other nodes from `listener`, for all cores.
    ///
    /// # Panics
    /// If the core has no links.
    pub fn listen_for_peers(&mut self, listener: TcpListener) {
        let peers = self.peers.as_ref().expect("who listens for peers has links with them");
        peers.listen(listener, &mut self.ring);
    }

    /// Takes an event that concerns a peer; gives back all others.
    #[inline]
    pub(super) fn take_peer_event(&mut self, event: Event) -> Option<Event> {
        let Some(peers) = &self.peers else { return Some(event) };
        let now = self.clock.now;
        peers.take(event, &mut self.ring, now)
    }

    /// Hands connections of peers that want other cores to these.
    pub(super) fn hand_over_peers(&mut self) {
        let Some(peers) = &self.peers else { return };
        for (core, peer) in peers.take_handed() {
            if core == self.id {
                self.adopt_peer(peer);
            } else {
                self.outbox.control(core, Message::Peer(Box::new(peer)));
            }
        }
    }

    /// Takes a connection of a peer that another core has greeted. It is closed if this core has no links.
    pub(super) fn adopt_peer(&mut self, peer: HandedPeer) {
        if peer.session.route.lane == Lane::Clients {
            return self.adopt_relay(peer);
        }
        let Some(peers) = &self.peers else { return };
        let now = self.clock.now;
        peers.adopt(peer, &mut self.ring, now);
    }

    /// Gives the ring what is to be sent to peers: tasks have run since the last time.
    pub fn fill_peers(&mut self) {
        let Some(peers) = &self.peers else { return };
        let now = self.clock.now;
        peers.fill(&mut self.ring, now);
    }

    /// Ends the links with other nodes, since this one has another identity now.
    pub(super) fn forget_peers(&mut self) {
        self.lose_all_relays("this node is of another cluster now");
        let Some(peers) = &self.peers else { return };
        let now = self.clock.now;
        peers.forget_all(&mut self.ring, now);
    }

    /// Looks after the deadlines of peers.
    pub(super) fn tick_peers(&mut self) {
        let Some(peers) = &self.peers else { return };
        let now = self.clock.now;
        peers.tick(&mut self.ring, now);
    }

    /// Ends the links with other nodes, after the last turn: the peers hear of it now and not by their deadlines.
    pub fn end_peers(&mut self) {
        let Some(peers) = &self.peers else { return };
        let now = self.clock.now;
        peers.stop(&mut self.ring, now);
        if let Err(error) = self.ring.turn(None) {
            tracing::debug!(%error, "peers could not be told that this node stops");
        }
    }
}
