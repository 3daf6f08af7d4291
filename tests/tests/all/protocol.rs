//! Bytes on the socket: the same as with redis-server, however they are cut.

use std::io::Write as _;
use std::net::SocketAddr;
use std::thread;
use std::time::Duration;

use basalt_tests::{Client, RedisServer, Reply};
use rand::rngs::SmallRng;
use rand::{RngExt as _, SeedableRng as _};

use crate::alone::Alone;

/// Sends `bytes`, says that nothing follows, and reads until the server closes.
fn converse(address: SocketAddr, bytes: &[u8]) -> Vec<u8> {
    let mut client = Client::connect(address).expect("the server is there");
    // A server that has closed already answers the rest with a reset.
    if client.send(bytes).is_ok() {
        client.finish();
    }
    client.read_to_end()
}

/// Conversations that a client and a server may have, well-formed and not.
const CONVERSATIONS: &[&[u8]] = &[
    // Inline commands, their quotes and their ends of line.
    b"PING\r\n",
    b"PING\nPING hello\r\n",
    b"\r\n\r\n\n  \r\nPING\r\n",
    b"  ECHO   \"a b\\x41\\n\"  \r\n",
    b"ECHO 'it\\'s \\x41'\r\n",
    b"SET inline \"\"\r\nGET inline\r\n",
    b"ECHO \"unbalanced\r\nPING\r\n",
    b"ECHO 'a'b\r\nPING\r\n",
    b"get\r\nGET a b\r\n",
    b"nosuchcommand a b\r\nPING\r\n",
    b"NOSUCHCOMMAND aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa b c\r\n",
    b"\"no such\\ncommand\" \"\\x00\\xff\"\r\n",
    // Arrays of bulk strings.
    b"*1\r\n$4\r\nPING\r\n",
    b"*2\r\n$4\r\nECHO\r\n$0\r\n\r\n",
    b"*2\r\n$4\r\nECHO\r\n$7\r\n\x00\r\n\xff\n\r\x01\r\n",
    b"*0\r\n*-1\r\n*-7\r\n*1\r\n$4\r\nPING\r\n",
    b"*3\r\n$3\r\nSET\r\n$3\r\nkey\r\n$5\r\nvalue\r\n*2\r\n$3\r\nGET\r\n$3\r\nkey\r\nPING\r\n",
    b"*1\r\n$0\r\n\r\n*1\r\n$4\r\nPING\r\n",
    // What is wrong in them.
    b"*1\r\n:1\r\n",
    b"*1\r\nPING\r\n",
    b"*x\r\n",
    b"*\r\n",
    b"*2147483648\r\n",
    b"*1\r\n$x\r\n",
    b"*1\r\n$-1\r\n",
    b"*1\r\n$536870913\r\n",
    b"*1\r\n$99999999999999999999\r\n",
    b"*1\r\n$4\r\nPING\r\n*1\r\n$a\r\n*1\r\n$4\r\nPING\r\n",
    b"*1\r\n$4 \r\nPING\r\n",
    b"*+1\r\n$4\r\nPING\r\n",
    // An end in the middle of a command.
    b"*2\r\n$4\r\nECHO\r\n$3\r\na",
    b"PING\r\nPIN",
    b"*",
    b"",
    // Both protocols, and errors in each.
    b"HELLO 4\r\nHELLO x\r\nHELLO 3 SETNAME\r\nPING\r\n",
    b"HELLO 3 AUTH a\r\nPING\r\n",
    b"SET k v\r\nGET nothing\r\nLPOP nothing\r\nHGETALL nothing\r\nCLIENT GETNAME\r\n",
    b"LPUSH wrong a\r\nGET wrong\r\nINCR wrong\r\nSET wrong 1 EX 0\r\nSET wrong 1 EX x\r\nSET wrong 1 NX XX\r\n",
    b"CLIENT REPLY OFF\r\nPING\r\nCLIENT REPLY ON\r\nPING\r\nCLIENT REPLY SKIP\r\nPING\r\nPING again\r\n",
    b"SELECT 16\r\nSELECT -1\r\nSELECT x\r\nSELECT 15\r\nSET there 1\r\nSELECT 0\r\nGET there\r\n",
    b"QUIT\r\nPING\r\n",
    b"PING\r\nquit now\r\nPING\r\n",
    b"CLIENT SETNAME me\r\nSELECT 3\r\nRESET\r\nCLIENT GETNAME\r\nPING\r\n",
];

/// Conversations after a `HELLO`, whose own reply says who the server is, once in each protocol.
const GREETED_CONVERSATIONS: &[&[u8]] = &[
    b"GET nothing\r\nLPOP nothing\r\nLPOP nothing 3\r\nMGET a b\r\n",
    b"HSET hash f v\r\nHGETALL hash\r\nHGETALL nothing\r\n",
    b"SADD set member\r\nSMEMBERS set\r\nSISMEMBER set member\r\n",
    b"ZADD sorted 1.5 a -inf b inf c 3 d\r\nZSCORE sorted a\r\nZRANGE sorted 0 -1 WITHSCORES\r\nZSCORE sorted b\r\nZPOPMIN sorted\r\n",
    b"XADD stream 1-1 f v\r\nXRANGE stream - +\r\nINCRBYFLOAT float 1.5\r\nCLIENT GETNAME\r\n",
    b"*1\r\n$x\r\n",
];

#[test]
fn conversations_are_those_of_redis() {
    let redis = RedisServer::start();
    let alone = Alone::new(|options| options.set("--shards", "2"));
    let hellos: [&[u8]; 3] = [b"HELLO 3\r\n", b"HELLO 2 SETNAME me\r\n", b"HELLO 3 SETNAME me\r\nHELLO 2\r\n"];
    let greeted: Vec<Vec<u8>> =
        hellos.iter().flat_map(|hello| GREETED_CONVERSATIONS.iter().map(|bytes| [hello, *bytes].concat())).collect();
    let mut differences = Vec::new();
    for (index, bytes) in CONVERSATIONS.iter().copied().chain(greeted.iter().map(Vec::as_slice)).enumerate() {
        let answers = [redis.address(), alone.node.address()].map(|address| {
            let answer = converse(address, bytes);
            let hello_count = if index < CONVERSATIONS.len() { 0 } else { count_hellos(bytes) };
            skip_hellos(&answer, hello_count).to_vec()
        });
        if answers[0] != answers[1] {
            let [theirs, ours] = answers.map(|answer| answer.escape_ascii().to_string());
            differences.push(format!("{}\n  redis:  {theirs}\n  basalt: {ours}", bytes.escape_ascii()));
        }
    }
    assert!(differences.is_empty(), "\n{}", differences.join("\n"));
}

fn count_hellos(bytes: &[u8]) -> usize {
    bytes.windows(5).filter(|word| word == b"HELLO").count()
}

fn skip_hellos(mut answer: &[u8], count: usize) -> &[u8] {
    for _ in 0..count {
        let reply = Reply::read(&mut answer).expect("HELLO is answered");
        assert_eq!(reply.elements().len(), 14, "{reply:?}");
    }
    answer
}

#[test]
fn bytes_may_be_cut_anywhere() {
    let alone = Alone::new(|options| options.set("--shards", "2"));
    let mut bytes = b"PING\r\nECHO \"a b\"\r\n".to_vec();
    Client::encode(&mut bytes, ["SET", "key", "a value\r\n$3\r\n"]);
    Client::encode(&mut bytes, ["MGET", "key", "other"]);
    Client::encode(&mut bytes, ["ECHO", ""]);
    let expected = converse(alone.node.address(), &bytes);
    assert!(expected.ends_with(b"$-1\r\n$0\r\n\r\n"), "{}", expected.escape_ascii());

    for cut in 1..bytes.len() {
        let mut client = alone.node.client();
        client.send(&bytes[..cut]).expect("the node reads");
        // What is complete is answered before the rest comes: so the node has read up to the cut.
        let first = if cut >= 6 { client.read_bytes(7) } else { Vec::new() };
        client.send(&bytes[cut..]).expect("the node reads");
        client.finish();
        let answer = [first, client.read_to_end()].concat();
        assert_eq!(answer, expected, "cut at {cut}: {}", answer.escape_ascii());
    }
}

#[test]
fn each_byte_may_come_alone() {
    let alone = Alone::new(|options| options);
    let mut client = alone.node.client();
    let mut bytes = Vec::new();
    Client::encode(&mut bytes, ["SET", "key", "value"]);
    Client::encode(&mut bytes, ["GET", "key"]);
    for byte in bytes {
        client.send([byte]).expect("the node reads");
    }
    assert_eq!([client.read().expect("a reply"), client.read().expect("a reply")], [Reply::ok(), Reply::bulk("value")]);
}

#[test]
fn values_up_to_the_limit_are_taken_and_larger_ones_refused() {
    let alone = Alone::new(|options| options.set("--memory", "1gb"));
    let mut client = alone.node.client();
    let limit = 64 << 20;
    let mut value = vec![0; limit];
    SmallRng::seed_from_u64(1).fill(&mut value[..]);

    assert_eq!(client.call([b"SET".as_slice(), b"large", &value]), Reply::ok());
    assert!(client.call([b"GET".as_slice(), b"large"]) == Reply::Bulk(value), "the value comes back as it was");

    let header = format!("*3\r\n$3\r\nSET\r\n$5\r\nlarge\r\n${}\r\n", limit + 1);
    assert_eq!(converse(alone.node.address(), header.as_bytes()), b"-ERR Protocol error: invalid bulk length\r\n");
    assert_eq!(client.ask("STRLEN large"), Reply::Integer(limit as i64));
    assert_eq!(client.ask("CONFIG SET proto-max-bulk-len 1mb"), Reply::ok());
    let header = "*2\r\n$4\r\nECHO\r\n$1048577\r\n";
    assert_eq!(converse(alone.node.address(), header.as_bytes()), b"-ERR Protocol error: invalid bulk length\r\n");
}

#[test]
fn a_hundred_thousand_commands_may_come_at_once() {
    const COUNT: usize = 100_000;
    let alone = Alone::new(|options| options.set("--shards", "2"));
    let mut bytes = Vec::new();
    for number in 0..COUNT {
        let key = format!("key:{}", number % 1000);
        match number % 3 {
            0 => Client::encode(&mut bytes, ["INCR", "counter"]),
            1 => Client::encode(&mut bytes, ["SET", &key, &number.to_string()]),
            _ => Client::encode(&mut bytes, ["ECHO", &number.to_string()]),
        }
    }
    let mut client = alone.node.client();
    let mut sender = client.stream().try_clone().expect("a second handle");
    thread::scope(|scope| {
        scope.spawn(move || sender.write_all(&bytes).expect("the node reads"));
        for number in 0..COUNT {
            let expected = match number % 3 {
                0 => Reply::Integer(number as i64 / 3 + 1),
                1 => Reply::ok(),
                _ => Reply::bulk(number.to_string()),
            };
            assert_eq!(client.read().expect("a reply"), expected, "command {number}");
        }
    });
}

#[test]
fn a_client_that_has_finished_sending_still_gets_every_reply() {
    let alone = Alone::new(|options| options.set("--shards", "2"));
    let mut client = alone.node.client();
    let mut bytes = Vec::new();
    (0..5_000).for_each(|number| Client::encode(&mut bytes, ["APPEND", &format!("key:{}", number % 7), "x"]));
    client.send(&bytes).expect("the node reads");
    client.finish();
    for number in 0..5_000 {
        assert_eq!(client.read().expect("a reply"), Reply::Integer(number / 7 + 1));
    }
    assert!(client.is_closed_within(Duration::from_secs(10)), "nothing is left to say");
}

#[test]
fn a_killed_client_is_closed_and_the_others_are_not() {
    let alone = Alone::new(|options| options);
    // Of two clients, one is on another core than the killer.
    let (mut killer, mut first, mut second) = (alone.node.client(), alone.node.client(), alone.node.client());
    for victim in [&mut first, &mut second] {
        let id = victim.ask("CLIENT ID").integer();
        assert_eq!(killer.ask(&format!("CLIENT KILL ID {id}")), Reply::Integer(1));
        assert!(victim.is_closed_within(Duration::from_secs(10)));
        assert_eq!(killer.ask(&format!("CLIENT KILL ID {id}")), Reply::Integer(0));
    }
    assert_eq!(killer.ask("CLIENT KILL 1.2.3.4:5"), Reply::Error("ERR No such client".into()));
    let list = killer.ask("CLIENT LIST").text();
    assert_eq!(list.lines().count(), 1, "{list}");
    let own = killer.ask("CLIENT ID").integer();
    assert_eq!(killer.ask(&format!("CLIENT KILL ID {own} SKIPME no")), Reply::Integer(1));
    assert!(killer.is_closed_within(Duration::from_secs(10)), "the reply comes first");
}

#[test]
fn random_bytes_end_a_connection_and_nothing_else() {
    let alone = Alone::new(|options| options);
    let mut random = SmallRng::seed_from_u64(7);
    let mut other = alone.node.client();
    for _ in 0..200 {
        let mut bytes: Vec<u8> = (0..random.random_range(1..400)).map(|_| random.random()).collect();
        let starts: [&[u8]; 5] = [b"*", b"*3\r\n$3\r\nSET\r\n", b"*1\r\n$", b"", b"*2\r\n$4\r\nECHO\r\n$10\r\n"];
        let start = starts[random.random_range(0..starts.len())];
        bytes.splice(0..0, start.iter().copied());
        converse(alone.node.address(), &bytes);
        assert_eq!(other.ask("PING").text(), "PONG");
    }
}
