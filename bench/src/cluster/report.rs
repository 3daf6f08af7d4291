//! The report: the machine, the medians, the ratios, the targets.

use super::load::{CLIENTS, KEYS, Load, VALUE_BYTES};
use super::measurement::Measured;
use super::options::Options;
use super::system::{IDLE_GROUPS, Kind};
use crate::compare::figures::median;
use crate::compare::machine::Machine;
use crate::compare::table::Table;

/// Pipelined writes, which targets are about.
const PIPELINED_SET: Load = Load { writes: true, pipeline: 16 };
/// Part of a core that an idle cluster may use.
const IDLE_CPU_MAX: f64 = 0.03;

/// All measurements of a run.
#[derive(Debug, Default)]
pub struct Results {
    measured: Vec<(Kind, Load, Measured)>,
    idle: Vec<f64>,
}

impl Results {
    /// Adds a measurement.
    pub fn add(&mut self, kind: Kind, load: Load, measured: Measured) {
        self.measured.push((kind, load, measured));
    }

    /// Adds the part of a core that an idle cluster used.
    pub fn add_idle(&mut self, cpu: f64) {
        self.idle.push(cpu);
    }

    /// The median of a figure of a system under a load; `None` if it was not measured.
    fn median(&self, kind: Kind, load: Load, figure: impl Fn(&Measured) -> f64) -> Option<f64> {
        let of_both = self.measured.iter().filter(|(of, under, _)| (*of, *under) == (kind, load));
        median(of_both.map(|(_, _, measured)| figure(measured)))
    }

    /// Requests per second of the cluster divided by those of another system, under pipelined writes.
    fn ratio(&self, against: Kind) -> Option<f64> {
        let of = |kind| self.median(kind, PIPELINED_SET, |measured| measured.requests_per_s);
        Some(of(Kind::Cluster)? / of(against)?)
    }
}

/// Writes the report.
pub fn render(options: &Options, machine: &Machine, results: &Results) -> String {
    let mut facts = Table::new(2, ["fact", "value"]);
    for (name, value) in machine.facts() {
        facts.push(vec![(*name).to_owned(), value.clone()]);
    }
    let load = format!("{CLIENTS} connections, {KEYS} keys, values of {VALUE_BYTES} bytes");
    for (name, value) in [
        ("rounds", format!("{} of {:?} a load", options.rounds(), options.seconds())),
        ("load", load),
        ("arguments of Basalt", options.servers.basalt_args_shown()),
    ] {
        facts.push(vec![name.to_owned(), value]);
    }
    [facts, medians(results), targets(results)].map(|table| table.render(options.style())).join("\n")
}

fn medians(results: &Results) -> Table {
    let mut table = Table::new(2, ["load", "system", "requests/s", "P50 ms", "P99 ms", "CPU µs/request"]);
    for load in Load::ALL {
        for kind in Kind::ALL {
            let of = |figure: fn(&Measured) -> f64| results.median(kind, load, figure);
            let Some(requests_per_s) = of(|measured| measured.requests_per_s) else { continue };
            let mut row = vec![load.to_string(), kind.to_string(), format!("{requests_per_s:.0}")];
            let figures = [of(|one| one.p50_ms), of(|one| one.p99_ms), of(|one| one.cpu_us)];
            row.extend(figures.map(|figure| figure.map_or_else(String::new, |figure| format!("{figure:.2}"))));
            table.push(row);
        }
    }
    table
}

fn targets(results: &Results) -> Table {
    let mut table = Table::new(1, ["target", "must", "aim", "measured", "verdict"]);
    for (against, must, aim) in [(Kind::Etcd, 10.0, 30.0), (Kind::Node, 0.3, 0.5)] {
        let Some(ratio) = results.ratio(against) else { continue };
        let subject = format!("{PIPELINED_SET}, requests/s against {against}");
        let cells = [subject, format!("≥ {must}×"), format!("≥ {aim}×"), format!("{ratio:.2}×")];
        let verdict = if ratio >= aim { "met, and the aim" } else { said(ratio >= must) };
        table.push(cells.into_iter().chain([verdict.to_owned()]).collect());
    }
    if let Some(cpu) = median(results.idle.iter().copied()) {
        let subject = format!("idle, {IDLE_GROUPS} groups on three nodes, part of a core");
        let cells =
            [subject, format!("≤ {:.0} %", IDLE_CPU_MAX * 100.0), "—".to_owned(), format!("{:.2} %", cpu * 100.0)];
        table.push(cells.into_iter().chain([said(cpu <= IDLE_CPU_MAX).to_owned()]).collect());
    }
    table
}

fn said(is_met: bool) -> &'static str {
    if is_met { "met" } else { "MISSED" }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn targets_are_judged_by_medians() {
        let mut results = Results::default();
        let measured = |requests_per_s| Measured { requests_per_s, p50_ms: 1.0, p99_ms: 2.0, cpu_us: 3.0 };
        for rate in [100.0, 400.0, 900.0] {
            results.add(Kind::Cluster, PIPELINED_SET, measured(rate));
        }
        results.add(Kind::Etcd, PIPELINED_SET, measured(20.0));
        results.add(Kind::Node, PIPELINED_SET, measured(2_000.0));
        results.add(Kind::Node, Load { writes: true, pipeline: 1 }, measured(1.0));
        results.add_idle(0.025);
        assert_eq!(results.ratio(Kind::Etcd), Some(20.0));
        let table = targets(&results).render(crate::compare::table::Style::Plain);
        let verdicts: Vec<&str> =
            table.lines().skip(2).filter_map(|line| Some(line.rsplit("  ").next()?.trim())).collect();
        assert_eq!(verdicts, ["met", "MISSED", "met"], "{table}");
        assert!(medians(&Results::default()).render(crate::compare::table::Style::Plain).lines().count() == 2);
    }
}
