//! A group's snapshot: the rows on disk, and up to which entry they are applied.
//!
//! Nothing is copied when openraft builds a snapshot: the store's files are one at any time. Only when a snapshot goes to
//! another node are its files pinned, as a checkpoint of hard links in a directory of its own.
//!
//! What a newcomer would get wrong: by then the store may have gone on. Who sends a snapshot sends what the *checkpoint* says of
//! itself, not what openraft asked for: a follower that believes less than its rows have would apply entries twice.

use std::fs;
use std::io;
use std::path::{Path, PathBuf};
use std::rc::Rc;

use openraft::RaftSnapshotBuilder;

use crate::completions::Background;
use crate::error::{Error, Result};
use crate::generations::{Generations, remove_checkpoint};
use crate::types::{SnapshotMeta, TypeConfig};

pub(crate) type Snapshot = openraft::alias::SnapshotOf<TypeConfig, SnapshotData>;

/// The directory for checkpoints of one group, each under a number of its own.
#[derive(Debug)]
pub(crate) struct Checkpoints {
    directory: PathBuf,
    made: std::cell::Cell<u64>,
}

impl Checkpoints {
    /// Uses `directory`, and has another thread remove what an earlier run left there.
    pub(crate) fn open(directory: &Path, background: &dyn Background) -> Result<Rc<Checkpoints>> {
        let io = |source| Error::Storage(basalt_storage::Error::Io { path: directory.to_owned(), source });
        let left: Vec<PathBuf> = match fs::read_dir(directory) {
            Ok(left) => left.map(|left| Ok(left?.path())).collect::<io::Result<_>>().map_err(io)?,
            Err(error) if error.kind() == io::ErrorKind::NotFound => Vec::new(),
            Err(error) => return Err(io(error)),
        };
        // Their names are not used again: they may be there for a while.
        let number = |path: &PathBuf| path.file_name()?.to_str()?.parse().ok();
        let made = left.iter().filter_map(number).max().unwrap_or(0);
        if !left.is_empty() {
            background.run(Box::new(move || left.iter().for_each(|left| remove_checkpoint(left))));
        }
        Ok(Rc::new(Checkpoints { directory: directory.to_owned(), made: std::cell::Cell::new(made) }))
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
    /// Another node's rows, and up to where they are applied.
    Received(Received, SnapshotMeta),
}

/// A checkpoint that came from another node: it is installed, or removed.
pub(crate) struct Received {
    directory: PathBuf,
    /// Removes it.
    background: Rc<dyn Background>,
    is_taken: bool,
}

impl Received {
    pub(crate) fn new(directory: PathBuf, background: Rc<dyn Background>) -> Received {
        Received { directory, background, is_taken: false }
    }

    fn take(mut self) -> PathBuf {
        self.is_taken = true;
        std::mem::take(&mut self.directory)
    }
}

impl Drop for Received {
    fn drop(&mut self) {
        if !self.is_taken {
            let directory = std::mem::take(&mut self.directory);
            self.background.run(Box::new(move || remove_checkpoint(&directory)));
        }
    }
}

impl SnapshotData {
    pub(crate) fn of_store(generations: Rc<Generations>, checkpoints: Rc<Checkpoints>) -> SnapshotData {
        SnapshotData(Source::Store { generations, checkpoints })
    }

    pub(crate) fn received(received: Received, meta: SnapshotMeta) -> SnapshotData {
        SnapshotData(Source::Received(received, meta))
    }

    /// The snapshot's rows in a directory that belongs to the caller, and up to where they are applied. Of this node's own rows
    /// that is at least to where the snapshot said, since a store goes on: it is this that goes to another node with them.
    pub(crate) async fn into_directory(self) -> Result<(PathBuf, SnapshotMeta)> {
        match self.0 {
            Source::Store { generations, checkpoints } => {
                let directory = checkpoints.next()?;
                let meta = generations.checkpoint(directory.clone()).await?;
                Ok((directory, meta))
            }
            Source::Received(received, meta) => Ok((received.take(), meta)),
        }
    }
}

/// Makes the group's next snapshot.
pub(crate) struct SnapshotBuilder {
    generations: Rc<Generations>,
    checkpoints: Rc<Checkpoints>,
    /// Set if rows that are only in memory are to be written out first.
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

#[cfg(test)]
mod tests {
    use super::*;
    use crate::support::Held;

    #[test]
    fn what_an_earlier_run_left_is_removed_on_another_thread_and_is_in_nobodys_way() {
        let directory = tempfile::tempdir().unwrap();
        let left = ["1", "7", "what is this"].map(|name| directory.path().join(name));
        for left in &left {
            fs::create_dir_all(left.join("checkpoint")).unwrap();
        }
        let held = Held::default();
        let checkpoints = Checkpoints::open(directory.path(), &held).unwrap();
        assert!(left.iter().all(|left| left.exists()), "nothing is removed on this thread");
        let next = checkpoints.next().unwrap();
        assert_eq!(next, directory.path().join("8"));
        fs::create_dir(&next).unwrap();
        held.run_all();
        assert!(next.exists() && !left.iter().any(|left| left.exists()));
        assert!(Checkpoints::open(&directory.path().join("not there"), &held).is_ok());
        assert_eq!(held.job_count(), 0);
    }
}
