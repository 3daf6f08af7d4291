//! Lists that are too large for one row: a row for each element, numbered.
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
use super::lists::End;
use crate::{Direction, Result, Row};

/// Row kind of a list's elements.
const ELEMENT: u8 = 0x00;

/// A list with a row for each element. Changes to its length take effect with [`ListRows::save`].
#[derive(Debug)]
pub(super) struct ListRows {
    pub(super) collection: Collection,
    pub(super) head: i64,
    pub(super) tail: i64,
}

impl ListRows {
    /// An empty list in `collection`, which is new.
    pub(super) fn new(collection: Collection) -> ListRows {
        ListRows { collection, head: 0, tail: 0 }
    }

    pub(super) fn read(collection: Collection) -> Result<ListRows> {
        let fields = collection.fields();
        let numbers = fields.split_first_chunk::<8>().and_then(|(head, rest)| {
            let tail: &[u8; 8] = rest.try_into().ok()?;
            Some((i64::from_be_bytes(*head), i64::from_be_bytes(*tail)))
        });
        match numbers {
            Some((head, tail)) if tail.checked_sub(head).is_some_and(|size| size as u64 == collection.size) => {
                Ok(ListRows { collection, head, tail })
            }
            _ => Err(damaged(collection.key())),
        }
    }

    /// Returns the number of elements.
    pub fn len(&self) -> u64 {
        self.collection.size
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
    use super::*;
    use crate::keyspace::meta::Type;
    use crate::keyspace::support::Shard;

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
        let mut list = ListRows::new(keyspace.collection_or_new(b"k", Type::List).unwrap());
        (0..3).for_each(|_| list.push(&mut keyspace, End::Tail, b"v"));
        list.save(&mut keyspace);
        keyspace.delete_element(&list.collection, &element(1));
        assert!(list.each(&keyspace, 0..3, &mut |_| {}).is_err());
        assert!(list.get(&keyspace, 1).is_err());
        assert!(list.get(&keyspace, 2).unwrap().is_some());
    }
}
