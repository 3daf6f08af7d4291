//! Clients that wait for entries of streams: who gets which, and what becomes of them when a stream or a group goes.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Mutex;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;
use std::time::{Duration, Instant};

use basalt_tests::{Client, DEADLINE, Node, NodeOptions, RedisServer, Reply, eventually};
use rand::rngs::SmallRng;
use rand::{RngExt as _, SeedableRng as _};

use crate::blocking::{compare, figure, is_silent, node, send, until_blocked};

/// The reply to a client that has got the entries with these ids of `key`.
fn entries(key: &str, ids: &[&str]) -> Reply {
    let entry = |id: &&str| Reply::Array(vec![Reply::bulk(id), Reply::bulks(["f", "v"])]);
    let stream = vec![Reply::bulk(key), Reply::Array(ids.iter().map(entry).collect())];
    Reply::Array(vec![Reply::Array(stream)])
}

fn add(client: &mut Client, key: &str, id: &str) {
    assert_eq!(client.ask(&format!("XADD {key} {id} f v")), Reply::bulk(id));
}

#[test]
fn all_who_read_get_an_entry_and_of_a_group_the_one_that_waits_longest() {
    let alone = node("2", "4");
    let mut writer = alone.node.client();
    for group in ["g", "h"] {
        assert_eq!(writer.ask(&format!("XGROUP CREATE s {group} $ MKSTREAM")), Reply::ok());
    }
    let mut waiting: Vec<Client> = (0..6).map(|_| alone.node.client()).collect();
    for (at, line) in [
        "XREAD BLOCK 0 STREAMS s $",
        "XREADGROUP GROUP g one BLOCK 0 STREAMS s >",
        "XREAD BLOCK 0 STREAMS s 1-1",
        "XREADGROUP GROUP g two BLOCK 0 STREAMS s >",
        "XREAD BLOCK 0 COUNT 1 STREAMS other s $ 0",
        "XREADGROUP GROUP h one BLOCK 0 STREAMS s >",
    ]
    .iter()
    .enumerate()
    {
        send(&mut waiting[at], line);
        until_blocked(&mut writer, at as u64 + 1);
    }
    add(&mut writer, "s", "1-1");
    for at in [0, 1, 4, 5] {
        assert_eq!(waiting[at].read().expect("it is served"), entries("s", &["1-1"]), "{at}");
    }
    assert!(
        is_silent(&waiting[2]) && is_silent(&waiting[3]),
        "one waits for later ones, another of the group was first"
    );
    until_blocked(&mut writer, 2);
    assert_eq!(writer.ask("MULTI"), Reply::ok());
    writer.ask("XADD s 2-1 f v");
    writer.ask("XADD s 2-2 f v");
    assert!(is_silent(&waiting[2]));
    assert_eq!(writer.ask("EXEC"), Reply::bulks(["2-1", "2-2"]));
    for at in [2, 3] {
        assert_eq!(waiting[at].read().expect("it is served"), entries("s", &["2-1", "2-2"]), "{at}");
    }
    let pending = writer.ask("XPENDING s g");
    assert_eq!(pending.elements()[0], Reply::Integer(3), "{pending:?}");
    until_blocked(&mut writer, 0);
}

#[test]
fn what_a_call_leaves_is_for_the_next_of_the_group() {
    let alone = node("2", "2");
    let mut writer = alone.node.client();
    writer.ask("XGROUP CREATE s g $ MKSTREAM");
    let mut waiting: Vec<Client> = (0..3).map(|_| alone.node.client()).collect();
    for (at, client) in waiting.iter_mut().enumerate() {
        send(client, "XREADGROUP GROUP g c COUNT 1 BLOCK 0 STREAMS s >");
        until_blocked(&mut writer, at as u64 + 1);
    }
    writer.ask("MULTI");
    (1..=3).for_each(|ms| drop(writer.ask(&format!("XADD s {ms}-1 f v"))));
    writer.ask("EXEC");
    for (at, client) in waiting.iter_mut().enumerate() {
        assert_eq!(client.read().expect("it is served"), entries("s", &[&format!("{}-1", at + 1)]));
    }
}

#[test]
fn who_waits_for_a_group_is_told_that_it_is_gone_and_who_reads_waits_on() {
    const NO_STREAM: &str = "UNBLOCKED the stream key no longer exists";
    const NO_GROUP: &str = "NOGROUP the consumer group this client was blocked on no longer exists";
    let alone = node("2", "4");
    let mut writer = alone.node.client();
    for (line, expected) in [
        ("DEL {k}s", NO_STREAM),
        ("SET {k}s v", NO_STREAM),
        ("FLUSHALL", NO_STREAM),
        ("FLUSHDB", NO_STREAM),
        ("RENAME {k}s {k}t", NO_STREAM),
        ("PEXPIRE {k}s 20", NO_STREAM),
        ("PEXPIREAT {k}s 1", NO_STREAM),
        ("COPY {k}plain {k}s REPLACE", NO_GROUP),
        ("XGROUP DESTROY {k}s g", NO_GROUP),
    ] {
        writer.ask("FLUSHALL");
        for setup in ["XGROUP CREATE {k}s g $ MKSTREAM", "XGROUP CREATE {k}s h $", "XADD {k}plain 1-1 f v"] {
            writer.ask(setup);
        }
        let [mut reads, mut of_group, mut of_other] = std::array::from_fn(|_| alone.node.client());
        send(&mut reads, "XREAD BLOCK 0 STREAMS {k}s 500");
        send(&mut of_group, "XREADGROUP GROUP g c BLOCK 0 STREAMS {k}s >");
        send(&mut of_other, "XREADGROUP GROUP h c BLOCK 0 STREAMS {k}plain2 {k}s > >");
        assert!(of_other.read().expect("a reply").is_error("NOGROUP No such key '{k}plain2' or consumer group 'h'"));
        until_blocked(&mut writer, 2);
        writer.ask(line);
        assert_eq!(of_group.read().expect("it is told"), Reply::Error(expected.to_owned()), "{line}");
        until_blocked(&mut writer, 1);
        assert!(is_silent(&reads), "{line}");
        if !line.starts_with("SET") {
            writer.ask("XADD {k}s 400-1 f v");
            assert!(is_silent(&reads), "{line}");
            writer.ask("XADD {k}s 501-1 f v");
            assert_eq!(reads.read().expect("it is served"), entries("{k}s", &["501-1"]), "{line}");
        }
    }
}

#[test]
fn streams_of_several_shards_are_read_and_waited_for_in_the_order_given() {
    let alone = node("2", "4");
    let (mut reader, mut writer) = (alone.node.client(), alone.node.client());
    let keys: Vec<String> = (0..8).map(|number| format!("stream:{number}")).collect();
    let line =
        |id: &str, block: &str| format!("XREAD{block} STREAMS {} {}", keys.join(" "), vec![id; keys.len()].join(" "));
    assert_eq!(reader.ask(&line("0", "")), Reply::Null);
    assert_eq!(reader.ask(&line("0", " BLOCK 20")), Reply::Null);
    for key in [&keys[6], &keys[1], &keys[3]] {
        send(&mut reader, &line("$", " BLOCK 0"));
        until_blocked(&mut writer, 1);
        add(&mut writer, key, "1-1");
        assert_eq!(reader.read().expect("it is served"), entries(key, &["1-1"]));
    }
    let all: Vec<Reply> =
        [1, 3, 6].iter().flat_map(|at: &usize| entries(&keys[*at], &["1-1"]).elements().to_vec()).collect();
    for block in ["", " BLOCK 0"] {
        assert_eq!(reader.ask(&line("0", block)), Reply::Array(all.clone()));
    }
    reader.ask("HELLO 3");
    let Reply::Map(pairs) = reader.ask(&line("0", " BLOCK 1000")) else { panic!("streams are a map") };
    let names: Vec<String> = pairs.iter().step_by(2).map(Reply::text).collect();
    assert_eq!(names, [&keys[1], &keys[3], &keys[6]].map(String::clone));
    assert!(
        reader
            .ask("XREADGROUP GROUP g c BLOCK 0 STREAMS stream:1 stream:2 stream:3 stream:4 > > > >")
            .is_error("CROSSSLOT ")
    );
    assert!(reader.ask(&line("x", "")).is_error("ERR Invalid stream ID"));
    writer.ask("SET stream:5 text");
    assert!(reader.ask(&line("0", " BLOCK 0")).is_error("WRONGTYPE "));
}

#[test]
fn what_need_not_wait_or_may_not_is_answered_at_once() {
    let alone = node("2", "2");
    let mut client = alone.node.client();
    client.ask("XGROUP CREATE s g $ MKSTREAM");
    let start = Instant::now();
    assert_eq!(client.ask("XREAD BLOCK 200 STREAMS s $"), Reply::Null);
    assert_eq!(client.ask("XREADGROUP GROUP g c BLOCK 200 STREAMS s >"), Reply::Null);
    assert!(start.elapsed() >= Duration::from_millis(400));
    let nothing = Reply::Array(vec![Reply::Array(vec![Reply::bulk("s"), Reply::Array(Vec::new())])]);
    assert_eq!(client.ask("XREADGROUP GROUP g c BLOCK 0 STREAMS s 0"), nothing, "what is pending is not waited for");
    client.ask("MULTI");
    client.ask("XREAD BLOCK 0 STREAMS s $");
    client.ask("XREADGROUP GROUP g c BLOCK 0 STREAMS s >");
    assert_eq!(client.ask("EXEC"), Reply::Array(vec![Reply::Null, Reply::Null]));
    add(&mut client, "s", "5-5");
    assert_eq!(client.ask("XREAD BLOCK 0 STREAMS s 0"), entries("s", &["5-5"]));
    assert_eq!(client.ask("XREADGROUP GROUP g c BLOCK 0 STREAMS s >"), entries("s", &["5-5"]));
    // Behind what its own connection has sent.
    send(&mut client, "XADD s 6-1 f v");
    send(&mut client, "XREAD BLOCK 30 STREAMS s $");
    send(&mut client, "XADD s 7-1 f v");
    send(&mut client, "XREAD BLOCK 0 STREAMS s 6-1");
    let replies: Vec<Reply> = (0..4).map(|_| client.read().expect("a reply")).collect();
    assert_eq!(replies, [Reply::bulk("6-1"), Reply::Null, Reply::bulk("7-1"), entries("s", &["7-1"])]);
}

#[test]
fn who_hangs_up_is_killed_or_unblocked_gets_nothing_and_a_stop_tells_who_waits() {
    let mut alone = node("2", "4");
    let mut other = alone.node.client();
    other.ask("XGROUP CREATE s g $ MKSTREAM");
    for line in ["XREAD BLOCK 0 STREAMS s one two $ $ $", "XREADGROUP GROUP g c BLOCK 0 STREAMS s >"] {
        let mut gone = alone.node.client();
        send(&mut gone, line);
        until_blocked(&mut other, 1);
        drop(gone);
        until_blocked(&mut other, 0);
        let mut killed = alone.node.client();
        let id = killed.ask("CLIENT ID").integer();
        send(&mut killed, line);
        until_blocked(&mut other, 1);
        assert_eq!(other.ask(&format!("CLIENT KILL ID {id}")), Reply::Integer(1));
        assert!(killed.is_closed_within(DEADLINE));
        let mut unblocked = alone.node.client();
        let id = unblocked.ask("CLIENT ID").integer();
        for (how, expected) in
            [("", Reply::Null), (" ERROR", Reply::Error("UNBLOCKED client unblocked via CLIENT UNBLOCK".to_owned()))]
        {
            send(&mut unblocked, line);
            until_blocked(&mut other, 1);
            assert_eq!(other.ask(&format!("CLIENT UNBLOCK {id}{how}")), Reply::Integer(1));
            assert_eq!(unblocked.read().expect("a reply"), expected);
        }
        until_blocked(&mut other, 0);
    }
    add(&mut other, "s", "1-1");
    assert_eq!(other.ask("XPENDING s g").elements()[0], Reply::Integer(0), "nothing was delivered");
    eventually("nothing is held for who has gone", DEADLINE, || {
        let held = figure(&mut other, "memory", "memory_waiting_clients");
        if held == 0 { Ok(()) } else { Err(held) }
    });
    let mut last = alone.node.client();
    send(&mut last, "XREAD BLOCK 0 STREAMS s $");
    until_blocked(&mut other, 1);
    alone.node.stop();
    assert!(last.read().expect("a reply").is_error("UNBLOCKED "));
}

#[test]
fn thousands_read_what_one_adds_and_the_log_has_one_write() {
    let alone = node("2", "4");
    let mut writer = alone.node.client();
    let mut clients: Vec<Client> = (0..2000).map(|_| alone.node.client()).collect();
    clients.iter_mut().for_each(|client| send(client, "XREAD BLOCK 0 STREAMS s $"));
    until_blocked(&mut writer, 2000);
    let writes = |writer: &mut Client| {
        let info = writer.ask("INFO shards").text();
        let counts = info.split(',').filter_map(|field| field.strip_prefix("writes="));
        counts.map(|count| count.parse::<u64>().expect("a number")).sum::<u64>()
    };
    let before = writes(&mut writer);
    add(&mut writer, "s", "1-1");
    let expected = entries("s", &["1-1"]);
    assert!(clients.iter_mut().all(|client| client.read().expect("it is served") == expected));
    until_blocked(&mut writer, 0);
    assert_eq!(writes(&mut writer) - before, 1);
}

/// Keys of two slots; commands on several keep to one, as Redis has no shards.
const KEYS: [&str; 4] = ["{a}1", "{a}2", "{b}1", "{b}2"];

/// Draws a command for a step; ids grow with it.
fn draw(random: &mut SmallRng, step: usize, waits: bool) -> String {
    let mut pick = |from: &[&str]| from[random.random_range(0..from.len())].to_owned();
    let key = pick(&KEYS);
    // Of the same slot.
    let other = format!("{}{}", &key[..3], pick(&["1", "2"]));
    let (group, consumer, count) = (pick(&["g", "h"]), pick(&["c", "d"]), pick(&["", "COUNT 1 ", "COUNT 2 NOACK "]));
    let read_count = count.replace("NOACK ", "");
    let id = step + 1;
    if waits {
        return match random.random_range(0..6) {
            0 => format!("XREAD {read_count}BLOCK 0 STREAMS {key} $"),
            1 => format!("XREAD BLOCK 0 {read_count}STREAMS {key} {other} $ {id}-5"),
            2 => format!("XREAD BLOCK 0 STREAMS {key} {}-1", id.saturating_sub(20)),
            3 => format!("XREADGROUP GROUP {group} {consumer} {count}BLOCK 0 STREAMS {key} {other} > >"),
            _ => format!("XREADGROUP GROUP {group} {consumer} {count}BLOCK 0 STREAMS {key} >"),
        };
    }
    match random.random_range(0..24) {
        0..8 => format!("XADD {key} {id}-1 f {id}"),
        8..13 => format!("XGROUP CREATE {key} {group} $ MKSTREAM"),
        13 => format!("XGROUP DESTROY {key} {group}"),
        14 => format!("RENAME {key} {other}"),
        15 => format!("COPY {key} {other} REPLACE"),
        16 => format!("SET {key} text"),
        17..19 => format!("DEL {key}"),
        19 => format!("XREADGROUP GROUP {group} {consumer} STREAMS {key} >"),
        20 => format!("XACK {key} {group} {}-1", id.saturating_sub(5)),
        21 => format!("XDEL {key} {}-1", id.saturating_sub(3)),
        22 => format!("XGROUP DELCONSUMER {key} {group} {consumer}"),
        _ => format!("XTRIM {key} MAXLEN 5"),
    }
}

#[test]
fn clients_that_wait_for_entries_are_answered_as_by_redis() {
    let redis = RedisServer::start();
    for (cores, shards) in [("1", "1"), ("2", "4")] {
        let alone = node(cores, shards);
        for seed in 0..6 {
            compare(&redis, &alone.node, seed, &KEYS, &mut draw);
        }
    }
}

const STREAMS: usize = 4;
const PRODUCERS: usize = 3;
/// Entries of each producer.
const ADDED: usize = 150;

/// Entries that were added, and what came of them.
#[derive(Default)]
struct Ledger {
    /// Acknowledged: stream and id.
    added: Mutex<BTreeSet<(usize, String)>>,
    /// Times that each was given to a client of the group.
    given: Mutex<BTreeMap<(usize, String), usize>>,
}

/// The streams and ids in a reply.
fn ids(reply: &Reply) -> Vec<(usize, String)> {
    let stream = |stream: &Reply| {
        let name = stream.elements()[0].text();
        let number: usize = name.trim_start_matches("log:").parse().expect("a number");
        let of_stream: Vec<_> =
            stream.elements()[1].elements().iter().map(|entry| (number, entry.elements()[0].text())).collect();
        of_stream
    };
    reply.elements().iter().flat_map(stream).collect()
}

fn produce(mut client: Client, ledger: &Ledger, seed: u64) {
    let mut random = SmallRng::seed_from_u64(seed);
    for value in 0..ADDED {
        let number = random.random_range(0..STREAMS);
        match client.try_call(["XADD", &format!("log:{number}"), "*", "f", &format!("{seed}:{value}")]) {
            Ok(Reply::Bulk(id)) => {
                let id = String::from_utf8(id).expect("an id");
                ledger.added.lock().expect("no panic").insert((number, id));
            }
            Ok(other) => assert!(other.is_error("UNCERTAIN ") || other.is_error("BUSY "), "{other:?}"),
            Err(_) => return,
        }
    }
}

/// Reads with the group until it is told to end or the node is gone. Now and then it hangs up while it waits, if it `hangs_up`.
fn consume(node: &Node, ledger: &Ledger, is_over: &AtomicBool, seed: u64, hangs_up: bool) {
    let mut random = SmallRng::seed_from_u64(seed);
    let Ok(mut client) = Client::connect(node.address()) else { return };
    while !is_over.load(Ordering::Relaxed) {
        let count = if random.random_range(0..2) == 0 { "COUNT 2 " } else { "" };
        let line =
            format!("XREADGROUP GROUP g c{seed} {count}BLOCK 100 STREAMS log:{} >", random.random_range(0..STREAMS));
        if hangs_up && random.random_range(0..4) == 0 {
            let mut bytes = Vec::new();
            Client::encode(&mut bytes, line.split(' '));
            if client.send(&bytes).is_err() {
                return;
            }
            // Some go at once, some when they wait.
            thread::sleep(Duration::from_micros(random.random_range(0..3000)));
            let Ok(next) = Client::connect(node.address()) else { return };
            client = next;
            continue;
        }
        match client.try_call(line.split(' ')) {
            Ok(Reply::Null) => {}
            Ok(reply @ Reply::Array(_)) => {
                let mut given = ledger.given.lock().expect("no panic");
                ids(&reply).into_iter().for_each(|id| *given.entry(id).or_default() += 1);
            }
            Ok(other) => assert!(other.is_error("UNBLOCKED ") || other.is_error("UNCERTAIN "), "{other:?}"),
            Err(_) => return,
        }
    }
}

/// Reads all streams from their beginning until it is told to end; returns what it has read, in its order.
fn follow(node: &Node, is_over: &AtomicBool) -> Vec<(usize, String)> {
    let mut last = vec!["0-0".to_owned(); STREAMS];
    let mut seen = Vec::new();
    let Ok(mut client) = Client::connect(node.address()) else { return seen };
    let names: Vec<String> = (0..STREAMS).map(|number| format!("log:{number}")).collect();
    loop {
        let ends = is_over.load(Ordering::Relaxed);
        let line = format!("XREAD BLOCK 100 STREAMS {} {}", names.join(" "), last.join(" "));
        match client.try_call(line.split(' ')) {
            Ok(reply @ Reply::Array(_)) => {
                for (number, id) in ids(&reply) {
                    last[number].clone_from(&id);
                    seen.push((number, id));
                }
            }
            Ok(Reply::Null) if !ends => {}
            Ok(other) if !ends => assert!(other.is_error("UNBLOCKED "), "{other:?}"),
            _ => return seen,
        }
    }
}

/// The ids that are in the streams.
fn kept(node: &Node) -> BTreeSet<(usize, String)> {
    let mut client = node.client();
    let of_stream = |number: usize| {
        let range = client.call_patiently(["XRANGE", &format!("log:{number}"), "-", "+"]);
        let ids: Vec<_> = range.elements().iter().map(|entry| (number, entry.elements()[0].text())).collect();
        ids
    };
    (0..STREAMS).flat_map(of_stream).collect()
}

#[test]
fn each_entry_is_delivered_once_and_read_by_all_also_after_kill_9() {
    for (cores, shards, is_killed) in [("1", "1", false), ("2", "4", false), ("2", "4", true)] {
        let temporary = tempfile::tempdir().expect("a temporary directory");
        let options = NodeOptions::new(temporary.path().join("data")).set("--cores", cores).set("--shards", shards);
        let ledger = Ledger::default();
        let mut node = options.start();
        for number in 0..STREAMS {
            node.client().call_patiently(["XGROUP", "CREATE", &format!("log:{number}"), "g", "$", "MKSTREAM"]);
        }
        let lives = if is_killed { 3 } else { 1 };
        for life in 0..lives {
            let is_over = AtomicBool::new(false);
            let followed = thread::scope(|scope| {
                let (node, ledger, is_over) = (&node, &ledger, &is_over);
                let followers: Vec<_> = (0..3).map(|_| scope.spawn(move || follow(node, is_over))).collect();
                for number in 0..8 {
                    let hangs_up = number % 2 == 0;
                    scope.spawn(move || consume(node, ledger, is_over, 100 * life + number, hangs_up));
                }
                let before = ledger.added.lock().expect("no panic").len();
                let producers: Vec<_> = (0..PRODUCERS as u64)
                    .map(|number| {
                        let client = node.client();
                        scope.spawn(move || produce(client, ledger, 10 * life + number))
                    })
                    .collect();
                if is_killed && life + 1 < lives {
                    eventually("some were added", DEADLINE, || {
                        let added = ledger.added.lock().expect("no panic").len() - before;
                        if added < PRODUCERS * ADDED / 3 { Err(added) } else { Ok(()) }
                    });
                    node.kill();
                }
                producers.into_iter().for_each(|producer| producer.join().expect("it has not panicked"));
                is_over.store(true, Ordering::Relaxed);
                followers.into_iter().map(|follower| follower.join().expect("it has not panicked")).collect::<Vec<_>>()
            });
            if is_killed && life + 1 < lives {
                node.kill_9();
                node = options.start();
                continue;
            }
            let kept = kept(&node);
            for seen in followed {
                let in_order: BTreeSet<_> = seen.iter().cloned().collect();
                assert_eq!(in_order.len(), seen.len(), "a follower has read something twice");
                assert_eq!(in_order, kept, "a follower has missed something");
            }
        }
        let (kept, added) = (kept(&node), ledger.added.lock().expect("no panic"));
        assert!(added.is_subset(&kept), "what was acknowledged is there");
        // Nobody has acknowledged anything, so that what was delivered is pending.
        let mut client = node.client();
        let mut pending = BTreeSet::new();
        for number in 0..STREAMS {
            let key = format!("log:{number}");
            let all = client.call_patiently(["XPENDING", &key, "g", "-", "+", "100000"]);
            pending.extend(all.elements().iter().map(|entry| (number, entry.elements()[0].text())));
        }
        let given = ledger.given.lock().expect("no panic");
        for (id, times) in given.iter() {
            assert_eq!(*times, 1, "{id:?} was given so often");
            assert!(pending.contains(id), "{id:?} was given, and is not pending");
        }
        println!("{} added, {} kept, {} given, {} pending", added.len(), kept.len(), given.len(), pending.len());
        assert!(given.len() > added.len() / 4, "consumers get some");
    }
}
