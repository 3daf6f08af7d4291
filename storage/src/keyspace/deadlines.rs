//! The index of deadlines, which all databases of a shard share, and what empties it: expiry, and flushing a database.
//!
//! What a newcomer would get wrong: a deadline has passed once now is *after* it, so a key lives through its last millisecond. The
//! deadlines of fields have an index of their own, which is laid out like that of keys: it has one row for each hash.

use std::ops::{Bound, ControlFlow};

use super::key::{self, Due, RowKey};
use super::keyspace::{Keyspace, damaged};
use crate::limits::CHUNK_ROWS_MAX;
use crate::spaces::Space;
use crate::{Counters, DATABASE_COUNT, Direction, Result};

/// Called with a deadline, the space of a database, and a key.
pub(super) type VisitDeadline<'v> = &'v mut dyn FnMut(u64, Space, &[u8]) -> ControlFlow<()>;

impl Keyspace<'_> {
    /// Moves `key` in the index from one deadline, if it had one, to another, if it gets one, and counts that.
    pub(super) fn move_deadline(&mut self, key: &[u8], from_ms: Option<u64>, to_ms: Option<u64>) {
        if let Some(deadline_ms) = from_ms {
            self.rows.delete(&key::deadline_key(Due::Keys, deadline_ms, self.space, key));
        }
        if let Some(deadline_ms) = to_ms {
            self.rows.put(&key::deadline_key(Due::Keys, deadline_ms, self.space, key), &[]);
            self.scratch.note_deadline(deadline_ms);
        }
        let db = self.db as usize;
        let counters = self.rows.counters_mut();
        let sum = &mut counters.deadline_sums[db];
        // What only a figure is made of ends no process.
        *sum = sum.saturating_add(to_ms.unwrap_or(0).into()).saturating_sub(from_ms.unwrap_or(0).into());
        let count = &mut counters.deadlines[db];
        match (from_ms, to_ms) {
            (None, Some(_)) => *count += 1,
            (Some(_), None) => *count = count.checked_sub(1).expect("a stored deadline is counted"),
            _ => {}
        }
    }

    /// Moves the hash `key` in the index of those whose fields have deadlines, and counts that.
    #[cold]
    pub(super) fn move_fields_due(&mut self, key: &[u8], from_ms: Option<u64>, to_ms: Option<u64>) {
        if let Some(deadline_ms) = from_ms {
            self.rows.delete(&key::deadline_key(Due::Fields, deadline_ms, self.space, key));
        }
        if let Some(deadline_ms) = to_ms {
            self.rows.put(&key::deadline_key(Due::Fields, deadline_ms, self.space, key), &[]);
            self.scratch.note_field_deadline(deadline_ms);
        }
        let count = &mut self.rows.counters_mut().field_deadlines[self.db as usize];
        match (from_ms, to_ms) {
            (None, Some(_)) => *count += 1,
            // It is a figure alone.
            (Some(_), None) => *count = count.saturating_sub(1),
            _ => {}
        }
    }

    /// Deletes every key of this database.
    pub fn flush(&mut self) -> Result<()> {
        let (from, to) = self.space.rows();
        self.rows.delete_range(&from, &to);
        let db = self.db as usize;
        let counters = self.rows.counters();
        // By the keys, though the hashes with deadlines of fields are counted: so the first programs did that have these, and what
        // a script's work comes to must not depend on the program.
        for (due, counts) in [(Due::Keys, counters.deadlines), (Due::Fields, counters.keys)] {
            let others = counts.iter().enumerate().any(|(index, &count)| index != db && count > 0);
            if !others {
                let (from, to) = key::deadline_space(due);
                self.rows.delete_range(&from, &to);
            } else if counts[db] > 0 {
                self.flush_deadlines(due)?;
            }
        }
        let counters = self.rows.counters_mut();
        (counters.keys[db], counters.deadlines[db], counters.deadline_sums[db]) = (0, 0, 0);
        counters.field_deadlines[db] = 0;
        self.scratch.note_all_written(self.db);
        Ok(())
    }

    /// Deletes every key of every database.
    pub fn flush_all(&mut self) {
        self.rows.delete_range(&[0], &[DATABASE_COUNT as u8]);
        for due in [Due::Keys, Due::Fields] {
            let (from, to) = key::deadline_space(due);
            self.rows.delete_range(&from, &to);
        }
        let counters = self.rows.counters_mut();
        *counters = Counters { spaces: counters.spaces.clone(), ..Counters::default() };
        (0..DATABASE_COUNT as u8).for_each(|db| self.scratch.note_all_written(db));
    }

    /// Deletes this database's rows of the index of what is `due`, which other databases share.
    fn flush_deadlines(&mut self, due: Due) -> Result<()> {
        let (mut from, to) = key::deadline_space(due);
        loop {
            let (mut mine, mut seen) = (Vec::new(), 0);
            let mut last = RowKey::new();
            self.rows.scan(Bound::Excluded(&from), Bound::Excluded(&to), Direction::Forward, &mut |row, _| {
                if key::read_deadline_key(due, row).is_some_and(|(_, space, _)| space == self.space) {
                    mine.push(RowKey::from_slice(row));
                }
                seen += 1;
                if seen < CHUNK_ROWS_MAX {
                    return ControlFlow::Continue(());
                }
                last = RowKey::from_slice(row);
                ControlFlow::Break(())
            })?;
            mine.iter().for_each(|row| self.rows.delete(row));
            if last.is_empty() {
                return Ok(());
            }
            from = last;
        }
    }

    /// Returns whether a key of any database has a deadline from `from_ms` on that has passed.
    pub fn has_due(&self, from_ms: u64) -> Result<bool> {
        self.is_any_due(Due::Keys, from_ms)
    }

    /// Returns whether one in the index of what is `due` from `from_ms` on has passed.
    pub(super) fn is_any_due(&self, due: Due, from_ms: u64) -> Result<bool> {
        let mut is_due = false;
        self.scan_deadlines(due, from_ms, self.now_ms, &mut |_, _, _| {
            is_due = true;
            ControlFlow::Break(())
        })?;
        Ok(is_due)
    }

    /// Deletes up to `count_max` keys, of all databases, whose deadline lies at `from_ms` or later and has passed; returns how
    /// many. The bound spares a walk over the traces of deadlines that were deleted long ago.
    pub fn delete_expired(&mut self, count_max: usize, from_ms: u64) -> Result<usize> {
        let due = self.due(Due::Keys, count_max, from_ms)?;
        let selected = self.db;
        for (space, key) in &due {
            self.select_at(*space);
            let prior = self.lookup(key)?.prior;
            assert!(
                prior.deadline_ms.is_some_and(|deadline_ms| deadline_ms < self.now_ms),
                "the deadline index names only keys with that deadline"
            );
            self.remove_row(key, prior);
        }
        self.select(selected);
        Ok(due.len())
    }

    /// The first `count_max` keys, each with the space of its database, whose deadline in the index of what is `due` lies at
    /// `from_ms` or later and has passed.
    pub(super) fn due(&self, due: Due, count_max: usize, from_ms: u64) -> Result<Vec<(Space, RowKey)>> {
        let mut found = Vec::new();
        if count_max > 0 {
            self.scan_deadlines(due, from_ms, self.now_ms, &mut |_, space, key| {
                found.push((space, RowKey::from_slice(key)));
                if found.len() < count_max { ControlFlow::Continue(()) } else { ControlFlow::Break(()) }
            })?;
        }
        Ok(found)
    }

    /// Visits the deadlines in the index of what is `due` from `from_ms` on and before `before_ms`, in order of time.
    pub(super) fn scan_deadlines(
        &self,
        due: Due,
        from_ms: u64,
        before_ms: u64,
        visit: VisitDeadline<'_>,
    ) -> Result<()> {
        let from = key::deadline_key(due, from_ms, Space::FIRST, &[]);
        let to = key::deadline_key(due, before_ms, Space::FIRST, &[]);
        let mut damage = None;
        self.rows.scan(Bound::Included(&from), Bound::Excluded(&to), Direction::Forward, &mut |row, _| {
            match key::read_deadline_key(due, row) {
                Some((deadline_ms, space, key)) => visit(deadline_ms, space, key),
                None => {
                    damage = Some(damaged(row));
                    ControlFlow::Break(())
                }
            }
        })?;
        damage.map_or(Ok(()), Err)
    }
}
