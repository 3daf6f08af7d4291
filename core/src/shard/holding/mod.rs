//! Keys of the shard that transactions over several shards hold, and all that waits for them.
//!
//! A transaction's coordinator asks each shard for its keys, all at once and the shards in ascending order, so that no two of them
//! wait for each other. From then on a request that would change a held key, or read one that is held exclusively, waits in the
//! same queue as other transactions do ([`queue`]), and what its connection sends behind it too. The coordinator is answered once
//! all that was before in the shard is applied: what it reads then stays so.
//!
//! What a newcomer would get wrong: a hold is memory of this node, a prepared part is not. Who finds a part when the shard is
//! opened holds its keys again, and has it settled: the shard that decides is asked ([`left`]). A shard that fails forgets all
//! holds; so whatever follows from one is taken only while the shard still has it.

mod key_table;
mod left;
mod queue;

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::time::{Duration, Instant};

use basalt_storage::Store;
use basalt_storage::keyspace::prepared::{self, TransactionId};

use super::cold::{ColdProgress, Parked, ParkedRequest, Turn, Waiting};
use super::{Shard, ShardHost};
use crate::commands::table::{self, STEP_COMMIT, STEP_EXEC, STEP_PREPARE};
use crate::commands::{Args, Command};
use crate::entry::request::{self, Mode};
use crate::entry::spanning::{HeldKeys, SpanningOrder, read_id, step_args};
use crate::entry::transaction::Transaction;
use crate::ids::{CoreId, Origin};
use crate::limits;
use crate::multi_shard::{Concerned, hold_concerned, visit_concerned};

use key_table::KeyTable;
use left::Leftovers;
use left::{About, Question};
use queue::Queued;

const OK: &[u8] = b"+OK\r\n";
/// The reply to what follows from keys which the shard does not hold any more.
const LOST: &[u8] = b"-BUSY The shard was closed meanwhile, nothing was executed: try again\r\n";
/// The reply to who has waited for keys for too long, or behind too many others.
const HELD: &[u8] = b"-BUSY Keys are held by a transaction over several shards, nothing was executed: try again\r\n";

/// Somebody who waits until a batch is applied.
struct Waiter<T> {
    origin: Origin,
    what: T,
    /// Batches below this number are to be applied first.
    below: u64,
    since: Instant,
    away: Duration,
}

/// The keys that a transaction holds.
struct Held {
    keys: HeldKeys,
    /// Commands of its prepared part, if it has one.
    part_count: usize,
}

/// Keys that are held, and all that waits for them.
#[derive(Default)]
pub(super) struct Holding {
    table: KeyTable,
    held: HashMap<TransactionId, Held>,
    /// Those who hold their keys and are to be told when all that was before is applied; with what they watch.
    granting: Vec<Waiter<(TransactionId, Option<u64>)>>,
    /// Those who wait for keys, transactions and clients, by their places.
    queue: BTreeMap<u64, Queued>,
    /// Places of those who may have come to their turn.
    ready: BTreeSet<u64>,
    next_place: u64,
    /// Requests that wait for keys, and those behind them of their connections.
    pub(super) waiting: Waiting,
    questions: Vec<Waiter<Question>>,
    left: Leftovers,
}

impl Holding {
    /// All that the rows of a shard which was just opened have of transactions.
    ///
    /// # Errors
    /// Those of reading the rows.
    pub(super) fn recovered(store: &Store) -> basalt_storage::Result<Holding> {
        let mut holding = Holding { left: Leftovers::recovered(store)?, ..Holding::default() };
        for (transaction, prepared) in prepared::all_prepared(store)? {
            let mut keys = HeldKeys::default();
            hold_concerned(&prepared.part, &mut keys);
            keys.settle();
            holding.table.add(&keys);
            let part_count = Transaction::read(&prepared.part).map_or(0, |part| part.count);
            holding.held.insert(transaction, Held { keys, part_count });
        }
        Ok(holding)
    }

    /// Returns whether nobody holds a key.
    pub(super) fn is_empty(&self) -> bool {
        self.table.is_empty()
    }

    /// Returns whether somebody waits to be told something.
    pub(super) fn has_waiting(&self) -> bool {
        !self.granting.is_empty() || !self.queue.is_empty() || !self.questions.is_empty()
    }

    /// Returns whether a key must not be changed now.
    pub(super) fn bars_writes_to(&self, db: u8, key: &[u8]) -> bool {
        !self.table.is_empty() && self.table.bars(db, key, true)
    }

    /// Transactions that hold something here.
    pub(super) fn held_count(&self) -> usize {
        self.held.len()
    }

    /// Parts and decisions whose coordinator is gone.
    pub(super) fn left_count(&self) -> usize {
        self.left.len()
    }

    fn bars_request(&self, bytes: &[u8]) -> bool {
        let mut is_barred = false;
        visit_concerned(bytes, &mut |concerned, is_write| {
            is_barred |= match concerned {
                Concerned::Key(db, key) => self.table.bars(db, key, is_write),
                Concerned::All if is_write => self.table.bars_whole(true),
                // Over several shards it is of no one moment anyway, and single keys must not hide the others.
                Concerned::All => self.table.is_held_whole(),
                Concerned::Any => self.table.bars_whole(is_write),
            };
        });
        is_barred
    }

    /// The keys whose part of a transaction a commit executes; `None` if nobody knows.
    pub(super) fn keys_of_commit(&self, bytes: &[u8]) -> Option<&HeldKeys> {
        Some(&self.held.get(&transaction_of(bytes)?)?.keys)
    }

    /// Commands that a step executes which is a commit. Of one that brings a part to be prepared, notes how many it has.
    pub(super) fn commands_of_part(&mut self, command: u16, bytes: &[u8]) -> usize {
        let held = transaction_of(bytes).and_then(|transaction| self.held.get_mut(&transaction));
        let Some(held) = held else { return 0 };
        match command {
            STEP_COMMIT => held.part_count,
            STEP_PREPARE => {
                let part = step_args(bytes).and_then(|args| Some(Transaction::read(args.get(2)?)?.count));
                held.part_count = part.unwrap_or(0);
                0
            }
            _ => 0,
        }
    }
}

/// The transaction of an encoded step.
fn transaction_of(bytes: &[u8]) -> Option<TransactionId> {
    read_id(step_args(bytes)?.first()?)
}

/// Returns whether a request is a coordinator's own.
pub(super) fn is_coordinators(client: u32) -> bool {
    client >= limits::SPANNING_CLIENTS
}

/// The watch of an encoded transaction that has one.
fn guard_of(bytes: &[u8]) -> Option<u64> {
    if request::command_id(bytes) != Some(STEP_EXEC) {
        return None;
    }
    Some(Transaction::read(bytes)?.guard?.watch)
}

impl Shard {
    /// Returns whether some key is held, or waited for.
    pub fn holds_keys(&self) -> bool {
        !self.holding.is_empty()
    }

    /// Returns whether a read with these arguments, of database `db`, has to wait for keys that are held.
    pub fn bars_read(&self, command: u16, db: u8, args: Args<'_>) -> bool {
        let table = &self.holding.table;
        if !table.has_exclusive() {
            return false;
        }
        let is_barred = |command: &Command| {
            // Nobody knows which keys a script accesses.
            command.is_undoable || command.keys(args).any(|key| table.bars(db, args[key], false))
        };
        table.is_held_whole() || table::by_id(command).is_none_or(is_barred)
    }

    /// Returns whether a request has to wait for keys that are held.
    pub(super) fn is_barred(&self, origin: Origin, bytes: &[u8]) -> bool {
        if self.holding.is_empty() || is_coordinators(origin.client) || self.has_failed() {
            return false;
        }
        if self.holding.bars_request(bytes) {
            return true;
        }
        // What somebody holds exclusively is about to change.
        self.holding.table.has_exclusive()
            && guard_of(bytes).is_some_and(|watch| {
                let machine = self.machine.borrow();
                let mut watched = machine.store.watched().keys(watch);
                watched.any(|(db, key)| self.holding.table.bars(db, key, false))
            })
    }

    /// Parks a request until keys are held no more, and what its connection sends behind it.
    pub(super) fn park_behind_hold(&mut self, origin: Origin, mode: Mode, bytes: Vec<u8>, host: &mut impl ShardHost) {
        if self.holding.waiting.is_full() {
            self.forget_watch_of(&bytes);
            return self.leave(origin, HELD, host);
        }
        self.parking.waiting.add(bytes.len());
        let request = ParkedRequest { origin, mode, bytes, progress: ColdProgress::new(), turn: None };
        let mut parked = self.take_parked((origin.core, origin.client)).unwrap_or_default();
        parked.requests.push_front(request);
        self.park_again_behind_hold((origin.core, origin.client), parked);
    }

    /// Parks a client whose first request waits for keys; if it has waited before, in its place.
    pub(super) fn park_again_behind_hold(&mut self, client: (CoreId, u32), mut parked: Parked) {
        let fresh = Turn { place: self.holding.next_place, since: Instant::now(), away: self.batches.presence.away() };
        let Some(first) = parked.requests.front_mut() else { return };
        let turn = *first.turn.get_or_insert(fresh);
        self.holding.next_place += u64::from(turn.place == fresh.place);
        let queued = self.queued_client(client, &first.bytes, turn);
        for request in &parked.requests {
            self.parking.waiting.remove(request.bytes.len());
            self.holding.waiting.add(request.bytes.len());
        }
        parked.waits_at = Some(turn.place);
        self.parking.parked.insert(client, parked);
        self.holding.enqueue(turn.place, queued);
    }

    /// Puts a request behind what its connection has parked, or refuses it.
    pub(super) fn park_behind_own(&mut self, request: ParkedRequest, host: &mut impl ShardHost) {
        let client = (request.origin.core, request.origin.client);
        let parked = self.parking.parked.get_mut(&client).expect("the caller has found it");
        let waiting = match parked.waits_at {
            Some(_) if self.holding.waiting.is_full() => {
                self.forget_watch_of(&request.bytes);
                return self.leave(request.origin, HELD, host);
            }
            Some(_) => &mut self.holding.waiting,
            None => &mut self.parking.waiting,
        };
        waiting.add(request.bytes.len());
        parked.requests.push_back(request);
    }

    /// Takes out what a client has parked, wherever it waits.
    pub(super) fn take_parked(&mut self, client: (CoreId, u32)) -> Option<Parked> {
        let mut parked = self.parking.parked.remove(&client)?;
        if let Some(place) = parked.waits_at.take() {
            self.holding.leave_queue(place);
            // No thread works for it.
            parked.fetches_for = 0;
            for request in &parked.requests {
                self.holding.waiting.remove(request.bytes.len());
                self.parking.waiting.add(request.bytes.len());
            }
        }
        Some(parked)
    }

    /// Takes an order of a transaction's coordinator. One that is closed takes no new transactions, and lets those that it has come
    /// to their end.
    pub fn take_order(&mut self, origin: Origin, order: SpanningOrder, now_ms: u64, host: &mut impl ShardHost) {
        if self.has_failed() {
            return match order {
                SpanningOrder::Release(_) | SpanningOrder::Leave(..) => {}
                _ => self.refuse_failed(origin, host),
            };
        }
        let holds = |transaction| self.holding.held.contains_key(transaction);
        match order {
            SpanningOrder::Hold(_) if self.is_closed_to_clients => self.refuse_failed(origin, host),
            SpanningOrder::Hold(order) => self.hold(origin, *order, now_ms, host),
            SpanningOrder::Read(ref transaction, _)
            | SpanningOrder::Write(Some(ref transaction), _)
            | SpanningOrder::CheckHeld(ref transaction)
                if !holds(transaction) =>
            {
                host.reply(origin, LOST);
            }
            SpanningOrder::CheckHeld(_) => host.reply(origin, OK),
            SpanningOrder::Read(_, bytes) => self.submit(origin, Mode::Read, &bytes, now_ms, host),
            SpanningOrder::Write(_, bytes) => self.submit(origin, Mode::Write, &bytes, now_ms, host),
            SpanningOrder::AskDecision(transaction) => {
                self.ask(origin, About::Decision(transaction), now_ms, host);
            }
            SpanningOrder::AskPart(transaction) => self.ask(origin, About::Part(transaction), now_ms, host),
            SpanningOrder::Release(transaction) => self.release(transaction, now_ms, host),
            SpanningOrder::Leave(transaction, left) => self.holding.left.add(transaction, left),
        }
    }

    fn waiter<T>(&self, origin: Origin, what: T) -> Waiter<T> {
        let below = self.batches.next_number + u64::from(self.batches.open.write_count > 0);
        Waiter { origin, what, below, since: Instant::now(), away: self.batches.presence.away() }
    }
}
