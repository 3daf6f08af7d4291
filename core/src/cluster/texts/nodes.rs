//! CLUSTER NODES.

use std::fmt::{self, Write};

use basalt_net::resp::Reply;

use super::shown::Shown;
use super::{Health, View, ip_text};
use crate::cluster::map::Node;

/// Replies to CLUSTER NODES: a line for each node, in the order of their numbers.
pub fn reply_nodes(view: &View<'_>, reply: &mut Reply<'_>) {
    let shown = Shown::of(view);
    let mut text = String::new();
    for node in view.map.nodes() {
        write_line(view, &shown, node, &mut text).expect("a string takes everything");
    }
    reply.verbatim(b"txt", text);
}

/// Replies to CLUSTER REPLICAS with the lines of the nodes that are replicas of `master`.
pub fn reply_replicas(view: &View<'_>, master: &Node, reply: &mut Reply<'_>) {
    let shown = Shown::of(view);
    let replicas: Vec<&Node> =
        view.map.nodes().iter().filter(|node| shown.master(node) == Some(master.number)).collect();
    reply.array(replicas.len());
    for node in replicas {
        let mut text = String::new();
        write_line(view, &shown, node, &mut text).expect("a string takes everything");
        reply.bulk(text.trim_end().as_bytes());
    }
}

fn write_line(view: &View<'_>, shown: &Shown<'_>, node: &Node, text: &mut String) -> fmt::Result {
    let (addresses, peer) = (&node.addresses, view.peer(node.number));
    write!(text, "{} {}:{}@{}", node.name, ip_text(addresses), addresses.port, addresses.bus_port)?;
    if !addresses.hostname.is_empty() {
        write!(text, ",{}", addresses.hostname)?;
    }
    let master = shown.master(node).and_then(|master| view.map.node(master));
    text.push_str(if node.number == view.myself { " myself," } else { " " });
    text.push_str(if master.is_some() { "slave" } else { "master" });
    text.push_str(match peer.health {
        Health::Up => "",
        Health::Suspected => ",fail?",
        Health::Failed => ",fail",
    });
    match master {
        Some(master) => write!(text, " {}", master.name)?,
        None => text.push_str(" -"),
    }
    let epoch = master.unwrap_or(node).config_epoch;
    write!(text, " {} {} {epoch}", peer.ping_sent_ms, peer.pong_received_ms)?;
    text.push_str(if peer.is_connected { " connected" } else { " disconnected" });
    for range in shown.slots_of(node.number) {
        write!(text, " {range}")?;
    }
    text.push('\n');
    Ok(())
}
