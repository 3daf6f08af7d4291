//! The handle of one shard's Raft group on this node.

mod config;
mod drive;
mod freshness;
mod heartbeats;
mod install;
mod lead;
mod members;
#[cfg(test)]
mod members_tests;
mod observe;
mod purge;
mod quiet;
mod receive;
mod report;
mod status;
#[cfg(test)]
mod tests;

use std::cell::{Cell, RefCell};
use std::future::Future;
use std::rc::{Rc, Weak};
use std::sync::Arc;
use std::time::Duration;

use basalt_storage::log::{Backlog, LogMemory, RaftLog};
use bytes::Bytes;
use futures_util::FutureExt;
use openraft::async_runtime::watch::WatchReceiver;
use openraft::errors::{Fatal, LinearizableReadError, RaftError};
use openraft::{AsyncRuntime, ReadPolicy};

use crate::completions::Background;
use crate::disk::{Disk, GroupLog, Rocks};
use crate::entry::new_batch;
use crate::error::{Error, Fault, ProposeError, Reach, Refused, Result};
use crate::generations::{Generations, WritePace};
use crate::ids::{EntryId, NodeId};
use crate::limits::{DRIVE_EVERY, SHUTDOWN_WAIT};
use crate::log_store::LogStore;
use crate::machine::Machine;
use crate::options::{GroupHooks, GroupOptions};
use crate::outcomes::Outcomes;
use crate::pairing::check_pairing;
use crate::peer::{Peers, Restraints};
use crate::runtime::{GlommioRuntime, watching};
use crate::sabotage::{self, Sabotage};
use crate::snapshot::Checkpoints;
use crate::source::Instant;
use crate::state_machine::StateMachine;
use crate::transport::{NoPeers, Transport};
use crate::types::{LogId, TypeConfig};

pub use members::{Former, Member, Members, Progress, Standing};
pub use status::{GroupStatus, Role};

use config::raft_config;
use drive::drive;
use freshness::Freshness;
use purge::Purging;
use report::Report;
use status::role;

type Raft<D> = openraft::Raft<TypeConfig, StateMachine<D>>;

/// One shard's Raft group on this node. Clones are handles of the same group; all stay on its core.
///
/// Dropping the last handle stops the group without waiting; [`Group::shutdown`] waits.
pub struct Group<D: Disk = Rocks>(Rc<Inner<D>>);

impl<D: Disk> Clone for Group<D> {
    fn clone(&self) -> Self {
        Group(self.0.clone())
    }
}

struct Inner<D: Disk> {
    options: GroupOptions,
    raft: Raft<D>,
    log: LogStore<D::Log>,
    generations: Rc<Generations<D>>,
    outcomes: Rc<Outcomes>,
    on_fatal: Box<dyn Fn(Fault)>,
    /// Set while more is on disk than openraft is known to know.
    is_unreported: Cell<bool>,
    /// The newest question for a snapshot, which tells it.
    report: RefCell<Option<Report>>,
    purging: Rc<Purging>,
    /// The next reports that a test wants to be forgotten.
    #[cfg(test)]
    reports_lost: Cell<u32>,
    leader: Cell<Option<NodeId>>,
    is_leader: Cell<bool>,
    sends_heartbeats: Cell<bool>,
    /// Set while a task sends heartbeats, or is about to end.
    has_heart: Cell<bool>,
    /// The last time that the leader was heard of, if this node follows.
    heard_leader: Cell<Option<Instant>>,
    /// Set while a task looks whether the leader is quiet.
    looks_for_quiet: Cell<bool>,
    /// The term that this node leads in, and since when, if it does.
    led: Cell<Option<(u64, Instant)>>,
    /// The place of the membership that has this node as its only voter, while that counts.
    alone_since: Cell<Option<LogId>>,
    /// The newest term in which this node has led and has executed what was acknowledged before.
    caught_up_in: Cell<Option<u64>>,
    /// Set while this node changes the group's members.
    is_changing: Cell<bool>,
    /// The term whose lead this node has given away, since its disk does not answer, and to whom: it leads no more, though openraft
    /// only says so when the disk has taken a vote.
    given_away: Cell<Option<(u64, NodeId)>>,
    /// False while this node is not to come to lead.
    may_lead: Cell<bool>,
    /// The last time that this was said.
    may_not_lead_since: Cell<Option<Instant>>,
    restraints: Rc<Restraints>,
    freshness: Freshness,
    is_stopping: Cell<bool>,
    /// Messages with entries that wait until more is applied.
    waiting_appends: Cell<u32>,
    fatal: RefCell<Option<Fault>>,
}

impl Group {
    /// Opens a group that reaches no other node. As [`Group::open_with`].
    ///
    /// # Errors
    /// As [`Group::open_with`].
    pub async fn open(
        options: GroupOptions,
        hooks: GroupHooks,
        log: RaftLog,
        machine: Rc<RefCell<dyn Machine>>,
    ) -> Result<Group> {
        Group::open_with(options, hooks, Rc::new(NoPeers), log, machine).await
    }
}

impl<D: Disk> Group<D> {
    /// Opens a group on its log and its machine: executes what the log holds beyond the machine's store, and starts.
    ///
    /// A founder's log that is new gets the voters of `options` as its first entry. The only voter of a group campaigns at once,
    /// waits for no timeout, and leads when its vote is durable: see [`Group::wait_ready`]. Who is no founder waits, without a
    /// vote, until the group's leader tells of the group. Other members are reached through `transport`.
    ///
    /// Must run on the glommio executor of the group's core. Nobody needs to call [`Group::drain_completions`] before this
    /// returns.
    ///
    /// # Errors
    /// An option that cannot be used; a log or a store that cannot be read or written, or that do not fit together.
    pub async fn open_with(
        options: GroupOptions,
        hooks: GroupHooks,
        transport: Rc<dyn Transport>,
        log: D::Log,
        machine: Rc<RefCell<dyn Machine<D::Store>>>,
    ) -> Result<Group<D>> {
        options.check()?;
        let config = Arc::new(raft_config(&options)?);
        let GroupHooks { on_outcome, on_fatal, wake, background, readers } = hooks;
        check_pairing(&log, machine.borrow_mut().store())?;
        let log = LogStore::new(log, readers.clone(), wake.clone());
        let checkpoints = Checkpoints::open::<D::Store>(&options.snapshot_directory, &*background)?;
        let on_panic = log.on_panic(wake.clone());
        let generations = Generations::new(&options, machine.clone(), log.clone(), background, readers, wake)?;
        let outcomes = Outcomes::new(on_outcome);
        let (of_log, of_outcomes, of_generations) = (log.clone(), outcomes.clone(), generations.clone());
        let state_machine = StateMachine::new(options.shard, machine, of_log, of_outcomes, of_generations, checkpoints);

        let shortest = Duration::from_millis(options.election_timeout_ms.0);
        let restraints = Restraints::new(shortest);
        let peers = Peers::<D>::new(transport, options.quiet_before_election(), restraints.clone());

        // All of openraft's tasks are children of those that it spawns here. One that is gone would leave a group that looks alive.
        let opening = watching(on_panic, Raft::<D>::new(options.node, config, peers, log.clone(), state_machine));
        let opened = drive(|| drain(&log, &generations), opening).await;
        let raft = match opened {
            Ok(raft) => raft,
            Err(fatal) => {
                let (fault, background) = (reason(&log, &generations, &fatal), generations.background());
                drop(generations);
                close_elsewhere(log, &*background);
                return Err(Error::Fatal(fault));
            }
        };
        let group = Group(Rc::new(Inner {
            options,
            raft,
            log,
            generations,
            outcomes,
            on_fatal,
            is_unreported: Cell::new(false),
            report: RefCell::new(None),
            purging: Rc::default(),
            #[cfg(test)]
            reports_lost: Cell::new(0),
            leader: Cell::new(None),
            is_leader: Cell::new(false),
            sends_heartbeats: Cell::new(false),
            has_heart: Cell::new(false),
            heard_leader: Cell::new(None),
            looks_for_quiet: Cell::new(false),
            led: Cell::new(None),
            alone_since: Cell::new(None),
            caught_up_in: Cell::new(None),
            is_changing: Cell::new(false),
            given_away: Cell::new(None),
            may_lead: Cell::new(true),
            may_not_lead_since: Cell::new(None),
            restraints,
            freshness: Freshness::default(),
            is_stopping: Cell::new(false),
            waiting_appends: Cell::new(0),
            fatal: RefCell::new(None),
        }));
        group.watch();
        if let Err(error) = group.drive(group.join()).await {
            group.abandon().await;
            return Err(error);
        }
        // A founder has its members only now.
        group.0.observe();
        Ok(group)
    }

    /// Stops a group that could not be opened to its end. Its log is closed on another thread.
    pub async fn abandon(self) {
        if let Err(error) = self.shutdown().await {
            tracing::warn!(shard = self.0.options.shard, %error, "the log of a group that was not opened is not durable");
        }
        let (log, background) = (self.0.log.clone(), self.0.generations.background());
        drop(self);
        close_elsewhere(log, &*background);
    }

    /// Proposes `batch` as one entry. The outcome comes to [`GroupHooks::on_outcome`] with `ticket`: in the order of the
    /// proposals, which only [certain refusals](ProposeError::is_certain) may overtake; never before this returns, and not at all
    /// if this returns an error.
    ///
    /// Costs no task and waits for nothing: many batches may be on their way.
    ///
    /// # Errors
    /// The batch, which was not proposed, and why.
    pub fn propose(&self, batch: Bytes, ticket: u64) -> Result<(), Refused> {
        let inner = &*self.0;
        let reason = if inner.outcomes.len() >= inner.options.in_flight_max {
            Err(ProposeError::Backlog)
        } else {
            self.check_room(batch.len())
        };
        if let Err(reason) = reason {
            return Err(Refused { reason, batch });
        }
        let responder = inner.outcomes.begin(ticket);
        // The queue to openraft is longer than `in_flight_max`, so the message is taken at the first poll.
        let taken = inner.raft.client_write_ff(new_batch(&batch), Some(responder)).now_or_never();
        if matches!(taken, Some(Ok(()))) {
            inner.outcomes.proposed();
            return Ok(());
        }
        inner.outcomes.refused();
        Err(Refused { reason: ProposeError::Stopped, batch })
    }

    /// Tells if the group would take a batch of `bytes` now, were not too many on their way.
    ///
    /// # Errors
    /// Why it would not.
    pub fn check_room(&self, bytes: usize) -> Result<(), ProposeError> {
        let inner = &*self.0;
        if let Some(fatal) = inner.fatal.borrow().as_ref() {
            return Err(ProposeError::Fatal(fatal.text.clone()));
        }
        if inner.is_stopping.get() {
            return Err(ProposeError::Stopped);
        }
        if !inner.is_leader.get() {
            return Err(ProposeError::NotLeader { leader: inner.leader.get() });
        }
        if !inner.is_confirmed() {
            return Err(ProposeError::Unconfirmed);
        }
        inner.log.admit(bytes)
    }

    /// Takes what other threads finished: syncs, after which entries are committed and executed, and generations. To be
    /// called on the group's core in each turn, at the latest after [`GroupHooks::wake`], while the machine is not borrowed.
    /// Costs a few loads when there is nothing.
    pub fn drain_completions(&self) {
        let inner = &self.0;
        drain(&inner.log, &inner.generations);
        inner.purge_if_due();
        if let Some(fault) = inner.log.fault().or_else(|| inner.generations.fault()) {
            inner.fail(fault);
        }
    }

    /// Returns true if a linearizable read must wait for [`Group::read_barrier`]. Not in a group of one voter, once it leads and
    /// has executed what was acknowledged before: nobody else can have acknowledged a write. From the moment that a second voter
    /// is in its log it must.
    pub fn needs_read_barrier(&self) -> bool {
        let inner = &*self.0;
        !(inner.is_leader.get() && inner.leads_alone())
    }

    /// Waits until a read of the machine sees every write that was acknowledged before this call (Raft's ReadIndex). One
    /// call serves all reads of a turn.
    ///
    /// # Errors
    /// [`Error::NotLeader`]; [`Error::Fatal`] when the group has stopped.
    pub async fn read_barrier(&self) -> Result<()> {
        if sabotage::is(Sabotage::NoReadBarrier) && self.0.is_leader.get() {
            return Ok(());
        }
        let term = self.leads_in();
        match self.0.raft.ensure_linearizable(ReadPolicy::ReadIndex).await {
            Ok(_) => {
                self.0.caught_up_in.set(self.0.caught_up_in.get().max(term));
                Ok(())
            }
            Err(RaftError::APIError(LinearizableReadError::ForwardToLeader(forward))) => {
                Err(Error::NotLeader { leader: forward.leader_id })
            }
            Err(RaftError::APIError(LinearizableReadError::QuorumNotEnough(_))) => {
                Err(Error::NotLeader { leader: self.0.leader.get() })
            }
            Err(RaftError::Fatal(fatal)) => Err(self.0.stopped_by(&fatal)),
        }
    }

    /// Waits until the group has a leader and this node has executed everything that its log held at the start, so that
    /// reads show no older state than before a restart. Drives the group's completions itself.
    ///
    /// # Errors
    /// [`Error::Fatal`] when the group has stopped.
    pub async fn wait_ready(&self) -> Result<()> {
        let recovered = self.drive(self.0.raft.wait_for_recovery(None)).await;
        if recovered.is_err() {
            return Err(self.stop_reason());
        }
        // The leader's own state follows a moment later.
        let mut server = self.0.raft.server_metrics();
        while self.0.leader.get().is_none() {
            if self.drive(server.changed()).await.is_err() {
                return Err(self.stop_reason());
            }
            self.0.observe();
        }
        // What a leader of one acknowledged before was in its log at the start.
        if self.0.alone_since.get().is_some() {
            self.0.caught_up_in.set(self.leads_in());
        }
        Ok(())
    }

    /// Returns the state of the group.
    pub fn status(&self) -> GroupStatus {
        let inner = &*self.0;
        let metrics = inner.raft.metrics();
        let metrics = metrics.borrow_watched();
        let index = |id: &Option<LogId>| id.as_ref().map(|id| id.index());
        let is_given_away = self.is_given_away();
        GroupStatus {
            role: if is_given_away { Role::Follower } else { role(&metrics) },
            term: metrics.current_term,
            leader: if is_given_away { inner.leader.get() } else { metrics.current_leader },
            voter_count: metrics.membership_config.voter_ids().count(),
            last_log: metrics.last_log_index,
            committed: index(&metrics.local_committed),
            applied: index(&metrics.last_applied),
            durable_applied: index(&inner.generations.durable_id()),
            purged: index(&metrics.purged),
            log_bytes: inner.log.bytes(),
            in_flight_count: inner.outcomes.len(),
        }
    }

    /// Returns the pace at which rows leave the memory for the disk, for who must not fill it faster.
    pub fn write_pace(&self) -> WritePace {
        self.0.generations.pace()
    }

    /// Segments of the log that wait to be written as tables. Takes RocksDB's lock for a moment.
    pub fn log_backlog(&self) -> Backlog {
        self.0.log.backlog()
    }

    /// Bytes of the entries in the log.
    pub fn log_bytes(&self) -> u64 {
        self.0.log.bytes()
    }

    /// Sets how many bytes of its newest entries the log keeps in memory from now on.
    pub fn set_log_tail_bytes(&self, bytes: usize) {
        self.0.log.set_tail_bytes(bytes);
    }

    /// Returns where the log's memory is. Takes RocksDB's lock for a moment: not for every request.
    pub fn log_memory(&self) -> LogMemory {
        self.0.log.memory()
    }

    /// Writes all rows that are only in memory to disk and waits for it; the log is purged up to there afterwards. After a
    /// shutdown that follows, a restart executes nothing again.
    ///
    /// # Errors
    /// With what the store said: [`Error::Unwritten`] if that passes, else [`Error::Fatal`].
    pub async fn write_out(&self) -> Result<()> {
        self.drive(self.0.generations.write_out()).await.map(drop)
    }

    /// Stops the group: no more entries, the log made durable whatever the durability mode, log and store let go. Batches
    /// on their way get [`ProposeError::Stopped`], so propose no more and wait for the outcomes first.
    ///
    /// # Errors
    /// [`Error::Fatal`] if the log cannot be made durable.
    pub async fn shutdown(&self) -> Result<()> {
        let inner = &*self.0;
        inner.is_stopping.set(true);
        if let Err(error) = self.drive(inner.raft.shutdown()).await {
            tracing::warn!(shard = inner.options.shard, %error, "the group's core did not stop by itself");
        }
        let synced = self.drive(inner.log.sync_to_disk()).await;
        // Other handles are those of tasks that end by themselves. Ours are the group's and its generations'.
        let deadline = Instant::now() + SHUTDOWN_WAIT;
        while inner.log.handle_count() > 2 && Instant::now() < deadline {
            self.drain_completions();
            GlommioRuntime::sleep(DRIVE_EVERY).await;
        }
        synced.map_err(|error| Error::Fatal(Fault::of_node(error)))
    }

    /// Returns true once the group has stopped for good, and not because it was asked to.
    pub fn has_failed(&self) -> bool {
        self.0.fatal.borrow().is_some()
    }

    /// Returns true while this node leads the group, as far as it knows.
    pub fn is_leader(&self) -> bool {
        self.0.is_leader.get()
    }

    /// This node.
    pub fn node(&self) -> NodeId {
        self.0.options.node
    }

    /// The group's name in logs.
    pub fn shard(&self) -> u32 {
        self.0.options.shard
    }

    /// The node that leads the group, as far as this one knows.
    pub fn leader(&self) -> Option<NodeId> {
        self.0.leader.get()
    }

    /// The last entry that this node has executed.
    pub fn applied(&self) -> Option<EntryId> {
        let metrics = self.0.raft.metrics();
        let metrics = metrics.borrow_watched();
        metrics.last_applied.as_ref().map(|id| EntryId { term: id.committed_leader_id().term, index: id.index() })
    }

    /// Returns true if this node is the group's only voter, so that nobody else can lead it.
    pub fn is_only_voter(&self) -> bool {
        self.0.alone_since.get().is_some()
    }

    /// Returns true if the group has no members but this node, learners included.
    pub fn is_only_member(&self) -> bool {
        let server = self.0.raft.server_metrics();
        let server = server.borrow_watched();
        self.is_only_voter() && server.membership_config.membership().nodes().count() == 1
    }

    /// Gives the log back after a shutdown, for who closes it where it may block. `None` if another handle of the group is left,
    /// with which it goes.
    pub fn into_log(self) -> Option<D::Log> {
        let log = self.0.log.clone();
        drop(self);
        log.into_log()
    }

    /// Makes this node part of its group: its founder if the log is new and it is to found it, its leader if it is the only voter.
    async fn join(&self) -> Result<()> {
        let inner = &*self.0;
        let fatal = |fatal: Fatal<TypeConfig>| Error::Fatal(inner.reason(&fatal));
        let is_new = !inner.raft.is_initialized().await.map_err(fatal)?;
        let known = inner.raft.server_metrics().borrow_watched().membership_config.membership().nodes().count();
        let member_count = if is_new && inner.options.founder { inner.options.voters.len() } else { known };
        inner.log.check_member_count(member_count)?;
        if is_new && !inner.options.founder {
            tracing::info!(shard = inner.options.shard, "waits for the group's leader to tell of the group");
            return Ok(());
        }
        if is_new {
            return match inner.raft.initialize(inner.options.voters.clone()).await {
                Ok(()) => Ok(()),
                Err(RaftError::Fatal(error)) => Err(fatal(error)),
                Err(error) => Err(Error::Fatal(Fault::of_node(error))),
            };
        }
        let mut voters = inner.raft.voter_ids();
        if voters.next() == Some(inner.options.node) && voters.next().is_none() {
            inner.raft.trigger().elect(false).await.map_err(fatal)?;
        }
        Ok(())
    }

    /// Follows the group's leader and members, and notices its end.
    fn watch(&self) {
        let group: Weak<Inner<D>> = Rc::downgrade(&self.0);
        let mut server = self.0.raft.server_metrics();
        let metrics = self.0.raft.metrics();
        self.0.observe();
        drop(GlommioRuntime::spawn(async move {
            while server.changed().await.is_ok() {
                let Some(group) = group.upgrade() else { return };
                group.observe();
            }
            // openraft is gone. If that was not wanted, it has left the reason.
            let Some(group) = group.upgrade() else { return };
            group.is_leader.set(false);
            let ended = metrics.borrow_watched().running_state.clone();
            let fault = match ended {
                Err(fatal) => group.reason(&fatal),
                Ok(()) => group.reason(&Fatal::Panicked),
            };
            if !group.is_stopping.get() {
                group.fail(fault);
            }
        }));
    }

    /// Runs `future` and looks for completions meanwhile: the core may not yet, or no longer, do it.
    async fn drive<F: Future>(&self, future: F) -> F::Output {
        drive(|| self.drain_completions(), future).await
    }

    fn stop_reason(&self) -> Error {
        match self.0.raft.metrics().borrow_watched().running_state.clone() {
            Err(fatal) => self.0.stopped_by(&fatal),
            Ok(()) => self.0.stopped_by(&Fatal::Stopped),
        }
    }
}

impl<D: Disk> Inner<D> {
    /// Reports once that the group is over.
    fn fail(&self, fault: Fault) {
        // What others share may turn out to be at fault behind what concerned the group alone.
        let is_known = |known: &Fault| known.reach == Reach::Node || fault.reach == Reach::Group;
        if self.fatal.borrow().as_ref().is_some_and(is_known) {
            return;
        }
        tracing::error!(shard = self.options.shard, reason = fault.text, "the group has stopped for good");
        *self.fatal.borrow_mut() = Some(fault.clone());
        self.is_leader.set(false);
        (self.on_fatal)(fault);
    }

    fn reason(&self, fatal: &Fatal<TypeConfig>) -> Fault {
        reason(&self.log, &self.generations, fatal)
    }

    /// The error of a call that openraft did not take any more. That it was asked to stop is nobody's fault.
    fn stopped_by(&self, fatal: &Fatal<TypeConfig>) -> Error {
        let is_wanted = self.is_stopping.get() && matches!(fatal, Fatal::Stopped);
        let has_fault = self.log.fault().is_some() || self.generations.fault().is_some();
        if is_wanted && !has_fault { Error::Stopped } else { Error::Fatal(self.reason(fatal)) }
    }
}

/// Has a log closed, which may block, on another thread, if this is its last handle.
fn close_elsewhere<L: GroupLog>(log: LogStore<L>, background: &dyn Background) {
    if let Some(log) = log.into_log() {
        log.close(background);
    }
}

/// The cause of a fatal error: the log's or the store's own words if they have any, else openraft's.
fn reason<D: Disk>(log: &LogStore<D::Log>, generations: &Generations<D>, fatal: &Fatal<TypeConfig>) -> Fault {
    log.fault().or_else(|| generations.fault()).unwrap_or_else(|| Fault::of_node(fatal))
}

fn drain<D: Disk>(log: &LogStore<D::Log>, generations: &Generations<D>) {
    log.drain();
    generations.advance();
}
