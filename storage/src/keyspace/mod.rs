//! Typed keys over rows: strings, lists, sets, hashes, sorted sets and streams, stored by element.
//!
//! A key is one metadata row (type, deadline, version, size; a string's value is inline) and one row per element. Element
//! rows carry the version of the key they belong to, so deleting or overwriting a huge collection touches one row: what
//! is left under an old version is an orphan that compaction drops.

mod key;
mod meta;

pub use key::{APPLIED_ROW, ElementKey, KEY_BYTES_MAX, RowKind, SLOT_COUNT, Slot};
pub use meta::{Meta, Type};
