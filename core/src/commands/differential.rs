//! Random commands: on a store that freezes and is opened anew all the time compared with plain rows, and on plain rows
//! compared with a real redis-server, byte for byte. `BASALT_TEST_SEED` and `BASALT_TEST_COMMANDS` draw others and more.

use std::collections::{BTreeMap, BTreeSet};
use std::io::{Read, Write};
use std::net::TcpStream;

use basalt_net::resp::{Protocol, value};
use basalt_rdb::{Bounds, Value};
use basalt_storage::keyspace::ROW_RULES;
use basalt_storage::{BlockCache, Store, StoreOptions};
use basalt_tests::RedisServer;

use super::random_commands::{RandomCommands, key_of};
use super::table;
use super::testing::Shard;

/// Random commands that are compared with redis-server, in either version of the protocol: a few seconds' worth.
const COMMAND_COUNT: u64 = 50_000;

/// Random commands that are compared with a store.
const STORE_COMMAND_COUNT: usize = 20_000;

/// Random commands after each of which its key is restored from what redis-server dumps, and the reverse.
const RESTORED_COMMAND_COUNT: usize = 10_000;

/// After how many commands, on average, the store writes a generation.
const COMMANDS_PER_GENERATION: u64 = 200;

/// After how many commands, on average, the store is closed and opened anew.
const COMMANDS_PER_OPENING: u64 = 2_000;

/// Returns whether a template is of a command on streams.
fn of_streams(template: &str) -> bool {
    template.contains("$stream")
}

/// Returns whether a template is of a command on positions.
fn of_positions(template: &str) -> bool {
    template.contains("$geo")
}

pub(super) struct Redis {
    stream: TcpStream,
    input: Vec<u8>,
}

impl Redis {
    pub(super) fn connect(server: &RedisServer, protocol: Protocol) -> Redis {
        let stream = TcpStream::connect(server.address()).unwrap();
        stream.set_nodelay(true).unwrap();
        let mut redis = Redis { stream, input: Vec::new() };
        if protocol == Protocol::Resp3 {
            redis.run(&[b"HELLO".to_vec(), b"3".to_vec()]);
        }
        redis
    }

    /// Runs a command that waits where nobody may wait: in a transaction. Others run as they are.
    pub(super) fn run_without_waiting(&mut self, words: &[Vec<u8>]) -> Vec<u8> {
        let waits = table::lookup(&words[0]).is_some_and(|command| command.waits.is_some());
        if !waits {
            return self.run(words);
        }
        self.run(&[b"MULTI".to_vec()]);
        let queued = self.run(words);
        let done = self.run(&[b"EXEC".to_vec()]);
        done.strip_prefix(b"*1\r\n").map_or(queued, <[u8]>::to_vec)
    }

    pub(super) fn run(&mut self, words: &[Vec<u8>]) -> Vec<u8> {
        let mut request = format!("*{}\r\n", words.len()).into_bytes();
        for word in words {
            request.extend_from_slice(format!("${}\r\n", word.len()).as_bytes());
            request.extend_from_slice(word);
            request.extend_from_slice(b"\r\n");
        }
        self.stream.write_all(&request).unwrap();
        self.read()
    }

    /// Reads a reply or a message.
    pub(super) fn read(&mut self) -> Vec<u8> {
        let mut buffer = [0; 4096];
        loop {
            if let Some(length) = value::skip_value(&self.input) {
                return self.input.drain(..length).collect();
            }
            let read = self.stream.read(&mut buffer).unwrap();
            assert!(read > 0, "redis-server closed the connection");
            self.input.extend_from_slice(&buffer[..read]);
        }
    }
}

/// The reply to a command with the elements of unordered ones sorted, and without what nobody else can know.
fn sorted(words: &[String], protocol: Protocol, reply: Vec<u8>) -> Vec<u8> {
    let has_values = words.iter().skip(3).any(|word| ["WITHVALUES", "WITHSCORES"].contains(&word.as_str()));
    let pair = match words[0].as_str() {
        "keys" | "smembers" | "spop" | "hkeys" | "hvals" | "sunion" | "sinter" | "sdiff" => 1,
        "hgetall" => 2,
        "srandmember" | "hrandfield" | "zrandmember" if has_values && protocol == Protocol::Resp2 => 2,
        "srandmember" | "hrandfield" | "zrandmember" => 1,
        "sscan" | "hscan" | "zscan" => return sorted_scan(&words[0], reply),
        "xpending" | "xinfo" => return without_times(words, reply),
        "zrange" if words[1].starts_with('y') => return without_last_digits(reply),
        // The last digits of scores that are distances may differ.
        "dump" if words[1].starts_with('y') => return Vec::new(),
        "dump" => return value_of_dump(reply),
        _ => return reply,
    };
    sorted_groups(pair, reply)
}

/// The reply without the last digits of scores that are distances: whose library misses the nearest double sometimes stores
/// another.
fn without_last_digits(reply: Vec<u8>) -> Vec<u8> {
    let rounded = |line: &str| match line.trim_start_matches(',').parse::<f64>() {
        _ if line.starts_with('$') => String::new(),
        Ok(number) if line.contains('.') => format!("{number:.12e}\n"),
        _ => format!("{line}\n"),
    };
    String::from_utf8_lossy(&reply).lines().map(rounded).collect::<String>().into_bytes()
}

/// The value that a reply to DUMP has, with its elements in an order of their own and without what tells of the moment.
fn value_of_dump(reply: Vec<u8>) -> Vec<u8> {
    let Some(payload) = value::read_bulk(&reply) else { return reply };
    let bounds = Bounds { string_bytes: usize::MAX, collection_bytes: usize::MAX };
    let value = match basalt_rdb::read(payload, bounds).expect("a payload can be read") {
        Value::SortedSet(members, scores) => {
            let mut pairs: Vec<(f64, &[u8])> = scores.into_iter().zip(members.iter()).collect();
            pairs.sort_by(|one, other| one.partial_cmp(other).expect("a score is a number"));
            return format!("{pairs:?}").into_bytes();
        }
        Value::Hash(pairs) => {
            let pairs: BTreeMap<_, _> = pairs.iter().step_by(2).zip(pairs.iter().skip(1).step_by(2)).collect();
            return format!("{pairs:?}").into_bytes();
        }
        Value::Set(members) => return format!("{:?}", members.iter().collect::<BTreeSet<_>>()).into_bytes(),
        Value::Stream(mut stream) => {
            for group in &mut stream.groups {
                group.consumers.iter_mut().for_each(|consumer| consumer.seen_ms = 0);
                group.pending.iter_mut().for_each(|pending| pending.delivered_ms = 0);
            }
            Value::Stream(stream)
        }
        other => other,
    };
    format!("{value:?}").into_bytes()
}

/// The reply to XPENDING or XINFO without what tells of the moment, or of how Redis keeps a stream.
fn without_times(words: &[String], reply: Vec<u8>) -> Vec<u8> {
    const LARGE: i64 = 1_000_000_000_000;
    let rounded = |number: i64| if number >= LARGE { LARGE } else { number / 1_000_000 * 1_000_000 };
    let pending = value::split_elements(&reply).ok().filter(|_| words[0] == "xpending" && words.len() > 4);
    if let Some(entries) = pending {
        return entries
            .flat_map(|entry| {
                let parts: Vec<&[u8]> = value::split_elements(entry).unwrap().collect();
                let idle = rounded(value::read_integer(parts[2]).unwrap());
                [parts[0], parts[1], idle.to_string().as_bytes(), parts[3]].concat()
            })
            .collect();
    }
    let (mut kept, mut before): (Vec<u8>, &[u8]) = (Vec::new(), b"");
    for line in reply.split_inclusive(|&byte| byte == b'\n') {
        match value::read_integer(line) {
            Some(number) if before == b"idle\r\n" => kept.extend(rounded(number).to_string().bytes()),
            Some(_) if [&b"radix-tree-keys\r\n"[..], b"radix-tree-nodes\r\n", b"seen-time\r\n"].contains(&before) => {}
            Some(number) if number >= LARGE => kept.extend(b"a time"),
            _ => kept.extend(line),
        }
        before = line;
    }
    kept
}

/// The reply to a scan of a collection with its elements sorted.
fn sorted_scan(name: &str, reply: Vec<u8>) -> Vec<u8> {
    let Ok(parts) = value::split_elements(&reply) else { return reply };
    let parts: Vec<&[u8]> = parts.collect();
    let elements = sorted_groups(if name == "sscan" { 1 } else { 2 }, parts[1].to_vec());
    [b"*2\r\n", parts[0], &elements].concat()
}

/// An array whose elements, in groups of `pair`, are sorted.
fn sorted_groups(pair: usize, reply: Vec<u8>) -> Vec<u8> {
    let Ok(elements) = value::split_elements(&reply) else { return reply };
    let elements: Vec<&[u8]> = elements.collect();
    let mut groups: Vec<&[&[u8]]> = elements.chunks(pair).collect();
    groups.sort();
    let header = reply.iter().position(|&byte| byte == b'\n').map_or(0, |at| at + 1);
    [&reply[..header], &groups.concat().concat()].concat()
}

pub(super) fn number_of_environment(name: &str, default: u64) -> u64 {
    std::env::var(name).map_or(default, |text| text.parse().unwrap_or_else(|_| panic!("{name} is a number")))
}

#[test]
fn replies_are_those_of_redis() {
    compare_with_redis(&RandomCommands::new);
}

#[test]
fn replies_of_hyperloglogs_are_those_of_redis() {
    compare_with_redis(&|seed| RandomCommands::only(seed, |template| template.contains("$sketch")));
}

#[test]
fn replies_of_streams_are_those_of_redis() {
    compare_with_redis(&|seed| RandomCommands::only(seed, of_streams));
}

#[test]
fn replies_of_sort_are_those_of_redis() {
    compare_with_redis(&RandomCommands::of_sort);
}

#[test]
fn replies_on_positions_are_those_of_redis() {
    compare_with_redis(&|seed| RandomCommands::only(seed, of_positions));
}

/// Keys that random commands have made are dumped by either server and restored by the other.
#[test]
fn payloads_are_those_of_redis() {
    let seed = number_of_environment("BASALT_TEST_SEED", 1);
    println!("seed {seed}");
    let server = RedisServer::start();
    let mut redis = Redis::connect(&server, Protocol::Resp2);
    let (mut same, mut restored) = (0, BTreeMap::new());
    for mut commands in [RandomCommands::new(seed), RandomCommands::only(seed, of_streams)] {
        redis.run(&[b"FLUSHALL".to_vec()]);
        let mut shard = Shard::new();
        for _ in 0..RESTORED_COMMAND_COUNT {
            let line = commands.draw();
            let request: Vec<Vec<u8>> = line.iter().map(|word| word.clone().into_bytes()).collect();
            redis.run_without_waiting(&request);
            shard.run(Protocol::Resp2, &line);
            let key = &line[key_of(&line)];
            // What is a distance may differ in its last digit, what is counted is noted in Redis' string.
            if key.starts_with(['y', 'p']) {
                continue;
            }
            let words = |words: &[&[u8]]| words.iter().map(|word| word.to_vec()).collect::<Vec<_>>();
            let dump = words(&[b"DUMP", key.as_bytes()]);
            let (there, here) = (redis.run(&dump), shard.run(Protocol::Resp2, &dump));
            let value = value_of_dump(here.clone());
            assert_eq!(
                value_of_dump(there.clone()).escape_ascii().to_string(),
                value.escape_ascii().to_string(),
                "{line:?}"
            );
            let (Some(of_redis), Some(own)) = (value::read_bulk(&there), value::read_bulk(&here)) else { continue };
            same += usize::from(of_redis == own);
            let restore = |payload| words(&[b"RESTORE", b"restored", b"0", payload, b"REPLACE"]);
            assert_eq!(redis.run(&restore(own)), b"+OK\r\n", "{line:?}");
            assert_eq!(shard.run(Protocol::Resp2, &restore(of_redis)), b"+OK\r\n", "{line:?}");
            let dump = words(&[b"DUMP", b"restored"]);
            for dumped in [redis.run(&dump), shard.run(Protocol::Resp2, &dump)] {
                assert_eq!(
                    value_of_dump(dumped).escape_ascii().to_string(),
                    value.escape_ascii().to_string(),
                    "{line:?}"
                );
            }
            *restored.entry(own[0]).or_insert(0) += 1;
        }
    }
    // A string, a set, a hash and a sorted set in one piece, a list, a stream.
    for encoding in [0, 2, 16, 17, 18, 19] {
        let count = restored.get(&encoding).copied().unwrap_or(0);
        assert!(count > 100, "only {count} of the encoding {encoding}: {restored:?}");
    }
    assert!(same > 2000, "only {same} payloads were equal: {restored:?}");
}

fn swap_line([first, second]: [u8; 2]) -> [String; 3] {
    ["SWAPDB".to_owned(), first.to_string(), second.to_string()]
}

fn bytes_of(line: &[String]) -> Vec<Vec<u8>> {
    line.iter().map(|word| word.clone().into_bytes()).collect()
}

fn compare_with_redis(begin: &dyn Fn(u64) -> RandomCommands) {
    let seed = number_of_environment("BASALT_TEST_SEED", 1);
    println!("seed {seed}");
    let server = RedisServer::start();
    for protocol in [Protocol::Resp2, Protocol::Resp3] {
        let mut redis = Redis::connect(&server, protocol);
        redis.run(&[b"FLUSHALL".to_vec()]);
        let (mut shard, mut commands) = (Shard::new(), begin(seed));
        let mut failures = 0;
        for _ in 0..number_of_environment("BASALT_TEST_COMMANDS", COMMAND_COUNT) {
            if let Some((swapped, db)) = commands.databases() {
                let swap = swap_line(swapped);
                assert_eq!(redis.run(&bytes_of(&swap)), shard.run(protocol, &swap));
                assert_eq!(redis.run(&bytes_of(&["SELECT".to_owned(), db.to_string()])), b"+OK\r\n");
                shard.db = db;
            }
            let line = commands.draw();
            if commands.one_in(300) {
                redis.run(&[b"DEL".to_vec(), line[key_of(&line)].clone().into_bytes()]);
                shard.delete(line[key_of(&line)].as_bytes());
            }
            let mut request = bytes_of(&line);
            if line[0] == "pfcount" && line.len() == 2 {
                // Of one key Redis notes in its string what was counted.
                request.push(request[1].clone());
            }
            let expected = sorted(&line, protocol, redis.run_without_waiting(&request));
            let reply = sorted(&line, protocol, shard.run(protocol, &line));
            if reply != expected {
                println!("{line:?}\n  redis  {}\n  basalt {}", expected.escape_ascii(), reply.escape_ascii());
                failures += 1;
                assert!(failures < 10, "too many differences");
                redis.run(&[b"DEL".to_vec(), request[key_of(&line)].clone()]);
                shard.delete(&request[key_of(&line)]);
            }
        }
        assert_eq!(failures, 0);
    }
}

#[test]
fn a_store_that_freezes_and_is_opened_anew_all_the_time_answers_as_plain_rows() {
    for commands in [
        RandomCommands::with_newer(7),
        RandomCommands::only(7, of_streams),
        RandomCommands::only(7, of_positions),
        RandomCommands::of_sort(7),
    ] {
        compare_with_a_store(commands);
    }
}

fn compare_with_a_store(mut commands: RandomCommands) {
    let dir = tempfile::tempdir().unwrap();
    let open = || Store::open(dir.path(), &StoreOptions::new(ROW_RULES, 1 << 20, BlockCache::new(1 << 20))).unwrap();
    let (mut plain, mut stored) = (Shard::new(), Shard::over(open()));
    for step in 0..STORE_COMMAND_COUNT {
        if let Some((swapped, db)) = commands.databases() {
            let swap = swap_line(swapped);
            assert_eq!(plain.run(Protocol::Resp3, &swap), stored.run(Protocol::Resp3, &swap));
            (plain.db, stored.db) = (db, db);
        }
        let line = commands.draw();
        let (expected, reply) = (plain.run(Protocol::Resp3, &line), stored.run(Protocol::Resp3, &line));
        assert_eq!(reply.escape_ascii().to_string(), expected.escape_ascii().to_string(), "{step}: {line:?}");
        if commands.one_in(300) {
            plain.delete(line[key_of(&line)].as_bytes());
            stored.delete(line[key_of(&line)].as_bytes());
        }
        stored.rows.set_applied(step as u64 + 1, b"", None);
        let is_opened_anew = commands.one_in(COMMANDS_PER_OPENING);
        if is_opened_anew || commands.one_in(COMMANDS_PER_GENERATION) {
            let done = stored.rows.freeze().expect("there is something to write").run();
            drop(stored.rows.finish(done).unwrap());
        }
        if is_opened_anew {
            stored = stored.reopened(open);
        }
    }
}
