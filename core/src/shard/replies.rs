//! Bytes that the replies of a shard's batches are expected to have, and those that the core has yet to take.
//!
//! Replies are made all at once when an entry is applied. So requests whose replies are large join a batch only as long as those on
//! their way have room: of a string the length is looked up, of what is taken from collections the largest of the last is a guess.
//! What comes out larger all the same is bounded while it is made, see [`crate::commands::ReplyBounds`].

use basalt_raft::Replies;

use super::Shard;
use super::open_batch::PendingBatch;
use crate::commands::{Kind, table};
use crate::entry::request::{self, ArgList};
use crate::entry::transaction::Transaction;
use crate::limits;

/// A batch whose replies the core takes.
pub(super) struct Answering {
    pub(super) pending: PendingBatch,
    pub(super) replies: Replies,
    /// The operation whose turn it is.
    pub(super) next: usize,
    /// Position of its reply.
    pub(super) start: usize,
}

/// Replies of batches.
pub(super) struct BatchReplies {
    /// The batch whose turn it is.
    pub(super) answering: Option<Answering>,
    /// Bytes that those of batches that are proposed and not answered are expected to have.
    pub(super) expected_bytes: usize,
    /// Bytes that they may be expected to have before nothing more is taken.
    pub(super) bytes_max: usize,
    /// Bytes that the next one is believed to have that cannot be looked up.
    next_bytes: usize,
}

impl BatchReplies {
    pub(super) fn new(bytes_max: usize) -> BatchReplies {
        BatchReplies { answering: None, expected_bytes: 0, bytes_max, next_bytes: limits::REPLY_BYTES_AT_FIRST }
    }

    /// Takes note of a reply that might be large.
    pub(super) fn learn(&mut self, bytes: usize) {
        // A large one is remembered for a while.
        self.next_bytes = bytes.max(self.next_bytes - self.next_bytes / 16);
    }

    /// Bytes that a reply is believed to have that cannot be looked up.
    pub(super) fn next_bytes(&self) -> usize {
        self.next_bytes
    }
}

impl Shard {
    /// Returns whether the replies to what is on its way are expected to have as much as may be kept.
    pub(super) fn expects_too_much(&self) -> bool {
        self.batches.open.expected_bytes + self.batches.replies.expected_bytes >= self.batches.replies.bytes_max
    }

    /// Returns whether the reply to an encoded write may be large, and what it is expected to have then.
    pub(super) fn weigh(&self, bytes: &[u8], now_ms: u64) -> Option<usize> {
        let (id, arg_count) = request::peek(bytes)?;
        let command = table::by_id(id).filter(|command| command.may_return_values(arg_count))?;
        if matches!(command.kind, Kind::Transaction) {
            let members = Transaction::read(bytes)?.commands().flatten();
            let expected = members.filter_map(|member| self.weigh(member, now_ms));
            return expected.reduce(usize::saturating_add);
        }
        let mut args = ArgList::new();
        args.push(b"");
        let header = request::decode(bytes, &mut args)?;
        if !command.returns_values(&args) {
            return None;
        }
        let mut keys: ArgList<'_> = ArgList::new();
        keys.extend(command.keys(&args).take(limits::WEIGHED_KEYS_MAX).map(|position| args[position]));
        let known = self.machine.borrow_mut().reading(now_ms, |execution| execution.string_bytes(header.db, &keys));
        Some(known.unwrap_or_else(|| self.batches.replies.next_bytes()))
    }
}
