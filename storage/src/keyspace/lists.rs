//! Lists: one row per element, numbered.
//!
//! ```text
//! fields    [head i64 BE][tail i64 BE]               elements are numbered head..tail
//! element   [0x00][number u64 BE] → value            number = the i64 with its sign bit flipped, so that rows sort by it
//! ```
//!
//! The numbers are dense: `size = tail - head`, so an index is a number and LINDEX is one point read; LRANGE is one ordered
//! scan that starts and ends where it should; a push or pop touches one row and the metadata. Numbers start at 0 and grow
//! in both directions; a list that becomes empty stops to exist, and the next one starts at 0 again.
//!
//! LINSERT and LREM keep the numbers dense by renumbering the shorter side (`list_edits.rs`): they already read O(n) rows to find
//! their place, as in Redis. LSET overwrites a row, LTRIM deletes rows at the ends, LMOVE is a pop and a push. A later version may
//! leave holes instead (`size < tail - head` says that there are some), which readers of this version refuse as damage
//! rather than misread.

use std::ops::{Bound, ControlFlow, Range};

use super::Keyspace;
use super::collection::Collection;
use super::keyspace::damaged;
use super::meta::Type;
use crate::{Direction, Result, Row};

/// Row kind of a list's elements.
const ELEMENT: u8 = 0x00;

/// An end of a list.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum End {
    /// Index 0.
    Head,
    /// Index -1.
    Tail,
}

/// A list, opened for one command. Changes to its length take effect with [`List::save`].
#[derive(Debug)]
pub struct List {
    pub(super) collection: Collection,
    pub(super) head: i64,
    pub(super) tail: i64,
}

impl Keyspace<'_> {
    /// The list at `key`, unless the key is absent or expired.
    ///
    /// # Errors
    /// [`Error::WrongType`](crate::Error::WrongType) if the key holds another type.
    pub fn list(&self, key: &[u8]) -> Result<Option<List>> {
        self.collection(key, Type::List)?.map(List::read).transpose()
    }

    /// The list at `key`, or a new empty one.
    ///
    /// # Errors
    /// [`Error::WrongType`](crate::Error::WrongType) if the key holds another type.
    pub fn list_or_new(&mut self, key: &[u8]) -> Result<List> {
        let collection = self.collection_or_new(key, Type::List)?;
        if collection.is_new() { Ok(List { collection, head: 0, tail: 0 }) } else { List::read(collection) }
    }

    /// A new empty list that replaces whatever `key` holds once it is saved; saved empty, it deletes the key.
    ///
    /// # Errors
    /// As the look-up of the key.
    pub fn list_replacing(&mut self, key: &[u8]) -> Result<List> {
        Ok(List { collection: self.replacement(key, Type::List)?, head: 0, tail: 0 })
    }
}

impl List {
    pub(super) fn read(collection: Collection) -> Result<List> {
        let fields = collection.fields();
        let numbers = fields.split_first_chunk::<8>().and_then(|(head, rest)| {
            let tail: &[u8; 8] = rest.try_into().ok()?;
            Some((i64::from_be_bytes(*head), i64::from_be_bytes(*tail)))
        });
        match numbers {
            Some((head, tail)) if tail.checked_sub(head).is_some_and(|size| size as u64 == collection.size) => {
                Ok(List { collection, head, tail })
            }
            _ => Err(damaged(collection.key())),
        }
    }

    /// Returns the number of elements.
    pub fn len(&self) -> u64 {
        self.collection.size
    }

    /// Returns whether there are none.
    pub fn is_empty(&self) -> bool {
        self.collection.size == 0
    }

    /// The element at `index`, which counts from the head.
    pub fn get<'k>(&self, keyspace: &'k Keyspace<'_>, index: u64) -> Result<Option<Row<'k>>> {
        if index >= self.len() {
            return Ok(None);
        }
        let row = keyspace.element(&self.collection, &element(self.number(index)))?;
        if row.is_none() {
            return Err(damaged(self.collection.key()));
        }
        Ok(row)
    }

    /// Visits the elements at `indexes` in order.
    pub fn each(&self, keyspace: &Keyspace<'_>, indexes: Range<u64>, visit: &mut dyn FnMut(&[u8])) -> Result<()> {
        self.scan(keyspace, indexes, Direction::Forward, visit)
    }

    /// Adds `value` at `end`.
    pub fn push(&mut self, keyspace: &mut Keyspace<'_>, end: End, value: &[u8]) {
        let number = match end {
            End::Head => {
                self.head = self.head.checked_sub(1).expect("no list lives long enough to use up 2^63 numbers");
                self.head
            }
            End::Tail => {
                let number = self.tail;
                self.tail = number.checked_add(1).expect("no list lives long enough to use up 2^63 numbers");
                number
            }
        };
        keyspace.put_element(&self.collection, &element(number), value);
        self.collection.size += 1;
    }

    /// Overwrites the element at `index`, which counts from the head.
    ///
    /// # Panics
    /// If the list is not that long.
    pub fn set(&self, keyspace: &mut Keyspace<'_>, index: u64, value: &[u8]) {
        assert!(index < self.len(), "only an element that exists is overwritten");
        keyspace.put_element(&self.collection, &element(self.number(index)), value);
    }

    /// Removes up to `count` elements from `end` and visits them in the order of removal.
    pub fn pop(
        &mut self,
        keyspace: &mut Keyspace<'_>,
        end: End,
        count: u64,
        visit: &mut dyn FnMut(&[u8]),
    ) -> Result<()> {
        let count = count.min(self.len());
        if count == 1 {
            let index = if end == End::Head { 0 } else { self.len() - 1 };
            visit(&self.get(keyspace, index)?.ok_or_else(|| damaged(self.collection.key()))?);
        } else {
            match end {
                End::Head => self.scan(keyspace, 0..count, Direction::Forward, visit)?,
                End::Tail => self.scan(keyspace, self.len() - count..self.len(), Direction::Backward, visit)?,
            }
        }
        self.remove(keyspace, end, count);
        Ok(())
    }

    /// Removes `count` elements from `end` unseen. A list that ends up empty keeps its rows: deleting the key orphans them.
    ///
    /// # Panics
    /// If there are fewer.
    pub fn remove(&mut self, keyspace: &mut Keyspace<'_>, end: End, count: u64) {
        assert!(count <= self.len(), "only elements that exist are removed");
        let numbers = match end {
            End::Head => self.head..self.number(count),
            End::Tail => self.number(self.len() - count)..self.tail,
        };
        match end {
            End::Head => self.head = numbers.end,
            End::Tail => self.tail = numbers.start,
        }
        self.collection.size -= count;
        // One row is deleted even where the whole key goes: a queue that runs empty again and again leaves no orphans.
        if self.collection.size > 0 || count == 1 {
            numbers.for_each(|number| keyspace.delete_element(&self.collection, &element(number)));
        }
    }

    /// Stores the list's length, or deletes the key if the list is empty.
    pub fn save(&mut self, keyspace: &mut Keyspace<'_>) {
        let mut fields = [0; 16];
        fields[..8].copy_from_slice(&self.head.to_be_bytes());
        fields[8..].copy_from_slice(&self.tail.to_be_bytes());
        self.collection.set_fields(&fields);
        keyspace.save(&mut self.collection);
    }

    /// The number of the element at `index`; `index` may be the length, for the end of a range.
    pub(super) fn number(&self, index: u64) -> i64 {
        self.head + index as i64
    }

    fn scan(
        &self,
        keyspace: &Keyspace<'_>,
        indexes: Range<u64>,
        direction: Direction,
        visit: &mut dyn FnMut(&[u8]),
    ) -> Result<()> {
        if indexes.is_empty() {
            return Ok(());
        }
        let (from, to) = (element(self.number(indexes.start)), element(self.number(indexes.end)));
        let mut missing = indexes.end - indexes.start;
        keyspace.scan_elements(
            &self.collection,
            Bound::Included(&from),
            Bound::Excluded(&to),
            direction,
            &mut |_, value| {
                visit(value);
                missing = missing.wrapping_sub(1);
                ControlFlow::Continue(())
            },
        )?;
        // The reply's header has already said how many there are.
        if missing == 0 { Ok(()) } else { Err(damaged(self.collection.key())) }
    }
}

/// The element bytes of element `number`.
pub(super) fn element(number: i64) -> [u8; 9] {
    let mut element = [ELEMENT; 9];
    element[1..].copy_from_slice(&(number as u64 ^ (1 << 63)).to_be_bytes());
    element
}

#[cfg(test)]
mod tests {
    use std::collections::VecDeque;

    use proptest::prelude::*;

    use super::*;
    use crate::keyspace::support::Shard;

    #[derive(Debug, Clone)]
    enum Step {
        Push(End, Vec<Vec<u8>>),
        Pop(End, u64),
        Remove(End, u64),
        Set(u64, Vec<u8>),
        Read(u64, u64),
    }

    fn step() -> impl Strategy<Value = Step> {
        let end = || prop_oneof![Just(End::Head), Just(End::Tail)];
        let value = || proptest::collection::vec(any::<u8>(), 0..4);
        prop_oneof![
            3 => (end(), proptest::collection::vec(value(), 1..5)).prop_map(|(end, values)| Step::Push(end, values)),
            2 => (end(), 0..4u64).prop_map(|(end, count)| Step::Pop(end, count)),
            1 => (end(), 0..3u64).prop_map(|(end, count)| Step::Remove(end, count)),
            1 => (0..10u64, value()).prop_map(|(index, value)| Step::Set(index, value)),
            2 => (0..10u64, 0..10u64).prop_map(|(from, count)| Step::Read(from, count)),
        ]
    }

    proptest! {
        #[test]
        fn a_list_is_a_deque(steps in proptest::collection::vec(step(), 1..60)) {
            let mut shard = Shard::default();
            let mut model: VecDeque<Vec<u8>> = VecDeque::new();
            for step in steps {
                let mut keyspace = shard.keyspace();
                let mut list = keyspace.list_or_new(b"k").unwrap();
                prop_assert_eq!(list.len(), model.len() as u64);
                match step {
                    Step::Push(end, values) => for value in values {
                        list.push(&mut keyspace, end, &value);
                        match end {
                            End::Head => model.push_front(value),
                            End::Tail => model.push_back(value),
                        }
                    },
                    Step::Pop(end, count) => {
                        let mut popped = Vec::new();
                        list.pop(&mut keyspace, end, count, &mut |value| popped.push(value.to_vec())).unwrap();
                        let expected: Vec<_> = std::iter::from_fn(|| match end {
                            End::Head => model.pop_front(),
                            End::Tail => model.pop_back(),
                        }).take(count as usize).collect();
                        prop_assert_eq!(popped, expected);
                    }
                    Step::Remove(end, count) => {
                        let count = count.min(list.len());
                        list.remove(&mut keyspace, end, count);
                        match end {
                            End::Head => drop(model.drain(..count as usize)),
                            End::Tail => model.truncate(model.len() - count as usize),
                        }
                    }
                    Step::Set(index, value) => if index < list.len() {
                        list.set(&mut keyspace, index, &value);
                        model[index as usize] = value;
                    },
                    Step::Read(from, count) => {
                        let row = list.get(&keyspace, from).unwrap();
                        prop_assert_eq!(row.as_deref(), model.get(from as usize).map(|value| &value[..]));
                        let (from, to) = (from.min(list.len()), (from + count).min(list.len()));
                        let mut read = Vec::new();
                        list.each(&keyspace, from..to, &mut |value| read.push(value.to_vec())).unwrap();
                        let expected: Vec<_> = model.range(from as usize..to as usize).cloned().collect();
                        prop_assert_eq!(read, expected);
                    }
                }
                list.save(&mut keyspace);
                prop_assert_eq!(keyspace.exists(b"k").unwrap(), !model.is_empty());
                prop_assert_eq!(shard.element_count(b"k"), model.len());
            }
        }
    }

    #[test]
    fn rows_sort_by_number() {
        let numbers = [i64::MIN, -256, -1, 0, 1, 255, 256, i64::MAX];
        assert!(numbers.map(element).is_sorted());
        assert_eq!(element(0), [0, 0x80, 0, 0, 0, 0, 0, 0, 0]);
    }

    #[test]
    fn a_missing_element_is_damage_and_not_a_short_reply() {
        let mut shard = Shard::default();
        let mut keyspace = shard.keyspace();
        let mut list = keyspace.list_or_new(b"k").unwrap();
        (0..3).for_each(|_| list.push(&mut keyspace, End::Tail, b"v"));
        list.save(&mut keyspace);
        keyspace.delete_element(&list.collection, &element(1));
        assert!(list.each(&keyspace, 0..3, &mut |_| {}).is_err());
        assert!(list.get(&keyspace, 1).is_err());
        assert!(list.get(&keyspace, 2).unwrap().is_some());
    }
}
