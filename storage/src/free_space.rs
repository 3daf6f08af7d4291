//! Space that a file system has left.

use std::path::Path;

use nix::sys::statvfs::statvfs;

use crate::{Error, Result};

/// Bytes that this process may still write to the file system that holds `path`.
///
/// # Errors
/// [`Error::Io`] with what the operating system says of the path.
pub fn free_bytes(path: &Path) -> Result<u64> {
    let status = statvfs(path).map_err(|errno| Error::Io { path: path.into(), source: errno.into() })?;
    Ok(status.blocks_available() as u64 * status.fragment_size() as u64)
}
