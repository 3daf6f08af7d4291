//! The commands on lists. Their ids are 201 to 299.

use super::{facts, handlers};
use crate::commands::table::Command;

/// The commands on lists.
pub(in crate::commands) static COMMANDS: &[Command] = &[
    Command::write(201, &facts::LPUSH, handlers::lpush),
    Command::write(202, &facts::RPUSH, handlers::rpush),
    Command::write(203, &facts::LPUSHX, handlers::lpushx),
    Command::write(204, &facts::RPUSHX, handlers::rpushx),
    Command::write(205, &facts::LPOP, handlers::lpop).returning(),
    Command::write(206, &facts::RPOP, handlers::rpop).returning(),
    Command::read(207, &facts::LLEN, handlers::llen),
    Command::read(208, &facts::LRANGE, handlers::lrange),
    Command::read(209, &facts::LINDEX, handlers::lindex),
    Command::write(210, &facts::LSET, handlers::lset),
    Command::write(211, &facts::LTRIM, handlers::ltrim),
];
