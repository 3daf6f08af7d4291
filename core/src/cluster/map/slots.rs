//! Slots by ranges.

use std::fmt;

use basalt_storage::keyspace::SLOT_COUNT;

/// Slots that follow each other, at least one.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct SlotRange {
    first: u16,
    last: u16,
}

impl SlotRange {
    /// The slots from `first` to `last`, both included; `None` if there is none, or one does not exist.
    pub fn new(first: u16, last: u16) -> Option<SlotRange> {
        (first <= last && last < SLOT_COUNT).then_some(SlotRange { first, last })
    }

    /// All slots.
    pub fn all() -> SlotRange {
        SlotRange { first: 0, last: SLOT_COUNT - 1 }
    }

    /// The first slot.
    pub fn first(self) -> u16 {
        self.first
    }

    /// The last slot, which is one of the range.
    pub fn last(self) -> u16 {
        self.last
    }

    /// The number of slots.
    pub fn count(self) -> usize {
        usize::from(self.last - self.first) + 1
    }

    /// Every slot, in order.
    pub fn slots(self) -> impl Iterator<Item = u16> + use<> {
        self.first..=self.last
    }
}

/// A range as Redis writes it: `5-7`, or `5` if it is one slot.
impl fmt::Display for SlotRange {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(formatter, "{}", self.first)?;
        if self.last > self.first { write!(formatter, "-{}", self.last) } else { Ok(()) }
    }
}

impl fmt::Debug for SlotRange {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, formatter)
    }
}

/// A set of slots: ranges in order, with a slot between each and the next that is not in the set.
#[derive(Debug, Clone, Default, PartialEq, Eq, Hash)]
pub struct SlotSet(Vec<SlotRange>);

impl SlotSet {
    /// The set of all slots of `ranges`, which may be in any order and overlap.
    pub fn of(ranges: impl IntoIterator<Item = SlotRange>) -> SlotSet {
        let mut ranges: Vec<SlotRange> = ranges.into_iter().collect();
        ranges.sort_unstable();
        let mut set: Vec<SlotRange> = Vec::with_capacity(ranges.len());
        for range in ranges {
            match set.last_mut() {
                Some(before) if range.first <= before.last + 1 => before.last = before.last.max(range.last),
                _ => set.push(range),
            }
        }
        SlotSet(set)
    }

    /// The set of `slots`, in any order.
    pub fn of_slots(slots: impl IntoIterator<Item = u16>) -> SlotSet {
        SlotSet::of(slots.into_iter().map(|slot| {
            assert!(slot < SLOT_COUNT, "slot {slot} does not exist");
            SlotRange { first: slot, last: slot }
        }))
    }

    /// The set that has exactly these ranges; `None` if they are not in order, or two could be one.
    pub fn of_ordered(ranges: Vec<SlotRange>) -> Option<SlotSet> {
        let is_ordered = ranges.windows(2).all(|pair| pair[0].last + 1 < pair[1].first);
        is_ordered.then_some(SlotSet(ranges))
    }

    /// The ranges, in order.
    pub fn ranges(&self) -> &[SlotRange] {
        &self.0
    }

    /// The number of slots.
    pub fn count(&self) -> usize {
        self.0.iter().map(|range| range.count()).sum()
    }

    /// True if there is no slot in it.
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// Every slot, in order.
    pub fn slots(&self) -> impl Iterator<Item = u16> + '_ {
        self.0.iter().flat_map(|range| range.slots())
    }

    /// The set with those of `other` besides.
    pub fn with(&self, other: &SlotSet) -> SlotSet {
        SlotSet::of(self.0.iter().chain(&other.0).copied())
    }

    /// The set without those of `other`.
    pub fn without(&self, other: &SlotSet) -> SlotSet {
        let mut kept = Vec::with_capacity(self.0.len());
        let mut removed = other.0.iter().peekable();
        for &range in &self.0 {
            let mut first = range.first;
            while removed.next_if(|out| out.last < first).is_some() {}
            let mut is_left = true;
            while let Some(&&out) = removed.peek() {
                if out.first > range.last {
                    break;
                }
                if out.first > first {
                    kept.push(SlotRange { first, last: out.first - 1 });
                }
                if out.last >= range.last {
                    is_left = false;
                    break;
                }
                first = out.last + 1;
                removed.next();
            }
            if is_left {
                kept.push(SlotRange { first, last: range.last });
            }
        }
        SlotSet(kept)
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use proptest::prelude::*;

    use super::*;

    fn range(first: u16, last: u16) -> SlotRange {
        SlotRange::new(first, last).unwrap()
    }

    #[test]
    fn ranges_are_what_redis_shows() {
        let set = SlotSet::of_slots([9, 5, 7, 6]);
        assert_eq!(set.ranges(), [range(5, 7), range(9, 9)]);
        assert_eq!(format!("{set:?}"), "SlotSet([5-7, 9])");
        assert_eq!((SlotRange::new(3, 2), SlotRange::new(3, SLOT_COUNT)), (None, None));
        assert_eq!(SlotSet::of([SlotRange::all()]).count(), usize::from(SLOT_COUNT));
        assert!(SlotSet::of_ordered(vec![range(1, 2), range(4, 4)]).is_some());
        for ranges in [[(1, 2), (3, 3)], [(4, 4), (1, 2)], [(1, 4), (2, 6)]] {
            assert_eq!(SlotSet::of_ordered(ranges.map(|(first, last)| range(first, last)).to_vec()), None);
        }
    }

    fn slots() -> impl Strategy<Value = BTreeSet<u16>> {
        prop::collection::btree_set(prop_oneof![0..40u16, SLOT_COUNT - 10..SLOT_COUNT], 0..40)
    }

    proptest! {
        #[test]
        fn sets_are_those_of_their_slots(one in slots(), other in slots()) {
            let set = |slots: &BTreeSet<u16>| SlotSet::of_slots(slots.iter().copied());
            let (a, b) = (set(&one), set(&other));
            prop_assert_eq!(a.slots().collect::<BTreeSet<_>>(), one.clone());
            prop_assert_eq!((a.count(), a.is_empty()), (one.len(), one.is_empty()));
            prop_assert_eq!(a.with(&b), set(&(&one | &other)));
            prop_assert_eq!(a.without(&b), set(&(&one - &other)));
            prop_assert_eq!(SlotSet::of_ordered(a.ranges().to_vec()), Some(a));
        }
    }
}
