//! Ranges of sorted sets, by rank, score or name.

use std::ops::ControlFlow;

use basalt_net::resp::{Protocol, Reply};
use basalt_storage::Direction;
use basalt_storage::keyspace::{Keyspace, LexBound, ScoreRange, SortedSet};

use super::algebra::store_result;
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

/// WITHSCORES among the options of a command, or none.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Takes {
    Scores,
    NoScores,
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
    fn read(
        by: Option<By>,
        direction: Option<Direction>,
        mut words: Args<'_>,
        takes: Takes,
    ) -> Result<RangeOptions, CommandError> {
        let mut options = RangeOptions { by, direction, with_scores: false, offset: 0, limit: -1 };
        while let Some((word, rest)) = words.split_first() {
            words = rest;
            match (word.to_ascii_lowercase().as_slice(), rest) {
                (b"withscores", _) if takes == Takes::Scores => options.with_scores = true,
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
    let options = RangeOptions::read(by, direction, &args[4..], Takes::Scores)?;
    let span = Span::read(&options, args[2], args[3])?;
    let Some(sorted_set) = context.keyspace.sorted_set(args[1])? else {
        reply.array(0);
        return Ok(());
    };
    let known = span.len(&sorted_set);
    let header = |count: u64, reply: &Reply<'_>| reply_count(count as usize, options.with_scores, reply.protocol());
    if let Some(count) = known {
        reply.array(header(count, reply));
    }
    let (mark, mut count) = (reply.mark(), 0);
    span.each(&context.keyspace, &sorted_set, &options, &mut |member, score| {
        reply_member(reply, member, options.with_scores.then_some(score));
        count += 1;
    })?;
    if known.is_none() {
        reply.array_before(mark, header(count, reply));
    }
    Ok(())
}

/// `ZRANGESTORE destination source start stop [BYSCORE | BYLEX] [REV] [LIMIT offset count]`
pub(super) fn zrangestore(
    context: &mut Context<'_>,
    args: Args<'_>,
    reply: &mut Reply<'_>,
) -> Result<(), CommandError> {
    let options = RangeOptions::read(None, None, &args[5..], Takes::NoScores)?;
    let span = Span::read(&options, args[3], args[4])?;
    let mut result = Vec::new();
    if let Some(sorted_set) = context.keyspace.sorted_set(args[2])? {
        span.each(&context.keyspace, &sorted_set, &options, &mut |member, score| {
            result.push((Box::from(member), score));
        })?;
    }
    store_result(context, (args[1], "zrangestore"), &result, reply)
}

/// Members between two bounds.
enum Span<'a> {
    Ranks(i64, i64),
    Scores(ScoreRange),
    Lex(LexBound<'a>, LexBound<'a>),
}

impl<'a> Span<'a> {
    fn read(options: &RangeOptions, start: &'a [u8], stop: &'a [u8]) -> Result<Span<'a>, CommandError> {
        // Reversed ranges by score and lex name their bounds the other way round.
        let (min, max) = match (options.by(), options.direction()) {
            (By::Rank, _) | (_, Direction::Forward) => (start, stop),
            (_, Direction::Backward) => (stop, start),
        };
        Ok(match options.by() {
            By::Rank => Span::Ranks(parse_i64(min)?, parse_i64(max)?),
            By::Score => Span::Scores(parse_score_range(min, max)?),
            By::Lex => Span::Lex(parse_lex_bound(min)?, parse_lex_bound(max)?),
        })
    }

    /// The number of members, where it is known before they are visited.
    fn len(&self, sorted_set: &SortedSet) -> Option<u64> {
        let Span::Ranks(start, stop) = self else { return None };
        Some(parse_index_range(*start, *stop, sorted_set.len()).map_or(0, |ranks| ranks.end - ranks.start))
    }

    /// Visits them, within the options' offset and limit.
    fn each(
        &self,
        keyspace: &Keyspace<'_>,
        sorted_set: &SortedSet,
        options: &RangeOptions,
        visit: &mut dyn FnMut(&[u8], f64),
    ) -> basalt_storage::Result<()> {
        let direction = options.direction();
        if let Span::Ranks(start, stop) = self {
            let ranks = parse_index_range(*start, *stop, sorted_set.len()).unwrap_or(0..0);
            return sorted_set.each_rank(keyspace, ranks, direction, visit);
        }
        if options.offset < 0 || options.limit == 0 {
            return Ok(());
        }
        let (skip, mut count) = (options.offset as u64, 0);
        let visit_limited = &mut |member: &[u8], score: f64| {
            visit(member, score);
            count += 1;
            if count == options.limit { ControlFlow::Break(()) } else { ControlFlow::Continue(()) }
        };
        match self {
            Span::Ranks(..) => Ok(()),
            Span::Scores(scores) => sorted_set.each_score(keyspace, scores, direction, skip, visit_limited),
            Span::Lex(min, max) => sorted_set.each_lex(keyspace, (*min, *max), direction, skip, visit_limited),
        }
    }
}

/// Replies in the array of `count` members: RESP2 puts scores beside their members, RESP3 nests the pairs.
pub(super) fn reply_count(count: usize, with_scores: bool, protocol: Protocol) -> usize {
    if with_scores && protocol == Protocol::Resp2 { count * 2 } else { count }
}

pub(super) fn reply_member(reply: &mut Reply<'_>, member: &[u8], score: Option<f64>) {
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
    let count = match context.keyspace.sorted_set(args[1])? {
        Some(sorted_set) => sorted_set.count_scores(&context.keyspace, &scores)?,
        None => 0,
    };
    reply.integer(count as i64);
    Ok(())
}

/// `ZLEXCOUNT key min max`
pub(super) fn zlexcount(context: &mut Context<'_>, args: Args<'_>, reply: &mut Reply<'_>) -> Result<(), CommandError> {
    let (min, max) = (parse_lex_bound(args[2])?, parse_lex_bound(args[3])?);
    let count = match context.keyspace.sorted_set(args[1])? {
        Some(sorted_set) => sorted_set.count_lex(&context.keyspace, min, max)?,
        None => 0,
    };
    reply.integer(count as i64);
    Ok(())
}

pub(super) fn parse_score_range(min: &[u8], max: &[u8]) -> Result<ScoreRange, CommandError> {
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

pub(super) fn parse_lex_bound(arg: &[u8]) -> Result<LexBound<'_>, CommandError> {
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
