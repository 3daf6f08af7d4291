//! The commands on members of sorted sets; those on ranges of them are in `ranges.rs`.

use basalt_net::resp::{Protocol, Reply};
use basalt_storage::Direction;
use basalt_storage::keyspace::{EventClasses, Inserted, ScoreEnd, SortedSet, Type};
use smallvec::SmallVec;

use crate::commands::arguments::{read_counted_keys, read_pop_count};
use crate::commands::{Args, CommandError, Context, names, parse_f64, parse_usize};

const NOT_A_NUMBER: CommandError = CommandError::text("ERR resulting score is not a number (NaN)");

/// The options of ZADD.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(in crate::commands) struct AddOptions {
    pub(in crate::commands) only_new: bool,
    pub(in crate::commands) only_existing: bool,
    only_greater: bool,
    only_less: bool,
    pub(in crate::commands) count_changed: bool,
    increment: bool,
}

impl AddOptions {
    /// Reads the options that `args` begin with, and returns what follows them.
    fn read<'a>(mut args: Args<'a>) -> (AddOptions, Args<'a>) {
        let mut options = AddOptions::default();
        while let Some((word, rest)) = args.split_first() {
            // Mostly it is the first score: not worth a copy in small letters.
            let is = |name: &str| word.eq_ignore_ascii_case(name.as_bytes());
            let is_set = match word.len() {
                2 if is("nx") => &mut options.only_new,
                2 if is("xx") => &mut options.only_existing,
                2 if is("gt") => &mut options.only_greater,
                2 if is("lt") => &mut options.only_less,
                2 if is("ch") => &mut options.count_changed,
                4 if is("incr") => &mut options.increment,
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
    let mut members: SmallVec<[(&[u8], f64); 16]> = SmallVec::with_capacity(pairs.len());
    for [score, member] in pairs {
        members.push((*member, parse_f64(score)?));
    }
    add_members(context, key, options, &members, reply)
}

/// Gives members of the sorted set at `key` their scores, and replies how many are new, or what the options say.
pub(in crate::commands) fn add_members(
    context: &mut Context<'_>,
    key: &[u8],
    options: AddOptions,
    members: &[(&[u8], f64)],
    reply: &mut Reply<'_>,
) -> Result<(), CommandError> {
    // Looked up once more where it is new, as ever: the work of a script is counted by its reads, and every program must stop it at
    // the same point.
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
    for &(member, score) in members {
        let sought = sorted_set.seek(&context.keyspace, member, score)?;
        result = options.new_score(sought.old(), score)?;
        let Some(score) = result else { continue };
        match sorted_set.put(&mut context.keyspace, member, sought, score)? {
            Inserted::Added => added += 1,
            Inserted::Changed => changed += 1,
            Inserted::Same => {}
        }
    }
    if added + changed > 0 {
        sorted_set.save(&mut context.keyspace)?;
        let event = if options.increment { "zincr" } else { "zadd" };
        context.keyspace.notify(EventClasses::SORTED_SET, event, key);
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
        context.keyspace.notify_taken(EventClasses::SORTED_SET, "zrem", args[1], sorted_set.is_empty());
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
    notify_popped(context, end, args[1], &sorted_set);
    Ok(())
}

/// Tells that members were taken from an end of the sorted set at `key`.
pub(super) fn notify_popped(context: &Context<'_>, end: ScoreEnd, key: &[u8], sorted_set: &SortedSet) {
    let event = if end == ScoreEnd::Lowest { "zpopmin" } else { "zpopmax" };
    context.keyspace.notify_taken(EventClasses::SORTED_SET, event, key, sorted_set.is_empty());
}

/// The arguments of ZMPOP: from which keys, at which end and how many.
pub(super) struct PopFirst<'a> {
    keys: Args<'a>,
    end: ScoreEnd,
    count: u64,
}

impl<'a> PopFirst<'a> {
    /// Reads `numkeys key [key …] MIN | MAX [COUNT count]`.
    pub(super) fn read(args: Args<'a>) -> Result<PopFirst<'a>, CommandError> {
        let Some((keys, [end, options @ ..])) = read_counted_keys(args)? else { return Err(CommandError::SYNTAX) };
        let end = match end.to_ascii_lowercase().as_slice() {
            b"min" => ScoreEnd::Lowest,
            b"max" => ScoreEnd::Highest,
            _ => return Err(CommandError::SYNTAX),
        };
        Ok(PopFirst { keys, end, count: read_pop_count(options)? })
    }

    /// Pops from the first sorted set that there is.
    pub(super) fn run(self, context: &mut Context<'_>, reply: &mut Reply<'_>) -> Result<(), CommandError> {
        for key in self.keys {
            let Some(mut sorted_set) = context.keyspace.sorted_set(key)? else { continue };
            let popped = self.count.min(sorted_set.len());
            reply.array(2);
            reply.bulk(key);
            reply.array(popped as usize);
            sorted_set.pop(&mut context.keyspace, self.end, popped, &mut |member, score| {
                reply.array(2);
                reply.bulk(member);
                reply.double(score);
            })?;
            sorted_set.save(&mut context.keyspace)?;
            notify_popped(context, self.end, key, &sorted_set);
            return Ok(());
        }
        reply.null_array();
        Ok(())
    }
}

/// `ZMPOP numkeys key [key …] MIN | MAX [COUNT count]`
pub(super) fn zmpop(context: &mut Context<'_>, args: Args<'_>, reply: &mut Reply<'_>) -> Result<(), CommandError> {
    PopFirst::read(&args[1..])?.run(context, reply)
}

/// `ZRANK key member`
pub(super) fn zrank(context: &mut Context<'_>, args: Args<'_>, reply: &mut Reply<'_>) -> Result<(), CommandError> {
    rank(context, args, reply, Direction::Forward)
}

/// `ZREVRANK key member`
pub(super) fn zrevrank(context: &mut Context<'_>, args: Args<'_>, reply: &mut Reply<'_>) -> Result<(), CommandError> {
    rank(context, args, reply, Direction::Backward)
}

fn rank(
    context: &Context<'_>,
    args: Args<'_>,
    reply: &mut Reply<'_>,
    direction: Direction,
) -> Result<(), CommandError> {
    let rank = match context.keyspace.sorted_set(args[1])? {
        Some(sorted_set) => sorted_set.rank(&context.keyspace, args[2], direction)?,
        None => None,
    };
    match rank {
        Some(rank) => reply.integer(rank as i64),
        None => reply.null(),
    }
    Ok(())
}

/// `ZRANDMEMBER key [count [WITHSCORES]]`
pub(super) fn zrandmember(
    context: &mut Context<'_>,
    args: Args<'_>,
    reply: &mut Reply<'_>,
) -> Result<(), CommandError> {
    names::random(context, args, reply, Type::SortedSet, Some("WITHSCORES"))
}

/// `ZSCAN key cursor [MATCH pattern] [COUNT count]`
pub(super) fn zscan(context: &mut Context<'_>, args: Args<'_>, reply: &mut Reply<'_>) -> Result<(), CommandError> {
    names::scan(context, args, reply, Type::SortedSet)
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
    fn ranks_are_places_and_the_first_sorted_set_there_is_is_popped_from() {
        Shard::new().expect(
            Protocol::Resp2,
            &[
                ("ZADD z 1 a 2 b 2 c", ":3"),
                ("ZRANK z a", ":0"),
                ("ZRANK z c", ":2"),
                ("ZREVRANK z c", ":0"),
                ("ZREVRANK z a", ":2"),
                ("ZRANK z x", "$-1"),
                ("ZRANK none x", "$-1"),
                ("ZMPOP 2 none z MIN", "*2 $1 z *1 *2 $1 a $1 1"),
                ("ZMPOP 1 z max COUNT 9", "*2 $1 z *2 *2 $1 c $1 2 *2 $1 b $1 2"),
                ("EXISTS z", ":0"),
                ("ZMPOP 1 z MIN", "*-1"),
                ("ZMPOP 0 z MIN", "-ERR numkeys should be greater than 0"),
                ("ZMPOP 2 z MIN", "-ERR syntax error"),
                ("ZMPOP 1 z LEFT", "-ERR syntax error"),
                ("ZMPOP 1 z MIN COUNT 0", "-ERR count should be greater than 0"),
                ("ZMPOP 1 z MIN COUNT", "-ERR syntax error"),
                ("ZMPOP 1 z MIN COUNT 1 COUNT 1", "-ERR syntax error"),
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
