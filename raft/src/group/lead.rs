//! The lead of a group: who has it, and giving it to another.

use std::time::Duration;

use openraft::async_runtime::watch::WatchReceiver;

use super::{Group, Member, Standing};
use crate::disk::Disk;
use crate::error::{Error, Result};
use crate::ids::NodeId;
use crate::source::Instant;

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

    /// The voters that could lead if this node gave the lead away at once, those that have most of the log on their disks first.
    /// None if this node does not lead, or those that have caught up are no majority: they could agree on nothing.
    pub fn heirs(&self) -> Vec<Member> {
        if self.leads_in().is_none() {
            return Vec::new();
        }
        let members = self.members();
        let votes = |member: &Member| member.standing == Standing::Voter;
        let voters = members.members.iter().filter(|member| votes(member)).count();
        let matching = |member: &Member| member.progress.filter(|progress| progress.is_caught_up)?.matching;
        let is_able =
            |member: &Member| votes(member) && member.node != self.0.options.node && matching(member).is_some();
        let mut able: Vec<Member> = members.members.into_iter().filter(is_able).collect();
        if members.is_changing || able.len() <= voters / 2 {
            return Vec::new();
        }
        able.sort_by_key(|member| std::cmp::Reverse(matching(member)));
        able
    }

    /// Says whether this node may come to lead the group, if there are others who may. While it may not, it does not campaign and
    /// takes no lead that it is given; it votes, and it keeps a lead that it has.
    pub fn set_may_lead(&self, may_lead: bool) {
        if self.0.may_lead.replace(may_lead) != may_lead {
            if !may_lead {
                self.0.may_not_lead_since.set(Some(Instant::now()));
            }
            self.0.raft.runtime_config().elect(may_lead);
        }
    }

    /// Returns for how long this node has heard of no leader of the group, and leads it not, at least: counted from the moment on
    /// at which it was last told that it may not come to lead.
    pub fn leaderless_for(&self) -> Duration {
        if self.leads_in().is_some() {
            return Duration::ZERO;
        }
        let since = self.0.may_not_lead_since.get();
        since.max(self.0.heard_leader.get()).filter(|_| since.is_some()).map_or(Duration::ZERO, |at| at.elapsed())
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
