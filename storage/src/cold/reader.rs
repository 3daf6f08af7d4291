//! Reads that memory could not answer: another thread brings the blocks into the block cache and the rows to the core, then the
//! command is tried again.

use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError, Weak};

use rocksdb::ReadTier;

use super::epoch::Epoch;
use super::pinned_rows::{Piece, PinnedRows};
use crate::Result;
use crate::cold_read::{ColdRead, Direction};
use crate::disk::{Database, read_options};
use crate::limits::{
    CACHED_ROW_BYTES_MAX, COLD_PLACE_BYTES_MAX, COLD_PLACE_ROWS_MAX, COLD_SCAN_ROW_BYTES_MIN, FETCHED_BYTES_MAX,
    FETCHED_ROWS_MAX, PINNED_BYTES_AT_ONCE,
};
use crate::rows::{APPLIED_ROW, successor};

/// The database that cold reads go to: replaced when a snapshot is installed.
pub(crate) type CurrentDatabase = Arc<Mutex<Weak<Database>>>;

/// Fetches cold rows into the block cache. Use it on threads that may block.
#[derive(Clone)]
pub struct ColdReader {
    current: CurrentDatabase,
    pub(crate) epoch: Epoch,
    /// Counts rows that were read.
    pub(crate) rows_read: Arc<AtomicU64>,
}

/// A key, and its value if there is one.
type FetchedRow = (Box<[u8]>, Option<Box<[u8]>>);

/// The rows of a cold read; goes back to the store, on its core, into [`Store::take_fetched`](crate::Store::take_fetched).
#[derive(Debug, Default)]
pub struct Fetched {
    /// The epoch in which the read was handed out.
    pub(crate) epoch: Epoch,
    pub(crate) rows: Vec<FetchedRow>,
    bytes: usize,
    pinned: Option<PinnedRows>,
}

impl Fetched {
    /// Takes the rows out that are to be pinned for the command, if it asked for that.
    pub fn take_pinned(&mut self) -> Option<PinnedRows> {
        self.pinned.take()
    }

    fn add(&mut self, key: &[u8], value: Option<&[u8]>) {
        let bytes = key.len() + value.map_or(0, <[u8]>::len);
        let fits = self.rows.len() < FETCHED_ROWS_MAX && self.bytes + bytes <= FETCHED_BYTES_MAX;
        if fits && bytes <= CACHED_ROW_BYTES_MAX {
            self.bytes += bytes;
            self.rows.push((key.into(), value.map(Box::from)));
        }
    }
}

impl ColdReader {
    /// A reader of the database that is `current` when it reads, for answers of `epoch`.
    pub(crate) fn new(current: CurrentDatabase, epoch: Epoch, rows_read: Arc<AtomicU64>) -> ColdReader {
        ColdReader { current, epoch, rows_read }
    }

    /// Reads what `read` asks for from disk, so that the read finds it in memory when it is tried again, and gives the rows.
    ///
    /// Under memory pressure they may be evicted before that. A caller that misses several times over should
    /// [pin](ColdReader::pin) them instead.
    ///
    /// # Errors
    /// As the read itself: [`Error::Io`](crate::Error::Io), [`Error::Corruption`](crate::Error::Corruption).
    pub fn fetch(&self, read: &ColdRead) -> Result<Fetched> {
        let mut fetched = Fetched { epoch: self.epoch, ..Fetched::default() };
        let Some(database) = self.database() else { return Ok(fetched) };
        let options = read_options(ReadTier::All);
        let rows = Counting(&self.rows_read);
        let mut get = |key: &[u8]| {
            rows.count();
            let row = database.get(key, &options).map_err(|error| database.error(error))?;
            fetched.add(key, row.as_deref());
            Ok(())
        };
        match read {
            ColdRead::Key(key) => get(key)?,
            ColdRead::Keys(keys) => keys.iter().try_for_each(|key| get(key))?,
            ColdRead::Places(places) => {
                for from in places {
                    scan(
                        &database,
                        from,
                        Direction::Forward,
                        COLD_PLACE_ROWS_MAX,
                        COLD_PLACE_BYTES_MAX,
                        &mut |_, _| rows.count(),
                    )?;
                }
            }
            ColdRead::Scan { from, direction, bytes } => {
                scan(&database, from, *direction, usize::MAX, *bytes, &mut |_, _| rows.count())?;
            }
        }
        Ok(fetched)
    }

    /// Reads what `read` asks for from disk, pinned for the command ([`Store::set_pinned`](crate::Store::set_pinned)) until it is
    /// done.
    ///
    /// # Errors
    /// As [`ColdReader::fetch`].
    pub fn pin(&self, read: &ColdRead) -> Result<Fetched> {
        let mut pinned = PinnedRows::new(self.epoch);
        let Some(database) = self.database() else { return Ok(Fetched { pinned: Some(pinned), ..Fetched::default() }) };
        let options = read_options(ReadTier::All);
        let rows = Counting(&self.rows_read);
        let get = |pinned: &mut PinnedRows, key: &[u8]| {
            rows.count();
            let row = database.get(key, &options).map_err(|error| database.error(error))?;
            pinned.put(key, row.as_deref());
            Ok(())
        };
        match read {
            ColdRead::Key(key) => get(&mut pinned, key)?,
            ColdRead::Keys(keys) => {
                for key in keys {
                    get(&mut pinned, key)?;
                    if pinned.bytes() >= PINNED_BYTES_AT_ONCE {
                        break;
                    }
                }
            }
            ColdRead::Places(places) => {
                for from in places {
                    pin_scan(
                        &database,
                        from,
                        Direction::Forward,
                        COLD_PLACE_ROWS_MAX,
                        COLD_PLACE_BYTES_MAX,
                        &rows,
                        &mut pinned,
                    )?;
                    if pinned.bytes() >= PINNED_BYTES_AT_ONCE {
                        break;
                    }
                }
            }
            ColdRead::Scan { from, direction, bytes } => {
                pin_scan(&database, from, *direction, usize::MAX, *bytes, &rows, &mut pinned)?;
            }
        }
        Ok(Fetched { epoch: self.epoch, pinned: Some(pinned), ..Fetched::default() })
    }

    /// The database to read from. A store that is closing has no reader left.
    pub(crate) fn database(&self) -> Option<Arc<Database>> {
        self.current.lock().unwrap_or_else(PoisonError::into_inner).upgrade()
    }
}

/// Counts rows that are read from RocksDB.
struct Counting<'a>(&'a AtomicU64);

impl Counting<'_> {
    fn count(&self) {
        self.0.fetch_add(1, Ordering::Relaxed);
    }
}

/// As [`scan`], into `pinned`.
fn pin_scan(
    database: &Database,
    from: &[u8],
    direction: Direction,
    rows_max: usize,
    bytes_max: usize,
    rows: &Counting<'_>,
    pinned: &mut PinnedRows,
) -> Result<()> {
    let mut piece = Piece::default();
    let is_whole = scan(database, from, direction, rows_max, bytes_max, &mut |key, value| {
        rows.count();
        piece.push(key, value);
    })?;
    // A key may lie between the last one and where the scan stopped: up to the last one all rows are there.
    let (end, last) = (successor(from), piece.last_key().map(<[u8]>::to_vec));
    match (direction, last) {
        (Direction::Forward, _) if is_whole => pinned.add(from, APPLIED_ROW, direction, piece),
        (Direction::Forward, Some(last)) => pinned.add(from, &successor(&last), direction, piece),
        (Direction::Backward, _) if is_whole => pinned.add(&[], &end, direction, piece),
        (Direction::Backward, Some(last)) => pinned.add(&last, &end, direction, piece),
        (_, None) => unreachable!("a scan that is not at its end has found a row"),
    }
    Ok(())
}

/// Reads rows until there are so many or so many bytes of them: one at least beside that at `from`, where the scan may stand. Says
/// whether there are no more.
fn scan(
    database: &Database,
    from: &[u8],
    direction: Direction,
    rows_max: usize,
    bytes_max: usize,
    take: &mut dyn FnMut(&[u8], &[u8]),
) -> Result<bool> {
    let mut options = read_options(ReadTier::All);
    options.set_iterate_upper_bound(APPLIED_ROW);
    let mut iterator = database.db().raw_iterator_opt(options);
    match direction {
        Direction::Forward => iterator.seek(from),
        Direction::Backward => iterator.seek_for_prev(from),
    }
    let (mut rows, mut bytes) = (0, 0);
    while let Some((key, value)) = iterator.item() {
        if rows >= rows_max || bytes >= bytes_max {
            return Ok(false);
        }
        take(key, value);
        if key != from {
            rows += 1;
            bytes += (key.len() + value.len()).max(COLD_SCAN_ROW_BYTES_MIN);
        }
        match direction {
            Direction::Forward => iterator.next(),
            Direction::Backward => iterator.prev(),
        }
    }
    iterator.status().map_err(|error| database.error(error))?;
    Ok(true)
}
