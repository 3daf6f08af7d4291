//! The figures of one measurement, and the medians of several.

use super::benchmark_output::BenchmarkOutput;

/// A figure that is compared between servers.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Figure {
    /// Requests per second; more is better.
    RequestsPerSecond,
    /// Median latency.
    P50,
    /// Latency of the slowest hundredth.
    P99,
    /// Latency of the slowest thousandth.
    P999,
    /// Processor time of the server per request.
    CpuPerRequest,
}

impl Figure {
    /// Every figure, in the order of the report.
    pub const ALL: [Figure; 5] =
        [Figure::RequestsPerSecond, Figure::P50, Figure::P99, Figure::P999, Figure::CpuPerRequest];

    /// Returns its name with its unit.
    pub fn title(self) -> &'static str {
        match self {
            Figure::RequestsPerSecond => "requests/s",
            Figure::P50 => "P50 ms",
            Figure::P99 => "P99 ms",
            Figure::P999 => "P99.9 ms",
            Figure::CpuPerRequest => "CPU µs/request",
        }
    }

    /// Returns its name alone.
    pub fn name(self) -> &'static str {
        match self {
            Figure::RequestsPerSecond => "requests/s",
            Figure::P50 => "P50",
            Figure::P99 => "P99",
            Figure::P999 => "P99.9",
            Figure::CpuPerRequest => "CPU/request",
        }
    }

    /// Writes a value of this figure.
    pub fn show(self, value: f64) -> String {
        match self {
            Figure::RequestsPerSecond => format!("{value:.0}"),
            _ => format!("{value:.2}"),
        }
    }
}

/// One measurement, or the medians of several.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Figures {
    requests_per_s: f64,
    p50_ms: f64,
    p99_ms: f64,
    p999_ms: f64,
    cpu_us: f64,
}

impl Figures {
    /// Figures of a measurement in which the server used `cpu_us` per request.
    pub fn new(output: &BenchmarkOutput, cpu_us: f64) -> Figures {
        let &BenchmarkOutput { requests_per_s, p50_ms, p99_ms, p999_ms, .. } = output;
        Figures { requests_per_s, p50_ms, p99_ms, p999_ms, cpu_us }
    }

    /// Returns one of them.
    pub fn get(&self, figure: Figure) -> f64 {
        match figure {
            Figure::RequestsPerSecond => self.requests_per_s,
            Figure::P50 => self.p50_ms,
            Figure::P99 => self.p99_ms,
            Figure::P999 => self.p999_ms,
            Figure::CpuPerRequest => self.cpu_us,
        }
    }

    /// Returns the median of each figure by itself; `None` of no measurements.
    pub fn medians(of: &[Figures]) -> Option<Figures> {
        let median_of = |figure| median(of.iter().map(|figures| figures.get(figure)));
        Some(Figures {
            requests_per_s: median_of(Figure::RequestsPerSecond)?,
            p50_ms: median_of(Figure::P50)?,
            p99_ms: median_of(Figure::P99)?,
            p999_ms: median_of(Figure::P999)?,
            cpu_us: median_of(Figure::CpuPerRequest)?,
        })
    }

    /// Returns how far the requests per second of the measurements lie apart: (largest - smallest) / median.
    pub fn spread(of: &[Figures]) -> Option<f64> {
        let rates = || of.iter().map(|figures| figures.requests_per_s);
        let (least, most) = (rates().reduce(f64::min)?, rates().reduce(f64::max)?);
        Some((most - least) / median(rates())?)
    }
}

/// Returns the value in the middle, of an even number the mean of the two in the middle.
pub fn median(values: impl Iterator<Item = f64>) -> Option<f64> {
    let mut sorted: Vec<f64> = values.collect();
    sorted.sort_unstable_by(f64::total_cmp);
    let middle = sorted.len() / 2;
    match sorted.len() {
        0 => None,
        length if length % 2 == 1 => Some(sorted[middle]),
        _ => Some(f64::midpoint(sorted[middle - 1], sorted[middle])),
    }
}

/// The cost of a server that nobody talks to.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct IdleFigures {
    /// Part of one processor that it uses, 1 being all of it.
    pub cpu: f64,
    /// Resident memory.
    pub resident_bytes: f64,
}

impl IdleFigures {
    /// Returns the medians of several measurements; `None` of none.
    pub fn medians(of: &[IdleFigures]) -> Option<IdleFigures> {
        Some(IdleFigures {
            cpu: median(of.iter().map(|figures| figures.cpu))?,
            resident_bytes: median(of.iter().map(|figures| figures.resident_bytes))?,
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn figures(requests_per_s: f64, p99_ms: f64) -> Figures {
        Figures { requests_per_s, p50_ms: 1.0, p99_ms, p999_ms: 1.0, cpu_us: 1.0 }
    }

    #[test]
    fn the_median_is_the_middle_or_the_mean_of_both_middles() {
        assert_eq!(median([3.0, 1.0, 2.0].into_iter()), Some(2.0));
        assert_eq!(median([4.0, 1.0, 2.0, 3.0].into_iter()), Some(2.5));
        assert_eq!(median(std::iter::empty()), None);
    }

    #[test]
    fn each_figure_has_a_median_of_its_own() {
        let medians = Figures::medians(&[figures(1.0, 9.0), figures(2.0, 7.0), figures(3.0, 8.0)]).unwrap();
        assert_eq!((medians.get(Figure::RequestsPerSecond), medians.get(Figure::P99)), (2.0, 8.0));
        assert_eq!(Figures::medians(&[]), None);
    }

    #[test]
    fn the_spread_is_relative_to_the_median() {
        assert_eq!(Figures::spread(&[figures(90.0, 1.0), figures(100.0, 1.0), figures(120.0, 1.0)]), Some(0.3));
    }
}
