//! Bounds of the replies that a shard makes before somebody takes them.
//!
//! What a newcomer would get wrong: rows must not depend on these bounds, which follow from this node's memory. A write is executed
//! whatever becomes of its reply; a client whose reply is dropped is told that its command was executed.

use basalt_net::resp::{Protocol, Reply};

use crate::limits;

/// The reply to a read whose own would have to be kept with too many large ones.
pub const TOO_MUCH_TO_READ: &str = "BUSY The replies to reads that wait behind the same writes are too large to be made at once, ask for fewer at a time";

/// The reply to a write whose own would have to be kept with too many large ones.
pub const TOO_MUCH_TO_REPLY: &str = "ERR the command was executed, but its reply was dropped: it would have been kept with too many other \
     large replies, ask for fewer at a time";

/// Bytes of replies that are kept at once, where nobody has taken them yet.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct ReplyBounds {
    /// Of one command, unless it is a single value.
    pub one_bytes_max: usize,
    /// Of one shard's batches, beside the reply that reaches them.
    pub shard_bytes_max: usize,
}

impl ReplyBounds {
    /// The bounds of a node of so much `memory` with so many shards.
    pub fn of(memory: u64, shards: usize) -> ReplyBounds {
        let part = memory as usize / limits::REPLIES_SHARE;
        ReplyBounds {
            one_bytes_max: part.clamp(limits::REPLY_BYTES_MIN, limits::REPLY_BYTES_MAX),
            shard_bytes_max: (part / shards).clamp(limits::BATCH_REPLY_BYTES_MIN, limits::BATCH_REPLY_BYTES_MAX),
        }
    }

    /// An encoder for the reply to one command.
    pub fn reply<'a>(&self, out: &'a mut Vec<u8>, protocol: Protocol) -> Reply<'a> {
        Reply::bounded(out, protocol, self.one_bytes_max)
    }

    /// The text for a client whose reply would have been longer.
    pub fn too_large(&self, is_write: bool) -> String {
        let mib = self.one_bytes_max >> 20;
        if is_write {
            return format!("ERR the command was executed, but its reply was dropped: it is larger than {mib} MB");
        }
        format!("ERR the reply is larger than {mib} MB, ask for less at a time")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn all_shards_together_keep_an_eighth_of_the_memory_or_little() {
        for (memory, shards) in [(256u64 << 20, 2), (1 << 30, 8), (64 << 30, 64)] {
            let bounds = ReplyBounds::of(memory, shards);
            assert!((bounds.shard_bytes_max * shards) as u64 <= memory / 8, "{bounds:?}");
            assert!(bounds.one_bytes_max >= 64 << 20, "{bounds:?}");
        }
        assert_eq!(ReplyBounds::of(64 << 20, 64).shard_bytes_max, limits::BATCH_REPLY_BYTES_MIN);
    }
}
