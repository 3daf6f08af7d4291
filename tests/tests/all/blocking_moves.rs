//! Clients that wait for an element which goes to a key of another shard (BLMOVE, BRPOPLPUSH): served in their order, and no
//! element is lost or doubled, whatever becomes of them and of the node.

use std::collections::BTreeMap;
use std::sync::atomic::{AtomicU64, Ordering};
use std::thread;
use std::time::{Duration, Instant};

use basalt_tests::{Client, DEADLINE, NodeOptions, RedisServer, Reply, eventually};
use rand::RngExt as _;
use rand::rngs::SmallRng;

use crate::blocking::{compare, figure, is_silent, node, send, until_blocked};

const WRONG_TYPE: &str = "WRONGTYPE Operation against a key holding the wrong kind of value";

/// Keys in several shards of four: somebody may wait for the first ones, elements are moved to the others.
const SOURCES: [&str; 4] = ["source:1", "source:2", "source:3", "source:4"];
const DESTINATIONS: [&str; 4] = ["to:1", "to:2", "to:3", "to:4"];

fn draw(random: &mut SmallRng, waits: bool) -> String {
    let mut pick = |from: &[&str]| from[random.random_range(0..from.len())].to_owned();
    let (key, to, more) = (pick(&SOURCES), pick(&DESTINATIONS), pick(&SOURCES));
    let (end, other_end) = (pick(&["LEFT", "RIGHT"]), pick(&["left", "RIGHT"]));
    if waits {
        return match random.random_range(0..8) {
            0..4 => format!("BLMOVE {key} {to} {end} {other_end} 0"),
            4..6 => format!("BRPOPLPUSH {key} {to} 0"),
            6 => format!("BLPOP {key} {more} 0"),
            _ => format!("BLMPOP 0 2 {key} {more} {end} COUNT 2"),
        };
    }
    match random.random_range(0..16) {
        0..5 => format!("RPUSH {key} {}", random.random_range(0..100)),
        5..8 => format!("LPUSH {key} a b c"),
        8 => format!("LMOVE {key} {to} {end} {other_end}"),
        9 => format!("RENAME {to} {key}"),
        10 => format!("COPY {to} {key} REPLACE"),
        11 => format!("LPOP {key}"),
        12 => format!("SET {key} text"),
        13 => format!("SET {to} text"),
        14 => format!("DEL {to}"),
        _ => format!("DEL {key}"),
    }
}

#[test]
fn clients_that_wait_for_moves_between_shards_are_answered_as_by_redis() {
    let redis = RedisServer::start();
    let keys = [SOURCES, DESTINATIONS].concat();
    for (cores, shards) in [("1", "4"), ("2", "4")] {
        let alone = node(cores, shards);
        for seed in 0..5 {
            compare(&redis, &alone.node, seed, &keys, &mut |random, _, waits| draw(random, waits));
        }
    }
}

#[test]
fn who_waits_longest_moves_first_and_those_behind_get_what_is_left() {
    let alone = node("2", "4");
    let mut writer = alone.node.client();
    for source in SOURCES {
        for bring in ["RPUSH K 0 1 2 3 4", "COPY list K"] {
            writer.ask("RPUSH list 0 1 2 3 4");
            let mut waiting: Vec<Client> = (0..6).map(|_| alone.node.client()).collect();
            for (at, client) in waiting.iter_mut().enumerate() {
                match at % 3 {
                    1 => send(client, &format!("BLPOP {source} 0")),
                    _ => send(client, &format!("BLMOVE {source} {} LEFT RIGHT 0", DESTINATIONS[at % 4])),
                }
                until_blocked(&mut writer, at as u64 + 1);
            }
            writer.ask(&bring.replace('K', source));
            for (at, client) in waiting[..5].iter_mut().enumerate() {
                let reply = client.read().expect("it is served");
                match at % 3 {
                    1 => assert_eq!(reply, Reply::bulks([source, &at.to_string()]), "{bring}"),
                    _ => assert_eq!(reply, Reply::bulk(at.to_string()), "{bring}"),
                }
            }
            assert!(is_silent(&waiting[5]), "{bring}");
            // Who comes when there are elements is behind who waits for them.
            writer.ask(&format!("RPUSH {source} 5"));
            assert_eq!(waiting[5].read().expect("it is served"), Reply::bulk("5"));
            writer.ask(&format!("RPUSH {source} 6"));
            assert_eq!(writer.ask(&format!("BRPOPLPUSH {source} to:2 0")), Reply::bulk("6"));
            until_blocked(&mut writer, 0);
            writer.ask("FLUSHALL");
        }
    }
}

#[test]
fn a_move_wakes_who_waits_at_its_destination() {
    let alone = node("2", "4");
    let (mut writer, mut first, mut last) = (alone.node.client(), alone.node.client(), alone.node.client());
    for (at, source) in SOURCES.iter().enumerate() {
        let (middle, end) = (DESTINATIONS[at], DESTINATIONS[(at + 1) % 4]);
        send(&mut last, &format!("BRPOPLPUSH {middle} {end} 0"));
        send(&mut first, &format!("BLMOVE {source} {middle} LEFT LEFT 0"));
        until_blocked(&mut writer, 2);
        writer.ask(&format!("RPUSH {source} v"));
        assert_eq!(first.read().expect("it is served"), Reply::bulk("v"));
        assert_eq!(last.read().expect("it is served"), Reply::bulk("v"));
        assert_eq!(writer.ask(&format!("LRANGE {end} 0 -1")), Reply::bulks(["v"]));
        assert_eq!(writer.ask(&format!("EXISTS {source} {middle}")), Reply::Integer(0));
        writer.ask("FLUSHALL");
    }
}

#[test]
fn other_types_and_times_are_told_as_by_redis() {
    let alone = node("2", "4");
    let (mut client, mut writer) = (alone.node.client(), alone.node.client());
    for (source, to) in SOURCES.iter().flat_map(|source| DESTINATIONS.map(|to| (source, to))) {
        let start = Instant::now();
        assert_eq!(client.ask(&format!("BLMOVE {source} {to} LEFT LEFT 0.02")), Reply::Null);
        assert!(start.elapsed() >= Duration::from_millis(20));
        for other in ["SET K v", "ZADD K 1 v"] {
            // The source at once, or, where one waits already, not at all.
            writer.ask(&other.replace('K', source));
            assert_eq!(client.ask(&format!("BRPOPLPUSH {source} {to} 0")), Reply::Error(WRONG_TYPE.to_owned()));
            writer.ask(&format!("DEL {source}"));
            send(&mut client, &format!("BRPOPLPUSH {source} {to} 0"));
            until_blocked(&mut writer, 1);
            writer.ask(&other.replace('K', source));
            writer.ask(&format!("DEL {source}"));
            // The destination when there is something to move, which stays where it is.
            writer.ask(&other.replace('K', to));
            writer.ask(&format!("RPUSH {source} x"));
            assert_eq!(client.read().expect("a reply"), Reply::Error(WRONG_TYPE.to_owned()));
            assert_eq!(writer.ask(&format!("LRANGE {source} 0 -1")), Reply::bulks(["x"]));
            writer.ask("FLUSHALL");
        }
    }
    until_blocked(&mut writer, 0);
    assert_eq!(figure(&mut writer, "clients", "clients_in_timeout_table"), 0);
}

#[test]
fn nothing_is_moved_for_who_has_hung_up_or_was_unblocked() {
    let alone = node("2", "4");
    let mut other = alone.node.client();
    for source in SOURCES {
        let mut gone = alone.node.client();
        send(&mut gone, &format!("BLMOVE {source} to:1 LEFT LEFT 0"));
        until_blocked(&mut other, 1);
        assert!(other.ask("CLIENT LIST").text().contains(" flags=b "));
        drop(gone);
        until_blocked(&mut other, 0);
        for (how, expected) in [
            ("TIMEOUT", Reply::Null),
            ("ERROR", Reply::Error("UNBLOCKED client unblocked via CLIENT UNBLOCK".to_owned())),
        ] {
            let mut unblocked = alone.node.client();
            let id = unblocked.ask("CLIENT ID").integer();
            send(&mut unblocked, &format!("BRPOPLPUSH {source} to:1 0"));
            until_blocked(&mut other, 1);
            assert_eq!(other.ask(&format!("CLIENT UNBLOCK {id} {how}")), Reply::Integer(1));
            assert_eq!(unblocked.read().expect("a reply"), expected);
            assert_eq!(unblocked.ask("PING"), Reply::Simple("PONG".to_owned()));
        }
        until_blocked(&mut other, 0);
        assert_eq!(other.ask(&format!("RPUSH {source} v")), Reply::Integer(1));
        assert_eq!(other.ask("EXISTS to:1"), Reply::Integer(0));
        other.ask("FLUSHALL");
    }
    assert_eq!(figure(&mut other, "memory", "memory_waiting_clients"), 0);
}

#[test]
fn a_stop_tells_who_waits_for_a_move() {
    let mut alone = node("2", "4");
    let (mut waiting, mut other) = (alone.node.client(), alone.node.client());
    send(&mut waiting, "BLMOVE source:1 to:1 LEFT LEFT 0");
    send(&mut waiting, "PING");
    until_blocked(&mut other, 1);
    alone.node.stop();
    assert!(waiting.read().expect("a reply").is_error("UNBLOCKED"));
}

/// The tokens in the lists, with the number of times that each is there.
fn tokens(client: &mut Client, keys: &[&str]) -> BTreeMap<String, usize> {
    let mut found = BTreeMap::new();
    for key in keys {
        let reply = client.ask(&format!("LRANGE {key} 0 -1"));
        let Reply::Array(elements) = reply else { panic!("{key}: {reply:?}") };
        elements.iter().for_each(|element| *found.entry(element.text()).or_default() += 1);
    }
    found
}

#[test]
fn no_element_is_lost_or_doubled_that_is_moved_for_waiters_while_the_node_is_killed() {
    const TOKENS: usize = 40;
    let dir = tempfile::tempdir().expect("a temporary directory");
    let options = NodeOptions::new(dir.path().join("data")).set("--shards", "4").set("--cores", "2");
    let keys = ["source:1", "source:2", "to:1", "to:2", "to:3"];
    let mut node = options.start();
    let mut client = node.client();
    (0..TOKENS).for_each(|token| drop(client.ask(&format!("RPUSH source:1 {token}"))));
    for cycle in 0..3 {
        let moved = AtomicU64::new(0);
        thread::scope(|scope| {
            for thread in 0..8usize {
                let (mut client, moved) = (node.client(), &moved);
                scope.spawn(move || {
                    for round in 0usize.. {
                        let (from, to) = (keys[(thread + round) % 5], keys[(thread + round + 1 + thread % 4) % 5]);
                        let line = match thread % 2 {
                            0 => format!("BLMOVE {from} {to} LEFT RIGHT 0.05"),
                            _ => format!("BRPOPLPUSH {from} {to} 0.05"),
                        };
                        match client.try_call(line.split(' ')) {
                            Ok(Reply::Null) => {}
                            Ok(Reply::Bulk(_)) => drop(moved.fetch_add(1, Ordering::Relaxed)),
                            Ok(other) => panic!("{line}: {other:?}"),
                            Err(_) => return,
                        }
                    }
                });
            }
            eventually("elements are moved", DEADLINE, || match moved.load(Ordering::Relaxed) {
                count if count < 200 => Err(count),
                _ => Ok(()),
            });
            node.kill();
        });
        node.kill_9();
        node = options.start();
        client = node.client();
        eventually("all shards are open", DEADLINE, || match client.call([&["EXISTS"], &keys[..]].concat()) {
            Reply::Integer(_) => Ok(()),
            other => Err(format!("{other:?}")),
        });
        // What is decided is executed in all shards a moment after the start.
        eventually("every token is there once", DEADLINE, || {
            let found = tokens(&mut client, &keys);
            if found.len() == TOKENS && found.values().all(|count| *count == 1) { Ok(()) } else { Err(found) }
        });
        println!("cycle {cycle}: {} moves", moved.load(Ordering::Relaxed));
    }
}
