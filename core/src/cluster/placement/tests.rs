//! The promises of the placement, on small clusters at random.

use std::collections::{BTreeMap, BTreeSet};

use proptest::prelude::*;

use super::super::map::testing::*;
use super::super::map::{Addresses, Change, Group, Node, Role, SlotSet};
use super::*;

/// A cluster to be made, and where its groups are at first.
#[derive(Debug, Clone)]
struct Cluster {
    /// The zone of each node, 0 for none, and the master that it follows if that is one.
    nodes: Vec<(u8, Option<usize>)>,
    draining: Vec<bool>,
    lost: Vec<bool>,
    factor: u8,
    /// Of each group a number that says where it is, and the replicas that it wants.
    groups: Vec<(u64, Option<u8>)>,
}

impl Cluster {
    /// A cluster of masters only, nobody of them lost, in so many zones.
    fn plain(nodes: usize, zones: u8, factor: u8, groups: usize) -> Cluster {
        Cluster {
            nodes: (0..nodes).map(|node| (if zones == 0 { 0 } else { node as u8 % zones + 1 }, None)).collect(),
            draining: vec![false; nodes],
            lost: vec![false; nodes],
            factor,
            groups: (0..groups).map(|group| (group as u64 * 2_654_435_761, None)).collect(),
        }
    }

    fn lost(&self) -> BTreeSet<NodeId> {
        (1..).zip(&self.lost).filter(|(_, is_lost)| **is_lost).map(|(node, _)| number(node)).collect()
    }

    fn map(&self) -> Map {
        let nodes = self.nodes.len() as u64;
        let mut map = with_nodes(nodes);
        for (node, &(zone, master)) in (1..).zip(&self.nodes) {
            let zone = if zone == 0 { String::new() } else { format!("z{zone}") };
            let addresses = Addresses { zone, ..addresses(node) };
            apply(&mut map, Change::Announce { node: number(node), incarnation: 3, addresses });
            let master = master.map(|master| master as u64 + 1).filter(|master| *master <= nodes && *master != node);
            if let Some(master) = master {
                let role = Role::ReplicaOf(number(master));
                let _ = map.apply(map.epoch() + 1, Change::SetRole { node: number(node), role });
            }
        }
        apply(&mut map, Change::SetReplicationFactor { count: self.factor });
        let claimant = map.nodes().iter().find(|node| node.role == Role::Master).unwrap().number;
        if !self.groups.is_empty() {
            let count = self.groups.len() as u16;
            apply(&mut map, Change::ClaimSlots { node: claimant, ranges: vec![range(0, count - 1)] });
            found_live(&mut map, claimant.0, count);
        }
        let mut placements = Vec::new();
        for (group, &(at, wanted)) in map.clone().groups().iter().zip(&self.groups) {
            apply(&mut map, Change::SetReplicasWanted { group: group.number, count: wanted });
            let replicas: BTreeSet<_> = (0..1 + at % 4).map(|step| number((at >> (8 * step)) % nodes + 1)).collect();
            let replicas: Vec<_> = replicas.into_iter().collect();
            placements.push(GroupPlacement {
                group: group.number,
                home: replicas[at as usize % replicas.len()],
                replicas,
            });
        }
        apply(&mut map, Change::PlaceGroups { placements });
        // Two that stay until all others are drained.
        let spare = [nodes + 1, nodes + 2];
        for node in spare {
            apply(&mut map, Change::Join { node: newcomer(node), claimed: SlotSet::default() });
        }
        for (node, &is_draining) in (1..).zip(&self.draining) {
            apply(&mut map, Change::SetDraining { node: number(node), is_draining });
        }
        for node in spare {
            apply(&mut map, Change::Forget { node: number(node) });
        }
        map
    }
}

fn clusters() -> impl Strategy<Value = Cluster> {
    let node = (0..4u8, prop::option::weighted(0.3, 0..9usize), prop::bool::weighted(0.2), prop::bool::weighted(0.2));
    let group = (any::<u64>(), prop::option::weighted(0.2, 1..6u8));
    let parts = (prop::collection::vec(node, 1..10), 1..6u8, prop::collection::vec(group, 0..30), any::<[bool; 4]>());
    parts.prop_map(|(nodes, factor, groups, [has_zones, has_replicas, has_draining, has_lost])| Cluster {
        nodes: nodes.iter().map(|node| (if has_zones { node.0 } else { 0 }, node.1.filter(|_| has_replicas))).collect(),
        draining: nodes.iter().map(|node| node.2 && has_draining).collect(),
        lost: nodes.iter().map(|node| node.3 && has_lost).collect(),
        factor,
        groups,
    })
}

/// The map with everything where it should be, and the number of replicas that had to move.
fn placed(map: &Map, lost: &BTreeSet<NodeId>) -> (Map, usize) {
    let mut after = map.clone();
    let placements = place(map, lost);
    apply(&mut after, Change::PlaceGroups { placements });
    let pairs = map.groups().iter().zip(after.groups());
    let moved = pairs.map(|(old, new)| new.replicas.iter().filter(|node| !old.replicas.contains(node)).count()).sum();
    (after, moved)
}

fn usable<'a>(map: &'a Map, lost: &BTreeSet<NodeId>) -> Vec<&'a Node> {
    map.nodes().iter().filter(|node| !node.is_draining && !lost.contains(&node.number)).collect()
}

/// Least and greatest of the numbers of groups that `has` says are a node's.
fn spread(map: &Map, nodes: &[&Node], has: impl Fn(&Group, NodeId) -> bool) -> (usize, usize) {
    let counts = nodes.iter().map(|node| map.groups().iter().filter(|group| has(group, node.number)).count());
    let counts: Vec<_> = counts.collect();
    (counts.iter().copied().min().unwrap_or(0), counts.iter().copied().max().unwrap_or(0))
}

fn spread_of_replicas(map: &Map, nodes: &[&Node]) -> (usize, usize) {
    spread(map, nodes, |group, node| group.replicas.contains(&node))
}

fn spread_of_homes(map: &Map, nodes: &[&Node]) -> (usize, usize) {
    spread(map, nodes, |group, node| group.home == node)
}

/// Replicas of the group in each zone that has usable nodes, with the number of those nodes.
fn zones(group: &Group, usable: &[&Node]) -> BTreeMap<String, (usize, usize)> {
    let mut zones = BTreeMap::new();
    for node in usable {
        let zone = &node.addresses.zone;
        let zone = if zone.is_empty() { format!("node {}", node.number) } else { zone.clone() };
        let counts: &mut (usize, usize) = zones.entry(zone).or_default();
        counts.0 += usize::from(group.replicas.contains(&node.number));
        counts.1 += 1;
    }
    zones
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(600))]

    #[test]
    fn a_second_look_moves_nothing_and_every_node_comes_to_the_same(cluster in clusters()) {
        let (map, lost) = (cluster.map(), cluster.lost());
        let (after, _) = placed(&map, &lost);
        prop_assert_eq!(place(&after, &lost), vec![]);
        prop_assert_eq!(place(&Map::decode(&map.encode()).unwrap(), &lost), place(&map, &lost));
    }

    #[test]
    fn every_group_has_its_replicas_on_nodes_that_stay(cluster in clusters()) {
        let (map, lost) = (cluster.map(), cluster.lost());
        let (after, _) = placed(&map, &lost);
        let usable = usable(&after, &lost);
        let is_usable = |node: &NodeId| usable.iter().any(|other| other.number == *node);
        for (old, group) in map.groups().iter().zip(after.groups()) {
            if usable.is_empty() || old.replicas.iter().all(|node| lost.contains(node)) {
                prop_assert_eq!(old, group);
                continue;
            }
            let wanted = usize::from(map.replicas_wanted(group));
            let here = group.replicas.iter().filter(|node| is_usable(node)).count();
            prop_assert_eq!(here, wanted.min(usable.len()), "{:?}", group);
            // Others keep theirs only as long as there are too few, and get none.
            let kept = old.replicas.iter().filter(|node| !is_usable(node)).count().min(wanted - here);
            prop_assert_eq!(group.replicas.len(), here + kept, "{:?} was {:?}", group, old);
            prop_assert!(group.replicas.iter().all(|node| is_usable(node) || old.replicas.contains(node)));
        }
    }

    #[test]
    fn zones_are_apart(cluster in clusters()) {
        let (map, lost) = (cluster.map(), cluster.lost());
        let (after, _) = placed(&map, &lost);
        let usable = usable(&after, &lost);
        for group in after.groups().iter().filter(|group| !group.replicas.iter().all(|node| lost.contains(node))) {
            let zones = zones(group, &usable);
            for (zone, (more, _)) in &zones {
                for (other, (fewer, nodes)) in &zones {
                    prop_assert!(
                        *more <= fewer + 1 || fewer == nodes,
                        "{:?} has {} replicas in {} and {} in {}", group, more, zone, fewer, other
                    );
                }
            }
        }
    }

    #[test]
    fn homes_are_on_masters_and_even(cluster in clusters()) {
        let (map, lost) = (cluster.map(), cluster.lost());
        let (after, _) = placed(&map, &lost);
        let usable = usable(&after, &lost);
        let masters: Vec<&Node> = usable.iter().copied().filter(|node| node.role == Role::Master).collect();
        let leaders = if masters.is_empty() { usable } else { masters };
        let (least, most) = spread_of_homes(&after, &leaders);
        prop_assert!(most <= least + 1, "{} to {} homes", least, most);
        let moved = map.groups().iter().filter(|group| !group.replicas.iter().all(|node| lost.contains(node))).count();
        let at_home = |group: &&Group| leaders.iter().any(|node| node.number == group.home);
        if !leaders.is_empty() {
            prop_assert_eq!(after.groups().iter().filter(at_home).count(), moved);
        }
    }

    #[test]
    fn masters_without_zones_have_as_many_replicas_each(cluster in clusters()) {
        let groups = cluster.groups.iter().map(|group| (group.0, None)).collect();
        let cluster = Cluster { nodes: vec![(0, None); cluster.nodes.len()], groups, ..cluster };
        let (map, lost) = (cluster.map(), cluster.lost());
        let (after, _) = placed(&map, &lost);
        let (least, most) = spread_of_replicas(&after, &usable(&after, &lost));
        prop_assert!(most <= least + 1, "{} to {} replicas", least, most);
    }

    #[test]
    fn zones_of_the_same_size_have_as_many_replicas_each(
        (zones, each) in (1..5usize, 1..4usize), factor in 1..5u8, groups in prop::collection::vec(any::<u64>(), 0..30),
    ) {
        let factor = factor.min(zones as u8);
        let mut cluster = Cluster::plain(zones * each, zones as u8, factor, 0);
        cluster.groups = groups.into_iter().map(|at| (at, None)).collect();
        let (after, _) = placed(&cluster.map(), &BTreeSet::new());
        let (least, most) = spread_of_replicas(&after, &usable(&after, &BTreeSet::new()));
        prop_assert!(most <= least + 1, "{} to {} replicas", least, most);
    }

    #[test]
    fn replica_nodes_hold_the_groups_of_their_master_first(cluster in clusters()) {
        let nodes = cluster.nodes.iter().map(|node| (0, node.1)).collect();
        let cluster = Cluster { nodes, ..cluster };
        let (map, lost) = (cluster.map(), cluster.lost());
        let (after, _) = placed(&map, &lost);
        let usable = usable(&after, &lost);
        for group in after.groups().iter().filter(|group| usable.iter().any(|node| node.number == group.home)) {
            let followers: Vec<_> = usable.iter().filter(|node| node.role == Role::ReplicaOf(group.home)).collect();
            let wanted = usize::from(map.replicas_wanted(group)).min(usable.len()) - 1;
            let following = followers.iter().filter(|node| group.replicas.contains(&node.number)).count();
            prop_assert_eq!(following, wanted.min(followers.len()), "{:?}", group);
        }
    }

    #[test]
    fn as_redis_cli_makes_them_replica_nodes_have_as_many_replicas_as_masters(
        masters in 1..5usize, each in 0..4usize, factor in 1..5u8, groups in prop::collection::vec(any::<u64>(), 0..30),
    ) {
        let each = each.min(usize::from(factor) - 1);
        let mut cluster = Cluster::plain(masters * (each + 1), 0, factor, 0);
        (masters..cluster.nodes.len()).for_each(|node| cluster.nodes[node].1 = Some(node % masters));
        // With one home more than others, a master brings one group more to all that follow it.
        let count = groups.len() / masters * masters;
        cluster.groups = groups.into_iter().take(count).map(|at| (at, None)).collect();
        let (after, _) = placed(&cluster.map(), &BTreeSet::new());
        let (least, most) = spread_of_replicas(&after, &usable(&after, &BTreeSet::new()));
        prop_assert!(most <= least + 1, "{} to {} replicas", least, most);
    }

    #[test]
    fn a_new_node_gets_its_part_and_hardly_anything_else_moves(nodes in 1..9usize, factor in 1..5u8, groups in 0..40usize) {
        let (mut map, _) = placed(&Cluster::plain(nodes, 0, factor, groups).map(), &BTreeSet::new());
        let of = nodes as u64 + 1;
        apply(&mut map, Change::Join { node: newcomer(of), claimed: SlotSet::default() });
        let (after, moved) = placed(&map, &BTreeSet::new());
        let grown = after.groups().iter().map(|group| group.replicas.len()).sum::<usize>()
            - map.groups().iter().map(|group| group.replicas.len()).sum::<usize>();
        let on_new = after.groups().iter().filter(|group| group.replicas.contains(&number(of))).count();
        let part = (groups * usize::from(factor).min(nodes + 1)).div_ceil(nodes + 1);
        prop_assert!(on_new <= part, "{} of {}", on_new, part);
        // Two more, where a node gives up a group as its home and so has too few.
        prop_assert!(moved <= on_new.max(grown) + 2, "{} moved, {} to the new one", moved, on_new);
    }

    #[test]
    fn of_a_lost_node_hardly_more_than_its_own_replicas_move(nodes in 2..9usize, factor in 1..5u8, groups in 0..40usize, at in any::<u64>()) {
        let (map, _) = placed(&Cluster::plain(nodes, 0, factor, groups).map(), &BTreeSet::new());
        let gone = number(at % nodes as u64 + 1);
        let lost = BTreeSet::from([gone]);
        let (_, moved) = placed(&map, &lost);
        let had = map.groups().iter().filter(|group| group.replicas.contains(&gone)).count();
        // One more, where the nodes with the fewest replicas have the same groups as the lost one.
        prop_assert!(moved <= had + 1, "{} moved of {}", moved, had);
    }
}

proptest! {
    #[test]
    fn groups_grow_to_what_is_wanted_or_to_an_odd_number_and_nothing_moves(cluster in clusters()) {
        let (map, lost) = (cluster.map(), cluster.lost());
        let mut after = map.clone();
        apply(&mut after, Change::PlaceGroups { placements: grow(&map, &lost) });
        for (old, new) in map.groups().iter().zip(after.groups()) {
            prop_assert_eq!((old.home, &old.slots), (new.home, &new.slots));
            prop_assert!(old.replicas.iter().all(|node| new.replicas.contains(node)), "{:?}, then {:?}", old, new);
            let is_usable = |node: &NodeId| usable(&map, &lost).iter().any(|usable| usable.number == *node);
            let added: Vec<_> = new.replicas.iter().filter(|node| !old.replicas.contains(node)).collect();
            prop_assert!(added.iter().all(|node| is_usable(node)), "{:?}", added);
            let wanted = usize::from(map.replicas_wanted(old));
            let free = usable(&map, &lost).iter().filter(|node| !old.replicas.contains(&node.number)).count();
            let possible = old.replicas.len() + free;
            let count = if possible >= wanted { wanted } else { possible - (1 - possible % 2) };
            let is_lost = old.replicas.iter().all(|node| lost.contains(node));
            let expected = if is_lost { old.replicas.len() } else { count.max(old.replicas.len()) };
            prop_assert_eq!(new.replicas.len(), expected, "{:?}, then {:?}", old, new);
        }
        prop_assert!(grow(&after, &lost).is_empty(), "it is at rest");
    }
}

proptest! {
    #[test]
    fn nodes_that_are_drained_are_left_as_far_as_there_are_others_and_nothing_else_moves(cluster in clusters()) {
        let (map, lost) = (cluster.map(), cluster.lost());
        let mut after = map.clone();
        apply(&mut after, Change::PlaceGroups { placements: evacuate(&map, &lost) });
        let usable: Vec<NodeId> = usable(&map, &lost).iter().map(|node| node.number).collect();
        let drains = |node: &NodeId| map.node(*node).unwrap().is_draining;
        for (old, new) in map.groups().iter().zip(after.groups()) {
            let is_lost = old.replicas.iter().all(|node| lost.contains(node));
            if is_lost || usable.is_empty() || !old.replicas.iter().any(drains) {
                prop_assert_eq!(old, new);
                continue;
            }
            let kept = |node: &&NodeId| !drains(node);
            prop_assert!(old.replicas.iter().filter(kept).all(|node| new.replicas.contains(node)), "{:?}, {:?}", old, new);
            let added: Vec<_> = new.replicas.iter().filter(|node| !old.replicas.contains(node)).collect();
            prop_assert!(added.iter().all(|node| usable.contains(node)), "{:?}", added);
            let wanted = usize::from(map.replicas_wanted(old));
            let free = usable.iter().filter(|node| !old.replicas.contains(node)).count();
            let staying = old.replicas.iter().filter(kept).count();
            prop_assert_eq!(added.len(), wanted.saturating_sub(staying).min(free), "{:?}, {:?}", old, new);
            let left = new.replicas.iter().filter(|node| drains(node)).count();
            let stay = map.nodes().iter().filter(|node| !node.is_draining).count().max(2);
            let least = old.replicas.len().min(wanted).min(stay);
            prop_assert_eq!(left, least.saturating_sub(staying + added.len()), "{:?}, {:?}", old, new);
            prop_assert!(new.home == old.home || drains(&old.home), "{:?}, {:?}", old, new);
            prop_assert!(!drains(&new.home) || new.replicas.iter().all(|node| !usable.contains(node)), "{:?}, {:?}", old, new);
        }
        prop_assert!(evacuate(&after, &lost).is_empty(), "it is at rest");
    }
}

#[test]
fn the_groups_of_a_drained_node_are_dealt_to_all_others_and_led_by_who_has_them() {
    let (mut map, _) = placed(&Cluster::plain(4, 0, 3, 12).map(), &BTreeSet::new());
    let before = map.clone();
    apply(&mut map, Change::SetDraining { node: number(4), is_draining: true });
    let placements = evacuate(&map, &BTreeSet::new());
    apply(&mut map, Change::PlaceGroups { placements });
    assert!(map.groups().iter().all(|group| group.replicas == [number(1), number(2), number(3)]));
    assert_eq!(spread_of_homes(&map, &usable(&map, &BTreeSet::new())), (4, 4));
    for (old, new) in before.groups().iter().zip(map.groups()).filter(|(old, _)| old.home == number(4)) {
        assert!(old.replicas.contains(&new.home), "it has all there is");
    }
    // The node is drained no more: what has moved stays where it is until it is ordered otherwise.
    apply(&mut map, Change::SetDraining { node: number(4), is_draining: false });
    assert!(evacuate(&map, &BTreeSet::new()).is_empty() && grow(&map, &BTreeSet::new()).is_empty());
    let (after, moved) = placed(&map, &BTreeSet::new());
    assert_eq!((moved, spread_of_replicas(&after, &usable(&after, &BTreeSet::new()))), (9, (9, 9)));
}

#[test]
fn a_drained_node_keeps_its_replicas_while_the_one_that_is_to_get_them_is_silent() {
    let (mut map, _) = placed(&Cluster::plain(3, 0, 3, 2).map(), &BTreeSet::new());
    let four = Cluster::plain(4, 0, 3, 2).map();
    assert!(map.nodes().len() == 3 && four.nodes().len() == 4);
    apply(&mut map, Change::SetDraining { node: number(1), is_draining: true });
    assert!(
        evacuate(&map, &BTreeSet::new()).iter().all(|placement| placement.replicas == [number(2), number(3)]),
        "two where there are no more"
    );
    let (mut map, _) = placed(&four, &BTreeSet::new());
    apply(&mut map, Change::SetDraining { node: number(1), is_draining: true });
    let silent = BTreeSet::from([number(4)]);
    let before = map.clone();
    let placements = evacuate(&map, &silent);
    apply(&mut map, Change::PlaceGroups { placements });
    for (old, new) in before.groups().iter().zip(map.groups()) {
        assert_eq!(new.replicas.len(), 3, "{old:?}, {new:?}");
    }
    let placements = evacuate(&map, &BTreeSet::new());
    apply(&mut map, Change::PlaceGroups { placements });
    assert!(map.groups().iter().all(|group| group.replicas == [number(2), number(3), number(4)]));
}

#[test]
fn a_group_grows_over_zones_and_first_to_replicas_of_its_home() {
    let mut cluster = Cluster::plain(6, 3, 3, 1);
    let map = cluster.map();
    let home = map.groups()[0].home;
    apply_grow(&map, |group| {
        let zone = |node: &NodeId| map.node(*node).unwrap().addresses.zone.clone();
        let zones: BTreeSet<String> = group.replicas.iter().map(zone).collect();
        assert_eq!((group.replicas.len(), zones.len()), (3, 3), "{group:?}");
    });
    // Without zones: nodes 5 and 6 follow the home.
    let at = home.0 as usize - 1;
    cluster.nodes = (0..6).map(|node| (0, (node >= 4).then_some(at))).collect();
    let map = cluster.map();
    apply_grow(&map, |group| assert_eq!(group.replicas, [home, number(5), number(6)], "{group:?}"));
}

fn apply_grow(map: &Map, look: impl Fn(&Group)) {
    let mut after = map.clone();
    apply(&mut after, Change::PlaceGroups { placements: grow(map, &BTreeSet::new()) });
    look(&after.groups()[0]);
}

#[test]
fn a_cluster_of_three_in_three_zones_is_what_one_expects() {
    let (map, moved) = placed(&Cluster::plain(3, 3, 3, 6).map(), &BTreeSet::new());
    assert!(map.groups().iter().all(|group| group.replicas == [number(1), number(2), number(3)]));
    assert_eq!(spread_of_homes(&map, &usable(&map, &BTreeSet::new())), (2, 2));
    assert!(moved > 0);
    // One is lost: nobody can take its part, so that it keeps it, but for leading.
    let lost = BTreeSet::from([number(2)]);
    let (after, moved) = placed(&map, &lost);
    assert!(after.groups().iter().all(|group| group.replicas.len() == 3 && group.home != number(2)));
    assert_eq!((moved, spread_of_homes(&after, &usable(&after, &lost))), (0, (3, 3)));
}

#[test]
fn a_large_cluster_is_placed_in_few_steps() {
    let (mut map, _) = placed(&Cluster::plain(60, 3, 3, 2000).map(), &BTreeSet::new());
    apply(&mut map, Change::Join { node: newcomer(1000), claimed: SlotSet::default() });
    let addresses = Addresses { zone: "z1".to_owned(), ..addresses(1000) };
    apply(&mut map, Change::Announce { node: number(1000), incarnation: 3, addresses });
    let (after, moved) = placed(&map, &BTreeSet::new());
    assert!((95..=105).contains(&moved), "{moved} moved");
    let (least, most) = spread_of_homes(&after, &usable(&after, &BTreeSet::new()));
    assert_eq!((least, most), (32, 33));
}
