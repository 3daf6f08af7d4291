//! SORT and SORT_RO.
//!
//! What a newcomer would get wrong: Redis has no order for the members of a set. Where elements are not to be sorted, those of a
//! set are sorted all the same here, by their bytes, as Redis does where the result is stored; so the reply is the same on every
//! replica.

use basalt_net::resp::Reply;
use basalt_storage::Direction;
use basalt_storage::keyspace::{End, EventClasses};

use super::elements::{Collection, Element, Kept};
use super::options::SortOptions;
use super::pattern::Pattern;
use super::weights::{ColdValues, Weighed, compare, weigh};
use crate::commands::partial_sort::partial_sort;
use crate::commands::{Args, CommandError, Context};
use crate::limits;

type Outcome = Result<(), CommandError>;

/// Takes what is told of an element, which may be nothing, and says whether it takes more.
type Take<'t> = &'t mut dyn FnMut(Option<&[u8]>) -> Result<bool, CommandError>;

/// The refusal of a call whose patterns lead to very many values.
const TOO_MANY: CommandError =
    CommandError::text("ERR BY and GET would look up more than 20000 values each, SORT fewer elements at a time");

/// The work of a comparison, as [`Context::pay`] counts it.
const COMPARISON_WORK: u64 = 3;

/// `SORT key [BY pattern] [LIMIT offset count] [GET pattern [GET pattern …]] [ASC | DESC] [ALPHA] [STORE destination]`
pub(super) fn sort(context: &mut Context<'_>, args: Args<'_>, reply: &mut Reply<'_>) -> Outcome {
    run(context, SortOptions::read(args, true)?, args[1], reply)
}

/// `SORT_RO`, which stores nothing.
pub(super) fn sort_ro(context: &mut Context<'_>, args: Args<'_>, reply: &mut Reply<'_>) -> Outcome {
    run(context, SortOptions::read(args, false)?, args[1], reply)
}

fn run(context: &mut Context<'_>, options: SortOptions<'_>, key: &[u8], reply: &mut Reply<'_>) -> Outcome {
    let mut kept = Kept::default();
    let sorted = match Collection::open(context, key)? {
        Some(collection) => sorted(context, options.clone(), &collection, &mut kept)?,
        None => Vec::new(),
    };
    match options.destination {
        Some(destination) => store(context, &options, &sorted, destination, kept, reply),
        None => tell(context, &options, &sorted, reply),
    }
}

/// The elements that are told, in their order.
fn sorted(
    context: &Context<'_>,
    mut options: SortOptions<'_>,
    collection: &Collection,
    kept: &mut Kept,
) -> Result<Vec<Element>, CommandError> {
    let length = collection.len();
    let window = options.window(length);
    if options.is_unsorted && !collection.is_set() {
        let direction = if options.descending { Direction::Backward } else { Direction::Forward };
        return collection.elements(context, window, direction, kept);
    }
    if options.is_unsorted {
        (options.by, options.alpha) = (None, true);
    }
    check_lookups(length, options.by.as_slice())?;
    let elements = collection.elements(context, 0..length, Direction::Forward, kept)?;
    let count = elements.len() as u64;
    context.pay(count * u64::from(count.checked_ilog2().unwrap_or(0)) * COMPARISON_WORK)?;
    let (mut weighed, are_numbers) = weigh(context, elements, &options, kept)?;
    let places = window.start as usize..window.end as usize;
    let mut by_order = |one: &Weighed, other: &Weighed| compare(one, other, &options);
    if options.by.is_some() && places != (0..weighed.len()) {
        partial_sort(&mut weighed, places.clone(), &mut by_order);
    } else {
        weighed.sort_by(by_order);
    }
    if !are_numbers {
        return Err(CommandError::text("ERR One or more scores can't be converted into double"));
    }
    weighed.truncate(places.end);
    Ok(weighed.drain(places.start..).map(|weighed| weighed.element).collect())
}

/// Makes sure that patterns do not lead to more values than one call may look up. Whether they do is the same on every replica.
///
/// # Errors
/// [`TOO_MANY`] if they do.
fn check_lookups(elements: u64, patterns: &[Pattern<'_>]) -> Outcome {
    let count = patterns.iter().filter(|pattern| pattern.names_keys()).count() as u64;
    if elements.saturating_mul(count) > limits::SORT_LOOKUPS_MAX as u64 { Err(TOO_MANY) } else { Ok(()) }
}

/// Gives `take` what is told of each element, one behind the other, until it says that it is enough.
fn each_told(context: &Context<'_>, options: &SortOptions<'_>, elements: &[Element], take: Take<'_>) -> Outcome {
    let (itself, mut cold) = ([Pattern::Element], ColdValues::default());
    let patterns = if options.gets.is_empty() { &itself[..] } else { &options.gets };
    check_lookups(elements.len() as u64, patterns)?;
    for element in elements {
        for pattern in patterns {
            let taken = cold.note(pattern.look_up(&context.keyspace, element, &mut *take))?;
            if !taken.transpose()?.unwrap_or(true) {
                return cold.check();
            }
        }
    }
    cold.check()
}

fn tell(context: &Context<'_>, options: &SortOptions<'_>, elements: &[Element], reply: &mut Reply<'_>) -> Outcome {
    reply.array(elements.len() * options.gets.len().max(1));
    each_told(context, options, elements, &mut |value| {
        reply.bulk_or_null(value);
        // Nobody gets it then.
        Ok(!reply.is_over())
    })
}

/// Writes what is told to the list `destination`, whatever that held before.
fn store(
    context: &mut Context<'_>,
    options: &SortOptions<'_>,
    elements: &[Element],
    destination: &[u8],
    mut kept: Kept,
    reply: &mut Reply<'_>,
) -> Outcome {
    let mut values: Vec<Box<[u8]>> = Vec::new();
    each_told(context, options, elements, &mut |value| {
        let value = value.unwrap_or_default();
        kept.add(value.len())?;
        values.push(value.into());
        Ok(true)
    })?;
    let mut list = context.keyspace.list_replacing(destination)?;
    values.iter().try_for_each(|value| list.push(&mut context.keyspace, End::Tail, value))?;
    list.save(&mut context.keyspace);
    if !values.is_empty() {
        context.keyspace.notify(EventClasses::LIST, "sortstore", destination);
    }
    reply.integer(values.len() as i64);
    Ok(())
}

#[cfg(test)]
mod tests {
    use basalt_net::resp::Protocol;

    use crate::commands::testing::Shard;

    // The replies are those of redis-server 7.0.15.

    const WRONG_TYPE: &str = "-WRONGTYPE Operation against a key holding the wrong kind of value";

    #[test]
    fn elements_are_sorted() {
        Shard::new().expect(
            Protocol::Resp2,
            &[
                ("RPUSH l 3 1 2 10", ":4"),
                ("SORT l", "*4 $1 1 $1 2 $1 3 $2 10"),
                ("SORT l DESC", "*4 $2 10 $1 3 $1 2 $1 1"),
                ("SORT l ALPHA", "*4 $1 1 $2 10 $1 2 $1 3"),
                ("SORT l LIMIT 1 2", "*2 $1 2 $1 3"),
                ("SORT l LIMIT -1 -1 DESC", "*4 $2 10 $1 3 $1 2 $1 1"),
                ("SORT l LIMIT 9 9", "*0"),
                ("MSET w_1 5 w_2 3 w_3 4 v_1 one", "+OK"),
                ("HSET o_2 f two", ":1"),
                ("SORT l BY w_*", "*4 $2 10 $1 2 $1 3 $1 1"),
                ("SORT l BY w_* GET # GET v_* GET o_*->f LIMIT 1 2", "*6 $1 2 $-1 $3 two $1 3 $-1 $-1"),
                ("SORT l BY nosort", "*4 $1 3 $1 1 $1 2 $2 10"),
                ("SORT l BY nosort DESC LIMIT 0 2", "*2 $2 10 $1 2"),
                ("SORT l BY none_* DESC", "*4 $1 3 $1 2 $2 10 $1 1"),
                ("SORT l BY w_* ALPHA", "*4 $2 10 $1 2 $1 3 $1 1"),
                ("SORT l GET x", "*4 $-1 $-1 $-1 $-1"),
                ("SORT_RO l", "*4 $1 1 $1 2 $1 3 $2 10"),
                ("SADD s b a c", ":3"),
                ("SORT s ALPHA DESC", "*3 $1 c $1 b $1 a"),
                ("ZADD z 1 9 2 8", ":2"),
                ("SORT z", "*2 $1 8 $1 9"),
                ("SORT z BY nosort DESC", "*2 $1 8 $1 9"),
                ("SORT none", "*0"),
            ],
        );
    }

    #[test]
    fn what_is_sorted_is_stored() {
        Shard::new().expect(
            Protocol::Resp2,
            &[
                ("RPUSH l 3 1 2 10", ":4"),
                ("SADD s b a c", ":3"),
                ("HSET o_2 f two", ":1"),
                ("SORT s BY nosort STORE to", ":3"),
                ("LRANGE to 0 -1", "*3 $1 a $1 b $1 c"),
                ("SORT l BY w_* GET o_*->f STORE to", ":4"),
                ("LRANGE to 0 -1", "*4 $0  $0  $3 two $0"),
                ("SORT none STORE to", ":0"),
                ("EXISTS to", ":0"),
                ("SORT l STORE l", ":4"),
                ("LRANGE l 0 -1", "*4 $1 1 $1 2 $1 3 $2 10"),
                ("SORT l BY nosort DESC LIMIT 1 2 STORE s", ":2"),
                ("LRANGE s 0 -1", "*2 $1 3 $1 2"),
            ],
        );
    }

    #[test]
    fn patterns_look_up_so_many_values_and_no_more() {
        let mut shard = Shard::new();
        let numbers =
            |range: std::ops::Range<usize>| range.map(|number| number.to_string()).collect::<Vec<_>>().join(" ");
        shard.line(&format!("RPUSH l {}", numbers(0..20_000)));
        let is_told = |shard: &mut Shard, line: &str| shard.line(line).starts_with("*1 ");
        for line in
            ["SORT l BY w_* LIMIT 0 1", "SORT l BY nosort GET w_* LIMIT 0 1", "SORT l LIMIT 0 1 GET # GET x GET w_*"]
        {
            assert!(is_told(&mut shard, line) || line.contains("GET #"), "{line}");
        }
        shard.expect(Protocol::Resp2, &[("SORT l BY w_* GET w_* STORE to", ":20000"), ("RPUSH l x", ":20001")]);
        for line in ["SORT l BY w_* LIMIT 0 1", "SORT l BY nosort GET w_* GET v_*", "SORT l BY w_* STORE to"] {
            assert!(shard.line(line).starts_with("-ERR BY and GET would look up more than 20000"), "{line}");
        }
        assert!(is_told(&mut shard, "SORT l BY nosort GET w_* LIMIT 20000 1"));
    }

    #[test]
    fn errors_are_those_of_redis() {
        Shard::new().expect(
            Protocol::Resp2,
            &[
                ("RPUSH l 1 a", ":2"),
                ("SET t x", "+OK"),
                ("SORT t", WRONG_TYPE),
                ("SORT l", "-ERR One or more scores can't be converted into double"),
                ("SORT l STORE to", "-ERR One or more scores can't be converted into double"),
                ("SORT l LIMIT 1", "-ERR syntax error"),
                ("SORT l LIMIT x 1", "-ERR value is not an integer or out of range"),
                ("SORT l LIMIT 1 x FOO", "-ERR value is not an integer or out of range"),
                ("SORT l FOO", "-ERR syntax error"),
                ("SORT l BY", "-ERR syntax error"),
                ("SORT l GET", "-ERR syntax error"),
                ("SORT l STORE", "-ERR syntax error"),
                ("SORT t FOO", "-ERR syntax error"),
                ("SORT_RO l STORE to", "-ERR syntax error"),
                ("SORT l BY t", "*2 $1 1 $1 a"),
                ("SET w_1 nan", "+OK"),
                ("SORT l BY w_*", "-ERR One or more scores can't be converted into double"),
            ],
        );
    }

    #[test]
    fn what_is_kept_has_a_bound() {
        let mut shard = Shard::new();
        shard.run(Protocol::Resp2, &["SET", "large", &"v".repeat(1 << 20)]);
        let push = |count| ["RPUSH", "l"].into_iter().chain(std::iter::repeat_n("e", count)).collect::<Vec<_>>();
        shard.run(Protocol::Resp2, &push(60));
        assert_eq!(shard.line("SORT l GET larg* BY nosort STORE to"), ":60");
        shard.run(Protocol::Resp2, &push(10));
        for line in ["SORT l GET larg* BY nosort STORE to", "SORT l BY larg* ALPHA"] {
            assert!(shard.line(line).starts_with("-ERR SORT takes at most 64 MB"), "{line}");
        }
        assert_eq!(shard.line("LLEN to"), ":60");
    }
}
