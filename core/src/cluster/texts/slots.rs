//! CLUSTER SLOTS.

use basalt_net::resp::Reply;

use super::shown::Shown;
use super::{Health, View, ip_text};
use crate::cluster::map::Node;

/// Replies to CLUSTER SLOTS: each range with the node that leads it, and with those of that node's replicas that hold its group and
/// are not lost.
pub fn reply_slots(view: &View<'_>, reply: &mut Reply<'_>) {
    let ranges = Shown::of(view).ranges(view);
    reply.array(ranges.len());
    for range in &ranges {
        let is_there = |node: &&&Node| view.peer(node.number).health != Health::Failed;
        let replicas: Vec<&&Node> = range.replicas.iter().filter(is_there).collect();
        reply.array(3 + replicas.len());
        reply.integer(range.slots.first().into());
        reply.integer(range.slots.last().into());
        reply_node(view.map.node(range.node).expect("slots are shown under nodes of the map"), reply);
        replicas.iter().for_each(|node| reply_node(node, reply));
    }
}

fn reply_node(node: &Node, reply: &mut Reply<'_>) {
    reply.array(4);
    reply.bulk(ip_text(&node.addresses));
    reply.integer(node.addresses.port.into());
    reply.bulk_display(node.name);
    let hostname = &node.addresses.hostname;
    reply.map(usize::from(!hostname.is_empty()));
    if !hostname.is_empty() {
        reply.bulk("hostname");
        reply.bulk(hostname);
    }
}
