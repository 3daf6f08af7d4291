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

use crate::{Error, Identity, Result, Versions};

/// Versions of the store's directory and its marker; the rows in it have their own. Version 2 knew neither clusters nor numbers of
/// nodes and groups.
const FORMAT: Versions = Versions::new(2, 3);

const MARKER: &str = "STORE";
const MARKER_NEXT: &str = "STORE.next";
const MARKER_TAG: &str = "basalt-store";

/// The directory of one store.
#[derive(Debug, Clone)]
pub(crate) struct Directory {
    path: PathBuf,
    identity: Identity,
    /// Set if the marker is of the version before.
    is_former: bool,
}

impl Directory {
    /// Opens the directory of the store in `path`, which is that of `identity`; beside it the number of its current database, or
    /// `None` if it has none yet, for which `create` must be set.
    pub(crate) fn open(path: &Path, identity: Identity, create: bool) -> Result<(Directory, Option<u64>)> {
        if create {
            fs::create_dir_all(path).map_err(|source| io(path, source))?;
        }
        let mut directory = Directory { path: path.into(), identity, is_former: false };
        let current = directory.read_marker()?;
        if current.is_none() {
            if path.is_dir() {
                directory.refuse_unnamed_rows()?;
            }
            if !create {
                return Err(Error::Missing { path: path.into() });
            }
            // The directory's own name has to survive a power failure as well.
            path.parent().filter(|parent| parent.is_dir()).map_or(Ok(()), sync_dir)?;
        }
        Ok((directory, current))
    }

    /// True if the marker is of the version before, and to be written again.
    pub(crate) fn is_former(&self) -> bool {
        self.is_former
    }

    pub(crate) fn path(&self) -> &Path {
        &self.path
    }

    pub(crate) fn database_path(&self, number: u64) -> PathBuf {
        self.path.join(format!("db-{number}"))
    }

    /// Path of the generations that are written and not yet ingested; on the same file system as the database.
    pub(crate) fn incoming_path(&self) -> PathBuf {
        self.path.join("incoming")
    }

    /// Makes the database `number` the current one, atomically and durably.
    pub(crate) fn set_current(&self, number: u64) -> Result<()> {
        let Identity { node, group, .. } = self.identity;
        let (node_id, cluster_id) = (self.identity.node_id_hex(), self.identity.cluster_id_hex());
        let place = format!("group-{group} number-{node:016x} node-{node_id} cluster-{cluster_id}");
        let body = format!("{MARKER_TAG} {} db-{number} {place}", FORMAT.written());
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

    /// Removes the unfinished generations that a crash left. Before the database is opened: it may need the space.
    pub(crate) fn remove_incoming(&self) -> Result<()> {
        match fs::read_dir(self.incoming_path()) {
            Ok(files) => files.flatten().map(|file| file.path()).try_for_each(|path| {
                tracing::info!(path = %path.display(), "removing a generation that an earlier run left unfinished");
                let removed = if path.is_dir() { fs::remove_dir_all(&path) } else { fs::remove_file(&path) };
                removed.map_err(|source| io(&path, source))
            }),
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => Ok(()),
            Err(source) => Err(io(&self.incoming_path(), source)),
        }
    }

    /// Removes the databases other than `current` that a crash left.
    pub(crate) fn remove_leftovers(&self, current: u64) -> Result<()> {
        let incoming = self.incoming_path();
        let keep = [self.path.join(MARKER), self.database_path(current), incoming.clone()];
        for entry in self.entries()? {
            if keep.contains(&entry) || !is_ours(&entry) {
                continue;
            }
            tracing::info!(path = %entry.display(), "removing what an earlier run left unfinished");
            let removed = if entry.is_dir() { fs::remove_dir_all(&entry) } else { fs::remove_file(&entry) };
            removed.map_err(|source| io(&entry, source))?;
        }
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

    fn read_marker(&mut self) -> Result<Option<u64>> {
        let path = self.path.join(MARKER);
        let text = match fs::read(&path) {
            Ok(bytes) => String::from_utf8_lossy(&bytes).into_owned(),
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => return Ok(None),
            Err(source) => return Err(io(&path, source)),
        };
        let Marker { format, number, identity: found } = parse_marker(&text, &path)?;
        if !self.identity.owns(&found) {
            return Err(Error::Foreign {
                path: self.path.clone(),
                found: Box::new(found),
                expected: Box::new(self.identity),
            });
        }
        self.is_former = format != FORMAT.written();
        Ok(Some(number))
    }

    fn entries(&self) -> Result<Vec<PathBuf>> {
        let read = || fs::read_dir(&self.path)?.map(|entry| Ok(entry?.path())).collect::<std::io::Result<_>>();
        read().map_err(|source| io(&self.path, source))
    }
}

/// The content of a marker.
struct Marker {
    format: u32,
    /// The number of the current database.
    number: u64,
    /// The store's owner.
    identity: Identity,
}

fn parse_marker(text: &str, path: &Path) -> Result<Marker> {
    let damaged = |detail: &str| Error::Corruption { path: path.into(), detail: detail.into() };
    let line = text.strip_suffix('\n').ok_or_else(|| damaged("its line is cut short"))?;
    let mut words = line.split(' ');
    if words.next() != Some(MARKER_TAG) {
        return Err(damaged("it is not a store's marker"));
    }
    let format: u32 =
        words.next().and_then(|word| word.parse().ok()).ok_or_else(|| damaged("its format is no number"))?;
    if !FORMAT.reads(format) {
        return Err(Error::UnknownFormat { path: path.into(), found: format, supported: FORMAT.newest() });
    }
    let (body, checksum) = line.rsplit_once(' ').ok_or_else(|| damaged("its line is cut short"))?;
    if checksum != format!("{:08x}", crc32fast::hash(body.as_bytes())) {
        return Err(damaged("it does not match its checksum"));
    }
    let mut word = |prefix| words.next().and_then(|word| word.strip_prefix(prefix));
    let number = word("db-").and_then(|number| number.parse().ok()).ok_or_else(|| damaged("it names no database"))?;
    let mut read_identity = || match format {
        2 => {
            let shard = word("shard-")?.parse().ok()?;
            Some(Identity::former(Identity::parse_id(word("node-")?)?, shard))
        }
        _ => {
            let (group, node) = (word("group-")?.parse().ok()?, u64::from_str_radix(word("number-")?, 16).ok()?);
            let node_id = Identity::parse_id(word("node-")?)?;
            Some(Identity { cluster_id: Identity::parse_id(word("cluster-")?)?, node_id, node, group })
        }
    };
    let identity = read_identity().ok_or_else(|| damaged("it does not say whose it is"))?;
    Ok(Marker { format, number, identity })
}

/// Returns whether the store made the directory entry; anything else is left alone.
fn is_ours(path: &Path) -> bool {
    let name = path.file_name().and_then(|name| name.to_str()).unwrap_or_default();
    name == MARKER_NEXT
        || name == "incoming"
        || name.strip_prefix("db-").is_some_and(|number| number.parse::<u64>().is_ok())
}

/// Makes the names in `path` durable.
pub(crate) fn sync_dir(path: &Path) -> Result<()> {
    File::open(path).and_then(|dir| dir.sync_all()).map_err(|source| io(path, source))
}

/// The operating system's refusal on `path`.
pub(crate) fn io(path: &Path, source: std::io::Error) -> Error {
    match source.kind() {
        std::io::ErrorKind::StorageFull | std::io::ErrorKind::QuotaExceeded => Error::DiskFull { path: path.into() },
        _ => Error::Io { path: path.into(), source },
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::identity::tests::{OWN, others};

    /// The marker as version 2 had it, of shard 4 of that node.
    const FORMER: &[u8] = b"basalt-store 2 db-7 shard-4 node-0707070707070707070707070707070707070707 47c98ac9\n";

    fn open(dir: &tempfile::TempDir) -> Result<(Directory, Option<u64>)> {
        Directory::open(dir.path(), OWN, true)
    }

    #[test]
    fn the_marker_names_the_current_database() {
        let dir = tempfile::tempdir().unwrap();
        let (directory, current) = open(&dir).unwrap();
        assert_eq!(current, None);
        directory.set_current(7).unwrap();
        assert_eq!(open(&dir).unwrap().1, Some(7));
        directory.set_current(8).unwrap();
        assert_eq!(open(&dir).unwrap().1, Some(8));
    }

    #[test]
    fn a_damaged_marker_is_refused_by_name() {
        let dir = tempfile::tempdir().unwrap();
        let (directory, _) = open(&dir).unwrap();
        directory.set_current(7).unwrap();
        let marker = dir.path().join(MARKER);
        let good = fs::read(&marker).unwrap();
        for position in 0..good.len() {
            let mut bad = good.clone();
            bad[position] ^= 0x01;
            fs::write(&marker, &bad).unwrap();
            assert!(open(&dir).is_err(), "flipped byte {position}");
            fs::write(&marker, &good[..position]).unwrap();
            let error = open(&dir).unwrap_err();
            assert!(matches!(&error, Error::Corruption { path, .. } if *path == marker), "cut at {position}: {error}");
        }
    }

    #[test]
    fn a_marker_of_another_version_is_refused_as_such() {
        let dir = tempfile::tempdir().unwrap();
        // Format 1 did not say whose the store is.
        for line in ["basalt-store 4 db-1 whatever else it may say", "basalt-store 1 db-1 fef09a53"] {
            fs::write(dir.path().join(MARKER), format!("{line}\n")).unwrap();
            let error = open(&dir).unwrap_err();
            let found = line.as_bytes()["basalt-store ".len()] - b'0';
            let is_told = |error: &Error| matches!(error, Error::UnknownFormat { found: format, supported: 3, .. } if *format == u32::from(found));
            assert!(is_told(&error), "{error}");
        }
    }

    #[test]
    fn the_marker_is_the_documented_line() {
        let dir = tempfile::tempdir().unwrap();
        open(&dir).unwrap().0.set_current(7).unwrap();
        let (node, cluster) = ("07".repeat(20), "09".repeat(20));
        let line = format!("basalt-store 3 db-7 group-5 number-0123456789abcdef node-{node} cluster-{cluster}");
        let text = fs::read_to_string(dir.path().join(MARKER)).unwrap();
        assert_eq!(text, format!("{line} {:08x}\n", crc32fast::hash(line.as_bytes())));
    }

    #[test]
    fn the_marker_of_the_version_before_is_read_and_replaced() {
        let dir = tempfile::tempdir().unwrap();
        fs::write(dir.path().join(MARKER), FORMER).unwrap();
        let upgraded = Identity { node: 1, ..OWN };
        let (directory, current) = Directory::open(dir.path(), upgraded, false).unwrap();
        assert!(current == Some(7) && directory.is_former());
        directory.set_current(7).unwrap();
        let (directory, current) = Directory::open(dir.path(), upgraded, false).unwrap();
        assert!(current == Some(7) && !directory.is_former());
        fs::write(dir.path().join(MARKER), FORMER).unwrap();
        for other in [OWN, Identity { group: 4, ..upgraded }, Identity { node_id: [8; 20], ..upgraded }] {
            let error = Directory::open(dir.path(), other, false).unwrap_err();
            assert!(
                matches!(&error, Error::Foreign { found, .. } if **found == Identity::former([7; 20], 4)),
                "{error}"
            );
        }
    }

    #[test]
    fn the_store_of_another_group_node_or_cluster_is_refused() {
        let dir = tempfile::tempdir().unwrap();
        open(&dir).unwrap().0.set_current(1).unwrap();
        for other in others() {
            let error = Directory::open(dir.path(), other, true).unwrap_err();
            assert!(
                matches!(&error, Error::Foreign { found, path, .. } if **found == OWN && path == dir.path()),
                "{error}"
            );
        }
    }

    #[test]
    fn a_store_that_must_be_there_is_not_made() {
        let dir = tempfile::tempdir().unwrap();
        for path in [dir.path().to_owned(), dir.path().join("data")] {
            let error = Directory::open(&path, OWN, false).unwrap_err();
            assert!(matches!(&error, Error::Missing { path: named } if *named == path), "{error}");
        }
        assert!(!dir.path().join("data").exists());
    }

    #[test]
    fn rows_without_a_marker_are_not_taken_for_a_new_store() {
        let dir = tempfile::tempdir().unwrap();
        fs::create_dir(dir.path().join("db-1")).unwrap();
        assert!(open(&dir).is_ok(), "an empty database is a creation that was interrupted");
        fs::write(dir.path().join("db-1/000009.sst"), "").unwrap();
        assert!(matches!(open(&dir), Err(Error::Corruption { .. })));
    }

    #[test]
    fn leftovers_go_and_foreign_files_stay() {
        let dir = tempfile::tempdir().unwrap();
        let (directory, _) = open(&dir).unwrap();
        directory.set_current(2).unwrap();
        for name in ["db-1", "db-2", "db-3", "incoming", "lost+found"] {
            fs::create_dir(dir.path().join(name)).unwrap();
        }
        fs::write(dir.path().join("incoming/half.sst"), "").unwrap();
        directory.remove_incoming().unwrap();
        directory.remove_leftovers(2).unwrap();
        let mut left: Vec<_> =
            directory.entries().unwrap().iter().map(|path| path.file_name().unwrap().to_owned()).collect();
        left.sort();
        assert_eq!(left, ["STORE", "db-2", "incoming", "lost+found"]);
        assert_eq!(fs::read_dir(directory.incoming_path()).unwrap().count(), 0);
    }
}
