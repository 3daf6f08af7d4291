//! Subscriptions to shard channels whose slots are led by another node by now: they end, and their clients are told so, as in
//! Redis.

use basalt_net::resp::Reply;
use basalt_net::ring::ConnId;
use basalt_storage::keyspace::Slot;

use super::super::core::Core;
use crate::clients::{Audience, Connection, SubscriptionChange};
use crate::cluster::Elsewhere;
use crate::limits;

impl Core {
    /// Notes which channels have gone elsewhere with another routing.
    pub(in crate::core_loop) fn note_moved_channels(&mut self) {
        if self.fanout.shard_channels.is_empty() || self.routing.cluster.is_none() {
            return;
        }
        let channels = self.fanout.shard_channels.keys();
        self.fanout.moved = channels.filter(|name| self.is_channel_elsewhere(name)).cloned().collect();
    }

    /// Returns whether another node is known to have a channel. One that nobody leads stays where it is.
    fn is_channel_elsewhere(&self, name: &[u8]) -> bool {
        let slot = Slot::of(name);
        let is_here = self.routing.router.shard_of_slot(slot).is_some();
        let elsewhere = || self.routing.cluster.as_ref().map(|cluster| cluster.elsewhere(slot));
        !is_here && matches!(elsewhere(), Some(Elsewhere::Moved { .. }))
    }

    /// Ends subscriptions to channels that have gone elsewhere, those of some channels in each turn. Returns how many clients were
    /// told.
    pub(super) fn end_moved_subscriptions(&mut self) -> usize {
        let mut count = 0;
        while count < limits::DELIVERIES_PER_TURN
            && let Some(name) = self.fanout.moved.pop()
        {
            if !self.is_channel_elsewhere(&name) {
                continue;
            }
            let subscribers: Vec<ConnId> =
                self.fanout.shard_channels.get(&name).into_iter().flatten().copied().collect();
            count += subscribers.len();
            for id in subscribers {
                let Some(mut connection) = self.take_connection(id) else { continue };
                self.end_moved_subscription(&mut connection, &name);
                self.put_connection(connection);
            }
        }
        count
    }

    fn end_moved_subscription(&mut self, connection: &mut Connection, name: &[u8]) {
        let audience = Audience::ShardChannel;
        let Some(mut subscriptions) = connection.session.subscriptions.take() else { return };
        let was_there = subscriptions.remove(audience, name);
        let left = subscriptions.count_beside(audience);
        connection.session.subscriptions = Some(subscriptions).filter(|subscriptions| !subscriptions.is_empty());
        if !was_there {
            return;
        }
        let ended = vec![SubscriptionChange { audience, name: name.into(), is_made: false }];
        self.note_ended(connection.ring, ended);
        let mut bytes = Vec::new();
        let mut reply = Reply::new(&mut bytes, connection.session.protocol);
        reply.push(3);
        reply.bulk("sunsubscribe");
        reply.bulk(name);
        reply.integer(left as i64);
        self.clients.handed_over_bytes += bytes.len();
        self.reply_raw(connection, &bytes);
    }
}
