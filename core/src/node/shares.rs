//! The parts of the node's memory that its shards have: they change when groups come and go while the node runs.

use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};
use std::sync::{Mutex, PoisonError};

use crate::config::MemoryBudget;

/// The division of the memory that is in force. Shards look now and then if there is a new one.
#[derive(Debug)]
pub struct Shares {
    version: AtomicU64,
    shard_count: AtomicUsize,
    budget: Mutex<MemoryBudget>,
}

impl Shares {
    /// The first division.
    pub fn new(budget: MemoryBudget) -> Shares {
        let shard_count = AtomicUsize::new(budget.shard_count());
        Shares { version: AtomicU64::new(0), shard_count, budget: Mutex::new(budget) }
    }

    /// Puts another division in force.
    pub fn set(&self, budget: MemoryBudget) {
        *self.budget.lock().unwrap_or_else(PoisonError::into_inner) = budget;
        self.shard_count.store(budget.shard_count(), Ordering::Relaxed);
        self.version.fetch_add(1, Ordering::Release);
    }

    /// The number of divisions that there were before this one.
    pub fn version(&self) -> u64 {
        self.version.load(Ordering::Acquire)
    }

    /// The number of shards that the memory is divided among.
    pub fn shard_count(&self) -> usize {
        self.shard_count.load(Ordering::Relaxed)
    }

    /// The division. Locks for a moment.
    pub fn budget(&self) -> MemoryBudget {
        *self.budget.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
