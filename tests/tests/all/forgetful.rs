//! A disk that forgets, where one can be mounted.

use std::path::PathBuf;

use basalt_tests::{ForgetfulDisk, skip};
use tempfile::TempDir;

/// A forgetful disk in a directory of its own; the disk goes first.
pub struct Forgetful {
    pub disk: ForgetfulDisk,
    _mount_point: TempDir,
}

impl Forgetful {
    /// None where file systems cannot be mounted, if tests may be skipped there.
    pub fn new(capacity: usize) -> Option<Forgetful> {
        let mount_point = tempfile::tempdir().expect("a temporary directory");
        match ForgetfulDisk::mount(mount_point.path(), capacity) {
            Ok(disk) => Some(Forgetful { disk, _mount_point: mount_point }),
            Err(error) => {
                skip(&format!("a disk that forgets needs /dev/fuse and the right to mount: {error}"));
                None
            }
        }
    }

    pub fn dir(&self) -> PathBuf {
        self.disk.path().join("data")
    }
}
