//! The commands on sorted sets. Their ids are 501 to 599.

use super::Command;
use crate::commands::facts::sorted_sets as facts;
use crate::commands::sorted_sets;

/// The commands on sorted sets.
pub(super) static COMMANDS: &[Command] = &[
    Command::write(501, &facts::ZADD, sorted_sets::zadd),
    Command::write(502, &facts::ZINCRBY, sorted_sets::zincrby),
    Command::write(503, &facts::ZREM, sorted_sets::zrem),
    Command::read(504, &facts::ZCARD, sorted_sets::zcard),
    Command::read(505, &facts::ZSCORE, sorted_sets::zscore),
    Command::read(506, &facts::ZMSCORE, sorted_sets::zmscore),
    Command::write(507, &facts::ZPOPMIN, sorted_sets::zpopmin).returning(),
    Command::write(508, &facts::ZPOPMAX, sorted_sets::zpopmax).returning(),
    Command::read(509, &facts::ZRANGE, sorted_sets::zrange),
    Command::read(510, &facts::ZREVRANGE, sorted_sets::zrevrange),
    Command::read(511, &facts::ZRANGEBYSCORE, sorted_sets::zrangebyscore),
    Command::read(512, &facts::ZREVRANGEBYSCORE, sorted_sets::zrevrangebyscore),
    Command::read(513, &facts::ZRANGEBYLEX, sorted_sets::zrangebylex),
    Command::read(514, &facts::ZREVRANGEBYLEX, sorted_sets::zrevrangebylex),
    Command::read(515, &facts::ZCOUNT, sorted_sets::zcount),
    Command::read(516, &facts::ZLEXCOUNT, sorted_sets::zlexcount),
];
