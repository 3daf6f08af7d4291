//! Groups of several replicas: nodes that are killed, stopped and frozen lose nothing that was acknowledged, and others go on.

use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use basalt_tests::{Asked, Client, DEADLINE, Node, NodeOptions, Reply, Seeker, eventually};

use super::nodes::{addresses, client, create, free_ports, options_at, wait_for};

/// Keys that a writer writes, one after the other.
const KEYS: usize = 40;

/// Three nodes whose groups have three replicas each.
pub(super) struct Three {
    directory: tempfile::TempDir,
    ports: [u16; 3],
    pub(super) nodes: Vec<Node>,
}

impl Three {
    pub(super) fn new(settings: &[(&str, &str)]) -> Three {
        let directory = tempfile::tempdir().expect("a temporary directory");
        let ports = [(); 3].map(|()| free_ports());
        let nodes = (0..3).map(|number| options(directory.path(), number, ports[number], settings).start()).collect();
        let three = Three { directory, ports, nodes };
        create(&three.nodes);
        wait_for(&three.addresses(), "cluster_state", "ok");
        three.wait_for_voters();
        three
    }

    pub(super) fn addresses(&self) -> Vec<SocketAddr> {
        addresses(&self.nodes)
    }

    /// Waits until each group that a node leads has three voters.
    fn wait_for_voters(&self) {
        for node in self.addresses() {
            eventually("each group has three voters", DEADLINE, || {
                let info = client(node).ask("INFO raft").text();
                let groups: Vec<&str> = info.lines().filter(|line| line.starts_with("raft_")).collect();
                let is_whole = |line: &&&str| line.ends_with("voters=3");
                if groups.len() >= 3 && groups.iter().filter(is_whole).count() == groups.len() {
                    Ok(())
                } else {
                    Err(info)
                }
            });
        }
    }

    pub(super) fn restart(&mut self, number: usize, settings: &[(&str, &str)]) {
        self.nodes[number] = options(self.directory.path(), number, self.ports[number], settings).start();
    }

    /// Waits until each node leads what it is the home of.
    pub(super) fn wait_for_homes(&self) {
        for node in self.addresses() {
            eventually("each node leads its groups again", DEADLINE, || {
                let nodes = client(node).ask("CLUSTER NODES").text();
                let has_slots = |line: &&str| line.split(' ').count() > 8;
                if nodes.lines().filter(has_slots).count() == 3 { Ok(()) } else { Err(nodes) }
            });
        }
    }
}

/// EXEC is denied all that it has still to do when rights change, however long it has waited for the disks of others before.
#[test]
fn rights_that_are_taken_away_while_exec_waits_hold_for_the_rest_of_it() {
    let three = Three::new(&[]);
    let mut operator = client(three.addresses()[0]);
    let key = (0..1000)
        .map(|number| format!("key:{number}"))
        .find(|key| operator.ask(&format!("SET {key} v")) == Reply::ok())
        .expect("the node leads some keys");
    let execute = |operator: &mut Client| {
        assert_eq!(operator.ask("ACL SETUSER v reset on nopass +@all ~*"), Reply::ok());
        let mut asker = client(three.addresses()[0]);
        assert_eq!(asker.ask("AUTH v x"), Reply::ok());
        asker.ask("MULTI");
        for line in [&format!("SET {key} w"), "CONFIG GET port", "ECHO x"] {
            assert_eq!(asker.ask(line), Reply::Simple("QUEUED".into()));
        }
        three.nodes[1..].iter().for_each(Node::pause);
        let mut bytes = Vec::new();
        Client::encode(&mut bytes, ["EXEC"]);
        asker.send(&bytes).expect("the node reads");
        eventually("the node has begun with it", DEADLINE, || {
            let clients = operator.ask("CLIENT LIST").text();
            if clients.lines().any(|line| line.contains("user=v ") && line.contains("cmd=exec")) {
                Ok(())
            } else {
                Err(clients)
            }
        });
        let changed = operator.ask("ACL SETUSER v -config");
        three.nodes[1..].iter().for_each(Node::go_on);
        assert_eq!(changed, Reply::ok());
        asker.read().expect("the transaction is answered")
    };
    eventually("the transaction is executed by the leader that it came to", DEADLINE, || {
        match execute(&mut operator) {
            Reply::Array(replies) => {
                assert!(replies[0] == Reply::ok() && replies[1].is_error("NOPERM "), "{replies:?}");
                assert_eq!(replies[2], Reply::bulk("x"));
                Ok(())
            }
            // Others have elected another leader, on a busy machine.
            other => Err(other),
        }
    });
}

fn options(directory: &Path, number: usize, port: u16, settings: &[(&str, &str)]) -> NodeOptions {
    let options = options_at(directory, number, port);
    settings.iter().fold(options, |options, (name, value)| options.set(name, *value))
}

/// Time that a client waits for a reply.
const PATIENCE: Duration = Duration::from_secs(10);

/// Writers that count: each has keys of its own, and writes ever larger numbers into them.
pub(super) struct Writers {
    stop: Arc<AtomicBool>,
    written: Arc<AtomicUsize>,
    /// Writes of which nobody has said if they were made.
    unknown: Arc<AtomicUsize>,
    threads: Vec<JoinHandle<BTreeMap<String, (u64, u64)>>>,
    nodes: Vec<SocketAddr>,
}

impl Writers {
    pub(super) fn start(nodes: &[SocketAddr], count: usize) -> Writers {
        let (stop, written) = (Arc::new(AtomicBool::new(false)), Arc::new(AtomicUsize::new(0)));
        let unknown = Arc::new(AtomicUsize::new(0));
        let threads = (0..count).map(|writer| {
            let (stop, written, mut seeker) = (stop.clone(), written.clone(), Seeker::new(nodes, writer, PATIENCE));
            let unknown = unknown.clone();
            std::thread::spawn(move || {
                // Of each key the last number that was acknowledged, and the last one that may be there.
                let mut last: BTreeMap<String, (u64, u64)> = BTreeMap::new();
                for number in 1.. {
                    if stop.load(Ordering::Relaxed) {
                        break;
                    }
                    let key = format!("writer:{writer}:{}", number as usize % KEYS);
                    let (acknowledged, possible) = last.entry(key.clone()).or_default();
                    *possible = number;
                    match seeker.ask(&key, &["SET".to_owned(), key.clone(), number.to_string()]) {
                        Asked::Done(reply) => {
                            assert_eq!(reply, Reply::ok());
                            *acknowledged = number;
                            written.fetch_add(1, Ordering::Relaxed);
                        }
                        Asked::Unknown => drop(unknown.fetch_add(1, Ordering::Relaxed)),
                        Asked::Wrong(text) => panic!("SET {key} {number}: {text}"),
                        Asked::Refused => std::thread::sleep(Duration::from_millis(2)),
                    }
                }
                last
            })
        });
        Writers { threads: threads.collect(), stop, written, unknown, nodes: nodes.to_vec() }
    }

    /// Waits until so many more writes were acknowledged.
    pub(super) fn go_on(&self, more: usize) {
        let wanted = self.written.load(Ordering::Relaxed) + more;
        eventually("writes go on", DEADLINE, || {
            let written = self.written.load(Ordering::Relaxed);
            if written >= wanted { Ok(()) } else { Err(written) }
        });
    }

    /// Writes so far of which nobody has said if they were made.
    pub(super) fn unknown(&self) -> usize {
        self.unknown.load(Ordering::Relaxed)
    }

    /// Ends them, and looks whether all that was acknowledged is there.
    pub(super) fn end(self) {
        self.stop.store(true, Ordering::Relaxed);
        let mut seeker = Seeker::new(&self.nodes, 0, PATIENCE);
        for thread in self.threads {
            for (key, (acknowledged, possible)) in thread.join().expect("a writer ends") {
                let found = seeker.insist(&key, &format!("GET {key}"));
                let found: u64 = if found == Reply::Null { 0 } else { found.text().parse().expect("a number") };
                assert!(
                    (acknowledged..=possible).contains(&found),
                    "{key}: {found} is there, {acknowledged} was acknowledged, and {possible} was the last"
                );
            }
        }
    }
}

#[test]
fn whichever_node_is_killed_the_others_go_on_with_all_that_was_acknowledged() {
    let mut three = Three::new(&[]);
    let writers = Writers::start(&three.addresses(), 4);
    for killed in 0..3 {
        writers.go_on(200);
        three.nodes[killed].kill_9();
        writers.go_on(200);
        three.restart(killed, &[]);
        three.wait_for_homes();
    }
    // And all at once.
    writers.go_on(100);
    three.nodes.iter_mut().for_each(Node::kill_9);
    for number in 0..3 {
        three.nodes[number] = options(three.directory.path(), number, three.ports[number], &[]).launch();
    }
    three.nodes.iter().for_each(|node| {
        node.wait_for_address();
    });
    writers.go_on(200);
    writers.end();
}

#[test]
fn a_rolling_restart_loses_nothing() {
    let mut three = Three::new(&[]);
    let writers = Writers::start(&three.addresses(), 4);
    for stopped in 0..3 {
        writers.go_on(200);
        three.nodes[stopped].stop_written();
        writers.go_on(200);
        three.restart(stopped, &[]);
        three.wait_for_homes();
    }
    writers.end();
}

#[test]
fn a_node_that_was_away_while_the_log_was_purged_gets_a_snapshot() {
    let settings = [("--memory", "64mb"), ("--snapshot-log-size", "4mb")];
    let mut three = Three::new(&settings);
    three.nodes[2].kill_9();
    let others: Vec<SocketAddr> = three.addresses()[..2].to_vec();
    let mut seeker = Seeker::new(&others, 0, PATIENCE);
    let value = "v".repeat(20_000);
    let purged = |node: SocketAddr| {
        let info = client(node).ask("INFO raft").text();
        let of_line = |line: &str| line.split("purged=").nth(1)?.split(',').next()?.trim().parse::<u64>().ok();
        info.lines().filter(|line| line.contains("role=leader")).filter_map(of_line).min().unwrap_or(0)
    };
    let mut written = 0_u32;
    let deadline = Instant::now() + DEADLINE;
    while others.iter().any(|node| purged(*node) < 100) {
        for _ in 0..200 {
            let key = format!("key:{}", written % 2_000);
            assert_eq!(seeker.insist(&key, &format!("SET {key} {written}-{value}")), Reply::ok());
            written += 1;
        }
        assert!(Instant::now() < deadline, "the log is not purged: {written} writes");
    }
    three.restart(2, &settings);
    three.wait_for_homes();
    let has_sent = |node: &Node| node.said().iter().any(|line| line.contains("gets a snapshot"));
    assert!(three.nodes.iter().any(has_sent), "the log had all that the node was behind");
    three.nodes[0].kill_9();
    let mut seeker = Seeker::new(&three.addresses()[1..], 0, PATIENCE);
    for number in written.saturating_sub(2_000)..written {
        let key = format!("key:{}", number % 2_000);
        let found = seeker.insist(&key, &format!("GET {key}")).text();
        assert_eq!(found.split('-').next(), Some(number.to_string().as_str()), "{key}");
    }
}

/// Each group is on three of five nodes: the two others have to be told who leads it.
#[test]
fn nodes_without_a_replica_know_who_leads() {
    let directory = tempfile::tempdir().expect("a temporary directory");
    let ports = [(); 5].map(|()| free_ports());
    let mut nodes: Vec<Node> =
        (0..5).map(|number| options(directory.path(), number, ports[number], &[("--cores", "1")]).start()).collect();
    create(&nodes);
    let all = addresses(&nodes);
    wait_for(&all, "cluster_state", "ok");
    eventually("each group has three voters", DEADLINE, || {
        let infos: String = all.iter().map(|node| client(*node).ask("INFO raft").text()).collect();
        let whole = infos.lines().filter(|line| line.contains("role=leader") && line.ends_with("voters=3")).count();
        if whole == 5 { Ok(()) } else { Err(infos) }
    });
    let mut seeker = Seeker::new(&all, 0, PATIENCE);
    for key in 0..100 {
        assert_eq!(seeker.insist(&key.to_string(), &format!("SET {key} {key}")), Reply::ok());
    }
    for killed in [1, 4] {
        nodes[killed].kill_9();
        let dead: SocketAddr = all[killed];
        let alive: Vec<SocketAddr> = all.iter().copied().filter(|node| *node != dead).collect();
        wait_for(&alive, "cluster_state", "ok");
        eventually("all agree on who has which slots", DEADLINE, || {
            let slots: Vec<String> =
                alive.iter().map(|node| format!("{:?}", client(*node).ask("CLUSTER SLOTS"))).collect();
            let agree = slots.iter().all(|slots_of_one| *slots_of_one == slots[0]);
            if agree && !slots[0].contains(&dead.port().to_string()) { Ok(()) } else { Err(slots) }
        });
        for (first, _) in alive.iter().enumerate() {
            let mut seeker = Seeker::new(&alive, first, PATIENCE);
            for key in 0..100 {
                assert_eq!(seeker.insist(&key.to_string(), &format!("GET {key}")).text(), key.to_string());
            }
        }
        nodes[killed] = options(directory.path(), killed, ports[killed], &[("--cores", "1")]).start();
        wait_for(&addresses(&nodes), "cluster_state", "ok");
    }
}
