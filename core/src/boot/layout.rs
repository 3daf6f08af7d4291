//! The data directory: whose it is, which groups it has, and where each of them lives in it.
//!
//! ```text
//! LOCK                 locked (flock) by the process that uses the directory; holds its process id
//! node.toml            the manifest: who the node is, its groups, how often it was started
//! ballast              space set aside for the next start
//! lanes/<number>/      the records of the logs of several groups, where groups share one
//! shards/<name>/log/   a group's Raft log, or what of it is not in its lane
//! shards/<name>/data/  a group's applied rows
//! shards/<name>/snapshots/  checkpoints on their way to other nodes
//! shards/<name>/received/   a snapshot that comes from another node, as far as it has come
//! meta/log/, data/     the same of the group that has the cluster's map, if the node belongs to one
//! ```
//!
//! A directory without `node.toml` was never used. It is written at creation, whenever groups come and go, and at each start once
//! all groups are open, with one start more. So what must be there is known: from a group's first counted start on, its log and its
//! rows; and in each log the number of the last start, or else it is an old copy.

use std::fs::{self, File, OpenOptions};
use std::io::{self, Read, Seek, SeekFrom, Write};
use std::path::{Path, PathBuf};

use nix::errno::Errno;
use nix::fcntl::{Flock, FlockArg};

use basalt_storage::Identity;

use super::error::BootError;
use super::manifest::{
    FORMAT_VERSIONS, Found, GroupEntry, GroupState, META_DIR, META_GROUP, META_INDEX, Manifest, NODE_FILE, random_id,
    random_number, step,
};
use crate::limits::{GROUP_NUMBER_MAX, SHARDS_MAX};

const LOCK_FILE: &str = "LOCK";
const SHARDS_DIR: &str = "shards";
const LANES_DIR: &str = "lanes";

/// A data directory, used by this process alone until dropped.
#[derive(Debug)]
pub struct DataDir {
    root: PathBuf,
    manifest: Manifest,
    is_new: bool,
    /// Set while the manifest on disk is of the version before.
    is_former: bool,
    /// Set once this start is counted.
    is_counted: bool,
    /// The next group gets this index or a higher one, which none had that has gone since the start: what is under way for that
    /// must not meet another one.
    next_index: u16,
    /// Dropped last; the kernel frees it also when the process dies.
    _lock: Flock<File>,
}

/// A lane whose groups share a log.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct LaneDir {
    /// The lane's number.
    pub number: u16,
    /// The log.
    pub path: PathBuf,
    /// Its owner, with the lane's number in the place of a group's.
    pub identity: Identity,
    /// The shards whose records are in it.
    pub shards: Vec<u16>,
    /// Set if it was there once.
    pub must_be_there: bool,
}

/// The directories of one shard's two databases.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ShardDir {
    /// The Raft log, or what of it is not in its lane.
    pub log: PathBuf,
    /// The applied rows.
    pub data: PathBuf,
}

impl DataDir {
    /// Opens the data directory at `root` of a node alone, creating it with `shards` shards (none: one per core) if there is none.
    /// Removals of groups that were cut short are finished.
    ///
    /// # Errors
    /// [`BootError::InUse`], [`BootError::DataDir`], [`BootError::OtherFormat`], [`BootError::Shards`], [`BootError::Damaged`], and
    /// [`BootError::OfCluster`] if the node belongs to a cluster.
    pub fn open(root: &Path, shards: Option<u16>, core_count: usize) -> Result<DataDir, BootError> {
        let per_core = per_core(core_count);
        let mut data = Self::take(root, || Manifest::new(shards.unwrap_or(per_core), per_core))?;
        // One that was to belong to a cluster and could not still stands alone.
        let is_undone =
            data.manifest.group_at(META_INDEX).is_some_and(|meta| meta.state == GroupState::Creating && meta.founder);
        if is_undone && data.shards_dealt() > 0 {
            data.destroy_group(META_GROUP)?;
        }
        if data.is_of_cluster() {
            return Err(BootError::OfCluster { dir: root.to_owned() });
        }
        check_shard_count(root, &data.manifest, shards)?;
        match (0..data.manifest.shards).find(|index| data.manifest.group_at(*index).is_none()) {
            Some(index) => Err(BootError::NotServed { what: format!("the group of shard {index} was removed") }),
            None => Ok(data),
        }
    }

    /// Opens the data directory at `root` of a node that belongs to a cluster, creating it without shards if it is not there. That
    /// of a node alone becomes one: its shards stay.
    ///
    /// # Errors
    /// As [`DataDir::open`].
    pub fn open_in_cluster(root: &Path, core_count: usize) -> Result<DataDir, BootError> {
        let mut data = Self::take(root, || Manifest::of_cluster(per_core(core_count)))?;
        if !data.is_of_cluster() {
            // Its slots would be nobody's.
            data.check_served()?;
            let meta = data.manifest.meta_group();
            let path = root.join(&meta.directory);
            fs::create_dir_all(&path).map_err(|source| unusable("create", &path, source))?;
            sync_dir(root)?;
            data.change(|manifest| manifest.groups.push(meta))?;
            data.is_former = false;
        }
        Ok(data)
    }

    /// Takes the directory for this process, creates it with what `new` says if it is not there, and finishes what was cut short.
    fn take(root: &Path, new: impl FnOnce() -> Manifest) -> Result<DataDir, BootError> {
        create_durably(root)?;
        let lock = lock(root)?;
        let found = Manifest::read(root)?;
        let is_new = found.is_none();
        let Found { manifest, is_former } = match found {
            Some(found) => found,
            None => Found { manifest: create(root, new())?, is_former: false },
        };
        check_directories(root, &manifest)?;
        let mut data = DataDir {
            root: root.to_owned(),
            manifest,
            is_new,
            is_former,
            is_counted: false,
            next_index: 0,
            _lock: lock,
        };
        data.finish_removals()?;
        data.finish_joining()?;
        Ok(data)
    }

    /// Has the node belong to another cluster, which it knows nothing of yet: its own map and its lanes are removed. Nobody may use
    /// them any more. One that is cut short is finished by the next open.
    ///
    /// # Errors
    /// [`BootError::DataDir`]; [`BootError::NotServed`] when it has groups, which are those of its own cluster.
    pub fn join(&mut self, cluster_id: &str) -> Result<(), BootError> {
        self.leave_for(cluster_id.to_owned(), false)
    }

    /// Has the node be a cluster of its own again, a new one. The rest as with [`DataDir::join`].
    ///
    /// # Errors
    /// As [`DataDir::join`].
    pub fn found_anew(&mut self) -> Result<(), BootError> {
        self.leave_for(random_id(), true)
    }

    fn leave_for(&mut self, cluster_id: String, founds: bool) -> Result<(), BootError> {
        if !self.is_empty() {
            return Err(BootError::NotServed { what: "the groups of its own cluster are still there".to_owned() });
        }
        self.change(|manifest| (manifest.joining, manifest.founds) = (Some(cluster_id), founds))?;
        self.finish_joining()
    }

    /// True if the node has been one of a cluster that has groups.
    pub fn has_formed(&self) -> bool {
        self.manifest.formed
    }

    /// Notes that the node is one of a cluster that has groups.
    ///
    /// # Errors
    /// [`BootError::DataDir`].
    pub fn note_formed(&mut self) -> Result<(), BootError> {
        self.change(|manifest| manifest.formed = true)
    }

    /// True if there are no groups but that of the map, those included that are set aside or being removed.
    pub fn is_empty(&self) -> bool {
        self.manifest.groups.iter().all(|group| group.index == META_INDEX)
    }

    fn finish_joining(&mut self) -> Result<(), BootError> {
        let Some(cluster_id) = self.manifest.joining.clone() else { return Ok(()) };
        let lanes = (0..self.manifest.lanes).map(|lane| self.root.join(LANES_DIR).join(lane.to_string()));
        let created: Vec<PathBuf> = [self.root.join(META_DIR)].into_iter().chain(lanes).collect();
        for path in &created {
            match fs::remove_dir_all(path) {
                Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(unusable("remove", path, error)),
                _ => step("directory removed").map_err(|source| unusable("remove", path, source))?,
            }
            fs::create_dir_all(path).map_err(|source| unusable("create", path, source))?;
            step("directory made anew").map_err(|source| unusable("create", path, source))?;
        }
        sync_dir(&self.root)?;
        if self.manifest.lanes > 0 {
            sync_dir(&self.root.join(LANES_DIR))?;
        }
        self.change(|manifest| {
            manifest.groups.retain(|group| group.index != META_INDEX);
            let founder = std::mem::take(&mut manifest.founds);
            // It may have been one of that cluster before, and voted there under its own number.
            let replica = (!founder).then(random_number);
            let meta = GroupEntry { founder, replica, ..manifest.meta_group() };
            manifest.groups.push(meta);
            manifest.cluster_id = cluster_id;
            manifest.joining = None;
            // It stands alone no more, whatever it had before.
            manifest.shards = 0;
        })
    }

    /// The directory itself.
    pub fn root(&self) -> &Path {
        &self.root
    }

    /// True if the node belongs to a cluster, whose map says which groups there are.
    pub fn is_of_cluster(&self) -> bool {
        self.manifest.is_of_cluster()
    }

    /// The groups of the shards, in the order of their indexes.
    pub fn shards(&self) -> Vec<&GroupEntry> {
        let is_used = |group: &&GroupEntry| matches!(group.state, GroupState::Creating | GroupState::Live);
        let used = self.manifest.groups.iter().filter(is_used);
        let mut shards: Vec<&GroupEntry> = used.filter(|group| group.index != META_INDEX).collect();
        shards.sort_unstable_by_key(|group| group.index);
        shards
    }

    /// Returns the number of shards; one at least, unless the node belongs to a cluster.
    pub fn shard_count(&self) -> u16 {
        u16::try_from(self.shards().len()).expect("a node has far fewer shards")
    }

    /// The lane of each shard, by index. A lane's shards run on the same core.
    pub fn lanes_of_shards(&self) -> Vec<(u16, u16)> {
        self.shards().into_iter().map(|group| (group.index, group.lane)).collect()
    }

    /// The lanes whose groups share a log, by number. None where each group has its own.
    pub fn shared_lanes(&self) -> Vec<LaneDir> {
        (0..self.manifest.lanes).map(|number| self.shared_lane(number)).collect()
    }

    /// True if the shard with this index has its records in the log of its lane.
    pub fn shares_log(&self) -> bool {
        self.manifest.lanes > 0
    }

    fn shared_lane(&self, number: u16) -> LaneDir {
        let groups = || self.manifest.groups.iter().filter(|group| group.lane == number);
        LaneDir {
            number,
            path: self.root.join(LANES_DIR).join(number.to_string()),
            identity: self.manifest.identity(number.into()),
            shards: groups().map(|group| group.index).collect(),
            must_be_there: groups().any(|group| group.starts > 0 && group.state != GroupState::SetAside),
        }
    }

    /// The node's id: 40 hex digits, as Redis Cluster has them, drawn at creation.
    pub fn node_id(&self) -> &str {
        &self.manifest.node_id
    }

    /// The id of the cluster that the node belongs to: 40 hex digits. A node alone is a cluster of its own.
    pub fn cluster_id(&self) -> &str {
        &self.manifest.cluster_id
    }

    /// The node's number in votes and memberships, never 0: drawn at creation, so that no other node has it or will have it.
    pub fn node_number(&self) -> u64 {
        self.manifest.node_number()
    }

    /// The number of the start that is going on.
    pub fn node_starts(&self) -> u64 {
        self.manifest.starts + u64::from(!self.is_counted)
    }

    /// The shards over which the slots were dealt when the directory was created; 0 where the cluster's map says which there are.
    pub fn shards_dealt(&self) -> u16 {
        self.manifest.shards
    }

    /// The number of lanes; as many as shards where each has a log of its own.
    pub fn lane_count(&self) -> u16 {
        if self.shares_log() { self.manifest.lanes } else { self.shard_count().max(1) }
    }

    /// The groups that the directory has, those included that are not to be opened.
    pub fn groups(&self) -> &[GroupEntry] {
        &self.manifest.groups
    }

    /// The group with this index among those that are served.
    ///
    /// # Panics
    /// When there is no such group.
    pub fn group(&self, index: u16) -> &GroupEntry {
        self.manifest.group_at(index).unwrap_or_else(|| panic!("there is no shard {index} in {:?}", self.manifest))
    }

    /// The identity that the log and the rows of the shard with this index carry.
    pub fn identity(&self, index: u16) -> Identity {
        self.manifest.identity(self.group(index).number)
    }

    /// The number of the replica with this index in votes and memberships.
    pub fn replica(&self, index: u16) -> u64 {
        self.manifest.replica(self.group(index))
    }

    /// The number of the start that is going on for the shard with this index, counted from 1: that of [`DataDir::count_start`],
    /// called or to be called. For a group that came later it is its first one.
    pub fn start_number(&self, index: u16) -> u64 {
        (self.group(index).starts + u64::from(!self.is_counted)).max(1)
    }

    /// True if log and rows of the shard with this index were there once, so that they are lost if they are not there now.
    pub fn must_be_there(&self, index: u16) -> bool {
        self.group(index).starts > 0
    }

    /// Begins a start: writes the manifest in today's format if it was in the one before. The logs and stores follow when they are
    /// opened; those that do not because of a crash do at the next start.
    ///
    /// # Errors
    /// [`BootError::NotServed`] naming every group that cannot be, [`BootError::DataDir`].
    pub fn begin_start(&mut self) -> Result<(), BootError> {
        self.check_served()?;
        if self.is_former {
            let (format, dir) = (FORMAT_VERSIONS.written(), self.root.display());
            tracing::warn!(%dir, "the data directory is upgraded to format {format}: no earlier version can use it any more");
            self.manifest.write(&self.root)?;
            self.is_former = false;
        }
        Ok(())
    }

    /// Refuses groups that are set aside, and those that a node alone does not serve.
    fn check_served(&self) -> Result<(), BootError> {
        let refusal = |group: &GroupEntry| {
            let path = self.root.join(&group.directory);
            let name = format!("group {} (shard {}, {})", group.number, group.index, path.display());
            match &group.state {
                // In a cluster others have it, or it was given up: an operator knows what to do with the files.
                GroupState::SetAside if self.is_of_cluster() => {
                    tracing::warn!(why = group.why.as_deref(), "{name} is set aside, and not opened");
                    None
                }
                GroupState::SetAside => {
                    Some(format!("{name} is set aside: {}", group.why.as_deref().unwrap_or("nobody said why")))
                }
                _ if group.index >= self.manifest.shards && !self.is_of_cluster() => {
                    Some(format!("{name} is not served by this version"))
                }
                _ => None,
            }
        };
        let refusals: Vec<String> = self.manifest.groups.iter().filter_map(refusal).collect();
        if refusals.is_empty() { Ok(()) } else { Err(BootError::NotServed { what: refusals.join("; ") }) }
    }

    /// Counts this start, durably: from now on all shards are there, and their logs know of it. Before anything is served.
    ///
    /// # Errors
    /// [`BootError::DataDir`]. On a full disk only for the first start: a later one that is not counted proves less, no more.
    pub fn count_start(&mut self) -> Result<(), BootError> {
        let before = self.manifest.clone();
        self.manifest.starts += 1;
        for group in &mut self.manifest.groups {
            if matches!(group.state, GroupState::Creating | GroupState::Live) {
                group.starts += 1;
            }
        }
        match self.manifest.write(&self.root) {
            Err(BootError::DataDir { source, .. })
                if source.kind() == io::ErrorKind::StorageFull && self.manifest.starts > 1 =>
            {
                tracing::warn!(dir = %self.root.display(), "the disk is too full to count this start in {NODE_FILE}");
                self.manifest = before;
                Ok(())
            }
            written => {
                self.is_counted = written.is_ok();
                written
            }
        }
    }

    /// Notes that the groups which were created are part of their groups: whoever finds one without a log has lost it. What cannot
    /// be written now is noted in the next start; until then a founder may found it, which does nothing to a log that is not empty.
    /// Those stay as they are of which `is_open` says that their shards are not.
    pub fn note_live(&mut self, is_open: impl Fn(u16) -> bool) {
        let mut changed = self.manifest.clone();
        for group in &mut changed.groups {
            if group.state == GroupState::Creating && is_open(group.index) {
                group.state = GroupState::Live;
                // One that has come since the start has its first one now.
                group.starts = group.starts.max(1);
            }
        }
        if changed == self.manifest {
            return;
        }
        match changed.write(&self.root) {
            Ok(()) => self.manifest = changed,
            Err(error) => tracing::warn!("{NODE_FILE} still says that groups are being created: {error}"),
        }
    }

    /// Adds a group, which is to be opened next. `founder`: whether this node founds it, under its own number; else its replica has
    /// a number that nobody had before, so that it is never taken for one which the node had earlier.
    ///
    /// # Errors
    /// [`BootError::DataDir`]: it may be there after a restart, empty.
    ///
    /// # Panics
    /// When the group is here already: numbers are given out once, and are at most `i64::MAX`. When the node has all that it may.
    pub fn create_group(&mut self, number: u64, founder: bool) -> Result<&GroupEntry, BootError> {
        assert!(number <= GROUP_NUMBER_MAX, "{number} is too large for a group's number");
        assert!(self.manifest.group_mut(number).is_none(), "group {number} is here");
        let is_free = |index: &u16| self.manifest.groups.iter().all(|group| group.index != *index);
        let mut indexes = (self.next_index..SHARDS_MAX as u16).chain(0..META_INDEX);
        let index = indexes.find(is_free).expect("a node has far fewer groups than indexes");
        self.next_index = index + 1;
        assert!(usize::from(index) < SHARDS_MAX, "a node has at most {SHARDS_MAX} groups");
        let directory = format!("{SHARDS_DIR}/group-{number}");
        let path = self.root.join(&directory);
        // In an earlier attempt that was cut short nothing was written into it.
        fs::create_dir_all(&path).map_err(|source| unusable("create", &path, source))?;
        step("directory made").map_err(|source| unusable("create", &path, source))?;
        sync_dir(&self.root.join(SHARDS_DIR))?;
        let (state, lane) = (GroupState::Creating, self.manifest.free_lane());
        let replica = (!founder).then(random_number);
        let group = GroupEntry { number, index, lane, directory, state, founder, starts: 0, replica, why: None };
        self.change(|manifest| manifest.groups.push(group))?;
        Ok(self.manifest.groups.last().expect("it was just added"))
    }

    /// Removes a group that nobody uses any more, with all it has. One that is cut short is finished by the next open.
    ///
    /// # Errors
    /// [`BootError::DataDir`]: it is removed with the next open.
    ///
    /// # Panics
    /// When there is no such group.
    pub fn destroy_group(&mut self, number: u64) -> Result<(), BootError> {
        let index = self.manifest.group_mut(number).unwrap_or_else(|| panic!("there is no group {number}")).index;
        self.change(|manifest| manifest.group_mut(number).expect("it is there").state = GroupState::Destroying)?;
        if index != META_INDEX {
            self.next_index = self.next_index.max(index + 1);
        }
        self.finish_removals()
    }

    /// Notes that a group is damaged or lost: it is not opened any more, the others are.
    ///
    /// # Errors
    /// [`BootError::DataDir`]: nothing has changed then.
    ///
    /// # Panics
    /// When there is no such group.
    pub fn set_aside(&mut self, number: u64, why: &str) -> Result<(), BootError> {
        assert!(self.manifest.group_mut(number).is_some(), "there is no group {number}");
        self.change(|manifest| {
            let group = manifest.group_mut(number).expect("it is there");
            (group.state, group.why) = (GroupState::SetAside, Some(why.to_owned()));
        })
    }

    fn finish_removals(&mut self) -> Result<(), BootError> {
        let is_leaving = |group: &GroupEntry| group.state == GroupState::Destroying;
        if !self.manifest.groups.iter().any(is_leaving) {
            return Ok(());
        }
        for group in self.manifest.groups.iter().filter(|group| is_leaving(group)) {
            let path = self.root.join(&group.directory);
            match fs::remove_dir_all(&path) {
                Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(unusable("remove", &path, error)),
                _ => step("directory removed").map_err(|source| unusable("remove", &path, source))?,
            }
        }
        sync_dir(&self.root.join(SHARDS_DIR))?;
        self.change(|manifest| manifest.groups.retain(|group| !is_leaving(group)))
    }

    /// Changes the manifest, durably.
    fn change(&mut self, change: impl FnOnce(&mut Manifest)) -> Result<(), BootError> {
        let mut changed = self.manifest.clone();
        change(&mut changed);
        changed.write(&self.root)?;
        self.manifest = changed;
        Ok(())
    }

    /// Returns whether this start created it.
    pub fn is_new(&self) -> bool {
        self.is_new
    }

    /// The directory of the group that has the map.
    pub fn meta_directory(&self) -> PathBuf {
        self.root.join(META_DIR)
    }

    /// The directories of the shard with this index, counted from 0.
    ///
    /// # Panics
    /// When there is no such shard.
    pub fn shard(&self, index: u16) -> ShardDir {
        let dir = self.root.join(&self.group(index).directory);
        ShardDir { log: dir.join("log"), data: dir.join("data") }
    }
}

pub(super) fn unusable(doing: &'static str, path: &Path, source: io::Error) -> BootError {
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

/// The holder of the lock, as far as the file tells.
fn read_holder(mut file: File) -> String {
    let mut text = String::new();
    match file.read_to_string(&mut text).ok().and_then(|_| text.trim().parse::<u32>().ok()) {
        Some(pid) => format!("process {pid}"),
        None => String::from("another process"),
    }
}

/// Checks an existing directory against what is asked for.
fn check_shard_count(root: &Path, manifest: &Manifest, asked: Option<u16>) -> Result<(), BootError> {
    match asked.filter(|asked| *asked != manifest.shards) {
        Some(asked) => Err(BootError::Shards { dir: root.to_owned(), found: manifest.shards, asked }),
        None => Ok(()),
    }
}

/// As many of something as there are cores.
fn per_core(core_count: usize) -> u16 {
    u16::try_from(core_count.clamp(1, SHARDS_MAX)).expect("fewer shards than 65536 are allowed")
}

/// Checks an existing directory against itself.
fn check_directories(root: &Path, manifest: &Manifest) -> Result<(), BootError> {
    // An absent one would be created empty, and its acknowledged writes be gone without a word.
    let used = manifest.groups.iter().filter(|group| matches!(group.state, GroupState::Creating | GroupState::Live));
    // A node that joins another cluster has its map's directory made anew.
    let used = used.filter(|group| manifest.joining.is_none() || group.index != META_INDEX);
    match used.map(|group| root.join(&group.directory)).find(|dir| !dir.is_dir()) {
        Some(path) => Err(BootError::Damaged { path, what: String::from("is missing") }),
        None => Ok(()),
    }
}

fn create(root: &Path, manifest: Manifest) -> Result<Manifest, BootError> {
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

pub(super) fn sync_dir(dir: &Path) -> Result<(), BootError> {
    File::open(dir).and_then(|dir| dir.sync_all()).map_err(|source| unusable("sync", dir, source))
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use super::super::manifest::steps;
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
    fn a_new_directory_deals_more_shards_than_cores_to_lanes_and_keeps_them() {
        let place = Place::new();
        drop(place.open(Some(5)).expect("a new directory"));
        for cores in [1, 2, 7] {
            let mut dir = DataDir::open(&place.root(), None, cores).expect("the same directory");
            assert_eq!(dir.lanes_of_shards(), [(0, 0), (1, 1), (2, 0), (3, 1), (4, 0)], "{cores} cores");
            let lanes = dir.shared_lanes();
            assert_eq!(lanes.iter().map(|lane| lane.shards.clone()).collect::<Vec<_>>(), [vec![0, 2, 4], vec![1, 3]]);
            for (number, lane) in (0..).zip(&lanes) {
                assert_eq!((lane.number, lane.identity.group), (number, u64::from(number)));
                assert!(lane.path.ends_with(format!("lanes/{number}")) && lane.path.is_dir());
                assert_eq!(lane.must_be_there, cores > 1, "once it was started");
            }
            dir.count_start().expect("it can be written");
            let text = fs::read_to_string(place.root().join(NODE_FILE)).expect("readable");
            assert!(text.lines().any(|line| line == "lanes = 2"), "{text}");
        }
        // The lane with fewer groups gets the next one.
        let mut dir = place.open(None).expect("the same directory");
        assert_eq!(dir.create_group(9, false).expect("created").lane, 1);
    }

    #[test]
    fn shards_have_logs_of_their_own_where_there_are_no_more_than_cores() {
        let place = Place::new();
        let mut dir = place.open(Some(2)).expect("a new directory");
        assert!(!dir.shares_log() && dir.shared_lanes().is_empty() && !place.root().join("lanes").exists());
        assert_eq!(dir.lanes_of_shards(), [(0, 0), (1, 1)]);
        assert_eq!(dir.create_group(9, false).expect("created").lane, 2);
        // Earlier programs would not know the key.
        let text = fs::read_to_string(place.root().join(NODE_FILE)).expect("readable");
        assert!(!text.contains("lanes"), "{text}");
    }

    #[test]
    fn lanes_that_do_not_fit_the_groups_are_refused() {
        for (from, to, why) in [
            ("lane = 1\n", "lane = 2\n", "is in lane 2 of 2"),
            ("lanes = 2\n", "", "says that groups share a lane, and has no lanes"),
        ] {
            let place = Place::new();
            drop(place.open(Some(3)).expect("a new directory"));
            let file = place.root().join(NODE_FILE);
            let text = fs::read_to_string(&file).expect("readable").replace(from, to);
            let (body, _) = text.rsplit_once("# crc32 ").expect("it has a checksum");
            fs::write(&file, format!("{body}# crc32 {:08x}\n", crc32fast::hash(body.as_bytes()))).expect("writable");
            let refusal = place.refusal(None);
            assert!(refusal.contains(why), "{why}: {refusal}");
        }
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
        for (format, writer) in [(7, "9.1.0"), (4, "9.0.0"), (1, "0.1.0"), (0, "0.0.1")] {
            let text = format!("format = {format}\ncreated-by = '{writer}'\nshards = 2\nnew-key = true\n");
            fs::write(&file, text).expect("writable");

            let refusal = place.refusal(None);

            assert!(refusal.contains(&format!("has format {format}, written by Basalt {writer}")), "{refusal}");
            assert!(refusal.contains("reads format 3: run the version that wrote it, or start"), "{refusal}");
        }
    }

    #[test]
    fn ids_and_numbers_are_drawn_for_each_directory_and_stay() {
        let (one, other) = (Place::new(), Place::new());
        let mut first = one.open(None).expect("a new directory");
        let second = other.open(None).expect("a new directory");
        let (number, cluster) = (first.node_number(), first.cluster_id().to_owned());
        assert!(number != 0 && number != 1 && number != second.node_number());
        assert!(first.node_id() != second.node_id() && cluster != second.cluster_id() && cluster != first.node_id());
        first.count_start().expect("it can be written");
        drop(first);

        let first = one.open(None).expect("the same directory");

        assert_eq!((first.node_number(), first.cluster_id()), (number, cluster.as_str()));
        let Identity { cluster_id, node_id, node, group } = first.identity(1);
        assert_eq!((node, group), (number, 2));
        assert_eq!(Identity::parse_id(first.node_id()), Some(node_id));
        assert_eq!(Identity::parse_id(&cluster), Some(cluster_id));
    }

    #[test]
    fn starts_are_counted_and_from_the_first_on_shards_must_be_there() {
        let place = Place::new();
        let mut dir = place.open(None).expect("a new directory");
        for start in 1..4 {
            assert_eq!((dir.start_number(1), dir.must_be_there(1)), (start, start > 1));
            assert_eq!(dir.group(0).state == GroupState::Creating, start < 3, "until it was founded");
            dir.begin_start().expect("all are served");
            dir.count_start().expect("it can be written");
            if start == 2 {
                dir.note_live(|_| true);
            }
            drop(dir);
            dir = place.open(None).expect("the same directory");
        }
        assert!(dir.groups().iter().all(|group| group.state == GroupState::Live && group.starts == 3));
    }

    /// The file as format 2 had it.
    const FORMER: &str = "\
# Written by Basalt when it created this data directory. The number of shards is fixed for its lifetime.
format = 2
shards = 2
node-id = \"00112233445566778899aabbccddeeff00112233\"
starts = 7
created-by = \"0.1.0\"
";

    #[test]
    fn the_format_before_is_read_and_upgraded_by_the_start_and_not_before() {
        for steps_left in [Some(0), Some(1), None] {
            let place = Place::new();
            drop(place.open(Some(2)).expect("a new directory"));
            let file = place.root().join(NODE_FILE);
            fs::write(&file, FORMER).expect("writable");
            assert!(place.refusal(Some(3)).contains("created with 2 shards"));
            assert_eq!(fs::read_to_string(&file).expect("readable"), FORMER);

            let mut dir = place.open(None).expect("the directory of the format before");
            assert_eq!(fs::read_to_string(&file).expect("readable"), FORMER, "nothing is begun");
            steps::end_after(steps_left);
            let begun = dir.begin_start();
            steps::end_after(None);
            assert_eq!(begun.is_ok(), steps_left.is_none());
            drop(dir);
            let mut dir = place.open(None).expect("either form of it");
            let is_done = steps_left != Some(0);
            assert_eq!(dir.is_former, !is_done, "{steps_left:?}");
            dir.begin_start().expect("it goes on");
            let cluster = dir.cluster_id().to_owned();
            drop(dir);

            let dir = place.open(None).expect("the upgraded directory");
            assert!(!dir.is_former);
            assert_eq!(dir.cluster_id(), cluster);
            assert_eq!((dir.node_number(), dir.shard_count()), (1, 2));
            assert_eq!(dir.node_id(), "00112233445566778899aabbccddeeff00112233");
            for (index, number) in [(0, 1), (1, 2)] {
                let group = dir.group(index);
                assert_eq!((group.number, group.starts, group.founder), (number, 7, true));
                assert!(dir.shard(index).log.ends_with(format!("shards/{index}/log")));
            }
        }
    }

    #[test]
    fn a_group_that_comes_or_goes_is_taken_up_again_wherever_it_was_cut_short() {
        for steps_left in 0.. {
            let place = Place::new();
            let mut dir = place.open(Some(2)).expect("a new directory");
            steps::end_after(Some(steps_left));
            let outcome = dir.create_group(9, false).map(|group| group.index);
            steps::end_after(None);
            drop(dir);
            let mut dir = place.open(None).expect("whatever was cut short");
            let created = dir.groups().iter().find(|group| group.number == 9).cloned();
            if let Some(group) = &created {
                assert_eq!((group.state, group.index, group.founder), (GroupState::Creating, 2, false));
                assert!(place.root().join(&group.directory).is_dir());
            } else {
                assert!(outcome.is_err());
                dir.create_group(9, false).expect("once more");
            }
            let refused = dir.begin_start().expect_err("nothing serves it").to_string();
            assert!(refused.contains("group 9") && refused.contains("is not served by this version"), "{refused}");

            let log = place.root().join("shards/group-9/log");
            fs::create_dir(&log).expect("writable");
            fs::write(log.join("STATE"), "all it knows").expect("writable");
            steps::end_after(Some(steps_left));
            let destroyed = dir.destroy_group(9);
            steps::end_after(None);
            let was_begun = destroyed.is_ok() || steps_left > 0;
            drop(dir);
            let mut dir = place.open(None).expect("whatever was cut short");
            let is_there = dir.groups().iter().any(|group| group.number == 9);
            assert_eq!(is_there, !was_begun, "{steps_left}");
            assert_eq!(log.join("STATE").exists(), is_there, "all of it or nothing");
            if is_there {
                dir.destroy_group(9).expect("once more");
            }
            assert!(!place.root().join("shards/group-9").exists());
            dir.begin_start().expect("all are served");
            if outcome.is_ok() && destroyed.is_ok() {
                assert!(steps_left > 2, "no step was looked at");
                return;
            }
        }
    }

    #[test]
    fn a_node_of_a_cluster_begins_with_the_group_of_the_map_alone() {
        let place = Place::new();
        let mut dir = DataDir::open_in_cluster(&place.root(), 3).expect("a new directory");
        assert_eq!((dir.shard_count(), dir.shards_dealt(), dir.lane_count(), dir.is_of_cluster()), (0, 0, 3, true));
        let meta = dir.group(META_INDEX).clone();
        assert_eq!((meta.number, meta.lane, meta.founder, meta.state), (0, 0, true, GroupState::Creating));
        assert!(dir.shard(META_INDEX).log.ends_with("data/meta/log"));
        dir.begin_start().expect("it is served");
        dir.count_start().expect("it can be written");
        dir.note_live(|_| true);
        // Groups that come later are in their first start, and are noted as such.
        for (number, index) in [(1, 0), (2, 1), (3, 2)] {
            let group = dir.create_group(number, true).expect("created");
            assert_eq!((group.index, group.starts), (index, 0));
            assert_eq!((dir.start_number(index), dir.must_be_there(index)), (1, false));
        }
        dir.note_live(|index| index == 1);
        dir.destroy_group(1).expect("it can be written");
        assert_eq!(dir.lanes_of_shards(), [(1, 2), (2, 0)], "the lane with the fewest got each");
        drop(dir);

        let refusal = place.refusal(None);
        assert!(refusal.contains("is that of a node in a cluster"), "{refusal}");
        let mut dir = DataDir::open_in_cluster(&place.root(), 1).expect("the same directory");
        assert_eq!((dir.lane_count(), dir.shard_count(), dir.node_starts()), (3, 2, 2));
        assert_eq!(
            [1, 2].map(|index| (dir.must_be_there(index), dir.group(index).state)),
            [(true, GroupState::Live), (false, GroupState::Creating),]
        );
        // What is set aside does not stop the others.
        dir.set_aside(2, "it had keys").expect("it can be written");
        dir.begin_start().expect("the others are served");
        assert_eq!(dir.shard_count(), 1);
    }

    #[test]
    fn a_group_that_comes_gets_the_index_of_none_that_has_gone_in_the_same_run() {
        let place = Place::new();
        let mut dir = DataDir::open_in_cluster(&place.root(), 1).expect("a new directory");
        for number in [1, 2] {
            dir.create_group(number, true).expect("created");
        }
        drop(dir);
        let mut dir = DataDir::open_in_cluster(&place.root(), 1).expect("the same directory");
        dir.destroy_group(1).expect("it can be written");
        assert_eq!(dir.create_group(3, false).expect("created").index, 2);
        drop(dir);
        let mut dir = DataDir::open_in_cluster(&place.root(), 1).expect("the same directory");
        assert_eq!(dir.create_group(1, false).expect("created").index, 0, "nobody had it since the start");
    }

    #[test]
    fn a_node_alone_becomes_one_of_a_cluster_wherever_that_was_cut_short() {
        for (shards, steps_left) in [2, 3].into_iter().flat_map(|shards| (0..4).map(move |left| (shards, left))) {
            let place = Place::new();
            let mut dir = place.open(Some(shards)).expect("a new directory");
            dir.count_start().expect("it can be written");
            let node = (dir.node_id().to_owned(), dir.cluster_id().to_owned());
            drop(dir);
            steps::end_after(Some(steps_left));
            let outcome = DataDir::open_in_cluster(&place.root(), 2).map(drop);
            steps::end_after(None);
            assert_eq!(outcome.is_ok(), steps_left > 1, "{steps_left}: {outcome:?}");
            let dir = DataDir::open_in_cluster(&place.root(), 2).expect("once more");
            assert_eq!((dir.shard_count(), dir.shards_dealt()), (shards, shards));
            assert_eq!((dir.node_id(), dir.cluster_id()), (node.0.as_str(), node.1.as_str()));
            let lanes: BTreeSet<u16> = dir.groups().iter().map(|group| group.lane).collect();
            // A lane of its own where each group has one, else that of the first core.
            assert_eq!(lanes.len(), if shards == 2 { 3 } else { 2 });
        }
    }

    #[test]
    fn a_node_joins_another_cluster_wherever_that_was_cut_short() {
        let other = "5".repeat(40);
        for steps_left in 0.. {
            let place = Place::new();
            let mut dir = DataDir::open_in_cluster(&place.root(), 2).expect("a new directory");
            let (node, own) = (dir.node_id().to_owned(), dir.cluster_id().to_owned());
            dir.count_start().expect("it can be written");
            dir.note_live(|_| true);
            let (log, record) = (dir.shard(META_INDEX).log.join("STATE"), place.root().join("lanes/1/record"));
            for file in [&log, &record] {
                fs::create_dir_all(file.parent().expect("it has one")).expect("writable");
                fs::write(file, "of the old cluster").expect("writable");
            }
            steps::end_after(Some(steps_left));
            let outcome = dir.join(&other);
            steps::end_after(None);
            drop(dir);
            let mut dir = DataDir::open_in_cluster(&place.root(), 2).expect("whatever was cut short");
            assert_eq!(dir.node_id(), node);
            let meta = dir.group(META_INDEX).clone();
            if steps_left == 0 {
                assert_eq!((dir.cluster_id(), meta.state, meta.founder), (own.as_str(), GroupState::Live, true));
                assert!(log.exists() && record.exists(), "all of it");
            } else {
                assert_eq!((dir.cluster_id(), meta.state), (other.as_str(), GroupState::Creating));
                assert!(!meta.founder && !dir.must_be_there(META_INDEX) && dir.is_empty());
                assert!(!log.exists() && !record.exists() && dir.meta_directory().is_dir(), "or nothing");
            }
            dir.begin_start().expect("it is served");
            dir.count_start().expect("it can be written");
            dir.create_group(1, true).expect("created");
            let refused = dir.join(&own).expect_err("it has a group").to_string();
            assert!(refused.contains("the groups of its own cluster are still there"), "{refused}");
            if outcome.is_ok() {
                assert!(steps_left > 6, "no step was looked at");
                return;
            }
        }
    }

    #[test]
    fn a_group_that_is_set_aside_is_named_and_the_others_are_counted() {
        let place = Place::new();
        let mut dir = place.open(Some(3)).expect("a new directory");
        dir.set_aside(2, "its log is damaged").expect("it can be written");
        drop(dir);
        fs::remove_dir(place.root().join("shards/1")).expect("removable");

        let mut dir = place.open(None).expect("the others are there");
        dir.count_start().expect("it can be written");

        let refused = dir.begin_start().expect_err("a node alone needs it").to_string();
        for words in ["group 2", "shard 1", "shards/1", "is set aside: its log is damaged"] {
            assert!(refused.contains(words), "{words}: {refused}");
        }
        assert!(!refused.contains("group 1 ") && !refused.contains("group 3 "), "{refused}");
        assert_eq!([0, 1, 2].map(|index| dir.group(index).starts), [1, 0, 1]);
    }

    #[test]
    fn the_manifest_is_the_documented_one() {
        let place = Place::new();
        let mut dir = place.open(Some(1)).expect("a new directory");
        dir.count_start().expect("it can be written");
        let text = fs::read_to_string(place.root().join(NODE_FILE)).expect("readable");
        let (body, sum) = text.rsplit_once("# crc32 ").expect("it has a checksum");
        assert_eq!(sum, format!("{:08x}\n", crc32fast::hash(body.as_bytes())));
        let keys: Vec<&str> = body.lines().filter_map(|line| line.split_once(" = ")).map(|(key, _)| key).collect();
        let all = ["format", "created-by", "cluster-id", "node-id", "node-number", "shards", "starts"];
        let group = ["number", "index", "lane", "directory", "state", "founder", "starts"];
        assert_eq!(keys, [&all[..], &group].concat());
        for line in ["format = 3", "[[groups]]", "number = 1", "directory = \"shards/0\"", "state = \"creating\""] {
            assert!(body.lines().any(|written| written == line), "{line}: {body}");
        }
        assert!(body.contains(&format!("node-number = \"{:016x}\"", dir.node_number())), "{body}");
    }

    #[test]
    fn any_flipped_bit_and_any_cut_of_the_manifest_is_refused() {
        let place = Place::new();
        drop(place.open(None).expect("a new directory"));
        let file = place.root().join(NODE_FILE);
        let good = fs::read(&file).expect("readable");
        for position in 0..good.len() {
            for bit in [0x01, 0x40] {
                let mut bad = good.clone();
                bad[position] ^= bit;
                fs::write(&file, &bad).expect("writable");
                let refusal = place.refusal(None);
                assert!(refusal.contains("node.toml") || refusal.contains("has format"), "byte {position}: {refusal}");
            }
            fs::write(&file, &good[..position]).expect("writable");
            let refusal = place.refusal(None);
            assert!(refusal.contains("node.toml"), "cut at {position}: {refusal}");
        }
    }

    #[test]
    fn a_shard_whose_removal_was_cut_short_is_removed_by_the_next_open() {
        let place = Place::new();
        let mut dir = place.open(Some(2)).expect("a new directory");
        steps::end_after(Some(2));
        dir.destroy_group(2).expect_err("it is cut short");
        steps::end_after(None);
        drop(dir);

        let refusal = place.refusal(None);

        assert!(refusal.contains("the group of shard 1 was removed"), "a node alone cannot do without it: {refusal}");
        assert!(!place.root().join("shards/1").exists());
    }

    #[test]
    fn groups_that_stand_in_each_others_way_are_refused() {
        let cases = [
            ("index = 1", "index = 0", "says that group 2 is shard 0, which another is"),
            ("number = 2", "number = 1", "says that group 1 is in 'shards/1'"),
            ("number = 2", "number = -2", "node.toml"),
            ("directory = \"shards/1\"", "directory = \"shards/0\"", "is in 'shards/0'"),
            ("directory = \"shards/1\"", "directory = \"shards/0/rows\"", "says that group 1 is in 'shards/0'"),
            ("directory = \"shards/1\"", "directory = \"shards\"", "says that group 2 is in 'shards'"),
            ("directory = \"shards/1\"", "directory = \"./shards/0\"", "says that group 2 is in './shards/0'"),
            ("directory = \"shards/1\"", "directory = \"../shards\"", "says that group 2 is in '../shards'"),
            ("directory = \"shards/1\"", "directory = \"\"", "says that group 2 is in ''"),
        ];
        for (from, to, expected) in cases {
            let place = Place::new();
            drop(place.open(Some(2)).expect("a new directory"));
            let file = place.root().join(NODE_FILE);
            let text = fs::read_to_string(&file).expect("readable");
            let (body, _) = text.rsplit_once("# crc32 ").expect("it has a checksum");
            let body = body.replace(from, to);
            fs::write(&file, format!("{body}# crc32 {:08x}\n", crc32fast::hash(body.as_bytes()))).expect("writable");

            let refusal = place.refusal(None);

            assert!(refusal.contains(expected), "{to}: {refusal}");
        }
    }

    #[test]
    fn damage_is_refused_by_file_name() {
        type Damage = fn(&Path);
        let cases: [(Damage, &str); 6] = [
            (|root| fs::write(root.join(NODE_FILE), "format = ").expect("writable"), "node.toml is no TOML"),
            (
                |root| fs::write(root.join(NODE_FILE), "shards = 2").expect("writable"),
                "node.toml has no format version",
            ),
            (
                |root| {
                    let text = FORMER.replace("node-id = \"", "node-id = \"x");
                    fs::write(root.join(NODE_FILE), text).expect("writable");
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
            (
                |root| {
                    fs::create_dir_all(root.join("lanes/1/kept")).expect("writable");
                    fs::remove_file(root.join(NODE_FILE)).expect("removable");
                },
                "lanes/1 holds data",
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
