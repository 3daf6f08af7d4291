//! The division of the node's memory. Every part is a bound; `INFO memory` shows what each may use and what it uses.
//!
//! The one thing a newcomer would get wrong: the parts add up to `memory` at their worst, not at what they are on a quiet day. A
//! memtable may grow to [`limits::MEMTABLE_OVERFLOW`] times its budget while the one before it, which may have done the same, is
//! being written; so memtables are given a quarter of what they may come to hold.

use basalt_storage::log::{LogOptions, shared_arena_bytes};

use super::table::Config;
use crate::limits::{self, MEMTABLES_PER_SHARD};

/// Segments of a log that are in memory at once: the one being filled, and those that wait to be written as tables.
const LOG_SEGMENTS: u64 = 4;

/// Divisor of `memory` that gives the part for memory that allocators keep after it was given back to them, and for what they lose
/// between pieces of different sizes: a tenth.
const ALLOCATORS_PART: u64 = 10;

/// Bounds of the parts of a node, in bytes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct MemoryBudget {
    /// One shard's memtable; there may be `MEMTABLES_PER_SHARD` times as much in each shard.
    pub memtable_bytes: usize,
    /// One shard's cache of rows on disk.
    pub row_cache_bytes: usize,
    /// RocksDB's block cache, shared by all shards.
    pub block_cache_bytes: usize,
    /// One shard's newest log entries.
    pub log_tail_bytes: usize,
    /// One segment of a lane's log: RocksDB holds four of them at most before it has written the first as a table.
    pub log_segment_bytes: usize,
    /// Bytes that RocksDB takes ahead for each shard in a segment that it shares with others.
    log_arena_bytes: usize,
    /// See [`client_bytes_max`].
    pub client_bytes: usize,
    shard_count: u64,
    lane_count: u64,
}

/// Bound of what clients have sent and have not read yet, all together, in bytes: a sixteenth of `memory` if nothing else is set,
/// and at least what one takes that sends or reads a value of the largest size: buffers double as they grow.
pub fn client_bytes_max(config: &Config) -> u64 {
    match config.maxmemory_clients {
        0 => (config.memory / 16).max(2 * config.proto_max_bulk_len),
        bytes => bytes,
    }
}

impl MemoryBudget {
    /// Divides nine tenths of `config.memory` among `shard_count` shards in `lane_count` lanes, each with a log: of these half to
    /// memtables, an eighth to logs, a sixteenth to clients, and what is left or is more than those can use to the caches of rows
    /// on disk, two fifths, and of blocks, three fifths.
    pub fn new(config: &Config, shard_count: u16, lane_count: u16) -> MemoryBudget {
        let (memory, shards) = (config.memory - config.memory / ALLOCATORS_PART, u64::from(shard_count));
        let lanes = u64::from(lane_count);
        let memtable = match config.memtable_bytes {
            0 => (memory / 2 / MEMTABLES_PER_SHARD / shards)
                .clamp(limits::MEMTABLE_BYTES_MIN, limits::MEMTABLE_BYTES_DEFAULT_MAX as u64),
            bytes => bytes,
        };
        let log = memory / 8 / shards;
        let log_tail = (log / 4).clamp(limits::LOG_TAIL_BYTES_MIN, limits::LOG_TAIL_BYTES_MAX);
        let segments = |lane_bytes: u64| {
            let bytes = lane_bytes / LOG_SEGMENTS;
            bytes.clamp(limits::LOG_SEGMENT_BYTES_MIN, LogOptions::default().segment_bytes as u64)
        };
        let log_segment = segments(log * shards / lanes * 3 / 4);
        // What is taken ahead for each group of a lane comes out of the lane's part.
        let arena = if lanes < shards { shared_arena_bytes(log_segment as usize) as u64 } else { 0 };
        let log_segment = segments((log * 3 / 4).saturating_sub(LOG_SEGMENTS * arena) * shards / lanes);
        let clients = memory / 16;
        let used = shards * (MEMTABLES_PER_SHARD * memtable + log_tail + LOG_SEGMENTS * arena)
            + lanes * LOG_SEGMENTS * log_segment
            + clients;
        // With memtables that were set to take nearly all, caches of a size that is of no use and does no harm.
        let caches = memory.saturating_sub(used).max(memory / 32);
        MemoryBudget {
            memtable_bytes: memtable as usize,
            row_cache_bytes: (caches * 2 / 5 / shards) as usize,
            block_cache_bytes: (caches * 3 / 5) as usize,
            log_tail_bytes: log_tail as usize,
            log_segment_bytes: log_segment as usize,
            log_arena_bytes: arena as usize,
            client_bytes: client_bytes_max(config) as usize,
            shard_count: shards,
            lane_count: lanes,
        }
    }

    /// The number of shards that the memory is divided among, one at least.
    pub fn shard_count(&self) -> usize {
        self.shard_count as usize
    }

    /// The same division of what `config` has by now.
    pub fn again(&self, config: &Config) -> MemoryBudget {
        MemoryBudget::new(config, self.shard_count as u16, self.lane_count as u16)
    }

    /// Bound of all memtables together, in bytes.
    pub fn memtables_max(&self) -> u64 {
        self.shard_count * MEMTABLES_PER_SHARD * self.memtable_bytes as u64
    }

    /// Bound of all row caches together, in bytes.
    pub fn row_caches_max(&self) -> u64 {
        self.shard_count * self.row_cache_bytes as u64
    }

    /// Bound of the newest entries of all logs together, in bytes.
    pub fn log_tails_max(&self) -> u64 {
        self.shard_count * self.log_tail_bytes as u64
    }

    /// Bound of the segments of all logs that RocksDB has in memory, in bytes.
    pub fn log_segments_max(&self) -> u64 {
        let (segment_bytes, arena_bytes) = (self.log_segment_bytes as u64, self.log_arena_bytes as u64);
        LOG_SEGMENTS * (self.lane_count * segment_bytes + self.shard_count * arena_bytes)
    }

    /// All parts together.
    pub fn total(&self) -> u64 {
        let shards = self.memtables_max() + self.row_caches_max() + self.log_tails_max() + self.log_segments_max();
        shards + self.block_cache_bytes as u64 + self.client_bytes as u64
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn divide(memory: u64, memtable_bytes: u64, shards: u16, lanes: u16) -> MemoryBudget {
        MemoryBudget::new(&Config { memory, memtable_bytes, ..Config::default() }, shards, lanes)
    }

    #[test]
    fn the_parts_add_up_to_the_whole() {
        for memory in [64u64 << 20, 256 << 20, 1 << 30, 12 << 30, 200 << 30] {
            for shards in [1, 2, 8, 64] {
                let config = Config { memory, ..Config::default() };
                if config.check_memory(shards).is_err() {
                    continue;
                }
                for memtable_bytes in
                    [0, limits::MEMTABLE_BYTES_MIN, memory / 6 / MEMTABLES_PER_SHARD / u64::from(shards)]
                {
                    for lanes in [1, shards.div_ceil(3), shards] {
                        let budget = divide(memory, memtable_bytes, shards, lanes);
                        let memory = memory - memory / ALLOCATORS_PART;
                        let total = budget.total() - budget.client_bytes as u64 + memory / 16;
                        assert!(total <= memory && total > memory - memory / 16, "{total} of {memory}: {budget:?}");
                    }
                }
            }
        }
    }

    #[test]
    fn what_memtables_and_logs_cannot_use_goes_to_the_caches() {
        let budget = divide(64 << 30, 0, 2, 2);
        assert_eq!(budget.memtable_bytes, limits::MEMTABLE_BYTES_DEFAULT_MAX);
        assert!(budget.row_caches_max() + budget.block_cache_bytes as u64 > 50 << 30, "{budget:?}");
    }
}
