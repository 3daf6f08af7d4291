//! The commands on streams. Their ids are 601 to 699.

use super::Command;
use crate::commands::facts::streams as facts;
use crate::commands::streams;

/// The commands on streams.
pub(super) static COMMANDS: &[Command] = &[
    Command::write(601, &facts::XADD, streams::xadd),
    Command::write(602, &facts::XTRIM, streams::xtrim),
    Command::read(603, &facts::XLEN, streams::xlen),
    Command::write(604, &facts::XDEL, streams::xdel),
    Command::read(605, &facts::XRANGE, streams::xrange),
    Command::read(606, &facts::XREVRANGE, streams::xrevrange),
];
