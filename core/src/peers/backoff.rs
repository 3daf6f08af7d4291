//! The peace that a peer is left in after it could not be reached.

use std::time::{Duration, Instant};

use crate::limits::peers::{BACKOFF_MAX, BACKOFF_MIN, SOUND_AFTER};

/// The failures of one way to a peer since it was last reached.
#[derive(Debug, Default)]
pub(super) struct Backoff {
    failures: u32,
    until: Option<Instant>,
}

impl Backoff {
    /// The peer could not be reached: true if that is the first time.
    pub(super) fn failed(&mut self, now: Instant) -> bool {
        let wait = BACKOFF_MIN.saturating_mul(1 << self.failures.min(16)).min(BACKOFF_MAX);
        self.failures = self.failures.saturating_add(1);
        self.until = Some(now + wait);
        self.failures == 1
    }

    /// A connection was made and greeted.
    pub(super) fn reached(&mut self) {
        *self = Backoff::default();
    }

    /// A connection has ended that was greeted `life` ago. One that never lasts is not made time and again.
    pub(super) fn lost(&mut self, life: Duration, now: Instant) {
        if life < SOUND_AFTER {
            self.failed(now);
        }
    }

    /// True while the peer is left in peace.
    pub(super) fn is_on(&self, now: Instant) -> bool {
        self.until.is_some_and(|until| now < until)
    }

    /// True if nothing is to be remembered.
    pub(super) fn is_clear(&self) -> bool {
        self.failures == 0
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_peer_that_stays_away_is_tried_once_a_second_and_one_that_comes_back_at_once() {
        let (mut backoff, mut now, mut waits) = (Backoff::default(), Instant::now(), Vec::new());
        assert!(backoff.is_clear() && !backoff.is_on(now));
        for _ in 0..100 {
            assert_eq!(backoff.failed(now), waits.is_empty());
            let wait = backoff.until.unwrap() - now;
            assert!(backoff.is_on(now) && !backoff.is_on(now + wait));
            waits.push(wait);
            now += wait;
        }
        assert!(waits.is_sorted());
        assert_eq!((waits[0], waits[99]), (BACKOFF_MIN, BACKOFF_MAX));
        backoff.reached();
        assert!(backoff.is_clear() && !backoff.is_on(now));
        backoff.lost(SOUND_AFTER, now);
        assert!(!backoff.is_on(now), "it was a good one");
        backoff.lost(SOUND_AFTER / 2, now);
        assert!(backoff.is_on(now));
    }
}
