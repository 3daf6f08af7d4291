//! The commands on sets. Their ids are 301 to 399.

use basalt_storage::keyspace::Type;

use super::{algebra, facts, handlers};
use crate::commands::{Command, Copies, OverShards, Rows};

const MEMBERS: Rows = Rows::elements(Type::Set, 2, 1);

/// The commands on sets.
pub(in crate::commands) static COMMANDS: &[Command] = &[
    Command::write(301, &facts::SADD, handlers::sadd).reads(MEMBERS),
    Command::write(302, &facts::SREM, handlers::srem).reads(MEMBERS.removed()),
    Command::read(303, &facts::SCARD, handlers::scard).reads(Rows::Keys),
    Command::read(304, &facts::SISMEMBER, handlers::sismember).reads(MEMBERS),
    Command::read(305, &facts::SMISMEMBER, handlers::smismember).reads(MEMBERS),
    Command::read(306, &facts::SMEMBERS, handlers::smembers),
    Command::write(307, &facts::SPOP, handlers::spop).draws().reads(Rows::Drawn(Type::Set)).returning(),
    Command::read(308, &facts::SRANDMEMBER, handlers::srandmember).draws().reads(Rows::Drawn(Type::Set)),
    Command::read(309, &facts::SSCAN, handlers::sscan),
    Command::write(310, &facts::SMOVE, handlers::smove).over_shards(OverShards::MoveMember),
    Command::read(311, &facts::SUNION, algebra::sunion),
    Command::read(312, &facts::SINTER, algebra::sinter),
    Command::read(313, &facts::SDIFF, algebra::sdiff),
    Command::read(314, &facts::SINTERCARD, algebra::sintercard),
    Command::write(315, &facts::SUNIONSTORE, algebra::sunionstore).telling_misses().copying(Copies::Sources),
    Command::write(316, &facts::SINTERSTORE, algebra::sinterstore).telling_misses().copying(Copies::Sources),
    Command::write(317, &facts::SDIFFSTORE, algebra::sdiffstore).telling_misses().copying(Copies::Sources),
];
