//! Handlers of XREAD and XREADGROUP: entries behind an id, of several streams. Those that wait for entries are in `waiting.rs`.

use std::ops::ControlFlow;

use basalt_net::resp::{Protocol, Reply};
use basalt_storage::Direction;
use basalt_storage::keyspace::{Group, Pending, Stream, StreamId};

use super::groups::{consumer_or_new, no_key_or_group, open};
use super::handlers::{parse_id, reply_entry};
use super::lag::count_read;
use crate::commands::{Args, CommandError, Context, parse_i64};

type Outcome = Result<(), CommandError>;

const ONLY_GROUP_READS_NEW: CommandError = CommandError::text(
    "ERR The > ID can be specified only when calling XREADGROUP using the GROUP <group> <consumer> option.",
);
const GROUP_READS_NO_LAST: CommandError = CommandError::text(
    "ERR The $ ID is meaningless in the context of XREADGROUP: you want to read the history of this consumer by specifying a proper \
     ID, or use the > ID to get new messages. The $ ID would just return an empty result set.",
);

/// A call of XREAD or XREADGROUP, taken apart.
pub(super) struct Request<'a> {
    /// Entries of a stream at most.
    count_max: Option<u64>,
    /// The names of the group and its consumer.
    pub(super) group: Option<(&'a [u8], &'a [u8])>,
    /// True if what is delivered is not pending.
    is_acknowledged: bool,
    /// The milliseconds that it may wait, if it may; 0 is for ever.
    pub(super) block_ms: Option<u64>,
    pub(super) keys: Args<'a>,
    pub(super) ids: Args<'a>,
}

impl<'a> Request<'a> {
    pub(super) fn read(args: Args<'a>, is_of_group: bool) -> Result<Request<'a>, CommandError> {
        let (mut count_max, mut group, mut is_acknowledged, mut block_ms) = (None, None, false, None);
        let mut words = &args[1..];
        loop {
            let [word, rest @ ..] = words else { return Err(CommandError::SYNTAX) };
            words = match (word.to_ascii_lowercase().as_slice(), rest) {
                (b"block", [timeout, rest @ ..]) => {
                    block_ms = Some(parse_block(timeout)?);
                    rest
                }
                (b"count", [count, rest @ ..]) => {
                    count_max = Some(parse_i64(count)?.max(0) as u64);
                    rest
                }
                (b"streams", [_, ..]) => {
                    words = rest;
                    break;
                }
                (b"group", [_, _, ..]) if !is_of_group => {
                    return Err(CommandError::text(
                        "ERR The GROUP option is only supported by XREADGROUP. You called XREAD instead.",
                    ));
                }
                (b"group", [name, consumer, rest @ ..]) => {
                    group = Some((*name, *consumer));
                    rest
                }
                (b"noack", _) if !is_of_group => {
                    return Err(CommandError::text(
                        "ERR The NOACK option is only supported by XREADGROUP. You called XREAD instead.",
                    ));
                }
                (b"noack", rest) => {
                    is_acknowledged = true;
                    rest
                }
                _ => return Err(CommandError::SYNTAX),
            };
        }
        if !words.len().is_multiple_of(2) {
            return Err(CommandError::text(
                "ERR Unbalanced XREAD list of streams: for each stream key an ID or '$' must be specified.",
            ));
        }
        if is_of_group && group.is_none() {
            return Err(CommandError::text("ERR Missing GROUP option for XREADGROUP"));
        }
        let (keys, ids) = words.split_at(words.len() / 2);
        Ok(Request { count_max: count_max.filter(|&count| count > 0), group, is_acknowledged, block_ms, keys, ids })
    }
}

/// Reads the milliseconds that a call may wait.
fn parse_block(timeout: &[u8]) -> Result<u64, CommandError> {
    let timeout =
        parse_i64(timeout).map_err(|_| CommandError::text("ERR timeout is not an integer or out of range"))?;
    u64::try_from(timeout).map_err(|_| CommandError::text("ERR timeout is negative"))
}

/// The streams that have something to tell, as they are answered.
struct Streams {
    mark: usize,
    count: usize,
}

impl Streams {
    fn begin(reply: &Reply<'_>) -> Streams {
        Streams { mark: reply.mark(), count: 0 }
    }

    fn name(&mut self, reply: &mut Reply<'_>, key: &[u8]) {
        self.count += 1;
        if reply.protocol() == Protocol::Resp2 {
            reply.array(2);
        }
        reply.bulk(key);
    }

    fn end(self, reply: &mut Reply<'_>) {
        match (self.count, reply.protocol()) {
            (0, _) => reply.null_array(),
            (count, Protocol::Resp2) => reply.array_before(self.mark, count),
            (count, Protocol::Resp3) => reply.map_before(self.mark, count),
        }
    }
}

/// `XREAD [COUNT count] [BLOCK milliseconds] STREAMS key [key …] id [id …]`
pub(super) fn xread(context: &mut Context<'_>, args: Args<'_>, reply: &mut Reply<'_>) -> Outcome {
    read_streams(context, args, reply).map(drop)
}

/// Reads streams. If there was nothing, returns the ids behind which it has looked.
pub(super) fn read_streams(
    context: &mut Context<'_>,
    args: Args<'_>,
    reply: &mut Reply<'_>,
) -> Result<Option<Vec<StreamId>>, CommandError> {
    let request = Request::read(args, false)?;
    let mut opened = Vec::with_capacity(request.keys.len());
    for (key, id) in request.keys.iter().zip(request.ids) {
        let stream = context.keyspace.stream(key)?;
        let after = match *id {
            b"$" => stream.as_ref().map_or(StreamId::MIN, Stream::last_id),
            b">" => return Err(ONLY_GROUP_READS_NEW),
            id => parse_id(id, 0)?,
        };
        opened.push((stream, after));
    }
    let mut streams = Streams::begin(reply);
    for (key, (stream, after)) in request.keys.iter().zip(&opened) {
        let Some(stream) = stream else {
            // Redis looks twice.
            context.keyspace.notify_miss(key);
            continue;
        };
        if !has_after(context, stream, *after)? {
            continue;
        }
        streams.name(reply, key);
        reply_after(context, stream, *after, request.count_max, reply, &mut |_| {})?;
    }
    let has_some = streams.count > 0;
    streams.end(reply);
    Ok((!has_some).then(|| opened.into_iter().map(|(_, after)| after).collect()))
}

/// `XREADGROUP GROUP group consumer [COUNT count] [BLOCK milliseconds] [NOACK] STREAMS key [key …] id [id …]`
pub(super) fn xreadgroup(context: &mut Context<'_>, args: Args<'_>, reply: &mut Reply<'_>) -> Outcome {
    let request = Request::read(args, true)?;
    let (group_name, consumer_name) = request.group.unwrap_or_default();
    let mut afters = Vec::with_capacity(request.keys.len());
    for (key, id) in request.keys.iter().zip(request.ids) {
        if open(context, key, group_name)?.is_none() {
            return Err(no_key_or_group(key, group_name, " in XREADGROUP with GROUP option"));
        }
        afters.push(match *id {
            b"$" => return Err(GROUP_READS_NO_LAST),
            b">" => None,
            id => Some(parse_id(id, 0)?).filter(|&id| id != StreamId::MAX),
        });
    }
    let mut streams = Streams::begin(reply);
    for (key, after) in request.keys.iter().zip(afters) {
        // Opened once more: the key may have been before this one, too.
        let Some((stream, mut group)) = open(context, key, group_name)? else { continue };
        if after.is_none() && !has_after(context, &stream, group.last_delivered)? {
            continue;
        }
        streams.name(reply, key);
        let (consumer, _) = consumer_or_new(context, &stream, &mut group, consumer_name)?;
        consumer.seen_ms = context.keyspace.now_ms();
        match after {
            Some(after) => deliver_again(context, &stream, &mut group, consumer_name, after, &request, reply)?,
            None => deliver_new(context, &stream, &mut group, consumer_name, &request, reply)?,
        }
        group.save(&mut context.keyspace, &stream)?;
    }
    streams.end(reply);
    Ok(())
}

/// Delivers entries that nobody of the group had yet.
fn deliver_new(
    context: &mut Context<'_>,
    stream: &Stream,
    group: &mut Group,
    consumer: &[u8],
    request: &Request<'_>,
    reply: &mut Reply<'_>,
) -> Outcome {
    let mut ids = Vec::new();
    reply_after(context, stream, group.last_delivered, request.count_max, reply, &mut |id| ids.push(id))?;
    let delivered_ms = context.keyspace.now_ms();
    let after = Pending { consumer: consumer.into(), delivered_ms, deliveries: 1 };
    for id in ids {
        count_read(stream, group, id);
        group.last_delivered = id;
        if !request.is_acknowledged {
            let before = group.pending(&context.keyspace, stream, id)?;
            group.assign(&mut context.keyspace, stream, id, before.as_ref(), &after)?;
        }
    }
    Ok(())
}

/// Delivers entries once more that are pending for the consumer.
fn deliver_again(
    context: &mut Context<'_>,
    stream: &Stream,
    group: &mut Group,
    consumer: &[u8],
    after: StreamId,
    request: &Request<'_>,
    reply: &mut Reply<'_>,
) -> Outcome {
    let Some(from) = after.next() else {
        reply.array(0);
        return Ok(());
    };
    let (owner, _) = group.consumer_or_new(&context.keyspace, stream, consumer)?;
    let owner = *owner;
    let (mark, mut count, mut delivered) = (reply.mark(), 0, Vec::new());
    group.each_owned(&context.keyspace, stream, &owner, from, &mut |id| {
        let is_there = stream.entry(&context.keyspace, id, &mut |entry| reply_entry(reply, id, entry))?;
        if is_there {
            delivered.push(id);
        } else {
            reply.array(2);
            reply.bulk_display(id);
            reply.null_array();
        }
        count += 1;
        Ok(if Some(count) == request.count_max { ControlFlow::Break(()) } else { ControlFlow::Continue(()) })
    })?;
    reply.array_before(mark, count as usize);
    let delivered_ms = context.keyspace.now_ms();
    for id in delivered {
        let Some(before) = group.pending(&context.keyspace, stream, id)? else { continue };
        let deliveries = before.deliveries.wrapping_add(1);
        let after = Pending { delivered_ms, deliveries, ..before.clone() };
        group.assign(&mut context.keyspace, stream, id, Some(&before), &after)?;
    }
    Ok(())
}

/// Returns whether `stream` has an entry behind `after`.
fn has_after(context: &Context<'_>, stream: &Stream, after: StreamId) -> Result<bool, CommandError> {
    let (Some(from), true) = (after.next(), after < stream.last_id()) else { return Ok(false) };
    let mut is_there = false;
    stream.each(&context.keyspace, from, StreamId::MAX, Direction::Forward, &mut |_, _| {
        is_there = true;
        ControlFlow::Break(())
    })?;
    Ok(is_there)
}

/// Answers the entries behind `after`, and tells `visit` of each.
fn reply_after(
    context: &Context<'_>,
    stream: &Stream,
    after: StreamId,
    count_max: Option<u64>,
    reply: &mut Reply<'_>,
    visit: &mut dyn FnMut(StreamId),
) -> Outcome {
    let (mark, mut count) = (reply.mark(), 0);
    if let Some(from) = after.next() {
        stream.each(&context.keyspace, from, StreamId::MAX, Direction::Forward, &mut |id, entry| {
            reply_entry(reply, id, entry);
            visit(id);
            count += 1;
            if Some(count) == count_max { ControlFlow::Break(()) } else { ControlFlow::Continue(()) }
        })?;
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
    fn entries_behind_an_id_are_read_of_several_streams() {
        Shard::new().expect(
            Protocol::Resp2,
            &[
                ("XADD x 1-1 a 1", "$3 1-1"),
                ("XADD x 2-1 b 2", "$3 2-1"),
                ("XADD y 3-1 c 3", "$3 3-1"),
                (
                    "XREAD STREAMS x y 0 0",
                    "*2 *2 $1 x *2 *2 $3 1-1 *2 $1 a $1 1 *2 $3 2-1 *2 $1 b $1 2 *2 $1 y *1 *2 $3 3-1 *2 $1 c $1 3",
                ),
                (
                    "XREAD COUNT 1 STREAMS x y 0 0",
                    "*2 *2 $1 x *1 *2 $3 1-1 *2 $1 a $1 1 *2 $1 y *1 *2 $3 3-1 *2 $1 c $1 3",
                ),
                ("XREAD STREAMS x y 2-1 3-0", "*1 *2 $1 y *1 *2 $3 3-1 *2 $1 c $1 3"),
                ("XREAD STREAMS x $", "*-1"),
                ("XREAD STREAMS none 0", "*-1"),
                ("XREAD COUNT -1 STREAMS x 1-1", "*1 *2 $1 x *1 *2 $3 2-1 *2 $1 b $1 2"),
                ("XDEL x 2-1", ":1"),
                ("XREAD STREAMS x 1-1", "*-1"),
            ],
        );
    }

    #[test]
    fn a_group_delivers_each_entry_once_and_what_is_pending_again() {
        Shard::new().expect(
            Protocol::Resp2,
            &[
                ("XADD x 1-1 a 1", "$3 1-1"),
                ("XADD x 2-1 b 2", "$3 2-1"),
                ("XADD x 3-1 c 3", "$3 3-1"),
                ("XGROUP CREATE x g 0", "+OK"),
                ("XREADGROUP GROUP g c COUNT 1 STREAMS x >", "*1 *2 $1 x *1 *2 $3 1-1 *2 $1 a $1 1"),
                ("XREADGROUP GROUP g d COUNT 1 NOACK STREAMS x >", "*1 *2 $1 x *1 *2 $3 2-1 *2 $1 b $1 2"),
                ("XREADGROUP GROUP g d STREAMS x >", "*1 *2 $1 x *1 *2 $3 3-1 *2 $1 c $1 3"),
                ("XREADGROUP GROUP g d STREAMS x >", "*-1"),
                ("XREADGROUP GROUP g c STREAMS x 0", "*1 *2 $1 x *1 *2 $3 1-1 *2 $1 a $1 1"),
                ("XREADGROUP GROUP g d STREAMS x 0", "*1 *2 $1 x *1 *2 $3 3-1 *2 $1 c $1 3"),
                ("XDEL x 3-1", ":1"),
                ("XREADGROUP GROUP g d STREAMS x 0", "*1 *2 $1 x *1 *2 $3 3-1 *-1"),
                ("XREADGROUP GROUP g d STREAMS x 3-1", "*1 *2 $1 x *0"),
                ("XPENDING x g", "*4 :2 $3 1-1 $3 3-1 *2 *2 $1 c $1 1 *2 $1 d $1 1"),
            ],
        );
    }

    #[test]
    fn streams_are_a_map_in_resp3() {
        Shard::new().expect(
            Protocol::Resp3,
            &[
                ("XADD x 1-1 a 1", "$3 1-1"),
                ("XREAD STREAMS x 0", "%1 $1 x *1 *2 $3 1-1 *2 $1 a $1 1"),
                ("XREAD STREAMS x 1-1", "_"),
                ("XGROUP CREATE x g 0", "+OK"),
                ("XREADGROUP GROUP g c STREAMS x >", "%1 $1 x *1 *2 $3 1-1 *2 $1 a $1 1"),
                ("XDEL x 1-1", ":1"),
                ("XREADGROUP GROUP g c STREAMS x 0", "%1 $1 x *1 *2 $3 1-1 _"),
            ],
        );
    }

    #[test]
    fn errors_are_those_of_redis() {
        Shard::new().expect(Protocol::Resp2, &[
            ("XADD x 1-1 a 1", "$3 1-1"),
            ("RPUSH l a", ":1"),
            ("XREAD STREAMS l 0", "-WRONGTYPE Operation against a key holding the wrong kind of value"),
            ("XREAD STREAMS x", "-ERR wrong number of arguments for 'xread' command"),
            ("XREAD STREAMS x x 0", "-ERR Unbalanced XREAD list of streams: for each stream key an ID or '$' must be specified."),
            ("XREAD COUNT x STREAMS x 0", "-ERR value is not an integer or out of range"),
            ("XREAD COUNT 1 x 0", "-ERR syntax error"),
            ("XREAD STREAMS x >", "-ERR The > ID can be specified only when calling XREADGROUP using the GROUP <group> <consumer> option."),
            ("XREAD GROUP g c STREAMS x 0", "-ERR The GROUP option is only supported by XREADGROUP. You called XREAD instead."),
            ("XREAD NOACK STREAMS x 0", "-ERR The NOACK option is only supported by XREADGROUP. You called XREAD instead."),
            ("XREAD STREAMS x -", "-ERR Invalid stream ID specified as stream command argument"),
            ("XREADGROUP COUNT 1 NOACK STREAMS x 0", "-ERR Missing GROUP option for XREADGROUP"),
            ("XREADGROUP GROUP g c STREAMS x >", "-NOGROUP No such key 'x' or consumer group 'g' in XREADGROUP with GROUP option"),
            ("XGROUP CREATE x g 0", "+OK"),
            ("XREADGROUP GROUP g c STREAMS x $", "-ERR The $ ID is meaningless in the context of XREADGROUP: you want to read the history of this consumer by specifying a proper ID, or use the > ID to get new messages. The $ ID would just return an empty result set."),
            ("XREADGROUP GROUP g c STREAMS x none > >", "-NOGROUP No such key 'none' or consumer group 'g' in XREADGROUP with GROUP option"),
            ("XREAD BLOCK x STREAMS x 0", "-ERR timeout is not an integer or out of range"),
            ("XREAD BLOCK -1 STREAMS x 0", "-ERR timeout is negative"),
            ("XREAD BLOCK 0 STREAMS x 1-1", "*-1"),
            ("XREADGROUP GROUP g c BLOCK 5 STREAMS none >", "-NOGROUP No such key 'none' or consumer group 'g' in XREADGROUP with GROUP option"),
        ]);
    }
}
