//! The group's members: who they are, how far each has got, and changing them one step at a time.
//!
//! A node joins as a learner, which has no vote and holds nobody up. Once it has caught up it may become a voter. Voters change by
//! joint consensus: for a while two sets of voters have to agree, the old one and the new one. A leader that is gone in between
//! leaves the group so, where it works on; whoever leads then ends the change with [`Group::set_voters`].
//!
//! What a newcomer would get wrong: a change counts from the moment it is in the log, not from when it is committed. So the next
//! one has to wait for this one to be committed, and a call that is not awaited to its end may leave a change half done.

use std::cell::Cell;
use std::collections::{BTreeMap, BTreeSet};
use std::rc::Rc;
use std::time::Duration;

use openraft::async_runtime::watch::WatchReceiver;
use openraft::errors::{ChangeMembershipError, ClientWriteError, RaftError};
use openraft::raft::ClientWriteResponse;
use openraft::{AsyncRuntime, ChangeMembers};

use super::Group;
use crate::disk::Disk;
use crate::entry::membership_bytes;
use crate::error::{ChangeError, Error, Fault};
use crate::ids::{NodeId, PeerAddress};
use crate::limits::{ADDRESS_BYTES_MAX, CAUGHT_UP_BYTES, MEMBERS_MAX, MEMBERSHIP_BYTES_MAX};
use crate::runtime::GlommioRuntime;
use crate::types::{Membership, TypeConfig};

/// The part that a member has in decisions.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Standing {
    /// Has a vote.
    Voter,
    /// Has a vote in the new set of voters only, while they change.
    Joining,
    /// Has a vote in the old set of voters only, while they change.
    Leaving,
    /// Takes entries and has no vote.
    Learner,
}

/// A member of the group.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Member {
    /// Its number, which is no other member's, whatever node that is on.
    pub node: NodeId,
    /// The place that it was added with.
    pub address: PeerAddress,
    /// Its part in decisions.
    pub standing: Standing,
    /// As the leader knows it; none on other members, and for the leader itself.
    pub progress: Option<Progress>,
}

impl Member {
    /// The node that has it.
    pub fn host(&self) -> NodeId {
        self.address.node_of(self.node)
    }
}

/// A leader's knowledge of how far another member has got.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Progress {
    /// Index of the last entry that it is known to have on disk.
    pub matching: Option<u64>,
    /// Bytes of the entries behind that one.
    pub behind_bytes: u64,
    /// Time since the sending of the newest message that it has answered.
    pub silent: Option<Duration>,
    /// It answers, and has all but so little that as a voter it would hold nobody up.
    pub is_caught_up: bool,
}

/// The members of a group as this node knows them.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Members {
    /// The members, by their numbers.
    pub members: Vec<Member>,
    /// Set while a change is not committed, or its second step has not been made.
    pub is_changing: bool,
}

impl Members {
    /// The member with this number.
    pub fn get(&self, node: NodeId) -> Option<&Member> {
        self.members.iter().find(|member| member.node == node)
    }

    fn is_caught_up(&self, node: NodeId) -> bool {
        self.get(node).and_then(|member| member.progress).is_some_and(|progress| progress.is_caught_up)
    }

    /// The voters, or those that there will be when the change that is under way is made.
    pub fn voters(&self) -> BTreeSet<NodeId> {
        let has_vote = |member: &&Member| matches!(member.standing, Standing::Voter | Standing::Joining);
        self.members.iter().filter(has_vote).map(|member| member.node).collect()
    }
}

/// The fate of a voter that is to be one no more.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Former {
    /// It stays as a learner.
    Learner,
    /// It leaves the group.
    Gone,
}

/// Marks a change as under way on this node.
struct Changing<'a>(&'a Cell<bool>);

impl Changing<'_> {
    fn begin(is_changing: &Cell<bool>) -> Result<Changing<'_>, ChangeError> {
        if is_changing.replace(true) { Err(ChangeError::InProgress) } else { Ok(Changing(is_changing)) }
    }
}

impl Drop for Changing<'_> {
    fn drop(&mut self) {
        self.0.set(false);
    }
}

impl<D: Disk> Group<D> {
    /// Returns the group's members as this node knows them; on its leader, with how far each has got.
    pub fn members(&self) -> Members {
        let inner = &*self.0;
        let metrics = inner.raft.metrics();
        let metrics = metrics.borrow_watched();
        let membership = metrics.membership_config.membership();
        let configs = membership.get_joint_config();
        let is_changing =
            configs.len() > 1 || metrics.membership_config.log_id() != metrics.committed_membership_config.log_id();
        let standing = |node: &NodeId| {
            let (was, is) = (
                configs.first().is_some_and(|voters| voters.contains(node)),
                configs.last().is_some_and(|voters| voters.contains(node)),
            );
            match (was, is) {
                (true, true) => Standing::Voter,
                (false, true) => Standing::Joining,
                (true, false) => Standing::Leaving,
                (false, false) => Standing::Learner,
            }
        };
        let end = metrics.last_log_index.map_or(0, |last| last + 1);
        let progress = |node: &NodeId| {
            let matching = metrics.replication.as_ref().filter(|_| *node != inner.options.node)?.get(node)?;
            let matching = matching.as_ref().map(|id| id.index());
            let heard = metrics.heartbeat.as_ref().and_then(|heard| heard.get(node).copied().flatten());
            let silent = heard.map(|at| at.elapsed());
            let behind_bytes = inner.log.bytes_between(matching.map_or(0, |matching| matching + 1), end);
            // A follower of a leader that it hears of does not campaign for so long.
            let answers = silent.is_some_and(|silent| silent < inner.options.quiet_before_election());
            let is_caught_up = answers && matching.is_some() && behind_bytes <= CAUGHT_UP_BYTES;
            Some(Progress { matching, behind_bytes, silent, is_caught_up })
        };
        let member = |(node, address): (&NodeId, &PeerAddress)| Member {
            node: *node,
            address: address.clone(),
            standing: standing(node),
            progress: progress(node),
        };
        Members { members: membership.nodes().map(member).collect(), is_changing }
    }

    /// The index behind the last entry of this node's log: whatever it has executed is below.
    pub fn log_end(&self) -> u64 {
        self.0.log.end()
    }

    /// Puts into `ends`, for each other node that has a member, the end of what that is known to have on disk of this node's log;
    /// of several members the least, since one of them may be no more. False if this node does not lead: then nobody knows.
    pub fn read_follower_ends(&self, ends: &mut Vec<u64>) -> bool {
        ends.clear();
        let inner = &*self.0;
        let metrics = inner.raft.data_metrics();
        let metrics = metrics.borrow_watched();
        let Some(replication) = metrics.replication.as_ref().filter(|_| inner.is_leader.get()) else { return false };
        let server = inner.raft.server_metrics();
        let server = server.borrow_watched();
        let membership = server.membership_config.membership();
        let host = |number: &NodeId| membership.get_node(number).map_or(*number, |place| place.node_of(*number));
        let own = host(&inner.options.node);
        let mut ends_of_nodes = BTreeMap::new();
        for (number, matching) in replication {
            let (node, end) = (host(number), matching.as_ref().map_or(0, |id| id.index() + 1));
            // A former member on this node is no other disk.
            if node != own {
                ends_of_nodes.entry(node).and_modify(|least: &mut u64| *least = (*least).min(end)).or_insert(end);
            }
        }
        ends.extend(ends_of_nodes.into_values());
        true
    }

    /// Calls `moved` each time when a follower has come farther, or it is not known any more, until it returns false.
    pub fn watch_followers(&self, moved: impl Fn() -> bool + 'static) {
        let group = Rc::downgrade(&self.0);
        let mut metrics = self.0.raft.data_metrics();
        drop(GlommioRuntime::spawn(async move {
            let (mut seen, mut ends) = (Vec::new(), Vec::new());
            while metrics.changed().await.is_ok() {
                let Some(inner) = group.upgrade() else { return };
                Group(inner).read_follower_ends(&mut ends);
                if ends != seen {
                    std::mem::swap(&mut ends, &mut seen);
                    if !moved() {
                        return;
                    }
                }
            }
        }));
    }

    /// The node that leads the group, as far as this member knows; `None` if it is this one's, or nobody is known to lead.
    pub fn other_leader_host(&self) -> Option<NodeId> {
        let leader = self.leader().filter(|leader| *leader != self.node())?;
        let server = self.0.raft.server_metrics();
        let server = server.borrow_watched();
        let place = server.membership_config.membership().get_node(&leader);
        // Of one that is not in the log here yet nothing is known but the number, which most have of their node.
        Some(place.map_or(leader, |place| place.node_of(leader)))
    }

    /// Says whether a member with this number is in the group, or may be: false only if this one leads, as a quorum has said since
    /// the call, and the committed membership, which no change follows, is without it.
    ///
    /// # Errors
    /// [`Error::NotLeader`]; [`Error::Fatal`] when the group has stopped.
    pub async fn has_member(&self, number: NodeId) -> Result<bool, Error> {
        self.read_barrier().await?;
        let metrics = self.0.raft.metrics();
        let metrics = metrics.borrow_watched();
        let (newest, committed) = (&metrics.membership_config, &metrics.committed_membership_config);
        let has = |membership: &Membership| membership.get_node(&number).is_some();
        Ok(has(newest.membership()) || has(committed.membership()) || newest.log_id() != committed.log_id())
    }

    /// Adds a node as a learner, to which this leader sends all that there is from then on. It has to have the group's directory,
    /// empty and as no founder. Nothing is done if it is a member already.
    ///
    /// A number that was a voter here must never come back with another directory than it had: it would not know what it has
    /// voted for and acknowledged, and would read in the log's beginning that it is a voter. So a replica that was removed and
    /// destroyed comes back under a new number.
    ///
    /// # Errors
    /// [`ChangeError`]: [`ChangeError::NotDurable`] if this node acknowledges what is not on its disk,
    /// [`ChangeError::Unusable`] for a member that cannot be.
    pub async fn add_learner(&self, node: NodeId, address: PeerAddress) -> Result<(), ChangeError> {
        self.check_leads()?;
        let membership = self.membership();
        if membership.get_node(&node).is_some() {
            return Ok(());
        }
        check_new_member(&membership, node, &address)?;
        let count = membership.nodes().count() + 1;
        self.0.log.check_member_count(count).map_err(|error| ChangeError::NotDurable(error.to_string()))?;
        self.change(ChangeMembers::AddNodes([(node, address)].into()), true).await
    }

    /// Makes a learner that has caught up a voter.
    ///
    /// # Errors
    /// As [`Group::set_voters`].
    pub async fn promote(&self, node: NodeId) -> Result<(), ChangeError> {
        let mut voters = self.members().voters();
        voters.insert(node);
        self.set_voters(voters, Former::Learner).await
    }

    /// Removes a member. A leader that removes itself leads until that is committed; the group then has none until another is
    /// elected, so whoever has the time hands over first. Who was removed may never hear of it. Nothing is done if it is no member.
    ///
    /// # Errors
    /// As [`Group::set_voters`].
    pub async fn remove(&self, node: NodeId) -> Result<(), ChangeError> {
        self.check_leads()?;
        let members = self.members();
        match members.get(node).map(|member| member.standing) {
            None => Ok(()),
            Some(Standing::Learner) => self.change(ChangeMembers::RemoveNodes([node].into()), true).await,
            Some(_) => {
                let mut voters = members.voters();
                voters.remove(&node);
                self.set_voters(voters, Former::Gone).await
            }
        }
    }

    /// Has these members, and no others, vote from now on. Also ends a change that another leader has left half done: that of
    /// [`Members::voters`].
    ///
    /// Returns when both steps are committed. A leader that has no vote any more then leads no longer.
    ///
    /// # Errors
    /// [`ChangeError`]: [`ChangeError::NotCaughtUp`] for a new voter that would hold the others up, [`ChangeError::NoMember`]
    /// for one that was not added, [`ChangeError::LastVoter`] if there would be none, [`ChangeError::NoQuorum`] if too few of them
    /// answer.
    pub async fn set_voters(&self, voters: BTreeSet<NodeId>, former: Former) -> Result<(), ChangeError> {
        self.check_leads()?;
        let members = self.members();
        if voters.is_empty() {
            return Err(ChangeError::LastVoter);
        }
        for voter in &voters {
            let Some(member) = members.get(*voter) else { return Err(ChangeError::NoMember { node: *voter }) };
            if member.standing == Standing::Learner && !members.is_caught_up(*voter) {
                return Err(ChangeError::NotCaughtUp { node: *voter });
            }
        }
        if !members.is_changing && members.voters() == voters {
            return Ok(());
        }
        let own = self.0.options.node;
        let answers = |voter: &&NodeId| **voter == own || members.is_caught_up(**voter);
        if voters.iter().filter(answers).count() * 2 <= voters.len() {
            return Err(ChangeError::NoQuorum);
        }
        let stays = former == Former::Learner;
        self.change(ChangeMembers::ReplaceAllVoters(voters.clone()), stays).await?;
        // A leader without a vote would lead on.
        if stays && !voters.contains(&self.0.options.node) {
            let members = self.members();
            let heir =
                voters.iter().copied().find(|voter| members.is_caught_up(*voter)).or_else(|| voters.first().copied());
            if let Some(heir) = heir
                && let Err(error) = self.hand_over(heir).await
            {
                // The change is made, and the members may have changed again.
                tracing::warn!(shard = self.0.options.shard, %error, "a leader without a vote leads on");
            }
        }
        Ok(())
    }

    fn membership(&self) -> Membership {
        self.0.raft.server_metrics().borrow_watched().membership_config.membership().clone()
    }

    fn check_leads(&self) -> Result<(), ChangeError> {
        let inner = &*self.0;
        if let Some(fault) = inner.fatal.borrow().as_ref() {
            return Err(ChangeError::Fatal(fault.text.clone()));
        }
        if inner.is_stopping.get() {
            return Err(ChangeError::Stopped);
        }
        if !inner.is_leader.get() {
            return Err(ChangeError::NotLeader { leader: inner.leader.get() });
        }
        Ok(())
    }

    async fn change(&self, change: ChangeMembers<NodeId, PeerAddress>, retain: bool) -> Result<(), ChangeError> {
        let inner = &*self.0;
        let _changing = Changing::begin(&inner.is_changing)?;
        tracing::info!(shard = inner.options.shard, %change, "the group's members change");
        let made: Result<ClientWriteResponse<TypeConfig>, _> = inner.raft.change_membership(change, retain).await;
        match made {
            Ok(_) => Ok(()),
            Err(RaftError::Fatal(fatal)) => Err(ChangeError::of(inner.stopped_by(&fatal))),
            Err(RaftError::APIError(error)) => Err(refusal(error)),
        }
    }
}

/// Refuses a member that no message could tell of.
fn check_new_member(membership: &Membership, node: NodeId, address: &PeerAddress) -> Result<(), ChangeError> {
    let unusable = |problem| Err(ChangeError::Unusable { node, problem });
    if node == NodeId::default() {
        return unusable("0 is the number of no node");
    }
    if address.0.len() > ADDRESS_BYTES_MAX {
        return unusable("its address is too long");
    }
    let has_room = membership.nodes().count() < MEMBERS_MAX;
    if !has_room || membership_bytes(membership) + ADDRESS_BYTES_MAX > MEMBERSHIP_BYTES_MAX {
        return unusable("the group has as many members as it can have");
    }
    Ok(())
}

fn refusal(error: ClientWriteError<TypeConfig>) -> ChangeError {
    match error {
        ClientWriteError::ForwardToLeader(forward) => ChangeError::NotLeader { leader: forward.leader_id },
        ClientWriteError::LogEntryDiscarded(forward) => ChangeError::Unknown { leader: forward.leader_id },
        ClientWriteError::ChangeMembershipError(ChangeMembershipError::InProgress(_))
        // Between the steps of this change came another.
        | ClientWriteError::PreconditionFailed(_) => ChangeError::InProgress,
        ClientWriteError::ChangeMembershipError(ChangeMembershipError::EmptyMembership(_)) => ChangeError::LastVoter,
        ClientWriteError::ChangeMembershipError(ChangeMembershipError::LearnerNotFound(error)) => {
            ChangeError::NoMember { node: error.node_id }
        }
        ClientWriteError::ChangeMembershipError(error) => ChangeError::Fatal(error.to_string()),
    }
}

impl ChangeError {
    fn of(error: Error) -> ChangeError {
        match error {
            Error::Stopped => ChangeError::Stopped,
            Error::Fatal(Fault { text, .. }) => ChangeError::Fatal(text),
            Error::NotLeader { leader } => ChangeError::NotLeader { leader },
            error => ChangeError::Fatal(error.to_string()),
        }
    }
}
