//! Snapshots that come from the group's leader.

use std::path::PathBuf;

use super::Group;
use crate::disk::{Disk, GroupStore};
use crate::entry::{decode_log_id, decode_stored_membership, decode_vote, encode_vote};
use crate::error::{DecodeError, Error, Result};
use crate::generations::point_of;
use crate::snapshot::{Checkpoint, Snapshot, SnapshotData};
use crate::types::SnapshotMeta;

/// A snapshot as it came from another node.
#[derive(Debug, Clone)]
pub struct ReceivedSnapshot {
    /// The vote of the leader that sent it, encoded.
    pub vote: Vec<u8>,
    /// The id of the last entry that its rows include, encoded.
    pub log_id: Vec<u8>,
    /// The membership at that entry, encoded.
    pub membership: Vec<u8>,
    /// The rows, a checkpoint on the store's file system. It is the group's from now on, which moves or removes it.
    pub directory: PathBuf,
}

impl<D: Disk> Group<D> {
    /// Takes a snapshot from the group's leader: its rows take the place of all rows here, if they are newer. Returns this node's
    /// vote for the leader, encoded.
    ///
    /// The rows are asked up to where they are applied *before* openraft hears of them: they must be those of the entry that the
    /// snapshot says, not older ones and not newer ones either, which would be applied to a second time.
    ///
    /// # Errors
    /// [`Error::Snapshot`] if it cannot be used: nothing has changed, the group goes on, and the leader may send another one.
    /// [`Error::Fatal`] when the group has stopped.
    pub async fn receive_snapshot(&self, snapshot: ReceivedSnapshot) -> Result<Vec<u8>> {
        let inner = &*self.0;
        let ReceivedSnapshot { vote, log_id, membership, directory } = snapshot;
        let place = directory.display().to_string();
        let refused = |detail: String| Error::Snapshot { detail: format!("the one in {place} is not used: {detail}") };
        let damaged = |error: DecodeError| refused(error.to_string());
        let received = Checkpoint::new::<D::Store>(directory.clone(), inner.generations.background());
        let vote = decode_vote(&vote).map_err(damaged)?;
        let meta = SnapshotMeta {
            last_log_id: Some(decode_log_id(&log_id).map_err(damaged)?),
            last_membership: decode_stored_membership(&membership).map_err(damaged)?,
        };
        let applied = self.drive(inner.generations.run(move || D::Store::applied_in_checkpoint(&directory))).await?;
        let rows = applied.map_err(|error| refused(error.to_string()))?;
        let rows = point_of(&rows).map_err(|error| refused(error.to_string()))?;
        if rows != meta {
            return Err(refused(format!("its rows are those of {rows}, and it came as one of {meta}")));
        }
        let snapshot = SnapshotData::received(received, meta.clone());
        let installed = self.drive(inner.raft.install_full_snapshot(vote, Snapshot { meta, snapshot })).await;
        let response = installed.map_err(|fatal| Error::Fatal(inner.reason(&fatal)))?;
        Ok(encode_vote(&response.vote).to_vec())
    }
}
