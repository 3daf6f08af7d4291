//! A small list in one row: its elements one behind the other, from the head to the tail; see `packed.rs` for the bytes.
//!
//! What a newcomer would get wrong: nothing leads to an element but those before it, so each look walks from the head. That is why
//! a packed list is bounded by its bytes, and an element at the tail is found last.

use std::ops::{ControlFlow, Range};

use super::keyspace::damaged;
use super::lists::End;
use super::packed::{Packed, encoded_bytes};
use crate::{Direction, Result};

/// A list that lies in one row.
#[derive(Debug)]
pub(super) struct PackedList {
    pub(super) packed: Packed,
}

impl PackedList {
    /// Returns the number of elements.
    pub(super) fn len(&self) -> u64 {
        self.packed.len()
    }

    /// Returns the bytes of the list's elements with one of these bytes more.
    pub(super) fn bytes_with(&self, value: &[u8]) -> usize {
        self.packed.elements().len() + encoded_bytes(value)
    }

    /// The element at `index`.
    ///
    /// # Errors
    /// [`Error::Corruption`](crate::Error::Corruption) if it is not there.
    pub(super) fn get(&self, index: u64) -> Result<&[u8]> {
        let place = self.packed.place(index).ok_or_else(|| self.damaged())?;
        Ok(self.packed.name(place))
    }

    /// Visits the elements at `indexes` with their indexes, in `direction`, until `visit` breaks.
    ///
    /// # Errors
    /// [`Error::Corruption`](crate::Error::Corruption) if there are not as many.
    pub(super) fn search(
        &self,
        indexes: Range<u64>,
        direction: Direction,
        visit: &mut dyn FnMut(u64, &[u8]) -> ControlFlow<()>,
    ) -> Result<()> {
        let mut values = self.packed.strings().map(|(value, _)| value).skip(indexes.start as usize);
        if direction == Direction::Forward {
            for index in indexes {
                if visit(index, values.next().ok_or_else(|| self.damaged())?).is_break() {
                    break;
                }
            }
            return Ok(());
        }
        let values: Vec<&[u8]> = values.take(indexes.end.saturating_sub(indexes.start) as usize).collect();
        if indexes.start + values.len() as u64 != indexes.end.max(indexes.start) {
            return Err(self.damaged());
        }
        let _ = indexes.rev().zip(values.into_iter().rev()).try_for_each(|(index, value)| visit(index, value));
        Ok(())
    }

    /// Adds `value` at `end`.
    pub(super) fn push(&mut self, end: End, value: &[u8]) {
        let at = if end == End::Head { 0 } else { self.packed.elements().len() };
        self.packed.insert(at, &[value]);
    }

    /// Puts `value` in front of the element at `index`, or behind the last one if it is the length.
    ///
    /// # Errors
    /// [`Error::Corruption`](crate::Error::Corruption) if there are not as many elements.
    pub(super) fn insert(&mut self, index: u64, value: &[u8]) -> Result<()> {
        let at = self.start(index)?;
        self.packed.insert(at, &[value]);
        Ok(())
    }

    /// Overwrites the element at `index`.
    ///
    /// # Errors
    /// [`Error::Corruption`](crate::Error::Corruption) if it is not there.
    pub(super) fn set(&mut self, index: u64, value: &[u8]) -> Result<()> {
        let place = self.packed.place(index).ok_or_else(|| self.damaged())?;
        self.packed.splice(place.start..place.end, &[value]);
        Ok(())
    }

    /// Removes the element at `end`, which there is, and visits it.
    ///
    /// # Errors
    /// [`Error::Corruption`](crate::Error::Corruption) if it cannot be read.
    pub(super) fn pop(&mut self, end: End, visit: &mut dyn FnMut(&[u8])) -> Result<()> {
        let index = if end == End::Head { 0 } else { self.len() - 1 };
        let place = self.packed.place(index).ok_or_else(|| self.damaged())?;
        visit(self.packed.name(place));
        self.packed.remove(place);
        Ok(())
    }

    /// Removes `count` elements from `end`; there are as many.
    ///
    /// # Errors
    /// [`Error::Corruption`](crate::Error::Corruption) if there are not.
    pub(super) fn remove(&mut self, end: End, count: u64) -> Result<()> {
        if count == 0 {
            return Ok(());
        }
        let left = self.len() - count;
        let gone = match end {
            End::Head => 0..self.start(count)?,
            End::Tail => self.start(left)?..self.packed.elements().len(),
        };
        self.packed.splice(gone, &[]);
        self.packed.count = left as usize;
        Ok(())
    }

    /// Takes out the elements at `indexes`, which ascend.
    ///
    /// # Errors
    /// [`Error::Corruption`](crate::Error::Corruption) if they are not there.
    pub(super) fn take_out(&mut self, indexes: &[u64]) -> Result<()> {
        let (mut kept, mut goes) = (Vec::with_capacity(self.packed.elements().len()), indexes.iter().peekable());
        let mut at = 0;
        self.search(0..self.len(), Direction::Forward, &mut |index, value| {
            let end = at + encoded_bytes(value);
            if goes.next_if_eq(&&index).is_none() {
                kept.extend_from_slice(&self.packed.elements()[at..end]);
            }
            at = end;
            ControlFlow::Continue(())
        })?;
        self.packed.splice_bytes(0..self.packed.elements().len(), &kept);
        self.packed.count -= indexes.len();
        Ok(())
    }

    /// The byte at which the element at `index` begins; `index` may be the length.
    fn start(&self, index: u64) -> Result<usize> {
        match self.packed.place(index) {
            _ if index == self.len() => Ok(self.packed.elements().len()),
            Some(place) => Ok(place.start),
            None => Err(self.damaged()),
        }
    }

    fn damaged(&self) -> crate::Error {
        damaged(self.packed.key())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::keyspace::key::Slot;
    use crate::keyspace::meta::{Prior, Type};

    fn list(count: usize, elements: &[u8]) -> PackedList {
        let prior = Prior::absent(Slot::of(b"k"));
        let mut packed = Packed::new(b"k", Type::List, prior);
        packed.splice_bytes(0..0, elements);
        packed.count = count;
        PackedList { packed }
    }

    #[test]
    fn the_layout_is_the_documented_one() {
        let mut built = list(0, b"");
        for (end, value) in [(End::Tail, &b"ab"[..]), (End::Tail, b""), (End::Head, b"c")] {
            assert_eq!(built.bytes_with(value), built.packed.elements().len() + value.len() + 1);
            built.push(end, value);
        }
        assert_eq!((built.packed.elements(), built.len()), (&b"\x01c\x02ab\0"[..], 3));
    }

    #[test]
    fn what_cannot_be_read_is_said_to_be_so() {
        for (count, elements) in [(3, &b"\x01a\x01b"[..]), (2, b"\x01a\x05b"), (2, b"\x01a\xFF"), (1, b"")] {
            for way in [Direction::Forward, Direction::Backward] {
                let each = &mut |_, _: &[u8]| ControlFlow::Continue(());
                assert!(list(count, elements).search(0..count as u64, way, each).is_err(), "{elements:?}");
            }
            let last = count as u64 - 1;
            assert!(list(count, elements).get(last).is_err());
            assert!(list(count, elements).take_out(&[0]).is_err());
            assert!(list(count, elements).set(last, b"v").is_err());
            assert!(list(count, elements).insert(last, b"v").is_err());
            assert!(list(count, elements).pop(End::Tail, &mut |_| ()).is_err());
        }
        assert!(list(3, b"\x01a").remove(End::Head, 2).is_err());
        assert!(list(3, b"\x01a").remove(End::Tail, 1).is_err());
    }
}
