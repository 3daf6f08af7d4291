//! Clients that wait for an element which goes to another shard (BLMOVE): their own core moves it.
//!
//! Such a client stands in the queue of its key as any other, and nothing is taken for it here. When there is an element and its
//! turn has come, its core is told ([`FOUND`](super::FOUND)), and does what an LMOVE over shards does. What has come of that it
//! says: the client leaves, or waits on at its old place. Until then nobody behind it is called, since only the move knows which
//! element it takes.
//!
//! What a newcomer would get wrong: what its core is told is no reply. The request stays open until the client leaves.

use basalt_storage::keyspace::{Type, WatchedKey};

use super::{Elements, LEFT, NO_LIST, Shard, ShardHost, Stage, UNBLOCKED};
use crate::entry::waiting::{Claimed, WaitOrder};
use crate::ids::Origin;

impl Shard {
    /// Has a client wait for an element that its core moves to another shard.
    pub(super) fn wait_to_move(
        &mut self,
        origin: Origin,
        order: WaitOrder,
        (may_have_some, is_held): (bool, bool),
        now_ms: u64,
        host: &mut impl ShardHost,
    ) {
        let keys: Vec<WatchedKey> = order.keys.iter().map(|key| (order.pop.db, key.as_ref().into())).collect();
        self.add_waiter(origin, order);
        self.note_waiting(origin);
        if is_held {
            return self.wait_for_holders(origin);
        }
        if !may_have_some {
            return;
        }
        let is_no_list = |key: &WatchedKey| match self.elements(key, now_ms) {
            Elements::Some(kind, _) => kind != Type::List,
            Elements::None(_) => true,
            Elements::Unknown => false,
        };
        if keys.iter().all(is_no_list) {
            return self.tell_of_no_list(origin, host);
        }
        self.note_written(&keys);
        self.serve_ready(now_ms, host);
    }

    fn tell_of_no_list(&mut self, origin: Origin, host: &mut impl ShardHost) {
        let Some(waiter) = self.waiting.waiters.get_mut(origin) else { return };
        match waiter.take_claim() {
            Claimed::Yes => {
                waiter.stage = Stage::Trying;
                host.reply(origin, NO_LIST);
            }
            Claimed::Elsewhere => self.look_later(origin),
            Claimed::Ended => self.leave(origin, LEFT, host),
        }
    }

    /// Has a client wait on, at its old place, whose core has found nothing to move. What is there now is looked at at once, or
    /// with the next tick if it is `for_later`.
    pub fn wait_on_to_move(&mut self, origin: Origin, for_later: bool, now_ms: u64, host: &mut impl ShardHost) {
        // Not if it has left, or is another's by now.
        let is_moving = self.waiting.waiters.get(origin).is_some_and(|of| of.moves() && of.stage != Stage::Waiting);
        if !is_moving {
            return;
        }
        if self.takes_nothing() || self.why_not_lead().is_some() {
            return self.leave(origin, UNBLOCKED, host);
        }
        if for_later && let Some(waiter) = self.waiting.waiters.get_mut(origin) {
            waiter.forget_missed();
        }
        self.wait_on(origin, host);
        if for_later {
            self.look_later(origin);
        }
        self.serve_ready(now_ms, host);
    }
}
