//! Numbers that one core writes and any core reads.

use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Instant;

/// A figure that one core writes and any core reads.
#[derive(Debug, Default)]
pub struct Figure(AtomicU64);

impl Figure {
    /// Adds `amount`. Only the core that owns the figure may call this: it is a load and a store, not an atomic addition.
    pub fn add(&self, amount: u64) {
        self.0.store(self.0.load(Ordering::Relaxed).wrapping_add(amount), Ordering::Relaxed);
    }

    /// Sets the figure.
    pub fn set(&self, value: u64) {
        self.0.store(value, Ordering::Relaxed);
    }

    /// The figure.
    pub fn get(&self) -> u64 {
        self.0.load(Ordering::Relaxed)
    }
}

/// A count since the start or since the last `CONFIG RESETSTAT`.
///
/// What a newcomer would get wrong: a reset does not write the count, which belongs to its core, but remembers where it
/// stood. So nothing is lost when a core counts while another one resets.
#[derive(Debug, Default)]
pub struct Counter {
    count: Figure,
    base: Figure,
}

impl Counter {
    /// Adds `amount`. Only the core that owns the counter may call this, see [`Figure::add`].
    pub fn add(&self, amount: u64) {
        self.count.add(amount);
    }

    /// Sets what was counted since the start, for counts kept elsewhere. Only the core that owns the counter may call this.
    pub fn set(&self, count: u64) {
        self.count.set(count);
    }

    /// The count since the last reset.
    pub fn get(&self) -> u64 {
        self.count.get().wrapping_sub(self.base.get())
    }

    /// The count since the start.
    pub fn since_start(&self) -> u64 {
        self.count.get()
    }

    /// Begins anew. Any core may call this.
    pub fn reset(&self) {
        self.base.set(self.count.get());
    }
}

/// Turns counts into rates: how much was counted per second lately. A core feeds it now and then and publishes the outcome.
#[derive(Debug, Default)]
pub struct RateMeter {
    last: Option<(Instant, u64)>,
    per_second: f64,
}

/// Time that it takes a rate to follow a change to two thirds.
const RATE_MEMORY_S: f64 = 1.0;

impl RateMeter {
    /// Takes the count as it is at `now` and gives the rate.
    pub fn feed(&mut self, now: Instant, count: u64) -> u64 {
        if let Some((then, before)) = self.last {
            let seconds = now.saturating_duration_since(then).as_secs_f64();
            if seconds > 0.0 {
                let current = count.wrapping_sub(before) as f64 / seconds;
                let weight = 1.0 - (-seconds / RATE_MEMORY_S).exp();
                self.per_second += (current - self.per_second) * weight;
            }
        }
        self.last = Some((now, count));
        self.per_second.round() as u64
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    #[test]
    fn a_counter_begins_anew_without_losing_what_comes_after() {
        let counter = Counter::default();
        counter.add(3);
        counter.reset();
        counter.add(2);
        assert_eq!((counter.get(), counter.since_start()), (2, 5));
        counter.set(9);
        assert_eq!(counter.get(), 6);
    }

    #[test]
    fn a_rate_follows_its_count() {
        let (start, mut meter) = (Instant::now(), RateMeter::default());
        let tick = |tenths: u64| start + Duration::from_millis(100 * tenths);
        let rates: Vec<u64> = (0..100).map(|tenths| meter.feed(tick(tenths), tenths * 50)).collect();
        assert_eq!(rates[0], 0);
        assert!((490..=500).contains(&rates[99]), "{}", rates[99]);
        let idle = (100..200).map(|tenths| meter.feed(tick(tenths), 5000)).last();
        assert_eq!(idle, Some(0));
    }
}
