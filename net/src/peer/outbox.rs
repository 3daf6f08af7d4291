//! Messages on their way to one peer: queued by class, cut into frames when the connection takes more.
//!
//! Small messages (answers, votes, heartbeats) go first, in one frame each. Those that may be long wait in a queue for each group,
//! and the groups take turns, a frame at a time: so a message of 64 MiB of one group holds up another's by a piece. Within a group
//! and class the order stays.
//!
//! A newcomer would let every group begin its long message: the peer joins no more than it said in its greeting, and ends the
//! connection beyond. So one that does not fit waits, and all others that have not begun wait behind it.

use std::collections::{HashMap, VecDeque};
use std::mem;

use bytes::Bytes;

use super::bounds::Bounds;
use super::frame::{Header, PAYLOAD_BYTES, PIECE_BYTES, Piece, put_frame};
use super::ids::{GroupNumber, RequestId};
use super::kind::{Kind, Lane};
use super::messages::{Encoded, Message};
use super::push_error::PushError;
use crate::limits::CONTROL_BYTES_MAX;

/// The messages to one peer on one connection.
#[derive(Debug)]
pub struct Outbox {
    lane: Lane,
    version: u16,
    /// The bounds that the peer named.
    bounds: Bounds,
    queue_bytes_max: usize,
    queued_bytes: usize,
    /// Messages that go first.
    small: VecDeque<Outgoing>,
    /// Messages of each group that may be long. None of the queues is empty.
    bulk: HashMap<GroupNumber, VecDeque<Outgoing>>,
    /// Groups whose first message can go on, in the order of their turns.
    ready: VecDeque<GroupNumber>,
    /// Groups whose first message goes in pieces and waits until the peer can join it.
    waiting: VecDeque<GroupNumber>,
    /// Bytes of the messages that the peer is joining, once they are whole.
    joining_bytes: u64,
}

/// A message in the queue.
#[derive(Debug)]
struct Outgoing {
    kind: Kind,
    group: GroupNumber,
    request: RequestId,
    head: Bytes,
    bodies: std::vec::IntoIter<Bytes>,
    total: usize,
    sent: usize,
    /// Bytes that it counts with in the queue.
    cost: usize,
}

impl Outbox {
    /// Queues for a peer that has been greeted: for its lane, the version and the bounds of the [`Session`](super::Session). More
    /// than `queue_bytes_max` bytes are not queued; less than one of the longest messages and 4 MiB counts as that.
    pub fn new(lane: Lane, version: u16, bounds: Bounds, queue_bytes_max: usize) -> Outbox {
        // What is longer than the peer joins could never begin.
        let bounds = Bounds { message_bytes_max: bounds.message_bytes_max.min(bounds.joined_bytes_max), ..bounds };
        // With less, a peer that is in the middle of a long message could be sent no answer.
        let least = bounds.message_bytes_max as usize + CONTROL_BYTES_MAX as usize;
        Outbox {
            lane,
            version,
            bounds,
            queue_bytes_max: queue_bytes_max.max(least),
            queued_bytes: 0,
            small: VecDeque::new(),
            bulk: HashMap::new(),
            ready: VecDeque::new(),
            waiting: VecDeque::new(),
            joining_bytes: 0,
        }
    }

    /// Bytes in the queue, with what their administration takes.
    pub fn queued_bytes(&self) -> usize {
        self.queued_bytes
    }

    /// True if there is nothing to send.
    pub fn is_empty(&self) -> bool {
        self.queued_bytes == 0
    }

    /// Queues a message. Entries and pieces of snapshots are not copied.
    ///
    /// # Errors
    /// [`PushError::Full`] if the peer does not read: it is to be cut off. Others if the message is one that the peer would refuse.
    /// It is dropped then, and the queue is as before.
    pub fn push(&mut self, group: GroupNumber, request: RequestId, message: Message) -> Result<(), PushError> {
        let (kind, lane, version) = (message.kind(), self.lane, self.version);
        if !kind.is_in(version) {
            return Err(PushError::UnknownKind { kind, version });
        }
        if !kind.goes_by(Some(lane)) {
            return Err(PushError::WrongLane { kind, lane });
        }
        if !kind.may_be_of(group) {
            return Err(PushError::WrongGroup { kind, group });
        }
        let outgoing = Outgoing::new(group, request, message.encode()?);
        let (bytes, bytes_max) = (outgoing.total as u64, u64::from(self.bounds.bytes_max(kind)));
        if bytes > bytes_max {
            return Err(PushError::TooLong { kind, bytes, bytes_max });
        }
        if self.queued_bytes + outgoing.cost > self.queue_bytes_max {
            return Err(PushError::Full { queued_bytes: self.queued_bytes, bytes_max: self.queue_bytes_max });
        }
        self.queued_bytes += outgoing.cost;
        if !kind.is_bulk() {
            assert!(!outgoing.is_cut(), "a {kind} fits into a frame by its bounds");
            self.small.push_back(outgoing);
        } else if let Some(queue) = self.bulk.get_mut(&group) {
            queue.push_back(outgoing);
        } else {
            self.bulk.insert(group, VecDeque::from([outgoing]));
            self.line_up(group);
        }
        Ok(())
    }

    /// Appends frames to `output`, which is the only copy of what is in them, until it has grown by `bytes` or nothing is left; the
    /// last one may go 64 KiB beyond. Returns the bytes by which it has grown.
    pub fn take(&mut self, bytes: usize, output: &mut Vec<u8>) -> usize {
        let begin = output.len();
        while output.len() - begin < bytes {
            if let Some(mut outgoing) = self.small.pop_front() {
                outgoing.put_next(output);
                self.queued_bytes -= outgoing.cost;
            } else if !self.take_turn(output) {
                break;
            }
        }
        output.len() - begin
    }

    /// Lets the next group send a frame; false if there is none.
    fn take_turn(&mut self, output: &mut Vec<u8>) -> bool {
        let Some(group) = self.ready.pop_front() else {
            assert!(self.waiting.is_empty(), "a message that waits for others to be joined waits for one that is sent");
            return false;
        };
        let queue = self.bulk.get_mut(&group).expect("a group with a turn has messages");
        let outgoing = queue.front_mut().expect("no queue is empty");
        outgoing.put_next(output);
        if outgoing.sent < outgoing.total {
            self.ready.push_back(group);
            return true;
        }
        self.joining_bytes -= if outgoing.is_cut() { outgoing.total as u64 } else { 0 };
        self.queued_bytes -= outgoing.cost;
        queue.pop_front();
        let has_more = !queue.is_empty();
        if !has_more {
            self.bulk.remove(&group);
        }
        while let Some(&waiting) = self.waiting.front()
            && self.may_begin(waiting)
        {
            self.waiting.pop_front();
            self.begin(waiting);
        }
        if has_more {
            self.line_up(group);
        }
        true
    }

    /// Gives a group whose first message has not begun a turn, or lets it wait.
    fn line_up(&mut self, group: GroupNumber) {
        if self.cut_bytes(group) > 0 && !(self.waiting.is_empty() && self.may_begin(group)) {
            self.waiting.push_back(group);
        } else {
            self.begin(group);
        }
    }

    fn begin(&mut self, group: GroupNumber) {
        self.joining_bytes += self.cut_bytes(group);
        self.ready.push_back(group);
    }

    /// True if the peer can join the first message of the group with those that it joins already.
    fn may_begin(&self, group: GroupNumber) -> bool {
        self.joining_bytes + self.cut_bytes(group) <= u64::from(self.bounds.joined_bytes_max)
    }

    /// Bytes of the group's first message if it goes in pieces.
    fn cut_bytes(&self, group: GroupNumber) -> u64 {
        let first = self.bulk.get(&group).and_then(VecDeque::front);
        first.filter(|first| first.is_cut()).map_or(0, |first| first.total as u64)
    }
}

impl Outgoing {
    fn new(group: GroupNumber, request: RequestId, encoded: Encoded) -> Outgoing {
        let Encoded { kind, head, bodies } = encoded;
        let total = head.len() + bodies.iter().map(Bytes::len).sum::<usize>();
        // A queue of very small messages takes more memory than their bytes.
        let cost = total + mem::size_of::<Outgoing>() + bodies.len() * mem::size_of::<Bytes>();
        Outgoing { kind, group, request, head: head.into(), bodies: bodies.into_iter(), total, sent: 0, cost }
    }

    /// True if it goes in pieces.
    fn is_cut(&self) -> bool {
        self.total > PAYLOAD_BYTES
    }

    /// Appends its next frame.
    fn put_next(&mut self, output: &mut Vec<u8>) {
        let (most, piece) = if self.is_cut() {
            let place = Piece { total: self.total as u32, offset: self.sent as u32 };
            (PAYLOAD_BYTES - PIECE_BYTES, Some(place))
        } else {
            (PAYLOAD_BYTES, None)
        };
        let data_bytes = most.min(self.total - self.sent);
        let (kind, group, request) = (self.kind, self.group, self.request);
        let header = Header { kind, group, request, piece, data_bytes, checksum: 0 };
        put_frame(&header, output, |output, checksum| self.put_data(data_bytes, output, checksum));
        self.sent += data_bytes;
    }

    /// Appends the next `bytes` bytes of it and lets go of what has been sent; returns their checksum behind `checksum`.
    fn put_data(&mut self, mut bytes: usize, output: &mut Vec<u8>, mut checksum: u32) -> u32 {
        loop {
            let taken = self.head.split_to(bytes.min(self.head.len()));
            output.extend_from_slice(&taken);
            checksum = crc32c::crc32c_append(checksum, &taken);
            bytes -= taken.len();
            if bytes == 0 {
                return checksum;
            }
            self.head = self.bodies.next().expect("the parts are as long as the whole");
        }
    }
}
