//! The operator of a simulated group: adds members, makes them voters, removes them and replaces those whose disk is gone, at any
//! time and whatever else fails.

use std::cell::Cell;
use std::collections::BTreeSet;
use std::rc::Rc;
use std::time::Duration;

use super::member::Member;
use super::run::Stage;
use crate::error::ChangeError;
use crate::group::{Former, Standing};
use crate::ids::{NodeId, PeerAddress};

/// Time after which an operator knows that a member is gone.
const NOTICED_AFTER: Duration = Duration::from_secs(3);
/// Time between two steps of the operator once all faults are over.
const MEND_PAUSE: Duration = Duration::from_millis(400);

/// A change of the members.
#[derive(Debug, Clone)]
enum Change {
    Add(NodeId),
    Promote(NodeId),
    Remove(NodeId),
    SetVoters(BTreeSet<NodeId>, Former),
}

/// Counts the changes that are under way.
struct UnderWay(Rc<Cell<u64>>);

impl UnderWay {
    fn begin(count: &Rc<Cell<u64>>) -> UnderWay {
        count.set(count.get() + 1);
        UnderWay(count.clone())
    }
}

impl Drop for UnderWay {
    fn drop(&mut self) {
        self.0.set(self.0.get() - 1);
    }
}

impl Stage {
    /// Changes the members now and then, until all is calm.
    pub(super) async fn operate(self) {
        let executor = self.executor().clone();
        let Some(longest) = self.world.scenario.change_wait else { return };
        while !self.is_calm.get() {
            executor.alarm(executor.between(Duration::ZERO, longest)).await;
            if !self.is_calm.get() {
                self.change_members();
            }
        }
    }

    fn one_of(&self, nodes: &[NodeId]) -> Option<NodeId> {
        if nodes.is_empty() { None } else { Some(nodes[self.executor().below(nodes.len() as u64) as usize]) }
    }

    fn change_members(&self) {
        if self.executor().now() < self.changes_from.get() {
            return;
        }
        let member = self.asked_member().clone();
        let Some(group) = self.world.network.group(member.node) else { return };
        let members = group.members();
        let of = |is_wanted: &dyn Fn(Standing) -> bool| -> Vec<NodeId> {
            members.members.iter().filter(|one| is_wanted(one.standing)).map(|one| one.node).collect()
        };
        let executor = self.executor();
        let change = match executor.below(10) {
            0..3 => {
                let is_free = |member: &&Rc<Member>| !member.is_lost() && members.get(member.node).is_none();
                let others: Vec<_> = self.members.iter().filter(is_free).map(|member| member.node).collect();
                self.one_of(&others).map(Change::Add)
            }
            3..6 => self.one_of(&of(&|standing| standing == Standing::Learner)).map(Change::Promote),
            6..8 => self.one_of(&of(&|_| true)).map(Change::Remove),
            8 => {
                let all = of(&|_| true);
                let voters: BTreeSet<_> = all.into_iter().filter(|_| executor.happens(600)).collect();
                let former = if executor.happens(500) { Former::Learner } else { Former::Gone };
                Some(Change::SetVoters(voters, former))
            }
            _ => Some(Change::SetVoters(members.voters(), Former::Gone)),
        };
        if let Some(change) = change {
            self.make(&member, change);
        }
    }

    /// Has a member make a change, and follows what comes of it.
    fn make(&self, member: &Rc<Member>, change: Change) {
        let Some(group) = self.world.network.group(member.node) else { return };
        let (stage, node, executor) = (self.clone(), member.node, self.executor().clone());
        let is_destroyed = executor.happens(500);
        let made = async move {
            let under_way = UnderWay::begin(&stage.changing);
            let outcome = match change.clone() {
                Change::Add(node) => group.add_learner(node, PeerAddress(format!("node-{node}"))).await,
                Change::Promote(node) => group.promote(node).await,
                Change::Remove(node) => group.remove(node).await,
                Change::SetVoters(voters, former) => group.set_voters(voters, former).await,
            };
            let mut checks = stage.world.checks.borrow_mut();
            checks.note(|| format!("node {node} changes the members, {change:?}: {outcome:?}"));
            match &outcome {
                Ok(()) => checks.counts.changes += 1,
                Err(ChangeError::Fatal(text)) => checks.fail(format!("node {node} cannot change the members: {text}")),
                Err(_) => {}
            }
            drop((checks, under_way));
            if let (Change::Remove(removed), Ok(()), true) = (change, outcome, is_destroyed) {
                stage.destroy(removed);
            }
        };
        executor.owned(member.node.0, || executor.spawn(made));
    }

    /// Ends a node that is no member any more.
    fn destroy(&self, node: NodeId) {
        let is_member = self.world.checks.borrow().configs.has_member(node);
        let Some(member) = self.members.iter().find(|member| member.node == node) else { return };
        if !is_member && self.changing.get() == 0 {
            member.destroy();
        }
    }

    /// Takes a voter's disk for good, if the group can bear that: no change is under way, no other disk is lost, and a quorum
    /// without it has the members as they are.
    pub(super) fn lose_disk(&self, member: &Rc<Member>) {
        let can_bear = {
            let checks = self.world.checks.borrow();
            let is_lost = |other: &Rc<Member>| other.is_lost() && checks.configs.has_member(other.node);
            let none_lost = !self.members.iter().any(is_lost);
            let mut newest = checks.configs.newest();
            let has_quorum = newest.all(|config| {
                let has_it = |node: &NodeId| *node != member.node && checks.holds_on_disk(*node, config.entry);
                config.sets.len() == 1 && config.is_quorum(has_it)
            });
            none_lost && has_quorum && self.changing.get() == 0 && checks.configs.has_member(member.node)
        };
        if can_bear {
            // Until then nobody notices, and what is decided on the member counts on it.
            self.changes_from.set(self.executor().now() + NOTICED_AFTER);
            member.lose_disk();
        }
    }

    /// Makes the next change of those that the group needs to be whole once all faults are over. True if it needs none.
    pub(super) fn mend(&self) -> bool {
        let now = self.executor().now();
        let Some((leader, members)) = self.leader_and_members() else { return false };
        let lost = members
            .members
            .iter()
            .find(|one| self.members.iter().any(|member| member.node == one.node && member.is_lost()));
        if lost.is_none() && !members.is_changing {
            return true;
        }
        if now < self.mends_at.get() {
            return false;
        }
        self.mends_at.set(now + MEND_PAUSE);
        let change = match lost {
            Some(lost) if !members.is_changing => Change::Remove(lost.node),
            _ => Change::SetVoters(members.voters(), Former::Gone),
        };
        self.make(&leader, change);
        false
    }

    /// The member that leads in the newest term, and the group's members as it knows them.
    pub(super) fn leader_and_members(&self) -> Option<(Rc<Member>, crate::group::Members)> {
        let led = |member: &&Rc<Member>| self.world.network.group(member.node).and_then(|group| group.leads_in());
        let leader = self.members.iter().filter(|member| led(member).is_some()).max_by_key(led)?;
        let members = self.world.network.group(leader.node)?.members();
        Some((leader.clone(), members))
    }
}
