//! One command on its way to a shard, as bytes.
//!
//! The same bytes cross between cores, wait in the shard's batch and stand in the Raft entry, so a command's arguments are
//! copied once, from the receive buffer into the batch.
//!
//! ```text
//! command  [flags u8: bit 0 = RESP3, bit 1 = a step, bit 2 = it draws random numbers, bit 3 = of another moment]
//!          [db u8][command id u16 LE](of a step: [asked id u16 LE])(if it draws: [seed u64 LE])
//!          (of another moment: [time u64 LE][bytes of a string u64 LE])
//!          [argument count varint]{[length varint][bytes]}…
//! ```
//!
//! The name of the command is not an argument: its id in the command table says it, and ids are never used twice.

use basalt_net::resp::Protocol;
use smallvec::SmallVec;

/// The arguments of a command, its name not among them. Most commands have few.
pub type ArgList<'a> = SmallVec<[&'a [u8]; 8]>;

const FLAG_RESP3: u8 = 1;
const FLAG_STEP: u8 = 2;
const FLAG_SEED: u8 = 4;
const FLAG_MOMENT: u8 = 8;

/// The moment at which a shard runs a request.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Mode {
    /// At once: the connection waits for no write.
    Read,
    /// The same, of what the replica here has, without asking if it leads: see `core_loop/local_reads.rs`.
    Local,
    /// In its place among the shard's writes: the connection has unanswered writes, and the read must see them.
    ReadInOrder,
    /// Through the shard's log.
    Write,
    /// The same, if the keys that its connection watches are as they were.
    Guarded,
}

impl Mode {
    /// Returns whether it has no place among the shard's writes.
    pub fn is_plain_read(self) -> bool {
        matches!(self, Mode::Read | Mode::Local)
    }
}

/// The moment at which a command is executed, if that is another one than its entry's.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Moment {
    /// The time, in Unix milliseconds.
    pub time_ms: u64,
    /// Bytes that the command may make a string long.
    pub string_bytes_max: u64,
}

impl Moment {
    fn to_bytes(self) -> [u8; MOMENT_BYTES] {
        let mut bytes = [0; MOMENT_BYTES];
        bytes[..8].copy_from_slice(&self.time_ms.to_le_bytes());
        bytes[8..].copy_from_slice(&self.string_bytes_max.to_le_bytes());
        bytes
    }
}

/// Bytes of a moment.
const MOMENT_BYTES: usize = 16;

/// Everything that stands before a command's arguments.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct RequestHeader {
    /// The protocol the reply is encoded in.
    pub protocol: Protocol,
    /// The database the connection had selected.
    pub db: u8,
    /// The command's id in the command table.
    pub command: u16,
    /// The id of what the client asked for, of which this may be a step: figures are its.
    pub asked: u16,
    /// The seed of its random numbers; without, it draws the entry's. One of its own lets it be looked at before it is in an entry.
    pub seed: Option<u64>,
    /// The moment at which it is executed; without, it is the entry's, or that of the read.
    pub moment: Option<Moment>,
}

impl RequestHeader {
    /// The header of a command as the client asked for it.
    pub fn new(protocol: Protocol, db: u8, command: u16) -> RequestHeader {
        RequestHeader { protocol, db, command, asked: command, seed: None, moment: None }
    }
}

/// Appends one command to `out`.
pub fn encode<'a>(out: &mut Vec<u8>, header: RequestHeader, args: impl ExactSizeIterator<Item = &'a [u8]>) {
    let is_step = header.asked != header.command;
    let protocol = if header.protocol == Protocol::Resp3 { FLAG_RESP3 } else { 0 };
    let flags = protocol
        | if is_step { FLAG_STEP } else { 0 }
        | if header.seed.is_some() { FLAG_SEED } else { 0 }
        | if header.moment.is_some() { FLAG_MOMENT } else { 0 };
    let [low, high] = header.command.to_le_bytes();
    out.extend_from_slice(&[flags, header.db, low, high]);
    if is_step {
        out.extend_from_slice(&header.asked.to_le_bytes());
    }
    if let Some(seed) = header.seed {
        out.extend_from_slice(&seed.to_le_bytes());
    }
    if let Some(moment) = header.moment {
        out.extend_from_slice(&moment.to_bytes());
    }
    write_varint(out, args.len() as u64);
    for arg in args {
        write_varint(out, arg.len() as u64);
        out.extend_from_slice(arg);
    }
}

/// Reads a command that [`encode`] wrote; `None` if `bytes` are not exactly one command.
pub fn decode<'a>(bytes: &'a [u8], args: &mut ArgList<'a>) -> Option<RequestHeader> {
    let (header, mut rest) = decode_header(bytes)?;
    let count = read_varint(&mut rest)?;
    for _ in 0..count {
        args.push(read_arg(&mut rest)?);
    }
    if rest.is_empty() { Some(header) } else { None }
}

/// Reads everything that stands before a command's arguments, and gives the rest.
pub(super) fn decode_header(bytes: &[u8]) -> Option<(RequestHeader, &[u8])> {
    let (head, mut rest) = bytes.split_first_chunk::<4>()?;
    let protocol = match head[0] & !(FLAG_STEP | FLAG_SEED | FLAG_MOMENT) {
        0 => Protocol::Resp2,
        FLAG_RESP3 => Protocol::Resp3,
        _ => return None,
    };
    let command = u16::from_le_bytes([head[2], head[3]]);
    let mut asked = command;
    if head[0] & FLAG_STEP != 0 {
        let (id, tail) = rest.split_first_chunk::<2>()?;
        (asked, rest) = (u16::from_le_bytes(*id), tail);
    }
    let mut seed = None;
    if head[0] & FLAG_SEED != 0 {
        let (bytes, tail) = rest.split_first_chunk::<8>()?;
        (seed, rest) = (Some(u64::from_le_bytes(*bytes)), tail);
    }
    let mut moment = None;
    if head[0] & FLAG_MOMENT != 0 {
        let (time_ms, tail) = rest.split_first_chunk::<8>()?;
        let (string_bytes_max, tail) = tail.split_first_chunk::<8>()?;
        let (time_ms, string_bytes_max) = (u64::from_le_bytes(*time_ms), u64::from_le_bytes(*string_bytes_max));
        (moment, rest) = (Some(Moment { time_ms, string_bytes_max }), tail);
    }
    Some((RequestHeader { protocol, db: head[1], command, asked, seed, moment }, rest))
}

/// Reads one argument and moves `rest` behind it.
pub(super) fn read_arg<'a>(rest: &mut &'a [u8]) -> Option<&'a [u8]> {
    let length = usize::try_from(read_varint(rest)?).ok()?;
    let (arg, tail) = rest.split_at_checked(length)?;
    *rest = tail;
    Some(arg)
}

/// Sets the protocol that the reply to an encoded command is in.
pub(super) fn set_protocol(command: &mut [u8], protocol: Protocol) {
    let flag = if protocol == Protocol::Resp3 { FLAG_RESP3 } else { 0 };
    command[0] = command[0] & !FLAG_RESP3 | flag;
}

/// Has an encoded command of its entry's moment executed at another one.
pub fn set_moment(command: &mut Vec<u8>, moment: Moment) {
    let Some((flags, _)) = command.split_first().filter(|(flags, _)| **flags & FLAG_MOMENT == 0) else { return };
    let step = if flags & FLAG_STEP != 0 { 2 } else { 0 };
    let seed = if flags & FLAG_SEED != 0 { 8 } else { 0 };
    command[0] |= FLAG_MOMENT;
    command.splice(4 + step + seed..4 + step + seed, moment.to_bytes());
}

/// Reads a part of a command that [`encode`] wrote: its header, its first `head` arguments and up to `count` of those from the byte
/// `at` on, which is where one begins. Returns where the next one begins, too.
pub fn decode_part<'a>(
    bytes: &'a [u8],
    head: usize,
    at: usize,
    count: usize,
    args: &mut ArgList<'a>,
) -> Option<(RequestHeader, usize)> {
    let (header, mut rest) = decode_header(bytes)?;
    read_varint(&mut rest)?;
    for _ in 0..head {
        args.push(read_arg(&mut rest)?);
    }
    let mut rest = bytes.get(at..)?;
    for _ in 0..count {
        if rest.is_empty() {
            break;
        }
        args.push(read_arg(&mut rest)?);
    }
    Some((header, bytes.len() - rest.len()))
}

/// Returns the number of bytes that [`encode`] makes of an argument.
pub fn encoded_bytes(arg: &[u8]) -> usize {
    let bits = (usize::BITS - arg.len().leading_zeros()).max(1) as usize;
    bits.div_ceil(7) + arg.len()
}

/// The id of the command that a client has called, of which a command that [`encode`] wrote is all or a step.
pub fn asked_id(bytes: &[u8]) -> Option<u16> {
    Some(decode_header(bytes)?.0.asked)
}

/// The id of a command that [`encode`] wrote.
pub fn command_id(bytes: &[u8]) -> Option<u16> {
    let (head, _) = bytes.split_first_chunk::<4>()?;
    Some(u16::from_le_bytes([head[2], head[3]]))
}

/// The id of a command that [`encode`] wrote, and the number of its arguments, for who need not know them.
pub fn peek(bytes: &[u8]) -> Option<(u16, u64)> {
    let (head, rest) = bytes.split_first_chunk::<4>()?;
    let step = if head[0] & FLAG_STEP != 0 { 2 } else { 0 };
    let seed = if head[0] & FLAG_SEED != 0 { 8 } else { 0 };
    let moment = if head[0] & FLAG_MOMENT != 0 { MOMENT_BYTES } else { 0 };
    let count = read_varint(&mut rest.get(step + seed + moment..)?)?;
    Some((u16::from_le_bytes([head[2], head[3]]), count))
}

/// Appends `value` in base 128, low groups first (LEB128).
pub fn write_varint(out: &mut Vec<u8>, mut value: u64) {
    while value >= 0x80 {
        out.push(value as u8 | 0x80);
        value >>= 7;
    }
    out.push(value as u8);
}

/// Reads what [`write_varint`] wrote and moves `bytes` behind it.
pub fn read_varint(bytes: &mut &[u8]) -> Option<u64> {
    let mut value = 0u64;
    for shift in (0..64).step_by(7) {
        let (&byte, rest) = bytes.split_first()?;
        *bytes = rest;
        value |= u64::from(byte & 0x7F) << shift;
        if byte < 0x80 {
            return Some(value);
        }
    }
    None
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn commands_round_trip() {
        let long = vec![b'x'; 70_000];
        let args: [&[u8]; 3] = [b"key", b"", &long];
        for (asked, seed) in [(300, None), (7, None), (300, Some(u64::MAX - 1)), (7, Some(0))] {
            for moment in [None, Some(Moment { time_ms: 5, string_bytes_max: u64::MAX })] {
                let header = RequestHeader { protocol: Protocol::Resp3, db: 7, command: 300, asked, seed, moment };
                let mut bytes = Vec::new();
                encode(&mut bytes, header, args.into_iter());
                let mut read = ArgList::new();
                assert_eq!(decode(&bytes, &mut read), Some(header));
                assert_eq!(read.as_slice(), args);
                assert_eq!(peek(&bytes), Some((300, 3)));
                // One that has a moment keeps it.
                let later = Moment { time_ms: 6, string_bytes_max: 7 };
                let mut moved = bytes.clone();
                set_moment(&mut moved, later);
                let expected = RequestHeader { moment: moment.or(Some(later)), ..header };
                assert_eq!(decode(&moved, &mut ArgList::new()), Some(expected));
            }
        }
    }

    #[test]
    fn the_layout_is_the_documented_one() {
        let header = RequestHeader::new(Protocol::Resp3, 7, 0x0102);
        let mut bytes = Vec::new();
        encode(&mut bytes, header, [b"key".as_slice(), &[b'v'; 300]].into_iter());
        assert_eq!(bytes, [&[1, 7, 2, 1, 2, 3][..], b"key", &[0xAC, 0x02], &[b'v'; 300]].concat());
        bytes.clear();
        encode(&mut bytes, RequestHeader { asked: 0x0304, ..header }, [b"key".as_slice()].into_iter());
        assert_eq!(bytes, [&[3, 7, 2, 1, 4, 3, 1, 3][..], b"key"].concat());
        bytes.clear();
        let seed = Some(0x0102_0304_0506_0708);
        encode(&mut bytes, RequestHeader { asked: 0x0304, seed, ..header }, [b"key".as_slice()].into_iter());
        assert_eq!(bytes, [&[7, 7, 2, 1, 4, 3, 8, 7, 6, 5, 4, 3, 2, 1, 1, 3][..], b"key"].concat());
        bytes.clear();
        let moment = Some(Moment { time_ms: 0x0102, string_bytes_max: 3 });
        encode(&mut bytes, RequestHeader { moment, ..header }, [b"key".as_slice()].into_iter());
        assert_eq!(bytes, [&[9, 7, 2, 1, 2, 1, 0, 0, 0, 0, 0, 0, 3, 0, 0, 0, 0, 0, 0, 0, 1, 3][..], b"key"].concat());
    }

    #[test]
    fn flags_of_another_version_are_refused() {
        let header = RequestHeader::new(Protocol::Resp2, 0, 1);
        let mut bytes = Vec::new();
        encode(&mut bytes, header, [b"key".as_slice()].into_iter());
        for flags in 16..=255 {
            bytes[0] = flags;
            assert_eq!(decode(&bytes, &mut ArgList::new()), None, "flags {flags:#04x}");
        }
    }

    #[test]
    fn damaged_commands_are_refused() {
        for (asked, seed) in [(1, None), (2, None), (2, Some(7))] {
            let header = RequestHeader { asked, seed, ..RequestHeader::new(Protocol::Resp2, 0, 1) };
            let mut bytes = Vec::new();
            encode(&mut bytes, header, [b"key".as_slice(), b"value"].into_iter());
            for length in 0..bytes.len() {
                assert_eq!(decode(&bytes[..length], &mut ArgList::new()), None, "cut at {length}");
            }
            bytes.push(0);
            assert_eq!(decode(&bytes, &mut ArgList::new()), None, "trailing byte");
        }
    }
}
