//! Replicas: as many as wanted of each group, its home among them, over zones and over nodes.

use std::cmp::Reverse;

use super::balance::{Moves, balance};
use super::board::Board;

/// Replicas that move without loss for the group. If `IS_FREE`, only those that have to be made anyway.
struct Replicas<const IS_FREE: bool>;

impl<const IS_FREE: bool> Moves for Replicas<IS_FREE> {
    fn count(board: &Board, seat: usize) -> usize {
        board.groups_at(seat).len()
    }

    fn find(board: &Board, from: usize, to: usize) -> Option<usize> {
        let can_move = |group: &usize| {
            let is_free = !board.was_at(*group, from) || board.was_at(*group, to);
            (is_free || !IS_FREE) && gain(board, *group, from, to).is_some()
        };
        board.groups_at(from).iter().copied().find(can_move)
    }

    fn run(board: &mut Board, group: usize, from: usize, to: usize) {
        if board.home(group) == Some(from) {
            board.set_home(group, to);
        }
        board.remove(group, from);
        board.insert(group, to);
    }
}

/// The gain of a group whose replica moves from one seat to the other.
#[derive(PartialEq, Eq, PartialOrd, Ord, Clone, Copy)]
enum Gain {
    /// It is the same for the group.
    Even,
    /// It comes to a replica of its home, in a zone that is as good.
    Follows,
    /// Its zones are more even.
    Zone,
}

/// The gain of a move; `None` if it is a loss, or cannot be.
fn gain(board: &Board, group: usize, from: usize, to: usize) -> Option<Gain> {
    if board.replicas(group).contains(&to) {
        return None;
    }
    if board.home(group) == Some(from) && !can_take_home(board, from, to) {
        return None;
    }
    if !board.is_one_zone(from, to) {
        let (before, after) = (board.in_zone_of(group, from), board.in_zone_of(group, to) + 1);
        if before != after {
            return (after < before).then_some(Gain::Zone);
        }
    }
    match (board.follows_home(group, from), board.follows_home(group, to)) {
        (true, false) => None,
        (false, true) => Some(Gain::Follows),
        _ => Some(Gain::Even),
    }
}

/// True if a home may move along with its replica: homes stay as even as they are, and nobody loses whom to follow.
fn can_take_home(board: &Board, from: usize, to: usize) -> bool {
    let is_fewer = board.homes_at(to).len() < board.homes_at(from).len();
    board.can_lead(to) && is_fewer && !board.is_followed(from) && !board.is_followed(to)
}

/// Finds seats for all replicas. Each round either ends it or makes zones, or followers, or counts better without making what comes
/// before worse, so that there is an end to it.
pub(super) fn settle(board: &mut Board) {
    for group in board.rows() {
        while board.excess(group) > 0 {
            drop_one(board, group);
        }
    }
    for group in board.rows() {
        while board.excess(group) < 0 {
            add_one(board, group);
        }
    }
    let seats: Vec<usize> = board.seats().collect();
    loop {
        for group in board.rows() {
            while improve(board, group) {}
        }
        let has_moved = balance::<Replicas<true>>(board, &seats);
        if !balance::<Replicas<false>>(board, &seats) && !has_moved {
            return;
        }
    }
}

fn drop_one(board: &mut Board, group: usize) {
    let possible = board.replicas(group).iter().copied().filter(|seat| board.home(group) != Some(*seat));
    let worst = possible.max_by_key(|seat| {
        let (in_zone, follows) = (board.in_zone_of(group, *seat), board.follows_home(group, *seat));
        (in_zone, !follows, board.groups_at(*seat).len(), Reverse(*seat))
    });
    board.remove(group, worst.expect("there is one replica beside the home, since one is wanted at least"));
}

/// Gives the group one more replica, and returns its seat.
pub(super) fn add_one(board: &mut Board, group: usize) -> usize {
    let possible = board.seats().filter(|seat| !board.replicas(group).contains(seat));
    let best = possible.min_by_key(|seat| {
        let (in_zone, follows) = (board.in_zone_of(group, *seat), board.follows_home(group, *seat));
        (in_zone, !follows, board.groups_at(*seat).len(), *seat)
    });
    let best = best.expect("no more replicas are wanted than there are seats");
    board.insert(group, best);
    best
}

/// Moves one replica of the group to where it is better for it. Returns true if there was one.
fn improve(board: &mut Board, group: usize) -> bool {
    let moves = board.replicas(group).iter().flat_map(|&from| board.seats().map(move |to| (from, to)));
    let gains = moves.filter_map(|(from, to)| {
        let gain = gain(board, group, from, to).filter(|gain| *gain > Gain::Even)?;
        let counts = (board.groups_at(from).len(), Reverse(board.groups_at(to).len()));
        Some(((gain, counts, Reverse((from, to))), (from, to)))
    });
    let Some((_, (from, to))) = gains.max() else { return false };
    Replicas::<false>::run(board, group, from, to);
    true
}
