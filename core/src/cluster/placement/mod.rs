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
use board::Board;

/// Returns the groups that should have another place than in `map`, with that place, in the order of their numbers. `lost` are the
/// nodes that have been away for so long that others are to take their part.
pub fn place(map: &Map, lost: &BTreeSet<NodeId>) -> Vec<GroupPlacement> {
    let mut board = Board::of(map, lost);
    homes::settle(&mut board);
    replicas::settle(&mut board);
    board.changed(map)
}
