//! The applied row: up to which log entry a generation's rows are applied, written in the same file as those rows.
//!
//! The layout is drawn in `storage/FORMAT.md`.

use std::path::Path;

use crate::rows::Counters;
use crate::spaces::{DATABASE_COUNT, Spaces};
use crate::{Error, Result, Versions};

/// Versions of the rows and of the applied row. Version 1 had neither time nor version base nor sums of deadlines.
const FORMAT: Versions = Versions::new(1, 2);
/// The version of an applied row with the spaces of the databases behind all else. It is written only while some are not in their
/// own: earlier programs go on with a directory whose databases were never swapped, and refuse one in which they would be mixed up.
const SWAPPED: Versions = Versions::new(3, 3);
/// The version of an applied row with the numbers of hashes of which fields have deadlines, and with the spaces of the databases.
/// It is written only while there are such hashes: earlier programs have not counted them, and no others are there to be counted.
const WITH_FIELDS: Versions = Versions::new(4, 4);

/// Up to where the rows are applied.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Applied {
    /// The index of the last applied log entry; 0 if none was.
    pub index: u64,
    /// That entry's log id, opaque to the store; empty if none was.
    pub log_id: Vec<u8>,
    /// The group's membership at that entry, opaque to the store; empty if none was set yet.
    pub membership: Vec<u8>,
    /// The latest time of an entry, in Unix milliseconds; 0 if none had one. Time in the rows does not go back.
    pub time_ms: u64,
    /// Number added to an entry's index to make the versions of the collections it creates. 0, as long as no slot has come from
    /// another group: the versions of one that has must not be met again.
    pub version_base: u64,
}

/// The content of an applied row.
#[derive(Debug)]
pub(crate) struct AppliedRow {
    pub(crate) applied: Applied,
    pub(crate) counters: Counters,
    /// Set if the sums of deadlines are among the counters. If not they are 0.
    pub(crate) has_deadline_sums: bool,
    /// Set if the numbers of hashes of which fields have deadlines are among the counters. If not they are 0, which an earlier
    /// program need not mean.
    pub(crate) has_field_deadlines: bool,
}

/// Encodes the applied row's value.
pub(crate) fn encode(applied: &Applied, counters: &Counters) -> Vec<u8> {
    let fixed = 4 + 3 * 8 + 4 + 4 + (2 * 8 + 16 + 8 + 1) * DATABASE_COUNT + 4;
    let are_own = counters.spaces.are_own();
    let has_fields = counters.field_deadlines.iter().any(|&count| count > 0);
    let format = match (has_fields, are_own) {
        (true, _) => WITH_FIELDS,
        (false, false) => SWAPPED,
        (false, true) => FORMAT,
    };
    let mut out = Vec::with_capacity(fixed + applied.log_id.len() + applied.membership.len());
    out.extend_from_slice(&format.written().to_be_bytes());
    for number in [applied.index, applied.time_ms, applied.version_base] {
        out.extend_from_slice(&number.to_be_bytes());
    }
    for opaque in [&applied.log_id, &applied.membership] {
        let length = u32::try_from(opaque.len()).expect("a log id or membership is far below 4 GiB");
        out.extend_from_slice(&length.to_be_bytes());
        out.extend_from_slice(opaque);
    }
    for count in counters.keys.iter().chain(&counters.deadlines) {
        out.extend_from_slice(&count.to_be_bytes());
    }
    for sum in &counters.deadline_sums {
        out.extend_from_slice(&sum.to_be_bytes());
    }
    for count in counters.field_deadlines.iter().filter(|_| has_fields) {
        out.extend_from_slice(&count.to_be_bytes());
    }
    if has_fields || !are_own {
        out.extend_from_slice(&counters.spaces.to_bytes());
    }
    let checksum = crc32fast::hash(&out);
    out.extend_from_slice(&checksum.to_be_bytes());
    out
}

/// Decodes the applied row's value as found in the database at `path`.
///
/// # Errors
/// [`Error::UnknownFormat`] if a newer program wrote it, [`Error::Corruption`] if the bytes are not an applied row.
pub(crate) fn decode(bytes: &[u8], path: &Path) -> Result<AppliedRow> {
    let damaged = |detail: &str| Error::Corruption { path: path.into(), detail: format!("the applied row {detail}") };
    let mut reader = Reader(bytes);
    let format = reader.u32().ok_or_else(|| damaged("is cut short"))?;
    if format > WITH_FIELDS.newest() {
        return Err(Error::UnknownFormat { path: path.into(), found: format, supported: WITH_FIELDS.newest() });
    }
    let (body, checksum) = bytes.split_last_chunk::<4>().ok_or_else(|| damaged("is cut short"))?;
    if crc32fast::hash(body) != u32::from_be_bytes(*checksum) {
        return Err(damaged("does not match its checksum"));
    }
    if ![FORMAT, SWAPPED, WITH_FIELDS].iter().any(|versions| versions.reads(format)) {
        return Err(damaged("has a format which never existed"));
    }
    // The checksum is no part of what is read.
    reader.0 = &body[4..];
    let row = reader.read_body(format).ok_or_else(|| damaged("is cut short, or has two databases in one space"))?;
    if reader.0.is_empty() { Ok(row) } else { Err(damaged("is too long")) }
}

struct Reader<'a>(&'a [u8]);

impl<'a> Reader<'a> {
    fn read_body(&mut self, format: u32) -> Option<AppliedRow> {
        let index = self.u64()?;
        let [time_ms, version_base] = if format == 1 { [0; 2] } else { [self.u64()?, self.u64()?] };
        let (log_id, membership) = (self.opaque()?.into(), self.opaque()?.into());
        let mut counters = Counters::default();
        for count in counters.keys.iter_mut().chain(&mut counters.deadlines) {
            *count = self.u64()?;
        }
        let has_deadline_sums = format > 1;
        for sum in counters.deadline_sums.iter_mut().filter(|_| has_deadline_sums) {
            *sum = u128::from(self.u64()?) << 64 | u128::from(self.u64()?);
        }
        let has_field_deadlines = WITH_FIELDS.reads(format);
        for count in counters.field_deadlines.iter_mut().filter(|_| has_field_deadlines) {
            *count = self.u64()?;
        }
        if SWAPPED.reads(format) || has_field_deadlines {
            let (spaces, rest) = self.0.split_first_chunk()?;
            (counters.spaces, self.0) = (Spaces::read(spaces)?, rest);
        }
        let applied = Applied { index, log_id, membership, time_ms, version_base };
        Some(AppliedRow { applied, counters, has_deadline_sums, has_field_deadlines })
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
pub(crate) mod tests {
    use super::*;

    fn sample() -> (Applied, Counters) {
        let mut counters = Counters::default();
        counters.keys[0] = 7;
        counters.keys[15] = u64::MAX;
        counters.deadlines[3] = 9;
        counters.deadline_sums[3] = u128::from(u64::MAX) + 5;
        let (log_id, membership) = (b"term 3".to_vec(), vec![0; 300]);
        (Applied { index: 42, log_id, membership, time_ms: 1_700_000_000_000, version_base: 7 }, counters)
    }

    /// The row as format 1 had it.
    pub(crate) fn first_format(applied: &Applied, counters: &Counters) -> Vec<u8> {
        let mut bytes = vec![0, 0, 0, 1];
        bytes.extend_from_slice(&applied.index.to_be_bytes());
        for opaque in [&applied.log_id, &applied.membership] {
            bytes.extend_from_slice(&(opaque.len() as u32).to_be_bytes());
            bytes.extend_from_slice(opaque);
        }
        for count in counters.keys.iter().chain(&counters.deadlines) {
            bytes.extend_from_slice(&count.to_be_bytes());
        }
        bytes.extend_from_slice(&crc32fast::hash(&bytes).to_be_bytes());
        bytes
    }

    #[test]
    fn applied_rows_round_trip() {
        let (applied, counters) = sample();
        let bytes = encode(&applied, &counters);
        let row = decode(&bytes, Path::new("data")).unwrap();
        assert_eq!((row.applied, row.counters, row.has_deadline_sums), (applied, counters, true));
        assert!(!row.has_field_deadlines);
    }

    #[test]
    fn the_layout_is_the_documented_one() {
        let (mut applied, mut counters) = (Applied::default(), Counters::default());
        (applied.index, applied.time_ms, applied.version_base) = (1, 2, 3);
        (applied.log_id, applied.membership) = (b"id".to_vec(), b"all".to_vec());
        (counters.keys[0], counters.deadlines[15], counters.deadline_sums[0]) = (4, 5, 6);
        let number = |number: u64| number.to_be_bytes();
        let expected = [
            &[0, 0, 0, 2][..],
            &[number(1), number(2), number(3)].concat(),
            b"\0\0\0\x02id\0\0\0\x03all",
            &number(4),
            &[0; 8 * 30],
            &number(5),
            &[0; 8],
            &number(6),
            &[0; 16 * 15],
        ]
        .concat();
        let bytes = encode(&applied, &counters);
        assert_eq!(bytes[..bytes.len() - 4], expected);
        assert_eq!(bytes[bytes.len() - 4..], crc32fast::hash(&expected).to_be_bytes());
    }

    #[test]
    fn spaces_of_databases_are_in_the_row_only_while_some_are_swapped() {
        let (applied, mut counters) = sample();
        let before = encode(&applied, &counters);
        counters.spaces.swap(0, 15);
        let mut expected = before[..before.len() - 4].to_vec();
        expected[3] = 3;
        expected.extend_from_slice(&[15, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13, 14, 0]);
        let bytes = encode(&applied, &counters);
        assert_eq!(bytes[..bytes.len() - 4], expected);
        let row = decode(&bytes, Path::new("data")).unwrap();
        assert_eq!((&row.counters, row.has_deadline_sums), (&counters, true));
        // Two databases in one space.
        *expected.last_mut().unwrap() = 15;
        expected.extend_from_slice(&crc32fast::hash(&expected).to_be_bytes());
        assert!(matches!(decode(&expected, Path::new("data")), Err(Error::Corruption { .. })));
        counters.spaces.swap(15, 0);
        assert_eq!(encode(&applied, &counters), before);
    }

    #[test]
    fn hashes_with_deadlines_of_fields_are_counted_in_the_row_only_while_there_are_some() {
        let (applied, mut counters) = sample();
        let before = encode(&applied, &counters);
        counters.field_deadlines[15] = 5;
        let mut expected = before[..before.len() - 4].to_vec();
        expected[3] = 4;
        expected.extend_from_slice(&[&[0; 8 * 15][..], &5u64.to_be_bytes()].concat());
        expected.extend(0..16);
        let bytes = encode(&applied, &counters);
        assert_eq!(bytes[..bytes.len() - 4], expected);
        counters.spaces.swap(0, 15);
        let row = decode(&encode(&applied, &counters), Path::new("data")).unwrap();
        assert_eq!((&row.counters, row.has_field_deadlines), (&counters, true));
        counters.spaces.swap(0, 15);
        counters.field_deadlines[15] = 0;
        assert_eq!(encode(&applied, &counters), before);
    }

    #[test]
    fn rows_of_the_first_format_are_read_without_what_they_did_not_have() {
        let (mut applied, mut counters) = sample();
        let row = decode(&first_format(&applied, &counters), Path::new("data")).unwrap();
        (applied.time_ms, applied.version_base) = (0, 0);
        counters.deadline_sums = Default::default();
        assert_eq!((row.applied, row.counters, row.has_deadline_sums), (applied, counters, false));
    }

    #[test]
    fn any_flipped_bit_and_any_cut_is_refused() {
        let (applied, mut counters) = sample();
        for round in 0..3 {
            let good = encode(&applied, &counters);
            for position in 0..good.len() {
                let mut bad = good.clone();
                bad[position] ^= 0x40;
                assert!(decode(&bad, Path::new("data")).is_err(), "flipped byte {position}");
                assert!(decode(&good[..position], Path::new("data")).is_err(), "cut at {position}");
            }
            counters.spaces.swap(2, 3);
            counters.field_deadlines[1] = round;
        }
    }

    #[test]
    fn a_newer_format_is_told_from_damage() {
        let (applied, counters) = sample();
        let mut newer = encode(&applied, &counters);
        newer[3] = 5;
        let error = decode(&newer, Path::new("data")).unwrap_err();
        assert!(matches!(error, Error::UnknownFormat { found: 5, supported: 4, .. }), "{error}");
    }
}
