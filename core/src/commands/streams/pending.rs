//! Handlers of XACK and XPENDING: what was delivered and is not acknowledged.

use std::ops::ControlFlow;

use basalt_net::resp::Reply;
use basalt_storage::Direction;
use basalt_storage::keyspace::{Consumer, Group, Pending, Stream, StreamId};

use super::groups::{no_key_or_group, open};
use super::handlers::{parse_end, parse_id, parse_start};
use crate::commands::{Args, CommandError, Context, parse_i64};

type Outcome = Result<(), CommandError>;

/// `XACK key group id [id …]`
pub(super) fn xack(context: &mut Context<'_>, args: Args<'_>, reply: &mut Reply<'_>) -> Outcome {
    let Some((stream, mut group)) = open(context, args[1], args[2])? else {
        reply.integer(0);
        return Ok(());
    };
    let ids = args[3..].iter().map(|arg| parse_id(arg, 0)).collect::<Result<Vec<_>, _>>()?;
    let mut acknowledged = 0;
    for id in ids {
        if let Some(pending) = group.pending(&context.keyspace, &stream, id)? {
            group.acknowledge(&mut context.keyspace, &stream, id, &pending)?;
            acknowledged += 1;
        }
    }
    if acknowledged > 0 {
        group.save(&mut context.keyspace, &stream)?;
    }
    reply.integer(acknowledged);
    Ok(())
}

/// The pending entries that XPENDING asks for one by one.
struct Asked<'a> {
    idle_min_ms: i64,
    from: StreamId,
    to: StreamId,
    count_max: u64,
    consumer: Option<&'a [u8]>,
}

impl<'a> Asked<'a> {
    fn read(args: Args<'a>) -> Result<Asked<'a>, CommandError> {
        let (mut words, mut idle_min_ms) = (&args[3..], 0);
        if words[0].eq_ignore_ascii_case(b"idle") {
            idle_min_ms = parse_i64(words[1])?;
            words = &words[2..];
        }
        let [start, end, count, rest @ ..] = words else { return Err(CommandError::SYNTAX) };
        let count_max = parse_i64(count)?.max(0) as u64;
        let (from, to) = (parse_start(start)?, parse_end(end)?);
        Ok(Asked { idle_min_ms, from, to, count_max, consumer: rest.first().copied() })
    }
}

/// `XPENDING key group [[IDLE min-idle-time] start end count [consumer]]`
pub(super) fn xpending(context: &mut Context<'_>, args: Args<'_>, reply: &mut Reply<'_>) -> Outcome {
    if args.len() > 3 && !(6..=9).contains(&args.len()) {
        return Err(CommandError::SYNTAX);
    }
    let asked = if args.len() > 3 { Some(Asked::read(args)?) } else { None };
    let (stream, mut group) = open(context, args[1], args[2])?.ok_or_else(|| no_key_or_group(args[1], args[2], ""))?;
    match asked {
        None => summary(context, &stream, &group, reply),
        Some(asked) => {
            let owner = match asked.consumer {
                None => None,
                Some(name) => match group.consumer(&context.keyspace, &stream, name)? {
                    Some(consumer) => Some(*consumer),
                    None => {
                        reply.array(0);
                        return Ok(());
                    }
                },
            };
            one_by_one(context, &stream, &group, owner, &asked, reply)
        }
    }
}

/// Answers how many entries are pending, between which ids, and for whom.
fn summary(context: &Context<'_>, stream: &Stream, group: &Group, reply: &mut Reply<'_>) -> Outcome {
    reply.array(4);
    reply.integer(group.pending_count() as i64);
    if group.pending_count() == 0 {
        reply.null();
        reply.null();
        reply.null_array();
        return Ok(());
    }
    for direction in [Direction::Forward, Direction::Backward] {
        let all = (StreamId::MIN, StreamId::MAX);
        group.each_pending(&context.keyspace, stream, all, direction, &mut |id, _| {
            reply.bulk_display(id);
            Ok(ControlFlow::Break(()))
        })?;
    }
    let (mark, mut count) = (reply.mark(), 0);
    group.each_consumer(&context.keyspace, stream, &mut |name, consumer| {
        if consumer.pending > 0 {
            count += 1;
            reply.array(2);
            reply.bulk(name);
            reply.bulk_display(consumer.pending);
        }
        Ok(ControlFlow::Continue(()))
    })?;
    reply.array_before(mark, count);
    Ok(())
}

/// Answers each entry that is `asked` for, `owner`'s alone if there is one.
fn one_by_one(
    context: &Context<'_>,
    stream: &Stream,
    group: &Group,
    owner: Option<Consumer>,
    asked: &Asked<'_>,
    reply: &mut Reply<'_>,
) -> Outcome {
    let (mark, mut count, now_ms) = (reply.mark(), 0, context.keyspace.now_ms());
    let mut tell = |id: StreamId, pending: &Pending| {
        let idle_ms = now_ms.wrapping_sub(pending.delivered_ms) as i64;
        if idle_ms >= asked.idle_min_ms || asked.idle_min_ms == 0 {
            reply.array(4);
            reply.bulk_display(id);
            reply.bulk(&pending.consumer);
            reply.integer(idle_ms.max(0));
            reply.integer(pending.deliveries as i64);
            count += 1;
        }
        if count < asked.count_max { ControlFlow::Continue(()) } else { ControlFlow::Break(()) }
    };
    if asked.count_max > 0 {
        let range = (asked.from, asked.to);
        match owner {
            None => {
                let visit = &mut |id, pending| Ok(tell(id, &pending));
                group.each_pending(&context.keyspace, stream, range, Direction::Forward, visit)?;
            }
            Some(owner) => group.each_owned(&context.keyspace, stream, &owner, asked.from, &mut |id| {
                if id > asked.to {
                    return Ok(ControlFlow::Break(()));
                }
                let pending = group.pending(&context.keyspace, stream, id)?;
                Ok(pending.map_or(ControlFlow::Continue(()), |pending| tell(id, &pending)))
            })?,
        }
    }
    reply.array_before(mark, count as usize);
    Ok(())
}

#[cfg(test)]
mod tests {
    use basalt_net::resp::Protocol;

    use crate::commands::testing::Shard;

    // The replies are those of redis-server 7.0.15.

    #[test]
    fn what_is_pending_is_told_and_acknowledged() {
        Shard::new().expect(
            Protocol::Resp2,
            &[
                ("XADD x 1-1 a 1", "$3 1-1"),
                ("XADD x 2-1 b 2", "$3 2-1"),
                ("XADD x 3-1 c 3", "$3 3-1"),
                ("XGROUP CREATE x g 0", "+OK"),
                ("XPENDING x g", "*4 :0 $-1 $-1 *-1"),
                (
                    "XREADGROUP GROUP g c COUNT 2 STREAMS x >",
                    "*1 *2 $1 x *2 *2 $3 1-1 *2 $1 a $1 1 *2 $3 2-1 *2 $1 b $1 2",
                ),
                ("XREADGROUP GROUP g d STREAMS x >", "*1 *2 $1 x *1 *2 $3 3-1 *2 $1 c $1 3"),
                ("XPENDING x g", "*4 :3 $3 1-1 $3 3-1 *2 *2 $1 c $1 2 *2 $1 d $1 1"),
                ("XCLAIM x g c 0 1-1 2-1 IDLE 5000000 JUSTID", "*2 $3 1-1 $3 2-1"),
                ("XPENDING x g IDLE 1000000 - + 10 none", "*0"),
                ("XPENDING x g IDLE 90000000 - + 10", "*0"),
                ("XPENDING x g (1-1 (2-1 10 c", "*0"),
                ("XACK x g 1-1 3-1 9-9", ":2"),
                ("XACK x g 1-1", ":0"),
                ("XPENDING x g", "*4 :1 $3 2-1 $3 2-1 *1 *2 $1 c $1 1"),
                ("XACK x none 2-1", ":0"),
                ("XACK none g 2-1", ":0"),
                ("XACK x g 2-1", ":1"),
                ("XREADGROUP GROUP g c STREAMS x >", "*-1"),
                ("XADD x 4-1 a 1", "$3 4-1"),
                ("XREADGROUP GROUP g c STREAMS x >", "*1 *2 $1 x *1 *2 $3 4-1 *2 $1 a $1 1"),
                ("XPENDING x g - + 10", "*1 *4 $3 4-1 $1 c :0 :1"),
                ("XPENDING x g IDLE 1 - + 10", "*0"),
                ("XPENDING x g - + 0 c", "*0"),
            ],
        );
    }

    #[test]
    fn errors_are_those_of_redis() {
        Shard::new().expect(
            Protocol::Resp2,
            &[
                ("XADD x 1-1 a 1", "$3 1-1"),
                ("RPUSH l a", ":1"),
                ("XPENDING x g", "-NOGROUP No such key 'x' or consumer group 'g'"),
                ("XPENDING none g - + 1", "-NOGROUP No such key 'none' or consumer group 'g'"),
                ("XPENDING l g", "-WRONGTYPE Operation against a key holding the wrong kind of value"),
                ("XPENDING x g -", "-ERR syntax error"),
                ("XPENDING x g - + x", "-ERR value is not an integer or out of range"),
                ("XPENDING x g IDLE 5 - +", "-ERR syntax error"),
                ("XPENDING x g IDLE x - + 1", "-ERR value is not an integer or out of range"),
                (
                    "XPENDING x g (18446744073709551615-18446744073709551615 + 1",
                    "-ERR invalid start ID for the interval",
                ),
                ("XPENDING x g - (0-0 1", "-ERR invalid end ID for the interval"),
                ("XPENDING x g x + 1", "-ERR Invalid stream ID specified as stream command argument"),
                ("XACK l g 1", "-WRONGTYPE Operation against a key holding the wrong kind of value"),
                ("XGROUP CREATE x g 0", "+OK"),
                ("XACK x g x", "-ERR Invalid stream ID specified as stream command argument"),
            ],
        );
    }
}
