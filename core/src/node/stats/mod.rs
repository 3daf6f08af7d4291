//! Counters that `INFO` reads: each written by one core, read by any, never locked.

mod core;
mod errors;
mod figure;
mod followers;
mod named;
mod run_time;
mod shard;
mod shard_table;
mod slow_watch;

pub use self::core::{CommandStats, CoreStats};
pub use errors::ErrorCounts;
pub use figure::{Counter, Figure, RateMeter};
pub use followers::{Follower, Followers};
pub use named::NamedFigures;
pub use run_time::RunTime;
pub use shard::{GroupState, ShardStats};
pub use shard_table::ShardTable;
pub use slow_watch::SlowWatch;
