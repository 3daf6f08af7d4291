//! The lead of a group: who has it, and giving it to another.

use std::time::Duration;

use openraft::async_runtime::watch::WatchReceiver;

use super::{Group, Member, Standing};
use crate::disk::Disk;
use crate::error::{Error, Result};
use crate::ids::NodeId;

impl<D: Disk> Group<D> {
    /// The term in which this node leads, if it does. Another may lead in a newer one that this node has not heard of.
    pub fn leads_in(&self) -> Option<u64> {
        let server = self.0.raft.server_metrics();
        let server = server.borrow_watched();
        self.0.leads(&server).then(|| server.vote.leader_id().term)
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

    /// Gives the lead to another voter, as [`Group::hand_over`] does, because this node's disk does not answer. It leads no more
    /// from then on: that it has heard of another leader it could only say when its disk has taken the vote.
    ///
    /// # Errors
    /// As [`Group::hand_over`].
    pub async fn give_away(&self, to: NodeId) -> Result<()> {
        let Some(term) = self.leads_in() else { return Ok(()) };
        self.hand_over(to).await?;
        self.0.given_away.set(Some((term, to)));
        self.0.observe();
        Ok(())
    }

    /// Returns true if this node has given the lead away since its disk does not answer, and has not heard of another leader: its
    /// log may stand still for as long as the disk does.
    pub fn is_given_away(&self) -> bool {
        if self.0.given_away.get().is_none() {
            return false;
        }
        let server = self.0.raft.server_metrics();
        let server = server.borrow_watched();
        self.0.heir_of(&server).is_some()
    }

    /// The voter that could lead if this node gave the lead away at once: the one that has most of the log on its disk. `None` if
    /// this node does not lead, or the others that have caught up are no majority: they could agree on nothing.
    pub fn heir(&self) -> Option<NodeId> {
        self.leads_in()?;
        let members = self.members();
        let votes = |member: &&Member| member.standing == Standing::Voter;
        let (voters, own) = (members.members.iter().filter(votes).count(), self.0.options.node);
        let matching = |member: &Member| member.progress.filter(|progress| progress.is_caught_up)?.matching;
        let able =
            || members.members.iter().filter(votes).filter(|member| member.node != own && matching(member).is_some());
        if members.is_changing || able().count() <= voters / 2 {
            return None;
        }
        able().max_by_key(|member| matching(member)).map(|heir| heir.node)
    }

    /// Says whether this node may come to lead the group, if there are others who may. While it may not, it does not campaign and
    /// takes no lead that it is given; it votes, and it keeps a lead that it has.
    pub fn set_may_lead(&self, may_lead: bool) {
        if self.0.may_lead.replace(may_lead) != may_lead {
            self.0.raft.runtime_config().elect(may_lead);
        }
    }

    /// Returns for how long this node's disk has ended no sync of the group's log although one is asked for, as far as it was
    /// looked at: from the first look on at which that was so. To be called several times a second.
    pub fn look_at_disk(&self) -> Duration {
        self.0.log.look_at_silence()
    }

    /// Returns true while a sync of the group's log that was asked for is not over.
    pub fn awaits_disk(&self) -> bool {
        self.0.log.awaits_disk()
    }
}
