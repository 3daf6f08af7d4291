//! Publish and subscribe: as in Redis, over all cores of a node, and bounded.

use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::thread;

use basalt_tests::{Client, DEADLINE, RedisServer, Reply, eventually};

use crate::alone::Alone;

/// The client that a step of the script sends from.
const SUBSCRIBER: usize = 0;
const PUBLISHER: usize = 1;

/// A line, who sends it, and how many replies and messages subscriber and publisher get then.
type Step = (usize, &'static str, [usize; 2]);

const SCRIPT: &[Step] = &[
    (PUBLISHER, "PUBLISH a nobody", [0, 1]),
    (SUBSCRIBER, "SUBSCRIBE a b", [2, 0]),
    (SUBSCRIBER, "SUBSCRIBE a", [1, 0]),
    (SUBSCRIBER, "PSUBSCRIBE n*", [1, 0]),
    (SUBSCRIBER, "PSUBSCRIBE n* [xy]z", [2, 0]),
    (SUBSCRIBER, "SSUBSCRIBE shard a", [2, 0]),
    (PUBLISHER, "PUBLISH a hello", [1, 1]),
    (PUBLISHER, "PUBLISH news hello", [1, 1]),
    (PUBLISHER, "PUBLISH yz \"\"", [1, 1]),
    (PUBLISHER, "PUBLISH zz nobody", [0, 1]),
    (PUBLISHER, "SPUBLISH shard hello", [1, 1]),
    (PUBLISHER, "SPUBLISH a hello", [1, 1]),
    (PUBLISHER, "SPUBLISH news nobody", [0, 1]),
    (PUBLISHER, "PUBSUB CHANNELS b*", [0, 1]),
    (PUBLISHER, "PUBSUB CHANNELS c*", [0, 1]),
    (PUBLISHER, "PUBSUB CHANNELS b c", [0, 1]),
    (PUBLISHER, "PUBSUB NUMSUB", [0, 1]),
    (PUBLISHER, "PUBSUB NUMSUB b a news b", [0, 1]),
    (PUBLISHER, "PUBSUB NUMPAT", [0, 1]),
    (PUBLISHER, "PUBSUB NUMPAT x", [0, 1]),
    (PUBLISHER, "PUBSUB SHARDCHANNELS s*", [0, 1]),
    (PUBLISHER, "PUBSUB SHARDNUMSUB shard b", [0, 1]),
    (PUBLISHER, "PUBSUB HELP", [0, 1]),
    (PUBLISHER, "PUBSUB NOSUCH", [0, 1]),
    (PUBLISHER, "PUBLISH a", [0, 1]),
    (SUBSCRIBER, "SUBSCRIBE", [1, 0]),
    (SUBSCRIBER, "PING", [1, 0]),
    (SUBSCRIBER, "PING hello", [1, 0]),
    (SUBSCRIBER, "UNSUBSCRIBE b nosuch", [2, 0]),
    (PUBLISHER, "PUBLISH b nobody", [0, 1]),
    (SUBSCRIBER, "UNSUBSCRIBE", [1, 0]),
    (SUBSCRIBER, "UNSUBSCRIBE", [1, 0]),
    (SUBSCRIBER, "PUNSUBSCRIBE [xy]z nosuch", [2, 0]),
    (SUBSCRIBER, "PUNSUBSCRIBE", [1, 0]),
    (SUBSCRIBER, "PUNSUBSCRIBE", [1, 0]),
    (SUBSCRIBER, "SUNSUBSCRIBE a", [1, 0]),
    (SUBSCRIBER, "SUNSUBSCRIBE", [1, 0]),
    (SUBSCRIBER, "SUNSUBSCRIBE", [1, 0]),
    (SUBSCRIBER, "GET nosuch", [1, 0]),
    (SUBSCRIBER, "SUBSCRIBE again", [1, 0]),
    (SUBSCRIBER, "RESET", [1, 0]),
    (PUBLISHER, "PUBSUB NUMSUB again", [0, 1]),
    (SUBSCRIBER, "GET nosuch", [1, 0]),
];

/// Clients that have subscribed by the old protocol may do little else.
const BOUND: &[Step] = &[
    (SUBSCRIBER, "SUBSCRIBE a", [1, 0]),
    (SUBSCRIBER, "GET nosuch", [1, 0]),
    (SUBSCRIBER, "CLIENT ID", [1, 0]),
    (SUBSCRIBER, "PUBLISH a x", [1, 0]),
    (SUBSCRIBER, "HELLO 3", [1, 0]),
    (SUBSCRIBER, "NOSUCH", [1, 0]),
    (SUBSCRIBER, "GET", [1, 0]),
    (SUBSCRIBER, "UNSUBSCRIBE a", [1, 0]),
    (SUBSCRIBER, "GET nosuch", [1, 0]),
];

fn play(address: SocketAddr, protocol: u8, script: &[Step]) -> Vec<(String, Vec<String>)> {
    let mut clients = [(); 2].map(|()| Client::connect(address).expect("the server accepts"));
    clients.iter_mut().for_each(|client| drop(client.ask(&format!("HELLO {protocol}"))));
    let mut seen = Vec::new();
    for (who, line, counts) in script {
        let mut request = Vec::new();
        Client::encode(&mut request, line.split(' ').map(|word| if word == "\"\"" { "" } else { word }));
        clients[*who].send(request).expect("the server reads");
        let mut got = Vec::new();
        for (client, count) in clients.iter_mut().zip(counts) {
            got.extend((0..*count).map(|_| format!("{:?}", client.read().expect("a reply"))));
        }
        seen.push(((*line).to_owned(), got));
    }
    seen
}

#[test]
fn subscribers_and_publishers_see_what_they_see_in_redis() {
    let redis = RedisServer::start();
    for cores in ["1", "3"] {
        let alone = Alone::new(|options| options.set("--cores", cores).set("--pin", "no"));
        for (protocol, script) in [(2, SCRIPT), (3, SCRIPT), (2, BOUND)] {
            let expected = play(redis.address(), protocol, script);
            let seen = play(alone.node.address(), protocol, script);
            for (expected, seen) in expected.iter().zip(&seen) {
                assert_eq!(seen, expected, "{cores} cores, protocol {protocol}");
            }
        }
    }
}

/// The words of a message.
fn words(message: &Reply) -> Vec<String> {
    message.elements().iter().map(Reply::text).collect()
}

#[test]
fn a_message_reaches_the_subscribers_of_all_cores_once_and_in_its_publishers_order() {
    const DIRECT: usize = 12;
    const BY_PATTERN: usize = 6;
    const PUBLISHERS: usize = 4;
    const MESSAGES: usize = 300;
    let alone = Alone::new(|options| options.set("--cores", "4").set("--pin", "no"));
    let address = alone.node.address();
    let connect = || Client::connect(address).expect("the node accepts");
    let mut subscribers: Vec<Client> = (0..DIRECT + BY_PATTERN).map(|_| connect()).collect();
    for (number, subscriber) in subscribers.iter_mut().enumerate() {
        let line = if number < DIRECT { "SUBSCRIBE news" } else { "PSUBSCRIBE n*s" };
        assert_eq!(subscriber.ask(line).elements()[2].integer(), 1);
    }
    let publish = move |publisher: usize| {
        let mut client = Client::connect(address).expect("the node accepts");
        let messages = (0..MESSAGES).map(|number| ["PUBLISH".into(), "news".into(), format!("{publisher}:{number}")]);
        let replies = client.pipeline(messages);
        assert!(replies.iter().all(|reply| reply.integer() == (DIRECT + BY_PATTERN) as i64), "{replies:?}");
    };
    let publishers: Vec<_> = (0..PUBLISHERS).map(|publisher| thread::spawn(move || publish(publisher))).collect();
    for subscriber in &mut subscribers {
        let mut next: BTreeMap<String, usize> = BTreeMap::new();
        for _ in 0..PUBLISHERS * MESSAGES {
            let message = subscriber.read().expect("a message");
            let text = words(&message).pop().expect("a message has words");
            let (publisher, number) = text.split_once(':').expect("two numbers");
            let expected = next.entry(publisher.to_owned()).or_default();
            assert_eq!(number, expected.to_string(), "of publisher {publisher}");
            *expected += 1;
        }
    }
    publishers.into_iter().for_each(|publisher| publisher.join().expect("it was told the right number"));

    // Those that go away are forgotten, by all cores.
    subscribers.truncate(DIRECT / 2);
    for _ in 0..4 {
        let mut client = connect();
        eventually("half of them are gone", DEADLINE, || {
            let reply = client.ask("PUBSUB NUMSUB news");
            let left = (reply.elements()[1].integer(), client.ask("PUBSUB NUMPAT").integer());
            if left == (DIRECT as i64 / 2, 0) { Ok(()) } else { Err(left) }
        });
        eventually("INFO tells so", DEADLINE, || {
            let info = client.ask("INFO stats").text();
            let is_so = info.contains("pubsub_channels:1\r\n") && info.contains("pubsub_patterns:0\r\n");
            if is_so { Ok(()) } else { Err(info) }
        });
    }
}

#[test]
fn who_was_told_that_it_has_subscribed_misses_nothing() {
    let alone = Alone::new(|options| options.set("--cores", "4").set("--pin", "no"));
    let connect = || Client::connect(alone.node.address()).expect("the node accepts");
    let mut clients: Vec<Client> = (0..8).map(|_| connect()).collect();
    for round in 0..200 {
        let (subscriber, publisher) = (round % 8, (round / 8 + round + 1) % 8);
        if subscriber == publisher {
            continue;
        }
        clients[subscriber].ask(&format!("SUBSCRIBE channel:{round}"));
        assert_eq!(clients[publisher].ask(&format!("PUBLISH channel:{round} {round}")).integer(), 1, "round {round}");
        let message = clients[subscriber].read().expect("the message");
        assert_eq!(words(&message), ["message", &format!("channel:{round}"), &round.to_string()]);
        clients[subscriber].ask(&format!("UNSUBSCRIBE channel:{round}"));
    }
}

#[test]
fn who_hears_of_a_write_finds_it() {
    let alone = Alone::new(|options| options.set("--cores", "2").set("--shards", "2"));
    let connect = || Client::connect(alone.node.address()).expect("the node accepts");
    let (mut subscriber, mut reader, mut writer) = (connect(), connect(), connect());
    subscriber.ask("SUBSCRIBE written");
    for number in 0..200 {
        let key = format!("key:{number}");
        let commands = [vec!["SET", &key, "value"], vec!["PUBLISH", "written", &key]];
        let mut request = Vec::new();
        commands.iter().for_each(|command| Client::encode(&mut request, command));
        writer.send(request).expect("the node reads");
        let message = subscriber.read().expect("the message");
        assert_eq!(reader.call(["GET", &words(&message)[2]]).text(), "value", "{message:?}");
        assert_eq!((writer.read().expect("a reply"), writer.read().expect("a reply").integer()), (Reply::ok(), 1));
    }
}

#[test]
fn with_the_new_protocol_a_subscriber_goes_on_with_other_things_and_may_hear_itself() {
    let alone = Alone::new(|options| options);
    let mut client = Client::connect(alone.node.address()).expect("the node accepts");
    client.ask("HELLO 3");
    client.ask("SUBSCRIBE own");
    assert_eq!(client.ask("SET key value"), Reply::ok());
    client.send("PUBLISH own hello\r\nGET key\r\n").expect("the node reads");
    let mut got: Vec<String> = (0..3).map(|_| format!("{:?}", client.read().expect("a reply"))).collect();
    let message = got.iter().position(|reply| reply.contains("message")).expect("the message is among them");
    assert!(got.remove(message).contains("hello"));
    assert!(got[0].contains('1') && got[1].contains("value"), "{got:?}");
}

#[test]
fn a_subscriber_that_does_not_read_is_cut_off_and_holds_up_nobody() {
    const MESSAGES: usize = 400;
    let alone = Alone::new(|options| {
        options.set("--cores", "2").set("--client-output-buffer-limit", "normal 256mb 64mb 60 pubsub 1mb 0 0")
    });
    let connect = || Client::connect(alone.node.address()).expect("the node accepts");
    let (mut deaf, mut listener, mut publisher) = (connect(), connect(), connect());
    for subscriber in [&mut deaf, &mut listener] {
        subscriber.ask("SUBSCRIBE news");
    }
    let text = "x".repeat(100_000);
    for _ in 0..MESSAGES {
        let reached = publisher.call(["PUBLISH", "news", &text]).integer();
        assert!((1..=2).contains(&reached), "{reached} subscribers");
        assert_eq!(words(&listener.read().expect("a message"))[2], text);
    }
    eventually("the one is gone", DEADLINE, || match publisher.ask("PUBSUB NUMSUB news").elements()[1].integer() {
        1 => Ok(()),
        count => Err(count),
    });
    assert!(deaf.read_to_end().len() < MESSAGES * text.len() / 2, "it was sent the first ones at most");
}

#[test]
fn who_publishes_without_end_holds_up_neither_its_subscribers_nor_others() {
    const SUBSCRIBERS: usize = 60;
    const MESSAGES: usize = 3_000;
    let alone = Alone::new(|options| options.set("--cores", "2").set("--pin", "no"));
    let address = alone.node.address();
    let connect = || Client::connect(address).expect("the node accepts");
    let subscribers: Vec<Client> = (0..SUBSCRIBERS)
        .map(|_| {
            let mut client = connect();
            client.ask("SUBSCRIBE flood");
            client
        })
        .collect();
    let listening: Vec<_> = subscribers
        .into_iter()
        .map(|mut client| {
            thread::spawn(move || {
                for number in 0..MESSAGES {
                    let message = client.read().expect("a message");
                    assert_eq!(words(&message)[2], number.to_string());
                }
            })
        })
        .collect();
    let publishing = thread::spawn(move || {
        let mut publisher = Client::connect(address).expect("the node accepts");
        let messages = (0..MESSAGES).map(|number| ["PUBLISH".to_owned(), "flood".into(), number.to_string()]);
        let replies = publisher.pipeline(messages);
        assert!(replies.iter().all(|reply| reply.integer() == SUBSCRIBERS as i64));
    });
    let mut others: Vec<Client> = (0..4).map(|_| connect()).collect();
    let mut rounds = 0;
    while !publishing.is_finished() {
        for (number, other) in others.iter_mut().enumerate() {
            assert_eq!(other.ask(&format!("SET key:{number} {rounds}")), Reply::ok());
            assert_eq!(other.ask(&format!("GET key:{number}")).text(), rounds.to_string());
        }
        rounds += 1;
    }
    publishing.join().expect("it was told how many there are");
    listening.into_iter().for_each(|listener| listener.join().expect("it has got everything in order"));
}

#[test]
fn limits_of_one_class_leave_those_of_the_other() {
    let alone = Alone::new(|options| options);
    let mut client = Client::connect(alone.node.address()).expect("the node accepts");
    let mut limits = |value: &str| {
        assert_eq!(client.call(["CONFIG", "SET", "client-output-buffer-limit", value]), Reply::ok(), "{value}");
        client.ask("CONFIG GET client-output-buffer-limit").elements()[1].text()
    };
    assert_eq!(
        limits("normal 0 0 0 slave 268435456 67108864 60 pubsub 33554432 8388608 60"),
        "normal 0 0 0 pubsub 33554432 8388608 60"
    );
    assert_eq!(limits("pubsub 1mb 1kb 5"), "normal 0 0 0 pubsub 1048576 1024 5");
    assert_eq!(limits("2mb 1mb 6"), "normal 2097152 1048576 6 pubsub 1048576 1024 5");
}

#[test]
fn a_subscriber_that_is_idle_is_not_closed_for_it() {
    let alone = Alone::new(|options| options.set("--timeout", "5"));
    let connect = || Client::connect(alone.node.address()).expect("the node accepts");
    let (mut subscriber, mut idle) = (connect(), connect());
    subscriber.ask("SUBSCRIBE news");
    idle.ask("PING");
    // It has been idle for no longer than the subscriber.
    assert!(idle.is_closed_within(DEADLINE));
    assert_eq!(connect().ask("PUBLISH news hello").integer(), 1);
    assert_eq!(words(&subscriber.read().expect("the message"))[2], "hello");
}
