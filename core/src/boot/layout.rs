//! The data directory: whose it is, which format it has, and where each shard lives in it.
//!
//! ```text
//! LOCK                 locked (flock) by the process that uses the directory; holds its process id
//! node.toml            format version, number of shards, the node's id, how often it was started
//! ballast              space set aside for the next start
//! shards/<id>/log/     the shard's Raft log
//! shards/<id>/data/    the shard's applied rows
//! ```
//!
//! A directory without `node.toml` was never used. It is written at creation, and again at each start once all shards are
//! open, with one start more. So what must be there is known: from the first counted start on, the log and the rows of every
//! shard; and in each log the number of the last start, or else it is an old copy.

use std::fs::{self, File, OpenOptions};
use std::io::{self, Read, Seek, SeekFrom, Write};
use std::path::{Path, PathBuf};

use nix::errno::Errno;
use nix::fcntl::{Flock, FlockArg};
use serde::{Deserialize, Serialize};

use basalt_storage::Identity;

use super::error::BootError;
use crate::limits::SHARDS_MAX;

/// The format of data directories that this version writes and reads.
pub const FORMAT_VERSION: u64 = 2;

const LOCK_FILE: &str = "LOCK";
const NODE_FILE: &str = "node.toml";
const SHARDS_DIR: &str = "shards";

const NODE_FILE_HEAD: &str = "\
# Written by Basalt when it created this data directory. The number of shards is fixed for its lifetime.
";

/// A data directory, used by this process alone until dropped.
#[derive(Debug)]
pub struct DataDir {
    root: PathBuf,
    node: NodeFile,
    is_new: bool,
    /// Dropped last; the kernel frees it also when the process dies.
    _lock: Flock<File>,
}

/// Where one shard's two databases are.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ShardDir {
    /// The Raft log.
    pub log: PathBuf,
    /// The applied rows.
    pub data: PathBuf,
}

#[derive(Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case", deny_unknown_fields)]
struct NodeFile {
    format: u64,
    shards: u16,
    node_id: String,
    starts: u64,
    created_by: String,
}

impl DataDir {
    /// Opens the data directory at `root`, creating it with `shards` shards (none: one per core) if it is not there.
    ///
    /// # Errors
    /// [`BootError::InUse`], [`BootError::DataDir`], [`BootError::OtherFormat`], [`BootError::Shards`] and [`BootError::Damaged`].
    pub fn open(root: &Path, shards: Option<u16>, core_count: usize) -> Result<DataDir, BootError> {
        create_durably(root)?;
        let lock = lock(root)?;
        let found = read_node_file(root)?;
        let is_new = found.is_none();
        let node = match found {
            Some(node) => check_shards(root, node, shards)?,
            None => create(root, shards, core_count)?,
        };
        Ok(DataDir { root: root.to_owned(), node, is_new, _lock: lock })
    }

    /// The directory itself.
    pub fn root(&self) -> &Path {
        &self.root
    }

    /// How many shards it has, one at least.
    pub fn shard_count(&self) -> u16 {
        self.node.shards
    }

    /// The node's id: 40 hex digits, as Redis Cluster has them, drawn at creation.
    pub fn node_id(&self) -> &str {
        &self.node.node_id
    }

    /// Whose the log and the rows of the shard with this index are.
    pub fn identity(&self, index: u16) -> Identity {
        let node_id = Identity::parse_node_id(&self.node.node_id).expect("it was checked when it was read");
        Identity { node_id, shard: u32::from(index) }
    }

    /// The number of the start that is going on, counted from 1: that of the next [`DataDir::count_start`].
    pub fn start_number(&self) -> u64 {
        self.node.starts + 1
    }

    /// Whether all shards were there once, so that one that is not there now is lost.
    pub fn has_shards(&self) -> bool {
        self.node.starts > 0
    }

    /// Counts this start, durably: from now on all shards are there, and their logs know of it. Before anything is served.
    ///
    /// # Errors
    /// [`BootError::DataDir`]. On a full disk only for the first start: a later one that is not counted proves less, no more.
    pub fn count_start(&mut self) -> Result<(), BootError> {
        self.node.starts += 1;
        match write_node_file(&self.root, &self.node) {
            Err(BootError::DataDir { source, .. })
                if source.kind() == io::ErrorKind::StorageFull && self.node.starts > 1 =>
            {
                tracing::warn!(dir = %self.root.display(), "the disk is too full to count this start in {NODE_FILE}");
                self.node.starts -= 1;
                Ok(())
            }
            written => written,
        }
    }

    /// Whether this start created it.
    pub fn is_new(&self) -> bool {
        self.is_new
    }

    /// Where the shard with this index, counted from 0, lives.
    ///
    /// # Panics
    /// When there is no such shard.
    pub fn shard(&self, index: u16) -> ShardDir {
        assert!(index < self.node.shards, "shard {index} of {}", self.node.shards);
        let dir = shard_dir(&self.root, index);
        ShardDir { log: dir.join("log"), data: dir.join("data") }
    }
}

fn shard_dir(root: &Path, index: u16) -> PathBuf {
    root.join(SHARDS_DIR).join(index.to_string())
}

fn unusable(doing: &'static str, path: &Path, source: io::Error) -> BootError {
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
fn lock(root: &Path) -> Result<Flock<File>, BootError> {
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

/// Who holds the lock, as far as the file tells.
fn read_holder(mut file: File) -> String {
    let mut text = String::new();
    match file.read_to_string(&mut text).ok().and_then(|_| text.trim().parse::<u32>().ok()) {
        Some(pid) => format!("process {pid}"),
        None => String::from("another process"),
    }
}

fn read_node_file(root: &Path) -> Result<Option<NodeFile>, BootError> {
    let path = root.join(NODE_FILE);
    let text = match fs::read_to_string(&path) {
        Ok(text) => text,
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
        Err(error) => return Err(unusable("read", &path, error)),
    };
    let damaged = |what: String| BootError::Damaged { path: path.clone(), what };
    let table: toml::Table =
        toml::from_str(&text).map_err(|error| damaged(format!("is no TOML: {}", error.message())))?;
    // The version before all else: a newer format may have any other keys.
    let format = table.get("format").and_then(toml::Value::as_integer).and_then(|format| u64::try_from(format).ok());
    match format {
        Some(found) if found != FORMAT_VERSION => {
            let writer =
                table.get("created-by").and_then(toml::Value::as_str).unwrap_or("of another version").to_owned();
            return Err(BootError::OtherFormat { dir: root.to_owned(), found, known: FORMAT_VERSION, writer });
        }
        Some(_) => {}
        None => return Err(damaged(String::from("has no format version"))),
    }
    let node: NodeFile = table.try_into().map_err(|error: toml::de::Error| damaged(error.message().to_owned()))?;
    if Identity::parse_node_id(&node.node_id).is_none() {
        return Err(damaged(format!("says node-id = '{}', which is no 40 hex digits", node.node_id)));
    }
    match (1..=SHARDS_MAX as u64).contains(&u64::from(node.shards)) {
        true => Ok(Some(node)),
        false => Err(damaged(format!("says shards = {}", node.shards))),
    }
}

/// Checks an existing directory against what is asked for and against itself.
fn check_shards(root: &Path, node: NodeFile, asked: Option<u16>) -> Result<NodeFile, BootError> {
    if let Some(asked) = asked.filter(|asked| *asked != node.shards) {
        return Err(BootError::Shards { dir: root.to_owned(), found: node.shards, asked });
    }
    // An absent shard would be created empty, and its acknowledged writes be gone without a word.
    match (0..node.shards).map(|index| shard_dir(root, index)).find(|dir| !dir.is_dir()) {
        Some(path) => Err(BootError::Damaged { path, what: String::from("is missing") }),
        None => Ok(node),
    }
}

fn create(root: &Path, shards: Option<u16>, core_count: usize) -> Result<NodeFile, BootError> {
    if let Some(path) = written_shard(root) {
        let what = format!("holds data, but {} is missing", root.join(NODE_FILE).display());
        return Err(BootError::Damaged { path, what });
    }
    let per_core = u16::try_from(core_count.clamp(1, SHARDS_MAX)).expect("fewer shards than 65536 are allowed");
    let node = NodeFile {
        format: FORMAT_VERSION,
        shards: shards.unwrap_or(per_core),
        node_id: random_id(),
        starts: 0,
        created_by: env!("CARGO_PKG_VERSION").to_owned(),
    };
    for index in 0..node.shards {
        let dir = shard_dir(root, index);
        fs::create_dir_all(&dir).map_err(|source| unusable("create", &dir, source))?;
    }
    sync_dir(&root.join(SHARDS_DIR))?;
    if let Some(parent) = parent(root) {
        // Also when an earlier start created it and went no further.
        sync_dir(parent)?;
    }
    write_node_file(root, &node)?;
    Ok(node)
}

/// The first shard of `root` that holds anything: `node.toml` was there when it was written.
fn written_shard(root: &Path) -> Option<PathBuf> {
    let shards = fs::read_dir(root.join(SHARDS_DIR)).ok()?;
    shards
        .flatten()
        .map(|shard| shard.path())
        .find(|shard| fs::read_dir(shard).is_ok_and(|mut inside| inside.next().is_some()))
}

/// Writes `node.toml` so that after a crash it is there whole or not at all.
fn write_node_file(root: &Path, node: &NodeFile) -> Result<(), BootError> {
    let path = root.join(NODE_FILE);
    let draft = root.join("node.toml.new");
    let text = toml::to_string(node).expect("numbers and strings are always TOML");
    let written = File::create(&draft).and_then(|mut file| {
        file.write_all(NODE_FILE_HEAD.as_bytes())?;
        file.write_all(text.as_bytes())?;
        file.sync_all()
    });
    written.map_err(|source| unusable("write", &draft, source))?;
    fs::rename(&draft, &path).map_err(|source| unusable("write", &path, source))?;
    sync_dir(root)
}

/// Creates `dir` and what is missing above it, so that their names survive a power failure.
fn create_durably(dir: &Path) -> Result<(), BootError> {
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

fn sync_dir(dir: &Path) -> Result<(), BootError> {
    File::open(dir).and_then(|dir| dir.sync_all()).map_err(|source| unusable("sync", dir, source))
}

fn random_id() -> String {
    let bytes: [u8; 20] = rand::random();
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    struct Place {
        temporary: tempfile::TempDir,
    }

    impl Place {
        fn new() -> Place {
            Place { temporary: tempfile::tempdir().expect("a temporary directory") }
        }

        fn root(&self) -> PathBuf {
            self.temporary.path().join("data")
        }

        fn open(&self, shards: Option<u16>) -> Result<DataDir, BootError> {
            DataDir::open(&self.root(), shards, 2)
        }

        fn refusal(&self, shards: Option<u16>) -> String {
            self.open(shards).expect_err("a refusal").to_string()
        }
    }

    #[test]
    fn a_new_directory_has_one_shard_per_core_and_keeps_them() {
        let place = Place::new();
        let created = place.open(None).expect("a new directory");
        assert!(created.is_new());
        assert_eq!(created.shard_count(), 2);
        assert!(created.shard(1).log.ends_with("data/shards/1/log"));
        let id = created.node_id().to_owned();
        assert_eq!(id.len(), 40);
        drop(created);

        let opened = DataDir::open(&place.root(), None, 16).expect("the same directory");

        assert!(!opened.is_new());
        assert_eq!((opened.shard_count(), opened.node_id()), (2, id.as_str()));
    }

    #[test]
    fn another_number_of_shards_is_refused_naming_both() {
        let place = Place::new();
        drop(place.open(Some(3)).expect("a new directory"));

        drop(place.open(Some(3)).expect("the same number"));
        let refusal = place.refusal(Some(4));

        assert!(refusal.contains("created with 3 shards") && refusal.contains("--shards asks for 4"), "{refusal}");
    }

    #[test]
    fn a_directory_in_use_is_refused_naming_the_process() {
        let place = Place::new();
        let _held = place.open(None).expect("a new directory");

        // flock belongs to the open file, so a second open of the same process is as foreign as another process.
        let refusal = place.refusal(None);

        assert!(refusal.contains(&format!("is in use by process {}", std::process::id())), "{refusal}");
    }

    #[test]
    fn another_format_is_refused_naming_both() {
        let place = Place::new();
        drop(place.open(None).expect("a new directory"));
        let file = place.root().join(NODE_FILE);
        // Format 1, from before the first release, did not count starts.
        for (format, writer) in [(7, "9.1.0"), (1, "0.1.0"), (0, "0.0.1")] {
            let text = format!("format = {format}\ncreated-by = '{writer}'\nshards = 2\nnew-key = true\n");
            fs::write(&file, text).expect("writable");

            let refusal = place.refusal(None);

            assert!(refusal.contains(&format!("has format {format}, written by Basalt {writer}")), "{refusal}");
            assert!(refusal.contains("reads format 2: run the version that wrote it, or start"), "{refusal}");
        }
    }

    #[test]
    fn starts_are_counted_and_from_the_first_on_shards_must_be_there() {
        let place = Place::new();
        let mut dir = place.open(None).expect("a new directory");
        for start in 1..4 {
            assert_eq!((dir.start_number(), dir.has_shards()), (start, start > 1));
            dir.count_start().expect("it can be written");
            drop(dir);
            dir = place.open(None).expect("the same directory");
        }
        let identity = dir.identity(1);
        assert_eq!(identity.to_string(), format!("shard 1 of node {}", dir.node_id()));
    }

    #[test]
    fn damage_is_refused_by_file_name() {
        type Damage = fn(&Path);
        let cases: [(Damage, &str); 5] = [
            (|root| fs::write(root.join(NODE_FILE), "format = ").expect("writable"), "node.toml is no TOML"),
            (
                |root| fs::write(root.join(NODE_FILE), "shards = 2").expect("writable"),
                "node.toml has no format version",
            ),
            (
                |root| {
                    let text = fs::read_to_string(root.join(NODE_FILE)).expect("readable");
                    fs::write(root.join(NODE_FILE), text.replace("node-id = \"", "node-id = \"x")).expect("writable");
                },
                "node.toml says node-id = 'x",
            ),
            (|root| fs::remove_dir(root.join("shards/1")).expect("removable"), "shards/1 is missing"),
            (
                |root| {
                    fs::create_dir(root.join("shards/0/log")).expect("writable");
                    fs::remove_file(root.join(NODE_FILE)).expect("removable");
                },
                "shards/0 holds data",
            ),
        ];
        for (damage, expected) in cases {
            let place = Place::new();
            drop(place.open(None).expect("a new directory"));
            damage(&place.root());

            let refusal = place.refusal(None);

            assert!(refusal.contains(expected), "{expected}: {refusal}");
        }
    }

    #[test]
    fn a_creation_that_was_cut_short_is_taken_up_again() {
        let place = Place::new();
        drop(place.open(Some(4)).expect("a new directory"));
        fs::remove_file(place.root().join(NODE_FILE)).expect("removable");

        assert_eq!(place.open(Some(2)).expect("nothing was written yet").shard_count(), 2);
    }

    #[test]
    fn a_place_that_cannot_be_written_is_refused() {
        // Not even root can create a directory in /proc, or one where a file is.
        for (root, expected) in [("/proc/basalt", "--dir"), ("/dev/null", "a file of this name is in the way")] {
            let refusal = DataDir::open(Path::new(root), None, 1).expect_err(root).to_string();
            assert!(refusal.contains(root) && refusal.contains(expected), "{refusal}");
        }
    }
}
