//! All that a run has found, and what follows from it.

use std::time::Duration;

use super::observer::Row;
use super::timeline::{Latencies, Tally};

/// P99.9 may be so many times P50.
pub const TAIL_MAX: f64 = 10.0;

/// Figures of the first writing of all keys.
#[derive(Debug, Clone, Copy)]
pub struct FillFigures {
    /// Number of keys.
    pub keys: u64,
    /// Time that it took.
    pub elapsed: Duration,
    /// Latencies, if there was time for any.
    pub latencies: Option<Latencies>,
    /// Whole seconds in which no key was written.
    pub silent_seconds: u64,
    /// Processor time of the server.
    pub cpu: Duration,
}

/// Figures of the load.
#[derive(Debug)]
pub struct Measurement {
    /// The fill before it.
    pub fill: FillFigures,
    /// Bytes of a key and its value.
    pub pair_bytes: u64,
    /// Time that the load lasted.
    pub elapsed: Duration,
    /// All replies.
    pub tally: Tally,
    /// Their latencies.
    pub latencies: Option<Latencies>,
    /// Whole seconds without a reply.
    pub silent_seconds: u64,
    /// Processor time of the server.
    pub cpu: Duration,
    /// Processor time of this program's own thread.
    pub generator_cpu: Duration,
    /// The first error that the server answered with.
    pub first_error: Option<String>,
    /// The seconds.
    pub rows: Vec<Row>,
    /// Bytes of the data directory at the end.
    pub disk_bytes: u64,
}

impl Measurement {
    /// Bytes of all keys and values.
    pub fn payload_bytes(&self) -> u64 {
        self.fill.keys * self.pair_bytes
    }

    /// Bytes of the data directory at the end for each byte of keys and values.
    pub fn space_amplification(&self) -> f64 {
        self.disk_bytes as f64 / self.payload_bytes() as f64
    }

    /// The same for the second in which it took most.
    pub fn space_amplification_max(&self) -> f64 {
        let most = self.rows.iter().map(|row| row.disk_bytes).max().unwrap_or(0).max(self.disk_bytes);
        most as f64 / self.payload_bytes() as f64
    }

    /// The most memory that was resident, in bytes.
    pub fn resident_bytes_max(&self) -> u64 {
        self.rows.iter().map(|row| row.resident_bytes).max().unwrap_or(0)
    }

    /// Replies per second.
    pub fn requests_per_s(&self) -> f64 {
        self.tally.requests() as f64 / self.elapsed.as_secs_f64()
    }

    /// Processor time of the server per request, in microseconds.
    pub fn cpu_us_per_request(&self) -> f64 {
        self.cpu.as_secs_f64() * 1e6 / self.tally.requests() as f64
    }

    /// P99.9 as a multiple of P50.
    pub fn tail(&self) -> Option<f64> {
        self.latencies.map(|found| found.p999_ms / found.p50_ms)
    }
}

#[cfg(test)]
pub mod tests {
    use super::super::timeline::Second;
    use super::*;

    /// A measurement of 1000 keys that took most in its first second.
    pub fn measurement() -> Measurement {
        let row = |index, disk_bytes| Row {
            second: Second { index, tally: Tally::default(), latencies: None },
            cpu_percent: 1.0,
            resident_bytes: 5_000_000 - index,
            disk_bytes,
        };
        let fill = FillFigures {
            keys: 1_000,
            elapsed: Duration::from_millis(500),
            latencies: None,
            silent_seconds: 0,
            cpu: Duration::from_millis(5),
        };
        Measurement {
            fill,
            pair_bytes: 83,
            elapsed: Duration::from_secs(2),
            tally: Tally { sets: 600, gets: 400, errors: 0, misses: 0 },
            latencies: Some(Latencies { p50_ms: 1.0, p99_ms: 5.0, p999_ms: 8.0, max_ms: 20.0 }),
            silent_seconds: 0,
            cpu: Duration::from_millis(30),
            generator_cpu: Duration::from_millis(200),
            first_error: None,
            rows: vec![row(0, 249_000), row(1, 200_000)],
            disk_bytes: 124_500,
        }
    }

    #[test]
    fn space_amplification_is_bytes_on_disk_by_bytes_of_keys_and_values() {
        let found = measurement();
        assert_eq!(found.payload_bytes(), 83_000);
        assert_eq!((found.space_amplification(), found.space_amplification_max()), (1.5, 3.0));
    }

    #[test]
    fn figures_of_the_whole_run_are_by_second_and_by_request() {
        let found = measurement();
        assert_eq!((found.requests_per_s(), found.tail(), found.resident_bytes_max()), (500.0, Some(8.0), 5_000_000));
        assert!((found.cpu_us_per_request() - 30.0).abs() < 1e-9);
    }
}
