//! Several nodes that become one cluster: by redis-cli, by MEET, and whoever of them is killed meanwhile.

use std::net::{SocketAddr, TcpListener};
use std::path::Path;
use std::process::Command;
use std::sync::atomic::{AtomicU16, Ordering};
use std::time::Duration;

use basalt_tests::{Client, DEADLINE, Node, NodeOptions, Reply, eventually};

fn options(dir: &Path, number: usize) -> NodeOptions {
    let cores = if number == 1 { "2" } else { "1" };
    NodeOptions::new(dir.join(number.to_string())).set("--cluster-enabled", "yes").set("--cores", cores)
}

fn start(dir: &Path, count: usize) -> Vec<Node> {
    (0..count).map(|number| options(dir, number).start()).collect()
}

/// The options of a node that is started again where it was: the ports are below those that the kernel gives out.
pub(super) fn options_at(dir: &Path, number: usize, port: u16) -> NodeOptions {
    options(dir, number).set("--port", port.to_string()).set("--cluster-port", (port + 1).to_string())
}

/// A port that is free, and so is the next one.
pub(super) fn free_ports() -> u16 {
    static NEXT: AtomicU16 = AtomicU16::new(0);
    loop {
        let offset = std::process::id() as u16 % 1_000 * 10 + NEXT.fetch_add(2, Ordering::Relaxed);
        let port = 20_000 + offset % 12_000;
        let is_free = |port: u16| TcpListener::bind(("127.0.0.1", port)).is_ok();
        if is_free(port) && is_free(port + 1) {
            return port;
        }
    }
}

pub(super) fn redis_cli(arguments: &[&str]) -> String {
    let output = Command::new("redis-cli").args(arguments).output().expect("redis-cli is installed");
    let text = String::from_utf8_lossy(&output.stdout).into_owned();
    assert!(output.status.success(), "{arguments:?}: {text}{}", String::from_utf8_lossy(&output.stderr));
    text
}

/// Has redis-cli make the nodes one cluster.
pub(super) fn create(nodes: &[Node]) {
    let addresses: Vec<String> = nodes.iter().map(|node| node.address().to_string()).collect();
    let mut arguments = vec!["--cluster", "create"];
    arguments.extend(addresses.iter().map(String::as_str));
    arguments.push("--cluster-yes");
    let text = redis_cli(&arguments);
    assert!(text.contains("[OK] All 16384 slots covered."), "{text}");
}

/// A client of the node that listens there, which may not be ready yet.
pub(super) fn client(address: SocketAddr) -> Client {
    Client::connect(address).expect("it accepts")
}

pub(super) fn addresses(nodes: &[Node]) -> Vec<SocketAddr> {
    nodes.iter().map(Node::wait_for_address).collect()
}

fn cluster_info(node: SocketAddr, name: &str) -> String {
    let text = match client(node).ask("CLUSTER INFO") {
        // It may have just been started.
        Reply::Error(error) => return error,
        reply => reply.text(),
    };
    text.lines().find_map(|line| line.strip_prefix(name)?.strip_prefix(':')).unwrap_or(&text).to_owned()
}

/// Waits until each of the nodes says this of its cluster.
pub(super) fn wait_for(nodes: &[SocketAddr], name: &str, value: &str) {
    for node in nodes {
        eventually(&format!("{name} is {value}"), DEADLINE, || {
            let found = cluster_info(*node, name);
            if found == value { Ok(()) } else { Err(found) }
        });
    }
}

/// A client that goes where it is told to.
struct ClusterClient {
    clients: Vec<(SocketAddr, Client)>,
}

impl ClusterClient {
    fn new(first: SocketAddr) -> ClusterClient {
        ClusterClient { clients: vec![(first, client(first))] }
    }

    fn ask(&mut self, line: &str) -> Reply {
        let mut address = self.clients[0].0;
        for _ in 0..5 {
            let place = self.clients.iter().position(|(known, _)| *known == address).unwrap_or_else(|| {
                self.clients.push((address, client(address)));
                self.clients.len() - 1
            });
            match self.clients[place].1.ask(line) {
                Reply::Error(text) if text.starts_with("MOVED ") => {
                    address = text.rsplit(' ').next().and_then(|address| address.parse().ok()).expect("an address");
                }
                reply => return reply,
            }
        }
        panic!("{line}: it is sent round");
    }

    fn write(&mut self, value: &str) {
        for key in 0..200 {
            assert_eq!(self.ask(&format!("SET key:{key} {value}{key}")), Reply::ok(), "key:{key}");
        }
    }

    fn check(&mut self, value: &str) {
        for key in 0..200 {
            assert_eq!(self.ask(&format!("GET key:{key}")).text(), format!("{value}{key}"), "key:{key}");
        }
    }
}

#[test]
pub(super) fn redis_cli_makes_a_cluster_of_three_whose_nodes_may_be_killed() {
    let temporary = tempfile::tempdir().expect("a temporary directory");
    let ports = [(); 3].map(|()| free_ports());
    let options = |number: usize| options_at(temporary.path(), number, ports[number]);
    let mut nodes: Vec<Node> = (0..3).map(|number| options(number).start()).collect();
    create(&nodes);
    wait_for(&addresses(&nodes), "cluster_state", "ok");
    ClusterClient::new(nodes[0].address()).write("first-");
    for node in &nodes {
        ClusterClient::new(node.address()).check("first-");
        let address = node.address().to_string();
        assert!(
            redis_cli(&["--cluster", "check", &address]).contains("[OK] All nodes agree about slots configuration.")
        );
        assert!(redis_cli(&["--cluster", "info", &address]).contains("[OK] 200 keys in 3 masters."));
        let sizes = redis_cli(&["--cluster", "call", &address, "PING"]);
        assert_eq!(sizes.matches("PONG").count(), 3, "{sizes}");
    }
    // Whoever it is, the others notice, change the map without it, and have it back.
    for killed in 0..3 {
        nodes[killed].kill_9();
        let mut others = addresses(&nodes);
        others.remove(killed);
        // Its slots are those of others by then, if there were replicas of them already.
        for node in &others {
            eventually("the others notice", DEADLINE, || {
                let nodes = client(*node).ask("CLUSTER NODES").text();
                if nodes.lines().any(|line| line.contains(",fail") || line.contains("fail,")) {
                    Ok(())
                } else {
                    Err(nodes)
                }
            });
        }
        for node in &others {
            let reply = client(*node).ask("CLUSTER BUMPEPOCH").text();
            assert!(reply.starts_with("BUMPED ") || reply.starts_with("STILL "), "{reply}");
        }
        nodes[killed] = options(killed).start();
        wait_for(&addresses(&nodes), "cluster_state", "ok");
        ClusterClient::new(nodes[killed].address()).check("first-");
    }
    // And all at once: none is ready alone.
    let ids =
        |nodes: &[SocketAddr]| nodes.iter().map(|node| client(*node).ask("CLUSTER MYID").text()).collect::<Vec<_>>();
    let before = ids(&addresses(&nodes));
    nodes.iter_mut().for_each(Node::kill_9);
    drop(nodes);
    let nodes: Vec<Node> = (0..3).map(|number| options(number).launch()).collect();
    let there = addresses(&nodes);
    wait_for(&there, "cluster_state", "ok");
    assert_eq!(ids(&there), before);
    ClusterClient::new(there[2]).check("first-");
    ClusterClient::new(there[1]).write("second-");
    ClusterClient::new(there[0]).check("second-");
}

#[test]
fn a_node_that_comes_back_elsewhere_is_found_again() {
    let temporary = tempfile::tempdir().expect("a temporary directory");
    let mut nodes = start(temporary.path(), 3);
    create(&nodes);
    wait_for(&addresses(&nodes), "cluster_state", "ok");
    ClusterClient::new(nodes[0].address()).write("first-");
    for moved in 0..3 {
        nodes[moved].kill_9();
        // Any free ports, which are others.
        nodes[moved] = options(temporary.path(), moved).start();
        wait_for(&addresses(&nodes), "cluster_state", "ok");
        ClusterClient::new(nodes[(moved + 1) % 3].address()).check("first-");
    }
}

/// Each is told to meet the next one at the same time, in a ring: nobody may give up a map that another relies on.
#[test]
fn nodes_that_meet_each_other_at_once_become_one_cluster() {
    for count in [2, 3] {
        let temporary = tempfile::tempdir().expect("a temporary directory");
        let nodes = start(temporary.path(), count);
        let there = addresses(&nodes);
        let claims = ["0 5000", "5001 10000", "10001 16383"];
        for (node, slots) in there.iter().zip(claims) {
            assert_eq!(client(*node).ask(&format!("CLUSTER ADDSLOTSRANGE {slots}")), Reply::ok());
        }
        let mut asking: Vec<Client> = there.iter().map(|node| client(*node)).collect();
        for (at, client) in asking.iter_mut().enumerate() {
            let next = there[(at + 1) % count];
            client.send(format!("CLUSTER MEET {} {}\r\n", next.ip(), next.port())).expect("sent");
        }
        drop(asking);
        for node in &there[1..] {
            eventually("it has met the first one", DEADLINE, || {
                let reply = client(*node).ask(&format!("CLUSTER MEET {} {}", there[0].ip(), there[0].port()));
                if reply == Reply::ok() { Ok(()) } else { Err(reply) }
            });
        }
        wait_for(&there, "cluster_known_nodes", &count.to_string());
        let assigned = if count == 2 { "10001" } else { "16384" };
        wait_for(&there, "cluster_slots_assigned", assigned);
    }
}

/// The slots are claimed and the other node is met in one go: the node founds its groups, or joins, and never both.
#[test]
fn a_node_that_claims_slots_and_meets_another_does_one_after_the_other() {
    let temporary = tempfile::tempdir().expect("a temporary directory");
    let first = options(temporary.path(), 0).start();
    for round in 1..6 {
        let node = options(temporary.path(), 10 + round).start();
        let meet = format!("CLUSTER MEET {} {}", first.address().ip(), first.address().port());
        let mut pipelined = node.client();
        pipelined.send(format!("CLUSTER ADDSLOTSRANGE 0 16383\r\n{meet}\r\n")).expect("sent");
        assert_eq!(pipelined.read().expect("a reply"), Reply::ok());
        pipelined.read().expect("a reply");
        wait_for(&[node.address()], "cluster_state", "ok");
        assert_eq!(ClusterClient::new(node.address()).ask("SET a 1"), Reply::ok());
        let known = cluster_info(node.address(), "cluster_known_nodes");
        let (id, of_first) = (node.client().ask("CLUSTER MYID").text(), first.client().ask("CLUSTER NODES").text());
        assert_eq!(known == "1", !of_first.contains(&id), "{known}: {of_first}");
        if known != "1" {
            return;
        }
    }
}

#[test]
fn clusters_are_made_again_and_again() {
    for _ in 0..4 {
        let temporary = tempfile::tempdir().expect("a temporary directory");
        let mut nodes = start(temporary.path(), 3);
        create(&nodes);
        wait_for(&addresses(&nodes), "cluster_state", "ok");
        wait_for(&addresses(&nodes), "cluster_known_nodes", "3");
        for node in &mut nodes {
            node.stop_written();
        }
    }
}

#[test]
fn an_empty_node_joins_one_with_keys_whichever_is_told_and_two_with_keys_stay_apart() {
    let temporary = tempfile::tempdir().expect("a temporary directory");
    let nodes = start(temporary.path(), 4);
    let meet = |of: usize, to: usize| {
        let address = nodes[to].address();
        nodes[of].client().ask(&format!("CLUSTER MEET {} {}", address.ip(), address.port()))
    };
    for full in [0, 3] {
        assert_eq!(nodes[full].client().ask("CLUSTER ADDSLOTSRANGE 0 16383"), Reply::ok());
        wait_for(&[nodes[full].address()], "cluster_state", "ok");
        assert_eq!(nodes[full].client().ask("SET a 1"), Reply::ok());
    }
    assert!(meet(0, 3).is_error("ERR both nodes have groups"));
    assert_eq!(meet(1, 0), Reply::ok(), "the empty one is told");
    assert_eq!(meet(0, 2), Reply::ok(), "the other one is told");
    assert_eq!(meet(2, 1), Reply::ok(), "they are in one already");
    let cluster = [0, 1, 2].map(|node: usize| nodes[node].address());
    wait_for(&cluster, "cluster_known_nodes", "3");
    wait_for(&cluster, "cluster_state", "ok");
    for node in cluster {
        assert_eq!(ClusterClient::new(node).ask("GET a").text(), "1");
    }
    assert!(meet(3, 1).is_error("ERR both nodes have groups"));
    for (line, error) in [
        ("CLUSTER MEET x 7000", "ERR Invalid node address specified: x:7000"),
        ("CLUSTER MEET 127.0.0.1 x", "ERR Invalid TCP base port specified: x"),
        ("CLUSTER MEET 127.0.0.1 70000", "ERR Invalid TCP base port specified: 70000"),
        ("BASALT CHANGE x y", "ERR this node is of another cluster"),
    ] {
        assert!(nodes[1].client().ask(line).is_error(error), "{line}");
    }
    // A node that has nothing may be forgotten; one with a group may not.
    let ids: Vec<String> = nodes.iter().map(|node| node.client().ask("CLUSTER MYID").text()).collect();
    assert!(nodes[1].client().ask(&format!("CLUSTER FORGET {}", ids[0])).is_error("ERR node "));
    // It may have been given replicas by now.
    for order in ["BASALT DRAIN", "CLUSTER FORGET"] {
        eventually("it is empty, and leaves", DEADLINE, || {
            match nodes[0].client().ask(&format!("{order} {}", ids[2])) {
                Reply::Simple(_) => Ok(()),
                other => Err(other),
            }
        });
    }
    wait_for(&cluster[..2], "cluster_known_nodes", "2");
}

#[test]
fn a_node_that_is_killed_while_it_joins_joins_when_it_is_told_again() {
    let temporary = tempfile::tempdir().expect("a temporary directory");
    let first = options(temporary.path(), 0).start();
    assert_eq!(first.client().ask("CLUSTER ADDSLOTSRANGE 0 16383"), Reply::ok());
    wait_for(&[first.address()], "cluster_state", "ok");
    let meet = format!("CLUSTER MEET {} {}", first.address().ip(), first.address().port());
    for round in 1..7 {
        let options = options(temporary.path(), round);
        let mut node = options.start();
        node.client().send(format!("{meet}\r\n")).expect("sent");
        std::thread::sleep(Duration::from_millis(12 * round as u64));
        node.kill_9();
        drop(node);
        let node = options.launch();
        let address = node.wait_for_address();
        eventually("it has met the other", DEADLINE, || {
            let reply = client(address).ask(&meet);
            if reply == Reply::ok() { Ok(()) } else { Err(reply) }
        });
        wait_for(&[address], "cluster_state", "ok");
        let known = client(address).ask("CLUSTER NODES").text();
        assert!(known.contains(&first.client().ask("CLUSTER MYID").text()), "{known}");
        let id = client(address).ask("CLUSTER MYID").text();
        assert!(first.client().ask("CLUSTER NODES").text().contains(&id));
        // While it is there: two nodes, of which one votes.
        eventually("it is forgotten", DEADLINE, || {
            let reply = first.client().ask(&format!("CLUSTER FORGET {id}"));
            if reply == Reply::ok() { Ok(()) } else { Err(reply) }
        });
        drop(node);
    }
}
