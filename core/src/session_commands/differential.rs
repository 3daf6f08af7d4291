//! These commands compared with a real redis-server, byte for byte.

use std::io::{Read, Write};
use std::net::TcpStream;

use basalt_net::resp::value;
use basalt_tests::RedisServer;

use super::testing::{Client, words};
use crate::commands::table::commands;

struct Redis {
    stream: TcpStream,
    input: Vec<u8>,
}

impl Redis {
    fn connect(server: &RedisServer) -> Redis {
        Redis { stream: TcpStream::connect(server.address()).unwrap(), input: Vec::new() }
    }

    /// The reply with `|` for line ends, as [`Client::ask`] gives it.
    fn ask(&mut self, line: &str) -> String {
        let mut request = format!("*{}\r\n", line.split(' ').count()).into_bytes();
        for word in words(line) {
            request.extend_from_slice(format!("${}\r\n", word.len()).as_bytes());
            request.extend_from_slice(word);
            request.extend_from_slice(b"\r\n");
        }
        self.stream.write_all(&request).unwrap();
        let mut buffer = [0; 65536];
        loop {
            if let Some(length) = value::skip_value(&self.input) {
                let reply: Vec<u8> = self.input.drain(..length).collect();
                return String::from_utf8_lossy(&reply).replace("\r\n", "|");
            }
            let read = self.stream.read(&mut buffer).unwrap();
            assert!(read > 0, "redis-server closed the connection after '{line}'");
            self.input.extend_from_slice(&buffer[..read]);
        }
    }
}

/// Asks both the same; all differences are shown before the test fails.
struct Comparison {
    redis: Redis,
    basalt: Client,
    differences: usize,
}

impl Comparison {
    fn new(server: &RedisServer, protocol: &str) -> Comparison {
        let (mut redis, mut basalt) = (Redis::connect(server), Client::new());
        let hello = format!("hello {protocol}");
        assert!(!redis.ask(&hello).starts_with('-') && !basalt.ask(&hello).starts_with('-'));
        Comparison { redis, basalt, differences: 0 }
    }

    fn compare(&mut self, line: &str) {
        let (redis, basalt) = (self.redis.ask(line), self.basalt.ask(line));
        if redis != basalt {
            println!("{line}\n  redis  {redis}\n  basalt {basalt}");
            self.differences += 1;
        }
    }
}

/// Commands that Redis has since 7.2: the one compared with does not know them.
const NEWER: [&str; 13] = [
    "client|setinfo",
    "client|no-touch",
    "cluster|myshardid",
    "waitaof",
    "hexpire",
    "hexpireat",
    "hexpiretime",
    "hpersist",
    "hpexpire",
    "hpexpireat",
    "hpexpiretime",
    "hpttl",
    "httl",
];

/// The containers of commands that Redis does not have.
const OWN: [&str; 2] = ["basalt", "raft"];

/// Commands that cost something else than in Redis, and say so.
const OTHER_COST: [&str; 8] =
    ["rename", "renamenx", "move", "setbit", "bitfield", "zrank", "zrevrank", "zremrangebyrank"];

#[test]
fn commands_describe_themselves_as_in_redis() {
    let server = RedisServer::start();
    for protocol in ["2", "3"] {
        let mut comparison = Comparison::new(&server, protocol);
        for command in commands().filter(|command| !OWN.contains(&command.name())) {
            // Redis has more subcommands than are here, in any order, so containers are not compared as a whole.
            let alone = Some(command).filter(|command| command.subcommands.is_empty());
            for command in alone.into_iter().chain(command.subcommands) {
                if !NEWER.contains(&command.name()) {
                    comparison.compare(&format!("command info {}", command.name()));
                    if !OTHER_COST.contains(&command.name()) {
                        comparison.compare(&format!("command docs {}", command.name()));
                    }
                }
            }
        }
        assert_eq!(comparison.differences, 0);
    }
}

/// Commands whose replies do not depend on who answers.
const LINES: [&str; 74] = [
    "ping",
    "ping a",
    "ping a b",
    "echo",
    "echo x",
    "select 15",
    "select 16",
    "select -1",
    "select 01",
    "select 99999999999",
    "select 99999999999999999999",
    "auth x",
    "auth default x",
    "auth bob x",
    "auth a b c",
    "hello x",
    "hello 4",
    "hello 2 setname",
    "hello 2 auth a",
    "hello 2 auth bob x",
    "hello 2 nosuch x",
    "client",
    "client nosuch",
    "client getname",
    "client setname worker",
    "client getname",
    "client setname",
    "client no-evict on",
    "client no-evict x",
    "client reply on",
    "client reply x",
    "client kill id 0",
    "client kill id x",
    "client kill user bob",
    "client kill type x",
    "client kill skipme x",
    "client kill foo bar",
    "client list type x",
    "client list id a",
    "client list nosuch",
    "command getkeys mset a b c d",
    "command getkeys set a",
    "command getkeys ping x",
    "command getkeys nosuch a",
    "command getkeysandflags set a b",
    "command getkeysandflags set a b get",
    "command getkeysandflags copy a b",
    "command list filterby module x",
    "command list filterby x y",
    "command docs nosuch",
    "command info nosuch get",
    "config get databases",
    "config get SAVE nosuch",
    "role",
    "role x",
    "config get slave-read-only",
    "config get SLAVE-priority",
    "config get slaveof",
    "config get lua-time-limit",
    "config set slave-read-only yes",
    "config set hash-max-ziplist-value 64",
    // numbers that are none
    "select +1",
    "select 1.0",
    "select 0x1",
    "select",
    "hello +3",
    "hello 03",
    "client kill id +1",
    "client list id 01",
    "config set timeout 1 foo",
    "config set timeout 1 Timeout 2",
    "config set nosuch 1",
    "shutdown abort",
    "info modules cluster nosuch",
];

#[test]
fn replies_are_those_of_redis() {
    let server = RedisServer::start();
    for protocol in ["2", "3"] {
        let mut comparison = Comparison::new(&server, protocol);
        for line in LINES {
            comparison.compare(line);
        }
        assert_eq!(comparison.differences, 0);
    }
}

/// The text of a bulk string that was asked for.
fn text(reply: &str) -> &str {
    let header = reply.find('|').expect("it has a header");
    reply[header + 1..].trim_end_matches('|')
}

#[test]
fn a_client_has_the_fields_of_redis_in_their_order() {
    let server = RedisServer::start();
    let (redis, basalt) = (Redis::connect(&server).ask("client info"), Client::new().ask("client info"));
    let names = |line: &str| -> Vec<String> {
        text(line).split(' ').filter_map(|field| Some(field.split_once('=')?.0.to_owned())).collect()
    };
    let (redis, mut basalt) = (names(&redis), names(&basalt));
    assert_eq!(basalt.split_off(redis.len()), ["lib-name", "lib-ver", "watch", "tot-cmds"], "those are newer");
    assert_eq!(basalt, redis);
}

#[test]
fn parameters_answer_to_their_old_names_as_in_redis() {
    let server = RedisServer::start();
    let (mut redis, mut basalt) = (Redis::connect(&server), Client::new());
    for pattern in ["*slave*", "*ziplist*", "lua-*", "*-max-listpack-*", "busy-*", "slave-lazy-flush", "*-ping-*"] {
        let ask = format!("config get {pattern}");
        let pairs = |reply: String| -> Vec<(String, String)> {
            let lines: Vec<&str> = reply.split('|').skip(1).collect();
            let mut pairs: Vec<_> =
                lines.chunks_exact(4).map(|four| (four[1].to_owned(), four[3].to_owned())).collect();
            pairs.sort();
            pairs
        };
        let mut known = pairs(basalt.ask(&ask));
        // Redis has these since 7.2.
        known.retain(|(name, _)| !name.starts_with("set-max-listpack"));
        assert_eq!(known, pairs(redis.ask(&ask)), "{pattern}");
    }
}
