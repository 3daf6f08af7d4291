//! Commands on lists that look for elements: LPOS, LREM and LINSERT.
//!
//! What a newcomer would get wrong: what is found is only remembered while the list is walked over, and changed afterwards: a scan
//! lends the rows.

use std::ops::ControlFlow;

use basalt_net::resp::Reply;
use basalt_storage::Direction;
use basalt_storage::keyspace::EventClasses;

use crate::commands::arguments::{Options, parse_i64_from, parse_i64_or};
use crate::commands::{Args, CommandError, Context};

type Outcome = Result<(), CommandError>;

/// The options of LPOS.
struct Search {
    /// The first match that counts, from 1.
    rank: u64,
    direction: Direction,
    /// Matches at most, and 0 for all; `None` if one is wanted, which is no array.
    count: Option<i64>,
    /// Elements to be compared at most; 0 for all.
    length_max: i64,
}

impl Search {
    fn read(args: Args<'_>) -> Result<Search, CommandError> {
        let mut search = Search { rank: 1, direction: Direction::Forward, count: None, length_max: 0 };
        let mut words = Options::new(args, 3);
        while let Some(word) = words.next_word() {
            match word.to_ascii_lowercase().as_slice() {
                b"rank" => {
                    let rank = parse_i64_from(words.argument()?, -i64::MAX)?;
                    if rank == 0 {
                        return Err(CommandError::text(
                            "ERR RANK can't be zero: use 1 to start from the first match, 2 from the second ... or use negative to \
                             start from the end of the list",
                        ));
                    }
                    search.rank = rank.unsigned_abs();
                    search.direction = if rank < 0 { Direction::Backward } else { Direction::Forward };
                }
                b"count" => search.count = Some(parse_i64_or(words.argument()?, 0, "ERR COUNT can't be negative")?),
                b"maxlen" => search.length_max = parse_i64_or(words.argument()?, 0, "ERR MAXLEN can't be negative")?,
                _ => return Err(CommandError::SYNTAX),
            }
        }
        Ok(search)
    }
}

/// `LPOS key element [RANK rank] [COUNT count] [MAXLEN length]`
pub(super) fn lpos(context: &mut Context<'_>, args: Args<'_>, reply: &mut Reply<'_>) -> Outcome {
    let search = Search::read(args)?;
    let (mut matches, mut found) = (0, Vec::new());
    if let Some(list) = context.keyspace.list(args[1])? {
        let mut left = if search.length_max == 0 { list.len() } else { (search.length_max as u64).min(list.len()) };
        let indexes = match search.direction {
            Direction::Forward => 0..left,
            Direction::Backward => list.len() - left..list.len(),
        };
        let wanted = search.count.unwrap_or(1) as u64;
        list.search(&context.keyspace, indexes, search.direction, &mut |index, value| {
            left -= 1;
            if value == args[2] {
                matches += 1;
                if matches >= search.rank {
                    found.push(index);
                }
            }
            let is_enough = wanted > 0 && found.len() as u64 == wanted;
            if is_enough || left == 0 { ControlFlow::Break(()) } else { ControlFlow::Continue(()) }
        })?;
    }
    match (search.count, found.first()) {
        (Some(_), _) => {
            reply.array(found.len());
            found.iter().for_each(|index| reply.integer(*index as i64));
        }
        (None, Some(index)) => reply.integer(*index as i64),
        (None, None) => reply.null(),
    }
    Ok(())
}

/// `LREM key count element`
pub(super) fn lrem(context: &mut Context<'_>, args: Args<'_>, reply: &mut Reply<'_>) -> Outcome {
    let count = parse_i64_from(args[2], -i64::MAX)?;
    let Some(mut list) = context.keyspace.list(args[1])? else {
        reply.integer(0);
        return Ok(());
    };
    let direction = if count < 0 { Direction::Backward } else { Direction::Forward };
    let mut indexes = Vec::new();
    list.search(&context.keyspace, 0..list.len(), direction, &mut |index, value| {
        if value == args[3] {
            indexes.push(index);
        }
        let is_enough = count != 0 && indexes.len() as u64 == count.unsigned_abs();
        if is_enough { ControlFlow::Break(()) } else { ControlFlow::Continue(()) }
    })?;
    if direction == Direction::Backward {
        indexes.reverse();
    }
    if !indexes.is_empty() {
        list.take_out(&mut context.keyspace, &indexes)?;
        list.save(&mut context.keyspace);
        context.keyspace.notify_taken(EventClasses::LIST, "lrem", args[1], list.is_empty());
    }
    reply.integer(indexes.len() as i64);
    Ok(())
}

/// `LINSERT key BEFORE | AFTER pivot element`
pub(super) fn linsert(context: &mut Context<'_>, args: Args<'_>, reply: &mut Reply<'_>) -> Outcome {
    let behind = match args[2].to_ascii_lowercase().as_slice() {
        b"before" => 0,
        b"after" => 1,
        _ => return Err(CommandError::SYNTAX),
    };
    let Some(mut list) = context.keyspace.list(args[1])? else {
        reply.integer(0);
        return Ok(());
    };
    let mut pivot = None;
    list.search(&context.keyspace, 0..list.len(), Direction::Forward, &mut |index, value| {
        if value != args[3] {
            return ControlFlow::Continue(());
        }
        pivot = Some(index);
        ControlFlow::Break(())
    })?;
    let Some(pivot) = pivot else {
        reply.integer(-1);
        return Ok(());
    };
    list.insert(&mut context.keyspace, pivot + behind, args[4])?;
    list.save(&mut context.keyspace);
    context.keyspace.notify(EventClasses::LIST, "linsert", args[1]);
    reply.integer(list.len() as i64);
    Ok(())
}

#[cfg(test)]
mod tests {
    use basalt_net::resp::Protocol;

    use crate::commands::testing::Shard;

    // The replies are those of redis-server 7.0.15.

    #[test]
    fn elements_are_found_put_in_between_and_removed() {
        Shard::new().expect(
            Protocol::Resp2,
            &[
                ("RPUSH l a b c a b c", ":6"),
                ("LPOS l b", ":1"),
                ("LPOS l x", "$-1"),
                ("LPOS l b RANK 2", ":4"),
                ("LPOS l b RANK -1", ":4"),
                ("LPOS l b RANK 3", "$-1"),
                ("LPOS l b COUNT 0", "*2 :1 :4"),
                ("LPOS l b COUNT 1 RANK -1", "*1 :4"),
                ("LPOS l b COUNT 0 RANK -2", "*1 :1"),
                ("LPOS l c MAXLEN 2", "$-1"),
                ("LPOS l c COUNT 0 MAXLEN 3", "*1 :2"),
                ("LPOS l a COUNT 0 MAXLEN 3 RANK -1", "*1 :3"),
                ("LPOS l x COUNT 0", "*0"),
                ("LPOS none x", "$-1"),
                ("LPOS none x COUNT 1", "*0"),
                ("LINSERT l BEFORE a x", ":7"),
                ("LINSERT l after c y", ":8"),
                ("LINSERT l AFTER none y", ":-1"),
                ("LINSERT none AFTER a y", ":0"),
                ("LRANGE l 0 -1", "*8 $1 x $1 a $1 b $1 c $1 y $1 a $1 b $1 c"),
                ("LREM l 1 a", ":1"),
                ("LREM l -1 b", ":1"),
                ("LREM l 0 c", ":2"),
                ("LREM l 5 none", ":0"),
                ("LRANGE l 0 -1", "*4 $1 x $1 b $1 y $1 a"),
                ("LINSERT l AFTER a z", ":5"),
                ("LINDEX l -1", "$1 z"),
                ("DEL l", ":1"),
                ("RPUSH l a a a", ":3"),
                ("LREM l -2 a", ":2"),
                ("LREM l 0 a", ":1"),
                ("EXISTS l", ":0"),
                ("LREM l 0 a", ":0"),
            ],
        );
    }

    #[test]
    fn errors_are_those_of_redis() {
        Shard::new().expect(
            Protocol::Resp2,
            &[
                ("SADD s a", ":1"),
                ("LPOS s a", "-WRONGTYPE Operation against a key holding the wrong kind of value"),
                ("LREM s 0 a", "-WRONGTYPE Operation against a key holding the wrong kind of value"),
                ("LINSERT s BEFORE a b", "-WRONGTYPE Operation against a key holding the wrong kind of value"),
                ("LINSERT s AROUND a b", "-ERR syntax error"),
                ("LREM s x a", "-ERR value is not an integer or out of range"),
                ("LPOS s a RANK x", "-ERR value is not an integer or out of range"),
                ("LPOS s a COUNT -1", "-ERR COUNT can't be negative"),
                ("LPOS s a MAXLEN x", "-ERR MAXLEN can't be negative"),
                ("LPOS s a COUNT", "-ERR syntax error"),
                ("LPOS s a FOO 1", "-ERR syntax error"),
            ],
        );
    }
}
