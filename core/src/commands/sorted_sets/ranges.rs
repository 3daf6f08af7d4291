//! Ranges of sorted sets, by rank, score or name.

use std::ops::ControlFlow;

use basalt_net::resp::{Protocol, Reply};
use basalt_storage::Direction;
use basalt_storage::keyspace::{LexBound, ScoreRange, SortedSet};

use crate::commands::float_text::read_f64_bound;
use crate::commands::{Args, CommandError, Context, parse_i64, parse_index_range};

const BOUND_NOT_LEX: CommandError = CommandError::text("ERR min or max not valid string range item");

/// By what ZRANGE and its kin choose members.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum By {
    Rank,
    Score,
    Lex,
}

/// A range of members, as ZRANGE and its kin read it.
struct RangeOptions {
    by: Option<By>,
    direction: Option<Direction>,
    with_scores: bool,
    offset: i64,
    /// Negative: no limit.
    limit: i64,
}

impl RangeOptions {
    fn read(by: Option<By>, direction: Option<Direction>, mut words: Args<'_>) -> Result<RangeOptions, CommandError> {
        let mut options = RangeOptions { by, direction, with_scores: false, offset: 0, limit: -1 };
        while let Some((word, rest)) = words.split_first() {
            words = rest;
            match (word.to_ascii_lowercase().as_slice(), rest) {
                (b"withscores", _) => options.with_scores = true,
                (b"limit", [offset, limit, rest @ ..]) => {
                    (options.offset, options.limit) = (parse_i64(offset)?, parse_i64(limit)?);
                    words = rest;
                }
                (b"rev", _) if options.direction.is_none() => options.direction = Some(Direction::Backward),
                (b"bylex", _) if options.by.is_none() => options.by = Some(By::Lex),
                (b"byscore", _) if options.by.is_none() => options.by = Some(By::Score),
                _ => return Err(CommandError::SYNTAX),
            }
        }
        if options.limit != -1 && options.by() == By::Rank {
            return Err(CommandError::text(
                "ERR syntax error, LIMIT is only supported in combination with either BYSCORE or BYLEX",
            ));
        }
        if options.with_scores && options.by() == By::Lex {
            return Err(CommandError::text("ERR syntax error, WITHSCORES not supported in combination with BYLEX"));
        }
        Ok(options)
    }

    fn by(&self) -> By {
        self.by.unwrap_or(By::Rank)
    }

    fn direction(&self) -> Direction {
        self.direction.unwrap_or(Direction::Forward)
    }
}

/// `ZRANGE key start stop [BYSCORE | BYLEX] [REV] [LIMIT offset count] [WITHSCORES]`
pub(super) fn zrange(context: &mut Context<'_>, args: Args<'_>, reply: &mut Reply<'_>) -> Result<(), CommandError> {
    range(context, args, reply, None, None)
}

/// `ZREVRANGE key start stop [WITHSCORES]`
pub(super) fn zrevrange(context: &mut Context<'_>, args: Args<'_>, reply: &mut Reply<'_>) -> Result<(), CommandError> {
    range(context, args, reply, Some(By::Rank), Some(Direction::Backward))
}

/// `ZRANGEBYSCORE key min max [WITHSCORES] [LIMIT offset count]`
pub(super) fn zrangebyscore(
    context: &mut Context<'_>,
    args: Args<'_>,
    reply: &mut Reply<'_>,
) -> Result<(), CommandError> {
    range(context, args, reply, Some(By::Score), Some(Direction::Forward))
}

/// `ZREVRANGEBYSCORE key max min [WITHSCORES] [LIMIT offset count]`
pub(super) fn zrevrangebyscore(
    context: &mut Context<'_>,
    args: Args<'_>,
    reply: &mut Reply<'_>,
) -> Result<(), CommandError> {
    range(context, args, reply, Some(By::Score), Some(Direction::Backward))
}

/// `ZRANGEBYLEX key min max [LIMIT offset count]`
pub(super) fn zrangebylex(
    context: &mut Context<'_>,
    args: Args<'_>,
    reply: &mut Reply<'_>,
) -> Result<(), CommandError> {
    range(context, args, reply, Some(By::Lex), Some(Direction::Forward))
}

/// `ZREVRANGEBYLEX key max min [LIMIT offset count]`
pub(super) fn zrevrangebylex(
    context: &mut Context<'_>,
    args: Args<'_>,
    reply: &mut Reply<'_>,
) -> Result<(), CommandError> {
    range(context, args, reply, Some(By::Lex), Some(Direction::Backward))
}

fn range(
    context: &mut Context<'_>,
    args: Args<'_>,
    reply: &mut Reply<'_>,
    by: Option<By>,
    direction: Option<Direction>,
) -> Result<(), CommandError> {
    let options = RangeOptions::read(by, direction, &args[4..])?;
    // Reversed ranges by score and lex name their bounds the other way round.
    let (min, max) = match (options.by(), options.direction()) {
        (By::Rank, _) | (_, Direction::Forward) => (args[2], args[3]),
        (_, Direction::Backward) => (args[3], args[2]),
    };
    match options.by() {
        By::Rank => range_by_rank(context, args[1], parse_i64(min)?, parse_i64(max)?, &options, reply),
        By::Score => {
            let scores = parse_score_range(min, max)?;
            limited(context, args[1], &options, reply, |context, sorted_set, visit| {
                sorted_set.each_score(&context.keyspace, &scores, options.direction(), visit)
            })
        }
        By::Lex => {
            let (min, max) = (parse_lex_bound(min)?, parse_lex_bound(max)?);
            limited(context, args[1], &options, reply, |context, sorted_set, visit| {
                sorted_set.each_lex(&context.keyspace, min, max, options.direction(), visit)
            })
        }
    }
}

fn range_by_rank(
    context: &mut Context<'_>,
    key: &[u8],
    start: i64,
    stop: i64,
    options: &RangeOptions,
    reply: &mut Reply<'_>,
) -> Result<(), CommandError> {
    let Some(sorted_set) = context.keyspace.sorted_set(key)? else {
        reply.array(0);
        return Ok(());
    };
    let ranks = parse_index_range(start, stop, sorted_set.len()).unwrap_or(0..0);
    let header = reply_count((ranks.end - ranks.start) as usize, options.with_scores, reply.protocol());
    reply.array(header);
    sorted_set.each_rank(&context.keyspace, ranks, options.direction(), &mut |member, score| {
        reply_member(reply, member, options.with_scores.then_some(score));
    })?;
    Ok(())
}

/// Visits members of a sorted set until the visitor breaks.
type Visit<'v> = &'v mut dyn FnMut(&[u8], f64) -> ControlFlow<()>;

/// Replies with the members that `each` visits, within the options' offset and limit.
fn limited(
    context: &mut Context<'_>,
    key: &[u8],
    options: &RangeOptions,
    reply: &mut Reply<'_>,
    each: impl FnOnce(&Context<'_>, &SortedSet, Visit<'_>) -> basalt_storage::Result<()>,
) -> Result<(), CommandError> {
    let sorted_set = context.keyspace.sorted_set(key)?;
    let (mut skip, mut count) = (options.offset, 0);
    let mark = reply.mark();
    if let Some(sorted_set) = sorted_set.filter(|_| options.offset >= 0 && options.limit != 0) {
        each(context, &sorted_set, &mut |member, score| {
            if skip > 0 {
                skip -= 1;
                return ControlFlow::Continue(());
            }
            reply_member(reply, member, options.with_scores.then_some(score));
            count += 1;
            if count == options.limit { ControlFlow::Break(()) } else { ControlFlow::Continue(()) }
        })?;
    }
    reply.array_before(mark, reply_count(count as usize, options.with_scores, reply.protocol()));
    Ok(())
}

/// Replies in the array of `count` members: RESP2 puts scores beside their members, RESP3 nests the pairs.
fn reply_count(count: usize, with_scores: bool, protocol: Protocol) -> usize {
    if with_scores && protocol == Protocol::Resp2 { count * 2 } else { count }
}

fn reply_member(reply: &mut Reply<'_>, member: &[u8], score: Option<f64>) {
    if score.is_some() && reply.protocol() == Protocol::Resp3 {
        reply.array(2);
    }
    reply.bulk(member);
    if let Some(score) = score {
        reply.double(score);
    }
}

/// `ZCOUNT key min max`
pub(super) fn zcount(context: &mut Context<'_>, args: Args<'_>, reply: &mut Reply<'_>) -> Result<(), CommandError> {
    let scores = parse_score_range(args[2], args[3])?;
    let mut count = 0;
    if let Some(sorted_set) = context.keyspace.sorted_set(args[1])? {
        sorted_set.each_score(&context.keyspace, &scores, Direction::Forward, &mut |_, _| {
            count += 1;
            ControlFlow::Continue(())
        })?;
    }
    reply.integer(count);
    Ok(())
}

/// `ZLEXCOUNT key min max`
pub(super) fn zlexcount(context: &mut Context<'_>, args: Args<'_>, reply: &mut Reply<'_>) -> Result<(), CommandError> {
    let (min, max) = (parse_lex_bound(args[2])?, parse_lex_bound(args[3])?);
    let mut count = 0;
    if let Some(sorted_set) = context.keyspace.sorted_set(args[1])? {
        sorted_set.each_lex(&context.keyspace, min, max, Direction::Forward, &mut |_, _| {
            count += 1;
            ControlFlow::Continue(())
        })?;
    }
    reply.integer(count);
    Ok(())
}

fn parse_score_range(min: &[u8], max: &[u8]) -> Result<ScoreRange, CommandError> {
    let ((min, min_exclusive), (max, max_exclusive)) = (parse_score_bound(min)?, parse_score_bound(max)?);
    Ok(ScoreRange { min, min_exclusive, max, max_exclusive })
}

fn parse_score_bound(arg: &[u8]) -> Result<(f64, bool), CommandError> {
    let (text, is_exclusive) = match arg {
        [b'(', text @ ..] => (text, true),
        text => (text, false),
    };
    let score = read_f64_bound(text).ok_or(CommandError::BOUND_NOT_A_FLOAT)?;
    Ok((score, is_exclusive))
}

fn parse_lex_bound(arg: &[u8]) -> Result<LexBound<'_>, CommandError> {
    match arg {
        b"-" => Ok(LexBound::Lowest),
        b"+" => Ok(LexBound::Highest),
        [b'[', member @ ..] => Ok(LexBound::Included(member)),
        [b'(', member @ ..] => Ok(LexBound::Excluded(member)),
        _ => Err(BOUND_NOT_LEX),
    }
}

#[cfg(test)]
mod tests {
    use basalt_net::resp::Protocol;

    use crate::commands::testing::Shard;

    #[test]
    fn ranges_go_by_rank_score_and_lex() {
        Shard::new().expect(
            Protocol::Resp2,
            &[
                ("ZADD z 1 a 2 b 2 c 3 d", ":4"),
                ("ZRANGE z 0 -1", "*4 $1 a $1 b $1 c $1 d"),
                ("ZRANGE z 1 2", "*2 $1 b $1 c"),
                ("ZRANGE z -2 -1 WITHSCORES", "*4 $1 c $1 2 $1 d $1 3"),
                ("ZRANGE z 2 1", "*0"),
                ("ZRANGE z 0 1 REV", "*2 $1 d $1 c"),
                ("ZREVRANGE z 0 0 WITHSCORES", "*2 $1 d $1 3"),
                ("ZRANGE z 2 3 BYSCORE", "*3 $1 b $1 c $1 d"),
                ("ZRANGE z (1 (3 BYSCORE WITHSCORES", "*4 $1 b $1 2 $1 c $1 2"),
                ("ZRANGE z -inf +inf BYSCORE LIMIT 1 2", "*2 $1 b $1 c"),
                ("ZRANGE z +inf -inf BYSCORE REV LIMIT 0 1", "*1 $1 d"),
                ("ZRANGE z 3 1 BYSCORE", "*0"),
                ("ZRANGEBYSCORE z 2 2", "*2 $1 b $1 c"),
                ("ZREVRANGEBYSCORE z 2 1 WITHSCORES LIMIT 0 2", "*4 $1 c $1 2 $1 b $1 2"),
                ("ZRANGE z 0 9 BYSCORE LIMIT 0 0", "*0"),
                ("ZRANGE z 0 9 BYSCORE LIMIT -1 5", "*0"),
                ("ZRANGE z 0 9 BYSCORE LIMIT 3 -7", "*1 $1 d"),
                ("ZCOUNT z 2 3", ":3"),
                ("ZCOUNT z (2 3", ":1"),
                ("ZCOUNT none 2 3", ":0"),
                ("ZADD x 0 a 0 b 0 bb 0 c", ":4"),
                ("ZRANGE x - + BYLEX", "*4 $1 a $1 b $2 bb $1 c"),
                ("ZRANGE x [b (c BYLEX", "*2 $1 b $2 bb"),
                ("ZRANGE x (b + BYLEX LIMIT 0 1", "*1 $2 bb"),
                ("ZRANGE x + [b BYLEX REV", "*3 $1 c $2 bb $1 b"),
                ("ZRANGE x + - BYLEX", "*0"),
                ("ZRANGEBYLEX x [a [b", "*2 $1 a $1 b"),
                ("ZREVRANGEBYLEX x [b [a", "*2 $1 b $1 a"),
                ("ZLEXCOUNT x (a +", ":3"),
                ("ZLEXCOUNT none - +", ":0"),
                ("ZRANGE none 0 -1", "*0"),
                ("ZRANGE z x 1", "-ERR value is not an integer or out of range"),
                ("ZRANGE z x 1 BYSCORE", "-ERR min or max is not a float"),
                ("ZRANGE z a b BYLEX", "-ERR min or max not valid string range item"),
                (
                    "ZRANGE z 0 1 LIMIT 0 1",
                    "-ERR syntax error, LIMIT is only supported in combination with either BYSCORE or BYLEX",
                ),
                ("ZRANGE z 0 1 BYSCORE LIMIT 0", "-ERR syntax error"),
                ("ZRANGE z 0 1 BYSCORE LIMIT 0 x", "-ERR value is not an integer or out of range"),
                (
                    "ZRANGE z - + BYLEX WITHSCORES",
                    "-ERR syntax error, WITHSCORES not supported in combination with BYLEX",
                ),
                ("ZRANGE z 0 1 BYSCORE BYLEX", "-ERR syntax error"),
                ("ZRANGE z 0 1 REV REV", "-ERR syntax error"),
                ("ZREVRANGE z 0 1 REV", "-ERR syntax error"),
                ("ZRANGEBYSCORE z 0 1 BYSCORE", "-ERR syntax error"),
                ("ZRANGE z 0 1 foo", "-ERR syntax error"),
            ],
        );
    }
}
