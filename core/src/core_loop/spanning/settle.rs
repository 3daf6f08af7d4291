//! The rest of transactions whose coordinator has come to no end, in this run of the node or an earlier one.
//!
//! A part that is prepared asks the shard that decides, and is executed or let go of. A decision is forgotten once no other shard
//! has a part. What cannot be done now, since a shard is not there or its log takes nothing, is tried again with the next tick;
//! until then the keys of the part stay held.

use basalt_storage::keyspace::prepared::TransactionId;

use super::Task;
use crate::commands::table::{STEP_ABORT, STEP_COMMIT, STEP_FORGET};
use crate::core_loop::core::Core;
use crate::entry::spanning::{Left, SpanningOrder, encode_step};
use crate::ids::ShardId;
use crate::limits;

/// The id of what is asked for where nobody has asked.
const NOBODY: u16 = 0;

/// Something that is being settled.
pub(super) struct Settling {
    shard: ShardId,
    what: What,
    awaited: usize,
    /// True if something could not be done.
    has_failed: bool,
}

enum What {
    /// A part that wants to know.
    Asking(TransactionId),
    /// A part that does what it was told.
    Doing(TransactionId),
    /// A decision that others may still ask for.
    AskingOthers(TransactionId),
    /// Decisions that are being forgotten, and those of them that are left from earlier.
    Forgetting(Vec<TransactionId>),
}

impl Core {
    /// Settles what is left in the shards of this core, as far as nobody does, and forgets decisions. To be called now and then.
    pub(in crate::core_loop) fn settle_transactions(&mut self) {
        self.forget_decisions();
        for index in 0..self.shards.len() {
            for _ in 0..limits::SETTLED_AT_ONCE {
                let Some(shard) = self.shards[index].as_mut().filter(|shard| shard.may_settle()) else { break };
                let (id, Some((transaction, left))) = (shard.id(), shard.next_left()) else { break };
                self.settle(id, transaction, left);
            }
        }
    }

    fn settle(&mut self, shard: ShardId, transaction: TransactionId, left: Left) {
        let (what, asked) = match &left {
            Left::Part(decided_by) => (What::Asking(transaction), vec![*decided_by]),
            Left::Decision(others) => (What::AskingOthers(transaction), others.clone()),
        };
        if asked.is_empty() {
            return self.forget_of(shard, vec![transaction]);
        }
        let task = Settling { shard, what, awaited: asked.len(), has_failed: false };
        let index = self.tasks.insert(Task::Settling(task));
        for (part, shard) in asked.into_iter().enumerate() {
            let order = match left {
                Left::Part(_) => SpanningOrder::AskDecision(transaction),
                Left::Decision(_) => SpanningOrder::AskPart(transaction),
            };
            self.order(index, part, shard, order);
        }
    }

    /// Has shards forget decisions that nobody asks for any more.
    pub(super) fn forget_decisions(&mut self) {
        let mut done = std::mem::take(&mut self.tasks.done);
        done.sort_unstable_by_key(|(shard, _)| *shard);
        for of_shard in done.chunk_by(|a, b| a.0 == b.0) {
            self.forget_of(of_shard[0].0, of_shard.iter().map(|(_, id)| *id).collect());
        }
    }

    fn forget_of(&mut self, shard: ShardId, transactions: Vec<TransactionId>) {
        let ids: Vec<[u8; 16]> = transactions.iter().map(|id| id.to_le_bytes()).collect();
        let args: Vec<&[u8]> = ids.iter().map(|id| &id[..]).collect();
        let write = encode_step(STEP_FORGET, NOBODY, &args);
        let what = What::Forgetting(transactions);
        let index = self.tasks.insert(Task::Settling(Settling { shard, what, awaited: 1, has_failed: false }));
        self.order(index, 0, shard, SpanningOrder::Write(None, write));
    }

    /// Takes a shard's answer.
    pub(super) fn advance_settling(&mut self, index: u32, mut settling: Settling, _part: usize, reply: &[u8]) {
        settling.has_failed |= reply.starts_with(b"-");
        settling.awaited -= 1;
        let is_yes = reply.starts_with(b":1");
        let shard = settling.shard;
        match settling.what {
            What::Asking(transaction) if !settling.has_failed => {
                let step = if is_yes { STEP_COMMIT } else { STEP_ABORT };
                tracing::info!(shard = shard.0, is_executed = is_yes, "a transaction over several shards is settled");
                let write = encode_step(step, NOBODY, &[&transaction.to_le_bytes()]);
                let task = Settling { what: What::Doing(transaction), awaited: 1, ..settling };
                self.tasks.put(index, Task::Settling(task));
                return self.order(index, 0, shard, SpanningOrder::Write(None, write));
            }
            What::Doing(transaction) if !settling.has_failed => {
                self.tell(shard, SpanningOrder::Release(transaction));
            }
            What::AskingOthers(transaction) => {
                // One that has a part is a reason to wait as one that is not there.
                settling.has_failed |= is_yes;
                if settling.awaited > 0 {
                    return self.tasks.put(index, Task::Settling(settling));
                }
                if !settling.has_failed {
                    self.tasks.end(index);
                    return self.forget_of(shard, vec![transaction]);
                }
                self.leave_for_later(shard, transaction);
            }
            What::Forgetting(transactions) if settling.has_failed => {
                // Those that are left keep their place in the shard; others are tried again.
                for transaction in transactions {
                    self.tell(shard, SpanningOrder::Leave(transaction, Left::Decision(Vec::new())));
                }
            }
            What::Forgetting(transactions) => {
                for transaction in transactions {
                    self.tell(shard, SpanningOrder::Release(transaction));
                }
            }
            What::Asking(transaction) | What::Doing(transaction) => self.leave_for_later(shard, transaction),
        }
        self.tasks.end(index);
    }

    fn leave_for_later(&mut self, shard: ShardId, transaction: TransactionId) {
        if let Some(local) = self.shards.get_mut(shard.index()).and_then(Option::as_mut) {
            local.leave_for_later(transaction);
        }
    }
}
