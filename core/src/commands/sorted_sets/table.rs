//! The commands on sorted sets. Their ids are 501 to 599.

use basalt_storage::keyspace::Type;

use super::{algebra, blocking, facts, handlers, ranges, removal};
use crate::commands::{Command, Copies, Feeds, OverShards, Rows, Waits};

const MEMBERS: Rows = Rows::elements(Type::SortedSet, 2, 1);
/// Members behind their scores. A score that changes is a row that goes.
const SCORES: Rows = Rows::elements(Type::SortedSet, 3, 2).removed().after(&["NX", "XX", "GT", "LT", "CH", "INCR"]);

/// Scores and members, by pairs; ZADD's options make one more of them now and then.
const MEMBERS_FED: Feeds = Feeds::Elements { kind: Type::SortedSet, from: 2, step: 2 };
const STORED: Feeds = Feeds::Many(1, Some(Type::SortedSet));

const KEYS: Waits = Waits::keys(Type::SortedSet);
const COUNTED: Waits = Waits::counted(Type::SortedSet);

/// The commands on sorted sets.
pub(in crate::commands) static COMMANDS: &[Command] = &[
    Command::write(501, &facts::ZADD, handlers::zadd).reads(SCORES).feeding(Feeds::Elements {
        kind: Type::SortedSet,
        from: 2,
        step: 2,
    }),
    Command::write(502, &facts::ZINCRBY, handlers::zincrby)
        .reads(Rows::element(Type::SortedSet, 3).removed())
        .feeding(MEMBERS_FED),
    Command::write(503, &facts::ZREM, handlers::zrem).reads(MEMBERS.removed()),
    Command::read(504, &facts::ZCARD, handlers::zcard).reads(Rows::Keys),
    Command::read(505, &facts::ZSCORE, handlers::zscore).reads(MEMBERS),
    Command::read(506, &facts::ZMSCORE, handlers::zmscore).reads(MEMBERS),
    Command::write(507, &facts::ZPOPMIN, handlers::zpopmin).returning(),
    Command::write(508, &facts::ZPOPMAX, handlers::zpopmax).returning(),
    Command::read(509, &facts::ZRANGE, ranges::zrange),
    Command::read(510, &facts::ZREVRANGE, ranges::zrevrange),
    Command::read(511, &facts::ZRANGEBYSCORE, ranges::zrangebyscore),
    Command::read(512, &facts::ZREVRANGEBYSCORE, ranges::zrevrangebyscore),
    Command::read(513, &facts::ZRANGEBYLEX, ranges::zrangebylex),
    Command::read(514, &facts::ZREVRANGEBYLEX, ranges::zrevrangebylex),
    Command::read(515, &facts::ZCOUNT, ranges::zcount),
    Command::read(516, &facts::ZLEXCOUNT, ranges::zlexcount),
    Command::read(517, &facts::ZRANK, handlers::zrank),
    Command::read(518, &facts::ZREVRANK, handlers::zrevrank),
    Command::write(519, &facts::ZREMRANGEBYRANK, removal::zremrangebyrank),
    Command::write(520, &facts::ZREMRANGEBYSCORE, removal::zremrangebyscore),
    Command::write(521, &facts::ZREMRANGEBYLEX, removal::zremrangebylex),
    Command::read(522, &facts::ZRANDMEMBER, handlers::zrandmember).draws().reads(Rows::Drawn(Type::SortedSet)),
    Command::read(523, &facts::ZSCAN, handlers::zscan),
    Command::write(524, &facts::ZMPOP, handlers::zmpop).returning().over_shards(OverShards::PopFirst("zcard")),
    Command::write(525, &facts::ZRANGESTORE, ranges::zrangestore)
        .telling_misses()
        .copying(Copies::Sources)
        .feeding(STORED),
    Command::read(526, &facts::ZUNION, algebra::zunion),
    Command::read(527, &facts::ZINTER, algebra::zinter),
    Command::read(528, &facts::ZDIFF, algebra::zdiff),
    Command::read(529, &facts::ZINTERCARD, algebra::zintercard),
    Command::write(530, &facts::ZUNIONSTORE, algebra::zunionstore)
        .telling_misses()
        .copying(Copies::Sources)
        .feeding(STORED),
    Command::write(531, &facts::ZINTERSTORE, algebra::zinterstore)
        .telling_misses()
        .copying(Copies::Sources)
        .feeding(STORED),
    Command::write(532, &facts::ZDIFFSTORE, algebra::zdiffstore)
        .telling_misses()
        .copying(Copies::Sources)
        .feeding(STORED),
    Command::write(533, &facts::BZPOPMIN, blocking::bzpopmin).returning().waiting(KEYS),
    Command::write(534, &facts::BZPOPMAX, blocking::bzpopmax).returning().waiting(KEYS),
    Command::write(535, &facts::BZMPOP, blocking::bzmpop).returning().waiting(COUNTED),
];
