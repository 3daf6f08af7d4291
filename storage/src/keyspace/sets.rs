//! Sets: one row per member, ordered by the member's hash.
//!
//! ```text
//! fields    [removed u32 BE]                         see `Removed`
//! element   [0x00][name_hash(member) u32 BE][member …] → empty
//! ```
//!
//! See `hashed_names.rs` for the hash, and for how SPOP and SRANDMEMBER draw: deterministically from the random number they are
//! given, uniform for up to 64 members, and in O(log n) beyond.

use super::Keyspace;
use super::collection::Collection;
use super::hashed_names::{each_name, element_name, name_element, random_name};
use super::keyspace::damaged;
use super::meta::Type;
use super::renewal::Removed;
use crate::Result;

/// Row kind of a set's members.
const MEMBER: u8 = 0x00;

/// A set, opened for one command. Changes to its size take effect with [`Set::save`].
#[derive(Debug)]
pub struct Set {
    collection: Collection,
    removed: Removed,
}

impl Keyspace<'_> {
    /// The set at `key`, unless the key is absent or expired.
    ///
    /// # Errors
    /// [`Error::WrongType`](crate::Error::WrongType) if the key holds another type.
    pub fn set(&self, key: &[u8]) -> Result<Option<Set>> {
        self.collection(key, Type::Set)?.map(Set::read).transpose()
    }

    /// The set at `key`, or a new empty one.
    ///
    /// # Errors
    /// [`Error::WrongType`](crate::Error::WrongType) if the key holds another type.
    pub fn set_or_new(&mut self, key: &[u8]) -> Result<Set> {
        let collection = self.collection_or_new(key, Type::Set)?;
        if collection.is_new() { Ok(Set { collection, removed: Removed::default() }) } else { Set::read(collection) }
    }

    /// A new empty set that replaces whatever `key` holds once it is saved; saved empty, it deletes the key.
    ///
    /// # Errors
    /// As the look-up of the key.
    pub fn set_replacing(&mut self, key: &[u8]) -> Result<Set> {
        Ok(Set { collection: self.replacement(key, Type::Set)?, removed: Removed::default() })
    }
}

impl Set {
    fn read(collection: Collection) -> Result<Set> {
        match Removed::read(collection.fields()) {
            Some((removed, [])) => Ok(Set { collection, removed }),
            _ => Err(damaged(collection.key())),
        }
    }

    /// Returns the number of members.
    pub fn len(&self) -> u64 {
        self.collection.size
    }

    /// Returns whether there are none.
    pub fn is_empty(&self) -> bool {
        self.collection.size == 0
    }

    /// Returns whether `member` is in the set.
    pub fn contains(&self, keyspace: &Keyspace<'_>, member: &[u8]) -> Result<bool> {
        keyspace.has_element(&self.collection, &name_element(MEMBER, member))
    }

    /// Visits all members.
    pub fn each(&self, keyspace: &Keyspace<'_>, visit: &mut dyn FnMut(&[u8])) -> Result<()> {
        each_name(keyspace, &self.collection, MEMBER, &mut |member, _| visit(member))
    }

    /// Adds `member` and says whether it was not there.
    pub fn insert(&mut self, keyspace: &mut Keyspace<'_>, member: &[u8]) -> Result<bool> {
        let element = name_element(MEMBER, member);
        // A set that does not exist yet has no rows to look for.
        if !self.is_empty() && keyspace.has_element(&self.collection, &element)? {
            return Ok(false);
        }
        keyspace.put_element(&self.collection, &element, &[]);
        self.collection.size += 1;
        Ok(true)
    }

    /// Removes `member` and says whether it was there.
    pub fn remove(&mut self, keyspace: &mut Keyspace<'_>, member: &[u8]) -> Result<bool> {
        let element = name_element(MEMBER, member);
        if !keyspace.has_element(&self.collection, &element)? {
            return Ok(false);
        }
        self.remove_element(keyspace, &element);
        Ok(true)
    }

    /// Removes a member drawn by the random number `random` and visits it. Nothing happens to an empty set.
    pub fn pop(&mut self, keyspace: &mut Keyspace<'_>, random: u64, visit: &mut dyn FnMut(&[u8])) -> Result<()> {
        if self.is_empty() {
            return Ok(());
        }
        let element = random_name(keyspace, &self.collection, MEMBER, random)?;
        let element = element.ok_or_else(|| damaged(self.collection.key()))?;
        self.remove_element(keyspace, &element);
        visit(element_name(&element));
        Ok(())
    }

    /// Removes all members at once: [`Set::save`] then deletes the key, which orphans their rows.
    pub fn clear(&mut self) {
        self.collection.size = 0;
    }

    /// Stores the set's size, or deletes the key if the set is empty.
    pub fn save(&mut self, keyspace: &mut Keyspace<'_>) -> Result<()> {
        self.removed.renew(keyspace, &mut self.collection)?;
        self.collection.set_fields(&self.removed.bytes());
        keyspace.save(&mut self.collection);
        Ok(())
    }

    fn remove_element(&mut self, keyspace: &mut Keyspace<'_>, element: &[u8]) {
        keyspace.delete_element(&self.collection, element);
        self.collection.size -= 1;
        self.removed.count(1);
    }
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
            let element = random_name(&keyspace, &set.collection, MEMBER, random ^ (random >> 29)).unwrap().unwrap();
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
