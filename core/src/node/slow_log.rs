//! The slow log: commands that took long, each with who has sent it.
//!
//! A command is executed by the core of its shard, and its client is known to the core of its connection: so it arrives at that
//! one, which adds the client's address and name. It does so before its next turn, and so before the client can do anything else.
//!
//! What a newcomer would get wrong: the locks are those of a core's own list. A command that takes long takes one, and so does who
//! reads the log; nothing else does.

use std::collections::VecDeque;
use std::sync::atomic::{AtomicBool, AtomicU64, AtomicUsize, Ordering};
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use crate::commands::{Args, Command, REDACTED};
use crate::ids::{CoreId, Origin};
use crate::limits;

/// The client of a command, as the log shows it.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct SlowClient {
    /// Its address and port.
    pub address: String,
    /// Its name.
    pub name: Box<[u8]>,
}

/// A command that took long.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SlowEntry {
    /// Its number; they ascend over the node.
    pub id: u64,
    /// The moment at which it had been executed, in Unix seconds.
    pub at_s: u64,
    /// The time that took, in microseconds.
    pub took_us: u64,
    /// Its arguments, as far as they are kept.
    pub args: Box<[Box<[u8]>]>,
    /// The client that has sent it.
    pub client: SlowClient,
}

/// A command that took long and whose client is not known yet but for its number on its core.
#[derive(Debug)]
pub struct SlowRun {
    /// The connection's number on its core.
    pub client: u32,
    entry: SlowEntry,
}

/// The log.
#[derive(Debug)]
pub struct SlowLog {
    next_id: AtomicU64,
    /// Entries that are kept.
    most: AtomicUsize,
    /// Nanoseconds from which on a command is slow.
    least_ns: AtomicU64,
    cores: Box<[OfCore]>,
}

#[derive(Debug, Default)]
struct OfCore {
    has_arrived: AtomicBool,
    arrived: Mutex<VecDeque<SlowRun>>,
    entries: Mutex<Entries>,
}

#[derive(Debug, Default)]
struct Entries {
    /// The oldest first.
    entries: VecDeque<SlowEntry>,
    bytes: usize,
}

impl SlowEntry {
    fn bytes(&self) -> usize {
        let args: usize = self.args.iter().map(|arg| arg.len() + size_of::<Box<[u8]>>()).sum();
        size_of::<SlowEntry>() + args + self.client.address.len() + self.client.name.len()
    }
}

impl Entries {
    fn push(&mut self, entry: SlowEntry, most: usize) {
        self.bytes += entry.bytes();
        self.entries.push_back(entry);
        self.forget_beyond(most);
    }

    fn forget_beyond(&mut self, most: usize) {
        while self.entries.len() > most || self.bytes > limits::SLOW_LOG_BYTES_MAX {
            let Some(oldest) = self.entries.pop_front() else { return };
            self.bytes -= oldest.bytes();
        }
    }
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

impl SlowLog {
    /// The log of a node with so many cores.
    pub fn new(core_count: usize) -> SlowLog {
        let cores = (0..core_count).map(|_| OfCore::default()).collect();
        SlowLog { next_id: AtomicU64::new(0), most: AtomicUsize::new(0), least_ns: AtomicU64::new(u64::MAX), cores }
    }

    /// Keeps so many entries of each core, of which so many are told.
    pub fn set_most(&self, most: usize) {
        if self.most.swap(most, Ordering::Relaxed) > most {
            self.cores.iter().for_each(|of_core| lock(&of_core.entries).forget_beyond(most));
        }
    }

    /// Takes commands that take so long; none without.
    pub fn set_least(&self, least: Option<Duration>) {
        self.least_ns.store(least.map_or(u64::MAX, |least| least.as_nanos() as u64), Ordering::Relaxed);
    }

    /// Returns whether it takes a command that has taken so many nanoseconds.
    pub fn takes(&self, ns: u64) -> bool {
        let least_ns = self.least_ns.load(Ordering::Relaxed);
        least_ns != u64::MAX && ns >= least_ns
    }

    fn most(&self) -> usize {
        self.most.load(Ordering::Relaxed)
    }

    /// Takes a call of `command` that took long, for a client of any core. Any core may call this.
    #[cold]
    pub fn arrive(&self, client: Origin, (at_s, took_us): (u64, u64), command: &Command, args: Args<'_>) {
        let Some(of_core) = self.cores.get(client.core.index()) else { return };
        let args = kept_args(command, args);
        let entry = SlowEntry { id: 0, at_s, took_us, args, client: SlowClient::default() };
        let mut arrived = lock(&of_core.arrived);
        arrived.push_back(SlowRun { client: client.client, entry });
        while arrived.len() > self.most().min(limits::SLOW_RUNS_ARRIVED_MAX) {
            arrived.pop_front();
        }
        of_core.has_arrived.store(true, Ordering::Release);
    }

    /// Returns whether something has arrived for a core, which then takes it.
    #[inline]
    pub fn has_arrived(&self, core: CoreId) -> bool {
        self.cores[core.index()].has_arrived.load(Ordering::Acquire)
    }

    /// Puts what has arrived for a core into the log; `client_of` tells of a connection by its number. Only the core may call this.
    pub fn take_in(&self, core: CoreId, client_of: impl Fn(u32) -> SlowClient) {
        let of_core = &self.cores[core.index()];
        of_core.has_arrived.store(false, Ordering::Release);
        let arrived = std::mem::take(&mut *lock(&of_core.arrived));
        for SlowRun { client, mut entry } in arrived {
            entry.client = client_of(client);
            entry.id = self.next_id.fetch_add(1, Ordering::Relaxed);
            lock(&of_core.entries).push(entry, self.most());
        }
    }

    /// The newest entries, the newest first; all of those that are kept at most.
    pub fn newest(&self, count: usize) -> Vec<SlowEntry> {
        let count = count.min(self.most());
        let mut entries: Vec<SlowEntry> = Vec::new();
        for of_core in &self.cores {
            entries.extend(lock(&of_core.entries).entries.iter().rev().take(count).cloned());
        }
        entries.sort_unstable_by_key(|entry| std::cmp::Reverse(entry.id));
        entries.truncate(count);
        entries
    }

    /// The number of entries.
    pub fn count(&self) -> usize {
        let entries: usize = self.cores.iter().map(|of_core| lock(&of_core.entries).entries.len()).sum();
        entries.min(self.most())
    }

    /// Forgets all.
    pub fn clear(&self) {
        for of_core in &self.cores {
            *lock(&of_core.arrived) = VecDeque::new();
            *lock(&of_core.entries) = Entries::default();
        }
    }
}

/// The arguments of a call as the log keeps them, shortened as Redis does: 32 of them with 128 bytes each, and how many there were
/// more. Secrets are not among them.
fn kept_args(command: &Command, args: Args<'_>) -> Box<[Box<[u8]>]> {
    let whole = if args.len() > limits::SLOW_LOG_ARGS_MAX { limits::SLOW_LOG_ARGS_MAX - 1 } else { args.len() };
    let mut kept: Vec<Box<[u8]>> = Vec::with_capacity(whole + 1);
    for (position, arg) in args[..whole].iter().enumerate() {
        let arg: &[u8] = if command.is_secret(args, position) { REDACTED } else { arg };
        match arg.split_at_checked(limits::SLOW_LOG_ARG_BYTES_MAX) {
            Some((shown, rest)) if !rest.is_empty() => {
                let mut text = shown.to_vec();
                text.extend_from_slice(format!("... ({} more bytes)", rest.len()).as_bytes());
                kept.push(text.into());
            }
            _ => kept.push(arg.into()),
        }
    }
    if whole < args.len() {
        kept.push(format!("... ({} more arguments)", args.len() - whole).into_bytes().into());
    }
    kept.into()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::commands::table;
    use crate::ids::Ticket;

    fn arrive(log: &SlowLog, core: u16, args: Args<'_>) {
        let client = Origin { core: CoreId(core), client: 9, ticket: Ticket(0) };
        log.arrive(client, (1, 2), table::find(args).unwrap(), args);
        assert!(log.has_arrived(CoreId(core)));
        let of = |number: u32| SlowClient { address: format!("client {number}"), name: b"n".as_slice().into() };
        log.take_in(CoreId(core), of);
        assert!(!log.has_arrived(CoreId(core)));
    }

    #[test]
    fn entries_of_all_cores_are_told_the_newest_first_and_are_bounded() {
        let log = SlowLog::new(2);
        log.set_most(3);
        for round in 0..4 {
            arrive(&log, round % 2, &[b"get", b"k"]);
        }
        let ids = |count| log.newest(count).iter().map(|entry| entry.id).collect::<Vec<_>>();
        assert_eq!((ids(9), ids(2), log.count()), (vec![3, 2, 1], vec![3, 2], 3));
        assert_eq!(log.newest(1)[0].client.address, "client 9");
        log.set_most(1);
        assert_eq!((ids(9), log.count()), (vec![3], 1));
        log.set_most(9);
        assert_eq!(ids(9), [3, 2], "what was told no more is forgotten: of each core one is left");
        log.clear();
        assert_eq!(log.count(), 0);
        arrive(&log, 0, &[b"get", b"k"]);
        assert_eq!(ids(9), [4], "ids go on");
        log.set_most(0);
        arrive_nothing(&log);
    }

    fn arrive_nothing(log: &SlowLog) {
        arrive(log, 1, &[b"get", b"k"]);
        assert_eq!(log.count(), 0);
    }

    #[test]
    fn what_is_kept_is_bounded_in_bytes() {
        let log = SlowLog::new(1);
        log.set_most(usize::MAX);
        let value = vec![b'x'; 1000];
        let mut args: Vec<&[u8]> = vec![b"rpush", b"k"];
        args.extend(std::iter::repeat_n(value.as_slice(), 100));
        (0..5000).for_each(|_| arrive(&log, 0, &args));
        let bytes: usize = log.newest(usize::MAX).iter().map(SlowEntry::bytes).sum();
        assert!(bytes <= limits::SLOW_LOG_BYTES_MAX && bytes > limits::SLOW_LOG_BYTES_MAX / 2, "{bytes}");
    }

    #[test]
    fn arguments_are_shortened_as_in_redis_and_secrets_are_not_kept() {
        let kept = |line: &[&[u8]]| {
            let kept = kept_args(table::find(line).unwrap(), line);
            kept.iter().map(|arg| String::from_utf8_lossy(arg).into_owned()).collect::<Vec<_>>()
        };
        let many: Vec<&[u8]> =
            std::iter::once(b"mget".as_slice()).chain(std::iter::repeat_n(b"k".as_slice(), 40)).collect();
        let shown = kept(&many);
        assert_eq!((shown.len(), shown[31].as_str()), (32, "... (10 more arguments)"));
        assert_eq!(kept(&many[..32]).len(), 32);
        let long = vec![b'v'; 200];
        assert_eq!(kept(&[b"set", b"k", &long])[2], format!("{}... (72 more bytes)", "v".repeat(128)));
        assert_eq!(kept(&[b"set", b"k", &long[..128]])[2], "v".repeat(128));
        assert_eq!(kept(&[b"AUTH", b"secret"]), ["AUTH", "(redacted)"]);
    }
}
