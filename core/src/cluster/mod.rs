//! The way from a key to its shard, and to the core of the node that has that shard. Today there is one node.

mod router;

pub use router::Router;
