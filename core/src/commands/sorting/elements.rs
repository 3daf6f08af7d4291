//! The elements that SORT has: those of a list, a set or a sorted set.

use std::ops::{ControlFlow, Range};

use basalt_storage::Direction;
use basalt_storage::keyspace::{List, Names, SortedSet, Type};

use crate::commands::{CommandError, Context};
use crate::limits;

/// An element.
pub(super) type Element = Box<[u8]>;

/// A collection whose elements are sorted.
pub(super) enum Collection {
    List(List),
    Set(Names),
    SortedSet(SortedSet),
}

/// Bytes that are kept for a call, so that they have a bound.
#[derive(Debug, Default)]
pub(super) struct Kept(usize);

impl Kept {
    /// Takes note of a value of so many bytes.
    ///
    /// # Errors
    /// That there are too many.
    pub(super) fn add(&mut self, bytes: usize) -> Result<(), CommandError> {
        self.0 = self.0.saturating_add(bytes).saturating_add(limits::SORT_VALUE_OVERHEAD);
        if self.0 <= limits::SORT_BYTES_MAX {
            return Ok(());
        }
        let mib = limits::SORT_BYTES_MAX >> 20;
        Err(CommandError::owned(format!("ERR SORT takes at most {mib} MB of elements, weights and what is stored")))
    }
}

impl Collection {
    /// The collection at `key`, if there is one.
    ///
    /// # Errors
    /// [`CommandError::WrongType`] if it is of another type.
    pub(super) fn open(context: &Context<'_>, key: &[u8]) -> Result<Option<Collection>, CommandError> {
        let keyspace = &context.keyspace;
        let kind = keyspace.record(key)?.map(|record| record.kind());
        Ok(match kind {
            Some(Type::List) => keyspace.list(key)?.map(Collection::List),
            Some(Type::Set) => keyspace.names(key, Type::Set)?.map(Collection::Set),
            Some(Type::SortedSet) => keyspace.sorted_set(key)?.map(Collection::SortedSet),
            Some(_) => return Err(CommandError::WrongType),
            None => None,
        })
    }

    pub(super) fn is_set(&self) -> bool {
        matches!(self, Collection::Set(_))
    }

    pub(super) fn len(&self) -> u64 {
        match self {
            Collection::List(list) => list.len(),
            Collection::Set(names) => names.len(),
            Collection::SortedSet(sorted_set) => sorted_set.len(),
        }
    }

    /// Its elements at `places`, in its own order or, from its end on, in the reverse of it.
    pub(super) fn elements(
        &self,
        context: &Context<'_>,
        places: Range<u64>,
        direction: Direction,
        kept: &mut Kept,
    ) -> Result<Vec<Element>, CommandError> {
        let (mut elements, mut all_kept) = (Vec::new(), Ok(()));
        let mut take = |element: &[u8]| {
            all_kept = kept.add(element.len());
            if all_kept.is_ok() {
                elements.push(Element::from(element));
            }
            all_kept.is_ok()
        };
        match self {
            // Neither has a break: so many are read that there is soon an end.
            Collection::List(list) => {
                let mut from = places.start;
                let mut goes_on = true;
                while goes_on && from < places.end {
                    let to = (from + limits::SORT_ELEMENTS_AT_ONCE).min(places.end);
                    let indexes = match direction {
                        Direction::Forward => from..to,
                        Direction::Backward => list.len() - to..list.len() - from,
                    };
                    let mut part: Vec<Element> = Vec::new();
                    list.each(&context.keyspace, indexes, &mut |element| part.push(element.into()))?;
                    if direction == Direction::Backward {
                        part.reverse();
                    }
                    goes_on = part.iter().all(|element| take(element));
                    from = to;
                }
            }
            Collection::Set(names) => names.each(&context.keyspace, &mut |name, _| {
                Ok(if take(name) { ControlFlow::Continue(()) } else { ControlFlow::Break(()) })
            })?,
            Collection::SortedSet(sorted_set) => {
                sorted_set.each_rank(&context.keyspace, places, direction, &mut |member, _| {
                    take(member);
                })?;
            }
        }
        all_kept?;
        Ok(elements)
    }
}
