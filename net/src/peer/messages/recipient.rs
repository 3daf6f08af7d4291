//! The member of a group that a message is for.
//!
//! What a newcomer would get wrong: node and group do not say it. A replica that was removed and destroyed may be followed by
//! another on the same node, under a number of its own, and who has not heard of that asks the old one still. The new one has
//! neither its log nor its votes, and must not answer in its place.

use super::Message;
use crate::peer::ids::NodeNumber;

/// The member of its group that a message is for, of those that one node may have had.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Recipient {
    /// The one under the node's own number.
    Node,
    /// The one with this number.
    Member(NodeNumber),
    /// Whichever the node has: it is asked as a node, or its answer depends on no vote and no log.
    Any,
}

impl Recipient {
    /// Returns whether the member `replica` is meant, on a node with the number `node`; on one that has none, nobody is by that.
    pub fn is(self, replica: NodeNumber, node: Option<NodeNumber>) -> bool {
        match self {
            Recipient::Node => node == Some(replica),
            Recipient::Member(to) => to == replica,
            Recipient::Any => true,
        }
    }
}

impl Message {
    /// The member that this is for. Of several heartbeats, the first one's: each has its own.
    pub fn recipient(&self) -> Recipient {
        match self {
            Message::AppendEntries(_)
            | Message::Vote(_)
            | Message::PreVote(_)
            | Message::Heartbeats(_)
            | Message::SnapshotBegin(_) => Recipient::Node,
            Message::AppendEntriesTo(to, _)
            | Message::VoteTo(to, _)
            | Message::PreVoteTo(to, _)
            | Message::SnapshotBeginTo(to, _) => Recipient::Member(*to),
            Message::HeartbeatsTo(heartbeats) => {
                heartbeats.first().map_or(Recipient::Any, |(to, _)| Recipient::Member(*to))
            }
            Message::TransferLeader(transfer) => Recipient::Member(transfer.to),
            _ => Recipient::Any,
        }
    }

    /// Names the member that a message for the one under its node's number is for instead. Others stay as they are.
    #[must_use]
    pub fn for_member(self, to: NodeNumber) -> Message {
        match self {
            Message::AppendEntries(append) => Message::AppendEntriesTo(to, append),
            Message::Vote(request) => Message::VoteTo(to, request),
            Message::PreVote(request) => Message::PreVoteTo(to, request),
            Message::Heartbeats(heartbeats) => {
                Message::HeartbeatsTo(heartbeats.into_iter().map(|heartbeat| (to, heartbeat)).collect())
            }
            Message::SnapshotBegin(begin) => Message::SnapshotBeginTo(to, begin),
            other => other,
        }
    }

    /// The same without the name of the member, once that is known to be the right one.
    #[must_use]
    pub fn without_member(self) -> Message {
        match self {
            Message::AppendEntriesTo(_, append) => Message::AppendEntries(append),
            Message::VoteTo(_, request) => Message::Vote(request),
            Message::PreVoteTo(_, request) => Message::PreVote(request),
            Message::HeartbeatsTo(heartbeats) => {
                Message::Heartbeats(heartbeats.into_iter().map(|(_, heartbeat)| heartbeat).collect())
            }
            Message::SnapshotBeginTo(_, begin) => Message::SnapshotBegin(begin),
            other => other,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::peer::kind::Kind;
    use crate::peer::samples::one_of_each;

    const MEMBER: NodeNumber = NodeNumber(0xe5);

    #[test]
    fn a_replica_with_a_number_of_its_own_is_meant_by_that_alone() {
        let (node, other) = (NodeNumber(1), NodeNumber(0xe6));
        for (to, replica, is_meant) in [
            (Recipient::Node, node, true),
            (Recipient::Node, MEMBER, false),
            (Recipient::Member(MEMBER), MEMBER, true),
            (Recipient::Member(node), node, true),
            (Recipient::Member(node), MEMBER, false),
            (Recipient::Member(other), MEMBER, false),
            (Recipient::Member(MEMBER), node, false),
            (Recipient::Any, MEMBER, true),
        ] {
            assert_eq!(to.is(replica, Some(node)), is_meant, "{to:?} on {replica}");
        }
        assert!(!Recipient::Node.is(node, None) && Recipient::Member(MEMBER).is(MEMBER, None));
    }

    #[test]
    fn a_message_that_names_its_member_is_the_same_without_it() {
        let to_members =
            [Kind::AppendEntriesTo, Kind::VoteTo, Kind::PreVoteTo, Kind::HeartbeatsTo, Kind::SnapshotBeginTo];
        let mut named = Vec::new();
        for (_, message) in one_of_each() {
            match message.recipient() {
                Recipient::Node => {
                    let to = message.clone().for_member(MEMBER);
                    assert_eq!(to.recipient(), Recipient::Member(MEMBER));
                    named.push(to.kind());
                    assert_eq!(to.without_member(), message);
                }
                Recipient::Member(to) if to_members.contains(&message.kind()) => {
                    assert_eq!(message.clone().without_member().for_member(to), message);
                }
                Recipient::Member(to) => {
                    assert!(matches!(&message, Message::TransferLeader(transfer) if transfer.to == to));
                    assert_eq!(message.clone().for_member(MEMBER), message);
                }
                Recipient::Any => {
                    assert_eq!(message.clone().for_member(MEMBER), message);
                    assert_eq!(message.clone().without_member(), message);
                }
            }
        }
        named.dedup();
        assert_eq!(named, to_members, "each kind that is for the member under its node's number has one that names it");
    }
}
