//! The commands that read and write strings.

use basalt_net::resp::Reply;
use basalt_storage::keyspace::{EventClasses, Lookup, Record, Type};

use crate::commands::arguments::{ExpiryUnit, Options, parse_expiry_ms, parse_i64};
use crate::commands::{Args, CommandError, Context};
use crate::limits;

type Outcome = Result<(), CommandError>;

/// Refuses a string that would be longer than `proto-max-bulk-len`, as it was where the write was taken into the log.
fn check_length(context: &Context<'_>, length: usize, more: usize) -> Outcome {
    match length.checked_add(more) {
        Some(total) if total <= context.string_bytes_max => Ok(()),
        _ => Err(CommandError::STRING_TOO_LONG),
    }
}

/// The value of a looked-up string.
pub(super) fn value<'a>(record: &'a Option<Record<'_>>) -> Result<Option<&'a [u8]>, CommandError> {
    match record {
        Some(record) if record.kind() != Type::String => Err(CommandError::WrongType),
        Some(record) => Ok(Some(record.body())),
        None => Ok(None),
    }
}

/// `GET key`
pub(super) fn get(context: &mut Context<'_>, args: Args<'_>, reply: &mut Reply<'_>) -> Outcome {
    let record = context.keyspace.string(args[1])?;
    reply.bulk_or_null(record.as_ref().map(Record::body));
    Ok(())
}

/// The deadline that the options of SET or GETEX ask for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Deadline<'a> {
    /// Nothing was said.
    Default,
    /// `KEEPTTL`
    Keep,
    /// `PERSIST`
    Remove,
    /// `EX`, `PX`, `EXAT` or `PXAT`
    At(ExpiryUnit, &'a [u8]),
}

/// The options of SET.
struct SetOptions<'a> {
    if_absent: bool,
    if_present: bool,
    get: bool,
    deadline: Deadline<'a>,
}

impl<'a> SetOptions<'a> {
    fn read(args: Args<'a>) -> Result<SetOptions<'a>, CommandError> {
        let mut options = SetOptions { if_absent: false, if_present: false, get: false, deadline: Deadline::Default };
        let mut words = Options::new(args, 3);
        while let Some(word) = words.next_word() {
            if word.eq_ignore_ascii_case(b"nx") && !options.if_present {
                options.if_absent = true;
            } else if word.eq_ignore_ascii_case(b"xx") && !options.if_absent {
                options.if_present = true;
            } else if word.eq_ignore_ascii_case(b"get") {
                options.get = true;
            } else if word.eq_ignore_ascii_case(b"keepttl")
                && matches!(options.deadline, Deadline::Default | Deadline::Keep)
            {
                options.deadline = Deadline::Keep;
            } else if let (Deadline::Default, Some(unit)) = (options.deadline, ExpiryUnit::of_option(word)) {
                options.deadline = Deadline::At(unit, words.argument()?);
            } else {
                return Err(CommandError::SYNTAX);
            }
        }
        Ok(options)
    }
}

/// `SET key value [NX | XX] [GET] [EX seconds | PX milliseconds | EXAT time | PXAT time | KEEPTTL]`
pub(super) fn set(context: &mut Context<'_>, args: Args<'_>, reply: &mut Reply<'_>) -> Outcome {
    let options = SetOptions::read(args)?;
    let keyspace = &mut context.keyspace;
    let new_deadline = match options.deadline {
        Deadline::At(unit, number) => Some(parse_expiry_ms(number, unit, keyspace.now_ms(), "set")?),
        _ => None,
    };
    let Lookup { record, prior } = keyspace.lookup(args[1])?;
    if options.get {
        reply.bulk_or_null(value(&record)?);
        if record.is_none() {
            keyspace.notify_miss(args[1]);
        }
    }
    if (options.if_absent && record.is_some()) || (options.if_present && record.is_none()) {
        if !options.get {
            reply.null();
        }
        return Ok(());
    }
    let deadline_ms = match options.deadline {
        Deadline::Keep => record.as_ref().and_then(Record::deadline_ms),
        _ => new_deadline,
    };
    drop(record);
    keyspace.put_string(args[1], prior, args[2], deadline_ms);
    keyspace.notify(EventClasses::STRING, "set", args[1]);
    if let Some(deadline_ms) = new_deadline {
        keyspace.notify(EventClasses::GENERIC, "expire", args[1]);
        // Nobody can read it any more: it was not even put.
        if deadline_ms <= keyspace.now_ms() {
            keyspace.notify(EventClasses::EXPIRED, "expired", args[1]);
        }
    }
    if !options.get {
        reply.ok();
    }
    Ok(())
}

/// `SETNX key value`
pub(super) fn setnx(context: &mut Context<'_>, args: Args<'_>, reply: &mut Reply<'_>) -> Outcome {
    let Lookup { record, prior } = context.keyspace.lookup(args[1])?;
    let is_absent = record.is_none();
    drop(record);
    if is_absent {
        context.keyspace.put_string(args[1], prior, args[2], None);
        context.keyspace.notify(EventClasses::STRING, "set", args[1]);
    }
    reply.integer(is_absent.into());
    Ok(())
}

/// `SETEX key seconds value`
pub(super) fn setex(context: &mut Context<'_>, args: Args<'_>, reply: &mut Reply<'_>) -> Outcome {
    set_expiring(context, args, ExpiryUnit::Seconds, "setex", reply)
}

/// `PSETEX key milliseconds value`
pub(super) fn psetex(context: &mut Context<'_>, args: Args<'_>, reply: &mut Reply<'_>) -> Outcome {
    set_expiring(context, args, ExpiryUnit::Milliseconds, "psetex", reply)
}

fn set_expiring(
    context: &mut Context<'_>,
    args: Args<'_>,
    unit: ExpiryUnit,
    command: &str,
    reply: &mut Reply<'_>,
) -> Outcome {
    let deadline_ms = parse_expiry_ms(args[2], unit, context.keyspace.now_ms(), command)?;
    context.keyspace.set_string(args[1], args[3], Some(deadline_ms))?;
    context.keyspace.notify(EventClasses::STRING, "set", args[1]);
    context.keyspace.notify(EventClasses::GENERIC, "expire", args[1]);
    reply.ok();
    Ok(())
}

/// `GETSET key value`
pub(super) fn getset(context: &mut Context<'_>, args: Args<'_>, reply: &mut Reply<'_>) -> Outcome {
    let Lookup { record, prior } = context.keyspace.lookup(args[1])?;
    reply.bulk_or_null(value(&record)?);
    let is_absent = record.is_none();
    drop(record);
    if is_absent {
        context.keyspace.notify_miss(args[1]);
    }
    context.keyspace.put_string(args[1], prior, args[2], None);
    context.keyspace.notify(EventClasses::STRING, "set", args[1]);
    Ok(())
}

/// `GETDEL key`
pub(super) fn getdel(context: &mut Context<'_>, args: Args<'_>, reply: &mut Reply<'_>) -> Outcome {
    let record = context.keyspace.string(args[1])?;
    let exists = record.is_some();
    reply.bulk_or_null(record.as_ref().map(Record::body));
    drop(record);
    if exists {
        context.keyspace.delete(args[1])?;
        context.keyspace.notify(EventClasses::GENERIC, "del", args[1]);
    }
    Ok(())
}

/// `GETEX key [EX seconds | PX milliseconds | EXAT time | PXAT time | PERSIST]`
pub(super) fn getex(context: &mut Context<'_>, args: Args<'_>, reply: &mut Reply<'_>) -> Outcome {
    let mut deadline = Deadline::Default;
    let mut words = Options::new(args, 2);
    while let Some(word) = words.next_word() {
        deadline = match (deadline, ExpiryUnit::of_option(word)) {
            (Deadline::Default, Some(unit)) => Deadline::At(unit, words.argument()?),
            (Deadline::Default | Deadline::Remove, None) if word.eq_ignore_ascii_case(b"persist") => Deadline::Remove,
            _ => return Err(CommandError::SYNTAX),
        };
    }
    let keyspace = &mut context.keyspace;
    let Some(record) = keyspace.string(args[1])? else {
        reply.null();
        return Ok(());
    };
    let (now_ms, old_deadline) = (keyspace.now_ms(), record.deadline_ms());
    let new_deadline = match deadline {
        Deadline::At(unit, number) => Some(parse_expiry_ms(number, unit, now_ms, "getex")?),
        Deadline::Remove => None,
        Deadline::Default | Deadline::Keep => old_deadline,
    };
    reply.bulk(record.body());
    drop(record);
    if matches!(deadline, Deadline::At(..)) && new_deadline.is_some_and(|deadline_ms| deadline_ms <= now_ms) {
        keyspace.delete(args[1])?;
        keyspace.notify(EventClasses::GENERIC, "del", args[1]);
        return Ok(());
    }
    if new_deadline != old_deadline {
        keyspace.set_deadline(args[1], new_deadline)?;
    }
    match deadline {
        Deadline::At(..) => keyspace.notify(EventClasses::GENERIC, "expire", args[1]),
        Deadline::Remove if old_deadline.is_some() => keyspace.notify(EventClasses::GENERIC, "persist", args[1]),
        _ => {}
    }
    Ok(())
}

/// `STRLEN key`
pub(super) fn strlen(context: &mut Context<'_>, args: Args<'_>, reply: &mut Reply<'_>) -> Outcome {
    let record = context.keyspace.string(args[1])?;
    reply.integer(record.map_or(0, |record| record.body().len() as i64));
    Ok(())
}

/// `APPEND key value`
pub(super) fn append(context: &mut Context<'_>, args: Args<'_>, reply: &mut Reply<'_>) -> Outcome {
    let length = context.keyspace.string(args[1])?.map_or(0, |record| record.body().len());
    check_length(context, length, args[2].len())?;
    let length = context.keyspace.edit_string(args[1], |string| string.append(args[2]))?;
    context.keyspace.notify(EventClasses::STRING, "append", args[1]);
    reply.integer(length as i64);
    Ok(())
}

/// `GETRANGE key start end` and `SUBSTR key start end`
pub(super) fn getrange(context: &mut Context<'_>, args: Args<'_>, reply: &mut Reply<'_>) -> Outcome {
    let (start, end) = (parse_i64(args[2])?, parse_i64(args[3])?);
    let record = context.keyspace.string(args[1])?;
    let bytes = record.as_ref().map_or(&[][..], Record::body);
    reply.bulk(byte_range(bytes, start, end));
    Ok(())
}

/// The bytes from `start` to `end`, both included; negative ones count from the end. An end before the first byte means
/// the first byte, as in Redis.
fn byte_range(bytes: &[u8], start: i64, end: i64) -> &[u8] {
    let length = bytes.len() as i64;
    if length == 0 || (start < 0 && end < 0 && start > end) {
        return &[];
    }
    let from_end = |index: i64| if index < 0 { index.saturating_add(length).max(0) } else { index };
    let (start, end) = (from_end(start), from_end(end).min(length - 1));
    if start > end { &[] } else { &bytes[start as usize..=end as usize] }
}

/// `SETRANGE key offset value`
pub(super) fn setrange(context: &mut Context<'_>, args: Args<'_>, reply: &mut Reply<'_>) -> Outcome {
    let offset = parse_i64(args[2])?;
    let offset = usize::try_from(offset).map_err(|_| CommandError::text("ERR offset is out of range"))?;
    let length = context.keyspace.string(args[1])?.map_or(0, |record| record.body().len());
    if args[3].is_empty() {
        reply.integer(length as i64);
        return Ok(());
    }
    check_length(context, offset, args[3].len())?;
    let length = context.keyspace.edit_string(args[1], |string| string.overwrite(offset, args[3]))?;
    context.keyspace.notify(EventClasses::STRING, "setrange", args[1]);
    reply.integer(length as i64);
    Ok(())
}

/// `MGET key [key …]`
pub(super) fn mget(context: &mut Context<'_>, args: Args<'_>, reply: &mut Reply<'_>) -> Outcome {
    reply.array(args.len() - 1);
    for key in &args[1..] {
        if reply.len() >= limits::MGET_BYTES_AT_ONCE {
            return Err(CommandError::Piecemeal);
        }
        let record = context.keyspace.record(key)?.filter(|record| record.kind() == Type::String);
        reply.bulk_or_null(record.as_ref().map(Record::body));
    }
    Ok(())
}

/// Checks that keys and values come in pairs.
fn check_pairs(args: Args<'_>, command: &str) -> Outcome {
    if args.len().is_multiple_of(2) { Err(CommandError::wrong_argument_count(command)) } else { Ok(()) }
}

/// `MSET key value [key value …]`
pub(super) fn mset(context: &mut Context<'_>, args: Args<'_>, reply: &mut Reply<'_>) -> Outcome {
    check_pairs(args, "mset")?;
    context.keyspace.set_strings(args[1..].chunks_exact(2).map(|pair| (pair[0], pair[1])))?;
    reply.ok();
    Ok(())
}

/// `MSETNX key value [key value …]`
pub(super) fn msetnx(context: &mut Context<'_>, args: Args<'_>, reply: &mut Reply<'_>) -> Outcome {
    check_pairs(args, "msetnx")?;
    for pair in args[1..].chunks_exact(2) {
        if context.keyspace.exists(pair[0])? {
            reply.integer(0);
            return Ok(());
        }
    }
    context.keyspace.set_strings(args[1..].chunks_exact(2).map(|pair| (pair[0], pair[1])))?;
    reply.integer(1);
    Ok(())
}

#[cfg(test)]
mod tests {
    use crate::commands::testing::Shard;
    use basalt_net::resp::Protocol;

    #[test]
    fn set_takes_every_option() {
        let mut shard = Shard::new();
        shard.expect(
            Protocol::Resp2,
            &[
                ("SET k v", "+OK"),
                ("GET k", "$1 v"),
                ("SET k w NX", "$-1"),
                ("SET k w XX", "+OK"),
                ("SET none w XX", "$-1"),
                ("SET k x NX GET", "$1 w"),
                ("GET k", "$1 w"),
                ("SET none x XX GET", "$-1"),
                ("SET new x GET", "$-1"),
                ("SET new y get", "$1 x"),
                ("SET k v EX 100", "+OK"),
                ("PTTL k", ":100000"),
                ("SET k v KEEPTTL", "+OK"),
                ("TTL k", ":100"),
                ("SET k v", "+OK"),
                ("TTL k", ":-1"),
                ("SET k v PX 1500", "+OK"),
                ("TTL k", ":2"),
                ("SET k v EXAT 1700000010", "+OK"),
                ("PTTL k", ":10000"),
                ("SET k v PXAT 1700000000007", "+OK"),
                ("PEXPIRETIME k", ":1700000000007"),
                ("SET k v PXAT 1", "+OK"),
                ("GET k", "$-1"),
            ],
        );
    }

    #[test]
    fn set_refuses_what_redis_refuses() {
        let mut shard = Shard::new();
        shard.expect(
            Protocol::Resp2,
            &[
                ("SET k v NX XX", "-ERR syntax error"),
                ("SET k v XX NX", "-ERR syntax error"),
                ("SET k v EX", "-ERR syntax error"),
                ("SET k v EX 1 PX 1", "-ERR syntax error"),
                ("SET k v EX 1 KEEPTTL", "-ERR syntax error"),
                ("SET k v KEEPTTL EX 1", "-ERR syntax error"),
                ("SET k v FOO", "-ERR syntax error"),
                ("SET k v EX x", "-ERR value is not an integer or out of range"),
                ("SET k v EX 0", "-ERR invalid expire time in 'set' command"),
                ("SET k v EX 9223372036854775807", "-ERR invalid expire time in 'set' command"),
                ("SET k v PX 9223372036854775807", "-ERR invalid expire time in 'set' command"),
                ("SETEX k -1 v", "-ERR invalid expire time in 'setex' command"),
                ("PSETEX k 0 v", "-ERR invalid expire time in 'psetex' command"),
                ("SET k", "-ERR wrong number of arguments for 'set' command"),
                ("EXISTS k", ":0"),
                ("RPUSH list a", ":1"),
                ("SET list v GET", "-WRONGTYPE Operation against a key holding the wrong kind of value"),
                ("LLEN list", ":1"),
                ("SET list v", "+OK"),
                ("GET list", "$1 v"),
            ],
        );
    }

    #[test]
    fn values_are_read_and_replaced() {
        let mut shard = Shard::new();
        shard.expect(
            Protocol::Resp2,
            &[
                ("SETNX k v", ":1"),
                ("SETNX k w", ":0"),
                ("GETSET k w", "$1 v"),
                ("GETSET none w", "$-1"),
                ("SETEX k 10 x", "+OK"),
                ("GETSET k y", "$1 x"),
                ("TTL k", ":-1"),
                ("GETDEL k", "$1 y"),
                ("GETDEL k", "$-1"),
                ("SET k v", "+OK"),
                ("GETEX k EX 10", "$1 v"),
                ("TTL k", ":10"),
                ("GETEX k", "$1 v"),
                ("TTL k", ":10"),
                ("GETEX k PERSIST", "$1 v"),
                ("TTL k", ":-1"),
                ("GETEX k PERSIST EX 1", "-ERR syntax error"),
                ("GETEX k EX 0", "-ERR invalid expire time in 'getex' command"),
                ("GETEX absent EX 0", "$-1"),
                ("GETEX k EXAT 1", "$1 v"),
                ("EXISTS k", ":0"),
                ("MSET a 1 b 2 a 3", "+OK"),
                ("MGET a b absent", "*3 $1 3 $1 2 $-1"),
                ("MSET a 1 b", "-ERR wrong number of arguments for 'mset' command"),
                ("MSETNX c 1 a 1", ":0"),
                ("EXISTS c", ":0"),
                ("MSETNX c 1 d 1", ":1"),
                ("MSETNX c", "-ERR wrong number of arguments for 'msetnx' command"),
            ],
        );
        shard.line("SADD set x");
        shard.expect(Protocol::Resp2, &[("MGET set a", "*2 $-1 $1 3")]);
    }

    #[test]
    fn ranges_are_cut_as_in_redis() {
        let mut shard = Shard::new();
        shard.expect(
            Protocol::Resp2,
            &[
                ("SET k Hello", "+OK"),
                ("GETRANGE k 0 -1", "$5 Hello"),
                ("GETRANGE k 1 3", "$3 ell"),
                ("GETRANGE k -3 -2", "$2 ll"),
                ("GETRANGE k -2 -3", "$0"),
                ("GETRANGE k 3 1", "$0"),
                ("GETRANGE k 0 -100", "$1 H"),
                ("GETRANGE k -100 100", "$5 Hello"),
                ("GETRANGE k 5 9", "$0"),
                ("GETRANGE none 0 -1", "$0"),
                ("GETRANGE k x 1", "-ERR value is not an integer or out of range"),
                ("SUBSTR k 0 0", "$1 H"),
                ("SETRANGE k 6 World", ":11"),
                ("GETRANGE k 0 -1", "$11 Hello\u{0}World"),
                ("SETRANGE none 5 ", ":0"),
                ("EXISTS none", ":0"),
                ("SETRANGE k 3 ", ":11"),
                ("SETRANGE k -1 x", "-ERR offset is out of range"),
                ("SETRANGE k 536870912 x", "-ERR string exceeds maximum allowed size (proto-max-bulk-len)"),
                ("APPEND k !", ":12"),
                ("APPEND new ab", ":2"),
                ("STRLEN k", ":12"),
                ("STRLEN none", ":0"),
            ],
        );
    }

    #[test]
    fn strings_grow_up_to_the_longest_that_the_entry_allows() {
        let mut shard = Shard::new();
        shard.string_bytes_max = 5;
        shard.expect(
            Protocol::Resp2,
            &[
                ("APPEND k abc", ":3"),
                ("APPEND k de", ":5"),
                ("APPEND k f", "-ERR string exceeds maximum allowed size (proto-max-bulk-len)"),
                ("SETRANGE k 4 x", ":5"),
                ("SETRANGE k 4 xy", "-ERR string exceeds maximum allowed size (proto-max-bulk-len)"),
                ("SETRANGE new 5 x", "-ERR string exceeds maximum allowed size (proto-max-bulk-len)"),
                ("SETRANGE k 9223372036854775807 x", "-ERR string exceeds maximum allowed size (proto-max-bulk-len)"),
                ("SETRANGE k 9 ", ":5"),
                ("APPEND k ", ":5"),
                ("GET k", "$5 abcdx"),
                ("EXISTS new", ":0"),
            ],
        );
    }

    #[test]
    fn a_deadline_survives_edits() {
        let mut shard = Shard::new();
        for edit in ["APPEND k 1", "SETRANGE k 0 2", "INCR k", "INCRBYFLOAT k 1", "DECRBY k 3"] {
            shard.line("SET k 1 EX 100");
            assert!(!shard.line(edit).starts_with('-'), "{edit}");
            assert_eq!(shard.line("TTL k"), ":100", "{edit}");
        }
    }
}
