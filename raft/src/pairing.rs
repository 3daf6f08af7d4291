//! The check that a log and a store belong together: what only a directory that was lost, swapped or put back from an old copy can
//! bring about is refused before openraft sees it, which would wait or go on with less than was acknowledged.
//!
//! What a newcomer would get wrong: a store *behind* the log is as it should be, the log is applied again. But the log must
//! reach down to it, and up to it.

use basalt_storage::Error as StorageError;

use crate::disk::{GroupLog, GroupStore};
use crate::entry::decode_log_id;
use crate::error::{DecodeError, Error, Fault, Result};
use crate::generations::point_of;
use crate::ids::EntryId;
use crate::types::entry_id;

/// Refuses a log and a store of which one is older than the other, or another group's. [`Group::open`](crate::Group::open) does so
/// too; asked before, nothing has been changed yet. May read one record from disk.
///
/// # Errors
/// [`StorageError::Misfit`] naming the directory that is not the newest one.
pub fn check_pairing(log: &impl GroupLog, store: &impl GroupStore) -> Result<()> {
    let applied = point_of(store.applied())?.last_log_id.map(|id| entry_id(&id));
    let damaged = |error: DecodeError| Error::Fatal(Fault::of_group(format!("the log's purged id: {error}")));
    let purged = log.purged().map(|(_, id)| decode_log_id(id)).transpose().map_err(damaged)?.map(|id| entry_id(&id));
    if let Some(purged) = purged.filter(|purged| applied.is_none_or(|applied| applied.index < purged.index)) {
        return Err(rows_are_old(log, store, applied, purged));
    }
    let Some(applied) = applied else { return Ok(()) };
    let end = log.last_index().or(purged.map(|purged| purged.index));
    if end.is_none_or(|end| end < applied.index) {
        // Unless a snapshot came, and the log was to be purged next.
        return if log.expected_snapshot() == Some(applied.index) {
            Ok(())
        } else {
            Err(log_is_old(log, store, end, applied))
        };
    }
    let term = match purged.filter(|purged| purged.index == applied.index) {
        Some(purged) => Some(purged.term),
        None => log.get(applied.index)?.map(|record| record.term),
    };
    if term == Some(applied.term) { Ok(()) } else { Err(terms_differ(log, store, applied, term)) }
}

fn rows_are_old(log: &impl GroupLog, store: &impl GroupStore, applied: Option<EntryId>, purged: EntryId) -> Error {
    let stand = applied.map_or_else(|| "hold no entry".to_owned(), |applied| format!("end at entry {}", applied.index));
    let detail =
        format!("its rows {stand}, and the log in {} begins after entry {}", log.directory().display(), purged.index);
    StorageError::Misfit { path: store.directory().to_owned(), detail }.into()
}

fn log_is_old(log: &impl GroupLog, store: &impl GroupStore, end: Option<u64>, applied: EntryId) -> Error {
    let end = end.map_or_else(|| "it is empty".to_owned(), |end| format!("it ends at entry {end}"));
    let detail = format!("{end}, and the rows in {} include entry {}", store.directory().display(), applied.index);
    StorageError::Misfit { path: log.directory().to_owned(), detail }.into()
}

fn terms_differ(log: &impl GroupLog, store: &impl GroupStore, applied: EntryId, term: Option<u64>) -> Error {
    let detail = format!(
        "it has entry {} of term {}, and the rows in {} include that of term {}",
        applied.index,
        term.map_or_else(|| "unknown".to_owned(), |term| term.to_string()),
        store.directory().display(),
        applied.term
    );
    StorageError::Misfit { path: log.directory().to_owned(), detail }.into()
}

#[cfg(test)]
mod tests {
    use std::path::Path;

    use basalt_storage::log::{Durability, LogRecord, LogSyncer, RaftLog};
    use basalt_storage::{Rows, Store};

    use super::*;
    use crate::entry::encode_log_id;
    use crate::support::{Appender, open_log};
    use crate::types::log_id;

    /// A log of entries from after `purged` to `end`, all of term 3.
    fn log(directory: &Path, syncer: &LogSyncer, purged: Option<u64>, end: Option<u64>) -> RaftLog {
        let mut log = open_log(directory, syncer);
        if let Some(end) = end {
            let record = |index| LogRecord { index, term: 3, body: b"entry"[..].into() };
            log.append(&(0..=end).map(record).collect::<Vec<_>>()).unwrap();
        }
        if let Some(purged) = purged {
            log.purge(purged, &encode_log_id(&log_id(3, purged))).unwrap();
        }
        log
    }

    fn store(directory: &Path, applied: Option<(u64, u64)>) -> Store {
        let mut store = Appender::open(directory, 1 << 20).store;
        if let Some((term, index)) = applied {
            store.put(b"row", b"value");
            store.set_applied(index, &encode_log_id(&log_id(term, index)), None);
        }
        store
    }

    /// Returns what is said of a log with entries up to `end`, purged up to `purged`, and rows with `applied`, a term and an index.
    fn verdict(purged: Option<u64>, end: Option<u64>, applied: Option<(u64, u64)>) -> Option<String> {
        let directory = tempfile::tempdir().unwrap();
        let syncer = LogSyncer::start(0, Durability::Always).unwrap();
        let (log, store) = (log(directory.path(), &syncer, purged, end), store(directory.path(), applied));
        check_pairing(&log, &store).err().map(|error| error.to_string())
    }

    #[test]
    fn rows_within_the_log_fit() {
        for (purged, end, applied) in [
            (None, None, None),
            (None, Some(9), None),
            (None, Some(9), Some((3, 0))),
            (None, Some(9), Some((3, 9))),
            (Some(5), Some(9), Some((3, 5))),
            (Some(5), Some(9), Some((3, 7))),
            (Some(9), Some(9), Some((3, 9))),
        ] {
            assert_eq!(verdict(purged, end, applied), None, "{purged:?} {end:?} {applied:?}");
        }
    }

    #[test]
    fn an_older_log_an_older_store_and_another_groups_are_refused() {
        for (purged, end, applied, expected) in [
            (None, None, Some((3, 0)), "log does not fit the rest of its shard: it is empty, and the rows in"),
            (None, Some(9), Some((3, 10)), "it ends at entry 9, and the rows in"),
            (Some(9), Some(9), Some((3, 10)), "it ends at entry 9, and the rows in"),
            (Some(5), Some(9), None, "its rows hold no entry, and the log in"),
            (Some(5), Some(9), Some((3, 4)), "its rows end at entry 4, and the log in"),
            (None, Some(9), Some((2, 9)), "it has entry 9 of term 3, and the rows in"),
            (Some(5), Some(9), Some((2, 5)), "it has entry 5 of term 3, and the rows in"),
        ] {
            let refused = verdict(purged, end, applied).expect(expected);
            assert!(refused.contains(expected), "{expected}: {refused}");
        }
    }

    #[test]
    fn a_snapshot_that_the_log_expects_may_be_ahead_of_it() {
        let directory = tempfile::tempdir().unwrap();
        let syncer = LogSyncer::start(0, Durability::Always).unwrap();
        let mut log = log(directory.path(), &syncer, None, Some(9));
        log.expect_snapshot(20);
        let (tell, told) = std::sync::mpsc::channel();
        log.sync(Box::new(move |outcome| tell.send(outcome).unwrap()));
        told.recv().unwrap().unwrap();
        drop(log);
        let log = open_log(directory.path(), &syncer);
        let mut store = store(directory.path(), Some((3, 20)));
        check_pairing(&log, &store).unwrap();
        store.set_applied(21, &encode_log_id(&log_id(3, 21)), None);
        assert!(check_pairing(&log, &store).is_err(), "no other index is expected");
    }
}
