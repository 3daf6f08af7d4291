//! Handlers of the commands on hashes.

use basalt_net::resp::Reply;
use basalt_storage::keyspace::{EventClasses, Type};

use crate::commands::arguments::read_i64;
use crate::commands::{Args, CommandError, Context, LongDouble, names, parse_i64};

/// The reply of HINCRBY to a value that is none.
const NOT_AN_INTEGER: CommandError = CommandError::text("ERR hash value is not an integer");
/// The reply of HINCRBYFLOAT to a value that is none.
const NOT_A_FLOAT: CommandError = CommandError::text("ERR hash value is not a float");
/// The reply of HINCRBYFLOAT to an infinite increment.
const INCREMENT_NOT_FINITE: CommandError = CommandError::text("ERR value is NaN or Infinity");

/// `HSET key field value [field value …]`
pub(super) fn hset(context: &mut Context<'_>, args: Args<'_>, reply: &mut Reply<'_>) -> Result<(), CommandError> {
    let added = insert_pairs(context, args, "hset")?;
    reply.integer(added as i64);
    Ok(())
}

/// `HMSET key field value [field value …]`
pub(super) fn hmset(context: &mut Context<'_>, args: Args<'_>, reply: &mut Reply<'_>) -> Result<(), CommandError> {
    insert_pairs(context, args, "hmset")?;
    reply.ok();
    Ok(())
}

/// Sets the fields that `args` name; returns how many are new.
fn insert_pairs(context: &mut Context<'_>, args: Args<'_>, name: &str) -> Result<u64, CommandError> {
    let (pairs, []) = args[2..].as_chunks::<2>() else {
        return Err(CommandError::wrong_argument_count(name));
    };
    let mut hash = context.keyspace.hash_or_new(args[1])?;
    let mut added = 0;
    for [field, value] in pairs {
        added += u64::from(hash.insert(&mut context.keyspace, field, value)?);
    }
    hash.save(&mut context.keyspace)?;
    context.keyspace.notify(EventClasses::HASH, "hset", args[1]);
    Ok(added)
}

/// `HSETNX key field value`
pub(super) fn hsetnx(context: &mut Context<'_>, args: Args<'_>, reply: &mut Reply<'_>) -> Result<(), CommandError> {
    let mut hash = context.keyspace.hash_or_new(args[1])?;
    let is_new = hash.get(&context.keyspace, args[2])?.is_none();
    if is_new {
        hash.insert(&mut context.keyspace, args[2], args[3])?;
        hash.save(&mut context.keyspace)?;
        context.keyspace.notify(EventClasses::HASH, "hset", args[1]);
    }
    reply.integer(i64::from(is_new));
    Ok(())
}

/// `HGET key field`
pub(super) fn hget(context: &mut Context<'_>, args: Args<'_>, reply: &mut Reply<'_>) -> Result<(), CommandError> {
    match context.keyspace.hash(args[1])? {
        Some(hash) => reply.bulk_or_null(hash.get(&context.keyspace, args[2])?.as_deref()),
        None => reply.null(),
    }
    Ok(())
}

/// `HMGET key field [field …]`
pub(super) fn hmget(context: &mut Context<'_>, args: Args<'_>, reply: &mut Reply<'_>) -> Result<(), CommandError> {
    let hash = context.keyspace.hash(args[1])?;
    reply.array(args.len() - 2);
    for field in &args[2..] {
        if reply.is_over() {
            break;
        }
        match &hash {
            Some(hash) => reply.bulk_or_null(hash.get(&context.keyspace, field)?.as_deref()),
            None => reply.null(),
        }
    }
    Ok(())
}

/// `HDEL key field [field …]`
pub(super) fn hdel(context: &mut Context<'_>, args: Args<'_>, reply: &mut Reply<'_>) -> Result<(), CommandError> {
    let Some(mut hash) = context.keyspace.hash(args[1])? else {
        reply.integer(0);
        return Ok(());
    };
    let mut removed = 0;
    for field in &args[2..] {
        removed += i64::from(hash.remove(&mut context.keyspace, field)?);
    }
    hash.save(&mut context.keyspace)?;
    if removed > 0 {
        context.keyspace.notify_taken(EventClasses::HASH, "hdel", args[1], hash.is_empty());
    }
    reply.integer(removed);
    Ok(())
}

/// `HLEN key`
pub(super) fn hlen(context: &mut Context<'_>, args: Args<'_>, reply: &mut Reply<'_>) -> Result<(), CommandError> {
    let hash = context.keyspace.hash(args[1])?;
    reply.integer(hash.map_or(0, |hash| hash.len() as i64));
    Ok(())
}

/// `HSTRLEN key field`
pub(super) fn hstrlen(context: &mut Context<'_>, args: Args<'_>, reply: &mut Reply<'_>) -> Result<(), CommandError> {
    let length = match context.keyspace.hash(args[1])? {
        Some(hash) => hash.get(&context.keyspace, args[2])?.map_or(0, |value| value.len()),
        None => 0,
    };
    reply.integer(length as i64);
    Ok(())
}

/// `HEXISTS key field`
pub(super) fn hexists(context: &mut Context<'_>, args: Args<'_>, reply: &mut Reply<'_>) -> Result<(), CommandError> {
    let exists = match context.keyspace.hash(args[1])? {
        Some(hash) => hash.get(&context.keyspace, args[2])?.is_some(),
        None => false,
    };
    reply.integer(i64::from(exists));
    Ok(())
}

/// `HGETALL key`
pub(super) fn hgetall(context: &mut Context<'_>, args: Args<'_>, reply: &mut Reply<'_>) -> Result<(), CommandError> {
    let Some(hash) = context.keyspace.hash(args[1])? else {
        reply.map(0);
        return Ok(());
    };
    reply.map(hash.live_len(&context.keyspace)? as usize);
    hash.each(&context.keyspace, &mut |field, value| {
        reply.bulk(field);
        reply.bulk(value);
    })?;
    Ok(())
}

/// `HKEYS key`
pub(super) fn hkeys(context: &mut Context<'_>, args: Args<'_>, reply: &mut Reply<'_>) -> Result<(), CommandError> {
    list_hash(context, args, reply, |field, _| field)
}

/// `HVALS key`
pub(super) fn hvals(context: &mut Context<'_>, args: Args<'_>, reply: &mut Reply<'_>) -> Result<(), CommandError> {
    list_hash(context, args, reply, |_, value| value)
}

fn list_hash(
    context: &mut Context<'_>,
    args: Args<'_>,
    reply: &mut Reply<'_>,
    part: for<'a> fn(&'a [u8], &'a [u8]) -> &'a [u8],
) -> Result<(), CommandError> {
    let Some(hash) = context.keyspace.hash(args[1])? else {
        reply.array(0);
        return Ok(());
    };
    reply.array(hash.live_len(&context.keyspace)? as usize);
    hash.each(&context.keyspace, &mut |field, value| reply.bulk(part(field, value)))?;
    Ok(())
}

/// `HINCRBY key field increment`
pub(super) fn hincrby(context: &mut Context<'_>, args: Args<'_>, reply: &mut Reply<'_>) -> Result<(), CommandError> {
    let increment = parse_i64(args[3])?;
    let mut hash = context.keyspace.hash_or_new(args[1])?;
    let value = match hash.get(&context.keyspace, args[2])? {
        Some(value) => read_i64(&value).ok_or(NOT_AN_INTEGER)?,
        None => 0,
    };
    let sum = value.checked_add(increment).ok_or(CommandError::OVERFLOW)?;
    hash.update(&mut context.keyspace, args[2], sum.to_string().as_bytes())?;
    hash.save(&mut context.keyspace)?;
    context.keyspace.notify(EventClasses::HASH, "hincrby", args[1]);
    reply.integer(sum);
    Ok(())
}

/// `HINCRBYFLOAT key field increment`
pub(super) fn hincrbyfloat(
    context: &mut Context<'_>,
    args: Args<'_>,
    reply: &mut Reply<'_>,
) -> Result<(), CommandError> {
    let increment = LongDouble::read(args[3]).ok_or(CommandError::NOT_A_FLOAT)?;
    if !increment.is_finite() {
        return Err(INCREMENT_NOT_FINITE);
    }
    let mut hash = context.keyspace.hash_or_new(args[1])?;
    let value = match hash.get(&context.keyspace, args[2])? {
        Some(value) => LongDouble::read(&value).ok_or(NOT_A_FLOAT)?,
        None => LongDouble::ZERO,
    };
    let sum = value.checked_add(increment).ok_or(CommandError::NOT_FINITE)?.to_string();
    hash.update(&mut context.keyspace, args[2], sum.as_bytes())?;
    hash.save(&mut context.keyspace)?;
    context.keyspace.notify(EventClasses::HASH, "hincrbyfloat", args[1]);
    reply.bulk(sum);
    Ok(())
}

/// `HRANDFIELD key [count [WITHVALUES]]`
pub(super) fn hrandfield(context: &mut Context<'_>, args: Args<'_>, reply: &mut Reply<'_>) -> Result<(), CommandError> {
    names::random(context, args, reply, Type::Hash, Some("WITHVALUES"))
}

/// `HSCAN key cursor [MATCH pattern] [COUNT count]`
pub(super) fn hscan(context: &mut Context<'_>, args: Args<'_>, reply: &mut Reply<'_>) -> Result<(), CommandError> {
    names::scan(context, args, reply, Type::Hash)
}

#[cfg(test)]
mod tests {
    use basalt_net::resp::Protocol;

    use crate::commands::testing::Shard;

    // The replies are those of redis-server 7.0.15.

    #[test]
    fn fields_are_set_and_read() {
        Shard::new().expect(
            Protocol::Resp2,
            &[
                ("HSET h a 1", ":1"),
                ("HSET h a 2", ":0"),
                ("HSET h a 3 b 4 b 5", ":1"),
                ("HGET h a", "$1 3"),
                ("HGET h b", "$1 5"),
                ("HGET h x", "$-1"),
                ("HGET none x", "$-1"),
                ("HMGET h a x b", "*3 $1 3 $-1 $1 5"),
                ("HMGET none a b", "*2 $-1 $-1"),
                ("HLEN h", ":2"),
                ("HSTRLEN h a", ":1"),
                ("HSTRLEN h x", ":0"),
                ("HEXISTS h a", ":1"),
                ("HEXISTS h x", ":0"),
                ("HDEL h a a x", ":1"),
                ("HGETALL h", "*2 $1 b $1 5"),
                ("HKEYS h", "*1 $1 b"),
                ("HVALS h", "*1 $1 5"),
                ("HMSET h b 6", "+OK"),
                ("HSETNX h b 7", ":0"),
                ("HSETNX h c 8", ":1"),
                ("HDEL h b c", ":2"),
                ("HLEN h", ":0"),
                ("HGETALL h", "*0"),
                ("HKEYS h", "*0"),
                ("HVALS h", "*0"),
                ("HDEL h a", ":0"),
            ],
        );
    }

    #[test]
    fn increments_count_and_overflow() {
        Shard::new().expect(
            Protocol::Resp2,
            &[
                ("HINCRBY h a 5", ":5"),
                ("HINCRBY h a -7", ":-2"),
                ("HGET h a", "$2 -2"),
                ("HSET h a 9223372036854775807", ":0"),
                ("HINCRBY h a 1", "-ERR increment or decrement would overflow"),
                ("HINCRBY h a -1", ":9223372036854775806"),
                ("HSET h a -9223372036854775808", ":0"),
                ("HINCRBY h a -1", "-ERR increment or decrement would overflow"),
                ("HSET h a x", ":0"),
                ("HINCRBY h a 1", "-ERR hash value is not an integer"),
                ("HINCRBY h b 1.5", "-ERR value is not an integer or out of range"),
                ("HLEN h", ":1"),
            ],
        );
    }

    #[test]
    fn errors_are_those_of_redis() {
        Shard::new().expect(
            Protocol::Resp2,
            &[
                ("HSET h a", "-ERR wrong number of arguments for 'hset' command"),
                ("HSET h a 1 b", "-ERR wrong number of arguments for 'hset' command"),
                ("HMSET h a 1 b", "-ERR wrong number of arguments for 'hmset' command"),
                ("HINCRBY h a x", "-ERR value is not an integer or out of range"),
                ("RPUSH l a", ":1"),
                ("HSET l a 1", "-WRONGTYPE Operation against a key holding the wrong kind of value"),
                ("HMSET l a 1", "-WRONGTYPE Operation against a key holding the wrong kind of value"),
                ("HSETNX l a 1", "-WRONGTYPE Operation against a key holding the wrong kind of value"),
                ("HGET l a", "-WRONGTYPE Operation against a key holding the wrong kind of value"),
                ("HMGET l a", "-WRONGTYPE Operation against a key holding the wrong kind of value"),
                ("HDEL l a", "-WRONGTYPE Operation against a key holding the wrong kind of value"),
                ("HLEN l", "-WRONGTYPE Operation against a key holding the wrong kind of value"),
                ("HSTRLEN l a", "-WRONGTYPE Operation against a key holding the wrong kind of value"),
                ("HEXISTS l a", "-WRONGTYPE Operation against a key holding the wrong kind of value"),
                ("HGETALL l", "-WRONGTYPE Operation against a key holding the wrong kind of value"),
                ("HKEYS l", "-WRONGTYPE Operation against a key holding the wrong kind of value"),
                ("HVALS l", "-WRONGTYPE Operation against a key holding the wrong kind of value"),
                ("HINCRBY l a 1", "-WRONGTYPE Operation against a key holding the wrong kind of value"),
                ("HINCRBY l a x", "-ERR value is not an integer or out of range"),
            ],
        );
    }

    #[test]
    fn hashes_are_maps_in_resp3() {
        Shard::new().expect(
            Protocol::Resp3,
            &[
                ("HSET h a 1", ":1"),
                ("HGETALL h", "%1 $1 a $1 1"),
                ("HGETALL none", "%0"),
                ("HKEYS h", "*1 $1 a"),
                ("HVALS h", "*1 $1 1"),
                ("HKEYS none", "*0"),
                ("HGET none a", "_"),
                ("HMGET none a", "*1 _"),
            ],
        );
    }
}
