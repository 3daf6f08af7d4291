//! The commands on lists. Their ids are 201 to 299.

use super::Command;
use crate::commands::facts::lists as facts;
use crate::commands::lists;

/// The commands on lists.
pub(super) static COMMANDS: &[Command] = &[
    Command::write(201, &facts::LPUSH, lists::lpush),
    Command::write(202, &facts::RPUSH, lists::rpush),
    Command::write(203, &facts::LPUSHX, lists::lpushx),
    Command::write(204, &facts::RPUSHX, lists::rpushx),
    Command::write(205, &facts::LPOP, lists::lpop).returning(),
    Command::write(206, &facts::RPOP, lists::rpop).returning(),
    Command::read(207, &facts::LLEN, lists::llen),
    Command::read(208, &facts::LRANGE, lists::lrange),
    Command::read(209, &facts::LINDEX, lists::lindex),
    Command::write(210, &facts::LSET, lists::lset),
    Command::write(211, &facts::LTRIM, lists::ltrim),
];
