//! CLUSTER INFO.

use std::fmt::Write;

use basalt_net::resp::Reply;
use basalt_storage::keyspace::SLOT_COUNT;

use super::shown::Shown;
use super::{Health, View};

/// Replies to CLUSTER INFO. The state is `ok` when every slot has a group, and every group a leader that can commit.
///
/// # Panics
/// If the node that is asked is not in the map.
pub fn reply_info(view: &View<'_>, reply: &mut Reply<'_>) {
    let shown = Shown::of(view);
    let (mut up, mut suspected, mut failed, mut led) = (0, 0, 0, 0);
    for share in &shown.shares {
        let count = share.slots.count();
        led += if share.is_led { count } else { 0 };
        match view.peer(share.node).health {
            Health::Suspected => suspected += count,
            Health::Failed => failed += count,
            Health::Up if share.group.is_some() && !share.is_led => failed += count,
            Health::Up => up += count,
        }
    }
    let state = if led == usize::from(SLOT_COUNT) { "ok" } else { "fail" };
    let myself = view.map.node(view.myself).expect("the node that is asked is in its map");
    let my_epoch = shown.master(myself).and_then(|master| view.map.node(master)).unwrap_or(myself).config_epoch;
    let mut text = String::new();
    let mut line = |name: &str, value: &dyn std::fmt::Display| {
        write!(text, "{name}:{value}\r\n").expect("a string takes everything");
    };
    line("cluster_state", &state);
    line("cluster_slots_assigned", &(up + suspected + failed));
    line("cluster_slots_ok", &up);
    line("cluster_slots_pfail", &suspected);
    line("cluster_slots_fail", &failed);
    line("cluster_known_nodes", &view.map.nodes().len());
    line("cluster_size", &shown.nodes_with_slots());
    line("cluster_current_epoch", &view.map.config_epoch());
    line("cluster_my_epoch", &my_epoch);
    line("cluster_stats_messages_sent", &view.messages_sent);
    line("cluster_stats_messages_received", &view.messages_received);
    line("total_cluster_links_buffer_limit_exceeded", &0);
    reply.verbatim(b"txt", text);
}
