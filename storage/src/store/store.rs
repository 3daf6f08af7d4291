//! The store itself: its state, how it is opened, and the rows as commands see them.

use std::cell::Cell;
use std::ops::Bound;
use std::path::Path;
use std::sync::atomic::{AtomicU64, AtomicUsize};
use std::sync::{Arc, Mutex};

use rocksdb::{ReadOptions, ReadTier};

use super::layers::Layers;
use super::merge_scan::{self, ScanLayers};
use super::miss_policy::MissPolicy;
use super::row_cache::RowCache;
use super::tracked::TrackedKeys;
use super::watched::WatchedKeys;
use crate::Result;
use crate::cold::{Changes, CurrentDatabase, Epoch};
use crate::cold_read::Direction;
use crate::disk::{Applied, Database, Directory, Opened, StoreOptions, read_options};
use crate::memtable::Found;
use crate::open_path::OpenPath;
use crate::rows::{APPLIED_ROW, Counters, Row, Rows, Visit};
use crate::spaces::Spaces;

/// Memory of a store by its parts, in bytes. The block cache is the node's and counted there.
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
    /// The copies of rows of these that [`View`](super::View)s hold, on whatever thread they are.
    pub view_bytes: usize,
    /// The cache of rows on disk.
    pub row_cache_bytes: usize,
}

/// The applied rows of one shard; see the module's docs. Used by the shard's core only; what blocks is handed out as a job.
pub struct Store {
    pub(super) directory: Directory,
    pub(super) options: StoreOptions,
    pub(super) layers: Layers,
    /// Up to where the rows are applied, in memory.
    pub(super) applied: Applied,
    pub(super) counters: Counters,
    /// Set while an entry is being applied: it may have changed some of its rows, and not yet others.
    pub(super) is_mid_entry: bool,
    /// Set while a job for the frozen generation is under way.
    pub(super) is_writing: bool,
    /// Generations that have reached the disk since the store was opened.
    pub(super) generations_written: u64,
    pub(super) database: Arc<Database>,
    /// Set if RocksDB holds no row at all, so that nobody needs to ask it.
    pub(super) disk_is_empty: bool,
    /// Up to where the rows on disk are applied.
    pub(super) durable: Applied,
    /// Number of the generations and snapshots that have changed the database: answers of reader threads are of one of them.
    pub(super) epoch: Epoch,
    pub(super) row_cache: RowCache,
    pub(super) misses: MissPolicy,
    pub(super) watched: WatchedKeys,
    pub(super) tracked: TrackedKeys,
    pub(super) cold_current: CurrentDatabase,
    pub(super) disk_waits: Cell<u64>,
    /// Rows that were read for requests on other threads.
    pub(super) cold_rows_read: Arc<AtomicU64>,
    /// Bytes of the views that there are.
    pub(super) view_bytes: Arc<AtomicUsize>,
    pub(super) waiting_reads: ReadOptions,
    pub(super) cached_reads: ReadOptions,
}

impl Store {
    /// Opens the store in `dir`, or creates it. Removes what a crash left unfinished. Blocks.
    ///
    /// RocksDB's background threads inherit the CPU affinity of the thread that opens the first database: open stores before
    /// pinning, or on a thread that is not pinned.
    ///
    /// # Errors
    /// `Error::Corruption` naming what is damaged, `Error::Missing` if there is none and none is to be made,
    /// `Error::Foreign` for another shard's, `Error::UnknownFormat` for data of another version, `Error::Io`,
    /// `Error::DiskFull`.
    pub fn open(dir: &Path, options: &StoreOptions) -> Result<Store> {
        let (directory, current) = Directory::open(dir, options.identity, options.create)?;
        let number = current.unwrap_or(1);
        // Before anything is removed: who has it open still may be using that.
        let claimed = OpenPath::claim(&directory.database_path(number))?;
        directory.remove_incoming()?;
        let opened = Database::open(claimed, number, current.is_none(), options)?;
        if current.is_none() || directory.is_former() {
            directory.set_current(number)?;
        }
        directory.remove_leftovers(number)?;
        let Opened { database, applied, counters, is_empty } = opened;
        Ok(Store {
            directory,
            options: options.clone(),
            layers: Layers::default(),
            durable: applied.clone(),
            applied,
            counters,
            is_mid_entry: false,
            is_writing: false,
            generations_written: 0,
            cold_current: Arc::new(Mutex::new(Arc::downgrade(&database))),
            database,
            disk_is_empty: is_empty,
            epoch: Epoch::default(),
            row_cache: RowCache::new(options.row_cache_bytes),
            misses: MissPolicy::waiting(),
            watched: WatchedKeys::default(),
            tracked: TrackedKeys::default(),
            disk_waits: Cell::new(0),
            cold_rows_read: Arc::default(),
            view_bytes: Arc::default(),
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

    /// Returns the store's directory.
    pub fn directory(&self) -> &Path {
        self.directory.path()
    }

    /// Returns whether there may be rows on disk.
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
        self.watched.end_entry();
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

    /// Takes over what was changed on trial, since when nothing else was.
    pub fn commit(&mut self, changes: &Changes) {
        changes.make_on(self);
    }

    /// The keys that somebody watches.
    pub fn watched(&self) -> &WatchedKeys {
        &self.watched
    }

    /// The keys that somebody watches, to change.
    pub fn watched_mut(&mut self) -> &mut WatchedKeys {
        &mut self.watched
    }

    /// The keys that clients keep copies of.
    pub fn tracked(&self) -> &TrackedKeys {
        &self.tracked
    }

    /// The keys that clients keep copies of, to change.
    pub fn tracked_mut(&mut self) -> &mut TrackedKeys {
        &mut self.tracked
    }

    /// Notes that the key of `row` is not as clients have read it.
    #[cold]
    fn note_tracked(&mut self, row: &[u8]) {
        if let Some((_, key)) = (self.options.rules.key_of)(row) {
            self.tracked.note(key);
        }
    }

    /// Tells those who watch the key of `row` that the row was set, or that it goes.
    #[cold]
    fn note_watched(&mut self, row: &[u8], goes: bool) {
        if let Some((space, key)) = (self.options.rules.key_of)(row) {
            self.watched.note(self.counters.spaces.database_at(space), key, goes);
        }
    }

    /// Tells those who watch keys of databases that were elsewhere `before` that these have the keys of others now.
    #[cold]
    fn note_exchange(&mut self, before: &Spaces) {
        let mut watched = std::mem::take(&mut self.watched);
        let spaces = &self.counters.spaces;
        let row_of = self.options.rules.row_of;
        let may_be = |db: u8, key: &[u8]| self.may_have(&row_of(spaces.of(db), key));
        watched.note_exchange(|db| spaces.of(db) != before.of(db), may_be);
        self.watched = watched;
    }

    /// Says that an entry is applied from now on, and may wait for rows in the middle: nothing is frozen before
    /// [`Store::set_applied`], since a generation holds whole entries.
    pub fn begin_entry(&mut self) {
        self.is_mid_entry = true;
    }

    /// Returns whether an entry is being applied.
    pub fn is_mid_entry(&self) -> bool {
        self.is_mid_entry
    }

    /// Bytes of the live files on disk. Takes RocksDB's lock for a moment: not for every request.
    pub fn disk_bytes(&self) -> Result<u64> {
        self.database.live_file_bytes()
    }

    /// The database that is read now.
    #[cfg(test)]
    pub(crate) fn database(&self) -> &Database {
        &self.database
    }

    /// Returns whether a layer below the active memtable may hold rows.
    fn has_lower_rows(&self) -> bool {
        !self.disk_is_empty || self.layers.frozen.is_some()
    }
}

impl Rows for Store {
    fn get(&self, key: &[u8]) -> Result<Option<Row<'_>>> {
        match self.layers.find(key) {
            Found::Value(value) => Ok(Some(Row::Memory(value))),
            Found::Deleted => Ok(None),
            Found::Unknown if self.disk_is_empty => Ok(None),
            Found::Unknown => self.get_from_disk(key),
        }
    }

    fn get_of_this_entry(&self, key: &[u8]) -> Option<Row<'_>> {
        match self.layers.active.find(key) {
            Found::Value(value) => Some(Row::Memory(value)),
            Found::Deleted | Found::Unknown => None,
        }
    }

    fn put(&mut self, key: &[u8], value: &[u8]) {
        debug_assert!(key < APPLIED_ROW, "no row lies behind the applied row");
        self.misses.is_changed = true;
        // The cache never has a key that a memtable knows.
        self.row_cache.remove(key);
        self.layers.active.put(key, value);
        if !self.watched.is_empty() {
            self.note_watched(key, false);
        }
        if self.tracked.is_noting() {
            self.note_tracked(key);
        }
    }

    fn delete(&mut self, key: &[u8]) {
        let hides_lower = self.has_lower_rows();
        self.misses.is_changed = true;
        // The cache never has a key that a memtable knows.
        self.row_cache.remove(key);
        self.layers.active.delete(key, hides_lower);
        if !self.watched.is_empty() {
            self.note_watched(key, true);
        }
        if self.tracked.is_noting() {
            self.note_tracked(key);
        }
    }

    fn delete_range(&mut self, from: &[u8], to: &[u8]) {
        let hides_lower = self.has_lower_rows();
        self.misses.is_changed = true;
        self.row_cache.clear();
        self.layers.active.delete_range(from, to.min(APPLIED_ROW), hides_lower);
        self.watched.note_range(&self.counters.spaces, from, to);
        self.tracked.note_range(from);
    }

    fn scan(&self, lower: Bound<&[u8]>, upper: Bound<&[u8]>, direction: Direction, visit: Visit<'_>) -> Result<()> {
        let layers = ScanLayers {
            active: &self.layers.active,
            frozen: self.layers.frozen.as_ref().map(|frozen| &frozen.table),
            disk: (!self.disk_is_empty).then_some(&*self.database),
            snapshot: None,
            pinned: self.misses.pinned.as_ref(),
            waits: self.misses.may_wait().then_some(&self.disk_waits),
        };
        merge_scan::scan(&layers, lower, upper, direction, visit)
    }

    fn counters(&self) -> &Counters {
        &self.counters
    }

    fn counters_mut(&mut self) -> &mut Counters {
        self.misses.is_changed = true;
        &mut self.counters
    }

    fn put_databases(&mut self, spaces: &Spaces) {
        self.misses.is_changed = true;
        let before = std::mem::replace(&mut self.counters.spaces, spaces.clone());
        if !self.watched.is_empty() {
            self.note_exchange(&before);
        }
        // Whoever keeps copies knows keys by their names, whatever the database.
        self.tracked.note_all();
    }
}
