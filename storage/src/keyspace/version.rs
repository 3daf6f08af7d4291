//! The source of the versions of collections.

use super::packing::Packing;
use crate::limits::VERSION_COUNTER_BITS;

/// Gives every collection that a log entry creates a version of its own, the same on every replica.
///
/// A version is `[version base + log index: 44 bits][counter within the entry: 20 bits]`, so versions only grow, and one is never
/// used twice, also not after a key was deleted and created again: elements of the old collection stay invisible.
///
/// It also says up to which bounds the entry packs collections, and whether it counts the rows of large ones.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct VersionSource {
    next: u64,
    end: u64,
    packing: &'static Packing,
}

impl VersionSource {
    /// The versions of log entry `index`, to which the group's version base is added.
    ///
    /// # Panics
    /// If `index` needs more than 44 bits: 17 million million entries.
    pub fn entry(index: u64) -> VersionSource {
        assert!(index < 1 << (u64::BITS - VERSION_COUNTER_BITS), "log index {index} leaves no room for versions");
        let next = index << VERSION_COUNTER_BITS;
        VersionSource { next, end: next + (1 << VERSION_COUNTER_BITS), packing: &Packing::STANDARD }
    }

    /// The same versions, for an entry that packs collections up to these bounds.
    pub fn with_packing(self, packing: &'static Packing) -> VersionSource {
        VersionSource { packing, ..self }
    }

    /// The bounds up to which the entry packs collections.
    pub fn packing(&self) -> &'static Packing {
        self.packing
    }

    /// No versions at all, for reads: they create nothing.
    pub fn none() -> VersionSource {
        VersionSource { next: 0, end: 0, packing: &Packing::STANDARD }
    }

    /// Returns whether these are the versions of a read.
    #[inline]
    pub(super) fn is_none(&self) -> bool {
        self.end == 0
    }

    /// Returns the number of versions that are left.
    pub fn left(&self) -> u64 {
        self.end - self.next
    }

    /// The next version.
    ///
    /// # Panics
    /// If a read asks, or a log entry creates more than a million collections: batches are far smaller.
    pub(super) fn next(&mut self) -> u64 {
        assert!(self.next < self.end, "only a log entry creates collections, and at most a million");
        let version = self.next;
        self.next += 1;
        version
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn versions_grow_within_an_entry_and_from_one_to_the_next() {
        let mut first = VersionSource::entry(7);
        let (a, b) = (first.next(), first.next());
        let c = VersionSource::entry(8).next();
        assert!(a < b && b < c);
    }

    #[test]
    #[should_panic = "only a log entry creates collections"]
    fn reads_create_nothing() {
        VersionSource::none().next();
    }
}
