//! The applied rows of one shard: a memtable of our own over RocksDB.
//!
//! Rows are applied to the *active* memtable, which only the shard's core touches. At its budget it is *frozen*, another thread
//! writes it into RocksDB as one file with the applied row inside. There is no WAL here: what RocksDB does not have yet is in the
//! Raft log, which is purged only up to [`Store::durable_applied`], and is applied again after a crash. Reads ask active, frozen,
//! the cache of rows on disk, RocksDB, in that order.
//!
//! A *written* generation stays in memory until the next one is frozen, in whose place it is: without it, every key that was
//! hot a moment ago would have to be read from the disk, all at once. It is no layer of its own but a copy of what RocksDB has.
//!
//! The one thing a newcomer would get wrong: [`Store::freeze`] belongs between two log entries, never into one.

mod applied;
mod block_cache;
mod cold_reader;
#[cfg(test)]
mod crash_test;
mod database;
mod generation;
mod home;
mod kept_rows;
mod memtable;
mod merge_scan;
#[cfg(test)]
mod model_test;
mod options;
mod orphan_filter;
mod range_tombstones;
mod row_cache;
mod snapshot;
#[cfg(test)]
mod test_random;
mod trial;
mod view;

use std::cell::Cell;
use std::ops::Bound;
use std::path::Path;
use std::sync::atomic::AtomicU64;
use std::sync::{Arc, Mutex, PoisonError, Weak};

use rocksdb::{ErrorKind, ReadOptions, ReadTier};

pub use applied::Applied;
pub use block_cache::BlockCache;
pub use cold_reader::{ColdReader, Warmed};
pub use generation::{GenerationDone, GenerationJob, Retired};
pub use kept_rows::KeptRows;
pub use options::StoreOptions;
pub use row_cache::RowCacheCounts;
pub use snapshot::{CheckpointDone, CheckpointJob, InstallDone, InstallJob};
pub use trial::{Changes, Trial};
pub use view::{View, ViewAnswer};

use cold_reader::CurrentDatabase;
use database::{Database, Opened, read_options};
use generation::Frozen;
use home::Home;
use kept_rows::Kept;
use memtable::{Found, Memtable};
use merge_scan::Layers;
use row_cache::{Cached, Epoch, RowCache};

use crate::Error;
use crate::Result;
use crate::cold_read::{ColdRead, Direction};
use crate::rows::{APPLIED_ROW, Counters, Row, Rows, Visit};

/// What a read does that memory cannot answer.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum OnMiss {
    /// It waits for the disk.
    Wait,
    /// It gives [`Error::Cold`].
    Cold,
    /// It gives [`Error::Cold`] as long as nothing is changed: then its command may be tried again. From then on it waits.
    ColdUntilChanged,
}

/// Where a store's memory is, in bytes. The block cache is the node's and counted there.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct StoreMemory {
    /// The memtable that takes writes.
    pub active_bytes: usize,
    /// The memtable being written to disk; 0 if there is none.
    pub frozen_bytes: usize,
    /// The memtable that is on disk and still read from, or the one in whose place the frozen one came, until that is freed.
    pub written_bytes: usize,
    /// The budget of each of the three.
    pub memtable_bytes: usize,
    /// The cache of rows on disk.
    pub row_cache_bytes: usize,
}

/// The applied rows of one shard; see the module's docs. Used by the shard's core only; what blocks is handed out as a job.
pub struct Store {
    home: Home,
    options: StoreOptions,
    active: Memtable,
    applied: Applied,
    counters: Counters,
    frozen: Option<Arc<Frozen>>,
    /// The generation that was frozen last, once RocksDB has it.
    written: Option<Arc<Frozen>>,
    /// The one before it, and its bytes, until another thread has freed it.
    replaced: (Weak<Frozen>, usize),
    /// Whether a job for the frozen generation is under way.
    is_writing: bool,
    row_cache: RowCache,
    /// Which answers of reader threads are of the database as it is.
    epoch: Epoch,
    database: Arc<Database>,
    cold_current: CurrentDatabase,
    /// Whether RocksDB holds no row at all, so that nobody needs to ask it.
    disk_is_empty: bool,
    /// Up to where the rows on disk are applied.
    durable: Applied,
    on_miss: OnMiss,
    /// Rows from disk that are kept for the command being run.
    kept: Option<KeptRows>,
    /// Whether a row was changed since `on_miss` was set.
    is_changed: bool,
    /// Commands that changed what the active memtable holds, and what the frozen one does.
    active_changes: u64,
    frozen_changes: u64,
    /// Generations that have reached the disk since the store was opened.
    generations_written: u64,
    /// Whether an entry is being applied: it may have changed some of its rows, and not yet others.
    is_mid_entry: bool,
    disk_waits: Cell<u64>,
    /// Rows that were read for requests on other threads.
    cold_rows_read: Arc<AtomicU64>,
    waiting_reads: ReadOptions,
    cached_reads: ReadOptions,
}

impl Store {
    /// Opens the store in `dir`, or creates it. Removes what a crash left unfinished. Blocks.
    ///
    /// RocksDB's background threads inherit the CPU affinity of the thread that opens the first database: open stores before
    /// pinning, or on a thread that is not pinned.
    ///
    /// # Errors
    /// [`Error::Corruption`] naming what is damaged, [`Error::Missing`] if there is none and none is to be made,
    /// [`Error::Foreign`] for another shard's, [`Error::UnknownFormat`] for data of another version, [`Error::Io`],
    /// [`Error::DiskFull`].
    pub fn open(dir: &Path, options: &StoreOptions) -> Result<Store> {
        let (home, current) = Home::open(dir, options.identity, options.create)?;
        let number = current.unwrap_or(1);
        home.remove_incoming()?;
        let opened = Database::open(home.database_path(number), number, current.is_none(), options)?;
        if current.is_none() {
            home.set_current(number)?;
        }
        home.remove_leftovers(number)?;
        let Opened { database, applied, counters, is_empty } = opened;
        Ok(Store {
            home,
            options: options.clone(),
            active: Memtable::default(),
            durable: applied.clone(),
            applied,
            counters,
            frozen: None,
            written: None,
            replaced: (Weak::new(), 0),
            is_writing: false,
            row_cache: RowCache::new(options.row_cache_bytes),
            epoch: Epoch::default(),
            cold_current: Arc::new(Mutex::new(Arc::downgrade(&database))),
            database,
            disk_is_empty: is_empty,
            on_miss: OnMiss::Wait,
            kept: None,
            is_changed: false,
            active_changes: 0,
            frozen_changes: 0,
            generations_written: 0,
            is_mid_entry: false,
            disk_waits: Cell::new(0),
            cold_rows_read: Arc::default(),
            waiting_reads: read_options(ReadTier::All),
            cached_reads: read_options(ReadTier::BlockCache),
        })
    }

    /// Work that has the store's files compacted from now on, if there is room, and says whether it need not be tried again. Run it
    /// on a thread that may block, once everything that needs disk space to start has started.
    pub fn compaction_start(&self) -> impl Fn() -> bool + Send + use<> {
        let database = Arc::downgrade(&self.database);
        // One that a snapshot has replaced has nothing to compact.
        move || database.upgrade().is_none_or(|database| database.begin_compaction())
    }

    /// Where the store is.
    pub fn directory(&self) -> &Path {
        self.home.path()
    }

    /// Whether there may be rows on disk.
    pub fn has_rows_on_disk(&self) -> bool {
        !self.disk_is_empty
    }

    /// Up to where the rows are applied, in memory.
    pub fn applied(&self) -> &Applied {
        &self.applied
    }

    /// Says that the rows now include the log entry `index`. Called once per entry, after its rows; `membership` only where the
    /// entry changed it.
    ///
    /// # Panics
    /// If `index` goes backward: an entry would be applied twice.
    pub fn set_applied(&mut self, index: u64, log_id: &[u8], membership: Option<&[u8]>) {
        assert!(
            index >= self.applied.index,
            "entry {index} was applied before: entry {} is the last",
            self.applied.index
        );
        self.is_mid_entry = false;
        self.applied.index = index;
        self.applied.log_id.clear();
        self.applied.log_id.extend_from_slice(log_id);
        if let Some(membership) = membership {
            self.applied.membership.clear();
            self.applied.membership.extend_from_slice(membership);
        }
    }

    /// Says that time has come to `time_ms`, Unix milliseconds, in the rows: the time of the entry that is applied next by
    /// [`Store::set_applied`].
    ///
    /// # Panics
    /// If it goes back: keys that were gone would be there again.
    pub fn set_time(&mut self, time_ms: u64) {
        assert!(
            time_ms >= self.applied.time_ms,
            "{time_ms} is before {}, which the rows have seen",
            self.applied.time_ms
        );
        self.applied.time_ms = time_ms;
    }

    /// The last log entry whose rows are on disk for good: the log may be purged up to here, and not further.
    pub fn durable_applied(&self) -> u64 {
        self.durable.index
    }

    /// Says what reads do from now on that memory cannot answer. They wait at first.
    pub fn set_on_miss(&mut self, on_miss: OnMiss) {
        self.on_miss = on_miss;
        self.is_changed = false;
    }

    /// Counts the command that was run since [`Store::set_on_miss`], if it has changed anything.
    pub fn count_change(&mut self) {
        self.active_changes += u64::from(self.is_changed);
    }

    /// How many commands have changed rows that are not on disk.
    pub fn unsaved_changes(&self) -> u64 {
        self.active_changes + self.frozen_changes
    }

    /// How many generations have reached the disk since the store was opened.
    pub fn generations_written(&self) -> u64 {
        self.generations_written
    }

    /// Gives the commands that are run next rows that were kept for them, and says whether they are of use: those of the past are
    /// not.
    pub fn set_kept(&mut self, kept: KeptRows) -> bool {
        self.kept = Some(kept).filter(|kept| kept.epoch == self.epoch);
        self.kept.is_some()
    }

    /// Takes the kept rows back.
    pub fn take_kept(&mut self) -> Option<KeptRows> {
        self.kept.take()
    }

    /// Takes over what was changed on trial, since when nothing else was.
    pub fn commit(&mut self, changes: &Changes) {
        // Rows in a deleted range were put after it.
        changes.rows.tombstones().iter().for_each(|(from, to)| self.delete_range(from, to));
        for (key, value) in changes.rows.rows() {
            match value {
                Some(value) => self.put(key, value),
                None => self.delete(key),
            }
        }
        self.counters.clone_from(&changes.counters);
    }

    /// Says that an entry is applied from now on, and may wait for rows in the middle: nothing is frozen before
    /// [`Store::set_applied`], since a generation holds whole entries.
    pub fn begin_entry(&mut self) {
        self.is_mid_entry = true;
    }

    /// Whether an entry is being applied.
    pub fn is_mid_entry(&self) -> bool {
        self.is_mid_entry
    }

    /// Whether a read that memory cannot answer may wait for the disk.
    fn may_wait(&self) -> bool {
        match self.on_miss {
            OnMiss::Wait => true,
            OnMiss::Cold => false,
            OnMiss::ColdUntilChanged => self.is_changed,
        }
    }

    /// A reader for the threads that fetch cold rows. It follows the store through installed snapshots; what it brings back is
    /// worth keeping until the next generation is finished, so take a new one for each read.
    pub fn cold_reader(&self) -> ColdReader {
        ColdReader { current: self.cold_current.clone(), epoch: self.epoch, rows_read: self.cold_rows_read.clone() }
    }

    /// Keeps the rows that a [`ColdReader`] has brought, unless they may be of the past.
    pub fn take_warmed(&self, warmed: &Warmed) {
        if warmed.epoch != self.epoch {
            return;
        }
        for (key, value) in &warmed.rows {
            if matches!(self.find_in_memory(key), Found::Unknown) {
                self.row_cache.insert(key, value.as_deref());
            }
        }
    }

    /// Whether the active memtable has reached its budget. If [`Store::freeze`] gives nothing then, since the frozen generation
    /// is not written yet, the shard should slow its clients down.
    pub fn is_full(&self) -> bool {
        self.active.bytes() >= self.options.memtable_bytes
    }

    /// Freezes what was applied and returns the job that writes it out; or, after a failed job, returns one that tries the same
    /// generation again. `None` if a job is under way, if an entry is half applied, or if there is nothing that is not on disk.
    ///
    /// Called between two log entries: the generation holds whole entries.
    pub fn freeze(&mut self) -> Option<GenerationJob> {
        // What is frozen already is whole.
        if self.is_writing || (self.is_mid_entry && self.frozen.is_none()) {
            return None;
        }
        if self.frozen.is_none() {
            if self.active.is_empty() && self.applied == self.durable {
                return None;
            }
            self.frozen_changes = std::mem::take(&mut self.active_changes);
            self.frozen = Some(Arc::new(Frozen {
                table: std::mem::take(&mut self.active),
                applied: self.applied.clone(),
                counters: self.counters.clone(),
            }));
        }
        let frozen = self.frozen.clone()?;
        self.is_writing = true;
        let (database, incoming) = (self.database.clone(), self.home.incoming_path());
        let replaced = self.written.take();
        if let Some(replaced) = &replaced {
            self.replaced = (Arc::downgrade(replaced), replaced.table.bytes());
        }
        Some(GenerationJob { frozen, replaced, database, incoming })
    }

    /// Takes back what became of a generation: if it is on disk, its memory goes when the next one is frozen.
    ///
    /// # Errors
    /// The job's error. The generation then stays in memory and the next [`Store::freeze`] tries it again; nothing is lost,
    /// since the log still has it. After [`Error::DiskFull`] wait for space; [`Error::Corruption`] is final.
    pub fn finish(&mut self, done: GenerationDone) -> Result<Retired> {
        let GenerationDone { frozen, database_number, outcome } = done;
        if database_number != self.database.number() {
            // A snapshot was installed meanwhile; the generation belonged to the rows that it replaced.
            return Ok(Retired { _frozen: [Some(frozen), None], ..Retired::default() });
        }
        assert!(self.is_writing, "no generation is being written");
        self.is_writing = false;
        outcome?;
        self.durable = frozen.applied.clone();
        self.frozen_changes = 0;
        self.generations_written += 1;
        // Nothing to do for the row cache: it holds no key of the generation, see its module's docs.
        self.epoch.0 += 1;
        self.disk_is_empty &= frozen.table.is_empty();
        let written = self.frozen.take();
        if self.is_full() {
            // The next one is frozen in a moment, and memory is short.
            return Ok(Retired { _frozen: [Some(frozen), written], ..Retired::default() });
        }
        self.written = written;
        Ok(Retired { _frozen: [Some(frozen), None], ..Retired::default() })
    }

    /// Memory in use.
    pub fn memory(&self) -> StoreMemory {
        StoreMemory {
            active_bytes: self.active.bytes(),
            frozen_bytes: self.frozen.as_ref().map_or(0, |frozen| frozen.table.bytes()),
            written_bytes: self.written_bytes(),
            memtable_bytes: self.options.memtable_bytes,
            row_cache_bytes: self.row_cache.bytes(),
        }
    }

    fn written_bytes(&self) -> usize {
        let (replaced, replaced_bytes) = &self.replaced;
        let written_bytes = self.written.as_ref().map_or(0, |written| written.table.bytes());
        written_bytes + if replaced.strong_count() > 0 { *replaced_bytes } else { 0 }
    }

    /// Bytes of the live files on disk. Takes RocksDB's lock for a moment: not for every request.
    pub fn disk_bytes(&self) -> Result<u64> {
        self.database.live_file_bytes()
    }

    /// The job that makes a checkpoint of the rows in the directory `into`, which must not exist and must be on the same file
    /// system. What is in memory is written out first, unless a generation is being written already: then the checkpoint holds
    /// what is on disk when the job runs.
    pub fn checkpoint(&mut self, into: &Path) -> CheckpointJob {
        CheckpointJob { generation: self.freeze(), database: self.database.clone(), into: into.into() }
    }

    /// Takes back what became of a checkpoint: where it stands, and what to drop on another thread.
    ///
    /// # Errors
    /// As [`Store::finish`], and the checkpoint's own error.
    pub fn finish_checkpoint(&mut self, done: CheckpointDone) -> Result<(Applied, Retired)> {
        let retired = match done.generation {
            Some(generation) => self.finish(generation)?,
            None => Retired::default(),
        };
        Ok((done.checkpoint?, retired))
    }

    /// The job that puts the checkpoint in `from` in the place of all rows. The directory is moved, so it must be on the same
    /// file system. Until [`Store::finish_install`] nothing may be applied.
    pub fn install_job(&self, from: &Path) -> InstallJob {
        let number = self.database.number() + 1;
        InstallJob { home: self.home.clone(), number, options: self.options.clone(), from: from.into() }
    }

    /// Goes on with the installed rows; everything from before is retired, to be dropped on another thread.
    ///
    /// # Errors
    /// The job's error; the store then goes on with the rows it had.
    pub fn finish_install(&mut self, done: InstallDone) -> Result<Retired> {
        let Opened { database, applied, counters, is_empty } = done.outcome?;
        *self.cold_current.lock().unwrap_or_else(PoisonError::into_inner) = Arc::downgrade(&database);
        let old = std::mem::replace(&mut self.database, database);
        old.mark_obsolete();
        self.row_cache.clear();
        self.epoch.0 += 1;
        self.durable = applied.clone();
        self.applied = applied;
        self.counters = counters;
        self.disk_is_empty = is_empty;
        self.is_writing = false;
        self.is_mid_entry = false;
        (self.active_changes, self.frozen_changes) = (0, 0);
        let active = std::mem::take(&mut self.active);
        let frozen = [self.frozen.take(), self.written.take()];
        Ok(Retired { _active: Some(active), _frozen: frozen, _database: Some(old) })
    }

    /// Installs the checkpoint in `from` on the calling thread. Blocks: for start-up and for threads that may.
    ///
    /// # Errors
    /// As [`Store::finish_install`].
    pub fn install(&mut self, from: &Path) -> Result<()> {
        let done = self.install_job(from).run();
        self.finish_install(done).map(drop)
    }

    /// Whether a layer below the active memtable may hold rows.
    fn has_lower_rows(&self) -> bool {
        !self.disk_is_empty || self.frozen.is_some()
    }

    /// What the memtables know of `key`.
    fn find_in_memory(&self, key: &[u8]) -> Found<'_> {
        match (self.active.find(key), &self.frozen) {
            (Found::Unknown, Some(frozen)) => frozen.table.find(key),
            (found, _) => found,
        }
    }

    /// The row of `key`, which neither the active nor the frozen memtable knows.
    fn get_from_disk(&self, key: &[u8]) -> Result<Option<Row<'_>>> {
        match self.row_cache.find(key) {
            Cached::Row(row) => return Ok(Some(Row::Cached(row))),
            Cached::Absent => return Ok(None),
            Cached::Unknown => {}
        }
        match self.written.as_ref().map(|written| written.table.find(key)) {
            Some(Found::Value(value)) => {
                // What is read only would be cold when the next generation comes.
                if self.on_miss == OnMiss::Cold {
                    self.row_cache.insert(key, Some(value));
                }
                return Ok(Some(Row::Memory(value)));
            }
            Some(Found::Deleted) => return Ok(None),
            Some(Found::Unknown) | None => {}
        }
        match self.database.get(key, &self.cached_reads) {
            Ok(row) => {
                // What an entry reads it mostly writes next, and then the cache must not have it.
                if self.on_miss == OnMiss::Cold {
                    self.row_cache.insert(key, row.as_deref());
                }
                return Ok(row.map(Row::Pinned));
            }
            Err(error) if error.kind() != ErrorKind::Incomplete => return Err(self.database.error(error)),
            Err(_) => {}
        }
        match self.kept.as_ref().map_or(Kept::Unknown, |kept| kept.find(key)) {
            Kept::Row(value) => return Ok(Some(Row::Memory(value))),
            Kept::Absent => return Ok(None),
            Kept::Unknown if !self.may_wait() => return Err(Error::Cold(ColdRead::Key(key.into()))),
            Kept::Unknown => {}
        }
        self.disk_waits.set(self.disk_waits.get() + 1);
        let row = self.database.get(key, &self.waiting_reads).map_err(|error| self.database.error(error))?;
        Ok(row.map(Row::Pinned))
    }

    /// How often the cache of rows on disk was asked, and knew.
    pub fn row_cache_counts(&self) -> RowCacheCounts {
        self.row_cache.counts()
    }

    /// How often a read has waited for the disk since the store was opened.
    pub fn disk_waits(&self) -> u64 {
        self.disk_waits.get()
    }
}

impl Rows for Store {
    fn get(&self, key: &[u8]) -> Result<Option<Row<'_>>> {
        match self.find_in_memory(key) {
            Found::Value(value) => Ok(Some(Row::Memory(value))),
            Found::Deleted => Ok(None),
            Found::Unknown if self.disk_is_empty => Ok(None),
            Found::Unknown => self.get_from_disk(key),
        }
    }

    fn get_of_this_entry(&self, key: &[u8]) -> Option<Row<'_>> {
        match self.active.find(key) {
            Found::Value(value) => Some(Row::Memory(value)),
            Found::Deleted | Found::Unknown => None,
        }
    }

    fn put(&mut self, key: &[u8], value: &[u8]) {
        debug_assert!(key < APPLIED_ROW, "no row lies behind the applied row");
        self.is_changed = true;
        self.row_cache.remove(key);
        self.active.put(key, value);
    }

    fn delete(&mut self, key: &[u8]) {
        let hides_lower = self.has_lower_rows();
        self.is_changed = true;
        self.row_cache.remove(key);
        self.active.delete(key, hides_lower);
    }

    fn delete_range(&mut self, from: &[u8], to: &[u8]) {
        let hides_lower = self.has_lower_rows();
        self.is_changed = true;
        self.row_cache.clear();
        self.active.delete_range(from, to.min(APPLIED_ROW), hides_lower);
    }

    fn scan(&self, lower: Bound<&[u8]>, upper: Bound<&[u8]>, direction: Direction, visit: Visit<'_>) -> Result<()> {
        let layers = Layers {
            active: &self.active,
            frozen: self.frozen.as_ref().map(|frozen| &frozen.table),
            disk: (!self.disk_is_empty).then_some(&*self.database),
            snapshot: None,
            kept: self.kept.as_ref(),
            waits: self.may_wait().then_some(&self.disk_waits),
        };
        merge_scan::scan(&layers, lower, upper, direction, visit)
    }

    fn counters(&self) -> &Counters {
        &self.counters
    }

    fn counters_mut(&mut self) -> &mut Counters {
        self.is_changed = true;
        &mut self.counters
    }
}
