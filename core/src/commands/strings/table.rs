//! The commands on strings. Their ids are 1 to 99.

use super::{bitfield, bits, distinct, facts, handlers, lcs, numbers};
use crate::commands::{Command, Copies, Merge, OverShards, Rows, Scatter};

/// The commands on strings.
pub(in crate::commands) static COMMANDS: &[Command] = &[
    Command::read(1, &facts::GET, handlers::get).reads(Rows::Keys),
    Command::write(2, &facts::SET, handlers::set).reads(Rows::Keys).returning_with("get"),
    Command::write(3, &facts::SETNX, handlers::setnx).reads(Rows::Keys),
    Command::write(4, &facts::SETEX, handlers::setex).reads(Rows::Keys),
    Command::write(5, &facts::PSETEX, handlers::psetex).reads(Rows::Keys),
    Command::write(6, &facts::GETSET, handlers::getset).reads(Rows::Keys).returning(),
    Command::write(7, &facts::GETDEL, handlers::getdel).telling_misses().reads(Rows::Keys).returning(),
    Command::write(8, &facts::GETEX, handlers::getex).telling_misses().reads(Rows::Keys).returning(),
    Command::read(9, &facts::STRLEN, handlers::strlen).reads(Rows::Keys),
    Command::write(10, &facts::APPEND, handlers::append).reads(Rows::Keys),
    Command::read(11, &facts::GETRANGE, handlers::getrange).reads(Rows::Keys),
    Command::read(12, &facts::SUBSTR, handlers::getrange).reads(Rows::Keys),
    Command::write(13, &facts::SETRANGE, handlers::setrange).reads(Rows::Keys),
    Command::read(14, &facts::MGET, handlers::mget)
        .reads(Rows::Keys)
        .scattered(Scatter::Split { step: 1, merge: Merge::ArrayInOrder }),
    Command::write(15, &facts::MSET, handlers::mset)
        .reads(Rows::KeysFirst)
        .scattered(Scatter::Split { step: 2, merge: Merge::Ok }),
    Command::write(16, &facts::MSETNX, handlers::msetnx).reads(Rows::KeysFirst).over_shards(OverShards::IfNone),
    Command::write(17, &facts::INCR, numbers::incr).reads(Rows::Keys),
    Command::write(18, &facts::DECR, numbers::decr).reads(Rows::Keys),
    Command::write(19, &facts::INCRBY, numbers::incrby).reads(Rows::Keys),
    Command::write(20, &facts::DECRBY, numbers::decrby).reads(Rows::Keys),
    Command::write(21, &facts::INCRBYFLOAT, numbers::incrbyfloat).reads(Rows::Keys),
    Command::read(22, &facts::LCS, lcs::lcs).reads(Rows::Keys),
    Command::write(23, &facts::SETBIT, bits::setbit).reads(Rows::Keys),
    Command::read(24, &facts::GETBIT, bits::getbit).reads(Rows::Keys),
    Command::read(25, &facts::BITCOUNT, bits::bitcount).reads(Rows::Keys),
    Command::read(26, &facts::BITPOS, bits::bitpos).reads(Rows::Keys),
    Command::write(27, &facts::BITFIELD, bitfield::bitfield).reads(Rows::Keys).changing_with(&["set", "incrby"]),
    Command::read(28, &facts::BITFIELD_RO, bitfield::bitfield_ro).reads(Rows::Keys),
    Command::write(29, &facts::BITOP, bits::bitop).telling_misses().reads(Rows::KeysFirst).copying(Copies::Sources),
    Command::write(30, &facts::PFADD, distinct::pfadd).reads(Rows::Keys),
    Command::read(31, &facts::PFCOUNT, distinct::pfcount).reads(Rows::Keys),
    Command::write(32, &facts::PFMERGE, distinct::pfmerge).telling_misses().reads(Rows::KeysFirst),
];
