//! The lead of a group: who has it, and giving it to another.

use openraft::ServerState;
use openraft::async_runtime::watch::WatchReceiver;

use super::Group;
use crate::disk::Disk;
use crate::error::{Error, Result};
use crate::ids::NodeId;

impl<D: Disk> Group<D> {
    /// The term in which this node leads, if it does. Another may lead in a newer one that this node has not heard of.
    pub fn leads_in(&self) -> Option<u64> {
        let server = self.0.raft.server_metrics();
        let server = server.borrow_watched();
        (server.state == ServerState::Leader).then(|| server.vote.leader_id().term)
    }

    /// Gives the lead to another voter, if this node has it. It takes no proposals from then on, and another election follows if
    /// the other does not come to lead.
    ///
    /// # Errors
    /// [`Error::Fatal`] when the group has stopped.
    pub async fn hand_over(&self, to: NodeId) -> Result<()> {
        let given = self.0.raft.trigger().transfer_leader(to).await;
        given.map_err(|fatal| Error::Fatal(self.0.reason(&fatal)))
    }
}
