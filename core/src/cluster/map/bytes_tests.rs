//! The bytes of changes and maps: pinned, read back, and refused where they are wrong.

use proptest::prelude::*;

use super::testing::*;
use super::*;

/// Bytes of hex digits; spaces are for the reader.
fn hex(text: &str) -> Vec<u8> {
    let digits: Vec<char> = text.chars().filter(|letter| !letter.is_whitespace()).collect();
    digits.chunks(2).map(|pair| u8::from_str_radix(&pair.iter().collect::<String>(), 16).unwrap()).collect()
}

/// A change of a map that no change makes.
type Spoil<'a> = &'a dyn Fn(&mut Map);

const NAME_2: &str = "abababababababababababab0000000000000002";
const NEWCOMER_2: &str = "0200000000000000 abababababababababababab0000000000000002 0300000000000000
                          04 0a000002 581b 6842 0300612e62 0200 7a31 0900000000000000";

fn newcomer_2() -> Newcomer {
    let addresses = Addresses { hostname: "a.b".to_owned(), zone: "z1".to_owned(), ..addresses(2) };
    Newcomer { addresses, config_epoch: 9, ..newcomer(2) }
}

#[test]
fn the_layout_of_changes_is_the_documented_one() {
    let node = number(0x0102);
    let (number_hex, group_hex) = ("0201000000000000", "0500000000000000");
    let group = GroupNumber(5);
    let ipv6 = Addresses { ip: Some("2001:db8::1".parse().unwrap()), port: 1, bus_port: 2, ..Addresses::default() };
    let nowhere = Addresses::default();
    let groups = vec![FormerGroup { number: group, slots: slots(1, 258) }];
    let placement = GroupPlacement { group, home: number(1), replicas: vec![number(1), number(2)] };
    let former = GroupPlacement { group, home: number(2), replicas: vec![number(2), number(3)] };
    let moves = vec![GroupMove { from: former, to: placement.clone() }];
    let placements = vec![placement];
    for (change, expected) in [
        (
            Change::FoundCluster { cluster_id: ClusterId([7; 20]), replication_factor: 3, node: newcomer_2(), groups },
            format!("01 01 {} 03 {NEWCOMER_2} 01000000 {group_hex} 01000000 0100 0201", "07".repeat(20)),
        ),
        (Change::Join { node: newcomer_2(), claimed: SlotSet::default() }, format!("01 02 {NEWCOMER_2} 00000000")),
        (
            Change::Announce { node, incarnation: 4, addresses: ipv6 },
            format!("01 03 {number_hex} 0400000000000000 06 20010db8000000000000000000000001 0100 0200 0000 0000"),
        ),
        (
            Change::Announce { node, incarnation: 4, addresses: nowhere },
            format!("01 03 {number_hex} 0400000000000000 00 0000 0000 0000 0000"),
        ),
        (Change::Forget { node }, format!("01 04 {number_hex}")),
        (Change::ForgetWithReplicas { node }, format!("01 14 {number_hex}")),
        (Change::NoteGone { node, groups: vec![group] }, format!("01 15 {number_hex} 01000000 {group_hex}")),
        (Change::ForgetLost { node }, format!("01 16 {number_hex}")),
        (
            Change::ClaimSlots { node, ranges: vec![range(5, 5), range(0, 3)] },
            format!("01 05 {number_hex} 02000000 0500 0500 0000 0300"),
        ),
        (Change::ReleaseSlots { ranges: vec![range(5, 16383)] }, "01 06 01000000 0500 ff3f".to_owned()),
        (Change::FlushSlots { node }, format!("01 07 {number_hex}")),
        (Change::SetConfigEpoch { node, epoch: 258 }, format!("01 08 {number_hex} 0201000000000000")),
        (Change::BumpConfigEpoch { node }, format!("01 09 {number_hex}")),
        (Change::SetRole { node, role: Role::Master }, format!("01 0a {number_hex} 00")),
        (Change::SetRole { node, role: Role::ReplicaOf(number(5)) }, format!("01 0a {number_hex} 01 {group_hex}")),
        (Change::FoundGroups { node, count: 258 }, format!("01 0b {number_hex} 0201")),
        (
            Change::PlaceGroups { placements },
            format!("01 0c 01000000 {group_hex} 0100000000000000 02000000 0100000000000000 0200000000000000"),
        ),
        (
            Change::MoveGroups { moves },
            format!(
                "01 18 01000000 {group_hex} 0200000000000000 02000000 0200000000000000 0300000000000000
                 0100000000000000 02000000 0100000000000000 0200000000000000"
            ),
        ),
        (Change::SetHomes { homes: vec![(group, node)] }, format!("01 17 01000000 {group_hex} {number_hex}")),
        (Change::SetReplicasWanted { group, count: Some(5) }, format!("01 0d {group_hex} 05")),
        (Change::SetReplicasWanted { group, count: None }, format!("01 0d {group_hex} 00")),
        (
            Change::MoveSlots { slots: slots(1, 2), from: SlotOwner::Group(group), to: SlotOwner::Claimed(node) },
            format!("01 0e 01000000 0100 0200 02 {group_hex} 01 {number_hex}"),
        ),
        (
            Change::MoveSlots { slots: slots(1, 2), from: SlotOwner::Nobody, to: SlotOwner::Nobody },
            "01 0e 01000000 0100 0200 00 00".to_owned(),
        ),
        (Change::RemoveGroup { group }, format!("01 0f {group_hex}")),
        (Change::SetReplicationFactor { count: 5 }, "01 10 05".to_owned()),
        (Change::SetDraining { node, is_draining: true }, format!("01 11 {number_hex} 01")),
        (Change::GiveUpSlots { node }, format!("01 13 {number_hex}")),
        (Change::NoteLive { groups: vec![group] }, format!("01 12 01000000 {group_hex}")),
    ] {
        let expected = hex(&expected);
        assert_eq!(change.encode(), expected, "{change:?}");
        assert_eq!(Change::decode(&expected), Ok(change.clone()));
        for length in 0..expected.len() {
            assert!(Change::decode(&expected[..length]).is_err(), "{change:?}, cut to {length} bytes");
        }
        assert_eq!(Change::decode(&[&expected[..], &[0]].concat()), Err(DecodeError::TooLong(1)));
    }
}

#[test]
fn the_layout_of_maps_is_the_documented_one() {
    let mut map = alone();
    apply(&mut map, Change::Join { node: newcomer_2(), claimed: slots(5, 7) });
    apply(&mut map, Change::Join { node: newcomer(3), claimed: SlotSet::default() });
    apply(&mut map, Change::Join { node: newcomer(4), claimed: SlotSet::default() });
    apply(&mut map, Change::ClaimSlots { node: number(1), ranges: vec![range(0, 3)] });
    apply(&mut map, Change::FoundGroups { node: number(1), count: 1 });
    apply(&mut map, Change::SetReplicasWanted { group: GroupNumber(1), count: Some(2) });
    apply(&mut map, Change::SetRole { node: number(4), role: Role::ReplicaOf(number(2)) });
    apply(&mut map, Change::SetDraining { node: number(4), is_draining: true });
    apply(&mut map, Change::Forget { node: number(3) });
    // It may lead, and be left by others, once it is founded.
    (map.groups[0].is_live, map.groups[0].leaving) = (true, vec![number(2), number(4)]);
    let (name_1, name_3, name_4) = (name(1), name(3), name(4));
    let node = |number: u8, name: &str, addresses: &str, role: &str, rest: &str| {
        format!("0{number}00000000000000 {name} 0300000000000000 {addresses} {role} {rest}")
    };
    let expected = [
        "02 0a00000000000000".to_owned(),
        "07".repeat(20),
        "03 0900000000000000 0200000000000000 03000000".to_owned(),
        node(1, &name_1.to_string(), "04 0a000001 581b 6842 0000 0000", "00", "00 0000000000000000 00000000"),
        node(2, NAME_2, "04 0a000002 581b 6842 0300612e62 0200 7a31", "00", "00 0900000000000000 01000000 0500 0700"),
        node(
            4,
            &name_4.to_string(),
            "04 0a000004 581b 6842 0000 0000",
            "01 0200000000000000",
            "01 0000000000000000 00000000",
        ),
        "01000000 0100000000000000 01000000 0000 0300 01 02 0100000000000000 01000000 0100000000000000
         02000000 0200000000000000 0400000000000000"
            .to_owned(),
        format!("01000000 0300000000000000 {name_3} 0300000000000000 04 0a000003 581b 6842 0000 0000"),
    ];
    let expected = hex(&expected.concat());
    assert_eq!(map.encode(), expected);
    assert_eq!(Map::decode(&expected), Ok(map.clone()));
    // Of version 1, which had no nodes that are leaving, and no addresses of those that have left.
    let end = expected.len() - 13;
    let after = end - 4 - 36;
    let former = [&[1], &expected[1..after - 20], &expected[after..end]].concat();
    map.groups[0].leaving.clear();
    map.forgotten[0].addresses = Addresses::default();
    assert_eq!(Map::decode(&former), Ok(map));
    for length in 0..expected.len() {
        assert!(Map::decode(&expected[..length]).is_err(), "cut to {length} bytes");
    }
    assert_eq!(Map::decode(&[&expected[..], &[0]].concat()), Err(DecodeError::TooLong(1)));
    assert_eq!(Map::decode(&Map::new().encode()), Ok(Map::default()));
}

#[test]
fn unknown_versions_and_kinds_are_named() {
    let error = |bytes: &[u8]| Change::decode(bytes).unwrap_err().to_string();
    assert_eq!(error(&[2, 4]), "the change has version 2, this program reads up to version 1");
    assert_eq!(error(&[0]), "the change has version 0, this program reads up to version 1");
    assert_eq!(error(&[1, 0]), "the change is of kind 0, this program knows those from 1 to 24");
    assert_eq!(error(&[1, 25]), "the change is of kind 25, this program knows those from 1 to 24");
    assert_eq!(error(&[]), "the bytes end 1 bytes too early");
    assert_eq!(Map::decode(&[3]).unwrap_err().to_string(), "the map has version 3, this program reads up to version 2");
}

#[test]
fn lengths_are_held_against_what_is_there_before_memory_is_taken() {
    for (bytes, expected) in [
        ("01 06 ffffffff", "4294967295 ranges of slots, 16385 are the most"),
        ("01 06 01400000 0000 0000", "the bytes end 65536 bytes too early"),
        ("01 06 01000000 0300 0200", "the end of a range of slots is 2, which it cannot be"),
        ("01 06 01000000 0300 0040", "the end of a range of slots is 16384, which it cannot be"),
        ("01 0c 01400000", "16385 places, 16384 are the most"),
        ("01 0c 01000000 0500000000000000 0100000000000000 08000000", "8 replicas, 7 are the most"),
        ("01 0e 02000000 0100 0200 0300 0400 00 00", "the order of slots is 2, which it cannot be"),
        ("01 0e 00000000 03 00", "an owner of slots is 3, which it cannot be"),
        ("01 0a 0200000000000000 02", "a role is 2, which it cannot be"),
        ("01 11 0200000000000000 02", "draining is 2, which it cannot be"),
        ("01 03 0100000000000000 0100000000000000 05", "a kind of address is 5, which it cannot be"),
        ("01 03 0100000000000000 0100000000000000 00 0000 0000 fe00", "254 bytes of a host name, 253 are the most"),
        ("01 03 0100000000000000 0100000000000000 00 0000 0000 0100 0a 0000", "a letter is 10, which it cannot be"),
    ] {
        assert_eq!(Change::decode(&hex(bytes)).unwrap_err().to_string(), expected, "{bytes}");
    }
}

#[test]
fn maps_that_contradict_themselves_are_refused() {
    let mut good = with_nodes(3);
    apply(&mut good, Change::ClaimSlots { node: number(1), ranges: vec![range(0, 9)] });
    found_live(&mut good, 1, 2);
    let wrong = |spoil: Spoil<'_>| {
        let mut map = good.clone();
        spoil(&mut map);
        Map::decode(&map.encode()).unwrap_err().to_string()
    };
    let spoils: [(Spoil<'_>, &str); 22] = [
        (&|map| map.cluster_id = ClusterId::default(), "it has nodes or groups, but no id"),
        (&|map| map.nodes.clear(), "it has no nodes"),
        (&|map| map.replication_factor = 0, "1 to 7 replicas, not 0"),
        (&|map| map.config_epoch = u64::MAX, "the configuration epoch is"),
        (&|map| map.nodes.swap(0, 1), "node number 1 does not follow 2"),
        (&|map| map.nodes[0].number = number(0), "node number 0 does not follow 0"),
        (&|map| map.nodes[1].name = name(3), "two nodes have the same id"),
        (&|map| map.nodes[1].config_epoch = 1, "a configuration epoch of the future"),
        (&|map| map.nodes[1].addresses.zone = "a/b".to_owned(), "zones may only contain"),
        (&|map| map.nodes[1].role = Role::ReplicaOf(number(9)), "of no master"),
        (&|map| map.nodes[1].role = Role::ReplicaOf(number(2)), "of no master"),
        (&|map| map.nodes[1].claimed = slots(9, 9), "slot 9 has two owners"),
        (&|map| map.groups[1].slots = slots(4, 9), "slot 4 has two owners"),
        (&|map| map.groups[1].home = number(2), "group 2 is in no order"),
        (&|map| map.groups[1].replicas.push(number(1)), "group 2 is in no order"),
        (&|map| map.groups[1].leaving = vec![number(3), number(2)], "group 2 is left in no order"),
        (&|map| map.groups[1].leaving = vec![number(1)], "group 2 is left in no order"),
        (&|map| map.groups[1].leaving = vec![number(9)], "a node that is not there"),
        (
            &|map| {
                map.groups[1].is_live = false;
                map.groups[1].replicas.push(number(2));
            },
            "before it is founded",
        ),
        (&|map| map.groups[1].replicas.push(number(9)), "a node that is not there"),
        (&|map| map.groups[1].number = GroupNumber(1), "group number 1 does not follow 1"),
        (&|map| map.next_group = 2, "the next group would be number 2, the last one is 2"),
    ];
    for (spoil, expected) in spoils {
        let found = wrong(spoil);
        assert!(
            found.starts_with("the map contradicts itself: ") && found.contains(expected),
            "{found} is not {expected}"
        );
    }
    let gone = |of, name| {
        let addresses = Addresses::default();
        let gone = Forgotten { number: number(of), name, incarnation: 1, addresses };
        move |map: &mut Map| map.forgotten.push(gone.clone())
    };
    for (number, name) in [(2, name(8)), (8, name(2)), (0, name(8))] {
        assert!(wrong(&gone(number, name)).contains("has left and has not"));
    }
}

proptest! {
    #[test]
    fn changes_and_maps_are_read_as_they_are_written(bytes in prop::collection::vec(any::<u8>(), 0..120), kind in 0..25u8) {
        let change = [&[1, kind], &bytes[..]].concat();
        if let Ok(read) = Change::decode(&change) {
            prop_assert_eq!(read.encode(), change);
        }
        if let Ok(map) = Map::decode(&bytes) {
            prop_assert!(bytes[0] == 1 || map.encode() == bytes);
        }
    }

    #[test]
    fn bytes_that_were_changed_are_refused_or_mean_themselves(
        change in changes(),
        at in any::<prop::sample::Index>(),
        byte in any::<u8>(),
    ) {
        let mut bytes = change.encode();
        let at = at.index(bytes.len());
        bytes[at] = byte;
        if let Ok(read) = Change::decode(&bytes) {
            prop_assert_eq!(read.encode(), bytes);
        }
    }
}
