//! A shard that takes no more holds up those who need it, and nobody else.

use std::io::Write as _;
use std::thread;

use basalt_tests::{Client, DEADLINE, FrozenThread, Reply, eventually, skip};

use crate::alone::Alone;

const SHARDS: u32 = 2;
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

/// A key of `shard` whose name begins with `name`.
fn key_of(shard: u32, name: &str) -> String {
    let mut keys = (0..).map(|number| format!("{name}:{number}"));
    keys.find(|key| slot_of(key) * SHARDS / SLOTS == shard).expect("each shard has keys")
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
