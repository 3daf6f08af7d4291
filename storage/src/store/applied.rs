//! The applied row: up to which log entry a generation's rows are applied, written in the same file as those rows.
//!
//! The layout is drawn in `storage/FORMAT.md`.

use std::path::Path;

use crate::rows::{Counters, DATABASE_COUNT};
use crate::{Error, Result};

/// The format of the rows and of the applied row that this program reads and writes.
const FORMAT: u32 = 1;

/// Up to where the rows are applied.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Applied {
    /// The index of the last applied log entry; 0 if none was.
    pub index: u64,
    /// That entry's log id, opaque to the store; empty if none was.
    pub log_id: Vec<u8>,
    /// The group's membership at that entry, opaque to the store; empty if none was set yet.
    pub membership: Vec<u8>,
}

/// Encodes the applied row's value.
pub(super) fn encode(applied: &Applied, counters: &Counters) -> Vec<u8> {
    let fixed = 4 + 8 + 4 + 4 + 2 * 8 * DATABASE_COUNT + 4;
    let mut out = Vec::with_capacity(fixed + applied.log_id.len() + applied.membership.len());
    out.extend_from_slice(&FORMAT.to_be_bytes());
    out.extend_from_slice(&applied.index.to_be_bytes());
    for opaque in [&applied.log_id, &applied.membership] {
        let length = u32::try_from(opaque.len()).expect("a log id or membership is far below 4 GiB");
        out.extend_from_slice(&length.to_be_bytes());
        out.extend_from_slice(opaque);
    }
    for count in counters.keys.iter().chain(&counters.deadlines) {
        out.extend_from_slice(&count.to_be_bytes());
    }
    let checksum = crc32fast::hash(&out);
    out.extend_from_slice(&checksum.to_be_bytes());
    out
}

/// Decodes the applied row's value as found in the database at `path`.
///
/// # Errors
/// [`Error::UnknownFormat`] if a newer program wrote it, [`Error::Corruption`] if the bytes are not an applied row.
pub(super) fn decode(bytes: &[u8], path: &Path) -> Result<(Applied, Counters)> {
    let damaged = |detail: &str| Error::Corruption { path: path.into(), detail: format!("the applied row {detail}") };
    let mut reader = Reader(bytes);
    let format = reader.u32().ok_or_else(|| damaged("is cut short"))?;
    if format > FORMAT {
        return Err(Error::UnknownFormat { path: path.into(), found: format, supported: FORMAT });
    }
    let (body, checksum) = bytes.split_last_chunk::<4>().ok_or_else(|| damaged("is cut short"))?;
    if crc32fast::hash(body) != u32::from_be_bytes(*checksum) {
        return Err(damaged("does not match its checksum"));
    }
    if format != FORMAT {
        return Err(damaged("has format 0, which never existed"));
    }
    reader.read_body().ok_or_else(|| damaged("is cut short"))
}

struct Reader<'a>(&'a [u8]);

impl<'a> Reader<'a> {
    fn read_body(&mut self) -> Option<(Applied, Counters)> {
        let applied = Applied { index: self.u64()?, log_id: self.opaque()?.into(), membership: self.opaque()?.into() };
        let mut counters = Counters::default();
        for count in counters.keys.iter_mut().chain(&mut counters.deadlines) {
            *count = self.u64()?;
        }
        Some((applied, counters))
    }

    fn u32(&mut self) -> Option<u32> {
        let (head, rest) = self.0.split_first_chunk()?;
        self.0 = rest;
        Some(u32::from_be_bytes(*head))
    }

    fn u64(&mut self) -> Option<u64> {
        let (head, rest) = self.0.split_first_chunk()?;
        self.0 = rest;
        Some(u64::from_be_bytes(*head))
    }

    fn opaque(&mut self) -> Option<&'a [u8]> {
        let length = self.u32()? as usize;
        let (head, rest) = self.0.split_at_checked(length)?;
        self.0 = rest;
        Some(head)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn sample() -> (Applied, Counters) {
        let mut counters = Counters::default();
        counters.keys[0] = 7;
        counters.keys[15] = u64::MAX;
        counters.deadlines[3] = 9;
        (Applied { index: 42, log_id: b"term 3".to_vec(), membership: vec![0; 300] }, counters)
    }

    #[test]
    fn applied_rows_round_trip() {
        let (applied, counters) = sample();
        let bytes = encode(&applied, &counters);
        assert_eq!(decode(&bytes, Path::new("data")).unwrap(), (applied, counters));
    }

    #[test]
    fn any_flipped_bit_and_any_cut_is_refused() {
        let (applied, counters) = sample();
        let good = encode(&applied, &counters);
        for position in 0..good.len() {
            let mut bad = good.clone();
            bad[position] ^= 0x40;
            assert!(decode(&bad, Path::new("data")).is_err(), "flipped byte {position}");
            assert!(decode(&good[..position], Path::new("data")).is_err(), "cut at {position}");
        }
    }

    #[test]
    fn a_newer_format_is_told_from_damage() {
        let (applied, counters) = sample();
        let mut newer = encode(&applied, &counters);
        newer[3] = 2;
        let error = decode(&newer, Path::new("data")).unwrap_err();
        assert!(matches!(error, Error::UnknownFormat { found: 2, supported: 1, .. }), "{error}");
    }
}
