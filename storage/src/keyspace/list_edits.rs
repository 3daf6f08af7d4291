//! Elements of lists that are looked for, put in between and taken out.
//!
//! What a newcomer would get wrong: the numbers of elements are dense, so whatever comes between two of them or goes moves all on
//! one side of it by one. It is the side with fewer elements, but in the middle of a long list those are many rows.

use std::ops::{Bound, ControlFlow, Range};

use super::Keyspace;
use super::list_rows::{ListRows, element};
use super::lists::End;
use crate::{Direction, Result};

impl ListRows {
    /// Visits the elements at `indexes` with their indexes, in `direction`, until `visit` breaks.
    ///
    /// # Errors
    /// As the reads.
    pub fn search(
        &self,
        keyspace: &Keyspace<'_>,
        indexes: Range<u64>,
        direction: Direction,
        visit: &mut dyn FnMut(u64, &[u8]) -> ControlFlow<()>,
    ) -> Result<()> {
        let (from, to) = (element(self.number(indexes.start)), element(self.number(indexes.end)));
        let (from, to) = (Bound::Included(&from[..]), Bound::Excluded(&to[..]));
        let mut left = indexes;
        keyspace.scan_elements(&self.collection, from, to, direction, &mut |_, value| {
            let index = match direction {
                Direction::Forward => left.next(),
                Direction::Backward => left.next_back(),
            };
            index.map_or(ControlFlow::Break(()), |index| visit(index, value))
        })
    }

    /// Puts `value` in front of the element at `index`, which counts from the head, or behind the last one if it is the length.
    ///
    /// # Errors
    /// As the reads; nothing is changed then.
    ///
    /// # Panics
    /// If the list is shorter.
    pub fn insert(&mut self, keyspace: &mut Keyspace<'_>, index: u64, value: &[u8]) -> Result<()> {
        assert!(index <= self.len(), "an element is put between those that exist");
        let number = self.number(index);
        let new_number = if index < self.len() - index {
            let before = self.values(keyspace, 0..index)?;
            self.head -= 1;
            self.put_from(keyspace, self.head, &before);
            number - 1
        } else {
            let behind = self.values(keyspace, index..self.len())?;
            self.tail += 1;
            self.put_from(keyspace, number + 1, &behind);
            number
        };
        keyspace.put_element(&self.collection, &element(new_number), value);
        self.collection.size += 1;
        Ok(())
    }

    /// Takes out the elements at `indexes`, which count from the head and ascend.
    ///
    /// # Errors
    /// As the reads; nothing is changed then.
    ///
    /// # Panics
    /// If the list is shorter.
    pub fn take_out(&mut self, keyspace: &mut Keyspace<'_>, indexes: &[u64]) -> Result<()> {
        let count = indexes.len() as u64;
        assert!(indexes.last().is_none_or(|last| *last < self.len()), "only elements that exist are taken out");
        if count == self.len() {
            self.remove(keyspace, End::Head, count);
            return Ok(());
        }
        // Those that go before the split are closed up from the head, the others from the tail; what is between them stays.
        let moved = |split: usize| {
            let at_head = indexes[..split].last().map_or(0, |last| last + 1 - split as u64);
            let at_tail = indexes.get(split).map_or(0, |first| self.len() - first - (count - split as u64));
            at_head + at_tail
        };
        let split = (0..=indexes.len()).min_by_key(|split| moved(*split)).expect("there is one split at least");
        let (at_head, at_tail) = indexes.split_at(split);
        let before = self.kept_values(keyspace, 0..at_head.last().map_or(0, |last| last + 1), at_head)?;
        let behind = self.kept_values(keyspace, at_tail.first().copied().unwrap_or(self.len())..self.len(), at_tail)?;
        let (old_head, old_tail) = (self.head, self.tail);
        self.head += at_head.len() as i64;
        self.tail -= at_tail.len() as i64;
        self.put_from(keyspace, self.head, &before);
        self.put_from(keyspace, self.tail - behind.len() as i64, &behind);
        for number in (old_head..self.head).chain(self.tail..old_tail) {
            keyspace.delete_element(&self.collection, &element(number));
        }
        self.collection.size -= count;
        Ok(())
    }

    fn values(&self, keyspace: &Keyspace<'_>, indexes: Range<u64>) -> Result<Vec<Box<[u8]>>> {
        let mut values = Vec::new();
        self.each(keyspace, indexes, &mut |value| values.push(value.into()))?;
        Ok(values)
    }

    /// The elements at `indexes` but for those at `left_out`.
    fn kept_values(&self, keyspace: &Keyspace<'_>, indexes: Range<u64>, left_out: &[u64]) -> Result<Vec<Box<[u8]>>> {
        let (mut values, mut index, mut left_out) = (Vec::new(), indexes.start, left_out.iter().peekable());
        self.each(keyspace, indexes, &mut |value| {
            if left_out.next_if_eq(&&index).is_none() {
                values.push(value.into());
            }
            index += 1;
        })?;
        Ok(values)
    }

    fn put_from(&self, keyspace: &mut Keyspace<'_>, first: i64, values: &[Box<[u8]>]) {
        for (number, value) in (first..).zip(values) {
            keyspace.put_element(&self.collection, &element(number), value);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::keyspace::meta::Type;
    use crate::keyspace::support::Shard;

    #[test]
    fn the_side_with_fewer_elements_moves() {
        for (index, head, tail) in [(1, -1, 100), (99, 0, 101), (50, 0, 101), (49, -1, 100)] {
            let mut shard = Shard::default();
            let mut keyspace = shard.keyspace();
            let mut list = ListRows::new(keyspace.collection_or_new(b"k", Type::List).unwrap());
            (0..100u8).for_each(|value| list.push(&mut keyspace, End::Tail, &[value]));
            list.insert(&mut keyspace, index, b"new").unwrap();
            assert_eq!((list.head, list.tail), (head, tail), "before {index}");
        }
        for (indexes, head, tail) in
            [(&[1, 2, 97][..], 2, 99), (&[98], 0, 99), (&[0, 99], 1, 99), (&[60, 61, 62], 0, 97)]
        {
            let mut shard = Shard::default();
            let mut keyspace = shard.keyspace();
            let mut list = ListRows::new(keyspace.collection_or_new(b"k", Type::List).unwrap());
            (0..100u8).for_each(|value| list.push(&mut keyspace, End::Tail, &[value]));
            list.take_out(&mut keyspace, indexes).unwrap();
            assert_eq!((list.head, list.tail), (head, tail), "without {indexes:?}");
        }
    }
}
