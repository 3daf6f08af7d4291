//! The members of a group: every node that the map wants to have it is one, some of them voters. The leader sees to it, a step at a
//! time.
//!
//! What a newcomer would get wrong: with an even number of nodes one of them has no vote. It would make the majority larger, and no
//! more losses would be survived.

use std::collections::BTreeSet;

use basalt_raft::{Former, Group, Members, NodeId, PeerAddress, Standing};

/// One step on the way.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Step {
    /// A node is to have it too.
    Add(NodeId),
    /// These are to vote.
    Vote(BTreeSet<NodeId>),
    /// A node is not to have it any more.
    Remove(NodeId),
}

/// The number of voters among so many nodes: an odd one, since one more than that would survive no more losses.
pub fn voters_wanted(nodes: usize, voters_max: usize) -> usize {
    nodes.saturating_sub(1 - nodes % 2).clamp(1, voters_max)
}

/// The next step that makes the members `wanted`, `voter_count` of them voters; `None` if they are, or nothing can be done now, or
/// nobody is wanted.
pub fn next_step(wanted: &[NodeId], voter_count: usize, members: &Members, myself: NodeId) -> Option<Step> {
    if wanted.is_empty() {
        return None;
    }
    if members.is_changing {
        // One that another leader has left half done.
        let voters = members.voters();
        return members
            .members
            .iter()
            .any(|member| member.standing != Standing::Voter && member.standing != Standing::Learner)
            .then_some(Step::Vote(voters));
    }
    if let Some(new) = wanted.iter().find(|node| members.get(**node).is_none()) {
        return Some(Step::Add(*new));
    }
    let stays = |node: NodeId| wanted.contains(&node);
    let is_able = |node: NodeId| {
        let progress = members.get(node).and_then(|member| member.progress);
        node == myself || progress.is_some_and(|progress| progress.is_caught_up)
    };
    let voters = members.voters();
    let mut chosen: BTreeSet<NodeId> = voters.iter().copied().filter(|voter| stays(*voter)).collect();
    // Those that vote stay; among others the first ones that have caught up come to it.
    for node in wanted.iter().copied().filter(|node| is_able(*node)) {
        if chosen.len() < voter_count {
            chosen.insert(node);
        }
    }
    // No even number of them while more nodes are on their way.
    let is_on_the_way = |chosen: &BTreeSet<NodeId>| chosen.len() > 1 && chosen.len() < voter_count;
    while is_on_the_way(&chosen) && chosen.len().is_multiple_of(2) && !voters.is_superset(&chosen) {
        let last = chosen.iter().copied().rfind(|node| !voters.contains(node));
        chosen.remove(&last.unwrap_or(myself));
    }
    // More than are wanted where a node has left: those go first that are behind.
    while chosen.len() > voter_count {
        let others = || chosen.iter().copied().filter(|node| *node != myself);
        let Some(last) = others().rfind(|node| !is_able(*node)).or_else(|| others().next_back()) else {
            break;
        };
        chosen.remove(&last);
    }
    if chosen != voters && !chosen.is_empty() {
        return Some(Step::Vote(chosen));
    }
    members.members.iter().find(|member| !stays(member.node)).map(|gone| Step::Remove(gone.node))
}

/// Takes a step.
///
/// # Errors
/// The reason that it was not taken; it is tried again.
pub async fn take(group: Group, step: Step) -> Result<(), String> {
    let taken = match step {
        // It is never connected to: the map says where a node is.
        Step::Add(node) => group.add_learner(node, PeerAddress::default()).await,
        Step::Vote(voters) => group.set_voters(voters, Former::Learner).await,
        Step::Remove(node) => group.remove(node).await,
    };
    taken.map_err(|error| error.to_string())
}

#[cfg(test)]
mod tests {
    use basalt_raft::{Member, Progress};

    use super::*;
    use crate::cluster::map::testing::number;

    const VOTERS_MAX: usize = 5;

    fn members(of: &[(u64, Standing, bool)]) -> Members {
        let member = |&(node, standing, is_caught_up)| {
            let progress = Progress { matching: Some(5), behind_bytes: 0, silent: None, is_caught_up };
            Member { node: number(node), address: PeerAddress::default(), standing, progress: Some(progress) }
        };
        Members { members: of.iter().map(member).collect(), is_changing: false }
    }

    fn first(count: u64) -> Vec<NodeId> {
        (1..=count).map(number).collect()
    }

    fn vote(nodes: &[u64]) -> Option<Step> {
        Some(Step::Vote(nodes.iter().copied().map(number).collect()))
    }

    #[test]
    fn there_is_an_odd_number_of_voters() {
        let wanted = [1, 2, 3, 4, 5, 6, 7, 100].map(|nodes| voters_wanted(nodes, VOTERS_MAX));
        assert_eq!(wanted, [1, 1, 3, 3, 5, 5, 5, 5]);
    }

    #[test]
    fn nodes_learn_and_vote_once_they_have_caught_up() {
        use Standing::{Learner, Voter};
        let next = |of: &[_]| next_step(&first(3), 3, &members(of), number(1));
        assert_eq!(next(&[(1, Voter, true)]), Some(Step::Add(number(2))));
        assert_eq!(next(&[(1, Voter, true), (2, Learner, true)]), Some(Step::Add(number(3))));
        assert_eq!(
            next(&[(1, Voter, true), (2, Learner, true), (3, Learner, false)]),
            None,
            "two are no better than one"
        );
        assert_eq!(next(&[(1, Voter, true), (2, Learner, true), (3, Learner, true)]), vote(&[1, 2, 3]));
        assert_eq!(next(&[(1, Voter, true), (2, Voter, false), (3, Voter, true)]), None);
        // One that is not wanted any more.
        let all = [(1, Voter, true), (2, Voter, true), (3, Voter, true), (9, Learner, false)];
        assert_eq!(next(&all), Some(Step::Remove(number(9))));
        let all = [(1, Voter, true), (2, Voter, true), (3, Learner, true), (9, Voter, false)];
        assert_eq!(next(&all), vote(&[1, 2, 3]));
    }

    #[test]
    fn two_vote_where_two_are_all_that_are_wanted() {
        use Standing::{Learner, Voter};
        let next = |of: &[_]| next_step(&first(2), 2, &members(of), number(1));
        assert_eq!(next(&[(1, Voter, true), (2, Learner, false)]), None);
        assert_eq!(next(&[(1, Voter, true), (2, Learner, true)]), vote(&[1, 2]));
        // One of three has left: the others both go on, whoever leads.
        let all = [(1, Voter, true), (2, Voter, true), (3, Voter, true)];
        assert_eq!(next_step(&first(2), 2, &members(&all), number(2)), vote(&[1, 2]));
    }

    #[test]
    fn as_many_vote_as_there_should_be_when_nodes_leave() {
        use Standing::Voter;
        let all = |able: [bool; 5]| {
            let numbered = (1..=5).zip(able);
            members(&numbered.map(|(node, is_able)| (node, Voter, is_able)).collect::<Vec<_>>())
        };
        let next = |nodes, able, leader| {
            next_step(&first(nodes), voters_wanted(nodes as usize, VOTERS_MAX), &all(able), number(leader))
        };
        assert_eq!(next(4, [true; 5], 1), vote(&[1, 2, 3]), "the last one goes too");
        assert_eq!(next(4, [true; 5], 4), vote(&[1, 2, 4]), "but not the leader");
        assert_eq!(next(4, [true, false, true, true, true], 4), vote(&[1, 3, 4]), "who is behind goes first");
        assert_eq!(next(2, [true; 5], 2), vote(&[2]));
        assert_eq!(next_step(&[], 1, &members(&[(1, Voter, true)]), number(1)), None, "nothing is founded yet");
    }
}
