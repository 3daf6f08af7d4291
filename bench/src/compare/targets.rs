//! Promises of Basalt beside redis-server, as ratios of one run, and of itself when idle.

use super::figures::Figure;
use super::load::{Load, Shape, Test};
use super::results::Results;
use super::server_kind::ServerKind;

/// A bound of a ratio.
#[derive(Debug, Clone, Copy, PartialEq)]
pub enum Bound {
    /// This much or more.
    AtLeast(f64),
    /// This much or less.
    AtMost(f64),
}

impl Bound {
    fn holds(self, value: f64) -> bool {
        match self {
            Bound::AtLeast(bound) => value >= bound,
            Bound::AtMost(bound) => value <= bound,
        }
    }

    /// Writes the bound with `unit` behind it.
    pub fn show(self, unit: &str) -> String {
        match self {
            Bound::AtLeast(bound) => format!("≥ {bound}{unit}"),
            Bound::AtMost(bound) => format!("≤ {bound}{unit}"),
        }
    }
}

/// The figure that a target is about.
#[derive(Debug, Clone, Copy, PartialEq)]
enum Subject {
    /// A figure under a load, divided by the one of a redis-server.
    Ratio(Load, Figure, ServerKind),
    /// Processor time of an idle node, in percent of a core.
    IdleCpu,
    /// Resident memory of an idle node, in megabytes.
    IdleMemory,
}

/// One target.
#[derive(Debug, Clone, Copy)]
struct Target {
    subject: Subject,
    must: Bound,
    aim: Bound,
}

/// The degree to which a target is met.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Verdict {
    /// As good as is aimed at.
    Aim,
    /// As good as it must be.
    Must,
    /// Not even that.
    Missed,
}

/// A target and what was measured.
#[derive(Debug)]
pub struct Judged {
    /// The figure that it is about.
    pub subject: String,
    /// Whom it is compared with.
    pub against: String,
    /// The bound that a release needs.
    pub must: String,
    /// The bound that is aimed at.
    pub aim: String,
    /// The figure as it was measured.
    pub measured: String,
    /// The degree to which the target is met.
    pub verdict: Verdict,
}

/// All targets.
fn targets() -> impl Iterator<Item = Target> {
    use Bound::{AtLeast, AtMost};
    use Figure::{CpuPerRequest, P99, RequestsPerSecond};
    use ServerKind::{RedisAlways, RedisMemory};
    let ratio = |test, clients, pipeline, figure, against, must, aim| Target {
        subject: Subject::Ratio(Load { test, shape: Shape { clients, pipeline } }, figure, against),
        must,
        aim,
    };
    [
        ratio(Test::Set, 1, 1, RequestsPerSecond, RedisAlways, AtLeast(1.0), AtLeast(1.3)),
        ratio(Test::Set, 1, 1, P99, RedisAlways, AtMost(1.0), AtMost(0.7)),
        ratio(Test::Set, 1, 1, CpuPerRequest, RedisAlways, AtMost(1.3), AtMost(1.0)),
        ratio(Test::Set, 8, 1, RequestsPerSecond, RedisAlways, AtLeast(1.0), AtLeast(1.3)),
        ratio(Test::Set, 8, 1, P99, RedisAlways, AtMost(1.0), AtMost(0.7)),
        ratio(Test::Set, 8, 1, CpuPerRequest, RedisAlways, AtMost(1.3), AtMost(1.0)),
        ratio(Test::Set, 50, 1, RequestsPerSecond, RedisAlways, AtLeast(1.0), AtLeast(1.3)),
        ratio(Test::Set, 50, 1, P99, RedisAlways, AtMost(0.7), AtMost(0.3)),
        ratio(Test::Set, 50, 16, RequestsPerSecond, RedisAlways, AtLeast(1.0), AtLeast(1.5)),
        ratio(Test::Set, 50, 16, P99, RedisAlways, AtMost(0.7), AtMost(0.3)),
        ratio(Test::Set, 50, 16, CpuPerRequest, RedisAlways, AtMost(1.2), AtMost(0.8)),
        ratio(Test::Set, 500, 1, RequestsPerSecond, RedisAlways, AtLeast(1.0), AtLeast(1.3)),
        ratio(Test::Set, 500, 1, P99, RedisAlways, AtMost(0.7), AtMost(0.3)),
        ratio(Test::Get, 50, 1, CpuPerRequest, RedisMemory, AtMost(1.1), AtMost(0.9)),
        ratio(Test::Get, 50, 16, CpuPerRequest, RedisMemory, AtMost(1.1), AtMost(0.8)),
        Target { subject: Subject::IdleCpu, must: AtMost(0.5), aim: AtMost(0.1) },
        Target { subject: Subject::IdleMemory, must: AtMost(150.0), aim: AtMost(80.0) },
    ]
    .into_iter()
    .chain(Test::ALL.into_iter().filter(|test| !matches!(test, Test::Set | Test::Get | Test::Incr)).flat_map(of_data))
}

/// Those of a command on some type of data, in [`Shape::OF_DATA`].
fn of_data(test: Test) -> [Target; 2] {
    use Bound::{AtLeast, AtMost};
    let load = Load { test, shape: Shape::OF_DATA };
    let target =
        |figure, must, aim| Target { subject: Subject::Ratio(load, figure, ServerKind::RedisAlways), must, aim };
    [target(Figure::RequestsPerSecond, AtLeast(0.7), AtLeast(1.3)), target(Figure::P99, AtMost(1.0), AtMost(0.5))]
}

impl Target {
    fn judge(&self, results: &Results) -> Option<Judged> {
        let value = self.subject.measure(results)?;
        let verdict = if self.aim.holds(value) {
            Verdict::Aim
        } else if self.must.holds(value) {
            Verdict::Must
        } else {
            Verdict::Missed
        };
        let unit = self.subject.unit();
        Some(Judged {
            subject: self.subject.to_string(),
            against: self.subject.against(),
            must: self.must.show(unit),
            aim: self.aim.show(unit),
            measured: format!("{value:.2}{unit}"),
            verdict,
        })
    }
}

impl Subject {
    fn measure(self, results: &Results) -> Option<f64> {
        let idle = || results.idle(ServerKind::Basalt);
        match self {
            Subject::Ratio(load, figure, against) => ratio(results, load, figure, against),
            Subject::IdleCpu => Some(idle()?.cpu * 100.0),
            Subject::IdleMemory => Some(idle()?.resident_bytes / 1e6),
        }
    }

    fn unit(self) -> &'static str {
        match self {
            Subject::Ratio(..) => "×",
            Subject::IdleCpu => " %",
            Subject::IdleMemory => " MB",
        }
    }

    fn against(self) -> String {
        match self {
            Subject::Ratio(_, _, against) => against.to_string(),
            Subject::IdleCpu | Subject::IdleMemory => "—".to_string(),
        }
    }
}

impl std::fmt::Display for Subject {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Subject::Ratio(load, figure, _) => write!(f, "{load}, {}", figure.name()),
            Subject::IdleCpu => f.write_str("idle node, part of a core"),
            Subject::IdleMemory => f.write_str("idle node, resident memory"),
        }
    }
}

/// Returns a figure of Basalt divided by the one of another server; `None` if one of them was not measured.
pub fn ratio(results: &Results, load: Load, figure: Figure, against: ServerKind) -> Option<f64> {
    let basalt = results.medians(ServerKind::Basalt, load)?.get(figure);
    let other = results.medians(against, load)?.get(figure);
    Some(basalt / other)
}

/// Returns the targets whose figures were measured.
pub fn judge(results: &Results) -> Vec<Judged> {
    targets().filter_map(|target| target.judge(results)).collect()
}

#[cfg(test)]
mod tests {
    use super::super::benchmark_output::{BenchmarkOutput, empty_histogram};
    use super::super::figures::IdleFigures;
    use super::*;

    const SET: Load = Load { test: Test::Set, shape: Shape { clients: 50, pipeline: 1 } };

    fn output(requests_per_s: f64, p99_ms: f64) -> BenchmarkOutput {
        BenchmarkOutput { requests_per_s, p50_ms: 1.0, p99_ms, p999_ms: 9.0, latencies_us: empty_histogram() }
    }

    #[test]
    fn targets_are_judged_by_medians_against_the_right_server() {
        let mut results = Results::default();
        for rate in [1000.0, 2000.0, 9000.0] {
            results.add(ServerKind::Basalt, SET, &output(rate, 0.5), 1.0);
        }
        results.add(ServerKind::RedisAlways, SET, &output(1600.0, 1.0), 1.0);
        results.add(ServerKind::RedisMemory, SET, &output(90_000.0, 0.1), 1.0);

        let judged = judge(&results);

        let brief: Vec<(&str, Verdict)> = judged.iter().map(|one| (one.measured.as_str(), one.verdict)).collect();
        assert_eq!(brief, [("1.25×", Verdict::Must), ("0.50×", Verdict::Must)]);
        assert_eq!((judged[0].must.as_str(), judged[0].aim.as_str()), ("≥ 1×", "≥ 1.3×"));
    }

    #[test]
    fn an_idle_node_is_judged_by_itself() {
        let mut results = Results::default();
        results.add_idle(ServerKind::Basalt, IdleFigures { cpu: 0.0005, resident_bytes: 151e6 });
        let verdicts: Vec<Verdict> = judge(&results).iter().map(|one| one.verdict).collect();
        assert_eq!(verdicts, [Verdict::Aim, Verdict::Missed]);
    }

    #[test]
    fn what_was_not_measured_is_not_judged() {
        assert!(judge(&Results::default()).is_empty());
    }
}
