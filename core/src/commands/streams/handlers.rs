//! Handlers of the commands on streams.

use std::ops::ControlFlow;

use basalt_net::resp::Reply;
use basalt_storage::Direction;
use basalt_storage::keyspace::{EventClasses, Stream, StreamEntry, StreamId, Trim};

use crate::commands::arguments::read_u64;
use crate::commands::command_error::until_nul;
use crate::commands::{Args, CommandError, Context, parse_i64};
use crate::limits;

const INVALID_ID: CommandError = CommandError::text("ERR Invalid stream ID specified as stream command argument");
const ID_TOO_SMALL: CommandError =
    CommandError::text("ERR The ID specified in XADD is equal or smaller than the target stream top item");
const ID_ZERO: CommandError = CommandError::text("ERR The ID specified in XADD must be greater than 0-0");
const ID_BELOW_GIVEN_DELETED: CommandError =
    CommandError::text("ERR The ID specified in XSETID is smaller than the provided max_deleted_entry_id");
const ID_BELOW_ENTRIES: CommandError =
    CommandError::text("ERR The ID specified in XSETID is smaller than the target stream top item");
const TOO_FEW_ADDED: CommandError =
    CommandError::text("ERR The entries_added specified in XSETID is smaller than the target stream length");
const IDS_EXHAUSTED: CommandError =
    CommandError::text("ERR The stream has exhausted the last possible ID, unable to add more items");

/// The id that XADD asks for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum NewId {
    /// `*`
    Now,
    /// `ms-*`
    Within(u64),
    /// `ms-seq` or `ms`
    Exactly(StreamId),
}

impl NewId {
    fn parse(arg: &[u8]) -> Result<NewId, CommandError> {
        if let Some(ms) = id_text(arg)?.strip_suffix(b"-*") {
            return Ok(NewId::Within(read_u64(ms).ok_or(INVALID_ID)?));
        }
        parse_id(arg, 0).map(NewId::Exactly)
    }

    /// The id that follows `last`, at `now_ms`.
    fn after(self, last: StreamId, now_ms: u64) -> Result<StreamId, CommandError> {
        if last == StreamId::MAX {
            return Err(IDS_EXHAUSTED);
        }
        let id = match self {
            NewId::Now if now_ms > last.ms => Some(StreamId { ms: now_ms, sequence: 0 }),
            NewId::Now => last.next(),
            NewId::Within(ms) if ms == last.ms => {
                last.sequence.checked_add(1).map(|sequence| StreamId { ms, sequence })
            }
            NewId::Within(ms) => Some(StreamId { ms, sequence: 0 }),
            NewId::Exactly(id) => Some(id),
        };
        id.filter(|&id| id > last).ok_or(ID_TOO_SMALL)
    }
}

/// The options by which XADD and XTRIM trim.
#[derive(Debug, Default)]
struct TrimOptions {
    limit: Option<Trim>,
    is_approximate: bool,
    count_max: Option<u64>,
}

impl TrimOptions {
    /// Reads one option that `words` begin with; returns how many words it took, 0 if they begin with none.
    fn read(&mut self, words: Args<'_>) -> Result<usize, CommandError> {
        let [word, rest @ ..] = words else { return Ok(0) };
        let word = word.to_ascii_lowercase();
        match (word.as_slice(), rest) {
            (b"maxlen" | b"minid", [_, ..]) => {
                if self.limit.is_some() {
                    return Err(CommandError::text(
                        "ERR syntax error, MAXLEN and MINID options at the same time are not compatible",
                    ));
                }
                let (value, taken) = match rest {
                    [b"~" | b"=", value, ..] => (value, 3),
                    [value, ..] => (value, 2),
                    [] => return Ok(0),
                };
                self.is_approximate = taken == 3 && rest[0] == b"~";
                self.limit = Some(if word == b"maxlen" {
                    let length = u64::try_from(parse_i64(value)?);
                    Trim::Length(length.map_err(|_| CommandError::text("ERR The MAXLEN argument must be >= 0."))?)
                } else {
                    Trim::Before(parse_id(value, 0)?)
                });
                Ok(taken)
            }
            (b"limit", [count, ..]) => {
                let count = u64::try_from(parse_i64(count)?);
                self.count_max = Some(count.map_err(|_| CommandError::text("ERR The LIMIT argument must be >= 0."))?);
                Ok(2)
            }
            _ => Ok(0),
        }
    }

    fn check(&self, is_needed: bool) -> Result<(), CommandError> {
        if self.count_max.is_some_and(|count| count > 0) && self.limit.is_none() {
            return Err(CommandError::text(
                "ERR syntax error, LIMIT cannot be used without specifying a trimming strategy",
            ));
        }
        if is_needed && self.limit.is_none() {
            return Err(CommandError::text("ERR syntax error, XTRIM must be called with a trimming strategy"));
        }
        if self.count_max.is_some() && !self.is_approximate {
            return Err(CommandError::text("ERR syntax error, LIMIT cannot be used without the special ~ option"));
        }
        Ok(())
    }

    /// Trims `stream` and returns how many entries are gone. An approximate limit is kept exactly, as far as its bound of
    /// deletions allows: entries do not come in nodes here.
    fn apply(&self, context: &mut Context<'_>, stream: &mut Stream) -> Result<u64, CommandError> {
        let Some(limit) = self.limit else { return Ok(0) };
        let count_max = match (self.is_approximate, self.count_max) {
            (false, _) | (true, Some(0)) => u64::MAX,
            (true, Some(count)) => count,
            (true, None) => limits::APPROXIMATE_TRIM_MAX,
        };
        Ok(stream.trim(&mut context.keyspace, limit, count_max)?)
    }
}

/// `XADD key [NOMKSTREAM] [MAXLEN | MINID [= | ~] threshold [LIMIT count]] * | id field value [field value …]`
pub(super) fn xadd(context: &mut Context<'_>, args: Args<'_>, reply: &mut Reply<'_>) -> Result<(), CommandError> {
    let mut trim = TrimOptions::default();
    let (mut makes_stream, mut id) = (true, None);
    let mut words = &args[2..];
    while let (None, [word, rest @ ..]) = (id, words) {
        let taken = if until_nul(word) == b"*" { 0 } else { trim.read(words)? };
        words = if taken > 0 { &words[taken..] } else { rest };
        if taken > 0 {
            continue;
        }
        match *word {
            word if until_nul(word) == b"*" => id = Some(NewId::Now),
            word if word.eq_ignore_ascii_case(b"nomkstream") => makes_stream = false,
            word => id = Some(NewId::parse(word)?),
        }
    }
    trim.check(false)?;
    let id = id.filter(|_| !words.is_empty() && words.len().is_multiple_of(2));
    let id = id.ok_or_else(|| CommandError::wrong_argument_count("xadd"))?;
    if id == NewId::Exactly(StreamId::MIN) {
        return Err(ID_ZERO);
    }
    let existing = context.keyspace.stream(args[1])?;
    let mut stream = match existing {
        Some(stream) => stream,
        None if makes_stream => context.keyspace.stream_or_new(args[1])?,
        None => {
            reply.null();
            return Ok(());
        }
    };
    let id = id.after(stream.last_id(), context.keyspace.now_ms())?;
    stream.add(&mut context.keyspace, id, words);
    let trimmed = trim.apply(context, &mut stream)?;
    stream.save(&mut context.keyspace);
    context.keyspace.notify(EventClasses::STREAM, "xadd", args[1]);
    if trimmed > 0 {
        context.keyspace.notify(EventClasses::STREAM, "xtrim", args[1]);
    }
    reply.bulk_display(id);
    Ok(())
}

/// `XTRIM key MAXLEN | MINID [= | ~] threshold [LIMIT count]`
pub(super) fn xtrim(context: &mut Context<'_>, args: Args<'_>, reply: &mut Reply<'_>) -> Result<(), CommandError> {
    let mut trim = TrimOptions::default();
    let mut words = &args[2..];
    while !words.is_empty() {
        let taken = trim.read(words)?;
        if taken == 0 {
            return Err(CommandError::SYNTAX);
        }
        words = &words[taken..];
    }
    trim.check(true)?;
    let mut deleted = 0;
    if let Some(mut stream) = context.keyspace.stream(args[1])? {
        deleted = trim.apply(context, &mut stream)?;
        if deleted > 0 {
            stream.save(&mut context.keyspace);
            context.keyspace.notify(EventClasses::STREAM, "xtrim", args[1]);
        }
    }
    reply.integer(deleted as i64);
    Ok(())
}

/// `XSETID key last-id [ENTRIESADDED entries-added] [MAXDELETEDID max-deleted-id]`
pub(super) fn xsetid(context: &mut Context<'_>, args: Args<'_>, reply: &mut Reply<'_>) -> Result<(), CommandError> {
    let last = parse_id(args[2], 0)?;
    let (mut entries_added, mut greatest_deleted) = (None, None);
    let mut words = &args[3..];
    while let [word, rest @ ..] = words {
        let [value, rest @ ..] = rest else { return Err(CommandError::SYNTAX) };
        if word.eq_ignore_ascii_case(b"entriesadded") {
            let count = u64::try_from(parse_i64(value)?);
            entries_added = Some(count.map_err(|_| CommandError::text("ERR entries_added must be positive"))?);
        } else if word.eq_ignore_ascii_case(b"maxdeletedid") {
            let id = parse_id(value, 0)?;
            if last < id {
                return Err(ID_BELOW_GIVEN_DELETED);
            }
            greatest_deleted = Some(id);
        } else {
            return Err(CommandError::SYNTAX);
        }
        words = rest;
    }
    let mut stream = context.keyspace.stream(args[1])?.ok_or(CommandError::NO_SUCH_KEY)?;
    if !stream.is_empty() {
        if stream.last_present_id(&context.keyspace)?.is_some_and(|present| last < present) {
            return Err(ID_BELOW_ENTRIES);
        }
        if entries_added.is_some_and(|count| count < stream.len()) {
            return Err(TOO_FEW_ADDED);
        }
    }
    stream.set_past(last, entries_added, greatest_deleted.filter(|&id| id != StreamId::MIN));
    stream.save(&mut context.keyspace);
    context.keyspace.notify(EventClasses::STREAM, "xsetid", args[1]);
    reply.ok();
    Ok(())
}

/// `XLEN key`
pub(super) fn xlen(context: &mut Context<'_>, args: Args<'_>, reply: &mut Reply<'_>) -> Result<(), CommandError> {
    let stream = context.keyspace.stream(args[1])?;
    reply.integer(stream.map_or(0, |stream| stream.len() as i64));
    Ok(())
}

/// `XDEL key id [id …]`
pub(super) fn xdel(context: &mut Context<'_>, args: Args<'_>, reply: &mut Reply<'_>) -> Result<(), CommandError> {
    let Some(mut stream) = context.keyspace.stream(args[1])? else {
        reply.integer(0);
        return Ok(());
    };
    let ids = args[2..].iter().map(|arg| parse_id(arg, 0)).collect::<Result<Vec<_>, _>>()?;
    let before = stream.len();
    for id in ids {
        stream.remove(&mut context.keyspace, id)?;
    }
    let removed = before - stream.len();
    if removed > 0 {
        stream.save(&mut context.keyspace);
        context.keyspace.notify(EventClasses::STREAM, "xdel", args[1]);
    }
    reply.integer(removed as i64);
    Ok(())
}

/// `XRANGE key start end [COUNT count]`
pub(super) fn xrange(context: &mut Context<'_>, args: Args<'_>, reply: &mut Reply<'_>) -> Result<(), CommandError> {
    range(context, args, args[2], args[3], Direction::Forward, reply)
}

/// `XREVRANGE key end start [COUNT count]`
pub(super) fn xrevrange(context: &mut Context<'_>, args: Args<'_>, reply: &mut Reply<'_>) -> Result<(), CommandError> {
    range(context, args, args[3], args[2], Direction::Backward, reply)
}

fn range(
    context: &mut Context<'_>,
    args: Args<'_>,
    start: &[u8],
    end: &[u8],
    direction: Direction,
    reply: &mut Reply<'_>,
) -> Result<(), CommandError> {
    let (from, to) = (parse_start(start)?, parse_end(end)?);
    let count_max = parse_count(&args[4..])?;
    let Some(stream) = context.keyspace.stream(args[1])? else {
        reply.array(0);
        return Ok(());
    };
    if count_max == Some(0) {
        reply.null_array();
        return Ok(());
    }
    let (mark, mut count) = (reply.mark(), 0);
    stream.each(&context.keyspace, from, to, direction, &mut |id, entry| {
        reply_entry(reply, id, entry);
        count += 1;
        if Some(count) == count_max { ControlFlow::Break(()) } else { ControlFlow::Continue(()) }
    })?;
    reply.array_before(mark, count as usize);
    Ok(())
}

pub(super) fn reply_entry(reply: &mut Reply<'_>, id: StreamId, entry: StreamEntry<'_>) {
    reply.array(2);
    reply.bulk_display(id);
    reply.array(entry.count());
    entry.strings().for_each(|string| reply.bulk(string));
}

/// Reads `[COUNT count]`, any number of times as in Redis; a negative count means 0.
fn parse_count(mut words: Args<'_>) -> Result<Option<u64>, CommandError> {
    let mut count = None;
    while let [word, rest @ ..] = words {
        let [value, rest @ ..] = rest else { return Err(CommandError::SYNTAX) };
        if !word.eq_ignore_ascii_case(b"count") {
            return Err(CommandError::SYNTAX);
        }
        count = Some(parse_i64(value)?.max(0) as u64);
        words = rest;
    }
    Ok(count)
}

/// Reads `ms` or `ms-seq`; `sequence` stands in where there is none.
pub fn parse_id(arg: &[u8], sequence: u64) -> Result<StreamId, CommandError> {
    let text = id_text(arg)?;
    let id = match text.iter().position(|&byte| byte == b'-') {
        Some(dash) => {
            read_u64(&text[..dash]).and_then(|ms| read_u64(&text[dash + 1..]).map(|sequence| StreamId { ms, sequence }))
        }
        None => read_u64(text).map(|ms| StreamId { ms, sequence }),
    };
    id.ok_or(INVALID_ID)
}

/// An id as Redis looks at it: a C string of bounded length.
fn id_text(arg: &[u8]) -> Result<&[u8], CommandError> {
    if arg.len() > limits::STREAM_ID_BYTES_MAX { Err(INVALID_ID) } else { Ok(until_nul(arg)) }
}

/// Reads the lower bound of an interval of ids.
pub(super) fn parse_start(arg: &[u8]) -> Result<StreamId, CommandError> {
    match parse_interval_id(arg, 0)? {
        (id, false) => Ok(id),
        (id, true) => id.next().ok_or(CommandError::text("ERR invalid start ID for the interval")),
    }
}

/// Reads the upper bound of an interval of ids.
pub(super) fn parse_end(arg: &[u8]) -> Result<StreamId, CommandError> {
    match parse_interval_id(arg, u64::MAX)? {
        (id, false) => Ok(id),
        (id, true) => id.previous().ok_or(CommandError::text("ERR invalid end ID for the interval")),
    }
}

/// Reads a bound of XRANGE: `-`, `+`, or an id, the latter exclusive after `(`.
pub(super) fn parse_interval_id(arg: &[u8], sequence: u64) -> Result<(StreamId, bool), CommandError> {
    if let [b'(', id @ ..] = arg
        && !id.is_empty()
    {
        return Ok((parse_id(id, sequence)?, true));
    }
    match id_text(arg)? {
        b"-" => Ok((StreamId::MIN, false)),
        b"+" => Ok((StreamId::MAX, false)),
        _ => Ok((parse_id(arg, sequence)?, false)),
    }
}

#[cfg(test)]
mod tests {
    use basalt_net::resp::Protocol;

    use crate::commands::testing::Shard;

    // The replies are those of redis-server 7.0.15.

    #[test]
    fn entries_are_added_and_ranged() {
        Shard::new().expect(Protocol::Resp2, &[
            ("XADD x 1-1 a 1", "$3 1-1"),
            ("XADD x 1-* b 2 c 3", "$3 1-2"),
            ("XADD x 5 d 4", "$3 5-0"),
            ("XADD x 0-* e 5", "-ERR The ID specified in XADD is equal or smaller than the target stream top item"),
            ("XADD x 5-1 e 5", "$3 5-1"),
            ("XLEN x", ":4"),
            ("XLEN none", ":0"),
            ("XRANGE x - +", "*4 *2 $3 1-1 *2 $1 a $1 1 *2 $3 1-2 *4 $1 b $1 2 $1 c $1 3 *2 $3 5-0 *2 $1 d $1 4 *2 $3 5-1 *2 $1 e $1 5"),
            ("XRANGE x 1 1", "*2 *2 $3 1-1 *2 $1 a $1 1 *2 $3 1-2 *4 $1 b $1 2 $1 c $1 3"),
            ("XRANGE x (1-1 5-0", "*2 *2 $3 1-2 *4 $1 b $1 2 $1 c $1 3 *2 $3 5-0 *2 $1 d $1 4"),
            ("XRANGE x 5-1 (5-1", "*0"),
            ("XRANGE x - + COUNT 1", "*1 *2 $3 1-1 *2 $1 a $1 1"),
            ("XRANGE x - + COUNT 0", "*-1"),
            ("XRANGE x - + COUNT -5", "*-1"),
            ("XREVRANGE x + - COUNT 2", "*2 *2 $3 5-1 *2 $1 e $1 5 *2 $3 5-0 *2 $1 d $1 4"),
            ("XREVRANGE x 1 1-2", "*1 *2 $3 1-2 *4 $1 b $1 2 $1 c $1 3"),
            ("XRANGE none - +", "*0"),
            ("XRANGE none - + COUNT 0", "*0"),
            ("XDEL x 1-1 5-0 7-7", ":2"),
            ("XLEN x", ":2"),
            ("XRANGE x - +", "*2 *2 $3 1-2 *4 $1 b $1 2 $1 c $1 3 *2 $3 5-1 *2 $1 e $1 5"),
            ("XDEL x 1-2 5-1", ":2"),
            ("XLEN x", ":0"),
            ("XRANGE x - +", "*0"),
            ("XADD x 5-1 a 1", "-ERR The ID specified in XADD is equal or smaller than the target stream top item"),
            ("XADD x 5-2 a 1", "$3 5-2"),
            ("XADD new 0-* a 1", "$3 0-1"),
            ("XADD new 0-5 a 1", "$3 0-5"),
        ]);
    }

    #[test]
    fn streams_are_trimmed() {
        Shard::new().expect(
            Protocol::Resp2,
            &[
                ("XADD x 1 a 1", "$3 1-0"),
                ("XADD x 2 a 1", "$3 2-0"),
                ("XADD x 3 a 1", "$3 3-0"),
                ("XADD x MAXLEN 2 4 a 1", "$3 4-0"),
                ("XRANGE x - +", "*2 *2 $3 3-0 *2 $1 a $1 1 *2 $3 4-0 *2 $1 a $1 1"),
                ("XADD x MINID = 4 5 a 1", "$3 5-0"),
                ("XLEN x", ":2"),
                ("XADD x MAXLEN = 10 6 a 1", "$3 6-0"),
                ("XTRIM x MAXLEN 1", ":2"),
                ("XTRIM x MAXLEN = 1", ":0"),
                ("XTRIM x MINID 7", ":1"),
                ("XTRIM none MAXLEN 0", ":0"),
                ("XLEN x", ":0"),
                ("XADD x NOMKSTREAM 7 a 1", "$3 7-0"),
                ("XADD none NOMKSTREAM 7 a 1", "$-1"),
                ("XADD x MAXLEN 0 8 a 1", "$3 8-0"),
                ("XLEN x", ":0"),
                ("XTRIM x LIMIT 5", "-ERR syntax error, LIMIT cannot be used without specifying a trimming strategy"),
                ("XTRIM x LIMIT 0", "-ERR syntax error, XTRIM must be called with a trimming strategy"),
                ("XTRIM x MAXLEN 1 LIMIT 1", "-ERR syntax error, LIMIT cannot be used without the special ~ option"),
                ("XTRIM x MAXLEN 1 foo", "-ERR syntax error"),
                ("XTRIM x MAXLEN ~", "-ERR value is not an integer or out of range"),
                ("XTRIM x MAXLEN -1", "-ERR The MAXLEN argument must be >= 0."),
                ("XTRIM x MAXLEN x", "-ERR value is not an integer or out of range"),
                (
                    "XTRIM x MAXLEN 1 MINID 1",
                    "-ERR syntax error, MAXLEN and MINID options at the same time are not compatible",
                ),
                ("XTRIM x MAXLEN ~ 1 LIMIT -1", "-ERR The LIMIT argument must be >= 0."),
                (
                    "XADD x LIMIT 5 * a 1",
                    "-ERR syntax error, LIMIT cannot be used without specifying a trimming strategy",
                ),
                (
                    "XADD x MAXLEN 5 LIMIT 5 9 a 1",
                    "-ERR syntax error, LIMIT cannot be used without the special ~ option",
                ),
            ],
        );
    }

    #[test]
    fn the_last_id_is_set() {
        Shard::new().expect(Protocol::Resp2, &[
            ("XADD x 5 a 1", "$3 5-0"),
            ("XSETID x 7-2", "+OK"),
            ("XADD x 7-2 a 1", "-ERR The ID specified in XADD is equal or smaller than the target stream top item"),
            ("XADD x 7-* a 1", "$3 7-3"),
            ("XSETID x 7-2", "-ERR The ID specified in XSETID is smaller than the target stream top item"),
            ("XSETID x 9 ENTRIESADDED 1", "-ERR The entries_added specified in XSETID is smaller than the target stream length"),
            ("XSETID x 9 ENTRIESADDED -1", "-ERR entries_added must be positive"),
            ("XSETID x 9 MAXDELETEDID 10", "-ERR The ID specified in XSETID is smaller than the provided max_deleted_entry_id"),
            ("XSETID x 9 ENTRIESADDED 9 MAXDELETEDID 8-1", "+OK"),
            ("XINFO STREAM x", "*20 $6 length :2 $15 radix-tree-keys :1 $16 radix-tree-nodes :2 $17 last-generated-id $3 9-0 $20 max-deleted-entry-id $3 8-1 $13 entries-added :9 $23 recorded-first-entry-id $3 5-0 $6 groups :0 $11 first-entry *2 $3 5-0 *2 $1 a $1 1 $10 last-entry *2 $3 7-3 *2 $1 a $1 1"),
            ("XSETID none 1", "-ERR no such key"),
            ("XSETID x x", "-ERR Invalid stream ID specified as stream command argument"),
            ("XSETID x 9 FOO", "-ERR syntax error"),
            ("XSETID x 9 ENTRIESADDED", "-ERR syntax error"),
        ]);
    }

    #[test]
    fn errors_are_those_of_redis() {
        Shard::new().expect(
            Protocol::Resp2,
            &[
                ("XADD x 0-0 a 1", "-ERR The ID specified in XADD must be greater than 0-0"),
                ("XADD x 0 a 1", "-ERR The ID specified in XADD must be greater than 0-0"),
                ("XADD x x a 1", "-ERR Invalid stream ID specified as stream command argument"),
                ("XADD x - a 1", "-ERR Invalid stream ID specified as stream command argument"),
                ("XADD x 1-1-1 a 1", "-ERR Invalid stream ID specified as stream command argument"),
                ("XADD x *-1 a 1", "-ERR Invalid stream ID specified as stream command argument"),
                ("XADD x 18446744073709551616 a 1", "-ERR Invalid stream ID specified as stream command argument"),
                ("XADD x 1-1 a", "-ERR wrong number of arguments for 'xadd' command"),
                ("XADD x 1-1 a 1 b", "-ERR wrong number of arguments for 'xadd' command"),
                ("XADD x * a", "-ERR wrong number of arguments for 'xadd' command"),
                ("XADD x MAXLEN 1 * a", "-ERR wrong number of arguments for 'xadd' command"),
                (
                    "XADD x 18446744073709551615-18446744073709551615 a 1",
                    "$41 18446744073709551615-18446744073709551615",
                ),
                ("XADD x * a 1", "-ERR The stream has exhausted the last possible ID, unable to add more items"),
                (
                    "XADD x 18446744073709551615-* a 1",
                    "-ERR The stream has exhausted the last possible ID, unable to add more items",
                ),
                ("XRANGE x (18446744073709551615-18446744073709551615 +", "-ERR invalid start ID for the interval"),
                ("XRANGE x - (0-0", "-ERR invalid end ID for the interval"),
                ("XRANGE x (- +", "-ERR Invalid stream ID specified as stream command argument"),
                ("XRANGE x x +", "-ERR Invalid stream ID specified as stream command argument"),
                ("XRANGE x - + COUNT", "-ERR syntax error"),
                ("XRANGE x - + COUNT x", "-ERR value is not an integer or out of range"),
                ("XRANGE x - + foo 1", "-ERR syntax error"),
                ("XDEL x x", "-ERR Invalid stream ID specified as stream command argument"),
                ("XDEL none x", ":0"),
                ("RPUSH l a", ":1"),
                ("XADD l 1 a 1", "-WRONGTYPE Operation against a key holding the wrong kind of value"),
                ("XADD l x a 1", "-ERR Invalid stream ID specified as stream command argument"),
                ("XLEN l", "-WRONGTYPE Operation against a key holding the wrong kind of value"),
                ("XDEL l 1", "-WRONGTYPE Operation against a key holding the wrong kind of value"),
                ("XTRIM l MAXLEN 1", "-WRONGTYPE Operation against a key holding the wrong kind of value"),
                ("XRANGE l - +", "-WRONGTYPE Operation against a key holding the wrong kind of value"),
            ],
        );
    }

    #[test]
    fn absent_entries_are_null_in_resp3() {
        Shard::new().expect(
            Protocol::Resp3,
            &[
                ("XADD none NOMKSTREAM 1 a 1", "_"),
                ("XRANGE none - +", "*0"),
                ("XADD x 1 a 1", "$3 1-0"),
                ("XRANGE x - + COUNT 0", "_"),
                ("XRANGE x - +", "*1 *2 $3 1-0 *2 $1 a $1 1"),
            ],
        );
    }
}
