//! The commands on sets. Their ids are 301 to 399.

use super::{facts, handlers};
use crate::commands::table::Command;

/// `SPOP`, which draws.
pub(in crate::commands) const SPOP: u16 = 307;

/// The commands on sets.
pub(in crate::commands) static COMMANDS: &[Command] = &[
    Command::write(301, &facts::SADD, handlers::sadd),
    Command::write(302, &facts::SREM, handlers::srem),
    Command::read(303, &facts::SCARD, handlers::scard),
    Command::read(304, &facts::SISMEMBER, handlers::sismember),
    Command::read(305, &facts::SMISMEMBER, handlers::smismember),
    Command::read(306, &facts::SMEMBERS, handlers::smembers),
    Command::write(SPOP, &facts::SPOP, handlers::spop).returning(),
];
