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
use std::rc::Rc;
use std::time::Instant;

use basalt_storage::{Applied, ColdRead, Fetched, Store};

use crate::channels::Waiters;
use crate::completions::{Background, Pending, Wake};
use crate::entry::{decode_log_id, decode_stored_membership};
use crate::error::{Error, Result};
use crate::log_store::LogStore;
use crate::machine::Machine;
use crate::options::GroupOptions;
use crate::runtime::yield_now;
use crate::types::{LogId, SnapshotMeta};
use step::Step;

pub(crate) use checkpoint::remove_checkpoint;
pub use pace::WritePace;

/// Drives a store's generations.
pub(crate) struct Generations {
    machine: Rc<RefCell<dyn Machine>>,
    log: LogStore,
    background: Rc<dyn Background>,
    readers: Rc<dyn Background>,
    wake: Wake,
    /// A generation is forced out when the entries applied since the last one have grown to these.
    bytes_max: u64,
    entries_max: u64,
    bytes: Cell<u64>,
    entries: Cell<u64>,
    step: RefCell<Step>,
    /// Up to where the rows of the generation under way, or of one that failed, are applied.
    frozen: RefCell<Option<SnapshotMeta>>,
    /// Up to where the rows are on disk.
    durable: RefCell<SnapshotMeta>,
    /// Set once `durable` has advanced, until openraft is told.
    advanced: Cell<bool>,
    /// Set while a checkpoint is being made; it writes out a generation of its own.
    is_checkpointing: Cell<bool>,
    /// Set while somebody waits for a moment between two entries.
    wants_between: Cell<bool>,
    retry_at: Cell<Option<Instant>>,
    pace: Cell<WritePace>,
    /// Why the newest attempt failed, if it did.
    failure: RefCell<Option<String>>,
    /// Set if the failure is final.
    is_final: Cell<bool>,
    waiters: Waiters,
}

impl Generations {
    pub(crate) fn new(
        options: &GroupOptions,
        machine: Rc<RefCell<dyn Machine>>,
        log: LogStore,
        background: Rc<dyn Background>,
        readers: Rc<dyn Background>,
        wake: Wake,
    ) -> Result<Rc<Generations>> {
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
            wants_between: Cell::new(false),
            retry_at: Cell::new(None),
            pace: Cell::default(),
            failure: RefCell::new(None),
            is_final: Cell::new(false),
            waiters: Waiters::default(),
        }))
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

    /// Why rows can never be written out again, if so.
    pub(crate) fn fault(&self) -> Option<String> {
        if self.is_final.get() { self.failure.borrow().clone() } else { None }
    }

    /// Why nothing may be written out any more, if so. With a fault of the log or the machine, the memtable may hold half an entry.
    fn end_reason(&self) -> Option<String> {
        self.fault().or_else(|| self.log.fault())
    }

    /// Counts an applied entry of `bytes`, and begins a generation where one is due. Called between two entries.
    pub(crate) fn applied(&self, bytes: usize, store: &mut Store) {
        self.bytes.set(self.bytes.get() + bytes as u64);
        self.entries.set(self.entries.get() + 1);
        self.begin_if_due(store);
    }

    /// Whether no entry is half applied, so that all may be frozen. If not, the next entry waits for who asked.
    fn is_between_entries(&self) -> bool {
        let is_mid_entry = self.machine.borrow_mut().store().is_mid_entry();
        self.wants_between.set(self.wants_between.get() || is_mid_entry);
        !is_mid_entry
    }

    /// Lets those go on that wait for a moment between two entries.
    pub(crate) async fn let_in(&self) {
        if self.wants_between.replace(false) {
            self.waiters.wake_all();
            yield_now().await;
        }
    }

    fn fail(&self, text: String, is_final: bool) {
        *self.failure.borrow_mut() = Some(text);
        self.is_final.set(is_final);
    }

    /// Gives up for good; returns the reason as an error.
    fn end(&self, text: String) -> Error {
        self.fail(text.clone(), true);
        Error::Fatal(text)
    }

    /// Has rows fetched from disk for the entry that is being applied. What cannot be read, the entry meets again.
    pub(crate) async fn fetch(&self, read: ColdRead, pins: bool) -> Result<()> {
        let reader = {
            let mut machine = self.machine.borrow_mut();
            machine.store().cold_reader()
        };
        let work = move || if pins { reader.pin(&read) } else { reader.fetch(&read) };
        let rows = self.run_on(&*self.readers, work).await?.unwrap_or_else(|error| {
            tracing::warn!(%error, "a read from disk failed");
            Fetched::default()
        });
        self.machine.borrow_mut().take_fetched(rows);
        Ok(())
    }

    /// Runs `work` on another thread and waits for it.
    async fn run<T: Send + 'static>(&self, work: impl FnOnce() -> T + Send + 'static) -> Result<T> {
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
                return result.map_err(|panic| Error::Fatal(format!("a background job panicked: {panic}")));
            }
            self.changed().await;
        }
    }

    /// Waits for the next [`Generations::advance`].
    async fn changed(&self) {
        let mut waited = false;
        std::future::poll_fn(|context| {
            if waited {
                return std::task::Poll::Ready(());
            }
            waited = true;
            self.waiters.add(context);
            std::task::Poll::Pending
        })
        .await;
    }
}

/// The store's applied state as a snapshot's.
pub(crate) fn point_of(applied: &Applied) -> Result<SnapshotMeta> {
    let damaged = |error: crate::error::DecodeError| Error::Fatal(format!("the store's applied state: {error}"));
    let last_log_id =
        if applied.log_id.is_empty() { None } else { Some(decode_log_id(&applied.log_id).map_err(damaged)?) };
    let last_membership = decode_stored_membership(&applied.membership).map_err(damaged)?;
    Ok(SnapshotMeta { last_log_id, last_membership })
}

fn index(point: &SnapshotMeta) -> Option<u64> {
    point.last_log_id.map(|id| id.index())
}
