//! MULTI, EXEC and WATCH: as in Redis, as one over all cores of a node, whole after a crash, and bounded.

use std::io::Read as _;
use std::net::SocketAddr;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::thread;

use basalt_tests::{Client, DEADLINE, Node, NodeOptions, RedisServer, Reply, eventually};
use rand::rngs::SmallRng;
use rand::{RngExt as _, SeedableRng as _};

use crate::alone::Alone;

/// Lines of one connection each, of which the last is not the end of the world.
const SCRIPTS: &[&[&str]] = &[
    &["EXEC", "DISCARD", "MULTI", "MULTI", "WATCH a", "SET a 1", "EXEC", "DISCARD"],
    &["MULTI", "FOO", "SET a 1", "EXEC", "EXEC", "GET a"],
    &["MULTI", "GET", "EXEC", "MULTI", "CLIENT FOO", "EXEC", "MULTI", "SHUTDOWN", "EXEC"],
    &["MULTI", "SET a b c d", "LPUSH a 1", "GET a", "EXEC"],
    &["MULTI", "SET a 1", "INCR a", "LPUSH a 1", "APPEND a x", "INCR a", "GET a", "DEL a", "EXISTS a", "EXEC", "GET a"],
    &["MULTI", "SELECT 3", "SET a 1", "SELECT 99", "GET a", "EXEC", "GET a", "SELECT 0", "GET a"],
    &["MULTI", "HELLO 9", "GET nothing", "HGETALL nothing", "EXEC"],
    &["MULTI", "RESET", "EXEC"],
    &["MULTI", "CLIENT REPLY OFF", "SET a 1", "CLIENT REPLY ON", "GET a", "EXEC", "GET a"],
    &["MULTI", "CLIENT REPLY SKIP", "GET a", "EXEC", "GET a", "GET a"],
    &["CLIENT REPLY OFF", "MULTI", "GET a", "CLIENT REPLY ON", "GET a", "EXEC", "GET a"],
    &["CLIENT REPLY SKIP", "MULTI", "GET a", "EXEC"],
    &["MULTI", "SET a 1", "CLIENT REPLY SKIP", "EXEC", "GET a", "GET a"],
    &["WATCH a", "SET a 2", "MULTI", "GET a", "EXEC", "MULTI", "EXEC"],
    &["WATCH a", "SET a 2", "MULTI", "SET a 3", "EXEC", "GET a", "MULTI", "SET a 3", "EXEC"],
    &["WATCH a", "SET a 2", "MULTI", "PING", "EXEC"],
    &["WATCH a", "MULTI", "GET a", "EXEC", "WATCH a", "MULTI", "SET a 3", "EXEC", "WATCH a", "MULTI", "PING", "EXEC"],
    &["WATCH a", "MULTI", "EXEC", "WATCH a", "SET a 2", "MULTI", "FOO", "EXEC", "MULTI", "EXEC"],
    &["WATCH a", "SET a 2", "UNWATCH", "MULTI", "GET a", "EXEC", "WATCH a", "SET a 2", "MULTI", "UNWATCH", "EXEC"],
    &[
        "WATCH a", "SET a 2", "MULTI", "DISCARD", "MULTI", "GET a", "EXEC", "WATCH a", "RESET", "SET a 1", "MULTI",
        "EXEC",
    ],
    &["WATCH nothing", "DEL nothing", "MULTI", "EXEC", "WATCH nothing", "FLUSHALL", "MULTI", "EXEC"],
    &["SET a 1", "WATCH a", "FLUSHALL", "MULTI", "EXEC", "SET a 1", "WATCH a", "SELECT 1", "FLUSHDB", "MULTI", "EXEC"],
    &[
        "SELECT 1", "WATCH a", "SELECT 0", "SET a 1", "MULTI", "EXEC", "SELECT 1", "WATCH a", "SET a 1", "SELECT 0",
        "MULTI", "EXEC",
    ],
    &["MULTI a", "EXEC a", "MULTI", "EXEC a", "EXEC", "DISCARD x", "WATCH", "UNWATCH x", "MULTI", "DISCARD x", "EXEC"],
    &["MULTI", "PUBLISH x y", "CONFIG GET maxmemory", "CLIENT SETNAME me", "CLIENT GETNAME", "ECHO x", "EXEC"],
    &["MULTI", "CLIENT KILL ID 999999", "COMMAND GETKEYS GET a", "CLIENT LIST ID x", "EXEC"],
    &["MULTI", "SUBSCRIBE x", "PSUBSCRIBE y*", "UNSUBSCRIBE x", "GET a", "PUNSUBSCRIBE", "PING", "EXEC", "PING"],
    &["SET k v", "WATCH k", "EXPIRE k 100", "MULTI", "PING", "EXEC", "WATCH k", "PERSIST k", "MULTI", "EXEC"],
    &["SET k v", "WATCH k", "PERSIST k", "MULTI", "PING", "EXEC", "WATCH k", "RENAME k l", "MULTI", "EXEC"],
    &[
        "WATCH k",
        "SETNX k 1",
        "MULTI",
        "EXEC",
        "WATCH k",
        "SETNX k 1",
        "MULTI",
        "EXEC",
        "WATCH k",
        "COPY k l",
        "MULTI",
        "EXEC",
    ],
    &[
        "SADD s a", "WATCH s", "SADD s a", "MULTI", "EXEC", "WATCH s", "SADD s b", "MULTI", "EXEC", "WATCH s",
        "SREM s c", "MULTI", "EXEC",
    ],
    &["HSET h f 1", "WATCH h", "HSET h f 2", "MULTI", "EXEC", "WATCH h", "HGET h f", "MULTI", "HGETALL h", "EXEC"],
    &[
        "RPUSH l a b c",
        "WATCH l",
        "LSET l 1 x",
        "MULTI",
        "EXEC",
        "WATCH l",
        "MULTI",
        "LPOP l",
        "RPOP l",
        "LRANGE l 0 -1",
        "EXEC",
    ],
    &["ZADD z 1 a", "WATCH z", "ZADD z 2 a", "MULTI", "EXEC", "WATCH z", "MULTI", "ZRANGE z 0 -1 WITHSCORES", "EXEC"],
    &[
        "MULTI",
        "RPUSH q 1 2 3",
        "LMOVE q p LEFT RIGHT",
        "RENAME p q",
        "LRANGE q 0 -1",
        "XADD x 1-1 f v",
        "XLEN x",
        "EXEC",
    ],
    &["MULTI", "FLUSHALL", "DBSIZE", "SET a 1", "DBSIZE", "RANDOMKEY", "KEYS *", "SCAN 0", "OBJECT ENCODING a", "EXEC"],
    &["MULTI", "CLIENT NO-EVICT on", "CLIENT NO-EVICT x", "CLIENT REPLY x", "OBJECT", "EXEC"],
];

/// Everything that a connection is sent for `script` in one go, up to what an ECHO at its end says.
fn bytes_of(address: SocketAddr, protocol: &str, script: &[&str]) -> String {
    let mut client = Client::connect(address).expect("the server accepts");
    client.ask("FLUSHALL");
    let _ = client.ask(&format!("HELLO {protocol}"));
    let mut sent = Vec::new();
    for line in script.iter().chain(&["ECHO the-end"]) {
        Client::encode(&mut sent, line.split(' '));
    }
    client.send(&sent).expect("the server reads");
    let (mut bytes, mut byte) = (Vec::new(), [0]);
    while !bytes.ends_with(b"the-end\r\n") {
        client.stream().read_exact(&mut byte).unwrap_or_else(|error| panic!("{script:?}: {error}"));
        bytes.push(byte[0]);
    }
    String::from_utf8_lossy(&bytes).into_owned()
}

#[test]
fn scripts_are_answered_as_by_redis() {
    let redis = RedisServer::start();
    for cores in ["1", "2"] {
        let alone = Alone::new(|options| options.set("--shards", "1").set("--cores", cores));
        for protocol in ["2", "3"] {
            for script in SCRIPTS {
                let [expected, found] =
                    [redis.address(), alone.node.address()].map(|address| bytes_of(address, protocol, script));
                assert_eq!(found, expected, "RESP{protocol}, {cores} cores: {script:?}");
            }
        }
    }
}

/// A random command on one of a few keys, which begin with `tag`.
fn command(random: &mut SmallRng, tag: &str) -> String {
    let mut key = || format!("{tag}{}", random.random_range(0..6));
    let (a, b) = (key(), key());
    let number = random.random_range(0..5);
    match random.random_range(0..24) {
        0..3 => format!("SET {a} {number}"),
        3..5 => format!("INCRBY {a} {number}"),
        5 => format!("APPEND {a} {number}"),
        6 => format!("SETNX {a} {number}"),
        7 => format!("DEL {a} {b}"),
        8..10 => format!("RPUSH {a} {number} x"),
        10 => format!("LPOP {a}"),
        11 => format!("LRANGE {a} 0 -1"),
        12..14 => format!("SADD {a} {number}"),
        14 => format!("SREM {a} {number} 1"),
        15 => format!("HSET {a} f{number} {number}"),
        16 => format!("HGET {a} f{number}"),
        17 => format!("ZADD {a} {number} m{number}"),
        18 => format!("ZRANGE {a} 0 -1 WITHSCORES"),
        19 => format!("RENAME {a} {b}"),
        20 => format!("COPY {a} {b}"),
        21 => format!("TYPE {a}"),
        22 => format!("EXPIRE {a} 1000"),
        _ => format!("GET {a}"),
    }
}

#[test]
fn random_transactions_are_answered_as_by_redis() {
    compare_random_transactions("{t}");
}

#[test]
fn random_transactions_over_several_shards_are_answered_as_by_redis() {
    compare_random_transactions("");
}

/// Compares transactions on keys that begin with `tag`.
fn compare_random_transactions(tag: &str) {
    let redis = RedisServer::start();
    let alone = Alone::new(|options| options.set("--shards", "3").set("--cores", "2").set("--memtable-bytes", "256kb"));
    for (protocol, seed) in [("2", 1), ("3", 2)] {
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
        for step in 0..6000 {
            let client = random.random_range(0..pairs.len());
            let line = match random.random_range(0..14) {
                0 => "MULTI".to_owned(),
                1..3 => "EXEC".to_owned(),
                3..5 => format!("WATCH {tag}{}", random.random_range(0..6)),
                5 if random.random_range(0..4) == 0 => "DISCARD".to_owned(),
                6 if random.random_range(0..4) == 0 => "NOSUCH".to_owned(),
                _ => command(&mut random, tag),
            };
            let [expected, found] = pairs[client].each_mut().map(|client| client.ask(&line));
            assert_eq!(found, expected, "{step}: {line} of client {client}");
            executed += usize::from(line == "EXEC" && matches!(found, Reply::Array(_)));
            refused += usize::from(line == "EXEC" && found == Reply::Null);
        }
        assert!(executed > 50 && refused > 20, "{executed} executed, {refused} refused");
        for [redis, basalt] in &mut pairs {
            redis.ask("FLUSHALL");
            basalt.ask("FLUSHALL");
        }
    }
}

#[test]
fn what_needs_one_shard_is_refused_by_name_and_nothing_is_executed() {
    let alone = Alone::new(|options| options.set("--shards", "4"));
    let mut client = alone.node.client();
    for (lines, expected) in [
        (&["MULTI", "SET a 1", "SCAN 0"][..], "CROSSSLOT 'scan' is not executed over several shards"),
        (&["MULTI", "SET a 1", "XREAD STREAMS c d 0 0"], "CROSSSLOT Keys in request don't hash to the same slot, give"),
        (&["MULTI", "SET a 1", "RENAME a b", "DBSIZE"], "CROSSSLOT 'dbsize' concerns all shards of this node"),
    ] {
        lines.iter().for_each(|line| drop(client.ask(line)));
        let reply = client.ask("EXEC");
        assert!(reply.is_error(expected), "{lines:?}: {reply:?}");
        assert_eq!(client.ask("EXEC"), Reply::Error("ERR EXEC without MULTI".into()));
        assert_eq!(client.ask("EXISTS a b"), Reply::Integer(0));
    }
    for lines in [
        &["MULTI", "SET a 1", "SET b 1", "ECHO x", "DBSIZE", "KEYS nothing"][..],
        &["WATCH a", "MULTI", "SET b 1"],
        &["WATCH a b", "MULTI", "SET a 1", "PING"],
        &["WATCH a b c d", "MULTI", "PING"],
        &["WATCH a b c d", "MULTI"],
        &["MULTI", "SET {t}a 1", "MSET {t}b 2 {t}c 3", "ECHO x"],
        &["WATCH {t}d {t}e", "MULTI", "PING"],
    ] {
        lines.iter().for_each(|line| drop(client.ask(line)));
        assert_eq!(
            client.ask("EXEC").elements().len(),
            lines.iter().rev().take_while(|line| **line != "MULTI").count(),
            "{lines:?}"
        );
        assert_eq!(client.ask("MSET a 1 b 1 c 1 d 1"), Reply::ok(), "{lines:?}: its keys are held no more");
    }
}

/// Adds to counters by reading them first, and says how often that went well.
fn add_watching(node: &Node, seed: u64, rounds: u32) -> u64 {
    let (mut client, mut random, mut done) = (node.client(), SmallRng::seed_from_u64(seed), 0);
    for _ in 0..rounds {
        let key = format!("counter:{}", random.random_range(0..8));
        client.ask(&format!("WATCH {key}"));
        let value: u64 = match client.ask(&format!("GET {key}")) {
            Reply::Null => 0,
            value => value.text().parse().expect("it is a number"),
        };
        let replies = client.pipeline([
            vec!["MULTI".to_owned()],
            vec!["SET".to_owned(), key.clone(), (value + 1).to_string()],
            vec!["GET".to_owned(), key],
            vec!["EXEC".to_owned()],
        ]);
        match &replies[3] {
            Reply::Null => {}
            exec => {
                assert_eq!(*exec, Reply::Array(vec![Reply::ok(), Reply::bulk((value + 1).to_string())]));
                done += 1;
            }
        }
    }
    done
}

#[test]
fn clients_of_all_cores_add_to_what_they_watch_and_nothing_is_lost() {
    let alone = Alone::new(|options| options.set("--shards", "4").set("--cores", "2"));
    let (done, added, goes_on) = (AtomicU64::new(0), AtomicU64::new(0), AtomicBool::new(true));
    thread::scope(|scope| {
        let clients: Vec<_> = (0..8)
            .map(|seed| {
                let (alone, done) = (&alone, &done);
                scope.spawn(move || done.fetch_add(add_watching(&alone.node, seed, 300), Ordering::Relaxed))
            })
            .collect();
        scope.spawn(|| {
            let mut client = alone.node.client();
            while goes_on.load(Ordering::Relaxed) {
                for number in 0..8 {
                    client.ask(&format!("INCR counter:{number}"));
                    added.fetch_add(1, Ordering::Relaxed);
                }
            }
        });
        for client in clients {
            client.join().expect("it ends");
        }
        goes_on.store(false, Ordering::Relaxed);
    });
    let mut client = alone.node.client();
    let counters = (0..8).map(|number| client.ask(&format!("GET counter:{number}")).text().parse::<u64>().unwrap());
    let (sum, done, added) = (counters.sum::<u64>(), done.load(Ordering::Relaxed), added.load(Ordering::Relaxed));
    assert_eq!(sum, done + added);
    assert!(done > 0, "{added} were added");
    eventually("nothing is watched any more", DEADLINE, || match client.ask("INFO clients").text() {
        info if info.contains("watching_clients:0") && info.contains("total_watched_keys:0") => Ok(()),
        info => Err(info),
    });
}

/// Moves money between accounts of one bank until the node is gone. The number of transfers that were acknowledged.
fn transfer(node: &Node, bank: usize, seed: u64, acknowledged: &AtomicU64) {
    let (mut client, mut random) = (node.client(), SmallRng::seed_from_u64(seed));
    loop {
        let [from, to] = [(); 2].map(|()| random.random_range(0..5));
        let amount = random.random_range(1..100);
        let lines = [
            "MULTI".to_owned(),
            format!("DECRBY {{bank:{bank}}}:{from} {amount}"),
            format!("RPUSH {{bank:{bank}}}:book {from}-{to}-{amount}-{}", "x".repeat(200)),
            format!("INCRBY {{bank:{bank}}}:{to} {amount}"),
            "EXEC".to_owned(),
        ];
        let Ok(replies) = client.try_pipeline(lines.iter().map(|line| line.split(' '))) else { return };
        match &replies[4] {
            Reply::Array(replies) => {
                assert_eq!(replies.len(), 3);
                acknowledged.fetch_add(1, Ordering::Relaxed);
            }
            reply => assert!(reply.is_error("BUSY") || reply.is_error("UNCERTAIN"), "{reply:?}"),
        }
    }
}

const BANKS: usize = 6;

/// Looks that no bank has more or less money than was put into it, in a transaction of reads and in its book.
fn audit(node: &Node, acknowledged: &[AtomicU64]) {
    let mut client = node.client();
    for (bank, acknowledged) in acknowledged.iter().enumerate() {
        client.ask("MULTI");
        for account in 0..5 {
            client.ask(&format!("GET {{bank:{bank}}}:{account}"));
        }
        client.ask(&format!("LRANGE {{bank:{bank}}}:book 0 -1"));
        let replies = client.ask("EXEC");
        let mut accounts: Vec<i64> = replies.elements()[..5]
            .iter()
            .map(|reply| if *reply == Reply::Null { 0 } else { reply.text().parse().expect("it is a number") })
            .collect();
        assert_eq!(accounts.iter().sum::<i64>(), 0, "bank {bank}: {accounts:?}");
        let book = replies.elements()[5].elements();
        for line in book {
            let parts: Vec<i64> =
                line.text().split('-').take(3).map(|part| part.parse().expect("it is a number")).collect();
            accounts[parts[0] as usize] += parts[2];
            accounts[parts[1] as usize] -= parts[2];
        }
        assert_eq!(accounts, [0; 5], "bank {bank} has another book");
        let acknowledged = acknowledged.load(Ordering::Relaxed);
        assert!(book.len() as u64 >= acknowledged, "{} of {acknowledged} transfers are there", book.len());
    }
}

#[test]
fn transactions_are_whole_after_kill_9() {
    let temporary = tempfile::tempdir().expect("a temporary directory");
    let options = NodeOptions::new(temporary.path().join("data"))
        .set("--shards", "3")
        .set("--cores", "2")
        .set("--memtable-bytes", "256kb");
    let acknowledged: Vec<AtomicU64> = (0..BANKS).map(|_| AtomicU64::new(0)).collect();
    for cycle in 0..6 {
        let mut node = options.start();
        audit(&node, &acknowledged);
        let before: u64 = acknowledged.iter().map(|count| count.load(Ordering::Relaxed)).sum();
        thread::scope(|scope| {
            for (bank, acknowledged) in acknowledged.iter().enumerate() {
                let node = &node;
                scope.spawn(move || transfer(node, bank, (cycle * BANKS + bank) as u64, acknowledged));
            }
            eventually("transfers are acknowledged", DEADLINE, || {
                let now: u64 = acknowledged.iter().map(|count| count.load(Ordering::Relaxed)).sum();
                if now < before + 400 { Err(now) } else { Ok(()) }
            });
            node.kill();
        });
        node.kill_9();
    }
    audit(&options.start(), &acknowledged);
}

#[test]
fn what_is_queued_and_watched_is_bounded_counted_and_goes_with_its_client() {
    let alone = Alone::new(|options| {
        options.set("--shards", "2").set("--client-query-buffer-limit", "2mb").set("--proto-max-bulk-len", "1mb")
    });
    let (mut client, mut other, mut watcher) = (alone.node.client(), alone.node.client(), alone.node.client());
    let value = "v".repeat(500_000);
    let figure = |client: &mut Client, section: &str, name: &str| {
        let info = client.ask(&format!("INFO {section}")).text();
        let value = info.lines().find_map(|line| line.strip_prefix(name)?.strip_prefix(':').map(str::to_owned));
        value.unwrap_or_else(|| panic!("{name} is not in {info}")).parse::<u64>().expect("it is a number")
    };
    client.ask("MULTI");
    for _ in 0..2 {
        assert_eq!(client.ask(&format!("SET k {value}")), Reply::Simple("QUEUED".into()));
    }
    // The other core's figures are those of its last tick.
    let mut becomes = |what: &str, section: &str, name: &str, is_so: &dyn Fn(u64) -> bool| {
        eventually(what, DEADLINE, || match figure(&mut watcher, section, name) {
            value if is_so(value) => Ok(()),
            value => Err(value),
        });
    };
    becomes("what is queued counts", "memory", "memory_clients", &|bytes| bytes >= 1_000_000);
    let list = other.ask("CLIENT LIST").text();
    assert!(list.contains(" flags=x ") && list.contains(" multi=2 "), "{list}");
    let refused =
        (0..5).map(|_| client.ask(&format!("SET k {value}"))).find(|reply| *reply != Reply::Simple("QUEUED".into()));
    assert!(refused.expect("it is bounded").is_error("ERR the transaction is discarded"));
    becomes("what was queued is let go", "memory", "memory_clients", &|bytes| bytes < 1_500_000);
    assert!(client.ask("EXEC").is_error("EXECABORT"));

    let name = "n".repeat(100_000);
    let watched = (0..).take_while(|number| client.ask(&format!("WATCH {name}{number}")) == Reply::ok()).count();
    assert!((2..20).contains(&watched), "{watched}");
    becomes("its keys are counted", "clients", "total_watched_keys", &|count| count == watched as u64);
    becomes("it is counted", "clients", "watching_clients", &|count| count == 1);
    let list = other.ask("CLIENT LIST").text();
    assert!(list.contains(&format!(" watch={watched} ")), "{list}");
    drop(client);
    becomes("its watch goes with it", "clients", "total_watched_keys", &|count| count == 0);
}

#[test]
fn what_a_transaction_publishes_is_heard_when_it_is_done() {
    let alone = Alone::new(|options| options.set("--shards", "2").set("--cores", "2"));
    let (mut publisher, mut subscriber, mut reader) = (alone.node.client(), alone.node.client(), alone.node.client());
    subscriber.ask("SUBSCRIBE news");
    for round in 0..100 {
        let lines = ["MULTI".to_owned(), "PUBLISH news x".into(), format!("SET key {round}"), "EXEC".into()];
        publisher.pipeline(lines.iter().map(|line| line.split(' ')));
        let message = subscriber.read().expect("it is delivered");
        assert_eq!(message, Reply::bulks(["message", "news", "x"]));
        assert_eq!(reader.ask("GET key").text(), round.to_string(), "who hears of it finds it");
    }
    publisher.ask("WATCH key");
    reader.ask("SET key else");
    for line in ["MULTI", "PUBLISH news never", "SET key 1"] {
        publisher.ask(line);
    }
    assert_eq!(publisher.ask("EXEC"), Reply::Null);
    assert_eq!(publisher.ask("PUBLISH news last"), Reply::Integer(1));
    assert_eq!(subscriber.read().expect("it is delivered"), Reply::bulks(["message", "news", "last"]));
}
