//! Replies, second by second and over the whole run.

use std::ops::AddAssign;
use std::time::{Duration, Instant};

use hdrhistogram::Histogram;

/// Latencies are told apart up to an hour; a slower one counts as an hour.
const LATENCY_US_MAX: u64 = 3_600_000_000;
/// Digits of a latency.
const DIGITS: u8 = 3;
/// Unit of the timeline.
const SECOND: Duration = Duration::from_secs(1);

/// Number of replies that came, by kind.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Tally {
    /// Replies to SETs.
    pub sets: u64,
    /// Replies to GETs.
    pub gets: u64,
    /// Of these, errors.
    pub errors: u64,
    /// Of the replies to GETs, those without a value of the right length.
    pub misses: u64,
}

impl Tally {
    /// All replies.
    pub fn requests(&self) -> u64 {
        self.sets + self.gets
    }
}

impl AddAssign for Tally {
    fn add_assign(&mut self, other: Tally) {
        self.sets += other.sets;
        self.gets += other.gets;
        self.errors += other.errors;
        self.misses += other.misses;
    }
}

/// Latencies in milliseconds.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Latencies {
    /// The median.
    pub p50_ms: f64,
    /// That of the slowest hundredth.
    pub p99_ms: f64,
    /// That of the slowest thousandth.
    pub p999_ms: f64,
    /// The longest.
    pub max_ms: f64,
}

impl Latencies {
    /// Those of a histogram in microseconds; `None` if it is empty.
    fn of(us: &Histogram<u64>) -> Option<Latencies> {
        let at = |quantile| us.value_at_quantile(quantile) as f64 / 1e3;
        (!us.is_empty()).then(|| Latencies {
            p50_ms: at(0.5),
            p99_ms: at(0.99),
            p999_ms: at(0.999),
            max_ms: us.max() as f64 / 1e3,
        })
    }
}

/// A second that is over.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Second {
    /// Its number, from 0.
    pub index: u64,
    /// Number of replies that came in it.
    pub tally: Tally,
    /// Latencies of what came; `None` if nothing did, or nothing ever will.
    pub latencies: Option<Latencies>,
}

/// Counts replies by the second in which they came.
#[derive(Debug)]
pub struct Timeline {
    start: Instant,
    /// The second that is going on.
    index: u64,
    /// The last second; what comes later counts as its own.
    last: Option<u64>,
    tally: Tally,
    latencies_us: Histogram<u64>,
    whole_tally: Tally,
    whole_us: Histogram<u64>,
    silent_seconds: u64,
}

impl Timeline {
    /// A timeline that starts at `start` and has so many seconds, or no end. A reply that comes after its end is one to a request
    /// before it, and counts in the last second.
    ///
    /// # Panics
    /// If it has no second at all.
    pub fn new(start: Instant, seconds: Option<u64>) -> Timeline {
        assert!(seconds != Some(0), "a timeline has a second");
        Timeline {
            start,
            index: 0,
            last: seconds.map(|seconds| seconds - 1),
            tally: Tally::default(),
            latencies_us: histogram(),
            whole_tally: Tally::default(),
            whole_us: histogram(),
            silent_seconds: 0,
        }
    }

    /// Returns when the second that is going on ends.
    pub fn second_ends(&self) -> Instant {
        self.start + SECOND * u32::try_from(self.index + 1).expect("a run is shorter than a century")
    }

    /// Closes the second that is going on and returns it if it was over by `now` and is not the last one: to be called until it
    /// returns `None`, and before anything is counted that came at `now`.
    pub fn close(&mut self, now: Instant) -> Option<Second> {
        (self.last != Some(self.index) && self.second_ends() <= now).then(|| self.close_second())
    }

    /// Ends the timeline at `now`; returns the last second if it is a whole one. What came in part of one counts in the whole run
    /// alone.
    pub fn finish(&mut self, now: Instant) -> Option<Second> {
        if self.second_ends() <= now {
            return Some(self.close_second());
        }
        self.add_to_whole();
        None
    }

    /// Counts a reply, or several, of one latency.
    pub fn record(&mut self, latency: Duration, replies: Tally) {
        self.latencies_us.saturating_record_n(us(latency), replies.requests());
        self.tally += replies;
    }

    /// Counts the age of requests that will have no reply: in the latencies, for they are as slow as that at least, but not among
    /// the replies.
    pub fn record_unanswered(&mut self, age: Duration, requests: u64) {
        self.latencies_us.saturating_record_n(us(age), requests);
    }

    /// Returns what came in the whole run, as far as its seconds are over.
    pub fn whole_tally(&self) -> Tally {
        self.whole_tally
    }

    /// Returns the latencies of the whole run, as far as its seconds are over.
    pub fn whole_latencies(&self) -> Option<Latencies> {
        Latencies::of(&self.whole_us)
    }

    /// Returns how many whole seconds had no reply.
    pub fn silent_seconds(&self) -> u64 {
        self.silent_seconds
    }

    fn close_second(&mut self) -> Second {
        let second = Second { index: self.index, tally: self.tally, latencies: Latencies::of(&self.latencies_us) };
        self.silent_seconds += u64::from(second.tally.requests() == 0);
        self.add_to_whole();
        self.index += 1;
        second
    }

    fn add_to_whole(&mut self) {
        self.whole_us.add(&self.latencies_us).expect("both histograms have the same bounds");
        self.whole_tally += self.tally;
        self.latencies_us.reset();
        self.tally = Tally::default();
    }
}

fn us(latency: Duration) -> u64 {
    u64::try_from(latency.as_micros()).unwrap_or(u64::MAX).min(LATENCY_US_MAX)
}

/// An empty histogram of microseconds.
fn histogram() -> Histogram<u64> {
    Histogram::new_with_max(LATENCY_US_MAX, DIGITS)
        .expect("the bounds are valid: 2 <= 1 h in us, and 3 of at most 5 digits")
}

#[cfg(test)]
mod tests {
    use super::*;

    const ONE_SET: Tally = Tally { sets: 1, gets: 0, errors: 0, misses: 0 };

    /// Lets a reply come at each of `came_ms` and returns how many each second had when the run is ended at `end_ms`.
    fn requests(seconds: Option<u64>, came_ms: &[u64], end_ms: u64) -> (Vec<u64>, Timeline) {
        let start = Instant::now();
        let mut timeline = Timeline::new(start, seconds);
        let mut closed = Vec::new();
        for &ms in came_ms {
            let now = start + Duration::from_millis(ms);
            closed.extend(std::iter::from_fn(|| timeline.close(now)));
            timeline.record(Duration::from_millis(1), ONE_SET);
        }
        let end = start + Duration::from_millis(end_ms);
        closed.extend(std::iter::from_fn(|| timeline.close(end)));
        closed.extend(timeline.finish(end));
        assert!(closed.iter().zip(0..).all(|(second, index)| second.index == index), "seconds come in order");
        assert!(closed.iter().all(|second| second.latencies.is_some() == (second.tally.requests() > 0)));
        (closed.iter().map(|second| second.tally.requests()).collect(), timeline)
    }

    #[test]
    fn a_second_ends_before_the_next_one_begins() {
        let (seconds, timeline) = requests(Some(2), &[0, 999, 1_000, 1_999], 2_000);
        assert_eq!((seconds, timeline.silent_seconds()), (vec![2, 2], 0));
    }

    #[test]
    fn seconds_without_a_reply_are_there_and_counted() {
        let (seconds, timeline) = requests(Some(6), &[500, 3_200], 6_000);
        assert_eq!((seconds, timeline.silent_seconds()), (vec![1, 0, 0, 1, 0, 0], 4));
        assert_eq!(timeline.whole_tally().requests(), 2);
    }

    #[test]
    fn a_reply_after_the_end_counts_in_the_last_second() {
        let (seconds, timeline) = requests(Some(2), &[100, 1_100, 2_500, 9_000], 9_000);
        assert_eq!((seconds, timeline.silent_seconds()), (vec![1, 3], 0));
    }

    #[test]
    fn the_part_of_a_second_before_an_interruption_is_no_second_but_counts() {
        let (seconds, timeline) = requests(Some(100), &[100, 1_100], 1_500);
        assert_eq!((seconds, timeline.whole_tally().requests()), (vec![1], 2));
        let (seconds, timeline) = requests(None, &[100], 1_500);
        assert_eq!((seconds, timeline.silent_seconds()), (vec![1], 0));
    }

    #[test]
    fn each_second_has_its_own_latencies_and_the_whole_has_all() {
        let start = Instant::now();
        let mut timeline = Timeline::new(start, Some(2));
        timeline.record(Duration::from_millis(100), Tally { sets: 10, gets: 989, ..Tally::default() });
        let first = timeline.close(start + SECOND).unwrap().latencies.unwrap();
        timeline.record(Duration::from_millis(2_000), ONE_SET);
        let second = timeline.finish(start + 2 * SECOND).unwrap().latencies.unwrap();
        let whole = timeline.whole_latencies().unwrap();

        let near = |found: f64, expected: f64| (found / expected - 1.0).abs() < 2e-3;
        assert!(near(first.max_ms, 100.0) && near(second.p50_ms, 2_000.0), "{first:?} {second:?}");
        assert!(near(whole.p50_ms, 100.0) && near(whole.p999_ms, 100.0) && near(whole.max_ms, 2_000.0), "{whole:?}");
    }

    #[test]
    fn a_latency_longer_than_an_hour_counts_as_an_hour() {
        let start = Instant::now();
        let mut timeline = Timeline::new(start, None);
        timeline.record(Duration::from_secs(7_200), ONE_SET);
        let max_ms = timeline.close(start + SECOND).unwrap().latencies.unwrap().max_ms;
        assert!((max_ms / 3.6e6 - 1.0).abs() < 2e-3, "{max_ms}");
    }

    #[test]
    fn a_second_with_nothing_but_unanswered_requests_is_silent() {
        let start = Instant::now();
        let mut timeline = Timeline::new(start, Some(1));
        timeline.record_unanswered(Duration::from_millis(900), 16);
        let second = timeline.finish(start + SECOND).unwrap();
        assert!(second.latencies.unwrap().max_ms > 899.0);
        assert_eq!((timeline.silent_seconds(), timeline.whole_tally().requests()), (1, 0));
    }
}
