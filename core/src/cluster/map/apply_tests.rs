//! The rules of changes, one by one and at random.

use basalt_storage::keyspace::Slot;
use proptest::prelude::*;

use super::testing::*;
use super::*;

fn owner(map: &Map, slot: u16) -> SlotOwner {
    map.owner(Slot::new(slot))
}

fn claim(of: u64, ranges: &[(u16, u16)]) -> Change {
    let ranges = ranges.iter().map(|&(first, last)| range(first, last)).collect();
    Change::ClaimSlots { node: number(of), ranges }
}

fn release(ranges: &[(u16, u16)]) -> Change {
    Change::ReleaseSlots { ranges: ranges.iter().map(|&(first, last)| range(first, last)).collect() }
}

fn found(of: u64, count: u16) -> Change {
    Change::FoundGroups { node: number(of), count }
}

fn place(group: u64, home: u64, replicas: &[u64]) -> Change {
    let replicas = replicas.iter().copied().map(number).collect();
    Change::PlaceGroups { placements: vec![GroupPlacement { group: GroupNumber(group), home: number(home), replicas }] }
}

/// Moves a group from where it is.
fn moved(map: &Map, group: u64, home: u64, replicas: &[u64]) -> Change {
    let Change::PlaceGroups { placements } = place(group, home, replicas) else { unreachable!() };
    map.moved(placements)
}

fn replicate(of: u64, master: u64) -> Change {
    Change::SetRole { node: number(of), role: Role::ReplicaOf(number(master)) }
}

#[test]
fn a_cluster_is_founded_once_and_with_the_groups_of_its_node() {
    let mut map = Map::new();
    assert!(refuse(&mut map, claim(1, &[(0, 5)])).contains("not founded"));
    let former = |number, first, last| FormerGroup { number: GroupNumber(number), slots: slots(first, last) };
    let founding = |id, replication_factor, groups| {
        let cluster_id = ClusterId([id; 20]);
        Change::FoundCluster { cluster_id, replication_factor, node: newcomer(1), groups }
    };
    assert!(refuse(&mut map, founding(0, 3, vec![])).contains("has no id"));
    assert!(refuse(&mut map, founding(7, 0, vec![])).contains("1 to 7 replicas, not 0"));
    assert!(refuse(&mut map, founding(7, 8, vec![])).contains("1 to 7 replicas, not 8"));
    assert!(refuse(&mut map, founding(7, 3, vec![former(0, 0, 1)])).contains("from 1 on"));
    assert!(refuse(&mut map, founding(7, 3, vec![former(2, 0, 1), former(1, 2, 3)])).contains("ascending order"));
    let twice = refuse(&mut map, founding(7, 3, vec![former(1, 0, 5), former(2, 5, 6)]));
    assert_eq!(twice, "ERR Slot 5 specified multiple times");
    apply(&mut map, founding(7, 3, vec![former(1, 0, 8000), former(4, 8001, 16383)]));
    assert_eq!((map.cluster_id(), map.replication_factor(), map.next_group()), (ClusterId([7; 20]), 3, GroupNumber(5)));
    assert_eq!(
        (owner(&map, 8000), owner(&map, 8001)),
        (SlotOwner::Group(GroupNumber(1)), SlotOwner::Group(GroupNumber(4)))
    );
    assert_eq!((map.groups()[1].home, &map.groups()[1].replicas[..]), (number(1), &[number(1)][..]));
    assert!(refuse(&mut map, founding(8, 3, vec![])).contains("founded already"));
}

#[test]
#[should_panic(expected = "entry 1 comes behind entry 1")]
fn entries_are_applied_in_their_order() {
    let mut map = alone();
    let _ = map.apply(1, Change::BumpConfigEpoch { node: number(1) });
}

#[test]
fn a_node_joins_with_its_slots_and_as_often_as_it_likes() {
    let mut map = alone();
    apply(&mut map, claim(1, &[(0, 99)]));
    let join = |node: Newcomer, claimed: SlotSet| Change::Join { node, claimed };
    assert_eq!(refuse(&mut map, join(newcomer(2), slots(99, 120))), "ERR Slot 99 is already busy");
    apply(&mut map, join(newcomer(2), slots(100, 120)));
    assert_eq!(owner(&map, 100), SlotOwner::Claimed(number(2)));
    apply(&mut map, join(Newcomer { incarnation: 4, ..newcomer(2) }, slots(100, 130)));
    let node = map.node(number(2)).unwrap();
    assert_eq!((node.incarnation, &node.claimed), (4, &slots(100, 130)));
    assert!(refuse(&mut map, join(Newcomer { name: name(5), ..newcomer(2) }, slots(0, 0))).contains("the number 2"));
    assert!(
        refuse(&mut map, join(Newcomer { number: number(5), ..newcomer(2) }, slots(0, 0))).contains("had the id ab")
    );
    assert!(refuse(&mut map, join(newcomer(0), SlotSet::default())).contains("the number 0"));
    assert!(refuse(&mut map, join(newcomer(2), SlotSet::default())).contains("had started 4 times and comes with 3"));
    apply(&mut map, join(newcomer(3), SlotSet::default()));
    apply(&mut map, replicate(3, 1));
    assert!(refuse(&mut map, join(newcomer(3), slots(200, 200))).contains("A replica can't have slots"));
}

#[test]
fn an_old_copy_of_a_directory_and_odd_addresses_are_refused() {
    let mut map = alone();
    let announce = |of, incarnation, addresses| Change::Announce { node: number(of), incarnation, addresses };
    let old = refuse(&mut map, announce(1, 2, addresses(1)));
    let name = name(1);
    assert_eq!(
        old,
        format!("ERR node {name} had started 3 times and comes with 2: this is an old copy of its directory")
    );
    apply(&mut map, announce(1, 3, addresses(8)));
    apply(
        &mut map,
        announce(1, 4, Addresses { hostname: "a-1.example".into(), zone: "rack_1".into(), ..addresses(9) }),
    );
    let node = map.node(number(1)).unwrap();
    assert_eq!((node.incarnation, node.addresses.ip, node.addresses.zone.as_str()), (4, addresses(9).ip, "rack_1"));
    for hostname in ["a b", "a_b", "a\n", &"a".repeat(254)] {
        let odd = Addresses { hostname: hostname.to_owned(), ..addresses(1) };
        assert!(refuse(&mut map, announce(1, 4, odd)).starts_with("ERR Hostnames may only contain"), "{hostname:?}");
    }
    let odd = Addresses { zone: "a,b".to_owned(), ..addresses(1) };
    assert!(refuse(&mut map, announce(1, 4, odd)).starts_with("ERR zones may only contain"));
    assert!(refuse(&mut map, announce(2, 4, addresses(2))).contains("Unknown node number 2"));
}

#[test]
fn a_node_leaves_once_it_is_empty_and_nobody_gets_its_name_or_number() {
    let mut map = with_nodes(3);
    apply(&mut map, claim(2, &[(0, 9)]));
    found_live(&mut map, 2, 1);
    apply(&mut map, claim(2, &[(20, 29)]));
    apply(&mut map, replicate(3, 2));
    let forget = |of| Change::Forget { node: number(of) };
    let refused = refuse(&mut map, forget(2));
    assert!(refused.starts_with(&format!("ERR node {} is needed by group 1: empty it first", name(2))), "{refused}");
    apply(&mut map, place(1, 1, &[1]));
    assert_eq!(apply(&mut map, forget(2)), Outcome::Done);
    assert_eq!((map.node(number(2)), owner(&map, 20)), (None, SlotOwner::Nobody));
    assert_eq!(map.node(number(3)).unwrap().role, Role::Master);
    assert_eq!(apply(&mut map, forget(2)), Outcome::Unchanged);
    assert!(refuse(&mut map, forget(9)).contains("Unknown node number 9"));
    let join = |node| Change::Join { node, claimed: SlotSet::default() };
    assert!(refuse(&mut map, join(Newcomer { name: name(5), ..newcomer(2) })).contains("the number 2"));
    assert!(refuse(&mut map, join(Newcomer { number: number(5), ..newcomer(2) })).contains("the id"));
    assert!(refuse(&mut map, join(Newcomer { incarnation: 2, ..newcomer(2) })).contains("old copy"));
    apply(&mut map, join(newcomer(2)));
    assert!(map.forgotten().is_empty());
    apply(&mut map, forget(3));
    apply(&mut map, forget(2));
    assert!(refuse(&mut map, forget(1)).contains("is the last one"));
}

#[test]
fn a_node_is_forgotten_with_its_replicas_but_not_with_groups_whose_home_it_is() {
    let mut map = with_nodes(3);
    apply(&mut map, claim(1, &[(0, 9)]));
    apply(&mut map, claim(2, &[(10, 19)]));
    found_live(&mut map, 1, 1);
    found_live(&mut map, 2, 1);
    apply(&mut map, place(1, 1, &[1, 2, 3]));
    apply(&mut map, place(2, 2, &[2, 3]));
    let forget = |of| Change::ForgetWithReplicas { node: number(of) };
    let of_two =
        format!("ERR node {} has one of the last two replicas of group 2: a third one has to be there first", name(3));
    assert_eq!(refuse(&mut map, forget(3)), of_two);
    apply(&mut map, place(2, 2, &[1, 2, 3]));
    let before = map.groups().to_vec();
    assert!(refuse(&mut map, forget(2)).starts_with(&format!("ERR node {} ", name(2))));
    assert_eq!(map.groups(), before);
    assert_eq!(apply(&mut map, forget(3)), Outcome::Done);
    let replicas: Vec<_> = map.groups().iter().map(|group| group.replicas.clone()).collect();
    assert_eq!(replicas, [vec![number(1), number(2)], vec![number(1), number(2)]]);
    assert_eq!(apply(&mut map, forget(3)), Outcome::Unchanged);
    assert_eq!(map.node(number(3)), None);
    let mut alone = alone();
    assert!(refuse(&mut alone, forget(1)).contains("is the last one"));
}

#[test]
fn a_node_that_should_hold_a_group_no_more_is_remembered_until_its_replica_is_gone() {
    let mut map = with_nodes(4);
    apply(&mut map, claim(1, &[(0, 9)]));
    found_live(&mut map, 1, 1);
    let leaving = |map: &Map| map.groups()[0].leaving.clone();
    apply(&mut map, place(1, 1, &[1, 2, 3]));
    assert!(leaving(&map).is_empty());
    apply(&mut map, place(1, 4, &[2, 4]));
    assert_eq!(leaving(&map), [number(1), number(3)]);
    apply(&mut map, place(1, 4, &[3, 4]));
    assert_eq!(leaving(&map), [number(1), number(2)], "one comes back");
    let gone = |of, groups: &[u64]| Change::NoteGone {
        node: number(of),
        groups: groups.iter().copied().map(GroupNumber).collect(),
    };
    apply(&mut map, gone(1, &[1, 9]));
    assert_eq!(leaving(&map), [number(2)]);
    apply(&mut map, gone(3, &[1]));
    assert_eq!((leaving(&map), map.groups()[0].replicas.len()), (vec![number(2)], 2), "it is not leaving");
    apply(&mut map, Change::Forget { node: number(2) });
    assert!(leaving(&map).is_empty());
}

#[test]
fn of_a_node_that_is_lost_others_take_the_part() {
    let mut map = with_nodes(4);
    apply(&mut map, claim(1, &[(0, 29)]));
    found_live(&mut map, 1, 3);
    for group in 1..4 {
        apply(&mut map, place(group, 1, &[1, 2, 3]));
    }
    apply(&mut map, place(3, 2, &[1, 2, 3]));
    let lost = |of| Change::ForgetLost { node: number(of) };
    apply(&mut map, lost(1));
    let homes: Vec<_> = map.groups().iter().map(|group| group.home).collect();
    assert_eq!(homes, [number(3), number(2), number(2)], "who is home of the fewest");
    assert!(map.groups().iter().all(|group| group.replicas == [number(2), number(3)] && group.leaving.is_empty()));
    assert_eq!(apply(&mut map, lost(1)), Outcome::Unchanged);
    assert!(refuse(&mut map, lost(2)).contains("has one of the last two replicas of group 1"));
    assert!(refuse(&mut map, lost(9)).contains("Unknown node number 9"));
}

#[test]
fn nobody_is_forgotten_while_a_replica_of_another_one_leaves_the_same_group() {
    let mut map = with_nodes(4);
    apply(&mut map, claim(1, &[(0, 9)]));
    found_live(&mut map, 1, 1);
    apply(&mut map, place(1, 2, &[1, 2, 3]));
    apply(&mut map, place(1, 2, &[2, 3, 4]));
    assert_eq!(map.groups()[0].leaving, [number(1)]);
    for change in [Change::ForgetLost { node: number(3) }, Change::ForgetWithReplicas { node: number(3) }] {
        assert!(refuse(&mut map, change).contains("a replica of group 1"), "1 may vote still, and 4 not yet");
    }
    apply(&mut map, Change::NoteGone { node: number(1), groups: vec![GroupNumber(1)] });
    apply(&mut map, Change::ForgetLost { node: number(3) });
    assert_eq!(map.groups()[0].replicas, [number(2), number(4)]);
}

#[test]
fn a_node_that_is_being_drained_claims_nothing() {
    let mut map = with_nodes(3);
    let drain = |is_draining| Change::SetDraining { node: number(2), is_draining };
    apply(&mut map, drain(true));
    assert!(refuse(&mut map, claim(2, &[(0, 9)])).contains("is being drained"));
    apply(&mut map, drain(false));
    apply(&mut map, claim(2, &[(0, 9)]));
}

#[test]
fn a_replica_that_is_on_its_way_to_a_node_that_is_lost_goes_back() {
    let mut map = with_nodes(4);
    apply(&mut map, claim(1, &[(0, 9)]));
    found_live(&mut map, 1, 1);
    apply(&mut map, place(1, 1, &[1, 3]));
    // 1 votes until 4 does, and 4 is lost before that.
    apply(&mut map, place(1, 3, &[3, 4]));
    let lost = Change::ForgetLost { node: number(4) };
    let refused = refuse(&mut map, lost.clone());
    assert!(refused.contains(&format!("BASALT MOVE 1 {} {}", name(4), name(1))), "{refused}");
    let back = moved(&map, 1, 3, &[1, 3]);
    apply(&mut map, back);
    assert_eq!(map.groups()[0].leaving, [number(4)]);
    apply(&mut map, lost);
    assert_eq!((map.groups()[0].leaving.len(), map.nodes().len()), (0, 3));
}

#[test]
fn a_group_is_not_moved_from_where_it_is_not_nor_to_a_node_that_is_being_drained() {
    let mut map = with_nodes(4);
    apply(&mut map, claim(1, &[(0, 9)]));
    found_live(&mut map, 1, 1);
    apply(&mut map, place(1, 1, &[1, 2, 3]));
    // Two who do not know of each other.
    let (one, other, third) =
        (moved(&map, 1, 1, &[1, 2, 4]), moved(&map, 1, 1, &[1, 3, 4]), moved(&map, 1, 2, &[1, 2, 3]));
    apply(&mut map, one);
    for late in [other, third] {
        let before = map.groups().to_vec();
        assert!(refuse(&mut map, late).starts_with("ERR group 1 was placed otherwise meanwhile"));
        assert_eq!(map.groups(), before);
    }
    apply(&mut map, Change::SetHomes { homes: vec![(GroupNumber(1), number(2))] });
    let late = moved(&map, 1, 2, &[2, 3, 4]);
    apply(&mut map, Change::SetHomes { homes: vec![(GroupNumber(1), number(1))] });
    assert!(refuse(&mut map, late).contains("placed otherwise"), "its home is another one");
    apply(&mut map, Change::SetDraining { node: number(3), is_draining: true });
    let to_drained = moved(&map, 1, 1, &[1, 3, 4]);
    assert!(refuse(&mut map, to_drained).contains("is being drained"));
    apply(&mut map, Change::SetDraining { node: number(4), is_draining: true });
    let kept = moved(&map, 1, 1, &[1, 4]);
    apply(&mut map, kept);
    assert_eq!(map.groups()[0].replicas, [number(1), number(4)], "it has that one already");
}

#[test]
fn two_nodes_are_left_that_are_not_being_drained() {
    let mut map = with_nodes(4);
    let drain = |of| Change::SetDraining { node: number(of), is_draining: true };
    apply(&mut map, drain(1));
    apply(&mut map, drain(2));
    apply(&mut map, drain(2));
    assert!(refuse(&mut map, drain(3)).starts_with("ERR 1 other nodes are not being drained"));
    apply(&mut map, Change::SetDraining { node: number(1), is_draining: false });
    apply(&mut map, drain(3));
}

#[test]
fn the_nodes_that_left_first_are_remembered_no_longer() {
    let mut map = alone();
    let bound = crate::limits::map::FORGOTTEN_MAX as u64;
    for of in 2..bound + 4 {
        map.apply(2 * of, Change::Join { node: newcomer(of), claimed: SlotSet::default() }).unwrap();
        map.apply(2 * of + 1, Change::Forget { node: number(of) }).unwrap();
    }
    assert_eq!((map.forgotten().len() as u64, map.forgotten()[0].number), (bound, number(4)));
}

#[test]
fn slots_are_claimed_and_released_in_redis_words() {
    let mut map = with_nodes(2);
    apply(&mut map, claim(1, &[(5, 7), (9, 9)]));
    for (change, expected) in [
        (claim(2, &[(0, 5)]), "ERR Slot 5 is already busy"),
        (claim(1, &[(5, 5)]), "ERR Slot 5 is already busy"),
        (claim(2, &[(20, 25), (25, 26)]), "ERR Slot 25 specified multiple times"),
        (claim(2, &[(20, 20), (5, 5), (20, 20)]), "ERR Slot 5 is already busy"),
        (release(&[(5, 8)]), "ERR Slot 8 is already unassigned"),
        (release(&[(5, 5), (6, 6), (5, 5)]), "ERR Slot 5 specified multiple times"),
    ] {
        assert_eq!(refuse(&mut map, change), expected);
    }
    apply(&mut map, release(&[(9, 9), (5, 5)]));
    assert_eq!(map.nodes()[0].claimed, slots(6, 7));
    apply(&mut map, claim(2, &[(0, 0), (16383, 16383)]));
    assert_eq!((owner(&map, 16383), owner(&map, 5)), (SlotOwner::Claimed(number(2)), SlotOwner::Nobody));
    apply(&mut map, Change::FlushSlots { node: number(2) });
    assert_eq!((owner(&map, 0), owner(&map, 6)), (SlotOwner::Nobody, SlotOwner::Claimed(number(1))));
    found_live(&mut map, 1, 1);
    assert!(refuse(&mut map, release(&[(6, 6)])).starts_with("ERR Slot 6 belongs to group 1,"));
    apply(&mut map, Change::FlushSlots { node: number(1) });
    assert_eq!(owner(&map, 6), SlotOwner::Group(GroupNumber(1)));
}

#[test]
fn configuration_epochs_are_those_that_redis_gives() {
    let mut map = alone();
    let set = |of, epoch| Change::SetConfigEpoch { node: number(of), epoch };
    let bump = |of| Change::BumpConfigEpoch { node: number(of) };
    apply(&mut map, set(1, 7));
    assert_eq!(refuse(&mut map, set(1, 8)), "ERR Node config epoch is already non-zero");
    assert_eq!(apply(&mut map, bump(1)), Outcome::ConfigEpoch { epoch: 7, is_new: false });
    let join = |of, config_epoch| Change::Join {
        node: Newcomer { config_epoch, ..newcomer(of) },
        claimed: SlotSet::default(),
    };
    apply(&mut map, join(2, 2));
    apply(&mut map, join(3, 7));
    apply(&mut map, join(4, 0));
    let epochs = |map: &Map| map.nodes().iter().map(|node| node.config_epoch).collect::<Vec<_>>();
    assert_eq!((epochs(&map), map.config_epoch()), (vec![7, 2, 8, 0], 8));
    let among_others = "ERR The user can assign a config epoch only when the node does not know any other node.";
    assert_eq!(refuse(&mut map, set(4, 9)), among_others);
    assert_eq!(apply(&mut map, bump(4)), Outcome::ConfigEpoch { epoch: 9, is_new: true });
    assert_eq!(apply(&mut map, bump(1)), Outcome::ConfigEpoch { epoch: 10, is_new: true });
    assert_eq!(epochs(&map), [10, 2, 8, 9]);
    assert!(
        refuse(&mut alone(), set(1, u64::MAX)).starts_with("ERR Invalid config epoch specified: 18446744073709551615")
    );
    let mut last = alone();
    apply(&mut last, set(1, i64::MAX as u64));
    assert!(refuse(&mut last, join(2, 1)).contains("no numbers left"));
}

#[test]
fn replicas_have_one_master_and_no_slots() {
    let mut map = with_nodes(4);
    apply(&mut map, claim(2, &[(0, 9)]));
    assert_eq!(refuse(&mut map, replicate(1, 1)), "ERR Can't replicate myself");
    assert!(refuse(&mut map, replicate(1, 9)).contains("Unknown node number 9"));
    let not_empty = "ERR To set a master the node must be empty and without assigned slots.";
    assert_eq!(refuse(&mut map, replicate(2, 1)), not_empty);
    found_live(&mut map, 2, 1);
    assert_eq!(refuse(&mut map, replicate(2, 1)), not_empty);
    apply(&mut map, replicate(3, 1));
    assert_eq!(apply(&mut map, replicate(3, 1)), Outcome::Unchanged);
    assert_eq!(refuse(&mut map, replicate(4, 3)), "ERR I can only replicate a master, not a replica.");
    assert!(refuse(&mut map, claim(3, &[(20, 20)])).contains("A replica can't have slots"));
    let back = Change::MoveSlots {
        slots: slots(0, 0),
        from: SlotOwner::Group(GroupNumber(1)),
        to: SlotOwner::Claimed(number(3)),
    };
    assert!(refuse(&mut map, back).contains("A replica can't have slots"));
    apply(&mut map, replicate(1, 2));
    let masters: Vec<_> = map.nodes().iter().map(|node| node.master().map(|master| master.0)).collect();
    assert_eq!(masters, [Some(2), None, Some(2), None]);
    apply(&mut map, Change::SetRole { node: number(3), role: Role::Master });
    assert_eq!(map.node(number(3)).unwrap().master(), None);
}

#[test]
fn the_slots_of_a_node_are_dealt_evenly_over_its_groups() {
    let mut map = with_nodes(2);
    assert!(refuse(&mut map, found(1, 3)).contains("has claimed no slots"));
    apply(&mut map, claim(1, &[(0, 16381)]));
    apply(&mut map, claim(2, &[(16382, 16383)]));
    assert!(refuse(&mut map, found(1, 0)).contains("at least one at a time"));
    assert_eq!(apply(&mut map, found(1, 4)), Outcome::Founded { first: GroupNumber(1), count: 4 });
    assert_eq!(apply(&mut map, found(2, 9)), Outcome::Founded { first: GroupNumber(5), count: 2 });
    let counts: Vec<_> = map.groups().iter().map(|group| group.slots.count()).collect();
    assert_eq!(counts, [4096, 4095, 4096, 4095, 1, 1]);
    assert!(map.groups()[..4].iter().all(|group| group.home == number(1) && group.replicas == [number(1)]));
    assert!(map.nodes().iter().all(|node| node.claimed.is_empty()));
    assert_eq!(map.next_group(), GroupNumber(7));
}

#[test]
fn a_node_alone_deals_its_slots_as_its_router_does() {
    for count in [1, 2, 3, 7, 16, 1000] {
        let mut map = alone();
        apply(&mut map, claim(1, &[(0, 16383)]));
        apply(&mut map, found(1, count));
        let router = crate::cluster::Router::new(count, 1);
        for (group, shard) in map.groups().iter().zip(router.shards()) {
            let expected = router.slots_of(shard);
            assert_eq!(group.slots, slots(expected.start, expected.end - 1), "{count} groups");
        }
    }
}

#[test]
fn groups_are_placed_cut_and_removed() {
    let mut map = with_nodes(3);
    apply(&mut map, claim(1, &[(0, 99)]));
    found_live(&mut map, 1, 2);
    apply(&mut map, place(1, 3, &[3, 1]));
    let group = map.group(GroupNumber(1)).unwrap();
    assert_eq!((group.home, &group.replicas[..]), (number(3), &[number(1), number(3)][..]));
    let homes = |homes: &[(u64, u64)]| Change::SetHomes {
        homes: homes.iter().map(|&(group, home)| (GroupNumber(group), number(home))).collect(),
    };
    // Only the homes change, whatever else has changed since they were asked for.
    apply(&mut map, homes(&[(1, 1)]));
    let group = map.group(GroupNumber(1)).unwrap();
    assert_eq!((group.home, &group.replicas[..]), (number(1), &[number(1), number(3)][..]));
    for (change, expected) in [
        (homes(&[(2, 1), (1, 2)]), "ERR the home of group 1 is none of its replicas"),
        (homes(&[(1, 3), (9, 3)]), "ERR Unknown group 9"),
        (homes(&[(1, 3), (1, 1)]), "ERR group 1 is placed twice on one node, or has two places"),
        (place(9, 1, &[1]), "ERR Unknown group 9"),
        (place(1, 1, &[]), "ERR a group has 1 to 7 replicas, not 0"),
        (place(1, 1, &[1, 2, 1]), "ERR group 1 is placed twice on one node, or has two places"),
        (place(1, 1, &[2, 3]), "ERR the home of group 1 is none of its replicas"),
        (place(1, 1, &[1, 9]), "ERR Unknown node number 9"),
        (Change::SetReplicasWanted { group: GroupNumber(1), count: Some(8) }, "ERR a group has 1 to 7 replicas, not 8"),
        (Change::SetReplicationFactor { count: 0 }, "ERR a group has 1 to 7 replicas, not 0"),
        (Change::RemoveGroup { group: GroupNumber(1) }, "ERR group 1 has slots"),
    ] {
        assert_eq!(refuse(&mut map, change), expected);
    }
    assert_eq!(map.group(GroupNumber(1)).unwrap().home, number(1), "what is refused changes nothing");
    let (one, two) = (SlotOwner::Group(GroupNumber(1)), SlotOwner::Group(GroupNumber(2)));
    let cut = |first, last, from, to| Change::MoveSlots { slots: slots(first, last), from, to };
    assert_eq!(refuse(&mut map, cut(40, 60, one, two)), "ERR Slot 50 is not where it is to be moved from");
    assert_eq!(refuse(&mut map, cut(0, 1, one, SlotOwner::Group(GroupNumber(9)))), "ERR Unknown group 9");
    apply(&mut map, cut(10, 49, one, two));
    assert_eq!((map.groups()[0].slots.clone(), owner(&map, 10)), (slots(0, 9), two));
    apply(&mut map, cut(0, 4, one, SlotOwner::Claimed(number(2))));
    apply(&mut map, cut(5, 9, one, SlotOwner::Nobody));
    assert_eq!((owner(&map, 4), owner(&map, 5)), (SlotOwner::Claimed(number(2)), SlotOwner::Nobody));
    apply(&mut map, Change::RemoveGroup { group: GroupNumber(1) });
    assert_eq!((map.groups().len(), owner(&map, 10), map.next_group()), (1, two, GroupNumber(3)));
    apply(&mut map, Change::SetReplicasWanted { group: GroupNumber(2), count: Some(5) });
    assert_eq!(map.replicas_wanted(&map.groups()[0]), 5);
    apply(&mut map, Change::SetReplicasWanted { group: GroupNumber(2), count: None });
    apply(&mut map, Change::SetReplicationFactor { count: 2 });
    assert_eq!(map.replicas_wanted(&map.groups()[0]), 2);
    apply(&mut map, Change::SetDraining { node: number(3), is_draining: true });
    assert!(map.node(number(3)).unwrap().is_draining);
}

#[test]
fn a_group_is_nowhere_else_before_it_is_there_and_nowhere_once_it_is_given_up() {
    let mut map = with_nodes(2);
    apply(&mut map, claim(1, &[(0, 99), (200, 200)]));
    apply(&mut map, found(1, 2));
    let early = "ERR group 2 is not founded yet: its home is the only one that may";
    assert_eq!(refuse(&mut map, place(2, 1, &[1, 2])), early);
    let live = |groups: &[u64]| Change::NoteLive { groups: groups.iter().copied().map(GroupNumber).collect() };
    assert_eq!(refuse(&mut map, live(&[2, 7])), "ERR Unknown group 7");
    apply(&mut map, live(&[2]));
    apply(&mut map, place(2, 1, &[1, 2]));
    apply(&mut map, claim(1, &[(300, 301)]));
    apply(&mut map, claim(2, &[(400, 401)]));
    // Of group 2 another node has a replica.
    apply(&mut map, Change::GiveUpSlots { node: number(1) });
    assert_eq!(map.groups().iter().map(|group| group.number.0).collect::<Vec<_>>(), [2]);
    assert_eq!((owner(&map, 0), owner(&map, 300)), (SlotOwner::Nobody, SlotOwner::Nobody));
    assert_eq!((owner(&map, 200), owner(&map, 400)), (SlotOwner::Group(GroupNumber(2)), SlotOwner::Claimed(number(2))));
    assert_eq!(map.next_group(), GroupNumber(3), "a number is never given again");
}

#[test]
fn there_are_no_more_nodes_and_groups_than_there_may_be() {
    let mut map = alone();
    let join = |of| Change::Join { node: newcomer(of), claimed: SlotSet::default() };
    for of in 2..=crate::limits::map::NODES_MAX as u64 {
        map.apply(of, join(of)).unwrap();
    }
    assert_eq!(refuse(&mut map, join(5000)), "ERR a cluster has 1000 nodes at most");
    apply(&mut map, claim(1, &[(0, 16383)]));
    apply(&mut map, found(1, 16384));
    let give_up = Change::MoveSlots {
        slots: slots(0, 0),
        from: SlotOwner::Group(GroupNumber(1)),
        to: SlotOwner::Claimed(number(1)),
    };
    apply(&mut map, give_up);
    assert_eq!(refuse(&mut map, found(1, 1)), "ERR a cluster has 16384 groups at most");
    assert_eq!(owner(&map, 16383), SlotOwner::Group(GroupNumber(16384)));
    assert_eq!(owner(&map, 0), SlotOwner::Claimed(number(1)));
    assert_eq!(Map::decode(&map.encode()), Ok(map));
}

/// The owner of each slot, the slow way.
fn owners(map: &Map) -> Vec<SlotOwner> {
    let mut owners = vec![SlotOwner::Nobody; 16384];
    for node in map.nodes() {
        node.claimed.slots().for_each(|slot| owners[usize::from(slot)] = SlotOwner::Claimed(node.number));
    }
    for group in map.groups() {
        group.slots.slots().for_each(|slot| owners[usize::from(slot)] = SlotOwner::Group(group.number));
    }
    owners
}

proptest! {
    #[test]
    fn maps_agree_with_themselves_whatever_happens(entries in prop::collection::vec((changes(), 1..3u64, any::<bool>()), 0..80)) {
        let mut map = alone();
        let mut other = map.clone();
        for (change, step, is_restored) in entries {
            let before = map.clone();
            let index = map.epoch() + step;
            let result = map.apply(index, Change::decode(&change.encode()).unwrap());
            prop_assert_eq!(map.check(), Ok(()));
            prop_assert_eq!(map.epoch(), index);
            let found: Vec<_> = (0..16384).map(|slot| owner(&map, slot)).collect();
            prop_assert!(found == owners(&map));
            if result.is_err() {
                let mut unchanged = before;
                unchanged.epoch = index;
                prop_assert_eq!(&map, &unchanged);
            }
            // Another node, which may come back from a snapshot.
            if is_restored {
                other = Map::decode(&other.encode()).unwrap();
            }
            prop_assert_eq!(other.apply(index, change), result);
            prop_assert_eq!(other.encode(), map.encode());
            prop_assert_eq!(&other, &map);
        }
    }
}
