//! Tells the store, for which rows are bytes, what it must know of how the keyspace lays them out.

use super::key::{Due, ElementKey, KeyRow, Slot, deadline_space, meta_key, read_deadline_key};
use super::meta::Meta;
use crate::rows::{KeyOfRow, RowRange, RowRules};
use crate::spaces::Space;

/// The rules of the keyspace's rows.
///
/// An element is an orphan if the metadata row of its key is missing or carries another version: versions are given out once, so
/// nothing finds it any more.
pub const ROW_RULES: RowRules = RowRules {
    element_prefix,
    key_of,
    row_of: |space, key| meta_key(space, Slot::of(key), key).as_slice().into(),
    deciding_row,
    is_orphan,
    deadlines: || index_of(Due::Keys),
    read_deadline: |row| read_deadline_key(Due::Keys, row).map(|(deadline_ms, space, _)| (deadline_ms, space)),
    fields_due: || index_of(Due::Fields),
    read_fields_due: |row| read_deadline_key(Due::Fields, row).map(|(_, space, _)| space),
};

fn element_prefix(row: &[u8]) -> Option<usize> {
    ElementKey::read(row).map(|element| row.len() - element.element.len())
}

fn key_of(row: &[u8]) -> Option<KeyOfRow<'_>> {
    if let Some(element) = ElementKey::read(row) {
        return Some((element.space, element.key));
    }
    let space = Space::read(*row.first()?)?;
    match KeyRow::read(row)? {
        KeyRow::Meta(_, key) => Some((space, key)),
        KeyRow::Other(_) => None,
    }
}

fn deciding_row(prefix: &[u8]) -> Option<Box<[u8]>> {
    ElementKey::read(prefix).map(|element| element.meta_row().as_slice().into())
}

fn is_orphan(prefix: &[u8], metadata: Option<&[u8]>) -> Option<bool> {
    let element = ElementKey::read(prefix)?;
    match metadata {
        None => Some(true),
        Some(row) => Some(Meta::read(row)?.version() != Some(element.version)),
    }
}

fn index_of(due: Due) -> RowRange {
    let (from, to) = deadline_space(due);
    (from.as_slice().into(), to.as_slice().into())
}
