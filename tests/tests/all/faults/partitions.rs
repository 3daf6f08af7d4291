//! Nodes that do not reach each other, while clients reach them all.

use super::{Cluster, in_network, load};

#[test]
fn a_leader_that_is_cut_off_gives_no_stale_read_and_others_take_its_place() {
    in_network(3, |network| {
        let mut cluster = Cluster::on_hosts(network, 3, |dir, _| dir.to_owned());
        let load = load(&cluster);
        load.go_on(300);
        for other in [1, 2] {
            network.cut(0, other);
            network.cut(other, 0);
        }
        load.go_on_everywhere();
        load.go_on_everywhere();
        network.mend();
        cluster.check(load);
    });
}

#[test]
fn a_leader_that_is_not_heard_or_does_not_hear_is_replaced() {
    in_network(3, |network| {
        let mut cluster = Cluster::on_hosts(network, 3, |dir, _| dir.to_owned());
        let load = load(&cluster);
        load.go_on(300);
        for other in [0, 2] {
            network.cut(1, other);
        }
        load.go_on_everywhere();
        network.mend();
        load.go_on_everywhere();
        cluster.wait_until_whole();
        for other in [0, 1] {
            network.cut(other, 2);
        }
        load.go_on_everywhere();
        network.mend();
        cluster.check(load);
    });
}
