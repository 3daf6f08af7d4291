//! Events of keys compared with those of a real redis-server: of random commands, which `random_commands.rs` draws. All classes, in
//! their order. `BASALT_TEST_SEED` and `BASALT_TEST_COMMANDS` draw others and more.
//!
//! What a newcomer would get wrong: when a key has expired Redis tells once somebody asks for it, and here once it is deleted. So
//! that event is left out, and what `tests/tests/all/key_events.rs` has of it is for one key at a time.

use std::collections::BTreeSet;

use basalt_net::resp::{Protocol, value};
use basalt_storage::keyspace::EventClasses;
use basalt_tests::RedisServer;

use super::differential::{Redis, number_of_environment};
use super::random_commands::{RandomCommands, key_of};
use super::testing::Shard;

const COMMAND_COUNT: u64 = 30_000;

fn words(words: &[&str]) -> Vec<Vec<u8>> {
    words.iter().map(|word| word.as_bytes().to_vec()).collect()
}

/// A connection that has subscribed to all events.
struct Subscriber(Redis);

impl Subscriber {
    fn new(server: &RedisServer) -> Subscriber {
        let mut redis = Redis::connect(server, Protocol::Resp2);
        assert_eq!(redis.run(&words(&["CONFIG", "SET", "notify-keyspace-events", "EAmn"])), b"+OK\r\n");
        redis.run(&words(&["PSUBSCRIBE", "__keyevent@*__:*"]));
        Subscriber(redis)
    }

    /// The events since this was asked last: database, event and key.
    fn events(&mut self) -> Vec<String> {
        let (mut events, mut message) = (Vec::new(), self.0.run(&words(&["PING"])));
        loop {
            let parts: Vec<&[u8]> = value::split_elements(&message).unwrap().collect();
            let Some(channel) = parts.get(2).and_then(|part| value::read_bulk(part)) else { return events };
            let channel = String::from_utf8_lossy(channel).into_owned();
            let key = String::from_utf8_lossy(value::read_bulk(parts[3]).unwrap()).into_owned();
            let (db, event) = channel.strip_prefix("__keyevent@").and_then(|rest| rest.split_once("__:")).unwrap();
            events.push(format!("{db} {event} {key}"));
            message = self.0.read();
        }
    }
}

fn without_expired(mut events: Vec<String>) -> Vec<String> {
    events.retain(|event| !event.contains(" expired "));
    events
}

/// Compares the events of random commands; returns the names of those that were seen.
fn compare_with_redis(mut commands: RandomCommands, seen: &mut BTreeSet<String>) {
    let server = RedisServer::start();
    let (mut redis, mut subscriber) = (Redis::connect(&server, Protocol::Resp2), Subscriber::new(&server));
    let mut shard = Shard::new();
    shard.tell(EventClasses::of_bits(u16::MAX));
    let mut failures = 0;
    for _ in 0..number_of_environment("BASALT_TEST_COMMANDS", COMMAND_COUNT) {
        let line = commands.draw();
        let request: Vec<Vec<u8>> = line.iter().map(|word| word.clone().into_bytes()).collect();
        redis.run_without_waiting(&request);
        shard.run(Protocol::Resp2, &line);
        let (mut expected, mut told) = (without_expired(subscriber.events()), without_expired(shard.events()));
        if line[0].starts_with("sort") {
            // Redis looks what the elements of a set weigh up in the order of its hash table.
            expected.sort();
            told.sort();
        }
        seen.extend(told.iter().filter_map(|event| event.split(' ').nth(1)).map(str::to_owned));
        if told != expected {
            println!("{line:?}\n  redis  {expected:?}\n  basalt {told:?}");
            failures += 1;
            assert!(failures < 20, "too many differences");
        }
        if told != expected || commands.one_in(300) {
            redis.run(&[b"DEL".to_vec(), request[key_of(&line)].clone()]);
            shard.delete(&request[key_of(&line)]);
            drop((subscriber.events(), shard.events()));
        }
    }
    assert_eq!(failures, 0);
}

#[test]
fn events_of_random_commands_are_those_of_redis() {
    let seed = number_of_environment("BASALT_TEST_SEED", 1);
    println!("seed {seed}");
    let mut seen = BTreeSet::new();
    for commands in [
        RandomCommands::new(seed),
        RandomCommands::only(seed, |template| template.contains("$stream")),
        RandomCommands::only(seed, |template| template.contains("$geo")),
        RandomCommands::only(seed, |template| template.contains("$sketch")),
        RandomCommands::of_sort(seed),
    ] {
        compare_with_redis(commands, &mut seen);
    }
    let expected = [
        "append",
        "copy_to",
        "del",
        "expire",
        "georadiusstore",
        "geosearchstore",
        "hdel",
        "hincrby",
        "hincrbyfloat",
        "hset",
        "incrby",
        "incrbyfloat",
        "keymiss",
        "linsert",
        "lpop",
        "lpush",
        "lrem",
        "lset",
        "ltrim",
        "move_from",
        "move_to",
        "new",
        "persist",
        "pfadd",
        "rename_from",
        "rename_to",
        "rpop",
        "rpush",
        "sadd",
        "sdiffstore",
        "set",
        "setbit",
        "setrange",
        "sinterstore",
        "sortstore",
        "spop",
        "srem",
        "sunionstore",
        "xadd",
        "xdel",
        "xgroup-create",
        "xgroup-createconsumer",
        "xgroup-delconsumer",
        "xgroup-destroy",
        "xgroup-setid",
        "xsetid",
        "xtrim",
        "zadd",
        "zdiffstore",
        "zincr",
        "zinterstore",
        "zpopmax",
        "zpopmin",
        "zrangestore",
        "zrem",
        "zremrangebylex",
        "zremrangebyrank",
        "zremrangebyscore",
        "zunionstore",
    ];
    assert_eq!(seen.iter().map(String::as_str).collect::<Vec<_>>(), expected);
}
