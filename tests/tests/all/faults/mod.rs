//! Clusters of real nodes of which some fail, while clients write and read: no write that was acknowledged is lost, none is there
//! twice, and no read is stale. What the clients were answered is checked as a whole, see `basalt_tests::check`.

mod disks;
mod links;
mod marathon;
mod members;
mod partitions;
mod processes;

use std::net::SocketAddr;
use std::path::Path;

use basalt_tests::{DEADLINE, Network, Node, NodeOptions, Reply, Verdict, Workload, eventually, skip};
use tempfile::TempDir;

use super::nodes::{client, create, free_ports, options_at, wait_for};

/// The port of nodes that have a host for themselves.
const PORT: u16 = 7000;

/// Nodes of one cluster, whose groups have three replicas each.
struct Cluster {
    nodes: Vec<Node>,
    options: Vec<NodeOptions>,
    addresses: Vec<SocketAddr>,
    _directory: TempDir,
}

impl Cluster {
    /// Starts so many nodes on this machine; `change` changes the options of each.
    fn new(count: usize, change: impl Fn(usize, NodeOptions) -> NodeOptions) -> Cluster {
        let directory = tempfile::tempdir().expect("a temporary directory");
        let options = |number| change(number, options_at(directory.path(), number, free_ports()));
        let options = (0..count).map(options).collect();
        Cluster::start(directory, options)
    }

    /// Starts a node on each host of a network.
    fn on_hosts(network: &Network, count: usize, dir: impl Fn(&Path, usize) -> std::path::PathBuf) -> Cluster {
        let directory = tempfile::tempdir().expect("a temporary directory");
        let options = |number| {
            let options = options_at(&dir(directory.path(), number), number, PORT);
            options
                .set("--bind", Network::address(number).to_string())
                .set("--protected-mode", "no")
                .with_launcher(network.launcher(number))
        };
        let options = (0..count).map(options).collect();
        Cluster::start(directory, options)
    }

    fn start(directory: TempDir, options: Vec<NodeOptions>) -> Cluster {
        let nodes: Vec<Node> = options.iter().map(NodeOptions::start).collect();
        create(&nodes);
        let addresses = nodes.iter().map(Node::address).collect();
        let cluster = Cluster { nodes, options, addresses, _directory: directory };
        cluster.wait_until_whole();
        cluster
    }

    /// Waits until all nodes agree that all slots are served, and each group has three voters.
    fn wait_until_whole(&self) {
        wait_for(&self.addresses, "cluster_state", "ok");
        for node in &self.addresses {
            eventually("each group has three voters", 2 * DEADLINE, || {
                let info = match client(*node).ask("INFO raft") {
                    Reply::Error(error) => return Err(error),
                    info => info.text(),
                };
                let mut groups = info.lines().filter(|line| line.starts_with("raft_")).peekable();
                if groups.peek().is_some() && groups.all(|line| line.ends_with("voters=3")) {
                    Ok(())
                } else {
                    Err(info)
                }
            });
        }
    }

    /// Checks that no node has ended by itself.
    fn assert_running(&mut self) {
        for (number, node) in self.nodes.iter_mut().enumerate() {
            assert!(node.is_running(), "node {number} has ended by itself");
        }
    }

    /// Waits until all is well again, and checks what the clients were answered.
    fn check(&mut self, load: Workload) -> Verdict {
        self.assert_running();
        load.go_on_everywhere();
        self.wait_until_whole();
        let verdict = load.end();
        self.assert_running();
        println!("{} operations on {} keys, {} not known", verdict.operations, verdict.keys, verdict.unknown);
        let (count, first) = (verdict.anomalies.len(), verdict.anomalies.iter().take(3));
        assert_eq!(count, 0, "the first anomalies: {}", first.cloned().collect::<Vec<_>>().join("\n"));
        verdict
    }

    fn kill(&mut self, number: usize) {
        self.nodes[number].kill_9();
    }

    /// Starts a node again that has ended, and waits until it listens.
    fn restart(&mut self, number: usize) {
        self.nodes[number] = self.options[number].launch();
        self.nodes[number].wait_for_address();
    }
}

/// Runs a test in a network of so many hosts, where that is permitted.
fn in_network(hosts: usize, test: impl FnOnce(&Network) + Send) {
    let network = match Network::new(u8::try_from(hosts).expect("there are few")) {
        Ok(network) => network,
        Err(error) => return skip(&format!("a network with ways to cut needs the rights of root: {error}")),
    };
    // A thread of its own: it sees the network and nothing else from then on.
    let ended = std::thread::scope(|scope| {
        let inside = || {
            network.enter().expect("it was just made");
            test(&network);
        };
        scope.spawn(inside).join()
    });
    if let Err(panic) = ended {
        std::panic::resume_unwind(panic);
    }
}

/// Starts clients of all nodes.
fn load(cluster: &Cluster) -> Workload {
    Workload::start(&cluster.addresses, "load", 1)
}
