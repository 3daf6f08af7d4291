//! The groups that come to a core and leave it while it runs.
//!
//! A group comes with its shard once it is open. A shard whose group has failed takes nothing more from then on: who waits for it
//! is answered, since the log or the rows refuse it, and when nobody does it leaves. Whoever has opened it closes its files.
//!
//! What a newcomer would get wrong: a shard stays in its seat until then. Threads that read for it still tell the core, and a reply
//! that is larger than its client takes at once is still to be sent.

use std::cell::{Cell, RefCell};
use std::collections::{BTreeMap, BTreeSet};
#[cfg(test)]
use std::rc::Rc;

use basalt_raft::Group;
use futures_channel::oneshot;

use super::core::Core;
use crate::cluster::map::GroupNumber;
use crate::ids::ShardId;
use crate::meta::Meta;
use crate::shard::Shard;

/// The groups on their way to a core, and the place where they go when they leave it.
pub struct Groups {
    opened: RefCell<Vec<Shard>>,
    /// The group of the cluster's map, once it is open.
    meta: RefCell<Option<Meta>>,
    /// Is told if the group of the map is to leave before it is open.
    meta_opens: RefCell<Option<oneshot::Sender<()>>>,
    /// Shards that the node gives up.
    leaving: RefCell<BTreeSet<ShardId>>,
    /// True once the group of the map is to leave.
    meta_leaves: Cell<bool>,
    /// True while the map is to be changed no more, since the node leaves its cluster.
    meta_is_closed: Cell<bool>,
    /// Is called once nothing of the map is under way any more.
    on_meta_closed: RefCell<Option<Box<dyn FnOnce()>>>,
    /// Every group that is open or being opened, by its number, and its shard: other nodes ask for it.
    by_number: RefCell<BTreeMap<GroupNumber, (ShardId, Group)>>,
    let_go: Box<dyn Fn(Shard)>,
    let_meta_go: Box<dyn Fn(Meta)>,
}

impl Groups {
    /// Groups that are to be taken first; `let_go` gets each that leaves the core, and is called in the core's turn.
    #[cfg(test)]
    pub fn new(opened: Vec<Shard>, let_go: impl Fn(Shard) + 'static) -> Rc<Groups> {
        Rc::new(Groups::with_meta(opened, let_go, drop))
    }

    /// Groups as a core begins with them; `let_meta_go` gets the group of the map when it is to leave.
    pub fn with_meta(
        opened: Vec<Shard>,
        let_go: impl Fn(Shard) + 'static,
        let_meta_go: impl Fn(Meta) + 'static,
    ) -> Groups {
        Groups {
            opened: RefCell::new(opened),
            meta: RefCell::new(None),
            meta_opens: RefCell::new(None),
            leaving: RefCell::default(),
            meta_leaves: Cell::new(false),
            meta_is_closed: Cell::new(false),
            on_meta_closed: RefCell::new(None),
            by_number: RefCell::default(),
            let_go: Box::new(let_go),
            let_meta_go: Box::new(let_meta_go),
        }
    }

    /// Has the core take a shard whose group is open, in its next turn.
    pub fn add(&self, shard: Shard) {
        self.opened.borrow_mut().push(shard);
    }

    /// Notes that a shard is being opened: a mark that it is to leave was one of another shard that had the number before. One that
    /// comes while it is opened stays, and the shard leaves as soon as it is there.
    pub fn come(&self, shard: ShardId) {
        self.leaving.borrow_mut().remove(&shard);
    }

    /// Has the core let a shard go that the node gives up, once nobody waits for anything of it.
    pub fn leave(&self, shard: ShardId) {
        self.leaving.borrow_mut().insert(shard);
    }

    /// Notes a group that is there from now on, for other nodes.
    pub fn note(&self, number: GroupNumber, shard: ShardId, group: &Group) {
        self.by_number.borrow_mut().insert(number, (shard, group.clone()));
    }

    /// Forgets the group of a shard, which ends.
    pub fn forget(&self, shard: ShardId) {
        self.by_number.borrow_mut().retain(|_, (of, _)| *of != shard);
    }

    /// The group with this number, if this core has it. One that is to leave tells nobody anything any more.
    pub fn find(&self, number: GroupNumber) -> Option<Group> {
        let by_number = self.by_number.borrow();
        let (shard, group) = by_number.get(&number)?;
        (!self.leaving.borrow().contains(shard)).then(|| group.clone())
    }

    /// Has the core refuse changes of the map from now on, and call `then` once none is under way.
    pub fn close_meta(&self, then: impl FnOnce() + 'static) {
        self.meta_is_closed.set(true);
        *self.on_meta_closed.borrow_mut() = Some(Box::new(then));
    }

    /// Has the core take changes of the map again.
    pub fn open_meta_again(&self) {
        self.meta_is_closed.set(false);
    }

    /// Has the core let the group of the map go, once nobody waits for anything of it.
    pub fn leave_meta(&self) {
        self.meta_leaves.set(true);
        if let Some(opens) = self.meta_opens.take() {
            // Nobody listens any more if it is open.
            let _ = opens.send(());
        }
    }

    /// Notes that the group of the map is being opened. What is returned comes if it is to leave before it is open.
    pub fn meta_opens(&self) -> oneshot::Receiver<()> {
        let (leave, leaves) = oneshot::channel();
        *self.meta_opens.borrow_mut() = Some(leave);
        leaves
    }

    /// Notes that the group of the map has left before it was open.
    pub fn meta_has_left(&self, shard: ShardId) {
        self.forget(shard);
        self.meta_leaves.set(false);
        self.meta_is_closed.set(false);
        *self.on_meta_closed.borrow_mut() = None;
    }

    /// Has the core take the group of the cluster's map, in its next turn.
    pub fn add_meta(&self, meta: Meta) {
        *self.meta.borrow_mut() = Some(meta);
    }
}

impl Core {
    /// Takes the shards whose groups were opened; returns how many there were.
    pub fn seat_opened(&mut self) -> usize {
        let opened = std::mem::take(&mut *self.groups.opened.borrow_mut());
        let (mut count, has_opened) = (opened.len(), !opened.is_empty());
        if let Some(meta) = self.groups.meta.borrow_mut().take() {
            self.meta = Some(Box::new(meta));
            count += 1;
        }
        for mut shard in opened {
            let id = shard.id();
            if self.shards.len() <= id.index() {
                self.shards.resize_with(id.index() + 1, || None);
            }
            shard.publish_counts();
            shard.tell_key_events(self.live.key_events.classes());
            self.leads.extend(shard.tell_leadership());
            self.shards[id.index()] = Some(shard);
        }
        if has_opened {
            self.set_up_tracking();
        }
        count
    }

    /// The shard, if this core runs it.
    pub(super) fn seat(&self, shard: ShardId) -> Option<&Shard> {
        self.shards.get(shard.index())?.as_ref()
    }

    /// Has those shards leave whose groups have failed, or that the node gives up, once nobody waits for anything of them; returns
    /// how much was done for it.
    pub fn let_shards_leave(&mut self) -> usize {
        if let Some(meta) = &mut self.meta {
            meta.close_to_changes(self.groups.meta_is_closed.get());
            if !meta.has_changes()
                && let Some(then) = self.groups.on_meta_closed.take()
            {
                then();
            }
        }
        if self.groups.meta_leaves.get()
            // It may take itself for the leader still: whoever leads by now has forgotten it, and tells it nothing any more.
            && let Some(meta) = self.meta.take_if(|meta| !meta.has_changes())
        {
            self.groups.meta_leaves.set(false);
            self.groups.meta_is_closed.set(false);
            (self.groups.let_meta_go)(*meta);
        }
        if !self.server.some_group_is_away() && self.groups.leaving.borrow().is_empty() {
            return 0;
        }
        (0..self.shards.len()).map(|index| self.let_leave(index)).sum()
    }

    fn let_leave(&mut self, index: usize) -> usize {
        if let Some(shard) = &mut self.shards[index]
            && self.groups.leaving.borrow().contains(&shard.id())
        {
            shard.close_to_clients();
            shard.end_waits_if_lost(&mut self.outbox);
        }
        let leaves = |shard: &&Shard| shard.group().has_failed() || shard.is_closed_to_clients();
        let Some(shard) = self.shards[index].as_ref().filter(leaves) else { return 0 };
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
            // Nobody looks after its keys any more.
            self.drop_all_copies();
            self.groups.leaving.borrow_mut().remove(&id);
            self.members.forget_for_good(id);
            (self.groups.let_go)(shard);
        }
        count + 1
    }
}
