//! The way from a key to its shard, and in a cluster to the node that has it.
//!
//! [`Router`] is the table of this node's shards. A node in a cluster has the map beside it (`map`), which says where everything
//! should be; `texts` shows it to clients, and `placement` finds places for groups.

#[cfg_attr(
    not(any(test, feature = "internals")),
    allow(dead_code, unused_imports, reason = "several nodes need all of it")
)]
pub mod map;
#[cfg(any(test, feature = "internals"))]
pub mod placement;
mod router;
mod routing;
#[cfg_attr(
    not(any(test, feature = "internals")),
    allow(dead_code, unused_imports, reason = "several nodes need all of it")
)]
pub mod texts;

pub use router::Router;
pub use routing::{Elsewhere, InCluster, LocalGroup, Routing};
