//! FLUSHALL and FLUSHDB of many keys: they delete nearly all that a shard has in memory at once, and nothing else.

use basalt_tests::{Client, NodeOptions, Reply};

/// Sets `count` keys of a database, `key` behind `name`; the first `expiring` have deadlines.
fn set_keys(client: &mut Client, database: usize, name: &str, count: usize, expiring: usize) {
    assert_eq!(client.ask(&format!("SELECT {database}")), Reply::ok());
    let set = |number: usize| {
        let mut words = vec!["SET".to_owned(), format!("{name}{number}"), format!("value {number}")];
        if number < expiring {
            words.extend(["EX".to_owned(), "100000".to_owned()]);
        }
        words
    };
    let numbers: Vec<usize> = (0..count).collect();
    for piece in numbers.chunks(500) {
        let replies = client.pipeline_patiently(piece.iter().map(|number| set(*number)));
        assert!(replies.iter().all(|reply| *reply == Reply::ok()), "{replies:?}");
    }
}

fn assert_keys(client: &mut Client, database: usize, name: &str, count: usize) {
    assert_eq!(client.ask(&format!("SELECT {database}")), Reply::ok());
    assert_eq!(client.ask("DBSIZE"), Reply::Integer(count as i64), "database {database}");
    let replies = client.pipeline((0..count).map(|number| ["GET".to_owned(), format!("{name}{number}")]));
    for (number, reply) in replies.into_iter().enumerate() {
        assert_eq!(reply, Reply::bulk(format!("value {number}")), "{name}{number} of database {database}");
    }
}

/// Number of keys that a database gets, and of those among them with deadlines.
struct Keys {
    count: usize,
    expiring: usize,
}

/// Flushes database 0 with keys in both, and checks what is there: at once, after it has been written to again, and after a kill.
fn flush_keeps_what_it_should(command: &str, flushed: Keys, other: Keys) {
    for shards in ["1", "2"] {
        let temporary = tempfile::tempdir().expect("a temporary directory");
        let options = NodeOptions::new(temporary.path().join("data")).set("--shards", shards);
        let mut node = options.start();
        let mut client = node.client();
        set_keys(&mut client, 1, "other", other.count, other.expiring);
        set_keys(&mut client, 0, "key", flushed.count, flushed.expiring);
        let kept = if command == "FLUSHALL" { 0 } else { other.count };

        assert_eq!(client.call_patiently([command]), Reply::ok());

        assert_keys(&mut client, 0, "", 0);
        assert_keys(&mut client, 1, "other", kept);
        set_keys(&mut client, 0, "again", 300, 30);
        // The log has the command: whoever starts executes it again.
        node.kill_9();
        let node = options.start();
        let mut client = node.client();
        assert_keys(&mut client, 0, "again", 300);
        assert_keys(&mut client, 1, "other", kept);
    }
}

#[test]
fn a_flush_of_keys_of_which_few_have_deadlines_is_survived() {
    flush_keeps_what_it_should("FLUSHALL", Keys { count: 5_000, expiring: 100 }, Keys { count: 0, expiring: 0 });
}

#[test]
fn a_flush_leaves_the_few_keys_of_another_database() {
    flush_keeps_what_it_should("FLUSHDB", Keys { count: 20_000, expiring: 0 }, Keys { count: 200, expiring: 0 });
}

#[test]
fn a_flush_leaves_the_deadlines_of_another_database() {
    flush_keeps_what_it_should("FLUSHDB", Keys { count: 20_000, expiring: 0 }, Keys { count: 200, expiring: 200 });
}

#[test]
fn a_flush_of_keys_with_deadlines_leaves_those_of_another_database() {
    flush_keeps_what_it_should("FLUSHDB", Keys { count: 5_000, expiring: 4_900 }, Keys { count: 300, expiring: 10 });
}
