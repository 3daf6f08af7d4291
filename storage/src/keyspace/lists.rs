//! Lists: in one row while they are small (`packed_list.rs`), with a row for each element from then on (`list_rows.rs`).
//!
//! What a newcomer would get wrong: a list that has outgrown its row never goes back to it, however short it becomes, so that one
//! which grows and shrinks around the bound is written anew once.

use std::ops::{ControlFlow, Range};

use super::Keyspace;
use super::held::Held;
use super::list_rows::ListRows;
use super::meta::Type;
use super::packed_list::PackedList;
use crate::{Direction, Result, Row};

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
    form: Form,
}

#[derive(Debug)]
enum Form {
    Packed(PackedList),
    Rows(ListRows),
}

impl Keyspace<'_> {
    /// The list at `key`, unless the key is absent or expired.
    ///
    /// # Errors
    /// [`Error::WrongType`](crate::Error::WrongType) if the key holds another type.
    pub fn list(&self, key: &[u8]) -> Result<Option<List>> {
        self.held(key, Type::List)?.map(List::read).transpose()
    }

    /// The list at `key`, or a new empty one.
    ///
    /// # Errors
    /// [`Error::WrongType`](crate::Error::WrongType) if the key holds another type.
    pub fn list_or_new(&mut self, key: &[u8]) -> Result<List> {
        self.held_or_new(key, Type::List).and_then(List::read)
    }

    /// A new empty list that replaces whatever `key` holds once it is saved; saved empty, it deletes the key.
    ///
    /// # Errors
    /// As the look-up of the key.
    pub fn list_replacing(&mut self, key: &[u8]) -> Result<List> {
        self.held_replacing(key, Type::List).and_then(List::read)
    }
}

impl List {
    fn read(held: Held) -> Result<List> {
        let form = match held {
            Held::Rows(collection) if collection.is_new() => Form::Rows(ListRows::new(collection)),
            Held::Rows(collection) => Form::Rows(ListRows::read(collection)?),
            Held::Packed(packed) => Form::Packed(PackedList { packed }),
        };
        Ok(List { form })
    }

    /// Returns the number of elements.
    pub fn len(&self) -> u64 {
        match &self.form {
            Form::Packed(packed) => packed.len(),
            Form::Rows(rows) => rows.len(),
        }
    }

    /// Returns whether there are none.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// Returns whether the list is all in one row.
    pub fn is_packed(&self) -> bool {
        matches!(self.form, Form::Packed(_))
    }

    /// The element at `index`, which counts from the head.
    ///
    /// # Errors
    /// As the reads.
    pub fn get<'a>(&'a self, keyspace: &'a Keyspace<'_>, index: u64) -> Result<Option<Row<'a>>> {
        match &self.form {
            Form::Rows(rows) => rows.get(keyspace, index),
            Form::Packed(packed) if index >= packed.len() => Ok(None),
            Form::Packed(packed) => packed.get(index).map(|value| Some(Row::Memory(value))),
        }
    }

    /// Visits the elements at `indexes` in order.
    ///
    /// # Errors
    /// As the reads.
    pub fn each(&self, keyspace: &Keyspace<'_>, indexes: Range<u64>, visit: &mut dyn FnMut(&[u8])) -> Result<()> {
        match &self.form {
            Form::Rows(rows) => rows.each(keyspace, indexes, visit),
            Form::Packed(packed) => packed.search(indexes, Direction::Forward, &mut |_, value| {
                visit(value);
                ControlFlow::Continue(())
            }),
        }
    }

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
        match &self.form {
            Form::Rows(rows) => rows.search(keyspace, indexes, direction, visit),
            Form::Packed(packed) => packed.search(indexes, direction, visit),
        }
    }

    /// Adds `value` at `end`.
    ///
    /// # Errors
    /// As the reads.
    pub fn push(&mut self, keyspace: &mut Keyspace<'_>, end: End, value: &[u8]) -> Result<()> {
        self.make_room(keyspace, value)?;
        match &mut self.form {
            Form::Rows(rows) => rows.push(keyspace, end, value),
            Form::Packed(packed) => packed.push(end, value),
        }
        Ok(())
    }

    /// Puts `value` in front of the element at `index`, which counts from the head, or behind the last one if it is the length.
    ///
    /// # Errors
    /// As the reads; nothing is to be saved then.
    ///
    /// # Panics
    /// If the list is shorter.
    pub fn insert(&mut self, keyspace: &mut Keyspace<'_>, index: u64, value: &[u8]) -> Result<()> {
        assert!(index <= self.len(), "an element is put between those that exist");
        self.make_room(keyspace, value)?;
        match &mut self.form {
            Form::Rows(rows) => rows.insert(keyspace, index, value),
            Form::Packed(packed) => packed.insert(index, value),
        }
    }

    /// Overwrites the element at `index`, which counts from the head. It needs no [`List::save`].
    ///
    /// # Errors
    /// As the reads.
    ///
    /// # Panics
    /// If the list is not that long.
    pub fn set(&mut self, keyspace: &mut Keyspace<'_>, index: u64, value: &[u8]) -> Result<()> {
        assert!(index < self.len(), "only an element that exists is overwritten");
        let was_packed = self.is_packed();
        self.make_room(keyspace, value)?;
        match &mut self.form {
            Form::Rows(rows) => rows.set(keyspace, index, value),
            Form::Packed(packed) => packed.set(index, value)?,
        }
        if was_packed {
            self.save(keyspace);
        }
        Ok(())
    }

    /// Removes up to `count` elements from `end` and visits them in the order of removal.
    ///
    /// # Errors
    /// As the reads; nothing is to be saved then.
    pub fn pop(
        &mut self,
        keyspace: &mut Keyspace<'_>,
        end: End,
        count: u64,
        visit: &mut dyn FnMut(&[u8]),
    ) -> Result<()> {
        let count = count.min(self.len());
        let packed = match &mut self.form {
            Form::Rows(rows) => return rows.pop(keyspace, end, count, visit),
            Form::Packed(packed) => packed,
        };
        if count == 1 {
            return packed.pop(end, visit);
        }
        let (indexes, direction) = match end {
            End::Head => (0..count, Direction::Forward),
            End::Tail => (packed.len() - count..packed.len(), Direction::Backward),
        };
        packed.search(indexes, direction, &mut |_, value| {
            visit(value);
            ControlFlow::Continue(())
        })?;
        packed.remove(end, count)
    }

    /// Removes `count` elements from `end` unseen.
    ///
    /// # Errors
    /// As the reads; nothing is to be saved then.
    ///
    /// # Panics
    /// If there are fewer.
    pub fn remove(&mut self, keyspace: &mut Keyspace<'_>, end: End, count: u64) -> Result<()> {
        assert!(count <= self.len(), "only elements that exist are removed");
        match &mut self.form {
            Form::Rows(rows) => rows.remove(keyspace, end, count),
            Form::Packed(packed) => packed.remove(end, count)?,
        }
        Ok(())
    }

    /// Takes out the elements at `indexes`, which count from the head and ascend.
    ///
    /// # Errors
    /// As the reads; nothing is to be saved then.
    ///
    /// # Panics
    /// If the list is shorter.
    pub fn take_out(&mut self, keyspace: &mut Keyspace<'_>, indexes: &[u64]) -> Result<()> {
        assert!(indexes.last().is_none_or(|last| *last < self.len()), "only elements that exist are taken out");
        match &mut self.form {
            Form::Rows(rows) => rows.take_out(keyspace, indexes),
            Form::Packed(packed) => packed.take_out(indexes),
        }
    }

    /// Has [`List::save`] write it though nothing was changed, as commands do that count as a change in any case.
    pub fn touch(&mut self) {
        if let Form::Packed(packed) = &mut self.form {
            packed.packed.touch();
        }
    }

    /// Stores the list's length, or deletes the key if the list is empty.
    pub fn save(&mut self, keyspace: &mut Keyspace<'_>) {
        match &mut self.form {
            Form::Rows(rows) => rows.save(keyspace),
            Form::Packed(packed) => keyspace.save_packed(&mut packed.packed),
        }
    }

    /// Gives the list rows of its own, if it has none and `value` is too much for one.
    fn make_room(&mut self, keyspace: &mut Keyspace<'_>, value: &[u8]) -> Result<()> {
        let Form::Packed(list) = &self.form else { return Ok(()) };
        if list.bytes_with(value) <= keyspace.packing().list_bytes_max {
            return Ok(());
        }
        let mut rows = ListRows::new(keyspace.unpacked(&list.packed));
        list.search(0..list.len(), Direction::Forward, &mut |_, value| {
            rows.push(keyspace, End::Tail, value);
            ControlFlow::Continue(())
        })?;
        self.form = Form::Rows(rows);
        Ok(())
    }
}
