//! Maps and changes for tests.

use std::net::Ipv4Addr;

use basalt_raft::NodeId;
use proptest::prelude::*;

use super::*;

/// The number of a node for tests.
pub fn number(of: u64) -> NodeId {
    NodeId(of)
}

/// The name of the same node.
pub fn name(of: u64) -> NodeName {
    let mut name = [0xab; 20];
    name[12..].copy_from_slice(&of.to_be_bytes());
    NodeName(name)
}

/// Addresses that say whose they are.
pub fn addresses(of: u64) -> Addresses {
    let ip = Ipv4Addr::new(10, 0, (of >> 8) as u8, of as u8);
    Addresses { ip: Some(ip.into()), port: 7000, bus_port: 17000, hostname: String::new(), zone: String::new() }
}

/// A node in its third start.
pub fn newcomer(of: u64) -> Newcomer {
    Newcomer { number: number(of), name: name(of), incarnation: 3, addresses: addresses(of), config_epoch: 0 }
}

/// The change that founds a cluster of node 1, without groups.
pub fn founding() -> Change {
    let cluster_id = ClusterId([7; 20]);
    Change::FoundCluster { cluster_id, replication_factor: 3, node: newcomer(1), groups: Vec::new() }
}

/// The map of a cluster of node 1.
pub fn alone() -> Map {
    let mut map = Map::new();
    apply(&mut map, founding());
    map
}

/// Applies a change that must not be refused.
#[track_caller]
pub fn apply(map: &mut Map, change: Change) -> Outcome {
    let outcome = map.apply(map.epoch() + 1, change.clone());
    map.check().unwrap();
    outcome.unwrap_or_else(|refused| panic!("{change:?}: {refused}"))
}

/// Founds the groups of all that a node has claimed.
#[track_caller]
pub fn found_live(map: &mut Map, node: u64, count: u16) {
    apply(map, Change::FoundGroups { node: number(node), count });
    let groups = map.groups().iter().map(|group| group.number).collect();
    apply(map, Change::NoteLive { groups });
}

/// Applies a change that must be refused, and returns the error that a client is told.
#[track_caller]
pub fn refuse(map: &mut Map, change: Change) -> String {
    let before = map.clone();
    let refused = map.apply(before.epoch() + 2, change).unwrap_err();
    assert_eq!(map.epoch(), before.epoch() + 2);
    let mut after = map.clone();
    after.epoch = before.epoch;
    assert_eq!(after, before, "{refused}");
    refused.to_string()
}

/// A range of slots.
pub fn range(first: u16, last: u16) -> SlotRange {
    SlotRange::new(first, last).unwrap()
}

/// A set of one range of slots.
pub fn slots(first: u16, last: u16) -> SlotSet {
    SlotSet::of([range(first, last)])
}

/// A map in which `nodes` have joined, numbered from 1 on.
pub fn with_nodes(nodes: u64) -> Map {
    let mut map = alone();
    for node in 2..=nodes {
        apply(&mut map, Change::Join { node: newcomer(node), claimed: SlotSet::default() });
    }
    map
}

/// Changes of few nodes and slots, so that many of them meet.
pub fn changes() -> impl Strategy<Value = Change> {
    let node = || (0..7u64).prop_map(number);
    let group = || (0..9u64).prop_map(GroupNumber);
    let range = || (0..30u16, 0..6u16).prop_map(|(first, more)| range(first, first + more));
    let ranges = move || prop::collection::vec(range(), 0..4);
    let set = move || ranges().prop_map(SlotSet::of);
    let owner = move || {
        prop_oneof![Just(SlotOwner::Nobody), node().prop_map(SlotOwner::Claimed), group().prop_map(SlotOwner::Group)]
    };
    let some_addresses =
        || {
            let ip = prop::option::of(any::<std::net::IpAddr>());
            let text = || prop_oneof![4 => "[a-z0-9.-]{0,9}", 1 => "[!-~]{0,64}"];
            (ip, any::<u16>(), any::<u16>(), text(), text())
                .prop_map(|(ip, port, bus_port, hostname, zone)| Addresses { ip, port, bus_port, hostname, zone })
        };
    let some_newcomer = move || {
        (0..7u64, 0..7u64, 0..5u64, some_addresses(), 0..5u64, 0..4).prop_map(
            |(of, other, incarnation, addresses, config_epoch, odd)| {
                let name = name(if odd == 0 { other } else { of });
                Newcomer { number: number(of), name, incarnation, addresses, config_epoch }
            },
        )
    };
    let role = move || prop_oneof![Just(Role::Master), node().prop_map(Role::ReplicaOf)];
    let placement = move || {
        (group(), node(), prop::collection::vec(node(), 0..5), any::<bool>()).prop_map(
            |(group, home, mut replicas, is_fair)| {
                if is_fair {
                    replicas.push(home);
                    replicas.sort();
                    replicas.dedup();
                }
                GroupPlacement { group, home, replicas }
            },
        )
    };
    let former = move || (group(), set()).prop_map(|(number, slots)| FormerGroup { number, slots });
    prop_oneof![
        1 => (0..2u8, 0..9u8, some_newcomer(), prop::collection::vec(former(), 0..3)).prop_map(
            |(id, replication_factor, node, groups)| {
                Change::FoundCluster { cluster_id: ClusterId([id; 20]), replication_factor, node, groups }
            }
        ),
        4 => (some_newcomer(), set()).prop_map(|(node, claimed)| Change::Join { node, claimed }),
        2 => (node(), 0..5u64, some_addresses())
            .prop_map(|(node, incarnation, addresses)| Change::Announce { node, incarnation, addresses }),
        2 => node().prop_map(|node| Change::Forget { node }),
        2 => node().prop_map(|node| Change::ForgetWithReplicas { node }),
        1 => node().prop_map(|node| Change::ForgetLost { node }),
        2 => (node(), prop::collection::vec(group(), 0..4)).prop_map(|(node, groups)| Change::NoteGone { node, groups }),
        4 => (node(), ranges()).prop_map(|(node, ranges)| Change::ClaimSlots { node, ranges }),
        2 => ranges().prop_map(|ranges| Change::ReleaseSlots { ranges }),
        1 => node().prop_map(|node| Change::FlushSlots { node }),
        1 => (node(), prop_oneof![0..5u64, Just(u64::MAX)])
            .prop_map(|(node, epoch)| Change::SetConfigEpoch { node, epoch }),
        1 => node().prop_map(|node| Change::BumpConfigEpoch { node }),
        3 => (node(), role()).prop_map(|(node, role)| Change::SetRole { node, role }),
        4 => (node(), 0..4u16).prop_map(|(node, count)| Change::FoundGroups { node, count }),
        4 => prop::collection::vec(placement(), 0..3).prop_map(|placements| Change::PlaceGroups { placements }),
        2 => prop::collection::vec((placement(), placement()), 0..3).prop_map(|moves| {
            let moved = |(from, to): (GroupPlacement, GroupPlacement)| {
                GroupMove { from: GroupPlacement { group: to.group, ..from }, to }
            };
            Change::MoveGroups { moves: moves.into_iter().map(moved).collect() }
        }),
        2 => prop::collection::vec((group(), node()), 0..3).prop_map(|homes| Change::SetHomes { homes }),
        1 => (group(), prop::option::of(1..9u8))
            .prop_map(|(group, count)| Change::SetReplicasWanted { group, count }),
        3 => (set(), owner(), owner()).prop_map(|(slots, from, to)| Change::MoveSlots { slots, from, to }),
        2 => prop::collection::vec(group(), 0..4).prop_map(|groups| Change::NoteLive { groups }),
        1 => node().prop_map(|node| Change::GiveUpSlots { node }),
        1 => group().prop_map(|group| Change::RemoveGroup { group }),
        1 => (0..9u8).prop_map(|count| Change::SetReplicationFactor { count }),
        1 => (node(), any::<bool>()).prop_map(|(node, is_draining)| Change::SetDraining { node, is_draining }),
    ]
}
