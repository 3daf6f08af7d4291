//! Snapshots: a checkpoint of the rows in a directory of its own, and a store that goes on from one.
//!
//! Both block, so both are jobs for another thread. A checkpoint is hard links: it costs no copy, and it stays whole whatever
//! the store does next. An install puts the received database beside the current one, opens it, and only then lets the
//! marker name it: a crash at any point leaves the old rows or the new ones.

use std::fs;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use rocksdb::checkpoint::Checkpoint;

use super::generation::{GenerationDone, GenerationJob};
use crate::disk::{Applied, Database, Directory, Opened, StoreOptions, io, sync_dir};
use crate::failpoint::failpoint;
use crate::open_path::OpenPath;
use crate::{Error, Result};

/// Writes out what is in memory and makes a checkpoint. Run it on a thread that may block.
#[must_use = "the frozen generation waits for this job"]
pub struct CheckpointJob {
    pub(super) generation: Option<GenerationJob>,
    pub(super) database: Arc<Database>,
    pub(super) into: PathBuf,
}

impl CheckpointJob {
    /// Writes the generation, then the checkpoint. Blocks.
    pub fn run(self) -> CheckpointDone {
        let generation = self.generation.map(GenerationJob::run);
        let checkpoint = make_checkpoint(&self.database, &self.into);
        CheckpointDone { generation, checkpoint }
    }
}

/// The outcome of a checkpoint; goes back into [`Store::finish_checkpoint`](super::Store::finish_checkpoint).
#[must_use = "the store keeps the generation in memory until it hears of it"]
pub struct CheckpointDone {
    pub(super) generation: Option<GenerationDone>,
    pub(super) checkpoint: Result<Applied>,
}

fn make_checkpoint(database: &Database, into: &Path) -> Result<Applied> {
    // RocksDB builds in `<into>.tmp` and renames; what a crash left there is in its way.
    let unfinished = PathBuf::from(format!("{}.tmp", into.display()));
    if unfinished.exists() {
        fs::remove_dir_all(&unfinished).map_err(|source| io(&unfinished, source))?;
    }
    let _no_ingest = database.lock_ingest();
    let applied = database.applied()?.map_or_else(Applied::default, |row| row.applied);
    Checkpoint::new(database.db())
        .and_then(|checkpoint| checkpoint.create_checkpoint(into))
        .map_err(|error| database.error(error))?;
    Ok(applied)
}

/// Puts a checkpoint in the place of the store's rows. Run it on a thread that may block.
#[must_use = "nothing is installed until the job runs"]
pub struct InstallJob {
    pub(super) directory: Directory,
    pub(super) number: u64,
    pub(super) options: StoreOptions,
    pub(super) from: PathBuf,
}

impl InstallJob {
    /// Moves the checkpoint in, checks it, and makes it the current database, durably. Blocks.
    ///
    /// From here on a restart finds the new rows; the running store has them after
    /// [`Store::finish_install`](super::Store::finish_install).
    pub fn run(self) -> InstallDone {
        InstallDone { outcome: self.install() }
    }

    fn install(&self) -> Result<Opened> {
        let path = self.directory.database_path(self.number);
        let claimed = OpenPath::claim(&path)?;
        if path.exists() {
            fs::remove_dir_all(&path).map_err(|source| io(&path, source))?;
        }
        sync_files(&self.from)?;
        failpoint("install begun");
        fs::rename(&self.from, &path).map_err(|source| io(&self.from, source))?;
        failpoint("install moved");
        let opened = Database::open(claimed, self.number, false, &self.options)?;
        if opened.applied == Applied::default() {
            let detail = "the snapshot does not say up to where it is applied".into();
            return Err(Error::Corruption { path, detail });
        }
        failpoint("install opened");
        self.directory.set_current(self.number)?;
        failpoint("install current");
        opened.database.begin_compaction();
        Ok(opened)
    }
}

/// The outcome of an install; goes back into [`Store::finish_install`](super::Store::finish_install).
#[must_use = "the store goes on with its old rows until it hears of it"]
pub struct InstallDone {
    pub(super) outcome: Result<Opened>,
}

/// Makes a received directory durable: whoever wrote the files need not have synced them.
fn sync_files(dir: &Path) -> Result<()> {
    for entry in fs::read_dir(dir).map_err(|source| io(dir, source))? {
        let path = entry.map_err(|source| io(dir, source))?.path();
        fs::File::open(&path).and_then(|file| file.sync_all()).map_err(|source| io(&path, source))?;
    }
    sync_dir(dir)
}
