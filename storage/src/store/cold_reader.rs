//! Reads that memory could not answer: another thread brings the blocks into the cache, then the command is tried again.

use std::sync::{Arc, Mutex, PoisonError, Weak};

use rocksdb::ReadTier;

use super::database::{Database, read_options};
use crate::Result;
use crate::rows::{ColdRead, Direction};

/// Rows that one cold scan fetches at most.
const SCAN_ROWS_MAX: usize = 4096;
/// Bytes of rows that one cold scan fetches at most.
const SCAN_BYTES_MAX: usize = 1024 * 1024;

/// The database that cold reads go to: replaced when a snapshot is installed.
pub(super) type CurrentDatabase = Arc<Mutex<Weak<Database>>>;

/// Fetches cold rows into the block cache. Cheap to clone; use it on threads that may block.
#[derive(Clone)]
pub struct ColdReader {
    pub(super) current: CurrentDatabase,
}

impl ColdReader {
    /// Reads what `read` asks for from disk, so that the read finds it in memory when it is tried again.
    ///
    /// Under memory pressure the block may be evicted before that. A caller that misses several times over should let the
    /// read wait for the disk instead ([`Store::set_wait_for_disk`](super::Store::set_wait_for_disk)).
    ///
    /// # Errors
    /// As the read itself: [`Error::Io`](crate::Error::Io), [`Error::Corruption`](crate::Error::Corruption).
    pub fn warm(&self, read: &ColdRead) -> Result<()> {
        let current = self.current.lock().unwrap_or_else(PoisonError::into_inner).upgrade();
        // A store that is closing has no reader left to warm for.
        let Some(database) = current else { return Ok(()) };
        let options = read_options(ReadTier::All);
        let get = |key: &[u8]| database.get(key, &options).map(drop).map_err(|error| database.error(error));
        match read {
            ColdRead::Key(key) => get(key),
            ColdRead::Keys(keys) => keys.iter().try_for_each(|key| get(key)),
            ColdRead::Scan { from, direction } => warm_scan(&database, from, *direction),
        }
    }
}

fn warm_scan(database: &Database, from: &[u8], direction: Direction) -> Result<()> {
    let mut iterator = database.db().raw_iterator_opt(read_options(ReadTier::All));
    match direction {
        Direction::Forward => iterator.seek(from),
        Direction::Backward => iterator.seek_for_prev(from),
    }
    let (mut row_count, mut bytes) = (0, 0);
    while let Some((key, value)) = iterator.item() {
        row_count += 1;
        bytes += key.len() + value.len();
        if row_count >= SCAN_ROWS_MAX || bytes >= SCAN_BYTES_MAX {
            break;
        }
        match direction {
            Direction::Forward => iterator.next(),
            Direction::Backward => iterator.prev(),
        }
    }
    iterator.status().map_err(|error| database.error(error))
}
