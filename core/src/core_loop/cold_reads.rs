//! Rows that reader threads fetch for the shards of a core.

use basalt_storage::Fetched;

use super::core::{ColdReads, Core};
use crate::ids::ShardId;
use crate::limits;

impl ColdReads {
    /// Counts a read that was given to a thread.
    fn begin(&mut self, shard: ShardId) {
        if self.by_shard.len() <= shard.index() {
            self.by_shard.resize(shard.index() + 1, 0);
        }
        self.by_shard[shard.index()] += 1;
        self.under_way += 1;
    }

    /// Counts a read whose rows were taken.
    pub(super) fn end(&mut self, shard: ShardId) {
        self.by_shard[shard.index()] -= 1;
        self.under_way -= 1;
    }

    /// Reads for `shard` that were given to threads and whose rows were not taken.
    pub(super) fn under_way_for(&self, shard: ShardId) -> usize {
        self.by_shard.get(shard.index()).copied().unwrap_or(0)
    }
}

impl Core {
    /// Returns whether a read from disk can be given to a thread. The others wait for those that are under way, whose end wakes the
    /// core.
    pub(super) fn may_start_warming(&self) -> bool {
        self.cold_reads.under_way < limits::COLD_READS_IN_FLIGHT && !self.outbox.warms.is_empty()
    }

    pub(super) fn start_warming(&mut self) {
        while self.cold_reads.under_way < limits::COLD_READS_IN_FLIGHT
            && let Some(warm) = self.outbox.warms.pop_front()
        {
            let reader = self.seat(warm.shard).expect("cold reads are of this core's shards").cold_reader();
            let (server, warmed, core) = (self.server.clone(), self.cold_reads.fetched.clone(), self.id);
            let (shard, client) = (warm.shard, warm.client);
            let (read, pins) = (warm.read.clone(), warm.pins);
            let job = Box::new(move || {
                let rows = if pins { reader.pin(&read) } else { reader.fetch(&read) };
                let rows = rows.unwrap_or_else(|error| {
                    // The command itself meets the same error and reports it to its client.
                    tracing::warn!(shard = shard.0, %error, "a read from disk failed");
                    Fetched::default()
                });
                let pushed = warmed.push((shard, client, rows));
                assert!(pushed.is_ok(), "there are no more cold reads in flight than their queue holds");
                server.mailboxes.bell(core).ring();
            });
            if self.cold_reads.readers.submit(job).is_err() {
                self.outbox.warms.push_front(warm);
                return;
            }
            self.cold_reads.begin(shard);
        }
    }
}
