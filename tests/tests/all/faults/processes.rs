//! Nodes that are killed, or stand still.

use super::{Cluster, load};

#[test]
fn nothing_is_lost_with_a_leader_that_is_killed_nor_with_all_of_them() {
    let mut cluster = Cluster::new(3, |_, options| options);
    let load = load(&cluster);
    load.go_on(500);
    cluster.kill(0);
    load.go_on_everywhere();
    cluster.restart(0);
    load.go_on(500);
    cluster.wait_until_whole();
    for number in 0..3 {
        cluster.nodes[number].kill();
    }
    for number in 0..3 {
        cluster.kill(number);
        cluster.restart(number);
    }
    load.go_on_everywhere();
    cluster.check(load);
}

/// It has reads before it that came when others had taken its place and acknowledged writes.
#[test]
fn a_leader_that_stood_still_gives_no_stale_read_when_it_goes_on() {
    let mut cluster = Cluster::new(3, |_, options| options);
    let load = load(&cluster);
    for number in [1, 0] {
        load.go_on(300);
        cluster.nodes[number].pause();
        load.go_on_everywhere();
        // Watchers have asked it about what was written since.
        load.go_on_everywhere();
        cluster.nodes[number].go_on();
        load.go_on_everywhere();
    }
    cluster.check(load);
}

#[test]
fn of_five_nodes_two_may_be_killed() {
    let mut cluster = Cluster::new(5, |_, options| options.set("--cores", "1"));
    let load = load(&cluster);
    load.go_on(300);
    cluster.nodes[1].kill();
    cluster.nodes[3].kill();
    cluster.kill(1);
    cluster.kill(3);
    // A group that had replicas on both waits for one of them.
    load.go_on(300);
    cluster.restart(3);
    load.go_on_everywhere();
    cluster.restart(1);
    load.go_on(300);
    cluster.check(load);
}
