//! Figures that a shard publishes for `INFO`.

use std::collections::BTreeMap;

use basalt_lua::FunctionFlags;
use basalt_raft::{Member, NodeId, Role};
use basalt_storage::keyspace::{function_names, function_totals, session_count};
use basalt_storage::{DATABASE_COUNT, Error, Rows, Store};

use super::Shard;
use crate::ids::ShardId;
use crate::limits;
use crate::node::{Follower, ShardStats};

impl Shard {
    /// Publishes the counts that INFO tells, so that a client finds in them what it has been answered before.
    pub fn publish_counts(&mut self) {
        self.counts_changed = false;
        let (machine, stats) = (self.machine.borrow(), &self.server.shards[self.id.index()]);
        let counters = machine.store.counters();
        for db in 0..DATABASE_COUNT {
            stats.keys[db].set(counters.keys[db]);
            let (count, sum) = (counters.deadlines[db], counters.deadline_sums[db]);
            stats.deadlines[db].set(count);
            stats.field_deadlines[db].set(counters.field_deadlines[db]);
            // Divided only when something has changed: this is done every turn.
            if std::mem::replace(&mut self.deadline_sums[db], sum) != sum {
                stats.deadline_means_ms[db].set((sum / u128::from(count.max(1))) as u64);
            }
        }
        let happened = machine.scratch.counts();
        if machine.scratch.take_functions_changed() && !publish_functions(&machine.store, stats) {
            machine.scratch.note_functions_changed();
        }
        stats.hits.set(happened.hits);
        stats.misses.set(happened.misses);
        stats.expired_keys.set(happened.expired);
        stats.key_events_dropped.set(machine.scratch.dropped_events());
        stats.unsaved_changes.set(machine.store.unsaved_changes());
        stats.saves.set(machine.store.generations_written());
        stats.cold_rows_read.set(machine.store.cold_rows_read());
        stats.transactions_holding.set(self.holding.held_count() as u64);
        stats.transactions_left.set(self.holding.left_count() as u64);
        stats.waiters.set(self.waiting.len() as u64);
        stats.waiter_bytes.set(self.waiting.bytes() as u64);
        let tracked = machine.store.tracked();
        stats.tracked_keys.set(tracked.key_count() as u64);
        stats.tracked_items.set(tracked.item_count() as u64);
        stats.tracked_bytes.set(tracked.bytes() as u64);
    }

    pub(super) fn publish(&mut self, now_ms: u64) {
        self.publish_counts();
        let (status, stats) = (self.group.status(), &self.server.shards[self.id.index()]);
        let machine = self.machine.borrow();
        stats.term.set(status.term);
        stats.voters.set(status.voter_count as u64);
        stats.leads.set(u64::from(status.role == Role::Leader));
        stats.last_log.set(status.last_log.unwrap_or(0));
        stats.committed.set(status.committed.unwrap_or(0));
        stats.applied.set(status.applied.unwrap_or(0));
        stats.purged.set(status.purged.unwrap_or(0));
        let durable_applied = status.durable_applied.unwrap_or(0);
        if durable_applied != stats.durable_applied.get() {
            stats.durable_applied.set(durable_applied);
            stats.last_save_unix_s.set(now_ms / 1000);
        }
        stats.log_bytes.set(status.log_bytes);
        let behind_ms = machine.time_ms().saturating_sub(now_ms);
        stats.clock_behind_ms.set(behind_ms);
        if self.server.clock.is_newly_behind(behind_ms > limits::CLOCK_BEHIND_MS) {
            tracing::warn!(
                shard = self.id.0,
                behind_ms,
                "the clock is behind the newest entries: it was set back, or another node's is ahead; time stands still for keys with \
                 a deadline until it has caught up"
            );
        }
        let in_flight: usize =
            self.batches.in_flight.borrow().iter().map(|batch| batch.bytes + batch.reads.capacity()).sum();
        let open = self.batches.open.bytes.capacity() + self.batches.open.reads.capacity();
        let memory = machine.store.memory();
        stats.request_bytes.set(
            (in_flight
                + open
                + self.parking.waiting.bytes
                + self.holding.waiting.bytes
                + self.reading.bytes()
                + memory.view_bytes) as u64,
        );
        stats.reply_bytes.set((machine.reply_bytes() + self.reply.capacity()) as u64);
        // Without writes nobody looks at what slowed the last ones down.
        let slow_down = self.batches.pressure.slow_down();
        let is_slow = slow_down.is_active() && self.batches.open.write_count > 0;
        stats.slow_down_us.set(if is_slow { slow_down.delay().as_micros() as u64 } else { 0 });
        stats.slow_down_bytes_per_s.set(if is_slow { slow_down.bytes_per_s() } else { 0 });
        let row_cache = machine.store.row_cache_counts();
        stats.memtable_bytes.set((memory.active_bytes + memory.frozen_bytes + memory.written_bytes) as u64);
        stats.row_cache_bytes.set(memory.row_cache_bytes as u64);
        stats.disk_waits.set(machine.store.disk_waits());
        stats.entry_waits.set(machine.pauses);
        stats.row_cache_hits.set(row_cache.hits);
        stats.row_cache_misses.set(row_cache.misses);
    }

    /// Publishes how far the other members of the group are, if this replica leads it: for clients, and less often than the rest.
    pub fn publish_followers(&self) {
        let followers = &self.server.shards[self.id.index()].followers;
        if !self.group.is_leader() || self.group.is_only_member() {
            return followers.set(0, Vec::new());
        }
        let end = self.group.log_end();
        followers.set(end, by_node(&self.group.members().members, self.group.node(), end));
    }

    /// Asking RocksDB takes its lock for a moment, so this is done less often than the rest.
    pub(super) fn publish_disk(&self) {
        let (stats, log) = (&self.server.shards[self.id.index()], self.group.log_memory());
        stats.log_tail_bytes.set(log.tail_bytes);
        stats.log_segments_bytes.set(log.segments_bytes);
        match self.machine.borrow().store.disk_bytes() {
            Ok(bytes) => self.server.shards[self.id.index()].disk_bytes.set(bytes),
            Err(error) => tracing::debug!(shard = self.id.0, %error, "the size of the rows on disk is unknown"),
        }
        // A row that was changed since it was published last is in memory. Nobody is to wait for one that is on disk alone. Nor is
        // the shard to show a later moment for it: the clock of one that does not lead may be wrong.
        let mut machine = self.machine.borrow_mut();
        let shown_ms = machine.time_ms();
        match machine.reading(shown_ms, |execution| session_count(&*execution.store)) {
            Err(Error::Cold(_)) => {}
            counted => publish_sessions(self.id, counted, stats),
        }
    }
}

/// Publishes the number of sessions.
pub(super) fn publish_sessions(id: ShardId, counted: basalt_storage::Result<u64>, stats: &ShardStats) {
    match counted {
        Ok(count) => stats.once_sessions.set(count),
        Err(error) => tracing::debug!(shard = id.0, %error, "the number of sessions is unknown"),
    }
}

/// Publishes the sums of the libraries of functions, and which of these only read. Their rows were changed a moment ago, or are
/// new: whoever is told that they were finds here what they are. False if they could not be read.
pub(super) fn publish_functions(store: &Store, stats: &ShardStats) -> bool {
    match function_totals(store).and_then(|totals| Ok((totals, function_names(store)?))) {
        Ok((totals, names)) => {
            let is_reading = |flags: &u8| FunctionFlags::from_bits(*flags).no_writes();
            let reading = names.into_iter().filter(|(_, flags)| is_reading(flags)).map(|(name, _)| name);
            stats.reading_functions.set(reading.collect());
            stats.libraries.set(totals.libraries.into());
            stats.functions.set(totals.functions.into());
            stats.function_bytes.set(totals.bytes);
            stats.function_heap_bytes.set(totals.heap_bytes);
            true
        }
        Err(error) => {
            tracing::debug!(%error, "the number of libraries is unknown");
            false
        }
    }
}

/// The other nodes that have members of a group, as the one with the number `own` knows them, which leads it and whose log ends at
/// `end`. Of two members on one node the one that is farther behind counts: the other may be no more.
fn by_node(members: &[Member], own: NodeId, end: u64) -> Vec<Follower> {
    let here = members.iter().find(|member| member.node == own).map_or(own, Member::host);
    let mut followers: BTreeMap<NodeId, Follower> = BTreeMap::new();
    for member in members.iter().filter(|member| member.node != own && member.host() != here) {
        let Some(progress) = member.progress else { continue };
        let behind = end.saturating_sub(progress.matching.map_or(0, |matching| matching + 1));
        let follower = Follower { node: member.host(), behind, silent: progress.silent };
        let known = followers.entry(follower.node).or_insert(follower);
        known.behind = known.behind.max(follower.behind);
        known.silent = known.silent.zip(follower.silent).map(|(one, other)| one.max(other));
    }
    followers.into_values().collect()
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use basalt_raft::{PeerAddress, Progress, Standing};

    use super::*;

    #[test]
    fn followers_are_nodes_and_not_the_members_that_they_have() {
        let member = |number: u64, host: u64, matching, silent: Option<u64>| Member {
            node: NodeId(number),
            address: PeerAddress::on(NodeId(host), NodeId(number)),
            standing: Standing::Voter,
            progress: (number != 77).then(|| Progress {
                matching,
                behind_bytes: 0,
                silent: silent.map(Duration::from_secs),
                is_caught_up: true,
            }),
        };
        let members = [
            member(1, 1, Some(9), Some(0)),
            member(2, 2, Some(5), Some(9)),
            member(77, 1, None, None),
            member(88, 2, Some(8), Some(0)),
            member(99, 3, Some(8), Some(0)),
        ];
        let followers = by_node(&members, NodeId(77), 10);
        let seen: Vec<_> = followers.iter().map(|one| (one.node.0, one.behind, one.silent)).collect();
        let seconds = |count| Some(Duration::from_secs(count));
        assert_eq!(seen, [(2, 4, seconds(9)), (3, 1, seconds(0))], "the leader's own node is no follower");
    }
}
