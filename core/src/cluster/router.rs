//! The way from a key to its shard, and from a shard to the core that runs it.

use std::collections::BTreeSet;

use basalt_storage::keyspace::{SLOT_COUNT, Slot};

use crate::ids::{CoreId, ShardId};

/// The mark of a slot that no shard of this node has, and of a shard that is not there.
const NONE: u16 = u16::MAX;

/// The node's routing table: which of its shards has which slots. It does not change; where shards come and go there is a new one.
#[derive(Debug, Clone)]
pub struct Router {
    core_count: u16,
    /// By shard; [`NONE`] where there is no such shard.
    lane_of_shard: Box<[u16]>,
    /// All shards, in their order.
    all_shards: Box<[ShardId]>,
    /// Those of them that requests are for: all that no other node leads.
    shards: Box<[ShardId]>,
    /// [`NONE`] where another node has the slot, or nobody.
    shard_of_slot: Box<[u16]>,
    /// The shard that has all slots, if one has.
    only: Option<ShardId>,
}

impl Router {
    /// The table of a node alone with `shard_count` shards on `core_count` cores, each shard in a lane of its own.
    ///
    /// # Panics
    /// If either is 0 or there are more shards than slots.
    #[cfg(any(test, feature = "internals"))]
    pub fn new(shard_count: u16, core_count: u16) -> Router {
        Router::with_lanes((0..shard_count).map(|index| (index, index)).collect(), core_count)
    }

    /// The table of a node alone on `core_count` cores, given each of its shards, from 0 on, with its lane: each has one range of
    /// slots of equal size.
    ///
    /// # Panics
    /// If there is no core or no shard, or there are more shards than slots.
    pub fn with_lanes(lanes: Vec<(u16, u16)>, core_count: u16) -> Router {
        let shard_count = u16::try_from(lanes.len()).expect("there are fewer shards than slots");
        assert!(shard_count > 0, "a node alone has at least one shard");
        assert!(shard_count <= SLOT_COUNT, "a shard without a slot would hold nothing");
        let slots = (0..SLOT_COUNT).map(|slot| (slot, ShardId(Router::dealt(slot, shard_count))));
        Router::with_slots(&lanes, &BTreeSet::new(), slots, core_count)
    }

    /// The table of a node that has these shards, each with its lane, and of these slots each in one of them.
    ///
    /// # Panics
    /// If there is no core, or a slot is in a shard that is not there.
    pub fn with_slots(
        lanes: &[(u16, u16)],
        followers: &BTreeSet<u16>,
        slots: impl Iterator<Item = (u16, ShardId)>,
        core_count: u16,
    ) -> Router {
        assert!(core_count > 0, "a node has at least one core");
        let end = lanes.iter().map(|(shard, _)| usize::from(*shard) + 1).max().unwrap_or(0);
        let mut lane_of_shard = vec![NONE; end];
        for &(shard, lane) in lanes {
            lane_of_shard[usize::from(shard)] = lane;
        }
        let mut shard_of_slot = vec![NONE; usize::from(SLOT_COUNT)];
        for (slot, shard) in slots {
            assert!(lane_of_shard[shard.index()] != NONE, "slot {slot} is in shard {shard}, which is not there");
            shard_of_slot[usize::from(slot)] = shard.0;
        }
        let mut all_shards: Vec<ShardId> = lanes.iter().map(|(shard, _)| ShardId(*shard)).collect();
        all_shards.sort_unstable();
        let shards: Vec<ShardId> = all_shards.iter().copied().filter(|shard| !followers.contains(&shard.0)).collect();
        let first = shard_of_slot[0];
        let only = (first != NONE && shard_of_slot.iter().all(|shard| *shard == first)).then_some(ShardId(first));
        Router {
            core_count,
            lane_of_shard: lane_of_shard.into(),
            all_shards: all_shards.into(),
            shards: shards.into(),
            shard_of_slot: shard_of_slot.into(),
            only,
        }
    }

    /// The one of `shard_count` shards to which `slot` is dealt on a node alone.
    pub fn dealt(slot: u16, shard_count: u16) -> u16 {
        (u32::from(slot) * u32::from(shard_count) / u32::from(SLOT_COUNT)) as u16
    }

    /// The shard that has `key`, on a node that has all slots, or at least that of `key`.
    pub fn shard_of(&self, key: &[u8]) -> ShardId {
        match self.only {
            Some(shard) => shard,
            None => ShardId(self.shard_of_slot[Slot::of(key).index() as usize]),
        }
    }

    /// The shard that has `slot`, if one of this node has.
    pub fn shard_of_slot(&self, slot: Slot) -> Option<ShardId> {
        Some(self.shard_of_slot[slot.index() as usize]).filter(|shard| *shard != NONE).map(ShardId)
    }

    /// True if all keys of this node that requests are for are in one shard.
    pub fn is_whole(&self) -> bool {
        self.shards.len() == 1
    }

    /// The core that runs `shard`, if there is such a shard: that of its lane.
    pub fn core_of(&self, shard: ShardId) -> Option<CoreId> {
        let lane = self.lane_of_shard.get(shard.index()).filter(|lane| **lane != NONE)?;
        Some(self.core_of_lane(*lane))
    }

    /// The core that runs the shards of a lane. Lanes are dealt round, so that a node may restart with another number of cores.
    pub fn core_of_lane(&self, lane: u16) -> CoreId {
        CoreId(lane % self.core_count)
    }

    /// The lane of `shard`.
    ///
    /// # Panics
    /// If there is no such shard.
    pub fn lane_of(&self, shard: ShardId) -> u16 {
        let lane = self.lane_of_shard[shard.index()];
        assert!(lane != NONE, "there is no shard {shard}");
        lane
    }

    /// The number of lanes; as many as shards if each has a log of its own.
    #[cfg(test)]
    pub fn lane_count(&self) -> u16 {
        self.shards().map(|shard| self.lane_of(shard) + 1).max().unwrap_or(0)
    }

    /// Every shard of the node, in their order, those included that other nodes lead.
    pub fn all_shards(&self) -> impl ExactSizeIterator<Item = ShardId> + '_ {
        self.all_shards.iter().copied()
    }

    /// Every shard of the node that requests are for, in their order.
    pub fn shards(&self) -> impl ExactSizeIterator<Item = ShardId> + '_ {
        self.shards.iter().copied()
    }

    /// The shard that requests are for that comes first, if there is one.
    pub fn first_shard(&self) -> Option<ShardId> {
        self.shards.first().copied()
    }

    /// Returns the number of shards that requests are for.
    pub fn shard_count(&self) -> u16 {
        self.shards.len() as u16
    }

    /// From this number on there are no shards.
    pub fn shard_end(&self) -> u16 {
        self.lane_of_shard.len() as u16
    }

    /// The shard that requests are for with the number `from`, or the next one that there is.
    pub fn shard_from(&self, from: u16) -> Option<ShardId> {
        self.shards.get(self.shards.partition_point(|shard| shard.0 < from)).copied()
    }

    /// Returns the number of cores.
    pub fn core_count(&self) -> u16 {
        self.core_count
    }

    /// The shards `core` runs.
    #[cfg(test)]
    pub fn shards_of(&self, core: CoreId) -> impl Iterator<Item = ShardId> {
        self.shards().filter(move |shard| self.core_of(*shard) == Some(core))
    }

    /// The slots of `shard` on a node alone: first and one past the last.
    pub fn slots_of(&self, shard: ShardId) -> std::ops::Range<u16> {
        let count = u32::from(self.shard_count());
        let first = |shard: u32| (shard * u32::from(SLOT_COUNT)).div_ceil(count) as u16;
        first(u32::from(shard.0))..first(u32::from(shard.0) + 1)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_slot_has_the_shard_whose_range_holds_it() {
        for shard_count in [1, 2, 3, 7, 16, 1000] {
            let router = Router::new(shard_count, 4);
            for shard in router.shards() {
                for slot in router.slots_of(shard) {
                    assert_eq!(router.shard_of_slot(Slot::new(slot)), Some(shard), "{shard_count} shards, slot {slot}");
                }
            }
            assert_eq!(router.shards().map(|shard| router.slots_of(shard).len()).sum::<usize>(), SLOT_COUNT as usize);
        }
    }

    #[test]
    fn the_shards_of_a_lane_run_on_the_same_core_however_many_cores_there_are() {
        for cores in 1..6 {
            let lanes = vec![0, 1, 2, 0, 1, 2, 0];
            let router = Router::with_lanes((0..).zip(lanes).collect(), cores);
            assert_eq!((router.lane_count(), router.shard_count()), (3, 7));
            for (shard, lane) in [(0, 0), (3, 0), (6, 0), (1, 1), (4, 1), (2, 2), (5, 2)] {
                assert_eq!(
                    router.core_of(ShardId(shard)),
                    Some(CoreId(lane % cores)),
                    "shard {shard} on {cores} cores"
                );
            }
        }
    }

    #[test]
    fn every_shard_runs_on_one_core() {
        let router = Router::new(5, 2);
        let mut shards: Vec<_> = [CoreId(0), CoreId(1)].into_iter().flat_map(|core| router.shards_of(core)).collect();
        shards.sort();
        assert_eq!(shards, router.shards().collect::<Vec<_>>());
        assert!(router.shards_of(CoreId(1)).all(|shard| router.core_of(shard) == Some(CoreId(1))));
    }

    #[test]
    fn a_node_may_have_some_slots_and_shards_that_do_not_follow_each_other_or_none() {
        let slots = (0..100).map(|slot| (slot, ShardId(3))).chain((100..150).map(|slot| (slot, ShardId(1))));
        let router = Router::with_slots(&[(3, 1), (1, 0)], &BTreeSet::new(), slots, 2);
        assert_eq!(router.shards().collect::<Vec<_>>(), [ShardId(1), ShardId(3)]);
        assert_eq!((router.shard_count(), router.shard_end(), router.first_shard()), (2, 4, Some(ShardId(1))));
        for (slot, shard) in [(0, Some(3)), (99, Some(3)), (100, Some(1)), (149, Some(1)), (150, None), (16383, None)] {
            assert_eq!(router.shard_of_slot(Slot::new(slot)), shard.map(ShardId), "{slot}");
        }
        for (from, shard) in [(0, Some(1)), (1, Some(1)), (2, Some(3)), (3, Some(3)), (4, None)] {
            assert_eq!(router.shard_from(from), shard.map(ShardId), "{from}");
        }
        let cores = [3, 1, 0, 7].map(|shard| router.core_of(ShardId(shard)));
        assert_eq!(cores, [Some(CoreId(1)), Some(CoreId(0)), None, None]);
        // One that has all slots but one must not be taken for the whole keyspace.
        let router =
            Router::with_slots(&[(0, 0)], &BTreeSet::new(), (0..SLOT_COUNT - 1).map(|slot| (slot, ShardId(0))), 1);
        assert_eq!((router.shard_of_slot(Slot::new(SLOT_COUNT - 1)), router.only), (None, None));

        let empty = Router::with_slots(&[], &BTreeSet::new(), std::iter::empty(), 1);
        assert_eq!((empty.shard_count(), empty.shard_end(), empty.first_shard()), (0, 0, None));
    }
}
