//! The cluster as clients are shown it: the replies to CLUSTER INFO, NODES, SLOTS, SHARDS, MYID and KEYSLOT, as Redis 7.0 writes
//! them.
//!
//! What a newcomer would get wrong: a slot is shown under the node that leads its group *now*, which the map does not know. Where
//! nobody leads, it is shown under the group's home, and where there is no group, under the node that has claimed it. A replica
//! node that leads is shown as a master, since clients know no other that leads.

mod info;
mod nodes;
mod shards;
mod shown;
mod slots;
#[cfg(test)]
mod tests;

pub use info::reply_info;
pub use nodes::{reply_nodes, reply_replicas};
pub use shards::reply_shards;
pub use slots::reply_slots;

use std::collections::BTreeMap;

use basalt_net::resp::Reply;
use basalt_raft::NodeId;
use basalt_storage::keyspace::Slot;

use super::map::{Addresses, GroupNumber, Map};

/// The state of another node, as far as this one knows.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Health {
    /// It answers, or nothing is known of it.
    #[default]
    Up,
    /// It has not answered for a while.
    Suspected,
    /// It is thought to be lost.
    Failed,
}

/// Another node, as this one sees it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Peer {
    /// True if there is a connection to it.
    pub is_connected: bool,
    /// Its state.
    pub health: Health,
    /// The time of a question that it has not answered yet, Unix milliseconds; 0 if there is none.
    pub ping_sent_ms: u64,
    /// The time of its last answer, Unix milliseconds; 0 if there was none.
    pub pong_received_ms: u64,
    /// The place up to which it has what this node leads, for clients that choose among replicas; 0 if it has nothing of that.
    pub replication_offset: u64,
}

/// The cluster at one moment, seen from one node. A peer that is not among `peers` is one that was not met yet.
#[derive(Debug, Clone, Copy)]
pub struct View<'a> {
    /// The map.
    pub map: &'a Map,
    /// The number of the node that is asked.
    pub myself: NodeId,
    /// Of each group the node that leads it and can commit. Groups that nobody leads are not in it.
    pub leaders: &'a BTreeMap<GroupNumber, NodeId>,
    /// The other nodes.
    pub peers: &'a BTreeMap<NodeId, Peer>,
    /// The place up to which the groups are that this node leads.
    pub replication_offset: u64,
    /// Messages that this node has sent to others.
    pub messages_sent: u64,
    /// Messages that this node has received from others.
    pub messages_received: u64,
}

impl View<'_> {
    fn peer(&self, node: NodeId) -> Peer {
        if node == self.myself {
            let replication_offset = self.replication_offset;
            return Peer { is_connected: true, replication_offset, ..Peer::default() };
        }
        self.peers.get(&node).copied().unwrap_or_default()
    }
}

/// Replies with the name of the node that is asked.
///
/// # Panics
/// If it is not in the map.
pub fn reply_myid(view: &View<'_>, reply: &mut Reply<'_>) {
    let node = view.map.node(view.myself).expect("the node that is asked is in its map");
    reply.bulk_display(node.name);
}

/// Replies with the slot of `key`.
pub fn reply_keyslot(key: &[u8], reply: &mut Reply<'_>) {
    reply.integer(Slot::of(key).index().into());
}

/// The address as Redis writes it: nothing if it is not known.
fn ip_text(addresses: &Addresses) -> String {
    addresses.ip.map_or_else(String::new, |ip| ip.to_string())
}
