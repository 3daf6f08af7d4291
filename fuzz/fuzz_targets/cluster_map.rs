//! A snapshot of the cluster's map and entries behind it: what is read is written as it was, and applied without harm.

#![no_main]

use std::collections::BTreeSet;

use basalt_core::internals::cluster::map::{Change, Map};
use basalt_core::internals::cluster::placement::place;
use libfuzzer_sys::fuzz_target;

/// Nodes and groups up to which the placement is tried as well: it takes their product.
const PLACED_MAX: usize = 64;

fuzz_target!(|data: &[u8]| {
    if let Ok(map) = Map::decode(data) {
        assert_eq!(map.encode(), data, "equal maps have equal bytes");
    }
    if let Ok(change) = Change::decode(data) {
        assert_eq!(change.encode(), data, "equal changes have equal bytes");
    }
    // The snapshot has its length before it, and so has each change.
    let Some((snapshot, mut entries)) = piece(data) else { return };
    let mut map = Map::decode(snapshot).unwrap_or_default();
    while let Some((bytes, rest)) = piece(entries) {
        entries = rest;
        let Ok(change) = Change::decode(bytes) else { continue };
        let Some(index) = map.epoch().checked_add(1) else { return };
        let before = map.clone();
        if map.apply(index, change).is_err() {
            assert!(
                map.nodes() == before.nodes() && map.groups() == before.groups(),
                "a refused change changes nothing"
            );
        }
        assert_eq!(map.epoch(), index);
        assert_eq!(Map::decode(&map.encode()).as_ref(), Ok(&map), "a map can always be read again");
    }
    if map.nodes().len() > PLACED_MAX || map.groups().len() > PLACED_MAX {
        return;
    }
    let placements = place(&map, &BTreeSet::new());
    let Some(index) = map.epoch().checked_add(1) else { return };
    if map.is_founded() {
        map.apply(index, Change::PlaceGroups { placements }).expect("a placement is never refused");
        assert!(place(&map, &BTreeSet::new()).is_empty(), "what is placed stays");
    }
});

/// The piece at the beginning of `data`, whose length is its first two bytes, and the rest.
fn piece(data: &[u8]) -> Option<(&[u8], &[u8])> {
    let (length, rest) = data.split_first_chunk()?;
    rest.split_at_checked(usize::from(u16::from_le_bytes(*length)))
}
