//! Generations: a frozen memtable on its way into RocksDB.
//!
//! The core freezes a memtable and hands out a [`GenerationJob`]; another thread runs it: write one sorted file with the
//! applied row inside, sync it, ingest it in one atomic step. Until [`Store::finish`](super::Store::finish) has the outcome,
//! the frozen memtable answers reads, so it does not matter whether RocksDB has the rows already. A crash before the ingest
//! leaves a file that is removed at open; a crash after it leaves nothing undone.

use std::fs;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::{Duration, Instant};

use rocksdb::SstFileWriter;

use super::applied::{self, Applied};
use super::database::Database;
use super::failpoint::failpoint;
use super::memtable::Memtable;
use crate::Result;
use crate::keyspace::APPLIED_ROW;
use crate::rows::Counters;

/// Level-0 files at which the next generation waits for compaction: each one costs every cold read a look.
const LEVEL0_FILES_MAX: u64 = 20;
/// How long a generation waits for compaction at most. The shard's backlog grows meanwhile, which slows its clients down.
const COMPACTION_WAIT_MAX: Duration = Duration::from_secs(2);
const COMPACTION_POLL: Duration = Duration::from_millis(20);

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
    pub(super) database: Arc<Database>,
    pub(super) incoming: PathBuf,
}

impl GenerationJob {
    /// The last log entry in the generation.
    pub fn applied_index(&self) -> u64 {
        self.frozen.applied.index
    }

    /// Writes, syncs and ingests the generation. Blocks for as long as that takes: tens of milliseconds to seconds.
    pub fn run(self) -> GenerationDone {
        let outcome = self.write_and_ingest();
        GenerationDone { frozen: self.frozen, database_number: self.database.number(), outcome }
    }

    fn write_and_ingest(&self) -> Result<()> {
        failpoint("generation frozen");
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
            writer.put(APPLIED_ROW, applied::encode(&self.frozen.applied, &self.frozen.counters))
        };
        writer.open(file).map_err(|error| self.database.error(error))?;
        write(&mut writer).map_err(|error| self.database.error(error))?;
        failpoint("generation half written");
        // `finish` syncs the file.
        writer.finish().map_err(|error| self.database.error(error))
    }

    /// Lets compaction catch up, for a bounded time.
    fn wait_for_compaction(&self) -> Result<()> {
        let deadline = Instant::now() + COMPACTION_WAIT_MAX;
        while self.database.level0_file_count()? >= LEVEL0_FILES_MAX && Instant::now() < deadline {
            std::thread::sleep(COMPACTION_POLL);
        }
        Ok(())
    }
}

/// What became of a generation; goes back to the store, on its core, into [`Store::finish`](super::Store::finish).
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
