//! A reply that is known, and is given once all cores have heard of something.

use basalt_net::resp::Reply;

use crate::multi_shard::{Coordinator, Progress};

/// The reply, and how many cores have yet to answer.
pub(super) struct Announced {
    reply: Vec<u8>,
    to_answer: usize,
}

impl Announced {
    pub(super) fn new(reply: Vec<u8>, to_answer: usize) -> Announced {
        Announced { reply, to_answer }
    }
}

impl Coordinator for Announced {
    fn answered(&mut self, _part: usize, _reply: &[u8], out: &mut Reply<'_>) -> Progress {
        self.to_answer -= 1;
        if self.to_answer > 0 {
            return Progress::Wait;
        }
        out.raw(&self.reply);
        Progress::Done
    }

    fn held_bytes(&self) -> usize {
        self.reply.capacity()
    }
}
