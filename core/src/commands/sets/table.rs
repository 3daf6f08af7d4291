//! The commands on sets. Their ids are 301 to 399.

use basalt_storage::keyspace::Type;

use super::{facts, handlers};
use crate::commands::{Command, Rows};

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
];
