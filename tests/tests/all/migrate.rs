//! MIGRATE: keys go to redis-server, to other nodes and back as between two redis-servers; nothing that was acknowledged is lost on
//! the way, whoever stands still or is killed.
//!
//! What a newcomer would get wrong: a key may be on both servers after a failure, and is on none never.

use std::collections::BTreeMap;
use std::io;
use std::net::{SocketAddr, TcpListener};
use std::sync::Mutex;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::thread;

use basalt_tests::{Client, DEADLINE, NodeOptions, RedisServer, Reply, eventually};

use crate::alone::Alone;
use crate::key_events::Subscriber;

/// Time that servers may stand still which do not: as long as anything here is waited for.
const LONG_MS: &str = "120000";

/// A call that sends keys to the server at `to`.
fn call(to: SocketAddr, rest: &str) -> Vec<String> {
    let word = |word: &str| if word == "\"\"" { String::new() } else { word.to_owned() };
    let words = format!("MIGRATE {} {} {rest}", to.ip(), to.port());
    words.split(' ').map(word).collect()
}

/// A server whose keys are compared: connections to it and to one that it sends keys to.
struct Pair {
    source: Client,
    target: Client,
    to: SocketAddr,
}

impl Pair {
    fn new(source: SocketAddr, to: SocketAddr) -> Pair {
        let connect = |address| Client::connect(address).expect("the server accepts");
        let mut pair = Pair { source: connect(source), target: connect(to), to };
        for client in [&mut pair.source, &mut pair.target] {
            assert_eq!(client.ask("FLUSHALL"), Reply::ok());
        }
        pair
    }

    fn migrate(&mut self, rest: &str) -> Reply {
        self.source.call(call(self.to, rest))
    }

    /// Runs lines: on the target those that begin with `>`, and `MIGRATE …` as a call that sends keys there. Gives all replies.
    fn run(&mut self, lines: &[&str]) -> Vec<(String, Reply)> {
        let mut run = |line: &str| match (line.strip_prefix('>'), line.strip_prefix("MIGRATE ")) {
            (Some(line), _) => self.target.ask(line),
            (_, Some(rest)) => self.migrate(rest),
            _ => self.source.ask(line),
        };
        lines.iter().map(|line| ((*line).to_owned(), run(line))).collect()
    }
}

/// Keys of all kinds in both shards, sent one by one and together, with all options, to a server that has some of them.
const LINES: &[&str] = &[
    "SET foo 1",
    "SET bar 2",
    "SET other 3",
    "MIGRATE foo 0 120000",
    "EXISTS foo",
    ">GET foo",
    ">TTL foo",
    "SET foo newer",
    "MIGRATE foo 0 120000",
    "GET foo",
    ">GET foo",
    "MIGRATE foo 0 120000 COPY REPLACE",
    "GET foo",
    ">GET foo",
    "MIGRATE foo 1 120000 COPY",
    ">SELECT 1",
    ">GET foo",
    ">SELECT 0",
    "MIGRATE none 0 120000",
    "MIGRATE \"\" 0 120000 KEYS none nobody",
    "MIGRATE \"\" 0 120000 KEYS foo bar none other",
    "EXISTS foo bar other",
    "GET foo",
    ">MGET foo bar other",
    "MIGRATE \"\" 0 120000 REPLACE KEYS foo none",
    "DBSIZE",
    ">DBSIZE",
    // Twice the same key: the second one is there already.
    "SET twice 1",
    "MIGRATE \"\" 0 120000 KEYS twice twice",
    "EXISTS twice",
    "SET foo 1",
    "MIGRATE foo 99 120000",
    "MIGRATE foo 0 120000 AUTH secret",
    "MIGRATE foo 0 120000 AUTH2 nobody secret",
    "GET foo",
    "FLUSHALL",
    ">FLUSHALL",
    // All types, small and large.
    "RPUSH list a b c",
    "SADD set 1 2 3",
    "SADD names a b c",
    "HSET hash f v g w",
    "ZADD zset 1 a 2.5 b",
    "XADD stream 1-1 f v",
    "XGROUP CREATE stream g 0",
    "PFADD hll a b c",
    "MIGRATE \"\" 0 120000 KEYS list set names hash zset stream hll",
    "DBSIZE",
    ">LRANGE list 0 -1",
    ">SMEMBERS set",
    ">SISMEMBER names b",
    ">HGETALL hash",
    ">ZRANGE zset 0 -1 WITHSCORES",
    ">XRANGE stream - +",
    ">XINFO GROUPS stream",
    ">PFCOUNT hll",
    ">DBSIZE",
];

#[test]
fn calls_do_what_they_do_between_two_redis_servers() {
    let [one, other] = [RedisServer::start(), RedisServer::start()];
    let expected = Pair::new(one.address(), other.address()).run(LINES);
    let sources = ["1", "2"].map(|shards| Alone::new(|options| options.set("--shards", shards)));
    let third = Alone::new(|options| options.set("--shards", "3"));
    for source in &sources {
        for to in [other.address(), third.node.address()] {
            assert_eq!(Pair::new(source.node.address(), to).run(LINES), expected);
        }
    }
    // From a redis-server to a node.
    assert_eq!(Pair::new(one.address(), third.node.address()).run(LINES), expected);
}

#[test]
fn a_key_keeps_its_deadline() {
    let redis = RedisServer::start();
    let alone = Alone::new(|options| options.set("--shards", "2"));
    for (from, to) in [(alone.node.address(), redis.address()), (redis.address(), alone.node.address())] {
        let mut pair = Pair::new(from, to);
        for line in ["SET k v PX 5000000", "SET none v PX 1", "SET for-ever v"] {
            assert_eq!(pair.source.ask(line), Reply::ok());
        }
        eventually("it has expired", DEADLINE, || match pair.source.ask("EXISTS none").integer() {
            0 => Ok(()),
            there => Err(there),
        });
        assert_eq!(pair.migrate(&format!("\"\" 0 {LONG_MS} KEYS k none for-ever")), Reply::ok());
        let left_ms = pair.target.ask("PTTL k").integer();
        assert!((1..=5_000_000).contains(&left_ms), "{left_ms}");
        assert_eq!(pair.target.ask("PTTL for-ever"), Reply::Integer(-1));
        assert_eq!(pair.target.ask("EXISTS none"), Reply::Integer(0));
    }
}

#[test]
fn keys_that_are_gone_are_told_as_deleted() {
    let other = RedisServer::start();
    let heard = |source: SocketAddr| {
        let mut pair = Pair::new(source, other.address());
        assert_eq!(pair.source.ask("CONFIG SET notify-keyspace-events AKE"), Reply::ok());
        let mut subscriber = Subscriber::new(source);
        pair.source.ask("MSET foo 1 bar 2 baz 3 copied 4");
        pair.target.ask("SET bar there");
        assert_eq!(pair.migrate(&format!("copied 0 {LONG_MS} COPY")), Reply::ok());
        let refused = pair.migrate(&format!("\"\" 0 {LONG_MS} KEYS foo none bar baz"));
        assert!(refused.is_error("ERR Target instance replied with error: BUSYKEY "), "{refused:?}");
        // They would be told twice if they had been before.
        assert_eq!(pair.source.ask("DEL bar copied"), Reply::Integer(2));
        let mut deleted: Vec<(String, String)> = Vec::new();
        eventually("all are told as deleted", DEADLINE, || {
            let is_del = |(channel, event): &(String, String)| event == "del" || channel.ends_with(":del");
            deleted.extend(subscriber.heard().into_iter().filter(is_del));
            // By the channel of the key, and by that of the event.
            if deleted.len() >= 8 { Ok(()) } else { Err(deleted.clone()) }
        });
        deleted.sort();
        deleted
    };
    let redis = RedisServer::start();
    let alone = Alone::new(|options| options.set("--shards", "2"));
    assert_eq!(heard(alone.node.address()), heard(redis.address()));
}

#[test]
fn a_server_with_passwords_lets_in_who_says_the_right_one_and_nobody_else_is_told_a_key() {
    let redis = RedisServer::start();
    let alone = Alone::new(|options| options.set("--shards", "2"));
    let mut pair = Pair::new(alone.node.address(), redis.address());
    assert_eq!(pair.target.ask("ACL SETUSER bob on >of-bob ~* +@all"), Reply::ok());
    assert_eq!(pair.target.ask("CONFIG SET requirepass secret"), Reply::ok());
    pair.source.ask("MSET foo 1 bar 2");
    let both = |options: &str| format!("\"\" 0 {LONG_MS} {options}KEYS foo bar");
    for (options, error) in [
        ("", "NOAUTH "),
        ("AUTH wrong ", "WRONGPASS "),
        ("AUTH2 bob secret ", "WRONGPASS "),
        ("AUTH2 nobody of-bob ", "WRONGPASS "),
    ] {
        let refused = pair.migrate(&both(options));
        let prefix = format!("ERR Target instance replied with error: {error}");
        assert!(refused.is_error(&prefix), "{options}: {refused:?}");
        assert_eq!(pair.target.ask("DBSIZE"), Reply::Integer(0), "{options}");
        assert_eq!(pair.source.ask("DBSIZE"), Reply::Integer(2), "{options}");
    }
    assert_eq!(pair.migrate(&both("COPY AUTH secret ")), Reply::ok());
    assert_eq!(pair.migrate(&both("REPLACE AUTH2 bob of-bob ")), Reply::ok());
    assert_eq!(pair.target.ask("MGET foo bar"), Reply::bulks(["1", "2"]));
    assert_eq!(pair.source.ask("DBSIZE"), Reply::Integer(0));
}

#[test]
fn who_may_not_read_and_change_a_key_sends_it_nowhere() {
    let redis = RedisServer::start();
    let alone = Alone::new(|options| options.set("--shards", "2"));
    let mut pair = Pair::new(alone.node.address(), redis.address());
    pair.source.ask("MSET mine 1 theirs 2 seen 3");
    assert_eq!(pair.source.ask("ACL SETUSER bob on nopass ~mine %R~seen +migrate"), Reply::ok());
    assert_eq!(pair.source.ask("AUTH bob any"), Reply::ok());
    for keys in ["theirs 0 1", "seen 0 1", "\"\" 0 1 KEYS mine theirs", "\"\" 0 1 COPY AUTH keys KEYS seen"] {
        let refused = pair.migrate(keys);
        assert!(refused.is_error("NOPERM "), "{keys}: {refused:?}");
    }
    assert_eq!(pair.target.ask("DBSIZE"), Reply::Integer(0));
    assert_eq!(pair.migrate(&format!("\"\" 0 {LONG_MS} KEYS mine")), Reply::ok());
    assert_eq!(pair.target.ask("DBSIZE"), Reply::Integer(1));
}

#[test]
fn a_server_that_is_not_there_gets_nothing() {
    let alone = Alone::new(|options| options.set("--shards", "2"));
    let mut client = alone.node.client();
    client.ask("MSET foo 1 bar 2");
    let free = TcpListener::bind("127.0.0.1:0").and_then(|listener| listener.local_addr()).expect("a free port");
    for rest in [format!("foo 0 {LONG_MS}"), format!("\"\" 0 {LONG_MS} COPY KEYS foo bar")] {
        let error = Reply::Error("IOERR error or timeout writing to target instance".to_owned());
        assert_eq!(client.call(call(free, &rest)), error);
    }
    assert_eq!(client.ask("MGET foo bar"), Reply::bulks(["1", "2"]));
    for port in ["port", "0", "70000"] {
        let refused = client.call(["MIGRATE", "127.0.0.1", port, "foo", "0", "1000"]);
        assert!(refused.is_error("IOERR "), "{port}: {refused:?}");
    }
    assert_eq!(client.ask("INCR foo"), Reply::Integer(2));
}

/// Waits until somebody holds keys of the node, or nobody does.
fn until_held(client: &mut Client, is_held: bool) {
    eventually(if is_held { "keys are held" } else { "nothing is held" }, DEADLINE, || {
        let info = client.ask("INFO everything").text();
        let holding = info.lines().find_map(|line| line.strip_prefix("transactions_holding:"));
        let count: u64 = holding.expect("it is told").parse().expect("it is a number");
        if (count > 0) == is_held { Ok(()) } else { Err(count) }
    });
}

#[test]
fn a_server_that_stands_still_holds_up_its_keys_alone_and_for_the_time_that_was_said() {
    let target = Alone::new(|options| options.set("--shards", "2"));
    let alone = Alone::new(|options| options.set("--shards", "2"));
    let mut pair = Pair::new(alone.node.address(), target.node.address());
    pair.source.ask("MSET foo 1 bar 2 baz 3");
    target.node.pause();
    for rest in ["foo 0 50", "\"\" 0 50 COPY KEYS foo bar"] {
        let late = pair.migrate(rest);
        assert!(late.is_error("IOERR error or timeout "), "{late:?}");
    }
    assert_eq!(pair.source.ask("MGET foo bar"), Reply::bulks(["1", "2"]));

    // More at once than there are threads for: each comes to its turn.
    let (address, to) = (alone.node.address(), pair.to);
    thread::scope(|scope| {
        for number in 0..24 {
            scope.spawn(move || {
                let mut client = Client::connect(address).expect("the node accepts");
                client.ask(&format!("SET key:{number} v"));
                let refused = client.call(call(to, &format!("key:{number} 0 50")));
                assert!(refused.is_error("IOERR "), "{refused:?}");
            });
        }
    });
    until_held(&mut pair.source, false);

    // Two keys are on their way, of which one is written meanwhile; others are not held up.
    pair.source
        .send(encoded(&call(pair.to, &format!("\"\" 0 {LONG_MS} REPLACE KEYS foo bar"))))
        .expect("the node reads");
    let mut beside = alone.node.client();
    until_held(&mut beside, true);
    let mut writer = alone.node.client();
    writer.send(encoded(&["APPEND", "foo", "+"])).expect("the node reads");
    let mut copier = alone.node.client();
    copier.send(encoded(&call(pair.to, &format!("baz 0 {LONG_MS} COPY")))).expect("the node reads");
    // A key that stays is let go of once it is dumped.
    for length in 2..10 {
        assert_eq!(beside.ask("APPEND baz +"), Reply::Integer(length));
    }
    assert_eq!(beside.ask("SET elsewhere 1"), Reply::ok());
    target.node.go_on();
    assert_eq!(pair.source.read().expect("the node answers"), Reply::ok());
    assert_eq!(copier.read().expect("the node answers"), Reply::ok());
    // It was executed behind the deletion.
    assert_eq!(writer.read().expect("the node answers"), Reply::Integer(1));
    assert_eq!(pair.source.ask("MGET foo bar"), Reply::Array(vec![Reply::bulk("+"), Reply::Null]));
    assert_eq!(pair.target.ask("MGET foo bar"), Reply::bulks(["1", "2"]));
    // That of a moment.
    let (copied, value) = (pair.target.ask("GET baz").text(), pair.source.ask("GET baz").text());
    assert!(!copied.is_empty() && value.starts_with(&copied), "{copied} of {value}");
}

fn encoded<W: AsRef<str>>(words: &[W]) -> Vec<u8> {
    let mut bytes = Vec::new();
    let words: Vec<&str> = words.iter().map(AsRef::as_ref).collect();
    Client::encode(&mut bytes, words);
    bytes
}

#[test]
fn it_is_for_nobody_who_does_something_else_beside() {
    let redis = RedisServer::start();
    let alone = Alone::new(|options| options.set("--shards", "2"));
    let mut pair = Pair::new(alone.node.address(), redis.address());
    pair.source.ask("SET foo 1");
    assert_eq!(pair.source.ask("MULTI"), Reply::ok());
    let refused = pair.migrate("foo 0 1000");
    assert!(refused.is_error("ERR 'migrate' waits for another server"), "{refused:?}");
    assert!(pair.source.ask("EXEC").is_error("EXECABORT "));
    let (ip, port) = (pair.to.ip().to_string(), pair.to.port().to_string());
    let script = "return redis.call('migrate', ARGV[1], ARGV[2], KEYS[1], '0', '1000')";
    let refused = pair.source.call(["EVAL", script, "1", "foo", &ip, &port]);
    assert!(refused.is_error("ERR MIGRATE waits for another server"), "{refused:?}");
    assert_eq!(pair.source.ask("GET foo"), Reply::bulk("1"));

    let dir = tempfile::tempdir().expect("a temporary directory");
    let node = NodeOptions::new(dir.path()).set("--cluster-enabled", "yes").set("--cores", "2").start();
    let mut client = node.client();
    for rest in ["foo 0 1000", "\"\" 0 1000 KEYS", "\"\" 0 1000 KEYS foo bar"] {
        let refused = client.call(call(pair.to, rest));
        assert_eq!(refused, Reply::Error("ERR MIGRATE is not allowed in cluster mode".to_owned()));
    }
}

#[test]
fn a_node_sends_keys_to_a_database_of_its_own() {
    let alone = Alone::new(|options| options.set("--shards", "2"));
    let mut pair = Pair::new(alone.node.address(), alone.node.address());
    pair.source.ask("MSET foo 1 bar 2");
    assert_eq!(pair.migrate(&format!("\"\" 5 {LONG_MS} KEYS foo bar")), Reply::ok());
    assert_eq!(pair.source.ask("DBSIZE"), Reply::Integer(0));
    pair.source.ask("SELECT 5");
    assert_eq!(pair.source.ask("MGET foo bar"), Reply::bulks(["1", "2"]));
}

#[test]
fn what_is_too_large_is_refused_by_name_and_stays() {
    let redis = RedisServer::start();
    let alone = Alone::new(|options| options.set("--shards", "1"));
    let mut pair = Pair::new(alone.node.address(), redis.address());
    pair.source.ask("SETRANGE large 40000000 x");
    pair.source.ask("SET small v");
    let refused = pair.migrate(&format!("\"\" 0 {LONG_MS} KEYS small large"));
    assert!(refused.is_error("ERR the key is too large to dump: the limit is "), "{refused:?}");
    assert_eq!(pair.source.ask("DBSIZE"), Reply::Integer(2));
    assert_eq!(pair.target.ask("DBSIZE"), Reply::Integer(0));
}

/// Lists to which some write while others send them away.
const LISTS: usize = 8;

fn list(number: usize) -> String {
    format!("list:{}", number % LISTS)
}

/// Appends numbers to lists until the node is gone or it is over. Those that were acknowledged go to `acknowledged`.
fn write(address: SocketAddr, writer: usize, is_over: &AtomicBool, acknowledged: &Mutex<Vec<String>>) {
    let Ok(mut client) = Client::connect(address) else { return };
    for number in 0.. {
        let entry = format!("{writer}-{number}");
        match client.try_call(["RPUSH", &list(writer + number), &entry]) {
            Ok(Reply::Integer(_)) => acknowledged.lock().expect("nobody fails with it").push(entry),
            Ok(other) => assert!(other.is_error("UNCERTAIN ") || other.is_error("BUSY "), "{other:?}"),
            Err(_) => return,
        }
        if is_over.load(Ordering::Relaxed) {
            return;
        }
    }
}

/// Gives all lists of the target names that none has again.
fn put_aside(target: &mut Client, round: &str) -> io::Result<()> {
    for number in 0..LISTS {
        let aside = format!("aside:{round}:{number}");
        target.try_call(["RENAME", &list(number), &aside])?;
    }
    Ok(())
}

/// Sends all lists away, again and again, until the node is gone or it is over. Counts the calls that have sent some.
fn send_away(from: SocketAddr, to: SocketAddr, life: usize, is_over: &AtomicBool, sent: &AtomicUsize) {
    let Ok(mut source) = Client::connect(from) else { return };
    let mut target = Client::connect(to).expect("the target accepts");
    let lists: Vec<String> = (0..LISTS).map(list).collect();
    for round in 0.. {
        let answer = source.try_call(call(to, &format!("\"\" 0 {LONG_MS} KEYS {}", lists.join(" "))));
        put_aside(&mut target, &format!("{life}:{round}")).expect("the target answers");
        match answer {
            Ok(answer) if answer == Reply::ok() => drop(sent.fetch_add(1, Ordering::Relaxed)),
            Ok(answer) => assert!(
                answer == Reply::Simple("NOKEY".to_owned())
                    || answer.is_error("ERR Target instance replied with error: BUSYKEY ")
                    || answer.is_error("UNCERTAIN ")
                    || answer.is_error("BUSY "),
                "{answer:?}"
            ),
            Err(_) => return,
        }
        if is_over.load(Ordering::Relaxed) {
            return;
        }
    }
}

/// The times that each entry is in some list.
fn entries(clients: &mut [Client]) -> BTreeMap<String, usize> {
    let mut found: BTreeMap<String, usize> = BTreeMap::new();
    for client in clients {
        for key in client.ask("KEYS *").elements() {
            for entry in client.call(["LRANGE", &key.text(), "0", "-1"]).elements() {
                *found.entry(entry.text()).or_default() += 1;
            }
        }
    }
    found
}

#[test]
fn keys_go_although_their_client_has_gone() {
    let target = Alone::new(|options| options.set("--shards", "2"));
    let alone = Alone::new(|options| options.set("--shards", "2"));
    let mut pair = Pair::new(alone.node.address(), target.node.address());
    pair.source.ask("MSET foo 1 bar 2");
    target.node.pause();
    let mut caller = alone.node.client();
    caller.send(encoded(&call(pair.to, &format!("\"\" 0 {LONG_MS} KEYS foo bar")))).expect("the node reads");
    until_held(&mut pair.source, true);
    drop(caller);
    target.node.go_on();
    until_held(&mut pair.source, false);
    assert_eq!(pair.source.ask("EXISTS foo bar"), Reply::Integer(0));
    assert_eq!(pair.target.ask("MGET foo bar"), Reply::bulks(["1", "2"]));
}

#[test]
fn a_target_that_is_killed_meanwhile_has_all_that_is_gone_here() {
    let (dir, keys) = (tempfile::tempdir().expect("a temporary directory"), 3000);
    let options = NodeOptions::new(dir.path().join("data")).set("--shards", "2");
    for cut in 0..4 {
        let alone = Alone::new(|options| options.set("--shards", "3"));
        let mut target = options.start();
        let mut pair = Pair::new(alone.node.address(), target.address());
        let names: Vec<String> = (0..keys).map(|number| format!("key:{number}")).collect();
        let pairs = names.iter().flat_map(|name| [name.as_str(), "v"]);
        assert_eq!(pair.source.call(["MSET"].into_iter().chain(pairs)), Reply::ok());
        pair.source
            .send(encoded(&call(pair.to, &format!("\"\" 0 {LONG_MS} KEYS {}", names.join(" ")))))
            .expect("the node reads");
        eventually("some have arrived", DEADLINE, || match pair.target.ask("DBSIZE").integer() {
            count if count < cut * keys / 4 => Err(count),
            _ => Ok(()),
        });
        target.kill_9();
        let answer = pair.source.read().expect("the node answers");
        assert!(answer == Reply::ok() || answer.is_error("IOERR error or timeout "), "{answer:?}");
        until_held(&mut pair.source, false);
        let mut target = options.start();
        pair.target = target.client();
        let there = |client: &mut Client| -> Vec<bool> {
            let values = client.call(["MGET"].into_iter().chain(names.iter().map(String::as_str)));
            values.elements().iter().map(|value| *value != Reply::Null).collect()
        };
        let (here, away) = (there(&mut pair.source), there(&mut pair.target));
        for (number, name) in names.iter().enumerate() {
            assert!(here[number] || away[number], "{name} is lost");
            assert!(answer != Reply::ok() || !here[number], "{name} is on both");
        }
        // Those that are here can be written.
        let pairs = names.iter().flat_map(|name| [name.as_str(), "w"]);
        assert_eq!(pair.source.call(["MSET"].into_iter().chain(pairs)), Reply::ok());
        target.stop();
    }
}

#[test]
fn a_node_is_stopped_while_it_sends_keys_and_others_wait() {
    let target = Alone::new(|options| options.set("--shards", "2"));
    let dir = tempfile::tempdir().expect("a temporary directory");
    let options = NodeOptions::new(dir.path().join("data")).set("--shards", "2");
    let mut node = options.start();
    let mut pair = Pair::new(node.address(), target.node.address());
    target.node.pause();
    let mut callers: Vec<Client> = (0..12).map(|_| node.client()).collect();
    for (number, caller) in callers.iter_mut().enumerate() {
        assert_eq!(caller.ask(&format!("SET key:{number} v")), Reply::ok());
        caller.send(encoded(&call(pair.to, &format!("key:{number} 0 {LONG_MS}")))).expect("the node reads");
    }
    until_held(&mut pair.source, true);
    let (status, _) = node.stop();
    // It may have taken so long that it was cut short.
    let _ = node.stopped_in_time(status);
    target.node.go_on();
    // Those that were on their way may be on both.
    let node = options.start();
    let mut source = node.client();
    let there = |client: &mut Client, number: usize| client.ask(&format!("GET key:{number}")) == Reply::bulk("v");
    for number in 0..callers.len() {
        assert!(there(&mut source, number) || there(&mut pair.target, number), "key:{number} is lost");
    }
    until_held(&mut source, false);
}

#[test]
fn keys_that_are_on_disk_alone_are_sent() {
    let redis = RedisServer::start();
    let dir = tempfile::tempdir().expect("a temporary directory");
    let options = NodeOptions::new(dir.path().join("data")).set("--shards", "2");
    let mut node = options.start();
    let mut pair = Pair::new(node.address(), redis.address());
    let (mut names, mut lengths, mut state) = (Vec::new(), Vec::new(), 1u64);
    // Not made shorter by being compressed.
    let mut element = || {
        let mut word = || {
            state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
            state
        };
        format!("{:016x}{:016x}{:016x}", word(), word(), word())
    };
    for number in 0..100 {
        // Some are larger than what is dumped in one go, and have many rows.
        let (name, count) = (format!("list:{number}"), if number % 10 == 0 { 3000 } else { 3 });
        let elements: Vec<String> = (0..count).map(|_| element()).collect();
        let words = ["RPUSH", &name].into_iter().chain(elements.iter().map(String::as_str));
        assert_eq!(pair.source.call(words), Reply::Integer(count));
        names.push(name);
        lengths.push(count);
    }
    node.stop_written();
    let node = options.start();
    pair.source = node.client();
    assert_eq!(pair.migrate(&format!("\"\" 0 {LONG_MS} KEYS {}", names.join(" "))), Reply::ok());
    assert_eq!(pair.source.ask("DBSIZE"), Reply::Integer(0));
    for (name, length) in names.iter().zip(lengths) {
        assert_eq!(pair.target.ask(&format!("LLEN {name}")), Reply::Integer(length), "{name}");
    }
}

#[test]
fn nothing_is_lost_or_doubled_of_what_is_written_beside() {
    let redis = RedisServer::start();
    for shards in ["1", "2", "5"] {
        let alone = Alone::new(|options| options.set("--shards", shards));
        let pair = Pair::new(alone.node.address(), redis.address());
        let (from, to) = (alone.node.address(), redis.address());
        let (is_over, acknowledged, sent) = (AtomicBool::new(false), Mutex::default(), AtomicUsize::new(0));
        thread::scope(|scope| {
            let (is_over, acknowledged, sent) = (&is_over, &acknowledged, &sent);
            for writer in 0..4 {
                scope.spawn(move || write(from, writer, is_over, acknowledged));
            }
            scope.spawn(move || send_away(from, to, 0, is_over, sent));
            eventually("keys were sent while others were written", DEADLINE, || {
                let (sent, written) = (sent.load(Ordering::Relaxed), acknowledged.lock().expect("nobody fails").len());
                if sent >= 50 && written >= 1000 { Ok(()) } else { Err((sent, written)) }
            });
            is_over.store(true, Ordering::Relaxed);
        });
        let found = entries(&mut [pair.source, pair.target]);
        for entry in acknowledged.into_inner().expect("nobody fails with it") {
            assert_eq!(found.get(&entry), Some(&1), "{entry}, {shards} shards");
        }
    }
}

#[test]
fn a_node_that_is_killed_while_it_sends_keys_has_lost_none() {
    let redis = RedisServer::start();
    for shards in ["1", "3"] {
        let dir = tempfile::tempdir().expect("a temporary directory");
        let options = NodeOptions::new(dir.path().join("data")).set("--shards", shards);
        let to = redis.address();
        let mut target = Client::connect(to).expect("the target accepts");
        assert_eq!(target.ask("FLUSHALL"), Reply::ok());
        let acknowledged = Mutex::default();
        for life in 0..4 {
            let mut node = options.start();
            let from = node.address();
            let (is_over, sent) = (AtomicBool::new(false), AtomicUsize::new(0));
            thread::scope(|scope| {
                let (is_over, acknowledged, sent) = (&is_over, &acknowledged, &sent);
                for writer in 0..4 {
                    scope.spawn(move || write(from, 100 * life + writer, is_over, acknowledged));
                }
                scope.spawn(move || send_away(from, to, life, is_over, sent));
                eventually("keys were sent", DEADLINE, || match sent.load(Ordering::Relaxed) {
                    count if count < 5 + 3 * life => Err(count),
                    _ => Ok(()),
                });
                node.kill_9();
            });
        }
        let node = options.start();
        let mut source = node.client();
        until_held(&mut source, false);
        let found = entries(&mut [source, target]);
        for entry in acknowledged.into_inner().expect("nobody fails with it") {
            assert!(found.contains_key(&entry), "{entry} is lost, {shards} shards");
        }
    }
}
