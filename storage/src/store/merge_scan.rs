//! Scans over all layers at once: the active memtable, the frozen one and RocksDB, merged in key order.
//!
//! The newest layer that knows a key decides. A deleted range hides the layers below its own, which skip it in one step:
//! there may be millions of rows under it.

use std::cell::Cell;
use std::cmp::Ordering;
use std::ops::{Bound, ControlFlow};

use rocksdb::{DB, DBRawIteratorWithThreadMode, ErrorKind, ReadTier, SnapshotWithThreadMode};

use crate::cold::{Next, PinnedRows};
use crate::cold_read::{ColdRead, Direction};
use crate::disk::{Database, read_options};
use crate::limits::COLD_SCAN_BYTES;
use crate::memtable::{Cursor, Memtable};
use crate::rows::{APPLIED_ROW, Visit, successor};
use crate::{Error, Result};

/// The layers of one scan, newest first.
pub(super) struct ScanLayers<'a> {
    pub(super) active: &'a Memtable,
    pub(super) frozen: Option<&'a Memtable>,
    /// RocksDB; `None` if it holds no rows.
    pub(super) disk: Option<&'a Database>,
    /// The state of RocksDB that is read; `None` for the present one.
    pub(super) snapshot: Option<&'a SnapshotWithThreadMode<'a, DB>>,
    /// Rows of RocksDB that are pinned for the scan.
    pub(super) pinned: Option<&'a PinnedRows>,
    /// Counter of waits for the disk; `None` if reads of RocksDB must not wait.
    pub(super) waits: Option<&'a Cell<u64>>,
}

/// Visits the rows between the bounds, in `direction`, until `visit` breaks.
pub(super) fn scan(
    layers: &ScanLayers<'_>,
    lower: Bound<&[u8]>,
    upper: Bound<&[u8]>,
    direction: Direction,
    visit: Visit<'_>,
) -> Result<()> {
    let mut merge = Merge {
        direction,
        active_table: layers.active,
        frozen_table: layers.frozen,
        active: layers.active.cursor(lower, upper, direction),
        frozen: layers.frozen.map(|table| table.cursor(lower, upper, direction)),
        disk: match layers.disk {
            Some(database) => Some(DiskCursor::open(database, lower, upper, direction, layers)?),
            None => None,
        },
    };
    merge.run(visit)
}

struct Merge<'a, 'b> {
    direction: Direction,
    active_table: &'a Memtable,
    frozen_table: Option<&'a Memtable>,
    active: Cursor<'a, 'b>,
    frozen: Option<Cursor<'a, 'b>>,
    disk: Option<DiskCursor<'a>>,
}

impl Merge<'_, '_> {
    fn run(&mut self, visit: Visit<'_>) -> Result<()> {
        loop {
            self.skip_hidden()?;
            let active = self.active.head();
            let frozen = self.frozen.as_ref().and_then(Cursor::head);
            let by_age = self.compare(active.map(|row| row.0), frozen.map(|row| row.0));
            let memory = if by_age.is_le() { active } else { frozen };
            let disk = self.disk.as_ref().and_then(DiskCursor::row);
            let by_place = self.compare(memory.map(|row| row.0), disk.map(|row| row.0));
            let flow = match (memory, disk) {
                (None, None) => return Ok(()),
                (Some((key, value)), _) if by_place.is_le() => {
                    value.map_or(ControlFlow::Continue(()), |value| visit(key, value))
                }
                (_, Some((key, value))) => visit(key, value),
                (Some(_), None) => unreachable!("a row comes before the end"),
            };
            if flow.is_break() {
                return Ok(());
            }
            // Every layer that stands on the visited key leaves it: the newest one has spoken.
            if by_place.is_le() && by_age.is_le() {
                self.active.advance();
            }
            if by_place.is_le()
                && by_age.is_ge()
                && let Some(frozen) = &mut self.frozen
            {
                frozen.advance();
            }
            if by_place.is_ge()
                && let Some(disk) = &mut self.disk
            {
                disk.advance()?;
            }
        }
    }

    /// Moves the lower layers past what deleted ranges of the layers above hide.
    fn skip_hidden(&mut self) -> Result<()> {
        let newest = self.active_table.tombstones();
        if let Some(frozen) = &mut self.frozen {
            while let Some((from, to)) = frozen.head().and_then(|(key, _)| newest.covering(key)) {
                frozen.skip(from, to);
            }
        }
        let Some(disk) = &mut self.disk else { return Ok(()) };
        loop {
            let Some((key, _)) = disk.row() else { return Ok(()) };
            let frozen_covering = || self.frozen_table.and_then(|table| table.tombstones().covering(key));
            let Some((from, to)) = newest.covering(key).or_else(frozen_covering) else { return Ok(()) };
            disk.skip(from, to)?;
        }
    }

    /// Orders two keys in the scan's direction; the end (`None`) comes after every key.
    fn compare(&self, left: Option<&[u8]>, right: Option<&[u8]>) -> Ordering {
        match (left, right) {
            (Some(left), Some(right)) if self.direction == Direction::Forward => left.cmp(right),
            (Some(left), Some(right)) => right.cmp(left),
            (Some(_), None) => Ordering::Less,
            (None, Some(_)) => Ordering::Greater,
            (None, None) => Ordering::Equal,
        }
    }
}

/// A position in RocksDB's rows.
struct DiskCursor<'a> {
    database: &'a Database,
    snapshot: Option<&'a SnapshotWithThreadMode<'a, DB>>,
    iterator: DBRawIteratorWithThreadMode<'a, DB>,
    direction: Direction,
    /// The last row stood on, or where the next one was looked for: where to go on if memory has no answer.
    position: Vec<u8>,
    /// Set if the row at `position` is behind the cursor.
    has_passed: bool,
    first: Vec<u8>,
    end: Vec<u8>,
    pinned: Option<&'a PinnedRows>,
    /// The cursor's place while it is another than the iterator's.
    beside: Option<Beside<'a>>,
    /// Counter of waits for the disk; `None` if it must not wait, or has done so.
    waits: Option<&'a Cell<u64>>,
}

/// A cursor's place among pinned rows.
enum Beside<'a> {
    Row(&'a [u8], &'a [u8]),
    /// Behind the last row.
    End,
}

impl<'a> DiskCursor<'a> {
    fn open(
        database: &'a Database,
        lower: Bound<&[u8]>,
        upper: Bound<&[u8]>,
        direction: Direction,
        layers: &ScanLayers<'a>,
    ) -> Result<DiskCursor<'a>> {
        let first = match lower {
            Bound::Included(key) => key.to_vec(),
            Bound::Excluded(key) => successor(key),
            Bound::Unbounded => Vec::new(),
        };
        let end = match upper {
            Bound::Included(key) => successor(key),
            Bound::Excluded(key) => key.to_vec(),
            Bound::Unbounded => APPLIED_ROW.to_vec(),
        };
        let end = end.min(APPLIED_ROW.to_vec());
        let position = if direction == Direction::Forward { first.clone() } else { end.clone() };
        let snapshot = layers.snapshot;
        let iterator = iterator(database, snapshot, ReadTier::BlockCache, first.clone(), end.clone());
        let mut cursor = DiskCursor {
            database,
            snapshot,
            iterator,
            direction,
            position,
            // No row is at the end.
            has_passed: direction == Direction::Backward,
            first,
            end,
            pinned: layers.pinned,
            beside: None,
            waits: layers.waits,
        };
        match direction {
            Direction::Forward => cursor.iterator.seek_to_first(),
            Direction::Backward => cursor.iterator.seek_to_last(),
        }
        cursor.check()?;
        Ok(cursor)
    }

    fn row(&self) -> Option<(&[u8], &[u8])> {
        match self.beside {
            Some(Beside::Row(key, value)) => Some((key, value)),
            Some(Beside::End) => None,
            None => self.iterator.item(),
        }
    }

    fn advance(&mut self) -> Result<()> {
        self.has_passed = true;
        if self.beside.is_some() {
            if !self.find_pinned() {
                self.seek();
            }
            return self.check();
        }
        match self.direction {
            Direction::Forward => self.iterator.next(),
            Direction::Backward => self.iterator.prev(),
        }
        self.check()
    }

    /// Goes past the rows in `from..to`, one of which it stands on.
    fn skip(&mut self, from: &[u8], to: &[u8]) -> Result<()> {
        self.position.clear();
        match self.direction {
            Direction::Forward => self.position.extend_from_slice(to),
            Direction::Backward => self.position.extend_from_slice(from),
        }
        self.has_passed = self.direction == Direction::Backward;
        self.seek();
        self.check()
    }

    /// Stands on the row at `position`, or on the next one if there is none or the cursor has passed it.
    fn seek(&mut self) {
        self.beside = None;
        match self.direction {
            Direction::Forward => self.iterator.seek(&self.position),
            Direction::Backward => self.iterator.seek_for_prev(&self.position),
        }
        if self.has_passed && self.iterator.key() == Some(&self.position) {
            match self.direction {
                Direction::Forward => self.iterator.next(),
                Direction::Backward => self.iterator.prev(),
            }
        }
    }

    /// Goes on among the pinned rows: to the next one, or with the iterator to where they end. Says whether they know how.
    fn find_pinned(&mut self) -> bool {
        let Some(pinned) = self.pinned else { return false };
        match pinned.next(&self.position, self.has_passed, self.direction) {
            Next::Row(key, value) if self.is_within(key) => {
                self.position.clear();
                self.position.extend_from_slice(key);
                self.has_passed = false;
                self.beside = Some(Beside::Row(key, value));
                true
            }
            Next::Row(..) => {
                self.beside = Some(Beside::End);
                true
            }
            Next::End(end) => {
                self.position.clear();
                self.position.extend_from_slice(end);
                self.has_passed = self.direction == Direction::Backward;
                let is_over = match self.direction {
                    Direction::Forward => end >= self.end.as_slice(),
                    Direction::Backward => end <= self.first.as_slice(),
                };
                if is_over {
                    self.beside = Some(Beside::End);
                } else {
                    self.seek();
                }
                true
            }
            Next::Unknown => false,
        }
    }

    fn is_within(&self, key: &[u8]) -> bool {
        self.first.as_slice() <= key && key < self.end.as_slice()
    }

    /// Remembers the row stood on, or says why there is none.
    fn check(&mut self) -> Result<()> {
        loop {
            if self.beside.is_some() {
                return Ok(());
            }
            if let Some(key) = self.iterator.key() {
                self.position.clear();
                self.position.extend_from_slice(key);
                self.has_passed = false;
                return Ok(());
            }
            match self.iterator.status() {
                Ok(()) => return Ok(()),
                Err(error) if error.kind() != ErrorKind::Incomplete => return Err(self.database.error(error)),
                Err(_) => {}
            }
            if self.find_pinned() {
                continue;
            }
            let Some(waits) = self.waits.take() else {
                let from = self.position.as_slice().into();
                return Err(Error::Cold(ColdRead::Scan { from, direction: self.direction, bytes: COLD_SCAN_BYTES }));
            };
            waits.set(waits.get() + 1);
            let (first, end) = (self.first.clone(), self.end.clone());
            self.iterator = iterator(self.database, self.snapshot, ReadTier::All, first, end);
            self.seek();
        }
    }
}

/// RocksDB's rows in `first..end`, read as `tier` allows.
fn iterator<'a>(
    database: &'a Database,
    snapshot: Option<&SnapshotWithThreadMode<'_, DB>>,
    tier: ReadTier,
    first: Vec<u8>,
    end: Vec<u8>,
) -> DBRawIteratorWithThreadMode<'a, DB> {
    let mut options = read_options(tier);
    if let Some(snapshot) = snapshot {
        options.set_snapshot(snapshot);
    }
    options.set_iterate_lower_bound(first);
    options.set_iterate_upper_bound(end);
    database.db().raw_iterator_opt(options)
}
