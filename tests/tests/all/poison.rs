//! An entry of the log that cannot be executed: it stops the node at each start, until an operator gives it up.

use std::fs;
use std::path::Path;

use basalt_storage::Identity;
use basalt_storage::log::{Durability, LogOptions, LogRecord, LogSyncer, RaftLog};
use basalt_tests::{Node, NodeOptions, Refusal, Reply};

const KEYS: usize = 200;

fn write_keys(node: &Node, value: &str) {
    let mut client = node.client();
    let replies =
        client.pipeline((0..KEYS).map(|key| ["SET".to_owned(), format!("key:{key}"), format!("{value}{key}")]));
    assert!(replies.iter().all(|reply| *reply == Reply::ok()), "{replies:?}");
}

fn check_keys(node: &Node, value: &str) {
    let mut client = node.client();
    for key in 0..KEYS {
        assert_eq!(client.ask(&format!("GET key:{key}")).text(), format!("{value}{key}"));
    }
}

fn identity(dir: &Path, shard: u32) -> Identity {
    let node_file = fs::read_to_string(dir.join("node.toml")).expect("there");
    let value = |key: &str| {
        let line = node_file.lines().find(|line| line.starts_with(key)).expect("it has one");
        line.split('"').nth(1).expect("in quotes").to_owned()
    };
    let id = |key| Identity::parse_id(&value(key)).expect("40 hex digits");
    let node = u64::from_str_radix(&value("node-number"), 16).expect("16 hex digits");
    Identity { cluster_id: id("cluster-id"), node_id: id("node-id"), node, group: u64::from(shard) + 1 }
}

/// Appends an entry to the log of a node that does not run, with a batch of one command that no program knows. Returns its index.
fn append_poison(dir: &Path, shard: u32) -> u64 {
    let syncer = LogSyncer::start(0, Durability::Always).expect("threads");
    let options = LogOptions { identity: identity(dir, shard), create: false, warm_files: 0, ..LogOptions::default() };
    let mut log = RaftLog::open(&dir.join(format!("shards/{shard}/log")), &options, &syncer).expect("it opens");
    let (last, term) = (log.last_index().expect("it has records"), log.last_term().expect("it has records"));
    // Format and kind of the entry, version and flags of the batch; time, seed and longest string; the command and its length.
    let body = [&[1, 1, 3, 0][..], &[0; 20], &64u32.to_le_bytes(), &[0xff; 64]].concat();
    log.append(&[LogRecord { index: last + 1, term, body: body.into() }]).expect("appended");
    let (tell, told) = std::sync::mpsc::channel();
    log.sync(Box::new(move |outcome| tell.send(outcome).expect("somebody waits")));
    told.recv().expect("a callback").expect("synced");
    last + 1
}

fn refusal(options: &NodeOptions) -> String {
    let Refusal { status, said } = options.try_start().map(drop).expect_err("it does not start");
    assert_eq!(status, Some(1), "{said:?}");
    said.join("\n")
}

#[test]
fn an_entry_that_cannot_be_executed_is_named_at_each_start_until_it_is_skipped() {
    let temporary = tempfile::tempdir().expect("a temporary directory");
    let dir = temporary.path().join("data");
    let options = NodeOptions::new(&dir).set("--cores", "2").set("--shards", "2");
    let mut node = options.start();
    write_keys(&node, "first ");
    node.kill_9();
    drop(node);
    let index = append_poison(&dir, 1);
    let skipping = |entry: String| options.clone().set("--skip-entry", entry);

    // Before a start has found out that it cannot be executed, there is no reason to skip it.
    let refused = refusal(&skipping(format!("1:{index}")));
    assert!(refused.contains("no entry has stopped the shard"), "{refused}");
    for _ in 0..2 {
        let refused = refusal(&options);
        for words in
            ["shard 1", &format!("entry {index} of term"), "cannot be executed", &format!("--skip-entry 1:{index}")]
        {
            assert!(refused.contains(words), "{words}: {refused}");
        }
    }
    for (entry, words) in [
        (format!("1:{}", index - 1), format!("the shard was stopped by entry {index}")),
        (format!("0:{index}"), "no entry has stopped the shard".to_owned()),
        (format!("2:{index}"), "there is no shard 2".to_owned()),
    ] {
        let refused = refusal(&skipping(entry.clone()));
        assert!(refused.contains(&format!("skip-entry = {entry}")) && refused.contains(&words), "{refused}");
    }

    let mut node = skipping(format!("1:{index}")).start();

    check_keys(&node, "first ");
    write_keys(&node, "second ");
    node.kill_9();
    drop(node);
    // Without the order, and with it though it is carried out: the entry is still in the log.
    for options in [&options, &skipping(format!("1:{index}"))] {
        let mut node = options.start();
        check_keys(&node, "second ");
        node.kill_9();
    }
}
