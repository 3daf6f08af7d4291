//! The node and its cluster, as the links of a core ask about them.

use std::net::SocketAddr;
use std::rc::Rc;
use std::sync::Arc;

use basalt_net::peer::{Acquaintance, Bounds, GroupNumber as PeerGroup, NodeNumber, Own, Secret, Versions};
use basalt_raft::NodeId;

use crate::boot::META_INDEX;
use crate::cluster::map::{GroupNumber, Map};
use crate::core_loop::Groups;
use crate::ids::{CoreId, ShardId};
use crate::node::{GroupState, Server};
use crate::peers::{Place, Surroundings};

/// The surroundings of one core's links.
pub(super) struct NodeSurroundings {
    pub(super) server: Arc<Server>,
    pub(super) core: CoreId,
    /// The groups of this core.
    pub(super) groups: Rc<Groups>,
}

fn of_map<T>(server: &Server, look: impl FnOnce(&Map) -> Option<T>) -> Option<T> {
    server.routes.some_map().as_deref().and_then(look)
}

/// This node as it greets.
///
/// # Panics
/// If it belongs to no cluster.
pub(super) fn own(server: &Server) -> Own {
    let routing = server.routes.now();
    let cluster = routing.cluster.as_ref().expect("only a node in a cluster has links");
    Own {
        cluster: cluster.id.0,
        node: NodeNumber(cluster.myself.0),
        incarnation: cluster.incarnation,
        core_count: server.mailboxes.core_count() as u16,
        versions: Versions::OWN,
        bounds: Bounds::default(),
        secret: Secret::new(server.config.cluster_secret.text().as_bytes()),
    }
}

/// The address at which a node's peers reach it, if it is known.
pub(super) fn address(server: &Server, node: NodeNumber) -> Option<SocketAddr> {
    of_map(server, |map| {
        let addresses = &map.node(NodeId(node.0))?.addresses;
        Some(SocketAddr::new(addresses.ip?, addresses.bus_port))
    })
}

/// Everything that is known of a node that greets.
pub(super) fn acquaintance(server: &Server, node: NodeNumber) -> Acquaintance {
    let known = of_map(server, |map| {
        if map.forgotten().iter().any(|gone| gone.number == NodeId(node.0)) {
            return Some(Acquaintance::Removed);
        }
        map.node(NodeId(node.0)).map(|node| Acquaintance::Seen { incarnation: node.incarnation })
    });
    known.unwrap_or(Acquaintance::Unknown)
}

impl Surroundings for NodeSurroundings {
    fn own(&self) -> Own {
        own(&self.server)
    }

    fn address(&self, node: NodeNumber) -> Option<SocketAddr> {
        address(&self.server, node)
    }

    fn acquaintance(&self, node: NodeNumber) -> Acquaintance {
        acquaintance(&self.server, node)
    }

    // The map has it as soon as the node has announced itself.
    fn met(&self, _: NodeNumber, _: u64) {}

    fn place(&self, group: PeerGroup) -> Place {
        let number = GroupNumber(group.0);
        if let Some(here) = self.groups.find(number) {
            return Place::Here(here);
        }
        let routing = self.server.routes.now();
        let (shard, core) = if number == GroupNumber(0) {
            (ShardId(META_INDEX), CoreId(0))
        } else {
            let local = routing.cluster.as_ref().and_then(|cluster| cluster.local.get(&number));
            let Some(local) = local else { return Place::Nowhere };
            (local.shard, routing.router.core_of_lane(local.lane))
        };
        if core != self.core {
            return Place::Core(core);
        }
        match self.server.shards.get(shard).map(|stats| stats.state.get()) {
            Some(GroupState::Closing | GroupState::Failed | GroupState::Gone) => Place::Closed,
            _ => Place::Opening,
        }
    }
}
