//! CLUSTER SHARDS.

use basalt_net::resp::Reply;

use super::shown::Shown;
use super::{Health, View, ip_text};
use crate::cluster::map::Node;

/// Replies to CLUSTER SHARDS: each node that is shown as a master, with its slots, itself, and those that have replicas of some of
/// them: such a node may be the master of others.
pub fn reply_shards(view: &View<'_>, reply: &mut Reply<'_>) {
    let shown = Shown::of(view);
    let replicas = shown.replicas(view);
    let masters: Vec<&Node> = view.map.nodes().iter().filter(|node| shown.master(node).is_none()).collect();
    reply.array(masters.len());
    for master in masters {
        let slots = shown.slots_of(master.number);
        reply.map(2);
        reply.bulk("slots");
        reply.array(2 * slots.len());
        for range in slots {
            reply.integer(range.first().into());
            reply.integer(range.last().into());
        }
        let followers = replicas.get(&master.number).map_or(&[][..], |followers| followers);
        reply.bulk("nodes");
        reply.array(1 + followers.len());
        reply_node(view, master, "master", reply);
        followers.iter().for_each(|node| reply_node(view, node, "replica", reply));
    }
}

fn reply_node(view: &View<'_>, node: &Node, role: &str, reply: &mut Reply<'_>) {
    let (hostname, peer) = (&node.addresses.hostname, view.peer(node.number));
    let ip = ip_text(&node.addresses);
    reply.map(7 + usize::from(!hostname.is_empty()));
    reply.bulk("id");
    reply.bulk_display(node.name);
    reply.bulk("port");
    reply.integer(node.addresses.port.into());
    reply.bulk("ip");
    reply.bulk(&ip);
    reply.bulk("endpoint");
    reply.bulk(&ip);
    if !hostname.is_empty() {
        reply.bulk("hostname");
        reply.bulk(hostname);
    }
    reply.bulk("role");
    reply.bulk(role);
    reply.bulk("replication-offset");
    reply.integer(i64::try_from(peer.replication_offset).unwrap_or(i64::MAX));
    reply.bulk("health");
    reply.bulk(match peer.health {
        Health::Up => "online",
        Health::Suspected | Health::Failed => "fail",
    });
}
