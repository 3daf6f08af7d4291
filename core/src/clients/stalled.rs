//! Connections that are not decoded any further for want of room, by what they wait for.
//!
//! What a newcomer would get wrong: a shard that takes no more holds up the connections that ask it for something, and no others.
//! So a connection is decoded up to the command that finds no room, and waits for the shard of that command; the core goes on with
//! the rest.

use std::collections::{BTreeMap, VecDeque};

use basalt_net::ring::ConnId;

use crate::entry::request::Mode;
use crate::ids::ShardId;

/// Outcome of an attempt to start a command.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Started {
    Yes,
    /// Not before the replies to all before it are there.
    WaitsForReplies,
    /// Not before this shard has room for a request of this mode.
    WaitsForShard(ShardId, Mode),
    /// Not before fewer published messages are on their way.
    WaitsForFanout,
    /// Not before the pause of clients ends.
    WaitsForPause,
}

/// The shard whose room a connection waits for, and its place among those that wait for the same.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct WaitsFor {
    shard: ShardId,
    mode: Mode,
    place: u64,
}

impl WaitsFor {
    /// Returns whether it waits with a read that must see unanswered writes of its connection, to whatever shard.
    pub fn is_read_in_order(&self) -> bool {
        self.mode == Mode::ReadInOrder
    }
}

/// The connections of a core that wait for room.
///
/// Each stands here once for each shard that it waits for, which is one; who closes leaves. So this is bounded by `maxclients`.
#[derive(Debug, Default)]
pub struct Stalled {
    /// Those that may have room again.
    ready: VecDeque<ConnId>,
    /// By shard, those that wait for it, in the order they came.
    waiting: Vec<Waiting>,
    waiting_count: usize,
    next_place: u64,
}

/// Those that wait for one shard. Plain reads need less, and must not wait behind what needs more.
#[derive(Debug, Default)]
struct Waiting {
    reads: BTreeMap<u64, ConnId>,
    others: BTreeMap<u64, ConnId>,
}

impl Waiting {
    fn of(&mut self, mode: Mode) -> &mut BTreeMap<u64, ConnId> {
        if mode.is_plain_read() { &mut self.reads } else { &mut self.others }
    }
}

impl Stalled {
    /// Returns whether no connection may have room again, and none waits for a shard.
    pub fn is_empty(&self) -> bool {
        self.ready.is_empty() && self.waiting_count == 0
    }

    /// Notes that `connection` may have room again, or must be looked at for another reason.
    pub fn push(&mut self, connection: ConnId) {
        self.ready.push_back(connection);
    }

    /// Returns the number of connections that may have room again.
    pub fn ready_count(&self) -> usize {
        self.ready.len()
    }

    /// The next of them.
    pub fn pop(&mut self) -> Option<ConnId> {
        self.ready.pop_front()
    }

    /// Has `connection` wait until `shard` has room for a request of `mode`; returns what it must leave with if it closes before.
    pub fn wait(&mut self, connection: ConnId, shard: ShardId, mode: Mode) -> WaitsFor {
        let place = self.next_place;
        self.next_place += 1;
        self.waiting_count += 1;
        if self.waiting.len() <= shard.index() {
            self.waiting.resize_with(shard.index() + 1, Waiting::default);
        }
        self.waiting[shard.index()].of(mode).insert(place, connection);
        WaitsFor { shard, mode, place }
    }

    /// Forgets a connection that waits no more.
    pub fn leave(&mut self, waits_for: WaitsFor) {
        let left = self.waiting[waits_for.shard.index()].of(waits_for.mode).remove(&waits_for.place);
        self.waiting_count -= usize::from(left.is_some());
    }

    /// Returns whether some connection waits for a shard.
    pub fn has_waiting(&self) -> bool {
        self.waiting_count > 0
    }

    /// The shards that connections wait for, the modes of the requests they have for them, and how many they are.
    pub fn waiting(&self) -> impl Iterator<Item = (ShardId, Mode, usize)> {
        let shards = if self.waiting_count > 0 { &self.waiting[..] } else { &[] };
        shards
            .iter()
            .enumerate()
            .flat_map(|(shard, waiting)| {
                let shard = ShardId(shard as u16);
                [(shard, Mode::Read, waiting.reads.len()), (shard, Mode::Write, waiting.others.len())]
            })
            .filter(|&(_, _, count)| count > 0)
    }

    /// The connection that has waited longest for `shard` to have room for a request of `mode`; it waits no more.
    pub fn pop_waiting(&mut self, shard: ShardId, mode: Mode) -> Option<ConnId> {
        let (_, connection) = self.waiting.get_mut(shard.index())?.of(mode).pop_first()?;
        self.waiting_count -= 1;
        Some(connection)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const SHARD: ShardId = ShardId(1);

    #[test]
    fn who_waits_for_a_shard_has_its_turn_in_the_order_they_came_and_who_leaves_has_none() {
        let mut stalled = Stalled::default();
        let places = [Mode::Write, Mode::ReadInOrder, Mode::Read, Mode::Write]
            .map(|mode| stalled.wait(ConnId::default(), SHARD, mode));
        assert_eq!(places.map(|waits_for| waits_for.place), [0, 1, 2, 3]);
        stalled.leave(places[0]);
        stalled.leave(places[0]);
        let waiting: Vec<_> = stalled.waiting().collect();
        assert_eq!(waiting, [(SHARD, Mode::Read, 1), (SHARD, Mode::Write, 2)]);
        assert!(stalled.pop_waiting(ShardId(0), Mode::Write).is_none());
        for mode in [Mode::Write, Mode::ReadInOrder, Mode::Read] {
            assert!(stalled.has_waiting() && stalled.pop_waiting(SHARD, mode).is_some());
        }
        assert!(stalled.is_empty() && stalled.waiting().next().is_none());
    }
}
