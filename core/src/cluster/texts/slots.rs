//! CLUSTER SLOTS.

use std::collections::BTreeSet;

use basalt_net::resp::Reply;
use basalt_raft::NodeId;

use super::shown::{Shown, ShownRange};
use super::{Health, View, ip_text};
use crate::cluster::map::{Node, SlotRange};

/// Replies to CLUSTER SLOTS: each range with the node that leads it, and with those that have a replica of its group and are not
/// lost.
///
/// Here a node leads some ranges and has replicas of others. Clients that keep one role for each node take the first one that they
/// read (redis-py; node-redis where it reads from replicas), and commands for all masters would miss the others. So each of those
/// nodes stands first of all in a range of one slot without replicas, as its leader.
pub fn reply_slots(view: &View<'_>, reply: &mut Reply<'_>) {
    let mut ranges = Shown::of(view).ranges(view);
    let is_there = |node: &&Node| view.peer(node.number).health != Health::Failed;
    ranges.iter_mut().for_each(|range| range.replicas.retain(is_there));
    let ranges = with_leaders_first(ranges);
    reply.array(ranges.len());
    for range in &ranges {
        reply.array(3 + range.replicas.len());
        reply.integer(range.slots.first().into());
        reply.integer(range.slots.last().into());
        reply_node(view.map.node(range.node).expect("slots are shown under nodes of the map"), reply);
        range.replicas.iter().for_each(|node| reply_node(node, reply));
    }
}

/// Puts one slot of each leader that is a replica as well in front of all ranges, without replicas.
fn with_leaders_first(ranges: Vec<ShownRange<'_>>) -> Vec<ShownRange<'_>> {
    let followers: BTreeSet<NodeId> =
        ranges.iter().flat_map(|range| range.replicas.iter().map(|node| node.number)).collect();
    let mut told = BTreeSet::new();
    let (mut leaders, mut others) = (Vec::new(), Vec::new());
    for mut range in ranges {
        let (first, last) = (range.slots.first(), range.slots.last());
        if followers.contains(&range.node) && told.insert(range.node) {
            let slots = SlotRange::new(first, first).expect("one slot is a range");
            leaders.push(ShownRange { slots, node: range.node, replicas: Vec::new() });
            let Some(rest) = SlotRange::new(first + 1, last) else { continue };
            range.slots = rest;
        }
        others.push(range);
    }
    leaders.extend(others);
    leaders
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
