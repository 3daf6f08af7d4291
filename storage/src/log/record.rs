//! One record of the Raft log and its bytes on disk.
//!
//! The body is opaque: what an entry means is for the raft crate to say.

use std::path::Path;

use bytes::Bytes;

use crate::{Error, Result, Versions};

/// First byte of every key of a record; other first bytes are free for other kinds of rows.
const KEY_TAG: u8 = b'e';
/// The key after all keys of records.
pub(super) const AFTER_RECORDS: [u8; 1] = [KEY_TAG + 1];
/// Bytes of a record's key: tag and index.
pub(super) const KEY_BYTES: usize = 9;
/// Versions of the record's layout, first byte of every value.
const VERSIONS: Versions = Versions::new(1, 1);
/// Bytes of a record's value before its body: version, checksum, term.
pub(super) const HEADER_BYTES: usize = 13;

/// One record of the Raft log.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct LogRecord {
    /// Its position; the log has no holes.
    pub index: u64,
    /// The term of the leader that made it.
    pub term: u64,
    /// The entry, opaque to storage.
    pub body: Bytes,
}

impl LogRecord {
    /// Bytes that the record takes on disk and is counted with.
    pub(super) fn row_bytes(&self) -> usize {
        KEY_BYTES + HEADER_BYTES + self.body.len()
    }

    /// Writes the row's value over what `value` held.
    pub(super) fn encode(&self, value: &mut Vec<u8>) {
        value.clear();
        value.push(VERSIONS.written_u8());
        value.extend_from_slice(&checksum(self.index, self.term, &self.body).to_be_bytes());
        value.extend_from_slice(&self.term.to_be_bytes());
        value.extend_from_slice(&self.body);
    }

    /// Reads a row of the log's database in `path`.
    ///
    /// # Errors
    /// [`Error::Corruption`] if key or value are not what was written, [`Error::UnknownFormat`] for a newer layout.
    pub(super) fn decode(path: &Path, key: &[u8], value: &[u8]) -> Result<LogRecord> {
        let corruption = |detail: String| Error::Corruption { path: path.to_owned(), detail };
        let index = index_of(key).ok_or_else(|| corruption(format!("a row has the unknown key {key:02x?}")))?;
        let Some((header, body)) = value.split_at_checked(HEADER_BYTES) else {
            return Err(corruption(format!("record {index} has only {} bytes", value.len())));
        };
        let found = u32::from(header[0]);
        if !VERSIONS.reads(found) {
            return Err(Error::UnknownFormat { path: path.to_owned(), found, supported: VERSIONS.newest() });
        }
        let stored = u32::from_be_bytes([header[1], header[2], header[3], header[4]]);
        let term = read_u64(&header[5..]);
        let found = checksum(index, term, body);
        if stored != found {
            return Err(corruption(format!("record {index} has checksum {found:08x} instead of {stored:08x}")));
        }
        Ok(LogRecord { index, term, body: Bytes::copy_from_slice(body) })
    }
}

/// The key of the record at `index`; keys order as indexes do.
pub(super) fn key_of(index: u64) -> [u8; KEY_BYTES] {
    let mut key = [KEY_TAG; KEY_BYTES];
    key[1..].copy_from_slice(&index.to_be_bytes());
    key
}

/// The index of a record's key; `None` if it is the key of something else.
pub(super) fn index_of(key: &[u8]) -> Option<u64> {
    match key {
        [KEY_TAG, index @ ..] => Some(u64::from_be_bytes(index.try_into().ok()?)),
        _ => None,
    }
}

fn checksum(index: u64, term: u64, body: &[u8]) -> u32 {
    let mut hasher = crc32fast::Hasher::new();
    let mut head = [0; 16];
    head[..8].copy_from_slice(&index.to_be_bytes());
    head[8..].copy_from_slice(&term.to_be_bytes());
    hasher.update(&head);
    hasher.update(body);
    hasher.finalize()
}

fn read_u64(bytes: &[u8]) -> u64 {
    let mut word = [0; 8];
    word.copy_from_slice(&bytes[..8]);
    u64::from_be_bytes(word)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn record() -> LogRecord {
        LogRecord { index: 7, term: 3, body: Bytes::from_static(b"SET k v") }
    }

    #[test]
    fn a_record_comes_back_as_written() {
        let mut value = Vec::new();
        record().encode(&mut value);
        let back = LogRecord::decode(Path::new("log"), &key_of(7), &value).expect("intact");
        assert_eq!(back, record());
        assert_eq!(value.len() + KEY_BYTES, record().row_bytes());
    }

    #[test]
    fn the_layout_is_the_documented_one_and_other_versions_are_refused() {
        let mut value = b"\x01\0\0\0\0\0\0\0\0\0\0\0\x03SET k v".to_vec();
        let summed = [&7u64.to_be_bytes()[..], &3u64.to_be_bytes(), b"SET k v"].concat();
        value[1..5].copy_from_slice(&crc32fast::hash(&summed).to_be_bytes());
        let key = b"e\0\0\0\0\0\0\0\x07";
        assert_eq!(LogRecord::decode(Path::new("log"), key, &value).expect("intact"), record());
        let mut encoded = Vec::new();
        record().encode(&mut encoded);
        assert_eq!((encoded, &key_of(7)), (value.clone(), key));
        for version in [0, 2, 255] {
            value[0] = version;
            let refused = LogRecord::decode(Path::new("log"), key, &value).expect_err("another version");
            let is_told =
                matches!(refused, Error::UnknownFormat { found, supported: 1, .. } if found == version.into());
            assert!(is_told, "{refused}");
        }
    }

    #[test]
    fn any_flipped_bit_is_noticed() {
        let mut value = Vec::new();
        record().encode(&mut value);
        for bit in 0..value.len() * 8 {
            let mut damaged = value.clone();
            damaged[bit / 8] ^= 1 << (bit % 8);
            assert!(LogRecord::decode(Path::new("log"), &key_of(7), &damaged).is_err(), "bit {bit}");
        }
        assert!(LogRecord::decode(Path::new("log"), &key_of(8), &value).is_err(), "a record under another's key");
        assert!(LogRecord::decode(Path::new("log"), &key_of(7), &value[..5]).is_err(), "a short row");
    }

    #[test]
    fn keys_order_as_indexes() {
        let indexes = [0, 1, 255, 256, 65_535, 1 << 40, u64::MAX];
        assert!(indexes.windows(2).all(|pair| key_of(pair[0]) < key_of(pair[1])));
        assert!(indexes.iter().all(|index| index_of(&key_of(*index)) == Some(*index)));
    }
}
