//! The time that commands run.

use std::sync::OnceLock;
use std::time::Instant;

use super::{Counter, Figure};

/// Runs of a command on a core that are all timed; later ones are timed now and then.
const RUNS_TIMED_AT_FIRST: u64 = 64;
/// Runs that are not timed between two that are: up to twice as many, so that no pattern of requests keeps step with it.
const RUNS_UNTIMED_MEAN: u64 = 64;

/// Time that a command ran, from timing few of its runs: reading the clock twice would cost as much as a short command.
///
/// Each run that is timed stands for those since the last one as well, so the sum is right on average, and exact for a
/// command that has not run often.
#[derive(Debug, Default)]
pub struct RunTime {
    /// Runs until one is timed.
    untimed: Figure,
    /// Runs that the next timed one stands for.
    stands_for: Figure,
    timed: Figure,
    ns: Counter,
    /// Runs by how long they took: below 1024 ns, below twice as much, and so on; the last one has all longer ones.
    buckets: OnceLock<Box<[Counter; RunTime::BUCKETS]>>,
}

impl RunTime {
    /// Notes that a run begins, and when if it is to be timed. Only the core that owns this may call it.
    #[inline]
    pub fn start(&self) -> Option<Instant> {
        match self.untimed.get() {
            0 => Some(Instant::now()),
            untimed => {
                self.untimed.set(untimed - 1);
                None
            }
        }
    }

    /// Takes the time of a run that [`RunTime::start`] wants timed, and picks the next. Only the core that owns this may
    /// call it.
    #[cold]
    pub fn stop(&self, started: Instant) {
        self.take(started.elapsed().as_nanos() as u64);
    }

    fn take(&self, ns: u64) {
        let runs = self.stands_for.get().max(1);
        self.ns.add(ns.saturating_mul(runs));
        let bucket = (u64::BITS - (ns >> 10).leading_zeros()) as usize;
        self.buckets.get_or_init(Default::default)[bucket.min(RunTime::BUCKETS - 1)].add(runs);
        let timed = self.timed.get();
        self.timed.set(timed + 1);
        let untimed = if timed + 1 < RUNS_TIMED_AT_FIRST {
            0
        } else {
            // The high half of a product with the golden ratio: evenly spread, and no two in a row are alike.
            (timed.wrapping_mul(0x9E37_79B9_7F4A_7C15) >> 32) % (2 * RUNS_UNTIMED_MEAN + 1)
        };
        self.untimed.set(untimed);
        self.stands_for.set(untimed + 1);
    }

    /// Begins anew: the next runs are all timed again. Any core may call this; if its owner picks the next run at that
    /// moment, one of the two is lost, which makes the sum less right and nothing else.
    pub(super) fn reset(&self) {
        self.ns.reset();
        self.buckets.get().into_iter().flat_map(|buckets| buckets.iter()).for_each(Counter::reset);
        self.timed.set(0);
        self.stands_for.set(1);
        self.untimed.set(0);
    }

    /// Classes of times, see [`RunTime::bucket_end_us`].
    pub const BUCKETS: usize = 28;

    /// The time, in microseconds, below which the runs of a class were: a power of two, about.
    pub fn bucket_end_us(bucket: usize) -> u64 {
        (1024 << bucket) / 1000
    }

    /// Adds the runs of each class since the last reset, about.
    pub fn add_to(&self, runs: &mut [u64; RunTime::BUCKETS]) {
        let buckets = self.buckets.get().into_iter().flat_map(|buckets| buckets.iter());
        runs.iter_mut().zip(buckets).for_each(|(sum, bucket)| *sum += bucket.get());
    }

    /// Notes a run that has taken so long.
    #[cfg(test)]
    pub(crate) fn note_for_test(&self, ns: u64) {
        self.take(ns);
    }

    /// Nanoseconds since the last reset, about.
    pub fn ns(&self) -> u64 {
        self.ns.get()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_time_of_many_runs_is_known_from_few() {
        let (time, mut timed) = (RunTime::default(), 0u64);
        for run in 0..1_000_000u64 {
            if time.start().is_some() {
                // Every fourth run takes long.
                time.take(if run % 4 == 0 { 9_000 } else { 1_000 });
                timed += 1;
            }
        }
        let us = time.ns() / 1000;
        assert!((2_800_000..=3_200_000).contains(&us), "{us} us instead of 3 s, from {timed} runs");
        assert!((10_000..=20_000).contains(&timed), "{timed} of a million runs were timed");
    }

    #[test]
    fn the_time_of_few_runs_is_exact() {
        let time = RunTime::default();
        for _ in 0..RUNS_TIMED_AT_FIRST {
            assert!(time.start().is_some());
            time.take(3_000);
        }
        assert_eq!(time.ns(), 3_000 * RUNS_TIMED_AT_FIRST);

        (0..1_000).for_each(|_| time.start().into_iter().for_each(|_| time.take(3_000)));
        time.reset();
        assert_eq!(time.ns(), 0);
        assert!(time.start().is_some(), "after a reset they are few again");
        time.take(3_000);
        assert_eq!(time.ns(), 3_000);
    }
}
