//! The commands on lists. Their ids are 201 to 299.

use basalt_storage::keyspace::End;

use super::{facts, handlers, moving, places};
use crate::commands::{Command, Copies, Rows};

/// The commands on lists.
pub(in crate::commands) static COMMANDS: &[Command] = &[
    Command::write(201, &facts::LPUSH, handlers::lpush).reads(Rows::Keys),
    Command::write(202, &facts::RPUSH, handlers::rpush).reads(Rows::Keys),
    Command::write(203, &facts::LPUSHX, handlers::lpushx).reads(Rows::Keys),
    Command::write(204, &facts::RPUSHX, handlers::rpushx).reads(Rows::Keys),
    Command::write(205, &facts::LPOP, handlers::lpop).reads(Rows::End(End::Head)).returning(),
    Command::write(206, &facts::RPOP, handlers::rpop).reads(Rows::End(End::Tail)).returning(),
    Command::read(207, &facts::LLEN, handlers::llen).reads(Rows::Keys),
    Command::read(208, &facts::LRANGE, handlers::lrange),
    Command::read(209, &facts::LINDEX, handlers::lindex),
    Command::write(210, &facts::LSET, handlers::lset).reads(Rows::Keys),
    Command::write(211, &facts::LTRIM, handlers::ltrim).reads(Rows::Keys),
    Command::read(212, &facts::LPOS, places::lpos),
    Command::write(213, &facts::LREM, places::lrem).copying(Copies::Half),
    Command::write(214, &facts::LINSERT, places::linsert).copying(Copies::Half),
    Command::write(215, &facts::LMPOP, moving::lmpop).returning(),
    Command::write(216, &facts::LMOVE, moving::lmove).copying(Copies::End).returning(),
    Command::write(217, &facts::RPOPLPUSH, moving::rpoplpush).copying(Copies::End).returning(),
];
