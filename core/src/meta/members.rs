//! The members of the map's group: every node of the map is one, some of them voters. The leader sees to it, a step at a time.

use std::collections::BTreeSet;

use basalt_raft::{Former, Group, Members, NodeId, PeerAddress, Standing};

use crate::cluster::map::Map;
use crate::limits::map::META_VOTERS_MAX;

/// One step on the way.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Step {
    /// A node of the map is to be told of it.
    Add(NodeId),
    /// These are to vote.
    Vote(BTreeSet<NodeId>),
    /// A node has left the map.
    Remove(NodeId),
}

/// The number of voters among so many nodes: an odd one, since one more than that would survive no more losses.
fn voters_wanted(nodes: usize) -> usize {
    nodes.saturating_sub(1 - nodes % 2).clamp(1, META_VOTERS_MAX)
}

/// The next step that makes the members those of the map; `None` if they are, or nothing can be done now.
pub(super) fn next_step(map: &Map, members: &Members, myself: NodeId) -> Option<Step> {
    // Nobody is in a cluster that is not founded yet.
    if map.nodes().is_empty() {
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
    if let Some(new) = map.nodes().iter().find(|node| members.get(node.number).is_none()) {
        return Some(Step::Add(new.number));
    }
    let stays = |node: NodeId| map.node(node).is_some();
    let is_able = |node: NodeId| {
        let progress = members.get(node).and_then(|member| member.progress);
        node == myself || progress.is_some_and(|progress| progress.is_caught_up)
    };
    let voters = members.voters();
    let wanted = voters_wanted(map.nodes().len());
    let mut chosen: BTreeSet<NodeId> = voters.iter().copied().filter(|voter| stays(*voter)).collect();
    // Those that vote stay; among others the first ones that have caught up come to it.
    for node in map.nodes().iter().map(|node| node.number).filter(|node| is_able(*node)) {
        if chosen.len() < wanted {
            chosen.insert(node);
        }
    }
    // No even number of them while more nodes are on their way.
    while chosen.len() > 1 && chosen.len().is_multiple_of(2) && !voters.is_superset(&chosen) {
        let last = chosen.iter().copied().rfind(|node| !voters.contains(node));
        chosen.remove(&last.unwrap_or(myself));
    }
    // More than are wanted where a node has left: those go first that are behind.
    while chosen.len() > wanted {
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
pub(super) async fn take(group: Group, step: Step) -> Result<(), String> {
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
    use crate::cluster::map::testing::{number, with_nodes};

    fn members(of: &[(u64, Standing, bool)]) -> Members {
        let member = |&(node, standing, is_caught_up)| {
            let progress = Progress { matching: Some(5), behind_bytes: 0, silent: None, is_caught_up };
            Member { node: number(node), address: PeerAddress::default(), standing, progress: Some(progress) }
        };
        Members { members: of.iter().map(member).collect(), is_changing: false }
    }

    fn vote(nodes: &[u64]) -> Option<Step> {
        Some(Step::Vote(nodes.iter().copied().map(number).collect()))
    }

    #[test]
    fn there_is_an_odd_number_of_voters() {
        let wanted = [1, 2, 3, 4, 5, 6, 7, 100].map(voters_wanted);
        assert_eq!(wanted, [1, 1, 3, 3, 5, 5, 5, 5]);
    }

    #[test]
    fn nodes_learn_and_vote_once_they_have_caught_up() {
        use Standing::{Learner, Voter};
        let map = with_nodes(3);
        let next = |of: &[_]| next_step(&map, &members(of), number(1));
        assert_eq!(next(&[(1, Voter, true)]), Some(Step::Add(number(2))));
        assert_eq!(next(&[(1, Voter, true), (2, Learner, true)]), Some(Step::Add(number(3))));
        assert_eq!(
            next(&[(1, Voter, true), (2, Learner, true), (3, Learner, false)]),
            None,
            "two are no better than one"
        );
        assert_eq!(next(&[(1, Voter, true), (2, Learner, true), (3, Learner, true)]), vote(&[1, 2, 3]));
        assert_eq!(next(&[(1, Voter, true), (2, Voter, false), (3, Voter, true)]), None);
        // One that has left the map.
        let all = [(1, Voter, true), (2, Voter, true), (3, Voter, true), (9, Learner, false)];
        assert_eq!(next(&all), Some(Step::Remove(number(9))));
        let all = [(1, Voter, true), (2, Voter, true), (3, Learner, true), (9, Voter, false)];
        assert_eq!(next(&all), vote(&[1, 2, 3]));
    }

    #[test]
    fn as_many_vote_as_there_should_be_when_nodes_leave() {
        use Standing::Voter;
        let all = |able: [bool; 5]| {
            let numbered = (1..=5).zip(able);
            members(&numbered.map(|(node, is_able)| (node, Voter, is_able)).collect::<Vec<_>>())
        };
        let next = |nodes, able, leader| next_step(&with_nodes(nodes), &all(able), number(leader));
        assert_eq!(next(4, [true; 5], 1), vote(&[1, 2, 3]), "the last one goes too");
        assert_eq!(next(4, [true; 5], 4), vote(&[1, 2, 4]), "but not the leader");
        assert_eq!(next(4, [true, false, true, true, true], 4), vote(&[1, 3, 4]), "who is behind goes first");
        assert_eq!(next(2, [true; 5], 2), vote(&[2]));
        assert_eq!(next_step(&Map::new(), &members(&[(1, Voter, true)]), number(1)), None, "nothing is founded yet");
    }
}
