//! A client connection on its core: what it has sent and not been answered.
//!
//! Replies leave in the order of the requests, whichever shard answers first: each request that cannot be answered at once
//! has a slot, and a slot's reply waits until those before it are out.

use std::collections::VecDeque;
use std::time::Instant;

use basalt_net::resp::Decoder;
use basalt_net::ring::ConnId;

use crate::coordinator::Coordinator;
use crate::limits;
use crate::session::Session;

/// A request's place in the order of replies.
enum Slot {
    /// Not answered yet.
    Waiting {
        /// Whether the client does not want the reply (`CLIENT REPLY OFF`).
        silent: bool,
    },
    /// Answered by many parts.
    Coordinated {
        /// What makes one reply of them.
        coordinator: Box<dyn Coordinator>,
        /// Parts asked for so far.
        part_count: usize,
        /// The id of the command the client asked for.
        asked: u16,
        /// See [`Slot::Waiting`].
        silent: bool,
    },
    /// Answered; waits for the slots before it.
    Ready(Box<[u8]>),
}

/// One client connection.
pub struct Connection {
    /// The connection in the core's ring.
    pub ring: ConnId,
    /// What its commands read and set.
    pub session: Session,
    /// Where decoding stands in `input`.
    pub decoder: Decoder,
    /// Bytes received and not decoded yet.
    pub input: Vec<u8>,
    /// Writes sent to shards and not answered.
    pub writes_unanswered: u32,
    /// The request number that all before must be answered before another is decoded.
    pub barrier: bool,
    /// Whether decoding stopped for want of room and is to be taken up again.
    pub stalled: bool,
    /// Since when the unread output is above the soft limit.
    pub output_over_since: Option<Instant>,
    /// Whether receiving is paused in the ring.
    pub paused: bool,
    /// Whether the peer sends no more.
    pub ended: bool,
    slots: VecDeque<Slot>,
    first: u64,
    ready_bytes: usize,
}

impl Connection {
    /// A fresh connection.
    pub fn new(ring: ConnId, session: Session) -> Connection {
        Connection {
            ring,
            session,
            decoder: Decoder::default(),
            input: Vec::new(),
            writes_unanswered: 0,
            barrier: false,
            stalled: false,
            output_over_since: None,
            paused: false,
            ended: false,
            slots: VecDeque::new(),
            first: 0,
            ready_bytes: 0,
        }
    }

    /// Whether a reply may be written straight to the output: none before it is missing.
    pub fn is_caught_up(&self) -> bool {
        self.slots.is_empty()
    }

    /// Requests that are not answered.
    pub fn unanswered(&self) -> usize {
        self.slots.len()
    }

    /// Bytes of replies that wait for those before them.
    pub fn ready_bytes(&self) -> usize {
        self.ready_bytes
    }

    /// Opens a slot for a request answered later, and gives its number.
    pub fn open_slot(&mut self, silent: bool) -> u64 {
        self.slots.push_back(Slot::Waiting { silent });
        self.first + self.slots.len() as u64 - 1
    }

    /// Opens a slot whose reply to the command with the id `asked` `coordinator` makes of `part_count` parts.
    pub fn open_coordinated(
        &mut self,
        coordinator: Box<dyn Coordinator>,
        part_count: usize,
        asked: u16,
        silent: bool,
    ) -> u64 {
        self.slots.push_back(Slot::Coordinated { coordinator, part_count, asked, silent });
        self.first + self.slots.len() as u64 - 1
    }

    /// Adds a reply that is there already, behind those that are missing.
    pub fn push_ready(&mut self, reply: &[u8]) {
        self.ready_bytes += reply.len();
        self.slots.push_back(Slot::Ready(reply.into()));
    }

    /// Fills slot `number` and moves every reply that is due to `out`.
    pub fn fill(&mut self, number: u64, reply: &[u8], out: &mut Vec<u8>) {
        let index = (number - self.first) as usize;
        let silent = match &self.slots[index] {
            Slot::Waiting { silent } | Slot::Coordinated { silent, .. } => *silent,
            Slot::Ready(_) => unreachable!("a request is answered once"),
        };
        let reply = if silent { &[] } else { reply };
        if index > 0 {
            self.ready_bytes += reply.len();
            self.slots[index] = Slot::Ready(reply.into());
            return;
        }
        out.extend_from_slice(reply);
        self.slots.pop_front();
        self.first += 1;
        while let Some(Slot::Ready(reply)) = self.slots.front() {
            out.extend_from_slice(reply);
            self.ready_bytes -= reply.len();
            self.slots.pop_front();
            self.first += 1;
        }
        if self.slots.is_empty() && self.slots.capacity() > limits::SLOTS_KEPT {
            self.slots = VecDeque::new();
        }
    }

    /// The coordinator of slot `number`, if it has one, how many parts it has asked for, and the id of its command.
    pub fn coordinator(&mut self, number: u64) -> Option<(&mut dyn Coordinator, &mut usize, u16)> {
        match self.slots.get_mut((number - self.first) as usize) {
            Some(Slot::Coordinated { coordinator, part_count, asked, .. }) => {
                Some((&mut **coordinator, part_count, *asked))
            }
            _ => None,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn replies_leave_in_the_order_of_the_requests() {
        let mut connection = Connection::for_tests();
        let (a, b) = (connection.open_slot(false), connection.open_slot(true));
        connection.push_ready(b"c");
        let d = connection.open_slot(false);
        let mut out = Vec::new();
        connection.fill(d, b"d", &mut out);
        connection.fill(b, b"b", &mut out);
        assert!(out.is_empty());
        connection.fill(a, b"a", &mut out);
        assert_eq!(out, b"acd", "b was not wanted");
        assert!(connection.is_caught_up());
    }

    impl Connection {
        fn for_tests() -> Connection {
            Connection::new(ConnId::default(), Session::new(1, None, None, Instant::now()))
        }
    }
}
