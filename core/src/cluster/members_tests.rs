//! The members of a group on their way to those that are wanted, without any group.

use std::collections::BTreeSet;
use std::time::Instant;

use basalt_raft::{Member, Members, NodeId, PeerAddress, Progress, Standing};

use super::members::*;
use crate::cluster::map::testing::number;
use crate::limits;

const VOTERS_MAX: usize = 5;

fn members(of: &[(u64, Standing, bool)]) -> Members {
    let member = |&(node, standing, is_caught_up)| {
        let progress = Progress { matching: Some(5), behind_bytes: 0, silent: None, is_caught_up };
        Member { node: number(node), address: PeerAddress::default(), standing, progress: Some(progress) }
    };
    Members { members: of.iter().map(member).collect(), is_changing: false }
}

fn next_step(nodes: &[NodeId], voter_count: usize, members: &Members, myself: NodeId) -> Option<Step> {
    next_without(nodes, voter_count, members, myself, (&[], &[]))
}

/// Without nodes that are silent, and members that are lost.
fn next_without(
    nodes: &[NodeId],
    voter_count: usize,
    members: &Members,
    myself: NodeId,
    (silent, lost): (&[u64], &[u64]),
) -> Option<Step> {
    let set = |of: &[u64]| of.iter().copied().map(number).collect();
    let (silent, lost) = (set(silent), set(lost));
    let wanted = Wanted { nodes, voter_count, home: None, not_heir: None, silent: &silent, lost: &lost, may_add: true };
    super::members::next_step(&wanted, members, myself)
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
    assert_eq!(next(&[(1, Voter, true), (2, Learner, true), (3, Learner, false)]), None, "two are no better than one");
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

#[test]
fn a_replica_moves_in_steps_and_the_group_never_has_fewer_voters() {
    use Standing::{Learner, Voter};
    let to = [2, 3, 4].map(number);
    let next = |of: &[_], leader| next_step(&to, 3, &members(of), number(leader));
    let former = [(1, Voter, true), (2, Voter, true), (3, Voter, true)];
    let with = |more: &[_]| [&former[..], more].concat();
    assert_eq!(next(&former, 2), Some(Step::Add(number(4))));
    assert_eq!(next(&with(&[(4, Learner, false)]), 2), None, "it has not caught up");
    assert_eq!(next(&with(&[(4, Learner, true)]), 2), vote(&[2, 3, 4]));
    // Whoever leads hands over first, to one that has caught up.
    assert_eq!(next(&with(&[(4, Learner, true)]), 1), Some(Step::HandOver(number(2))));
    let behind = [(1, Voter, true), (2, Voter, false), (3, Voter, true), (4, Learner, true)];
    assert_eq!(next(&behind, 1), Some(Step::HandOver(number(3))));
    let moved = [(1, Learner, true), (2, Voter, true), (3, Voter, true), (4, Voter, true)];
    assert_eq!(next(&moved, 2), Some(Step::Remove(number(1))));
    assert_eq!(next(&moved[1..], 2), None);
    // One that is gone for good is no hindrance.
    let lost = [(1, Voter, false), (2, Voter, true), (3, Voter, true), (4, Learner, true)];
    assert_eq!(next(&lost, 3), vote(&[2, 3, 4]));
}

#[test]
fn replicas_of_a_group_move_one_at_a_time() {
    use Standing::{Learner, Voter};
    let to = [1, 4, 5].map(number);
    let next = |of: &[_]| next_step(&to, 3, &members(of), number(1));
    let former = [(1, Voter, true), (2, Voter, false), (3, Voter, true)];
    let with = |more: &[_]| [&former[..], more].concat();
    assert_eq!(next(&with(&[(4, Learner, false)])), None);
    assert_eq!(next(&with(&[(4, Learner, true)])), vote(&[1, 3, 4]), "who is behind goes first");
    let half = [(1, Voter, true), (2, Learner, true), (3, Voter, true), (4, Voter, true)];
    assert_eq!(next(&half), Some(Step::Remove(number(2))));
    let half = [(1, Voter, true), (3, Voter, true), (4, Voter, true)];
    assert_eq!(next(&half), Some(Step::Add(number(5))));
}

#[test]
fn the_only_replica_moves_too() {
    use Standing::{Learner, Voter};
    let next = |of: &[_]| next_step(&[number(2)], 1, &members(of), number(1));
    assert_eq!(next(&[(1, Voter, true)]), Some(Step::Add(number(2))));
    assert_eq!(next(&[(1, Voter, true), (2, Learner, false)]), None);
    assert_eq!(next(&[(1, Voter, true), (2, Learner, true)]), vote(&[2]));
}

#[test]
fn a_replica_that_is_made_anew_is_another_member() {
    use Standing::{Learner, Voter};
    let anew = |standing| {
        let Members { mut members, is_changing } =
            members(&[(1, Voter, true), (2, Voter, true), (3, Voter, false), (77, standing, true)]);
        members[3].address = PeerAddress::on(number(3), number(77));
        Members { members, is_changing }
    };
    let mut former = anew(Learner);
    former.members.pop();
    let next = |members: &Members| next_without(&first(3), 3, members, number(1), (&[], &[3]));
    assert_eq!(next(&former), Some(Step::Add(number(3))), "the node, which has no member that is there");
    assert_eq!(next(&anew(Learner)), vote(&[1, 2, 77]));
    let mut voting = anew(Voter);
    voting.members[2].standing = Learner;
    assert_eq!(next(&voting), Some(Step::Remove(number(3))));
    voting.members.remove(2);
    assert_eq!(next(&voting), None);
    assert_eq!(voting.members[2].host(), number(3));
    // A node that does not answer is not asked, and others are.
    let alone = members(&[(1, Voter, true)]);
    assert_eq!(next_without(&first(3), 3, &alone, number(1), (&[2], &[])), Some(Step::Add(number(3))));
}

#[test]
fn a_node_that_tells_no_number_is_passed_over_for_a_while() {
    use Standing::Voter;
    let (untold, mut now) = (Untold::default(), Instant::now());
    let failed: Result<(), ()> = Err(());
    let next = |untold: &Untold, now| {
        let (silent, lost) = (untold.at(now), BTreeSet::new());
        let nodes = first(3);
        let wanted = Wanted {
            nodes: &nodes,
            voter_count: 3,
            home: None,
            not_heir: None,
            silent: &silent,
            lost: &lost,
            may_add: true,
        };
        super::members::next_step(&wanted, &members(&[(1, Voter, true)]), number(1))
    };
    assert_eq!(next(&untold, now), Some(Step::Add(number(2))));
    assert!(!untold.note(number(2), &failed, now));
    assert_eq!(next(&untold, now), Some(Step::Add(number(3))), "the others are not held up");
    untold.note(number(3), &failed, now);
    assert_eq!(next(&untold, now), None);
    let mut told = 0;
    for _ in 0..10 {
        now += limits::MEMBERS_PAUSE_MAX;
        assert_eq!(next(&untold, now), Some(Step::Add(number(2))), "it is tried again");
        told += usize::from(untold.note(number(2), &failed, now));
    }
    assert_eq!(told, 1, "an operator hears of it once");
    assert!(!untold.note(number(2), &Ok::<(), ()>(()), now));
    assert_eq!(next(&untold, now), Some(Step::Add(number(2))));
}

#[test]
fn a_learner_that_does_not_answer_takes_no_room_for_copies() {
    use Standing::{Learner, Voter};
    let (nodes, lost) = (first(2), BTreeSet::new());
    let copies = |silent: &BTreeSet<NodeId>| {
        let wanted =
            Wanted { nodes: &nodes, voter_count: 2, home: None, not_heir: None, silent, lost: &lost, may_add: true };
        is_copying(&wanted, &members(&[(1, Voter, true), (2, Learner, false)]), number(1))
    };
    assert!(copies(&BTreeSet::new()));
    assert!(!copies(&BTreeSet::from([number(2)])));
}

#[test]
fn a_lead_that_comes_back_is_given_to_another_one_and_later() {
    use Standing::{Learner, Voter};
    let (mut handed, now) = (HandOvers::default(), Instant::now());
    assert!(handed.may(3, now) && handed.last_heir(3).is_none());
    handed.note(3, number(2), now);
    assert!(handed.may(3, now), "in the same term the heir may not have been told");
    assert!(handed.last_heir(3).is_none());
    assert!(!handed.may(5, now) && handed.may(5, now + limits::HOME_IS_BACK));
    assert_eq!(handed.last_heir(5), Some(number(2)));
    handed.note(5, number(3), now);
    assert!(!handed.may(7, now + limits::HOME_IS_BACK) && handed.may(7, now + 2 * limits::HOME_IS_BACK));
    let (nodes, none) = ([2, 3, 4].map(number), BTreeSet::new());
    let of = members(&[(1, Voter, true), (2, Voter, true), (3, Voter, true), (4, Learner, true)]);
    let heir = |not_heir| {
        let home = Some(number(2));
        let wanted =
            Wanted { nodes: &nodes, voter_count: 3, home, not_heir, silent: &none, lost: &none, may_add: true };
        super::members::next_step(&wanted, &of, number(1))
    };
    assert_eq!(heir(None), Some(Step::HandOver(number(2))));
    assert_eq!(heir(Some(number(2))), Some(Step::HandOver(number(3))));
    let both = members(&[(1, Voter, true), (2, Voter, true), (3, Learner, true)]);
    let nodes = [2, 3].map(number);
    let wanted = Wanted {
        nodes: &nodes,
        voter_count: 2,
        home: None,
        not_heir: Some(number(2)),
        silent: &none,
        lost: &none,
        may_add: true,
    };
    assert_eq!(
        super::members::next_step(&wanted, &both, number(1)),
        Some(Step::HandOver(number(2))),
        "there is no other"
    );
}

#[test]
fn a_group_goes_on_with_a_majority_of_those_that_vote_now() {
    use Standing::{Learner, Voter};
    let (now, silence) = (Instant::now(), std::time::Duration::from_secs);
    let led = |of: &[(u64, Standing, Option<u64>)]| {
        let mut seen = members(&of.iter().map(|(node, standing, _)| (*node, *standing, true)).collect::<Vec<_>>());
        for (member, (.., silent)) in seen.members.iter_mut().zip(of) {
            member.progress.as_mut().unwrap().silent = silent.map(silence);
        }
        LedGroup::of(&seen, number(3), now)
    };
    // The map wants 2, 3 and 4: that is still copied, and 1, which is on its way out, votes and is lost.
    let moving = led(&[(1, Voter, None), (2, Voter, Some(9)), (3, Voter, None), (4, Learner, Some(0))]);
    assert!(!moving.goes_on_without(number(2), now));
    let moved = led(&[(2, Voter, Some(9)), (3, Voter, None), (4, Voter, Some(0))]);
    assert!(moved.goes_on_without(number(2), now) && !moved.goes_on_without(number(4), now));
    let heard = led(&[(2, Voter, Some(1)), (3, Voter, None), (4, Voter, Some(0))]);
    assert!(!heard.goes_on_without(number(2), now), "who answers is not lost, whoever does not hear it");
    let learns = led(&[(3, Voter, None), (2, Learner, Some(1))]);
    assert!(!learns.goes_on_without(number(2), now));
    assert!(!moved.goes_on_without(number(2), now + limits::PEER_SUSPECTED), "it was seen too long ago");
    let both = led(&[(2, Voter, Some(9)), (3, Voter, None)]);
    assert!(!both.goes_on_without(number(2), now), "two of two have to agree");
    assert!(led(&[(3, Voter, None)]).goes_on_without(number(2), now));
}

#[test]
fn a_node_leaves_while_a_majority_of_the_other_voters_answers() {
    use Standing::{Learner, Voter};
    let without =
        |of: &[_], silent: &[u64]| votes_without(&members(of), number(1), |member| !silent.contains(&member.node.0));
    let three = [(1, Voter, true), (2, Voter, true), (3, Voter, true), (4, Learner, true)];
    assert!(without(&three, &[]) && without(&three, &[1, 4]));
    assert!(!without(&three, &[3]), "two have to vote without it, and a learner is none of them");
    let five: Vec<_> = (1..=5).map(|node| (node, Voter, true)).collect();
    assert!(without(&five, &[5]) && !without(&five, &[4, 5]));
    let alone = [(1, Voter, true), (2, Learner, true)];
    assert!(without(&alone, &[]) && !without(&alone, &[2]), "it votes until another one does");
    // Both agree to the change: those that vote now, and those that will.
    let two = [(1, Voter, true), (2, Voter, true)];
    assert!(without(&two, &[]) && !without(&two, &[1]), "its own vote is needed for it");
    let four: Vec<_> = (1..=4).map(|node| (node, Voter, true)).collect();
    assert!(without(&four, &[]) && without(&four, &[1]), "three of four");
    assert!(!without(&four, &[1, 2]) && !without(&four, &[2, 3]), "two of four");
    // While the voters change, either set may need its vote.
    for standing in [Standing::Joining, Standing::Leaving] {
        let of = [(1, Voter, true), (2, Voter, true), (3, Voter, true), (4, standing, true)];
        let changing = Members { is_changing: true, ..members(&of) };
        assert!(!votes_without(&changing, number(1), |_| true));
    }
}

#[test]
fn only_the_node_itself_says_that_a_member_is_lost() {
    use Standing::Voter;
    let (lost, none, now) = (Lost::default(), BTreeSet::new(), Instant::now());
    let nodes = first(3);
    let wanted =
        Wanted { nodes: &nodes, voter_count: 3, home: None, not_heir: None, silent: &none, lost: &none, may_add: true };
    let members = members(&[(1, Voter, true), (2, Voter, true), (3, Voter, false)]);
    assert_eq!(lost.suspect(&wanted, &members, number(1), now), Some((number(3), number(3))));
    assert_eq!(lost.suspect(&wanted, &members, number(1), now), None, "a moment later");
    lost.note(number(3), number(3));
    assert!(lost.of(&members).is_empty());
    lost.note(number(3), number(77));
    assert_eq!(lost.of(&members), BTreeSet::from([number(3)]));
    let without = Members { members: members.members[..2].to_vec(), is_changing: false };
    assert!(lost.of(&without).is_empty());
}
