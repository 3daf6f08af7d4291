//! Ranges of sorted sets that are removed, by rank, score or name.

use basalt_net::resp::Reply;
use basalt_storage::keyspace::{EventClasses, Keyspace, SortedSet};

use super::ranges::{parse_lex_bound, parse_score_range};
use crate::commands::{Args, CommandError, Context, parse_i64, parse_index_range};

type Outcome = Result<(), CommandError>;

/// `ZREMRANGEBYRANK key start stop`
pub(super) fn zremrangebyrank(context: &mut Context<'_>, args: Args<'_>, reply: &mut Reply<'_>) -> Outcome {
    let (start, stop) = (parse_i64(args[2])?, parse_i64(args[3])?);
    remove(context, (args[1], "zremrangebyrank"), reply, |keyspace, sorted_set| {
        let ranks = parse_index_range(start, stop, sorted_set.len()).unwrap_or(0..0);
        sorted_set.remove_ranks(keyspace, ranks)
    })
}

/// `ZREMRANGEBYSCORE key min max`
pub(super) fn zremrangebyscore(context: &mut Context<'_>, args: Args<'_>, reply: &mut Reply<'_>) -> Outcome {
    let scores = parse_score_range(args[2], args[3])?;
    let key = (args[1], "zremrangebyscore");
    remove(context, key, reply, |keyspace, sorted_set| sorted_set.remove_scores(keyspace, &scores))
}

/// `ZREMRANGEBYLEX key min max`
pub(super) fn zremrangebylex(context: &mut Context<'_>, args: Args<'_>, reply: &mut Reply<'_>) -> Outcome {
    let (min, max) = (parse_lex_bound(args[2])?, parse_lex_bound(args[3])?);
    let key = (args[1], "zremrangebylex");
    remove(context, key, reply, |keyspace, sorted_set| sorted_set.remove_lex(keyspace, min, max))
}

fn remove(
    context: &mut Context<'_>,
    (key, event): (&[u8], &str),
    reply: &mut Reply<'_>,
    remove: impl FnOnce(&mut Keyspace<'_>, &mut SortedSet) -> basalt_storage::Result<u64>,
) -> Outcome {
    let mut removed = 0;
    if let Some(mut sorted_set) = context.keyspace.sorted_set(key)? {
        removed = remove(&mut context.keyspace, &mut sorted_set)?;
        if removed > 0 {
            sorted_set.save(&mut context.keyspace)?;
            context.keyspace.notify_taken(EventClasses::SORTED_SET, event, key, sorted_set.is_empty());
        }
    }
    reply.integer(removed as i64);
    Ok(())
}

#[cfg(test)]
mod tests {
    use basalt_net::resp::Protocol;

    use crate::commands::testing::Shard;

    // The replies are those of redis-server 7.0.15.

    #[test]
    fn ranges_are_removed_and_stored() {
        Shard::new().expect(
            Protocol::Resp2,
            &[
                ("ZADD z 1 a 2 b 2 c 3 d 4 e", ":5"),
                ("ZREMRANGEBYRANK z 0 0", ":1"),
                ("ZREMRANGEBYRANK z -1 -1", ":1"),
                ("ZREMRANGEBYRANK z 5 9", ":0"),
                ("ZREMRANGEBYSCORE z (2 3", ":1"),
                ("ZREMRANGEBYLEX z [c +", ":1"),
                ("ZRANGE z 0 -1", "*1 $1 b"),
                ("ZREMRANGEBYSCORE z -inf +inf", ":1"),
                ("EXISTS z", ":0"),
                ("ZREMRANGEBYRANK z 0 -1", ":0"),
                ("ZADD z 1 a 2 b 3 c", ":3"),
                ("ZRANGESTORE to z 0 0 REV", ":1"),
                ("ZRANGE to 0 -1 WITHSCORES", "*2 $1 c $1 3"),
                ("ZRANGESTORE z z (1 +inf BYSCORE LIMIT 1 5", ":1"),
                ("ZRANGESTORE to z [x + BYLEX", ":0"),
                ("EXISTS to", ":0"),
                ("ZRANGESTORE to none 0 -1", ":0"),
                ("ZREMRANGEBYRANK z 0 -1", ":1"),
            ],
        );
    }

    #[test]
    fn errors_are_those_of_redis() {
        Shard::new().expect(
            Protocol::Resp2,
            &[
                ("RPUSH l a", ":1"),
                ("ZREMRANGEBYRANK l x 1", "-ERR value is not an integer or out of range"),
                ("ZREMRANGEBYSCORE l x 1", "-ERR min or max is not a float"),
                ("ZREMRANGEBYLEX l x +", "-ERR min or max not valid string range item"),
                ("ZREMRANGEBYRANK l 0 1", "-WRONGTYPE Operation against a key holding the wrong kind of value"),
                ("ZRANGESTORE to l 0 1", "-WRONGTYPE Operation against a key holding the wrong kind of value"),
                ("ZRANGESTORE to l 0 1 WITHSCORES", "-ERR syntax error"),
            ],
        );
    }
}
