//! Requests of this core's connections that shards have not answered.

use basalt_net::ring::ConnId;

use crate::ids::Ticket;

/// The way of a reply back to the client of its request.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct PendingRequest {
    /// The connection. It may be gone by the time the reply comes.
    pub connection: ConnId,
    /// The place in the connection's order of replies.
    pub place: u64,
    /// Number of the part, for a command that takes many shards.
    pub part: u32,
    /// True if it has its place among a shard's writes (see [`crate::entry::request::Mode`]).
    pub ordered: bool,
}

/// The place of a reply that nobody waits for.
pub const NOBODY: u64 = u64::MAX;

/// Requests that wait for a reply, by ticket. Bounded by the connections' own bounds.
#[derive(Debug, Default)]
pub struct PendingRequests {
    entries: Vec<Option<PendingRequest>>,
    free: Vec<u32>,
}

impl PendingRequests {
    /// Notes a request and gives its ticket.
    pub fn insert(&mut self, request: PendingRequest) -> Ticket {
        if let Some(index) = self.free.pop() {
            self.entries[index as usize] = Some(request);
            return Ticket(index);
        }
        self.entries.push(Some(request));
        Ticket(self.entries.len() as u32 - 1)
    }

    /// The request of `ticket`, if it waits.
    pub fn get(&self, ticket: Ticket) -> Option<&PendingRequest> {
        self.entries.get(ticket.0 as usize)?.as_ref()
    }

    /// Takes the request of `ticket` back: every request is answered once.
    ///
    /// # Panics
    /// If it was answered before.
    pub fn take(&mut self, ticket: Ticket) -> PendingRequest {
        let request = self.entries[ticket.0 as usize].take().expect("every request is answered once");
        self.free.push(ticket.0);
        request
    }

    /// Returns the number of requests that wait.
    pub fn len(&self) -> usize {
        self.entries.len() - self.free.len()
    }

    /// Returns whether none waits.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn tickets_are_used_again() {
        let mut pending = PendingRequests::default();
        let request = |place| PendingRequest { connection: ConnId::default(), place, part: 0, ordered: false };
        let (a, b) = (pending.insert(request(1)), pending.insert(request(2)));
        assert_eq!(pending.take(a), request(1));
        assert_eq!(pending.insert(request(3)), a);
        assert_eq!((pending.take(b), pending.take(a), pending.is_empty()), (request(2), request(3), true));
    }
}
