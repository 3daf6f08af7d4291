//! Messages that clients have published, on their way to the subscribers of other nodes, and those that come from there.
//!
//! A core says what its clients publish to core 0 of each other node. What comes from one node's core goes by one link, in its
//! order. A few batches at a time wait for their answers, and what is published meanwhile waits here and goes as one; who hears a
//! batch answers it once all of it is taken over, so a node with much to do is given no more. Beyond a bound messages are dropped,
//! and counted: no publisher waits for another node.
//!
//! What a newcomer would get wrong: nothing is said twice. A batch whose answer does not come may have been heard, and a subscriber
//! is to hear a message once at most.

use std::collections::VecDeque;
use std::time::Instant;

use basalt_net::peer::{GroupNumber, Kind, Lane, Message, NodeNumber, PublishedMessage, RequestId};
use basalt_net::ring::ConnId;
use basalt_raft::Unreached;
use bytes::Bytes;
use futures_channel::oneshot;

use super::Peers;
use super::entry::{Answered, Entry, Question, Way};
use super::figures::Figures;
use super::links::Links;
use crate::limits::peers as limits;

/// Messages that other nodes have yet to hear of this core's clients, and those that they have said.
#[derive(Default)]
pub(super) struct Publishing {
    /// The nodes that have yet to hear or to answer something, by their numbers.
    nodes: Vec<ToNode>,
    /// The place of the node that is told first next time.
    first: usize,
    /// Batches of other nodes, in the order in which they came.
    arrived: VecDeque<Arrived>,
    /// Bytes of those.
    arrived_bytes: usize,
}

/// Messages for one node.
struct ToNode {
    node: NodeNumber,
    queue: VecDeque<PublishedMessage>,
    queued_bytes: usize,
    /// Batches without an answer, the first one said first.
    unanswered: VecDeque<Said>,
    unanswered_bytes: usize,
}

/// A batch that was said to a node.
struct Said {
    answered: oneshot::Receiver<Result<Message, Unreached>>,
    count: usize,
    bytes: usize,
}

/// A batch that a node has said.
struct Arrived {
    connection: ConnId,
    request: RequestId,
    /// Those that have not been taken over.
    messages: std::vec::IntoIter<PublishedMessage>,
    bytes: usize,
}

/// Bytes of memory that messages take.
fn bytes_of(messages: &[PublishedMessage]) -> usize {
    messages.iter().map(cost_of).sum()
}

fn cost_of(message: &PublishedMessage) -> usize {
    size_of::<PublishedMessage>() + message.bytes()
}

impl Publishing {
    /// True if some node is to hear something now.
    fn has_more(&mut self, figures: &mut Figures) -> bool {
        self.nodes.iter_mut().any(|to| {
            to.settle(figures);
            !to.queue.is_empty() && to.may_be_told()
        })
    }

    /// Bytes of memory that messages take that wait here.
    fn bytes(&self) -> usize {
        self.arrived_bytes + self.nodes.iter().map(|to| to.queued_bytes + to.unanswered_bytes).sum::<usize>()
    }
}

impl ToNode {
    fn new(node: NodeNumber) -> ToNode {
        ToNode { node, queue: VecDeque::new(), queued_bytes: 0, unanswered: VecDeque::new(), unanswered_bytes: 0 }
    }

    /// Queues a message, or drops it if too much waits.
    fn push(&mut self, message: PublishedMessage, figures: &mut Figures) {
        if self.queued_bytes >= limits::PUBLISHED_QUEUE_BYTES {
            figures.published_lost += 1;
            return;
        }
        self.queued_bytes += cost_of(&message);
        self.queue.push_back(message);
    }

    /// Takes note of answers.
    fn settle(&mut self, figures: &mut Figures) {
        while let Some(first) = self.unanswered.front_mut() {
            let is_heard = match first.answered.try_recv() {
                Ok(None) => return,
                Ok(Some(answer)) => matches!(answer, Ok(Message::PublishAnswer(true))),
                Err(_) => false,
            };
            let count = if is_heard { &mut figures.published_out } else { &mut figures.published_lost };
            *count += first.count as u64;
            self.unanswered_bytes -= first.bytes;
            self.unanswered.pop_front();
        }
    }

    /// True if the node may be told something before it has answered what it was told.
    fn may_be_told(&self) -> bool {
        self.unanswered.len() < limits::PUBLISHED_BATCHES && self.unanswered_bytes < limits::PUBLISHED_UNANSWERED_BYTES
    }

    /// The next messages that go together. One that is longer than those may be goes alone.
    fn next_batch(&mut self) -> Vec<PublishedMessage> {
        let (mut batch, mut bytes) = (Vec::new(), 0);
        while batch.len() < PublishedMessage::COUNT_MAX
            && let Some(next) = self
                .queue
                .pop_front_if(|next| batch.is_empty() || bytes + cost_of(next) <= limits::PUBLISHED_BATCH_BYTES)
        {
            bytes += cost_of(&next);
            batch.push(next);
        }
        self.queued_bytes -= bytes;
        batch
    }

    fn is_idle(&self) -> bool {
        self.queue.is_empty() && self.unanswered.is_empty()
    }
}

impl Links {
    /// True if some node is to hear now what was published.
    pub(super) fn has_published(&mut self) -> bool {
        self.publishing.has_more(&mut self.figures)
    }

    /// Says what was published to those who are to hear it, as far as they have answered what they have heard. True if there was
    /// something to say.
    pub(super) fn say_published(&mut self, now: Instant) -> bool {
        if self.publishing.nodes.is_empty() {
            return false;
        }
        let mut nodes = std::mem::take(&mut self.publishing.nodes);
        // Another one comes first each time: one that cannot be reached would use up what may be said in a turn.
        self.publishing.first = (self.publishing.first + 1) % nodes.len();
        let (last, first) = nodes.split_at_mut(self.publishing.first);
        let mut left = limits::PUBLISHED_BATCHES_PER_TURN;
        for to in first.iter_mut().chain(last) {
            to.settle(&mut self.figures);
            while left > 0 && !to.queue.is_empty() && to.may_be_told() {
                let batch = to.next_batch();
                let (count, bytes) = (batch.len(), bytes_of(&batch));
                let (answer, answered) = oneshot::channel();
                let (group, message, expects) = (GroupNumber::NONE, Message::Publish(batch), Kind::PublishAnswer);
                let way = Way { node: to.node, core: 0, lane: Lane::Published };
                self.ask(way, Question { group, message, expects, answer }, now);
                to.unanswered_bytes += bytes;
                to.unanswered.push_back(Said { answered, count, bytes });
                // A node that cannot be reached has answered so at once.
                to.settle(&mut self.figures);
                left -= 1;
            }
        }
        nodes.retain(|to| !to.is_idle());
        self.publishing.nodes = nodes;
        left < limits::PUBLISHED_BATCHES_PER_TURN
    }

    /// Takes in what clients of another node have published.
    pub(super) fn arrive(&mut self, entry: &mut Entry, request: RequestId, messages: Vec<PublishedMessage>) {
        let bytes = bytes_of(&messages);
        if entry.answering >= limits::ANSWERING_MAX || self.publishing.arrived_bytes >= limits::PUBLISHED_ARRIVED_BYTES
        {
            self.figures.published_refused += messages.len() as u64;
            let message = Message::PublishAnswer(false);
            return self.push(entry, Answered { connection: entry.id, group: GroupNumber::NONE, request, message });
        }
        entry.answering += 1;
        self.publishing.arrived_bytes += bytes;
        let (connection, messages) = (entry.id, messages.into_iter());
        self.publishing.arrived.push_back(Arrived { connection, request, messages, bytes });
    }
}

impl Peers {
    /// Has the subscribers of `nodes` hear of a message, if they can be reached. Those of one core come in the order of the calls.
    pub fn publish(&self, nodes: impl Iterator<Item = NodeNumber>, channel: &[u8], message: &[u8]) {
        let mut nodes = nodes.peekable();
        if nodes.peek().is_none() {
            return;
        }
        let both = Bytes::from([channel, message].concat());
        let published = PublishedMessage { channel: both.slice(..channel.len()), message: both.slice(channel.len()..) };
        let links = &mut *self.0.links.borrow_mut();
        let (publishing, figures) = (&mut links.publishing, &mut links.figures);
        for node in nodes {
            let known = publishing.nodes.binary_search_by_key(&node, |to| to.node);
            let at = known.unwrap_or_else(|at| {
                publishing.nodes.insert(at, ToNode::new(node));
                at
            });
            publishing.nodes[at].push(published.clone(), figures);
        }
    }

    /// Returns whether clients of other nodes have published something that has not been taken over.
    pub fn has_arrived(&self) -> bool {
        !self.0.links.borrow().publishing.arrived.is_empty()
    }

    /// Takes over the next message that a client of another node has published. With the last one of its batch that node is
    /// told so.
    pub fn take_arrived(&self) -> Option<PublishedMessage> {
        loop {
            let links = &mut *self.0.links.borrow_mut();
            let publishing = &mut links.publishing;
            let first = publishing.arrived.front_mut()?;
            let message = first.messages.next();
            if first.messages.len() == 0
                && let Some(Arrived { connection, request, bytes, .. }) = publishing.arrived.pop_front()
            {
                publishing.arrived_bytes -= bytes;
                let (group, message) = (GroupNumber::NONE, Message::PublishAnswer(true));
                self.0.answers.borrow_mut().push(Answered { connection, group, request, message });
            }
            if message.is_some() {
                links.figures.published_in += 1;
                return message;
            }
        }
    }

    /// Bytes of memory that messages take which other nodes have yet to hear, and which they have said.
    pub fn published_bytes(&self) -> usize {
        self.0.links.borrow().publishing.bytes()
    }
}
