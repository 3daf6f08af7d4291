//! Chains of moves that make counts even.
//!
//! Something moves from the fullest seat to the emptiest one that it can reach: at once, or by way of other seats, each of which
//! hands on as much as it gets. Each chain takes one from a seat that has at least two more than the last one of the chain, so that
//! there is an end to it.

use super::board::Board;

/// Steps of one kind: homes that change their seat, or replicas.
pub(super) trait Moves {
    /// The number that is to be even.
    fn count(board: &Board, seat: usize) -> usize;

    /// The group that can move from one seat to the other, if there is one.
    fn find(board: &Board, from: usize, to: usize) -> Option<usize>;

    /// Moves that group.
    fn run(board: &mut Board, group: usize, from: usize, to: usize);
}

/// Makes the counts of `seats` as even as moves can make them. Returns true if anything has moved.
pub(super) fn balance<M: Moves>(board: &mut Board, seats: &[usize]) -> bool {
    let mut has_moved = false;
    while run_one_chain::<M>(board, seats) {
        has_moved = true;
    }
    has_moved
}

fn run_one_chain<M: Moves>(board: &mut Board, seats: &[usize]) -> bool {
    let Some(least) = seats.iter().map(|seat| M::count(board, *seat)).min() else { return false };
    let mut sources = seats.to_vec();
    sources.sort_by_key(|seat| (std::cmp::Reverse(M::count(board, *seat)), *seat));
    // Seats from which nothing better is reached: neither do those behind them, which have no more.
    let mut settled = vec![false; board.seats().len()];
    for source in sources {
        let count = M::count(board, source);
        if count < least + 2 {
            return false;
        }
        if settled[source] {
            continue;
        }
        let reached = Reached::from::<M>(board, seats, source, least);
        let best = reached.order.iter().copied().min_by_key(|seat| M::count(board, *seat)).unwrap_or(source);
        if count >= M::count(board, best) + 2 && run_chain::<M>(board, &reached.chain(source, best)) {
            return true;
        }
        reached.order.iter().for_each(|seat| settled[*seat] = true);
    }
    false
}

/// The seats that something on one seat can reach, the nearest first.
struct Reached {
    order: Vec<usize>,
    before: Vec<Option<usize>>,
}

impl Reached {
    /// Looks around from `source`, until a seat with `least` is found.
    fn from<M: Moves>(board: &Board, seats: &[usize], source: usize, least: usize) -> Reached {
        let mut reached = Reached { order: vec![source], before: vec![None; board.seats().len()] };
        let mut looked = 0;
        while let Some(&from) = reached.order.get(looked) {
            looked += 1;
            for &to in seats {
                let is_new = to != source && reached.before[to].is_none();
                if is_new && M::find(board, from, to).is_some() {
                    reached.before[to] = Some(from);
                    reached.order.push(to);
                    if M::count(board, to) == least {
                        return reached;
                    }
                }
            }
        }
        reached
    }

    /// The steps from `source` to `end`, in their order.
    fn chain(&self, source: usize, end: usize) -> Vec<(usize, usize)> {
        let mut steps = Vec::new();
        let mut to = end;
        while to != source {
            let from = self.before[to].expect("it was reached");
            steps.push((from, to));
            to = from;
        }
        steps.reverse();
        steps
    }
}

/// Runs the steps, or none: one may stand in the way of the next if both move the same group.
fn run_chain<M: Moves>(board: &mut Board, steps: &[(usize, usize)]) -> bool {
    let mut done = Vec::with_capacity(steps.len());
    for &(from, to) in steps {
        let Some(group) = M::find(board, from, to) else {
            for (group, from, to) in done.into_iter().rev() {
                M::run(board, group, to, from);
            }
            return false;
        };
        M::run(board, group, from, to);
        done.push((group, from, to));
    }
    true
}
