//! The command line of `bench-compare`.

use std::path::PathBuf;

use clap::Parser;

use super::load::{Filter, Load};
use super::server_options::ServerOptions;

/// Requests of one unpipelined SET, GET, INCR or LPUSH measurement: about five seconds at the 60,000/s of two cores.
const REQUESTS: u64 = 300_000;
/// Rounds whose median is worth the name.
const ROUNDS: u32 = 3;
/// Requests with `--quick`.
const REQUESTS_QUICK: u64 = 20_000;

/// Compares Basalt with redis-server (appendfsync always, and no append-only file) under redis-benchmark on this machine.
#[derive(Debug, Clone, Parser)]
#[command(name = "bench-compare", version)]
pub struct Options {
    /// Rounds; each figure is the median over them [default: 3]
    #[arg(long, value_name = "COUNT", value_parser = clap::value_parser!(u32).range(1..=1000))]
    rounds: Option<u32>,

    /// Requests of each SET, GET, INCR and LPUSH without pipelining; four times as many at -P 16, fewer of what costs more
    /// [default: 300000]
    #[arg(long, value_name = "COUNT", value_parser = clap::value_parser!(u64).range(1_000..=1_000_000_000))]
    requests: Option<u64>,

    /// One round of 20000 requests: shows that everything runs, measures nothing
    #[arg(long)]
    quick: bool,

    /// Measures only loads that begin with these words, as "set", "get -c 50 -P 1", or "idle" (repeatable)
    #[arg(long, value_name = "LOAD")]
    only: Vec<Filter>,

    /// Runs every server on processor 0 and redis-benchmark on processor 1: for figures of CPU per request
    #[arg(long)]
    pub pin: bool,

    /// Prints the report as Markdown, as it stands in bench/RESULTS.md
    #[arg(long)]
    pub markdown: bool,

    /// The percentile plot to write
    #[arg(long, value_name = "FILE", default_value = "bench-compare.svg")]
    pub plot: PathBuf,

    /// The servers.
    #[command(flatten)]
    pub servers: ServerOptions,
}

impl Options {
    /// Returns how many rounds there are.
    pub fn rounds(&self) -> u32 {
        self.rounds.unwrap_or(if self.quick { 1 } else { ROUNDS })
    }

    /// Returns how many requests an unpipelined measurement makes.
    pub fn requests(&self) -> u64 {
        self.requests.unwrap_or(if self.quick { REQUESTS_QUICK } else { REQUESTS })
    }

    /// Returns whether `load` is to be measured.
    pub fn wants(&self, load: Load) -> bool {
        self.only.is_empty() || self.only.iter().any(|filter| filter.takes(load))
    }

    /// Returns whether idle servers are to be measured.
    pub fn wants_idle(&self) -> bool {
        self.only.is_empty() || self.only.contains(&Filter::Idle)
    }
}

#[cfg(test)]
mod tests {
    use clap::CommandFactory;

    use super::super::load;
    use super::*;

    fn parse(args: &[&str]) -> Options {
        Options::try_parse_from(std::iter::once(&"bench-compare").chain(args)).unwrap()
    }

    #[test]
    fn the_command_line_is_sound() {
        Options::command().debug_assert();
    }

    #[test]
    fn quick_is_small_unless_told_otherwise() {
        assert_eq!((parse(&[]).rounds(), parse(&[]).requests()), (3, 300_000));
        assert_eq!((parse(&["--quick"]).rounds(), parse(&["--quick"]).requests()), (1, 20_000));
        assert_eq!(parse(&["--quick", "--rounds", "2"]).rounds(), 2);
    }

    #[test]
    fn everything_is_measured_unless_only_some_is_asked_for() {
        assert!(load::all().all(|load| parse(&[]).wants(load)) && parse(&[]).wants_idle());
        let some = parse(&["--only", "set", "--only", "get -c 50 -P 1"]);
        let names: Vec<String> = load::all().filter(|&load| some.wants(load)).map(|load| load.to_string()).collect();
        assert_eq!(
            names,
            [
                "SET -c 1 -P 1",
                "SET -c 8 -P 1",
                "SET -c 50 -P 1",
                "GET -c 50 -P 1",
                "SET -c 50 -P 16",
                "SET -c 500 -P 1"
            ]
        );
        assert!(!some.wants_idle());
        assert!(parse(&["--only", "idle"]).wants_idle());
        assert!(!load::all().any(|load| parse(&["--only", "idle"]).wants(load)));
    }

    #[test]
    fn loads_that_do_not_exist_are_refused() {
        for wrong in ["zcard", "set -c 51", "", "idle -c 50"] {
            assert!(Options::try_parse_from(["bench-compare", "--only", wrong]).is_err(), "{wrong:?}");
        }
    }
}
