//! The speed at which rows leave the memory for the disk.

use super::Generations;
use crate::disk::{Disk, GroupStore};
use crate::source::Instant;

/// The pace at which rows leave the memory for the disk: all that it takes, from the moment a memtable is frozen.
#[derive(Debug, Clone, Copy, Default)]
pub struct WritePace {
    /// Bytes of the frozen memtable that is to be written, and since when; none if there is none.
    pub under_way: Option<(usize, Instant)>,
    /// Bytes per second at which they were written lately; 0 if none were.
    pub bytes_per_s: u64,
}

impl<D: Disk> Generations<D> {
    /// Returns how fast rows leave the memory.
    pub(crate) fn pace(&self) -> WritePace {
        self.pace.get()
    }

    /// Notes that a memtable was frozen. One that failed and is tried again was frozen before.
    pub(super) fn pace_begins(&self, store: &D::Store) {
        let mut pace = self.pace.get();
        pace.under_way.get_or_insert((store.memory().frozen_bytes, Instant::now()));
        self.pace.set(pace);
    }

    /// Notes that the frozen memtable is on disk. A fast one and a slow one are both believed half.
    pub(super) fn pace_ends(&self) {
        let mut pace = self.pace.get();
        let Some((bytes, since)) = pace.under_way.take() else { return };
        let bytes_per_s = (bytes as f64 / since.elapsed().as_secs_f64().max(1e-6)) as u64;
        pace.bytes_per_s = if pace.bytes_per_s == 0 { bytes_per_s } else { pace.bytes_per_s.midpoint(bytes_per_s) };
        self.pace.set(pace);
    }
}
