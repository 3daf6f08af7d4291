//! The databases that this process has open.
//!
//! RocksDB refuses to open a database twice, but only once it has moved the files of its diary and removed the oldest of them: so
//! does the one that is being closed at that moment, and whichever comes second fails because they are gone. Whoever is to open a
//! database that may be open still asks here first.

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};
use std::sync::{Mutex, PoisonError};

use crate::{Error, Result};

static OPEN: Mutex<BTreeSet<PathBuf>> = Mutex::new(BTreeSet::new());

/// The right to open the database in a directory: one in this process has it, until it is dropped, behind the database.
#[derive(Debug)]
pub(crate) struct OpenPath(PathBuf);

impl OpenPath {
    /// Takes the right to open the database in `path`.
    ///
    /// # Errors
    /// [`Error::InUse`] while another has it.
    pub(crate) fn claim(path: &Path) -> Result<OpenPath> {
        let is_free = OPEN.lock().unwrap_or_else(PoisonError::into_inner).insert(path.to_owned());
        if is_free { Ok(OpenPath(path.to_owned())) } else { Err(Error::InUse { path: path.to_owned() }) }
    }

    /// The directory.
    pub(crate) fn as_path(&self) -> &Path {
        &self.0
    }
}

impl Drop for OpenPath {
    fn drop(&mut self) {
        OPEN.lock().unwrap_or_else(PoisonError::into_inner).remove(&self.0);
    }
}
