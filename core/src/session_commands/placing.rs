//! `BASALT MOVE`, `DRAIN`, `REBALANCE`, `REPLACE` and `MOVES`: the places of replicas, as an operator wants them.
//!
//! Each changes the map alone, in one entry; who leads a group then sees to its replicas, a step at a time, and goes on with it
//! after any restart. So an order is answered long before it is carried out, and `BASALT MOVES` says what is on its way.
//!
//! What a newcomer would get wrong: the checks here see the map as this node knows it. What must hold whatever else is ordered at
//! the same time is checked by the map itself.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::PoisonError;

use basalt_net::resp::Reply;
use basalt_raft::NodeId;

use super::SessionContext;
use super::cluster::{Known, changed};
use super::outcome::{Outcome, Ran};
use crate::cluster::map::{Change, Group, GroupNumber, GroupPlacement, Map, Node, Refused, Role, forget_target};
use crate::cluster::placement;
use crate::cluster::texts::{Health, Peer};
use crate::commands::{Args, CommandError, parse_i64};
use crate::limits::REPLICAS_OTHER_MIN;

/// The nodes that answer this one.
pub(super) struct Answering {
    myself: NodeId,
    peers: BTreeMap<NodeId, Peer>,
}

impl Answering {
    pub(super) fn of(context: &SessionContext<'_>, known: &Known) -> Answering {
        let peers = context.server.peers.lock().unwrap_or_else(PoisonError::into_inner).clone();
        Answering { myself: known.cluster().myself, peers }
    }

    /// Returns whether a node has been silent for so long that it may be called lost.
    pub(super) fn is_lost(&self, node: NodeId) -> bool {
        self.peers.get(&node).is_some_and(|peer| peer.health == Health::Failed)
    }

    fn has(&self, node: NodeId) -> bool {
        node == self.myself || self.peers.get(&node).is_some_and(|peer| peer.health == Health::Up)
    }
}

fn refusal(text: String) -> CommandError {
    CommandError::owned(format!("ERR {text}"))
}

/// `BASALT MOVE group from to`: the replica of a group on one node is to be on another.
pub(super) fn move_replica(context: &mut SessionContext<'_>, args: Args<'_>, _: &mut Reply<'_>) -> Ran {
    let known = Known::of(context)?;
    let number = u64::try_from(parse_i64(args[2])?).map(GroupNumber).map_err(|_| CommandError::NOT_AN_INTEGER)?;
    let group = known.map.group(number).ok_or_else(|| refusal(format!("there is no group {number}")))?;
    let (from, to) = (known.map.named_by_client(args[3])?, known.map.named_by_client(args[4])?);
    let answering = Answering::of(context, &known);
    if !group.is_live {
        return Err(refusal(format!("group {number} is being founded, try again")));
    }
    if !group.replicas.contains(&from.number) {
        return Err(refusal(format!("node {} is none of those of group {number}", from.name)));
    }
    if group.replicas.contains(&to.number) {
        return Err(refusal(format!("node {} has a replica of group {number} already", to.name)));
    }
    if to.is_draining {
        return Err(Refused::Draining(to.name).into());
    }
    if !answering.has(to.number) {
        return Err(refusal(format!("node {} does not answer", to.name)));
    }
    let replicas: Vec<NodeId> =
        group.replicas.iter().map(|node| if *node == from.number { to.number } else { *node }).collect();
    if group.leaving.contains(&to.number) {
        // It may vote still, and the one that is to come in its place may be lost: with it there are enough.
        check_majority(number, &replicas, None, &answering)?;
    } else {
        if let Some(leaving) = group.leaving.first().and_then(|node| known.map.node(*node)) {
            return Err(refusal(format!(
                "a replica of group {number} is on its way already, from node {0}: wait until BASALT MOVES has it no more, or have \
                 node {0} keep it with BASALT MOVE {number} {1} {0}",
                leaving.name, from.name
            )));
        }
        check_majority(number, &group.replicas, None, &answering)?;
    }
    let home = if group.home == from.number { new_home(&known.map, group, from, to) } else { group.home };
    changed(known.map.moved(vec![GroupPlacement { group: number, home, replicas }]))
}

/// The home of a group after its home has moved: where it has moved to, unless only another one of its nodes is to lead.
fn new_home(map: &Map, group: &Group, from: &Node, to: &Node) -> NodeId {
    let is_master = |node: NodeId| map.node(node).is_some_and(|node| node.role == Role::Master);
    let others = || group.replicas.iter().copied().filter(|node| *node != from.number);
    if is_master(to.number) { to.number } else { others().find(|node| is_master(*node)).unwrap_or(to.number) }
}

/// Refuses what needs the word of a majority of these replicas of a group, without that of one node, if too few answer.
fn check_majority(
    group: GroupNumber,
    replicas: &[NodeId],
    without: Option<NodeId>,
    answering: &Answering,
) -> Result<(), CommandError> {
    let answers = |node: &&NodeId| Some(**node) != without && answering.has(**node);
    if replicas.iter().filter(answers).count() < replicas.len() / 2 + 1 {
        let other = if without.is_some() { "other " } else { "" };
        return Err(refusal(format!("too few {other}replicas of group {group} answer: it would take no more writes")));
    }
    Ok(())
}

/// `BASALT DRAIN node [CANCEL]`: all that the node has is to be on others.
pub(super) fn drain(context: &mut SessionContext<'_>, args: Args<'_>, reply: &mut Reply<'_>) -> Ran {
    let known = Known::of(context)?;
    let is_cancelled = args.get(3).is_some_and(|word| word.eq_ignore_ascii_case(b"cancel"));
    if args.len() > 4 || (args.len() == 4 && !is_cancelled) {
        return Err(CommandError::SYNTAX);
    }
    let node = known.map.named_by_client(args[2])?;
    if node.is_draining != is_cancelled {
        reply.ok();
        return Ok(Outcome::Done);
    }
    if !is_cancelled {
        check_drain(&known.map, node, &Answering::of(context, &known))?;
    }
    changed(Change::SetDraining { node: node.number, is_draining: !is_cancelled })
}

fn check_drain(map: &Map, node: &Node, answering: &Answering) -> Result<(), CommandError> {
    if !node.claimed.is_empty() {
        return Err(refusal(format!("node {} has claimed slots that have no group yet", node.name)));
    }
    if let Some(group) = map.groups().iter().find(|group| !group.is_live && group.home == node.number) {
        return Err(refusal(format!("node {} is founding group {}, try again", node.name, group.number)));
    }
    let is_left = |other: &&Node| other.number != node.number && !other.is_draining && answering.has(other.number);
    let left = map.nodes().iter().filter(is_left).count();
    if left < REPLICAS_OTHER_MIN {
        return Err(refusal(format!(
            "{left} other nodes answer and are not being drained, {REPLICAS_OTHER_MIN} are the least: a group needs two replicas"
        )));
    }
    let mut held = map.groups().iter().filter(|group| group.replicas.contains(&node.number));
    held.try_for_each(|group| check_majority(group.number, &group.replicas, None, answering))
}

/// `BASALT REBALANCE [DRYRUN]`: replicas and leads are to be spread evenly over all nodes, with as few moves as that takes. With
/// DRYRUN it replies them and changes nothing.
pub(super) fn rebalance(context: &mut SessionContext<'_>, args: Args<'_>, reply: &mut Reply<'_>) -> Ran {
    let known = Known::of(context)?;
    let is_dry = args.get(2).is_some_and(|word| word.eq_ignore_ascii_case(b"dryrun"));
    if args.len() > 3 || (args.len() == 3 && !is_dry) {
        return Err(CommandError::SYNTAX);
    }
    let answering = Answering::of(context, &known);
    if let Some(silent) = known.map.nodes().iter().find(|node| !answering.has(node.number)) {
        return Err(refusal(format!(
            "node {} does not answer: wait for it, or have others take its part with BASALT REPLACE if it is lost for good",
            silent.name
        )));
    }
    let placements = placement::place(&known.map, &BTreeSet::new());
    if is_dry {
        reply.array(placements.len());
        for placement in &placements {
            reply.bulk(describe(&known.map, placement).as_bytes());
        }
        return Ok(Outcome::Done);
    }
    if placements.is_empty() {
        reply.ok();
        return Ok(Outcome::Done);
    }
    changed(known.map.moved(placements))
}

/// One line on what changes with a placement.
fn describe(map: &Map, placement: &GroupPlacement) -> String {
    let Some(group) = map.group(placement.group) else { return String::new() };
    let names = |nodes: Vec<NodeId>| nodes.into_iter().map(|node| name_of(map, node)).collect::<Vec<_>>().join(",");
    let only = |of: &[NodeId], without: &[NodeId]| of.iter().copied().filter(|node| !without.contains(node)).collect();
    let (from, to) = (only(&group.replicas, &placement.replicas), only(&placement.replicas, &group.replicas));
    format!("group={},from={},to={},home={}", placement.group, names(from), names(to), name_of(map, placement.home))
}

fn name_of(map: &Map, node: NodeId) -> String {
    map.node(node).map_or_else(|| node.to_string(), |node| node.name.to_string())
}

/// `BASALT REPLACE node`: a node that is lost for good leaves, and others take its part.
pub(super) fn replace(context: &mut SessionContext<'_>, args: Args<'_>, _: &mut Reply<'_>) -> Ran {
    let known = Known::of(context)?;
    let node = forget_target(&known.map, known.cluster().myself, args[2])?;
    let answering = Answering::of(context, &known);
    if answering.has(node) {
        let name = name_of(&known.map, node);
        return Err(refusal(format!("node {name} answers: BASALT DRAIN empties it, and nothing is lost")));
    }
    if !answering.is_lost(node) {
        let name = name_of(&known.map, node);
        return Err(refusal(format!("node {name} has been silent for a moment only, and may come back: try again")));
    }
    // Where others are on their way the map refuses it, and says how to go on.
    let is_whole = |group: &&Group| group.replicas.contains(&node) && group.leaving.iter().all(|other| *other == node);
    let mut held = known.map.groups().iter().filter(is_whole);
    held.try_for_each(|group| check_majority(group.number, &group.replicas, Some(node), &answering))?;
    changed(Change::ForgetLost { node })
}

/// `BASALT MOVES`: the replicas that are on their way, and the nodes that are being emptied.
pub(super) fn moves(context: &mut SessionContext<'_>, _: Args<'_>, reply: &mut Reply<'_>) -> Ran {
    let known = Known::of(context)?;
    let map = &known.map;
    let moving = map.groups().iter().filter(|group| !group.leaving.is_empty());
    let draining = map.nodes().iter().filter(|node| node.is_draining);
    let lines: Vec<String> =
        draining.map(|node| drained(map, node)).chain(moving.map(|group| moved(map, group))).collect();
    reply.array(lines.len());
    lines.iter().for_each(|line| reply.bulk(line.as_bytes()));
    Ok(Outcome::Done)
}

fn drained(map: &Map, node: &Node) -> String {
    let count = |has: &dyn Fn(&Group) -> bool| map.groups().iter().filter(|group| has(group)).count();
    let homes = count(&|group| group.home == node.number);
    let replicas = count(&|group| group.replicas.contains(&node.number));
    let leaving = count(&|group| group.leaving.contains(&node.number));
    let state = if homes + replicas + leaving == 0 { "drained" } else { "draining" };
    format!("node={},state={state},homes={homes},replicas={replicas},leaving={leaving}", node.name)
}

fn moved(map: &Map, group: &Group) -> String {
    let names = |nodes: &[NodeId]| nodes.iter().map(|node| name_of(map, *node)).collect::<Vec<_>>().join(",");
    let Group { number, leaving, replicas, home, .. } = group;
    format!("group={number},leaving={},replicas={},home={}", names(leaving), names(replicas), name_of(map, *home))
}

#[cfg(test)]
mod tests {
    use super::super::testing::Client;
    use super::*;
    use crate::cluster::map::testing::{apply, found_live, name, number, range, with_nodes};

    /// Group 1 on these nodes of four, the first of them its home; then on these.
    fn moving(from: &[u64], to: &[u64]) -> Map {
        let mut map = with_nodes(4);
        apply(&mut map, Change::ClaimSlots { node: number(from[0]), ranges: vec![range(0, 9)] });
        found_live(&mut map, from[0], 1);
        for replicas in [from, to] {
            let (home, replicas) = (number(replicas[0]), replicas.iter().copied().map(number).collect());
            let moved = map.moved(vec![GroupPlacement { group: GroupNumber(1), home, replicas }]);
            apply(&mut map, moved);
        }
        map
    }

    fn lose(client: &Client, node: u64, health: Health) {
        let mut peers = client.server.peers.lock().unwrap();
        peers.get_mut(&number(node)).unwrap().health = health;
    }

    fn replicas(client: &mut Client, line: &str) -> Vec<NodeId> {
        match client.run(line) {
            Ok(Outcome::Change(change)) => match *change {
                Change::MoveGroups { moves } => moves[0].to.replicas.clone(),
                other => panic!("{line}: {other:?}"),
            },
            Ok(_) => panic!("{line} does something else"),
            Err(error) => panic!("{line}: {error}"),
        }
    }

    #[test]
    fn a_replica_whose_new_node_is_lost_goes_back_and_others_wait() {
        // 1 and 3 vote until 4 has all.
        let mut client = Client::in_cluster(moving(&[1, 3], &[3, 4]));
        lose(&client, 4, Health::Failed);
        let back = format!("basalt move 1 {} {}", name(4), name(1));
        let elsewhere = format!("basalt move 1 {} {}", name(4), name(2));
        let refused = client.ask(&elsewhere);
        assert!(refused.contains(&format!("BASALT MOVE 1 {} {}", name(4), name(1))), "{refused}");
        // The map refuses it, and says the same.
        assert!(matches!(client.run(&format!("basalt replace {}", name(4))), Ok(Outcome::Change(_))));
        assert_eq!(replicas(&mut client, &back), [number(3), number(1)]);
        lose(&client, 3, Health::Failed);
        assert!(client.ask(&back).contains("too few replicas of group 1 answer"));
    }

    #[test]
    fn a_node_is_lost_once_it_was_silent_for_long_and_enough_others_are_left() {
        let mut client = Client::in_cluster(moving(&[1, 2, 3], &[1, 2, 3]));
        let replace = format!("basalt replace {}", name(3));
        assert!(client.ask(&replace).contains("answers: BASALT DRAIN empties it"));
        lose(&client, 3, Health::Suspected);
        assert!(client.ask(&replace).contains("silent for a moment only"));
        lose(&client, 3, Health::Failed);
        assert!(matches!(client.run(&replace), Ok(Outcome::Change(_))));
        lose(&client, 2, Health::Suspected);
        assert!(client.ask(&replace).contains("too few other replicas of group 1 answer"));
    }
}
