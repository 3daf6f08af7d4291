//! Scripts: each is one write, whole or not at all, and an entry has all that replaying it needs.

use std::sync::atomic::{AtomicU64, Ordering};
use std::thread;

use basalt_tests::{Client, DEADLINE, NodeOptions, Reply, eventually};

use crate::alone::Alone;

/// Moves what ARGV says between two of the accounts, in three writes, and fails in the middle of some moves.
const MOVE: &str = "local amount = tonumber(ARGV[1]) \
     if tonumber(redis.call('get', KEYS[1]) or '0') < amount then return redis.error_reply('POOR not enough') end \
     redis.call('decrby', KEYS[1], amount) redis.call('incrby', KEYS[2], amount) \
     redis.call('rpush', KEYS[3], KEYS[1] .. ' ' .. KEYS[2] .. ' ' .. amount) return amount";

const ACCOUNTS: u64 = 10;
const SUM: i64 = 10_000;

fn account(number: u64) -> String {
    format!("{{bank}}{}", number % ACCOUNTS)
}

fn sum(client: &mut Client) -> i64 {
    let get = |number| ["GET".to_owned(), account(number)];
    client.pipeline((0..ACCOUNTS).map(get)).iter().map(|reply| reply.text().parse::<i64>().expect("a number")).sum()
}

#[test]
fn a_script_is_whole_or_not_there_after_kill_9() {
    let dir = tempfile::tempdir().expect("a temporary directory");
    let options = NodeOptions::new(dir.path().join("data")).set("--memtable-bytes", "256kb");
    let mut node = options.start();
    let mut client = node.client();
    for number in 0..ACCOUNTS {
        client.call(["SET".to_owned(), account(number), (SUM / ACCOUNTS as i64).to_string()]);
    }
    let digest = client.call(["SCRIPT", "LOAD", MOVE]).text();
    for cycle in 0..3u64 {
        let moved = AtomicU64::new(0);
        let before = client.call(["LLEN", "{bank}log"]).integer();
        thread::scope(|scope| {
            for thread in 0..4 {
                let (mut client, digest, moved) = (node.client(), &digest, &moved);
                scope.spawn(move || {
                    for round in 0u64.. {
                        let (from, to) = (account(round * 7 + thread), account(round * 3 + thread + 1 + cycle));
                        let amount = (round % 50).to_string();
                        let call = ["EVALSHA", digest, "3", &from, &to, "{bank}log", &amount];
                        match client.try_call(call) {
                            Ok(Reply::Integer(_)) => moved.fetch_add(1, Ordering::Relaxed),
                            Ok(reply) => {
                                assert!(reply.is_error("POOR"), "{reply:?}");
                                0
                            }
                            Err(_) => return,
                        };
                    }
                });
            }
            eventually("moves are acknowledged", DEADLINE, || match moved.load(Ordering::Relaxed) {
                count if count < 500 => Err(count),
                _ => Ok(()),
            });
            node.kill();
        });
        node.kill_9();
        node = options.start();
        client = node.client();
        eventually("the shard is open", DEADLINE, || match client.call(["LLEN", "{bank}log"]) {
            Reply::Integer(_) => Ok(()),
            other => Err(format!("{other:?}")),
        });
        assert_eq!(sum(&mut client), SUM, "cycle {cycle}");
        let logged = client.call(["LLEN", "{bank}log"]).integer() - before;
        let acknowledged = moved.load(Ordering::Relaxed) as i64;
        assert!(logged >= acknowledged, "{acknowledged} moves were acknowledged, {logged} are there");
        // The node has replayed them without having been told the script; its clients have to tell it.
        let refused = client.call(["EVALSHA", &digest, "0"]);
        assert_eq!(refused, Reply::Error("NOSCRIPT No matching script. Please use EVAL.".into()));
        assert_eq!(client.call(["SCRIPT", "LOAD", MOVE]).text(), digest);
    }
}

#[test]
fn what_a_replayed_script_makes_is_what_it_made() {
    let dir = tempfile::tempdir().expect("a temporary directory");
    let options = NodeOptions::new(dir.path().join("data"));
    let mut node = options.start();
    let mut client = node.client();
    // All that might differ from run to run: random numbers, time, the order of keys, texts of objects, members that are drawn.
    let script = "local t = {} for i = 1, 20 do t[{}] = i t['k' .. i] = i t[function() end] = i end \
         local order = {} for k, v in pairs(t) do order[#order + 1] = v end \
         for i = 1, 30 do redis.call('sadd', KEYS[2], i) end \
         local time = redis.call('time') \
         redis.call('hset', KEYS[1], 'random', math.random(1e9), 'time', time[1] .. '.' .. time[2], 'order', table.concat(order, ' '), \
         'object', tostring({}), 'popped', redis.call('spop', KEYS[2]), 'drawn', redis.call('srandmember', KEYS[2])) \
         return redis.call('hgetall', KEYS[1])";
    let made: Vec<Reply> = (0..20)
        .map(|number| client.call(["EVAL", script, "2", &format!("{{x}}{number}"), &format!("{{x}}set{number}")]))
        .collect();
    assert_eq!(made[0].elements().len(), 12, "{:?}", made[0]);
    node.kill_9();
    let node = options.start();
    let mut client = node.client();
    for (number, made) in made.iter().enumerate() {
        assert_eq!(client.call_patiently(["HGETALL", &format!("{{x}}{number}")]), *made);
    }
}

#[test]
fn a_script_that_is_stopped_has_done_nothing() {
    let alone = Alone::new(|options| options);
    let mut client = alone.node.client();
    client.call(["SET", "k", "before"]);
    client.call(["SETRANGE", "{k}large", "40000000", "x"]);
    for (script, reason) in [
        ("redis.call('set', KEYS[1], 'after') while true do end", "as many instructions"),
        (
            "redis.call('set', KEYS[1], 'after') while true do pcall(function() while true do end end) end",
            "as many instructions",
        ),
        ("redis.call('set', KEYS[1], 'after') return string.rep('x', 2^31 - 1)", "more memory"),
        ("redis.call('set', KEYS[1], 'after') local t = {} for i = 1, 60 do t = {t, t} end return t", "undone"),
        (
            "redis.call('set', KEYS[1], 'x') redis.call('setrange', KEYS[1], 999999, 'x') \
             for i = 1, 40 do redis.call('copy', KEYS[1], '{k}' .. i) end",
            "reads and writes more than a script may",
        ),
        ("redis.call('set', KEYS[1], 'after') return redis.call('get', '{k}large')", "has a reply that is too large"),
    ] {
        let reply = client.call(["EVAL", script, "1", "k"]);
        assert!(matches!(&reply, Reply::Error(text) if text.contains(reason) && text.contains("undone")), "{reply:?}");
        assert_eq!(client.call(["GET", "k"]), Reply::bulk("before"), "{script}");
    }
    // An error of the script itself leaves what it did before, as in Redis.
    assert!(
        client
            .call(["EVAL", "redis.call('set', KEYS[1], 'after') error('x')", "1", "k"])
            .is_error("ERR user_script:1: x")
    );
    assert_eq!(client.call(["GET", "k"]), Reply::bulk("after"));
}

#[test]
fn keys_that_are_not_declared_are_those_of_the_node() {
    let alone = Alone::new(|options| options.set("--shards", "4"));
    let mut client = alone.node.client();
    let keys: Vec<String> = (0..50).map(|number| format!("key:{number}")).collect();
    let script = "return redis.pcall('set', ARGV[1], 1)";
    for key in &keys {
        client.ask("MULTI");
        client.call(["EVAL", script, "1", "key:0", key]);
        assert_eq!(client.ask("EXEC").elements(), [Reply::ok()], "{key}");
    }
    let count = |client: &mut Client| keys.iter().filter(|key| client.call(["EXISTS", key]).integer() == 1).count();
    assert_eq!(count(&mut client), keys.len());
    client.ask("FLUSHALL");
    for key in &keys {
        assert_eq!(client.call(["EVAL", script, "1", "key:0", key]), Reply::ok());
        assert_eq!(client.call(["EVAL_RO", "return redis.call('get', ARGV[1])", "0", key]), Reply::bulk("1"));
    }
    assert_eq!(count(&mut client), keys.len());
    // Commands on all keys.
    let all = "return {redis.call('dbsize'), #redis.call('keys', '*'), #redis.call('scan', 5, 'match', 'key:1*')[2]}";
    let expected = Reply::Array(vec![Reply::Integer(50), Reply::Integer(50), Reply::Integer(11)]);
    assert_eq!(client.call(["EVAL", all, "0"]), expected);
    assert_eq!(client.call(["EVAL_RO", all, "1", "key:0"]), expected);
    let alone = Alone::new(|options| options.set("--shards", "1"));
    let mut client = alone.node.client();
    client.call(["MSET", "a", "1", "b", "2"]);
    let script = "return {redis.call('dbsize'), #redis.call('keys', '*'), redis.call('get', 'b')}";
    let expected = Reply::Array(vec![Reply::Integer(2), Reply::Integer(2), Reply::bulk("2")]);
    assert_eq!(client.call(["EVAL", script, "0"]), expected);
}

#[test]
fn a_script_whose_rows_are_on_disk_runs_when_they_are_fetched() {
    let dir = tempfile::tempdir().expect("a temporary directory");
    let options = NodeOptions::new(dir.path().join("data")).set("--memtable-bytes", "256kb").set("--memory", "64mb");
    let mut node = options.start();
    let mut client = node.client();
    let value = "v".repeat(1000);
    for first in (0..2000).step_by(100) {
        let sets =
            (first..first + 100).map(|number| ["SET".to_owned(), format!("{{c}}{number}"), format!("{number}{value}")]);
        assert!(client.pipeline(sets).iter().all(|reply| *reply == Reply::ok()));
    }
    node.stop_written();
    let node = options.start();
    let mut client = node.client();
    // Nobody can tell from its arguments which keys it reads, and it reads some after it has written others.
    let script = "local n = 0 for i = 0, 1999, 10 do local v = redis.call('get', '{c}' .. i) \
         if string.sub(v, 1, #tostring(i)) ~= tostring(i) then error('wrong value') end \
         redis.call('set', '{c}' .. i, i .. 'new') n = n + redis.call('incr', KEYS[1]) end return n";
    let reply = client.call_patiently(["EVAL", script, "1", "{c}count"]);
    assert_eq!(reply, Reply::Integer((1..=200).sum()));
    assert_eq!(client.call(["GET", "{c}count"]), Reply::bulk("200"));
    assert_eq!(client.call(["GET", "{c}1990"]), Reply::bulk("1990new"));
    let stats = client.ask("INFO stats").text();
    let cold = stats.lines().find_map(|line| line.strip_prefix("cold_reads:")).expect("it counts them");
    assert_ne!(cold, "0", "the rows were on disk");
}

#[test]
fn scripts_that_only_read_are_no_writes() {
    let alone = Alone::new(|options| options);
    let mut client = alone.node.client();
    client.call(["SET", "k", "v"]);
    let batches = |client: &mut Client| {
        let text = client.ask("INFO shards").text();
        let all: Vec<String> = text.lines().filter(|line| line.starts_with("shard")).map(str::to_owned).collect();
        assert!(!all.is_empty(), "{text}");
        let batches =
            |line: &String| line.split([':', ',']).find_map(|part| part.strip_prefix("batches=").map(str::to_owned));
        all.iter().map(|line| batches(line).expect("it counts them")).collect::<Vec<_>>()
    };
    let before = batches(&mut client);
    let get = "return redis.call('get', KEYS[1])";
    assert_eq!(client.call(["EVAL_RO", get, "1", "k"]), Reply::bulk("v"));
    assert_eq!(client.call(["EVAL", &format!("#!lua flags=no-writes\n{get}"), "1", "k"]), Reply::bulk("v"));
    let digest = client.call(["SCRIPT", "LOAD", get]).text();
    assert_eq!(client.call(["EVALSHA_RO", &digest, "1", "k"]), Reply::bulk("v"));
    let refused = client.call(["EVAL_RO", "return redis.call('set', KEYS[1], 1)", "1", "k"]);
    assert!(refused.is_error("ERR Write commands are not allowed from read-only scripts."), "{refused:?}");
    assert_eq!(batches(&mut client), before);
    // Behind the writes of its own connection.
    let replies = client.pipeline([vec!["SET", "k", "new"], vec!["EVAL_RO", get, "1", "k"]]);
    assert_eq!(replies, [Reply::ok(), Reply::bulk("new")]);
}

#[test]
fn scripts_are_counted_and_forgotten() {
    let alone = Alone::new(|options| options.set("--cores", "2").set("--pin", "no"));
    let mut client = alone.node.client();
    let info = |client: &mut Client, field: &str| -> u64 {
        let text = client.ask("INFO memory").text();
        let value = text.lines().find_map(|line| line.strip_prefix(field)?.strip_prefix(':'));
        value.and_then(|value| value.parse().ok()).unwrap_or_else(|| panic!("no number {field} in {text}"))
    };
    for number in 0..10 {
        assert_eq!(client.call(["EVAL", &format!("return {number}"), "0"]), Reply::Integer(number));
    }
    assert_eq!(info(&mut client, "number_of_cached_scripts"), 10);
    assert!(info(&mut client, "used_memory_scripts") >= 80);
    let digest = client.call(["SCRIPT", "LOAD", "return 0"]).text();
    assert_eq!(info(&mut client, "number_of_cached_scripts"), 10);
    // Whatever core a connection is on.
    for _ in 0..8 {
        let mut other = alone.node.client();
        assert_eq!(other.call(["EVALSHA", &digest, "0"]), Reply::Integer(0));
    }
    assert_eq!(client.call(["SCRIPT", "FLUSH"]), Reply::ok());
    assert_eq!(info(&mut client, "number_of_cached_scripts"), 0);
    assert!(client.call(["EVALSHA", &digest, "0"]).is_error("NOSCRIPT"));
    assert_eq!(client.call(["SCRIPT", "EXISTS", &digest]), Reply::Array(vec![Reply::Integer(0)]));
}

#[test]
fn a_script_is_one_command_of_a_transaction() {
    let alone = Alone::new(|options| options.set("--shards", "4"));
    let mut client = alone.node.client();
    let push = "redis.call('rpush', KEYS[1], ARGV[1]) return redis.call('llen', KEYS[1])";
    let digest = client.call(["SCRIPT", "LOAD", push]).text();
    let endless = "redis.call('rpush', KEYS[1], 'never') while true do end";
    let commands = vec![
        vec!["MULTI"],
        vec!["EVAL", push, "1", "{t}list", "a"],
        vec!["RPUSH", "{t}list", "b"],
        vec!["EVALSHA", &digest, "1", "{t}list", "c"],
        vec!["EVALSHA", "0123456789012345678901234567890123456789", "1", "{t}list"],
        vec!["EVAL", endless, "1", "{t}list"],
        vec!["EVAL", "return nosuch", "1", "{t}list"],
        vec!["EVAL_RO", "return redis.call('lrange', KEYS[1], 0, -1)", "1", "{t}list"],
        vec!["EVAL", "return redis.pcall('get', 'elsewhere')", "1", "{t}list"],
        vec!["EXEC"],
    ];
    let replies = client.pipeline(commands);
    let done = replies.last().expect("EXEC is answered").elements();
    assert_eq!(done[..3], [Reply::Integer(1), Reply::Integer(2), Reply::Integer(3)], "{done:?}");
    assert!(done[3].is_error("NOSCRIPT"), "{done:?}");
    assert!(done[4].is_error("ERR the script was stopped and undone"), "{done:?}");
    assert!(done[5].is_error("ERR user_script:1: Script attempted to access nonexistent global"), "{done:?}");
    let all = Reply::Array(["a", "b", "c"].map(Reply::bulk).to_vec());
    assert_eq!(done[6], all);
    let is_there = matches!(&done[7], Reply::Null);
    assert!(is_there || done[7].is_error("ERR Script attempted to access a non local key"), "{done:?}");
    // Watched keys: of a script that changes them, and of one that is stopped.
    let mut other = alone.node.client();
    for (script, is_changed) in [(endless, false), (push, true)] {
        client.call(["WATCH", "{t}list"]);
        other.call(["EVAL", script, "1", "{t}list", "x"]);
        client.call(["MULTI"]);
        client.call(["EVAL", "return 1", "1", "{t}other"]);
        let reply = client.call(["EXEC"]);
        assert_eq!(reply == Reply::Array(vec![Reply::Integer(1)]), !is_changed, "{script}: {reply:?}");
    }
    assert!(client.call(["SCRIPT", "KILL"]).is_error("NOTBUSY"));
}

#[test]
fn a_script_wakes_who_waits() {
    let alone = Alone::new(|options| options);
    let mut waiting = alone.node.client();
    thread::scope(|scope| {
        let popped = scope.spawn(move || waiting.call(["BLPOP", "{w}list", "0"]));
        let mut client = alone.node.client();
        eventually("somebody waits", DEADLINE, || {
            let text = client.ask("INFO clients").text();
            if text.contains("blocked_clients:1") { Ok(()) } else { Err(text) }
        });
        let push = "return redis.call('rpush', KEYS[1], 'a', 'b')";
        assert_eq!(client.call(["EVAL", push, "1", "{w}list"]), Reply::Integer(2));
        let popped = popped.join().expect("it is answered");
        assert_eq!(popped, Reply::Array(vec![Reply::bulk("{w}list"), Reply::bulk("a")]));
        assert_eq!(client.call(["LRANGE", "{w}list", "0", "-1"]), Reply::Array(vec![Reply::bulk("b")]));
        let refused = client.call(["EVAL", "return redis.call('blpop', KEYS[1], 0)", "1", "{w}list"]);
        assert!(refused.is_error("ERR This Redis command is not allowed from script"), "{refused:?}");
    });
}

#[test]
fn what_a_script_makes_does_not_depend_on_memory() {
    let script = "local n = tonumber(ARGV[1]) \
         for i = 1, 40 do redis.call('zadd', KEYS[1], math.sin(i * n) * 1000, 'm' .. (i * n) % 97) end \
         local sum = 0 for i, m in ipairs(redis.call('zrange', KEYS[1], 0, -1, 'withscores')) do sum = sum + math.abs(tonumber(m) or 0) ^ 0.5 end \
         local t = {} for i = 1, n % 50 do t[{}] = i t['k' .. i] = -i end for k, v in pairs(t) do sum = sum * 1.1 + v end \
         redis.call('hset', KEYS[2], n, tostring(sum) .. cjson.encode({sum}) .. string.format('%.17g', sum)) \
         redis.call('append', KEYS[3], string.rep(tostring(sum), 20)) return redis.sha1hex(tostring(sum))";
    let digest_of = |memory: &str, memtable: &str| -> Vec<Reply> {
        let alone = Alone::new(|options| options.set("--memory", memory).set("--memtable-bytes", memtable));
        let mut client = alone.node.client();
        let calls = (0..400).map(|number| {
            let keys = [number % 20, number % 30, number % 40].map(|key| format!("{{m}}{key}:{}", number % 3));
            let [one, two, three] = keys;
            [
                "EVAL".into(),
                script.into(),
                "3".into(),
                format!("z{one}"),
                format!("h{two}"),
                format!("s{three}"),
                number.to_string(),
            ]
        });
        let mut replies = client.pipeline(calls);
        for key in 0..40 {
            for rest in 0..3 {
                let key = format!("{{m}}{key}:{rest}");
                replies.push(client.call(["ZRANGE", &format!("z{key}"), "0", "-1", "WITHSCORES"]));
                replies.push(client.call(["GET", &format!("s{key}")]));
                for number in 0..40 {
                    replies.push(client.call(["HGET", &format!("h{key}"), &number.to_string()]));
                }
            }
        }
        replies
    };
    let large = digest_of("1gb", "64mb");
    assert!(large[..400].iter().all(|reply| reply.text().len() == 40), "{:?}", large[0]);
    assert_eq!(digest_of("64mb", "256kb"), large);
}

#[test]
fn others_are_answered_while_many_scripts_run() {
    const SCRIPTS: usize = 200;
    let alone = Alone::new(|options| options.set("--cores", "1").set("--shards", "1"));
    let mut other = alone.node.client();
    for script in ["while true do end", "#!lua flags=no-writes\nwhile true do end"] {
        let mut client = alone.node.client();
        let done = std::sync::atomic::AtomicBool::new(false);
        let (pings, longest, took) = thread::scope(|scope| {
            let began = std::time::Instant::now();
            scope.spawn(|| {
                let replies = client.pipeline(vec![["EVAL", script, "0"]; SCRIPTS]);
                assert!(replies.iter().all(|reply| reply.is_error("ERR the script was stopped and undone")));
                done.store(true, Ordering::Release);
            });
            let (mut pings, mut longest) = (0, std::time::Duration::ZERO);
            while !done.load(Ordering::Acquire) {
                let asked = std::time::Instant::now();
                assert_eq!(other.call(["PING"]), Reply::Simple("PONG".to_owned()));
                longest = longest.max(asked.elapsed());
                pings += 1;
            }
            (pings, longest, began.elapsed())
        });
        println!("{SCRIPTS} scripts in {took:?}, {pings} pings meanwhile, the longest in {longest:?}");
        // In one go it would be one or two.
        assert!(pings >= 10, "{pings} pings in {took:?}");
    }
    let mut client = alone.node.client();
    for (count, text) in [(1001, "return 1".to_owned()), (3, format!("return 1 --{}", "x".repeat(3 << 20)))] {
        let digest = client.call(["SCRIPT", "LOAD", &text]).text();
        let mut commands = vec![vec!["MULTI"]];
        commands.resize(count + 1, vec!["EVALSHA", &digest, "0"]);
        commands.push(vec!["EXEC"]);
        let replies = client.pipeline(commands);
        let done = replies.last().expect("EXEC is answered").elements();
        assert!(done.last().is_some_and(|reply| reply.is_error("ERR the")), "{:?}", done.last());
    }
}

#[test]
fn whatever_a_script_returns_is_a_reply_now_and_after_a_start() {
    let dir = tempfile::tempdir().expect("a temporary directory");
    let options = NodeOptions::new(dir.path().join("data"));
    let mut node = options.start();
    let mut client = node.client();
    for format in ["'äöü'", "'\\255\\255\\255'", "'a'", "''"] {
        let script =
            format!("redis.call('incr', KEYS[1]) return {{verbatim_string = {{format = {format}, string = 'x'}}}}");
        assert_eq!(client.call(["EVAL", &script, "1", "k"]), Reply::bulk("x"));
    }
    node.kill_9();
    let node = options.start();
    assert_eq!(node.client().call(["GET", "k"]), Reply::bulk("4"));
}
