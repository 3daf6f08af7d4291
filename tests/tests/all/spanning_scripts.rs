//! Scripts whose keys are in several shards of a node alone: as in Redis, seen whole or not at all, and whole after a crash.

use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::thread;
use std::time::Instant;

use basalt_tests::{Client, DEADLINE, Node, NodeOptions, RedisServer, Reply, eventually};
use rand::rngs::SmallRng;
use rand::{RngExt as _, SeedableRng as _};

use crate::alone::Alone;
use crate::load::cycles;
use crate::spanning::assert_nothing_is_left;

pub(crate) fn several() -> Alone {
    Alone::new(|options| options.set("--shards", "4").set("--cores", "2"))
}

/// Typical scripts, with their numbers of keys and of arguments. Names of keys and arguments are drawn.
pub(crate) const SCRIPTS: &[(&str, usize, usize)] = &[
    // Redlock: several locks as one, and their release by whoever has them.
    (
        "for i, key in ipairs(KEYS) do if redis.call('exists', key) == 1 then return 0 end end \
         for i, key in ipairs(KEYS) do redis.call('set', key, ARGV[1], 'PX', 1000000) end return #KEYS",
        3,
        1,
    ),
    (
        "local n = 0 for i, key in ipairs(KEYS) do if redis.pcall('get', key) == ARGV[1] then \
         n = n + redis.call('del', key) end end return n",
        3,
        1,
    ),
    // A sliding window over two keys.
    (
        "redis.call('zremrangebyscore', KEYS[1], '-inf', ARGV[1] - 3) local n = redis.call('zcard', KEYS[1]) \
         if n < 5 then redis.call('zadd', KEYS[1], ARGV[1], ARGV[1]) redis.call('incr', KEYS[2]) \
         redis.call('expire', KEYS[2], 1000) return {1, n} end return {0, n, redis.call('get', KEYS[2])}",
        2,
        1,
    ),
    // A queue: a job is added with keys that nobody has declared, moved, and finished.
    (
        "local id = redis.call('incr', KEYS[1]) local job = KEYS[1] .. ':' .. id \
         redis.call('hmset', job, 'data', ARGV[1], 'opts', cjson.encode({attempts = id})) \
         redis.call('lpush', KEYS[2], id) return {id, redis.call('llen', KEYS[2]), job}",
        2,
        1,
    ),
    (
        "local id = redis.call('rpoplpush', KEYS[1], KEYS[2]) if not id then return false end \
         local job = KEYS[3] .. ':' .. id redis.call('hset', job, 'by', ARGV[1], 'at', id) \
         redis.call('zadd', KEYS[3] .. ':lock', id, id) \
         return {id, redis.call('hget', job, 'data'), redis.call('hincrby', job, 'n', 1)}",
        3,
        1,
    ),
    (
        "local ids = redis.call('lrange', KEYS[1], 0, -1) local removed = 0 for _, id in ipairs(ids) do \
         removed = removed + redis.call('del', KEYS[2] .. ':' .. id, KEYS[2] .. ':' .. id .. ':log') end \
         redis.call('del', KEYS[1], KEYS[2] .. ':lock') return {#ids, removed}",
        2,
        0,
    ),
    // Commands with keys in several shards.
    ("return redis.call('mset', KEYS[1], ARGV[1], KEYS[2], ARGV[1], KEYS[3], 'x')", 3, 1),
    ("return redis.call('mget', KEYS[1], KEYS[2], KEYS[3], KEYS[1])", 3, 0),
    (
        "return {redis.call('msetnx', KEYS[1], 'a', KEYS[2], 'b'), redis.call('exists', KEYS[1], KEYS[2], KEYS[1])}",
        2,
        0,
    ),
    (
        "redis.call('set', KEYS[1], ARGV[1]) return {redis.call('rename', KEYS[1], KEYS[2]), redis.call('get', KEYS[2])}",
        2,
        1,
    ),
    ("return redis.call('copy', KEYS[1], KEYS[2], 'replace')", 2, 0),
    (
        "redis.call('del', KEYS[1], KEYS[2], KEYS[3]) redis.call('sadd', KEYS[1], 'a', ARGV[1]) \
         redis.call('smove', KEYS[1], KEYS[2], 'a') redis.call('sunionstore', KEYS[3], KEYS[1], KEYS[2]) \
         return {redis.call('scard', KEYS[3]), redis.call('sismember', KEYS[2], 'a')}",
        3,
        1,
    ),
    // Own writes are seen.
    (
        "redis.call('del', KEYS[1], KEYS[2]) for i = 1, 5 do redis.call('rpush', KEYS[i % 2 + 1], i) end \
         redis.call('lrem', KEYS[1], 0, 4) return {redis.call('lrange', KEYS[1], 0, -1), redis.call('lrange', KEYS[2], 0, -1)}",
        2,
        0,
    ),
    (
        "redis.call('set', KEYS[1], 'x') redis.call('del', KEYS[1]) return {redis.call('get', KEYS[1]), redis.call('ttl', KEYS[2])}",
        2,
        0,
    ),
    // Errors in the middle: what was before stays.
    ("redis.call('set', KEYS[1], ARGV[1]) redis.call('lpush', KEYS[1], 'x') redis.call('set', KEYS[2], 'never')", 2, 1),
    ("redis.call('set', KEYS[1], ARGV[1]) redis.call('incr', KEYS[2]) error('boom')", 2, 1),
    ("redis.call('incr', KEYS[1]) redis.call('nonsense', KEYS[2])", 2, 0),
    ("redis.call('set', KEYS[1], 1) return redis.call('set', KEYS[2])", 2, 0),
    // Errors that are caught, from within functions and metamethods.
    (
        "local t = redis.pcall('lpush', KEYS[1], 'y') local ok, e = pcall(function() \
         redis.call('set', KEYS[2], ARGV[1]) return redis.call('hget', KEYS[2], 'f') end) \
         redis.call('append', KEYS[3], 'z') return {type(t) == 'table' and t.err or t, tostring(ok), type(e) == 'table' and e.err or e}",
        3,
        1,
    ),
    (
        "local co = coroutine.wrap(function() for i, key in ipairs(KEYS) do coroutine.yield(redis.pcall('type', key)) end end) \
         local seen = {} for i = 1, #KEYS do seen[i] = co().ok end table.sort(seen, function(a, b) \
         redis.pcall('incr', KEYS[1]) return a < b end) return seen",
        3,
        0,
    ),
    (
        "local reply = redis.pcall('mset', KEYS[1], 1, KEYS[2]) redis.pcall('lmove', KEYS[1], KEYS[2], 'up', ARGV[1]) \
         local key = type(reply) == 'table' and KEYS[1] or KEYS[2] redis.call('set', key, ARGV[1]) return redis.call('incr', key)",
        2,
        1,
    ),
    // Keys that are only in the text.
    (
        "redis.call('incr', 'hits') redis.call('incr', 'hits:' .. ARGV[1]) return redis.call('mget', 'hits', 'hits:' .. ARGV[1])",
        0,
        1,
    ),
    // Another database, another protocol, and none of the commands that are for all keys or none.
    (
        "redis.call('select', 3) redis.call('set', KEYS[1], 'three') redis.call('select', 0) return redis.call('get', KEYS[2])",
        2,
        0,
    ),
    (
        "redis.setresp(3) redis.call('hset', KEYS[1], 'a', 'b') return {redis.call('hgetall', KEYS[1]), redis.call('get', KEYS[2])}",
        2,
        0,
    ),
    ("return {redis.call('ping'), redis.call('echo', ARGV[1]), redis.pcall('blpop', KEYS[1], KEYS[2], 0)}", 2, 1),
    // Commands on all keys.
    ("local keys = redis.call('keys', 'k1*') table.sort(keys) return keys", 0, 0),
    (
        "local page = redis.call('scan', 0, 'count', 1000, 'match', 'k*', 'type', 'string') table.sort(page[2]) return page",
        0,
        0,
    ),
    (
        "local keys = redis.call('keys', KEYS[1] .. '*') for i = 1, #keys, 2 do \
         redis.call('del', unpack(keys, i, math.min(i + 1, #keys))) end return {#keys, redis.call('dbsize')}",
        1,
        0,
    ),
    (
        "redis.call('set', KEYS[1], ARGV[1]) redis.call('select', 5) redis.call('flushdb') redis.call('set', KEYS[1], 1) \
         local five = redis.call('dbsize') redis.call('select', 0) return {five, redis.call('dbsize')}",
        1,
        1,
    ),
    (
        "redis.call('flushall') redis.call('set', KEYS[1], 1) return {redis.call('dbsize'), redis.call('keys', '*')}",
        1,
        0,
    ),
    // Messages, and what must not wait.
    ("redis.call('publish', 'c', ARGV[1]) redis.call('set', KEYS[1], 1) redis.call('spublish', KEYS[2], 'x')", 2, 1),
    (
        "return {redis.pcall('XREAD', 'block', 0, 'streams', KEYS[1], 0).err, redis.call('get', KEYS[2]) and 1, \
         redis.pcall('xreadgroup', 'group', 'g', 'c', 'count', 1, 'block', 0, 'streams', KEYS[1], '>').err}",
        2,
        0,
    ),
];

#[test]
fn scripts_over_several_shards_are_answered_as_by_redis() {
    let redis = RedisServer::start();
    let alone = several();
    for (protocol, seed) in [("2", 11), ("3", 12)] {
        println!("seed {seed}");
        let mut random = SmallRng::seed_from_u64(seed);
        let mut clients = [redis.address(), alone.node.address()].map(|address| {
            let mut client = Client::connect(address).expect("the server accepts");
            let _ = client.ask(&format!("HELLO {protocol}"));
            client.ask("FLUSHALL");
            client
        });
        for step in 0..1500 {
            let (script, keys, args) = SCRIPTS[random.random_range(0..SCRIPTS.len())];
            let mut call = vec!["EVAL".to_owned(), script.to_owned(), keys.to_string()];
            call.extend((0..keys).map(|_| format!("k{}", random.random_range(0..12))));
            call.extend((0..args).map(|_| random.random_range(0..9).to_string()));
            let [expected, found] = clients.each_mut().map(|client| client.call(&call));
            assert_eq!(found, expected, "{step}: {call:?}");
            if step % 50 == 0 {
                clients.iter_mut().for_each(|client| drop(client.ask("DEL k1 k2 k3 k4 k5 k6")));
            }
        }
        let [mut redis, mut basalt] = clients;
        let keys = |client: &mut Client| {
            let mut keys: Vec<String> = client.ask("KEYS *").elements().iter().map(Reply::text).collect();
            keys.sort();
            keys
        };
        let all = keys(&mut redis);
        assert_eq!(keys(&mut basalt), all);
        for key in all {
            for look in ["TYPE", "GET", "LRANGE 0 -1", "ZRANGE 0 -1", "SCARD", "HLEN"] {
                let (name, rest) = look.split_once(' ').unwrap_or((look, ""));
                let line = format!("{name} {key} {rest}");
                assert_eq!(basalt.ask(line.trim()), redis.ask(line.trim()), "{line}");
            }
        }
    }
    assert_nothing_is_left(&alone.node);
}

#[test]
fn nobody_sees_half_of_a_script_over_several_shards() {
    const ROUNDS: u32 = 200;
    let alone = several();
    let node = &alone.node;
    node.client().ask("MSET a 0 b 0 c 0 d 0 e 0 hidden 0");
    let (is_over, looks) = (AtomicBool::new(false), AtomicU64::new(0));
    // One key is not declared.
    let script = "for i, key in ipairs(KEYS) do redis.call('set', key, ARGV[1]) end \
         redis.call('set', 'hid' .. 'den', ARGV[1]) return redis.call('mget', unpack(KEYS))";
    let reading =
        "local values = redis.call('mget', 'a', 'b', 'c') values[4] = redis.call('get', 'hidden') return values";
    thread::scope(|scope| {
        for number in 0..3 {
            let (is_over, looks) = (&is_over, &looks);
            scope.spawn(move || {
                let mut client = node.client();
                while !is_over.load(Ordering::Relaxed) {
                    let values = if number == 0 {
                        client.call(["EVAL_RO", reading, "0"]).elements().to_vec()
                    } else {
                        client.ask("MULTI");
                        client.ask("MGET a b c d e hidden");
                        client.ask("EXEC").elements()[0].elements().to_vec()
                    };
                    assert!(values.iter().all(|value| *value == values[0]), "{values:?}");
                    looks.fetch_add(1, Ordering::Relaxed);
                }
            });
        }
        let writers: Vec<_> = (0..2)
            .map(|writer| {
                scope.spawn(move || {
                    let mut client = node.client();
                    for round in 1..=ROUNDS {
                        let value = (2 * round + writer).to_string();
                        let reply = client.call(["EVAL", script, "5", "a", "b", "c", "d", "e", &value]);
                        assert_eq!(reply, Reply::bulks([&value[..]; 5]));
                    }
                })
            })
            .collect();
        writers.into_iter().for_each(|writer| writer.join().expect("a writer ends well"));
        is_over.store(true, Ordering::Relaxed);
    });
    assert!(looks.load(Ordering::Relaxed) > 10, "{looks:?} looks");
    assert_nothing_is_left(node);
}

const ACCOUNTS: u32 = 16;
const EACH: i64 = 1000;

/// Moves money, notes it in a list of each account that it does not declare, and fails behind its writes now and then.
const MOVE: &str = "local amount = tonumber(ARGV[1]) redis.call('decrby', KEYS[1], amount) redis.call('incrby', KEYS[2], amount) \
     redis.call('rpush', 'log:' .. KEYS[1], -amount) redis.call('rpush', 'log:' .. KEYS[2], amount) \
     if amount % 7 == 0 then error('after all') end return amount";

const SUM: &str = "local sum = 0 for i, key in ipairs(KEYS) do sum = sum + redis.call('get', key) end return sum";

fn accounts() -> Vec<String> {
    (0..ACCOUNTS).map(|number| format!("account:{number}")).collect()
}

fn sum(client: &mut Client) -> Option<i64> {
    let mut call = vec!["EVAL_RO".to_owned(), SUM.to_owned(), ACCOUNTS.to_string()];
    call.extend(accounts());
    match client.try_call(&call).ok()? {
        Reply::Integer(sum) => Some(sum),
        reply => panic!("{reply:?}"),
    }
}

/// That money is what it was, and each account has what its list says.
fn check_accounts(node: &Node) {
    let mut client = node.client();
    assert_eq!(sum(&mut client), Some(EACH * i64::from(ACCOUNTS)));
    for account in accounts() {
        let moved = client.ask(&format!("LRANGE log:{account} 0 -1"));
        let moved: i64 = moved.elements().iter().map(|amount| amount.text().parse::<i64>().expect("a number")).sum();
        assert_eq!(client.ask(&format!("GET {account}")), Reply::bulk((EACH + moved).to_string()), "{account}");
    }
    assert_nothing_is_left(node);
}

#[test]
fn no_money_is_lost_that_scripts_move_between_shards_when_the_node_is_killed() {
    let temporary = tempfile::tempdir().expect("a temporary directory");
    let options = NodeOptions::new(temporary.path().join("data"))
        .set("--shards", "4")
        .set("--cores", "2")
        .set("--memtable-bytes", "256kb");
    let mut node = options.start();
    for account in accounts() {
        assert_eq!(node.client().ask(&format!("SET {account} {EACH}")), Reply::ok());
    }
    for cycle in 0..3 * cycles() as u64 {
        let (done, enough) = (AtomicU64::new(0), 20 + 31 * cycle % 200);
        thread::scope(|scope| {
            for number in 0..4 {
                let (mut client, done) = (node.client(), &done);
                scope.spawn(move || {
                    let mut random = SmallRng::seed_from_u64(10 * cycle + number);
                    let account = |random: &mut SmallRng| format!("account:{}", random.random_range(0..ACCOUNTS));
                    loop {
                        let (from, to) = (account(&mut random), account(&mut random));
                        let amount = random.random_range(1..50u32).to_string();
                        let Ok(reply) = client.try_call(["EVAL", MOVE, "2", &from, &to, &amount]) else { return };
                        let is_known =
                            matches!(reply, Reply::Integer(_)) || reply.is_error("ERR user_script:1: after all");
                        assert!(is_known, "{reply:?}");
                        done.fetch_add(1, Ordering::Relaxed);
                    }
                });
            }
            let mut client = node.client();
            scope.spawn(move || {
                while let Some(sum) = sum(&mut client) {
                    assert_eq!(sum, EACH * i64::from(ACCOUNTS), "money comes from nowhere, and goes nowhere");
                }
            });
            eventually("money is moved", DEADLINE, || match done.load(Ordering::Relaxed) {
                count if count < enough => Err(count),
                _ => Ok(()),
            });
            node.kill();
        });
        node.kill_9();
        node = options.start();
        check_accounts(&node);
    }
}

#[test]
fn a_script_wakes_who_waits_in_another_shard_and_is_seen_by_who_watches() {
    let alone = several();
    let (mut waiting, mut watching, mut client) = (alone.node.client(), alone.node.client(), alone.node.client());
    for (from, to) in [("a", "b"), ("b", "a"), ("a", "c"), ("d", "b"), ("e", "d")] {
        watching.ask(&format!("WATCH watched:{to}"));
        let mut ask = Vec::new();
        Client::encode(&mut ask, ["BLPOP", to, "0"]);
        waiting.send(&ask).expect("the node reads");
        eventually("it waits", DEADLINE, || {
            let info = client.ask("INFO clients").text();
            if info.contains("blocked_clients:1\r\n") { Ok(()) } else { Err(info) }
        });
        let script = "redis.call('incr', 'watched:' .. KEYS[2]) redis.call('rpush', KEYS[1], 'element') \
             return redis.call('lmove', KEYS[1], KEYS[2], 'left', 'right')";
        assert_eq!(client.call(["EVAL", script, "2", from, to]), Reply::bulk("element"));
        assert_eq!(waiting.read().expect("an answer"), Reply::bulks([to, "element"]));
        watching.ask("MULTI");
        watching.ask("PING");
        assert_eq!(watching.ask("EXEC"), Reply::Null);
    }
    assert_nothing_is_left(&alone.node);
}

#[test]
fn a_small_operation_on_a_large_key_of_another_shard_stays_small() {
    let alone = several();
    let mut client = alone.node.client();
    let element = "e".repeat(100);
    for _ in 0..100 {
        let mut push = vec!["RPUSH", "large"];
        push.extend([&element[..]; 2000]);
        client.call(push);
    }
    // 20 MB: more than a script may read, and than is carried in no time.
    let script = "redis.call('rpush', KEYS[2], redis.call('lpop', KEYS[1])) redis.call('lpush', KEYS[1], 'x') \
         return redis.call('llen', KEYS[1])";
    let began = Instant::now();
    for _ in 0..20 {
        for other in ["a", "b", "c", "d"] {
            assert_eq!(client.call(["EVAL", script, "2", "large", other]), Reply::Integer(200_000));
        }
    }
    let took = began.elapsed();
    assert!(took < DEADLINE / 4, "{took:?}");
    // What has to be carried as a whole is refused, and nothing of it stays.
    let carried = "redis.call('set', 'undone', 1) return redis.call('rename', KEYS[1], KEYS[2])";
    let replies = ["e", "f", "g", "h"].map(|other| client.call(["EVAL", carried, "2", "large", other]));
    assert!(
        replies.iter().any(|reply| reply.is_error("ERR the script was stopped and undone: it reads and writes more"))
    );
    assert_eq!(client.ask("EXISTS undone"), Reply::Integer(replies.iter().any(|reply| *reply == Reply::ok()).into()));
}

#[test]
fn a_script_that_is_stopped_over_several_shards_has_done_nothing() {
    let alone = several();
    let mut client = alone.node.client();
    let call = |client: &mut Client, script: &str| client.call(["EVAL", script, "4", "a", "b", "c", "d"]);
    let begin = "for i, key in ipairs(KEYS) do redis.call('incr', key) end ";
    for end in ["while true do end", "while true do redis.call('incr', KEYS[1]) end", "return string.rep('x', 1e9)"] {
        let reply = call(&mut client, &format!("{begin}{end}"));
        assert!(reply.is_error("ERR the script was stopped and undone: "), "{end}: {reply:?}");
        assert_eq!(client.ask("EXISTS a b c d"), Reply::Integer(0), "{end}");
    }
    // Nor has one that may only read.
    let reply = client.call(["EVAL_RO", &format!("{begin}return 1"), "4", "a", "b", "c", "d"]);
    assert!(reply.is_error("ERR Write commands are not allowed from read-only scripts."), "{reply:?}");
    assert_eq!(client.ask("EXISTS a b c d"), Reply::Integer(0));
    // Commands on all keys have a script, and a transaction with one, hold all of them.
    assert_eq!(call(&mut client, "return redis.call('dbsize')"), Reply::Integer(0));
    client.ask("MULTI");
    client.call(["EVAL", "return redis.call('dbsize')", "1", "a"]);
    let reply = client.ask("EXEC").elements()[0].clone();
    assert_eq!(reply, Reply::Integer(0));
    assert_nothing_is_left(&alone.node);
}

/// A call that is refused before any shard is asked keeps its place among the script's calls, and those behind it keep theirs.
#[test]
fn a_script_goes_on_from_an_error_that_it_has_caught() {
    let alone = several();
    let mut client = alone.node.client();
    let script = "local reply = redis.pcall(unpack(ARGV)) local is_error = type(reply) == 'table' and reply.err ~= nil \
         if is_error then redis.call('incr', KEYS[1]) else redis.call('incr', KEYS[2]) end \
         return {is_error and 'refused' or 'done', redis.call('get', KEYS[1]), redis.call('get', KEYS[2])}";
    let mut refused = 0;
    for other in ["b", "c", "d", "e", "f", "g", "h"] {
        let calls: &[&[&str]] = &[
            &["mset", "a", "1", other],
            &["msetnx", "a", "1", other],
            &["xread", "streams", "a", other, "0", "0"],
            &["blpop", "a", other, "0"],
            &["lmove", "a", other, "up", "down"],
            &["lmpop", "2", "a", other, "up"],
            &["sintercard", "0", "a", other],
            &["zunion", "none", "a", other],
        ];
        for call in calls {
            client.call(["DEL", "a", other]);
            let reply = client.call([&["EVAL", script, "2", "a", other], *call].concat());
            let is_refused = reply.elements()[0] == Reply::bulk("refused");
            refused += u32::from(is_refused);
            let expected = if is_refused { [Reply::bulk("1"), Reply::Null] } else { [Reply::Null, Reply::bulk("1")] };
            assert_eq!(reply.elements()[1..], expected, "{call:?}");
            assert_eq!(client.call(["MGET", "a", other]).elements(), expected, "{call:?}");
        }
    }
    assert!(refused >= 5 * 7, "{refused} calls were refused");
    assert_nothing_is_left(&alone.node);
}

#[test]
fn a_script_may_do_over_several_shards_what_its_caller_may() {
    let alone = several();
    let (mut admin, mut client) = (alone.node.client(), alone.node.client());
    assert_eq!(admin.ask("ACL SETUSER worker on nopass ~a ~b +eval +get +set"), Reply::ok());
    assert_eq!(client.ask("AUTH worker any"), Reply::ok());
    let script = "redis.call('set', KEYS[1], 1) redis.call('set', KEYS[2], 2) return redis.call(unpack(ARGV))";
    let call = |client: &mut Client, rest: &[&str]| client.call([&["EVAL", script, "2", "a", "b"], rest].concat());
    assert_eq!(call(&mut client, &["get", "b"]), Reply::bulk("2"));
    for (rest, error) in [(["get", "c"], "at least one of the keys"), (["del", "b"], "can't run this command")] {
        let reply = call(&mut client, &rest);
        assert!(matches!(&reply, Reply::Error(text) if text.contains(error)), "{reply:?}");
    }
    assert!(client.call(["EVAL", script, "2", "a", "c"]).is_error("NOPERM"));
}

#[test]
fn a_script_over_several_shards_whose_rows_are_on_disk_goes_on_when_they_are_fetched() {
    let dir = tempfile::tempdir().expect("a temporary directory");
    let options = NodeOptions::new(dir.path().join("data"))
        .set("--shards", "4")
        .set("--cores", "2")
        .set("--memtable-bytes", "256kb")
        .set("--memory", "64mb");
    let mut node = options.start();
    let value = "v".repeat(1000);
    for first in (0..2000).step_by(100) {
        let sets =
            (first..first + 100).map(|number| ["SET".to_owned(), format!("c{number}"), format!("{number}{value}")]);
        assert!(node.client().pipeline(sets).iter().all(|reply| *reply == Reply::ok()));
    }
    node.stop_written();
    let node = options.start();
    let mut client = node.client();
    let script = "local n = 0 for i = 0, 1999, 20 do local v = redis.call('get', 'c' .. i) \
         if string.sub(v, 1, #tostring(i)) ~= tostring(i) then error('wrong value') end \
         redis.call('append', 'c' .. i, 'new') n = n + redis.call('incr', KEYS[1]) end return n";
    assert_eq!(client.call_patiently(["EVAL", script, "1", "count"]), Reply::Integer((1..=100).sum()));
    assert!(client.ask("GET c1980").text().ends_with("vnew"));
    assert_eq!(client.ask("GET count"), Reply::bulk("100"));
    assert_nothing_is_left(&node);
}

/// Once it is known that a script accesses keys of other shards than those that it has declared, it is executed behind what its
/// connection has sent before it, and before what comes behind.
#[test]
fn a_script_that_reaches_for_other_shards_keeps_its_place_in_a_pipeline() {
    let alone = several();
    let mut client = alone.node.client();
    let script = "local sum = 0 for i = 1, 8 do sum = sum + redis.call('incr', 'reached:' .. i) end return sum";
    assert_eq!(client.call(["EVAL", script, "0"]), Reply::Integer(8));
    for round in 0..50i64 {
        let before = 100 * (round + 1);
        let lines: Vec<Vec<String>> = vec![
            vec!["SET".into(), "reached:5".into(), before.to_string()],
            vec!["EVAL".into(), script.into(), "1".into(), "reached:1".into()],
            vec!["GET".into(), "reached:5".into()],
            vec!["INCR".into(), "reached:2".into()],
        ];
        let replies = client.try_pipeline(lines).expect("replies");
        let others = 7 * (2 + round) + round;
        let expected = [Reply::ok(), Reply::Integer(others + before + 1), Reply::bulk((before + 1).to_string())];
        assert_eq!(replies[..3], expected, "round {round}");
    }
}
