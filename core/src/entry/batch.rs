//! The payload of a Raft entry: the writes of one turn.
//!
//! ```text
//! batch  [version u8 = 2][leader's time, Unix ms, u64 LE][random seed u64 LE][longest string u32 LE]{[length u32 LE][command …]}…
//! ```
//!
//! Time, seed and the leader's `proto-max-bulk-len` come with the batch, so that applying it gives the same rows on every
//! replica and on every replay, whatever their own settings say.

use std::ops::Range;

/// The version this program writes and reads.
pub const BATCH_VERSION: u8 = 2;
/// Bytes before the first command.
pub const BATCH_HEADER_BYTES: usize = 21;
/// Bytes of a command's length.
const LENGTH_BYTES: usize = 4;

/// Writes a batch header for `out`, which is cleared first.
pub fn begin(out: &mut Vec<u8>) {
    out.clear();
    out.push(BATCH_VERSION);
    out.extend_from_slice(&[0; BATCH_HEADER_BYTES - 1]);
}

/// Fills in when the batch was closed, the seed of its random choices and how long its commands may make a string.
pub fn seal(batch: &mut [u8], time_ms: u64, seed: u64, string_bytes_max: usize) {
    let string_bytes_max = u32::try_from(string_bytes_max).unwrap_or(u32::MAX);
    batch[1..9].copy_from_slice(&time_ms.to_le_bytes());
    batch[9..17].copy_from_slice(&seed.to_le_bytes());
    batch[17..21].copy_from_slice(&string_bytes_max.to_le_bytes());
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

/// A batch read back from an entry.
#[derive(Debug, Clone, Copy)]
pub struct Batch<'a> {
    /// The leader's clock when it closed the batch, Unix milliseconds.
    pub time_ms: u64,
    /// Seed of the random choices made while applying, but for those of commands with a seed of their own.
    pub seed: u64,
    /// Bytes that a command of the batch may make a string long: the leader's `proto-max-bulk-len`.
    pub string_bytes_max: usize,
    commands: &'a [u8],
}

impl<'a> Batch<'a> {
    /// Reads a batch header.
    ///
    /// # Errors
    /// The sentence that says why `bytes` are not a batch this program can apply.
    pub fn read(bytes: &'a [u8]) -> Result<Batch<'a>, String> {
        if let Some(&version) = bytes.first()
            && version != BATCH_VERSION
        {
            return Err(format!(
                "the entry is a batch of version {version}, this program reads version {BATCH_VERSION}"
            ));
        }
        let Some((head, commands)) = bytes.split_first_chunk::<BATCH_HEADER_BYTES>() else {
            return Err(format!("an entry of {} bytes is too short for a batch", bytes.len()));
        };
        let number = |at: usize| u64::from_le_bytes(head[at..at + 8].try_into().expect("eight bytes were cut out"));
        let string_bytes_max = u32::from_le_bytes([head[17], head[18], head[19], head[20]]) as usize;
        Ok(Batch { time_ms: number(1), seed: number(9), string_bytes_max, commands })
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
        assert_eq!(batch.map(Result::unwrap).collect::<Vec<_>>(), [b"one".as_slice(), b""]);
    }

    #[test]
    fn the_layout_is_the_documented_one() {
        let mut bytes = Vec::new();
        begin(&mut bytes);
        push(&mut bytes, |out| out.extend_from_slice(b"one"));
        seal(&mut bytes, 0x0102_0304_0506_0708, 9, 0x0a0b_0c0d);
        let time_and_seed = [8, 7, 6, 5, 4, 3, 2, 1, 9, 0, 0, 0, 0, 0, 0, 0];
        assert_eq!(bytes, [&[2], &time_and_seed[..], &[0x0d, 0x0c, 0x0b, 0x0a], &[3, 0, 0, 0], b"one"].concat());
    }

    #[test]
    fn other_versions_and_cut_batches_are_refused() {
        let mut bytes = Vec::new();
        begin(&mut bytes);
        push(&mut bytes, |out| out.extend_from_slice(b"one"));
        assert!(Batch::read(&bytes[..10]).is_err());
        assert!(Batch::read(&bytes[..bytes.len() - 1]).unwrap().next().unwrap().is_err());
        for version in [0, 1, 3, 255] {
            bytes[0] = version;
            let refusal = Batch::read(&bytes).unwrap_err();
            assert!(refusal.contains(&format!("version {version}, this program reads version 2")), "{refusal}");
        }
        assert!(Batch::read(&[]).is_err());
    }
}
