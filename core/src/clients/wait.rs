//! A client's wait for elements of keys, on the core that has its connection.

use std::sync::Arc;
use std::time::Instant;

use crate::commands::Args;
use crate::entry::waiting::{Claim, Pop, Wanted};
use crate::ids::{ShardId, Ticket};

/// The point that a wait has come to.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum WaitStage {
    /// The shards are asked which of the keys are there: the first one is wanted, whichever shard has it.
    Looking,
    /// Something is to be taken from the first key that is there.
    Trying,
    /// The shards read what there is; nothing else is asked of them.
    Reading,
    /// The client waits in the shards.
    Waiting,
}

/// The way in which a wait ends; what was told of one is told again of the stronger.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum WaitEnd {
    /// Its time is over: the client gets what there is when its keys are first looked at, however late that is.
    Overdue,
    /// Nothing more is to be taken for it.
    Ended,
}

/// A part of a wait, in one shard.
#[derive(Debug)]
pub struct WaitPart {
    /// The shard.
    pub shard: ShardId,
    /// The positions of its keys among those that the client has named.
    pub keys: Vec<usize>,
    /// The request that the shard has not answered, if there is one.
    pub ticket: Option<Ticket>,
    /// The reply of a shard that has entries of streams.
    pub entries: Option<Vec<u8>>,
}

impl WaitPart {
    /// A part in `shard`, without keys.
    pub fn new(shard: ShardId) -> WaitPart {
        WaitPart { shard, keys: Vec::new(), ticket: None, entries: None }
    }
}

/// A wait of a client. It has a place in the order of its connection's replies, and nothing comes behind it.
#[derive(Debug)]
pub struct Wait {
    /// The place.
    pub place: u64,
    /// The command, without its keys.
    pub pop: Pop,
    /// Its keys, until the shards have them; of one that is tracked, until it ends.
    pub keys: Vec<Box<[u8]>>,
    /// True if its client keeps a copy of what it is answered, and is to hear when that becomes old.
    pub is_tracked: bool,
    /// The things that it wants of them.
    pub wanted: Wanted,
    /// True if it ends with what there is at once.
    pub only_reads: bool,
    /// The right to take something for it.
    pub claim: Arc<Claim>,
    /// The point that it has come to.
    pub stage: WaitStage,
    /// Its parts, one a shard.
    pub parts: Vec<WaitPart>,
    /// Bytes of the replies of shards that have entries of streams.
    pub entry_bytes: usize,
    /// The moment at which it ends, and a number that makes it one of its own.
    pub deadline: Option<(Instant, u64)>,
    /// Requests of the first two stages that are not answered.
    pub asked: usize,
    /// The position of the first key that is there.
    pub first: Option<usize>,
    /// The reply that a shard has given.
    pub reply: Option<Vec<u8>>,
    /// The reply if nothing was taken, once it is to end.
    pub ending: Option<Vec<u8>>,
    /// The end of which the shards were told.
    pub told: Option<WaitEnd>,
    /// The command's words if its elements go to another shard than they come from: then this core moves them.
    pub moves: Option<Box<[Box<[u8]>]>>,
    /// True while it does.
    pub is_moving: bool,
}

impl Wait {
    /// A wait for `keys`, which parts of it have by their positions.
    pub fn new(place: u64, pop: Pop, keys: Args<'_>, wanted: Wanted, parts: Vec<WaitPart>) -> Wait {
        Wait {
            place,
            pop,
            keys: keys.iter().map(|&key| Box::from(key)).collect(),
            is_tracked: false,
            wanted,
            only_reads: false,
            claim: Arc::new(Claim::new(parts.len() as u16)),
            stage: WaitStage::Waiting,
            parts,
            entry_bytes: 0,
            deadline: None,
            asked: 0,
            first: None,
            reply: None,
            ending: None,
            told: None,
            moves: None,
            is_moving: false,
        }
    }

    /// Returns whether no shard has a request of it that is not answered, and nothing is being moved for it.
    pub fn is_answered(&self) -> bool {
        !self.is_moving && self.parts.iter().all(|part| part.ticket.is_none())
    }

    /// Takes note of a shard's reply: what was taken counts more than an error of another shard.
    pub fn take_reply(&mut self, reply: &[u8]) {
        let is_better = !reply.starts_with(b"-") || self.reply.is_none();
        if is_better && !reply.is_empty() {
            self.reply = Some(reply.to_vec());
        }
    }

    /// Bytes of memory that it holds.
    pub fn bytes(&self) -> usize {
        let keys = self.keys.iter().map(|key| key.len() + size_of::<Box<[u8]>>()).sum::<usize>();
        let of_part = |part: &WaitPart| {
            part.keys.capacity() * size_of::<usize>() + part.entries.as_ref().map_or(0, Vec::capacity)
        };
        let parts = self.parts.iter().map(|part| size_of::<WaitPart>() + of_part(part));
        let replies = self.reply.iter().chain(&self.ending).map(Vec::capacity).sum::<usize>();
        let words = self.moves.iter().flatten().map(|word| word.len() + size_of::<Box<[u8]>>()).sum::<usize>();
        size_of::<Wait>() + words + self.pop.bytes() + self.wanted.bytes() + keys + parts.sum::<usize>() + replies
    }
}

#[cfg(test)]
mod tests {
    use basalt_net::resp::Protocol;
    use basalt_storage::keyspace::Type;

    use super::*;

    #[test]
    fn what_was_taken_counts_more_than_an_error() {
        let pop = Pop {
            command: 1,
            call: 1,
            protocol: Protocol::Resp2,
            db: 0,
            kind: Type::List,
            has_destination: false,
            is_counted: false,
            before: Vec::new(),
            after: Vec::new(),
        };
        let mut wait = Wait::new(0, pop, &[b"key"], Wanted::Elements, Vec::new());
        wait.take_reply(b"");
        assert_eq!(wait.reply, None);
        wait.take_reply(b"-UNBLOCKED a\r\n");
        wait.take_reply(b"-UNBLOCKED b\r\n");
        assert_eq!(wait.reply.as_deref(), Some(&b"-UNBLOCKED a\r\n"[..]));
        wait.take_reply(b"$1\r\nv\r\n");
        wait.take_reply(b"-UNBLOCKED b\r\n");
        wait.take_reply(b"");
        assert_eq!(wait.reply.as_deref(), Some(&b"$1\r\nv\r\n"[..]));
    }
}
