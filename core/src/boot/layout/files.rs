//! The files of the directory itself: its lock, and directories that are there after a power failure.

use std::fs::{self, File, OpenOptions};
use std::io::{self, Read as _, Seek as _, SeekFrom, Write as _};
use std::path::{Path, PathBuf};

use nix::errno::Errno;
use nix::fcntl::{Flock, FlockArg};

use super::{LANES_DIR, SHARDS_DIR};
use crate::boot::error::BootError;
use crate::boot::manifest::{GroupState, META_DIR, META_INDEX, Manifest, NODE_FILE};

const LOCK_FILE: &str = "LOCK";

pub(in crate::boot) fn unusable(doing: &'static str, path: &Path, source: io::Error) -> BootError {
    let advice = match source.kind() {
        io::ErrorKind::PermissionDenied => {
            String::from("let the user who runs Basalt write there, or choose another place with --dir")
        }
        io::ErrorKind::ReadOnlyFilesystem => {
            String::from("mount the file system writable, or choose another place with --dir")
        }
        io::ErrorKind::StorageFull => String::from("make space on the disk, or choose another with --dir"),
        io::ErrorKind::NotADirectory | io::ErrorKind::AlreadyExists => {
            String::from("a file of this name is in the way, choose another place with --dir")
        }
        _ => String::from("choose another place with --dir"),
    };
    BootError::DataDir { doing, path: path.to_owned(), advice, source }
}

/// Takes the directory for this process, without waiting.
pub(super) fn lock(root: &Path) -> Result<Flock<File>, BootError> {
    let path = root.join(LOCK_FILE);
    let file = OpenOptions::new()
        .create(true)
        .truncate(false)
        .read(true)
        .write(true)
        .open(&path)
        .map_err(|source| unusable("open", &path, source))?;
    match Flock::lock(file, FlockArg::LockExclusiveNonblock) {
        Ok(mut lock) => {
            write_holder(&mut lock).map_err(|source| unusable("write", &path, source))?;
            Ok(lock)
        }
        Err((file, Errno::EWOULDBLOCK)) => Err(BootError::InUse { dir: root.to_owned(), holder: read_holder(file) }),
        Err((_, errno)) => Err(unusable("lock", &path, errno.into())),
    }
}

fn write_holder(file: &mut File) -> io::Result<()> {
    file.set_len(0)?;
    file.seek(SeekFrom::Start(0))?;
    writeln!(file, "{}", std::process::id())
}

/// The holder of the lock, as far as the file tells.
fn read_holder(mut file: File) -> String {
    let mut text = String::new();
    match file.read_to_string(&mut text).ok().and_then(|_| text.trim().parse::<u32>().ok()) {
        Some(pid) => format!("process {pid}"),
        None => String::from("another process"),
    }
}

/// Checks an existing directory against itself.
pub(super) fn check_directories(root: &Path, manifest: &Manifest) -> Result<(), BootError> {
    // An absent one would be created empty, and its acknowledged writes be gone without a word.
    let used = manifest.groups.iter().filter(|group| matches!(group.state, GroupState::Creating | GroupState::Live));
    // A node that joins another cluster has its map's directory made anew.
    let used = used.filter(|group| manifest.joining.is_none() || group.index != META_INDEX);
    match used.map(|group| root.join(&group.directory)).find(|dir| !dir.is_dir()) {
        Some(path) => Err(BootError::Damaged { path, what: String::from("is missing") }),
        None => Ok(()),
    }
}

pub(super) fn create(root: &Path, manifest: Manifest) -> Result<Manifest, BootError> {
    if let Some(path) = written_shard(root) {
        let what = format!("holds data, but {} is missing", root.join(NODE_FILE).display());
        return Err(BootError::Damaged { path, what });
    }
    let lanes = (0..manifest.lanes).map(|lane| root.join(LANES_DIR).join(lane.to_string()));
    let groups = manifest.groups.iter().map(|group| root.join(&group.directory));
    for dir in groups.chain([root.join(SHARDS_DIR)]).chain(lanes) {
        fs::create_dir_all(&dir).map_err(|source| unusable("create", &dir, source))?;
    }
    sync_dir(&root.join(SHARDS_DIR))?;
    if manifest.lanes > 0 {
        sync_dir(&root.join(LANES_DIR))?;
    }
    if let Some(parent) = parent(root) {
        // Also when an earlier start created it and went no further.
        sync_dir(parent)?;
    }
    manifest.write(root)?;
    Ok(manifest)
}

/// The first shard or lane of `root` that holds anything, or the group of the map: `node.toml` was there when it was written.
fn written_shard(root: &Path) -> Option<PathBuf> {
    let inside = [SHARDS_DIR, LANES_DIR].into_iter().filter_map(|part| fs::read_dir(root.join(part)).ok());
    inside
        .flatten()
        .flatten()
        .map(|shard| shard.path())
        .chain([root.join(META_DIR)])
        .find(|shard| fs::read_dir(shard).is_ok_and(|mut inside| inside.next().is_some()))
}

/// Creates `dir` and what is missing above it, so that their names survive a power failure.
pub(super) fn create_durably(dir: &Path) -> Result<(), BootError> {
    if dir.is_dir() {
        return Ok(());
    }
    let Some(parent) = parent(dir) else { return Ok(()) };
    create_durably(parent)?;
    match fs::create_dir(dir) {
        Err(source) if source.kind() != io::ErrorKind::AlreadyExists || !dir.is_dir() => {
            Err(unusable("create the data directory", dir, source))
        }
        _ => sync_dir(parent),
    }
}

/// The directory that `dir` is named in.
fn parent(dir: &Path) -> Option<&Path> {
    match dir.parent() {
        Some(parent) if parent.as_os_str().is_empty() => Some(Path::new(".")),
        parent => parent,
    }
}

pub(in crate::boot) fn sync_dir(dir: &Path) -> Result<(), BootError> {
    File::open(dir).and_then(|dir| dir.sync_all()).map_err(|source| unusable("sync", dir, source))
}
