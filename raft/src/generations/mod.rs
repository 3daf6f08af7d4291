//! When rows leave the store's memory for the disk, and what the log may forget then.
//!
//! The store freezes its memtable and another thread writes the generation out; this module says when (the memtable is
//! full, or the log has grown to its limit), carries the job, and remembers up to which entry the rows are on disk: that is
//! the group's snapshot, and the log is never purged beyond it.
//!
//! What a newcomer would get wrong: the log is made durable *before* a generation is written, whatever the durability
//! mode. Otherwise the machine could lose power with the rows of an entry on disk that the log does not have.

use std::cell::{Cell, RefCell};
use std::path::{Path, PathBuf};
use std::rc::Rc;
use std::time::{Duration, Instant};

use basalt_storage::{Applied, CheckpointJob, ColdRead, Fetched, GenerationDone, GenerationJob, InstallDone, Store};
use openraft::AsyncRuntime;

use crate::channels::Waiters;
use crate::completions::{Background, Pending, Wake};
use crate::entry::{decode_log_id, decode_stored_membership};
use crate::error::{Error, Result};
use crate::log_store::LogStore;
use crate::machine::Machine;
use crate::options::GroupOptions;
use crate::runtime::{GlommioRuntime, yield_now};
use crate::types::{LogId, SnapshotMeta};

/// How long a generation that found no room on the disk waits before it is tried again.
const DISK_FULL_RETRY: Duration = Duration::from_millis(500);

/// How fast rows leave the memory for the disk: all that it takes, from the moment a memtable is frozen.
#[derive(Debug, Clone, Copy, Default)]
pub struct WritePace {
    /// Bytes of the frozen memtable that is to be written, and since when; none if there is none.
    pub under_way: Option<(usize, Instant)>,
    /// Bytes per second at which they were written lately; 0 if none were.
    pub bytes_per_s: u64,
}

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
    /// Whether `durable` has advanced and openraft has not been told.
    advanced: Cell<bool>,
    /// Whether a checkpoint is being made; it writes out a generation of its own.
    is_checkpointing: Cell<bool>,
    /// Whether somebody waits for a moment between two entries.
    wants_between: Cell<bool>,
    retry_at: Cell<Option<Instant>>,
    pace: Cell<WritePace>,
    /// Why the newest attempt failed, if it did.
    failure: RefCell<Option<String>>,
    /// Whether the failure is final.
    is_final: Cell<bool>,
    waiters: Waiters,
}

/// A checkpoint that the store waits for.
struct BegunCheckpoint {
    job: CheckpointJob,
    holds_generation: bool,
    durable_before: u64,
    _busy: Busy,
}

/// Lets no generation begin until it is dropped, however that comes.
struct Busy(Rc<Generations>);

impl Busy {
    fn new(generations: &Rc<Generations>) -> Busy {
        generations.is_checkpointing.set(true);
        Busy(generations.clone())
    }
}

impl Drop for Busy {
    fn drop(&mut self) {
        self.0.is_checkpointing.set(false);
    }
}

/// What becomes of a checkpoint when it is made: it is somebody's, or removed.
struct Claim(Rc<Claimed>);

struct Claimed {
    generations: Rc<Generations>,
    directory: PathBuf,
    is_made: Cell<bool>,
    is_given_up: Cell<bool>,
}

impl Claim {
    fn new(generations: &Rc<Generations>, directory: PathBuf) -> Claim {
        let generations = generations.clone();
        Claim(Rc::new(Claimed { generations, directory, is_made: Cell::new(false), is_given_up: Cell::new(false) }))
    }

    /// The caller has the checkpoint.
    fn take(self) {
        self.0.is_made.set(false);
    }
}

impl Drop for Claim {
    fn drop(&mut self) {
        self.0.is_given_up.set(true);
        self.0.remove_if_lost();
    }
}

impl Claimed {
    fn made(&self) {
        self.is_made.set(true);
        self.remove_if_lost();
    }

    fn remove_if_lost(&self) {
        if self.is_made.get() && self.is_given_up.get() {
            let directory = self.directory.clone();
            tracing::info!(directory = %directory.display(), "nobody waits any more for a checkpoint: it is removed");
            self.generations.background.run(Box::new(move || remove_checkpoint(&directory)));
        }
    }
}

/// Removes what nobody will fetch. Blocks.
pub(crate) fn remove_checkpoint(directory: &Path) {
    match std::fs::remove_dir_all(directory) {
        Err(error) if error.kind() != std::io::ErrorKind::NotFound => {
            tracing::warn!(directory = %directory.display(), %error, "a checkpoint stays until the next start");
        }
        _ => {}
    }
}

enum Step {
    Idle,
    /// The log is being made durable.
    Syncing {
        job: GenerationJob,
        sync: u64,
    },
    Writing(Pending<GenerationDone>),
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

    /// Whether more is on disk than openraft was told; asking resets it.
    pub(crate) fn take_advanced(&self) -> bool {
        self.advanced.replace(false)
    }

    /// How fast rows leave the memory.
    pub(crate) fn pace(&self) -> WritePace {
        self.pace.get()
    }

    /// Notes that a memtable was frozen. One that failed and is tried again was frozen before.
    fn pace_begins(&self, store: &Store) {
        let mut pace = self.pace.get();
        pace.under_way.get_or_insert((store.memory().frozen_bytes, Instant::now()));
        self.pace.set(pace);
    }

    /// Notes that the frozen memtable is on disk. A fast one and a slow one are both believed half.
    fn pace_ends(&self) {
        let mut pace = self.pace.get();
        let Some((bytes, since)) = pace.under_way.take() else { return };
        let bytes_per_s = (bytes as f64 / since.elapsed().as_secs_f64().max(1e-6)) as u64;
        pace.bytes_per_s = if pace.bytes_per_s == 0 { bytes_per_s } else { pace.bytes_per_s.midpoint(bytes_per_s) };
        self.pace.set(pace);
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

    fn begin_if_due(&self, store: &mut Store) {
        let log_is_long = self.bytes.get() >= self.bytes_max || self.entries.get() >= self.entries_max;
        if (log_is_long || store.is_full()) && self.may_begin() {
            self.begin(store);
        }
    }

    fn may_begin(&self) -> bool {
        self.is_idle() && self.end_reason().is_none() && self.retry_at.get().is_none_or(|at| Instant::now() >= at)
    }

    fn is_idle(&self) -> bool {
        matches!(*self.step.borrow(), Step::Idle) && !self.is_checkpointing.get()
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

    fn begin(&self, store: &mut Store) {
        let Some(mut job) = store.freeze() else { return };
        // Ahead of the job, which waits for the log.
        let replaced = job.take_replaced();
        self.background.run(Box::new(move || drop(replaced)));
        if let Err(error) = self.note_frozen(store) {
            return self.fail(error.to_string(), true);
        }
        let point = self.frozen.borrow().as_ref().and_then(index);
        assert_eq!(point, Some(job.applied_index()), "what is written out is what was frozen");
        let sync = self.log.start_sync_to_disk();
        *self.step.borrow_mut() = Step::Syncing { job, sync };
    }

    /// Notes that the store has a frozen generation, right after it was frozen. One that failed and is tried again
    /// stands where it stood, whatever was applied since.
    fn note_frozen(&self, store: &Store) -> Result<()> {
        self.retry_at.set(None);
        self.pace_begins(store);
        if self.frozen.borrow().is_none() {
            *self.frozen.borrow_mut() = Some(point_of(store.applied())?);
            self.bytes.set(0);
            self.entries.set(0);
        }
        Ok(())
    }

    /// Takes the steps that are due. Called each turn of the core; does nothing most of the time.
    pub(crate) fn advance(&self) {
        let step = std::mem::replace(&mut *self.step.borrow_mut(), Step::Idle);
        match step {
            Step::Idle => {
                if self.retry_at.get().is_some() && self.may_begin() {
                    self.begin(self.machine.borrow_mut().store());
                }
            }
            Step::Syncing { job, sync } => {
                if let Some(reason) = self.end_reason() {
                    // Such a sync never ends.
                    self.fail(reason, true);
                    drop(job);
                    return self.waiters.wake_all();
                }
                let next = if self.log.is_synced(sync) {
                    Step::Writing(Pending::run(&*self.background, &self.wake, move || job.run()))
                } else {
                    Step::Syncing { job, sync }
                };
                *self.step.borrow_mut() = next;
            }
            Step::Writing(pending) => match pending.take() {
                None => *self.step.borrow_mut() = Step::Writing(pending),
                Some(Ok(done)) => {
                    self.finish(done);
                    // What was applied meanwhile may be enough for the next one, and no entry need ever come again.
                    self.begin_if_due(self.machine.borrow_mut().store());
                }
                Some(Err(panic)) => self.fail(format!("the thread that wrote rows out panicked: {panic}"), true),
            },
        }
        self.waiters.wake_all();
    }

    fn finish(&self, done: GenerationDone) {
        let (finished, durable_index) = {
            let mut machine = self.machine.borrow_mut();
            let store = machine.store();
            (store.finish(done), store.durable_applied())
        };
        match finished {
            Ok(retired) => {
                self.background.run(Box::new(move || drop(retired)));
                self.note_written(durable_index);
            }
            Err(error) => self.note_not_written(&error),
        }
    }

    /// Notes that what was frozen is on disk, up to `durable_index`.
    fn note_written(&self, durable_index: u64) {
        self.pace_ends();
        // Without a point, a snapshot was installed meanwhile and the generation belongs to rows that are gone.
        if let Some(point) = self.frozen.take() {
            assert_eq!(index(&point), Some(durable_index), "the store wrote out what was frozen");
            tracing::debug!(index = durable_index, "rows are on disk");
            *self.durable.borrow_mut() = point;
            self.advanced.set(true);
        }
        if self.failure.take().is_some() {
            tracing::info!(index = durable_index, "rows are written out again");
        }
    }

    /// Notes why what was frozen is not on disk. After an error that passes it is tried again.
    fn note_not_written(&self, error: &basalt_storage::Error) {
        let passes = matches!(error, basalt_storage::Error::DiskFull { .. } | basalt_storage::Error::WriteStall);
        if passes {
            if self.failure.borrow().is_none() {
                tracing::warn!(%error, "rows stay in memory until they can be written out");
            }
            self.retry_at.set(Some(Instant::now() + DISK_FULL_RETRY));
        }
        self.fail(error.to_string(), !passes);
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

    /// Writes everything out that is applied now, and waits until it is on disk.
    pub(crate) async fn write_out(&self) -> Result<SnapshotMeta> {
        let target = point_of(self.machine.borrow_mut().store().applied())?.last_log_id;
        if let Some(reason) = self.end_reason() {
            return Err(Error::Fatal(reason));
        }
        *self.failure.borrow_mut() = None;
        loop {
            if self.durable_id() >= target {
                return Ok(self.durable());
            }
            if let Some(reason) = self.end_reason() {
                return Err(Error::Fatal(reason));
            }
            if let Some(failure) = self.failure.borrow().clone() {
                return Err(if self.is_final.get() { Error::Fatal(failure) } else { Error::Unwritten(failure) });
            }
            if self.is_idle() && self.is_between_entries() {
                let mut machine = self.machine.borrow_mut();
                self.begin(machine.store());
                assert!(
                    !matches!(*self.step.borrow(), Step::Idle) || self.is_final.get(),
                    "a store whose applied rows are not on disk has a generation to write"
                );
            }
            self.changed().await;
        }
    }

    /// Puts the checkpoint in `directory`, which holds the entries up to `last`, in the place of all rows.
    pub(crate) async fn install(&self, directory: PathBuf, last: LogId) -> Result<()> {
        self.log.expect_snapshot(last.index()).await.map_err(|error| self.end(error.to_string()))?;
        let job = self.machine.borrow_mut().store().install_job(&directory);
        let done: InstallDone = self.run(move || job.run()).await?;
        let mut machine = self.machine.borrow_mut();
        let store = machine.store();
        let retired = store.finish_install(done)?;
        self.background.run(Box::new(move || drop(retired)));
        *self.frozen.borrow_mut() = None;
        // The rows that were being written are gone.
        self.pace.set(WritePace { under_way: None, ..self.pace.get() });
        *self.durable.borrow_mut() = point_of(store.applied())?;
        self.bytes.set(0);
        self.entries.set(0);
        Ok(())
    }

    /// Makes a checkpoint of all rows in `directory` and says up to where it is applied.
    ///
    /// May be dropped at any time, as openraft does when it no longer needs a snapshot: what the store has begun is brought to its
    /// end all the same, for nothing else could be written out before, and a checkpoint that nobody waits for is removed.
    pub(crate) async fn checkpoint(self: &Rc<Self>, directory: PathBuf) -> Result<SnapshotMeta> {
        let point = self.write_out().await?;
        loop {
            // The store may wait for ever for a generation, or an entry, that has failed for good meanwhile.
            if let Some(reason) = self.end_reason() {
                return Err(Error::Fatal(reason));
            }
            if self.is_idle() && self.is_between_entries() {
                break;
            }
            self.changed().await;
        }
        // Without a pause since the look: no entry may be half applied.
        let begun = self.begin_checkpoint(&directory)?;
        let claim = Claim::new(self, directory);
        let (generations, claimed) = (self.clone(), claim.0.clone());
        let made = GlommioRuntime::spawn(async move {
            let made = generations.make_checkpoint(begun).await;
            claimed.made();
            made
        });
        let made = made.await.map_err(|error| Error::Fatal(format!("making a checkpoint: {error}")))??;
        claim.take();
        assert!(made.last_log_id >= point.last_log_id, "a checkpoint holds at least what was written out before");
        Ok(made)
    }

    /// Freezes what was applied since the last generation, or takes what failed, for the checkpoint.
    fn begin_checkpoint(self: &Rc<Self>, directory: &Path) -> Result<BegunCheckpoint> {
        let mut machine = self.machine.borrow_mut();
        let store = machine.store();
        let durable_before = store.durable_applied();
        // Nothing is being written, so what is not on disk goes with the checkpoint.
        let holds_generation = point_of(store.applied())?.last_log_id > self.durable_id();
        let job = store.checkpoint(directory);
        if holds_generation && let Err(error) = self.note_frozen(store) {
            return Err(self.end(error.to_string()));
        }
        Ok(BegunCheckpoint { job, holds_generation, durable_before, _busy: Busy::new(self) })
    }

    /// Writes out what was frozen, and makes the checkpoint behind it.
    async fn make_checkpoint(&self, begun: BegunCheckpoint) -> Result<SnapshotMeta> {
        let BegunCheckpoint { job, holds_generation, durable_before, _busy } = begun;
        if holds_generation {
            // As before any other generation.
            self.log.sync_to_disk().await.map_err(|error| self.end(error.to_string()))?;
        }
        let done = self.run(move || job.run()).await.inspect_err(|panic| {
            if holds_generation {
                self.fail(panic.to_string(), true);
            }
        })?;
        let (finished, durable_index) = {
            let mut machine = self.machine.borrow_mut();
            let store = machine.store();
            (store.finish_checkpoint(done), store.durable_applied())
        };
        match finished {
            Ok((applied, retired)) => {
                self.background.run(Box::new(move || drop(retired)));
                self.note_written(durable_index);
                point_of(&applied)
            }
            Err(error) => {
                // The generation may have got to the disk, and only the checkpoint behind it failed.
                if durable_index > durable_before {
                    self.note_written(durable_index);
                } else if self.frozen.borrow().is_some() {
                    self.note_not_written(&error);
                }
                Err(error.into())
            }
        }
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

#[cfg(test)]
mod tests;
