//! The state machine as openraft sees it: hands committed entries to the [`Machine`], one after the other.
//!
//! What a newcomer would get wrong: openraft may commit an entry before this node has it on disk (a quorum elsewhere
//! does). It is applied only once the local log has flushed it; else a store could write out rows of an entry that its own
//! log loses in a crash.
//!
//! An entry that cannot be executed stops the group, at each start again. It is noted in the log's directory which one it is; an
//! operator may have it skipped from then on ([`basalt_storage::log::Skips`]).

#[cfg(test)]
use std::cell::Cell;
use std::cell::RefCell;
use std::collections::BTreeMap;
use std::io;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::rc::Rc;

use basalt_storage::log::{Skips, Stopped};
use futures_util::{Stream, StreamExt};
use openraft::OptionalSend;
use openraft::entry::RaftEntry;
use openraft::storage::RaftStateMachine;

use crate::disk::{Disk, GroupStore, Rocks};
use crate::entry::{encode_log_id, encode_stored_membership};
use crate::error::Fault;
use crate::generations::{Generations, point_of};
use crate::ids::{EntryId, Replies};
use crate::limits::APPLY_SLICE;
use crate::log_store::LogStore;
use crate::machine::{Executed, Machine, MachineError};
use crate::outcomes::Outcomes;
use crate::runtime::{panic_text, yield_now};
use crate::sabotage::{self, Sabotage};
use crate::snapshot::{Checkpoints, Snapshot, SnapshotBuilder, SnapshotData};
use crate::source::Instant;
use crate::types::{Entry, EntryPayload, EntryResponder, LogId, SnapshotMeta, StoredMembership, TypeConfig, entry_id};

/// Applies entries to a machine.
pub(crate) struct StateMachine<D: Disk = Rocks> {
    /// The name of the group on this node, for whoever reads what is said.
    shard: u32,
    machine: Rc<RefCell<dyn Machine<D::Store>>>,
    /// The log that must have an entry before it is applied.
    log: LogStore<D::Log>,
    /// Knows the tickets of the entries that were proposed here.
    outcomes: Rc<Outcomes>,
    generations: Rc<Generations<D>>,
    checkpoints: Rc<Checkpoints>,
    /// The entries that are not executed.
    skips: RefCell<Option<Skips>>,
    #[cfg(test)]
    pub(crate) takes_gaps: Cell<bool>,
}

impl<D: Disk> StateMachine<D> {
    pub(crate) fn new(
        shard: u32,
        machine: Rc<RefCell<dyn Machine<D::Store>>>,
        log: LogStore<D::Log>,
        outcomes: Rc<Outcomes>,
        generations: Rc<Generations<D>>,
        checkpoints: Rc<Checkpoints>,
    ) -> Self {
        StateMachine {
            shard,
            skips: RefCell::new(log.skips()),
            machine,
            log,
            outcomes,
            generations,
            checkpoints,
            #[cfg(test)]
            takes_gaps: Cell::new(false),
        }
    }

    /// Executes `entry`; whether somebody here waits for its replies is `is_awaited`.
    async fn apply_entry(&self, entry: &Entry, is_awaited: bool) -> io::Result<Replies> {
        let id = entry_id(&entry.log_id());
        self.check_order(id)?;
        let (replies, bytes, membership) = match &entry.payload {
            EntryPayload::Blank => (Replies::default(), 0, None),
            EntryPayload::Normal(batch) if self.is_skipped(id) => {
                let (index, term) = (id.index, id.term);
                tracing::warn!(shard = self.shard, index, term, "an entry is skipped, as it was ordered");
                self.machine.borrow_mut().store().begin_entry();
                let skipped = self.machine.borrow_mut().skip(self.shard, batch.commands());
                skipped.map_err(|error| self.fault(format!("entry {id} cannot be skipped: {error}")))?;
                (Replies::default(), batch.commands().len(), None)
            }
            EntryPayload::Normal(batch) => {
                let ticket = if is_awaited { self.outcomes.take_ticket(id.index) } else { None };
                if sabotage::is(Sabotage::AppliedTwice) && id.index.is_multiple_of(16) {
                    self.execute(id, batch.commands(), ticket).await?;
                }
                (self.execute(id, batch.commands(), ticket).await?, batch.commands().len(), None)
            }
            EntryPayload::Membership(membership) => {
                let stored = StoredMembership::new(Some(entry.log_id()), membership.clone());
                (Replies::default(), 0, Some(encode_stored_membership(&stored)))
            }
        };
        let mut machine = self.machine.borrow_mut();
        let store = machine.store();
        store.set_applied(id.index, &encode_log_id(&entry.log_id()), membership.as_deref());
        self.generations.applied(bytes, store);
        Ok(replies)
    }

    fn is_skipped(&self, id: EntryId) -> bool {
        self.skips.borrow().as_ref().is_some_and(|skips| skips.is_skipped(id.index, id.term))
    }

    fn check_order(&self, id: EntryId) -> io::Result<()> {
        let mut machine = self.machine.borrow_mut();
        let applied = machine.store().applied();
        // The same after a snapshot was installed: it brings the index up to which it is applied.
        let next = if applied.log_id.is_empty() { 0 } else { applied.index + 1 };
        if id.index < next {
            return Err(self.fault(format!("entry {id} came again: entry {} is applied", applied.index)));
        }
        if id.index > next && !self.takes_gaps() {
            return Err(self.fault(format!("entry {id} came before entry {next}, which is not applied")));
        }
        Ok(())
    }

    #[cfg(not(test))]
    fn takes_gaps(&self) -> bool {
        false
    }

    /// True in openraft's suite, which applies entries that do not follow each other.
    #[cfg(test)]
    fn takes_gaps(&self) -> bool {
        self.takes_gaps.get()
    }

    /// Executes a batch, and lets the core go on with other things while rows are fetched for it.
    async fn execute(&self, id: EntryId, batch: &[u8], ticket: Option<u64>) -> io::Result<Replies> {
        self.machine.borrow_mut().store().begin_entry();
        loop {
            // Caught here, not by the task: which entry it was must be known at the next start.
            let outcome = catch_unwind(AssertUnwindSafe(|| self.machine.borrow_mut().apply(id, batch, ticket)));
            let executed = match outcome {
                Ok(Ok(executed)) => executed,
                Ok(Err(error)) => return Err(self.not_executed(id, &error)),
                Err(panic) => return Err(self.stopped_by(id, format!("executing it panicked: {}", panic_text(panic)))),
            };
            match executed {
                Executed::Whole(replies) => {
                    self.executed(id);
                    return Ok(replies);
                }
                Executed::Cold { read, pins } => {
                    let fetched = self.generations.fetch(read, pins).await;
                    fetched.map_err(|error| self.fault(format!("entry {id}: {error}")))?;
                }
                Executed::Later(later) => later.wait().await,
            }
        }
    }

    /// Notes that an entry could be executed which had stopped the shard: by another version of the program.
    fn executed(&self, id: EntryId) {
        let mut skips = self.skips.borrow_mut();
        let Some(skips) = skips.as_mut() else { return };
        if skips.stopped().is_none_or(|stopped| stopped.index != id.index) {
            return;
        }
        // Waits for the disk, once in the life of a directory and before anybody is served.
        match skips.note_executed() {
            Ok(()) => {
                tracing::info!(
                    shard = self.shard,
                    index = id.index,
                    "the entry that had stopped the shard was executed"
                );
            }
            Err(error) => tracing::warn!(%error, "the entry that had stopped the shard is still noted as such"),
        }
    }

    /// The fault of the group when an entry was not executed.
    fn not_executed(&self, id: EntryId, error: &MachineError) -> io::Error {
        use basalt_storage::Error as StorageError;
        match error {
            // The entry's own fault: it will be the same each time, on each replica.
            MachineError::Batch(_) => self.stopped_by(id, error.to_string()),
            MachineError::Storage(StorageError::Corruption { .. }) => self.stopped_by_damage(id, error.to_string()),
            MachineError::Storage(_) => self.fault(format!("entry {id}: {error}")),
        }
    }

    /// Stops the group because of an entry that cannot be executed, and notes which one it is. Half of it may be in memory, where
    /// nobody may read it: so it waits for the disk, and nothing else runs between.
    fn stopped_by(&self, id: EntryId, reason: String) -> io::Error {
        let EntryId { index, term } = id;
        let shard = self.note_stopped(id, &reason);
        self.fault_of_group(format!(
            "entry {index} of term {term} cannot be executed: {reason}; start a version that can execute it, or give up all it \
             writes, for good, by BASALT REOPEN {shard} SKIP {index} or one start with --skip-entry {shard}:{index}"
        ))
    }

    /// The same because of damaged rows, which say nothing against the entry: another copy of the shard can execute it, and one
    /// that skips it differs from those.
    fn stopped_by_damage(&self, id: EntryId, reason: String) -> io::Error {
        let EntryId { index, term } = id;
        let shard = self.note_stopped(id, &reason);
        self.fault_of_group(format!(
            "entry {index} of term {term} met damage: {reason}; nothing is wrong with the entry: put a copy of the shard back that is \
             whole, and only if there is none, give up all the entry writes, for good, by BASALT REOPEN {shard} SKIP {index} or one \
             start with --skip-entry {shard}:{index}"
        ))
    }

    /// Notes which entry has stopped the shard, and returns the shard's number.
    fn note_stopped(&self, id: EntryId, reason: &str) -> u32 {
        let EntryId { index, term } = id;
        let mut skips = self.skips.borrow_mut();
        let Some(skips) = skips.as_mut() else { return self.shard };
        if let Err(error) = skips.note_stopped(Stopped { index, term, reason: reason.to_owned() }) {
            tracing::warn!(shard = self.shard, %error, "it could not be noted which entry has stopped the shard");
        }
        self.shard
    }

    fn fault(&self, text: String) -> io::Error {
        self.log.note_fault(text.clone());
        io::Error::other(text)
    }

    fn fault_of_group(&self, text: String) -> io::Error {
        self.log.note_fault(Fault::of_group(text.clone()));
        io::Error::other(text)
    }
}

/// Lets other tasks run between entries. The first entry, most often the only one, costs no look at the clock.
#[derive(Default)]
struct Slice {
    is_begun: bool,
    ends: Option<Instant>,
}

impl Slice {
    async fn next(&mut self) {
        if !std::mem::replace(&mut self.is_begun, true) {
            return;
        }
        let now = Instant::now();
        match self.ends {
            Some(end) if now < end => {}
            Some(_) => {
                yield_now().await;
                self.ends = None;
            }
            None => self.ends = Some(now + APPLY_SLICE),
        }
    }
}

impl<D: Disk> RaftStateMachine<TypeConfig> for StateMachine<D> {
    type SnapshotData = SnapshotData<D>;
    type SnapshotBuilder = SnapshotBuilder<D>;

    async fn applied_state(&mut self) -> io::Result<(Option<LogId>, StoredMembership)> {
        let point = point_of(self.machine.borrow_mut().store().applied());
        let SnapshotMeta { last_log_id, mut last_membership } = point.map_err(|error| self.fault(error.to_string()))?;
        if sabotage::is(Sabotage::LearnersVote) {
            let nodes: BTreeMap<_, _> =
                last_membership.membership().nodes().map(|(id, at)| (*id, at.clone())).collect();
            last_membership = StoredMembership::new(*last_membership.log_id(), nodes.into());
        }
        Ok((last_log_id, last_membership))
    }

    async fn apply<Strm>(&mut self, mut entries: Strm) -> io::Result<()>
    where
        Strm: Stream<Item = io::Result<EntryResponder>> + Unpin + OptionalSend,
    {
        let mut slice = Slice::default();
        while let Some(item) = entries.next().await {
            let (entry, responder) = item?;
            self.log.flushed(entry.index()).await?;
            slice.next().await;
            self.generations.wait_for_room().await;
            let replies = self.apply_entry(&entry, responder.is_some()).await?;
            self.generations.wake_waiters().await;
            // The machine is not borrowed any more: who takes the replies may use it.
            if let Some(responder) = responder {
                responder.send(replies);
            }
        }
        Ok(())
    }

    /// Unless it has to be one of all that is applied, a snapshot is what is on disk already. So it is when openraft is asked for
    /// one, which is how it learns what it may purge, and nothing more is ever needed by a follower: the log goes on from there.
    async fn try_create_snapshot_builder(&mut self, force: bool) -> Option<SnapshotBuilder<D>> {
        Some(SnapshotBuilder::new(self.generations.clone(), self.checkpoints.clone(), force))
    }

    async fn get_snapshot_builder(&mut self) -> SnapshotBuilder<D> {
        SnapshotBuilder::new(self.generations.clone(), self.checkpoints.clone(), true)
    }

    async fn install_snapshot(&mut self, meta: &SnapshotMeta, snapshot: SnapshotData<D>) -> io::Result<()> {
        let fault = |error: crate::Error| self.fault(format!("installing the snapshot of entry {meta}: {error}"));
        let (checkpoint, received) = snapshot.into_checkpoint().await.map_err(fault)?;
        // Checked before openraft saw it: what came with other rows than it says is refused, and no fault.
        if received != *meta {
            return Err(self.fault(format!("a snapshot of {received} came for one of {meta}")));
        }
        let Some(last) = received.last_log_id else {
            return Err(self.fault(format!("an empty snapshot came for one of {meta}")));
        };
        self.generations.install(checkpoint.take(), last).await.map_err(fault)
    }

    async fn get_current_snapshot(&mut self) -> io::Result<Option<Snapshot<D>>> {
        let meta = self.generations.durable();
        if meta.last_log_id.is_none() {
            return Ok(None);
        }
        let snapshot = SnapshotData::of_store(self.generations.clone(), self.checkpoints.clone());
        Ok(Some(Snapshot { meta, snapshot }))
    }
}

#[cfg(test)]
mod tests;
