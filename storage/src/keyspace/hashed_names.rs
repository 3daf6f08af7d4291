//! Elements that are looked up by name: set members, hash fields, sorted set members.
//!
//! ```text
//! element   [kind u8][name_hash(name) u32 BE][name …]
//! ```
//!
//! Ordering names by a 32-bit hash costs four bytes a row and buys two things that plain names cannot give: a name drawn at
//! random is one seek to a random hash, and the cursor of SSCAN, HSCAN and ZSCAN is simply the hash to go on from (names
//! of equal hash are answered together), so a scan needs no state and misses nothing that was there throughout.

use std::ops::{Bound, ControlFlow};

use super::Keyspace;
use super::collection::Collection;
use super::key::{RowKey, name_hash};
use super::keyspace::damaged;
use crate::limits::{EXACT_NAMES_MAX, WINDOW_NAMES};
use crate::{Direction, Result};

/// Bytes before the name: kind and hash.
const NAME_START: usize = 5;

/// The element bytes of `name`.
pub(super) fn name_element(kind: u8, name: &[u8]) -> RowKey {
    let mut element = RowKey::with_capacity(NAME_START + name.len());
    element.push(kind);
    element.extend_from_slice(&name_hash(name).to_be_bytes());
    element.extend_from_slice(name);
    element
}

/// The hash in the element bytes that [`name_element`] made.
pub(super) fn element_hash(element: &[u8]) -> u32 {
    u32::from_be_bytes(element[1..NAME_START].try_into().expect("four bytes"))
}

/// The name in the element bytes that [`name_element`] made.
pub(super) fn element_name(element: &[u8]) -> &[u8] {
    &element[NAME_START..]
}

/// Visits all names of `kind` with their values, in the order of their hashes.
///
/// # Errors
/// [`Error::Corruption`](crate::Error::Corruption) if there are not `collection.size` of them.
pub(super) fn each_name(
    keyspace: &Keyspace<'_>,
    collection: &Collection,
    kind: u8,
    visit: &mut dyn FnMut(&[u8], &[u8]),
) -> Result<()> {
    let mut missing = collection.size;
    let (from, to) = ([kind], [kind + 1]);
    keyspace.scan_elements(
        collection,
        Bound::Included(&from),
        Bound::Excluded(&to),
        Direction::Forward,
        &mut |element, value| {
            visit(element_name(element), value);
            missing = missing.wrapping_sub(1);
            ControlFlow::Continue(())
        },
    )?;
    // The reply's header has already said how many there are.
    if missing == 0 { Ok(()) } else { Err(damaged(collection.key())) }
}

/// Draws an element of `kind` by the random number `random`; `None` only if there is none.
///
/// Up to [`EXACT_NAMES_MAX`] names the draw is uniform. In larger collections it is O(log n): one of the
/// [`WINDOW_NAMES`] names that follow a random hash. A name's chance is the mean of the 16 gaps between hashes before it,
/// so it varies by a quarter (standard deviation) around 1/n: what Redis' own draw from hash buckets achieves.
pub(super) fn random_name(
    keyspace: &Keyspace<'_>,
    collection: &Collection,
    kind: u8,
    random: u64,
) -> Result<Option<RowKey>> {
    let (hash, low) = ((random >> 32) as u32, random as u32);
    let (mut from, to) = (RowKey::from_slice(&[kind]), [kind + 1]);
    let mut skip = if collection.size <= EXACT_NAMES_MAX {
        ((u128::from(random) * u128::from(collection.size)) >> 64) as u32
    } else {
        from.extend_from_slice(&hash.to_be_bytes());
        low % WINDOW_NAMES
    };
    let mut found = None;
    // The second round goes on from the start, where the first one met the end.
    for _ in 0..2 {
        keyspace.scan_elements(
            collection,
            Bound::Included(&from),
            Bound::Excluded(&to),
            Direction::Forward,
            &mut |element, _| {
                if skip > 0 {
                    skip -= 1;
                    return ControlFlow::Continue(());
                }
                found = Some(RowKey::from_slice(element));
                ControlFlow::Break(())
            },
        )?;
        if found.is_some() {
            break;
        }
        from.truncate(1);
    }
    Ok(found)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn hashes_of_names_never_change() {
        // fixed by the format: data written with one hash cannot be read with another
        assert_eq!(name_hash(b""), 0);
        assert_eq!(name_hash(b"123456789"), fmix32(0xCBF4_3926));
        assert_eq!(name_element(7, b"ab")[5..], *b"ab");
    }

    /// The finalizer of MurmurHash3, written down a second time.
    fn fmix32(mut hash: u32) -> u32 {
        hash = (hash ^ (hash >> 16)).wrapping_mul(0x85EB_CA6B);
        hash = (hash ^ (hash >> 13)).wrapping_mul(0xC2B2_AE35);
        hash ^ (hash >> 16)
    }

    #[test]
    fn similar_names_spread_over_all_hashes() {
        let mut buckets = [0; 64];
        for number in 0..6400 {
            buckets[name_hash(format!("element:{number:012}").as_bytes()) as usize >> 26] += 1;
        }
        // 100 expected: six standard deviations
        assert!(buckets.iter().all(|count| (40..160).contains(count)), "{buckets:?}");
    }
}
