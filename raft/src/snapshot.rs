//! A group's snapshot: the rows on disk, and up to which entry they are applied.
//!
//! Nothing is copied when openraft builds a snapshot: the store's files are one at any time. Only when a snapshot goes to
//! another node are its files pinned, as a checkpoint of hard links in a directory of its own.

use std::fs;
use std::io;
use std::path::{Path, PathBuf};
use std::rc::Rc;

use openraft::RaftSnapshotBuilder;

use crate::error::{Error, Result};
use crate::generations::Generations;
use crate::types::{Snapshot, SnapshotMeta, TypeConfig};

/// Where checkpoints of one group are made, each under a number of its own.
#[derive(Debug)]
pub(crate) struct Checkpoints {
    directory: PathBuf,
    made: std::cell::Cell<u64>,
}

impl Checkpoints {
    /// Uses `directory`, and removes what an earlier run left there. Blocks for a moment.
    pub(crate) fn open(directory: &Path) -> Result<Rc<Checkpoints>> {
        let io = |source| Error::Storage(basalt_storage::Error::Io { path: directory.to_owned(), source });
        if directory.exists() {
            fs::remove_dir_all(directory).map_err(io)?;
        }
        Ok(Rc::new(Checkpoints { directory: directory.to_owned(), made: std::cell::Cell::new(0) }))
    }

    fn next(&self) -> Result<PathBuf> {
        fs::create_dir_all(&self.directory)
            .map_err(|source| basalt_storage::Error::Io { path: self.directory.clone(), source })?;
        self.made.set(self.made.get() + 1);
        Ok(self.directory.join(self.made.get().to_string()))
    }
}

/// The rows of a snapshot.
pub struct SnapshotData(Source);

enum Source {
    /// This node's own rows, as they are when the snapshot is sent.
    Store { generations: Rc<Generations>, checkpoints: Rc<Checkpoints> },
}

impl SnapshotData {
    pub(crate) fn of_store(generations: Rc<Generations>, checkpoints: Rc<Checkpoints>) -> SnapshotData {
        SnapshotData(Source::Store { generations, checkpoints })
    }

    /// The snapshot's rows in a directory that belongs to the caller, and up to where they are applied: at least to where
    /// the snapshot said, since a store goes on.
    pub(crate) async fn into_directory(self) -> Result<(PathBuf, SnapshotMeta)> {
        match self.0 {
            Source::Store { generations, checkpoints } => {
                let directory = checkpoints.next()?;
                let meta = generations.checkpoint(directory.clone()).await?;
                Ok((directory, meta))
            }
        }
    }
}

/// Makes the group's next snapshot.
pub(crate) struct SnapshotBuilder {
    generations: Rc<Generations>,
    checkpoints: Rc<Checkpoints>,
    /// Whether rows that are only in memory are to be written out first.
    writes_out: bool,
}

impl SnapshotBuilder {
    pub(crate) fn new(generations: Rc<Generations>, checkpoints: Rc<Checkpoints>, writes_out: bool) -> Self {
        SnapshotBuilder { generations, checkpoints, writes_out }
    }
}

impl RaftSnapshotBuilder<TypeConfig> for SnapshotBuilder {
    type SnapshotData = SnapshotData;

    async fn build_snapshot(&mut self) -> io::Result<Snapshot> {
        let meta =
            match if self.writes_out { self.generations.write_out().await } else { Ok(self.generations.durable()) } {
                // What is on disk is a snapshot too.
                Err(Error::Unwritten(_)) => self.generations.durable(),
                made => made.map_err(io::Error::other)?,
            };
        let snapshot = SnapshotData::of_store(self.generations.clone(), self.checkpoints.clone());
        Ok(Snapshot { meta, snapshot })
    }
}
