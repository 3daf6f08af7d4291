//! The names of a set, hash or sorted set, whatever their values are: for commands that go through them in pieces or draw them.
//!
//! What a newcomer would get wrong: names that have rows come in the order of their hashes, which never change. So the hash to go
//! on from is all that a cursor needs, and what is added or removed meanwhile hides no name that was there throughout. Those of a
//! packed collection come in its own order, and all on one page.

use std::collections::HashSet;
use std::ops::{Bound, ControlFlow};
use std::sync::Arc;

use super::Keyspace;
use super::collection::Collection;
use super::field_deadlines::{self, Deadline, DeadlinesInOrder};
use super::hashed_names::{element_hash, element_name, name_element, random_name};
use super::held::Held;
use super::key::RowKey;
use super::keyspace::damaged;
use super::meta::Type;
use super::packed::Packed;
use crate::limits::{EXACT_NAMES_MAX, EXPIRED_PER_PAGE_MAX, SAMPLE_DRAWS_PER_NAME, SAMPLE_SCAN_SHARE};
use crate::{Direction, Result, Row};

/// Row kind of names in every collection that has names.
const NAMES: u8 = 0x00;

/// The names in a set, hash or sorted set with what their rows hold: nothing, a field's value, or what
/// [`SortedSet::read_score`](super::SortedSet::read_score) reads.
#[derive(Debug, Clone)]
pub struct Names {
    held: Arc<Held>,
    len: u64,
    /// True if there are fields of a hash among its rows that are past their deadline: these are no names any more.
    has_expired: bool,
}

/// Visits a name and its row's value, until it breaks or fails.
pub type VisitName<'v> = &'v mut dyn FnMut(&[u8], &[u8]) -> Result<ControlFlow<()>>;

impl Keyspace<'_> {
    /// The names at `key`, unless the key is absent or expired.
    ///
    /// # Errors
    /// [`Error::WrongType`](crate::Error::WrongType) if the key holds another type than `kind`.
    ///
    /// # Panics
    /// If collections of the type `kind` have no names.
    pub fn names(&self, key: &[u8], kind: Type) -> Result<Option<Names>> {
        let Some(mut names) = self.names_uncounted(key, kind)? else { return Ok(None) };
        if names.has_expired
            && let Held::Rows(collection) = &*names.held
        {
            names.len = names.len.saturating_sub(field_deadlines::expired_count(self, collection)?);
        }
        Ok(Some(names))
    }

    /// The same for a walk: what is past its deadline is in their number still, so that nobody counts that with each page.
    ///
    /// # Errors
    /// As [`Keyspace::names`].
    ///
    /// # Panics
    /// As [`Keyspace::names`].
    pub fn names_uncounted(&self, key: &[u8], kind: Type) -> Result<Option<Names>> {
        assert!(matches!(kind, Type::Hash | Type::Set | Type::SortedSet), "a {kind:?} has no names");
        let Some(held) = self.held(key, kind)? else { return Ok(None) };
        let has_expired = matches!(&held, Held::Rows(collection) if field_deadlines::has_expired(self, collection));
        Ok(Some(Names { len: held.len(), held: Arc::new(held), has_expired }))
    }
}

impl Names {
    /// Returns the number of names.
    pub fn len(&self) -> u64 {
        self.len
    }

    /// Returns whether there are none.
    pub fn is_empty(&self) -> bool {
        self.len == 0
    }

    /// Returns whether they are kept in one row, and so are one page.
    pub fn is_packed(&self) -> bool {
        matches!(*self.held, Held::Packed(_))
    }

    /// The value of the row of `name`.
    pub fn get<'k>(&'k self, keyspace: &'k Keyspace<'_>, name: &[u8]) -> Result<Option<Row<'k>>> {
        match &*self.held {
            Held::Packed(packed) => Ok(packed.value_of(name).map(Row::Memory)),
            Held::Rows(collection) if self.has_expired && is_expired(keyspace, collection, name)? => Ok(None),
            Held::Rows(collection) => keyspace.element(collection, &name_element(NAMES, name)),
        }
    }

    /// Finds the deadlines of names that are visited in their order, if some have passed.
    fn deadlines<'c>(&self, collection: &'c Collection) -> Option<DeadlinesInOrder<'c>> {
        self.has_expired.then(|| DeadlinesInOrder::new(collection))
    }

    /// Returns whether `name` is one of them.
    pub fn contains(&self, keyspace: &Keyspace<'_>, name: &[u8]) -> Result<bool> {
        Ok(self.get(keyspace, name)?.is_some())
    }

    /// Visits all names in their order, until `visit` breaks.
    ///
    /// # Errors
    /// [`Error::Corruption`](crate::Error::Corruption) if all were visited and are not as many as they should be; those of `visit`.
    pub fn each(&self, keyspace: &Keyspace<'_>, visit: VisitName<'_>) -> Result<()> {
        let collection = match &*self.held {
            Held::Packed(packed) => return each_packed(packed, visit),
            Held::Rows(collection) => collection,
        };
        let (mut count, mut has_broken, mut deadlines) = (0, false, self.deadlines(collection));
        scan(keyspace, collection, 0, &mut |element, value| {
            if has_passed(keyspace, &mut deadlines, element)? {
                return Ok(ControlFlow::Continue(()));
            }
            count += 1;
            let flow = visit(element_name(element), value)?;
            has_broken = flow.is_break();
            Ok(flow)
        })?;
        if has_broken || count == self.len() { Ok(()) } else { Err(damaged(self.held.key())) }
    }

    /// Visits names in the order of their hashes, from the hash `from` on, until `visit` breaks; then it is still called for those
    /// that have the hash of the last one. Those of a packed collection are all visited, wherever that is. Returns the hash to go
    /// on from, which is never 0; `None` behind the last name.
    ///
    /// # Errors
    /// As the reads, and those of `visit`.
    pub fn page(&self, keyspace: &Keyspace<'_>, from: u32, visit: VisitName<'_>) -> Result<Option<u32>> {
        let collection = match &*self.held {
            Held::Packed(packed) => {
                // It is one page, as in Redis: whoever asks for a second one has seen it as rows.
                each_packed(packed, &mut |name, value| visit(name, value).map(|_| ControlFlow::Continue(())))?;
                return Ok(None);
            }
            Held::Rows(collection) => collection,
        };
        let (mut last, mut next) = (None, None);
        let (mut deadlines, mut expired_left) = (self.deadlines(collection), EXPIRED_PER_PAGE_MAX);
        scan(keyspace, collection, from, &mut |element, value| {
            let hash = element_hash(element);
            if last.is_some_and(|last| last != hash) {
                next = Some(hash);
                return Ok(ControlFlow::Break(()));
            }
            if has_passed(keyspace, &mut deadlines, element)? {
                expired_left = expired_left.saturating_sub(1);
                last = last.or((expired_left == 0).then_some(hash));
                return Ok(ControlFlow::Continue(()));
            }
            if visit(element_name(element), value)?.is_break() {
                last = Some(hash);
            }
            Ok(ControlFlow::Continue(()))
        })?;
        Ok(next)
    }

    /// Visits `count` different names that are drawn by the numbers of `random`, in any order; all if there are no more.
    ///
    /// # Errors
    /// As [`Names::each`].
    pub fn sample(
        &self,
        keyspace: &Keyspace<'_>,
        count: u64,
        random: &mut dyn FnMut() -> u64,
        visit: VisitName<'_>,
    ) -> Result<()> {
        let drawn_from = match &*self.held {
            // Those that are past their deadline would be drawn, too.
            Held::Rows(_) if self.has_expired => None,
            Held::Rows(collection) if count.saturating_mul(SAMPLE_SCAN_SHARE) <= self.len() => Some(collection),
            _ => None,
        };
        let Some(collection) = drawn_from else {
            // One pass, in which each name is taken with the chance that leaves as many as are still wanted.
            let (mut wanted, mut left) = (count.min(self.len()), self.len());
            return self.each(keyspace, &mut |name, value| {
                let is_taken = left > 0 && below(random(), left) < wanted;
                left = left.saturating_sub(1);
                if !is_taken {
                    return Ok(ControlFlow::Continue(()));
                }
                wanted -= 1;
                visit(name, value)
            });
        };
        let mut drawn: HashSet<RowKey> = HashSet::new();
        for _ in 0..count.saturating_mul(SAMPLE_DRAWS_PER_NAME) {
            if drawn.len() as u64 == count {
                return Ok(());
            }
            let element = draw_one(keyspace, collection, random())?;
            if !drawn.contains(&element) {
                if visit_element(keyspace, collection, &element, visit)?.is_break() {
                    return Ok(());
                }
                drawn.insert(element);
            }
        }
        // Draws that met the same few again and again: others in their order make up for them.
        let mut missing = count - drawn.len() as u64;
        self.each(keyspace, &mut |name, value| {
            if missing == 0 {
                return Ok(ControlFlow::Break(()));
            }
            if drawn.contains(&name_element(NAMES, name)) {
                return Ok(ControlFlow::Continue(()));
            }
            missing -= 1;
            visit(name, value)
        })
    }

    /// Visits `count` names that are drawn by the numbers of `random`, each out of all, until `visit` breaks. Nothing happens
    /// where there are none.
    ///
    /// # Errors
    /// As the reads, and those of `visit`.
    pub fn draw(
        &self,
        keyspace: &Keyspace<'_>,
        count: u64,
        random: &mut dyn FnMut() -> u64,
        visit: VisitName<'_>,
    ) -> Result<()> {
        if self.is_empty() {
            return Ok(());
        }
        let collection = match &*self.held {
            Held::Packed(packed) => return packed.draw(count, &mut || below(random(), packed.len()), visit),
            Held::Rows(collection) => collection,
        };
        // Of few names each draw walks over all: many draws walk once.
        let mut few: Vec<RowKey> = Vec::new();
        if (count > 1 || self.has_expired) && self.len() <= EXACT_NAMES_MAX {
            let mut deadlines = self.deadlines(collection);
            scan(keyspace, collection, 0, &mut |element, _| {
                if !has_passed(keyspace, &mut deadlines, element)? {
                    few.push(RowKey::from_slice(element));
                }
                Ok(ControlFlow::Continue(()))
            })?;
        }
        for _ in 0..count {
            let element = match few.len() {
                0 if self.has_expired => self.draw_live(keyspace, collection, random())?,
                0 => draw_one(keyspace, collection, random())?,
                length => few[below(random(), length as u64) as usize].clone(),
            };
            if visit_element(keyspace, collection, &element, visit)?.is_break() {
                break;
            }
        }
        Ok(())
    }
}

impl Names {
    /// Draws a name by a random number: the first one from the drawn place on that is not past its deadline.
    fn draw_live(&self, keyspace: &Keyspace<'_>, collection: &Collection, random: u64) -> Result<RowKey> {
        let drawn = draw_one(keyspace, collection, random)?;
        for from in [element_hash(&drawn), 0] {
            let (mut deadlines, mut found) = (self.deadlines(collection), None);
            scan(keyspace, collection, from, &mut |element, _| {
                if has_passed(keyspace, &mut deadlines, element)? {
                    return Ok(ControlFlow::Continue(()));
                }
                found = Some(RowKey::from_slice(element));
                Ok(ControlFlow::Break(()))
            })?;
            if let Some(found) = found {
                return Ok(found);
            }
        }
        Err(damaged(collection.key()))
    }
}

/// Returns whether a name that is visited in its turn is a field that is past its deadline.
fn has_passed(keyspace: &Keyspace<'_>, deadlines: &mut Option<DeadlinesInOrder<'_>>, element: &[u8]) -> Result<bool> {
    let Some(deadlines) = deadlines else { return Ok(false) };
    let deadline_ms = deadlines.get(keyspace, element)?;
    Ok(deadline_ms.is_some_and(|deadline_ms| deadline_ms < keyspace.now_ms))
}

fn is_expired(keyspace: &Keyspace<'_>, collection: &Collection, name: &[u8]) -> Result<bool> {
    let deadline = Deadline::read(keyspace, collection, name)?;
    Ok(deadline.is_some_and(|deadline| deadline.at_ms < keyspace.now_ms))
}

/// Visits all names of a packed collection in their order, until `visit` breaks or fails.
fn each_packed(packed: &Packed, visit: VisitName<'_>) -> Result<()> {
    let mut failed = Ok(());
    packed.each(&mut |name, value| {
        visit(name, value).unwrap_or_else(|error| {
            failed = Err(error);
            ControlFlow::Break(())
        })
    })?;
    failed
}

fn draw_one(keyspace: &Keyspace<'_>, collection: &Collection, random: u64) -> Result<RowKey> {
    random_name(keyspace, collection, NAMES, random)?.ok_or_else(|| damaged(collection.key()))
}

fn visit_element(
    keyspace: &Keyspace<'_>,
    collection: &Collection,
    element: &[u8],
    visit: VisitName<'_>,
) -> Result<ControlFlow<()>> {
    let value = keyspace.element(collection, element)?.ok_or_else(|| damaged(collection.key()))?;
    visit(element_name(element), &value)
}

/// Visits the rows of names, from the hash `from` on, until `visit` breaks or fails.
fn scan(keyspace: &Keyspace<'_>, collection: &Collection, from: u32, visit: VisitName<'_>) -> Result<()> {
    let (mut start, end) = (RowKey::from_slice(&[NAMES]), [NAMES + 1]);
    start.extend_from_slice(&from.to_be_bytes());
    let (from, to) = (Bound::Included(&start[..]), Bound::Excluded(&end[..]));
    let mut failed = Ok(());
    keyspace.scan_elements(collection, from, to, Direction::Forward, &mut |element, value| {
        visit(element, value).unwrap_or_else(|error| {
            failed = Err(error);
            ControlFlow::Break(())
        })
    })?;
    failed
}

/// The number below `bound` that `random` stands for.
pub(super) fn below(random: u64, bound: u64) -> u64 {
    ((u128::from(random) * u128::from(bound)) >> 64) as u64
}

#[cfg(test)]
mod tests {
    use std::collections::{BTreeMap, BTreeSet};

    use super::*;
    use crate::keyspace::support::Shard;

    fn filled(shard: &mut Shard, count: u32) {
        let mut keyspace = shard.keyspace();
        let mut hash = keyspace.hash_or_new(b"k").unwrap();
        for number in 0..count {
            hash.insert(&mut keyspace, &number.to_le_bytes(), &number.to_be_bytes()).unwrap();
        }
        hash.save(&mut keyspace).unwrap();
    }

    /// Random numbers of a seed: Knuth's MMIX generator, its low bits mixed.
    fn numbers(mut seed: u64) -> impl FnMut() -> u64 {
        move || {
            seed = seed.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
            seed ^ (seed >> 29)
        }
    }

    fn number(name: &[u8], value: &[u8]) -> u32 {
        let number = u32::from_le_bytes(name.try_into().unwrap());
        assert_eq!(value, number.to_be_bytes(), "a name comes with its own value");
        number
    }

    #[test]
    fn pages_together_have_each_name_once() {
        let mut shard = Shard::default();
        filled(&mut shard, 3000);
        let keyspace = shard.keyspace();
        let names = keyspace.names(b"k", Type::Hash).unwrap().unwrap();
        let (mut found, mut from, mut pages) = (BTreeSet::new(), Some(0), 0);
        while let Some(hash) = from {
            let mut left = 7;
            from = names
                .page(&keyspace, hash, &mut |name, value| {
                    assert!(found.insert(number(name, value)), "twice");
                    left -= 1;
                    Ok(if left <= 0 { ControlFlow::Break(()) } else { ControlFlow::Continue(()) })
                })
                .unwrap();
            assert_ne!(from, Some(0), "0 begins anew");
            pages += 1;
        }
        assert_eq!((found.len(), pages), (3000, 3000usize.div_ceil(7)));
    }

    #[test]
    fn names_that_were_there_throughout_are_on_a_page_whatever_comes_and_goes_between() {
        let mut shard = Shard::default();
        filled(&mut shard, 1000);
        let (mut found, mut from, mut step) = (BTreeSet::new(), Some(0), 0u32);
        while let Some(hash) = from {
            let mut keyspace = shard.keyspace();
            let names = keyspace.names(b"k", Type::Hash).unwrap().unwrap();
            let mut left = 10;
            from = names
                .page(&keyspace, hash, &mut |name, value| {
                    found.insert(number(name, value));
                    left -= 1;
                    Ok(if left <= 0 { ControlFlow::Break(()) } else { ControlFlow::Continue(()) })
                })
                .unwrap();
            let mut hash = keyspace.hash(b"k").unwrap().unwrap();
            // Odd ones go, and others come, before the place of the scan and behind it.
            assert!(hash.remove(&mut keyspace, &(2 * step + 1).to_le_bytes()).unwrap());
            let new = 1000 + step;
            assert!(hash.insert(&mut keyspace, &new.to_le_bytes(), &new.to_be_bytes()).unwrap());
            hash.save(&mut keyspace).unwrap();
            step += 1;
        }
        assert!((0..1000).step_by(2).all(|number| found.contains(&number)), "after {step} steps");
    }

    #[test]
    fn names_of_one_hash_are_on_one_page() {
        // Two names whose CRC-32 is the same.
        let names = [&b"plumless"[..], b"buckeroo"];
        assert_eq!(name_element(NAMES, names[0])[..5], name_element(NAMES, names[1])[..5]);
        let mut shard = Shard::default();
        let mut keyspace = shard.keyspace();
        let mut set = keyspace.set_or_new(b"k").unwrap();
        for name in names {
            set.insert(&mut keyspace, name).unwrap();
        }
        set.save(&mut keyspace).unwrap();
        let (set, mut count) = (keyspace.names(b"k", Type::Set).unwrap().unwrap(), 0);
        let next = set.page(&keyspace, 0, &mut |_, _| {
            count += 1;
            Ok(ControlFlow::Break(()))
        });
        assert_eq!((next.unwrap(), count), (None, 2));
    }

    #[test]
    fn a_sample_has_as_many_different_names_as_were_asked_for() {
        for size in [1, 5, 64, 65, 1000u32] {
            let mut shard = Shard::default();
            filled(&mut shard, size);
            let keyspace = shard.keyspace();
            let names = keyspace.names(b"k", Type::Hash).unwrap().unwrap();
            for count in [0, 1, 2, 20, 64, 333, 334, 999, 1000, u64::MAX] {
                let (mut found, mut random) = (BTreeSet::new(), numbers(count));
                names
                    .sample(&keyspace, count, &mut random, &mut |name, value| {
                        assert!(found.insert(number(name, value)), "twice");
                        Ok(ControlFlow::Continue(()))
                    })
                    .unwrap();
                assert_eq!(found.len() as u64, count.min(u64::from(size)), "{count} of {size}");
            }
            // Whatever the numbers are, they come to an end.
            let mut found = 0;
            names
                .sample(&keyspace, 20, &mut || 7, &mut |_, _| {
                    found += 1;
                    Ok(ControlFlow::Continue(()))
                })
                .unwrap();
            assert_eq!(found, size.min(20));
        }
    }

    #[test]
    fn every_name_is_drawn_and_every_sample_is_likely() {
        for size in [10, 200u32] {
            let mut shard = Shard::default();
            filled(&mut shard, size);
            let keyspace = shard.keyspace();
            let names = keyspace.names(b"k", Type::Hash).unwrap().unwrap();
            let (mut drawn, mut sampled) = (BTreeMap::new(), BTreeMap::new());
            let mut random = numbers(9);
            names
                .draw(&keyspace, u64::from(size) * 100, &mut random, &mut |name, value| {
                    *drawn.entry(number(name, value)).or_insert(0) += 1;
                    Ok(ControlFlow::Continue(()))
                })
                .unwrap();
            for _ in 0..200 {
                names
                    .sample(&keyspace, u64::from(size) / 2, &mut random, &mut |name, value| {
                        *sampled.entry(number(name, value)).or_insert(0) += 1;
                        Ok(ControlFlow::Continue(()))
                    })
                    .unwrap();
            }
            assert_eq!((drawn.len(), sampled.len()), (size as usize, size as usize));
            // 100 of each are expected, with a standard deviation of 7 in a pass over all
            assert!(sampled.values().all(|count| (60..140).contains(count)), "{sampled:?}");
        }
    }
}
