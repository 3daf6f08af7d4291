//! Questions and answers on their way out, and what is due now and then.

use std::time::Instant;

use basalt_net::peer::{PeerError, PushError, Refusal, RefusalReason, RequestId};
use basalt_net::ring::{ConnId, Ring};

use super::entry::{Answered, Asked, Entry, Phase, Question, Way};
use super::links::{Links, unreachable};
use crate::limits::peers as limits;

impl Links {
    /// Asks a peer, by the connection that there is or by one that is to be made.
    pub(super) fn ask(&mut self, way: Way, question: Question, now: Instant) {
        if self.is_stopping {
            return unreachable(question, &mut self.figures, "this node stops".to_owned());
        }
        let open = self.dialed.get(&way).and_then(|dialed| dialed.connection);
        if let Some(mut entry) = open.and_then(|id| self.take(id)) {
            let is_open = entry.is_open();
            if is_open {
                self.send(&mut entry, question, now);
                return self.put(entry);
            }
            self.put(entry);
        }
        let dialed = self.dialed.entry(way).or_default();
        if dialed.connection.is_none() && dialed.backoff.is_on(now) {
            let text = format!("node {} could not be reached a moment ago: {}", way.node, dialed.last_end);
            return unreachable(question, &mut self.figures, text);
        }
        if let Some(question) = dialed.wait(question) {
            let text = format!("too much waits for the connection to node {}", way.node);
            return unreachable(question, &mut self.figures, text);
        }
        if dialed.connection.is_none() && !std::mem::replace(&mut dialed.is_wanted, true) {
            self.wanted.push(way);
        }
    }

    /// Sends a question on a connection that is open.
    pub(super) fn send(&mut self, entry: &mut Entry, question: Question, now: Instant) {
        if entry.asked.len() >= limits::QUESTIONS_MAX {
            return unreachable(question, &mut self.figures, "too many questions wait for this peer".to_owned());
        }
        let (request, frame_group) = (entry.next_request, question.frame_group());
        entry.next_request += 1;
        entry.used = now;
        let Question { group, message, expects, answer } = question;
        match entry.link.push(frame_group, RequestId(request), message) {
            Ok(()) => {
                self.figures.messages_out += 1;
                entry.asked.insert(request, Asked { group, expects, answer });
                self.soil(entry);
            }
            Err(error) => {
                self.figures.unreached += 1;
                self.not_queued(entry.id, &error);
                drop(answer.send(Err(basalt_raft::Unreached::Unreachable(error.to_string()))));
            }
        }
    }

    /// Takes an answer of one of this node's groups.
    pub(super) fn answer(&mut self, answered: Answered, now: Instant) {
        let Some(mut entry) = self.take(answered.connection) else { return };
        entry.answering -= 1;
        entry.used = now;
        self.push(&mut entry, answered);
        self.put(entry);
    }

    pub(super) fn push(&mut self, entry: &mut Entry, answered: Answered) {
        match entry.link.push(answered.group, answered.request, answered.message) {
            Ok(()) => {
                self.figures.messages_out += 1;
                self.soil(entry);
            }
            Err(error) => self.not_queued(entry.id, &error),
        }
    }

    fn not_queued(&mut self, id: ConnId, error: &PushError) {
        match error {
            PushError::Full { .. } => self.cut_off.push((id, error.to_string())),
            // Who asks is told each time, and asks again for as long as the peer is of that version.
            error @ PushError::UnknownKind { .. } => tracing::debug!(%error, "a peer does not understand a message"),
            // Nothing is wrong with the connection.
            error => tracing::warn!(%error, "a message to a peer cannot be sent"),
        }
    }

    /// Notes that a connection has something to send.
    fn soil(&mut self, entry: &mut Entry) {
        if !std::mem::replace(&mut entry.is_dirty, true) {
            self.dirty.push(entry.id);
        }
    }

    /// The peer has taken what it was given.
    pub(super) fn writable(&mut self, id: ConnId) {
        let Some(mut entry) = self.take(id) else { return };
        if entry.link.queued_bytes() > 0 {
            self.soil(&mut entry);
        }
        self.put(entry);
    }

    /// True if there is something to do with the ring.
    pub(super) fn has_work(&self) -> bool {
        !(self.dirty.is_empty() && self.wanted.is_empty() && self.cut_off.is_empty())
    }

    /// Does with the ring what has come up since the last time; true if there was something.
    pub(super) fn fill(&mut self, ring: &mut Ring, now: Instant) -> bool {
        if !self.has_work() {
            return false;
        }
        self.dial_wanted(ring, now);
        for (id, why) in std::mem::take(&mut self.cut_off) {
            if self.has(id) {
                self.figures.cut_off += 1;
                tracing::warn!(why, "a peer that does not read is cut off");
                self.end(id, &why, false, ring, now);
            }
        }
        let mut dirty = std::mem::take(&mut self.dirty);
        for id in dirty.drain(..) {
            self.give(id, ring);
        }
        self.dirty = dirty; // keeps its capacity
        true
    }

    /// Gives the ring as much of what waits for a peer as that is to have of it.
    fn give(&mut self, id: ConnId, ring: &mut Ring) {
        let Some(mut entry) = self.take(id) else { return };
        entry.is_dirty = false;
        let room = limits::OUTPUT_BYTES_MAX.saturating_sub(ring.output_bytes(id));
        if room > 0
            && let Some(output) = ring.output(id)
        {
            self.figures.bytes_out += entry.link.take(room, output) as u64;
        }
        self.put(entry);
    }

    // ---- now and then

    /// Looks after connections that take too long or that nobody uses. To be called about ten times a second.
    pub(super) fn tick(&mut self, ring: &mut Ring, now: Instant) {
        let is_late = |entry: &Entry| !entry.is_open() && now - entry.since > limits::GREETING_WAIT;
        for id in self.those(is_late) {
            let refusal = Refusal::new(RefusalReason::TooSlow, "the greeting took too long");
            self.figures.errors.add(&PeerError::Refused(refusal.clone()));
            self.refuse(id, refusal, ring, now);
            // It may not even be made.
            ring.close(id, false);
        }
        for id in self.those(|entry| is_unused(entry, now)) {
            self.end(id, "nobody has used it for long", true, ring, now);
        }
        for id in self.those(|entry| entry.is_open() && !entry.asked.is_empty()) {
            let Some(mut entry) = self.take(id) else { continue };
            entry.asked.retain(|_, asked| !asked.answer.is_canceled());
            self.put(entry);
        }
        self.dialed.retain(|_, dialed| !dialed.is_idle());
    }

    /// True if something becomes due with time alone.
    pub(super) fn has_deadlines(&self) -> bool {
        self.all().any(|entry| !matches!(entry.phase, Phase::Open))
    }
}

/// True for a connection that its side may close. The side that has made it closes first, so that no question meets a closed door.
fn is_unused(entry: &Entry, now: Instant) -> bool {
    let (is_busy, idle_max) = match entry.way {
        Some(_) => (!entry.asked.is_empty() || entry.link.queued_bytes() > 0, limits::IDLE_MAX),
        None => (entry.answering > 0, 2 * limits::IDLE_MAX),
    };
    entry.is_open() && !is_busy && now - entry.used > idle_max
}
