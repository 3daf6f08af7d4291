//! Shards that share the log of their lane: what one of them meets leaves the others alone, and what the log meets is told of all.

use std::fs;
use std::path::Path;

use basalt_tests::{Client, Node, NodeOptions, Reply};

use crate::load::Load;

const KEYS: usize = 600;

/// Six shards in two lanes: 0, 2 and 4 in the first, the others in the second.
fn options(dir: &Path) -> NodeOptions {
    let options = NodeOptions::new(dir).set("--cores", "2").set("--shards", "6").set("--memtable-bytes", "256kb");
    options.set("--pin", "no")
}

fn set_all(client: &mut Client) {
    let replies = client.pipeline_patiently((0..KEYS).map(|key| ["SET".to_owned(), format!("key:{key}"), value(key)]));
    assert!(replies.iter().all(|reply| *reply == Reply::ok()), "{replies:?}");
}

fn value(key: usize) -> String {
    format!("{key}:{}", "v".repeat(100))
}

fn assert_all(node: &Node) {
    let replies = node.client().pipeline((0..KEYS).map(|key| ["GET".to_owned(), format!("key:{key}")]));
    for (key, reply) in replies.iter().enumerate() {
        assert_eq!(*reply, Reply::bulk(value(key)), "key:{key}");
    }
}

/// A directory with keys in every shard, left by a node that was killed.
fn written(dir: &Path) -> NodeOptions {
    let options = options(dir);
    let mut node = options.start();
    set_all(&mut node.client());
    node.kill_9();
    options
}

fn refusal(options: &NodeOptions) -> String {
    let refusal = options.try_start().map(drop).expect_err("refused");
    assert_eq!(refusal.status, Some(1), "{:?}", refusal.said);
    refusal.sentence().to_owned()
}

#[test]
fn a_lane_goes_to_another_core_with_all_its_shards_and_they_keep_what_was_acknowledged() {
    let temporary = tempfile::tempdir().expect("a temporary directory");
    let dir = temporary.path().join("data");
    let mut load = Load::new();
    for cores in ["2", "1", "3", "6", "2"] {
        let options = options(&dir).set("--cores", cores);
        let mut node = options.start();
        load.check(&node);
        load.run(&node, 3_000, Node::kill);
        node.kill_9();
    }
    load.check(&options(&dir).start());
    let logs = fs::read_dir(dir.join("lanes")).expect("they share logs").count();
    assert_eq!(logs, 2);
    for shard in 0..6 {
        let own = dir.join(format!("shards/{shard}/log"));
        assert!(own.join("STATE").exists() && !own.join("CURRENT").exists(), "{}", own.display());
    }
}

#[test]
fn shards_with_logs_of_their_own_keep_them_on_fewer_cores() {
    let temporary = tempfile::tempdir().expect("a temporary directory");
    let dir = temporary.path().join("data");
    let mut load = Load::new();
    for cores in ["6", "2", "1"] {
        let mut node = options(&dir).set("--cores", cores).start();
        load.check(&node);
        load.run(&node, 2_000, Node::kill);
        node.kill_9();
    }
    load.check(&options(&dir).start());
    assert!(!dir.join("lanes").exists());
    assert!((0..6).all(|shard| dir.join(format!("shards/{shard}/log/CURRENT")).exists()));
}

#[test]
fn damage_to_one_shards_state_is_told_of_that_shard_alone() {
    let temporary = tempfile::tempdir().expect("a temporary directory");
    let dir = temporary.path().join("data");
    let options = written(&dir);
    let state = dir.join("shards/2/log/STATE");
    let good = fs::read(&state).expect("it is there");
    fs::write(&state, b"nothing of what it was").expect("it can be written");
    let sentence = refusal(&options);
    assert!(sentence.contains("shard 2: ") && sentence.contains("shards/2/log/STATE"), "{sentence}");
    for other in ["shard 0", "shard 4", "shard 1", "lane"] {
        assert!(!sentence.contains(other), "{other}: {sentence}");
    }
    fs::write(&state, good).expect("it can be written");
    assert_all(&options.start());
}

#[test]
fn what_keeps_a_shared_log_from_opening_is_told_once_of_all_its_shards() {
    let temporary = tempfile::tempdir().expect("a temporary directory");
    let (dir, other) = (temporary.path().join("data"), temporary.path().join("other"));
    let options = written(&dir);
    written(&other);
    let [first, second, away] = ["lanes/0", "lanes/1", "away"].map(|part| dir.join(part));
    let named = |sentence: &str| {
        let words = "lane 0, which has the log of the shards 0, 2, 4: ";
        assert!(sentence.contains(words) && sentence.contains("lanes/0"), "{sentence}");
        assert_eq!(sentence.matches("lane 0, which").count(), 1, "{sentence}");
        assert!(!sentence.contains("shard 0:") && !sentence.contains("shard 1:"), "{sentence}");
    };
    let rename = |from: &Path, to: &Path| fs::rename(from, to).expect("it is there");

    rename(&first, &away);
    named(&refusal(&options));
    assert!(!first.exists(), "nothing is made in its place");
    fs::create_dir(&first).expect("nothing is there");
    named(&refusal(&options));
    fs::remove_dir(&first).expect("it is empty still");
    rename(&away, &first);

    let current = fs::read(first.join("CURRENT")).expect("it is there");
    fs::write(first.join("CURRENT"), "MANIFEST-999999\n").expect("it can be written");
    named(&refusal(&options));
    fs::write(first.join("CURRENT"), current).expect("it can be written");

    // Another lane's, and another node's.
    for strange in [&second, &other.join("lanes/0")] {
        rename(&first, &away);
        rename(strange, &first);
        let sentence = refusal(&options);
        assert!(sentence.contains("lane 0, which has") && sentence.contains("in the place of"), "{sentence}");
        rename(&first, strange);
        rename(&away, &first);
    }
    assert_all(&options.start());
}

#[test]
fn a_shared_log_that_has_lost_its_end_is_refused_by_the_shards_that_miss_something() {
    let temporary = tempfile::tempdir().expect("a temporary directory");
    let dir = temporary.path().join("data");
    let options = written(&dir);
    for log in fs::read_dir(dir.join("lanes/1")).expect("there").flatten().map(|entry| entry.path()) {
        if log.extension().is_some_and(|kind| kind == "log") {
            fs::write(log, []).expect("it can be written");
        }
    }
    let sentence = refusal(&options);
    assert!(sentence.contains("was durable, but the write-ahead files"), "{sentence}");
    assert!(["shard 1:", "shard 3:", "shard 5:"].iter().any(|shard| sentence.contains(shard)), "{sentence}");
    assert!(!["shard 0:", "shard 2:", "shard 4:"].iter().any(|shard| sentence.contains(shard)), "{sentence}");
}
