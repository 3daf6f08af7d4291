//! Loads for redis-benchmark: a test in a shape.

use std::fmt;
use std::str::FromStr;

/// Bytes of a value (`-d`).
pub const VALUE_BYTES: u32 = 64;
/// Keys that are drawn from (`-r`).
pub const KEY_COUNT: u32 = 1_000_000;

/// A command that redis-benchmark repeats.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Test {
    /// `SET` of a random key.
    Set,
    /// `GET` of a random key.
    Get,
    /// `INCR` of a random key.
    Incr,
    /// `LPUSH` to one key.
    Lpush,
    /// `MSET` of ten random keys.
    Mset,
}

impl Test {
    /// Every test, in the order in which a server runs them.
    pub const ALL: [Test; 5] = [Test::Set, Test::Get, Test::Incr, Test::Lpush, Test::Mset];

    /// Returns what redis-benchmark calls it (`-t`).
    pub fn name(self) -> &'static str {
        match self {
            Test::Set => "set",
            Test::Get => "get",
            Test::Incr => "incr",
            Test::Lpush => "lpush",
            Test::Mset => "mset",
        }
    }
}

/// Number of clients that ask, and of requests that each sends before it reads the replies.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct Shape {
    /// Connections (`-c`).
    pub clients: u32,
    /// Requests sent at once (`-P`).
    pub pipeline: u32,
}

impl Shape {
    /// Every shape.
    pub const ALL: [Shape; 5] = [
        Shape { clients: 1, pipeline: 1 },
        Shape { clients: 8, pipeline: 1 },
        Shape { clients: 50, pipeline: 1 },
        Shape { clients: 50, pipeline: 16 },
        Shape { clients: 500, pipeline: 1 },
    ];
}

impl fmt::Display for Shape {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "-c {} -P {}", self.clients, self.pipeline)
    }
}

/// A test in a shape.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct Load {
    /// The command.
    pub test: Test,
    /// Its clients.
    pub shape: Shape,
}

impl Load {
    /// Returns how many requests a measurement makes, when an unpipelined SET makes `requests`: as many as give
    /// measurements of about the same length.
    pub fn requests(self, requests: u64) -> u64 {
        // Few clients wait for syncs most of the time, whatever they ask for.
        let of_shape = match self.shape {
            Shape { clients: ..4, .. } => return requests / 8,
            Shape { clients: 4..16, .. } => requests / 2,
            Shape { pipeline: 2.., .. } => requests * 4,
            _ => requests,
        };
        if self.test == Test::Mset { of_shape / 4 } else { of_shape }
    }

    /// Returns the arguments of redis-benchmark for a server on `port`.
    pub fn arguments(self, port: u16, requests: u64) -> Vec<String> {
        let Shape { clients, pipeline } = self.shape;
        let options = format!(
            "-h 127.0.0.1 -p {port} -t {} -n {requests} -c {clients} -P {pipeline} -d {VALUE_BYTES} -r {KEY_COUNT} \
             --precision 3",
            self.test.name()
        );
        options.split_whitespace().map(String::from).collect()
    }
}

impl fmt::Display for Load {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} {}", self.test.name().to_uppercase(), self.shape)
    }
}

/// Every load, in the order of the report.
pub fn all() -> impl Iterator<Item = Load> {
    Shape::ALL.into_iter().flat_map(|shape| Test::ALL.into_iter().map(move |test| Load { test, shape }))
}

/// Selects the loads to measure: those whose words begin with these.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Filter {
    /// No load: servers that nobody talks to.
    Idle,
    /// Loads that begin with these words.
    Words(Vec<String>),
}

impl Filter {
    /// Returns whether `load` is among them.
    pub fn takes(&self, load: Load) -> bool {
        let Filter::Words(words) = self else { return false };
        let name = load.to_string();
        let mut of_load = name.split_whitespace();
        words.iter().all(|word| of_load.next().is_some_and(|other| other.eq_ignore_ascii_case(word)))
    }
}

impl FromStr for Filter {
    type Err = String;

    fn from_str(text: &str) -> Result<Filter, String> {
        let words: Vec<String> = text.split_whitespace().map(String::from).collect();
        if words == ["idle"] {
            return Ok(Filter::Idle);
        }
        let filter = Filter::Words(words);
        if text.trim().is_empty() || !all().any(|load| filter.takes(load)) {
            let names: Vec<String> = all().map(|load| format!("'{load}'")).collect();
            return Err(format!("no load begins with {text:?}: there are idle, {}", names.join(", ")));
        }
        Ok(filter)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn redis_benchmark_is_told_everything() {
        let load = Load { test: Test::Get, shape: Shape { clients: 500, pipeline: 1 } };
        assert_eq!(
            load.arguments(7000, 1000).join(" "),
            "-h 127.0.0.1 -p 7000 -t get -n 1000 -c 500 -P 1 -d 64 -r 1000000 --precision 3"
        );
    }

    #[test]
    fn pipelined_loads_make_more_requests_and_wide_ones_fewer() {
        let requests = |test, pipeline| Load { test, shape: Shape { clients: 50, pipeline } }.requests(1000);
        assert_eq!((requests(Test::Set, 1), requests(Test::Set, 16)), (1000, 4000));
        assert_eq!((requests(Test::Mset, 1), requests(Test::Mset, 16)), (250, 1000));
        let of_clients = |test, clients| Load { test, shape: Shape { clients, pipeline: 1 } }.requests(1000);
        assert_eq!((of_clients(Test::Set, 1), of_clients(Test::Set, 8)), (125, 500));
        assert_eq!((of_clients(Test::Mset, 1), of_clients(Test::Mset, 8)), (125, 125));
    }

    #[test]
    fn filters_match_whole_words() {
        let takes = |filter: &str| {
            let filter: Filter = filter.parse().unwrap();
            all().filter(|&load| filter.takes(load)).count()
        };
        assert_eq!((takes("set"), takes("SET -c 50"), takes("set -c 50 -P 1"), takes("mset")), (5, 2, 1, 5));
    }
}
