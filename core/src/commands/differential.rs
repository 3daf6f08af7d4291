//! Random commands on collections: on a store that freezes all the time compared with plain rows, and on plain rows
//! compared with a real redis-server, byte for byte.
//!
//! The latter is not part of a plain test run, since it needs that server (7.0) and empties its database 0:
//!
//! ```text
//! redis-server --port 7911 --save '' &
//! BASALT_TEST_REDIS=127.0.0.1:7911 cargo test --release -p basalt-core differential -- --ignored --nocapture
//! ```

use std::io::{Read, Write};
use std::net::TcpStream;

use basalt_net::resp::{Protocol, value};
use basalt_storage::{BlockCache, Store, StoreOptions};

use super::Random;
use super::testing::Shard;

/// How many random commands are compared with redis-server, in either version of the protocol.
const COMMAND_COUNT: usize = 200_000;

/// How many random commands are compared with a store.
const STORE_COMMAND_COUNT: usize = 20_000;

/// After how many commands, on average, the store writes a generation.
const COMMANDS_PER_GENERATION: u64 = 200;

struct Redis {
    stream: TcpStream,
    input: Vec<u8>,
}

impl Redis {
    fn connect(protocol: Protocol) -> Redis {
        let address = std::env::var("BASALT_TEST_REDIS").expect("BASALT_TEST_REDIS names a redis-server");
        let stream = TcpStream::connect(address).unwrap();
        stream.set_nodelay(true).unwrap();
        let mut redis = Redis { stream, input: Vec::new() };
        if protocol == Protocol::Resp3 {
            redis.run(&[b"HELLO".to_vec(), b"3".to_vec()]);
        }
        redis
    }

    fn run(&mut self, words: &[Vec<u8>]) -> Vec<u8> {
        let mut request = format!("*{}\r\n", words.len()).into_bytes();
        for word in words {
            request.extend_from_slice(format!("${}\r\n", word.len()).as_bytes());
            request.extend_from_slice(word);
            request.extend_from_slice(b"\r\n");
        }
        self.stream.write_all(&request).unwrap();
        let mut buffer = [0; 4096];
        loop {
            if let Some(length) = value::skip_value(&self.input) {
                return self.input.drain(..length).collect();
            }
            let read = self.stream.read(&mut buffer).unwrap();
            assert!(read > 0, "redis-server closed the connection after {words:?}");
            self.input.extend_from_slice(&buffer[..read]);
        }
    }
}

/// Draws words of random commands from few keys and values, so that they meet.
struct Words(Random);

impl Words {
    fn pick<T: Copy>(&mut self, from: &[T]) -> T {
        from[self.0.below(from.len() as u64) as usize]
    }

    fn one_in(&mut self, times: u64) -> bool {
        self.0.below(times) == 0
    }

    fn integer(&mut self) -> &'static str {
        self.pick(&["0", "1", "2", "-1", "-2", "3", "5", "-5", "100", "-100", "x", "", "9223372036854775807", "1.5"])
    }

    fn count(&mut self) -> &'static str {
        self.pick(&["0", "1", "2", "3", "10", "1", "2", "-1", "x"])
    }

    fn score(&mut self) -> &'static str {
        self.pick(&[
            "0",
            "1",
            "-1",
            "1.5",
            "2",
            "3",
            "-0",
            "inf",
            "-inf",
            "1e300",
            "0.1",
            "3.14159265358979",
            "x",
            "nan",
            "1e19",
            "+5",
            "",
        ])
    }

    fn score_bound(&mut self) -> String {
        let open = if self.one_in(3) { "(" } else { "" };
        format!("{open}{}", self.score())
    }

    fn lex_bound(&mut self) -> &'static str {
        self.pick(&["-", "+", "[a", "(a", "[c", "(c", "[", "(", "b", "[dd", "+x"])
    }

    fn name(&mut self) -> &'static str {
        self.pick(&["a", "b", "c", "d", "e", "f", "g", "a\r\nb", "", "12", "-7"])
    }

    fn names(&mut self) -> Vec<String> {
        (0..=self.0.below(3)).map(|_| self.name().to_owned()).collect()
    }

    fn id(&mut self) -> String {
        let parts = ["0", "1", "2", "3", "4", "5", "x", "", "18446744073709551615", "7", "9", "+5", " 4", "007"];
        match self.0.below(12) {
            0 => "-".to_owned(),
            1 => "+".to_owned(),
            2 | 3 => self.pick(&parts).to_owned(),
            4 => format!("({}-{}", self.pick(&parts), self.pick(&parts)),
            _ => format!("{}-{}", self.pick(&parts[..6]), self.pick(&parts[..6])),
        }
    }

    /// An id for XADD that is likely to be taken.
    fn new_id(&mut self, step: usize) -> String {
        match self.0.below(8) {
            0 => self.id(),
            1 => format!("{}-*", step / 50),
            _ => format!("{}-{}", step / 50, step % 50),
        }
    }

    fn trim(&mut self, words: &mut Vec<String>) {
        if self.one_in(3) {
            words.push(self.pick(&["MAXLEN", "minid"]).to_owned());
            if self.one_in(3) {
                words.push("=".to_owned());
            }
            words.push(if self.one_in(2) { self.count().to_owned() } else { self.id() });
            if self.one_in(8) {
                words.extend(["LIMIT".to_owned(), self.count().to_owned()]);
            }
        }
    }

    fn command(&mut self, step: usize) -> Vec<String> {
        let families: [(&str, &[&str]); 6] = [
            ("l", &["lpush", "rpush", "lpushx", "rpushx", "lpop", "rpop", "llen", "lrange", "lindex", "lset", "ltrim"]),
            ("s", &["sadd", "srem", "scard", "sismember", "smismember", "smembers", "spop0"]),
            (
                "h",
                &[
                    "hset", "hset", "hmset", "hsetnx", "hget", "hmget", "hdel", "hlen", "hstrlen", "hexists",
                    "hgetall", "hkeys", "hvals", "hincrby",
                ],
            ),
            (
                "z",
                &[
                    "zadd",
                    "zadd",
                    "zadd",
                    "zincrby",
                    "zrem",
                    "zcard",
                    "zscore",
                    "zmscore",
                    "zpopmin",
                    "zpopmax",
                    "zcount",
                    "zlexcount",
                ],
            ),
            (
                "z",
                &[
                    "zadd",
                    "zrange",
                    "zrange",
                    "zrange",
                    "zrevrange",
                    "zrangebyscore",
                    "zrevrangebyscore",
                    "zrangebylex",
                    "zrevrangebylex",
                ],
            ),
            ("x", &["xadd", "xadd", "xadd", "xtrim", "xlen", "xdel", "xrange", "xrevrange"]),
        ];
        let (prefix, names) = self.pick(&families);
        let name = self.pick(names);
        // Members of one score, mixed scores, and now and then a key of another type or none.
        let mut key = format!("{prefix}{}", self.pick(&["1", "2", "lex"]));
        if self.one_in(20) {
            key = self.pick(&["l1", "s1", "h1", "z1", "x1", "none"]).to_owned();
        }
        let mut words = vec![name.to_owned(), key.clone()];
        match name {
            "lpush" | "rpush" | "lpushx" | "rpushx" | "sadd" | "srem" | "smismember" | "hmget" | "hdel" | "zrem"
            | "zmscore" => {
                words.extend(self.names());
            }
            "lpop" | "rpop" | "zpopmin" | "zpopmax" => {
                if self.one_in(2) {
                    words.push(self.count().to_owned());
                }
                if self.one_in(50) {
                    words.push("1".to_owned());
                }
            }
            "spop0" => words = vec!["spop".to_owned(), key, self.pick(&["0", "x", "-1", "100"]).to_owned()],
            "llen" | "scard" | "smembers" | "hlen" | "hgetall" | "hkeys" | "hvals" | "zcard" | "xlen" => {}
            "lrange" | "ltrim" => words.extend([self.integer().to_owned(), self.integer().to_owned()]),
            "lindex" => words.push(self.integer().to_owned()),
            "lset" => words.extend([self.integer().to_owned(), self.name().to_owned()]),
            "sismember" | "hget" | "hexists" | "hstrlen" | "zscore" => words.push(self.name().to_owned()),
            "hset" | "hmset" => {
                for _ in 0..=self.0.below(2) {
                    words.extend([self.name().to_owned(), self.integer().to_owned()]);
                }
                if self.one_in(20) {
                    words.push("odd".to_owned());
                }
            }
            "hsetnx" => words.extend([self.name().to_owned(), self.name().to_owned()]),
            "hincrby" => words.extend([self.name().to_owned(), self.integer().to_owned()]),
            "zincrby" if key == "zlex" => words = vec!["zcard".to_owned(), key],
            "zincrby" => words.extend([self.score().to_owned(), self.name().to_owned()]),
            "zcount" => words.extend([self.score_bound(), self.score_bound()]),
            "zlexcount" => {
                words[1] = "zlex".to_owned();
                words.extend([self.lex_bound().to_owned(), self.lex_bound().to_owned()]);
            }
            "zadd" => {
                for option in ["NX", "XX", "gt", "LT", "CH", "INCR"] {
                    if self.one_in(8) {
                        words.push(option.to_owned());
                    }
                }
                for _ in 0..=self.0.below(2) {
                    let score = if key == "zlex" { "2" } else { self.score() };
                    words.extend([score.to_owned(), self.name().to_owned()]);
                }
                if self.one_in(30) {
                    words.push("odd".to_owned());
                }
                if key == "zlex" {
                    words.retain(|word| word != "INCR");
                }
            }
            "zrange" | "zrevrange" | "zrangebyscore" | "zrevrangebyscore" | "zrangebylex" | "zrevrangebylex" => {
                let by = if name == "zrange" { self.pick(&["", "BYSCORE", "bylex"]) } else { "" };
                if by == "bylex" || name.ends_with("lex") {
                    words[1] = "zlex".to_owned();
                    words.extend([self.lex_bound().to_owned(), self.lex_bound().to_owned()]);
                } else if by == "BYSCORE" || name.ends_with("score") {
                    words.extend([self.score_bound(), self.score_bound()]);
                } else {
                    words.extend([self.integer().to_owned(), self.integer().to_owned()]);
                }
                if !by.is_empty() {
                    words.push(by.to_owned());
                }
                if self.one_in(3) && (name == "zrange" || self.one_in(10)) {
                    words.push("REV".to_owned());
                }
                if self.one_in(3) {
                    words.push("WITHSCORES".to_owned());
                }
                if self.one_in(3) {
                    words.extend(["LIMIT".to_owned(), self.integer().to_owned(), self.integer().to_owned()]);
                }
                if self.one_in(40) {
                    words.push("limit".to_owned());
                }
            }
            "xadd" => {
                if self.one_in(10) {
                    words.push("NOMKSTREAM".to_owned());
                }
                self.trim(&mut words);
                words.push(self.new_id(step));
                for _ in 0..=self.0.below(2) {
                    words.extend([self.name().to_owned(), self.name().to_owned()]);
                }
                if self.one_in(30) {
                    words.push("odd".to_owned());
                }
            }
            "xtrim" => {
                self.trim(&mut words);
                if self.one_in(40) {
                    words.push("foo".to_owned());
                }
            }
            "xdel" => words.extend((0..=self.0.below(2)).map(|_| self.id()).collect::<Vec<_>>()),
            "xrange" | "xrevrange" => {
                words.extend([self.id(), self.id()]);
                if self.one_in(3) {
                    words.extend(["COUNT".to_owned(), self.count().to_owned()]);
                }
            }
            other => panic!("{other} is not drawn"),
        }
        words
    }
}

/// The reply with the elements of unordered ones sorted.
fn sorted(name: &str, reply: Vec<u8>) -> Vec<u8> {
    let pair = match name {
        "smembers" | "spop" | "hkeys" | "hvals" => 1,
        "hgetall" => 2,
        _ => return reply,
    };
    let Ok(elements) = value::split_elements(&reply) else { return reply };
    let elements: Vec<&[u8]> = elements.collect();
    let mut groups: Vec<&[&[u8]]> = elements.chunks(pair).collect();
    groups.sort();
    let header = reply.iter().position(|&byte| byte == b'\n').map_or(0, |at| at + 1);
    [&reply[..header], &groups.concat().concat()].concat()
}

#[test]
#[ignore = "needs a redis-server"]
fn replies_are_those_of_redis() {
    let seed = std::env::var("BASALT_TEST_SEED").map_or(1, |seed| seed.parse().expect("a seed is a number"));
    println!("seed {seed}");
    for protocol in [Protocol::Resp2, Protocol::Resp3] {
        let mut redis = Redis::connect(protocol);
        redis.run(&[b"FLUSHDB".to_vec()]);
        let (mut shard, mut words) = (Shard::new(), Words(Random::new(seed)));
        let mut failures = 0;
        for step in 0..COMMAND_COUNT {
            let line = words.command(step);
            if words.one_in(300) {
                redis.run(&[b"DEL".to_vec(), line[1].clone().into_bytes()]);
                shard.delete(line[1].as_bytes());
            }
            let request: Vec<Vec<u8>> = line.iter().map(|word| word.clone().into_bytes()).collect();
            let expected = sorted(&line[0], redis.run(&request));
            let reply = sorted(&line[0], shard.run(protocol, &line));
            if reply != expected {
                println!("{line:?}\n  redis  {}\n  basalt {}", expected.escape_ascii(), reply.escape_ascii());
                failures += 1;
                assert!(failures < 10, "too many differences");
                redis.run(&[b"DEL".to_vec(), request[1].clone()]);
                shard.delete(&request[1]);
            }
        }
        assert_eq!(failures, 0);
    }
}

#[test]
fn a_store_that_freezes_all_the_time_answers_as_plain_rows() {
    let dir = tempfile::tempdir().unwrap();
    let store = Store::open(dir.path(), &StoreOptions::new(1 << 20, BlockCache::new(1 << 20))).unwrap();
    let (mut plain, mut stored, mut words) = (Shard::new(), Shard::over(store), Words(Random::new(7)));
    for step in 0..STORE_COMMAND_COUNT {
        let line = words.command(step);
        let (expected, reply) = (plain.run(Protocol::Resp3, &line), stored.run(Protocol::Resp3, &line));
        assert_eq!(reply.escape_ascii().to_string(), expected.escape_ascii().to_string(), "{step}: {line:?}");
        if words.one_in(300) {
            plain.delete(line[1].as_bytes());
            stored.delete(line[1].as_bytes());
        }
        stored.rows.set_applied(step as u64 + 1, b"", None);
        if words.one_in(COMMANDS_PER_GENERATION) {
            let done = stored.rows.freeze().expect("there is something to write").run();
            drop(stored.rows.finish(done).unwrap());
        }
    }
}
