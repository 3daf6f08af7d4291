//! Clients that wait in a shard for elements, and what is taken for them.
//!
//! Only the replica that leads knows of them. A key that somebody waits for is watched (`storage`'s `Scratch::watch`): when
//! applying an entry has written it, whatever command that was, calls for those who wait stand in front of what has been
//! collected since, and what they find is answered. A push that is seen to come has such calls right behind it in its own entry:
//! most who wait are served by one sync. A call that finds nothing has its waiter wait on at its old place.
//!
//! Who waits with XREAD takes nothing: its calls are reads, in no log (`entries.rs`).
//!
//! What a newcomer would get wrong: a call is only a guess that there is something. What its execution finds is what counts, on
//! this replica and on all others.

mod entries;
mod moves;
mod waiters;

use std::cell::RefCell;
use std::ops::Range;

use basalt_storage::Error as StorageError;
use basalt_storage::keyspace::{Type, WatchedKey};

use self::waiters::{Left, Stage, Waiter, Waiters};
use super::holding::{Holding, Want};
use super::open_batch::Operation;
use super::{Shard, ShardHost};
use crate::commands::{Fed, Feeds, Outlook, TOO_MUCH_TO_READ, is_nothing, table};
use crate::entry::batch;
use crate::entry::request::{self, ArgList};
use crate::entry::waiting::{Claimed, Pop, WaitOrder, Wanted};
use crate::ids::Origin;
use crate::limits;

/// The types of keys for whose elements somebody may wait.
const KINDS: [Type; 2] = [Type::List, Type::SortedSet];

/// The reply to clients that wait where nobody may wait any more, in Redis' words.
pub(super) const UNBLOCKED: &[u8] =
    b"-UNBLOCKED force unblock from blocking operation, instance state changed (master -> replica?)\r\n";

/// The reply to a client that would wait where too many do.
const TOO_MANY: &[u8] = b"-ERR too many clients wait for keys of this shard, or for too many keys: try again later\r\n";

/// The reply of a shard in which its client waits no more.
pub(crate) const LEFT: &[u8] = b"";

/// Said, in the place of a reply, to the core of a client for which it moves elements: there are some. The client waits on until
/// its core says what has come of it.
pub(crate) const FOUND: &[u8] = b"\0found";

/// The same of a key that is no list: what the move says is the reply, as if its client did not wait.
pub(crate) const NO_LIST: &[u8] = b"\0no list";

/// Waiters, and what is to be looked at for them.
#[derive(Debug, Default)]
pub(super) struct Waiting {
    waiters: Waiters,
    /// Keys to be looked at with the next tick: somebody could not be served for a reason that passes.
    later: Vec<WatchedKey>,
}

impl Waiting {
    /// Returns whether nobody waits.
    pub(super) fn is_empty(&self) -> bool {
        self.waiters.is_empty()
    }

    /// Bytes of memory that those who wait hold, about.
    pub(super) fn bytes(&self) -> usize {
        self.waiters.bytes()
    }

    /// The number of those who wait.
    pub(super) fn len(&self) -> usize {
        self.waiters.len()
    }
}

/// The elements that a key has.
enum Elements {
    /// Nothing that could be taken one by one, or something of another type.
    None(Option<Type>),
    /// As many of one type.
    Some(Type, u64),
    /// Nobody knows without the disk.
    Unknown,
}

/// The thing that keeps what is taken for a waiter from where it goes, if it goes to another key and that is held.
fn why_not_moved(holding: &Holding, pop: &Pop) -> Option<Want> {
    let destination = pop.after.first().filter(|_| pop.has_destination)?;
    holding.why_writes_barred(pop.db, destination)
}

impl Shard {
    /// Takes a client's wish for elements of keys. If one of them has some, its command joins the batch as any other; else the
    /// client waits. Either way there is one reply: what was taken, an error, or nothing at all (no bytes) if the client has
    /// stopped waiting. What there is it gets also if its time is over by now, as if it did not wait.
    pub fn wait(&mut self, origin: Origin, order: WaitOrder, now_ms: u64, host: &mut impl ShardHost) {
        if order.claim.gets_nothing() {
            return host.reply(origin, LEFT);
        }
        if self.has_failed() {
            return self.refuse_failed(origin, host);
        }
        if let Some(refusal) = self.why_not_lead() {
            let mut bytes = Vec::new();
            order.encode(&mut bytes);
            let redirect = self.redirects().and_then(|redirects| redirects.reply(&bytes));
            return host.reply(origin, redirect.unwrap_or_else(|| format!("-{refusal}\r\n")).as_bytes());
        }
        if self.waiting.bytes() >= limits::WAITER_BYTES_MAX {
            return host.reply(origin, TOO_MANY);
        }
        // Who came before has the first choice.
        self.serve_ready(now_ms, host);
        // What is held is looked at again when it is held no more.
        let is_held = order.keys.iter().any(|key| self.holding.why_writes_barred(order.pop.db, key).is_some())
            || why_not_moved(&self.holding, &order.pop).is_some();
        let may_have_some = !is_held && self.may_have_some(&order, now_ms);
        match order.wanted {
            Wanted::EntriesAfter(_) => self.wait_to_read(origin, order, (may_have_some, is_held), now_ms, host),
            Wanted::ElementsToMove => self.wait_to_move(origin, order, (may_have_some, is_held), now_ms, host),
            Wanted::Elements | Wanted::EntriesFor(_) => {
                self.wait_to_take(origin, order, (may_have_some, is_held), now_ms, host);
            }
        }
        if let Some(waiter) = self.waiting.waiters.get_mut(origin) {
            waiter.is_new = false;
        }
        // The word that its time is over may have come before it.
        self.end_wait(origin, host);
    }

    /// Has a client wait whose command is in the log once there is something for it.
    fn wait_to_take(
        &mut self,
        origin: Origin,
        order: WaitOrder,
        (may_have_some, is_held): (bool, bool),
        now_ms: u64,
        host: &mut impl ShardHost,
    ) {
        let claim = order.claim.clone();
        let mut bytes = Vec::new();
        if may_have_some {
            order.encode(&mut bytes);
        }
        self.add_waiter(origin, order);
        if !may_have_some {
            self.note_waiting(origin);
            if is_held {
                self.wait_for_holders(origin);
            }
            return;
        }
        match claim.take_at_first_look() {
            Claimed::Yes => {
                self.waiting.waiters.get_mut(origin).expect("it was added above").stage = Stage::Trying;
                self.take_write(origin, |out| out.extend_from_slice(&bytes), now_ms, host);
            }
            Claimed::Elsewhere => {
                self.note_waiting(origin);
                self.look_later(origin);
            }
            Claimed::Ended => self.leave(origin, LEFT, host),
        }
    }

    /// Puts a client into the queues of its keys, whose writes are noted from now on.
    fn add_waiter(&mut self, origin: Origin, order: WaitOrder) {
        for (db, key) in self.waiting.waiters.add(origin, order) {
            self.machine.borrow_mut().scratch.watch(db, &key);
        }
    }

    /// Has a client wait no more whose claim has ended. If something is being taken for it, it leaves with what comes of that.
    pub fn end_wait(&mut self, origin: Origin, host: &mut impl ShardHost) {
        // Not if it is another's by now, of whose predecessor this is said. One whose time is over, and whose core was told that
        // there is something to move, leaves when that says what has come of it.
        let may_leave = |waiter: &Waiter| match waiter.stage {
            Stage::Waiting => waiter.claim.has_ended(),
            Stage::Trying | Stage::Taking => waiter.moves() && waiter.claim.gets_nothing(),
        };
        if self.waiting.waiters.get(origin).is_some_and(may_leave) {
            self.leave(origin, LEFT, host);
        }
    }

    /// Answers those who wait if nobody may wait here any more: another leads, or this one has heard of no majority for the longest
    /// time without which none is elected, so that another may. To be called in each turn.
    pub fn end_waits_if_lost(&mut self, host: &mut impl ShardHost) {
        if self.waiting.is_empty() || (self.why_not_lead().is_none() && !self.takes_nothing()) {
            return;
        }
        for origin in self.waiting.waiters.idle() {
            self.leave(origin, UNBLOCKED, host);
        }
    }

    /// Returns whether keys are to be looked at with the next tick for those who wait.
    pub fn looks_later(&self) -> bool {
        !self.waiting.later.is_empty()
    }

    /// Looks at the keys for which somebody could not be served before.
    pub(super) fn look_again(&mut self, now_ms: u64, host: &mut impl ShardHost) {
        let later = std::mem::take(&mut self.waiting.later);
        self.note_written(&later);
        self.serve_ready(now_ms, host);
    }

    /// Puts calls for those who wait for keys that were written in front of what has been collected; who only reads does so at
    /// once.
    pub(super) fn serve_ready(&mut self, now_ms: u64, host: &mut impl ShardHost) {
        if self.waiting.is_empty() || !self.machine.borrow().scratch.has_written() || !self.group.is_leader() {
            return;
        }
        let written = self.machine.borrow_mut().scratch.take_written();
        let (mut bytes, mut operations) = (Vec::new(), Vec::new());
        for key in written {
            if let Some(want) = self.holding.why_writes_barred(key.0, &key.1) {
                self.park_waiters(&key, want);
                continue;
            }
            if self.batches.open.operations.len() + operations.len() >= limits::BATCH_OPERATIONS_MAX {
                self.waiting.later.push(key);
                continue;
            }
            let called = self.serve_entries(&key, now_ms, host);
            let elements = self.elements(&key, now_ms);
            let (holding, waiters, most) = (&self.holding, &mut self.waiting.waiters, limits::WAITERS_CALLED_UNSEEN);
            let held = RefCell::new(Vec::new());
            let may = |pop: &Pop| {
                let want = why_not_moved(holding, pop);
                held.borrow_mut().extend(want.iter().cloned());
                want.is_none()
            };
            let is_other = |wanted: Type| match elements {
                Elements::Some(kind, _) | Elements::None(Some(kind)) => kind != wanted,
                Elements::None(None) => false,
                // Its own command finds out.
                Elements::Unknown => true,
            };
            let chosen = match elements {
                Elements::None(_) => Vec::new(),
                Elements::Some(kind, count) => vec![waiters.choose(&key, kind, count, may)],
                Elements::Unknown => KINDS.map(|kind| waiters.choose(&key, kind, 1, may)).into(),
            };
            // Behind those who have waited longer.
            let untried = waiters.take_untried(&key, is_other, most, may);
            held.into_inner().into_iter().for_each(|want| self.park_waiters(&key, want));
            if chosen.iter().chain([&untried]).any(|chosen| chosen.is_for_later) {
                self.waiting.later.push(key.clone());
            }
            for origin in called.into_iter().chain(chosen.into_iter().flat_map(|chosen| chosen.origins)) {
                let waiter = self.waiting.waiters.get(origin).expect("it was chosen among those who wait");
                if waiter.moves() {
                    host.reply(origin, FOUND);
                    continue;
                }
                let at = batch::push(&mut bytes, |out| waiter.encode_call(out, &key.1));
                self.expect_changes(&bytes[at]);
                self.batches.open.expected_bytes += self.batches.replies.next_bytes();
                operations.push(Operation { origin: Some(origin), read: None, returns_values: true });
            }
            for origin in untried.origins {
                let waiter = self.waiting.waiters.get(origin).expect("it was found among those who wait");
                if waiter.moves() {
                    host.reply(origin, NO_LIST);
                    continue;
                }
                let at = batch::push(&mut bytes, |out| waiter.encode_try(out, &key.1));
                self.expect_changes(&bytes[at]);
                self.batches.open.expected_bytes += self.batches.replies.next_bytes();
                operations.push(Operation { origin: Some(origin), read: None, returns_values: true });
            }
        }
        self.batches.open.write_count += operations.len();
        if self.batches.open.has_guarded {
            // Nothing may come in front of a transaction which has been told that its keys are as they were.
            self.batches.open.operations.extend(operations);
            self.batches.open.bytes.extend_from_slice(&bytes);
            return;
        }
        self.batches.open.operations.splice(0..0, operations);
        let front = batch::BATCH_HEADER_BYTES;
        self.batches.open.bytes.splice(front..front, bytes);
    }

    /// Puts calls for those who wait behind a write that is about to give elements to their key; `at` is where its bytes are, which
    /// joined the batch last.
    pub(super) fn serve_fed(&mut self, at: Range<usize>) {
        let mut joined = vec![at];
        // What is taken for one may be moved to another's key.
        while let Some(at) = joined.pop() {
            let Some((key, fed)) = self.fed_key(&self.batches.open.bytes[at]) else { continue };
            if fed.kind == Some(Type::Stream) {
                self.serve_entry(&key);
                continue;
            }
            let count = fed.count.unwrap_or(limits::WAITERS_CALLED_UNSEEN) as u64;
            let kinds = fed.kind.as_ref().map_or(&KINDS[..], std::slice::from_ref);
            let (holding, waiters) = (&self.holding, &mut self.waiting.waiters);
            // What may not be moved now is looked at when the write is applied.
            let may = |pop: &Pop| why_not_moved(holding, pop).is_none();
            let chosen: Vec<Origin> =
                kinds.iter().flat_map(|kind| waiters.choose_unseen(&key, *kind, count, may).origins).collect();
            for origin in chosen {
                let waiter = self.waiting.waiters.get(origin).expect("it was chosen among those who wait");
                let encode = |out: &mut Vec<u8>| waiter.encode_call(out, &key.1);
                let at = batch::push(&mut self.batches.open.bytes, encode);
                self.joined_call(origin, at.clone());
                joined.push(at);
            }
        }
    }

    /// Counts a call for a waiter whose bytes were added to the batch.
    fn joined_call(&mut self, origin: Origin, at: Range<usize>) {
        self.expect_changes(&self.batches.open.bytes[at]);
        let expected_bytes = self.batches.replies.next_bytes();
        self.joined(Some(origin), Some(expected_bytes));
    }

    /// The watched key to which an encoded write is about to give elements, and what is known of those.
    fn fed_key(&self, bytes: &[u8]) -> Option<(WatchedKey, Fed)> {
        let (id, _) = request::peek(bytes)?;
        let command = table::by_id(id).filter(|command| command.feeds != Feeds::Untold)?;
        let mut args = ArgList::new();
        args.push(b"");
        let header = request::decode(bytes, &mut args)?;
        let fed = command.fed(&args)?;
        let key = *args.get(fed.key)?;
        let is_watched = self.machine.borrow().scratch.watches(header.db, key);
        is_watched.then(|| ((header.db, key.into()), fed))
    }

    /// Takes what a call for a waiter has found. False if `origin` does not wait.
    pub(super) fn take_found(&mut self, origin: Origin, reply: &[u8], host: &mut impl ShardHost) -> bool {
        let Some(waiter) = self.waiting.waiters.get(origin) else { return false };
        // Its key has come to hold something else: nobody waits for that.
        let is_for_waiting = waiter.stage == Stage::Taking && !waiter.pop.has_destination;
        let is_wrong_type = is_for_waiting && reply.starts_with(b"-WRONGTYPE ");
        let has_destination = waiter.pop.has_destination;
        // A read is made again when there is room for what it finds.
        let finds_no_room = waiter.only_reads() && reply[1.min(reply.len())..].starts_with(TOO_MUCH_TO_READ.as_bytes());
        if is_nothing(reply) || is_wrong_type || finds_no_room {
            self.wait_on(origin, host);
            if finds_no_room {
                self.look_later(origin);
            }
        } else {
            self.leave_others_the_rest(origin, reply);
            // What could not be moved is still there, for who waits behind.
            let is_left = has_destination && reply.starts_with(b"-");
            let keys = if is_left { self.keys_of(origin) } else { Vec::new() };
            self.leave(origin, reply, host);
            self.note_written(&keys);
        }
        true
    }

    /// The keys of a waiter.
    fn keys_of(&self, origin: Origin) -> Vec<WatchedKey> {
        let waiter = self.waiting.waiters.get(origin);
        waiter.map_or_else(Vec::new, |of| of.keys.iter().map(|key| (of.pop.db, key.clone())).collect())
    }

    /// Answers an origin; one that waits goes on if the reply is that there is nothing.
    pub(super) fn answer(&mut self, origin: Origin, reply: &[u8], host: &mut impl ShardHost) {
        if self.waiting.is_empty() || !self.take_found(origin, reply, host) {
            host.reply(origin, reply);
        }
    }

    /// Takes the news that a call for a waiter is certainly in no log. False if `origin` does not wait.
    pub(super) fn take_refused(&mut self, origin: Origin, refusal: &[u8], host: &mut impl ShardHost) -> bool {
        let Some(waiter) = self.waiting.waiters.get(origin) else { return false };
        if waiter.stage == Stage::Trying {
            self.leave(origin, refusal, host);
        } else if self.takes_nothing() || self.why_not_lead().is_some() {
            self.leave(origin, UNBLOCKED, host);
        } else {
            self.wait_on(origin, host);
            self.look_later(origin);
        }
        true
    }

    /// Has a waiter leave whose command is waiting for rows, if its client is to get nothing. False if the command is to go on.
    pub(super) fn leaves_untried(&mut self, origin: Origin, host: &mut impl ShardHost) -> bool {
        let has_ended = self.waiting.waiters.get(origin).is_some_and(|waiter| waiter.claim.gets_nothing());
        if has_ended {
            self.leave(origin, LEFT, host);
        }
        has_ended
    }

    /// Answers an origin, which waits no more if it has.
    pub(super) fn leave(&mut self, origin: Origin, reply: &[u8], host: &mut impl ShardHost) {
        self.forget_waiter(origin);
        host.reply(origin, reply);
    }

    /// Has a waiter leave, if `origin` is one: it is answered by the caller.
    pub(super) fn forget_waiter(&mut self, origin: Origin) {
        if self.waiting.is_empty() {
            return;
        }
        let Some(Left { unwatched, missed }) = self.waiting.waiters.remove(origin) else { return };
        for key in &unwatched {
            self.machine.borrow_mut().scratch.unwatch(key.0, &key.1);
            self.holding.forget_waiters(key);
        }
        self.note_written(&missed);
    }

    /// Has a waiter wait on for whom nothing was found.
    fn wait_on(&mut self, origin: Origin, host: &mut impl ShardHost) {
        match self.waiting.waiters.wait_on(origin) {
            Some(missed) => {
                self.note_waiting(origin);
                self.note_written(&missed);
            }
            None => self.leave(origin, LEFT, host),
        }
    }

    /// Tells a waiter's claim that it waits here, if that was not told before.
    fn note_waiting(&mut self, origin: Origin) {
        let Some(waiter) = self.waiting.waiters.get_mut(origin) else { return };
        if !std::mem::replace(&mut waiter.is_noted, true) && waiter.claim.note_waiting() {
            let begun = &self.server.shards[self.id.index()].waits_begun;
            begun.set(begun.get() + 1);
        }
    }

    /// Gives the keys of a waiter that are held a place among those who wait for their holders, as if somebody had written to them.
    /// The others are looked at with the next tick.
    fn wait_for_holders(&mut self, origin: Origin) {
        self.waiting.waiters.note_untried(origin);
        let Some(waiter) = self.waiting.waiters.get(origin) else { return };
        let keys: Vec<WatchedKey> = waiter.keys.iter().map(|key| (waiter.pop.db, key.clone())).collect();
        let of_destination = why_not_moved(&self.holding, &waiter.pop);
        for key in keys {
            match self.holding.why_writes_barred(key.0, &key.1).or_else(|| of_destination.clone()) {
                Some(want) => self.park_waiters(&key, want),
                None => self.waiting.later.push(key),
            }
        }
    }

    /// Looks at a key for which somebody waits whose holder has let go.
    pub(super) fn serve_held(&mut self, key: WatchedKey, now_ms: u64, host: &mut impl ShardHost) {
        self.note_written(&[key]);
        self.serve_ready(now_ms, host);
    }

    /// Has all keys of a waiter looked at with the next tick.
    fn look_later(&mut self, origin: Origin) {
        if let Some(waiter) = self.waiting.waiters.get(origin) {
            self.waiting.later.extend(waiter.keys.iter().map(|key| (waiter.pop.db, key.clone())));
        }
    }

    /// Has keys looked at as if they had been written.
    fn note_written(&self, keys: &[WatchedKey]) {
        if !keys.is_empty() {
            let mut machine = self.machine.borrow_mut();
            keys.iter().for_each(|(db, key)| machine.scratch.note_written(*db, key));
        }
    }

    /// Returns whether one of the keys that a client wants something of may have it, as far as it is known without the disk.
    fn may_have_some(&self, order: &WaitOrder, now_ms: u64) -> bool {
        self.machine.borrow_mut().reading(now_ms, |execution| {
            let keyspace = execution.keyspace(order.pop.db);
            order.keys.iter().enumerate().any(|(index, key)| match &order.wanted {
                Wanted::Elements | Wanted::ElementsToMove => {
                    keyspace.lookup(key).map_or(true, |lookup| lookup.record.is_some())
                }
                wanted => entries::outlook(&keyspace, key, wanted, index) != Outlook::Nothing,
            })
        })
    }

    /// The elements that a key has.
    fn elements(&self, (db, key): &WatchedKey, now_ms: u64) -> Elements {
        let mut machine = self.machine.borrow_mut();
        let before = machine.scratch.mark();
        let elements = machine.reading(now_ms, |execution| {
            let keyspace = execution.keyspace(*db);
            let kind = match keyspace.lookup(key) {
                Ok(lookup) => lookup.record.map(|record| record.kind()),
                Err(StorageError::Cold(_)) => return Elements::Unknown,
                // Whoever takes something meets the error, and says it.
                Err(_) => return Elements::None(None),
            };
            let count = match kind {
                Some(Type::List) => keyspace.list(key).map(|list| list.map_or(0, |list| list.len())),
                Some(Type::SortedSet) => keyspace.sorted_set(key).map(|set| set.map_or(0, |set| set.len())),
                _ => Ok(0),
            };
            match (kind, count) {
                (Some(kind), Ok(count)) if count > 0 => Elements::Some(kind, count),
                _ => Elements::None(kind),
            }
        });
        // Looked up by nobody.
        machine.scratch.rewind(before);
        elements
    }
}
