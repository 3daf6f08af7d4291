//! The errors of a group.

use bytes::Bytes;

use crate::ids::{EntryId, NodeId};

/// The crate's result.
pub type Result<T, E = Error> = std::result::Result<T, E>;

/// The reason that a group has stopped for good, in words for an operator.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{text}")]
pub struct Fault {
    /// The sentence.
    pub text: String,
    /// The extent of what cannot go on.
    pub reach: Reach,
}

/// The extent of a fault.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Reach {
    /// The group: one of its entries or its rows on disk are at fault, and others have no part in them.
    Group,
    /// The node: what groups share is at fault, such as a disk that cannot sync, or nobody can tell.
    Node,
}

impl Fault {
    /// One that concerns nobody but the group.
    pub(crate) fn of_group(text: String) -> Fault {
        Fault { text, reach: Reach::Group }
    }

    /// One that the node cannot go on with.
    pub(crate) fn of_node(text: impl ToString) -> Fault {
        Fault { text: text.to_string(), reach: Reach::Node }
    }

    /// The fault that follows from what the storage says of rows.
    pub(crate) fn of_rows(error: &basalt_storage::Error) -> Fault {
        let is_damage = matches!(error, basalt_storage::Error::Corruption { .. });
        Fault { text: error.to_string(), reach: if is_damage { Reach::Group } else { Reach::Node } }
    }
}

impl From<String> for Fault {
    fn from(text: String) -> Fault {
        Fault::of_node(text)
    }
}

/// The errors of a group.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum Error {
    /// The log or the store failed.
    #[error(transparent)]
    Storage(#[from] basalt_storage::Error),
    /// An option cannot be used.
    #[error("{option} is {value}: {problem}")]
    Option {
        /// The option's name.
        option: &'static str,
        /// Its value.
        value: String,
        /// The reason that it cannot be used.
        problem: &'static str,
    },
    /// Rows in memory cannot be written to disk now, for a reason that passes; they are in the log.
    #[error("{0}")]
    Unwritten(String),
    /// A snapshot of another node cannot be used. Nothing has changed.
    #[error("a snapshot came: {detail}")]
    Snapshot {
        /// The reason, and where it lies.
        detail: String,
    },
    /// A message of another member is none. Nothing has changed.
    #[error("a message of another member cannot be used: {0}")]
    Message(#[from] MessageError),
    /// The group has stopped for good.
    #[error("{0}")]
    Fatal(Fault),
    /// The group has been shut down, or is being.
    #[error("the group is closed on this node")]
    Stopped,
    /// This replica has not applied what it has, and takes no more entries now.
    #[error("this replica is behind with applying, and takes no more entries now")]
    Behind,
    /// This node's disk does not answer well, so it takes no lead.
    #[error("the disk of this node has not answered well for a while, so it takes no lead")]
    Unwell,
    /// This node does not lead the group, or cannot reach a quorum to confirm that it does.
    #[error("this node cannot confirm that it leads the group (leader: {})", named(*leader))]
    NotLeader {
        /// The leader, if known.
        leader: Option<NodeId>,
    },
}

/// Bytes in the log, in a message or in a snapshot that do not decode.
#[derive(Debug, Clone, thiserror::Error, PartialEq, Eq)]
#[non_exhaustive]
pub enum DecodeError {
    /// Written by a newer program.
    #[error("{what} has format {found}, this program reads up to {supported}; start the version that wrote it")]
    UnknownFormat {
        /// The value that was decoded.
        what: &'static str,
        /// The version found.
        found: u8,
        /// The newest version this program reads.
        supported: u8,
    },
    /// Not what was written.
    #[error("{what} is damaged: {detail}")]
    Damaged {
        /// The value that was decoded.
        what: &'static str,
        /// The part that did not fit.
        detail: String,
    },
}

/// The reason that a message of another member is no message.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum MessageError {
    /// A term or an index that leaves no room to count on.
    #[error("{what} {value} is not below 2^63")]
    TooLarge {
        /// The number's name.
        what: &'static str,
        /// The number.
        value: u64,
    },
    /// A vote of a leader that is not committed, or a candidate's that is.
    #[error("a vote for node {node} in term {term} cannot come from {from}")]
    WrongVote {
        /// The vote's node.
        node: NodeId,
        /// Its term.
        term: u64,
        /// The part of the node that sent it.
        from: &'static str,
    },
    /// An entry that cannot follow on the one before it, or that its leader cannot have.
    #[error("entry {entry} cannot come here: {problem}")]
    WrongEntry {
        /// The entry.
        entry: EntryId,
        /// The reason.
        problem: &'static str,
    },
    /// An answer that there cannot be to what was sent.
    #[error("{0} is no answer to what was sent")]
    WrongAnswer(&'static str),
    /// An entry or a membership that does not decode.
    #[error(transparent)]
    Undecodable(#[from] DecodeError),
}

/// The reason that the group's members were not changed, or are not known to be.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum ChangeError {
    /// Another node leads. Nothing was done.
    #[error("this node does not lead the group (leader: {})", named(*leader))]
    NotLeader {
        /// The leader, if known.
        leader: Option<NodeId>,
    },
    /// Another change is not made yet. Nothing was done, or one step of two: then the members tell.
    #[error("another change of the group's members is under way")]
    InProgress,
    /// The leadership changed when the change was in the log: it may or may not be made, and only one step of it.
    #[error("the leadership changed; it is not known whether the change of members is made (leader: {})", named(*leader))]
    Unknown {
        /// The leader, if known.
        leader: Option<NodeId>,
    },
    /// A node that is no member.
    #[error("node {node} is no member of the group: add it as a learner first")]
    NoMember {
        /// The node.
        node: NodeId,
    },
    /// A learner that would hold the others up as a voter. Nothing was done; it catches up by itself.
    #[error("node {node} has not caught up with the group, or does not answer")]
    NotCaughtUp {
        /// The node.
        node: NodeId,
    },
    /// Of the voters that there would be, too few answer: the change would never be committed, nor anything behind it.
    #[error("too few of the voters that there would be answer")]
    NoQuorum,
    /// The group would have no voter.
    #[error("a group must have a voter")]
    LastVoter,
    /// A node that cannot be a member.
    #[error("node {node} cannot be a member of the group: {problem}")]
    Unusable {
        /// The node.
        node: NodeId,
        /// The reason.
        problem: &'static str,
    },
    /// This node acknowledges entries before they are on its disk; others must not count on that.
    #[error("{0}")]
    NotDurable(String),
    /// The group has been shut down, or is being: the change may or may not be made.
    #[error("the group is closed on this node")]
    Stopped,
    /// The group has stopped for good; the text says why.
    #[error("{0}")]
    Fatal(String),
}

fn named(leader: Option<NodeId>) -> String {
    leader.map_or_else(|| "unknown".to_owned(), |id| id.to_string())
}

/// A batch that was not proposed, for another try.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{reason}")]
pub struct Refused {
    /// The reason that it was not proposed.
    pub reason: ProposeError,
    /// The batch, as it was given.
    pub batch: Bytes,
}

/// The reason that a batch was not committed, or is not known to be.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum ProposeError {
    /// Another node leads. The batch was not and will not be executed.
    #[error("this node does not lead the group")]
    NotLeader {
        /// The leader, if known.
        leader: Option<NodeId>,
    },
    /// This node leads the group, but no quorum has confirmed that lately: it has just been elected, or cannot reach the others.
    /// The batch was not and will not be executed; propose again after a moment.
    #[error("this node leads the group, but has no answer of a quorum of its members")]
    Unconfirmed,
    /// The leadership changed after the batch entered the log: it may or may not be executed.
    #[error("the leadership changed; it is not known whether the write was executed")]
    Unknown {
        /// The leader, if known.
        leader: Option<NodeId>,
    },
    /// Too many batches are on their way. Nothing was done; propose again after an outcome.
    #[error("too many batches are on their way")]
    Backlog,
    /// The log cannot take writes right now. Nothing was done; back off and propose again.
    #[error("the log cannot take more writes right now")]
    WriteStall,
    /// The disk of the log is full. Nothing was done; writes work again once there is space.
    #[error("no space left on the device that holds the log")]
    DiskFull,
    /// The group stopped before the batch was committed: it may or may not be executed.
    #[error("the group has stopped")]
    Stopped,
    /// The group has stopped for good; the text says why.
    #[error("{0}")]
    Fatal(String),
}

impl ProposeError {
    /// Returns true if the batch has certainly come to nothing, although openraft had taken it: it never was in the log.
    pub fn is_certain(&self) -> bool {
        matches!(self, ProposeError::NotLeader { .. } | ProposeError::Unconfirmed)
    }
}
