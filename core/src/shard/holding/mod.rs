//! Keys of the shard that transactions over several shards hold, and all that waits for them.
//!
//! A transaction's coordinator asks each shard for its keys, all at once and the shards in ascending order, so that no two of them
//! wait for each other; those that do wait have a queue ([`queue`]). From then on a request that would change a held key, or read
//! one that is held exclusively, is parked ([`clients`]), and what its connection sends behind it too. The coordinator is answered
//! once all that was before in the shard is applied: what it reads then stays so.
//!
//! What a newcomer would get wrong: a hold is memory of this node, a prepared part is not. Who finds a part when the shard is
//! opened holds its keys again, and has it settled: the shard that decides is asked ([`left`]). A shard that fails forgets all
//! holds; so whatever follows from one is taken only while the shard still has it.

mod claims;
mod clients;
mod key_table;
mod left;
mod queue;

use std::collections::{BTreeMap, BTreeSet, HashMap, VecDeque};
use std::time::{Duration, Instant};

use basalt_storage::Store;
use basalt_storage::keyspace::WatchedKey;
use basalt_storage::keyspace::prepared::{self, TransactionId};

use super::cold::Waiting;
use super::{Shard, ShardHost};
use crate::commands::table::{self, STEP_COMMIT, STEP_EXEC, STEP_PREPARE};
use crate::commands::{Args, Command, names_other_keys};
use crate::entry::request::{self, ArgList, Mode};
use crate::entry::spanning::{HeldKeys, SpanningOrder, read_id, step_args};
use crate::entry::transaction::Transaction;
use crate::ids::Origin;
use crate::limits;
use crate::multi_shard::hold_concerned;

use clients::ParkedAt;
use key_table::KeyTable;
pub(super) use key_table::Want;
use left::Leftovers;
use left::{About, Question};
use queue::Queued;

const OK: &[u8] = b"+OK\r\n";
/// The reply to what follows from keys which the shard does not hold any more.
const LOST: &[u8] = b"-BUSY The shard was closed meanwhile, nothing was executed: try again\r\n";
/// The reply to a transaction that has waited for keys for too long, or would.
const HELD: &[u8] =
    b"-BUSY Keys are held by another transaction over several shards, nothing was executed: try again\r\n";
/// The reply to a request that has, or would be one of too many. It may be a part of a command over several shards.
const HELD_HERE: &[u8] =
    b"-BUSY Keys are held by a transaction over several shards, nothing was executed in the shard that has them: try again\r\n";

/// Set in the places of all but those who wait for elements.
const BEHIND_WAITERS: u64 = 1 << 63;

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
    /// Keys that a script has met, which are held beside them.
    more: Vec<HeldKeys>,
    /// Commands of its prepared part, if it has one.
    part_count: usize,
    /// True if the entry with the commit of its part was skipped.
    was_skipped: bool,
    /// True if nobody knows when it lets go: it could not be settled.
    is_stuck: bool,
    /// Nothing whose deadline is later expires while it holds its keys: its writes are executed at a time that is not before this.
    since_ms: u64,
}

impl Held {
    fn new(keys: HeldKeys) -> Held {
        Held { keys, more: Vec::new(), part_count: 0, was_skipped: false, is_stuck: false, since_ms: u64::MAX }
    }

    /// Puts the keys that were met later to the others.
    fn gather(&mut self) {
        if !self.more.is_empty() {
            self.more.drain(..).for_each(|mut more| self.keys.keys.append(&mut more.keys));
            self.keys.settle();
        }
    }
}

/// Keys that are held, and all that waits for them.
#[derive(Default)]
pub(super) struct Holding {
    table: KeyTable,
    held: HashMap<TransactionId, Held>,
    /// Those who hold their keys and are to be told when all that was before is applied; with what they watch.
    granting: VecDeque<Waiter<(TransactionId, Option<u64>)>>,
    /// Transactions that wait for keys, by their places.
    queue: BTreeMap<u64, Queued>,
    /// Places of those of them that may have come to their turn.
    ready: BTreeSet<u64>,
    /// Clients that wait for keys, by their places, which are others than those of transactions.
    parked: BTreeMap<u64, ParkedAt>,
    /// The places of those who wait for elements of a key, by the things that keep some of them from it.
    waiters: HashMap<WatchedKey, HashMap<Want, u64>>,
    /// The place of who is being looked at again, and what it had claimed in it.
    looked_at: Option<(u64, Vec<Want>)>,
    /// The time by now, and that for which somebody waits at most, while those are answered who have.
    gives_up: Option<(Instant, Duration)>,
    /// Requests that were looked at again in this turn of the core.
    looks_in_turn: usize,
    last_place: u64,
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
            let was_skipped = prepared.was_skipped;
            let since_ms = first_moment(&prepared.part);
            holding.held.insert(transaction, Held { part_count, was_skipped, since_ms, ..Held::new(keys) });
        }
        Ok(holding)
    }

    /// Returns whether nobody holds a key.
    pub(super) fn is_empty(&self) -> bool {
        self.table.is_empty()
    }

    /// The time as of which keys may expire, in Unix milliseconds: none of a script over several shards does while that runs.
    pub(super) fn expiry_until_ms(&self) -> u64 {
        self.held.values().map(|held| held.since_ms).min().unwrap_or(u64::MAX)
    }

    /// Returns whether somebody waits to be told something.
    pub(super) fn has_waiting(&self) -> bool {
        !self.granting.is_empty() || !self.queue.is_empty() || !self.questions.is_empty() || !self.parked.is_empty()
    }

    /// Returns whether somebody is parked who may go on.
    pub(super) fn has_ready(&self) -> bool {
        !self.parked.is_empty() && self.table.has_ready()
    }

    /// A place behind all that were given before, and behind those of clients that wait for elements: what these wait for goes to
    /// them before somebody else may take it.
    fn new_place(&mut self) -> u64 {
        self.last_place += 1;
        BEHIND_WAITERS | self.last_place
    }

    /// A place for those who wait for elements.
    fn new_place_of_waiters(&mut self) -> u64 {
        self.last_place += 1;
        self.last_place
    }

    #[cfg(test)]
    pub(super) fn note_look(&self) {
        self.table.looks.set(self.table.looks.get() + 1);
    }

    /// Looks at places, and at batches on their way, to see who is next.
    #[cfg(test)]
    pub(super) fn looks(&self) -> usize {
        self.table.looks.get()
    }

    /// Returns whether something is held of which nobody knows when it is let go of.
    #[cfg(test)]
    pub(super) fn has_stuck(&self) -> bool {
        self.table.has_stuck()
    }

    /// Keys that somebody holds or waits for.
    #[cfg(test)]
    pub(super) fn key_count(&self) -> usize {
        self.table.key_count()
    }

    /// Begins a turn of the core.
    pub(super) fn begin_turn(&mut self) {
        self.looks_in_turn = 0;
    }

    /// Transactions that hold something here.
    pub(super) fn held_count(&self) -> usize {
        self.held.len()
    }

    /// Parts and decisions whose coordinator is gone.
    pub(super) fn left_count(&self) -> usize {
        self.left.len()
    }

    /// The keys whose part of a transaction a commit executes; `None` if nobody knows.
    pub(super) fn keys_of_commit(&self, bytes: &[u8]) -> Option<&HeldKeys> {
        Some(&self.held.get(&transaction_of(bytes)?)?.keys)
    }

    /// Returns whether an encoded step is the commit of a part whose commit was skipped before.
    pub(super) fn was_skipped(&self, bytes: &[u8]) -> bool {
        let is_commit = request::command_id(bytes) == Some(STEP_COMMIT);
        let held = transaction_of(bytes).filter(|_| is_commit).and_then(|transaction| self.held.get(&transaction));
        held.is_some_and(|held| held.was_skipped)
    }

    /// Notes that nobody knows when a transaction lets go.
    fn note_stuck(&mut self, transaction: TransactionId) {
        if let Some(held) = self.held.get_mut(&transaction).filter(|held| !held.is_stuck) {
            held.is_stuck = true;
            held.gather();
            self.table.set_stuck(&held.keys, true);
            // Those who wait for elements keep nobody from it any more, in whatever way he wants it.
            let mut freed = held.keys.clone();
            freed.keys.iter_mut().for_each(|key| key.is_exclusive = true);
            self.table.add_behind(&freed, 0, &mut self.ready);
        }
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

/// The first time at which commands of a part are executed that have one of their own; the end of all times if none has.
fn first_moment(part: &[u8]) -> u64 {
    let commands = Transaction::read(part).into_iter().flat_map(|part| part.commands()).flatten();
    let moments = commands.filter_map(|bytes| request::decode_part(bytes, 0, 0, 0, &mut ArgList::new())?.0.moment);
    moments.map(|moment| moment.time_ms).min().unwrap_or(u64::MAX)
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
            // Nobody knows which keys a script accesses, or a pattern leads to.
            command.is_undoable
                || names_other_keys(command, args)
                || command.keys(args).any(|key| table.bars(db, args[key], false))
        };
        table.is_held_whole() || table::by_id(command).is_none_or(is_barred)
    }

    /// Takes an order of a transaction's coordinator. One that is closed takes no new transactions, and lets those that it has come
    /// to their end.
    pub fn take_order(&mut self, origin: Origin, order: SpanningOrder, now_ms: u64, host: &mut impl ShardHost) {
        if self.has_failed() {
            return match order {
                SpanningOrder::Release(_) | SpanningOrder::Leave(..) | SpanningOrder::Track(_) => {}
                _ => self.refuse_failed(origin, host),
            };
        }
        let holds = |transaction| self.holding.held.contains_key(transaction);
        match order {
            SpanningOrder::Hold(_) if self.is_closed_to_clients => self.refuse_failed(origin, host),
            SpanningOrder::Hold(order) => self.hold(origin, *order, now_ms, host),
            SpanningOrder::Read(Some(ref transaction), _)
            | SpanningOrder::Write(Some(ref transaction), _)
            | SpanningOrder::CheckHeld(ref transaction)
                if !holds(transaction) =>
            {
                host.reply(origin, LOST);
            }
            SpanningOrder::CheckHeld(_) => host.reply(origin, OK),
            SpanningOrder::Read(_, bytes) => self.submit(origin, Mode::Read, &bytes, now_ms, host),
            SpanningOrder::Write(transaction, bytes) => {
                transaction.into_iter().for_each(|transaction| self.end_trial(transaction));
                self.submit(origin, Mode::Write, &bytes, now_ms, host);
            }
            SpanningOrder::AskDecision(transaction) => {
                self.ask(origin, About::Decision(transaction), now_ms, host);
            }
            SpanningOrder::AskPart(transaction) => self.ask(origin, About::Part(transaction), now_ms, host),
            SpanningOrder::Release(transaction) => self.release(transaction, now_ms, host),
            SpanningOrder::Leave(transaction, left) => self.holding.left.add(transaction, left),
            SpanningOrder::Track(order) => self.track(order.reader, &order.keys),
        }
    }

    fn waiter<T>(&self, origin: Origin, what: T) -> Waiter<T> {
        let below = self.batches.next_number + u64::from(self.batches.open.write_count > 0);
        Waiter { origin, what, below, since: Instant::now(), away: self.batches.presence.away() }
    }
}
