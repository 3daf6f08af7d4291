//! Typed keys over rows: strings, lists, sets, hashes, sorted sets and streams.
//!
//! A key is one metadata row (type, deadline, version, size; a string's value is inline, and all of a small collection) and one row
//! per element of a larger one. Element rows carry the version of the key they belong to, so deleting or overwriting a huge
//! collection touches one row: what is left under an old version is an orphan that compaction drops.

mod access_times;
mod cold_rows;
mod collection;
mod databases;
mod deadlines;
mod deciding;
mod field_deadlines;
#[cfg(test)]
mod field_model_test;
mod functions;
mod hashed_names;
mod hashes;
mod held;
mod key;
mod key_bytes;
mod key_events;
mod key_scan;
mod key_watch;
#[allow(clippy::module_inception, reason = "the noun that the module is named for")]
mod keyspace;
mod list_edits;
#[cfg(test)]
mod list_model_test;
mod list_rows;
mod lists;
mod meta;
#[cfg(test)]
mod model_test;
mod names;
mod packed;
mod packed_deadlines;
mod packed_integers;
mod packed_list;
#[cfg(test)]
mod packed_model_test;
mod packed_sorted_set;
mod packing;
pub mod prepared;
mod rank_bounds;
mod rank_counts;
#[cfg(test)]
mod rank_model_test;
#[cfg(test)]
mod rank_price_test;
mod rank_shape;
mod rank_tree;
mod record;
mod renewal;
mod row_rules;
mod scratch;
mod sessions;
mod sets;
mod sorted_ranges;
mod sorted_ranks;
mod sorted_rows;
#[cfg(test)]
mod sorted_set_model_test;
mod sorted_sets;
mod stream_groups;
mod streams;
mod string_edit;
#[cfg(test)]
mod support;
mod version;
mod whole_key;

pub use access_times::{ACCESS_TIMES_BYTES, Accesses};
pub use cold_rows::{ColdRows, is_enough_cold};
pub use collection::Collection;
pub use deciding::deciding_constants;
pub use field_deadlines::VisitField;
pub use functions::{DIGEST_BYTES, Function, FunctionTotals, Library, function_names, function_totals};
pub use hashes::Hash;
pub use key::{ElementKey, KeyPosition, RowKind, SLOT_COUNT, Slot, rows_of_key};
pub use key_events::{EventClasses, KeyEvent};
pub use key_watch::WatchedKey;
pub use keyspace::Keyspace;
pub use lists::{End, List};
pub use meta::{Meta, Prior, Type};
pub use names::{Names, VisitName};
pub use packing::{Counting, Packing};
pub use record::{Lookup, Record};
pub use row_rules::ROW_RULES;
pub use scratch::{KeyCounts, Scratch, ScratchMark};
pub use sessions::{Session, SessionLookup, session_count};
pub use sets::Set;
pub use sorted_sets::{Inserted, LexBound, ScoreEnd, ScoreRange, SortedSet, Sought};
pub use stream_groups::{Consumer, Group, Pending};
pub use streams::{Stream, StreamEntry, StreamId, Trim};
pub use string_edit::StringEdit;
pub use version::VersionSource;
pub use whole_key::Serialized;

pub use crate::limits::{COLD_ROWS_MAX, SERIALIZED_BYTES_MAX, SESSION_EPOCH_MS};
