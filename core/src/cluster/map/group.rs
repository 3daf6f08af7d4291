//! A Raft group with a set of slots, as the map has it.

use basalt_raft::NodeId;

use super::ids::GroupNumber;
use super::slots::SlotSet;

/// A group of the cluster.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Group {
    /// The number, given out once.
    pub number: GroupNumber,
    /// The slots that it has.
    pub slots: SlotSet,
    /// False until its home has founded it: nobody else may have it before, or a second node could found it as well.
    pub is_live: bool,
    /// The number of replicas wanted, if it is another than the cluster's.
    pub replicas_wanted: Option<u8>,
    /// The node that should lead it: one of `replicas`.
    pub home: NodeId,
    /// The nodes that should hold it, in the order of their numbers. Who does hold it is told by the group's own log.
    pub replicas: Vec<NodeId>,
    /// The nodes that held it and should no more, in the order of their numbers, until each says that its replica is gone.
    pub leaving: Vec<NodeId>,
}

/// The place of a group: the nodes that should hold it, and the one of them that should lead it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct GroupPlacement {
    /// The group.
    pub group: GroupNumber,
    /// The node that should lead it.
    pub home: NodeId,
    /// The nodes that should hold it, `home` among them, in any order.
    pub replicas: Vec<NodeId>,
}

/// The move of a group to another place, by who knows of the one that it has.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct GroupMove {
    /// The place that the group has.
    pub from: GroupPlacement,
    /// The place that the same group gets.
    pub to: GroupPlacement,
}

/// A group that was there before the cluster had a map.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct FormerGroup {
    /// Its number, from 1 on.
    pub number: GroupNumber,
    /// Its slots.
    pub slots: SlotSet,
}
