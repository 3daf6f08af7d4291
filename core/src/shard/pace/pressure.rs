//! The fill of what a shard's writers write to: the memtable, and the segments of the log. See [`super::slow_down`].

#[cfg(test)]
use std::time::Duration;
use std::time::Instant;

use basalt_raft::Group;
use basalt_storage::StoreMemory;
use basalt_storage::log::Backlog;

use super::slow_down::{Drain, Growth, Level, SlowDown};
use crate::limits;
use crate::shard::open_batch::InFlight;

/// Holds batches back while the disk does not keep up.
pub(in crate::shard) struct Pressure {
    slow_down: SlowDown,
    growth: Growth,
    log: LogPressure,
}

impl Pressure {
    pub(in crate::shard) fn new(memtable_bytes: usize, now: Instant) -> Pressure {
        let slow_down = SlowDown::new(memtable_bytes, now);
        Pressure { slow_down, growth: Growth::default(), log: LogPressure::new(now) }
    }

    /// Notes that the memtable may have so many bytes from now on.
    pub(in crate::shard) fn set_memtable_bytes(&mut self, memtable_bytes: usize) {
        self.slow_down.set_memtable_bytes(memtable_bytes);
    }

    pub(in crate::shard) fn slow_down(&self) -> &SlowDown {
        &self.slow_down
    }

    /// Returns whether a batch waits on at `now`, with `memory` as it is. Most of the time this costs a few comparisons.
    pub(in crate::shard) fn hold_back(
        &mut self,
        now: Instant,
        memory: &StoreMemory,
        in_flight: &InFlight,
        group: &Group,
    ) -> bool {
        if memory.frozen_bytes == 0 && !self.log.is_due() {
            self.slow_down.end();
            return false;
        }
        self.log.look(now, group);
        let of_memory = self.memory_level(memory, in_flight, group);
        self.slow_down.look(now, of_memory.into_iter().chain(self.log.level.map(|level| (level, 1.0))));
        self.slow_down.hold_back(now)
    }

    /// Slows writers down from `now` on, whatever the log says: each byte of a batch waits for so long.
    #[cfg(test)]
    pub(in crate::shard) fn slow_down_by(&mut self, wait_per_byte: Duration, now: Instant) {
        let bytes_per_s = (limits::SLOW_DOWN_GAIN / wait_per_byte.as_secs_f64()) as u64;
        let drain = Drain { bytes: 1 << 60, since: now, bytes_per_s };
        self.log.level = Some(Level { bytes: 3, soft_bytes: 2, hard_bytes: 4, drain });
        (self.log.segment_bytes, self.log.seen) = (usize::MAX, now + Duration::from_secs(3600));
    }

    /// Returns whether enough batches are on their way. Not only by their number: what is not applied yet will be in a memtable,
    /// and must not fill the next one before there is any pressure to be noticed.
    pub(in crate::shard) fn in_flight_is_full(&self, memory: &StoreMemory, in_flight: &InFlight) -> bool {
        let count = in_flight.borrow().len();
        if count < limits::UNAPPLIED_BATCHES_MIN {
            return false;
        }
        if count >= limits::BATCHES_IN_FLIGHT {
            return true;
        }
        let unapplied = unapplied_bytes(in_flight);
        let grown = unapplied as f64 * self.growth.ratio(memory.active_bytes, unapplied);
        grown >= (memory.memtable_bytes / limits::UNAPPLIED_SHARE) as f64
    }

    /// The memtable's level and its growth for a byte of a batch, if the one before it is still being written.
    fn memory_level(&self, memory: &StoreMemory, in_flight: &InFlight, group: &Group) -> Option<(Level, f64)> {
        if memory.frozen_bytes == 0 {
            return None;
        }
        let unapplied = unapplied_bytes(in_flight);
        let growth = self.growth.ratio(memory.active_bytes, unapplied);
        let bytes = memory.active_bytes + (unapplied as f64 * growth) as usize;
        if bytes <= memory.memtable_bytes {
            return None;
        }
        let pace = group.write_pace();
        let (frozen_bytes, since) = pace.under_way?;
        let level = Level {
            bytes,
            soft_bytes: memory.memtable_bytes,
            hard_bytes: limits::MEMTABLE_OVERFLOW * memory.memtable_bytes,
            drain: Drain { bytes: frozen_bytes, since, bytes_per_s: pace.bytes_per_s },
        };
        Some((level, growth))
    }

    /// Notes that the batch that waited is refused.
    pub(in crate::shard) fn cancel(&mut self) {
        self.slow_down.cancel();
    }

    /// Notes that a batch was proposed at `now`; returns for how many microseconds it was held back, if it was.
    pub(in crate::shard) fn note_sent(
        &mut self,
        now: Instant,
        batch_bytes: usize,
        copied_bytes: usize,
        memory: &StoreMemory,
    ) -> Option<u64> {
        self.growth.note(batch_bytes + copied_bytes, memory.active_bytes);
        self.log.unseen_bytes += batch_bytes;
        self.slow_down.note_sent(now, batch_bytes + copied_bytes).map(|held| held.as_micros() as u64)
    }
}

/// Bytes of batches that are not in the memtable yet, with those of the rows that they copy.
fn unapplied_bytes(in_flight: &InFlight) -> usize {
    in_flight.borrow().iter().filter(|batch| !batch.applied).map(|batch| batch.bytes + batch.copied_bytes).sum()
}

/// Segments of the log that wait to be written as tables.
struct LogPressure {
    segments_waiting: usize,
    segment_bytes: usize,
    /// Since when the oldest of them has been written, about.
    since: Instant,
    bytes_per_s: u64,
    level: Option<Level>,
    /// Bytes proposed since the last look, and when that was.
    unseen_bytes: usize,
    seen: Instant,
}

impl LogPressure {
    fn new(now: Instant) -> LogPressure {
        LogPressure {
            segments_waiting: 0,
            segment_bytes: 0,
            since: now,
            bytes_per_s: 0,
            level: None,
            unseen_bytes: 0,
            seen: now,
        }
    }

    /// Returns whether it is time to look, or what was seen still slows writers down.
    fn is_due(&self) -> bool {
        self.level.is_some() || self.has_grown()
    }

    fn has_grown(&self) -> bool {
        self.unseen_bytes * limits::LOG_LOOKS_PER_SEGMENT >= self.segment_bytes.max(1)
    }

    fn look(&mut self, now: Instant, group: &Group) {
        let is_old = self.level.is_some() && now.saturating_duration_since(self.seen) >= limits::HELD_RETRY;
        if is_old || self.has_grown() {
            self.take(now, &group.log_backlog());
        }
    }

    fn take(&mut self, now: Instant, backlog: &Backlog) {
        (self.seen, self.unseen_bytes, self.segment_bytes) = (now, 0, backlog.segment_bytes);
        let before = std::mem::replace(&mut self.segments_waiting, backlog.segments_waiting);
        if backlog.segments_waiting < before {
            let written = (before - backlog.segments_waiting) * backlog.segment_bytes;
            let seconds = now.saturating_duration_since(self.since).as_secs_f64().max(1e-6);
            self.bytes_per_s = (written as f64 / seconds) as u64;
        }
        if backlog.segments_waiting < before || before == 0 {
            self.since = now;
        }
        let drain = Drain { bytes: backlog.segment_bytes, since: self.since, bytes_per_s: self.bytes_per_s };
        let hard_bytes = (backlog.segments_waiting_max + 1) * backlog.segment_bytes;
        let bytes = backlog.segments_waiting * backlog.segment_bytes + backlog.newest_bytes;
        let level = Level { bytes, soft_bytes: hard_bytes / 2, hard_bytes, drain };
        self.level = (backlog.segments_waiting > 0 && level.bytes > level.soft_bytes).then_some(level);
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    #[test]
    fn segments_of_the_log_that_wait_slow_writers_down_from_half_of_their_bound_on() {
        let start = Instant::now();
        let mut log = LogPressure::new(start);
        let mut at = |ms, segments_waiting, newest_bytes| {
            let backlog = Backlog { segments_waiting, segments_waiting_max: 3, segment_bytes: 1000, newest_bytes };
            log.take(start + Duration::from_millis(ms), &backlog);
            log.level.map(|level| (level.bytes, level.soft_bytes, level.hard_bytes, level.drain.bytes_per_s))
        };
        assert_eq!(at(0, 0, 999), None);
        assert_eq!(at(10, 1, 900), None);
        assert_eq!(at(20, 2, 500), Some((2500, 2000, 4000, 0)));
        assert_eq!(at(110, 1, 900), None, "one was written in 100 ms");
        assert_eq!(at(120, 2, 100), Some((2100, 2000, 4000, 10_000)));
        assert_eq!(at(130, 3, 1000), Some((4000, 2000, 4000, 10_000)));
    }
}
