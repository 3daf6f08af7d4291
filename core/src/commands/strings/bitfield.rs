//! BITFIELD and BITFIELD_RO: strings as rows of integers of any width, at any bit.

use basalt_net::resp::Reply;
use basalt_storage::keyspace::{EventClasses, Record};

use super::bits::{READABLE_BYTES, parse_bit_offset};
use crate::commands::arguments::{Options, read_i64};
use crate::commands::{Args, CommandError, Context, parse_i64};

type Outcome = Result<(), CommandError>;

const TYPE_NOT_VALID: CommandError = CommandError::text(
    "ERR Invalid bitfield type. Use something like i16 u8. Note that u64 is not supported but i64 is.",
);

/// The way of a number that does not fit.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Overflow {
    Wrap,
    Saturate,
    Fail,
}

/// An integer of so many bits, at a bit.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Field {
    is_signed: bool,
    bits: u64,
    offset: u64,
}

impl Field {
    fn read(kind: &[u8], offset: &[u8], bytes_max: usize) -> Result<Field, CommandError> {
        let (is_signed, bits, bits_max) = match kind {
            [b'i', bits @ ..] => (true, bits, 64),
            [b'u', bits @ ..] => (false, bits, 63),
            _ => return Err(TYPE_NOT_VALID),
        };
        let bits = read_i64(bits).filter(|bits| (1..=bits_max).contains(bits)).ok_or(TYPE_NOT_VALID)? as u64;
        Ok(Field { is_signed, bits, offset: parse_bit_offset(offset, Some(bits), bytes_max)? })
    }

    /// Bytes of the string that it is in.
    fn bytes_end(self) -> usize {
        (self.offset + self.bits).div_ceil(8) as usize
    }

    /// The number in `string`, behind whose end there are zeros.
    fn get(self, string: &[u8]) -> i128 {
        let mut number = 0u64;
        for at in self.offset..self.offset + self.bits {
            let byte = string.get((at / 8) as usize).copied().unwrap_or(0);
            number = number << 1 | u64::from(byte >> (7 - at % 8) & 1);
        }
        self.wrapped(number.into())
    }

    /// Sets the number in `string`, which is long enough, to the low bits of `number`.
    fn set(self, string: &mut [u8], number: i128) {
        for (place, at) in (self.offset..self.offset + self.bits).rev().enumerate() {
            let (byte, mask) = (&mut string[(at / 8) as usize], 1u8 << (7 - at % 8));
            *byte = if number >> place & 1 == 1 { *byte | mask } else { *byte & !mask };
        }
    }

    /// The low bits of `number`, read as this type.
    fn wrapped(self, number: i128) -> i128 {
        let low = number & ((1 << self.bits) - 1);
        if self.is_signed && low >> (self.bits - 1) == 1 { low - (1 << self.bits) } else { low }
    }

    /// `number` as it is stored; `None` if it does not fit and that is an error.
    fn fit(self, number: i128, overflow: Overflow) -> Option<i128> {
        let (min, max) = match self.is_signed {
            true => (-(1i128 << (self.bits - 1)), (1i128 << (self.bits - 1)) - 1),
            false => (0, (1i128 << self.bits) - 1),
        };
        match overflow {
            _ if (min..=max).contains(&number) => Some(number),
            Overflow::Wrap => Some(self.wrapped(number)),
            Overflow::Saturate => Some(number.clamp(min, max)),
            Overflow::Fail => None,
        }
    }
}

/// One of the steps that a call takes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Step {
    Get(Field),
    Set(Field, i64, Overflow),
    Increment(Field, i64, Overflow),
}

impl Step {
    /// Takes the step and replies what it has found or made. Returns whether that has set a number, be it to what it was, and
    /// whether it was another.
    fn take(self, string: &mut [u8], reply: &mut Reply<'_>) -> (bool, bool) {
        let (field, number, replied) = match self {
            Step::Get(field) => {
                reply.integer(field.get(string) as i64);
                return (false, false);
            }
            Step::Set(field, number, overflow) => {
                // As Redis reads it: a negative number is a very large one without sign.
                let number = if field.is_signed { i128::from(number) } else { i128::from(number as u64) };
                (field, field.fit(number, overflow), Some(field.get(string)))
            }
            Step::Increment(field, by, overflow) => {
                let sum = field.fit(field.get(string) + i128::from(by), overflow);
                (field, sum, sum)
            }
        };
        match (number, replied) {
            (Some(number), Some(replied)) => {
                let before = field.get(string);
                field.set(string, number);
                reply.integer(replied as i64);
                (true, field.get(string) != before)
            }
            _ => {
                reply.null();
                (false, false)
            }
        }
    }
}

/// Reads the steps of a call.
fn read_steps(args: Args<'_>, bytes_max: usize) -> Result<Vec<Step>, CommandError> {
    let (mut steps, mut overflow) = (Vec::new(), Overflow::Wrap);
    let mut words = Options::new(args, 2);
    while let Some(word) = words.next_word() {
        match word.to_ascii_lowercase().as_slice() {
            b"overflow" => {
                overflow = match words.argument()?.to_ascii_lowercase().as_slice() {
                    b"wrap" => Overflow::Wrap,
                    b"sat" => Overflow::Saturate,
                    b"fail" => Overflow::Fail,
                    _ => return Err(CommandError::text("ERR Invalid OVERFLOW type specified")),
                };
            }
            b"get" => {
                let (kind, offset) = (words.argument()?, words.argument()?);
                steps.push(Step::Get(Field::read(kind, offset, bytes_max)?));
            }
            step @ (b"set" | b"incrby") => {
                let (kind, offset, number) = (words.argument()?, words.argument()?, words.argument()?);
                let (field, number) = (Field::read(kind, offset, bytes_max)?, parse_i64(number)?);
                steps.push(match step {
                    b"set" => Step::Set(field, number, overflow),
                    _ => Step::Increment(field, number, overflow),
                });
            }
            _ => return Err(CommandError::SYNTAX),
        }
    }
    Ok(steps)
}

/// `BITFIELD key [GET type offset | [OVERFLOW WRAP | SAT | FAIL] SET type offset value | INCRBY type offset increment …]`
pub(super) fn bitfield(context: &mut Context<'_>, args: Args<'_>, reply: &mut Reply<'_>) -> Outcome {
    let steps = read_steps(args, context.string_bytes_max)?;
    let ends = steps.iter().filter_map(|step| match step {
        Step::Get(_) => None,
        Step::Set(field, ..) | Step::Increment(field, ..) => Some(field.bytes_end()),
    });
    let Some(end) = ends.max() else {
        context.keyspace.tell_misses(true);
        return read(context, args[1], &steps, reply);
    };
    if end > context.string_bytes_max {
        return Err(CommandError::STRING_TOO_LONG);
    }
    let length = context.keyspace.string(args[1])?.map_or(0, |record| record.body().len());
    reply.array(steps.len());
    let (is_longer, mut has_changed) = (length < end, false);
    context.keyspace.edit_string(args[1], |string| {
        string.grow(end);
        for step in &steps {
            let (has_set, is_other) = step.take(string.bytes_mut(), reply);
            has_changed |= is_other || (has_set && is_longer);
        }
    })?;
    if has_changed {
        context.keyspace.notify(EventClasses::STRING, "setbit", args[1]);
    }
    Ok(())
}

/// `BITFIELD_RO key [GET type offset …]`
pub(super) fn bitfield_ro(context: &mut Context<'_>, args: Args<'_>, reply: &mut Reply<'_>) -> Outcome {
    let steps = read_steps(args, READABLE_BYTES)?;
    if steps.iter().any(|step| !matches!(step, Step::Get(_))) {
        return Err(CommandError::text("ERR BITFIELD_RO only supports the GET subcommand"));
    }
    read(context, args[1], &steps, reply)
}

fn read(context: &Context<'_>, key: &[u8], steps: &[Step], reply: &mut Reply<'_>) -> Outcome {
    let record = context.keyspace.string(key)?;
    let string = record.as_ref().map_or(&[][..], Record::body);
    reply.array(steps.len());
    for step in steps {
        if let Step::Get(field) = step {
            reply.integer(field.get(string) as i64);
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use basalt_net::resp::Protocol;

    use crate::commands::testing::Shard;

    // The replies are those of redis-server 7.0.15.

    #[test]
    fn integers_of_any_width_are_read_and_written() {
        Shard::new().expect(
            Protocol::Resp2,
            &[
                ("BITFIELD k", "*0"),
                ("BITFIELD k GET u8 0 GET i64 100", "*2 :0 :0"),
                ("EXISTS k", ":0"),
                ("BITFIELD k SET u8 0 255 GET i8 0 GET u4 #1", "*3 :0 :-1 :15"),
                ("BITFIELD k SET i5 3 -3 GET i5 3 INCRBY i5 3 2", "*3 :-1 :-3 :-1"),
                ("BITFIELD k INCRBY u2 100 1 OVERFLOW SAT INCRBY u2 102 1", "*2 :1 :1"),
                (
                    "BITFIELD k SET i64 200 -9223372036854775808 GET i64 200 GET u63 200",
                    "*3 :0 :-9223372036854775808 :4611686018427387904",
                ),
                ("BITFIELD k OVERFLOW SAT INCRBY i64 200 -1", "*1 :-9223372036854775808"),
                ("BITFIELD k OVERFLOW WRAP INCRBY i64 200 -1", "*1 :9223372036854775807"),
                ("BITFIELD k OVERFLOW FAIL INCRBY i64 200 1 GET i64 200", "*2 $-1 :9223372036854775807"),
                ("BITFIELD k SET u8 0 -1 OVERFLOW SAT SET u8 0 -1 SET i8 0 200", "*3 :255 :255 :-1"),
                ("BITFIELD k GET i8 0 OVERFLOW FAIL SET u8 0 256", "*2 :127 $-1"),
                ("BITFIELD_RO k GET u8 0", "*1 :127"),
                ("BITFIELD new OVERFLOW FAIL SET u8 #2 256", "*1 $-1"),
                ("STRLEN new", ":3"),
            ],
        );
    }

    #[test]
    fn errors_are_those_of_redis() {
        const TYPE: &str =
            "-ERR Invalid bitfield type. Use something like i16 u8. Note that u64 is not supported but i64 is.";
        Shard::new().expect(
            Protocol::Resp2,
            &[
                ("RPUSH l a", ":1"),
                ("BITFIELD l", "-WRONGTYPE Operation against a key holding the wrong kind of value"),
                ("BITFIELD l SET u8 0 1", "-WRONGTYPE Operation against a key holding the wrong kind of value"),
                ("BITFIELD k GET u64 0", TYPE),
                ("BITFIELD k GET i65 0", TYPE),
                ("BITFIELD k GET x 0", TYPE),
                ("BITFIELD k GET u0 0", TYPE),
                ("BITFIELD k GET u8 -1", "-ERR bit offset is not an integer or out of range"),
                ("BITFIELD k GET u8 #9223372036854775807", "-ERR bit offset is not an integer or out of range"),
                ("BITFIELD k GET u8", "-ERR syntax error"),
                ("BITFIELD k SET u8 0", "-ERR syntax error"),
                ("BITFIELD k SET u8 0 x", "-ERR value is not an integer or out of range"),
                ("BITFIELD k OVERFLOW FOO", "-ERR Invalid OVERFLOW type specified"),
                ("BITFIELD_RO k SET u8 0 1", "-ERR BITFIELD_RO only supports the GET subcommand"),
            ],
        );
    }
}
