//! `BASALT ONCE`: what is sent again after its answer was lost is answered, and executed once, whatever has died meanwhile.

use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use basalt_tests::{Asked, Client, DEADLINE, Node, NodeOptions, RedisServer, Reply, Seeker, eventually};

use super::failover::Three;
use crate::alone::Alone;
use crate::key_events::Subscriber;

/// Time that a client waits for a reply.
const PATIENCE: Duration = Duration::from_secs(10);

/// An id of a client that no other has in its test.
fn id(name: &str) -> String {
    let now = SystemTime::now().duration_since(UNIX_EPOCH).expect("it is later than 1970");
    format!("{}-{name}", now.as_millis())
}

#[test]
fn after_a_kill_the_same_call_gets_the_same_reply_from_the_log_and_from_disk() {
    let dir = tempfile::tempdir().expect("a temporary directory");
    let options = NodeOptions::new(dir.path().join("data")).set("--cores", "2").set("--shards", "4");
    let mut node = options.start();
    // A client for each key: a shard remembers the last command of a client. Of several shards, each of another core or its own.
    let clients: Vec<String> = (0..40).map(|key| id(&format!("c{key}"))).collect();
    let call = |node: &Node, number: usize| {
        let mut caller = node.client();
        (0..40)
            .map(|key| caller.ask(&format!("BASALT ONCE {} {number} INCRBY key:{key} {key}", clients[key])))
            .collect::<Vec<_>>()
    };
    let first = call(&node, 1);
    assert_eq!(first, (0..40).map(Reply::Integer).collect::<Vec<_>>());
    node.kill_9();
    let mut node = options.start();
    assert_eq!(call(&node, 1), first, "from the log");
    node.stop_written();
    let mut node = options.start();
    assert_eq!(call(&node, 1), first, "from rows on disk");
    let second: Vec<Reply> = (0..40).map(|key| Reply::Integer(2 * key)).collect();
    assert_eq!(call(&node, 2), second);
    node.kill_9();
    let node = options.start();
    assert_eq!(call(&node, 2), second);
    assert!(call(&node, 1).iter().all(|reply| reply.is_error("OUTDATED ")));
    eventually("they are counted", DEADLINE, || {
        let info = node.client().ask("INFO stats").text();
        if info.contains("once_sessions:40\r") { Ok(()) } else { Err(info) }
    });
}

/// Counts with one client until `stop`, each number sent until there is an answer; returns how often it was counted.
fn count(
    nodes: &[SocketAddr],
    writer: usize,
    stop: &AtomicBool,
    (counted, again): (&AtomicUsize, &AtomicUsize),
) -> i64 {
    let (mut seeker, client) = (Seeker::new(nodes, writer, PATIENCE), id(&format!("writer-{writer}")));
    let key = format!("counter:{writer}");
    for number in 1.. {
        if stop.load(Ordering::Relaxed) {
            return number - 1;
        }
        let call = ["BASALT", "ONCE", &client, &number.to_string(), "INCR", &key].map(str::to_owned);
        let since = std::time::Instant::now();
        loop {
            assert!(since.elapsed() < DEADLINE, "{call:?}: no answer");
            match seeker.ask(&key, &call) {
                Asked::Done(reply) => {
                    assert_eq!(reply, Reply::Integer(number), "{call:?}");
                    break;
                }
                Asked::Unknown => drop(again.fetch_add(1, Ordering::Relaxed)),
                Asked::Refused => std::thread::sleep(Duration::from_millis(2)),
                Asked::Wrong(text) => panic!("{call:?}: {text}"),
            }
        }
        counted.fetch_add(1, Ordering::Relaxed);
    }
    unreachable!("numbers do not end")
}

#[test]
fn counters_are_exact_though_leaders_are_killed_and_answers_are_lost() {
    let mut three = Three::new(&[]);
    let nodes = three.addresses();
    let (stop, counted, again) = (AtomicBool::new(false), AtomicUsize::new(0), AtomicUsize::new(0));
    let (stop, counted, again) = (Arc::new(stop), Arc::new(counted), Arc::new(again));
    let writers: Vec<_> = (0..4)
        .map(|writer| {
            let (nodes, stop, counted, again) = (nodes.clone(), stop.clone(), counted.clone(), again.clone());
            std::thread::spawn(move || (writer, count(&nodes, writer, &stop, (&counted, &again))))
        })
        .collect();
    let go_on = |more: usize| {
        let wanted = counted.load(Ordering::Relaxed) + more;
        eventually("counting goes on", DEADLINE, || match counted.load(Ordering::Relaxed) {
            now if now >= wanted => Ok(()),
            now => Err(now),
        });
    };
    for killed in 0..3 {
        go_on(200);
        three.nodes[killed].kill_9();
        go_on(200);
        three.restart(killed, &[]);
        three.wait_for_homes();
    }
    go_on(100);
    stop.store(true, Ordering::Relaxed);
    let mut seeker = Seeker::new(&nodes, 0, PATIENCE);
    for writer in writers {
        let (writer, executed) = writer.join().expect("a writer ends");
        let key = format!("counter:{writer}");
        assert_eq!(seeker.insist(&key, &format!("GET {key}")).text(), executed.to_string(), "{key}");
    }
    assert!(again.load(Ordering::Relaxed) > 0, "no answer was lost, so nothing was tried");
}

#[test]
fn what_a_cluster_is_told_once_is_told_by_whoever_leads_next() {
    let mut three = Three::new(&[]);
    let nodes = three.addresses();
    let (client, key) = (id("c"), "some key");
    let words = |number: &str| ["BASALT", "ONCE", &client, number, "INCR", key].map(str::to_owned);
    let mut seeker = Seeker::new(&nodes, 0, PATIENCE);
    let mut insist = |nodes: &[SocketAddr], number: &str| {
        seeker = Seeker::new(nodes, 0, PATIENCE);
        let mut found = None;
        eventually("there is an answer", DEADLINE, || match seeker.ask(key, &words(number)) {
            Asked::Done(reply) => {
                found = Some(reply);
                Ok(())
            }
            Asked::Wrong(text) => Err(text),
            Asked::Unknown | Asked::Refused => Err("none".to_owned()),
        });
        found.expect("it was found")
    };
    assert_eq!(insist(&nodes, "1"), Reply::Integer(1));
    let leader = nodes
        .iter()
        .position(|node| Client::connect(*node).expect("it accepts").call(["EXISTS", key]) == Reply::Integer(1))
        .expect("one of them leads the key");
    three.nodes[leader].kill_9();
    let others: Vec<SocketAddr> = nodes.iter().copied().filter(|node| *node != nodes[leader]).collect();
    assert_eq!(insist(&others, "1"), Reply::Integer(1), "it is remembered");
    assert_eq!(insist(&others, "2"), Reply::Integer(2));
}

#[test]
fn it_is_a_command_as_others_for_users_transactions_monitors_and_the_slow_log() {
    let alone = Alone::new(|options| options.set("--cores", "2").set("--shards", "2"));
    let (mut client, name) = (alone.node.client(), id("c"));
    let once = |number: usize, rest: &str| format!("BASALT ONCE {name} {number} {rest}");
    client.ask("MULTI");
    assert!(client.ask(&once(1, "SET k v")).is_error("ERR BASALT ONCE inside MULTI is not allowed"));
    client.ask("DISCARD");
    assert!(client.ask(&once(1, "MSET a 1 b 2")).is_error("CROSSSLOT "));
    assert!(client.ask(&once(1, "EVAL x 0")).is_error("ERR BASALT ONCE does not take 'eval'"));
    let in_script = ["EVAL", "return redis.call('BASALT','ONCE',ARGV[1],'1','SET','k','v')", "0", &name];
    assert!(client.call(in_script).is_error("ERR This Redis command is not allowed from script"));

    assert_eq!(client.ask("CONFIG SET slowlog-log-slower-than 0"), Reply::ok());
    let mut monitor = alone.node.client();
    assert_eq!(monitor.ask("MONITOR"), Reply::ok());
    assert_eq!(client.ask(&once(1, "SET k v")), Reply::ok());
    let told = monitor.read().expect("a monitor is told").text();
    assert!(told.ends_with(&format!(r#""BASALT" "ONCE" "{name}" "1" "SET" "k" "v""#)), "{told}");
    let slow = format!("{:?}", client.ask("SLOWLOG GET -1"));
    assert!(slow.to_lowercase().contains("once") && slow.contains(&name), "{slow}");

    // Others that watch the key, or wait for its elements, see what it does.
    let mut watcher = alone.node.client();
    watcher.ask("WATCH k");
    assert_eq!(client.ask(&once(2, "SET k w")), Reply::ok());
    watcher.ask("MULTI");
    watcher.ask("GET k");
    assert_eq!(watcher.ask("EXEC"), Reply::Null);
    let mut waiter = alone.node.client();
    let mut bytes = Vec::new();
    Client::encode(&mut bytes, ["BLPOP", "list", "0"]);
    waiter.send(&bytes).expect("the node reads");
    eventually("it waits", DEADLINE, || {
        let info = client.ask("INFO clients").text();
        if info.contains("blocked_clients:1") { Ok(()) } else { Err(info) }
    });
    assert_eq!(client.ask(&once(3, "RPUSH list x")), Reply::Integer(1));
    assert_eq!(waiter.read().expect("it is served"), Reply::bulks(["list", "x"]));
    assert_eq!(client.ask(&once(3, "RPUSH list x")), Reply::Integer(1));
    assert_eq!(client.ask("LLEN list"), Reply::Integer(0));

    for rule in ["+basalt|once +set ~mine:*", "+basalt|once ~*", "+set ~*"] {
        let rules = format!("ACL SETUSER u reset on nopass {rule}");
        assert_eq!(client.ask(&rules), Reply::ok());
        let mut user = alone.node.client();
        assert_eq!(user.ask("AUTH u x"), Reply::ok());
        let may = rule.contains("mine");
        let reply = user.ask(&once(4, "SET mine:1 v"));
        assert!(if may { reply == Reply::ok() } else { reply.is_error("NOPERM ") }, "{rule}: {reply:?}");
        assert!(user.ask(&once(1, "SET other v")).is_error("NOPERM "), "{rule}");
        assert!(user.ask(&once(1, "DEL mine:1")).is_error("NOPERM "), "{rule}");
    }
}

#[test]
fn every_command_that_it_takes_does_what_it_does_by_itself() {
    let alone = Alone::new(|options| options.set("--cores", "2").set("--shards", "2"));
    let redis = RedisServer::start();
    let (mut client, mut plain, name) =
        (alone.node.client(), Client::connect(redis.address()).expect("it accepts"), id("c"));
    let lines = [
        "SET {t}s v EX 100",
        "APPEND {t}s w",
        "GETSET {t}s x",
        "INCR {t}n",
        "INCRBYFLOAT {t}n 1.5",
        "SETBIT {t}b 7 1",
        "RPUSH {t}l a b c",
        "LINSERT {t}l BEFORE b x",
        "LPOP {t}l",
        "LMOVE {t}l {t}m LEFT RIGHT",
        "LMPOP 2 {t}none {t}l LEFT",
        "HSET {t}h f 1 g 2",
        "HINCRBY {t}h f 5",
        "HDEL {t}h g",
        "SADD {t}set a b c",
        "SMOVE {t}set {t}other a",
        "SUNIONSTORE {t}all {t}set {t}other",
        "ZADD {t}z 1 a 2 b",
        "ZPOPMIN {t}z",
        "ZRANGESTORE {t}zz {t}z 0 -1",
        "GEOADD {t}g 13.3 38.1 x",
        "XADD {t}x 1-1 f v",
        "XGROUP CREATE {t}x g $",
        "XDEL {t}x 1-1",
        "PFADD {t}p a b",
        "RENAME {t}s {t}r",
        "COPY {t}r {t}c",
        "EXPIRE {t}r 50",
        "PERSIST {t}r",
        "DEL {t}r {t}c {t}none",
        "MSET {t}1 1 {t}2 2",
        "MSETNX {t}1 1 {t}3 2",
        "BITOP NOT {t}o {t}b",
        "LPUSH {t}h x",
        "INCR {t}l",
    ];
    for (number, line) in lines.iter().enumerate() {
        let call = format!("BASALT ONCE {name} {} {line}", number + 1);
        let first = client.ask(&call);
        assert_eq!(first, plain.ask(line), "{line}");
        assert_eq!(client.ask(&call), first, "{line}");
    }
    for key in
        ["s", "n", "b", "l", "m", "h", "set", "other", "all", "z", "zz", "g", "x", "p", "r", "c", "1", "2", "3", "o"]
    {
        let ask = format!("DUMP {{t}}{key}");
        // A HyperLogLog and sets of texts are dumped in orders of their own.
        if !["p", "set", "other", "all", "x"].contains(&key) {
            assert_eq!(client.ask(&ask), plain.ask(&ask), "{key}");
        }
    }
}

#[test]
fn a_look_up_that_finds_nothing_is_told_as_of_the_command_that_is_executed() {
    let alone = Alone::new(|options| options.set("--cores", "2").set("--shards", "2"));
    let (mut client, name) = (alone.node.client(), id("c"));
    assert_eq!(client.ask("CONFIG SET notify-keyspace-events Em"), Reply::ok());
    let mut subscriber = Subscriber::new(alone.node.address());
    eventually("the setting holds", DEADLINE, || {
        assert_eq!(client.ask("GETDEL none"), Reply::Null);
        match subscriber.heard() {
            heard if heard.is_empty() => Err(()),
            _ => Ok(()),
        }
    });
    assert_eq!(client.ask(&format!("BASALT ONCE {name} 1 GETDEL missed")), Reply::Null);
    let mut heard = Vec::new();
    eventually("it is told", DEADLINE, || {
        heard.extend(subscriber.heard());
        if heard.iter().any(|(_, key)| key == "missed") { Ok(()) } else { Err(heard.clone()) }
    });
    assert!(heard.iter().all(|(channel, _)| channel == "__keyevent@0__:keymiss"), "{heard:?}");
}
