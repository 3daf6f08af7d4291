//! A shard that takes no more holds up those who need it, and nobody else.

use std::env;
use std::io::Write as _;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;
use std::time::{Duration, Instant};

use basalt_tests::{Client, DEADLINE, FrozenThread, Node, Reply, eventually, skip};

use crate::alone::Alone;

const SLOTS: u32 = 16384;
const VALUE_BYTES: usize = 10_000;

/// CRC16-XMODEM, as Redis Cluster takes it of keys.
fn slot_of(key: &str) -> u32 {
    let crc = key.bytes().fold(0u16, |crc, byte| {
        (0..8).fold(crc ^ (u16::from(byte) << 8), |crc, _| {
            let shifted = crc << 1;
            if crc & 0x8000 == 0 { shifted } else { shifted ^ 0x1021 }
        })
    });
    u32::from(crc) % SLOTS
}

/// A key of `shard`, one of so many, whose name begins with `name`.
fn key_among(shards: u32, shard: u32, name: &str) -> String {
    let mut keys = (0..).map(|number| format!("{name}:{number}"));
    keys.find(|key| slot_of(key) * shards / SLOTS == shard).expect("each shard has keys")
}

/// A key of `shard`, one of two.
fn key_of(shard: u32, name: &str) -> String {
    key_among(2, shard, name)
}

/// Number of clients that have sent something which is not decoded.
fn held_up(client: &mut Client) -> usize {
    client
        .ask("CLIENT LIST")
        .text()
        .lines()
        .filter(|line| line.contains(" qbuf=") && !line.contains(" qbuf=0 "))
        .count()
}

#[test]
fn a_shard_whose_syncs_stand_still_holds_up_nobody_who_does_not_need_it() {
    const WRITERS: usize = 8;
    const WRITES: usize = 200;
    let alone = Alone::new(|options| {
        options.set("--shards", "2").set("--cores", "2").set("--memory", "256mb").set("--memtable-bytes", "1mb")
    });
    let node = &alone.node;
    let (free, stuck) = (key_of(0, "key"), key_of(1, "key"));
    // Connections are dealt to the cores in turn: some of each.
    let mut users: Vec<Client> = (0..4).map(|_| node.client()).collect();
    for user in &mut users {
        assert_eq!(user.call(["MSET", &free, "1", &stuck, "1"]), Reply::ok());
    }
    let value = "v".repeat(VALUE_BYTES);
    let write = |writer: usize| {
        let (key, mut client, mut bytes) = (key_of(1, &format!("writer:{writer}")), node.client(), Vec::new());
        (0..WRITES).for_each(|_| Client::encode(&mut bytes, ["SET", &key, &value]));
        // What the node does not read yet is sent later.
        let mut sender = client.stream().try_clone().expect("it can be");
        thread::scope(|scope| {
            scope.spawn(move || sender.write_all(&bytes).expect("the node reads"));
            (0..WRITES).map(|_| client.read().expect("an answer")).collect::<Vec<_>>()
        })
    };
    let frozen = match FrozenThread::new(node, "log-sync-1") {
        Ok(frozen) => frozen,
        Err(error) => return skip(&format!("threads cannot be stopped here: {error}")),
    };
    thread::scope(|scope| {
        // Goes first where an assertion fails, or the writers would wait for ever.
        let frozen = frozen;
        let writers: Vec<_> = (0..WRITERS).map(|writer| scope.spawn(move || write(writer))).collect();
        // Some may have sent all before there is no more room, and of others all that has come may have been taken.
        eventually("the shard takes no more", DEADLINE, || match held_up(&mut users[0]) {
            count if count >= 2 => Ok(()),
            count => Err(count),
        });
        for (number, user) in users.iter_mut().enumerate() {
            assert_eq!(user.ask("PING"), Reply::Simple("PONG".into()), "user {number}");
            assert_eq!(user.call(["SET", &free, "2"]), Reply::ok(), "user {number}");
            assert_eq!(user.call(["GET", &free]), Reply::bulk("2"), "user {number}");
            assert_eq!(user.call(["GET", &stuck]), Reply::bulk("1"), "user {number}");
            assert_eq!(user.call(["DBSIZE"]), Reply::Integer(2), "user {number}");
            assert!(user.ask("INFO server").text().contains("redis_version"), "user {number}");
        }
        assert!(writers.iter().all(|writer| !writer.is_finished()));

        drop(frozen);
        for (number, writer) in writers.into_iter().enumerate() {
            let replies = writer.join().expect("it does not fail");
            // A disk that stands still after that is no fault of the node.
            assert!(replies.iter().all(|reply| *reply == Reply::ok() || reply.is_error("BUSY ")), "writer {number}");
        }
    });
}

/// A figure of shard 1.
fn figure(client: &mut Client, name: &str) -> u64 {
    let info = client.ask("INFO shards").text();
    let line = info.lines().find(|line| line.starts_with("shard_1:")).unwrap_or_else(|| panic!("no shard in {info}"));
    let found = line.split([',', ':']).find_map(|field| field.strip_prefix(name)?.strip_prefix('='));
    found.and_then(|value| value.parse().ok()).unwrap_or_else(|| panic!("no {name} in {line}"))
}

#[test]
fn a_client_hears_in_time_what_a_log_that_stands_still_has_of_its_writes() {
    const WRITERS: usize = 8;
    const WRITES: usize = 200;
    let alone = Alone::new(|options| {
        options.set("--shards", "2").set("--cores", "2").set("--memory", "256mb").set("--memtable-bytes", "1mb")
    });
    let node = &alone.node;
    let (free, stuck, value) = (key_of(0, "key"), key_of(1, "key"), "v".repeat(VALUE_BYTES));
    // Of both cores.
    let mut users: Vec<Client> = (0..2).map(|_| node.client()).collect();
    assert_eq!(users[0].call(["MSET", &free, "1", &stuck, "1"]), Reply::ok());
    let frozen = match FrozenThread::new(node, "log-sync-1") {
        Ok(frozen) => frozen,
        Err(error) => return skip(&format!("threads cannot be stopped here: {error}")),
    };
    // Not before: a slow machine is no reason to tell anybody anything.
    assert_eq!(users[0].ask("CONFIG SET write-timeout 1s"), Reply::ok());
    for (number, user) in users.iter_mut().enumerate() {
        let replies = user.pipeline([
            vec!["APPEND", &stuck, "2"],
            vec!["GET", &stuck],
            vec!["PING"],
            vec!["APPEND", &stuck, "3"],
            vec!["MGET", &free, &stuck],
        ]);
        let was = [Reply::bulk("1"), Reply::Simple("PONG".into()), Reply::Array(vec![Reply::bulk("1"); 2])];
        assert!(replies[0].is_error("UNCERTAIN ") && replies[3].is_error("UNCERTAIN "), "user {number}: {replies:?}");
        assert_eq!([replies[1].clone(), replies[2].clone(), replies[4].clone()], was, "user {number}");
    }
    assert_eq!(figure(&mut users[0], "writes_uncertain"), 4);

    // More than the log takes while it stands still: the rest is certainly not written.
    let write = |writer: usize| {
        let (key, mut client) = (key_of(1, &format!("writer:{writer}")), node.client());
        let writes = (0..WRITES).map(|_| vec!["SET", &key, &value]);
        client.pipeline(writes)
    };
    let replies: Vec<Reply> = thread::scope(|scope| {
        let writers: Vec<_> = (0..WRITERS).map(|writer| scope.spawn(move || write(writer))).collect();
        writers.into_iter().flat_map(|writer| writer.join().expect("it does not fail")).collect()
    });
    let refused = replies.iter().filter(|reply| reply.is_error("BUSY ")).count();
    let uncertain = replies.iter().filter(|reply| reply.is_error("UNCERTAIN ")).count();
    assert_eq!((replies.len(), refused + uncertain), (WRITERS * WRITES, WRITERS * WRITES), "{:?}", replies.first());
    assert!(refused > 0 && uncertain > 0, "{refused} refused, {uncertain} uncertain");
    assert_eq!(users[1].call(["SET", &free, "2"]), Reply::ok(), "the other shard goes on");

    assert_eq!(users[0].ask("CONFIG SET write-timeout 0"), Reply::ok());
    drop(frozen);
    // What was in the log is applied, once each; whoever was told so has no reply of it left.
    for (user, expected) in users.iter_mut().zip([6, 7]) {
        let appended = user.call_patiently(["APPEND", &stuck, "4"]);
        assert_eq!(appended, Reply::Integer(expected));
        assert_eq!(user.ask("PING"), Reply::Simple("PONG".into()));
    }
    assert!(users[0].call(["GET", &stuck]).text().starts_with("12323"));
}

/// A request of a probe: a name for who reads the figures, a key, and whether it is written to.
type Asked<'a> = (&'a str, String, bool);

/// Asks for each of `asked` in turn for a while, on connections of both cores, and says how long each took for 99 of 100 requests.
fn p99(node: &Node, asked: &[Asked<'_>], time: Duration) -> Vec<Duration> {
    let mut clients: Vec<Client> = (0..2).map(|_| node.client()).collect();
    let mut took = vec![Vec::new(); asked.len()];
    let end = Instant::now() + time;
    while Instant::now() < end {
        for client in &mut clients {
            for ((_, key, is_write), took) in asked.iter().zip(&mut took) {
                let since = Instant::now();
                let reply = if *is_write { client.call(["SET", key, "1"]) } else { client.call(["GET", key]) };
                took.push(since.elapsed());
                assert!(reply == Reply::ok() || reply == Reply::bulk("1"), "{reply:?}");
            }
        }
    }
    let p99 = |mut took: Vec<Duration>| {
        took.sort_unstable();
        took[(took.len() - 1) * 99 / 100]
    };
    took.into_iter().map(p99).collect()
}

/// `make isolation` runs it for longer, on a machine that has nothing else to do, and with a bound. Without one it shows that all
/// others are answered.
#[test]
fn other_groups_are_served_as_before_while_the_syncs_of_a_core_stand_still() {
    const WRITERS: usize = 8;
    let seconds = env::var("ISOLATION_SECONDS").map_or(1, |text| text.parse().expect("seconds"));
    let ratio_max: Option<f64> = env::var("ISOLATION_RATIO_MAX").ok().map(|text| text.parse().expect("a ratio"));
    let alone = Alone::new(|options| {
        options.set("--shards", "4").set("--cores", "2").set("--memory", "256mb").set("--memtable-bytes", "1mb")
    });
    let (node, time) = (&alone.node, Duration::from_secs(seconds));
    let key = |shard| key_among(4, shard, "key");
    let asked = [
        ("write, another core's group", key(0), true),
        ("read, another core's group", key(2), false),
        ("read, a group of the same core", key(3), false),
        ("read, the group itself", key(1), false),
    ];
    let mut client = node.client();
    (0..4).for_each(|shard| assert_eq!(client.call(["SET", &key(shard), "1"]), Reply::ok()));
    let end = AtomicBool::new(false);
    // As many writers before as after, so that what differs is that theirs stand still.
    let write = &|writer: usize| {
        let (key, mut client, value) = (key_among(4, 1, &format!("writer:{writer}")), node.client(), "v".repeat(100));
        while !end.load(Ordering::Relaxed) {
            client.pipeline((0..16).map(|_| ["SET", &key, &value]));
        }
    };
    let [before, while_still] = thread::scope(|scope| {
        (0..WRITERS).for_each(|writer| drop(scope.spawn(move || write(writer))));
        let before = p99(node, &asked, time);
        let frozen = match FrozenThread::new(node, "log-sync-1") {
            Ok(frozen) => frozen,
            Err(error) => {
                end.store(true, Ordering::Relaxed);
                skip(&format!("threads cannot be stopped here: {error}"));
                return [before.clone(), before];
            }
        };
        let while_still = p99(node, &asked, time);
        end.store(true, Ordering::Relaxed);
        drop(frozen);
        [before, while_still]
    });
    for (((name, ..), before), still) in asked.iter().zip(before).zip(while_still) {
        let ratio = still.as_secs_f64() / before.as_secs_f64();
        println!(
            "{name}: p99 {before:?}, while the syncs of the group's core stand still {still:?}, {ratio:.2} times as long"
        );
        assert!(ratio_max.is_none_or(|most| ratio <= most), "{name}: {ratio:.2} times as long");
    }
}
