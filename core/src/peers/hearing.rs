//! News from peers: greetings that are over, answers, and questions.

use std::time::Instant;

use basalt_net::peer::{GroupNumber, Heard, Kind, Lane, Message, PeerError, RequestId, Session, Unable, UnableReason};
use basalt_net::ring::{ConnId, Ring};

use super::entry::{Answered, Asking, Entry, Phase};
use super::links::{Links, say};
use crate::ids::CoreId;
use crate::limits::peers as limits;
use crate::mail::HandedPeer;

/// The place where a connection that has left the ring is to go.
pub(super) enum Bound {
    /// Another core.
    Core(CoreId, HandedPeer),
    /// Whoever receives snapshots.
    Snapshots(HandedPeer),
    /// Any core: it brings commands of a client of another node.
    Clients(HandedPeer),
}

impl Links {
    /// Takes bytes of a peer; returns its questions.
    pub(super) fn received(&mut self, id: ConnId, bytes: &[u8], ring: &mut Ring, now: Instant) -> Vec<Asking> {
        let (mut askings, mut said, mut input) = (Vec::new(), Vec::new(), bytes);
        let Some(mut entry) = self.take(id) else { return askings };
        self.figures.bytes_in += bytes.len() as u64;
        let outcome = loop {
            let acquaintance = |node| self.surroundings.acquaintance(node);
            match entry.link.feed(&mut input, acquaintance, &mut said) {
                Ok(None) => break Ok(()),
                Ok(Some(Heard::Met(session))) => {
                    say(id, &std::mem::take(&mut said), ring);
                    self.meet(&mut entry, session, ring, now);
                    if let Phase::Leaving(_, rest) = &mut entry.phase {
                        rest.extend_from_slice(input);
                        // If the peer has broken it, that is told too.
                        ring.release(id);
                        break Ok(());
                    }
                }
                Ok(Some(Heard::Message(group, request, message))) => {
                    self.figures.messages_in += 1;
                    entry.used = now;
                    if let Err(error) = self.hear(&mut entry, (group, request, message), &mut askings) {
                        if let Some(refusal) = error.refusal() {
                            entry.link.end(refusal, &mut said);
                        }
                        break Err(error);
                    }
                }
                Err(error) => break Err(error),
            }
        };
        say(id, &said, ring);
        self.put(entry);
        if let Err(error) = outcome {
            self.fail(id, &error, ring, now);
        }
        askings
    }

    /// A greeting is over. A connection that another core or the snapshots are to have is about to leave.
    fn meet(&mut self, entry: &mut Entry, session: Session, ring: &mut Ring, now: Instant) {
        let Session { node, incarnation, route, .. } = session;
        self.surroundings.met(node, incarnation);
        self.end_older(node, incarnation, ring, now);
        (entry.since, entry.used) = (now, now);
        let Some(way) = entry.way else {
            if matches!(route.lane, Lane::Snapshots | Lane::Clients) || route.accepting_core != self.core.0 {
                entry.phase = Phase::Leaving(session, Vec::new());
                return;
            }
            self.replace(&session, ring, now);
            entry.phase = Phase::Open;
            return;
        };
        entry.phase = Phase::Open;
        let Some(dialed) = self.dialed.get_mut(&way) else { return };
        dialed.backoff.reached();
        self.figures.reconnects += u64::from(std::mem::replace(&mut dialed.was_open, true));
        for question in dialed.take_waiting() {
            self.send(entry, question, now);
        }
    }

    /// Takes a message: an answer where this core asks, a question where the peer does.
    fn hear(
        &mut self,
        entry: &mut Entry,
        (group, request, message): (GroupNumber, RequestId, Message),
        askings: &mut Vec<Asking>,
    ) -> Result<(), PeerError> {
        let kind = message.kind();
        if entry.way.is_some() {
            if is_question(kind) {
                return Err(PeerError::Malformed { kind, what: "it is asked by the side that was dialed" });
            }
            // Nobody waits any more for one that comes late.
            let Some(asked) = entry.asked.remove(&request.0) else { return Ok(()) };
            let is_answer = kind == asked.expects || kind == Kind::Unable;
            if !is_answer || (group != GroupNumber::NONE && group != asked.group) {
                return Err(PeerError::Malformed { kind, what: "it answers another question" });
            }
            drop(asked.answer.send(Ok(message)));
            return Ok(());
        }
        let connection = entry.id;
        match message {
            Message::Heartbeats(heartbeats) => {
                for heartbeat in heartbeats {
                    let (group, message) = (heartbeat.group, Message::Heartbeats(vec![heartbeat]));
                    self.asks(entry, Asking { connection, group, request, message }, askings);
                }
            }
            Message::HeartbeatsTo(heartbeats) => {
                for (to, heartbeat) in heartbeats {
                    let (group, message) = (heartbeat.group, Message::HeartbeatsTo(vec![(to, heartbeat)]));
                    self.asks(entry, Asking { connection, group, request, message }, askings);
                }
            }
            Message::Publish(messages) => self.arrive(entry, request, messages),
            message if is_question(kind) => {
                self.asks(entry, Asking { connection, group, request, message }, askings);
            }
            _ => return Err(PeerError::Malformed { kind, what: "it answers no question" }),
        }
        Ok(())
    }

    /// Takes a question, unless its peer has asked too many.
    fn asks(&mut self, entry: &mut Entry, asking: Asking, askings: &mut Vec<Asking>) {
        if entry.answering < limits::ANSWERING_MAX {
            entry.answering += 1;
            return askings.push(asking);
        }
        self.figures.unable += 1;
        let Asking { connection, group, request, .. } = asking;
        let unable = Unable::new(UnableReason::Overloaded, "too many questions of this peer are being answered");
        self.push(entry, Answered { connection, group, request, message: Message::Unable(unable) });
    }

    /// A connection has left the ring.
    pub(super) fn released(&mut self, id: ConnId, socket: std::os::fd::OwnedFd, rest: &[u8]) -> Option<Bound> {
        let entry = self.take(id)?;
        let Phase::Leaving(session, mut received) = entry.phase else { return None };
        received.extend_from_slice(rest);
        self.figures.handed_over += 1;
        let core = CoreId(session.route.accepting_core);
        let peer = HandedPeer { socket, session, received };
        Some(match session.route.lane {
            Lane::Snapshots => Bound::Snapshots(peer),
            Lane::Clients => Bound::Clients(peer),
            Lane::Entries | Lane::Votes | Lane::Published => Bound::Core(core, peer),
        })
    }
}

/// True for kinds that a peer asks for something with.
fn is_question(kind: Kind) -> bool {
    matches!(
        kind,
        Kind::AppendEntries
            | Kind::AppendEntriesTo
            | Kind::Vote
            | Kind::VoteTo
            | Kind::PreVote
            | Kind::PreVoteTo
            | Kind::TransferLeader
            | Kind::Heartbeats
            | Kind::HeartbeatsTo
            | Kind::ReadIndex
            | Kind::Replica
            | Kind::GoesOn
            | Kind::Publish
    )
}
