//! The cluster's map: nodes, groups, slots, and the places where groups should be.
//!
//! The map is the state machine of the meta group: [`Map::apply`] takes its entries one by one, each a [`Change`], and does the
//! same on every node, whatever program runs there, as long as it knows the kind of the change. Nothing in here reads a clock,
//! draws a number or waits.
//!
//! What a newcomer would get wrong: the map says who *should* hold and lead a group. Who does is told by the group's own log, and
//! by whoever leads it right now.

mod apply;
#[cfg(test)]
mod apply_tests;
mod arguments;
mod bytes;
#[cfg(test)]
mod bytes_tests;
mod change;
mod change_bytes;
mod group;
mod ids;
mod map_bytes;
mod node;
mod owners;
mod refused;
mod slots;
#[cfg(test)]
pub mod testing;

pub use arguments::{forget_target, read_config_epoch, read_slot_ranges, read_slots};
pub use bytes::DecodeError;
pub use change::{Change, Outcome, SlotOwner};
pub use group::{FormerGroup, Group, GroupMove, GroupPlacement};
pub use ids::{ClusterId, GroupNumber, NodeName};
pub use node::{Addresses, Forgotten, Newcomer, Node, Role};
pub use refused::Refused;
pub use slots::{SlotRange, SlotSet};

use basalt_raft::NodeId;
use basalt_storage::keyspace::{SLOT_COUNT, Slot};

use owners::Owners;

/// The map after some entry. A change makes a new one of a clone; the cores share each as an `Arc`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Map {
    epoch: u64,
    cluster_id: ClusterId,
    replication_factor: u8,
    /// The greatest configuration epoch that was ever given.
    config_epoch: u64,
    /// The number of the next group.
    next_group: u64,
    /// In the order of their numbers.
    nodes: Vec<Node>,
    /// In the order of their numbers.
    groups: Vec<Group>,
    /// The one that left first comes first.
    forgotten: Vec<Forgotten>,
    /// Follows from nodes and groups.
    owners: Owners,
}

impl Default for Map {
    fn default() -> Map {
        Map::new()
    }
}

impl Map {
    /// The map before the first entry: no cluster has been founded.
    pub fn new() -> Map {
        Map {
            epoch: 0,
            cluster_id: ClusterId::default(),
            replication_factor: 1,
            config_epoch: 0,
            next_group: 1,
            nodes: Vec::new(),
            groups: Vec::new(),
            forgotten: Vec::new(),
            owners: Owners::of(&[], &[]),
        }
    }

    /// The index of the last entry that was applied, refused ones included.
    pub fn epoch(&self) -> u64 {
        self.epoch
    }

    /// The id of the cluster; all zeros until it is founded.
    pub fn cluster_id(&self) -> ClusterId {
        self.cluster_id
    }

    /// True if the cluster is founded.
    pub fn is_founded(&self) -> bool {
        self.cluster_id != ClusterId::default()
    }

    /// Replicas that a group should have unless something else is said of it.
    pub fn replication_factor(&self) -> u8 {
        self.replication_factor
    }

    /// The greatest configuration epoch that was ever given to a node.
    pub fn config_epoch(&self) -> u64 {
        self.config_epoch
    }

    /// The number that the next group gets.
    pub fn next_group(&self) -> GroupNumber {
        GroupNumber(self.next_group)
    }

    /// All nodes, in the order of their numbers.
    pub fn nodes(&self) -> &[Node] {
        &self.nodes
    }

    /// All groups, in the order of their numbers.
    pub fn groups(&self) -> &[Group] {
        &self.groups
    }

    /// The nodes that have left, as far as they are remembered, the first one first.
    pub fn forgotten(&self) -> &[Forgotten] {
        &self.forgotten
    }

    /// The node with this number.
    pub fn node(&self, number: NodeId) -> Option<&Node> {
        self.nodes.binary_search_by_key(&number, |node| node.number).ok().map(|at| &self.nodes[at])
    }

    /// The node with this name.
    pub fn node_named(&self, name: NodeName) -> Option<&Node> {
        self.nodes.iter().find(|node| node.name == name)
    }

    /// The node that a client names by its 40 hex digits.
    ///
    /// # Errors
    /// [`Refused::UnknownNode`].
    pub fn named_by_client(&self, text: &[u8]) -> Result<&Node, Refused> {
        NodeName::parse(text).and_then(|name| self.node_named(name)).ok_or_else(|| arguments::unknown_node(text))
    }

    /// The group with this number.
    pub fn group(&self, number: GroupNumber) -> Option<&Group> {
        self.groups.binary_search_by_key(&number, |group| group.number).ok().map(|at| &self.groups[at])
    }

    /// The owner of `slot`: a look into a table.
    pub fn owner(&self, slot: Slot) -> SlotOwner {
        self.owners.of_slot(slot.index(), &self.nodes, &self.groups)
    }

    /// True if every slot has a group or was claimed.
    pub fn is_covered(&self) -> bool {
        let sets = self.groups.iter().map(|group| &group.slots).chain(self.nodes.iter().map(|node| &node.claimed));
        sets.map(SlotSet::count).sum::<usize>() == usize::from(SLOT_COUNT)
    }

    /// The number of replicas that `group` should have.
    pub fn replicas_wanted(&self, group: &Group) -> u8 {
        group.replicas_wanted.unwrap_or(self.replication_factor)
    }

    /// The change that gives groups these places, as long as they have those that they have now.
    pub fn moved(&self, placements: Vec<GroupPlacement>) -> Change {
        let from = |to: &GroupPlacement| {
            let Group { number, home, replicas, .. } = self.group(to.group)?;
            Some(GroupPlacement { group: *number, home: *home, replicas: replicas.clone() })
        };
        let moves = placements.into_iter().filter_map(|to| Some(GroupMove { from: from(&to)?, to }));
        Change::MoveGroups { moves: moves.collect() }
    }

    fn node_mut(&mut self, number: NodeId) -> Result<&mut Node, Refused> {
        let at = self.nodes.binary_search_by_key(&number, |node| node.number);
        Ok(&mut self.nodes[at.map_err(|_| Refused::UnknownNumber(number))?])
    }

    fn group_mut(&mut self, number: GroupNumber) -> Result<&mut Group, Refused> {
        let at = self.groups.binary_search_by_key(&number, |group| group.number);
        Ok(&mut self.groups[at.map_err(|_| Refused::UnknownGroup(number))?])
    }

    fn known(&self, number: NodeId) -> Result<&Node, Refused> {
        self.node(number).ok_or(Refused::UnknownNumber(number))
    }
}
