//! EXEC of a transaction with commands that concern the connection or the node: their replies and those of the shard in one.

use std::any::Any;

use basalt_net::resp::{Protocol, Reply, value};

use super::access::{is_open, reason_in_transaction};
use super::core::Core;
use super::dispatch::client_number;
use super::replica_waits::Replicated;
use super::session_calls::KEEPER_IS_BUSY;
use crate::clients::{Connection, ReplyMode, Transaction};
use crate::commands::{Command, CommandError};
use crate::entry::request::{self, ArgList};
use crate::ids::Origin;
use crate::multi_shard::{Coordinator, MISSHAPEN, Progress};
use crate::session_commands::{FanoutOrder, Outcome};

/// The reply to a command that finds no room in that of its transaction.
const DROPPED: &str = "ERR the command was executed, but its reply was dropped: those of its transaction are too large";

/// A transaction that is being executed. First its shard answers for the commands that it runs, if there are some; then the others
/// run in their turns, one of which may wait for other cores.
#[derive(Default)]
pub struct Exec {
    pub(super) transaction: Transaction,
    resp3: bool,
    /// The command whose turn it is.
    next: usize,
    /// The users by whose rights its commands were allowed.
    users_version: u64,
    /// The shard's replies, and how far they are taken.
    of_shard: Vec<u8>,
    taken: usize,
    reply: Vec<u8>,
    /// Bytes that the reply may have.
    bytes_max: usize,
    /// True if the client wants none of it.
    is_silent: bool,
    /// The replies that it wanted when the last command ran.
    mode: Option<ReplyMode>,
    /// The command that waits for others, and the number of its first part.
    waiting: Option<(Box<dyn Coordinator>, usize)>,
}

/// A reply that comes as it is.
struct Passed;

impl Coordinator for Passed {
    fn answered(&mut self, _part: usize, reply: &[u8], out: &mut Reply<'_>) -> Progress {
        out.raw(reply);
        Progress::Done
    }
}

impl Exec {
    /// The beginning of `transaction`, of a client that wants these replies, and `bytes_max` of them at most.
    pub(super) fn new(
        transaction: Transaction,
        users_version: u64,
        protocol: Protocol,
        mode: ReplyMode,
        bytes_max: usize,
    ) -> Exec {
        let mut exec = Exec {
            transaction,
            users_version,
            resp3: protocol == Protocol::Resp3,
            is_silent: mode == ReplyMode::Skip,
            mode: Some(mode),
            bytes_max,
            ..Exec::default()
        };
        let (count, mut header) = (exec.transaction.len(), Vec::new());
        Reply::new(&mut header, protocol).array(count);
        exec.say(&header);
        exec
    }

    fn protocol(&self) -> Protocol {
        if self.resp3 { Protocol::Resp3 } else { Protocol::Resp2 }
    }

    fn is_heard(&self) -> bool {
        !self.is_silent && self.mode != Some(ReplyMode::Off)
    }

    /// Adds a reply, if it is wanted.
    fn say(&mut self, reply: &[u8]) {
        if !self.is_heard() {
            return;
        }
        let is_small = reply.len() <= crate::limits::SMALL_REPLY_BYTES_MAX;
        if is_small || self.reply.len() + reply.len() <= self.bytes_max + self.of_shard.len() {
            self.reply.extend_from_slice(reply);
        } else {
            Reply::new(&mut self.reply, Protocol::Resp2).error(DROPPED);
        }
    }

    /// Adds the shard's next reply.
    fn say_next_of_shard(&mut self) {
        let of_shard = std::mem::take(&mut self.of_shard);
        let rest = &of_shard[self.taken..];
        let length = value::skip_value(rest);
        if self.is_heard() {
            self.reply.extend_from_slice(length.map_or(MISSHAPEN.as_bytes(), |length| &rest[..length]));
        }
        self.taken += length.unwrap_or(0);
        self.of_shard = of_shard;
    }
}

impl Coordinator for Exec {
    fn answered(&mut self, part: usize, reply: &[u8], out: &mut Reply<'_>) -> Progress {
        let protocol = self.protocol();
        let Some((coordinator, first)) = &mut self.waiting else {
            // The shard has executed its part, or nothing of it.
            if !reply.starts_with(b"*") || reply.starts_with(b"*-") {
                if self.is_heard() {
                    out.raw(reply);
                }
                return Progress::Done;
            }
            self.of_shard = reply.to_vec();
            self.taken = reply.iter().position(|&byte| byte == b'\n').map_or(0, |end| end + 1);
            return Progress::Queued;
        };
        let mut bytes = Vec::new();
        match coordinator.answered(part - *first, reply, &mut Reply::new(&mut bytes, protocol)) {
            Progress::Done => {
                self.waiting = None;
                self.say(&bytes);
                Progress::Queued
            }
            progress => progress,
        }
    }

    fn held_bytes(&self) -> usize {
        let waiting = self.waiting.as_ref().map_or(0, |(coordinator, _)| coordinator.held_bytes());
        self.transaction.held_bytes() + self.of_shard.capacity() + self.reply.capacity() + waiting
    }

    fn as_any(&mut self) -> Option<&mut dyn Any> {
        Some(self)
    }
}

/// The transaction that is executed for a place.
fn exec_of(connection: &mut Connection, place: u64) -> Option<&mut Exec> {
    connection.coordinator(place)?.0.as_any()?.downcast_mut()
}

impl Core {
    /// Goes on with a transaction: runs its commands in their turns, up to one that waits for others.
    pub(super) fn run_queued(&mut self, connection: &mut Connection, place: u64) {
        let Some(mut exec) = exec_of(connection, place).map(std::mem::take) else { return };
        while exec.next < exec.transaction.len() {
            let command = exec.transaction.row(exec.next);
            let waits_to_publish =
                command.publishes && !self.may_publish() && exec.transaction.denial(exec.next).is_none();
            if waits_to_publish {
                connection.waits_to_publish = Some(place);
                connection.stalled = true;
                self.fanout.wait(connection.ring);
            }
            if waits_to_publish || self.run_next(connection, place, &mut exec, command) {
                if let Some(kept) = exec_of(connection, place) {
                    *kept = exec;
                }
                return;
            }
        }
        self.fill(connection, place, &exec.reply);
    }

    /// Runs the next command of a transaction; returns whether it waits for others.
    fn run_next(
        &mut self,
        connection: &mut Connection,
        place: u64,
        exec: &mut Exec,
        command: &'static Command,
    ) -> bool {
        let index = exec.next;
        exec.next += 1;
        if exec.transaction.is_keyed(index) {
            exec.say_next_of_shard();
            return false;
        }
        let encoded = exec.transaction.command(index).to_vec();
        let mut args = ArgList::new();
        // A subcommand's word is the next argument.
        args.push(command.name().split('|').next().unwrap_or_default().as_bytes());
        request::decode(&encoded, &mut args).expect("it was encoded here");
        // What it has waited for has taken its time.
        let is_of_old_rights = exec.users_version != self.users_version && !is_open(connection);
        let denied_by_now = || {
            if is_of_old_rights { self.why_denied_in_transaction(&connection.session, command, &args) } else { None }
        };
        if let Some(denied) = exec.transaction.denial(index).or_else(denied_by_now) {
            let denial = reason_in_transaction(denied);
            self.stats().by_command[usize::from(command.id)].failed.add(1);
            self.stats().error_replies.count(denial.as_bytes());
            let mut bytes = Vec::new();
            Reply::new(&mut bytes, exec.protocol()).error_display(&denial);
            exec.say(&bytes);
            return false;
        }
        let was_tracking = connection.session.tracking.is_some();
        let outcome = match command.is_of_cluster && self.routing.cluster.is_none() {
            true => Err(CommandError::NO_CLUSTER),
            false => self.run_session(connection, command, &args),
        };
        if !was_tracking && connection.session.tracking.is_some() {
            self.tell_of_queued_behind(connection, &exec.transaction, exec.next);
        }
        exec.mode = Some(connection.session.reply_mode);
        exec.resp3 = connection.session.protocol == Protocol::Resp3;
        let (outcome, mut bytes) = match outcome {
            Ok(outcome) => outcome,
            Err(error) => {
                self.stats().by_command[usize::from(command.id)].failed.add(1);
                let mut bytes = Vec::new();
                Reply::new(&mut bytes, exec.protocol()).error_display(&error);
                exec.say(&bytes);
                return false;
            }
        };
        let first = connection.count_parts(place, 0);
        let coordinator: Box<dyn Coordinator> = match outcome {
            Outcome::Done | Outcome::Watch | Outcome::Unwatch => {
                exec.say(&bytes);
                return false;
            }
            Outcome::GiveMemoryBack => {
                self.order_purge();
                exec.say(&bytes);
                return false;
            }
            Outcome::Close => {
                connection.session.closing = true;
                exec.say(&bytes);
                return false;
            }
            Outcome::Stop => {
                self.server.stop_all();
                return false;
            }
            Outcome::Reset(_) => unreachable!("it is never queued"),
            Outcome::Parts(parts, coordinator) => {
                connection.count_parts(place, parts.len());
                self.send_parts(connection, place, first, command.id, parts);
                coordinator
            }
            Outcome::GiveUp(_) | Outcome::LeaveCluster | Outcome::Meet(_) if !self.server.orders.reserve() => {
                let mut busy = Vec::new();
                Reply::new(&mut busy, exec.protocol()).error_display(KEEPER_IS_BUSY);
                exec.say(&busy);
                return false;
            }
            Outcome::GiveUp(_)
            | Outcome::LeaveCluster
            | Outcome::Change(_)
            | Outcome::ChangeForNode(_)
            | Outcome::Meet(_) => {
                connection.count_parts(place, 1);
                let ticket = self.ticket(connection, place, first as u32);
                self.order_change(ticket, outcome);
                Box::new(Passed)
            }
            Outcome::Sleep(time) => {
                connection.count_parts(place, 1);
                let ticket = self.ticket(connection, place, first as u32);
                self.answer_after(time, ticket);
                Box::new(Passed)
            }
            Outcome::RewriteConfig => {
                connection.count_parts(place, 1);
                let ticket = self.ticket(connection, place, first as u32);
                self.order_rewrite(ticket);
                Box::new(Passed)
            }
            Outcome::UserFile(what) => {
                connection.count_parts(place, 1);
                let ticket = self.ticket(connection, place, first as u32);
                self.order_user_file(connection.session.id, ticket, what);
                Box::new(Passed)
            }
            Outcome::Control(control, merge) => {
                let gather = self.gather_of_cores(merge);
                connection.count_parts(place, self.server.mailboxes.core_count());
                self.ask_cores(connection, place, first, &control);
                gather
            }
            Outcome::WriteOut(shard) => {
                connection.count_parts(place, 1);
                let ticket = self.ticket(connection, place, first as u32);
                self.order_write_out(ticket, shard);
                Box::new(Passed)
            }
            // Nobody waits in a transaction.
            Outcome::AwaitReplicas(call) => match self.counted_shards(connection) {
                Ok(shards) => {
                    connection.count_parts(place, shards.len());
                    let counted = Replicated::new(shards.len(), call.local);
                    let client = client_number(connection.ring);
                    for (part, shard) in (first as u32..).zip(shards) {
                        let ticket = self.ticket(connection, place, part);
                        self.ask_for_replicas(shard, Origin { core: self.id, client, ticket }, 0);
                    }
                    Box::new(counted)
                }
                Err(error) => {
                    self.stats().by_command[usize::from(command.id)].failed.add(1);
                    let mut bytes = Vec::new();
                    Reply::new(&mut bytes, exec.protocol()).error_display(&error);
                    exec.say(&bytes);
                    return false;
                }
            },
            Outcome::Fanout(FanoutOrder::Change(changes)) => {
                match self.announce(connection, place, first, changes, std::mem::take(&mut bytes)) {
                    Ok(announced) => announced,
                    Err(reply) => {
                        exec.say(&reply);
                        return false;
                    }
                }
            }
            Outcome::Fanout(order) => {
                self.answer_fanout(exec.protocol(), order, &mut bytes);
                exec.say(&bytes);
                return false;
            }
        };
        exec.waiting = Some((coordinator, first));
        true
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::commands::table;

    fn exec(lines: &[&str], mode: ReplyMode) -> Exec {
        let mut transaction = Transaction::default();
        for line in lines {
            let args: Vec<&[u8]> = line.split(' ').map(str::as_bytes).collect();
            let command = table::find(&args).expect("a command");
            assert!(transaction.queue(command, &args, 1 << 20).is_ok());
        }
        Exec::new(transaction, 0, Protocol::Resp2, mode, 1000)
    }

    /// The reply to the shard's, if that ends the transaction, and all that it would have said then.
    fn answer(exec: &mut Exec, reply: &str) -> (String, String) {
        let mut out = Vec::new();
        let progress = exec.answered(0, reply.as_bytes(), &mut Reply::new(&mut out, Protocol::Resp2));
        assert_eq!(matches!(progress, Progress::Done), !reply.starts_with("*2"));
        (0..2 * usize::from(reply.starts_with("*2"))).for_each(|_| exec.say_next_of_shard());
        (String::from_utf8(out).unwrap(), String::from_utf8(exec.reply.clone()).unwrap())
    }

    #[test]
    fn what_the_shard_refuses_is_the_reply() {
        for reply in ["*-1\r\n", "_\r\n", "-BUSY try again\r\n"] {
            let (said, _) = answer(&mut exec(&["get a", "ping", "get b"], ReplyMode::On), reply);
            assert_eq!(said, reply);
            let (said, _) = answer(&mut exec(&["get a", "ping", "get b"], ReplyMode::Skip), reply);
            assert_eq!(said, "");
        }
    }

    #[test]
    fn replies_of_the_shard_stand_between_the_others() {
        let reply = "*2\r\n$1\r\n1\r\n*1\r\n:5\r\n";
        let mut on = exec(&["get a", "ping", "lrange b 0 -1"], ReplyMode::On);
        assert_eq!(answer(&mut on, reply), (String::new(), "*3\r\n$1\r\n1\r\n*1\r\n:5\r\n".into()));
        for mode in [ReplyMode::Off, ReplyMode::Skip] {
            let mut off = exec(&["get a", "ping", "lrange b 0 -1"], mode);
            assert_eq!(answer(&mut off, reply), (String::new(), String::new()));
        }
    }

    #[test]
    fn replies_beyond_the_bound_are_dropped_one_by_one() {
        let mut exec = exec(&["ping"], ReplyMode::On);
        exec.say(&[b'x'; 900]);
        exec.say(&[b'x'; 900]);
        exec.say(b"+PONG\r\n");
        let reply = String::from_utf8(exec.reply).unwrap();
        assert_eq!(reply.matches('x').count(), 900 + DROPPED.matches('x').count());
        assert!(reply.contains(DROPPED) && reply.ends_with("+PONG\r\n"));
    }
}
