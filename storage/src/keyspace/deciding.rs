//! The constants that decide which rows a command writes, and what it answers.
//!
//! Every replica of a group executes the same entries, maybe with another version of the program. If one of these were another
//! there, the replicas' rows would differ from then on, and nobody would notice. So they belong to the version of the batches that
//! are executed: one that is to change takes a new version of the batch, and the old value for batches of the old one.

use super::key::{SLOT_COUNT, name_hash};
use super::packing::Packing;
use crate::limits::{
    ACKNOWLEDGED_MAX, COPIED_BYTES_PER_WORK, CUT_BYTES_MAX, EXACT_NAMES_MAX, FIELDS_BYTES_MAX, LOOKED_FOR_BYTES_MAX,
    ORDER_BOUND_BYTES_MAX, REMOVED_MIN, REMOVED_PER_ELEMENT, RENEWED_ELEMENTS_MAX, SERIALIZED_BYTES_MAX,
    SESSION_EPOCH_MS, SESSIONS_MAX, UNCUT_BYTES_MAX, VERSION_COUNTER_BITS, WINDOW_NAMES,
};
use crate::spaces::DATABASE_COUNT;

/// Each deciding constant of the keyspace with its name, for whoever compares them with those of a version.
pub fn deciding_constants() -> Vec<(&'static str, u64)> {
    vec![
        ("databases", DATABASE_COUNT as u64),
        ("slots", SLOT_COUNT.into()),
        ("longest key on its way", SERIALIZED_BYTES_MAX as u64),
        ("bytes of a type's fields", FIELDS_BYTES_MAX as u64),
        ("counter bits of a version", VERSION_COUNTER_BITS.into()),
        ("hash of a name", name_hash(b"name").into()),
        ("names that are drawn by rank", EXACT_NAMES_MAX),
        ("names that a draw chooses among", WINDOW_NAMES.into()),
        ("elements that are renewed", RENEWED_ELEMENTS_MAX),
        ("removed rows for each element that is renewed", REMOVED_PER_ELEMENT),
        ("removed rows that are renewed", REMOVED_MIN.into()),
        ("bytes of a sorted set's bound", ORDER_BOUND_BYTES_MAX as u64),
        ("milliseconds of an epoch of sessions", SESSION_EPOCH_MS),
        ("sessions", SESSIONS_MAX.into()),
        ("entries acknowledged before the lowest is looked for", ACKNOWLEDGED_MAX.into()),
        ("bytes of a row for one unit of work", COPIED_BYTES_PER_WORK),
        ("bytes of a row that is looked for on trial", LOOKED_FOR_BYTES_MAX as u64),
        ("fields of a packed hash", Packing::STANDARD.hash_fields_max as u64),
        ("members of a packed set", Packing::STANDARD.set_members_max as u64),
        ("integers of a packed set", Packing::STANDARD.integers_max as u64),
        ("members of a packed sorted set", Packing::STANDARD.sorted_set_members_max as u64),
        ("bytes of a packed list", Packing::STANDARD.list_bytes_max as u64),
        ("bytes of a packed string", Packing::STANDARD.string_bytes_max as u64),
        ("members of a sorted set with counts", Packing::STANDARD.counting.members_min),
        ("order rows of a block", Packing::STANDARD.counting.block_rows_max),
        ("children of a node of counts", Packing::STANDARD.counting.children_max as u64),
        ("bytes of such a node's bounds", Packing::STANDARD.counting.bounds_bytes_max as u64),
        ("bytes of the counts of the root", Packing::STANDARD.counting.root_bytes_max as u64),
        ("bytes of a bound of a block", Packing::STANDARD.counting.separator_bytes_max as u64),
        ("share below which it is joined", Packing::STANDARD.counting.sparse_share as u64),
        ("blocks that a write cuts", Packing::STANDARD.counting.blocks_cut_max as u64),
        ("order rows of such a block", Packing::STANDARD.counting.block_rows_cut),
        ("bytes of rows behind which a block is cut", CUT_BYTES_MAX as u64),
        ("bytes of rows among which no cut is looked for any more", UNCUT_BYTES_MAX as u64),
    ]
}
