//! Replies and requests on their way keep to the memory of the node, whatever clients ask for and whether they read it, and whoever
//! reads gets all of it.

use std::io::{Read, Write as _};
use std::time::Duration;

use basalt_tests::{Client, DEADLINE, Node, Reply, eventually, in_some_attempt};

use crate::alone::Alone;

const MEMORY: u64 = 256 << 20;
const MIB: usize = 1 << 20;

fn node() -> Alone {
    Alone::new(|options| options.set("--shards", "2").set("--memory", MEMORY.to_string()))
}

/// Beyond `memory`: a tenth as in every test of it, and values that are on their way, each in a few hands.
const SLACK: u64 = MEMORY / 4;

/// Checks the most memory that the node came to hold beside the `idle` bytes that it held before.
fn assert_within_memory(node: &Node, idle: u64) {
    assert_within(node, idle, MEMORY + SLACK);
}

fn assert_within(node: &Node, idle: u64, most: u64) {
    let grown = node.resident_bytes_peak() - idle;
    println!("{:.1} MiB more than idle, of {:.1}", grown as f64 / MIB as f64, most as f64 / MIB as f64);
    assert!(grown <= most, "{grown} bytes of {most}: {}", node.client().ask("INFO memory").text());
}

/// Returns whether `key` is in the first of two shards: the checksum is that of Redis Cluster.
fn is_in_first_shard(key: &str) -> bool {
    let checksum = key.bytes().fold(0u16, |sum, byte| {
        let shifted = sum ^ (u16::from(byte) << 8);
        (0..8).fold(shifted, |sum, _| if sum & 0x8000 == 0 { sum << 1 } else { (sum << 1) ^ 0x1021 })
    });
    checksum % 16_384 < 8_192
}

fn info(client: &mut Client, section: &str, field: &str) -> u64 {
    let info = client.ask(&format!("INFO {section}")).text();
    let line = info.lines().find_map(|line| line.strip_prefix(field)?.strip_prefix(':'));
    line.unwrap_or_else(|| panic!("{info}")).trim().parse().expect("a number")
}

/// Reads the reply to a read of `value` without keeping it.
fn read_value(client: &mut Client, value: &[u8]) {
    let header = format!("${}\r\n", value.len());
    assert_eq!(
        client.read_bytes(header.len()).escape_ascii().to_string(),
        header.as_bytes().escape_ascii().to_string()
    );
    assert!(client.read_bytes(value.len()) == value, "the value comes as it was stored");
    assert_eq!(client.read_bytes(2), b"\r\n");
}

#[test]
fn pipelined_writes_that_return_large_values_are_answered_within_the_memory() {
    const COUNT: usize = 60;
    let alone = node();
    let (node, value) = (&alone.node, vec![b'v'; 16 * MIB]);
    let idle = node.resident_bytes();
    let (mut client, mut watcher) = (node.client(), node.client());
    assert_eq!(client.call([b"SET".as_slice(), b"key", &value]), Reply::ok());
    client.send("GETEX key\r\n".repeat(COUNT)).expect("the node reads");
    // As long as nobody reads, no more is made than fits.
    eventually("the first reply is there", DEADLINE, || match info(&mut watcher, "memory", "memory_client_output") {
        bytes if bytes >= 16 << 20 => Ok(()),
        bytes => Err(bytes),
    });
    for _ in 0..COUNT {
        read_value(&mut client, &value);
    }
    assert_within_memory(node, idle);
}

#[test]
fn clients_that_never_read_what_writes_return_leave_the_node_within_its_memory() {
    const CLIENTS: u64 = 24;
    let alone = node();
    let (node, value) = (&alone.node, vec![b'v'; 16 * MIB]);
    let idle = node.resident_bytes();
    let mut watcher = node.client();
    assert_eq!(watcher.call([b"SET".as_slice(), b"key", &value]), Reply::ok());
    let mut silent: Vec<Client> = (0..CLIENTS).map(|_| node.client()).collect();
    for client in &mut silent {
        client.send("GETEX key\r\n".repeat(100)).expect("the node reads");
    }
    eventually("each client is answered or closed", DEADLINE, || {
        let stats = watcher.ask("INFO commandstats").text();
        let calls = stats.lines().find_map(|line| line.strip_prefix("cmdstat_getex:calls=")?.split(',').next());
        let calls: u64 = calls.map_or(0, |calls| calls.parse().expect("a number"));
        let clients = info(&mut watcher, "clients", "connected_clients");
        let evicted = info(&mut watcher, "stats", "evicted_clients");
        let bytes = info(&mut watcher, "memory", "memory_clients");
        let most = info(&mut watcher, "memory", "memory_clients_max");
        let is_over = calls >= CLIENTS && clients + evicted == CLIENTS + 1 && evicted > 0 && bytes <= most;
        if is_over { Ok(()) } else { Err((calls, clients, evicted, bytes, most)) }
    });
    assert_within_memory(node, idle);
    assert_eq!(watcher.ask("STRLEN key"), Reply::Integer(value.len() as i64), "the others are served");
}

#[test]
fn a_hundred_thousand_reads_may_be_sent_before_the_first_reply_is_read() {
    const COUNT: usize = 100_000;
    let alone = node();
    let mut client = alone.node.client();
    let value = "v".repeat(1000);
    let key = |number: usize| format!("{}:{}", "key".repeat(100), number % 10);
    for number in 0..10 {
        assert_eq!(client.call(["SET", &key(number), &value]), Reply::ok());
    }
    // More than the sockets take by themselves.
    let mut bytes = Vec::new();
    (0..COUNT).for_each(|number| Client::encode(&mut bytes, ["GET", &key(number)]));
    // What the client library of many a language does with a pipeline.
    client.stream().write_all(&bytes).expect("the node takes all of it");
    for _ in 0..COUNT {
        assert_eq!(client.read().expect("a reply"), Reply::bulk(&value));
    }
    assert_eq!(client.ask("PING").text(), "PONG");
}

/// The same where the client has read some of its replies, so that the node has few to send and yet too many to go on: whatever the
/// number, it takes the rest of the requests.
#[test]
fn requests_are_taken_whatever_part_of_its_replies_a_client_has_read() {
    const COUNT: usize = 20_000;
    let alone = node();
    let value = "v".repeat(1000);
    let key = |number: usize| format!("{}:{}", "key".repeat(100), number % 10);
    for number in 0..10 {
        assert_eq!(alone.node.client().call(["SET", &key(number), &value]), Reply::ok());
    }
    let mut bytes = Vec::new();
    (0..COUNT).for_each(|number| Client::encode(&mut bytes, ["GET", &key(number)]));
    for part in 0..12 {
        let mut client = alone.node.client();
        client.stream().write_all(&bytes).expect("the node takes all of it");
        for _ in 0..part * 100 {
            assert_eq!(client.read().expect("a reply"), Reply::bulk(&value));
        }
        client.stream().write_all(&bytes).expect("the node takes the rest");
        for _ in part * 100..2 * COUNT {
            assert_eq!(client.read().expect("a reply"), Reply::bulk(&value));
        }
    }
}

#[test]
fn an_mget_of_more_than_the_memory_arrives_while_its_client_reads() {
    const KEYS: usize = 300;
    let alone = node();
    let node = &alone.node;
    let idle = node.resident_bytes();
    let mut client = node.client();
    let value = |number: usize| -> Vec<u8> { [format!("{number:08}").as_bytes(), &[b'v'; MIB - 8]].concat() };
    for number in 0..KEYS {
        let reply = client.call_patiently([b"SET".as_slice(), format!("key:{number}").as_bytes(), &value(number)]);
        assert_eq!(reply, Reply::ok());
    }
    let mut words = vec!["MGET".to_owned()];
    words.extend((0..KEYS).map(|number| format!("key:{number}")));
    words.insert(1 + KEYS / 2, "absent".to_owned());
    let mut bytes = Vec::new();
    Client::encode(&mut bytes, &words);
    // Twice, and something behind it.
    client.send([bytes.clone(), bytes, b"ECHO end\r\n".to_vec()].concat()).expect("the node reads");
    for _ in 0..2 {
        let header = format!("*{}\r\n", KEYS + 1);
        assert_eq!(client.read_bytes(header.len()), header.as_bytes());
        for number in 0..KEYS {
            if number == KEYS / 2 {
                assert_eq!(client.read_bytes(5), b"$-1\r\n");
            }
            read_value(&mut client, &value(number));
        }
    }
    assert_eq!(client.read().expect("a reply"), Reply::bulk("end"));
    assert_within_memory(node, idle);
}

#[test]
fn an_mget_that_names_one_large_key_again_and_again_is_read_as_its_client_takes_it() {
    const TIMES: usize = 400;
    let alone = node();
    let node = &alone.node;
    let idle = node.resident_bytes();
    // One of them is on the core that has no such key.
    let (mut first, mut second) = (node.client(), node.client());
    let value = vec![b'v'; MIB];
    assert_eq!(first.call([b"SET".as_slice(), b"key", &value]), Reply::ok());
    for client in [&mut first, &mut second] {
        let mut bytes = Vec::new();
        Client::encode(&mut bytes, std::iter::once("MGET").chain(std::iter::repeat_n("key", TIMES)));
        client.send(&bytes).expect("the node reads");
        assert_eq!(client.read_bytes(6), format!("*{TIMES}\r\n").as_bytes());
        (0..TIMES).for_each(|_| read_value(client, &value));
        assert_eq!(client.ask("PING").text(), "PONG");
    }
    // Who names it a million times and does not read has what fits.
    let mut bytes = Vec::new();
    Client::encode(&mut bytes, std::iter::once("MGET").chain(std::iter::repeat_n("key", 1_000_000)));
    first.send(&bytes).expect("the node reads");
    assert_eq!(first.read_bytes(10), b"*1000000\r\n");
    read_value(&mut first, &value);
    assert_eq!(second.ask("PING").text(), "PONG");
    assert_within_memory(node, idle);
}

#[test]
fn a_reply_that_cannot_come_in_pieces_is_refused_when_it_is_larger_than_the_memory_for_it() {
    let alone = node();
    let node = &alone.node;
    let idle = node.resident_bytes();
    let mut client = node.client();
    let value = vec![b'v'; MIB];
    for key in ["list", "hash", "popped"] {
        for number in 0..100 {
            let field = number.to_string();
            let reply = match key {
                "hash" => client.call_patiently([b"HSET".as_slice(), b"hash", field.as_bytes(), &value]),
                list => client.call_patiently([b"RPUSH".as_slice(), list.as_bytes(), &value]),
            };
            assert!(matches!(reply, Reply::Integer(_)), "{reply:?}");
        }
    }
    for line in ["LRANGE list 0 -1", "HGETALL hash", "HVALS hash", "LPOP popped 100"] {
        let reply = client.ask(line);
        let text = format!("{reply:?}");
        let is_refused = text.contains("larger than 64 MB") || text.contains("needs too much from disk");
        assert!(reply.is_error("ERR ") && is_refused, "{line}: {text}");
    }
    // A write is executed, and its error says so.
    assert_eq!(client.ask("EXISTS list hash popped"), Reply::Integer(2));
    assert_eq!(client.ask("LRANGE list 0 9").elements().len(), 10);
    let fields = std::iter::repeat_n("7", 2000);
    let reply = client.call(["HMGET", "hash"].into_iter().chain(fields));
    assert!(reply.is_error("ERR "), "{reply:?}");
    assert_within_memory(node, idle);
}

#[test]
fn large_keys_that_many_clients_copy_to_another_shard_at_once_are_moved_one_after_the_other() {
    const CLIENTS: usize = 24;
    let alone = node();
    let node = &alone.node;
    let idle = node.resident_bytes();
    let mut client = node.client();
    let value = vec![b'v'; 16 * MIB];
    assert_eq!(client.call([b"SET".as_slice(), b"key", &value]), Reply::ok());
    assert!(!is_in_first_shard("key"));
    let names: Vec<String> =
        (0..).map(|number| format!("copy:{number}")).filter(|name| is_in_first_shard(name)).take(CLIENTS).collect();
    let mut clients: Vec<Client> = (0..CLIENTS).map(|_| node.client()).collect();
    for (name, client) in names.iter().zip(&mut clients) {
        client.send(format!("COPY key {name}\r\nSTRLEN {name}\r\n")).expect("the node reads");
    }
    for client in &mut clients {
        let copied = client.read().expect("a reply");
        assert!(copied == Reply::Integer(1) || copied.is_error("BUSY "), "{copied:?}");
        let length = client.read().expect("a reply").integer();
        assert_eq!(length, if copied == Reply::Integer(1) { value.len() as i64 } else { 0 });
    }
    // One that is moved is in many hands: read, sent, in its entry, in the log, among the rows; on each core there may be one.
    assert_within(node, idle, 2 * MEMORY);
}

#[test]
fn as_many_arguments_as_redis_takes_are_taken() {
    const KEYS: usize = 1_048_600;
    let alone = node();
    let mut client = alone.node.client();
    let keys: Vec<String> = (0..KEYS).map(|number| format!("key:{number}")).collect();
    for place in [0, KEYS / 2, KEYS - 1] {
        assert_eq!(client.call(["SET", &keys[place], "1"]), Reply::ok());
    }
    let words = |name: &'static str| std::iter::once(name).chain(keys.iter().map(String::as_str));
    assert_eq!(client.call(words("EXISTS")), Reply::Integer(3));
    assert_eq!(client.call(words("DEL")), Reply::Integer(3));
    assert_eq!(client.ask("DBSIZE"), Reply::Integer(0));
}

#[test]
fn a_stop_ends_well_with_large_replies_outstanding() {
    in_some_attempt("a stop has time enough", || {
        let mut alone = node();
        let value = vec![b'v'; 16 * MIB];
        let mut client = alone.node.client();
        assert_eq!(client.call([b"SET".as_slice(), b"key", &value]), Reply::ok());
        let mut silent: Vec<Client> = (0..5).map(|_| alone.node.client()).collect();
        for client in &mut silent {
            client.send("GETEX key\r\nGET key\r\nMGET key key\r\n".repeat(150)).expect("the node reads");
        }
        let mut byte = [0];
        silent[0].stream().read_exact(&mut byte).expect("the node answers");

        let (status, took) = alone.node.stop();

        alone.node.stopped_in_time(status)?;
        assert!(took < Duration::from_secs(20), "after {took:?}");
        Ok::<(), Vec<String>>(())
    });
}

#[test]
fn a_client_that_does_not_read_is_told_why_it_is_cut_off() {
    const COUNT: usize = 20_000;
    let alone = node();
    let (mut client, mut other) = (alone.node.client(), alone.node.client());
    let value = "v".repeat(1000);
    assert_eq!(other.call(["SET", "key", &value]), Reply::ok());
    // What the sockets take is more than a second's worth of nothing.
    let limit = "normal 0 262144 1";
    assert_eq!(other.call(["CONFIG", "SET", "client-output-buffer-limit", limit]), Reply::ok());
    client.send("GET key\r\n".repeat(COUNT)).expect("the node reads");
    eventually("it is closed", DEADLINE, || {
        match info(&mut other, "stats", "client_output_buffer_limit_disconnections") {
            0 => Err("it is still there"),
            _ => Ok(()),
        }
    });
    let mut replies = 0;
    let last = loop {
        match client.read().expect("whole replies and the reason come before the end") {
            reply if reply == Reply::bulk(&value) => replies += 1,
            other => break other,
        }
    };
    assert!(last.is_error("ERR the connection is closed: more was left unread"), "{last:?}");
    assert!(replies > 0 && replies < COUNT, "{replies} replies");
}
