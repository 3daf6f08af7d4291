//! The commands on strings. Their ids are 1 to 99.

use super::{facts, handlers};
use crate::commands::table::{Command, Merge, Scatter};

/// The commands on strings.
pub(in crate::commands) static COMMANDS: &[Command] = &[
    Command::read(1, &facts::GET, handlers::get),
    Command::write(2, &facts::SET, handlers::set).returning_with("get"),
    Command::write(3, &facts::SETNX, handlers::setnx),
    Command::write(4, &facts::SETEX, handlers::setex),
    Command::write(5, &facts::PSETEX, handlers::psetex),
    Command::write(6, &facts::GETSET, handlers::getset).returning(),
    Command::write(7, &facts::GETDEL, handlers::getdel).returning(),
    Command::write(8, &facts::GETEX, handlers::getex).returning(),
    Command::read(9, &facts::STRLEN, handlers::strlen),
    Command::write(10, &facts::APPEND, handlers::append),
    Command::read(11, &facts::GETRANGE, handlers::getrange),
    Command::read(12, &facts::SUBSTR, handlers::getrange),
    Command::write(13, &facts::SETRANGE, handlers::setrange),
    Command::read(14, &facts::MGET, handlers::mget).scattered(Scatter::Split { step: 1, merge: Merge::ArrayInOrder }),
    Command::write(15, &facts::MSET, handlers::mset).scattered(Scatter::Split { step: 2, merge: Merge::Ok }),
    Command::write(16, &facts::MSETNX, handlers::msetnx),
    Command::write(17, &facts::INCR, handlers::incr),
    Command::write(18, &facts::DECR, handlers::decr),
    Command::write(19, &facts::INCRBY, handlers::incrby),
    Command::write(20, &facts::DECRBY, handlers::decrby),
    Command::write(21, &facts::INCRBYFLOAT, handlers::incrbyfloat),
    Command::read(22, &facts::LCS, handlers::lcs),
];
