//! Searches by position, and SORT: what they store is the same after a replay, and what they need is read from disk as it should
//! be.

use basalt_tests::{Client, DEADLINE, NodeOptions, Reply, eventually};

use crate::alone::Alone;
use crate::blocking::{send, until_blocked};

fn figure(client: &mut Client, field: &str) -> u64 {
    let text = client.ask("INFO stats").text();
    let value = text.lines().find_map(|line| line.strip_prefix(field)?.strip_prefix(':'));
    value.and_then(|value| value.parse().ok()).unwrap_or_else(|| panic!("no number {field} in {text}"))
}

/// Numbers below `end`, always the same ones.
fn numbers(seed: u64, end: u64) -> impl FnMut() -> u64 {
    let mut state = seed;
    move || {
        state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        (state >> 33) % end
    }
}

/// `GEOADD` of members from `first` on, each with `padding` letters behind its number, within a few degrees.
fn geoadd(key: &str, first: usize, count: usize, padding: usize) -> Vec<String> {
    let mut next = numbers(first as u64 + 1, 4_000_000);
    let mut words = vec!["GEOADD".to_owned(), key.to_owned()];
    for number in first..first + count {
        let [longitude, latitude] = [10.0 + next() as f64 / 1e6, 40.0 + next() as f64 / 1e6];
        words.extend([longitude.to_string(), latitude.to_string(), format!("{number}:{}", "m".repeat(padding))]);
    }
    words
}

#[test]
fn what_searches_and_sort_store_is_the_same_after_a_replay() {
    let dir = tempfile::tempdir().expect("a temporary directory");
    let options = NodeOptions::new(dir.path().join("data")).set("--shards", "2");
    let mut node = options.start();
    let mut client = node.client();
    assert_eq!(client.call(geoadd("{t}all", 0, 2_000, 0)), Reply::Integer(2_000));
    let mut keys = Vec::new();
    for number in 0..40 {
        let [found, near, sorted] = ["found", "near", "sorted"].map(|name| format!("{{t}}{name}:{number}"));
        let (longitude, radius) = (10.0 + f64::from(number) / 10.0, 5 * (number + 1));
        for line in [
            format!("GEOSEARCHSTORE {found} {{t}}all FROMLONLAT {longitude} 42 BYRADIUS {radius} km STOREDIST"),
            format!("GEORADIUS {{t}}all {longitude} 41.5 {radius} mi COUNT 50 STOREDIST {near}"),
            format!("SORT {found} ALPHA DESC LIMIT 1 100 STORE {sorted}"),
        ] {
            let reply = client.ask(&line);
            assert!(matches!(reply, Reply::Integer(_)), "{line}: {reply:?}");
        }
        keys.extend([found, near]);
    }
    let content = |client: &mut Client| -> Vec<Reply> {
        let sorted_sets = keys.iter().map(|key| format!("ZRANGE {key} 0 -1 WITHSCORES"));
        let lists = (0..40).map(|number| format!("LRANGE {{t}}sorted:{number} 0 -1"));
        sorted_sets.chain(lists).map(|line| client.ask(&line)).collect()
    };
    let before = content(&mut client);
    assert!(before.iter().filter(|reply| reply.elements().len() > 20).count() > 60, "little was found");
    drop(client);
    node.kill_9();
    let node = options.start();
    assert_eq!(content(&mut node.client()), before);
}

const MEMBERS: usize = 40_000;
const PADDING: usize = 400;

#[test]
fn who_waits_for_what_is_stored_has_it_before_those_who_come_behind() {
    let alone = Alone::new(|options| options.set("--cores", "2").set("--shards", "1"));
    let (mut client, mut waiter) = (alone.node.client(), alone.node.client());
    client.ask("RPUSH l 2 1");
    client.ask("GEOADD g 1 1 a 2 2 b");
    for (wait, store, pop, served, popped) in [
        (
            "BLPOP d 0",
            "SORT l STORE d",
            "LPOP d",
            Reply::Array(vec![Reply::bulk("d"), Reply::bulk("1")]),
            Reply::bulk("2"),
        ),
        ("BZPOPMIN z 0", "GEORADIUS g 0 0 1000 km STOREDIST z", "ZCARD z", Reply::Null, Reply::Integer(1)),
        ("BZPOPMIN z 0", "GEORADIUSBYMEMBER g a 1000 km STORE z", "ZCARD z", Reply::Null, Reply::Integer(1)),
    ] {
        send(&mut waiter, wait);
        until_blocked(&mut client, 1);
        let words = [store, pop].map(|line| line.split(' ').collect::<Vec<_>>());
        let replies = client.pipeline(words);
        assert_eq!((&replies[0], &replies[1]), (&Reply::Integer(2), &popped), "{store}");
        let found = waiter.read().expect("it is served");
        assert!(found == served || served == Reply::Null, "{store}: {found:?}");
        client.ask("DEL d z");
    }
}

#[test]
fn a_search_reads_the_cells_of_its_area_from_disk_and_all_of_a_large_set_once() {
    let dir = tempfile::tempdir().expect("a temporary directory");
    let options = NodeOptions::new(dir.path().join("data")).set("--shards", "1").set("--memory", "64mb");
    let mut node = options.start();
    let mut client = node.client();
    for first in (0..MEMBERS).step_by(1_000) {
        let replies = client.try_pipeline_patiently([geoadd("all", first, 1_000, PADDING)]).expect("the node answers");
        assert_eq!(replies, [Reply::Integer(1_000)]);
    }
    drop(client);
    node.stop_written();
    let node = options.start();
    let mut client = node.client();
    // The reply to a command, and how many rows were read from disk for it, which are at least as many as it has elements.
    let mut read_by = |line: &str, is_behind_a_write: bool| {
        let words = |line: &str| line.split(' ').map(str::to_owned).collect::<Vec<_>>();
        let before = figure(&mut client, "cold_rows_read");
        let lines = if is_behind_a_write { vec![words("SET other value"), words(line)] } else { vec![words(line)] };
        let reply = client.pipeline(lines).pop().expect("there is a reply");
        // Another core may publish what was read, ten times a second.
        let read = eventually("rows were read", DEADLINE, || match figure(&mut client, "cold_rows_read") - before {
            0 => Err(reply.clone()),
            read => Ok(read),
        });
        (reply, read)
    };
    // About 400 km by 300 km have all members: a circle of 5 km some 25 of them.
    let (reply, read) = read_by("GEOSEARCH all FROMLONLAT 12 42 BYRADIUS 5 km ASC", false);
    let few = reply.elements().len();
    assert!((5..100).contains(&few), "{few} members");
    assert!(read < MEMBERS as u64 / 10, "{read} rows were read for {few} members");
    for is_behind_a_write in [false, true] {
        for (options, expected) in [("", MEMBERS), ("ASC COUNT 10", 10), ("DESC COUNT 3 WITHDIST WITHCOORD", 3)] {
            let line = format!("GEOSEARCH all FROMLONLAT 12 42 BYRADIUS 1000 km {options}");
            let (reply, read) = read_by(line.trim(), is_behind_a_write);
            assert_eq!(reply.elements().len(), expected, "{line}");
            println!("{line}: {read} rows from disk, behind a write: {is_behind_a_write}");
            assert!(read <= 2 * MEMBERS as u64, "{line} read {read} rows of {MEMBERS}");
        }
    }
    let (reply, _) = read_by("GEOSEARCHSTORE near all FROMLONLAT 12 42 BYRADIUS 50 km STOREDIST", false);
    let Reply::Integer(stored @ 1_000..=10_000) = reply else { panic!("{reply:?}") };
    assert_eq!(client.ask("ZCARD near"), Reply::Integer(stored));
    let far = client.ask("ZRANGE near -1 -1 WITHSCORES").elements()[1].text().parse::<f64>().expect("a distance");
    assert!((49.0..=50.0).contains(&far), "{far}");
}

const ELEMENTS: usize = 3_000;

#[test]
fn sort_by_values_on_disk_has_their_order() {
    let dir = tempfile::tempdir().expect("a temporary directory");
    let options = NodeOptions::new(dir.path().join("data")).set("--shards", "1").set("--memory", "64mb");
    let mut node = options.start();
    let mut client = node.client();
    let mut next = numbers(7, 1_000_000_000);
    let padding = "v".repeat(2_000);
    let weights: Vec<u64> = (0..ELEMENTS).map(|_| next()).collect();
    for (number, weight) in weights.iter().enumerate() {
        let replies = client.pipeline([
            vec!["RPUSH".to_owned(), "list".into(), number.to_string()],
            vec!["SADD".into(), "set".into(), number.to_string()],
            vec![
                "HSET".into(),
                format!("o_{number}"),
                "weight".into(),
                weight.to_string(),
                "text".into(),
                padding.clone(),
            ],
            vec!["SET".into(), format!("w_{number}"), weight.to_string()],
        ]);
        assert!(replies.iter().all(|reply| !matches!(reply, Reply::Error(_))), "{replies:?}");
    }
    drop(client);
    node.stop_written();
    let node = options.start();
    let mut client = node.client();
    let mut expected: Vec<usize> = (0..ELEMENTS).collect();
    expected.sort_by_key(|number| weights[*number]);
    let texts = |reply: &Reply| reply.elements().iter().map(Reply::text).collect::<Vec<_>>();
    let expected: Vec<String> = expected.iter().map(usize::to_string).collect();
    for line in ["SORT list BY o_*->weight", "SORT_RO set BY w_*"] {
        assert_eq!(texts(&client.ask(line)), expected, "{line}");
    }
    let behind = client.pipeline([
        vec!["SET", "other", "value"],
        vec!["SORT_RO", "set", "BY", "o_*->weight", "LIMIT", "0", "50", "DESC"],
        vec!["SORT", "list", "BY", "w_*", "GET", "#", "STORE", "sorted"],
        vec!["LRANGE", "sorted", "0", "-1"],
    ]);
    assert_eq!(texts(&behind[1]), expected.iter().rev().take(50).cloned().collect::<Vec<_>>());
    assert_eq!(behind[2], Reply::Integer(ELEMENTS as i64));
    assert_eq!(texts(&behind[3]), expected);
    let read = eventually("rows were read from disk", DEADLINE, || match figure(&mut client, "cold_rows_read") {
        read if read > ELEMENTS as u64 => Ok(read),
        read => Err(read),
    });
    println!("{read} rows from disk");
}

#[test]
fn patterns_are_for_keys_that_a_hash_tag_holds_together() {
    let alone = Alone::new(|options| options.set("--shards", "4"));
    let mut client = Client::connect(alone.node.address()).expect("the server accepts");
    for line in ["RPUSH {u}l 1 2 3", "SET {u}w_1 5", "SET {u}w_2 3", "SET {u}w_3 4", "HSET {u}o_2 f two"] {
        client.ask(line);
    }
    assert_eq!(client.ask("SORT {u}l BY {u}w_*"), Reply::bulks(["2", "3", "1"]));
    let named = client.ask("SORT {u}l BY {u}w_* GET # GET {u}o_*->f LIMIT 0 1");
    assert_eq!(named, Reply::bulks(["2", "two"]));
    assert_eq!(client.ask("SORT {u}l BY {u}w_* STORE {u}s"), Reply::Integer(3));
    for line in ["SORT {u}l BY w_*", "SORT {u}l GET *", "SORT_RO {u}l BY {u*}", "SORT {u}l GET {v}*->f STORE {u}s"] {
        assert!(client.ask(line).is_error("CROSSSLOT Keys of BY and GET patterns"), "{line}");
    }
    // In a transaction the commands before and behind are not executed either.
    let replies =
        client.pipeline([vec!["MULTI"], vec!["SORT", "{u}l", "BY", "w_*"], vec!["DEL", "{u}s"], vec!["EXEC"]]);
    assert!(replies[1].is_error("CROSSSLOT") && replies[3].is_error("EXECABORT"), "{replies:?}");
    let script = |pattern: &str| format!("return redis.call('SORT', KEYS[1], 'BY', '{pattern}')");
    let reply = client.call(["EVAL", &script("{u}w_*"), "1", "{u}l"]);
    assert_eq!(reply, Reply::bulks(["2", "3", "1"]));
    assert!(client.call(["EVAL", &script("w_*"), "1", "{u}l"]).is_error("CROSSSLOT"));
}

#[test]
fn patterns_are_for_users_who_may_read_every_key() {
    let alone = Alone::new(|options| options.set("--shards", "1"));
    let mut admin = Client::connect(alone.node.address()).expect("the server accepts");
    for line in ["RPUSH a 2 1", "MSET secret_1 x secret_2 y", "GEOADD a_geo 1 1 m"] {
        admin.ask(line);
    }
    for user in ["narrow on nopass ~a* +@all", "reader on nopass %R~* ~a* +@all", "writer on nopass %W~* ~a* +@all"] {
        assert_eq!(admin.ask(&format!("ACL SETUSER {user}")), Reply::ok(), "{user}");
    }
    // The replies are those of redis-server 7.0.15.
    for (user, may_read_all) in [("narrow", false), ("reader", true), ("writer", false)] {
        let mut client = Client::connect(alone.node.address()).expect("the server accepts");
        assert_eq!(client.ask(&format!("AUTH {user} x")), Reply::ok());
        assert_eq!(client.ask("SORT a BY nosort"), Reply::bulks(["2", "1"]));
        assert_eq!(client.ask("SORT a STORE a_sorted"), Reply::Integer(2));
        for (option, line) in [
            ("GET", "SORT a GET secret_*"),
            ("GET", "SORT_RO a GET #"),
            ("BY", "SORT a BY a_* GET x"),
            ("GET", "EVAL return{redis.call('SORT',KEYS[1],'GET','secret_*')} 1 a"),
        ] {
            let reply = client.ask(line);
            let text = format!("ERR {option} option of SORT denied due to insufficient ACL permissions.");
            assert_eq!(reply.is_error(&text), !may_read_all, "{user}: {line}: {reply:?}");
        }
    }
    // Of two destinations the last one is written to; Redis looks at the first one alone.
    let mut client = Client::connect(alone.node.address()).expect("the server accepts");
    client.ask("AUTH narrow x");
    assert!(client.ask("GEORADIUS a_geo 1 1 1 km STORE a_new STORE other").is_error("NOPERM"));
    assert_eq!(client.ask("GEORADIUS a_geo 1 1 1 km STORE a_new"), Reply::Integer(1));
    // Rights that are lost before EXEC are lost.
    let mut client = Client::connect(alone.node.address()).expect("the server accepts");
    client.ask("AUTH reader x");
    client.ask("MULTI");
    assert_eq!(client.ask("SORT a GET secret_*").text(), "QUEUED");
    admin.ask("ACL SETUSER reader resetkeys ~a*");
    let replies = client.ask("EXEC");
    assert!(!format!("{replies:?}").contains("\"x\""), "{replies:?}");
    assert!(replies.elements()[0].is_error("NOPERM"), "{replies:?}");
}
