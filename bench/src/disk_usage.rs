//! Bytes that a directory takes on its disk.

use std::collections::HashSet;
use std::io::ErrorKind;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};
use std::{fs, io};

use anyhow::{Context, Result};

/// The unit of `st_blocks` (stat(2)).
const BLOCK_BYTES: u64 = 512;

/// Returns the bytes that all files below `dir` take on the disk, those with several names once.
///
/// Files that vanish meanwhile count or not.
///
/// # Errors
/// If something cannot be read.
pub fn disk_bytes(dir: &Path) -> Result<u64> {
    let mut pending = vec![dir.to_path_buf()];
    let mut linked = HashSet::new();
    let mut bytes = 0;
    while let Some(dir) = pending.pop() {
        bytes += directory_bytes(&dir, &mut pending, &mut linked)
            .or_else(vanished)
            .with_context(|| format!("{} cannot be measured", dir.display()))?;
    }
    Ok(bytes)
}

fn directory_bytes(dir: &Path, pending: &mut Vec<PathBuf>, linked: &mut HashSet<(u64, u64)>) -> io::Result<u64> {
    let mut bytes = 0;
    for entry in fs::read_dir(dir)? {
        bytes += entry_bytes(&entry?, pending, linked).or_else(vanished)?;
    }
    Ok(bytes)
}

fn entry_bytes(entry: &fs::DirEntry, pending: &mut Vec<PathBuf>, linked: &mut HashSet<(u64, u64)>) -> io::Result<u64> {
    let metadata = entry.metadata()?;
    if metadata.is_dir() {
        pending.push(entry.path());
    } else if metadata.nlink() > 1 && !linked.insert((metadata.dev(), metadata.ino())) {
        return Ok(0);
    }
    Ok(metadata.blocks() * BLOCK_BYTES)
}

fn vanished(error: io::Error) -> io::Result<u64> {
    if error.kind() == ErrorKind::NotFound { Ok(0) } else { Err(error) }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn files_below_count_as_what_they_take_and_once() {
        let dir = tempfile::tempdir_in(".").unwrap();
        let empty = disk_bytes(dir.path()).unwrap();
        fs::create_dir(dir.path().join("sub")).unwrap();
        fs::write(dir.path().join("sub/file"), vec![1; 100_000]).unwrap();
        fs::hard_link(dir.path().join("sub/file"), dir.path().join("again")).unwrap();
        // Delayed allocation may not have given the file its blocks yet.
        fs::File::open(dir.path().join("sub/file")).unwrap().sync_all().unwrap();

        let found = disk_bytes(dir.path()).unwrap() - empty;

        assert!((100_000..150_000).contains(&found), "{found}");
    }

    #[test]
    fn a_directory_that_has_vanished_takes_nothing() {
        assert_eq!(disk_bytes(Path::new("/nonexistent")).unwrap(), 0);
    }
}
