//! Commands on sorted sets that wait for members: what they do when they need not, or may not. See `commands/waits.rs`.

use basalt_net::resp::Reply;
use basalt_storage::keyspace::ScoreEnd;

use super::handlers::{PopFirst, notify_popped};
use crate::commands::waits::parse_timeout;
use crate::commands::{Args, CommandError, Context};

type Outcome = Result<(), CommandError>;

/// `BZPOPMIN key [key …] timeout`
pub(super) fn bzpopmin(context: &mut Context<'_>, args: Args<'_>, reply: &mut Reply<'_>) -> Outcome {
    pop(context, args, reply, ScoreEnd::Lowest)
}

/// `BZPOPMAX key [key …] timeout`
pub(super) fn bzpopmax(context: &mut Context<'_>, args: Args<'_>, reply: &mut Reply<'_>) -> Outcome {
    pop(context, args, reply, ScoreEnd::Highest)
}

fn pop(context: &mut Context<'_>, args: Args<'_>, reply: &mut Reply<'_>, end: ScoreEnd) -> Outcome {
    let (timeout, keys) = args[1..].split_last().ok_or(CommandError::SYNTAX)?;
    parse_timeout(timeout)?;
    for key in keys {
        let Some(mut sorted_set) = context.keyspace.sorted_set(key)? else { continue };
        reply.array(3);
        reply.bulk(key);
        sorted_set.pop(&mut context.keyspace, end, 1, &mut |member, score| {
            reply.bulk(member);
            reply.double(score);
        })?;
        sorted_set.save(&mut context.keyspace)?;
        notify_popped(context, end, key, &sorted_set);
        return Ok(());
    }
    reply.null_array();
    Ok(())
}

/// `BZMPOP timeout numkeys key [key …] MIN | MAX [COUNT count]`
pub(super) fn bzmpop(context: &mut Context<'_>, args: Args<'_>, reply: &mut Reply<'_>) -> Outcome {
    let pop = PopFirst::read(&args[2..])?;
    parse_timeout(args[1])?;
    pop.run(context, reply)
}

#[cfg(test)]
mod tests {
    use basalt_net::resp::Protocol;

    use crate::commands::testing::Shard;

    // The replies are those of redis-server 7.0.15 in a transaction.

    #[test]
    fn without_waiting_they_do_what_they_can() {
        let mut shard = Shard::new();
        shard.expect(
            Protocol::Resp2,
            &[
                ("BZPOPMIN z y 0", "*-1"),
                ("BZMPOP 0 1 z MIN", "*-1"),
                ("ZADD z 1 a 2.5 b 3 c 4 d 5 e", ":5"),
                ("BZPOPMIN y z 0", "*3 $1 z $1 a $1 1"),
                ("BZPOPMAX z y 0.1", "*3 $1 z $1 e $1 5"),
                ("BZMPOP 0 2 y z MAX", "*2 $1 z *1 *2 $1 d $1 4"),
            ],
        );
        shard.expect(
            Protocol::Resp3,
            &[
                ("BZPOPMIN z 0", "*3 $1 z $1 b ,2.5"),
                ("BZMPOP 0 1 z MIN COUNT 5", "*2 $1 z *1 *2 $1 c ,3"),
                ("BZPOPMIN z 0", "_"),
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
                ("BZPOPMIN none s 0", WRONG_TYPE),
                ("BZMPOP 0 1 s MIN", WRONG_TYPE),
                ("BZPOPMAX z -1", "-ERR timeout is negative"),
                ("BZMPOP x 1 z UP", "-ERR syntax error"),
                ("BZMPOP x 1 z MIN", "-ERR timeout is not a float or out of range"),
                ("BZMPOP 0 1 z MIN COUNT 0", "-ERR count should be greater than 0"),
            ],
        );
    }
}
