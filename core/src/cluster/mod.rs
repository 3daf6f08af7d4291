//! The way from a key to its shard, and in a cluster to the node that has it.
//!
//! [`Router`] is the table of this node's shards. A node in a cluster has the map beside it (`map`), which says where everything
//! should be; `texts` shows it to clients, `placement` finds places for groups, and `members` says how
//! a group gets there.

#[cfg_attr(
    not(any(test, feature = "internals")),
    allow(dead_code, unused_imports, reason = "several nodes need all of it")
)]
pub mod map;
pub mod members;
#[cfg(test)]
mod members_tests;
#[cfg_attr(
    not(any(test, feature = "internals")),
    allow(dead_code, reason = "groups get more replicas, and nothing moves yet")
)]
pub mod placement;
mod router;
mod routing;
#[cfg_attr(
    not(any(test, feature = "internals")),
    allow(dead_code, unused_imports, reason = "several nodes need all of it")
)]
pub mod texts;

/// The beginning of the reply to a change of another cluster's map: whoever was at the address is not there any more.
pub const OTHER_CLUSTER: &str = "ERR this node is of another cluster";

pub use router::Router;
pub use routing::{Elsewhere, InCluster, LocalGroup, Routing};
