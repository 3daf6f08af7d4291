//! The clients that wait in a shard, in the order in which they came.
//!
//! A waiter stands in the queue of each of its keys until it is answered. While something is taken for it, it keeps its place; if
//! that finds nothing, it waits on where it was.

use std::collections::{BTreeMap, HashMap, HashSet};
use std::sync::Arc;

use basalt_storage::keyspace::{Type, WatchedKey};

use crate::commands::Outlook;
use crate::entry::waiting::{Claim, Claimed, Pop, WaitOrder, Wanted};
use crate::ids::{CoreId, Origin, Ticket};
use crate::limits;

/// A waiter's name.
type WaiterId = (CoreId, Ticket);

/// The thing that is done for a waiter.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Stage {
    /// Nothing: its keys have nothing for it.
    Waiting,
    /// Its own command is on its way, as if it would not wait.
    Trying,
    /// A call for a key that has come to have something is on its way.
    Taking,
}

/// A client that waits.
#[derive(Debug)]
pub(super) struct Waiter {
    pub(super) origin: Origin,
    pub(super) pop: Pop,
    pub(super) keys: Vec<Arc<[u8]>>,
    pub(super) wanted: Wanted,
    pub(super) claim: Arc<Claim>,
    pub(super) stage: Stage,
    /// True once the claim was told that the client waits here.
    pub(super) is_noted: bool,
    /// True while its keys are looked at for it for the first time.
    pub(super) is_new: bool,
    /// True if one of its keys had something while something was taken for it.
    missed: bool,
    /// Its place among all that have come.
    order: u64,
    bytes: usize,
}

impl Waiter {
    /// Appends the call for `key`, which has come to have something, to `out`.
    pub(super) fn encode_call(&self, out: &mut Vec<u8>, key: &[u8]) {
        self.pop.encode_call(out, key, self.index_of(key), &self.wanted);
    }

    /// Appends its command for `key`, which is run as if it would not wait, to `out`.
    pub(super) fn encode_try(&self, out: &mut Vec<u8>, key: &[u8]) {
        self.pop.encode(out, [key].into_iter(), &self.wanted);
    }

    /// Takes the right to take something for it.
    pub(super) fn take_claim(&self) -> Claimed {
        if self.is_new { self.claim.take_at_first_look() } else { self.claim.take() }
    }

    /// The index of `key` among its keys: the first one, if it has named it several times.
    pub(super) fn index_of(&self, key: &[u8]) -> usize {
        self.keys.iter().position(|own| **own == *key).unwrap_or_default()
    }

    /// Returns whether its core takes the elements: nothing is in this shard's log for it, whatever it has come to.
    pub(super) fn moves(&self) -> bool {
        self.wanted == Wanted::ElementsToMove
    }

    /// Forgets that its keys had something meanwhile: they are looked at later in any case.
    pub(super) fn forget_missed(&mut self) {
        self.missed = false;
    }

    /// Returns whether it only reads, so that its calls are in no log.
    pub(super) fn only_reads(&self) -> bool {
        matches!(self.wanted, Wanted::EntriesAfter(_))
    }
}

/// Waiters by the keys that they wait for.
#[derive(Debug, Default)]
pub(super) struct Waiters {
    by_id: HashMap<WaiterId, Waiter>,
    queues: HashMap<WatchedKey, Queue>,
    /// Those at whose keys nobody has looked for them yet, since some were held when they came.
    untried: HashMap<WatchedKey, HashSet<WaiterId>>,
    next_order: u64,
    bytes: usize,
}

/// Those who wait for a key.
#[derive(Debug, Default)]
struct Queue {
    /// By their places among all that have come.
    order: BTreeMap<u64, WaiterId>,
    /// The number of those that wait for entries of a stream.
    entry_count: usize,
}

/// The waiters for whom something is to be taken from a key.
#[derive(Debug, Default, PartialEq, Eq)]
pub(super) struct Chosen {
    /// In the order in which they came.
    pub(super) origins: Vec<Origin>,
    /// Those who wait for what will never come, with the error that tells so. They are to leave.
    pub(super) gone: Vec<(Origin, &'static str)>,
    /// True if another shard was taking something for one of them.
    pub(super) is_for_later: bool,
}

/// The rest of a waiter that has left.
#[derive(Debug)]
pub(super) struct Left {
    /// Its keys for which nobody waits any more.
    pub(super) unwatched: Vec<WatchedKey>,
    /// Keys that had something meanwhile, which may be another's now.
    pub(super) missed: Vec<WatchedKey>,
}

fn id_of(origin: Origin) -> WaiterId {
    (origin.core, origin.ticket)
}

impl Waiters {
    pub(super) fn is_empty(&self) -> bool {
        self.by_id.is_empty()
    }

    pub(super) fn len(&self) -> usize {
        self.by_id.len()
    }

    /// Bytes of memory that they hold, about.
    pub(super) fn bytes(&self) -> usize {
        self.bytes
    }

    pub(super) fn get(&self, origin: Origin) -> Option<&Waiter> {
        self.by_id.get(&id_of(origin))
    }

    pub(super) fn get_mut(&mut self, origin: Origin) -> Option<&mut Waiter> {
        self.by_id.get_mut(&id_of(origin))
    }

    /// Those for whom nothing is being done here, in the order in which they came.
    pub(super) fn idle(&self) -> Vec<Origin> {
        let idle = self.by_id.values().filter(|waiter| waiter.stage == Stage::Waiting || waiter.moves());
        let mut idle: Vec<(u64, Origin)> = idle.map(|waiter| (waiter.order, waiter.origin)).collect();
        idle.sort_unstable_by_key(|&(order, _)| order);
        idle.into_iter().map(|(_, origin)| origin).collect()
    }

    /// Adds a waiter behind all others. Returns the keys for which nobody has waited before.
    pub(super) fn add(&mut self, origin: Origin, order: WaitOrder) -> Vec<WatchedKey> {
        let WaitOrder { pop, keys, wanted, claim } = order;
        let (place, db) = (self.next_order, pop.db);
        self.next_order += 1;
        let (mut names, mut added) = (Vec::with_capacity(keys.len()), Vec::new());
        let mut bytes = pop.bytes() + wanted.bytes();
        for key in keys {
            bytes += limits::WAITER_KEY_BYTES + key.len();
            let mut watched: WatchedKey = (db, Arc::from(key));
            match self.queues.get_key_value(&watched) {
                // Who waits for the same key shares its name.
                Some((known, _)) => watched = known.clone(),
                None => added.push(watched.clone()),
            }
            names.push(watched.1.clone());
            let queue = self.queues.entry(watched).or_default();
            // It may have named the key twice.
            if queue.order.insert(place, id_of(origin)).is_none() {
                queue.entry_count += usize::from(wanted.is_of_streams());
            }
        }
        self.bytes += bytes;
        let waiter = Waiter {
            origin,
            pop,
            keys: names,
            wanted,
            claim,
            stage: Stage::Waiting,
            is_noted: false,
            is_new: true,
            missed: false,
            order: place,
            bytes,
        };
        let before = self.by_id.insert(id_of(origin), waiter);
        assert!(before.is_none(), "a ticket is given to one request at a time");
        added
    }

    /// Has a waiter leave, whatever is done for it.
    pub(super) fn remove(&mut self, origin: Origin) -> Option<Left> {
        let waiter = self.by_id.remove(&id_of(origin))?;
        self.bytes -= waiter.bytes;
        let (db, mut unwatched) = (waiter.pop.db, Vec::new());
        for key in &waiter.keys {
            let watched = (db, key.clone());
            // It may have named the key twice.
            let Some(queue) = self.queues.get_mut(&watched) else { continue };
            if queue.order.remove(&waiter.order).is_some() {
                queue.entry_count -= usize::from(waiter.wanted.is_of_streams());
            }
            let is_last = queue.order.is_empty();
            if let Some(untried) = self.untried.get_mut(&watched) {
                untried.remove(&id_of(origin));
                if untried.is_empty() {
                    self.untried.remove(&watched);
                }
            }
            if is_last {
                self.queues.remove(&watched);
                unwatched.push(watched);
            }
        }
        let missed = if waiter.missed { waiter.keys.iter().map(|key| (db, key.clone())).collect() } else { Vec::new() };
        Some(Left { unwatched, missed })
    }

    /// Notes that nobody could look at the keys of one who waits for elements, since some are held.
    pub(super) fn note_untried(&mut self, origin: Origin) {
        let Some(waiter) = self.by_id.get(&id_of(origin)).filter(|waiter| !waiter.wanted.is_of_streams()) else {
            return;
        };
        for key in &waiter.keys {
            self.untried.entry((waiter.pop.db, key.clone())).or_default().insert(id_of(origin));
        }
    }

    /// Notes that `key` is looked at, and holds what `is_other` than some type. Gives `most` of those for whom that is the first
    /// time and who wait for elements of such a type: as anybody who comes now, they are to hear of that. Those for whom nothing
    /// `may` be taken now are passed over.
    pub(super) fn take_untried(
        &mut self,
        key: &WatchedKey,
        is_other: impl Fn(Type) -> bool,
        most: usize,
        may: impl Fn(&Pop) -> bool,
    ) -> Chosen {
        let mut chosen = Chosen::default();
        let Some(mut untried) = self.untried.remove(key) else { return chosen };
        untried.retain(|id| {
            let waiter = self.by_id.get_mut(id).expect("whoever leaves is forgotten");
            if !is_other(waiter.pop.kind) {
                return false;
            }
            if chosen.origins.len() >= most {
                chosen.is_for_later = true;
                return true;
            }
            if !may(&waiter.pop) {
                return true;
            }
            if waiter.stage != Stage::Waiting {
                waiter.missed = true;
                return true;
            }
            match waiter.claim.take() {
                Claimed::Yes => {
                    waiter.stage = Stage::Trying;
                    chosen.origins.push(waiter.origin);
                    false
                }
                Claimed::Elsewhere => {
                    chosen.is_for_later = true;
                    true
                }
                // Its core has yet to say so.
                Claimed::Ended => true,
            }
        });
        if !untried.is_empty() {
            self.untried.insert(key.clone(), untried);
        }
        chosen.origins.sort_unstable_by_key(|origin| self.by_id[&id_of(*origin)].order);
        chosen
    }

    /// Chooses for whom something is to be taken from `key`, which has `count` elements of the type `kind`: the first ones that
    /// wait for such, and whose claims can be had. Those for whom something is being taken count: it may be from this key. Those
    /// for whom nothing `may` be taken now are passed over. Whoever stands behind one whose core takes the elements waits until it
    /// has: nobody here knows which it takes.
    pub(super) fn choose(&mut self, key: &WatchedKey, kind: Type, count: u64, may: impl Fn(&Pop) -> bool) -> Chosen {
        self.choose_of(key, kind, count, may, true)
    }

    /// The same for elements that are not there yet: nobody is told of them.
    pub(super) fn choose_unseen(
        &mut self,
        key: &WatchedKey,
        kind: Type,
        count: u64,
        may: impl Fn(&Pop) -> bool,
    ) -> Chosen {
        self.choose_of(key, kind, count, may, false)
    }

    fn choose_of(
        &mut self,
        key: &WatchedKey,
        kind: Type,
        count: u64,
        may: impl Fn(&Pop) -> bool,
        are_there: bool,
    ) -> Chosen {
        let mut chosen = Chosen::default();
        let Some(queue) = self.queues.get(key) else { return chosen };
        let mut left = count;
        for id in queue.order.values() {
            if left == 0 {
                break;
            }
            let waiter = self.by_id.get_mut(id).expect("who stands in a queue waits");
            if waiter.pop.kind != kind {
                continue;
            }
            if !may(&waiter.pop) {
                continue;
            }
            if waiter.stage != Stage::Waiting {
                waiter.missed = true;
                left -= 1;
                if waiter.moves() {
                    break;
                }
                continue;
            }
            if waiter.moves() && !are_there {
                break;
            }
            match waiter.take_claim() {
                Claimed::Yes => {
                    waiter.stage = Stage::Taking;
                    chosen.origins.push(waiter.origin);
                    left -= 1;
                    if waiter.moves() {
                        // What it leaves is looked at once it has taken something.
                        waiter.missed = true;
                        break;
                    }
                }
                Claimed::Elsewhere => chosen.is_for_later = true,
                // Its core has yet to say so.
                Claimed::Ended => {}
            }
        }
        chosen
    }

    /// Chooses who is to be called for entries of the stream `key`: of those who only read all for whom `outlook` says that there
    /// are some, of each consumer group the first one. One for whom entries are being read or delivered counts. Ends when `most`
    /// are to be called.
    pub(super) fn choose_for_entries(
        &mut self,
        key: &WatchedKey,
        most: usize,
        mut outlook: impl FnMut(&Waiter) -> Outlook,
    ) -> Chosen {
        let mut chosen = Chosen::default();
        let Some(queue) = self.queues.get(key).filter(|queue| queue.entry_count > 0) else { return chosen };
        // Those for which it is known what they get.
        let mut groups: HashSet<Box<[u8]>> = HashSet::new();
        for id in queue.order.values() {
            if chosen.origins.len() >= most {
                break;
            }
            let waiter = self.by_id.get_mut(id).expect("who stands in a queue waits");
            let group = match &waiter.wanted {
                Wanted::Elements | Wanted::ElementsToMove => continue,
                Wanted::EntriesAfter(_) => None,
                Wanted::EntriesFor(group) if groups.contains(group) => continue,
                Wanted::EntriesFor(group) => Some(group.clone()),
            };
            if waiter.stage != Stage::Waiting {
                waiter.missed = true;
                groups.extend(group);
                continue;
            }
            let seen = outlook(waiter);
            if seen == Outlook::Nothing {
                groups.extend(group);
                continue;
            }
            match waiter.claim.take() {
                Claimed::Yes => {
                    waiter.stage = Stage::Taking;
                    if let Outlook::Gone(text) = seen {
                        chosen.gone.push((waiter.origin, text));
                    } else {
                        chosen.origins.push(waiter.origin);
                        groups.extend(group);
                    }
                }
                Claimed::Elsewhere => chosen.is_for_later = true,
                // Its core has yet to say so.
                Claimed::Ended => {}
            }
        }
        chosen
    }

    /// Has a waiter wait on for whom nothing was found, if it still wants to: gives the keys that had something meanwhile. `None`
    /// if it waits no more, and is to leave.
    pub(super) fn wait_on(&mut self, origin: Origin) -> Option<Vec<WatchedKey>> {
        let waiter = self.by_id.get_mut(&id_of(origin))?;
        if !waiter.claim.release() {
            return None;
        }
        waiter.stage = Stage::Waiting;
        let db = waiter.pop.db;
        let missed = std::mem::take(&mut waiter.missed);
        Some(if missed { waiter.keys.iter().map(|key| (db, key.clone())).collect() } else { Vec::new() })
    }
}

#[cfg(test)]
mod tests {
    use basalt_net::resp::Protocol;
    use proptest::prelude::*;

    use super::*;

    fn origin(number: u32) -> Origin {
        Origin { core: CoreId(0), client: number, ticket: Ticket(number) }
    }

    fn key(number: u8) -> WatchedKey {
        (0, Arc::from([number].as_slice()))
    }

    fn order(kind: Type, keys: &[u8]) -> WaitOrder {
        let pop = Pop {
            command: 1,
            call: 1,
            protocol: Protocol::Resp2,
            db: 0,
            kind,
            has_destination: false,
            is_counted: false,
            before: Vec::new(),
            after: Vec::new(),
        };
        WaitOrder {
            pop,
            keys: keys.iter().map(|&key| Box::from([key].as_slice())).collect(),
            wanted: Wanted::Elements,
            claim: Claim::new(1).into(),
        }
    }

    #[test]
    fn all_who_read_are_chosen_and_one_of_each_group() {
        let mut waiters = Waiters::default();
        let group = |name: &[u8]| Wanted::EntriesFor(name.into());
        let after = || Wanted::EntriesAfter(vec![Default::default(); 2]);
        for (number, wanted) in (0..).zip([after(), group(b"g"), group(b"h"), after(), group(b"g"), group(b"i")]) {
            waiters.add(origin(number), WaitOrder { wanted, ..order(Type::Stream, &[7, 7]) });
        }
        waiters.add(origin(9), order(Type::List, &[7]));
        assert_eq!(waiters.choose(&key(7), Type::Stream, 0, |_| true), Chosen::default());
        let is_of = |waiter: &Waiter, name: &[u8]| waiter.wanted == group(name);
        let first = waiters.choose_for_entries(&key(7), usize::MAX, |waiter| match waiter {
            waiter if is_of(waiter, b"i") => Outlook::Gone("gone"),
            waiter if is_of(waiter, b"h") => Outlook::Nothing,
            _ => Outlook::Entries,
        });
        assert_eq!((first.origins, first.gone), (vec![origin(0), origin(1), origin(3)], vec![(origin(5), "gone")]));
        assert_eq!(waiters.choose_for_entries(&key(7), 0, |_| Outlook::Entries), Chosen::default());
        let second = waiters.choose_for_entries(&key(7), usize::MAX, |_| Outlook::Entries);
        assert_eq!(second.origins, [origin(2)], "entries are on their way to another of the group");
        waiters.remove(origin(1));
        let third = waiters.choose_for_entries(&key(7), usize::MAX, |_| Outlook::Entries);
        assert_eq!(third.origins, [origin(4)]);
        assert_eq!(waiters.choose(&key(7), Type::List, 1, |_| true).origins, [origin(9)]);
        for number in 0..10 {
            waiters.remove(origin(number));
        }
        assert!(waiters.is_empty() && waiters.bytes() == 0 && waiters.queues.is_empty());
    }

    #[test]
    fn who_came_first_is_chosen_first_and_keeps_its_place() {
        let mut waiters = Waiters::default();
        assert_eq!(waiters.add(origin(1), order(Type::List, &[7, 8, 7])), [key(7), key(8)]);
        assert_eq!(waiters.add(origin(2), order(Type::SortedSet, &[7])), []);
        assert_eq!(waiters.add(origin(3), order(Type::List, &[7])), []);
        assert_eq!(waiters.choose(&key(7), Type::List, 1, |_| true).origins, [origin(1)]);
        assert_eq!(waiters.choose(&key(8), Type::List, 1, |_| true).origins, []);
        assert_eq!(
            waiters.choose(&key(7), Type::List, 2, |_| true).origins,
            [origin(3)],
            "the first one takes one already"
        );
        let missed = waiters.wait_on(origin(1)).unwrap();
        assert_eq!(missed, [key(7), key(8), key(7)], "it has been passed over");
        assert_eq!(waiters.wait_on(origin(3)), Some(vec![]));
        assert_eq!(waiters.choose(&key(7), Type::List, 1, |_| true).origins, [origin(1)], "at its old place");
        let left = waiters.remove(origin(1)).unwrap();
        assert_eq!(left.unwatched, [key(8)]);
        assert_eq!(waiters.choose(&key(7), Type::List, 9, |_| true).origins, [origin(3)]);
        assert!(waiters.remove(origin(2)).is_some() && waiters.remove(origin(3)).is_some());
        assert!(waiters.is_empty() && waiters.bytes() == 0 && waiters.queues.is_empty());
    }

    /// One change of the table and of the model.
    #[derive(Debug, Clone)]
    enum Step {
        Add { kind: Type, keys: Vec<u8> },
        Remove(usize),
        Choose { key: u8, kind: Type, count: u64 },
        WaitOn(usize),
        End(usize),
        TakeElsewhere(usize),
        ReleaseElsewhere(usize),
    }

    /// A waiter of the model.
    struct Plain {
        origin: Origin,
        kind: Type,
        keys: Vec<u8>,
        busy: bool,
        missed: bool,
        elsewhere: bool,
        ended: bool,
        claim: Arc<Claim>,
    }

    fn kinds() -> impl Strategy<Value = Type> {
        prop_oneof![3 => Just(Type::List), 1 => Just(Type::SortedSet)]
    }

    fn steps() -> impl Strategy<Value = Step> {
        prop_oneof![
            4 => (kinds(), prop::collection::vec(0u8..4, 1..4)).prop_map(|(kind, keys)| Step::Add { kind, keys }),
            2 => any::<usize>().prop_map(Step::Remove),
            6 => (0u8..4, kinds(), 0u64..4).prop_map(|(key, kind, count)| Step::Choose { key, kind, count }),
            3 => any::<usize>().prop_map(Step::WaitOn),
            1 => any::<usize>().prop_map(Step::End),
            1 => any::<usize>().prop_map(Step::TakeElsewhere),
            1 => any::<usize>().prop_map(Step::ReleaseElsewhere),
        ]
    }

    proptest! {
        #[test]
        fn the_table_does_as_a_list_of_waiters_in_their_order(steps in prop::collection::vec(steps(), 1..120)) {
            let (mut waiters, mut model, mut next) = (Waiters::default(), Vec::<Plain>::new(), 0);
            for step in steps {
                let at = |index: &usize, model: &Vec<Plain>| index.checked_rem(model.len());
                match &step {
                    Step::Add { kind, keys } => {
                        let order = order(*kind, keys);
                        let claim = order.claim.clone();
                        let mut expected: Vec<WatchedKey> = Vec::new();
                        for number in keys {
                            let is_known = model.iter().any(|plain| plain.keys.contains(number));
                            if !is_known && !expected.contains(&key(*number)) {
                                expected.push(key(*number));
                            }
                        }
                        let origin = origin(next);
                        next += 1;
                        prop_assert_eq!(waiters.add(origin, order), expected);
                        let keys = keys.clone();
                        let (busy, missed, elsewhere, ended) = (false, false, false, false);
                        model.push(Plain { origin, kind: *kind, keys, busy, missed, elsewhere, ended, claim });
                    }
                    Step::Remove(index) => {
                        let Some(at) = at(index, &model) else { continue };
                        let plain = model.remove(at);
                        let left = waiters.remove(plain.origin).expect("it waits");
                        let mut unwatched = plain.keys.clone();
                        unwatched.retain(|number| !model.iter().any(|other| other.keys.contains(number)));
                        let (mut seen, mut expected) = (left.unwatched.clone(), Vec::new());
                        unwatched.sort_unstable();
                        unwatched.dedup();
                        unwatched.iter().for_each(|number| expected.push(key(*number)));
                        seen.sort();
                        prop_assert_eq!(seen, expected);
                        let missed = if plain.missed { plain.keys.iter().map(|number| key(*number)).collect() } else { vec![] };
                        prop_assert_eq!(left.missed, missed);
                    }
                    Step::Choose { key: number, kind, count } => {
                        let mut left = *count;
                        let mut expected = Chosen::default();
                        for plain in model.iter_mut().filter(|plain| plain.kind == *kind && plain.keys.contains(number)) {
                            match plain {
                                _ if left == 0 => break,
                                plain if plain.busy => {
                                    plain.missed = true;
                                    left -= 1;
                                }
                                plain if plain.ended => {}
                                plain if plain.elsewhere => expected.is_for_later = true,
                                plain => {
                                    plain.busy = true;
                                    left -= 1;
                                    expected.origins.push(plain.origin);
                                }
                            }
                        }
                        prop_assert_eq!(waiters.choose(&key(*number), *kind, *count, |_| true), expected);
                    }
                    Step::WaitOn(index) => {
                        let Some(plain) = at(index, &model).map(|at| &mut model[at]).filter(|plain| plain.busy) else { continue };
                        let missed = std::mem::take(&mut plain.missed);
                        let keys = || plain.keys.iter().map(|number| key(*number)).collect::<Vec<_>>();
                        let expected = if plain.ended { None } else if missed { Some(keys()) } else { Some(vec![]) };
                        plain.missed = missed && plain.ended;
                        plain.busy = plain.ended;
                        prop_assert_eq!(waiters.wait_on(plain.origin), expected);
                    }
                    Step::End(index) => {
                        if let Some(at) = at(index, &model) {
                            model[at].claim.end();
                            model[at].ended = true;
                        }
                    }
                    Step::TakeElsewhere(index) => {
                        if let Some(at) = at(index, &model)
                            && model[at].claim.take() == Claimed::Yes
                        {
                            prop_assert!(!model[at].busy && !model[at].ended);
                            model[at].elsewhere = true;
                        }
                    }
                    Step::ReleaseElsewhere(index) => {
                        if let Some(at) = at(index, &model)
                            && model[at].elsewhere
                        {
                            model[at].claim.release();
                            model[at].elsewhere = false;
                        }
                    }
                }
                prop_assert_eq!(waiters.len(), model.len());
                let idle: Vec<Origin> = model.iter().filter(|plain| !plain.busy).map(|plain| plain.origin).collect();
                prop_assert_eq!(waiters.idle(), idle);
            }
            for plain in model {
                waiters.remove(plain.origin);
            }
            prop_assert!(waiters.is_empty() && waiters.bytes() == 0 && waiters.queues.is_empty());
        }
    }
}
