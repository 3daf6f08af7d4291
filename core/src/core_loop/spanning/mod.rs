//! Commands and transactions over several shards, executed as one. Their coordinator is the core that has the client.
//!
//! ```text
//! hold the keys, shard by shard in ascending order
//!   │ read what is to be known before; a script runs, call by call, and its writes are known behind it; keys that go to another
//!   │ server are sent there
//!   ▼
//! nothing to write? answered      one shard writes? an ordinary entry there
//!   │ several write
//!   ▼
//! prepare every part but the first one's: durable, executed by nobody
//!   ▼
//! decide: the first shard executes its part. From here on the transaction is executed, before it is not
//!   ▼
//! commit: the others execute theirs. Then the client is answered, the keys are let go of, the decision is forgotten
//! ```
//!
//! What a newcomer would get wrong: a coordinator outlives its client's connection, and does not survive its node. Whatever it
//! cannot bring to an end it leaves ([`settle`]): the shard that decides is asked then, and what it has not decided
//! is not executed.

mod coordinator;
mod plan;
mod script;
mod sending;
mod settle;
mod target;
#[cfg(test)]
mod tests;

pub(super) use coordinator::Spanning;
pub(super) use plan::Planned;

use std::collections::VecDeque;

use basalt_net::ring::ConnId;

use self::settle::Settling;
use super::core::Core;
use super::pending::PendingRequest;
use crate::entry::spanning::SpanningOrder;
use crate::ids::{Origin, ShardId, Ticket};
use crate::limits;
use crate::mail::OrderTo;
use crate::shard::work_of;

/// Places of replies from this number on belong to tasks, whose number is the rest. No connection has so many.
const TASK_PLACES: u64 = 1 << 63;

/// The ticket of an order that is not answered.
pub(super) const NO_TICKET: Ticket = Ticket(u32::MAX);

/// Something that asks shards for one thing after the other.
enum Task {
    /// A command or transaction of a client.
    Spanning(Box<Spanning>),
    /// The end of one whose coordinator is gone.
    Settling(Settling),
}

/// The tasks of a core: as many as it has clients at most, and those that settle what is left.
#[derive(Default)]
pub(super) struct Tasks {
    tasks: Vec<Option<Task>>,
    free: Vec<u32>,
    /// Those whose script is to go on, each once.
    ready: VecDeque<u32>,
    /// Those that send keys elsewhere and wait for a thread, in their order.
    migrations: VecDeque<u32>,
    /// Bytes of keys that are being carried between shards.
    carried_bytes: usize,
    /// Bytes of the machines of scripts that wait.
    machine_bytes: usize,
    /// Decisions that nobody asks for any more.
    done: Vec<(ShardId, u128)>,
    /// The last number of a transaction of this core.
    next: u64,
}

impl Tasks {
    fn insert(&mut self, task: Task) -> u32 {
        if let Some(index) = self.free.pop() {
            self.tasks[index as usize] = Some(task);
            return index;
        }
        self.tasks.push(Some(task));
        u32::try_from(self.tasks.len() - 1).expect("clients are fewer")
    }

    fn take(&mut self, index: u32) -> Option<Task> {
        self.tasks.get_mut(index as usize).and_then(Option::take)
    }

    fn put(&mut self, index: u32, task: Task) {
        self.tasks[index as usize] = Some(task);
    }

    fn end(&mut self, index: u32) {
        self.free.push(index);
    }

    /// Returns whether a call of MIGRATE waits for a thread.
    pub(super) fn has_waiting_migrations(&self) -> bool {
        !self.migrations.is_empty()
    }
}

/// Returns whether a reply in this place is a task's.
pub(super) fn is_of_task(place: u64) -> bool {
    place >= TASK_PLACES
}

impl Core {
    /// The connection that has called what a task executes; `number` is that by which shards know the task.
    pub(super) fn connection_of_task(&self, number: u32) -> Option<ConnId> {
        let index = number.checked_sub(limits::SPANNING_CLIENTS)? as usize;
        match self.tasks.tasks.get(index)?.as_ref()? {
            Task::Spanning(spanning) => Some(self.pending.get(spanning.ticket())?.connection),
            Task::Settling(_) => None,
        }
    }

    /// Gives a shard's reply to the task that waits for it.
    pub(super) fn task_answered(&mut self, request: PendingRequest, reply: &[u8]) {
        // As long as it is known whose it is.
        self.take_slow();
        let index = (request.place - TASK_PLACES) as u32;
        match self.tasks.take(index) {
            Some(Task::Spanning(spanning)) => self.advance_spanning(index, spanning, request.part as usize, reply),
            Some(Task::Settling(settling)) => self.advance_settling(index, settling, request.part as usize, reply),
            None => unreachable!("a task is there until all its orders are answered"),
        }
    }

    /// Gives an order of a task to a shard, whose answer is that of its part number `part`.
    fn order(&mut self, task: u32, part: usize, shard: ShardId, order: SpanningOrder) {
        let place = TASK_PLACES + u64::from(task);
        let request = PendingRequest { connection: ConnId::default(), place, part: part as u32, ordered: false };
        let ticket = self.pending.insert(request);
        self.send_order(Origin { core: self.id, client: limits::SPANNING_CLIENTS + task, ticket }, shard, order);
    }

    /// Gives an order to a shard that is not answered.
    fn tell(&mut self, shard: ShardId, order: SpanningOrder) {
        let origin = Origin { core: self.id, client: limits::SPANNING_CLIENTS, ticket: NO_TICKET };
        self.send_order(origin, shard, order);
    }

    fn send_order(&mut self, origin: Origin, shard: ShardId, order: SpanningOrder) {
        match self.routing.router.core_of(shard) {
            Some(core) if self.seat(shard).is_none() && core != self.id => {
                self.outbox.order(core, OrderTo { origin, shard, order });
            }
            _ => {
                self.take_order(OrderTo { origin, shard, order });
            }
        }
    }

    /// Hands an order, of this core or another, to a shard of this one. Returns whether that has run what a script calls.
    pub(super) fn take_order(&mut self, order: OrderTo) -> bool {
        let OrderTo { origin, shard, order } = order;
        let runs_calls = matches!(&order, SpanningOrder::Read(_, bytes) if work_of(bytes) > 0);
        match self.shards.get_mut(shard.index()).and_then(Option::as_mut) {
            Some(local) => local.take_order(origin, order, self.clock.now_ms, &mut self.outbox),
            None if let SpanningOrder::Track(order) = order => self.take_track(*order),
            None if origin.ticket == NO_TICKET => {}
            None => self.refuse_away(shard, origin),
        }
        if runs_calls {
            self.note_script();
        }
        runs_calls
    }
}
