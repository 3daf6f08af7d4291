//! Deadlines: EXPIRE, TTL and their siblings, and the step that deletes keys that are due.

use basalt_net::resp::Reply;
use basalt_storage::keyspace::EventClasses;

use crate::commands::arguments::{ExpiryUnit, Options, deadline_ms, parse_i64};
use crate::commands::{Args, CommandError, Context};

type Outcome = Result<(), CommandError>;

/// The conditions of EXPIRE and its siblings.
#[derive(Debug, Clone, Copy, Default)]
struct ExpireConditions {
    /// Only if there is no deadline.
    if_none: bool,
    /// Only if there is a deadline.
    if_any: bool,
    /// Only if the new deadline is later; no deadline counts as latest.
    if_later: bool,
    /// Only if the new deadline is earlier.
    if_earlier: bool,
}

impl ExpireConditions {
    fn read(args: Args<'_>) -> Result<ExpireConditions, CommandError> {
        let mut conditions = ExpireConditions::default();
        let mut words = Options::new(args, 3);
        while let Some(word) = words.next_word() {
            match word.to_ascii_lowercase().as_slice() {
                b"nx" => conditions.if_none = true,
                b"xx" => conditions.if_any = true,
                b"gt" => conditions.if_later = true,
                b"lt" => conditions.if_earlier = true,
                _ => {
                    let word = String::from_utf8_lossy(word);
                    return Err(CommandError::owned(format!("ERR Unsupported option {word}")));
                }
            }
        }
        if conditions.if_none && (conditions.if_any || conditions.if_later || conditions.if_earlier) {
            return Err(CommandError::text("ERR NX and XX, GT or LT options at the same time are not compatible"));
        }
        if conditions.if_later && conditions.if_earlier {
            return Err(CommandError::text("ERR GT and LT options at the same time are not compatible"));
        }
        Ok(conditions)
    }

    fn allow(self, old_ms: Option<u64>, new_ms: i64) -> bool {
        let is_later = old_ms.is_some_and(|old_ms| i128::from(new_ms) > i128::from(old_ms));
        let is_earlier = old_ms.is_none_or(|old_ms| i128::from(new_ms) < i128::from(old_ms));
        !(self.if_none && old_ms.is_some()
            || self.if_any && old_ms.is_none()
            || self.if_later && !is_later
            || self.if_earlier && !is_earlier)
    }
}

/// `EXPIRE key seconds [NX | XX | GT | LT]`
pub(super) fn expire(context: &mut Context<'_>, args: Args<'_>, reply: &mut Reply<'_>) -> Outcome {
    set_deadline(context, args, ExpiryUnit::Seconds, "expire", reply)
}

/// `PEXPIRE key milliseconds [NX | XX | GT | LT]`
pub(super) fn pexpire(context: &mut Context<'_>, args: Args<'_>, reply: &mut Reply<'_>) -> Outcome {
    set_deadline(context, args, ExpiryUnit::Milliseconds, "pexpire", reply)
}

/// `EXPIREAT key unix-time-seconds [NX | XX | GT | LT]`
pub(super) fn expireat(context: &mut Context<'_>, args: Args<'_>, reply: &mut Reply<'_>) -> Outcome {
    set_deadline(context, args, ExpiryUnit::UnixSeconds, "expireat", reply)
}

/// `PEXPIREAT key unix-time-milliseconds [NX | XX | GT | LT]`
pub(super) fn pexpireat(context: &mut Context<'_>, args: Args<'_>, reply: &mut Reply<'_>) -> Outcome {
    set_deadline(context, args, ExpiryUnit::UnixMilliseconds, "pexpireat", reply)
}

fn set_deadline(
    context: &mut Context<'_>,
    args: Args<'_>,
    unit: ExpiryUnit,
    command: &str,
    reply: &mut Reply<'_>,
) -> Outcome {
    let conditions = ExpireConditions::read(args)?;
    let keyspace = &mut context.keyspace;
    let new_ms = deadline_ms(parse_i64(args[2])?, unit, keyspace.now_ms(), command)?;
    let old_ms = match keyspace.record(args[1])? {
        Some(record) => record.deadline_ms(),
        None => {
            reply.integer(0);
            return Ok(());
        }
    };
    if !conditions.allow(old_ms, new_ms) {
        reply.integer(0);
        return Ok(());
    }
    match u64::try_from(new_ms) {
        Ok(new_ms) if new_ms > keyspace.now_ms() => {
            keyspace.set_deadline(args[1], Some(new_ms))?;
            keyspace.notify(EventClasses::GENERIC, "expire", args[1]);
        }
        _ => {
            keyspace.delete(args[1])?;
            keyspace.notify(EventClasses::GENERIC, "del", args[1]);
        }
    };
    reply.integer(1);
    Ok(())
}

/// `PERSIST key`
pub(super) fn persist(context: &mut Context<'_>, args: Args<'_>, reply: &mut Reply<'_>) -> Outcome {
    let has_deadline = context.keyspace.record(args[1])?.is_some_and(|record| record.deadline_ms().is_some());
    if has_deadline {
        context.keyspace.set_deadline(args[1], None)?;
        context.keyspace.notify(EventClasses::GENERIC, "persist", args[1]);
    }
    reply.integer(has_deadline.into());
    Ok(())
}

/// `TTL key`
pub(super) fn ttl(context: &mut Context<'_>, args: Args<'_>, reply: &mut Reply<'_>) -> Outcome {
    let now_ms = context.keyspace.now_ms();
    write_deadline(context, args, reply, |deadline_ms| rounded_seconds(deadline_ms.saturating_sub(now_ms)))
}

/// `PTTL key`
pub(super) fn pttl(context: &mut Context<'_>, args: Args<'_>, reply: &mut Reply<'_>) -> Outcome {
    let now_ms = context.keyspace.now_ms();
    write_deadline(context, args, reply, |deadline_ms| deadline_ms.saturating_sub(now_ms))
}

/// `EXPIRETIME key`
pub(super) fn expiretime(context: &mut Context<'_>, args: Args<'_>, reply: &mut Reply<'_>) -> Outcome {
    write_deadline(context, args, reply, rounded_seconds)
}

/// `PEXPIRETIME key`
pub(super) fn pexpiretime(context: &mut Context<'_>, args: Args<'_>, reply: &mut Reply<'_>) -> Outcome {
    write_deadline(context, args, reply, |deadline_ms| deadline_ms)
}

fn rounded_seconds(milliseconds: u64) -> u64 {
    milliseconds.saturating_add(500) / 1000
}

/// Replies what `show` makes of the deadline: -2 without the key, -1 without a deadline.
fn write_deadline(
    context: &mut Context<'_>,
    args: Args<'_>,
    reply: &mut Reply<'_>,
    show: impl FnOnce(u64) -> u64,
) -> Outcome {
    context.keyspace.note_accesses(false);
    reply.integer(match context.keyspace.record(args[1])? {
        None => -2,
        Some(record) => record.deadline_ms().map_or(-1, |deadline_ms| show(deadline_ms) as i64),
    });
    Ok(())
}

/// Internal write: `step|expire count from`. Deletes up to `count` keys, of all databases, whose deadline lies at `from` or
/// later and that are due at the entry's time, and
/// replies how many.
pub(super) fn step_expire(context: &mut Context<'_>, args: Args<'_>, reply: &mut Reply<'_>) -> Outcome {
    let (count, from_ms) = (crate::commands::parse_usize(args[1])?, crate::commands::parse_usize(args[2])? as u64);
    reply.integer(context.keyspace.delete_expired(count, from_ms)? as i64);
    Ok(())
}

#[cfg(test)]
mod tests {
    use basalt_net::resp::Protocol;

    use crate::commands::table;
    use crate::commands::testing::Shard;

    #[test]
    fn deadlines_follow_their_conditions() {
        let mut shard = Shard::new();
        shard.expect(
            Protocol::Resp2,
            &[
                ("SET k v", "+OK"),
                ("TTL none", ":-2"),
                ("TTL k", ":-1"),
                ("EXPIRE none 10", ":0"),
                ("EXPIRE k 10 XX", ":0"),
                ("EXPIRE k 10 GT", ":0"),
                ("EXPIRE k 100 LT", ":1"),
                ("EXPIRE k 10 NX", ":0"),
                ("EXPIRE k 10 GT", ":0"),
                ("EXPIRE k 100 GT", ":0"),
                ("EXPIRE k 200 GT", ":1"),
                ("EXPIRE k 200 LT", ":0"),
                ("EXPIRE k 50 XX LT", ":1"),
                ("PTTL k", ":50000"),
                ("EXPIRETIME k", ":1700000050"),
                ("PEXPIRETIME k", ":1700000050000"),
                ("PEXPIRE k 1499", ":1"),
                ("TTL k", ":1"),
                ("PEXPIREAT k 1700000001500", ":1"),
                ("TTL k", ":2"),
                ("PERSIST k", ":1"),
                ("PERSIST k", ":0"),
                ("EXPIREAT k 1800000000", ":1"),
                ("TTL k", ":100000000"),
                ("EXPIRE k 10 NX GT", "-ERR NX and XX, GT or LT options at the same time are not compatible"),
                ("EXPIRE k 10 GT LT", "-ERR GT and LT options at the same time are not compatible"),
                ("EXPIRE k 10 FOO", "-ERR Unsupported option FOO"),
                ("EXPIRE k x", "-ERR value is not an integer or out of range"),
                ("EXPIRE k 9223372036854775807", "-ERR invalid expire time in 'expire' command"),
                ("PEXPIRE k 9223372036854775807", "-ERR invalid expire time in 'pexpire' command"),
                ("EXPIREAT k 9223372036854775807", "-ERR invalid expire time in 'expireat' command"),
                ("EXPIRE k -1", ":1"),
                ("EXISTS k", ":0"),
            ],
        );
    }

    #[test]
    fn expired_keys_are_gone_for_every_command() {
        let mut shard = Shard::new();
        for line in ["SET s v PX 10", "RPUSH l a", "PEXPIRE l 10", "SADD set a", "PEXPIRE set 10"] {
            shard.line(line);
        }
        shard.now_ms += 10;
        shard.expect(Protocol::Resp2, &[("EXISTS s l set", ":3"), ("PTTL s", ":0")]);
        shard.now_ms += 1;
        shard.expect(
            Protocol::Resp2,
            &[
                ("EXISTS s l set", ":0"),
                ("GET s", "$-1"),
                ("SCAN 0", "*2 $1 0 *0"),
                ("KEYS *", "*0"),
                ("RANDOMKEY", "$-1"),
                ("DEL s", ":0"),
                ("RPUSH l b", ":1"),
                ("LRANGE l 0 -1", "*1 $1 b"),
                ("TTL l", ":-1"),
                ("RENAME set x", "-ERR no such key"),
                ("DBSIZE", ":2"),
            ],
        );
    }

    #[test]
    fn due_keys_are_deleted_in_bounded_batches() {
        let mut shard = Shard::new();
        for number in 0..10 {
            shard.line(&format!("SET k{number} v PX {}", number + 1));
        }
        shard.line("SET forever v");
        shard.now_ms += 6;
        assert_eq!(shard.step(table::DELETE_EXPIRED, &[b"3", b"0"]), ":3");
        assert_eq!(shard.line("DBSIZE"), ":8");
        assert_eq!(shard.step(table::DELETE_EXPIRED, &[b"100", b"0"]), ":2");
        assert_eq!(shard.step(table::DELETE_EXPIRED, &[b"100", b"0"]), ":0");
        shard.now_ms += 4;
        let after_those_left = (shard.now_ms + 1).to_string();
        assert_eq!(shard.step(table::DELETE_EXPIRED, &[b"100", after_those_left.as_bytes()]), ":0", "none is as late");
        assert_eq!(shard.line("DBSIZE"), ":6");
    }
}
