//! The other nodes of the cluster: which of them answer.

use std::cell::RefCell;
use std::collections::BTreeMap;
use std::rc::Rc;
use std::sync::{Arc, PoisonError};
use std::time::Instant;

use basalt_net::peer::NodeNumber;
use basalt_raft::NodeId;

use crate::cluster::map::Map;
use crate::cluster::texts::{Health, Peer};
use crate::limits;
use crate::node::Server;
use crate::peers::Peers;

/// Asks every other node now and then if it is there.
pub(super) struct Lookout {
    links: Option<Peers>,
    server: Arc<Server>,
    last_look: Instant,
    found: Rc<RefCell<BTreeMap<NodeId, Found>>>,
}

/// The findings on one node.
struct Found {
    /// The time of its last answer, or of the first question.
    heard: Instant,
    heard_ms: u64,
    /// The time of a question that it has not answered, Unix milliseconds.
    asked_ms: Option<u64>,
}

impl Lookout {
    pub(super) fn new(links: Option<Peers>, server: Arc<Server>) -> Lookout {
        Lookout { links, server, last_look: Instant::now(), found: Rc::default() }
    }

    /// Returns whether there is somebody to look out for.
    pub(super) fn has_peers(&self) -> bool {
        !self.found.borrow().is_empty()
    }

    /// Asks those nodes of the map that are not being asked, and tells what was found.
    pub(super) fn turn(&mut self, map: &Map, myself: NodeId) {
        let Some(links) = &self.links else { return };
        let now = Instant::now();
        let is_new = map.nodes().len() > self.found.borrow().len() + 1;
        if !is_new && now.saturating_duration_since(self.last_look) < limits::LOOK_OUT {
            return;
        }
        self.last_look = now;
        let now_ms = self.server.clock.unix_ms();
        self.found.borrow_mut().retain(|node, _| map.node(*node).is_some());
        for node in map.nodes().iter().map(|node| node.number).filter(|node| *node != myself) {
            // Let go before the question is asked: the task may run to its end at once.
            let is_being_asked = {
                let mut found = self.found.borrow_mut();
                let found = found.entry(node).or_insert_with(|| Found { heard: now, heard_ms: 0, asked_ms: None });
                found.asked_ms.replace(now_ms)
            };
            if let Some(since) = is_being_asked {
                if let Some(found) = self.found.borrow_mut().get_mut(&node) {
                    found.asked_ms = Some(since);
                }
                continue;
            }
            let (links, places, server) = (links.clone(), self.found.clone(), self.server.clone());
            let asking = async move {
                let is_there = links.is_there(NodeNumber(node.0)).await;
                if let Some(found) = places.borrow_mut().get_mut(&node) {
                    found.asked_ms = None;
                    if is_there {
                        (found.heard, found.heard_ms) = (Instant::now(), server.clock.unix_ms());
                    }
                }
            };
            glommio::spawn_local(asking).detach();
        }
        let silent = |found: &Found| now.saturating_duration_since(found.heard) >= limits::PEER_SUSPECTED;
        let found = self.found.borrow();
        let silent = found.iter().filter(|(_, found)| silent(found)).map(|(node, _)| *node).collect();
        self.server.routes.set_silent(silent);
        let seen = found.iter().map(|(node, found)| (*node, found.as_peer(now))).collect();
        *self.server.peers.lock().unwrap_or_else(PoisonError::into_inner) = seen;
    }
}

impl Found {
    fn as_peer(&self, now: Instant) -> Peer {
        let silent = now.saturating_duration_since(self.heard);
        let health = match silent {
            silent if silent >= limits::PEER_FAILED => Health::Failed,
            silent if silent >= limits::PEER_SUSPECTED || self.heard_ms == 0 => Health::Suspected,
            _ => Health::Up,
        };
        Peer {
            is_connected: self.heard_ms > 0 && silent < limits::PEER_SUSPECTED,
            health,
            ping_sent_ms: self.asked_ms.unwrap_or(0),
            pong_received_ms: self.heard_ms,
            replication_offset: 0,
        }
    }
}
