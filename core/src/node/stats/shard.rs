//! The figures of one shard, and what its core tells the others of it.

use std::collections::HashSet;
use std::sync::atomic::{AtomicU8, Ordering};
use std::sync::{Mutex, PoisonError, RwLock};

use super::{Counter, Figure, Followers};
use crate::mail::Takes;

/// The word of a shard's core to the others on what to send for it.
#[derive(Debug, Default)]
pub struct Told(AtomicU8);

impl Told {
    /// Tells the others.
    pub fn set(&self, takes: Takes) {
        self.0.store(takes as u8, Ordering::Relaxed);
    }

    /// The word that was told last.
    pub fn get(&self) -> Takes {
        match self.0.load(Ordering::Relaxed) {
            told if told == Takes::All as u8 => Takes::All,
            told if told == Takes::Reads as u8 => Takes::Reads,
            _ => Takes::Nothing,
        }
    }
}

/// The functions of a shard that say that they write nothing, by their names in lower case.
///
/// What a newcomer would get wrong: this is a hint for who sends a call. The rows decide what a call may do.
#[derive(Debug, Default)]
pub struct ReadingFunctions(RwLock<HashSet<Vec<u8>>>);

impl ReadingFunctions {
    /// Sets them.
    pub fn set(&self, names: HashSet<Vec<u8>>) {
        *self.0.write().unwrap_or_else(PoisonError::into_inner) = names;
    }

    /// Takes off those that may write soon, by their names in lower case: until the rows are looked at again.
    pub fn forget(&self, names: &[Vec<u8>]) {
        let mut reading = self.0.write().unwrap_or_else(PoisonError::into_inner);
        for name in names {
            reading.remove(name);
        }
    }

    /// Returns whether the function of this name, in any case, is one of them.
    pub fn has(&self, name: &[u8]) -> bool {
        let names = self.0.read().unwrap_or_else(PoisonError::into_inner);
        !names.is_empty() && names.contains(&name.to_ascii_lowercase())
    }
}

/// The stage of life that a shard's group has come to.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[repr(u8)]
pub enum GroupState {
    /// Its log and rows are being opened.
    Opening,
    /// It executes what the log has beyond the rows on disk, and has no leader yet.
    Recovering,
    /// It takes requests.
    Leader,
    /// Another replica leads it: what concerns it is sent there.
    Follower,
    /// No replica leads it as far as this one knows: what concerns it is refused.
    Leaderless,
    /// Writes the rows that it has in memory to disk before it ends.
    Closing,
    /// It has stopped through a fault of its own, and is not opened again before that is ordered.
    Failed,
    /// The node has it no more; the shard's number may be given to another.
    Gone,
}

impl GroupState {
    /// The state's name in `INFO`.
    pub fn name(self) -> &'static str {
        match self {
            GroupState::Opening => "opening",
            GroupState::Recovering => "recovering",
            GroupState::Leader => "leader",
            GroupState::Follower => "follower",
            GroupState::Leaderless => "leaderless",
            GroupState::Closing => "closing",
            GroupState::Failed => "failed",
            GroupState::Gone => "gone",
        }
    }

    /// Returns whether requests for it are taken. One that closes has been sent what it was to be sent.
    pub fn serves(self) -> bool {
        matches!(self, GroupState::Leader | GroupState::Closing)
    }

    /// Returns whether requests for it are refused. Those for one that another leads are sent there, and none should come.
    pub fn is_away(self) -> bool {
        !self.serves() && !matches!(self, GroupState::Follower | GroupState::Gone)
    }

    fn of(told: u8) -> GroupState {
        const STATES: [GroupState; 8] = [
            GroupState::Opening,
            GroupState::Recovering,
            GroupState::Leader,
            GroupState::Follower,
            GroupState::Leaderless,
            GroupState::Closing,
            GroupState::Failed,
            GroupState::Gone,
        ];
        STATES.into_iter().find(|state| *state as u8 == told).expect("only states are told")
    }
}

/// A group's state, as its core told it last.
#[derive(Debug, Default)]
pub struct ToldState(AtomicU8);

impl ToldState {
    /// Tells the others; returns what they were told before.
    pub fn swap(&self, state: GroupState) -> GroupState {
        GroupState::of(self.0.swap(state as u8, Ordering::AcqRel))
    }

    /// Tells the others of `state`, if the last was `before`; returns whether it was.
    pub fn change(&self, before: GroupState, state: GroupState) -> bool {
        self.0.compare_exchange(before as u8, state as u8, Ordering::AcqRel, Ordering::Acquire).is_ok()
    }

    /// The state that was told last.
    pub fn get(&self) -> GroupState {
        GroupState::of(self.0.load(Ordering::Acquire))
    }
}

/// The reason that a group has stopped, in words for an operator.
#[derive(Debug, Default)]
pub struct FaultText(Mutex<Option<String>>);

impl FaultText {
    /// Notes it, or that there is none any more.
    pub fn set(&self, text: Option<String>) {
        *self.0.lock().unwrap_or_else(PoisonError::into_inner) = text;
    }

    /// The reason that was noted last.
    pub fn get(&self) -> Option<String> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }
}

/// One shard's figures, as its core last published them.
#[derive(Debug, Default)]
#[repr(align(128))]
pub struct ShardStats {
    /// Functions that say that they write nothing.
    pub reading_functions: ReadingFunctions,
    /// Libraries of functions.
    pub libraries: Figure,
    /// Functions of these.
    pub functions: Figure,
    /// Bytes of the libraries.
    pub function_bytes: Figure,
    /// Bytes of their objects, once they are loaded.
    pub function_heap_bytes: Figure,
    /// The point that its group has come to.
    pub state: ToldState,
    /// The reason that it has stopped, if it has.
    pub fault: FaultText,
    /// The other members of its group, if this replica leads.
    pub followers: Followers,
    /// The core that runs it.
    pub core: Figure,
    /// Keys, by database.
    pub keys: [Figure; basalt_storage::DATABASE_COUNT],
    /// Keys with a deadline, by database.
    pub deadlines: [Figure; basalt_storage::DATABASE_COUNT],
    /// Hashes of which fields have deadlines, by database.
    pub field_deadlines: [Figure; basalt_storage::DATABASE_COUNT],
    /// The mean of those keys' deadlines, Unix milliseconds, by database; of no meaning where there are none.
    pub deadline_means_ms: [Figure; basalt_storage::DATABASE_COUNT],
    /// Raft term.
    pub term: Figure,
    /// Voters of the group.
    pub voters: Figure,
    /// 1 if this replica leads, else 0.
    pub leads: Figure,
    /// Index of the last entry in the log.
    pub last_log: Figure,
    /// Index of the last committed entry.
    pub committed: Figure,
    /// Index of the last applied entry.
    pub applied: Figure,
    /// Index up to which the log is purged.
    pub purged: Figure,
    /// Index up to which the rows are on disk without the log.
    pub durable_applied: Figure,
    /// Bytes of the log.
    pub log_bytes: Figure,
    /// Bytes of the active memtable, and of the frozen or the written one.
    pub memtable_bytes: Figure,
    /// Bytes of the cache of rows on disk.
    pub row_cache_bytes: Figure,
    /// Reads of rows on disk that the row cache answered.
    pub row_cache_hits: Counter,
    /// Reads of rows on disk that it did not.
    pub row_cache_misses: Counter,
    /// Bytes of the newest log entries in memory.
    pub log_tail_bytes: Figure,
    /// Bytes that RocksDB has in memory of the log.
    pub log_segments_bytes: Figure,
    /// Bytes of the rows on disk.
    pub disk_bytes: Figure,
    /// Entries proposed.
    pub batches: Counter,
    /// Writes proposed, in all entries.
    pub writes: Counter,
    /// Times that a client has come to wait for keys of this shard, and of others if it waits for such; the last to know counts.
    pub waits_begun: Figure,
    /// Clients that wait for keys of this shard.
    pub waiters: Figure,
    /// Bytes of memory that they hold, about.
    pub waiter_bytes: Figure,
    /// Clients whose last command is remembered that was executed once at most, those included that the next one drives out.
    pub once_sessions: Figure,
    /// Keys that clients keep copies of.
    pub tracked_keys: Figure,
    /// The clients that keep a copy of each of them, all together.
    pub tracked_items: Figure,
    /// Bytes of memory that this takes, about.
    pub tracked_bytes: Figure,
    /// Transactions over several shards that hold keys of this one.
    pub transactions_holding: Figure,
    /// Parts and decisions of such ones that are left to be settled.
    pub transactions_left: Figure,
    /// Bytes of requests that wait in the shard: for their batch, for its outcome, for rows.
    pub request_bytes: Figure,
    /// Bytes of replies that were made and not taken.
    pub reply_bytes: Figure,
    /// Writes of batches that were held back because the disk does not keep up.
    pub writes_delayed: Counter,
    /// Time that those batches were held back, in microseconds.
    pub write_delay_us: Counter,
    /// Times that nothing could be proposed, for want of memory or of room in the log.
    pub write_stops: Counter,
    /// Writes whose clients were told that nobody knows what becomes of them.
    pub writes_uncertain: Counter,
    /// Time that a batch is held back now, in microseconds; 0 if none is.
    pub slow_down_us: Figure,
    /// Bytes of batches per second that are let through now; 0 for as many as come.
    pub slow_down_bytes_per_s: Figure,
    /// Keys deleted because their deadline passed.
    pub expired_keys: Counter,
    /// Events of keys that nobody was told of, since too many waited.
    pub key_events_dropped: Counter,
    /// Keyspace hits.
    pub hits: Counter,
    /// Keyspace misses.
    pub misses: Counter,
    /// Requests that waited for a reader thread.
    pub cold_reads: Counter,
    /// Rows that other threads have read from disk for requests.
    pub cold_rows_read: Counter,
    /// Times an entry has waited for a reader thread with some of its commands executed, while the core went on.
    pub entry_waits: Figure,
    /// Times the core has waited for the disk itself.
    pub disk_waits: Figure,
    /// 1 if writes are refused because the disk is full, else 0.
    pub disk_is_full: Figure,
    /// Requests that its core wants sent by others.
    pub takes: Told,
    /// Commands that changed rows which are in the log and in memory, but in no generation on disk yet.
    pub unsaved_changes: Figure,
    /// Generations written to disk.
    pub saves: Figure,
    /// Unix seconds of the last generation written to disk.
    pub last_save_unix_s: Figure,
    /// Milliseconds that the clock is behind the time that the rows show, which does not go back.
    pub clock_behind_ms: Figure,
    /// Entries of the log that were applied at the start, beyond the rows on disk.
    pub replayed: Figure,
}

impl ShardStats {
    /// Begins everything anew: the group is gone, and another may come in its place.
    pub fn clear(&self) {
        self.reset();
        self.fault.set(None);
        self.followers.set(0, Vec::new());
        self.reading_functions.set(HashSet::new());
        for figures in [&self.keys, &self.deadlines, &self.field_deadlines] {
            figures.iter().for_each(|figure| figure.set(0));
        }
        let states = [
            &self.term,
            &self.voters,
            &self.leads,
            &self.last_log,
            &self.committed,
            // By this the keeper knows that a group was told of: that was the one before.
            &self.applied,
            &self.purged,
            &self.durable_applied,
            &self.log_bytes,
            &self.memtable_bytes,
            &self.row_cache_bytes,
            &self.log_tail_bytes,
            &self.log_segments_bytes,
            &self.disk_bytes,
            &self.request_bytes,
            &self.reply_bytes,
            &self.waiters,
            &self.waiter_bytes,
            &self.once_sessions,
            &self.tracked_keys,
            &self.tracked_items,
            &self.tracked_bytes,
            &self.transactions_holding,
            &self.transactions_left,
            &self.slow_down_us,
            &self.disk_is_full,
            &self.unsaved_changes,
            &self.libraries,
            &self.functions,
            &self.function_bytes,
            &self.function_heap_bytes,
        ];
        states.into_iter().for_each(|figure| figure.set(0));
    }

    /// Begins every count anew (`CONFIG RESETSTAT`); states stay. Any core may call this.
    pub fn reset(&self) {
        let counters = [
            &self.batches,
            &self.writes,
            &self.writes_delayed,
            &self.write_delay_us,
            &self.write_stops,
            &self.writes_uncertain,
            &self.expired_keys,
            &self.key_events_dropped,
            &self.hits,
            &self.misses,
            &self.cold_reads,
            &self.cold_rows_read,
            &self.row_cache_hits,
            &self.row_cache_misses,
        ];
        counters.into_iter().for_each(Counter::reset);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn of_a_group_that_is_gone_the_next_one_finds_nothing() {
        let stats = ShardStats::default();
        let told =
            [&stats.term, &stats.last_log, &stats.committed, &stats.applied, &stats.durable_applied, &stats.leads];
        told.iter().for_each(|figure| figure.set(7));
        stats.clear();
        assert!(told.iter().all(|figure| figure.get() == 0));
    }
}
