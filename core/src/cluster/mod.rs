//! The way from a key to its shard, and to the core of the node that has that shard. Today there is one node.
//!
//! `map`, `placement` and `texts` are what a cluster of many nodes needs to know of itself. No core uses them yet, so they are
//! built for tests, and for who asks for the crate's insides.

#[cfg(any(test, feature = "internals"))]
pub mod map;
#[cfg(any(test, feature = "internals"))]
pub mod placement;
mod router;
#[cfg(any(test, feature = "internals"))]
pub mod texts;

pub use router::Router;
