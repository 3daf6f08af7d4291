//! Handlers of XINFO: what is known of a stream, its consumer groups and their consumers.

use std::ops::ControlFlow;

use basalt_net::resp::Reply;
use basalt_storage::Direction;
use basalt_storage::keyspace::{Consumer, Group, Stream, StreamId};

use super::groups::no_group_of;
use super::handlers::reply_entry;
use super::lag::lag;
use crate::commands::{Args, CommandError, Context, parse_i64};

type Outcome = Result<(), CommandError>;

/// Entries that XINFO STREAM FULL tells of each list if COUNT does not say.
const FULL_COUNT: u64 = 10;
/// Entries of a node of Redis' radix tree by default; XINFO tells of nodes as if there were some.
const NODE_ENTRIES: u64 = 100;

fn open(context: &Context<'_>, key: &[u8]) -> Result<Stream, CommandError> {
    context.keyspace.stream(key)?.ok_or(CommandError::NO_SUCH_KEY)
}

/// `XINFO STREAM key [FULL [COUNT count]]`
pub(super) fn stream(context: &mut Context<'_>, args: Args<'_>, reply: &mut Reply<'_>) -> Outcome {
    let stream = open(context, args[2])?;
    let count = match &args[3..] {
        [] => None,
        [full] if full.eq_ignore_ascii_case(b"full") => Some(FULL_COUNT),
        [full, word, count] if full.eq_ignore_ascii_case(b"full") && word.eq_ignore_ascii_case(b"count") => {
            Some(u64::try_from(parse_i64(count)?).unwrap_or(FULL_COUNT))
        }
        _ => return Err(CommandError::wrong_subcommand_arguments(args)),
    };
    reply.map(if count.is_some() { 9 } else { 10 });
    reply.bulk("length");
    reply.integer(stream.len() as i64);
    let nodes = stream.len().div_ceil(NODE_ENTRIES);
    reply.bulk("radix-tree-keys");
    reply.integer(nodes as i64);
    reply.bulk("radix-tree-nodes");
    reply.integer(nodes as i64 + 1);
    reply.bulk("last-generated-id");
    reply.bulk_display(stream.last_id());
    reply.bulk("max-deleted-entry-id");
    reply.bulk_display(stream.greatest_deleted_id());
    reply.bulk("entries-added");
    reply.integer(stream.entries_added() as i64);
    reply.bulk("recorded-first-entry-id");
    reply.bulk_display(stream.first_id());
    match count {
        Some(count) => full(context, &stream, Some(count).filter(|&count| count > 0), reply),
        None => {
            reply.bulk("groups");
            reply.integer(stream.group_count().into());
            reply.bulk("first-entry");
            edge(context, &stream, Direction::Forward, reply)?;
            reply.bulk("last-entry");
            edge(context, &stream, Direction::Backward, reply)
        }
    }
}

/// Answers the first or the last entry.
fn edge(context: &Context<'_>, stream: &Stream, direction: Direction, reply: &mut Reply<'_>) -> Outcome {
    let mut is_there = false;
    stream.each(&context.keyspace, StreamId::MIN, StreamId::MAX, direction, &mut |id, entry| {
        is_there = true;
        reply_entry(reply, id, entry);
        ControlFlow::Break(())
    })?;
    if !is_there {
        reply.null();
    }
    Ok(())
}

/// Answers the entries and all about the groups, up to `count_max` elements of each list.
fn full(context: &Context<'_>, stream: &Stream, count_max: Option<u64>, reply: &mut Reply<'_>) -> Outcome {
    let flow = |count: u64| if Some(count) == count_max { ControlFlow::Break(()) } else { ControlFlow::Continue(()) };
    reply.bulk("entries");
    let (mark, mut count) = (reply.mark(), 0);
    stream.each(&context.keyspace, StreamId::MIN, StreamId::MAX, Direction::Forward, &mut |id, entry| {
        reply_entry(reply, id, entry);
        count += 1;
        flow(count)
    })?;
    reply.array_before(mark, count as usize);
    reply.bulk("groups");
    reply.array(stream.group_count() as usize);
    stream.each_group(&context.keyspace, &mut |group| {
        reply.map(7);
        reply.bulk("name");
        reply.bulk(group.name());
        reply_progress(stream, &group, reply);
        reply.bulk("pel-count");
        reply.integer(group.pending_count() as i64);
        reply.bulk("pending");
        let (mark, mut count, all) = (reply.mark(), 0, (StreamId::MIN, StreamId::MAX));
        group.each_pending(&context.keyspace, stream, all, Direction::Forward, &mut |id, pending| {
            reply.array(4);
            reply.bulk_display(id);
            reply.bulk(&pending.consumer);
            reply.integer(pending.delivered_ms as i64);
            reply.integer(pending.deliveries as i64);
            count += 1;
            Ok(flow(count))
        })?;
        reply.array_before(mark, count as usize);
        reply.bulk("consumers");
        reply.array(group.consumer_count() as usize);
        group.each_consumer(&context.keyspace, stream, &mut |name, consumer| {
            full_consumer(context, stream, &group, (name, consumer), count_max, reply)?;
            Ok(ControlFlow::Continue(()))
        })?;
        Ok(ControlFlow::Continue(()))
    })?;
    Ok(())
}

fn full_consumer(
    context: &Context<'_>,
    stream: &Stream,
    group: &Group,
    (name, consumer): (&[u8], Consumer),
    count_max: Option<u64>,
    reply: &mut Reply<'_>,
) -> basalt_storage::Result<()> {
    reply.map(4);
    reply.bulk("name");
    reply.bulk(name);
    reply.bulk("seen-time");
    reply.integer(consumer.seen_ms as i64);
    reply.bulk("pel-count");
    reply.integer(consumer.pending as i64);
    reply.bulk("pending");
    let (mark, mut count) = (reply.mark(), 0);
    group.each_owned(&context.keyspace, stream, &consumer, StreamId::MIN, &mut |id| {
        if let Some(pending) = group.pending(&context.keyspace, stream, id)? {
            reply.array(3);
            reply.bulk_display(id);
            reply.integer(pending.delivered_ms as i64);
            reply.integer(pending.deliveries as i64);
            count += 1;
        }
        Ok(if Some(count) == count_max { ControlFlow::Break(()) } else { ControlFlow::Continue(()) })
    })?;
    reply.array_before(mark, count as usize);
    Ok(())
}

/// Answers how far a group has come.
fn reply_progress(stream: &Stream, group: &Group, reply: &mut Reply<'_>) {
    reply.bulk("last-delivered-id");
    reply.bulk_display(group.last_delivered);
    for (name, count) in [("entries-read", group.entries_read.map(|read| read as i64)), ("lag", lag(stream, group))] {
        reply.bulk(name);
        match count {
            Some(count) => reply.integer(count),
            None => reply.null(),
        }
    }
}

/// `XINFO GROUPS key`
pub(super) fn groups(context: &mut Context<'_>, args: Args<'_>, reply: &mut Reply<'_>) -> Outcome {
    let stream = open(context, args[2])?;
    reply.array(stream.group_count() as usize);
    stream.each_group(&context.keyspace, &mut |group| {
        reply.map(6);
        reply.bulk("name");
        reply.bulk(group.name());
        reply.bulk("consumers");
        reply.integer(group.consumer_count() as i64);
        reply.bulk("pending");
        reply.integer(group.pending_count() as i64);
        reply_progress(&stream, &group, reply);
        Ok(ControlFlow::Continue(()))
    })?;
    Ok(())
}

/// `XINFO CONSUMERS key group`
pub(super) fn consumers(context: &mut Context<'_>, args: Args<'_>, reply: &mut Reply<'_>) -> Outcome {
    let stream = open(context, args[2])?;
    let group = stream.group(&context.keyspace, args[3])?.ok_or_else(|| no_group_of(args[3], args[2]))?;
    let now_ms = context.keyspace.now_ms();
    reply.array(group.consumer_count() as usize);
    group.each_consumer(&context.keyspace, &stream, &mut |name, consumer| {
        reply.map(3);
        reply.bulk("name");
        reply.bulk(name);
        reply.bulk("pending");
        reply.integer(consumer.pending as i64);
        reply.bulk("idle");
        reply.integer((now_ms.wrapping_sub(consumer.seen_ms) as i64).max(0));
        Ok(ControlFlow::Continue(()))
    })?;
    Ok(())
}

#[cfg(test)]
mod tests {
    use basalt_net::resp::Protocol;

    use crate::commands::testing::Shard;

    // The replies are those of redis-server 7.0.15.

    #[test]
    fn a_stream_tells_of_itself_and_its_groups() {
        Shard::new().expect(Protocol::Resp2, &[
            ("XADD x 1-1 a 1", "$3 1-1"),
            ("XADD x 2-1 b 2", "$3 2-1"),
            ("XADD x 3-1 c 3", "$3 3-1"),
            ("XGROUP CREATE x g 0", "+OK"),
            ("XGROUP CREATE x h 2-1", "+OK"),
            ("XREADGROUP GROUP g c COUNT 1 NOACK STREAMS x >", "*1 *2 $1 x *1 *2 $3 1-1 *2 $1 a $1 1"),
            ("XINFO STREAM x", "*20 $6 length :3 $15 radix-tree-keys :1 $16 radix-tree-nodes :2 $17 last-generated-id $3 3-1 $20 max-deleted-entry-id $3 0-0 $13 entries-added :3 $23 recorded-first-entry-id $3 1-1 $6 groups :2 $11 first-entry *2 $3 1-1 *2 $1 a $1 1 $10 last-entry *2 $3 3-1 *2 $1 c $1 3"),
            ("XINFO GROUPS x", "*2 *12 $4 name $1 g $9 consumers :1 $7 pending :0 $17 last-delivered-id $3 1-1 $12 entries-read :1 $3 lag :2 *12 $4 name $1 h $9 consumers :0 $7 pending :0 $17 last-delivered-id $3 2-1 $12 entries-read $-1 $3 lag $-1"),
            ("XDEL x 2-1", ":1"),
            ("XINFO GROUPS x", "*2 *12 $4 name $1 g $9 consumers :1 $7 pending :0 $17 last-delivered-id $3 1-1 $12 entries-read :1 $3 lag $-1 *12 $4 name $1 h $9 consumers :0 $7 pending :0 $17 last-delivered-id $3 2-1 $12 entries-read $-1 $3 lag $-1"),
            ("XINFO STREAM none", "-ERR no such key"),
            ("XINFO STREAM x FOO", "-ERR unknown subcommand or wrong number of arguments for 'STREAM'. Try XINFO HELP."),
            ("XINFO STREAM x FULL COUNT", "-ERR unknown subcommand or wrong number of arguments for 'STREAM'. Try XINFO HELP."),
            ("XINFO STREAM x FULL COUNT x", "-ERR value is not an integer or out of range"),
            ("XINFO CONSUMERS x none", "-NOGROUP No such consumer group 'none' for key name 'x'"),
            ("XGROUP DESTROY x g", ":1"),
            ("XINFO STREAM x FULL", "*18 $6 length :2 $15 radix-tree-keys :1 $16 radix-tree-nodes :2 $17 last-generated-id $3 3-1 $20 max-deleted-entry-id $3 2-1 $13 entries-added :3 $23 recorded-first-entry-id $3 1-1 $7 entries *2 *2 $3 1-1 *2 $1 a $1 1 *2 $3 3-1 *2 $1 c $1 3 $6 groups *1 *14 $4 name $1 h $17 last-delivered-id $3 2-1 $12 entries-read $-1 $3 lag $-1 $9 pel-count :0 $7 pending *0 $9 consumers *0"),
            ("XINFO STREAM x FULL COUNT 1", "*18 $6 length :2 $15 radix-tree-keys :1 $16 radix-tree-nodes :2 $17 last-generated-id $3 3-1 $20 max-deleted-entry-id $3 2-1 $13 entries-added :3 $23 recorded-first-entry-id $3 1-1 $7 entries *1 *2 $3 1-1 *2 $1 a $1 1 $6 groups *1 *14 $4 name $1 h $17 last-delivered-id $3 2-1 $12 entries-read $-1 $3 lag $-1 $9 pel-count :0 $7 pending *0 $9 consumers *0"),
            ("XTRIM x MAXLEN 0", ":2"),
            ("XINFO STREAM x", "*20 $6 length :0 $15 radix-tree-keys :0 $16 radix-tree-nodes :1 $17 last-generated-id $3 3-1 $20 max-deleted-entry-id $3 2-1 $13 entries-added :3 $23 recorded-first-entry-id $3 0-0 $6 groups :1 $11 first-entry $-1 $10 last-entry $-1"),
            ("XGROUP CREATECONSUMER x h c", ":1"),
            ("XINFO CONSUMERS x h", "*1 *6 $4 name $1 c $7 pending :0 $4 idle :0"),
        ]);
    }

    #[test]
    fn what_is_told_is_maps_in_resp3() {
        Shard::new().expect(Protocol::Resp3, &[
            ("XADD x 1-1 a 1", "$3 1-1"),
            ("XADD x 2-1 b 2", "$3 2-1"),
            ("XADD x 3-1 c 3", "$3 3-1"),
            ("XGROUP CREATE x g 0", "+OK"),
            ("XGROUP CREATE x h 2-1", "+OK"),
            ("XREADGROUP GROUP g c COUNT 1 NOACK STREAMS x >", "%1 $1 x *1 *2 $3 1-1 *2 $1 a $1 1"),
            ("XINFO STREAM x", "%10 $6 length :3 $15 radix-tree-keys :1 $16 radix-tree-nodes :2 $17 last-generated-id $3 3-1 $20 max-deleted-entry-id $3 0-0 $13 entries-added :3 $23 recorded-first-entry-id $3 1-1 $6 groups :2 $11 first-entry *2 $3 1-1 *2 $1 a $1 1 $10 last-entry *2 $3 3-1 *2 $1 c $1 3"),
            ("XINFO GROUPS x", "*2 %6 $4 name $1 g $9 consumers :1 $7 pending :0 $17 last-delivered-id $3 1-1 $12 entries-read :1 $3 lag :2 %6 $4 name $1 h $9 consumers :0 $7 pending :0 $17 last-delivered-id $3 2-1 $12 entries-read _ $3 lag _"),
            ("XDEL x 2-1", ":1"),
            ("XINFO GROUPS x", "*2 %6 $4 name $1 g $9 consumers :1 $7 pending :0 $17 last-delivered-id $3 1-1 $12 entries-read :1 $3 lag _ %6 $4 name $1 h $9 consumers :0 $7 pending :0 $17 last-delivered-id $3 2-1 $12 entries-read _ $3 lag _"),
            ("XINFO STREAM none", "-ERR no such key"),
            ("XINFO STREAM x FOO", "-ERR unknown subcommand or wrong number of arguments for 'STREAM'. Try XINFO HELP."),
            ("XINFO STREAM x FULL COUNT", "-ERR unknown subcommand or wrong number of arguments for 'STREAM'. Try XINFO HELP."),
            ("XINFO STREAM x FULL COUNT x", "-ERR value is not an integer or out of range"),
            ("XINFO CONSUMERS x none", "-NOGROUP No such consumer group 'none' for key name 'x'"),
            ("XGROUP DESTROY x g", ":1"),
            ("XINFO STREAM x FULL", "%9 $6 length :2 $15 radix-tree-keys :1 $16 radix-tree-nodes :2 $17 last-generated-id $3 3-1 $20 max-deleted-entry-id $3 2-1 $13 entries-added :3 $23 recorded-first-entry-id $3 1-1 $7 entries *2 *2 $3 1-1 *2 $1 a $1 1 *2 $3 3-1 *2 $1 c $1 3 $6 groups *1 %7 $4 name $1 h $17 last-delivered-id $3 2-1 $12 entries-read _ $3 lag _ $9 pel-count :0 $7 pending *0 $9 consumers *0"),
            ("XINFO STREAM x FULL COUNT 1", "%9 $6 length :2 $15 radix-tree-keys :1 $16 radix-tree-nodes :2 $17 last-generated-id $3 3-1 $20 max-deleted-entry-id $3 2-1 $13 entries-added :3 $23 recorded-first-entry-id $3 1-1 $7 entries *1 *2 $3 1-1 *2 $1 a $1 1 $6 groups *1 %7 $4 name $1 h $17 last-delivered-id $3 2-1 $12 entries-read _ $3 lag _ $9 pel-count :0 $7 pending *0 $9 consumers *0"),
            ("XTRIM x MAXLEN 0", ":2"),
            ("XINFO STREAM x", "%10 $6 length :0 $15 radix-tree-keys :0 $16 radix-tree-nodes :1 $17 last-generated-id $3 3-1 $20 max-deleted-entry-id $3 2-1 $13 entries-added :3 $23 recorded-first-entry-id $3 0-0 $6 groups :1 $11 first-entry _ $10 last-entry _"),
            ("XGROUP CREATECONSUMER x h c", ":1"),
            ("XINFO CONSUMERS x h", "*1 %3 $4 name $1 c $7 pending :0 $4 idle :0"),
        ]);
    }
}
