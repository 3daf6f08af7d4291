//! A row's bytes, as they lie in a leaf.
//!
//! ```text
//! inside the leaf   [key bytes u16][value bytes u16, 0xFFFF: deleted][key …][value …]
//! of its own        a key, and a value or none
//! ```
//!
//! Large rows are outside, so that no leaf becomes so large that copying it takes long.

const HEADER_BYTES: usize = 4;
/// The value length of a deleted row.
const DELETED: u16 = u16::MAX;

/// Bytes of a row inside a leaf.
pub(super) fn inside_bytes(key: &[u8], value: Option<&[u8]>) -> usize {
    HEADER_BYTES + key.len() + value.map_or(0, <[u8]>::len)
}

/// Appends a row to a leaf's bytes.
pub(super) fn append(heap: &mut Vec<u8>, key: &[u8], value: Option<&[u8]>) {
    heap.extend_from_slice(&(key.len() as u16).to_le_bytes());
    heap.extend_from_slice(&value.map_or(DELETED, |value| value.len() as u16).to_le_bytes());
    heap.extend_from_slice(key);
    heap.extend_from_slice(value.unwrap_or_default());
}

/// The row at the beginning of `bytes`.
pub(super) fn read(bytes: &[u8]) -> (&[u8], Option<&[u8]>) {
    let (&[a, b, c, d], rest) = bytes.split_first_chunk::<HEADER_BYTES>().expect("a row has a header");
    let (key, rest) = rest.split_at(usize::from(u16::from_le_bytes([a, b])));
    let value_bytes = u16::from_le_bytes([c, d]);
    (key, (value_bytes != DELETED).then(|| &rest[..usize::from(value_bytes)]))
}

/// The value of the row at the beginning of `bytes`, to be overwritten by one of the same length.
pub(super) fn value_mut(bytes: &mut [u8]) -> Option<&mut [u8]> {
    let (&mut [a, b, c, d], rest) = bytes.split_first_chunk_mut::<HEADER_BYTES>().expect("a row has a header");
    let start = usize::from(u16::from_le_bytes([a, b]));
    let value_bytes = u16::from_le_bytes([c, d]);
    (value_bytes != DELETED).then(|| &mut rest[start..start + usize::from(value_bytes)])
}

/// A row of its own.
#[derive(Debug)]
pub(super) struct OutsideRow {
    pub(super) key: Box<[u8]>,
    pub(super) value: Option<Box<[u8]>>,
}

impl OutsideRow {
    /// Bytes of the key and the value.
    pub(super) fn bytes(&self) -> usize {
        self.key.len() + self.value.as_ref().map_or(0, |value| value.len())
    }
}
