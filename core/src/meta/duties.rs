//! The things that a node has to tell the map by itself.

use std::collections::BTreeMap;

use basalt_raft::NodeId;

use crate::cluster::LocalGroup;
use crate::cluster::map::{Change, ClusterId, FormerGroup, Group, GroupNumber, Map, Newcomer};
use crate::limits::map::REPLICATION_FACTOR;

/// This node, as it presents itself.
#[derive(Debug, Clone)]
pub struct OwnNode {
    /// The cluster that it founds, unless it has joined one.
    pub cluster_id: ClusterId,
    /// True if it founds its cluster; else it was told of one that there is.
    pub founds: bool,
    /// Its name, number, start and addresses.
    pub newcomer: Newcomer,
    /// The groups that it had before it belonged to a cluster.
    pub former: Vec<FormerGroup>,
    /// The number of groups that it founds for slots which it has claimed.
    pub groups_wanted: u16,
}

impl OwnNode {
    fn number(&self) -> NodeId {
        self.newcomer.number
    }
}

/// The next change that the node owes the map; `None` if it owes none.
pub(super) fn due(map: &Map, own: &OwnNode, local: &BTreeMap<GroupNumber, LocalGroup>) -> Option<Change> {
    if !map.is_founded() && !own.founds {
        return None;
    }
    if !map.is_founded() {
        let (cluster_id, node, groups) = (own.cluster_id, own.newcomer.clone(), own.former.clone());
        return Some(Change::FoundCluster { cluster_id, replication_factor: REPLICATION_FACTOR, node, groups });
    }
    let known = map.node(own.number())?;
    let (incarnation, mut addresses) = (own.newcomer.incarnation, own.newcomer.addresses.clone());
    // A node that listens everywhere has learnt its address when it joined.
    addresses.ip = addresses.ip.or(known.addresses.ip);
    if (known.incarnation, &known.addresses) != (incarnation, &addresses) {
        return Some(Change::Announce { node: own.number(), incarnation, addresses });
    }
    let is_live = |number: &GroupNumber| local.get(number).is_some_and(|group| group.is_live);
    let waiting = map.groups().iter().filter(|group| !group.is_live && group.home == own.number());
    let groups: Vec<GroupNumber> = waiting.map(|group| group.number).filter(is_live).collect();
    if !groups.is_empty() {
        return Some(Change::NoteLive { groups });
    }
    // A replica that is being given up is here until its files are gone.
    let is_gone = |group: &&Group| group.leaving.contains(&own.number()) && !local.contains_key(&group.number);
    let groups: Vec<GroupNumber> = map.groups().iter().filter(is_gone).map(|group| group.number).collect();
    if !groups.is_empty() {
        return Some(Change::NoteGone { node: own.number(), groups });
    }
    // Not before every slot has an owner: until then slots may be given up again, and nodes join.
    if !known.claimed.is_empty() && map.is_covered() {
        return Some(Change::FoundGroups { node: own.number(), count: own.groups_wanted });
    }
    None
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::cluster::map::testing::{apply, found_live, newcomer, number, range, slots, with_nodes};
    use crate::cluster::map::{GroupPlacement, Outcome, SlotSet};
    use crate::ids::ShardId;

    fn own(groups_wanted: u16) -> OwnNode {
        OwnNode {
            cluster_id: ClusterId([7; 20]),
            founds: true,
            newcomer: newcomer(1),
            former: Vec::new(),
            groups_wanted,
        }
    }

    fn local(groups: &[(u64, bool)]) -> BTreeMap<GroupNumber, LocalGroup> {
        let of = |is_live| LocalGroup { shard: ShardId(0), lane: 0, is_live, replica: number(1) };
        groups.iter().map(|&(number, is_live)| (GroupNumber(number), of(is_live))).collect()
    }

    #[test]
    fn a_node_founds_its_cluster_then_its_groups_and_says_when_they_are_there() {
        let (mut map, own, nothing) = (Map::new(), own(2), local(&[]));
        let founding = due(&map, &own, &nothing).unwrap();
        apply(&mut map, founding);
        assert_eq!(due(&map, &own, &nothing), None);
        apply(&mut map, Change::ClaimSlots { node: number(1), ranges: vec![range(0, 16382)] });
        assert_eq!(due(&map, &own, &nothing), None, "a slot is nobody's");
        apply(&mut map, Change::ClaimSlots { node: number(1), ranges: vec![range(16383, 16383)] });
        let groups = due(&map, &own, &nothing).unwrap();
        assert_eq!(apply(&mut map, groups), Outcome::Founded { first: GroupNumber(1), count: 2 });
        assert_eq!(due(&map, &own, &local(&[(1, false), (2, false)])), None);
        let live = due(&map, &own, &local(&[(1, false), (2, true)])).unwrap();
        assert_eq!(live, Change::NoteLive { groups: vec![GroupNumber(2)] });
        apply(&mut map, live);
        assert_eq!(due(&map, &own, &local(&[(1, false), (2, true)])), None);
    }

    #[test]
    fn a_node_with_data_founds_its_cluster_with_its_groups() {
        let mut own = own(2);
        own.former = vec![FormerGroup { number: GroupNumber(1), slots: slots(0, 16383) }];
        let mut map = Map::new();
        let founding = due(&map, &own, &local(&[(1, true)])).unwrap();
        apply(&mut map, founding);
        assert!(map.groups()[0].is_live && map.is_covered());
        assert_eq!(due(&map, &own, &local(&[(1, true)])), None);
    }

    #[test]
    fn a_node_says_when_a_replica_is_gone_and_not_before() {
        let (own, mut map) = (own(1), with_nodes(2));
        apply(&mut map, Change::ClaimSlots { node: number(1), ranges: vec![range(0, 16383)] });
        found_live(&mut map, 1, 2);
        let place = |group, node| GroupPlacement {
            group: GroupNumber(group),
            home: number(node),
            replicas: vec![number(node)],
        };
        apply(&mut map, Change::PlaceGroups { placements: vec![place(1, 2), place(2, 2)] });
        assert_eq!(due(&map, &own, &local(&[(1, true), (2, true)])), None);
        let gone = due(&map, &own, &local(&[(1, true)])).unwrap();
        assert_eq!(gone, Change::NoteGone { node: number(1), groups: vec![GroupNumber(2)] });
        apply(&mut map, gone);
        assert_eq!(due(&map, &own, &local(&[(1, true)])), None);
        apply(&mut map, Change::PlaceGroups { placements: vec![place(1, 1)] });
        assert_eq!(due(&map, &own, &local(&[])), None, "it is to have it again");
    }

    #[test]
    fn a_node_says_that_it_has_started_and_where_it_is() {
        let (mut map, mut own) = (Map::new(), own(1));
        let founding = due(&map, &own, &local(&[])).unwrap();
        apply(&mut map, founding);
        own.newcomer.incarnation += 1;
        own.newcomer.addresses.port = 7001;
        let announced = due(&map, &own, &local(&[])).unwrap();
        apply(&mut map, announced);
        assert_eq!(map.node(number(1)).unwrap().addresses.port, 7001);
        assert_eq!(due(&map, &own, &local(&[])), None);
        own.newcomer.addresses.ip = None;
        assert_eq!(due(&map, &own, &local(&[])), None, "others know better where it is");
        // What another has claimed is that one's business.
        apply(&mut map, Change::Join { node: newcomer(2), claimed: SlotSet::of([range(0, 16383)]) });
        assert_eq!(due(&map, &own, &local(&[])), None);
    }
}
