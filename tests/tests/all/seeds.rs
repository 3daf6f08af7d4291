//! Nodes that form a cluster by the list that each is started with, in whatever order they come and whoever is killed meanwhile.

use std::net::SocketAddr;
use std::path::Path;

use basalt_tests::{DEADLINE, Node, NodeOptions, Reply, eventually};

use super::nodes::{addresses, client, free_ports, options_at, redis_cli, wait_for};

/// The ports of nodes that are each started with the list of all.
struct List(Vec<u16>);

impl List {
    fn new(count: usize) -> List {
        List((0..count).map(|_| free_ports()).collect())
    }

    /// The options of a node, whose list has an order of its own.
    fn at(&self, dir: &Path, number: usize) -> NodeOptions {
        let place = |at: usize| format!("127.0.0.1:{}", self.0[(at + number) % self.0.len()]);
        let places: Vec<String> = (0..self.0.len()).map(place).collect();
        options_at(dir, number, self.0[number]).set("--cluster-seeds", places.join(","))
    }
}

/// Waits until the nodes are one cluster that serves all slots, and makes sure that it is one by what each says.
fn wait_until_formed(nodes: &[Node]) {
    let places = addresses(nodes);
    wait_for(&places, "cluster_known_nodes", &nodes.len().to_string());
    wait_for(&places, "cluster_slots_assigned", "16384");
    wait_for(&places, "cluster_state", "ok");
    let names = |place: &SocketAddr| {
        let text = client(*place).ask("CLUSTER NODES").text();
        let mut names: Vec<String> =
            text.lines().filter_map(|line| line.split(' ').next()).map(str::to_owned).collect();
        names.sort_unstable();
        names
    };
    let first = names(&places[0]);
    assert!(places.iter().all(|place| names(place) == first), "all know the same nodes");
}

#[test]
fn three_nodes_with_the_same_list_are_one_cluster_with_equal_shares() {
    let (temporary, list) = (tempfile::tempdir().expect("a temporary directory"), List::new(3));
    let nodes: Vec<Node> = (0..3).map(|number| list.at(temporary.path(), number).launch()).collect();
    wait_until_formed(&nodes);
    let place = nodes[0].wait_for_address().to_string();
    let text = redis_cli(&["--cluster", "check", &place]);
    assert!(text.contains("[OK] All 16384 slots covered."), "{text}");
    assert_eq!(text.matches("slots:").count(), 3, "{text}");
    assert!(text.contains("(5461 slots) master") && text.contains("(5462 slots) master"), "{text}");
}

#[test]
fn whoever_comes_last_the_others_wait_and_found_nothing() {
    let list = List::new(3);
    for last in 0..3 {
        let directory = tempfile::tempdir().expect("a temporary directory");
        let at = |number| list.at(directory.path(), number);
        let mut nodes: Vec<Node> = (0..3).filter(|number| *number != last).map(|number| at(number).launch()).collect();
        let early = addresses(&nodes);
        // Nothing has slots.
        eventually("they look for the third", DEADLINE, || {
            let said: Vec<String> = nodes.iter().flat_map(Node::said).collect();
            if said.iter().any(|line| line.contains("not reached")) { Ok(()) } else { Err(said) }
        });
        wait_for(&early, "cluster_slots_assigned", "0");
        nodes.push(at(last).launch());
        wait_until_formed(&nodes);
    }
}

#[test]
fn nodes_that_are_killed_while_they_form_a_cluster_form_one() {
    let list = List::new(3);
    for round in 0..6 {
        let directory = tempfile::tempdir().expect("a temporary directory");
        let at = |number| list.at(directory.path(), number);
        let mut nodes: Vec<Node> = (0..3).map(|number| at(number).launch()).collect();
        // At one moment or another on the way: when somebody knows of two, or of three, nodes.
        let (victim, known) = (round % 3, 2 + round / 3);
        let others = addresses(&nodes);
        eventually("they meet", DEADLINE, || {
            let knows = |place: &SocketAddr| match client(*place).ask("CLUSTER INFO") {
                Reply::Error(_) => false,
                info => (known..4).any(|known| info.text().contains(&format!("cluster_known_nodes:{known}\r\n"))),
            };
            if others.iter().any(knows) { Ok(()) } else { Err(()) }
        });
        nodes[victim].kill_9();
        nodes[victim] = at(victim).launch();
        wait_until_formed(&nodes);
    }
}

#[test]
fn nodes_that_listen_everywhere_find_out_their_addresses() {
    let (temporary, list) = (tempfile::tempdir().expect("a temporary directory"), List::new(3));
    let at = |number| list.at(temporary.path(), number).set("--bind", "0.0.0.0");
    let nodes: Vec<Node> = (0..3).map(|number| at(number).launch()).collect();
    wait_until_formed(&nodes);
    let text = client(nodes[1].wait_for_address()).ask("CLUSTER NODES").text();
    assert_eq!(text.matches("127.0.0.1:").count(), 3, "{text}");
}

#[test]
fn whoever_loses_its_disk_joins_the_others_as_a_new_node() {
    let list = List::new(3);
    for lost in 0..3 {
        let directory = tempfile::tempdir().expect("a temporary directory");
        let mut nodes: Vec<Node> = (0..3).map(|number| list.at(directory.path(), number).launch()).collect();
        wait_until_formed(&nodes);
        eventually("each group has three voters", 3 * DEADLINE, || {
            let info: String = addresses(&nodes).iter().map(|at| client(*at).ask("INFO raft").text()).collect();
            let led: Vec<&str> = info.lines().filter(|line| line.contains("role=leader")).collect();
            if led.len() == 4 && led.iter().all(|line| line.ends_with("voters=3")) { Ok(()) } else { Err(info) }
        });
        // Whoever leads the map, and where the others have known it.
        nodes[lost].kill_9();
        nodes[lost] = list.at(&directory.path().join("new"), lost).launch();
        wait_for(&addresses(&nodes), "cluster_known_nodes", "4");
    }
}

#[test]
fn a_node_that_was_taken_out_does_not_go_back_by_itself_and_a_new_one_joins() {
    let (temporary, list) = (tempfile::tempdir().expect("a temporary directory"), List::new(4));
    let mut nodes: Vec<Node> = (0..4).map(|number| list.at(temporary.path(), number).launch()).collect();
    wait_until_formed(&nodes);
    let places = addresses(&nodes);
    let id = client(places[3]).ask("CLUSTER MYID").text();
    assert_eq!(client(places[0]).ask(&format!("BASALT DRAIN {id}")), Reply::ok());
    eventually("it is drained", 3 * DEADLINE, || match client(places[0]).ask("BASALT MOVES") {
        Reply::Array(lines) if lines.len() == 1 && lines[0].text().contains("state=drained") => Ok(()),
        other => Err(other),
    });
    eventually("it leaves", 2 * DEADLINE, || match client(places[3]).ask("CLUSTER RESET") {
        Reply::Simple(_) => Ok(()),
        other => Err(other),
    });
    nodes[3].kill_9();
    nodes[3] = list.at(temporary.path(), 3).launch();
    wait_for(&addresses(&nodes)[3..], "cluster_known_nodes", "1");
    // One whose directory is lost looks for the others, as a new one does.
    nodes[3].kill_9();
    nodes[3] = list.at(&temporary.path().join("new"), 3).launch();
    wait_for(&addresses(&nodes), "cluster_known_nodes", "4");
    wait_for(&addresses(&nodes)[..3], "cluster_slots_assigned", "16384");
}
