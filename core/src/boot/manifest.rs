//! `node.toml`, the manifest of a data directory: who this node is, and which groups it has where.
//!
//! It is replaced as a whole, by rename after a sync, so that after a crash it is there as it was or as it is. `storage/FORMAT.md`
//! says what each key means.
//!
//! Easy to get wrong: it says first what is about to happen, and afterwards what has. A group is in it before its log
//! and rows are made, and until they are removed; its [`GroupState`] says how far that is.

use std::collections::BTreeSet;
use std::fs::{self, File};
use std::io::{self, Write};
use std::path::{Component, Path};

use basalt_storage::{Identity, Versions};
use serde::{Deserialize, Serialize};

use super::error::BootError;
use super::layout::{sync_dir, unusable};
use crate::limits::{GROUP_NUMBER_MAX, SHARDS_MAX};

/// Versions of the data directory. Version 2 knew shards by an index, and had neither clusters nor numbers of nodes and groups; its
/// file had no checksum.
pub const FORMAT_VERSIONS: Versions = Versions::new(2, 3);

/// The number of the group that has the cluster's map.
pub(super) const META_GROUP: u64 = 0;
/// The index of that group, which is no shard.
pub const META_INDEX: u16 = u16::MAX;
/// Its directory, below the data directory.
pub(super) const META_DIR: &str = "meta";

/// The name of the manifest in the data directory.
pub(super) const NODE_FILE: &str = "node.toml";

/// The number of every node before nodes had numbers of their own. It stands in the votes and memberships of those directories, so
/// a node keeps it for the life of its directory.
const FORMER_NUMBER: u64 = 1;

const HEAD: &str = "\
# Written by Basalt, and not to be changed: what it says must fit what is in this directory.
";
/// Begins the last line; the checksum follows.
const CHECKSUM_PREFIX: &str = "# crc32 ";

/// The stages of a group's life on a node.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum GroupState {
    /// Its log and rows are made, and may be empty.
    Creating,
    /// It was a part of its group once: an empty log means that it was lost.
    Live,
    /// It is being removed, and nothing of it is used any more.
    Destroying,
    /// It is damaged or lost, and not opened until it is fetched anew.
    SetAside,
}

/// One group of this node.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case", deny_unknown_fields)]
pub struct GroupEntry {
    /// Its number in the cluster; 0 is the group that has the cluster's map.
    pub number: u64,
    /// Its place among this node's groups, which are called shards there; [`META_INDEX`] for the group that has the map.
    pub index: u16,
    /// The number of the node's lane: its records are in that one's log.
    pub lane: u16,
    /// The directory of its log and rows, below the data directory.
    pub directory: String,
    /// The stage of its life.
    pub state: GroupState,
    /// Set if this node founds it, as its first voter, while it is [`GroupState::Creating`]. Otherwise its founder tells it all.
    pub founder: bool,
    /// In how many starts of the node it was opened.
    pub starts: u64,
    /// The number that its replica here has in votes and memberships, in 16 hex digits; none where that is the node's.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub replica: Option<String>,
    /// The reason for which it was set aside.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub why: Option<String>,
}

/// The file's content.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case", deny_unknown_fields)]
pub(super) struct Manifest {
    format: u64,
    pub(super) created_by: String,
    pub(super) cluster_id: String,
    /// The cluster that the node is about to join: the map of its own, and all lanes, are to be removed before.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) joining: Option<String>,
    /// Set if the cluster that it is about to join is a new one, which it founds.
    #[serde(default, skip_serializing_if = "is_false")]
    pub(super) founds: bool,
    /// Set once the node has been one of a cluster that has groups: it looks for no seeds any more.
    #[serde(default, skip_serializing_if = "is_false")]
    pub(super) formed: bool,
    pub(super) node_id: String,
    /// The node's number in 16 hex digits: TOML has no numbers so large.
    node_number: String,
    /// Over how many groups the slots were dealt when the directory was created; 0 where the cluster's map says which groups there
    /// are.
    pub(super) shards: u16,
    /// Lanes whose groups share a log; 0 if each group is a lane of its own, with its log in its own directory.
    #[serde(default, skip_serializing_if = "is_zero")]
    pub(super) lanes: u16,
    pub(super) starts: u64,
    pub(super) groups: Vec<GroupEntry>,
}

/// The file as version 2 had it.
#[derive(Debug, Deserialize)]
#[serde(rename_all = "kebab-case", deny_unknown_fields)]
struct FormerFile {
    #[serde(rename = "format")]
    _format: u64,
    shards: u16,
    node_id: String,
    starts: u64,
    created_by: String,
}

/// A manifest that was read.
pub(super) struct Found {
    pub(super) manifest: Manifest,
    /// Set if it is not written in this form yet.
    pub(super) is_former: bool,
}

impl Manifest {
    /// That of a new node, which is a cluster of one and founds all its groups. They are dealt to so many lanes, each with a log of
    /// its own if there are as many lanes as groups.
    pub(super) fn new(shards: u16, lane_count: u16) -> Manifest {
        let lanes = if lane_count < shards { lane_count } else { 0 };
        let lane_of = |index| if lanes == 0 { index } else { index % lanes };
        Manifest {
            format: u64::from(FORMAT_VERSIONS.written()),
            created_by: env!("CARGO_PKG_VERSION").to_owned(),
            cluster_id: random_id(),
            joining: None,
            founds: false,
            formed: false,
            node_id: random_id(),
            node_number: random_number(),
            shards,
            lanes,
            starts: 0,
            groups: (0..shards).map(|index| first_group(index, lane_of(index), 0)).collect(),
        }
    }

    /// That of a new node that belongs to a cluster: it has the group of the map, of which it is the founder, and no other yet.
    pub(super) fn of_cluster(lane_count: u16) -> Manifest {
        let mut manifest = Manifest { lanes: lane_count, ..Manifest::new(0, 0) };
        manifest.groups.push(manifest.meta_group());
        manifest
    }

    /// The group of the map, before it is there.
    pub(super) fn meta_group(&self) -> GroupEntry {
        // In the lane of the first core, where groups share lanes.
        let lane = if self.lanes > 0 { 0 } else { self.free_lane() };
        let (state, directory) = (GroupState::Creating, META_DIR.to_owned());
        let (number, index) = (META_GROUP, META_INDEX);
        GroupEntry { number, index, lane, directory, state, founder: true, starts: 0, replica: None, why: None }
    }

    /// The number of a group's replica here in votes and memberships.
    pub(super) fn replica(&self, group: &GroupEntry) -> u64 {
        group.replica.as_deref().map_or_else(|| self.node_number(), |digits| read_number(digits).expect(CHECKED))
    }

    /// True if the node belongs to a cluster: the map says which groups there are.
    pub(super) fn is_of_cluster(&self) -> bool {
        self.groups.iter().any(|group| group.number == META_GROUP)
    }

    /// The number of this node in votes and memberships.
    pub(super) fn node_number(&self) -> u64 {
        read_number(&self.node_number).expect(CHECKED)
    }

    /// The identity of the log and rows of the group with this number, or of a lane, whose number takes the place of a group's.
    pub(super) fn identity(&self, group: u64) -> Identity {
        let id = |text| Identity::parse_id(text).expect("it was checked when it was read");
        Identity { cluster_id: id(&self.cluster_id), node_id: id(&self.node_id), node: self.node_number(), group }
    }

    /// The lane for one group more: the one with the fewest, or a new one where each group is its own.
    pub(super) fn free_lane(&self) -> u16 {
        let group_count = |lane: &u16| self.groups.iter().filter(|group| group.lane == *lane).count();
        match self.lanes {
            0 => (0..u16::MAX).find(|lane| group_count(lane) == 0).expect("a node has far fewer groups than numbers"),
            lanes => (0..lanes).min_by_key(group_count).expect("there is one at least"),
        }
    }

    /// The group with this index, unless it is being removed.
    pub(super) fn group_at(&self, index: u16) -> Option<&GroupEntry> {
        self.groups.iter().find(|group| group.index == index && group.state != GroupState::Destroying)
    }

    /// The group with this number.
    pub(super) fn group_mut(&mut self, number: u64) -> Option<&mut GroupEntry> {
        self.groups.iter_mut().find(|group| group.number == number)
    }

    /// Reads that of the data directory `root`; `None` if it has none.
    pub(super) fn read(root: &Path) -> Result<Option<Found>, BootError> {
        let path = root.join(NODE_FILE);
        let text = match fs::read_to_string(&path) {
            Ok(text) => text,
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
            Err(error) if error.kind() == io::ErrorKind::InvalidData => {
                return Err(BootError::Damaged { path, what: String::from("is no text") });
            }
            Err(error) => return Err(unusable("read", &path, error)),
        };
        let damaged = |what: String| BootError::Damaged { path: path.clone(), what };
        let table: toml::Table =
            toml::from_str(&text).map_err(|error| damaged(format!("is no TOML: {}", error.message())))?;
        // The version before all else: a newer one may have any other keys.
        let format = table.get("format").and_then(toml::Value::as_integer);
        let format = format.and_then(|format| u32::try_from(format).ok());
        let format = format.ok_or_else(|| damaged(String::from("has no format version")))?;
        if !FORMAT_VERSIONS.reads(format) {
            let writer = table.get("created-by").and_then(toml::Value::as_str).unwrap_or("of another version");
            return Err(BootError::OtherFormat {
                dir: root.to_owned(),
                found: u64::from(format),
                known: u64::from(FORMAT_VERSIONS.newest()),
                writer: writer.to_owned(),
            });
        }
        let is_former = format != FORMAT_VERSIONS.written();
        let manifest = if is_former {
            let former: FormerFile =
                table.try_into().map_err(|error: toml::de::Error| damaged(error.message().to_owned()))?;
            former.upgraded()
        } else {
            check_sum(&text).map_err(&damaged)?;
            table.try_into().map_err(|error: toml::de::Error| damaged(error.message().to_owned()))?
        };
        manifest.check().map_err(damaged)?;
        Ok(Some(Found { manifest, is_former }))
    }

    fn check(&self) -> Result<(), String> {
        let joining = self.joining.iter().map(|id| ("joining", id));
        for (key, id) in [("node-id", &self.node_id), ("cluster-id", &self.cluster_id)].into_iter().chain(joining) {
            if Identity::parse_id(id).is_none() {
                return Err(format!("says {key} = '{id}', which is no 40 hex digits"));
            }
        }
        let replicas = self.groups.iter().filter_map(|group| group.replica.as_ref().map(|digits| ("replica", digits)));
        for (key, digits) in [("node-number", &self.node_number)].into_iter().chain(replicas) {
            if read_number(digits).is_none() {
                return Err(format!("says {key} = '{digits}', which is no 16 hex digits or 0"));
            }
        }
        let is_of_cluster = self.is_of_cluster();
        if usize::from(self.shards) > SHARDS_MAX || (self.shards == 0 && !is_of_cluster) {
            return Err(format!("says shards = {}", self.shards));
        }
        if let Some(group) =
            self.groups.iter().find(|group| (group.index == META_INDEX) != (group.number == META_GROUP))
        {
            return Err(format!("says that group {} is shard {}", group.number, group.index));
        }
        let (mut numbers, mut indexes) = (BTreeSet::new(), BTreeSet::new());
        for group in &self.groups {
            let directory = Path::new(&group.directory);
            let is_inside = directory.components().all(|part| matches!(part, Component::Normal(_)));
            // One group's removal must not take another's files along.
            let shares = |other: &GroupEntry| Path::new(&other.directory).starts_with(directory);
            let is_apart = self.groups.iter().filter(|other| shares(other)).count() == 1;
            let is_named = !group.directory.is_empty() && is_inside && is_apart;
            if !numbers.insert(group.number) || group.number > GROUP_NUMBER_MAX || !is_named {
                return Err(format!("says that group {} is in '{}'", group.number, group.directory));
            }
            if self.lanes > 0 && group.lane >= self.lanes {
                return Err(format!("says that group {} is in lane {} of {}", group.number, group.lane, self.lanes));
            }
            if !indexes.insert(group.index) {
                return Err(format!("says that group {} is shard {}, which another is", group.number, group.index));
            }
        }
        let mut lanes: Vec<u16> = self.groups.iter().map(|group| group.lane).collect();
        lanes.sort_unstable();
        if self.lanes == 0 && lanes.windows(2).any(|pair| pair[0] == pair[1]) {
            return Err(String::from("says that groups share a lane, and has no lanes"));
        }
        // One that is being removed may have been a shard that was served; in a cluster groups go elsewhere.
        match (0..if is_of_cluster { 0 } else { self.shards }).find(|index| !indexes.contains(index)) {
            Some(index) => Err(format!("names no group for shard {index} of {}", self.shards)),
            None => Ok(()),
        }
    }

    /// Writes it so that after a crash it is there as it was or as it is.
    pub(super) fn write(&self, root: &Path) -> Result<(), BootError> {
        let path = root.join(NODE_FILE);
        let draft = root.join("node.toml.new");
        let mut text = HEAD.to_owned();
        text.push_str(&toml::to_string(self).expect("strings, and numbers up to i64::MAX, are always TOML"));
        let sum = crc32fast::hash(text.as_bytes());
        let written = File::create(&draft).and_then(|mut file| {
            file.write_all(text.as_bytes())?;
            writeln!(file, "{CHECKSUM_PREFIX}{sum:08x}")?;
            file.sync_all()
        });
        written.map_err(|source| unusable("write", &draft, source))?;
        step("manifest written").map_err(|source| unusable("write", &draft, source))?;
        fs::rename(&draft, &path).map_err(|source| unusable("write", &path, source))?;
        step("manifest renamed").map_err(|source| unusable("write", &path, source))?;
        sync_dir(root)
    }
}

impl FormerFile {
    /// The same, in today's words. Its groups may not have been founded yet.
    fn upgraded(self) -> Manifest {
        Manifest {
            node_number: format!("{FORMER_NUMBER:016x}"),
            node_id: self.node_id,
            created_by: self.created_by,
            starts: self.starts,
            groups: (0..self.shards).map(|index| first_group(index, index, self.starts)).collect(),
            ..Manifest::new(self.shards, self.shards)
        }
    }
}

/// A number in votes and memberships that nobody has, and nobody had, in 16 hex digits. 0 means nobody.
pub(super) fn random_number() -> String {
    format!("{:016x}", rand::random_range(FORMER_NUMBER + 1..=u64::MAX))
}

fn read_number(digits: &str) -> Option<u64> {
    let is_hex = digits.len() == 16 && digits.bytes().all(|digit| digit.is_ascii_hexdigit());
    u64::from_str_radix(digits, 16).ok().filter(|number| is_hex && *number != 0)
}

const CHECKED: &str = "it was checked when it was read";

/// A group that a node has since its directory was created.
fn first_group(index: u16, lane: u16, starts: u64) -> GroupEntry {
    GroupEntry {
        number: u64::from(index) + 1,
        index,
        lane,
        directory: format!("shards/{index}"),
        state: GroupState::Creating,
        founder: true,
        starts,
        replica: None,
        why: None,
    }
}

/// For serde, which lends what it asks about.
#[expect(clippy::trivially_copy_pass_by_ref, reason = "serde passes a reference")]
fn is_zero(count: &u16) -> bool {
    *count == 0
}

/// For serde, which lends what it asks about.
#[expect(clippy::trivially_copy_pass_by_ref, reason = "serde passes a reference")]
fn is_false(flag: &bool) -> bool {
    !*flag
}

/// Compares the last line with what is before it.
fn check_sum(text: &str) -> Result<(), String> {
    let line = text.strip_suffix('\n').and_then(|text| text.rsplit_once('\n')).map_or("", |(_, line)| line);
    let sum = line.strip_prefix(CHECKSUM_PREFIX).ok_or_else(|| String::from("has no checksum in its last line"))?;
    let body = &text[..text.len() - line.len() - 1];
    if sum == format!("{:08x}", crc32fast::hash(body.as_bytes())) {
        Ok(())
    } else {
        Err(String::from("does not match its checksum"))
    }
}

pub(super) fn random_id() -> String {
    let bytes: [u8; 20] = rand::random();
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}

/// In tests: fails here if the test says so, as if the process had ended. Otherwise nothing.
#[cfg(test)]
pub(super) fn step(name: &'static str) -> io::Result<()> {
    steps::pass(name)
}

/// In tests: fails here if the test says so. Otherwise nothing.
#[cfg(not(test))]
pub(super) fn step(_name: &'static str) -> io::Result<()> {
    Ok(())
}

#[cfg(test)]
pub(super) mod steps {
    use std::cell::Cell;
    use std::io;

    thread_local!(static LEFT: Cell<Option<u32>> = const { Cell::new(None) });

    /// Has this thread fail at the step after `steps` more, and at all later ones. `None`: at none.
    pub(in crate::boot) fn end_after(steps: Option<u32>) {
        LEFT.set(steps);
    }

    pub(super) fn pass(name: &'static str) -> io::Result<()> {
        match LEFT.get() {
            Some(0) => Err(io::Error::other(format!("the test ends here: {name}"))),
            left => {
                LEFT.set(left.map(|left| left - 1));
                Ok(())
            }
        }
    }
}
