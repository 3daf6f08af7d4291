//! The way from a key to its shard, and from a shard to the core that runs it.

use basalt_storage::keyspace::{SLOT_COUNT, Slot};

use crate::ids::{CoreId, ShardId};

/// The node's routing table. A node alone gives each shard one range of slots of equal size.
#[derive(Debug, Clone)]
pub struct Router {
    shard_count: u16,
    core_count: u16,
    lane_of_shard: Box<[u16]>,
    shard_of_slot: Box<[u16]>,
}

impl Router {
    /// The table of a node alone with `shard_count` shards on `core_count` cores, each shard in a lane of its own.
    ///
    /// # Panics
    /// If either is 0 or there are more shards than slots.
    #[cfg(any(test, feature = "internals"))]
    pub fn new(shard_count: u16, core_count: u16) -> Router {
        Router::with_lanes((0..shard_count).collect(), core_count)
    }

    /// The table of a node alone on `core_count` cores, given the lane of each of its shards.
    ///
    /// # Panics
    /// If there is no core or no shard, or there are more shards than slots.
    pub fn with_lanes(lane_of_shard: Vec<u16>, core_count: u16) -> Router {
        let shard_count = u16::try_from(lane_of_shard.len()).expect("there are fewer shards than slots");
        assert!(shard_count > 0 && core_count > 0, "a node has at least one shard and one core");
        assert!(shard_count <= SLOT_COUNT, "a shard without a slot would hold nothing");
        let shard_of_slot = (0..u32::from(SLOT_COUNT))
            .map(|slot| (slot * u32::from(shard_count) / u32::from(SLOT_COUNT)) as u16)
            .collect();
        Router { shard_count, core_count, lane_of_shard: lane_of_shard.into(), shard_of_slot }
    }

    /// The shard that has `key`.
    pub fn shard_of(&self, key: &[u8]) -> ShardId {
        if self.shard_count == 1 {
            return ShardId(0);
        }
        ShardId(self.shard_of_slot[Slot::of(key).index() as usize])
    }

    /// The core that runs `shard`: that of its lane. Lanes are dealt round, so that a node may restart with another number of
    /// cores.
    pub fn core_of(&self, shard: ShardId) -> CoreId {
        CoreId(self.lane_of_shard[shard.index()] % self.core_count)
    }

    /// The lane of `shard`.
    pub fn lane_of(&self, shard: ShardId) -> u16 {
        self.lane_of_shard[shard.index()]
    }

    /// The number of lanes; as many as shards if each has a log of its own.
    pub fn lane_count(&self) -> u16 {
        self.lane_of_shard.iter().max().map_or(0, |lane| lane + 1)
    }

    /// Every shard of the node.
    pub fn shards(&self) -> impl ExactSizeIterator<Item = ShardId> + use<> {
        (0..self.shard_count).map(ShardId)
    }

    /// Returns the number of shards.
    pub fn shard_count(&self) -> u16 {
        self.shard_count
    }

    /// Returns the number of cores.
    pub fn core_count(&self) -> u16 {
        self.core_count
    }

    /// The shards `core` runs.
    #[cfg(test)]
    pub fn shards_of(&self, core: CoreId) -> impl Iterator<Item = ShardId> {
        self.shards().filter(move |shard| self.core_of(*shard) == core)
    }

    /// The slots of `shard`: first and one past the last.
    #[cfg(test)]
    pub fn slots_of(&self, shard: ShardId) -> std::ops::Range<u16> {
        let first = |shard: u32| (shard * u32::from(SLOT_COUNT)).div_ceil(u32::from(self.shard_count)) as u16;
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
                    assert_eq!(router.shard_of_slot[slot as usize], shard.0, "{shard_count} shards, slot {slot}");
                }
            }
            assert_eq!(router.shards().map(|shard| router.slots_of(shard).len()).sum::<usize>(), SLOT_COUNT as usize);
        }
    }

    #[test]
    fn the_shards_of_a_lane_run_on_the_same_core_however_many_cores_there_are() {
        for cores in 1..6 {
            let router = Router::with_lanes(vec![0, 1, 2, 0, 1, 2, 0], cores);
            assert_eq!((router.lane_count(), router.shard_count()), (3, 7));
            for (shard, lane) in [(0, 0), (3, 0), (6, 0), (1, 1), (4, 1), (2, 2), (5, 2)] {
                assert_eq!(router.core_of(ShardId(shard)), CoreId(lane % cores), "shard {shard} on {cores} cores");
            }
        }
    }

    #[test]
    fn every_shard_runs_on_one_core() {
        let router = Router::new(5, 2);
        let mut shards: Vec<_> = [CoreId(0), CoreId(1)].into_iter().flat_map(|core| router.shards_of(core)).collect();
        shards.sort();
        assert_eq!(shards, router.shards().collect::<Vec<_>>());
        assert!(router.shards_of(CoreId(1)).all(|shard| router.core_of(shard) == CoreId(1)));
    }
}
