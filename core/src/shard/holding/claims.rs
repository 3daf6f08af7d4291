//! One thing that may be held: how many hold it, and the places of those who wait for it.

use std::collections::BTreeSet;

use super::BEHIND_WAITERS;

/// Those who hold one thing.
#[derive(Debug, Default, Clone, Copy, PartialEq, Eq)]
pub(super) struct Holders {
    pub(super) shared: u32,
    pub(super) exclusive: u32,
    /// Those of them of whom nobody knows when they let go.
    pub(super) stuck: u32,
}

impl Holders {
    pub(super) fn count(&mut self, is_exclusive: bool) -> &mut u32 {
        if is_exclusive { &mut self.exclusive } else { &mut self.shared }
    }

    /// Returns whether somebody else cannot have it, exclusively or not.
    pub(super) fn bars(self, is_exclusive: bool) -> bool {
        self.exclusive > 0 || (is_exclusive && self.shared > 0)
    }

    pub(super) fn and(self, other: Holders) -> Holders {
        Holders {
            shared: self.shared + other.shared,
            exclusive: self.exclusive + other.exclusive,
            stuck: self.stuck + other.stuck,
        }
    }
}

/// Places of those who want a thing, by the way in which they do.
#[derive(Debug, Default)]
pub(super) struct Places {
    pub(super) shared: BTreeSet<u64>,
    pub(super) exclusive: BTreeSet<u64>,
}

impl Places {
    pub(super) fn of(&mut self, is_exclusive: bool) -> &mut BTreeSet<u64> {
        if is_exclusive { &mut self.exclusive } else { &mut self.shared }
    }

    pub(super) fn first(&self, is_exclusive: bool) -> u64 {
        self.first_from(is_exclusive, 0)
    }

    fn first_from(&self, is_exclusive: bool, from: u64) -> u64 {
        let of_way = if is_exclusive { &self.exclusive } else { &self.shared };
        let first = if from == 0 { of_way.first() } else { of_way.range(from..).next() };
        first.copied().unwrap_or(u64::MAX)
    }

    pub(super) fn is_empty(&self) -> bool {
        self.shared.is_empty() && self.exclusive.is_empty()
    }

    pub(super) fn remove(&mut self, place: u64) {
        self.shared.remove(&place);
        self.exclusive.remove(&place);
    }
}

/// Those who hold one thing, and those who wait for it.
#[derive(Debug, Default)]
pub(super) struct Claims {
    pub(super) holders: Holders,
    pub(super) transactions: Places,
    pub(super) clients: Places,
    /// Those clients, all of which claim it, that are parked here.
    pub(super) parked: Places,
    /// True while it is noted that some of them may go on.
    pub(super) is_ready: bool,
}

impl Claims {
    /// Returns whether nobody holds it or waits for it.
    pub(super) fn is_empty(&self) -> bool {
        self.holders == Holders::default() && self.transactions.is_empty() && self.clients.is_empty()
    }

    /// The first place of those who want it exclusively or not, and keep others from it: those who wait for elements do not while
    /// nobody knows when it is let go of.
    pub(super) fn first(&self, is_exclusive: bool) -> u64 {
        let from = if self.holders.stuck > 0 { BEHIND_WAITERS } else { 0 };
        let client = self.clients.first_from(is_exclusive, from);
        self.transactions.first(is_exclusive).min(client)
    }

    /// Returns whether somebody waits before `place` whom nobody passes that wants it, exclusively or not.
    pub(super) fn bars_at(&self, is_exclusive: bool, place: u64) -> bool {
        self.first(true) < place || (is_exclusive && self.first(false) < place)
    }

    /// The first of those parked here for whom `holders` leave room.
    pub(super) fn first_free(&self, holders: Holders) -> Option<u64> {
        let free = |is_exclusive| if holders.bars(is_exclusive) { u64::MAX } else { self.parked.first(is_exclusive) };
        Some(free(false).min(free(true))).filter(|place| *place < u64::MAX)
    }
}
