//! The commands that concern a connection or the node, not a key: they run where the connection lives.
//!
//! What a newcomer would get wrong: nothing here may reach for another core's connections or shards. What needs them is
//! handed back as [`Outcome::Control`], which the core sends round; what is only read (INFO) comes from
//! figures that every core publishes.

mod acl;
mod client;
mod cluster;
mod command;
mod command_docs;
mod command_keys;
mod config;
mod connection;
mod debug;
#[cfg(test)]
mod differential;
mod functions;
mod info;
mod info_sections;
mod latency;
mod memory;
mod outcome;
mod placing;
mod process;
mod pubsub;
mod raft;
mod replication;
mod script;
mod server;
mod slowlog;
mod sparkline;
#[cfg(test)]
pub(crate) mod testing;
mod tracking;
mod transactions;

pub use acl::note_denied;
pub use client::{ClientBuffers, client_line};
pub use outcome::{FanoutOrder, Outcome, Ran, ReplicaCall, UserFile};
pub use process::memory_in_use;

use std::sync::Arc;

use basalt_net::resp::Reply;

use crate::clients::Session;
use crate::cluster::Routing;
use crate::commands::{Args, Command, Kind, reply_help};
use crate::node::Server;

/// The connection and the node, for a command that concerns one of them.
pub struct SessionContext<'a> {
    /// The connection that called it.
    pub session: &'a mut Session,
    /// The node.
    pub server: &'a Server,
    /// The places of keys, as the connection's core knows them.
    pub routing: &'a Arc<Routing>,
    /// True if it is only to be seen what the command would do to the connection: nothing is noted then.
    pub is_trial: bool,
}

/// Runs `command`, which concerns a connection or the node. Its arity has been checked.
///
/// # Errors
/// Redis' text for what is wrong with the arguments; nothing has changed then.
pub fn run(command: &Command, context: &mut SessionContext<'_>, args: Args<'_>, reply: &mut Reply<'_>) -> Ran {
    if let Kind::Help(lines) = command.kind {
        reply_help(command, lines, reply);
        return Ok(Outcome::Done);
    }
    functions::of(command)(context, args, reply)
}
