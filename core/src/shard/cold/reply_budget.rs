//! Bytes of replies that other threads make for one shard, from their first row on until the core has handed them over.
//!
//! What a newcomer would get wrong: nobody knows how long a reply will be. So a thread takes a little more of the budget each time
//! it has read as much as it had, and waits when there is none; it may, if nothing but its reply waits for it. One at a time goes
//! on all the same, or all of them could wait for each other. A read of an entry does not wait, since all entries behind it would:
//! it ends.

use std::cell::RefCell;
use std::ops::{Bound, ControlFlow};
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};

use basalt_storage::{ColdRead, Counters, Direction, Error, Result, Row, Rows, Visit};

use crate::limits;

/// Bytes that the replies of one shard's views may take together, beside one of them.
pub(super) struct ReplyBudget {
    state: Mutex<State>,
    is_less: Condvar,
    /// The same as in `state`, for the core.
    used: AtomicUsize,
    bytes_max: AtomicUsize,
    /// Set once nobody takes replies any more.
    is_closed: AtomicBool,
}

struct State {
    used: usize,
    /// True if some reply has more than the budget allows.
    has_overdrawn: bool,
}

impl ReplyBudget {
    pub(super) fn new(bytes_max: usize) -> Arc<ReplyBudget> {
        let state = Mutex::new(State { used: 0, has_overdrawn: false });
        let (used, is_closed) = (AtomicUsize::new(0), AtomicBool::new(false));
        Arc::new(ReplyBudget {
            state,
            is_less: Condvar::new(),
            used,
            bytes_max: AtomicUsize::new(bytes_max),
            is_closed,
        })
    }

    /// Sets how many bytes it has from now on.
    pub(super) fn set_bytes_max(&self, bytes_max: usize) {
        // Under the lock: a thread that has just looked would not hear of it.
        let _state = self.lock();
        self.bytes_max.store(bytes_max, Ordering::Relaxed);
        self.is_less.notify_all();
    }

    fn bytes_max(&self) -> usize {
        self.bytes_max.load(Ordering::Relaxed)
    }

    /// Ends all reads, since nobody takes replies any more: those that wait for room now, others with their next row.
    pub(super) fn close(&self) {
        // Under the lock: a thread that has just looked would not hear of it.
        let _state = self.lock();
        self.is_closed.store(true, Ordering::Relaxed);
        self.is_less.notify_all();
    }

    fn is_closed(&self) -> bool {
        self.is_closed.load(Ordering::Relaxed)
    }

    /// Bytes that replies have, or that were set aside for them.
    pub(super) fn used(&self) -> usize {
        self.used.load(Ordering::Relaxed)
    }

    // Held for a few instructions each time.
    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// A part of a budget; given back when it is dropped.
#[derive(Default)]
pub(super) struct Reservation {
    budget: Option<Arc<ReplyBudget>>,
    bytes: usize,
    is_overdrawn: bool,
    is_patient: bool,
}

impl Reservation {
    /// One that waits for room.
    pub(super) fn patient(budget: &Arc<ReplyBudget>) -> Reservation {
        Reservation { budget: Some(budget.clone()), is_patient: true, ..Reservation::default() }
    }

    /// One that takes what there is, at once or not at all.
    pub(super) fn impatient(budget: &Arc<ReplyBudget>) -> Reservation {
        Reservation { budget: Some(budget.clone()), ..Reservation::default() }
    }

    /// Takes so many more bytes, as soon as there are any or no other reply is over the budget; returns whether it has. May block
    /// if it is patient.
    fn grow(&mut self, bytes: usize) -> bool {
        let Some(budget) = &self.budget else { return true };
        let mut state = budget.lock();
        while state.used + bytes > budget.bytes_max() && state.has_overdrawn && !self.is_overdrawn {
            if !self.is_patient || budget.is_closed() {
                return false;
            }
            state = budget.is_less.wait(state).unwrap_or_else(PoisonError::into_inner);
        }
        if state.used + bytes > budget.bytes_max() {
            (state.has_overdrawn, self.is_overdrawn) = (true, true);
        }
        state.used += bytes;
        self.bytes += bytes;
        budget.used.store(state.used, Ordering::Relaxed);
        !budget.is_closed()
    }

    /// Gives back what it has above so many bytes, or takes what it lacks: the reply is made.
    pub(super) fn settle(&mut self, bytes: usize) {
        let Some(budget) = &self.budget else { return };
        let mut state = budget.lock();
        state.used = state.used - self.bytes + bytes;
        self.bytes = bytes;
        budget.used.store(state.used, Ordering::Relaxed);
        budget.is_less.notify_all();
    }
}

impl Drop for Reservation {
    fn drop(&mut self) {
        self.settle(0);
        if let Some(budget) = self.budget.as_ref().filter(|_| self.is_overdrawn) {
            budget.lock().has_overdrawn = false;
            budget.is_less.notify_all();
        }
    }
}

/// Rows of which everything that is read is taken to become a part of a reply.
pub(super) struct MeteredRows<'a> {
    rows: &'a mut dyn Rows,
    meter: RefCell<Meter>,
}

struct Meter {
    reservation: Reservation,
    read: usize,
    /// Bytes of the largest reply: of what is read beyond that, nothing is in one.
    reply_bytes_max: usize,
}

impl Meter {
    /// Takes note of a row; returns whether the read goes on.
    fn note(&mut self, bytes: usize) -> bool {
        // One value may be longer than any other reply.
        self.read = (self.read + bytes).min(self.reply_bytes_max.max(bytes));
        if self.read > self.reservation.bytes {
            let more = (self.read - self.reservation.bytes).max(limits::VIEW_REPLY_STEP_BYTES);
            return self.reservation.grow(more);
        }
        !self.reservation.budget.as_ref().is_some_and(|budget| budget.is_closed())
    }
}

/// Ends a read for whose reply there is no room: as if it had gone beyond its view.
fn ended() -> Error {
    Error::Cold(ColdRead::Keys(Vec::new()))
}

impl<'a> MeteredRows<'a> {
    pub(super) fn new(rows: &'a mut dyn Rows, reservation: Reservation, reply_bytes_max: usize) -> MeteredRows<'a> {
        MeteredRows { rows, meter: RefCell::new(Meter { reservation, read: 0, reply_bytes_max }) }
    }

    /// The reservation, as far as it has grown.
    pub(super) fn into_reservation(self) -> Reservation {
        self.meter.into_inner().reservation
    }
}

impl Rows for MeteredRows<'_> {
    fn get(&self, key: &[u8]) -> Result<Option<Row<'_>>> {
        let row = self.rows.get(key)?;
        let goes_on = row.as_ref().is_none_or(|row| self.meter.borrow_mut().note(row.len()));
        if goes_on { Ok(row) } else { Err(ended()) }
    }

    fn get_of_this_entry(&self, key: &[u8]) -> Option<Row<'_>> {
        self.rows.get_of_this_entry(key)
    }

    fn put(&mut self, key: &[u8], value: &[u8]) {
        self.rows.put(key, value);
    }

    fn delete(&mut self, key: &[u8]) {
        self.rows.delete(key);
    }

    fn delete_range(&mut self, from: &[u8], to: &[u8]) {
        self.rows.delete_range(from, to);
    }

    fn scan(&self, lower: Bound<&[u8]>, upper: Bound<&[u8]>, direction: Direction, visit: Visit<'_>) -> Result<()> {
        let mut goes_on = true;
        self.rows.scan(lower, upper, direction, &mut |key, value| {
            goes_on = self.meter.borrow_mut().note(key.len() + value.len());
            if goes_on { visit(key, value) } else { ControlFlow::Break(()) }
        })?;
        if goes_on { Ok(()) } else { Err(ended()) }
    }

    fn counters(&self) -> &Counters {
        self.rows.counters()
    }

    fn counters_mut(&mut self) -> &mut Counters {
        self.rows.counters_mut()
    }
}

#[cfg(test)]
mod tests {
    use std::sync::mpsc::channel;
    use std::time::Duration;

    use super::*;

    #[test]
    fn one_reply_may_be_larger_than_the_budget_and_others_wait_until_it_is_taken() {
        let budget = ReplyBudget::new(1000);
        let mut large = Reservation::patient(&budget);
        large.grow(600);
        let mut small = Reservation::patient(&budget);
        small.grow(300);
        large.grow(600);
        large.grow(5000);
        assert_eq!(budget.used(), 6500);
        let (said, heard) = channel();
        let waits = std::thread::spawn(move || {
            small.grow(300);
            said.send(()).unwrap();
            small
        });
        assert!(heard.recv_timeout(Duration::from_millis(50)).is_err(), "there is nothing left");
        large.settle(2000);
        assert!(heard.recv_timeout(Duration::from_millis(50)).is_err(), "it is made, and not taken");
        assert_eq!(budget.used(), 2300);
        drop(large);
        heard.recv_timeout(Duration::from_secs(60)).expect("there is room again");
        let small = waits.join().unwrap();
        assert_eq!(budget.used(), 600);
        drop(small);
        assert_eq!(budget.used(), 0);
    }

    #[test]
    fn who_is_impatient_ends_where_others_wait() {
        let budget = ReplyBudget::new(1000);
        let mut entry = Reservation::impatient(&budget);
        assert!(entry.grow(300), "there is room");
        let mut large = Reservation::patient(&budget);
        assert!(large.grow(5000), "one may be over the budget");
        assert!(!entry.grow(300));
        assert_eq!(budget.used(), 5300, "it has what it had");
        drop(large);
        assert!(entry.grow(5000), "it may be the one");
    }

    #[test]
    fn who_waits_for_room_ends_when_nobody_takes_replies_any_more() {
        let budget = ReplyBudget::new(1000);
        let mut large = Reservation::patient(&budget);
        assert!(large.grow(5000));
        let (said, heard) = channel();
        for mut waiting in [Reservation::patient(&budget), Reservation::patient(&budget)] {
            let said = said.clone();
            std::thread::spawn(move || {
                let goes_on = waiting.grow(300);
                // As a reply in a queue that nobody empties.
                std::mem::forget(waiting);
                said.send(goes_on).unwrap();
            });
        }
        assert!(heard.recv_timeout(Duration::from_millis(50)).is_err(), "there is nothing left");
        budget.close();
        for _ in 0..2 {
            assert!(!heard.recv_timeout(Duration::from_secs(60)).expect("it ends, though nothing was given back"));
        }
        assert!(!large.grow(1), "nor does the one that was over the budget go on");
    }
}
