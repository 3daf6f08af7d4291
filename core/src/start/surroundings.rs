//! The node and its cluster, as the links of a core ask about them.

use std::net::SocketAddr;
use std::rc::Rc;
use std::sync::{Arc, PoisonError};
use std::time::Instant;

use basalt_net::peer::{Acquaintance, Bounds, GroupNumber as PeerGroup, NodeNumber, Own, Secret, Versions};
use basalt_raft::{Group, NodeId};

use crate::boot::META_INDEX;
use crate::cluster::map::{GroupNumber, Map};
use crate::cluster::members::LedGroup;
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

/// This node's number, if it belongs to a cluster.
pub(super) fn number(server: &Server) -> Option<NodeNumber> {
    server.routes.now().cluster.as_ref().map(|cluster| NodeNumber(cluster.myself.0))
}

/// The address at which a node's peers reach it, if it is known.
pub(super) fn address(server: &Server, node: NodeNumber) -> Option<SocketAddr> {
    of_map(server, |map| {
        let node = NodeId(node.0);
        let gone = || map.forgotten().iter().find(|gone| gone.number == node).map(|gone| &gone.addresses);
        let addresses = map.node(node).map(|node| &node.addresses).or_else(gone)?;
        Some(SocketAddr::new(addresses.ip?, addresses.bus_port))
    })
}

/// Everything that is known of a node that greets. One that was forgotten is let in as long as it is a member of the map's group,
/// or of one that this node has: the others may need its vote to do without it.
pub(super) fn acquaintance(server: &Server, node: NodeNumber) -> Acquaintance {
    let known = of_map(server, |map| {
        let number = NodeId(node.0);
        if let Some(gone) = map.forgotten().iter().find(|gone| gone.number == number) {
            let hosts = server.hosts.lock().unwrap_or_else(PoisonError::into_inner);
            let is_member = hosts.values().any(|hosts| hosts.contains(&number));
            let seen = Acquaintance::Seen { incarnation: gone.incarnation };
            return Some(if is_member { seen } else { Acquaintance::Removed });
        }
        map.node(number).map(|node| Acquaintance::Seen { incarnation: node.incarnation })
    });
    known.unwrap_or(Acquaintance::Unknown)
}

impl Surroundings for NodeSurroundings {
    fn own(&self) -> Own {
        own(&self.server)
    }

    fn number(&self) -> Option<NodeNumber> {
        number(&self.server)
    }

    fn address(&self, node: NodeNumber) -> Option<SocketAddr> {
        address(&self.server, node)
    }

    fn acquaintance(&self, node: NodeNumber) -> Acquaintance {
        acquaintance(&self.server, node)
    }

    // The map has it as soon as the node has announced itself.
    fn met(&self, _: NodeNumber, _: u64) {}

    fn may_have_place(&self, group: PeerGroup, node: NodeNumber) -> bool {
        let map = self.server.routes.map();
        let group = map.as_deref().and_then(|map| map.group(GroupNumber(group.0)));
        group.is_none_or(|group| group.replicas.contains(&NodeId(node.0)))
    }

    fn goes_on_without(&self, group: &Group, node: NodeNumber) -> bool {
        let now = Instant::now();
        LedGroup::of(&group.members(), group.node(), now).goes_on_without(NodeId(node.0), now)
    }

    fn disk_is_well(&self) -> bool {
        self.server.disk.takes_leads(Instant::now())
    }

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

#[cfg(test)]
mod tests {
    use super::*;
    use crate::cluster::map::Change;
    use crate::cluster::map::testing::{apply, number, with_nodes};
    use crate::session_commands::testing::Client;

    #[test]
    fn a_node_that_was_forgotten_is_let_in_and_found_as_long_as_it_is_a_member() {
        let mut map = with_nodes(3);
        apply(&mut map, Change::Forget { node: number(3) });
        let server = Client::in_cluster(map).server;
        let seen = |node| acquaintance(&server, NodeNumber(node));
        assert_eq!((seen(2), seen(3)), (Acquaintance::Seen { incarnation: 3 }, Acquaintance::Removed));
        let hosts = |core, of: &[u64]| {
            let of = of.iter().copied().map(number).collect();
            server.hosts.lock().unwrap().insert(core, of);
        };
        hosts(None, &[1, 2, 3]);
        assert_eq!(seen(3), Acquaintance::Seen { incarnation: 3 });
        let places = [2, 3, 9].map(|node| address(&server, NodeNumber(node)).map(|place| place.to_string()));
        let [second, third, unknown] = places;
        assert_eq!((second.as_deref(), third.as_deref()), (Some("10.0.0.2:17000"), Some("10.0.0.3:17000")));
        assert_eq!((unknown, seen(9)), (None, Acquaintance::Unknown));
        hosts(Some(CoreId(1)), &[3]);
        hosts(None, &[1, 2]);
        assert_eq!(seen(3), Acquaintance::Seen { incarnation: 3 }, "of another group");
        hosts(Some(CoreId(1)), &[]);
        assert_eq!(seen(3), Acquaintance::Removed);
    }
}
