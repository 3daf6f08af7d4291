//! A node of three whose disk stands still gives its leads away, loses nothing, and is a follower when the disk answers again.

use std::net::SocketAddr;
use std::time::{Duration, Instant};

use basalt_tests::{DEADLINE, FrozenThread, eventually, skip};

use super::failover::{Three, Writers};
use super::nodes::client;

/// A field of `INFO cluster`.
fn field(node: SocketAddr, name: &str) -> String {
    let info = client(node).ask("INFO cluster").text();
    info.lines().find_map(|line| line.strip_prefix(name)?.strip_prefix(':')).unwrap_or(&info).to_owned()
}

/// The groups that a node leads by its own words.
fn led(node: SocketAddr) -> usize {
    let info = client(node).ask("INFO raft").text();
    info.lines().filter(|line| line.starts_with("raft_") && line.contains("role=leader")).count()
}

fn stalls(node: SocketAddr) -> String {
    field(node, "cluster_disk_stalls")
}

#[test]
fn a_node_whose_disk_stands_still_gives_its_leads_away_and_gets_them_back_when_it_answers() {
    let three = Three::new(&[("--cores", "1")]);
    let nodes = three.addresses();
    let writers = Writers::start(&nodes, 4);
    writers.go_on(100);
    let frozen = match FrozenThread::new(&three.nodes[0], "log-sync-0") {
        Ok(frozen) => frozen,
        Err(error) => return skip(&format!("a thread cannot be stopped: {error}")),
    };
    eventually("the node leads nothing", DEADLINE, || match led(nodes[0]) {
        0 => Ok(()),
        left => Err(left),
    });
    assert_eq!((stalls(nodes[0]), field(nodes[0], "cluster_disk_is_well")), ("1".to_owned(), "0".to_owned()));
    let others: Vec<SocketAddr> = nodes[1..].to_vec();
    eventually("the others lead all groups", DEADLINE, || match others.iter().map(|node| led(*node)).sum::<usize>() {
        3 => Ok(()),
        count => Err(count),
    });
    // Through them, while the disk stands still: who waits for it is told that nobody knows.
    writers.go_on(500);
    assert_eq!(led(nodes[0]), 0);
    let said =
        three.nodes[0].said().into_iter().find(|line| line.contains("the disk of this node has not answered for"));
    assert!(said.is_some(), "{:?}", three.nodes[0].said());

    drop(frozen);
    writers.go_on(100);
    three.wait_for_homes();
    assert_eq!(field(nodes[0], "cluster_disk_is_well"), "1");
    writers.go_on(100);
    assert!(writers.unknown() > 0, "some have waited for the disk that stood still");
    writers.end();
}

#[test]
fn where_all_disks_stand_still_the_groups_are_led_again_soon_after_they_answer() {
    let three = Three::new(&[("--cores", "1")]);
    let nodes = three.addresses();
    let writers = Writers::start(&nodes, 4);
    writers.go_on(100);
    // A node whose disk was silent is well 5 s later: who waited for that would be led in no round sooner. A slow machine may
    // need that long for other reasons, so it has several rounds.
    let silent = (0..10).map(|_| {
        let before: Vec<String> = nodes.iter().map(|node| stalls(*node)).collect();
        let mut frozen = Vec::new();
        for node in &three.nodes {
            frozen.push(FrozenThread::new(node, "log-sync-0").ok()?);
        }
        eventually("a disk is found silent", DEADLINE, || {
            let now: Vec<String> = nodes.iter().map(|node| stalls(*node)).collect();
            if now != before { Ok(()) } else { Err(now) }
        });
        // The stall itself, which is what is tested: long enough for every node to find it.
        std::thread::sleep(Duration::from_secs(2));
        let thawed = Instant::now();
        frozen.clear();
        writers.go_on(100);
        let silent = thawed.elapsed();
        eventually("all disks are well", DEADLINE, || {
            let well: Vec<String> = nodes.iter().map(|node| field(*node, "cluster_disk_is_well")).collect();
            if well.iter().all(|well| well == "1") { Ok(()) } else { Err(well) }
        });
        Some(silent)
    });
    let mut rounds = Vec::new();
    for silent in silent {
        let Some(silent) = silent else { return skip("a thread cannot be stopped") };
        rounds.push(silent);
        if silent < Duration::from_secs(5) {
            break;
        }
    }
    assert!(rounds.last() < Some(&Duration::from_secs(5)), "nobody was led for {rounds:?}, though all disks answered");
    eventually("all groups are led", DEADLINE, || match nodes.iter().map(|node| led(*node)).sum::<usize>() {
        3 => Ok(()),
        count => Err(count),
    });
    writers.end();
}

#[test]
fn a_disk_that_stands_still_for_a_moment_moves_no_lead() {
    let three = Three::new(&[("--cores", "1"), ("--election-timeout", "10s")]);
    let nodes = three.addresses();
    three.wait_for_homes();
    let writers = Writers::start(&nodes, 4);
    writers.go_on(100);
    let terms = |node: SocketAddr| -> Vec<String> {
        let info = client(node).ask("INFO raft").text();
        let of_line = |line: &str| Some(line.split("term=").nth(1)?.split(',').next()?.to_owned());
        info.lines().filter(|line| line.contains("role=leader")).filter_map(of_line).collect()
    };
    let before = terms(nodes[0]);
    assert!(!before.is_empty());
    for _ in 0..3 {
        let frozen = match FrozenThread::new(&three.nodes[0], "log-sync-0") {
            Ok(frozen) => frozen,
            Err(error) => return skip(&format!("a thread cannot be stopped: {error}")),
        };
        // The stall itself, which is what is tested.
        std::thread::sleep(Duration::from_secs(1));
        drop(frozen);
        writers.go_on(100);
    }
    assert_eq!(terms(nodes[0]), before);
    assert_eq!(stalls(nodes[0]), "0");
    writers.end();
}
