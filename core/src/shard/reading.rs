//! Reads that must not be run before it is known that nobody else leads the shard's group.
//!
//! A group of several voters may have elected another leader that has acknowledged writes which are not here. So a read waits for a
//! *barrier*: a quorum confirms, after the read has come, that this replica still leads, and what was committed by then is applied
//! (Raft's ReadIndex). One barrier serves all reads of a turn, and one at a time is under way: what comes meanwhile shares the next
//! one. A read that joins the batch being collected needs none, since that is proposed after it has come. The only voter of a group
//! needs none at all.
//!
//! What a newcomer would get wrong: what a connection sends behind such a read waits behind it, a write too, or the read might see
//! what it must not see yet.

use std::cell::RefCell;
use std::collections::{HashMap, VecDeque};
use std::rc::Rc;
use std::time::{Duration, Instant};

use basalt_raft::Error;

use super::cold::{NamesLooked, Waiting};
use super::script_work::work_of;
use super::{Shard, ShardHost};
use crate::commands::CommandError;
use crate::entry::request::Mode;
use crate::ids::{CoreId, Origin};
use crate::limits;

/// A connection, by its core and its place there.
type Client = (CoreId, u32);

/// The end of a barrier, with its number.
type Passed = Rc<RefCell<Option<(u64, Result<(), Error>)>>>;

/// The reads of a shard that wait for a barrier.
#[derive(Default)]
pub(super) struct Reading {
    /// In the order they came.
    queue: VecDeque<Queued>,
    /// The number of those that each connection has sent.
    clients: HashMap<Client, usize>,
    waiting: Waiting,
    /// The number of the barrier that begins next. What comes now waits for it.
    next: u64,
    /// Barriers below this have been passed.
    passed_below: u64,
    under_way: Option<UnderWay>,
    passed: Passed,
    /// True if a test wants barriers where none is needed.
    #[cfg(test)]
    pub(super) is_forced: bool,
}

/// A request that waits for a barrier, or behind one of its connection that does.
struct Queued {
    origin: Origin,
    mode: Mode,
    bytes: Vec<u8>,
    /// The number of its barrier; `None` if it needs none itself.
    barrier: Option<u64>,
}

/// The barrier that is under way.
struct UnderWay {
    number: u64,
    since: Instant,
    /// The time that the core had been away by then.
    away: Duration,
}

impl Reading {
    /// Returns whether nothing waits.
    pub(super) fn is_empty(&self) -> bool {
        self.queue.is_empty()
    }

    /// Returns whether a request of `client` waits, behind which its next one has to wait.
    pub(super) fn holds(&self, client: Client) -> bool {
        !self.queue.is_empty() && self.clients.contains_key(&client)
    }

    /// Returns whether so much waits that nothing should be added.
    pub(super) fn is_full(&self) -> bool {
        self.waiting.is_full()
    }

    /// Returns whether something can be run, or a barrier has come to its end.
    pub(super) fn has_some(&self) -> bool {
        !self.queue.is_empty()
            && (self.passed.borrow().is_some() || self.queue.front().is_some_and(|first| self.may_run(first)))
    }

    /// Bytes of what waits.
    pub(super) fn bytes(&self) -> usize {
        self.waiting.bytes
    }

    /// Barriers that have begun.
    #[cfg(test)]
    pub(super) fn begun(&self) -> u64 {
        self.next
    }

    fn may_run(&self, request: &Queued) -> bool {
        request.barrier.is_none_or(|barrier| barrier < self.passed_below)
    }

    fn push(&mut self, origin: Origin, mode: Mode, bytes: &[u8], needs_barrier: bool) {
        *self.clients.entry((origin.core, origin.client)).or_default() += 1;
        self.waiting.add(bytes.len());
        let barrier = needs_barrier.then_some(self.next);
        self.queue.push_back(Queued { origin, mode, bytes: bytes.to_vec(), barrier });
    }

    /// Notes that a request waits no more.
    fn leave(&mut self, request: &Queued) {
        self.waiting.remove(request.bytes.len());
        let client = (request.origin.core, request.origin.client);
        if let Some(count) = self.clients.get_mut(&client) {
            *count -= 1;
            if *count == 0 {
                self.clients.remove(&client);
            }
        }
    }

    /// Takes the first request, if its barrier has been passed and `has_room` has room for its reply.
    fn pop(&mut self, has_room: impl FnOnce(CoreId) -> bool) -> Option<Queued> {
        let may_run = |request: &Queued| self.may_run(request) && has_room(request.origin.core);
        self.queue.front().filter(|request| may_run(request))?;
        let request = self.queue.pop_front()?;
        self.leave(&request);
        Some(request)
    }

    /// Takes all requests whose barrier `number` could not be passed.
    fn take_failed(&mut self, number: u64) -> Vec<Queued> {
        let (failed, queue): (Vec<_>, Vec<_>) =
            self.queue.drain(..).partition(|request| request.barrier == Some(number));
        self.queue = queue.into();
        failed.iter().for_each(|request| self.leave(request));
        failed
    }
}

impl Shard {
    /// Returns whether a plain read must wait for a barrier.
    pub fn reads_wait(&self) -> bool {
        #[cfg(test)]
        if self.reading.is_forced {
            return true;
        }
        self.group.needs_read_barrier()
    }

    /// Returns whether a read may see what this replica has, for who does not mind that it may be a little old.
    pub fn may_read_locally(&self) -> bool {
        !self.takes_nothing() && self.group.is_fresh(limits::LOCAL_READ_AGE_MAX)
    }

    /// Returns whether a request must wait for a barrier, unless it joins the batch being collected. One that joins a batch on its
    /// way must: that may be committed already, by a quorum that has another leader since.
    pub(super) fn needs_barrier(&self, mode: Mode) -> bool {
        mode != Mode::Write && self.reads_wait()
    }

    /// Puts a request into the batch being collected, if that is its place and its rows are in memory; else behind the next barrier
    /// if it needs one, and behind what its connection has there.
    pub(super) fn wait_for_barrier(&mut self, origin: Origin, mode: Mode, bytes: &[u8], now_ms: u64) {
        let client = (origin.core, origin.client);
        let is_in_order = mode == Mode::ReadInOrder && !self.reading.holds(client);
        let joins = is_in_order && self.batches.open.write_count > 0 && !self.parking.parked.contains_key(&client);
        if joins && self.probe(bytes, &mut NamesLooked::default(), now_ms).is_ok() {
            return self.read_in_order(origin, bytes);
        }
        self.reading.push(origin, mode, bytes, self.needs_barrier(mode));
    }

    /// Begins a barrier for the reads that have come since the last one began, at the end of their turn.
    pub(super) fn begin_barrier(&mut self, now: Instant) {
        let reading = &mut self.reading;
        // The last that waits for one waits for the newest.
        let newest = reading.queue.iter().rev().find_map(|request| request.barrier);
        if reading.under_way.is_some() || newest != Some(reading.next) {
            return;
        }
        let number = reading.next;
        reading.next += 1;
        reading.under_way = Some(UnderWay { number, since: now, away: self.batches.presence.away() });
        let (group, passed, wake) = (self.group.clone(), reading.passed.clone(), self.wake.clone());
        let pass = async move {
            let outcome = group.read_barrier().await;
            let mut passed = passed.borrow_mut();
            // One that was given up may come to its end after its successor.
            if passed.as_ref().is_none_or(|(last, _)| *last < number) {
                *passed = Some((number, outcome));
            }
            drop(passed);
            wake();
        };
        glommio::spawn_local(pass).detach();
    }

    /// Runs the reads whose barrier has been passed, as far as there is room for their replies. Returns how many there were.
    pub(super) fn take_barriers(&mut self, now_ms: u64, host: &mut impl ShardHost) -> usize {
        let passed = self.reading.passed.borrow_mut().take();
        if let Some((number, outcome)) = passed
            && self.reading.under_way.as_ref().is_some_and(|under_way| under_way.number == number)
        {
            self.end_barrier(number, outcome, host);
        }
        let (mut count, began) = (0, Instant::now());
        while count < limits::REQUESTS_PER_TURN
            && let Some(request) = self.reading.pop(|core| host.has_room_for_replies(core))
        {
            self.run_in_turn(request.origin, request.mode, &request.bytes, now_ms, host);
            count += 1;
            if work_of(&request.bytes) > 0 && began.elapsed() >= limits::SCRIPTS_TURN {
                break;
            }
        }
        count
    }

    /// Lets the reads of a barrier go on; or answers them, if nobody could confirm that this replica leads.
    fn end_barrier(&mut self, number: u64, outcome: Result<(), Error>, host: &mut impl ShardHost) {
        self.reading.under_way = None;
        self.reading.passed_below = number + 1;
        let Err(error) = outcome else { return };
        let text = match error {
            Error::NotLeader { .. } => format!("-CLUSTERDOWN {error}, try again\r\n"),
            Error::Fatal(_) if self.has_failed() => format!("-{}\r\n", CommandError::SHARD_FAILED),
            error => format!("-ERR {error}\r\n"),
        };
        let redirects = self.redirects();
        for request in self.reading.take_failed(number) {
            self.forget_watch_of(&request.bytes);
            let redirect = redirects.as_ref().and_then(|redirects| redirects.reply(&request.bytes));
            host.reply(request.origin, redirect.as_deref().unwrap_or(&text).as_bytes());
        }
    }

    /// Answers the reads of a barrier that has been under way for `timeout`.
    pub(super) fn give_up_barrier(&mut self, now: Instant, timeout: Duration, host: &mut impl ShardHost) {
        let Some(UnderWay { number, since, away }) = self.reading.under_way else { return };
        if self.batches.presence.age(since, away, now) >= timeout {
            self.end_barrier(number, Err(Error::NotLeader { leader: None }), host);
        }
    }
}
