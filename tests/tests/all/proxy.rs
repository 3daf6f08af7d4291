//! `redirect = "proxy"`: clients that know nothing of clusters, at any node of one.

use std::collections::BTreeSet;
use std::net::SocketAddr;
use std::process::Command;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use basalt_tests::{Client, DEADLINE, Node, NodeOptions, Reply, eventually};

use super::nodes::{addresses, client, create, free_ports, options_at, wait_for};

/// Three nodes that pass commands on, with one core each, and the ports and settings with which they are started again.
struct Three {
    directory: tempfile::TempDir,
    ports: [u16; 3],
    settings: Vec<(String, String)>,
    nodes: Vec<Node>,
}

impl Three {
    fn new(settings: &[(&str, &str)]) -> Three {
        let directory = tempfile::tempdir().expect("a temporary directory");
        let settings = [("--redirect", "proxy"), ("--cluster-secret", "a secret of this cluster")]
            .iter()
            .chain(settings)
            .map(|(name, value)| ((*name).to_owned(), (*value).to_owned()))
            .collect();
        let mut three = Three { directory, ports: [(); 3].map(|()| free_ports()), settings, nodes: Vec::new() };
        three.nodes = (0..3).map(|number| three.options(number).start()).collect();
        create(&three.nodes);
        wait_for(&three.addresses(), "cluster_state", "ok");
        three.wait_for_homes();
        three
    }

    fn options(&self, number: usize) -> NodeOptions {
        let options = options_at(self.directory.path(), number, self.ports[number]).set("--cores", "1");
        self.settings.iter().fold(options, |options, (name, value)| options.set(name, value))
    }

    fn restart(&mut self, number: usize) {
        self.nodes[number] = self.options(number).start();
    }

    fn addresses(&self) -> Vec<SocketAddr> {
        addresses(&self.nodes)
    }

    fn client(&self, number: usize) -> Client {
        self.nodes[number].client()
    }

    /// Waits until each node leads a group, and all groups have three voters.
    fn wait_for_homes(&self) {
        for node in self.addresses() {
            eventually("each node leads a group of three", DEADLINE, || {
                let info = client(node).ask("INFO raft").text();
                let led =
                    info.lines().filter(|line| line.contains("role=leader") && line.ends_with("voters=3")).count();
                let slots = client(node).ask("CLUSTER NODES").text();
                let masters = slots.lines().filter(|line| line.split(' ').count() > 8).count();
                if led >= 1 && masters == 3 { Ok(()) } else { Err((info, slots)) }
            });
        }
    }

    /// The node that leads a key, as node 0 knows.
    fn leader_of(&self, key: &str) -> usize {
        self.leader_as_known_by(0, key)
    }

    fn leader_as_known_by(&self, node: usize, key: &str) -> usize {
        let mut client = self.client(node);
        let slot = client.ask(&format!("CLUSTER KEYSLOT {key}")).integer();
        let slots = client.ask("CLUSTER SLOTS");
        let range = slots.elements().iter().find(|range| {
            let range = range.elements();
            (range[0].integer()..=range[1].integer()).contains(&slot)
        });
        let port = range.expect("each slot is led").elements()[2].elements()[1].integer();
        self.ports.iter().position(|own| i64::from(*own) == port).expect("it is one of the three")
    }

    /// A key that a node leads.
    fn key_of(&self, node: usize, name: &str) -> String {
        let is_led = |key: &String| self.leader_of(key) == node;
        (0..1000).map(|tag| format!("{name}:{tag}")).find(is_led).expect("it leads a third of all keys")
    }
}

/// Calls of each family, `K` for a key and `L` for another one of its slot. Their replies are the same each time.
const CALLS: &[&str] = &[
    "SET K v",
    "GET K",
    "APPEND K w",
    "STRLEN K",
    "GETRANGE K 0 0",
    "SETRANGE K 1 xyz",
    "INCR K",
    "SET K 5",
    "INCRBY K 7",
    "INCRBYFLOAT K 0.5",
    "GETSET K z",
    "GETDEL K",
    "SETNX K 1",
    "SETBIT K 7 1",
    "GETBIT K 7",
    "BITCOUNT K",
    "BITFIELD K GET u8 0",
    "EXPIRE K 1000",
    "PERSIST K",
    "TYPE K",
    "OBJECT ENCODING K",
    "EXISTS K L",
    "MSET K 1 L 2",
    "MGET K L nosuch",
    "DEL K L",
    "HSET K a 1 b 2",
    "HGETALL K",
    "HINCRBY K a 5",
    "HMGET K a b c",
    "HDEL K a",
    "HLEN K",
    "GET K",
    "LPUSH K x",
    "DEL K",
    "RPUSH K a b c",
    "LRANGE K 0 -1",
    "LINSERT K BEFORE b x",
    "LMOVE K L LEFT RIGHT",
    "LPOS K c",
    "LTRIM K 0 1",
    "LPOP K 5",
    "BLPOP K 0.01",
    "RPUSH K a",
    "BLPOP K 0",
    "DEL K L",
    "SADD K a b c",
    "SMEMBERS K",
    "SISMEMBER K a",
    "SMOVE K L a",
    "SUNION K L",
    "SINTERSTORE L K K",
    "SCARD L",
    "DEL K L",
    "ZADD K 1 a 2 b 3 c",
    "ZRANGE K 0 -1 WITHSCORES",
    "ZRANK K b",
    "ZINCRBY K 2 a",
    "ZRANGESTORE L K 0 -1",
    "ZPOPMIN K",
    "ZSCORE K c",
    "DEL K L",
    "XADD K 1-1 f v",
    "XADD K 2-1 f w",
    "XRANGE K - +",
    "XLEN K",
    "XREAD COUNT 1 STREAMS K 0",
    "XREAD BLOCK 10 STREAMS K $",
    "XGROUP CREATE K g 0",
    "XREADGROUP GROUP g c STREAMS K >",
    "XPENDING K g",
    "XACK K g 1-1",
    "XADD K 1-1 f v",
    "DEL K",
    "PFADD K a b",
    "PFCOUNT K",
    "DEL K",
    "GEOADD K 13.3 38.1 p",
    "GEOPOS K p",
    "GEOSEARCH K FROMMEMBER p BYRADIUS 1 km",
    "DEL K",
    "SET K 1",
    "COPY K L",
    "RENAME K L",
    "RENAME K L",
    "GET L",
    "DEL K L",
    "RPUSH K 3 1 2",
    "SORT K",
    "SORT K STORE L",
    "LRANGE L 0 -1",
    "DEL K L",
    "SET K",
    "NOSUCH K",
    "SET K 1 XX",
    "SET K 1 PX x",
    "EVAL return(redis.call('incr',KEYS[1])) 1 K",
    "EVAL return{KEYS[1]==KEYS[2],ARGV[1]} 2 K L x",
    "EVAL return(redis.call('nosuch')) 1 K",
    "EVALSHA 0000000000000000000000000000000000000000 1 K",
    "EVAL return 1 K",
    "EVAL_RO return(redis.call('get',KEYS[1])) 1 K",
    "DEL K",
    "SSUBSCRIBE",
    "SET K v",
    "WATCH K",
    "MULTI",
    "INCR L",
    "GET K",
    "EXEC",
    "MULTI",
    "INCR L",
    "NOSUCH",
    "EXEC",
    "MULTI",
    "INCR L",
    "DISCARD",
    "UNWATCH",
    "GET L",
    "TTL L",
    "DEL K L",
    "OBJECT HELP",
];

#[test]
fn each_node_answers_for_keys_of_others_as_their_leader_does() {
    let three = Three::new(&[]);
    for protocol in [2, 3] {
        for leader in 0..3 {
            let key = three.key_of(leader, &format!("call:{protocol}"));
            let (mut direct, mut through) = (three.client(leader), three.client((leader + 1) % 3));
            for client in [&mut direct, &mut through] {
                client.ask(&format!("HELLO {protocol}"));
            }
            for call in CALLS {
                let ask = |client: &mut Client, name: &str| {
                    let words = call.split(' ').map(|word| match word {
                        "K" => format!("{{{key}}}:{name}"),
                        "L" => format!("{{{key}}}:{name}:other"),
                        word => word.to_owned(),
                    });
                    format!("{:?}", client.call(words)).replace(name, "?")
                };
                let (expected, found) = (ask(&mut direct, "direct"), ask(&mut through, "proxied"));
                // Members of sets have an order that depends on nothing but their key's name, which is another one.
                let sorted = |text: &str| text.chars().collect::<BTreeSet<char>>();
                let is_unordered = ["SMEMBERS", "SUNION"].iter().any(|name| call.starts_with(name));
                assert!(
                    expected == found || (is_unordered && sorted(&expected) == sorted(&found)),
                    "{call} with protocol {protocol}: {found} in place of {expected}"
                );
            }
        }
    }
    let keys: Vec<String> = (0..3).map(|leader| three.key_of(leader, "cross")).collect();
    for node in 0..3 {
        let mut client = three.client(node);
        assert!(client.ask(&format!("MSET {} 1 {} 2", keys[0], keys[1])).is_error("CROSSSLOT"));
        // What stays with the node is refused by name, with the address.
        let elsewhere = &keys[(node + 1) % 3];
        let refused = client.ask(&format!("SSUBSCRIBE {elsewhere}"));
        let Reply::Error(text) = &refused else { panic!("{refused:?}") };
        let address = three.addresses()[(node + 1) % 3].to_string();
        assert!(text.contains("'ssubscribe' is not forwarded") && text.contains(&address), "{text}");
    }
    let proxied = three.client(0).ask("INFO stats").text();
    assert!(
        proxied.lines().any(|line| line.starts_with("commands_proxied:") && line != "commands_proxied:0"),
        "{proxied}"
    );
}

#[test]
fn replies_come_in_the_order_of_the_requests_and_show_what_was_written_before() {
    let three = Three::new(&[]);
    let keys: Vec<String> = (0..3).map(|leader| three.key_of(leader, "order")).collect();
    let mut client = three.client(0);
    let mut commands: Vec<Vec<String>> = Vec::new();
    let mut expected: Vec<Reply> = Vec::new();
    for number in 0..3000 {
        let key = &keys[number * 7 % 3];
        let value = format!("{number}-{}", "v".repeat(number % 50));
        commands.push(vec!["SET".into(), key.clone(), value.clone()]);
        expected.push(Reply::ok());
        commands.push(vec!["GET".into(), key.clone()]);
        expected.push(Reply::bulk(&value));
        if number % 10 == 0 {
            commands.push(vec!["ECHO".into(), number.to_string()]);
            expected.push(Reply::bulk(number.to_string()));
        }
    }
    assert_eq!(client.pipeline_patiently(commands), expected);
    // Replies that are not wanted take no places.
    let mut bytes = Vec::new();
    Client::encode(&mut bytes, ["CLIENT", "REPLY", "OFF"]);
    Client::encode(&mut bytes, ["SET", &keys[1], "unheard"]);
    Client::encode(&mut bytes, ["CLIENT", "REPLY", "ON"]);
    Client::encode(&mut bytes, ["GET", &keys[1]]);
    client.send(&bytes).expect("it is read");
    let replies = [client.read().expect("it is answered"), client.read().expect("it is answered")];
    assert_eq!(replies, [Reply::ok(), Reply::bulk("unheard")]);
}

#[test]
fn commands_over_all_keys_are_those_of_the_whole_cluster() {
    let three = Three::new(&[]);
    assert_eq!(three.client(0).ask("RANDOMKEY"), Reply::Null);
    let names: BTreeSet<String> = (0..2000).map(|number| format!("key:{number}")).collect();
    let sets: Vec<Vec<String>> = names.iter().map(|name| vec!["SET".into(), name.clone(), "v".into()]).collect();
    assert!(three.client(1).pipeline_patiently(sets).iter().all(|reply| *reply == Reply::ok()));
    for node in 0..3 {
        let mut client = three.client(node);
        assert_eq!(client.ask("DBSIZE"), Reply::Integer(2000));
        let keys: Vec<String> = client.ask("KEYS *").elements().iter().map(Reply::text).collect();
        assert_eq!((keys.len(), keys.into_iter().collect::<BTreeSet<_>>() == names), (2000, true));
        assert_eq!(client.ask("KEYS key:1?").elements().len(), 10);
        assert!(names.contains(&client.ask("RANDOMKEY").text()));
    }
    // A cursor may be taken to any node.
    let (mut cursor, mut found, mut turn) = ("0".to_owned(), Vec::new(), 0);
    loop {
        let reply = three.client(turn % 3).ask(&format!("SCAN {cursor} COUNT 100"));
        found.extend(reply.elements()[1].elements().iter().map(Reply::text));
        cursor = reply.elements()[0].text();
        turn += 1;
        if cursor == "0" {
            break;
        }
    }
    assert_eq!(found.len(), 2000, "each key is found once while nothing changes");
    assert_eq!(found.into_iter().collect::<BTreeSet<_>>(), names);
    assert!(three.client(0).ask("SCAN x").is_error("ERR invalid cursor"));
    let mut client = three.client(2);
    client.ask("MULTI");
    assert!(client.ask("DBSIZE").is_error("CROSSSLOT"));
    client.ask("DISCARD");
    assert_eq!(client.ask("FLUSHALL"), Reply::ok());
    assert_eq!(three.client(0).ask("DBSIZE"), Reply::Integer(0));
    three.client(0).ask("SET one 1");
    assert_eq!(three.client(1).ask("RANDOMKEY").text(), "one");
    assert_eq!(client.ask("FLUSHDB SYNC"), Reply::ok());
    assert_eq!(three.client(1).ask("DBSIZE"), Reply::Integer(0));
}

#[test]
fn large_values_pass_and_nobody_holds_them_as_a_whole() {
    let three = Three::new(&[]);
    let (leader, node) = (1, 0);
    let tag = three.key_of(leader, "large");
    let mut client = three.client(node);
    let value = |number: usize| vec![b'a' + number as u8; 16 << 20];
    let key = |number: usize| format!("{{{tag}}}:{number}");
    for number in 0..4 {
        let reply = client.call_patiently([b"SET".to_vec(), key(number).into_bytes(), value(number)]);
        assert_eq!(reply, Reply::ok());
    }
    assert_eq!(client.call_patiently(["GET".to_owned(), key(3)]), Reply::bulk(value(3)));
    let before = three.nodes[node].resident_bytes();
    let mut reader = three.client(node);
    let mut words = vec!["MGET".to_owned()];
    words.extend((0..16).map(|number| key(number % 4)));
    let mut bytes = Vec::new();
    Client::encode(&mut bytes, &words);
    reader.send(&bytes).expect("it is read");
    // A client that does not read for a while: 256 MiB wait for it, and not here.
    eventually("the node has begun to answer", DEADLINE, || {
        let clients = three.client(node).ask("CLIENT LIST").text();
        let is_fed = |line: &str| line.contains("cmd=mget") && !line.contains(" omem=0 ");
        if clients.lines().any(is_fed) { Ok(()) } else { Err(clients) }
    });
    assert_eq!(client.ask(&format!("STRLEN {}", key(0))).integer(), 16 << 20, "others go on");
    let grown = three.nodes[node].resident_bytes().saturating_sub(before);
    assert!(grown < 64 << 20, "it holds {} MiB more", grown >> 20);
    let reply = reader.read().expect("it is answered");
    let elements = reply.elements();
    assert!(elements.len() == 16 && (0..16).all(|number| elements[number] == Reply::bulk(value(number % 4))));
}

#[test]
fn transactions_watch_and_execute_where_the_keys_are() {
    let three = Three::new(&[]);
    let key = three.key_of(1, "watched");
    let (mut client, mut other) = (three.client(0), three.client(2));
    for (is_changed, expected) in [(false, Reply::Array(vec![Reply::Integer(1)])), (true, Reply::Null)] {
        other.ask(&format!("DEL {key} {{{key}}}:n"));
        assert_eq!(client.ask(&format!("WATCH {key}")), Reply::ok());
        if is_changed {
            assert_eq!(other.ask(&format!("SET {key} 1")), Reply::ok());
        }
        client.ask("MULTI");
        assert_eq!(client.ask(&format!("INCR {{{key}}}:n")), Reply::Simple("QUEUED".into()));
        assert_eq!(client.ask("EXEC"), expected, "changed: {is_changed}");
    }
    // Unwatched, and with a watch of its own node's keys it is one of two nodes.
    client.ask(&format!("WATCH {key}"));
    assert_eq!(client.ask("UNWATCH"), Reply::ok());
    other.ask(&format!("SET {key} 2"));
    client.ask("MULTI");
    client.ask(&format!("GET {key}"));
    assert_eq!(client.ask("EXEC"), Reply::bulks(["2"]));
    let own = three.key_of(0, "watched");
    client.ask(&format!("WATCH {key}"));
    assert!(client.ask(&format!("WATCH {own}")).is_error("CROSSSLOT"));
    client.ask("UNWATCH");
    // A command of the node between those of another one.
    client.ask("MULTI");
    client.ask(&format!("SET {key} 3"));
    client.ask("PING");
    let refused = client.ask("EXEC");
    assert!(refused.is_error("EXECABORT"), "{refused:?}");
    assert_eq!(other.ask(&format!("GET {key}")).text(), "2");
    // Scripts by their digest, alone and in a transaction: the leader has never seen the text.
    let sha = client.ask("SCRIPT LOAD return(redis.call('get',KEYS[1])..ARGV[1])").text();
    assert_eq!(client.ask(&format!("EVALSHA {sha} 1 {key} x")).text(), "2x");
    client.ask("MULTI");
    client.ask(&format!("EVALSHA {sha} 1 {key} y"));
    assert_eq!(client.ask("EXEC"), Reply::bulks(["2y"]));
    // A script says what it likes, and is run once.
    let text = "redis.call('incr',KEYS[1]) return redis.error_reply('MOVED 1 127.0.0.1:1')";
    let reply = client.call(["EVAL", text, "1", &key]);
    assert!(reply.is_error("MOVED 1 127.0.0.1:1"), "{reply:?}");
    assert_eq!(other.ask(&format!("GET {key}")).text(), "3");
    assert_eq!(client.ask(&format!("SPUBLISH {key} m")).integer(), 0);
    assert!(client.ask("WAIT 1 10").is_error("ERR 'wait' is not forwarded"));
}

#[test]
fn blocked_clients_wait_at_the_leader_and_take_nothing_once_they_are_gone() {
    let three = Three::new(&[]);
    let key = three.key_of(1, "queue");
    let blocked = |three: &Three| {
        let mut waiting = three.client(0);
        let mut bytes = Vec::new();
        Client::encode(&mut bytes, ["BLPOP", &key, "0"]);
        waiting.send(&bytes).expect("it is read");
        waiting
    };
    let until_blocked = |count: usize| {
        eventually("clients wait at the leader", DEADLINE, || {
            let info = three.client(1).ask("INFO clients").text();
            let line = format!("blocked_clients:{count}");
            if info.lines().any(|found| found.trim() == line) { Ok(()) } else { Err(info) }
        });
    };
    let mut waiting = blocked(&three);
    until_blocked(1);
    assert_eq!(three.client(2).ask(&format!("RPUSH {key} a")).integer(), 1);
    assert_eq!(waiting.read().expect("it is served"), Reply::bulks([key.as_str(), "a"]));
    let waiting = blocked(&three);
    until_blocked(1);
    drop(waiting);
    until_blocked(0);
    assert_eq!(three.client(2).ask(&format!("RPUSH {key} b")).integer(), 1);
    assert_eq!(three.client(2).ask(&format!("LLEN {key}")).integer(), 1, "nobody has taken it");
}

#[test]
fn rights_are_those_of_the_client_at_the_node_that_it_talks_to() {
    let three = Three::new(&[]);
    let key = three.key_of(1, "mine");
    let other = three.key_of(1, "other");
    let mut operator = three.client(0);
    assert_eq!(operator.ask(&format!("ACL SETUSER u on >p ~{{{key}}}* +@all -del")), Reply::ok());
    let mut client = three.client(0);
    assert_eq!(client.ask("AUTH u p"), Reply::ok());
    let allowed = format!("{{{key}}}:1");
    assert_eq!(client.ask(&format!("SET {allowed} 1")), Reply::ok());
    assert!(client.ask(&format!("SET {other} 1")).is_error("NOPERM"));
    assert!(client.ask(&format!("DEL {allowed}")).is_error("NOPERM"));
    let incr = "return redis.call('incr', KEYS[1])";
    assert_eq!(client.call(["EVAL", incr, "1", &allowed]).integer(), 2);
    for text in ["return redis.call('del', KEYS[1])", "return redis.call('get', 'x')"] {
        let reply = client.call(["EVAL", text, "1", &allowed]);
        assert!(matches!(&reply, Reply::Error(_)), "{text}: {reply:?}");
    }
    client.ask("MULTI");
    client.call(["EVAL", "return redis.call('del', KEYS[1])", "1", &allowed]);
    let Reply::Array(replies) = client.ask("EXEC") else { panic!("it is executed") };
    assert!(matches!(&replies[0], Reply::Error(_)), "{replies:?}");
    // Another user of the same connection has other rights, at once.
    assert_eq!(client.ask("AUTH default x"), Reply::ok());
    assert_eq!(client.call(["EVAL", "return redis.call('del', KEYS[1])", "1", &allowed]).integer(), 1);
}

/// Adds one to counters again and again, through one node, many at a time.
struct Adder {
    stop: Arc<AtomicBool>,
    thread: std::thread::JoinHandle<Vec<(i64, i64)>>,
}

impl Adder {
    fn start(node: SocketAddr, keys: Vec<String>) -> Adder {
        let stop = Arc::new(AtomicBool::new(false));
        let stopped = stop.clone();
        let thread = std::thread::spawn(move || {
            let mut client = client(node);
            // For each key how many were acknowledged, and of how many nobody knows.
            let mut counts = vec![(0_i64, 0_i64); keys.len()];
            let mut last = vec![0_i64; keys.len()];
            while !stopped.load(Ordering::Relaxed) {
                let commands: Vec<Vec<String>> =
                    (0..60).map(|number| vec!["INCR".to_owned(), keys[number % keys.len()].clone()]).collect();
                for (number, reply) in client.pipeline_patiently(commands).into_iter().enumerate() {
                    let at = number % keys.len();
                    match reply {
                        Reply::Integer(value) => {
                            assert!(value > last[at], "{}: {value} behind {}", keys[at], last[at]);
                            last[at] = value;
                            counts[at].0 += 1;
                        }
                        Reply::Error(text) if text.starts_with("UNCERTAIN") => counts[at].1 += 1,
                        Reply::Error(text) => {
                            let is_certain =
                                ["TRYAGAIN", "CLUSTERDOWN", "BUSY"].iter().any(|word| text.starts_with(word));
                            assert!(is_certain, "{text}");
                        }
                        other => panic!("{other:?}"),
                    }
                }
            }
            counts
        });
        Adder { stop, thread }
    }
}

#[test]
fn what_is_acknowledged_stays_and_nothing_is_executed_twice_when_the_leader_is_killed() {
    let mut three = Three::new(&[]);
    let keys: Vec<String> = (0..3).map(|leader| three.key_of(leader, "counter")).collect();
    let adders: Vec<Adder> = (0..4).map(|_| Adder::start(three.addresses()[0], keys.clone())).collect();
    let value = |three: &Three, key: &str| {
        eventually("the counter is told", DEADLINE, || match three.client(0).ask(&format!("GET {key}")) {
            Reply::Bulk(text) => Ok(String::from_utf8_lossy(&text).parse::<i64>().expect("a number")),
            Reply::Null => Ok(0),
            other => Err(other),
        })
    };
    let goes_on = |three: &Three| {
        for key in &keys {
            let mut before = None;
            eventually("counters go on", DEADLINE, || {
                let now = value(three, key);
                let first = *before.get_or_insert(now);
                if now > first + 200 { Ok(()) } else { Err((first, now)) }
            });
        }
    };
    for killed in [1, 2] {
        goes_on(&three);
        three.nodes[killed].kill_9();
        goes_on(&three);
        three.restart(killed);
        wait_for(&three.addresses(), "cluster_state", "ok");
        three.wait_for_homes();
        goes_on(&three);
    }
    let mut counts = vec![(0, 0); keys.len()];
    for adder in adders {
        adder.stop.store(true, Ordering::Relaxed);
        for (all, of_one) in counts.iter_mut().zip(adder.thread.join().expect("an adder ends")) {
            *all = (all.0 + of_one.0, all.1 + of_one.1);
        }
    }
    for (key, (acknowledged, uncertain)) in keys.iter().zip(counts) {
        let found = value(&three, key);
        assert!(
            (acknowledged..=acknowledged + uncertain).contains(&found),
            "{key}: {found} is there, {acknowledged} were acknowledged and {uncertain} may have been"
        );
        assert!(acknowledged > 400, "{key}: {acknowledged}");
    }
}

#[test]
fn a_rolling_restart_of_the_others_loses_nothing() {
    let mut three = Three::new(&[]);
    let keys: Vec<String> = (0..3).map(|leader| three.key_of(leader, "counter")).collect();
    let adder = Adder::start(three.addresses()[0], keys.clone());
    for stopped in [1, 2] {
        three.nodes[stopped].stop_written();
        three.restart(stopped);
        wait_for(&three.addresses(), "cluster_state", "ok");
        three.wait_for_homes();
    }
    adder.stop.store(true, Ordering::Relaxed);
    let counts = adder.thread.join().expect("an adder ends");
    for (key, (acknowledged, uncertain)) in keys.iter().zip(counts) {
        let found: i64 = three.client(0).ask(&format!("GET {key}")).text().parse().expect("a number");
        assert!(
            (acknowledged..=acknowledged + uncertain).contains(&found),
            "{key}: {found}, {acknowledged}, {uncertain}"
        );
    }
}

#[test]
fn a_node_that_stands_still_holds_up_nobody_but_who_asks_it() {
    let three = Three::new(&[]);
    let keys: Vec<String> = (0..3).map(|leader| three.key_of(leader, "still")).collect();
    let (mut stuck, mut others) = (three.client(0), three.client(0));
    for key in &keys {
        assert_eq!(stuck.ask(&format!("SET {key} 1")), Reply::ok());
        assert_eq!(others.ask(&format!("SET {key} 1")), Reply::ok());
    }
    three.nodes[1].pause();
    let mut bytes = Vec::new();
    Client::encode(&mut bytes, ["GET", &keys[1]]);
    Client::encode(&mut bytes, ["INCR", &keys[1]]);
    stuck.send(&bytes).expect("it is read");
    let begun = Instant::now();
    let mut longest = Duration::ZERO;
    for number in 0..200 {
        let asked = Instant::now();
        assert_eq!(others.ask(&format!("SET {} {number}", keys[0])), Reply::ok());
        assert_eq!(others.ask(&format!("SET {} {number}", keys[2])), Reply::ok());
        longest = longest.max(asked.elapsed());
    }
    // The two that are left have the longest sync of a machine that is shared to themselves.
    assert!(longest < Duration::from_secs(2), "{longest:?}");
    // The one behind the node that stands still hears in the end, and what it hears is true.
    let replies = [stuck.read().expect("it is answered"), stuck.read().expect("it is answered")];
    assert!(begun.elapsed() < DEADLINE);
    let is_read =
        |reply: &Reply| *reply == Reply::bulk("1") || reply.is_error("TRYAGAIN") || reply.is_error("CLUSTERDOWN");
    let is_written = |reply: &Reply| {
        *reply == Reply::Integer(2) || ["UNCERTAIN", "TRYAGAIN", "CLUSTERDOWN"].iter().any(|word| reply.is_error(word))
    };
    assert!(is_read(&replies[0]) && is_written(&replies[1]), "{replies:?}");
    eventually("its keys are served by others", DEADLINE, || match others.ask(&format!("GET {}", keys[1])) {
        Reply::Bulk(_) => Ok(()),
        other => Err(other),
    });
    three.nodes[1].go_on();
    wait_for(&three.addresses(), "cluster_state", "ok");
    let found: i64 = others.ask(&format!("GET {}", keys[1])).text().parse().expect("a number");
    assert!((1..=2).contains(&found) && (replies[1] != Reply::Integer(2) || found == 2), "{found}: {replies:?}");
}

#[test]
fn programs_that_know_nothing_of_clusters_work_at_one_node() {
    let three = Three::new(&[]);
    let port = three.ports[0].to_string();
    let output = Command::new("redis-benchmark")
        .args(["-p", &port, "-n", "3000", "-c", "20", "-P", "4", "-r", "1000", "-q"])
        .args(["-t", "set,get,incr,lpush,rpop,sadd,hset,zadd"])
        .output()
        .expect("redis-benchmark is installed");
    let text = format!("{}{}", String::from_utf8_lossy(&output.stdout), String::from_utf8_lossy(&output.stderr));
    assert!(!text.contains("rror") && text.matches("requests per second").count() == 8, "{text}");
    let cli = |words: &[&str]| {
        let output =
            Command::new("redis-cli").args(["-p", &port]).args(words).output().expect("redis-cli is installed");
        String::from_utf8_lossy(&output.stdout).trim().to_owned()
    };
    for leader in 0..3 {
        let key = three.key_of(leader, "cli");
        assert_eq!((cli(&["set", &key, "1"]).as_str(), cli(&["get", &key]).as_str()), ("OK", "1"));
    }
    let scanned = cli(&["--scan", "--pattern", "cli:*"]);
    assert_eq!(scanned.lines().count(), 3, "{scanned}");
}

#[test]
fn a_node_that_redirects_says_moved_beside_nodes_that_pass_on() {
    let mut three = Three::new(&[]);
    three.nodes[2].stop_written();
    three.settings.push(("--redirect".to_owned(), "moved".to_owned()));
    three.settings.remove(0);
    three.restart(2);
    wait_for(&three.addresses(), "cluster_state", "ok");
    three.wait_for_homes();
    let key = three.key_of(1, "moved");
    assert!(three.client(2).ask(&format!("SET {key} 1")).is_error("MOVED"));
    assert_eq!(three.client(0).ask(&format!("SET {key} 1")), Reply::ok());
    let own = three.key_of(2, "moved");
    assert_eq!(three.client(0).ask(&format!("SET {own} 1")), Reply::ok());
}

#[test]
fn a_transaction_without_its_watch_is_not_executed() {
    let three = Three::new(&[]);
    let key = three.key_of(1, "watched");
    let (mut client, mut other) = (three.client(0), three.client(2));
    // Another protocol needs another connection to the leader, and that watches nothing.
    assert_eq!(client.ask(&format!("WATCH {key}")), Reply::ok());
    assert_eq!(other.ask(&format!("SET {key} 1")), Reply::ok());
    client.ask("HELLO 3");
    client.ask("MULTI");
    client.ask(&format!("SET {key} 2"));
    assert_eq!(client.ask("EXEC"), Reply::Null);
    assert_eq!(client.ask(&format!("GET {key}")), Reply::bulk("1"));
    // One that only reads is not asked for again once its leader is gone.
    assert_eq!(client.ask(&format!("WATCH {key}")), Reply::ok());
    client.ask("MULTI");
    client.ask(&format!("GET {key}"));
    three.nodes[1].pause();
    let mut bytes = Vec::new();
    Client::encode(&mut bytes, ["EXEC"]);
    client.send(&bytes).expect("it is read");
    three.nodes[1].kill();
    assert_eq!(client.read().expect("it is answered"), Reply::Null);
    eventually("another node leads", DEADLINE, || match client.ask(&format!("GET {key}")) {
        Reply::Bulk(value) if value == b"1" => Ok(()),
        other => Err(other),
    });
}

#[test]
fn a_long_reply_that_nobody_wants_holds_up_nothing() {
    let three = Three::new(&[]);
    let key = three.key_of(1, "unwanted");
    let mut client = three.client(0);
    let value = vec![b'v'; 2 << 20];
    assert_eq!(client.call_patiently([b"SET".to_vec(), key.clone().into_bytes(), value.clone()]), Reply::ok());
    let mut bytes = Vec::new();
    Client::encode(&mut bytes, ["CLIENT", "REPLY", "SKIP"]);
    Client::encode(&mut bytes, ["GET", &key]);
    Client::encode(&mut bytes, ["PING"]);
    client.send(&bytes).expect("it is read");
    assert_eq!(client.read().expect("it is answered"), Reply::Simple("PONG".into()));
    assert_eq!(client.call_patiently(["GET", &key]), Reply::bulk(value));
}

#[test]
fn a_pause_of_writes_bars_those_of_other_nodes_clients() {
    let three = Three::new(&[]);
    let key = three.key_of(1, "paused");
    let (mut client, mut operator) = (three.client(0), three.client(1));
    assert_eq!(client.ask(&format!("SET {key} 1")), Reply::ok());
    assert_eq!(operator.ask("CLIENT PAUSE 600000 WRITE"), Reply::ok());
    let mut bytes = Vec::new();
    Client::encode(&mut bytes, ["FLUSHALL"]);
    client.send(&bytes).expect("it is read");
    eventually("the part waits", DEADLINE, || {
        let clients = three.client(1).ask("CLIENT LIST").text();
        let is_waiting = |line: &str| !line.contains("cmd=client") && !line.contains(" qbuf=0 ");
        if clients.lines().any(is_waiting) { Ok(()) } else { Err(clients) }
    });
    assert_eq!(operator.ask(&format!("GET {key}")), Reply::bulk("1"));
    assert_eq!(operator.ask("CLIENT UNPAUSE"), Reply::ok());
    assert_eq!(client.read().expect("it is answered"), Reply::ok());
    assert_eq!(operator.ask(&format!("GET {key}")), Reply::Null);
}

#[test]
fn a_node_that_takes_no_more_commands_is_named_and_its_own_clients_are_let_in() {
    let three = Three::new(&[]);
    let key = three.key_of(1, "many");
    assert_eq!(three.client(1).ask("CONFIG SET maxclients 1"), Reply::ok());
    let (mut first, mut second) = (three.client(0), three.client(0));
    eventually("it takes one", DEADLINE, || match first.ask(&format!("INCR {key}")) {
        Reply::Integer(1) => Ok(()),
        other => Err(other),
    });
    let begun = Instant::now();
    for command in ["INCR", "GET"] {
        let refused = second.ask(&format!("{command} {key}"));
        let is_named = format!("{refused:?}").contains("takes no more commands");
        assert!(refused.is_error("CLUSTERDOWN") && is_named, "{refused:?}");
    }
    assert!(begun.elapsed() < DEADLINE);
    assert_eq!(first.ask(&format!("GET {key}")), Reply::bulk("1"));
    eventually("its own client is let in", DEADLINE, || {
        let reply = three.client(1).try_call(["GET", &key]);
        if matches!(&reply, Ok(Reply::Bulk(_))) { Ok(()) } else { Err(reply.map_err(|error| error.to_string())) }
    });
    drop(first);
    eventually("there is room for another", DEADLINE, || match second.ask(&format!("GET {key}")) {
        Reply::Bulk(_) => Ok(()),
        other => Err(other),
    });
}

#[test]
fn a_write_whose_reply_is_too_much_for_its_leader_is_uncertain() {
    let three = Three::new(&[]);
    let key = three.key_of(1, "large");
    let mut client = three.client(0);
    let value = vec![b'v'; 8 << 20];
    assert_eq!(client.call_patiently([b"SET".to_vec(), key.clone().into_bytes(), value]), Reply::ok());
    let limit = ["CONFIG", "SET", "client-output-buffer-limit", "normal 1mb 0 0"];
    assert_eq!(three.client(1).call(limit), Reply::ok());
    // Or its connection is closed, if the reply has begun.
    let reply = client.try_call(["GETSET", &key, "1"]);
    assert!(reply.as_ref().map_or(true, |reply| reply.is_error("UNCERTAIN")), "{reply:?}");
    assert_eq!(three.client(0).ask(&format!("GET {key}")), Reply::bulk("1"));
}
