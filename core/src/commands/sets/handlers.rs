//! Handlers of the commands on sets.

use basalt_net::resp::Reply;
use basalt_storage::keyspace::{EventClasses, Type};

use crate::commands::{Args, CommandError, Context, names, parse_usize};

/// `SADD key member [member …]`
pub(super) fn sadd(context: &mut Context<'_>, args: Args<'_>, reply: &mut Reply<'_>) -> Result<(), CommandError> {
    let mut set = context.keyspace.set_or_new(args[1])?;
    let before = set.len();
    for member in &args[2..] {
        set.insert(&mut context.keyspace, member)?;
    }
    if set.len() > before {
        set.save(&mut context.keyspace)?;
        context.keyspace.notify(EventClasses::SET, "sadd", args[1]);
    }
    reply.integer((set.len() - before) as i64);
    Ok(())
}

/// `SREM key member [member …]`
pub(super) fn srem(context: &mut Context<'_>, args: Args<'_>, reply: &mut Reply<'_>) -> Result<(), CommandError> {
    let Some(mut set) = context.keyspace.set(args[1])? else {
        reply.integer(0);
        return Ok(());
    };
    let before = set.len();
    for member in &args[2..] {
        set.remove(&mut context.keyspace, member)?;
    }
    let removed = before - set.len();
    if removed > 0 {
        set.save(&mut context.keyspace)?;
        context.keyspace.notify_taken(EventClasses::SET, "srem", args[1], set.is_empty());
    }
    reply.integer(removed as i64);
    Ok(())
}

/// `SCARD key`
pub(super) fn scard(context: &mut Context<'_>, args: Args<'_>, reply: &mut Reply<'_>) -> Result<(), CommandError> {
    let set = context.keyspace.set(args[1])?;
    reply.integer(set.map_or(0, |set| set.len() as i64));
    Ok(())
}

/// `SISMEMBER key member`
pub(super) fn sismember(context: &mut Context<'_>, args: Args<'_>, reply: &mut Reply<'_>) -> Result<(), CommandError> {
    let is_member = match context.keyspace.set(args[1])? {
        Some(set) => set.contains(&context.keyspace, args[2])?,
        None => false,
    };
    reply.integer(i64::from(is_member));
    Ok(())
}

/// `SMISMEMBER key member [member …]`
pub(super) fn smismember(context: &mut Context<'_>, args: Args<'_>, reply: &mut Reply<'_>) -> Result<(), CommandError> {
    let set = context.keyspace.set(args[1])?;
    reply.array(args.len() - 2);
    for member in &args[2..] {
        let is_member = match &set {
            Some(set) => set.contains(&context.keyspace, member)?,
            None => false,
        };
        reply.integer(i64::from(is_member));
    }
    Ok(())
}

/// `SMEMBERS key`
pub(super) fn smembers(context: &mut Context<'_>, args: Args<'_>, reply: &mut Reply<'_>) -> Result<(), CommandError> {
    let Some(set) = context.keyspace.set(args[1])? else {
        reply.set(0);
        return Ok(());
    };
    reply.set(set.len() as usize);
    set.each(&context.keyspace, &mut |member| reply.bulk(member))?;
    Ok(())
}

/// `SPOP key [count]`
pub(super) fn spop(context: &mut Context<'_>, args: Args<'_>, reply: &mut Reply<'_>) -> Result<(), CommandError> {
    let count = match args {
        [_, _] => None,
        [_, _, count] => Some(parse_usize(count)? as u64),
        _ => return Err(CommandError::SYNTAX),
    };
    let Some(mut set) = context.keyspace.set(args[1])? else {
        match count {
            None => reply.null(),
            Some(_) => reply.set(0),
        }
        return Ok(());
    };
    let popped = count.unwrap_or(1).min(set.len());
    if count.is_some() {
        reply.set(popped as usize);
    }
    if popped == 0 {
        return Ok(());
    }
    if popped == set.len() && popped > 1 {
        set.each(&context.keyspace, &mut |member| reply.bulk(member))?;
        set.clear();
    } else {
        for _ in 0..popped {
            let random = context.random.next_u64();
            set.pop(&mut context.keyspace, random, &mut |member| reply.bulk(member))?;
        }
    }
    set.save(&mut context.keyspace)?;
    context.keyspace.notify_taken(EventClasses::SET, "spop", args[1], set.is_empty());
    Ok(())
}

/// `SRANDMEMBER key [count]`
pub(super) fn srandmember(
    context: &mut Context<'_>,
    args: Args<'_>,
    reply: &mut Reply<'_>,
) -> Result<(), CommandError> {
    names::random(context, args, reply, Type::Set, None)
}

/// `SSCAN key cursor [MATCH pattern] [COUNT count]`
pub(super) fn sscan(context: &mut Context<'_>, args: Args<'_>, reply: &mut Reply<'_>) -> Result<(), CommandError> {
    names::scan(context, args, reply, Type::Set)
}

/// `SMOVE source destination member`
pub(super) fn smove(context: &mut Context<'_>, args: Args<'_>, reply: &mut Reply<'_>) -> Result<(), CommandError> {
    let Some(mut source) = context.keyspace.set(args[1])? else {
        reply.integer(0);
        return Ok(());
    };
    context.keyspace.set(args[2])?;
    let is_member = source.contains(&context.keyspace, args[3])?;
    if is_member && args[1] != args[2] {
        let mut destination = context.keyspace.set_or_new(args[2])?;
        source.remove(&mut context.keyspace, args[3])?;
        source.save(&mut context.keyspace)?;
        context.keyspace.notify_taken(EventClasses::SET, "srem", args[1], source.is_empty());
        if destination.insert(&mut context.keyspace, args[3])? {
            destination.save(&mut context.keyspace)?;
            context.keyspace.notify(EventClasses::SET, "sadd", args[2]);
        }
    }
    reply.integer(i64::from(is_member));
    Ok(())
}

#[cfg(test)]
mod tests {
    use basalt_net::resp::Protocol;

    use crate::commands::testing::Shard;

    // The replies are those of redis-server 7.0.15.

    #[test]
    fn members_come_and_go() {
        Shard::new().expect(
            Protocol::Resp2,
            &[
                ("SADD s a", ":1"),
                ("SADD s a", ":0"),
                ("SADD s b a b", ":1"),
                ("SCARD s", ":2"),
                ("SISMEMBER s a", ":1"),
                ("SISMEMBER s x", ":0"),
                ("SISMEMBER none a", ":0"),
                ("SMISMEMBER s a x b", "*3 :1 :0 :1"),
                ("SMISMEMBER none a x", "*2 :0 :0"),
                ("SREM s x", ":0"),
                ("SREM s b x", ":1"),
                ("SMEMBERS s", "*1 $1 a"),
                ("SMEMBERS none", "*0"),
                ("SREM none a", ":0"),
                ("SPOP s 0", "*0"),
                ("SPOP s", "$1 a"),
                ("SPOP s", "$-1"),
                ("SPOP s 3", "*0"),
                ("SCARD s", ":0"),
                ("SADD s a", ":1"),
                ("SPOP s 5", "*1 $1 a"),
                ("SCARD s", ":0"),
            ],
        );
    }

    #[test]
    fn errors_are_those_of_redis() {
        Shard::new().expect(
            Protocol::Resp2,
            &[
                ("SPOP none x", "-ERR value is out of range, must be positive"),
                ("SPOP none -1", "-ERR value is out of range, must be positive"),
                ("SPOP none 1 2", "-ERR syntax error"),
                ("RPUSH l a", ":1"),
                ("SADD l a", "-WRONGTYPE Operation against a key holding the wrong kind of value"),
                ("SREM l a", "-WRONGTYPE Operation against a key holding the wrong kind of value"),
                ("SCARD l", "-WRONGTYPE Operation against a key holding the wrong kind of value"),
                ("SISMEMBER l a", "-WRONGTYPE Operation against a key holding the wrong kind of value"),
                ("SMISMEMBER l a", "-WRONGTYPE Operation against a key holding the wrong kind of value"),
                ("SMEMBERS l", "-WRONGTYPE Operation against a key holding the wrong kind of value"),
                ("SPOP l", "-WRONGTYPE Operation against a key holding the wrong kind of value"),
                ("SPOP l 0", "-WRONGTYPE Operation against a key holding the wrong kind of value"),
                ("SPOP l x", "-ERR value is out of range, must be positive"),
                ("SADD s", "-ERR wrong number of arguments for 'sadd' command"),
            ],
        );
    }

    #[test]
    fn sets_are_sets_in_resp3() {
        Shard::new().expect(
            Protocol::Resp3,
            &[
                ("SADD s a", ":1"),
                ("SMEMBERS s", "~1 $1 a"),
                ("SMEMBERS none", "~0"),
                ("SPOP none", "_"),
                ("SPOP none 2", "~0"),
                ("SISMEMBER s a", ":1"),
                ("SPOP s 2", "~1 $1 a"),
            ],
        );
    }
}
