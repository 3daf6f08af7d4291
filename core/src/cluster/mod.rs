//! Which shard has a key, and which core of which node has that shard. Today there is one node.

mod router;

pub use router::Router;
