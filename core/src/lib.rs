//! What runs on each core of a Basalt node: boot, core loop, mailboxes, routing, commands and configuration.
//!
//! This crate ties `basalt_net`, `basalt_raft` and `basalt_storage` together and holds the binary `basalt`. It
//! touches no file format and no wire format itself: rows belong to storage, bytes on sockets to net.

#![forbid(unsafe_code)]

pub mod boot;
pub mod clients;
pub mod cluster;
pub mod commands;
pub mod config;
pub mod core_loop;
pub mod entry;
pub mod ids;
pub mod limits;
pub mod mail;
pub mod multi_shard;
pub mod node;
pub mod session_commands;
pub mod shard;
pub mod start;
