//! Handlers of XCLAIM and XAUTOCLAIM: what is pending for one consumer becomes another's.

use std::ops::ControlFlow;

use basalt_net::resp::Reply;
use basalt_storage::keyspace::{Group, Pending, Stream, StreamId};
use basalt_storage::{Direction, Error as StorageError};

use super::groups::{consumer_or_new, no_key_or_group, open};
use super::handlers::{parse_id, parse_start, reply_entry};
use crate::commands::arguments::parse_i64_or;
use crate::commands::command_error::until_nul;
use crate::commands::{Args, CommandError, Context};
use crate::limits;

type Outcome = Result<(), CommandError>;

/// Pending entries that XAUTOCLAIM claims if COUNT does not say.
const CLAIMED_DEFAULT: u64 = 100;
/// Pending entries that XAUTOCLAIM looks at for each that it may claim, as Redis does.
const LOOKED_AT_PER_CLAIMED: u64 = 10;

/// One call's claim: who claims what, and what becomes of it.
struct Claim<'a> {
    consumer: &'a [u8],
    idle_min_ms: i64,
    delivered_ms: u64,
    deliveries: Option<u64>,
    is_forced: bool,
    tells_ids_only: bool,
}

/// The outcome of a claim of one entry.
enum Claimed {
    /// It is the claimer's.
    Taken,
    /// It is not pending, or not long enough.
    Left,
    /// It was pending and is not in the stream any more: now it is neither.
    Gone,
}

impl Claim<'_> {
    /// Claims the entry `id`, which is pending as `before`.
    fn take(
        &self,
        context: &mut Context<'_>,
        stream: &Stream,
        group: &mut Group,
        (id, before): (StreamId, Option<Pending>),
    ) -> Result<Claimed, CommandError> {
        if !stream.contains(&context.keyspace, id)? {
            let Some(before) = before else { return Ok(Claimed::Left) };
            group.acknowledge(&mut context.keyspace, stream, id, &before)?;
            return Ok(Claimed::Gone);
        }
        let now_ms = context.keyspace.now_ms();
        let deliveries = match &before {
            Some(before) => {
                let idle_ms = now_ms.wrapping_sub(before.delivered_ms) as i64;
                if self.idle_min_ms > 0 && idle_ms < self.idle_min_ms {
                    return Ok(Claimed::Left);
                }
                before.deliveries
            }
            None if self.is_forced => 1,
            None => return Ok(Claimed::Left),
        };
        let deliveries = match self.deliveries {
            Some(deliveries) => deliveries,
            None if self.tells_ids_only => deliveries,
            None => deliveries.wrapping_add(1),
        };
        let (consumer, _) = consumer_or_new(context, stream, group, self.consumer)?;
        consumer.seen_ms = now_ms;
        let after = Pending { consumer: self.consumer.into(), delivered_ms: self.delivered_ms, deliveries };
        group.assign(&mut context.keyspace, stream, id, before.as_ref(), &after)?;
        Ok(Claimed::Taken)
    }

    /// Answers the entry `id`, which was taken.
    fn tell(&self, context: &Context<'_>, stream: &Stream, id: StreamId, reply: &mut Reply<'_>) -> Outcome {
        if self.tells_ids_only {
            reply.bulk_display(id);
        } else {
            stream.entry(&context.keyspace, id, &mut |entry| reply_entry(reply, id, entry))?;
        }
        Ok(())
    }
}

fn parse_idle_min(arg: &[u8], text: &'static str) -> Result<i64, CommandError> {
    Ok(parse_i64_or(arg, i64::MIN, text)?.max(0))
}

/// `XCLAIM key group consumer min-idle-time id [id …] [IDLE ms] [TIME unix-time-milliseconds] [RETRYCOUNT count] [FORCE] [JUSTID]
/// [LASTID id]`
pub(super) fn xclaim(context: &mut Context<'_>, args: Args<'_>, reply: &mut Reply<'_>) -> Outcome {
    let (stream, mut group) = open(context, args[1], args[2])?.ok_or_else(|| no_key_or_group(args[1], args[2], ""))?;
    let idle_min_ms = parse_idle_min(args[4], "ERR Invalid min-idle-time argument for XCLAIM")?;
    let ids: Vec<StreamId> = args[5..].iter().map_while(|arg| parse_id(arg, 0).ok()).collect();
    let now_ms = context.keyspace.now_ms();
    let (mut delivered, mut deliveries, mut last) = (-1, -1, StreamId::MIN);
    let (mut is_forced, mut tells_ids_only) = (false, false);
    let mut words = &args[5 + ids.len()..];
    while let [word, rest @ ..] = words {
        words = match (word.to_ascii_lowercase().as_slice(), rest) {
            (b"force", rest) => {
                is_forced = true;
                rest
            }
            (b"justid", rest) => {
                tells_ids_only = true;
                rest
            }
            (b"idle", [value, rest @ ..]) => {
                let idle = parse_i64_or(value, i64::MIN, "ERR Invalid IDLE option argument for XCLAIM")?;
                delivered = (now_ms as i64).wrapping_sub(idle);
                rest
            }
            (b"time", [value, rest @ ..]) => {
                delivered = parse_i64_or(value, i64::MIN, "ERR Invalid TIME option argument for XCLAIM")?;
                rest
            }
            (b"retrycount", [value, rest @ ..]) => {
                deliveries = parse_i64_or(value, i64::MIN, "ERR Invalid RETRYCOUNT option argument for XCLAIM")?;
                rest
            }
            (b"lastid", [value, rest @ ..]) => {
                last = parse_id(value, 0)?;
                rest
            }
            _ => {
                let option = String::from_utf8_lossy(until_nul(word));
                return Err(CommandError::owned(format!("ERR Unrecognized XCLAIM option '{option}'")));
            }
        };
    }
    group.last_delivered = group.last_delivered.max(last);
    // A time that makes no sense is now, as in Redis: clients reckon by clocks of their own.
    let delivered_ms = u64::try_from(delivered).ok().filter(|&ms| ms <= now_ms).unwrap_or(now_ms);
    let deliveries = u64::try_from(deliveries).ok();
    let claim = Claim { consumer: args[3], idle_min_ms, delivered_ms, deliveries, is_forced, tells_ids_only };
    let (mark, mut count) = (reply.mark(), 0);
    for id in ids {
        let before = group.pending(&context.keyspace, &stream, id)?;
        if let Claimed::Taken = claim.take(context, &stream, &mut group, (id, before))? {
            claim.tell(context, &stream, id, reply)?;
            count += 1;
        }
    }
    reply.array_before(mark, count);
    group.save(&mut context.keyspace, &stream)?;
    Ok(())
}

/// `XAUTOCLAIM key group consumer min-idle-time start [COUNT count] [JUSTID]`
pub(super) fn xautoclaim(context: &mut Context<'_>, args: Args<'_>, reply: &mut Reply<'_>) -> Outcome {
    // Looked for before the options are read, as in Redis, which tells it if there is no such key.
    let opened = open(context, args[1], args[2]);
    // Nobody knows yet.
    if let Err(error @ CommandError::Storage(StorageError::Cold(_))) = opened {
        return Err(error);
    }
    let idle_min_ms = parse_idle_min(args[4], "ERR Invalid min-idle-time argument for XAUTOCLAIM")?;
    let start = parse_start(args[5])?;
    let (mut count_max, mut tells_ids_only) = (CLAIMED_DEFAULT, false);
    let mut words = &args[6..];
    while let [word, rest @ ..] = words {
        words = match (word.to_ascii_lowercase().as_slice(), rest) {
            (b"count", [value, rest @ ..]) => {
                count_max = parse_claim_count(value)?;
                rest
            }
            (b"justid", rest) => {
                tells_ids_only = true;
                rest
            }
            _ => return Err(CommandError::SYNTAX),
        };
    }
    let (stream, mut group) = opened?.ok_or_else(|| no_key_or_group(args[1], args[2], ""))?;
    let delivered_ms = context.keyspace.now_ms();
    let claim =
        Claim { consumer: args[3], idle_min_ms, delivered_ms, deliveries: None, is_forced: false, tells_ids_only };
    let mut looked_at = count_max * LOOKED_AT_PER_CLAIMED;
    let (mut next, mut gone, mut taken) = (Some(start), Vec::new(), Vec::new());
    while let (Some(from), true) = (next, looked_at > 0 && count_max > 0) {
        let batch = pending_from(context, &stream, &group, from, looked_at.min(limits::CLAIM_CHUNK))?;
        next = None;
        for (id, before) in batch {
            if looked_at == 0 || count_max == 0 {
                next = Some(id);
                break;
            }
            looked_at -= 1;
            match claim.take(context, &stream, &mut group, (id, Some(before)))? {
                Claimed::Taken => taken.push(id),
                Claimed::Gone => gone.push(id),
                Claimed::Left => {
                    next = id.next();
                    continue;
                }
            }
            count_max -= 1;
            next = id.next();
        }
    }
    let next = match next {
        Some(from) => pending_from(context, &stream, &group, from, 1)?.first().map(|(id, _)| *id),
        None => None,
    };
    reply.array(3);
    reply.bulk_display(next.unwrap_or(StreamId::MIN));
    reply.array(taken.len());
    for id in taken {
        claim.tell(context, &stream, id, reply)?;
    }
    reply.array(gone.len());
    gone.iter().for_each(|id| reply.bulk_display(id));
    group.save(&mut context.keyspace, &stream)?;
    Ok(())
}

/// Reads the COUNT of XAUTOCLAIM, which Redis multiplies.
fn parse_claim_count(arg: &[u8]) -> Result<u64, CommandError> {
    const REFUSED: &str = "ERR COUNT must be > 0";
    let count = parse_i64_or(arg, 1, REFUSED)?;
    if count <= i64::MAX / 16 { Ok(count as u64) } else { Err(CommandError::text(REFUSED)) }
}

/// Reads what is pending from `from` on, up to `count_max` entries.
fn pending_from(
    context: &Context<'_>,
    stream: &Stream,
    group: &Group,
    from: StreamId,
    count_max: u64,
) -> Result<Vec<(StreamId, Pending)>, CommandError> {
    let mut found = Vec::new();
    let range = (from, StreamId::MAX);
    group.each_pending(&context.keyspace, stream, range, Direction::Forward, &mut |id, pending| {
        found.push((id, pending));
        Ok(if (found.len() as u64) < count_max { ControlFlow::Continue(()) } else { ControlFlow::Break(()) })
    })?;
    Ok(found)
}

#[cfg(test)]
mod tests {
    use basalt_net::resp::Protocol;

    use crate::commands::testing::Shard;

    // The replies are those of redis-server 7.0.15.

    #[test]
    fn pending_entries_change_their_consumer() {
        Shard::new().expect(Protocol::Resp2, &[
            ("XADD x 1-1 a 1", "$3 1-1"),
            ("XADD x 2-1 b 2", "$3 2-1"),
            ("XADD x 3-1 c 3", "$3 3-1"),
            ("XGROUP CREATE x g 0", "+OK"),
            ("XREADGROUP GROUP g c COUNT 2 STREAMS x >", "*1 *2 $1 x *2 *2 $3 1-1 *2 $1 a $1 1 *2 $3 2-1 *2 $1 b $1 2"),
            ("XCLAIM x g d 0 1-1 9-9", "*1 *2 $3 1-1 *2 $1 a $1 1"),
            ("XCLAIM x g d 5000000 2-1", "*0"),
            ("XCLAIM x g d 0 1-1 JUSTID RETRYCOUNT 7 IDLE 9000000", "*1 $3 1-1"),
            ("XCLAIM x g d 5000000 1-1 JUSTID", "*1 $3 1-1"),
            ("XCLAIM x g d 0 3-1", "*0"),
            ("XCLAIM x g d 0 3-1 FORCE LASTID 3-1 TIME 1", "*1 *2 $3 3-1 *2 $1 c $1 3"),
            ("XPENDING x g", "*4 :3 $3 1-1 $3 3-1 *2 *2 $1 c $1 1 *2 $1 d $1 2"),
            ("XDEL x 2-1", ":1"),
            ("XCLAIM x g d 0 2-1", "*0"),
            ("XPENDING x g", "*4 :2 $3 1-1 $3 3-1 *1 *2 $1 d $1 2"),
            ("XINFO STREAM x", "*20 $6 length :2 $15 radix-tree-keys :1 $16 radix-tree-nodes :2 $17 last-generated-id $3 3-1 $20 max-deleted-entry-id $3 2-1 $13 entries-added :3 $23 recorded-first-entry-id $3 1-1 $6 groups :1 $11 first-entry *2 $3 1-1 *2 $1 a $1 1 $10 last-entry *2 $3 3-1 *2 $1 c $1 3"),
        ]);
    }

    #[test]
    fn entries_are_claimed_from_an_id_on() {
        Shard::new().expect(
            Protocol::Resp2,
            &[
                ("XADD x 1-1 a 1", "$3 1-1"),
                ("XADD x 2-1 b 2", "$3 2-1"),
                ("XADD x 3-1 c 3", "$3 3-1"),
                ("XGROUP CREATE x g 0", "+OK"),
                (
                    "XREADGROUP GROUP g c STREAMS x >",
                    "*1 *2 $1 x *3 *2 $3 1-1 *2 $1 a $1 1 *2 $3 2-1 *2 $1 b $1 2 *2 $3 3-1 *2 $1 c $1 3",
                ),
                ("XAUTOCLAIM x g d 0 0 COUNT 2", "*3 $3 3-1 *2 *2 $3 1-1 *2 $1 a $1 1 *2 $3 2-1 *2 $1 b $1 2 *0"),
                ("XAUTOCLAIM x g d 0 (2-1 JUSTID", "*3 $3 0-0 *1 $3 3-1 *0"),
                ("XAUTOCLAIM x g d 5000000 -", "*3 $3 0-0 *0 *0"),
                ("XDEL x 2-1", ":1"),
                ("XAUTOCLAIM x g e 0 - COUNT 2 JUSTID", "*3 $3 3-1 *1 $3 1-1 *1 $3 2-1"),
                ("XPENDING x g", "*4 :2 $3 1-1 $3 3-1 *2 *2 $1 d $1 1 *2 $1 e $1 1"),
                ("XAUTOCLAIM x g e 0 +", "*3 $3 0-0 *0 *0"),
            ],
        );
    }

    #[test]
    fn errors_are_those_of_redis() {
        Shard::new().expect(
            Protocol::Resp2,
            &[
                ("RPUSH l a", ":1"),
                ("XCLAIM l g c 0 1", "-WRONGTYPE Operation against a key holding the wrong kind of value"),
                ("XCLAIM none g c 0 1", "-NOGROUP No such key 'none' or consumer group 'g'"),
                ("XAUTOCLAIM none g c 0 0", "-NOGROUP No such key 'none' or consumer group 'g'"),
                ("XAUTOCLAIM l g c 0 0", "-WRONGTYPE Operation against a key holding the wrong kind of value"),
                ("XGROUP CREATE x g 0 MKSTREAM", "+OK"),
                ("XCLAIM x g c x 1", "-ERR Invalid min-idle-time argument for XCLAIM"),
                ("XCLAIM x g c 0 1 IDLE x", "-ERR Invalid IDLE option argument for XCLAIM"),
                ("XCLAIM x g c 0 1 TIME x", "-ERR Invalid TIME option argument for XCLAIM"),
                ("XCLAIM x g c 0 1 RETRYCOUNT x", "-ERR Invalid RETRYCOUNT option argument for XCLAIM"),
                ("XCLAIM x g c 0 1 LASTID x", "-ERR Invalid stream ID specified as stream command argument"),
                ("XCLAIM x g c 0 1 FOO", "-ERR Unrecognized XCLAIM option 'FOO'"),
                ("XCLAIM x g c 0 1 IDLE", "-ERR Unrecognized XCLAIM option 'IDLE'"),
                ("XAUTOCLAIM x g c x 0", "-ERR Invalid min-idle-time argument for XAUTOCLAIM"),
                ("XAUTOCLAIM x g c 0 x", "-ERR Invalid stream ID specified as stream command argument"),
                ("XAUTOCLAIM x g c 0 0 COUNT 0", "-ERR COUNT must be > 0"),
                ("XAUTOCLAIM x g c 0 0 COUNT 576460752303423488", "-ERR COUNT must be > 0"),
                ("XAUTOCLAIM x g c 0 0 FOO", "-ERR syntax error"),
            ],
        );
    }
}
