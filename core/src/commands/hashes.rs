//! Handlers of the commands on hashes.

use basalt_net::resp::Reply;

use super::arguments::read_i64;
use super::{Args, CommandError, Context, parse_i64};

/// What HINCRBY says of a value that is none.
const NOT_AN_INTEGER: CommandError = CommandError::text("ERR hash value is not an integer");

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
    let before = hash.len();
    for [field, value] in pairs {
        hash.insert(&mut context.keyspace, field, value)?;
    }
    let added = hash.len() - before;
    if added > 0 {
        hash.save(&mut context.keyspace)?;
    }
    Ok(added)
}

/// `HSETNX key field value`
pub(super) fn hsetnx(context: &mut Context<'_>, args: Args<'_>, reply: &mut Reply<'_>) -> Result<(), CommandError> {
    let mut hash = context.keyspace.hash_or_new(args[1])?;
    let is_new = hash.get(&context.keyspace, args[2])?.is_none();
    if is_new {
        hash.insert(&mut context.keyspace, args[2], args[3])?;
        hash.save(&mut context.keyspace)?;
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
    let before = hash.len();
    for field in &args[2..] {
        hash.remove(&mut context.keyspace, field)?;
    }
    let removed = before - hash.len();
    if removed > 0 {
        hash.save(&mut context.keyspace)?;
    }
    reply.integer(removed as i64);
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
    reply.map(hash.len() as usize);
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
    reply.array(hash.len() as usize);
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
    if hash.insert(&mut context.keyspace, args[2], sum.to_string().as_bytes())? {
        hash.save(&mut context.keyspace)?;
    }
    reply.integer(sum);
    Ok(())
}
