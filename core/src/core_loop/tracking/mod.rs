//! Client-side caching: clients are told when keys change of which they keep copies.
//!
//! A client's reads are entered in the tables of their shards ([`basalt_storage::TrackedKeys`]) before they are sent there, by the
//! same way and so ahead of them. Applying an entry takes keys that it changes out of the table, on each replica for the clients of
//! its node; the core of the shard hands that on at the end of its turn, and the client's core tells it ([`telling`]).
//!
//! What a newcomer would get wrong: a read may find what was written after it was entered, and the client is told of that change
//! all the same. That is sound, since word of a change never overtakes the reply to a read that was sent before: it stands behind
//! all replies that are missing. The client drops a copy that it could have kept, and none that it keeps is old. Only who waits for
//! what others do is told meanwhile ([`Connection::may_be_told`]), and hears again of what it has waited for behind the reply.

mod telling;

use std::sync::Arc;

use smallvec::SmallVec;

use basalt_storage::{Changed, ChangedKey, Reader};

use super::core::Core;
use super::dispatch::client_number;
use crate::clients::{Connection, Transaction};
use crate::commands::facts::Flags;
use crate::commands::{Args, Command};
use crate::entry::request::{self, ArgList};
use crate::entry::spanning::SpanningOrder;
use crate::entry::tracking::{TrackOrder, reader_id};
use crate::ids::{CoreId, Origin, ShardId};
use crate::limits;
use crate::mail::OrderTo;

pub(super) use telling::Telling;

/// Returns whether the keys of a command are tracked if it is a tracking client's: of those that only read, and of scripts, since
/// nobody knows before what these read.
fn is_tracked(command: &Command) -> bool {
    command.runs_script || command.facts.flags.contains(Flags::READONLY)
}

impl Core {
    /// Enters a connection that tracks keys for those that a command is about to read; all of them in `replica`, if one is named.
    pub(super) fn track_reads(
        &mut self,
        connection: &mut Connection,
        command: &Command,
        args: Args<'_>,
        replica: Option<ShardId>,
    ) {
        let Some(reader) = self.next_reader(connection, false).filter(|_| is_tracked(command)) else { return };
        let mut orders = SmallVec::new();
        self.add_keys(&mut orders, reader, command, args, replica);
        let may_span = command.runs_script || self.spans(command, args);
        orders.into_iter().for_each(|order| self.track(order, may_span));
    }

    /// The same for what a transaction reads; all of it in `shard`, if it runs in one.
    pub(super) fn track_queued(
        &mut self,
        connection: &mut Connection,
        transaction: &Transaction,
        shard: Option<ShardId>,
    ) {
        // What it says to the connection comes to pass behind what is read.
        let Some(reader) = self.next_reader(connection, transaction.session_count > 0) else { return };
        let orders = self.orders_of(reader, transaction, 0, shard);
        orders.into_iter().for_each(|order| self.track(order, shard.is_none()));
    }

    /// Tells a connection that has begun to track keys in the middle of a transaction that what comes behind there has changed: it
    /// was read before, and nobody knows what has happened since.
    pub(super) fn tell_of_queued_behind(&mut self, connection: &Connection, transaction: &Transaction, index: usize) {
        let id = reader_id(self.id, client_number(connection.ring));
        let reader = Reader { id, is_deaf_to_itself: false };
        self.orders_of(reader, transaction, index, None).into_iter().for_each(|order| self.tell_untracked(order));
    }

    /// Tells a connection that has waited for entries of `keys`, and is answered, that they have changed: who waits is told at
    /// once, so that may have been before the reply came which is older.
    pub(super) fn tell_of_waited(&mut self, connection: &Connection, keys: Vec<Box<[u8]>>) {
        let readers = SmallVec::from_slice(&[reader_id(self.id, client_number(connection.ring))]);
        self.tell_as_changed(keys.into_iter().map(Into::into), &readers);
    }

    fn orders_of(
        &self,
        reader: Reader,
        transaction: &Transaction,
        from: usize,
        shard: Option<ShardId>,
    ) -> SmallVec<[TrackOrder; 1]> {
        let (mut orders, mut args) = (SmallVec::new(), ArgList::new());
        for index in (from..transaction.len()).filter(|index| transaction.is_keyed(*index)) {
            let command = transaction.row(index);
            args.clear();
            args.push(b"");
            if is_tracked(command) && request::decode(transaction.command(index), &mut args).is_some() {
                self.add_keys(&mut orders, reader, command, &args, shard);
            }
        }
        orders
    }

    /// The connection as a reader, if what it calls now is tracked.
    fn next_reader(&self, connection: &mut Connection, is_chosen_within: bool) -> Option<Reader> {
        let id = reader_id(self.id, client_number(connection.ring));
        let tracking = connection.session.tracking.as_mut()?;
        tracking.has_dropped_all = false;
        let may_choose = tracking.is_opt_in || tracking.is_opt_out;
        let is_tracked = tracking.tracks_next() || (is_chosen_within && may_choose && !tracking.is_broadcast);
        is_tracked.then_some(Reader { id, is_deaf_to_itself: tracking.is_deaf_to_itself })
    }

    fn add_keys(
        &self,
        orders: &mut SmallVec<[TrackOrder; 1]>,
        reader: Reader,
        command: &Command,
        args: Args<'_>,
        replica: Option<ShardId>,
    ) {
        let router = &self.routing.router;
        if router.first_shard().is_none() && replica.is_none() {
            return;
        }
        for position in command.keys(args) {
            let shard = replica.unwrap_or_else(|| router.shard_of(args[position]));
            let index = orders.iter().position(|order| order.shard == shard).unwrap_or_else(|| {
                orders.push(TrackOrder { shard, reader, keys: Vec::new() });
                orders.len() - 1
            });
            orders[index].keys.push(args[position].into());
        }
    }

    /// Has a shard enter a client for keys, by all the ways that what reads them may take.
    fn track(&mut self, order: TrackOrder, may_span: bool) {
        if self.seat(order.shard).is_some() {
            return self.take_track(order);
        }
        match self.routing.router.core_of(order.shard) {
            Some(core) if core != self.id => {
                if may_span {
                    let origin =
                        Origin { core: self.id, client: limits::SPANNING_CLIENTS, ticket: super::spanning::NO_TICKET };
                    let (shard, order) = (order.shard, SpanningOrder::Track(Box::new(order.clone())));
                    self.outbox.order(core, OrderTo { origin, shard, order });
                }
                self.outbox.track(core, order);
            }
            _ => self.tell_untracked(order),
        }
    }

    /// Enters a client for keys of a shard of this core.
    pub(super) fn take_track(&mut self, order: TrackOrder) {
        match self.shards.get_mut(order.shard.index()).and_then(Option::as_mut) {
            Some(shard) => shard.track(order.reader, &order.keys),
            // One may come before the read does.
            None => self.tell_untracked(order),
        }
    }

    /// Tells a client that keys have changed which nobody looks after.
    fn tell_untracked(&mut self, order: TrackOrder) {
        self.tell_as_changed(order.keys.into_iter().map(Into::into), &SmallVec::from_slice(&[order.reader.id]));
    }

    fn tell_as_changed(&mut self, keys: impl Iterator<Item = Arc<[u8]>>, readers: &SmallVec<[u64; 2]>) {
        let changed = keys.map(|key| ChangedKey { key, readers: readers.clone(), writer: None, is_written: false });
        let changed = Changed { keys: changed.collect(), is_all: false };
        self.hand_on_changes(&changed);
    }

    /// Ends what was chosen for the command that was called, or the transaction.
    #[inline]
    pub(super) fn end_choice(connection: &mut Connection, command: Option<&Command>) {
        if let Some(tracking) = &mut connection.session.tracking
            && connection.session.transaction.is_none()
            && !command.is_some_and(Command::is_of_client)
        {
            tracking.is_next_chosen = false;
        }
    }

    /// Forgets that a connection tracks keys, which is closed. What it has read is found and forgotten later.
    pub(super) fn forget_tracking(&mut self, connection: &mut Connection) {
        self.server.client_places.remove(self.id, connection.session.id);
        if connection.session.tracking.take().is_some() {
            self.server.note_tracking(false);
        }
        if !connection.session.has_tracked {
            return;
        }
        let reader = reader_id(self.id, client_number(connection.ring));
        self.note_reader_gone(reader);
        let others = (0..self.server.mailboxes.core_count() as u16).map(CoreId);
        for core in others.filter(|core| *core != self.id).collect::<Vec<_>>() {
            self.outbox.control(core, crate::mail::Message::ReaderGone(reader));
        }
    }

    /// Has the shards of this core forget a client that is gone.
    pub(super) fn note_reader_gone(&mut self, reader: u64) {
        self.shards.iter_mut().flatten().for_each(|shard| shard.note_reader_gone(reader));
    }

    /// Has shards of this core keep to what is set, and tell what somebody wants to hear.
    pub(super) fn set_up_tracking(&mut self) {
        let shard_count = self.server.shards.len().max(1);
        let keys_max = match self.live.tracked_keys_max {
            0 => usize::MAX,
            keys_max => keys_max.div_ceil(shard_count),
        };
        let bytes_max = limits::TRACKING_BYTES_MAX / shard_count;
        let tells_all = self.fanout.has_prefixes();
        for shard in self.shards.iter_mut().flatten() {
            shard.set_tracking_bounds(keys_max, bytes_max);
            shard.tell_all_changes(tells_all);
        }
    }

    /// Has all clients of the node that keep copies drop all that they have: a shard goes.
    pub(super) fn drop_all_copies(&mut self) {
        self.hand_on_changes(&Changed { keys: Vec::new(), is_all: true });
    }
}
