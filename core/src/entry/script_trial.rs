//! Commands of a script over several shards that one of them runs on trial, as bytes: one command (`step|try`) whose arguments are
//! the terms of the trial and the commands.
//!
//! ```text
//! terms    [version u8 = 2][transaction u128 LE][time u64 LE][bytes of a string u64 LE][work u64 LE][bytes of a reply u64 LE]
//!          [commands before u32 LE][commands kept u32 LE]
//! command  as `request` encodes it, a whole one each
//! reply    an array: the time, the work that is left, the number of commands before that are kept, and an array of the replies to
//!          the last commands
//! ```
//!
//! The commands before are writes that the script has called earlier: the trial has what they did, and nobody asks for their
//! replies again. What they did the shard may keep for the transaction's next trial, which then leaves out the first ones of them.
//! A time of 0 is the shard's own; from then on the script's commands in it are executed at that time.

use basalt_net::resp::Protocol;
use basalt_storage::keyspace::prepared::TransactionId;

use super::request::{self, RequestHeader};

/// The beginning of the reply to a script's step that has met a key of another shard, and has done nothing: the request follows as
/// it came. Behind a transaction's stands the place of the script among its commands, `[u32 LE]`. No reply to a client begins like
/// this.
pub const SENT_BACK: &[u8] = b"-ELSEWHERE\0";

/// The reply to a trial that leaves out commands which the shard has not kept.
pub const NOT_KEPT: &[u8] = b"-NOTKEPT\0\r\n";

/// Trials are in no log, so only this is known.
const VERSION: u8 = 2;
const TERMS_BYTES: usize = 1 + 16 + 4 * 8 + 2 * 4;

/// The terms of a trial.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct TrialTerms {
    /// The transaction whose keys are held; 0 if none are, and nothing is to be kept.
    pub transaction: TransactionId,
    /// The time, in Unix milliseconds; 0 for that of the shard.
    pub time_ms: u64,
    /// Bytes that a command may make a string long.
    pub string_bytes_max: u64,
    /// Work that the last commands may be.
    pub work: u64,
    /// Bytes that the reply to each of them may have.
    pub reply_bytes_max: u64,
    /// Commands whose replies nobody asks for.
    pub before: u32,
    /// The first ones of those, which are not there: the shard has kept what they did.
    pub kept: u32,
}

impl TrialTerms {
    fn encode(self) -> [u8; TERMS_BYTES] {
        let mut bytes = [VERSION; TERMS_BYTES];
        bytes[1..17].copy_from_slice(&self.transaction.to_le_bytes());
        let numbers = [self.time_ms, self.string_bytes_max, self.work, self.reply_bytes_max];
        for (place, number) in bytes[17..49].chunks_exact_mut(8).zip(numbers) {
            place.copy_from_slice(&number.to_le_bytes());
        }
        bytes[49..53].copy_from_slice(&self.before.to_le_bytes());
        bytes[53..].copy_from_slice(&self.kept.to_le_bytes());
        bytes
    }

    fn decode(bytes: &[u8]) -> Option<TrialTerms> {
        let (&[version], rest) = bytes.split_first_chunk()?;
        let (transaction, rest) = rest.split_first_chunk::<16>()?;
        let (numbers, rest) = rest.as_chunks::<8>();
        let (&[time_ms, string_bytes_max, work, reply_bytes_max, counts], []) = (numbers, rest) else { return None };
        let counts = u64::from_le_bytes(counts);
        Some(TrialTerms {
            transaction: TransactionId::from_le_bytes(*transaction),
            time_ms: u64::from_le_bytes(time_ms),
            string_bytes_max: u64::from_le_bytes(string_bytes_max),
            work: u64::from_le_bytes(work),
            reply_bytes_max: u64::from_le_bytes(reply_bytes_max),
            before: counts as u32,
            kept: (counts >> 32) as u32,
        })
        .filter(|_| version == VERSION)
    }
}

/// A trial read back from its bytes.
#[derive(Debug, Clone, Copy)]
pub struct ScriptTrial<'a> {
    /// Its terms.
    pub terms: TrialTerms,
    count: u64,
    commands: &'a [u8],
}

impl<'a> ScriptTrial<'a> {
    /// Reads a trial that [`encode`] wrote: a command with the id of one, as the caller has seen.
    pub fn read(bytes: &'a [u8]) -> Option<ScriptTrial<'a>> {
        let (_, mut rest) = request::decode_header(bytes)?;
        let count = request::read_varint(&mut rest)?.checked_sub(1)?;
        let terms = TrialTerms::decode(request::read_arg(&mut rest)?)?;
        Some(ScriptTrial { terms, count, commands: rest })
    }

    /// Its commands; `None` in the place of one that is cut short.
    pub fn commands(&self) -> impl Iterator<Item = Option<&'a [u8]>> + use<'a> {
        let mut rest = self.commands;
        (0..self.count).map(move |_| request::read_arg(&mut rest))
    }
}

/// Encodes a trial of these commands, as the command `step`.
pub fn encode<'a>(step: u16, terms: TrialTerms, commands: impl Iterator<Item = &'a [u8]>) -> Vec<u8> {
    let terms = terms.encode();
    let mut args: Vec<&[u8]> = vec![&terms];
    commands.for_each(|command| args.push(command));
    let mut bytes = Vec::new();
    request::encode(&mut bytes, RequestHeader::new(Protocol::Resp2, 0, step), args.into_iter());
    bytes
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn trials_round_trip_and_others_are_refused() {
        let terms = TrialTerms {
            transaction: 1 << 100 | 7,
            time_ms: 1,
            string_bytes_max: 2,
            work: u64::MAX,
            reply_bytes_max: 4,
            before: 5,
            kept: 3,
        };
        let bytes = encode(1380, terms, [&b"one"[..], b"two"].into_iter());
        let read = ScriptTrial::read(&bytes).unwrap();
        assert_eq!(read.terms, terms);
        assert_eq!(read.commands().collect::<Option<Vec<_>>>().unwrap(), [b"one", b"two"]);
        for length in 0..TERMS_BYTES {
            assert_eq!(TrialTerms::decode(&terms.encode()[..length]), None, "{length} bytes");
        }
        let mut other = terms.encode();
        other[0] = 1;
        assert_eq!(TrialTerms::decode(&other), None);
        let cut = ScriptTrial::read(&bytes[..bytes.len() - 1]).unwrap();
        assert_eq!(cut.commands().last(), Some(None));
    }
}
