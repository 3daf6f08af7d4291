//! Kinds of frames, and the lanes that they go by.
//!
//! A kind's number and layout are never changed and never used again: a message that has to carry more becomes another kind, with
//! the version of the protocol that brought it.

use std::fmt;

use super::ids::GroupNumber;

/// The purpose of a connection. Each has its own, so that none waits for another.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Lane {
    /// Log entries and their answers.
    Entries,
    /// Votes, heartbeats, transfers of leadership, read indexes.
    Votes,
    /// Snapshots.
    Snapshots,
    /// Commands of one client of the dialing node, and their replies: no frames, see PEER.md.
    Clients,
    /// Messages that clients of the dialing node have published.
    Published,
}

impl Lane {
    /// The number in the greeting.
    pub(super) const fn code(self) -> u8 {
        match self {
            Lane::Entries => 1,
            Lane::Votes => 2,
            Lane::Snapshots => 3,
            Lane::Clients => 4,
            Lane::Published => 5,
        }
    }

    pub(super) fn of(code: u8) -> Option<Lane> {
        let all = [Lane::Entries, Lane::Votes, Lane::Snapshots, Lane::Clients, Lane::Published];
        all.into_iter().find(|lane| lane.code() == code)
    }
}

impl fmt::Display for Lane {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str(match self {
            Lane::Entries => "entries",
            Lane::Votes => "votes",
            Lane::Snapshots => "snapshots",
            Lane::Clients => "clients",
            Lane::Published => "published",
        })
    }
}

/// A kind of frame; `Display` gives its name.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
#[repr(u8)]
#[non_exhaustive]
pub enum Kind {
    /// The first word of each side.
    Greeting = 1,
    /// The second word of each side: it takes the other for whom it says it is.
    Proof = 2,
    /// The last word of a side that ends the connection, with the reason.
    Refusal = 3,
    /// No answer to a request, or no snapshot wanted, with the reason.
    Unable = 4,
    /// Log entries of a leader.
    AppendEntries = 16,
    /// The answer to them.
    AppendAnswer = 17,
    /// Log entries of a leader, for the member that it names.
    AppendEntriesTo = 18,
    /// A candidate asks for a vote.
    Vote = 32,
    /// The answer to it.
    VoteAnswer = 33,
    /// A node asks whether it would get a vote.
    PreVote = 34,
    /// The answer to it.
    PreVoteAnswer = 35,
    /// A leader asks a follower to take over.
    TransferLeader = 36,
    /// The answer to it.
    TransferAnswer = 37,
    /// Heartbeats of several groups.
    Heartbeats = 38,
    /// Answers to heartbeats of several groups.
    HeartbeatAnswers = 39,
    /// A follower asks up to where it has to apply before it reads.
    ReadIndex = 40,
    /// The answer to it.
    ReadIndexAnswer = 41,
    /// A node asks for the number of a group's replica on another one, and if its own replica is a member.
    Replica = 42,
    /// The answer to it.
    ReplicaAnswer = 43,
    /// A candidate asks the member that it names for a vote.
    VoteTo = 44,
    /// A node asks whether it would get the vote of the member that it names.
    PreVoteTo = 45,
    /// Heartbeats of several groups, each for the member that it names.
    HeartbeatsTo = 46,
    /// A node asks who leads a group if that goes on without the node that it names.
    GoesOn = 47,
    /// The answer to it.
    GoesOnAnswer = 48,
    /// A snapshot's description and list of files.
    SnapshotBegin = 64,
    /// The answer to it: the place from which to send.
    SnapshotResume = 65,
    /// Bytes of one of its files.
    SnapshotPiece = 66,
    /// Bytes up to which all is written.
    SnapshotAck = 67,
    /// All has been sent.
    SnapshotEnd = 68,
    /// The snapshot is installed, or the receiver knows a higher vote.
    SnapshotAnswer = 69,
    /// A snapshot's description and list of files, for the member that it names.
    SnapshotBeginTo = 70,
    /// Messages that clients have published.
    Publish = 80,
    /// The answer to them.
    PublishAnswer = 81,
}

/// The place of a kind.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Place {
    /// Before the greeting is over.
    Before,
    /// Anywhere.
    Anywhere,
    /// On every lane once the greeting is over.
    AnyLane,
    /// On one lane.
    Only(Lane),
}

/// Facts of a kind.
struct Row {
    kind: Kind,
    name: &'static str,
    /// The version of the protocol that brought it; 0 for those of the greeting, which belong to no version.
    since: u16,
    place: Place,
    /// It may be long: it waits its group's turn, and goes in pieces. All others go first, and in one frame.
    is_bulk: bool,
    /// It belongs to one group.
    has_group: bool,
}

const fn row(kind: Kind, name: &'static str, since: u16, place: Place, is_bulk: bool, has_group: bool) -> Row {
    Row { kind, name, since, place, is_bulk, has_group }
}

const ENTRIES: Place = Place::Only(Lane::Entries);
const VOTES: Place = Place::Only(Lane::Votes);
const SNAPSHOTS: Place = Place::Only(Lane::Snapshots);
const PUBLISHED: Place = Place::Only(Lane::Published);

const ROWS: [Row; 33] = [
    row(Kind::Greeting, "greeting", 0, Place::Before, false, false),
    row(Kind::Proof, "proof", 0, Place::Before, false, false),
    row(Kind::Refusal, "refusal", 0, Place::Anywhere, false, false),
    row(Kind::Unable, "unable", 1, Place::AnyLane, false, true),
    row(Kind::AppendEntries, "append-entries", 1, ENTRIES, true, true),
    row(Kind::AppendAnswer, "append-answer", 1, ENTRIES, false, true),
    row(Kind::AppendEntriesTo, "append-entries-to", 2, ENTRIES, true, true),
    row(Kind::Vote, "vote", 1, VOTES, false, true),
    row(Kind::VoteAnswer, "vote-answer", 1, VOTES, false, true),
    row(Kind::PreVote, "pre-vote", 1, VOTES, false, true),
    row(Kind::PreVoteAnswer, "pre-vote-answer", 1, VOTES, false, true),
    row(Kind::TransferLeader, "transfer-leader", 1, VOTES, false, true),
    row(Kind::TransferAnswer, "transfer-answer", 1, VOTES, false, true),
    row(Kind::Heartbeats, "heartbeats", 1, VOTES, false, false),
    row(Kind::HeartbeatAnswers, "heartbeat-answers", 1, VOTES, false, false),
    row(Kind::ReadIndex, "read-index", 1, VOTES, false, true),
    row(Kind::ReadIndexAnswer, "read-index-answer", 1, VOTES, false, true),
    row(Kind::Replica, "replica", 2, VOTES, false, true),
    row(Kind::ReplicaAnswer, "replica-answer", 2, VOTES, false, true),
    row(Kind::VoteTo, "vote-to", 2, VOTES, false, true),
    row(Kind::PreVoteTo, "pre-vote-to", 2, VOTES, false, true),
    row(Kind::HeartbeatsTo, "heartbeats-to", 2, VOTES, false, false),
    row(Kind::GoesOn, "goes-on", 2, VOTES, false, true),
    row(Kind::GoesOnAnswer, "goes-on-answer", 2, VOTES, false, true),
    row(Kind::SnapshotBegin, "snapshot-begin", 1, SNAPSHOTS, true, true),
    row(Kind::SnapshotResume, "snapshot-resume", 1, SNAPSHOTS, false, true),
    row(Kind::SnapshotPiece, "snapshot-piece", 1, SNAPSHOTS, true, true),
    row(Kind::SnapshotAck, "snapshot-ack", 1, SNAPSHOTS, false, true),
    row(Kind::SnapshotEnd, "snapshot-end", 1, SNAPSHOTS, true, true),
    row(Kind::SnapshotAnswer, "snapshot-answer", 1, SNAPSHOTS, false, true),
    row(Kind::SnapshotBeginTo, "snapshot-begin-to", 2, SNAPSHOTS, true, true),
    row(Kind::Publish, "publish", 2, PUBLISHED, true, false),
    row(Kind::PublishAnswer, "publish-answer", 2, PUBLISHED, false, false),
];

/// Places in [`ROWS`] by a kind's number; [`NO_ROW`] for those that no kind has.
const BY_CODE: [u8; 256] = {
    let mut by_code = [NO_ROW; 256];
    let mut at = 0;
    while at < ROWS.len() {
        by_code[ROWS[at].kind as usize] = at as u8;
        at += 1;
    }
    by_code
};
const NO_ROW: u8 = u8::MAX;

impl Kind {
    /// The kind with this number in this version of the protocol; 0 before a version is agreed on.
    pub(super) fn of(code: u8, version: u16) -> Option<Kind> {
        let row = ROWS.get(usize::from(BY_CODE[usize::from(code)]))?;
        (row.since <= version).then_some(row.kind)
    }

    fn row(self) -> &'static Row {
        &ROWS[usize::from(BY_CODE[usize::from(self.code())])]
    }

    /// The number in a frame.
    pub(super) const fn code(self) -> u8 {
        self as u8
    }

    /// The name in errors.
    pub fn name(self) -> &'static str {
        self.row().name
    }

    /// True if the version of the protocol has it.
    pub(super) fn is_in(self, version: u16) -> bool {
        self.row().since <= version
    }

    /// True if it may occur on `lane`; before the greeting is over, on none.
    pub(super) fn goes_by(self, lane: Option<Lane>) -> bool {
        match (self.row().place, lane) {
            (Place::Anywhere, _) | (Place::Before, None) | (Place::AnyLane, Some(_)) => true,
            (Place::Only(own), Some(lane)) => own == lane,
            (Place::Before, Some(_)) | (Place::AnyLane | Place::Only(_), None) => false,
        }
    }

    /// True if it waits for its group's turn and may go in pieces.
    pub(super) fn is_bulk(self) -> bool {
        self.row().is_bulk
    }

    /// True if its frames may have this group: that of a group, or [`GroupNumber::NONE`] if it belongs to no single one.
    pub(super) fn may_be_of(self, group: GroupNumber) -> bool {
        if self.row().has_group { group.is_a_group() } else { group == GroupNumber::NONE }
    }
}

impl fmt::Display for Kind {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str(self.name())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_kind_has_its_documented_number_and_name() {
        let document = include_str!("../../PEER.md");
        let mut names: Vec<&str> = ROWS.iter().map(|row| row.name).collect();
        for row in &ROWS {
            assert_eq!(Kind::of(row.kind.code(), row.since), Some(row.kind));
            assert_eq!(row.since.checked_sub(1).and_then(|before| Kind::of(row.kind.code(), before)), None);
            let line = format!("| {} | `{}` |", row.kind.code(), row.name);
            assert!(document.contains(&line), "PEER.md has no line {line}");
        }
        names.sort_unstable();
        names.dedup();
        assert_eq!(names.len(), ROWS.len());
        let known = (0..=u8::MAX).filter(|&code| Kind::of(code, u16::MAX).is_some()).count();
        assert_eq!(known, ROWS.len());
    }

    #[test]
    fn a_kind_is_unknown_to_versions_before_the_one_that_brought_it() {
        for code in 0..=u8::MAX {
            let in_greeting = matches!(Kind::of(code, 0), Some(Kind::Greeting | Kind::Proof | Kind::Refusal));
            assert_eq!(Kind::of(code, 0).is_some(), in_greeting);
        }
        assert!(!Kind::Vote.is_in(0) && Kind::Vote.is_in(1) && Kind::Vote.is_in(2));
    }

    #[test]
    fn a_kind_goes_by_its_lane_alone() {
        assert!(Kind::AppendEntries.goes_by(Some(Lane::Entries)) && !Kind::AppendEntries.goes_by(Some(Lane::Votes)));
        assert!(!Kind::AppendEntries.goes_by(None) && !Kind::Unable.goes_by(None));
        assert!(Kind::Greeting.goes_by(None) && !Kind::Greeting.goes_by(Some(Lane::Votes)));
        for lane in [Lane::Entries, Lane::Votes, Lane::Snapshots, Lane::Clients, Lane::Published] {
            assert!(Kind::Unable.goes_by(Some(lane)) && Kind::Refusal.goes_by(Some(lane)));
            assert_eq!(Lane::of(lane.code()), Some(lane));
        }
        assert_eq!(Lane::of(0).or(Lane::of(6)), None);
    }
}
