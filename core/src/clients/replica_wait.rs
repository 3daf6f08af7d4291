//! A client's wait until replicas have what it has written (WAIT, WAITAOF), on the core that has its connection.

use std::time::Instant;

use crate::ids::{ShardId, Ticket};

/// A wait of a client. Its place in the order of its connection's replies has the counts that have come so far.
#[derive(Debug)]
pub struct ReplicaWait {
    /// The place.
    pub place: u64,
    /// The shards whose replicas are counted, each with the request that it has not answered, if there is one.
    pub parts: Vec<(ShardId, Option<Ticket>)>,
    /// The moment at which it ends, and a number that makes it one of its own.
    pub deadline: Option<(Instant, u64)>,
    /// True once the shards were told that it ends.
    pub is_told: bool,
}

impl ReplicaWait {
    /// Notes that the shard of a part has answered. True if all have.
    pub fn note_answer(&mut self, part: usize) -> bool {
        if let Some((_, ticket)) = self.parts.get_mut(part) {
            *ticket = None;
        }
        self.parts.iter().all(|(_, ticket)| ticket.is_none())
    }

    /// Bytes of memory that it holds.
    pub fn bytes(&self) -> usize {
        size_of::<ReplicaWait>() + self.parts.capacity() * size_of::<(ShardId, Option<Ticket>)>()
    }
}
