//! The RocksDB that holds the records, and what its errors mean here.

use std::path::Path;

use rocksdb::{
    ColumnFamilyDescriptor, DB, DBCompressionType, DBRecoveryMode, ErrorKind, LogLevel, Options, ReadOptions,
    WriteOptions,
};

use super::LogOptions;
use super::limits::{RECYCLED_FILES, SEGMENT_STRETCH, SPARING_STEP_BYTES, TABLE_PART_BYTES};
use super::record::AFTER_RECORDS;
use crate::rocksdb_error::{damaged_file, from_rocksdb, says_disk_full};
use crate::{Error, Result};

/// Options that the binding has no calls for.
///
/// - RocksDB keeps what it recovers in memory, and the write-ahead files it stands in, instead of writing it as tables at once:
///   opening a log must not need the very space whose lack ended the run before.
/// - A table's next part is written when the part before it has left for the disk (see [`TABLE_PART_BYTES`]).
const OPTIONS_BY_NAME: &str = "avoid_flush_during_recovery=true;strict_bytes_per_sync=true";

/// As [`OPTIONS_BY_NAME`], for several column families: RocksDB would then end segments by itself where write-ahead files reach
/// the bound that otherwise only says how much of them is reserved. So there is none, and nothing is reserved.
const SHARED_OPTIONS_BY_NAME: &str =
    "avoid_flush_during_recovery=true;strict_bytes_per_sync=true;allow_fallocate=false";

/// The column family that each database has.
pub(super) const DEFAULT_FAMILY: &str = "default";

/// Bytes that RocksDB takes at once for what it holds of a log in memory.
const ARENA_BYTES: usize = 1 << 20;
/// The part of a segment that it takes at once for each group of a lane, and the least.
const SHARED_ARENA_PART: usize = 64;
const SHARED_ARENA_BYTES_MIN: usize = 4 << 10;

/// Bytes by which what RocksDB holds of one group in one segment of `segment_bytes` of a shared lane may exceed the group's
/// records: what it takes at once for them.
pub fn shared_arena_bytes(segment_bytes: usize) -> usize {
    (segment_bytes / SHARED_ARENA_PART).clamp(SHARED_ARENA_BYTES_MIN, ARENA_BYTES)
}

/// Bytes by which write-ahead files grow where there is room: a segment and what it may exceed it by.
pub(super) fn file_step_bytes(options: &LogOptions) -> u64 {
    options.segment_bytes as u64 + (2 << 20)
}

/// Opens or creates the database in `directory`; with `is_ample`, write-ahead files get all their space at once. What was
/// recovered is in memory and in the write-ahead files, which need not be synced.
///
/// `families` are all its column families, which groups have of their own where `is_shared`.
pub(super) fn open_database(
    directory: &Path,
    options: &LogOptions,
    families: &[String],
    is_shared: bool,
    is_ample: bool,
) -> Result<DB> {
    let opened = rocksdb_options(options, is_shared, is_ample).and_then(|options| {
        let families = families.iter().map(|family| ColumnFamilyDescriptor::new(family, options.clone()));
        DB::open_cf_descriptors(&options, directory, families)
    });
    // It syncs no file that anybody was told of before, only the new one that it begins: any full disk passes.
    opened.map_err(|error| match says_disk_full(error.as_ref()) {
        true => Error::DiskFull { path: directory.to_owned() },
        false => refusal(directory, &error),
    })
}

/// The column families of the database in `directory`.
pub(super) fn families_of(directory: &Path) -> Result<Vec<String>> {
    DB::list_cf(&Options::default(), directory).map_err(|error| refusal(directory, &error))
}

/// Creates a column family of a group.
pub(super) fn create_family(database: &mut DB, directory: &Path, family: &str, options: &LogOptions) -> Result<()> {
    let created = rocksdb_options(options, true, true).and_then(|options| database.create_cf(family, &options));
    created.map_err(|error| refusal(directory, &error))
}

fn rocksdb_options(log: &LogOptions, is_shared: bool, is_ample: bool) -> Result<Options, rocksdb::Error> {
    let by_name = if is_shared { SHARED_OPTIONS_BY_NAME } else { OPTIONS_BY_NAME };
    let mut options = Options::default().get_options_from_string(by_name)?;
    options.create_if_missing(true);
    // Reusing files is what makes syncs fast: writing into blocks that exist commits no journal.
    options.set_recycle_log_file_num(RECYCLED_FILES);
    options.set_wal_recovery_mode(DBRecoveryMode::PointInTime);
    // Segments are ended by the log itself, by bytes written, so that all write-ahead files have the same length; this
    // is only a limit that is not reached: neither by one stretched segment after what was recovered, which may be all those
    // that waited and a stretched one.
    options.set_write_buffer_size(log.segment_bytes * (log.segments_waiting_max + 2 * SEGMENT_STRETCH));
    // Only bounds how much RocksDB reserves for a write-ahead file ahead of writing it.
    let step_bytes = if is_ample { file_step_bytes(log) } else { SPARING_STEP_BYTES };
    options.set_max_total_wal_size(if is_shared { u64::MAX } else { step_bytes });
    // A segment becomes tables of all groups at once or of none: tables of one group alone would be ahead of write-ahead files that
    // the others still need, and RocksDB refuses to open what is.
    options.set_atomic_flush(is_shared);
    options.set_max_write_buffer_number(log.segments_waiting_max as i32 + 3);
    options.set_arena_block_size(if is_shared { shared_arena_bytes(log.segment_bytes) } else { ARENA_BYTES });
    // One writer: the plain skiplist insert remembers where the last key went, and the next one is its neighbour.
    options.set_allow_concurrent_memtable_write(false);
    // Records live minutes; two levels between which tables move without being rewritten, since their ranges never overlap.
    options.set_num_levels(2);
    options.set_compression_type(DBCompressionType::None);
    options.set_target_file_size_base(log.segment_bytes as u64 * 2);
    options.set_max_bytes_for_level_base(1 << 40);
    options.set_level_zero_file_num_compaction_trigger(2);
    options.set_level_zero_slowdown_writes_trigger(64);
    options.set_level_zero_stop_writes_trigger(128);
    options.set_max_background_jobs(2);
    // Tables are written back as they grow, not in one burst that a sync of the log would have to queue behind.
    options.set_bytes_per_sync(TABLE_PART_BYTES);
    options.set_paranoid_checks(true);
    options.set_max_open_files(log.open_files_max);
    // The default of 4 MiB would be allocated anew at each open.
    options.set_manifest_preallocation_size(64 << 10);
    // RocksDB writes its own diary on the caller's thread.
    options.set_log_level(LogLevel::Warn);
    options.set_keep_log_file_num(2);
    options.set_max_log_file_size(1 << 20);
    options.set_stats_dump_period_sec(0);
    options.set_stats_persist_period_sec(0);
    options.set_skip_stats_update_on_db_open(true);
    let mut table = rocksdb::BlockBasedOptions::default();
    // The newest records are in the log's own tail; older ones are read once, in order.
    table.disable_cache();
    table.set_block_size(64 << 10);
    table.set_format_version(6);
    options.set_block_based_table_factory(&table);
    Ok(options)
}

/// Options of the core's writes: not synced, and never waiting for RocksDB.
pub(super) fn write_options() -> WriteOptions {
    let mut options = WriteOptions::default();
    options.set_sync(false);
    options.disable_wal(false);
    options.set_no_slowdown(true);
    options
}

/// Options of reads of records: in order, once, checksums verified.
pub(super) fn read_options() -> ReadOptions {
    let mut options = ReadOptions::default();
    options.set_verify_checksums(true);
    options.fill_cache(false);
    options.set_readahead_size(1 << 20);
    options.set_iterate_upper_bound(AFTER_RECORDS);
    options
}

/// Turns the error of a call on the database in `directory` into what it means here.
pub(super) fn refusal(directory: &Path, error: &rocksdb::Error) -> Error {
    match error.kind() {
        ErrorKind::Incomplete | ErrorKind::TryAgain | ErrorKind::Busy => Error::WriteStall,
        ErrorKind::IOError if error.as_ref().contains("No such file") => {
            Error::Corruption { path: damaged_file(error.as_ref(), directory), detail: error.to_string() }
        }
        _ => from_rocksdb(error.clone(), directory),
    }
}
