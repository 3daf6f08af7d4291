//! The bandwidth that all snapshots of a node share: a bucket of bytes that fills at a steady rate.
//!
//! Whoever sends takes the bytes first and then waits until they were there, so the order of those who wait is the order in which
//! they came. A newcomer would give each snapshot a rate of its own: a node that sends many at once would have no bound.

use std::sync::{Mutex, PoisonError};
use std::time::{Duration, Instant};

/// A bound on bytes a second, shared by reference.
#[derive(Debug)]
pub struct Bandwidth {
    /// Bytes a second; 0 for no bound.
    bytes_per_second: u64,
    /// Bytes that may go at once when nothing has gone for long.
    burst_bytes: u64,
    account: Mutex<Account>,
}

#[derive(Debug)]
struct Account {
    /// The time at which all bytes that were taken have been paid for, counted from `since`.
    paid_at: Duration,
    since: Instant,
    taken_bytes: u64,
}

impl Bandwidth {
    /// A bound of `bytes_per_second`, or none if that is 0, with `burst_bytes` at once.
    pub fn new(bytes_per_second: u64, burst_bytes: u64) -> Bandwidth {
        let account = Account { paid_at: Duration::ZERO, since: Instant::now(), taken_bytes: 0 };
        Bandwidth { bytes_per_second, burst_bytes, account: Mutex::new(account) }
    }

    /// Takes `bytes`, and returns the time to wait before they are sent.
    pub(super) fn take(&self, bytes: u64) -> Duration {
        let since = self.account.lock().unwrap_or_else(PoisonError::into_inner).since;
        self.take_at(bytes, since.elapsed())
    }

    /// Bytes that were taken so far.
    #[cfg(test)]
    pub fn taken_bytes(&self) -> u64 {
        self.account.lock().unwrap_or_else(PoisonError::into_inner).taken_bytes
    }

    /// As [`Bandwidth::take`] at the time `now`, counted from the beginning.
    fn take_at(&self, bytes: u64, now: Duration) -> Duration {
        let mut account = self.account.lock().unwrap_or_else(PoisonError::into_inner);
        account.taken_bytes = account.taken_bytes.saturating_add(bytes);
        if self.bytes_per_second == 0 {
            return Duration::ZERO;
        }
        let burst = self.time_of(self.burst_bytes);
        // The bucket holds a burst and no more, however long nothing was taken.
        account.paid_at = account.paid_at.max(now) + self.time_of(bytes);
        account.paid_at.saturating_sub(now + burst)
    }

    fn time_of(&self, bytes: u64) -> Duration {
        let nanoseconds = u128::from(bytes) * 1_000_000_000 / u128::from(self.bytes_per_second);
        Duration::from_nanos(u64::try_from(nanoseconds).unwrap_or(u64::MAX / 2))
    }
}

#[cfg(test)]
mod tests {
    use proptest::collection::vec;
    use proptest::prelude::*;

    use super::*;

    proptest! {
        #[test]
        fn no_more_goes_in_any_time_than_the_rate_and_one_burst(
            steps in vec((1..200_000_u64, 0..500_u64), 1..100),
        ) {
            let (rate, burst) = (1_000_000, 250_000);
            let bandwidth = Bandwidth::new(rate, burst);
            let mut now = Duration::ZERO;
            let mut sent: Vec<(Duration, u64)> = Vec::new();
            for (bytes, pause_ms) in steps {
                now += Duration::from_millis(pause_ms);
                // Several may wait at once: each is sent when its wait is over.
                sent.push((now + bandwidth.take_at(bytes, now), bytes));
            }
            for (at, &(begin, _)) in sent.iter().enumerate() {
                for (to, &(end, _)) in sent.iter().enumerate().skip(at) {
                    let bytes: u64 = sent[at..=to].iter().map(|(_, bytes)| bytes).sum();
                    let allowed = burst + (end.saturating_sub(begin).as_nanos() * u128::from(rate) / 1_000_000_000) as u64;
                    // The first of them was there before the time begins.
                    prop_assert!(bytes <= allowed + sent[at].1 + 1, "{bytes} bytes, {allowed} are allowed");
                }
            }
            prop_assert_eq!(bandwidth.taken_bytes(), sent.iter().map(|(_, bytes)| bytes).sum::<u64>());
        }
    }

    #[test]
    fn those_who_wait_are_served_in_turn_and_a_pause_saves_no_more_than_a_burst() {
        let bandwidth = Bandwidth::new(1000, 100);
        let at = Duration::from_millis;
        assert_eq!(bandwidth.take_at(100, at(0)), at(0));
        assert_eq!(bandwidth.take_at(50, at(0)), at(50));
        assert_eq!(bandwidth.take_at(50, at(0)), at(100));
        assert_eq!(bandwidth.take_at(200, at(60_000)), at(100), "a minute of silence is a burst");
        assert_eq!(Bandwidth::new(0, 0).take_at(u64::MAX, at(0)), at(0));
    }
}
