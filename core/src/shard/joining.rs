//! Requests that come to a shard: writes join the batch, reads run at once or stand behind writes that are not applied yet.

use std::ops::Range;

use basalt_storage::{ColdRead, Error as StorageError};

use super::cold::{ColdProgress, NamesLooked, ParkedRequest};
use super::execution::Failure;
use super::open_batch::{Operation, PendingBatch};
use super::script_work::work_of;
use super::{Shard, ShardHost};
use crate::commands::CommandError;
use crate::entry::batch;
use crate::entry::request::Mode;
use crate::ids::Origin;
use crate::limits;

impl Shard {
    /// Takes an encoded request, for now or for when it may be run.
    pub fn submit(&mut self, origin: Origin, mode: Mode, bytes: &[u8], now_ms: u64, host: &mut impl ShardHost) {
        if self.has_failed() {
            return self.refuse_failed(origin, host);
        }
        // What this replica cannot answer by itself goes the way of all reads, and is sent to the one that leads.
        let is_local = mode == Mode::Local && self.may_read_locally();
        let mode = if mode == Mode::Local { Mode::Read } else { mode };
        if (!is_local && self.needs_barrier(mode)) || self.reading.holds((origin.core, origin.client)) {
            return self.wait_for_barrier(origin, mode, bytes, now_ms);
        }
        self.run_in_turn(origin, mode, bytes, now_ms, host);
    }

    /// Runs a request, or puts it behind what its connection has parked.
    pub(super) fn run_in_turn(
        &mut self,
        origin: Origin,
        mode: Mode,
        bytes: &[u8],
        now_ms: u64,
        host: &mut impl ShardHost,
    ) {
        if !self.parking.parked.is_empty() && self.parking.parked.contains_key(&(origin.core, origin.client)) {
            let (bytes, progress) = (bytes.to_vec(), ColdProgress::new());
            return self
                .park_behind_own(ParkedRequest { origin, mode, bytes, progress, turn: None, since: None }, host);
        }
        if let Some(want) = self.why_barred(origin, bytes) {
            return self.park_behind_hold(origin, (mode, bytes.to_vec()), want, host);
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
        if self.has_failed() {
            return self.refuse_failed(origin, host);
        }
        // Nobody overtakes who waits.
        self.serve_ready(now_ms, host);
        let at = batch::push(&mut self.batches.open.bytes, encode);
        if let Some(want) = self.why_barred(origin, &self.batches.open.bytes[at.clone()]) {
            let bytes = batch::pop(&mut self.batches.open.bytes, at);
            return self.park_behind_hold(origin, (Mode::Write, bytes), want, host);
        }
        if let Err((cold, bytes)) = self.join_pushed(origin, at, now_ms) {
            self.park(origin, Mode::Write, &bytes, cold, host);
        }
    }

    /// Adds a write to the batch, or says which of the rows it needs are not in memory, and gives its bytes back.
    fn join(
        &mut self,
        origin: Origin,
        encode: impl FnOnce(&mut Vec<u8>),
        now_ms: u64,
        host: &mut impl ShardHost,
    ) -> Result<(), (ColdRead, Vec<u8>)> {
        // Nobody overtakes who waits.
        self.serve_ready(now_ms, host);
        let at = batch::push(&mut self.batches.open.bytes, encode);
        self.join_pushed(origin, at, now_ms)
    }

    /// The same for a write whose bytes lie in the open batch.
    fn join_pushed(&mut self, origin: Origin, at: Range<usize>, now_ms: u64) -> Result<(), (ColdRead, Vec<u8>)> {
        if let Err(cold) = self.probe(&self.batches.open.bytes[at.clone()], &mut NamesLooked::default(), now_ms) {
            return Err((cold, batch::pop(&mut self.batches.open.bytes, at)));
        }
        self.take_in(origin, at, now_ms);
        Ok(())
    }

    /// Adds a write to the batch that has been looked at.
    pub(super) fn join_probed(&mut self, origin: Origin, bytes: &[u8], now_ms: u64, host: &mut impl ShardHost) {
        self.serve_ready(now_ms, host);
        let at = batch::push(&mut self.batches.open.bytes, |out| out.extend_from_slice(bytes));
        self.take_in(origin, at, now_ms);
    }

    /// Counts a write that was looked at and that lies in the open batch, or takes it out for an entry of its own.
    pub(super) fn take_in(&mut self, origin: Origin, at: Range<usize>, now_ms: u64) {
        let command_count = self.commands_in(at.clone());
        if !self.takes_own_entry(origin, at.clone(), command_count) {
            self.count_in(origin, at, command_count, now_ms);
        }
    }

    /// Counts a write that lies in the open batch and executes so many commands of transactions.
    pub(super) fn count_in(&mut self, origin: Origin, at: Range<usize>, command_count: usize, now_ms: u64) {
        self.expect_changes(&self.batches.open.bytes[at.clone()]);
        self.batches.open.member_count += command_count;
        self.batches.open.script_work += work_of(&self.batches.open.bytes[at.clone()]);
        self.batches.open.copied_bytes += self.weigh_copies(&self.batches.open.bytes[at.clone()], now_ms);
        let expected_bytes = self.weigh(&self.batches.open.bytes[at.clone()], now_ms);
        self.joined(Some(origin), expected_bytes);
        if !self.waiting.is_empty() {
            self.serve_fed(at);
        }
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
        if self.has_failed() {
            self.refuse_failed(origin, host);
            return Ok(());
        }
        match mode {
            Mode::Write => {
                let encode = |out: &mut Vec<u8>| out.extend_from_slice(bytes);
                self.join(origin, encode, now_ms, host).map_err(|(cold, _)| cold)?;
            }
            Mode::Guarded => self.join_guarded(origin, bytes, true, now_ms, host)?,
            Mode::ReadInOrder if self.has_unapplied() => {
                self.probe(bytes, &mut NamesLooked::default(), now_ms)?;
                self.read_in_order(origin, bytes);
            }
            Mode::Read | Mode::Local | Mode::ReadInOrder => {
                self.counts_changed = true;
                self.machine.borrow().serve(Some(origin));
                let mut out = std::mem::take(&mut self.reply);
                out.clear();
                let outcome = self
                    .machine
                    .borrow_mut()
                    .reading(now_ms, |execution| execution.run(bytes, &mut NamesLooked::default(), &mut out));
                if outcome.is_ok() {
                    self.answer(origin, &out, host);
                }
                if out.capacity() <= limits::REPLY_BUFFER_KEPT {
                    self.reply = out;
                }
                match outcome {
                    Ok(()) => {}
                    Err(Failure::Cold(read)) => return Err(read),
                    Err(Failure::Storage(_)) => unreachable!("a read's errors are its reply"),
                    Err(Failure::Piecemeal | Failure::Elsewhere(_)) => {
                        unreachable!("what is encoded has it as its reply")
                    }
                    Err(Failure::Undecodable) => unreachable!("a request is decoded as this process encoded it"),
                }
            }
        }
        Ok(())
    }

    /// Answers a request that nothing can be read for any more.
    pub(super) fn refuse_failed(&mut self, origin: Origin, host: &mut impl ShardHost) {
        self.forget_waiter(origin);
        host.reply(origin, format!("-{}\r\n", CommandError::SHARD_FAILED).as_bytes());
    }

    /// Returns whether a write is not applied yet, behind which a read may have to wait. Whose write is uncertain waits for nothing
    /// any more.
    pub(super) fn has_unapplied(&self) -> bool {
        let is_awaited = |last: &PendingBatch| !last.applied && last.abandoned.is_none();
        self.batches.open.write_count > 0 || self.batches.in_flight.borrow().back().is_some_and(is_awaited)
    }

    /// Looks whether the rows that a request needs are in memory, so that applying it does not wait for the disk: of those that it
    /// names, from where `names` stands on.
    pub(super) fn probe(&self, bytes: &[u8], names: &mut NamesLooked, now_ms: u64) -> Result<(), ColdRead> {
        let mut machine = self.machine.borrow_mut();
        if !machine.store.has_rows_on_disk() {
            return Ok(());
        }
        match machine.reading(now_ms, |execution| execution.look_ahead(bytes, names)) {
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
        let expected_bytes = self.batches.replies.next_bytes();
        if self.batches.open.write_count > 0 {
            self.batches.open.expected_bytes += expected_bytes;
            self.batches.open.script_work += work_of(bytes);
            return put(&mut self.batches.open.operations, &mut self.batches.open.reads);
        }
        let mut in_flight = self.batches.in_flight.borrow_mut();
        let last = in_flight.back_mut().expect("something is not applied, or the read would run at once");
        put(&mut last.operations, &mut last.reads);
        last.expected_bytes += expected_bytes;
        self.batches.replies.expected_bytes += expected_bytes;
        self.batches.reads_behind.add(bytes.len());
        self.batches.reads_behind.script_work += work_of(bytes);
    }
}
