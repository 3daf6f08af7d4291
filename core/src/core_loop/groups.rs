//! The groups that come to a core and leave it while it runs.
//!
//! A group comes with its shard once it is open. A shard whose group has failed takes nothing more from then on: who waits for it
//! is answered, since the log or the rows refuse it, and when nobody does it leaves. Whoever has opened it closes its files.
//!
//! What a newcomer would get wrong: a shard stays in its seat until then. Threads that read for it still tell the core, and a reply
//! that is larger than its client takes at once is still to be sent.

use std::cell::RefCell;
use std::rc::Rc;

use super::core::Core;
use crate::ids::ShardId;
use crate::node::GroupState;
use crate::shard::Shard;

/// The groups on their way to a core, and the place where they go when they leave it.
pub struct Groups {
    opened: RefCell<Vec<Shard>>,
    let_go: Box<dyn Fn(Shard)>,
}

impl Groups {
    /// Groups that are to be taken first; `let_go` gets each that leaves the core, and is called in the core's turn.
    pub fn new(opened: Vec<Shard>, let_go: impl Fn(Shard) + 'static) -> Rc<Groups> {
        Rc::new(Groups { opened: RefCell::new(opened), let_go: Box::new(let_go) })
    }

    /// Has the core take a shard whose group is open, in its next turn.
    pub fn add(&self, shard: Shard) {
        self.opened.borrow_mut().push(shard);
    }
}

impl Core {
    /// Takes the shards whose groups were opened; returns how many there were.
    pub fn seat_opened(&mut self) -> usize {
        let opened = std::mem::take(&mut *self.groups.opened.borrow_mut());
        let count = opened.len();
        for shard in opened {
            let id = shard.id();
            if self.shards.len() <= id.index() {
                self.shards.resize_with(id.index() + 1, || None);
            }
            if !shard.has_failed() {
                self.server.note_state(id, if shard.leads() { GroupState::Leader } else { GroupState::Follower });
            }
            self.shards[id.index()] = Some(shard);
        }
        count
    }

    /// The shard, if this core runs it.
    pub(super) fn seat(&self, shard: ShardId) -> Option<&Shard> {
        self.shards.get(shard.index())?.as_ref()
    }

    /// Has those shards leave whose groups have failed, once nobody waits for anything of them; returns how much was done for it.
    pub fn let_failed_leave(&mut self) -> usize {
        if !self.server.some_group_is_away() {
            return 0;
        }
        (0..self.shards.len()).map(|index| self.let_leave(index)).sum()
    }

    fn let_leave(&mut self, index: usize) -> usize {
        let Some(shard) = self.shards[index].as_ref().filter(|shard| shard.group().has_failed()) else { return 0 };
        let (id, is_busy) = (shard.id(), shard.is_busy() || shard.has_replies());
        let mut count = 0;
        while let Some(request) =
            self.inbox.set_aside.pop_if(id, |request| self.outbox.has_room_for_replies(request.origin.core))
        {
            self.refuse_away(id, request.origin);
            count += 1;
        }
        let is_read_for =
            self.cold_reads.under_way_for(id) > 0 || self.outbox.warms.iter().any(|warm| warm.shard == id);
        if is_busy || is_read_for || self.inbox.set_aside.front(id).is_some() {
            return count;
        }
        if let Some(shard) = self.shards[index].take() {
            (self.groups.let_go)(shard);
        }
        count + 1
    }
}
