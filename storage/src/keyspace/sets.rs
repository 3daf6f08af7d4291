//! Sets: packed into one row while they are small, then one row per member, ordered by the member's hash.
//!
//! ```text
//! packed    members in the order in which they came, or, if all are integers, ascending    see `packed.rs`
//! fields    [removed u32 BE]                         see `Removed`
//! element   [0x00][name_hash(member) u32 BE][member …] → empty
//! ```
//!
//! See `hashed_names.rs` for the hash, and for how SPOP and SRANDMEMBER draw: deterministically from the random number they are
//! given, uniform for packed sets and for up to 64 members, and in O(log n) beyond.

use std::ops::ControlFlow;

use super::Keyspace;
use super::collection::Collection;
use super::hashed_names::{each_name, element_name, name_element, random_name};
use super::held::Held;
use super::keyspace::damaged;
use super::meta::Type;
use super::names::below;
use super::packed::Packed;
use super::packed_integers::read_integer;
use super::packing::Packing;
use super::renewal::Removed;
use crate::Result;

/// Row kind of a set's members.
const MEMBER: u8 = 0x00;

/// A set, opened for one command. What is changed takes effect with [`Set::save`].
#[derive(Debug)]
pub struct Set {
    held: Held,
    removed: Removed,
    /// True if rows have come or gone, or if an empty set is to replace what its key holds.
    is_resized: bool,
}

/// The outcome of an insertion into a packed set.
enum Insertion {
    Done,
    WasThere,
    NeedsRows,
}

impl Keyspace<'_> {
    /// The set at `key`, unless the key is absent or expired.
    ///
    /// # Errors
    /// [`Error::WrongType`](crate::Error::WrongType) if the key holds another type.
    pub fn set(&self, key: &[u8]) -> Result<Option<Set>> {
        self.held(key, Type::Set)?.map(Set::read).transpose()
    }

    /// The set at `key`, or a new empty one.
    ///
    /// # Errors
    /// [`Error::WrongType`](crate::Error::WrongType) if the key holds another type.
    pub fn set_or_new(&mut self, key: &[u8]) -> Result<Set> {
        Set::read(self.held_or_new(key, Type::Set)?)
    }

    /// A new empty set that replaces whatever `key` holds once it is saved; saved empty, it deletes the key.
    ///
    /// # Errors
    /// As the look-up of the key.
    pub fn set_replacing(&mut self, key: &[u8]) -> Result<Set> {
        let held = self.held_replacing(key, Type::Set)?;
        Ok(Set { held, removed: Removed::default(), is_resized: true })
    }
}

impl Set {
    fn read(held: Held) -> Result<Set> {
        let removed = Removed::of(&held)?;
        Ok(Set { held, removed, is_resized: false })
    }

    /// Returns the number of members.
    pub fn len(&self) -> u64 {
        self.held.len()
    }

    /// Returns whether there are none.
    pub fn is_empty(&self) -> bool {
        self.held.is_empty()
    }

    /// Returns whether the set is kept in one row.
    pub fn is_packed(&self) -> bool {
        matches!(self.held, Held::Packed(_))
    }

    /// Returns whether the set is kept in one row as integers.
    pub fn is_of_integers(&self) -> bool {
        matches!(&self.held, Held::Packed(packed) if packed.has_integers())
    }

    /// Returns whether `member` is in the set.
    pub fn contains(&self, keyspace: &Keyspace<'_>, member: &[u8]) -> Result<bool> {
        match &self.held {
            Held::Packed(packed) => Ok(packed.value_of(member).is_some()),
            Held::Rows(collection) => keyspace.has_element(collection, &name_element(MEMBER, member)),
        }
    }

    /// Visits all members.
    pub fn each(&self, keyspace: &Keyspace<'_>, visit: &mut dyn FnMut(&[u8])) -> Result<()> {
        match &self.held {
            Held::Packed(packed) => packed.each(&mut |member, _| {
                visit(member);
                ControlFlow::Continue(())
            }),
            Held::Rows(collection) => each_name(keyspace, collection, MEMBER, &mut |member, _| visit(member)),
        }
    }

    /// Adds `member` and says whether it was not there.
    pub fn insert(&mut self, keyspace: &mut Keyspace<'_>, member: &[u8]) -> Result<bool> {
        if let Held::Packed(packed) = &mut self.held {
            match insert_packed(packed, keyspace.packing(), member) {
                Insertion::Done => return Ok(true),
                Insertion::WasThere => return Ok(false),
                Insertion::NeedsRows => {}
            }
        }
        let collection = self.rows(keyspace)?;
        let element = name_element(MEMBER, member);
        // A set that does not exist yet has no rows to look for.
        if collection.size > 0 && keyspace.has_element(collection, &element)? {
            return Ok(false);
        }
        keyspace.put_element(collection, &element, &[]);
        collection.size += 1;
        self.is_resized = true;
        Ok(true)
    }

    /// The rows of the set, which it gets now if it was packed.
    fn rows(&mut self, keyspace: &mut Keyspace<'_>) -> Result<&mut Collection> {
        if let Held::Packed(packed) = &self.held {
            let mut collection = keyspace.unpacked(packed);
            packed.each(&mut |member, _| {
                keyspace.put_element(&collection, &name_element(MEMBER, member), &[]);
                ControlFlow::Continue(())
            })?;
            collection.size = packed.len();
            self.held = Held::Rows(collection);
            self.is_resized = true;
        }
        match &mut self.held {
            Held::Rows(collection) => Ok(collection),
            Held::Packed(_) => unreachable!("it has rows now"),
        }
    }

    /// Removes `member` and says whether it was there.
    pub fn remove(&mut self, keyspace: &mut Keyspace<'_>, member: &[u8]) -> Result<bool> {
        match &mut self.held {
            Held::Packed(packed) => Ok(remove_packed(packed, member)),
            Held::Rows(collection) => {
                let element = name_element(MEMBER, member);
                if !keyspace.has_element(collection, &element)? {
                    return Ok(false);
                }
                self.remove_element(keyspace, &element);
                Ok(true)
            }
        }
    }

    /// Removes a member drawn by the random number `random` and visits it. Nothing happens to an empty set.
    pub fn pop(&mut self, keyspace: &mut Keyspace<'_>, random: u64, visit: &mut dyn FnMut(&[u8])) -> Result<()> {
        if self.is_empty() {
            return Ok(());
        }
        let element = match &mut self.held {
            Held::Packed(packed) => return pop_packed(packed, below(random, packed.len()), visit),
            Held::Rows(collection) => random_name(keyspace, collection, MEMBER, random)?,
        };
        let element = element.ok_or_else(|| damaged(self.held.key()))?;
        self.remove_element(keyspace, &element);
        visit(element_name(&element));
        Ok(())
    }

    /// Removes all members at once: [`Set::save`] then deletes the key, which orphans their rows.
    pub fn clear(&mut self) {
        match &mut self.held {
            Held::Packed(packed) => packed.clear(),
            Held::Rows(collection) => collection.size = 0,
        }
        self.is_resized = true;
    }

    /// Stores what was changed, or deletes the key if the set is empty.
    pub fn save(&mut self, keyspace: &mut Keyspace<'_>) -> Result<()> {
        match &mut self.held {
            Held::Packed(packed) => keyspace.save_packed(packed),
            Held::Rows(collection) => {
                if std::mem::take(&mut self.is_resized) {
                    self.removed.renew(keyspace, collection)?;
                    collection.set_fields(&self.removed.bytes());
                    keyspace.save(collection);
                }
            }
        }
        Ok(())
    }

    fn remove_element(&mut self, keyspace: &mut Keyspace<'_>, element: &[u8]) {
        let Held::Rows(collection) = &mut self.held else { unreachable!("a packed set has no element rows") };
        keyspace.delete_element(collection, element);
        collection.size -= 1;
        self.removed.count(1);
        self.is_resized = true;
    }
}

/// Adds `member` to a packed set. As Redis, a set stays one of integers until something else comes, and never becomes one again.
fn insert_packed(packed: &mut Packed, packing: &Packing, member: &[u8]) -> Insertion {
    if packed.is_empty() || packed.has_integers() {
        if let Some(value) = read_integer(member) {
            match packed.search_integer(value) {
                Ok(_) => return Insertion::WasThere,
                Err(_) if packed.count >= packing.integers_max => return Insertion::NeedsRows,
                Err(index) => packed.insert_integer(index, value),
            }
            return Insertion::Done;
        }
        if packed.has_integers() && packed.count < packing.set_members_max && member.len() <= packing.string_bytes_max {
            packed.spell_integers();
        }
    }
    if packed.has_integers() {
        return Insertion::NeedsRows;
    }
    if packed.find(member).is_some() {
        return Insertion::WasThere;
    }
    if packed.count >= packing.set_members_max || member.len() > packing.string_bytes_max {
        return Insertion::NeedsRows;
    }
    packed.push(&[member]);
    Insertion::Done
}

/// Removes `member` from a packed set and says whether it was there.
fn remove_packed(packed: &mut Packed, member: &[u8]) -> bool {
    if packed.has_integers() {
        let index = read_integer(member).and_then(|value| packed.search_integer(value).ok());
        index.into_iter().for_each(|index| packed.remove_integer(index));
        return index.is_some();
    }
    let place = packed.find(member);
    place.into_iter().for_each(|place| packed.remove(place));
    place.is_some()
}

/// Removes the member with `index` others before it from a packed set, and visits it.
fn pop_packed(packed: &mut Packed, index: u64, visit: &mut dyn FnMut(&[u8])) -> Result<()> {
    if packed.has_integers() {
        packed.visit_integer(index as usize, &mut |member, _| visit(member));
        packed.remove_integer(index as usize);
        return Ok(());
    }
    let place = packed.place(index).ok_or_else(|| damaged(packed.key()))?;
    visit(packed.name(place));
    packed.remove(place);
    Ok(())
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use proptest::prelude::*;

    use super::*;
    use crate::keyspace::support::Shard;

    #[derive(Debug, Clone)]
    enum Step {
        Insert(Vec<u8>),
        Remove(Vec<u8>),
        Pop(u64),
        Clear,
    }

    fn step() -> impl Strategy<Value = Step> {
        let member = || proptest::collection::vec(0..4u8, 0..3);
        prop_oneof![
            6 => member().prop_map(Step::Insert),
            3 => member().prop_map(Step::Remove),
            2 => any::<u64>().prop_map(Step::Pop),
            1 => Just(Step::Clear),
        ]
    }

    fn members(shard: &mut Shard) -> Vec<Vec<u8>> {
        let keyspace = shard.keyspace();
        let mut members = Vec::new();
        if let Some(set) = keyspace.set(b"k").unwrap() {
            set.each(&keyspace, &mut |member| members.push(member.to_vec())).unwrap();
        }
        members.sort();
        members
    }

    fn filled(shard: &mut Shard, count: u32) {
        let mut keyspace = shard.keyspace();
        let mut set = keyspace.set_or_new(b"k").unwrap();
        for number in 0..count {
            assert!(set.insert(&mut keyspace, &number.to_le_bytes()).unwrap());
        }
        set.save(&mut keyspace).unwrap();
    }

    proptest! {
        #[test]
        fn a_set_is_a_set(steps in proptest::collection::vec(step(), 1..80)) {
            let mut shard = Shard::default();
            let mut model: BTreeSet<Vec<u8>> = BTreeSet::new();
            for step in steps {
                let mut keyspace = shard.keyspace();
                let mut set = keyspace.set_or_new(b"k").unwrap();
                prop_assert_eq!(set.len(), model.len() as u64);
                match step {
                    Step::Insert(member) => {
                        prop_assert_eq!(set.insert(&mut keyspace, &member).unwrap(), model.insert(member));
                    }
                    Step::Remove(member) => {
                        prop_assert_eq!(set.contains(&keyspace, &member).unwrap(), model.contains(&member));
                        prop_assert_eq!(set.remove(&mut keyspace, &member).unwrap(), model.remove(&member));
                    }
                    Step::Pop(random) => {
                        let mut popped = None;
                        set.pop(&mut keyspace, random, &mut |member| popped = Some(member.to_vec())).unwrap();
                        prop_assert_eq!(popped.is_some(), !model.is_empty());
                        prop_assert!(popped.is_none_or(|member| model.remove(&member)));
                    }
                    Step::Clear => {
                        set.clear();
                        model.clear();
                    }
                }
                set.save(&mut keyspace).unwrap();
                prop_assert_eq!(members(&mut shard), model.iter().cloned().collect::<Vec<_>>());
                prop_assert_eq!(shard.element_count(b"k"), model.len());
            }
        }
    }

    #[test]
    fn the_same_random_number_draws_the_same_member() {
        let draw = |random| {
            let mut shard = Shard::default();
            filled(&mut shard, 1000);
            let mut keyspace = shard.keyspace();
            let mut set = keyspace.set(b"k").unwrap().unwrap();
            let mut popped = Vec::new();
            set.pop(&mut keyspace, random, &mut |member| popped = member.to_vec()).unwrap();
            popped
        };
        assert_eq!(draw(77 << 40), draw(77 << 40));
        assert_ne!(draw(77 << 40), draw(78 << 56));
        // the last hash: the draw goes on from the start
        assert_eq!(draw(u64::MAX).len(), 4);
    }

    /// Draws from `count` members often; returns how often the members came, relative to what is expected.
    fn draws(count: u32) -> Vec<f64> {
        let mut shard = Shard::default();
        filled(&mut shard, count);
        let keyspace = shard.keyspace();
        let set = keyspace.set(b"k").unwrap().unwrap();
        let mut drawn = vec![0; count as usize];
        let mut random = 1u64;
        let rounds = 400 * count;
        for _ in 0..rounds {
            // Knuth's MMIX generator, its low bits mixed
            random = random.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
            let Held::Rows(collection) = &set.held else { panic!("it has rows") };
            let element = random_name(&keyspace, collection, MEMBER, random ^ (random >> 29)).unwrap().unwrap();
            let number = u32::from_le_bytes(element_name(&element).try_into().unwrap());
            drawn[number as usize] += 1;
        }
        drawn.iter().map(|&times| f64::from(times) / 400.0).collect()
    }

    #[test]
    fn small_sets_draw_uniformly() {
        let shares = draws(10);
        // 400 draws each: five standard deviations are a quarter
        assert!(shares.iter().all(|share| (0.75..1.25).contains(share)), "{shares:?}");
    }

    #[test]
    fn large_sets_draw_about_uniformly() {
        let shares = draws(1000);
        let deviation = (shares.iter().map(|share| (share - 1.0).powi(2)).sum::<f64>() / 1000.0).sqrt();
        assert!(deviation < 0.35, "standard deviation of the shares: {deviation}");
        assert!(shares.iter().all(|&share| share > 0.1), "a member is hardly ever drawn");
    }

    #[test]
    fn a_set_that_shrank_leaves_its_tombstones_behind() {
        let mut shard = Shard::default();
        filled(&mut shard, 3000);
        let version = shard.version(b"k");
        for number in 0..2990u32 {
            let mut keyspace = shard.keyspace();
            let mut set = keyspace.set(b"k").unwrap().unwrap();
            assert!(set.remove(&mut keyspace, &number.to_le_bytes()).unwrap());
            set.save(&mut keyspace).unwrap();
        }
        assert_ne!(shard.version(b"k"), version);
        let left: Vec<_> =
            members(&mut shard).iter().map(|member| u32::from_le_bytes(member[..].try_into().unwrap())).collect();
        let mut left_sorted = left.clone();
        left_sorted.sort();
        assert_eq!(left_sorted, (2990..3000).collect::<Vec<_>>());
    }
}
