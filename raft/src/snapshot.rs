//! A group's snapshot: the rows on disk, and up to which entry they are applied.
//!
//! Nothing is copied when openraft builds a snapshot: the store's files are one at any time. Only when a snapshot goes to
//! another node are its files pinned, as a checkpoint of hard links in a directory of its own.
//!
//! What a newcomer would get wrong: by then the store may have gone on. Who sends a snapshot sends what the *checkpoint* says of
//! itself, not what openraft asked for: a follower that believes less than its rows have would apply entries twice.

use std::io;
use std::path::{Path, PathBuf};
use std::rc::Rc;

use openraft::RaftSnapshotBuilder;

use crate::completions::Background;
use crate::disk::{Disk, GroupStore, Rocks};
use crate::error::{Error, Result};
use crate::generations::{Generations, remove_checkpoint};
use crate::types::{SnapshotMeta, TypeConfig};

pub(crate) type Snapshot<D = Rocks> = openraft::alias::SnapshotOf<TypeConfig, SnapshotData<D>>;

/// The directory for checkpoints of one group, each under a number of its own.
#[derive(Debug)]
pub(crate) struct Checkpoints {
    directory: PathBuf,
    made: std::cell::Cell<u64>,
    make_directory: fn(&Path) -> io::Result<()>,
}

impl Checkpoints {
    /// Uses `directory`, and has another thread remove what an earlier run left there.
    pub(crate) fn open<S: GroupStore>(directory: &Path, background: &dyn Background) -> Result<Rc<Checkpoints>> {
        let io = |source| Error::Storage(basalt_storage::Error::Io { path: directory.to_owned(), source });
        let left = S::checkpoints(directory).map_err(io)?;
        // Their names are not used again: they may be there for a while.
        let number = |path: &PathBuf| path.file_name()?.to_str()?.parse().ok();
        let made = left.iter().filter_map(number).max().unwrap_or(0);
        if !left.is_empty() {
            background.run(Box::new(move || left.iter().for_each(|left| remove_checkpoint::<S>(left))));
        }
        Ok(Rc::new(Checkpoints {
            directory: directory.to_owned(),
            made: std::cell::Cell::new(made),
            make_directory: S::make_directory,
        }))
    }

    fn next(&self) -> Result<PathBuf> {
        (self.make_directory)(&self.directory)
            .map_err(|source| basalt_storage::Error::Io { path: self.directory.clone(), source })?;
        self.made.set(self.made.get() + 1);
        Ok(self.directory.join(self.made.get().to_string()))
    }
}

/// The rows of a snapshot.
pub struct SnapshotData<D: Disk = Rocks>(Source<D>);

enum Source<D: Disk> {
    /// This node's own rows, as they are when the snapshot is sent.
    Store { generations: Rc<Generations<D>>, checkpoints: Rc<Checkpoints> },
    /// Another node's rows, and up to where they are applied.
    Received(Checkpoint, SnapshotMeta),
}

/// A checkpoint that is somebody's: it is taken, or removed.
pub(crate) struct Checkpoint {
    directory: PathBuf,
    /// Removes it.
    background: Rc<dyn Background>,
    is_taken: bool,
    remove: fn(&Path),
}

impl Checkpoint {
    pub(crate) fn new<S: GroupStore>(directory: PathBuf, background: Rc<dyn Background>) -> Checkpoint {
        Checkpoint { directory, background, is_taken: false, remove: remove_checkpoint::<S> }
    }

    pub(crate) fn directory(&self) -> &Path {
        &self.directory
    }

    pub(crate) fn take(mut self) -> PathBuf {
        self.is_taken = true;
        std::mem::take(&mut self.directory)
    }
}

impl Drop for Checkpoint {
    fn drop(&mut self) {
        if !self.is_taken {
            let directory = std::mem::take(&mut self.directory);
            let remove = self.remove;
            self.background.run(Box::new(move || remove(&directory)));
        }
    }
}

impl<D: Disk> SnapshotData<D> {
    pub(crate) fn of_store(generations: Rc<Generations<D>>, checkpoints: Rc<Checkpoints>) -> Self {
        SnapshotData(Source::Store { generations, checkpoints })
    }

    pub(crate) fn received(received: Checkpoint, meta: SnapshotMeta) -> Self {
        SnapshotData(Source::Received(received, meta))
    }

    /// The snapshot's rows as the caller's, and up to where they are applied. Of this node's own rows that is at least to where the
    /// snapshot said, since a store goes on: it is this that goes to another node with them.
    pub(crate) async fn into_checkpoint(self) -> Result<(Checkpoint, SnapshotMeta)> {
        match self.0 {
            Source::Store { generations, checkpoints } => {
                let directory = checkpoints.next()?;
                let meta = generations.checkpoint(directory.clone()).await?;
                Ok((Checkpoint::new::<D::Store>(directory, generations.background()), meta))
            }
            Source::Received(received, meta) => Ok((received, meta)),
        }
    }
}

/// Makes the group's next snapshot.
pub(crate) struct SnapshotBuilder<D: Disk = Rocks> {
    generations: Rc<Generations<D>>,
    checkpoints: Rc<Checkpoints>,
    /// Set if rows that are only in memory are to be written out first.
    writes_out: bool,
}

impl<D: Disk> SnapshotBuilder<D> {
    pub(crate) fn new(generations: Rc<Generations<D>>, checkpoints: Rc<Checkpoints>, writes_out: bool) -> Self {
        SnapshotBuilder { generations, checkpoints, writes_out }
    }
}

impl<D: Disk> RaftSnapshotBuilder<TypeConfig> for SnapshotBuilder<D> {
    type SnapshotData = SnapshotData<D>;

    async fn build_snapshot(&mut self) -> io::Result<Snapshot<D>> {
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
    use std::fs;

    use basalt_storage::Store;

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
        let checkpoints = Checkpoints::open::<Store>(directory.path(), &held).unwrap();
        assert!(left.iter().all(|left| left.exists()), "nothing is removed on this thread");
        let next = checkpoints.next().unwrap();
        assert_eq!(next, directory.path().join("8"));
        fs::create_dir(&next).unwrap();
        held.run_all();
        assert!(next.exists() && !left.iter().any(|left| left.exists()));
        assert!(Checkpoints::open::<Store>(&directory.path().join("not there"), &held).is_ok());
        assert_eq!(held.job_count(), 0);
    }
}
