//! Homes: each group has one, on a seat that can lead, and seats have equally many.

use std::cmp::Reverse;

use super::balance::{Moves, balance};
use super::board::Board;

/// Homes that move to a node that has the group anyway.
struct ToReplicas;

impl Moves for ToReplicas {
    fn count(board: &Board, seat: usize) -> usize {
        board.homes_at(seat).len()
    }

    fn find(board: &Board, from: usize, to: usize) -> Option<usize> {
        board.homes_at(from).intersection(board.groups_at(to)).next().copied()
    }

    fn run(board: &mut Board, group: usize, _: usize, to: usize) {
        board.set_home(group, to);
    }
}

/// Finds a home for every group. A home that is moved to a node without a replica gets one; whatever the group has too much then
/// is for the replicas to see.
pub(super) fn settle(board: &mut Board) {
    let seats: Vec<usize> = board.seats().filter(|seat| board.can_lead(*seat)).collect();
    find_missing(board, &seats);
    loop {
        balance::<ToReplicas>(board, &seats);
        let count = |seat: &usize| board.homes_at(*seat).len();
        let least = seats.iter().copied().min_by_key(|seat| (count(seat), *seat));
        let most = seats.iter().copied().max_by_key(|seat| (count(seat), Reverse(*seat)));
        let (Some(least), Some(most)) = (least, most) else { return };
        if count(&most) < count(&least) + 2 {
            return;
        }
        // Of what the group has too much then, the fullest seat is rid.
        let fullest = |group| board.replicas(group).iter().map(|seat| board.groups_at(*seat).len()).max();
        let groups = board.homes_at(most).iter().copied();
        let group = groups.min_by_key(|group| (board.in_zone_of(*group, least), Reverse(fullest(*group)), *group));
        board.set_home(group.expect("it has two at least"), least);
    }
}

/// Homes of groups that have none on a seat: first of those that are on one that can lead, so that the others make up for it.
fn find_missing(board: &mut Board, seats: &[usize]) {
    for is_on_seat in [true, false] {
        for group in board.rows() {
            if board.home(group).is_some() {
                continue;
            }
            let possible = seats.iter().copied().filter(|seat| !is_on_seat || board.replicas(group).contains(seat));
            if let Some(home) = possible.min_by_key(|seat| (board.homes_at(*seat).len(), *seat)) {
                board.set_home(group, home);
            }
        }
    }
}
