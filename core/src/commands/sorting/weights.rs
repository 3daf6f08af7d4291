//! The order of elements: by what they are, or by what a pattern names for them.
//!
//! What a newcomer would get wrong: two texts are compared up to the first NUL in them, as C does, unless the result is stored.

use std::cmp::Ordering;

use basalt_storage::{ColdRead, Error as StorageError};

use super::elements::{Element, Kept};
use super::options::SortOptions;
use super::pattern::Pattern;
use crate::commands::command_error::until_nul;
use crate::commands::float_text::read_f64_weight;
use crate::commands::{CommandError, Context};
use crate::limits;

/// An element and what it is sorted by.
pub(super) struct Weighed {
    pub(super) element: Element,
    weight: Weight,
}

enum Weight {
    Number(f64),
    /// None if there is nothing where the pattern leads.
    Text(Option<Box<[u8]>>),
    Itself,
}

/// Rows that patterns have led to and that are not in memory.
#[derive(Default)]
pub(super) struct ColdValues(Vec<Box<[u8]>>);

impl ColdValues {
    /// The result of a look-up, or `None` if it is not in memory: that is noted, and the others are looked for, so that all are
    /// fetched at once.
    ///
    /// # Errors
    /// As the look-up; rows that are not in memory, once they are enough.
    pub(super) fn note<T>(&mut self, looked_up: basalt_storage::Result<T>) -> Result<Option<T>, CommandError> {
        match looked_up {
            Ok(found) => Ok(Some(found)),
            Err(StorageError::Cold(ColdRead::Key(row))) if self.0.len() < limits::SORT_COLD_ROWS_MAX => {
                self.0.push(row);
                Ok(None)
            }
            Err(StorageError::Cold(ColdRead::Key(_))) => Err(self.take()),
            Err(error) => Err(error.into()),
        }
    }

    fn take(&mut self) -> CommandError {
        StorageError::Cold(ColdRead::Keys(std::mem::take(&mut self.0))).into()
    }

    /// Checks that all was in memory.
    ///
    /// # Errors
    /// The rows that were not.
    pub(super) fn check(mut self) -> Result<(), CommandError> {
        if self.0.is_empty() { Ok(()) } else { Err(self.take()) }
    }
}

/// Gives the elements what they are sorted by, and says whether that is a number, where it has to be.
pub(super) fn weigh(
    context: &Context<'_>,
    elements: Vec<Element>,
    options: &SortOptions<'_>,
    kept: &mut Kept,
) -> Result<(Vec<Weighed>, bool), CommandError> {
    let (mut are_numbers, mut cold) = (true, ColdValues::default());
    let mut number = |text: &[u8]| {
        let number = read_f64_weight(text);
        are_numbers &= number.is_some();
        Weight::Number(number.unwrap_or(0.0))
    };
    let mut weighed = Vec::with_capacity(elements.len());
    for element in elements {
        let weight = match (options.by, options.alpha) {
            (None, true) => Weight::Itself,
            (None, false) => number(&element),
            (Some(pattern), is_text) => {
                let weight = look_up(context, pattern, &element, |value| match (value, is_text) {
                    (value, true) => Weight::Text(value.map(Box::from)),
                    (Some(value), false) => number(value),
                    (None, false) => Weight::Number(0.0),
                });
                cold.note(weight)?.unwrap_or(Weight::Itself)
            }
        };
        if let Weight::Text(Some(text)) = &weight {
            kept.add(text.len())?;
        }
        weighed.push(Weighed { element, weight });
    }
    cold.check()?;
    Ok((weighed, are_numbers))
}

fn look_up<T>(
    context: &Context<'_>,
    pattern: Pattern<'_>,
    element: &[u8],
    take: impl FnOnce(Option<&[u8]>) -> T,
) -> basalt_storage::Result<T> {
    pattern.look_up(&context.keyspace, element, take)
}

/// The order of two elements.
pub(super) fn compare(one: &Weighed, other: &Weighed, options: &SortOptions<'_>) -> Ordering {
    let text = |one: &[u8], other: &[u8]| match options.destination {
        Some(_) => one.cmp(other),
        None => until_nul(one).cmp(until_nul(other)),
    };
    let ascending = match (&one.weight, &other.weight) {
        // Of equal numbers the elements decide, so that the order is always the same.
        (Weight::Number(low), Weight::Number(high)) => {
            low.partial_cmp(high).expect("a weight is a number").then_with(|| one.element.cmp(&other.element))
        }
        (Weight::Text(Some(one)), Weight::Text(Some(other))) => text(one, other),
        (Weight::Text(one), Weight::Text(other)) => one.is_some().cmp(&other.is_some()),
        _ => text(&one.element, &other.element),
    };
    if options.descending { ascending.reverse() } else { ascending }
}
