//! SWAPDB: as in Redis, seen in all shards of a node or in none, and so after a crash.

use std::collections::BTreeSet;
use std::panic::{AssertUnwindSafe, catch_unwind, resume_unwind};
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::thread;

use basalt_tests::{Client, DEADLINE, Node, NodeOptions, RedisServer, Reply, eventually};
use rand::rngs::SmallRng;
use rand::{RngExt as _, SeedableRng as _};

use crate::alone::Alone;
use crate::blocking::{compare, node, send, until_blocked};
use crate::key_events::{Subscriber, by_key};
use crate::load::cycles;
use crate::nodes::{addresses, free_ports, options_at, wait_for};
use crate::spanning::assert_nothing_is_left;

/// Shards of the nodes that are compared with Redis, and cores.
const NODES: [(&str, &str); 2] = [("1", "1"), ("4", "2")];

/// A second in the far future: deadlines that are said like this are the same on both servers.
const FAR: u64 = 5_000_000_000;

/// A random command on few keys of few databases.
fn command(random: &mut SmallRng) -> Vec<String> {
    let mut key = || format!("k{}", random.random_range(0..8));
    let (key, other) = (key(), key());
    let (db, db2) = (random.random_range(0..4), random.random_range(0..4));
    let number = random.random_range(0..9);
    let line = match random.random_range(0..40) {
        0..6 => format!("SWAPDB {db} {db2}"),
        6..10 => format!("SELECT {db}"),
        10..14 => format!("SET {key} {number}"),
        14 => format!("SET {key} {number} EXAT {}", FAR + number),
        15 => format!("RPUSH {key} a b {number}"),
        16 => format!("HSET {key} f {number}"),
        17 => format!("MOVE {key} {db}"),
        18 => format!("COPY {key} {other} DB {db} REPLACE"),
        19 => format!("RENAME {key} {other}"),
        20 => format!("MSET {key} {number} {other} x"),
        21 => format!("DEL {key} {other}"),
        22 => format!("EXPIREAT {key} {}", FAR + 10 + number),
        23 => format!("PERSIST {key}"),
        24 => format!("EXPIRETIME {key}"),
        25 => format!("TYPE {key}"),
        26 => "DBSIZE".to_owned(),
        27 if number == 0 => "FLUSHDB".to_owned(),
        28 if number == 0 => "FLUSHALL".to_owned(),
        29 => format!("SORT {key} ALPHA"),
        30 => format!("INCR {key}"),
        31 => format!("LRANGE {key} 0 -1"),
        32 => format!("HGETALL {key}"),
        33 => {
            let script = "redis.call('SELECT', ARGV[1]) local n = redis.call('GET', KEYS[1]) redis.call('SWAPDB', ARGV[1], ARGV[2]) \
                          redis.call('SET', KEYS[2], ARGV[3]) return {n, redis.call('EXISTS', KEYS[1], KEYS[2]), redis.call('DBSIZE')}";
            let words = ["EVAL", script, "2", &key, &other, &db.to_string(), &db2.to_string(), &number.to_string()];
            return words.map(str::to_owned).to_vec();
        }
        34 => "EVAL return(redis.pcall('SWAPDB',0,99)) 0".to_owned(),
        35 => format!(
            "EVAL redis.call('SWAPDB',{db},{db2})redis.call('SET',KEYS[1],'x')return(redis.call('HGET',KEYS[1],'f')) 1 {key}"
        ),
        _ => format!("GET {key}"),
    };
    line.split(' ').map(str::to_owned).collect()
}

fn sorted(mut reply: Reply) -> Reply {
    if let Reply::Array(elements) = &mut reply {
        elements.sort_by_key(|element| format!("{element:?}"));
    }
    reply
}

/// Compares all that both servers have.
fn compare_content(clients: &mut [Client; 2]) {
    for db in 0..5 {
        clients.iter_mut().for_each(|client| assert_eq!(client.ask(&format!("SELECT {db}")), Reply::ok()));
        for line in ["DBSIZE", "KEYS *"] {
            let [expected, found] = clients.each_mut().map(|client| sorted(client.ask(line)));
            assert_eq!(found, expected, "{line} in database {db}");
        }
        for key in 0..8 {
            for look in ["EXPIRETIME k", "TYPE k", "GET k", "LRANGE k 0 -1", "HGETALL k"] {
                let line = look.replace(" k", &format!(" k{key}"));
                let [expected, found] = clients.each_mut().map(|client| client.ask(&line));
                assert_eq!(found, expected, "{line} in database {db}");
            }
        }
    }
}

fn connect(address: std::net::SocketAddr, protocol: &str) -> Client {
    let mut client = Client::connect(address).expect("the server accepts");
    let _ = client.ask(&format!("HELLO {protocol}"));
    client
}

#[test]
fn commands_among_swaps_are_answered_as_by_redis() {
    let redis = RedisServer::start();
    for (shards, cores) in NODES {
        let alone = Alone::new(|options| options.set("--shards", shards).set("--cores", cores));
        for (protocol, seed) in [("2", 1), ("3", 2)] {
            println!("seed {seed}");
            let mut random = SmallRng::seed_from_u64(seed);
            let mut pairs: Vec<[Client; 2]> = (0..3)
                .map(|_| [redis.address(), alone.node.address()].map(|address| connect(address, protocol)))
                .collect();
            pairs[0].iter_mut().for_each(|client| assert_eq!(client.ask("FLUSHALL"), Reply::ok()));
            for step in 0..4000 {
                let client = random.random_range(0..pairs.len());
                let line = command(&mut random);
                let [expected, found] = pairs[client].each_mut().map(|client| client.call(&line));
                // The place in a script is told by its digest, and with other words.
                let is_same = found == expected || matches!((&found, &expected), (Reply::Error(_), Reply::Error(_)));
                assert!(
                    is_same,
                    "{shards} shards, {step}: {line:?} of client {client}: {found:?}, by Redis {expected:?}"
                );
            }
            compare_content(&mut pairs[0]);
        }
        assert_nothing_is_left(&alone.node);
    }
}

#[test]
fn transactions_among_swaps_are_executed_or_not_as_by_redis() {
    let redis = RedisServer::start();
    for (shards, cores) in NODES {
        let alone = Alone::new(|options| options.set("--shards", shards).set("--cores", cores));
        let mut random = SmallRng::seed_from_u64(3);
        let mut pairs: Vec<[Client; 2]> =
            (0..3).map(|_| [redis.address(), alone.node.address()].map(|address| connect(address, "2"))).collect();
        pairs[0].iter_mut().for_each(|client| assert_eq!(client.ask("FLUSHALL"), Reply::ok()));
        let (mut executed, mut refused) = (0, 0);
        for step in 0..5000 {
            let client = random.random_range(0..pairs.len());
            let line: Vec<String> = match random.random_range(0..12) {
                0 => vec!["MULTI".to_owned()],
                1 | 2 => vec!["EXEC".to_owned()],
                3 => ["WATCH", "k1", "k2", "k3"].map(str::to_owned).to_vec(),
                _ => loop {
                    let line = command(&mut random);
                    // Beside keys of several shards what concerns all of them needs a script in the transaction, see README; what
                    // scripts say of errors is compared elsewhere.
                    let name = line[0].as_str();
                    if !matches!(name, "EVAL" | "RENAME" | "COPY") {
                        break line;
                    }
                },
            };
            let [expected, found] = pairs[client].each_mut().map(|client| client.call(&line));
            assert_eq!(found, expected, "{shards} shards, {step}: {line:?} of client {client}");
            executed += usize::from(line[0] == "EXEC" && matches!(found, Reply::Array(_)));
            refused += usize::from(line[0] == "EXEC" && found == Reply::Null);
        }
        assert!(executed > 50 && refused > 10, "{executed} executed, {refused} refused");
        pairs.iter_mut().flatten().for_each(|client| drop(client.ask("DISCARD")));
        compare_content(&mut pairs[0]);
    }
}

#[test]
fn watched_keys_of_both_databases_are_dirty_if_they_are_in_either() {
    let redis = RedisServer::start();
    for (shards, cores) in NODES {
        let alone = Alone::new(|options| options.set("--shards", shards).set("--cores", cores));
        for (of_first, of_second, db, changes) in [
            (true, false, 0, true),
            (false, true, 0, true),
            (false, true, 1, true),
            (false, false, 0, false),
            (true, true, 2, false),
        ] {
            let answers = [redis.address(), alone.node.address()].map(|address| {
                let (mut client, mut other) = (connect(address, "2"), connect(address, "2"));
                other.ask("FLUSHALL");
                if of_first {
                    other.ask("SET k 1");
                }
                other.ask("SELECT 1");
                if of_second {
                    other.ask("SET k 2");
                }
                client.ask(&format!("SELECT {db}"));
                client.ask("WATCH k");
                assert_eq!(other.ask("SWAPDB 1 0"), Reply::ok());
                client.ask("MULTI");
                client.ask("SET done 1");
                client.ask("EXEC")
            });
            let expected = if changes { Reply::Null } else { Reply::Array(vec![Reply::ok()]) };
            assert_eq!(answers, [expected.clone(), expected], "{of_first} {of_second} {db}");
        }
    }
}

#[test]
fn who_waits_for_elements_is_served_by_what_comes_with_a_swap() {
    const KEYS: [&str; 3] = ["{a}1", "{a}2", "{b}1"];
    let redis = RedisServer::start();
    for (cores, shards) in [("1", "1"), ("2", "4")] {
        let alone = node(cores, shards);
        for seed in 0..4 {
            let mut draw = |random: &mut SmallRng, step: usize, waits: bool| {
                let key = KEYS[random.random_range(0..KEYS.len())];
                match (waits, random.random_range(0..14)) {
                    (true, 0..4) => format!("BLPOP {key} 0"),
                    (true, 4..6) => format!("BLMOVE {key} {}9 LEFT LEFT 0", &key[..3]),
                    (true, 6..8) => format!("BZPOPMIN {key} 0"),
                    (true, 8) => format!("XREAD BLOCK 0 STREAMS {key} 0"),
                    (true, _) => format!("BRPOP {key} 0"),
                    (false, 0..3) => format!("SELECT {}", random.random_range(0..3)),
                    (false, 3..6) => format!("SWAPDB {} {}", random.random_range(0..3), random.random_range(0..3)),
                    (false, 6) => format!("ZADD {key} 1 a"),
                    (false, 7) => format!("DEL {key}"),
                    (false, 8) => format!("XADD {key} {}-1 f v", step + 1),
                    (false, 9) => format!("MOVE {key} {}", random.random_range(0..3)),
                    (false, _) => format!("RPUSH {key} {}", random.random_range(0..100)),
                }
            };
            compare(&redis, &alone.node, seed, &KEYS, &mut draw);
        }
    }
}

#[test]
fn one_that_waits_in_the_other_database_is_served() {
    for (shards, cores) in NODES {
        let alone = Alone::new(|options| options.set("--shards", shards).set("--cores", cores));
        let (mut waiting, mut client) = (alone.node.client(), alone.node.client());
        waiting.ask("SELECT 1");
        for key in ["a", "b", "c", "d", "e"] {
            send(&mut waiting, &format!("BLPOP {key} 0"));
            until_blocked(&mut client, 1);
            client.ask(&format!("RPUSH {key} element"));
            assert_eq!(client.ask("SWAPDB 0 1"), Reply::ok());
            assert_eq!(waiting.read().expect("a reply"), Reply::bulks([key, "element"]));
        }
    }
}

/// Redis says nothing: there a client goes on with the copy of a key that is another one now.
#[test]
fn whoever_keeps_copies_is_told_to_drop_them() {
    for (shards, cores) in NODES {
        let alone = Alone::new(|options| options.set("--shards", shards).set("--cores", cores));
        let (mut reader, mut other) = (connect(alone.node.address(), "3"), alone.node.client());
        assert_eq!(reader.ask("CLIENT TRACKING ON"), Reply::ok());
        other.ask("SET a 1");
        assert_eq!(reader.ask("GET a"), Reply::bulk("1"));
        assert_eq!(other.ask("SWAPDB 0 1"), Reply::ok());
        let told = reader.read().expect("word of it");
        assert_eq!(told, Reply::Push(vec![Reply::bulk("invalidate"), Reply::Null]));
    }
}

#[test]
fn events_among_swaps_are_told_of_the_databases_of_redis() {
    const ROUNDS: usize = 20;
    let redis = RedisServer::start();
    for (shards, cores) in NODES {
        let alone = Alone::new(|options| options.set("--shards", shards).set("--cores", cores));
        let addresses = [redis.address(), alone.node.address()];
        let mut clients = addresses.map(|address| connect(address, "2"));
        for client in &mut clients {
            assert_eq!(client.ask("CONFIG SET notify-keyspace-events KEAn"), Reply::ok());
            assert_eq!(client.ask("FLUSHALL"), Reply::ok());
        }
        let [mut theirs, mut ours] = addresses.map(Subscriber::new);
        let mut random = SmallRng::seed_from_u64(5);
        let mut databases = BTreeSet::new();
        for round in 0..ROUNDS {
            let lines: Vec<Vec<String>> = (0..60).map(|_| command(&mut random)).collect();
            for line in &lines {
                clients.iter_mut().for_each(|client| drop(client.call(line)));
            }
            let expected = theirs.heard();
            let told = ours.hear(expected.len());
            databases.extend(told.iter().map(|(channel, _)| channel.split('_').nth(2).map(str::to_owned)));
            assert_eq!(by_key(told), by_key(expected), "{shards} shards, round {round}: {lines:#?}");
        }
        assert!(databases.len() > 4, "{databases:?}");
    }
}

#[test]
fn fields_expire_where_their_hash_is_by_then() {
    let temporary = tempfile::tempdir().expect("a temporary directory");
    let options = NodeOptions::new(temporary.path().join("data")).set("--shards", "4").set("--cores", "2");
    let mut node = options.start();
    let mut client = node.client();
    let keys: Vec<String> = (0..8).map(|number| format!("hash:{number}")).collect();
    let large = "x".repeat(9000);
    for (number, key) in keys.iter().enumerate() {
        // Half of them are in rows of their own.
        let value = if number % 2 == 0 { "small" } else { &large };
        client.call(["HSET", key, "goes", value, "stays", "v"]);
        assert_eq!(client.ask(&format!("HPEXPIRE {key} 1500 FIELDS 1 goes")).elements(), [Reply::Integer(1)]);
        client.call(["HSET", &format!("flushed:{number}"), "f", "v"]);
    }
    assert_eq!(client.ask("SWAPDB 0 3"), Reply::ok());
    for key in &keys {
        client.ask(&format!("HSET {key} goes v"));
        client.ask(&format!("HPEXPIREAT {key} 4000000000000 FIELDS 1 goes"));
    }
    // What is written is in rows, what follows in the log alone.
    node.stop_written();
    let mut node = options.start();
    let mut client = node.client();
    assert_eq!(client.ask("SWAPDB 3 1"), Reply::ok());
    client.ask("SELECT 3");
    assert_eq!(client.ask("FLUSHDB"), Reply::ok());
    node.kill_9();

    let node = options.start();
    let mut client = node.client();
    for key in &keys {
        let due = client.ask(&format!("HPEXPIRETIME {key} FIELDS 1 goes"));
        assert_eq!(due.elements(), [Reply::Integer(4_000_000_000_000)], "{key} stayed where it was");
    }
    client.ask("SELECT 1");
    for key in &keys {
        eventually("the field is gone", DEADLINE, || match client.ask(&format!("HLEN {key}")) {
            Reply::Integer(1) => Ok(()),
            found => Err(found),
        });
        assert_eq!(client.ask(&format!("HKEYS {key}")), Reply::bulks(["stays"]));
    }
    assert_eq!(client.ask("DBSIZE"), Reply::Integer(2 * keys.len() as i64));
    assert_eq!(client.ask("FLUSHDB"), Reply::ok());
    for (db, count) in [(0, keys.len()), (1, 0), (3, 0)] {
        client.ask(&format!("SELECT {db}"));
        assert_eq!(client.ask("DBSIZE"), Reply::Integer(count as i64), "database {db}");
        assert_eq!(client.ask("RANDOMKEY") == Reply::Null, count == 0);
        let (mut cursor, mut found) = ("0".to_owned(), 0);
        loop {
            let page = client.ask(&format!("SCAN {cursor} COUNT 1000"));
            found += page.elements()[1].elements().len();
            cursor = page.elements()[0].text();
            if cursor == "0" {
                break;
            }
        }
        assert_eq!(found, count);
    }
}

/// A cluster has one database, and so no swaps; but which one that is its founder may have swapped before.
#[test]
fn replicas_have_the_databases_where_their_leader_has_them() {
    let temporary = tempfile::tempdir().expect("a temporary directory");
    let settings = |options: NodeOptions| {
        options.set("--cores", "1").set("--shards", "1").set("--memory", "64mb").set("--snapshot-log-size", "4mb")
    };
    let mut founder = settings(NodeOptions::new(temporary.path().join("0"))).start();
    let mut client = founder.client();
    let value = "v".repeat(20_000);
    client.ask("SET key:0 old");
    client.ask("SELECT 3");
    for number in 0..2000 {
        assert_eq!(client.ask(&format!("SET key:{} {number}-{value}", number % 500)), Reply::ok());
    }
    assert_eq!(client.ask("SWAPDB 0 3"), Reply::ok());
    assert_eq!(client.ask("FLUSHDB"), Reply::ok());
    founder.stop_written();
    drop(founder);

    let start = |number| settings(options_at(temporary.path(), number, free_ports())).start();
    let nodes: Vec<Node> = (0..3).map(start).collect();
    wait_for(&addresses(&nodes[..1]), "cluster_state", "ok");
    for node in &nodes[1..] {
        let address = node.address();
        assert_eq!(nodes[0].client().ask(&format!("CLUSTER MEET {} {}", address.ip(), address.port())), Reply::ok());
    }
    wait_for(&addresses(&nodes), "cluster_known_nodes", "3");
    for node in &nodes {
        let mut client = node.client();
        assert_eq!(client.ask("READONLY"), Reply::ok());
        for number in 0..500 {
            let expected = format!("{}-{value}", 1500 + number);
            eventually("the replica has the key", DEADLINE, || match client.ask(&format!("GET key:{number}")) {
                Reply::Bulk(found) if found == expected.as_bytes() => Ok(()),
                other => Err(format!("{other:?}").chars().take(100).collect::<String>()),
            });
        }
    }
    let has_sent = |node: &Node| node.said().iter().any(|line| line.contains("gets a snapshot"));
    assert!(nodes.iter().any(has_sent), "the log had all from the beginning");
}

const MARKS: usize = 24;
/// Databases that are swapped all the time, each with what all of its marks say at the beginning.
const SWAPPED: [&str; 3] = ["first", "second", "third"];

fn mark(client: &mut Client) {
    for (db, name) in SWAPPED.iter().enumerate() {
        client.ask(&format!("SELECT {db}"));
        for number in 0..MARKS {
            // Some have deadlines, and some have rows of their own.
            assert_eq!(client.ask(&format!("SET mark:{number} {name} EX {}", 100_000 + number)), Reply::ok());
            client.call(["RPUSH", &format!("list:{number}"), name, &"x".repeat(9000)]);
        }
    }
    client.ask("SELECT 0");
}

/// The name of each database, as all of its marks say at one moment; none if the node is gone.
fn names(client: &mut Client) -> Option<Vec<String>> {
    let mut lines = vec!["MULTI".to_owned()];
    for db in 0..SWAPPED.len() {
        lines.push(format!("SELECT {db}"));
        lines.extend((0..MARKS).flat_map(|number| [format!("GET mark:{number}"), format!("LINDEX list:{number} 0")]));
        lines.push("DBSIZE".to_owned());
    }
    lines.push("EXEC".to_owned());
    let replies = client.try_pipeline(lines.iter().map(|line| line.split(' ').collect::<Vec<_>>())).ok()?;
    let Some(Reply::Array(replies)) = replies.last() else { panic!("{replies:?}") };
    let of_database = |replies: &[Reply]| {
        let (selected, marks, count) = (&replies[0], &replies[1..replies.len() - 1], &replies[replies.len() - 1]);
        assert_eq!((selected, count), (&Reply::ok(), &Reply::Integer(2 * MARKS as i64)));
        assert!(marks.iter().all(|mark| *mark == marks[0]), "all shards swap or none: {marks:?}");
        marks[0].text()
    };
    let mut found: Vec<String> = replies.chunks(2 + 2 * MARKS).map(of_database).collect();
    let expected = found.clone();
    found.sort_unstable();
    let mut all = SWAPPED.map(str::to_owned);
    all.sort_unstable();
    assert_eq!(found, all, "{expected:?}");
    Some(expected)
}

/// Swaps until the node is gone; gives the order that was acknowledged, and the one that the last swap may have made of it.
fn swap(mut client: Client, mut order: Vec<String>, random: &mut SmallRng, done: &AtomicU64) -> [Vec<String>; 2] {
    loop {
        let (first, second) = (random.random_range(0..SWAPPED.len()), random.random_range(0..SWAPPED.len()));
        let mut next = order.clone();
        next.swap(first, second);
        match client.try_call(["SWAPDB", &first.to_string(), &second.to_string()]) {
            Ok(reply) if reply == Reply::ok() => order = next,
            Ok(reply) => panic!("{reply:?}"),
            Err(_) => return [order, next],
        }
        done.fetch_add(1, Ordering::Relaxed);
    }
}

/// Writes to a database that nobody swaps, and to one that is.
fn write(mut client: Client, number: usize) {
    for round in 0.. {
        let lines = [
            "SELECT 5".to_owned(),
            format!("SET key:{number}:{} {}", round % 100, "v".repeat(300)),
            "SELECT 1".to_owned(),
            format!("EXPIRE mark:{} {}", round % MARKS, 200_000 + round),
        ];
        if client.try_pipeline(lines.iter().map(|line| line.split(' ').collect::<Vec<_>>())).is_err() {
            return;
        }
    }
}

fn live(node: &mut Node, seed: u64, order: &[Vec<String>; 2]) -> [Vec<String>; 2] {
    let found = names(&mut node.client()).expect("the node is there");
    assert!(order.contains(&found), "{found:?} after a start, and not one of {order:?}");
    assert_nothing_is_left(node);
    let (done, looks, is_over) = (AtomicU64::new(0), AtomicU64::new(0), AtomicBool::new(false));
    let after = thread::scope(|scope| {
        let swapper = {
            let (client, done) = (node.client(), &done);
            scope.spawn(move || swap(client, found, &mut SmallRng::seed_from_u64(seed), done))
        };
        for number in 0..2 {
            let (mut client, writer, looks, is_over) = (node.client(), node.client(), &looks, &is_over);
            scope.spawn(move || write(writer, number));
            scope.spawn(move || {
                while !is_over.load(Ordering::Relaxed) && names(&mut client).is_some() {
                    looks.fetch_add(1, Ordering::Relaxed);
                }
            });
        }
        let enough = 20 + seed % 50;
        let are_enough = catch_unwind(AssertUnwindSafe(|| {
            eventually("databases are swapped", DEADLINE, || match done.load(Ordering::Relaxed) {
                count if count < enough || looks.load(Ordering::Relaxed) == 0 => Err(count),
                _ => Ok(()),
            });
        }));
        // In any case: the others end with the node, and the test with them.
        node.kill();
        is_over.store(true, Ordering::Relaxed);
        let after = swapper.join().expect("it ends with the node");
        are_enough.unwrap_or_else(|why| resume_unwind(why));
        after
    });
    node.kill_9();
    after
}

#[test]
fn all_shards_have_swapped_or_none_when_the_node_is_killed() {
    let temporary = tempfile::tempdir().expect("a temporary directory");
    let options = NodeOptions::new(temporary.path().join("data"))
        .set("--shards", "4")
        .set("--cores", "2")
        .set("--memtable-bytes", "256kb");
    let mut order = [SWAPPED.map(str::to_owned).to_vec(), Vec::new()];
    mark(&mut options.start().client());
    for cycle in 0..2 * cycles() {
        let mut node = options.start();
        order = live(&mut node, cycle as u64, &order);
    }
    // What is stopped in peace is all in its rows, and none of it in a log.
    let mut node = options.start();
    let found = names(&mut node.client()).expect("the node is there");
    assert!(order.contains(&found), "{found:?} after the last start, and not one of {order:?}");
    node.stop_written();
    drop(node);
    assert_eq!(names(&mut options.start().client()), Some(found));
}

/// Fills databases and empties the one that is there, and says how often it did.
fn empty(mut client: Client, swaps: &AtomicU64) -> u64 {
    for round in 0.. {
        if round >= 100 && swaps.load(Ordering::Relaxed) >= 100 {
            return round;
        }
        for name in ["a", "b"] {
            let marks = (0..MARKS).map(|number| format!("SET mark:{number} {name}"));
            let lines: Vec<String> = ["MULTI".to_owned()].into_iter().chain(marks).chain(["EXEC".to_owned()]).collect();
            let replies = client.pipeline(lines.iter().map(|line| line.split(' ').collect::<Vec<_>>()));
            assert!(matches!(replies.last(), Some(Reply::Array(_))), "{replies:?}");
        }
        assert_eq!(client.ask(if round % 10 == 9 { "FLUSHALL" } else { "FLUSHDB" }), Reply::ok());
        let lines = ["MULTI", "DBSIZE", "SELECT 1", "DBSIZE", "SELECT 0", "EXEC"];
        let replies = client.pipeline(lines.map(|line| line.split(' ').collect::<Vec<_>>()));
        let Some(Reply::Array(found)) = replies.last() else { panic!("{replies:?}") };
        let (none, all) = (Reply::Integer(0), Reply::Integer(MARKS as i64));
        let counts = [&found[0], &found[2]];
        assert!(counts.contains(&&none) && counts.iter().all(|&count| *count == none || *count == all), "{counts:?}");
    }
    unreachable!("it ends when there were enough")
}

/// A database that is emptied while it is swapped is the one or the other, in all shards.
#[test]
fn what_is_emptied_beside_swaps_is_one_database_whole() {
    let temporary = tempfile::tempdir().expect("a temporary directory");
    let node = NodeOptions::new(temporary.path().join("data")).set("--shards", "4").set("--cores", "2").start();
    let swaps = AtomicU64::new(0);
    thread::scope(|scope| {
        let (mut swapper, client, swaps) = (node.client(), node.client(), &swaps);
        let emptied = scope.spawn(move || empty(client, swaps));
        while !emptied.is_finished() {
            assert_eq!(swapper.ask("SWAPDB 0 1"), Reply::ok());
            swaps.fetch_add(1, Ordering::Relaxed);
        }
        assert!(emptied.join().expect("no database was emptied in half") >= 100);
    });
}
