//! The commands on strings. Their ids are 1 to 99.

use super::super::facts::strings as facts;
use super::super::strings;
use super::{Command, Merge, Scatter};

/// The commands on strings.
pub(super) static COMMANDS: &[Command] = &[
    Command::read(1, &facts::GET, strings::get),
    Command::write(2, &facts::SET, strings::set).returning_with("get"),
    Command::write(3, &facts::SETNX, strings::setnx),
    Command::write(4, &facts::SETEX, strings::setex),
    Command::write(5, &facts::PSETEX, strings::psetex),
    Command::write(6, &facts::GETSET, strings::getset).returning(),
    Command::write(7, &facts::GETDEL, strings::getdel).returning(),
    Command::write(8, &facts::GETEX, strings::getex).returning(),
    Command::read(9, &facts::STRLEN, strings::strlen),
    Command::write(10, &facts::APPEND, strings::append),
    Command::read(11, &facts::GETRANGE, strings::getrange),
    Command::read(12, &facts::SUBSTR, strings::getrange),
    Command::write(13, &facts::SETRANGE, strings::setrange),
    Command::read(14, &facts::MGET, strings::mget).scattered(Scatter::Split { step: 1, merge: Merge::ArrayInOrder }),
    Command::write(15, &facts::MSET, strings::mset).scattered(Scatter::Split { step: 2, merge: Merge::Ok }),
    Command::write(16, &facts::MSETNX, strings::msetnx),
    Command::write(17, &facts::INCR, strings::incr),
    Command::write(18, &facts::DECR, strings::decr),
    Command::write(19, &facts::INCRBY, strings::incrby),
    Command::write(20, &facts::DECRBY, strings::decrby),
    Command::write(21, &facts::INCRBYFLOAT, strings::incrbyfloat),
    Command::read(22, &facts::LCS, strings::lcs),
];
