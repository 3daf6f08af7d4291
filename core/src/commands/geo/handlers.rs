//! GEOADD, and what members of a sorted set are asked one by one: GEOPOS, GEODIST and GEOHASH. Searches are in `search.rs`.

use basalt_net::resp::Reply;

use super::arguments::{read_position, read_unit};
use super::cell::Position;
use super::replies::{reply_distance, reply_position};
use super::shape::distance;
use crate::commands::sorted_sets::{AddOptions, add_members};
use crate::commands::{Args, CommandError, Context};

type Outcome = Result<(), CommandError>;

/// `GEOADD key [NX | XX] [CH] longitude latitude member [longitude latitude member …]`
pub(super) fn geoadd(context: &mut Context<'_>, args: Args<'_>, reply: &mut Reply<'_>) -> Outcome {
    let mut options = AddOptions::default();
    let mut rest = &args[2..];
    while let Some((word, behind)) = rest.split_first() {
        let is_set = match word.to_ascii_lowercase().as_slice() {
            b"nx" => &mut options.only_new,
            b"xx" => &mut options.only_existing,
            b"ch" => &mut options.count_changed,
            _ => break,
        };
        *is_set = true;
        rest = behind;
    }
    let (triples, rest) = rest.as_chunks::<3>();
    if !rest.is_empty() || triples.is_empty() || (options.only_new && options.only_existing) {
        return Err(CommandError::SYNTAX);
    }
    let mut members = Vec::with_capacity(triples.len());
    for [longitude, latitude, member] in triples {
        members.push((*member, read_position(longitude, latitude)?.score()));
    }
    add_members(context, args[1], options, &members, reply)
}

/// The position of each of `members` at `key`, where there is one.
fn positions(context: &Context<'_>, key: &[u8], members: Args<'_>) -> Result<Vec<Option<Position>>, CommandError> {
    let sorted_set = context.keyspace.sorted_set(key)?;
    let position = |member: &&[u8]| match &sorted_set {
        Some(sorted_set) => Ok(sorted_set.score(&context.keyspace, member)?.map(Position::of_score)),
        None => Ok(None),
    };
    members.iter().map(position).collect()
}

/// `GEOPOS key [member …]`
pub(super) fn geopos(context: &mut Context<'_>, args: Args<'_>, reply: &mut Reply<'_>) -> Outcome {
    let positions = positions(context, args[1], &args[2..])?;
    reply.array(positions.len());
    for position in positions {
        match position {
            Some(position) => reply_position(reply, position),
            None => reply.null_array(),
        }
    }
    Ok(())
}

/// `GEOHASH key [member …]`
pub(super) fn geohash(context: &mut Context<'_>, args: Args<'_>, reply: &mut Reply<'_>) -> Outcome {
    let positions = positions(context, args[1], &args[2..])?;
    reply.array(positions.len());
    for position in positions {
        reply.bulk_or_null(position.map(Position::geohash));
    }
    Ok(())
}

/// `GEODIST key member1 member2 [M | KM | FT | MI]`
pub(super) fn geodist(context: &mut Context<'_>, args: Args<'_>, reply: &mut Reply<'_>) -> Outcome {
    let unit = match args {
        [_, _, _, _] => 1.0,
        [_, _, _, _, unit] => read_unit(unit)?,
        _ => return Err(CommandError::SYNTAX),
    };
    match positions(context, args[1], &args[2..4])?[..] {
        [Some(one), Some(other)] => reply_distance(reply, distance(one, other) / unit),
        _ => reply.null(),
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use basalt_net::resp::Protocol;

    use crate::commands::testing::Shard;

    // The replies are those of redis-server 7.0.15.

    const WRONG_TYPE: &str = "-WRONGTYPE Operation against a key holding the wrong kind of value";

    #[test]
    fn members_have_positions() {
        Shard::new().expect(
            Protocol::Resp2,
            &[
                ("GEOADD s 13.361389 38.115556 Palermo 15.087269 37.502669 Catania", ":2"),
                ("GEOADD s NX 1 1 Palermo 2 2 new", ":1"),
                ("GEOADD s XX CH 13.361389 38.2 Palermo 5 5 none", ":1"),
                ("GEOADD s CH 13.361389 38.115556 Palermo", ":1"),
                ("ZSCORE s Palermo", "$16 3479099956230698"),
                ("GEOPOS s Palermo none Catania", "*3 *2 $20 13.36138933897018433 $20 38.11555639549629859 *-1 *2 $20 15.08726745843887329 $20 37.50266842333162032"),
                ("GEOPOS none a", "*1 *-1"),
                ("GEOPOS s", "*0"),
                ("GEOHASH s Palermo none Catania", "*3 $11 sqc8b49rny0 $-1 $11 sqdtr74hyu0"),
                ("GEOHASH none a", "*1 $-1"),
                ("GEODIST s Palermo Catania", "$11 166274.1516"),
                ("GEODIST s Palermo Catania KM", "$8 166.2742"),
                ("GEODIST s Palermo Catania ft", "$11 545518.8700"),
                ("GEODIST s Palermo Catania mi", "$8 103.3182"),
                ("GEODIST s Palermo none", "$-1"),
                ("GEODIST none Palermo Catania", "$-1"),
                ("GEODIST s Palermo Palermo", "$6 0.0000"),
                ("ZADD s inf odd -1 odder", ":2"),
                ("GEOPOS s odd odder", "*2 *2 $22 -179.99999731779098511 $21 -85.05112751263942528 *2 $3 180 $19 85.0511287799999991"),
                ("GEOHASH s odd odder", "*2 $11 00bh0hbj200 $11 bp05b5048p0"),
            ],
        );
    }

    #[test]
    fn errors_are_those_of_redis() {
        Shard::new().expect(
            Protocol::Resp2,
            &[
                ("RPUSH l a", ":1"),
                ("GEOADD l 1 1 a", WRONG_TYPE),
                ("GEOADD s 1 1", "-ERR wrong number of arguments for 'geoadd' command"),
                ("GEOADD s NX XX 1 1 a", "-ERR syntax error"),
                ("GEOADD s 1 1 a 2 2", "-ERR syntax error"),
                ("GEOADD s CH NX CH", "-ERR syntax error"),
                ("GEOADD s 181 1 a", "-ERR invalid longitude,latitude pair 181.000000,1.000000"),
                ("GEOADD s 1 -86 a", "-ERR invalid longitude,latitude pair 1.000000,-86.000000"),
                ("GEOADD s x 1 a", "-ERR value is not a valid float"),
                ("GEOADD s 1 nan a", "-ERR value is not a valid float"),
                ("GEOADD l 200 1 a", "-ERR invalid longitude,latitude pair 200.000000,1.000000"),
                ("GEOPOS l a", WRONG_TYPE),
                ("GEOHASH l a", WRONG_TYPE),
                ("GEODIST l a b", WRONG_TYPE),
                ("GEODIST l a b x", "-ERR unsupported unit provided. please use M, KM, FT, MI"),
                ("GEODIST s a b km x", "-ERR syntax error"),
            ],
        );
    }

    #[test]
    fn degrees_are_doubles_in_resp3() {
        Shard::new().expect(
            Protocol::Resp3,
            &[
                ("GEOADD s 13.361389 38.115556 Palermo 15.087269 37.502669 Catania", ":2"),
                ("GEOPOS s Palermo none", "*2 *2 ,13.36138933897018433 ,38.11555639549629859 _"),
                ("GEOHASH s Palermo none", "*2 $11 sqc8b49rny0 _"),
                ("GEODIST s Palermo Catania", "$11 166274.1516"),
                ("GEODIST s Palermo none", "_"),
                (
                    "GEORADIUS s 15 37 200 km WITHCOORD WITHDIST WITHHASH DESC COUNT 1",
                    "*1 *4 $7 Palermo $8 190.4424 :3479099956230698 *2 ,13.36138933897018433 ,38.11555639549629859",
                ),
            ],
        );
    }
}
