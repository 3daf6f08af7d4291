//! Rows on which a command is tried: what it changes is kept beside them, and forgotten, or taken over once it has come to its end.
//!
//! A command that meets the disk ([`Error::Cold`]) is run again when its rows are in memory, so it must not have changed any. On
//! trial it may: what it has deleted itself it does not find again, and the rows below are as they were. What is kept and read is
//! bounded: an operation on most of a huge collection takes its time in any case.

use std::cell::Cell;
use std::cmp::Ordering;
use std::ops::{Bound, ControlFlow};

use crate::cold_read::Direction;
use crate::memtable::{Cursor, Found, Memtable};
use crate::rows::{Counters, Row, Rows, Visit};
use crate::{Error, Result, limits};

/// Rows of a store with changes beside them, which go when this does unless they are taken. Reads fail with
/// [`Error::TrialTooLarge`] once too much was read and written.
pub struct Trial<'a> {
    rows: &'a dyn Rows,
    changed: Memtable,
    counters: Counters,
    /// The counters below, on which its own build.
    below: Counters,
    bytes_left: Cell<usize>,
    work: Cell<u64>,
    /// True if bytes count for what is kept of them.
    counts_kept: bool,
}

/// Changes made on trial, to be [committed](crate::Store::commit).
pub struct Changes {
    pub(crate) rows: Memtable,
    pub(crate) counters: Counters,
    /// Those that they were made of.
    below: Counters,
}

impl Changes {
    /// Bytes of memory that they take, about.
    pub fn bytes(&self) -> usize {
        self.rows.bytes()
    }

    /// Makes the changes on `rows`, which are those of the trial or have the same in them.
    pub fn make_on(&self, rows: &mut dyn Rows) {
        // Rows in a deleted range were put after it.
        self.rows.tombstones().iter().for_each(|(from, to)| rows.delete_range(from, to));
        for (key, value) in self.rows.rows() {
            match value {
                Some(value) => rows.put(key, value),
                None => rows.delete(key),
            }
        }
        if rows.counters().spaces != self.counters.spaces {
            rows.put_databases(&self.counters.spaces);
        }
        rows.counters_mut().clone_from(&self.counters);
    }
}

impl<'a> Trial<'a> {
    /// A trial on `rows`, unchanged so far, that may read and write about `bytes_max`.
    pub fn new(rows: &'a dyn Rows, bytes_max: usize) -> Trial<'a> {
        let bytes_left = Cell::new(bytes_max);
        let (changed, counters, work) = (Memtable::default(), rows.counters().clone(), Cell::new(0));
        let below = counters.clone();
        Trial { rows, changed, counters, below, bytes_left, work, counts_kept: false }
    }

    /// The same trial, on which bytes count for what is kept: of a row that is looked for a few, of one that is changed again those
    /// that it grows by. One row may be a whole collection, of which a command wants one element; so its bytes are less work, too:
    /// they are copied, and looked through.
    #[must_use]
    pub fn counting_kept(self, counts_kept: bool) -> Trial<'a> {
        Trial { counts_kept, ..self }
    }

    /// A trial on `rows` that goes on with changes which were made on trial before, and may read and write about `bytes_max` more.
    /// Nobody has changed meanwhile the keys that they were made of. Others may have been: they are counted as they are now.
    pub fn going_on(rows: &'a dyn Rows, changes: Changes, bytes_max: usize) -> Trial<'a> {
        let Changes { rows: changed, mut counters, mut below } = changes;
        counters.go_on_from(&below, rows.counters());
        below.clone_from(rows.counters());
        let bytes_left = Cell::new(bytes_max);
        Trial { rows, changed, counters, below, bytes_left, work: Cell::new(0), counts_kept: false }
    }

    /// Bytes that it may still read and write, about.
    pub fn bytes_left(&self) -> usize {
        self.bytes_left.get()
    }

    /// Returns the changes; `None` if they were too many: then some are missing.
    pub fn into_changes(self) -> Option<Changes> {
        self.check().ok()?;
        Some(Changes { rows: self.changed, counters: self.counters, below: self.below })
    }

    fn use_up(&self, row: &[u8], value: &[u8], work: u64) {
        self.use_bytes(row, value);
        self.count(row, value, work);
    }

    fn use_bytes(&self, row: &[u8], value: &[u8]) {
        self.bytes_left.set(self.bytes_left.get().saturating_sub(row.len() + value.len()));
    }

    fn count(&self, row: &[u8], value: &[u8], work: u64) {
        let bytes = (row.len() + value.len()) as u64;
        let rate = if self.counts_kept { limits::COPIED_BYTES_PER_WORK } else { limits::ROW_BYTES_PER_WORK };
        self.work.set(self.work.get().saturating_add(work + bytes / rate));
    }

    fn check(&self) -> Result<()> {
        if self.bytes_left.get() > 0 { Ok(()) } else { Err(Error::TrialTooLarge) }
    }
}

/// Visits the changed rows that come before `key`, or all of them, and leaves `changed` behind them.
fn visit_changed_before(
    changed: &mut Cursor<'_, '_>,
    key: Option<&[u8]>,
    direction: Direction,
    visit: Visit<'_>,
) -> ControlFlow<()> {
    while let Some((changed_key, value)) = changed.head() {
        if key.is_some_and(|key| order(changed_key, key, direction).is_ge()) {
            break;
        }
        changed.advance();
        if let Some(value) = value {
            visit(changed_key, value)?;
        }
    }
    ControlFlow::Continue(())
}

fn order(left: &[u8], right: &[u8], direction: Direction) -> Ordering {
    match direction {
        Direction::Forward => left.cmp(right),
        Direction::Backward => right.cmp(left),
    }
}

impl Rows for Trial<'_> {
    fn get(&self, key: &[u8]) -> Result<Option<Row<'_>>> {
        self.check()?;
        let row = match self.changed.find(key) {
            Found::Value(value) => Some(Row::Memory(value)),
            Found::Deleted => None,
            Found::Unknown => self.rows.get(key)?,
        };
        let value = row.as_deref().unwrap_or_default();
        self.count(key, value, limits::ROW_READ_WORK);
        let kept = if self.counts_kept { value.len().min(limits::LOOKED_FOR_BYTES_MAX) } else { value.len() };
        self.use_bytes(key, &value[..kept]);
        Ok(row)
    }

    fn get_of_this_entry(&self, key: &[u8]) -> Option<Row<'_>> {
        let row = match self.changed.find(key) {
            Found::Value(value) => Some(Row::Memory(value)),
            Found::Deleted => None,
            Found::Unknown => self.rows.get_of_this_entry(key),
        };
        self.count(key, row.as_deref().unwrap_or_default(), limits::ROW_READ_WORK);
        row
    }

    fn put(&mut self, key: &[u8], value: &[u8]) {
        if self.check().is_ok() {
            self.count(key, value, limits::ROW_CHANGE_WORK);
            match self.changed.find(key) {
                Found::Value(before) if self.counts_kept => {
                    self.use_bytes(&[], &value[before.len().min(value.len())..])
                }
                _ => self.use_bytes(key, value),
            }
            self.changed.put(key, value);
        }
    }

    fn delete(&mut self, key: &[u8]) {
        if self.check().is_ok() {
            self.use_up(key, &[], limits::ROW_CHANGE_WORK);
            self.changed.delete(key, true);
        }
    }

    fn delete_range(&mut self, from: &[u8], to: &[u8]) {
        self.use_up(from, to, limits::ROW_CHANGE_WORK);
        self.changed.delete_range(from, to, true);
    }

    fn scan(&self, lower: Bound<&[u8]>, upper: Bound<&[u8]>, direction: Direction, visit: Visit<'_>) -> Result<()> {
        self.check()?;
        self.work.set(self.work.get().saturating_add(limits::ROW_READ_WORK));
        let visit: Visit<'_> = &mut |key, value| {
            self.count(key, value, limits::ROW_VISIT_WORK);
            visit(key, value)
        };
        let mut changed = self.changed.cursor(lower, upper, direction);
        let mut flow = ControlFlow::Continue(());
        self.rows.scan(lower, upper, direction, &mut |key, value| {
            flow = visit_changed_before(&mut changed, Some(key), direction, visit);
            let is_changed = changed.head().is_some_and(|(changed_key, _)| changed_key == key);
            // A changed row is visited before the next one; a deleted one is not at all.
            if flow.is_continue() && !is_changed && self.changed.tombstones().covering(key).is_none() {
                flow = visit(key, value);
            } else {
                self.count(key, &[], limits::ROW_VISIT_WORK);
            }
            if flow.is_break() {
                // It may be one that is no key's any more, which ends a walk over keys and is gone on another replica.
                return flow;
            }
            self.use_bytes(key, value);
            if self.bytes_left.get() == 0 { ControlFlow::Break(()) } else { flow }
        })?;
        if flow.is_continue() {
            self.check()?;
            let _ = visit_changed_before(&mut changed, None, direction, visit);
        }
        Ok(())
    }

    fn work(&self) -> u64 {
        self.work.get()
    }

    fn counters(&self) -> &Counters {
        &self.counters
    }

    fn counters_mut(&mut self) -> &mut Counters {
        &mut self.counters
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::MemoryRows;

    #[derive(Debug, Clone)]
    enum Change {
        Put(Vec<u8>, u8),
        Delete(Vec<u8>),
        DeleteRange(Vec<u8>, Vec<u8>),
    }

    fn key() -> impl Strategy<Value = Vec<u8>> {
        proptest::collection::vec(0..4u8, 0..3)
    }

    fn change() -> impl Strategy<Value = Change> {
        prop_oneof![
            4 => (key(), any::<u8>()).prop_map(|(key, value)| Change::Put(key, value)),
            3 => key().prop_map(Change::Delete),
            1 => (key(), key()).prop_map(|(from, to)| Change::DeleteRange(from, to)),
        ]
    }

    fn bound() -> impl Strategy<Value = Bound<Vec<u8>>> {
        prop_oneof![key().prop_map(Bound::Included), key().prop_map(Bound::Excluded), Just(Bound::Unbounded)]
    }

    fn apply(rows: &mut dyn Rows, change: &Change) {
        match change {
            Change::Put(key, value) => rows.put(key, &[*value]),
            Change::Delete(key) => rows.delete(key),
            Change::DeleteRange(from, to) => rows.delete_range(from, to),
        }
    }

    fn collect(
        rows: &dyn Rows,
        lower: &Bound<Vec<u8>>,
        upper: &Bound<Vec<u8>>,
        direction: Direction,
        limit: usize,
    ) -> Vec<(Vec<u8>, Vec<u8>)> {
        let mut found = Vec::new();
        let (lower, upper) = (lower.as_ref().map(Vec::as_slice), upper.as_ref().map(Vec::as_slice));
        rows.scan(lower, upper, direction, &mut |key, value| {
            found.push((key.to_vec(), value.to_vec()));
            if found.len() < limit { ControlFlow::Continue(()) } else { ControlFlow::Break(()) }
        })
        .unwrap();
        found
    }

    proptest! {
        #[test]
        fn it_reads_as_rows_that_were_changed(
            before in proptest::collection::vec(change(), 0..30),
            changes in proptest::collection::vec(change(), 0..20),
            scans in proptest::collection::vec((bound(), bound(), any::<bool>(), 1..20usize), 1..8),
        ) {
            let mut rows = MemoryRows::default();
            before.iter().for_each(|change| apply(&mut rows, change));
            rows.counters_mut().keys[1] = 5;
            let mut model = rows.clone();
            let mut trial = Trial::new(&rows, usize::MAX);
            for change in &changes {
                apply(&mut trial, change);
                apply(&mut model, change);
            }
            trial.counters_mut().keys[1] += 1;
            prop_assert_eq!(trial.counters().keys[1], 6);
            // A trial on a trial, whose changes are then made on the first one.
            let mut inner = Trial::new(&trial, usize::MAX);
            for change in before.iter().take(5) {
                apply(&mut inner, change);
                apply(&mut model, change);
            }
            inner.counters_mut().keys[1] += 1;
            model.counters_mut().keys[1] = 7;
            let changes = inner.into_changes().unwrap();
            changes.make_on(&mut trial);
            prop_assert_eq!(trial.counters().keys[1], 7);
            for (lower, upper, forward, limit) in &scans {
                let direction = if *forward { Direction::Forward } else { Direction::Backward };
                let expected = collect(&model, lower, upper, direction, *limit);
                prop_assert_eq!(collect(&trial, lower, upper, direction, *limit), expected);
            }
            for first in 0..4 {
                for second in 0..4 {
                    let key = [first, second];
                    let expected = model.get(&key).unwrap().map(|row| row.to_vec());
                    prop_assert_eq!(trial.get(&key).unwrap().map(|row| row.to_vec()), expected);
                }
            }
        }
    }

    #[test]
    fn it_goes_on_with_what_was_changed_before() {
        let mut rows = MemoryRows::default();
        rows.put(b"a", b"1");
        rows.put(b"b", b"1");
        let mut trial = Trial::new(&rows, 1000);
        trial.put(b"a", b"2");
        trial.delete(b"b");
        let left = trial.bytes_left();
        assert!(left < 1000);
        let changes = trial.into_changes().unwrap();
        assert!(changes.bytes() > 0);
        let mut trial = Trial::going_on(&rows, changes, left);
        trial.put(b"c", b"3");
        let value = |key: &[u8]| trial.get(key).unwrap().map(|row| row.to_vec());
        assert_eq!((value(b"a"), value(b"b"), value(b"c")), (Some(b"2".to_vec()), None, Some(b"3".to_vec())));
        assert!(trial.bytes_left() < left);
        let changes = trial.into_changes().unwrap();
        changes.make_on(&mut rows);
        assert_eq!((rows.get(b"b").unwrap().is_none(), rows.get(b"c").unwrap().is_some()), (true, true));
    }

    #[test]
    fn it_counts_what_others_have_done_to_other_keys_meanwhile() {
        let mut rows = MemoryRows::default();
        rows.counters_mut().keys[5] = 1;
        let mut trial = Trial::new(&rows, 1000);
        trial.counters_mut().keys[5] += 1;
        trial.counters_mut().deadlines[5] += 1;
        trial.counters_mut().deadline_sums[5] += 70;
        trial.counters_mut().keys[6] += 1;
        let changes = trial.into_changes().unwrap();
        // Others make two keys, and take the one away that was there.
        rows.counters_mut().keys[5] = 2;
        rows.counters_mut().deadlines[5] = 1;
        rows.counters_mut().deadline_sums[5] = 30;
        let mut trial = Trial::going_on(&rows, changes, 1000);
        let of = |trial: &Trial<'_>| {
            let counters = trial.counters();
            (counters.keys[5], counters.deadlines[5], counters.deadline_sums[5], counters.keys[6])
        };
        assert_eq!(of(&trial), (3, 2, 100, 1));
        trial.counters_mut().keys[5] -= 3;
        let changes = trial.into_changes().unwrap();
        assert_eq!(of(&Trial::going_on(&rows, changes, 1000)), (0, 2, 100, 1));
    }

    #[test]
    fn it_ends_when_it_has_read_and_written_enough() {
        let mut rows = MemoryRows::default();
        (0..10u8).for_each(|number| rows.put(&[number], &[0; 99]));
        let scan_all = |trial: &Trial<'_>| {
            let mut seen = 0;
            let all = Bound::Unbounded;
            let outcome = trial.scan(all, all, Direction::Forward, &mut |_, _| {
                seen += 1;
                ControlFlow::Continue(())
            });
            (seen, matches!(outcome, Err(Error::TrialTooLarge)))
        };
        assert_eq!(scan_all(&Trial::new(&rows, 1001)), (10, false));
        assert_eq!(scan_all(&Trial::new(&rows, 500)), (5, true));
        let mut trial = Trial::new(&rows, 150);
        trial.put(b"key", &[0; 100]);
        assert!(trial.get(&[1]).is_ok());
        assert!(matches!(trial.get(&[1]), Err(Error::TrialTooLarge)));
        assert_eq!(scan_all(&trial), (0, true));
    }

    #[test]
    fn bytes_that_are_kept_are_those_that_count_where_it_is_told_so() {
        let mut rows = MemoryRows::default();
        rows.put(b"large", &[0; 100_000]);
        for (counts_kept, expected) in [(false, 1), (true, 100)] {
            let mut trial = Trial::new(&rows, 150_000).counting_kept(counts_kept);
            let mut rounds = 0;
            while rounds < 100 && trial.get(b"large").is_ok() {
                trial.put(b"other", &[0; 90_000]);
                rounds += 1;
            }
            assert_eq!(rounds, expected, "{counts_kept}");
        }
        let mut trial = Trial::new(&rows, 150_000).counting_kept(true);
        (0..3u8).for_each(|number| trial.put(&[number], &[0; 80_000]));
        assert!(trial.into_changes().is_none(), "what is kept is bounded");
    }

    #[test]
    fn it_counts_what_is_read_and_changed_and_visited_again() {
        let mut rows = MemoryRows::default();
        (0..10u8).for_each(|number| rows.put(&[number], &[0; 79]));
        let mut trial = Trial::new(&rows, usize::MAX);
        let mut last = 0;
        let mut grown = |trial: &Trial<'_>| {
            let by = trial.work() - last;
            last = trial.work();
            by
        };
        let _ = trial.get(&[1]);
        assert_eq!(grown(&trial), limits::ROW_READ_WORK + 10);
        let _ = trial.get(&[99]);
        assert_eq!(grown(&trial), limits::ROW_READ_WORK);
        trial.put(b"key", &[0; 77]);
        assert_eq!(grown(&trial), limits::ROW_CHANGE_WORK + 10);
        (0..100u8).for_each(|number| trial.put(&[1, number], &[0; 78]));
        grown(&trial);
        for _ in 0..2 {
            let all = Bound::Unbounded;
            let _ = trial.scan(all, all, Direction::Forward, &mut |_, _| ControlFlow::Continue(()));
            // Rows that were changed on trial are visited for the same price as those that were not.
            assert!(grown(&trial) >= 111 * (limits::ROW_VISIT_WORK + 9));
        }
    }
}
