//! The way of rows from the store's memory to the disk, and what the log may forget then.
//!
//! The store freezes its memtable and another thread writes the generation out; this module says when (the memtable is
//! full, or the log has grown to its limit), carries the job, and remembers up to which entry the rows are on disk: that is
//! the group's snapshot, and the log is never purged beyond it.
//!
//! What a newcomer would get wrong: the log is made durable *before* a generation is written, whatever the durability
//! mode. Otherwise the machine could lose power with the rows of an entry on disk that the log does not have.

mod checkpoint;
mod install;
mod pace;
mod step;
#[cfg(test)]
mod tests;

use std::cell::{Cell, RefCell};
use std::future::poll_fn;
use std::rc::Rc;
use std::task::Poll;

use basalt_storage::{Applied, ColdRead, Fetched};

use crate::channels::Waiters;
use crate::completions::{Background, Pending, Wake};
use crate::disk::{Disk, GroupStore, Rocks};
use crate::entry::{decode_log_id, decode_stored_membership};
use crate::error::{Error, Fault, Result};
use crate::limits::{APPLY_MEMTABLES_MAX, UNAPPLIED_BYTES_MAX};
use crate::log_store::LogStore;
use crate::machine::Machine;
use crate::options::GroupOptions;
use crate::runtime::yield_now;
use crate::source::Instant;
use crate::types::{LogId, SnapshotMeta};
use step::Step;

pub(crate) use checkpoint::remove_checkpoint;
pub use pace::WritePace;

/// Drives a store's generations.
pub(crate) struct Generations<D: Disk = Rocks> {
    machine: Rc<RefCell<dyn Machine<D::Store>>>,
    log: LogStore<D::Log>,
    background: Rc<dyn Background>,
    readers: Rc<dyn Background>,
    wake: Wake,
    /// A generation is forced out when the entries applied since the last one have grown to these.
    bytes_max: u64,
    entries_max: u64,
    bytes: Cell<u64>,
    entries: Cell<u64>,
    step: RefCell<Step<D::Store>>,
    /// Up to where the rows of the generation under way, or of one that failed, are applied.
    frozen: RefCell<Option<SnapshotMeta>>,
    /// Up to where the rows are on disk.
    durable: RefCell<SnapshotMeta>,
    /// Set once `durable` has advanced, until openraft is told.
    advanced: Cell<bool>,
    /// Set while a checkpoint is being made; it writes out a generation of its own.
    is_checkpointing: Cell<bool>,
    /// Set in a group of several: entries come from a leader that does not know how full the memory is here.
    is_paced: Cell<bool>,
    /// Set while somebody waits for a moment between two entries.
    wants_between: Cell<bool>,
    retry_at: Cell<Option<Instant>>,
    pace: Cell<WritePace>,
    /// The reason that the newest attempt failed, if it did.
    failure: RefCell<Option<Fault>>,
    /// Set if the failure is final.
    is_final: Cell<bool>,
    waiters: Waiters,
    /// Those who wait until more is applied.
    behind_waiters: Waiters,
    pub(crate) unapplied_bytes_max: Cell<u64>,
}

impl<D: Disk> Generations<D> {
    pub(crate) fn new(
        options: &GroupOptions,
        machine: Rc<RefCell<dyn Machine<D::Store>>>,
        log: LogStore<D::Log>,
        background: Rc<dyn Background>,
        readers: Rc<dyn Background>,
        wake: Wake,
    ) -> Result<Rc<Self>> {
        let durable = point_of(machine.borrow_mut().store().applied())?;
        Ok(Rc::new(Generations {
            machine,
            log,
            background,
            readers,
            wake,
            // The log holds the generation being written and the one after it.
            bytes_max: options.log_bytes_max / 2,
            entries_max: options.log_entries_max / 2,
            bytes: Cell::new(0),
            entries: Cell::new(0),
            step: RefCell::new(Step::Idle),
            frozen: RefCell::new(None),
            durable: RefCell::new(durable),
            advanced: Cell::new(false),
            is_checkpointing: Cell::new(false),
            is_paced: Cell::new(false),
            wants_between: Cell::new(false),
            retry_at: Cell::new(None),
            pace: Cell::default(),
            failure: RefCell::new(None),
            is_final: Cell::new(false),
            waiters: Waiters::default(),
            behind_waiters: Waiters::default(),
            unapplied_bytes_max: Cell::new(UNAPPLIED_BYTES_MAX),
        }))
    }

    /// The threads for what takes long.
    pub(crate) fn background(&self) -> Rc<dyn Background> {
        self.background.clone()
    }

    /// Up to where the rows are on disk.
    pub(crate) fn durable(&self) -> SnapshotMeta {
        self.durable.borrow().clone()
    }

    /// The last entry whose rows are on disk.
    pub(crate) fn durable_id(&self) -> Option<LogId> {
        self.durable.borrow().last_log_id
    }

    /// Takes the note that more is on disk than openraft was told.
    pub(crate) fn take_advanced(&self) -> bool {
        self.advanced.replace(false)
    }

    /// The reason that rows can never be written out again, if so.
    pub(crate) fn fault(&self) -> Option<Fault> {
        if self.is_final.get() { self.failure.borrow().clone() } else { None }
    }

    /// The reason that nothing may be written out any more, if so. With a fault of the log or the machine, the memtable may hold
    /// half an entry.
    fn end_reason(&self) -> Option<Fault> {
        self.fault().or_else(|| self.log.fault())
    }

    /// Counts an applied entry of `bytes`, and begins a generation where one is due. Called between two entries.
    pub(crate) fn applied(&self, bytes: usize, store: &mut D::Store) {
        self.bytes.set(self.bytes.get() + bytes as u64);
        self.entries.set(self.entries.get() + 1);
        self.begin_if_due(store);
    }

    /// Waits while so many bytes of committed entries wait to be applied that no more are to be received.
    pub(crate) async fn catch_up(&self) {
        poll_fn(|context| {
            let applied = {
                let mut machine = self.machine.borrow_mut();
                let applied = machine.store().applied();
                (!applied.log_id.is_empty()).then_some(applied.index)
            };
            if self.log.unapplied_bytes(applied) < self.unapplied_bytes_max.get() || self.end_reason().is_some() {
                return Poll::Ready(());
            }
            self.behind_waiters.add(context);
            self.waiters.add(context);
            Poll::Pending
        })
        .await;
    }

    /// Returns true if no entry is half applied, so that all may be frozen; else has the next entry wait for who asked.
    fn reach_entry_end(&self) -> bool {
        let is_mid_entry = self.machine.borrow_mut().store().is_mid_entry();
        self.wants_between.set(self.wants_between.get() || is_mid_entry);
        !is_mid_entry
    }

    /// Sets whether applying waits for room in memory: not in a group of one, which proposes no more than it has room for.
    pub(crate) fn set_paced(&self, is_paced: bool) {
        if self.is_paced.replace(is_paced) && !is_paced {
            // An entry that waits for room goes on.
            self.waiters.wake_all();
        }
    }

    /// Waits, before an entry is applied, while the memory holds so much more than is on disk that a replica whose disk is slower
    /// than the others' would hold more and more.
    pub(crate) async fn wait_for_room(&self) {
        while self.is_paced.get() && self.end_reason().is_none() && !self.has_room() {
            // No entry comes that would begin it.
            self.begin_if_due(self.machine.borrow_mut().store());
            self.changed().await;
        }
    }

    /// Returns true if one more entry may be applied.
    fn has_room(&self) -> bool {
        let memory = self.machine.borrow_mut().store().memory();
        memory.active_bytes < APPLY_MEMTABLES_MAX * memory.memtable_bytes
    }

    /// Lets those go on that wait for the end of an entry.
    pub(crate) async fn wake_waiters(&self) {
        self.behind_waiters.wake_all();
        if self.wants_between.replace(false) {
            self.waiters.wake_all();
            yield_now().await;
        }
    }

    fn fail(&self, fault: impl Into<Fault>, is_final: bool) {
        *self.failure.borrow_mut() = Some(fault.into());
        self.is_final.set(is_final);
    }

    /// Gives up for good; returns the reason as an error.
    fn end(&self, text: String) -> Error {
        self.fail(text.clone(), true);
        Error::Fatal(text.into())
    }

    /// Has rows fetched from disk for the entry that is being applied. What cannot be read, the entry meets again.
    pub(crate) async fn fetch(&self, read: ColdRead, pins: bool) -> Result<()> {
        let work = {
            let mut machine = self.machine.borrow_mut();
            machine.store().cold_read(read, pins)
        };
        let rows = self.run_on(&*self.readers, work).await?.unwrap_or_else(|error| {
            tracing::warn!(%error, "a read from disk failed");
            Fetched::default()
        });
        self.machine.borrow_mut().take_fetched(rows);
        Ok(())
    }

    /// Runs `work` on another thread and waits for it.
    pub(crate) async fn run<T: Send + 'static>(&self, work: impl FnOnce() -> T + Send + 'static) -> Result<T> {
        self.run_on(&*self.background, work).await
    }

    async fn run_on<T: Send + 'static>(
        &self,
        threads: &dyn Background,
        work: impl FnOnce() -> T + Send + 'static,
    ) -> Result<T> {
        let pending = Pending::run(threads, &self.wake, work);
        loop {
            if let Some(result) = pending.take() {
                return result
                    .map_err(|panic| Error::Fatal(Fault::of_node(format_args!("a background job panicked: {panic}"))));
            }
            self.changed().await;
        }
    }

    /// Waits for the next [`Generations::advance`].
    async fn changed(&self) {
        let mut waited = false;
        poll_fn(|context| {
            if waited {
                return Poll::Ready(());
            }
            waited = true;
            self.waiters.add(context);
            Poll::Pending
        })
        .await;
    }
}

/// The store's applied state as a snapshot's.
pub(crate) fn point_of(applied: &Applied) -> Result<SnapshotMeta> {
    let damaged =
        |error: crate::error::DecodeError| Error::Fatal(Fault::of_group(format!("the store's applied state: {error}")));
    let last_log_id =
        if applied.log_id.is_empty() { None } else { Some(decode_log_id(&applied.log_id).map_err(damaged)?) };
    let last_membership = decode_stored_membership(&applied.membership).map_err(damaged)?;
    Ok(SnapshotMeta { last_log_id, last_membership })
}

fn index(point: &SnapshotMeta) -> Option<u64> {
    point.last_log_id.map(|id| id.index())
}
