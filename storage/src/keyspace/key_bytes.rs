//! The bytes that a key takes: those of its rows.

use std::ops::{Bound, ControlFlow};

use super::Keyspace;
use super::collection::Collection;
use super::key::{Due, deadline_key, meta_key};
use super::meta::{Meta, Type};
use super::record::Lookup;
use crate::limits::GROUP_ROWS_COUNTED_MAX;
use crate::{Direction, Result};

/// The kind of element rows of which there is one for each element, whatever the type.
const FIRST_KIND: &[u8] = &[0];
/// The kinds behind it.
const OTHER_KINDS: &[u8] = &[1];

impl Keyspace<'_> {
    /// The bytes of all rows of `key`, their keys and values; `None` if there is no such key.
    ///
    /// With `samples`, so many elements of a collection are looked at from either end, and the others are taken to be as long as
    /// these are on average; of a stream's consumer groups and a hash's deadlines the first rows
    /// are counted, `GROUP_ROWS_COUNTED_MAX` at most. Without,
    /// all are counted, which takes as long as there are elements.
    pub fn row_bytes(&self, key: &[u8], samples: Option<u64>) -> Result<Option<u64>> {
        let Lookup { record, prior } = self.lookup(key)?;
        let Some(record) = record else { return Ok(None) };
        let mut header = Vec::new();
        let (what, fields_due_ms) = ((record.kind(), record.is_packed()), record.fields_due_ms());
        Meta::write_header_with_fields(&mut header, what, record.deadline_ms(), fields_due_ms);
        let mut bytes = meta_key(self.space, prior.slot, key).len() + header.len() + record.body().len();
        for (due, deadline_ms) in [(Due::Keys, record.deadline_ms()), (Due::Fields, fields_due_ms)] {
            bytes += deadline_ms.map_or(0, |deadline_ms| deadline_key(due, deadline_ms, self.space, key).len());
        }
        if record.kind() == Type::String || record.is_packed() {
            return Ok(Some(bytes as u64));
        }
        let collection = self.open(key, &record, prior)?;
        let elements = match samples {
            None => {
                self.count_bytes(&collection, Bound::Unbounded, Bound::Unbounded, Direction::Forward, u64::MAX)?.bytes
            }
            Some(samples) => self.estimate_bytes(&collection, record.kind(), samples)?,
        };
        Ok(Some(bytes as u64 + elements))
    }

    fn estimate_bytes(&self, collection: &Collection, kind: Type, samples: u64) -> Result<u64> {
        let first = (Bound::Included(FIRST_KIND), Bound::Excluded(OTHER_KINDS));
        let mut looked = Counted::default();
        for direction in [Direction::Forward, Direction::Backward] {
            looked.add(self.count_bytes(collection, first.0, first.1, direction, samples)?);
        }
        let mean = looked.bytes as f64 / looked.rows.max(1) as f64;
        let elements = (mean * collection.size as f64).round() as u64;
        Ok(match kind {
            // A member's second row has its score in front of its name in place of hash and value, which are longer by four bytes.
            Type::SortedSet => (2 * elements).saturating_sub(collection.size * 4),
            // Of those with deadlines there are others.
            Type::Hash if collection.fields_due_ms.is_some() => {
                let (others, rows) = (Bound::Included(OTHER_KINDS), GROUP_ROWS_COUNTED_MAX);
                elements + self.count_bytes(collection, others, Bound::Unbounded, Direction::Forward, rows)?.bytes
            }
            Type::Stream => {
                let others = Bound::Included(OTHER_KINDS);
                let rows = GROUP_ROWS_COUNTED_MAX;
                elements + self.count_bytes(collection, others, Bound::Unbounded, Direction::Forward, rows)?.bytes
            }
            _ => elements,
        })
    }

    /// Counts rows between two bounds, `rows_max` at most.
    fn count_bytes(
        &self,
        collection: &Collection,
        lower: Bound<&[u8]>,
        upper: Bound<&[u8]>,
        direction: Direction,
        rows_max: u64,
    ) -> Result<Counted> {
        let mut counted = Counted::default();
        self.scan_elements(collection, lower, upper, direction, &mut |element, value| {
            let bytes = (collection.prefix.len() + element.len() + value.len()) as u64;
            counted.add(Counted { rows: 1, bytes });
            if counted.rows < rows_max { ControlFlow::Continue(()) } else { ControlFlow::Break(()) }
        })?;
        Ok(counted)
    }
}

/// Rows and their bytes.
#[derive(Default)]
struct Counted {
    rows: u64,
    bytes: u64,
}

impl Counted {
    fn add(&mut self, other: Counted) {
        self.rows += other.rows;
        self.bytes += other.bytes;
    }
}
