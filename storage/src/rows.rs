//! The one interface between typed keys and where their bytes live.
//!
//! Everything the keyspace stores is rows: ordered key bytes with value bytes. Types and commands know only [`Rows`];
//! whether a row is in the memtable, in the generation being written out, or in RocksDB is the store's business.

use std::cell::Ref;
use std::collections::BTreeMap;
use std::ops::{Bound, ControlFlow, Deref};

use crate::cold_read::Direction;
use crate::spaces::{DATABASE_COUNT, Space, Spaces};
use crate::{Error, Result};

/// A database by its space, and a key in it.
pub type KeyOfRow<'a> = (Space, &'a [u8]);

/// Row keys from the first one on, up to the second one.
pub type RowRange = (Box<[u8]>, Box<[u8]>);

/// The row that says up to which log entry the rows are applied. No typed key can collide with it.
pub(crate) const APPLIED_ROW: &[u8] = &[0xFF];

/// The bytes of a row's value, wherever they live.
#[non_exhaustive]
pub enum Row<'a> {
    /// In a memtable.
    Memory(&'a [u8]),
    /// In the store's cache of rows on disk.
    Cached(Ref<'a, [u8]>),
    /// In RocksDB's block cache.
    Pinned(rocksdb::DBPinnableSlice<'a>),
    /// A copy.
    Owned(Box<[u8]>),
}

impl Deref for Row<'_> {
    type Target = [u8];

    fn deref(&self) -> &[u8] {
        match self {
            Row::Memory(bytes) => bytes,
            Row::Cached(bytes) => bytes,
            Row::Pinned(slice) => slice,
            Row::Owned(bytes) => bytes,
        }
    }
}

/// The rules of whoever lays rows out, as far as the store has to know them: for it rows are bytes.
#[derive(Debug, Clone, Copy)]
pub struct RowRules {
    /// The bytes at the beginning of an element row's key that it has in common with all elements of its collection's version;
    /// `None` for a row of another kind, which is never an orphan.
    pub element_prefix: fn(row: &[u8]) -> Option<usize>,
    /// The space of the database, and the key that a row belongs to; `None` for one of no key's, as those of an index.
    pub key_of: fn(row: &[u8]) -> Option<KeyOfRow<'_>>,
    /// The row that a key has if it is there.
    pub row_of: fn(space: Space, key: &[u8]) -> Box<[u8]>,
    /// The key of the row that decides about the elements with this prefix; `None` if they stay in any case.
    pub deciding_row: fn(prefix: &[u8]) -> Option<Box<[u8]>>,
    /// Tells whether elements with this prefix are orphans by the value of the deciding row, if that is there; `None` if it cannot
    /// be told.
    pub is_orphan: fn(prefix: &[u8], deciding: Option<&[u8]>) -> Option<bool>,
    /// The range of the rows that are an index of deadlines.
    pub deadlines: fn() -> RowRange,
    /// The deadline in Unix milliseconds, and the space of the database, of such a row.
    pub read_deadline: fn(row: &[u8]) -> Option<(u64, Space)>,
    /// The range of the rows that are an index of the hashes of which fields have deadlines: one row each.
    pub fields_due: fn() -> RowRange,
    /// The space of the database of such a row.
    pub read_fields_due: fn(row: &[u8]) -> Option<Space>,
}

/// Per-database key counts of one shard, and where each database's rows are. Kept beside the rows and persisted with them, so that
/// `DBSIZE` counts nothing.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Counters {
    /// Keys, by database.
    pub keys: [u64; DATABASE_COUNT],
    /// Keys with a deadline, by database.
    pub deadlines: [u64; DATABASE_COUNT],
    /// The sum of those keys' deadlines, in Unix milliseconds, by database.
    pub deadline_sums: [u128; DATABASE_COUNT],
    /// Hashes of which fields have deadlines, by database.
    pub field_deadlines: [u64; DATABASE_COUNT],
    /// The space of each database's rows.
    pub spaces: Spaces,
}

impl Counters {
    /// Has two databases exchange their counts: their keys have changed spaces.
    pub(crate) fn swap(&mut self, first: u8, second: u8) {
        let (first, second) = (usize::from(first), usize::from(second));
        self.keys.swap(first, second);
        self.deadlines.swap(first, second);
        self.deadline_sums.swap(first, second);
        self.field_deadlines.swap(first, second);
    }

    /// Counts from `now` on what was counted from `before` on: others have changed other keys meanwhile.
    pub(crate) fn go_on_from(&mut self, before: &Counters, now: &Counters) {
        for db in 0..DATABASE_COUNT {
            let moved = |counted: u64, before: u64, now: u64| now.wrapping_add(counted.wrapping_sub(before));
            self.keys[db] = moved(self.keys[db], before.keys[db], now.keys[db]);
            self.deadlines[db] = moved(self.deadlines[db], before.deadlines[db], now.deadlines[db]);
            let fields = &mut self.field_deadlines[db];
            *fields = moved(*fields, before.field_deadlines[db], now.field_deadlines[db]);
            let sum = self.deadline_sums[db].wrapping_sub(before.deadline_sums[db]);
            self.deadline_sums[db] = now.deadline_sums[db].wrapping_add(sum);
        }
    }
}

/// Takes each row's key and value of a scan, and says whether to go on.
pub type Visit<'a> = &'a mut dyn FnMut(&[u8], &[u8]) -> ControlFlow<()>;

/// Ordered rows of one shard.
///
/// Keys compare as bytes. Only a [`Trial`](crate::Trial) returns [`Error::TrialTooLarge`]. Reads return [`Error::Cold`] only where
/// the store was told not to wait for the disk ([`OnMiss`](crate::OnMiss)); while a log entry is applied, only to commands that
/// have changed nothing yet.
pub trait Rows {
    /// The value of `key`.
    fn get(&self, key: &[u8]) -> Result<Option<Row<'_>>>;

    /// The value of `key`, whose row is of the entry being applied if there is one: nothing older is asked, so this never meets the
    /// disk.
    fn get_of_this_entry(&self, key: &[u8]) -> Option<Row<'_>>;

    /// Sets `key` to `value`.
    fn put(&mut self, key: &[u8], value: &[u8]);

    /// Removes `key`, whether it exists or not.
    fn delete(&mut self, key: &[u8]);

    /// Removes every row in `from..to`.
    fn delete_range(&mut self, from: &[u8], to: &[u8]);

    /// Visits the rows between `lower` and `upper` in `direction` until `visit` breaks.
    fn scan(&self, lower: Bound<&[u8]>, upper: Bound<&[u8]>, direction: Direction, visit: Visit<'_>) -> Result<()>;

    /// The work that reads and changes have been so far, where it is counted, which is on a [`Trial`](crate::Trial): one unit is
    /// some ten nanoseconds. It follows from the rows alone, so it is the same on every replica.
    fn work(&self) -> u64 {
        0
    }

    /// The shard's counters.
    fn counters(&self) -> &Counters;

    /// The shard's counters, to change together with rows.
    fn counters_mut(&mut self) -> &mut Counters;

    /// Has the databases' rows be in `spaces` from now on, which some exchange with others. Their counts are the caller's.
    fn put_databases(&mut self, spaces: &Spaces) {
        self.counters_mut().spaces.clone_from(spaces);
    }
}

/// Rows in a plain ordered map: the model that tests compare with.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct MemoryRows {
    rows: BTreeMap<Box<[u8]>, Box<[u8]>>,
    counters: Counters,
}

impl MemoryRows {
    /// Returns the number of rows.
    pub fn len(&self) -> usize {
        self.rows.len()
    }

    /// Returns whether there are none.
    pub fn is_empty(&self) -> bool {
        self.rows.is_empty()
    }
}

impl Rows for MemoryRows {
    fn get(&self, key: &[u8]) -> Result<Option<Row<'_>>> {
        Ok(self.rows.get(key).map(|value| Row::Memory(value)))
    }

    fn get_of_this_entry(&self, key: &[u8]) -> Option<Row<'_>> {
        self.rows.get(key).map(|value| Row::Memory(value))
    }

    fn put(&mut self, key: &[u8], value: &[u8]) {
        self.rows.insert(key.into(), value.into());
    }

    fn delete(&mut self, key: &[u8]) {
        self.rows.remove(key);
    }

    fn delete_range(&mut self, from: &[u8], to: &[u8]) {
        self.rows.retain(|key, _| &**key < from || &**key >= to);
    }

    fn scan(
        &self,
        lower: Bound<&[u8]>,
        upper: Bound<&[u8]>,
        direction: Direction,
        visit: Visit<'_>,
    ) -> Result<(), Error> {
        if range_is_empty(lower, upper) {
            return Ok(());
        }
        let mut range = self.rows.range::<[u8], _>((lower, upper));
        loop {
            let next = match direction {
                Direction::Forward => range.next(),
                Direction::Backward => range.next_back(),
            };
            let Some((key, value)) = next else { return Ok(()) };
            if visit(key, value).is_break() {
                return Ok(());
            }
        }
    }

    fn counters(&self) -> &Counters {
        &self.counters
    }

    fn counters_mut(&mut self) -> &mut Counters {
        &mut self.counters
    }
}

/// Returns whether no key can lie between the two bounds (`BTreeMap::range` panics on such ranges).
pub(crate) fn range_is_empty(lower: Bound<&[u8]>, upper: Bound<&[u8]>) -> bool {
    match (lower, upper) {
        (Bound::Included(from), Bound::Included(to)) => from > to,
        (Bound::Included(from) | Bound::Excluded(from), Bound::Included(to) | Bound::Excluded(to)) => from >= to,
        _ => false,
    }
}

/// The key right after `key`.
pub(crate) fn successor(key: &[u8]) -> Vec<u8> {
    let mut next = Vec::with_capacity(key.len() + 1);
    next.extend_from_slice(key);
    next.push(0);
    next
}
