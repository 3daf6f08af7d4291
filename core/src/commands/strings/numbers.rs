//! Numbers in strings: INCR and its siblings.

use basalt_net::resp::Reply;
use basalt_storage::keyspace::{EventClasses, Lookup, Record};

use super::handlers::value;
use crate::commands::arguments::{parse_i64, read_i64};
use crate::commands::long_double::LongDouble;
use crate::commands::{Args, CommandError, Context};

type Outcome = Result<(), CommandError>;

/// `INCR key`
pub(super) fn incr(context: &mut Context<'_>, args: Args<'_>, reply: &mut Reply<'_>) -> Outcome {
    add(context, args[1], 1, reply)
}

/// `DECR key`
pub(super) fn decr(context: &mut Context<'_>, args: Args<'_>, reply: &mut Reply<'_>) -> Outcome {
    add(context, args[1], -1, reply)
}

/// `INCRBY key increment`
pub(super) fn incrby(context: &mut Context<'_>, args: Args<'_>, reply: &mut Reply<'_>) -> Outcome {
    add(context, args[1], parse_i64(args[2])?, reply)
}

/// `DECRBY key decrement`
pub(super) fn decrby(context: &mut Context<'_>, args: Args<'_>, reply: &mut Reply<'_>) -> Outcome {
    let decrement = parse_i64(args[2])?;
    let increment = decrement.checked_neg().ok_or(CommandError::text("ERR decrement would overflow"))?;
    add(context, args[1], increment, reply)
}

fn add(context: &mut Context<'_>, key: &[u8], increment: i64, reply: &mut Reply<'_>) -> Outcome {
    let Lookup { record, prior } = context.keyspace.lookup(key)?;
    let old = match value(&record)? {
        Some(bytes) => read_i64(bytes).ok_or(CommandError::NOT_AN_INTEGER)?,
        None => 0,
    };
    let deadline_ms = record.as_ref().and_then(Record::deadline_ms);
    drop(record);
    let new = old.checked_add(increment).ok_or(CommandError::OVERFLOW)?;
    let mut digits = Vec::with_capacity(20);
    basalt_net::resp::write_integer(&mut digits, new);
    context.keyspace.put_string(key, prior, &digits, deadline_ms);
    context.keyspace.notify(EventClasses::STRING, "incrby", key);
    reply.integer(new);
    Ok(())
}

/// `INCRBYFLOAT key increment`
pub(super) fn incrbyfloat(context: &mut Context<'_>, args: Args<'_>, reply: &mut Reply<'_>) -> Outcome {
    let Lookup { record, prior } = context.keyspace.lookup(args[1])?;
    let old = match value(&record)? {
        Some(bytes) => LongDouble::read(bytes).ok_or(CommandError::NOT_A_FLOAT)?,
        None => LongDouble::ZERO,
    };
    let deadline_ms = record.as_ref().and_then(Record::deadline_ms);
    drop(record);
    let increment = LongDouble::read(args[2]).ok_or(CommandError::NOT_A_FLOAT)?;
    let new = old.checked_add(increment).ok_or(CommandError::NOT_FINITE)?.to_string();
    context.keyspace.put_string(args[1], prior, new.as_bytes(), deadline_ms);
    context.keyspace.notify(EventClasses::STRING, "incrbyfloat", args[1]);
    reply.bulk(new);
    Ok(())
}

#[cfg(test)]
mod tests {
    use basalt_net::resp::Protocol;

    use crate::commands::testing::Shard;

    #[test]
    fn numbers_count_within_64_bits() {
        let mut shard = Shard::new();
        shard.expect(
            Protocol::Resp2,
            &[
                ("INCR n", ":1"),
                ("DECRBY n 11", ":-10"),
                ("INCRBY n 9223372036854775807", ":9223372036854775797"),
                ("INCRBY n 11", "-ERR increment or decrement would overflow"),
                ("DECRBY n -9223372036854775808", "-ERR decrement would overflow"),
                ("INCRBY n 1.5", "-ERR value is not an integer or out of range"),
                ("SET s 01", "+OK"),
                ("INCR s", "-ERR value is not an integer or out of range"),
                ("SET f 10.50", "+OK"),
                ("INCRBYFLOAT f 0.1", "$4 10.6"),
                ("INCRBYFLOAT f -5", "$3 5.6"),
                ("INCRBYFLOAT f x", "-ERR value is not a valid float"),
                ("INCRBYFLOAT f inf", "-ERR increment would produce NaN or Infinity"),
                ("INCRBYFLOAT new 3.0e3", "$4 3000"),
                ("GET new", "$4 3000"),
                ("RPUSH l x", ":1"),
                ("INCR l", "-WRONGTYPE Operation against a key holding the wrong kind of value"),
            ],
        );
    }
}
