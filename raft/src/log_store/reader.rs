//! Reading entries, for applying and for followers.

use std::fmt::Debug;
use std::io;
use std::ops::{Bound, RangeBounds};
use std::pin::Pin;
use std::task::{Context, Poll};

use futures_util::Stream;
use openraft::{OptionalSend, RaftLogReader};

use super::LogStore;
use crate::entry::{decode_entry, decode_vote};
use crate::limits::READ_BYTES;
use crate::types::{Entry, TypeConfig, Vote};

impl LogStore {
    fn read(&self, from: u64, to: u64, bytes_max: usize) -> io::Result<Vec<Entry>> {
        let records = self.0.log.borrow().read(from, to, bytes_max).map_err(|error| match error {
            // The log is as it should be, who asks is late.
            error @ basalt_storage::Error::Purged { .. } => io::Error::new(io::ErrorKind::NotFound, error.to_string()),
            error => self.fault_of(error),
        })?;
        records.into_iter().map(|record| decode_entry(record).map_err(|error| self.fault_of(error))).collect()
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

/// Reads a range of entries piece by piece.
pub(crate) struct EntryStream {
    log: LogStore,
    next: u64,
    end: u64,
    piece: std::vec::IntoIter<Entry>,
}

impl Stream for EntryStream {
    type Item = io::Result<Entry>;

    fn poll_next(mut self: Pin<&mut Self>, _context: &mut Context<'_>) -> Poll<Option<Self::Item>> {
        if let Some(entry) = self.piece.next() {
            return Poll::Ready(Some(Ok(entry)));
        }
        if self.next >= self.end {
            return Poll::Ready(None);
        }
        match self.log.read(self.next, self.end, READ_BYTES) {
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

impl RaftLogReader<TypeConfig> for LogStore {
    async fn try_get_log_entries<RB: RangeBounds<u64> + Clone + Debug + OptionalSend>(
        &mut self,
        range: RB,
    ) -> io::Result<Vec<Entry>> {
        let (from, to) = self.bounds(&range);
        // Here openraft wants what there is.
        let from = from.max(self.0.log.borrow().range().start);
        if from >= to {
            return Ok(Vec::new());
        }
        self.read(from, to, usize::MAX)
    }

    async fn entries_stream<RB>(&mut self, range: RB) -> impl Stream<Item = io::Result<Entry>> + OptionalSend
    where
        RB: RangeBounds<u64> + Clone + Debug + OptionalSend,
    {
        let (next, end) = self.bounds(&range);
        EntryStream { log: self.clone(), next, end, piece: Vec::new().into_iter() }
    }

    async fn limited_get_log_entries(&mut self, start: u64, end: u64) -> io::Result<Vec<Entry>> {
        let (from, to) = self.bounds(&(start..end));
        if from >= to {
            return Ok(Vec::new());
        }
        self.read(from, to, READ_BYTES)
    }

    async fn read_vote(&mut self) -> io::Result<Option<Vote>> {
        let log = self.0.log.borrow();
        log.vote().map(decode_vote).transpose().map_err(|error| self.fault_of(error))
    }
}
