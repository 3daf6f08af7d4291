//! Checkpoints of the rows, and rows that take the place of all others.

use std::path::Path;
use std::sync::{Arc, PoisonError};

use super::generation::Retired;
use super::snapshot::{CheckpointDone, CheckpointJob, InstallDone, InstallJob};
use super::store::Store;
use crate::Result;
use crate::disk::{Applied, Opened};

impl Store {
    /// The job that makes a checkpoint of the rows in the directory `into`, which must not exist and must be on the same file
    /// system. What is in memory is written out first, unless a generation is being written already: then the checkpoint holds
    /// what is on disk when the job runs.
    pub fn checkpoint(&mut self, into: &Path) -> CheckpointJob {
        CheckpointJob { generation: self.freeze(), database: self.database.clone(), into: into.into() }
    }

    /// Takes back what became of a checkpoint: where it stands, and what to drop on another thread.
    ///
    /// # Errors
    /// As [`Store::finish`], and the checkpoint's own error.
    pub fn finish_checkpoint(&mut self, done: CheckpointDone) -> Result<(Applied, Retired)> {
        let retired = match done.generation {
            Some(generation) => self.finish(generation)?,
            None => Retired::default(),
        };
        Ok((done.checkpoint?, retired))
    }

    /// The job that puts the checkpoint in `from` in the place of all rows. The directory is moved, so it must be on the same
    /// file system. Until [`Store::finish_install`] nothing may be applied.
    pub fn install_job(&self, from: &Path) -> InstallJob {
        let number = self.database.number() + 1;
        InstallJob { directory: self.directory.clone(), number, options: self.options.clone(), from: from.into() }
    }

    /// Goes on with the installed rows; everything from before is retired, to be dropped on another thread.
    ///
    /// # Errors
    /// The job's error; the store then goes on with the rows it had.
    pub fn finish_install(&mut self, done: InstallDone) -> Result<Retired> {
        let Opened { database, applied, counters, is_empty } = done.outcome?;
        // From here on readers find the new database; what they have read of the old one is of another epoch.
        *self.cold_current.lock().unwrap_or_else(PoisonError::into_inner) = Arc::downgrade(&database);
        let old = std::mem::replace(&mut self.database, database);
        old.mark_obsolete();
        self.row_cache.clear();
        self.epoch.0 += 1;
        self.durable = applied.clone();
        self.applied = applied;
        self.counters = counters;
        self.disk_is_empty = is_empty;
        self.is_writing = false;
        self.is_mid_entry = false;
        let (active, frozen) = self.layers.clear();
        Ok(Retired { _active: Some(active), _frozen: frozen, _database: Some(old) })
    }

    /// Installs the checkpoint in `from` on the calling thread. Blocks: for start-up and for threads that may.
    ///
    /// # Errors
    /// As [`Store::finish_install`].
    pub fn install(&mut self, from: &Path) -> Result<()> {
        let done = self.install_job(from).run();
        self.finish_install(done).map(drop)
    }
}
