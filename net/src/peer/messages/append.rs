//! Log entries on their way to a follower, as they lie in the log.
//!
//! A newcomer would look for the entries' indexes: they count on from the entry before them, so that entries with a hole between
//! them cannot even be written down.

use bytes::{BufMut, Bytes};

use super::Encoded;
use crate::limits::ENTRIES_MAX;
use crate::peer::error::PeerError;
use crate::peer::fields::Fields;
use crate::peer::ids::{LogId, NodeNumber, Vote};
use crate::peer::kind::Kind;
use crate::peer::push_error::PushError;

/// Bytes of an entry in the table: term and length.
const ROW_BYTES: usize = 12;
/// Bytes before the table.
const FIXED_BYTES: usize = Vote::BYTES + 2 * LogId::OPTION_BYTES + 4;

/// One entry as it lies in the log.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Record {
    /// Its index.
    pub index: u64,
    /// The term of the leader that proposed it.
    pub term: u64,
    /// The entry, opaque here. A slice of the message that it came with: it keeps all of that in memory.
    pub body: Bytes,
}

/// Log entries of a leader; without any, a probe of the follower's log.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct AppendEntries {
    /// The leader's vote.
    pub vote: Vote,
    /// The entry before the first one; none if that has index 0.
    pub previous: Option<LogId>,
    /// The last entry that is committed.
    pub committed: Option<LogId>,
    /// The entries, 16,384 at most. Their indexes follow on `previous` without a hole, their terms do not fall.
    pub entries: Vec<Record>,
}

impl AppendEntries {
    /// Lays them out behind what is in `head`, which the kind has in front.
    pub(super) fn encode(self, kind: Kind, mut head: Vec<u8>) -> Result<Encoded, PushError> {
        if self.entries.len() > ENTRIES_MAX {
            return Err(PushError::TooMany { kind, count: self.entries.len(), most: ENTRIES_MAX });
        }
        head.reserve_exact(FIXED_BYTES + ROW_BYTES * self.entries.len());
        self.vote.put(&mut head);
        LogId::put_option(self.previous, &mut head);
        LogId::put_option(self.committed, &mut head);
        head.put_u32_le(self.entries.len() as u32);
        let mut bodies = Vec::with_capacity(self.entries.len());
        let mut due = Due::behind(self.previous);
        for record in self.entries {
            if due.next(record.term) != Some(record.index) {
                return Err(PushError::Hole { index: record.index, term: record.term });
            }
            let bytes = record.body.len();
            head.put_u64_le(record.term);
            head.put_u32_le(u32::try_from(bytes).map_err(|_| PushError::too_long(kind, bytes as u64))?);
            bodies.push(record.body);
        }
        Ok(Encoded { kind, head, bodies })
    }

    /// Those for a member that is named, and its number.
    pub(super) fn decode_to(payload: Bytes) -> Result<(NodeNumber, AppendEntries), PeerError> {
        let kind = Kind::AppendEntriesTo;
        let to = NodeNumber(Fields::new(kind, &payload).u64()?);
        Ok((to, AppendEntries::decode(kind, payload.slice(NodeNumber::BYTES..))?))
    }

    pub(super) fn decode(kind: Kind, payload: Bytes) -> Result<AppendEntries, PeerError> {
        let mut fields = Fields::new(kind, &payload);
        let (vote, previous, committed) = (fields.vote()?, fields.log_id_option()?, fields.log_id_option()?);
        let count = fields.count(ENTRIES_MAX, ROW_BYTES)?;
        let mut entries = Vec::with_capacity(count);
        let mut due = Due::behind(previous);
        let mut begin = FIXED_BYTES + ROW_BYTES * count;
        for _ in 0..count {
            let (term, bytes) = (fields.countable()?, fields.u32()? as usize);
            let index = due.next(term).ok_or_else(|| fields.malformed("a term falls"))?;
            if bytes > payload.len() - begin {
                return Err(fields.malformed("an entry is longer than the message"));
            }
            entries.push(Record { index, term, body: payload.slice(begin..begin + bytes) });
            begin += bytes;
        }
        if begin != payload.len() {
            return Err(fields.malformed("it goes on behind its end"));
        }
        Ok(AppendEntries { vote, previous, committed, entries })
    }
}

/// The entry that is due next.
struct Due {
    index: Option<u64>,
    term: u64,
}

impl Due {
    fn behind(previous: Option<LogId>) -> Due {
        match previous {
            None => Due { index: Some(0), term: 0 },
            Some(id) => Due { index: id.index.checked_add(1), term: id.term },
        }
    }

    /// The index of the next entry, which has this term; none if the log cannot go on like that.
    fn next(&mut self, term: u64) -> Option<u64> {
        let index = self.index.filter(|_| term >= self.term)?;
        (self.index, self.term) = (index.checked_add(1), term);
        Some(index)
    }
}

/// A follower's answer to entries or to a heartbeat.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum AppendAnswer {
    /// All entries are on its disk.
    Success,
    /// Entries up to this one are on its disk: at least the one before the first.
    PartialSuccess(Option<LogId>),
    /// Its log does not have the entry before the first one.
    Conflict,
    /// It knows a higher vote: who asked leads no more.
    HigherVote(Vote),
}

impl AppendAnswer {
    /// Bytes of an answer: its number, and a log id or a vote or zeros.
    pub(super) const BYTES: usize = 18;

    pub(super) fn put(self, into: &mut Vec<u8>) {
        match self {
            AppendAnswer::Success => into.put_bytes(0, AppendAnswer::BYTES),
            AppendAnswer::PartialSuccess(last) => {
                into.put_u8(1);
                LogId::put_option(last, into);
            }
            AppendAnswer::Conflict => {
                into.put_u8(2);
                into.put_bytes(0, AppendAnswer::BYTES - 1);
            }
            AppendAnswer::HigherVote(vote) => {
                into.put_u8(3);
                vote.put(into);
            }
        }
    }

    pub(super) fn read(fields: &mut Fields<'_>) -> Result<AppendAnswer, PeerError> {
        match fields.u8()? {
            0 => fields.zeros(AppendAnswer::BYTES - 1).map(|()| AppendAnswer::Success),
            1 => fields.log_id_option().map(AppendAnswer::PartialSuccess),
            2 => fields.zeros(AppendAnswer::BYTES - 1).map(|()| AppendAnswer::Conflict),
            3 => fields.vote().map(AppendAnswer::HigherVote),
            _ => Err(fields.malformed("its outcome is unknown")),
        }
    }
}
