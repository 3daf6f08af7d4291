//! Unions, intersections and differences of sorted sets, among them plain sets, whose members have the score 1.
//!
//! What a newcomer would get wrong: sums of floating-point numbers depend on their order. It is Redis' one: smaller sources first,
//! those of one size in the order of the arguments. And infinity minus infinity is 0 here.

use std::collections::HashMap;
use std::ops::ControlFlow;

use basalt_net::resp::Reply;
use basalt_storage::keyspace::{EventClasses, Keyspace, Names, SortedSet, Type};

use super::ranges::{reply_count, reply_member};
use crate::commands::arguments::{parse_i64, parse_i64_or};
use crate::commands::float_text::read_f64;
use crate::commands::names::Opened;
use crate::commands::{Args, CommandError, Context};

type Outcome = Result<(), CommandError>;

/// Members with their scores.
type Scored = Vec<(Box<[u8]>, f64)>;

/// Visits a member and its score, until it breaks or fails.
type VisitScored<'v> = &'v mut dyn FnMut(&[u8], f64) -> basalt_storage::Result<ControlFlow<()>>;

/// The way sorted sets are put together.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Operation {
    Union,
    Intersection,
    Difference,
}

/// The score of a member that is in several sources.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Aggregate {
    Sum,
    Min,
    Max,
}

impl Aggregate {
    fn of(self, one: f64, other: f64) -> f64 {
        match self {
            Aggregate::Sum => number_or_zero(one + other),
            Aggregate::Min if other < one => other,
            Aggregate::Max if other > one => other,
            Aggregate::Min | Aggregate::Max => one,
        }
    }
}

fn number_or_zero(score: f64) -> f64 {
    if score.is_nan() { 0.0 } else { score }
}

/// A source; a key that is not there is an empty one.
#[derive(Clone)]
struct Source {
    members: Option<(Names, Type)>,
    weight: f64,
}

impl Source {
    fn open(context: &Context<'_>, key: &[u8]) -> Result<Source, CommandError> {
        let kind = context.keyspace.record(key)?.map(|record| record.kind());
        let members = match kind {
            Some(kind @ (Type::Set | Type::SortedSet)) => context.keyspace.names(key, kind)?.map(|names| (names, kind)),
            Some(_) => return Err(CommandError::WrongType),
            None => None,
        };
        Ok(Source { members, weight: 1.0 })
    }

    fn len(&self) -> u64 {
        self.members.as_ref().map_or(0, |(names, _)| names.len())
    }

    /// Visits its members with their own scores until `visit` breaks.
    fn each(&self, keyspace: &Keyspace<'_>, visit: VisitScored<'_>) -> basalt_storage::Result<()> {
        match &self.members {
            Some((names, kind)) => names.each(keyspace, &mut |member, row| visit(member, score(*kind, row))),
            None => Ok(()),
        }
    }

    /// The own score of `member`.
    fn score(&self, keyspace: &Keyspace<'_>, member: &[u8]) -> basalt_storage::Result<Option<f64>> {
        match &self.members {
            Some((names, kind)) => Ok(names.get(keyspace, member)?.map(|row| score(*kind, &row))),
            None => Ok(None),
        }
    }
}

/// The score in the row of a member.
fn score(kind: Type, row: &[u8]) -> f64 {
    if kind == Type::Set { 1.0 } else { SortedSet::read_score(row).unwrap_or(f64::NAN) }
}

/// The words that a command takes behind its keys.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Takes {
    /// `WITHSCORES`, and what its operation takes.
    Scores,
    /// Nothing but what its operation takes.
    Nothing,
    /// `LIMIT`
    Limit,
}

/// A call of one of the commands.
struct Call {
    operation: Operation,
    sources: Vec<Source>,
    aggregate: Aggregate,
    with_scores: bool,
    /// Members that are counted at most; 0 for all.
    limit: i64,
}

impl Call {
    /// Reads `numkeys key [key …]` and options, which `args` begin with.
    fn read(
        context: &Context<'_>,
        operation: Operation,
        args: Args<'_>,
        takes: Takes,
        name: &str,
    ) -> Result<Call, CommandError> {
        let count = parse_i64(args[0])?;
        if count < 1 {
            return Err(CommandError::owned(format!("ERR at least 1 input key is needed for '{name}' command")));
        }
        let keys = usize::try_from(count).ok().and_then(|count| args[1..].split_at_checked(count));
        let (keys, mut words) = keys.ok_or(CommandError::SYNTAX)?;
        let mut opened = Opened::new(keys);
        let sources = keys.iter().map(|key| opened.open(key, || Source::open(context, key)));
        let sources = sources.collect::<Result<Vec<_>, _>>()?;
        let mut call = Call { operation, sources, aggregate: Aggregate::Sum, with_scores: false, limit: 0 };
        let weighs = operation != Operation::Difference && takes != Takes::Limit;
        while let Some((word, rest)) = words.split_first() {
            words = match word.to_ascii_lowercase().as_slice() {
                b"weights" if weighs && rest.len() >= keys.len() => {
                    let (weights, rest) = rest.split_at(keys.len());
                    for (source, weight) in call.sources.iter_mut().zip(weights) {
                        let not_a_float = CommandError::text("ERR weight value is not a float");
                        source.weight = read_f64(weight).ok_or(not_a_float)?;
                    }
                    rest
                }
                b"aggregate" if weighs && !rest.is_empty() => {
                    call.aggregate = match rest[0].to_ascii_lowercase().as_slice() {
                        b"sum" => Aggregate::Sum,
                        b"min" => Aggregate::Min,
                        b"max" => Aggregate::Max,
                        _ => return Err(CommandError::SYNTAX),
                    };
                    &rest[1..]
                }
                b"withscores" if takes == Takes::Scores => {
                    call.with_scores = true;
                    rest
                }
                b"limit" if takes == Takes::Limit && !rest.is_empty() => {
                    call.limit = parse_i64_or(rest[0], 0, "ERR LIMIT can't be negative")?;
                    &rest[1..]
                }
                _ => return Err(CommandError::SYNTAX),
            };
        }
        if operation != Operation::Difference {
            call.sources.sort_by_key(Source::len);
        }
        Ok(call)
    }

    /// The result in the order of the scores.
    fn result(&self, keyspace: &Keyspace<'_>) -> basalt_storage::Result<Scored> {
        let mut result = Scored::new();
        if self.operation == Operation::Union {
            let mut scores: HashMap<Box<[u8]>, f64> = HashMap::new();
            for source in &self.sources {
                source.each(keyspace, &mut |member, score| {
                    let score = number_or_zero(source.weight * score);
                    match scores.get_mut(member) {
                        Some(sum) => *sum = self.aggregate.of(*sum, score),
                        None => drop(scores.insert(member.into(), score)),
                    }
                    Ok(ControlFlow::Continue(()))
                })?;
            }
            result.extend(scores);
        } else {
            self.each_of_first(keyspace, &mut |member, score| {
                result.push((member.into(), score));
                ControlFlow::Continue(())
            })?;
        }
        result.sort_unstable_by(|(one, low), (other, high)| {
            low.partial_cmp(high).expect("a score is a number").then_with(|| one.cmp(other))
        });
        Ok(result)
    }

    /// Visits the members of the first source that are in the intersection or difference, with their scores in it.
    fn each_of_first(
        &self,
        keyspace: &Keyspace<'_>,
        visit: &mut dyn FnMut(&[u8], f64) -> ControlFlow<()>,
    ) -> basalt_storage::Result<()> {
        let Some((first, others)) = self.sources.split_first() else { return Ok(()) };
        first.each(keyspace, &mut |member, own| {
            let mut result = number_or_zero(first.weight * own);
            for other in others {
                match (self.operation, other.score(keyspace, member)?) {
                    (Operation::Difference, None) => {}
                    (Operation::Difference, Some(_)) | (_, None) => return Ok(ControlFlow::Continue(())),
                    // Only a sum may be no number: what is compared with one stays.
                    (_, Some(score)) => result = self.aggregate.of(result, score * other.weight),
                }
            }
            Ok(visit(member, result))
        })
    }
}

/// `ZUNION numkeys key [key …] [WEIGHTS weight …] [AGGREGATE SUM | MIN | MAX] [WITHSCORES]`
pub(super) fn zunion(context: &mut Context<'_>, args: Args<'_>, reply: &mut Reply<'_>) -> Outcome {
    list(context, Operation::Union, args, "zunion", reply)
}

/// `ZINTER numkeys key [key …] [WEIGHTS weight …] [AGGREGATE SUM | MIN | MAX] [WITHSCORES]`
pub(super) fn zinter(context: &mut Context<'_>, args: Args<'_>, reply: &mut Reply<'_>) -> Outcome {
    list(context, Operation::Intersection, args, "zinter", reply)
}

/// `ZDIFF numkeys key [key …] [WITHSCORES]`
pub(super) fn zdiff(context: &mut Context<'_>, args: Args<'_>, reply: &mut Reply<'_>) -> Outcome {
    list(context, Operation::Difference, args, "zdiff", reply)
}

fn list(context: &Context<'_>, operation: Operation, args: Args<'_>, name: &str, reply: &mut Reply<'_>) -> Outcome {
    let call = Call::read(context, operation, &args[1..], Takes::Scores, name)?;
    let result = call.result(&context.keyspace)?;
    reply.array(reply_count(result.len(), call.with_scores, reply.protocol()));
    for (member, score) in result {
        reply_member(reply, &member, call.with_scores.then_some(score));
    }
    Ok(())
}

/// `ZINTERCARD numkeys key [key …] [LIMIT limit]`
pub(super) fn zintercard(context: &mut Context<'_>, args: Args<'_>, reply: &mut Reply<'_>) -> Outcome {
    let call = Call::read(context, Operation::Intersection, &args[1..], Takes::Limit, "zintercard")?;
    let mut count = 0;
    call.each_of_first(&context.keyspace, &mut |_, _| {
        count += 1;
        if count == call.limit { ControlFlow::Break(()) } else { ControlFlow::Continue(()) }
    })?;
    reply.integer(count);
    Ok(())
}

/// `ZUNIONSTORE destination numkeys key [key …] [WEIGHTS weight …] [AGGREGATE SUM | MIN | MAX]`
pub(super) fn zunionstore(context: &mut Context<'_>, args: Args<'_>, reply: &mut Reply<'_>) -> Outcome {
    store(context, Operation::Union, args, "zunionstore", reply)
}

/// `ZINTERSTORE destination numkeys key [key …] [WEIGHTS weight …] [AGGREGATE SUM | MIN | MAX]`
pub(super) fn zinterstore(context: &mut Context<'_>, args: Args<'_>, reply: &mut Reply<'_>) -> Outcome {
    store(context, Operation::Intersection, args, "zinterstore", reply)
}

/// `ZDIFFSTORE destination numkeys key [key …]`
pub(super) fn zdiffstore(context: &mut Context<'_>, args: Args<'_>, reply: &mut Reply<'_>) -> Outcome {
    store(context, Operation::Difference, args, "zdiffstore", reply)
}

fn store(
    context: &mut Context<'_>,
    operation: Operation,
    args: Args<'_>,
    name: &str,
    reply: &mut Reply<'_>,
) -> Outcome {
    let call = Call::read(context, operation, &args[2..], Takes::Nothing, name)?;
    let result = call.result(&context.keyspace)?;
    store_result(context, (args[1], name), &result, reply)
}

/// Writes `result` to `key`, whatever that held before, and replies how many members it has. That is told as `event`.
pub(in crate::commands) fn store_result(
    context: &mut Context<'_>,
    (key, event): (&[u8], &str),
    result: &[(Box<[u8]>, f64)],
    reply: &mut Reply<'_>,
) -> Outcome {
    let mut sorted_set = context.keyspace.sorted_set_replacing(key)?;
    for (member, score) in result {
        sorted_set.insert(&mut context.keyspace, member, None, *score)?;
    }
    sorted_set.save(&mut context.keyspace)?;
    if !sorted_set.is_empty() {
        context.keyspace.notify(EventClasses::SORTED_SET, event, key);
    }
    reply.integer(result.len() as i64);
    Ok(())
}

#[cfg(test)]
mod tests {
    use basalt_net::resp::Protocol;

    use crate::commands::testing::Shard;

    // The replies are those of redis-server 7.0.15.

    #[test]
    fn sorted_sets_are_put_together() {
        Shard::new().expect(
            Protocol::Resp2,
            &[
                ("ZADD one 1 a 2 b", ":2"),
                ("ZADD two 10 b 20 c 30 d", ":3"),
                ("SADD set a b", ":2"),
                ("ZUNION 2 one two WITHSCORES", "*8 $1 a $1 1 $1 b $2 12 $1 c $2 20 $1 d $2 30"),
                ("ZUNION 2 one two WEIGHTS 2 -1", "*4 $1 d $1 c $1 b $1 a"),
                ("ZUNION 2 one set AGGREGATE MAX WITHSCORES", "*4 $1 a $1 1 $1 b $1 2"),
                ("ZINTER 2 one two AGGREGATE min withscores", "*2 $1 b $1 2"),
                ("ZINTER 3 one two none", "*0"),
                ("ZDIFF 2 one two WITHSCORES", "*2 $1 a $1 1"),
                ("ZDIFF 2 one one", "*0"),
                ("ZDIFF 1 none", "*0"),
                ("ZINTERCARD 2 one set", ":2"),
                ("ZINTERCARD 2 one set LIMIT 1", ":1"),
                ("ZUNIONSTORE to 2 one two WEIGHTS inf -inf", ":4"),
                ("ZRANGE to 0 -1 WITHSCORES", "*8 $1 c $4 -inf $1 d $4 -inf $1 b $1 0 $1 a $3 inf"),
                ("ZINTERSTORE to 2 to set", ":2"),
                ("ZSCORE to b", "$1 1"),
                ("ZDIFFSTORE to 2 to to", ":0"),
                ("EXISTS to", ":0"),
                ("SET to text", "+OK"),
                ("ZDIFFSTORE to 2 two one", ":2"),
                ("TYPE to", "+zset"),
            ],
        );
    }

    #[test]
    fn errors_are_those_of_redis() {
        Shard::new().expect(
            Protocol::Resp2,
            &[
                ("ZADD z 1 a", ":1"),
                ("RPUSH l a", ":1"),
                ("ZUNION 1 l FOO", "-WRONGTYPE Operation against a key holding the wrong kind of value"),
                ("ZUNION 0 z", "-ERR at least 1 input key is needed for 'zunion' command"),
                ("ZINTERSTORE to -1 z", "-ERR at least 1 input key is needed for 'zinterstore' command"),
                ("ZUNION x z", "-ERR value is not an integer or out of range"),
                ("ZUNION 2 z", "-ERR syntax error"),
                ("ZUNION 1 z WEIGHTS", "-ERR syntax error"),
                ("ZUNION 1 z WEIGHTS x", "-ERR weight value is not a float"),
                ("ZUNION 1 z AGGREGATE avg", "-ERR syntax error"),
                ("ZDIFF 1 z WEIGHTS 1", "-ERR syntax error"),
                ("ZUNIONSTORE to 1 z WITHSCORES", "-ERR syntax error"),
                ("ZINTERCARD 1 z LIMIT -1", "-ERR LIMIT can't be negative"),
                ("ZINTERCARD 1 z WITHSCORES", "-ERR syntax error"),
                ("ZINTERCARD 0 z", "-ERR at least 1 input key is needed for 'zintercard' command"),
            ],
        );
    }

    #[test]
    fn pairs_are_nested_in_resp3() {
        Shard::new().expect(
            Protocol::Resp3,
            &[
                ("ZADD z 1 a 2.5 b", ":2"),
                ("ZUNION 1 z WITHSCORES", "*2 *2 $1 a ,1 *2 $1 b ,2.5"),
                ("ZINTER 1 z", "*2 $1 a $1 b"),
                ("ZDIFF 1 z WITHSCORES", "*2 *2 $1 a ,1 *2 $1 b ,2.5"),
            ],
        );
    }
}
