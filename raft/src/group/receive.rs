//! Messages that come from the group's other members.

use std::cell::Cell;

use openraft::errors::RaftError;
use openraft::raft::AppendEntriesResponse;

use super::Group;
use crate::disk::Disk;
use crate::error::{Error, Result};
use crate::limits::WAITING_APPENDS_MAX;
use crate::messages::{Append, AppendAnswer, Handover, HandoverAnswer, VoteAnswer, VoteQuestion};
use crate::source::Instant;
use crate::types::TypeConfig;

/// One of the messages that wait.
struct Waiting<'a>(&'a Cell<u32>);

impl Waiting<'_> {
    /// Counts one more, unless there are too many.
    fn enter(count: &Cell<u32>) -> Option<Waiting<'_>> {
        if count.get() >= WAITING_APPENDS_MAX {
            return None;
        }
        count.set(count.get() + 1);
        Some(Waiting(count))
    }
}

impl Drop for Waiting<'_> {
    fn drop(&mut self) {
        self.0.set(self.0.get() - 1);
    }
}

impl<D: Disk> Group<D> {
    /// Takes entries of the group's leader, or its heartbeat. The answer to entries comes when they are on disk.
    ///
    /// Entries wait in here while this replica is so far behind with applying that it should get no more, and
    /// the leader's window closes by itself. Heartbeats and votes never wait, not for entries either: they are to be handed over
    /// when they come, each in a task of its own.
    ///
    /// # Errors
    /// [`Error::Message`] if it is none. [`Error::Behind`] if others wait already: it is to be sent again. [`Error::Fatal`] or
    /// [`Error::Stopped`] when the group has stopped.
    pub async fn receive_append(&self, message: Append) -> Result<AppendAnswer> {
        let brings_entries = !message.is_heartbeat();
        let came = Instant::now();
        // Only who has committed in its own term knows of all that was committed before it: a leader begins with the index that it
        // happens to know, or none.
        let committed = message.committed.filter(|last| last.term == message.vote.term).map(|last| last.index);
        let request = message.into_request()?;
        if brings_entries {
            let waiting = Waiting::enter(&self.0.waiting_appends).ok_or(Error::Behind)?;
            self.0.generations.catch_up().await;
            drop(waiting);
        }
        let answer = self.0.raft.append_entries(request).await.map_err(|error| self.stopped_by(&error))?;
        if !matches!(answer, AppendEntriesResponse::HigherVote(_)) {
            self.0.restraints.pre_votes.reset();
            self.0.hear_leader(came);
            if let Some(committed) = committed.filter(|_| self.0.is_voter()) {
                self.0.freshness.hear(committed, self.applied().map(|last| last.index), came);
            }
        }
        Ok(AppendAnswer::of(answer))
    }

    /// Answers a candidate. A vote that is given is on disk.
    ///
    /// # Errors
    /// [`Error::Message`] if it is none; [`Error::Fatal`] or [`Error::Stopped`] when the group has stopped.
    pub async fn receive_vote(&self, question: VoteQuestion) -> Result<VoteAnswer> {
        let answer = self.0.raft.vote(question.into_request()?).await.map_err(|error| self.stopped_by(&error))?;
        Ok(VoteAnswer::of(&answer))
    }

    /// Answers a node that would be a candidate.
    ///
    /// # Errors
    /// [`Error::Message`] if it is none; [`Error::Fatal`] or [`Error::Stopped`] when the group has stopped.
    pub async fn receive_pre_vote(&self, question: VoteQuestion) -> Result<VoteAnswer> {
        let answer = self.0.raft.pre_vote(question.into_request()?).await.map_err(|error| self.stopped_by(&error))?;
        Ok(VoteAnswer::of(&answer))
    }

    /// Takes the lead, if this node is the one that is to have it.
    ///
    /// # Errors
    /// [`Error::Message`] if it is none; [`Error::Unwell`] while this node is to take none ([`Group::set_may_lead`]);
    /// [`Error::Fatal`] or [`Error::Stopped`] when the group has stopped.
    pub async fn receive_handover(&self, message: Handover) -> Result<HandoverAnswer> {
        if message.to == self.0.options.node && !self.0.may_lead.get() {
            return Err(Error::Unwell);
        }
        let taken = self.0.raft.handle_transfer_leader(message.into_request()?).await;
        taken.map(HandoverAnswer::of).map_err(|fatal| self.0.stopped_by(&fatal))
    }

    /// Has entries wait when so many bytes wait to be applied.
    #[cfg(test)]
    pub(crate) fn set_unapplied_bytes_max(&self, bytes_max: u64) {
        self.0.generations.unapplied_bytes_max.set(bytes_max);
    }

    fn stopped_by(&self, error: &RaftError<TypeConfig>) -> Error {
        match error {
            RaftError::Fatal(fatal) => self.0.stopped_by(fatal),
            RaftError::APIError(never) => match *never {},
        }
    }
}
