//! Nodes that leave their cluster for another, or for a new one of their own.

use std::fs;
use std::io;
use std::path::PathBuf;

use super::files::{sync_dir, unusable};
use super::{DataDir, LANES_DIR};
use crate::boot::error::BootError;
use crate::boot::manifest::{GroupEntry, META_DIR, META_INDEX, random_id, random_number, step};

impl DataDir {
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

    pub(super) fn finish_joining(&mut self) -> Result<(), BootError> {
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
}
