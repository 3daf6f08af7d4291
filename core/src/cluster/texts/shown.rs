//! Slots and parts of nodes as clients are shown them.

use std::collections::{BTreeMap, BTreeSet};

use basalt_raft::NodeId;

use super::View;
use crate::cluster::map::{Group, GroupNumber, Node, SlotRange, SlotSet};

/// Slots of one owner.
pub(super) struct Share<'a> {
    /// The slots.
    pub(super) slots: &'a SlotSet,
    /// The node under which they are shown.
    pub(super) node: NodeId,
    /// Their group, if there is one.
    pub(super) group: Option<&'a Group>,
    /// True if the group is led by a node that can commit.
    pub(super) is_led: bool,
}

impl<'a> Share<'a> {
    /// The other nodes that have a replica of its group, or are to have one.
    fn followers(&self, view: &View<'a>) -> impl Iterator<Item = &'a Node> {
        let replicas = self.group.map_or(&[][..], |group| &group.replicas).iter();
        let (map, leader) = (view.map, self.node);
        replicas.filter(move |replica| **replica != leader).filter_map(move |replica| map.node(*replica))
    }
}

/// All that is shown.
pub(super) struct Shown<'a> {
    pub(super) shares: Vec<Share<'a>>,
    slots_of: BTreeMap<NodeId, SlotSet>,
}

impl<'a> Shown<'a> {
    pub(super) fn of(view: &View<'a>) -> Shown<'a> {
        let leader = |group: GroupNumber| view.leaders.get(&group).filter(|leader| view.map.node(**leader).is_some());
        let groups = view.map.groups().iter().map(|group| {
            let leader = leader(group.number).copied();
            let node = leader.unwrap_or(group.home);
            Share { slots: &group.slots, node, group: Some(group), is_led: leader.is_some() }
        });
        let claims = view.map.nodes().iter().map(|node| Share {
            slots: &node.claimed,
            node: node.number,
            group: None,
            is_led: false,
        });
        let shares: Vec<Share<'a>> = groups.chain(claims).filter(|share| !share.slots.is_empty()).collect();
        let mut ranges: BTreeMap<NodeId, Vec<SlotRange>> = BTreeMap::new();
        for share in &shares {
            ranges.entry(share.node).or_default().extend(share.slots.ranges());
        }
        let slots_of = ranges.into_iter().map(|(node, ranges)| (node, SlotSet::of(ranges))).collect();
        Shown { shares, slots_of }
    }

    /// The slots that are shown under `node`.
    pub(super) fn slots_of(&self, node: NodeId) -> &[SlotRange] {
        self.slots_of.get(&node).map_or(&[], |slots| slots.ranges())
    }

    /// The number of nodes with slots.
    pub(super) fn nodes_with_slots(&self) -> usize {
        self.slots_of.len()
    }

    /// The master under which a node is shown as a replica.
    pub(super) fn master(&self, node: &Node) -> Option<NodeId> {
        node.master().filter(|_| !self.slots_of.contains_key(&node.number))
    }

    /// The nodes that have replicas of what each master is shown with, and those that are its replicas by their own word; in the
    /// order of their numbers.
    pub(super) fn replicas(&self, view: &View<'a>) -> BTreeMap<NodeId, Vec<&'a Node>> {
        let mut numbers: BTreeMap<NodeId, BTreeSet<NodeId>> = BTreeMap::new();
        for node in view.map.nodes() {
            if let Some(master) = self.master(node) {
                numbers.entry(master).or_default().insert(node.number);
            }
        }
        for share in &self.shares {
            numbers.entry(share.node).or_default().extend(share.followers(view).map(|node| node.number));
        }
        let nodes = |of: BTreeSet<NodeId>| of.into_iter().filter_map(|number| view.map.node(number)).collect();
        numbers.into_iter().map(|(master, of)| (master, nodes(of))).collect()
    }

    /// All ranges in their order. Such that follow each other and have the same node and the same replicas are one.
    pub(super) fn ranges(&self, view: &View<'a>) -> Vec<ShownRange<'a>> {
        let mut ranges: Vec<ShownRange<'a>> = Vec::new();
        for share in &self.shares {
            let followers: Vec<&Node> = share.followers(view).collect();
            let of_share = share.slots.ranges().iter();
            ranges.extend(of_share.map(|&slots| ShownRange { slots, node: share.node, replicas: followers.clone() }));
        }
        ranges.sort_by_key(|range| range.slots);
        ranges.dedup_by(|next, range| {
            let is_same = range.node == next.node && range.replicas == next.replicas;
            let joined = SlotRange::new(range.slots.first(), next.slots.last());
            if !is_same || range.slots.last() + 1 != next.slots.first() {
                return false;
            }
            range.slots = joined.expect("the first slot comes before the last");
            true
        });
        ranges
    }
}

/// A range of slots with all that is shown of it.
pub(super) struct ShownRange<'a> {
    pub(super) slots: SlotRange,
    pub(super) node: NodeId,
    pub(super) replicas: Vec<&'a Node>,
}
