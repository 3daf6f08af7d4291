//! Handlers of the commands on sorted sets.

use std::ops::ControlFlow;

use basalt_net::resp::{Protocol, Reply};
use basalt_storage::Direction;
use basalt_storage::keyspace::{Inserted, LexBound, ScoreEnd, ScoreRange, SortedSet};

use crate::commands::float_text::read_f64_bound;
use crate::commands::{Args, CommandError, Context, parse_f64, parse_i64, parse_index_range, parse_usize};

const NOT_A_NUMBER: CommandError = CommandError::text("ERR resulting score is not a number (NaN)");
const BOUND_NOT_LEX: CommandError = CommandError::text("ERR min or max not valid string range item");

/// The options of ZADD.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
struct AddOptions {
    only_new: bool,
    only_existing: bool,
    only_greater: bool,
    only_less: bool,
    count_changed: bool,
    increment: bool,
}

impl AddOptions {
    /// Reads the options that `args` begin with, and returns what follows them.
    fn read<'a>(mut args: Args<'a>) -> (AddOptions, Args<'a>) {
        let mut options = AddOptions::default();
        while let Some((word, rest)) = args.split_first() {
            let is_set = match word.to_ascii_lowercase().as_slice() {
                b"nx" => &mut options.only_new,
                b"xx" => &mut options.only_existing,
                b"gt" => &mut options.only_greater,
                b"lt" => &mut options.only_less,
                b"ch" => &mut options.count_changed,
                b"incr" => &mut options.increment,
                _ => break,
            };
            *is_set = true;
            args = rest;
        }
        (options, args)
    }

    fn check(self, pair_count: usize) -> Result<(), CommandError> {
        if self.only_new && self.only_existing {
            return Err(CommandError::text("ERR XX and NX options at the same time are not compatible"));
        }
        if [self.only_greater, self.only_less, self.only_new].iter().filter(|&&is_set| is_set).count() > 1 {
            return Err(CommandError::text("ERR GT, LT, and/or NX options at the same time are not compatible"));
        }
        if self.increment && pair_count > 1 {
            return Err(CommandError::text("ERR INCR option supports a single increment-element pair"));
        }
        Ok(())
    }

    /// The score that a member gets which has the score `old`; `None` if the options forbid a change.
    fn new_score(self, old: Option<f64>, score: f64) -> Result<Option<f64>, CommandError> {
        let Some(old) = old else { return Ok((!self.only_existing).then_some(score)) };
        if self.only_new {
            return Ok(None);
        }
        let score = if self.increment { old + score } else { score };
        if score.is_nan() {
            return Err(NOT_A_NUMBER);
        }
        let forbidden = (self.only_less && score >= old) || (self.only_greater && score <= old);
        Ok((!forbidden).then_some(score))
    }
}

/// `ZADD key [NX | XX] [GT | LT] [CH] [INCR] score member [score member …]`
pub(super) fn zadd(context: &mut Context<'_>, args: Args<'_>, reply: &mut Reply<'_>) -> Result<(), CommandError> {
    let (options, rest) = AddOptions::read(&args[2..]);
    add(context, args[1], options, rest, reply)
}

/// `ZINCRBY key increment member`
pub(super) fn zincrby(context: &mut Context<'_>, args: Args<'_>, reply: &mut Reply<'_>) -> Result<(), CommandError> {
    let options = AddOptions { increment: true, ..AddOptions::default() };
    add(context, args[1], options, &args[2..], reply)
}

fn add(
    context: &mut Context<'_>,
    key: &[u8],
    options: AddOptions,
    pairs: Args<'_>,
    reply: &mut Reply<'_>,
) -> Result<(), CommandError> {
    let (pairs, []) = pairs.as_chunks::<2>() else { return Err(CommandError::SYNTAX) };
    if pairs.is_empty() {
        return Err(CommandError::SYNTAX);
    }
    options.check(pairs.len())?;
    let scores = pairs.iter().map(|[score, _]| parse_f64(score)).collect::<Result<Vec<_>, _>>()?;
    let existing = context.keyspace.sorted_set(key)?;
    let mut sorted_set = match existing {
        Some(sorted_set) => sorted_set,
        None if options.only_existing => {
            if options.increment {
                reply.null()
            } else {
                reply.integer(0)
            }
            return Ok(());
        }
        None => context.keyspace.sorted_set_or_new(key)?,
    };
    let (mut added, mut changed, mut result) = (0, 0, None);
    for ([_, member], score) in pairs.iter().zip(scores) {
        let old = sorted_set.score(&context.keyspace, member)?;
        result = options.new_score(old, score)?;
        let Some(score) = result else { continue };
        match sorted_set.insert(&mut context.keyspace, member, old, score) {
            Inserted::Added => added += 1,
            Inserted::Changed => changed += 1,
            Inserted::Same => {}
        }
    }
    if added + changed > 0 {
        sorted_set.save(&mut context.keyspace)?;
    }
    match (options.increment, result) {
        (true, Some(score)) => reply.double(score),
        (true, None) => reply.null(),
        (false, _) => reply.integer(if options.count_changed { added + changed } else { added }),
    }
    Ok(())
}

/// `ZREM key member [member …]`
pub(super) fn zrem(context: &mut Context<'_>, args: Args<'_>, reply: &mut Reply<'_>) -> Result<(), CommandError> {
    let Some(mut sorted_set) = context.keyspace.sorted_set(args[1])? else {
        reply.integer(0);
        return Ok(());
    };
    let before = sorted_set.len();
    for member in &args[2..] {
        sorted_set.remove(&mut context.keyspace, member)?;
    }
    let removed = before - sorted_set.len();
    if removed > 0 {
        sorted_set.save(&mut context.keyspace)?;
    }
    reply.integer(removed as i64);
    Ok(())
}

/// `ZCARD key`
pub(super) fn zcard(context: &mut Context<'_>, args: Args<'_>, reply: &mut Reply<'_>) -> Result<(), CommandError> {
    let sorted_set = context.keyspace.sorted_set(args[1])?;
    reply.integer(sorted_set.map_or(0, |sorted_set| sorted_set.len() as i64));
    Ok(())
}

/// `ZSCORE key member`
pub(super) fn zscore(context: &mut Context<'_>, args: Args<'_>, reply: &mut Reply<'_>) -> Result<(), CommandError> {
    let sorted_set = context.keyspace.sorted_set(args[1])?;
    reply_score(context, sorted_set.as_ref(), args[2], reply)
}

/// `ZMSCORE key member [member …]`
pub(super) fn zmscore(context: &mut Context<'_>, args: Args<'_>, reply: &mut Reply<'_>) -> Result<(), CommandError> {
    let sorted_set = context.keyspace.sorted_set(args[1])?;
    reply.array(args.len() - 2);
    args[2..].iter().try_for_each(|member| reply_score(context, sorted_set.as_ref(), member, reply))
}

fn reply_score(
    context: &Context<'_>,
    sorted_set: Option<&SortedSet>,
    member: &[u8],
    reply: &mut Reply<'_>,
) -> Result<(), CommandError> {
    let score = match sorted_set {
        Some(sorted_set) => sorted_set.score(&context.keyspace, member)?,
        None => None,
    };
    match score {
        Some(score) => reply.double(score),
        None => reply.null(),
    }
    Ok(())
}

/// `ZPOPMIN key [count]`
pub(super) fn zpopmin(context: &mut Context<'_>, args: Args<'_>, reply: &mut Reply<'_>) -> Result<(), CommandError> {
    pop(context, args, reply, ScoreEnd::Lowest)
}

/// `ZPOPMAX key [count]`
pub(super) fn zpopmax(context: &mut Context<'_>, args: Args<'_>, reply: &mut Reply<'_>) -> Result<(), CommandError> {
    pop(context, args, reply, ScoreEnd::Highest)
}

fn pop(context: &mut Context<'_>, args: Args<'_>, reply: &mut Reply<'_>, end: ScoreEnd) -> Result<(), CommandError> {
    let count = match args {
        [_, _] => None,
        [_, _, count] => Some(parse_usize(count)? as u64),
        _ => return Err(CommandError::SYNTAX),
    };
    let Some(mut sorted_set) = context.keyspace.sorted_set(args[1])?.filter(|_| count != Some(0)) else {
        reply.array(0);
        return Ok(());
    };
    let popped = count.unwrap_or(1).min(sorted_set.len());
    // RESP3 nests the pairs, but only where a count was asked for.
    let nested = count.is_some() && reply.protocol() == Protocol::Resp3;
    reply.array(if nested { popped as usize } else { popped as usize * 2 });
    sorted_set.pop(&mut context.keyspace, end, popped, &mut |member, score| {
        if nested {
            reply.array(2);
        }
        reply.bulk(member);
        reply.double(score);
    })?;
    sorted_set.save(&mut context.keyspace)?;
    Ok(())
}

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

/// How many replies the array of `count` members has: RESP2 puts scores beside their members, RESP3 nests the pairs.
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

    // The replies are those of redis-server 7.0.15.

    #[test]
    fn members_have_scores() {
        Shard::new().expect(Protocol::Resp2, &[
            ("ZADD z 1 a 2 b 3 c", ":3"),
            ("ZADD z 1 a 5 b", ":0"),
            ("ZADD z CH 1 a 6 b 7 d", ":2"),
            ("ZCARD z", ":4"),
            ("ZSCORE z b", "$1 6"),
            ("ZSCORE z x", "$-1"),
            ("ZSCORE none x", "$-1"),
            ("ZMSCORE z a x c", "*3 $1 1 $-1 $1 3"),
            ("ZMSCORE none a", "*1 $-1"),
            ("ZINCRBY z 1.5 a", "$3 2.5"),
            ("ZINCRBY z 2 new", "$1 2"),
            ("ZREM z new x", ":1"),
            ("ZREM none a", ":0"),
            ("ZADD z 0.1 e -0 f 1e300 g inf h -inf i 123456789012345678 j 0x10 k", ":7"),
            ("ZRANGE z 0 -1 WITHSCORES", "*22 $1 i $4 -inf $1 f $1 0 $1 e $19 0.10000000000000001 $1 a $3 2.5 $1 c $1 3 $1 b $1 6 $1 d $1 7 $1 k $2 16 $1 j $22 1.2345678901234568e+17 $1 g $23 1.0000000000000001e+300 $1 h $3 inf"),
        ]);
    }

    #[test]
    fn zadd_obeys_its_options() {
        Shard::new().expect(
            Protocol::Resp2,
            &[
                ("ZADD z NX 1 a", ":1"),
                ("ZADD z NX 2 a", ":0"),
                ("ZADD z XX 3 a 4 b", ":0"),
                ("ZADD z XX CH 3 a 5 a", ":1"),
                ("ZADD z GT 4 a", ":0"),
                ("ZADD z LT CH 4 a", ":1"),
                ("ZADD z GT CH 3 a 9 c", ":1"),
                ("ZADD z INCR 1 a", "$1 5"),
                ("ZADD z NX INCR 1 a", "$-1"),
                ("ZADD z XX INCR 1 x", "$-1"),
                ("ZADD z GT INCR -1 a", "$-1"),
                ("ZADD none XX 1 a", ":0"),
                ("ZADD none XX INCR 1 a", "$-1"),
                ("ZRANGE z 0 -1 WITHSCORES", "*4 $1 a $1 5 $1 c $1 9"),
                ("ZADD z inf a", ":0"),
                ("ZADD z INCR -inf a", "-ERR resulting score is not a number (NaN)"),
                ("ZINCRBY z -inf a", "-ERR resulting score is not a number (NaN)"),
                ("ZADD z", "-ERR wrong number of arguments for 'zadd' command"),
                ("ZADD z 1", "-ERR wrong number of arguments for 'zadd' command"),
                ("ZADD z 1 a 2", "-ERR syntax error"),
                ("ZADD z NX CH", "-ERR syntax error"),
                ("ZADD z x a", "-ERR value is not a valid float"),
                ("ZADD z nan a", "-ERR value is not a valid float"),
                ("ZADD z 1e400 a", "-ERR value is not a valid float"),
                ("ZADD z NX XX 1 a", "-ERR XX and NX options at the same time are not compatible"),
                ("ZADD z GT LT 1 a", "-ERR GT, LT, and/or NX options at the same time are not compatible"),
                ("ZADD z NX GT 1 a", "-ERR GT, LT, and/or NX options at the same time are not compatible"),
                ("ZADD z INCR 1 a 2 b", "-ERR INCR option supports a single increment-element pair"),
                ("ZADD z foo 1 a", "-ERR syntax error"),
            ],
        );
    }

    #[test]
    fn members_are_popped_from_either_end() {
        Shard::new().expect(
            Protocol::Resp2,
            &[
                ("ZADD z 1 a 2 b 3 c 4 d 5 e", ":5"),
                ("ZPOPMIN z", "*2 $1 a $1 1"),
                ("ZPOPMAX z", "*2 $1 e $1 5"),
                ("ZPOPMIN z 0", "*0"),
                ("ZPOPMIN z 2", "*4 $1 b $1 2 $1 c $1 3"),
                ("ZPOPMAX z 9", "*2 $1 d $1 4"),
                ("ZPOPMIN z", "*0"),
                ("ZPOPMIN z 2", "*0"),
                ("ZCARD z", ":0"),
                ("ZPOPMIN z -1", "-ERR value is out of range, must be positive"),
                ("ZPOPMIN z x", "-ERR value is out of range, must be positive"),
                ("ZPOPMIN z 1 2", "-ERR syntax error"),
            ],
        );
    }

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

    #[test]
    fn other_types_are_refused() {
        Shard::new().expect(
            Protocol::Resp2,
            &[
                ("RPUSH l a", ":1"),
                ("ZADD l 1 a", "-WRONGTYPE Operation against a key holding the wrong kind of value"),
                ("ZADD l x a", "-ERR value is not a valid float"),
                ("ZINCRBY l 1 a", "-WRONGTYPE Operation against a key holding the wrong kind of value"),
                ("ZREM l a", "-WRONGTYPE Operation against a key holding the wrong kind of value"),
                ("ZCARD l", "-WRONGTYPE Operation against a key holding the wrong kind of value"),
                ("ZSCORE l a", "-WRONGTYPE Operation against a key holding the wrong kind of value"),
                ("ZMSCORE l a", "-WRONGTYPE Operation against a key holding the wrong kind of value"),
                ("ZPOPMIN l", "-WRONGTYPE Operation against a key holding the wrong kind of value"),
                ("ZPOPMIN l 0", "-WRONGTYPE Operation against a key holding the wrong kind of value"),
                ("ZRANGE l 0 -1", "-WRONGTYPE Operation against a key holding the wrong kind of value"),
                ("ZRANGE l x -1", "-ERR value is not an integer or out of range"),
                ("ZRANGEBYSCORE l 0 1", "-WRONGTYPE Operation against a key holding the wrong kind of value"),
                ("ZRANGEBYLEX l - +", "-WRONGTYPE Operation against a key holding the wrong kind of value"),
                ("ZCOUNT l 0 1", "-WRONGTYPE Operation against a key holding the wrong kind of value"),
                ("ZLEXCOUNT l - +", "-WRONGTYPE Operation against a key holding the wrong kind of value"),
            ],
        );
    }

    #[test]
    fn pairs_are_nested_and_scores_are_doubles_in_resp3() {
        Shard::new().expect(
            Protocol::Resp3,
            &[
                ("ZADD z 1 a 2.5 b inf c", ":3"),
                ("ZRANGE z 0 -1", "*3 $1 a $1 b $1 c"),
                ("ZRANGE z 0 -1 WITHSCORES", "*3 *2 $1 a ,1 *2 $1 b ,2.5 *2 $1 c ,inf"),
                ("ZRANGEBYSCORE z 2 3 WITHSCORES", "*1 *2 $1 b ,2.5"),
                ("ZSCORE z b", ",2.5"),
                ("ZSCORE z x", "_"),
                ("ZMSCORE z a x", "*2 ,1 _"),
                ("ZINCRBY z 1 a", ",2"),
                ("ZADD z NX INCR 1 a", "_"),
                ("ZPOPMIN z", "*2 $1 a ,2"),
                ("ZPOPMIN z 1", "*1 *2 $1 b ,2.5"),
                ("ZPOPMAX z", "*2 $1 c ,inf"),
                ("ZPOPMIN z", "*0"),
                ("ZPOPMIN z 1", "*0"),
            ],
        );
    }
}
