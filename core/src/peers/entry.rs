//! One connection of a core with a peer, and one way to a peer.

use std::collections::HashMap;
use std::time::Instant;

use basalt_net::peer::{GroupNumber, Kind, Lane, Link, Message, NodeNumber, PublishedMessage, RequestId, Session};
use basalt_net::ring::ConnId;
use basalt_raft::Unreached;
use futures_channel::oneshot;

use super::backoff::Backoff;
use crate::limits::peers as limits;

/// A core of another node and the purpose for which it is asked. There is one connection for each that is in use.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub(super) struct Way {
    pub(super) node: NodeNumber,
    pub(super) core: u16,
    pub(super) lane: Lane,
}

/// Brings an answer to who has asked, or says why there is none.
pub(super) type Answer = oneshot::Sender<Result<Message, Unreached>>;

/// A question on its way out.
pub(super) struct Question {
    pub(super) group: GroupNumber,
    pub(super) message: Message,
    /// The kind of the answer.
    pub(super) expects: Kind,
    pub(super) answer: Answer,
}

impl Question {
    /// Says why there is no answer. Nobody may be waiting for it any more.
    pub(super) fn fail(self, why: Unreached) {
        drop(self.answer.send(Err(why)));
    }

    /// Bytes that it holds while it waits: those of its entries, or of what was published.
    pub(super) fn bytes(&self) -> usize {
        match &self.message {
            Message::AppendEntries(append) | Message::AppendEntriesTo(_, append) => {
                append.entries.iter().map(|record| record.body.len()).sum()
            }
            Message::Publish(messages) => messages.iter().map(PublishedMessage::bytes).sum(),
            _ => 0,
        }
    }

    /// The group that its frames have.
    pub(super) fn frame_group(&self) -> GroupNumber {
        let is_of_several = matches!(self.message, Message::Heartbeats(_) | Message::HeartbeatsTo(_));
        if is_of_several { GroupNumber::NONE } else { self.group }
    }
}

/// A question that was sent.
pub(super) struct Asked {
    pub(super) group: GroupNumber,
    pub(super) expects: Kind,
    pub(super) answer: Answer,
}

/// A question of a peer, to be answered by a group of this node.
pub(super) struct Asking {
    pub(super) connection: ConnId,
    pub(super) group: GroupNumber,
    pub(super) request: RequestId,
    pub(super) message: Message,
}

/// The answer to an [`Asking`].
pub(super) struct Answered {
    pub(super) connection: ConnId,
    /// The group that its frame has.
    pub(super) group: GroupNumber,
    pub(super) request: RequestId,
    pub(super) message: Message,
}

/// The state of a connection.
pub(super) enum Phase {
    /// It is being made.
    Connecting,
    /// It is being greeted.
    Greeting,
    /// Both sides know each other.
    Open,
    /// It is on its way out of the ring, to another core or a thread, with what came behind its greeting.
    Leaving(Session, Vec<u8>),
}

/// One connection. Questions go one way on it: from the side that has made it.
pub(super) struct Entry {
    pub(super) id: ConnId,
    pub(super) link: Link,
    /// The aim of one that this core has made.
    pub(super) way: Option<Way>,
    pub(super) phase: Phase,
    /// The time when it was begun; once it is open, when it was greeted.
    pub(super) since: Instant,
    /// The time of the last question or answer.
    pub(super) used: Instant,
    /// Questions without an answer, by their request.
    pub(super) asked: HashMap<u64, Asked>,
    pub(super) next_request: u64,
    /// The peer's questions that are being answered.
    pub(super) answering: usize,
    /// It is on the list of those with something to send.
    pub(super) is_dirty: bool,
}

impl Entry {
    pub(super) fn new(id: ConnId, link: Link, way: Option<Way>, phase: Phase, now: Instant) -> Entry {
        Entry {
            id,
            link,
            way,
            phase,
            since: now,
            used: now,
            asked: HashMap::new(),
            next_request: 1,
            answering: 0,
            is_dirty: false,
        }
    }

    pub(super) fn is_open(&self) -> bool {
        matches!(self.phase, Phase::Open)
    }

    /// The session, once it is greeted.
    pub(super) fn session(&self) -> Option<&Session> {
        self.link.session()
    }

    /// True for the connection that a peer's core has made for the same purpose as one with `session`.
    pub(super) fn is_for_the_same(&self, session: &Session) -> bool {
        let same = |own: &Session| (own.node, own.route) == (session.node, session.route);
        self.way.is_none() && self.session().is_some_and(same)
    }
}

/// A way to a peer: its connection, or what is known of why there is none.
#[derive(Default)]
pub(super) struct Dialed {
    pub(super) connection: Option<ConnId>,
    /// It is on the list of those to be dialed.
    pub(super) is_wanted: bool,
    /// Questions that wait until the connection is greeted.
    pub(super) waiting: Vec<Question>,
    pub(super) waiting_bytes: usize,
    pub(super) backoff: Backoff,
    /// A connection was open before.
    pub(super) was_open: bool,
    /// The reason that the last one ended.
    pub(super) last_end: String,
}

impl Dialed {
    /// True if nothing would be lost with it.
    pub(super) fn is_idle(&self) -> bool {
        self.connection.is_none() && !self.is_wanted && self.waiting.is_empty() && self.backoff.is_clear()
    }

    /// The questions that wait and whose answers are still wanted.
    pub(super) fn take_waiting(&mut self) -> Vec<Question> {
        self.forget_unwanted();
        self.waiting_bytes = 0;
        std::mem::take(&mut self.waiting)
    }

    /// Takes a question to wait, or gives it back if too much waits already.
    pub(super) fn wait(&mut self, question: Question) -> Option<Question> {
        if self.waiting.len() >= limits::WAITING_MAX || self.waiting_bytes >= limits::WAITING_BYTES_MAX {
            self.forget_unwanted();
        }
        if self.waiting.len() >= limits::WAITING_MAX || self.waiting_bytes >= limits::WAITING_BYTES_MAX {
            return Some(question);
        }
        self.waiting_bytes += question.bytes();
        self.waiting.push(question);
        None
    }

    /// Forgets questions whose answers nobody waits for any more.
    fn forget_unwanted(&mut self) {
        self.waiting.retain(|question| !question.answer.is_canceled());
        self.waiting_bytes = self.waiting.iter().map(Question::bytes).sum();
    }
}

#[cfg(test)]
mod tests {
    use basalt_net::peer::{AppendEntries, Record, Vote};

    use super::*;

    fn question(bytes: usize) -> (Question, oneshot::Receiver<Result<Message, Unreached>>) {
        let vote = Vote { term: 1, node: NodeNumber(1), is_committed: true };
        let entries = vec![Record { index: 0, term: 1, body: vec![7; bytes].into() }];
        let message = Message::AppendEntries(AppendEntries { vote, previous: None, committed: None, entries });
        let (answer, answered) = oneshot::channel();
        (Question { group: GroupNumber(1), message, expects: Kind::AppendAnswer, answer }, answered)
    }

    #[test]
    fn questions_wait_up_to_a_bound_and_those_that_nobody_wants_answered_count_no_more() {
        for (bytes, most) in [(1, limits::WAITING_MAX), (1 << 20, limits::WAITING_BYTES_MAX >> 20)] {
            let (mut dialed, mut answers) = (Dialed::default(), Vec::new());
            let last = loop {
                let (question, answered) = question(bytes);
                match dialed.wait(question) {
                    None => answers.push(answered),
                    Some(question) => break question,
                }
            };
            assert_eq!(answers.len(), most);
            answers.truncate(most / 2);
            assert!(dialed.wait(last).is_none());
            assert_eq!(dialed.waiting.len(), most / 2 + 1);
            answers.clear();
            // The last one's asker is gone as well.
            assert!(dialed.take_waiting().is_empty() && dialed.waiting_bytes == 0);
        }
    }
}
