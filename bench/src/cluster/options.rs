//! The command line of `bench-cluster`.

use std::time::Duration;

use clap::Parser;

use super::system::Kind;
use crate::compare::server_options::ServerOptions;
use crate::compare::table::Style;

/// Rounds whose median is worth the name.
const ROUNDS: u32 = 3;
/// Seconds of each measurement, and of each with `--quick`.
const SECONDS: (u64, u64) = (10, 1);

/// Compares a cluster of three nodes with one node, with etcd and with a redis-server that waits for a replica, all on this
/// machine.
#[derive(Debug, Clone, Parser)]
#[command(name = "bench-cluster", version)]
pub struct Options {
    /// Rounds; each figure is the median over them [default: 3]
    #[arg(long, value_name = "COUNT", value_parser = clap::value_parser!(u32).range(1..=1000))]
    rounds: Option<u32>,

    /// Seconds that each load is measured [default: 10]
    #[arg(long, value_name = "SECONDS", value_parser = clap::value_parser!(u64).range(1..=3600))]
    seconds: Option<u64>,

    /// One round of a second each: shows that everything runs, measures nothing
    #[arg(long)]
    quick: bool,

    /// Measures only these: "cluster", "node", "etcd", "redis" or "idle" (repeatable)
    #[arg(long, value_name = "SYSTEM", value_parser = ["cluster", "node", "etcd", "redis", "idle"])]
    only: Vec<String>,

    /// Measures no load, but kills a leader under writes so many times, and how long its keys could not be written
    #[arg(long, value_name = "COUNT", default_value_t = 0)]
    pub failovers: u32,

    /// Prints the report as Markdown, as it stands in bench/RESULTS.md
    #[arg(long)]
    pub markdown: bool,

    /// The servers.
    #[command(flatten)]
    pub servers: ServerOptions,
}

impl Options {
    /// Returns how many rounds there are.
    pub fn rounds(&self) -> u32 {
        self.rounds.unwrap_or(if self.quick { 1 } else { ROUNDS })
    }

    /// Returns how long each load is measured.
    pub fn seconds(&self) -> Duration {
        Duration::from_secs(self.seconds.unwrap_or(if self.quick { SECONDS.1 } else { SECONDS.0 }))
    }

    /// Returns the systems to measure.
    pub fn kinds(&self) -> Vec<Kind> {
        let wants = |kind: &Kind| self.only.is_empty() || self.only.iter().any(|only| only == kind.key());
        if self.failovers > 0 { vec![Kind::Cluster] } else { Kind::ALL.into_iter().filter(wants).collect() }
    }

    /// Returns whether an idle cluster is to be measured.
    pub fn wants_idle(&self) -> bool {
        self.only.is_empty() || self.only.iter().any(|only| only == "idle")
    }

    /// Returns the form of the report.
    pub fn style(&self) -> Style {
        if self.markdown { Style::Markdown } else { Style::Plain }
    }
}

#[cfg(test)]
mod tests {
    use clap::CommandFactory;

    use super::*;

    fn parse(args: &[&str]) -> Options {
        Options::try_parse_from(std::iter::once(&"bench-cluster").chain(args)).unwrap()
    }

    #[test]
    fn the_command_line_is_sound() {
        Options::command().debug_assert();
    }

    #[test]
    fn everything_is_measured_unless_only_some_is_asked_for() {
        assert_eq!(parse(&[]).kinds(), Kind::ALL);
        assert!(parse(&[]).wants_idle());
        let some = parse(&["--only", "etcd", "--only", "cluster", "--quick"]);
        assert_eq!((some.kinds(), some.wants_idle()), (vec![Kind::Cluster, Kind::Etcd], false));
        assert_eq!((some.rounds(), some.seconds()), (1, Duration::from_secs(1)));
        assert_eq!(parse(&["--failovers", "3"]).kinds(), [Kind::Cluster]);
        assert!(Options::try_parse_from(["bench-cluster", "--only", "tikv"]).is_err());
    }
}
