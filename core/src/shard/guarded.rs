//! Transactions that are executed only if the keys which their connection watches are as they were.
//!
//! The shard's leader has a table of watched keys ([`basalt_storage::WatchedKeys`]): applying an entry marks those whose rows it
//! changes, and each write that joins a batch notes that the batch may change them. So a transaction joins the batch being
//! collected once nothing that was applied has changed its keys, and nothing that is not applied yet may: whatever is before it in
//! the log leaves them alone. Only one whose keys are named by a write on its way waits for that, and needs no sync more.
//!
//! What a newcomer would get wrong: followers have no such table, and another leader may come between the look and the entry. So
//! the entry says in which term the look was, and up to which time no key has expired; elsewhere, or later, nothing of it is
//! executed.

use std::time::{Duration, Instant};

use basalt_raft::ProposeError;
use basalt_storage::ColdRead;

use super::cold::NamesLooked;
use super::parts::part_of;
use super::proposing::refusal;
use super::transaction::{null_reply, watch_of};
use super::{Shard, ShardHost};
use crate::commands::{Kind, Rows, table};
use crate::entry::batch;
use crate::entry::request::{self, ArgList, Mode};
use crate::entry::transaction::{Guard, Transaction, fill_in};
use crate::ids::Origin;
use crate::limits;

/// A transaction that waits until a write on its way has been applied, which may change what its connection watches.
pub(super) struct Waiter {
    origin: Origin,
    bytes: Vec<u8>,
    /// Batches below this number may have such a write.
    below: u64,
    since: Instant,
    away: Duration,
    /// Times that it found such a write.
    rounds: u32,
    /// False if its rows could not be held in memory: its entry waits for them.
    looks: bool,
}

/// The outcome of a look at a transaction's keys.
enum Look {
    /// Nothing changes them before the batch being collected.
    Same(Guard),
    Changed,
    /// A write on its way may change them, in a batch below this number.
    Unknown(u64),
    /// This replica may not lead.
    Elsewhere,
}

impl Shard {
    /// Adds a transaction to the batch if its keys are as they were; else answers it, or has it wait. If it `looks`, it says which
    /// of the rows that it needs are not in memory.
    pub(super) fn join_guarded(
        &mut self,
        origin: Origin,
        bytes: &[u8],
        looks: bool,
        now_ms: u64,
        host: &mut impl ShardHost,
    ) -> Result<(), ColdRead> {
        let (since, away) = (Instant::now(), self.batches.presence.away());
        let waiter = Waiter { origin, bytes: bytes.to_vec(), below: 0, since, away, rounds: 0, looks };
        self.join_waiter(waiter, now_ms, host).map_err(|(cold, _)| cold)
    }

    /// The same for one that has waited; gives it back if it is cold.
    fn join_waiter(
        &mut self,
        waiter: Waiter,
        now_ms: u64,
        host: &mut impl ShardHost,
    ) -> Result<(), (ColdRead, Waiter)> {
        let Waiter { origin, ref bytes, rounds, looks, .. } = waiter;
        let transaction = Transaction::read(bytes).expect("it was encoded by this process");
        let watch = transaction.guard.expect("it is in this mode for its guard").watch;
        let guard = match self.look_at_watch(watch, now_ms) {
            Look::Same(guard) => guard,
            Look::Unknown(below) if rounds < limits::WATCH_ROUNDS_MAX => {
                self.parking.waiting.add(bytes.len());
                self.guarded.push(Waiter { below, rounds: rounds + 1, ..waiter });
                return Ok(());
            }
            // Somebody writes to them all the time, whatever comes of that.
            Look::Changed | Look::Unknown(_) => {
                self.machine.borrow_mut().store.watched_mut().forget(watch);
                host.reply(origin, &null_reply(transaction.header.protocol));
                return Ok(());
            }
            Look::Elsewhere => {
                self.machine.borrow_mut().store.watched_mut().forget(watch);
                let redirect = self.redirects().and_then(|redirects| redirects.reply(bytes));
                let refused = || format!("-{}\r\n", refusal(&ProposeError::NotLeader { leader: None }));
                host.reply(origin, redirect.unwrap_or_else(refused).as_bytes());
                return Ok(());
            }
        };
        let at = batch::push(&mut self.batches.open.bytes, |out| out.extend_from_slice(bytes));
        if looks
            && let Err(cold) = self.probe(&self.batches.open.bytes[at.clone()], &mut NamesLooked::default(), now_ms)
        {
            batch::pop(&mut self.batches.open.bytes, at);
            return Err((cold, waiter));
        }
        fill_in(&mut self.batches.open.bytes[at.clone()], guard);
        self.machine.borrow_mut().store.watched_mut().forget(watch);
        self.take_in(origin, at, now_ms);
        self.batches.open.has_guarded = true;
        Ok(())
    }

    fn look_at_watch(&self, watch: u64, now_ms: u64) -> Look {
        let (state, time_ms) = {
            let mut machine = self.machine.borrow_mut();
            (machine.store.watched().state(watch), machine.advance_time(now_ms))
        };
        let Some(state) = state.filter(|state| !state.is_changed && time_ms <= state.deadline_ms) else {
            return Look::Changed;
        };
        match self.group.caught_up_term() {
            None => Look::Elsewhere,
            Some(_) if !self.is_settled(state.batches_below) => Look::Unknown(state.batches_below),
            Some(term) => Look::Same(Guard { watch, term, deadline_ms: state.deadline_ms }),
        }
    }

    /// Returns whether every batch below `number` is applied, or will not be in this term.
    pub(super) fn is_settled(&self, number: u64) -> bool {
        number <= self.settled_below()
    }

    /// The highest number below which every batch is applied, or will not be in this term.
    pub(super) fn settled_below(&self) -> u64 {
        #[cfg(test)]
        self.holding.note_look();
        let open = Some(self.batches.next_number).filter(|_| self.batches.open.write_count > 0);
        let in_flight = self.batches.in_flight.borrow();
        let flying = in_flight.iter().filter(|batch| !batch.applied).map(|batch| batch.number).min();
        open.into_iter().chain(flying).min().unwrap_or(u64::MAX)
    }

    /// Lets transactions go on whose keys may be known by now. Returns how many there were.
    pub(super) fn take_guarded(&mut self, now_ms: u64, host: &mut impl ShardHost) -> usize {
        let (mut count, has_failed) = (0, self.has_failed());
        for waiter in std::mem::take(&mut self.guarded) {
            if !has_failed && !self.is_settled(waiter.below) {
                self.guarded.push(waiter);
                continue;
            }
            self.parking.waiting.remove(waiter.bytes.len());
            count += 1;
            if has_failed {
                self.refuse_failed(waiter.origin, host);
            } else if let Some(want) = self.why_barred(waiter.origin, &waiter.bytes) {
                self.park_behind_hold(waiter.origin, (Mode::Guarded, waiter.bytes), want, host);
            } else if let Err((cold, waiter)) = self.join_waiter(waiter, now_ms, host) {
                self.park(waiter.origin, Mode::Guarded, &waiter.bytes, cold, host);
            }
        }
        count
    }

    /// Answers transactions that have waited for `timeout`: nothing of them is executed.
    pub(super) fn give_up_guarded(&mut self, now: Instant, timeout: Duration, host: &mut impl ShardHost) {
        let presence = self.batches.presence;
        let is_overdue = |waiter: &mut Waiter| presence.age(waiter.since, waiter.away, now) >= timeout;
        let overdue: Vec<Waiter> = self.guarded.extract_if(.., is_overdue).collect();
        for waiter in overdue {
            self.parking.waiting.remove(waiter.bytes.len());
            self.forget_watch_of(&waiter.bytes);
            host.reply(waiter.origin, format!("-{}\r\n", refusal(&ProposeError::Backlog)).as_bytes());
        }
    }

    /// Ends the watch of a request that will not be run, if it has one.
    pub(super) fn forget_watch_of(&self, bytes: &[u8]) {
        if let Some(watch) = watch_of(bytes) {
            self.machine.borrow_mut().store.watched_mut().forget(watch);
        }
    }

    /// Notes which watched keys an encoded write may change that joins the batch being collected.
    pub(super) fn expect_changes(&self, bytes: &[u8]) {
        let has_watched = {
            let machine = self.machine.borrow();
            let watched = machine.store.watched();
            watched.note_write();
            !watched.is_empty()
        };
        if has_watched {
            self.expect_changes_of(bytes);
        }
    }

    #[cold]
    fn expect_changes_of(&self, bytes: &[u8]) {
        let mut args = ArgList::new();
        args.push(b"");
        let Some(command) = request::peek(bytes).and_then(|(id, _)| table::by_id(id)) else { return };
        match command.kind {
            Kind::Transaction => {
                let members = Transaction::read(bytes).into_iter().flat_map(|transaction| transaction.commands());
                members.flatten().for_each(|member| self.expect_changes_of(member));
            }
            Kind::Part => match request::command_id(bytes) {
                Some(table::STEP_DECIDE) => {
                    part_of(bytes).into_iter().for_each(|part| self.expect_changes_of(part));
                }
                Some(table::STEP_COMMIT) => self.expect_changes_of_commit(bytes),
                _ => {}
            },
            // What has expired is no more as it was when the look was, by its deadline.
            Kind::Write(_) if command.rows == Rows::Due => {}
            Kind::Write(_) => {
                let is_whole = request::decode(bytes, &mut args).is_some();
                let mut machine = self.machine.borrow_mut();
                let watched = machine.store.watched_mut();
                let mut keys = command.keys(&args).peekable();
                // A script may change others than it has declared.
                if !is_whole || command.is_undoable || keys.peek().is_none() {
                    return watched.expect_changes();
                }
                keys.for_each(|position| watched.expect_change(args[position]));
            }
            _ => {}
        }
    }

    /// The same for the commit of a part: it changes what the transaction holds exclusively.
    fn expect_changes_of_commit(&self, bytes: &[u8]) {
        let mut machine = self.machine.borrow_mut();
        let watched = machine.store.watched_mut();
        match self.holding.keys_of_commit(bytes).filter(|keys| keys.whole != Some(true)) {
            Some(keys) => {
                keys.keys.iter().filter(|key| key.is_exclusive).for_each(|key| watched.expect_change(&key.key));
            }
            None => watched.expect_changes(),
        }
    }
}
