//! Groups that come, that go, and that are set aside.

use std::fs;
use std::io;

use super::files::{sync_dir, unusable};
use super::{DataDir, SHARDS_DIR};
use crate::boot::error::BootError;
use crate::boot::manifest::{GroupEntry, GroupState, META_INDEX, random_number, step};
use crate::limits::{GROUP_NUMBER_MAX, SHARDS_MAX};

impl DataDir {
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

    pub(super) fn finish_removals(&mut self) -> Result<(), BootError> {
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
}
