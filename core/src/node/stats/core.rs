//! The counters of one core.

use std::sync::Arc;
use std::time::Duration;

use super::{Counter, ErrorCounts, Figure, NamedFigures, RunTime, SlowWatch};
use crate::commands::facts::Flags;
use crate::commands::{Args, Command, table};
use crate::node::{Clock, LatencyEvent, LatencyMonitor, SlowLog};

/// Calls of one command on one core.
#[derive(Debug, Default)]
pub struct CommandStats {
    /// Times it was called by connections of this core.
    pub calls: Counter,
    /// Times it was refused before it ran (a wrong number of arguments).
    pub rejected: Counter,
    /// Times it ran and its reply was an error.
    pub failed: Counter,
    /// Time that it ran on this core, for connections of any.
    pub time: RunTime,
    /// True if its calls are known to be short, but for those with very long arguments and values.
    pub is_short: bool,
}

impl CommandStats {
    fn of(command: Option<&Command>) -> CommandStats {
        // SET is the one that is called most of those that Redis does not call fast.
        let is_short = |command: &Command| command.facts.flags.contains(Flags::FAST) || command.name() == "set";
        CommandStats { is_short: command.is_some_and(is_short), ..CommandStats::default() }
    }
}

/// One core's counters.
#[derive(Debug)]
#[repr(align(128))]
pub struct CoreStats {
    /// Commands taken from clients.
    pub commands: Counter,
    /// Connections taken.
    pub connections: Counter,
    /// Connections refused because of `maxclients`.
    pub rejected_connections: Counter,
    /// Commands and transactions over several shards that were begun.
    pub spanning_transactions: Counter,
    /// Connections there are.
    pub clients: Figure,
    /// Bytes received.
    pub bytes_in: Counter,
    /// Bytes sent.
    pub bytes_out: Counter,
    /// Receives that brought bytes.
    pub receives: Counter,
    /// Sends submitted.
    pub sends: Counter,
    /// Requests sent to other cores.
    pub forwarded: Counter,
    /// Commands passed on to other nodes.
    pub relayed: Counter,
    /// Those of them that were sent once more, or wait to be: they were certainly not executed, or only read.
    pub relayed_again: Counter,
    /// Those of them of which nobody knows if they were executed.
    pub relayed_uncertain: Counter,
    /// Turns of the core loop.
    pub turns: Counter,
    /// `io_uring_enter` calls.
    pub enters: Counter,
    /// Times the core slept.
    pub parks: Counter,
    /// Stalls: turns that held the core longer than the budget.
    pub stalls: Counter,
    /// The longest turn, in microseconds.
    pub stall_us_max: Figure,
    /// With `timer-probe`: how late a timer of 1 ms was at worst, in microseconds.
    pub timer_late_us_max: Figure,
    /// Connections closed because their output grew over the limit.
    pub output_limit_closed: Counter,
    /// Connections closed because all clients together held too much.
    pub evicted_clients: Counter,
    /// Channels that clients of any core subscribe to, as this core knows.
    pub channels: Figure,
    /// Patterns that they do.
    pub patterns: Figure,
    /// Prefixes of keys whose changes clients want to hear of, as this core knows.
    pub tracked_prefixes: Figure,
    /// Clients of the node that are told of all commands, as this core knows them.
    pub monitors: Figure,
    /// Shard channels that they do.
    pub shard_channels: Figure,
    /// Bytes that the largest client that may be evicted holds, while all clients together hold too much.
    pub largest_client_bytes: Figure,
    /// Bytes queued for clients.
    pub output_bytes: Figure,
    /// Memory for bytes received and not decoded yet.
    pub input_bytes: Figure,
    /// The most of that which one client has, as of the last tick.
    pub largest_input_bytes: Figure,
    /// The most bytes that are queued for one client, as of the last tick.
    pub largest_output_bytes: Figure,
    /// Bytes of replies that wait for others of their connections, and of what is gathered for them; of commands that are queued
    /// after MULTI, and of what clients watch and subscribe to.
    pub held_bytes: Figure,
    /// Connections that watch keys.
    pub watching_clients: Figure,
    /// The keys that each of them watches, all together.
    pub watched_keys: Figure,
    /// Bytes of requests that wait in the core for other cores, or to be run for them.
    pub outbox_requests_bytes: Figure,
    /// Bytes of replies that wait in the core to be delivered here or elsewhere.
    pub outbox_replies_bytes: Figure,
    /// Times that a client of this core has ceased to wait for keys, of those that were counted when it began.
    pub waits_ended: Figure,
    /// Clients that wait until replicas have what they have written.
    pub replica_waits: Figure,
    /// Clients that wait, and no longer than for some time.
    pub waits_with_deadline: Figure,
    /// Error replies sent to clients, by code.
    pub error_replies: ErrorCounts,
    /// Commands taken per second lately.
    pub commands_per_s: Figure,
    /// Bytes received per second lately.
    pub bytes_in_per_s: Figure,
    /// Bytes sent per second lately.
    pub bytes_out_per_s: Figure,
    /// The doings of its links with other nodes, if it has such.
    pub peers: NamedFigures,
    /// The core's thread as the kernel numbers it; 0 until it has said.
    pub thread_id: Figure,
    /// Per command, by its id in the table.
    pub by_command: Box<[CommandStats]>,
    /// Finds those that take long.
    pub slow: SlowWatch,
    slow_log: Arc<SlowLog>,
    latency: Arc<LatencyMonitor>,
}

impl CoreStats {
    /// Counters for a table of `command_count` commands, of which `slow_log` and `latency` keep those that take long.
    pub fn new(command_count: usize, slow_log: &Arc<SlowLog>, latency: &Arc<LatencyMonitor>) -> CoreStats {
        CoreStats {
            commands: Counter::default(),
            connections: Counter::default(),
            rejected_connections: Counter::default(),
            spanning_transactions: Counter::default(),
            clients: Figure::default(),
            bytes_in: Counter::default(),
            bytes_out: Counter::default(),
            receives: Counter::default(),
            sends: Counter::default(),
            forwarded: Counter::default(),
            relayed: Counter::default(),
            relayed_again: Counter::default(),
            relayed_uncertain: Counter::default(),
            turns: Counter::default(),
            enters: Counter::default(),
            parks: Counter::default(),
            stalls: Counter::default(),
            stall_us_max: Figure::default(),
            timer_late_us_max: Figure::default(),
            output_limit_closed: Counter::default(),
            evicted_clients: Counter::default(),
            channels: Figure::default(),
            patterns: Figure::default(),
            tracked_prefixes: Figure::default(),
            monitors: Figure::default(),
            shard_channels: Figure::default(),
            largest_client_bytes: Figure::default(),
            output_bytes: Figure::default(),
            input_bytes: Figure::default(),
            largest_input_bytes: Figure::default(),
            largest_output_bytes: Figure::default(),
            held_bytes: Figure::default(),
            watching_clients: Figure::default(),
            watched_keys: Figure::default(),
            outbox_requests_bytes: Figure::default(),
            outbox_replies_bytes: Figure::default(),
            waits_ended: Figure::default(),
            replica_waits: Figure::default(),
            waits_with_deadline: Figure::default(),
            error_replies: ErrorCounts::default(),
            commands_per_s: Figure::default(),
            bytes_in_per_s: Figure::default(),
            bytes_out_per_s: Figure::default(),
            peers: NamedFigures::default(),
            thread_id: Figure::default(),
            by_command: (0..command_count).map(|id| CommandStats::of(table::by_id(id as u16))).collect(),
            slow: SlowWatch::default(),
            slow_log: slow_log.clone(),
            latency: latency.clone(),
        }
    }
}

impl CoreStats {
    /// Bytes of this core's clients, received or to be sent.
    pub fn client_bytes(&self) -> u64 {
        self.input_bytes.get() + self.output_bytes.get() + self.held_bytes.get()
    }

    /// Notes a call of `command` that took `ns` nanoseconds, for the client that the core serves, if that is not to be left out.
    #[cold]
    pub fn note_slow(&self, ns: u64, command: &Command, args: Args<'_>) {
        let is_fast = command.facts.flags.contains(Flags::FAST);
        let event = if is_fast { LatencyEvent::FastCommand } else { LatencyEvent::Command };
        self.latency.note(event, Duration::from_nanos(ns));
        if let Some(client) = self.slow.client()
            && self.slow_log.takes(ns)
            && !command.facts.flags.contains(Flags::SKIP_SLOWLOG)
        {
            let at_s = Clock::default().unix_ms() / 1000;
            self.slow_log.arrive(client, (at_s, ns / 1000), command, args);
        }
    }

    /// Counts a reply on its way to a client if it is an error.
    #[inline]
    pub fn note_reply(&self, reply: &[u8]) {
        if reply.first() == Some(&b'-') {
            self.error_replies.count(reply);
        }
    }

    /// Begins every count anew (`CONFIG RESETSTAT`); states stay. Any core may call this.
    pub fn reset(&self) {
        let counters = [
            &self.commands,
            &self.connections,
            &self.rejected_connections,
            &self.spanning_transactions,
            &self.bytes_in,
            &self.bytes_out,
            &self.receives,
            &self.sends,
            &self.forwarded,
            &self.turns,
            &self.enters,
            &self.parks,
            &self.stalls,
            &self.output_limit_closed,
            &self.evicted_clients,
        ];
        counters.into_iter().for_each(Counter::reset);
        self.stall_us_max.set(0);
        self.timer_late_us_max.set(0);
        self.error_replies.reset();
        for command in &self.by_command {
            command.calls.reset();
            command.rejected.reset();
            command.failed.reset();
            command.time.reset();
        }
    }
}
