//! The figures of all shards that this node has, or has had since it started.
//!
//! Groups come while the node runs, and all cores read this without a lock: so a shard's figures stay where they are once they are
//! there, and there is a place for as many as a node may have.

use std::ops::Index;
use std::sync::OnceLock;
use std::sync::atomic::{AtomicUsize, Ordering};

use super::{GroupState, ShardStats};
use crate::ids::{CoreId, ShardId};
use crate::limits;

/// Figures by shard.
#[derive(Debug)]
pub struct ShardTable {
    places: Box<[OnceLock<Box<ShardStats>>]>,
    /// From this place on there are none.
    end: AtomicUsize,
}

impl ShardTable {
    /// The figures of these shards, each with the core that runs it.
    pub fn of(shards: impl Iterator<Item = (ShardId, CoreId)>) -> ShardTable {
        let places = (0..limits::SHARDS_MAX).map(|_| OnceLock::new()).collect();
        let table = ShardTable { places, end: AtomicUsize::new(0) };
        for (shard, core) in shards {
            table.add(shard, core);
        }
        table
    }

    /// Adds a shard that `core` runs; false if it is there.
    ///
    /// # Panics
    /// If a node may have no such shard.
    pub fn add(&self, shard: ShardId, core: CoreId) -> bool {
        let mut is_new = false;
        let stats = self.places[shard.index()].get_or_init(|| {
            is_new = true;
            Box::default()
        });
        stats.core.set(u64::from(core.0));
        self.end.fetch_max(shard.index() + 1, Ordering::Release);
        is_new
    }

    /// The figures of a shard, if it is there.
    pub fn get(&self, shard: ShardId) -> Option<&ShardStats> {
        self.places.get(shard.index())?.get().map(Box::as_ref)
    }

    /// The number of shards.
    pub fn len(&self) -> usize {
        self.iter().count()
    }

    /// Every shard's figures.
    pub fn iter(&self) -> impl Iterator<Item = &ShardStats> {
        self.numbered().map(|(_, stats)| stats)
    }

    /// Every shard with its figures, but for those that are gone.
    pub fn numbered(&self) -> impl Iterator<Item = (ShardId, &ShardStats)> {
        let shards = (0..).map(ShardId).zip(&self.places[..self.end.load(Ordering::Acquire)]);
        let there = shards.filter_map(|(shard, place)| Some((shard, place.get()?.as_ref())));
        there.filter(|(_, stats)| stats.state.get() != GroupState::Gone)
    }
}

impl Index<usize> for ShardTable {
    type Output = ShardStats;

    fn index(&self, index: usize) -> &ShardStats {
        self.places[index].get().expect("a shard has figures before anything is known of it")
    }
}
