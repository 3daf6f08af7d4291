//! The command line of `bench-steady`.

use std::path::PathBuf;

use clap::{Parser, ValueEnum};

use super::request_source::KEYS_MAX;
use crate::compare::server_kind::ServerKind;
use crate::compare::server_options::ServerOptions;

/// Keys by default: some gigabytes, more than the memory a node is given.
const KEYS: u64 = 50_000_000;
/// Seconds by default: long enough for all levels of a tree to be merged, and for several rewrites of an append-only file.
const SECONDS: u64 = 1_800;
/// Keys with `--quick`.
const KEYS_QUICK: u64 = 20_000;
/// Seconds with `--quick`.
const SECONDS_QUICK: u64 = 5;

/// A server to be measured.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub enum Measured {
    /// Basalt, with its defaults
    Basalt,
    /// redis-server with appendonly yes, appendfsync always; its append-only file is rewritten as it comes
    Redis,
}

impl Measured {
    /// Returns how it is started.
    pub fn kind(self) -> ServerKind {
        match self {
            Measured::Basalt => ServerKind::Basalt,
            Measured::Redis => ServerKind::RedisAlways,
        }
    }

    /// Returns its name on the command line and in names of files.
    pub fn name(self) -> &'static str {
        match self {
            Measured::Basalt => "basalt",
            Measured::Redis => "redis",
        }
    }
}

/// Fills a server with keys and loads it for long: shows by the second whether latency has cliffs.
#[derive(Debug, Clone, Parser)]
#[command(name = "bench-steady", version)]
pub struct Options {
    /// The server
    #[arg(long, value_enum, default_value = "basalt")]
    pub server: Measured,

    /// Keys, all of them set once before the load begins [default: 50000000]
    #[arg(long, value_name = "COUNT", value_parser = clap::value_parser!(u64).range(1..=KEYS_MAX))]
    keys: Option<u64>,

    /// Bytes of a value; they are random, so that nothing can compress them
    #[arg(long, value_name = "BYTES", default_value_t = 64, value_parser = clap::value_parser!(u32).range(1..=1_048_576))]
    pub data_bytes: u32,

    /// Seconds of load [default: 1800]
    #[arg(long, value_name = "COUNT", value_parser = clap::value_parser!(u64).range(1..=1_000_000))]
    seconds: Option<u64>,

    /// Clients
    #[arg(short, long, value_name = "COUNT", default_value_t = 50, value_parser = clap::value_parser!(u16).range(1..=10_000))]
    pub clients: u16,

    /// Requests that a client sends at once
    #[arg(short = 'P', long, value_name = "COUNT", default_value_t = 16, value_parser = clap::value_parser!(u16).range(1..=1_000))]
    pub pipeline: u16,

    /// SETs among a hundred requests; the others are GETs
    #[arg(long, value_name = "PERCENT", default_value_t = 50, value_parser = clap::value_parser!(u8).range(0..=100))]
    pub set_percent: u8,

    /// Seed of keys and values: the same requests in every run
    #[arg(long, value_name = "NUMBER", default_value_t = 1)]
    pub seed: u64,

    /// 20000 keys, 5 seconds: shows that everything runs, measures nothing
    #[arg(long)]
    quick: bool,

    /// Writes PREFIX.tsv, PREFIX.svg and PREFIX.md [default: steady-SERVER]
    #[arg(long, value_name = "PREFIX")]
    output: Option<PathBuf>,

    /// Replaces these files where they exist
    #[arg(long)]
    pub force: bool,

    /// The servers.
    #[command(flatten)]
    pub servers: ServerOptions,
}

impl Options {
    /// Returns how many keys there are.
    pub fn keys(&self) -> u64 {
        self.keys.unwrap_or(if self.quick { KEYS_QUICK } else { KEYS })
    }

    /// Returns how long the load lasts.
    pub fn seconds(&self) -> u64 {
        self.seconds.unwrap_or(if self.quick { SECONDS_QUICK } else { SECONDS })
    }

    /// Returns what the names of the files begin with.
    pub fn output(&self) -> PathBuf {
        self.output.clone().unwrap_or_else(|| PathBuf::from(format!("steady-{}", self.server.name())))
    }
}

#[cfg(test)]
mod tests {
    use clap::CommandFactory;

    use super::*;

    fn parse(args: &[&str]) -> Options {
        Options::try_parse_from(std::iter::once(&"bench-steady").chain(args)).unwrap()
    }

    #[test]
    fn the_command_line_is_sound() {
        Options::command().debug_assert();
    }

    #[test]
    fn quick_is_small_unless_told_otherwise() {
        assert_eq!((parse(&[]).keys(), parse(&[]).seconds()), (50_000_000, 1_800));
        assert_eq!((parse(&["--quick"]).keys(), parse(&["--quick"]).seconds()), (20_000, 5));
        assert_eq!(parse(&["--quick", "--keys", "7"]).keys(), 7);
    }

    #[test]
    fn files_are_named_for_the_server() {
        assert_eq!(parse(&["--server", "redis"]).output(), PathBuf::from("steady-redis"));
        assert_eq!(parse(&["--output", "a/b"]).output(), PathBuf::from("a/b"));
    }
}
