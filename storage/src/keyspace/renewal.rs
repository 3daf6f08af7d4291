//! Rows that a collection has left behind, and what is done about them.
//!
//! A deleted row is a tombstone until compaction drops it, and ordered scans walk over tombstones. A set that shrank from a
//! million members to ten would make each SPOP walk past a hundred thousand of them. So a collection counts its
//! removed rows in its metadata, and one that has become small on top of many moves to a new version: its few rows
//! are written again, and all the tombstones are behind it.

use std::ops::{Bound, ControlFlow};

use super::Keyspace;
use super::collection::Collection;
use super::held::Held;
use super::key::RowKey;
use super::keyspace::damaged;
use crate::limits::{REMOVED_MIN, REMOVED_PER_ELEMENT, RENEWED_ELEMENTS_MAX};
use crate::{Direction, Result};

/// Rows removed under a collection's present version: `[removed u32 BE]` in its fields.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(super) struct Removed(u32);

impl Removed {
    /// Reads the count, and returns what follows it.
    pub(super) fn read(fields: &[u8]) -> Option<(Removed, &[u8])> {
        let (count, rest) = fields.split_first_chunk::<4>()?;
        Some((Removed(u32::from_be_bytes(*count)), rest))
    }

    /// The count of a collection that has no other fields; one that is packed, or new, has none.
    ///
    /// # Errors
    /// [`Error::Corruption`](crate::Error::Corruption) if the fields are others.
    pub(super) fn of(held: &Held) -> Result<Removed> {
        match held {
            Held::Rows(collection) if !collection.is_new() => match Removed::read(collection.fields()) {
                Some((removed, [])) => Ok(removed),
                _ => Err(damaged(collection.key())),
            },
            _ => Ok(Removed::default()),
        }
    }

    /// The count as it is stored.
    pub(super) fn bytes(self) -> [u8; 4] {
        self.0.to_be_bytes()
    }

    /// Counts `rows` more.
    pub(super) fn count(&mut self, rows: u32) {
        self.0 = self.0.saturating_add(rows);
    }

    /// Returns whether [`Removed::renew`] may move a collection of `size` elements once a command has touched up to `count` of
    /// them.
    pub(super) fn may_renew(self, size: u64, count: u64) -> bool {
        // An element has three rows at most: a field with a deadline.
        let (smallest, removed) = (size.saturating_sub(count).max(1), u64::from(self.0) + 3 * count);
        smallest <= RENEWED_ELEMENTS_MAX
            && removed >= u64::from(REMOVED_MIN)
            && removed >= smallest * REMOVED_PER_ELEMENT
    }

    /// Moves `collection` to a new version if it has become small and left many rows behind. Says whether it did.
    pub(super) fn renew(&mut self, keyspace: &mut Keyspace<'_>, collection: &mut Collection) -> Result<bool> {
        self.move_rows(keyspace, collection, Bound::Unbounded)
    }

    /// The same of elements that sort before `end` alone: the others are left behind.
    pub(super) fn renew_below(
        &mut self,
        keyspace: &mut Keyspace<'_>,
        collection: &mut Collection,
        end: &[u8],
    ) -> Result<bool> {
        self.move_rows(keyspace, collection, Bound::Excluded(end))
    }

    fn move_rows(
        &mut self,
        keyspace: &mut Keyspace<'_>,
        collection: &mut Collection,
        end: Bound<&[u8]>,
    ) -> Result<bool> {
        let small = (1..=RENEWED_ELEMENTS_MAX).contains(&collection.size);
        if !small || self.0 < REMOVED_MIN || u64::from(self.0) < collection.size * REMOVED_PER_ELEMENT {
            return Ok(false);
        }
        let mut rows: Vec<(RowKey, Box<[u8]>)> = Vec::new();
        keyspace.scan_elements(collection, Bound::Unbounded, end, Direction::Forward, &mut |element, value| {
            rows.push((RowKey::from_slice(element), value.into()));
            ControlFlow::Continue(())
        })?;
        keyspace.renew(collection);
        for (element, value) in &rows {
            keyspace.put_element(collection, element, value);
        }
        *self = Removed::default();
        Ok(true)
    }
}
