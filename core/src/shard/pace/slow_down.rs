//! Slows a shard's writers down, smoothly, when what they fill is not emptied as fast: memory, or segments of the log.
//!
//! A memtable that is full while the one before it is still being written may grow to [`limits::MEMTABLE_OVERFLOW`] times its
//! budget; then the shard stops proposing. Long before, batches wait a little after each other. How long follows from two
//! figures: how much of the room between budget and bound is taken (`fill`, 0 to 1), and how long the disk takes for a byte. A byte
//! costs [`limits::SLOW_DOWN_GAIN`]` * fill / (1 - fill)` times that: nothing at the budget, as long as the disk takes at a fifth
//! of the room, without end at the bound. The level at which as much comes as goes is found by itself.
//!
//! What a newcomer would get wrong: how fast the disk is now is not known until it is done. It is taken to be as fast as it was,
//! until what is under way takes longer than that; from then on, as fast as that would be if it were done this moment. So a
//! disk that hangs slows the writers down more and more, instead of letting them run into the bound.

use std::time::{Duration, Instant};

use crate::limits;

/// Something that writers fill and the disk empties.
#[derive(Debug, Clone, Copy)]
pub struct Level {
    /// Bytes in it.
    pub bytes: usize,
    /// Bytes from which on writers are slowed down.
    pub soft_bytes: usize,
    /// Bytes at which nothing more is taken.
    pub hard_bytes: usize,
    /// The writing to disk that makes room.
    pub drain: Drain,
}

/// Speed at which something is written to disk.
#[derive(Debug, Clone, Copy)]
pub struct Drain {
    /// Bytes being written.
    pub bytes: usize,
    /// Since when.
    pub since: Instant,
    /// Bytes per second at which it went lately; 0 if nobody knows.
    pub bytes_per_s: u64,
}

impl Drain {
    /// Seconds that a byte takes, as far as is known at `now`.
    fn seconds_per_byte(&self, now: Instant) -> f64 {
        let so_far = now.saturating_duration_since(self.since).as_secs_f64() / self.bytes.max(1) as f64;
        if self.bytes_per_s == 0 { so_far } else { so_far.max(1.0 / self.bytes_per_s as f64) }
    }
}

impl Level {
    /// Seconds that each byte should wait at `now`; more than any batch waits at the bound.
    fn wait_per_byte(&self, now: Instant) -> f64 {
        let above = self.bytes.saturating_sub(self.soft_bytes) as f64;
        let room = self.hard_bytes.saturating_sub(self.soft_bytes) as f64;
        if above == 0.0 {
            return 0.0;
        }
        if above >= room {
            return f64::INFINITY;
        }
        limits::SLOW_DOWN_GAIN * above / (room - above) * self.drain.seconds_per_byte(now)
    }
}

fn usual_batch_bytes(memtable_bytes: usize) -> usize {
    (memtable_bytes / limits::MEMTABLE_BATCHES_MIN).min(limits::BATCH_BYTES_MAX)
}

/// The moment at which a shard may propose its next batch, and how large that may be.
#[derive(Debug)]
pub struct SlowDown {
    /// Bytes of a batch that are taken without pressure.
    usual_batch_bytes: usize,
    batch_bytes_max: usize,
    /// No batch leaves before.
    due: Instant,
    /// Since when the batch that was collected has waited.
    waits_since: Option<Instant>,
    /// Seconds that a byte of a batch waits; 0 without pressure.
    wait_per_byte: f64,
}

impl SlowDown {
    /// Nothing is under pressure. Batches are small beside the memtable, which they might overrun otherwise before any
    /// pressure is noticed.
    pub fn new(memtable_bytes: usize, now: Instant) -> SlowDown {
        let usual = usual_batch_bytes(memtable_bytes);
        SlowDown { usual_batch_bytes: usual, batch_bytes_max: usual, due: now, waits_since: None, wait_per_byte: 0.0 }
    }

    /// Notes that the memtable may have so many bytes from now on.
    pub fn set_memtable_bytes(&mut self, memtable_bytes: usize) {
        self.usual_batch_bytes = usual_batch_bytes(memtable_bytes);
        if !self.is_active() {
            self.batch_bytes_max = self.usual_batch_bytes;
        }
    }

    /// Bytes of a batch at which nothing more is taken: under pressure, what may leave in [`limits::SLOW_DOWN_STEP`].
    pub fn batch_bytes_max(&self) -> usize {
        self.batch_bytes_max
    }

    /// Returns whether the batch that was collected waits.
    pub fn is_waiting(&self) -> bool {
        self.waits_since.is_some()
    }

    /// Returns whether anything is under pressure.
    pub fn is_active(&self) -> bool {
        self.wait_per_byte > 0.0
    }

    /// Returns the time that a batch as large as one may be waits, as things are.
    pub fn delay(&self) -> Duration {
        if self.is_active() { self.wait_of(self.batch_bytes_max) } else { Duration::ZERO }
    }

    /// Bytes per second that are let through, as things are; 0 for as many as come.
    pub fn bytes_per_s(&self) -> u64 {
        if self.is_active() { (self.batch_bytes_max as f64 / self.delay().as_secs_f64()) as u64 } else { 0 }
    }

    /// There is no pressure: nothing waits.
    #[inline]
    pub fn end(&mut self) {
        if self.is_active() {
            self.wait_per_byte = 0.0;
            self.batch_bytes_max = self.usual_batch_bytes;
        }
    }

    /// Takes the levels at `now`, each with the bytes that a byte of a batch adds to it.
    pub fn look(&mut self, now: Instant, levels: impl IntoIterator<Item = (Level, f64)>) {
        let waits = levels.into_iter().map(|(level, growth)| level.wait_per_byte(now) * growth);
        // At a bound with a growth of 0, the product is no number.
        let wait = waits.filter(|wait| !wait.is_nan()).fold(0.0, f64::max);
        if wait == 0.0 {
            return self.end();
        }
        self.wait_per_byte = wait;
        let in_a_step = limits::SLOW_DOWN_STEP.as_secs_f64() / wait;
        let least = limits::SLOW_DOWN_BATCH_BYTES_MIN.min(self.usual_batch_bytes);
        self.batch_bytes_max = (in_a_step as usize).clamp(least, self.usual_batch_bytes);
    }

    /// Returns whether the batch that was collected waits on at `now`.
    #[inline]
    pub fn hold_back(&mut self, now: Instant) -> bool {
        if !self.is_active() || now >= self.due {
            return false;
        }
        self.waits_since.get_or_insert(now);
        true
    }

    /// Notes that a batch of `bytes` leaves at `now`; returns how long it has waited, if it has.
    #[inline]
    pub fn note_sent(&mut self, now: Instant, bytes: usize) -> Option<Duration> {
        if self.is_active() {
            // What the core slept too long is made good, or the rate would be less than it might be.
            let begun = self.due.max(now.checked_sub(limits::HELD_RETRY).unwrap_or(now)).min(now);
            self.due = begun + self.wait_of(bytes);
        }
        self.waits_since.take().map(|since| now.saturating_duration_since(since))
    }

    /// Notes that the batch that was collected is not proposed any more.
    pub fn cancel(&mut self) {
        self.waits_since = None;
    }

    fn wait_of(&self, bytes: usize) -> Duration {
        let seconds = bytes as f64 * self.wait_per_byte;
        Duration::from_secs_f64(seconds.min(limits::SLOW_DOWN_MAX.as_secs_f64()))
    }
}

/// Number of bytes that a memtable grows by for each byte of the batches: much for small new rows, nothing for the same ones again.
#[derive(Debug, Default)]
pub struct Growth {
    batch_bytes: u64,
    last_bytes: usize,
    /// Bytes of batches and of the memtable when it was last seen to be smaller than before.
    mark: (u64, usize),
}

impl Growth {
    /// Notes that a batch of `bytes` is proposed while the memtable has `memtable_bytes`.
    #[inline]
    pub fn note(&mut self, bytes: usize, memtable_bytes: usize) {
        if memtable_bytes < self.last_bytes {
            self.mark = (self.batch_bytes, memtable_bytes);
        }
        self.last_bytes = memtable_bytes;
        self.batch_bytes += bytes as u64;
    }

    /// Bytes of memtable, which has `memtable_bytes` now, for each byte of a batch. `unapplied` bytes are not in it yet.
    pub fn ratio(&self, memtable_bytes: usize, unapplied: usize) -> f64 {
        let grown = memtable_bytes.saturating_sub(self.mark.1);
        let applied = (self.batch_bytes - self.mark.0).saturating_sub(unapplied as u64);
        if memtable_bytes < self.last_bytes || applied == 0 {
            // It was frozen a moment ago.
            return 1.0;
        }
        (grown as f64 / applied as f64).min(limits::SLOW_DOWN_GROWTH_MAX)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const MIB: f64 = 1048576.0;
    const TICK: Duration = Duration::from_micros(500);

    /// A shard of which only sizes exist: clients that always have more to write, a memtable, and a disk.
    struct Model {
        now: Instant,
        slow_down: SlowDown,
        budget: usize,
        active: f64,
        open: f64,
        /// Bytes being written, those that are left, and since when.
        frozen: Option<(f64, f64, Instant)>,
        measured: u64,
        written: f64,
        last_batch: Instant,
        gap_max: Duration,
        active_max: f64,
        /// Memtable bytes per byte of a batch.
        growth: f64,
    }

    impl Model {
        fn new(budget: usize, growth: f64) -> Model {
            let now = Instant::now();
            Model {
                now,
                slow_down: SlowDown::new(budget, now),
                budget,
                active: 0.0,
                open: 0.0,
                frozen: None,
                measured: 0,
                written: 0.0,
                last_batch: now,
                gap_max: Duration::ZERO,
                active_max: 0.0,
                growth,
            }
        }

        /// Lets `time` pass: clients would write `arrival` bytes a second, the disk takes `drain`.
        fn run(&mut self, time: Duration, arrival: f64, drain: f64) {
            let end = self.now + time;
            while self.now < end {
                self.now += TICK;
                self.open = (self.open + arrival * TICK.as_secs_f64()).min(self.slow_down.batch_bytes_max() as f64);
                self.disk(drain);
                self.look();
                if self.open >= 1.0 && !self.slow_down.hold_back(self.now) {
                    self.slow_down.note_sent(self.now, self.open as usize);
                    self.active += self.open * self.growth;
                    self.written += self.open * self.growth;
                    self.open = 0.0;
                    self.gap_max = self.gap_max.max(self.now - self.last_batch);
                    self.last_batch = self.now;
                }
                self.active_max = self.active_max.max(self.active);
            }
            self.gap_max = self.gap_max.max(self.now - self.last_batch);
        }

        fn disk(&mut self, drain: f64) {
            if let Some((bytes, left, since)) = &mut self.frozen {
                *left -= drain * TICK.as_secs_f64();
                if *left <= 0.0 {
                    self.measured = (*bytes / (self.now - *since).as_secs_f64()) as u64;
                    self.frozen = None;
                }
            }
            if self.frozen.is_none() && self.active >= self.budget as f64 {
                self.frozen = Some((self.active, self.active, self.now));
                self.active = 0.0;
            }
        }

        fn look(&mut self) {
            let Some((bytes, _, since)) = self.frozen else { return self.slow_down.end() };
            let level = Level {
                bytes: self.active as usize,
                soft_bytes: self.budget,
                hard_bytes: limits::MEMTABLE_OVERFLOW * self.budget,
                drain: Drain { bytes: bytes as usize, since, bytes_per_s: self.measured },
            };
            self.slow_down.look(self.now, [(level, self.growth)]);
        }

        /// The most that was in the memtable, in budgets.
        fn most(&self) -> f64 {
            self.active_max / self.budget as f64
        }
    }

    #[test]
    fn writers_that_are_three_times_as_fast_as_the_disk_are_slowed_down_to_its_pace_without_a_stop() {
        for (budget_mib, drain_mib, growth) in
            [(1.0, 2.0, 1.0), (64.0, 40.0, 1.0), (64.0, 40.0, 3.0), (256.0, 100.0, 0.5)]
        {
            let mut model = Model::new((budget_mib * MIB) as usize, growth);
            let drain = drain_mib * MIB;
            let generation = Duration::from_secs_f64(budget_mib / drain_mib);
            model.run(3 * generation, 3.0 * drain / growth, drain);
            model.written = 0.0;
            model.run(20 * generation, 3.0 * drain / growth, drain);
            let pace = model.written / (20.0 * budget_mib * MIB);
            println!(
                "{budget_mib} MiB: {pace:.2} of the disk's pace, {:.2} budgets, {:?} at most",
                model.most(),
                model.gap_max
            );
            assert!((0.85..1.15).contains(&pace), "{pace} of the disk's pace");
            assert!(model.gap_max <= Duration::from_millis(25), "{:?}", model.gap_max);
            assert!(model.most() < 1.7, "{} budgets", model.most());
        }
    }

    #[test]
    fn a_disk_that_becomes_twenty_times_slower_slows_writers_down_and_does_not_stop_them() {
        let mut model = Model::new(16 << 20, 1.0);
        let drain = 40.0 * MIB;
        model.run(Duration::from_secs(5), 3.0 * drain, drain);
        model.run(Duration::from_secs(30), 3.0 * drain, drain / 20.0);
        println!("{:.3} budgets, {:?} at most", model.most(), model.gap_max);
        assert!(model.gap_max <= 2 * limits::SLOW_DOWN_MAX, "{:?}", model.gap_max);
        assert!(model.most() < 2.0, "{} budgets", model.most());
    }

    #[test]
    fn writers_slower_than_the_disk_never_wait() {
        let mut model = Model::new(16 << 20, 1.0);
        for _ in 0..40 {
            model.run(Duration::from_millis(250), 30.0 * MIB, 40.0 * MIB);
            assert!(!model.slow_down.is_active() && !model.slow_down.is_waiting());
            assert_eq!(model.slow_down.delay(), Duration::ZERO);
        }
        assert!(model.gap_max <= 2 * TICK);
    }

    #[test]
    fn the_wait_grows_from_nothing_at_the_budget_to_the_longest_at_the_bound() {
        let now = Instant::now();
        let mut slow_down = SlowDown::new(8 << 20, now);
        let mut last = Duration::ZERO;
        for percent in 100..=200 {
            let drain = Drain { bytes: 8 << 20, since: now, bytes_per_s: 8 << 20 };
            let level = Level { bytes: (8 << 20) / 100 * percent, soft_bytes: 8 << 20, hard_bytes: 16 << 20, drain };
            slow_down.look(now, [(level, 1.0)]);
            let wait = slow_down.wait_of(16 << 10);
            assert!(wait >= last, "at {percent} %: {wait:?} after {last:?}");
            assert_eq!(wait.is_zero(), percent == 100, "at {percent} %");
            last = wait;
        }
        assert_eq!(last, limits::SLOW_DOWN_MAX);
    }

    #[test]
    fn growth_is_what_rows_take_for_what_batches_bring() {
        let mut growth = Growth::default();
        (0..10).for_each(|batch| growth.note(1000, batch * 2500));
        assert_eq!(growth.ratio(25_000, 0), 2.5);
        assert_eq!(growth.ratio(22_500, 1000), 2.5, "the last is on its way");
        growth.note(1000, 0);
        assert_eq!(growth.ratio(0, 1000), 1.0, "frozen, and nothing known");
        growth.note(1000, 500);
        assert_eq!(growth.ratio(1000, 0), 0.5);
        assert_eq!(growth.ratio(1_000_000, 0), limits::SLOW_DOWN_GROWTH_MAX);
    }
}
