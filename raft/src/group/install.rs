//! Snapshots that come from the group's leader.

use super::Group;
use crate::disk::{Disk, GroupStore};
use crate::error::{Error, Result};
use crate::generations::point_of;
use crate::messages::{ReceivedSnapshot, VoteParts, snapshot_point};
use crate::snapshot::{Checkpoint, Snapshot, SnapshotData};

impl<D: Disk> Group<D> {
    /// Takes a snapshot from the group's leader: its rows take the place of all rows here, if they are newer. Returns this node's
    /// vote for the leader.
    ///
    /// The rows are asked up to where they are applied *before* openraft hears of them: they must be those of the entry that the
    /// snapshot says, not older ones and not newer ones either, which would be applied to a second time.
    ///
    /// # Errors
    /// [`Error::Snapshot`] if it cannot be used: nothing has changed, the group goes on, and the leader may send another one.
    /// [`Error::Fatal`] when the group has stopped.
    pub async fn receive_snapshot(&self, snapshot: ReceivedSnapshot) -> Result<VoteParts> {
        let inner = &*self.0;
        let ReceivedSnapshot { vote, meta, directory } = snapshot;
        let place = directory.display().to_string();
        let refused = |detail: String| Error::Snapshot { detail: format!("the one in {place} is not used: {detail}") };
        let received = Checkpoint::new::<D::Store>(directory.clone(), inner.generations.background());
        let (vote, meta) = snapshot_point(vote, &meta).map_err(|error| refused(error.to_string()))?;
        let applied = self.drive(inner.generations.run(move || D::Store::applied_in_checkpoint(&directory))).await?;
        let rows = applied.map_err(|error| refused(error.to_string()))?;
        let rows = point_of(&rows).map_err(|error| refused(error.to_string()))?;
        if rows != meta {
            return Err(refused(format!("its rows are those of {rows}, and it came as one of {meta}")));
        }
        let snapshot = SnapshotData::received(received, meta.clone());
        let installed = self.drive(inner.raft.install_full_snapshot(vote, Snapshot { meta, snapshot })).await;
        let response = installed.map_err(|fatal| inner.stopped_by(&fatal))?;
        Ok(VoteParts::of(&response.vote))
    }
}
