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

    /// The term in which this node leads, once it has executed everything of the terms before.
    pub fn caught_up_term(&self) -> Option<u64> {
        self.leads_in().filter(|term| self.0.caught_up_in.get() == Some(*term))
    }

    /// Gives the lead to another voter, if this node has it. It takes no proposals from then on, and another election follows if
    /// the other does not come to lead.
    ///
    /// # Errors
    /// [`Error::Option`] unless `to` is another voter: the group would wait for it in vain. [`Error::Fatal`] when the group has
    /// stopped.
    pub async fn hand_over(&self, to: NodeId) -> Result<()> {
        let is_another_voter = {
            let server = self.0.raft.server_metrics();
            let server = server.borrow_watched();
            to != self.0.options.node && server.membership_config.voter_ids().any(|voter| voter == to)
        };
        if !is_another_voter {
            let problem = "is no other voter of the group, which could take the lead";
            return Err(Error::Option { option: "hand_over", value: to.to_string(), problem });
        }
        let given = self.0.raft.trigger().transfer_leader(to).await;
        given.map_err(|fatal| self.0.stopped_by(&fatal))
    }
}
