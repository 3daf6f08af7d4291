//! The twin of a group's log: in memory, with a disk below that forgets, in a crash, what was not synced.
//!
//! It keeps the promises of [`basalt_storage::log::RaftLog`] and no more than them. Records and promises (vote, purge, expected
//! snapshot) are two files, each of which a crash cuts at some point behind its last sync; but promises are written when the
//! records from before them are on disk. The committed id is as old as the begin of the last sync, or older.

use std::cell::{Cell, RefCell};
use std::collections::VecDeque;
use std::ops::Range;
use std::path::{Path, PathBuf};
use std::rc::Rc;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use basalt_storage::log::{Backlog, Durability, LogMemory, LogRecord, Skips, SyncDone};
use basalt_storage::{Error, Result};

use super::checks::Checks;
use super::executor::{self, Executor};
use super::faults::DiskFaults;
use crate::disk::{GroupLog, ReadRecords};
use crate::ids::{EntryId, NodeId};

/// Records that lie in memory, of the newest: older ones are read by other threads, as if they were on disk only.
const TAIL_RECORDS: u64 = 24;

/// Records without holes, and where they begin.
#[derive(Debug, Clone, Default)]
struct Records {
    first: u64,
    has_start: bool,
    list: VecDeque<LogRecord>,
}

impl Records {
    fn next(&self) -> u64 {
        self.first + self.list.len() as u64
    }

    fn get(&self, index: u64) -> Option<&LogRecord> {
        self.list.get(usize::try_from(index.checked_sub(self.first)?).ok()?)
    }

    fn append(&mut self, records: &[LogRecord]) {
        let Some(first) = records.first() else { return };
        assert!(!self.has_start || first.index == self.next(), "a hole in the log can never be filled");
        if !self.has_start {
            (self.first, self.has_start) = (first.index, true);
        }
        self.list.extend(records.iter().cloned());
    }

    fn truncate(&mut self, from: u64) {
        self.list.truncate(from.saturating_sub(self.first) as usize);
    }

    /// Forgets the records up to `upto`; true if that were all.
    fn purge(&mut self, upto: u64) -> bool {
        let replaces = !self.has_start || upto >= self.next();
        if replaces {
            self.list.clear();
        } else {
            self.list.drain(..(upto + 1).saturating_sub(self.first) as usize);
        }
        (self.first, self.has_start) = (self.first.max(upto + 1), true);
        replaces
    }
}

#[derive(Debug, Clone, Default)]
struct Promises {
    vote: Option<Vec<u8>>,
    purged: Option<(u64, Vec<u8>)>,
    snapshot: Option<u64>,
}

/// A change of the records.
enum Change {
    Append(Vec<LogRecord>),
    Truncate(u64),
}

/// A log's files: what is on disk, and what a crash may take.
#[derive(Default)]
pub(crate) struct LogFiles {
    records: Records,
    promises: Promises,
    changes: VecDeque<Change>,
    /// The promises after each change of them, and the number of changes of the records that were made before.
    promised: VecDeque<(u64, Promises)>,
    /// Number of changes of the records that are on disk.
    synced: u64,
    /// The newest committed id, and those of the two last syncs, the newer one first.
    committed: Option<Vec<u8>>,
    committed_noted: [Option<Vec<u8>>; 2],
}

impl LogFiles {
    fn sync(&mut self, changes: usize, promised: usize) {
        self.synced += changes as u64;
        for change in self.changes.drain(..changes) {
            match change {
                Change::Append(records) => self.records.append(&records),
                Change::Truncate(from) => self.records.truncate(from),
            }
        }
        if let Some((_, promises)) = self.promised.drain(..promised).next_back() {
            self.promises = promises;
        }
        if let Some((purged, _)) = self.promises.purged
            && (!self.records.has_start || purged >= self.records.first)
        {
            self.records.purge(purged);
        }
    }

    /// Loses what was not synced, or only a part of it: files are written at times that nobody asked for.
    pub(crate) fn crash(&mut self, executor: &Executor) {
        let promised = executor.below(self.promised.len() as u64 + 1) as usize;
        let before = promised.checked_sub(1).map_or(self.synced, |last| self.promised[last].0).max(self.synced);
        let least = before - self.synced;
        let changes = (least + executor.below(self.changes.len() as u64 - least + 1)) as usize;
        if let Some(Change::Append(records)) = self.changes.get_mut(changes)
            && executor.happens(500)
        {
            // Torn: it is cut where it stops to make sense.
            records.truncate(executor.below(records.len() as u64) as usize);
            self.sync(changes + 1, promised);
        } else {
            self.sync(changes, promised);
        }
        self.changes.clear();
        self.promised.clear();
        // It was handed to the operating system only.
        if executor.happens(500) {
            self.committed_noted[0] = self.committed_noted[1].clone();
        }
        self.committed = self.committed_noted[0].clone();
    }

    /// True if entries up to this one are on disk, in the log or in rows: in those of a snapshot as well for which the log is to be
    /// purged next.
    pub(crate) fn reaches(&self, index: u64) -> bool {
        self.records.next() > index || self.promises.snapshot >= Some(index)
    }

    /// True if a crash would take nothing but the committed id.
    pub(crate) fn is_synced(&self) -> bool {
        self.changes.is_empty() && self.promised.is_empty()
    }

    /// The vote that is on disk.
    pub(crate) fn vote(&self) -> Option<&[u8]> {
        self.promises.vote.as_deref()
    }

    /// Returns true if this entry is on disk, in the log or in the rows that a purge left to themselves.
    pub(crate) fn holds(&self, index: u64, term: u64) -> bool {
        index < self.records.first || self.records.get(index).is_some_and(|record| record.term == term)
    }
}

/// The syncs of a log, one after the other.
struct Syncer {
    files: Rc<RefCell<LogFiles>>,
    faults: Rc<DiskFaults>,
    asked: RefCell<Vec<SyncDone>>,
    is_running: Cell<bool>,
}

impl Syncer {
    fn ask(self: &Rc<Self>, done: SyncDone) {
        self.asked.borrow_mut().push(done);
        if !self.is_running.replace(true) {
            let syncer = self.clone();
            executor::current().expect("a simulated log is used in a simulation").spawn(async move {
                while !syncer.asked.borrow().is_empty() {
                    syncer.run().await;
                }
                syncer.is_running.set(false);
            });
        }
    }

    /// Makes one sync for all that has been asked for so far.
    async fn run(&self) {
        let asked = self.asked.take();
        let (changes, promised, committed) = {
            let files = self.files.borrow();
            (files.changes.len(), files.promised.len(), files.committed.clone())
        };
        self.faults.sync_time().await;
        let mut files = self.files.borrow_mut();
        files.sync(changes, promised);
        let [newest, older] = &mut files.committed_noted;
        *older = std::mem::replace(newest, committed);
        drop(files);
        asked.into_iter().for_each(|done| done(Ok(())));
    }
}

/// Looks into a log that is open.
#[derive(Clone)]
pub(crate) struct LogView(Arc<Mutex<Records>>);

impl LogView {
    fn records(&self) -> MutexGuard<'_, Records> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// The first index that is not purged.
    pub(crate) fn first(&self) -> u64 {
        self.records().first
    }

    pub(crate) fn get(&self, index: u64) -> Option<LogRecord> {
        self.records().get(index).cloned()
    }
}

/// The log.
pub(crate) struct LogTwin {
    node: NodeId,
    directory: PathBuf,
    records: Arc<Mutex<Records>>,
    promises: Promises,
    committed: Option<Vec<u8>>,
    syncer: Rc<Syncer>,
    faults: Rc<DiskFaults>,
    checks: Rc<RefCell<Checks>>,
    /// Bytes of the newest entries that a group of several keeps.
    kept_bytes: u64,
}

impl LogTwin {
    /// Opens what is on disk.
    pub(crate) fn open(
        node: NodeId,
        files: Rc<RefCell<LogFiles>>,
        faults: Rc<DiskFaults>,
        checks: Rc<RefCell<Checks>>,
        kept_bytes: u64,
    ) -> LogTwin {
        let (records, promises, committed) = {
            let files = files.borrow();
            assert!(files.changes.is_empty() && files.promised.is_empty(), "the log has crashed, or is new");
            (files.records.clone(), files.promises.clone(), files.committed.clone())
        };
        let syncer =
            Rc::new(Syncer { files, faults: faults.clone(), asked: RefCell::default(), is_running: Cell::default() });
        let records = Arc::new(Mutex::new(records));
        LogTwin {
            node,
            directory: format!("/node-{node}/log").into(),
            records,
            promises,
            committed,
            syncer,
            faults,
            checks,
            kept_bytes,
        }
    }

    pub(crate) fn view(&self) -> LogView {
        LogView(self.records.clone())
    }

    fn records(&self) -> MutexGuard<'_, Records> {
        self.records.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn promise(&mut self) {
        let mut files = self.syncer.files.borrow_mut();
        let made = files.synced + files.changes.len() as u64;
        files.promised.push_back((made, self.promises.clone()));
    }

    fn check_room(&self) -> Result<()> {
        if self.faults.is_full() { Err(Error::DiskFull { path: self.directory.clone() }) } else { Ok(()) }
    }
}

/// Reads what is on disk only.
pub(crate) struct TwinReader {
    directory: PathBuf,
    records: Arc<Mutex<Records>>,
}

impl ReadRecords for TwinReader {
    fn read(&self, from: u64, to_exclusive: u64, bytes_max: usize) -> Result<Vec<LogRecord>> {
        let records = self.records.lock().unwrap_or_else(PoisonError::into_inner);
        take(&records, from, to_exclusive, bytes_max).ok_or_else(|| Error::Corruption {
            path: self.directory.clone(),
            detail: format!("record {from} is missing"),
        })
    }
}

/// The records from `from` on, as many as fit but at least one. `None` if the first is not there.
fn take(records: &Records, from: u64, to: u64, bytes_max: usize) -> Option<Vec<LogRecord>> {
    let mut taken = vec![records.get(from)?.clone()];
    let mut bytes = taken[0].body.len();
    for index in from + 1..to {
        let Some(record) = records.get(index) else { break };
        bytes += record.body.len();
        if bytes > bytes_max {
            break;
        }
        taken.push(record.clone());
    }
    Some(taken)
}

impl GroupLog for LogTwin {
    type Reader = TwinReader;

    fn skips(&self) -> Option<Skips> {
        None
    }

    fn disk_reader(&self) -> TwinReader {
        TwinReader { directory: self.directory.clone(), records: self.records.clone() }
    }

    fn directory(&self) -> &Path {
        &self.directory
    }

    fn durability(&self) -> Durability {
        Durability::Always
    }

    fn range(&self) -> Range<u64> {
        let records = self.records();
        records.first..records.next()
    }

    fn last_index(&self) -> Option<u64> {
        self.records().list.back().map(|record| record.index)
    }

    fn last_term(&self) -> Option<u64> {
        self.records().list.back().map(|record| record.term)
    }

    fn purged(&self) -> Option<(u64, &[u8])> {
        self.promises.purged.as_ref().map(|(index, id)| (*index, id.as_slice()))
    }

    fn vote(&self) -> Option<&[u8]> {
        self.promises.vote.as_deref()
    }

    fn committed(&self) -> Option<&[u8]> {
        self.committed.as_deref()
    }

    fn expected_snapshot(&self) -> Option<u64> {
        self.promises.snapshot
    }

    fn memory(&self) -> LogMemory {
        LogMemory::default()
    }

    fn bytes(&self) -> u64 {
        self.records().list.iter().map(|record| record.body.len() as u64).sum()
    }

    fn bytes_between(&self, from: u64, to_exclusive: u64) -> u64 {
        let records = self.records();
        let bytes = |index| records.get(index).map_or(0, |record| record.body.len() as u64);
        (from.max(records.first)..to_exclusive.min(records.next())).map(bytes).sum()
    }

    fn backlog(&self) -> Backlog {
        Backlog { segments_waiting: 0, segments_waiting_max: 4, segment_bytes: 1 << 20, newest_bytes: 0 }
    }

    fn get(&self, index: u64) -> Result<Option<LogRecord>> {
        Ok(self.records().get(index).cloned())
    }

    fn read_memory(&self, from: u64, to_exclusive: u64, bytes_max: usize) -> Result<Option<Vec<LogRecord>>> {
        let records = self.records();
        let to = to_exclusive.min(records.next());
        if from < records.first.min(to) {
            return Err(Error::Purged { path: self.directory.clone(), index: from, first: records.first });
        }
        if from < records.next().saturating_sub(TAIL_RECORDS).min(to) {
            return Ok(None);
        }
        Ok(Some(if from < to { take(&records, from, to, bytes_max).unwrap_or_default() } else { Vec::new() }))
    }

    fn admit(&mut self, _bytes: usize) -> Result<()> {
        self.check_room()
    }

    fn append(&mut self, records: &[LogRecord]) -> Result<()> {
        self.check_room()?;
        if self.faults.stalls() {
            return Err(Error::WriteStall);
        }
        self.records().append(records);
        self.checks.borrow_mut().appended(self.node, |index| self.records().get(index).cloned(), records);
        self.syncer.files.borrow_mut().changes.push_back(Change::Append(records.to_vec()));
        Ok(())
    }

    fn truncate_after(&mut self, index: Option<u64>) -> Result<()> {
        let from = index.map_or(0, |index| index + 1).max(self.records().first);
        if from < self.records().next() {
            let id = |record: &LogRecord| EntryId { term: record.term, index: record.index };
            let removed: Vec<_> = self.records().list.iter().filter(|record| record.index >= from).map(id).collect();
            self.checks.borrow_mut().truncated(self.node, &removed);
            self.records().truncate(from);
            self.syncer.files.borrow_mut().changes.push_back(Change::Truncate(from));
        }
        Ok(())
    }

    fn purge(&mut self, upto: u64, log_id: &[u8]) -> Result<bool> {
        if self.promises.purged.as_ref().is_some_and(|(purged, _)| *purged >= upto) {
            return Ok(false);
        }
        let next = self.records().next();
        // Of what an installed snapshot takes the place of nobody needs anything.
        if upto < next && self.promises.snapshot != Some(upto) && self.bytes_between(upto, next) <= self.kept_bytes {
            self.checks.borrow_mut().purges_newest(self.node, upto);
        }
        self.promises.purged = Some((upto, log_id.to_vec()));
        self.promise();
        Ok(self.records().purge(upto))
    }

    fn set_vote(&mut self, vote: &[u8]) {
        self.promises.vote = Some(vote.to_vec());
        self.promise();
    }

    fn set_committed(&mut self, committed: &[u8]) {
        self.committed = Some(committed.to_vec());
        self.syncer.files.borrow_mut().committed.clone_from(&self.committed);
    }

    fn expect_snapshot(&mut self, index: u64) {
        self.promises.snapshot = Some(index);
        self.promise();
    }

    fn sync(&mut self, done: SyncDone) {
        self.syncer.ask(done);
    }

    fn sync_to_disk(&mut self, done: SyncDone) {
        self.syncer.ask(done);
    }
}
