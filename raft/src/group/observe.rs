//! Leader and members, as openraft tells of them.

use std::rc::Rc;
use std::time::Duration;

use openraft::ServerState;
use openraft::async_runtime::watch::WatchReceiver;

use super::Inner;
use crate::disk::Disk;
use crate::ids::NodeId;
use crate::sabotage::{self, Sabotage};
use crate::source::Instant;
use crate::types::ServerMetrics;

impl<D: Disk> Inner<D> {
    /// Takes over what openraft says about leader and members.
    pub(super) fn observe(self: &Rc<Self>) {
        let server = self.raft.server_metrics();
        let server = server.borrow_watched();
        let is_leader = self.leads(&server);
        let membership = server.membership_config.membership();
        let mut voters = membership.voter_ids();
        let is_alone = voters.next() == Some(self.options.node) && voters.next().is_none();
        // If the heir does not lead, it is likely to know who does.
        let leader = self.heir_of(&server).or(server.current_leader);
        if is_leader != self.is_leader.get() || leader != self.leader.get() {
            let (shard, term) = (self.options.shard, server.vote.leader_id().term);
            let leader = leader.map(|id| id.0);
            tracing::info!(shard, term, leader, is_leader, "the group's leader changed");
        }
        self.leader.set(leader);
        self.is_leader.set(is_leader);
        let term = is_leader.then(|| server.vote.leader_id().term);
        if self.led.get().map(|(term, _)| term) != term {
            self.led.set(term.map(|term| (term, Instant::now())));
        }
        if !sabotage::is(Sabotage::AloneForEver) || self.alone_since.get().is_none() {
            self.alone_since.set(if is_alone { *server.membership_config.log_id() } else { None });
        }
        // A leader is held back where batches are proposed, and must answer those that it has taken.
        self.generations.set_paced(!is_alone && !is_leader);
        // A leader has nobody to lose an election to, and one without other members nobody to send heartbeats to: no timers.
        // Learners are members: they learn of commits by heartbeats, and whether they answer those is known before they vote.
        let is_only_member = is_alone && membership.nodes().count() == 1;
        self.set_ticks();
        self.begin_quiet_looks();
        self.sends_heartbeats.set(is_leader && !is_only_member && !self.is_stopping.get());
        self.begin_heartbeats();
    }

    /// Returns whether this node leads, and has not given the lead away.
    pub(super) fn leads(&self, server: &ServerMetrics) -> bool {
        server.state == ServerState::Leader && self.heir_of(server).is_none()
    }

    /// Returns to whom this node has given away the lead that openraft says it has, if it has.
    pub(super) fn heir_of(&self, server: &ServerMetrics) -> Option<NodeId> {
        let (term, heir) = self.given_away.get().filter(|_| server.state == ServerState::Leader)?;
        (term == server.vote.leader_id().term).then_some(heir)
    }

    /// Returns true if this node is a voter by the newest members that it has in its log.
    pub(super) fn is_voter(&self) -> bool {
        let server = self.raft.server_metrics();
        let server = server.borrow_watched();
        server.membership_config.membership().voter_ids().any(|voter| voter == self.options.node)
    }

    /// Returns true if a quorum has answered this leader within its lease; else openraft takes no proposals.
    pub(super) fn is_confirmed(&self) -> bool {
        if self.alone_since.get().is_some() {
            return true;
        }
        let lease = Duration::from_millis(self.options.election_timeout_ms.1);
        let acked = self.raft.data_metrics().borrow_watched().last_quorum_acked;
        acked.is_some_and(|at| at.elapsed() < lease)
    }

    /// Returns true if this node is the only voter, leads, and has executed all that was acknowledged before it did. Asks openraft
    /// itself, not what was last observed: the second step of a change, after which others may elect a leader without this node,
    /// is not proposed before openraft has told of the first one.
    pub(super) fn leads_alone(&self) -> bool {
        let Some(alone_since) = self.alone_since.get() else { return false };
        if sabotage::is(Sabotage::AloneForEver) {
            return true;
        }
        let server = self.raft.server_metrics();
        let server = server.borrow_watched();
        server.state == ServerState::Leader
            && server.membership_config.log_id() == &Some(alone_since)
            && self.caught_up_in.get() == Some(server.vote.leader_id().term)
    }
}
