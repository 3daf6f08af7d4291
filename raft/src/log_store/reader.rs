//! Reading entries, for applying and for followers.

use std::fmt::Debug;
use std::future::poll_fn;
use std::io;
use std::ops::{Bound, RangeBounds};
use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::task::{Context, Poll};

use basalt_storage::log::LogRecord;
use futures_util::Stream;
use openraft::{OptionalSend, RaftLogReader};

use super::LogStore;
use crate::completions::Pending;
use crate::disk::{GroupLog, ReadRecords};
use crate::entry::{decode_entry, decode_vote};
use crate::limits::{LOG_DISK_FULL_RETRY, READ_BYTES};
use crate::source::Instant;
use crate::types::{Entry, TypeConfig, Vote};

impl<L: GroupLog> LogStore<L> {
    /// Reads entries, as many as fit in `bytes_max` and lie together in memory or on disk; what is on disk only, on another thread.
    async fn read(&self, from: u64, to: u64, bytes_max: usize) -> io::Result<Vec<Entry>> {
        let mut reading = None;
        poll_fn(|context| self.poll_read(&mut reading, from, to, bytes_max, context)).await
    }

    /// The same, one step: `reading` is the read under way.
    fn poll_read(
        &self,
        reading: &mut Option<Reading>,
        from: u64,
        to: u64,
        bytes_max: usize,
        context: &Context<'_>,
    ) -> Poll<io::Result<Vec<Entry>>> {
        let mut to = to;
        if let Some(under_way) = reading {
            let Some(outcome) = under_way.records.take() else {
                self.0.flushed_waiters.add(context);
                return Poll::Pending;
            };
            let is_current = under_way.truncations == self.0.truncations.get();
            *reading = None;
            let is_held_up = matches!(outcome, Ok(Err(basalt_storage::Error::DiskFull { .. })));
            if is_current && !is_held_up {
                return Poll::Ready(self.take_read(from, outcome));
            }
            if is_held_up {
                // The log is closed until there is space to open it again: it is looked for again then, like what is to be written.
                self.0.read_again.set(Some(Instant::now() + LOG_DISK_FULL_RETRY));
            }
            // Read in vain: others may stand in the places of those that were there.
            to = to.min(self.0.log.borrow().range().end);
            if from >= to {
                return Poll::Ready(Ok(Vec::new()));
            }
        }
        let records = self.0.log.borrow().read_memory(from, to, bytes_max);
        match records {
            Ok(Some(records)) => Poll::Ready(self.decode(records)),
            Ok(None) => {
                self.0.flushed_waiters.add(context);
                // One at a time for each log: the threads' queue has its bounds.
                let may_begin = self.0.read_again.get().is_none_or(|at| at <= Instant::now());
                if may_begin && self.0.read_again.take().is_some() {
                    // Reading alone opens no log again. Why it is not opened is what the read will say.
                    let _ = self.0.log.borrow_mut().admit(0);
                }
                if may_begin && !self.0.is_reading.swap(true, Ordering::AcqRel) {
                    *reading = Some(self.begin_read(from, to, bytes_max));
                }
                Poll::Pending
            }
            Err(error) => Poll::Ready(Err(self.not_read(error))),
        }
    }

    fn begin_read(&self, from: u64, to: u64, bytes_max: usize) -> Reading {
        let reader = self.0.log.borrow().disk_reader();
        let is_reading = ReadingEnds(self.0.is_reading.clone());
        let records = Pending::run(&*self.0.readers, &self.0.wake, move || {
            let _is_reading = is_reading;
            reader.read(from, to, bytes_max)
        });
        Reading { records, truncations: self.0.truncations.get() }
    }

    /// Takes what was read of the entries from `from` on. They may have been purged meanwhile, which is no damage.
    pub(super) fn take_read(
        &self,
        from: u64,
        outcome: Result<basalt_storage::Result<Vec<LogRecord>>, String>,
    ) -> io::Result<Vec<Entry>> {
        match outcome {
            Ok(Ok(records)) => self.decode(records),
            Ok(Err(error)) => {
                let is_purged = from < self.0.log.borrow().range().start;
                Err(if is_purged {
                    not_found(format!("entry {from} is purged: {error}"))
                } else {
                    self.fault_of(error)
                })
            }
            Err(panic) => {
                let text = format!("the thread that read the log panicked: {panic}");
                self.note_fault(text.clone());
                Err(io::Error::other(text))
            }
        }
    }

    fn decode(&self, records: Vec<LogRecord>) -> io::Result<Vec<Entry>> {
        records.into_iter().map(|record| decode_entry(record).map_err(|error| self.fault_of(error))).collect()
    }

    fn not_read(&self, error: basalt_storage::Error) -> io::Error {
        match error {
            // The log is as it should be, who asks is late.
            error @ basalt_storage::Error::Purged { .. } => not_found(error.to_string()),
            error => self.fault_of(error),
        }
    }

    /// The bounds of `range`, cut at the log's end. Not at its beginning: an answer that silently starts later than asked would
    /// be taken for a log with a hole.
    fn bounds(&self, range: &impl RangeBounds<u64>) -> (u64, u64) {
        let from = match range.start_bound() {
            Bound::Included(index) => *index,
            Bound::Excluded(index) => index + 1,
            Bound::Unbounded => 0,
        };
        let to = match range.end_bound() {
            Bound::Included(index) => index + 1,
            Bound::Excluded(index) => *index,
            Bound::Unbounded => u64::MAX,
        };
        (from, to.min(self.0.log.borrow().range().end))
    }
}

fn not_found(text: String) -> io::Error {
    io::Error::new(io::ErrorKind::NotFound, text)
}

/// A read on another thread.
struct Reading {
    records: Pending<basalt_storage::Result<Vec<LogRecord>>>,
    /// Number of times that the log had been truncated when it began.
    truncations: u64,
}

/// Lets the next one begin when it is dropped, at the end of the read.
struct ReadingEnds(Arc<AtomicBool>);

impl Drop for ReadingEnds {
    fn drop(&mut self) {
        self.0.store(false, Ordering::Release);
    }
}

/// Reads a range of entries piece by piece.
pub(crate) struct EntryStream<L> {
    log: LogStore<L>,
    next: u64,
    end: u64,
    piece: std::vec::IntoIter<Entry>,
    reading: Option<Reading>,
}

impl<L: GroupLog> Stream for EntryStream<L> {
    type Item = io::Result<Entry>;

    fn poll_next(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Option<Self::Item>> {
        if let Some(entry) = self.piece.next() {
            return Poll::Ready(Some(Ok(entry)));
        }
        if self.next >= self.end {
            return Poll::Ready(None);
        }
        let EntryStream { log, next, end, reading, .. } = &mut *self;
        match std::task::ready!(log.poll_read(reading, *next, *end, READ_BYTES, context)) {
            Ok(entries) => {
                self.next += entries.len() as u64;
                if entries.is_empty() {
                    self.end = self.next;
                }
                self.piece = entries.into_iter();
                Poll::Ready(self.piece.next().map(Ok))
            }
            Err(error) => {
                self.end = self.next;
                Poll::Ready(Some(Err(error)))
            }
        }
    }
}

impl<L: GroupLog> RaftLogReader<TypeConfig> for LogStore<L> {
    async fn try_get_log_entries<RB: RangeBounds<u64> + Clone + Debug + OptionalSend>(
        &mut self,
        range: RB,
    ) -> io::Result<Vec<Entry>> {
        let (from, to) = self.bounds(&range);
        // Here openraft wants what there is, and all of it.
        let mut next = from.max(self.0.log.borrow().range().start);
        let mut entries = Vec::new();
        while next < to {
            let piece = self.read(next, to, usize::MAX).await?;
            if piece.is_empty() {
                break;
            }
            next += piece.len() as u64;
            entries.extend(piece);
        }
        Ok(entries)
    }

    async fn entries_stream<RB>(&mut self, range: RB) -> impl Stream<Item = io::Result<Entry>> + OptionalSend
    where
        RB: RangeBounds<u64> + Clone + Debug + OptionalSend,
    {
        let (next, end) = self.bounds(&range);
        EntryStream { log: self.clone(), next, end, piece: Vec::new().into_iter(), reading: None }
    }

    async fn limited_get_log_entries(&mut self, start: u64, end: u64) -> io::Result<Vec<Entry>> {
        let (from, to) = self.bounds(&(start..end));
        if from >= to {
            return Ok(Vec::new());
        }
        self.read(from, to, READ_BYTES).await
    }

    async fn read_vote(&mut self) -> io::Result<Option<Vote>> {
        let log = self.0.log.borrow();
        log.vote().map(decode_vote).transpose().map_err(|error| self.fault_of(error))
    }
}

#[cfg(test)]
mod tests {
    use std::rc::Rc;
    use std::sync::Arc;
    use std::task::Waker;

    use basalt_storage::log::{Durability, LogSyncer};

    use super::*;
    use crate::support::{Threads, open_log, run};

    #[test]
    fn a_read_that_meets_a_full_disk_is_tried_again_later_and_is_no_fault() {
        let directory = tempfile::tempdir().unwrap();
        run(async {
            let syncer = LogSyncer::start(0, Durability::None).unwrap();
            let log = LogStore::new(open_log(directory.path(), &syncer), Rc::new(Threads), Arc::new(|| {}));
            let (path, wake): (_, crate::completions::Wake) = (directory.path().to_owned(), Arc::new(|| {}));
            let full = Pending::run(&Threads, &wake, move || Err(basalt_storage::Error::DiskFull { path }));
            let mut reading = Some(Reading { records: full, truncations: 0 });
            let deadline = Instant::now() + crate::support::PATIENCE;
            let context = Context::from_waker(Waker::noop());
            while log.0.read_again.get().is_none() {
                assert!(Instant::now() < deadline);
                // The log is empty: what is not in memory ends it.
                let _ = log.poll_read(&mut reading, 0, 1, READ_BYTES, &context);
            }
            assert!(reading.is_none() && log.fault().is_none(), "{:?}", log.fault());
        });
    }
}
