//! The time for which a log's disk has ended no sync although one is asked for.
//!
//! What a newcomer would get wrong: syncs that take long behind each other are no silence, and time in which nobody looked is not
//! the disk's. A process that was stopped for an hour may find the sync done that it waited for.

use std::cell::Cell;
use std::time::Duration;

use crate::limits::SILENCE_LOOKS_APART;
use crate::source::Instant;

/// Measures the silence of one log's disk, by looks at it.
#[derive(Default)]
pub(super) struct Silence {
    /// The number of syncs that were over when the silence began, and when that was.
    since: Cell<Option<(u64, Instant)>>,
    looked: Cell<Option<Instant>>,
}

impl Silence {
    /// Looks at `now`, when of the syncs that were asked for up to the number `started` those up to `finished` are over. Returns
    /// the time since the first look that found the same ones over while others were not.
    pub(super) fn look(&self, started: u64, finished: u64, now: Instant) -> Duration {
        let away = self.looked.replace(Some(now)).map_or(Duration::ZERO, |looked| now - looked);
        let away = away.saturating_sub(SILENCE_LOOKS_APART);
        let since = match self.since.get() {
            _ if finished >= started => None,
            // The looks that were missed are no part of it.
            Some((over, since)) if over == finished => Some((finished, (since + away).min(now))),
            _ => Some((finished, now)),
        };
        self.since.set(since);
        since.map_or(Duration::ZERO, |(_, since)| now - since)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_disk_is_silent_while_it_ends_no_sync_that_it_is_asked_for() {
        let (silence, begin) = (Silence::default(), Instant::now());
        let at = |ms| begin + Duration::from_millis(ms);
        assert_eq!(silence.look(3, 3, at(0)), Duration::ZERO, "nothing is asked for");
        assert_eq!(silence.look(4, 3, at(100)), Duration::ZERO, "it may have been asked just now");
        assert_eq!(silence.look(9, 3, at(300)), Duration::from_millis(200));
        assert_eq!(silence.look(9, 4, at(400)), Duration::ZERO, "it has ended one");
        assert_eq!(silence.look(9, 4, at(900)), Duration::from_millis(500));
        assert_eq!(silence.look(9, 9, at(950)), Duration::ZERO);
        assert_eq!(silence.look(10, 9, at(980)), Duration::ZERO);
    }

    #[test]
    fn time_in_which_nobody_looked_is_not_the_disks() {
        let (silence, begin) = (Silence::default(), Instant::now());
        let at = |ms| begin + Duration::from_millis(ms);
        silence.look(1, 0, at(0));
        assert_eq!(silence.look(1, 0, at(400)), Duration::from_millis(400));
        let behind = silence.look(1, 0, at(3_600_000));
        assert_eq!(behind, Duration::from_millis(400) + SILENCE_LOOKS_APART);
    }
}
