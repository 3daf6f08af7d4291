//! Checkpoints of all rows: the snapshots that other nodes are sent.

use std::cell::Cell;
use std::path::{Path, PathBuf};
use std::rc::Rc;

use openraft::AsyncRuntime;

use super::{Generations, point_of};
use crate::disk::{Disk, GroupStore};
use crate::error::{Error, Fault, Result};
use crate::runtime::GlommioRuntime;
use crate::types::SnapshotMeta;

/// A checkpoint that the store waits for.
struct BegunCheckpoint<D: Disk> {
    job: <D::Store as GroupStore>::Checkpoint,
    holds_generation: bool,
    durable_before: u64,
    _busy: Busy<D>,
}

/// Lets no generation begin until it is dropped, however that comes.
struct Busy<D: Disk>(Rc<Generations<D>>);

impl<D: Disk> Busy<D> {
    fn new(generations: &Rc<Generations<D>>) -> Self {
        generations.is_checkpointing.set(true);
        Busy(generations.clone())
    }
}

impl<D: Disk> Drop for Busy<D> {
    fn drop(&mut self) {
        self.0.is_checkpointing.set(false);
    }
}

/// The claim to a checkpoint: when it is made, it is somebody's, or removed.
struct Claim<D: Disk>(Rc<Claimed<D>>);

struct Claimed<D: Disk> {
    generations: Rc<Generations<D>>,
    directory: PathBuf,
    is_made: Cell<bool>,
    is_given_up: Cell<bool>,
}

impl<D: Disk> Claim<D> {
    fn new(generations: &Rc<Generations<D>>, directory: PathBuf) -> Self {
        let generations = generations.clone();
        Claim(Rc::new(Claimed { generations, directory, is_made: Cell::new(false), is_given_up: Cell::new(false) }))
    }

    /// The caller has the checkpoint.
    fn take(self) {
        self.0.is_made.set(false);
    }
}

impl<D: Disk> Drop for Claim<D> {
    fn drop(&mut self) {
        self.0.is_given_up.set(true);
        self.0.remove_if_lost();
    }
}

impl<D: Disk> Claimed<D> {
    fn made(&self) {
        self.is_made.set(true);
        self.remove_if_lost();
    }

    fn remove_if_lost(&self) {
        if self.is_made.get() && self.is_given_up.get() {
            let directory = self.directory.clone();
            tracing::info!(directory = %directory.display(), "nobody waits any more for a checkpoint: it is removed");
            self.generations.background.run(Box::new(move || remove_checkpoint::<D::Store>(&directory)));
        }
    }
}

/// Removes what nobody will fetch. Blocks.
pub(crate) fn remove_checkpoint<S: GroupStore>(directory: &Path) {
    match S::remove_checkpoint(directory) {
        Err(error) if error.kind() != std::io::ErrorKind::NotFound => {
            tracing::warn!(directory = %directory.display(), %error, "a checkpoint stays until the next start");
        }
        _ => {}
    }
}

impl<D: Disk> Generations<D> {
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
            if self.is_idle() && self.reach_entry_end() {
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
        let made = made
            .await
            .map_err(|error| Error::Fatal(Fault::of_node(format_args!("making a checkpoint: {error}"))))??;
        claim.take();
        assert!(made.last_log_id >= point.last_log_id, "a checkpoint holds at least what was written out before");
        Ok(made)
    }

    /// Freezes what was applied since the last generation, or takes what failed, for the checkpoint.
    fn begin_checkpoint(self: &Rc<Self>, directory: &Path) -> Result<BegunCheckpoint<D>> {
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
    async fn make_checkpoint(&self, begun: BegunCheckpoint<D>) -> Result<SnapshotMeta> {
        let BegunCheckpoint { job, holds_generation, durable_before, _busy } = begun;
        if holds_generation {
            // As before any other generation.
            self.log.sync_to_disk().await.map_err(|error| self.end(error.to_string()))?;
        }
        let done = self.run(move || D::Store::make_checkpoint(job)).await.inspect_err(|panic| {
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
}
