//! The store's directory: which RocksDB instance is the current one, and what a crash may have left beside it.
//!
//! ```text
//! data/STORE        one line that names the current database; replaced by rename, so it is always whole
//! data/db-<n>/      RocksDB; n grows with each installed snapshot; any but the current one is a leftover
//! data/incoming/    generations being written; whatever is here at open is a leftover
//! ```

use std::fs::{self, File};
use std::io::Write;
use std::path::{Path, PathBuf};

use super::applied::FORMAT;
use crate::{Error, Result};

const MARKER: &str = "STORE";
const MARKER_NEXT: &str = "STORE.next";
const MARKER_TAG: &str = "basalt-store";

/// The directory of one store.
#[derive(Debug, Clone)]
pub(super) struct Home {
    path: PathBuf,
}

impl Home {
    /// The store's home in `path`, which is created if missing, and the number of its current database; `None` if it has
    /// none yet.
    pub(super) fn open(path: &Path) -> Result<(Home, Option<u64>)> {
        fs::create_dir_all(path).map_err(|source| io(path, source))?;
        let home = Home { path: path.into() };
        let current = home.read_marker()?;
        if current.is_none() {
            home.refuse_unnamed_rows()?;
            // The home's own name has to survive a power failure as well.
            path.parent().filter(|parent| parent.is_dir()).map_or(Ok(()), sync_dir)?;
        }
        Ok((home, current))
    }

    pub(super) fn database_path(&self, number: u64) -> PathBuf {
        self.path.join(format!("db-{number}"))
    }

    /// Where generations are written before they are ingested; on the same file system as the database.
    pub(super) fn incoming_path(&self) -> PathBuf {
        self.path.join("incoming")
    }

    /// Makes the database `number` the current one, atomically and durably.
    pub(super) fn set_current(&self, number: u64) -> Result<()> {
        let body = format!("{MARKER_TAG} {FORMAT} db-{number}");
        let line = format!("{body} {:08x}\n", crc32fast::hash(body.as_bytes()));
        let next = self.path.join(MARKER_NEXT);
        let write = || {
            let mut file = File::create(&next)?;
            file.write_all(line.as_bytes())?;
            file.sync_all()
        };
        write().map_err(|source| io(&next, source))?;
        fs::rename(&next, self.path.join(MARKER)).map_err(|source| io(&next, source))?;
        sync_dir(&self.path)
    }

    /// Removes what a crash left: databases other than `current`, unfinished generations.
    pub(super) fn remove_leftovers(&self, current: u64) -> Result<()> {
        let keep = [self.path.join(MARKER), self.database_path(current)];
        for entry in self.entries()? {
            if keep.contains(&entry) || !is_ours(&entry) {
                continue;
            }
            tracing::info!(path = %entry.display(), "removing what an earlier run left unfinished");
            let removed = if entry.is_dir() { fs::remove_dir_all(&entry) } else { fs::remove_file(&entry) };
            removed.map_err(|source| io(&entry, source))?;
        }
        let incoming = self.incoming_path();
        fs::create_dir_all(&incoming).map_err(|source| io(&incoming, source))
    }

    /// A database with rows and no marker that names it is a damaged store, not a new one.
    fn refuse_unnamed_rows(&self) -> Result<()> {
        for entry in self.entries()?.into_iter().filter(|entry| entry.is_dir() && is_ours(entry)) {
            let files = fs::read_dir(&entry).map_err(|source| io(&entry, source))?;
            let has_rows =
                files.flatten().any(|file| file.path().extension().is_some_and(|extension| extension == "sst"));
            if has_rows && entry != self.incoming_path() {
                let detail = format!("it is missing, but {} holds rows", entry.display());
                return Err(Error::Corruption { path: self.path.join(MARKER), detail });
            }
        }
        Ok(())
    }

    fn read_marker(&self) -> Result<Option<u64>> {
        let path = self.path.join(MARKER);
        let text = match fs::read(&path) {
            Ok(bytes) => String::from_utf8_lossy(&bytes).into_owned(),
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => return Ok(None),
            Err(source) => return Err(io(&path, source)),
        };
        parse_marker(&text, &path).map(Some)
    }

    fn entries(&self) -> Result<Vec<PathBuf>> {
        let read = || fs::read_dir(&self.path)?.map(|entry| Ok(entry?.path())).collect::<std::io::Result<_>>();
        read().map_err(|source| io(&self.path, source))
    }
}

fn parse_marker(text: &str, path: &Path) -> Result<u64> {
    let damaged = |detail: &str| Error::Corruption { path: path.into(), detail: detail.into() };
    let line = text.strip_suffix('\n').ok_or_else(|| damaged("its line is cut short"))?;
    let mut words = line.split(' ');
    if words.next() != Some(MARKER_TAG) {
        return Err(damaged("it is not a store's marker"));
    }
    let format: u32 =
        words.next().and_then(|word| word.parse().ok()).ok_or_else(|| damaged("its format is no number"))?;
    if format > FORMAT {
        return Err(Error::UnknownFormat { path: path.into(), found: format, supported: FORMAT });
    }
    let (body, checksum) = line.rsplit_once(' ').ok_or_else(|| damaged("its line is cut short"))?;
    if checksum != format!("{:08x}", crc32fast::hash(body.as_bytes())) {
        return Err(damaged("it does not match its checksum"));
    }
    let number = words.next().and_then(|word| word.strip_prefix("db-")?.parse().ok());
    number.ok_or_else(|| damaged("it names no database"))
}

/// Whether the store made the directory entry; anything else is left alone.
fn is_ours(path: &Path) -> bool {
    let name = path.file_name().and_then(|name| name.to_str()).unwrap_or_default();
    name == MARKER_NEXT
        || name == "incoming"
        || name.strip_prefix("db-").is_some_and(|number| number.parse::<u64>().is_ok())
}

/// Makes the names in `path` durable.
pub(super) fn sync_dir(path: &Path) -> Result<()> {
    File::open(path).and_then(|dir| dir.sync_all()).map_err(|source| io(path, source))
}

/// The operating system's refusal on `path`.
pub(super) fn io(path: &Path, source: std::io::Error) -> Error {
    match source.kind() {
        std::io::ErrorKind::StorageFull | std::io::ErrorKind::QuotaExceeded => Error::DiskFull { path: path.into() },
        _ => Error::Io { path: path.into(), source },
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_marker_names_the_current_database() {
        let dir = tempfile::tempdir().unwrap();
        let (home, current) = Home::open(dir.path()).unwrap();
        assert_eq!(current, None);
        home.set_current(7).unwrap();
        assert_eq!(Home::open(dir.path()).unwrap().1, Some(7));
        home.set_current(8).unwrap();
        assert_eq!(Home::open(dir.path()).unwrap().1, Some(8));
    }

    #[test]
    fn a_damaged_marker_is_refused_by_name() {
        let dir = tempfile::tempdir().unwrap();
        let (home, _) = Home::open(dir.path()).unwrap();
        home.set_current(7).unwrap();
        let marker = dir.path().join(MARKER);
        let good = fs::read(&marker).unwrap();
        for position in 0..good.len() {
            let mut bad = good.clone();
            bad[position] ^= 0x01;
            fs::write(&marker, &bad).unwrap();
            assert!(Home::open(dir.path()).is_err(), "flipped byte {position}");
            fs::write(&marker, &good[..position]).unwrap();
            let error = Home::open(dir.path()).unwrap_err();
            assert!(matches!(&error, Error::Corruption { path, .. } if *path == marker), "cut at {position}: {error}");
        }
    }

    #[test]
    fn a_marker_of_a_newer_program_is_refused_as_such() {
        let dir = tempfile::tempdir().unwrap();
        fs::write(dir.path().join(MARKER), "basalt-store 2 db-1 whatever else it may say\n").unwrap();
        let error = Home::open(dir.path()).unwrap_err();
        assert!(matches!(error, Error::UnknownFormat { found: 2, supported: FORMAT, .. }), "{error}");
    }

    #[test]
    fn rows_without_a_marker_are_not_taken_for_a_new_store() {
        let dir = tempfile::tempdir().unwrap();
        fs::create_dir(dir.path().join("db-1")).unwrap();
        assert!(Home::open(dir.path()).is_ok(), "an empty database is a creation that was interrupted");
        fs::write(dir.path().join("db-1/000009.sst"), "").unwrap();
        assert!(matches!(Home::open(dir.path()), Err(Error::Corruption { .. })));
    }

    #[test]
    fn leftovers_go_and_foreign_files_stay() {
        let dir = tempfile::tempdir().unwrap();
        let (home, _) = Home::open(dir.path()).unwrap();
        home.set_current(2).unwrap();
        for name in ["db-1", "db-2", "db-3", "incoming", "lost+found"] {
            fs::create_dir(dir.path().join(name)).unwrap();
        }
        fs::write(dir.path().join("incoming/half.sst"), "").unwrap();
        home.remove_leftovers(2).unwrap();
        let mut left: Vec<_> =
            home.entries().unwrap().iter().map(|path| path.file_name().unwrap().to_owned()).collect();
        left.sort();
        assert_eq!(left, ["STORE", "db-2", "incoming", "lost+found"]);
        assert_eq!(fs::read_dir(home.incoming_path()).unwrap().count(), 0);
    }
}
