//! The payload of a Raft entry: the writes of one turn.
//!
//! ```text
//! batch  [version u8 = 3][flags u8][leader's time, Unix ms, u64 LE][random seed u64 LE][longest string u32 LE]
//!        [transaction id 16 bytes, if flag 0x01][index u64 LE][sum u64 LE, both if flag 0x02]{[length u32 LE][command …]}…
//! ```
//!
//! Time, seed and the leader's `proto-max-bulk-len` come with the batch, so that applying it gives the same rows on every
//! replica and on every replay, whatever their own settings say.
//!
//! Flag 0x04 says that small collections are packed, up to the bounds of [`Packing::STANDARD`]. Batches without it are those of
//! programs that had a row for each element, and are executed as those did. Flag 0x08, which none has without 0x04, says that the
//! rows of large sorted sets are counted; those without it are of programs that counted none.

use std::ops::Range;

use basalt_storage::Versions;
use basalt_storage::keyspace::Packing;

/// Versions of a batch. Version 2 had neither flags nor what they announce.
///
/// The version also stands for what executing a batch does: see `results` in this folder.
pub const BATCH_VERSIONS: Versions = Versions::new(2, 3);
/// Bytes before the first command of a batch without flags.
pub const BATCH_HEADER_BYTES: usize = 22;
/// The batch is a part of a transaction, whose id follows the header.
const FLAG_TRANSACTION: u8 = 0x01;
/// A checksum of rows follows.
const FLAG_ROWS_SUM: u8 = 0x02;
/// Small collections are packed.
const FLAG_PACKS: u8 = 0x04;
/// The rows of large sorted sets are counted.
const FLAG_COUNTS: u8 = 0x08;
/// Bytes of a command's length.
const LENGTH_BYTES: usize = 4;

/// Writes a batch header for `out`, which is cleared first.
pub fn begin(out: &mut Vec<u8>) {
    out.clear();
    out.extend_from_slice(&[BATCH_VERSIONS.written_u8(), FLAG_PACKS | FLAG_COUNTS]);
    out.extend_from_slice(&[0; BATCH_HEADER_BYTES - 2]);
}

/// Fills in when the batch was closed, the seed of its random choices and how long its commands may make a string.
pub fn seal(batch: &mut [u8], time_ms: u64, seed: u64, string_bytes_max: usize) {
    let string_bytes_max = u32::try_from(string_bytes_max).unwrap_or(u32::MAX);
    batch[2..10].copy_from_slice(&time_ms.to_le_bytes());
    batch[10..18].copy_from_slice(&seed.to_le_bytes());
    batch[18..22].copy_from_slice(&string_bytes_max.to_le_bytes());
}

/// Appends a command that `write` encodes, with its length before it. Returns where its bytes are.
pub fn push(out: &mut Vec<u8>, write: impl FnOnce(&mut Vec<u8>)) -> Range<usize> {
    let start = out.len() + LENGTH_BYTES;
    out.extend_from_slice(&[0; LENGTH_BYTES]);
    write(out);
    let length = u32::try_from(out.len() - start).expect("one command is smaller than 4 GiB by the query limit");
    out[start - LENGTH_BYTES..start].copy_from_slice(&length.to_le_bytes());
    start..out.len()
}

/// Takes the command that was appended last out again; `at` is where its bytes are.
pub fn pop(out: &mut Vec<u8>, at: Range<usize>) -> Vec<u8> {
    assert_eq!(at.end, out.len(), "it was appended last");
    let bytes = out.split_off(at.start);
    out.truncate(at.start - LENGTH_BYTES);
    bytes
}

/// A checksum of the rows that a log's entries have changed, on the replica that proposed a batch.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[allow(dead_code, reason = "nobody compares rows yet")]
pub struct RowsSum {
    /// Up to which entry.
    pub index: u64,
    /// The sum of all rows that were changed, in the order of the changes.
    pub sum: u64,
}

/// A batch read back from an entry.
#[derive(Debug, Clone, Copy)]
pub struct Batch<'a> {
    /// The leader's clock when it closed the batch, Unix milliseconds.
    pub time_ms: u64,
    /// Seed of the random choices made while applying, but for those of commands with a seed of their own.
    pub seed: u64,
    /// Bytes that a command of the batch may make a string long: the leader's `proto-max-bulk-len`.
    pub string_bytes_max: usize,
    /// The bounds up to which its commands pack collections, and of the counts of large ones.
    pub packing: &'static Packing,
    /// The transaction that the batch is a part of. None is written yet.
    #[allow(dead_code, reason = "there are no transactions yet")]
    pub transaction: Option<u128>,
    /// The checksum that a replica can compare its own with. None is written yet.
    #[allow(dead_code, reason = "nobody compares rows yet")]
    pub rows_sum: Option<RowsSum>,
    commands: &'a [u8],
}

impl<'a> Batch<'a> {
    /// Reads a batch header.
    ///
    /// # Errors
    /// The sentence that says why `bytes` are not a batch this program can apply.
    pub fn read(bytes: &'a [u8]) -> Result<Batch<'a>, String> {
        let version = bytes.first().copied().unwrap_or_default();
        if !bytes.is_empty() && !BATCH_VERSIONS.reads(version.into()) {
            return Err(format!(
                "the entry is a batch of version {version}, this program reads up to version {}",
                BATCH_VERSIONS.newest()
            ));
        }
        let too_short = || format!("an entry of {} bytes is too short for a batch", bytes.len());
        let mut reader = Header(bytes.get(1..).ok_or_else(too_short)?);
        let flags = if version == 2 { 0 } else { reader.take::<1>().ok_or_else(too_short)?[0] };
        let packing = match flags & (FLAG_PACKS | FLAG_COUNTS) {
            0 => Some(&Packing::NONE),
            FLAG_PACKS => Some(&Packing::UNCOUNTED),
            FLAG_COUNTS => None,
            _ => Some(&Packing::STANDARD),
        };
        let known = FLAG_TRANSACTION | FLAG_ROWS_SUM | FLAG_PACKS | FLAG_COUNTS;
        let Some(packing) = packing.filter(|_| flags & !known == 0) else {
            return Err(format!("the batch has the unknown flags {flags:#04x}"));
        };
        let mut read = || {
            let (time_ms, seed) = (reader.number()?, reader.number()?);
            let string_bytes_max = u32::from_le_bytes(reader.take()?) as usize;
            let mut transaction = None;
            if flags & FLAG_TRANSACTION != 0 {
                transaction = Some(u128::from_le_bytes(reader.take()?));
            }
            let mut rows_sum = None;
            if flags & FLAG_ROWS_SUM != 0 {
                rows_sum = Some(RowsSum { index: reader.number()?, sum: reader.number()? });
            }
            Some(Batch { time_ms, seed, string_bytes_max, packing, transaction, rows_sum, commands: reader.0 })
        };
        read().ok_or_else(too_short)
    }
}

/// The rest of a header.
struct Header<'a>(&'a [u8]);

impl Header<'_> {
    fn take<const N: usize>(&mut self) -> Option<[u8; N]> {
        let (taken, rest) = self.0.split_first_chunk()?;
        self.0 = rest;
        Some(*taken)
    }

    fn number(&mut self) -> Option<u64> {
        self.take().map(u64::from_le_bytes)
    }
}

impl Batch<'_> {
    /// Bytes of the commands that are left.
    pub fn bytes_left(&self) -> usize {
        self.commands.len()
    }

    /// Goes on where so many bytes were left.
    ///
    /// # Panics
    /// If there are fewer.
    pub fn skip_to(&mut self, bytes_left: usize) {
        self.commands = &self.commands[self.commands.len() - bytes_left..];
    }
}

impl<'a> Iterator for Batch<'a> {
    type Item = Result<&'a [u8], String>;

    fn next(&mut self) -> Option<Self::Item> {
        if self.commands.is_empty() {
            return None;
        }
        let cut = self
            .commands
            .split_first_chunk::<4>()
            .and_then(|(length, rest)| rest.split_at_checked(u32::from_le_bytes(*length) as usize));
        let Some((command, rest)) = cut else {
            self.commands = &[];
            return Some(Err("a command in the batch is cut short".into()));
        };
        self.commands = rest;
        Some(Ok(command))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn batches_round_trip() {
        let mut bytes = Vec::new();
        begin(&mut bytes);
        push(&mut bytes, |out| out.extend_from_slice(b"one"));
        push(&mut bytes, |_| ());
        let taken_back = push(&mut bytes, |out| out.extend_from_slice(b"two"));
        assert_eq!(&bytes[taken_back.clone()], b"two");
        assert_eq!(pop(&mut bytes, taken_back), b"two");
        seal(&mut bytes, 5, 6, 7);
        let batch = Batch::read(&bytes).unwrap();
        assert_eq!((batch.time_ms, batch.seed, batch.string_bytes_max), (5, 6, 7));
        assert_eq!(batch.packing, &Packing::STANDARD);
        assert_eq!(batch.map(Result::unwrap).collect::<Vec<_>>(), [b"one".as_slice(), b""]);
    }

    #[test]
    fn the_layout_is_the_documented_one() {
        let mut bytes = Vec::new();
        begin(&mut bytes);
        push(&mut bytes, |out| out.extend_from_slice(b"one"));
        seal(&mut bytes, 0x0102_0304_0506_0708, 9, 0x0a0b_0c0d);
        let time_and_seed = [8, 7, 6, 5, 4, 3, 2, 1, 9, 0, 0, 0, 0, 0, 0, 0];
        assert_eq!(bytes, [&[3, 12], &time_and_seed[..], &[0x0d, 0x0c, 0x0b, 0x0a], &[3, 0, 0, 0], b"one"].concat());
    }

    #[test]
    fn the_version_before_is_read() {
        let time_and_seed = [8, 7, 6, 5, 4, 3, 2, 1, 9, 0, 0, 0, 0, 0, 0, 0];
        let bytes = [&[2], &time_and_seed[..], &[0x0d, 0x0c, 0x0b, 0x0a], &[3, 0, 0, 0], b"one"].concat();
        let batch = Batch::read(&bytes).unwrap();
        assert_eq!((batch.time_ms, batch.seed, batch.string_bytes_max), (0x0102_0304_0506_0708, 9, 0x0a0b_0c0d));
        assert_eq!((batch.transaction, batch.rows_sum, batch.packing), (None, None, &Packing::NONE));
        assert_eq!(batch.map(Result::unwrap).collect::<Vec<_>>(), [b"one"]);
        assert!(Batch::read(&bytes[..20]).is_err());
    }

    #[test]
    fn what_flags_announce_is_read_and_unknown_flags_are_refused() {
        let mut plain = Vec::new();
        begin(&mut plain);
        push(&mut plain, |out| out.extend_from_slice(b"one"));
        seal(&mut plain, 5, 6, 7);
        let transaction = 0x0102_0304_0506_0708_090a_0b0c_0d0e_0f10_u128;
        let rows_sum = RowsSum { index: 0x1122, sum: 0x3344 };
        let id = [16, 15, 14, 13, 12, 11, 10, 9, 8, 7, 6, 5, 4, 3, 2, 1];
        let sum = [0x22, 0x11, 0, 0, 0, 0, 0, 0, 0x44, 0x33, 0, 0, 0, 0, 0, 0];
        for (flags, fields, expected) in [
            (0x00, vec![], (None, None)),
            (0x01, id.to_vec(), (Some(transaction), None)),
            (0x02, sum.to_vec(), (None, Some(rows_sum))),
            (0x03, [id, sum].concat(), (Some(transaction), Some(rows_sum))),
            (0x04, vec![], (None, None)),
            (0x0c, vec![], (None, None)),
        ] {
            let (head, commands) = plain.split_at(BATCH_HEADER_BYTES);
            let mut bytes = [head, &fields, commands].concat();
            bytes[1] = flags;
            let batch = Batch::read(&bytes).unwrap();
            assert_eq!((batch.transaction, batch.rows_sum), expected, "flags {flags}");
            let packing = match flags & 0x0c {
                0 => &Packing::NONE,
                0x04 => &Packing::UNCOUNTED,
                _ => &Packing::STANDARD,
            };
            assert_eq!(batch.packing, packing, "flags {flags}");
            assert_eq!((batch.time_ms, batch.seed, batch.string_bytes_max), (5, 6, 7));
            assert_eq!(batch.map(Result::unwrap).collect::<Vec<_>>(), [b"one"]);
            for length in 0..BATCH_HEADER_BYTES + fields.len() {
                assert!(Batch::read(&bytes[..length]).is_err(), "flags {flags}, cut to {length} bytes");
            }
            bytes[1] |= 0x40;
            assert!(Batch::read(&bytes).unwrap_err().contains("unknown flags"));
        }
        plain[1] = 0x08;
        assert!(Batch::read(&plain).unwrap_err().contains("unknown flags"), "who counts packs as well");
    }

    #[test]
    fn other_versions_and_cut_batches_are_refused() {
        let mut bytes = Vec::new();
        begin(&mut bytes);
        push(&mut bytes, |out| out.extend_from_slice(b"one"));
        assert!(Batch::read(&bytes[..10]).is_err());
        assert!(Batch::read(&bytes[..bytes.len() - 1]).unwrap().next().unwrap().is_err());
        for version in [0, 1, 4, 255] {
            bytes[0] = version;
            let refusal = Batch::read(&bytes).unwrap_err();
            assert!(refusal.contains(&format!("version {version}, this program reads up to version 3")), "{refusal}");
        }
        assert!(Batch::read(&[]).is_err());
    }
}
