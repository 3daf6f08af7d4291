//! Counters that `INFO` reads: each written by one core, read by any, never locked.

use std::sync::atomic::{AtomicU8, AtomicU64, Ordering};
use std::time::Instant;

use crate::mail::Takes;

/// A figure that one core writes and any core reads.
#[derive(Debug, Default)]
pub struct Figure(AtomicU64);

impl Figure {
    /// Adds `amount`. Only the core that owns the figure may call this: it is a load and a store, not an atomic addition.
    pub fn add(&self, amount: u64) {
        self.0.store(self.0.load(Ordering::Relaxed).wrapping_add(amount), Ordering::Relaxed);
    }

    /// Sets the figure.
    pub fn set(&self, value: u64) {
        self.0.store(value, Ordering::Relaxed);
    }

    /// The figure.
    pub fn get(&self) -> u64 {
        self.0.load(Ordering::Relaxed)
    }
}

/// A count since the start or since the last `CONFIG RESETSTAT`.
///
/// What a newcomer would get wrong: a reset does not write the count, which belongs to its core, but remembers where it
/// stood. So nothing is lost when a core counts while another one resets.
#[derive(Debug, Default)]
pub struct Counter {
    count: Figure,
    base: Figure,
}

impl Counter {
    /// Adds `amount`. Only the core that owns the counter may call this, see [`Figure::add`].
    pub fn add(&self, amount: u64) {
        self.count.add(amount);
    }

    /// Sets what was counted since the start, for counts kept elsewhere. Only the core that owns the counter may call this.
    pub fn set(&self, count: u64) {
        self.count.set(count);
    }

    /// What was counted since the last reset.
    pub fn get(&self) -> u64 {
        self.count.get().wrapping_sub(self.base.get())
    }

    /// What was counted since the start.
    pub fn since_start(&self) -> u64 {
        self.count.get()
    }

    /// Begins anew. Any core may call this.
    pub fn reset(&self) {
        self.base.set(self.count.get());
    }
}

/// Calls of one command on one core.
#[derive(Debug, Default)]
pub struct CommandStats {
    /// Times it was called by connections of this core.
    pub calls: Counter,
    /// Times it was refused before it ran (a wrong number of arguments).
    pub rejected: Counter,
    /// Times it ran and its reply was an error.
    pub failed: Counter,
    /// How long it ran on this core, for connections of any.
    pub time: RunTime,
}

/// Runs of a command on a core that are all timed; later ones are timed now and then.
const RUNS_TIMED_AT_FIRST: u64 = 64;
/// Runs that are not timed between two that are: up to twice as many, so that no pattern of requests keeps step with it.
const RUNS_UNTIMED_MEAN: u64 = 64;

/// How long a command ran, from timing few of its runs: reading the clock twice would cost as much as a short command.
///
/// Each run that is timed stands for those since the last one as well, so the sum is right on average, and exact for a
/// command that has not run often.
#[derive(Debug, Default)]
pub struct RunTime {
    /// Runs until one is timed.
    untimed: Figure,
    /// Runs that the next timed one stands for.
    stands_for: Figure,
    timed: Figure,
    ns: Counter,
}

impl RunTime {
    /// Notes that a run begins, and when if it is to be timed. Only the core that owns this may call it.
    #[inline]
    pub fn start(&self) -> Option<Instant> {
        match self.untimed.get() {
            0 => Some(Instant::now()),
            untimed => {
                self.untimed.set(untimed - 1);
                None
            }
        }
    }

    /// Takes the time of a run that [`RunTime::start`] wants timed, and picks the next. Only the core that owns this may
    /// call it.
    #[cold]
    pub fn stop(&self, started: Instant) {
        self.take(started.elapsed().as_nanos() as u64);
    }

    fn take(&self, ns: u64) {
        self.ns.add(ns.saturating_mul(self.stands_for.get().max(1)));
        let timed = self.timed.get();
        self.timed.set(timed + 1);
        let untimed = if timed + 1 < RUNS_TIMED_AT_FIRST {
            0
        } else {
            // The high half of a product with the golden ratio: evenly spread, and no two in a row are alike.
            (timed.wrapping_mul(0x9E37_79B9_7F4A_7C15) >> 32) % (2 * RUNS_UNTIMED_MEAN + 1)
        };
        self.untimed.set(untimed);
        self.stands_for.set(untimed + 1);
    }

    /// Begins anew: the next runs are all timed again. Any core may call this; if its owner picks the next run at that
    /// moment, one of the two is lost, which makes the sum less right and nothing else.
    fn reset(&self) {
        self.ns.reset();
        self.timed.set(0);
        self.stands_for.set(1);
        self.untimed.set(0);
    }

    /// Nanoseconds since the last reset, about.
    pub fn ns(&self) -> u64 {
        self.ns.get()
    }
}

/// The codes of error replies that are counted each for itself; Redis has few more.
const ERROR_CODES: [&str; 16] = [
    "ERR",
    "WRONGTYPE",
    "CROSSSLOT",
    "MISCONF",
    "BUSY",
    "CLUSTERDOWN",
    "MOVED",
    "ASK",
    "TRYAGAIN",
    "READONLY",
    "NOPROTO",
    "WRONGPASS",
    "NOAUTH",
    "BUSYGROUP",
    "NOGROUP",
    "OTHER",
];

/// Error replies by their first word.
#[derive(Debug, Default)]
pub struct ErrorCounts([Counter; ERROR_CODES.len()]);

impl ErrorCounts {
    /// Counts a reply that is an error, with or without its leading `-`. Only the core that owns the counts may call this.
    pub fn count(&self, reply: &[u8]) {
        let text = reply.strip_prefix(b"-").unwrap_or(reply);
        let code = text.split(|byte| matches!(byte, b' ' | b'\r')).next().unwrap_or(text);
        let place = ERROR_CODES.iter().position(|known| known.as_bytes() == code);
        self.0[place.unwrap_or(ERROR_CODES.len() - 1)].add(1);
    }

    /// Each code and how often it was replied.
    pub fn by_code(&self) -> impl Iterator<Item = (&'static str, u64)> {
        ERROR_CODES.iter().zip(&self.0).map(|(code, count)| (*code, count.get()))
    }

    /// Error replies of all codes.
    pub fn total(&self) -> u64 {
        self.0.iter().map(Counter::get).sum()
    }

    fn reset(&self) {
        self.0.iter().for_each(Counter::reset);
    }
}

/// Turns counts into rates: how much was counted per second lately. A core feeds it now and then and publishes the outcome.
#[derive(Debug, Default)]
pub struct RateMeter {
    last: Option<(Instant, u64)>,
    per_second: f64,
}

/// How long it takes a rate to follow a change to two thirds.
const RATE_MEMORY_S: f64 = 1.0;

impl RateMeter {
    /// Takes the count as it is at `now` and gives the rate.
    pub fn feed(&mut self, now: Instant, count: u64) -> u64 {
        if let Some((then, before)) = self.last {
            let seconds = now.saturating_duration_since(then).as_secs_f64();
            if seconds > 0.0 {
                let current = count.wrapping_sub(before) as f64 / seconds;
                let weight = 1.0 - (-seconds / RATE_MEMORY_S).exp();
                self.per_second += (current - self.per_second) * weight;
            }
        }
        self.last = Some((now, count));
        self.per_second.round() as u64
    }
}

/// One core's counters.
#[derive(Debug)]
#[repr(align(128))]
pub struct CoreStats {
    /// Commands taken from clients.
    pub commands: Counter,
    /// Connections taken.
    pub connections: Counter,
    /// Connections refused because of `maxclients`.
    pub rejected_connections: Counter,
    /// Connections there are.
    pub clients: Figure,
    /// Bytes received.
    pub bytes_in: Counter,
    /// Bytes sent.
    pub bytes_out: Counter,
    /// Receives that brought bytes.
    pub receives: Counter,
    /// Sends submitted.
    pub sends: Counter,
    /// Requests sent to other cores.
    pub forwarded: Counter,
    /// Turns of the core loop.
    pub turns: Counter,
    /// `io_uring_enter` calls.
    pub enters: Counter,
    /// Times the core slept.
    pub parks: Counter,
    /// Stalls: turns that held the core longer than the budget.
    pub stalls: Counter,
    /// The longest turn, in microseconds.
    pub stall_us_max: Figure,
    /// With `timer-probe`: how late a timer of 1 ms was at worst, in microseconds.
    pub timer_late_us_max: Figure,
    /// Connections closed because their output grew over the limit.
    pub output_limit_closed: Counter,
    /// Connections closed because all clients together held too much.
    pub evicted_clients: Counter,
    /// What the largest client that may be evicted holds, while all clients together hold too much.
    pub largest_client_bytes: Figure,
    /// Bytes queued for clients.
    pub output_bytes: Figure,
    /// Memory for bytes received and not decoded yet.
    pub input_bytes: Figure,
    /// Bytes of replies that wait for others of their connections, and of what is gathered for them.
    pub held_bytes: Figure,
    /// Bytes of requests that wait in the core for other cores, or to be run for them.
    pub outbox_requests_bytes: Figure,
    /// Bytes of replies that wait in the core to be delivered here or elsewhere.
    pub outbox_replies_bytes: Figure,
    /// Error replies sent to clients, by code.
    pub error_replies: ErrorCounts,
    /// Commands taken per second lately.
    pub commands_per_s: Figure,
    /// Bytes received per second lately.
    pub bytes_in_per_s: Figure,
    /// Bytes sent per second lately.
    pub bytes_out_per_s: Figure,
    /// The core's thread as the kernel numbers it; 0 until it has said.
    pub thread_id: Figure,
    /// Per command, by its id in the table.
    pub by_command: Box<[CommandStats]>,
}

impl CoreStats {
    /// Counters for a table of `command_count` commands.
    pub fn new(command_count: usize) -> CoreStats {
        CoreStats {
            commands: Counter::default(),
            connections: Counter::default(),
            rejected_connections: Counter::default(),
            clients: Figure::default(),
            bytes_in: Counter::default(),
            bytes_out: Counter::default(),
            receives: Counter::default(),
            sends: Counter::default(),
            forwarded: Counter::default(),
            turns: Counter::default(),
            enters: Counter::default(),
            parks: Counter::default(),
            stalls: Counter::default(),
            stall_us_max: Figure::default(),
            timer_late_us_max: Figure::default(),
            output_limit_closed: Counter::default(),
            evicted_clients: Counter::default(),
            largest_client_bytes: Figure::default(),
            output_bytes: Figure::default(),
            input_bytes: Figure::default(),
            held_bytes: Figure::default(),
            outbox_requests_bytes: Figure::default(),
            outbox_replies_bytes: Figure::default(),
            error_replies: ErrorCounts::default(),
            commands_per_s: Figure::default(),
            bytes_in_per_s: Figure::default(),
            bytes_out_per_s: Figure::default(),
            thread_id: Figure::default(),
            by_command: (0..command_count).map(|_| CommandStats::default()).collect(),
        }
    }
}

impl CoreStats {
    /// Bytes of this core's clients, received or to be sent.
    pub fn client_bytes(&self) -> u64 {
        self.input_bytes.get() + self.output_bytes.get() + self.held_bytes.get()
    }

    /// Counts a reply on its way to a client if it is an error.
    #[inline]
    pub fn note_reply(&self, reply: &[u8]) {
        if reply.first() == Some(&b'-') {
            self.error_replies.count(reply);
        }
    }

    /// Begins every count anew (`CONFIG RESETSTAT`); states stay. Any core may call this.
    pub fn reset(&self) {
        let counters = [
            &self.commands,
            &self.connections,
            &self.rejected_connections,
            &self.bytes_in,
            &self.bytes_out,
            &self.receives,
            &self.sends,
            &self.forwarded,
            &self.turns,
            &self.enters,
            &self.parks,
            &self.stalls,
            &self.output_limit_closed,
            &self.evicted_clients,
        ];
        counters.into_iter().for_each(Counter::reset);
        self.stall_us_max.set(0);
        self.timer_late_us_max.set(0);
        self.error_replies.reset();
        for command in &self.by_command {
            command.calls.reset();
            command.rejected.reset();
            command.failed.reset();
            command.time.reset();
        }
    }
}

/// What the core of a shard tells the others to send for it.
#[derive(Debug, Default)]
pub struct Told(AtomicU8);

impl Told {
    /// Tells the others.
    pub fn set(&self, takes: Takes) {
        self.0.store(takes as u8, Ordering::Relaxed);
    }

    /// What was told last.
    pub fn get(&self) -> Takes {
        match self.0.load(Ordering::Relaxed) {
            told if told == Takes::All as u8 => Takes::All,
            told if told == Takes::Reads as u8 => Takes::Reads,
            _ => Takes::Nothing,
        }
    }
}

/// How far a shard's group has come in its life.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[repr(u8)]
pub enum GroupState {
    /// Its log and rows are being opened.
    Opening,
    /// It executes what the log has beyond the rows on disk, and has no leader yet.
    Recovering,
    /// It takes requests.
    Leader,
    /// What it has in memory goes to disk before it ends.
    Closing,
}

impl GroupState {
    /// The state's name in `INFO`.
    pub fn name(self) -> &'static str {
        match self {
            GroupState::Opening => "opening",
            GroupState::Recovering => "recovering",
            GroupState::Leader => "leader",
            GroupState::Closing => "closing",
        }
    }
}

/// A group's state, as its core told it last.
#[derive(Debug, Default)]
pub struct ToldState(AtomicU8);

impl ToldState {
    /// Tells the others.
    pub fn set(&self, state: GroupState) {
        self.0.store(state as u8, Ordering::Relaxed);
    }

    /// The state that was told last.
    pub fn get(&self) -> GroupState {
        match self.0.load(Ordering::Relaxed) {
            told if told == GroupState::Opening as u8 => GroupState::Opening,
            told if told == GroupState::Recovering as u8 => GroupState::Recovering,
            told if told == GroupState::Leader as u8 => GroupState::Leader,
            _ => GroupState::Closing,
        }
    }
}

/// One shard's figures, as its core last published them.
#[derive(Debug, Default)]
#[repr(align(128))]
pub struct ShardStats {
    /// How far its group has come.
    pub state: ToldState,
    /// Keys, by database.
    pub keys: [Figure; basalt_storage::DATABASE_COUNT],
    /// Keys with a deadline, by database.
    pub deadlines: [Figure; basalt_storage::DATABASE_COUNT],
    /// The mean of those keys' deadlines, Unix milliseconds, by database; of no meaning where there are none.
    pub deadline_means_ms: [Figure; basalt_storage::DATABASE_COUNT],
    /// Raft term.
    pub term: Figure,
    /// Whether this replica leads, 0 or 1.
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
    /// Bytes of requests that wait in the shard: for their batch, for its outcome, for rows.
    pub request_bytes: Figure,
    /// Bytes of replies that were made and not taken.
    pub reply_bytes: Figure,
    /// Writes of batches that were held back because the disk does not keep up.
    pub writes_delayed: Counter,
    /// How long those batches were held back, in microseconds.
    pub write_delay_us: Counter,
    /// Times that nothing could be proposed, for want of memory or of room in the log.
    pub write_stops: Counter,
    /// How long a batch is held back now, in microseconds; 0 if none is.
    pub slow_down_us: Figure,
    /// Bytes of batches per second that are let through now; 0 for as many as come.
    pub slow_down_bytes_per_s: Figure,
    /// Keys deleted because their deadline passed.
    pub expired_keys: Counter,
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
    /// Whether writes are refused because the disk is full, 0 or 1.
    pub disk_is_full: Figure,
    /// What its core wants sent by others.
    pub takes: Told,
    /// Commands that changed rows which are in the log and in memory, but in no generation on disk yet.
    pub unsaved_changes: Figure,
    /// Generations written to disk.
    pub saves: Figure,
    /// Unix seconds of the last generation written to disk.
    pub last_save_unix_s: Figure,
    /// How far the clock is behind the time that the rows show, which does not go back, in milliseconds.
    pub clock_behind_ms: Figure,
    /// Entries of the log that were applied at the start, beyond the rows on disk.
    pub replayed: Figure,
}

impl ShardStats {
    /// Begins every count anew (`CONFIG RESETSTAT`); states stay. Any core may call this.
    pub fn reset(&self) {
        let counters = [
            &self.batches,
            &self.writes,
            &self.writes_delayed,
            &self.write_delay_us,
            &self.write_stops,
            &self.expired_keys,
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
    use std::time::Duration;

    #[test]
    fn a_counter_begins_anew_without_losing_what_comes_after() {
        let counter = Counter::default();
        counter.add(3);
        counter.reset();
        counter.add(2);
        assert_eq!((counter.get(), counter.since_start()), (2, 5));
        counter.set(9);
        assert_eq!(counter.get(), 6);
    }

    #[test]
    fn the_time_of_many_runs_is_known_from_few() {
        let (time, mut timed) = (RunTime::default(), 0u64);
        for run in 0..1_000_000u64 {
            if time.start().is_some() {
                // Every fourth run takes long.
                time.take(if run % 4 == 0 { 9_000 } else { 1_000 });
                timed += 1;
            }
        }
        let us = time.ns() / 1000;
        assert!((2_800_000..=3_200_000).contains(&us), "{us} us instead of 3 s, from {timed} runs");
        assert!((10_000..=20_000).contains(&timed), "{timed} of a million runs were timed");
    }

    #[test]
    fn the_time_of_few_runs_is_exact() {
        let time = RunTime::default();
        for _ in 0..RUNS_TIMED_AT_FIRST {
            assert!(time.start().is_some());
            time.take(3_000);
        }
        assert_eq!(time.ns(), 3_000 * RUNS_TIMED_AT_FIRST);

        (0..1_000).for_each(|_| time.start().into_iter().for_each(|_| time.take(3_000)));
        time.reset();
        assert_eq!(time.ns(), 0);
        assert!(time.start().is_some(), "after a reset they are few again");
        time.take(3_000);
        assert_eq!(time.ns(), 3_000);
    }

    #[test]
    fn errors_are_counted_by_their_first_word() {
        let errors = ErrorCounts::default();
        for reply in [&b"-ERR no\r\n"[..], b"ERR no", b"-WRONGTYPE x", b"-NOSUCHCODE x", b""] {
            errors.count(reply);
        }
        let counted: Vec<_> = errors.by_code().filter(|(_, count)| *count > 0).collect();
        assert_eq!(counted, [("ERR", 2), ("WRONGTYPE", 1), ("OTHER", 2)]);
        assert_eq!(errors.total(), 5);
    }

    #[test]
    fn a_rate_follows_its_count() {
        let (start, mut meter) = (Instant::now(), RateMeter::default());
        let tick = |tenths: u64| start + Duration::from_millis(100 * tenths);
        let rates: Vec<u64> = (0..100).map(|tenths| meter.feed(tick(tenths), tenths * 50)).collect();
        assert_eq!(rates[0], 0);
        assert!((490..=500).contains(&rates[99]), "{}", rates[99]);
        let idle = (100..200).map(|tenths| meter.feed(tick(tenths), 5000)).last();
        assert_eq!(idle, Some(0));
    }
}
