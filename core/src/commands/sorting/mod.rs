//! SORT and SORT_RO: their facts, their rows in the table, and their handlers.

mod elements;
pub(super) mod facts;
mod handlers;
mod options;
mod pattern;
pub(super) mod table;
mod weights;

pub use options::{PatternKeys, names_other_keys, why_not_by_patterns};
