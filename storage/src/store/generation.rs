//! Generations: a frozen memtable on its way into RocksDB.
//!
//! The core freezes a memtable and hands out a [`GenerationJob`]; another thread runs it: write one sorted file with the
//! applied row inside, sync it, ingest it in one atomic step. Until [`Store::finish`](super::Store::finish) has the outcome,
//! the frozen memtable answers reads, so it does not matter whether RocksDB has the rows already; from then on it answers for
//! RocksDB, so that what was hot stays so, until the next generation takes its place. A crash before the ingest
//! leaves a file that is removed at open; a crash after it leaves nothing undone.

use std::fs;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Instant;

use rocksdb::SstFileWriter;

use crate::Result;
use crate::disk::{Applied, Database, encode_applied};
use crate::failpoint::failpoint;
use crate::limits::{COMPACTION_POLL_EVERY, COMPACTION_WAIT_MAX, LEVEL0_FILES_MAX};
use crate::memtable::Memtable;
use crate::rows::{APPLIED_ROW, Counters};

/// A memtable that changes no more, with the state it was frozen in.
pub(super) struct Frozen {
    pub(super) table: Memtable,
    pub(super) applied: Applied,
    pub(super) counters: Counters,
}

/// Writes a frozen generation into RocksDB. Run it on a thread that may block.
#[must_use = "the shard's memory is not freed until the generation is written"]
pub struct GenerationJob {
    pub(super) frozen: Arc<Frozen>,
    /// The generation before, of which this takes the place in memory, unless it was taken.
    pub(super) replaced: Option<Arc<Frozen>>,
    pub(super) database: Arc<Database>,
    pub(super) incoming: PathBuf,
}

impl GenerationJob {
    /// The generation that was in memory until now, to be dropped on a thread that may block, ahead of this job.
    pub fn take_replaced(&mut self) -> Retired {
        Retired { _frozen: [self.replaced.take(), None], ..Retired::default() }
    }

    /// The last log entry in the generation.
    pub fn applied_index(&self) -> u64 {
        self.frozen.applied.index
    }

    /// Writes, syncs and ingests the generation. Blocks for as long as that takes: tens of milliseconds to seconds.
    pub fn run(mut self) -> GenerationDone {
        self.replaced = None;
        let outcome = self.write_and_ingest();
        GenerationDone { frozen: self.frozen, database_number: self.database.number(), outcome }
    }

    fn write_and_ingest(&self) -> Result<()> {
        failpoint("generation frozen");
        self.database.check_room(self.frozen.table.bytes() as u64)?;
        let name = format!("db-{}-{}.sst", self.database.number(), self.frozen.applied.index);
        let file = self.incoming.join(name);
        let outcome = self.write(&file).and_then(|()| {
            failpoint("generation written");
            self.wait_for_compaction()?;
            self.database.ingest(&file)
        });
        if outcome.is_err() {
            // Nothing refers to the file; where even this fails, it is removed at the next open.
            let _ = fs::remove_file(&file);
        }
        outcome?;
        failpoint("generation ingested");
        Ok(())
    }

    /// Writes the generation's file, durably.
    fn write(&self, file: &Path) -> Result<()> {
        // One file has one sequence number for all its entries, and a deleted range hides only what is older than itself: so
        // it hides the files below, and not the rows beside it.
        let mut writer = SstFileWriter::create(self.database.table_options());
        let write = |writer: &mut SstFileWriter<'_>| {
            for (from, to) in self.frozen.table.tombstones().iter() {
                writer.delete_range(from, to)?;
            }
            for (key, value) in self.frozen.table.rows() {
                match value {
                    Some(value) => writer.put(key, value)?,
                    None => writer.delete(key)?,
                }
            }
            writer.put(APPLIED_ROW, encode_applied(&self.frozen.applied, &self.frozen.counters))
        };
        writer.open(file).map_err(|error| self.database.error(error))?;
        write(&mut writer).map_err(|error| self.database.error(error))?;
        failpoint("generation half written");
        // `finish` syncs the file.
        writer.finish().map_err(|error| self.database.error(error))
    }

    /// Lets compaction catch up, for a bounded time.
    fn wait_for_compaction(&self) -> Result<()> {
        if !self.database.compacts() {
            return Ok(());
        }
        let deadline = Instant::now() + COMPACTION_WAIT_MAX;
        while self.database.level0_file_count()? >= LEVEL0_FILES_MAX && Instant::now() < deadline {
            std::thread::sleep(COMPACTION_POLL_EVERY);
        }
        Ok(())
    }
}

/// The outcome of a generation; goes back to the store, on its core, into [`Store::finish`](super::Store::finish).
#[must_use = "the store keeps the generation in memory until it hears of it"]
pub struct GenerationDone {
    pub(super) frozen: Arc<Frozen>,
    pub(super) database_number: u64,
    pub(super) outcome: Result<()>,
}

/// Memory and files that the store no longer needs. Freeing them takes milliseconds: drop this on a thread that may block.
#[derive(Default)]
pub struct Retired {
    pub(super) _active: Option<Memtable>,
    pub(super) _frozen: [Option<Arc<Frozen>>; 2],
    pub(super) _database: Option<Arc<Database>>,
}

#[cfg(test)]
mod tests {
    use std::path::Path;

    use crate::keyspace::ROW_RULES;
    use crate::rows::Rows;
    use crate::{BlockCache, Error, OnMiss, Store, StoreOptions};

    fn open(dir: &Path) -> Store {
        Store::open(dir, &StoreOptions::new(ROW_RULES, 1024 * 1024, BlockCache::new(1024 * 1024))).unwrap()
    }

    fn write_out(store: &mut Store) {
        let next = store.applied().index + 1;
        store.set_applied(next, &next.to_be_bytes(), None);
        let done = store.freeze().unwrap().run();
        drop(store.finish(done).unwrap());
    }

    fn text(store: &Store, key: &[u8]) -> Option<String> {
        store.get(key).unwrap().map(|row| String::from_utf8_lossy(&row).into_owned())
    }

    #[test]
    fn a_deleted_range_hides_older_files_and_not_its_own() {
        let home = tempfile::tempdir().unwrap();
        let mut store = open(home.path());
        for key in [b"a", b"c", b"e", b"g"] {
            store.put(key, b"old");
        }
        write_out(&mut store);
        store.put(b"d", b"written before the range, in the same generation");
        store.delete_range(b"b", b"f");
        store.put(b"c", b"new");
        write_out(&mut store);
        let assert_rows = |store: &Store| {
            let found = [b"a", b"c", b"d", b"e", b"g"].map(|key| text(store, key));
            let expected = [Some("old"), Some("new"), None, None, Some("old")];
            assert_eq!(found, expected.map(|value| value.map(String::from)));
        };
        assert_rows(&store);
        drop(store);
        let store = open(home.path());
        assert_rows(&store);
        store.database.db().compact_range(None::<&[u8]>, None::<&[u8]>);
        assert_rows(&store);
    }

    #[test]
    fn the_frozen_generation_answers_until_it_is_finished() {
        let home = tempfile::tempdir().unwrap();
        let mut store = open(home.path());
        store.put(b"k", b"1");
        store.set_applied(1, b"1", None);
        let job = store.freeze().unwrap();
        assert!(store.freeze().is_none(), "one generation at a time");
        assert_eq!(text(&store, b"k").as_deref(), Some("1"));
        store.put(b"k", b"2");
        store.delete(b"gone");
        store.set_applied(2, b"2", None);
        assert_eq!(text(&store, b"k").as_deref(), Some("2"));
        let done = job.run();
        assert_eq!(store.durable_applied(), 0, "what the store has not heard of is not durable");
        store.finish(done).unwrap();
        assert_eq!(store.durable_applied(), 1);
        assert_eq!(store.memory().frozen_bytes, 0);
        assert!(store.memory().written_bytes > 0);
        assert_eq!(text(&store, b"k").as_deref(), Some("2"));
    }

    #[test]
    fn the_written_generation_answers_in_place_of_the_disk_until_the_next_is_frozen() {
        let home = tempfile::tempdir().unwrap();
        let mut store = open(home.path());
        for number in 0..100 {
            store.put(&[0, number], &[number; 1000]);
        }
        write_out(&mut store);
        store.put(b"k", b"1");
        store.delete_range(&[0, 60], &[0, 70]);
        store.set_on_miss(OnMiss::Cold);
        assert_eq!(store.get(&[0, 50]).unwrap().as_deref(), Some(&[50; 1000][..]));
        assert!(store.get(&[0, 65]).unwrap().is_none(), "deleted since");
        write_out(&mut store);
        assert!(matches!(store.get(&[0, 40]), Err(Error::Cold(_))), "memory holds one written generation");
        assert_eq!(store.get(&[0, 50]).unwrap().as_deref(), Some(&[50; 1000][..]), "a client has read it before");
        assert!(store.get(&[0, 65]).unwrap().is_none());
        assert_eq!(text(&store, b"k").as_deref(), Some("1"));
    }

    #[test]
    fn a_full_disk_loses_nothing_and_the_generation_is_tried_again() {
        let home = tempfile::tempdir().unwrap();
        let mut store = open(home.path());
        store.put(b"k", &[7; 300_000]);
        store.set_applied(9, b"9", Some(b"members"));
        // Every write to this file fails with ENOSPC.
        std::os::unix::fs::symlink("/dev/full", home.path().join("incoming/db-1-9.sst")).unwrap();
        let done = store.freeze().unwrap().run();
        assert!(matches!(store.finish(done), Err(Error::DiskFull { .. })));
        assert_eq!(store.durable_applied(), 0);
        assert_eq!(store.get(b"k").unwrap().unwrap().len(), 300_000);
        store.put(b"k", b"later");
        store.set_applied(10, b"10", None);
        let done = store.freeze().expect("the same generation is tried again").run();
        drop(store.finish(done).unwrap());
        assert_eq!(store.durable_applied(), 9);
        drop(store);
        let store = open(home.path());
        assert_eq!(store.get(b"k").unwrap().unwrap().len(), 300_000);
        assert_eq!(store.applied().membership, b"members");
    }

    #[test]
    fn a_generation_that_would_use_up_the_reserve_waits_until_there_is_room() {
        let home = tempfile::tempdir().unwrap();
        let open = |reserve_bytes| {
            let usual = StoreOptions::new(ROW_RULES, 1024 * 1024, BlockCache::new(1024 * 1024));
            Store::open(home.path(), &StoreOptions { reserve_bytes, ..usual }).unwrap()
        };
        let mut store = open(u64::MAX / 2);
        store.put(b"k", b"1");
        store.set_applied(1, b"1", None);
        let done = store.freeze().unwrap().run();
        assert!(matches!(store.finish(done), Err(Error::DiskFull { .. })));
        assert_eq!(text(&store, b"k").as_deref(), Some("1"));
        assert_eq!(std::fs::read_dir(home.path().join("incoming")).unwrap().count(), 0);
        drop(store);
        let mut store = open(1);
        store.put(b"k", b"1");
        write_out(&mut store);
    }

    #[test]
    fn entries_without_rows_are_written_too() {
        let home = tempfile::tempdir().unwrap();
        let mut store = open(home.path());
        assert!(store.freeze().is_none(), "there is nothing to write");
        write_out(&mut store);
        assert!(store.freeze().is_none(), "everything is on disk");
        assert!(store.disk_is_empty, "the applied row is no row to read");
        drop(store);
        let store = open(home.path());
        assert_eq!(store.applied().index, 1);
        assert!(store.disk_is_empty);
    }

    #[test]
    fn rows_after_a_restart_continue_from_the_disk() {
        let home = tempfile::tempdir().unwrap();
        let mut store = open(home.path());
        store.put(b"k", b"1");
        store.counters_mut().keys[3] = 5;
        write_out(&mut store);
        store.put(b"k", b"not written out");
        drop(store);
        let mut store = open(home.path());
        assert_eq!(text(&store, b"k").as_deref(), Some("1"));
        assert_eq!(store.counters().keys[3], 5);
        store.delete(b"k");
        assert_eq!(text(&store, b"k"), None);
        write_out(&mut store);
        drop(store);
        assert_eq!(text(&open(home.path()), b"k"), None);
    }
}
