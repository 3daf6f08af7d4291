//! Transactions that have scripts, and calls of functions, with keys in several shards of a node alone: as in Redis, whole or not
//! at all.

use std::thread;
use std::time::{Duration, Instant};

use basalt_tests::{Client, RedisServer, Reply};
use rand::rngs::SmallRng;
use rand::{RngExt as _, SeedableRng as _};

use crate::spanning::assert_nothing_is_left;
use crate::spanning_scripts::{SCRIPTS, several};

/// Commands that stand beside scripts: `k` is drawn.
const BESIDE: &[&str] = &[
    "SET k 1",
    "INCR k",
    "GET k",
    "MGET k k k",
    "MSET k 5 k 6",
    "DEL k k",
    "LPUSH k x",
    "SADD k a b",
    "SUNIONSTORE k k k",
    "RENAME k k",
    "LMOVE k k LEFT RIGHT",
    "EXISTS k k k",
    "SET k",
    "DBSIZE",
    "PING",
    "EVAL return 1 0",
    "EVALSHA ffffffffffffffffffffffffffffffffffffffff 1 k",
    "FCALL nosuch 2 k k",
    "FCALL nosuch x",
];

const LIBRARY: &str = "#!lua name=lib
local function move(keys, args)
  local n = redis.call('incrby', keys[1], args[1])
  redis.call('decrby', keys[2], args[1])
  return {n, redis.call('get', keys[2])}
end
redis.register_function('move', move)
redis.register_function{function_name='sum', flags={'no-writes'}, callback=function(keys)
  local n = 0
  for _, value in ipairs(redis.call('mget', unpack(keys))) do n = n + (tonumber(value) or 0) end
  return n
end}
redis.register_function{function_name='trick', flags={'no-writes'}, callback=move}
redis.register_function('fails', function(keys)
  redis.call('set', keys[1], 'before')
  return redis.call('lpush', keys[1], redis.call('get', keys[2]) or 'x')
end)
redis.register_function('caught', function(keys)
  local ok, e = pcall(function() redis.call('set', keys[1], 1) return redis.call('hget', keys[1], 'f') end)
  return {tostring(ok), type(e) == 'table' and e.err or e, redis.call('append', keys[2], 'y')}
end)
redis.register_function('reach', function(keys) local n = 0 for i = 1, 9 do n = n + redis.call('incr', 'r' .. i) end return n end)";

/// Calls of functions; `k` is drawn.
const CALLS: &[&str] = &[
    "FCALL move 2 k k 3",
    "FCALL move 2 k k",
    "FCALL sum 3 k k k",
    "FCALL_RO sum 3 k k k",
    "FCALL_RO move 2 k k 3",
    "FCALL trick 2 k k 3",
    "FCALL fails 2 k k",
    "FCALL caught 2 k k",
    "FCALL reach 0",
    "FCALL reach 1 k",
    "FCALL nosuch 2 k k",
    "FCALL move 9 k k",
];

fn both() -> (RedisServer, crate::alone::Alone) {
    (RedisServer::start(), several())
}

fn drawn(line: &str, random: &mut SmallRng) -> Vec<String> {
    let word = |word: &str| if word == "k" { format!("k{}", random.random_range(0..12)) } else { word.to_owned() };
    line.split(' ').map(word).collect()
}

fn a_script(random: &mut SmallRng) -> Vec<String> {
    let (script, keys, args) = SCRIPTS[random.random_range(0..SCRIPTS.len())];
    let mut call = vec!["EVAL".to_owned(), script.to_owned(), keys.to_string()];
    call.extend((0..keys).map(|_| format!("k{}", random.random_range(0..12))));
    call.extend((0..args).map(|_| random.random_range(0..9).to_string()));
    call
}

/// Checks that both answer a transaction of these commands alike.
fn check(clients: &mut [Client; 2], commands: &[Vec<String>]) {
    // Beside keys of several shards DBSIZE needs a script in the transaction, see README.
    let has_script = commands.iter().any(|command| command[0].starts_with("EVAL") || command[0].starts_with("FCALL"));
    let mut commands = commands.to_vec();
    if !has_script && commands.iter().any(|command| command[0] == "DBSIZE") {
        commands.push(["EVAL", "return 1", "0"].map(str::to_owned).to_vec());
    }
    let words = |word: &str| vec![word.to_owned()];
    let lines: Vec<Vec<String>> = [&[words("MULTI")][..], &commands, &[words("EXEC")]].concat();
    let [expected, found] = clients.each_mut().map(|client| client.pipeline(lines.clone()));
    assert_eq!(found, expected, "{commands:?}");
}

fn clients(redis: &RedisServer, alone: &crate::alone::Alone, protocol: &str) -> [Client; 2] {
    [redis.address(), alone.node.address()].map(|address| {
        let mut client = Client::connect(address).expect("the server accepts");
        let _ = client.ask(&format!("HELLO {protocol}"));
        client.ask("FLUSHALL");
        client
    })
}

#[test]
fn transactions_with_scripts_over_several_shards_are_answered_as_by_redis() {
    let (redis, alone) = both();
    for (protocol, seed) in [("2", 21), ("3", 22)] {
        println!("seed {seed}");
        let mut random = SmallRng::seed_from_u64(seed);
        let mut clients = clients(&redis, &alone, protocol);
        for step in 0..500 {
            let count = random.random_range(1..6);
            let commands: Vec<Vec<String>> = (0..count)
                .map(|_| match random.random_range(0..3) {
                    0 => drawn(BESIDE[random.random_range(0..BESIDE.len())], &mut random),
                    _ => a_script(&mut random),
                })
                .collect();
            check(&mut clients, &commands);
            if step % 20 == 0 {
                clients.iter_mut().for_each(|client| drop(client.ask("DEL k1 k2 k3 k4 k5 k6")));
            }
        }
    }
    assert_nothing_is_left(&alone.node);
}

#[test]
fn functions_over_several_shards_are_answered_as_by_redis() {
    let (redis, alone) = both();
    let mut random = SmallRng::seed_from_u64(31);
    let mut clients = clients(&redis, &alone, "2");
    clients.iter_mut().for_each(|client| drop(client.call(["FUNCTION", "LOAD", LIBRARY])));
    for step in 0..600 {
        let call = drawn(CALLS[random.random_range(0..CALLS.len())], &mut random);
        let [expected, found] = clients.each_mut().map(|client| client.call(&call));
        assert_eq!(found, expected, "{step}: {call:?}");
        if step % 5 == 0 {
            let mut commands = vec![call, a_script(&mut random)];
            commands.push(drawn(CALLS[random.random_range(0..CALLS.len())], &mut random));
            check(&mut clients, &commands);
        }
        if step % 50 == 0 {
            clients.iter_mut().for_each(|client| drop(client.ask("DEL k1 k2 k3 k4 k5 k6 r1 r2")));
        }
    }
    // A library that is loaded in front of a call of it.
    let other = LIBRARY.replace("incrby", "decrby");
    let load = ["FUNCTION", "LOAD", "REPLACE", &other].map(str::to_owned).to_vec();
    clients.iter_mut().for_each(|client| drop(client.ask("FLUSHALL")));
    check(&mut clients, &[load, drawn("FCALL move 2 a b 3", &mut random), drawn("FCALL sum 2 a b", &mut random)]);
    assert_nothing_is_left(&alone.node);
}

#[test]
fn a_transaction_with_scripts_that_reach_for_other_shards_is_executed_over_them() {
    let (redis, alone) = both();
    let mut clients = clients(&redis, &alone, "2");
    let reach = "local n = 0 for i = 1, 9 do n = n + redis.call('incr', KEYS[1] .. i) end return n";
    let eval = |key: &str| ["EVAL", reach, "1", key].map(str::to_owned).to_vec();
    let words = |line: &str| line.split(' ').map(str::to_owned).collect::<Vec<_>>();
    for round in 0..3 {
        // All that is declared is in one shard.
        check(&mut clients, &[words("INCR {a}b"), eval("{a}b"), words("GET {a}b")]);
        check(&mut clients, &[eval("x"), words("PING"), words("GET x5")]);
        check(&mut clients, &[words("FCALL nosuch x"), eval(&format!("y{round}"))]);
    }
    // One that watches keys is told at first that they have changed, and is executed then.
    let other = reach.replace("'incr'", "'incrby'").replace(".. i)", ".. i, 2)");
    for round in 0.. {
        let client = &mut clients[1];
        client.ask("WATCH x");
        client.ask("MULTI");
        client.call(["EVAL", &other, "1", "x"]);
        let reply = client.ask("EXEC");
        if reply != Reply::Null {
            assert_eq!(reply.elements(), [Reply::Integer(3 * 9 + 2 * 9)]);
            break;
        }
        assert!(round < 5, "it is never executed");
    }
    assert_nothing_is_left(&alone.node);
}

#[test]
fn a_transaction_with_scripts_is_not_executed_if_what_it_watches_has_changed() {
    let alone = several();
    let (mut client, mut other) = (alone.node.client(), alone.node.client());
    let script = "return redis.call('incr', KEYS[1]) + redis.call('incr', KEYS[2])";
    for changes in [false, true, false, true] {
        client.ask("DEL a b c");
        client.ask("WATCH c d");
        client.ask("MULTI");
        client.call(["EVAL", script, "2", "a", "b"]);
        if changes {
            other.ask("SET c 1");
        }
        let reply = client.ask("EXEC");
        match changes {
            true => assert_eq!((reply, client.ask("EXISTS a b")), (Reply::Null, Reply::Integer(0))),
            false => assert_eq!(reply.elements(), [Reply::Integer(2)]),
        }
    }
    assert_nothing_is_left(&alone.node);
}

#[test]
fn a_script_of_a_transaction_that_is_stopped_has_done_nothing_and_the_others_have() {
    let alone = several();
    let mut client = alone.node.client();
    let endless = "redis.call('set', KEYS[1], 'x') redis.call('append', KEYS[2], 'x') while true do end";
    let append = "redis.call('append', KEYS[1], 'y') return redis.call('append', KEYS[2], 'y')";
    client.ask("MULTI");
    client.call(["EVAL", append, "2", "a", "b"]);
    client.call(["EVAL", endless, "2", "b", "c"]);
    client.call(["EVAL", append, "2", "b", "c"]);
    client.ask("GET b");
    let reply = client.ask("EXEC");
    let [first, second, third, fourth] = reply.elements() else { panic!("{reply:?}") };
    assert_eq!((first, third, fourth), (&Reply::Integer(1), &Reply::Integer(1), &Reply::bulk("yy")));
    assert!(second.is_error("ERR the script was stopped and undone: "), "{second:?}");
    assert_eq!(client.ask("MGET a b c").elements(), ["y", "yy", "y"].map(Reply::bulk));
    assert_nothing_is_left(&alone.node);
}

/// Money is moved between accounts in different shards, by functions and by scripts of transactions; nobody sees half of that.
#[test]
fn nobody_sees_half_of_a_transaction_with_scripts() {
    let alone = several();
    let mut client = alone.node.client();
    client.call(["FUNCTION", "LOAD", LIBRARY]);
    let move_one = "redis.call('incr', KEYS[1]) return redis.call('decr', KEYS[2])";
    let address = alone.node.address();
    let movers: Vec<_> = (0..4u64)
        .map(|seed| {
            thread::spawn(move || {
                let mut random = SmallRng::seed_from_u64(seed);
                let mut client = Client::connect(address).expect("the node accepts");
                for _ in 0..100 {
                    let mut account = || format!("account:{}", random.random_range(0..6));
                    let (from, to) = (account(), account());
                    let reply = client.call_patiently(["FCALL", "move", "2", &to, &from, "1"]);
                    assert_eq!(reply.elements().len(), 2, "{reply:?}");
                    let lines: Vec<Vec<&str>> = vec![
                        vec!["MULTI"],
                        vec!["EVAL", move_one, "2", &to, &from],
                        vec!["INCR", &from],
                        vec!["EVAL", move_one, "2", &from, &to],
                        vec!["DECR", &to],
                        vec!["EXEC"],
                    ];
                    let replies = client.pipeline(lines);
                    assert_eq!(replies[5].elements().len(), 4, "{replies:?}");
                }
            })
        })
        .collect();
    let accounts: Vec<String> = (0..6).map(|number| format!("account:{number}")).collect();
    let mut looks = 0;
    while !movers.iter().all(thread::JoinHandle::is_finished) {
        let words = ["FCALL", "sum", "6"].into_iter().chain(accounts.iter().map(String::as_str));
        assert_eq!(client.call_patiently(words), Reply::Integer(0));
        looks += 1;
    }
    movers.into_iter().for_each(|mover| mover.join().expect("it has moved all"));
    assert!(looks > 10, "{looks}");
    assert_nothing_is_left(&alone.node);
}

/// The pattern of a queue's clean-up: a thousand jobs, each with keys that only the script knows, in one call.
#[test]
fn a_script_works_off_a_thousand_jobs_over_several_shards() {
    let alone = several();
    let mut client = alone.node.client();
    let jobs = 1000;
    let sets = (0..jobs).map(|job| ["HSET".to_owned(), format!("q:{job}"), "data".to_owned(), format!("{job}")]);
    assert!(client.pipeline(sets).iter().all(|reply| *reply == Reply::Integer(1)));
    let pushes = (0..jobs).map(|job| ["RPUSH".to_owned(), "q:wait".to_owned(), job.to_string()]);
    client.pipeline(pushes);
    let script = "local n = 0 for _, id in ipairs(redis.call('lrange', KEYS[1], 0, -1)) do local job = ARGV[1] .. id \
        if redis.call('hget', job, 'data') == id then n = n + redis.call('del', job, job .. ':logs', job .. ':lock') end \
        redis.call('lrem', KEYS[1], 1, id) end return {n, redis.call('exists', KEYS[1])}";
    for (round, expected) in [[jobs, 0], [0, 0]].into_iter().enumerate() {
        let began = Instant::now();
        let reply = client.call(["EVAL", script, "1", "q:wait", "q:"]);
        println!("round {round}: {:?}", began.elapsed());
        assert_eq!(reply.elements(), expected.map(Reply::Integer));
        assert!(began.elapsed() < Duration::from_secs(30), "{:?}", began.elapsed());
    }
    assert_eq!(client.ask("DBSIZE"), Reply::Integer(0));
    assert_nothing_is_left(&alone.node);
}

#[test]
fn the_work_of_scripts_is_a_setting() {
    let alone = several();
    let mut client = alone.node.client();
    let loops = "for i = 1, 3000 do redis.call('set', KEYS[1] .. i, i) end return redis.call('get', KEYS[1] .. 3000)";
    for (key, keys) in [("{a}", 1), ("b", 2)] {
        let call = |client: &mut Client| {
            let names = [key, "c"];
            let words = ["EVAL".to_owned(), loops.to_owned(), keys.to_string()];
            client.call(words.into_iter().chain(names[..keys].iter().map(|name| (*name).to_owned())))
        };
        assert_eq!(call(&mut client), Reply::bulk("3000"), "{key}");
        assert_eq!(client.ask("CONFIG SET script-work-max 100000"), Reply::ok());
        let reply = call(&mut client);
        assert!(reply.is_error("ERR the script was stopped and undone: it has executed as many"), "{reply:?}");
        assert_eq!(client.ask("CONFIG SET script-work-max 20000000"), Reply::ok());
    }
    assert_eq!(client.ask("CONFIG GET script-work-max").elements()[1], Reply::bulk("20000000"));
    assert!(client.ask("CONFIG SET script-work-max 1").is_error("ERR"));
    assert_nothing_is_left(&alone.node);
}
