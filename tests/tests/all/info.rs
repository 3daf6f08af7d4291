//! INFO tells the truth at once: a client finds in it what it has just done, on whatever core and shard.

use basalt_tests::{Client, DEADLINE, RedisServer, Reply, eventually, in_some_attempt};

use crate::alone::Alone;

fn two_shards() -> Alone {
    Alone::new(|options| options.set("--shards", "2"))
}

/// The value of a field of INFO's text.
fn field<'a>(text: &'a str, name: &str) -> Option<&'a str> {
    text.lines().find_map(|line| line.strip_prefix(name)?.strip_prefix(':'))
}

fn number(text: &str, name: &str) -> u64 {
    let value = field(text, name).and_then(|value| value.parse().ok());
    value.unwrap_or_else(|| panic!("no number {name} in {text}"))
}

/// A number of a field of several, as `keys=1,expires=0`.
fn part(text: &str, name: &str, part: &str) -> Option<f64> {
    let mut parts = field(text, name)?.split(',').filter_map(|part| part.split_once('='));
    parts.find(|(name, _)| *name == part)?.1.parse().ok()
}

#[test]
fn keys_are_counted_once_their_writes_are_answered() {
    let alone = two_shards();
    // Of two connections, each is on another core; of ten keys, some are on either's shard.
    let mut clients = [alone.node.client(), alone.node.client()];
    let mut expected = 0;
    for round in 0..10 {
        for (index, client) in clients.iter_mut().enumerate() {
            assert_eq!(client.ask(&format!("SET key:{round}:{index} v EX 100")), Reply::ok());
            expected += 1;
            let info = client.ask("INFO keyspace").text();
            assert_eq!(part(&info, "db0", "keys"), Some(f64::from(expected)), "{info}");
            assert_eq!(part(&info, "db0", "expires"), Some(f64::from(expected)), "{info}");
        }
    }
}

#[test]
fn the_average_time_to_live_is_that_of_all_keys_with_a_deadline() {
    let temporary = tempfile::tempdir().expect("a temporary directory");
    let options = basalt_tests::NodeOptions::new(temporary.path().join("data")).set("--shards", "2");
    let mut node = options.start();
    let mut client = node.client();
    // As many on either shard, and so much time that how long this takes makes no difference.
    for number in 0..20 {
        let ex = if number % 2 == 0 { 1_000_000 } else { 3_000_000 };
        assert_eq!(client.ask(&format!("SET key:{number} v EX {ex}")), Reply::ok());
        assert_eq!(client.ask(&format!("SET other:{number} v")), Reply::ok());
    }
    let average_s = |client: &mut Client| {
        let info = client.ask("INFO keyspace").text();
        part(&info, "db0", "avg_ttl").unwrap_or_else(|| panic!("no average in {info}")) / 1000.0
    };
    let is_about = |found: f64, expected: f64| (expected - 10_000.0..=expected).contains(&found);
    let found = average_s(&mut client);
    assert!(is_about(found, 2_000_000.0), "{found} s");
    for number in (1..20).step_by(2) {
        assert_eq!(client.ask(&format!("EXPIRE key:{number} 500000")), Reply::Integer(1));
    }
    let found = average_s(&mut client);
    assert!(is_about(found, 750_000.0), "{found} s");

    node.kill_9();
    let mut node = options.start();
    let found = average_s(&mut node.client());
    assert!(is_about(found, 750_000.0), "{found} s after a crash");
    node.stop();
    let node = options.start();
    let mut client = node.client();
    let found = average_s(&mut client);
    assert!(is_about(found, 750_000.0), "{found} s after a restart");
    for number in 0..20 {
        client.ask(&format!("PERSIST key:{number}"));
    }
    assert!(client.ask("INFO keyspace").text().contains("db0:keys=40,expires=0,avg_ttl=0\r\n"));
}

#[test]
fn info_waits_for_what_was_sent_before_it() {
    let alone = two_shards();
    let mut client = alone.node.client();
    let line = |line: &'static str| line.split(' ');
    for _ in 0..20 {
        let replies = client.pipeline([
            line("FLUSHALL"),
            line("CONFIG RESETSTAT"),
            line("MSET a 1 b 2 c 3 d 4"),
            line("GET a"),
            line("GET b"),
            line("GET nothing"),
            line("GET none"),
            line("INFO everything"),
            line("DEL a b c d"),
            line("INFO keyspace"),
            line("PING"),
        ]);
        let info = replies[7].text();
        assert_eq!(part(&info, "db0", "keys"), Some(4.0), "{info}");
        assert_eq!((number(&info, "keyspace_hits"), number(&info, "keyspace_misses")), (2, 2), "{info}");
        // RESETSTAT was counted before it forgot; INFO counts itself.
        assert_eq!(number(&info, "total_commands_processed"), 6, "{info}");
        assert_eq!(part(&info, "cmdstat_get", "calls"), Some(4.0), "{info}");
        assert!(part(&info, "cmdstat_get", "usec_per_call") > Some(0.0), "{info}");
        assert_eq!(replies[9].text(), "# Keyspace\r\n");
        assert_eq!(replies[10].text(), "PONG");
    }
}

#[test]
fn clients_are_counted_once_they_are_answered() {
    let alone = two_shards();
    let mut clients = Vec::new();
    for count in 1..=10 {
        clients.push(alone.node.client());
        let client = clients.last_mut().expect("it was pushed");
        assert_eq!(number(&client.ask("INFO clients").text(), "connected_clients"), count);
    }
}

/// The counts of a command in `commandstats`.
fn counts(info: &str, command: &str) -> [Option<f64>; 3] {
    ["calls", "rejected_calls", "failed_calls"].map(|count| part(info, &format!("cmdstat_{command}"), count))
}

#[test]
fn commands_are_counted_as_redis_counts_them() {
    const LINES: [&str; 18] = [
        "CONFIG RESETSTAT",
        "SET a 1",
        "SET a 1 FOO",
        "SET a",
        "LPUSH list x",
        "GET list",
        "GET a",
        "GET",
        "INCR list",
        "MGET a b c d",
        "SCAN 0 FOO",
        "SCAN 0",
        "RENAME nothing new",
        "RENAME a b",
        "COPY b c",
        "KEYS *",
        "SELECT x",
        "OBJECT ENCODING b",
    ];
    let (redis, alone) = (RedisServer::start(), two_shards());
    let [redis, basalt] = [redis.address(), alone.node.address()].map(|address| {
        let mut client = Client::connect(address).expect("the server accepts");
        LINES.iter().for_each(|line| _ = client.ask(line));
        client.ask("INFO commandstats").text()
    });
    for command in
        ["set", "get", "lpush", "incr", "mget", "scan", "rename", "copy", "keys", "select", "object|encoding"]
    {
        assert_eq!(counts(&basalt, command), counts(&redis, command), "{command}: {basalt}");
    }
}

/// Microseconds that a call of a command takes.
fn us_per_call(info: &str, command: &str) -> f64 {
    let name = format!("cmdstat_{command}");
    let [calls, us, each] = ["calls", "usec", "usec_per_call"].map(|count| part(info, &name, count));
    let [Some(calls), Some(us), Some(each)] = [calls, us, each] else { panic!("no {name} in {info}") };
    assert!((each * calls - us).abs() <= 1.0 + calls * 0.005, "{command}: {us} us for {calls} calls of {each}");
    each
}

#[test]
fn commands_take_the_time_that_they_take() {
    /// Each is timed: of a command that has run more often than 64 times on a core some are, and stand for the others.
    const ROUNDS: u32 = 50;
    let alone = two_shards();
    let mut client = alone.node.client();
    let mut bytes = Vec::new();
    for number in 0..2_000 {
        Client::encode(&mut bytes, ["RPUSH", &format!("list:{}", number % 10), &"x".repeat(100)]);
    }
    client.send(&bytes).expect("the node reads");
    (0..2_000).for_each(|_| assert!(client.read().expect("a reply").integer() > 0));
    assert!(us_per_call(&client.ask("INFO commandstats").text(), "rpush") > 0.0);

    // A run takes as long as the machine lets it, which is long now and then.
    in_some_attempt("200 elements take longer than none, and no run longer than its client waited", || {
        assert_eq!(client.ask("CONFIG RESETSTAT"), Reply::ok());
        let begun = std::time::Instant::now();
        for number in 0..ROUNDS {
            client.ask(&format!("GET nothing:{number}"));
            assert_eq!(client.ask(&format!("LRANGE list:{} 0 -1", number % 10)).elements().len(), 200);
            assert_eq!(client.ask("KEYS list:*").elements().len(), 10);
        }
        let passed_us = begun.elapsed().as_micros() as f64;

        let info = client.ask("INFO commandstats").text();

        println!("{info}");
        let [get, lrange, keys] = ["get", "lrange", "keys"].map(|command| us_per_call(&info, command));
        assert!(get > 0.0 && keys > 0.0, "{info}");
        let read = f64::from(ROUNDS) * (get + lrange + keys);
        if lrange > 2.0 * get && read < passed_us { Ok(()) } else { Err((info, read, passed_us)) }
    });
}

#[test]
fn changes_are_told_until_they_are_in_a_file_of_rows() {
    let alone = Alone::new(|options| options.set("--shards", "1").set("--memtable-bytes", "256kb"));
    let mut client = alone.node.client();
    let persistence = |client: &mut Client| {
        let info = client.ask("INFO persistence").text();
        (number(&info, "rdb_changes_since_last_save"), number(&info, "rdb_saves"))
    };
    assert_eq!(persistence(&mut client), (0, 0));
    for line in ["SET a 1", "INCR a", "RPUSH list x y z", "DEL nothing", "GET a"] {
        client.ask(line);
    }
    assert_eq!(persistence(&mut client), (3, 0), "what changes nothing is no change");

    let (value, mut writes) = ("v".repeat(1000), 3);
    eventually("rows are written to disk", DEADLINE, || {
        for _ in 0..50 {
            writes += 1;
            client.ask(&format!("SET key:{writes} {value}"));
        }
        match persistence(&mut client) {
            (changes, 1..) if changes < writes => Ok(()),
            seen => Err(seen),
        }
    });
}

#[test]
fn a_connection_tells_its_socket_and_its_memory() {
    let alone = two_shards();
    let mut clients = [alone.node.client(), alone.node.client()];
    let list = clients[0].ask("CLIENT LIST").text();
    let own = clients[1].ask("CLIENT INFO").text();
    let value = |line: &str, name: &str| -> i64 {
        let field = line.split_whitespace().find_map(|field| field.strip_prefix(name)?.strip_prefix('='));
        field.and_then(|value| value.parse().ok()).unwrap_or_else(|| panic!("no number {name} in {line}"))
    };
    let sockets: Vec<i64> = list.lines().map(|line| value(line, "fd")).collect();
    assert!(sockets.len() == 2 && sockets[0] != sockets[1], "{list}");
    assert!(sockets.contains(&value(&own, "fd")), "{own} of {list}");
    for line in list.lines().chain([own.trim_end()]) {
        assert!(value(line, "fd") > 2 && value(line, "tot-mem") > value(line, "qbuf-free"), "{line}");
    }
}
