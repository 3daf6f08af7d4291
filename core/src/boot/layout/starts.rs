//! Starts of a node, which are counted: so it is known what must be there.

use std::io;

use super::DataDir;
use crate::boot::error::BootError;
use crate::boot::manifest::{FORMAT_VERSIONS, GroupEntry, GroupState, NODE_FILE};

impl DataDir {
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
    pub(super) fn check_served(&self) -> Result<(), BootError> {
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
}
