//! Physical row keys.
//!
//! ```text
//! metadata  [space u8 0..=15][slot u16 BE][0x00][hash u32 BE][key …]
//! element   [space u8 0..=15][slot u16 BE][0x01][key length u32 BE][key …][version u64 BE][element …]
//! deadline  [0xFD][deadline_ms u64 BE][space u8][key …]
//! fields    [0xF9][deadline_ms u64 BE][space u8][key …]
//! applied   [0xFF]
//! ```
//!
//! A slot's keys are one contiguous range per row kind, so a slot is moved, counted and listed by ranges. Within a slot, keys
//! are ordered by a hash, so that a position in the keyspace fits a SCAN cursor (see [`KeyPosition`]). The deadline rows are
//! an index over the metadata rows: active expiry reads them in order of time. So are those of fields, one for each hash whose
//! fields have deadlines, with the earliest of them.

use crate::rows::{Counters, RowRange};
use crate::spaces::Space;

/// Hash slots of the keyspace, as in Redis Cluster.
pub const SLOT_COUNT: u16 = 16384;

/// The hash that orders names: CRC-32 (IEEE), then the finalizer of MurmurHash3 (`fmix32`), since the CRCs of names that
/// differ in a few digits alone leave gaps. Part of the format: never to be changed.
pub(super) fn name_hash(name: &[u8]) -> u32 {
    let mut hash = crc32fast::hash(name);
    hash ^= hash >> 16;
    hash = hash.wrapping_mul(0x85EB_CA6B);
    hash ^= hash >> 13;
    hash = hash.wrapping_mul(0xC2B2_AE35);
    hash ^ (hash >> 16)
}

/// One of the [`SLOT_COUNT`] hash slots.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Slot(u16);

impl Slot {
    /// The slot numbered `index`.
    ///
    /// # Panics
    /// If `index` is not below [`SLOT_COUNT`].
    pub fn new(index: u16) -> Slot {
        assert!(index < SLOT_COUNT, "slot {index} does not exist");
        Slot(index)
    }

    /// The slot of `key`: CRC16-XMODEM of the key, or of its hash tag, modulo 16384
    /// (<https://redis.io/docs/latest/operate/oss_and_stack/reference/cluster-spec/#key-distribution-model>).
    pub fn of(key: &[u8]) -> Slot {
        Slot(crc16(hash_tag(key)) % SLOT_COUNT)
    }

    /// The slot's number.
    pub fn index(self) -> u16 {
        self.0
    }
}

/// The part of `key` that is hashed: what stands between the first `{` and the next `}`, unless that is empty.
fn hash_tag(key: &[u8]) -> &[u8] {
    let Some(open) = memchr::memchr(b'{', key) else { return key };
    match memchr::memchr(b'}', &key[open + 1..]) {
        Some(length) if length > 0 => &key[open + 1..open + 1 + length],
        _ => key,
    }
}

const CRC16_TABLES: [[u16; 256]; 4] = crc16_tables();

/// Slicing-by-4 tables of CRC16-XMODEM (polynomial 0x1021).
const fn crc16_tables() -> [[u16; 256]; 4] {
    let mut tables = [[0u16; 256]; 4];
    let mut byte = 0;
    while byte < 256 {
        let mut crc = (byte as u16) << 8;
        let mut bit = 0;
        while bit < 8 {
            crc = if crc & 0x8000 != 0 { (crc << 1) ^ 0x1021 } else { crc << 1 };
            bit += 1;
        }
        tables[0][byte] = crc;
        byte += 1;
    }
    let mut table = 1;
    while table < 4 {
        let mut byte = 0;
        while byte < 256 {
            let previous = tables[table - 1][byte];
            tables[table][byte] = (previous << 8) ^ tables[0][(previous >> 8) as usize];
            byte += 1;
        }
        table += 1;
    }
    tables
}

fn crc16(bytes: &[u8]) -> u16 {
    let mut crc = 0u16;
    let mut words = bytes.chunks_exact(4);
    for word in &mut words {
        crc = CRC16_TABLES[3][((crc >> 8) as u8 ^ word[0]) as usize]
            ^ CRC16_TABLES[2][(crc as u8 ^ word[1]) as usize]
            ^ CRC16_TABLES[1][word[2] as usize]
            ^ CRC16_TABLES[0][word[3] as usize];
    }
    for &byte in words.remainder() {
        crc = (crc << 8) ^ CRC16_TABLES[0][((crc >> 8) as u8 ^ byte) as usize];
    }
    crc
}

/// Kinds of rows under a slot.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[repr(u8)]
pub enum RowKind {
    /// A key's metadata.
    Meta = 0x00,
    /// One element of a collection.
    Element = 0x01,
}

/// Kinds of things with deadlines, each with rows of its own in the order of time.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[repr(u8)]
pub(crate) enum Due {
    /// Keys.
    Keys = 0xFD,
    /// Hashes, with the earliest deadline of their fields.
    Fields = 0xF9,
}

/// A row key on the stack, unless it is a long one.
pub(crate) type RowKey = smallvec::SmallVec<[u8; 96]>;

/// A place in the order of a database's keys: slot, then hash. It is the cursor of a scan within one shard.
///
/// A key never changes its place, and all keys of one place are visited together. So a scan that goes on from the place
/// where it stopped, however late, misses no key that was there throughout, and visits none twice unless it was
/// deleted and created again, whatever else comes and goes meanwhile.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Default)]
pub struct KeyPosition(u64);

impl KeyPosition {
    /// Bits of a position: 14 of the slot and 32 of the hash.
    pub const BITS: u32 = 46;

    /// Before all keys.
    pub const START: KeyPosition = KeyPosition(0);

    /// The place of `key`.
    pub fn of(key: &[u8]) -> KeyPosition {
        KeyPosition(u64::from(Slot::of(key).0) << 32 | u64::from(name_hash(key)))
    }

    /// The position before all keys of `slot`.
    pub fn of_slot(slot: Slot) -> KeyPosition {
        KeyPosition(u64::from(slot.0) << 32)
    }

    /// The slot of the position.
    pub fn slot(self) -> Slot {
        Slot((self.0 >> 32) as u16)
    }

    /// The place with the number `bits`; `None` if there are not that many.
    pub fn from_bits(bits: u64) -> Option<KeyPosition> {
        (bits >> KeyPosition::BITS == 0).then_some(KeyPosition(bits))
    }

    /// The number of this place, below `2^46`.
    pub fn to_bits(self) -> u64 {
        self.0
    }

    /// The first place of the next slot; `None` after the last one.
    pub fn next_slot(self) -> Option<KeyPosition> {
        KeyPosition::from_bits(((self.0 >> 32) + 1) << 32)
    }

    /// The row key below which all keys of earlier places are.
    pub(crate) fn row_key(self, space: Space) -> RowKey {
        let [.., high, low, a, b, c, d] = self.0.to_be_bytes();
        RowKey::from_slice(&[space.byte(), high, low, RowKind::Meta as u8, a, b, c, d])
    }
}

/// A row below a database's number, taken apart.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum KeyRow<'a> {
    /// A metadata row: where it is, and of which key.
    Meta(KeyPosition, &'a [u8]),
    /// A row of another kind, in the slot that begins there.
    Other(KeyPosition),
}

impl<'a> KeyRow<'a> {
    /// Reads the key of a row in a database's range; `None` if it is none.
    pub(crate) fn read(row: &'a [u8]) -> Option<KeyRow<'a>> {
        let (&[_, high, low, kind], rest) = row.split_first_chunk::<4>()?;
        let slot = u64::from(u16::from_be_bytes([high, low])) << 32;
        let position = KeyPosition::from_bits(slot)?;
        if kind != RowKind::Meta as u8 {
            return Some(KeyRow::Other(position));
        }
        let (hash, key) = rest.split_first_chunk::<4>()?;
        Some(KeyRow::Meta(KeyPosition(slot | u64::from(u32::from_be_bytes(*hash))), key))
    }
}

/// The metadata row key of `key` in the database in `space`.
pub(crate) fn meta_key(space: Space, slot: Slot, key: &[u8]) -> RowKey {
    let mut row = RowKey::with_capacity(8 + key.len());
    let [high, low] = slot.0.to_be_bytes();
    let [a, b, c, d] = name_hash(key).to_be_bytes();
    row.extend_from_slice(&[space.byte(), high, low, RowKind::Meta as u8, a, b, c, d]);
    row.extend_from_slice(key);
    row
}

/// The space and the hash of the key in a metadata row key.
#[inline]
pub(super) fn space_and_hash(row: &[u8]) -> (u8, u32) {
    let &[space, _, _, _, a, b, c, d, ..] = row else { unreachable!("a metadata row key has a hash") };
    (space, u32::from_be_bytes([a, b, c, d]))
}

/// The ranges of all rows of `key` in database `db` of rows with these counters: its metadata, and its elements of whatever
/// version, unless only the former is read. They are those of this moment: databases may be swapped.
pub fn rows_of_key(
    counters: &Counters,
    db: u8,
    key: &[u8],
    with_elements: bool,
) -> impl Iterator<Item = RowRange> + use<> {
    let (space, slot) = (counters.spaces.of(db), Slot::of(key));
    let meta = meta_key(space, slot, key);
    let mut behind = meta.clone();
    behind.push(0);
    let elements = with_elements.then(|| {
        let whole = ElementKey::prefix(space, slot, key, 0);
        let prefix = &whole[..whole.len() - size_of::<u64>()];
        (prefix.into(), after_prefix(prefix).as_slice().into())
    });
    [(meta.as_slice().into(), behind.as_slice().into())].into_iter().chain(elements)
}

/// The row key of `key`, which is in the database in `space`, in the index of what is `due`.
pub(crate) fn deadline_key(due: Due, deadline_ms: u64, space: Space, key: &[u8]) -> RowKey {
    let mut row = RowKey::with_capacity(10 + key.len());
    row.push(due as u8);
    row.extend_from_slice(&deadline_ms.to_be_bytes());
    row.push(space.byte());
    row.extend_from_slice(key);
    row
}

/// The range `from..to` of the index of what is `due`.
pub(crate) fn deadline_space(due: Due) -> (RowKey, RowKey) {
    (RowKey::from_slice(&[due as u8]), RowKey::from_slice(&[due as u8 + 1]))
}

/// The smallest key that is greater than all keys starting with `prefix`.
///
/// # Panics
/// If `prefix` is all 0xFF: no row key starts like that but the applied row, which nothing scans for.
pub(crate) fn after_prefix(prefix: &[u8]) -> RowKey {
    let end = prefix.iter().rposition(|&byte| byte != 0xFF).expect("a row prefix starts with a database number");
    let mut after = RowKey::from_slice(&prefix[..=end]);
    after[end] += 1;
    after
}

/// Reads deadline, space and key back from a row key in the index of what is `due`.
pub(crate) fn read_deadline_key(due: Due, row: &[u8]) -> Option<(u64, Space, &[u8])> {
    let rest = row.strip_prefix(&[due as u8])?;
    let (deadline, rest) = rest.split_first_chunk::<8>()?;
    let (&space, key) = rest.split_first()?;
    Some((u64::from_be_bytes(*deadline), Space::read(space)?, key))
}

/// The parts of an element row's key, as compaction needs them to tell an orphan.
#[derive(Debug, PartialEq, Eq)]
pub struct ElementKey<'a> {
    /// The space of its database.
    pub space: Space,
    /// Slot.
    pub slot: Slot,
    /// The key the element belongs to.
    pub key: &'a [u8],
    /// The key's version when the element was written.
    pub version: u64,
    /// The element's own bytes.
    pub element: &'a [u8],
}

impl<'a> ElementKey<'a> {
    /// Reads an element row key; `None` if `row` is of another kind.
    pub fn read(row: &'a [u8]) -> Option<ElementKey<'a>> {
        let (head, rest) = row.split_first_chunk::<4>()?;
        let space = Space::read(head[0])?;
        if head[3] != RowKind::Element as u8 {
            return None;
        }
        let slot = u16::from_be_bytes([head[1], head[2]]);
        if slot >= SLOT_COUNT {
            return None;
        }
        let (length, rest) = rest.split_first_chunk::<4>()?;
        let (key, rest) = rest.split_at_checked(u32::from_be_bytes(*length) as usize)?;
        let (version, element) = rest.split_first_chunk::<8>()?;
        Some(ElementKey { space, slot: Slot(slot), key, version: u64::from_be_bytes(*version), element })
    }

    /// The prefix common to all elements of `key` at `version`.
    pub(crate) fn prefix(space: Space, slot: Slot, key: &[u8], version: u64) -> RowKey {
        let mut row = RowKey::with_capacity(16 + key.len());
        let [high, low] = slot.0.to_be_bytes();
        row.extend_from_slice(&[space.byte(), high, low, RowKind::Element as u8]);
        row.extend_from_slice(&(key.len() as u32).to_be_bytes());
        row.extend_from_slice(key);
        row.extend_from_slice(&version.to_be_bytes());
        row
    }

    /// The key within a prefix made by [`ElementKey::prefix`].
    pub(crate) fn key_of_prefix(prefix: &[u8]) -> &[u8] {
        &prefix[8..prefix.len() - 8]
    }

    /// The metadata row key of the key that this element belongs to.
    pub(crate) fn meta_row(&self) -> RowKey {
        meta_key(self.space, self.slot, self.key)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn slots_match_redis_cluster() {
        // `redis-cli CLUSTER KEYSLOT` of redis-server 7.0.15
        for (key, slot) in [("foo", 12182), ("bar", 5061), ("{user1000}.following", 3443), ("123456789", 12739)] {
            assert_eq!(Slot::of(key.as_bytes()).index(), slot, "{key}");
        }
        assert_eq!(Slot::of(b"{}.a"), Slot::of(b"{}.a"));
        assert_ne!(Slot::of(b"{}.a"), Slot::of(b"{}.b"), "an empty tag does not count");
    }

    #[test]
    fn element_keys_round_trip() {
        let space = Space::read(3).unwrap();
        let mut row = ElementKey::prefix(space, Slot::new(77), b"k", 9);
        assert_eq!(ElementKey::key_of_prefix(&row), b"k");
        row.extend_from_slice(b"field");
        let read = ElementKey::read(&row).unwrap();
        assert_eq!(read, ElementKey { space, slot: Slot::new(77), key: b"k", version: 9, element: b"field" });
        let meta = meta_key(space, Slot::new(77), b"k");
        assert_eq!(ElementKey::read(&meta), None);
    }
}
