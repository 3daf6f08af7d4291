//! The way from a key to its shard, and to the core of the node that has that shard. Today there is one node.
//!
//! `map` is what a cluster of many nodes needs to know of itself. No core uses it yet, so it is
//! built for tests, and for who asks for the crate's insides.

#[cfg(any(test, feature = "internals"))]
pub mod map;
mod router;

pub use router::Router;
