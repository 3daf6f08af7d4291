//! Commands on lists that wait for elements: what they do when they need not, or may not. See `commands/waits.rs`.

use basalt_net::resp::Reply;
use basalt_storage::Error as StorageError;
use basalt_storage::keyspace::{End, EventClasses};

use super::handlers::pop_event;
use super::moving::{PopFirst, move_element, parse_end};
use crate::commands::waits::parse_timeout;
use crate::commands::{Args, CommandError, Context};

type Outcome = Result<(), CommandError>;

/// `BLPOP key [key …] timeout`
pub(super) fn blpop(context: &mut Context<'_>, args: Args<'_>, reply: &mut Reply<'_>) -> Outcome {
    pop(context, args, reply, End::Head)
}

/// `BRPOP key [key …] timeout`
pub(super) fn brpop(context: &mut Context<'_>, args: Args<'_>, reply: &mut Reply<'_>) -> Outcome {
    pop(context, args, reply, End::Tail)
}

fn pop(context: &mut Context<'_>, args: Args<'_>, reply: &mut Reply<'_>, end: End) -> Outcome {
    let (timeout, keys) = args[1..].split_last().ok_or(CommandError::SYNTAX)?;
    parse_timeout(timeout)?;
    for key in keys {
        let Some(mut list) = context.keyspace.list(key)? else { continue };
        reply.array(2);
        reply.bulk(key);
        list.pop(&mut context.keyspace, end, 1, &mut |value| reply.bulk(value))?;
        list.save(&mut context.keyspace);
        context.keyspace.notify_taken(EventClasses::LIST, pop_event(end), key, list.is_empty());
        return Ok(());
    }
    reply.null_array();
    Ok(())
}

/// `BLMOVE source destination LEFT | RIGHT LEFT | RIGHT timeout`
pub(super) fn blmove(context: &mut Context<'_>, args: Args<'_>, reply: &mut Reply<'_>) -> Outcome {
    let (from, to) = (parse_end(args[3])?, parse_end(args[4])?);
    parse_timeout(args[5])?;
    move_element(context, args, reply, from, to)
}

/// `BRPOPLPUSH source destination timeout`
pub(super) fn brpoplpush(context: &mut Context<'_>, args: Args<'_>, reply: &mut Reply<'_>) -> Outcome {
    parse_timeout(args[3])?;
    move_element(context, args, reply, End::Tail, End::Head)
}

/// `BLMPOP timeout numkeys key [key …] LEFT | RIGHT [COUNT count]`
pub(super) fn blmpop(context: &mut Context<'_>, args: Args<'_>, reply: &mut Reply<'_>) -> Outcome {
    let pop = PopFirst::read(&args[2..])?;
    parse_timeout(args[1])?;
    pop.run(context, reply)
}

/// Does as BLMOVE or BRPOPLPUSH, with the arguments of either, for a client that waits for a list at the source: another type there
/// is nothing to it. One at the destination is an error, as for everybody.
pub(super) fn step_move(context: &mut Context<'_>, args: Args<'_>, reply: &mut Reply<'_>) -> Outcome {
    match context.keyspace.list(args[1]) {
        Err(StorageError::WrongType) => {
            reply.null();
            Ok(())
        }
        Err(error) => Err(error.into()),
        Ok(_) if args.len() == 4 => brpoplpush(context, args, reply),
        Ok(_) => blmove(context, args, reply),
    }
}

/// Looks for the first of some keys that there is: `key [key …]`. The reply is its index, or -1.
pub(super) fn step_look(context: &mut Context<'_>, args: Args<'_>, reply: &mut Reply<'_>) -> Outcome {
    for (index, key) in args[1..].iter().enumerate() {
        if context.keyspace.lookup(key)?.record.is_some() {
            reply.integer(index as i64);
            return Ok(());
        }
    }
    reply.integer(-1);
    Ok(())
}

#[cfg(test)]
mod tests {
    use basalt_net::resp::Protocol;

    use crate::commands::testing::Shard;

    // The replies are those of redis-server 7.0.15 in a transaction.

    #[test]
    fn without_waiting_they_do_what_they_can() {
        Shard::new().expect(
            Protocol::Resp2,
            &[
                ("BLPOP l 0", "*-1"),
                ("BRPOP k l 0", "*-1"),
                ("BLMOVE l k LEFT LEFT 0", "$-1"),
                ("BRPOPLPUSH l k 0", "$-1"),
                ("BLMPOP 0 2 k l LEFT", "*-1"),
                ("RPUSH l a b c d e f", ":6"),
                ("BLPOP k l 0", "*2 $1 l $1 a"),
                ("BRPOP l k 1.5", "*2 $1 l $1 f"),
                ("BLMOVE l k RIGHT LEFT 0", "$1 e"),
                ("BRPOPLPUSH l k 0", "$1 d"),
                ("BLMPOP 0 2 k l RIGHT COUNT 2", "*2 $1 k *2 $1 e $1 d"),
                ("BLMPOP 0 2 k l LEFT", "*2 $1 l *1 $1 b"),
                ("LRANGE l 0 -1", "*1 $1 c"),
            ],
        );
    }

    #[test]
    fn errors_are_those_of_redis() {
        const WRONG_TYPE: &str = "-WRONGTYPE Operation against a key holding the wrong kind of value";
        Shard::new().expect(
            Protocol::Resp2,
            &[
                ("SET s v", "+OK"),
                ("RPUSH l a b", ":2"),
                ("BLPOP s l 0", WRONG_TYPE),
                ("BLPOP l s 0", "*2 $1 l $1 a"),
                ("BLMOVE l s LEFT LEFT 0", WRONG_TYPE),
                ("BLPOP l -1", "-ERR timeout is negative"),
                ("BRPOP l x", "-ERR timeout is not a float or out of range"),
                ("BLMOVE l s UP LEFT x", "-ERR syntax error"),
                ("BLMOVE l s LEFT LEFT x", "-ERR timeout is not a float or out of range"),
                ("BRPOPLPUSH l s x", "-ERR timeout is not a float or out of range"),
                ("BLMPOP x 0 l LEFT", "-ERR numkeys should be greater than 0"),
                ("BLMPOP x 1 l UP", "-ERR syntax error"),
                ("BLMPOP x 1 l LEFT COUNT 0", "-ERR count should be greater than 0"),
                ("BLMPOP -1 1 l LEFT", "-ERR timeout is negative"),
                ("BLPOP l", "-ERR wrong number of arguments for 'blpop' command"),
                ("LRANGE l 0 -1", "*1 $1 b"),
            ],
        );
    }
}
