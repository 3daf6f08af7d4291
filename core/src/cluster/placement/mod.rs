//! The places where groups should be: a pure function of the map and of the nodes that are thought to be lost.
//!
//! In the order of their weight:
//!
//! 1. No node has two replicas of a group. Nodes that are lost or draining get none, and give theirs up as soon as another node can
//!    take them.
//! 2. The replicas of a group are spread over as many zones as there are, and evenly. A node without a zone is one by itself.
//! 3. A replica node holds groups of its master before others.
//! 4. Nodes have the same number of homes, or one more, and then of replicas, as far as homes and what comes before allow it. A
//!    replica node is no home while a master is left.
//! 5. Nothing moves that these do not move.
//!
//! What a newcomer would get wrong: a replica on a lost node is given up only for another one. To shrink the group instead would
//! leave its majority as it is and take away what may come back. A group of which all nodes are lost stays where it is: there is
//! nobody to copy it from.
//!
//! It takes about `groups × replicas × nodes` steps for each replica that moves. What the present map has is left alone by a second
//! look at it: it is a fixed point.

mod balance;
mod board;
mod homes;
mod replicas;
#[cfg(test)]
mod tests;

use std::collections::BTreeSet;

use basalt_raft::NodeId;

use super::map::{GroupPlacement, Map};
use super::members::voters_wanted;
use crate::limits::map::REPLICAS_MAX;
use board::Board;

/// Returns the groups that should have another place than in `map`, with that place, in the order of their numbers. `lost` are the
/// nodes that have been away for so long that others are to take their part.
pub fn place(map: &Map, lost: &BTreeSet<NodeId>) -> Vec<GroupPlacement> {
    let mut board = Board::of(map, lost);
    homes::settle(&mut board);
    replicas::settle(&mut board);
    board.changed(map)
}

/// Returns the groups of which a node that is being drained has a replica, with places without it as far as there are others: a
/// group keeps as many replicas as it has and wants, and two where fewer nodes stay, silent ones included. Nothing else moves.
/// `silent` are nodes that get none now, and keep theirs.
pub fn evacuate(map: &Map, silent: &BTreeSet<NodeId>) -> Vec<GroupPlacement> {
    let drains = |node: &NodeId| map.node(*node).is_some_and(|node| node.is_draining);
    let others = map.nodes().iter().filter(|node| !node.is_draining).count();
    let mut board = Board::of(map, silent);
    let moved = board.rows().filter_map(|row| {
        let group = &map.groups()[board.place(row)];
        if !group.replicas.iter().any(drains) {
            return None;
        }
        let (going, mut replicas): (Vec<NodeId>, Vec<NodeId>) = group.replicas.iter().copied().partition(drains);
        let wanted = usize::from(map.replicas_wanted(group)).max(1);
        let former = board.replicas(row).clone();
        while replicas.len() < wanted && board.replicas(row).len() < board.seats().len() {
            let seat = replicas::add_one(&mut board, row);
            replicas.push(board.number(seat));
        }
        // Others may be silent for a moment only: the replicas that there are go when those have theirs.
        let least = group.replicas.len().min(wanted).min(others.max(2));
        replicas.extend(going.iter().take(least.saturating_sub(replicas.len())));
        let mut home = group.home;
        if drains(&home) {
            // One that has all there is rather than one that has to get it.
            let rank =
                |seat: &usize| (!board.can_lead(*seat), !former.contains(seat), board.homes_at(*seat).len(), *seat);
            let best = board.replicas(row).iter().copied().min_by_key(rank);
            home = match best {
                Some(seat) => {
                    board.set_home(row, seat);
                    board.number(seat)
                }
                None if replicas.contains(&home) => home,
                None => *replicas.first()?,
            };
        }
        replicas.sort_unstable();
        let is_same = (home, &replicas) == (group.home, &group.replicas);
        (!is_same).then_some(GroupPlacement { group: group.number, home, replicas })
    });
    moved.collect()
}

/// Returns the groups that have fewer replicas than they should in `map` and could have more, with as many as they can have.
/// Nothing moves, and homes stay. `lost` are nodes that get none now. Where there are too few nodes for all that are wanted, it
/// is an odd number: one more would survive no more losses.
pub fn grow(map: &Map, lost: &BTreeSet<NodeId>) -> Vec<GroupPlacement> {
    let mut board = Board::of(map, lost);
    let grown = board.rows().filter_map(|row| {
        let group = &map.groups()[board.place(row)];
        let free = board.seats().len() - board.replicas(row).len();
        let (wanted, possible) = (usize::from(map.replicas_wanted(group)), group.replicas.len() + free);
        let count = if possible >= wanted { wanted } else { voters_wanted(possible, REPLICAS_MAX) };
        let mut replicas = group.replicas.clone();
        for _ in replicas.len()..count {
            let seat = replicas::add_one(&mut board, row);
            replicas.push(board.number(seat));
        }
        replicas.sort_unstable();
        (replicas != group.replicas).then_some(GroupPlacement { group: group.number, home: group.home, replicas })
    });
    grown.collect()
}
