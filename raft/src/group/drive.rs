//! Waiting without a core's turns: the group looks itself for what other threads have finished.

use std::future::{Future, poll_fn};
use std::pin::{Pin, pin};
use std::task::Poll;

use openraft::AsyncRuntime;

use crate::limits::DRIVE_EVERY;
use crate::runtime::{GlommioRuntime, Sleep};

/// Runs `future`, calling `drain` now and then: not each time it is woken, since draining wakes it.
pub(super) async fn drive<F: Future>(drain: impl Fn(), future: F) -> F::Output {
    let mut future = pin!(future);
    let mut timer: Option<Sleep> = None;
    let mut is_due = true;
    poll_fn(|context| {
        loop {
            if std::mem::take(&mut is_due) {
                drain();
            }
            if let Poll::Ready(output) = future.as_mut().poll(context) {
                return Poll::Ready(output);
            }
            let sleep = timer.get_or_insert_with(|| GlommioRuntime::sleep(DRIVE_EVERY));
            if Pin::new(sleep).poll(context).is_pending() {
                return Poll::Pending;
            }
            timer = None;
            is_due = true;
        }
    })
    .await
}
