//! Calls of commands on the connection or the node: what they leave to their core, and to all cores.

use basalt_net::resp::Reply;

use super::core::Core;
use crate::clients::{Connection, Expects, ReplyMode};
use crate::commands::{Args, Command, CommandError, Merge};
use crate::ids::{CoreId, ShardId, Ticket};
use crate::mail::{Control, Message};
use crate::multi_shard::Gather;
use crate::node::{Asker, Order};
use crate::session_commands::{self, Outcome, SessionContext};

/// The reply to an order for which others wait already.
pub(super) const KEEPER_IS_BUSY: CommandError =
    CommandError::text("BUSY other changes of the node's groups are under way, try again");

impl Core {
    /// Runs a command on the connection or the node, up to what its core is to do then; gives what of its reply is known.
    pub(super) fn run_session(
        &mut self,
        connection: &mut Connection,
        command: &'static Command,
        args: Args<'_>,
    ) -> Result<(Outcome, Vec<u8>), CommandError> {
        if command.tells_figures {
            self.publish_now();
        }
        self.take_slow();
        let mut bytes = Vec::new();
        let mut reply = Reply::new(&mut bytes, connection.session.protocol);
        self.serve(connection.ring);
        let stats = &self.stats().by_command[usize::from(command.id)];
        let started = stats.time.start();
        self.stats().slow.begin(stats.is_short);
        let (session, server, routing) = (&mut connection.session, &*self.server, &self.routing);
        let mut context = SessionContext { session, server, routing, is_trial: false };
        let outcome = session_commands::run(command, &mut context, args, &mut reply);
        if let Some(started) = started {
            self.stats().by_command[usize::from(command.id)].time.stop(started);
        }
        if let Some(ns) = self.stats().slow.end() {
            self.stats().note_slow(ns, command, args);
        }
        Ok((outcome?, bytes))
    }

    pub(super) fn session_command(&mut self, connection: &mut Connection, command: &'static Command, args: Args<'_>) {
        let asked = command.id;
        let wanted = connection.session.reply_mode == ReplyMode::On;
        let (outcome, bytes) = match self.run_session(connection, command, args) {
            Ok(outcome) => outcome,
            Err(error) => return self.fail(connection, asked, &error),
        };
        match outcome {
            Outcome::Done => {}
            Outcome::Close => connection.session.closing = true,
            Outcome::Stop => return self.server.stop_all(),
            Outcome::Watch => return self.watch(connection, asked, args),
            Outcome::Unwatch => self.unwatch(connection),
            Outcome::Reset(ended) => {
                self.unwatch(connection);
                connection.forget_writes();
                if !ended.is_empty() {
                    return self.change_subscriptions(connection, asked, ended, bytes);
                }
            }
            Outcome::Parts(parts, coordinator) => {
                connection.barrier = true;
                return self.coordinate(connection, asked, coordinator, parts);
            }
            Outcome::GiveUp(_) | Outcome::LeaveCluster | Outcome::Meet(_) if !self.server.orders.reserve() => {
                return self.fail(connection, asked, &KEEPER_IS_BUSY);
            }
            Outcome::GiveUp(_)
            | Outcome::LeaveCluster
            | Outcome::Change(_)
            | Outcome::ChangeForNode(_)
            | Outcome::Meet(_) => {
                let place = connection.open_place(Expects::Word, false, !wanted);
                let ticket = self.ticket(connection, place, 0);
                // What comes behind it sees what came of it.
                connection.barrier = true;
                return self.order_change(ticket, outcome);
            }
            Outcome::WriteOut(shard) => {
                let place = connection.open_place(Expects::Word, false, !wanted);
                let ticket = self.ticket(connection, place, 0);
                connection.barrier = true;
                return self.order_write_out(ticket, shard);
            }
            Outcome::AwaitReplicas(call) => return self.await_replicas(connection, asked, call),
            Outcome::Sleep(time) => {
                let place = connection.open_place(Expects::Word, false, !wanted);
                let ticket = self.ticket(connection, place, 0);
                connection.barrier = true;
                return self.answer_after(time, ticket);
            }
            Outcome::RewriteConfig => {
                let place = connection.open_place(Expects::Word, false, !wanted);
                let ticket = self.ticket(connection, place, 0);
                connection.barrier = true;
                return self.order_rewrite(ticket);
            }
            Outcome::UserFile(what) => {
                let place = connection.open_place(Expects::Word, false, !wanted);
                let ticket = self.ticket(connection, place, 0);
                // What comes behind it is checked against what it brings.
                connection.barrier = true;
                return self.order_user_file(connection.session.id, ticket, what);
            }
            Outcome::GiveMemoryBack => self.order_purge(),
            Outcome::Fanout(order) => return self.fan_out(connection, asked, order, bytes),
            Outcome::Control(control, merge) => {
                let (gather, core_count) = (self.gather_of_cores(merge), self.server.mailboxes.core_count());
                let place = connection.open_coordinated(gather, core_count, asked, Expects::Values, false, !wanted);
                connection.barrier = true;
                return self.ask_cores(connection, place, 0, &control);
            }
        }
        // `CLIENT REPLY ON` is answered, `CLIENT REPLY OFF` and `SKIP` are not.
        if wanted || connection.session.reply_mode == ReplyMode::On {
            self.reply_raw(connection, &bytes);
        }
    }

    /// Orders what a session command leaves to the node or the cluster; the answer comes under `ticket`. For what the keeper does,
    /// a place was reserved.
    pub(super) fn order_change(&mut self, ticket: Ticket, outcome: Outcome) {
        let asker = Asker { core: self.id, ticket };
        let message = match outcome {
            Outcome::GiveUp(refusal) => return self.server.orders.give(Order::GiveUp(asker, refusal)),
            Outcome::LeaveCluster => return self.server.orders.give(Order::Reset(asker)),
            Outcome::Meet(address) => return self.server.orders.give(Order::Meet(asker, address)),
            Outcome::Change(change) => Message::Change(ticket, change),
            Outcome::ChangeForNode(change) => Message::ChangeForNode(ticket, change),
            _ => unreachable!("these are all"),
        };
        self.outbox.control(CoreId(0), message);
    }

    /// Has the core of a shard write the rows out that it has in memory; the answer comes under `ticket`.
    pub(super) fn order_write_out(&mut self, ticket: Ticket, shard: ShardId) {
        let core = self.routing.router.core_of(shard).unwrap_or(self.id);
        self.outbox.control(core, Message::WriteOut(ticket, shard));
    }

    /// Makes one reply of those of all cores.
    pub(super) fn gather_of_cores(&self, merge: Merge) -> Box<Gather> {
        let bytes_max = self.server.reply_bounds().one_bytes_max;
        Box::new(Gather::new(merge, self.server.mailboxes.core_count()).bounded(bytes_max))
    }

    /// Has every core do something, as the parts of a place from `first` on.
    pub(super) fn ask_cores(&mut self, connection: &Connection, place: u64, first: usize, control: &Control) {
        for core in 0..self.server.mailboxes.core_count() {
            let ticket = self.ticket(connection, place, (first + core) as u32);
            self.outbox.control(CoreId(core as u16), Message::Control(ticket, control.clone()));
        }
    }
}
