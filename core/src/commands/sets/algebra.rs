//! Unions, intersections and differences of sets.
//!
//! What a newcomer would get wrong: a destination may be one of the sources. It is written under a new version, and the old members
//! are read to the end under theirs; so nothing has to be kept meanwhile but the members that are read at once.

use std::collections::HashSet;
use std::ops::ControlFlow;

use basalt_net::resp::Reply;
use basalt_storage::keyspace::{EventClasses, Keyspace, Names, Type, VisitName};

use crate::commands::arguments::{Options, parse_i64_or, read_counted_keys};
use crate::commands::names::names_of_all;
use crate::commands::{Args, CommandError, Context};
use crate::limits;

type Outcome = Result<(), CommandError>;

/// The way sets are put together.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Operation {
    Union,
    Intersection,
    Difference,
}

/// Sets to be put together.
struct Sources {
    operation: Operation,
    /// Those whose members are candidates, one after the other.
    from: Vec<Names>,
    /// Those that each candidate must be in, or must not be in.
    others: Vec<Names>,
}

impl Sources {
    fn open(context: &Context<'_>, operation: Operation, keys: Args<'_>) -> Result<Sources, CommandError> {
        let mut sets = names_of_all(context, keys, Type::Set)?;
        let (from, others) = match operation {
            Operation::Union => (sets.into_iter().flatten().collect(), Vec::new()),
            Operation::Intersection => {
                // The smallest one's members are looked for in the others.
                sets.sort_by_key(|set| set.as_ref().map_or(0, Names::len));
                let mut sets = sets.into_iter();
                match sets.next() {
                    Some(Some(smallest)) => (vec![smallest], sets.flatten().collect()),
                    _ => (Vec::new(), Vec::new()),
                }
            }
            Operation::Difference => {
                let mut sets = sets.into_iter();
                (sets.next().flatten().into_iter().collect(), sets.flatten().collect())
            }
        };
        Ok(Sources { operation, from, others })
    }

    /// Returns whether a candidate is in the result.
    fn has(&self, keyspace: &Keyspace<'_>, member: &[u8]) -> basalt_storage::Result<bool> {
        let is_wanted_in_others = self.operation == Operation::Intersection;
        for other in &self.others {
            if other.contains(keyspace, member)? != is_wanted_in_others {
                return Ok(false);
            }
        }
        Ok(true)
    }

    /// Visits the members of the result until `visit` breaks; those of a union as often as they are in a source.
    fn each(&self, keyspace: &Keyspace<'_>, visit: VisitName<'_>) -> basalt_storage::Result<()> {
        let mut has_broken = false;
        for set in &self.from {
            set.each(keyspace, &mut |member, value| {
                if !self.has(keyspace, member)? {
                    return Ok(ControlFlow::Continue(()));
                }
                let flow = visit(member, value)?;
                has_broken = flow.is_break();
                Ok(flow)
            })?;
            if has_broken {
                break;
            }
        }
        Ok(())
    }
}

/// `SUNION key [key …]`
pub(super) fn sunion(context: &mut Context<'_>, args: Args<'_>, reply: &mut Reply<'_>) -> Outcome {
    list(context, Operation::Union, args, reply)
}

/// `SINTER key [key …]`
pub(super) fn sinter(context: &mut Context<'_>, args: Args<'_>, reply: &mut Reply<'_>) -> Outcome {
    list(context, Operation::Intersection, args, reply)
}

/// `SDIFF key [key …]`
pub(super) fn sdiff(context: &mut Context<'_>, args: Args<'_>, reply: &mut Reply<'_>) -> Outcome {
    list(context, Operation::Difference, args, reply)
}

fn list(context: &Context<'_>, operation: Operation, args: Args<'_>, reply: &mut Reply<'_>) -> Outcome {
    let sources = Sources::open(context, operation, &args[1..])?;
    let (mark, mut count) = (reply.mark(), 0);
    // Only what comes from several sources may come twice.
    let mut seen: Option<HashSet<Box<[u8]>>> = (sources.from.len() > 1).then(HashSet::new);
    sources.each(&context.keyspace, &mut |member, _| {
        if seen.as_mut().is_none_or(|seen| seen.insert(member.into())) {
            reply.bulk(member);
            count += 1;
        }
        // Nobody gets it then.
        Ok(if reply.is_over() { ControlFlow::Break(()) } else { ControlFlow::Continue(()) })
    })?;
    reply.set_before(mark, count);
    Ok(())
}

/// `SINTERCARD numkeys key [key …] [LIMIT limit]`
pub(super) fn sintercard(context: &mut Context<'_>, args: Args<'_>, reply: &mut Reply<'_>) -> Outcome {
    let Some((keys, options)) = read_counted_keys(&args[1..])? else {
        return Err(CommandError::text("ERR Number of keys can't be greater than number of args"));
    };
    let mut limit = 0;
    let mut words = Options::new(options, 0);
    while let Some(word) = words.next_word() {
        if !word.eq_ignore_ascii_case(b"limit") {
            return Err(CommandError::SYNTAX);
        }
        limit = parse_i64_or(words.argument()?, 0, "ERR LIMIT can't be negative")?;
    }
    let sources = Sources::open(context, Operation::Intersection, keys)?;
    let mut count = 0;
    sources.each(&context.keyspace, &mut |_, _| {
        count += 1;
        Ok(if count == limit { ControlFlow::Break(()) } else { ControlFlow::Continue(()) })
    })?;
    reply.integer(count);
    Ok(())
}

/// `SUNIONSTORE destination key [key …]`
pub(super) fn sunionstore(context: &mut Context<'_>, args: Args<'_>, reply: &mut Reply<'_>) -> Outcome {
    store(context, (Operation::Union, "sunionstore"), args, reply)
}

/// `SINTERSTORE destination key [key …]`
pub(super) fn sinterstore(context: &mut Context<'_>, args: Args<'_>, reply: &mut Reply<'_>) -> Outcome {
    store(context, (Operation::Intersection, "sinterstore"), args, reply)
}

/// `SDIFFSTORE destination key [key …]`
pub(super) fn sdiffstore(context: &mut Context<'_>, args: Args<'_>, reply: &mut Reply<'_>) -> Outcome {
    store(context, (Operation::Difference, "sdiffstore"), args, reply)
}

fn store(
    context: &mut Context<'_>,
    (operation, event): (Operation, &str),
    args: Args<'_>,
    reply: &mut Reply<'_>,
) -> Outcome {
    let sources = Sources::open(context, operation, &args[2..])?;
    let keyspace = &mut context.keyspace;
    let mut destination = keyspace.set_replacing(args[1])?;
    for set in &sources.from {
        let mut from = Some(0);
        while let Some(hash) = from {
            let (mut members, mut names_left) = (Vec::new(), limits::COPIED_NAMES_AT_ONCE);
            from = set.page(keyspace, hash, &mut |member, _| {
                if sources.has(keyspace, member)? {
                    members.push(Box::<[u8]>::from(member));
                }
                names_left = names_left.saturating_sub(1);
                Ok(if names_left == 0 { ControlFlow::Break(()) } else { ControlFlow::Continue(()) })
            })?;
            for member in &members {
                destination.insert(keyspace, member)?;
            }
        }
    }
    destination.save(keyspace)?;
    if !destination.is_empty() {
        keyspace.notify(EventClasses::SET, event, args[1]);
    }
    reply.integer(destination.len() as i64);
    Ok(())
}

#[cfg(test)]
mod tests {
    use basalt_net::resp::{Protocol, value};

    use crate::commands::testing::Shard;

    // The replies are those of redis-server 7.0.15.

    #[test]
    fn sets_are_put_together() {
        Shard::new().expect(
            Protocol::Resp2,
            &[
                ("SADD one a", ":1"),
                ("SADD two a b", ":2"),
                ("SADD four a b c d", ":4"),
                ("SINTER one two four", "*1 $1 a"),
                ("SINTER two none", "*0"),
                ("SDIFF two one", "*1 $1 b"),
                ("SDIFF two two", "*0"),
                ("SDIFF none two", "*0"),
                ("SUNION one one", "*1 $1 a"),
                ("SUNION none", "*0"),
                ("SINTERCARD 2 two four", ":2"),
                ("SINTERCARD 2 two four LIMIT 1", ":1"),
                ("SINTERCARD 2 two four LIMIT 0", ":2"),
                ("SINTERCARD 1 none", ":0"),
                ("SUNIONSTORE to one two four none", ":4"),
                ("SCARD to", ":4"),
                ("SDIFFSTORE to to two", ":2"),
                ("SISMEMBER to c", ":1"),
                ("SINTERSTORE to two to", ":0"),
                ("EXISTS to", ":0"),
                ("SET to text", "+OK"),
                ("EXPIRE to 100", ":1"),
                ("SUNIONSTORE to two one", ":2"),
                ("TTL to", ":-1"),
                ("SDIFFSTORE to none", ":0"),
                ("TYPE to", "+none"),
                ("SMOVE two four b", ":1"),
                ("SCARD four", ":4"),
                ("SMOVE two two a", ":1"),
                ("SMOVE two two x", ":0"),
                ("SMOVE two other a", ":1"),
                ("EXISTS two", ":0"),
                ("SMOVE none other a", ":0"),
            ],
        );
    }

    #[test]
    fn errors_are_those_of_redis() {
        const WRONG_TYPE: &str = "-WRONGTYPE Operation against a key holding the wrong kind of value";
        Shard::new().expect(
            Protocol::Resp2,
            &[
                ("SADD s a", ":1"),
                ("RPUSH l a", ":1"),
                ("SUNION s l", WRONG_TYPE),
                ("SINTER none l", WRONG_TYPE),
                ("SDIFFSTORE l none l", WRONG_TYPE),
                ("SMOVE s l a", WRONG_TYPE),
                ("SMOVE none l a", ":0"),
                ("SINTERCARD 0 s", "-ERR numkeys should be greater than 0"),
                ("SINTERCARD x s", "-ERR numkeys should be greater than 0"),
                ("SINTERCARD 2 s", "-ERR Number of keys can't be greater than number of args"),
                ("SINTERCARD 1 s LIMIT -1", "-ERR LIMIT can't be negative"),
                ("SINTERCARD 1 s LIMIT", "-ERR syntax error"),
                ("SINTERCARD 1 s s", "-ERR syntax error"),
                ("SUNIONSTORE l s", ":1"),
                ("TYPE l", "+set"),
            ],
        );
    }

    #[test]
    fn results_are_sets_in_resp3() {
        Shard::new().expect(
            Protocol::Resp3,
            &[("SADD s a", ":1"), ("SUNION s s", "~1 $1 a"), ("SINTER s none", "~0"), ("SDIFF s none", "~1 $1 a")],
        );
    }

    #[test]
    fn sets_of_more_members_than_are_read_at_once_are_stored_whole() {
        let mut shard = Shard::new();
        for number in 0..3500 {
            shard.line(&format!("SADD {} {number}", if number % 2 == 0 { "even" } else { "odd" }));
        }
        assert_eq!(shard.line("SUNIONSTORE all even odd even"), ":3500");
        assert_eq!(shard.line("SDIFFSTORE even all odd"), ":1750");
        assert_eq!(shard.line("SUNIONSTORE odd odd even"), ":3500");
        let union = shard.run(Protocol::Resp2, &["SUNION", "all", "odd"]);
        assert_eq!(value::split_elements(&union).unwrap().count(), 3500);
    }
}
