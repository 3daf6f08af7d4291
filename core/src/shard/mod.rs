//! A shard on its core: the batch being collected, the batches on their way through the log, and the rows.
//!
//! Writes of a turn are collected into one Raft entry. Reads that must see a connection's own unanswered writes wait in the
//! same order among them and run while the entry is applied; all other reads run at once, where the group has one voter, and
//! behind a barrier where it has several.

mod batches;
mod cold;
mod copies;
mod execution;
mod expiry;
mod figures;
mod guarded;
mod holding;
mod host;
mod joining;
mod kept_trials;
mod open_batch;
mod overdue;
mod own_entries;
mod pace;
mod parts;
mod proposing;
mod reading;
mod refused;
mod replicated;
mod replies;
mod script_trial;
mod script_work;
#[cfg(test)]
pub(crate) mod tests;
#[cfg(test)]
mod time_tests;
mod timing;
mod tracking;
mod transaction;
mod waiting;

use std::cell::RefCell;
use std::rc::Rc;
use std::sync::Arc;
use std::time::{Duration, Instant};

use basalt_raft::{Group, GroupHooks, GroupOptions, Reach};
use basalt_storage::keyspace::{EventClasses, KeyCounts, KeyEvent, session_count};
use basalt_storage::log::RaftLog;
use basalt_storage::{ColdReader, DATABASE_COUNT, Rows, Store};

use crate::commands::{Args, Run};
use crate::entry::batch;
use crate::entry::request::{Mode, RequestHeader};
use crate::ids::{CoreId, Origin, ShardId};
use crate::limits;
use crate::node::{Background, GroupState, Leads, Server};
use crate::peers::Ties;

use batches::{Batches, Outcomes};
use cold::{Parking, Views, Wake};
pub(crate) use execution::TOO_MUCH_TO_KEEP;
pub use execution::{ReadOutcome, ShardMachine};
use expiry::Expiry;
use guarded::Waiter;
use holding::Holding;
pub use host::ShardHost;
use open_batch::Operation;
pub use pace::Outstanding;
use reading::Reading;
use replicated::Replicated;
pub use script_work::work_of;
use waiting::Waiting;
pub(crate) use waiting::{FOUND, NO_LIST};

/// The threads that a shard uses.
#[derive(Clone)]
pub struct Threads {
    /// For what takes long.
    pub background: Background,
    /// For reads from disk for clients.
    pub readers: Background,
    /// For those for entries, behind which all other entries of the shard wait.
    pub entry_readers: Background,
    /// For reads of clients that need much from disk.
    pub viewers: Background,
    /// For those that stand between writes.
    pub entry_viewers: Background,
}

/// A shard on its core.
pub struct Shard {
    id: ShardId,
    machine: Rc<RefCell<ShardMachine>>,
    group: Group,
    batches: Batches,
    parking: Parking,
    reading: Reading,
    /// Transactions that wait until it is known whether what they watch is as it was; one of a connection at most.
    guarded: Vec<Waiter>,
    waiting: Waiting,
    /// Clients that wait until followers have what they have written.
    replicated: Replicated,
    holding: Holding,
    expiry: Expiry,
    /// Wakes the core.
    wake: Wake,
    /// The moment at which RocksDB was last asked for the size of its files, if it was.
    disk_measured: Option<Instant>,
    /// The sums of deadlines that were published last.
    deadline_sums: [u128; DATABASE_COUNT],
    /// True if anything was run that another core's connection may hear of before the next tick.
    counts_changed: bool,
    /// The leader and the state that the other cores were told of last, if they were.
    told_leads: Option<(Leads, Option<GroupState>)>,
    /// True once the shard is to leave.
    is_closed_to_clients: bool,
    /// The division of the node's memory that the shard keeps to.
    shares_version: u64,
    /// Buffer of the replies to reads before they go to the host: kept, so that not every read allocates.
    reply: Vec<u8>,
    server: Arc<Server>,
}

/// The client of rows that the shard fetches for its own housekeeping: no core has such a number, no connection either.
const HOUSEKEEPING: (CoreId, u32) = (CoreId(u16::MAX), u32::MAX);

/// The group's calls: outcomes are kept for the core's next turn, which has connections and outbox at hand.
fn hooks(id: ShardId, server: &Arc<Server>, core: CoreId, threads: &Threads, outcomes: Outcomes) -> GroupHooks {
    let (on_outcome, on_fatal, on_wake) = (server.clone(), server.clone(), server.clone());
    GroupHooks {
        on_outcome: Box::new(move |number, outcome| {
            outcomes.borrow_mut().push_back((number, outcome));
            // The group's tasks run on while the core's loop is parked: the outcome must not wait for its next tick.
            on_outcome.mailboxes.bell(core).ring_urgently();
        }),
        on_fatal: Box::new(move |fault| match fault.reach {
            Reach::Group => on_fatal.note_failed(id, &fault.text),
            Reach::Node => on_fatal.fail(format!("shard {id} cannot go on: {fault}")),
        }),
        wake: Arc::new(move || on_wake.mailboxes.bell(core).ring_urgently()),
        background: Rc::new(threads.background.clone()),
        readers: Rc::new(threads.entry_readers.clone()),
    }
}

impl Shard {
    /// Opens the shard's group on its log and rows, and waits until it can take requests.
    ///
    /// # Errors
    /// What the group says when log and rows cannot be used.
    pub async fn open(
        id: ShardId,
        options: GroupOptions,
        log: RaftLog,
        machine: Rc<RefCell<ShardMachine>>,
        (server, core): (&Arc<Server>, CoreId),
        threads: &Threads,
        ties: Ties,
    ) -> Result<Shard, basalt_raft::Error> {
        let outcomes = Outcomes::default();
        let hooks = hooks(id, server, core, threads, outcomes.clone());
        let options = GroupOptions {
            in_flight_max: limits::BATCHES_IN_FLIGHT,
            log_bytes_max: server.config.snapshot_log_bytes(),
            log_kept_bytes: server.config.log_kept_bytes(),
            ..options
        };
        server.note_recovering(id, core);
        let rows_end = machine.borrow().store.applied().index;
        let log_end = log.last_index().unwrap_or(0);
        let replayed = log_end.saturating_sub(rows_end);
        let group = match ties.open(options, hooks, log, machine.clone()).await {
            Ok(group) => group,
            Err(error) => {
                // Closing the rows may block.
                if let Some(machine) = Rc::into_inner(machine) {
                    let store = machine.into_inner().store;
                    let _ = threads.background.submit(Box::new(move || drop(store)));
                }
                return Err(error);
            }
        };
        // While nobody waits for the core: their rows may be on disk alone.
        if !figures::publish_functions(&machine.borrow().store, &server.shards[id.index()]) {
            machine.borrow().scratch.note_functions_changed();
        }
        figures::publish_sessions(id, session_count(&machine.borrow().store), &server.shards[id.index()]);
        let holding = Holding::recovered(&machine.borrow().store)?;
        machine.borrow().store.forget_disk_waits();
        if holding.left_count() > 0 {
            tracing::info!(
                shard = id.0,
                count = holding.left_count(),
                "transactions over several shards are to be settled"
            );
        }
        server.shards[id.index()].replayed.set(replayed);
        if replayed > 0 {
            tracing::info!(shard = id.0, entries = replayed, "applied what the log has beyond the rows on disk");
        }
        // What was replayed happened in an earlier run.
        machine.borrow().scratch.set_counts(KeyCounts::default());
        machine.borrow_mut().told_until = log_end;
        let opened_ms = machine.borrow().time_ms().max(server.clock.unix_ms());
        machine.borrow_mut().keep_access_times(opened_ms);
        machine.borrow_mut().core = Some((server.clone(), core));
        machine.borrow_mut().takes_turns = true;
        let (shares_version, bounds) = (server.shares.version(), server.reply_bounds());
        machine.borrow_mut().bounds = bounds;
        let wake: Wake = {
            let server = server.clone();
            Arc::new(move || server.mailboxes.bell(core).ring_urgently())
        };
        machine.borrow_mut().views = Some(Views::new(
            threads.viewers.clone(),
            threads.entry_viewers.clone(),
            wake.clone(),
            bounds.shard_bytes_max,
        ));
        let in_flight = machine.borrow().in_flight.clone();
        let memtable_bytes = machine.borrow().store.memory().memtable_bytes;
        let batches = Batches::new(in_flight, outcomes, memtable_bytes, bounds.shard_bytes_max);
        Ok(Shard {
            id,
            machine,
            group,
            batches,
            parking: Parking::default(),
            reading: Reading::default(),
            guarded: Vec::new(),
            waiting: Waiting::default(),
            replicated: Replicated::default(),
            holding,
            wake,
            expiry: Expiry::default(),
            disk_measured: None,
            deadline_sums: [0; DATABASE_COUNT],
            counts_changed: false,
            told_leads: None,
            is_closed_to_clients: false,
            shares_version,
            reply: Vec::new(),
            server: server.clone(),
        })
    }

    /// Has events of keys of these classes told from here on. What waits to be told is forgotten if there are none.
    pub fn tell_key_events(&self, classes: EventClasses) {
        let scratch = &mut self.machine.borrow_mut().scratch;
        scratch.tell(classes);
        if classes == EventClasses::NONE {
            scratch.forget_events();
        }
    }

    /// Returns whether events of keys wait to be told.
    pub fn has_key_events(&self) -> bool {
        self.machine.borrow().scratch.has_events()
    }

    /// Gives the first event of a key that waits to `take`, if there is one.
    pub fn take_key_event(&self, take: &mut dyn FnMut(KeyEvent<'_>)) -> bool {
        self.machine.borrow().scratch.take_event(take)
    }

    /// Forgets the events that wait: nobody wants to hear of them.
    pub fn forget_key_events(&self) {
        self.machine.borrow().scratch.forget_events();
    }

    /// The shard's number.
    pub fn id(&self) -> ShardId {
        self.id
    }

    /// A handle for reader threads.
    pub fn cold_reader(&self) -> ColdReader {
        self.machine.borrow().store.cold_reader()
    }

    /// Answers whoever waits for batches that have come through the log, as far as the host takes replies; returns how many batches
    /// there were.
    pub fn take_outcomes(&mut self, now_ms: u64, host: &mut impl ShardHost) -> usize {
        let mut count = 0;
        self.holding.begin_turn();
        count += usize::from(self.batches.replies.answering.is_some());
        while self.resume_answering(host) {
            let next = self.batches.outcomes.borrow_mut().pop_front();
            let Some((number, outcome)) = next else { break };
            self.begin_to_answer(number, outcome, host);
            count += 1;
        }
        count += self.take_views(now_ms, host);
        if !self.reading.is_empty() {
            count += self.take_barriers(now_ms, host);
        }
        if !self.guarded.is_empty() {
            count += self.take_guarded(now_ms, host);
        }
        if !self.replicated.is_empty() {
            count += self.take_replicated(host);
        }
        if self.holding.has_waiting() {
            count += self.take_holds(now_ms, host);
        }
        self.counts_changed |= count > 0;
        self.machine.borrow().turns.ring();
        self.serve_ready(now_ms, host);
        if std::mem::take(&mut self.expiry.goes_on) && !self.has_failed() {
            self.delete_expired(now_ms, host);
        }
        count
    }

    /// Does work that is due now and then: tells clients of writes that are stuck for longer than `write_timeout`, deletes expired
    /// keys through the log, publishes figures.
    pub fn tick(&mut self, now: Instant, now_ms: u64, write_timeout: Option<Duration>, host: &mut impl ShardHost) {
        self.abandon_overdue(now, write_timeout, host);
        self.refuse_overdue_steps(now, write_timeout, host);
        self.note_settled_in_vain(now);
        if !self.guarded.is_empty() {
            self.take_guarded(now_ms, host);
        }
        if self.holding.has_waiting() || !self.holding.is_empty() {
            self.take_holds(now_ms, host);
            self.give_up_holds(now, write_timeout, now_ms, host);
        }
        if self.has_failed() {
            return;
        }
        self.keep_to_share();
        self.sweep_tracked();
        if !self.waiting.is_empty() {
            self.look_again(now_ms, host);
        }
        self.expiry.rounds = 0;
        self.delete_expired(now_ms, host);
        self.publish(now_ms);
        let is_old = |measured: Instant| now.saturating_duration_since(measured) >= limits::DISK_MEASURE;
        if self.disk_measured.is_none_or(is_old) {
            self.disk_measured = Some(now);
            self.publish_disk();
            self.publish_followers();
        }
    }

    /// Takes the memory that is the shard's now, if groups have come or gone, and gives back a little of what is too much.
    fn keep_to_share(&mut self) {
        let version = self.server.shares.version();
        if version != self.shares_version {
            self.shares_version = version;
            let (budget, bounds) = (self.server.shares.budget(), self.server.reply_bounds());
            let mut machine = self.machine.borrow_mut();
            machine.store.set_memory(budget.memtable_bytes, budget.row_cache_bytes);
            machine.bounds = bounds;
            if let Some(views) = &machine.views {
                views.set_reply_bytes_max(bounds.shard_bytes_max);
            }
            self.group.set_log_tail_bytes(budget.log_tail_bytes);
            self.batches.replies.bytes_max = bounds.shard_bytes_max;
            self.batches.pressure.set_memtable_bytes(budget.memtable_bytes);
        }
        self.machine.borrow_mut().store.give_back_memory();
    }

    /// Writes what is in memory to disk, so that the next start replays nothing.
    ///
    /// # Errors
    /// What could not be written.
    pub async fn close(&mut self, failed: bool) -> Result<(), basalt_raft::Error> {
        // Their threads tell a core that runs no more turns: an entry that waits for one goes on without.
        self.machine.borrow_mut().views = None;
        // Nor is there any for an entry of scripts to take between.
        self.machine.borrow_mut().takes_turns = false;
        self.machine.borrow().turns.ring();
        // After a failure an entry may be half applied: the log has it whole, and is what counts.
        let written = match if failed { Ok(()) } else { self.group.write_out().await } {
            Err(basalt_raft::Error::Unwritten(reason)) => {
                tracing::warn!(
                    shard = self.id.0,
                    reason,
                    "rows in memory are not on disk: the next start takes them from the log"
                );
                Ok(())
            }
            written => written,
        };
        written.and(self.group.shutdown().await)
    }

    /// Closes the shard as [`Shard::close`] does, and gives back what of its files is open: closing them may block. What is missing
    /// goes with those of the group's tasks that have not ended.
    pub async fn end(mut self, failed: bool) -> (Option<RaftLog>, Option<Store>) {
        let id = self.id;
        if let Err(error) = self.close(failed).await {
            // Its log could not be made durable: the disk is at fault, or what syncs it.
            self.server.fail(format!("shard {id} cannot be closed: {error}"));
        }
        let Shard { machine, group, .. } = self;
        let log = group.into_log();
        (log, Rc::into_inner(machine).map(|machine| machine.into_inner().store))
    }

    /// The shard's Raft group.
    pub fn group(&self) -> &Group {
        &self.group
    }

    /// Returns whether the group has stopped through a fault, or is about to: the rows in memory may hold half an entry, so that
    /// nothing may be read.
    pub fn has_failed(&self) -> bool {
        self.group.has_failed() || self.machine.borrow().is_broken()
    }

    /// Returns whether a request is to be refused, whatever it asks.
    pub fn takes_nothing(&self) -> bool {
        self.is_closed_to_clients || self.has_failed()
    }

    /// Takes no more requests: the node gives the shard up, or wants to see if it can.
    pub fn close_to_clients(&mut self) {
        self.is_closed_to_clients = true;
    }

    /// Returns whether it takes no more requests.
    pub fn is_closed_to_clients(&self) -> bool {
        self.is_closed_to_clients
    }

    /// Tells the other cores who leads the group, if that is another one than they were told last, and returns what the routing
    /// is to be told. To be called before requests are refused for it.
    pub fn tell_leadership(&mut self) -> Option<(ShardId, Leads)> {
        let (leads, state) = if self.has_failed() {
            (Leads::NotOpen, None)
        } else if self.group.is_leader() {
            (Leads::Here, Some(GroupState::Leader))
        } else {
            // A former leader that has been started again has its own vote still.
            let leader = self.group.other_leader_host();
            let state = if leader.is_some() { GroupState::Follower } else { GroupState::Leaderless };
            (Leads::Node(leader), Some(state))
        };
        let before = self.told_leads.replace((leads, state));
        if before == Some((leads, state)) {
            return None;
        }
        if matches!(before, Some((Leads::Here, _))) && leads != Leads::Here {
            // What others write may be here late, or never.
            self.machine.borrow_mut().store.tracked_mut().note_all();
        }
        if let Some(state) = state {
            self.server.note_state(self.id, state);
        }
        Some((self.id, leads))
    }

    /// Returns whether a request of `mode` may be added. A plain read has no place in the batch; too much parked is all that bars
    /// it.
    pub fn has_room_for(&self, mode: Mode) -> bool {
        match mode {
            Mode::Read | Mode::Local => !self.parking.waiting.is_full() && !self.reading.is_full(),
            Mode::ReadInOrder | Mode::Write | Mode::Guarded => !self.is_backlogged(),
        }
    }

    /// Returns whether so much waits in the shard, in the batch being collected or beside it, that nothing should be added but
    /// plain reads.
    pub fn is_backlogged(&self) -> bool {
        self.batches.open.bytes.len() + self.batches.open.reads.len() + self.batches.open.copied_bytes
            >= self.batches.pressure.slow_down().batch_bytes_max()
            || self.batches.open.operations.len() + self.batches.open.member_count >= limits::BATCH_OPERATIONS_MAX
            || self.parking.waiting.is_full()
            || self.reading.is_full()
            || self.batches.open.script_work >= limits::BATCH_SCRIPT_WORK_MAX
            || self.batches.reads_behind.is_full()
            || self.batches.reads_behind.script_work >= limits::BATCH_SCRIPT_WORK_MAX
            || self.expects_too_much()
    }

    /// Returns whether replies wait until the core takes them.
    pub fn has_replies(&self) -> bool {
        self.batches.replies.answering.is_some()
            || !self.batches.outcomes.borrow().is_empty()
            || self.has_views()
            || self.reading.has_some()
            || self.holding.has_ready()
    }

    /// Returns whether a batch waits for a log or rows that cannot take more right now, or not as fast, and must be tried again
    /// soon.
    pub fn is_held(&self) -> bool {
        (self.batches.hold.is_some() || self.batches.pressure.slow_down().is_waiting())
            && (self.batches.open.write_count > 0 || !self.batches.own_entries.is_empty())
    }

    /// Returns whether a batch has been on its way for so short a time at `now` that it is likely to be over in a moment.
    pub fn commits_soon(&self, now: Instant) -> bool {
        let in_flight = self.batches.in_flight.borrow();
        in_flight.front().is_some_and(|batch| now.saturating_duration_since(batch.since) < limits::COMMITS_SOON)
    }

    /// The writes that are not answered yet at `now`. Of those on their way, the ones that wait for a sync, and not for something
    /// that only concerns this shard.
    pub fn outstanding(&self, now: Instant) -> Outstanding {
        let flying = if self.commits_soon(now) { self.flying_writes() } else { 0 };
        // What the log or the rows in memory cannot take is no part of what leaves next.
        let in_flight = self.batches.in_flight.borrow().len();
        let is_stopped = self.is_held() || in_flight >= limits::BATCHES_IN_FLIGHT;
        let waiting = if is_stopped { 0 } else { self.batches.open.write_count };
        self.batches.group_commit.outstanding(waiting, flying)
    }

    /// Notes what is outstanding in the other shards of the core, for the batch that is proposed next.
    pub fn note_others(&mut self, others: Outstanding) {
        self.batches.group_commit.note_others(others);
    }

    /// Returns the number of writes on their way.
    fn flying_writes(&self) -> usize {
        self.batches.in_flight.borrow().iter().map(|batch| batch.write_count).sum()
    }

    /// Returns whether the batch that was collected waits for more.
    pub fn is_gathering(&self) -> bool {
        self.batches.open.write_count > 0 && self.batches.group_commit.is_holding()
    }

    /// Returns whether many clients write to this shard at `now`.
    pub fn expects_many_writes(&self, now: Instant) -> bool {
        self.batches.group_commit.expects_many(now)
    }

    /// Returns the number of writes that the batch that was collected still waits for, if it waits for nothing but the clients.
    pub fn missing_writes(&self) -> Option<usize> {
        self.batches.group_commit.missing(self.batches.open.write_count)
    }

    /// Returns whether the batch that was collected waits for nothing but the clients.
    pub fn waits_for_clients(&self) -> bool {
        self.batches.group_commit.waits_for_clients()
    }

    /// Returns whether requests wait for something.
    pub fn is_busy(&self) -> bool {
        self.batches.open.write_count > 0
            || !self.batches.in_flight.borrow().is_empty()
            || !self.parking.parked.is_empty()
            || !self.reading.is_empty()
            || !self.guarded.is_empty()
            || !self.replicated.is_empty()
            || self.holding.has_waiting()
            || !self.batches.own_entries.is_empty()
            || self.batches.replies.answering.is_some()
            || self.views_are_awaited()
    }

    /// Returns whether threads that execute reads have said something.
    fn has_views(&self) -> bool {
        self.machine.borrow().views.as_ref().is_some_and(Views::has_some)
    }

    /// Returns whether reads that stood between writes are executed by other threads.
    fn views_are_awaited(&self) -> bool {
        self.machine.borrow().views.as_ref().is_some_and(Views::are_awaited)
    }

    /// Runs a read of this core's own connection without encoding it first. Nothing may be parked for the connection, and reads
    /// must not have to wait.
    pub fn read_now(
        &mut self,
        handler: Run,
        header: RequestHeader,
        args: Args<'_>,
        now_ms: u64,
        out: &mut Vec<u8>,
    ) -> ReadOutcome {
        self.machine.borrow_mut().read_now(handler, header, args, now_ms, out)
    }

    /// Returns whether any key has a deadline, or any field, as far as a leader knows.
    pub fn has_deadlines(&self) -> bool {
        let machine = self.machine.borrow();
        let may_have_fields = || machine.scratch.has_new_field_deadline() || self.expiry.fields_next_ms < u64::MAX;
        machine.store.counters().deadlines.iter().any(|&count| count > 0)
            || (self.group.is_leader() && may_have_fields())
    }

    /// Adds a write to the batch, without a look at the rows it needs; `encode` writes its bytes.
    pub fn write(&mut self, origin: Option<Origin>, encode: impl FnOnce(&mut Vec<u8>)) {
        let at = batch::push(&mut self.batches.open.bytes, encode);
        if let Some(origin) = origin.filter(|origin| holding::is_coordinators(origin.client)) {
            let command_count = self.commands_in(at.clone());
            if self.takes_own_entry(origin, at.clone(), command_count) {
                return;
            }
            self.batches.open.member_count += command_count;
        }
        self.expect_changes(&self.batches.open.bytes[at]);
        self.joined(origin, None);
    }

    /// Counts a write whose bytes were added to the batch, and what its reply is expected to have, if it may be large.
    fn joined(&mut self, origin: Option<Origin>, expected_bytes: Option<usize>) {
        self.batches.open.write_count += 1;
        self.batches.open.expected_bytes += expected_bytes.unwrap_or(0);
        self.batches.open.operations.push(Operation { origin, read: None, returns_values: expected_bytes.is_some() });
    }
}
