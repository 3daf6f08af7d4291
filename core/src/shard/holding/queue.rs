//! The queue of transactions that wait for keys.
//!
//! They take their turns in the order of their places, as far as they want the same: a new one waits behind whoever waits for one
//! of its keys, transaction or parked client ([`super::clients`]), so that nobody waits for ever.
//!
//! What a newcomer would get wrong: who has come to his turn may let others come to theirs, thousands behind each other. So places
//! that may be next are collected and taken one by one, never from within each other; and only those are looked at that wait
//! first for a key that was let go of.

use std::collections::hash_map::Entry;
use std::time::{Duration, Instant};

use basalt_storage::keyspace::Keyspace;
use basalt_storage::keyspace::prepared::TransactionId;

use super::{HELD, Held, Holding, OK};
use crate::entry::spanning::{HeldKeys, HoldOrder};
use crate::ids::Origin;
use crate::shard::{Shard, ShardHost};

/// The reply if something that is watched has changed, or if more keys cannot be had at once.
const CHANGED: &[u8] = b"*-1\r\n";

/// A transaction that waits for keys.
pub(super) struct Queued {
    origin: Origin,
    transaction: TransactionId,
    keys: HeldKeys,
    /// The watch of its connection.
    watch: Option<u64>,
    keeps_time: bool,
    since: Instant,
    away: Duration,
}

impl Holding {
    /// Takes out who waits longest of those who may have come to their turn, and have.
    fn next_in_turn(&mut self) -> Option<Queued> {
        while let Some(place) = self.ready.pop_first() {
            if self.queue.get(&place).is_some_and(|queued| !self.table.bars_at(&queued.keys, place)) {
                return self.leave_queue(place);
            }
        }
        None
    }

    fn leave_queue(&mut self, place: u64) -> Option<Queued> {
        let queued = self.queue.remove(&place)?;
        self.table.wait_no_more(&queued.keys, place);
        Some(queued)
    }

    fn let_go(&mut self, transaction: TransactionId) {
        self.left.remove(transaction);
        if let Some(mut held) = self.held.remove(&transaction) {
            held.gather();
            if held.is_stuck {
                self.table.set_stuck(&held.keys, false);
            }
            self.table.remove(&held.keys, &mut self.ready);
        }
    }
}

impl Shard {
    pub(super) fn hold(&mut self, origin: Origin, order: HoldOrder, now_ms: u64, host: &mut impl ShardHost) {
        let HoldOrder { transaction, mut keys, watch, keeps_time, deaf_client, is_more } = order;
        self.note_deaf_writer(origin, deaf_client);
        if let Some(watch) = watch {
            let machine = self.machine.borrow();
            machine.store.watched().keys(watch).for_each(|(db, key)| keys.add(db, key, false));
            keys.settle();
        }
        if self.holding.table.are_stuck(&keys) {
            return host.reply(origin, HELD);
        }
        let place = self.holding.new_place();
        if is_more && (self.holding.table.bars_at(&keys, place) || self.may_have_expired(transaction, &keys, now_ms)) {
            return host.reply(origin, CHANGED);
        }
        if self.holding.table.bars_at(&keys, place) {
            self.holding.table.wait(&keys, place);
            let (since, away) = (Instant::now(), self.batches.presence.away());
            let queued = Queued { origin, transaction, keys, watch, keeps_time, since, away };
            self.holding.queue.insert(place, queued);
            return;
        }
        self.grant(origin, transaction, keys, (watch, keeps_time));
        self.go_on(now_ms, host);
    }

    /// Returns whether one of these keys may have expired since the time at which a script may see what it holds here: others have
    /// seen by then that it is gone.
    fn may_have_expired(&self, transaction: TransactionId, keys: &HeldKeys, now_ms: u64) -> bool {
        let Some(since_ms) = self.holding.held.get(&transaction).map(|held| held.since_ms) else { return false };
        if !self.has_deadlines() {
            return false;
        }
        let mut machine = self.machine.borrow_mut();
        let now_ms = machine.advance_time(now_ms);
        machine.reading(now_ms, |execution| {
            keys.keys.iter().any(|held| {
                let versions = execution.versions;
                let keyspace = Keyspace::new(execution.store, execution.scratch, versions, held.db, since_ms);
                match keyspace.lookup(&held.key) {
                    Ok(found) => {
                        let deadline_ms = found.record.and_then(|record| record.deadline_ms());
                        deadline_ms.is_some_and(|deadline_ms| deadline_ms <= now_ms)
                    }
                    // It is on disk: nobody waits for that here.
                    Err(_) => true,
                }
            })
        })
    }

    fn grant(
        &mut self,
        origin: Origin,
        transaction: TransactionId,
        keys: HeldKeys,
        (watch, keeps_time): (Option<u64>, bool),
    ) {
        self.holding.table.add(&keys);
        let since_ms = if keeps_time { self.machine.borrow().time_ms() } else { u64::MAX };
        match self.holding.held.entry(transaction) {
            Entry::Vacant(vacant) => drop(vacant.insert(Held { since_ms, ..Held::new(keys) })),
            // A script that has met them.
            Entry::Occupied(mut held) => held.get_mut().more.push(keys),
        }
        let waiter = self.waiter(origin, (transaction, watch));
        let is_behind = |last: &super::Waiter<_>| last.below <= waiter.below;
        assert!(self.holding.granting.back().is_none_or(is_behind), "batches are numbered in their order");
        self.holding.granting.push_back(waiter);
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
        if self.holding.granting.is_empty() {
            return (count, changed);
        }
        // Whoever was granted later waits for as much, or more.
        let settled = self.settled_below();
        while let Some(waiter) = self.holding.granting.pop_front_if(|first| first.below <= settled) {
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

    /// Forgets what a script has written here on trial, and knows all keys that it holds by then.
    pub(super) fn end_trial(&mut self, transaction: TransactionId) {
        self.machine.borrow_mut().kept_trials.take(transaction);
        if let Some(held) = self.holding.held.get_mut(&transaction) {
            held.gather();
        }
    }

    /// Lets go of what a transaction holds, and has those go on who wait for it.
    pub(super) fn release(&mut self, transaction: TransactionId, now_ms: u64, host: &mut impl ShardHost) {
        self.counts_changed = true;
        self.end_trial(transaction);
        self.holding.let_go(transaction);
        self.go_on(now_ms, host);
    }

    /// Has those go on who have come to their turn. Returns how many coordinators were told something.
    fn go_on(&mut self, now_ms: u64, host: &mut impl ShardHost) -> usize {
        let mut count = 0;
        loop {
            while let Some(queued) = self.holding.next_in_turn() {
                let how = (queued.watch, queued.keeps_time);
                self.grant(queued.origin, queued.transaction, queued.keys, how);
            }
            let (told, changed) = self.take_granted(now_ms, host);
            count += told;
            let is_over = changed.is_empty();
            changed.into_iter().for_each(|transaction| self.holding.let_go(transaction));
            if is_over && !self.look_at_parked(now_ms, host) {
                return count;
            }
        }
    }

    /// Answers those that have waited for keys, or for what was before them, for `timeout`, and those that wait for what nobody
    /// knows when it is let go of: nothing of them is executed.
    pub(in crate::shard) fn give_up_holds(
        &mut self,
        now: Instant,
        timeout: Option<Duration>,
        now_ms: u64,
        host: &mut impl ShardHost,
    ) {
        let presence = self.batches.presence;
        let is_overdue = |since, away| timeout.is_some_and(|timeout| presence.age(since, away, now) >= timeout);
        let is_over = |(_, queued): &(&u64, &Queued)| {
            is_overdue(queued.since, queued.away) || self.holding.table.are_stuck(&queued.keys)
        };
        let over: Vec<u64> = self.holding.queue.iter().filter(is_over).map(|(place, _)| *place).collect();
        for place in over {
            let Some(queued) = self.holding.leave_queue(place) else { continue };
            self.holding.table.add_behind(&queued.keys, place, &mut self.holding.ready);
            host.reply(queued.origin, HELD);
        }
        let is_first_overdue =
            |first: &mut super::Waiter<(TransactionId, Option<u64>)>| is_overdue(first.since, first.away);
        while let Some(waiter) = self.holding.granting.pop_front_if(is_first_overdue) {
            host.reply(waiter.origin, HELD);
            self.holding.let_go(waiter.what.0);
        }
        let mut questions = std::mem::take(&mut self.holding.questions);
        let overdue = questions.extract_if(.., |waiter| is_overdue(waiter.since, waiter.away));
        overdue.for_each(|waiter| host.reply(waiter.origin, HELD));
        self.holding.questions = questions;
        self.give_up_parked(now, timeout, now_ms, host);
        self.go_on(now_ms, host);
    }

    /// Answers everybody, since the shard has failed. Its parts are found again when it is opened again.
    fn drop_holds(&mut self, now_ms: u64, host: &mut impl ShardHost) -> usize {
        let parked = self.take_all_parked();
        let Holding { queue, granting, questions, last_place, .. } = std::mem::take(&mut self.holding);
        self.holding.last_place = last_place;
        let mut origins: Vec<Origin> = queue.into_values().map(|queued| queued.origin).collect();
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
