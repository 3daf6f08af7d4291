//! The one queue of those who wait for keys: transactions, and clients whose request met a held key.
//!
//! Transactions take their turns in the order of their places, as far as they want the same: a new one waits behind whoever waits
//! for one of its keys, client or transaction, so that nobody waits for ever. A client's request holds nothing; it waits for
//! those who hold its keys, and passes others who wait.
//!
//! What a newcomer would get wrong: who has come to his turn may let others come to theirs, thousands behind each other. So places
//! that may be next are collected and taken one by one, never from within each other; and only those are looked at that wait
//! first for a key that was let go of.

use std::time::{Duration, Instant};

use basalt_storage::keyspace::prepared::TransactionId;

use super::{HELD, Held, Holding, OK};
use crate::entry::spanning::{HeldKeys, HoldOrder};
use crate::ids::{CoreId, Origin};
use crate::multi_shard::{Concerned, visit_concerned};
use crate::shard::cold::Turn;
use crate::shard::{Shard, ShardHost};

/// The reply if something that is watched has changed.
const CHANGED: &[u8] = b"*-1\r\n";

/// Somebody who waits for keys.
pub(super) struct Queued {
    keys: HeldKeys,
    who: Who,
    since: Instant,
    away: Duration,
}

enum Who {
    /// The coordinator of a transaction, with what that watches.
    Transaction(Origin, TransactionId, Option<u64>),
    /// A client whose first request that is parked does. If it reads all keys, single ones that are held are none of its business.
    Client((CoreId, u32), bool),
}

impl Holding {
    pub(super) fn enqueue(&mut self, place: u64, queued: Queued) {
        self.table.wait(&queued.keys, place);
        self.queue.insert(place, queued);
    }

    pub(super) fn leave_queue(&mut self, place: u64) -> Option<Queued> {
        let queued = self.queue.remove(&place)?;
        self.table.wait_no_more(&queued.keys, place);
        Some(queued)
    }

    fn is_barred(&self, place: u64, queued: &Queued) -> bool {
        match queued.who {
            Who::Transaction(..) => self.table.bars_at(&queued.keys, place),
            Who::Client(_, true) => self.table.is_held_whole(),
            Who::Client(..) => self.table.bars_any(&queued.keys),
        }
    }

    /// Takes out who waits longest of those who may have come to their turn, and have.
    fn next_in_turn(&mut self) -> Option<Queued> {
        while let Some(place) = self.ready.pop_first() {
            if self.queue.get(&place).is_some_and(|queued| !self.is_barred(place, queued)) {
                return self.leave_queue(place);
            }
        }
        None
    }

    fn let_go(&mut self, transaction: TransactionId) {
        self.left.remove(transaction);
        if let Some(held) = self.held.remove(&transaction) {
            self.table.remove(&held.keys);
            self.table.add_next(&held.keys, &mut self.ready);
        }
    }
}

impl Shard {
    /// A client as it waits for the keys of its request.
    pub(super) fn queued_client(&self, client: (CoreId, u32), bytes: &[u8], turn: Turn) -> Queued {
        let (mut keys, mut reads_all) = (HeldKeys::default(), false);
        visit_concerned(bytes, &mut |concerned, is_write| match concerned {
            Concerned::Key(db, key) => keys.add(db, key, is_write),
            Concerned::All => {
                keys.add_all(is_write);
                reads_all |= !is_write;
            }
            Concerned::Any => keys.add_all(is_write),
        });
        if let Some(watch) = super::guard_of(bytes) {
            let machine = self.machine.borrow();
            machine.store.watched().keys(watch).for_each(|(db, key)| keys.add(db, key, false));
        }
        keys.settle();
        let reads_all = reads_all && keys.keys.is_empty() && keys.whole == Some(false);
        Queued { keys, who: Who::Client(client, reads_all), since: turn.since, away: turn.away }
    }

    pub(super) fn hold(&mut self, origin: Origin, order: HoldOrder, now_ms: u64, host: &mut impl ShardHost) {
        let HoldOrder { transaction, mut keys, watch } = order;
        if let Some(watch) = watch {
            let machine = self.machine.borrow();
            machine.store.watched().keys(watch).for_each(|(db, key)| keys.add(db, key, false));
            keys.settle();
        }
        let place = self.holding.next_place;
        if self.holding.table.bars_at(&keys, place) {
            self.holding.next_place += 1;
            let who = Who::Transaction(origin, transaction, watch);
            let queued = Queued { keys, who, since: Instant::now(), away: self.batches.presence.away() };
            return self.holding.enqueue(place, queued);
        }
        self.grant(origin, transaction, keys, watch);
        self.go_on(now_ms, host);
    }

    fn grant(&mut self, origin: Origin, transaction: TransactionId, keys: HeldKeys, watch: Option<u64>) {
        self.holding.table.add(&keys);
        let before = self.holding.held.insert(transaction, Held { keys, part_count: 0 });
        assert!(before.is_none(), "a transaction asks a shard once");
        let waiter = self.waiter(origin, (transaction, watch));
        self.holding.granting.push(waiter);
    }

    /// Tells coordinators of what has come true: keys that are held with nothing before them, answers. Returns how many were told.
    pub(in crate::shard) fn take_holds(&mut self, now_ms: u64, host: &mut impl ShardHost) -> usize {
        if self.has_failed() {
            return self.drop_holds(now_ms, host);
        }
        self.go_on(now_ms, host) + self.take_questions(now_ms, host)
    }

    /// Tells those whose keys are held and free of what was before. Returns how many there were, and those of them that let go
    /// again since what they watch has changed.
    fn take_granted(&mut self, now_ms: u64, host: &mut impl ShardHost) -> (usize, Vec<TransactionId>) {
        let (mut count, mut changed) = (0, Vec::new());
        for waiter in std::mem::take(&mut self.holding.granting) {
            if !self.is_settled(waiter.below) {
                self.holding.granting.push(waiter);
                continue;
            }
            count += 1;
            let (transaction, watch) = waiter.what;
            if watch.is_some_and(|watch| self.has_changed(watch, now_ms)) {
                changed.push(transaction);
                host.reply(waiter.origin, CHANGED);
            } else {
                host.reply(waiter.origin, OK);
            }
        }
        (count, changed)
    }

    /// Ends a watch, and returns whether a key of it was changed. All that was before is applied.
    fn has_changed(&self, watch: u64, now_ms: u64) -> bool {
        let mut machine = self.machine.borrow_mut();
        let (state, time_ms) = (machine.store.watched().state(watch), machine.advance_time(now_ms));
        machine.store.watched_mut().forget(watch);
        !state.is_some_and(|state| !state.is_changed && time_ms <= state.deadline_ms)
    }

    /// Lets go of what a transaction holds, and has those go on who wait for it.
    pub(super) fn release(&mut self, transaction: TransactionId, now_ms: u64, host: &mut impl ShardHost) {
        self.counts_changed = true;
        self.holding.let_go(transaction);
        self.go_on(now_ms, host);
        if !self.waiting.is_empty() {
            self.look_again(now_ms, host);
        }
    }

    /// Has those go on who have come to their turn. Returns how many coordinators were told something.
    fn go_on(&mut self, now_ms: u64, host: &mut impl ShardHost) -> usize {
        let mut count = 0;
        loop {
            while let Some(queued) = self.holding.next_in_turn() {
                match queued.who {
                    Who::Transaction(origin, transaction, watch) => self.grant(origin, transaction, queued.keys, watch),
                    Who::Client(client, _) => {
                        self.holding.table.add_next(&queued.keys, &mut self.holding.ready);
                        if let Some(parked) = self.take_parked(client) {
                            self.resume(client, parked, now_ms, host);
                        }
                    }
                }
            }
            let (told, changed) = self.take_granted(now_ms, host);
            count += told;
            if changed.is_empty() {
                return count;
            }
            changed.into_iter().for_each(|transaction| self.holding.let_go(transaction));
        }
    }

    /// Answers those that have waited for keys, or for what was before them, for `timeout`: nothing of them is executed.
    pub(in crate::shard) fn give_up_holds(
        &mut self,
        now: Instant,
        timeout: Duration,
        now_ms: u64,
        host: &mut impl ShardHost,
    ) {
        let presence = self.batches.presence;
        let is_overdue = |since, away| presence.age(since, away, now) >= timeout;
        let queue = self.holding.queue.iter();
        let overdue: Vec<u64> =
            queue.filter(|(_, queued)| is_overdue(queued.since, queued.away)).map(|(place, _)| *place).collect();
        for place in overdue {
            let Some(queued) = self.holding.leave_queue(place) else { continue };
            self.holding.table.add_next(&queued.keys, &mut self.holding.ready);
            match queued.who {
                Who::Transaction(origin, ..) => host.reply(origin, HELD),
                Who::Client(client, _) => self.give_up_first(client, place, now_ms, host),
            }
        }
        let mut granting = std::mem::take(&mut self.holding.granting);
        for waiter in granting.extract_if(.., |waiter| is_overdue(waiter.since, waiter.away)) {
            host.reply(waiter.origin, HELD);
            self.holding.let_go(waiter.what.0);
        }
        self.holding.granting = granting;
        let mut questions = std::mem::take(&mut self.holding.questions);
        let overdue = questions.extract_if(.., |waiter| is_overdue(waiter.since, waiter.away));
        overdue.for_each(|waiter| host.reply(waiter.origin, HELD));
        self.holding.questions = questions;
        self.go_on(now_ms, host);
    }

    /// Answers the request of a client that has waited in `place`, and goes on with what is behind it.
    fn give_up_first(&mut self, client: (CoreId, u32), place: u64, now_ms: u64, host: &mut impl ShardHost) {
        let Some(mut parked) = self.take_parked(client) else { return };
        let is_first = |turn: Option<Turn>| turn.is_some_and(|turn| turn.place == place);
        // Reads of a refused batch may have come before it.
        if let Some(index) = parked.requests.iter().position(|request| is_first(request.turn)) {
            let request = parked.requests.remove(index).expect("it was found there");
            self.parking.waiting.remove(request.bytes.len());
            self.forget_watch_of(&request.bytes);
            self.leave(request.origin, HELD, host);
        }
        self.resume(client, parked, now_ms, host);
    }

    /// Answers everybody, since the shard has failed. Its parts are found again when it is opened again.
    fn drop_holds(&mut self, now_ms: u64, host: &mut impl ShardHost) -> usize {
        let (mut origins, mut clients) = (Vec::new(), Vec::new());
        for queued in self.holding.queue.values() {
            match queued.who {
                Who::Transaction(origin, ..) => origins.push(origin),
                Who::Client(client, _) => clients.push(client),
            }
        }
        let parked: Vec<_> =
            clients.into_iter().filter_map(|client| Some((client, self.take_parked(client)?))).collect();
        let Holding { granting, questions, next_place, .. } = std::mem::take(&mut self.holding);
        self.holding.next_place = next_place;
        origins.extend(granting.into_iter().map(|waiter| waiter.origin));
        origins.extend(questions.into_iter().map(|waiter| waiter.origin));
        let count = origins.len();
        origins.into_iter().for_each(|origin| self.refuse_failed(origin, host));
        for (client, parked) in parked {
            self.resume(client, parked, now_ms, host);
        }
        count
    }
}
