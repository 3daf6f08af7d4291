//! The latency monitor: the worst of each second in which something took as long as `latency-monitor-threshold`, as Redis has it.
//!
//! What a newcomer would get wrong: the lock is taken where something took long and by who reads, by nothing else.

use std::collections::VecDeque;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use super::Clock;
use crate::limits;

/// Something that may take long.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum LatencyEvent {
    /// A command that is not called fast was executed.
    Command,
    /// One that is.
    FastCommand,
    /// A batch of writes came to be executed: it was synced, and followers had it.
    LogCommit,
    /// A core took one turn: nothing else of it went on meanwhile.
    Turn,
}

impl LatencyEvent {
    /// All of them.
    pub const ALL: [LatencyEvent; 4] =
        [LatencyEvent::Command, LatencyEvent::FastCommand, LatencyEvent::LogCommit, LatencyEvent::Turn];

    /// Its name.
    pub fn name(self) -> &'static str {
        match self {
            LatencyEvent::Command => "command",
            LatencyEvent::FastCommand => "fast-command",
            LatencyEvent::LogCommit => "log-commit",
            LatencyEvent::Turn => "core-turn",
        }
    }
}

/// The worst that happened in one second.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct LatencySample {
    /// The second, in Unix time.
    pub at_s: u64,
    /// The time that it took, in milliseconds.
    pub ms: u64,
}

/// All that is kept of one event.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct LatencySeries {
    /// The oldest first.
    pub samples: VecDeque<LatencySample>,
    /// The longest of all times, in milliseconds.
    pub most_ms: u64,
}

impl LatencySeries {
    fn add(&mut self, sample: LatencySample) {
        self.most_ms = self.most_ms.max(sample.ms);
        match self.samples.back_mut().filter(|last| last.at_s >= sample.at_s) {
            Some(last) => last.ms = last.ms.max(sample.ms),
            None => self.samples.push_back(sample),
        }
        if self.samples.len() > limits::LATENCY_SAMPLES_MAX {
            self.samples.pop_front();
        }
    }
}

/// The monitor.
#[derive(Debug, Default)]
pub struct LatencyMonitor {
    /// Milliseconds from which on something is noted; 0 if nothing is.
    least_ms: AtomicU64,
    series: Mutex<[LatencySeries; LatencyEvent::ALL.len()]>,
}

impl LatencyMonitor {
    /// Notes what takes so long, from now on; nothing without.
    pub fn set_least(&self, least_ms: Option<u64>) {
        self.least_ms.store(least_ms.unwrap_or(0), Ordering::Relaxed);
    }

    /// Returns whether anything is noted.
    #[inline]
    pub fn is_on(&self) -> bool {
        self.least_ms.load(Ordering::Relaxed) > 0
    }

    /// Notes that something took so long, if that is long enough. Any thread may call this.
    pub fn note(&self, event: LatencyEvent, took: Duration) {
        let (least_ms, ms) = (self.least_ms.load(Ordering::Relaxed), took.as_millis() as u64);
        if least_ms > 0 && ms >= least_ms {
            self.add(event, LatencySample { at_s: Clock::default().unix_ms() / 1000, ms });
        }
    }

    #[cold]
    pub(crate) fn add(&self, event: LatencyEvent, sample: LatencySample) {
        self.series.lock().unwrap_or_else(PoisonError::into_inner)[event as usize].add(sample);
    }

    /// The events of which something was noted, with what.
    pub fn series(&self) -> Vec<(LatencyEvent, LatencySeries)> {
        let series = self.series.lock().unwrap_or_else(PoisonError::into_inner);
        let all = LatencyEvent::ALL.into_iter().map(|event| (event, series[event as usize].clone()));
        all.filter(|(_, series)| !series.samples.is_empty()).collect()
    }

    /// Forgets what was noted of these events; returns of how many something was.
    pub fn reset(&self, is_meant: impl Fn(LatencyEvent) -> bool) -> usize {
        let mut series = self.series.lock().unwrap_or_else(PoisonError::into_inner);
        let mut count = 0;
        for event in LatencyEvent::ALL.into_iter().filter(|event| is_meant(*event)) {
            let before = std::mem::take(&mut series[event as usize]);
            count += usize::from(!before.samples.is_empty());
        }
        count
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_worst_of_each_second_is_kept_and_no_more_than_there_is_room_for() {
        let monitor = LatencyMonitor::default();
        let add = |at_s, ms| monitor.add(LatencyEvent::Turn, LatencySample { at_s, ms });
        for (at_s, ms) in [(1, 5), (1, 9), (1, 7), (2, 3)] {
            add(at_s, ms);
        }
        let [(event, series)] = &monitor.series()[..] else { panic!("there is one event") };
        assert_eq!(*event, LatencyEvent::Turn);
        assert_eq!((series.samples[0].ms, series.samples[1].ms, series.most_ms), (9, 3, 9));
        (10..1000).for_each(|at_s| add(at_s, 1));
        let series = &monitor.series()[0].1;
        assert_eq!((series.samples.len(), series.most_ms), (limits::LATENCY_SAMPLES_MAX, 9));
        assert_eq!(monitor.reset(|event| event == LatencyEvent::Command), 0);
        assert_eq!(monitor.reset(|_| true), 1);
        assert!(monitor.series().is_empty());
    }

    #[test]
    fn nothing_is_noted_unless_somebody_wants_it_and_it_is_long_enough() {
        let monitor = LatencyMonitor::default();
        monitor.note(LatencyEvent::Command, Duration::from_secs(9));
        monitor.set_least(Some(100));
        monitor.note(LatencyEvent::Command, Duration::from_millis(99));
        assert!(monitor.series().is_empty() && monitor.is_on());
        monitor.note(LatencyEvent::Command, Duration::from_millis(100));
        assert_eq!(monitor.series()[0].1.most_ms, 100);
    }
}
