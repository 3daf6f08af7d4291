//! Deadlines of the fields of a packed hash: a table before its elements.
//!
//! ```text
//! form 1    [deadlines u16 BE]([place of the field u16 BE][deadline_ms u64 BE])*[elements, as those of form 0]
//! ```
//!
//! The table names fields by their place, ascending, and has only those with a deadline; the earliest of them stands in the header
//! of the metadata row as well. A hash that has lost its last deadline is one of form 0 again.
//!
//! What a newcomer would get wrong: the table is taken out of the row when that is read, together with the fields that are past
//! their deadline. What works on the elements knows nothing of it.

use super::keyspace::damaged;
use super::packed::{Packed, Place, read_string, skip_string};
use crate::Result;

/// The form of a hash with deadlines of fields.
pub(super) const WITH_DEADLINES: u8 = 1;
const COUNT_BYTES: usize = size_of::<u16>();
const ENTRY_BYTES: usize = size_of::<u16>() + size_of::<u64>();

/// The deadlines of fields by the fields' places, ascending.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(super) struct DeadlineTable {
    entries: Vec<(u16, u64)>,
}

impl DeadlineTable {
    /// Reads the table before the elements of a hash of `count` fields, and returns the elements; `None` if it is none.
    pub(super) fn read(bytes: &[u8], count: usize) -> Option<(DeadlineTable, &[u8])> {
        let (length, rest) = bytes.split_first_chunk::<COUNT_BYTES>()?;
        let length = usize::from(u16::from_be_bytes(*length));
        let (table, elements) = rest.split_at_checked(length * ENTRY_BYTES)?;
        let (table, _) = table.as_chunks::<ENTRY_BYTES>();
        let entries: Vec<(u16, u64)> = table
            .iter()
            .map(|&[high, low, a, b, c, d, e, f, g, h]| {
                (u16::from_be_bytes([high, low]), u64::from_be_bytes([a, b, c, d, e, f, g, h]))
            })
            .collect();
        let ascends = entries.is_sorted_by(|(place, _), (next, _)| place < next);
        let is_whole = entries.last().is_some_and(|(last, _)| usize::from(*last) < count);
        (ascends && is_whole).then_some((DeadlineTable { entries }, elements))
    }

    /// Appends what [`DeadlineTable::read`] reads.
    pub(super) fn write(&self, row: &mut Vec<u8>) {
        row.extend_from_slice(&(self.entries.len() as u16).to_be_bytes());
        for (place, deadline_ms) in &self.entries {
            row.extend_from_slice(&place.to_be_bytes());
            row.extend_from_slice(&deadline_ms.to_be_bytes());
        }
    }

    /// Returns whether no field has a deadline.
    #[inline]
    pub(super) fn is_empty(&self) -> bool {
        self.entries.is_empty()
    }

    /// The earliest deadline.
    pub(super) fn earliest_ms(&self) -> Option<u64> {
        self.entries.iter().map(|(_, deadline_ms)| *deadline_ms).min()
    }

    /// Removes all.
    pub(super) fn clear(&mut self) {
        self.entries.clear();
    }

    fn get(&self, place: u16) -> Option<u64> {
        let index = self.entries.binary_search_by_key(&place, |(place, _)| *place).ok()?;
        Some(self.entries[index].1)
    }

    fn set(&mut self, place: u16, deadline_ms: Option<u64>) {
        match (self.entries.binary_search_by_key(&place, |(place, _)| *place), deadline_ms) {
            (Ok(index), Some(deadline_ms)) => self.entries[index].1 = deadline_ms,
            (Ok(index), None) => drop(self.entries.remove(index)),
            (Err(index), Some(deadline_ms)) => self.entries.insert(index, (place, deadline_ms)),
            (Err(_), None) => {}
        }
    }

    /// Forgets the field at `place`, which is removed: those behind it move up.
    fn remove(&mut self, place: u16) {
        self.set(place, None);
        let behind = self.entries.partition_point(|(other, _)| *other < place);
        self.entries[behind..].iter_mut().for_each(|(place, _)| *place -= 1);
    }
}

impl Packed {
    /// The deadline of the field at `place`.
    pub(super) fn deadline_of(&self, place: Place) -> Option<u64> {
        if self.deadlines.is_empty() {
            return None;
        }
        self.deadlines.get(self.number_of(place))
    }

    /// Gives the field at `place` another deadline or none.
    pub(super) fn set_deadline_of(&mut self, place: Place, deadline_ms: Option<u64>) {
        if self.deadlines.is_empty() && deadline_ms.is_none() {
            return;
        }
        let number = self.number_of(place);
        self.deadlines.set(number, deadline_ms);
        self.touch();
    }

    /// Forgets the deadline of the field at `place`, which is about to be removed.
    pub(super) fn forget_deadline_of(&mut self, place: Place) {
        let number = self.number_of(place);
        self.deadlines.remove(number);
    }

    /// The fields in their order, each with its value and its deadline.
    pub(super) fn fields(&self) -> impl Iterator<Item = (&[u8], &[u8], Option<u64>)> {
        let mut number = 0;
        self.strings().map(move |(field, value)| {
            let deadline_ms = if self.deadlines.is_empty() { None } else { self.deadlines.get(number) };
            number += 1;
            (field, value, deadline_ms)
        })
    }

    /// Takes out the fields that are past their deadline at `now_ms`; returns how many they are.
    ///
    /// # Errors
    /// [`Error::Corruption`](crate::Error::Corruption) if fields cannot be read.
    pub(super) fn drop_expired(&mut self, now_ms: u64) -> Result<usize> {
        if self.deadlines.earliest_ms().is_none_or(|earliest_ms| earliest_ms >= now_ms) {
            return Ok(0);
        }
        let (mut kept, mut entries) = (Vec::with_capacity(self.elements().len()), Vec::new());
        let (mut start, mut number) = (0, 0u16);
        for place in 0..self.count as u16 {
            let end = skip_string(self.elements(), start).and_then(|value| skip_string(self.elements(), value));
            let bytes = end.and_then(|end| self.elements().get(start..end)).ok_or_else(|| damaged(self.key()))?;
            start += bytes.len();
            let deadline_ms = self.deadlines.get(place);
            if deadline_ms.is_some_and(|deadline_ms| deadline_ms < now_ms) {
                continue;
            }
            kept.extend_from_slice(bytes);
            entries.extend(deadline_ms.map(|deadline_ms| (number, deadline_ms)));
            number += 1;
        }
        let dropped = self.count - usize::from(number);
        (self.count, self.deadlines) = (number.into(), DeadlineTable { entries });
        self.set_elements(&kept);
        Ok(dropped)
    }

    /// Returns how many fields are before the one at `place`.
    fn number_of(&self, place: Place) -> u16 {
        let (mut start, mut number) = (0, 0);
        while start < place.start {
            let end = read_string(self.elements(), start).and_then(|(_, value)| skip_string(self.elements(), value));
            start = end.expect("the field behind was found by the same steps");
            number += 1;
        }
        number
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::keyspace::support::Shard;
    use crate::keyspace::{Keyspace, Packing};

    fn row(keyspace: &Keyspace<'_>) -> Vec<u8> {
        let record = keyspace.record(b"h").unwrap().unwrap();
        record.row.to_vec()
    }

    #[test]
    fn the_layout_is_the_documented_one() {
        let mut shard = Shard::packing(&Packing::STANDARD);
        let mut keyspace = shard.keyspace();
        let mut hash = keyspace.hash_or_new(b"h").unwrap();
        for field in [b"a", b"b", b"c"] {
            hash.insert(&mut keyspace, field, b"v").unwrap();
        }
        hash.save(&mut keyspace).unwrap();
        let without = row(&keyspace);
        assert_eq!(without, b"\x24\0\0\x03\x01a\x01v\x01b\x01v\x01c\x01v");
        for (field, deadline_ms) in [(b"c", 0x0102), (b"a", 0x0103)] {
            let deadline_ms = 0x1_0000 + deadline_ms;
            hash.set_field_deadline(&mut keyspace, field, Some(deadline_ms)).unwrap();
        }
        hash.save(&mut keyspace).unwrap();
        assert_eq!(
            row(&keyspace),
            b"\x64\0\0\0\0\0\x01\x01\x02\x01\0\x03\0\x02\0\0\0\0\0\0\0\x01\x01\x03\0\x02\0\0\0\0\0\x01\x01\x02\x01a\x01v\x01b\x01v\x01c\x01v"
        );
        keyspace.set_deadline(b"h", Some(0x2_0000)).unwrap();
        assert_eq!(row(&keyspace)[..17], *b"\x74\0\0\0\0\0\x02\0\0\0\0\0\0\0\x01\x01\x02");
        keyspace.set_deadline(b"h", None).unwrap();
        for field in [b"c", b"a"] {
            hash = keyspace.hash(b"h").unwrap().unwrap();
            hash.set_field_deadline(&mut keyspace, field, None).unwrap();
            hash.save(&mut keyspace).unwrap();
        }
        assert_eq!(row(&keyspace), without, "as if there had never been any");
    }

    #[test]
    fn tables_that_make_no_sense_are_not_read() {
        let table = |count: u16, entries: &[(u16, u64)]| {
            let mut bytes = Vec::new();
            DeadlineTable { entries: entries.to_vec() }.write(&mut bytes);
            bytes[..2].copy_from_slice(&count.to_be_bytes());
            DeadlineTable::read(&bytes, 3).is_some()
        };
        assert!(table(2, &[(0, 5), (2, 1)]));
        assert!(!table(0, &[]), "an empty one is not written");
        assert!(!table(2, &[(0, 5), (3, 1)]), "there are three fields");
        assert!(!table(2, &[(2, 5), (0, 1)]), "they ascend");
        assert!(!table(2, &[(1, 5), (1, 1)]), "none is there twice");
        assert!(!table(3, &[(0, 5), (2, 1)]), "it is cut short");
    }
}
