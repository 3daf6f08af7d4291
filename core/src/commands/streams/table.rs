//! The commands on streams. Their ids are 601 to 699.

use super::{facts, handlers};
use crate::commands::{Command, Rows};

/// The commands on streams.
pub(in crate::commands) static COMMANDS: &[Command] = &[
    Command::write(601, &facts::XADD, handlers::xadd).reads(Rows::KeysUnless(&["MAXLEN", "MINID"])),
    Command::write(602, &facts::XTRIM, handlers::xtrim),
    Command::read(603, &facts::XLEN, handlers::xlen).reads(Rows::Keys),
    Command::write(604, &facts::XDEL, handlers::xdel).reads(Rows::Entries),
    Command::read(605, &facts::XRANGE, handlers::xrange),
    Command::read(606, &facts::XREVRANGE, handlers::xrevrange),
];
