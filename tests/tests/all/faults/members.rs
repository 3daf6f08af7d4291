//! Nodes that come and go while there is load.

use basalt_tests::{DEADLINE, Network, Reply, eventually};

use super::super::nodes::{client, free_ports, options_at, redis_cli, wait_for};
use super::{Cluster, PORT, in_network, load};

#[test]
fn a_node_joins_and_is_forgotten_while_there_is_load() {
    let mut cluster = Cluster::new(3, |_, options| options);
    let directory = tempfile::tempdir().expect("a temporary directory");
    let load = load(&cluster);
    load.go_on(300);
    let new = options_at(directory.path(), 3, free_ports()).start();
    let (first, added) = (cluster.addresses[0].to_string(), new.address().to_string());
    let text = redis_cli(&["--cluster", "add-node", &added, &first, "--cluster-slave"]);
    assert!(text.contains("[OK] New node added correctly."), "{text}");
    let mut all = cluster.addresses.clone();
    all.push(new.address());
    wait_for(&all, "cluster_known_nodes", "4");
    wait_for(&all, "cluster_state", "ok");
    load.go_on_everywhere();
    let id = new.client().ask("CLUSTER MYID").text();
    for node in &cluster.addresses {
        eventually("it is forgotten", DEADLINE, || match client(*node).ask(&format!("CLUSTER FORGET {id}")) {
            Reply::Simple(_) => Ok(()),
            // Another node was told, and this one has heard of it.
            Reply::Error(error) if error.contains("Unknown node") => Ok(()),
            reply => Err(reply),
        });
    }
    wait_for(&cluster.addresses, "cluster_known_nodes", "3");
    drop(new);
    cluster.check(load);
}

#[test]
fn a_node_that_only_one_other_does_not_hear_is_not_replaced() {
    in_network(4, |network| {
        let mut cluster = Cluster::on_hosts(network, 3, |dir, _| dir.to_owned());
        let load = load(&cluster);
        let directory = tempfile::tempdir().expect("a temporary directory");
        let options = options_at(directory.path(), 3, PORT).set("--bind", Network::address(3).to_string());
        let new = options.set("--protected-mode", "no").with_launcher(network.launcher(3)).start();
        let first = cluster.addresses[0];
        let meet = format!("CLUSTER MEET {} {}", first.ip(), first.port());
        assert_eq!(new.client().ask(&meet), Reply::ok());
        wait_for(&cluster.addresses, "cluster_known_nodes", "4");
        // A group that node 0 leads gets its replica of node 1 on the new one, which leads nothing.
        let ids: Vec<String> = cluster.addresses.iter().map(|node| client(*node).ask("CLUSTER MYID").text()).collect();
        let new_id = new.client().ask("CLUSTER MYID").text();
        let status = client(first).ask("RAFT STATUS");
        let led = status.elements().iter().find(|group| group.elements()[1].text() == "leader").expect("it leads one");
        let group = led.elements()[5].integer();
        let ask = |line: String| client(first).ask(&line);
        eventually("the order is taken", DEADLINE, || match ask(format!("BASALT MOVE {group} {} {new_id}", ids[1])) {
            Reply::Simple(_) => Ok(()),
            other => Err(other),
        });
        eventually("nothing is on its way", 2 * DEADLINE, || match ask("BASALT MOVES".to_owned()) {
            Reply::Array(moves) if moves.is_empty() => Ok(()),
            other => Err(other),
        });
        load.go_on(300);
        network.cut(1, 3);
        network.cut(3, 1);
        let replace = format!("BASALT REPLACE {new_id}");
        let refused = eventually("node 1 thinks that it is lost", DEADLINE, || {
            let reply = client(cluster.addresses[1]).ask(&replace);
            let is_early =
                |text: &String| text.contains("silent for a moment") || text.contains("BASALT DRAIN empties");
            match &reply {
                Reply::Error(text) if is_early(text) && !text.contains("leads the cluster's map") => Err(reply),
                _ => Ok(reply),
            }
        });
        let is_refused = |text: &String| text.contains("it is not lost") || text.contains("others hear it");
        assert!(matches!(&refused, Reply::Error(text) if is_refused(text)), "{refused:?}");
        assert!(client(first).ask("CLUSTER INFO").text().contains("cluster_known_nodes:4"));
        network.mend();
        load.go_on(300);
        cluster.check(load);
    });
}
