//! Members that a search has found, until all are, and those among them that were asked for.
//!
//! What a newcomer would get wrong: to tell the nearest ten of ten million members, not all of them may be kept. So beyond some
//! thousands those are dropped that are certainly not among the ones asked for. Members that are equally far then come in the order
//! in which they were found; of fewer, in that of Redis.

use std::cmp::Ordering;

use super::cell::Position;
use super::query::Order;
use crate::commands::partial_sort::partial_sort;
use crate::limits;

/// A member within the area of a search.
#[derive(Debug, Clone, PartialEq)]
pub(super) struct Match {
    pub(super) member: Box<[u8]>,
    pub(super) score: f64,
    pub(super) position: Position,
    /// The distance from the center, in metres.
    pub(super) distance: f64,
    /// The number of members that were found before it.
    number: u64,
}

/// Members that were found.
pub(super) struct Matches {
    order: Option<Order>,
    /// Members that are wanted, if not all.
    count: Option<usize>,
    found: Vec<Match>,
    found_count: u64,
    /// Bytes that those which are kept take in a reply, at least.
    bytes: usize,
    has_dropped: bool,
}

/// Bytes that a member takes in a reply, at least: its name, and what is around it.
fn replied_bytes(member: &[u8]) -> usize {
    member.len() + 6
}

fn compare(order: Order, one: &Match, other: &Match) -> Ordering {
    let nearest = one.distance.partial_cmp(&other.distance).expect("a distance is a number");
    if order == Order::Nearest { nearest } else { nearest.reverse() }
}

impl Matches {
    pub(super) fn new(order: Option<Order>, count: Option<usize>) -> Matches {
        Matches { order, count, found: Vec::new(), found_count: 0, bytes: 0, has_dropped: false }
    }

    pub(super) fn len(&self) -> usize {
        self.found.len()
    }

    /// Bytes that those which are kept take in a reply, at least.
    pub(super) fn bytes(&self) -> usize {
        self.bytes
    }

    pub(super) fn add(&mut self, member: &[u8], score: f64, position: Position, distance: f64) {
        self.found.push(Match { member: member.into(), score, position, distance, number: self.found_count });
        self.found_count += 1;
        self.bytes += replied_bytes(member);
        let Some((order, count)) = self.order.zip(self.count) else { return };
        if self.found.len() >= limits::GEO_MATCHES_KEPT && self.found.len() / 2 >= count {
            let by_order = |one: &Match, other: &Match| compare(order, one, other).then(one.number.cmp(&other.number));
            self.found.select_nth_unstable_by(count - 1, by_order);
            self.found.truncate(count);
            self.bytes = self.found.iter().map(|found| replied_bytes(&found.member)).sum();
            self.has_dropped = true;
        }
    }

    /// Those that were asked for, in the order asked for.
    pub(super) fn into_result(mut self) -> Vec<Match> {
        let wanted = self.count.map_or(self.found.len(), |count| count.min(self.found.len()));
        if let Some(order) = self.order {
            if self.has_dropped {
                self.found.sort_unstable_by_key(|found| found.number);
                self.found.sort_by(|one, other| compare(order, one, other));
            } else if wanted == self.found.len() {
                self.found.sort_by(|one, other| compare(order, one, other));
            } else if wanted > 0 {
                partial_sort(&mut self.found, 0..wanted, &mut |one, other| compare(order, one, other));
            }
        }
        self.found.truncate(wanted);
        self.found
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::commands::Random;

    #[test]
    fn the_nearest_are_found_though_others_are_dropped() {
        let total = 3 * limits::GEO_MATCHES_KEPT;
        for order in [Order::Nearest, Order::Farthest] {
            let (mut random, mut matches, mut all) = (Random::new(9), Matches::new(Some(order), Some(100)), Vec::new());
            let position = Position { longitude: 0.0, latitude: 0.0 };
            for number in 0..total {
                let distance = random.below(total as u64 / 4) as f64;
                matches.add(number.to_string().as_bytes(), 0.0, position, distance);
                assert!(matches.len() <= limits::GEO_MATCHES_KEPT);
                all.push((distance, number));
            }
            all.sort_by(|one, other| {
                let nearest = one.0.total_cmp(&other.0);
                if order == Order::Nearest { nearest } else { nearest.reverse() }
            });
            let found: Vec<Vec<u8>> = matches.into_result().into_iter().map(|found| found.member.into()).collect();
            let expected: Vec<Vec<u8>> = all[..100].iter().map(|(_, number)| number.to_string().into()).collect();
            assert_eq!(found, expected);
        }
    }
}
