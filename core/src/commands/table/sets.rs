//! The commands on sets. Their ids are 301 to 399.

use super::Command;
use crate::commands::facts::sets as facts;
use crate::commands::sets;

/// `SPOP`, which draws.
pub(super) const SPOP: u16 = 307;

/// The commands on sets.
pub(super) static COMMANDS: &[Command] = &[
    Command::write(301, &facts::SADD, sets::sadd),
    Command::write(302, &facts::SREM, sets::srem),
    Command::read(303, &facts::SCARD, sets::scard),
    Command::read(304, &facts::SISMEMBER, sets::sismember),
    Command::read(305, &facts::SMISMEMBER, sets::smismember),
    Command::read(306, &facts::SMEMBERS, sets::smembers),
    Command::write(SPOP, &facts::SPOP, sets::spop).returning(),
];
