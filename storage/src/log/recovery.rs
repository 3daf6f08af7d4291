//! Opening a log: what is there, is it whole, and is it all that was once durable.
//!
//! RocksDB's own recovery ends at the first record of a write-ahead file that it cannot read. That is right for the tail
//! that was never synced, and wrong for anything else; so the recovered log is compared with the durable mark, every record
//! is checked, and the log must have no holes.

use std::path::Path;

use super::LogOptions;
use super::database::{open_database, read_options, refusal};
use super::log_sync::SharedLog;
use super::record::{LogRecord, key_of};
use super::sizes::Sizes;
use super::state_file::{Mark, Promises, STATE_FILE, StateFile};
use super::tail::Tail;
use crate::{Error, Result};

/// A log as found on disk.
pub(super) struct Recovered {
    pub(super) shared: SharedLog,
    pub(super) promises: Promises,
    pub(super) mark: Mark,
    pub(super) records: Records,
}

/// The records found.
pub(super) struct Records {
    /// Index of the first one; that of the next one to come if there are none.
    pub(super) first: u64,
    /// Index of the next one to come.
    pub(super) next: u64,
    pub(super) sizes: Sizes,
    pub(super) tail: Tail,
}

/// Opens the log in `directory`, or creates one if there is none.
pub(super) fn recover(directory: &Path, options: &LogOptions) -> Result<Recovered> {
    std::fs::create_dir_all(directory).map_err(|source| Error::Io { path: directory.to_owned(), source })?;
    let has_database = exists(&directory.join("CURRENT"))?;
    let is_new = !has_database && !exists(&directory.join(STATE_FILE))?;
    if is_new {
        drop(StateFile::create(directory)?);
    }
    let (state, promises, mark) = StateFile::open(directory)?;
    if !has_database && (mark.sequence > 0 || promises != Promises::default()) {
        let detail = "the state file is there but the database is not".to_owned();
        return Err(Error::Corruption { path: directory.join("CURRENT"), detail });
    }
    let database = open_database(directory, options)?;
    check_mark(directory, database.latest_sequence_number(), &mark)?;
    let shared = SharedLog::new(directory, database, state, promises.clone(), mark.clone());
    let records = scan(&shared, &promises, options)?;
    Ok(Recovered { shared, promises, mark, records })
}

fn exists(path: &Path) -> Result<bool> {
    path.try_exists().map_err(|source| Error::Io { path: path.to_owned(), source })
}

/// Refuses a log that ends before a write that was durable.
fn check_mark(directory: &Path, found: u64, mark: &Mark) -> Result<()> {
    if found >= mark.sequence {
        return Ok(());
    }
    let detail = format!(
        "the write-ahead files (*.log) end at write {found}, but write {} was durable (the log then ended at index {:?}): \
         records that were acknowledged are missing",
        mark.sequence, mark.last_index
    );
    Err(Error::Corruption { path: directory.to_owned(), detail })
}

/// Reads and checks all records that are not purged.
fn scan(shared: &SharedLog, promises: &Promises, options: &LogOptions) -> Result<Records> {
    let start = promises.purged.as_ref().map(|(index, _)| index + 1);
    let mut records = Records {
        first: start.unwrap_or(0),
        next: start.unwrap_or(0),
        sizes: Sizes::default(),
        tail: Tail::new(options.tail_bytes),
    };
    let database = shared.database();
    let mut rows = database.raw_iterator_opt(read_options());
    rows.seek(key_of(records.first));
    while let Some((key, value)) = rows.item() {
        let record = LogRecord::decode(&shared.directory, key, value)?;
        if records.sizes.is_empty() && start.is_none() {
            (records.first, records.next) = (record.index, record.index);
        }
        if record.index != records.next {
            let detail = format!("record {} is missing, record {} is there", records.next, record.index);
            return Err(Error::Corruption { path: shared.directory.clone(), detail });
        }
        records.sizes.push(record.index, record.row_bytes());
        records.next = record.index + 1;
        records.tail.extend(std::slice::from_ref(&record));
        rows.next();
    }
    rows.status().map_err(|error| refusal(&shared.directory, &error))?;
    drop(rows);
    drop(database);
    Ok(records)
}
