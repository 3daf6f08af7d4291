//! Loads: a test in a shape.

use std::fmt;
use std::str::FromStr;

/// Bytes of a value (`-d`).
pub const VALUE_BYTES: u32 = 64;
/// Keys that are drawn from (`-r`).
pub const KEY_COUNT: u32 = 1_000_000;

/// The requests that the clients send, again and again.
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
    /// `RPUSH` to one key.
    Rpush,
    /// `LRANGE` of the first hundred elements of one long list.
    Lrange,
    /// `LPOP` of one key.
    Lpop,
    /// `RPOP` of one key.
    Rpop,
    /// `SADD` of a random member to one key.
    Sadd,
    /// `SPOP` of one key.
    Spop,
    /// `HSET` of a random field of one key.
    Hset,
    /// `ZADD` of a random member with a random score to one key.
    Zadd,
    /// `ZPOPMIN` of one key.
    Zpopmin,
    /// `XADD` to one key.
    Xadd,
    /// `EVAL` of a script of five lines on a random key.
    Eval,
    /// `MULTI`, five `SET`s of keys that share a hash tag, `EXEC`: counted as one request.
    Multi,
    /// The same of five random keys, which may be in several shards.
    MultiAny,
    /// `PUBLISH` to a channel with fifty subscribers.
    Publish,
}

/// A limit of calls in a time, as applications write it.
const SCRIPT: &str = "local count = redis.call('INCR', KEYS[1])
if count == 1 then
  redis.call('EXPIRE', KEYS[1], ARGV[1])
end
return count";

/// The channel of [`Test::Publish`].
pub const CHANNEL: &str = "news";

/// The program that sends the requests of a test.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Asker {
    /// redis-benchmark, by a test of its own (`-t`).
    OwnTest,
    /// redis-benchmark, by a command in so many words.
    Command(Vec<String>),
    /// This program: redis-benchmark has no transactions. Whether keys of one have a hash tag in common.
    Transactions {
        /// True if they have.
        share_tag: bool,
    },
}

impl Test {
    /// Every test, in the order in which a server runs them: what takes elements away comes behind what adds them.
    pub const ALL: [Test; 19] = [
        Test::Set,
        Test::Get,
        Test::Incr,
        Test::Lpush,
        Test::Mset,
        Test::Rpush,
        Test::Lrange,
        Test::Lpop,
        Test::Rpop,
        Test::Sadd,
        Test::Spop,
        Test::Hset,
        Test::Zadd,
        Test::Zpopmin,
        Test::Xadd,
        Test::Eval,
        Test::Multi,
        Test::MultiAny,
        Test::Publish,
    ];

    /// Returns what it is called: by redis-benchmark, too, if it is one of its own (`-t`).
    pub fn name(self) -> &'static str {
        match self {
            Test::Set => "set",
            Test::Get => "get",
            Test::Incr => "incr",
            Test::Lpush => "lpush",
            Test::Mset => "mset",
            Test::Rpush => "rpush",
            Test::Lrange => "lrange",
            Test::Lpop => "lpop",
            Test::Rpop => "rpop",
            Test::Sadd => "sadd",
            Test::Spop => "spop",
            Test::Hset => "hset",
            Test::Zadd => "zadd",
            Test::Zpopmin => "zpopmin",
            Test::Xadd => "xadd",
            Test::Eval => "eval",
            Test::Multi => "multi",
            Test::MultiAny => "multi-any",
            Test::Publish => "publish",
        }
    }

    /// Returns whether it runs in every shape; the others run in [`Shape::OF_DATA`] alone.
    fn is_in_every_shape(self) -> bool {
        matches!(self, Test::Set | Test::Get | Test::Incr | Test::Lpush | Test::Mset)
    }

    /// Returns the test that has to run before, so that there is something to read or to take.
    pub fn filled_by(self) -> Option<Test> {
        match self {
            Test::Get => Some(Test::Set),
            Test::Lrange | Test::Lpop | Test::Rpop => Some(Test::Rpush),
            Test::Spop => Some(Test::Sadd),
            Test::Zpopmin => Some(Test::Zadd),
            _ => None,
        }
    }

    /// Returns who asks.
    pub fn asker(self) -> Asker {
        let command = |words: &[&str]| Asker::Command(words.iter().map(|word| (*word).to_owned()).collect());
        let value = &*"x".repeat(VALUE_BYTES as usize);
        match self {
            // Its own test of ranges pushes first, and asks for three more lengths.
            Test::Lrange => command(&["LRANGE", "mylist", "0", "99"]),
            Test::Xadd => command(&["XADD", "mystream", "*", "field", value]),
            Test::Eval => command(&["EVAL", SCRIPT, "1", "limit:__rand_int__", "60"]),
            Test::Publish => command(&["PUBLISH", CHANNEL, value]),
            Test::Multi => Asker::Transactions { share_tag: true },
            Test::MultiAny => Asker::Transactions { share_tag: false },
            _ => Asker::OwnTest,
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

    /// The shape in which commands of all types of data are compared.
    pub const OF_DATA: Shape = Shape { clients: 50, pipeline: 16 };
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
        match self.test {
            Test::Mset | Test::Multi => of_shape / 4,
            Test::Eval => of_shape / 2,
            Test::Lrange | Test::MultiAny | Test::Publish => of_shape / 8,
            _ => of_shape,
        }
    }

    /// Returns the arguments of redis-benchmark for a server on `port`; `None` if it is another who asks.
    pub fn arguments(self, port: u16, requests: u64) -> Option<Vec<String>> {
        let Shape { clients, pipeline } = self.shape;
        let options = format!(
            "-h 127.0.0.1 -p {port} -n {requests} -c {clients} -P {pipeline} -d {VALUE_BYTES} -r {KEY_COUNT} --precision 3"
        );
        let mut arguments: Vec<String> = options.split_whitespace().map(String::from).collect();
        match self.test.asker() {
            Asker::OwnTest => arguments.extend(["-t".to_owned(), self.test.name().to_owned()]),
            Asker::Command(words) => arguments.extend(words),
            Asker::Transactions { .. } => return None,
        }
        Some(arguments)
    }
}

impl fmt::Display for Load {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} {}", self.test.name().to_uppercase(), self.shape)
    }
}

/// Every load, in the order of the report.
pub fn all() -> impl Iterator<Item = Load> {
    let is_measured = |load: &Load| load.test.is_in_every_shape() || load.shape == Shape::OF_DATA;
    let all = Shape::ALL.into_iter().flat_map(|shape| Test::ALL.into_iter().map(move |test| Load { test, shape }));
    all.filter(is_measured)
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
            load.arguments(7000, 1000).unwrap().join(" "),
            "-h 127.0.0.1 -p 7000 -n 1000 -c 500 -P 1 -d 64 -r 1000000 --precision 3 -t get"
        );
        let of_data = |test| Load { test, shape: Shape::OF_DATA };
        assert!(of_data(Test::Lrange).arguments(7000, 1000).unwrap().join(" ").ends_with(" LRANGE mylist 0 99"));
        assert_eq!(of_data(Test::Multi).arguments(7000, 1000), None);
    }

    #[test]
    fn each_type_of_data_is_loaded_in_one_shape_and_behind_what_fills_it() {
        let shapes_of = |test| all().filter(|load| load.test == test).map(|load| load.shape).collect::<Vec<_>>();
        assert_eq!((shapes_of(Test::Zadd), shapes_of(Test::Lpush)), (vec![Shape::OF_DATA], Shape::ALL.to_vec()));
        let place = |test| Test::ALL.iter().position(|other| *other == test).unwrap();
        for test in Test::ALL {
            assert!(test.filled_by().is_none_or(|fill| place(fill) < place(test)), "{test:?}");
        }
    }

    #[test]
    fn pipelined_loads_make_more_requests_and_wide_ones_fewer() {
        let requests = |test, pipeline| Load { test, shape: Shape { clients: 50, pipeline } }.requests(1000);
        assert_eq!((requests(Test::Set, 1), requests(Test::Set, 16)), (1000, 4000));
        assert_eq!((requests(Test::Mset, 1), requests(Test::Mset, 16)), (250, 1000));
        assert_eq!((requests(Test::Eval, 16), requests(Test::Publish, 16)), (2000, 500));
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
        assert_eq!((takes("multi"), takes("multi-any"), takes("zadd -c 50 -P 16")), (1, 1, 1));
        assert!("zadd -c 50 -P 1".parse::<Filter>().is_err());
    }
}
