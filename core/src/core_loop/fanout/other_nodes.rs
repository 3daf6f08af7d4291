//! Messages between the publishers of one node of a cluster and the subscribers of the others.
//!
//! What a newcomer would get wrong: what comes from another node goes to this one's subscribers alone. Its publisher's node has
//! told all others itself.

use basalt_net::peer::{NodeNumber, PublishedMessage};

use super::{Core, hand_on};
use crate::clients::Audience;
use crate::cluster::Routing;
use crate::limits;
use crate::mail::Published;
use crate::peers::Peers;

/// Has the other nodes of the cluster hear of a message that a client of this one has published. Shard channels are of one node;
/// and on a node alone there is nobody to tell.
pub(super) fn tell_other_nodes(peers: Option<&Peers>, routing: &Routing, published: &Published) {
    let (Some(cluster), Some(peers)) = (&routing.cluster, peers) else { return };
    if published.audience != Audience::Channel {
        return;
    }
    let Some(map) = cluster.map.as_ref().or(cluster.old_map.as_ref()) else { return };
    let others = map.nodes().iter().map(|node| node.number).filter(|&number| number != cluster.myself);
    peers.publish(others.map(|number| NodeNumber(number.0)), &published.channel, &published.message);
}

impl Core {
    /// Takes over what clients of other nodes have published, as far as there is room for what it causes; returns how many
    /// messages.
    pub(in crate::core_loop) fn take_arrived(&mut self) -> usize {
        let (mut count, mut bytes) = (0, 0);
        while count < limits::PEER_MESSAGES_PER_TURN
            && bytes < limits::PEER_MESSAGE_BYTES_PER_TURN
            && self.may_publish()
            && let Some(PublishedMessage { channel, message }) = self.peers.as_ref().and_then(Peers::take_arrived)
        {
            count += 1;
            bytes += channel.len() + message.len();
            let audience = Audience::Channel;
            let receivers = self.fanout.directory.receivers(audience, &channel);
            let (channel, message) = (channel[..].into(), message[..].into());
            let published = Published { audience, channel, message, patterns: Vec::new() };
            hand_on(&mut self.fanout, &mut self.outbox, self.id, published, receivers);
        }
        count
    }

    /// Returns whether messages of other nodes wait, and can be taken over.
    pub(in crate::core_loop) fn may_take_arrived(&self) -> bool {
        self.peers.as_ref().is_some_and(Peers::has_arrived) && self.may_publish()
    }
}
