//! Operations on a core itself that a client of another core asks for.

use super::fanout::SubscriptionChanges;
use crate::clients::ClientFilter;

/// An operation every core runs on its own connections.
#[derive(Debug, Clone)]
pub enum Control {
    /// One line for each connection that the filter lets through, as a bulk string.
    ListClients(ClientFilter),
    /// Closes the connections that the filter lets through; an integer says how many there were.
    KillClients(ClientFilter),
    /// Takes note of whom clients of another core subscribe to.
    Subscriptions(SubscriptionChanges),
}
