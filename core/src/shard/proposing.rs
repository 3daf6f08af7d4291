//! The way of a batch: into the log when it may, and back to its clients with what came of it.

use std::time::Instant;

use basalt_net::resp::value;
use basalt_raft::{ProposeError, Refused, Replies};
use bytes::Bytes;

use super::cold::Waiting;
use super::open_batch::{Hold, OpenBatch, PendingBatch};
use super::own_entries::Place;
use super::replies::Answering;
use super::{Shard, ShardHost};
use crate::commands::CommandError;
use crate::config::Durability;
use crate::entry::batch;
use crate::entry::request::Mode;
use crate::limits;
use crate::node::LatencyEvent;

impl Shard {
    /// Ends a turn: publishes what changed, before the replies leave, and proposes the batch that was collected. It waits while
    /// enough batches are on their way, a little where writers must be slowed down, and for a bounded time while the log or the
    /// rows in memory cannot take more. `string_bytes_max` is how long its commands may make a string. Returns the bytes that were
    /// proposed.
    pub fn propose(&mut self, now: Instant, now_ms: u64, string_bytes_max: usize, host: &mut impl ShardHost) -> usize {
        if self.counts_changed {
            self.publish_counts();
        }
        if !self.reading.is_empty() {
            self.begin_barrier(now);
        }
        let mut proposed = self.propose_ahead(now, now_ms, string_bytes_max, host);
        proposed += self.propose_collected(now, now_ms, string_bytes_max, (Place::Open, false), host);
        proposed + self.propose_own_entries(now, now_ms, string_bytes_max, host)
    }

    /// Proposes the batch that was collected, if it may be; one that is full waits for no more writes. Returns its bytes if it was.
    pub(super) fn propose_collected(
        &mut self,
        now: Instant,
        now_ms: u64,
        string_bytes_max: usize,
        (place, is_full): (Place, bool),
        host: &mut impl ShardHost,
    ) -> usize {
        if self.batches.open.write_count == 0 {
            return 0;
        }
        let memory = self.machine.borrow().store.memory();
        if self.batches.pressure.in_flight_is_full(&memory, &self.batches.in_flight) {
            // Outcomes make room, if they come.
            if let Some(error) = self.why_not_wait() {
                let (batch, bytes) = self.take_open_batch(now, now_ms, string_bytes_max, place);
                self.refuse(&batch, &bytes, &error, host);
            }
            return 0;
        }
        if !is_full && self.gathers_more(now) {
            return 0;
        }
        let memtable_is_full = memory.active_bytes >= limits::MEMTABLE_OVERFLOW * memory.memtable_bytes;
        if memtable_is_full || self.log_is_full() {
            if !self.try_hold(now) {
                let (batch, bytes) = self.take_open_batch(now, now_ms, string_bytes_max, place);
                self.refuse(&batch, &bytes, &ProposeError::WriteStall, host);
            }
            return 0;
        }
        if self.batches.pressure.hold_back(now, &memory, &self.batches.in_flight, &self.group) {
            return 0;
        }
        let write_count = self.batches.open.write_count;
        let (batch, bytes) = self.take_open_batch(now, now_ms, string_bytes_max, place);
        let (number, batch_bytes, copied_bytes) = (batch.number, batch.bytes, batch.copied_bytes);
        self.batches.in_flight.borrow_mut().push_back(batch);
        match self.group.propose(bytes, number) {
            Ok(()) => {
                self.batches.hold = None;
                self.batches.reads_behind = Waiting::default();
                let stats = &self.server.shards[self.id.index()];
                stats.batches.add(1);
                stats.writes.add(write_count as u64);
                if let Some(held_us) = self.batches.pressure.note_sent(now, batch_bytes, copied_bytes, &memory) {
                    stats.writes_delayed.add(write_count as u64);
                    stats.write_delay_us.add(held_us);
                }
                batch_bytes
            }
            Err(Refused { reason, batch: bytes }) => {
                let batch = self.batches.in_flight.borrow_mut().pop_back().expect("the batch was pushed above");
                let passes = matches!(reason, ProposeError::WriteStall | ProposeError::Unconfirmed);
                if passes && self.try_hold(now) {
                    self.reopen(batch, bytes, place);
                } else {
                    self.refuse(&batch, &bytes, &reason, host);
                }
                0
            }
        }
    }

    /// Returns whether the log has all the bytes it may have, and will have fewer once rows are on disk that are being written to
    /// it.
    fn log_is_full(&self) -> bool {
        self.group.log_bytes() >= self.server.config.raft_log_size_max && self.group.write_pace().under_way.is_some()
    }

    /// Returns whether the batch that was collected should wait for writes that are about to come. Not if nothing waits for a sync
    /// anyway, nor if nothing can join it any more.
    fn gathers_more(&mut self, now: Instant) -> bool {
        if self.batches.hold.is_some() || self.server.config.durability != Durability::Always {
            return false;
        }
        let flying = self.flying_writes();
        let is_full = self.is_backlogged();
        self.batches.group_commit.hold_back(now, self.batches.open.write_count, flying, is_full)
    }

    /// Returns whether a batch that cannot be proposed at `now` for a reason that passes may wait on.
    fn try_hold(&mut self, now: Instant) -> bool {
        if self.batches.hold.is_none() {
            self.server.shards[self.id.index()].write_stops.add(1);
        }
        self.batches.hold.get_or_insert(Hold { since: now, seen: now }).bears(now)
    }

    /// Makes a batch that was closed a moment ago the open one again.
    fn reopen(&mut self, batch: PendingBatch, bytes: Bytes, place: Place) {
        assert!(self.batches.open.operations.is_empty(), "nothing joins the next batch before this one is proposed");
        if place == Place::Open {
            self.batches.next_number = batch.number;
            self.machine.borrow_mut().store.watched_mut().open_batch(batch.number, true);
        }
        // The group has let go of the bytes, so they are not copied.
        let write_count = batch.write_count;
        let PendingBatch { operations, reads, expected_bytes, copied_bytes, member_count, script_work, .. } = batch;
        self.batches.replies.expected_bytes -= expected_bytes;
        self.batches.open = OpenBatch {
            bytes: bytes.into(),
            // It may have, and if not little is lost.
            has_guarded: true,
            write_count,
            operations,
            reads,
            expected_bytes,
            copied_bytes,
            member_count,
            script_work,
        };
    }

    /// Closes the batch that was collected and begins the next one.
    pub(super) fn take_open_batch(
        &mut self,
        now: Instant,
        now_ms: u64,
        string_bytes_max: usize,
        place: Place,
    ) -> (PendingBatch, Bytes) {
        let (time_ms, seed) = {
            let mut machine = self.machine.borrow_mut();
            (machine.advance_time(now_ms), machine.random.next_u64())
        };
        let mut bytes = Vec::with_capacity(self.batches.open.bytes.len().min(limits::BATCH_BYTES_MAX));
        batch::begin(&mut bytes);
        std::mem::swap(&mut bytes, &mut self.batches.open.bytes);
        self.batches.open.has_guarded = false;
        batch::seal(&mut bytes, time_ms, seed, string_bytes_max);
        let number = match place {
            Place::Ahead => self.batches.next_number - 1,
            Place::Open => {
                let number = self.batches.next_number;
                self.batches.next_number += 2;
                self.machine.borrow_mut().store.watched_mut().open_batch(self.batches.next_number, false);
                number
            }
        };
        let batch = PendingBatch {
            number,
            // The turn's time, as that of the last look is: a pause in between is none of the log's.
            since: now,
            away: self.batches.presence.away(),
            write_count: std::mem::take(&mut self.batches.open.write_count),
            bytes: bytes.len(),
            copied_bytes: std::mem::take(&mut self.batches.open.copied_bytes),
            member_count: std::mem::take(&mut self.batches.open.member_count),
            script_work: std::mem::take(&mut self.batches.open.script_work),
            applied: false,
            abandoned: None,
            expected_bytes: std::mem::take(&mut self.batches.open.expected_bytes),
            replied_bytes: 0,
            operations: std::mem::take(&mut self.batches.open.operations),
            reads: std::mem::take(&mut self.batches.open.reads),
        };
        self.batches.replies.expected_bytes += batch.expected_bytes;
        (batch, Bytes::from(bytes))
    }

    /// Takes what came of the batch `number`, to answer whoever waits for it. Outcomes come in the order of the proposals, but for
    /// those of batches that never were in the log.
    pub(super) fn begin_to_answer(
        &mut self,
        number: u64,
        outcome: Result<Replies, ProposeError>,
        host: &mut impl ShardHost,
    ) {
        let (pending, was_newest) = {
            let mut in_flight = self.batches.in_flight.borrow_mut();
            let place = in_flight.iter().position(|batch| batch.number == number);
            let pending = place.and_then(|place| in_flight.remove(place));
            (pending.expect("every outcome belongs to a batch in flight"), place == Some(in_flight.len()))
        };
        if was_newest {
            self.batches.reads_behind = Waiting::default();
        }
        match outcome {
            outcome if let Some(abandoned) = pending.abandoned => self.settle_abandoned(abandoned, outcome.is_ok()),
            Ok(replies) => {
                self.server.shards[self.id.index()].disk_is_full.set(0);
                if self.server.latency.is_on() {
                    self.server.latency.note(LatencyEvent::LogCommit, pending.since.elapsed());
                }
                assert_eq!(replies.ends.len(), pending.operations.len(), "every operation of a batch has one reply");
                self.batches.replies.answering = Some(Answering { pending, replies, next: 0, start: 0 });
            }
            Err(error) => {
                self.machine.borrow_mut().untaken_bytes -= pending.replied_bytes;
                let (text, is_certain) = if error.is_certain() {
                    (refusal(&error), true)
                } else {
                    (format!("UNCERTAIN {error}: the write may have been executed, or may be later"), false)
                };
                self.answer_unreplied(&pending, None, &text, is_certain, host);
            }
        }
    }

    /// Gives the host the replies that are left of a batch, as far as it takes them. False if it does not take them all now.
    pub(super) fn resume_answering(&mut self, host: &mut impl ShardHost) -> bool {
        let Some(mut answering) = self.batches.replies.answering.take() else { return true };
        let Answering { pending, replies, next, start } = &mut answering;
        while let Some(operation) = pending.operations.get(*next) {
            if operation.origin.is_some_and(|origin| !host.has_room_for_replies(origin.core)) {
                self.batches.replies.answering = Some(answering);
                return false;
            }
            let end = replies.ends[*next];
            let reply = &replies.bytes[*start..end];
            if operation.returns_values && operation.origin.is_some() {
                self.batches.replies.learn(reply.len());
            }
            match (operation.origin, &operation.read) {
                (Some(origin), _) => self.answer(origin, reply, host),
                // It is answered from elsewhere.
                (None, Some(_)) => {}
                (None, None) => {
                    self.expiry.in_flight = false;
                    let deleted = value::read_integer(reply);
                    // Of a small hash all fields go at once.
                    self.expiry.goes_on |= deleted >= Some(limits::EXPIRED_KEYS_PER_BATCH as i64);
                }
            }
            (*next, *start) = (*next + 1, end);
        }
        self.machine.borrow_mut().untaken_bytes -= pending.replied_bytes;
        self.batches.replies.expected_bytes -= pending.expected_bytes;
        true
    }

    /// Tells everybody in a batch, with its bytes, that the log has not taken it.
    pub(super) fn refuse(
        &mut self,
        batch: &PendingBatch,
        bytes: &[u8],
        error: &ProposeError,
        host: &mut impl ShardHost,
    ) {
        if *error == ProposeError::DiskFull {
            self.server.shards[self.id.index()].disk_is_full.set(1);
        }
        self.batches.pressure.cancel();
        self.answer_unreplied(batch, Some(bytes), &refusal(error), true, host);
    }

    /// Answers everybody in a batch of which there are no replies: writes with the error `text`, or with the node that leads if
    /// that is another one and the batch's `bytes`, which are in no log, are there; reads by running them. Those for whom
    /// something was to be taken wait on if it is certain that it was not.
    fn answer_unreplied(
        &mut self,
        batch: &PendingBatch,
        bytes: Option<&[u8]>,
        text: &str,
        is_certain: bool,
        host: &mut impl ShardHost,
    ) {
        self.batches.replies.expected_bytes -= batch.expected_bytes;
        let text = format!("-{text}\r\n");
        let redirects = bytes.and_then(|_| self.redirects());
        let mut writes = bytes.filter(|_| redirects.is_some()).and_then(|bytes| batch::Batch::read(bytes).ok());
        for operation in &batch.operations {
            let is_write = operation.read.is_none();
            let write = writes.as_mut().filter(|_| is_write).and_then(Iterator::next).and_then(Result::ok);
            let redirect = write.zip(redirects.as_ref()).and_then(|(write, redirects)| redirects.reply(write));
            match (operation.origin, &operation.read) {
                // Reads go on: behind what is still in flight, or at once.
                (Some(origin), Some(range)) => {
                    self.run_refused_read(origin, Mode::ReadInOrder, &batch.reads[range.clone()], host);
                }
                (Some(origin), None) => {
                    let answer = redirect.as_ref().map_or(text.as_bytes(), |redirect| redirect.as_bytes());
                    if !(is_certain && self.take_refused(origin, answer, host)) {
                        self.leave(origin, answer, host);
                    }
                }
                (None, Some(_)) => {}
                (None, None) => self.expiry.in_flight = false,
            }
        }
    }
}

impl Shard {
    /// The refusal for a client that would wait here, if this replica does not lead its group.
    pub(super) fn why_not_lead(&self) -> Option<String> {
        match self.group.check_room(0) {
            Err(error @ (ProposeError::NotLeader { .. } | ProposeError::Unconfirmed)) => Some(refusal(&error)),
            _ => None,
        }
    }
}

/// The text for a client whose write was not taken.
pub(super) fn refusal(error: &ProposeError) -> String {
    match error {
        ProposeError::DiskFull => {
            "MISCONF The disk is full: writes are refused until there is space again, reads go on".to_owned()
        }
        ProposeError::WriteStall | ProposeError::Backlog => format!("BUSY {error}, try again"),
        // The other one is known in a moment.
        ProposeError::NotLeader { leader: Some(_) } => format!("TRYAGAIN {error}"),
        ProposeError::NotLeader { .. } | ProposeError::Unconfirmed => format!("CLUSTERDOWN {error}, try again"),
        ProposeError::Fatal(_) => CommandError::SHARD_FAILED.to_string(),
        other => format!("ERR {other}"),
    }
}
