//! Room that the file system has left.
//!
//! RocksDB never sees a full disk if appends stop while there is still some reserve: after a failed write it would have to
//! be opened again.

use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Instant;

use super::limits::{LOOK_EVERY, LOOK_EVERY_BYTES, OWN_APPEND_BYTES_MAX};
use crate::free_space::free_bytes;
use crate::{Error, Result};

/// Set while it has been said that the reserve is reached, and not yet that there is room again. One for the process: its logs are
/// on one file system, and each would say the same.
static IS_SHORT: AtomicBool = AtomicBool::new(false);

/// Refuses writes while the file system has less than a reserve free.
#[derive(Debug)]
pub(super) struct DiskSpace {
    path: PathBuf,
    reserve_bytes: u64,
    written_bytes: usize,
    looked: Option<Instant>,
    free_bytes: u64,
    /// Set while new work is turned away.
    full: bool,
}

impl DiskSpace {
    /// Watches the file system that holds `path`.
    pub(super) fn new(path: &Path, reserve_bytes: u64) -> Self {
        Self { path: path.to_owned(), reserve_bytes, written_bytes: 0, looked: None, free_bytes: 0, full: false }
    }

    /// Refuses new work of `bytes` that should not begin.
    ///
    /// # Errors
    /// [`Error::DiskFull`] while less than the reserve is free; once full, an eighth more must be free before work is taken.
    pub(super) fn admit(&mut self, bytes: usize) -> Result<()> {
        self.look(bytes)?;
        let needed_bytes = if self.full { self.ample_bytes() } else { self.reserve_bytes };
        self.full = self.free_bytes < needed_bytes;
        if self.full { Err(self.disk_full()) } else { Ok(()) }
    }

    /// Counts `bytes` about to be written.
    ///
    /// # Errors
    /// [`Error::DiskFull`] while less than half of the reserve is free, unless they are few.
    pub(super) fn take(&mut self, bytes: usize) -> Result<()> {
        self.look(bytes)?;
        self.written_bytes += bytes;
        let floor_bytes = if bytes <= OWN_APPEND_BYTES_MAX { 0 } else { self.reserve_bytes / 2 };
        if self.free_bytes < floor_bytes { Err(self.disk_full()) } else { Ok(()) }
    }

    /// Checks that `bytes` are free over and above the reserve.
    ///
    /// # Errors
    /// [`Error::DiskFull`] if they are not.
    pub(super) fn check(&self, bytes: u64) -> Result<()> {
        let is_free = self.ask()? >= self.reserve_bytes.saturating_add(bytes);
        if is_free { Ok(()) } else { Err(self.disk_full()) }
    }

    /// Bytes that must be free for new work to be taken again.
    fn ample_bytes(&self) -> u64 {
        self.reserve_bytes.saturating_add(self.reserve_bytes / 8)
    }

    /// Says, once, that the reserve is reached, or that there is room again.
    fn announce(&self) {
        let (free_bytes, reserve_bytes, path) = (self.free_bytes, self.reserve_bytes, self.path.display());
        if free_bytes < reserve_bytes && !IS_SHORT.swap(true, Ordering::Relaxed) {
            tracing::warn!(
                %path, free_bytes, reserve_bytes,
                "the disk has less free than disk-reserve: writes are refused until there is space again, reads go on"
            );
        } else if free_bytes >= self.ample_bytes() && IS_SHORT.swap(false, Ordering::Relaxed) {
            tracing::warn!(%path, free_bytes, reserve_bytes, "the disk has space again: writes are taken");
        }
    }

    fn disk_full(&self) -> Error {
        Error::DiskFull { path: self.path.clone() }
    }

    fn ask(&self) -> Result<u64> {
        free_bytes(&self.path)
    }

    /// Asks the file system again if the last answer is old, or much was written since, or space was short.
    fn look(&mut self, bytes: usize) -> Result<()> {
        let is_recent = self.looked.is_some_and(|looked| looked.elapsed() < LOOK_EVERY);
        let is_ample = self.free_bytes >= self.reserve_bytes && self.written_bytes + bytes <= LOOK_EVERY_BYTES;
        if !(is_recent && is_ample) || self.full {
            self.free_bytes = self.ask()?;
            self.looked = Some(Instant::now());
            self.written_bytes = 0;
            self.announce();
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_reserve_that_is_not_there_refuses_until_it_is() {
        let directory = tempfile::tempdir().expect("a temporary directory");
        let mut space = DiskSpace::new(directory.path(), u64::MAX / 2);
        assert!(matches!(space.admit(1), Err(Error::DiskFull { .. })));
        assert!(matches!(space.take(OWN_APPEND_BYTES_MAX + 1), Err(Error::DiskFull { .. })));
        assert!(space.take(OWN_APPEND_BYTES_MAX).is_ok());
        space.reserve_bytes = 1;
        assert!(space.admit(1).is_ok() && space.take(1 << 20).is_ok());
    }

    #[test]
    fn what_was_admitted_may_use_half_of_the_reserve() {
        let directory = tempfile::tempdir().expect("a temporary directory");
        let mut space = DiskSpace::new(directory.path(), 1);
        space.reserve_bytes = space.ask().expect("readable") / 2 * 3;
        assert!(matches!(space.admit(1), Err(Error::DiskFull { .. })));
        assert!(space.take(1 << 20).is_ok());
    }
}
