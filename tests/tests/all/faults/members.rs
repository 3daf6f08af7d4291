//! Nodes that come and go while there is load.

use basalt_tests::{DEADLINE, Reply, eventually};

use super::super::nodes::{client, free_ports, options_at, redis_cli, wait_for};
use super::{Cluster, load};

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
