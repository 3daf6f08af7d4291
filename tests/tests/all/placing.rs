//! Replicas that move: nodes are drained, replaced and filled again while clients write, and whoever is killed meanwhile, nothing
//! that was acknowledged is lost.

use std::fs;
use std::net::SocketAddr;
use std::time::Duration;

use basalt_tests::{DEADLINE, Node, NodeOptions, Reply, eventually};

use super::failover::Writers;
use super::nodes::{addresses, client, create, free_ports, options_at, redis_cli, wait_for};

/// Four nodes; each group has replicas on three of them.
struct Four {
    _directory: tempfile::TempDir,
    options: Vec<NodeOptions>,
    nodes: Vec<Node>,
    ids: Vec<String>,
}

impl Four {
    fn new() -> Four {
        let directory = tempfile::tempdir().expect("a temporary directory");
        let options = |number| options_at(directory.path(), number, free_ports()).set("--cores", "1");
        let options: Vec<NodeOptions> = (0..4).map(options).collect();
        let nodes: Vec<Node> = options.iter().map(NodeOptions::start).collect();
        create(&nodes);
        let ids = nodes.iter().map(|node| node.client().ask("CLUSTER MYID").text()).collect();
        let four = Four { _directory: directory, options, nodes, ids };
        wait_for(&four.addresses(), "cluster_state", "ok");
        four.wait_for_voters(&[0, 1, 2, 3], 4);
        four
    }

    fn addresses(&self) -> Vec<SocketAddr> {
        addresses(&self.nodes)
    }

    fn ask(&self, node: usize, line: &str) -> Reply {
        client(self.nodes[node].wait_for_address()).ask(line)
    }

    /// Waits until each of so many groups is led by one of the nodes, and has three voters.
    fn wait_for_voters(&self, nodes: &[usize], groups: usize) {
        eventually("each group has three voters", 2 * DEADLINE, || {
            let info: String = nodes.iter().map(|node| text_of(self.ask(*node, "INFO raft"))).collect();
            let led: Vec<&str> = info.lines().filter(|line| line.contains("role=leader")).collect();
            if led.len() == groups && led.iter().all(|line| line.ends_with("voters=3")) { Ok(()) } else { Err(info) }
        });
    }

    /// The lines of what is on its way, as a node knows it.
    fn moves(&self, node: usize) -> Vec<String> {
        match self.ask(node, "BASALT MOVES") {
            Reply::Array(lines) => lines.iter().map(Reply::text).collect(),
            other => vec![format!("{other:?}")],
        }
    }

    fn wait_until(&self, node: usize, what: &str, is_so: impl Fn(&[String]) -> bool) {
        eventually(what, 3 * DEADLINE, || {
            let moves = self.moves(node);
            if is_so(&moves) { Ok(()) } else { Err(moves) }
        });
    }

    fn wait_until_nothing_moves(&self, node: usize) {
        self.wait_until(node, "nothing is on its way", |moves| moves.is_empty());
    }

    fn kill_and_restart(&mut self, number: usize) {
        self.nodes[number].kill_9();
        self.nodes[number] = self.options[number].launch();
        self.nodes[number].wait_for_address();
    }

    /// Orders the replica of a group from the node that has it to one that has none; returns both.
    fn move_some(&self, asked: usize, group: usize) -> (usize, usize) {
        let pairs = (0..4).flat_map(|from| (0..4).map(move |to| (from, to)));
        for (from, to) in pairs.filter(|(from, to)| from != to) {
            let order = format!("BASALT MOVE {group} {} {}", self.ids[from], self.ids[to]);
            let moved =
                eventually("the order is taken or refused for good", DEADLINE, || match self.ask(asked, &order) {
                    Reply::Simple(_) => Ok(true),
                    Reply::Error(text) if text.contains("is none of those") || text.contains("has a replica") => {
                        Ok(false)
                    }
                    other => Err(other),
                });
            if moved {
                return (from, to);
            }
        }
        panic!("group {group} is nowhere, or everywhere");
    }
}

fn text_of(reply: Reply) -> String {
    match reply {
        Reply::Error(error) => error,
        reply => reply.text(),
    }
}

/// The number of the replica of a group in a node's manifest; `None` if the node has no such group.
fn replica_of(four: &Four, node: usize, group: usize) -> Option<String> {
    let manifest = fs::read_to_string(four.nodes[node].dir().join("node.toml")).expect("it is there");
    let of_group = manifest.split("[[groups]]").find(|part| part.contains(&format!("\nnumber = {group}\n")))?;
    let number = of_group.lines().find_map(|line| line.strip_prefix("replica = "));
    Some(number.unwrap_or("that of the node").to_owned())
}

#[test]
fn a_node_is_drained_under_load_deleted_by_redis_cli_and_takes_its_share_when_it_comes_back() {
    let four = Four::new();
    let others = [0, 1, 2];
    let writers = Writers::start(&four.addresses()[..3], 4);
    writers.go_on(200);
    let refused = four.ask(3, "CLUSTER RESET SOFT");
    assert!(matches!(&refused, Reply::Error(text) if text.contains("BASALT DRAIN")), "{refused:?}");
    let drain = format!("BASALT DRAIN {}", four.ids[3]);
    assert_eq!(four.ask(1, &drain), Reply::ok());
    assert_eq!(four.ask(2, &drain), Reply::ok(), "it may be said twice");
    let is_drained = |moves: &[String]| moves.iter().any(|line| line.contains("state=drained")) && moves.len() == 1;
    four.wait_until(0, "the node is drained", is_drained);
    four.wait_for_voters(&others, 4);
    assert_eq!(fs::read_dir(four.nodes[3].dir().join("shards")).expect("there").count(), 0);
    writers.go_on(200);
    let (first, drained) = (four.addresses()[0].to_string(), &four.ids[3]);
    redis_cli(&["--cluster", "del-node", &first, drained]);
    wait_for(&four.addresses()[..3], "cluster_known_nodes", "3");
    wait_for(&four.addresses()[3..], "cluster_known_nodes", "1");
    writers.go_on(200);
    assert_eq!(writers.unknown(), 0, "no write was left without an answer");
    // It comes back as one that nobody knows, and gets its share when that is ordered.
    let first = four.addresses()[0];
    let meet = format!("CLUSTER MEET {} {}", first.ip(), first.port());
    assert_eq!(four.ask(3, &meet), Reply::ok());
    wait_for(&four.addresses(), "cluster_known_nodes", "4");
    let plan = eventually("all nodes answer", DEADLINE, || match four.ask(1, "BASALT REBALANCE DRYRUN") {
        Reply::Array(lines) => Ok(lines),
        other => Err(other),
    });
    assert!(plan.iter().any(|line| line.text().contains(&format!("to={}", four.ids[3]))), "{plan:?}");
    assert_eq!(four.ask(1, "BASALT REBALANCE"), Reply::ok());
    four.wait_until_nothing_moves(1);
    four.wait_for_voters(&[0, 1, 2, 3], 4);
    eventually("each node leads a group", 2 * DEADLINE, || {
        let nodes = text_of(four.ask(2, "CLUSTER NODES"));
        let has_slots = |line: &&str| line.split(' ').count() > 8;
        if nodes.lines().filter(has_slots).count() == 4 { Ok(()) } else { Err(nodes) }
    });
    assert_eq!(four.ask(1, "BASALT REBALANCE DRYRUN"), Reply::Array(Vec::new()));
    writers.go_on(200);
    writers.end();
}

#[test]
fn a_node_that_was_forgotten_while_it_was_away_can_leave_and_come_back() {
    let mut four = Four::new();
    assert_eq!(four.ask(0, &format!("BASALT DRAIN {}", four.ids[3])), Reply::ok());
    let is_drained = |moves: &[String]| moves.iter().any(|line| line.contains("state=drained")) && moves.len() == 1;
    four.wait_until(0, "the node is drained", is_drained);
    four.nodes[3].kill_9();
    let forget = format!("CLUSTER FORGET {}", four.ids[3]);
    eventually("it is forgotten", 2 * DEADLINE, || match four.ask(0, &forget) {
        Reply::Simple(_) => Ok(()),
        other => Err(other),
    });
    wait_for(&four.addresses()[..3], "cluster_known_nodes", "3");
    // It hears of no leader of the map any more.
    four.nodes[3] = four.options[3].launch();
    let reset = four.nodes[3].wait_for_address();
    let is_out = eventually("it is told to leave", 2 * DEADLINE, || match client(reset).ask("CLUSTER RESET") {
        Reply::Simple(text) => Ok(text),
        other => Err(other),
    });
    assert_eq!(is_out, "OK");
    wait_for(&four.addresses()[3..], "cluster_known_nodes", "1");
    let first = four.addresses()[0];
    let meet = format!("CLUSTER MEET {} {}", first.ip(), first.port());
    assert_eq!(four.ask(3, &meet), Reply::ok());
    wait_for(&four.addresses(), "cluster_known_nodes", "4");
}

#[test]
fn orders_that_cannot_be_carried_out_are_refused_with_the_reason() {
    let four = Four::new();
    let refused = |line: String| match four.ask(0, &line) {
        Reply::Error(text) => text,
        other => panic!("{line}: {other:?}"),
    };
    let (one, other) = (&four.ids[0], &four.ids[1]);
    assert!(refused(format!("BASALT MOVE 99 {one} {other}")).contains("there is no group 99"));
    assert!(refused(format!("BASALT MOVE 1 {one} {one}")).starts_with("ERR node "));
    assert!(refused(format!("BASALT MOVE 1 {one} {}", "f".repeat(40))).starts_with("ERR Unknown node"));
    assert!(refused(format!("BASALT REPLACE {other}")).contains("answers: BASALT DRAIN empties it"));
    assert!(refused(format!("BASALT REPLACE {one}")).contains("can't forget myself"));
    assert_eq!(refused(format!("BASALT DRAIN {one} SOON")), "ERR syntax error");
    for node in [1, 2] {
        assert_eq!(four.ask(0, &format!("BASALT DRAIN {}", four.ids[node])), Reply::ok());
    }
    assert!(refused(format!("BASALT DRAIN {}", four.ids[3])).contains("1 other nodes answer"));
    for node in [1, 2] {
        assert_eq!(four.ask(0, &format!("BASALT DRAIN {} CANCEL", four.ids[node])), Reply::ok());
    }
    four.wait_until_nothing_moves(0);
}

#[test]
fn others_take_the_part_of_a_node_that_is_lost() {
    let mut four = Four::new();
    let writers = Writers::start(&four.addresses()[..3], 4);
    writers.go_on(200);
    four.nodes[3].kill_9();
    let replace = format!("BASALT REPLACE {}", four.ids[3]);
    eventually("it is noticed that the node is lost", DEADLINE, || match four.ask(0, &replace) {
        Reply::Simple(_) => Ok(()),
        other => Err(other),
    });
    writers.go_on(200);
    wait_for(&four.addresses()[..3], "cluster_known_nodes", "3");
    wait_for(&four.addresses()[..3], "cluster_state", "ok");
    four.wait_for_voters(&[0, 1, 2], 4);
    writers.go_on(200);
    writers.end();
}

#[test]
fn a_replica_that_comes_back_to_a_node_is_a_new_member() {
    let four = Four::new();
    let writers = Writers::start(&four.addresses(), 2);
    let (from, to) = four.move_some(0, 1);
    let mut seen = vec![replica_of(&four, from, 1).expect("it has the group")];
    for round in 0..2 {
        four.wait_until_nothing_moves(from);
        assert_eq!(replica_of(&four, from, 1), None);
        let back = format!("BASALT MOVE 1 {} {}", four.ids[to], four.ids[from]);
        assert_eq!(four.ask(to, &back), Reply::ok());
        four.wait_until_nothing_moves(from);
        four.wait_for_voters(&[0, 1, 2, 3], 4);
        let number = replica_of(&four, from, 1).expect("it has the group again");
        assert!(!seen.contains(&number), "{number} of {seen:?}");
        seen.push(number);
        if round == 0 {
            let again = format!("BASALT MOVE 1 {} {}", four.ids[from], four.ids[to]);
            assert_eq!(four.ask(from, &again), Reply::ok());
        }
    }
    writers.go_on(200);
    writers.end();
}

#[test]
fn whoever_is_killed_while_a_replica_moves_the_move_ends_and_nothing_is_lost() {
    let mut four = Four::new();
    let writers = Writers::start(&four.addresses(), 4);
    for round in 0..9 {
        writers.go_on(100);
        let group = round % 4 + 1;
        let (from, to) = four.move_some(round % 4, group);
        let bystander = (0..4).find(|node| *node != from && *node != to).expect("there are four");
        let victim = [from, to, bystander][round % 3];
        // At another step each time.
        std::thread::sleep(Duration::from_millis(120 * (round as u64 % 5)));
        four.kill_and_restart(victim);
        wait_for(&four.addresses(), "cluster_state", "ok");
        four.wait_until_nothing_moves(bystander);
        four.wait_for_voters(&[0, 1, 2, 3], 4);
    }
    writers.go_on(200);
    writers.end();
}

#[test]
fn a_drain_goes_on_after_all_nodes_were_killed() {
    let mut four = Four::new();
    let writers = Writers::start(&four.addresses(), 2);
    writers.go_on(100);
    assert_eq!(four.ask(0, &format!("BASALT DRAIN {}", four.ids[2])), Reply::ok());
    four.nodes.iter_mut().for_each(Node::kill_9);
    four.nodes = four.options.iter().map(NodeOptions::launch).collect();
    wait_for(&four.addresses(), "cluster_state", "ok");
    let is_drained = |moves: &[String]| moves.iter().any(|line| line.contains("state=drained")) && moves.len() == 1;
    four.wait_until(1, "the node is drained", is_drained);
    four.wait_for_voters(&[0, 1, 3], 4);
    // It is undone by one word, and what has moved comes back by another.
    assert_eq!(four.ask(3, &format!("BASALT DRAIN {} CANCEL", four.ids[2])), Reply::ok());
    assert_eq!(four.moves(3), Vec::<String>::new());
    eventually("all nodes answer", DEADLINE, || match four.ask(1, "BASALT REBALANCE") {
        Reply::Simple(_) => Ok(()),
        other => Err(other),
    });
    four.wait_until_nothing_moves(1);
    four.wait_for_voters(&[0, 1, 2, 3], 4);
    assert!(text_of(four.ask(2, "INFO raft")).contains("voters=3"));
    writers.go_on(100);
    writers.end();
}

#[test]
fn role_names_the_node_that_a_replica_has_moved_to() {
    let four = Four::new();
    let (from, to) = four.move_some(0, 1);
    four.wait_until_nothing_moves(0);
    four.wait_for_voters(&[0, 1, 2, 3], 4);
    let leader = (0..4).find(|node| *node != from && *node != to).expect("there are four");
    let transfer = format!("RAFT TRANSFER 1 {}", four.ids[leader]);
    eventually("it becomes the home", DEADLINE, || match four.ask(leader, &transfer) {
        Reply::Simple(_) => Ok(()),
        other => Err(other),
    });
    let new = four.addresses()[to].port().to_string();
    eventually("the home leads, and tells of the node", DEADLINE, || {
        let role = four.ask(leader, "ROLE");
        let told: Vec<String> = role.elements()[2].elements().iter().map(|one| one.elements()[1].text()).collect();
        let status = four.ask(leader, "RAFT STATUS 1");
        let is_led_here = status.elements().iter().any(|group| group.elements()[1].text() == "leader");
        if is_led_here && told.contains(&new) { Ok(()) } else { Err((told, status)) }
    });
    let status = format!("{:?}", four.ask(leader, "RAFT STATUS 1"));
    assert!(status.contains(&four.ids[to]) && !status.contains(&four.ids[from]), "{status}");
}

#[test]
fn a_replica_whose_new_node_is_lost_on_the_way_goes_back_and_the_node_is_replaced() {
    replace_the_target_of_a_move(false);
}

#[test]
fn what_was_to_move_to_a_node_that_is_lost_moves_elsewhere_when_that_is_drained() {
    replace_the_target_of_a_move(true);
}

fn replace_the_target_of_a_move(is_drained: bool) {
    let mut four = Four::new();
    let has = |node: &usize| matches!(four.ask(*node, "RAFT STATUS 1"), Reply::Array(_));
    let to = (0..4).find(|node| !has(node)).expect("a group is on three nodes");
    let others: Vec<usize> = (0..4).filter(|node| *node != to).collect();
    let (asked, from) = (others[0], others[1]);
    let writers = Writers::start(&others.iter().map(|node| four.addresses()[*node]).collect::<Vec<_>>(), 2);
    writers.go_on(100);
    four.nodes[to].kill_9();
    // Nobody has noticed yet.
    let addresses: Vec<SocketAddr> = others.iter().map(|node| four.nodes[*node].address()).collect();
    let ask = |line: String| client(addresses[0]).ask(&line);
    assert_eq!(ask(format!("BASALT MOVE 1 {} {}", four.ids[from], four.ids[to])), Reply::ok());
    let back = format!("BASALT MOVE 1 {} {}", four.ids[to], four.ids[from]);
    eventually("the map refuses that it is replaced", DEADLINE, || {
        match ask(format!("BASALT REPLACE {}", four.ids[to])) {
            Reply::Error(text) if text.contains(&back) => Ok(()),
            other => Err(other),
        }
    });
    // All of what moves there at once, or one group.
    let way_out = if is_drained { format!("BASALT DRAIN {}", four.ids[to]) } else { back };
    eventually("nothing is to move there", 2 * DEADLINE, || match ask(way_out.clone()) {
        Reply::Simple(_) => Ok(()),
        other => Err(other),
    });
    eventually("it is replaced", 2 * DEADLINE, || match ask(format!("BASALT REPLACE {}", four.ids[to])) {
        Reply::Simple(_) => Ok(()),
        other => Err((other, four.moves(asked))),
    });
    wait_for(&addresses, "cluster_known_nodes", "3");
    wait_for(&addresses, "cluster_state", "ok");
    four.wait_until_nothing_moves(asked);
    four.wait_for_voters(&others, 4);
    writers.go_on(100);
    writers.end();
}

#[test]
fn the_node_that_alone_votes_on_the_map_leaves_though_the_other_one_is_killed() {
    let directory = tempfile::tempdir().expect("a temporary directory");
    let options: Vec<NodeOptions> =
        (0..2).map(|number| options_at(directory.path(), number, free_ports()).set("--cores", "1")).collect();
    let mut nodes: Vec<Node> = options.iter().map(NodeOptions::start).collect();
    let first = nodes[0].address();
    let meet = format!("CLUSTER MEET {} {}", first.ip(), first.port());
    assert_eq!(client(nodes[1].address()).ask(&meet), Reply::ok());
    wait_for(&addresses(&nodes), "cluster_known_nodes", "2");
    let id = nodes[0].client().ask("CLUSTER MYID").text();
    let mut leaving = client(first);
    leaving.send("CLUSTER RESET\r\n").expect("it reads");
    nodes[1].kill_9();
    nodes[1] = options[1].launch();
    nodes[1].wait_for_address();
    // Refused while the other one is away, and taken later then.
    eventually("it has left", 2 * DEADLINE, || match client(first).ask("CLUSTER INFO") {
        Reply::Error(error) => Err(error),
        info if info.text().contains("cluster_known_nodes:1\r\n") => Ok(()),
        _ => Err(text_of(client(first).ask("CLUSTER RESET"))),
    });
    // The other one has a map that it can change.
    let left = nodes[1].wait_for_address();
    wait_for(&[left], "cluster_known_nodes", "1");
    eventually("a change is made", DEADLINE, || match client(left).ask("CLUSTER ADDSLOTS 7") {
        Reply::Simple(_) => Ok(()),
        other => Err(other),
    });
    let nodes = text_of(client(left).ask("CLUSTER NODES"));
    assert!(!nodes.contains(&id), "{nodes}");
}
