//! This node, as it presents itself to its cluster.

use std::net::SocketAddr;

use basalt_raft::NodeId;
use basalt_storage::Identity;
use basalt_storage::keyspace::SLOT_COUNT;

use crate::boot::{DataDir, META_INDEX};
use crate::cluster::Router;
use crate::cluster::map::{Addresses, ClusterId, FormerGroup, GroupNumber, Newcomer, NodeName, SlotSet};
use crate::config::Config;
use crate::meta::OwnNode;

/// The node of a data directory that listens for clients on these addresses.
/// It listens for other nodes on `for_peers`.
pub(super) fn own_node(
    data: &DataDir,
    config: &Config,
    (listening, for_peers): (&[SocketAddr], &[SocketAddr]),
    core_count: usize,
) -> OwnNode {
    let newcomer = Newcomer {
        number: NodeId(data.node_number()),
        name: NodeName(id(data.node_id())),
        incarnation: data.node_starts(),
        addresses: addresses(config, listening, for_peers),
        config_epoch: 0,
    };
    OwnNode {
        cluster_id: cluster_id(data),
        founds: data.group(META_INDEX).founder,
        newcomer,
        former: former_groups(data),
        groups_wanted: config.shards.unwrap_or(core_count as u16),
    }
}

/// The cluster of a data directory.
pub(super) fn cluster_id(data: &DataDir) -> ClusterId {
    ClusterId(id(data.cluster_id()))
}

fn id(text: &str) -> [u8; 20] {
    Identity::parse_id(text).expect("the data directory was checked when it was opened")
}

/// The groups that a node had before it belonged to a cluster.
fn former_groups(data: &DataDir) -> Vec<FormerGroup> {
    let count = data.shards_dealt();
    let slots = |index| SlotSet::of_slots((0..SLOT_COUNT).filter(move |slot| Router::dealt(*slot, count) == index));
    let mut former: Vec<FormerGroup> = (0..count)
        .filter_map(|index| data.shards().into_iter().find(|group| group.index == index))
        .map(|group| FormerGroup { number: GroupNumber(group.number), slots: slots(group.index) })
        .collect();
    former.sort_unstable_by_key(|group| group.number);
    former
}

/// The places at which the node is reached: those it was told, or those it listens on.
fn addresses(config: &Config, listening: &[SocketAddr], for_peers: &[SocketAddr]) -> Addresses {
    // One that stands for all interfaces is no address to be reached at.
    let own = listening.iter().map(SocketAddr::ip).find(|ip| !ip.is_unspecified());
    let port = match config.cluster_announce_port {
        0 => listening.first().map_or(config.port, SocketAddr::port),
        announced => announced,
    };
    let bus_port = match config.cluster_announce_bus_port {
        0 => for_peers.first().map_or(0, SocketAddr::port),
        announced => announced,
    };
    let hostname = config.cluster_announce_hostname.clone();
    Addresses { ip: config.cluster_announce_ip.or(own), port, bus_port, hostname, zone: String::new() }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_node_is_where_it_listens_unless_it_was_told_otherwise() {
        let listening = |text: &str| text.split(' ').map(|one| one.parse().expect(one)).collect::<Vec<SocketAddr>>();
        let config = Config::default();
        let peers = listening("0.0.0.0:17000");
        let one = addresses(&config, &listening("0.0.0.0:7000 10.0.0.3:7000"), &peers);
        assert_eq!((one.ip, one.port, one.bus_port), (Some("10.0.0.3".parse().unwrap()), 7000, 17000));
        assert_eq!(addresses(&config, &listening("0.0.0.0:7000"), &peers).ip, None);
        let told = Config {
            cluster_announce_ip: Some("192.0.2.1".parse().unwrap()),
            cluster_announce_port: 1,
            cluster_announce_bus_port: 2,
            cluster_announce_hostname: "a.example".to_owned(),
            ..config
        };
        let one = addresses(&told, &listening("127.0.0.1:7000"), &peers);
        assert_eq!((one.ip, one.port, one.bus_port), (Some("192.0.2.1".parse().unwrap()), 1, 2));
        assert_eq!(one.hostname, "a.example");
    }

    #[test]
    fn a_node_with_shards_brings_them_and_a_new_one_none() {
        let place = tempfile::tempdir().unwrap();
        let (old, new) = (place.path().join("old"), place.path().join("new"));
        drop(DataDir::open(&old, Some(3), 2).unwrap());
        let old = DataDir::open_in_cluster(&old, 2).unwrap();
        let former = own_node(&old, &Config::default(), (&[], &[]), 2).former;
        assert_eq!(former.iter().map(|group| group.number.0).collect::<Vec<_>>(), [1, 2, 3]);
        assert_eq!(former.iter().map(|group| group.slots.count()).sum::<usize>(), usize::from(SLOT_COUNT));
        let new = DataDir::open_in_cluster(&new, 2).unwrap();
        let own = own_node(&new, &Config::default(), (&[], &[]), 2);
        assert!(own.former.is_empty() && own.groups_wanted == 2 && own.newcomer.incarnation == 1);
    }
}
