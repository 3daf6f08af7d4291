//! GEOSEARCH and its kin: members of a sorted set whose positions are within an area.
//!
//! What a newcomer would get wrong: they are found by ranges of scores, one for each cell, and come in the order of the cells; so
//! does what is equally far.

use std::ops::ControlFlow;

use basalt_net::resp::Reply;
use basalt_storage::Direction;
use basalt_storage::keyspace::{ScoreRange, SortedSet};

use super::cell::{Position, as_signed};
use super::matches::{Match, Matches};
use super::query::{Family, Query};
use super::replies::{reply_distance, reply_position};
use crate::commands::sorted_sets::store_result;
use crate::commands::{Args, CommandError, Context};
use crate::limits;

type Outcome = Result<(), CommandError>;

/// The work of a distance, as [`Context::pay`] counts it: six functions of angles.
const DISTANCE_WORK: u64 = 15;

/// Times as much as a reply may have that is kept of what is found, where not all of it is replied.
const KEPT_REPLIES: usize = 4;

/// The refusal of a search that finds more than may be kept, to tell those of it that were asked for.
const TOO_MANY: CommandError = CommandError::text("ERR the search finds too many members, ask for fewer at a time");

/// `GEORADIUS key longitude latitude radius M | KM | FT | MI [WITHCOORD] [WITHDIST] [WITHHASH] [COUNT count [ANY]] [ASC | DESC]
/// [STORE key] [STOREDIST key]`
pub(super) fn georadius(context: &mut Context<'_>, args: Args<'_>, reply: &mut Reply<'_>) -> Outcome {
    search(context, Family::Radius, true, args, reply)
}

/// `GEORADIUS_RO`, which stores nothing.
pub(super) fn georadius_ro(context: &mut Context<'_>, args: Args<'_>, reply: &mut Reply<'_>) -> Outcome {
    search(context, Family::Radius, false, args, reply)
}

/// `GEORADIUSBYMEMBER key member radius M | KM | FT | MI […]`, with the options of GEORADIUS.
pub(super) fn georadiusbymember(context: &mut Context<'_>, args: Args<'_>, reply: &mut Reply<'_>) -> Outcome {
    search(context, Family::RadiusByMember, true, args, reply)
}

/// `GEORADIUSBYMEMBER_RO`, which stores nothing.
pub(super) fn georadiusbymember_ro(context: &mut Context<'_>, args: Args<'_>, reply: &mut Reply<'_>) -> Outcome {
    search(context, Family::RadiusByMember, false, args, reply)
}

/// `GEOSEARCH key FROMMEMBER member | FROMLONLAT longitude latitude BYRADIUS radius unit | BYBOX width height unit [ASC | DESC]
/// [COUNT count [ANY]] [WITHCOORD] [WITHDIST] [WITHHASH]`
pub(super) fn geosearch(context: &mut Context<'_>, args: Args<'_>, reply: &mut Reply<'_>) -> Outcome {
    search(context, Family::Search, false, args, reply)
}

/// `GEOSEARCHSTORE destination source […] [STOREDIST]`, with the options of GEOSEARCH.
pub(super) fn geosearchstore(context: &mut Context<'_>, args: Args<'_>, reply: &mut Reply<'_>) -> Outcome {
    search(context, Family::SearchStore, false, args, reply)
}

fn search(
    context: &mut Context<'_>,
    family: Family,
    may_store: bool,
    args: Args<'_>,
    reply: &mut Reply<'_>,
) -> Outcome {
    let sorted_set = context.keyspace.sorted_set(args[family.source()])?;
    let query = Query::read(context, family, may_store, sorted_set.as_ref(), args)?;
    let result = match &sorted_set {
        Some(sorted_set) => find(context, sorted_set, &query, reply)?,
        None => Vec::new(),
    };
    match query.destination {
        Some(key) => {
            let scored = |found: Match| {
                let score = if query.stores_distances { found.distance / query.unit } else { found.score };
                (found.member, score)
            };
            let result: Vec<_> = result.into_iter().map(scored).collect();
            let event = if family == Family::SearchStore { "geosearchstore" } else { "georadiusstore" };
            store_result(context, (key, event), &result, reply)
        }
        None => {
            reply_result(&query, &result, reply);
            Ok(())
        }
    }
}

/// The members that a query asks for, in its order.
fn find(
    context: &Context<'_>,
    sorted_set: &SortedSet,
    query: &Query<'_>,
    reply: &Reply<'_>,
) -> Result<Vec<Match>, CommandError> {
    let Some(shape) = query.shape() else { return Ok(Vec::new()) };
    let count = usize::try_from(query.count).unwrap_or(usize::MAX);
    let mut matches = Matches::new(query.result_order(), (count > 0).then_some(count));
    let bytes_max = if query.destination.is_some() { usize::MAX } else { kept_max(count, reply.room()) };
    let (mut is_over, mut has_enough, mut paid) = (false, false, Ok(()));
    for cell in shape.cells() {
        let (min, max) = cell.scores();
        let scores = ScoreRange { min, min_exclusive: false, max, max_exclusive: true };
        sorted_set.each_score(&context.keyspace, &scores, Direction::Forward, 0, &mut |member, score| {
            paid = context.pay(DISTANCE_WORK);
            let position = Position::of_score(score);
            if paid.is_ok()
                && let Some(distance) = shape.distance_within(position)
            {
                matches.add(member, score, position, distance);
                has_enough = query.any && matches.len() >= count;
                // One may be larger, if it is the only one.
                is_over = matches.bytes() > bytes_max && matches.len() > 1;
            }
            if has_enough || is_over || paid.is_err() { ControlFlow::Break(()) } else { ControlFlow::Continue(()) }
        })?;
        std::mem::replace(&mut paid, Ok(()))?;
        if has_enough || is_over {
            break;
        }
    }
    if is_over && count > 0 {
        return Err(TOO_MANY);
    }
    Ok(matches.into_result())
}

/// Bytes that may be kept of what is found for a reply with so much room.
fn kept_max(count: usize, room: usize) -> usize {
    // What a reply has no room for nobody gets. Of the nearest ones it is not known before all are found which they are.
    if count == 0 { room } else { room.saturating_mul(KEPT_REPLIES).max(limits::GEO_BYTES_KEPT) }
}

fn reply_result(query: &Query<'_>, result: &[Match], reply: &mut Reply<'_>) {
    let extra = usize::from(query.with_distance) + usize::from(query.with_hash) + usize::from(query.with_position);
    reply.array(result.len());
    for found in result {
        if extra > 0 {
            reply.array(extra + 1);
        }
        reply.bulk(&found.member);
        if query.with_distance {
            reply_distance(reply, found.distance / query.unit);
        }
        if query.with_hash {
            reply.integer(as_signed(found.score));
        }
        if query.with_position {
            reply_position(reply, found.position);
        }
        // Nobody gets it then.
        if reply.is_over() {
            break;
        }
    }
}

#[cfg(test)]
mod tests {
    use basalt_net::resp::{Protocol, Reply};

    use super::kept_max;
    use crate::commands::testing::Shard;
    use crate::limits;

    // The replies are those of redis-server 7.0.15.

    const WRONG_TYPE: &str = "-WRONGTYPE Operation against a key holding the wrong kind of value";

    #[test]
    fn members_within_an_area_are_found() {
        Shard::new().expect(
            Protocol::Resp2,
            &[
                ("GEOADD s 13.361389 38.115556 Palermo 15.087269 37.502669 Catania 12.758489 38.788135 edge1 17.241510 38.788135 edge2", ":4"),
                ("GEORADIUS s 15 37 200 km", "*2 $7 Palermo $7 Catania"),
                ("GEORADIUS s 15 37 200 km ASC WITHDIST", "*2 *2 $7 Catania $7 56.4413 *2 $7 Palermo $8 190.4424"),
                ("GEORADIUS s 15 37 200 km WITHCOORD WITHDIST WITHHASH DESC COUNT 1", "*1 *4 $7 Palermo $8 190.4424 :3479099956230698 *2 $20 13.36138933897018433 $20 38.11555639549629859"),
                ("GEORADIUS s 15 37 200 km COUNT 1", "*1 $7 Catania"),
                ("GEORADIUS s 15 37 200 km COUNT 1 ANY", "*1 $7 Palermo"),
                ("GEORADIUS_RO s 15 37 100 mi DESC", "*1 $7 Catania"),
                ("GEORADIUSBYMEMBER s Palermo 100 km", "*2 $7 Palermo $5 edge1"),
                ("GEORADIUSBYMEMBER_RO s Palermo 100 km WITHDIST", "*2 *2 $7 Palermo $6 0.0000 *2 $5 edge1 $7 91.4007"),
                ("GEOSEARCH s FROMMEMBER Palermo BYRADIUS 200 km ASC", "*3 $7 Palermo $5 edge1 $7 Catania"),
                ("GEOSEARCH s FROMLONLAT 15 37 BYBOX 400 400 km ASC", "*4 $7 Catania $7 Palermo $5 edge2 $5 edge1"),
                ("GEOSEARCH s FROMLONLAT 15 37 BYBOX 400 400 km DESC WITHDIST COUNT 2", "*2 *2 $5 edge1 $8 279.7405 *2 $5 edge2 $8 279.7403"),
                ("GEOSEARCH s FROMLONLAT 15 37 BYRADIUS 1 m", "*0"),
                ("GEOSEARCH none FROMMEMBER x BYRADIUS 1 m", "*0"),
                ("GEORADIUSBYMEMBER none x y z", "*0"),
            ],
        );
    }

    #[test]
    fn what_is_found_is_stored() {
        Shard::new().expect(
            Protocol::Resp2,
            &[
                ("GEOADD s 13.361389 38.115556 Palermo 15.087269 37.502669 Catania 12.758489 38.788135 edge1 17.241510 38.788135 edge2", ":4"),
                ("GEOSEARCHSTORE to s FROMLONLAT 15 37 BYBOX 400 400 km ASC COUNT 3", ":3"),
                ("ZRANGE to 0 -1 WITHSCORES", "*6 $7 Palermo $16 3479099956230698 $7 Catania $16 3479447370796909 $5 edge2 $16 3481342659049484"),
                ("GEORADIUS s 15 37 200 km STORE to", ":2"),
                ("ZCARD to", ":2"),
                ("GEORADIUS s 15 37 200 km STORE other STORE to COUNT 1", ":1"),
                ("ZRANGE to 0 -1", "*1 $7 Catania"),
                ("EXISTS other", ":0"),
                ("GEOSEARCHSTORE to none FROMLONLAT 15 37 BYRADIUS 1 km", ":0"),
                ("EXISTS to", ":0"),
                ("GEORADIUSBYMEMBER s Palermo 1 km STOREDIST s", ":1"),
                ("ZRANGE s 0 -1 WITHSCORES", "*2 $7 Palermo $1 0"),
            ],
        );
    }

    #[test]
    fn errors_are_those_of_redis() {
        Shard::new().expect(
            Protocol::Resp2,
            &[
                ("GEOADD s 13.361389 38.115556 Palermo 15.087269 37.502669 Catania 12.758489 38.788135 edge1 17.241510 38.788135 edge2", ":4"),
                ("RPUSH l a", ":1"),
                ("GEOSEARCH l", "-ERR wrong number of arguments for 'geosearch' command"),
                ("GEOSEARCH l FROMMEMBER a BYRADIUS 1 x", WRONG_TYPE),
                ("GEORADIUS l x y z km", WRONG_TYPE),
                ("GEORADIUS s 15 37 x km", "-ERR need numeric radius"),
                ("GEORADIUS s 15 37 -1 km", "-ERR radius cannot be negative"),
                ("GEORADIUS s 15 37 1 x", "-ERR unsupported unit provided. please use M, KM, FT, MI"),
                ("GEORADIUS s 15 97 1 km", "-ERR invalid longitude,latitude pair 15.000000,97.000000"),
                ("GEORADIUS s 15 37 1 km FOO", "-ERR syntax error"),
                ("GEORADIUS s 15 37 1 km COUNT", "-ERR syntax error"),
                ("GEORADIUS s 15 37 1 km COUNT 0", "-ERR COUNT must be > 0"),
                ("GEORADIUS s 15 37 1 km COUNT x", "-ERR value is not an integer or out of range"),
                ("GEORADIUS s 15 37 1 km ANY", "-ERR the ANY argument requires COUNT argument"),
                ("GEORADIUS s 15 37 1 km STORE", "-ERR syntax error"),
                ("GEORADIUS s 15 37 1 km STORE to WITHDIST", "-ERR STORE option in GEORADIUS is not compatible with WITHDIST, WITHHASH and WITHCOORD options"),
                ("GEORADIUS_RO s 15 37 1 km STORE to", "-ERR syntax error"),
                ("GEORADIUSBYMEMBER s none 1 km", "-ERR could not decode requested zset member"),
                ("GEOSEARCH s FROMMEMBER none BYRADIUS 1 km", "-ERR could not decode requested zset member"),
                ("GEOSEARCH s FROMMEMBER Palermo FROMLONLAT 1 1 BYRADIUS 1 km", "-ERR syntax error"),
                ("GEOSEARCH s FROMMEMBER Palermo BYRADIUS 1 km BYBOX 1 1 km", "-ERR syntax error"),
                ("GEOSEARCH s BYRADIUS 1 km ASC DESC", "-ERR exactly one of FROMMEMBER or FROMLONLAT can be specified for GEOSEARCH"),
                ("GEOSEARCH s FROMMEMBER Palermo COUNT 1 ASC", "-ERR exactly one of BYRADIUS and BYBOX can be specified for GEOSEARCH"),
                ("GEOSEARCH s FROMMEMBER Palermo BYBOX x 1 km", "-ERR need numeric width"),
                ("GEOSEARCH s FROMMEMBER Palermo BYBOX 1 x km", "-ERR need numeric height"),
                ("GEOSEARCH s FROMMEMBER Palermo BYBOX 1 -1 km", "-ERR height or width cannot be negative"),
                ("GEOSEARCH s FROMMEMBER Palermo BYRADIUS 1 km STORE to", "-ERR syntax error"),
                ("GEOSEARCHSTORE to s FROMMEMBER Palermo BYRADIUS 1 km WITHHASH", "-ERR GEOSEARCHSTORE is not compatible with WITHDIST, WITHHASH and WITHCOORD options"),
                ("GEOSEARCHSTORE to s ASC COUNT 1 FROMMEMBER Palermo", "-ERR exactly one of BYRADIUS and BYBOX can be specified for GEOSEARCHSTORE"),
            ],
        );
    }

    #[test]
    fn a_reply_that_nobody_gets_is_not_made_to_its_end() {
        let mut shard = Shard::new();
        for number in 0..2_000 {
            shard.line(&format!("GEOADD s 13.{number} 38.{number} member:{number}"));
        }
        let mut out = Vec::new();
        let mut reply = Reply::bounded(&mut out, Protocol::Resp2, 1_000);
        let words: [&[u8]; 8] = [b"GEOSEARCH", b"s", b"FROMLONLAT", b"13", b"38", b"BYRADIUS", b"5000", b"km"];
        shard.try_run(&words, &mut reply).unwrap();
        assert!(reply.is_over());
        // The nearest are told however little room there is, and not all is kept to tell those of very many.
        assert_eq!(
            [kept_max(0, 1_000), kept_max(1, 1_000), kept_max(1, 1 << 30)],
            [1_000, limits::GEO_BYTES_KEPT, 4 << 30]
        );
        let mut reply = Reply::bounded(&mut out, Protocol::Resp2, 1_000);
        shard.try_run(&[&words[..], &[b"COUNT", b"1"]].concat(), &mut reply).unwrap();
        assert!(!reply.is_over());
        let nearest = shard.line("GEOSEARCH s FROMLONLAT 13 38 BYRADIUS 5000 km COUNT 1");
        assert_eq!(nearest, "*1 $8 member:0");
    }
}
