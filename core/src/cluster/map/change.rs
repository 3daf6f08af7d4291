//! A change of the map: what one entry of the meta group says.

use basalt_raft::NodeId;

use super::group::{FormerGroup, GroupMove, GroupPlacement};
use super::ids::{ClusterId, GroupNumber};
use super::node::{Addresses, Newcomer, Role};
use super::slots::{SlotRange, SlotSet};

/// The owner of a slot.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum SlotOwner {
    /// Nobody has it.
    Nobody,
    /// A node has claimed it, and no group has it yet.
    Claimed(NodeId),
    /// A group has it.
    Group(GroupNumber),
}

/// One change of the map.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Change {
    /// The first one: a cluster of one node, with the groups that this had before.
    FoundCluster {
        /// The id of the cluster.
        cluster_id: ClusterId,
        /// Replicas that a group has unless something else is said of it.
        replication_factor: u8,
        /// The node.
        node: Newcomer,
        /// Its groups, in the order of their numbers.
        groups: Vec<FormerGroup>,
    },
    /// A node joins, or joins again after the answer was lost.
    Join {
        /// The node.
        node: Newcomer,
        /// The slots it had claimed before.
        claimed: SlotSet,
    },
    /// A node has started, or is reached elsewhere.
    Announce {
        /// The node.
        node: NodeId,
        /// The number of its starts.
        incarnation: u64,
        /// The places at which it is reached from now on.
        addresses: Addresses,
    },
    /// A node leaves, or has left before.
    Forget {
        /// The node.
        node: NodeId,
    },
    /// A node claims slots that are nobody's.
    ClaimSlots {
        /// The node.
        node: NodeId,
        /// The slots, in the order in which the client named them.
        ranges: Vec<SlotRange>,
    },
    /// Slots that were claimed are nobody's again.
    ReleaseSlots {
        /// The slots, in the order in which the client named them.
        ranges: Vec<SlotRange>,
    },
    /// All slots that a node has claimed are nobody's again.
    FlushSlots {
        /// The node.
        node: NodeId,
    },
    /// The node that is alone gets its configuration epoch.
    SetConfigEpoch {
        /// The node.
        node: NodeId,
        /// The epoch.
        epoch: u64,
    },
    /// A node gets the greatest configuration epoch.
    BumpConfigEpoch {
        /// The node.
        node: NodeId,
    },
    /// A node gets another part.
    SetRole {
        /// The node.
        node: NodeId,
        /// The part.
        role: Role,
    },
    /// The slots that a node has claimed are dealt evenly over new groups, of which it is the home and the first replica.
    FoundGroups {
        /// The node.
        node: NodeId,
        /// The number of groups; there are no more than slots.
        count: u16,
    },
    /// Groups are there: their homes have founded them.
    NoteLive {
        /// The groups.
        groups: Vec<GroupNumber>,
    },
    /// A node gives up the slots that it has claimed, and those of groups that no other node should have: these are no more.
    GiveUpSlots {
        /// The node.
        node: NodeId,
    },
    /// Groups get other places, whatever they have. No node proposes it any more, and former logs have it.
    PlaceGroups {
        /// The places, each group once.
        placements: Vec<GroupPlacement>,
    },
    /// Groups get other places, which were found for the places that they have. Refused if one of them has another one by then, or
    /// is to get a replica on a node that is being drained.
    MoveGroups {
        /// The places, each group once.
        moves: Vec<GroupMove>,
    },
    /// Groups get other homes, each one of its replicas. Refused if one of them has no replica by then.
    SetHomes {
        /// The homes, each group once.
        homes: Vec<(GroupNumber, NodeId)>,
    },
    /// A group gets more or fewer replicas.
    SetReplicasWanted {
        /// The group.
        group: GroupNumber,
        /// The number; `None` means as many as the cluster's groups have.
        count: Option<u8>,
    },
    /// Slots change their owner. Refused if one of them is not where it is thought to be.
    MoveSlots {
        /// The slots.
        slots: SlotSet,
        /// The owner until now.
        from: SlotOwner,
        /// The owner from now on.
        to: SlotOwner,
    },
    /// A group that has no slots any more is no more.
    RemoveGroup {
        /// The group.
        group: GroupNumber,
    },
    /// The cluster's groups get more or fewer replicas.
    SetReplicationFactor {
        /// The number.
        count: u8,
    },
    /// A node leaves, or has left before, with its replicas of groups whose home is another one, and which keep two others.
    ForgetWithReplicas {
        /// The node.
        node: NodeId,
    },
    /// A node that is lost for good leaves, with its replicas of groups that keep two others. Groups whose home it is get another.
    ForgetLost {
        /// The node.
        node: NodeId,
    },
    /// A node has no replica any more of groups that it was to give up.
    NoteGone {
        /// The node.
        node: NodeId,
        /// The groups.
        groups: Vec<GroupNumber>,
    },
    /// A node is to be emptied, or is not any more.
    SetDraining {
        /// The node.
        node: NodeId,
        /// True if it is to be emptied.
        is_draining: bool,
    },
}

/// The result of a change that was not refused.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Outcome {
    /// The map is as the change says.
    Done,
    /// The map was so before.
    Unchanged,
    /// The node has this configuration epoch.
    ConfigEpoch {
        /// The epoch.
        epoch: u64,
        /// False if the node had it before, and it is the greatest.
        is_new: bool,
    },
    /// Groups were founded, with numbers that follow each other.
    Founded {
        /// The first one.
        first: GroupNumber,
        /// The number of groups.
        count: u16,
    },
}
