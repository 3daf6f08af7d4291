//! Signs that a snapshot gets on, from the thread that sends it to the core where its group waits.
//!
//! A newcomer would pass each on: a receiver acknowledges a thousand times a second, and each sign wakes a core. The group has to
//! know but every few seconds.

use std::cell::{Cell, RefCell};
use std::fmt;
use std::task::{Context, Poll};
use std::time::{Duration, Instant};

use futures_channel::mpsc::{Receiver, Sender, channel};
use futures_util::StreamExt;

/// The end that the thread has.
#[derive(Debug)]
pub(super) struct Signs {
    tell: RefCell<Sender<()>>,
    /// The shortest time between two that are passed on.
    every: Duration,
    told_at: Cell<Option<Instant>>,
}

/// The end of whoever waits: what is called with each sign.
pub(super) struct OnSign {
    told: Receiver<()>,
    call: Box<dyn Fn()>,
}

impl Signs {
    /// Both ends. Signs that come within `every` of the last one are not passed on.
    pub(super) fn new(every: Duration) -> (Signs, OnSign) {
        // One may wait: another one says nothing new.
        let (tell, told) = channel(0);
        let signs = Signs { tell: RefCell::new(tell), every, told_at: Cell::new(None) };
        (signs, OnSign { told, call: Box::new(|| ()) })
    }

    /// Notes a sign.
    pub(super) fn note(&self) {
        if self.told_at.get().is_some_and(|at| at.elapsed() < self.every) {
            return;
        }
        self.told_at.set(Some(Instant::now()));
        // One that waits already is as good, and nobody else wants any.
        let _ = self.tell.borrow_mut().try_send(());
    }
}

impl OnSign {
    /// Has `call` called from now on.
    pub(super) fn set(&mut self, call: impl Fn() + 'static) {
        self.call = Box::new(call);
    }

    /// Calls for the signs that have come, and has the task woken by the next one.
    pub(super) fn poll(&mut self, context: &mut Context<'_>) {
        while let Poll::Ready(Some(())) = self.told.poll_next_unpin(context) {
            (self.call)();
        }
    }
}

impl fmt::Debug for OnSign {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.debug_struct("OnSign").finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests {
    use std::rc::Rc;
    use std::task::Waker;

    use super::*;

    /// Both ends, the second with a count of its calls.
    fn ends(every: Duration) -> (Signs, OnSign, Rc<Cell<u32>>) {
        let (signs, mut on_sign) = Signs::new(every);
        let calls = Rc::new(Cell::new(0));
        let count = calls.clone();
        on_sign.set(move || count.set(count.get() + 1));
        (signs, on_sign, calls)
    }

    #[test]
    fn signs_that_nobody_has_looked_at_are_one_and_each_later_one_comes() {
        let (signs, mut on_sign, calls) = ends(Duration::ZERO);
        let mut context = Context::from_waker(Waker::noop());
        on_sign.poll(&mut context);
        assert_eq!(calls.get(), 0);
        for expected in 1..=3 {
            (0..1000).for_each(|_| signs.note());
            on_sign.poll(&mut context);
            on_sign.poll(&mut context);
            assert_eq!(calls.get(), expected);
        }
        drop(signs);
        on_sign.poll(&mut context);
        assert_eq!(calls.get(), 3, "the end is no sign");
    }

    #[test]
    fn signs_that_come_soon_after_another_one_wake_nobody() {
        let (signs, mut on_sign, calls) = ends(Duration::from_secs(3600));
        for _ in 0..10 {
            signs.note();
            on_sign.poll(&mut Context::from_waker(Waker::noop()));
        }
        assert_eq!(calls.get(), 1);
    }
}
