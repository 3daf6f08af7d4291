//! Opening a log: what is there, is it whole, and is it all that was once durable.
//!
//! RocksDB's own recovery ends at the first record of a write-ahead file that it cannot read. That is right for the tail
//! that was never synced, and wrong for anything else; so the recovered log is compared with the durable mark, every record
//! is checked, and the log must have no holes.

use std::ffi::OsStr;
use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use rocksdb::{ColumnFamily, DB};

use super::LogOptions;
use super::database::{DEFAULT_FAMILY, read_options, refusal};
use super::lane::{Lane, SharedLane};
use super::record::{LogRecord, key_of};
use super::shared_log::SharedLog;
use super::sizes::Sizes;
use super::state_file::{Mark, Promises, STATE_FILE, StateFile};
use super::tail::Tail;
use crate::{Error, Result};

/// Directory of the write-ahead files while it is not yet certain that they are whole.
const KEPT_DIRECTORY: &str = "kept";

/// A log as found on disk.
pub(super) struct Recovered {
    pub(super) shared: SharedLog,
    pub(super) promises: Promises,
    pub(super) mark: Mark,
    pub(super) records: Records,
}

/// The state of a log, found fit to be opened, before its records are.
struct FoundState {
    file: StateFile,
    promises: Promises,
    mark: Mark,
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

/// Makes the directory's own name durable.
pub(super) fn sync_name(directory: &Path) -> std::io::Result<()> {
    directory.parent().filter(|parent| parent.is_dir()).map_or(Ok(()), |parent| std::fs::File::open(parent)?.sync_all())
}

/// Opens the log that is alone in `directory`, or creates one if there is none.
pub(super) fn recover(directory: &Path, options: &LogOptions) -> Result<(Lane, Recovered)> {
    let current = directory.join("CURRENT");
    let state = open_state(directory, options, &current, exists(&current)?)?;
    let lane = Lane::open_alone(directory, options)?;
    let recovered = recover_records(lane.shared(), DEFAULT_FAMILY, directory, options, state)?;
    Ok((lane, recovered))
}

/// Opens the log of a group in `lane`, or creates one if there is none.
pub(super) fn recover_group(
    lane: &Arc<SharedLane>,
    family: &str,
    directory: &Path,
    options: &LogOptions,
) -> Result<Recovered> {
    let has_family = lane.has_family(family)?;
    let state = open_state(directory, options, lane.directory(), has_family)?;
    if !has_family {
        lane.create_family(family)?;
    }
    recover_records(lane, family, directory, options, state)
}

/// Opens the state of the log in `directory`, or creates it; `has_rows` if its records in `database` are there.
fn open_state(directory: &Path, options: &LogOptions, database: &Path, has_rows: bool) -> Result<FoundState> {
    if options.create {
        std::fs::create_dir_all(directory).map_err(|source| Error::Io { path: directory.to_owned(), source })?;
    }
    let is_new = !has_rows && !exists(&directory.join(STATE_FILE))?;
    if is_new && !options.create {
        return Err(Error::Missing { path: directory.to_owned() });
    }
    if is_new {
        sync_name(directory).map_err(|source| Error::Io { path: directory.to_owned(), source })?;
        StateFile::create(directory, options.identity)?;
    }
    let (file, promises, mark) = StateFile::open(directory, options.identity)?;
    check_start(directory, &promises, options)?;
    if !has_rows && (mark != Mark::default() || promises != Promises::default()) {
        let detail = "the state file is there but the database is not".to_owned();
        return Err(Error::Corruption { path: database.to_owned(), detail });
    }
    Ok(FoundState { file, promises, mark })
}

fn recover_records(
    lane: &Arc<SharedLane>,
    family: &str,
    directory: &Path,
    options: &LogOptions,
    state: FoundState,
) -> Result<Recovered> {
    let FoundState { mut file, mut promises, mark } = state;
    let purged = promises.purged.as_ref().map(|(index, _)| *index);
    let records = lane.with_family(family, |database, rows| {
        let records = scan(lane.directory(), database, rows, purged, options)?;
        check_mark(lane.directory(), database, rows, &records, purged, &mark)?;
        Ok(records)
    })??;
    let is_newer = promises.start < options.start;
    promises.start = promises.start.max(options.start);
    if file.is_former {
        file = StateFile::upgrade(directory, options.identity, &promises, &mark)?;
    } else if is_newer {
        let noted = file.promises.write(&promises);
        noted.map_err(|source| Error::Io { path: directory.join(STATE_FILE), source })?;
    }
    let shared = SharedLog::new(directory, lane, family, file, promises.clone(), mark.clone());
    Ok(Recovered { shared, promises, mark, records })
}

/// True if there is a file of this name.
pub(super) fn exists(path: &Path) -> Result<bool> {
    path.try_exists().map_err(|source| Error::Io { path: path.to_owned(), source })
}

/// Refuses a log that was not there when the node started last: what was acknowledged then is not in it.
fn check_start(directory: &Path, promises: &Promises, options: &LogOptions) -> Result<()> {
    if promises.start + 1 >= options.start {
        return Ok(());
    }
    let detail = format!(
        "it was last used in start {} of the node, which has been started {} times",
        promises.start,
        options.start - 1
    );
    Err(Error::Misfit { path: directory.to_owned(), detail })
}

/// Refuses a log that lacks the last record known to have been durable.
fn check_mark(
    directory: &Path,
    database: &DB,
    rows: &ColumnFamily,
    records: &Records,
    purged: Option<u64>,
    mark: &Mark,
) -> Result<()> {
    let Some((index, term)) = mark.last else { return Ok(()) };
    if purged.is_some_and(|purged| purged >= index) {
        return Ok(());
    }
    let found = if index < records.next { read_record(directory, database, rows, index)? } else { None };
    if found.is_some_and(|record| record.term == term) {
        return Ok(());
    }
    let end = records.next.checked_sub(1);
    let detail = format!(
        "record {index} of term {term} was durable, but the write-ahead files (*.log) end at {end:?} or hold another record in \
         its place; the files as they were found are in {KEPT_DIRECTORY}/"
    );
    Err(Error::Corruption { path: directory.to_owned(), detail })
}

/// Refuses a database that was opened again and lacks the last record of `log`, which was written before, and so may be durable.
pub(super) fn check_end(directory: &Path, database: &DB, log: &SharedLog) -> Result<()> {
    let (last, purged) = {
        let wanted = log.wanted();
        (wanted.last, wanted.promises().purged.as_ref().map(|(index, _)| *index))
    };
    let Some((index, term)) = last.filter(|(index, _)| purged.is_none_or(|purged| purged < *index)) else {
        return Ok(());
    };
    let rows = database.cf_handle(log.family());
    let found = rows.map(|rows| read_record(directory, database, rows, index)).transpose()?.flatten();
    if found.is_some_and(|record| record.term == term) {
        return Ok(());
    }
    let log = log.directory.display();
    let detail = format!("after the disk was full, the write-ahead files lack record {index} of term {term} of {log}");
    Err(Error::Corruption { path: directory.to_owned(), detail })
}

fn read_record(directory: &Path, database: &DB, rows: &ColumnFamily, index: u64) -> Result<Option<LogRecord>> {
    let key = key_of(index);
    let row = database.get_pinned_cf_opt(rows, key, &read_options()).map_err(|error| refusal(directory, &error))?;
    row.map(|value| LogRecord::decode(directory, &key, &value)).transpose()
}

/// Reads and checks all records that are not purged.
pub(super) fn scan(
    directory: &Path,
    database: &DB,
    rows: &ColumnFamily,
    purged: Option<u64>,
    options: &LogOptions,
) -> Result<Records> {
    let start = purged.map(|index| index + 1);
    let mut records = Records {
        first: start.unwrap_or(0),
        next: start.unwrap_or(0),
        sizes: Sizes::default(),
        tail: Tail::new(options.tail_bytes),
    };
    let mut rows = database.raw_iterator_cf_opt(rows, read_options());
    rows.seek(key_of(records.first));
    while let Some((key, value)) = rows.item() {
        let record = LogRecord::decode(directory, key, value)?;
        if records.sizes.is_empty() && start.is_none() {
            (records.first, records.next) = (record.index, record.index);
        }
        if record.index != records.next {
            let detail = format!("record {} is missing, record {} is there", records.next, record.index);
            return Err(Error::Corruption { path: directory.to_owned(), detail });
        }
        records.sizes.push(record.index, record.row_bytes());
        records.next = record.index + 1;
        records.tail.extend(std::slice::from_ref(&record));
        rows.next();
    }
    rows.status().map_err(|error| refusal(directory, &error))?;
    Ok(records)
}

/// The write-ahead files as they were before RocksDB opened them, hard-linked aside: it deletes what it cannot read, and an
/// operator may need it.
#[derive(Debug)]
pub(super) struct KeptFiles {
    directory: PathBuf,
}

impl KeptFiles {
    /// Keeps what can be kept: some file systems have no hard links.
    pub(super) fn keep(log: &Path) -> Self {
        let kept = Self { directory: log.join(KEPT_DIRECTORY) };
        if let Err(error) = kept.link(log) {
            tracing::warn!(directory = %log.display(), %error, "the write-ahead files could not be linked aside");
        }
        kept
    }

    fn link(&self, log: &Path) -> io::Result<()> {
        std::fs::create_dir_all(&self.directory)?;
        for entry in std::fs::read_dir(log)? {
            let path = entry?.path();
            let (Some(name), Some("log")) = (path.file_name(), path.extension().and_then(OsStr::to_str)) else {
                continue;
            };
            match std::fs::hard_link(&path, self.directory.join(name)) {
                Err(error) if error.kind() != io::ErrorKind::AlreadyExists => return Err(error),
                _ => {}
            }
        }
        Ok(())
    }

    /// Removes them.
    pub(super) fn forget(self) -> Result<()> {
        let removed = match std::fs::remove_dir_all(&self.directory) {
            Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(()),
            removed => removed,
        };
        removed.map_err(|source| Error::Io { path: self.directory, source })
    }
}
