//! Commands by which clients and tools look into a node, on two cores, and beside redis-server.

use std::time::{Duration, Instant};

use basalt_tests::{Client, DEADLINE, NodeOptions, RedisServer, Reply, eventually};

use crate::alone::Alone;

fn two_cores() -> Alone {
    Alone::new(|options| options.set("--cores", "2").set("--shards", "2"))
}

/// The words of each entry of the slow log, the newest first.
fn slow_calls(client: &mut Client) -> Vec<String> {
    let entries = client.ask("SLOWLOG GET -1");
    let words = |entry: &Reply| entry.elements()[3].elements().iter().map(Reply::text).collect::<Vec<_>>().join(" ");
    entries.elements().iter().map(words).collect()
}

#[test]
fn commands_of_all_cores_are_in_the_slow_log_with_who_has_sent_them() {
    let alone = two_cores();
    // Of two connections, each is on another core; of the keys, some are on either's shard.
    let mut clients = [alone.node.client(), alone.node.client()];
    for (index, client) in clients.iter_mut().enumerate() {
        assert_eq!(client.ask(&format!("CLIENT SETNAME client-{index}")), Reply::ok());
    }
    assert_eq!(clients[0].ask("CONFIG SET slowlog-log-slower-than 0"), Reply::ok());
    assert_eq!(clients[0].ask("SLOWLOG RESET"), Reply::ok());
    let mut expected = Vec::new();
    for (index, client) in clients.iter_mut().enumerate() {
        for number in 0..4 {
            client.ask(&format!("SET key:{index}:{number} v"));
            client.ask(&format!("GET key:{index}:{number}"));
            expected.push(format!("SET key:{index}:{number} v of client-{index}"));
            expected.push(format!("GET key:{index}:{number} of client-{index}"));
        }
        client.ask("EVAL return(1) 0");
        expected.push(format!("EVAL return(1) 0 of client-{index}"));
        client.ask("AUTH nobody secret");
        expected.push(format!("AUTH (redacted) (redacted) of client-{index}"));
    }
    assert_eq!(clients[0].ask("CONFIG SET slowlog-log-slower-than -1"), Reply::ok());
    let entries = clients[1].ask("SLOWLOG GET -1");
    let (mut ids, mut found) = (Vec::new(), Vec::new());
    for entry in entries.elements() {
        let [id, at_s, took_us, words, address, name] = entry.elements() else { panic!("{entry:?}") };
        ids.push(id.integer());
        assert!(at_s.integer() > 1_600_000_000 && took_us.integer() >= 0, "{entry:?}");
        assert!(address.text().starts_with("127.0.0.1:"), "{entry:?}");
        let words: Vec<String> = words.elements().iter().map(Reply::text).collect();
        found.push(format!("{} of {}", words.join(" "), name.text()));
    }
    assert!(ids.is_sorted_by(|newer, older| newer > older), "{ids:?}");
    found.reverse();
    for call in &expected {
        assert!(found.contains(call), "{call} is missing in {found:#?}");
    }
    assert_eq!(clients[0].ask("SLOWLOG LEN"), Reply::Integer(found.len() as i64));
    assert_eq!(clients[0].ask("CONFIG SET slowlog-max-len 3"), Reply::ok());
    for client in &mut clients {
        assert_eq!(client.ask("SLOWLOG GET -1").elements().len(), 3);
        assert_eq!(client.ask("SLOWLOG LEN"), Reply::Integer(3));
    }
    assert_eq!(clients[1].ask("SLOWLOG RESET"), Reply::ok());
    assert_eq!(clients[0].ask("SLOWLOG LEN"), Reply::Integer(0));
}

#[test]
fn what_takes_long_is_found_without_timing_what_does_not() {
    let alone = two_cores();
    let mut client = alone.node.client();
    // Above two ticks of any kernel.
    assert_eq!(client.ask("CONFIG SET slowlog-log-slower-than 25000"), Reply::ok());
    let members: Vec<String> = (0..200_000).map(|number| number.to_string()).collect();
    for some in members.chunks(50_000) {
        let words: Vec<&str> = ["SADD", "large"].into_iter().chain(some.iter().map(String::as_str)).collect();
        client.call(words);
    }
    assert_eq!(client.ask("SLOWLOG RESET"), Reply::ok());
    let begun = Instant::now();
    assert_eq!(client.ask("SMEMBERS large").elements().len(), members.len());
    let took = begun.elapsed();
    if !slow_calls(&mut client).contains(&"SMEMBERS large".to_owned()) {
        assert!(took < Duration::from_millis(200), "SMEMBERS took {took:?}, and is not in the slow log");
        // A machine this fast needs more.
        let many = vec!["large"; 30].join(" ");
        client.ask(&format!("SUNION {many}"));
        let calls = slow_calls(&mut client);
        assert!(calls.iter().any(|call| call.starts_with("SUNION large ")), "{calls:?}");
    }
}

#[test]
fn shortened_arguments_are_those_of_redis() {
    let (alone, redis) = (two_cores(), RedisServer::start());
    let mut clients = [alone.node.client(), Client::connect(redis.address()).expect("it accepts")];
    let long = "x".repeat(129);
    let shown = clients.each_mut().map(|client| {
        client.ask("CONFIG SET slowlog-log-slower-than 0");
        client.ask("SLOWLOG RESET");
        client.call(["RPUSH", "list", &long, &long[..128]]);
        client.call(["RPUSH", "list"].into_iter().chain(std::iter::repeat_n("a", 30)));
        client.call(["RPUSH", "list"].into_iter().chain(std::iter::repeat_n("a", 31)));
        client.ask("HELLO 3 AUTH nobody secret SETNAME x");
        client.ask("ACL SETUSER bob on >secret ~* +get");
        client.ask("CONFIG SET masterauth secret timeout 0");
        client.ask("MULTI");
        client.ask("SET key v");
        client.ask("EXEC");
        client.ask("CONFIG SET slowlog-log-slower-than -1");
        let calls = slow_calls(client).into_iter().map(|call| call.to_lowercase());
        // Those two servers take what is not shown for a command or not: MULTI and the queueing of others.
        calls.filter(|call| !call.starts_with("multi") && !call.starts_with("config set slowlog")).collect::<Vec<_>>()
    });
    assert_eq!(shown[0], shown[1]);
    assert!(shown[0].iter().all(|call| !call.contains("secret")), "{:?}", shown[0]);
}

/// Returns whether a request is answered within `time`.
fn is_answered(client: &mut Client, within: Duration) -> bool {
    client.stream().set_read_timeout(Some(within)).expect("it is a valid time");
    let mut byte = [0];
    let peeked = client.stream().peek(&mut byte);
    client.stream().set_read_timeout(Some(DEADLINE)).expect("it is a valid time");
    peeked.is_ok()
}

#[test]
fn a_pause_holds_up_the_clients_of_all_cores_until_it_ends() {
    let alone = two_cores();
    let mut clients: Vec<Client> = (0..4).map(|_| alone.node.client()).collect();
    let mut operator = alone.node.client();
    for (index, client) in clients.iter_mut().enumerate() {
        assert_eq!(client.ask(&format!("SET key:{index} 1")), Reply::ok());
    }
    // Writes alone: reads and CLIENT UNPAUSE go on, and transactions by what they do.
    assert_eq!(operator.ask("CLIENT PAUSE 1000000 WRITE"), Reply::ok());
    for (index, client) in clients.iter_mut().enumerate() {
        assert_eq!(client.ask(&format!("GET key:{index}")).text(), "1");
        client.ask("MULTI");
        assert_eq!(client.ask("PING").text(), "QUEUED");
        assert_eq!(client.ask("EXEC").elements().len(), 1);
        let write = ["INCR key:0", "EVAL return(1) 0", "PUBLISH channel message", "DEL nothing"][index];
        client.send(format!("{write}\r\nPING\r\n")).expect("the node reads");
    }
    for client in &mut clients {
        assert!(!is_answered(client, Duration::from_millis(50)), "it writes in a pause");
    }
    assert_eq!(operator.ask("GET key:0").text(), "1");
    assert_eq!(operator.ask("CLIENT UNPAUSE"), Reply::ok());
    for client in &mut clients {
        assert!(matches!(client.read().expect("it goes on"), Reply::Integer(_)));
        assert_eq!(client.read().expect("it goes on").text(), "PONG");
    }
    assert_eq!(operator.ask("GET key:0").text(), "2");

    // All commands, for some time.
    let begun = Instant::now();
    assert_eq!(operator.ask("CLIENT PAUSE 400"), Reply::ok());
    assert_eq!(clients[1].ask("PING").text(), "PONG");
    assert!(begun.elapsed() >= Duration::from_millis(400), "after {:?}", begun.elapsed());
    eventually("all go on", DEADLINE, || match operator.ask("PING") {
        Reply::Simple(text) => Ok(text),
        other => Err(other),
    });

    // The one command of an operator that a pause of all must not hold up.
    assert_eq!(operator.ask("CLIENT PAUSE 1000000000"), Reply::ok());
    clients[0].send("PING\r\n").expect("the node reads");
    assert!(!is_answered(&mut clients[0], Duration::from_millis(50)), "it is executed in a pause");
    assert!(clients[1].ask("AUTH nobody secret").is_error("WRONGPASS"));
    assert_eq!(clients[1].ask("CLIENT UNPAUSE"), Reply::ok());
    assert_eq!(clients[0].read().expect("it goes on").text(), "PONG");
}

#[test]
fn what_a_client_has_sent_in_a_pause_is_dropped_if_it_goes() {
    let alone = two_cores();
    let mut operator = alone.node.client();
    assert_eq!(operator.ask("SET counter 1"), Reply::ok());
    assert_eq!(operator.ask("CLIENT PAUSE 1000000 WRITE"), Reply::ok());
    let clients_left = |operator: &mut Client| {
        let info = operator.ask("INFO clients").text();
        let line = info.lines().find_map(|line| line.strip_prefix("connected_clients:"));
        line.and_then(|count| count.parse::<usize>().ok()).expect("a number of clients")
    };
    for _ in 0..4 {
        // Of two connections, each is on another core.
        let mut going: Vec<Client> = (0..2).map(|_| alone.node.client()).collect();
        for client in &mut going {
            client.send("INCR counter\r\n").expect("the node reads");
            assert!(!is_answered(client, Duration::from_millis(20)), "it writes in a pause");
        }
        drop(going);
        eventually("they are not kept", DEADLINE, || match clients_left(&mut operator) {
            1 => Ok(()),
            more => Err(more),
        });
    }
    assert_eq!(operator.ask("CLIENT UNPAUSE"), Reply::ok());
    assert_eq!(operator.ask("INCR counter"), Reply::Integer(2), "nothing of those who are gone was executed");
}

#[test]
fn of_a_long_transaction_monitors_are_told_the_beginning() {
    let alone = two_cores();
    let (mut monitor, mut client) = (alone.node.client(), alone.node.client());
    assert_eq!(monitor.ask("MONITOR"), Reply::ok());
    let value = "v".repeat(20_000);
    client.ask("MULTI");
    for _ in 0..100 {
        assert_eq!(client.call(["SET", "key", &value]).text(), "QUEUED");
    }
    assert_eq!(client.ask("EXEC").elements().len(), 100);
    client.ask("PING last");
    let mut lines = Vec::new();
    while !lines.last().is_some_and(|line: &String| line.contains("\"last\"")) {
        lines.push(monitor.read().expect("what is told").text());
    }
    let told = lines.iter().filter(|line| line.contains("\"SET\" \"key\"")).count();
    let more =
        lines.iter().filter_map(|line| line.split_once("... (")?.1.strip_suffix(" more commands)")).collect::<Vec<_>>();
    let more = more.first().and_then(|count| count.parse::<usize>().ok()).expect("a number of commands");
    assert!(told > 10 && more > 10 && told + more == 100, "{told} are told, and {more} are not");
}

#[test]
fn times_of_commands_and_turns_are_noted_by_the_latency_monitor() {
    let alone = two_cores();
    let mut client = alone.node.client();
    assert!(client.ask("LATENCY DOCTOR").text().contains("Latency monitoring is disabled"));
    assert_eq!(client.ask("CONFIG SET latency-monitor-threshold 1"), Reply::ok());
    // Some milliseconds of work, of which each execution of the script has as much as it may.
    let event = |client: &mut Client, name: &str| {
        let latest = client.ask("LATENCY LATEST");
        latest.elements().iter().find(|event| event.elements()[0].text() == name).map(|event| event.elements().to_vec())
    };
    eventually("a script that takes long is noted", DEADLINE, || {
        client.call(["EVAL", "local t = {} for i = 1, 300000 do t[i % 10] = i end return 1", "0"]);
        event(&mut client, "command").ok_or("no event 'command'")
    });
    let [name, at_s, latest_ms, most_ms] = &event(&mut client, "command").expect("it is there")[..] else {
        panic!("an event has four fields")
    };
    assert_eq!(name.text(), "command");
    assert!(at_s.integer() > 1_600_000_000 && most_ms.integer() >= latest_ms.integer() && latest_ms.integer() >= 1);
    eventually("so is the turn that it was executed in", DEADLINE, || event(&mut client, "core-turn").ok_or("none"));
    let history = client.ask("LATENCY HISTORY command");
    assert!(history.elements().iter().any(|sample| sample.elements()[1] == *most_ms), "{history:?}");
    assert!(client.ask("LATENCY GRAPH command").text().starts_with("command - high "));
    assert!(client.ask("LATENCY DOCTOR").text().contains("command: "));
    // From one run in some of all cores.
    for number in 0..50 {
        client.ask(&format!("GET key:{number}"));
    }
    let histogram = client.ask("LATENCY HISTOGRAM get");
    let [name, told] = histogram.elements() else { panic!("{histogram:?}") };
    assert_eq!((name.text().as_str(), told.elements()[1].integer()), ("get", 50), "{told:?}");
    let buckets = told.elements()[3].elements();
    assert_eq!(buckets.last().map(Reply::integer), Some(50), "{told:?}");
    assert_eq!(client.ask("CONFIG SET latency-monitor-threshold 0"), Reply::ok());
    assert!(client.ask("LATENCY RESET command").integer() == 1 && client.ask("LATENCY RESET").integer() >= 1);
    assert_eq!(client.ask("LATENCY LATEST").elements().len(), 0);
}

#[test]
fn what_a_key_takes_is_told_whatever_shard_it_is_on() {
    let alone = two_cores();
    let mut client = alone.node.client();
    for number in 0..10 {
        let (string, list) = (format!("string:{number}"), format!("list:{number}"));
        client.call(["SET", &string, &"v".repeat(10_000)]);
        let elements: Vec<String> = (0..100).map(|element| format!("element:{element:010}")).collect();
        client.call(["RPUSH", &list].into_iter().chain(elements.iter().map(String::as_str)));
        let bytes = client.ask(&format!("MEMORY USAGE {string}")).integer();
        assert!((10_000..10_100).contains(&bytes), "{bytes} bytes of a string");
        let bytes = client.ask(&format!("MEMORY USAGE {list} SAMPLES 0")).integer();
        assert!((1800..10_000).contains(&bytes), "{bytes} bytes of a list");
    }
    assert_eq!(client.ask("MEMORY USAGE nosuch"), Reply::Null);
    let stats = client.ask("MEMORY STATS");
    let mut fields = stats.elements().chunks_exact(2);
    let keys = fields.find(|field| field[0].text() == "keys.count").expect("it is there");
    assert_eq!(keys[1], Reply::Integer(20));
    assert!(client.ask("MEMORY DOCTOR").text().contains("Sam"));
}

/// The lines that a monitor is told until a PING with this word, without times and addresses.
fn told_until(monitor: &mut Client, word: &str) -> Vec<String> {
    let mut lines = Vec::new();
    loop {
        let line = monitor.read().expect("a monitor is told of all commands").text();
        let (head, call) = line.split_once("] ").unwrap_or_else(|| panic!("{line} has no client"));
        let (time, client) = head.split_once(" [").unwrap_or_else(|| panic!("{line} has no time"));
        let (seconds, micros) = time.split_once('.').expect("seconds and a fraction");
        assert!(seconds.parse::<u64>().is_ok_and(|seconds| seconds > 1_600_000_000), "{line}");
        assert!(micros.len() == 6 && micros.parse::<u32>().is_ok(), "{line}");
        let (db, _address) = client.split_once(' ').expect("a database and an address");
        if call.contains(word) {
            return lines;
        }
        lines.push(format!("{db} {call}"));
    }
}

#[test]
fn a_monitor_is_told_what_redis_tells_one() {
    let (alone, redis) = (two_cores(), RedisServer::start());
    let addresses = [alone.node.address(), redis.address()];
    let told = addresses.map(|address| {
        let mut monitor = Client::connect(address).expect("it accepts");
        let mut client = Client::connect(address).expect("it accepts");
        assert_eq!(monitor.ask("MONITOR"), Reply::ok());
        client.call([b"SET".as_slice(), b"a b", b"\"\\\r\n\t\x07\x08\x00\xff"]);
        for line in [
            "get a",
            "SELECT 3",
            "LPUSH list 1",
            "GET list",
            "NOSUCH x",
            "GET",
            "AUTH nobody secret",
            "HELLO 3 AUTH nobody secret SETNAME x",
            "ACL WHOAMI",
            "ACL SETUSER bob on >secret",
            "CONFIG SET masterauth secret",
            "CLIENT SETNAME me",
            "EVAL return(1) 0",
            "SUBSCRIBE channel",
            "UNSUBSCRIBE channel",
            "PUBLISH channel message",
            "MULTI",
            "INCR counter",
            "GET counter",
            "EXEC",
            "MULTI",
            "INCR counter",
            "DISCARD",
            "INFO server",
            "OBJECT ENCODING counter",
            "PING last",
        ] {
            client.ask(line);
        }
        told_until(&mut monitor, "\"last\"")
    });
    assert_eq!(told[0], told[1]);
    assert!(told[0].iter().all(|line| !line.contains("secret")), "{:?}", told[0]);
}

#[test]
fn monitors_on_all_cores_are_told_of_the_commands_of_all_cores_until_they_go() {
    let alone = two_cores();
    let mut monitors: Vec<Client> = (0..3).map(|_| alone.node.client()).collect();
    for monitor in &mut monitors {
        assert_eq!(monitor.ask("MONITOR"), Reply::ok());
    }
    let mut clients: Vec<Client> = (0..4).map(|_| alone.node.client()).collect();
    assert!(clients[0].ask("INFO clients").text().contains("\r\nmonitors:3\r\n"));
    for round in 0..50 {
        for (index, client) in clients.iter_mut().enumerate() {
            client.ask(&format!("SET key:{index} {round}"));
        }
    }
    for client in &mut clients {
        client.ask("PING end");
    }
    for monitor in &mut monitors {
        let mut lines = Vec::new();
        (0..4).for_each(|_| lines.extend(told_until(monitor, "\"end\"")));
        for index in 0..4 {
            let of_client: Vec<_> = lines.iter().filter(|line| line.contains(&format!("\"key:{index}\""))).collect();
            let expected: Vec<String> = (0..50).map(|round| format!("0 \"SET\" \"key:{index}\" \"{round}\"")).collect();
            assert!(of_client.into_iter().eq(&expected), "of client {index}");
        }
    }
    let list = clients[0].ask("CLIENT LIST").text();
    assert_eq!(list.matches(" flags=O ").count(), 3, "{list}");
    assert_eq!(monitors[0].ask("RESET").text(), "RESET");
    drop(monitors.pop());
    eventually("one is left", DEADLINE, || match clients[0].ask("INFO clients").text() {
        text if text.contains("\r\nmonitors:1\r\n") => Ok(()),
        text => Err(text),
    });
    assert_eq!(monitors[0].ask("PING").text(), "PONG");
}

#[test]
fn a_monitor_that_does_not_read_is_cut_off_and_holds_up_nobody() {
    let alone = Alone::new(|options| {
        options.set("--cores", "2").set("--shards", "2").set("--client-output-buffer-limit", "pubsub 1mb 0 0")
    });
    let mut monitor = alone.node.client();
    assert_eq!(monitor.ask("MONITOR"), Reply::ok());
    let mut client = alone.node.client();
    let value = "v".repeat(100_000);
    eventually("it is cut off", DEADLINE, || {
        client.call(["SET", "key", &value]);
        match client.ask("INFO clients").text() {
            text if text.contains("\r\nmonitors:0\r\n") => Ok(()),
            text => Err(text),
        }
    });
    assert_eq!(client.ask("STRLEN key"), Reply::Integer(100_000));
}

#[test]
fn what_was_set_is_put_into_the_file_and_is_there_after_a_restart() {
    let dir = tempfile::tempdir().expect("a temporary directory");
    let file = dir.path().join("basalt.toml");
    std::fs::write(&file, "# Ours.\ntimeout = '5s' # short\n").expect("it can be written");
    let options = NodeOptions::new(dir.path().join("data")).set("--cores", "2").set("--config", &file);
    let mut node = options.start();
    let mut clients = [node.client(), node.client()];
    assert_eq!(clients[0].ask("CONFIG SET timeout 70 maxclients 99"), Reply::ok());
    assert_eq!(clients[0].ask("CONFIG SET slowlog-max-len 7"), Reply::ok());
    for client in &mut clients {
        assert_eq!(client.ask("CONFIG REWRITE"), Reply::ok());
    }
    let text = std::fs::read_to_string(&file).expect("it is there");
    let mut lines: Vec<&str> = text.lines().collect();
    assert_eq!(lines[..2], ["# Ours.", "timeout = \"70s\" # short"]);
    lines[2..].sort_unstable();
    assert_eq!(lines[2..], ["maxclients = 99", "slowlog-max-len = 7"]);
    node.stop();
    let node = options.start();
    let mut client = node.client();
    for (name, value) in [("timeout", "70"), ("maxclients", "99"), ("slowlog-max-len", "7")] {
        assert_eq!(client.ask(&format!("CONFIG GET {name}")).elements()[1].text(), value, "{name}");
    }
    // What the file has become meanwhile is not overwritten if it is none.
    std::fs::write(&file, "nosuch = 1\n").expect("it can be written");
    assert_eq!(client.ask("CONFIG SET timeout 71"), Reply::ok());
    let refusal = client.ask("CONFIG REWRITE");
    assert!(refusal.is_error("ERR Rewriting config file: "), "{refusal:?}");
    assert_eq!(std::fs::read_to_string(&file).expect("it is there"), "nosuch = 1\n");
}

#[test]
fn debugging_holds_up_nobody_else_and_due_keys_stay_if_wanted() {
    let alone =
        Alone::new(|options| options.set("--cores", "2").set("--shards", "2").set("--enable-debug-command", "local"));
    let mut clients = [alone.node.client(), alone.node.client(), alone.node.client()];
    for number in 0..8 {
        clients[1].ask(&format!("SET key:{number} value"));
        let line = clients[0].ask(&format!("DEBUG OBJECT key:{number}")).text();
        assert!(line.contains(" encoding:embstr serializedlength:"), "{line}");
    }
    assert!(clients[0].ask("DEBUG OBJECT nosuch").is_error("ERR no such key"));
    assert!(clients[0].ask("DEBUG JMAP").is_error("ERR unknown subcommand"));
    // Of three connections, two are on the same core.
    let begun = Instant::now();
    clients[0].send("DEBUG SLEEP 0.5\r\nPING\r\n").expect("the node reads");
    for client in &mut clients[1..] {
        assert_eq!(client.ask("GET key:1").text(), "value");
    }
    assert_eq!(clients[0].read().expect("it wakes up"), Reply::ok());
    assert!(begun.elapsed() >= Duration::from_millis(500), "after {:?}", begun.elapsed());
    assert_eq!(clients[0].read().expect("it goes on").text(), "PONG");

    let expired = |client: &mut Client| {
        let info = client.ask("INFO keyspace").text();
        !info.contains("keys=8,")
    };
    assert_eq!(clients[0].ask("DEBUG SET-ACTIVE-EXPIRE 0"), Reply::ok());
    assert_eq!(clients[1].ask("PEXPIRE key:3 1"), Reply::Integer(1));
    eventually("it is gone for who asks", DEADLINE, || match clients[2].ask("GET key:3") {
        Reply::Null => Ok(()),
        other => Err(other),
    });
    assert_eq!(clients[1].ask("DEBUG SLEEP 0.4"), Reply::ok());
    assert!(!expired(&mut clients[2]), "it was deleted though nothing was to be");
    assert_eq!(clients[0].ask("DEBUG SET-ACTIVE-EXPIRE 1"), Reply::ok());
    eventually("it is deleted", DEADLINE, || if expired(&mut clients[2]) { Ok(()) } else { Err("it is there") });
}

#[test]
fn a_key_is_idle_while_nobody_uses_it() {
    let (alone, redis) = (two_cores(), RedisServer::start());
    for address in [alone.node.address(), redis.address()] {
        let mut client = Client::connect(address).expect("it accepts");
        let begun = Instant::now();
        for key in ["read", "touched", "left"] {
            client.ask(&format!("SET {key} v"));
        }
        let idle = |client: &mut Client, key: &str| client.ask(&format!("OBJECT IDLETIME {key}")).integer() as u64;
        eventually("the keys are idle for two seconds", DEADLINE, || {
            // None of these is a use, and a clock of seconds may be ahead by one.
            for line in ["EXISTS left", "TYPE read", "TTL touched", "OBJECT ENCODING read"] {
                client.ask(line);
            }
            let all = ["read", "touched", "left"].map(|key| idle(&mut client, key));
            assert!(all.iter().all(|idle| *idle <= begun.elapsed().as_secs() + 1), "{all:?}");
            if all.iter().all(|idle| *idle >= 2) { Ok(()) } else { Err(all) }
        });
        let used = Instant::now();
        assert_eq!(client.ask("GET read"), Reply::bulk("v"));
        assert_eq!(client.ask("TOUCH touched none").integer(), 1);
        for key in ["read", "touched"] {
            let idle = idle(&mut client, key);
            assert!(idle <= used.elapsed().as_secs() + 1, "{key} is idle for {idle} s");
        }
        assert!(idle(&mut client, "left") >= 2);
        assert_eq!(client.ask("OBJECT IDLETIME none"), Reply::Null);
        assert!(client.ask("OBJECT FREQ left").is_error("ERR An LFU maxmemory policy is not selected"));
    }
}
