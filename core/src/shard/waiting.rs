//! Requests that wait: for rows a reader thread fetches, and reads behind writes that are not applied yet.

use std::collections::VecDeque;

use basalt_storage::{ColdRead, Error as StorageError, Warmed};

use super::execution::{Failure, TOO_MUCH_TO_KEEP};
use super::open_batch::Operation;
use super::parked::{Parked, ParkedRequest};
use super::progress::Progress;
use super::{HOUSEKEEPING, Shard, ShardHost};
use crate::commands::{CommandError, table};
use crate::entry::batch;
use crate::entry::request::{self, ArgList, Mode};
use crate::ids::{CoreId, Origin};
use crate::limits;

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
        let expected_bytes = self.weigh(&self.open.bytes[at], now_ms);
        self.joined(Some(origin), expected_bytes);
        Ok(())
    }

    /// Parks a request of `origin` until `cold` is in memory, and everything that follows from the same connection.
    pub fn park(&mut self, origin: Origin, mode: Mode, bytes: &[u8], mut cold: ColdRead, host: &mut impl ShardHost) {
        self.server.shards[self.id.index()].cold_reads.add(1);
        let mut progress = Progress::new();
        progress.meets(&mut cold);
        let request = ParkedRequest { origin, mode, bytes: bytes.to_vec(), progress };
        let wants_view = self.wants_view(&request, &cold);
        if wants_view && mode == Mode::ReadInOrder && self.has_unapplied() {
            return self.read_in_order(origin, bytes);
        }
        let client = (origin.core, origin.client);
        let parked = Parked { requests: VecDeque::from([request]), ..Parked::default() };
        let previous = self.parked.insert(client, parked);
        assert!(previous.is_none(), "a request behind a parked one queues up, it is not parked again");
        self.parked_waiting.add(bytes.len());
        if wants_view {
            return self.start_view(client);
        }
        host.warm(self.id, client, cold, false);
    }

    /// Takes rows that a reader thread has fetched, and runs what waited for them.
    pub fn warmed(&mut self, client: (CoreId, u32), mut rows: Warmed, now_ms: u64, host: &mut impl ShardHost) {
        let kept = rows.take_kept();
        self.machine.borrow().store.take_warmed(&rows);
        if client == HOUSEKEEPING {
            self.expiry_is_warming = false;
            self.expiry_goes_on = true;
            return;
        }
        let Some(mut parked) = self.parked.remove(&client) else { return };
        let fetches_for = std::mem::take(&mut parked.fetches_for);
        if let Some(request) = parked.requests.get_mut(fetches_for) {
            request.progress.fetched(kept);
        }
        self.resume(client, parked, now_ms, host);
    }

    /// Runs what `client` has parked, up to a request that has to wait again.
    pub(super) fn resume(&mut self, client: (CoreId, u32), mut parked: Parked, now_ms: u64, host: &mut impl ShardHost) {
        while let Some(mut request) = parked.requests.pop_front() {
            let bytes = request.bytes.len();
            if let Err(mut cold) = self.run_again(&mut request, now_ms, host) {
                request.progress.meets(&mut cold);
                let (keeps, wants_view) = (request.progress.keeps(), self.wants_view(&request, &cold));
                if wants_view && request.mode == Mode::ReadInOrder && self.has_unapplied() {
                    self.read_in_order(request.origin, &request.bytes);
                } else {
                    parked.requests.push_front(request);
                    self.parked.insert(client, parked);
                    match (wants_view, keeps) {
                        (true, _) => self.start_view(client),
                        (false, true) => self.keep(client, cold, host),
                        (false, false) => host.warm(self.id, client, cold, false),
                    }
                    return;
                }
            }
            parked.refused = parked.refused.saturating_sub(1);
            self.parked_waiting.remove(bytes);
            if self.keeper == Some(client) {
                self.keeper = None;
                if let Some((next, cold)) = self.keepers.pop_front() {
                    self.keep(next, cold, host);
                }
            }
        }
    }

    /// Has rows fetched that are kept for a request: for one at a time, since nothing else bounds their memory.
    fn keep(&mut self, client: (CoreId, u32), cold: ColdRead, host: &mut impl ShardHost) {
        if *self.keeper.get_or_insert(client) == client {
            host.warm(self.id, client, cold, true);
        } else {
            self.keepers.push_back((client, cold));
        }
    }

    /// Runs a request that was parked, with the rows that are kept for it.
    fn run_again(
        &mut self,
        request: &mut ParkedRequest,
        now_ms: u64,
        host: &mut impl ShardHost,
    ) -> Result<(), ColdRead> {
        let ParkedRequest { origin, mode, bytes, progress } = request;
        let (is_overtaken, has_failed) = (progress.is_overtaken(), progress.has_failed());
        match mode {
            // The entry meets what was met here, and goes its own way with it.
            Mode::Write if is_overtaken || has_failed => self.write(Some(*origin), |out| out.extend_from_slice(bytes)),
            Mode::ReadInOrder if has_failed && self.has_unapplied() => self.read_in_order(*origin, bytes),
            Mode::Read | Mode::ReadInOrder if has_failed => self.run_at_last(*origin, bytes, now_ms, host),
            Mode::Read | Mode::ReadInOrder if is_overtaken && self.has_unapplied() => {
                self.read_in_order(*origin, bytes);
            }
            mode => {
                progress.lends(&mut self.machine.borrow_mut().store);
                let outcome = self.run(*origin, *mode, bytes, now_ms, host);
                progress.returns(&mut self.machine.borrow_mut().store);
                if outcome.is_ok() || !progress.is_too_large(self.server.kept_bytes_max()) {
                    return outcome;
                }
                match mode {
                    Mode::Write => self.write(Some(*origin), |out| out.extend_from_slice(bytes)),
                    Mode::Read | Mode::ReadInOrder => host.reply(*origin, TOO_MUCH_TO_KEEP),
                }
            }
        }
        Ok(())
    }

    /// Runs a read, or adds a request to the batch.
    pub(super) fn run(
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
                let outcome = self.machine.borrow_mut().reading(now_ms, |execution| execution.run(bytes, out));
                if outcome.is_ok() {
                    host.reply(origin, out);
                }
                if out.capacity() > limits::REPLY_BUFFER_KEPT {
                    *out = Vec::new();
                }
                match outcome {
                    Ok(()) => {}
                    Err(Failure::Cold(read)) => return Err(read),
                    Err(Failure::Storage(_)) => unreachable!("a read's errors are its reply"),
                    Err(Failure::Piecemeal) => unreachable!("what is encoded has it as its reply"),
                    Err(Failure::Undecodable) => unreachable!("a request is decoded as this process encoded it"),
                }
            }
        }
        Ok(())
    }

    /// Runs a read whose rows could not be fetched: it meets the error, and says it.
    fn run_at_last(&mut self, origin: Origin, bytes: &[u8], now_ms: u64, host: &mut impl ShardHost) {
        self.counts_changed = true;
        let mut out = Vec::new();
        let outcome = self.machine.borrow_mut().reading_at_last(now_ms, |execution| execution.run(bytes, &mut out));
        assert!(outcome.is_ok(), "a read that may wait for the disk is never cold, and it was encoded here");
        host.reply(origin, &out);
    }

    /// Whether a write is not applied yet, behind which a read may have to wait.
    pub(super) fn has_unapplied(&self) -> bool {
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
        match machine.reading(now_ms, |execution| execution.look_ahead(command, header, &args)) {
            Err(CommandError::Storage(StorageError::Cold(read))) => Err(read),
            // Who runs the request meets the error, and says it.
            _ => Ok(()),
        }
    }

    /// Puts a read behind the writes that are not applied yet.
    pub(super) fn read_in_order(&mut self, origin: Origin, bytes: &[u8]) {
        let put = |operations: &mut Vec<Operation>, reads: &mut Vec<u8>| {
            let start = reads.len();
            reads.extend_from_slice(bytes);
            operations.push(Operation { origin: Some(origin), read: Some(start..reads.len()), returns_values: true });
        };
        let expected_bytes = self.replies.next_bytes();
        if self.open.write_count > 0 {
            self.open.expected_bytes += expected_bytes;
            return put(&mut self.open.operations, &mut self.open.reads);
        }
        let mut in_flight = self.in_flight.borrow_mut();
        let last = in_flight.back_mut().expect("something is not applied, or the read would run at once");
        put(&mut last.operations, &mut last.reads);
        last.expected_bytes += expected_bytes;
        self.replies.expected_bytes += expected_bytes;
        self.reads_behind.add(bytes.len());
    }
}
