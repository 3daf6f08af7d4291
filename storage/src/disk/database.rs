//! The RocksDB instance below the memtables: its options, spelled out, and the few calls the store makes.
//!
//! Nothing is ever written through RocksDB's own memtable or WAL: rows arrive as finished files that are ingested whole, so
//! the database always stands exactly at some log entry, the one its applied row names.

use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use rocksdb::{
    BlockBasedIndexType, BlockBasedOptions, ChecksumType, DB, DBCompressionType, DBPinnableSlice, DataBlockIndexType,
    ErrorKind, IngestExternalFileOptions, LogLevel, Options, ReadOptions, ReadTier,
};

use super::applied::{self, Applied, AppliedRow};
use super::options::StoreOptions;
use super::orphan_filter::{IngestEpoch, OrphanFilterFactory, OrphansStay};
use crate::Error;
use crate::Result;
use crate::free_space::free_bytes;
use crate::open_path::OpenPath;
use crate::rocksdb_error::from_rocksdb;
use crate::rows::{APPLIED_ROW, Counters, RowRange, RowRules};
use crate::spaces::{DATABASE_COUNT, Spaces};

/// Bits of bloom filter per row: 1 % false positives.
const BLOOM_BITS: f64 = 10.0;
/// Uncompressed bytes of a data block: what one cold read fetches and what one cached row drags along.
const BLOCK_BYTES: usize = 8 * 1024;
/// Size of the files that compaction writes.
const FILE_BYTES: u64 = 64 * 1024 * 1024;
/// RocksDB's own memtable, which stays empty.
const UNUSED_MEMTABLE_BYTES: usize = 64 * 1024;
/// Level-0 files at which compaction starts. Each one is a place where a cold read has to look.
const LEVEL0_COMPACTION_FILES: i32 = 4;

/// A database that was opened, and its state.
pub(crate) struct Opened {
    pub(crate) database: Arc<Database>,
    pub(crate) applied: Applied,
    pub(crate) counters: Counters,
    /// Set if there is no row but the applied one, so that no read needs to come here.
    pub(crate) is_empty: bool,
}

/// One open RocksDB instance of applied rows.
pub(crate) struct Database {
    /// `None` only while dropping.
    db: Option<Arc<DB>>,
    path: PathBuf,
    /// Given back behind the handle.
    _open: OpenPath,
    number: u64,
    options: Options,
    ingest_epoch: Arc<IngestEpoch>,
    /// Held while a generation is ingested and while a checkpoint is made, so that a checkpoint stands at one applied row.
    ingest_lock: Mutex<()>,
    /// Number of views whose orphans stay.
    views: Arc<AtomicU64>,
    /// Set when another database took this one's place: its files go when it is closed.
    is_obsolete: AtomicBool,
    /// Set once compaction was begun.
    compacts: AtomicBool,
    reserve_bytes: u64,
}

impl Database {
    /// Opens the database `number` in the directory that was claimed, which must exist unless `create`. It does not compact before
    /// [`Database::begin_compaction`].
    pub(crate) fn open(claimed: OpenPath, number: u64, create: bool, options: &StoreOptions) -> Result<Opened> {
        let path = claimed.as_path().to_owned();
        let (factory, ingest_epoch, slot) = OrphanFilterFactory::new(options.rules);
        let views = factory.views();
        let mut database_options = database_options(options);
        database_options.create_if_missing(create);
        database_options.set_compaction_filter_factory(factory);
        let db = DB::open(&database_options, &path).map_err(|error| match error.kind() {
            // "does not exist (create_if_missing is false)": the directory was there once, with rows in it.
            ErrorKind::InvalidArgument | ErrorKind::NotFound => {
                Error::Corruption { path: path.clone(), detail: error.into_string() }
            }
            _ => from_rocksdb(error, &path),
        })?;
        let db = Arc::new(db);
        slot.set(Arc::downgrade(&db)).expect("a database is opened once");
        let database = Database {
            db: Some(db),
            path,
            _open: claimed,
            number,
            options: table_options(options),
            ingest_epoch,
            ingest_lock: Mutex::new(()),
            views,
            is_obsolete: AtomicBool::new(false),
            compacts: AtomicBool::new(false),
            reserve_bytes: options.reserve_bytes,
        };
        let is_empty = database.holds_no_row()?;
        let (applied, counters) = match database.applied()? {
            Some(row) => {
                let AppliedRow { applied, mut counters, has_deadline_sums, has_field_deadlines } = row;
                if !has_deadline_sums {
                    counters.deadline_sums = database.deadline_sums(&options.rules)?;
                }
                if !has_field_deadlines {
                    counters.field_deadlines = database.field_deadlines(&options.rules, &counters.spaces)?;
                }
                (applied, counters)
            }
            None if is_empty => (Applied::default(), Counters::default()),
            None => {
                let detail = "there are rows, but not the row that says up to where they are applied".into();
                return Err(Error::Corruption { path: database.path.clone(), detail });
            }
        };
        Ok(Opened { database: Arc::new(database), applied, counters, is_empty })
    }

    /// The value of `key`; [`ErrorKind::Incomplete`] if `options` forbid to touch the disk and it had to be.
    pub(crate) fn get(&self, key: &[u8], options: &ReadOptions) -> Result<Option<DBPinnableSlice<'_>>, rocksdb::Error> {
        self.db().get_pinned_opt(key, options)
    }

    /// The applied row, if any generation was ever ingested.
    pub(crate) fn applied(&self) -> Result<Option<AppliedRow>> {
        let row = self.get(APPLIED_ROW, &read_options(ReadTier::All)).map_err(|error| self.error(error))?;
        row.map(|row| applied::decode(&row, &self.path)).transpose()
    }

    /// The sums of the deadlines, by database. This reads all of them, which only a program that has not kept the sums makes
    /// necessary.
    fn deadline_sums(&self, rules: &RowRules) -> Result<[u128; DATABASE_COUNT]> {
        let mut sums = [0; DATABASE_COUNT];
        self.each_row((rules.deadlines)(), |row| {
            if let Some((deadline_ms, space)) = (rules.read_deadline)(row) {
                // No row without sums has databases in other spaces than their own.
                sums[usize::from(space.byte())] += u128::from(deadline_ms);
            }
        })?;
        Ok(sums)
    }

    /// The numbers of hashes of which fields have deadlines, by database. This reads their index, which is empty unless a program
    /// has left it that has not counted them.
    fn field_deadlines(&self, rules: &RowRules, spaces: &Spaces) -> Result<[u64; DATABASE_COUNT]> {
        let mut counts = [0; DATABASE_COUNT];
        self.each_row((rules.fields_due)(), |row| {
            if let Some(space) = (rules.read_fields_due)(row) {
                counts[usize::from(spaces.database_at(space))] += 1;
            }
        })?;
        Ok(counts)
    }

    /// Reads all rows of a range.
    fn each_row(&self, (from, to): RowRange, mut visit: impl FnMut(&[u8])) -> Result<()> {
        let mut options = read_options(ReadTier::All);
        options.set_iterate_upper_bound(to.to_vec());
        let mut iterator = self.db().raw_iterator_opt(options);
        iterator.seek(&from);
        while let Some(row) = iterator.key() {
            visit(row);
            iterator.next();
        }
        iterator.status().map_err(|error| self.error(error))
    }

    fn holds_no_row(&self) -> Result<bool> {
        let mut options = read_options(ReadTier::All);
        options.set_iterate_upper_bound(APPLIED_ROW);
        let mut iterator = self.db().raw_iterator_opt(options);
        iterator.seek_to_first();
        iterator.status().map_err(|error| self.error(error))?;
        Ok(!iterator.valid())
    }

    /// Takes the finished, synced file `sst` into the database, atomically and durably. The file is moved.
    pub(crate) fn ingest(&self, sst: &Path) -> Result<()> {
        let _one_at_a_time = self.lock_ingest();
        let mut options = IngestExternalFileOptions::default();
        options.set_move_files(true);
        options.set_snapshot_consistency(true);
        options.set_allow_global_seqno(true);
        options.set_allow_blocking_flush(false);
        options.set_ingest_behind(false);
        let _epoch = self.ingest_epoch.enter();
        self.db().ingest_external_file_opts(&options, vec![sst]).map_err(|error| self.error(error))
    }

    /// Has compactions keep all orphans from now on until the guard is dropped: for who reads rows of the past.
    pub(crate) fn keep_orphans(&self) -> OrphansStay<'_> {
        OrphansStay::begin(&self.views)
    }

    /// Waits for a running ingest and holds off the next one.
    pub(crate) fn lock_ingest(&self) -> MutexGuard<'_, ()> {
        // The lock guards no data, so a panic under it leaves nothing broken.
        self.ingest_lock.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Has RocksDB compact by itself from now on, if half of the file system's reserve is free. Blocks for some milliseconds.
    /// Whether it compacts then.
    ///
    /// Not done on opening: a node that starts on a nearly full disk has other files to open, and compactions would take the
    /// space which that needs.
    pub(crate) fn begin_compaction(&self) -> bool {
        if self.compacts() {
            return true;
        }
        if self.free_bytes() < self.reserve_bytes / 2 {
            return false;
        }
        let begun = self.db().set_options(&[("disable_auto_compactions", "false")]);
        if let Err(error) = &begun {
            tracing::debug!(path = %self.path.display(), %error, "compaction does not begin yet");
        }
        self.compacts.store(begun.is_ok(), Ordering::Relaxed);
        begun.is_ok()
    }

    /// Returns whether RocksDB compacts by itself.
    pub(crate) fn compacts(&self) -> bool {
        self.compacts.load(Ordering::Relaxed)
    }

    /// Checks that a file of `bytes` leaves half of the reserve free: a file that fills the disk keeps even Raft's own records from
    /// being written. While the log takes writes, with the whole reserve free, it is not refused, however large it is: else no
    /// rows would ever leave, and with them no log.
    ///
    /// # Errors
    /// [`Error::DiskFull`] if it does not.
    pub(crate) fn check_room(&self, bytes: u64) -> Result<()> {
        let needed_bytes = (self.reserve_bytes / 2).saturating_add(bytes).min(self.reserve_bytes);
        if self.free_bytes() >= needed_bytes { Ok(()) } else { Err(Error::DiskFull { path: self.path.clone() }) }
    }

    /// Returns the bytes that the file system has left. One that cannot tell is not short of space: the write itself will say so.
    fn free_bytes(&self) -> u64 {
        free_bytes(&self.path).unwrap_or(u64::MAX)
    }

    /// Bytes of all live files.
    pub(crate) fn live_file_bytes(&self) -> Result<u64> {
        self.property(rocksdb::properties::LIVE_SST_FILES_SIZE)
    }

    /// Returns the number of files that overlap at level 0.
    pub(crate) fn level0_file_count(&self) -> Result<u64> {
        let name = rocksdb::properties::num_files_at_level(0);
        let text = self.db().property_value(&name).map_err(|error| self.error(error))?;
        Ok(text.and_then(|text| text.parse().ok()).unwrap_or(0))
    }

    fn property(&self, name: &rocksdb::properties::PropName) -> Result<u64> {
        Ok(self.db().property_int_value(name).map_err(|error| self.error(error))?.unwrap_or(0))
    }

    pub(crate) fn db(&self) -> &DB {
        self.handle()
    }

    /// The handle as the orphan filter finds it.
    pub(crate) fn handle(&self) -> &Arc<DB> {
        self.db.as_ref().expect("the handle goes only when the database is dropped")
    }

    /// Number of this one among the store's databases; each installed snapshot takes the next.
    pub(crate) fn number(&self) -> u64 {
        self.number
    }

    /// The options that files written for this database are written with.
    pub(crate) fn table_options(&self) -> &Options {
        &self.options
    }

    /// Says that another database took this one's place, so that its files are removed when it is closed.
    pub(crate) fn mark_obsolete(&self) {
        self.is_obsolete.store(true, Ordering::Release);
    }

    pub(crate) fn error(&self, error: rocksdb::Error) -> Error {
        from_rocksdb(error, &self.path)
    }
}

impl Drop for Database {
    /// Closes RocksDB; waits for its background work.
    fn drop(&mut self) {
        // A compaction's orphan filter holds the handle too. Were it the last one, RocksDB would close itself from within
        // its own background thread and wait for itself; so background work ends first.
        self.db().cancel_all_background_work(true);
        self.db = None;
        if self.is_obsolete.load(Ordering::Acquire)
            && let Err(error) = std::fs::remove_dir_all(&self.path)
        {
            // What stays is removed at the next open.
            tracing::warn!(path = %self.path.display(), %error, "cannot remove a replaced database");
        }
    }
}

/// Options for reads in `tier`: [`ReadTier::BlockCache`] never touches the disk, [`ReadTier::All`] waits for it.
pub(crate) fn read_options(tier: ReadTier) -> ReadOptions {
    let mut options = ReadOptions::default();
    options.set_read_tier(tier);
    options.set_verify_checksums(true);
    options.fill_cache(true);
    options.set_background_purge_on_iterator_cleanup(true);
    options
}

/// Options that shape the files: the writer of generations and compaction must agree on them.
fn table_options(options: &StoreOptions) -> Options {
    let mut table = BlockBasedOptions::default();
    table.set_format_version(6);
    table.set_checksum_type(ChecksumType::XXH3);
    table.set_block_size(BLOCK_BYTES);
    table.set_block_cache(options.block_cache.handle());
    table.set_bloom_filter(BLOOM_BITS, false);
    table.set_whole_key_filtering(true);
    table.set_optimize_filters_for_memory(true);
    table.set_index_type(BlockBasedIndexType::BinarySearch);
    table.set_data_block_index_type(DataBlockIndexType::BinaryAndHash);
    table.set_data_block_hash_ratio(0.75);
    // Indexes and filters live in the cache, so that its capacity bounds all of RocksDB's memory.
    table.set_cache_index_and_filter_blocks(true);
    table.set_cache_index_and_filter_blocks_with_high_priority(true);
    table.set_pin_l0_filter_and_index_blocks_in_cache(true);

    let mut out = Options::default();
    out.set_block_based_table_factory(&table);
    out.set_compression_type(DBCompressionType::Lz4);
    out.set_bottommost_compression_type(DBCompressionType::Lz4);
    out.set_use_fsync(false); // fdatasync: it syncs a file's size too
    out
}

fn database_options(options: &StoreOptions) -> Options {
    let mut out = table_options(options);
    out.set_paranoid_checks(true);
    out.set_max_background_jobs(options.background_jobs_max);
    out.set_max_open_files(options.open_files_max);
    out.set_max_file_opening_threads(2);
    out.set_is_fd_close_on_exec(true);
    out.set_bytes_per_sync(1024 * 1024);
    out.set_avoid_unnecessary_blocking_io(true);

    out.set_num_levels(7);
    out.set_level_compaction_dynamic_level_bytes(true);
    // See `Database::begin_compaction`.
    out.set_disable_auto_compactions(true);
    out.set_level_zero_file_num_compaction_trigger(LEVEL0_COMPACTION_FILES);
    out.set_target_file_size_base(FILE_BYTES);
    out.set_max_bytes_for_level_base(4 * FILE_BYTES);
    out.set_max_bytes_for_level_multiplier(10.0);

    out.set_write_buffer_size(UNUSED_MEMTABLE_BYTES);
    out.set_max_write_buffer_number(2);
    out.set_max_manifest_file_size(4 * 1024 * 1024);
    out.set_manifest_preallocation_size(64 * 1024);

    out.set_log_level(LogLevel::Warn);
    out.set_max_log_file_size(1024 * 1024);
    out.set_keep_log_file_num(2);
    out.set_stats_dump_period_sec(0);
    out.set_stats_persist_period_sec(0);
    out.set_skip_stats_update_on_db_open(true);
    out
}

/// Returns up to where the rows of the checkpoint in `directory` are applied, for who has to know before it is installed. Blocks.
///
/// # Errors
/// [`Error::Corruption`] if it is no database, or does not say so; [`Error::Io`].
pub fn applied_in_checkpoint(directory: &Path) -> Result<Applied> {
    let database = DB::open_for_read_only(&Options::default(), directory, false)
        .map_err(|error| Error::Corruption { path: directory.to_owned(), detail: error.into_string() })?;
    let row = database.get_pinned(APPLIED_ROW).map_err(|error| from_rocksdb(error, directory))?;
    let Some(row) = row else {
        let detail = "the snapshot does not say up to where it is applied".into();
        return Err(Error::Corruption { path: directory.to_owned(), detail });
    };
    applied::decode(&row, directory).map(|row| row.applied)
}

#[cfg(test)]
mod tests {
    use std::fs;
    use std::os::unix::fs::FileExt;
    use std::time::{Duration, Instant};

    use super::*;
    use crate::keyspace::ROW_RULES;
    use crate::rows::Rows;
    use crate::{BlockCache, Store};

    fn options() -> StoreOptions {
        StoreOptions::new(ROW_RULES, 1 << 20, BlockCache::new(1 << 20))
    }

    /// A closed store of 2000 rows in one file, and that file.
    fn one_file() -> (tempfile::TempDir, PathBuf) {
        let home = tempfile::tempdir().unwrap();
        let mut store = Store::open(home.path(), &options()).unwrap();
        for number in 0..2000u32 {
            store.put(&[&[0], &number.to_be_bytes()[..]].concat(), &number.to_ne_bytes().repeat(25));
        }
        store.set_applied(1, b"1", None);
        let done = store.freeze().unwrap().run();
        drop(store.finish(done).unwrap());
        drop(store);
        let files = fs::read_dir(home.path().join("db-1")).unwrap().map(|entry| entry.unwrap().path());
        let mut files = files.filter(|path| path.extension().is_some_and(|extension| extension == "sst"));
        let file = files.next().expect("the generation is one file");
        assert_eq!(files.next(), None);
        (home, file)
    }

    fn corrupted_path(error: Error) -> PathBuf {
        match error {
            Error::Corruption { path, .. } => path,
            other => panic!("not taken for damage: {other}"),
        }
    }

    #[test]
    fn a_damaged_block_is_refused_by_name_and_never_served() {
        let (home, file) = one_file();
        let handle = fs::OpenOptions::new().read(true).write(true).open(&file).unwrap();
        let middle = handle.metadata().unwrap().len() / 2;
        let mut byte = [0];
        handle.read_exact_at(&mut byte, middle).unwrap();
        handle.write_all_at(&[byte[0] ^ 0x10], middle).unwrap();
        let store = Store::open(home.path(), &options()).unwrap();
        let errors = (0..2000u32).filter_map(|number| match store.get(&[&[0], &number.to_be_bytes()[..]].concat()) {
            Ok(row) => {
                assert_eq!(&*row.expect("no row is missing"), number.to_ne_bytes().repeat(25), "row {number}");
                None
            }
            Err(error) => Some(corrupted_path(error)),
        });
        let errors: Vec<_> = errors.collect();
        assert!(!errors.is_empty(), "the damage was not noticed");
        assert!(errors.iter().all(|path| *path == file), "{errors:?}");
    }

    #[test]
    fn missing_and_cut_files_are_refused_by_name() {
        let (home, file) = one_file();
        let good = fs::read(&file).unwrap();
        fs::write(&file, &good[..good.len() / 2]).unwrap();
        assert_eq!(corrupted_path(Store::open(home.path(), &options()).err().unwrap()), file);
        fs::remove_file(&file).unwrap();
        assert_eq!(corrupted_path(Store::open(home.path(), &options()).err().unwrap()), file);
        fs::write(&file, &good).unwrap();
        Store::open(home.path(), &options()).unwrap();
        fs::remove_file(home.path().join("db-1/CURRENT")).unwrap();
        corrupted_path(Store::open(home.path(), &options()).err().unwrap());
    }

    #[test]
    fn a_file_linked_in_but_never_ingested_is_removed_at_open() {
        let (home, file) = one_file();
        let stray = home.path().join("db-1/000999.sst");
        fs::copy(&file, &stray).unwrap();
        let store = Store::open(home.path(), &options()).unwrap();
        assert_eq!(store.get(&[0, 0, 0, 0, 5]).unwrap().as_deref(), Some(&5u32.to_ne_bytes().repeat(25)[..]));
        drop(store);
        assert!(!stray.exists());
        assert!(file.exists());
    }

    #[test]
    fn nothing_is_compacted_before_it_may_and_while_the_disk_is_short() {
        let (home, _) = one_file();
        let open = |reserve_bytes| {
            let options = StoreOptions { reserve_bytes, ..options() };
            Database::open(OpenPath::claim(&home.path().join("db-1")).unwrap(), 1, false, &options).unwrap().database
        };
        let database = open(u64::MAX / 2);
        for number in 0..2 * LEVEL0_COMPACTION_FILES {
            let file = home.path().join("next.sst");
            let mut writer = rocksdb::SstFileWriter::create(database.table_options());
            writer.open(&file).unwrap();
            writer.put([0, 0, 0, 0, 5], number.to_ne_bytes()).unwrap();
            writer.finish().unwrap();
            drop(writer);
            database.ingest(&file).unwrap();
        }
        let all = database.level0_file_count().unwrap();
        assert!(all > LEVEL0_COMPACTION_FILES as u64, "{all}");
        assert!(!database.begin_compaction());
        std::thread::sleep(Duration::from_millis(100));
        assert_eq!(database.level0_file_count().unwrap(), all);
        drop(database);
        let database = open(0);
        std::thread::sleep(Duration::from_millis(100));
        assert_eq!(database.level0_file_count().unwrap(), all);
        assert!(database.begin_compaction());
        let deadline = Instant::now() + Duration::from_secs(30);
        while database.level0_file_count().unwrap() == all {
            assert!(Instant::now() < deadline, "nothing is compacted");
            std::thread::sleep(Duration::from_millis(1));
        }
    }

    /// Takes a file of these rows into the database in `home`. What `applied_row` makes of its applied row is the last of them.
    fn ingest_rows(home: &Path, rows: &[&[u8]], applied_row: impl FnOnce(&Applied, &Counters) -> Vec<u8>) {
        let Opened { database, applied, counters, .. } =
            Database::open(OpenPath::claim(&home.join("db-1")).unwrap(), 1, false, &options()).unwrap();
        let file = home.join("more.sst");
        let mut writer = rocksdb::SstFileWriter::create(database.table_options());
        writer.open(&file).unwrap();
        rows.iter().for_each(|row| writer.put(row, b"").unwrap());
        writer.put(APPLIED_ROW, applied_row(&applied, &counters)).unwrap();
        writer.finish().unwrap();
        drop(writer);
        database.ingest(&file).unwrap();
    }

    #[test]
    fn rows_of_the_first_format_are_read_and_their_deadlines_summed() {
        let (home, _) = one_file();
        let deadlines = [(1_000, 0, "a"), (1_000, 0, "b"), (u64::MAX, 0, "c"), (u64::MAX, 7, "c")];
        let row = |(ms, db, key): (u64, u8, &str)| [&[0xFD][..], &ms.to_be_bytes(), &[db], key.as_bytes()].concat();
        let rows = deadlines.map(row);
        ingest_rows(home.path(), &rows.each_ref().map(|row| &row[..]), |applied, counters| {
            applied::tests::first_format(applied, counters)
        });

        let store = Store::open(home.path(), &options()).unwrap();

        assert_eq!((store.applied().index, store.applied().time_ms, store.applied().version_base), (1, 0, 0));
        let sums = &store.counters().deadline_sums;
        assert_eq!((sums[0], sums[7]), (2_000 + u128::from(u64::MAX), u128::from(u64::MAX)));
        assert_eq!(sums.iter().sum::<u128>(), sums[0] + sums[7]);
    }

    #[test]
    fn hashes_with_deadlines_of_fields_are_counted_where_nobody_has() {
        let (home, _) = one_file();
        let row =
            |(ms, space, key): (u64, u8, &str)| [&[0xF9][..], &ms.to_be_bytes(), &[space], key.as_bytes()].concat();
        let rows = [(1_000, 0, "a"), (1_000, 1, "a"), (2_000, 1, "b")].map(row);
        ingest_rows(home.path(), &rows.each_ref().map(|row| &row[..]), |applied, counters| {
            let mut counters = counters.clone();
            counters.spaces.swap(0, 1);
            applied::encode(applied, &counters)
        });
        let mut store = Store::open(home.path(), &options()).unwrap();
        assert_eq!(store.counters().field_deadlines[..3], [2, 1, 0]);
        // Also where another node has sent its files, and what comes behind goes on from there.
        let (copy, second) = (home.path().join("copy"), home.path().join("second"));
        let done = store.checkpoint(&copy).run();
        drop(store.finish_checkpoint(done).unwrap());
        let mut replica = Store::open(&second, &options()).unwrap();
        replica.install(&copy).unwrap();
        assert_eq!(replica.counters(), store.counters());
        replica.counters_mut().field_deadlines[5] = 7;
        replica.set_applied(2, b"2", None);
        let done = replica.freeze().unwrap().run();
        drop(replica.finish(done).unwrap());
        drop(replica);
        assert_eq!(Store::open(&second, &options()).unwrap().counters().field_deadlines[..6], [2, 1, 0, 0, 0, 7]);
    }

    #[test]
    fn rows_of_a_newer_format_are_refused_as_such() {
        let (home, _) = one_file();
        ingest_rows(home.path(), &[], |applied, counters| {
            let mut row = applied::encode(applied, counters);
            row[3] = 5;
            row
        });
        let error = Store::open(home.path(), &options()).err().unwrap();
        assert!(matches!(error, Error::UnknownFormat { found: 5, supported: 4, .. }), "{error}");
    }
}
