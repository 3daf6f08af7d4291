//! Fields of hashes that live for a time. Redis has them since 7.4, and the one that others are compared with is older: the replies
//! here are those that its documentation states.

use std::collections::BTreeSet;
use std::time::Duration;

use basalt_tests::{Client, DEADLINE, NodeOptions, Reply, eventually};

use crate::alone::Alone;
use crate::key_events::Subscriber;

/// Fields of a hash that is kept in rows of its own.
const MANY: usize = 1000;

fn integers(numbers: &[i64]) -> Vec<Reply> {
    numbers.iter().map(|number| Reply::Integer(*number)).collect()
}

/// Makes the hashes `small`, in one row, and `large`, in many.
fn fill(client: &mut Client) {
    client.ask("HSET small a 1 b 2 c 3");
    let pairs = (0..MANY).flat_map(|number| [format!("f{number}"), number.to_string()]);
    client.call(["HSET".to_owned(), "large".to_owned()].into_iter().chain(pairs));
    assert_eq!(client.ask("HLEN large"), Reply::Integer(MANY as i64));
    let encodings = ["small", "large"].map(|key| client.ask(&format!("OBJECT ENCODING {key}")).text());
    assert_eq!(encodings, ["listpack", "hashtable"]);
}

fn until_answered(client: &mut Client, line: &str, expected: &Reply) {
    eventually(line, DEADLINE, || {
        let found = client.ask(line);
        if found == *expected { Ok(()) } else { Err(found) }
    });
}

#[test]
fn fields_past_their_deadline_go_without_being_asked_for_and_the_key_with_the_last_one() {
    let alone = Alone::new(|options| options.set("--shards", "2"));
    let mut client = alone.node.client();
    fill(&mut client);
    client.ask("HPEXPIRE small 50 FIELDS 2 a b");
    let fields: Vec<String> = (0..MANY).map(|number| format!("f{number}")).collect();
    let head = ["HPEXPIRE", "large", "50", "FIELDS", &MANY.to_string()].map(str::to_owned);
    assert!(client.call(head.into_iter().chain(fields)).elements().iter().all(|reply| *reply == Reply::Integer(1)));
    client.ask("HSET large stays 1");

    until_answered(&mut client, "HGETALL small", &Reply::bulks(["c", "3"]));
    until_answered(&mut client, "HLEN large", &Reply::Integer(1));
    until_answered(&mut client, "HLEN small", &Reply::Integer(1));

    client.ask("HPEXPIRE small 50 FIELDS 1 c");
    client.ask("HPEXPIRE large 50 FIELDS 1 stays");
    until_answered(&mut client, "DBSIZE", &Reply::Integer(0));
}

#[test]
fn deadlines_of_fields_survive_kill_9_and_a_restart() {
    let temporary = tempfile::tempdir().expect("a temporary directory");
    let options = NodeOptions::new(temporary.path().join("data")).set("--shards", "2");
    let mut node = options.start();
    let mut client = node.client();
    fill(&mut client);
    client.ask("HPEXPIREAT small 4000000000000 FIELDS 1 a");
    client.ask("HPEXPIRE small 50 FIELDS 1 b");
    client.ask("HPEXPIREAT large 4000000000001 FIELDS 2 f0 f1");
    client.ask("HPEXPIRE large 50 FIELDS 2 f2 f3");
    client.ask("HEXPIRE large 1000 FIELDS 1 f4");
    client.ask("HPERSIST large FIELDS 1 f4");

    node.kill_9();
    // Time has to pass while nobody is there to see it.
    std::thread::sleep(Duration::from_millis(60));
    let check = |client: &mut Client| {
        let small = client.ask("HPEXPIRETIME small FIELDS 3 a b c");
        assert_eq!(small.elements(), integers(&[4_000_000_000_000, -2, -1]));
        let large = client.ask("HPEXPIRETIME large FIELDS 6 f0 f1 f2 f3 f4 f5");
        assert_eq!(large.elements(), integers(&[4_000_000_000_001, 4_000_000_000_001, -2, -2, -1, -1]));
        assert_eq!(client.ask("HMGET large f1 f2").elements(), [Reply::bulk("1"), Reply::Null]);
        until_answered(client, "HLEN large", &Reply::Integer(MANY as i64 - 2));
        until_answered(client, "HLEN small", &Reply::Integer(2));
    };
    let mut node = options.start();
    check(&mut node.client());
    node.stop();
    check(&mut options.start().client());
}

#[test]
fn fields_whose_rows_are_on_disk_alone_go_when_they_are_due() {
    let temporary = tempfile::tempdir().expect("a temporary directory");
    let options = NodeOptions::new(temporary.path().join("data")).set("--shards", "2");
    let mut node = options.start();
    let mut client = node.client();
    fill(&mut client);
    let fields: Vec<String> = (1..MANY).map(|number| format!("f{number}")).collect();
    let head = ["HPEXPIRE", "large", "5000", "FIELDS", &(MANY - 1).to_string()].map(str::to_owned);
    client.call(head.into_iter().chain(fields));
    client.ask("HPEXPIRE small 5000 FIELDS 3 a b c");
    node.stop_written();

    let node = options.start();
    let mut client = node.client();
    until_answered(&mut client, "HGETALL large", &Reply::bulks(["f0", "0"]));
    until_answered(&mut client, "HLEN large", &Reply::Integer(1));
    until_answered(&mut client, "DBSIZE", &Reply::Integer(1));
    assert_eq!(client.ask("HDEL large f0"), Reply::Integer(1));
    assert_eq!(client.ask("DBSIZE"), Reply::Integer(0));
}

#[test]
fn a_hash_keeps_its_deadlines_in_transactions_and_scripts_and_on_its_way_between_shards() {
    let alone = Alone::new(|options| options.set("--shards", "4").set("--cores", "2").set("--pin", "no"));
    let mut client = alone.node.client();
    fill(&mut client);
    client.ask("HPEXPIREAT small 4000000000000 FIELDS 2 a b");
    client.ask("HPEXPIREAT large 4000000000000 FIELDS 2 f0 f1");
    let expected = integers(&[4_000_000_000_000, 4_000_000_000_000, -1]);
    for (key, fields) in [("small", "a b c"), ("large", "f0 f1 f2")] {
        let mut name = key.to_owned();
        // Keys of as many shards as there are.
        for number in 0..8 {
            let next = format!("{key}:{number}");
            let lines = [
                "MULTI".to_owned(),
                format!("RENAME {name} {next}"),
                format!("COPY {next} copy:{next}"),
                "EXEC".into(),
            ];
            lines.iter().for_each(|line| drop(client.ask(line)));
            for key in [next.clone(), format!("copy:{next}")] {
                let found = client.ask(&format!("HPEXPIRETIME {key} FIELDS 3 {fields}"));
                assert_eq!(found.elements(), expected, "{key}");
            }
            name = next;
        }
        let script = "redis.call('HPEXPIRE', KEYS[1], 1, 'FIELDS', 1, ARGV[1]) return redis.call('HPEXPIRETIME', KEYS[1], 'FIELDS', 1, ARGV[2])";
        let words: Vec<&str> = fields.split(' ').collect();
        let found = client.call(["EVAL", script, "1", &name, words[0], words[1]]);
        assert_eq!(found.elements(), integers(&[4_000_000_000_000]));
        until_answered(&mut client, &format!("HEXISTS {name} {}", words[0]), &Reply::Integer(0));
    }
}

#[test]
fn a_watched_hash_has_changed_once_a_field_of_it_is_past_its_deadline() {
    for is_swept in [true, false] {
        let alone = Alone::new(|options| options.set("--enable-debug-command", "yes"));
        let mut client = alone.node.client();
        fill(&mut client);
        if !is_swept {
            client.ask("DEBUG SET-ACTIVE-EXPIRE 0");
        }
        for (key, field) in [("small", "a"), ("large", "f0")] {
            assert_eq!(client.ask(&format!("HPEXPIRE {key} 100 FIELDS 1 {field}")).elements(), integers(&[1]));
            // A field that is later is no reason.
            client.ask(&format!("WATCH {key}"));
            until_answered(&mut client, &format!("HEXISTS {key} {field}"), &Reply::Integer(0));
            client.ask("MULTI");
            client.ask(&format!("HSET {key} new 1"));
            assert_eq!(client.ask("EXEC"), Reply::Null, "{key}, swept: {is_swept}");
            until_answered(&mut client, &format!("HEXISTS {key} new"), &Reply::Integer(0));
            client.ask(&format!("HEXPIRE {key} 1000 FIELDS 1 {}", if key == "small" { "b" } else { "f1" }));
            if is_swept {
                until_answered(
                    &mut client,
                    &format!("HLEN {key}"),
                    &Reply::Integer(if key == "small" { 2 } else { 999 }),
                );
            }
            client.ask(&format!("WATCH {key}"));
            client.ask("MULTI");
            client.ask(&format!("HSET {key} new 1"));
            assert_eq!(client.ask("EXEC").elements(), integers(&[1]), "{key}, swept: {is_swept}");
        }
    }
}

#[test]
fn who_has_read_a_hash_and_who_listens_are_told_when_a_field_expires() {
    let alone =
        Alone::new(|options| options.set("--cores", "2").set("--pin", "no").set("--notify-keyspace-events", "KEA"));
    let mut other = alone.node.client();
    fill(&mut other);
    for (key, fields) in [("small", "a b c"), ("large", "f0 f1 f2")] {
        let mut reader = alone.node.client();
        reader.ask("HELLO 3");
        reader.ask("CLIENT TRACKING ON");
        let mut subscriber = Subscriber::new(alone.node.address());
        other.ask(&format!("HPEXPIRE {key} 100 FIELDS 3 {fields}"));
        assert_eq!(reader.ask(&format!("HEXISTS {key} none")), Reply::Integer(0));
        let word = format!("{:?}", reader.read().expect("it is told"));
        assert!(word.contains("invalidate") && word.contains(&format!("{key:?}")), "{word}");
        let mut told = BTreeSet::new();
        eventually("the events are told", DEADLINE, || {
            told.extend(subscriber.heard().into_iter().filter(|(channel, _)| channel.ends_with(&format!(":{key}"))));
            let events: Vec<&str> = told.iter().map(|(_, event)| event.as_str()).collect();
            let expected = if key == "small" { &["del", "hexpire", "hexpired"][..] } else { &["hexpire", "hexpired"] };
            if events == expected { Ok(()) } else { Err(told.clone()) }
        });
    }
}
