//! The heartbeats of a leader.
//!
//! All groups of a process send theirs at the same moments, so that those from one core to another are one message, and a machine
//! of idle groups sleeps between them. openraft would send each group's at times of its own.

use std::rc::{Rc, Weak};
use std::time::Duration;

use futures_util::FutureExt;
use openraft::AsyncRuntime;

use super::Inner;
use crate::disk::Disk;
use crate::runtime::GlommioRuntime;
use crate::source::{self, Timer};

impl<D: Disk> Inner<D> {
    /// Begins to send heartbeats, if they are due from now on and are not sent already.
    pub(super) fn begin_heartbeats(self: &Rc<Self>) {
        if !self.sends_heartbeats.get() || self.has_heart.replace(true) {
            return;
        }
        let group: Weak<Inner<D>> = Rc::downgrade(self);
        let interval = Duration::from_millis(self.options.heartbeat_ms);
        drop(GlommioRuntime::spawn(async move {
            loop {
                Timer::new(until_next(source::since_beginning(), interval)).await;
                let Some(group) = group.upgrade() else { return };
                if !group.sends_heartbeats.get() {
                    group.has_heart.set(false);
                    return;
                }
                // There is room in the queue, or so much in it that peers hear of this leader anyway.
                let sent = group.raft.trigger().heartbeat().now_or_never();
                if matches!(sent, Some(Err(_))) {
                    return;
                }
            }
        }));
    }
}

/// Returns the time to the next moment at which heartbeats are sent.
pub(super) fn until_next(now: Duration, interval: Duration) -> Duration {
    let (now, interval) = (now.as_micros() as u64, interval.as_micros() as u64);
    Duration::from_micros(interval - now % interval)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn heartbeats_of_all_groups_are_sent_at_the_same_moments() {
        let ms = Duration::from_millis;
        let next = [0, 1, 249, 250, 499, 500].map(|now| until_next(ms(now), ms(250)));
        assert_eq!(next, [250, 249, 1, 250, 1, 250].map(ms));
    }
}
