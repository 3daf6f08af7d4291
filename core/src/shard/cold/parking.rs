//! Requests that wait for rows which a reader thread fetches, and are run again when they are there.

use std::collections::VecDeque;

use basalt_storage::{ColdRead, Fetched};

use super::names::NamesLooked;
use super::parked::{Parked, ParkedRequest};
use super::progress::ColdProgress;
use crate::entry::request::Mode;
use crate::ids::{CoreId, Origin};
use crate::shard::execution::TOO_MUCH_TO_KEEP;
use crate::shard::{HOUSEKEEPING, Shard, ShardHost};

impl Shard {
    /// Returns whether a request of `client` waits for rows or for a barrier, so that a new one must queue up behind it.
    pub fn has_parked(&self, core: CoreId, client: u32) -> bool {
        (!self.parking.parked.is_empty() && self.parking.parked.contains_key(&(core, client)))
            || self.reading.holds((core, client))
    }

    /// Parks a request of `origin` until `cold` is in memory, and everything that follows from the same connection.
    pub fn park(&mut self, origin: Origin, mode: Mode, bytes: &[u8], mut cold: ColdRead, host: &mut impl ShardHost) {
        // It was looked at whether it may be read here.
        let mode = if mode == Mode::Local { Mode::Read } else { mode };
        self.server.shards[self.id.index()].cold_reads.add(1);
        let mut progress = ColdProgress::new();
        progress.note_miss(&mut cold);
        let request = ParkedRequest { origin, mode, bytes: bytes.to_vec(), progress, turn: None, since: None };
        let wants_view = self.wants_view(&request, &cold);
        if wants_view && mode == Mode::ReadInOrder && self.has_unapplied() {
            return self.read_in_order(origin, bytes);
        }
        let client = (origin.core, origin.client);
        if self.parking.parked.contains_key(&client) {
            // It is run when its turn comes, and finds what is cold then.
            return self.park_behind_own(request, host);
        }
        self.parking.waiting.add(bytes.len());
        let parked = Parked { requests: VecDeque::from([request]), ..Parked::default() };
        self.parking.parked.insert(client, parked);
        if wants_view {
            return self.start_view(client);
        }
        host.warm(self.id, client, cold, false);
    }

    /// Takes rows that a reader thread has fetched, and runs what waited for them.
    pub fn warmed(&mut self, client: (CoreId, u32), mut rows: Fetched, now_ms: u64, host: &mut impl ShardHost) {
        let kept = rows.take_pinned();
        self.machine.borrow().store.take_fetched(&rows);
        if client == HOUSEKEEPING {
            self.expiry.is_fetching = false;
            self.expiry.goes_on = true;
            return;
        }
        let Some(mut parked) = self.take_parked(client) else {
            return self.fetched_for_question(client, now_ms, host);
        };
        let fetches_for = std::mem::take(&mut parked.fetches_for);
        if let Some(request) = parked.requests.get_mut(fetches_for) {
            request.progress.take_fetched(kept);
        }
        self.resume(client, parked, now_ms, host);
    }

    /// Runs what `client` has parked, up to a request that has to wait again.
    pub(in crate::shard) fn resume(
        &mut self,
        client: (CoreId, u32),
        mut parked: Parked,
        now_ms: u64,
        host: &mut impl ShardHost,
    ) {
        while let Some(mut request) = parked.requests.pop_front() {
            let bytes = request.bytes.len();
            if let Some(want) = self.why_barred(request.origin, &request.bytes) {
                // Whoever holds its key may need pins before it.
                request.progress = ColdProgress::new();
                self.end_pins(client, host);
                if self.waits_in_vain(&request, &want) {
                    parked.refused = parked.refused.saturating_sub(1);
                    self.parking.waiting.remove(bytes);
                    self.refuse_held(&request, host);
                    continue;
                }
                parked.requests.push_front(request);
                return self.park_again_behind_hold(client, parked, want);
            }
            if let Err(mut cold) = self.run_again(&mut request, now_ms, host) {
                request.progress.note_miss(&mut cold);
                let (pins, wants_view) = (request.progress.should_pin(), self.wants_view(&request, &cold));
                if wants_view && request.mode == Mode::ReadInOrder && self.has_unapplied() {
                    self.read_in_order(request.origin, &request.bytes);
                } else {
                    parked.requests.push_front(request);
                    self.parking.parked.insert(client, parked);
                    match (wants_view, pins) {
                        (true, _) => self.start_view(client),
                        (false, true) => self.pin(client, cold, host),
                        (false, false) => host.warm(self.id, client, cold, false),
                    }
                    return;
                }
            }
            parked.refused = parked.refused.saturating_sub(1);
            self.parking.waiting.remove(bytes);
            self.end_pins(client, host);
        }
    }

    /// Lets the next client have rows pinned, if this one may until now.
    fn end_pins(&mut self, client: (CoreId, u32), host: &mut impl ShardHost) {
        if self.parking.pin_holder == Some(client) {
            self.parking.pin_holder = None;
            if let Some((next, cold)) = self.parking.pin_queue.pop_front() {
                self.pin(next, cold, host);
            }
        }
    }

    /// Has rows fetched that are kept for a request: for one at a time, since nothing else bounds their memory.
    fn pin(&mut self, client: (CoreId, u32), cold: ColdRead, host: &mut impl ShardHost) {
        if *self.parking.pin_holder.get_or_insert(client) == client {
            host.warm(self.id, client, cold, true);
        } else {
            self.parking.pin_queue.push_back((client, cold));
        }
    }

    /// Runs a request that was parked, with the rows that are kept for it.
    fn run_again(
        &mut self,
        request: &mut ParkedRequest,
        now_ms: u64,
        host: &mut impl ShardHost,
    ) -> Result<(), ColdRead> {
        let ParkedRequest { origin, mode, bytes, progress, .. } = request;
        if self.has_failed() {
            self.refuse_failed(*origin, host);
            return Ok(());
        }
        if !self.waiting.is_empty() && self.leaves_untried(*origin, host) {
            return Ok(());
        }
        let (is_overtaken, has_failed) = (progress.is_overtaken(), progress.has_failed());
        match mode {
            // The entry meets what was met here, and goes its own way with it.
            Mode::Write if is_overtaken || has_failed => self.write(Some(*origin), |out| out.extend_from_slice(bytes)),
            Mode::ReadInOrder if has_failed && self.has_unapplied() => self.read_in_order(*origin, bytes),
            // What its connection watches is looked at in any case.
            Mode::Guarded => {
                let is_lost = has_failed || is_overtaken || progress.is_too_large(self.server.kept_bytes_max());
                progress.lend_to(&mut self.machine.borrow_mut().store);
                let outcome = self.join_guarded(*origin, bytes, !is_lost, now_ms, host);
                progress.take_back(&mut self.machine.borrow_mut().store);
                return outcome;
            }
            Mode::Read | Mode::Local | Mode::ReadInOrder if has_failed => {
                self.run_waiting(*origin, bytes, now_ms, host)
            }
            Mode::Read | Mode::Local | Mode::ReadInOrder if is_overtaken && self.has_unapplied() => {
                self.read_in_order(*origin, bytes);
            }
            mode => {
                progress.lend_to(&mut self.machine.borrow_mut().store);
                let outcome = match mode {
                    // Looked at where it lies, and moved only once.
                    Mode::Write => self
                        .probe(bytes, &mut progress.names, now_ms)
                        .map(|()| self.join_probed(*origin, bytes, now_ms, host)),
                    Mode::Read | Mode::Local | Mode::ReadInOrder | Mode::Guarded => {
                        self.run(*origin, *mode, bytes, now_ms, host)
                    }
                };
                progress.take_back(&mut self.machine.borrow_mut().store);
                if outcome.is_ok() || !progress.is_too_large(self.server.kept_bytes_max()) {
                    return outcome;
                }
                match mode {
                    Mode::Write => self.write(Some(*origin), |out| out.extend_from_slice(bytes)),
                    Mode::Read | Mode::Local | Mode::ReadInOrder | Mode::Guarded => {
                        self.forget_watch_of(bytes);
                        self.answer(*origin, TOO_MUCH_TO_KEEP, host);
                    }
                }
            }
        }
        Ok(())
    }

    /// Runs a read whose rows could not be fetched: it meets the error, and says it.
    fn run_waiting(&mut self, origin: Origin, bytes: &[u8], now_ms: u64, host: &mut impl ShardHost) {
        self.counts_changed = true;
        let mut out = Vec::new();
        self.machine.borrow().serve(Some(origin));
        let outcome = self
            .machine
            .borrow_mut()
            .reading_waiting(now_ms, |execution| execution.run(bytes, &mut NamesLooked::default(), &mut out));
        assert!(outcome.is_ok(), "a read that may wait for the disk is never cold, and it was encoded here");
        self.answer(origin, &out, host);
    }
}
