//! MIGRATE: keys that are held, dumped and sent to another server by a thread, and deleted once that has them.
//!
//! What a newcomer would get wrong: from the first key that is held to the last that is deleted nobody else reads or changes them,
//! so nothing that was acknowledged is lost on the way. That is why a call waits for its thread before it holds anything. Keys that
//! stay here are let go of as soon as they are dumped.

use std::panic::{AssertUnwindSafe, catch_unwind};

use basalt_net::ring::ConnId;

use super::Spanning;
use super::coordinator::{Stage, TOO_MUCH, error_reply};
use super::target::deliver;
use super::{TASK_PLACES, Task};
use crate::clients::{Connection, Expects, ReplyMode};
use crate::commands::{Args, Command, CommandError, MigrateCall};
use crate::core_loop::core::Core;
use crate::core_loop::pending::PendingRequest;
use crate::entry::spanning::SpanningOrder;
use crate::ids::ShardId;
use crate::limits::migrations as limits;
use crate::multi_shard::spanning::{Delivery, KnownReply, Migration, MigrationStep, Parcel};
use crate::node::Asker;

const TOO_MANY: CommandError =
    CommandError::text("BUSY Too many calls of MIGRATE wait for their turn, nothing was sent: try again");

/// The reply where no thread is there to send anything, or is any more.
const STOPPING: &[u8] = b"-BUSY The node is about to stop, nothing was sent: try again\r\n";

/// The reply of a thread that has panicked. Of no key it is known for certain that it is there.
const PANICKED: &[u8] =
    b"ERR The keys were not sent, or not all of them, the log says why. The target instance may have some";

impl Core {
    /// Starts a call of MIGRATE. All that its connection has sent before is answered.
    pub(in crate::core_loop) fn migrate(
        &mut self,
        connection: &mut Connection,
        command: &'static Command,
        args: Args<'_>,
    ) {
        let call = match MigrateCall::read(args) {
            Ok(call) => call,
            Err(error) => return self.fail(connection, command.id, &error),
        };
        let silent = connection.session.reply_mode != ReplyMode::On;
        let (sides, migration) = Migration::plan(&self.routing.router, connection.session.db, call, args);
        if sides.is_empty() {
            if !silent {
                self.reply_raw(connection, b"+NOKEY\r\n");
            }
            return;
        }
        let work = KnownReply { reply: Vec::new(), bytes: migration.bytes() };
        let planned: super::Planned = (sides, Box::new(work));
        let is_full = self.tasks.migrations.len() >= limits::WAITING_MAX;
        if let Err(error) = if is_full { Err(TOO_MANY) } else { self.check_room(&planned) } {
            return self.fail(connection, command.id, &error);
        }
        let place = connection.open_place(Expects::of(command, args), true, silent);
        // Nothing that follows may overtake it in a shard.
        connection.barrier = true;
        let (ticket, protocol) = (self.ticket(connection, place, 0), connection.session.protocol);
        let spanning = Spanning::new((ticket, protocol, command.id), planned, None).called_by(connection);
        let index = self.enter_spanning(spanning.sending(Box::new(migration)));
        self.tasks.migrations.push_back(index);
        self.server.senders.note_waiting();
        self.begin_migrations();
    }

    /// Begins with calls of MIGRATE that wait, as far as there are threads for them.
    pub(in crate::core_loop) fn begin_migrations(&mut self) {
        while !self.tasks.migrations.is_empty() && self.server.senders.reserve() {
            let Some((index, mut spanning)) = self.next_migration() else { return self.server.senders.release() };
            spanning.has_sender = true;
            self.hold_next(index, spanning, 0);
        }
    }

    /// Refuses all calls of MIGRATE that wait: nothing is begun any more.
    pub(in crate::core_loop) fn refuse_migrations(&mut self) {
        while let Some((index, spanning)) = self.next_migration() {
            self.end_spanning(index, spanning, STOPPING.to_vec());
        }
    }

    /// Takes out the call that has waited longest.
    fn next_migration(&mut self) -> Option<(u32, Box<Spanning>)> {
        let index = self.tasks.migrations.pop_front()?;
        self.server.senders.note_begun();
        let Some(Task::Spanning(spanning)) = self.tasks.take(index) else {
            unreachable!("a call that waits is there until it has begun")
        };
        Some((index, spanning))
    }

    /// Gives a thread back, and has the next call begin that waits for it; unless one of another core does, which looks now and
    /// then and would never come to its turn.
    pub(super) fn release_sender(&mut self) {
        self.server.senders.release();
        if self.server.senders.waiting() <= self.tasks.migrations.len() {
            self.begin_migrations();
        }
    }

    /// Has a migration go on. All keys are held, and all that it has asked for is answered.
    pub(super) fn let_migration_go_on(&mut self, index: u32, mut spanning: Box<Spanning>) {
        if let Some(error) = spanning.error.take() {
            return self.end_spanning(index, spanning, error);
        }
        let asked = spanning.asked();
        let migration = spanning.migration.as_mut().expect("it sends keys");
        match migration.next(asked) {
            MigrationStep::Dump(reads) => {
                (spanning.stage, spanning.awaited) = (Stage::Dumping, reads.len());
                let transaction = spanning.id;
                self.tasks.put(index, Task::Spanning(spanning));
                for (shard, bytes) in reads {
                    self.order(index, shard.index(), shard, SpanningOrder::Read(Some(transaction), bytes));
                }
            }
            MigrationStep::Send(parcel) => self.send_parcel(index, spanning, parcel),
            MigrationStep::NoKey => self.end_spanning(index, spanning, b"+NOKEY\r\n".to_vec()),
        }
    }

    /// Takes what a shard has dumped.
    pub(super) fn dumped(&mut self, index: u32, mut spanning: Box<Spanning>, shard: ShardId, reply: &[u8]) {
        let mut migration = spanning.migration.take().expect("it sends keys");
        if reply.starts_with(b"-") {
            spanning.fail(reply);
        } else if !self.carry(&mut spanning, reply.len()) {
            spanning.fail(&error_reply(TOO_MUCH));
        } else if let Err(error) = migration.take_dumps(shard, reply) {
            spanning.fail(&error);
        }
        spanning.migration = Some(migration);
        spanning.awaited -= 1;
        match spanning.awaited {
            0 => self.let_migration_go_on(index, spanning),
            _ => self.tasks.put(index, Task::Spanning(spanning)),
        }
    }

    /// Has a thread send keys, and answer what came of it.
    fn send_parcel(&mut self, index: u32, mut spanning: Box<Spanning>, parcel: Parcel) {
        if spanning.migration.as_ref().is_some_and(|migration| migration.copies()) {
            // What is sent was so when all keys were held, and nothing is done with them any more.
            let transaction = spanning.id;
            for shard in spanning.let_go_of_all() {
                self.tell(shard, SpanningOrder::Release(transaction));
            }
        }
        spanning.stage = Stage::Sending;
        self.tasks.put(index, Task::Spanning(spanning));
        let place = TASK_PLACES + u64::from(index);
        let request = PendingRequest { connection: ConnId::default(), place, part: 0, ordered: false };
        let asker = Asker { core: self.id, ticket: self.pending.insert(request) };
        let server = self.server.clone();
        let job = move || {
            let sent = catch_unwind(AssertUnwindSafe(|| deliver(&parcel, &|| server.clock.unix_ms())));
            // Before its client may have more of them sent.
            drop(parcel);
            // Whatever happens its core hears of it: the keys are held until then.
            let delivery = sent.unwrap_or_else(|_| Delivery { error: Some(PANICKED.to_vec()), ..Delivery::default() });
            server.answer_late(asker, delivery.encode());
        };
        if self.server.senders.submit(Box::new(job)).is_err() {
            self.server.answer_late(asker, STOPPING.to_vec());
        }
    }

    /// Takes what came of the keys that were sent: has those deleted that are to be.
    pub(super) fn delivered(&mut self, index: u32, mut spanning: Box<Spanning>, delivery: &[u8]) {
        if delivery.starts_with(b"-") {
            return self.end_spanning(index, spanning, delivery.to_vec());
        }
        let (asked, migration) = (spanning.asked(), spanning.migration.take().expect("it has sent keys"));
        let reply = migration.delivered(asked, delivery, &mut spanning.sides);
        if spanning.sides.iter().all(|side| side.writes.is_empty()) {
            return self.end_spanning(index, spanning, reply);
        }
        spanning.has_sent = true;
        // The dumps are gone.
        self.carry_no_more(&mut spanning);
        spanning.work = Box::new(KnownReply { reply, bytes: 0 });
        self.write_sides(index, spanning);
    }
}
