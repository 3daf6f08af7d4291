//! The node and the cluster around the links of a core, as far as these need to know of them.

use std::net::SocketAddr;

use basalt_net::peer::{Acquaintance, GroupNumber, NodeNumber, Own};
use basalt_raft::Group;

use crate::ids::CoreId;

/// The place of a group on this node.
pub enum Place {
    /// This core has it.
    Here(Group),
    /// Another core has it.
    Core(CoreId),
    /// It is being opened.
    Opening,
    /// It is closed or closing, or has failed.
    Closed,
    /// This node does not have it.
    Nowhere,
}

/// The answers to what the links of a core ask of their node. They are given from memory, at once, and do not call the links back.
pub trait Surroundings {
    /// This node as it greets, in the cluster that it belongs to now. When that or the secret has changed,
    /// [`Peers::forget_all`](super::Peers::forget_all) is called.
    fn own(&self) -> Own;

    /// This node's number; `None` while it belongs to no cluster.
    fn number(&self) -> Option<NodeNumber>;

    /// The address at which a node's peers reach it; `None` for a node that is not known, or has told none.
    fn address(&self, node: NodeNumber) -> Option<SocketAddr>;

    /// Everything that is known of a node that greets.
    fn acquaintance(&self, node: NodeNumber) -> Acquaintance;

    /// A node has proved who it is, with this incarnation, which is to be remembered.
    fn met(&self, node: NodeNumber, incarnation: u64);

    /// Returns whether the map has a node among those of a group, or may: false is certain, as far as this node knows the map.
    fn may_have_place(&self, group: GroupNumber, node: NodeNumber) -> bool;

    /// Returns whether a group that is led here goes on without the voters of a node that its leader does not hear.
    fn goes_on_without(&self, group: &Group, node: NodeNumber) -> bool;

    /// Returns whether this node's disk answers, and has for some time.
    fn disk_is_well(&self) -> bool;

    /// The place of a group.
    fn place(&self, group: GroupNumber) -> Place;
}
