//! Batches that the log has kept for so long that their clients are told.
//!
//! A batch on its way is in one of three states. *Done*: its outcome is there, and is its clients' answer. *Certainly not done*: it
//! is in no log, and its clients may try again. *Unknown*: it was handed to the log, and nothing came back. A client that waits for
//! such a batch hears `-UNCERTAIN` when `write-timeout` is over. The batch goes on all the same: its entry may be applied a moment
//! later or after a restart, and until its outcome comes it has its place among those in flight, with nobody to answer.
//!
//! What a newcomer would get wrong: time in which the core did not run is not the log's. A process that was stopped for an hour may
//! find the sync done that it waited for.

use std::time::{Duration, Instant};

use basalt_raft::ProposeError;

use super::cold::Waiting;
use super::open_batch::{Abandoned, PendingBatch};
use super::{Shard, ShardHost};
use crate::commands::TOO_MUCH_TO_READ;
use crate::entry::request::Mode;
use crate::limits;

/// The reply to a write that may be done or not, since its shard's log has said nothing for too long.
const UNCERTAIN: &str =
    "-UNCERTAIN The log of the key's shard stands still: the write may have been executed, or may be later\r\n";

/// The time that a shard's core was there to see.
#[derive(Debug, Clone, Copy)]
pub(super) struct Presence {
    /// The moment of its last look.
    seen: Instant,
    /// The sum of the times between two looks, as far as no core that runs leaves as much between them.
    away: Duration,
}

impl Presence {
    pub(super) fn new(now: Instant) -> Presence {
        Presence { seen: now, away: Duration::ZERO }
    }

    /// Notes that the core looks at `now`; returns the time since its last look.
    fn look(&mut self, now: Instant) -> Duration {
        let gap = now.saturating_duration_since(std::mem::replace(&mut self.seen, now));
        self.away += gap.saturating_sub(limits::LOOKS_APART_MAX);
        gap
    }

    /// The time that the core has been away since the shard was opened.
    pub(super) fn away(&self) -> Duration {
        self.away
    }

    /// The time for which something has waited at `now` while the core was there, that began at `since`, when it had been `away`
    /// for so long.
    pub(super) fn age(&self, since: Instant, away: Duration, now: Instant) -> Duration {
        now.saturating_duration_since(since).saturating_sub(self.away.saturating_sub(away))
    }
}

impl Shard {
    /// Tells the clients of batches that have been on their way for `timeout` that nobody knows what becomes of them, and those of
    /// reads that have waited for as long for a barrier. To be called now and then.
    pub(super) fn abandon_overdue(&mut self, now: Instant, timeout: Option<Duration>, host: &mut impl ShardHost) {
        let gap = self.batches.presence.look(now);
        // Nobody here hears what becomes of them before the disk answers, and others lead already.
        let timeout = if self.group.is_given_away() { Some(Duration::ZERO) } else { timeout };
        let Some(timeout) = timeout else { return };
        if gap > 2 * limits::TICK_IDLE {
            // Syncs may have ended meanwhile, of which Raft hears at the end of this turn.
            return;
        }
        self.give_up_barrier(now, timeout, host);
        self.give_up_guarded(now, timeout, host);
        if self.machine.borrow().paused.is_some() {
            // An entry has come through the log and waits for rows. Its clients wait with it, and so do those behind it.
            return;
        }
        loop {
            let next = {
                let in_flight = self.batches.in_flight.borrow();
                // What was proposed first is overdue first.
                let is_overdue =
                    |batch: &PendingBatch| self.batches.presence.age(batch.since, batch.away, now) >= timeout;
                let next = in_flight.iter().position(|batch| batch.abandoned.is_none() && !batch.applied);
                // Reads run then, as far as there is room for their replies.
                let has_room = |batch: &PendingBatch| {
                    let mut origins = batch.operations.iter().filter_map(|operation| operation.origin);
                    origins.all(|origin| host.has_room_for_replies(origin.core))
                };
                next.filter(|&next| is_overdue(&in_flight[next]) && has_room(&in_flight[next]))
            };
            let Some(next) = next else { return };
            self.abandon(next, host);
        }
    }

    /// Tells the clients of a batch in flight that its outcome is unknown, and lets go of what it had for them.
    fn abandon(&mut self, place: usize, host: &mut impl ShardHost) {
        let (operations, reads, write_count, expected_bytes, is_newest) = {
            let mut in_flight = self.batches.in_flight.borrow_mut();
            let is_newest = place + 1 == in_flight.len();
            let batch = &mut in_flight[place];
            let operations = std::mem::take(&mut batch.operations);
            let deletes_expired = operations.iter().any(|operation| operation.is_housekeeping());
            batch.abandoned = Some(Abandoned { deletes_expired });
            let reads = std::mem::take(&mut batch.reads);
            let write_count = std::mem::take(&mut batch.write_count);
            (operations, reads, write_count, std::mem::take(&mut batch.expected_bytes), is_newest)
        };
        self.batches.replies.expected_bytes -= expected_bytes;
        if is_newest {
            self.batches.reads_behind = Waiting::default();
        }
        if place == 0 {
            tracing::warn!(shard = self.id.0, "the log stands still: clients are told that their writes are uncertain");
        }
        let stats = &self.server.shards[self.id.index()];
        stats.writes_uncertain.add(write_count as u64);
        for operation in operations {
            match (operation.origin, operation.read) {
                (Some(origin), Some(_)) if self.take_refused(origin, UNCERTAIN.as_bytes(), host) => {}
                // Those before it have filled the room.
                (Some(origin), Some(_)) if !host.has_room_for_replies(origin.core) => {
                    host.reply(origin, format!("-{TOO_MUCH_TO_READ}\r\n").as_bytes());
                }
                // It waits for nothing that anybody knows of any more, and must not see what its connection writes later.
                (Some(origin), Some(range)) => self.run_refused_read(origin, Mode::Read, &reads[range], host),
                (Some(origin), None) => self.leave(origin, UNCERTAIN.as_bytes(), host),
                (None, _) => {}
            }
        }
    }

    /// Takes what came of a batch that nobody waits for any more.
    pub(super) fn settle_abandoned(&mut self, abandoned: Abandoned, is_done: bool) {
        if abandoned.deletes_expired {
            self.expiry.in_flight = false;
        }
        if is_done {
            self.server.shards[self.id.index()].disk_is_full.set(0);
        }
    }

    /// Says why the batch being collected, which finds no room behind those in flight, is not to wait; `None` if it is. It is in
    /// no log, and its clients may hear so.
    pub(super) fn why_not_wait(&self) -> Option<ProposeError> {
        match self.group.check_room(self.batches.open.bytes.len()) {
            // A full disk may hold them up for as long as it is full, and whoever does not lead may never hear of them.
            Err(ProposeError::WriteStall | ProposeError::Backlog) | Ok(()) => {}
            Err(error) => return Some(error),
        }
        let is_stuck = self.batches.in_flight.borrow().front().is_some_and(|oldest| oldest.abandoned.is_some());
        is_stuck.then_some(ProposeError::Backlog)
    }
}
