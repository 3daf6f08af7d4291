//! Reads what redis-benchmark prints about one test.
//!
//! Its long output (neither `-q` nor `--csv`) is the only one that tells the distribution of latencies: a list by percentile and
//! one in steps of 0.1 ms and 1 ms, both cumulative. Together they give a histogram whose values are upper bounds: a request
//! between two points counts as the slower one. P50 and P99 are exact, from the summary; P99.9 is read from the list by
//! percentile, which has a point at 99.902 %.

use anyhow::{Context, Result, bail, ensure};
use hdrhistogram::Histogram;

/// Latencies above this are cut by redis-benchmark itself (`CONFIG_LATENCY_HISTOGRAM_MAX_VALUE` of its source).
const LATENCY_US_MAX: u64 = 3_000_000;
/// Digits of the latencies that redis-benchmark keeps.
const DIGITS: u8 = 3;

/// Figures of one test, as redis-benchmark measured them.
#[derive(Debug, Clone)]
pub struct BenchmarkOutput {
    /// Requests per second.
    pub requests_per_s: f64,
    /// Latency that half of the requests did not exceed, in milliseconds.
    pub p50_ms: f64,
    /// Latency that 99 % did not exceed, in milliseconds.
    pub p99_ms: f64,
    /// Latency that 99.9 % did not exceed, in milliseconds.
    pub p999_ms: f64,
    /// All latencies, in microseconds.
    pub latencies_us: Histogram<u64>,
}

/// So many requests took at most so long.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
struct Point {
    latency_us: u64,
    count: u64,
}

impl BenchmarkOutput {
    /// Reads the output for a single test.
    ///
    /// # Errors
    /// If the server answered with errors, or a part of the output is missing: redis-benchmark of Redis 6.2 to 8 is understood.
    pub fn parse(text: &str) -> Result<BenchmarkOutput> {
        // Progress is overwritten in place, with carriage returns.
        let lines = || text.split(['\n', '\r']).map(str::trim);
        if let Some(line) = lines().find(|line| line.to_ascii_lowercase().starts_with("error")) {
            bail!("redis-benchmark reports: {line}");
        }
        let titles = lines().filter(|line| line.starts_with("====== ")).count();
        ensure!(titles == 1, "redis-benchmark ran {titles} tests instead of one");
        let requests_per_s = lines().find_map(throughput).context("redis-benchmark printed no throughput")?;
        let summary = lines()
            .skip_while(|line| !line.starts_with("latency summary (msec)"))
            .find_map(latency_summary)
            .context("redis-benchmark printed no latency summary")?;
        let mut points: Vec<Point> = lines().filter_map(point).collect();
        points.sort_unstable();
        let latencies_us = histogram(&points)?;
        let p999_ms = quantile_us(&points, 0.999).context("redis-benchmark printed no distribution")? as f64 / 1e3;
        Ok(BenchmarkOutput { requests_per_s, p50_ms: summary.p50_ms, p99_ms: summary.p99_ms, p999_ms, latencies_us })
    }
}

/// Reads `throughput summary: 23809.52 requests per second`.
fn throughput(line: &str) -> Option<f64> {
    line.strip_prefix("throughput summary:")?.split_whitespace().next()?.parse().ok()
}

/// The line of figures under `latency summary`.
struct Summary {
    p50_ms: f64,
    p99_ms: f64,
}

/// Reads `1.360 0.120 0.511 5.207 10.791 10.951`, which is average, minimum, P50, P95, P99 and maximum.
fn latency_summary(line: &str) -> Option<Summary> {
    let figures: Vec<f64> = line.split_whitespace().map(str::parse).collect::<Result<_, _>>().ok()?;
    let &[_, _, p50_ms, _, p99_ms, _] = figures.as_slice() else { return None };
    Some(Summary { p50_ms, p99_ms })
}

/// Reads `99.902% <= 10.943 milliseconds (cumulative count 1999)`.
fn point(line: &str) -> Option<Point> {
    let (_, rest) = line.split_once("% <= ")?;
    let (latency_ms, rest) = rest.split_once(" milliseconds (cumulative count ")?;
    let latency_ms: f64 = latency_ms.parse().ok()?;
    let count = rest.strip_suffix(')')?.parse().ok()?;
    Some(Point { latency_us: (latency_ms * 1e3).round() as u64, count })
}

/// The latency of the first point that `quantile` of the requests have reached.
fn quantile_us(points: &[Point], quantile: f64) -> Option<u64> {
    let total = points.last()?.count;
    points.iter().find(|point| point.count as f64 >= quantile * total as f64).map(|point| point.latency_us)
}

/// Turns cumulative counts, in order, into counts.
fn histogram(points: &[Point]) -> Result<Histogram<u64>> {
    let mut histogram = empty_histogram();
    let mut before = 0;
    for point in points {
        ensure!(
            point.count >= before,
            "the distribution falls at {} us: {} after {before}",
            point.latency_us,
            point.count
        );
        // Recording a latency that no request had would still make it the highest.
        if point.count > before {
            histogram.saturating_record_n(point.latency_us, point.count - before);
        }
        before = point.count;
    }
    Ok(histogram)
}

/// A histogram that takes every latency that redis-benchmark can print.
pub fn empty_histogram() -> Histogram<u64> {
    Histogram::new_with_max(LATENCY_US_MAX, DIGITS)
        .expect("the bounds are valid: 2 <= 3 s in us, and 3 of at most 5 digits")
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The output of redis-benchmark 7.0.15 for `-t set -n 2000 --precision 3`, some lines of the distribution left out.
    const SET: &str = "SET: rps=0.0 (overall: nan) avg_msec=nan (overall: nan)\r                    \r\
====== SET ======
  2000 requests completed in 0.08 seconds
  50 parallel clients
  3 bytes payload
  keep alive: 1
  host configuration \"save\": 
  host configuration \"appendonly\": no
  multi-thread: no

Latency by percentile distribution:
0.000% <= 0.127 milliseconds (cumulative count 1)
50.000% <= 0.511 milliseconds (cumulative count 1009)
75.000% <= 1.039 milliseconds (cumulative count 1500)
99.609% <= 10.895 milliseconds (cumulative count 1993)
99.902% <= 10.943 milliseconds (cumulative count 1999)
99.951% <= 10.951 milliseconds (cumulative count 2000)
100.000% <= 10.951 milliseconds (cumulative count 2000)

Cumulative distribution of latencies:
0.000% <= 0.103 milliseconds (cumulative count 0)
0.350% <= 0.207 milliseconds (cumulative count 7)
48.800% <= 0.503 milliseconds (cumulative count 976)
100.000% <= 11.103 milliseconds (cumulative count 2000)

Summary:
  throughput summary: 23809.52 requests per second
  latency summary (msec):
          avg       min       p50       p95       p99       max
        1.360     0.120     0.511     5.207    10.791    10.951

";

    #[test]
    fn figures_are_read_from_the_summary_and_the_distribution() {
        let output = BenchmarkOutput::parse(SET).unwrap();
        assert_eq!(output.requests_per_s, 23_809.52);
        assert_eq!((output.p50_ms, output.p99_ms, output.p999_ms), (0.511, 10.791, 10.943));
    }

    #[test]
    fn both_lists_make_one_histogram_with_every_request() {
        let latencies = BenchmarkOutput::parse(SET).unwrap().latencies_us;
        assert_eq!(latencies.len(), 2000);
        assert_eq!(latencies.count_at(127), 1);
        assert_eq!(latencies.count_at(207), 6);
        assert_eq!(latencies.count_between(208, 503), 969);
        assert!(latencies.equivalent(latencies.max(), 10_951));
    }

    #[test]
    fn errors_of_the_server_are_not_measurements() {
        let failing = SET.replace("====== SET", "Error from server: ERR disk full\n====== SET");
        assert!(BenchmarkOutput::parse(&failing).unwrap_err().to_string().contains("disk full"));
    }

    #[test]
    fn output_that_is_cut_short_is_refused() {
        for end in ["Summary:", "  latency summary", "        1.360"] {
            let cut = &SET[..SET.find(end).unwrap()];
            assert!(BenchmarkOutput::parse(cut).is_err(), "cut before {end:?}");
        }
        assert!(BenchmarkOutput::parse("").is_err());
    }

    #[test]
    fn a_distribution_that_falls_is_refused() {
        let points = [Point { latency_us: 1, count: 5 }, Point { latency_us: 2, count: 4 }];
        assert!(histogram(&points).is_err());
    }
}
