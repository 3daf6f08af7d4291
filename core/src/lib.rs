//! Everything that runs on each core of a Basalt node: boot, core loop, mailboxes, routing, commands and configuration.
//!
//! This crate ties `basalt_net`, `basalt_raft` and `basalt_storage` together and holds the binary `basalt`. It
//! touches no file format and no wire format itself: rows belong to storage, bytes on sockets to net.

#![forbid(unsafe_code)]

mod acl;
pub mod boot;
mod clients;
mod cluster;
mod commands;
pub mod config;
mod core_loop;
mod entry;
mod ids;
mod limits;
mod mail;
mod meta;
mod multi_shard;
mod node;
mod peers;
mod session_commands;
mod shard;
mod snapshots;
pub mod start;

pub use limits::HEAP_ARENAS;

/// The rooms behind the front door, for benchmarks, fuzz targets and tests: nothing in here is promised.
#[cfg(any(test, feature = "internals"))]
#[allow(missing_docs, reason = "each is the room of that name")]
pub mod internals {
    pub mod cluster {
        pub use crate::cluster::*;
    }
    pub mod commands {
        pub use crate::commands::*;
    }
    #[cfg(feature = "internals")]
    pub mod core_loop {
        pub use crate::core_loop::{Outbox, PendingRequest, PendingRequests};
    }
    pub mod entry {
        pub use crate::entry::*;
    }
    pub mod ids {
        pub use crate::ids::*;
    }
    pub mod limits {
        pub use crate::limits::*;
    }
    pub mod mail {
        pub use crate::mail::*;
    }
    pub mod peers {
        pub use crate::peers::*;
    }
    pub mod shard {
        pub use crate::shard::*;
    }
    pub mod snapshots {
        pub use crate::snapshots::*;
    }
}
