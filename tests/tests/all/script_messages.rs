//! Messages that scripts and functions publish: sent once, in their order, when what the script did is done, and never again.

use std::net::SocketAddr;

use basalt_tests::{Client, DEADLINE, NodeOptions, RedisServer, Reply, eventually};

use crate::alone::Alone;
use crate::blocking::is_silent;

/// Keys in several shards of four.
const FAR: [&str; 3] = ["source:1", "source:2", "to:1"];

/// Calls, in which neither the reply nor anything else depends on how many have subscribed.
fn calls() -> Vec<Vec<String>> {
    let call = |script: &str, keys: &[&str], args: &[&str]| {
        let count = keys.len().to_string();
        let words = [&["EVAL", script, &count], keys, args].concat();
        words.into_iter().map(str::to_owned).collect::<Vec<String>>()
    };
    let line = |line: &str| line.split(' ').map(str::to_owned).collect::<Vec<String>>();
    let publish_keys = "for i, key in ipairs(KEYS) do redis.call('set', key, i) redis.call('publish', 'news', key .. ARGV[1]) end \
                        redis.call('publish', 'other', 'x') return #KEYS";
    let mut calls = vec![
        call("redis.call('publish', 'news', ARGV[1]) return 'done'", &[], &["hello"]),
        call("redis.call('publish', 'nobody', 'x') redis.call('spublish', 'shard', 'y') return 1", &["k"], &[]),
        call(publish_keys, &["k"], &["!"]),
        call(publish_keys, &FAR, &["!"]),
        // Keys that it has not declared, and all keys.
        call(
            "redis.call('publish', 'news', 'first') redis.call('set', 'source:1', 1) redis.call('incr', 'source:2') \
             redis.call('publish', 'news', redis.call('incr', 'source:2')) return redis.call('dbsize') > 0 and 1",
            &["to:1"],
            &[],
        ),
        // What a script did before its error stays, and was said.
        call("redis.call('publish', 'news', 'before') redis.call('incr', KEYS[1]) error('stop')", &["n"], &[]),
        call("redis.call('publish', 'news', 'before') return redis.error_reply('NO no')", &["n"], &[]),
        call("return redis.pcall('publish', 'news').err", &["n"], &[]),
        vec!["EVAL_RO".into(), "return redis.call('publish', 'news', 'never')".into(), "0".into()],
        call(
            "redis.call('publish', 'a\\0b\\r\\n', 'news') redis.call('publish', 'news', '\\0\\r\\n') return 7",
            &[],
            &[],
        ),
        line("MULTI"),
        line("SET k 1"),
        call("redis.call('publish', 'news', 'of the first') return {1, 2}", &["k"], &[]),
        line("PUBLISH nobody of-the-client"),
        call("redis.call('publish', 'news', 'of the second') return redis.call('get', KEYS[1])", &["k"], &[]),
        line("INCR k"),
        line("EXEC"),
    ];
    let library = "#!lua name=lib\nredis.register_function('tell', function(keys, args) \
                   redis.call('set', keys[1], 1) redis.call('publish', 'news', args[1]) return 3 end)";
    calls.push(["FUNCTION", "LOAD", "REPLACE", library].map(str::to_owned).to_vec());
    calls.push(line("FCALL tell 1 k of-the-function"));
    calls
}

/// Replies to the calls, and all that is heard meanwhile.
fn play(address: SocketAddr, protocol: u8) -> (Vec<Reply>, Vec<Reply>) {
    let [mut caller, mut listener] = [(); 2].map(|()| Client::connect(address).expect("the server accepts"));
    for client in [&mut caller, &mut listener] {
        client.ask(&format!("HELLO {protocol}"));
    }
    caller.ask("FLUSHALL");
    for line in ["SUBSCRIBE news last", "PSUBSCRIBE n*s o*r", "SSUBSCRIBE shard"] {
        let mut bytes = Vec::new();
        Client::encode(&mut bytes, line.split(' '));
        listener.send(bytes).expect("the server reads");
        (1..line.split(' ').count()).for_each(|_| drop(listener.read().expect("a reply")));
    }
    let replies = calls().iter().map(|words| caller.call(words)).collect();
    caller.ask("PUBLISH last x");
    let mut heard = Vec::new();
    while !heard.last().is_some_and(is_last) {
        heard.push(listener.read().expect("a message"));
    }
    (replies, heard)
}

fn is_last(message: &Reply) -> bool {
    let (Reply::Array(words) | Reply::Push(words)) = message else { return false };
    words.get(1) == Some(&Reply::bulk("last"))
}

#[test]
fn what_scripts_publish_is_heard_as_from_redis() {
    let redis = RedisServer::start();
    for (cores, shards) in [("1", "1"), ("2", "4")] {
        let alone = Alone::new(|options| options.set("--cores", cores).set("--shards", shards).set("--pin", "no"));
        for protocol in [2, 3] {
            let (expected, heard_of_redis) = play(redis.address(), protocol);
            let (replies, heard) = play(alone.node.address(), protocol);
            for ((reply, expected), call) in replies.iter().zip(&expected).zip(calls()) {
                assert_eq!(reply, expected, "{cores} cores, {call:?}");
            }
            assert_eq!(heard, heard_of_redis, "{cores} cores");
        }
    }
}

fn listen(client: &mut Client, channel: &str) {
    assert!(matches!(client.ask(&format!("SUBSCRIBE {channel}")), Reply::Array(_) | Reply::Push(_)));
}

fn message(channel: &str, text: &str) -> Reply {
    Reply::bulks(["message", channel, text])
}

#[test]
fn a_script_that_is_undone_has_published_nothing_and_one_has_a_bound() {
    let alone = Alone::new(|options| options.set("--cores", "2").set("--shards", "4"));
    let (mut caller, mut listener) = (alone.node.client(), alone.node.client());
    listen(&mut listener, "news");
    for keys in [&["k"][..], &FAR] {
        let mut call = |script: &str| {
            let count = keys.len().to_string();
            caller.call([&["EVAL", script, &count], keys].concat())
        };
        for script in [
            "redis.call('set', KEYS[1], 1) redis.call('publish', 'news', 'never') while true do end",
            "for i = 1, 20000 do redis.call('publish', 'news', 'never') end",
            "local long = string.rep('x', 1000000) for i = 1, 5 do redis.call('publish', 'news', long) end",
        ] {
            assert!(call(script).is_error("ERR the script was stopped and undone: "), "{script}");
        }
        assert_eq!(call("redis.call('publish', 'news', 'kept') return 1"), Reply::Integer(1));
        assert_eq!(listener.read().expect("a message"), message("news", "kept"));
    }
    assert_eq!(caller.ask("EXISTS k source:1 source:2 to:1"), Reply::Integer(0));
    // In a transaction one may be undone, and others not.
    caller.ask("MULTI");
    for word in ["one", "while true do end"] {
        let script = format!("redis.call('publish', 'news', '{word}') {}", if word == "one" { "" } else { word });
        caller.call(["EVAL", &script, "1", "k"]);
    }
    caller.ask("EXEC");
    assert_eq!(listener.read().expect("a message"), message("news", "one"));
    assert!(is_silent(&listener));
}

#[test]
fn a_script_publishes_where_its_caller_may() {
    let alone = Alone::new(|options| options.set("--cores", "2").set("--shards", "4"));
    let (mut caller, mut listener) = (alone.node.client(), alone.node.client());
    listen(&mut listener, "news:1");
    caller.ask("ACL SETUSER some on nopass ~* +@all resetchannels &news:*");
    caller.ask("AUTH some x");
    for keys in [&["k"][..], &FAR] {
        let mut call = |script: &str| {
            let count = keys.len().to_string();
            caller.call([&["EVAL", script, &count], keys].concat())
        };
        let denied = call("redis.call('set', KEYS[1], 1) return redis.pcall('publish', 'other', 'x').err");
        assert!(denied.text().contains("channel"), "{denied:?}");
        let checked = call(
            "return {redis.acl_check_cmd('publish', 'other', 'x') and 1 or 0, \
                            redis.acl_check_cmd('publish', 'news:1', 'x') and 1 or 0}",
        );
        assert_eq!(checked, Reply::Array(vec![Reply::Integer(0), Reply::Integer(1)]));
        assert_eq!(call("return redis.call('publish', 'news:1', 'x')"), Reply::Integer(0));
        assert_eq!(listener.read().expect("a message"), message("news:1", "x"));
    }
    caller.ask("AUTH default x");
    assert!(is_silent(&listener));
}

#[test]
fn what_is_executed_anew_at_a_start_is_published_no_more() {
    let dir = tempfile::tempdir().expect("a temporary directory");
    let options = NodeOptions::new(dir.path().join("data")).set("--cores", "2").set("--shards", "2");
    let mut node = options.start();
    let mut caller = node.client();
    for number in 0..50 {
        let key = format!("key:{number}");
        let script = "redis.call('incr', KEYS[1]) redis.call('publish', 'news', KEYS[1])";
        caller.call(["EVAL", script, "1", &key]);
    }
    node.kill_9();
    let node = options.start();
    let mut listener = node.client();
    listen(&mut listener, "news");
    let mut caller = node.client();
    eventually("all is there", DEADLINE, || match caller.ask("DBSIZE") {
        Reply::Integer(50) => Ok(()),
        other => Err(other),
    });
    assert!(is_silent(&listener));
    caller.call(["EVAL", "redis.call('publish', 'news', 'now')", "0"]);
    assert_eq!(listener.read().expect("a message"), message("news", "now"));
}

#[test]
fn who_is_answered_by_a_script_knows_that_its_messages_are_on_their_way() {
    let alone = Alone::new(|options| options.set("--cores", "2").set("--shards", "4").set("--pin", "no"));
    let mut both = alone.node.client();
    both.ask("HELLO 3");
    listen(&mut both, "news");
    let heard = Reply::Push(["message", "news"].map(Reply::bulk).into_iter().chain([Reply::bulk("x")]).collect());
    for key in FAR {
        let mut seen = Vec::new();
        let mut bytes = Vec::new();
        Client::encode(
            &mut bytes,
            ["EVAL", "redis.call('publish', 'news', 'x') return redis.call('incr', KEYS[1])", "1", key],
        );
        both.send(bytes).expect("the node reads");
        (0..2).for_each(|_| seen.push(both.read().expect("a reply or a message")));
        assert!(seen.contains(&heard) && seen.contains(&Reply::Integer(1)), "{seen:?}");
    }
}
