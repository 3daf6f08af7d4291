//! Requests that wait: for rows a reader thread fetches, and reads behind writes that are not applied yet.

use std::collections::VecDeque;

use basalt_storage::{COLD_SCAN_BYTES, ColdRead, Direction, Error as StorageError};

use super::execution::Failure;
use super::open_batch::Operation;
use super::{HOUSEKEEPING, Origin, Shard, ShardHost};
use crate::batch;
use crate::commands::{CommandError, table};
use crate::ids::CoreId;
use crate::limits;
use crate::mailbox::Mode;
use crate::request::{self, ArgList};

/// A request that waits for a reader thread, and what came behind it from the same connection.
pub(super) struct Parked {
    pub(super) requests: VecDeque<ParkedRequest>,
}

/// How much waits in a shard beside its open batch.
#[derive(Debug, Default, Clone, Copy, PartialEq, Eq)]
pub(super) struct Waiting {
    pub(super) count: usize,
    pub(super) bytes: usize,
}

impl Waiting {
    pub(super) fn add(&mut self, bytes: usize) {
        self.count += 1;
        self.bytes += bytes;
    }

    pub(super) fn remove(&mut self, bytes: usize) {
        self.count -= 1;
        self.bytes -= bytes;
    }

    pub(super) fn is_full(&self) -> bool {
        self.count >= limits::WAITING_REQUESTS_MAX || self.bytes >= limits::WAITING_BYTES_MAX
    }
}

/// A request that waits for rows, or behind one of its connection that does.
pub(super) struct ParkedRequest {
    pub(super) origin: Origin,
    pub(super) mode: Mode,
    pub(super) bytes: Vec<u8>,
    pub(super) progress: Progress,
}

/// How far a request has come that is run again each time a reader thread has fetched something for it.
#[derive(Debug)]
pub(super) struct Progress {
    /// How often it has met the disk.
    rounds: u32,
    /// How often without having come farther.
    attempts: u32,
    /// The single rows that it met last.
    rows: Vec<Box<[u8]>>,
    /// How far its scans have come, forward and backward.
    scanned: [Option<Box<[u8]>>; 2],
    scan_bytes: usize,
}

impl Progress {
    fn new() -> Progress {
        let (rows, scanned) = (Vec::new(), [None, None]);
        Progress { rounds: 0, attempts: 0, rows, scanned, scan_bytes: COLD_SCAN_BYTES }
    }

    /// Whether it should wait for the disk: rows may be evicted faster than they are read.
    fn is_patient(&self) -> bool {
        self.attempts >= limits::COLD_READ_ATTEMPTS
    }

    /// Takes note of what the request has met, and says how much of it to fetch.
    fn meets(&mut self, cold: &mut ColdRead) {
        self.rounds += 1;
        let is_farther = match cold {
            ColdRead::Key(row) => self.meets_rows(std::slice::from_ref(row)),
            ColdRead::Keys(rows) | ColdRead::Places(rows) => self.meets_rows(rows),
            ColdRead::Scan { from, direction, bytes } => {
                let last = &mut self.scanned[usize::from(*direction == Direction::Backward)];
                let is_first = last.is_none();
                let is_farther = last.as_ref().is_none_or(|last| match direction {
                    Direction::Forward => *from > *last,
                    Direction::Backward => *from < *last,
                });
                if is_farther {
                    *last = Some(from.clone());
                }
                if is_farther && !is_first {
                    self.scan_bytes = (2 * self.scan_bytes).min(limits::COLD_SCAN_BYTES_MAX);
                }
                *bytes = self.scan_bytes;
                is_farther
            }
        };
        if !is_farther || self.rounds > limits::COLD_READ_ROUNDS_MAX {
            self.attempts += 1;
        }
    }

    /// Whether the first of `rows` is none of those before: one that is was evicted.
    fn meets_rows(&mut self, rows: &[Box<[u8]>]) -> bool {
        let is_farther = rows.first().is_none_or(|first| !self.rows.contains(first));
        self.rows = rows.to_vec();
        is_farther
    }
}

impl Shard {
    /// Whether a request of `client` waits for rows, so that a new one must queue up behind it.
    pub fn has_parked(&self, core: CoreId, client: u32) -> bool {
        !self.parked.is_empty() && self.parked.contains_key(&(core, client))
    }

    /// Takes an encoded request in its turn.
    pub fn submit(&mut self, origin: Origin, mode: Mode, bytes: &[u8], now_ms: u64, host: &mut impl ShardHost) {
        if !self.parked.is_empty()
            && let Some(parked) = self.parked.get_mut(&(origin.core, origin.client))
        {
            parked.requests.push_back(ParkedRequest { origin, mode, bytes: bytes.to_vec(), progress: Progress::new() });
            self.parked_waiting.add(bytes.len());
            return;
        }
        if let Err(cold) = self.run(origin, mode, bytes, now_ms, host) {
            self.park(origin, mode, bytes, cold, host);
        }
    }

    /// Takes a write of a client that has nothing parked; `encode` writes its bytes.
    pub fn take_write(
        &mut self,
        origin: Origin,
        encode: impl FnOnce(&mut Vec<u8>),
        now_ms: u64,
        host: &mut impl ShardHost,
    ) {
        if let Err((cold, bytes)) = self.join(origin, encode, now_ms) {
            self.park(origin, Mode::Write, &bytes, cold, host);
        }
    }

    /// Adds a write to the batch, or says which of the rows it needs are not in memory, and gives its bytes back.
    fn join(
        &mut self,
        origin: Origin,
        encode: impl FnOnce(&mut Vec<u8>),
        now_ms: u64,
    ) -> Result<(), (ColdRead, Vec<u8>)> {
        let at = batch::push(&mut self.open.bytes, encode);
        if let Err(cold) = self.probe(&self.open.bytes[at.clone()], now_ms) {
            return Err((cold, batch::pop(&mut self.open.bytes, at)));
        }
        self.joined(Some(origin));
        Ok(())
    }

    /// Parks a request of `origin` until `cold` is in memory, and everything that follows from the same connection.
    pub fn park(&mut self, origin: Origin, mode: Mode, bytes: &[u8], mut cold: ColdRead, host: &mut impl ShardHost) {
        self.server.shards[self.id.index()].cold_reads.add(1);
        let mut progress = Progress::new();
        progress.meets(&mut cold);
        let request = ParkedRequest { origin, mode, bytes: bytes.to_vec(), progress };
        let client = (origin.core, origin.client);
        let previous = self.parked.insert(client, Parked { requests: VecDeque::from([request]) });
        assert!(previous.is_none(), "a request behind a parked one queues up, it is not parked again");
        self.parked_waiting.add(bytes.len());
        host.warm(self.id, client, cold);
    }

    /// Runs what waited for rows that a reader thread has fetched.
    pub fn warmed(&mut self, client: (CoreId, u32), now_ms: u64, host: &mut impl ShardHost) {
        if client == HOUSEKEEPING {
            self.expiry_is_warming = false;
            self.expiry_goes_on = true;
            return;
        }
        let Some(mut parked) = self.parked.remove(&client) else { return };
        while let Some(mut request) = parked.requests.pop_front() {
            let bytes = request.bytes.len();
            let patient = request.progress.is_patient();
            let outcome = match request.mode {
                Mode::Write if patient => {
                    self.write(Some(request.origin), |out| out.extend_from_slice(&request.bytes));
                    Ok(())
                }
                Mode::ReadInOrder if patient && self.has_unapplied() => {
                    self.read_in_order(request.origin, &request.bytes);
                    Ok(())
                }
                Mode::Read | Mode::ReadInOrder if patient => {
                    self.run_patiently(request.origin, &request.bytes, now_ms, host);
                    Ok(())
                }
                mode => self.run(request.origin, mode, &request.bytes, now_ms, host),
            };
            if let Err(mut cold) = outcome {
                request.progress.meets(&mut cold);
                parked.requests.push_front(request);
                self.parked.insert(client, parked);
                host.warm(self.id, client, cold);
                return;
            }
            self.parked_waiting.remove(bytes);
        }
    }

    /// Runs a read, or adds a request to the batch.
    fn run(
        &mut self,
        origin: Origin,
        mode: Mode,
        bytes: &[u8],
        now_ms: u64,
        host: &mut impl ShardHost,
    ) -> Result<(), ColdRead> {
        match mode {
            Mode::Write => {
                self.join(origin, |out| out.extend_from_slice(bytes), now_ms).map_err(|(cold, _)| cold)?;
            }
            Mode::ReadInOrder if self.has_unapplied() => {
                self.probe(bytes, now_ms)?;
                self.read_in_order(origin, bytes);
            }
            Mode::Read | Mode::ReadInOrder => {
                self.counts_changed = true;
                let out = &mut self.reply;
                out.clear();
                let outcome = self.machine.borrow_mut().reading(now_ms, false, |execution| execution.run(bytes, out));
                if outcome.is_ok() {
                    host.reply(origin, out);
                }
                if out.capacity() > limits::REPLY_BUFFER_KEPT {
                    *out = Vec::new();
                }
                match outcome {
                    Ok(()) => {}
                    Err(Failure::Cold(read @ ColdRead::Key(_))) => return Err(self.with_others(read, bytes, now_ms)),
                    Err(Failure::Cold(read)) => return Err(read),
                    Err(Failure::Storage(_)) => unreachable!("a read's errors are its reply"),
                    Err(Failure::Undecodable) => unreachable!("a request is decoded as this process encoded it"),
                }
            }
        }
        Ok(())
    }

    fn run_patiently(&mut self, origin: Origin, bytes: &[u8], now_ms: u64, host: &mut impl ShardHost) {
        self.counts_changed = true;
        let mut out = Vec::new();
        let outcome = self.machine.borrow_mut().reading(now_ms, true, |execution| execution.run(bytes, &mut out));
        assert!(outcome.is_ok(), "a read that may wait for the disk is never cold, and it was encoded here");
        host.reply(origin, &out);
    }

    /// Whether a write is not applied yet, behind which a read may have to wait.
    fn has_unapplied(&self) -> bool {
        self.open.write_count > 0 || self.in_flight.borrow().back().is_some_and(|last| !last.applied)
    }

    /// Looks whether the rows that a request needs are in memory, so that applying it does not wait for the disk.
    fn probe(&self, bytes: &[u8], now_ms: u64) -> Result<(), ColdRead> {
        let mut machine = self.machine.borrow_mut();
        if !machine.store.has_rows_on_disk() {
            return Ok(());
        }
        let mut args = ArgList::new();
        args.push(b"");
        let Some(header) = request::decode(bytes, &mut args) else { return Ok(()) };
        let Some(command) = table::by_id(header.command) else { return Ok(()) };
        match machine.reading(now_ms, false, |execution| execution.look_ahead(command, header, &args)) {
            Err(CommandError::Storage(StorageError::Cold(read))) => Err(read),
            // Who runs the request meets the error, and says it.
            _ => Ok(()),
        }
    }

    /// What a read has met, and its other rows that are cold as well, if it names several.
    fn with_others(&self, met: ColdRead, bytes: &[u8], now_ms: u64) -> ColdRead {
        let mut args = ArgList::new();
        match request::decode(bytes, &mut args) {
            Some(_) if args.len() > 1 => self.probe(bytes, now_ms).err().unwrap_or(met),
            _ => met,
        }
    }

    /// Puts a read behind the writes that are not applied yet.
    fn read_in_order(&mut self, origin: Origin, bytes: &[u8]) {
        let put = |operations: &mut Vec<Operation>, reads: &mut Vec<u8>| {
            let start = reads.len();
            reads.extend_from_slice(bytes);
            operations.push(Operation { origin: Some(origin), read: Some(start..reads.len()) });
        };
        if self.open.write_count > 0 {
            return put(&mut self.open.operations, &mut self.open.reads);
        }
        let mut in_flight = self.in_flight.borrow_mut();
        let last = in_flight.back_mut().expect("something is not applied, or the read would run at once");
        put(&mut last.operations, &mut last.reads);
        self.reads_behind.add(bytes.len());
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn attempts(met: impl IntoIterator<Item = ColdRead>) -> u32 {
        let mut progress = Progress::new();
        met.into_iter().for_each(|mut cold| progress.meets(&mut cold));
        progress.attempts
    }

    fn key(number: u32) -> Box<[u8]> {
        Box::from(number.to_be_bytes())
    }

    fn scan(number: u32, direction: Direction) -> ColdRead {
        ColdRead::Scan { from: key(number), direction, bytes: 0 }
    }

    #[test]
    fn coming_farther_is_no_attempt() {
        assert_eq!(attempts((0..100).map(|number| ColdRead::Key(key(number)))), 0);
        assert_eq!(attempts((0..100).map(|number| scan(number, Direction::Forward))), 0);
        assert_eq!(attempts((0..100).rev().map(|number| scan(number, Direction::Backward))), 0);
        assert_eq!(attempts((0..9).map(|number| ColdRead::Keys(vec![key(number), key(number + 10)]))), 0);
    }

    #[test]
    fn what_was_fetched_and_is_cold_again_is_an_attempt() {
        assert_eq!(attempts([ColdRead::Key(key(1)), ColdRead::Key(key(1))]), 1);
        assert_eq!(attempts([ColdRead::Keys(vec![key(1), key(2)]), ColdRead::Keys(vec![key(2), key(3)])]), 1);
        assert_eq!(attempts([5, 6, 4, 6].map(|number| scan(number, Direction::Forward))), 2);
        let turns = [(5, Direction::Forward), (5, Direction::Backward), (5, Direction::Forward)];
        assert_eq!(attempts(turns.map(|(number, direction)| scan(number, direction))), 1);
    }

    #[test]
    fn rounds_are_bounded() {
        let turns = (0..2 * limits::COLD_READ_ROUNDS_MAX).map(|number| ColdRead::Key(key(number % 2)));
        assert!(attempts(turns) > limits::COLD_READ_ATTEMPTS);
    }
}
