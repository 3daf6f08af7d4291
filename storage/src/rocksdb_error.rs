//! RocksDB's errors in the crate's own words. RocksDB tells its errors apart by kind and, for what matters here
//! (which file, whether the disk is full), only by text.

use std::path::Path;

use rocksdb::ErrorKind;

use crate::Error;

/// Texts of RocksDB when an operation needs space that the device does not have (`strerror(ENOSPC)` and `EDQUOT`).
const DISK_FULL_TEXTS: [&str; 2] = ["No space left on device", "Disk quota exceeded"];

/// Text of RocksDB when the same process has opened the database and not closed it.
const HELD_TEXT: &str = "lock hold by current process";

/// Translates an error of the RocksDB instance that lives in `dir`.
///
/// `Incomplete` is no error but an answer ("not in memory" on a read, "would block" on a write): callers that can meet it
/// look at the kind first.
pub(crate) fn from_rocksdb(error: rocksdb::Error, dir: &Path) -> Error {
    let kind = error.kind();
    let text = error.into_string();
    if is_disk_full(&text) {
        return Error::DiskFull { path: dir.into() };
    }
    if text.contains(HELD_TEXT) {
        return Error::InUse { path: dir.into() };
    }
    match kind {
        ErrorKind::Corruption => Error::Corruption { path: damaged_file(&text, dir), detail: text },
        _ => Error::Io { path: dir.into(), source: std::io::Error::other(text) },
    }
}

/// True if `text` says that there was no space, for something that may be tried again when there is.
///
/// Not for a sync of a write-ahead file that failed: the pages that it could not write may be gone, and a second sync, of the same
/// file or after it was opened again, would report success.
fn is_disk_full(text: &str) -> bool {
    says_disk_full(text) && !failed_syncs(text).any(|file| file.ends_with(".log"))
}

/// True if `text` says that there was no space, whatever for.
pub(crate) fn says_disk_full(text: &str) -> bool {
    DISK_FULL_TEXTS.iter().any(|full| text.contains(full))
}

/// The files that syncs failed of, as RocksDB's text names them: "While fdatasync: /data/000012.log: No space left on device".
pub(crate) fn failed_syncs(text: &str) -> impl Iterator<Item = &str> {
    let calls = text.split("While ").skip(1).filter_map(|call| call.split_once(": "));
    calls
        .filter(|(call, _)| call.contains("sync"))
        .map(|(_, file)| file.split_once(": ").map_or(file, |(file, _)| file))
}

/// The file that RocksDB's text names, or `dir` if it names none.
pub(crate) fn damaged_file(text: &str, dir: &Path) -> std::path::PathBuf {
    text.split(|c: char| c.is_whitespace() || c == ':' || c == ',' || c == ';')
        .filter_map(|word| Path::new(word).file_name()?.to_str())
        .find(|name| name.ends_with(".sst") || name.starts_with("MANIFEST-") || *name == "CURRENT")
        .map_or_else(|| dir.into(), |name| dir.join(name))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_write_ahead_file_whose_sync_has_failed_is_no_full_disk() {
        for (text, is_full) in [
            (
                "IO error: No space left on device: While appending to file: /data/sync.log/7.log: No space left on device",
                true,
            ),
            ("IO error: No space left on device: While fdatasync: /data/000009.sst: No space left on device", true),
            ("IO error: No space left on device: While fsync: /data/MANIFEST-000004: Disk quota exceeded", true),
            ("IO error: No space left on device: While fdatasync: /data/000007.log: No space left on device", false),
            ("IO error: No space left on device: While fsync: /data/000007.log: Disk quota exceeded", false),
            ("IO error: While fdatasync: /data/000007.log: Input/output error", false),
        ] {
            assert_eq!(is_disk_full(text), is_full, "{text}");
        }
    }

    #[test]
    fn damaged_files_are_named() {
        let dir = Path::new("/data/db-1");
        for (text, file) in [
            (
                "Corruption: block checksum mismatch: stored = 1, computed = 2, type = 4 in /data/db-1/000009.sst offset 0",
                "/data/db-1/000009.sst",
            ),
            ("Corruption: Can't access /000008.sst: IO error: No such file or directory", "/data/db-1/000008.sst"),
            (
                "Corruption: file is too short (0 bytes) to be an sstable: /data/db-1/000009.sst",
                "/data/db-1/000009.sst",
            ),
            ("Corruption: something else", "/data/db-1"),
        ] {
            assert_eq!(damaged_file(text, dir), Path::new(file), "{text}");
        }
    }
}
