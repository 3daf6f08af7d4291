//! Requests of other cores that wait with the core of a shard which takes no more right now.
//!
//! What a newcomer would get wrong: they must leave the mailbox, where they would hold up what came behind them for other shards.
//! They keep their order here, and no later request for the same shard may overtake them but a plain read, whose connection has no
//! write among them. When there is much, the other cores are told, and send nothing more for this shard until there is little.

use std::collections::VecDeque;

use crate::entry::request::Mode;
use crate::ids::{Origin, ShardId};
use crate::limits;
use crate::mail::Takes;

/// A request that was set aside.
#[derive(Debug)]
pub struct Aside {
    /// The client that waits for its reply.
    pub origin: Origin,
    /// The way it is run.
    pub mode: Mode,
    /// The command, as `request::encode` writes it.
    pub bytes: Box<[u8]>,
}

/// Requests of other cores for the shards of one core, in the order they came for each shard.
#[derive(Debug, Default)]
pub struct SetAside {
    /// By shard, as far as anything was set aside.
    queues: Vec<Queue>,
    count: usize,
    bytes: usize,
    /// True since so much was set aside for all shards together that many of them must have stopped at once, as those do that share
    /// a log; until it is half of that.
    is_crowded: bool,
    changes: Vec<(ShardId, Takes)>,
}

/// Requests set aside for one shard.
#[derive(Debug, Default)]
struct Queue {
    requests: VecDeque<Aside>,
    bytes: usize,
    plain_reads: usize,
    /// The word that the other cores were told.
    told: Takes,
}

impl Queue {
    /// The word that the others should be told: much is not little before a part of it is left, so that they are not told all the
    /// time. If all shards together have much, each may have a small share of that only.
    fn takes(&self, is_crowded: bool) -> Takes {
        let crowd = if is_crowded { limits::ASIDE_CROWD_SHARE } else { 1 };
        let share = crowd * if self.told == Takes::All { 1 } else { limits::ASIDE_LITTLE_SHARE };
        let is_much = self.is_above(limits::ASIDE_REQUESTS_MUCH / share, limits::ASIDE_BYTES_MUCH / share);
        match (is_much, self.plain_reads) {
            (false, _) => Takes::All,
            (true, 0) => Takes::Reads,
            (true, _) => Takes::Nothing,
        }
    }

    fn is_above(&self, requests: usize, bytes: usize) -> bool {
        self.requests.len() >= requests || self.bytes >= bytes
    }
}

impl SetAside {
    /// Returns whether nothing is set aside.
    pub fn is_empty(&self) -> bool {
        self.count == 0
    }

    /// Returns whether so much is set aside for all shards together that no more requests of other cores should be taken at all.
    pub fn is_full(&self) -> bool {
        self.count >= limits::ASIDE_REQUESTS_MAX || self.bytes >= limits::ASIDE_BYTES_MAX
    }

    /// Returns whether a request of `mode` for `shard` has to wait behind what is set aside for it.
    pub fn is_ahead_of(&self, shard: ShardId, mode: Mode) -> bool {
        if self.count == 0 {
            return false;
        }
        let Some(queue) = self.queues.get(shard.index()) else { return false };
        // A connection that has sent a write which is not answered sends no plain reads; but one that has sent a plain read may
        // send more of them, and they must not see less than the first.
        if mode.is_plain_read() { queue.plain_reads > 0 } else { !queue.requests.is_empty() }
    }

    /// Sets a request for `shard` aside.
    pub fn push(&mut self, shard: ShardId, origin: Origin, mode: Mode, bytes: &[u8]) {
        self.count += 1;
        self.bytes += bytes.len();
        if self.queues.len() <= shard.index() {
            self.queues.resize_with(shard.index() + 1, Queue::default);
        }
        let queue = &mut self.queues[shard.index()];
        queue.bytes += bytes.len();
        queue.plain_reads += usize::from(mode.is_plain_read());
        queue.requests.push_back(Aside { origin, mode, bytes: bytes.into() });
        self.look(shard);
    }

    /// The oldest request for `shard`.
    pub fn front(&self, shard: ShardId) -> Option<&Aside> {
        self.queues.get(shard.index())?.requests.front()
    }

    /// Takes the oldest request for `shard`, if `runs` says that it can be run.
    pub fn pop_if(&mut self, shard: ShardId, runs: impl FnOnce(&Aside) -> bool) -> Option<Aside> {
        let queue = self.queues.get_mut(shard.index())?;
        queue.requests.front().filter(|request| runs(request))?;
        let request = queue.requests.pop_front()?;
        queue.bytes -= request.bytes.len();
        queue.plain_reads -= usize::from(request.mode.is_plain_read());
        if queue.requests.is_empty() {
            queue.requests = VecDeque::new();
        }
        self.count -= 1;
        self.bytes -= request.bytes.len();
        self.look(shard);
        Some(request)
    }

    fn look(&mut self, shard: ShardId) {
        let part = if self.is_crowded { 2 * limits::ASIDE_CROWDED_PART } else { limits::ASIDE_CROWDED_PART };
        let is_crowded =
            self.count >= limits::ASIDE_REQUESTS_MAX / part || self.bytes >= limits::ASIDE_BYTES_MAX / part;
        self.is_crowded = is_crowded;
        let queue = &mut self.queues[shard.index()];
        let takes = queue.takes(is_crowded);
        if takes != queue.told {
            queue.told = takes;
            self.changes.push((shard, takes));
        }
    }

    /// Takes the words that the other cores must be told of the shards since this was last asked.
    pub fn changes(&mut self) -> impl Iterator<Item = (ShardId, Takes)> {
        self.changes.drain(..)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::ids::{CoreId, Ticket};

    const SHARD: ShardId = ShardId(1);

    fn origin(ticket: u32) -> Origin {
        Origin { core: CoreId(0), client: 1, ticket: Ticket(ticket) }
    }

    #[test]
    fn nothing_overtakes_what_is_set_aside_for_the_same_shard_but_plain_reads_among_writes() {
        let mut aside = SetAside::default();
        aside.push(SHARD, origin(0), Mode::Write, b"SET");
        for (mode, waits) in [(Mode::Write, true), (Mode::ReadInOrder, true), (Mode::Read, false)] {
            assert_eq!(aside.is_ahead_of(SHARD, mode), waits, "{mode:?} behind a write");
            assert!(!aside.is_ahead_of(ShardId(0), mode), "{mode:?} of another shard");
        }
        aside.push(SHARD, origin(1), Mode::Read, b"GET");
        assert!(aside.is_ahead_of(SHARD, Mode::Read), "behind a plain read");
        assert!(aside.pop_if(SHARD, |request| request.mode == Mode::Read).is_none(), "the first is no read");
        let tickets: Vec<u32> =
            std::iter::from_fn(|| aside.pop_if(SHARD, |_| true)).map(|request| request.origin.ticket.0).collect();
        assert_eq!((tickets, aside.is_empty(), aside.bytes), (vec![0, 1], true, 0));
        assert!(!aside.is_ahead_of(SHARD, Mode::Write));
    }

    #[test]
    fn others_are_told_of_much_and_of_little_and_not_in_between() {
        for (count, bytes) in [(limits::ASIDE_REQUESTS_MUCH, 1), (8, limits::ASIDE_BYTES_MUCH / 8)] {
            let (mut aside, value) = (SetAside::default(), vec![0; bytes]);
            for ticket in 0..count as u32 {
                assert_eq!(aside.changes().count(), 0, "{ticket} of {count}");
                aside.push(SHARD, origin(ticket), Mode::Write, &value);
            }
            assert_eq!(aside.changes().collect::<Vec<_>>(), [(SHARD, Takes::Reads)]);
            aside.push(SHARD, origin(0), Mode::Read, &[]);
            assert_eq!(aside.changes().collect::<Vec<_>>(), [(SHARD, Takes::Nothing)]);
            while aside.pop_if(SHARD, |request| request.mode == Mode::Write).is_some() {
                let left = aside.queues[SHARD.index()].requests.len();
                let told: Vec<_> = aside.changes().collect();
                assert!(told.is_empty() || left <= count / limits::ASIDE_LITTLE_SHARE, "{told:?} with {left}");
            }
            assert_eq!(aside.queues[SHARD.index()].told, Takes::All);
        }
    }

    #[test]
    fn as_many_shards_as_a_node_has_may_stop_at_once_and_leave_room_for_reads() {
        for (name, bytes) in [("small", 1), ("large", 2000)] {
            let (mut aside, value) = (SetAside::default(), vec![0; bytes]);
            let shards = || (0..limits::SHARDS_MAX as u16).map(ShardId);
            // Each core sends until it is told to send no more.
            let mut is_told = vec![false; limits::SHARDS_MAX];
            while let Some(shard) = shards().find(|shard| !is_told[shard.index()]) {
                aside.push(shard, origin(0), Mode::Write, &value);
                aside.changes().for_each(|(shard, takes)| is_told[shard.index()] = takes != Takes::All);
                assert!(!aside.is_full(), "{name}: {} bytes for {shard:?}", aside.bytes);
            }
            // Whoever has no more is sent everything again.
            for shard in shards() {
                while aside.pop_if(shard, |_| true).is_some() {}
                assert_eq!(aside.changes().last(), Some((shard, Takes::All)), "{name}");
            }
            assert!(aside.is_empty());
        }
    }

    #[test]
    fn what_is_set_aside_is_bounded_for_all_shards_together() {
        let shard_count = 1 + limits::ASIDE_BYTES_MAX / limits::ASIDE_BYTES_MUCH;
        let (mut aside, value) = (SetAside::default(), vec![0; limits::ASIDE_BYTES_MUCH]);
        let taken = (0..shard_count as u16).take_while(|&shard| {
            aside.push(ShardId(shard), origin(0), Mode::Write, &value);
            !aside.is_full()
        });
        assert_eq!(taken.count(), limits::ASIDE_BYTES_MAX / limits::ASIDE_BYTES_MUCH - 1);
    }
}
