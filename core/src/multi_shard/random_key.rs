//! RANDOMKEY: one shard after the other is asked, until one has a key.

use basalt_net::resp::Reply;

use super::gather::{Coordinator, Part, Progress};
use crate::entry::request::Mode;
use crate::ids::ShardId;

pub(super) struct RandomKey {
    pub(super) command: u16,
    pub(super) db: u8,
    /// In the order in which they are asked.
    pub(super) shards: Vec<ShardId>,
    pub(super) asked: usize,
}

impl RandomKey {
    pub(super) fn part(&self) -> Part {
        Part { shard: self.shards[self.asked], mode: Mode::Read, command: self.command, db: self.db, args: Vec::new() }
    }
}

impl Coordinator for RandomKey {
    fn answered(&mut self, _part: usize, reply: &[u8], out: &mut Reply<'_>) -> Progress {
        self.asked += 1;
        if self.asked < self.shards.len() && matches!(reply, b"$-1\r\n" | b"_\r\n") {
            return Progress::Send(vec![self.part()]);
        }
        out.raw(reply);
        Progress::Done
    }
}
