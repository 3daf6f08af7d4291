//! Reasons for which a change of the map is refused.

use basalt_raft::NodeId;

use super::ids::{GroupNumber, NodeName};
use crate::limits::REPLICAS_OTHER_MIN;
use crate::limits::map::{GROUPS_MAX, HOSTNAME_BYTES_MAX, NODES_MAX, REPLICAS_MAX, ZONE_BYTES_MAX};

/// The reason for which a change was refused. Its `Display` is the error reply, prefix included, in Redis' words where it has some.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum Refused {
    /// An argument is no slot.
    #[error("ERR Invalid or out of range slot")]
    NoSuchSlot,
    /// A range of slots ends before it begins.
    #[error("ERR start slot number {first} is greater than end slot number {last}")]
    ReversedRange {
        /// The slot named first.
        first: u16,
        /// The slot named second.
        last: u16,
    },
    /// A slot is claimed already, or has a group.
    #[error("ERR Slot {0} is already busy")]
    SlotBusy(u16),
    /// A slot is nobody's.
    #[error("ERR Slot {0} is already unassigned")]
    SlotUnassigned(u16),
    /// A slot is named twice.
    #[error("ERR Slot {0} specified multiple times")]
    SlotRepeated(u16),
    /// A slot is to be given up that has a group, and so may have keys.
    #[error("ERR Slot {slot} belongs to group {group}, which may have keys in it: move it to another group instead")]
    SlotHasGroup {
        /// The slot.
        slot: u16,
        /// Its group.
        group: GroupNumber,
    },
    /// A slot is to be moved away from where it is not.
    #[error("ERR Slot {0} is not where it is to be moved from")]
    SlotElsewhere(u16),
    /// A replica claims slots.
    #[error("ERR A replica can't have slots: node {0} is one")]
    ReplicaClaims(NodeName),
    /// A node has claimed no slots of which groups could be founded.
    #[error("ERR node {0} has claimed no slots")]
    NothingClaimed(NodeName),
    /// A configuration epoch is negative, or too large.
    #[error("ERR Invalid config epoch specified: {0}")]
    InvalidConfigEpoch(i128),
    /// A configuration epoch is to be set though there are other nodes.
    #[error("ERR The user can assign a config epoch only when the node does not know any other node.")]
    ConfigEpochAmongOthers,
    /// A configuration epoch is to be set again.
    #[error("ERR Node config epoch is already non-zero")]
    ConfigEpochSet,
    /// A client names a node that is not there. Shown without what could break the line.
    #[error("ERR Unknown node {0}")]
    UnknownNode(String),
    /// An entry names a node that is not there.
    #[error("ERR Unknown node number {0}")]
    UnknownNumber(NodeId),
    /// There is no such group.
    #[error("ERR Unknown group {0}")]
    UnknownGroup(GroupNumber),
    /// A node is to be its own replica.
    #[error("ERR Can't replicate myself")]
    ReplicateItself,
    /// A node is to be the replica of a replica.
    #[error("ERR I can only replicate a master, not a replica.")]
    ReplicateReplica,
    /// A node with slots is to be a replica.
    #[error("ERR To set a master the node must be empty and without assigned slots.")]
    ReplicaNotEmpty,
    /// A node is asked to forget itself.
    #[error("ERR I tried hard but I can't forget myself...")]
    ForgetItself,
    /// A node is asked to forget the master of which it is a replica.
    #[error("ERR Can't forget my master!")]
    ForgetMaster,
    /// The last node is to leave.
    #[error("ERR node {0} is the last one of the cluster")]
    LastNode(NodeName),
    /// A node is to leave that has one of the last two replicas of a group.
    #[error("ERR node {name} has one of the last two replicas of group {group}: a third one has to be there first")]
    LastButOne {
        /// The node.
        name: NodeName,
        /// One of its groups.
        group: GroupNumber,
    },
    /// A node is to leave while another one's replica of one of its groups is on its way: that one's vote may be needed.
    #[error(
        "ERR a replica of group {group} is on its way from node {from}, whose vote may be needed: wait until BASALT MOVES has it no \
         more, or, if node {name} is lost for good, have others take all that it has with BASALT DRAIN {name}, or node {from} keep \
         this one with BASALT MOVE {group} {name} {from}"
    )]
    OthersOnTheWay {
        /// The node.
        name: NodeName,
        /// The one that leaves the group.
        from: NodeName,
        /// One of its groups.
        group: GroupNumber,
    },
    /// A node is to leave that should hold a group.
    #[error(
        "ERR node {name} is needed by group {group}: empty it first with BASALT DRAIN, or have others take its part with BASALT \
         REPLACE if it is lost for good"
    )]
    NodeInUse {
        /// The node.
        name: NodeName,
        /// One of its groups.
        group: GroupNumber,
    },
    /// A node that is being emptied is to get something.
    #[error("ERR node {0} is being drained: BASALT DRAIN with CANCEL ends that")]
    Draining(NodeName),
    /// A node has a name that another has or had.
    #[error("ERR another node has or had the id {0}")]
    NameTaken(NodeName),
    /// A node has a number that another has or had, or none.
    #[error("ERR another node has or had the number {0}, or it is none")]
    NumberTaken(NodeId),
    /// A node has started less often than is known of it.
    #[error("ERR node {name} had started {known} times and comes with {found}: this is an old copy of its directory")]
    OldIncarnation {
        /// The node.
        name: NodeName,
        /// Starts that are known.
        known: u64,
        /// Starts of the one that comes.
        found: u64,
    },
    /// A host name is too long or has odd characters.
    #[error("ERR Hostnames may only contain alphanumeric characters, hyphens or dots, {HOSTNAME_BYTES_MAX} at most")]
    Hostname,
    /// A zone's label is too long or has odd characters.
    #[error(
        "ERR zones may only contain alphanumeric characters, hyphens, dots or underscores, {ZONE_BYTES_MAX} at most"
    )]
    Zone,
    /// The cluster has been founded.
    #[error("ERR the cluster is founded already")]
    Founded,
    /// The cluster has not been founded, or is to be founded without an id.
    #[error("ERR the cluster is not founded, or has no id")]
    NotFounded,
    /// There are as many nodes as may be.
    #[error("ERR a cluster has {NODES_MAX} nodes at most")]
    TooManyNodes,
    /// There are as many groups as may be.
    #[error("ERR a cluster has {GROUPS_MAX} groups at most")]
    TooManyGroups,
    /// None, or too many groups are founded at once, or the numbers of former ones are not in order.
    #[error("ERR groups have numbers in ascending order from 1 on, and are founded at least one at a time")]
    GroupNumbers,
    /// All numbers are used up.
    #[error("ERR there are no numbers left")]
    NoNumbersLeft,
    /// A group is to be removed that has slots.
    #[error("ERR group {0} has slots")]
    GroupHasSlots(GroupNumber),
    /// A group gets another place before it is there.
    #[error("ERR group {0} is not founded yet: its home is the only one that may")]
    NotLive(GroupNumber),
    /// A number of replicas cannot be.
    #[error("ERR a group has 1 to {REPLICAS_MAX} replicas, not {0}")]
    ReplicaCount(usize),
    /// A group is placed on a node twice, or two places are given for it.
    #[error("ERR group {0} is placed twice on one node, or has two places")]
    PlacedTwice(GroupNumber),
    /// A group has another place than the one for which a new one was found.
    #[error("ERR group {0} was placed otherwise meanwhile, try again")]
    MovedMeanwhile(GroupNumber),
    /// Too few nodes would be left that are not being drained.
    #[error(
        "ERR {0} other nodes are not being drained, {REPLICAS_OTHER_MIN} are the least: a group needs two replicas"
    )]
    TooFewStay(usize),
    /// A group's home is none of the nodes that should hold it.
    #[error("ERR the home of group {0} is none of its replicas")]
    HomeElsewhere(GroupNumber),
}
