//! Nodes whose peers are far away.

use std::net::SocketAddr;
use std::time::Duration;

use basalt_tests::SlowLink;

use super::super::nodes::free_ports;
use super::{Cluster, load};

#[test]
fn a_node_that_is_far_away_for_a_while_costs_nothing_but_time() {
    let ports = [(); 3].map(|()| free_ports());
    let links = ports.map(|port| {
        let peers: SocketAddr = ([127, 0, 0, 1], port + 1).into();
        SlowLink::new(peers).expect("a free port")
    });
    let mut cluster = Cluster::new(3, |number, options| {
        let options =
            options.set("--port", ports[number].to_string()).set("--cluster-port", (ports[number] + 1).to_string());
        options.set("--cluster-announce-bus-port", links[number].port().to_string())
    });
    let load = load(&cluster);
    for delay_ms in [20, 400] {
        load.go_on(300);
        links[0].set_delay(Duration::from_millis(delay_ms));
        load.go_on(300);
        links[0].set_delay(Duration::ZERO);
        load.go_on_everywhere();
    }
    cluster.check(load);
}
