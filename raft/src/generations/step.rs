//! One generation after the other: frozen, behind the sync of the log, on disk.

use super::{Generations, index, point_of};
use crate::completions::Pending;
use crate::disk::{Disk, GroupStore};
use crate::error::{Error, Fault, Result};
use crate::limits::GENERATION_DISK_FULL_RETRY;
use crate::sabotage::{self, Sabotage};
use crate::source::Instant;
use crate::types::SnapshotMeta;

/// The stage of the generation under way.
pub(super) enum Step<S: GroupStore> {
    Idle,
    /// The log is being made durable.
    Syncing {
        job: S::Generation,
        sync: u64,
    },
    Writing(Pending<S::GenerationDone>),
}

impl<D: Disk> Generations<D> {
    pub(super) fn begin_if_due(&self, store: &mut D::Store) {
        let log_is_long = self.bytes.get() >= self.bytes_max || self.entries.get() >= self.entries_max;
        if (log_is_long || store.is_full()) && self.may_begin() {
            self.begin(store);
        }
    }

    pub(super) fn may_begin(&self) -> bool {
        self.is_idle() && self.end_reason().is_none() && self.retry_at.get().is_none_or(|at| Instant::now() >= at)
    }

    pub(super) fn is_idle(&self) -> bool {
        matches!(*self.step.borrow(), Step::Idle) && !self.is_checkpointing.get()
    }

    pub(super) fn begin(&self, store: &mut D::Store) {
        let Some(mut job) = store.freeze() else { return };
        // Ahead of the job, which waits for the log.
        let replaced = D::Store::take_replaced(&mut job);
        self.background.run(Box::new(move || drop(replaced)));
        if let Err(error) = self.note_frozen(store) {
            return self.fail(error.to_string(), true);
        }
        let point = self.frozen.borrow().as_ref().and_then(index);
        assert_eq!(point, Some(D::Store::applied_index(&job)), "what is written out is what was frozen");
        let sync = self.log.start_sync_to_disk();
        *self.step.borrow_mut() = Step::Syncing { job, sync };
    }

    /// Notes that the store has a frozen generation, right after it was frozen. One that failed and is tried again
    /// stands where it stood, whatever was applied since.
    pub(super) fn note_frozen(&self, store: &D::Store) -> Result<()> {
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
                    Step::Writing(Pending::run(&*self.background, &self.wake, move || D::Store::write_generation(job)))
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

    pub(super) fn finish(&self, done: <D::Store as GroupStore>::GenerationDone) {
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
    pub(super) fn note_written(&self, durable_index: u64) {
        self.pace_ends();
        // Without a point, a snapshot was installed meanwhile and the generation belongs to rows that are gone.
        if let Some(point) = self.frozen.take() {
            assert_eq!(index(&point), Some(durable_index), "the store wrote out what was frozen");
            tracing::debug!(index = durable_index, "rows are on disk");
            *self.durable.borrow_mut() = point;
            if sabotage::is(Sabotage::PurgedTooFar)
                && let Ok(applied) = point_of(self.machine.borrow_mut().store().applied())
            {
                *self.durable.borrow_mut() = applied;
            }
            self.advanced.set(true);
        }
        if self.failure.take().is_some() {
            tracing::info!(index = durable_index, "rows are written out again");
        }
    }

    /// Notes why what was frozen is not on disk. After an error that passes it is tried again.
    pub(super) fn note_not_written(&self, error: &basalt_storage::Error) {
        let passes = matches!(error, basalt_storage::Error::DiskFull { .. } | basalt_storage::Error::WriteStall);
        if passes {
            if self.failure.borrow().is_none() {
                tracing::warn!(%error, "rows stay in memory until they can be written out");
            }
            self.retry_at.set(Some(Instant::now() + GENERATION_DISK_FULL_RETRY));
        }
        self.fail(Fault::of_rows(error), !passes);
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
                return Err(if self.is_final.get() { Error::Fatal(failure) } else { Error::Unwritten(failure.text) });
            }
            if self.is_idle() && self.reach_entry_end() {
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
}
