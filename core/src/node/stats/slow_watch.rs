//! The watch for commands that take long, which costs those that do not next to nothing.
//!
//! Reading the clock for each command costs a twentieth of a GET (`redis-benchmark -t get -P 16`: the node's processor time for
//! each request), so it is not read. The kernel's coarse clock is: a number in memory that the kernel writes with its ticks, some
//! milliseconds apart. A command that takes longer than the time between two of them cannot end without that number having
//! changed, so only where it has changed is the clock read, a few hundred times a second at most. The beginning is known already:
//! the clock is read when a turn or an entry begins, when a command begins that is not one of the short ones, and after whatever
//! has taken so long that the number has changed. So the time of a command that Redis does not call fast is exact; that of a fast
//! one may include others that were executed right before it, less than a tick of them.
//!
//! What a newcomer would get wrong: a threshold that is not above two ticks cannot be watched for like this. With such a one the
//! clock is read before and after each command.

use std::sync::LazyLock;
use std::time::{Duration, Instant};

use nix::time::{ClockId, clock_getres, clock_gettime};

use super::Figure;
use crate::ids::{CoreId, Origin, Ticket};

const COARSE: ClockId = ClockId::CLOCK_MONOTONIC_COARSE;

/// The moment that readings of the clock count from.
static EPOCH: LazyLock<Instant> = LazyLock::new(Instant::now);

/// The shortest time that the coarse clock is enough for: twice that between its ticks, since these may come late.
static COARSE_ENOUGH: LazyLock<Duration> =
    LazyLock::new(|| clock_getres(COARSE).map_or(Duration::MAX, |tick| 2 * Duration::from(tick)));

const NOBODY: u64 = u64::MAX;

/// One core's watch. Only the core may call what it has, but for [`SlowWatch::set_least`], which any may.
#[derive(Debug)]
pub struct SlowWatch {
    /// Nanoseconds that a command takes at least to be noted; `u64::MAX` if none is.
    least_ns: Figure,
    /// 1 if the clock is read for each command.
    is_exact: Figure,
    /// The last reading of the clock.
    began_ns: Figure,
    /// The last reading of the coarse one.
    coarse_ns: Figure,
    /// The client that what is executed is for.
    client: Figure,
}

impl Default for SlowWatch {
    fn default() -> SlowWatch {
        let watch = SlowWatch {
            least_ns: Figure::default(),
            is_exact: Figure::default(),
            began_ns: Figure::default(),
            coarse_ns: Figure::default(),
            client: Figure::default(),
        };
        watch.set_least(None);
        watch.client.set(NOBODY);
        watch
    }
}

fn now_ns() -> u64 {
    EPOCH.elapsed().as_nanos() as u64
}

fn coarse_ns() -> u64 {
    // It cannot fail with a clock that there is; one that stands still only has nothing noted.
    clock_gettime(COARSE).map_or(0, |now| Duration::from(now).as_nanos() as u64)
}

impl SlowWatch {
    /// Has commands noted that take `least`, from the next one on.
    pub fn set_least(&self, least: Option<Duration>) {
        self.is_exact.set(u64::from(least.is_some_and(|least| least < *COARSE_ENOUGH)));
        self.least_ns.set(least.map_or(u64::MAX, |least| least.as_nanos() as u64));
    }

    /// Notes that something else than a command has come to its end, such as a sleep.
    pub fn mark(&self) {
        if self.least_ns.get() != u64::MAX {
            self.began_ns.set(now_ns());
        }
    }

    /// Notes whose commands are executed from here on; nobody's, of those that are not noted.
    #[inline]
    pub fn serve(&self, client: Option<Origin>) {
        self.client.set(client.map_or(NOBODY, |origin| u64::from(origin.core.0) << 32 | u64::from(origin.client)));
    }

    /// The client whose commands are executed; its ticket is not known.
    pub fn client(&self) -> Option<Origin> {
        let client = self.client.get();
        let origin = Origin { core: CoreId((client >> 32) as u16), client: client as u32, ticket: Ticket(0) };
        (client != NOBODY).then_some(origin)
    }

    /// Notes that a command begins, which is a short one or is not.
    #[inline]
    pub fn begin(&self, is_short: bool) {
        if !is_short || self.is_exact.get() != 0 {
            self.mark();
        }
    }

    /// Notes that a command has ended; returns the nanoseconds that it took if these are as many as is noted.
    #[inline]
    pub fn end(&self) -> Option<u64> {
        if self.least_ns.get() == u64::MAX {
            return None;
        }
        if self.is_exact.get() == 0 {
            let coarse = coarse_ns();
            if coarse == self.coarse_ns.get() {
                return None;
            }
            self.coarse_ns.set(coarse);
        }
        self.measure()
    }

    #[cold]
    fn measure(&self) -> Option<u64> {
        let now = now_ns();
        let took = now.saturating_sub(self.began_ns.get());
        self.began_ns.set(now);
        (took >= self.least_ns.get()).then_some(took)
    }

    /// Returns whether as many nanoseconds are noted, of what was timed elsewhere.
    pub fn is_slow(&self, ns: u64) -> bool {
        ns >= self.least_ns.get() && self.least_ns.get() != u64::MAX
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn spin(time: Duration) {
        let began = Instant::now();
        while began.elapsed() < time {}
    }

    #[test]
    fn what_takes_long_is_found_by_the_coarse_clock_and_what_does_not_is_not() {
        let watch = SlowWatch::default();
        let least = *COARSE_ENOUGH;
        watch.set_least(Some(least));
        assert_eq!(watch.is_exact.get(), 0);
        for is_short in [false, true] {
            watch.mark();
            watch.begin(is_short);
            spin(2 * least);
            let took = watch.end().expect("it took twice as long");
            assert!(took >= 2 * least.as_nanos() as u64, "{took} ns");
            // What it took is not taken for the next one's time, unless that is held up itself.
            let is_short_one = || {
                watch.begin(is_short);
                spin(least / 100);
                watch.end().is_none_or(|took| took < 2 * least.as_nanos() as u64)
            };
            assert!((0..100).any(|_| is_short_one()));
        }
    }

    #[test]
    fn short_times_are_taken_of_each_command_and_nothing_is_where_nothing_is_noted() {
        let watch = SlowWatch::default();
        watch.set_least(Some(Duration::ZERO));
        watch.begin(true);
        assert!(watch.end().is_some() && watch.is_slow(0));
        watch.set_least(None);
        watch.begin(false);
        assert!(watch.end().is_none() && !watch.is_slow(u64::MAX));
    }

    #[test]
    fn the_client_is_told_apart_from_nobody() {
        let watch = SlowWatch::default();
        assert_eq!(watch.client(), None);
        let origin = Origin { core: CoreId(3), client: 70_000, ticket: Ticket(0) };
        watch.serve(Some(origin));
        assert_eq!(watch.client(), Some(origin));
        watch.serve(None);
        assert_eq!(watch.client(), None);
    }
}
