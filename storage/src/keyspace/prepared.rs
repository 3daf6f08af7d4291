//! Rows of transactions over several shards: parts that are prepared and not decided, and decisions that parts may still ask for.
//!
//! ```text
//! prepared  [0xFC][0x00][transaction, 16 bytes]  → [format u8 = 1][flags u8][deciding shard u16 LE][part …]
//! decision  [0xFC][0x01][transaction, 16 bytes]  → [format u8 = 1]([shard u16 LE] of each other part)*
//! ```
//!
//! Flag 0x01 of a prepared part: an entry with its commit was skipped.
//!
//! What a newcomer would get wrong: these rows are no key's. No read, walk or count of keys meets them, and no flush deletes them.

use std::ops::{Bound, ControlFlow};

use crate::cold_read::Direction;
use crate::{Error, Result, Rows};

/// The number of a transaction over several shards. None is ever used twice.
pub type TransactionId = u128;

const TRANSACTION_SPACE: u8 = 0xFC;
const PREPARED: u8 = 0x00;
const DECISION: u8 = 0x01;
const FORMAT: u8 = 1;
const WAS_SKIPPED: u8 = 0x01;
const ID_BYTES: usize = size_of::<TransactionId>();

/// A part of a transaction that waits for the decision.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PreparedPart {
    /// The shard whose log decides.
    pub decided_by: u16,
    /// True if its commit stood in an entry that was skipped by order of an operator.
    pub was_skipped: bool,
    /// The part, opaque to the store.
    pub part: Vec<u8>,
}

fn row(kind: u8, transaction: TransactionId) -> [u8; 2 + ID_BYTES] {
    let mut row = [0; 2 + ID_BYTES];
    row[..2].copy_from_slice(&[TRANSACTION_SPACE, kind]);
    row[2..].copy_from_slice(&transaction.to_be_bytes());
    row
}

fn damaged(what: &str) -> Error {
    Error::Corruption { path: std::path::PathBuf::from("data"), detail: format!("{what} is not readable") }
}

fn read_part(value: &[u8]) -> Result<PreparedPart> {
    let part = value.split_first_chunk::<4>().filter(|(head, _)| head[0] == FORMAT && head[1] & !WAS_SKIPPED == 0);
    let (head, part) = part.ok_or_else(|| damaged("a prepared part of a transaction"))?;
    let decided_by = u16::from_le_bytes([head[2], head[3]]);
    Ok(PreparedPart { decided_by, was_skipped: head[1] & WAS_SKIPPED != 0, part: part.to_vec() })
}

fn read_shards(value: &[u8]) -> Result<Vec<u16>> {
    let shards = value.split_first().filter(|(format, rest)| **format == FORMAT && rest.len().is_multiple_of(2));
    let (_, shards) = shards.ok_or_else(|| damaged("the decision of a transaction"))?;
    Ok(shards.chunks_exact(2).map(|shard| u16::from_le_bytes([shard[0], shard[1]])).collect())
}

/// Keeps the part of a transaction until it is decided.
pub fn put_prepared(rows: &mut (impl Rows + ?Sized), transaction: TransactionId, decided_by: u16, part: &[u8]) {
    put(rows, transaction, 0, (decided_by, part));
}

/// Notes of a part that is prepared that an entry with its commit was skipped.
pub fn mark_skipped(rows: &mut (impl Rows + ?Sized), transaction: TransactionId, prepared: &PreparedPart) {
    put(rows, transaction, WAS_SKIPPED, (prepared.decided_by, &prepared.part));
}

fn put(rows: &mut (impl Rows + ?Sized), transaction: TransactionId, flags: u8, (decided_by, part): (u16, &[u8])) {
    let mut value = Vec::with_capacity(4 + part.len());
    value.extend_from_slice(&[FORMAT, flags]);
    value.extend_from_slice(&decided_by.to_le_bytes());
    value.extend_from_slice(part);
    rows.put(&row(PREPARED, transaction), &value);
}

/// The part of a transaction that is prepared.
///
/// # Errors
/// Those of reading the row, or that it is damaged.
pub fn prepared(rows: &(impl Rows + ?Sized), transaction: TransactionId) -> Result<Option<PreparedPart>> {
    rows.get(&row(PREPARED, transaction))?.map(|value| read_part(&value)).transpose()
}

/// Lets go of a part.
pub fn delete_prepared(rows: &mut (impl Rows + ?Sized), transaction: TransactionId) {
    rows.delete(&row(PREPARED, transaction));
}

/// Notes that a transaction is executed; `others` are the shards of its other parts.
pub fn put_decision(rows: &mut (impl Rows + ?Sized), transaction: TransactionId, others: &[u16]) {
    let mut value = vec![FORMAT];
    others.iter().for_each(|shard| value.extend_from_slice(&shard.to_le_bytes()));
    rows.put(&row(DECISION, transaction), &value);
}

/// Returns whether a transaction is known to be executed.
///
/// # Errors
/// Those of reading the row.
pub fn has_decision(rows: &(impl Rows + ?Sized), transaction: TransactionId) -> Result<bool> {
    Ok(rows.get(&row(DECISION, transaction))?.is_some())
}

/// Forgets a decision: no part is left that could ask for it.
pub fn delete_decision(rows: &mut (impl Rows + ?Sized), transaction: TransactionId) {
    rows.delete(&row(DECISION, transaction));
}

/// All parts that wait for a decision.
///
/// # Errors
/// Those of reading the rows, or that one is damaged.
pub fn all_prepared(rows: &(impl Rows + ?Sized)) -> Result<Vec<(TransactionId, PreparedPart)>> {
    all(rows, PREPARED, read_part)
}

/// All decisions, with the shards of the other parts.
///
/// # Errors
/// Those of reading the rows, or that one is damaged.
pub fn all_decisions(rows: &(impl Rows + ?Sized)) -> Result<Vec<(TransactionId, Vec<u16>)>> {
    all(rows, DECISION, read_shards)
}

fn all<T>(rows: &(impl Rows + ?Sized), kind: u8, read: fn(&[u8]) -> Result<T>) -> Result<Vec<(TransactionId, T)>> {
    let (from, to) = ([TRANSACTION_SPACE, kind], [TRANSACTION_SPACE, kind + 1]);
    let (mut found, mut failure) = (Vec::new(), None);
    rows.scan(Bound::Included(&from), Bound::Excluded(&to), Direction::Forward, &mut |row, value| {
        let id = row.get(2..).and_then(|id| id.try_into().ok()).map(TransactionId::from_be_bytes);
        let id = id.ok_or_else(|| damaged("the number of a transaction"));
        match id.and_then(|id| Ok((id, read(value)?))) {
            Ok(one) => found.push(one),
            Err(error) => failure = Some(error),
        }
        if failure.is_some() { ControlFlow::Break(()) } else { ControlFlow::Continue(()) }
    })?;
    failure.map_or(Ok(found), Err)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::MemoryRows;
    use crate::keyspace::{Keyspace, Scratch, VersionSource};

    const ID: TransactionId = 0x0102_0304_0506_0708_090A_0B0C_0D0E_0F10;

    #[test]
    fn the_layout_is_the_documented_one() {
        let mut rows = MemoryRows::default();
        put_prepared(&mut rows, ID, 0x0102, b"part");
        put_decision(&mut rows, ID, &[3, 0x0405]);
        let id = [1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13, 14, 15, 16];
        let value = |kind: u8| rows.get(&[&[0xFC, kind][..], &id].concat()).unwrap().unwrap().to_vec();
        assert_eq!(value(0), [&[1, 0, 2, 1][..], b"part"].concat());
        assert_eq!(value(1), [1, 3, 0, 5, 4]);
        let kept = prepared(&rows, ID).unwrap().unwrap();
        assert!(!kept.was_skipped);
        mark_skipped(&mut rows, ID, &kept);
        assert_eq!(prepared(&rows, ID).unwrap(), Some(PreparedPart { was_skipped: true, ..kept }));
        let row = [&[0xFC, 0][..], &id].concat();
        assert_eq!(rows.get(&row).unwrap().unwrap().to_vec(), [&[1, 1, 2, 1][..], b"part"].concat());
    }

    #[test]
    fn parts_and_decisions_come_and_go() {
        let mut rows = MemoryRows::default();
        for id in [ID, 7, TransactionId::MAX] {
            put_prepared(&mut rows, id, 3, &id.to_le_bytes());
        }
        put_decision(&mut rows, 8, &[1, 2]);
        let part = PreparedPart { decided_by: 3, was_skipped: false, part: 7u128.to_le_bytes().to_vec() };
        assert_eq!(prepared(&rows, 7).unwrap(), Some(part));
        assert_eq!(prepared(&rows, 8).unwrap(), None);
        let ids: Vec<TransactionId> = all_prepared(&rows).unwrap().into_iter().map(|(id, _)| id).collect();
        assert_eq!(ids, [7, ID, TransactionId::MAX]);
        assert_eq!(all_decisions(&rows).unwrap(), [(8, vec![1, 2])]);
        assert!(has_decision(&rows, 8).unwrap() && !has_decision(&rows, 7).unwrap());
        [ID, 7, TransactionId::MAX].iter().for_each(|id| delete_prepared(&mut rows, *id));
        delete_decision(&mut rows, 8);
        assert!(rows.is_empty());
    }

    #[test]
    fn no_flush_and_no_walk_meets_them() {
        let mut rows = MemoryRows::default();
        put_prepared(&mut rows, ID, 3, b"part");
        put_decision(&mut rows, ID, &[1]);
        let mut scratch = Scratch::default();
        let mut keyspace = Keyspace::new(&mut rows, &mut scratch, VersionSource::entry(1), 0, 5);
        keyspace.set_string(b"k", b"v", Some(10)).unwrap();
        keyspace.flush().unwrap();
        keyspace.flush_all();
        assert_eq!(rows.len(), 2);
        assert!(prepared(&rows, ID).unwrap().is_some() && has_decision(&rows, ID).unwrap());
    }

    #[test]
    fn damaged_rows_are_refused() {
        let mut rows = MemoryRows::default();
        for value in [&[][..], &[2, 0, 0, 0], &[1, 2, 0, 0], &[1, 0, 0]] {
            rows.put(&row(PREPARED, 1), value);
            assert!(prepared(&rows, 1).is_err() && all_prepared(&rows).is_err(), "{value:?}");
        }
        for value in [&[][..], &[2], &[1, 0]] {
            rows.put(&row(DECISION, 1), value);
            assert!(all_decisions(&rows).is_err(), "{value:?}");
        }
    }
}
