//! An entry of the log that cannot be executed: it stops its shard at each start, until an operator gives it up.

use std::fs;
use std::path::Path;

use basalt_storage::Identity;
use basalt_storage::log::{Durability, Lane, LogOptions, LogRecord, LogSyncer, RaftLog};
use basalt_tests::{Client, DEADLINE, Node, NodeOptions, Refusal, Reply, eventually};

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

fn identity(dir: &Path, group: u64) -> Identity {
    let node_file = fs::read_to_string(dir.join("node.toml")).expect("there");
    let value = |key: &str| {
        let line = node_file.lines().find(|line| line.starts_with(key)).expect("it has one");
        line.split('"').nth(1).expect("in quotes").to_owned()
    };
    let id = |key| Identity::parse_id(&value(key)).expect("40 hex digits");
    let node = u64::from_str_radix(&value("node-number"), 16).expect("16 hex digits");
    Identity { cluster_id: id("cluster-id"), node_id: id("node-id"), node, group }
}

/// Appends an entry to the log of a node that does not run, with a batch of one command that no program knows. Returns its index.
/// `lane`: the lane that has the shard's log, if the shard has none of its own.
fn append_poison(dir: &Path, shard: u32, lane: Option<u64>) -> u64 {
    let syncer = LogSyncer::start(0, Durability::Always).expect("threads");
    let group = u64::from(shard) + 1;
    let of =
        |group| LogOptions { identity: identity(dir, group), create: false, warm_files: 0, ..LogOptions::default() };
    let directory = dir.join(format!("shards/{shard}/log"));
    let lane = lane.map(|lane| Lane::open(&dir.join(format!("lanes/{lane}")), &of(lane)).expect("it opens"));
    let opened = match &lane {
        Some(lane) => lane.open_log(group, &directory, &of(group), &syncer),
        None => RaftLog::open(&directory, &of(group), &syncer),
    };
    let mut log = opened.expect("it opens");
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
    // Without its only shard a node has nothing to serve.
    let options = NodeOptions::new(&dir).set("--cores", "1").set("--shards", "1");
    let mut node = options.start();
    write_keys(&node, "first ");
    node.kill_9();
    drop(node);
    let index = append_poison(&dir, 0, None);
    let skipping = |entry: String| options.clone().set("--skip-entry", entry);

    // Before a start has found out that it cannot be executed, there is no reason to skip it.
    let refused = refusal(&skipping(format!("0:{index}")));
    assert!(refused.contains("no entry has stopped the shard"), "{refused}");
    for _ in 0..2 {
        let refused = refusal(&options);
        for words in
            ["shard 0", &format!("entry {index} of term"), "cannot be executed", &format!("--skip-entry 0:{index}")]
        {
            assert!(refused.contains(words), "{words}: {refused}");
        }
    }
    for (entry, words) in [
        (format!("0:{}", index - 1), format!("the shard was stopped by entry {index}")),
        (format!("1:{index}"), "there is no shard 1".to_owned()),
    ] {
        let refused = refusal(&skipping(entry.clone()));
        assert!(refused.contains(&format!("skip-entry = {entry}")) && refused.contains(&words), "{refused}");
    }

    let mut node = skipping(format!("0:{index}")).start();

    check_keys(&node, "first ");
    write_keys(&node, "second ");
    node.kill_9();
    drop(node);
    // Without the order, and with it though it is carried out: the entry is still in the log.
    for options in [&options, &skipping(format!("0:{index}"))] {
        let mut node = options.start();
        check_keys(&node, "second ");
        node.kill_9();
    }
}

/// The value of a field of INFO, if it has it.
fn info(client: &mut Client, field: &str) -> Option<String> {
    let text = client.ask("INFO everything").text();
    let of_field = |line: &str| line.strip_prefix(field)?.strip_prefix(':').map(str::to_owned);
    text.lines().find_map(of_field)
}

/// Waits until the shard's group has `state`.
fn wait_for_state(client: &mut Client, shard: u32, state: &str) {
    eventually(&format!("the shard is {state}"), DEADLINE, || {
        let line = info(client, &format!("shard_{shard}")).expect("a line for the shard");
        if line.contains(&format!("state={state},")) { Ok(()) } else { Err(line) }
    });
}

#[test]
fn a_shard_whose_entry_cannot_be_executed_leaves_the_others_alone_and_is_opened_again_by_order() {
    for (shards, lane) in [("2", None), ("4", Some(1))] {
        let temporary = tempfile::tempdir().expect("a temporary directory");
        let dir = temporary.path().join("data");
        let options = NodeOptions::new(&dir).set("--cores", "2").set("--shards", shards);
        let mut node = options.start();
        write_keys(&node, "first ");
        node.kill_9();
        drop(node);
        let index = append_poison(&dir, 1, lane);

        let mut node = options.start();

        let mut client = node.client();
        wait_for_state(&mut client, 1, "failed");
        assert_eq!(info(&mut client, "shards_failed").as_deref(), Some("1"));
        assert_eq!(info(&mut client, "loading").as_deref(), Some("0"));
        let fault = info(&mut client, "shard_1_fault").expect("the reason");
        assert!(fault.contains(&format!("BASALT REOPEN 1 SKIP {index}")), "{fault}");
        let replies = client.pipeline((0..KEYS).map(|key| ["GET".to_owned(), format!("key:{key}")]));
        let (there, refused): (Vec<_>, Vec<_>) = replies.iter().partition(|reply| !matches!(reply, Reply::Error(_)));
        assert!(there.len() > refused.len() / 2 && !refused.is_empty(), "{} are there: {refused:?}", there.len());
        assert!(refused.iter().all(|reply| reply.is_error("CLUSTERDOWN ")), "{refused:?}");
        assert!(client.ask("DBSIZE").is_error("CLUSTERDOWN "));
        // Orders that do not help.
        for order in ["BASALT REOPEN 1".to_owned(), format!("BASALT REOPEN 1 SKIP {}", index - 1)] {
            assert_eq!(client.ask(&order), Reply::ok(), "{order}");
            wait_for_state(&mut client, 1, "failed");
            let fault = info(&mut client, "shard_1_fault").expect("the reason");
            assert!(fault.contains(&format!("entry {index}")), "{order}: {fault}");
        }
        assert_eq!(client.ask(&format!("BASALT REOPEN 1 SKIP {index}")), Reply::ok());
        wait_for_state(&mut client, 1, "leader");
        assert_eq!(info(&mut client, "shard_1_fault"), None);
        check_keys(&node, "first ");
        write_keys(&node, "second ");
        node.kill_9();
        drop(node);
        let mut node = options.start();
        check_keys(&node, "second ");
        write_keys(&node, "third ");
        node.stop_written();
        drop(node);
        let mut node = options.start();
        check_keys(&node, "third ");
        node.kill_9();
    }
}
