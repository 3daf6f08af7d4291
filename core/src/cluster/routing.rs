//! The places of keys, as far as this node knows: its own table, and in a cluster the map beside it.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt;
use std::net::IpAddr;
use std::sync::Arc;

use basalt_raft::NodeId;
use basalt_storage::keyspace::Slot;

use super::Router;
use super::map::{ClusterId, Group, GroupNumber, Map, SlotOwner};
use crate::ids::ShardId;

/// The places of keys. It does not change: there is a new one when groups come and go, or the map changes.
#[derive(Debug, Clone)]
pub struct Routing {
    /// The shards of this node.
    pub router: Router,
    /// The cluster, if the node belongs to one.
    pub cluster: Option<InCluster>,
}

/// A cluster as one of its nodes knows it.
#[derive(Debug, Clone)]
pub struct InCluster {
    /// The id of the cluster.
    pub id: ClusterId,
    /// The number of this node.
    pub myself: NodeId,
    /// The number of the start of this node that is going on.
    pub incarnation: u64,
    /// The map; `None` until the node has all of it that its log has.
    pub map: Option<Arc<Map>>,
    /// The map as it was read from the disk, which may be an old one: other nodes are looked for there until the map is known.
    pub old_map: Option<Arc<Map>>,
    /// The groups that this node has.
    pub local: BTreeMap<GroupNumber, LocalGroup>,
    /// Of each of them that is open the node that leads it, if one is known to.
    pub leaders: BTreeMap<GroupNumber, Option<NodeId>>,
    /// Of groups that this node does not have the node that leads them, as it was told lately.
    pub hints: BTreeMap<GroupNumber, NodeId>,
    /// Other nodes that do not answer.
    pub silent: BTreeSet<NodeId>,
}

/// A group that this node has.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct LocalGroup {
    /// Its shard.
    pub shard: ShardId,
    /// The lane of that.
    pub lane: u16,
    /// True once it is part of its group.
    pub is_live: bool,
    /// The number of the replica in votes and memberships.
    pub replica: NodeId,
}

/// The reason that a slot is not served here. Its `Display` is the error reply.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Elsewhere {
    /// The map is not there yet.
    Loading,
    /// Nobody serves it.
    NotServed,
    /// It has an owner, but no group that takes requests.
    Down,
    /// Another node has it.
    Moved {
        /// The slot.
        slot: u16,
        /// The address of the node; `None` if it is not known, which means the one that was asked.
        ip: Option<IpAddr>,
        /// Its port for clients.
        port: u16,
    },
}

impl fmt::Display for Elsewhere {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Elsewhere::Loading => formatter.write_str("LOADING Basalt is loading the dataset in memory"),
            Elsewhere::NotServed => formatter.write_str("CLUSTERDOWN Hash slot not served"),
            Elsewhere::Down => formatter.write_str("CLUSTERDOWN The cluster is down"),
            Elsewhere::Moved { slot, ip, port } => {
                write!(formatter, "MOVED {slot} ")?;
                match ip {
                    Some(IpAddr::V6(ip)) => write!(formatter, "{ip}:{port}"),
                    Some(ip) => write!(formatter, "{ip}:{port}"),
                    None => write!(formatter, ":{port}"),
                }
            }
        }
    }
}

impl Routing {
    /// That of a node alone.
    pub fn alone(router: Router) -> Routing {
        Routing { router, cluster: None }
    }

    /// The shard of this node that has `slot`, if one has, whichever node leads its group.
    pub fn replica_of_slot(&self, slot: Slot) -> Option<ShardId> {
        let led = self.router.shard_of_slot(slot);
        led.or_else(|| {
            let cluster = self.cluster.as_ref()?;
            let SlotOwner::Group(group) = cluster.map.as_deref()?.owner(slot) else { return None };
            cluster.local.get(&group).map(|local| local.shard)
        })
    }

    /// That of a node in a cluster, whose cores are so many.
    pub fn in_cluster(cluster: InCluster, core_count: u16) -> Routing {
        let lanes: Vec<(u16, u16)> = cluster.local.values().map(|group| (group.shard.0, group.lane)).collect();
        let groups = cluster.map.iter().flat_map(|map| map.groups());
        let held = groups.filter_map(|group| Some((group, cluster.local.get(&group.number)?.shard)));
        let is_led_here = |group: &Group| cluster.leader_of(group).is_none_or(|leader| leader == cluster.myself);
        let (here, elsewhere): (Vec<_>, Vec<_>) = held.partition(|(group, _)| is_led_here(group));
        let followers: BTreeSet<u16> = elsewhere.into_iter().map(|(_, shard)| shard.0).collect();
        let here = here.into_iter();
        let slots = here.flat_map(|(group, shard)| group.slots.slots().map(move |slot| (slot, shard)));
        Routing { router: Router::with_slots(&lanes, &followers, slots, core_count), cluster: Some(cluster) }
    }
}

impl InCluster {
    /// True once the map says where this node is since it has started.
    pub fn knows_of_this_start(&self) -> bool {
        let node = self.map.as_deref().and_then(|map| map.node(self.myself));
        node.is_some_and(|node| node.incarnation >= self.incarnation)
    }

    /// The node that leads `group`, as far as this one knows. Where its own replica is not open, and where it has none, that is
    /// one on another node which answers, and may know better: the home if it does. `None` where the node itself is to be asked,
    /// whose replica knows of no leader or is the only one.
    pub fn leader_of(&self, group: &Group) -> Option<NodeId> {
        let is_known = |node: NodeId| self.map.as_deref().is_none_or(|map| map.node(node).is_some());
        match self.leaders.get(&group.number) {
            Some(Some(leader)) if is_known(*leader) => return Some(*leader),
            // One that has to go hears of nobody any more.
            Some(_) if group.replicas.contains(&self.myself) => return None,
            _ => {}
        }
        let is_here = self.has_place(group);
        if let Some(hint) = self.hints.get(&group.number).filter(|hint| !is_here && !self.silent.contains(hint)) {
            return Some(*hint);
        }
        let replicas = [group.home].into_iter().chain(group.replicas.iter().copied());
        let answers = |replica: &NodeId| *replica != self.myself && !self.silent.contains(replica);
        replicas.into_iter().find(answers).or((!is_here).then_some(group.home))
    }

    /// Returns whether this node has a replica of `group`, and is to keep it.
    pub fn has_place(&self, group: &Group) -> bool {
        self.local.contains_key(&group.number) && group.replicas.contains(&self.myself)
    }

    /// The reason that `slot`, which no shard of this node has, is not served here.
    pub fn elsewhere(&self, slot: Slot) -> Elsewhere {
        let Some(map) = self.map.as_deref().filter(|map| map.is_founded()) else { return Elsewhere::Loading };
        match map.owner(slot) {
            SlotOwner::Nobody => Elsewhere::NotServed,
            SlotOwner::Claimed(_) => Elsewhere::Down,
            SlotOwner::Group(group) => {
                let leader = map.group(group).and_then(|group| self.leader_of(group));
                let Some(node) = leader.filter(|leader| *leader != self.myself).and_then(|leader| map.node(leader))
                else {
                    return Elsewhere::Down;
                };
                Elsewhere::Moved { slot: slot.index(), ip: node.addresses.ip, port: node.addresses.port }
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::super::map::testing::{alone, apply, found_live, newcomer, number, range};
    use super::super::map::{Change, GroupPlacement, SlotSet};
    use super::*;

    #[test]
    fn a_slot_is_where_its_group_is_led() {
        let mut map = alone();
        for node in 2..4 {
            apply(&mut map, Change::Join { node: newcomer(node), claimed: SlotSet::default() });
        }
        apply(&mut map, Change::ClaimSlots { node: number(1), ranges: vec![range(0, 199)] });
        found_live(&mut map, 1, 2);
        let replicas = vec![number(1), number(2), number(3)];
        let place = |group, home| GroupPlacement { group: GroupNumber(group), home, replicas: replicas.clone() };
        apply(&mut map, Change::PlaceGroups { placements: vec![place(1, number(1)), place(2, number(2))] });
        let mut cluster = cluster(Some(map), &[(1, 0), (2, 1)]);
        let where_is = |cluster: &InCluster, slot| {
            let routing = Routing::in_cluster(cluster.clone(), 1);
            let of_slot = routing.router.shard_of_slot(Slot::new(slot));
            let all = routing.router.shards().map(|shard| shard.0).collect::<Vec<_>>();
            assert_eq!(routing.router.all_shards().len(), 2);
            (of_slot.map(|shard| shard.0), all, cluster.elsewhere(Slot::new(slot)).to_string())
        };
        let down = "CLUSTERDOWN The cluster is down";
        // Its replicas are not open: the home is asked, if that is another one.
        assert_eq!(where_is(&cluster, 0), (None, vec![], "MOVED 0 10.0.0.2:7000".to_owned()));
        assert_eq!(where_is(&cluster, 100), (None, vec![], "MOVED 100 10.0.0.2:7000".to_owned()));
        // Or another one that answers.
        cluster.silent.insert(number(2));
        assert_eq!(where_is(&cluster, 100), (None, vec![], "MOVED 100 10.0.0.3:7000".to_owned()));
        // If none does, it is this one that says so. And if it is open and knows of no leader.
        cluster.silent.insert(number(3));
        assert_eq!(where_is(&cluster, 100), (Some(1), vec![0, 1], down.to_owned()));
        cluster.silent.remove(&number(3));
        cluster.leaders.insert(GroupNumber(2), None);
        assert_eq!(where_is(&cluster, 100), (Some(1), vec![1], down.to_owned()));
        // Whoever leads one that is not here may have been told.
        let mut far = cluster.clone();
        far.local.clear();
        far.leaders.clear();
        far.hints.insert(GroupNumber(2), number(3));
        far.silent.insert(number(3));
        assert_eq!(far.elsewhere(Slot::new(100)).to_string(), "MOVED 100 10.0.0.2:7000", "it is silent");
        far.silent.clear();
        assert_eq!(far.elsewhere(Slot::new(100)).to_string(), "MOVED 100 10.0.0.3:7000");
        // Whoever leads is known to a node that has the group, also if it is thought to be silent.
        cluster.leaders.extend([(GroupNumber(1), Some(number(3))), (GroupNumber(2), Some(number(1)))]);
        assert_eq!(where_is(&cluster, 0), (None, vec![1], "MOVED 0 10.0.0.3:7000".to_owned()));
        let routing = Routing::in_cluster(cluster.clone(), 1);
        let replica = |slot| routing.replica_of_slot(Slot::new(slot)).map(|shard| shard.0);
        assert_eq!((replica(0), replica(100), replica(300)), (Some(0), Some(1), None), "whoever leads them");
        assert_eq!(where_is(&cluster, 100).0, Some(1));
    }

    fn cluster(map: Option<Map>, local: &[(u64, u16)]) -> InCluster {
        let group = |shard: u16| LocalGroup { shard: ShardId(shard), lane: shard, is_live: true, replica: number(1) };
        let local = local.iter().map(|&(number, shard)| (GroupNumber(number), group(shard))).collect();
        InCluster {
            id: ClusterId([7; 20]),
            myself: number(1),
            incarnation: 3,
            map: map.map(Arc::new),
            old_map: None,
            local,
            leaders: BTreeMap::new(),
            hints: BTreeMap::new(),
            silent: BTreeSet::new(),
        }
    }

    #[test]
    fn a_slot_is_here_or_where_the_map_says_or_nowhere() {
        let mut map = alone();
        apply(&mut map, Change::Join { node: newcomer(2), claimed: SlotSet::default() });
        apply(&mut map, Change::ClaimSlots { node: number(1), ranges: vec![range(0, 199)] });
        found_live(&mut map, 1, 2);
        let placement = GroupPlacement { group: GroupNumber(2), home: number(2), replicas: vec![number(2)] };
        apply(&mut map, Change::PlaceGroups { placements: vec![placement] });
        apply(&mut map, Change::ClaimSlots { node: number(2), ranges: vec![range(300, 301)] });
        let routing = Routing::in_cluster(cluster(Some(map.clone()), &[(1, 4)]), 2);
        let shard = |slot| routing.router.shard_of_slot(Slot::new(slot));
        assert_eq!((shard(0), shard(99), shard(100)), (Some(ShardId(4)), Some(ShardId(4)), None));
        let text = |cluster: &InCluster, slot| cluster.elsewhere(Slot::new(slot)).to_string();
        let here = routing.cluster.as_ref().unwrap();
        assert_eq!(text(here, 100), "MOVED 100 10.0.0.2:7000");
        assert_eq!(text(here, 250), "CLUSTERDOWN Hash slot not served");
        assert_eq!(text(here, 300), "CLUSTERDOWN The cluster is down");
        // Its own group, which is not there yet.
        assert_eq!(text(&cluster(Some(map), &[]), 0), "CLUSTERDOWN The cluster is down");
        assert!(here.knows_of_this_start());
        assert!(!InCluster { incarnation: 4, ..here.clone() }.knows_of_this_start());
        for empty in [None, Some(Map::new())] {
            assert!(!cluster(empty.clone(), &[]).knows_of_this_start());
            assert_eq!(text(&cluster(empty, &[]), 0), "LOADING Basalt is loading the dataset in memory");
        }
    }
}
