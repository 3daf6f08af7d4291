//! The figures of a core, for `INFO`.

use super::core::Core;
use crate::clients::Connection;
use crate::peers::Peers;
use crate::shard::Shard;

impl Core {
    /// Publishes the figures of this core and its shards ahead of the tick.
    pub(super) fn publish_now(&mut self) {
        self.shards.iter_mut().flatten().for_each(Shard::publish_counts);
        self.shards.iter().flatten().for_each(Shard::publish_followers);
        self.publish();
    }

    pub(super) fn publish(&mut self) {
        self.clients.handed_over_bytes = 0;
        let sum = |bytes: fn(&Connection) -> usize| {
            self.clients.connections.iter().flatten().map(|c| bytes(c)).sum::<usize>()
        };
        let (input_bytes, held_bytes) = (sum(|c| c.input.capacity()), sum(Connection::held_bytes));
        let all = || self.clients.connections.iter().flatten();
        let largest_input = all().map(|c| c.input.capacity()).max().unwrap_or(0);
        let unread = |c: &Connection| self.ring.output_bytes(c.ring) + c.ready_bytes();
        let largest_output = all().map(|c| unread(c)).max().unwrap_or(0);
        let watching_clients = sum(|c| usize::from(c.session.watching.is_some()));
        let watched_keys = sum(|c| c.session.watching.as_ref().map_or(0, |watching| watching.count()));
        let batches = self.inbox.half_run.iter().flatten().map(|run| run.batch.bytes.capacity()).sum::<usize>();
        let (requests, replies) = self.outbox.bytes();
        let (stats, ring) = (&self.server.cores[self.id.index()], self.ring.counters());
        stats.bytes_out.set(ring.bytes_out);
        stats.enters.set(ring.enters);
        stats.receives.set(ring.receives);
        stats.sends.set(ring.sends);
        stats.input_bytes.set(input_bytes as u64);
        stats.largest_input_bytes.set(largest_input as u64);
        stats.largest_output_bytes.set(largest_output as u64);
        stats.held_bytes.set(held_bytes as u64);
        stats.watching_clients.set(watching_clients as u64);
        stats.watched_keys.set(watched_keys as u64);
        let published = self.peers.as_ref().map_or(0, Peers::published_bytes);
        stats.outbox_requests_bytes.set((requests + batches + self.telling.bytes() + published) as u64);
        stats.outbox_replies_bytes.set(replies as u64);
        stats.output_bytes.set(self.ring.memory().outputs as u64);
        if let Some(peers) = &self.peers {
            stats.peers.publish(&peers.figures().named());
        }
        let [commands, bytes_in, bytes_out] = &mut self.rates;
        stats.commands_per_s.set(commands.feed(self.clock.now, stats.commands.since_start()));
        stats.bytes_in_per_s.set(bytes_in.feed(self.clock.now, stats.bytes_in.since_start()));
        stats.bytes_out_per_s.set(bytes_out.feed(self.clock.now, stats.bytes_out.since_start()));
    }
}
