//! Transactions whose keys another node leads, and keys that are watched there.
//!
//! The commands are queued here, as those of all transactions, and sent with EXEC, as one request. Keys are watched by the relay,
//! so what depends on them goes over it or is not executed.

use basalt_net::resp::Protocol;
use basalt_net::ring::ConnId;

use super::forwarding::Words;
use super::request::{Aim, Forwarded, Nature, encode};
use super::routes::Way;
use crate::clients::{Connection, Expects, ReplyMode, Transaction};
use crate::commands::{Command, CommandError, scripts, table};
use crate::core_loop::access::is_open;
use crate::core_loop::core::Core;
use crate::core_loop::pending::NOBODY;
use crate::entry::request::{self, ArgList};

/// The reply of a transaction that was not executed, since something has happened to what it watches.
pub(super) fn null_of(protocol: Protocol) -> &'static [u8] {
    match protocol {
        Protocol::Resp2 => b"*-1\r\n",
        Protocol::Resp3 => b"_\r\n",
    }
}

/// The keys that a connection watches on other nodes.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Watch {
    None,
    By(ConnId),
    Lost,
}

impl Core {
    fn watch_of(&self, connection: &Connection) -> Watch {
        match self.relays.owners.get(&connection.ring) {
            Some(owner) if owner.has_lost_watch => Watch::Lost,
            Some(owner) => owner.watching.map_or(Watch::None, Watch::By),
            None => Watch::None,
        }
    }

    /// Notes that a relay has keys watched for its client.
    pub(super) fn note_watching(&mut self, connection: &Connection, relay: ConnId) {
        if let Some(owner) = self.relays.owners.get_mut(&connection.ring) {
            owner.watching = Some(relay);
        }
    }

    /// Returns whether a connection watches keys on other nodes.
    pub(in crate::core_loop) fn watches_elsewhere(&self, connection: &Connection) -> bool {
        connection.has_relays && self.watch_of(connection) != Watch::None
    }

    /// Looks whether a connection may watch keys of another node beside those that it does.
    pub(super) fn may_watch_by(&self, connection: &Connection, aim: Aim) -> Result<(), CommandError> {
        let is_elsewhere = match self.watch_of(connection) {
            Watch::None | Watch::Lost => connection.session.watching.is_some(),
            Watch::By(id) => self.relays.get(id).is_none_or(|relay| self.way_to(aim) != Way::Node(relay.node)),
        };
        if is_elsewhere { Err(CommandError::CROSS_SLOT) } else { Ok(()) }
    }

    /// Ends what a connection watches on another node.
    pub(in crate::core_loop) fn unwatch_elsewhere(&mut self, connection: &mut Connection) {
        let Some(owner) = self.relays.owners.get_mut(&connection.ring) else { return };
        owner.has_lost_watch = false;
        let Some(id) = owner.watching.take() else { return };
        let Some(mut relay) = self.relays.take(id) else { return };
        let mut bytes = Vec::new();
        encode(&mut bytes, [&b"UNWATCH"[..]].into_iter());
        let aim = Aim::Slot(basalt_storage::keyspace::Slot::new(0));
        let request = Forwarded::new(NOBODY, aim, Nature::default(), bytes, self.clock.now);
        connection.relayed_bytes += request.bytes.len();
        let mut nowhere = Vec::new();
        relay.send(request, self.clock.now, self.ring.output(id).unwrap_or(&mut nowhere));
        self.relays.put(relay);
    }

    /// Returns whether a transaction is executed by another node, or depends on one.
    pub(in crate::core_loop) fn exec_is_elsewhere(&self, connection: &Connection, transaction: &Transaction) -> bool {
        self.passes_on(connection) && (self.watches_elsewhere(connection) || self.aim_of_exec(transaction).is_some())
    }

    /// The slot of a transaction whose keys another node leads.
    fn aim_of_exec(&self, transaction: &Transaction) -> Option<Aim> {
        let aim = Aim::Slot(transaction.slot.filter(|_| !transaction.has_other_slots)?);
        let is_elsewhere = self.group_of(aim).is_some() && !matches!(self.way_to(aim), Way::Here(_));
        is_elsewhere.then_some(aim)
    }

    /// Passes a transaction on, of which [`exec_is_elsewhere`](Core::exec_is_elsewhere). False if it is to be executed here all the
    /// same.
    pub(in crate::core_loop) fn exec_elsewhere(
        &mut self,
        connection: &mut Connection,
        transaction: &Transaction,
        asked: u16,
    ) -> bool {
        let watch = self.watch_of(connection);
        let Some(aim) = self.aim_of_exec(transaction) else {
            if transaction.slot.is_none() && watch != Watch::Lost {
                self.unwatch_elsewhere(connection);
                return false;
            }
            self.exec_in_vain(connection);
            return true;
        };
        let way = self.way_to(aim);
        let is_watched_there = match watch {
            Watch::None => connection.session.watching.is_none(),
            Watch::By(id) => self.relays.get(id).is_some_and(|relay| {
                // One of another protocol would be replaced by one that watches nothing.
                relay.is_idle() && way == Way::Node(relay.node) && relay.protocol == connection.session.protocol
            }),
            Watch::Lost => false,
        };
        if !is_watched_there {
            self.exec_in_vain(connection);
            return true;
        }
        if let Some(index) = (0..transaction.len()).find(|index| !transaction.is_keyed(*index)) {
            let name = table::by_id(transaction.asked(index)).map_or("", Command::name);
            let text = self.not_forwarded(name, aim).to_string();
            let text = text.strip_prefix("ERR ").unwrap_or(&text);
            self.unwatch(connection);
            let text =
                format!("EXECABORT Transaction discarded because of: in a transaction of another node's keys {text}");
            self.fail(connection, asked, &CommandError::owned(text));
            return true;
        }
        match self.encode_transaction(transaction) {
            Ok(bytes) => self.send_exec(connection, transaction, aim, bytes, watch != Watch::None),
            Err(error) => {
                self.unwatch(connection);
                self.fail(connection, asked, &error);
            }
        }
        true
    }

    fn send_exec(
        &mut self,
        connection: &mut Connection,
        transaction: &Transaction,
        aim: Aim,
        bytes: Vec<u8>,
        is_guarded: bool,
    ) {
        if is_guarded && let Some(owner) = self.relays.owners.get_mut(&connection.ring) {
            // EXEC ends the watch there.
            owner.watching = None;
        }
        let runs_script = (0..transaction.len()).any(|index| transaction.row(index).runs_script);
        let nature = Nature { writes: transaction.writes, runs_script, ..Nature::default() };
        let expects = if transaction.returns_values { Expects::Values } else { Expects::Word };
        let silent = connection.session.reply_mode != ReplyMode::On;
        let place = connection.open_place(expects, transaction.writes, silent);
        connection.barrier = true;
        let mut request = Forwarded::new(place, aim, nature, bytes, self.clock.now);
        (request.replies, request.is_guarded) = (transaction.len() + 2, is_guarded);
        if runs_script && !is_open(connection) {
            request.rights = Some(connection.session.user.rights());
        }
        self.stats().relayed.add(1);
        self.pass_on(connection, request);
    }

    /// Answers a transaction that is not executed, since nobody knows any more what has become of the keys that it watches.
    fn exec_in_vain(&mut self, connection: &mut Connection) {
        self.unwatch(connection);
        if connection.session.reply_mode == ReplyMode::On {
            self.reply_raw(connection, null_of(connection.session.protocol));
        }
    }

    /// A transaction as its client would send it.
    fn encode_transaction(&mut self, transaction: &Transaction) -> Result<Vec<u8>, CommandError> {
        let mut bytes = Vec::new();
        encode(&mut bytes, [&b"MULTI"[..]].into_iter());
        for index in 0..transaction.len() {
            let command = table::by_id(transaction.asked(index)).unwrap_or_else(|| transaction.row(index));
            let (name, encoded) = (command.name(), transaction.command(index));
            let mut args = ArgList::new();
            // A subcommand's own name is one of its arguments.
            args.push(name.split_once('|').map_or(name, |(container, _)| container).as_bytes());
            request::decode(encoded, &mut args).expect("it was encoded by this core");
            let text: Option<std::sync::Arc<[u8]>> = if name.starts_with("evalsha") {
                let digest = scripts::read_digest(args[1]).ok_or(scripts::NO_SCRIPT)?;
                Some(self.server.scripts.get(&digest).ok_or(scripts::NO_SCRIPT)?)
            } else {
                None
            };
            let mut words: Words<'_> = args.iter().copied().collect();
            if let Some(text) = &text {
                words[0] = if name.ends_with("_ro") { b"eval_ro" } else { b"eval" };
                words[1] = text;
            }
            encode(&mut bytes, words.into_iter());
        }
        encode(&mut bytes, [&b"EXEC"[..]].into_iter());
        Ok(bytes)
    }
}
