//! A node of the cluster, as the map has it.

use std::net::IpAddr;

use basalt_raft::NodeId;

use super::ids::NodeName;
use super::refused::Refused;
use super::slots::SlotSet;
use crate::limits::map::{HOSTNAME_BYTES_MAX, ZONE_BYTES_MAX};

/// The places at which a node says it is reached.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Addresses {
    /// The address for clients and nodes; `None` if the node was told none and nobody has reached it yet.
    pub ip: Option<IpAddr>,
    /// The port for clients.
    pub port: u16,
    /// The port for nodes.
    pub bus_port: u16,
    /// The host name for clients that want one; empty if there is none.
    pub hostname: String,
    /// The label of what fails together, as a rack or a datacenter; empty if the node stands for itself.
    pub zone: String,
}

impl Addresses {
    /// Checks what is shown to clients word by word.
    ///
    /// # Errors
    /// [`Refused::Hostname`] and [`Refused::Zone`]. Both may have letters, digits, `-` and `.`, and a zone `_` besides.
    pub fn check(&self) -> Result<(), Refused> {
        let is_plain = |byte: u8| byte.is_ascii_alphanumeric() || byte == b'-' || byte == b'.';
        if self.hostname.len() > HOSTNAME_BYTES_MAX || !self.hostname.bytes().all(is_plain) {
            return Err(Refused::Hostname);
        }
        if self.zone.len() > ZONE_BYTES_MAX || !self.zone.bytes().all(|byte| is_plain(byte) || byte == b'_') {
            return Err(Refused::Zone);
        }
        Ok(())
    }
}

/// The part that a node was given by its operator.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Role {
    /// It leads groups.
    Master,
    /// It leads nothing if others can, and holds the groups of this master before those of others.
    ReplicaOf(NodeId),
}

/// A node as it presents itself when it joins.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Newcomer {
    /// The number in Raft's votes and memberships; never 0.
    pub number: NodeId,
    /// The name for clients.
    pub name: NodeName,
    /// The number of its starts.
    pub incarnation: u64,
    /// The places at which it is reached.
    pub addresses: Addresses,
    /// The configuration epoch that redis-cli has given it; 0 if none.
    pub config_epoch: u64,
}

/// A node of the cluster.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Node {
    /// The number in Raft's votes and memberships, which no other node ever has.
    pub number: NodeId,
    /// The name for clients.
    pub name: NodeName,
    /// The number of its starts, as far as the map knows.
    pub incarnation: u64,
    /// The places at which it is reached.
    pub addresses: Addresses,
    /// The part that it was given.
    pub role: Role,
    /// True if it is to be emptied.
    pub is_draining: bool,
    /// The configuration epoch, which clients are shown and nothing depends on.
    pub config_epoch: u64,
    /// Slots it has claimed that have no group yet.
    pub claimed: SlotSet,
}

impl Node {
    /// The master of which the node is a replica by its role.
    pub fn master(&self) -> Option<NodeId> {
        match self.role {
            Role::Master => None,
            Role::ReplicaOf(master) => Some(master),
        }
    }
}

/// A node that has left. Its name and number are never given to another.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Forgotten {
    /// The number it had.
    pub number: NodeId,
    /// The name it had.
    pub name: NodeName,
    /// The number of its starts when it left.
    pub incarnation: u64,
    /// The places at which it was reached: those who vote on the map may need it for a while.
    pub addresses: Addresses,
}
