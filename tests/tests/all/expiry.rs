//! Keys that live for a time.

use std::time::Duration;

use basalt_tests::{DEADLINE, NodeOptions, Reply, eventually};

use crate::alone::Alone;

#[test]
fn an_expired_key_is_gone_for_reads_and_for_writes() {
    let alone = Alone::new(|options| options.set("--shards", "2"));
    let mut client = alone.node.client();
    client.ask("SET short value");
    client.ask("RPUSH list old");
    assert_eq!(client.ask("GET short"), Reply::bulk("value"));
    assert_eq!(client.ask("PEXPIRE short 60"), Reply::Integer(1));
    assert_eq!(client.ask("PEXPIRE list 60"), Reply::Integer(1));

    eventually("both are gone", DEADLINE, || match client.ask("EXISTS short list") {
        Reply::Integer(0) => Ok(()),
        other => Err(other),
    });

    assert_eq!(client.ask("GET short"), Reply::Null);
    assert_eq!(client.ask("TTL short"), Reply::Integer(-2));
    assert_eq!(client.ask("RPUSH list new"), Reply::Integer(1));
    assert_eq!(client.ask("TTL list"), Reply::Integer(-1));
    assert_eq!(client.ask("APPEND short x"), Reply::Integer(1));
}

#[test]
fn expired_keys_are_deleted_without_being_asked_for() {
    const COUNT: usize = 3_000;
    let alone = Alone::new(|options| options.set("--shards", "2"));
    let mut client = alone.node.client();
    let set = |number| ["SET".to_owned(), format!("key:{number}"), "v".to_owned(), "PX".to_owned(), "100".to_owned()];
    assert!(client.pipeline((0..COUNT).map(set)).iter().all(|reply| *reply == Reply::ok()));
    client.ask("SET stays value");

    eventually("only one key is left", DEADLINE, || match client.ask("DBSIZE") {
        Reply::Integer(1) => Ok(()),
        other => Err(other),
    });

    let counted = format!("expired_keys:{COUNT}\r\n");
    eventually("they are counted", DEADLINE, || match client.ask("INFO stats").text() {
        stats if stats.contains(&counted) => Ok(()),
        stats => Err(stats),
    });
    assert!(client.ask("INFO keyspace").text().contains("db0:keys=1,expires=0"));
}

#[test]
fn deadlines_survive_a_restart() {
    let temporary = tempfile::tempdir().expect("a temporary directory");
    let options = NodeOptions::new(temporary.path().join("data")).set("--shards", "2");
    let mut node = options.start();
    let mut client = node.client();
    client.ask("SET long value EX 1000");
    client.ask("SET short value PX 50");
    client.ask("SET forever value EX 1000");
    client.ask("PERSIST forever");
    let deadline = client.ask("PEXPIRETIME long").integer();

    node.kill_9();
    // Time has to pass while nobody is there to see it.
    std::thread::sleep(Duration::from_millis(60));
    let mut node = options.start();

    let mut client = node.client();
    assert_eq!(client.ask("GET short"), Reply::Null);
    assert_eq!(client.ask("PEXPIRETIME long").integer(), deadline);
    let left = client.ask("TTL long").integer();
    assert!((900..=1000).contains(&left), "{left} s are left");
    assert_eq!(client.ask("TTL forever"), Reply::Integer(-1));
    node.stop();
    let node = options.start();
    assert_eq!(node.client().ask("PEXPIRETIME long").integer(), deadline);
    eventually("the short one is deleted", DEADLINE, || match node.client().ask("DBSIZE") {
        Reply::Integer(2) => Ok(()),
        other => Err(other),
    });
}
