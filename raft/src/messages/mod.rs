//! The messages between a group's members, as plain values that whoever carries them maps on frames one to one.
//!
//! Entries travel as they lie in the log ([`LogRecord`]): nobody between two logs looks into them or copies them. Everything that
//! comes from another node is checked before openraft sees it, which takes what its peers say for true and panics where it is not.
//!
//! What a newcomer would get wrong: an answer means something only beside its question. [`AppendAnswer::Conflict`] to entries from
//! the log's beginning, say, is an answer that nobody can give.

mod convert;
#[cfg(test)]
mod tests;

pub use convert::check_snapshot;
pub(crate) use convert::snapshot_point;

use std::cell::Cell;
use std::path::PathBuf;
use std::rc::Rc;
use std::time::Duration;

use basalt_storage::log::LogRecord;
use openraft::AsyncRuntime;

use crate::ids::{EntryId, NodeId};
use crate::runtime::GlommioRuntime;
use crate::source::Instant;

/// A vote: who leads or wants to lead in a term.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct VoteParts {
    /// The term, below 2^63.
    pub term: u64,
    /// The node that leads in it or wants to.
    pub node: NodeId,
    /// Set once a quorum has granted it.
    pub is_committed: bool,
}

/// Entries of a leader, or its heartbeat.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Append {
    /// The leader's vote, committed.
    pub vote: VoteParts,
    /// The entry before the first one; none if that has index 0. Of a heartbeat the last one that the follower is known to have.
    pub previous: Option<EntryId>,
    /// The last entry that is committed.
    pub committed: Option<EntryId>,
    /// The entries as they lie in the log. Their indexes follow on `previous` without a hole; their terms do not fall, and are not
    /// above that of the vote. A heartbeat has none.
    pub records: Vec<LogRecord>,
}

/// The answer to an [`Append`].
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum AppendAnswer {
    /// All entries are on disk.
    Success,
    /// Entries up to this one are on disk: at least the one before the first.
    PartialSuccess(Option<EntryId>),
    /// The log does not have the entry before the first one.
    Conflict,
    /// A higher vote is known: who asked leads no more.
    HigherVote(VoteParts),
}

/// A candidate's question for a vote, or for whether there would be one.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct VoteQuestion {
    /// The candidate and its term, not committed.
    pub vote: VoteParts,
    /// The last entry of its log.
    pub last: Option<EntryId>,
    /// The leader has asked it to take over: its lease does not stand in the way.
    pub is_transfer: bool,
}

/// The answer to a [`VoteQuestion`].
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct VoteAnswer {
    /// The voter's vote after it.
    pub vote: VoteParts,
    /// The vote is granted, or would be.
    pub is_granted: bool,
    /// The last entry of the voter's log.
    pub last: Option<EntryId>,
}

/// A leader's notice that it gives the lead to another member.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Handover {
    /// The leader's vote, committed.
    pub from: VoteParts,
    /// The node that is to lead.
    pub to: NodeId,
    /// The last entry of the leader's log, which that node must have on disk.
    pub last: Option<EntryId>,
}

/// The answer to a [`Handover`].
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum HandoverAnswer {
    /// The node stands for election, or does not have to.
    Accepted,
    /// Its vote is another one than the leader's.
    VoteChanged(VoteParts),
    /// The last entry on its disk is another one than the leader's.
    NotFlushed(Option<EntryId>),
}

/// A snapshot on its way to another node. The answer is the vote of who took it.
#[derive(Debug, Clone)]
pub struct SentSnapshot {
    /// The vote of the leader that sends it, committed.
    pub vote: VoteParts,
    /// The entry that its rows end with and the members at that entry, encoded; at most 64 KiB.
    pub meta: Vec<u8>,
    /// The rows, a checkpoint on this node. It is there until it is sent, or nobody waits for that any more.
    pub directory: PathBuf,
    /// To be told whenever the other says anything. The group gives the snapshot up after two minutes and a half without that, and
    /// sends another one: who carries it is to give up before, and to say why.
    pub life: SignsOfLife,
}

/// Notes when the receiver of a snapshot was last heard of.
#[derive(Debug, Clone)]
pub struct SignsOfLife(Rc<Cell<Instant>>);

impl SignsOfLife {
    /// The first sign is that it begins.
    pub(crate) fn new() -> SignsOfLife {
        SignsOfLife(Rc::new(Cell::new(Instant::now())))
    }

    /// The receiver has said something.
    pub fn note(&self) {
        self.0.set(Instant::now());
    }

    /// Ends when there was no sign for so long.
    pub(crate) async fn silence(&self, longest: Duration) {
        loop {
            let end = self.0.get() + longest;
            if Instant::now() >= end {
                return;
            }
            GlommioRuntime::sleep_until(end).await;
        }
    }
}

/// A snapshot as it came from another node.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ReceivedSnapshot {
    /// The vote of the leader that sent it, committed.
    pub vote: VoteParts,
    /// As [`SentSnapshot::meta`].
    pub meta: Vec<u8>,
    /// The rows, a checkpoint on the store's file system. It is the group's from now on, which moves or removes it.
    pub directory: PathBuf,
}

impl Append {
    /// Returns true if it brings no entries.
    pub fn is_heartbeat(&self) -> bool {
        self.records.is_empty()
    }

    /// Bytes of the entries that it brings.
    pub fn record_bytes(&self) -> usize {
        self.records.iter().map(|record| record.body.len()).sum()
    }

    /// The last entry that the follower has when it has taken all.
    pub(crate) fn last(&self) -> Option<EntryId> {
        let last = self.records.last().map(|record| EntryId { term: record.term, index: record.index });
        last.or(self.previous)
    }
}
