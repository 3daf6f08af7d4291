//! Those who are parked until keys are held no more, beside transactions: clients' requests, and clients that wait for elements.
//!
//! They hold nothing, and are barred by holders alone. Who is parked knows the one thing that has barred it, and is looked at again
//! when that is let go of: so many of them in a turn, the others in the next ones. In its place a client keeps its claims to all
//! that has barred it before, so that transactions which come later cannot pass the keys between each other. Those who wait for
//! elements of a key may be barred by several things, the key and where each of them moves what it takes: they have a place at
//! each, before all transactions, and claim nothing else in it.

use std::collections::{HashMap, VecDeque};
use std::time::{Duration, Instant};

use basalt_storage::keyspace::WatchedKey;

use super::key_table::Want;
use super::{HELD_HERE, Holding, guard_of};
use crate::entry::request::Mode;
use crate::ids::{CoreId, Origin};
use crate::limits;
use crate::multi_shard::{Concerned, visit_concerned};
use crate::shard::cold::{ColdProgress, Parked, ParkedRequest, Turn};
use crate::shard::{Shard, ShardHost};

/// Somebody who is parked.
#[derive(Debug, Clone, PartialEq, Eq)]
enum Who {
    /// A client, whose first request that is parked waits.
    Client((CoreId, u32)),
    /// Those who wait for elements of this key.
    Waiters(WatchedKey),
}

/// Somebody who is parked at something that is held.
#[derive(Debug)]
pub(super) struct ParkedAt {
    who: Who,
    /// Things that it has met and that were held; it is parked at the last of them.
    claimed: Vec<Want>,
    since: Instant,
    away: Duration,
    /// Bytes of memory that it takes, beside the requests.
    bytes: usize,
}

impl Holding {
    /// Parks somebody at `want`. What it has claimed in its place, it goes on to claim.
    fn park(&mut self, who: Who, turn: Turn, want: Want) {
        if let Who::Waiters(key) = &who {
            self.waiters.entry(key.clone()).or_default().insert(want.clone(), turn.place);
        }
        let before = self.looked_at.take_if(|(place, _)| *place == turn.place);
        let mut claimed = before.map_or_else(Vec::new, |(_, claimed)| claimed);
        claimed.retain(|before| *before != want);
        claimed.push(want);
        let bytes = size_of::<ParkedAt>() + claimed.iter().map(Want::bytes).sum::<usize>();
        self.waiting.bytes += bytes;
        self.table.park(&claimed, turn.place);
        let parked = ParkedAt { who, claimed, since: turn.since, away: turn.away, bytes };
        let before = self.parked.insert(turn.place, parked);
        assert!(before.is_none(), "a place is one's own");
    }

    /// Takes somebody out who is parked in this place.
    fn unpark(&mut self, place: u64) -> Option<ParkedAt> {
        let parked = self.parked.remove(&place)?;
        self.waiting.bytes -= parked.bytes;
        self.table.unpark(&parked.claimed, place, &mut self.ready);
        if let Who::Waiters(key) = &parked.who
            && let Some(places) = self.waiters.get_mut(key)
        {
            places.retain(|_, of| *of != place);
            if places.is_empty() {
                self.waiters.remove(key);
            }
        }
        Some(parked)
    }

    /// Takes those out who have waited for elements of this key: nobody does any more.
    pub(in crate::shard) fn forget_waiters(&mut self, key: &WatchedKey) {
        let places: Vec<u64> = self.waiters.get(key).into_iter().flat_map(HashMap::values).copied().collect();
        places.into_iter().for_each(|place| drop(self.unpark(place)));
    }

    /// The thing that bars a request, if it is barred.
    fn why_request_barred(&self, bytes: &[u8]) -> Option<Want> {
        let (table, mut why) = (&self.table, None);
        visit_concerned(bytes, &mut |concerned, is_write| {
            if why.is_none() {
                why = match concerned {
                    Concerned::Key(db, key) => table.why_barred(db, key, is_write),
                    // Over several shards it is of no one moment anyway, and single keys must not hide the others.
                    Concerned::All if !is_write => table.why_held_whole(),
                    Concerned::All | Concerned::Any => table.why_all_barred(is_write),
                };
            }
        });
        why
    }

    /// The thing that keeps elements of a key from those who wait for them, if it is held, or from where they go to.
    pub(in crate::shard) fn why_writes_barred(&self, db: u8, key: &[u8]) -> Option<Want> {
        if self.table.is_empty() { None } else { self.table.why_barred(db, key, true) }
    }
}

impl Shard {
    /// The thing that a request has to wait for, if somebody holds what it wants.
    pub(in crate::shard) fn why_barred(&self, origin: Origin, bytes: &[u8]) -> Option<Want> {
        if self.holding.is_empty() || super::is_coordinators(origin.client) || self.has_failed() {
            return None;
        }
        self.holding.why_request_barred(bytes).or_else(|| {
            // What somebody holds exclusively is about to change.
            let watch = guard_of(bytes).filter(|_| self.holding.table.has_exclusive())?;
            let machine = self.machine.borrow();
            let mut watched = machine.store.watched().keys(watch);
            watched.find_map(|(db, key)| self.holding.table.why_barred(db, key, false))
        })
    }

    /// Parks a request that waits for `want`, and what its connection sends behind it. Refuses it if too many are, or if nobody
    /// knows when that is let go of.
    pub(in crate::shard) fn park_behind_hold(
        &mut self,
        origin: Origin,
        (mode, bytes): (Mode, Vec<u8>),
        want: Want,
        host: &mut impl ShardHost,
    ) {
        if self.holding.waiting.is_full() || self.holding.table.is_stuck(&want) {
            self.forget_watch_of(&bytes);
            return self.leave(origin, HELD_HERE, host);
        }
        let (client, length) = ((origin.core, origin.client), bytes.len());
        let request = ParkedRequest { origin, mode, bytes, progress: ColdProgress::new(), turn: None, since: None };
        if let Some(parked) = self.parking.parked.get_mut(&client) {
            // Reads of a batch that was refused, or what came behind them: it is looked at again when their wait is over.
            let waiting = if parked.waits_at.is_some() { &mut self.holding.waiting } else { &mut self.parking.waiting };
            waiting.add(length);
            let place = parked.refused;
            parked.requests.insert(place, request);
            parked.fetches_for += usize::from(place <= parked.fetches_for);
            return;
        }
        self.parking.waiting.add(length);
        let parked = Parked { requests: VecDeque::from([request]), ..Parked::default() };
        self.park_again_behind_hold(client, parked, want);
    }

    /// Parks a client whose first request waits for `want`; if that has waited before, in its place.
    pub(in crate::shard) fn park_again_behind_hold(&mut self, client: (CoreId, u32), mut parked: Parked, want: Want) {
        let away = self.batches.presence.away();
        let Some(first) = parked.requests.front_mut() else { return };
        let (since, away) = first.since.unwrap_or_else(|| (Instant::now(), away));
        let new_turn = || Turn { place: self.holding.new_place(), since, away };
        let turn = *first.turn.get_or_insert_with(new_turn);
        for request in &parked.requests {
            self.parking.waiting.remove(request.bytes.len());
            self.holding.waiting.add(request.bytes.len());
        }
        parked.waits_at = Some(turn.place);
        self.parking.parked.insert(client, parked);
        self.holding.park(Who::Client(client), turn, want);
    }

    /// Puts a request behind what its connection has parked, or refuses it.
    pub(in crate::shard) fn park_behind_own(&mut self, mut request: ParkedRequest, host: &mut impl ShardHost) {
        let client = (request.origin.core, request.origin.client);
        let parked = self.parking.parked.get_mut(&client).expect("the caller has found it");
        let waiting = match parked.waits_at {
            Some(_) if self.holding.waiting.is_full() => {
                self.forget_watch_of(&request.bytes);
                return self.leave(request.origin, HELD_HERE, host);
            }
            Some(_) => {
                request.since = Some((Instant::now(), self.batches.presence.away()));
                &mut self.holding.waiting
            }
            None => &mut self.parking.waiting,
        };
        waiting.add(request.bytes.len());
        parked.requests.push_back(request);
    }

    /// Answers a request that waits for held keys no more: nothing of it is executed.
    pub(in crate::shard) fn refuse_held(&mut self, request: &ParkedRequest, host: &mut impl ShardHost) {
        self.forget_watch_of(&request.bytes);
        self.leave(request.origin, HELD_HERE, host);
    }

    /// Returns whether a parked request that meets something held is to be refused: nobody knows when that is let go of, or its own
    /// time to wait is over while such are answered.
    pub(in crate::shard) fn waits_in_vain(&self, request: &ParkedRequest, want: &Want) -> bool {
        let since = request.turn.map(|turn| (turn.since, turn.away)).or(request.since);
        let is_over =
            |(now, timeout)| since.is_some_and(|(since, away)| self.batches.presence.age(since, away, now) >= timeout);
        self.holding.table.is_stuck(want) || self.holding.gives_up.is_some_and(is_over)
    }

    /// Takes out what a client has parked, wherever it waits.
    pub(in crate::shard) fn take_parked(&mut self, client: (CoreId, u32)) -> Option<Parked> {
        let mut parked = self.parking.parked.remove(&client)?;
        if let Some(place) = parked.waits_at.take() {
            self.holding.unpark(place);
            // No thread works for it.
            parked.fetches_for = 0;
            for request in &parked.requests {
                self.holding.waiting.remove(request.bytes.len());
                self.parking.waiting.add(request.bytes.len());
            }
        }
        Some(parked)
    }

    /// Looks again at the one who is parked longest at something that was let go of, if there is one and this turn has time for it.
    pub(super) fn look_at_parked(&mut self, now_ms: u64, host: &mut impl ShardHost) -> bool {
        if self.holding.looks_in_turn >= limits::REQUESTS_PER_TURN {
            return false;
        }
        let Some(place) = self.holding.table.next_parked() else { return false };
        let ParkedAt { who, claimed, .. } = self.holding.unpark(place).expect("whoever has a place is parked");
        self.holding.looked_at = Some((place, claimed));
        match who {
            Who::Client(client) => {
                let parked = self.take_parked(client).expect("a client is parked with what it has sent");
                self.holding.looks_in_turn += parked.requests.len();
                self.resume(client, parked, now_ms, host);
            }
            Who::Waiters(key) => {
                self.holding.looks_in_turn += 1;
                self.serve_held(key, now_ms, host);
            }
        }
        self.holding.looked_at = None;
        true
    }

    /// Gives those who wait for elements of a key a place among those who wait for what keeps some of them from it, unless they
    /// have one there.
    pub(in crate::shard) fn park_waiters(&mut self, key: &WatchedKey, want: Want) {
        if self.holding.waiters.get(key).is_some_and(|places| places.contains_key(&want)) {
            return;
        }
        let away = self.batches.presence.away();
        let turn = Turn { place: self.holding.new_place_of_waiters(), since: Instant::now(), away };
        self.holding.park(Who::Waiters(key.clone()), turn, want);
    }

    /// Answers those who have been parked for `timeout`, or wait for what nobody knows when it is let go of: nothing of their
    /// requests is executed. Clients that wait for elements wait on.
    pub(super) fn give_up_parked(
        &mut self,
        now: Instant,
        timeout: Option<Duration>,
        now_ms: u64,
        host: &mut impl ShardHost,
    ) {
        let (presence, table) = (self.batches.presence, &self.holding.table);
        let has_stuck = table.has_stuck();
        let is_over = |parked: &ParkedAt| {
            timeout.is_some_and(|timeout| presence.age(parked.since, parked.away, now) >= timeout)
                || (has_stuck && parked.claimed.last().is_some_and(|want| table.is_stuck(want)))
        };
        let is_client = |parked: &ParkedAt| matches!(parked.who, Who::Client(_));
        let over = self.holding.parked.iter().filter(|(_, parked)| is_client(parked) && is_over(parked));
        let places: Vec<u64> = over.map(|(place, _)| *place).collect();
        self.holding.gives_up = timeout.map(|timeout| (now, timeout));
        for place in places {
            let Some(ParkedAt { who: Who::Client(client), .. }) = self.holding.unpark(place) else { continue };
            let Some(mut parked) = self.take_parked(client) else { continue };
            let is_first = |turn: Option<Turn>| turn.is_some_and(|turn| turn.place == place);
            // Others may have come before it.
            if let Some(index) = parked.requests.iter().position(|request| is_first(request.turn)) {
                let request = parked.requests.remove(index).expect("it was found there");
                parked.refused -= usize::from(index < parked.refused);
                self.parking.waiting.remove(request.bytes.len());
                self.refuse_held(&request, host);
            }
            self.resume(client, parked, now_ms, host);
        }
        self.holding.gives_up = None;
    }

    /// Takes out all clients that are parked, with what they have sent.
    pub(super) fn take_all_parked(&mut self) -> Vec<((CoreId, u32), Parked)> {
        let of_client = |parked: &ParkedAt| if let Who::Client(client) = parked.who { Some(client) } else { None };
        let clients: Vec<(CoreId, u32)> = self.holding.parked.values().filter_map(of_client).collect();
        clients.into_iter().filter_map(|client| Some((client, self.take_parked(client)?))).collect()
    }
}
