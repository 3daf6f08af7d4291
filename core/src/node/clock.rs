//! The node's wall clock, in one place, so that tests can set it.
//!
//! What a newcomer would get wrong: a wall clock steps, forward and back. It says what the time is, to clients and for deadlines;
//! how long something takes is measured with [`std::time::Instant`]. What the rows of a shard show never goes back: see
//! [`ShardMachine::advance_time`](crate::shard::ShardMachine::advance_time).

use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::{Duration, SystemTime, UNIX_EPOCH};

/// The wall clock of a node.
#[derive(Debug, Default)]
pub struct Clock {
    /// The time that it was set to, in Unix milliseconds; 0 while it is the system's.
    set_ms: AtomicU64,
    /// True if it was reported to be behind the entries of the log.
    is_reported: AtomicBool,
}

impl Clock {
    /// The time since 1970.
    pub fn unix(&self) -> Duration {
        match self.set_ms.load(Ordering::Relaxed) {
            0 => SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or(Duration::ZERO),
            set_ms => Duration::from_millis(set_ms),
        }
    }

    /// The time in Unix milliseconds.
    pub fn unix_ms(&self) -> u64 {
        self.unix().as_millis() as u64
    }

    /// Stops the clock at `unix_ms`, which is above 0, for tests and simulations.
    #[cfg(test)]
    pub fn set(&self, unix_ms: u64) {
        assert!(unix_ms > 0, "0 stands for the system's clock");
        self.set_ms.store(unix_ms, Ordering::Relaxed);
    }

    /// Notes whether the clock is far behind what the newest entries say. True if it is and nobody was told yet.
    pub fn is_newly_behind(&self, is_behind: bool) -> bool {
        is_behind && !self.is_reported.swap(true, Ordering::Relaxed)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_clock_is_the_systems_until_it_is_set() {
        let clock = Clock::default();
        assert!(clock.unix_ms() > 1_600_000_000_000);
        clock.set(5);
        assert_eq!((clock.unix_ms(), clock.unix()), (5, Duration::from_millis(5)));
    }
}
