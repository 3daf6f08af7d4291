//! The twin of a group's store: rows in memory, and below them what generations have brought to disk.
//!
//! It keeps the promises of [`basalt_storage::Store`]: a generation, a checkpoint and an install each happen whole, when their job
//! runs.

use std::cell::RefCell;
use std::collections::BTreeMap;
use std::io;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use basalt_storage::{Applied, ColdRead, Error, Fetched, Result, StoreMemory};

use super::faults::DiskFaults;
use crate::disk::{Disk, GroupStore};
use crate::ids::NodeId;

use super::log_twin::LogTwin;

/// The log and the store of a simulated member.
pub(crate) struct Twins;

impl Disk for Twins {
    type Log = LogTwin;
    type Store = StoreTwin;
}

/// Registers that writes write to.
pub(crate) const REGISTERS: usize = 4;

/// All that a simulated machine knows.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(crate) struct Rows {
    /// The newest write to each register.
    pub(crate) registers: [u64; REGISTERS],
    /// A sum over all writes in their order.
    pub(crate) digest: u64,
    /// The index of the last write.
    pub(crate) last: u64,
}

/// Rows and up to where they are applied, as a file holds them.
#[derive(Debug, Clone, Default)]
struct Image {
    rows: Rows,
    applied: Applied,
}

thread_local! {
    /// The checkpoints of all members, by their directories.
    static CHECKPOINTS: RefCell<BTreeMap<PathBuf, Image>> = const { RefCell::new(BTreeMap::new()) };
}

/// Forgets the checkpoints of a simulation before.
pub(crate) fn forget_checkpoints() {
    CHECKPOINTS.take();
}

/// Copies a checkpoint, as to another node. False if it is not there (any more).
pub(crate) fn copy_checkpoint(from: &Path, to: &Path) -> bool {
    CHECKPOINTS.with_borrow_mut(|checkpoints| {
        let image = checkpoints.get(from).cloned();
        image.map(|image| checkpoints.insert(to.to_owned(), image)).is_some()
    })
}

/// A store's files. They survive a crash.
#[derive(Debug, Default)]
pub(crate) struct StoreFiles {
    image: Image,
    /// Number of the database; an install makes a new one.
    number: u64,
}

pub(crate) type SharedFiles = Arc<Mutex<StoreFiles>>;

fn lock(files: &SharedFiles) -> MutexGuard<'_, StoreFiles> {
    files.lock().unwrap_or_else(PoisonError::into_inner)
}

/// Removes all files of a store.
pub(crate) fn forget_files(files: &SharedFiles) {
    *lock(files) = StoreFiles::default();
}

/// The store.
pub(crate) struct StoreTwin {
    directory: PathBuf,
    files: SharedFiles,
    is_full: Arc<AtomicBool>,
    rows: Rows,
    applied: Applied,
    durable: Applied,
    number: u64,
    frozen: Option<Image>,
    is_writing: bool,
    is_mid_entry: bool,
    active_bytes: usize,
    memtable_bytes: usize,
}

impl StoreTwin {
    pub(crate) fn open(node: NodeId, files: SharedFiles, faults: &DiskFaults, memtable_bytes: usize) -> StoreTwin {
        let (Image { rows, applied }, number) = {
            let files = lock(&files);
            (files.image.clone(), files.number)
        };
        StoreTwin {
            directory: format!("/node-{node}/data").into(),
            files,
            is_full: faults.full_flag(),
            rows,
            durable: applied.clone(),
            applied,
            number,
            frozen: None,
            is_writing: false,
            is_mid_entry: false,
            active_bytes: 0,
            memtable_bytes,
        }
    }

    pub(crate) fn rows(&self) -> &Rows {
        &self.rows
    }

    /// Changes the rows, by `bytes`.
    pub(crate) fn write(&mut self, bytes: usize) -> &mut Rows {
        self.active_bytes += bytes;
        &mut self.rows
    }

    fn image(&self) -> Image {
        Image { rows: self.rows.clone(), applied: self.applied.clone() }
    }
}

/// Brings a frozen image to disk.
pub(crate) struct WriteImage {
    image: Image,
    number: u64,
    files: SharedFiles,
    is_full: Arc<AtomicBool>,
}

impl WriteImage {
    fn run(self) -> WrittenImage {
        let outcome = if self.is_full.load(Ordering::Relaxed) {
            Err(Error::DiskFull { path: "/data".into() })
        } else {
            let mut files = lock(&self.files);
            if files.number == self.number {
                files.image = self.image.clone();
            }
            Ok(())
        };
        WrittenImage { applied: self.image.applied, number: self.number, outcome }
    }
}

/// The outcome of a generation.
pub(crate) struct WrittenImage {
    applied: Applied,
    number: u64,
    outcome: Result<()>,
}

/// Makes a checkpoint.
pub(crate) struct CheckpointImage {
    generation: Option<WriteImage>,
    files: SharedFiles,
    into: PathBuf,
}

/// The outcome of a checkpoint.
pub(crate) struct CheckpointedImage {
    generation: Option<WrittenImage>,
    checkpoint: Applied,
}

/// Puts a checkpoint in the place of all rows.
pub(crate) struct InstallImage {
    number: u64,
    files: SharedFiles,
    from: PathBuf,
}

/// The outcome of an install.
pub(crate) struct InstalledImage(Result<Image>);

fn no_checkpoint(path: &Path) -> Error {
    Error::Corruption { path: path.to_owned(), detail: "there is no checkpoint".to_owned() }
}

impl GroupStore for StoreTwin {
    type Generation = WriteImage;
    type GenerationDone = WrittenImage;
    type Checkpoint = CheckpointImage;
    type CheckpointDone = CheckpointedImage;
    type Install = InstallImage;
    type InstallDone = InstalledImage;
    type Retired = ();

    fn directory(&self) -> &Path {
        &self.directory
    }

    fn applied(&self) -> &Applied {
        &self.applied
    }

    fn set_applied(&mut self, index: u64, log_id: &[u8], membership: Option<&[u8]>) {
        assert!(index >= self.applied.index, "entry {index} was applied before: {} is the last", self.applied.index);
        self.is_mid_entry = false;
        self.applied.index = index;
        self.applied.log_id = log_id.to_vec();
        if let Some(membership) = membership {
            self.applied.membership = membership.to_vec();
        }
    }

    fn durable_applied(&self) -> u64 {
        self.durable.index
    }

    fn begin_entry(&mut self) {
        self.is_mid_entry = true;
    }

    fn is_mid_entry(&self) -> bool {
        self.is_mid_entry
    }

    fn is_full(&self) -> bool {
        self.active_bytes >= self.memtable_bytes
    }

    fn memory(&self) -> StoreMemory {
        let frozen_bytes = if self.frozen.is_some() { self.memtable_bytes } else { 0 };
        StoreMemory {
            active_bytes: self.active_bytes,
            frozen_bytes,
            memtable_bytes: self.memtable_bytes,
            ..StoreMemory::default()
        }
    }

    fn freeze(&mut self) -> Option<WriteImage> {
        if self.is_writing || (self.is_mid_entry && self.frozen.is_none()) {
            return None;
        }
        if self.frozen.is_none() {
            if self.applied == self.durable {
                return None;
            }
            self.frozen = Some(self.image());
            self.active_bytes = 0;
        }
        self.is_writing = true;
        let (image, number) = (self.frozen.clone()?, self.number);
        Some(WriteImage { image, number, files: self.files.clone(), is_full: self.is_full.clone() })
    }

    fn finish(&mut self, done: WrittenImage) -> Result<()> {
        if done.number != self.number {
            return Ok(());
        }
        assert!(self.is_writing, "no generation is being written");
        self.is_writing = false;
        done.outcome?;
        self.durable = done.applied;
        self.frozen = None;
        Ok(())
    }

    fn checkpoint(&mut self, into: &Path) -> CheckpointImage {
        CheckpointImage { generation: self.freeze(), files: self.files.clone(), into: into.to_owned() }
    }

    fn finish_checkpoint(&mut self, done: CheckpointedImage) -> Result<(Applied, ())> {
        if let Some(generation) = done.generation {
            self.finish(generation)?;
        }
        Ok((done.checkpoint, ()))
    }

    fn install_job(&self, from: &Path) -> InstallImage {
        InstallImage { number: self.number + 1, files: self.files.clone(), from: from.to_owned() }
    }

    fn finish_install(&mut self, done: InstalledImage) -> Result<()> {
        let Image { rows, applied } = done.0?;
        self.rows = rows;
        self.durable = applied.clone();
        self.applied = applied;
        self.number += 1;
        self.frozen = None;
        self.is_writing = false;
        self.is_mid_entry = false;
        self.active_bytes = 0;
        Ok(())
    }

    fn take_replaced(_: &mut WriteImage) {}

    fn applied_index(job: &WriteImage) -> u64 {
        job.image.applied.index
    }

    fn write_generation(job: WriteImage) -> WrittenImage {
        job.run()
    }

    fn make_checkpoint(job: CheckpointImage) -> CheckpointedImage {
        let generation = job.generation.map(WriteImage::run);
        let image = lock(&job.files).image.clone();
        let checkpoint = image.applied.clone();
        CHECKPOINTS.with_borrow_mut(|checkpoints| checkpoints.insert(job.into, image));
        CheckpointedImage { generation, checkpoint }
    }

    fn install(job: InstallImage) -> InstalledImage {
        let image = CHECKPOINTS.with_borrow_mut(|checkpoints| checkpoints.remove(&job.from));
        let Some(image) = image else { return InstalledImage(Err(no_checkpoint(&job.from))) };
        *lock(&job.files) = StoreFiles { image: image.clone(), number: job.number };
        InstalledImage(Ok(image))
    }

    fn cold_read(&self, _: ColdRead, _: bool) -> impl FnOnce() -> Result<Fetched> + Send + 'static + use<> {
        || Ok(Fetched::default())
    }

    fn applied_in_checkpoint(directory: &Path) -> Result<Applied> {
        let image = CHECKPOINTS.with_borrow(|checkpoints| checkpoints.get(directory).cloned());
        image.map(|image| image.applied).ok_or_else(|| no_checkpoint(directory))
    }

    fn checkpoints(directory: &Path) -> io::Result<Vec<PathBuf>> {
        let is_in = |path: &&PathBuf| path.parent() == Some(directory);
        Ok(CHECKPOINTS.with_borrow(|checkpoints| checkpoints.keys().filter(is_in).cloned().collect()))
    }

    fn make_directory(_: &Path) -> io::Result<()> {
        Ok(())
    }

    fn remove_checkpoint(directory: &Path) -> io::Result<()> {
        let removed = CHECKPOINTS.with_borrow_mut(|checkpoints| checkpoints.remove(directory));
        removed.map(drop).ok_or_else(|| io::ErrorKind::NotFound.into())
    }
}
