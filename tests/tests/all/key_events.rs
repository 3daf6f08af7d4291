//! Keyspace events: what subscribers hear of what becomes of keys is what redis-server tells, in its order for each key.
//!
//! What a newcomer would get wrong: events come from the core of the key's shard, and the reply of a command from the connection's.
//! So the first may come later, and with several cores there is an order for each key alone.

use std::collections::{BTreeMap, BTreeSet};
use std::net::SocketAddr;

use basalt_tests::{Client, DEADLINE, RedisServer, Reply, eventually};
use rand::rngs::SmallRng;
use rand::{RngExt as _, SeedableRng as _};

use crate::alone::Alone;
use crate::spanning::command;

/// A client that has subscribed to all events.
pub struct Subscriber(Client);

impl Subscriber {
    pub fn new(address: SocketAddr) -> Subscriber {
        let mut client = Client::connect(address).expect("the server accepts");
        client.ask("PSUBSCRIBE __key*__:*");
        Subscriber(client)
    }

    /// The messages that have come, with a PING behind them: channel and message each.
    pub fn heard(&mut self) -> Vec<(String, String)> {
        let mut messages = Vec::new();
        let mut message = self.0.ask("PING");
        while let [_, _, channel, event] = message.elements() {
            messages.push((channel.text(), event.text()));
            message = self.0.read().expect("a message, or the reply to PING");
        }
        messages
    }

    /// So many messages, and those that have come with the last one.
    pub fn hear(&mut self, count: usize) -> Vec<(String, String)> {
        let mut messages = Vec::new();
        eventually("the messages are there", DEADLINE, || {
            messages.extend(self.heard());
            if messages.len() >= count { Ok(()) } else { Err(messages.clone()) }
        });
        messages
    }
}

/// Commands of all families, asked one after the other. `""` is an empty word.
const LINES: &[&str] = &[
    // Strings.
    "SET k v",
    "SET k v EX 1000",
    "SET k v PX 1000000 GET",
    "SET k v KEEPTTL",
    "SET k v NX",
    "SET none v XX",
    "SETNX k v",
    "SETNX nx v",
    "SETEX ex 1000 v",
    "PSETEX ex 1000000 v",
    "GETSET gs v",
    "GETDEL gs",
    "GETDEL gs",
    "GETEX k EX 500",
    "GETEX k PERSIST",
    "GETEX k PERSIST",
    "GETEX k",
    "GETEX k EXAT 1",
    "APPEND ap x",
    "APPEND ap x",
    "SETRANGE ap 5 x",
    "SETRANGE ap 5 \"\"",
    "MSET m1 a m2 b m1 c",
    "MSETNX m1 a m3 b",
    "MSETNX m3 a m4 b",
    "INCR n",
    "DECR n",
    "INCRBY n 5",
    "DECRBY n 5",
    "INCRBYFLOAT n 1.5",
    "INCR k2wrong",
    "INCR n",
    "SETBIT bits 7 1",
    "SETBIT bits 7 1",
    "SETBIT bits 700 0",
    "BITFIELD bits SET u8 0 255 GET u8 8",
    "BITFIELD bits SET u8 0 255",
    "BITFIELD bits OVERFLOW FAIL INCRBY u8 0 1",
    "BITFIELD bits GET u8 0",
    "BITOP AND dest bits ap",
    "BITOP OR dest nothing nothing",
    "BITOP NOT dest nothing",
    "PFADD hll a b c",
    "PFADD hll a",
    "PFADD hll2",
    "PFMERGE hll3 hll hll2",
    "PFCOUNT hll hll2",
    // Keys.
    "EXPIRE m1 1000",
    "PEXPIRE m1 1000000",
    "EXPIREAT m1 9999999999",
    "PEXPIREAT m1 9999999999000",
    "EXPIRE m1 10 NX",
    "EXPIRE nothing 10",
    "PERSIST m1",
    "PERSIST m1",
    "EXPIRE m1 -1",
    "RENAME m2 m5",
    "RENAME m5 m3",
    "RENAME m3 m3",
    "RENAMENX m3 m4",
    "RENAMENX m3 m6",
    "COPY m6 m7",
    "COPY m6 m7",
    "COPY m6 m7 REPLACE",
    "COPY m6 m6 DB 3",
    "COPY nothing m7 REPLACE",
    "MOVE m6 3",
    "MOVE m6 4",
    "SELECT 3",
    "MOVE m6 4",
    "SWAPDB 4 5",
    "SWAPDB 3 3",
    "SELECT 5",
    "DEL m6",
    "SWAPDB 5 0",
    "RENAME m7 m8",
    "SWAPDB 0 5",
    "RENAME m8 m7",
    "SELECT 0",
    "RENAME m8 m7",
    "UNLINK m7 nothing m4",
    "TOUCH k",
    // Lists.
    "LPUSH l a b c",
    "RPUSH l d e f",
    "LPUSHX l z",
    "RPUSHX l z",
    "LPUSHX nothing z",
    "RPUSHX nothing z",
    "LPOP l",
    "RPOP l 2",
    "LPOP l 0",
    "LPOP nothing",
    "LSET l 0 x",
    "LINSERT l BEFORE x y",
    "LINSERT l AFTER nothing y",
    "LREM l 0 y",
    "LREM l 0 y",
    "LTRIM l 0 1",
    "LTRIM l 5 6",
    "RPUSH l a b c",
    "LMOVE l l2 LEFT RIGHT",
    "LMOVE l l RIGHT LEFT",
    "RPOPLPUSH l l2",
    "RPOPLPUSH l l2",
    "RPOPLPUSH l2 l2",
    "LMPOP 2 l l2 LEFT COUNT 2",
    "BLPOP l l2 1",
    "RPUSH l a b",
    "BRPOP nothing l 1",
    "BLMOVE l {l}2 LEFT LEFT 1",
    "BRPOPLPUSH {l}2 l 1",
    "RPUSH l a b",
    "BLMPOP 1 1 l RIGHT COUNT 9",
    // Sets.
    "SADD s a b c",
    "SADD s a",
    "SREM s x",
    "SREM s c",
    "SMOVE s s2 a",
    "SMOVE s s2 x",
    "SMOVE s s2 b",
    "SMOVE s2 s2 b",
    "SPOP nothing",
    "SADD s 1",
    "SPOP s",
    "SADD s 1 2",
    "SPOP s 5",
    "SADD s 1 2",
    "SADD s3 2 3",
    "SUNIONSTORE sd s s3",
    "SINTERSTORE sd s s3",
    "SDIFFSTORE sd s s3",
    "SINTERSTORE sd s nothing",
    "SINTERSTORE sd s nothing",
    "SREM s 1 2",
    // Hashes.
    "HSET h f 1 g 2",
    "HSET h f 1",
    "HMSET h f 2",
    "HSETNX h f 2",
    "HSETNX h i 2",
    "HINCRBY h f 5",
    "HINCRBYFLOAT h f 1.5",
    "HDEL h x",
    "HDEL h f",
    "HDEL h g i",
    // Sorted sets, and positions.
    "ZADD z 1 a 2 b 3 c 4 d 5 e 6 f",
    "ZADD z 1 a",
    "ZADD z INCR 1 a",
    "ZADD z XX CH 7 a",
    "ZADD z2 XX 7 a",
    "ZINCRBY z 1 a",
    "ZINCRBY z 0 a",
    "ZREM z x",
    "ZREM z a",
    "ZPOPMIN z",
    "ZPOPMAX z 1",
    "ZRANGESTORE zd z 0 1",
    "ZRANGESTORE zd z 50 60",
    "ZUNIONSTORE zd 1 z",
    "ZINTERSTORE zd 2 z zd",
    "ZDIFFSTORE zd 2 z zd",
    "ZDIFFSTORE zd 1 nothing",
    "ZREMRANGEBYRANK z 0 0",
    "ZREMRANGEBYSCORE z 4 4",
    "ZREMRANGEBYLEX z - +",
    "ZADD z 1 a 2 b 3 c 4 d",
    "ZMPOP 2 nothing z MIN COUNT 1",
    "BZPOPMIN z 1",
    "BZPOPMAX z 1",
    "BZMPOP 1 1 z MAX COUNT 7",
    "GEOADD geo 1 1 m 2 2 n",
    "GEOADD geo 1 1 m",
    "GEOSEARCHSTORE geod geo FROMLONLAT 1 1 BYRADIUS 5 km",
    "GEORADIUS geo 1 1 5 km STORE geod",
    "GEORADIUSBYMEMBER geo m 5 km STOREDIST geod",
    "GEOSEARCHSTORE geod geo FROMLONLAT 90 1 BYRADIUS 5 km",
    // SORT.
    "RPUSH l 3 1 2",
    "SORT l STORE {l}sorted",
    "SORT nothing STORE {l}sorted",
    "SORT l",
    // Streams.
    "XADD x 1-1 f v",
    "XADD x MAXLEN 1 2-1 f v",
    "XADD x NOMKSTREAM 3-1 f v",
    "XADD none NOMKSTREAM 3-1 f v",
    "XTRIM x MAXLEN 1",
    "XTRIM x MAXLEN 1",
    "XSETID x 9-9",
    "XGROUP CREATE x g 0",
    "XGROUP CREATE x2 g $ MKSTREAM",
    "XREADGROUP GROUP g c1 STREAMS x >",
    "XREADGROUP GROUP g c1 STREAMS x >",
    "XGROUP CREATECONSUMER x g c2",
    "XGROUP CREATECONSUMER x g c2",
    "XCLAIM x g c3 0 3-1",
    "XAUTOCLAIM x g c4 0 0",
    "XACK x g 3-1",
    "XGROUP SETID x g 0",
    "XGROUP DELCONSUMER x g c2",
    "XGROUP DELCONSUMER x g c9",
    "XGROUP DESTROY x g",
    "XGROUP DESTROY x g",
    "XDEL x 3-1",
    "XDEL x 3-1",
    // What is refused.
    "LPUSH k2 a",
    "INCR k2",
    "SADD k2 a",
    "HSET k2 f v",
    // Transactions and scripts.
    "MULTI",
    "SET t 1",
    "LPUSH t a",
    "RPUSH t2 a",
    "LPOP t2",
    "DEL t",
    "EXEC",
    "MULTI",
    "SET t 1",
    "DISCARD",
    "MULTI",
    "SMOVE s3 t3 3",
    "SUNIONSTORE t4 s3 t3",
    "EXPIRE t4 100",
    "RENAME t4 t5",
    "DEL t5 t3",
    "EXEC",
    "EVAL return{redis.call('set',KEYS[1],1),redis.call('incr',KEYS[1]),redis.call('del',KEYS[1])} 1 script",
    "EVAL redis.call('set',KEYS[1],1)redis.call('lpush',KEYS[2],1)redis.call('rename',KEYS[1],KEYS[3]) 3 s1 s2list s3new",
    "EVAL redis.call('set',KEYS[1],1)error('x') 1 script",
    "EVALSHA 0000000000000000000000000000000000000000 1 script",
];

/// Commands that write and have no event anywhere, or are asked elsewhere.
const NOT_ASKED: &[(&str, &str)] = &[
    ("basalt|once", "Redis has it not, and its command tells what it does"),
    ("flushall", "it tells nothing"),
    ("flushdb", "it tells nothing"),
    ("migrate", "it needs another server: see `migrate.rs`"),
    ("restore", "its payload is no text: see the test of its own"),
    ("restore-asking", "it is RESTORE"),
    ("function|delete", "it changes no key"),
    ("function|flush", "it changes no key"),
    ("function|load", "it changes no key"),
    ("function|restore", "it changes no key"),
    ("hexpire", "Redis 7.0 has it not: see `field_expiry.rs`"),
    ("hexpireat", "Redis 7.0 has it not: see `field_expiry.rs`"),
    ("hpersist", "Redis 7.0 has it not: see `field_expiry.rs`"),
    ("hpexpire", "Redis 7.0 has it not: see `field_expiry.rs`"),
    ("hpexpireat", "Redis 7.0 has it not: see `field_expiry.rs`"),
];

fn words(line: &str) -> impl Iterator<Item = &str> {
    line.split(' ').map(|word| if word == "\"\"" { "" } else { word })
}

fn ask(client: &mut Client, line: &str) -> Reply {
    client.call(words(line))
}

fn choose(client: &mut Client, letters: &str) {
    assert_eq!(client.call(["CONFIG", "SET", "notify-keyspace-events", letters]), Reply::ok());
}

#[test]
fn events_are_those_of_redis_in_their_order_on_one_core() {
    let redis = RedisServer::start();
    let alone = Alone::new(|options| options.set("--cores", "1").set("--shards", "1").set("--pin", "no"));
    let [mut theirs, mut ours] = [redis.address(), alone.node.address()].map(Subscriber::new);
    let mut clients =
        [redis.address(), alone.node.address()].map(|address| Client::connect(address).expect("it accepts"));
    clients.iter_mut().for_each(|client| choose(client, "KEAmn"));
    for line in LINES {
        let replies: Vec<Reply> = clients.iter_mut().map(|client| ask(client, line)).collect();
        let expected = theirs.heard();
        let told = ours.hear(expected.len());
        assert_eq!(told, expected, "{line}: {replies:?}");
    }
    assert_eq!(ours.heard(), []);
}

/// The messages of each channel, and of each key in the channels of events.
pub fn by_key(messages: Vec<(String, String)>) -> BTreeMap<String, Vec<String>> {
    let mut by_key: BTreeMap<String, Vec<String>> = BTreeMap::new();
    for (channel, message) in messages {
        if channel.starts_with("__keyspace@") {
            by_key.entry(channel).or_default().push(message);
        } else {
            let (db, event) =
                channel.strip_prefix("__keyevent@").and_then(|rest| rest.split_once("__:")).expect("an event");
            by_key.entry(format!("{db} {message}")).or_default().push(event.to_owned());
        }
    }
    by_key
}

#[test]
fn events_of_each_key_are_those_of_redis_on_several_cores() {
    let redis = RedisServer::start();
    for (cores, shards) in [("4", "4"), ("3", "2"), ("1", "3")] {
        let alone = Alone::new(|options| options.set("--cores", cores).set("--shards", shards).set("--pin", "no"));
        let addresses = [redis.address(), alone.node.address()];
        let [mut theirs, mut ours] = addresses.map(Subscriber::new);
        let mut clients = addresses.map(|address| Client::connect(address).expect("it accepts"));
        clients.iter_mut().for_each(|client| choose(client, "KEAn"));
        clients.iter_mut().for_each(|client| drop(client.ask("FLUSHALL")));
        let mut expected = Vec::new();
        for line in LINES {
            clients.iter_mut().for_each(|client| drop(ask(client, line)));
            expected.extend(theirs.heard());
        }
        let told = ours.hear(expected.len());
        let (told, expected) = (by_key(told), by_key(expected));
        for (key, expected) in &expected {
            assert_eq!(told.get(key), Some(expected), "{key}, {cores} cores, {shards} shards");
        }
        assert_eq!(told.len(), expected.len());
        assert_eq!(ours.heard(), []);
    }
}

/// Random commands and transactions whose keys are in several shards: what is carried between these is told once, where it is.
#[test]
fn events_of_random_commands_over_several_shards_are_those_of_redis() {
    const ROUNDS: usize = 40;
    let redis = RedisServer::start();
    let alone = Alone::new(|options| options.set("--shards", "4").set("--cores", "2"));
    let addresses = [redis.address(), alone.node.address()];
    let mut clients = addresses.map(|address| Client::connect(address).expect("it accepts"));
    clients.iter_mut().for_each(|client| choose(client, "KEAn"));
    let [mut theirs, mut ours] = addresses.map(Subscriber::new);
    let seed = 8;
    println!("seed {seed}");
    let mut random = SmallRng::seed_from_u64(seed);
    let mut seen = 0;
    for round in 0..ROUNDS {
        let mut lines = Vec::new();
        while lines.len() < 60 {
            let size = if random.random_range(0..8) == 0 { random.random_range(2..6) } else { 1 };
            let drawn: Vec<String> = (0..size).map(|_| command(&mut random)).collect();
            let is_whole = size > 1;
            lines.extend(is_whole.then(|| "MULTI".to_owned()));
            lines.extend(drawn);
            lines.extend(is_whole.then(|| "EXEC".to_owned()));
        }
        for line in &lines {
            clients.iter_mut().for_each(|client| drop(client.ask(line)));
        }
        let expected = theirs.heard();
        let told = ours.hear(expected.len());
        seen += told.len();
        assert_eq!(by_key(told), by_key(expected), "round {round}: {lines:#?}");
    }
    assert!(seen > 50 * ROUNDS, "{seen} messages");
}

#[test]
fn every_command_that_writes_is_asked_for_its_events() {
    let alone = Alone::new(|options| options.set("--cores", "1"));
    let names = |filter: &str| -> BTreeSet<String> {
        let reply = alone.node.client().ask(&format!("COMMAND LIST FILTERBY ACLCAT {filter}"));
        reply.elements().iter().map(Reply::text).collect()
    };
    let asked: BTreeSet<String> = LINES
        .iter()
        .flat_map(|line| {
            let words: Vec<String> = words(line).map(str::to_lowercase).collect();
            [words[0].clone(), words.get(..2).map(|two| two.join("|")).unwrap_or_default()]
        })
        .collect();
    let left_out: BTreeSet<String> = NOT_ASKED.iter().map(|(name, _)| (*name).to_owned()).collect();
    let writes = names("write");
    assert!(writes.len() > 100, "{writes:?}");
    let missing: Vec<&String> =
        writes.iter().filter(|name| !asked.contains(*name) && !left_out.contains(*name)).collect();
    assert_eq!(missing, [""; 0], "they need a line in LINES");
    assert!(left_out.iter().all(|name| writes.contains(name) && !asked.contains(name)), "{left_out:?} of {writes:?}");
}

/// A client waits for an element, another pushes it: both are told of.
#[test]
fn waiters_are_told_of_as_those_who_do_not_wait() {
    let redis = RedisServer::start();
    let alone = Alone::new(|options| options.set("--cores", "1").set("--shards", "1").set("--pin", "no"));
    let [mut theirs, mut ours] = [redis.address(), alone.node.address()].map(Subscriber::new);
    for (waits, feeds) in [
        ("BLPOP q 0", "RPUSH q a"),
        ("BRPOP q 0", "LPUSH q a b"),
        ("DEL q", "PING"),
        ("BLMOVE q r LEFT RIGHT 0", "RPUSH q a"),
        ("BRPOPLPUSH q r 0", "RPUSH q a"),
        ("BLMPOP 0 1 q LEFT COUNT 5", "RPUSH q a b"),
        ("BZPOPMIN zq 0", "ZADD zq 1 a"),
        ("BZPOPMAX zq 0", "ZADD zq 1 a 2 b"),
        ("DEL zq", "PING"),
        ("BZMPOP 0 1 zq MIN", "ZINCRBY zq2 1 a"),
        ("XREADGROUP GROUP g c BLOCK 0 STREAMS xq >", "XADD xq 1-1 f v"),
    ] {
        let mut told = Vec::new();
        for (address, subscriber) in [(redis.address(), &mut theirs), (alone.node.address(), &mut ours)] {
            let mut clients = [(); 2].map(|()| Client::connect(address).expect("it accepts"));
            choose(&mut clients[0], "KEAn");
            clients[0].ask("XGROUP CREATE xq g $ MKSTREAM");
            let mut request = Vec::new();
            Client::encode(&mut request, waits.split(' '));
            clients[1].send(request).expect("it reads");
            if feeds != "PING" {
                eventually("it waits", DEADLINE, || {
                    let info = clients[0].ask("INFO clients").text();
                    if info.contains("blocked_clients:1\r\n") { Ok(()) } else { Err(info) }
                });
            }
            clients[0].ask(feeds);
            if feeds.contains("zq2") {
                clients[0].ask("ZADD zq 5 z");
            }
            clients[1].read().expect("it is served");
            let count = told.first().map_or(0, Vec::len);
            told.push(subscriber.hear(count));
        }
        assert_eq!(told[1], told[0], "{waits} and {feeds}");
        assert_eq!(ours.heard(), []);
    }
}

#[test]
fn what_has_expired_is_told_once_however_it_goes() {
    for cores in ["1", "3"] {
        let alone = Alone::new(|options| {
            options
                .set("--cores", cores)
                .set("--pin", "no")
                .set("--notify-keyspace-events", "KEA")
                .set("--enable-debug-command", "yes")
        });
        let (mut client, mut subscriber) = (alone.node.client(), Subscriber::new(alone.node.address()));
        let both = |key: &str, events: &[&str]| -> BTreeMap<String, Vec<String>> {
            let events: Vec<String> = events.iter().map(|event| (*event).to_owned()).collect();
            [(format!("__keyspace@0__:{key}"), events.clone()), (format!("0 {key}"), events)].into()
        };
        client.ask("SET past v PXAT 1");
        assert_eq!(by_key(subscriber.hear(6)), both("past", &["set", "expire", "expired"]));
        client.ask("SET a v PX 30");
        assert_eq!(
            by_key(subscriber.hear(6)),
            both("a", &["set", "expire", "expired"]),
            "the node deletes it by itself"
        );
        assert_eq!(client.ask("DEBUG SET-ACTIVE-EXPIRE 0"), Reply::ok());
        client.ask("SET b v PX 1");
        eventually("it has expired", DEADLINE, || match client.ask("GET b") {
            Reply::Null => Ok(()),
            other => Err(other),
        });
        client.ask("RPUSH b x");
        assert_eq!(by_key(subscriber.hear(8)), both("b", &["set", "expire", "expired", "rpush"]));
        client.ask("SET c v PX 1");
        eventually("it has expired", DEADLINE, || match client.ask("GET c") {
            Reply::Null => Ok(()),
            other => Err(other),
        });
        assert_eq!(client.ask("DEL c"), Reply::Integer(0));
        assert_eq!(by_key(subscriber.hear(6)), both("c", &["set", "expire", "expired"]), "nobody has deleted it");
        assert_eq!(client.ask("DEBUG SET-ACTIVE-EXPIRE 1"), Reply::ok());
        client.ask("SET last v");
        assert_eq!(by_key(subscriber.hear(2)), both("last", &["set"]), "and that was all");
    }
}

#[test]
fn the_setting_changes_while_the_node_runs_and_is_kept() {
    let alone = Alone::new(|options| options.set("--cores", "2").set("--pin", "no"));
    let (mut client, mut subscriber) = (alone.node.client(), Subscriber::new(alone.node.address()));
    let event = |channel: &str, message: &str| (channel.to_owned(), message.to_owned());
    let read = "CONFIG GET notify-keyspace-events";
    assert_eq!(client.ask(read), Reply::bulks(["notify-keyspace-events", ""]));
    client.ask("SET k v");
    choose(&mut client, "E$");
    client.ask("SET k2 v");
    assert_eq!(subscriber.hear(1), [event("__keyevent@0__:set", "k2")], "none of what was before");
    choose(&mut client, "Kg");
    client.ask("SET k2 v");
    client.ask("DEL k2");
    assert_eq!(subscriber.hear(1), [event("__keyspace@0__:k2", "del")]);
    choose(&mut client, "A");
    client.ask("SET k2 v");
    choose(&mut client, "KEln");
    assert_eq!(client.ask(read), Reply::bulks(["notify-keyspace-events", "lnKE"]));
    client.ask("LPUSH list a");
    let expected = ["new", "lpush"]
        .map(|name| [event("__keyspace@0__:list", name), event(&format!("__keyevent@0__:{name}"), "list")]);
    assert_eq!(subscriber.hear(4), expected.concat());
    assert!(client.ask("CONFIG SET notify-keyspace-events KEQ").is_error(
        "ERR CONFIG SET failed (possibly related to argument 'notify-keyspace-events') - Invalid event class character. Use \
         'Ag$lshzxeKEtmdn'."
    ));
    choose(&mut client, "");
    client.ask("LPUSH list a");
    choose(&mut client, "KEA");
    client.ask("SELECT 9");
    client.ask("LPUSH list a");
    let expected = [event("__keyspace@9__:list", "lpush"), event("__keyevent@9__:lpush", "list")];
    assert_eq!(subscriber.hear(2), expected);
}

#[test]
fn a_subscriber_of_the_new_protocol_hears_of_its_own_commands() {
    let alone =
        Alone::new(|options| options.set("--cores", "3").set("--pin", "no").set("--notify-keyspace-events", "KEA"));
    let mut client = alone.node.client();
    client.ask("HELLO 3");
    client.ask("SUBSCRIBE __keyspace@0__:k __keyevent@0__:del");
    client.read().expect("the second channel");
    let mut request = Vec::new();
    for line in ["SET k v", "DEL k other", "PING"] {
        Client::encode(&mut request, line.split(' '));
    }
    client.send(request).expect("it reads");
    let (mut replies, mut pushes) = (Vec::new(), Vec::new());
    while replies.len() < 3 || pushes.len() < 3 {
        match client.read().expect("a reply or a message") {
            Reply::Push(words) => pushes.push(words.iter().map(Reply::text).collect::<Vec<_>>().join(" ")),
            reply => replies.push(reply),
        }
    }
    assert_eq!(replies, [Reply::ok(), Reply::Integer(1), Reply::Simple("PONG".into())]);
    let expected = ["message __keyspace@0__:k set", "message __keyspace@0__:k del", "message __keyevent@0__:del k"];
    assert_eq!(pushes, expected);
}

#[test]
fn a_node_that_was_killed_tells_nothing_of_what_it_finds_in_its_log() {
    let dir = tempfile::tempdir().expect("a temporary directory");
    let options = basalt_tests::NodeOptions::new(dir.path().join("data"))
        .set("--cores", "2")
        .set("--notify-keyspace-events", "KEA");
    let mut node = options.start();
    let mut client = node.client();
    for number in 0..200 {
        client.ask(&format!("SET k{number} v"));
    }
    node.kill_9();
    let node = options.start();
    let (mut client, mut subscriber) = (node.client(), Subscriber::new(node.address()));
    assert_eq!(client.ask("GET k7"), Reply::bulk("v"));
    client.ask("DEL k7");
    let told = subscriber.hear(2);
    let expected = [("__keyspace@0__:k7", "del"), ("__keyevent@0__:del", "k7")];
    assert_eq!(told, expected.map(|(channel, message)| (channel.to_owned(), message.to_owned())));
}

#[test]
fn more_events_at_once_than_are_kept_are_dropped_and_counted() {
    const KEYS: usize = 120_000;
    let alone =
        Alone::new(|options| options.set("--cores", "1").set("--shards", "1").set("--notify-keyspace-events", "KEA"));
    let (mut client, mut subscriber) = (alone.node.client(), alone.node.client());
    subscriber.ask("SUBSCRIBE __keyevent@0__:lpush");
    let names: Vec<String> = (0..KEYS).map(|number| format!("{number:0>100}")).collect();
    for names in names.chunks(10_000) {
        let words = ["MSET".to_owned()].into_iter().chain(names.iter().flat_map(|name| [name.clone(), "v".to_owned()]));
        assert_eq!(client.call(words), Reply::ok());
    }
    let dropped = |client: &mut Client| -> u64 {
        let info = client.ask("INFO stats").text();
        let line = info.lines().find_map(|line| line.strip_prefix("keyspace_events_dropped:")).expect("it is told");
        line.parse().expect("a number")
    };
    assert_eq!(dropped(&mut client), 0);
    let words = ["DEL".to_owned()].into_iter().chain(names);
    assert_eq!(client.call(words), Reply::Integer(KEYS as i64));
    let count = eventually("what was dropped is counted", DEADLINE, || match dropped(&mut client) {
        0 => Err("none"),
        count => Ok(count),
    });
    assert!(count < KEYS as u64, "{count}");
    eventually("there is room again", DEADLINE, || {
        client.ask("LPUSH list a");
        let answer: Vec<String> = subscriber.ask("PING").elements().iter().map(Reply::text).collect();
        if answer == ["message", "__keyevent@0__:lpush", "list"] { Ok(()) } else { Err(answer) }
    });
}

#[test]
fn restored_keys_are_told_as_in_redis() {
    let redis = RedisServer::start();
    let alone = Alone::new(|options| options.set("--cores", "2").set("--pin", "no"));
    let mut told = Vec::new();
    for address in [redis.address(), alone.node.address()] {
        let (mut client, mut subscriber) = (Client::connect(address).expect("it accepts"), Subscriber::new(address));
        choose(&mut client, "KEAn");
        for line in ["SET k v", "RPUSH l a b", "HSET h f v", "ZADD z 1 a", "SADD s a", "XADD x 1-1 f v"] {
            client.ask(line);
        }
        for key in ["k", "l", "h", "z", "s", "x"] {
            let Reply::Bulk(payload) = client.ask(&format!("DUMP {key}")) else { panic!("no payload of {key}") };
            for (ttl, options) in
                [("0", &[][..]), ("1000000", &["REPLACE"]), ("1", &["REPLACE", "ABSTTL"]), ("1", &["ABSTTL"])]
            {
                let name = format!("{key}restored");
                let words = [&b"RESTORE"[..], name.as_bytes(), ttl.as_bytes(), &payload].into_iter();
                assert_eq!(client.call(words.chain(options.iter().map(|option| option.as_bytes()))), Reply::ok());
            }
        }
        let count =
            told.first().map_or(0, |of_redis: &BTreeMap<String, Vec<String>>| of_redis.values().map(Vec::len).sum());
        told.push(by_key(subscriber.hear(count)));
    }
    assert_eq!(told[1], told[0]);
}
