//! Keys that transactions hold: how many hold each, and how, and who waits for it.
//!
//! Who waits has a place, a number that grows. Transactions are passed by nobody who comes later and wants the same. A client is
//! barred by holders alone: it claims the things at which it has met one, so that later transactions leave them to it, and is
//! parked at the last of them.
//!
//! What a newcomer would get wrong: very many may wait for one thing. So who leaves it makes way only for those right behind, and
//! of clients none is looked at when a thing is let go of, but the thing is noted, and they are taken from it one by one.

use std::collections::{BTreeSet, HashMap, VecDeque};

use smallvec::SmallVec;

use super::claims::{Claims, Holders, Places};
use crate::entry::spanning::{HeldKey, HeldKeys};

/// A database and a key in it, as one.
type Name = SmallVec<[u8; 64]>;

fn name(db: u8, key: &[u8]) -> Name {
    let mut name = Name::with_capacity(1 + key.len());
    name.push(db);
    name.extend_from_slice(key);
    name
}

/// The thing at which a client waits.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
enum Thing {
    Key(Name),
    /// A key, whichever it is, that whoever holds all of them holds.
    AnyKey,
    AllKeys,
}

/// The thing that keeps a client from going on, and the way in which it wants that.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub(in crate::shard) struct Want {
    thing: Thing,
    is_exclusive: bool,
}

impl Want {
    /// Bytes of memory that it takes to wait for it, about.
    pub(super) fn bytes(&self) -> usize {
        let of_name = if let Thing::Key(name) = &self.thing { 2 * name.len() } else { 0 };
        size_of::<Want>() + size_of::<Claims>() + of_name
    }
}

/// Keys of a shard, and all of them as a whole, with those who hold them and those who wait for them.
#[derive(Debug, Default)]
pub(super) struct KeyTable {
    keys: HashMap<Name, Claims>,
    /// All keys as a whole.
    all: Claims,
    /// Single keys, all of them together.
    single: Claims,
    /// Things that were let go of, and at which clients are parked that may go on.
    ready: VecDeque<Thing>,
    /// Places that were looked at to see who is next.
    #[cfg(test)]
    pub(super) looks: std::cell::Cell<usize>,
}

/// Returns whether one of the keys is to be held exclusively; `None` if there are none.
fn way_of_keys(held: &HeldKeys) -> Option<bool> {
    (!held.keys.is_empty()).then(|| held.keys.iter().any(|key| key.is_exclusive))
}

impl KeyTable {
    /// Returns whether nobody holds anything, or waits for it.
    pub(super) fn is_empty(&self) -> bool {
        self.keys.is_empty() && self.all.is_empty() && self.single.is_empty()
    }

    /// Returns whether somebody holds something exclusively.
    pub(super) fn has_exclusive(&self) -> bool {
        self.single.holders.exclusive > 0 || self.all.holders.exclusive > 0
    }

    /// Returns whether somebody holds something of whom nobody knows when he lets go.
    pub(super) fn has_stuck(&self) -> bool {
        self.single.holders.stuck > 0 || self.all.holders.stuck > 0
    }

    /// Adds a holder of `held`, whose keys are settled.
    pub(super) fn add(&mut self, held: &HeldKeys) {
        for key in &held.keys {
            let claims = self.keys.entry(name(key.db, &key.key)).or_default();
            *claims.holders.count(key.is_exclusive) += 1;
            *self.single.holders.count(key.is_exclusive) += 1;
        }
        if let Some(is_exclusive) = held.whole {
            *self.all.holders.count(is_exclusive) += 1;
        }
    }

    /// Notes of a holder whether nobody knows when he lets go.
    pub(super) fn set_stuck(&mut self, held: &HeldKeys, is_stuck: bool) {
        let set = |holders: &mut Holders| match is_stuck {
            true => holders.stuck += 1,
            false => holders.stuck -= 1,
        };
        for key in &held.keys {
            self.change(key, |claims| set(&mut claims.holders));
            set(&mut self.single.holders);
        }
        if held.whole.is_some() {
            set(&mut self.all.holders);
        }
    }

    /// Takes out a holder that was added with the same keys. Notes which things are free for clients, and adds the transactions
    /// to `places` that may have come to their turn.
    pub(super) fn remove(&mut self, held: &HeldKeys, places: &mut BTreeSet<u64>) {
        for key in &held.keys {
            self.change(key, |claims| *claims.holders.count(key.is_exclusive) -= 1);
            *self.single.holders.count(key.is_exclusive) -= 1;
        }
        if let Some(is_exclusive) = held.whole {
            *self.all.holders.count(is_exclusive) -= 1;
        }
        for key in &held.keys {
            let name = name(key.db, &key.key);
            self.add_behind_key(&name, (0, key.is_exclusive), places);
            self.note_ready(Thing::Key(name));
        }
        if held.whole.is_some() {
            self.add_behind_all(0, places);
            self.note_ready(Thing::AnyKey);
        }
        self.add_who_want_all((0, way_of_keys(held) == Some(true) || held.whole == Some(true)), places);
        self.note_ready(Thing::AllKeys);
    }

    fn change(&mut self, key: &HeldKey, change: impl FnOnce(&mut Claims)) {
        self.change_named(&name(key.db, &key.key), change);
    }

    fn change_named(&mut self, name: &Name, change: impl FnOnce(&mut Claims)) {
        let claims = self.keys.get_mut(name).expect("what is taken out was added");
        change(claims);
        if claims.is_empty() {
            self.keys.remove(name);
        }
    }

    /// Adds a transaction that waits for `held` in this place.
    pub(super) fn wait(&mut self, held: &HeldKeys, place: u64) {
        for key in &held.keys {
            let claims = self.keys.entry(name(key.db, &key.key)).or_default();
            claims.transactions.of(key.is_exclusive).insert(place);
        }
        if let Some(is_exclusive) = way_of_keys(held) {
            self.single.transactions.of(is_exclusive).insert(place);
        }
        if let Some(is_exclusive) = held.whole {
            self.all.transactions.of(is_exclusive).insert(place);
        }
    }

    /// Takes a transaction out that was added with the same keys and place.
    pub(super) fn wait_no_more(&mut self, held: &HeldKeys, place: u64) {
        for key in &held.keys {
            self.change(key, |claims| claims.transactions.remove(place));
        }
        self.single.transactions.remove(place);
        self.all.transactions.remove(place);
    }

    /// Adds to `places` the transactions that may have come to their turn since one has left that has waited for `held` in `place`,
    /// and does not hold it.
    pub(super) fn add_behind(&self, held: &HeldKeys, place: u64, places: &mut BTreeSet<u64>) {
        for key in &held.keys {
            self.add_behind_key(&name(key.db, &key.key), (place, key.is_exclusive), places);
        }
        if held.whole.is_some() {
            self.add_behind_all(place, places);
        }
        self.add_who_want_all((place, way_of_keys(held) == Some(true) || held.whole == Some(true)), places);
    }

    /// Adds a client in this place that claims these things, and is parked at the last of them.
    pub(super) fn park(&mut self, claimed: &[Want], place: u64) {
        for (number, want) in claimed.iter().enumerate() {
            let claims = match &want.thing {
                Thing::Key(name) => self.keys.entry(name.clone()).or_default(),
                Thing::AnyKey => &mut self.single,
                Thing::AllKeys => &mut self.all,
            };
            claims.clients.of(want.is_exclusive).insert(place);
            if number + 1 == claimed.len() {
                claims.parked.of(want.is_exclusive).insert(place);
            }
            if want.thing != Thing::AllKeys {
                self.single.clients.of(want.is_exclusive).insert(place);
            }
        }
    }

    /// Takes a client out that was added so. Adds the transactions to `places` that may have come to their turn.
    pub(super) fn unpark(&mut self, claimed: &[Want], place: u64, places: &mut BTreeSet<u64>) {
        let leave = |claims: &mut Claims| {
            claims.clients.remove(place);
            claims.parked.remove(place);
        };
        leave(&mut self.single);
        leave(&mut self.all);
        for want in claimed {
            if let Thing::Key(name) = &want.thing {
                // It may be there twice.
                if self.keys.contains_key(name) {
                    self.change_named(name, leave);
                }
            }
        }
        for Want { thing, is_exclusive } in claimed {
            match thing {
                Thing::Key(name) => self.add_behind_key(name, (place, *is_exclusive), places),
                Thing::AnyKey => {}
                Thing::AllKeys => self.add_behind_all(place, places),
            }
            self.add_who_want_all((place, *is_exclusive), places);
        }
    }

    /// The client parked longest at one of the things that were let go of, for whom the holders by now leave room. It is to be
    /// taken out. The things take turns.
    pub(super) fn next_parked(&mut self) -> Option<u64> {
        while let Some(thing) = self.ready.pop_front() {
            self.note_look();
            if let Some(place) = self.first_free(&thing) {
                self.ready.push_back(thing);
                return Some(place);
            }
            if let Some(claims) = self.claims_mut(&thing) {
                claims.is_ready = false;
            }
        }
        None
    }

    /// Returns whether clients are parked at things that were let go of.
    pub(super) fn has_ready(&self) -> bool {
        !self.ready.is_empty()
    }

    fn claims_mut(&mut self, thing: &Thing) -> Option<&mut Claims> {
        match thing {
            Thing::Key(name) => self.keys.get_mut(name),
            Thing::AnyKey => Some(&mut self.single),
            Thing::AllKeys => Some(&mut self.all),
        }
    }

    /// The claims to a thing, and those who hold it.
    fn claims(&self, thing: &Thing) -> Option<(&Claims, Holders)> {
        match thing {
            Thing::Key(name) => self.keys.get(name).map(|claims| (claims, claims.holders)),
            Thing::AnyKey => Some((&self.single, self.all.holders)),
            Thing::AllKeys => Some((&self.all, self.all.holders.and(self.single.holders))),
        }
    }

    fn first_free(&self, thing: &Thing) -> Option<u64> {
        self.claims(thing).and_then(|(claims, holders)| claims.first_free(holders))
    }

    fn note_ready(&mut self, thing: Thing) {
        if self.first_free(&thing).is_none() {
            return;
        }
        let claims = self.claims_mut(&thing).expect("somebody is parked there");
        if !std::mem::replace(&mut claims.is_ready, true) {
            self.ready.push_back(thing);
        }
    }

    /// Returns whether somebody holds a key that cannot be had beside, exclusively or not.
    pub(super) fn bars(&self, db: u8, key: &[u8], is_exclusive: bool) -> bool {
        let is_held = |claims: &Claims| claims.holders.bars(is_exclusive);
        is_held(&self.all) || (!self.keys.is_empty() && self.keys.get(&name(db, key)).is_some_and(is_held))
    }

    /// The thing to wait for if somebody holds a key that cannot be had beside, exclusively or not.
    pub(super) fn why_barred(&self, db: u8, key: &[u8], is_exclusive: bool) -> Option<Want> {
        if self.all.holders.bars(is_exclusive) {
            return Some(Want { thing: Thing::AnyKey, is_exclusive });
        }
        let is_barred = self.bars(db, key, is_exclusive);
        is_barred.then(|| Want { thing: Thing::Key(name(db, key)), is_exclusive })
    }

    /// The thing to wait for if somebody holds anything that all keys of the shard cannot be had beside, exclusively or not.
    pub(super) fn why_all_barred(&self, is_exclusive: bool) -> Option<Want> {
        self.bars_all(is_exclusive).then_some(Want { thing: Thing::AllKeys, is_exclusive })
    }

    /// The thing to wait for if somebody holds all keys of the shard exclusively.
    pub(super) fn why_held_whole(&self) -> Option<Want> {
        self.is_held_whole().then_some(Want { thing: Thing::AnyKey, is_exclusive: false })
    }

    fn bars_all(&self, is_exclusive: bool) -> bool {
        self.all.holders.bars(is_exclusive) || self.single.holders.bars(is_exclusive)
    }

    /// Returns whether somebody holds all keys of the shard exclusively.
    pub(super) fn is_held_whole(&self) -> bool {
        self.all.holders.exclusive > 0
    }

    /// Returns whether nobody knows when what somebody waits for is let go of.
    pub(super) fn is_stuck(&self, want: &Want) -> bool {
        let (_, holders) = self.claims(&want.thing).unwrap_or((&self.all, Holders::default()));
        holders.stuck > 0 && holders.bars(want.is_exclusive)
    }

    /// The same for keys that are to be held.
    pub(super) fn are_stuck(&self, held: &HeldKeys) -> bool {
        let is_stuck = |want: Option<Want>| want.is_some_and(|want| self.is_stuck(&want));
        self.has_stuck()
            && (held.whole.is_some_and(|is_exclusive| is_stuck(self.why_all_barred(is_exclusive)))
                || held.keys.iter().any(|key| is_stuck(self.why_barred(key.db, &key.key, key.is_exclusive))))
    }

    /// Returns whether a transaction in this place has to wait for `held`: somebody holds it, or waits for it before.
    pub(super) fn bars_at(&self, held: &HeldKeys, place: u64) -> bool {
        self.note_look();
        let bars_whole = |is_exclusive| {
            let is_waited_for = |claims: &Claims| claims.bars_at(is_exclusive, place);
            self.bars_all(is_exclusive) || is_waited_for(&self.all) || is_waited_for(&self.single)
        };
        let bars_key = |key: &HeldKey| {
            let is_taken =
                |claims: &Claims| claims.holders.bars(key.is_exclusive) || claims.bars_at(key.is_exclusive, place);
            is_taken(&self.all) || self.keys.get(&name(key.db, &key.key)).is_some_and(is_taken)
        };
        held.whole.is_some_and(bars_whole) || held.keys.iter().any(bars_key)
    }

    /// Adds the transactions that may have come to their turn at a key, since one has left that has waited for it in this place and
    /// in this way, or has held it.
    fn add_behind_key(&self, name: &Name, left: (u64, bool), places: &mut BTreeSet<u64>) {
        if let Some(claims) = self.keys.get(name) {
            self.add_freed(&claims.transactions, [claims, &self.all], claims.holders, left, places);
        }
    }

    /// The same of those who want all keys.
    fn add_who_want_all(&self, left: (u64, bool), places: &mut BTreeSet<u64>) {
        let holders = self.all.holders.and(self.single.holders);
        self.add_freed(&self.all.transactions, [&self.single, &self.all], holders, left, places);
    }

    /// Adds those of `waiting` whom nobody of `among` is before any more, now that one has left: who wants it shared has kept none
    /// that does so, too.
    fn add_freed(
        &self,
        waiting: &Places,
        among: [&Claims; 2],
        holders: Holders,
        (place, was_exclusive): (u64, bool),
        places: &mut BTreeSet<u64>,
    ) {
        let first = |is_exclusive| among[0].first(is_exclusive).min(among[1].first(is_exclusive));
        let next = first(true);
        if was_exclusive && !holders.bars(false) && place < next {
            let freed = waiting.shared.range(place..next);
            places.extend(freed.inspect(|_| self.note_look()).copied());
        }
        let exclusive = waiting.first(true);
        if exclusive < u64::MAX && !holders.bars(true) && exclusive <= next && exclusive < first(false) {
            places.insert(exclusive);
        }
    }

    /// Adds the transactions that want single keys and may have come to their turn, since one has left that has waited for all
    /// keys in this place, or has held them: up to the next that nobody passes.
    fn add_behind_all(&self, place: u64, places: &mut BTreeSet<u64>) {
        let last = self.all.first(true);
        if self.is_held_whole() || place > last {
            return;
        }
        for of_way in [&self.single.transactions.shared, &self.single.transactions.exclusive] {
            places.extend(of_way.range(place..=last).inspect(|_| self.note_look()).copied());
        }
    }

    #[cfg(test)]
    pub(super) fn key_count(&self) -> usize {
        self.keys.len()
    }

    fn note_look(&self) {
        #[cfg(test)]
        self.looks.set(self.looks.get() + 1);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn held(keys: &[(&[u8], bool)], whole: Option<bool>) -> HeldKeys {
        let mut held = HeldKeys { whole, ..HeldKeys::default() };
        keys.iter().for_each(|(key, is_exclusive)| held.add(0, key, *is_exclusive));
        held
    }

    /// Takes a holder out; gives the transactions that may have come to their turn.
    fn remove(table: &mut KeyTable, of: &HeldKeys) -> Vec<u64> {
        let mut places = BTreeSet::new();
        table.remove(of, &mut places);
        places.into_iter().collect()
    }

    /// Takes a transaction out that waits; gives those behind it.
    fn leave(table: &mut KeyTable, of: &HeldKeys, place: u64) -> Vec<u64> {
        let mut places = BTreeSet::new();
        table.wait_no_more(of, place);
        table.add_behind(of, place, &mut places);
        places.into_iter().collect()
    }

    #[test]
    fn readers_share_and_writers_do_not() {
        let mut table = KeyTable::default();
        let (reader, writer) = (held(&[(b"a", false)], None), held(&[(b"b", true)], None));
        table.add(&reader);
        table.add(&reader);
        table.add(&writer);
        assert!(!table.bars(0, b"a", false) && table.bars(0, b"a", true));
        assert!(table.bars(0, b"b", false) && table.bars(0, b"b", true));
        assert!(!table.bars(1, b"b", true) && !table.bars(0, b"c", true));
        assert!(table.bars_all(false) && table.has_exclusive());
        remove(&mut table, &writer);
        assert!(!table.bars_all(false) && table.bars_all(true) && !table.has_exclusive());
        remove(&mut table, &reader);
        assert!(table.bars(0, b"a", true));
        remove(&mut table, &reader);
        assert!(table.is_empty() && !table.bars_all(true));
    }

    #[test]
    fn the_whole_shard_is_held_with_all_its_keys() {
        let mut table = KeyTable::default();
        table.add(&held(&[], Some(false)));
        assert!(!table.bars(0, b"a", false) && table.bars(0, b"a", true) && table.bars_all(true));
        assert!(!table.bars_at(&held(&[(b"a", false)], Some(false)), 1));
        table.add(&held(&[], Some(true)));
        assert!(table.bars(3, b"a", false) && table.bars_at(&held(&[(b"a", false)], None), 1));
        remove(&mut table, &held(&[], Some(true)));
        remove(&mut table, &held(&[], Some(false)));
        assert!(table.is_empty());
    }

    #[test]
    fn a_transaction_that_waits_is_passed_by_none_that_wants_the_same() {
        let mut table = KeyTable::default();
        let (reader, writer, whole) =
            (held(&[(b"a", false)], None), held(&[(b"a", true)], None), held(&[], Some(true)));
        table.add(&reader);
        table.wait(&writer, 5);
        assert!(!table.bars(0, b"a", false) && table.bars_at(&reader, 6) && !table.bars_at(&reader, 5));
        table.wait(&reader, 6);
        table.wait(&whole, 7);
        table.wait(&reader, 8);
        assert!(table.bars_at(&held(&[(b"b", false)], None), 8) && !table.bars_at(&held(&[(b"b", false)], None), 7));
        assert_eq!(remove(&mut table, &reader), [5], "the first, and no more");
        table.add(&reader);
        assert_eq!(leave(&mut table, &writer, 5), [6], "the next one wants all, which nobody passes");
        assert_eq!(
            remove(&mut table, &reader),
            Vec::<u64>::new(),
            "one that wants it shared waited for nobody that holds it so"
        );
        assert_eq!(leave(&mut table, &reader, 6), [7]);
        assert_eq!(leave(&mut table, &whole, 7), [8]);
        table.wait(&whole, 9);
        table.wait(&whole, 10);
        assert_eq!(leave(&mut table, &reader, 8), [9], "nobody beyond the next that wants all");
        assert_eq!(leave(&mut table, &whole, 9), [10]);
        leave(&mut table, &whole, 10);
        assert!(table.is_empty());
    }

    #[test]
    fn a_client_keeps_later_transactions_from_what_it_claims_and_is_barred_by_holders_alone() {
        let mut table = KeyTable::default();
        let (a, b) = (held(&[(b"a", true)], None), held(&[(b"b", true)], None));
        let (reader, mut places) = (held(&[(b"a", false)], None), BTreeSet::new());
        table.add(&a);
        table.add(&b);
        let mut claimed = vec![table.why_barred(0, b"a", true).unwrap()];
        table.park(&claimed, 3);
        table.wait(&reader, 4);
        assert_eq!((remove(&mut table, &a), table.next_parked()), (vec![], Some(3)));
        table.unpark(&claimed, 3, &mut places);
        assert_eq!(std::mem::take(&mut places).into_iter().collect::<Vec<_>>(), [4]);
        claimed.push(table.why_barred(0, b"b", true).unwrap());
        table.park(&claimed, 3);
        assert!(table.bars_at(&reader, 4) && !table.bars_at(&reader, 3), "it keeps what it has claimed");
        assert_eq!(table.next_parked(), None, "and is parked elsewhere");
        assert!(table.why_barred(0, b"a", true).is_none(), "clients go on");
        assert_eq!((remove(&mut table, &b), table.next_parked()), (vec![], Some(3)));
        table.unpark(&claimed, 3, &mut places);
        assert_eq!(places.into_iter().collect::<Vec<_>>(), [4]);
        leave(&mut table, &reader, 4);
        assert!(table.is_empty() && table.next_parked().is_none());
    }

    #[test]
    fn who_wants_all_keys_is_free_once_nobody_holds_one() {
        let mut table = KeyTable::default();
        let (a, whole) = (held(&[(b"a", false)], None), held(&[], Some(true)));
        table.add(&a);
        assert_eq!((table.why_all_barred(false), table.why_held_whole()), (None, None));
        let all = [table.why_all_barred(true).unwrap()];
        table.park(&all, 1);
        assert!(table.bars_at(&held(&[(b"z", false)], None), 2), "nobody passes it");
        remove(&mut table, &a);
        assert_eq!(table.next_parked(), Some(1));
        table.unpark(&all, 1, &mut BTreeSet::new());
        table.add(&whole);
        let any = [table.why_barred(0, b"z", false).unwrap(), table.why_held_whole().unwrap()];
        assert_eq!(any[0], any[1]);
        table.park(&any[..1], 2);
        assert_eq!(table.next_parked(), None);
        remove(&mut table, &whole);
        assert_eq!(table.next_parked(), Some(2));
        table.unpark(&any[..1], 2, &mut BTreeSet::new());
        assert!(table.is_empty());
    }

    #[test]
    fn what_a_stuck_holder_has_is_known() {
        let mut table = KeyTable::default();
        let stuck = held(&[(b"a", true), (b"r", false)], None);
        table.add(&stuck);
        table.set_stuck(&stuck, true);
        let want = table.why_barred(0, b"a", false).unwrap();
        assert!(table.is_stuck(&want) && table.are_stuck(&held(&[(b"a", false), (b"b", true)], None)));
        assert!(!table.are_stuck(&held(&[(b"r", false)], None)) && table.are_stuck(&held(&[], Some(false))));
        table.set_stuck(&stuck, false);
        assert!(!table.is_stuck(&want) && !table.has_stuck());
        remove(&mut table, &stuck);
        assert!(table.is_empty());
    }
}
