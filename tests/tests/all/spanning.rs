//! Commands and transactions over several shards of a node: as in Redis, seen whole or not at all, and whole after a crash.

use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::thread;

use basalt_tests::{Client, DEADLINE, Node, NodeOptions, RedisServer, Reply, Survivors, eventually};
use rand::rngs::SmallRng;
use rand::{RngExt as _, SeedableRng as _};

use crate::alone::Alone;
use crate::forgetful::Forgetful;
use crate::load::cycles;

/// A reply whose order is nobody's promise, in order.
fn in_order(line: &str, reply: Reply) -> Reply {
    let name = line.split(' ').next().unwrap_or_default();
    let is_set = matches!(name, "SMEMBERS" | "SUNION" | "SINTER" | "SDIFF" | "HGETALL" | "KEYS");
    let sorted = |mut elements: Vec<Reply>| {
        elements.sort_by_key(|element| format!("{element:?}"));
        elements
    };
    match reply {
        Reply::Array(elements) if is_set => Reply::Array(sorted(elements)),
        Reply::Set(elements) => Reply::Set(sorted(elements)),
        reply => reply,
    }
}

/// A random command whose keys are in several shards, or one that fills keys or looks at them.
pub fn command(random: &mut SmallRng) -> String {
    let mut key = |kind: &str| format!("{kind}{}", random.random_range(0..7));
    let (s, s2, s3) = (key("s"), key("s"), key("s"));
    let (l, l2) = (key("l"), key("l"));
    let (z, z2, z3) = (key("z"), key("z"), key("z"));
    let (t, t2, t3) = (key("t"), key("t"), key("t"));
    let (any, other) = (key(["s", "l", "z", "t"][0]), key("t"));
    let number = random.random_range(0..6);
    let end = |random: &mut SmallRng| if random.random_range(0..2) == 0 { "LEFT" } else { "RIGHT" };
    match random.random_range(0..46) {
        0..3 => format!("SADD {s} {number} m{number}"),
        3..5 => format!("RPUSH {l} {number} x{number}"),
        5..7 => format!("ZADD {z} {number} m{number} {number} n"),
        7..9 => format!("SET {t} {number}"),
        9 => format!("APPEND {t} abc{number}"),
        10 => format!("EXPIRE {any} 1000"),
        11 => format!("MSET {t} {number} {t2} x {t3} {number}"),
        12 => format!("MSETNX {t} {number} {t2} x"),
        13 => format!("RENAME {t} {t2}"),
        14 => format!("RENAME {s} {t}"),
        15 => format!("RENAMENX {t} {t2}"),
        16 => format!("COPY {l} {l2}"),
        17 => format!("COPY {z} {z2} REPLACE"),
        18 => format!("SMOVE {s} {s2} {number}"),
        19 => format!("SMOVE {s} {t} {number}"),
        20 => format!("LMOVE {l} {l2} {} {}", end(random), end(random)),
        21 => format!("RPOPLPUSH {l} {l2}"),
        22 => format!("LMOVE {l} {t} LEFT LEFT"),
        23 => format!("LMPOP 3 {l} {l2} {t} LEFT COUNT 2"),
        24 => format!("ZMPOP 2 {z} {z2} MIN"),
        25 => format!("SUNION {s} {s2} {s3}"),
        26 => format!("SINTER {s} {s2}"),
        27 => format!("SDIFF {s} {s2} {t}"),
        28 => format!("SINTERCARD 2 {s} {s2}"),
        29 => format!("SUNIONSTORE {s} {s2} {s3}"),
        30 => format!("SDIFFSTORE {t} {s2} {s3}"),
        31 => format!("SINTERSTORE {s} {s2} {l}"),
        32 => format!("ZUNION 2 {z} {z2} WITHSCORES"),
        33 => format!("ZUNIONSTORE {z} 2 {z2} {z3} WEIGHTS 2 3"),
        34 => format!("ZINTERSTORE {t} 2 {z2} {z3}"),
        35 => format!("ZRANGESTORE {z} {z2} 0 1"),
        36 => format!("BITOP OR {t} {t2} {t3}"),
        37 => format!("LCS {t} {t2}"),
        38 => format!("MGET {t} {t2} {other}"),
        39 => format!("DEL {any} {t}"),
        40 => format!("LRANGE {l} 0 -1"),
        41 => format!("SMEMBERS {s}"),
        42 => format!("ZRANGE {z} 0 -1 WITHSCORES"),
        43 => format!("GET {t}"),
        44 => format!("TYPE {any}"),
        _ => format!("TTL {any}"),
    }
}

#[test]
fn commands_over_several_shards_are_answered_as_by_redis() {
    let redis = RedisServer::start();
    let alone = Alone::new(|options| options.set("--shards", "4").set("--cores", "2"));
    for (protocol, seed) in [("2", 3), ("3", 4)] {
        println!("seed {seed}");
        let mut random = SmallRng::seed_from_u64(seed);
        let mut clients = [redis.address(), alone.node.address()].map(|address| {
            let mut client = Client::connect(address).expect("the server accepts");
            let _ = client.ask(&format!("HELLO {protocol}"));
            client.ask("FLUSHALL");
            client
        });
        for step in 0..6000 {
            let line = command(&mut random);
            let [expected, found] = clients.each_mut().map(|client| in_order(&line, client.ask(&line)));
            assert_eq!(found, expected, "{step}: {line}");
        }
        let [mut redis, mut basalt] = clients;
        for kind in ["s", "l", "z", "t"] {
            for number in 0..7 {
                for look in ["TYPE", "SMEMBERS", "GET", "LLEN", "ZCARD"] {
                    let line = format!("{look} {kind}{number}");
                    assert_eq!(in_order(&line, basalt.ask(&line)), in_order(&line, redis.ask(&line)), "{line}");
                }
            }
        }
    }
}

#[test]
fn transactions_over_several_shards_are_answered_as_by_redis() {
    let redis = RedisServer::start();
    let alone = Alone::new(|options| options.set("--shards", "4").set("--cores", "2"));
    for (protocol, seed) in [("2", 5), ("3", 6)] {
        println!("seed {seed}");
        let mut random = SmallRng::seed_from_u64(seed);
        let connect = |address| {
            let mut client = Client::connect(address).expect("the server accepts");
            let _ = client.ask(&format!("HELLO {protocol}"));
            client
        };
        let addresses = [redis.address(), alone.node.address()];
        let mut pairs: Vec<[Client; 2]> = (0..3).map(|_| addresses.map(connect)).collect();
        let (mut executed, mut refused) = (0, 0);
        for step in 0..5000 {
            let client = random.random_range(0..pairs.len());
            let line = match random.random_range(0..16) {
                0..2 => "MULTI".to_owned(),
                2..4 => "EXEC".to_owned(),
                4 => format!("WATCH t{} s{}", random.random_range(0..7), random.random_range(0..7)),
                _ => loop {
                    let line = command(&mut random);
                    // Their order is nobody's promise, and they stand within others.
                    if !["SUNION ", "SINTER ", "SDIFF ", "SMEMBERS "].iter().any(|name| line.starts_with(name)) {
                        break line;
                    }
                },
            };
            let [expected, found] = pairs[client].each_mut().map(|client| client.ask(&line));
            assert_eq!(found, expected, "{step}: {line} of client {client}");
            executed += usize::from(line == "EXEC" && matches!(found, Reply::Array(_)));
            refused += usize::from(line == "EXEC" && found == Reply::Null);
        }
        assert!(executed > 50 && refused > 10, "{executed} executed, {refused} refused");
        for [redis, basalt] in &mut pairs {
            redis.ask("DISCARD");
            basalt.ask("DISCARD");
            redis.ask("FLUSHALL");
            basalt.ask("FLUSHALL");
        }
    }
}

#[test]
fn nobody_sees_half_of_what_is_executed_over_several_shards() {
    const ROUNDS: u32 = 400;
    let alone = Alone::new(|options| options.set("--shards", "4").set("--cores", "2"));
    let node = &alone.node;
    node.client().ask("MSET a 0 b 0 c 0 d 0 e 0 here 1");
    let (is_over, looks) = (AtomicBool::new(false), AtomicU64::new(0));
    thread::scope(|scope| {
        for _ in 0..2 {
            scope.spawn(|| {
                let mut client = node.client();
                while !is_over.load(Ordering::Relaxed) {
                    client.ask("MULTI");
                    client.ask("MGET a b c d e");
                    client.ask("EXISTS here there");
                    let reply = client.ask("EXEC");
                    let [values, count] = reply.elements() else { panic!("{reply:?}") };
                    let first = &values.elements()[0];
                    assert!(values.elements().iter().all(|value| value == first), "{values:?}");
                    assert_eq!(*count, Reply::Integer(1), "the key has one of its names");
                    looks.fetch_add(1, Ordering::Relaxed);
                }
            });
        }
        let writers: Vec<_> = (0..2)
            .map(|writer| {
                scope.spawn(move || {
                    let mut client = node.client();
                    for round in 1..=ROUNDS {
                        let value = 2 * round + writer;
                        let set = format!("MSET a {value} b {value} c {value} d {value} e {value}");
                        assert_eq!(client.ask(&set), Reply::ok());
                        let renamed = client.ask("RENAME here there");
                        assert!(renamed == Reply::ok() || renamed.is_error("ERR no such key"), "{renamed:?}");
                        let renamed = client.ask("RENAME there here");
                        assert!(renamed == Reply::ok() || renamed.is_error("ERR no such key"), "{renamed:?}");
                    }
                })
            })
            .collect();
        writers.into_iter().for_each(|writer| writer.join().expect("a writer ends well"));
        is_over.store(true, Ordering::Relaxed);
    });
    assert!(looks.load(Ordering::Relaxed) > 10, "{looks:?} looks");
    assert_nothing_is_left(node);
}

/// That no transaction holds anything any more.
pub(super) fn assert_nothing_is_left(node: &Node) {
    let mut client = node.client();
    eventually("nothing is held or left", DEADLINE, || {
        let info = client.ask("INFO stats").text();
        let is_none = |name: &str| info.contains(&format!("{name}:0\r\n"));
        if is_none("transactions_holding") && is_none("transactions_left") { Ok(()) } else { Err(info) }
    });
}

#[test]
fn a_watched_key_in_another_shard_stops_a_transaction() {
    let alone = Alone::new(|options| options.set("--shards", "4").set("--cores", "2"));
    let (mut client, mut other) = (alone.node.client(), alone.node.client());
    let keys = ["a", "b", "c", "d", "e", "f"];
    for watched in keys {
        for is_changed in [false, true] {
            client.ask(&format!("WATCH {watched} x"));
            if is_changed {
                other.ask(&format!("SET {watched} changed"));
            }
            client.ask("MULTI");
            keys.iter().for_each(|key| drop(client.ask(&format!("APPEND {key} 1"))));
            let reply = client.ask("EXEC");
            assert_eq!(reply == Reply::Null, is_changed, "{watched}: {reply:?}");
        }
    }
    assert_nothing_is_left(&alone.node);
}

#[test]
fn those_of_one_shard_come_to_their_turn_beside_those_over_several() {
    let alone = Alone::new(|options| options.set("--shards", "4").set("--cores", "2"));
    let node = &alone.node;
    let is_over = AtomicBool::new(false);
    thread::scope(|scope| {
        for writer in 0..8 {
            let is_over = &is_over;
            scope.spawn(move || {
                let mut client = node.client();
                while !is_over.load(Ordering::Relaxed) {
                    let set = format!("MSET a{writer} 1 b{writer} 1 c{writer} 1 d{writer} 1 e{writer} 1");
                    assert_eq!(client.ask(&set), Reply::ok());
                    client.ask("MULTI");
                    client.ask("MGET read other third fourth");
                    assert_eq!(client.ask("EXEC").elements().len(), 1);
                }
            });
        }
        let mut client = node.client();
        for round in 1..=20 {
            client.ask("WATCH own");
            client.ask("MULTI");
            client.ask("INCR own");
            assert_eq!(client.ask("EXEC"), Reply::Array(vec![Reply::Integer(round)]), "nobody else writes to it");
            assert_eq!(client.ask("SET read 1"), Reply::ok(), "those who read it take turns with it");
        }
        is_over.store(true, Ordering::Relaxed);
    });
    assert_nothing_is_left(node);
}

#[test]
fn a_client_that_waits_gets_what_comes_from_another_shard() {
    let alone = Alone::new(|options| options.set("--shards", "4").set("--cores", "2"));
    let (mut waiting, mut client) = (alone.node.client(), alone.node.client());
    for (from, to) in [("a", "b"), ("b", "a"), ("a", "c"), ("c", "a"), ("d", "b"), ("e", "d")] {
        let mut ask = Vec::new();
        Client::encode(&mut ask, ["BLPOP", to, "0"]);
        waiting.send(&ask).expect("the node reads");
        eventually("it waits", DEADLINE, || {
            let info = client.ask("INFO clients").text();
            if info.contains("blocked_clients:1\r\n") { Ok(()) } else { Err(info) }
        });
        client.ask(&format!("RPUSH {from} element"));
        assert_eq!(client.ask(&format!("LMOVE {from} {to} LEFT RIGHT")), Reply::bulk("element"));
        assert_eq!(waiting.read().expect("an answer"), Reply::bulks([to, "element"]));
    }
}

#[test]
fn a_transaction_over_several_shards_has_scripts() {
    let alone = Alone::new(|options| options.set("--shards", "4").set("--cores", "2"));
    let mut client = alone.node.client();
    let script = ["EVAL", "return redis.call('SET', KEYS[1], 'x')", "1", "a"];
    let keys = ["a", "b", "c", "d", "e", "f"];
    let mut lines: Vec<Vec<&str>> = vec![vec!["MULTI"]];
    lines.extend(keys.map(|key| vec!["SET", key, "1"]));
    lines.extend([script.to_vec(), vec!["EXEC"]]);
    let replies = client.try_pipeline(lines).expect("replies");
    assert_eq!(replies.last(), Some(&Reply::Array(vec![Reply::ok(); 7])));
    let values = client.ask("MGET a b c d e f");
    assert_eq!(values.elements(), ["x", "1", "1", "1", "1", "1"].map(Reply::bulk));
    client.ask("DEL a b c d e f");
    // So has one whose keys are in one shard, and the script of one waits for nobody that is not there.
    let lines = [vec!["MULTI"], vec!["SET", "{a}b", "1"], script.to_vec(), vec!["EXEC"]];
    let replies = client.try_pipeline(lines.to_vec()).expect("replies");
    assert_eq!(replies.last(), Some(&Reply::Array(vec![Reply::ok(), Reply::ok()])));
    assert_eq!(client.ask("MSET a 1 b 1 c 1 d 1 e 1 f 1"), Reply::ok());
    let replies = client.try_pipeline([script.to_vec()]).expect("replies");
    assert_eq!(replies, [Reply::ok()]);
    assert_nothing_is_left(&alone.node);
}

#[test]
fn what_its_user_may_not_do_any_more_is_left_out_of_a_transaction_over_several_shards() {
    let alone = Alone::new(|options| options.set("--shards", "4").set("--cores", "2"));
    let (mut admin, mut client) = (alone.node.client(), alone.node.client());
    assert_eq!(admin.ask("ACL SETUSER writer on nopass ~* +@all"), Reply::ok());
    assert_eq!(client.ask("AUTH writer any"), Reply::ok());
    client.ask("MULTI");
    let keys = ["a", "b", "c", "d", "e", "f"];
    keys.iter().for_each(|key| drop(client.ask(&format!("SET {key} 1"))));
    client.ask("INCRBY a 5");
    client.ask("APPEND b 2");
    assert_eq!(admin.ask("ACL SETUSER writer -incrby"), Reply::ok());
    let reply = client.ask("EXEC");
    let [set @ .., incremented, appended] = reply.elements() else { panic!("{reply:?}") };
    assert!(set.iter().all(|reply| *reply == Reply::ok()) && set.len() == keys.len(), "{reply:?}");
    assert!(incremented.is_error("NOPERM"), "{reply:?}");
    assert_eq!(*appended, Reply::Integer(2));
    assert_eq!(client.ask("MGET a b c"), Reply::bulks(["1", "12", "1"]));
    assert_eq!(admin.ask("ACL SETUSER writer resetkeys ~a ~b"), Reply::ok());
    assert!(client.ask("MSET a 2 b 2 c 2 d 2").is_error("NOPERM"));
    assert_eq!(admin.ask("MGET a b c d"), Reply::bulks(["1", "12", "1", "1"]));
    assert_nothing_is_left(&alone.node);
}

#[test]
fn who_waits_for_elements_gets_them_beside_transactions_that_hold_their_key() {
    const ROUNDS: usize = 30;
    let alone = Alone::new(|options| options.set("--shards", "4").set("--cores", "2"));
    let node = &alone.node;
    let is_over = AtomicBool::new(false);
    thread::scope(|scope| {
        for _ in 0..8 {
            let is_over = &is_over;
            scope.spawn(move || {
                let mut client = node.client();
                while !is_over.load(Ordering::Relaxed) {
                    client.ask("MULTI");
                    for line in ["LPUSH q x", "LTRIM q 0 9", "INCR a", "INCR b", "INCR c", "INCR d"] {
                        client.ask(line);
                    }
                    assert_eq!(client.ask("EXEC").elements().len(), 6);
                }
            });
        }
        let mut client = node.client();
        for _ in 0..ROUNDS {
            assert_eq!(client.ask("BLPOP q 0"), Reply::bulks(["q", "x"]));
        }
        is_over.store(true, Ordering::Relaxed);
    });
    assert_nothing_is_left(node);
}

#[test]
fn whoever_hangs_up_leaves_no_key_held() {
    let alone = Alone::new(|options| options.set("--shards", "4").set("--cores", "2"));
    for round in 0..200 {
        let mut client = alone.node.client();
        let mut sent = Vec::new();
        Client::encode(&mut sent, ["MSET", "a", "1", "b", "2", "c", "3", "d", &round.to_string()]);
        client.send(&sent).expect("the node reads");
        drop(client);
    }
    let mut client = alone.node.client();
    assert_eq!(client.ask("MSET a 1 b 1 c 1 d 1"), Reply::ok());
    assert_eq!(client.ask("MGET a b c d"), Reply::bulks(["1", "1", "1", "1"]));
    assert_nothing_is_left(&alone.node);
}

const ACCOUNTS: u32 = 16;
const EACH: i64 = 1000;

/// Moves money between accounts of several shards until the node is gone, and counts what was acknowledged.
fn transfer(mut client: Client, seed: u64, done: &AtomicU64) {
    let mut random = SmallRng::seed_from_u64(seed);
    loop {
        let (from, to) = (random.random_range(0..ACCOUNTS), random.random_range(0..ACCOUNTS));
        let amount = random.random_range(1..50);
        let lines = [
            "MULTI".to_owned(),
            format!("DECRBY account:{from} {amount}"),
            format!("INCRBY account:{to} {amount}"),
            "EXEC".to_owned(),
        ];
        let words = lines.iter().map(|line| line.split(' ').collect::<Vec<_>>());
        let Ok(replies) = client.try_pipeline(words) else { return };
        if matches!(replies.last(), Some(Reply::Array(_))) {
            done.fetch_add(1, Ordering::Relaxed);
        }
    }
}

/// Looks at all accounts at one moment.
fn sum(client: &mut Client) -> Option<i64> {
    let mut lines = vec![vec!["MULTI".to_owned()]];
    lines.extend((0..ACCOUNTS).map(|account| vec!["GET".to_owned(), format!("account:{account}")]));
    lines.push(vec!["EXEC".to_owned()]);
    let replies = client.try_pipeline(lines).ok()?;
    let Some(Reply::Array(values)) = replies.last() else { return None };
    Some(values.iter().map(|value| value.text().parse::<i64>().expect("a number")).sum())
}

/// Has money moved in a life of the node, which ends in the middle of that.
fn live(node: &mut Node, seed: u64) -> (u64, u64) {
    let (done, looks, is_killed) = (AtomicU64::new(0), AtomicU64::new(0), AtomicBool::new(false));
    thread::scope(|scope| {
        for number in 0..4 {
            let (client, done) = (node.client(), &done);
            scope.spawn(move || transfer(client, 10 * seed + number, done));
        }
        for _ in 0..2 {
            let (mut client, looks) = (node.client(), &looks);
            scope.spawn(move || {
                while let Some(sum) = sum(&mut client) {
                    assert_eq!(sum, EACH * i64::from(ACCOUNTS), "money comes from nowhere, and goes nowhere");
                    looks.fetch_add(1, Ordering::Relaxed);
                }
            });
        }
        let enough = 20 + seed % 200;
        eventually("money is moved", DEADLINE, || match done.load(Ordering::Relaxed) {
            count if count < enough => Err(count),
            _ => Ok(()),
        });
        node.kill();
        is_killed.store(true, Ordering::Relaxed);
    });
    node.kill_9();
    (done.into_inner(), looks.into_inner())
}

fn open_accounts(node: &Node) {
    let mut client = node.client();
    for account in 0..ACCOUNTS {
        assert_eq!(client.ask(&format!("SET account:{account} {EACH}")), Reply::ok());
    }
}

fn check_accounts(node: &Node) {
    // Parts that wait for their decision are settled first: until then their accounts cannot be read.
    assert_eq!(sum(&mut node.client()), Some(EACH * i64::from(ACCOUNTS)), "after a start");
    assert_nothing_is_left(node);
}

#[test]
fn no_money_is_lost_between_shards_when_the_node_is_killed() {
    let temporary = tempfile::tempdir().expect("a temporary directory");
    let options = NodeOptions::new(temporary.path().join("data"))
        .set("--shards", "4")
        .set("--cores", "2")
        .set("--memtable-bytes", "256kb");
    open_accounts(&options.start());
    let (mut done, mut looks) = (0, 0);
    for cycle in 0..3 * cycles() {
        let mut node = options.start();
        check_accounts(&node);
        let (moved, seen) = live(&mut node, cycle as u64);
        (done, looks) = (done + moved, looks + seen);
    }
    check_accounts(&options.start());
    println!("{done} transfers, {looks} looks");
}

#[test]
fn no_money_is_lost_between_shards_in_a_power_failure() {
    let Some(mut forgetful) = Forgetful::new(1 << 30) else { return };
    let options = NodeOptions::new(forgetful.dir()).set("--shards", "4").set("--cores", "2");
    open_accounts(&options.start());
    let mut random = SmallRng::seed_from_u64(7);
    for cycle in 0..2 * cycles() {
        let mut node = options.start();
        check_accounts(&node);
        live(&mut node, cycle as u64);
        let survivors = if cycle % 2 == 0 { Survivors::None } else { Survivors::Some };
        forgetful.disk.cut_power(survivors, &mut random);
    }
    check_accounts(&options.start());
}

/// Patterns of SORT lead to keys that nobody has carried along or holds.
#[test]
fn patterns_lead_to_no_keys_beside_those_of_a_transaction_over_several_shards() {
    let alone = Alone::new(|options| options.set("--cores", "2").set("--shards", "4"));
    let mut client = alone.node.client();
    let sources: Vec<String> = (0..16).map(|number| format!("source:{number}")).collect();
    for line in ["RPUSH {s}l 1 2", "MSET {s}w_1 2 {s}w_2 1 {s}n_1 one {s}n_2 two"] {
        assert!(!matches!(client.ask(line), Reply::Error(_)), "{line}");
    }
    for source in &sources {
        client.ask(&format!("SADD {source} {source}"));
    }
    let union = format!("SUNIONSTORE union {}", sources.join(" "));
    for sort in ["SORT {s}l BY {s}w_* GET {s}n_* STORE {s}t", "SORT_RO {s}l GET {s}n_*", "SORT {s}l STORE t1 BY nosort"]
    {
        for lines in [[&union, sort], [sort, &union]] {
            client.ask("MULTI");
            for line in lines {
                let queued = client.ask(line);
                assert!(
                    queued == Reply::Simple("QUEUED".into()) || queued.is_error("CROSSSLOT "),
                    "{line}: {queued:?}"
                );
            }
            let reply = client.ask("EXEC");
            // The last is in one shard, if chance will have it so.
            let is_in_one = sort.contains("nosort") && matches!(&reply, Reply::Array(replies) if replies.len() == 2);
            assert!(is_in_one || reply.is_error("CROSSSLOT ") || reply.is_error("EXECABORT "), "{lines:?}: {reply:?}");
        }
    }
    assert_eq!(client.ask("EXISTS {s}t"), Reply::Integer(0));
    assert_eq!(
        client.ask("SORT {s}l BY {s}w_* GET {s}n_*"),
        Reply::Array(vec![Reply::bulk("two"), Reply::bulk("one")])
    );
    assert_eq!(client.ask(&union), Reply::Integer(16));
}
