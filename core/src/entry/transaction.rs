//! A transaction on one shard, as bytes: one command (`step|exec`) whose arguments are a guard and the commands that it runs.
//!
//! ```text
//! guard    nothing, or [watch u64 LE][term u64 LE][deadline u64 LE]
//! command  as `request` encodes it, a whole one each
//! ```
//!
//! A guard says when the transaction is executed at all: in an entry of that term, whose time is not after that deadline (Unix
//! milliseconds). Its watch is what the leader looked at to fill in both, and means nothing in an entry.

use basalt_net::resp::Protocol;

use super::request::{self, RequestHeader};

/// The condition under which a transaction is executed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Guard {
    /// The watch whose keys must be as they were.
    pub watch: u64,
    /// The term of the leader that has found them so.
    pub term: u64,
    /// The last moment at which none of them has expired.
    pub deadline_ms: u64,
}

/// Bytes of a guard.
const GUARD_BYTES: usize = 24;

impl Guard {
    /// The guard of `watch`, at which nobody has looked yet.
    pub fn of(watch: u64) -> Guard {
        Guard { watch, term: 0, deadline_ms: 0 }
    }

    fn to_bytes(self) -> [u8; GUARD_BYTES] {
        let mut bytes = [0; GUARD_BYTES];
        bytes[..8].copy_from_slice(&self.watch.to_le_bytes());
        bytes[8..16].copy_from_slice(&self.term.to_le_bytes());
        bytes[16..].copy_from_slice(&self.deadline_ms.to_le_bytes());
        bytes
    }

    fn read(bytes: &[u8]) -> Option<Guard> {
        let (watch, rest) = bytes.split_first_chunk::<8>()?;
        let (term, rest) = rest.split_first_chunk::<8>()?;
        let deadline_ms = u64::from_le_bytes(rest.try_into().ok()?);
        Some(Guard { watch: u64::from_le_bytes(*watch), term: u64::from_le_bytes(*term), deadline_ms })
    }
}

/// A transaction read back from its bytes.
#[derive(Debug, Clone, Copy)]
pub struct Transaction<'a> {
    /// Its header; the protocol is that of the reply as a whole.
    pub header: RequestHeader,
    /// The condition under which it is executed, if there is one.
    pub guard: Option<Guard>,
    /// Number of its commands.
    pub count: usize,
    commands: &'a [u8],
}

impl<'a> Transaction<'a> {
    /// Reads a transaction that [`encode`] wrote: a command with the id of one, as the caller has seen. `None` if it has no guard.
    pub fn read(bytes: &'a [u8]) -> Option<Transaction<'a>> {
        let (header, mut rest) = request::decode_header(bytes)?;
        let count = request::read_varint(&mut rest)?.checked_sub(1)?;
        let guard = request::read_arg(&mut rest)?;
        let guard = if guard.is_empty() { None } else { Some(Guard::read(guard)?) };
        Some(Transaction { header, guard, count: usize::try_from(count).ok()?, commands: rest })
    }

    /// Its commands; `None` in the place of one that is cut short, and nothing behind it.
    pub fn commands(&self) -> impl Iterator<Item = Option<&'a [u8]>> + use<'a> {
        let (mut rest, mut left) = (self.commands, self.count);
        std::iter::from_fn(move || {
            if left == 0 {
                // Bytes left over are damage.
                return (!std::mem::take(&mut rest).is_empty()).then_some(None);
            }
            let command = request::read_arg(&mut rest);
            left = if command.is_some() { left - 1 } else { 0 };
            if command.is_none() {
                rest = &[];
            }
            Some(command)
        })
    }
}

/// Appends a transaction of these commands to `out`, each of which is an encoded one. The protocol of `header` is that of the reply
/// as a whole.
pub fn encode<'a>(
    out: &mut Vec<u8>,
    header: RequestHeader,
    guard: Option<Guard>,
    commands: impl ExactSizeIterator<Item = &'a [u8]>,
) {
    let guard = guard.map(Guard::to_bytes);
    encode_with(out, header, guard.as_ref().map_or(&[], |bytes| bytes), commands);
}

fn encode_with<'a, 'c: 'a>(
    out: &mut Vec<u8>,
    header: RequestHeader,
    guard: &'a [u8],
    commands: impl ExactSizeIterator<Item = &'c [u8]>,
) {
    request::encode(
        out,
        header,
        Args { guard: Some(guard), commands: commands.map(|command| -> &'a [u8] { command }) },
    );
}

/// The arguments of a transaction.
struct Args<'a, I> {
    guard: Option<&'a [u8]>,
    commands: I,
}

impl<'a, I: ExactSizeIterator<Item = &'a [u8]>> Iterator for Args<'a, I> {
    type Item = &'a [u8];

    fn next(&mut self) -> Option<&'a [u8]> {
        self.guard.take().or_else(|| self.commands.next())
    }

    fn size_hint(&self) -> (usize, Option<usize>) {
        let count = self.commands.len() + usize::from(self.guard.is_some());
        (count, Some(count))
    }
}

impl<'a, I: ExactSizeIterator<Item = &'a [u8]>> ExactSizeIterator for Args<'a, I> {}

/// Fills in what the leader has found of a transaction's watch.
///
/// # Panics
/// If `bytes` are no transaction with a guard.
pub fn fill_in(bytes: &mut [u8], guard: Guard) {
    let read = Transaction::read(bytes).filter(|transaction| transaction.guard.is_some());
    let end = bytes.len() - read.expect("it is a transaction with a guard").commands.len();
    bytes[end - GUARD_BYTES..end].copy_from_slice(&guard.to_bytes());
}

/// Gives an encoded command another database and another protocol of its reply.
pub fn readdress(command: &mut [u8], protocol: Protocol, db: u8) {
    request::set_protocol(command, protocol);
    command[1] = db;
}

#[cfg(test)]
mod tests {
    use super::*;

    fn command(word: &[u8]) -> Vec<u8> {
        let mut bytes = Vec::new();
        request::encode(&mut bytes, RequestHeader::new(Protocol::Resp2, 3, 7), [word].into_iter());
        bytes
    }

    fn header() -> RequestHeader {
        RequestHeader { asked: 1102, ..RequestHeader::new(Protocol::Resp3, 0, 1190) }
    }

    fn transaction(guard: Option<Guard>) -> Vec<u8> {
        let (commands, mut bytes) = ([command(b"one"), command(b"two")], Vec::new());
        encode(&mut bytes, header(), guard, commands.iter().map(Vec::as_slice));
        bytes
    }

    #[test]
    fn transactions_round_trip() {
        for guard in [None, Some(Guard { watch: 1, term: u64::MAX, deadline_ms: 3 })] {
            let bytes = transaction(guard);
            let read = Transaction::read(&bytes).unwrap();
            assert_eq!((read.header, read.guard, read.count), (header(), guard, 2));
            assert_eq!(read.commands().collect::<Option<Vec<_>>>().unwrap(), [command(b"one"), command(b"two")]);
        }
    }

    #[test]
    fn the_layout_is_the_documented_one() {
        let mut bytes = transaction(Some(Guard::of(0x0102)));
        fill_in(&mut bytes, Guard { watch: 0x0102, term: 9, deadline_ms: 0x0A0B });
        let guard = [2, 1, 0, 0, 0, 0, 0, 0, 9, 0, 0, 0, 0, 0, 0, 0, 0x0B, 0x0A, 0, 0, 0, 0, 0, 0];
        let commands = [9, 0, 3, 7, 0, 1, 3, b'o', b'n', b'e', 9, 0, 3, 7, 0, 1, 3, b't', b'w', b'o'];
        let head = [3, 0, 0xA6, 4, 0x4E, 4, 3];
        assert_eq!(bytes, [&head[..], &[24], &guard, &commands].concat());
        assert_eq!(transaction(None), [&head[..], &[0], &commands].concat());
    }

    #[test]
    fn damaged_transactions_are_refused() {
        let bytes = transaction(Some(Guard::of(1)));
        let is_whole = |bytes: &[u8]| {
            Transaction::read(bytes).is_some_and(|read| read.commands().all(|command| command.is_some()))
        };
        assert!(is_whole(&bytes));
        for length in 0..bytes.len() {
            assert!(!is_whole(&bytes[..length]), "cut at {length}");
        }
        assert!(!is_whole(&[&bytes[..], &[0]].concat()), "trailing byte");
        assert!(Transaction::read(&command(b"one")).is_none(), "that is no guard");
        let mut short_guard = bytes.clone();
        short_guard[7] = 23;
        assert!(Transaction::read(&short_guard).is_none());
    }

    #[test]
    fn a_command_gets_another_database_and_protocol() {
        let mut bytes = command(b"one");
        readdress(&mut bytes, Protocol::Resp3, 5);
        let mut args = request::ArgList::new();
        let header = request::decode(&bytes, &mut args).unwrap();
        assert_eq!((header.protocol, header.db, args.as_slice()), (Protocol::Resp3, 5, &[b"one".as_slice()][..]));
        drop(args);
        readdress(&mut bytes, Protocol::Resp2, 3);
        assert_eq!(bytes, command(b"one"));
    }
}
