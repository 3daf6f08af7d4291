//! A node in a cluster: it begins without slots, founds groups for those that it is given while it runs, and gives them up again.

use std::fs;
use std::path::Path;
use std::process::Command;

use basalt_tests::{Client, DEADLINE, Node, NodeOptions, RedisServer, Refusal, Reply, eventually};

const ALL_SLOTS: &str = "CLUSTER ADDSLOTSRANGE 0 16383";

fn options(dir: &Path) -> NodeOptions {
    NodeOptions::new(dir).set("--cluster-enabled", "yes").set("--cores", "2")
}

/// The value of a field of CLUSTER INFO.
fn cluster_info(client: &mut Client, name: &str) -> String {
    let text = client.ask("CLUSTER INFO").text();
    let value = text.lines().find_map(|line| line.strip_prefix(name)?.strip_prefix(':'));
    value.unwrap_or_else(|| panic!("{name}: {text}")).to_owned()
}

/// Waits until every slot is served.
fn wait_until_ok(client: &mut Client) {
    eventually("the cluster is ok", DEADLINE, || {
        let state = cluster_info(client, "cluster_state");
        if state == "ok" { Ok(()) } else { Err(state) }
    });
}

/// Waits until the node has as many shards.
fn wait_for_shards(client: &mut Client, count: usize) {
    eventually("the shards come or go", DEADLINE, || {
        let text = client.ask("INFO shards").text();
        if text.lines().filter(|line| line.contains("state=leader")).count() == count { Ok(()) } else { Err(text) }
    });
}

fn write_keys(client: &mut Client, count: usize, value: &str) {
    let replies =
        client.pipeline((0..count).map(|key| ["SET".to_owned(), format!("key:{key}"), format!("{value}{key}")]));
    assert!(replies.iter().all(|reply| *reply == Reply::ok()), "{replies:?}");
}

fn check_keys(client: &mut Client, count: usize, value: &str) {
    for (key, reply) in (0..count).zip(client.pipeline((0..count).map(|key| ["GET".to_owned(), format!("key:{key}")])))
    {
        assert_eq!(reply.text(), format!("{value}{key}"), "key:{key}");
    }
    assert_eq!(client.ask("DBSIZE").integer(), count as i64);
}

/// The groups of a node's manifest: number and state.
fn groups_of(dir: &Path) -> Vec<(u64, String)> {
    let text = fs::read_to_string(dir.join("node.toml")).expect("there");
    let groups = text.split("[[groups]]").skip(1);
    let value = |group: &str, key: &str| {
        let line = group.lines().find_map(|line| line.strip_prefix(key)?.strip_prefix(" = "));
        line.unwrap_or_else(|| panic!("{key}: {group}")).trim_matches('"').to_owned()
    };
    groups.map(|group| (value(group, "number").parse().expect("a number"), value(group, "state"))).collect()
}

#[test]
fn a_node_begins_without_slots_and_serves_those_that_it_is_given() {
    let temporary = tempfile::tempdir().expect("a temporary directory");
    let dir = temporary.path().join("data");
    let mut node = options(&dir).start();
    let mut client = node.client();
    assert_eq!(cluster_info(&mut client, "cluster_state"), "fail");
    for (line, reply) in [
        ("SET a 1", "CLUSTERDOWN Hash slot not served"),
        ("GET a", "CLUSTERDOWN Hash slot not served"),
        ("SELECT 1", "ERR SELECT is not allowed in cluster mode"),
    ] {
        assert!(client.ask(line).is_error(reply), "{line}");
    }
    // Nothing has no keys.
    assert_eq!((client.ask("DBSIZE").integer(), client.ask("FLUSHALL")), (0, Reply::ok()));
    assert_eq!(client.ask("KEYS *").elements().len(), 0);
    for line in ["SCAN x", "SCAN 0 COUNT 0", "FLUSHALL x", "SPUBLISH a b", "SSUBSCRIBE a", "MGET a b"] {
        assert!(matches!(client.ask(line), Reply::Error(_)), "{line}");
    }
    let scanned = client.ask("SCAN 0");
    assert_eq!((scanned.elements()[0].text(), scanned.elements()[1].elements().len()), ("0".to_owned(), 0));

    // As long as a slot is nobody's, no group is founded.
    assert_eq!(client.ask("CLUSTER ADDSLOTSRANGE 0 99 101 16383"), Reply::ok());
    assert!(client.ask("SET a 1").is_error("CLUSTERDOWN The cluster is down"));
    assert!(client.ask("CLUSTER ADDSLOTS 99").is_error("ERR Slot 99 is already busy"));
    assert_eq!(client.ask("CLUSTER DELSLOTS 99"), Reply::ok());
    assert_eq!(client.ask("CLUSTER ADDSLOTS 100 99"), Reply::ok());
    wait_until_ok(&mut client);
    write_keys(&mut client, 2000, "first ");
    assert!(client.ask("MGET key:1 key:2").is_error("CROSSSLOT Keys in request don't hash to the same slot"));
    assert_eq!(client.ask("MSET {t}a 1 {t}b 2"), Reply::ok());
    let slot = client.ask("CLUSTER KEYSLOT {t}").integer();
    assert_eq!(client.ask(&format!("CLUSTER COUNTKEYSINSLOT {slot}")).integer(), 2);
    let keys = client.ask(&format!("CLUSTER GETKEYSINSLOT {slot} 10"));
    let mut keys: Vec<String> = keys.elements().iter().map(Reply::text).collect();
    keys.sort();
    assert_eq!(keys, ["{t}a", "{t}b"]);
    assert_eq!(client.ask(&format!("CLUSTER GETKEYSINSLOT {slot} 1")).elements().len(), 1);
    assert_eq!(client.ask("DEL {t}a {t}b").integer(), 2);
    assert!(client.ask("CLUSTER DELSLOTS 7").is_error("ERR Slot 7 belongs to group "));
    let (id, nodes) = (client.ask("CLUSTER MYID").text(), client.ask("CLUSTER NODES").text());
    assert!(nodes.starts_with(&id) && nodes.trim_end().ends_with("connected 0-16383"), "{nodes}");
    let slots = client.ask("CLUSTER SLOTS");
    assert_eq!(slots.elements().len(), 1);
    assert_eq!(slots.elements()[0].elements()[2].elements()[1].integer(), i64::from(node.address().port()));

    // Whatever ends it, and on how many cores it goes on, it is the same node with the same slots and keys.
    for cores in ["1", "2"] {
        node.kill_9();
        drop(node);
        node = options(&dir).set("--cores", cores).start();
        client = node.client();
        wait_until_ok(&mut client);
        check_keys(&mut client, 2000, "first ");
        assert_eq!(client.ask("CLUSTER MYID").text(), id);
    }
    let nodes = client.ask("CLUSTER NODES").text();
    assert!(nodes.contains(&format!(":{}@", node.address().port())), "where it is now: {nodes}");
    node.stop_written();
}

#[test]
fn groups_are_given_up_and_founded_anew_while_the_node_runs() {
    let temporary = tempfile::tempdir().expect("a temporary directory");
    let dir = temporary.path().join("data");
    let mut node = options(&dir).set("--shards", "3").start();
    for round in 0..5u64 {
        let mut client = node.client();
        assert_eq!(client.ask(ALL_SLOTS), Reply::ok());
        wait_until_ok(&mut client);
        write_keys(&mut client, 500, "value ");
        check_keys(&mut client, 500, "value ");
        let refused = "ERR CLUSTER RESET can't be called with master nodes containing keys";
        assert!(client.ask("CLUSTER RESET").is_error(refused));
        assert!(client.ask("CLUSTER FLUSHSLOTS").is_error("ERR DB must be empty to perform CLUSTER FLUSHSLOTS."));
        assert_eq!(client.ask("FLUSHALL"), Reply::ok());
        assert_eq!(
            client.ask(["CLUSTER RESET", "CLUSTER RESET SOFT", "CLUSTER FLUSHSLOTS"][round as usize % 3]),
            Reply::ok()
        );
        assert!(client.ask("GET key:1").is_error("CLUSTERDOWN Hash slot not served"));
        if round == 3 {
            // What was not removed yet is removed by the next start.
            node.kill_9();
            drop(node);
            node = options(&dir).set("--shards", "3").start();
            client = node.client();
        }
        wait_for_shards(&mut client, 0);
        assert_eq!(client.ask("DBSIZE").integer(), 0);
        eventually("only the group of the map is left", DEADLINE, || {
            let groups = groups_of(&dir);
            if groups == [(0, "live".to_owned())] { Ok(()) } else { Err(groups) }
        });
        assert_eq!(fs::read_dir(dir.join("shards")).expect("there").count(), 0);
    }
    // Numbers are never used again.
    let mut client = node.client();
    assert_eq!(client.ask(ALL_SLOTS), Reply::ok());
    wait_until_ok(&mut client);
    eventually("the groups are noted", DEADLINE, || {
        let groups: Vec<_> =
            groups_of(&dir).into_iter().filter(|(_, state)| state == "live").map(|(number, _)| number).collect();
        if groups == [0, 16, 17, 18] { Ok(()) } else { Err(groups) }
    });
    node.stop_written();
}

#[test]
fn a_node_that_is_killed_while_it_founds_groups_goes_on_with_them() {
    let temporary = tempfile::tempdir().expect("a temporary directory");
    let dir = temporary.path().join("data");
    let mut node = options(&dir).start();
    for round in 0..12u64 {
        let mut client = node.client();
        client.finish();
        client = node.client();
        if cluster_info(&mut client, "cluster_slots_assigned") == "0" {
            // The answer, or no answer any more, says nothing of how far it gets.
            client.send(format!("{ALL_SLOTS}\r\n")).expect("sent");
        }
        std::thread::sleep(std::time::Duration::from_millis(3 * round));
        node.kill_9();
        drop(node);
        node = options(&dir).start();
        let mut client = node.client();
        if cluster_info(&mut client, "cluster_slots_assigned") == "0" {
            assert_eq!(client.ask(ALL_SLOTS), Reply::ok());
        }
        wait_until_ok(&mut client);
        write_keys(&mut client, 20, "value ");
        check_keys(&mut client, 20, "value ");
        assert_eq!(client.ask("FLUSHALL"), Reply::ok());
        assert_eq!(client.ask("CLUSTER RESET"), Reply::ok());
    }
    node.stop_written();
}

#[test]
fn nothing_that_was_acknowledged_is_given_up() {
    let temporary = tempfile::tempdir().expect("a temporary directory");
    let node = options(&temporary.path().join("data")).start();
    let mut client = node.client();
    let mut outcomes = [0, 0];
    for round in 0..12u64 {
        if cluster_info(&mut client, "cluster_slots_assigned") == "0" {
            assert_eq!(client.ask(ALL_SLOTS), Reply::ok());
        }
        wait_until_ok(&mut client);
        assert_eq!(client.ask("FLUSHALL"), Reply::ok());
        let address = node.address();
        let writer = std::thread::spawn(move || {
            let mut client = Client::connect(address).expect("it accepts");
            let mut taken = Vec::new();
            for key in 0..200 {
                let reply = client.ask(&format!("SET key:{key} {round}"));
                assert!(
                    reply == Reply::ok() || reply.is_error("LOADING") || reply.is_error("CLUSTERDOWN"),
                    "{reply:?}"
                );
                if reply == Reply::ok() {
                    taken.push(key);
                }
            }
            taken
        });
        std::thread::sleep(std::time::Duration::from_micros(200 * round));
        let reset = client.ask("CLUSTER RESET");
        let taken = writer.join().expect("no panic");
        outcomes[usize::from(reset == Reply::ok())] += 1;
        if reset == Reply::ok() {
            assert_eq!(taken, [], "the node had no keys, and none was taken since");
            continue;
        }
        assert!(reset.is_error("ERR CLUSTER RESET can't be called with master nodes containing keys"), "{reset:?}");
        wait_until_ok(&mut client);
        for key in taken {
            assert_eq!(client.ask(&format!("GET key:{key}")).text(), round.to_string(), "key:{key}");
        }
    }
    println!("{} refused, {} given up", outcomes[0], outcomes[1]);
}

#[test]
fn a_reply_in_pieces_ends_when_its_shard_goes() {
    let temporary = tempfile::tempdir().expect("a temporary directory");
    let mut node = options(&temporary.path().join("data")).start();
    let mut client = node.client();
    assert_eq!(client.ask(ALL_SLOTS), Reply::ok());
    wait_until_ok(&mut client);
    let value = "x".repeat(1 << 20);
    for key in 0..40 {
        assert_eq!(client.call(["SET", &format!("{{t}}{key}"), &value]), Reply::ok());
    }
    let mut slow = node.client();
    let keys = (0..40).map(|key| format!("{{t}}{key}"));
    let mut request = Vec::new();
    Client::encode(&mut request, ["MGET".to_owned()].into_iter().chain(keys));
    slow.send(&request).expect("sent");
    // Its first piece is on its way, and the rest is asked for when it is read.
    let mut begun = slow.read_bytes(6);
    assert_eq!(client.ask("FLUSHALL"), Reply::ok());
    assert_eq!(client.ask("CLUSTER RESET"), Reply::ok());
    wait_for_shards(&mut client, 0);
    begun.extend(slow.read_bytes(100));
    slow.finish();
    let _ = slow.read_to_end();
    assert_eq!(client.ask("PING").text(), "PONG", "the node goes on");
    assert_eq!(client.ask(ALL_SLOTS), Reply::ok());
    wait_until_ok(&mut client);
    node.stop_written();
}

#[test]
fn a_node_with_keys_in_other_databases_stays_alone() {
    let temporary = tempfile::tempdir().expect("a temporary directory");
    let dir = temporary.path().join("data");
    let alone = NodeOptions::new(&dir).set("--cores", "2");
    let mut node = alone.start();
    let mut client = node.client();
    for line in ["SET a 0", "SELECT 3", "SET b 3"] {
        assert_eq!(client.ask(line), Reply::ok());
    }
    node.kill_9();
    drop(node);
    let mut refused = options(&dir).launch();
    refused.wait();
    refused.wait_for_line("there are keys in other databases than 0");
    drop(refused);
    // And can be helped.
    let mut node = alone.start();
    let mut client = node.client();
    assert_eq!(
        (client.ask("GET a").text(), client.ask("SELECT 3"), client.ask("GET b").text()),
        ("0".into(), Reply::ok(), "3".into())
    );
    assert_eq!(client.ask("DEL b").integer(), 1);
    node.stop_written();
    drop(node);
    let mut node = options(&dir).start();
    let mut client = node.client();
    wait_until_ok(&mut client);
    assert_eq!(client.ask("GET a").text(), "0");
    assert!(client.ask("COPY a {a}b DB 3").is_error("ERR Copying to another database is not allowed in cluster mode"));
    assert!(client.ask("MOVE a 3").is_error("ERR MOVE is not allowed in cluster mode"));
    assert!(client.ask("SWAPDB 0 3").is_error("ERR SWAPDB is not allowed in cluster mode"));
    let script = client.call(["EVAL", "return redis.call('SWAPDB', 0, 3)", "0"]);
    assert!(script.is_error("ERR SWAPDB is not allowed in cluster mode"), "{script:?}");
    let script = client.call(["EVAL", "return redis.call('MOVE', KEYS[1], 3)", "1", "a"]);
    assert!(script.is_error("ERR MOVE is not allowed in cluster mode"), "{script:?}");
    assert_eq!(client.ask("COPY a {a}b").integer(), 1);
    // Without shards it is a node still.
    assert_eq!(client.ask("FLUSHALL"), Reply::ok());
    assert_eq!(client.ask("CLUSTER RESET"), Reply::ok());
    wait_for_shards(&mut client, 0);
    node.stop_written();
    drop(node);
    let mut node = options(&dir).start();
    let mut client = node.client();
    assert_eq!(client.ask(ALL_SLOTS), Reply::ok());
    wait_until_ok(&mut client);
    write_keys(&mut client, 100, "value ");
    node.kill_9();
    drop(node);
    let node = options(&dir).start();
    wait_until_ok(&mut node.client());
    check_keys(&mut node.client(), 100, "value ");
}

#[test]
fn a_node_with_data_becomes_one_of_a_cluster_and_keeps_it() {
    let temporary = tempfile::tempdir().expect("a temporary directory");
    for shards in ["1", "2", "5"] {
        let dir = temporary.path().join(shards);
        let alone = NodeOptions::new(&dir).set("--cores", "2").set("--shards", shards);
        let mut node = alone.start();
        write_keys(&mut node.client(), 1000, "of before ");
        node.kill_9();
        drop(node);

        let mut node = options(&dir).start();
        let mut client = node.client();
        wait_until_ok(&mut client);
        check_keys(&mut client, 1000, "of before ");
        write_keys(&mut client, 1000, "of now ");
        node.stop_written();
        drop(node);

        let Refusal { said, .. } = alone.try_start().map(drop).expect_err("it belongs to a cluster");
        assert!(said.join("\n").contains("start it with --cluster-enabled yes"), "{said:?}");
        let mut node = options(&dir).start();
        check_keys(&mut node.client(), 1000, "of now ");
        node.stop_written();
    }
}

/// Lines to which a node in a cluster, alone in it and with all slots but 100, answers as redis-server does.
const LINES: &[&str] = &[
    "CLUSTER KEYSLOT a",
    "CLUSTER KEYSLOT {a}b",
    "CLUSTER KEYSLOT",
    "CLUSTER ADDSLOTS x",
    "CLUSTER ADDSLOTS 16384",
    "CLUSTER ADDSLOTS 5",
    "CLUSTER ADDSLOTS 100 100",
    "CLUSTER ADDSLOTSRANGE 1",
    "CLUSTER ADDSLOTSRANGE 9 3",
    "CLUSTER ADDSLOTSRANGE 0 5 7",
    "CLUSTER DELSLOTS 100",
    "CLUSTER DELSLOTS 7 7",
    "CLUSTER DELSLOTS 7",
    "CLUSTER ADDSLOTS 7",
    "CLUSTER DELSLOTSRANGE 7 8 20 20",
    "CLUSTER ADDSLOTSRANGE 7 8 20 20",
    "CLUSTER COUNTKEYSINSLOT x",
    "CLUSTER COUNTKEYSINSLOT 16384",
    "CLUSTER COUNTKEYSINSLOT -1",
    "CLUSTER COUNTKEYSINSLOT 5",
    "CLUSTER GETKEYSINSLOT 5 x",
    "CLUSTER GETKEYSINSLOT 5 -1",
    "CLUSTER GETKEYSINSLOT 16384 1",
    "CLUSTER GETKEYSINSLOT 5 3",
    "CLUSTER SET-CONFIG-EPOCH x",
    "CLUSTER SET-CONFIG-EPOCH -1",
    "CLUSTER SET-CONFIG-EPOCH 7",
    "CLUSTER SET-CONFIG-EPOCH 8",
    "CLUSTER BUMPEPOCH",
    "CLUSTER REPLICATE abc",
    "CLUSTER FORGET abc",
    "CLUSTER REPLICAS abc",
    "CLUSTER SLAVES abc",
    "CLUSTER COUNT-FAILURE-REPORTS abc",
    "CLUSTER FAILOVER",
    "CLUSTER FAILOVER x",
    "CLUSTER RESET x",
    "CLUSTER SAVECONFIG",
    "CLUSTER LINKS",
    "CLUSTER NOSUCH",
    "CLUSTER INFO x",
    "READONLY",
    "READWRITE",
    "ASKING",
    "SELECT 0",
    "SELECT 1",
    "SET a 1",
    "MGET a b",
    "SPUBLISH {a} b",
    "COPY a {a}b DB 1",
    "MOVE a 1",
    "MOVE a x",
    "SWAPDB 0 1",
    "SWAPDB x 1",
    "COPY a a",
    "FLUSHALL",
    "CLUSTER FLUSHSLOTS",
    "CLUSTER COUNTKEYSINSLOT 5",
];

#[test]
fn a_node_alone_in_its_cluster_answers_as_redis() {
    let redis = RedisServer::start_with(&["--cluster-enabled", "yes"]);
    let temporary = tempfile::tempdir().expect("a temporary directory");
    let node = options(&temporary.path().join("data")).start();
    let mut clients = [redis.address(), node.address()].map(|address| Client::connect(address).expect("it accepts"));
    for client in &mut clients {
        assert_eq!(client.ask("CLUSTER ADDSLOTSRANGE 0 99 101 16383"), Reply::ok());
    }
    let mut differences = Vec::new();
    for line in LINES {
        let [of_redis, of_node] = clients.each_mut().map(|client| client.ask(line));
        if of_redis != of_node {
            differences.push(format!("{line}\n  redis  {of_redis:?}\n  basalt {of_node:?}"));
        }
    }
    assert!(differences.is_empty(), "{}", differences.join("\n"));
}

#[test]
fn redis_cli_finds_the_cluster_in_order() {
    let temporary = tempfile::tempdir().expect("a temporary directory");
    let node = options(&temporary.path().join("data")).start();
    let mut client = node.client();
    assert_eq!(client.ask(ALL_SLOTS), Reply::ok());
    wait_until_ok(&mut client);
    write_keys(&mut client, 100, "value ");
    for (command, expected) in [("check", "[OK] All 16384 slots covered."), ("info", "[OK] 100 keys in 1 masters.")] {
        let mut redis_cli = Command::new("redis-cli");
        redis_cli.args(["--cluster", command, &node.address().to_string()]);
        let output = redis_cli.output().expect("redis-cli is installed");
        let text = String::from_utf8_lossy(&output.stdout);
        assert!(output.status.success() && text.contains(expected), "{command}: {text}");
    }
}

/// The state of a node is told by name, also where it cannot be reached by others yet.
#[test]
fn a_node_says_where_it_is_reached() {
    let temporary = tempfile::tempdir().expect("a temporary directory");
    let options = options(&temporary.path().join("data"));
    let announced = options
        .set("--cluster-announce-ip", "192.0.2.7")
        .set("--cluster-announce-port", "7000")
        .set("--cluster-announce-bus-port", "7001")
        .set("--cluster-announce-hostname", "node.example");
    let node: Node = announced.start();
    let mut client = node.client();
    let nodes = client.ask("CLUSTER NODES").text();
    assert!(nodes.contains(" 192.0.2.7:7000@7001,node.example myself,master - "), "{nodes}");
    assert_eq!(client.ask("CLUSTER MYSHARDID"), client.ask("CLUSTER MYID"));
}
