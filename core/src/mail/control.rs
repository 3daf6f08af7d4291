//! Operations on a core itself that a client of another core asks for.

use std::time::Instant;

use super::fanout::SubscriptionChanges;
use crate::clients::ClientFilter;
use crate::cluster::map::GroupNumber;

/// The reply to a client that is to wait no more.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Unblocking {
    /// As if its time were over.
    Timeout,
    /// An error.
    Error,
}

/// An operation every core runs on its own connections.
#[derive(Debug, Clone)]
pub enum Control {
    /// One line for each connection that the filter lets through, as a bulk string.
    ListClients(Box<ClientFilter>),
    /// Closes the connections that the filter lets through; an integer says how many there were.
    KillClients(Box<ClientFilter>),
    /// Has the client with this id wait no more, as if its time were over or with an error; an integer says whether it has waited.
    Unblock(u64, Unblocking),
    /// Begins no commands of clients until then, if the flag is set, or none that write; `OK` says that it is so.
    Pause(Instant, bool),
    /// Ends that, and says `OK`.
    Unpause,
    /// An array of each group that the core has, or of this one, in an array: its state in Raft.
    RaftStatus(Option<GroupNumber>),
    /// An array of each connection with another node in an array, as CLUSTER LINKS tells of them.
    ListLinks,
    /// Takes the users as they are now. The first core answers with this number, the others with 0; all with `OK` if there is none.
    TakeUsers(Option<i64>),
    /// Takes note of whom clients of another core subscribe to.
    Subscriptions(SubscriptionChanges),
}
