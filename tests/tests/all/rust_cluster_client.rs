//! The cluster client of the Rust crate `redis`, while nodes are killed and come back.

use std::ops::Range;

use basalt_tests::{DEADLINE, Node, NodeOptions, eventually};
use redis::cluster::{ClusterClient, ClusterConnection};
use redis::{Commands as _, RedisResult};

use super::nodes::{addresses, create, free_ports, options_at, wait_for};

/// Waits until each group of the nodes has three voters.
fn wait_for_voters(nodes: &[Node]) {
    eventually("each group has three voters", 2 * DEADLINE, || {
        let info: String = nodes.iter().map(|node| node.client().ask("INFO raft").text()).collect();
        let mut led = info.lines().filter(|line| line.contains("role=leader")).peekable();
        if led.peek().is_some() && led.all(|line| line.ends_with("voters=3")) { Ok(()) } else { Err(info) }
    });
}

/// Does something until it is done. The client looks for a node that is gone where that was, for as long as it is used: whoever
/// uses it takes a new connection, which begins with the nodes that are there.
fn until_done<T>(
    client: &ClusterClient,
    connection: &mut ClusterConnection,
    what: &str,
    run: impl Fn(&mut ClusterConnection) -> RedisResult<T>,
) -> T {
    eventually(what, DEADLINE, || match run(connection) {
        Ok(done) => Ok(done),
        Err(error) => {
            if let Ok(new) = client.get_connection() {
                *connection = new;
            }
            Err(error.to_string())
        }
    })
}

#[test]
fn it_goes_on_whoever_is_killed_and_finds_all_that_was_acknowledged() {
    let directory = tempfile::tempdir().expect("a temporary directory");
    let options = |number| options_at(directory.path(), number, free_ports()).set("--cores", "1");
    let options: Vec<NodeOptions> = (0..3).map(options).collect();
    let mut nodes: Vec<Node> = options.iter().map(NodeOptions::start).collect();
    create(&nodes);
    wait_for(&addresses(&nodes), "cluster_state", "ok");
    let urls =
        |protocol: &str| addresses(&nodes).iter().map(|at| format!("redis://{at}/?protocol={protocol}")).collect();
    let lists: [Vec<String>; 2] = ["resp2", "resp3"].map(urls);
    let mut written = 0;
    for (victim, list) in lists.into_iter().enumerate() {
        wait_for_voters(&nodes);
        let client = ClusterClient::new(list).expect("the addresses are right");
        let mut connection = client.get_connection().expect("the nodes accept");
        let mut write = |keys: Range<usize>| {
            for key in keys {
                until_done(&client, &mut connection, "a write", |to| to.set::<_, _, ()>(format!("key:{key}"), key));
            }
        };
        write(written..written + 200);
        nodes[victim].kill_9();
        write(written + 200..written + 400);
        nodes[victim] = options[victim].start();
        write(written + 400..written + 600);
        written += 600;
        for key in 0..written {
            let found: Option<usize> =
                until_done(&client, &mut connection, "a read", |from| from.get(format!("key:{key}")));
            assert_eq!(found, Some(key), "key:{key}");
        }
        // A pipeline over the slots of all nodes.
        let mut pipeline = redis::cluster::cluster_pipe();
        for key in 0..100 {
            pipeline.cmd("GET").arg(format!("key:{key}"));
        }
        let found: Vec<usize> = until_done(&client, &mut connection, "a pipeline", |from| pipeline.query(from));
        assert!(found.into_iter().eq(0..100));
    }
}
