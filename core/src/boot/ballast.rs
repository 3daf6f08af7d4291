//! Space set aside while a node runs, and given back when it starts: a disk that is full for everything else is not full for the
//! next start.
//!
//! A start needs little, but it needs it: RocksDB begins new files before it takes up, or gives back, old ones. What a running
//! node refuses to write for want of space does not help, since compactions, other programs and unfinished files that a crash
//! left may have taken the last byte.

use std::fs::{self, File};
use std::io::{self, Write};
use std::os::fd::AsFd;
use std::path::{Path, PathBuf};

use nix::errno::Errno;
use nix::fcntl::{FallocateFlags, fallocate};

use crate::limits::BALLAST_BYTES_PER_SHARD;

const BALLAST_FILE: &str = "ballast";

/// The space of one data directory.
#[derive(Debug)]
pub struct Ballast {
    path: PathBuf,
    bytes: u64,
}

impl Ballast {
    /// That of the data directory at `root` with `shard_count` shards.
    pub fn new(root: &Path, shard_count: u16) -> Ballast {
        Ballast { path: root.join(BALLAST_FILE), bytes: u64::from(shard_count) * BALLAST_BYTES_PER_SHARD }
    }

    /// Gives the space back.
    pub fn release(&self) {
        match fs::remove_file(&self.path) {
            Err(error) if error.kind() != io::ErrorKind::NotFound => {
                tracing::warn!(path = %self.path.display(), %error, "the space set aside for a start cannot be given back");
            }
            _ => {}
        }
    }

    /// Sets the space aside, or what is there of it. Blocks for a moment.
    pub fn set_aside(&self) {
        let mut bytes = self.bytes;
        while let Err(error) = File::create(&self.path).and_then(|file| allocate(file, bytes)) {
            self.release();
            bytes /= 2;
            if error.kind() != io::ErrorKind::StorageFull || bytes < self.bytes / 8 {
                let path = self.path.display();
                tracing::warn!(%path, %error, "no space can be set aside: the next start may need some to be made first");
                return;
            }
        }
    }
}

fn allocate(mut file: File, bytes: u64) -> io::Result<()> {
    match fallocate(file.as_fd(), FallocateFlags::empty(), 0, bytes as i64) {
        Ok(()) => Ok(()),
        // A file system that cannot: the bytes must be written.
        Err(Errno::EOPNOTSUPP | Errno::ENOSYS) => {
            let zeros = vec![0; BALLAST_BYTES_PER_SHARD as usize];
            (0..bytes / BALLAST_BYTES_PER_SHARD).try_for_each(|_| file.write_all(&zeros))
        }
        Err(errno) => Err(errno.into()),
    }
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::MetadataExt;

    use super::*;

    #[test]
    fn the_space_is_taken_and_given_back() {
        let root = tempfile::tempdir().expect("a temporary directory");
        let ballast = Ballast::new(root.path(), 3);
        ballast.release();
        for _ in 0..2 {
            ballast.set_aside();
            let metadata = fs::metadata(root.path().join(BALLAST_FILE)).expect("it is there");
            assert!(metadata.blocks() * 512 >= 3 * BALLAST_BYTES_PER_SHARD, "{metadata:?}");
        }
        ballast.release();
        assert_eq!(fs::read_dir(root.path()).expect("readable").count(), 0);
    }
}
