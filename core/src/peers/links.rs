//! The table of a core's connections with its peers, and how they come and go.
//!
//! What a newcomer would get wrong: questions come from tasks, which have no ring. What they want done to it is noted here, and
//! done when the core gives its ring ([`Links::fill`]), before it sleeps.

use std::collections::HashMap;
use std::net::TcpListener;
use std::os::fd::{AsFd, OwnedFd};
use std::rc::Rc;
use std::time::Instant;

use basalt_net::peer::{GroupNumber, NodeNumber, Route};
use basalt_net::peer::{Link, Nonce, PeerError, Refusal, RefusalReason, Session, Wanted};
use basalt_net::ring::{CloseReason, ConnId, ListenerId, Ring};
use basalt_net::socket;
use basalt_raft::Unreached;

use super::entry::{Asking, Dialed, Entry, Phase, Question, Way};
use super::figures::Figures;
use super::publishing::Publishing;
use super::surroundings::Surroundings;
use crate::ids::CoreId;
use crate::limits::peers as limits;
use crate::mail::HandedPeer;

/// The connections of a core with its peers.
pub(super) struct Links {
    pub(super) core: CoreId,
    pub(super) surroundings: Rc<dyn Surroundings>,
    listeners: Vec<ListenerId>,
    /// By the ring's index of the connection.
    entries: Vec<Option<Box<Entry>>>,
    pub(super) dialed: HashMap<Way, Dialed>,
    /// Ways for which a connection is to be made.
    pub(super) wanted: Vec<Way>,
    /// Connections with something to send.
    pub(super) dirty: Vec<ConnId>,
    /// Connections of peers that do not read, with the reason.
    pub(super) cut_off: Vec<(ConnId, String)>,
    /// The cores that have groups of other nodes, as far as they are known.
    cores: HashMap<(NodeNumber, GroupNumber), u16>,
    pub(super) publishing: Publishing,
    pub(super) is_stopping: bool,
    pub(super) figures: Figures,
}

impl Links {
    pub(super) fn new(core: CoreId, surroundings: Rc<dyn Surroundings>) -> Links {
        Links {
            core,
            surroundings,
            listeners: Vec::new(),
            entries: Vec::new(),
            dialed: HashMap::new(),
            wanted: Vec::new(),
            dirty: Vec::new(),
            cut_off: Vec::new(),
            cores: HashMap::new(),
            publishing: Publishing::default(),
            is_stopping: false,
            figures: Figures::default(),
        }
    }

    // ---- the table

    pub(super) fn has(&self, id: ConnId) -> bool {
        self.entries.get(id.index()).and_then(Option::as_ref).is_some_and(|entry| entry.id == id)
    }

    pub(super) fn take(&mut self, id: ConnId) -> Option<Box<Entry>> {
        self.entries.get_mut(id.index())?.take_if(|entry| entry.id == id)
    }

    pub(super) fn put(&mut self, entry: Box<Entry>) {
        let index = entry.id.index();
        if self.entries.len() <= index {
            self.entries.resize_with(index + 1, || None);
        }
        assert!(self.entries[index].is_none(), "a ring has one connection in each place");
        self.entries[index] = Some(entry);
    }

    pub(super) fn all(&self) -> impl Iterator<Item = &Entry> {
        self.entries.iter().flatten().map(|entry| &**entry)
    }

    /// The connections that `which` is true of.
    pub(super) fn those(&self, which: impl Fn(&Entry) -> bool) -> Vec<ConnId> {
        self.all().filter(|entry| which(entry)).map(|entry| entry.id).collect()
    }

    // ---- groups of other nodes

    /// The core of `node` that has `group`, if it has told.
    pub(super) fn core_of(&self, node: NodeNumber, group: GroupNumber) -> Option<u16> {
        self.cores.get(&(node, group)).copied()
    }

    pub(super) fn remember_core(&mut self, node: NodeNumber, group: GroupNumber, core: u16) {
        if self.cores.len() >= limits::PLACES_MAX {
            self.cores.clear();
        }
        self.cores.insert((node, group), core);
    }

    pub(super) fn forget_core(&mut self, node: NodeNumber, group: GroupNumber) {
        self.cores.remove(&(node, group));
    }

    // ---- coming

    pub(super) fn listen(&mut self, listener: TcpListener, ring: &mut Ring) {
        self.listeners.push(ring.listen(listener));
    }

    pub(super) fn listens_on(&self, listener: ListenerId) -> bool {
        self.listeners.contains(&listener)
    }

    /// Takes a connection that a peer has made, or a stranger.
    pub(super) fn accept(&mut self, socket: OwnedFd, ring: &mut Ring, now: Instant) {
        let accepted = || self.all().filter(|entry| entry.way.is_none());
        let strangers = accepted().filter(|entry| matches!(entry.phase, Phase::Greeting)).count();
        let is_full = strangers >= limits::STRANGERS_MAX || accepted().count() >= limits::ACCEPTED_MAX;
        if self.is_stopping || is_full {
            self.figures.strangers_refused += 1;
            return;
        }
        self.figures.accepted += 1;
        let link = Link::accept(self.surroundings.own(), nonce(), limits::QUEUE_BYTES_MAX);
        let id = add(socket, ring);
        self.put(Box::new(Entry::new(id, link, None, Phase::Greeting, now)));
    }

    /// Takes a connection that another core has greeted for this one, and what came with it.
    pub(super) fn adopt(&mut self, peer: HandedPeer, ring: &mut Ring, now: Instant) -> Vec<Asking> {
        let HandedPeer { socket, session, received } = peer;
        if self.is_stopping || self.all().filter(|entry| entry.way.is_none()).count() >= limits::ACCEPTED_MAX {
            return Vec::new();
        }
        self.replace(&session, ring, now);
        let link = Link::of_session(session, self.surroundings.own().bounds, limits::QUEUE_BYTES_MAX);
        let id = add(socket, ring);
        self.put(Box::new(Entry::new(id, link, None, Phase::Open, now)));
        self.received(id, &received, ring, now)
    }

    /// Begins to make the connections that questions wait for.
    pub(super) fn dial_wanted(&mut self, ring: &mut Ring, now: Instant) {
        for way in std::mem::take(&mut self.wanted) {
            let Some(dialed) = self.dialed.get_mut(&way).filter(|dialed| dialed.connection.is_none()) else { continue };
            dialed.is_wanted = false;
            if let Err(why) = self.dial(way, ring, now) {
                self.dial_failed(way, why, now);
            }
        }
    }

    fn dial(&mut self, way: Way, ring: &mut Ring, now: Instant) -> Result<(), String> {
        let Way { node, core, lane } = way;
        self.figures.dials += 1;
        let address = self.surroundings.address(node).ok_or_else(|| "no address is known for it".to_owned())?;
        let id = ring.connect(address).map_err(|error| format!("no socket for {address}: {error}"))?;
        configure(id, ring);
        let route = Route { lane, dialing_core: self.core.0, accepting_core: core };
        let mut hello = Vec::new();
        let wanted = Wanted { node, route };
        let link = Link::dial(self.surroundings.own(), wanted, nonce(), limits::QUEUE_BYTES_MAX, &mut hello);
        say(id, &hello, ring);
        self.put(Box::new(Entry::new(id, link, Some(way), Phase::Connecting, now)));
        self.dialed.entry(way).or_default().connection = Some(id);
        Ok(())
    }

    /// A connection is made that this core has dialed. It has begun to greet already.
    pub(super) fn connected(&mut self, id: ConnId) {
        if let Some(entry) = self.entries.get_mut(id.index()).and_then(Option::as_mut).filter(|entry| entry.id == id) {
            entry.phase = Phase::Greeting;
        }
    }

    // ---- going

    /// The peer has ended the connection.
    pub(super) fn closed(&mut self, id: ConnId, reason: CloseReason, ring: &mut Ring, now: Instant) {
        let why = match reason {
            CloseReason::Eof => "it has closed the connection".to_owned(),
            CloseReason::Reset => "it has reset the connection".to_owned(),
            CloseReason::Error(errno) => std::io::Error::from_raw_os_error(errno).to_string(),
            CloseReason::OutputLimit => "it does not read".to_owned(),
        };
        self.end(id, &why, false, ring, now);
    }

    /// Ends a connection with an error of the peer, which is counted.
    pub(super) fn fail(&mut self, id: ConnId, error: &PeerError, ring: &mut Ring, now: Instant) {
        self.figures.errors.add(error);
        let way = self.entries.get(id.index()).and_then(Option::as_ref).and_then(|entry| entry.way);
        let count = self.figures.errors.iter().find(|&(name, _)| name == error.name()).map_or(0, |(_, count)| count);
        if count.is_power_of_two() {
            // Not each time: whoever does not belong here may try once a second, or as often as it likes.
            let peer = ring.socket(id).and_then(|socket| socket::peer_address(socket).ok().flatten());
            let (node, name) = (way.map(|way| way.node.to_string()), error.name());
            tracing::warn!(?peer, node, name, count, %error, "the connection of a peer is ended");
        }
        if let (Some(way), PeerError::RefusedByPeer(refusal)) = (way, error)
            && refusal.reason == RefusalReason::UnknownCore
        {
            // The node has fewer cores than it had.
            self.cores.retain(|(node, _), core| *node != way.node || *core != way.core);
        }
        self.end(id, &error.to_string(), true, ring, now);
    }

    /// Ends a connection with a last word to the peer.
    pub(super) fn refuse(&mut self, id: ConnId, refusal: Refusal, ring: &mut Ring, now: Instant) {
        let why = refusal.to_string();
        if let Some(mut entry) = self.take(id) {
            let mut last = Vec::new();
            entry.link.end(refusal, &mut last);
            self.put(entry);
            say(id, &last, ring);
        }
        self.end(id, &why, true, ring, now);
    }

    /// Ends a connection: who has asked on it is told, and who waits for it.
    pub(super) fn end(&mut self, id: ConnId, why: &str, after_flush: bool, ring: &mut Ring, now: Instant) {
        let Some(entry) = self.take(id) else { return };
        ring.close(id, after_flush);
        let Some(way) = entry.way else { return };
        let Some(dialed) = self.dialed.get_mut(&way) else { return };
        dialed.connection = None;
        if !entry.is_open() {
            return self.dial_failed(way, why.to_owned(), now);
        }
        dialed.backoff.lost(now - entry.since, now);
        why.clone_into(&mut dialed.last_end);
        tracing::debug!(node = %way.node, core = way.core, lane = %way.lane, why, "a connection to a peer has ended");
        for (_, asked) in entry.asked {
            self.figures.lost += 1;
            let text = format!("node {}: the connection ended before the answer came: {why}", way.node);
            drop(asked.answer.send(Err(Unreached::Lost(text))));
        }
    }

    /// A connection could not be made, or was not greeted.
    fn dial_failed(&mut self, way: Way, why: String, now: Instant) {
        self.figures.dial_failures += 1;
        let Some(dialed) = self.dialed.get_mut(&way) else { return };
        let text = format!("node {} cannot be reached: {why}", way.node);
        if dialed.backoff.failed(now) {
            tracing::warn!(node = %way.node, core = way.core, lane = %way.lane, why, "a peer cannot be reached");
        }
        dialed.last_end = why;
        let waiting = dialed.take_waiting();
        self.figures.unreached += waiting.len() as u64;
        for question in waiting {
            question.fail(Unreached::Unreachable(text.clone()));
        }
    }

    /// Ends the connection that a peer's core made before for the same purpose: it would not make another one if it had it still.
    pub(super) fn replace(&mut self, session: &Session, ring: &mut Ring, now: Instant) {
        for id in self.those(|entry| entry.is_for_the_same(session)) {
            self.end(id, "its peer has made another one", false, ring, now);
        }
    }

    /// Ends all connections with an earlier start of a node.
    pub(super) fn end_older(&mut self, node: NodeNumber, incarnation: u64, ring: &mut Ring, now: Instant) {
        let is_older = |session: &Session| session.node == node && session.incarnation < incarnation;
        for id in self.those(|entry| entry.session().is_some_and(is_older)) {
            self.end(id, "its node was started anew", false, ring, now);
        }
    }

    /// Ends all connections, and forgets what is known of peers.
    pub(super) fn end_all(&mut self, why: &str, ring: &mut Ring, now: Instant) {
        for id in self.those(|_| true) {
            self.refuse(id, Refusal::new(RefusalReason::Closing, why), ring, now);
        }
        self.wanted.clear();
        for (_, mut dialed) in std::mem::take(&mut self.dialed) {
            for question in dialed.take_waiting() {
                question.fail(Unreached::Unreachable(why.to_owned()));
            }
        }
        self.cores.clear();
        self.publishing = Publishing::default();
    }
}

/// Puts a socket into the ring, as one of a peer.
fn add(socket: OwnedFd, ring: &mut Ring) -> ConnId {
    let id = ring.add(socket);
    configure(id, ring);
    id
}

fn configure(id: ConnId, ring: &Ring) {
    let Some(socket) = ring.socket(id) else { return };
    if let Err(error) = socket::configure_peer(socket.as_fd(), limits::KEEPALIVE_S, limits::SILENCE_MAX) {
        tracing::debug!(%error, "socket options of a peer's connection could not be set");
    }
}

/// Appends to the output of a connection, unless its peer takes nothing any more.
pub(super) fn say(id: ConnId, words: &[u8], ring: &mut Ring) {
    if !words.is_empty()
        && let Some(output) = ring.output(id)
    {
        output.extend_from_slice(words);
    }
}

/// Random bytes for one greeting, of a generator that the operating system has seeded and that nobody can predict.
fn nonce() -> Nonce {
    Nonce(rand::random())
}

/// Tells a question that there is no way now.
pub(super) fn unreachable(question: Question, figures: &mut Figures, text: String) {
    figures.unreached += 1;
    question.fail(Unreached::Unreachable(text));
}
