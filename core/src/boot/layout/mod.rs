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

mod files;
mod groups;
mod joining;
mod starts;
#[cfg(test)]
mod tests;

use std::fs::{self, File};
use std::path::{Path, PathBuf};

use basalt_storage::Identity;
use nix::fcntl::Flock;

use super::error::BootError;
use super::manifest::{Found, GroupEntry, GroupState, META_DIR, META_GROUP, META_INDEX, Manifest};
use crate::limits::SHARDS_MAX;

use files::{check_directories, create, create_durably, lock};
pub(super) use files::{sync_dir, unusable};

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
