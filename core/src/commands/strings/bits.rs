//! Strings as rows of bits: SETBIT, GETBIT, BITCOUNT, BITPOS and BITOP. Bit 0 is the highest one of the first byte.
//!
//! What a newcomer would get wrong: BITCOUNT and BITPOS look the key up before they read their range, so that a key which is not
//! there hides what is wrong with it. And a value is one row, so that to change a bit of it is to write it anew.

use basalt_net::resp::Reply;
use basalt_storage::keyspace::{EventClasses, Record};

use crate::commands::arguments::read_i64;
use crate::commands::{Args, CommandError, Context, parse_i64};
use crate::limits;

type Outcome = Result<(), CommandError>;

const OFFSET_NOT_VALID: CommandError = CommandError::text("ERR bit offset is not an integer or out of range");
const BIT_NOT_VALID: CommandError = CommandError::text("ERR bit is not an integer or out of range");

/// Bytes of a string that reads may name: no entry tells them a bound, and no string is longer.
pub(super) const READABLE_BYTES: usize = limits::BULK_BYTES_MAX as usize;

/// Reads the position of a bit in a string of up to `bytes_max` bytes; `#n` is the nth number of so many bits, where there are any.
pub(super) fn parse_bit_offset(arg: &[u8], number_bits: Option<u64>, bytes_max: usize) -> Result<u64, CommandError> {
    let (text, width) = match (arg, number_bits) {
        ([b'#', text @ ..], Some(bits)) => (text, bits as i64),
        _ => (arg, 1),
    };
    let offset = read_i64(text).and_then(|number| number.checked_mul(width)).filter(|offset| *offset >= 0);
    let offset = offset.map(|offset| offset as u64).filter(|offset| offset / 8 < bytes_max as u64);
    offset.ok_or(OFFSET_NOT_VALID)
}

fn bit_of(bytes: &[u8], offset: u64) -> bool {
    let byte = usize::try_from(offset / 8).ok().and_then(|at| bytes.get(at));
    byte.is_some_and(|byte| byte >> (7 - offset % 8) & 1 == 1)
}

/// `SETBIT key offset value`
pub(super) fn setbit(context: &mut Context<'_>, args: Args<'_>, reply: &mut Reply<'_>) -> Outcome {
    let offset = parse_bit_offset(args[2], None, context.string_bytes_max)?;
    let on = match read_i64(args[3]) {
        Some(0) => false,
        Some(1) => true,
        _ => return Err(BIT_NOT_VALID),
    };
    let byte = (offset / 8) as usize;
    let record = context.keyspace.string(args[1])?;
    let bytes = record.as_ref().map_or(&[][..], Record::body);
    let (was_on, is_there) = (bit_of(bytes, offset), byte < bytes.len());
    drop(record);
    if was_on != on || !is_there {
        context.keyspace.edit_string(args[1], |string| {
            string.grow(byte + 1);
            let mask = 1 << (7 - offset % 8);
            let byte = &mut string.bytes_mut()[byte];
            *byte = if on { *byte | mask } else { *byte & !mask };
        })?;
        context.keyspace.notify(EventClasses::STRING, "setbit", args[1]);
    }
    reply.integer(i64::from(was_on));
    Ok(())
}

/// `GETBIT key offset`
pub(super) fn getbit(context: &mut Context<'_>, args: Args<'_>, reply: &mut Reply<'_>) -> Outcome {
    let offset = parse_bit_offset(args[2], None, READABLE_BYTES)?;
    let record = context.keyspace.string(args[1])?;
    reply.integer(i64::from(record.is_some_and(|record| bit_of(record.body(), offset))));
    Ok(())
}

/// The unit of a range.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Unit {
    Byte,
    Bit,
}

impl Unit {
    fn read(word: Option<&&[u8]>) -> Result<Unit, CommandError> {
        match word.map(|word| word.to_ascii_lowercase()).as_deref() {
            None | Some(b"byte") => Ok(Unit::Byte),
            Some(b"bit") => Ok(Unit::Bit),
            Some(_) => Err(CommandError::SYNTAX),
        }
    }

    /// The bits from `start` to `end`, both included, of `length` bytes; negative ones count from the end.
    fn bits(self, start: i64, end: i64, length: usize) -> std::ops::Range<u64> {
        let (length, width) = match self {
            Unit::Byte => (length as i64, 8),
            Unit::Bit => (length as i64 * 8, 1),
        };
        let from_end = |index: i64| if index < 0 { index.saturating_add(length).max(0) } else { index };
        let (start, end) = (from_end(start), from_end(end).min(length - 1));
        if start > end { 0..0 } else { start as u64 * width..(end as u64 + 1) * width }
    }
}

/// `BITCOUNT key [start end [BYTE | BIT]]`
pub(super) fn bitcount(context: &mut Context<'_>, args: Args<'_>, reply: &mut Reply<'_>) -> Outcome {
    let record = context.keyspace.string(args[1])?;
    let Some(bytes) = record.as_ref().map(Record::body) else {
        reply.integer(0);
        return Ok(());
    };
    let bits = match args {
        [_, _] => Unit::Byte.bits(0, -1, bytes.len()),
        [_, _, start, end, unit @ ..] if unit.len() < 2 => {
            let (start, end) = (parse_i64(start)?, parse_i64(end)?);
            if start < 0 && end < 0 && start > end {
                reply.integer(0);
                return Ok(());
            }
            Unit::read(unit.first())?.bits(start, end, bytes.len())
        }
        _ => return Err(CommandError::SYNTAX),
    };
    reply.integer(count_bits(bytes, bits) as i64);
    Ok(())
}

fn count_bits(bytes: &[u8], bits: std::ops::Range<u64>) -> u64 {
    let (start, end) = ((bits.start / 8) as usize, (bits.end / 8) as usize);
    // The bits of the first byte from where the range begins, and those of the byte behind the whole ones up to where it ends.
    let (head, tail) = (0xFFu8 >> (bits.start % 8), !(0xFFu8 >> (bits.end % 8)));
    let within = |at: usize, mask: u8| bytes.get(at).map_or(0, |byte| u64::from((byte & mask).count_ones()));
    if start == end {
        return within(start, head & tail);
    }
    let words = bytes[start + 1..end].chunks(8).map(|chunk| {
        let mut word = [0; 8];
        word[..chunk.len()].copy_from_slice(chunk);
        u64::from(u64::from_ne_bytes(word).count_ones())
    });
    within(start, head) + words.sum::<u64>() + within(end, tail)
}

/// The first bit that is `wanted` in `bits`.
fn find_bit(bytes: &[u8], bits: std::ops::Range<u64>, wanted: bool) -> Option<u64> {
    let has_none = if wanted { 0 } else { 0xFF };
    let mut at = bits.start;
    while at < bits.end {
        let byte = bytes[(at / 8) as usize];
        if at.is_multiple_of(8) && byte == has_none {
            at += 8;
        } else if bit_of(bytes, at) == wanted {
            return Some(at);
        } else {
            at += 1;
        }
    }
    None
}

/// `BITPOS key bit [start [end [BYTE | BIT]]]`
pub(super) fn bitpos(context: &mut Context<'_>, args: Args<'_>, reply: &mut Reply<'_>) -> Outcome {
    let wanted = match parse_i64(args[2])? {
        0 => false,
        1 => true,
        _ => return Err(CommandError::text("ERR The bit argument must be 1 or 0.")),
    };
    let record = context.keyspace.string(args[1])?;
    let Some(bytes) = record.as_ref().map(Record::body) else {
        reply.integer(if wanted { -1 } else { 0 });
        return Ok(());
    };
    let (bits, has_end) = match &args[3..] {
        [] => (Unit::Byte.bits(0, -1, bytes.len()), false),
        [start] => (Unit::Byte.bits(parse_i64(start)?, -1, bytes.len()), false),
        [start, end, unit @ ..] if unit.len() < 2 => {
            let start = parse_i64(start)?;
            let unit = Unit::read(unit.first())?;
            (unit.bits(start, parse_i64(end)?, bytes.len()), true)
        }
        _ => return Err(CommandError::SYNTAX),
    };
    let found = match find_bit(bytes, bits.clone(), wanted) {
        // Behind a string without a given end there are zeros.
        None if !wanted && !has_end && !bits.is_empty() => Some(bits.end),
        found => found,
    };
    reply.integer(found.map_or(-1, |at| at as i64));
    Ok(())
}

/// The operations of BITOP.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Operation {
    And,
    Or,
    Xor,
    Not,
}

/// `BITOP AND | OR | XOR | NOT destination key [key …]`
pub(super) fn bitop(context: &mut Context<'_>, args: Args<'_>, reply: &mut Reply<'_>) -> Outcome {
    let operation = match args[1].to_ascii_lowercase().as_slice() {
        b"and" => Operation::And,
        b"or" => Operation::Or,
        b"xor" => Operation::Xor,
        b"not" => Operation::Not,
        _ => return Err(CommandError::SYNTAX),
    };
    if operation == Operation::Not && args.len() != 4 {
        return Err(CommandError::text("ERR BITOP NOT must be called with a single source key."));
    }
    let records =
        args[3..].iter().map(|key| Ok(context.keyspace.string(key)?)).collect::<Result<Vec<_>, CommandError>>()?;
    let sources: Vec<&[u8]> = records.iter().map(|record| record.as_ref().map_or(&[][..], Record::body)).collect();
    let length = sources.iter().map(|source| source.len()).max().unwrap_or(0);
    // Shorter ones have zeros at their ends.
    let mut result = vec![0; length];
    result[..sources[0].len()].copy_from_slice(sources[0]);
    if operation == Operation::Not {
        result.iter_mut().for_each(|byte| *byte = !*byte);
    }
    for source in &sources[1..] {
        let (common, rest) = result.split_at_mut(source.len());
        for (byte, other) in common.iter_mut().zip(*source) {
            match operation {
                Operation::And => *byte &= other,
                Operation::Or => *byte |= other,
                Operation::Xor => *byte ^= other,
                Operation::Not => {}
            }
        }
        if operation == Operation::And {
            rest.fill(0);
        }
    }
    drop(records);
    if length == 0 {
        if context.keyspace.delete(args[2])? {
            context.keyspace.notify(EventClasses::GENERIC, "del", args[2]);
        }
    } else {
        context.keyspace.set_string(args[2], &result, None)?;
        context.keyspace.notify(EventClasses::STRING, "set", args[2]);
    }
    reply.integer(length as i64);
    Ok(())
}

#[cfg(test)]
mod tests {
    use basalt_net::resp::Protocol;
    use proptest::prelude::*;

    use super::*;
    use crate::commands::testing::Shard;

    // The replies are those of redis-server 7.0.15.

    #[test]
    fn bits_are_set_counted_and_found() {
        Shard::new().expect(
            Protocol::Resp2,
            &[
                ("SETBIT k 1 1", ":0"),
                ("SETBIT k 7 1", ":0"),
                ("GET k", "$1 A"),
                ("SETBIT k 1 0", ":1"),
                ("SETBIT k 20 0", ":0"),
                ("STRLEN k", ":3"),
                ("GETBIT k 7", ":1"),
                ("GETBIT k 999", ":0"),
                ("GETBIT none 0", ":0"),
                ("SET k foobar", "+OK"),
                ("BITCOUNT k", ":26"),
                ("BITCOUNT k 0 0", ":4"),
                ("BITCOUNT k 1 1 BYTE", ":6"),
                ("BITCOUNT k 5 30 BIT", ":17"),
                ("BITCOUNT k -1 -5", ":0"),
                ("BITCOUNT none x y", ":0"),
                ("BITPOS k 1", ":1"),
                ("BITPOS k 0", ":0"),
                ("BITPOS k 1 2", ":17"),
                ("BITPOS k 1 7 15 BIT", ":9"),
                ("BITPOS k 1 9", ":-1"),
                ("BITPOS none 1", ":-1"),
                ("BITPOS none 0", ":0"),
                ("BITOP NOT to none", ":0"),
                ("BITOP AND to k k none", ":6"),
                ("BITCOUNT to", ":0"),
                ("BITOP XOR to k k", ":6"),
                ("BITCOUNT to", ":0"),
                ("BITOP OR to none k", ":6"),
                ("GET to", "$6 foobar"),
                ("BITOP NOT to to", ":6"),
                ("BITPOS to 0 0 0", ":1"),
                ("BITCOUNT to", ":22"),
                ("BITOP AND to none", ":0"),
                ("EXISTS to", ":0"),
            ],
        );
    }

    #[test]
    fn zeros_follow_a_string_unless_an_end_is_given() {
        let mut shard = Shard::new();
        shard.run(Protocol::Resp2, &[&b"SET"[..], b"k", &[0xFF; 3]]);
        shard.expect(
            Protocol::Resp2,
            &[
                ("BITPOS k 0", ":24"),
                ("BITPOS k 0 1", ":24"),
                ("BITPOS k 0 0 -1", ":-1"),
                ("BITPOS k 0 5", ":-1"),
                ("BITPOS k 1 -1", ":16"),
            ],
        );
    }

    #[test]
    fn errors_are_those_of_redis() {
        let mut shard = Shard::new();
        shard.string_bytes_max = 1000;
        shard.expect(
            Protocol::Resp2,
            &[
                ("SET k v", "+OK"),
                ("RPUSH l a", ":1"),
                ("SETBIT l 0 1", "-WRONGTYPE Operation against a key holding the wrong kind of value"),
                ("BITOP AND to k l", "-WRONGTYPE Operation against a key holding the wrong kind of value"),
                ("SETBIT k 7999 1", ":0"),
                ("SETBIT k 8000 1", "-ERR bit offset is not an integer or out of range"),
                ("SETBIT k -1 1", "-ERR bit offset is not an integer or out of range"),
                ("GETBIT k #1", "-ERR bit offset is not an integer or out of range"),
                ("SETBIT k 0 2", "-ERR bit is not an integer or out of range"),
                ("SETBIT k 0 x", "-ERR bit is not an integer or out of range"),
                ("BITCOUNT k 0", "-ERR syntax error"),
                ("BITCOUNT k 0 1 FOO", "-ERR syntax error"),
                ("BITCOUNT k 0 x", "-ERR value is not an integer or out of range"),
                ("BITPOS k 2", "-ERR The bit argument must be 1 or 0."),
                ("BITPOS k 1 0 1 BIT x", "-ERR syntax error"),
                ("BITOP FOO to k", "-ERR syntax error"),
                ("BITOP NOT to k k", "-ERR BITOP NOT must be called with a single source key."),
            ],
        );
    }

    proptest! {
        #[test]
        fn ranges_of_bits_are_counted_and_searched_as_bit_by_bit(
            bytes in proptest::collection::vec(prop_oneof![Just(0u8), Just(0xFF), any::<u8>()], 1..40),
            ends in any::<[u16; 2]>(),
        ) {
            let length = bytes.len() as u64 * 8;
            let mut ends = ends.map(|end| u64::from(end) % (length + 1));
            ends.sort_unstable();
            let bits = ends[0]..ends[1];
            let expected = bits.clone().filter(|at| bit_of(&bytes, *at)).count() as u64;
            prop_assert_eq!(count_bits(&bytes, bits.clone()), expected);
            for wanted in [false, true] {
                let expected = bits.clone().find(|at| bit_of(&bytes, *at) == wanted);
                prop_assert_eq!(find_bit(&bytes, bits.clone(), wanted), expected);
            }
        }
    }
}
