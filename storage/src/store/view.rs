//! Rows of one moment, for a command that another thread executes.
//!
//! A command that reads much from disk is not run again and again on the core until all of it is in memory: a reader thread
//! executes it, once, row by row. It needs the rows as they were at one moment, while the core goes on changing them. So a view is
//! put together of two halves: a copy of what the memtables know of the keys that the command names ([`Store::view`]), made on the
//! core, and a RocksDB snapshot, taken on the thread ([`ColdReader::view`]), since RocksDB may be busy for a moment.
//!
//! The two belong together if no generation was finished and no snapshot installed between them
//! ([`Epoch`](crate::cold::Epoch)): then RocksDB has every generation that the memtables no longer know, and at most the
//! frozen one beside them, whose rows the copy has as well. The thread takes its half first and asks the core for the other, so
//! that little time lies between them, and views that wait for a thread hold no memory. If they do not belong together, the thread
//! begins anew.
//!
//! The one thing a newcomer would get wrong: a RocksDB snapshot does not keep a compaction filter from removing rows. So while
//! there are views, orphans stay where they are (see `orphan_filter`).

use std::cell::Cell;
use std::ops::{Bound, ControlFlow};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};

use rocksdb::{DB, ReadOptions, ReadTier, SnapshotWithThreadMode};

use super::generation::Frozen;
use super::merge_scan::{self, ScanLayers};
use super::store::Store;
use crate::cold::ColdReader;
use crate::cold_read::{ColdRead, Direction};
use crate::disk::{Database, read_options};
use crate::memtable::{Found, Memtable};
use crate::rows::{Counters, Row, RowRange, Rows, Visit};
use crate::{Error, Result};

/// Rows of some keys that are in memory at one moment: half of a view of them.
pub struct View {
    memory: Memtable,
    /// Ranges of the rows that are seen: ascending, none within another.
    ranges: Vec<RowRange>,
    counters: Counters,
    _counted: Counted,
}

/// Bytes that are in a total until this goes, on whatever thread.
struct Counted {
    total: Arc<AtomicUsize>,
    bytes: usize,
}

impl Counted {
    fn new(total: &Arc<AtomicUsize>, bytes: usize) -> Counted {
        total.fetch_add(bytes, Ordering::Relaxed);
        Counted { total: total.clone(), bytes }
    }
}

impl Drop for Counted {
    fn drop(&mut self) {
        self.total.fetch_sub(self.bytes, Ordering::Relaxed);
    }
}

/// The answer to a reader thread that is ready to execute a command.
pub enum ViewAnswer {
    /// Here is what memory knows.
    Go(Box<View>),
    /// Rows have reached the disk since: begin anew with this reader.
    Again(ColdReader),
    /// Nobody needs it any more.
    Stop,
}

impl View {
    fn new(store: &Store, mut ranges: Vec<RowRange>) -> View {
        ranges.sort_unstable();
        ranges.dedup();
        let mut memory = Memtable::default();
        // From the older rows to the newer ones: a deleted range hides those before it, and not those of its own generation.
        let frozen = store.layers.frozen.as_deref().map(|Frozen { table, .. }| table);
        for table in frozen.into_iter().chain([&store.layers.active]) {
            table.tombstones().iter().for_each(|(from, to)| memory.delete_range(from, to, true));
            for (from, to) in &ranges {
                let mut rows = table.cursor(Bound::Included(from), Bound::Excluded(to), Direction::Forward);
                while let Some((key, value)) = rows.head() {
                    match value {
                        Some(value) => memory.put(key, value),
                        None => memory.delete(key, true),
                    }
                    rows.advance();
                }
            }
        }
        // Nobody adds to it any more, so this is what it takes until it goes.
        let range_bytes = |(from, to): &RowRange| from.len() + to.len() + size_of::<RowRange>();
        let bytes = memory.bytes() + ranges.iter().map(range_bytes).sum::<usize>();
        let counted = Counted::new(&store.view_bytes, bytes);
        View { memory, ranges, counters: store.counters.clone(), _counted: counted }
    }

    /// Returns whether all rows in `lower..upper` are seen.
    fn covers(&self, lower: &[u8], upper: &[u8]) -> bool {
        let index = self.ranges.partition_point(|(from, _)| &**from <= lower);
        let range = index.checked_sub(1).map(|index| &self.ranges[index]);
        range.is_some_and(|(_, to)| lower < &**to && upper <= &**to)
    }
}

impl Store {
    /// Copies what memory knows now of the rows in `ranges`. `None` if `reader`, and what its thread has read from RocksDB since it
    /// was made, is of the past.
    pub fn view(&self, reader: &ColdReader, ranges: Vec<RowRange>) -> Option<View> {
        // Within an epoch no rows go from memory to disk: what the copy lacks, the thread's half has.
        (reader.epoch == self.epoch).then(|| View::new(self, ranges))
    }

    /// Returns the number of rows read from RocksDB for requests since the store was opened, on threads that may block.
    pub fn cold_rows_read(&self) -> u64 {
        self.cold_rows_read.load(Ordering::Relaxed)
    }
}

impl ColdReader {
    /// Takes hold of RocksDB's rows as they are, then has `ask` asked for what memory knows, and calls `read` with both. Reads of
    /// rows that the view does not cover give [`Error::Cold`], all others wait for the disk. `None` if nobody needs it any more.
    pub fn view<R>(mut self, mut ask: impl FnMut() -> ViewAnswer, read: impl FnOnce(&mut dyn Rows) -> R) -> Option<R> {
        loop {
            let database = self.database()?;
            let _orphans_stay = database.keep_orphans();
            let snapshot = database.db().snapshot();
            match ask() {
                ViewAnswer::Go(view) => {
                    let mut rows = ViewRows::new(&view, &database, &snapshot);
                    let outcome = read(&mut rows);
                    rows.count(&self.rows_read);
                    return Some(outcome);
                }
                ViewAnswer::Again(reader) => self = reader,
                ViewAnswer::Stop => return None,
            }
        }
    }
}

/// Both halves.
struct ViewRows<'a> {
    view: &'a View,
    database: &'a Database,
    snapshot: &'a SnapshotWithThreadMode<'a, DB>,
    options: ReadOptions,
    /// Rows that RocksDB was asked for, and those that scans have visited.
    rows_read: Cell<u64>,
    waits: Cell<u64>,
}

impl<'a> ViewRows<'a> {
    fn new(view: &'a View, database: &'a Database, snapshot: &'a SnapshotWithThreadMode<'a, DB>) -> ViewRows<'a> {
        let mut options = read_options(ReadTier::All);
        options.set_snapshot(snapshot);
        ViewRows { view, database, snapshot, options, rows_read: Cell::new(0), waits: Cell::new(0) }
    }

    fn count(&self, total: &Arc<AtomicU64>) {
        total.fetch_add(self.rows_read.get(), Ordering::Relaxed);
    }
}

impl Rows for ViewRows<'_> {
    fn get(&self, key: &[u8]) -> Result<Option<Row<'_>>> {
        if !self.view.covers(key, key) {
            return Err(Error::Cold(ColdRead::Key(key.into())));
        }
        match self.view.memory.find(key) {
            Found::Value(value) => return Ok(Some(Row::Memory(value))),
            Found::Deleted => return Ok(None),
            Found::Unknown => {}
        }
        self.rows_read.set(self.rows_read.get() + 1);
        let row = self.database.get(key, &self.options).map_err(|error| self.database.error(error))?;
        Ok(row.map(Row::Pinned))
    }

    fn get_of_this_entry(&self, _key: &[u8]) -> Option<Row<'_>> {
        None
    }

    fn put(&mut self, _key: &[u8], _value: &[u8]) {
        unreachable!("reads change no rows");
    }

    fn delete(&mut self, _key: &[u8]) {
        unreachable!("reads change no rows");
    }

    fn delete_range(&mut self, _from: &[u8], _to: &[u8]) {
        unreachable!("reads change no rows");
    }

    fn scan(&self, lower: Bound<&[u8]>, upper: Bound<&[u8]>, direction: Direction, visit: Visit<'_>) -> Result<()> {
        let covers = match (lower, upper) {
            (Bound::Included(from) | Bound::Excluded(from), Bound::Included(to) | Bound::Excluded(to)) => {
                self.view.covers(from, to)
            }
            _ => false,
        };
        if !covers {
            let from = match lower {
                Bound::Included(from) | Bound::Excluded(from) => from,
                Bound::Unbounded => &[],
            };
            return Err(Error::Cold(ColdRead::Key(from.into())));
        }
        let layers = ScanLayers {
            active: &self.view.memory,
            frozen: None,
            disk: Some(self.database),
            snapshot: Some(self.snapshot),
            pinned: None,
            waits: Some(&self.waits),
        };
        merge_scan::scan(&layers, lower, upper, direction, &mut |key, value| -> ControlFlow<()> {
            self.rows_read.set(self.rows_read.get() + 1);
            visit(key, value)
        })
    }

    fn counters(&self) -> &Counters {
        &self.view.counters
    }

    fn counters_mut(&mut self) -> &mut Counters {
        unreachable!("reads change no counters");
    }
}

#[cfg(test)]
mod tests {
    use std::path::Path;

    use super::*;
    use crate::keyspace::{Keyspace, ROW_RULES, Scratch, VersionSource, rows_of_key};
    use crate::{BlockCache, OnMiss, StoreOptions};

    fn open(dir: &Path) -> Store {
        Store::open(dir, &StoreOptions::new(ROW_RULES, 1 << 20, BlockCache::new(1 << 20))).unwrap()
    }

    fn finish(store: &mut Store) {
        let next = store.applied().index + 1;
        store.set_applied(next, &next.to_be_bytes(), None);
        let done = store.freeze().unwrap().run();
        drop(store.finish(done).unwrap());
    }

    fn range(from: &[u8], to: &[u8]) -> RowRange {
        (from.into(), to.into())
    }

    fn text(rows: &dyn Rows) -> String {
        let mut text = String::new();
        let all = (Bound::Included(&b"a"[..]), Bound::Excluded(&b"n"[..]));
        rows.scan(all.0, all.1, Direction::Forward, &mut |key, value| {
            let found = rows.get(key).unwrap().unwrap();
            assert_eq!(&*found, value);
            text += &format!("{}={} ", String::from_utf8_lossy(key), String::from_utf8_lossy(value));
            ControlFlow::Continue(())
        })
        .unwrap();
        text
    }

    #[test]
    fn a_view_shows_one_moment_whatever_is_written_and_reaches_the_disk_after_it() {
        let home = tempfile::tempdir().unwrap();
        let mut store = open(home.path());
        for key in [b"a", b"b", b"c", b"d", b"e", b"z"] {
            store.put(key, b"1");
        }
        finish(&mut store);
        store.put(b"b", b"2");
        store.delete(b"c");
        store.delete_range(b"d", b"e");
        store.set_applied(7, b"7", None);
        let job = store.freeze().unwrap();
        store.put(b"a", b"3");
        store.put(b"c", b"3");
        let mut job = Some(job);
        let reader = store.cold_reader();
        let store = std::cell::RefCell::new(store);
        let mut rounds = 0;
        let expected = "a=3 b=2 c=3 e=1 ";
        let seen = reader.clone().view(
            || {
                rounds += 1;
                let reader = if rounds == 1 { &reader } else { &store.borrow().cold_reader() };
                if let Some(job) = job.take() {
                    // RocksDB has the frozen generation by now, and the store knows.
                    let done = job.run();
                    drop(store.borrow_mut().finish(done).unwrap());
                }
                match store.borrow().view(reader, vec![range(b"a", b"n")]) {
                    Some(view) => ViewAnswer::Go(Box::new(view)),
                    None => ViewAnswer::Again(store.borrow().cold_reader()),
                }
            },
            |rows| {
                let before = text(rows);
                let mut store = store.borrow_mut();
                store.put(b"a", b"4");
                store.delete_range(b"b", b"f");
                finish(&mut store);
                store.put(b"f", b"5");
                finish(&mut store);
                store.database.db().compact_range(None::<&[u8]>, None::<&[u8]>);
                assert!(matches!(rows.get(b"z"), Err(Error::Cold(_))), "nobody asked for it");
                (before, text(rows))
            },
        );
        assert_eq!(seen, Some((expected.to_owned(), expected.to_owned())));
        assert_eq!(rounds, 2, "what was taken before a generation was finished is of the past");
        let mut store = store.into_inner();
        store.set_on_miss(OnMiss::Wait);
        assert_eq!(text(&store), "a=4 f=5 ");
        assert!(store.cold_rows_read() > 0);
    }

    #[test]
    fn the_memory_of_a_view_is_counted_until_it_goes() {
        let home = tempfile::tempdir().unwrap();
        let mut store = open(home.path());
        for number in 0..100u8 {
            store.put(&[b'a', number], &[number; 1000]);
        }
        let (reader, all) = (store.cold_reader(), vec![range(b"a", b"b")]);
        assert_eq!(store.memory().view_bytes, 0);
        let first = store.view(&reader, all.clone()).unwrap();
        let one = store.memory().view_bytes;
        assert!(one > 100_000 && one < 300_000, "{one} bytes");
        let second = store.view(&reader, all).unwrap();
        assert_eq!(store.memory().view_bytes, 2 * one);
        std::thread::spawn(move || drop(first)).join().unwrap();
        assert_eq!(store.memory().view_bytes, one);
        drop(second);
        assert_eq!(store.memory().view_bytes, 0);
    }

    #[test]
    fn elements_stay_for_a_view_whose_key_is_deleted_meanwhile_and_go_after_it() {
        let home = tempfile::tempdir().unwrap();
        let (mut store, mut scratch) = (open(home.path()), Scratch::default());
        let mut keyspace = Keyspace::new(&mut store, &mut scratch, VersionSource::entry(1), 0, 1000);
        let mut set = keyspace.set_or_new(b"set").unwrap();
        for number in 0..200u8 {
            set.insert(&mut keyspace, &[number; 50]).unwrap();
        }
        set.save(&mut keyspace).unwrap();
        finish(&mut store);
        let ranges: Vec<RowRange> = rows_of_key(store.counters(), 0, b"set", true).collect();
        let count = |rows: &dyn Rows| {
            let (from, to) = &ranges[1];
            let mut count = 0;
            let bounds = (Bound::Included(&**from), Bound::Excluded(&**to));
            rows.scan(bounds.0, bounds.1, Direction::Forward, &mut |_, _| {
                count += 1;
                ControlFlow::Continue(())
            })
            .unwrap();
            count
        };
        let compact = |store: &Store| store.database.db().compact_range(None::<&[u8]>, None::<&[u8]>);
        let rows = count(&store);
        assert!(rows >= 100);
        let (reader, store) = (store.cold_reader(), std::cell::RefCell::new(store));
        let seen = reader.clone().view(
            || ViewAnswer::Go(Box::new(store.borrow().view(&reader, ranges.clone()).unwrap())),
            |rows| {
                let mut store = store.borrow_mut();
                assert!(
                    Keyspace::new(&mut *store, &mut scratch, VersionSource::entry(2), 0, 1000).delete(b"set").unwrap()
                );
                finish(&mut store);
                compact(&store);
                count(rows)
            },
        );
        assert_eq!(seen, Some(rows));
        let store = store.into_inner();
        compact(&store);
        assert_eq!(count(&store), 0, "they are orphans");
    }
}
