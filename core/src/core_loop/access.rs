//! The rights of users: commands are checked before anything else is done with them.
//!
//! What a newcomer would get wrong: a connection whose user may do everything is not looked at again; a word of its session tells
//! ([`Gate`]). That word is set when the connection is made, when it says who it is, and when users change.

use std::collections::HashSet;
use std::os::fd::OwnedFd;
use std::sync::Arc;

use basalt_net::ring::ConnId;

use super::core::Core;
use crate::acl::{self, Context, Denied, Reason, UserTable, read_file, write_file};
use crate::clients::{Connection, Gate, Session, Transaction};
use crate::commands::facts::Flags;
use crate::commands::{Args, Command, CommandError, PatternKeys, once, why_not_by_patterns};
use crate::config::ChannelsAtFirst;
use crate::entry::request::{self, ArgList};
use crate::ids::Ticket;
use crate::limits;
use crate::node::{Asker, Server};
use crate::session_commands::{UserFile, note_denied};

/// The words to a client of another machine where everybody would be let in.
const PROTECTED: &[u8] = b"-DENIED Basalt is running in protected mode because protected mode is enabled and no password is set for \
the default user. In this mode connections are only accepted from the loopback interface. To connect from other computers, either \
set requirepass, or give the default user a password in the aclfile, or set protected-mode to no, having made sure that only those \
reach the port who may do everything.\r\n";

/// Denials of a transaction that were noted: the kind of each, and what was denied.
type Noted = HashSet<(&'static str, Box<[u8]>)>;

const NO_AUTH: CommandError = CommandError::text("NOAUTH Authentication required.");

const BUSY: &[u8] = b"-BUSY other work of the disk is under way, try again\r\n";

/// The reason of a denial behind EXEC, in Redis' words.
pub(super) fn reason_in_transaction(denied: Denied) -> String {
    let reason = match denied {
        Denied::Command => "no permission to execute the command or subcommand",
        Denied::Key(_) => "no permission to touch the specified keys",
        Denied::Channel(_) => "no permission to access one of the channels used as arguments to the command",
    };
    format!(
        "NOPERM ACLs rules changed between the moment the transaction was accumulated and the EXEC call. This command is no longer \
         allowed for the following reason: {reason}"
    )
}

impl Core {
    /// The reason that a connection may not call `command`, if it is not one that may do everything.
    #[cold]
    pub(super) fn why_denied(&self, session: &Session, command: &Command, args: Args<'_>) -> Option<CommandError> {
        if session.gate == Gate::Locked && !command.facts.flags.contains(Flags::NO_AUTH) {
            return Some(NO_AUTH);
        }
        let context = if session.transaction.is_some() { Context::Multi } else { Context::TopLevel };
        let denied = self.denied(session, context, command, args, &mut Noted::new())?;
        Some(match denied {
            Denied::Command => {
                let name = command.name();
                let inner = if once::inner(command, args).is_some() { ", or the one in it" } else { "" };
                CommandError::owned(format!("NOPERM this user has no permissions to run the '{name}' command{inner}"))
            }
            Denied::Key(_) => {
                CommandError::text("NOPERM this user has no permissions to access one of the keys used as arguments")
            }
            Denied::Channel(_) => CommandError::text(
                "NOPERM this user has no permissions to access one of the channels used as arguments",
            ),
        })
    }

    /// Returns whether a connection may call `command`. Nothing is noted of what it may not.
    pub(super) fn may_call(&self, session: &Session, command: &Command, args: Args<'_>) -> bool {
        let is_known = session.gate != Gate::Locked || command.facts.flags.contains(Flags::NO_AUTH);
        is_known && acl::check(&session.user, command, args).is_ok()
    }

    /// Checks a command against the rights of its connection's user, and notes what is denied unless that is `noted`.
    fn denied(
        &self,
        session: &Session,
        context: Context,
        command: &Command,
        args: Args<'_>,
        noted: &mut Noted,
    ) -> Option<Denied> {
        let denied = acl::check(&session.user, command, args).err()?;
        let (reason, object) = match denied {
            Denied::Command => (Reason::Command, command.name().as_bytes()),
            Denied::Key(position) => (Reason::Key, args[position]),
            Denied::Channel(position) => (Reason::Channel, args[position]),
        };
        if noted.len() < limits::TRANSACTION_DENIALS_NOTED && noted.insert((reason.name(), object.into())) {
            note_denied(&self.server, session, context, (reason, object), session.user.name());
        }
        Some(denied)
    }

    /// The reason that a command behind EXEC may not be run by the rights that there are now.
    #[cold]
    pub(super) fn why_denied_in_transaction(
        &self,
        session: &Session,
        command: &Command,
        args: Args<'_>,
    ) -> Option<Denied> {
        self.denied(session, Context::Multi, command, args, &mut Noted::new())
            .or_else(|| denied_pattern(session, command, args))
    }

    /// Has those commands of a transaction answered with an error that its user may not call any more. What is denied again and
    /// again is noted once.
    #[cold]
    pub(super) fn deny_queued(&self, session: &Session, transaction: &mut Transaction) {
        let mut noted = Noted::new();
        for index in 0..transaction.len() {
            let command = transaction.row(index);
            let encoded = transaction.command(index).to_vec();
            let mut args = ArgList::new();
            args.push(command.name().as_bytes());
            // A subcommand's name is a word of its own in a call; it is encoded with the arguments.
            let decoded = request::decode(&encoded, &mut args);
            if decoded.is_some()
                && let Some(denied) = self
                    .denied(session, Context::Multi, command, &args, &mut noted)
                    .or_else(|| denied_pattern(session, command, &args))
            {
                transaction.deny(index, denied);
            }
        }
    }

    /// Takes the users as they are now, if they have changed.
    pub(super) fn refresh_users(&mut self) {
        if self.users_version != self.server.users.version() {
            self.take_users();
        }
    }

    /// Takes the users as they are now: closes the connections of those who are gone, or who may not hear any more of what they
    /// have subscribed to.
    #[cold]
    fn take_users(&mut self) {
        self.users_version = self.server.users.version();
        self.users = self.server.users.now();
        let users = self.users.clone();
        let mut gone: Vec<ConnId> = Vec::new();
        for connection in self.clients.connections.iter_mut().flatten() {
            if connection.session.take_users(&users) {
                continue;
            }
            // Who has made the change hears what came of it, if that was not told before.
            if connection.session.id == users.changed_by() && !connection.is_caught_up() {
                connection.session.closing = true;
            } else {
                gone.push(connection.ring);
            }
        }
        for id in gone {
            self.close(id, true);
        }
    }

    /// Returns whether a client that has come from `session`'s address is refused: everybody would be let in.
    pub(super) fn is_protected_from(&self, session: &Session) -> bool {
        let is_of_others = session.peer.is_some_and(|peer| !peer.ip().to_canonical().is_loopback());
        self.live.is_protected && is_of_others && self.users.default_user().needs_no_password()
    }

    /// Tells a client of another machine why it is refused, and closes its connection.
    pub(super) fn refuse_others(&mut self, socket: OwnedFd) {
        self.stats().rejected_connections.add(1);
        self.turn_away(socket, PROTECTED);
    }

    /// Has another thread read or write the file of users for the client with the id `by`; the answer comes under `ticket`.
    pub(super) fn order_user_file(&mut self, by: u64, ticket: Ticket, what: UserFile) {
        let (server, asker) = (self.server.clone(), Asker { core: self.id, ticket });
        let job = move || {
            let reply = match work_on_file(&server, by, what) {
                Ok(()) => b"+OK\r\n".to_vec(),
                Err(text) => format!("-ERR {}\r\n", text.replace(['\r', '\n'], " ")).into_bytes(),
            };
            server.ring_all();
            server.answer_late(asker, reply);
        };
        if self.cold_reads.readers.submit(Box::new(job)).is_err() {
            self.server.answer_late(asker, BUSY.to_vec());
        }
    }
}

/// Reads or writes the file of users.
fn work_on_file(server: &Arc<Server>, by: u64, what: UserFile) -> Result<(), String> {
    let path = &server.config.acl_file().ok_or("there is no ACL file")?;
    // Of several at a time each has all that was changed before it was asked for.
    let _alone = server.users.file();
    match what {
        UserFile::Save => write_file(path, &server.users.now()).map_err(|error| {
            tracing::warn!(%error, "the users could not be written to the ACL file");
            format!("There was an error trying to save the ACLs: {error}")
        }),
        UserFile::Load => {
            let all_channels = server.settings.config().acl_pubsub_default == ChannelsAtFirst::All;
            let users: UserTable = read_file(path, all_channels).map_err(|error| {
                format!(
                    "{error} WARNING: ACL errors detected, no change to the previously active ACL rules was performed"
                )
            })?;
            server.users.change(by, |table| table.put_all(users))
        }
    }
}

/// Refuses what would change who may do what in the middle of a transaction, whose commands are all checked before the first one
/// runs, and what waits for another server.
///
/// # Errors
/// The refusal.
pub(super) fn check_queued(command: &Command, args: Args<'_>) -> Result<(), CommandError> {
    if command.migrates {
        return Err(CommandError::text(
            "ERR 'migrate' waits for another server, which is not possible inside a transaction: call it outside of MULTI",
        ));
    }
    let has = |word: &[u8]| args.iter().skip(2).any(|arg| arg.eq_ignore_ascii_case(word));
    let changes_rights = match command.name() {
        "auth" | "acl|setuser" | "acl|deluser" | "acl|load" => true,
        "hello" => has(b"auth"),
        "config|set" => has(b"requirepass"),
        _ => false,
    };
    if !changes_rights {
        return Ok(());
    }
    let name = command.name();
    Err(CommandError::owned(format!(
        "ERR '{name}' changes who may do what, which is not possible inside a transaction: call it outside of MULTI"
    )))
}

/// The key of a command whose patterns name keys that its user may not read any more.
fn denied_pattern(session: &Session, command: &Command, args: Args<'_>) -> Option<Denied> {
    if !command.has_patterns || acl::may_read_all(&session.user, command, args) {
        return None;
    }
    let keys = PatternKeys { in_cluster: false, may_read_all: false, is_here: None };
    why_not_by_patterns(command, args, keys).map(|_| Denied::Key(1))
}

/// Returns whether a connection's next commands need not be looked at.
pub(super) fn is_open(connection: &Connection) -> bool {
    connection.session.gate == Gate::Open
}
