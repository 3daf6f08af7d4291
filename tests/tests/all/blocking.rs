//! Clients that wait for elements: who gets what, in which order, and what becomes of them when something goes wrong.

use std::time::{Duration, Instant};

use basalt_tests::{Client, DEADLINE, Node, RedisServer, Reply, eventually};
use rand::rngs::SmallRng;
use rand::{RngExt as _, SeedableRng as _};

use crate::alone::Alone;

/// Longest wait for a reply that must not come: long enough for a wrong one, as they are sent at once.
const MOMENT: Duration = Duration::from_millis(50);

pub(crate) fn node(cores: &str, shards: &str) -> Alone {
    Alone::new(|options| options.set("--cores", cores).set("--shards", shards))
}

/// The number in a line of INFO.
pub(crate) fn figure(client: &mut Client, section: &str, name: &str) -> u64 {
    let info = client.ask(&format!("INFO {section}")).text();
    let found = info.lines().find_map(|line| line.strip_prefix(name)?.strip_prefix(':'));
    found.unwrap_or_else(|| panic!("no {name} in {info}")).trim().parse().expect("a number")
}

/// Waits until so many clients wait for keys.
pub(crate) fn until_blocked(asker: &mut Client, count: u64) {
    eventually(&format!("{count} clients wait"), DEADLINE, || match figure(asker, "clients", "blocked_clients") {
        seen if seen == count => Ok(()),
        seen => Err(seen),
    });
}

/// Sends a command that is answered later.
pub(crate) fn send(client: &mut Client, line: &str) {
    let mut bytes = Vec::new();
    Client::encode(&mut bytes, line.split(' '));
    client.send(bytes).expect("the node reads");
}

/// Returns whether nothing comes for a moment.
pub(crate) fn is_silent(client: &Client) -> bool {
    client.stream().set_read_timeout(Some(MOMENT)).expect("a time-out can be set");
    let silent = client.stream().peek(&mut [0]).is_err();
    client.stream().set_read_timeout(Some(DEADLINE)).expect("a time-out can be set");
    silent
}

fn popped(key: &str, value: &str) -> Reply {
    Reply::bulks([key, value])
}

#[test]
fn who_waits_longest_is_served_first_whatever_brings_the_elements() {
    let alone = node("2", "4");
    let mut writer = alone.node.client();
    for (make, bring) in [
        ("PING", "RPUSH {k}key 0 1 2"),
        ("RPUSH {k}list 0 1 2", "RENAME {k}list {k}key"),
        ("RPUSH {k}list 0 1 2", "COPY {k}list {k}key"),
        // From one shard to another.
        ("RPUSH other 0 1 2", "RENAME other {k}key"),
    ] {
        let mut waiting: Vec<Client> = (0..5).map(|_| alone.node.client()).collect();
        for (at, client) in waiting.iter_mut().enumerate() {
            send(client, "BLPOP none {k}key 0");
            until_blocked(&mut writer, at as u64 + 1);
        }
        writer.ask(make);
        writer.ask(bring);
        for (at, client) in waiting[..3].iter_mut().enumerate() {
            assert_eq!(client.read().expect("it is served"), popped("{k}key", &at.to_string()), "{bring}");
        }
        assert!(waiting[3..].iter().all(is_silent), "{bring}");
        writer.ask("RPUSH {k}key 3 4 5");
        for (at, client) in waiting[3..].iter_mut().enumerate() {
            assert_eq!(client.read().expect("it is served"), popped("{k}key", &(at + 3).to_string()), "{bring}");
        }
        assert_eq!(writer.ask("LLEN {k}key"), Reply::Integer(1));
        until_blocked(&mut writer, 0);
        assert_eq!(writer.ask("FLUSHALL"), Reply::ok());
    }
}

#[test]
fn of_several_keys_the_first_in_the_order_given_counts_wherever_its_shard_is() {
    let alone = node("2", "4");
    let mut client = alone.node.client();
    let keys: Vec<String> = (0..12).map(|number| format!("key:{number}")).collect();
    for first in 0..keys.len() {
        client.pipeline(keys.iter().map(|key| ["RPUSH", key, "v"]));
        let mut line = vec!["BLPOP".to_owned()];
        line.extend(keys.iter().cycle().skip(first).take(keys.len()).cloned());
        line.push("0".to_owned());
        for key in &line[1..line.len() - 1] {
            assert_eq!(client.call(&line), popped(key, "v"));
        }
    }
}

#[test]
fn what_is_sent_behind_a_command_that_waits_is_run_behind_it() {
    let alone = node("2", "2");
    let (mut waiting, mut other) = (alone.node.client(), alone.node.client());
    send(&mut waiting, "SET before 1");
    send(&mut waiting, "BLPOP key 0");
    send(&mut waiting, "SET behind 1");
    send(&mut waiting, "BRPOP key 0");
    send(&mut waiting, "PING");
    until_blocked(&mut other, 1);
    assert_eq!(waiting.read().expect("a reply"), Reply::ok());
    assert!(is_silent(&waiting));
    assert_eq!(other.ask("EXISTS before behind"), Reply::Integer(1));
    other.ask("RPUSH key a b");
    let replies: Vec<Reply> = (0..4).map(|_| waiting.read().expect("a reply")).collect();
    assert_eq!(replies, [popped("key", "a"), Reply::ok(), popped("key", "b"), Reply::Simple("PONG".to_owned())]);
}

#[test]
fn time_ends_a_wait_and_not_before_it_is_over() {
    let alone = node("2", "4");
    let mut client = alone.node.client();
    for line in ["BLPOP key 0.2", "BLPOP a b c d e f g h 0.2", "BZPOPMIN key 0.2", "BLMOVE key {key}2 LEFT LEFT 0.2"] {
        let start = Instant::now();
        assert_eq!(client.ask(line), Reply::Null, "{line}");
        assert!(start.elapsed() >= Duration::from_millis(200), "{line}: {:?}", start.elapsed());
    }
    // Many, with as many times.
    let mut clients: Vec<Client> = (0..300).map(|_| alone.node.client()).collect();
    for (at, client) in clients.iter_mut().enumerate() {
        send(client, &format!("BLPOP key:{} none {}", at % 7, 0.001 * (at % 97 + 1) as f64));
    }
    assert!(clients.iter_mut().all(|client| client.read().expect("a reply") == Reply::Null));
    until_blocked(&mut client, 0);
    assert_eq!(figure(&mut client, "clients", "clients_in_timeout_table"), 0);
}

#[test]
fn nothing_is_taken_for_who_has_hung_up_or_was_killed_or_unblocked() {
    let alone = node("2", "4");
    let mut other = alone.node.client();
    let id = |client: &mut Client| client.ask("CLIENT ID").integer();

    let mut gone = alone.node.client();
    send(&mut gone, "BLPOP {k}key one two three 0");
    until_blocked(&mut other, 1);
    assert!(other.ask("CLIENT LIST").text().contains(" flags=b "));
    drop(gone);
    until_blocked(&mut other, 0);

    // Behind much that it has sent and that is not run.
    let mut busy = alone.node.client();
    send(&mut busy, "BLPOP {k}key one two three 0");
    busy.send("PING\r\n".repeat(300_000)).expect("the node reads all of it");
    until_blocked(&mut other, 1);
    drop(busy);
    until_blocked(&mut other, 0);

    let mut ended = alone.node.client();
    send(&mut ended, "BLMPOP 0 2 {k}key one LEFT");
    until_blocked(&mut other, 1);
    ended.finish();
    assert!(ended.is_closed_within(DEADLINE), "as Redis does");

    let mut killed = alone.node.client();
    let killed_id = id(&mut killed);
    send(&mut killed, "BLPOP {k}key one 0");
    until_blocked(&mut other, 1);
    assert_eq!(other.ask(&format!("CLIENT KILL ID {killed_id}")), Reply::Integer(1));
    assert!(killed.is_closed_within(DEADLINE));

    for (how, expected) in [
        ("", Reply::Null),
        (" TIMEOUT", Reply::Null),
        (" ERROR", Reply::Error("UNBLOCKED client unblocked via CLIENT UNBLOCK".to_owned())),
    ] {
        let mut unblocked = alone.node.client();
        let unblocked_id = id(&mut unblocked);
        assert_eq!(other.ask(&format!("CLIENT UNBLOCK {unblocked_id}{how}")), Reply::Integer(0));
        send(&mut unblocked, "BRPOPLPUSH {k}key {k}other 0");
        until_blocked(&mut other, 1);
        assert_eq!(other.ask(&format!("CLIENT UNBLOCK {unblocked_id}{how}")), Reply::Integer(1));
        assert_eq!(unblocked.read().expect("a reply"), expected);
        assert_eq!(unblocked.ask("PING"), Reply::Simple("PONG".to_owned()));
    }
    until_blocked(&mut other, 0);
    for key in ["{k}key", "one", "two", "three"] {
        assert_eq!(other.ask(&format!("RPUSH {key} v")), Reply::Integer(1));
        assert_eq!(other.ask(&format!("LLEN {key}")), Reply::Integer(1), "{key}");
    }
    assert_eq!(figure(&mut other, "memory", "memory_waiting_clients"), 0);
}

#[test]
fn who_waits_is_not_idle_and_a_stop_tells_it() {
    let mut alone = node("2", "4");
    let (mut waiting, mut other) = (alone.node.client(), alone.node.client());
    other.ask("CONFIG SET timeout 1");
    send(&mut waiting, "BLPOP key one two 0");
    until_blocked(&mut other, 1);
    // Asked all the time, this one is not idle, and a third that says nothing is closed.
    let mut idle = alone.node.client();
    idle.ask("PING");
    let idle = std::thread::spawn(move || assert!(idle.is_closed_within(DEADLINE)));
    eventually("who does nothing is closed", DEADLINE, || {
        other.ask("PING");
        if idle.is_finished() { Ok(()) } else { Err(()) }
    });
    idle.join().expect("it was closed");
    until_blocked(&mut other, 1);
    alone.node.stop();
    assert!(waiting.read().expect("a reply").is_error("UNBLOCKED "));
    assert!(waiting.is_closed_within(DEADLINE));
}

#[test]
fn ten_thousand_keys_and_thousands_of_clients_are_bounded_and_counted() {
    let alone = node("2", "4");
    let (mut waiting, mut other) = (alone.node.client(), alone.node.client());
    let mut line = vec!["BLPOP".to_owned()];
    line.extend((0..10_000).map(|number| format!("key:{number}")));
    line.push("0".to_owned());
    let mut bytes = Vec::new();
    Client::encode(&mut bytes, &line);
    waiting.send(&bytes).expect("the node reads");
    until_blocked(&mut other, 1);
    let held = eventually("what they hold is published", DEADLINE, || {
        match figure(&mut other, "memory", "memory_waiting_clients") {
            held if held < 100_000 => Err(held),
            held => Ok(held),
        }
    });
    assert!(held < 10_000_000, "{held}");
    other.ask("RPUSH key:9999 v");
    assert_eq!(waiting.read().expect("a reply"), popped("key:9999", "v"));

    let mut clients: Vec<Client> = (0..1000).map(|_| alone.node.client()).collect();
    clients.iter_mut().for_each(|client| send(client, "BLPOP key 100"));
    until_blocked(&mut other, 1000);
    let writes = |other: &mut Client| {
        let info = other.ask("INFO shards").text();
        let counts = info.split(',').filter_map(|field| field.strip_prefix("writes="));
        counts.map(|count| count.parse::<u64>().expect("a number")).sum::<u64>()
    };
    let before = writes(&mut other);
    for _ in 0..100 {
        other.ask("RPUSH key v");
    }
    let written = writes(&mut other) - before;
    assert!((200..=220).contains(&written), "a push and a pop each, and not one for each who waits: {written}");
    until_blocked(&mut other, 900);

    let mut line = vec!["BLPOP".to_owned()];
    line.extend((0..70_000).map(|number| number.to_string()));
    line.push("0".to_owned());
    assert!(other.call(&line).is_error("ERR a command may wait for "));
}

/// Keys of two slots; commands on several keep to one, as Redis has no shards.
const KEYS: [&str; 6] = ["{a}1", "{a}2", "{a}3", "{b}1", "{b}2", "{b}3"];

/// Draws a command; the first group waits.
fn draw(random: &mut SmallRng, waits: bool) -> String {
    let mut pick = |from: &[&str]| from[random.random_range(0..from.len())].to_owned();
    let key = pick(&KEYS);
    // Of the same slot.
    let other = format!("{}{}", &key[..3], pick(&["1", "2", "3"]));
    let (end, more, lowest) = (pick(&["LEFT", "RIGHT"]), pick(&KEYS), pick(&["MIN", "MAX"]));
    let to = pick(&["LEFT", "RIGHT"]);
    if waits {
        return match random.random_range(0..9) {
            0..3 => format!("BLPOP {key} 0"),
            3 => format!("BRPOP {key} {more} 0"),
            4 => format!("BLMOVE {key} {other} {end} {to} 0"),
            5 => format!("BRPOPLPUSH {key} {other} 0"),
            6 => format!("BLMPOP 0 2 {key} {more} {end} COUNT 2"),
            7 => format!("BZPOPMIN {key} {more} 0"),
            _ => format!("BZMPOP 0 2 {key} {more} {lowest}"),
        };
    }
    match random.random_range(0..14) {
        0..4 => format!("RPUSH {key} {}", random.random_range(0..100)),
        4..6 => format!("LPUSH {key} a b c"),
        6 => format!("ZADD {key} 1 a 2 b"),
        7 => format!("LMOVE {key} {other} {end} {to}"),
        8 => format!("RENAME {key} {other}"),
        9 => format!("COPY {key} {other} REPLACE"),
        10 => format!("ZUNIONSTORE {key} 1 {other}"),
        11 => format!("LPOP {key}"),
        12 => format!("SET {key} text"),
        _ => format!("DEL {key}"),
    }
}

#[test]
fn clients_that_wait_and_push_by_turns_are_answered_as_by_redis() {
    let redis = RedisServer::start();
    for (cores, shards) in [("1", "1"), ("2", "4")] {
        let alone = node(cores, shards);
        for seed in 0..6 {
            compare(&redis, &alone.node, seed, &KEYS, &mut |random, _, waits| draw(random, waits));
        }
    }
}

/// Draws a command for a step: one that waits, or one that does not.
pub(crate) type Draw<'a> = &'a mut dyn FnMut(&mut SmallRng, usize, bool) -> String;

/// Has five clients of each server do the same, one after the other.
pub(crate) fn compare(redis: &RedisServer, node: &Node, seed: u64, keys: &[&str], draw: Draw<'_>) {
    let protocol = if seed.is_multiple_of(2) { 2 } else { 3 };
    let mut random = SmallRng::seed_from_u64(seed);
    let connect = |address| Client::connect(address).expect("the server accepts");
    let mut clients: Vec<[Client; 2]> = (0..5).map(|_| [connect(redis.address()), connect(node.address())]).collect();
    let mut askers = [connect(redis.address()), connect(node.address())];
    askers.iter_mut().for_each(|asker| drop(asker.ask("FLUSHALL")));
    clients.iter_mut().flatten().for_each(|client| drop(client.ask(&format!("HELLO {protocol}"))));
    let mut blocked = [false; 5];
    let mut said = Vec::new();
    for step in 0..400 {
        let free: Vec<usize> = (0..clients.len()).filter(|at| !blocked[*at]).collect();
        let waits = free.len() > 2 && random.random_range(0..3) == 0;
        let who = free[random.random_range(0..free.len())];
        let line = draw(&mut random, step, waits);
        let at = format!("seed {seed}, step {step}, client {who}: {line}");
        clients[who].iter_mut().for_each(|client| send(client, &line));
        said.push(format!("{who}: {line}"));
        if waits {
            let before = blocked.iter().filter(|blocked| **blocked).count() as u64;
            blocked[who] = true;
            eventually("Redis has taken it", DEADLINE, || {
                let waits = figure(&mut askers[0], "clients", "blocked_clients") > before;
                if waits || !is_empty(&clients[who][0]) { Ok(()) } else { Err(()) }
            });
        } else {
            let [expected, reply] = clients[who].each_mut().map(|client| client.read().expect("a reply"));
            assert_eq!(reply, expected, "{at}");
        }
        // Redis serves all who wait with the command itself: by the time it answers another, they have been answered.
        let left = figure(&mut askers[0], "clients", "blocked_clients");
        while blocked.iter().filter(|blocked| **blocked).count() as u64 > left {
            let served = eventually("a reply of Redis", DEADLINE, || {
                let has_reply = |at: &usize| blocked[*at] && !is_empty(&clients[*at][0]);
                (0..clients.len()).find(has_reply).ok_or(())
            });
            let [expected, reply] = clients[served].each_mut().map(|client| client.read().expect("a reply"));
            assert_eq!(reply, expected, "{at}, to client {served}");
            blocked[served] = false;
        }
        eventually(&at, DEADLINE, || match figure(&mut askers[1], "clients", "blocked_clients") {
            seen if seen == left => Ok(()),
            seen => {
                let answered = (0..clients.len()).filter(|at| blocked[*at] && !is_empty(&clients[*at][1]));
                let answered: Vec<usize> = answered.collect();
                Err((seen, left, answered, said[said.len().saturating_sub(120)..].to_vec()))
            }
        });
    }
    for (who, [_, client]) in clients.iter().enumerate() {
        assert!(!blocked[who] || is_empty(client), "seed {seed}: client {who} was answered too much");
    }
    for key in keys {
        let [expected, kept] = askers.each_mut().map(|asker| {
            let kind = asker.ask(&format!("TYPE {key}"));
            let content = match kind.text().as_str() {
                "list" => asker.ask(&format!("LRANGE {key} 0 -1")),
                "stream" => Reply::Array(vec![
                    asker.ask(&format!("XRANGE {key} - +")),
                    asker.ask(&format!("XINFO GROUPS {key}")),
                ]),
                "zset" => asker.ask(&format!("ZRANGE {key} 0 -1 WITHSCORES")),
                _ => asker.ask(&format!("EXISTS {key}")),
            };
            (kind, content)
        });
        assert_eq!(kept, expected, "seed {seed}: {key}");
    }
    drop(clients);
    until_blocked(&mut askers[1], 0);
}

/// Returns whether nothing has come that was not read.
pub(crate) fn is_empty(client: &Client) -> bool {
    client.stream().set_nonblocking(true).expect("it can be set");
    let empty = client.stream().peek(&mut [0]).is_err();
    client.stream().set_nonblocking(false).expect("it can be set");
    empty
}
