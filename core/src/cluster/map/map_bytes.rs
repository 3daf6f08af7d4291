//! The bytes of a map: a snapshot of the meta group's state machine.
//!
//! ```text
//! map       [version u8 = 2][epoch u64][cluster id 20][replication factor u8][configuration epoch u64][next group u64]
//!           [list of nodes][list of groups][list of forgotten]
//! node      [number u64][name 20][starts u64][addresses][role][draining u8][configuration epoch u64][claimed slots]
//! group     [number u64][slots][live u8][replicas wanted u8, 0 for the cluster's][home u64][list of replicas u64]
//!           [list of leaving u64]
//! forgotten [number u64][name 20][starts u64][addresses]
//! ```
//!
//! The rest as in `change_bytes.rs`. Version 1 had no nodes that are leaving a group, and no addresses of forgotten ones. Nodes,
//! groups, replicas and leaving nodes are in the order of their numbers, so that equal maps have equal bytes.

use std::collections::BTreeSet;

use basalt_storage::Versions;

use super::Map;
use super::apply::check_replica_count;
use super::bytes::{DecodeError, Reader, Result, Writer};
use super::group::Group;
use super::ids::ClusterId;
use super::node::{Addresses, Forgotten, Node, Role};
use super::owners::Owners;
use crate::limits::GROUP_NUMBER_MAX;
use crate::limits::map::{CONFIG_EPOCH_MAX, FORGOTTEN_MAX, GROUPS_MAX, NODES_MAX};

/// Versions of a map.
const MAP_VERSIONS: Versions = Versions::new(1, 2);

/// Least bytes of a node, a group and a forgotten node.
const NODE_BYTES: usize = 59;
const GROUP_BYTES: usize = 26;
const FORGOTTEN_BYTES: usize = 36;

impl Map {
    /// The bytes of the map. Equal maps have equal ones.
    pub fn encode(&self) -> Vec<u8> {
        let mut out = Writer::new(MAP_VERSIONS);
        out.u64(self.epoch);
        out.bytes(&self.cluster_id.0);
        out.u8(self.replication_factor);
        out.u64(self.config_epoch);
        out.u64(self.next_group);
        out.list(&self.nodes, |out, node| {
            out.u64(node.number.0);
            out.bytes(&node.name.0);
            out.u64(node.incarnation);
            out.addresses(&node.addresses);
            out.role(node.role);
            out.u8(u8::from(node.is_draining));
            out.u64(node.config_epoch);
            out.ranges(node.claimed.ranges());
        });
        out.list(&self.groups, |out, group| {
            out.u64(group.number.0);
            out.ranges(group.slots.ranges());
            out.u8(u8::from(group.is_live));
            out.replicas_wanted(group.replicas_wanted);
            out.u64(group.home.0);
            out.replicas(&group.replicas);
            out.list(&group.leaving, |out, node| out.u64(node.0));
        });
        out.list(&self.forgotten, |out, gone| {
            out.u64(gone.number.0);
            out.bytes(&gone.name.0);
            out.u64(gone.incarnation);
            out.addresses(&gone.addresses);
        });
        out.into_bytes()
    }

    /// Reads a map, all of `bytes`.
    ///
    /// # Errors
    /// The reason for which they are no map that this program knows, among others that changes never lead to it.
    pub fn decode(bytes: &[u8]) -> std::result::Result<Map, DecodeError> {
        let mut read = Reader::new("map", MAP_VERSIONS, bytes)?;
        let is_former = bytes.first() == Some(&1);
        let mut map = Map {
            epoch: read.u64()?,
            cluster_id: ClusterId(read.array()?),
            replication_factor: read.u8()?,
            config_epoch: read.u64()?,
            next_group: read.u64()?,
            nodes: read.list("nodes", NODES_MAX, NODE_BYTES, read_node)?,
            groups: read.list("groups", GROUPS_MAX, GROUP_BYTES, |read| read_group(read, is_former))?,
            forgotten: read.list("forgotten nodes", FORGOTTEN_MAX, FORGOTTEN_BYTES, |read| {
                let (number, name, incarnation) = (read.node()?, read.name()?, read.u64()?);
                let addresses = if is_former { Addresses::default() } else { read.addresses()? };
                Ok(Forgotten { number, name, incarnation, addresses })
            })?,
            owners: Owners::of(&[], &[]),
        };
        read.end()?;
        map.check().map_err(DecodeError::Contradiction)?;
        map.owners = Owners::of(&map.nodes, &map.groups);
        Ok(map)
    }

    /// Checks what holds after every change.
    pub(super) fn check(&self) -> std::result::Result<(), String> {
        check_replica_count(self.replication_factor.into()).map_err(|refused| refused.to_string())?;
        if !self.is_founded() {
            let is_empty = self.nodes.is_empty() && self.groups.is_empty() && self.forgotten.is_empty();
            let is_new = is_empty && (self.replication_factor, self.config_epoch, self.next_group) == (1, 0, 1);
            return if is_new { Ok(()) } else { Err("it has nodes or groups, but no id".to_owned()) };
        }
        if self.nodes.is_empty() {
            return Err("it has no nodes".to_owned());
        }
        if self.config_epoch > CONFIG_EPOCH_MAX {
            return Err(format!("the configuration epoch is {}", self.config_epoch));
        }
        let mut taken = BTreeSet::new();
        self.check_nodes(&mut taken)?;
        self.check_groups(&mut taken)
    }

    fn check_nodes(&self, taken: &mut BTreeSet<u16>) -> std::result::Result<(), String> {
        let mut before = 0;
        let mut names = BTreeSet::new();
        for node in &self.nodes {
            if node.number.0 <= before {
                return Err(format!("node number {} does not follow {before}", node.number));
            }
            before = node.number.0;
            names.insert(node.name);
            node.addresses.check().map_err(|refused| format!("node {}: {refused}", node.name))?;
            if node.config_epoch > self.config_epoch {
                return Err(format!("node {} has a configuration epoch of the future", node.name));
            }
            if let Role::ReplicaOf(master) = node.role {
                let is_led = self.node(master).is_some_and(|master| master.role == Role::Master);
                if !is_led || !node.claimed.is_empty() {
                    return Err(format!("node {} is a replica with slots, or of no master", node.name));
                }
            }
            if let Some(slot) = node.claimed.slots().find(|slot| !taken.insert(*slot)) {
                return Err(format!("slot {slot} has two owners"));
            }
        }
        let mut numbers = BTreeSet::new();
        for gone in &self.forgotten {
            let is_there = self.node(gone.number).is_some() || gone.number.0 == 0;
            gone.addresses.check().map_err(|refused| format!("node {}: {refused}", gone.name))?;
            if is_there || !names.insert(gone.name) || !numbers.insert(gone.number) {
                return Err(format!("node {} has left and has not", gone.name));
            }
        }
        if names.len() < self.nodes.len() + self.forgotten.len() {
            return Err("two nodes have the same id".to_owned());
        }
        Ok(())
    }

    fn check_groups(&self, taken: &mut BTreeSet<u16>) -> std::result::Result<(), String> {
        let mut before = 0;
        for group in &self.groups {
            if group.number.0 <= before {
                return Err(format!("group number {} does not follow {before}", group.number));
            }
            before = group.number.0;
            let wanted = usize::from(self.replicas_wanted(group));
            for count in [wanted, group.replicas.len()] {
                check_replica_count(count).map_err(|refused| format!("group {}: {refused}", group.number))?;
            }
            let is_ordered = group.replicas.windows(2).all(|pair| pair[0] < pair[1]);
            if !is_ordered || !group.replicas.contains(&group.home) {
                return Err(format!("group {} is in no order", group.number));
            }
            let is_apart = group.leaving.iter().all(|node| !group.replicas.contains(node));
            if !group.leaving.windows(2).all(|pair| pair[0] < pair[1]) || !is_apart {
                return Err(format!("group {} is left in no order", group.number));
            }
            if !group.is_live && (group.replicas != [group.home] || !group.leaving.is_empty()) {
                return Err(format!("group {} is on other nodes before it is founded", group.number));
            }
            if group.replicas.iter().chain(&group.leaving).any(|replica| self.node(*replica).is_none()) {
                return Err(format!("group {} is on a node that is not there", group.number));
            }
            if let Some(slot) = group.slots.slots().find(|slot| !taken.insert(*slot)) {
                return Err(format!("slot {slot} has two owners"));
            }
        }
        if self.next_group <= before || self.next_group > GROUP_NUMBER_MAX {
            return Err(format!("the next group would be number {}, the last one is {before}", self.next_group));
        }
        Ok(())
    }
}

fn read_node(read: &mut Reader<'_>) -> Result<Node> {
    Ok(Node {
        number: read.node()?,
        name: read.name()?,
        incarnation: read.u64()?,
        addresses: read.addresses()?,
        role: read.role()?,
        is_draining: read.bool("draining")?,
        config_epoch: read.u64()?,
        claimed: read.slots()?,
    })
}

fn read_group(read: &mut Reader<'_>, is_former: bool) -> Result<Group> {
    Ok(Group {
        number: read.group()?,
        slots: read.slots()?,
        is_live: read.bool("live")?,
        replicas_wanted: read.replicas_wanted()?,
        home: read.node()?,
        replicas: read.replicas()?,
        leaving: if is_former { Vec::new() } else { read.list("leaving nodes", NODES_MAX, 8, Reader::node)? },
    })
}
