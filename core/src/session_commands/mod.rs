//! The commands that concern a connection or the node, not a key: they run where the connection lives.
//!
//! What a newcomer would get wrong: nothing here may reach for another core's connections or shards. What needs them is
//! handed back as [`Outcome::Control`], which the core sends round; what is only read (INFO) comes from
//! figures that every core publishes.

mod client;
mod command;
mod command_docs;
mod command_keys;
mod config;
mod connection;
#[cfg(test)]
mod differential;
mod help;
mod info;
mod info_sections;
mod outcome;
mod process;
mod server;
#[cfg(test)]
pub(crate) mod testing;

pub use client::{ClientBuffers, client_line};
pub use outcome::Outcome;
pub use process::memory_in_use;

use basalt_net::resp::Reply;

use crate::clients::Session;
use crate::commands::{Args, CommandError, SessionCommand};
use crate::node::Server;

/// Runs `command` for the connection that `session` belongs to. Its arity has been checked.
///
/// # Errors
/// Redis' text for what is wrong with the arguments; nothing has changed then.
pub fn run(
    command: SessionCommand,
    args: Args<'_>,
    session: &mut Session,
    server: &Server,
    reply: &mut Reply<'_>,
) -> Result<Outcome, CommandError> {
    use SessionCommand as C;
    match command {
        C::Quit => {
            reply.ok();
            return Ok(Outcome::Close);
        }
        C::ClientList => return client::list(args),
        C::ClientKill => return client::kill(args, session),
        C::Shutdown => return server::shutdown(args),

        C::Auth => connection::auth(args, reply)?,
        C::Echo => reply.bulk(args[1]),
        C::Hello => connection::hello(args, session, reply)?,
        C::Ping => connection::ping(args, reply)?,
        C::Reset => connection::reset(session, reply),
        C::Select => connection::select(args, session, reply)?,

        C::ClientGetName => client::get_name(session, reply),
        C::ClientHelp => help::reply(help::CLIENT, reply),
        C::ClientId => reply.integer(session.id as i64),
        C::ClientInfo => client::info(args, session, reply),
        C::ClientNoEvict => client::no_evict(args, session, reply)?,
        C::ClientNoTouch => client::no_touch(args, session, reply)?,
        C::ClientReply => client::reply_mode(args, session, reply)?,
        C::ClientSetInfo => client::set_info(args, session, reply)?,
        C::ClientSetName => client::set_name(args, session, reply)?,

        C::Command => command::all(reply),
        C::CommandCount => command::count(reply),
        C::CommandDocs => command_docs::docs(args, reply),
        C::CommandGetKeys => command_keys::get_keys(args, reply)?,
        C::CommandGetKeysAndFlags => command_keys::get_keys_and_flags(args, reply)?,
        C::CommandHelp => help::reply(help::COMMAND, reply),
        C::CommandInfo => command::info(args, reply),
        C::CommandList => command::list(args, reply)?,

        C::ConfigGet => config::get(args, server, reply),
        C::ConfigHelp => help::reply(help::CONFIG, reply),
        C::ConfigResetStat => config::reset_stat(server, reply),
        C::ConfigRewrite => return Err(config::REWRITE_REFUSED),
        C::ConfigSet => config::set(args, server, reply)?,

        C::Info => info::info(args, session, server, reply),
        C::LastSave => server::last_save(server, reply),
        C::Role => server::role(reply),
        C::Time => server::time(server, reply),

        C::ObjectHelp => help::reply(help::OBJECT, reply),
        C::XGroupHelp => help::reply(help::XGROUP, reply),
        C::XInfoHelp => help::reply(help::XINFO, reply),
    }
    Ok(Outcome::Done)
}
