//! Handlers of the commands on lists.

use basalt_net::resp::Reply;
use basalt_storage::keyspace::{End, EventClasses};

use crate::commands::{Args, CommandError, Context, parse_i64, parse_index_range, parse_usize};

/// `LPUSH key element [element …]`
pub(super) fn lpush(context: &mut Context<'_>, args: Args<'_>, reply: &mut Reply<'_>) -> Result<(), CommandError> {
    push(context, args, reply, End::Head)
}

/// `RPUSH key element [element …]`
pub(super) fn rpush(context: &mut Context<'_>, args: Args<'_>, reply: &mut Reply<'_>) -> Result<(), CommandError> {
    push(context, args, reply, End::Tail)
}

/// `LPUSHX key element [element …]`
pub(super) fn lpushx(context: &mut Context<'_>, args: Args<'_>, reply: &mut Reply<'_>) -> Result<(), CommandError> {
    push_to_existing(context, args, reply, End::Head)
}

/// `RPUSHX key element [element …]`
pub(super) fn rpushx(context: &mut Context<'_>, args: Args<'_>, reply: &mut Reply<'_>) -> Result<(), CommandError> {
    push_to_existing(context, args, reply, End::Tail)
}

fn push(context: &mut Context<'_>, args: Args<'_>, reply: &mut Reply<'_>, end: End) -> Result<(), CommandError> {
    let mut list = context.keyspace.list_or_new(args[1])?;
    args[2..].iter().try_for_each(|value| list.push(&mut context.keyspace, end, value))?;
    list.save(&mut context.keyspace);
    context.keyspace.notify(EventClasses::LIST, push_event(end), args[1]);
    reply.integer(list.len() as i64);
    Ok(())
}

/// The event of elements that were put to an end of a list.
pub(super) fn push_event(end: End) -> &'static str {
    if end == End::Head { "lpush" } else { "rpush" }
}

/// The event of elements that were taken from an end of a list.
pub(super) fn pop_event(end: End) -> &'static str {
    if end == End::Head { "lpop" } else { "rpop" }
}

fn push_to_existing(
    context: &mut Context<'_>,
    args: Args<'_>,
    reply: &mut Reply<'_>,
    end: End,
) -> Result<(), CommandError> {
    if context.keyspace.list(args[1])?.is_some() {
        return push(context, args, reply, end);
    }
    reply.integer(0);
    Ok(())
}

/// `LPOP key [count]`
pub(super) fn lpop(context: &mut Context<'_>, args: Args<'_>, reply: &mut Reply<'_>) -> Result<(), CommandError> {
    pop(context, args, reply, End::Head, "lpop")
}

/// `RPOP key [count]`
pub(super) fn rpop(context: &mut Context<'_>, args: Args<'_>, reply: &mut Reply<'_>) -> Result<(), CommandError> {
    pop(context, args, reply, End::Tail, "rpop")
}

fn pop(
    context: &mut Context<'_>,
    args: Args<'_>,
    reply: &mut Reply<'_>,
    end: End,
    name: &str,
) -> Result<(), CommandError> {
    let count = match args {
        [_, _] => None,
        [_, _, count] => Some(parse_usize(count)? as u64),
        _ => return Err(CommandError::wrong_argument_count(name)),
    };
    let Some(mut list) = context.keyspace.list(args[1])? else {
        match count {
            None => reply.null(),
            Some(_) => reply.null_array(),
        }
        return Ok(());
    };
    if let Some(count) = count {
        reply.array(count.min(list.len()) as usize);
    }
    if count != Some(0) {
        list.pop(&mut context.keyspace, end, count.unwrap_or(1), &mut |value| reply.bulk(value))?;
        list.save(&mut context.keyspace);
        context.keyspace.notify_taken(EventClasses::LIST, pop_event(end), args[1], list.is_empty());
    }
    Ok(())
}

/// `LLEN key`
pub(super) fn llen(context: &mut Context<'_>, args: Args<'_>, reply: &mut Reply<'_>) -> Result<(), CommandError> {
    let list = context.keyspace.list(args[1])?;
    reply.integer(list.map_or(0, |list| list.len() as i64));
    Ok(())
}

/// `LRANGE key start stop`
pub(super) fn lrange(context: &mut Context<'_>, args: Args<'_>, reply: &mut Reply<'_>) -> Result<(), CommandError> {
    let (start, stop) = (parse_i64(args[2])?, parse_i64(args[3])?);
    let Some(list) = context.keyspace.list(args[1])? else {
        reply.array(0);
        return Ok(());
    };
    let indexes = parse_index_range(start, stop, list.len()).unwrap_or(0..0);
    reply.array((indexes.end - indexes.start) as usize);
    list.each(&context.keyspace, indexes, &mut |value| reply.bulk(value))?;
    Ok(())
}

/// `LINDEX key index`
pub(super) fn lindex(context: &mut Context<'_>, args: Args<'_>, reply: &mut Reply<'_>) -> Result<(), CommandError> {
    let Some(list) = context.keyspace.list(args[1])? else {
        reply.null();
        return Ok(());
    };
    match element_index(parse_i64(args[2])?, list.len()) {
        Some(index) => reply.bulk_or_null(list.get(&context.keyspace, index)?.as_deref()),
        None => reply.null(),
    }
    Ok(())
}

/// `LSET key index element`
pub(super) fn lset(context: &mut Context<'_>, args: Args<'_>, reply: &mut Reply<'_>) -> Result<(), CommandError> {
    let mut list = context.keyspace.list(args[1])?.ok_or(CommandError::NO_SUCH_KEY)?;
    let index = element_index(parse_i64(args[2])?, list.len()).ok_or(CommandError::INDEX_OUT_OF_RANGE)?;
    list.set(&mut context.keyspace, index, args[3])?;
    context.keyspace.notify(EventClasses::LIST, "lset", args[1]);
    reply.ok();
    Ok(())
}

/// `LTRIM key start stop`
pub(super) fn ltrim(context: &mut Context<'_>, args: Args<'_>, reply: &mut Reply<'_>) -> Result<(), CommandError> {
    let (start, stop) = (parse_i64(args[2])?, parse_i64(args[3])?);
    if let Some(mut list) = context.keyspace.list(args[1])? {
        let length = list.len();
        let kept = parse_index_range(start, stop, length).unwrap_or(length..length);
        list.remove(&mut context.keyspace, End::Tail, length - kept.end)?;
        list.remove(&mut context.keyspace, End::Head, kept.start)?;
        // Who watches the list hears of it in any case, as in Redis.
        list.touch();
        list.save(&mut context.keyspace);
        context.keyspace.notify_taken(EventClasses::LIST, "ltrim", args[1], list.is_empty());
    }
    reply.ok();
    Ok(())
}

/// The index from the head that `index` means in a list of `length`; `None` outside of it.
fn element_index(index: i64, length: u64) -> Option<u64> {
    let length = length as i64;
    let index = if index < 0 { index.saturating_add(length) } else { index };
    (0..length).contains(&index).then_some(index as u64)
}

#[cfg(test)]
mod tests {
    use basalt_net::resp::Protocol;

    use crate::commands::testing::Shard;

    // The replies are those of redis-server 7.0.15.

    #[test]
    fn pushes_and_pops_reply_as_redis_does() {
        Shard::new().expect(
            Protocol::Resp2,
            &[
                ("RPUSH l a b c", ":3"),
                ("LPUSH l d e", ":5"),
                ("LRANGE l 0 -1", "*5 $1 e $1 d $1 a $1 b $1 c"),
                ("LLEN l", ":5"),
                ("LINDEX l 0", "$1 e"),
                ("LINDEX l -1", "$1 c"),
                ("LINDEX l 5", "$-1"),
                ("LINDEX l -6", "$-1"),
                ("LPUSHX none a", ":0"),
                ("RPUSHX l f g", ":7"),
                ("LPOP l", "$1 e"),
                ("RPOP l", "$1 g"),
                ("LPOP l 0", "*0"),
                ("RPOP l 2", "*2 $1 f $1 c"),
                ("LPOP l 10", "*3 $1 d $1 a $1 b"),
                ("LPOP l", "$-1"),
                ("LPOP l 1", "*-1"),
                ("LPOP l 0", "*-1"),
                ("LLEN l", ":0"),
                ("LINDEX l 0", "$-1"),
                ("LRANGE l 0 -1", "*0"),
            ],
        );
    }

    #[test]
    fn ranges_are_clamped_and_trimmed() {
        Shard::new().expect(
            Protocol::Resp2,
            &[
                ("RPUSH l 0 1 2 3 4", ":5"),
                ("LRANGE l 1 2", "*2 $1 1 $1 2"),
                ("LRANGE l -2 100", "*2 $1 3 $1 4"),
                ("LRANGE l -100 0", "*1 $1 0"),
                ("LRANGE l 3 1", "*0"),
                ("LRANGE l 5 9", "*0"),
                ("LSET l -1 x", "+OK"),
                ("LSET l 0 y", "+OK"),
                ("LTRIM l 0 -2", "+OK"),
                ("LRANGE l 0 -1", "*4 $1 y $1 1 $1 2 $1 3"),
                ("LTRIM l -2 -1", "+OK"),
                ("LRANGE l 0 -1", "*2 $1 2 $1 3"),
                ("LTRIM l 5 9", "+OK"),
                ("LLEN l", ":0"),
                ("LTRIM l 0 0", "+OK"),
            ],
        );
    }

    #[test]
    fn errors_are_those_of_redis() {
        Shard::new().expect(
            Protocol::Resp2,
            &[
                ("LPOP l x", "-ERR value is out of range, must be positive"),
                ("LPOP l -1", "-ERR value is out of range, must be positive"),
                ("LPOP l 1 2", "-ERR wrong number of arguments for 'lpop' command"),
                ("RPOP l 1 2", "-ERR wrong number of arguments for 'rpop' command"),
                ("LRANGE l x 1", "-ERR value is not an integer or out of range"),
                ("LRANGE l 0 1.5", "-ERR value is not an integer or out of range"),
                ("LSET l 0 a", "-ERR no such key"),
                ("RPUSH l a", ":1"),
                ("LSET l 1 a", "-ERR index out of range"),
                ("LSET l x a", "-ERR value is not an integer or out of range"),
                ("LINDEX l x", "-ERR value is not an integer or out of range"),
                ("LTRIM l x 0", "-ERR value is not an integer or out of range"),
                ("SADD s a", ":1"),
                ("LPUSH s a", "-WRONGTYPE Operation against a key holding the wrong kind of value"),
                ("LPUSHX s a", "-WRONGTYPE Operation against a key holding the wrong kind of value"),
                ("LPOP s", "-WRONGTYPE Operation against a key holding the wrong kind of value"),
                ("LLEN s", "-WRONGTYPE Operation against a key holding the wrong kind of value"),
                ("LRANGE s 0 -1", "-WRONGTYPE Operation against a key holding the wrong kind of value"),
                ("LINDEX s 0", "-WRONGTYPE Operation against a key holding the wrong kind of value"),
                ("LSET s 0 a", "-WRONGTYPE Operation against a key holding the wrong kind of value"),
                ("LTRIM s 0 0", "-WRONGTYPE Operation against a key holding the wrong kind of value"),
                ("LPUSH l", "-ERR wrong number of arguments for 'lpush' command"),
                ("LLEN l l", "-ERR wrong number of arguments for 'llen' command"),
            ],
        );
    }

    #[test]
    fn absent_lists_reply_null_in_resp3() {
        Shard::new().expect(
            Protocol::Resp3,
            &[("LPOP none", "_"), ("LPOP none 1", "_"), ("LINDEX none 0", "_"), ("LRANGE none 0 -1", "*0")],
        );
    }
}
